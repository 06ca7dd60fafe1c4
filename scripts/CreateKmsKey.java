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
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.services.kms.model.Tag;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Creates the customer managed KMS key that CodeCommit repositories are encrypted under, or brings an existing one in
 * line; the alias says which key is meant. Several keys in one run with {@code --environments}.
 *
 * <p>Changes in AWS: the key (billed monthly), its policy, rotation, description, tags and alias. Of the policy it owns
 * three statements, by Sid: AccountAdministration (the account, through IAM), KeyAdministration
 * ({@code --administrators}) and KeyUsage ({@code --users}, the actions that CodeCommit needs of everyone who pulls or
 * pushes). Other statements are kept and named. An option that is not given leaves the setting as it is. An
 * environment's preset is for what neither the options nor the key have: it replaces no description, tag or rotation
 * period that the key has.
 *
 * <p>A second run with the same arguments changes nothing. The alias is created last: a key that could not be finished
 * has none, is scheduled for deletion and named.
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
    @ArgGroup(multiplicity = "1")
    Which which;

    static class Which {
        @Option(names = "--alias", paramLabel = "alias/NAME",
                description = "Alias of the key. A key that has it already is updated.")
        String alias;

        @Option(names = "--environments", paramLabel = "ENVIRONMENT", arity = "1..*",
                description = "One key each, with presets: ${COMPLETION-CANDIDATES}. The alias is"
                        + " alias/codecommit-ENVIRONMENT. A preset replaces no description, tag or rotation"
                        + " period of the key or of the options.")
        List<Environment> environments;
    }

    @Option(names = "--description", paramLabel = "TEXT", description = "Description of the key.")
    String description;

    @Option(names = "--administrators", paramLabel = "ARN", arity = "1..*",
            description = "Users and roles that may administer the key but not use it.")
    List<String> administrators = List.of();

    @Option(names = "--users", paramLabel = "ARN", arity = "1..*",
            description = "Users, roles and accounts that may use the key: all who pull or push.")
    List<String> users = List.of();

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

    enum Environment {
        production(DEFAULT_ROTATION_PERIOD, Map.of("SecurityLevel", "High", "Compliance", "Required")),
        staging(NO_ROTATION, Map.of("SecurityLevel", "Medium")),
        development(NO_ROTATION, Map.of("SecurityLevel", "Standard"));

        final Preset preset;

        Environment(int rotationPeriod, Map<String, String> ownTags) {
            var tags = new TreeMap<>(Map.of("Service", "CodeCommit", "Environment", name()));
            tags.putAll(ownTags);
            preset = new Preset("CodeCommit repositories, " + name(), tags, rotationPeriod);
        }
    }

    /**
     * What a key gets where the options give nothing and it has none; with --alias only a new key.
     *
     * @param rotationPeriod in days
     */
    record Preset(String description, Map<String, String> tags, int rotationPeriod) {}

    /** @param tags of --tags */
    record WantedKey(String alias, Map<String, String> tags, Preset preset) {}

    /** The printed document: key for --alias, keys for --environments. */
    record Result(String status, String account, String region, Key key, List<Key> keys, List<Change> changes,
            String undo) {}

    /**
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

    public static void main(String[] args) {
        System.exit(new CreateKmsKey().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        var wantedKeys = wantedKeys();
        connect();
        checkPrincipals(principals());
        kms = client(KmsClient.builder());
        var keys = wantedKeys.stream().map(wanted -> keyOrFailure(wanted)).toList();
        var failures = keys.stream().filter(key -> key.error() != null).count();
        if (failures == keys.size()) {
            return 1;
        }
        var isOne = which.alias != null;
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
        if (which.alias != null) {
            check("--alias", which.alias, "alias/(?!aws/)[a-zA-Z0-9/_-]{1,250}", "alias/ and letters, digits, / _ -,"
                    + " not beginning with alias/aws/, such as alias/codecommit");
        }
    }

    List<WantedKey> wantedKeys() {
        var givenTags = tagsByKey(tags);
        if (which.alias != null) {
            return List.of(new WantedKey(which.alias, givenTags, new Preset(null, Map.of(), DEFAULT_ROTATION_PERIOD)));
        }
        return which.environments.stream().distinct()
                .map(environment -> new WantedKey("alias/codecommit-" + environment, givenTags, environment.preset))
                .toList();
    }

    List<String> principals() {
        return Stream.concat(administrators.stream(), users.stream()).distinct().toList();
    }

    /** One key that fails does not stop the others. */
    Key keyOrFailure(WantedKey wanted) {
        try {
            return naming(wanted.alias(), () -> bringInLine(wanted));
        } catch (RuntimeException e) {
            fail(e);
            return new Key(wanted.alias(), null, null, null, null, "failed", reason(e));
        }
    }

    Key bringInLine(WantedKey wanted) {
        var before = changes.size();
        var key = find(wanted.alias()).orElseGet(() -> create(wanted));
        var policy = key.keyId() == null ? ownPolicy() : update(wanted, key);
        var status = printed(strongest(changes.subList(before, changes.size())));
        return new Key(wanted.alias(), key.keyId(), key.arn(), key.keyStateAsString(), dryRun ? policy : null,
                which.alias == null ? status : null, null);
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
        var allTags = new TreeMap<>(wanted.preset().tags());
        allTags.putAll(wanted.tags());
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
    <T> T whenPrincipalsShow(String alias, JsonNode policy, Supplier<T> call) {
        try {
            return whileRefused(Set.of("MalformedPolicyDocumentException"), newsPatience, alias
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
        if (key.keyManager() != KeyManagerType.CUSTOMER) {
            throw new Failure(key.arn() + " is managed by AWS; use another alias");
        }
        checkUsable(key, "use another alias");
        var policy = updatePolicy(wanted, key);
        updateDescription(wanted, key);
        updateRotation(wanted, key);
        updateTags(wanted, key);
        return policy;
    }

    ObjectNode updatePolicy(WantedKey wanted, KeyMetadata key) {
        var current = currentPolicy(key);
        var policy = withStatements(current, ownPolicy());
        var foreign = foreignStatements(policy, OWN_SIDS);
        if (!foreign.isEmpty()) {
            note(wanted.alias() + ": kept statements of the key policy that are not this script's: " + sids(foreign));
        }
        if (!sameMeaning(current, policy)) {
            change(Change.update(wanted.alias(), "policy", current, policy),
                    aws("kms put-key-policy",
                            Map.of("KeyId", key.keyId(), "PolicyName", "default", "Policy", current.toString())),
                    () -> whenPrincipalsShow(wanted.alias(), policy, () -> kms.putKeyPolicy(
                            r -> r.keyId(key.keyId()).policyName("default").policy(policy.toString()))));
        }
        return policy;
    }

    ObjectNode currentPolicy(KeyMetadata key) {
        return parsedPolicy(kms.getKeyPolicy(r -> r.keyId(key.keyId()).policyName("default")).policy());
    }

    /** The statements of this script, without those that would have no principal. */
    ObjectNode ownPolicy() {
        var policy = template("kms-key.json",
                Map.of("id", "create-kms-key/" + UUID.randomUUID(), "partition", caller.partition(), "account",
                        caller.account(), "administrators", administrators, "users", users));
        var noOne = JSON.createArrayNode();
        policy.withArray("Statement").removeIf(statement -> statement.at("/Principal/AWS").equals(noOne));
        return policy;
    }

    /** The policy with the wanted statements in the place of those with the same Sids. */
    static ObjectNode withStatements(ObjectNode policy, JsonNode wanted) {
        var wantedSids = statements(wanted).stream().map(statement -> sid(statement)).toList();
        var result = policy.deepCopy();
        result.putArray("Statement").addAll(foreignStatements(policy, wantedSids)).addAll(statements(wanted));
        return result;
    }

    void updateDescription(WantedKey wanted, KeyMetadata key) {
        var current = key.description();
        var preset = current.isEmpty() ? wanted.preset().description() : null;
        var text = description != null ? description : preset;
        if (text == null || text.equals(current)) {
            return;
        }
        change(Change.update(wanted.alias(), "description", current, text),
                aws("kms update-key-description", Map.of("KeyId", key.keyId(), "Description", current)),
                () -> kms.updateKeyDescription(r -> r.keyId(key.keyId()).description(text)));
    }

    void updateRotation(WantedKey wanted, KeyMetadata key) {
        var given = givenRotationPeriod();
        if (given == null && which.alias != null) {
            return;
        }
        var current = currentRotationPeriod(key);
        var preset = current == NO_ROTATION ? wanted.preset().rotationPeriod() : current;
        var period = given != null ? given : preset;
        if (period == current) {
            return;
        }
        change(Change.update(wanted.alias(), "rotationPeriodInDays", current, period),
                aws(current == NO_ROTATION ? "kms disable-key-rotation --key-id " + key.keyId()
                        : "kms enable-key-rotation --key-id " + key.keyId() + " --rotation-period-in-days " + current),
                () -> rotate(key, period));
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
        var wantedTags = new TreeMap<>(wanted.preset().tags());
        if (wantedTags.isEmpty() && wanted.tags().isEmpty() && !removeOtherTags) {
            return;
        }
        var present = kms.listResourceTagsPaginator(r -> r.keyId(key.keyId())).tags().stream()
                .collect(Collectors.toMap(Tag::tagKey, Tag::tagValue));
        wantedTags.replaceAll(present::getOrDefault);
        wantedTags.putAll(wanted.tags());
        changeTags(wanted.alias(), present, wantedTags, removeOtherTags, new Tagging(
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

    /** Prints the result, or the part of it that --print asks for. */
    int print(Object result, int exitCode) {
        JsonNode document = JSON.valueToTree(result);
        var part = print == null ? document : document.at(print);
        if (part.isMissingNode()) {
            throw new Failure("the result has nothing at " + print + ": " + document);
        }
        var out = spec.commandLine().getOut();
        out.println(part.isValueNode() ? part.asText() : part.toPrettyString());
        if (out.checkError()) {
            throw new Failure("stdout cannot be written to; the result is: " + document);
        }
        return exitCode;
    }

    void note(String message) {
        spec.commandLine().getErr().println(spec.name() + ": " + message);
    }

    void fail(Exception e) {
        note(reason(e));
        if (verbose) {
            e.printStackTrace(spec.commandLine().getErr());
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
        return "aws " + command + " --region " + region() + (profile == null ? "" : " --profile " + quote(profile));
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
        var own = arns.stream().filter(arn -> arn.contains("::" + caller.account() + ":") && !arn.endsWith(":root"))
                .toList();
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

    //region The same in every script: deleted principals

    /** The ids of users, roles and groups that were deleted since: AWS shows them in the place of their ARNs. */
    static List<String> deletedPrincipals(JsonNode statement) {
        return Pattern.compile("\"(A(?:RO|ID|GP|IP)A[A-Z0-9]{12,})\"")
                .matcher(statement.path("Principal").toString() + statement.path("NotPrincipal")).results()
                .map(id -> id.group(1)).toList();
    }

    //endregion
}
