package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.BucketVersioningStatus;
import software.amazon.awssdk.services.s3.model.CreateBucketRequest;
import software.amazon.awssdk.services.s3.model.DefaultRetention;
import software.amazon.awssdk.services.s3.model.EncryptionType;
import software.amazon.awssdk.services.s3.model.ExpirationStatus;
import software.amazon.awssdk.services.s3.model.GetObjectRetentionResponse;
import software.amazon.awssdk.services.s3.model.LifecycleRule;
import software.amazon.awssdk.services.s3.model.LifecycleRuleFilter;
import software.amazon.awssdk.services.s3.model.ObjectLockEnabled;
import software.amazon.awssdk.services.s3.model.ObjectLockRetentionMode;
import software.amazon.awssdk.services.s3.model.ObjectOwnership;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.ServerSideEncryption;
import software.amazon.awssdk.services.s3.model.Tag;

/** Buckets as the AWS SDK sees them: how they are made, their settings, policies and locks, and what S3 refuses. */
class S3BucketTest {
    static final LocalAws aws = LocalAws.start();
    static final S3Client s3 = client(new LocalAws.Login(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY, null),
            "eu-west-1");
    static final ObjectMapper JSON = new ObjectMapper();
    static int count;

    String name;

    static S3Client client(LocalAws.Login login, String region) {
        AwsCredentials credentials = login.sessionToken() == null
                ? AwsBasicCredentials.create(login.accessKeyId(), login.secretAccessKey())
                : AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(), login.sessionToken());
        return S3Client.builder().endpointOverride(aws.endpoint()).region(Region.of(region))
                .httpClient(UrlConnectionHttpClient.create())
                .credentialsProvider(StaticCredentialsProvider.create(credentials))
                .overrideConfiguration(o -> o.retryStrategy(AwsRetryStrategy.doNotRetry())).build();
    }

    @BeforeEach
    void name() {
        name = "bucket-" + ++count;
    }

    @AfterEach
    void setTheClockBack() {
        aws.clock = Clock.systemUTC();
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    static void assertError(int status, String code, Executable call) {
        var e = assertThrows(S3Exception.class, call);
        assertEquals(status + " " + code, e.statusCode() + " " + e.awsErrorDetails().errorCode(), e.getMessage());
    }

    void create(Consumer<CreateBucketRequest.Builder> more) {
        s3.createBucket(r -> more.accept(r.bucket(name)
                .createBucketConfiguration(c -> c.locationConstraint("eu-west-1"))));
    }

    void create() {
        create(r -> { });
    }

    void createLocked(ObjectLockRetentionMode mode, int days) {
        create(r -> r.objectLockEnabledForBucket(true));
        lock(DefaultRetention.builder().mode(mode).days(days).build());
    }

    void lock(DefaultRetention retention) {
        s3.putObjectLockConfiguration(r -> r.bucket(name).objectLockConfiguration(
                c -> c.objectLockEnabled(ObjectLockEnabled.ENABLED).rule(rule -> rule.defaultRetention(retention))));
    }

    String put(String key) {
        return put(key, r -> { });
    }

    String put(String key, Consumer<PutObjectRequest.Builder> more) {
        return s3.putObject(r -> more.accept(r.bucket(name).key(key)), RequestBody.fromString("x")).versionId();
    }

    // Buckets

    @Test
    void aNewBucketIsPrivateAndEncryptedAndHasNothingElse() {
        create();
        assertEquals(200, s3.headBucket(r -> r.bucket(name)).sdkHttpResponse().statusCode());
        assertEquals("eu-west-1", s3.headBucket(r -> r.bucket(name)).bucketRegion());
        var block = s3.getPublicAccessBlock(r -> r.bucket(name)).publicAccessBlockConfiguration();
        assertTrue(block.blockPublicAcls() && block.ignorePublicAcls() && block.blockPublicPolicy()
                && block.restrictPublicBuckets());
        assertEquals(ObjectOwnership.BUCKET_OWNER_ENFORCED, s3.getBucketOwnershipControls(r -> r.bucket(name))
                .ownershipControls().rules().get(0).objectOwnership());
        var encryption = s3.getBucketEncryption(r -> r.bucket(name)).serverSideEncryptionConfiguration().rules()
                .get(0);
        assertEquals(ServerSideEncryption.AES256, encryption.applyServerSideEncryptionByDefault().sseAlgorithm());
        assertNull(s3.getBucketVersioning(r -> r.bucket(name)).status());
        assertError(404, "NoSuchBucketPolicy", () -> s3.getBucketPolicy(r -> r.bucket(name)));
        assertError(404, "NoSuchBucketPolicy", () -> s3.getBucketPolicyStatus(r -> r.bucket(name)));
        assertError(404, "NoSuchLifecycleConfiguration",
                () -> s3.getBucketLifecycleConfiguration(r -> r.bucket(name)));
        assertError(404, "ObjectLockConfigurationNotFoundError",
                () -> s3.getObjectLockConfiguration(r -> r.bucket(name)));
        assertError(404, "NoSuchTagSet", () -> s3.getBucketTagging(r -> r.bucket(name)));
        aws.s3.bucket(name).setting("publicAccessBlock", null).setting("ownershipControls", null)
                .setting("encryption", null);
        assertError(404, "NoSuchPublicAccessBlockConfiguration", () -> s3.getPublicAccessBlock(r -> r.bucket(name)));
        assertError(404, "OwnershipControlsNotFoundError", () -> s3.getBucketOwnershipControls(r -> r.bucket(name)));
        assertError(404, "ServerSideEncryptionConfigurationNotFoundError",
                () -> s3.getBucketEncryption(r -> r.bucket(name)));
    }

    @Test
    void takesLockOwnershipAndTagsWithTheBucket() {
        s3.createBucket(r -> r.bucket(name).objectLockEnabledForBucket(true)
                .objectOwnership(ObjectOwnership.BUCKET_OWNER_ENFORCED)
                .createBucketConfiguration(c -> c.locationConstraint("eu-west-1")
                        .tags(Tag.builder().key("Team").value("Payments").build())));
        assertEquals(BucketVersioningStatus.ENABLED, s3.getBucketVersioning(r -> r.bucket(name)).status());
        assertEquals(ObjectLockEnabled.ENABLED, s3.getObjectLockConfiguration(r -> r.bucket(name))
                .objectLockConfiguration().objectLockEnabled());
        assertEquals("Team=Payments", s3.getBucketTagging(r -> r.bucket(name)).tagSet().stream()
                .map(tag -> tag.key() + "=" + tag.value()).findFirst().orElseThrow());
    }

    @ParameterizedTest
    @ValueSource(strings = {"ab", "Upper", "under_score", "-dash", "dash-", "two..dots", "192.168.0.1", "xn--name",
            "name-s3alias"})
    void refusesNamesThatAreNone(String wrong) throws Exception {
        assertEquals("400 InvalidBucketName", createWithoutSdk(wrong));
    }

    /** Creates a bucket in eu-west-1 with an empty request; the SDK checks the name and adds the location itself. */
    static String createWithoutSdk(String name) throws Exception {
        var time = Credentials.TIME.format(Instant.now());
        var date = time.substring(0, 8);
        var canonical = "PUT\n/" + name + "\n\nhost:" + aws.endpoint().getAuthority()
                + "\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:" + time
                + "\n\nhost;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD";
        var signature = Credentials.sign(LocalAws.SECRET_ACCESS_KEY, date, "eu-west-1", "s3", time, canonical);
        var request = HttpRequest.newBuilder(URI.create(aws.endpoint() + "/" + name))
                .PUT(HttpRequest.BodyPublishers.noBody()).header("x-amz-date", time)
                .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").header("Authorization",
                        "AWS4-HMAC-SHA256 Credential=" + LocalAws.ACCESS_KEY_ID + "/" + date
                                + "/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
                                + " Signature=" + signature);
        var answer = HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString());
        return answer.statusCode() + answer.body().replaceAll("(?s).*<Code>(.*)</Code>.*", " $1");
    }

    @Test
    void aBucketsNameIsTakenAcrossAccounts() {
        create();
        assertError(409, "BucketAlreadyOwnedByYou", this::create);
        var theirs = aws.s3.createBucket(name + "-theirs", "eu-west-1", LocalAws.BACKUP_ACCOUNT);
        name = theirs.name;
        assertError(409, "BucketAlreadyExists", this::create);
        var north = client(new LocalAws.Login(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY, null),
                "us-east-1");
        north.createBucket(r -> r.bucket(name + "-us"));
        north.createBucket(r -> r.bucket(name + "-us"));
        assertEquals("us-east-1", aws.s3.bucket(name + "-us").region, "where the second time is no error");
    }

    @Test
    void theLocationIsThatOfTheEndpoint() throws Exception {
        assertEquals("400 IllegalLocationConstraintException", createWithoutSdk(name));
        assertError(400, "IllegalLocationConstraintException", () -> s3.createBucket(
                r -> r.bucket(name).createBucketConfiguration(c -> c.locationConstraint("us-west-2"))));
        var north = client(new LocalAws.Login(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY, null),
                "us-east-1");
        assertError(400, "InvalidLocationConstraint", () -> north.createBucket(
                r -> r.bucket(name).createBucketConfiguration(c -> c.locationConstraint("us-east-1"))));
        north.createBucket(r -> r.bucket(name).createBucketConfiguration(c -> c.locationConstraint("EU")));
        assertEquals("eu-west-1", aws.s3.bucket(name).region);
    }

    @Test
    void lockOwnershipAndTagsNeedPermissionsOfTheirOwn() {
        var role = aws.iam.createRole("Maker" + count);
        var maker = client(aws.as("arn:aws:iam::111122223333:role/Maker" + count), "eu-west-1");
        Executable creation = () -> maker.createBucket(r -> r.bucket(name).objectLockEnabledForBucket(true)
                .objectOwnership(ObjectOwnership.BUCKET_OWNER_ENFORCED)
                .createBucketConfiguration(c -> c.locationConstraint("eu-west-1")
                        .tags(Tag.builder().key("A").value("b").build())));
        var actions = new ArrayList<String>();
        for (var action : List.of("CreateBucket", "PutBucketObjectLockConfiguration", "PutBucketVersioning",
                "PutBucketOwnershipControls", "TagResource")) {
            var e = assertThrows(S3Exception.class, creation);
            assertTrue(e.getMessage().contains("s3:" + action + " on resource: \"arn:aws:s3:::" + name + "\""),
                    e.getMessage());
            actions.add("s3:" + action);
            role.inline.put("make", JSON.createObjectNode().put("Version", "2012-10-17").set("Statement",
                    JSON.createObjectNode().put("Effect", "Allow").put("Resource", "arn:aws:s3:::" + name)
                            .set("Action", JSON.valueToTree(actions))).toString());
        }
        maker.createBucket(r -> r.bucket(name).objectLockEnabledForBucket(true)
                .createBucketConfiguration(c -> c.locationConstraint("eu-west-1")));
    }

    @Test
    void onlyAnEmptyBucketIsDeleted() {
        create(r -> r.objectLockEnabledForBucket(true));
        var version = put("k");
        var marker = s3.deleteObject(r -> r.bucket(name).key("k")).versionId();
        assertError(409, "BucketNotEmpty", () -> s3.deleteBucket(r -> r.bucket(name)));
        s3.deleteObject(r -> r.bucket(name).key("k").versionId(version));
        assertError(409, "BucketNotEmpty", () -> s3.deleteBucket(r -> r.bucket(name)));
        s3.deleteObject(r -> r.bucket(name).key("k").versionId(marker));
        s3.deleteBucket(r -> r.bucket(name));
        assertEquals(404, assertThrows(S3Exception.class, () -> s3.headBucket(r -> r.bucket(name))).statusCode());
    }

    // Settings

    @Test
    void keepsWhatIsPut() {
        create();
        s3.putPublicAccessBlock(r -> r.bucket(name).publicAccessBlockConfiguration(c -> c.blockPublicPolicy(false)));
        assertFalse(s3.getPublicAccessBlock(r -> r.bucket(name)).publicAccessBlockConfiguration()
                .blockPublicPolicy());
        s3.putBucketOwnershipControls(r -> r.bucket(name)
                .ownershipControls(c -> c.rules(rule -> rule.objectOwnership(ObjectOwnership.OBJECT_WRITER))));
        assertEquals(ObjectOwnership.OBJECT_WRITER, s3.getBucketOwnershipControls(r -> r.bucket(name))
                .ownershipControls().rules().get(0).objectOwnership());
        s3.putBucketTagging(r -> r.bucket(name).tagging(t -> t.tagSet(Tag.builder().key("A").value("b").build())));
        assertEquals(1, s3.getBucketTagging(r -> r.bucket(name)).tagSet().size());
        s3.deleteBucketTagging(r -> r.bucket(name));
        assertError(404, "NoSuchTagSet", () -> s3.getBucketTagging(r -> r.bucket(name)));
        for (var wrong : List.of(Map.of("aws:x", "y"), Map.of("", "y"), Map.of("a", "b,c"))) {
            assertError(400, "InvalidTag", () -> s3.putBucketTagging(r -> r.bucket(name).tagging(t -> t.tagSet(
                    wrong.entrySet().stream().map(tag -> Tag.builder().key(tag.getKey()).value(tag.getValue())
                            .build()).toList()))));
        }
    }

    @Test
    void theKeyOfABucketIsNotLookedUpAndAnAliasIsTheRequesters() {
        create();
        s3.putBucketEncryption(r -> r.bucket(name).serverSideEncryptionConfiguration(c -> c.rules(rule -> rule
                .bucketKeyEnabled(true).blockedEncryptionTypes(b -> b.encryptionType(EncryptionType.SSE_C))
                .applyServerSideEncryptionByDefault(d -> d.sseAlgorithm("aws:kms").kmsMasterKeyID("alias/typo")))));
        assertError(400, "KMS.NotFoundException", () -> put("k"));
        var key = aws.kms.createKey("eu-west-1");
        aws.kms.createAlias("eu-west-1", "alias/typo", key);
        put("k");
        var head = s3.headObject(r -> r.bucket(name).key("k"));
        assertEquals(key.arn, head.ssekmsKeyId());
        assertEquals(true, head.bucketKeyEnabled());
        assertError(403, "AccessDenied", () -> put("c", r -> r.sseCustomerAlgorithm("AES256")
                .sseCustomerKey("a".repeat(43) + "=").sseCustomerKeyMD5("1B2M2Y8AsgTpgAmY7PhCfg==")));
        assertError(400, "InvalidArgument", () -> s3.putBucketEncryption(r -> r.bucket(name)
                .serverSideEncryptionConfiguration(c -> c.rules(rule -> rule.applyServerSideEncryptionByDefault(
                        d -> d.sseAlgorithm("AES256").kmsMasterKeyID(key.arn))))));
        assertError(400, "MalformedXML", () -> s3.putBucketEncryption(r -> r.bucket(name)
                .serverSideEncryptionConfiguration(c -> c.rules(rule -> rule.bucketKeyEnabled(true)))));
    }

    @Test
    void aLockNeedsVersionsAndKeepsThem() {
        create();
        var retention = DefaultRetention.builder().mode(ObjectLockRetentionMode.GOVERNANCE).days(1).build();
        assertError(409, "InvalidBucketState", () -> lock(retention));
        s3.putBucketVersioning(r -> r.bucket(name).versioningConfiguration(c -> c.status("Enabled")));
        lock(retention);
        assertError(409, "InvalidBucketState", () -> s3
                .putBucketVersioning(r -> r.bucket(name).versioningConfiguration(c -> c.status("Suspended"))));
        assertError(400, "MalformedXML", () -> lock(retention.copy(b -> b.years(1))));
        assertError(400, "MalformedXML", () -> lock(retention.copy(b -> b.days(null))));
        assertError(400, "InvalidRetentionPeriod", () -> lock(retention.copy(b -> b.days(0))));
        assertError(400, "InvalidRetentionPeriod", () -> lock(retention.copy(b -> b.days(36_501))));
    }

    static LifecycleRule rule(Consumer<LifecycleRule.Builder> more) {
        var rule = LifecycleRule.builder().id("r").status(ExpirationStatus.ENABLED).filter(f -> f.prefix("p/"));
        more.accept(rule);
        return rule.build();
    }

    void putRules(LifecycleRule... rules) {
        s3.putBucketLifecycleConfiguration(
                r -> r.bucket(name).lifecycleConfiguration(c -> c.rules(rules)));
    }

    @Test
    void checksLifecycleRules() {
        create();
        var expiry = rule(r -> r.expiration(e -> e.days(395)).noncurrentVersionExpiration(n -> n.noncurrentDays(1)));
        var abort = rule(r -> r.id("a").abortIncompleteMultipartUpload(a -> a.daysAfterInitiation(1)));
        putRules(expiry, abort);
        assertEquals(List.of(expiry, abort), s3.getBucketLifecycleConfiguration(r -> r.bucket(name)).rules());
        assertError(400, "InvalidArgument", () -> putRules(expiry, expiry));
        assertError(400, "InvalidRequest", () -> putRules(rule(r -> { })));
        assertError(400, "InvalidArgument", () -> putRules(rule(r -> r.expiration(e -> e.days(0)))));
        assertError(400, "MalformedXML",
                () -> putRules(rule(r -> r.expiration(e -> e.days(1).expiredObjectDeleteMarker(true)))));
        assertError(400, "InvalidArgument",
                () -> putRules(rule(r -> r.noncurrentVersionExpiration(n -> n.noncurrentDays(0)))));
        assertError(400, "InvalidArgument",
                () -> putRules(rule(r -> r.abortIncompleteMultipartUpload(a -> a.daysAfterInitiation(0)))));
        assertError(400, "InvalidRequest", () -> putRules(abort.copy(r -> r.filter(f -> f.prefix(null)
                .tag(t -> t.key("a").value("b"))))));
        assertError(400, "InvalidRequest", () -> putRules(abort.copy(r -> r.filter(f -> f.prefix(null)
                .objectSizeGreaterThan(1L)))));
        assertError(400, "MalformedXML", () -> putRules(abort.copy(r -> r.filter((LifecycleRuleFilter) null))));
        assertError(400, "InvalidArgument", () -> putRules(rule(r -> r.id("x".repeat(256))
                .expiration(e -> e.days(1)))));
        assertError(400, "InvalidArgument",
                () -> putRules(rule(r -> r.transitions(t -> t.days(10).storageClass("STANDARD_IA")))));
        putRules(rule(r -> r.transitions(t -> t.days(0).storageClass("GLACIER_IR"))));
        assertError(400, "MalformedXML", () -> putRules());
        s3.deleteBucketLifecycle(r -> r.bucket(name));
        assertError(404, "NoSuchLifecycleConfiguration",
                () -> s3.getBucketLifecycleConfiguration(r -> r.bucket(name)));
    }

    // Policies

    String statement(String members) {
        return ("{'Version':'2012-10-17','Statement':[{'Effect':'Allow',"
                + "'Principal':{'AWS':'arn:aws:iam::444455556666:root'}," + members + "}]}").replace('\'', '"')
                .replace("%b", "arn:aws:s3:::" + name);
    }

    void putPolicy(String policy) {
        s3.putBucketPolicy(r -> r.bucket(name).policy(policy));
    }

    @Test
    void givesAPolicyBackRewritten() throws JsonProcessingException {
        create();
        putPolicy(statement("'Action':['s3:GetObject','s3:PutObject'],'Resource':['%b/*']")
                .replace("arn:aws:iam::444455556666:root", "444455556666"));
        assertEquals(JSON.readTree(statement("'Action':['s3:PutObject','s3:GetObject'],'Resource':'%b/*'"))
                .at("/Statement/0"), JSON.readTree(s3.getBucketPolicy(r -> r.bucket(name)).policy()).at("/Statement"));
        assertFalse(s3.getBucketPolicyStatus(r -> r.bucket(name)).policyStatus().isPublic());
        s3.deleteBucketPolicy(r -> r.bucket(name));
        s3.deleteBucketPolicy(r -> r.bucket(name));
        assertNull(aws.s3.bucket(name).policy());
    }

    @ParameterizedTest
    @ValueSource(strings = {
            "'Action':'s3:GetObject','Resource':'%b'",
            "'Action':'s3:ListBucket','Resource':'%b/*'",
            "'Action':'s3:GetObject','Resource':'arn:aws:s3:::other/*'",
            "'Action':'kms:Decrypt','Resource':'%b/*'",
            "'Action':'s3:GetObject'",
            "'Resource':'%b/*'",
            "'Action':'s3:GetObject','Resource':'%b/*','Unknown':1",
            "'Action':'s3:GetObject','Resource':'%b/*','Condition':{'Equals':{'aws:PrincipalArn':'x'}}",
            "'Action':'s3:GetObject','Resource':'%b/*','Condition':{'StringEquals':{'kms:ViaService':'x'}}",
            "'Action':'s3:GetObject','Resource':'%b/*','Condition':{'StringLike':{'s3:prefix':'x'}}",
            "'Action':['s3:ListBucket','s3:ListBucketMultipartUploads'],'Resource':'%b',"
                    + "'Condition':{'StringLike':{'s3:prefix':'x'}}",
            "'Action':'s3:GetObject','Resource':'%b/*','Condition':{'Null':{'s3:if-none-match':'true'}}"})
    void refusesAMalformedPolicy(String members) {
        create();
        assertError(400, "MalformedPolicy", () -> putPolicy(statement(members)));
    }

    @Test
    void refusesPoliciesThatAreNoneOrTooLong() {
        create();
        assertError(400, "MalformedPolicy", () -> putPolicy("Version: 2012-10-17"));
        assertError(400, "MalformedPolicy", () -> putPolicy("{\"Version\":\"2012-10-17\"}"));
        assertError(400, "MalformedPolicy", () -> putPolicy(statement("'Sid':'" + "x".repeat(20_480)
                + "','Action':'s3:GetObject','Resource':'%b/*'")));
    }

    @Test
    void principalsMustExist() {
        create();
        var role = "arn:aws:iam::444455556666:role/Late" + count;
        var policy = statement("'Action':'s3:GetObject','Resource':'%b/*'");
        assertError(400, "MalformedPolicy",
                () -> putPolicy(policy.replace("arn:aws:iam::444455556666:root", role)));
        aws.account("444455556666").iam.createRoleVisibleAfter("Late" + count, 1);
        assertError(400, "MalformedPolicy",
                () -> putPolicy(policy.replace("arn:aws:iam::444455556666:root", role)));
        putPolicy(policy.replace("arn:aws:iam::444455556666:root", role));
        assertError(400, "MalformedPolicy",
                () -> putPolicy(policy.replace("arn:aws:iam::444455556666:root", "AROAIOSFODNN7EXAMPLE1")));
    }

    @Test
    void aPublicPolicyIsRefusedWhileTheBlockStands() {
        create();
        var open = statement("'Action':'s3:GetObject','Resource':'%b/*'")
                .replace("arn:aws:iam::444455556666:root", "*");
        assertError(403, "AccessDenied", () -> putPolicy(open));
        putPolicy(open.replace("\"Resource\"", "\"Condition\":{\"StringEquals\":"
                + "{\"aws:PrincipalOrgID\":\"o-1234567890\"}},\"Resource\""));
        assertFalse(s3.getBucketPolicyStatus(r -> r.bucket(name)).policyStatus().isPublic());
        aws.s3.bucket(name).setting("publicAccessBlock", null);
        putPolicy(open);
        assertTrue(s3.getBucketPolicyStatus(r -> r.bucket(name)).policyStatus().isPublic());
    }

    @Test
    void thePolicyIsTheOwnersAndTheRootUserAlwaysReachesIt() {
        name = aws.s3.createBucket(name, "eu-west-1", LocalAws.BACKUP_ACCOUNT).name;
        aws.s3.bucket(name).policy(statement("'Action':'s3:*','Resource':'%b'").replace("444455556666",
                "111122223333"));
        assertError(405, "MethodNotAllowed", () -> s3.getBucketPolicy(r -> r.bucket(name)));
        aws.s3.bucket(name).policy(statement("'Action':'s3:*','Resource':'%b'").replace("Allow", "Deny"));
        aws.account("444455556666").iam.createRole("Owner" + count).attached.add("aws:policy/AdministratorAccess");
        var owner = client(aws.as("arn:aws:iam::444455556666:role/Owner" + count), "eu-west-1");
        assertError(403, "AccessDenied", () -> owner.deleteBucketPolicy(r -> r.bucket(name)));
        client(aws.as("arn:aws:iam::444455556666:root"), "eu-west-1").deleteBucketPolicy(r -> r.bucket(name));
        assertNull(aws.s3.bucket(name).policy());
    }

    @Test
    void aPolicySeesWhetherARequestIsSecure() {
        create();
        aws.s3.bucket(name).policy(statement("'Action':'s3:*','Resource':'%b/*','Condition':{'Bool':"
                + "{'aws:SecureTransport':'false'}}").replace("Allow", "Deny")
                .replace("{\"AWS\":\"arn:aws:iam::444455556666:root\"}", "\"*\""));
        put("k");
        aws.secureTransport = false;
        try {
            assertError(403, "AccessDenied", () -> put("k"));
        } finally {
            aws.secureTransport = true;
        }
    }

    // Locks

    GetObjectRetentionResponse retention(String key, String version) {
        return s3.getObjectRetention(r -> r.bucket(name).key(key).versionId(version));
    }

    void passDays(int days) {
        aws.clock = Clock.fixed(Instant.now().plus(Duration.ofDays(days)), ZoneOffset.UTC);
    }

    @ParameterizedTest
    @CsvSource({"GOVERNANCE, true", "COMPLIANCE, false"})
    void aLockedVersionIsDeletedByNobodyOrWhoMayBypass(ObjectLockRetentionMode mode, boolean bypassed) {
        createLocked(mode, 10);
        var version = put("k");
        var retention = retention("k", version).retention();
        assertEquals(mode.toString(), retention.modeAsString());
        assertTrue(Duration.between(Instant.now(), retention.retainUntilDate()).toDays() >= 9);
        assertEquals(mode.toString(), s3.headObject(r -> r.bucket(name).key("k")).objectLockModeAsString());
        assertError(403, "AccessDenied", () -> s3.deleteObject(r -> r.bucket(name).key("k").versionId(version)));
        // a marker only hides it, and is not locked itself
        var marker = s3.deleteObject(r -> r.bucket(name).key("k"));
        assertTrue(marker.deleteMarker());
        assertError(404, "NoSuchKey", () -> s3.getObjectAsBytes(r -> r.bucket(name).key("k")));
        assertEquals(0, s3.listObjectsV2(r -> r.bucket(name)).keyCount());
        assertEquals("x", s3.getObjectAsBytes(r -> r.bucket(name).key("k").versionId(version)).asUtf8String());
        assertError(405, "MethodNotAllowed",
                () -> s3.getObjectAsBytes(r -> r.bucket(name).key("k").versionId(marker.versionId())));
        s3.deleteObject(r -> r.bucket(name).key("k").versionId(marker.versionId()));
        assertEquals("x", s3.getObjectAsBytes(r -> r.bucket(name).key("k")).asUtf8String());
        assertError(400, "InvalidArgument", () -> s3.deleteObject(r -> r.bucket(name).key("k").versionId("none")));
        Executable bypass = () -> s3.deleteObject(r -> r.bucket(name).key("k").versionId(version)
                .bypassGovernanceRetention(true));
        if (bypassed) {
            s3.deleteObject(r -> r.bucket(name).key("k").versionId(version).bypassGovernanceRetention(true));
        } else {
            assertError(403, "AccessDenied", bypass);
            passDays(11);
            s3.deleteObject(r -> r.bucket(name).key("k").versionId(version));
        }
        assertEquals(List.of(), aws.s3.bucket(name).keys());
    }

    void retain(String version, String mode, int days, boolean bypass) {
        s3.putObjectRetention(r -> r.bucket(name).key("k").versionId(version).bypassGovernanceRetention(bypass)
                .retention(t -> t.mode(mode).retainUntilDate(Instant.now().plus(Duration.ofDays(days)))));
    }

    @Test
    void aRetentionIsOnlyProlonged() {
        createLocked(ObjectLockRetentionMode.GOVERNANCE, 10);
        var version = put("k");
        retain(version, "GOVERNANCE", 20, false);
        assertError(403, "AccessDenied", () -> retain(version, "GOVERNANCE", 5, false));
        retain(version, "GOVERNANCE", 5, true);
        retain(version, "COMPLIANCE", 6, false);
        assertError(403, "AccessDenied", () -> retain(version, "COMPLIANCE", 5, true));
        assertError(403, "AccessDenied", () -> retain(version, "GOVERNANCE", 7, true));
        retain(version, "COMPLIANCE", 7, false);
        assertError(400, "InvalidArgument", () -> retain(version, "COMPLIANCE", -1, false));
        lock(DefaultRetention.builder().mode(ObjectLockRetentionMode.COMPLIANCE).years(1).build());
        assertEquals("COMPLIANCE", retention("k", put("k")).retention().modeAsString(), "new ones only");
        assertEquals(7, Math.round(Duration.between(Instant.now(), retention("k", version).retention()
                .retainUntilDate()).toHours() / 24.0));
    }

    @Test
    void aRequestsOwnRetentionNeedsItsPermissionAndGoesBeforeTheBuckets() {
        createLocked(ObjectLockRetentionMode.COMPLIANCE, 10);
        Consumer<PutObjectRequest.Builder> shorter = r -> r.objectLockMode("GOVERNANCE")
                .objectLockRetainUntilDate(Instant.now().plus(Duration.ofDays(1)));
        assertEquals("GOVERNANCE", retention("k", put("k", shorter)).retention().modeAsString());
        aws.iam.createRole("Putter" + count).inline.put("put", statement("'Action':'s3:PutObject','Resource':'%b/*'")
                .replace("\"Principal\":{\"AWS\":\"arn:aws:iam::444455556666:root\"},", ""));
        var putter = client(aws.as("arn:aws:iam::111122223333:role/Putter" + count), "eu-west-1");
        putter.putObject(r -> r.bucket(name).key("plain"), RequestBody.fromString("x"));
        assertError(403, "AccessDenied", () -> putter.putObject(r -> shorter.accept(r.bucket(name).key("short")),
                RequestBody.fromString("x")));
        assertError(400, "InvalidArgument", () -> put("k", r -> r.objectLockMode("GOVERNANCE")));
    }

    @Test
    void aLockedObjectNeedsAChecksum() {
        createLocked(ObjectLockRetentionMode.GOVERNANCE, 1);
        try (var plain = S3Client.builder().endpointOverride(aws.endpoint()).region(Region.EU_WEST_1)
                .httpClient(UrlConnectionHttpClient.create())
                .credentialsProvider(StaticCredentialsProvider.create(
                        AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY)))
                .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
                .serviceConfiguration(c -> c.chunkedEncodingEnabled(false)).build()) {
            assertError(400, "InvalidRequest",
                    () -> plain.putObject(r -> r.bucket(name).key("k"), RequestBody.fromString("x")));
        }
    }

    @Test
    void withoutALockThereIsNoRetention() {
        create();
        put("k");
        assertError(400, "InvalidRequest", () -> s3.getObjectRetention(r -> r.bucket(name).key("k")));
        assertError(400, "InvalidRequest", () -> retain(null, "GOVERNANCE", 5, false));
        assertError(400, "InvalidRequest", () -> put("k", r -> r.objectLockMode("GOVERNANCE")
                .objectLockRetainUntilDate(Instant.now().plus(Duration.ofDays(1)))));
        s3.deleteObject(r -> r.bucket(name).key("k"));
        s3.deleteObject(r -> r.bucket(name).key("k"));
        name += "-locked";
        create(r -> r.objectLockEnabledForBucket(true));
        put("k");
        assertError(404, "NoSuchObjectLockConfiguration", () -> s3.getObjectRetention(r -> r.bucket(name).key("k")));
    }

    @Test
    void whoMayNotReadALockDoesNotSeeIt() {
        createLocked(ObjectLockRetentionMode.GOVERNANCE, 1);
        put("k");
        aws.iam.createRole("Reader" + count).inline.put("read", statement("'Action':'s3:GetObject','Resource':'%b/*'")
                .replace("\"Principal\":{\"AWS\":\"arn:aws:iam::444455556666:root\"},", ""));
        var reader = client(aws.as("arn:aws:iam::111122223333:role/Reader" + count), "eu-west-1");
        assertNull(reader.headObject(r -> r.bucket(name).key("k")).objectLockMode());
        assertError(403, "AccessDenied", () -> reader.getObjectRetention(r -> r.bucket(name).key("k")));
    }

    @Test
    void aMarkerMakesRoomForAConditionalWrite() {
        create(r -> r.objectLockEnabledForBucket(true));
        put("k", r -> r.ifNoneMatch("*"));
        assertError(412, "PreconditionFailed", () -> put("k", r -> r.ifNoneMatch("*")));
        s3.deleteObject(r -> r.bucket(name).key("k"));
        put("k", r -> r.ifNoneMatch("*"));
        assertEquals(3, aws.s3.bucket(name).versions("k"));
    }
}
