///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Creates or updates a customer managed KMS key for CodeCommit, with alias, key policy, rotation and tags.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:kms
//DEPS software.amazon.awssdk:iam
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//FILES policies/kms-key.json=../policies/kms-key.json
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.lang.invoke.MethodHandles;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.time.*;
import java.util.*;
import java.util.concurrent.Callable;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import picocli.CommandLine;
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.NoSuchEntityException;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.*;
import software.amazon.awssdk.services.kms.model.Tag;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * Makes the customer managed KMS key that CodeCommit repositories are encrypted under, or brings an existing one in line; the alias says
 * which key is meant. Several in one run with {@code --environments}.
 *
 * <p>Changes in AWS: the key (billed monthly), its policy, rotation, description, tags and alias. Of the policy it owns three statements,
 * by Sid: AccountAdministration (the account, through IAM), KeyAdministration ({@code --administrators}) and KeyUsage ({@code --users}, the
 * six actions that CodeCommit needs of everybody who pulls or pushes). Other statements are kept and named. An option that is not given
 * leaves what it stands for as it is.
 *
 * <p>A second run with the same arguments changes nothing. The alias is made last: a key that could not be finished has none, is scheduled
 * for deletion and named.
 *
 * <p>IAM actions:
 * <ul>
 * <li>kms:DescribeKey, kms:GetKeyPolicy, kms:GetKeyRotationStatus, kms:ListResourceTags
 * <li>kms:CreateKey, kms:CreateAlias, kms:TagResource, kms:EnableKeyRotation
 * <li>kms:PutKeyPolicy, kms:DisableKeyRotation, kms:UpdateKeyDescription, kms:UntagResource to change an existing key
 * <li>kms:ListKeys, kms:ScheduleKeyDeletion to clear up after a failure
 * <li>iam:GetRole, iam:GetUser to name a principal that does not exist
 * </ul>
 */
@Command(name = "create-kms-key", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Creates or updates a customer managed KMS key for CodeCommit, with alias, key policy, rotation and tags.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "3:partly done: some keys failed, the others are complete",
                "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  create-kms-key --alias alias/codecommit \\", "      --users arn:aws:iam::111122223333:role/Developer",
                "  create-kms-key --environments production staging development --dry-run"})
class CreateKmsKey implements Callable<Integer> {
    @ArgGroup(multiplicity = "1")
    Which which;

    static class Which {
        @Option(names = "--alias", paramLabel = "alias/NAME", description = "Alias of the key. A key that has it already is updated.")
        String alias;

        @Option(names = "--environments", paramLabel = "ENVIRONMENT", arity = "1..*",
                description = "One key each, with presets: ${COMPLETION-CANDIDATES}. The alias is alias/codecommit-ENVIRONMENT.")
        List<Environment> environments;
    }

    @Option(names = "--description", paramLabel = "TEXT", description = "Description of the key.")
    String description;

    @Option(names = "--administrators", paramLabel = "ARN", arity = "1..*", description = "Users and roles that may administer the key but not use it.")
    List<String> administrators = List.of();

    @Option(names = "--users", paramLabel = "ARN", arity = "1..*", description = "Users, roles and accounts that may use the key: all who pull or push.")
    List<String> users = List.of();

    @ArgGroup
    Rotation rotation = new Rotation();

    static class Rotation {
        @Option(names = "--rotation-period-in-days", paramLabel = "DAYS",
                description = "Rotates the key material every so many days, 90 to 2560. A new key rotates every 365 days if nothing is said.")
        Integer periodInDays;

        @Option(names = "--no-rotation", description = "No automatic rotation.")
        boolean off;
    }

    @Option(names = "--tags", paramLabel = "Key=Value", arity = "1..*", description = "Tags to add or change.")
    List<String> tags = List.of();

    @Option(names = "--remove-other-tags", description = "Removes the tags that are not given.")
    boolean removeOtherTags;

    /** The presets of --environments: what a key is for decides how closely it is kept. */
    enum Environment {
        production(true, Map.of("SecurityLevel", "High", "Compliance", "Required")),
        staging(false, Map.of("SecurityLevel", "Medium")),
        development(false, Map.of("SecurityLevel", "Standard"));

        final boolean rotates;
        final Map<String, String> tags = new TreeMap<>(Map.of("Service", "CodeCommit", "Environment", name()));

        Environment(boolean rotates, Map<String, String> tags) {
            this.rotates = rotates;
            this.tags.putAll(tags);
        }
    }

    /** @param rotationPeriod in days; 0 for no rotation, null to leave it as it is */
    record Wanted(String alias, String description, Map<String, String> tags, Integer rotationPeriod) { }

    static final List<String> OWN_SIDS = List.of("AccountAdministration", "KeyAdministration", "KeyUsage");
    static final int DEFAULT_ROTATION_PERIOD = 365;
    /** The shortest that KMS allows, in days. */
    static final int DELETION_WINDOW = 7;

    /** How long KMS may take to show a new key, and IAM to show a new user or role to KMS; mostly seconds. */
    Duration patience = Duration.ofSeconds(30);

    KmsClient kms;

    @Override
    public Integer call() {
        var wanted = wanted();
        kms = client(KmsClient.builder());
        var keys = JSON.createArrayNode();
        var strongest = 0;
        RuntimeException failure = null;
        for (var each : wanted) {
            subject = each.alias();
            var before = changes.size();
            try {
                var key = bringInLine(each);
                var status = changes.size() == before ? "unchanged" : changes.get(before).path("field").asText().equals("key") ? "created" : "updated";
                strongest = Math.max(strongest, STATUSES.indexOf(status));
                keys.add(key.put("status", status(status)));
            } catch (RuntimeException e) {
                if (wanted.size() == 1) throw e;
                failure = e;
                fail(e);
                keys.addObject().put("alias", subject).put("status", "failed").put("error", reason(e));
            }
        }
        if (failure != null && keys.valueStream().allMatch(key -> key.path("status").asText().equals("failed"))) return 1;
        var result = result(status(STATUSES.get(strongest)));
        if (which.environments != null) result.set("keys", keys);
        else result.set("key", ((ObjectNode) keys.get(0)).without("status"));
        return finish(withChanges(result), failure == null ? 0 : 3);
    }

    /** The keys to make, from options that were checked one by one. */
    List<Wanted> wanted() {
        for (var arn : principals())
            check("a principal", arn, "arn:aws[a-z-]*:iam::\\d{12}:(role|user)/[\\w+=,.@/-]+|arn:aws[a-z-]*:iam::\\d{12}:root",
                    "the ARN of a role, user or account, such as arn:aws:iam::111122223333:role/Developer");
        if (description != null) check("--description", description, "[\\p{L}\\p{N}\\p{P}\\p{S}\\p{Z}]{0,8192}", "up to 8192 printable characters");
        var period = rotation.off ? Integer.valueOf(0) : rotation.periodInDays;
        if (period != null && !rotation.off && (period < 90 || period > 2560))
            throw wrong("--rotation-period-in-days " + period + ": give 90 to 2560 days, such as 365");
        var given = tags(tags);
        if (which.alias != null) {
            check("--alias", which.alias, "alias/(?!aws/)[a-zA-Z0-9/_-]{1,250}",
                    "alias/ and letters, digits, / _ -, not beginning with alias/aws/, such as alias/codecommit");
            return List.of(new Wanted(which.alias, description, given, period));
        }
        return new LinkedHashSet<>(which.environments).stream().map(environment -> {
            var all = new TreeMap<>(environment.tags);
            all.putAll(given);
            return new Wanted("alias/codecommit-" + environment, description != null ? description : "CodeCommit repositories, " + environment, all,
                    period != null ? period : environment.rotates ? DEFAULT_ROTATION_PERIOD : 0);
        }).toList();
    }

    ObjectNode bringInLine(Wanted wanted) {
        KeyMetadata key;
        try {
            key = kms.describeKey(r -> r.keyId(wanted.alias())).keyMetadata();
        } catch (NotFoundException e) {
            key = create(wanted);
            if (key == null) return describe(wanted, null, policy());
        }
        return update(wanted, key);
    }

    /** A new key under the alias, whoever made it; null in a dry run. */
    KeyMetadata create(Wanted wanted) {
        var policy = policy();
        if (dryRun) {
            change("key", null, wanted.alias(), null, () -> { });
            return null;
        }
        var key = createKey(wanted, policy);
        var hook = new Thread(() -> note("interrupted: " + key.arn() + " has no alias; delete it with: " + deletion(key)));
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            var period = wanted.rotationPeriod() == null ? Integer.valueOf(DEFAULT_ROTATION_PERIOD) : wanted.rotationPeriod();
            if (period > 0) whenKeyShows(() -> kms.enableKeyRotation(r -> r.keyId(key.keyId()).rotationPeriodInDays(period)));
            whenKeyShows(() -> kms.createAlias(r -> r.aliasName(wanted.alias()).targetKeyId(key.keyId())));
        } catch (AlreadyExistsException e) {
            var winner = whenKeyShows(() -> kms.describeKey(r -> r.keyId(wanted.alias()))).keyMetadata();
            if (!winner.keyId().equals(key.keyId())) { // equal: the alias was made and the answer was lost
                note(subject + ": " + discard(key, "somebody else made " + wanted.alias() + " for " + winner.arn() + " meanwhile"));
                return winner;
            }
        } catch (SdkException e) {
            throw new Failure(discard(key, reason(e)), e);
        } finally {
            Runtime.getRuntime().removeShutdownHook(hook);
        }
        change("key", null, key.arn(), aws("kms delete-alias --alias-name " + wanted.alias()) + " && " + deletion(key), () -> { });
        return key;
    }

    /**
     * CreateKey has no idempotency token, so it is tried again only when KMS says that nothing was done (throttling). After any other doubtful
     * failure the key that may exist is looked for, by the Id of its policy, which only this run knows.
     */
    KeyMetadata createKey(Wanted wanted, ObjectNode policy) {
        var once = DefaultRetryStrategy.standardStrategyBuilder().useClientDefaults(false).maxAttempts(5)
                .retryOnException(e -> e instanceof SdkException sdk && isThrottling(sdk)).build();
        var started = Instant.now();
        try (var careful = client(KmsClient.builder(), once)) {
            return whenPrincipalsShow(policy, () -> careful.createKey(r -> r.policy(policy.toString()).description(wanted.description())
                    .tags(wanted.tags().entrySet().stream().map(CreateKmsKey::tag).toList())).keyMetadata());
        } catch (SdkException e) {
            if (e instanceof AwsServiceException refused && refused.statusCode() < 500) throw e;
            var left = keysSince(started.minus(Duration.ofMinutes(5)), policy.get("Id").asText());
            if (!left.isEmpty()) throw new Failure(left.stream().map(key -> discard(key, reason(e))).collect(Collectors.joining("; ")), e);
            throw new Failure(reason(e) + "; no key was found that this left behind, but KMS may show one late: it would have the policy Id "
                    + policy.get("Id").asText() + " and no alias; run the same command again", e);
        }
    }

    static boolean isThrottling(SdkException e) {
        return e instanceof AwsServiceException service && service.isThrottlingException();
    }

    /** The keys made since then whose policy has this Id. The clocks may differ, hence the margin that the caller leaves. */
    List<KeyMetadata> keysSince(Instant time, String policyId) {
        note("no answer to CreateKey: looking for the key that it may have left behind ...");
        var found = new ArrayList<KeyMetadata>();
        for (KeyListEntry entry : kms.listKeysPaginator(r -> r.limit(1000)).keys()) {
            KeyMetadata key;
            try {
                key = whenKeyShows(() -> kms.describeKey(r -> r.keyId(entry.keyId()))).keyMetadata();
            } catch (NotFoundException e) {
                continue; // deleted meanwhile
            }
            if (key.keyManager() == KeyManagerType.CUSTOMER && key.keyState() == KeyState.ENABLED && key.creationDate().isAfter(time)
                    && parse(kms.getKeyPolicy(r -> r.keyId(key.keyId()).policyName("default")).policy()).path("Id").asText().equals(policyId)) found.add(key);
        }
        return found;
    }

    /** Schedules the deletion of a key that is of no use; what it returns says why, and what is left to do. */
    String discard(KeyMetadata key, String why) {
        try {
            var date = whenKeyShows(() -> kms.scheduleKeyDeletion(r -> r.keyId(key.keyId()).pendingWindowInDays(DELETION_WINDOW))).deletionDate();
            return why + "; the key " + key.arn() + " is of no use and will be deleted on " + date;
        } catch (SdkException e) {
            return why + "; the key " + key.arn() + " is of no use, and scheduling its deletion failed (" + reason(e) + "): " + deletion(key);
        }
    }

    String deletion(KeyMetadata key) {
        return aws("kms schedule-key-deletion --key-id " + key.keyId() + " --pending-window-in-days " + DELETION_WINDOW);
    }

    /** Repeats what KMS refuses while it does not show a new key yet. */
    <T> T whenKeyShows(Supplier<T> call) {
        return repeat(NotFoundException.class, null, call);
    }

    /** Repeats what KMS refuses while IAM has not shown a principal to it yet, and names the ones that do not exist. */
    <T> T whenPrincipalsShow(JsonNode policy, Supplier<T> call) {
        try {
            return repeat(MalformedPolicyDocumentException.class,
                    subject + ": KMS does not accept the principals yet; new ones take a few seconds to show ...", call);
        } catch (MalformedPolicyDocumentException e) {
            // What KMS shows in the place of a role (AROA...) or user (AIDA...) that was deleted, and does not take back.
            var deleted = Pattern.compile("\"(A(?:RO|ID)A[A-Z0-9]{12,})\"").matcher(policy.toString()).results().map(id -> id.group(1));
            var missing = Stream.concat(principals().stream().filter(this::isUnknownToIam), deleted).toList();
            throw new Failure(reason(e) + (missing.isEmpty() ? "; IAM shows all of " + principals() : "; IAM does not know " + String.join(", ", missing)), e);
        }
    }

    <T> T repeat(Class<? extends KmsException> notYet, String meanwhile, Supplier<T> call) {
        var deadline = Instant.now().plus(patience);
        for (var millis = 250; ; millis = Math.min(2 * millis, 5000)) {
            try {
                return call.get();
            } catch (KmsException e) {
                if (!notYet.isInstance(e) || Instant.now().isAfter(deadline)) throw e;
                if (millis == 250 && meanwhile != null) note(meanwhile);
                pause(millis);
            }
        }
    }

    List<String> principals() {
        return Stream.concat(administrators.stream(), users.stream()).distinct().toList();
    }

    /** False for principals of other accounts and where IAM may not be asked: they are not known to be missing. */
    boolean isUnknownToIam(String arn) {
        var name = arn.substring(arn.lastIndexOf('/') + 1);
        try (var iam = client(IamClient.builder())) {
            if (!arn.contains("::" + identity().account() + ":") || arn.endsWith(":root")) return false;
            if (arn.contains(":role/")) iam.getRole(r -> r.roleName(name));
            else iam.getUser(r -> r.userName(name));
            return false;
        } catch (NoSuchEntityException e) {
            return true;
        } catch (AwsServiceException e) {
            note("whether " + arn + " exists could not be checked: " + reason(e));
            return false;
        }
    }

    ObjectNode update(Wanted wanted, KeyMetadata key) {
        if (key.keyManager() != KeyManagerType.CUSTOMER) throw new Failure(key.arn() + " is managed by AWS; choose another alias");
        if (key.keySpec() != KeySpec.SYMMETRIC_DEFAULT || key.keyUsage() != KeyUsageType.ENCRYPT_DECRYPT)
            throw new Failure(key.arn() + " is " + key.keySpecAsString() + " for " + key.keyUsageAsString()
                    + "; CodeCommit needs SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT: choose another alias");
        if (key.keyState() == KeyState.PENDING_DELETION)
            throw new Failure(key.arn() + " will be deleted on " + key.deletionDate() + "; keep it with: "
                    + aws("kms cancel-key-deletion --key-id " + key.keyId()) + " && " + enable(key));
        if (key.keyState() != KeyState.ENABLED) throw new Failure(key.arn() + " is " + key.keyStateAsString() + "; enable it with: " + enable(key));
        var policy = updatePolicy(key);
        updateDescription(wanted, key);
        updateRotation(wanted, key);
        updateTags(wanted, key);
        return describe(wanted, key, policy);
    }

    String enable(KeyMetadata key) {
        return aws("kms enable-key --key-id " + key.keyId());
    }

    ObjectNode updatePolicy(KeyMetadata key) {
        var current = (ObjectNode) parse(kms.getKeyPolicy(r -> r.keyId(key.keyId()).policyName("default")).policy());
        var policy = withStatements(current, policy());
        var foreign = statements(policy).stream().filter(s -> !OWN_SIDS.contains(s.path("Sid").asText())).map(s -> s.path("Sid").asText("(no Sid)")).toList();
        if (!foreign.isEmpty()) note(subject + ": kept statements of the key policy that are not this script's: " + String.join(", ", foreign));
        if (!sameMeaning(current, policy))
            change("policy", current, policy,
                    aws("kms put-key-policy --key-id " + key.keyId() + " --policy-name default --policy " + quote(current.toString())),
                    () -> whenPrincipalsShow(policy, () -> kms.putKeyPolicy(r -> r.keyId(key.keyId()).policyName("default").policy(policy.toString()))));
        return policy;
    }

    void updateDescription(Wanted wanted, KeyMetadata key) {
        if (wanted.description() == null || wanted.description().equals(key.description())) return;
        change("description", key.description(), wanted.description(),
                aws("kms update-key-description --key-id " + key.keyId() + " --description " + quote(key.description())),
                () -> kms.updateKeyDescription(r -> r.keyId(key.keyId()).description(wanted.description())));
    }

    void updateRotation(Wanted wanted, KeyMetadata key) {
        if (wanted.rotationPeriod() == null) return;
        var status = kms.getKeyRotationStatus(r -> r.keyId(key.keyId()));
        var current = !status.keyRotationEnabled() ? Integer.valueOf(0) : Objects.requireNonNullElse(status.rotationPeriodInDays(), DEFAULT_ROTATION_PERIOD);
        if (wanted.rotationPeriod().equals(current)) return;
        change("rotationPeriodInDays", current, wanted.rotationPeriod(), aws(current == 0 ? "kms disable-key-rotation --key-id " + key.keyId()
                : "kms enable-key-rotation --key-id " + key.keyId() + " --rotation-period-in-days " + current), () -> {
            if (wanted.rotationPeriod() == 0) kms.disableKeyRotation(r -> r.keyId(key.keyId()));
            else kms.enableKeyRotation(r -> r.keyId(key.keyId()).rotationPeriodInDays(wanted.rotationPeriod()));
        });
    }

    void updateTags(Wanted wanted, KeyMetadata key) {
        if (wanted.tags().isEmpty() && !removeOtherTags) return;
        var current = new TreeMap<String, String>();
        kms.listResourceTagsPaginator(r -> r.keyId(key.keyId())).tags().forEach(tag -> current.put(tag.tagKey(), tag.tagValue()));
        changeTags(current, wanted.tags(), removeOtherTags, new Tagging(
                put -> kms.tagResource(r -> r.keyId(key.keyId()).tags(put.entrySet().stream().map(CreateKmsKey::tag).toList())),
                remove -> kms.untagResource(r -> r.keyId(key.keyId()).tagKeys(remove)),
                put -> aws("kms tag-resource --key-id " + key.keyId() + " --tags " + quote(JSON.valueToTree(put.entrySet().stream()
                        .map(t -> Map.of("TagKey", t.getKey(), "TagValue", t.getValue())).toList()).toString())),
                remove -> aws("kms untag-resource --key-id " + key.keyId() + " --tag-keys " + quote(JSON.valueToTree(remove).toString()))));
    }

    static Tag tag(Map.Entry<String, String> tag) {
        return Tag.builder().tagKey(tag.getKey()).tagValue(tag.getValue()).build();
    }

    /** The three statements, less those for which nobody is named. */
    ObjectNode policy() {
        var policy = (ObjectNode) template("kms-key.json", Map.of("id", "create-kms-key/" + UUID.randomUUID(),
                "partition", identity().partition(), "account", identity().account(), "administrators", administrators, "users", users));
        policy.withArray("Statement").removeIf(s -> s.at("/Principal/AWS").isArray() && s.at("/Principal/AWS").isEmpty());
        return policy;
    }

    /** The policy with the wanted statements in the place of those with the same Sid; all others as they are. */
    static ObjectNode withStatements(ObjectNode policy, ObjectNode wanted) {
        var bySid = new LinkedHashMap<String, JsonNode>();
        wanted.path("Statement").forEach(s -> bySid.put(s.path("Sid").asText(), s));
        var result = policy.deepCopy();
        var merged = result.putArray("Statement");
        for (var statement : statements(policy)) {
            var sid = statement.path("Sid").asText();
            var own = bySid.containsKey(sid) ? bySid.put(sid, JSON.missingNode()) : statement;
            if (!own.isMissingNode()) merged.add(own); // a second one with our Sid goes
        }
        bySid.values().stream().filter(s -> !s.isMissingNode()).forEach(merged::add);
        return result;
    }

    ObjectNode describe(Wanted wanted, KeyMetadata key, ObjectNode policy) {
        var node = JSON.createObjectNode().put("alias", wanted.alias());
        if (key != null) node.put("keyId", key.keyId()).put("keyArn", key.arn()).put("keyState", "Enabled");
        if (dryRun) node.set("policy", policy);
        return node;
    }

    // ---- The same in every script: options, clients, output, errors ----

    static final ObjectMapper JSON = new ObjectMapper();

    @Option(names = "--region", paramLabel = "REGION", description = "AWS Region. Default: AWS_REGION, else the profile's.")
    String region;

    @Option(names = "--profile", paramLabel = "NAME", description = "Profile of the AWS configuration files. Goes before credentials in the environment.")
    String profile;

    @Option(names = "--print", paramLabel = "POINTER", description = "Prints only the value at this JSON Pointer of the result, without quotes, e.g. /status.")
    JsonPointer print;

    @Option(names = {"-v", "--verbose"}, description = "Prints every AWS call, and the stack trace of an error, to stderr.")
    boolean verbose;

    @Spec
    CommandSpec spec;

    /** What is being worked on: stands in front of the message of an error. */
    String subject = "";

    private AwsCredentialsProvider credentials;
    private Identity identity;

    CommandLine commandLine() {
        return new CommandLine(this)
                .setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8)) // JSON is UTF-8, whatever the terminal's encoding
                .setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8))
                .setUsageHelpAutoWidth(true)
                .setExpandAtFiles(false) // "@x" is a value, not a file of arguments
                .registerConverter(JsonPointer.class, text -> {
                    if (text.startsWith("/")) return JsonPointer.compile(text);
                    throw new TypeConversionException("'" + text + "' is not a JSON Pointer such as /status");
                })
                .setParameterExceptionHandler((e, args) -> {
                    var near = e instanceof UnmatchedArgumentException unknown ? unknown.getSuggestions() : List.of();
                    note(e.getMessage().replaceFirst("^Error: ", "").replaceAll("\\s+", " ") + (near.isEmpty() ? "" : "; did you mean " + near.get(0) + "?")
                            + " (help: " + spec.name() + " --help)");
                    return 2;
                })
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    fail(e);
                    return 1;
                });
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder) {
        return client(builder, AwsRetryStrategy.standardRetryStrategy());
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder, RetryStrategy retries) {
        useProxies(System.getenv());
        // The JDK knows the proxies.
        var http = UrlConnectionHttpClient.builder().proxyConfiguration(p -> p.useSystemPropertyValues(false).useEnvironmentVariablesValues(false));
        return builder.httpClientBuilder(http).region(Region.of(region())).credentialsProvider(credentials()).overrideConfiguration(o -> {
            o.retryStrategy(retries);
            if (profile != null) o.defaultProfileName(profile);
            if (!verbose) return;
            o.addExecutionInterceptor(new ExecutionInterceptor() {
                @Override
                public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes call) {
                    note(call.getAttribute(SdkExecutionAttribute.SERVICE_NAME) + " " + call.getAttribute(SdkExecutionAttribute.OPERATION_NAME)
                            + ": HTTP " + context.httpResponse().statusCode());
                }
            });
        }).build();
    }

    /**
     * Makes the JDK follow HTTPS_PROXY, HTTP_PROXY and NO_PROXY, for Git and for the STS client behind a profile too. Of itself the SDK takes HTTP_PROXY
     * even for https, and no domains in NO_PROXY.
     */
    static void useProxies(Map<String, String> environment) {
        UnaryOperator<String> variable = name -> environment.getOrDefault(name, environment.getOrDefault(name.toUpperCase(Locale.ROOT), "")).strip();
        for (var scheme : List.of("http", "https")) {
            var proxy = variable.apply(scheme + "_proxy");
            if (proxy.isEmpty()) continue;
            var parts = Pattern.compile("(?:https?://)?(?:([^:@/]*):([^@/]*)@)?([\\w.-]+|\\[[\\da-fA-F:]+])(?::(\\d+))?/?").matcher(proxy);
            if (!parts.matches()) throw new Failure(scheme.toUpperCase(Locale.ROOT) + "_PROXY is not of the form http://HOST:PORT");
            System.setProperty(scheme + ".proxyHost", parts.group(3));
            System.setProperty(scheme + ".proxyPort", parts.group(4) == null ? "80" : parts.group(4));
            if (parts.group(1) == null) continue;
            UnaryOperator<String> decode = text -> URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
            var signIn = new PasswordAuthentication(decode.apply(parts.group(1)), decode.apply(parts.group(2)).toCharArray());
            System.setProperty("jdk.http.auth.tunneling.disabledSchemes", ""); // without this, no Basic for https
            Authenticator.setDefault(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    return getRequestorType() == RequestorType.PROXY ? signIn : null;
                }
            });
        }
        var direct = Stream.of(variable.apply("no_proxy").split("[,\\s]+")).map(host -> host.replaceFirst("^\\*?\\.", "")).filter(host -> !host.isEmpty());
        System.setProperty("http.nonProxyHosts", "localhost|127.*|[::1]" + direct.map(host -> "|" + host + "|*." + host).collect(Collectors.joining()));
        System.setProperty("software.amazon.awssdk.http.service.impl", "software.amazon.awssdk.http.urlconnection.UrlConnectionSdkHttpService");
    }

    AwsCredentialsProvider credentials() {
        if (credentials == null) credentials = profile != null ? ProfileCredentialsProvider.create(profile) : DefaultCredentialsProvider.builder().build();
        return credentials;
    }

    String region() {
        if (region != null) return check("--region", region, "[a-z]{2,4}(-[a-z]+)+-\\d{1,2}", "a Region such as eu-west-1");
        try {
            return region = DefaultAwsRegionProviderChain.builder().profileName(profile).build().getRegion().id();
        } catch (SdkClientException e) {
            throw new Failure("no Region: give --region or set AWS_REGION", e);
        }
    }

    /** Whose credentials these are: decides account and partition. */
    record Identity(String account, String partition) { }

    /** Asks STS once, which needs no permission. */
    Identity identity() {
        if (identity != null) return identity;
        try (var sts = client(StsClient.builder())) {
            var caller = sts.getCallerIdentity();
            return identity = new Identity(caller.account(), caller.arn().split(":")[1]);
        }
    }

    /** The value, if it has the form; else exit code 2 and what is right. */
    String check(String what, String value, String form, String right) {
        if (value.matches(form)) return value;
        throw wrong(what + " '" + value + "': give " + right);
    }

    ParameterException wrong(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    /** What every result begins with. */
    ObjectNode result(String status) {
        return JSON.createObjectNode().put("status", status).put("account", identity().account()).put("region", region());
    }

    /** Prints the result, or the part of it that --print asks for. */
    int finish(ObjectNode result, int exitCode) {
        var part = print == null ? result : result.at(print);
        var planned = result.path("status").asText().startsWith("would") ? " in a dry run" : "";
        if (part.isMissingNode()) throw new Failure("the result has nothing at " + print + planned + ": " + result);
        var out = spec.commandLine().getOut();
        out.println(part.isValueNode() ? part.asText() : part.toPrettyString());
        if (out.checkError()) throw new Failure("this result could not be written to stdout: " + result);
        return exitCode;
    }

    void note(String message) {
        spec.commandLine().getErr().println(spec.name() + ": " + message);
    }

    void fail(Exception e) {
        note((subject.isEmpty() ? "" : subject + ": ") + reason(e));
        if (verbose) e.printStackTrace(spec.commandLine().getErr());
    }

    /** In one line: the error code and message of AWS, or what else went wrong. */
    static String reason(Throwable e) {
        if (e instanceof AwsServiceException aws && aws.awsErrorDetails() != null) {
            var code = aws.awsErrorDetails().errorCode() == null ? "HTTP " + aws.statusCode() : aws.awsErrorDetails().errorCode();
            var message = aws.awsErrorDetails().errorMessage() == null ? "" : ": " + aws.awsErrorDetails().errorMessage().replaceAll("\\s+", " ");
            return code + message + " (request id " + aws.requestId() + ")" + (code.contains("Expired") ? "; sign in again" : "");
        }
        for (var cause = e; cause != null; cause = cause.getCause())
            if (cause instanceof UnknownHostException) return "unknown host " + cause.getMessage() + "; see to --region, AWS_ENDPOINT_URL and the network";
        var text = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage().lines().findFirst().orElse("");
        if (text.startsWith("Unable to load credentials")) return "no AWS credentials: give --profile, set AWS_PROFILE, or sign in";
        return text.length() > 2000 ? text.substring(0, 2000) + " ..." : text;
    }

    static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        }
    }

    /** A failure whose message says it all. */
    static class Failure extends RuntimeException {
        Failure(String message, Throwable cause) {
            super(message, cause);
        }

        Failure(String message) {
            this(message, null);
        }
    }

    // ----

    // ---- The same in every script that changes a resource: dry run, changes, undo, tags ----

    @Option(names = "--dry-run", description = "Only reads, and prints what would change.")
    boolean dryRun;

    /** By strength: that of several resources is the strongest. */
    static final List<String> STATUSES = List.of("unchanged", "updated", "created", "deleted");

    /** "created", in a dry run "would-create". */
    String status(String done) {
        return dryRun && !done.equals("unchanged") ? "would-" + done.substring(0, done.length() - 1) : done;
    }

    final ArrayNode changes = JSON.createArrayNode();
    /** Commands that take the changes back, the last change first. */
    final List<String> undo = new ArrayList<>();

    /** Records a change and, unless this is a dry run, makes it. With a failure it is said what was changed before. */
    void change(String field, Object from, Object to, String undoCommand, Runnable step) {
        if (!dryRun) {
            try {
                step.run();
            } catch (RuntimeException e) {
                var before = changes.valueStream().map(change -> change.path("resource").asText() + " " + change.path("field").asText()).toList();
                if (before.isEmpty()) throw e;
                throw new Failure(field + ": " + reason(e) + "; changed before that: " + String.join(", ", before)
                        + "; the same command again does the rest", e);
            }
            if (undoCommand != null) undo.add(0, undoCommand);
        }
        changes.addObject().put("resource", subject).put("field", field).<ObjectNode>set("from", JSON.valueToTree(from)).set("to", JSON.valueToTree(to));
    }

    /** Adds changes and undo to a result. */
    ObjectNode withChanges(ObjectNode result) {
        result.set("changes", changes);
        if (!undo.isEmpty()) result.put("undo", String.join(" && ", undo));
        return result;
    }

    /** An AWS CLI command for the same Region and profile. */
    String aws(String command) {
        return "aws " + command + " --region " + region() + (profile == null ? "" : " --profile " + quote(profile));
    }

    /** As one word of a shell command. */
    static String quote(String word) {
        return word.matches("[\\w@%+=:,./-]+") ? word : "'" + word.replace("'", "'\\''") + "'";
    }

    /** Key=Value options by key, within AWS's limits on tags. */
    Map<String, String> tags(List<String> options) {
        var tags = new TreeMap<String, String>();
        for (var option : options) {
            check("--tags", option, "(?!aws:)[\\p{L}\\p{N} +\\-._:/@]{1,128}=[\\p{L}\\p{N} +\\-=._:/@]{0,256}",
                    "Key=Value of letters, digits, spaces and + - = . _ : / @, such as Team=Payments");
            var equals = option.indexOf('=');
            if (tags.put(option.substring(0, equals), option.substring(equals + 1)) != null)
                throw wrong("--tags '" + option + "': give each key once, such as Team=Payments");
        }
        if (tags.size() > 50) throw wrong("--tags: " + tags.size() + " tags; give 50 at most");
        return tags;
    }

    /** How a resource is tagged and untagged, and the AWS CLI commands for it. */
    record Tagging(Consumer<Map<String, String>> put, Consumer<Set<String>> remove,
            Function<Map<String, String>, String> putCommand, Function<Set<String>, String> removeCommand) { }

    /** Adds and changes tags; others go only if asked for. AWS's own tags (aws:) cannot be changed. */
    void changeTags(Map<String, String> present, Map<String, String> wanted, boolean removeOthers, Tagging tagging) {
        var put = new TreeMap<>(wanted);
        put.entrySet().removeAll(present.entrySet());
        var replaced = new TreeMap<>(present);
        replaced.keySet().retainAll(put.keySet());
        if (!put.isEmpty()) {
            var added = new TreeSet<>(put.keySet());
            added.removeAll(replaced.keySet());
            var undo = new ArrayList<String>();
            if (!replaced.isEmpty()) undo.add(tagging.putCommand().apply(replaced));
            if (!added.isEmpty()) undo.add(tagging.removeCommand().apply(added));
            change("tags", replaced, put, String.join(" && ", undo), () -> tagging.put().accept(put));
        }
        var others = new TreeMap<>(present);
        others.keySet().removeIf(key -> wanted.containsKey(key) || key.startsWith("aws:"));
        if (removeOthers && !others.isEmpty())
            change("tags", others, Map.of(), tagging.putCommand().apply(others), () -> tagging.remove().accept(others.keySet()));
    }

    // ----

    // ---- The same in every script that renders a policy ----

    /** The policy template with its placeholders filled; a name that the template wants and nobody gives is an error. */
    static ObjectNode template(String name, Map<String, ?> values) {
        try (var file = MethodHandles.lookup().lookupClass().getResourceAsStream("/policies/" + name)) {
            return (ObjectNode) fill(JSON.readTree(file), values);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Replaces ${name} in every string of the tree, a string that is just that by the whole value; ${aws:...} policy variables stay. */
    static JsonNode fill(JsonNode node, Map<String, ?> values) {
        if (node.isObject()) node.properties().forEach(e -> e.setValue(fill(e.getValue(), values)));
        if (node instanceof ArrayNode array) for (var i = 0; i < array.size(); i++) array.set(i, fill(array.get(i), values));
        if (!node.isTextual()) return node;
        var placeholders = Pattern.compile("\\$\\{(\\w+)}").matcher(node.textValue());
        var text = placeholders.replaceAll(found -> {
            if (!values.containsKey(found.group(1))) throw new IllegalArgumentException("the policy template wants " + found.group());
            return Matcher.quoteReplacement(String.valueOf(values.get(found.group(1))));
        });
        var whole = node.textValue().matches("\\$\\{\\w+}");
        return whole ? JSON.valueToTree(values.get(node.textValue().substring(2, node.textValue().length() - 1))) : JSON.getNodeFactory().textNode(text);
    }

    static JsonNode parse(String json) {
        try {
            return JSON.readTree(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static List<JsonNode> statements(JsonNode policy) {
        var statements = policy.path("Statement");
        return statements.isArray() ? statements.valueStream().toList() : List.of(statements);
    }

    /** Whether two policies say the same, however AWS has rewritten one of them. */
    static boolean sameMeaning(JsonNode one, JsonNode other) {
        Function<JsonNode, Set<Object>> meanings = policy -> statements(policy).stream().map(s -> meaning(s)).collect(Collectors.toSet());
        return meanings.apply(one).equals(meanings.apply(other));
    }

    /** One form for all spellings: sets for lists and single values, text for numbers and booleans, account ids for root ARNs, {"AWS": "*"} for "*". */
    static Object meaning(JsonNode node) {
        if (node.isObject()) {
            var members = new TreeMap<String, Object>();
            node.properties().forEach(e -> {
                var everybody = e.getKey().endsWith("Principal") && e.getValue().asText().equals("*");
                members.put(e.getKey(), everybody ? Map.of("AWS", Set.of("*")) : meaning(e.getValue()));
            });
            return members;
        }
        var values = node.isArray() ? node.valueStream() : Stream.of(node);
        return values.map(v -> v.asText().replaceAll("^arn:aws[a-z-]*:iam::(\\d{12}):root$", "$1")).collect(Collectors.toSet());
    }

    // ----

    public static void main(String[] args) {
        System.exit(new CreateKmsKey().commandLine().execute(args));
    }
}
