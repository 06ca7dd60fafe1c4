#!/usr/bin/env bash
# From nothing to a backup that restores: the scripts of this toolkit, composed as an operator composes them. Each is run three times:
# first it only says what it would do, then it does it, then there is nothing left to do.
#
# Needs bash, git and Java, a way to AWS, VPC_ID and BACKUP_BUCKET, and the profiles developer, backup (of the account of the backups) and backup-reader. "./jbang sandbox" runs it in an AWS of its own, on this machine.
set -euo pipefail
cd "$(dirname "$0")/../.."

developer=arn:aws:iam::111122223333:role/Developer
backup_reader=arn:aws:iam::444455556666:role/BackupReader
repository=tour
source=${SANDBOX_GIT_DIR:-$PWD} # what is pushed and backed up

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '\n== %s\n' "$*"; }

command_line() {
  printf '$ ./jbang'
  for word; do
    case $word in
      *[!a-zA-Z0-9_/:.,=-]*) printf " '%s'" "$word" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  printf '\n'
}

# Shows what a command says only if it fails.
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }; }

# Shows in one line what was said when a command was refused; ends the tour if it was not, or for another reason.
refused() {
  local reason=$1 said
  shift
  if "$@" >"$work/log" 2>&1; then
    echo "This should have been refused: $*" >&2
    exit 1
  fi
  said=$(grep -E "$reason" "$work/log") || { cat "$work/log" >&2; exit 1; }
  echo "  refused: $said" | cut -c 1-200
}

thrice() {
  local planned first second
  command_line "$@"
  planned=$(./jbang "$@" --dry-run --print /status)
  echo "  with --dry-run:  $planned"
  first=$(./jbang "$@" --print /status)
  echo "  for real:        $first"
  second=$(./jbang "$@" --print /status)
  echo "  once more:       $second"
  [ "$second" = unchanged ]
}

echo "A tour of the toolkit, against ${AWS_ENDPOINT_URL:-AWS} in $AWS_REGION. The first start of each script takes a few seconds more."
[ -z "${SANDBOX_S3:-}" ] || echo "Nothing leaves this machine. The decisions of this sandbox are not AWS's: what it allows AWS may refuse."
echo "The repositories are in the account 111122223333, the backups in 444455556666, whose administrator is the profile backup. Other profiles are a developer, a reader of the backups and others: see README."

say "1. A key of your own, which developers may use"
key=(create-kms-key --alias alias/codecommit --users "$developer" --tags Team=Payments)
thrice "${key[@]}"
key_arn=$(./jbang "${key[@]}" --print /key/keyArn)
echo "  $key_arn"

say "2. A repository encrypted under it"
repo=(create-encrypted-repo --repository-name "$repository" --kms-key-id "$key_arn" --tags Team=Payments)
thrice "${repo[@]}"
url=$(./jbang "${repo[@]}" --print /repository/cloneUrlHttp)
echo "  $url"

say "3. Private endpoints for API and Git, reachable from the VPC's own addresses"
group=(create-endpoint-security-group --vpc-id "$VPC_ID")
thrice "${group[@]}"
group_id=$(./jbang "${group[@]}" --print /securityGroup/groupId)
echo "  $group_id"
thrice create-vpc-endpoint --vpc-id "$VPC_ID" --security-group-ids "$group_id"

say "4. Developers cannot change main and the releases behind the back of a pull request"
thrice apply-branch-deny --branches main 'release/*' --repository-names "$repository" --role-names "${developer##*/}"

say "5. A real Git repository is pushed"
if [ "$(git -C "$source" rev-parse --is-shallow-repository 2>/dev/null)" != false ] || ! git -C "$source" rev-parse -q --verify HEAD >"$work/head"; then
  source=$work/example # there is no whole repository here
  git init --quiet "$source"
  for number in 1 2 3; do
    echo "$number" >"$source/file"
    git -C "$source" add file
    git -C "$source" -c user.name=Ada -c user.email=ada@example.com commit --quiet -m "Count to $number"
    git -C "$source" -c user.name=Ada -c user.email=ada@example.com tag -a -m "Number $number" "v$number"
  done
fi
branch=$(git -C "$source" symbolic-ref -q HEAD || echo refs/heads/main)
quietly git -C "$source" push --no-verify "$url" "HEAD:$branch" # the first branch becomes the default branch
# CodeCommit takes at most 4,000 refs in one push
git -C "$source" for-each-ref --format='%(refname)' refs/heads refs/tags | tr '\n' '\0' | quietly xargs -0 -n 2000 git -C "$source" push --no-verify "$url"
git ls-remote "$url" >"$work/pushed"
echo "  $source, refs: $(grep -vc HEAD "$work/pushed")"

say "6. A developer's push to main is refused, one to another branch is not"
export AWS_PROFILE=developer
git clone --quiet --bare --depth 1 "$url" "$work/developer.git"
idea=$(git -C "$work/developer.git" -c user.name=Bob -c user.email=bob@example.com commit-tree -p HEAD -m "An idea" 'HEAD^{tree}')
push=(git -C "$work/developer.git" push --force "$url")
echo "\$ git push --force $url $idea:refs/heads/main"
refused 'HTTP 403' "${push[@]}" "$idea:refs/heads/main"
echo "\$ git push --force $url $idea:refs/heads/idea"
quietly "${push[@]}" "$idea:refs/heads/idea"
unset AWS_PROFILE
git ls-remote "$url" >"$work/pushed"
grep refs/heads/idea "$work/pushed" | sed 's/^/  /'

say "7. Another account has a bucket for the backups, to which this one can add and from which it cannot delete, under a key that it shares"
bucket=$BACKUP_BUCKET-locked
backups_key_arn=$(./jbang create-kms-key --profile backup --alias alias/backups --print /key/keyArn)
thrice share-kms-key --profile backup --key-id alias/backups --account-ids 111122223333 --via-services s3
thrice create-backup-bucket --profile backup --bucket "$bucket" --writer-accounts 111122223333 --reader-role-arns "$backup_reader" --kms-key-id "$backups_key_arn" --retention-days 31

say "8. Every repository of the account is backed up"
thrice backup-to-s3 --bucket "$bucket"

say "9. A reader of the backups cannot write to the bucket"
reader=(backup-to-s3 --bucket "$bucket" --profile backup-reader)
command_line "${reader[@]}"
refused 'not authorized to perform: s3:PutObject' ./jbang "${reader[@]}"

say "10. What is in the bucket is a Git bundle: git alone gets the repository back"
if [ -n "${SANDBOX_S3:-}" ]; then
  bundle=$(find "$SANDBOX_S3/$bucket" -path "*/$repository/*.full.bundle") # the sandbox shows its buckets as directories
  cp "$bundle" "$work/$repository.bundle"
else
  aws s3 cp --recursive --exclude '*' --include "*/$AWS_REGION/$repository/*.full.bundle" "s3://$bucket" "$work/bucket"
  bundle=$(find "$work/bucket" -name '*.full.bundle' | sort | tail -n 1)
  mv "$bundle" "$work/$repository.bundle"
fi
echo "  ${bundle##*/}, $(($(wc -c <"$work/$repository.bundle"))) bytes"
echo "\$ git clone --mirror $repository.bundle restored.git"
git clone --quiet --mirror "$work/$repository.bundle" "$work/restored.git"
git -C "$work/restored.git" fsck --no-progress --no-dangling
git ls-remote "$work/restored.git" >"$work/restored"
if ! diff "$work/pushed" "$work/restored"; then
  echo "The restored repository differs (< pushed, > restored)." >&2
  exit 1
fi
echo "  HEAD and every one of its refs are the same."

say "11. All backups are proven to restore, object by object"
verify=(verify-backups --bucket "$bucket" --deep)
command_line "${verify[@]}"
echo "  $(./jbang "${verify[@]}" --print /status)"

say "12. A repository that was lost comes back, under a new name"
restore=(restore-from-s3 --bucket "$bucket" --repository-name "$repository" --to-repository-name "$repository-restored" --kms-key-id "$key_arn")
thrice "${restore[@]}"
git ls-remote "${url%/*}/$repository-restored" >"$work/restored"
if ! diff "$work/pushed" "$work/restored"; then
  echo "The restored repository differs (< pushed, > restored)." >&2
  exit 1
fi
echo "  HEAD and every one of its refs are the same as those that were pushed."
