package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsSyncClientBuilder;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudtrail.CloudTrailClient;
import software.amazon.awssdk.services.cloudtrail.model.AdvancedFieldSelector;
import software.amazon.awssdk.services.cloudtrail.model.EventSelector;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.s3.S3Client;

class CloudTrailTest {
    static final String HOME = "eu-west-1";
    static final String OTHER = "us-east-1";
    static final LocalAws.Login OPERATOR = new LocalAws.Login(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY,
            null);

    LocalAws aws;
    CloudTrailClient trails;

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        trails = client(CloudTrailClient.builder(), HOME, OPERATOR);
    }

    @AfterEach
    void stop() {
        trails.close();
        aws.close();
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder, String region,
            LocalAws.Login login) {
        return builder.endpointOverride(aws.endpoint()).region(Region.of(region))
                .httpClient(UrlConnectionHttpClient.create())
                .credentialsProvider(StaticCredentialsProvider.create(login.sessionToken() == null
                        ? AwsBasicCredentials.create(login.accessKeyId(), login.secretAccessKey())
                        : AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(),
                                login.sessionToken()))).build();
    }

    static String code(Runnable call) {
        return assertThrows(AwsServiceException.class, call::run).awsErrorDetails().errorCode();
    }

    /** With a policy that lets CloudTrail write. */
    void bucket(String name) {
        aws.s3.createBucket(name, HOME).policy("""
                {"Version": "2012-10-17", "Statement": [
                  {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"},
                   "Action": "s3:GetBucketAcl", "Resource": "arn:aws:s3:::%1$s"},
                  {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"},
                   "Action": "s3:PutObject", "Resource": "arn:aws:s3:::%1$s/AWSLogs/111122223333/*",
                   "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}}]}"""
                .formatted(name));
    }

    String create(String name, boolean multiRegion) {
        return trails.createTrail(r -> r.name(name).s3BucketName("logs").isMultiRegionTrail(multiRegion)).trailARN();
    }

    // ---- Trails

    @Test
    void aTrailLogsFromStartToStop() {
        bucket("logs");
        var arn = create("all", true);
        assertEquals("arn:aws:cloudtrail:eu-west-1:111122223333:trail/all", arn);
        assertFalse(trails.getTrailStatus(r -> r.name("all")).isLogging());
        trails.startLogging(r -> r.name(arn));
        assertTrue(trails.getTrailStatus(r -> r.name(arn)).isLogging());
        trails.stopLogging(r -> r.name("all"));
        assertFalse(trails.getTrailStatus(r -> r.name(arn)).isLogging());
        assertEquals("TrailAlreadyExistsException", code(() -> create("all", true)));
        trails.deleteTrail(r -> r.name("all"));
        assertEquals("TrailNotFoundException", code(() -> trails.getTrailStatus(r -> r.name("all"))));
    }

    @Test
    void aTrailOfAllRegionsIsSeenInEachAndChangedInItsOwn() {
        bucket("logs");
        var all = create("all", true);
        var one = create("one", false);
        try (var elsewhere = client(CloudTrailClient.builder(), OTHER, OPERATOR)) {
            var shadows = elsewhere.describeTrails().trailList();
            assertEquals(List.of(all), shadows.stream().map(trail -> trail.trailARN()).toList());
            assertEquals(HOME, shadows.get(0).homeRegion());
            assertEquals(List.of(), elsewhere.describeTrails(r -> r.includeShadowTrails(false)).trailList());
            assertFalse(elsewhere.getTrailStatus(r -> r.name(all)).isLogging());
            assertEquals("TrailNotFoundException", code(() -> elsewhere.getTrailStatus(r -> r.name("all"))));
            assertEquals("InvalidHomeRegionException", code(() -> elsewhere.stopLogging(r -> r.name(all))));
        }
        assertEquals(List.of(all, one), trails.describeTrails().trailList().stream().map(t -> t.trailARN()).toList());
        trails.updateTrail(r -> r.name("one").isMultiRegionTrail(true));
        assertTrue(aws.cloudtrail.trail(HOME, "one").multiRegion);
    }

    @Test
    void refusesWhatAwsRefuses() {
        assertEquals("S3BucketDoesNotExistException", code(() -> create("all", true)));
        aws.s3.createBucket("logs", HOME);
        assertEquals("InsufficientS3BucketPolicyException", code(() -> create("all", true)));
        bucket("good");
        for (var name : List.of("ab", "-abc", "a--b", "10.0.0.1", "a b c"))
            assertEquals("InvalidTrailNameException",
                    code(() -> trails.createTrail(r -> r.name(name).s3BucketName("good"))), name);
        assertEquals("InvalidParameterCombinationException", code(() -> trails.createTrail(
                r -> r.name("all").s3BucketName("good").isMultiRegionTrail(true).includeGlobalServiceEvents(false))));
        for (var i = 0; i < 5; i++) {
            var name = "trail-" + i;
            trails.createTrail(r -> r.name(name).s3BucketName("good"));
        }
        assertEquals("MaximumNumberOfTrailsExceededException",
                code(() -> trails.createTrail(r -> r.name("sixth").s3BucketName("good"))));
        assertEquals("InvalidEventSelectorsException", code(() -> select(EventSelector.builder()
                .excludeManagementEventSources("iam.amazonaws.com").build())));
        assertEquals("InvalidEventSelectorsException", code(() -> trails.putEventSelectors(
                r -> r.trailName("trail-0"))));
        assertEquals("InvalidEventSelectorsException", code(() -> selectAdvanced(
                AdvancedFieldSelector.builder().field("readOnly").equalsValue("false").build())));
    }

    void select(EventSelector selector) {
        trails.putEventSelectors(r -> r.trailName("trail-0").eventSelectors(selector));
    }

    void selectAdvanced(AdvancedFieldSelector... fields) {
        trails.putEventSelectors(r -> r.trailName("trail-0").advancedEventSelectors(s -> s.fieldSelectors(fields)));
    }

    @Test
    void anOrganizationsTrailIsSeenAndNotLookedAt() {
        var arn = "arn:aws:cloudtrail:eu-west-1:999988887777:trail/organization";
        aws.cloudtrail.createOrganizationTrail(arn);
        assertTrue(trails.describeTrails().trailList().get(0).isOrganizationTrail());
        assertEquals("TrailNotFoundException", code(() -> trails.getTrailStatus(r -> r.name(arn))));
        assertEquals("TrailNotFoundException", code(() -> trails.getEventSelectors(r -> r.trailName(arn))));
    }

    @Test
    void nobodyMayDoWhatNoPolicyAllows() {
        aws.iam.createRole("Nobody");
        try (var nobody = client(CloudTrailClient.builder(), HOME, aws.as("arn:aws:iam::111122223333:role/Nobody"))) {
            assertEquals("AccessDeniedException", code(() -> nobody.describeTrails()));
            assertEquals("AccessDeniedException", code(() -> nobody.stopLogging(r -> r.name("all"))));
        }
    }

    // ---- What EventBridge is told

    /** Lets a topic get everything that CloudTrail tells in a Region. */
    void watch(String region) {
        var topic = aws.sns.createTopic(region, "calls");
        topic.attributes.put("Policy", """
                {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sns:Publish",
                 "Principal": {"Service": "events.amazonaws.com"}, "Resource": "%s"}}""".formatted(topic.arn));
        try (var events = client(EventBridgeClient.builder(), region, OPERATOR)) {
            events.putRule(r -> r.name("calls").eventPattern("{\"detail-type\": [\"AWS API Call via CloudTrail\"]}"));
            events.putTargets(r -> r.rule("calls").targets(t -> t.id("topic").arn(topic.arn)));
        }
    }

    /** Without the calls that set up the rule. */
    List<JsonNode> told(String region) {
        return aws.sns.topic(region, "calls").published().stream().map(message -> {
            try {
                return Models.JSON.readTree(message.text());
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }).filter(event -> !event.path("source").asText().equals("aws.events")).toList();
    }

    List<String> names(String region) {
        return told(region).stream().map(event -> event.at("/detail/eventName").asText()).toList();
    }

    JsonNode last(String region) {
        var all = told(region);
        return all.get(all.size() - 1);
    }

    CodeCommitClient codecommit(String region) {
        return client(CodeCommitClient.builder(), region, OPERATOR);
    }

    @Test
    void aCallIsToldAsATrailTakesIt() {
        var trail = aws.cloudtrail.createTrail(HOME, "all");
        watch(HOME);
        aws.codecommit.createRepository("payments");
        try (var codecommit = codecommit(HOME)) {
            codecommit.updateRepositoryDescription(r -> r.repositoryName("payments").repositoryDescription("x"));
            var event = last(HOME);
            assertEquals("aws.codecommit", event.path("source").asText());
            assertEquals(0, event.path("resources").size(), "AWS leaves the event's own resources empty");
            var detail = event.path("detail");
            assertEquals("codecommit.amazonaws.com", detail.path("eventSource").asText());
            assertEquals("payments", detail.at("/requestParameters/repositoryName").asText());
            assertEquals("arn:aws:iam::111122223333:user/operator", detail.at("/userIdentity/arn").asText());
            assertEquals("IAMUser", detail.at("/userIdentity/type").asText());
            assertFalse(detail.path("readOnly").asBoolean());
            assertFalse(detail.has("errorCode"));
            trail.logging = false;
            codecommit.deleteRepository(r -> r.repositoryName("payments"));
        }
        assertFalse(names(HOME).contains("DeleteRepository"));
    }

    @Test
    void aCallIsToldInItsRegionAndOneOfIamAtHome() {
        aws.cloudtrail.createTrail(HOME, "all");
        watch(HOME);
        watch(OTHER);
        try (var iam = client(IamClient.builder(), "aws-global", OPERATOR); var codecommit = codecommit(HOME)) {
            iam.createRole(r -> r.roleName("Made").assumeRolePolicyDocument(aws.iam.createRole("Other").trust));
            codecommit.createRepository(r -> r.repositoryName("made"));
        }
        assertTrue(names(OTHER).contains("CreateRole"));
        assertFalse(names(OTHER).contains("CreateRepository"));
        assertTrue(names(HOME).contains("CreateRepository"));
        assertFalse(names(HOME).contains("CreateRole"));
    }

    /** A trail of one Region takes no calls of IAM, but at home, nor those of other Regions. */
    @Test
    void aTrailOfOneRegionTakesItsCallsAlone() {
        aws.cloudtrail.createTrail(HOME, "one").multiRegion = false;
        watch(HOME);
        watch(OTHER);
        try (var iam = client(IamClient.builder(), "aws-global", OPERATOR); var here = codecommit(HOME);
                var there = codecommit(OTHER)) {
            iam.createRole(r -> r.roleName("Made").assumeRolePolicyDocument(aws.iam.createRole("Other").trust));
            here.createRepository(r -> r.repositoryName("made"));
            there.createRepository(r -> r.repositoryName("made"));
        }
        assertEquals(List.of(), names(OTHER));
        assertTrue(names(HOME).contains("CreateRepository"));
    }

    @Test
    void whatOnlyReadsIsToldToRulesThatAskForIt() {
        aws.cloudtrail.createTrail(HOME, "all");
        watch(HOME);
        aws.codecommit.createRepository("payments");
        try (var codecommit = codecommit(HOME)) {
            codecommit.getRepository(r -> r.repositoryName("payments"));
            codecommit.listRepositories();
            assertFalse(names(HOME).contains("GetRepository") || names(HOME).contains("ListRepositories"));
            codecommit.batchGetRepositories(r -> r.repositoryNames("payments"));
            assertTrue(names(HOME).contains("BatchGetRepositories"), "its name begins with no such word");
            // which the distilled model does not know yet
            aws.events.rule(HOME, "calls").state = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS";
            codecommit.getRepository(r -> r.repositoryName("payments"));
        }
        assertTrue(names(HOME).contains("GetRepository"));
    }

    @Test
    void selectorsDecideWhatIsTaken() {
        bucket("logs");
        create("trail-0", true);
        trails.startLogging(r -> r.name("trail-0"));
        watch(HOME);
        var key = aws.kms.createKey(HOME);
        try (var kms = client(KmsClient.builder(), HOME, OPERATOR); var codecommit = codecommit(HOME)) {
            select(EventSelector.builder().readWriteType("ReadOnly").build());
            codecommit.createRepository(r -> r.repositoryName("a"));
            select(EventSelector.builder().excludeManagementEventSources("kms.amazonaws.com").build());
            codecommit.createRepository(r -> r.repositoryName("b"));
            kms.scheduleKeyDeletion(r -> r.keyId(key.keyId));
            assertEquals(List.of("PutEventSelectors", "CreateRepository"), names(HOME));
            selectAdvanced(AdvancedFieldSelector.builder().field("eventCategory").equalsValue("Management").build(),
                    AdvancedFieldSelector.builder().field("eventSource").notEquals("kms.amazonaws.com").build());
            kms.enableKeyRotation(r -> r.keyId(aws.kms.createKey(HOME).keyId));
            codecommit.createRepository(r -> r.repositoryName("c"));
            assertEquals("CreateRepository", last(HOME).at("/detail/eventName").asText());
            selectAdvanced(AdvancedFieldSelector.builder().field("eventCategory").equalsValue("Management").build(),
                    AdvancedFieldSelector.builder().field("readOnly").equalsValue("true").build());
            codecommit.createRepository(r -> r.repositoryName("d"));
        }
        assertEquals(2, names(HOME).stream().filter("CreateRepository"::equals).count(), "b and c");
        assertEquals(2, trails.getEventSelectors(r -> r.trailName("trail-0")).advancedEventSelectors().get(0)
                .fieldSelectors().size());
    }

    /** By the trails as they are before the call. */
    @Test
    void theCallThatStopsATrailIsTold() {
        aws.cloudtrail.createTrail(HOME, "all");
        watch(HOME);
        trails.stopLogging(r -> r.name("all"));
        assertEquals("StopLogging", last(HOME).at("/detail/eventName").asText());
        trails.startLogging(r -> r.name("all"));
        trails.deleteTrail(r -> r.name("all"));
        assertEquals("DeleteTrail", last(HOME).at("/detail/eventName").asText());
    }

    @Test
    void aRefusedCallIsToldWithItsErrorAndAsLittleAsAwsMayTell() {
        aws.cloudtrail.createTrail(HOME, "all");
        watch(HOME);
        aws.codecommit.createRepository("payments");
        aws.iam.createRole("Nobody");
        try (var nobody = client(CodeCommitClient.builder(), HOME, aws.as("arn:aws:iam::111122223333:role/Nobody"));
                var ec2 = client(Ec2Client.builder(), HOME, aws.as("arn:aws:iam::111122223333:role/Nobody"))) {
            assertThrows(SdkException.class, () -> nobody.deleteRepository(r -> r.repositoryName("payments")));
            assertEquals("AccessDenied", last(HOME).at("/detail/errorCode").asText());
            assertTrue(last(HOME).at("/detail/requestParameters").isNull());
            assertEquals("AssumedRole", last(HOME).at("/detail/userIdentity/type").asText());
            aws.cloudtrail.tellsRefusedParameters = true;
            assertThrows(SdkException.class, () -> nobody.deleteRepository(r -> r.repositoryName("payments")));
            assertEquals("payments", last(HOME).at("/detail/requestParameters/repositoryName").asText());
            assertThrows(SdkException.class, () -> ec2.deleteVpcEndpoints(r -> r.vpcEndpointIds("vpce-1")));
        }
        assertEquals("Client.UnauthorizedOperation", last(HOME).at("/detail/errorCode").asText());
        assertEquals("vpce-1", last(HOME).at("/detail/requestParameters/DeleteVpcEndpointsRequest/VpcEndpointId"
                + "/content").asText());
    }

    @Test
    void aCallOnAKeyTellsItsArnHoweverItWasNamed() {
        aws.cloudtrail.createTrail(HOME, "all");
        watch(HOME);
        var key = aws.kms.createKey(HOME);
        aws.kms.createAlias(HOME, "alias/x", key);
        try (var kms = client(KmsClient.builder(), HOME, OPERATOR)) {
            kms.scheduleKeyDeletion(r -> r.keyId(key.keyId));
            assertEquals(key.arn, last(HOME).at("/detail/resources/0/ARN").asText());
            kms.deleteAlias(r -> r.aliasName("alias/x"));
        }
        assertEquals("arn:aws:kms:eu-west-1:111122223333:alias/x", last(HOME).at("/detail/resources/0/ARN").asText());
        assertEquals(key.arn, last(HOME).at("/detail/resources/1/ARN").asText());
    }

    /** Another account's call on a key or a bucket is told to its owner, too. */
    @Test
    void aCallFromAnotherAccountIsToldToTheOwner() {
        aws.cloudtrail.createTrail(HOME, "all");
        watch(HOME);
        var key = aws.kms.createKey(HOME);
        var other = aws.as("arn:aws:iam::444455556666:user/operator");
        aws.s3.createBucket("backups", HOME);
        try (var kms = client(KmsClient.builder(), HOME, other); var s3 = client(S3Client.builder(), HOME, other)) {
            assertThrows(SdkException.class, () -> kms.scheduleKeyDeletion(r -> r.keyId(key.arn)));
            assertThrows(SdkException.class, () -> s3.deleteBucketPolicy(r -> r.bucket("backups")));
        }
        assertEquals(List.of("ScheduleKeyDeletion", "DeleteBucketPolicy"), names(HOME));
    }

    @Test
    void callsOnBucketsAreToldByTheirNamesInLogsAndThoseOnObjectsNever() {
        aws.cloudtrail.createTrail(HOME, "all");
        watch(HOME);
        aws.s3.createBucket("backups", HOME);
        try (var s3 = client(S3Client.builder(), HOME, OPERATOR)) {
            s3.putObject(r -> r.bucket("backups").key("a"), RequestBody.fromString(""));
            s3.listObjectsV2(r -> r.bucket("backups"));
            s3.deletePublicAccessBlock(r -> r.bucket("backups"));
        }
        assertEquals(List.of("DeleteBucketPublicAccessBlock"), names(HOME));
        assertEquals("backups", last(HOME).at("/detail/requestParameters/bucketName").asText());
    }

    @Test
    void pullsAreToldAndTheAskingForRefsOfAPushOnlyReads() throws Exception {
        aws.cloudtrail.createTrail(HOME, "all");
        watch(HOME);
        aws.codecommit.createRepository("payments").commit("refs/heads/main", "a", "a");
        for (var service : List.of("git-upload-pack", "git-receive-pack")) {
            HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(aws.endpoint()
                    + "/v1/repos/payments/info/refs?service=" + service)).header("Authorization",
                            aws.gitAuthorization("payments")).build(), HttpResponse.BodyHandlers.discarding());
        }
        assertEquals(List.of("GitPull", "GitPush"), names(HOME));
        var push = last(HOME).path("detail");
        assertTrue(push.path("readOnly").asBoolean());
        assertTrue(push.path("requestParameters").isNull());
        assertEquals("payments", push.at("/additionalEventData/repositoryName").asText());
    }

    @Test
    void nothingIsToldWithoutATrail() {
        watch(HOME);
        try (var codecommit = codecommit(HOME)) {
            codecommit.createRepository(r -> r.repositoryName("a"));
        }
        assertEquals(List.of(), told(HOME));
        assertNull(aws.cloudtrail.trail(HOME, "all"));
    }
}
