///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Creates or updates an S3 bucket for backups, to which writers can add and in which they cannot delete.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:s3
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
//FILES policies/backup-bucket.json=../policies/backup-bucket.json
//FILES policies/backup-key.json=../policies/backup-key.json
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
import software.amazon.awssdk.core.SdkPojo;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.core.util.SdkAutoConstructList;
import software.amazon.awssdk.core.util.SdkAutoConstructMap;
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.NoSuchEntityException;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.KeyManagerType;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.kms.model.KeySpec;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUsageType;
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.BucketAlreadyOwnedByYouException;
import software.amazon.awssdk.services.s3.model.BucketLocationConstraint;
import software.amazon.awssdk.services.s3.model.BucketVersioningStatus;
import software.amazon.awssdk.services.s3.model.CreateBucketConfiguration;
import software.amazon.awssdk.services.s3.model.EncryptionType;
import software.amazon.awssdk.services.s3.model.ExpirationStatus;
import software.amazon.awssdk.services.s3.model.GetBucketLifecycleConfigurationResponse;
import software.amazon.awssdk.services.s3.model.LifecycleRule;
import software.amazon.awssdk.services.s3.model.ObjectLockConfiguration;
import software.amazon.awssdk.services.s3.model.ObjectLockEnabled;
import software.amazon.awssdk.services.s3.model.ObjectLockRetentionMode;
import software.amazon.awssdk.services.s3.model.ObjectOwnership;
import software.amazon.awssdk.services.s3.model.OwnershipControls;
import software.amazon.awssdk.services.s3.model.OwnershipControlsRule;
import software.amazon.awssdk.services.s3.model.PublicAccessBlockConfiguration;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.ServerSideEncryption;
import software.amazon.awssdk.services.s3.model.ServerSideEncryptionConfiguration;
import software.amazon.awssdk.services.s3.model.ServerSideEncryptionRule;
import software.amazon.awssdk.services.s3.model.Tag;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Creates the S3 bucket that backups of CodeCommit go into, in an account of its own, or brings an existing one in
 * line. Writers can add objects below the prefix and their account's id, and read those; they cannot overwrite, delete,
 * use another key, or shorten a lock. Readers read. Only the break-glass role and the account's root user delete.
 *
 * <p>Changes in AWS: the bucket; its public access block, object ownership (no ACLs), versioning, default encryption
 * (with {@code --kms-key-id}) and, with {@code --retention-days}, its Object Lock; of its lifecycle rules
 * AbortUnfinishedUploads and, with {@code --expire-after-days}, ExpireBackups; the statements of its policy that
 * policies/backup-bucket.json has, by Sid; and in the policy of its KMS key those of policies/backup-key.json. Other
 * rules and statements are kept and named. An option that is not given leaves the setting as it is. Versioning and
 * Object Lock of a bucket that has objects already cannot be taken back: that takes {@code --accept-irreversible}.
 *
 * <p>Before anything is changed, the policy is judged: what writers, readers and administrators may do by it, together
 * with the statements that are not this script's. After a change the policy is tried, by requests that S3 refuses for
 * their checksum even if the policy lets them through, so that they store nothing.
 *
 * <p>Roles stand in conditions (aws:PrincipalArn) and not among the principals: they need not exist yet, and may be
 * deleted and created again. Whoever may create a role of that name in that account is a writer.
 *
 * <p>A second run with the same arguments changes nothing. The bucket's policy comes last: no one can write before lock
 * and encryption stand. S3 and KMS have no version of a policy that a change could insist on; the policy is read again
 * after it was written.
 *
 * <p>IAM actions:
 * <ul>
 * <li>iam:GetRole to look up roles of this account; where it is denied that is said
 * <li>s3:ListBucket, s3:GetBucketObjectLockConfiguration, s3:GetBucketOwnershipControls, s3:GetBucketPolicy,
 * s3:GetBucketPolicyStatus, s3:GetBucketPublicAccessBlock, s3:GetBucketTagging, s3:GetBucketVersioning,
 * s3:GetEncryptionConfiguration, s3:GetLifecycleConfiguration
 * <li>s3:CreateBucket, s3:TagResource, s3:PutBucketObjectLockConfiguration, s3:PutBucketOwnershipControls,
 * s3:PutBucketPolicy, s3:PutBucketPublicAccessBlock, s3:PutBucketTagging, s3:PutBucketVersioning,
 * s3:PutEncryptionConfiguration, s3:PutLifecycleConfiguration
 * <li>s3:PutObject, kms:GenerateDataKey to try the policy; where they are denied that is said
 * <li>kms:DescribeKey, kms:GetKeyPolicy, kms:PutKeyPolicy
 * </ul>
 */
@Command(name = "create-backup-bucket", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Creates or updates an S3 bucket for backups, to which writers can add and in which they cannot"
                + " delete.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang create-backup-bucket --bucket my-backups --retention-days 400 \\",
                "      --writer-role-arns arn:aws:iam::111122223333:role/BackupWriter",
                "  ./jbang create-backup-bucket --bucket my-backups \\",
                "      --writer-accounts 111122223333"})
class CreateBackupBucket implements Callable<Integer> {
    @Option(names = "--bucket", required = true, paramLabel = "NAME",
            description = "The bucket: a new one, or one of this account in this Region.")
    String bucket;

    @Option(names = "--prefix", paramLabel = "PREFIX",
            description = "What the objects' keys begin with. Default: as it is, for a new bucket " + DEFAULT_PREFIX
                    + ".")
    String prefix;

    @ArgGroup(multiplicity = "1")
    Writers writers;

    static class Writers {
        @Option(names = "--writer-accounts", paramLabel = "ACCOUNT", arity = "1..*",
                description = "Accounts that back up: everyone in them whom IAM lets.")
        List<String> accounts = List.of();

        @Option(names = "--writer-role-arns", paramLabel = "ARN", arity = "1..*",
                description = "Roles that back up. Whoever steals one can fill the bucket, add false backups and read"
                        + " those of its account, but cannot change or delete any.")
        List<String> roleArns = List.of();
    }

    @Option(names = "--reader-role-arns", paramLabel = "ARN", arity = "1..*",
            description = "Roles that verify and restore: they read the backups of all accounts.")
    List<String> readerRoleArns = List.of();

    @Option(names = "--kms-key-id", paramLabel = "KEY",
            description = "The key: its id, ARN, alias (alias/NAME) or alias ARN.")
    String kmsKeyId;

    @Option(names = "--retention-days", paramLabel = "DAYS",
            description = "Locks every new object for so many days. Object Lock cannot be turned off again. It does"
                    + " not protect the key.")
    Integer retentionDays;

    @Option(names = "--retention-mode", paramLabel = "MODE",
            description = "Whom a lock binds: with governance all but the break-glass role and the root user, with"
                    + " compliance everyone until the last day. Default for a new lock: governance.")
    RetentionMode retentionMode;

    @Option(names = "--confirm-compliance-days", paramLabel = "DAYS",
            description = "Repeats the days of a lock in compliance mode, which no one can take back.")
    Integer confirmComplianceDays;

    @Option(names = "--expire-after-days", paramLabel = "DAYS",
            description = "Deletes objects after so many days, the last backups of deleted repositories too. Restore"
                    + " points of the last DAYS less 30 stay whole.")
    Integer expireAfterDays;

    @Option(names = "--break-glass-role-arn", paramLabel = "ARN",
            description = "Role of this account that may delete backups and the key in an emergency, besides the root"
                    + " user.")
    String breakGlassRoleArn;

    @Option(names = "--same-account",
            description = "Lets roles of the bucket's own account write. Whoever rules the account rules both then.")
    boolean sameAccount;

    @Option(names = "--accept-irreversible",
            description = "Turns on versioning and Object Lock of a bucket that has objects already.")
    boolean acceptIrreversible;

    @Option(names = "--tags", paramLabel = "Key=Value", arity = "1..*", description = "Tags to add or change.")
    List<String> tags = List.of();

    enum RetentionMode {
        governance, compliance
    }

    /** The printed document. */
    record Result(String status, String account, String region, Bucket bucket, List<Change> changes, String undo) {}

    /**
     * @param kmsKeyArn null if S3's own keys encrypt
     * @param retention null if new objects are not locked
     * @param policy in a dry run
     * @param keyPolicy in a dry run, if there is a key
     * @param judged in a dry run
     * @param tried after a change of the policy; null if that could not be tried
     */
    record Bucket(String name, String arn, String prefix, String kmsKeyArn, Retention retention, JsonNode policy,
            JsonNode keyPolicy, List<Judgement> judged, List<String> tried) {}

    record Retention(String mode, int days) {}

    /** As IAM's policy simulator spells it. */
    enum Decision {
        allowed, explicitDeny, implicitDeny
    }

    /**
     * What the bucket's policy says of an act.
     *
     * @param statement the Sid of the statement that decides; null if none does
     */
    record Judgement(String principal, String act, Decision decision, String statement) {}

    /**
     * A bucket's settings; of a new one, those that S3 gives it.
     *
     * @param publicAccess null if it is not blocked at all
     * @param lock null if there is none
     * @param rules null if there are none
     * @param policy without statements if there is none
     */
    record Settings(PublicAccessBlockConfiguration publicAccess, OwnershipControls ownership, String versioning,
            ServerSideEncryptionRule encryption, ObjectLockConfiguration lock,
            GetBucketLifecycleConfigurationResponse rules, ObjectNode policy, Map<String, String> tags) {
        boolean isVersioned() {
            return BucketVersioningStatus.ENABLED.toString().equals(versioning);
        }

        /** The lifecycle rule with this id, if there is one. */
        Stream<LifecycleRule> rule(String id) {
            return rules == null ? Stream.of() : rules.rules().stream().filter(rule -> id.equals(rule.id()));
        }

        /** As it was given; null for S3's own keys. */
        String kmsKey() {
            return encryption == null ? null : encryption.applyServerSideEncryptionByDefault().kmsMasterKeyID();
        }

        boolean isUnderKms() {
            return encryption != null && encryption.applyServerSideEncryptionByDefault()
                    .sseAlgorithm() != ServerSideEncryption.AES256;
        }
    }

    static final String DEFAULT_PREFIX = "projects/codecommit-backup";
    static final Set<String> OWN_SIDS = Set.of("WritersAddAndRead", "WritersList", "WritersSeeUploadsAndRules",
            "ReadersRead", "ReadersList", "NothingElseForSourceAccounts", "NoPlainHttp", "NoOverwriting",
            "NoOtherEncryption", "NoOtherKey", "NoDeletionButInAnEmergency");
    static final Set<String> OWN_KEY_SIDS = Set.of("BackupWriters", "BackupReaders", "KeepBackupKey");
    /** What S3 says of a bucket that something else is changing. */
    static final Set<String> BUSY = Set.of("OperationAborted");
    static final String ABORT_RULE = "AbortUnfinishedUploads";
    static final String EXPIRY_RULE = "ExpireBackups";
    /** The longest bucket policy, in bytes. */
    static final int LONGEST_POLICY = 20_480;
    /** A chain of bundles is renewed after so many days, so what expires sooner is of no use. */
    static final int LONGEST_CHAIN = 30;
    /** S3's, of a lock. */
    static final int DAYS_OF_A_YEAR = 365;

    /** How long S3 and KMS may take to know a new policy or principal; usually seconds. */
    Duration newsPatience = Duration.ofSeconds(30);

    S3Client s3;
    KmsClient kms;

    public static void main(String[] args) {
        System.exit(new CreateBackupBucket().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        var givenTags = tagsByKey(tags);
        connect();
        checkAccounts();
        checkPrincipals(Stream.concat(readerRoleArns.stream(), Stream.ofNullable(breakGlassRoleArn)).toList());
        s3 = client(S3Client.builder());
        kms = client(KmsClient.builder());
        var made = naming(bucket, () -> bringInLine(givenTags));
        return print(new Result(printed(strongest(changes)), caller.account(), region(), made, changes, undo()), 0);
    }

    void checkOptions() {
        checkBucketName("--bucket", bucket);
        if (prefix != null) {
            checkPrefix(prefix);
        }
        writers.accounts.forEach(account -> checkAccount("--writer-accounts", account));
        writers.roleArns.forEach(arn -> checkRoleArn("--writer-role-arns", arn));
        readerRoleArns.forEach(arn -> checkRoleArn("--reader-role-arns", arn));
        if (breakGlassRoleArn != null) {
            checkRoleArn("--break-glass-role-arn", breakGlassRoleArn);
            if (writers.roleArns.contains(breakGlassRoleArn) || readerRoleArns.contains(breakGlassRoleArn)) {
                throw wrong("--break-glass-role-arn " + breakGlassRoleArn + ": must be neither a writer nor a reader,"
                        + " such as arn:aws:iam::444455556666:role/BreakGlass");
            }
        }
        if (kmsKeyId != null) {
            checkCustomerKeyId("--kms-key-id", kmsKeyId);
        }
        checkDays();
    }

    void checkDays() {
        if (retentionDays != null && (retentionDays < 1 || retentionDays > 36_500)) {
            throw wrong("--retention-days " + retentionDays + ": must be 1 to 36500 days, such as 400");
        }
        if (retentionDays == null && (retentionMode != null || confirmComplianceDays != null)) {
            throw wrong((retentionMode != null ? "--retention-mode" : "--confirm-compliance-days")
                    + ": use it with --retention-days, such as --retention-days 400");
        }
        if (retentionMode == RetentionMode.compliance && !retentionDays.equals(confirmComplianceDays)) {
            throw wrong("--retention-mode compliance: for so many days no one can delete, not even AWS's support, and"
                    + " every byte is paid for; repeat the days: --confirm-compliance-days " + retentionDays);
        }
        if (retentionMode == RetentionMode.governance && confirmComplianceDays != null) {
            throw wrong("--confirm-compliance-days: use it with --retention-mode compliance");
        }
        if (expireAfterDays != null && expireAfterDays <= LONGEST_CHAIN) {
            throw wrong("--expire-after-days " + expireAfterDays + ": must be more than the " + LONGEST_CHAIN
                    + " days that a full backup serves, such as 395");
        }
        if (expireAfterDays != null && retentionDays != null) {
            checkExpiry(expireAfterDays, retentionDays).ifPresent(message -> {
                throw wrong(message);
            });
        }
    }

    /** Expiry of what is locked hides it and deletes nothing: listings lack it, and it is paid for. */
    static Optional<String> checkExpiry(int expiry, int retention) {
        return expiry >= retention ? Optional.empty() : Optional.of("--expire-after-days " + expiry
                + ": must not be shorter than the lock, --retention-days " + retention);
    }

    /** What only the caller's own account tells. */
    void checkAccounts() {
        var own = caller.account();
        if (writers.accounts.contains(own)) {
            throw new Failure(own + " is the account of the bucket, in which not everyone can be a writer: name the"
                    + " roles, --writer-role-arns");
        }
        if (writerAccounts().contains(own) && !sameAccount) {
            throw new Failure(own + " is the account of the bucket: whoever can destroy the repositories can destroy"
                    + " their backups, too. Use the credentials of another account, or --same-account");
        }
        if (breakGlassRoleArn != null && !accountOf(breakGlassRoleArn).equals(own)) {
            throw new Failure(breakGlassRoleArn + " is not of the account of the bucket, " + own);
        }
        checkPartitions(writers.roleArns);
        checkPartitions(readerRoleArns);
        checkPartitions(Stream.ofNullable(breakGlassRoleArn).toList());
    }

    Set<String> writerAccounts() {
        return Stream.concat(writers.accounts.stream(), writers.roleArns.stream().map(arn -> accountOf(arn)))
                .collect(Collectors.toCollection(TreeSet::new));
    }

    Bucket bringInLine(Map<String, String> givenTags) {
        var exists = bucketExists();
        var present = exists ? read() : newBucket();
        choosePrefix(present);
        checkWays(exists, present);
        var key = key(present);
        var policy = wantedPolicy(present.policy(), key);
        nameForeign("the bucket's policy", policy, OWN_SIDS);
        var judged = judge(policy, key);
        var keyPolicy = key == null ? null : currentKeyPolicy(key);
        var wantedKeyPolicy = key == null ? null : wantedKeyPolicy(key, keyPolicy);
        if (key != null) {
            nameForeign("the policy of the key", wantedKeyPolicy, OWN_KEY_SIDS);
        }
        if (!exists) {
            create(givenTags);
            present = dryRun ? present : read();
        }
        blockPublicAccess(exists, present);
        turnAclsOff(exists, present);
        turnVersioningOn(present);
        encrypt(exists, present, key);
        lock(exists, present);
        changeRules(exists, present);
        if (exists) {
            changeTags(present, givenTags);
        }
        if (key != null && !sameMeaning(keyPolicy, wantedKeyPolicy)) {
            changeKeyPolicy(key);
        }
        var isNew = !sameMeaning(present.policy(), policy);
        if (isNew) {
            changePolicy(exists, present, key);
        }
        return new Bucket(bucket, arn(), prefix, key == null ? null : key.arn(), retention(present),
                dryRun ? policy : null, dryRun ? wantedKeyPolicy : null, dryRun ? judged : null,
                isNew && !dryRun ? prove(key) : null);
    }

    String arn() {
        return "arn:" + caller.partition() + ":s3:::" + bucket;
    }

    boolean bucketExists() {
        try {
            s3.headBucket(r -> r.bucket(bucket).expectedBucketOwner(caller.account()));
            return true;
        } catch (S3Exception e) { // HEAD has no body that would say more
            if (e.statusCode() == 404) {
                return false;
            }
            if (e.statusCode() == 403) {
                throw new Failure("is another account's bucket, or s3:ListBucket on it is denied to you; take another"
                        + " name", e);
            }
            var place = e.awsErrorDetails().sdkHttpResponse().firstMatchingHeader("x-amz-bucket-region");
            if (place.isPresent() && !place.get().equals(region())) {
                throw new Failure("is in " + place.get() + ", not in " + region() + ": use --region "
                        + place.get(), e);
            }
            throw e;
        }
    }

    Settings newBucket() {
        return new Settings(
                PublicAccessBlockConfiguration.builder().blockPublicAcls(true).ignorePublicAcls(true)
                        .blockPublicPolicy(true).restrictPublicBuckets(true).build(),
                OwnershipControls.builder().rules(OwnershipControlsRule.builder()
                        .objectOwnership(ObjectOwnership.BUCKET_OWNER_ENFORCED).build()).build(),
                retentionDays == null ? null : BucketVersioningStatus.ENABLED.toString(), null,
                retentionDays == null ? null
                        : ObjectLockConfiguration.builder().objectLockEnabled(ObjectLockEnabled.ENABLED).build(),
                null, noPolicy(), Map.of());
    }

    static ObjectNode noPolicy() {
        var policy = JSON.createObjectNode().put("Version", "2012-10-17");
        policy.putArray("Statement");
        return policy;
    }

    Settings read() {
        return new Settings(
                unlessNone("NoSuchPublicAccessBlockConfiguration",
                        () -> s3.getPublicAccessBlock(r -> r.bucket(bucket)).publicAccessBlockConfiguration(), null),
                unlessNone("OwnershipControlsNotFoundError",
                        () -> s3.getBucketOwnershipControls(r -> r.bucket(bucket)).ownershipControls(), null),
                s3.getBucketVersioning(r -> r.bucket(bucket)).statusAsString(),
                unlessNone("ServerSideEncryptionConfigurationNotFoundError",
                        () -> s3.getBucketEncryption(r -> r.bucket(bucket)).serverSideEncryptionConfiguration().rules()
                                .get(0), null),
                unlessNone("ObjectLockConfigurationNotFoundError",
                        () -> s3.getObjectLockConfiguration(r -> r.bucket(bucket)).objectLockConfiguration(), null),
                unlessNone("NoSuchLifecycleConfiguration",
                        () -> s3.getBucketLifecycleConfiguration(r -> r.bucket(bucket)), null),
                currentPolicy(),
                unlessNone("NoSuchTagSet", () -> s3.getBucketTagging(r -> r.bucket(bucket)).tagSet().stream()
                        .collect(Collectors.toMap(Tag::key, Tag::value)), Map.of()));
    }

    ObjectNode currentPolicy() {
        return unlessNone("NoSuchBucketPolicy",
                () -> parsedPolicy(s3.getBucketPolicy(r -> r.bucket(bucket)).policy()), noPolicy());
    }

    /** What S3 answers to a look at a setting; what to take if it has an error code that says that there is none. */
    static <T> T unlessNone(String code, Supplier<T> look, T none) {
        try {
            return look.get();
        } catch (S3Exception e) {
            if (!code.equals(e.awsErrorDetails().errorCode())) {
                throw e;
            }
            return none;
        }
    }

    /**
     * The prefix that is given, else that of the bucket. Refuses to leave backups below another one, which the policy
     * would not keep from being overwritten and deleted any more.
     */
    void choosePrefix(Settings present) {
        var current = presentPrefix(present);
        if (prefix == null) {
            prefix = current.orElse(DEFAULT_PREFIX);
        } else if (current.filter(other -> !other.equals(prefix) && hasObjects(other + "/")).isPresent()) {
            throw new Failure("has backups below " + current.get() + ", which --prefix " + prefix
                    + " would leave without protection: leave it out, or use another bucket");
        }
    }

    /** What this script's statements are for. */
    Optional<String> presentPrefix(Settings present) {
        var below = arn() + "/";
        return statements(present.policy()).stream().filter(statement -> OWN_SIDS.contains(sid(statement)))
                .flatMap(statement -> texts(statement.path("Resource")))
                .filter(resource -> resource.startsWith(below) && resource.endsWith("/*"))
                .map(resource -> resource.substring(below.length(), resource.length() - 1).replaceFirst("/$", ""))
                .filter(found -> found.matches(PREFIX_FORM)).findFirst();
    }

    /** Refuses what cannot be taken back and was not asked for, and settings that contradict the options. */
    void checkWays(boolean exists, Settings present) {
        var irreversible = new ArrayList<String>();
        if (exists && !present.isVersioned()) {
            irreversible.add("versioning, which can be suspended later but never taken off");
        }
        if (exists && retentionDays != null && present.lock() == null) {
            irreversible.add("Object Lock, which can never be turned off, and with it versioning, which can never be"
                    + " suspended then");
        }
        if (!irreversible.isEmpty() && hasObjects("")) { // an empty bucket can be deleted
            var message = "this turns on " + String.join("; and ", irreversible);
            if (!acceptIrreversible && !dryRun) {
                throw new Failure(message + ": if that is meant, use --accept-irreversible");
            }
            note(bucket + ": " + message + (acceptIrreversible ? "" : "; it takes --accept-irreversible"));
        }
        var retention = retention(present);
        if (retention == null) {
            note(bucket + ": without --retention-days no object is locked: whoever may change the bucket's policy can"
                    + " delete backups");
        }
        if (retentionDays != null && retention.mode().equals(ObjectLockRetentionMode.COMPLIANCE.toString())
                && !retentionDays.equals(confirmComplianceDays) && !retention.equals(presentRetention(present))) {
            throw new Failure("its lock is in compliance mode, so no one can take it back for so many days; repeat"
                    + " them: --confirm-compliance-days " + retentionDays);
        }
        var expiry = expiryDays(present);
        if (expiry != null && retention != null) {
            checkExpiry(expiry, retention.days()).ifPresent(message -> {
                throw new Failure(message);
            });
        }
    }

    boolean hasObjects(String below) {
        return !s3.listObjectsV2(r -> r.bucket(bucket).prefix(below).maxKeys(1)).contents().isEmpty();
    }

    /** The lock of new objects, as the options and else the bucket have it; null if there is none. */
    Retention retention(Settings present) {
        var current = presentRetention(present);
        if (retentionDays == null) {
            return current;
        }
        var mode = retentionMode != null ? retentionMode.name().toUpperCase(Locale.ROOT)
                : current != null ? current.mode() : ObjectLockRetentionMode.GOVERNANCE.toString();
        return new Retention(mode, retentionDays);
    }

    static Retention presentRetention(Settings present) {
        if (present.lock() == null || present.lock().rule() == null) {
            return null;
        }
        var retention = present.lock().rule().defaultRetention();
        int days = retention.years() == null ? retention.days() : DAYS_OF_A_YEAR * retention.years();
        return new Retention(retention.modeAsString(), days);
    }

    Integer expiryDays(Settings present) {
        return expireAfterDays != null ? expireAfterDays : present.rule(EXPIRY_RULE)
                .filter(rule -> rule.status() == ExpirationStatus.ENABLED && rule.expiration() != null)
                .map(rule -> rule.expiration().days()).findFirst().orElse(null);
    }

    /**
     * The key of the options, and else that of the bucket; null for S3's own keys. PutBucketEncryption does not look at
     * the key: a wrong one shows only when the first backup fails.
     */
    KeyMetadata key(Settings present) {
        var id = kmsKeyId != null ? kmsKeyId : present.kmsKey();
        if (id == null && present.isUnderKms()) {
            throw new Failure("is encrypted under the key aws/s3, which other accounts cannot use: use --kms-key-id");
        }
        if (id == null) {
            return null;
        }
        if (kmsKeyId == null && !id.startsWith("arn:" + caller.partition() + ":kms:" + region() + ":"
                + caller.account() + ":key/")) {
            throw new Failure("is encrypted under " + id + ", which is not the ARN of a key of this account; an alias"
                    + " would be one of the writer's account: use --kms-key-id");
        }
        KeyMetadata key;
        try {
            key = kms.describeKey(r -> r.keyId(id)).keyMetadata();
        } catch (NotFoundException e) {
            throw new Failure("no key " + id + " in " + region(), e);
        }
        if (key.keyManager() != KeyManagerType.CUSTOMER || !accountOf(key.arn()).equals(caller.account())) {
            throw new Failure(key.arn() + " is managed by AWS or another account's: create a key with"
                    + " ./jbang create-kms-key, in the account of the bucket");
        }
        checkUsable(key, "use another key");
        return key;
    }

    void create(Map<String, String> givenTags) {
        change(Change.creation(bucket, "bucket", arn()), aws("s3api delete-bucket --bucket " + bucket), () -> {
            try {
                s3.createBucket(r -> r.bucket(bucket).objectLockEnabledForBucket(retentionDays != null)
                        .objectOwnership(ObjectOwnership.BUCKET_OWNER_ENFORCED)
                        .createBucketConfiguration(configuration(givenTags)));
            } catch (BucketAlreadyOwnedByYouException e) { // a lost answer, or a colleague's run at the same time
                note(bucket + ": someone else created it in the meantime");
            }
        });
    }

    /** In us-east-1 a bucket has no location. */
    CreateBucketConfiguration configuration(Map<String, String> givenTags) {
        var isPlain = region().equals("us-east-1");
        if (isPlain && givenTags.isEmpty()) {
            return null;
        }
        return CreateBucketConfiguration.builder().tags(s3Tags(givenTags))
                .locationConstraint(isPlain ? null : BucketLocationConstraint.fromValue(region())).build();
    }

    static List<Tag> s3Tags(Map<String, String> tags) {
        return tags.entrySet().stream().map(tag -> Tag.builder().key(tag.getKey()).value(tag.getValue()).build())
                .toList();
    }

    /** Changes a setting if it is not as wanted. Of a bucket that this run creates, the undo is its deletion. */
    void changeSetting(boolean exists, String field, Object from, Object to, String undoCommand, Supplier<?> step) {
        if (!Objects.equals(from, to)) {
            change(Change.update(bucket, field, from == null ? null : asJson(from), asJson(to)),
                    exists ? undoCommand : null, () -> whileRefused(BUSY, newsPatience, null, step));
        }
    }

    /** The command that gives a setting back what it was, or takes it away if it was not there. */
    String undoSetting(String setting, String member, Object from) {
        return from == null ? aws("s3api delete-" + setting + " --bucket " + bucket)
                : aws("s3api put-" + setting, Map.of("Bucket", bucket, member, asJson(from)));
    }

    void blockPublicAccess(boolean exists, Settings present) {
        var wanted = newBucket().publicAccess();
        changeSetting(exists, "publicAccessBlock", present.publicAccess(), wanted,
                undoSetting("public-access-block", "PublicAccessBlockConfiguration", present.publicAccess()),
                () -> s3.putPublicAccessBlock(r -> r.bucket(bucket).publicAccessBlockConfiguration(wanted)));
    }

    void turnAclsOff(boolean exists, Settings present) {
        var wanted = newBucket().ownership();
        changeSetting(exists, "ownershipControls", present.ownership(), wanted,
                undoSetting("bucket-ownership-controls", "OwnershipControls", present.ownership()),
                () -> s3.putBucketOwnershipControls(r -> r.bucket(bucket).ownershipControls(wanted)));
    }

    void turnVersioningOn(Settings present) {
        var wanted = BucketVersioningStatus.ENABLED;
        if (!present.isVersioned()) {
            change(Change.update(bucket, "versioning", present.versioning(), wanted.toString()), null,
                    () -> whileRefused(BUSY, newsPatience, null, () -> s3.putBucketVersioning(
                            r -> r.bucket(bucket).versioningConfiguration(c -> c.status(wanted)))));
        }
    }

    /**
     * Without a key only what a thief could misuse is changed: an upload under a key of the client's own would be lost
     * without it.
     */
    void encrypt(boolean exists, Settings present, KeyMetadata key) {
        var base = present.encryption() == null ? ServerSideEncryptionRule.builder()
                .applyServerSideEncryptionByDefault(d -> d.sseAlgorithm(ServerSideEncryption.AES256)).build()
                : present.encryption();
        var wanted = base.copy(rule -> {
            rule.blockedEncryptionTypes(blocked -> blocked.encryptionType(EncryptionType.SSE_C));
            if (key != null) {
                rule.bucketKeyEnabled(true).applyServerSideEncryptionByDefault(
                        d -> d.sseAlgorithm(ServerSideEncryption.AWS_KMS).kmsMasterKeyID(key.arn()));
            }
        });
        var configuration = configuration(wanted);
        var undo = present.encryption() == null ? null : configuration(present.encryption());
        changeSetting(exists, "encryption", present.encryption(), wanted,
                undoSetting("bucket-encryption", "ServerSideEncryptionConfiguration", undo),
                () -> s3.putBucketEncryption(
                        r -> r.bucket(bucket).serverSideEncryptionConfiguration(configuration)));
    }

    static ServerSideEncryptionConfiguration configuration(ServerSideEncryptionRule rule) {
        return ServerSideEncryptionConfiguration.builder().rules(rule).build();
    }

    /** Turning the lock on has no undo; what new objects get has one. */
    void lock(boolean exists, Settings present) {
        var retention = retention(present);
        if (retentionDays == null || retention.equals(presentRetention(present))) {
            return;
        }
        var wanted = ObjectLockConfiguration.builder().objectLockEnabled(ObjectLockEnabled.ENABLED)
                .rule(r -> r.defaultRetention(d -> d.mode(retention.mode()).days(retention.days()))).build();
        changeSetting(exists, "objectLock", present.lock(), wanted, present.lock() == null ? null
                : undoSetting("object-lock-configuration", "ObjectLockConfiguration", present.lock()),
                () -> s3.putObjectLockConfiguration(r -> r.bucket(bucket).objectLockConfiguration(wanted)));
    }

    /** S3 replaces all rules at once, so those of others are put again. */
    void changeRules(boolean exists, Settings present) {
        var others = present.rules() == null ? List.<LifecycleRule>of() : present.rules().rules().stream()
                .filter(rule -> !ABORT_RULE.equals(rule.id()) && !EXPIRY_RULE.equals(rule.id())).toList();
        if (!others.isEmpty()) {
            note(bucket + ": kept lifecycle rules that are not this script's: "
                    + others.stream().map(rule -> Objects.toString(rule.id(), "(no ID)"))
                            .collect(Collectors.joining(", ")));
        }
        var own = new ArrayList<LifecycleRule>();
        own.add(rule(ABORT_RULE).abortIncompleteMultipartUpload(a -> a.daysAfterInitiation(1)).build());
        if (expireAfterDays != null) {
            own.add(rule(EXPIRY_RULE).expiration(e -> e.days(expireAfterDays))
                    .noncurrentVersionExpiration(n -> n.noncurrentDays(1)).build());
        } else {
            present.rule(EXPIRY_RULE).map(rule -> belowPrefix(rule)).forEach(own::add);
        }
        var wanted = Stream.concat(others.stream(), own.stream()).toList();
        var current = present.rules() == null ? null : present.rules().rules();
        if (current != null && Set.copyOf(current).equals(Set.copyOf(wanted))) {
            return;
        }
        var undo = current == null ? aws("s3api delete-bucket-lifecycle --bucket " + bucket)
                : aws("s3api put-bucket-lifecycle-configuration", Map.of("Bucket", bucket, "LifecycleConfiguration",
                        Map.of("Rules", asJson(current))));
        var smallest = present.rules() == null ? null
                : present.rules().transitionDefaultMinimumObjectSizeAsString();
        changeSetting(exists, "lifecycleRules", current, wanted, undo, () -> s3.putBucketLifecycleConfiguration(
                r -> r.bucket(bucket).lifecycleConfiguration(c -> c.rules(wanted))
                        .transitionDefaultMinimumObjectSize(smallest)));
    }

    /** The rule for the backups alone. An old one has a prefix besides a filter, and S3 takes no more than one. */
    LifecycleRule belowPrefix(LifecycleRule rule) {
        return rule(rule.id()).status(rule.status()).expiration(rule.expiration()).transitions(rule.transitions())
                .noncurrentVersionExpiration(rule.noncurrentVersionExpiration())
                .noncurrentVersionTransitions(rule.noncurrentVersionTransitions())
                .abortIncompleteMultipartUpload(rule.abortIncompleteMultipartUpload()).build();
    }

    LifecycleRule.Builder rule(String id) {
        return LifecycleRule.builder().id(id).status(ExpirationStatus.ENABLED).filter(f -> f.prefix(prefix + "/"));
    }

    /** S3 replaces all tags at once. */
    void changeTags(Settings present, Map<String, String> givenTags) {
        var wanted = new TreeMap<>(present.tags());
        wanted.putAll(givenTags);
        if (wanted.equals(present.tags())) {
            return;
        }
        var undo = present.tags().isEmpty() ? aws("s3api delete-bucket-tagging --bucket " + bucket)
                : aws("s3api put-bucket-tagging", Map.of("Bucket", bucket, "Tagging",
                        Map.of("TagSet", asJson(s3Tags(present.tags())))));
        change(Change.update(bucket, "tags", present.tags(), wanted), undo,
                () -> whileRefused(BUSY, newsPatience, null, () -> s3.putBucketTagging(
                        r -> r.bucket(bucket).tagging(t -> t.tagSet(s3Tags(wanted))))));
    }

    /** The policy with this script's statements in the place of those with its Sids. */
    static ObjectNode withStatements(ObjectNode policy, Set<String> ownSids, JsonNode own) {
        var result = policy.deepCopy();
        result.putArray("Statement").addAll(foreignStatements(policy, ownSids)).addAll(statements(own));
        return result;
    }

    ObjectNode wantedPolicy(ObjectNode current, KeyMetadata key) {
        var own = template("backup-bucket.json",
                placeholders(current, "ReadersRead", "NoDeletionButInAnEmergency", key));
        own.withArray("Statement").removeIf(statement -> isForNobody(statement)
                || sid(statement).equals("NoOtherKey") && key == null);
        var wanted = withStatements(current, OWN_SIDS, own);
        checkPolicy("the bucket's policy", current, wanted, OWN_SIDS, LONGEST_POLICY);
        return wanted;
    }

    ObjectNode wantedKeyPolicy(KeyMetadata key, ObjectNode current) {
        checkKeyIsOurs(key, current);
        var own = template("backup-key.json", placeholders(current, "BackupReaders", "KeepBackupKey", key));
        own.withArray("Statement").removeIf(statement -> isForNobody(statement));
        var wanted = withStatements(current, OWN_KEY_SIDS, own);
        checkPolicy("the policy of the key", current, wanted, OWN_KEY_SIDS, LONGEST_KEY_POLICY);
        return wanted;
    }

    /** What the templates take; readers and the break-glass role, if they are not given, as the policy has them. */
    Map<String, Object> placeholders(ObjectNode current, String readersSid, String emergencySid, KeyMetadata key) {
        var root = principalArn(caller.account(), "root");
        var readers = !readerRoleArns.isEmpty() ? readerRoleArns
                : arns(current, readersSid, "/Condition/ArnLike/aws:PrincipalArn");
        var breakGlass = breakGlassRoleArn != null ? List.of(breakGlassRoleArn)
                : arns(current, emergencySid, "/Condition/ArnNotLike/aws:PrincipalArn");
        var others = writerAccounts().stream().filter(account -> !account.equals(caller.account()))
                .map(account -> principalArn(account, "*"));
        var own = writers.roleArns.stream().filter(arn -> accountOf(arn).equals(caller.account()));
        var values = new TreeMap<String, Object>(Map.of("partition", caller.partition(), "region", region(),
                "bucket", bucket, "prefix", prefix));
        values.put("writerAccounts", writerAccounts().stream().map(id -> principalArn(id, "root")).toList());
        values.put("writers", writerArns());
        values.put("sources", Stream.concat(others, own).distinct().toList());
        values.put("readerAccounts", readers.stream().map(arn -> principalArn(accountOf(arn), "root")).distinct()
                .toList());
        values.put("readers", readers);
        values.put("emergency", Stream.concat(breakGlass.stream(), Stream.of(root)).distinct().toList());
        values.put("algorithm", key == null ? "AES256" : "aws:kms");
        values.put("key", key == null ? "" : key.arn());
        return values;
    }

    List<String> writerArns() {
        return Stream.concat(writers.accounts.stream().map(account -> principalArn(account, "*")),
                writers.roleArns.stream()).distinct().toList();
    }

    /** The roles that a statement of this script names. */
    static List<String> arns(ObjectNode policy, String sid, String pointer) {
        return statements(policy).stream().filter(statement -> sid(statement).equals(sid))
                .flatMap(statement -> texts(statement.at(pointer)))
                .filter(arn -> arn.contains(":role/")).toList();
    }

    static boolean isForNobody(JsonNode statement) {
        return statement.at("/Principal/AWS").isArray() && statement.at("/Principal/AWS").isEmpty();
    }

    /** One key serves one bucket, since its statements are found by Sid. */
    void checkKeyIsOurs(KeyMetadata key, ObjectNode policy) {
        for (var statement : statements(policy)) {
            var buckets = texts(statement.at("/Condition/StringLike/kms:EncryptionContext:aws:s3:arn")).toList();
            if (sid(statement).equals("BackupWriters") && !buckets.isEmpty() && !buckets.contains(arn())) {
                throw new Failure(key.arn() + " serves another bucket, " + buckets.get(0) + ": use a key for each");
            }
        }
    }

    /**
     * Refuses a policy that is too long, or that AWS would not take back although it has it: with a principal that was
     * deleted since, of which it shows only the id.
     */
    void checkPolicy(String what, ObjectNode current, ObjectNode wanted, Set<String> ownSids, int longest) {
        for (var statement : foreignStatements(wanted, ownSids)) {
            var deleted = deletedPrincipals(statement);
            if (!deleted.isEmpty() && !sameMeaning(current, wanted)) {
                throw new Failure("AWS takes no change of " + what + " as long as its statement " + sid(statement)
                        + " names " + String.join(", ", deleted) + ", which was deleted: mend or delete it first");
            }
        }
        var length = wanted.toString().getBytes(StandardCharsets.UTF_8).length;
        if (length > longest) {
            throw new Failure(what + " would have " + length + " bytes, and AWS takes " + longest
                    + ": name accounts (--writer-accounts), or delete other statements");
        }
    }

    void nameForeign(String what, ObjectNode policy, Set<String> ownSids) {
        var foreign = foreignStatements(policy, ownSids);
        if (!foreign.isEmpty()) {
            note(bucket + ": kept statements of " + what + " that are not this script's: " + sids(foreign));
        }
    }

    ObjectNode currentKeyPolicy(KeyMetadata key) {
        return parsedPolicy(kms.getKeyPolicy(r -> r.keyId(key.arn()).policyName("default")).policy());
    }

    /** Reads the policy again right before it is written, so that what others have changed since stays. */
    void changeKeyPolicy(KeyMetadata key) {
        var current = currentKeyPolicy(key);
        var wanted = wantedKeyPolicy(key, current);
        change(Change.update(key.arn(), "keyPolicy", current, wanted),
                aws("kms put-key-policy",
                        Map.of("KeyId", key.keyId(), "PolicyName", "default", "Policy", current.toString())),
                () -> {
                    whileRefused(refusals("MalformedPolicyDocumentException", wanted), newsPatience, null,
                            () -> kms.putKeyPolicy(r -> r.keyId(key.arn()).policyName("default")
                                    .policy(wanted.toString())));
                    checkShown("the policy of the key", wanted, () -> currentKeyPolicy(key));
                });
    }

    /** The same for the bucket's policy, which is judged again if others have changed it. */
    void changePolicy(boolean exists, Settings present, KeyMetadata key) {
        var current = dryRun ? present.policy() : currentPolicy();
        var wanted = wantedPolicy(current, key);
        if (!sameMeaning(current, present.policy())) {
            judge(wanted, key);
        }
        var isNone = statements(current).isEmpty();
        change(Change.update(bucket, "policy", isNone ? null : current, wanted),
                !exists ? null : isNone ? aws("s3api delete-bucket-policy --bucket " + bucket)
                        : aws("s3api put-bucket-policy", Map.of("Bucket", bucket, "Policy", current.toString())),
                () -> {
                    whileRefused(refusals("MalformedPolicy", wanted), newsPatience, null,
                            () -> s3.putBucketPolicy(r -> r.bucket(bucket).policy(wanted.toString())));
                    checkShown("the bucket's policy", wanted, () -> currentPolicy());
                });
    }

    /** A role or user among others' principals may be too new for S3 or KMS; else a malformed policy stays so. */
    static Set<String> refusals(String malformed, ObjectNode policy) {
        return Pattern.compile(":iam::\\d{12}:(role|user)/").matcher(statements(policy).stream()
                .map(statement -> statement.path("Principal").toString()).collect(Collectors.joining())).find()
                        ? Set.of("OperationAborted", malformed) : BUSY;
    }

    /** Someone else may have written the policy at the same time: S3 and KMS keep the last one. */
    void checkShown(String what, ObjectNode written, Supplier<ObjectNode> look) {
        poll(newsPatience, () -> Optional.of(look.get()).filter(shown -> sameMeaning(shown, written)))
                .orElseThrow(() -> new Failure(what + " is not as this run wrote it: someone else changed it at the"
                        + " same time; run the same command again"));
    }

    /** A request as the bucket's policy sees it. */
    record Request(String principal, String action, String resource, Map<String, String> context) {
        String account() {
            return accountOf(principal);
        }
    }

    /** @param isAllowed what the policy must say */
    record Act(String name, Request request, boolean isAllowed) {}

    static final Set<String> JUDGED_KEYS = Set.of("aws:PrincipalArn", "aws:PrincipalAccount", "aws:SecureTransport",
            "s3:prefix", "s3:if-none-match", "s3:ObjectCreationOperation", "s3:x-amz-server-side-encryption",
            "s3:x-amz-server-side-encryption-aws-kms-key-id");
    static final Pattern JUDGED_OPERATORS =
            Pattern.compile("(String(Not)?(Equals|Like)|Arn(Not)?(Equals|Like)|Bool)(IfExists)?|Null");

    /**
     * What the policy says of all that it is for. Refuses one that lets through what it must deny or denies what it
     * must let through, as others' statements can make it do.
     */
    List<Judgement> judge(ObjectNode policy, KeyMetadata key) {
        var unknown = statements(policy).stream().filter(statement -> !canJudge(statement)).toList();
        if (!unknown.isEmpty()) {
            note(bucket + ": what these statements decide was not judged: " + sids(unknown));
        }
        var judged = new ArrayList<Judgement>();
        for (var act : acts(policy, key)) {
            var judgement = judge(policy, act);
            if (!isRight(act, judgement.decision())) {
                throw new Failure(act.request().principal() + " " + act.name() + ": " + switch (judgement.decision()) {
                    case allowed -> "allowed by the statement " + judgement.statement();
                    case explicitDeny -> "denied by the statement " + judgement.statement();
                    case implicitDeny -> "allowed by no statement";
                } + " of the bucket's policy; mend or delete what is not this script's first");
            }
            judged.add(judgement);
        }
        return judged;
    }

    /** What no statement allows, IAM policies can still allow in the bucket's own account. */
    boolean isRight(Act act, Decision decision) {
        return switch (decision) {
            case allowed -> act.isAllowed();
            case explicitDeny -> !act.isAllowed();
            case implicitDeny -> !act.isAllowed() && !act.request().account().equals(caller.account());
        };
    }

    static Judgement judge(ObjectNode policy, Act act) {
        var applying = statements(policy).stream().filter(statement -> canJudge(statement))
                .filter(statement -> applies(statement, act.request())).toList();
        var denying = applying.stream().filter(statement -> statement.path("Effect").asText().equals("Deny"))
                .findFirst();
        var decision = denying.isPresent() ? Decision.explicitDeny
                : applying.isEmpty() ? Decision.implicitDeny : Decision.allowed;
        return new Judgement(act.request().principal(), act.name(), decision,
                denying.or(() -> applying.stream().findFirst()).map(statement -> sid(statement)).orElse(null));
    }

    List<Act> acts(ObjectNode policy, KeyMetadata key) {
        var acts = new ArrayList<Act>();
        for (var writer : writerArns()) {
            acts.addAll(actsOfWriter(writer.replaceFirst(":\\*$", ":role/any"), key));
        }
        for (var reader : arns(policy, "ReadersRead", "/Condition/ArnLike/aws:PrincipalArn")) {
            acts.add(act(reader, "reads a backup", true, "s3:GetObject", "/111122223333/x"));
            acts.add(act(reader, "lists backups", true, "s3:ListBucket", null));
            acts.add(act(reader, "deletes a backup", false, "s3:DeleteObjectVersion", "/111122223333/x"));
        }
        var administrator = principalArn(caller.account(), "role/any-administrator");
        acts.add(act(administrator, "overwrites a backup", false, "s3:PutObject", "/111122223333/x",
                "s3:ObjectCreationOperation", "true"));
        acts.add(act(administrator, "deletes a backup", false, "s3:DeleteObjectVersion", "/111122223333/x"));
        acts.add(act(administrator, "bypasses a lock", false, "s3:BypassGovernanceRetention", "/111122223333/x"));
        return acts;
    }

    List<Act> actsOfWriter(String writer, KeyMetadata key) {
        var own = "/" + accountOf(writer) + "/x";
        var acts = new ArrayList<Act>();
        acts.add(act(writer, "adds a backup", true, "s3:PutObject", own, "s3:ObjectCreationOperation", "true",
                "s3:if-none-match", "*"));
        acts.add(act(writer, "adds a part", true, "s3:PutObject", own, "s3:ObjectCreationOperation", "false"));
        acts.add(act(writer, "reads a backup", true, "s3:GetObject", own));
        acts.add(act(writer, "lists its backups", true, "s3:ListBucket", null, "s3:prefix", prefix + own));
        acts.add(act(writer, "overwrites a backup", false, "s3:PutObject", own, "s3:ObjectCreationOperation", "true"));
        acts.add(act(writer, "uses plain http", false, "s3:PutObject", own, "s3:if-none-match", "*",
                "aws:SecureTransport", "false"));
        acts.add(act(writer, "uses another key", false, "s3:PutObject", own, "s3:if-none-match", "*",
                "s3:x-amz-server-side-encryption", "aws:kms", "s3:x-amz-server-side-encryption-aws-kms-key-id",
                "arn:aws:kms:" + region() + ":" + accountOf(writer) + ":key/any"));
        acts.add(act(writer, "deletes a backup", false, "s3:DeleteObject", own));
        acts.add(act(writer, "deletes a version", false, "s3:DeleteObjectVersion", own));
        acts.add(act(writer, "changes a lock", false, "s3:PutObjectRetention", own));
        acts.add(act(writer, "bypasses a lock", false, "s3:BypassGovernanceRetention", own));
        for (var action : List.of("s3:PutBucketPolicy", "s3:PutLifecycleConfiguration",
                "s3:PutBucketObjectLockConfiguration", "s3:PutEncryptionConfiguration", "s3:DeleteBucket")) {
            acts.add(act(writer, "calls " + action, false, action, null));
        }
        if (!accountOf(writer).equals(caller.account())) { // else its IAM policies say where it writes
            acts.add(act(writer, "writes for another account", false, "s3:PutObject", "/000000000000/x",
                    "s3:if-none-match", "*"));
        }
        if (key != null) {
            acts.add(act(writer, "names the bucket's key", true, "s3:PutObject", own, "s3:if-none-match", "*",
                    "s3:x-amz-server-side-encryption", "aws:kms", "s3:x-amz-server-side-encryption-aws-kms-key-id",
                    key.arn()));
            acts.add(act(writer, "uses S3's own keys", false, "s3:PutObject", own, "s3:if-none-match", "*",
                    "s3:x-amz-server-side-encryption", "AES256"));
        }
        return acts;
    }

    /** @param below the prefix; null for the bucket itself */
    Act act(String principal, String name, boolean isAllowed, String action, String below, String... context) {
        var values = new TreeMap<String, String>(String.CASE_INSENSITIVE_ORDER);
        values.putAll(Map.of("aws:PrincipalArn", principal, "aws:PrincipalAccount", accountOf(principal),
                "aws:SecureTransport", "true"));
        for (var i = 0; i < context.length; i += 2) {
            values.put(context[i], context[i + 1]);
        }
        var resource = arn() + (below == null ? "" : "/" + prefix + below);
        return new Act(name, new Request(principal, action, resource, values), isAllowed);
    }

    static boolean canJudge(JsonNode statement) {
        return !statement.has("NotPrincipal") && statement.path("Condition").propertyStream()
                .allMatch(operator -> JUDGED_OPERATORS.matcher(operator.getKey()).matches()
                        && operator.getValue().propertyStream()
                                .allMatch(key -> JUDGED_KEYS.stream().anyMatch(key.getKey()::equalsIgnoreCase)));
    }

    static boolean applies(JsonNode statement, Request request) {
        var actions = texts(statement.path(statement.has("Action") ? "Action" : "NotAction"))
                .anyMatch(action -> isLike(request.action().toLowerCase(Locale.ROOT), action.toLowerCase(Locale.ROOT)));
        var resources = texts(statement.path(statement.has("Resource") ? "Resource" : "NotResource"))
                .anyMatch(resource -> isLike(request.resource(), filledIn(resource, request)));
        return isFor(statement.path("Principal"), request) && actions == statement.has("Action")
                && resources == statement.has("Resource") && statement.path("Condition").propertyStream()
                        .allMatch(operator -> operator.getValue().propertyStream()
                                .allMatch(key -> holds(operator.getKey(), key.getKey(), key.getValue(), request)));
    }

    static boolean isFor(JsonNode principal, Request request) {
        return principal.asText().equals("*") || texts(principal.path("AWS")).anyMatch(name -> name.equals("*")
                || name.equals(request.principal()) || name.equals(request.account())
                || name.matches("arn:[a-z-]+:iam::" + request.account() + ":root"));
    }

    static boolean holds(String operator, String key, JsonNode wanted, Request request) {
        var value = request.context().get(key);
        if (operator.equals("Null")) {
            return texts(wanted).anyMatch(text -> text.equals(String.valueOf(value == null)));
        }
        var isNegated = operator.contains("Not");
        if (value == null) {
            return isNegated || operator.endsWith("IfExists");
        }
        var hasWildcards = operator.contains("Like") || operator.startsWith("Arn");
        return isNegated != texts(wanted).map(text -> filledIn(text, request))
                .anyMatch(text -> hasWildcards ? isLike(value, text) : value.equals(text));
    }

    static String filledIn(String text, Request request) {
        return text.replace("${aws:PrincipalAccount}", request.account());
    }

    /**
     * Tries as the operator what the policy forbids everyone, by requests whose checksum is wrong: S3 refuses them as
     * denied, or else as damaged, and stores nothing either way. Returns what was denied; null if it could not be
     * tried.
     */
    List<String> prove(KeyMetadata key) {
        var status = s3.getBucketPolicyStatus(r -> r.bucket(bucket)).policyStatus();
        if (Boolean.TRUE.equals(status.isPublic())) {
            throw new Failure("its policy is public, by a statement that is not this script's; delete that");
        }
        if (isDenied(r -> r.ifNoneMatch("*"))) {
            note(bucket + ": the policy could not be tried, as that takes s3:PutObject on " + bucket + "/" + prefix
                    + "/*" + (key == null ? "" : " and kms:GenerateDataKey on the key") + "; it was only judged");
            return null;
        }
        var trials = new LinkedHashMap<String, Consumer<PutObjectRequest.Builder>>();
        trials.put("overwriting", r -> { });
        trials.put("another encryption", r -> r.ifNoneMatch("*").serverSideEncryption(
                key == null ? ServerSideEncryption.AWS_KMS : ServerSideEncryption.AES256));
        if (key != null) {
            trials.put("another key", r -> r.ifNoneMatch("*").serverSideEncryption(ServerSideEncryption.AWS_KMS));
        }
        trials.forEach((name, trial) -> poll(newsPatience, () -> Optional.of(isDenied(trial)).filter(denied -> denied))
                .orElseThrow(() -> new Failure("its policy does not deny " + name + ", as was tried; see that no one"
                        + " else changes it, and run the same command again")));
        return List.copyOf(trials.keySet());
    }

    boolean isDenied(Consumer<PutObjectRequest.Builder> trial) {
        try {
            var md5OfNothing = "1B2M2Y8AsgTpgAmY7PhCfg==";
            s3.putObject(r -> trial.accept(r.bucket(bucket).contentMD5(md5OfNothing)
                    .key(prefix + "/" + caller.account() + "/trial-" + UUID.randomUUID())),
                    RequestBody.fromString("trial"));
            throw new Failure("S3 took an object whose checksum is wrong");
        } catch (S3Exception e) {
            var code = e.awsErrorDetails().errorCode();
            // a proxy, or what is not AWS's S3, may refuse without a word
            var isDenied = "AccessDenied".equals(code) || code == null && e.statusCode() == 403;
            if (!isDenied && !"BadDigest".equals(code)) {
                throw e;
            }
            return isDenied;
        }
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

    //region The same in every script: ids of accounts

    void checkAccount(String option, String account) {
        check(option, account, "\\d{12}", "an account id of 12 digits, such as 444455556666");
    }

    //endregion

    //region The same in every script: names of buckets

    /** Without *, which would be a wildcard in policies. */
    static final String PREFIX_FORM = "(?!(.*/)?\\.{1,2}(/|$))[\\w!.'()=-]+(/[\\w!.'()=-]+)*";

    void checkBucketName(String option, String name) {
        check(option, name, "(?!xn--|sthree-|.*\\.\\.|[\\d.]+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
                "a bucket's name, such as my-backups");
    }

    void checkPrefix(String prefix) {
        check("--prefix", prefix, PREFIX_FORM,
                "letters, digits and !_.'()=- between single slashes, such as projects/codecommit-backup");
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

    //region The same in every script: AWS structures as JSON

    /** What AWS answered, with its own names for everything, as the AWS CLI prints and takes it. */
    static JsonNode asJson(Object value) {
        if (value instanceof SdkPojo structure) {
            var node = JSON.createObjectNode();
            for (var field : structure.sdkFields()) {
                var member = field.getValueOrDefault(structure);
                if (member != null && !(member instanceof SdkAutoConstructList<?>)
                        && !(member instanceof SdkAutoConstructMap<?, ?>)) {
                    node.set(field.memberName(), asJson(member));
                }
            }
            return node;
        }
        if (value instanceof Collection<?> items) {
            return JSON.createArrayNode().addAll(items.stream().map(item -> asJson(item)).toList());
        }
        if (value instanceof Map<?, ?> entries) {
            var node = JSON.createObjectNode();
            entries.forEach((key, entry) -> node.set(key.toString(), asJson(entry)));
            return node;
        }
        if (value instanceof Long number && number == number.intValue()) {
            return IntNode.valueOf(number.intValue()); // as Jackson reads it back, for comparisons
        }
        return JSON.valueToTree(value instanceof Instant time ? time.toString() : value);
    }

    //endregion
}
