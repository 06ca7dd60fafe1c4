///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Shares a KMS key with other accounts or their roles, or withdraws it, by one statement of its policy.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:kms
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//FILES policies/key-share.json=../policies/key-share.json
//FILES policies/key-share-other-account.json=../policies/key-share-other-account.json
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

import com.fasterxml.jackson.annotation.*;
import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.RecordComponent;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.time.*;
import java.util.*;
import java.util.concurrent.Callable;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import javax.net.ssl.*;
import picocli.CommandLine;
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.KeyManagerType;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.kms.model.KeySpec;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUsageType;
import software.amazon.awssdk.services.kms.model.MalformedPolicyDocumentException;
import software.amazon.awssdk.services.kms.model.MultiRegionKey;
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Shares a customer managed KMS key with other AWS accounts, or with roles of theirs alone, and withdraws it again.
 *
 * <p>Changes in AWS: one statement of the key's policy, KeySharing. What is given is added to what the statement has:
 * other accounts and roles stay in it. An account is shared either as a whole ({@code --account-ids}) or with roles
 * alone ({@code --role-arns}); what was given last counts. {@code --remove} takes the given accounts, with their roles,
 * or the given roles away, and with the last of them the statement. Actions, services and organization hold for all
 * that the statement shares with; if they are not given, they stay. Whatever else was changed in the statement is
 * brought in line, but for further conditions: they narrow it, so they stay and are named. All other statements stay.
 *
 * <p>{@code --policy-file} adds further statements of the operator's own, or puts them in the place of those with the
 * same Sids; with {@code --remove} they go, by their Sids. KeySharing and the statements of create-kms-key are not for
 * it, and a policy that no one of the account could change again is refused.
 *
 * <p>The key's policy is one half: in the other account an IAM policy must allow the use of the key, by its ARN. The
 * result has that policy ({@code identityPolicy}). Roles stand in a condition (aws:PrincipalArn) and not among the
 * principals: they need not exist yet, and may be deleted and created again; whoever may create a role of that name in
 * that account may use the key. KMS takes the id of any account: a typing error lets strangers in, unless
 * {@code --organization-id} keeps them out.
 *
 * <p>What a withdrawal leaves is named: grants of the account, and other statements that let it in. So are the other
 * keys of a multi-Region key, each of which has a policy of its own.
 *
 * <p>A second run with the same arguments changes nothing. KMS has no version of a policy that a change could insist
 * on: two people who change it at once may overwrite each other. The policy is read right before it is written, and
 * again until KMS shows it. If it lacks the statement then, the change is made again; other statements that vanished
 * are named.
 *
 * <p>IAM actions:
 * <ul>
 * <li>kms:DescribeKey, kms:GetKeyPolicy
 * <li>kms:PutKeyPolicy to change the policy
 * <li>kms:ListGrants for a withdrawal
 * </ul>
 */
@Command(name = "share-kms-key", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Shares a KMS key with other accounts or their roles, or withdraws it, by one statement of its"
                + " policy.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang share-kms-key --key-id alias/backups --via-services s3 \\",
                "      --role-arns arn:aws:iam::111122223333:role/BackupWriter",
                "  ./jbang share-kms-key --key-id alias/backups --remove \\",
                "      --account-ids 111122223333"})
class ShareKmsKey implements Callable<Integer> {
    @Option(names = "--key-id", paramLabel = "KEY", required = true,
            description = "The key to share: its id, ARN, alias (alias/NAME) or alias ARN.")
    String keyId;

    @ArgGroup
    With with = new With();

    static class With {
        @Option(names = "--account-ids", paramLabel = "ACCOUNT", arity = "1..*",
                description = "Accounts to share the key with as a whole, in addition to those that have it. In each,"
                        + " IAM policies decide who may use it.")
        List<String> accountIds = List.of();

        @Option(names = "--role-arns", paramLabel = "ARN", arity = "1..*",
                description = "Roles of other accounts to share the key with, in addition to those that have it. Of"
                        + " their accounts no one else may use it.")
        List<String> roleArns = List.of();
    }

    @Option(names = "--policy-file", paramLabel = "FILE",
            description = "Further statements of your own for the key policy, in JSON: a policy, a list or one. By its"
                    + " Sid, each takes the place of a statement of the key, or is added; with --remove it goes. Other"
                    + " statements stay.")
    Path policyFile;

    @Option(names = "--via-services", paramLabel = "SERVICE", arity = "1..*",
            description = "Only through these services, such as s3, for all that the key is shared with.")
    List<String> viaServices = List.of();

    @Option(names = "--organization-id", paramLabel = "ID",
            description = "Only for accounts of this organization, which keeps out the stranger of a mistyped account"
                    + " id.")
    String organizationId;

    @Option(names = "--actions", paramLabel = "ACTION", arity = "1..*",
            description = "What may be done with the key, such as kms:Decrypt, for all that it is shared with. Default"
                    + " for a new share: the seven actions that use takes.")
    List<String> actions = List.of();

    @Option(names = "--remove",
            description = "Takes the key away from the given accounts, with all of their roles, or from the given"
                    + " roles; the statement goes with the last of them.")
    boolean remove;

    /**
     * The printed document.
     *
     * @param identityPolicy the IAM policy that the users of the key need in their accounts; null if there are none
     */
    record Result(String status, String account, String region, Key key, JsonNode identityPolicy, List<Change> changes,
            String undo) {}

    /**
     * @param accountIds shared with as a whole
     * @param statement null if the key is not shared
     * @param fileStatements the Sids of the statements of --policy-file that the key has; null without one
     * @param otherStatements the Sids of the statements that are not this script's
     * @param otherKeyArns of a multi-Region key, those in other Regions
     * @param policy in a dry run
     * @param grants after a withdrawal, those that the accounts still have
     */
    record Key(String keyId, String keyArn, String keyState, Collection<String> accountIds,
            Collection<String> roleArns, JsonNode statement, List<String> fileStatements, List<String> otherStatements,
            List<String> otherKeyArns, JsonNode policy, List<Grant> grants) {}

    record Grant(String grantId, String granteePrincipal, List<String> operations) {}

    /** Whom a key is shared with: accounts as a whole, and roles of other accounts. */
    record Sharing(Set<String> accountIds, Set<String> roleArns) {
        Set<String> allAccountIds() {
            var all = new TreeSet<>(accountIds);
            roleArns.forEach(role -> all.add(accountOf(role)));
            return all;
        }
    }

    static final String SID = "KeySharing";
    /** Statements that other options and scripts give. */
    static final Set<String> NOT_FOR_FILES = Set.of(SID, "AccountAdministration", "KeyAdministration", "KeyUsage");
    /** What use of a key takes. */
    static final Set<String> USE = new TreeSet<>(Set.of("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt",
            "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"));
    /** Nothing else has an effect for another account, on a key for symmetric encryption. */
    static final Set<String> ACROSS_ACCOUNTS = new TreeSet<>(Stream.concat(USE.stream(),
            Stream.of("kms:CreateGrant", "kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext",
                    "kms:GetKeyRotationStatus", "kms:ListGrants", "kms:RetireGrant", "kms:RevokeGrant")).toList());
    /** How often the statement is put in before others who change the policy at once are given way to. */
    static final int MOST_ATTEMPTS = 5;

    /** How long KMS may show the old policy after a change; usually seconds. */
    Duration newsPatience = Duration.ofSeconds(30);

    KmsClient kms;
    /** Those of --policy-file. */
    List<JsonNode> fileStatements = List.of();

    public static void main(String[] args) {
        System.exit(new ShareKmsKey().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        connect();
        checkAccounts();
        kms = client(KmsClient.builder());
        var key = naming(keyId, () -> bringInLine());
        return print(new Result(printed(strongest(changes)), caller.account(), region(), key, identityPolicy(key),
                changes, undo()), 0);
    }

    void checkOptions() {
        checkCustomerKeyId("--key-id", keyId);
        if (!namesAccounts() && policyFile == null) {
            throw wrong("must have one of --account-ids, --role-arns and --policy-file; for example: "
                    + firstExample());
        }
        if (!namesAccounts() && !(viaServices.isEmpty() && organizationId == null && actions.isEmpty())) {
            throw wrong("--via-services, --organization-id, --actions: must come with --account-ids or --role-arns,"
                    + " such as --account-ids 444455556666");
        }
        if (policyFile != null) {
            checkPolicyFile();
        }
        with.accountIds.forEach(account -> checkAccount("--account-ids", account));
        with.roleArns.forEach(arn -> checkRoleArn("--role-arns", arn));
        viaServices.forEach(service -> check("--via-services", service, "[a-z][a-z0-9-]*",
                "the name of a service in its endpoint, such as s3"));
        if (organizationId != null) {
            check("--organization-id", organizationId, "o-[a-z0-9]{10,32}",
                    "the id of an organization, such as o-a1b2c3d4e5");
        }
        actions.forEach(action -> check("--actions", action, String.join("|", ACROSS_ACCOUNTS),
                "one of those that work across accounts: " + String.join(", ", ACROSS_ACCOUNTS)));
        if (remove && !(viaServices.isEmpty() && organizationId == null && actions.isEmpty())) {
            throw wrong("--remove: use it without --via-services, --organization-id and --actions; it takes accounts"
                    + " or roles away, such as --account-ids 444455556666 --remove");
        }
    }

    /** Whether it is about the statement of this script, and not about those of --policy-file alone. */
    boolean namesAccounts() {
        return !(with.accountIds.isEmpty() && with.roleArns.isEmpty());
    }

    void checkPolicyFile() {
        fileStatements = keyStatements(policyFile);
        fileStatements.stream().map(statement -> sid(statement)).filter(sid -> NOT_FOR_FILES.contains(sid)).findFirst()
                .ifPresent(sid -> {
                    throw wrong("--policy-file " + policyFile + ": must not have the statement " + sid
                            + ", which " + (sid.equals(SID) ? "the other options give" : "create-kms-key gives")
                            + ": use another Sid, such as Auditors");
                });
        checkLeavesAdministrators(policyFile, fileStatements, account -> withStatements(parsedPolicy("""
                {"Statement": [{"Sid": "AccountAdministration", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
                    "Principal": {"AWS": "%s"}}]}""".formatted(account)), fileStatements));
        var size = fileStatements.stream().mapToInt(statement -> sizeOf(statement)).sum();
        if (size > LONGEST_KEY_POLICY) {
            throw wrong("--policy-file " + policyFile + ": must be shorter, its statements have " + size
                    + " bytes, and KMS takes " + LONGEST_KEY_POLICY);
        }
    }

    /** The Sids of the statements that are this script's. */
    List<String> ownSids() {
        return Stream.concat(Stream.of(SID), fileStatements.stream().map(statement -> sid(statement))).toList();
    }

    /** What only the caller's own account tells. */
    void checkAccounts() {
        var given = new Sharing(Set.copyOf(with.accountIds), Set.copyOf(with.roleArns));
        if (given.allAccountIds().contains(caller.account())) {
            throw new Failure(caller.account() + " is the account of the key: its own users and roles are for"
                    + " ./jbang create-kms-key --users");
        }
        checkPartitions(with.roleArns);
        if (keyId.startsWith("arn:") && !keyId.split(":")[4].equals(caller.account())) {
            throw new Failure(keyId + " is of another account than these credentials, " + caller.account()
                    + "; only its own account shares it: use --profile");
        }
    }

    Key bringInLine() {
        var key = shareableKey();
        var policy = updatePolicy(key);
        var otherKeys = otherKeys(key);
        if (!otherKeys.isEmpty()) {
            note(keyId + ": a multi-Region key, whose other keys have policies of their own; share or withdraw each of"
                    + " them, with its --region: " + String.join(", ", otherKeys));
        }
        var statement = ownStatement(policy);
        var sharing = sharing(statement);
        var others = foreignStatements(policy, ownSids());
        var fileSids = statements(policy).stream().map(each -> sid(each))
                .filter(sid -> !sid.equals(SID) && ownSids().contains(sid)).toList();
        return new Key(key.keyId(), key.arn(), key.keyStateAsString(), sharing.accountIds(), sharing.roleArns(),
                statement.orElse(null), policyFile == null ? null : fileSids,
                others.stream().map(other -> sid(other)).sorted().toList(), otherKeys,
                dryRun ? policy : null, remove ? left(key, others) : null);
    }

    KeyMetadata shareableKey() {
        KeyMetadata key;
        try {
            key = kms.describeKey(r -> r.keyId(keyId)).keyMetadata();
        } catch (NotFoundException e) {
            throw new Failure("no key " + keyId + " in " + region(), e);
        }
        if (key.keyManager() != KeyManagerType.CUSTOMER) {
            throw new Failure(key.arn() + " is managed by AWS, which lets no one change its policy; create a key of"
                    + " your own with ./jbang create-kms-key");
        }
        // a key must not be enabled to be withdrawn
        if (!remove || key.keyState() == KeyState.PENDING_DELETION) {
            checkUsable(key, "share another key");
        }
        return key;
    }

    static List<String> otherKeys(KeyMetadata key) {
        var regions = key.multiRegionConfiguration();
        if (regions == null) {
            return List.of();
        }
        return Stream.concat(Stream.of(regions.primaryKey()), regions.replicaKeys().stream())
                .map(MultiRegionKey::arn).filter(arn -> !arn.equals(key.arn())).toList();
    }

    /**
     * Changes the policy until KMS shows it with the wanted statement: someone else may write it at the same time.
     * Returns the policy that the key has then, or in a dry run would have.
     */
    ObjectNode updatePolicy(KeyMetadata key) {
        var current = currentPolicy(key);
        for (var attempt = 1;; attempt++) {
            var wanted = withFileStatements(withStatement(current, wantedStatement(key, current)));
            if (sameMeaning(current, wanted)) {
                return current;
            }
            if (attempt > MOST_ATTEMPTS) {
                throw new Failure("others keep changing the key policy at the same time; run the same command again");
            }
            if (attempt > 1) {
                note(keyId + ": someone else changed the key policy at the same time; changing it again ...");
            }
            checkTaken(key, current, wanted);
            changePolicy(key, current, wanted);
            if (dryRun) {
                return wanted;
            }
            current = policyAfter(key, current);
            nameVanished(wanted, current);
        }
    }

    /** The policy with the statements of --policy-file, or with --remove without them. */
    ObjectNode withFileStatements(ObjectNode policy) {
        if (!remove) {
            return withStatements(policy, fileStatements);
        }
        var fileSids = fileStatements.stream().map(statement -> sid(statement)).toList();
        var result = policy.deepCopy();
        result.putArray("Statement").addAll(foreignStatements(policy, fileSids));
        return result;
    }

    ObjectNode currentPolicy(KeyMetadata key) {
        var answer = kms.getKeyPolicy(r -> r.keyId(key.arn()).policyName("default"));
        return parsedPolicy(answer.policy());
    }

    /** The policy as KMS shows it once it is no longer the old one. */
    ObjectNode policyAfter(KeyMetadata key, ObjectNode old) {
        return poll(newsPatience, () -> Optional.of(currentPolicy(key)).filter(shown -> !sameMeaning(shown, old)))
                .orElseThrow(() -> new Failure("KMS still shows the old key policy; the same command again shows"
                        + " whether the change holds"));
    }

    /** Whoever wrote the policy after this run had read less of it, or deleted statements on purpose. */
    void nameVanished(ObjectNode written, ObjectNode shown) {
        var left = foreignStatements(shown, Set.of(SID)).stream().map(statement -> meaning(statement)).toList();
        var vanished = foreignStatements(written, Set.of(SID)).stream()
                .filter(statement -> !left.contains(meaning(statement))).toList();
        if (!vanished.isEmpty()) {
            note(keyId + ": someone else changed the key policy at the same time; these statements of it are gone: "
                    + vanished);
        }
    }

    /** The statement of this script. */
    Optional<JsonNode> ownStatement(ObjectNode policy) {
        var own = statements(policy).stream().filter(statement -> sid(statement).equals(SID)).toList();
        if (own.size() > 1) {
            throw new Failure("its policy has " + own.size() + " statements with the Sid " + SID
                    + ", of which this script can know but one; delete or rename the others: " + own);
        }
        return own.stream().findFirst();
    }

    /** The policy with this statement in the place of the one that it has; without it if there is to be none. */
    static ObjectNode withStatement(ObjectNode policy, Optional<ObjectNode> statement) {
        var result = policy.deepCopy();
        var statements = result.putArray("Statement").addAll(foreignStatements(policy, Set.of(SID)));
        statement.ifPresent(own -> statements.add(own));
        return result;
    }

    /** The statement as it should be; empty if the key is to be shared with no one. */
    Optional<ObjectNode> wantedStatement(KeyMetadata key, ObjectNode policy) {
        var present = ownStatement(policy);
        if (!namesAccounts()) {
            return present.map(statement -> (ObjectNode) statement);
        }
        var sharing = remove ? without(sharing(present)) : with(sharing(present));
        if (sharing.allAccountIds().isEmpty()) {
            return Optional.empty();
        }
        var statement = (ObjectNode) template("key-share.json", Map.of(
                "accounts", sharing.allAccountIds().stream().map(id -> principalArn(id, "root")).toList(),
                "principals", sharing.roleArns().isEmpty() ? List.of()
                        : Stream.concat(sharing.accountIds().stream().map(id -> principalArn(id, "*")),
                                sharing.roleArns().stream()).toList(),
                "actions", wantedActions(present),
                "services", viaServices.stream().distinct().map(service -> service + "." + region() + ".amazonaws.com")
                        .toList(),
                "organization", organizationId == null ? List.of() : List.of(organizationId))).at("/Statement/0");
        keepConditions(present, statement);
        dropEmptyConditions(statement);
        return Optional.of(statement);
    }

    /** With what the options give; of an account, its roles or the whole, whichever was given last. */
    Sharing with(Sharing present) {
        var given = new Sharing(new TreeSet<>(with.accountIds), new TreeSet<>(with.roleArns));
        var accounts = new TreeSet<>(present.accountIds());
        accounts.removeAll(given.allAccountIds());
        accounts.addAll(given.accountIds());
        var roles = new TreeSet<>(present.roleArns());
        roles.removeIf(role -> given.accountIds().contains(accountOf(role)));
        roles.addAll(given.roleArns());
        return new Sharing(accounts, roles);
    }

    Sharing without(Sharing present) {
        for (var role : with.roleArns) {
            if (present.accountIds().contains(accountOf(role))) {
                throw new Failure("it is shared with all of " + accountOf(role) + ", not with " + role
                        + " alone: withdraw it with --account-ids " + accountOf(role)
                        + " --remove, or name the roles that keep it with --role-arns");
            }
        }
        var accounts = new TreeSet<>(present.accountIds());
        accounts.removeAll(with.accountIds);
        var roles = new TreeSet<>(present.roleArns());
        roles.removeAll(with.roleArns);
        roles.removeIf(role -> with.accountIds.contains(accountOf(role)));
        return new Sharing(accounts, roles);
    }

    /** Whom the statement shares with; no one if there is none. */
    static Sharing sharing(Optional<JsonNode> statement) {
        var sharing = new Sharing(new TreeSet<>(), new TreeSet<>());
        if (statement.isEmpty()) {
            return sharing;
        }
        var account = Pattern.compile("(?:arn:aws[a-z-]*:iam::)?(\\d{12})(?::root)?");
        var accounts = texts(statement.get().at("/Principal/AWS")).map(account::matcher).filter(Matcher::matches)
                .map(id -> id.group(1)).toList();
        var principals = statement.get().path("Condition").path("ArnLike").path("aws:PrincipalArn");
        if (principals.isMissingNode()) {
            sharing.accountIds().addAll(accounts);
        }
        texts(principals).filter(arn -> arn.matches("arn:aws[a-z-]*:iam::\\d{12}:.+"))
                .filter(arn -> accounts.contains(accountOf(arn))).forEach(arn -> {
                    if (arn.endsWith(":*")) {
                        sharing.accountIds().add(accountOf(arn));
                    } else {
                        sharing.roleArns().add(arn);
                    }
                });
        return sharing;
    }

    /** Those that are given, else those that the statement has and may have. */
    Collection<String> wantedActions(Optional<JsonNode> present) {
        if (!actions.isEmpty()) {
            return new TreeSet<>(actions);
        }
        var kept = present.stream().flatMap(statement -> texts(statement.path("Action")))
                .filter(action -> ACROSS_ACCOUNTS.contains(action)).collect(Collectors.toCollection(TreeSet::new));
        return kept.isEmpty() ? USE : kept;
    }

    /** Keeps the conditions that are not given, but for the one that names the roles. */
    void keepConditions(Optional<JsonNode> present, ObjectNode statement) {
        var further = new ArrayList<String>();
        var conditions = present.map(statementBefore -> statementBefore.path("Condition"))
                .orElse(JSON.createObjectNode());
        for (var operator : conditions.properties()) {
            for (var condition : operator.getValue().properties()) {
                var place = statement.withObject("/Condition").withObject("/" + operator.getKey());
                var isOurs = place.has(condition.getKey());
                if (!isOurs) {
                    further.add(operator.getKey() + " " + condition.getKey());
                }
                if (!isOurs || !condition.getKey().equals("aws:PrincipalArn")
                        && place.get(condition.getKey()).isEmpty()) {
                    place.set(condition.getKey(), condition.getValue());
                }
            }
        }
        if (!further.isEmpty()) {
            note(keyId + ": kept conditions of the statement " + SID + " that are not this script's: "
                    + String.join(", ", further));
        }
    }

    static void dropEmptyConditions(ObjectNode statement) {
        var conditions = statement.withObject("/Condition");
        conditions.forEach(operator -> ((ObjectNode) operator).removeIf(value -> value.isArray() && value.isEmpty()));
        conditions.removeIf(operator -> operator.isEmpty());
        if (conditions.isEmpty()) {
            statement.remove("Condition");
        }
    }

    /**
     * Refuses a policy that KMS would not take back, though it has it already: because of a user or role that was
     * deleted since, or of a statement from the time before KMS asked for actions and resources (August 2025).
     */
    void checkTaken(KeyMetadata key, ObjectNode current, ObjectNode wanted) {
        if (policyFile != null) {
            checkMerged(wanted, fileStatements);
        }
        for (var statement : foreignStatements(current, ownSids())) {
            var deleted = deletedPrincipals(statement);
            if (!deleted.isEmpty()) {
                throw new Failure("KMS takes no change of this policy as long as its statement " + sid(statement)
                        + " names " + String.join(", ", deleted) + ", which was deleted" + wayOut(key));
            }
            for (var element : List.of("Action", "Resource")) {
                if (!statement.has(element) && !statement.has("Not" + element)) {
                    throw new Failure("KMS takes no change of this policy as long as its statement " + sid(statement)
                            + " has no " + element + wayOut(key));
                }
            }
        }
        var length = sizeOf(wanted);
        if (length > LONGEST_KEY_POLICY) {
            throw new Failure("the key policy would have " + length + " bytes, and KMS takes " + LONGEST_KEY_POLICY
                    + ": share with accounts as a whole, or delete other statements");
        }
    }

    String wayOut(KeyMetadata key) {
        return "; mend or delete it first, in a file that these commands read and write: "
                + aws("kms get-key-policy --policy-name default --output text --query Policy --key-id " + key.keyId())
                + " > policy.json; " + aws("kms put-key-policy --policy-name default --policy file://policy.json"
                        + " --key-id " + key.keyId());
    }

    void changePolicy(KeyMetadata key, ObjectNode current, ObjectNode wanted) {
        var status = Status.UPDATED;
        if (statements(current).equals(foreignStatements(current, ownSids()))) {
            status = Status.CREATED;
        } else if (statements(wanted).equals(foreignStatements(wanted, ownSids()))) {
            status = Status.DELETED;
        }
        warn(wanted);
        changes.clear(); // of an attempt that someone else has overwritten there is nothing left to undo
        undoCommands.clear();
        change(new Change(keyId, "policy", current, wanted, status),
                aws("kms put-key-policy",
                        Map.of("KeyId", key.keyId(), "PolicyName", "default", "Policy", current.toString())),
                () -> put(key, wanted));
    }

    /** What KMS takes, and nobody may have meant. */
    void warn(ObjectNode wanted) {
        var statement = ownStatement(wanted).orElse(JSON.createObjectNode());
        var organization = statement.at("/Condition/StringEquals").path("aws:PrincipalOrgID");
        if (namesAccounts() && !remove && organization.isMissingNode()) {
            var accounts = new Sharing(new TreeSet<>(with.accountIds), new TreeSet<>(with.roleArns)).allAccountIds();
            note(keyId + ": nothing but the account id keeps strangers out; check " + String.join(", ", accounts)
                    + ", or use --organization-id");
        }
        if (actions.contains("kms:CreateGrant")) {
            note(keyId + ": with kms:CreateGrant others may give themselves grants, which outlive a withdrawal");
        }
    }

    void put(KeyMetadata key, ObjectNode policy) {
        try {
            kms.putKeyPolicy(r -> r.keyId(key.arn()).policyName("default").policy(policy.toString()));
        } catch (MalformedPolicyDocumentException e) {
            var named = new TreeSet<>(sharing(ownStatement(policy)).allAccountIds());
            principalsOf(fileStatements).forEach(named::add);
            throw new Failure(reason(e) + "; KMS takes no account that does not exist, and no policy after which you"
                    + " could not change it again: check " + String.join(", ", named)
                    + " and that you are allowed kms:PutKeyPolicy by the policy's other statements", e);
        } catch (SdkException e) {
            if (!isDoubtful(e)) {
                throw e;
            }
            if (!sameMeaning(currentPolicy(key), policy)) {
                throw new Failure(reason(e) + "; the policy is as it was, as far as KMS shows; run the same command"
                        + " again", e);
            }
        }
    }

    /** What still lets the accounts use the key that it was taken from: says so, and returns their grants. */
    List<Grant> left(KeyMetadata key, List<JsonNode> otherStatements) {
        var accounts = new Sharing(Set.copyOf(with.accountIds), Set.copyOf(with.roleArns)).allAccountIds();
        if (accounts.isEmpty()) {
            return List.of();
        }
        var ofThem = Pattern.compile("\\b(" + String.join("|", accounts) + ")\\b|\"\\*\"");
        var statements = otherStatements.stream()
                .filter(statement -> statement.path("Effect").asText().equals("Allow"))
                .filter(statement -> statement.has("NotPrincipal")
                        || ofThem.matcher(statement.path("Principal").toString()).find())
                .toList();
        if (!statements.isEmpty()) {
            note(keyId + ": other statements of its policy still are for " + String.join(", ", accounts)
                    + " or for everybody: " + sids(statements));
        }
        var grants = kms.listGrantsPaginator(r -> r.keyId(key.arn())).grants().stream()
                .filter(grant -> ofThem.matcher(grant.granteePrincipal()).find())
                .map(grant -> new Grant(grant.grantId(), grant.granteePrincipal(), grant.operationsAsStrings()))
                .toList();
        for (var grant : grants) {
            note(keyId + ": " + grant.granteePrincipal() + " still has a grant; revoke it with: "
                    + aws("kms revoke-grant --key-id " + key.arn() + " --grant-id " + grant.grantId()));
        }
        return grants;
    }

    /** For the other accounts; null if the key is shared with none. */
    static JsonNode identityPolicy(Key key) {
        if (key.statement() == null) {
            return null;
        }
        var services = key.statement().path("Condition").path("StringEquals").path("kms:ViaService");
        var policy = template("key-share-other-account.json", Map.of(
                "actions", texts(key.statement().path("Action")).sorted().toList(),
                "key", key.keyArn(), "services", texts(services).sorted().toList()));
        dropEmptyConditions((ObjectNode) policy.at("/Statement/0"));
        return policy;
    }

    //region The same in every script: command line

    @Option(names = "--region", paramLabel = "REGION",
            description = "AWS Region. Default: AWS_REGION, else the profile's.")
    String region;

    @Option(names = "--profile", paramLabel = "NAME",
            description = "Profile of the AWS configuration files. Goes before credentials in the environment.")
    String profile;

    @Option(names = "--print", paramLabel = "POINTER",
            description = "Prints only the value at this JSON Pointer of the result, without quotes, e.g. /status.")
    JsonPointer print;

    @Option(names = {"-v", "--verbose"},
            description = "Prints every AWS call, and the stack trace of an error, to stderr.")
    boolean verbose;

    @Spec
    CommandSpec spec;

    CommandLine commandLine() {
        var commandLine = new CommandLine(this);
        spec.usageMessage().synopsisHeading("Usage: ./jbang ");
        return commandLine
                // JSON is UTF-8, whatever the terminal's encoding.
                .setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8))
                .setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8))
                .setUsageHelpAutoWidth(true)
                .setExpandAtFiles(false) // "@x" is a value, not a file of arguments
                .registerConverter(JsonPointer.class, text -> jsonPointer(text))
                .setParameterExceptionHandler((e, arguments) -> {
                    note(usageError(e, arguments));
                    return 2;
                })
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    fail(e);
                    return 1;
                });
    }

    /** Refuses what leads to nothing in the result: after the run it would be too late. */
    static JsonPointer jsonPointer(String text) {
        if (!text.startsWith("/")) {
            throw new TypeConversionException("'" + text + "' is not a JSON Pointer such as /status");
        }
        var pointer = JsonPointer.compile(text);
        var members = resultMembers();
        if (!members.contains(pointer.getMatchingProperty())) {
            throw new TypeConversionException("'" + text + "' is not in the result, which has /"
                    + String.join(", /", members));
        }
        return pointer;
    }

    /** The members of the printed documents, which are the records that begin with status and account. */
    static Set<String> resultMembers() {
        return Stream.of(MethodHandles.lookup().lookupClass().getDeclaredClasses()).filter(Class::isRecord)
                .map(type -> Stream.of(type.getRecordComponents()).map(RecordComponent::getName).toList())
                .filter(names -> names.size() > 1 && names.subList(0, 2).equals(List.of("status", "account")))
                .flatMap(List::stream).collect(Collectors.toCollection(LinkedHashSet::new));
    }

    String usageError(ParameterException e, String[] arguments) {
        var message = e.getMessage().replaceFirst("^Error: ", "").replaceAll("\\s+", " ");
        var help = " (help: ./jbang " + spec.name() + " --help)";
        if (e instanceof UnmatchedArgumentException unmatched) {
            return message + didYouMean(unmatched) + help;
        }
        if (!(e instanceof MissingParameterException)) {
            return message + help;
        }
        return unknownOption(arguments).map(name -> message + "; unknown option '" + name + "'"
                + didYouMean(new UnmatchedArgumentException(spec.commandLine(), List.of(name))) + help)
                .orElseGet(() -> message + help + "; for example: " + firstExample());
    }

    /** Of the help, in one line. */
    String firstExample() {
        return String.join("\n", spec.usageMessage().footer()).split("(?<!\\\\)\n")[0].replaceAll("\\s*\\\\\n\\s*", " ")
                .strip();
    }

    static String didYouMean(UnmatchedArgumentException e) {
        return e.getSuggestions().isEmpty() ? "" : "; did you mean " + e.getSuggestions().get(0) + "?";
    }

    /** Of a required option with a typing error, picocli says only that the option is missing. */
    Optional<String> unknownOption(String[] arguments) {
        return Stream.of(arguments).map(argument -> argument.split("=", 2)[0])
                .filter(name -> name.startsWith("--") && spec.findOption(name) == null
                        && !spec.negatedOptionsMap().containsKey(name))
                .findFirst();
    }

    /** The value, if it has the form; else exit code 2 and what is right. */
    String check(String option, String value, String form, String right) {
        if (value.matches(form)) {
            return value;
        }
        throw wrong(option + " '" + value + "': must be " + right);
    }

    ParameterException wrong(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    //endregion

    //region The same in every script: AWS clients

    private AwsCredentialsProvider credentials;
    /** Known once {@link #connect} has returned. */
    Caller caller;

    /** Whose credentials these are. */
    record Caller(String account, String partition, String arn) {}

    /**
     * Finds the credentials and asks STS whose they are, which needs no permission. Scripts call this after they have
     * checked their options and before they read or change anything, so that a missing sign-in is reported first.
     */
    void connect() {
        region();
        checkConfigurationFiles();
        if (profile != null) {
            System.setProperty("aws.profile", profile); // for the clients that the SDK makes itself to sign in
        }
        credentials = profile != null ? ProfileCredentialsProvider.create(profile)
                : DefaultCredentialsProvider.builder().build();
        useProxies(System.getenv());
        useCaBundle(System.getenv("AWS_CA_BUNDLE"));
        System.setProperty("software.amazon.awssdk.http.service.impl", HttpService.class.getName());
        try {
            credentials.resolveCredentials();
        } catch (SdkException e) {
            throw new Failure(whyNotSignedIn(e), e);
        }
        try (var sts = client(StsClient.builder())) {
            var identity = sts.getCallerIdentity();
            caller = new Caller(identity.account(), identity.arn().split(":")[1], identity.arn());
        }
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder) {
        return client(builder, AwsRetryStrategy.standardRetryStrategy());
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder, RetryStrategy retries) {
        return builder.region(Region.of(region())).credentialsProvider(credentials).overrideConfiguration(o -> {
            o.retryStrategy(retries);
            if (profile != null) {
                o.defaultProfileName(profile);
            }
            if (verbose) {
                o.addExecutionInterceptor(new CallLog());
            }
        }).build();
    }

    class CallLog implements ExecutionInterceptor {
        @Override
        public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes call) {
            note(call.getAttribute(SdkExecutionAttribute.SERVICE_NAME) + " "
                    + call.getAttribute(SdkExecutionAttribute.OPERATION_NAME) + ": HTTP "
                    + context.httpResponse().statusCode());
        }
    }

    /**
     * The HTTP client of all of the SDK's clients, those that it makes itself to assume a profile's role included. The
     * JDK opens the connections, by the proxies and certificates that Git uses, too.
     */
    public static class HttpService implements SdkHttpService, SdkHttpClient.Builder<HttpService> {
        @Override
        public HttpService createHttpClientBuilder() {
            return this;
        }

        @Override
        public SdkHttpClient buildWithDefaults(AttributeMap ofService) {
            var timeouts = ofService.merge(SdkHttpConfigurationOption.GLOBAL_HTTP_DEFAULTS);
            return UrlConnectionHttpClient.create(uri -> open(uri, timeouts));
        }

        private static HttpURLConnection open(URI uri, AttributeMap timeouts) {
            try {
                var connection = (HttpURLConnection) uri.toURL().openConnection();
                connection.setConnectTimeout(
                        (int) timeouts.get(SdkHttpConfigurationOption.CONNECTION_TIMEOUT).toMillis());
                connection.setReadTimeout((int) timeouts.get(SdkHttpConfigurationOption.READ_TIMEOUT).toMillis());
                return connection;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /**
     * Makes the JDK follow HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Of itself the SDK takes HTTP_PROXY even for https, and
     * no domains in NO_PROXY.
     */
    static void useProxies(Map<String, String> environment) {
        UnaryOperator<String> variable = name -> environment
                .getOrDefault(name, environment.getOrDefault(name.toUpperCase(Locale.ROOT), "")).strip();
        for (var scheme : List.of("http", "https")) {
            var proxy = variable.apply(scheme + "_proxy");
            if (!proxy.isEmpty()) {
                useProxy(scheme, proxy);
            }
        }
        var direct = Stream.of(variable.apply("no_proxy").split("[,\\s]+"))
                .map(host -> host.replaceFirst("^\\*?\\.", "")).filter(host -> !host.isEmpty())
                .map(host -> "|" + host + "|*." + host).collect(Collectors.joining());
        System.setProperty("http.nonProxyHosts", "localhost|127.*|[::1]" + direct);
    }

    static void useProxy(String scheme, String proxy) {
        var form = "(?:https?://)?(?:(?<user>[^:@/]*):(?<password>[^@/]*)@)?(?<host>[\\w.-]+|\\[[\\da-fA-F:]+])"
                + "(?::(?<port>\\d+))?/?";
        var parts = Pattern.compile(form).matcher(proxy);
        if (!parts.matches()) {
            throw new Failure(scheme.toUpperCase(Locale.ROOT) + "_PROXY must be of the form http://HOST:PORT");
        }
        System.setProperty(scheme + ".proxyHost", parts.group("host"));
        System.setProperty(scheme + ".proxyPort", Objects.requireNonNullElse(parts.group("port"), "80"));
        if (parts.group("user") == null) {
            return;
        }
        var signIn = new PasswordAuthentication(percentDecoded(parts.group("user")),
                percentDecoded(parts.group("password")).toCharArray());
        System.setProperty("jdk.http.auth.tunneling.disabledSchemes", ""); // the JDK's default has no Basic for https
        Authenticator.setDefault(new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return getRequestorType() == RequestorType.PROXY ? signIn : null;
            }
        });
    }

    static String percentDecoded(String text) {
        return URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
    }

    /** Makes the JDK trust the certificates of a PEM file in the place of its own, as the AWS CLI does. */
    static void useCaBundle(String file) {
        if (file == null || file.isEmpty()) {
            return;
        }
        try {
            // the parser reads byte by byte
            var pem = new ByteArrayInputStream(Files.readAllBytes(Path.of(file)));
            var trusted = KeyStore.getInstance(KeyStore.getDefaultType());
            trusted.load(null);
            for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                trusted.setCertificateEntry("certificate-" + trusted.size(), certificate);
            }
            var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            managers.init(trusted);
            var context = SSLContext.getInstance("TLS");
            context.init(null, managers.getTrustManagers(), null);
            HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        } catch (IOException | InvalidPathException | GeneralSecurityException e) {
            throw new Failure("AWS_CA_BUNDLE " + file + " must be a PEM file of certificates: " + reason(e), e);
        }
    }

    /** What the SDK cannot parse would show up as a missing Region or missing credentials. */
    static void checkConfigurationFiles() {
        ProfileFileLocation.configurationFileLocation()
                .ifPresent(file -> checkConfigurationFile(file, ProfileFile.Type.CONFIGURATION));
        ProfileFileLocation.credentialsFileLocation()
                .ifPresent(file -> checkConfigurationFile(file, ProfileFile.Type.CREDENTIALS));
    }

    static void checkConfigurationFile(Path file, ProfileFile.Type type) {
        try {
            ProfileFile.builder().content(file).type(type).build();
        } catch (IllegalArgumentException | IllegalStateException e) {
            throw new Failure(file + ": " + reason(e), e);
        }
    }

    /** The SDK's chain says only that all of its members failed: the profile's own reason is told, if one is meant. */
    String whyNotSignedIn(SdkException failure) {
        var profiles = ProfileFile.defaultProfileFile().profiles();
        var name = profile != null ? profile : ProfileFileSystemSetting.AWS_PROFILE.getStringValueOrThrow();
        var settings = profiles.get(name);
        if (name.equals("default") && (settings == null || signInHint(name, settings).isEmpty())) {
            return "no AWS credentials: use --profile, set AWS_PROFILE, or sign in; --verbose shows what was tried";
        }
        if (settings == null) {
            return "no profile " + name + " in the AWS configuration files; " + (profiles.isEmpty() ? "there is none"
                    : "there are: " + String.join(", ", new TreeSet<>(profiles.keySet())));
        }
        return "profile " + name + ": " + reason(profile != null ? failure : failureOf(name, failure))
                + signInHint(name, settings);
    }

    /** Why a profile gives no credentials; if it does by now, why the chain gave none. */
    static SdkException failureOf(String profile, SdkException failureOfChain) {
        try (var provider = ProfileCredentialsProvider.create(profile)) {
            provider.resolveCredentials();
            return failureOfChain;
        } catch (SdkException e) {
            return e;
        }
    }

    static String signInHint(String name, Profile profile) {
        if (profile.property("login_session").isPresent()) {
            return "; sign in with: aws login --profile " + name;
        }
        if (profile.property("sso_session").isPresent() || profile.property("sso_start_url").isPresent()) {
            return "; sign in with: aws sso login --profile " + name;
        }
        if (profile.property("mfa_serial").isPresent()) {
            return "; it asks for MFA, which only the AWS CLI can do: "
                    + "eval \"$(aws configure export-credentials --profile " + name + " --format env)\"";
        }
        return "";
    }

    String region() {
        if (region == null) {
            region = configuredRegion();
        }
        return checkRegion("--region", region);
    }

    String checkRegion(String option, String name) {
        return check(option, name, "[a-z]{2,4}(-[a-z]+)+-\\d{1,2}", "a Region such as eu-west-1");
    }

    private String configuredRegion() {
        checkConfigurationFiles();
        try {
            return DefaultAwsRegionProviderChain.builder().profileName(profile).build().getRegion().id();
        } catch (SdkClientException e) {
            throw new Failure("no Region: use --region or set AWS_REGION", e);
        }
    }

    //endregion

    //region The same in every script: output and errors

    /** What is not known yet, as in a dry run, is left out. */
    static final ObjectMapper JSON = new ObjectMapper().setDefaultPropertyInclusion(JsonInclude.Include.NON_NULL);
    /** What would move a terminal's cursor, change its colours, or hide or turn what follows. */
    static final Pattern CONTROL = Pattern.compile("[[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}]&&[^\t\r\n]]");

    /** Prints the result, or the part of it that --print asks for. */
    int print(Object result, int exitCode) {
        JsonNode document = JSON.valueToTree(result);
        var part = print == null ? document : document.at(print);
        if (part.isMissingNode()) {
            throw new Failure("the result has nothing at " + print + ": " + document);
        }
        var out = spec.commandLine().getOut();
        out.println(part.isValueNode() ? part.asText() : visible(part.toPrettyString()));
        if (out.checkError()) {
            throw new Failure("stdout cannot be written to; the result is: " + document);
        }
        return exitCode;
    }

    void note(String message) {
        spec.commandLine().getErr().println(spec.name() + ": " + visible(message.replaceAll("[\r\n]+", " ")));
    }

    /** With control characters as JSON writes them, so that others' names cannot control the terminal. */
    static String visible(String text) {
        return CONTROL.matcher(text).replaceAll(found -> Matcher.quoteReplacement(found.group().chars()
                .mapToObj(unit -> String.format("\\u%04x", unit)).collect(Collectors.joining())));
    }

    void fail(Exception e) {
        note(reason(e));
        trace(e);
    }

    /** With --verbose, where an error comes from. */
    void trace(Throwable e) {
        if (verbose) {
            var text = new StringWriter();
            e.printStackTrace(new PrintWriter(text));
            spec.commandLine().getErr().println(visible(text.toString().replace('\r', ' ').stripTrailing()));
        }
    }

    /** In one line: the error code and message of AWS, or what else went wrong. */
    static String reason(Throwable e) {
        if (e instanceof AwsServiceException answer && answer.awsErrorDetails() != null) {
            return reason(answer);
        }
        // A Failure says more than its cause does.
        for (var cause = e; cause != null && !(cause instanceof Failure); cause = cause.getCause()) {
            if (cause instanceof UnknownHostException) {
                return "unknown host " + cause.getMessage() + "; check --region, AWS_ENDPOINT_URL and the network";
            }
            if (cause instanceof CertPathBuilderException) {
                return "the certificate of the other side is not trusted: if a proxy inspects TLS, set AWS_CA_BUNDLE to"
                        + " a PEM file of its CA";
            }
        }
        var text = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        var line = text.lines().findFirst().orElse("");
        return e instanceof Failure ? line : shortened(line); // the commands in a Failure have to be complete
    }

    /** Others may say a whole page. */
    private static String shortened(String line) {
        return line.length() > 2000 ? line.substring(0, 2000) + " ..." : line;
    }

    private static String reason(AwsServiceException answer) {
        var details = answer.awsErrorDetails();
        var code = Objects.requireNonNullElse(details.errorCode(), "HTTP " + answer.statusCode());
        var message = details.errorMessage() == null ? ""
                : ": " + shortened(details.errorMessage().replaceAll("\\s+", " "));
        return code + message + " (request id " + answer.requestId() + ")"
                + (code.contains("Expired") ? "; sign in again" : "");
    }

    /** Whether the same call may succeed later: a lost connection, an error of the service, throttling. */
    static boolean isTemporary(Throwable e) {
        for (var cause = e; cause != null; cause = cause.getCause()) {
            if (cause instanceof AwsServiceException answer) {
                return answer.statusCode() >= 500 || answer.isThrottlingException() || isCutShort(answer);
            }
            if (cause instanceof SdkClientException || cause instanceof IOException) {
                return true;
            }
        }
        return false;
    }

    /** Whether the answer was cut: AWS names an error code in every refusal. */
    static boolean isCutShort(AwsServiceException answer) {
        return answer.awsErrorDetails() == null || answer.awsErrorDetails().errorCode() == null;
    }

    /** Repeats a look until it finds something or the time is over; the waits between grow from 250 ms to 5 s. */
    static <T> Optional<T> poll(Duration patience, Supplier<Optional<T>> look) {
        var end = Instant.now().plus(patience);
        var wait = Duration.ofMillis(250);
        var found = look.get();
        while (found.isEmpty() && Instant.now().isBefore(end)) {
            pause(wait);
            wait = Collections.min(List.of(wait.multipliedBy(2), Duration.ofSeconds(5)));
            found = look.get();
        }
        return found;
    }

    static void pause(Duration time) {
        try {
            Thread.sleep(time.toMillis());
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        }
    }

    /** A failure whose message says what went wrong and what to do. */
    static class Failure extends RuntimeException {
        Failure(String message, Throwable cause) {
            super(message, cause);
        }

        Failure(String message) {
            this(message, null);
        }
    }

    //endregion

    //region The same in every script: AWS CLI commands

    /** An AWS CLI command for the same Region and profile. */
    String aws(String command) {
        return "aws " + command + place();
    }

    /** The options by which a command, of the AWS CLI or of these scripts, goes to the same Region and profile. */
    String place() {
        return place(region());
    }

    String place(String otherRegion) {
        return " --region " + otherRegion + (profile == null ? "" : " --profile " + quote(profile));
    }

    /**
     * The same with the operation's input as JSON, for free text, of which the AWS CLI would take file:// and a leading
     * dash for its own syntax.
     */
    String aws(String operation, Map<String, ?> input) {
        return aws(operation + " --cli-input-json " + quote(JSON.valueToTree(new TreeMap<>(input)).toString()));
    }

    /** As one word of a shell command. */
    static String quote(String word) {
        return word.matches("[\\w@%+=:,./-]+") ? word : "'" + word.replace("'", "'\\''") + "'";
    }

    //endregion

    //region The same in every script: changes

    @Option(names = "--dry-run", description = "Only reads, and prints what would change.")
    boolean dryRun;

    /** The weakest first; a run that changes several things reports the strongest. */
    enum Status {
        UNCHANGED, UPDATED, CREATED, DELETED
    }

    /** @param resource whose field this is */
    record Change(String resource, String field, @JsonInclude Object from, @JsonInclude Object to,
            @JsonIgnore Status status) {
        static Change creation(String resource, String field, Object to) {
            return new Change(resource, field, null, to, Status.CREATED);
        }

        static Change update(String resource, String field, Object from, Object to) {
            return new Change(resource, field, from, to, Status.UPDATED);
        }

        static Change deletion(String resource, String field, Object from, Object to) {
            return new Change(resource, field, from, to, Status.DELETED);
        }
    }

    /** In the order in which they were made, or in a dry run would be. */
    List<Change> changes = new ArrayList<>();
    /** Commands that take the changes back, the last change first. */
    Deque<String> undoCommands = new ArrayDeque<>();

    /** Makes a change and records it; in a dry run only records it. */
    void change(Change change, String undoCommand, Runnable step) {
        if (!dryRun) {
            step.run();
        }
        record(change, undoCommand);
    }

    /** Records a change that was made. */
    void record(Change change, String undoCommand) {
        changes.add(change);
        if (undoCommand != null && !dryRun) {
            undoCommands.push(undoCommand);
        }
    }

    /** The command that takes all changes back; null if nothing was changed. */
    String undo() {
        return undoSince(0);
    }

    /** The command that takes back what was changed since there were so many undo commands; null if nothing was. */
    String undoSince(int count) {
        var latest = undoCommands.stream().limit(undoCommands.size() - count).toList();
        return latest.isEmpty() ? null : String.join(" && ", latest);
    }

    static Status strongest(List<Change> changes) {
        return changes.stream().map(Change::status).max(Comparator.naturalOrder()).orElse(Status.UNCHANGED);
    }

    /** "created", in a dry run "would-create". */
    String printed(Status status) {
        var done = status.name().toLowerCase(Locale.ROOT);
        return dryRun && status != Status.UNCHANGED ? "would-" + done.substring(0, done.length() - 1) : done;
    }

    /**
     * Runs steps that change a resource. A failure gets its name, and says what they had changed before and how that is
     * taken back: a run that fails prints no result.
     */
    <T> T naming(String resource, Supplier<T> steps) {
        var changesBefore = changes.size();
        var undoBefore = undoCommands.size();
        try {
            return steps.get();
        } catch (RuntimeException e) {
            var made = changes.stream().skip(changesBefore).map(Change::field).toList();
            var undo = undoSince(undoBefore);
            throw new Failure(resource + ": " + reason(e) + (made.isEmpty() || dryRun ? "" : "; changed before that: "
                    + String.join(", ", made) + (isTemporary(e) ? "; the same command again does the rest" : "")
                    + (undo == null ? "" : "; this takes it back: " + undo)), e);
        }
    }

    /** Whether a call may have had an effect although it failed: it was tried before, or the answer was lost. */
    static boolean isDoubtful(SdkException e) {
        return e.numAttempts() > 1 || isTemporary(e);
    }

    //endregion

    //region The same in every script: ids of accounts

    void checkAccount(String option, String account) {
        check(option, account, "\\d{12}", "an account id of 12 digits, such as 444455556666");
    }

    //endregion

    //region The same in every script: ids of keys

    void checkKeyId(String option, String id) {
        var arn = "arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:";
        var keyId = "mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
        check(option, id, "(" + arn + "key/)?(" + keyId + ")|(" + arn + ")?alias/[a-zA-Z0-9/_-]{1,250}",
                "the id, ARN or alias of a key, such as alias/codecommit");
        if (id.startsWith("arn:") && !id.split(":")[3].equals(region())) {
            throw wrong(option + " '" + id + "': must be a key of the Region " + region() + ", or use --region "
                    + id.split(":")[3]);
        }
    }

    //endregion

    //region The same in every script: ids of customer managed keys

    void checkCustomerKeyId(String option, String id) {
        checkKeyId(option, id);
        check(option, id, "(?!(.*:)?alias/aws/).*", "a customer managed key, such as alias/backups");
    }

    //endregion

    //region The same in every script: usable keys

    /**
     * Refuses a key that services cannot encrypt under.
     *
     * @param remedy what to do about a key of the wrong kind
     */
    void checkUsable(KeyMetadata key, String remedy) {
        if (key.keySpec() != KeySpec.SYMMETRIC_DEFAULT || key.keyUsage() != KeyUsageType.ENCRYPT_DECRYPT) {
            throw new Failure(key.arn() + " is " + key.keySpecAsString() + " for " + key.keyUsageAsString()
                    + "; encryption at rest needs SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT: " + remedy);
        }
        var enable = aws("kms enable-key --key-id " + key.keyId());
        if (key.keyState() == KeyState.PENDING_DELETION) {
            throw new Failure(key.arn() + " will be deleted on " + key.deletionDate() + "; keep it with: "
                    + aws("kms cancel-key-deletion --key-id " + key.keyId()) + " && " + enable);
        }
        if (key.keyState() != KeyState.ENABLED) {
            throw new Failure(key.arn() + " is " + key.keyStateAsString() + "; enable it with: " + enable);
        }
    }

    //endregion

    //region The same in every script: policies

    /** A policy template with its placeholders filled; it is an error if one has no value. */
    static ObjectNode template(String name, Map<String, ?> values) {
        try (var file = MethodHandles.lookup().lookupClass().getResourceAsStream("/policies/" + name)) {
            return (ObjectNode) filled(JSON.readTree(file), values);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The tree with the placeholders filled in all of its strings; the policy variables of IAM (${aws:...}) stay. */
    static JsonNode filled(JsonNode node, Map<String, ?> values) {
        if (node.isObject()) {
            node.properties().forEach(member -> member.setValue(filled(member.getValue(), values)));
            return node;
        }
        if (node.isArray()) {
            return JSON.createArrayNode().addAll(node.valueStream().map(item -> filled(item, values)).toList());
        }
        return node.isTextual() ? filled(node.textValue(), values) : node;
    }

    /** A text that is just one placeholder becomes the whole value, such as a list. */
    private static JsonNode filled(String text, Map<String, ?> values) {
        var placeholder = Pattern.compile("\\$\\{(\\w+)}");
        var whole = placeholder.matcher(text);
        if (whole.matches()) {
            return JSON.valueToTree(value(whole.group(1), values));
        }
        return JSON.getNodeFactory().textNode(placeholder.matcher(text).replaceAll(
                found -> Matcher.quoteReplacement(String.valueOf(value(found.group(1), values)))));
    }

    private static Object value(String name, Map<String, ?> values) {
        if (!values.containsKey(name)) {
            throw new IllegalArgumentException("the policy template has ${" + name + "}, which has no value");
        }
        return values.get(name);
    }

    static ObjectNode parsedPolicy(String document) {
        try {
            return (ObjectNode) JSON.readTree(document);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static List<JsonNode> statements(JsonNode policy) {
        var statements = policy.path("Statement");
        return statements.isArray() ? statements.valueStream().toList() : List.of(statements);
    }

    /** The statements of a policy that have none of our Sids. */
    static List<JsonNode> foreignStatements(JsonNode policy, Collection<String> ownSids) {
        return statements(policy).stream().filter(statement -> !ownSids.contains(sid(statement))).toList();
    }

    static String sid(JsonNode statement) {
        return statement.path("Sid").asText("(no Sid)");
    }

    static String sids(List<JsonNode> statements) {
        return statements.stream().map(statement -> sid(statement)).collect(Collectors.joining(", "));
    }

    /** The texts of a list, of which AWS shows one by itself; none if there is nothing. */
    static Stream<String> texts(JsonNode oneOrMore) {
        var values = oneOrMore.isArray() ? oneOrMore.valueStream() : Stream.of(oneOrMore);
        return values.filter(value -> !value.isMissingNode()).map(value -> value.asText());
    }

    /** Whether two policies say the same, however AWS has rewritten one of them. */
    static boolean sameMeaning(JsonNode one, JsonNode other) {
        return meanings(one).equals(meanings(other));
    }

    private static Set<Object> meanings(JsonNode policy) {
        return statements(policy).stream().map(statement -> meaning(statement)).collect(Collectors.toSet());
    }

    /**
     * One form for all spellings: sets for lists and single values, text for numbers and booleans, account ids for root
     * ARNs, {"AWS": "*"} for "*".
     */
    static Object meaning(JsonNode node) {
        if (!node.isObject()) {
            return texts(node).map(text -> text.replaceAll("^arn:aws[a-z-]*:iam::(\\d{12}):root$", "$1"))
                    .collect(Collectors.toSet());
        }
        var members = new TreeMap<String, Object>();
        node.properties().forEach(member -> {
            var isEveryone = member.getKey().endsWith("Principal") && member.getValue().asText().equals("*");
            members.put(member.getKey(), isEveryone ? Map.of("AWS", Set.of("*")) : meaning(member.getValue()));
        });
        return members;
    }

    //endregion

    //region The same in every script: policy files

    /**
     * What the statements of a file may say.
     *
     * @param sid a pattern, as the next two
     */
    record PolicyRules(String sid, String action, String resource, String exampleAction, String exampleResource) {}

    /** What AWS knows as principals in a policy of a resource, by kind. */
    private static final Map<String, String> PRINCIPALS = Map.of(
            "AWS", "\\*|\\d{12}|arn:aws[a-z-]*:iam::\\d{12}:(root|(role|user)/[\\w+=,.@/-]+)"
                    + "|arn:aws[a-z-]*:sts::\\d{12}:(assumed-role/[\\w+=,.@-]+|federated-user)/[\\w+=,.@-]+",
            "Service", "[a-z0-9-]+(\\.[a-z0-9-]+)*\\.amazonaws\\.com(\\.cn)?",
            "Federated", "[\\w.-]+|arn:aws[a-z-]*:iam::\\d{12}:(saml|oidc)-provider/.+");
    private static final String OPERATOR = "(ForAllValues:|ForAnyValue:)?"
            + "(String(Not)?(Equals(IgnoreCase)?|Like)|(Numeric|Date)((Not)?Equals|(Less|Greater)Than(Equals)?)"
            + "|Arn(Not)?(Equals|Like)|Bool|BinaryEquals|(Not)?IpAddress)(IfExists)?|Null";

    /**
     * The statements of a file of the operator's own: of a policy, a list of statements, or one. What AWS would refuse,
     * or take for another thing than was meant, is refused here, before any call.
     */
    List<JsonNode> fileStatements(String option, Path file, PolicyRules rules) {
        var place = option + " " + file;
        var content = fileContent(place, file);
        must(place, content.isContainerNode(), "be a policy, or its statements, in JSON");
        if (content.has("Statement")) {
            checkMembers(place, content, Set.of("Version", "Id", "Statement"));
            must(place, content.path("Version").asText().equals("2012-10-17"), "have \"Version\": \"2012-10-17\"");
        }
        var policy = content.has("Statement") ? content : JSON.createObjectNode().set("Statement", content);
        var found = statements(policy);
        must(place, !found.isEmpty(), "have a statement");
        found.forEach(statement -> checkStatement(place, statement, rules));
        var knownSids = new HashSet<String>();
        found.forEach(statement -> must(place, knownSids.add(sid(statement)),
                "have each Sid once, not " + sid(statement) + " twice"));
        return found;
    }

    private JsonNode fileContent(String place, Path file) {
        try {
            return JSON.reader().with(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).readTree(Files.readAllBytes(file));
        } catch (JsonProcessingException e) {
            throw wrong(place + ": must be JSON: " + e.getOriginalMessage().lines().findFirst().orElse("") + " in line "
                    + (e.getLocation() == null ? 1 : e.getLocation().getLineNr()));
        } catch (IOException e) {
            throw wrong(place + ": must be a file that can be read: " + e.getClass().getSimpleName());
        }
    }

    private void must(String place, boolean isRight, String right) {
        if (!isRight) {
            throw wrong(place + ": must " + right);
        }
    }

    private void checkMembers(String place, JsonNode node, Set<String> known) {
        node.propertyStream().forEach(member -> must(place, known.contains(member.getKey()), "have no "
                + member.getKey() + ", only " + String.join(", ", new TreeSet<>(known))));
    }

    private void checkStatement(String place, JsonNode statement, PolicyRules rules) {
        must(place, statement.path("Sid").asText().matches(rules.sid()),
                "have a Sid in each statement, of letters and digits, such as \"Sid\": \"Auditors\"");
        var where = place + ", statement " + sid(statement);
        checkMembers(where, statement, Set.of("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction",
                "Resource", "NotResource", "Condition"));
        must(where, statement.path("Effect").asText().matches("Allow|Deny"), "have the Effect Allow or Deny");
        for (var element : List.of("Principal", "Action", "Resource")) {
            must(where, statement.has(element) != statement.has("Not" + element),
                    "have one of " + element + " and Not" + element);
        }
        must(where, !statement.has("NotPrincipal") || statement.path("Effect").asText().equals("Deny"),
                "not allow with NotPrincipal, which lets in all others, of all accounts");
        checkPrincipalElement(where, either(statement, "Principal"));
        checkTexts(where, either(statement, "Action"), rules.action(), "Action", rules.exampleAction());
        checkTexts(where, either(statement, "Resource"), rules.resource(), "Resource", rules.exampleResource());
        if (statement.has("Condition")) {
            checkCondition(where, statement.path("Condition"));
        }
        var text = statement.toString();
        var variables = Pattern.compile("\\$\\{[^}\"]*}?").matcher(text).results().map(MatchResult::group);
        variables.forEach(variable -> must(where, variable.matches("\\$\\{([\\w./-]+:[^{}$]+|[*?$])}"),
                "have no open " + variable + ": fill it in"));
        must(where, text.matches("[\\u0020-\\u00FF]*"), "have no other characters than those of Latin-1");
    }

    /** The element, or its negation. */
    private static JsonNode either(JsonNode statement, String element) {
        return statement.has(element) ? statement.get(element) : statement.path("Not" + element);
    }

    private void checkPrincipalElement(String where, JsonNode principal) {
        if (principal.isTextual() && principal.textValue().equals("*")) {
            return;
        }
        must(where, principal.isObject() && !principal.isEmpty(), "have a Principal such as"
                + " {\"AWS\": \"arn:aws:iam::111122223333:role/Developer\"}, not " + principal);
        checkMembers(where, principal, PRINCIPALS.keySet());
        principal.propertyStream().forEach(kind -> checkTexts(where, kind.getValue(), PRINCIPALS.get(kind.getKey()),
                "Principal", "arn:aws:iam::111122223333:role/Developer, without wildcards"));
    }

    private void checkTexts(String where, JsonNode oneOrMore, String form, String element, String example) {
        var values = oneOrMore.isArray() ? oneOrMore.valueStream().toList() : List.of(oneOrMore);
        must(where, !values.isEmpty(), "have in " + element + " something such as " + example);
        values.forEach(value -> must(where, value.isTextual() && value.textValue().matches(form),
                "have in " + element + " something such as " + example + ", not " + value));
    }

    private void checkCondition(String where, JsonNode condition) {
        var right = "have a Condition such as {\"StringEquals\": {\"aws:PrincipalOrgID\": \"o-a1b2c3d4e5\"}}, not ";
        must(where, condition.isObject() && !condition.isEmpty(), right + condition);
        condition.propertyStream().forEach(operator -> {
            must(where, operator.getKey().matches(OPERATOR), right + "the operator " + operator.getKey());
            must(where, operator.getValue().isObject() && !operator.getValue().isEmpty(), right + operator.getValue());
            operator.getValue().propertyStream().forEach(key -> {
                must(where, key.getKey().matches("[\\w-]+:.+"), right + "the key " + key.getKey());
                var values = key.getValue().isArray() ? key.getValue().valueStream() : Stream.of(key.getValue());
                must(where, !(key.getValue().isArray() && key.getValue().isEmpty()) && values.allMatch(value ->
                        value.isValueNode() && !value.isNull()), right + key.getValue());
            });
        });
    }

    /** The accounts, users and roles that statements name. */
    static Stream<String> principalsOf(List<JsonNode> statements) {
        return statements.stream().flatMap(statement -> texts(either(statement, "Principal").path("AWS")));
    }

    /** The policy with these statements in the place of those with the same Sids. */
    static ObjectNode withStatements(ObjectNode policy, List<JsonNode> wanted) {
        var wantedSids = wanted.stream().map(statement -> sid(statement)).toList();
        var result = policy.deepCopy();
        result.putArray("Statement").addAll(foreignStatements(policy, wantedSids)).addAll(wanted);
        return result;
    }

    //endregion

    //region The same in every script: wildcards

    /** As IAM compares: * is any text, ? any one character. */
    static boolean isLike(String value, String pattern) {
        return like(pattern).matcher(value).matches();
    }

    /** To compare many values with one pattern. */
    static Pattern like(String pattern) {
        return Pattern.compile(Pattern.compile("[*?]").matcher(Pattern.quote(pattern))
                .replaceAll(wildcard -> wildcard.group().equals("*") ? "\\\\E.*\\\\Q" : "\\\\E.\\\\Q"));
    }

    //endregion

    //region The same in every script: sizes of key policies

    /** The longest key policy that KMS takes, in bytes; a quota that cannot be raised. */
    static final int LONGEST_KEY_POLICY = 32_768;

    static int sizeOf(JsonNode policy) {
        return policy.toString().getBytes(StandardCharsets.UTF_8).length;
    }

    //endregion

    //region The same in every script: key policy files

    /** Of a key policy, in which AWS's own Sids have spaces. */
    static final PolicyRules KEY_POLICY = new PolicyRules("[a-zA-Z0-9 ]{1,128}", "kms:[a-zA-Z*?]+|\\*", "\\*",
            "kms:Decrypt", "*");

    /** Condition keys that limit a statement for everybody, with the form that their values must have. */
    private static final Map<String, String> LIMITING_KEYS = Map.ofEntries(
            Map.entry("aws:PrincipalAccount", "\\d{12}"), Map.entry("kms:CallerAccount", "\\d{12}"),
            Map.entry("aws:SourceAccount", "\\d{12}"), Map.entry("aws:PrincipalOrgID", "o-[a-z0-9]{10,32}"),
            Map.entry("aws:SourceOrgID", "o-[a-z0-9]{10,32}"),
            Map.entry("aws:PrincipalOrgPaths", "o-[a-z0-9]{10,32}/.*"),
            Map.entry("aws:SourceOrgPaths", "o-[a-z0-9]{10,32}/.*"),
            Map.entry("aws:PrincipalArn", "arn:aws[a-z-]*:(iam|sts)::\\d{12}:.+"),
            Map.entry("aws:SourceArn", "arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9*-]*:\\d{12}:.+"),
            Map.entry("aws:SourceVpc", "vpc-[0-9a-f]+"), Map.entry("aws:SourceVpce", "vpce-[0-9a-f]+"));

    /** The statements of --policy-file. */
    List<JsonNode> keyStatements(Path file) {
        var found = fileStatements("--policy-file", file, KEY_POLICY);
        for (var statement : found) {
            var isForAll = principals(statement.path("Principal")).contains("*");
            if (isForAll && statement.path("Effect").asText().equals("Allow")
                    && !isLimited(statement.path("Condition"))) {
                throw wrong("--policy-file " + file + ", statement " + sid(statement) + ": must not be for everybody of"
                        + " all accounts: name principals, or give it a Condition such as {\"StringEquals\":"
                        + " {\"aws:PrincipalOrgID\": \"o-a1b2c3d4e5\"}}, with one of "
                        + String.join(", ", new TreeSet<>(LIMITING_KEYS.keySet())));
            }
        }
        return found;
    }

    /** Whether a condition holds only for accounts, organizations or VPCs that it names. */
    private static boolean isLimited(JsonNode condition) {
        return condition.propertyStream()
                .filter(operator -> operator.getKey().matches("(ForAnyValue:)?(String(Equals(IgnoreCase)?|Like)"
                        + "|Arn(Equals|Like))"))
                .flatMap(operator -> operator.getValue().propertyStream())
                .anyMatch(key -> LIMITING_KEYS.entrySet().stream()
                        .anyMatch(limit -> limit.getKey().equalsIgnoreCase(key.getKey())
                                && texts(key.getValue()).allMatch(value -> value.matches(limit.getValue()))));
    }

    /**
     * Refuses statements of --policy-file with which no account, whichever it is, could change its key policy again.
     *
     * @param policyOf the policy with the statements, for an account
     */
    void checkLeavesAdministrators(Path file, List<JsonNode> statements, Function<String, JsonNode> policyOf) {
        var named = Pattern.compile("\\b\\d{12}\\b").matcher(statements.toString()).results().map(MatchResult::group);
        if (Stream.concat(named, Stream.of("000000000000"))
                .allMatch(account -> administratorsOf(policyOf.apply(account)).isEmpty())) {
            throw wrong("--policy-file " + file + ": must leave someone who may change the key policy again: allow"
                    + " kms:PutKeyPolicy without a condition, and do not deny it to all");
        }
    }

    /** Whom a key policy lets change it again, whatever the circumstances; an account by its id. */
    static Set<String> administratorsOf(JsonNode policy) {
        var administrators = new TreeSet<String>();
        statementsOn(policy, "Allow").forEach(allow -> administrators.addAll(principals(allow.path("Principal"))));
        statementsOn(policy, "Deny").forEach(deny -> {
            var named = principals(deny.path(deny.has("NotPrincipal") ? "NotPrincipal" : "Principal"));
            if (deny.has("NotPrincipal")) {
                administrators.retainAll(named);
            } else {
                administrators.removeIf(one -> named.contains("*") || named.contains(one)
                        || named.contains(one.startsWith("arn:") ? one.split(":")[4] : one));
            }
        });
        return administrators;
    }

    /** Those on kms:PutKeyPolicy that hold without a condition. */
    private static List<JsonNode> statementsOn(JsonNode policy, String effect) {
        return statements(policy).stream().filter(statement -> statement.path("Effect").asText().equals(effect))
                .filter(statement -> statement.path("Condition").isEmpty()).filter(statement -> {
                    var element = statement.path(statement.has("NotAction") ? "NotAction" : "Action");
                    var isNamed = texts(element).anyMatch(
                            action -> isLike("kms:putkeypolicy", action.toLowerCase(Locale.ROOT)));
                    return isNamed != statement.has("NotAction");
                }).toList();
    }

    private static Set<String> principals(JsonNode element) {
        return texts(element.isObject() ? element.path("AWS") : element)
                .map(text -> text.replaceAll("^arn:aws[a-z-]*:iam::(\\d{12}):root$", "$1")).collect(Collectors.toSet());
    }

    /**
     * Refuses a policy with the statements of --policy-file in it that would mean another thing, or lock out. What KMS
     * asks of the caller of the moment is asked here of the account that owns the key.
     */
    void checkMerged(JsonNode policy, List<JsonNode> ofFile) {
        var version = policy.path("Version").asText("2008-10-17");
        if (ofFile.toString().contains("${") && !version.equals("2012-10-17")) {
            throw new Failure("the key policy has the Version " + version + ", in which ${...} of --policy-file is no"
                    + " variable; give it the Version 2012-10-17 first");
        }
        var account = caller.account();
        if (administratorsOf(policy).stream().noneMatch(one -> one.equals(account)
                || one.contains("::" + account + ":"))) {
            throw new Failure("the key policy would let no one of " + account + " change it again (kms:PutKeyPolicy,"
                    + " without a condition); change the statements of --policy-file");
        }
    }

    //endregion

    //region The same in every script: deleted principals

    /** The ids of users, roles and groups that were deleted since: AWS shows them in the place of their ARNs. */
    static List<String> deletedPrincipals(JsonNode statement) {
        return Pattern.compile("\"(A(?:RO|ID|GP|IP)A[A-Z0-9]{12,})\"")
                .matcher(statement.path("Principal").toString() + statement.path("NotPrincipal")).results()
                .map(id -> id.group(1)).toList();
    }

    //endregion

    //region The same in every script: policies for other accounts

    void checkRoleArn(String option, String arn) {
        check(option, arn, "arn:aws[a-z-]*:iam::\\d{12}:role/[\\w+=,.@/-]+",
                "the ARN of a role, without wildcards, such as arn:aws:iam::111122223333:role/BackupWriter");
    }

    void checkPartitions(List<String> arns) {
        for (var arn : arns) {
            if (!arn.split(":")[1].equals(caller.partition())) {
                throw new Failure(arn + " is of another partition than these credentials, " + caller.partition());
            }
        }
    }

    static String accountOf(String arn) {
        return arn.split(":")[4];
    }

    /** The ARN of a principal: "root", "*" or "role/NAME". */
    String principalArn(String account, String who) {
        return "arn:" + caller.partition() + ":iam::" + account + ":" + who;
    }

    //endregion
}
