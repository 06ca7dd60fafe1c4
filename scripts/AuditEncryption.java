///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Audits the key of every CodeCommit repository: its manager, state, rotation, policy and owner.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:kms
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1 -Djdk.console=java.base

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
import java.util.concurrent.*;
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
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.RepositoryMetadata;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.ExpirationModelType;
import software.amazon.awssdk.services.kms.model.GetKeyRotationStatusResponse;
import software.amazon.awssdk.services.kms.model.InvalidArnException;
import software.amazon.awssdk.services.kms.model.KeyManagerType;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.kms.model.KeySpec;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUsageType;
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.services.kms.model.OriginType;
import software.amazon.awssdk.services.kms.model.UnsupportedOperationException;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Audits under which keys the repositories of CodeCommit are: who manages each key, whether it can be used, whether and
 * how often it rotates, whose it is, and whom its policy lets in. What is not as it should be is a finding of one of
 * the kinds that {@link Code} lists, with the command that mends it where there is one. Findings give exit code 4.
 *
 * <p>Each key is looked up once, however many repositories are under it. A repository or key that cannot be read is a
 * finding too (repository-error, key-error), the others are audited, and the exit code is 3.
 *
 * <p>Changes nothing in AWS, and no key comes into being: to describe a key of AWS by its alias would make KMS create
 * it, so keys are described by their ids alone. A second run does the same again.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codecommit:ListRepositories, kms:ListAliases (on *)
 * <li>codecommit:BatchGetRepositories; with kms:Decrypt through CodeCommit, which may ask for it before it tells the
 * settings of a repository under a customer managed key
 * <li>kms:DescribeKey, kms:GetKeyRotationStatus, kms:GetKeyPolicy on the keys
 * </ul>
 */
@Command(name = "audit-encryption", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Audits the key of every CodeCommit repository: its manager, state, rotation, policy and owner.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: some repositories or keys could not be read, the others are complete",
                "4:findings: all were read, and some are not as they should be", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang audit-encryption --require-customer-managed --require-rotation",
                "  ./jbang audit-encryption --repository-names 'team-*' --output table \\",
                "      --max-rotation-days 365"})
class AuditEncryption implements Callable<Integer> {
    @Option(names = "--repository-names", paramLabel = "GLOB", arity = "1..*",
            description = "Repositories to audit, by name or with * and ?. Default: all of the Region.")
    List<String> repositoryNames = List.of("*");

    @Option(names = "--require-customer-managed",
            description = "Finds repositories under the key that AWS manages.")
    boolean requireCustomerManaged;

    @Option(names = "--require-rotation", description = "Finds keys that do not rotate by themselves.")
    boolean requireRotation;

    @Option(names = "--max-rotation-days", paramLabel = "DAYS",
            description = "Finds keys that rotate less often, or not at all; from 90 to 2560 days.")
    String maxRotationDays;

    /**
     * The printed document.
     *
     * @param status audited, findings, or incomplete if some repositories or keys could not be read
     */
    record Result(String status, String account, String region, Totals totals, List<Repository> repositories,
            List<Key> keys, List<Finding> findings) {}

    record Totals(int repositories, int keys, int findings) {}

    /**
     * @param kmsKeyId the ARN of its key, or an alias if that is all that shows; null if it is not known
     * @param findings of the repository and of its key
     * @param error why it could not be read
     */
    record Repository(String repositoryName, String arn, @JsonInclude String kmsKeyId, Set<Code> findings,
            String error) {}

    /**
     * A key that repositories are under. What KMS does not tell is left out.
     *
     * @param kmsKeyId the ARN, or an alias if that is all that shows
     * @param deletionDate when it will be gone
     * @param validTo when its imported material expires
     * @param primaryKeyArn of a replica of a multi-Region key, which rotates as the primary one does
     * @param repositories how many are under it
     */
    record Key(String kmsKeyId, List<String> aliases, String keyManager, String keyState, String keySpec,
            String keyUsage, String origin, Boolean keyRotationEnabled, Integer rotationPeriodInDays,
            String deletionDate, String validTo, String primaryKeyArn, int repositories, Set<Code> findings) {
        /** How a list shows it. */
        String name() {
            return aliases.isEmpty() ? kmsKeyId.substring(kmsKeyId.lastIndexOf('/') + 1) : String.join(", ", aliases);
        }

        /** Days, or off; null if KMS does not tell. */
        Object rotation() {
            return Boolean.FALSE.equals(keyRotationEnabled) ? "off" : rotationPeriodInDays;
        }
    }

    /**
     * Something that is not as it should be, or that could not be read.
     *
     * @param repositoryName null if it is about a key
     * @param kmsKeyId null if it is not known
     * @param command that mends it, or the first of them; null if there is none
     */
    record Finding(Code code, @JsonInclude String repositoryName, @JsonInclude String kmsKeyId, String message,
            String command) {}

    enum Code {
        /** The key is disabled, will be deleted, is gone, or is of the wrong kind: repositories cannot be read. */
        KEY_UNUSABLE,
        /** The key is one that AWS manages; with --require-customer-managed. */
        AWS_MANAGED,
        /** The key does not rotate by itself; with --require-rotation or --max-rotation-days. */
        ROTATION_OFF,
        /** The key rotates less often than --max-rotation-days says. */
        ROTATION_TOO_SLOW,
        /** The imported material of the key expires, and repositories cannot be read from then on. */
        MATERIAL_EXPIRES,
        /** The key belongs to another account. */
        FOREIGN_KEY,
        /** A statement of the key policy lets everyone in, of every account. */
        WIDE_KEY_POLICY,
        /** A statement of the key policy names a principal that was deleted. */
        DEAD_PRINCIPAL,
        /** KMS does not tell what is asked of the key. */
        KEY_ERROR,
        /** CodeCommit does not tell the settings of the repository. */
        REPOSITORY_ERROR;

        @JsonValue
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }

        boolean isUnread() {
            return this == KEY_ERROR || this == REPOSITORY_ERROR;
        }
    }

    /**
     * What CodeCommit says of a repository.
     *
     * @param metadata null if it says why not
     * @param errorCode of CodeCommit; null if the whole call failed
     */
    record Answer(String name, RepositoryMetadata metadata, String errorCode, String error) {
        static Answer failure(String name, String error) {
            return new Answer(name, null, null, error);
        }
    }

    /** The aliases of the Region: names by key ids, and key ids by names. An alias of AWS may have no key yet. */
    record Aliases(Map<String, List<String>> names, Map<String, String> keyIds) {}

    /**
     * What KMS says of a key.
     *
     * @param id the ARN; or AWS_MANAGED, or an alias that is of no key
     * @param metadata null if it could not be read, or must not be
     * @param missing why there is no such key; null if there may be one
     * @param canRotate whether KMS could rotate it by itself; null if that is not known
     * @param rotation null if it is not known, or not asked for
     * @param policy null if it is not known, or not asked for
     * @param errors what could not be read, and why
     */
    record Facts(String id, KeyMetadata metadata, String missing, Boolean canRotate,
            GetKeyRotationStatusResponse rotation, JsonNode policy, List<String> errors) {
        static Facts unknown(String id, String missing, String... errors) {
            return new Facts(id, null, missing, null, null, null, List.of(errors));
        }

        boolean isArn() {
            return id.startsWith("arn:");
        }

        String account() {
            return isArn() ? id.split(":")[4] : null;
        }

        boolean isManagedByAws() {
            return id.equals(AWS_MANAGED) || metadata != null && metadata.keyManager() == KeyManagerType.AWS;
        }
    }

    /** @param findings of the key itself, whatever is under it */
    record AuditedKey(Facts facts, Key key, List<Finding> findings) {}

    /** @param findings of the repository itself, without those of its key */
    record AuditedRepository(Repository repository, List<Finding> findings) {}

    /** Stands for the key itself where that does not show. */
    static final String AWS_MANAGED = "alias/aws/codecommit";
    /** How often KMS rotates keys that AWS manages, and others for which no period is set. */
    static final int YEAR = 365;
    /** Errors of CodeCommit that say what is wrong with a repository's key. */
    static final Set<String> KEY_ERRORS = Set.of("EncryptionKeyDisabledException", "EncryptionKeyNotFoundException",
            "EncryptionKeyUnavailableException");
    /** While the primary key of a multi-Region key changes, a key can be used. */
    static final Set<KeyState> USABLE = EnumSet.of(KeyState.ENABLED, KeyState.UPDATING);

    CodeCommitClient codecommit;
    KmsClient kms;

    public static void main(String[] args) {
        System.exit(new AuditEncryption().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        connect();
        codecommit = client(CodeCommitClient.builder());
        kms = client(KmsClient.builder());
        var answers = answers();
        var aliases = aliases();
        var keys = auditedKeys(answers, aliases);
        var suggestedKey = suggestedKey(keys.values().stream().map(AuditedKey::key).toList());
        var repositories = answers.stream().map(answer -> answer.metadata == null ? unread(answer)
                : audited(answer, keys.get(keyId(answer.metadata.kmsKeyId(), aliases)), suggestedKey)).toList();
        return report(repositories, keys);
    }

    void checkOptions() {
        checkOutput();
        checkSelection();
        if (maxRotationDays != null) {
            check("--max-rotation-days", maxRotationDays, "9\\d|[1-9]\\d\\d|1\\d{3}|2[0-4]\\d\\d|25[0-5]\\d|2560",
                    "90 to 2560 days, which KMS can be told, such as 365");
        }
    }

    // ---- CodeCommit

    /** Of all wanted repositories, by name. */
    List<Answer> answers() {
        var listed = codecommit.listRepositoriesPaginator().repositories().stream().map(each -> each.repositoryName())
                .collect(Collectors.toCollection(TreeSet::new));
        var names = listed.stream().filter(name -> matchesAny(repositoryNames, name) && !matchesAny(exclude, name))
                .toList();
        var absent = new TreeSet<>(repositoryNames).stream()
                .filter(glob -> glob.matches("[^*?]+") && !listed.contains(glob) && !matchesAny(exclude, glob))
                .toList();
        if (names.isEmpty() && !repositoryNames.equals(List.of("*"))) {
            throw new Failure("no repository of " + region() + " is one of --repository-names "
                    + String.join(" ", repositoryNames) + "; check --region, --profile and --exclude");
        }
        if (names.isEmpty() && !listed.isEmpty()) {
            throw new Failure("no repository of " + region() + " is left to audit; check --exclude "
                    + String.join(" ", exclude));
        }
        if (names.isEmpty()) {
            note("there are no repositories in " + region());
        }
        var answers = inParallel(jobs, batches(names, REPOSITORIES_PER_CALL), batch -> answers(batch)).stream()
                .flatMap(List::stream).toList();
        if (!answers.isEmpty() && answers.stream().allMatch(answer -> answer.metadata == null
                && answer.errorCode == null)) {
            throw new Failure("no repository could be read: " + answers.get(0).error);
        }
        return Stream.concat(answers.stream(), absent.stream().map(name -> new Answer(name, null,
                "RepositoryDoesNotExistException", "there is no such repository in " + region())))
                .sorted(Comparator.comparing(Answer::name)).toList();
    }

    List<Answer> answers(List<String> names) {
        var answers = new ArrayList<Answer>();
        try {
            var answer = codecommit.batchGetRepositories(r -> r.repositoryNames(names));
            answer.repositories().forEach(each -> answers.add(new Answer(each.repositoryName(), each, null, null)));
            answer.errors().forEach(each -> answers.add(new Answer(each.repositoryName(), null,
                    each.errorCodeAsString(), each.errorCodeAsString() + ": " + each.errorMessage())));
        } catch (SdkException e) {
            return names.stream().map(name -> Answer.failure(name, reason(e))).toList();
        }
        var answered = answers.stream().map(Answer::name).collect(Collectors.toSet());
        names.stream().filter(name -> !answered.contains(name)).forEach(name -> answers.add(new Answer(name, null,
                "RepositoryDoesNotExistException", "deleted or renamed since the repositories were listed")));
        return answers;
    }

    // ---- KMS

    Aliases aliases() {
        var names = new TreeMap<String, List<String>>();
        var keyIds = new TreeMap<String, String>();
        for (var alias : kms.listAliasesPaginator().aliases()) {
            if (alias.targetKeyId() != null) {
                names.computeIfAbsent(alias.targetKeyId(), id -> new ArrayList<>()).add(alias.aliasName());
                keyIds.put(alias.aliasName(), alias.targetKeyId());
            }
        }
        return new Aliases(names, keyIds);
    }

    /**
     * One name for all that CodeCommit may call a key: its ARN. An alias is resolved by the list of aliases.
     *
     * @param shown null for the AWS managed key
     */
    String keyId(String shown, Aliases aliases) {
        var id = Objects.requireNonNullElse(shown, AWS_MANAGED);
        var ownKeys = "arn:" + caller.partition() + ":kms:" + region() + ":" + caller.account() + ":";
        var name = id.startsWith(ownKeys) ? id.substring(ownKeys.length()) : id;
        if (name.startsWith("alias/")) {
            return aliases.keyIds.containsKey(name) ? ownKeys + "key/" + aliases.keyIds.get(name) : name;
        }
        return id.startsWith("arn:") ? id : ownKeys + "key/" + id;
    }

    /** Asks KMS for a key, once for all of its repositories; never by an alias. */
    Facts facts(String id) {
        if (id.equals(AWS_MANAGED)) {
            return Facts.unknown(id, null);
        }
        if (!id.matches("arn:[^:]+:kms:[^:]+:\\d{12}:key/.+")) {
            return id.startsWith("alias/") ? Facts.unknown(id, "there is no such alias in " + region())
                    : Facts.unknown(id, null, "CodeCommit shows no ARN of a key");
        }
        var keyRegion = id.split(":")[3];
        if (!keyRegion.equals(region())) {
            return Facts.unknown(id, "it is of " + keyRegion + ", and a repository's key is in the same Region");
        }
        try {
            var metadata = kms.describeKey(r -> r.keyId(id)).keyMetadata();
            return metadata.keyManager() == KeyManagerType.AWS
                    ? new Facts(id, metadata, null, true, null, null, List.of()) : facts(id, metadata);
        } catch (NotFoundException | InvalidArnException e) {
            return Facts.unknown(id, "there is no such key in " + region());
        } catch (SdkException e) {
            return Facts.unknown(id, null, whyUnread("the key", "kms:DescribeKey", e));
        }
    }

    /** Of a customer managed key: rotation and policy too. */
    Facts facts(String id, KeyMetadata metadata) {
        var errors = new ArrayList<String>();
        var canRotate = isSymmetric(metadata) && metadata.origin() == OriginType.AWS_KMS;
        GetKeyRotationStatusResponse rotation = null;
        // before a key is deleted it does not rotate, and KMS does not tell whether it would otherwise
        if (canRotate && metadata.keyState() != KeyState.PENDING_DELETION) {
            try {
                rotation = kms.getKeyRotationStatus(r -> r.keyId(id));
            } catch (UnsupportedOperationException e) {
                canRotate = false;
            } catch (SdkException e) {
                errors.add(whyUnread("its rotation", "kms:GetKeyRotationStatus", e));
            }
        }
        JsonNode policy = null;
        if (caller.account().equals(metadata.awsAccountId())) { // KMS shows it to no other account
            try {
                policy = parsedPolicy(kms.getKeyPolicy(r -> r.keyId(id).policyName("default")).policy());
            } catch (SdkException e) {
                errors.add(whyUnread("its policy", "kms:GetKeyPolicy", e));
            }
        }
        return new Facts(id, metadata, null, canRotate, rotation, policy, errors);
    }

    static String whyUnread(String what, String action, SdkException e) {
        return what + " could not be read: " + reason(e) + (isTemporary(e) ? "; run the same command again"
                : "; this needs " + action + ", by IAM or the key's policy");
    }

    static boolean isSymmetric(KeyMetadata key) {
        return key.keySpec() == KeySpec.SYMMETRIC_DEFAULT && key.keyUsage() == KeyUsageType.ENCRYPT_DECRYPT;
    }

    // ---- Findings

    /** Each key that a repository is under, by its id. */
    Map<String, AuditedKey> auditedKeys(List<Answer> answers, Aliases aliases) {
        var counts = answers.stream().filter(answer -> answer.metadata != null)
                .collect(Collectors.groupingBy(answer -> keyId(answer.metadata.kmsKeyId(), aliases), TreeMap::new,
                        Collectors.summingInt(answer -> 1)));
        var keys = new LinkedHashMap<String, AuditedKey>();
        for (var facts : inParallel(jobs, List.copyOf(counts.keySet()), id -> facts(id))) {
            var findings = findings(facts);
            keys.put(facts.id, new AuditedKey(facts, key(facts, aliases, counts.get(facts.id), codes(findings)),
                    findings));
        }
        return keys;
    }

    AuditedRepository audited(Answer answer, AuditedKey key, String suggestedKey) {
        var findings = findings(answer.name, key.facts, suggestedKey);
        var codes = codes(findings);
        codes.addAll(key.key.findings);
        return new AuditedRepository(new Repository(answer.name, answer.metadata.arn(), key.facts.id, codes, null),
                findings);
    }

    static AuditedRepository unread(Answer answer) {
        var finding = unreadRepository(answer);
        return new AuditedRepository(new Repository(answer.name, null, null, codes(List.of(finding)), answer.error),
                List.of(finding));
    }

    static Set<Code> codes(List<Finding> findings) {
        return findings.stream().map(Finding::code).collect(Collectors.toCollection(TreeSet::new));
    }

    Key key(Facts facts, Aliases aliases, int repositories, Set<Code> findings) {
        var metadata = facts.metadata;
        var names = aliases.names.getOrDefault(facts.id.substring(facts.id.lastIndexOf('/') + 1), List.of());
        if (!facts.isArn()) {
            names = List.of(facts.id);
        } else if (!facts.account().equals(caller.account()) || !facts.id.split(":")[3].equals(region())) {
            names = List.of(); // the id of a multi-Region key is the same everywhere
        }
        if (metadata == null) {
            var isAws = facts.isManagedByAws();
            return new Key(facts.id, names, isAws ? "AWS" : null, null, null, null, null, isAws ? true : null,
                    isAws ? YEAR : null, null, null, null, repositories, findings);
        }
        return new Key(facts.id, names, metadata.keyManagerAsString(), metadata.keyStateAsString(),
                metadata.keySpecAsString(), metadata.keyUsageAsString(), metadata.originAsString(), isRotating(facts),
                Boolean.TRUE.equals(isRotating(facts)) ? rotationPeriod(facts) : null,
                Objects.toString(metadata.deletionDate(), null), Objects.toString(validTo(metadata), null),
                primary(metadata), repositories, findings);
    }

    /** Null if KMS does not tell. */
    static Boolean isRotating(Facts facts) {
        if (facts.isManagedByAws()) {
            return true;
        }
        if (Boolean.FALSE.equals(facts.canRotate)) {
            return false;
        }
        return facts.rotation == null ? null : facts.rotation.keyRotationEnabled();
    }

    static int rotationPeriod(Facts facts) {
        return facts.rotation == null || facts.rotation.rotationPeriodInDays() == null ? YEAR
                : facts.rotation.rotationPeriodInDays();
    }

    /** Null if the material does not expire. */
    static Instant validTo(KeyMetadata key) {
        return key.expirationModel() == ExpirationModelType.KEY_MATERIAL_EXPIRES ? key.validTo() : null;
    }

    /** Of a replica of a multi-Region key, the ARN of the primary one; else null. */
    static String primary(KeyMetadata key) {
        var regions = key.multiRegionConfiguration();
        return regions == null || regions.primaryKey().arn().equals(key.arn()) ? null : regions.primaryKey().arn();
    }

    /** What is wrong with a key, whatever is under it. */
    List<Finding> findings(Facts facts) {
        var findings = Stream.of(unusable(facts), rotation(facts), expiry(facts), policy(facts)).flatMap(each -> each);
        return Stream.concat(findings, facts.errors.stream().map(error -> finding(Code.KEY_ERROR, facts, error, null)))
                .toList();
    }

    static Finding finding(Code code, Facts facts, String message, String command) {
        return new Finding(code, null, facts.id, message, command);
    }

    Stream<Finding> unusable(Facts facts) {
        if (facts.missing != null) {
            return Stream.of(finding(Code.KEY_UNUSABLE, facts, facts.missing + "; what is under it can only be"
                    + " restored from a backup, under another key: ./jbang restore-from-s3", null));
        }
        var key = facts.metadata;
        if (key == null) {
            return Stream.empty();
        }
        if (!isSymmetric(key)) {
            return Stream.of(finding(Code.KEY_UNUSABLE, facts, "is " + key.keySpecAsString() + " for "
                    + key.keyUsageAsString() + "; CodeCommit needs SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT", null));
        }
        if (USABLE.contains(key.keyState())) {
            return Stream.empty();
        }
        var enable = aws("kms enable-key --key-id " + key.keyId());
        var mend = switch (key.keyState()) {
            case DISABLED -> enable;
            case PENDING_DELETION -> aws("kms cancel-key-deletion --key-id " + key.keyId()) + " && " + enable;
            case PENDING_IMPORT -> parametersForImport(key);
            case UNAVAILABLE -> key.customKeyStoreId() == null ? null
                    : aws("kms connect-custom-key-store --custom-key-store-id " + key.customKeyStoreId());
            default -> null;
        };
        return Stream.of(finding(Code.KEY_UNUSABLE, facts, "is " + key.keyStateAsString()
                + (key.deletionDate() == null ? "" : ", and will be deleted on " + key.deletionDate())
                + whoCanChange(facts), isOwn(facts) ? mend : null));
    }

    /** What begins the import of the same material once more. */
    String parametersForImport(KeyMetadata key) {
        return aws("kms get-parameters-for-import --key-id " + key.keyId()
                + " --wrapping-algorithm RSAES_OAEP_SHA_256 --wrapping-key-spec RSA_4096");
    }

    Stream<Finding> rotation(Facts facts) {
        var isRotating = isRotating(facts);
        if (!requireRotation && maxRotationDays == null || isRotating == null
                || facts.metadata != null && !isSymmetric(facts.metadata)) {
            return Stream.empty();
        }
        if (!isRotating) {
            var isMaterialOfOthers = Boolean.FALSE.equals(facts.canRotate);
            return Stream.of(finding(Code.ROTATION_OFF, facts, isMaterialOfOthers ? "has material of origin "
                    + facts.metadata.originAsString() + ", which KMS does not rotate; create another key:"
                    + " ./jbang create-kms-key" : "does not rotate" + whoCanChange(facts),
                    isMaterialOfOthers ? null : enableRotation(facts)));
        }
        var most = maxRotationDays == null ? Integer.MAX_VALUE : Integer.parseInt(maxRotationDays);
        if (rotationPeriod(facts) <= most) {
            return Stream.empty();
        }
        return Stream.of(finding(Code.ROTATION_TOO_SLOW, facts, "rotates every " + rotationPeriod(facts) + " days"
                + (facts.isManagedByAws() ? ", as AWS decides; create a key of your own: ./jbang create-kms-key"
                        : whoCanChange(facts)), facts.isManagedByAws() ? null : enableRotation(facts)));
    }

    String whoCanChange(Facts facts) {
        return isOwn(facts) ? "" : "; only its account, " + facts.account() + ", can change that";
    }

    boolean isOwn(Facts facts) {
        return caller.account().equals(facts.account());
    }

    /** On the primary key, if it is a replica; null if it is another account's. */
    String enableRotation(Facts facts) {
        if (!isOwn(facts)) {
            return null;
        }
        var arn = Objects.requireNonNullElse(primary(facts.metadata), facts.id);
        var enable = aws("kms enable-key --key-id " + facts.metadata.keyId());
        return (facts.metadata.keyState() == KeyState.DISABLED ? enable + " && " : "")
                + "aws kms enable-key-rotation --key-id " + facts.metadata.keyId()
                + (maxRotationDays == null ? "" : " --rotation-period-in-days " + maxRotationDays)
                + place(arn.split(":")[3]);
    }

    Stream<Finding> expiry(Facts facts) {
        var end = facts.metadata == null ? null : validTo(facts.metadata);
        if (end == null) {
            return Stream.empty();
        }
        return Stream.of(finding(Code.MATERIAL_EXPIRES, facts, "loses its material on " + end
                + ", and what is under it cannot be read from then on; import the same material again, without an end",
                isOwn(facts) ? parametersForImport(facts.metadata) : null));
    }

    Stream<Finding> policy(Facts facts) {
        if (facts.policy == null) {
            return Stream.empty();
        }
        var show = aws("kms get-key-policy --policy-name default --output text --key-id " + facts.metadata.keyId());
        var wide = statements(facts.policy).stream().filter(statement -> isForEveryone(statement))
                .map(statement -> finding(Code.WIDE_KEY_POLICY, facts, "statement " + sid(statement)
                        + " of its policy lets everyone in, of every account; name principals in it, or limit it by"
                        + " kms:CallerAccount", show));
        var dead = statements(facts.policy).stream().filter(statement -> !deletedPrincipals(statement).isEmpty())
                .map(statement -> finding(Code.DEAD_PRINCIPAL, facts, "statement " + sid(statement)
                        + " of its policy names what was deleted, and KMS refuses every change of the policy until it"
                        + " is taken out: " + String.join(", ", deletedPrincipals(statement)), show));
        return Stream.concat(wide, dead);
    }

    static boolean isForEveryone(JsonNode statement) {
        var principal = statement.path("Principal");
        var isEveryone = statement.has("NotPrincipal")
                || texts(principal.isObject() ? principal.path("AWS") : principal).anyMatch("*"::equals);
        return statement.path("Effect").asText().equals("Allow") && isEveryone && statement.path("Condition").isEmpty();
    }

    /** What is wrong with the choice of the key. */
    List<Finding> findings(String name, Facts facts, String suggestedKey) {
        var rekey = "./jbang create-encrypted-repo --repository-name=" + name + " --kms-key-id " + suggestedKey
                + place();
        if (facts.isManagedByAws() && requireCustomerManaged) {
            return List.of(new Finding(Code.AWS_MANAGED, name, facts.id, "is under a key that AWS manages, which has"
                    + " no policy of yours; give it one of your own", rekey));
        }
        if (facts.isArn() && !isOwn(facts)) {
            return List.of(new Finding(Code.FOREIGN_KEY, name, facts.id, "is under a key of account "
                    + facts.account() + ", which can take it away; give it one of your own", rekey));
        }
        return List.of();
    }

    /** An alias of the customer managed key that most repositories are under, and with which nothing is wrong. */
    static String suggestedKey(List<Key> keys) {
        return keys.stream().filter(key -> key.findings.isEmpty() && "CUSTOMER".equals(key.keyManager)
                        && !key.aliases.isEmpty())
                .max(Comparator.comparing(Key::repositories)).map(key -> key.aliases.get(0)).orElse("alias/codecommit");
    }

    static Finding unreadRepository(Answer answer) {
        if (answer.errorCode != null && KEY_ERRORS.contains(answer.errorCode)) {
            return new Finding(Code.KEY_UNUSABLE, answer.name, null, "cannot be read: " + answer.error, null);
        }
        var isDenied = "EncryptionKeyAccessDeniedException".equals(answer.errorCode);
        return new Finding(Code.REPOSITORY_ERROR, answer.name, null, answer.error
                + (isDenied ? "; CodeCommit asks for kms:Decrypt on its key" : ""), null);
    }

    // ---- Output

    int report(List<AuditedRepository> audited, Map<String, AuditedKey> auditedKeys) {
        var repositories = audited.stream().map(AuditedRepository::repository).toList();
        var keys = auditedKeys.values().stream().map(AuditedKey::key).toList();
        var findings = Stream.concat(auditedKeys.values().stream().map(AuditedKey::findings),
                audited.stream().map(AuditedRepository::findings)).flatMap(List::stream).toList();
        tell(findings, auditedKeys);
        var status = findings.isEmpty() ? "audited" : "findings";
        var exitCode = findings.isEmpty() ? 0 : 4;
        if (findings.stream().anyMatch(finding -> finding.code.isUnread())) {
            status = "incomplete";
            exitCode = 3;
        }
        var totals = new Totals(repositories.size(), keys.size(), findings.size());
        var result = new Result(status, caller.account(), region(), totals, repositories, keys, findings);
        var summary = status + ", repositories: " + totals.repositories + ", keys: " + totals.keys + ", findings: "
                + totals.findings;
        return print(result, listed(repositories, auditedKeys), summary, exitCode);
    }

    /** A line for each finding; of many repositories with the same one, for the first of them. */
    void tell(List<Finding> findings, Map<String, AuditedKey> keys) {
        var groups = findings.stream().collect(Collectors.groupingBy(
                finding -> finding.repositoryName == null ? finding : finding.code + " " + finding.kmsKeyId,
                LinkedHashMap::new, Collectors.toList()));
        for (var group : groups.values()) {
            var first = group.get(0);
            var name = first.repositoryName != null ? first.repositoryName : keys.get(first.kmsKeyId).key.name();
            var others = group.size() == 1 ? "" : " (and " + (group.size() - 1) + " more repositories)";
            note(name + others + ": " + first.code + ": " + first.message
                    + (first.command == null ? "" : ": " + first.command));
        }
    }

    /** A row for each repository. */
    static Listed listed(List<Repository> repositories, Map<String, AuditedKey> keys) {
        var rows = new ArrayList<Row>();
        for (var repository : repositories) {
            var isWrong = !repository.findings.isEmpty();
            if (repository.kmsKeyId == null) {
                rows.add(Row.of(isWrong, repository.repositoryName, null, null, null, null, repository.findings, null,
                        null, null, null, null, null, repository.error));
                continue;
            }
            var key = keys.get(repository.kmsKeyId).key;
            rows.add(Row.of(isWrong, repository.repositoryName, key.name(), key.keyManager, key.keyState,
                    key.rotation(), repository.findings, repository.arn, key.kmsKeyId, key.keySpec, key.origin,
                    key.deletionDate, key.validTo, null));
        }
        return new Listed(List.of("repositoryName", "key", "keyManager", "keyState", "rotation", "findings"),
                List.of("arn", "kmsKeyId", "keySpec", "origin", "deletionDate", "validTo", "error"), rows);
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

    //region The same in every script: lists for people

    @Option(names = "--output", paramLabel = "FORMAT", defaultValue = "json",
            description = "How the result is printed: json, csv for spreadsheets, or table for people."
                    + " Default: ${DEFAULT-VALUE}.")
    String output;

    /** East Asian wide characters and emoji, which take two columns of a terminal. */
    static final Pattern WIDE = Pattern.compile("[\\x{1100}-\\x{115f}\\x{2e80}-\\x{a4cf}\\x{a960}-\\x{a97f}"
            + "\\x{ac00}-\\x{d7a3}\\x{f900}-\\x{faff}\\x{fe30}-\\x{fe6f}\\x{ff00}-\\x{ff60}\\x{ffe0}-\\x{ffe6}"
            + "\\x{1f300}-\\x{1f64f}\\x{1f680}-\\x{1f6ff}\\x{1f900}-\\x{1f9ff}\\x{20000}-\\x{3fffd}]");
    /**
     * Before what a spreadsheet takes for the beginning of a formula: at the start of a value, and where one would
     * start for a spreadsheet that splits values at semicolons, tabs or ends of lines.
     */
    static final Pattern FORMULA = Pattern.compile("^(?=[-=+@\t\r\n\uff1d\uff0b\uff0d\uff20])"
            + "|(?<=[;\t\r\n])(?=[-=+@\uff1d\uff0b\uff0d\uff20])");
    /** Between the columns of a table. */
    static final String GAP = "  ";
    /** No column of a table becomes narrower to fit into a terminal. */
    static final int NARROWEST = 4;

    /** The columns of the terminal that stdout is; 0 if it is none. */
    IntSupplier terminalWidth = () -> System.console() == null ? 0 : terminalWidth();
    /** Whether a terminal gets colours, as it does in the help. */
    boolean colours = Help.Ansi.AUTO.enabled();

    /**
     * A result for people.
     *
     * @param columns the names of the first cells of each row
     * @param details the names of the other cells, which only CSV has room for
     */
    record Listed(List<String> columns, List<String> details, List<Row> rows) {}

    /**
     * A line of a list.
     *
     * @param isFinding whether something is wrong with it
     */
    record Row(boolean isFinding, List<?> cells) {
        static Row of(boolean isFinding, Object... cells) {
            return new Row(isFinding, Arrays.asList(cells));
        }
    }

    void checkOutput() {
        check("--output", output, "json|table|csv", "json, table or csv");
        if (print != null && !output.equals("json")) {
            throw wrong("--print: use it without --output " + output + "; it prints a part of the JSON document");
        }
    }

    /**
     * Prints the result as --output says.
     *
     * @param summary what a reader of a list wants to know first, for stderr
     */
    int print(Object result, Listed listed, String summary, int exitCode) {
        if (output.equals("json")) {
            return print(result, exitCode);
        }
        var out = spec.commandLine().getOut();
        out.print(output.equals("csv") ? csv(listed) : table(listed, terminalWidth.getAsInt()));
        if (out.checkError()) {
            throw new Failure("stdout cannot be written to; the result is: " + JSON.valueToTree(result));
        }
        note(summary);
        return exitCode;
    }

    /** By RFC 4180. */
    static String csv(Listed listed) {
        var names = Stream.concat(listed.columns.stream(), listed.details.stream()).toList();
        return Stream.concat(Stream.of(names), listed.rows.stream().map(Row::cells))
                .map(cells -> cells.stream().map(cell -> csvValue(cell)).collect(Collectors.joining(",")) + "\r\n")
                .collect(Collectors.joining());
    }

    /** A text cannot become a formula; a number stays one. */
    static String csvValue(Object cell) {
        var text = visible(text(cell));
        var value = cell instanceof Number ? text : FORMULA.matcher(text).replaceAll("'");
        return value.matches("(?s).*[\",;\t\r\n].*") ? "\"" + value.replace("\"", "\"\"") + "\"" : value;
    }

    /** @param width of the terminal, into which the lines have to fit; 0 if there is none */
    String table(Listed listed, int width) {
        var count = listed.columns.size();
        var lines = new ArrayList<List<String>>();
        lines.add(listed.columns.stream().map(name -> printable(name)).toList());
        listed.rows.forEach(row -> lines.add(row.cells.stream().limit(count).map(cell -> printable(cell)).toList()));
        var widths = IntStream.range(0, count).map(column -> lines.stream()
                .mapToInt(cells -> displayWidth(cells.get(column))).max().orElse(0)).toArray();
        if (width > 0) {
            narrow(widths, width - GAP.length() * (count - 1));
        }
        var isNumeric = IntStream.range(0, count).mapToObj(column -> isNumeric(listed.rows, column)).toList();
        var table = new StringBuilder();
        for (var i = 0; i < lines.size(); i++) {
            var line = line(lines.get(i), widths, isNumeric);
            var fitting = width > 0 ? cut(line, width) : line;
            var colour = i == 0 ? "\033[1m" : listed.rows.get(i - 1).isFinding ? "\033[31m" : "";
            var isColoured = width > 0 && colours && !colour.isEmpty();
            table.append(isColoured ? colour + fitting + "\033[0m" : fitting).append('\n');
        }
        return table.toString();
    }

    /** Takes from the widest columns until all fit, or none can be narrower. */
    static void narrow(int[] widths, int available) {
        while (IntStream.of(widths).sum() > available) {
            var widest = IntStream.range(0, widths.length).boxed().max(Comparator.comparing(i -> widths[i])).orElse(0);
            if (widths[widest] <= NARROWEST) {
                return;
            }
            widths[widest]--;
        }
    }

    static boolean isNumeric(List<Row> rows, int column) {
        var cells = rows.stream().map(row -> row.cells.get(column)).filter(Objects::nonNull).toList();
        return !cells.isEmpty() && cells.stream().allMatch(cell -> cell instanceof Number);
    }

    static String line(List<String> cells, int[] widths, List<Boolean> isNumeric) {
        var line = new StringBuilder();
        for (var i = 0; i < widths.length; i++) {
            var cell = cut(cells.get(i), widths[i]);
            var space = " ".repeat(widths[i] - displayWidth(cell));
            line.append(i == 0 ? "" : GAP).append(isNumeric.get(i) ? space + cell : cell + space);
        }
        return line.toString().stripTrailing();
    }

    /** A text in so many columns, with an ellipsis in the place of what is left out. */
    static String cut(String text, int width) {
        if (displayWidth(text) <= width) {
            return text;
        }
        var end = 0;
        var columns = 1; // of the ellipsis
        while (columns + displayWidth(text, end) <= width) {
            columns += displayWidth(text, end);
            end = text.offsetByCodePoints(end, 1);
        }
        return text.substring(0, end) + "\u2026";
    }

    static int displayWidth(String text) {
        var width = 0;
        for (var i = 0; i < text.length(); i = text.offsetByCodePoints(i, 1)) {
            width += displayWidth(text, i);
        }
        return width;
    }

    /** Of the character there; accents take none. */
    private static int displayWidth(String text, int index) {
        var type = Character.getType(text.codePointAt(index));
        if (type == Character.NON_SPACING_MARK || type == Character.ENCLOSING_MARK) {
            return 0;
        }
        return WIDE.matcher(Character.toString(text.codePointAt(index))).matches() ? 2 : 1;
    }

    /** A cell of a table, in one line. */
    static String printable(Object cell) {
        var text = text(cell).replaceAll("[\t\r\n]+", " ");
        return text.isEmpty() ? "-" : visible(text);
    }

    /** The text of a cell: "" if there is none, and the parts of a list in one. */
    private static String text(Object cell) {
        if (cell instanceof Collection<?> parts) {
            return parts.stream().map(part -> text(part)).collect(Collectors.joining(", "));
        }
        return Objects.toString(cell, "");
    }

    /** What the terminal says; 80 if it does not. */
    private static int terminalWidth() {
        try {
            var stty = new ProcessBuilder("stty", "size").redirectInput(new File("/dev/tty"))
                    .redirectError(ProcessBuilder.Redirect.DISCARD).start();
            var size = new String(stty.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            return size.matches("\\d+ [1-9]\\d*") ? Integer.parseInt(size.split(" ")[1]) : 80;
        } catch (IOException e) {
            return 80; // there is no stty
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

    //region The same in every script: threads

    /** A thread that does not keep Java alive. */
    static Thread daemon(Runnable task) {
        var thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    }

    //endregion

    //region The same in every script: steps in parallel

    /** Takes a step for each item, some at a time; the results are in the items' order, and so is what fails. */
    static <T, R> List<R> inParallel(int threads, List<T> items, Function<T, R> step) {
        var workers = Executors.newFixedThreadPool(threads, task -> daemon(task));
        try {
            var results = new ArrayList<R>();
            for (var future : items.stream().map(item -> workers.submit(() -> step.apply(item))).toList()) {
                results.add(future.get());
            }
            return results;
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        } catch (java.util.concurrent.ExecutionException e) {
            throw e.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(e.getCause());
        } finally {
            workers.shutdownNow();
        }
    }

    //endregion

    //region The same in every script: batches

    /** The items in parts, for an operation that takes so many at once. */
    static <T> List<List<T>> batches(List<T> items, int size) {
        return IntStream.iterate(0, from -> from < items.size(), from -> from + size)
                .mapToObj(from -> items.subList(from, Math.min(from + size, items.size()))).toList();
    }

    //endregion

    //region The same in every script: batches of repositories

    /** As many repositories as every version of BatchGetRepositories takes. */
    static final int REPOSITORIES_PER_CALL = 25;

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

    //region The same in every script: globs of repositories

    @Option(names = "--exclude", paramLabel = "GLOB", arity = "1..*",
            description = "Repositories to leave out, by name or with * and ?.")
    List<String> exclude = List.of();

    void checkGlobs(String option, List<String> globs) {
        globs.forEach(glob -> check(option, glob, "[\\w.*?-]{1,100}",
                "a repository's name, which may have * and ? for any characters, such as 'team-*'"));
    }

    /** Whether a repository's name is one of the globs. */
    static boolean matchesAny(List<String> globs, String name) {
        return globs.stream()
                .anyMatch(glob -> name.matches(glob.replace(".", "\\.").replace("*", ".*").replace('?', '.')));
    }

    //endregion

    //region The same in every script: many repositories

    @Option(names = "--jobs", paramLabel = "N", defaultValue = "4",
            description = "Repositories at a time. Default: ${DEFAULT-VALUE}.")
    int jobs;

    /** Takes back the line that a terminal's cursor is in. */
    static final String CLEAR_LINE = "\r\033[K";

    /** Whether stderr is a terminal, where progress is shown. */
    boolean terminal = System.console() != null;

    /** A message, where on a terminal the progress stands. */
    synchronized void tell(String message) {
        clearProgress();
        note(message);
    }

    synchronized void clearProgress() {
        if (terminal) {
            spec.commandLine().getErr().print(CLEAR_LINE);
            spec.commandLine().getErr().flush();
        }
    }

    void checkSelection() {
        checkGlobs("--repository-names", repositoryNames);
        checkGlobs("--exclude", exclude);
        check("--jobs", String.valueOf(jobs), "[1-9]|[1-5]\\d|6[0-4]", "1 to 64, such as 4");
    }

    /** @param text a number and m, h or d for minutes, hours or days */
    static Duration duration(String text) {
        return Duration.parse((text.endsWith("d") ? "P" : "PT") + text);
    }

    /** Since a {@link System#nanoTime}, to a hundredth of a second. */
    static double secondsSince(long start) {
        return Math.round((System.nanoTime() - start) / 1e7) / 100.0;
    }

    //endregion
}
