import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Call;
import localaws.Fault;
import localaws.Kms;
import localaws.LocalAws;
import localaws.PolicyEvaluator;
import localaws.Roles;
import localaws.S3;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;

/** The bucket in one account, its writers in another, its readers in a third, and every call decided. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class CreateBackupBucketTest {
    static final LocalAws aws = LocalAws.start();
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";
    static final String OWNER = "arn:aws:iam::444455556666:user/operator";
    static final String ADMINISTRATOR = "arn:aws:iam::444455556666:role/Administrator";
    static final String BREAK_GLASS = "arn:aws:iam::444455556666:role/BreakGlass";
    static final String WRITER = "arn:aws:iam::111122223333:role/BackupWriter";
    /** May by its IAM policies do everything, so that only bucket and key stand in its way. */
    static final String THIEF = "arn:aws:iam::111122223333:role/Thief";
    static final String STRANGER = "arn:aws:iam::111122223333:role/Stranger";
    static final String READER = "arn:aws:iam::777788889999:role/BackupReader";
    static final String PREFIX = "projects/codecommit-backup/111122223333/";
    static final List<Call> ALL = new CopyOnWriteArrayList<>();
    /** Is told of each action before it has an effect. */
    static volatile Consumer<String> listener = action -> { };
    static int count;

    @TempDir
    static Path directory;
    String name;
    Kms.Key key;

    @BeforeAll
    static void createPrincipals() {
        Roles.create(aws);
        aws.account("444455556666").iam.createRole("BreakGlass").attached.add("aws:policy/AdministratorAccess");
        for (var role : List.of("Thief", "Stranger")) {
            aws.iam.createRole(role).attached.add("aws:policy/AdministratorAccess");
        }
        aws.account("777788889999").iam.createRole("BackupReader").attached.add("aws:policy/AdministratorAccess");
        aws.s3.smallestPart = SampleRepositories.SMALL_PART;
        aws.onCall(call -> {
            if (call.name().matches("(s3|kms|iam):.*")) ALL.add(call);
        });
        aws.onDecision(decided -> listener.accept(decided.request().action()));
    }

    @AfterAll
    static void stop() throws Exception {
        aws.close();
        SampleRepositories.deleteLarge();
    }

    @BeforeEach
    void clear() {
        aws.clearFaults();
        use(OWNER);
        name = "backups-" + ++count;
        key = aws.account("444455556666").kms.createKey(REGION);
        aws.clearCalls();
    }

    @AfterEach
    void backToNormal() {
        listener = action -> { };
        aws.secureTransport = true;
    }

    // ---- Runs and clients

    static void use(String arn) {
        SignedIn.use(aws, arn);
    }

    static S3Client s3(String arn) {
        return SignedIn.client(aws, S3Client.builder(), REGION, arn);
    }

    static KmsClient kms(String arn) {
        return SignedIn.client(aws, KmsClient.builder(), REGION, arn);
    }

    static String outcome(Runnable call) {
        return SignedIn.outcome(call);
    }

    static Script.Run run(Consumer<CreateBackupBucket> settings, String... arguments) {
        var script = new CreateBackupBucket();
        settings.accept(script);
        return Script.run(script.commandLine(), arguments);
    }

    static Script.Run run(String... arguments) {
        return run(script -> { }, arguments);
    }

    /** For the bucket of this test, with the thief as the writer. */
    Script.Run make(String... more) {
        return run(arguments(more));
    }

    String[] arguments(String... more) {
        return Stream.concat(Stream.of("--bucket", name, "--writer-role-arns", THIEF, WRITER), Stream.of(more))
                .toArray(String[]::new);
    }

    /** All that can be asked for. */
    String[] everything() {
        return arguments("--reader-role-arns", READER, "--kms-key-id", key.keyId, "--retention-days", "400",
                "--expire-after-days", "430", "--break-glass-role-arn", BREAK_GLASS, "--tags", "Team=Payments");
    }

    void makeEverything() {
        var run = run(everything());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
    }

    S3.Bucket bucket() {
        return aws.s3.bucket(name);
    }

    static String fields(Script.Run run) {
        return run.json().path("changes").findValuesAsText("field").toString();
    }

    void assertFails(Script.Run run, String saying) {
        assertEquals(1, run.exitCode(), run.err() + run.out());
        assertEquals("", run.out());
        var lines = run.err().lines().toList();
        var last = lines.get(lines.size() - 1);
        assertTrue(last.startsWith("create-backup-bucket: " + name + ": ")
                || last.startsWith("create-backup-bucket: "), last);
        assertTrue(last.contains(saying), run.err());
    }

    static ObjectNode policy(String document) {
        try {
            return (ObjectNode) JSON.readTree(document);
        } catch (JsonProcessingException e) {
            throw new AssertionError(document, e);
        }
    }

    static String without(String document, String sid) {
        var policy = policy(document);
        var statements = (ArrayNode) policy.path("Statement");
        var before = statements.size();
        statements.removeIf(statement -> statement.path("Sid").asText().equals(sid));
        assertEquals(before - 1, statements.size(), sid);
        return policy.toString();
    }

    String with(String document, String statement) {
        var policy = policy(document);
        policy.withArray("Statement").add(policy(statement.replace('\'', '"').replace("%b",
                "arn:aws:s3:::" + name)));
        return policy.toString();
    }

    static Set<String> sids(String document) {
        return policy(document).path("Statement").valueStream().map(statement -> statement.path("Sid").asText())
                .collect(Collectors.toSet());
    }

    // ---- What it makes

    @Test
    void makesABucketThatIsLockedAndEncryptedAndPrivate() {
        var run = run(everything());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals("create-backup-bucket: " + name + ": kept statements of the policy of the key that are not this"
                + " script's: Enable IAM User Permissions\n", run.err().replace("(no Sid)", ""), run.err());
        assertEquals("[bucket, encryption, objectLock, lifecycleRules, keyPolicy, policy]", fields(run));
        var made = run.json().path("bucket");
        assertEquals(name + " arn:aws:s3:::" + name + " projects/codecommit-backup " + key.arn,
                Stream.of("name", "arn", "prefix", "kmsKeyArn").map(field -> made.path(field).asText())
                        .collect(Collectors.joining(" ")));
        assertEquals("{\"mode\":\"GOVERNANCE\",\"days\":400}", made.path("retention").toString());
        assertEquals("[\"overwriting\",\"another encryption\",\"another key\"]", made.path("tried").toString());
        assertEquals("444455556666", bucket().account);
        var s3 = s3(ADMINISTRATOR);
        assertEquals("Enabled", s3.getBucketVersioning(r -> r.bucket(name)).statusAsString());
        var encryption = s3.getBucketEncryption(r -> r.bucket(name)).serverSideEncryptionConfiguration().rules()
                .get(0);
        assertEquals(key.arn, encryption.applyServerSideEncryptionByDefault().kmsMasterKeyID());
        assertTrue(encryption.bucketKeyEnabled());
        assertEquals("[SSE-C]", encryption.blockedEncryptionTypes().encryptionTypeAsStrings().toString());
        assertFalse(s3.getBucketPolicyStatus(r -> r.bucket(name)).policyStatus().isPublic());
        assertEquals("Payments", s3.getBucketTagging(r -> r.bucket(name)).tagSet().get(0).value());
        assertEquals(List.of("AbortUnfinishedUploads", "ExpireBackups"),
                s3.getBucketLifecycleConfiguration(r -> r.bucket(name)).rules().stream().map(r -> r.id()).toList());
        assertEquals(List.of(), bucket().keys(), "trials leave nothing");
        assertEquals(CreateBackupBucket.OWN_SIDS, sids(bucket().policy()));
        var order = aws.calls().stream().filter(call -> call.ok() && !call.readOnly()).map(Call::name).toList();
        assertEquals("s3:PutBucketPolicy", order.get(order.size() - 1), "when all else stands");
    }

    @Test
    void aSecondRunChangesNothingAndWhatIsNotGivenStays() {
        makeEverything();
        aws.clearCalls();
        Script.assertUnchanged(run(everything()), aws);
        Script.assertUnchanged(make(), aws);
    }

    @Test
    void aDryRunReadsOnlyAndJudgesThePolicy() {
        var arguments = Stream.concat(Stream.of(everything()), Stream.of("--dry-run")).toArray(String[]::new);
        var planned = run(arguments);
        assertEquals(0, planned.exitCode(), planned.err());
        assertEquals("would-create", planned.status());
        assertEquals("[bucket, encryption, objectLock, lifecycleRules, keyPolicy, policy]", fields(planned));
        assertFalse(planned.json().has("undo"));
        Script.assertReadsOnly(aws);
        assertNull(bucket());
        var made = planned.json().path("bucket");
        assertEquals(CreateBackupBucket.OWN_SIDS, sids(made.path("policy").toString()));
        assertTrue(sids(made.path("keyPolicy").toString()).containsAll(CreateBackupBucket.OWN_KEY_SIDS));
        var judged = made.path("judged").valueStream().map(one -> one.path("principal").asText() + " "
                + one.path("act").asText() + ": " + one.path("decision").asText() + " "
                + one.path("statement").asText()).toList();
        assertTrue(judged.contains(THIEF + " adds a backup: allowed WritersAddAndRead"), judged.toString());
        assertTrue(judged.contains(THIEF + " overwrites a backup: explicitDeny NoOverwriting"), judged.toString());
        makeEverything();
        aws.clearCalls();
        var unchanged = run(arguments);
        assertEquals("unchanged", unchanged.status());
        Script.assertReadsOnly(aws);
    }

    /** The judgement is by a few lines of the script's own. */
    @Test
    void itsJudgementIsThatOfTheEmbeddedAws() {
        makeEverything();
        var script = new CreateBackupBucket();
        new CommandLine(script).parseArgs(everything());
        script.region = REGION;
        script.caller = new CreateBackupBucket.Caller("444455556666", "aws", OWNER);
        var document = policy(bucket().policy());
        var acts = script.acts(document, KeyMetadata.builder()
                .arn(key.arn).build());
        assertTrue(acts.size() > 40, "" + acts.size());
        var policies = new ArrayList<>(List.of(document));
        for (var sid : CreateBackupBucket.OWN_SIDS) policies.add(policy(without(document.toString(), sid)));
        for (var policy : policies) {
            for (var act : acts) {
                var context = new TreeMap<String, List<String>>();
                act.request().context().forEach((key, value) -> context.put(key, List.of(value)));
                var decision = PolicyEvaluator.evaluate(new PolicyEvaluator.Request(act.request().principal(),
                        act.request().action(), act.request().resource(), context),
                        List.of(new PolicyEvaluator.Policy("bucket", policy))).decision();
                assertEquals(decision.name(), CreateBackupBucket.judge(policy, act).decision().name(),
                        act + " " + policy);
            }
        }
    }

    @Test
    void mendsWhatWasChangedByHandAndKeepsWhatOthersAdded() {
        makeEverything();
        bucket().setting("publicAccessBlock", null)
                .setting("ownershipControls", "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>")
                .setting("encryption", "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
                        + "</ApplyServerSideEncryptionByDefault></Rule>")
                .setting("object-lock", "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
                        + "<Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>")
                .setting("tagging", "<TagSet><Tag><Key>Team</Key><Value>x</Value></Tag></TagSet>")
                .lifecycle("<Rule><ID>theirs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status>"
                        + "<Expiration><Days>7</Days></Expiration></Rule><Rule><ID>ExpireBackups</ID><Filter>"
                        + "<Prefix></Prefix></Filter><Status>Enabled</Status><Expiration><Days>400</Days></Expiration>"
                        + "</Rule>");
        bucket().policy(with(without(bucket().policy(), "NoOverwriting").replace("s3:DeleteObjectVersion",
                "s3:DeleteObject*"), "{'Sid':'Theirs','Effect':'Deny','Principal':'*','Action':'s3:GetObject',"
                        + "'Resource':'%b/secret/*'}"));
        key.policy = without(key.policy, "KeepBackupKey");
        var run = run(everything());
        assertEquals("updated", run.status(), run.err());
        assertEquals("[publicAccessBlock, ownershipControls, encryption, objectLock, lifecycleRules, tags, keyPolicy,"
                + " policy]", fields(run));
        assertTrue(run.err().contains("not this script's: Theirs"), run.err());
        assertTrue(run.err().contains("not this script's: theirs"), run.err());
        var undo = run.json().path("undo").asText().split(" && ");
        assertEquals(List.of("s3api put-bucket-policy", "kms put-key-policy", "s3api put-bucket-tagging",
                "s3api put-bucket-lifecycle-configuration", "s3api put-object-lock-configuration",
                "s3api put-bucket-encryption", "s3api put-bucket-ownership-controls",
                "s3api delete-public-access-block"), Stream.of(undo).map(command -> command.split(" --")[0]
                        .replaceFirst("^aws ", "")).toList());
        aws.clearCalls();
        Script.assertUnchanged(run(everything()), aws);
        assertTrue(sids(bucket().policy()).contains("Theirs"));
    }

    @Test
    void withoutKeyAndLockTheBucketStillTakesNoOverwriting() {
        var run = run("--bucket", name, "--writer-accounts", "111122223333");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains("without --retention-days no object is locked"), run.err());
        assertEquals("[\"overwriting\",\"another encryption\"]", run.json().at("/bucket/tried").toString());
        assertFalse(run.json().path("bucket").has("kmsKeyArn"));
        assertEquals("Enabled", s3(ADMINISTRATOR).getBucketVersioning(r -> r.bucket(name)).statusAsString());
        put(STRANGER, "x", r -> { });
        assertEquals("403 AccessDenied", outcome(() -> put(STRANGER, "x", r -> r.ifNoneMatch(null))));
        assertEquals("403 AccessDenied", outcome(() -> put(STRANGER, "y", r -> r.serverSideEncryption("aws:kms")
                .ssekmsKeyId(aws.kms.createKey(REGION).arn))));
        aws.clearCalls();
        Script.assertUnchanged(run("--bucket", name, "--writer-accounts", "111122223333"), aws);
    }

    // ---- What the writer cannot do

    void put(String who, String object, Consumer<PutObjectRequest.Builder> more) {
        s3(who).putObject(r -> more.accept(r.bucket(name).key(PREFIX + object).ifNoneMatch("*")),
                RequestBody.fromString("x"));
    }

    @Test
    void aStolenWriterCanAddAndReadAndNothingElse() {
        makeEverything();
        put(THIEF, "there", r -> { });
        var version = s3(ADMINISTRATOR).headObject(r -> r.bucket(name).key(PREFIX + "there")).versionId();
        var own = aws.kms.createKey(REGION).arn;
        var s3 = s3(THIEF);
        var key = PREFIX + "there";
        var acts = new TreeMap<String, Runnable>();
        acts.put("overwrites", () -> put(THIEF, "there", r -> r.ifNoneMatch(null)));
        acts.put("writes without a condition", () -> put(THIEF, "new", r -> r.ifNoneMatch(null)));
        acts.put("hides", () -> s3.deleteObject(r -> r.bucket(name).key(key)));
        acts.put("deletes", () -> s3.deleteObject(r -> r.bucket(name).key(key).versionId(version)));
        acts.put("bypasses the lock", () -> s3.deleteObject(r -> r.bucket(name).key(key).versionId(version)
                .bypassGovernanceRetention(true)));
        acts.put("shortens the lock", () -> s3.putObjectRetention(r -> r.bucket(name).key(key).retention(t -> t
                .mode("GOVERNANCE").retainUntilDate(Instant.now().plusSeconds(60))).bypassGovernanceRetention(true)));
        acts.put("prolongs the lock", () -> s3.putObjectRetention(r -> r.bucket(name).key(key).retention(t -> t
                .mode("COMPLIANCE").retainUntilDate(Instant.now().plus(Duration.ofDays(9000))))));
        acts.put("writes with a shorter lock", () -> put(THIEF, "short", r -> r.objectLockMode("GOVERNANCE")
                .objectLockRetainUntilDate(Instant.now().plusSeconds(60))));
        acts.put("takes a key of its own", () -> put(THIEF, "own", r -> r.serverSideEncryption("aws:kms")
                .ssekmsKeyId(own)));
        acts.put("takes the key aws/s3", () -> put(THIEF, "aws", r -> r.serverSideEncryption("aws:kms")));
        acts.put("takes S3's own keys", () -> put(THIEF, "sse", r -> r.serverSideEncryption("AES256")));
        acts.put("takes a key that S3 forgets", () -> put(THIEF, "c", r -> r.sseCustomerAlgorithm("AES256")
                .sseCustomerKey("a".repeat(43) + "=").sseCustomerKeyMD5("1B2M2Y8AsgTpgAmY7PhCfg==")));
        acts.put("begins parts under a key of its own", () -> s3.createMultipartUpload(r -> r.bucket(name)
                .key(PREFIX + "parts").serverSideEncryption("aws:kms").ssekmsKeyId(own)));
        acts.put("writes beside the prefix", () -> s3.putObject(r -> r.bucket(name).key("x").ifNoneMatch("*"),
                RequestBody.fromString("x")));
        acts.put("writes for another account", () -> s3.putObject(r -> r.bucket(name).ifNoneMatch("*")
                .key(PREFIX.replace("111122223333", "777788889999") + "x"), RequestBody.fromString("x")));
        acts.put("reads another account's", () -> s3.getObjectAsBytes(r -> r.bucket(name)
                .key(PREFIX.replace("111122223333", "777788889999") + "x")));
        acts.put("lists all", () -> s3.listObjectsV2(r -> r.bucket(name)));
        acts.put("changes the policy", () -> s3.putBucketPolicy(r -> r.bucket(name).policy("{}")));
        acts.put("deletes the policy", () -> s3.deleteBucketPolicy(r -> r.bucket(name)));
        acts.put("deletes the rules", () -> s3.deleteBucketLifecycle(r -> r.bucket(name)));
        acts.put("changes the lock of new objects", () -> s3.putObjectLockConfiguration(r -> r.bucket(name)
                .objectLockConfiguration(c -> c.objectLockEnabled("Enabled"))));
        acts.put("suspends versioning", () -> s3.putBucketVersioning(r -> r.bucket(name)
                .versioningConfiguration(c -> c.status("Suspended"))));
        acts.put("deletes the bucket", () -> s3.deleteBucket(r -> r.bucket(name)));
        acts.forEach((act, call) -> assertEquals("403 AccessDenied", outcome(call), act));
        assertEquals(List.of(key), bucket().keys());
        assertEquals(1, bucket().versions(key));
        assertEquals("412 PreconditionFailed", outcome(() -> put(THIEF, "there", r -> { })));
        for (var act : List.<Runnable>of(() -> kms(THIEF).scheduleKeyDeletion(r -> r.keyId(this.key.arn)),
                () -> kms(THIEF).encrypt(r -> r.keyId(this.key.arn).plaintext(
                        SdkBytes.fromUtf8String("x"))))) {
            assertEquals("400 AccessDeniedException", outcome(act), "the key is for S3");
        }
        aws.secureTransport = false;
        assertEquals("403 AccessDenied", outcome(() -> put(THIEF, "http", r -> { })));
        aws.secureTransport = true;
        assertEquals("403 AccessDenied", outcome(() -> put(STRANGER, "x", r -> { })), "another role of the account");
        assertEquals("yes", outcome(() -> s3.getObjectAsBytes(r -> r.bucket(name).key(key))));
        assertEquals("yes", outcome(() -> s3.listObjectsV2(r -> r.bucket(name).prefix(PREFIX + "x"))));
        assertEquals("yes", outcome(() -> put(THIEF, "named", r -> r.serverSideEncryption("aws:kms")
                .ssekmsKeyId(this.key.arn))));
    }

    @Test
    void partsAreAddedAndNotOverwritten() {
        makeEverything();
        var s3 = s3(THIEF);
        for (var condition : new String[] {"*", null, "*"}) {
            var upload = s3.createMultipartUpload(r -> r.bucket(name).key(PREFIX + "parts")
                    .checksumAlgorithm("CRC32")).uploadId();
            var part = s3.uploadPart(r -> r.bucket(name).key(PREFIX + "parts").uploadId(upload).partNumber(1),
                    RequestBody.fromString("x"));
            var isFirst = bucket().keys().isEmpty();
            assertEquals(isFirst ? "yes" : condition == null ? "403 AccessDenied" : "412 PreconditionFailed",
                    outcome(() -> s3.completeMultipartUpload(r -> r.bucket(name).key(PREFIX + "parts")
                            .uploadId(upload).ifNoneMatch(condition).multipartUpload(m -> m.parts(
                                    CompletedPart.builder().partNumber(1).eTag(part.eTag())
                                            .checksumCRC32(part.checksumCRC32()).build())))));
            if (!isFirst) {
                s3.abortMultipartUpload(r -> r.bucket(name).key(PREFIX + "parts").uploadId(upload));
            }
        }
        assertEquals(List.of(), bucket().uploads());
    }

    /** A statement, and what is otherwise without it. */
    record Purpose(String sid, String with, String without, Runnable act) {
        @Override
        public String toString() {
            return sid;
        }
    }

    List<Purpose> purposes() {
        return List.of(
                new Purpose("WritersAddAndRead", "yes", "403 AccessDenied", () -> put(THIEF, "x", r -> { })),
                new Purpose("WritersList", "yes", "403 AccessDenied",
                        () -> s3(THIEF).listObjectsV2(r -> r.bucket(name).prefix(PREFIX + "x"))),
                new Purpose("WritersSeeUploadsAndRules", "yes", "403 AccessDenied",
                        () -> s3(THIEF).listMultipartUploads(r -> r.bucket(name).prefix(PREFIX))),
                new Purpose("ReadersRead", "yes", "403 AccessDenied",
                        () -> s3(READER).getObjectAsBytes(r -> r.bucket(name).key(PREFIX + "there"))),
                new Purpose("ReadersList", "yes", "403 AccessDenied",
                        () -> s3(READER).listObjectsV2(r -> r.bucket(name))),
                new Purpose("NothingElseForSourceAccounts", "403 AccessDenied", "yes",
                        () -> s3(STRANGER).putObjectRetention(r -> r.bucket(name).key(PREFIX + "there").retention(
                                t -> t.mode("GOVERNANCE").retainUntilDate(Instant.now().plus(Duration.ofDays(900)))))),
                new Purpose("NoPlainHttp", "403 AccessDenied", "yes", () -> {
                    aws.secureTransport = false;
                    put(THIEF, "http", r -> { });
                }),
                new Purpose("NoOverwriting", "403 AccessDenied", "yes",
                        () -> put(THIEF, "there", r -> r.ifNoneMatch(null))),
                new Purpose("NoOtherEncryption", "403 AccessDenied", "yes",
                        () -> put(THIEF, "x", r -> r.serverSideEncryption("AES256"))),
                new Purpose("NoOtherKey", "403 AccessDenied", "yes", () -> put(THIEF, "x",
                        r -> r.serverSideEncryption("aws:kms").ssekmsKeyId(aws.kms.createKey(REGION).arn))),
                new Purpose("NoDeletionButInAnEmergency", "403 AccessDenied", "yes", () -> {
                    var s3 = s3(ADMINISTRATOR);
                    var version = s3.headObject(r -> r.bucket(name).key(PREFIX + "there")).versionId();
                    s3.deleteObject(r -> r.bucket(name).key(PREFIX + "there").versionId(version)
                            .bypassGovernanceRetention(true));
                }),
                new Purpose("BackupWriters", "yes", "403 AccessDenied", () -> put(THIEF, "x", r -> { })),
                new Purpose("BackupReaders", "yes", "403 AccessDenied",
                        () -> s3(READER).getObjectAsBytes(r -> r.bucket(name).key(PREFIX + "there"))),
                new Purpose("KeepBackupKey", "400 AccessDeniedException", "yes",
                        () -> kms(ADMINISTRATOR).scheduleKeyDeletion(r -> r.keyId(key.arn))));
    }

    static List<String> ownSids() {
        return Stream.concat(CreateBackupBucket.OWN_SIDS.stream(), CreateBackupBucket.OWN_KEY_SIDS.stream()).sorted()
                .toList();
    }

    @ParameterizedTest
    @MethodSource("ownSids")
    void everyStatementHasAPurpose(String sid) {
        var purpose = purposes().stream().filter(one -> one.sid().equals(sid)).findFirst().orElseThrow();
        makeEverything();
        put(WRITER, "there", r -> { });
        // as the backup's first instructions had it: a statement of others, for the whole account
        bucket().policy(with(bucket().policy(), "{'Sid':'Theirs','Effect':'Allow','Principal':"
                + "{'AWS':'arn:aws:iam::111122223333:root'},'Action':'s3:PutObjectRetention','Resource':'%b/*'}"));
        var isOfKey = CreateBackupBucket.OWN_KEY_SIDS.contains(sid);
        assertEquals(purpose.with(), outcome(purpose.act()));
        aws.secureTransport = true;
        if (purpose.with().equals("yes") && bucket().keys().size() > 1) {
            bucket().delete(PREFIX + "x");
        }
        if (isOfKey) {
            key.policy = without(key.policy, sid);
        } else {
            bucket().policy(without(bucket().policy(), sid));
        }
        assertEquals(purpose.without(), outcome(purpose.act()));
    }

    @Test
    void inAnEmergencyTheBreakGlassRoleDeletes() {
        makeEverything();
        put(THIEF, "there", r -> { });
        var s3 = s3(BREAK_GLASS);
        var version = s3.headObject(r -> r.bucket(name).key(PREFIX + "there")).versionId();
        assertEquals("403 AccessDenied",
                outcome(() -> s3.deleteObject(r -> r.bucket(name).key(PREFIX + "there").versionId(version))));
        assertEquals("yes", outcome(() -> s3.deleteObject(r -> r.bucket(name).key(PREFIX + "there")
                .versionId(version).bypassGovernanceRetention(true))));
        assertEquals("yes", outcome(() -> kms(BREAK_GLASS).scheduleKeyDeletion(r -> r.keyId(key.arn))));
    }

    /** Backed up by the role in one account, verified and restored by a reader in the account of the backups. */
    @Test
    void theChainHolds() throws Exception {
        var reader = "arn:aws:iam::444455556666:role/BackupReader";
        var run = make("--kms-key-id", key.arn, "--retention-days", "400", "--reader-role-arns", reader);
        assertEquals(0, run.exitCode(), run.err());
        var small = SampleRepositories.small(aws, "small-" + count);
        var large = SampleRepositories.large(aws, "large-" + count);
        use(WRITER);
        var arguments = new String[] {"--bucket", name, "--expected-bucket-owner", "444455556666",
                "--repository-names", small.name, large.name};
        var backup = Backups.run(script -> script.partSize = SampleRepositories.SMALL_PART, arguments);
        assertEquals(0, backup.exitCode(), backup.err());
        assertTrue(aws.calls().stream().anyMatch(call -> call.name().equals("s3:CompleteMultipartUpload")));
        small.commit("refs/heads/main", "more.txt", "more");
        assertEquals(0, Backups.run(arguments).exitCode());
        assertEquals(0, Backups.run(Stream.concat(Stream.of(arguments), Stream.of("--sse-kms-key-id", key.arn))
                .toArray(String[]::new)).exitCode());
        var nightly = Script.run(new VerifyBackups().commandLine(), arguments);
        assertEquals(0, nightly.exitCode(), nightly.err());
        assertTrue(bucket().keys().stream().allMatch(object -> bucket().headers(object)
                .get("x-amz-server-side-encryption-aws-kms-key-id").equals(key.arn)));
        use(reader);
        var verified = Script.run(new VerifyBackups().commandLine(), "--bucket", name, "--account", "111122223333",
                "--deep", "--all");
        assertEquals(0, verified.exitCode(), verified.err());
        var restored = Script.run(new RestoreFromS3().commandLine(), "--bucket", name, "--backup-account",
                "111122223333", "--repository-name", small.name, "--directory",
                directory.resolve("restored-" + count).toString());
        assertEquals(0, restored.exitCode(), restored.err());
        assertEquals(Git.state(small.directory(), true), Git.state(directory.resolve("restored-" + count), true));
    }

    // ---- Buckets that exist already

    @Test
    void ofABucketThatExistsItTurnsOnWhatStaysOnlyIfThatIsAccepted() {
        aws.s3.createBucket(name, REGION, "444455556666").lifecycle("<Rule><ID>theirs</ID><Filter><Prefix>logs/"
                + "</Prefix></Filter><Status>Enabled</Status><Expiration><Days>7</Days></Expiration></Rule>")
                .setting("publicAccessBlock", null).setting("ownershipControls",
                        "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>")
                .setting("tagging", "<TagSet><Tag><Key>Owner</Key><Value>alice</Value></Tag></TagSet>")
                .put("logs/1", new byte[1]);
        assertFails(make("--retention-days", "400"), "this turns on versioning, which can be suspended later but never"
                + " taken off; and Object Lock, which can never be turned off");
        Script.assertReadsOnly(aws);
        var planned = make("--retention-days", "400", "--dry-run");
        assertEquals("would-update", planned.status());
        assertTrue(planned.err().contains("Object Lock, which can never be turned off"), planned.err());
        assertTrue(planned.err().contains("it takes --accept-irreversible"), planned.err());
        Script.assertReadsOnly(aws);
        var run = make("--retention-days", "400", "--accept-irreversible", "--tags", "Team=Payments");
        assertEquals("updated", run.status(), run.err());
        assertEquals("[publicAccessBlock, ownershipControls, versioning, encryption, objectLock, lifecycleRules, tags,"
                + " policy]", fields(run));
        assertTrue(run.err().contains("kept lifecycle rules that are not this script's: theirs"), run.err());
        var s3 = s3(ADMINISTRATOR);
        assertEquals(Set.of("theirs", "AbortUnfinishedUploads"), s3.getBucketLifecycleConfiguration(
                r -> r.bucket(name)).rules().stream().map(rule -> rule.id()).collect(Collectors.toSet()));
        assertEquals(Set.of("Owner", "Team"), s3.getBucketTagging(r -> r.bucket(name)).tagSet().stream()
                .map(tag -> tag.key()).collect(Collectors.toSet()));
        assertEquals("aws s3api delete-bucket-policy --bucket " + name + " --region eu-west-1",
                run.json().path("undo").asText().split(" && ")[0]);
        assertFalse(run.json().path("undo").asText().contains("delete-bucket --bucket"));
        aws.clearCalls();
        Script.assertUnchanged(make("--retention-days", "400", "--tags", "Team=Payments"), aws);
    }

    /** Seed 003's policy, under which a stolen writer deletes. */
    @Test
    void aStatementOfOthersStaysAndOpensNothing() {
        aws.s3.createBucket(name, REGION, "444455556666").versioned().policy(with("{\"Version\":\"2012-10-17\"}",
                "{'Sid':'allow IAM role on CodeCommit repos account to access this s3 bucket','Effect':'Allow',"
                        + "'Principal':{'AWS':'arn:aws:iam::111122223333:root'},'Action':['s3:ListBucket',"
                        + "'s3:GetObject','s3:PutObject','s3:PutObjectTagging','s3:DeleteObject'],"
                        + "'Resource':['%b','%b/projects/codecommit-backup/111122223333/*']}"));
        assertEquals("yes", outcome(() -> put(THIEF, "x", r -> r.ifNoneMatch(null))));
        assertEquals("yes", outcome(() -> s3(THIEF).deleteObject(r -> r.bucket(name).key(PREFIX + "x"))));
        var run = make();
        assertEquals("updated", run.status(), run.err());
        assertTrue(run.err().contains("kept statements of the bucket's policy that are not this script's: allow IAM"
                + " role on CodeCommit repos account"), run.err());
        assertEquals("403 AccessDenied", outcome(() -> put(THIEF, "y", r -> r.ifNoneMatch(null))));
        put(THIEF, "y", r -> { });
        for (var who : List.of(THIEF, STRANGER)) {
            assertEquals("403 AccessDenied",
                    outcome(() -> s3(who).deleteObject(r -> r.bucket(name).key(PREFIX + "y"))), who);
        }
        assertTrue(run.json().path("undo").asText().contains("aws s3api put-bucket-policy --cli-input-json '{\"Bucket\""
                + ":\"" + name + "\",\"Policy\":\"{"), run.json().path("undo").asText());
    }

    @Test
    void refusesAPolicyUnderWhichTheWriterCouldDoMoreOrLess() {
        make();
        var own = bucket().policy();
        bucket().policy(with(own, "{'Sid':'OnlyWithHeader','Effect':'Deny','Principal':'*','Action':'s3:PutObject',"
                + "'Resource':'%b/*','Condition':{'StringNotEquals':{'s3:x-amz-server-side-encryption':'AES256'}}}"));
        aws.clearCalls();
        assertFails(make(), THIEF + " adds a backup: denied by the statement OnlyWithHeader of the bucket's policy");
        bucket().policy(with(own, "{'Sid':'Everywhere','Effect':'Allow','Principal':"
                + "{'AWS':'arn:aws:iam::111122223333:root'},'Action':'s3:Put*','Resource':'%b/*'}"));
        assertFails(make(), THIEF + " writes for another account: allowed by the statement Everywhere");
        Script.assertReadsOnly(aws);
        bucket().policy(with(own, "{'Sid':'OfficeOnly','Effect':'Deny','Principal':'*','Action':'s3:*',"
                + "'Resource':'%b/*','Condition':{'NotIpAddress':{'aws:SourceIp':'10.0.0.0/8'}}}"));
        var run = make();
        assertEquals("unchanged", run.status(), run.err());
        assertTrue(run.err().contains("what these statements decide was not judged: OfficeOnly"), run.err());
    }

    @Test
    void refusesAPublicPolicyOfOthers() {
        make();
        bucket().policy(with(without(bucket().policy(), "NoPlainHttp"), "{'Sid':'Open','Effect':'Allow',"
                + "'Principal':'*','Action':'s3:GetObject','Resource':'%b/public/*'}"));
        assertFails(make(), "public policies are prevented by the BlockPublicPolicy setting");
    }

    // ---- What cannot be

    @Test
    void refusesBucketsThatAreNotOurs() {
        aws.s3.createBucket(name, REGION, "111122223333");
        assertFails(make(), "is another account's bucket, or s3:ListBucket on it is denied to you");
        name += "-far";
        aws.s3.createBucket(name, "us-west-2", "444455556666");
        assertFails(make(), "is in us-west-2, not in eu-west-1: use --region us-west-2");
        Script.assertReadsOnly(aws);
    }

    @Test
    void refusesAccountsThatDoNotFit() {
        assertFails(run("--bucket", name, "--writer-accounts", "444455556666"), "name the roles, --writer-role-arns");
        assertFails(run("--bucket", name, "--writer-role-arns", ADMINISTRATOR), "or --same-account");
        assertFails(make("--break-glass-role-arn", STRANGER), "is not of the account of the bucket, 444455556666");
        assertFails(make("--reader-role-arns", READER.replace("arn:aws:", "arn:aws-cn:")), "of another partition");
        assertFails(make("--break-glass-role-arn", BREAK_GLASS + "s"), "IAM does not know " + BREAK_GLASS + "s");
        Script.assertReadsOnly(aws);
    }

    @Test
    void inTheSameAccountWritersAreRoles() {
        var writer = "arn:aws:iam::444455556666:role/Auditor";
        aws.account("444455556666").iam.createRole("Auditor").attached.add("aws:policy/AdministratorAccess");
        var run = run("--bucket", name, "--writer-role-arns", writer, "--same-account", "--retention-days", "40");
        assertEquals(0, run.exitCode(), run.err());
        var s3 = s3(writer);
        var own = PREFIX.replace("111122223333", "444455556666") + "x";
        s3.putObject(r -> r.bucket(name).key(own).ifNoneMatch("*"), RequestBody.fromString("x"));
        assertEquals("403 AccessDenied", outcome(() -> s3.deleteObject(r -> r.bucket(name).key(own))));
        assertEquals("403 AccessDenied", outcome(() -> s3.deleteBucketPolicy(r -> r.bucket(name))));
        assertEquals("unchanged", run("--bucket", name, "--writer-role-arns", writer, "--same-account").status());
    }

    @Test
    void refusesKeysThatWouldLoseBackups() {
        assertFails(make("--kms-key-id", "alias/none"), "no key alias/none in eu-west-1");
        key.state = "Disabled";
        assertFails(make("--kms-key-id", key.keyId), "aws kms enable-key --key-id " + key.keyId);
        key.state = "Enabled";
        key.manager = "AWS";
        assertFails(make("--kms-key-id", key.keyId), "is managed by AWS or another account's");
        key.manager = "CUSTOMER";
        var theirs = aws.kms.createKey(REGION);
        theirs.policy = theirs.policy.replace("\"arn:aws:iam::111122223333:root\"", "\"*\"");
        assertFails(make("--kms-key-id", theirs.arn), "is managed by AWS or another account's");
        Script.assertReadsOnly(aws);
        aws.s3.createBucket(name, REGION, "444455556666").versioned().setting("encryption",
                "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>"
                        + "</ApplyServerSideEncryptionByDefault></Rule>");
        assertFails(make(), "is encrypted under the key aws/s3");
        bucket().setting("encryption", "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>"
                + "<KMSMasterKeyID>alias/backups</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule>");
        assertFails(make(), "is encrypted under alias/backups, which is not the ARN of a key of this account");
    }

    @Test
    void aKeyServesOneBucket() {
        makeEverything();
        name += "-more";
        assertFails(make("--kms-key-id", key.arn), "serves another bucket, arn:aws:s3:::backups-");
        assertNull(bucket());
    }

    @Test
    void aLockOfYearsIsComparedInDays() {
        assertEquals("created", make("--retention-days", "40").status());
        bucket().setting("object-lock", "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
                + "<Mode>GOVERNANCE</Mode><Years>2</Years></DefaultRetention></Rule>");
        assertFails(make("--expire-after-days", "729"),
                "--expire-after-days 729: must not be shorter than the lock, --retention-days 730");
        var run = make("--expire-after-days", "730");
        assertEquals("updated", run.status(), run.err());
        assertEquals("{\"mode\":\"GOVERNANCE\",\"days\":730}", run.json().at("/bucket/retention").toString());
        assertEquals("unchanged", make("--retention-days", "730").status());
    }

    /** S3 takes a prefix of a rule's own, as it once had, or a filter. */
    @Test
    void anOldRuleWithAPrefixOfItsOwnIsMadeAnew() {
        assertEquals("created", make("--expire-after-days", "400").status());
        bucket().lifecycle("<Rule><ID>ExpireBackups</ID><Prefix>old/</Prefix><Status>Disabled</Status><Transition>"
                + "<Days>90</Days><StorageClass>GLACIER_IR</StorageClass></Transition><Expiration><Days>500</Days>"
                + "</Expiration><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays>"
                + "</NoncurrentVersionExpiration></Rule>");
        assertEquals("updated", make().status());
        var rule = s3(OWNER).getBucketLifecycleConfiguration(r -> r.bucket(name)).rules().stream()
                .filter(one -> one.id().equals("ExpireBackups")).findFirst().orElseThrow();
        assertEquals("projects/codecommit-backup/ Disabled 90 500 3", rule.filter().prefix() + " " + rule.status() + " "
                + rule.transitions().get(0).days() + " " + rule.expiration().days() + " "
                + rule.noncurrentVersionExpiration().noncurrentDays());
        assertEquals("unchanged", make().status());
    }

    @Test
    void aLockInComplianceModeIsConfirmedEachTimeItGrows() {
        var run = make("--retention-days", "40", "--retention-mode", "compliance", "--confirm-compliance-days", "40");
        assertEquals("COMPLIANCE", run.json().at("/bucket/retention/mode").asText(), run.err());
        assertFails(make("--retention-days", "50"), "repeat them: --confirm-compliance-days 50");
        assertEquals("unchanged", make("--retention-days", "40").status());
        assertEquals("updated", make("--retention-days", "50", "--confirm-compliance-days", "50").status());
        assertFails(make("--expire-after-days", "45"), "must not be shorter than the lock, --retention-days 50");
        assertEquals("updated", make("--expire-after-days", "50").status());
        assertFails(make("--retention-days", "60", "--confirm-compliance-days", "60"),
                "--expire-after-days 50: must not be shorter than the lock, --retention-days 60");
        put(THIEF, "x", r -> { });
        var version = s3(BREAK_GLASS).headObject(r -> r.bucket(name).key(PREFIX + "x")).versionId();
        assertEquals("403 AccessDenied", outcome(() -> s3("arn:aws:iam::444455556666:root").deleteObject(r -> r
                .bucket(name).key(PREFIX + "x").versionId(version).bypassGovernanceRetention(true))), "not even root");
    }

    @Test
    void refusesAPolicyThatIsTooLong() {
        var roles = Stream.iterate(0, i -> i + 1).limit(120)
                .map(i -> "arn:aws:iam::111122223333:role/" + "long-name-of-a-role-".repeat(2) + i);
        assertFails(run(Stream.concat(Stream.of("--bucket", name, "--writer-role-arns"), roles)
                .toArray(String[]::new)), "bytes, and AWS takes 20480: name accounts (--writer-accounts)");
        Script.assertReadsOnly(aws);
    }

    // ---- What goes wrong

    @Test
    void aStepThatFailsIsNamedAndTheSameCommandDoesTheRest() {
        aws.inject(Fault.on("s3:PutObjectLockConfiguration").error(403, "AccessDenied", "no"));
        assertFails(run(everything()), "AccessDenied: no (request id ");
        assertFails(run(script -> {
            script.newsPatience = Duration.ZERO;
            aws.inject(Fault.on("s3:PutBucketLifecycleConfiguration").always().serverError());
        }, everything()), "; changed before that: objectLock; the same command again does the rest");
        aws.clearFaults();
        assertNull(bucket().policy(), "no one could write before");
        var run = run(everything());
        assertEquals("updated", run.status(), run.err());
        aws.clearCalls();
        Script.assertUnchanged(run(everything()), aws);
    }

    @Test
    void anUnfinishedNewBucketIsNamed() {
        aws.inject(Fault.on("s3:PutBucketEncryption").error(403, "AccessDenied", "no"));
        assertFails(make(), "; changed before that: bucket, versioning");
        name += "-more";
        aws.inject(Fault.on("s3:PutBucketVersioning").error(403, "AccessDenied", "no"));
        assertFails(make(), "; changed before that: bucket");
        assertEquals("updated", make().status(), "an empty bucket is no risk");
    }

    @ParameterizedTest
    @ValueSource(strings = {"s3:CreateBucket", "s3:PutBucketPolicy", "s3:PutBucketEncryption", "kms:PutKeyPolicy"})
    void aLostAnswerAndThrottlingAreSurvived(String call) {
        aws.inject(Fault.on(call).loseAnswer());
        var run = run(everything());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        name += "-busy";
        key = aws.account("444455556666").kms.createKey(REGION);
        aws.inject(Fault.on(call).times(2).throttle());
        assertEquals("created", run(everything()).status());
    }

    @Test
    void waitsWhileS3IsStillBusyWithTheBucket() {
        aws.inject(Fault.on("s3:PutBucketPolicy").times(2).error(409, "OperationAborted", "conflicting operation"));
        assertEquals("created", make().status());
    }

    @Test
    void twoOperatorsAtOnceEndWithWhatBothAskFor() {
        var runs = Stream.of(1, 2).map(i -> CompletableFuture.supplyAsync(() -> run(everything()))).toList();
        for (var run : runs) {
            var err = run.join().err();
            assertTrue(run.join().exitCode() == 0 || err.contains("someone else changed it at the same time"), err);
        }
        aws.clearCalls();
        Script.assertUnchanged(run(everything()), aws);
    }

    @Test
    void saysThatSomeoneElseChangedThePolicyAtTheSameTime() {
        listener = action -> {
            if (action.equals("s3:GetBucketPolicy") && bucket().policy() != null) {
                bucket().policy("{\"Statement\":[]}");
            }
        };
        assertFails(run(script -> script.newsPatience = Duration.ZERO, arguments()),
                "the bucket's policy is not as this run wrote it: someone else changed it at the same time");
    }

    @Test
    void whatOthersAddWhileItRunsStays() {
        aws.s3.createBucket(name, REGION, "444455556666").versioned();
        var statement = "{'Sid':'Theirs','Effect':'Allow','Principal':{'AWS':'arn:aws:iam::444455556666:root'},"
                + "'Action':'s3:GetObject','Resource':'%b/logs/*'}";
        listener = action -> {
            if (action.equals("s3:PutEncryptionConfiguration")) {
                bucket().policy(with("{\"Version\":\"2012-10-17\"}", statement));
                key.policy = with(key.policy, statement.replace("s3:GetObject", "kms:Decrypt").replace("%b/logs/*",
                        "*"));
            }
        };
        assertEquals("updated", make("--kms-key-id", key.arn).status());
        assertTrue(sids(bucket().policy()).containsAll(Set.of("Theirs", "NoOverwriting")), bucket().policy());
        assertTrue(sids(key.policy).containsAll(Set.of("Theirs", "BackupWriters")), key.policy);
    }

    @Test
    void aPolicyThatDoesNotHoldIsFoundByTrying() {
        listener = action -> {
            if (action.equals("s3:GetBucketPolicyStatus")) {
                bucket().policy(without(bucket().policy(), "NoOverwriting"));
            }
        };
        assertFails(run(script -> script.newsPatience = Duration.ZERO, arguments()),
                "its policy does not deny overwriting, as was tried");
        assertEquals(List.of(), bucket().keys());
    }

    @Test
    void saysThatThePolicyCouldNotBeTried() {
        var clerk = aws.account("444455556666").iam.createRole("Clerk" + count);
        clerk.attached.add("aws:policy/AdministratorAccess");
        clerk.inline.put("no", "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Deny\",\"Action\":"
                + "\"s3:PutObject\",\"Resource\":\"*\"}}");
        use("arn:aws:iam::444455556666:role/Clerk" + count);
        var run = run(everything());
        assertEquals(0, run.exitCode(), run.err());
        assertFalse(run.json().path("bucket").has("tried"));
        assertTrue(run.err().contains("the policy could not be tried, as that takes s3:PutObject on " + name
                + "/projects/codecommit-backup/* and kms:GenerateDataKey on the key; it was only judged"), run.err());
    }

    @Test
    void aRoleThatIsNotThereYetIsAWriterAllTheSame() {
        var late = "arn:aws:iam::111122223333:role/team/Late" + count;
        assertEquals("created", run("--bucket", name, "--writer-role-arns", late).status());
        aws.iam.createRole("team/Late" + count).attached.add("aws:policy/AdministratorAccess");
        put(late, "x", r -> { });
        // of others' statements S3 and KMS want to know the principals
        var other = "arn:aws:iam::444455556666:role/New" + count;
        var statement = "{'Sid':'Theirs','Effect':'Allow','Principal':{'AWS':'" + other
                + "'},'Action':'s3:GetObject','Resource':'%b/logs/*'}";
        bucket().policy(with(without(bucket().policy(), "NoPlainHttp"), statement));
        assertFails(run(script -> script.newsPatience = Duration.ZERO, arguments()),
                "MalformedPolicy: Invalid principal in policy");
        aws.account("444455556666").iam.createRoleVisibleAfter("New" + count, 2);
        assertEquals("updated", make().status());
    }

    @Test
    void namesTheStatementWithADeletedPrincipalAndChangesNothing() {
        make();
        bucket().policy(with(without(bucket().policy(), "NoPlainHttp"), "{'Sid':'Old','Effect':'Allow','Principal':"
                + "{'AWS':'AROAIOSFODNN7EXAMPLE1'},'Action':'s3:GetObject','Resource':'%b/logs/*'}"));
        aws.clearCalls();
        assertFails(make(), "AWS takes no change of the bucket's policy as long as its statement Old names"
                + " AROAIOSFODNN7EXAMPLE1, which was deleted");
        key.policy = with(key.policy, "{'Sid':'Gone','Effect':'Allow','Principal':{'AWS':'AIDAIOSFODNN7EXAMPLE1'},"
                + "'Action':'kms:Decrypt','Resource':'*'}");
        name += "-new";
        assertFails(make("--kms-key-id", key.arn), "AWS takes no change of the policy of the key as long as its"
                + " statement Gone names AIDAIOSFODNN7EXAMPLE1");
        Script.assertReadsOnly(aws);
    }

    @Test
    void buildsArnsOfTheCallersPartition() {
        System.setProperty("aws.region", "cn-north-1");
        var run = run("--bucket", name, "--writer-role-arns", "arn:aws-cn:iam::111122223333:role/BackupWriter");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("arn:aws-cn:s3:::" + name, run.json().at("/bucket/arn").asText());
        assertFalse(bucket().policy().contains("arn:aws:"), bucket().policy());
    }

    /** The policy is for one prefix, and so is the protection of what lies below it. */
    @Test
    void thePrefixStaysAndBackupsAreNotLeftWithoutProtection() {
        assertEquals("created", make("--prefix", "first", "--expire-after-days", "395").status());
        aws.clearCalls();
        Script.assertUnchanged(make(), aws);
        var moved = make("--prefix", "second/one");
        assertEquals("updated", moved.status(), moved.err());
        var rules = s3(ADMINISTRATOR).getBucketLifecycleConfiguration(r -> r.bucket(name)).rules();
        assertEquals(List.of("second/one/", "second/one/"), rules.stream().map(rule -> rule.filter().prefix())
                .toList());
        assertEquals("second/one", make().json().at("/bucket/prefix").asText());
        bucket().put("second/one/111122223333/x", "backup".getBytes());
        aws.clearCalls();
        assertFails(make("--prefix", "second"), "has backups below second/one, which --prefix second would leave");
        Script.assertReadsOnly(aws);
        Script.assertUnchanged(make("--prefix", "second/one"), aws);
    }

    /** S3 has more reasons for a 403 than a policy: none of them proves anything. */
    @Test
    void whatIsNoDenialIsNotTakenForOne() {
        aws.inject(Fault.on("s3:PutObject").after(1).error(403, "InvalidAccessKeyId", "the key was deleted"));
        assertFails(make(), "InvalidAccessKeyId: the key was deleted");
    }

    @Test
    void inUsEast1ThereIsNoLocation() {
        System.setProperty("aws.region", "us-east-1");
        assertEquals("created", make().status());
        assertEquals("us-east-1", bucket().region);
        name += "-tagged";
        assertEquals("created", make("--tags", "A=b").status());
    }

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--writer-accounts|111122223333; --bucket",
            "--bucket|my-backups; --writer-accounts",
            "--bucket|my-backups|--writer-accounts|111122223333|--writer-role-arns|%w; mutually exclusive",
            "--bucket|My-Backups|--writer-role-arns|%w; my-backups",
            "--bucket|my_backups|--writer-role-arns|%w; my-backups",
            "--bucket|ab|--writer-role-arns|%w; my-backups",
            "--bucket|192.168.0.1|--writer-role-arns|%w; my-backups",
            "--bucket|my..backups|--writer-role-arns|%w; my-backups",
            "--bucket|my-backups|--writer-accounts|11112222333; 444455556666",
            "--bucket|my-backups|--writer-accounts|*; 444455556666",
            "--bucket|my-backups|--writer-role-arns|*; role/BackupWriter",
            "--bucket|my-backups|--writer-role-arns|arn:aws:iam::111122223333:role/*; without wildcards",
            "--bucket|my-backups|--writer-role-arns|arn:aws:iam::111122223333:user/x; role/BackupWriter",
            "--bucket|my-backups|--writer-role-arns|arn:aws:iam::111122223333:root; role/BackupWriter",
            "--bucket|my-backups|--writer-role-arns|%w|--reader-role-arns|BackupReader; role/BackupWriter",
            "--bucket|my-backups|--writer-role-arns|%w|--break-glass-role-arn|BreakGlass; role/BackupWriter",
            "--bucket|my-backups|--writer-role-arns|%w|--break-glass-role-arn|%w; neither a writer nor a reader",
            "--bucket|my-backups|--writer-role-arns|%w|--prefix|/backups; projects/codecommit-backup",
            "--bucket|my-backups|--writer-role-arns|%w|--prefix|backups/; projects/codecommit-backup",
            "--bucket|my-backups|--writer-role-arns|%w|--prefix|*; projects/codecommit-backup",
            "--bucket|my-backups|--writer-role-arns|%w|--prefix|${aws:username}; projects/codecommit-backup",
            "--bucket|my-backups|--writer-role-arns|%w|--kms-key-id|backups; alias/codecommit",
            "--bucket|my-backups|--writer-role-arns|%w|--kms-key-id|alias/aws/s3; customer managed",
            "--bucket|my-backups|--writer-role-arns|%w|--kms-key-id|"
                    + "arn:aws:kms:us-east-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab; eu-west-1",
            "--bucket|my-backups|--writer-role-arns|%w|--retention-days|0; such as 400",
            "--bucket|my-backups|--writer-role-arns|%w|--retention-days|36501; such as 400",
            "--bucket|my-backups|--writer-role-arns|%w|--retention-days|1y; --retention-days",
            "--bucket|my-backups|--writer-role-arns|%w|--retention-mode|governance; --retention-days 400",
            "--bucket|my-backups|--writer-role-arns|%w|--retention-days|9|--retention-mode|legal; governance",
            "--bucket|my-backups|--writer-role-arns|%w|--retention-days|9|--retention-mode|compliance; "
                    + "--confirm-compliance-days 9",
            "--bucket|my-backups|--writer-role-arns|%w|--retention-days|9|--retention-mode|compliance|"
                    + "--confirm-compliance-days|90; --confirm-compliance-days 9",
            "--bucket|my-backups|--writer-role-arns|%w|--confirm-compliance-days|9; --retention-days 400",
            "--bucket|my-backups|--writer-role-arns|%w|--retention-days|9|--retention-mode|governance|"
                    + "--confirm-compliance-days|9; --retention-mode compliance",
            "--bucket|my-backups|--writer-role-arns|%w|--expire-after-days|30; such as 395",
            "--bucket|my-backups|--writer-role-arns|%w|--expire-after-days|60|--retention-days|61; --retention-days 61",
            "--bucket|my-backups|--writer-role-arns|%w|--tags|Team; Team=Payments",
            "--bucket|my-backups|--writer-role-arns|%w|--region|Ireland; eu-west-1",
            "--bucket|my-backups|--writer-role-arns|%w|--lock; --lock",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        Script.assertRefused(run(arguments.replace("%w", WRITER).split("\\|")), right, aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        var calls = ALL.stream().filter(call -> call.caller().equals(OWNER)).toList();
        Script.assertIamActions("CreateBackupBucket", calls, Set.of("s3:TagResource", "kms:GenerateDataKey"));
    }
}
