///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Creates or updates a customer managed KMS key for CodeCommit, with alias, key policy, rotation and tags.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:kms
//DEPS software.amazon.awssdk:iam
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//FILES policies/kms-key.json=../policies/kms-key.json
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
import java.util.concurrent.atomic.AtomicInteger;
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
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.NoSuchEntityException;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.AlreadyExistsException;
import software.amazon.awssdk.services.kms.model.KeyManagerType;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.kms.model.KeySpec;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUsageType;
import software.amazon.awssdk.services.kms.model.MalformedPolicyDocumentException;
import software.amazon.awssdk.services.kms.model.MultiRegionKeyType;
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.services.kms.model.Tag;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Creates the customer managed KMS key that CodeCommit repositories are encrypted under, or brings an existing one in
 * line; the alias says which key is meant, or {@code --key-id}, which never creates a key. With both, the key gets the
 * alias if no other key has it. Several keys in one run with {@code --environments}.
 *
 * <p>Changes in AWS: the key (billed monthly), its policy, rotation, description, tags and alias. Of the policy it owns
 * three statements, by Sid: AccountAdministration (the account, through IAM), KeyAdministration
 * ({@code --administrators}) and KeyUsage ({@code --users}, the actions that CodeCommit needs of everyone who pulls or
 * pushes). {@code --policy-file} adds statements of the operator's own, or puts them in the place of those with the
 * same Sids: it belongs into every run, as a run without it gives AccountAdministration its own text again. A policy
 * that no one of the account could change again is refused. Other statements are kept and named. An option that is not
 * given leaves the setting as it is. An environment's preset is for what neither the options nor the key have: it
 * replaces no description, tag or rotation period that the key has. A new key has the tags Name, Service and Purpose,
 * unless {@code --tags} says otherwise; they are not put back where someone took them away.
 *
 * <p>A second run with the same arguments changes nothing. The alias is created last: a new key that could not be
 * finished has none, is scheduled for deletion and named. Refused are keys of AWS, of other accounts, disabled ones and
 * those that will be deleted; the rotation of a multi-Region replica is that of its primary key, and is changed there.
 *
 * <p>IAM actions:
 * <ul>
 * <li>iam:GetRole, iam:GetUser to look the principals up; where it is denied that is said
 * <li>kms:DescribeKey, kms:GetKeyPolicy, kms:GetKeyRotationStatus, kms:ListResourceTags
 * <li>kms:CreateKey, kms:CreateAlias, kms:TagResource, kms:EnableKeyRotation
 * <li>kms:PutKeyPolicy, kms:DisableKeyRotation, kms:UpdateKeyDescription, kms:UntagResource to change an existing key
 * <li>kms:ListKeys, kms:ScheduleKeyDeletion to clear up after a failure
 * </ul>
 */
@Command(name = "create-kms-key", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Creates or updates a customer managed KMS key for CodeCommit, with alias, key policy, rotation"
                + " and tags.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: some keys failed, the others are complete", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang create-kms-key --alias alias/codecommit \\",
                "      --users arn:aws:iam::111122223333:role/Developer",
                "  ./jbang create-kms-key --environments production staging development \\",
                "      --dry-run"})
class CreateKmsKey implements Callable<Integer> {
    @ArgGroup
    Which which = new Which();

    static class Which {
        @Option(names = "--alias", paramLabel = "alias/NAME",
                description = "Alias of the key. A key that has it already is updated.")
        String alias;

        @Option(names = "--environments", paramLabel = "NAME", arity = "1..*",
                description = "One key each, of any name; its alias is alias/codecommit-NAME. production, staging and"
                        + " development, in any case, have presets of their own: tags and rotation. A preset replaces"
                        + " no description, tag or rotation period of the key or of the options.")
        List<String> environments;
    }

    @Option(names = "--key-id", paramLabel = "KEY",
            description = "A key to update, by its id or ARN; none is created. With --alias it gets the alias, if no"
                    + " other key has it.")
    String keyId;

    @Option(names = "--description", paramLabel = "TEXT", description = "Description of the key.")
    String description;

    @Option(names = "--administrators", paramLabel = "ARN", arity = "1..*",
            description = "Users and roles that may administer the key but not use it.")
    List<String> administrators = List.of();

    @Option(names = "--users", paramLabel = "ARN", arity = "1..*",
            description = "Users, roles and accounts that may use the key: all who pull or push.")
    List<String> users = List.of();

    @Option(names = "--policy-file", paramLabel = "FILE",
            description = "Statements of your own for the key policy, in JSON: a policy, a list or one. By its Sid,"
                    + " each takes the place of a statement of the key or of this script (AccountAdministration,"
                    + " KeyAdministration, KeyUsage), or is added. Other statements stay.")
    Path policyFile;

    @ArgGroup
    Rotation rotation = new Rotation();

    static class Rotation {
        @Option(names = "--rotation-period-in-days", paramLabel = "DAYS",
                description = "Rotates the key material every so many days, 90 to 2560. Default for a new key: 365.")
        Integer periodInDays;

        @Option(names = "--no-rotation", description = "No automatic rotation.")
        boolean off;
    }

    @Option(names = "--tags", paramLabel = "Key=Value", arity = "1..*", description = "Tags to add or change.")
    List<String> tags = List.of();

    @Option(names = "--remove-other-tags", description = "Removes the tags that are not given.")
    boolean removeOtherTags;

    /** The names, in any case, that have more than the preset of all environments. */
    enum Environment {
        PRODUCTION(DEFAULT_ROTATION_PERIOD, Map.of("SecurityLevel", "High", "Compliance", "Required")),
        STAGING(NO_ROTATION, Map.of("SecurityLevel", "Medium")),
        DEVELOPMENT(NO_ROTATION, Map.of("SecurityLevel", "Standard"));

        final int rotationPeriod;
        final Map<String, String> tags;

        Environment(int rotationPeriod, Map<String, String> tags) {
            this.rotationPeriod = rotationPeriod;
            this.tags = tags;
        }

        static Preset preset(String name) {
            var known = Stream.of(values()).filter(each -> each.name().equalsIgnoreCase(name)).findFirst();
            var tags = new TreeMap<>(Map.of("Service", "CodeCommit", "Environment", name));
            known.ifPresent(environment -> tags.putAll(environment.tags));
            return new Preset("CodeCommit repositories, " + name, tags,
                    known.map(environment -> environment.rotationPeriod).orElse(DEFAULT_ROTATION_PERIOD));
        }
    }

    /**
     * What a key gets where the options give nothing and it has none; with --alias only a new key.
     *
     * @param rotationPeriod in days
     */
    record Preset(String description, Map<String, String> tags, int rotationPeriod) {}

    /**
     * @param keyId null if the alias says which key it is
     * @param alias null if the key is to be left with what it has
     * @param tags of --tags
     */
    record WantedKey(String keyId, String alias, Map<String, String> tags, Preset preset) {
        /** What the operator calls it. */
        String name() {
            return alias != null ? alias : keyId;
        }

        /** Of a new key. */
        Map<String, String> usualTags() {
            var usual = new TreeMap<>(Map.of("Name", name().replaceFirst("^alias/", ""), "Service", "CodeCommit",
                    "Purpose", "Repository-Encryption"));
            usual.putAll(preset.tags());
            return usual;
        }
    }

    /** The printed document: key for --alias and --key-id, keys for --environments. */
    record Result(String status, String account, String region, Key key, List<Key> keys, List<Change> changes,
            String undo) {}

    /**
     * @param alias the one that was asked for
     * @param policy in a dry run
     * @param status of one of several keys
     * @param error why there is no such key; null if there is
     */
    record Key(String alias, String keyId, String keyArn, String keyState, JsonNode policy, String status,
            String error) {}

    static final Set<String> OWN_SIDS = Set.of("AccountAdministration", "KeyAdministration", "KeyUsage");
    static final int DEFAULT_ROTATION_PERIOD = 365;
    static final int NO_ROTATION = 0;
    /** The shortest that KMS allows, in days. */
    static final int DELETION_WINDOW = 7;

    /** How long KMS may take to know a new key, or a principal that IAM knows; usually seconds. */
    Duration newsPatience = Duration.ofSeconds(30);

    KmsClient kms;
    /** Those of --policy-file. */
    List<JsonNode> fileStatements = List.of();

    public static void main(String[] args) {
        System.exit(new CreateKmsKey().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        var wantedKeys = wantedKeys();
        connect();
        checkPrincipals(principals());
        checkMerged(ownPolicy(), fileStatements);
        kms = client(KmsClient.builder());
        var keys = wantedKeys.stream().map(wanted -> keyOrFailure(wanted)).toList();
        var failures = keys.stream().filter(key -> key.error() != null).count();
        if (failures == keys.size()) {
            return 1;
        }
        var isOne = which.environments == null;
        return print(new Result(printed(strongest(changes)), caller.account(), region(), isOne ? keys.get(0) : null,
                isOne ? null : keys, changes, undo()), failures == 0 ? 0 : 3);
    }

    void checkOptions() {
        administrators.forEach(arn -> checkPrincipalArn("--administrators", arn));
        users.forEach(arn -> checkPrincipalArn("--users", arn));
        if (description != null) {
            check("--description", description, "[\\p{L}\\p{N}\\p{P}\\p{S}\\p{Z}]{0,8192}",
                    "up to 8192 printable characters");
        }
        var period = rotation.periodInDays;
        if (period != null && (period < 90 || period > 2560)) {
            throw wrong("--rotation-period-in-days " + period + ": must be 90 to 2560 days, such as 365");
        }
        checkPolicy();
        if (which.alias == null && which.environments == null && keyId == null) {
            throw wrong("must have one of --alias, --environments and --key-id; for example: " + firstExample());
        }
        if (which.environments != null) {
            checkEnvironments();
        }
        if (which.alias != null) {
            check("--alias", which.alias, "alias/(?!aws/)[a-zA-Z0-9/_-]{1,250}", "alias/ and letters, digits, / _"
                    + " -, not beginning with alias/aws/, such as alias/codecommit");
        }
        if (keyId != null) {
            checkCustomerKeyId("--key-id", keyId);
        }
    }

    /** Account ids are of one length, so the size is known before AWS is asked. */
    void checkPolicy() {
        if (policyFile != null) {
            fileStatements = keyStatements(policyFile);
        }
        for (var statement : fileStatements) {
            var options = Map.of("KeyAdministration", administrators, "KeyUsage", users);
            if (!options.getOrDefault(sid(statement), List.of()).isEmpty()) {
                throw wrong("--policy-file " + policyFile + ": must have no statement " + sid(statement) + ", which"
                        + " --administrators or --users give: use one of both");
            }
        }
        var policy = ownPolicy("aws", "000000000000");
        if (sizeOf(policy) > LONGEST_KEY_POLICY) {
            throw wrong("--administrators, --users, --policy-file: must be fewer or shorter, the policy has "
                    + sizeOf(policy) + " bytes, and KMS takes " + LONGEST_KEY_POLICY);
        }
        checkLeavesAdministrators(policyFile, fileStatements, account -> ownPolicy("aws", account));
    }

    void checkEnvironments() {
        if (keyId != null) {
            throw wrong("--key-id, --environments: are mutually exclusive; use --key-id with --alias, such as"
                    + " --key-id " + keyId + " --alias alias/codecommit");
        }
        var spellings = new TreeMap<String, String>(String.CASE_INSENSITIVE_ORDER);
        for (var name : which.environments) {
            check("--environments", name, "[a-zA-Z0-9][a-zA-Z0-9/_-]{0,238}", "up to 239 letters, digits, / _ -, of"
                    + " which the alias is made, such as production or team-a_test");
            var other = spellings.putIfAbsent(name, name);
            if (other != null && !other.equals(name)) {
                throw wrong("--environments " + other + " " + name + ": must differ by more than case, such as "
                        + other + " " + other + "-2");
            }
        }
    }

    List<WantedKey> wantedKeys() {
        var givenTags = tagsByKey(tags);
        if (which.environments == null) {
            return List.of(new WantedKey(keyId, which.alias, givenTags,
                    new Preset(null, Map.of(), DEFAULT_ROTATION_PERIOD)));
        }
        return which.environments.stream().distinct().map(name -> new WantedKey(null, "alias/codecommit-" + name,
                givenTags, Environment.preset(name))).toList();
    }

    List<String> principals() {
        return Stream.of(administrators.stream(), users.stream(), principalsOf(fileStatements)).flatMap(arns -> arns)
                .distinct().toList();
    }

    /** One key that fails does not stop the others. */
    Key keyOrFailure(WantedKey wanted) {
        try {
            return naming(wanted.name(), () -> bringInLine(wanted));
        } catch (RuntimeException e) {
            fail(e);
            return new Key(wanted.alias(), null, null, null, null, "failed", reason(e));
        }
    }

    Key bringInLine(WantedKey wanted) {
        var before = changes.size();
        var key = wanted.keyId() != null ? given(wanted.keyId())
                : find(wanted.alias()).orElseGet(() -> create(wanted));
        var policy = key.keyId() == null ? ownPolicy() : update(wanted, key);
        var status = printed(strongest(changes.subList(before, changes.size())));
        return new Key(wanted.alias(), key.keyId(), key.arn(), key.keyStateAsString(), dryRun ? policy : null,
                which.environments == null ? null : status, null);
    }

    /** The key of --key-id. */
    KeyMetadata given(String id) {
        if (id.startsWith("arn:") && !id.split(":")[4].equals(caller.account())) {
            throw new Failure("is of another account than these credentials, " + caller.account()
                    + "; only its own account changes it: use --profile");
        }
        return find(id).orElseThrow(() -> new Failure("no such key in " + region()
                + "; use the --region of the key, or --alias without --key-id to create one"));
    }

    Optional<KeyMetadata> find(String id) {
        try {
            return Optional.of(kms.describeKey(r -> r.keyId(id)).keyMetadata());
        } catch (NotFoundException e) {
            return Optional.empty();
        }
    }

    /** The key that has the alias now, whoever created it; in a dry run one without an id. */
    KeyMetadata create(WantedKey wanted) {
        if (dryRun) {
            record(Change.creation(wanted.alias(), "key", wanted.alias()), null);
            return KeyMetadata.builder().build();
        }
        var key = createKey(wanted);
        var hook = new Thread(
                () -> note("interrupted: " + key.arn() + " has no alias; delete it with: " + deletion(key)));
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            startRotation(wanted, key);
            return giveAlias(wanted, key);
        } catch (SdkException e) {
            throw new Failure(reason(e) + "; " + discard(key), e);
        } finally {
            Runtime.getRuntime().removeShutdownHook(hook);
        }
    }

    /**
     * CreateKey has no idempotency token, so it is repeated only when KMS says that nothing was done (throttling).
     * After any other doubtful failure the key that may exist is looked for, by the Id of its policy, which only this
     * run knows.
     */
    KeyMetadata createKey(WantedKey wanted) {
        var policy = ownPolicy();
        var text = description != null ? description : wanted.preset().description();
        var ownTags = new TreeMap<>(wanted.preset().tags());
        ownTags.putAll(wanted.tags());
        var allTags = withUsual(ownTags, wanted.usualTags());
        var onlyThrottling = DefaultRetryStrategy.standardStrategyBuilder().useClientDefaults(false).maxAttempts(5)
                .retryOnException(e -> e instanceof AwsServiceException answer && answer.isThrottlingException())
                .build();
        var started = Instant.now();
        try (var careful = client(KmsClient.builder(), onlyThrottling)) {
            return whenPrincipalsShow(wanted.alias(), policy, () -> careful.createKey(
                    r -> r.policy(policy.toString()).description(text).tags(kmsTags(allTags)))).keyMetadata();
        } catch (SdkException e) {
            if (e instanceof AwsServiceException answer && answer.statusCode() < 500 && !isCutShort(answer)) {
                throw e;
            }
            throw new Failure(reason(e) + "; " + discardCreated(started, policy.get("Id").asText()), e);
        }
    }

    /** Clears up after a CreateKey without an answer; returns what is left to know. */
    String discardCreated(Instant started, String policyId) {
        note("no answer to CreateKey: looking for the key that it may have created ...");
        var since = started.minus(Duration.ofMinutes(5)); // the clocks may differ
        try {
            var created = kms.listKeysPaginator(r -> r.limit(1000)).keys().stream()
                    .flatMap(entry -> poll(newsPatience, () -> find(entry.keyId())).stream())
                    .filter(key -> key.keyManager() == KeyManagerType.CUSTOMER && key.keyState() == KeyState.ENABLED)
                    .filter(key -> key.creationDate().isAfter(since))
                    .filter(key -> currentPolicy(key).path("Id").asText().equals(policyId)).toList();
            return created.isEmpty()
                    ? "no key was found that it created, but KMS may show it late: it has the policy Id " + policyId
                            + " and no alias; run the same command again"
                    : created.stream().map(key -> discard(key)).collect(Collectors.joining("; "));
        } catch (SdkException e) {
            return "whether it created a key is unknown (" + reason(e) + "): such a key has the policy Id " + policyId
                    + " and no alias";
        }
    }

    void startRotation(WantedKey wanted, KeyMetadata key) {
        var given = givenRotationPeriod();
        var period = given != null ? given : wanted.preset().rotationPeriod();
        if (period != NO_ROTATION) {
            whenKeyShows(() -> kms.enableKeyRotation(r -> r.keyId(key.keyId()).rotationPeriodInDays(period)));
        }
    }

    /** In days; null if the options do not say it. */
    Integer givenRotationPeriod() {
        return rotation.off ? Integer.valueOf(NO_ROTATION) : rotation.periodInDays;
    }

    /** Gives a new key its alias; returns the key that has it, another one if someone else was faster. */
    KeyMetadata giveAlias(WantedKey wanted, KeyMetadata key) {
        var alias = wanted.alias();
        try {
            whenKeyShows(() -> kms.createAlias(r -> r.aliasName(alias).targetKeyId(key.keyId())));
        } catch (AlreadyExistsException e) {
            var holder = whenKeyShows(() -> kms.describeKey(r -> r.keyId(alias))).keyMetadata();
            if (!holder.keyId().equals(key.keyId())) { // else this run created it, and the answer was lost
                note(alias + ": someone else created it for " + holder.arn() + " in the meantime; " + discard(key));
                return holder;
            }
        }
        record(Change.creation(alias, "key", key.arn()),
                aws("kms delete-alias --alias-name " + alias) + " && " + deletion(key));
        return key;
    }

    /** Schedules the deletion of a key that could not be finished; returns what is left to know or to do. */
    String discard(KeyMetadata key) {
        try {
            var date = whenKeyShows(() -> kms.scheduleKeyDeletion(
                    r -> r.keyId(key.keyId()).pendingWindowInDays(DELETION_WINDOW))).deletionDate();
            return "the unfinished key " + key.arn() + " will be deleted on " + date;
        } catch (SdkException e) {
            return "the unfinished key " + key.arn() + " could not be scheduled for deletion (" + reason(e)
                    + "): delete it with: " + deletion(key);
        }
    }

    String deletion(KeyMetadata key) {
        return aws("kms schedule-key-deletion --key-id " + key.keyId() + " --pending-window-in-days "
                + DELETION_WINDOW);
    }

    /** Repeats a call that KMS refuses as long as it does not know a new key. */
    <T> T whenKeyShows(Supplier<T> call) {
        return whileRefused(Set.of("NotFoundException"), newsPatience, null, call);
    }

    /** Repeats a call that KMS refuses as long as it does not know a new principal. */
    <T> T whenPrincipalsShow(String name, JsonNode policy, Supplier<T> call) {
        try {
            return whileRefused(Set.of("MalformedPolicyDocumentException"), newsPatience, name
                    + ": KMS does not accept the policy yet; new principals take a few seconds to show ...", call);
        } catch (MalformedPolicyDocumentException e) {
            throw new Failure(reason(e) + principalsHint(policy), e);
        }
    }

    /**
     * The principals that KMS may refuse: all, as IAM may not have been asked, and knows none of other accounts.
     */
    String principalsHint(JsonNode policy) {
        var deleted = statements(policy).stream().flatMap(statement -> deletedPrincipals(statement).stream())
                .map(id -> id + " (which was deleted)");
        var suspects = Stream.concat(deleted, principals().stream()).toList();
        return suspects.isEmpty() ? "" : "; check these principals of the policy: " + String.join(", ", suspects);
    }

    /** Returns the policy that the key has then, or in a dry run would have. */
    ObjectNode update(WantedKey wanted, KeyMetadata key) {
        var remedy = wanted.keyId() == null ? "use another alias" : "use another key";
        if (key.keyManager() != KeyManagerType.CUSTOMER) {
            throw new Failure(key.arn() + " is managed by AWS; " + remedy);
        }
        checkUsable(key, remedy);
        var lacksAlias = lacksAlias(wanted, key);
        var rotation = newRotation(wanted, key);
        var policy = updatePolicy(wanted, key);
        updateDescription(wanted, key);
        rotation.ifPresent(periods -> updateRotation(wanted, key, periods));
        updateTags(wanted, key);
        if (lacksAlias) {
            addAlias(wanted, key);
        }
        return policy;
    }

    /** Whether the key of --key-id is to get the alias; refuses one that another key has. */
    boolean lacksAlias(WantedKey wanted, KeyMetadata key) {
        if (wanted.keyId() == null || wanted.alias() == null) {
            return false;
        }
        var holder = find(wanted.alias());
        holder.ifPresent(other -> checkHolder(wanted, key, other));
        return holder.isEmpty();
    }

    void checkHolder(WantedKey wanted, KeyMetadata key, KeyMetadata holder) {
        if (!holder.keyId().equals(key.keyId())) {
            throw new Failure("is the alias of " + holder.arn() + ", not of " + key.arn()
                    + ": use another alias, or move it first with: " + aws("kms update-alias --alias-name "
                            + wanted.alias() + " --target-key-id " + key.keyId()));
        }
    }

    /** Last, as for a new key. */
    void addAlias(WantedKey wanted, KeyMetadata key) {
        var alias = wanted.alias();
        change(Change.update(wanted.name(), "alias", null, alias), aws("kms delete-alias --alias-name " + alias),
                () -> {
                    try {
                        kms.createAlias(r -> r.aliasName(alias).targetKeyId(key.keyId()));
                    } catch (AlreadyExistsException e) { // someone else was faster, or the answer was lost
                        checkHolder(wanted, key, whenKeyShows(() -> kms.describeKey(r -> r.keyId(alias)))
                                .keyMetadata());
                    }
                });
    }

    ObjectNode updatePolicy(WantedKey wanted, KeyMetadata key) {
        var current = currentPolicy(key);
        var statements = statements(ownPolicy());
        var policy = withStatements(current, statements);
        if (policyFile != null) {
            checkMerged(policy, fileStatements);
        }
        var ownSids = Stream.concat(OWN_SIDS.stream(), statements.stream().map(statement -> sid(statement))).toList();
        var foreign = foreignStatements(policy, ownSids);
        if (!foreign.isEmpty()) {
            note(wanted.name() + ": kept statements of the key policy that are not this script's: " + sids(foreign));
        }
        if (!sameMeaning(current, policy)) {
            change(Change.update(wanted.name(), "policy", current, policy),
                    aws("kms put-key-policy",
                            Map.of("KeyId", key.keyId(), "PolicyName", "default", "Policy", current.toString())),
                    () -> whenPrincipalsShow(wanted.name(), policy, () -> kms.putKeyPolicy(
                            r -> r.keyId(key.keyId()).policyName("default").policy(policy.toString()))));
        }
        return policy;
    }

    ObjectNode currentPolicy(KeyMetadata key) {
        return parsedPolicy(kms.getKeyPolicy(r -> r.keyId(key.keyId()).policyName("default")).policy());
    }

    ObjectNode ownPolicy() {
        return ownPolicy(caller.partition(), caller.account());
    }

    /** The statements of this script, without those that would have no principal, and those of --policy-file. */
    ObjectNode ownPolicy(String partition, String account) {
        var policy = template("kms-key.json",
                Map.of("id", "create-kms-key/" + UUID.randomUUID(), "partition", partition, "account", account,
                        "administrators", administrators, "users", users));
        var noOne = JSON.createArrayNode();
        policy.withArray("Statement").removeIf(statement -> statement.at("/Principal/AWS").equals(noOne));
        return withStatements(policy, fileStatements);
    }

    void updateDescription(WantedKey wanted, KeyMetadata key) {
        var current = key.description();
        var preset = current.isEmpty() ? wanted.preset().description() : null;
        var text = description != null ? description : preset;
        if (text == null || text.equals(current)) {
            return;
        }
        change(Change.update(wanted.name(), "description", current, text),
                aws("kms update-key-description", Map.of("KeyId", key.keyId(), "Description", current)),
                () -> kms.updateKeyDescription(r -> r.keyId(key.keyId()).description(text)));
    }

    /** In days. */
    record RotationPeriods(int from, int to) {}

    /** Empty if the rotation stays as it is. */
    Optional<RotationPeriods> newRotation(WantedKey wanted, KeyMetadata key) {
        var given = givenRotationPeriod();
        if (given == null && which.environments == null) {
            return Optional.empty();
        }
        var current = currentRotationPeriod(key);
        var preset = current == NO_ROTATION ? wanted.preset().rotationPeriod() : current;
        var period = given != null ? given : preset;
        if (period == current) {
            return Optional.empty();
        }
        var regions = key.multiRegionConfiguration();
        if (regions != null && regions.multiRegionKeyType() == MultiRegionKeyType.REPLICA) {
            throw new Failure(key.arn() + " is a replica, which rotates as its primary key does: change the rotation"
                    + " with --key-id " + key.keyId() + " --region " + regions.primaryKey().region());
        }
        return Optional.of(new RotationPeriods(current, period));
    }

    void updateRotation(WantedKey wanted, KeyMetadata key, RotationPeriods periods) {
        var current = periods.from();
        change(Change.update(wanted.name(), "rotationPeriodInDays", current, periods.to()),
                aws(current == NO_ROTATION ? "kms disable-key-rotation --key-id " + key.keyId()
                        : "kms enable-key-rotation --key-id " + key.keyId() + " --rotation-period-in-days " + current),
                () -> rotate(key, periods.to()));
    }

    int currentRotationPeriod(KeyMetadata key) {
        var status = kms.getKeyRotationStatus(r -> r.keyId(key.keyId()));
        var period = Objects.requireNonNullElse(status.rotationPeriodInDays(), DEFAULT_ROTATION_PERIOD);
        return status.keyRotationEnabled() ? period : NO_ROTATION;
    }

    void rotate(KeyMetadata key, int period) {
        if (period == NO_ROTATION) {
            kms.disableKeyRotation(r -> r.keyId(key.keyId()));
        } else {
            kms.enableKeyRotation(r -> r.keyId(key.keyId()).rotationPeriodInDays(period));
        }
    }

    void updateTags(WantedKey wanted, KeyMetadata key) {
        var preset = wanted.preset().tags();
        if (preset.isEmpty() && wanted.tags().isEmpty() && !removeOtherTags) {
            return;
        }
        var present = kms.listResourceTagsPaginator(r -> r.keyId(key.keyId())).tags().stream()
                .collect(Collectors.toMap(Tag::tagKey, Tag::tagValue));
        var wantedTags = new TreeMap<>(present);
        wantedTags.keySet().retainAll(wanted.usualTags().keySet());
        preset.forEach(wantedTags::putIfAbsent);
        wantedTags.putAll(wanted.tags());
        changeTags(wanted.name(), present, wantedTags, removeOtherTags, new Tagging(
                tags -> kms.tagResource(r -> r.keyId(key.keyId()).tags(kmsTags(tags))),
                keys -> kms.untagResource(r -> r.keyId(key.keyId()).tagKeys(keys)),
                tags -> aws("kms tag-resource", Map.of("KeyId", key.keyId(), "Tags", tags.entrySet().stream()
                        .map(tag -> new TreeMap<>(Map.of("TagKey", tag.getKey(), "TagValue", tag.getValue())))
                        .toList())),
                keys -> aws("kms untag-resource", Map.of("KeyId", key.keyId(), "TagKeys", keys))));
    }

    static List<Tag> kmsTags(Map<String, String> tags) {
        return tags.entrySet().stream().map(tag -> Tag.builder().tagKey(tag.getKey()).tagValue(tag.getValue()).build())
                .toList();
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

    //region The same in every script: waiting for AWS

    /**
     * Repeats a call that AWS refuses with one of these error codes, as long as it does not know what is new. The last
     * refusal is the caller's.
     *
     * @param waiting what to say at the first refusal; null to say nothing
     */
    <T> T whileRefused(Set<String> codes, Duration patience, String waiting, Supplier<T> call) {
        var refusals = new AtomicInteger();
        return poll(patience, () -> {
            try {
                return Optional.of(call.get());
            } catch (AwsServiceException e) {
                if (isCutShort(e) || !codes.contains(e.awsErrorDetails().errorCode())) {
                    throw e;
                }
                if (waiting != null && refusals.getAndIncrement() == 0) {
                    note(waiting);
                }
                return Optional.empty();
            }
        }).orElseGet(call);
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

    //region The same in every script: tags

    /** Key=Value options by key, within AWS's limits on tags. */
    Map<String, String> tagsByKey(List<String> options) {
        var byKey = new TreeMap<String, String>();
        for (var option : options) {
            check("--tags", option, "(?!aws:)[\\p{L}\\p{N} +\\-._:/@]{1,128}=[\\p{L}\\p{N} +\\-=._:/@]{0,256}",
                    "Key=Value of letters, digits, spaces and + - = . _ : / @, such as Team=Payments");
            var equals = option.indexOf('=');
            if (byKey.put(option.substring(0, equals), option.substring(equals + 1)) != null) {
                throw wrong("--tags '" + option + "': its key is there twice; use each once, such as Team=Payments");
            }
        }
        if (byKey.size() > 50) {
            throw wrong("--tags: " + byKey.size() + " tags; AWS takes 50 at most");
        }
        return byKey;
    }

    /** How a resource is tagged and untagged, and the AWS CLI commands for it. */
    record Tagging(Consumer<Map<String, String>> tag, Consumer<Set<String>> untag,
            Function<Map<String, String>, String> tagCommand, Function<Set<String>, String> untagCommand) {}

    /** Adds and changes tags; others go only if asked for. AWS's own tags (aws:) cannot be changed. */
    void changeTags(String resource, Map<String, String> present, Map<String, String> wanted, boolean removeOthers,
            Tagging tagging) {
        var added = new TreeMap<>(wanted);
        added.entrySet().removeAll(present.entrySet());
        if (!added.isEmpty()) {
            var replaced = new TreeMap<>(present);
            replaced.keySet().retainAll(added.keySet());
            change(Change.update(resource, "tags", replaced, added), untagging(added, replaced, tagging),
                    () -> tagging.tag().accept(added));
        }
        var others = new TreeMap<>(present);
        others.keySet().removeIf(key -> wanted.containsKey(key) || key.startsWith("aws:"));
        if (removeOthers && !others.isEmpty()) {
            change(Change.update(resource, "tags", others, Map.of()), tagging.tagCommand().apply(others),
                    () -> tagging.untag().accept(others.keySet()));
        }
    }

    /** The commands that give replaced tags their values back and remove new ones. */
    static String untagging(Map<String, String> added, Map<String, String> replaced, Tagging tagging) {
        var fresh = new TreeSet<>(added.keySet());
        fresh.removeAll(replaced.keySet());
        var commands = new ArrayList<String>();
        if (!replaced.isEmpty()) {
            commands.add(tagging.tagCommand().apply(replaced));
        }
        if (!fresh.isEmpty()) {
            commands.add(tagging.untagCommand().apply(fresh));
        }
        return String.join(" && ", commands);
    }

    //endregion

    //region The same in every script: usual tags

    /** The tags of a new resource: those that are given, and the usual ones under other keys if there is room. */
    static Map<String, String> withUsual(Map<String, String> given, Map<String, String> usual) {
        var all = new TreeMap<>(usual);
        all.putAll(given);
        return all.size() > 50 ? given : all;
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

    //region The same in every script: IAM principals

    void checkPrincipalArn(String option, String arn) {
        check(option, arn, "arn:aws[a-z-]*:iam::\\d{12}:(role|user)/[\\w+=,.@/-]+|arn:aws[a-z-]*:iam::\\d{12}:root",
                "the ARN of a role, user or account, such as arn:aws:iam::111122223333:role/Developer");
    }

    /**
     * Refuses users and roles of this account that IAM does not have under exactly this ARN: with another path it is
     * another principal. Those of other accounts cannot be looked up.
     */
    void checkPrincipals(Collection<String> arns) {
        var ofAccount = "arn:[a-z-]+:iam::" + caller.account() + ":(role|user)/.+";
        var own = arns.stream().filter(arn -> arn.matches(ofAccount)).toList();
        if (own.isEmpty()) {
            return;
        }
        try (var iam = client(IamClient.builder())) {
            for (var arn : own) {
                checkPrincipal(iam, arn);
            }
        }
    }

    private void checkPrincipal(IamClient iam, String arn) {
        var name = arn.substring(arn.lastIndexOf('/') + 1);
        try {
            var found = arn.contains(":role/") ? iam.getRole(r -> r.roleName(name)).role().arn()
                    : iam.getUser(r -> r.userName(name)).user().arn();
            if (!found.equals(arn)) {
                throw new Failure("IAM does not know " + arn + "; it has " + found);
            }
        } catch (NoSuchEntityException e) {
            throw new Failure("IAM does not know " + arn, e);
        } catch (SdkException e) { // denied, or no way to IAM, as in a VPC
            note("whether " + arn + " exists could not be checked: " + reason(e));
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
}
