#!/usr/bin/env bash
# From nothing to backups that come by themselves and restore: the scripts of this toolkit, composed as an operator composes them. Each is
# run three times: first it only says what it would do, then it does it, then there is nothing left to do.
#
# Needs bash, git and Java, a way to AWS, a trail, VPC_ID, FUNCTION_ARN, BACKUP_BUCKET (a new bucket's name begins with it) and SOURCE_BUCKET (with
# versions), and the profiles administrator, developer, backup (of the account of the backups) and backup-reader. "./jbang sandbox" runs it in an AWS of its own,
# on this machine; what lies there in SANDBOX_S3 and SANDBOX_MAIL, elsewhere the AWS CLI and a mailbox have.
set -euo pipefail
cd "$(dirname "$0")/../.."

administrator=arn:aws:iam::111122223333:role/Administrator
developer=arn:aws:iam::111122223333:role/Developer
backup_reader=arn:aws:iam::444455556666:role/BackupReader
operations=operations@example.com
repository=tour
source=${SANDBOX_GIT_DIR:-$PWD} # what is pushed and backed up

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '\n== %s\n' "$*"; }

command_line() {
  printf '$ ./jbang'
  for word; do
    case $word in
      *[!a-zA-Z0-9_/:.,=@-]*) printf " '%s'" "$word" ;;
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
  said=$(grep -E "$reason" "$work/log" | tail -n 1) || { cat "$work/log" >&2; exit 1; }
  echo "  refused: $said" | cut -c 1-200
}

# Shows the status that a command ends with, and gives its exit code.
status_of() {
  local what=$1 code=0
  shift
  status=$(./jbang "$@" --print /status) || code=$?
  printf '  %-16s %s\n' "$what" "$status$([ $code = 0 ] || echo ", exit code $code")"
  return $code
}

thrice() {
  command_line "$@"
  status_of 'with --dry-run:' "$@" --dry-run
  status_of 'for real:' "$@"
  status_of 'once more:' "$@"
  [ "$status" = unchanged ]
}

# Opens the links of the last mails that ask whether somebody wants more of them.
confirm() {
  local link host said
  if [ -z "${SANDBOX_MAIL:-}" ]; then
    read -r -p "  Open the links in the mails to $operations, then press Enter. "
    return
  fi
  for link in $(grep '^http://.*/confirmation.html' "$SANDBOX_MAIL/$operations" | tail -n "$1"); do
    host=${link#http://}
    host=${host%%/*}
    exec 3<>"/dev/tcp/${host%:*}/${host#*:}" # bash itself opens the link
    printf 'GET %s HTTP/1.0\r\n\r\n' "${link#http://"$host"}" >&3
    said=$(tail -n 1 <&3)
    exec 3<&-
    echo "  $said"
  done
}

# Shows the first mail whose text matches, when it comes.
mail() {
  if [ -z "${SANDBOX_MAIL:-}" ]; then
    read -r -p "  Press Enter when the mail has come. "
    return
  fi
  patiently grep -Eq "$1" "$SANDBOX_MAIL/$operations"
  grep -E -m 1 "$1" "$SANDBOX_MAIL/$operations" | sed 's/^/  mail: /' | cut -c 1-200
}

# Shows the table of an audit, which ends with this exit code.
audited() {
  local expected=$1 code=0
  shift
  command_line "$@" --output table
  ./jbang "$@" --output table >"$work/table" 2>"$work/log" || code=$?
  sed 's/^/  /' "$work/table" | cut -c 1-200
  [ $code = "$expected" ] || { cat "$work/log" >&2; return 1; }
  echo "  exit code $code"
}

# Waits until a command succeeds.
patiently() {
  local seconds
  for ((seconds = 0; seconds < 600; seconds++)); do
    if "$@"; then return; fi
    sleep 1
  done
  echo "For ten minutes this has failed: $*" >&2
  return 1
}

echo "A tour of the toolkit, against ${AWS_ENDPOINT_URL:-AWS} in $AWS_REGION. The first start of each script takes a few seconds more."
[ -z "${SANDBOX_S3:-}" ] || echo "Nothing leaves this machine. The decisions of this sandbox are not AWS's: what it allows AWS may refuse."
echo "The repositories are in the account 111122223333, the backups in 444455556666, whose administrator is the profile backup. Other profiles are a developer, a reader of the backups and others: see README."

say "1. A key of your own, which developers may use"
thrice create-kms-key --alias alias/codecommit --users "$developer" --tags Team=Payments

say "2. A repository encrypted under it"
repo=(create-encrypted-repo --repository-name "$repository" --kms-key-id alias/codecommit --tags Team=Payments)
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
deny=(apply-branch-deny --branches main 'release/*' --role-names "${developer##*/}" --allow-pull-request-merges)
thrice "${deny[@]}" --repository-names "$repository"

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
branch=$(git -C "$source" symbolic-ref -q HEAD || echo refs/heads/detached) # what HEAD is at may be ahead of main
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

say "7. Whoever merges a pull request into them needs the approval of somebody else"
thrice require-approval --template-name one-for-main --approvals 1 --branches main 'release/*' --all-repositories

say "8. Each push invokes a function, and a test says whether that arrives"
trigger=(add-repo-trigger --trigger-name build --repository-names "$repository" payments --destination-arn "$FUNCTION_ARN")
thrice "${trigger[@]}"
trigger+=(--test)
command_line "${trigger[@]}"
echo "  delivered: $(./jbang "${trigger[@]}" --print /repositories/0/test/delivered)"

say "9. Another account has a bucket for the backups, to which a role of this one can add and from which it cannot delete, under a key that it shares"
bucket=$BACKUP_BUCKET-locked
backups_key=(create-kms-key --profile backup --alias alias/backups)
command_line "${backups_key[@]}"
echo "  $(./jbang "${backups_key[@]}" --print /status)"
thrice share-kms-key --profile backup --key-id alias/backups --account-ids 111122223333 --via-services s3
locked=(create-backup-bucket --profile backup --bucket "$bucket" --kms-key-id alias/backups --retention-days 31 --reader-role-arns "$backup_reader" --writer-role-arns "$administrator")
thrice "${locked[@]}"

say "10. Every repository of the account is backed up"
thrice backup-to-s3 --bucket "$bucket" --profile administrator

say "11. A reader of the backups cannot write to the bucket"
reader=(backup-to-s3 --bucket "$bucket" --profile backup-reader)
command_line "${reader[@]}"
refused 'not authorized to perform: s3:PutObject' ./jbang "${reader[@]}"

say "12. What is in the bucket is a Git bundle: git alone gets the repository back"
if [ -n "${SANDBOX_S3:-}" ]; then
  bundle=$(find "$SANDBOX_S3/$bucket" -path "*/$repository/*.full.bundle") # the sandbox shows its buckets as directories
  cp "$bundle" "$work/$repository.bundle"
else
  aws s3 cp --profile backup-reader --recursive --exclude '*' --include "*/$AWS_REGION/$repository/*.full.bundle" "s3://$bucket" "$work/bucket"
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

say "13. All backups are proven to restore, object by object"
verify=(verify-backups --bucket "$bucket" --deep --profile administrator)
command_line "${verify[@]}"
echo "  $(./jbang "${verify[@]}" --print /status)"

say "14. A repository that was lost comes back, under a new name"
thrice restore-from-s3 --bucket "$bucket" --repository-name "$repository" --to-repository-name "$repository-restored" --kms-key-id alias/codecommit --profile administrator
git ls-remote "${url%/*}/$repository-restored" >"$work/restored"
if ! diff "$work/pushed" "$work/restored"; then
  echo "The restored repository differs (< pushed, > restored)." >&2
  exit 1
fi
echo "  HEAD and every one of its refs are the same as those that were pushed."

say "15. The backup comes by itself: every night, and after each push"
schedule=(schedule-backup --bucket "$bucket" --bucket-owner 444455556666 --source-bucket "$SOURCE_BUCKET" --on-push)
thrice "${schedule[@]}"

say "16. A mail tells of a build that failed, to those who have confirmed that they want it"
notify=(notify-build-failures --project-names codecommit-backup --emails "$operations") # that of the pushes may be silent
command_line "${notify[@]}"
status_of 'with --dry-run:' "${notify[@]}" --dry-run
status_of 'for real:' "${notify[@]}" || [ $? = 4 ]
confirm 1
status_of 'once more:' "${notify[@]}"
[ "$status" = unchanged ]

say "17. A build is started by hand. It fails, for the bucket does not let its role in, and that is told"
run_now=("${schedule[@]}" --run-now)
command_line "${run_now[@]}"
code=0
./jbang "${run_now[@]}" --print /status >"$work/status" 2>"$work/log" || code=$?
[ $code = 3 ] || { cat "$work/log" >&2; exit 1; }
echo "  $(cat "$work/status"), exit code 3"
grep -m 1 'log: backup-to-s3: ' "$work/log" | sed 's/^/  /' | cut -c 1-200
mail 'Build of codecommit-backup in .*: FAILED'

say "18. The bucket lets the role in, a push starts a build that saves the repository, and the reader of the backups verifies it"
locked+=("arn:aws:iam::111122223333:role/codecommit-backup-$AWS_REGION")
command_line "${locked[@]}"
echo "  $(./jbang "${locked[@]}" --print /status)"
runs() { # the last that a run writes is a record of it
  if [ -n "${SANDBOX_S3:-}" ]; then
    find "$SANDBOX_S3/$bucket" -path '*/runs/*.json.gz'
  else
    aws s3 ls --profile backup-reader --recursive "s3://$bucket" | grep /runs/
  fi | sort
}
runs >"$work/runs"
has_other_runs() { ! runs | cmp -s - "$work/runs"; }
idea=$(git -C "$work/developer.git" -c user.name=Bob -c user.email=bob@example.com commit-tree -p "$idea" -m "A better idea" 'HEAD^{tree}')
echo "\$ git push --force $url $idea:refs/heads/idea"
quietly env AWS_PROFILE=developer "${push[@]}" "$idea:refs/heads/idea"
patiently has_other_runs
verify=(verify-backups --bucket "$bucket" --profile backup-reader --account 111122223333 --repository-names "$repository" --deep)
command_line "${verify[@]}"
echo "  $(./jbang "${verify[@]}" --print /status)"

say "19. Somebody hears when a repository, a key or a deny is in danger"
watch=(watch-security-events --all-repositories --key-ids alias/codecommit --policy-names "codecommit-branch-deny-$AWS_REGION" --emails "$operations")
command_line "${watch[@]}"
status_of 'with --dry-run:' "${watch[@]}" --dry-run
status_of 'for real:' "${watch[@]}" || [ $? = 4 ]
confirm 2 # calls of IAM are told in a Region of their own
status_of 'once more:' "${watch[@]}"
[ "$status" = unchanged ]
echo "\$ git push $url :refs/heads/idea"
quietly env AWS_PROFILE=developer "${push[@]}" :refs/heads/idea
mail 'Security event: referenceDeleted'

say "20. Which repositories are not under a key of your own? Those get it"
audited 4 audit-encryption --require-customer-managed --require-rotation
for name in $(awk '/aws-managed/ {print $1}' "$work/table"); do
  mend=(create-encrypted-repo --repository-name "$name" --kms-key-id alias/codecommit)
  command_line "${mend[@]}"
  echo "  $(./jbang "${mend[@]}" --print /status)"
done
audited 0 audit-encryption --require-customer-managed --require-rotation

say "21. Who can still change main? Only who should"
audit=(audit-branch-protection --branches main --all-repositories --allow-pull-request-merges --except-roles "${administrator##*/}" --except-users operator)
audited 4 "${audit[@]}"
deny+=(--all-repositories)
command_line "${deny[@]}"
echo "  $(./jbang "${deny[@]}" --print /status)"
audited 0 "${audit[@]}"
