import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Call;
import localaws.CloudTrail;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.Kms;
import localaws.LocalAws;
import localaws.Sns;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsSyncClientBuilder;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudtrail.CloudTrailClient;
import software.amazon.awssdk.services.cloudtrail.model.AdvancedFieldSelector;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.eventbridge.model.Target;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.sns.SnsClient;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class WatchSecurityEventsTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";
    static final String HOME = "us-east-1";
    static final String TOPIC = "arn:aws:sns:eu-west-1:111122223333:security-events";
    static final String EMAIL = "security@example.com";
    static final String DENY = "codecommit-branch-deny-eu-west-1";
    static final String BUCKET = "my-backups";
    static final List<String> RULES = Stream.of("changes", "codecommit", "ec2", "kms", "s3", "trail", "watch")
            .map(subject -> "security-events-" + subject).toList();
    static final List<String> HOME_RULES = Stream.of("iam", "trail", "watch")
            .map(subject -> "security-events-eu-west-1-" + subject).toList();
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    LocalAws aws;
    LocalAws.Login root;
    CloudTrail.Trail trail;
    Kms.Key key;
    CodeCommit.Repo payments;
    final List<AutoCloseable> clients = new ArrayList<>();

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        Script.use(aws);
        aws.sns.staleCalls = 0;
        trail = aws.cloudtrail.createTrail(REGION, "all");
        key = aws.kms.createKey(REGION);
        aws.kms.createAlias(REGION, "alias/codecommit", key);
        payments = aws.codecommit.createRepository("payments").commit("refs/heads/main", "a.txt", "a\n")
                .ref("refs/heads/old", "refs/heads/main").ref("refs/heads/older", "refs/heads/main");
        aws.codecommit.createRepository("website").commit("refs/heads/main", "a.txt", "a\n");
        aws.s3.createBucket(BUCKET, REGION);
        aws.iam.createRole("Developer").inline.put(DENY, "{\"Version\": \"2012-10-17\", \"Statement\": []}");
        root = aws.as("arn:aws:iam::111122223333:root");
        aws.clearCalls();
        aws.onCall(WatchSecurityEventsTest::collect);
    }

    /** The script's calls; the test makes its own as the root user. */
    static void collect(Call call) {
        if (call.caller().endsWith(":user/operator")) {
            ALL.add(call);
        }
    }

    @AfterEach
    void stop() throws Exception {
        for (var client : clients) {
            client.close();
        }
        aws.close();
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C extends AutoCloseable> C client(B builder,
            String region, LocalAws.Login login) {
        var made = builder.endpointOverride(aws.endpoint()).region(Region.of(region))
                .httpClient(UrlConnectionHttpClient.create())
                .credentialsProvider(StaticCredentialsProvider.create(login.sessionToken() == null
                        ? AwsBasicCredentials.create(login.accessKeyId(), login.secretAccessKey())
                        : AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(),
                                login.sessionToken()))).build();
        clients.add(made);
        return made;
    }

    CodeCommitClient codecommit() {
        return client(CodeCommitClient.builder(), REGION, root);
    }

    EventBridgeClient events(String region) {
        return client(EventBridgeClient.builder(), region, root);
    }

    KmsClient kms() {
        return client(KmsClient.builder(), REGION, root);
    }

    IamClient iam() {
        return client(IamClient.builder(), "aws-global", root);
    }

    S3Client s3() {
        return client(S3Client.builder(), REGION, root);
    }

    CloudTrailClient cloudtrail() {
        return client(CloudTrailClient.builder(), REGION, root);
    }

    static Script.Run run(String... args) {
        var script = new WatchSecurityEvents();
        script.newsPatience = Duration.ofSeconds(5);
        return Script.run(script.commandLine(), args);
    }

    static Script.Run run(List<String> first, String... more) {
        return run(Stream.concat(first.stream(), Stream.of(more)).toArray(String[]::new));
    }

    static final List<String> EVERYTHING = List.of("--all-repositories", "--key-ids", "alias/codecommit",
            "--policy-names", DENY, "--bucket", BUCKET);

    /** Everything is watched, with a subscriber in each Region who has confirmed. */
    void watched() {
        var run = run(EVERYTHING, "--emails", EMAIL);
        assertEquals(4, run.exitCode(), run.err());
        confirm();
        aws.clearCalls();
    }

    void confirm() {
        for (var region : List.of(REGION, HOME)) {
            var topic = topic(region);
            if (topic != null) {
                topic.subscriptions().forEach(subscription -> subscription.confirmed = true);
            }
        }
    }

    Sns.Topic topic(String region) {
        return aws.sns.topic(region, "security-events");
    }

    List<String> rules(String region) {
        aws.events.pageSize = 100;
        return events(region).listRules(r -> r.limit(100)).rules().stream().map(rule -> rule.name()).toList();
    }

    static List<String> fields(Script.Run run) {
        return run.json().path("changes").valueStream().map(change -> change.path("field").asText()).toList();
    }

    /** What the subscribers of both Regions got. */
    List<String> told() {
        return Stream.of(REGION, HOME).filter(region -> topic(region) != null)
                .flatMap(region -> topic(region).subscription(EMAIL).received().stream()).map(Sns.Message::text)
                .toList();
    }

    // ---- The contract

    @Test
    void makesARuleForEachServiceAndATopicInEachRegion() {
        var run = run(EVERYTHING, "--emails", EMAIL);
        assertEquals(4, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(RULES, rules(REGION));
        assertEquals(HOME_RULES, rules(HOME));
        assertEquals(List.of(TOPIC, TOPIC.replace(REGION, HOME)), run.json().path("topics").valueStream()
                .map(topic -> topic.path("topicArn").asText()).toList());
        assertEquals(10, run.json().path("rules").size());
        assertEquals("arn:aws:events:us-east-1:111122223333:rule/security-events-eu-west-1-iam",
                run.json().at("/rules/7/ruleArn").asText());
        assertEquals(trail.arn, run.json().at("/trails/0/trailArn").asText());
        var ruleArns = run.json().path("rules").findValuesAsText("ruleArn");
        assertEquals(ruleArns, run.json().path("changes").valueStream()
                .filter(change -> change.path("field").asText().equals("rule"))
                .map(change -> change.path("resource").asText()).toList(), "a change says of which rule it is");
        assertTrue(run.json().at("/trails/0/feeds").asBoolean());
        assertEquals(List.of("unconfirmed", "unconfirmed"), run.json().path("findings").valueStream()
                .map(finding -> finding.path("code").asText()).toList());
        assertTrue(run.err().contains("--region us-east-1"), "the command for another mail there: " + run.err());
        for (var region : List.of(REGION, HOME)) {
            assertTrue(topic(region).attributes.get("Policy").contains("\"SecurityEvents\""));
            rules(region).forEach(name -> assertTrue(aws.events.rule(region, name).pattern.length() <= 2048, name));
        }
    }

    @Test
    void aSecondRunChangesNothing() {
        watched();
        Script.assertUnchanged(run(EVERYTHING, "--emails", EMAIL), aws);
        Script.assertUnchanged(run("--bucket", BUCKET), aws);
        Script.assertUnchanged(run("--key-ids", "alias/codecommit", "--topic-arn", TOPIC), aws);
    }

    /** What no option names stays; what one names is replaced. */
    @Test
    void anOptionReplacesWhatItNamesAndLeavesTheRest() {
        watched();
        var run = run("--repository-names", "payments");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of("rule", "rule"), fields(run));
        assertTrue(aws.events.rule(REGION, "security-events-codecommit").pattern.contains("[\"payments\"]"));
        assertTrue(aws.events.rule(REGION, "security-events-kms").pattern.contains(key.arn));
        assertTrue(aws.events.rule(REGION, "security-events-kms").pattern.contains(":alias/codecommit"));
    }

    @Test
    void onlyWhatIsNamedIsWatched() {
        var run = run("--bucket", BUCKET, "--emails", EMAIL);
        assertEquals(4, run.exitCode(), run.err());
        assertEquals(List.of("security-events-s3", "security-events-trail", "security-events-watch"), rules(REGION));
        assertEquals(List.of(), rules(HOME));
        assertNull(topic(HOME));
    }

    @Test
    void aDryRunReadsOnlyAndShowsThePatterns() {
        var planned = run(EVERYTHING, "--emails", EMAIL, "--dry-run");
        assertEquals(0, planned.exitCode(), planned.err());
        assertEquals("would-create", planned.status());
        assertEquals("SecurityEvents", planned.json().at("/topics/0/policy/Statement/0/Sid").asText());
        assertEquals(BUCKET, planned.json().path("rules").valueStream()
                .filter(rule -> rule.path("ruleArn").asText().endsWith("-s3")).findFirst().orElseThrow()
                .at("/eventPattern/detail/$or/0/requestParameters/bucketName/0").asText());
        Script.assertReadsOnly(aws);
        assertTrue(aws.calls().stream().filter(call -> call.name().equals("events:TestEventPattern")).count() > 20);
        watched();
        assertEquals("would-delete", run("--remove", "--dry-run").status());
        Script.assertReadsOnly(aws);
    }

    @Test
    void mendsWhatItOwnsAndKeepsWhatOthersAdded() throws Exception {
        watched();
        var events = events(REGION);
        events.putRule(r -> r.name("security-events-kms").description("mine").eventPattern(
                aws.events.rule(REGION, "security-events-kms").pattern.replace("\"PutKeyPolicy\",", "")));
        events.disableRule(r -> r.name("security-events-watch"));
        events.removeTargets(r -> r.rule("security-events-ec2").ids("topic"));
        events.putTargets(r -> r.rule("security-events-s3").targets(
                Target.builder().id("theirs").arn(TOPIC).build()));
        var policy = (ObjectNode) JSON.readTree(topic(REGION).attributes.get("Policy"));
        policy.withArray("Statement").remove(1);
        policy.withArray("Statement").addObject().put("Sid", "Theirs").put("Effect", "Allow")
                .put("Action", "sns:Publish").put("Resource", TOPIC).putObject("Principal")
                .put("Service", "codecommit.amazonaws.com");
        topic(REGION).attributes.put("Policy", policy.toString());
        var run = run(EVERYTHING);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(Set.of("policy", "target", "rule"), Set.copyOf(fields(run)));
        assertEquals(4, fields(run).size());
        assertTrue(run.err().contains("kept targets that are not this script's: theirs"), run.err());
        assertTrue(run.err().contains("kept statements that are not this script's: Theirs"), run.err());
        assertEquals("ENABLED", aws.events.rule(REGION, "security-events-watch").state);
        aws.clearCalls();
        Script.assertUnchanged(run(EVERYTHING), aws);
        var undo = run.json().path("undo").asText();
        assertTrue(undo.contains("aws events put-rule --cli-input-json")
                && undo.contains("aws sns set-topic-attributes --cli-input-json"), undo);
    }

    @Test
    void takesBackWhatItMade() {
        watched();
        var run = run("--remove");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("deleted", run.status());
        assertEquals(List.of(), rules(REGION));
        assertEquals(List.of(), rules(HOME));
        assertNull(topic(REGION));
        assertNull(topic(HOME));
        var undo = run.json().path("undo").asText();
        assertTrue(undo.startsWith("aws sns create-topic --cli-input-json") && undo.contains("--region us-east-1"),
                undo);
        for (var region : List.of(REGION, HOME)) {
            var subscribe = " && aws sns subscribe --cli-input-json '{\"Endpoint\":\"" + EMAIL
                    + "\",\"Protocol\":\"email\",\"TopicArn\":\"" + TOPIC.replace(REGION, region)
                    + "\"}' --region " + region;
            assertTrue(undo.contains(subscribe), "who was told is told again: " + undo);
        }
        aws.clearCalls();
        Script.assertUnchanged(run("--remove"), aws);
    }

    @Test
    void leavesTopicsThatOthersUseWhenItTakesBack() {
        client(SnsClient.builder(), REGION, root).createTopic(r -> r.name("security-events"));
        watched();
        var foreignTopic = run("--remove", "--emails", EMAIL);
        assertEquals("deleted", foreignTopic.status());
        assertTrue(foreignTopic.err().contains("as this script did not create it"), foreignTopic.err());
        assertFalse(topic(REGION).attributes.get("Policy").contains("\"SecurityEvents\""));
        assertNull(topic(REGION).subscription(EMAIL));
        assertNull(topic(HOME));
        watched();
        events(REGION).putRule(r -> r.name("theirs").eventPattern("{\"source\": [\"aws.codebuild\"]}"));
        events(REGION).putTargets(r -> r.rule("theirs").targets(Target.builder().id("1").arn(TOPIC).build()));
        assertTrue(run("--remove").err().contains("other rules or alarms send to it: theirs"));
        assertTrue(topic(REGION).attributes.get("Policy").contains("\"SecurityEvents\""));
    }

    @Test
    void twoRegionsShareTheHomeRegionWithoutTouchingEachOther() {
        watched();
        aws.codecommit.createRepository("eu-central-1", "payments");
        var run = run("--all-repositories", "--policy-names", "other", "--region", "eu-central-1");
        assertEquals(4, run.exitCode(), run.err());
        assertTrue(rules(HOME).containsAll(HOME_RULES));
        assertTrue(rules(HOME).contains("security-events-eu-central-1-iam"));
        assertEquals("deleted", run("--remove", "--region", "eu-central-1").status());
        assertEquals(HOME_RULES, rules(HOME));
        assertNotNull(topic(HOME));
    }

    // ---- Others at the same time, and failures

    @Test
    void twoOperatorsAtOnceComeToTheSame() {
        var run = Gate.inStep(aws, call -> {
            collect(call);
            if (call.name().equals("sns:GetTopicAttributes") && topic(REGION) == null) { // the other is a step ahead
                aws.sns.createTopic(REGION, "security-events").tags.put("codecommit-toolkit:created-by",
                        "watch-security-events");
            }
        }, () -> run(EVERYTHING));
        assertEquals(4, run.exitCode(), run.err());
        assertEquals("unchanged", run(EVERYTHING).status());
    }

    @Test
    void aTopicThatSomeoneElseDeletesMeanwhileIsRemovedAndTheRestIsToo() {
        watched();
        aws.inject(Fault.on("sns:ListTagsForResource").error(404, "NotFound", "Topic does not exist"));
        var run = run("--remove");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains(TOPIC + ": someone else deleted it in the meantime"), run.err());
        assertEquals(List.of(), rules(HOME));
        assertNull(topic(HOME));
    }

    @Test
    void aTopicThatIsToldNoLongerIsNamed() {
        watched();
        var run = run("--all-repositories", "--topic-name", "other");
        assertTrue(run.err().contains(TOPIC + " is told of security events no longer, and stays; if nobody else needs"
                + " it, delete it with: aws sns delete-topic --topic-arn " + TOPIC + " --region eu-west-1"), run.err());
    }

    @Test
    void whatSomeoneElseRemovesMeanwhileIsRemoved() {
        watched();
        aws.inject(Fault.on("events:RemoveTargets").error(400, "ResourceNotFoundException", "Rule does not exist."));
        var run = Gate.inStep(aws, call -> {
            collect(call);
            if (call.name().equals("sns:GetTopicAttributes")) { // the script has read the rules
                aws.events.rule(REGION, "security-events-codecommit").targets = Map.of();
            }
        }, () -> run("--remove"));
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains("security-events-codecommit: someone else removed it in the meantime"),
                run.err());
    }

    @ParameterizedTest
    @CsvSource({"sns:SetTopicAttributes, 'changed before that: topic'", "sns:Subscribe, 'topic, policy'",
            "events:PutRule, 'topic, policy, subscription'", "events:PutTargets, 'policy, subscription, rule'"})
    void aStepThatFailsNamesWhatWasChangedBefore(String call, String named) {
        aws.inject(Fault.on(call).error(400, "LimitExceededException", "too many"));
        var run = run(EVERYTHING, "--emails", EMAIL);
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertTrue(run.err().contains("LimitExceeded") && run.err().contains(named), run.err());
        assertTrue(run.err().contains("this takes it back: "), run.err());
        aws.clearFaults();
        assertEquals(4, run(EVERYTHING, "--emails", EMAIL).exitCode());
        assertEquals(RULES, rules(REGION));
    }

    @ParameterizedTest
    @ValueSource(strings = {"cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "sns:CreateTopic",
            "sns:SetTopicAttributes", "sns:Subscribe", "events:PutRule", "events:PutTargets",
            "events:TestEventPattern", "kms:DescribeKey"})
    void throttlingAndLostAnswersAreSurvived(String call) {
        aws.inject(Fault.on(call).throttle());
        aws.inject(Fault.on(call).after(1).loseAnswer());
        var run = run("--key-ids", "alias/codecommit", "--emails", EMAIL);
        assertEquals(4, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(1, topic(REGION).subscriptions().size());
        assertEquals(3, rules(REGION).size());
    }

    // ---- The trail

    static void refused(Script.Run run, String... says) {
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        for (var text : says) {
            assertTrue(run.err().contains(text), text + " is not in " + run.err());
        }
    }

    @Test
    void rulesThatNoTrailFeedsAreRefusedWithWhatToDo() {
        cloudtrail().deleteTrail(r -> r.name("all"));
        aws.clearCalls();
        refused(run(EVERYTHING), "no trail in eu-west-1: aws cloudtrail create-trail", "no trail in us-east-1: ",
                "&& aws cloudtrail start-logging");
        trail = aws.cloudtrail.createTrail(REGION, "all");
        trail.logging = false;
        refused(run(EVERYTHING), trail.arn + " does not log: aws cloudtrail start-logging --name " + trail.arn
                + " --region eu-west-1");
        trail.logging = true;
        trail.multiRegion = false;
        refused(run(EVERYTHING), trail.arn + " is of eu-west-1 alone: aws cloudtrail update-trail --name " + trail.arn
                + " --is-multi-region-trail --include-global-service-events --region eu-west-1");
        assertEquals(4, run("--all-repositories").exitCode(), "it feeds what needs no other Region");
        trail.multiRegion = true;
        assertEquals(5, rules(REGION).size());
    }

    @Test
    void aTrailThatLeavesOutWhatIsWatchedIsRefused() {
        var client = cloudtrail();
        client.putEventSelectors(r -> r.trailName("all").eventSelectors(s -> s.readWriteType("ReadOnly")));
        refused(run(EVERYTHING), "does not take changes of codecommit.amazonaws.com: aws cloudtrail"
                + " put-event-selectors", "\"ReadWriteType\":\"All\"");
        client.putEventSelectors(r -> r.trailName("all").eventSelectors(
                s -> s.excludeManagementEventSources("kms.amazonaws.com")));
        refused(run(EVERYTHING), "does not take changes of kms.amazonaws.com: ",
                "\"ExcludeManagementEventSources\":[]");
        assertEquals(4, run("--all-repositories").exitCode(), "which needs no KMS");
        var category = AdvancedFieldSelector.builder().field("eventCategory").equalsValue("Management").build();
        client.putEventSelectors(r -> r.trailName("all").advancedEventSelectors(s -> s.fieldSelectors(category,
                AdvancedFieldSelector.builder().field("eventSource").notEquals("kms.amazonaws.com").build())));
        refused(run(EVERYTHING), "does not take changes of kms.amazonaws.com: ", "\"AdvancedEventSelectors\"");
        client.putEventSelectors(r -> r.trailName("all").advancedEventSelectors(s -> s.fieldSelectors(category,
                AdvancedFieldSelector.builder().field("readOnly").equalsValue("true").build())));
        refused(run("--all-repositories"), "does not take changes of codecommit.amazonaws.com: ");
        client.putEventSelectors(r -> r.trailName("all").advancedEventSelectors(s -> s.fieldSelectors(category)));
        assertEquals(4, run(EVERYTHING).exitCode());
        client.putEventSelectors(r -> r.trailName("all").eventSelectors(s -> s.readWriteType("WriteOnly")));
        assertEquals(4, run(EVERYTHING).exitCode());
    }

    /** One leaves out KMS, the other one everything else. */
    @Test
    void severalTrailsTogetherMayFeedTheRules() {
        cloudtrail().putEventSelectors(r -> r.trailName("all").eventSelectors(
                s -> s.excludeManagementEventSources("kms.amazonaws.com")));
        aws.cloudtrail.createTrail(REGION, "second");
        assertEquals(4, run(EVERYTHING).exitCode());
    }

    @Test
    void anOrganizationsTrailThatCannotBeCheckedIsNotTakenForFine() {
        cloudtrail().deleteTrail(r -> r.name("all"));
        var arn = "arn:aws:cloudtrail:us-east-1:999988887777:trail/organization";
        aws.cloudtrail.createOrganizationTrail(arn);
        watched();
        var run = run(EVERYTHING);
        assertEquals(4, run.exitCode(), run.err());
        assertEquals("unchecked", run.json().at("/findings/0/code").asText());
        assertTrue(run.err().contains("cannot be checked: this account may not look at " + arn), run.err());
        assertEquals(arn, run.json().at("/trails/0/trailArn").asText());
        assertFalse(run.json().at("/trails/0").has("feeds"));
        aws.cloudtrail.createTrail(REGION, "own");
        assertEquals(0, run(EVERYTHING).exitCode(), "what another trail feeds needs no organization's");
    }

    /** StopLogging appears in the trail's own Region alone. */
    @Test
    void aTrailOfAnotherRegionIsWatchedThere() {
        cloudtrail().deleteTrail(r -> r.name("all"));
        aws.cloudtrail.createTrail("eu-central-1", "central");
        assertEquals(4, run(EVERYTHING, "--emails", EMAIL).exitCode());
        assertEquals(List.of("security-events-eu-west-1-trail", "security-events-eu-west-1-watch"),
                rules("eu-central-1"));
        var subscription = topic("eu-central-1").subscription(EMAIL);
        subscription.confirmed = true;
        client(CloudTrailClient.builder(), "eu-central-1", root).stopLogging(r -> r.name("central"));
        assertEquals(1, subscription.received().size());
        assertTrue(subscription.received().get(0).text().contains("Security event: StopLogging"));
    }

    // ---- What is told

    /** Runs each act and expects one message about it, with this text. */
    void toldOnce(Map<String, Runnable> acts) {
        for (var act : acts.entrySet()) {
            var before = told();
            act.getValue().run();
            var news = new ArrayList<>(told());
            before.forEach(news::remove);
            assertEquals(1, news.size(), act.getKey() + ": " + news);
            assertTrue(news.get(0).contains(act.getKey()), act.getKey() + ": " + news);
        }
    }

    LocalAws.Login developer() {
        aws.iam.find("role/Developer").inline.put("read", "{\"Version\": \"2012-10-17\", \"Statement\": {\"Effect\":"
                + " \"Allow\", \"Action\": \"codecommit:Get*\", \"Resource\": \"*\"}}");
        return aws.as("arn:aws:iam::111122223333:role/Developer");
    }

    void push(Path work, String... refs) {
        Git.run(work, Stream.concat(Stream.of("-c", "http.extraHeader=Authorization: "
                + aws.gitAuthorization(root, "payments"), "push", "-q", aws.endpoint() + "/v1/repos/payments"),
                Stream.of(refs)).toArray(String[]::new));
    }

    @Test
    void whatHappensToRepositoriesIsToldOnce(@TempDir Path directory) throws Exception {
        var request = payments.pullRequest("One more", "older", "main");
        var revision = codecommit().getPullRequest(r -> r.pullRequestId(request)).pullRequest().revisionId();
        aws.codecommit.createApprovalRuleTemplate("two", 2);
        payments.approvalRuleTemplate("two").approvalRule(request, "mine", 1);
        watched();
        var codecommit = codecommit();
        var developer = client(CodeCommitClient.builder(), REGION, developer());
        var content = aws.codecommit.approvalRuleTemplate(REGION, "two").path("approvalRuleTemplateContent").asText();
        Git.run(directory, "init", "-q");
        var acts = new LinkedHashMap<String, Runnable>();
        acts.put("UpdateDefaultBranch (codecommit.amazonaws.com)", () -> codecommit.updateDefaultBranch(
                r -> r.repositoryName("payments").defaultBranchName("older")));
        acts.put("Of: payments", () -> codecommit.putRepositoryTriggers(r -> r.repositoryName("payments")
                .triggers(List.of())));
        acts.put("UpdateRepositoryEncryptionKey", () -> codecommit.updateRepositoryEncryptionKey(
                r -> r.repositoryName("payments").kmsKeyId(key.arn)));
        acts.put("Security event: referenceDeleted in account 111122223333, eu-west-1",
                () -> codecommit.deleteBranch(r -> r.repositoryName("payments").branchName("old")));
        acts.put("Commit of a deleted branch or tag: ", () -> push(directory, "--delete", "main"));
        acts.put("approvalRuleTemplateUpdated", () -> codecommit.updateApprovalRuleTemplateContent(
                r -> r.approvalRuleTemplateName("two").newRuleContent(
                        content.replaceFirst("(?<=NumberOfApprovalsNeeded\":)2", "1"))));
        acts.put("approvalRuleTemplateDisassociatedFromRepository",
                () -> codecommit.disassociateApprovalRuleTemplateFromRepository(
                        r -> r.approvalRuleTemplateName("two").repositoryName("payments")));
        acts.put("Repository: payments; pull request: " + request, () -> codecommit.overridePullRequestApprovalRules(
                r -> r.pullRequestId(request).revisionId(revision).overrideStatus("OVERRIDE")));
        acts.put("pullRequestApprovalRuleDeleted", () -> codecommit.deletePullRequestApprovalRule(
                r -> r.pullRequestId(request).approvalRuleName("mine")));
        acts.put("Refused with (empty if it was done): AccessDenied", () -> assertThrows(SdkException.class,
                () -> developer.deleteRepository(r -> r.repositoryName("payments"))));
        acts.put("OverridePullRequestApprovalRules", () -> assertThrows(SdkException.class,
                () -> developer.overridePullRequestApprovalRules(r -> r.pullRequestId(request).revisionId(revision)
                        .overrideStatus("OVERRIDE"))));
        acts.put("By: arn:aws:sts::111122223333:assumed-role/Developer/session (AssumedRole)", () -> {
            aws.cloudtrail.tellsRefusedParameters = true;
            assertThrows(SdkException.class, () -> developer.deleteBranch(
                    r -> r.repositoryName("payments").branchName("older")));
        });
        acts.put("UpdateRepositoryName", () -> codecommit.updateRepositoryName(
                r -> r.oldName("website").newName("shop")));
        acts.put("By: arn:aws:iam::111122223333:root (Root), from 127.0.0.1", () -> codecommit.deleteRepository(
                r -> r.repositoryName("payments")));
        toldOnce(acts);
    }

    @Test
    void whatHappensToKeysEndpointsAndBucketsIsToldOnce() {
        var vpc = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        var subnet = aws.ec2.createSubnet(vpc, REGION + "a", "10.0.0.0/24");
        var group = aws.ec2.createSecurityGroup(vpc, "endpoints");
        var endpoint = aws.ec2.createEndpoint(vpc, "codecommit", true, List.of(subnet), List.of(group));
        watched();
        var kms = kms();
        var s3 = s3();
        var ec2 = client(Ec2Client.builder(), REGION, root);
        var acts = new LinkedHashMap<String, Runnable>();
        acts.put("PutKeyPolicy", () -> kms.putKeyPolicy(r -> r.keyId(key.keyId).policyName("default")
                .policy(key.policy)));
        acts.put("Of: " + key.arn, () -> kms.disableKeyRotation(r -> r.keyId(key.arn)));
        acts.put("DeleteAlias", () -> kms.deleteAlias(r -> r.aliasName("alias/codecommit")));
        acts.put("ScheduleKeyDeletion (kms.amazonaws.com)", () -> kms.scheduleKeyDeletion(r -> r.keyId(key.keyId)));
        acts.put("Of: " + endpoint, () -> ec2.modifyVpcEndpoint(r -> r.vpcEndpointId(endpoint)
                .privateDnsEnabled(false)));
        acts.put("Of:  " + endpoint, () -> ec2.deleteVpcEndpoints(r -> r.vpcEndpointIds(endpoint)));
        acts.put("DeleteBucketPolicy", () -> s3.deleteBucketPolicy(r -> r.bucket(BUCKET)));
        acts.put("PutBucketVersioning", () -> s3.putBucketVersioning(r -> r.bucket(BUCKET)
                .versioningConfiguration(v -> v.status("Enabled"))));
        acts.put("DeleteBucketPublicAccessBlock", () -> s3.deletePublicAccessBlock(r -> r.bucket(BUCKET)));
        acts.put("Of: " + BUCKET, () -> s3.deleteBucketLifecycle(r -> r.bucket(BUCKET)));
        acts.put("DeleteBucket (s3.amazonaws.com)", () -> s3.deleteBucket(r -> r.bucket(BUCKET)));
        toldOnce(acts);
    }

    @Test
    void whatHappensToTheDenyIsToldOnceWhereItAppears() {
        var managed = aws.iam.createPolicy(DENY, "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Deny\","
                + " \"Action\": \"codecommit:GitPush\", \"Resource\": \"*\"}]}");
        aws.iam.find("role/Developer").attached.add("policy/" + DENY);
        var arn = "arn:aws:iam::111122223333:policy/" + DENY;
        watched();
        var iam = iam();
        var document = managed.versions.get("v1");
        var acts = new LinkedHashMap<String, Runnable>();
        acts.put("PutRolePolicy", () -> iam.putRolePolicy(r -> r.roleName("Developer").policyName(DENY)
                .policyDocument(document)));
        acts.put(DENY + "  Developer  ", () -> iam.deleteRolePolicy(r -> r.roleName("Developer").policyName(DENY)));
        acts.put("CreatePolicyVersion", () -> iam.createPolicyVersion(r -> r.policyArn(arn).policyDocument(document)));
        acts.put("SetDefaultPolicyVersion", () -> iam.setDefaultPolicyVersion(r -> r.policyArn(arn).versionId("v2")));
        acts.put("DeletePolicyVersion", () -> iam.deletePolicyVersion(r -> r.policyArn(arn).versionId("v1")));
        acts.put("DetachRolePolicy (iam.amazonaws.com) in account 111122223333, us-east-1",
                () -> iam.detachRolePolicy(r -> r.roleName("Developer").policyArn(arn)));
        acts.put("DeletePolicy (iam", () -> iam.deletePolicy(r -> r.policyArn(arn)));
        acts.put("AccessDenied", () -> assertThrows(SdkException.class, () -> client(IamClient.builder(),
                "aws-global", developer()).deleteRolePolicy(r -> r.roleName("Developer").policyName(DENY))));
        toldOnce(acts);
    }

    /** Each of the two guards is told by the other one. */
    @Test
    void whatStopsTheWatchIsToldOnce() {
        watched();
        var events = events(REGION);
        var sns = client(SnsClient.builder(), REGION, root);
        var second = sns.subscribe(r -> r.topicArn(TOPIC).protocol("email").endpoint("second@example.com")
                .returnSubscriptionArn(true)).subscriptionArn();
        confirm();
        var cloudtrail = cloudtrail();
        var target = events.listTargetsByRule(r -> r.rule("security-events-trail")).targets().get(0);
        var acts = new LinkedHashMap<String, Runnable>();
        acts.put("Unsubscribe", () -> sns.unsubscribe(r -> r.subscriptionArn(second)));
        acts.put("SetTopicAttributes", () -> sns.setTopicAttributes(r -> r.topicArn(TOPIC)
                .attributeName("DisplayName").attributeValue("x")));
        acts.put("DisableRule", () -> events.disableRule(r -> r.name("security-events-kms")));
        acts.put("Of:  security-events-trail", () -> events.removeTargets(r -> r.rule("security-events-trail")
                .ids("topic")));
        acts.put("PutTargets", () -> events.putTargets(r -> r.rule("security-events-trail")
                .targets(target)));
        acts.put("Of:   security-events-watch", () -> events.removeTargets(r -> r.rule("security-events-watch")
                .ids("topic")));
        acts.put("DeleteRule", () -> events.deleteRule(r -> r.name("security-events-watch")));
        acts.put("PutEventSelectors", () -> cloudtrail.putEventSelectors(r -> r.trailName("all").eventSelectors(
                s -> s.readWriteType("WriteOnly"))));
        acts.put("StopLogging (cloudtrail.amazonaws.com)", () -> cloudtrail.stopLogging(r -> r.name("all")));
        toldOnce(acts);
    }

    @Test
    void whatHappensEveryDayIsNeverTold(@TempDir Path directory) throws Exception {
        var other = aws.kms.createKey(REGION);
        aws.s3.createBucket("photos", REGION);
        aws.codecommit.createApprovalRuleTemplate("two", 2);
        watched();
        var codecommit = codecommit();
        var before = aws.codecommit.repository("payments").resolve("refs/heads/main").name();
        Git.run(directory, "-c", "http.extraHeader=Authorization: " + aws.gitAuthorization(root, "payments"),
                "clone", "-q", aws.endpoint() + "/v1/repos/payments", "work");
        var work = directory.resolve("work");
        push(work, "HEAD:refs/heads/feature");
        Files.writeString(work.resolve("b.txt"), "b\n");
        Git.run(work, "add", "b.txt");
        Git.run(work, "commit", "-q", "-m", "b");
        push(work, "HEAD:refs/heads/main");
        codecommit.createBranch(r -> r.repositoryName("payments").branchName("x").commitId(before));
        codecommit.putFile(r -> r.repositoryName("payments").branchName("x").filePath("c.txt").parentCommitId(before)
                .fileContent(SdkBytes.fromUtf8String("c")));
        codecommit.getBranch(r -> r.repositoryName("payments").branchName("x"));
        codecommit.listRepositories();
        codecommit.createRepository(r -> r.repositoryName("new"));
        codecommit.updateRepositoryDescription(r -> r.repositoryName("new").repositoryDescription("x"));
        codecommit.associateApprovalRuleTemplateWithRepository(
                r -> r.approvalRuleTemplateName("two").repositoryName("new"));
        assertThrows(SdkException.class, () -> codecommit.getRepository(r -> r.repositoryName("none")));
        kms().describeKey(r -> r.keyId(key.arn));
        kms().encrypt(r -> r.keyId(key.arn).plaintext(SdkBytes.fromUtf8String("x")));
        kms().putKeyPolicy(r -> r.keyId(other.keyId).policyName("default").policy(other.policy));
        kms().scheduleKeyDeletion(r -> r.keyId(other.keyId));
        iam().createRole(r -> r.roleName("New").assumeRolePolicyDocument(aws.iam.find("role/Developer").trust));
        iam().putRolePolicy(r -> r.roleName("New").policyName("other").policyDocument(
                "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"s3:GetObject\","
                        + " \"Resource\": \"*\"}]}"));
        iam().deleteRolePolicy(r -> r.roleName("New").policyName("other"));
        s3().putObject(r -> r.bucket(BUCKET).key("a"), RequestBody.fromString("a"));
        s3().deleteBucketPolicy(r -> r.bucket("photos"));
        client(Ec2Client.builder(), REGION, root).describeVpcEndpoints();
        events(REGION).putRule(r -> r.name("theirs").eventPattern("{\"source\": [\"aws.ec2\"]}"));
        events(REGION).deleteRule(r -> r.name("theirs"));
        client(SnsClient.builder(), REGION, root).createTopic(r -> r.name("theirs"));
        cloudtrail().describeTrails();
        cloudtrail().startLogging(r -> r.name("all"));
        assertEquals(List.of(), told());
    }

    @Test
    void onlyTheNamedRepositoriesAreTold() {
        assertEquals(4, run("--repository-names", "payments", "--emails", EMAIL).exitCode());
        confirm();
        var codecommit = codecommit();
        codecommit.deleteRepository(r -> r.repositoryName("website"));
        assertEquals(List.of(), told());
        codecommit.deleteRepository(r -> r.repositoryName("payments"));
        assertEquals(1, told().size());
    }

    @Test
    void onlyTheNamedBranchesAreTold() {
        payments.ref("refs/heads/release/1", "refs/heads/main");
        assertEquals(4, run("--all-repositories", "--branches", "older", "release/*", "--emails", EMAIL).exitCode());
        confirm();
        assertEquals("unchanged", run("--all-repositories").status(), "what is not given stays");
        var acts = new LinkedHashMap<String, Runnable>();
        codecommit().deleteBranch(r -> r.repositoryName("payments").branchName("old"));
        assertEquals(List.of(), told());
        for (var branch : List.of("older", "release/1")) {
            acts.put(branch.equals("older") ? "Security event: referenceDeleted" : "Repository: payments",
                    () -> codecommit().deleteBranch(r -> r.repositoryName("payments").branchName(branch)));
        }
        toldOnce(acts);
    }

    // ---- What is lost without a word

    @Test
    void nobodyIsToldBeforeTheyConfirm() {
        assertEquals(4, run("--all-repositories", "--emails", EMAIL).exitCode());
        var before = topic(REGION).published().size(); // the first of the guards tells of the second one
        codecommit().deleteRepository(r -> r.repositoryName("website"));
        assertEquals(before + 1, topic(REGION).published().size());
        assertEquals(List.of(), told());
        aws.clearCalls();
        var again = run("--all-repositories", "--emails", EMAIL);
        assertEquals(4, again.exitCode());
        assertEquals("unchanged", again.status());
        Script.assertReadsOnly(aws); // no second mail
        confirm();
        assertEquals(0, run("--all-repositories").exitCode());
    }

    @Test
    void aTopicWhoseKeyEventBridgeMayNotUseIsRefused() {
        watched();
        topic(REGION).attributes.put("KmsMasterKeyId", key.arn);
        refused(run("--all-repositories"), "SecurityEventsToTopic", "lost without a word");
        topic(REGION).attributes.put("KmsMasterKeyId", "alias/aws/codecommit");
        refused(run("--all-repositories"), "is managed by AWS");
        Script.assertReadsOnly(aws);
    }

    @Test
    void whatIsMistypedIsRefused() {
        refused(run("--repository-names", "paymnets", "payments"), "no such repository in eu-west-1: paymnets");
        refused(run("--key-ids", "alias/none"), "alias/none: no such key in eu-west-1: check --key-ids and --region, or"
                + " create it first with ./jbang create-kms-key");
        refused(run("--key-ids", key.arn.replace("111122223333", "444455556666")), "444455556666");
        refused(run("--bucket", "my-backup"), "my-backup: there is no such bucket");
        aws.s3.createBucket("theirs", REGION, LocalAws.BACKUP_ACCOUNT);
        aws.s3.createBucket("elsewhere", "eu-central-1");
        refused(run("--bucket", "theirs"), "theirs is another account's bucket");
        refused(run("--bucket", "elsewhere"), "elsewhere is in eu-central-1, not in eu-west-1");
        refused(run("--all-repositories", "--topic-arn", TOPIC), "no topic " + TOPIC + "; with --topic-name");
        refused(run("--all-repositories", "--topic-arn", TOPIC.replace("111122223333", "444455556666")),
                "is of another account than 111122223333");
        Script.assertReadsOnly(aws);
    }

    @Test
    void aTestSendsAMessageToEachTopic() {
        watched();
        var run = run(EVERYTHING, "--test");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("unchanged", run.status());
        assertEquals(2, run.json().path("tests").size());
        assertEquals(2, told().stream().filter(text -> text.startsWith("Test by watch-security-events")).count());
    }

    @Test
    void printsOneValueForTheShell() {
        watched();
        assertEquals(TOPIC + "\n", run("--bucket", BUCKET, "--print", "/topics/0/topicArn").out());
        aws.cloudtrail.createTrail("us-gov-west-1", "gov");
        aws.cloudtrail.createTrail("cn-north-1", "cn");
        var gov = run("--policy-names", DENY, "--region", "us-gov-east-1");
        assertEquals(4, gov.exitCode(), gov.err());
        assertEquals("arn:aws-us-gov:sns:us-gov-west-1:111122223333:security-events",
                gov.json().at("/topics/0/topicArn").asText());
        var china = run("--policy-names", DENY, "--region", "cn-northwest-1");
        assertEquals("arn:aws-cn:sns:cn-north-1:111122223333:security-events",
                china.json().at("/topics/0/topicArn").asText());
    }

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--emails|a@example.com; name at least one of --all-repositories",
            "--repository-names; NAME",
            "--repository-names|pay ments; such as payments",
            "--repository-names|payments.git; such as payments",
            "--repository-names|pay*; such as payments",
            "--repository-names|${x}; such as payments",
            "--repository-names|payments|--all-repositories; mutually exclusive",
            "--all-repositories|--branches|refs/heads/main; such as main",
            "--all-repositories|--branches|release?; such as main",
            "--all-repositories|--branches|a**; such as main",
            "--branches|main; name at least one of --all-repositories",
            "--bucket|my-backups|--branches|main; --branches goes with --repository-names",
            "--key-ids|key; such as alias/codecommit",
            "--key-ids|alias/aws/codecommit; customer managed keys",
            "--key-ids|arn:aws:kms:us-east-1:111122223333:alias/x; --region us-east-1",
            "--policy-names|a/b; such as codecommit-branch-deny-eu-west-1",
            "--policy-names|arn:aws:iam::111122223333:policy/x; such as codecommit-branch-deny-eu-west-1",
            "--policy-names|deny*; such as codecommit-branch-deny-eu-west-1",
            "--bucket|My_Bucket; such as my-backups",
            "--bucket|s3://my-backups; such as my-backups",
            "--all-repositories|--topic-name|a.fifo; FIFO",
            "--all-repositories|--topic-name|a b; such as security-events",
            "--all-repositories|--topic-name|a|--topic-arn|arn:aws:sns:eu-west-1:111122223333:a; mutually exclusive",
            "--all-repositories|--topic-arn|alerts; arn:aws:sns:eu-west-1:111122223333:security-events",
            "--all-repositories|--topic-arn|arn:aws:sns:us-east-1:111122223333:alerts; --region us-east-1",
            "--all-repositories|--emails|operations; operations@example.com",
            "--all-repositories|--emails|a@example.com,b@example.com; operations@example.com",
            "--remove|--all-repositories; --remove goes with",
            "--remove|--test; --remove goes with",
            "--all-repositories|--test|--dry-run; leave one of them out",
            "--all-repositories|--region|Ireland; eu-west-1",
            "--all-repositories|--print|topic; /status",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        Script.assertRefused(run(arguments.split("\\|")), right, aws);
    }

    @Test
    void tooManyNamesForAPatternAreRefusedBeforeAnyCall() {
        var names = Stream.iterate(1, i -> i + 1).limit(40).map(i -> "repository-of-team-" + i);
        Script.assertRefused(run(Stream.concat(Stream.of("--repository-names"), names).toArray(String[]::new)),
                "use --all-repositories", aws);
        var keys = Stream.iterate(10, i -> i + 1).limit(30)
                .map(i -> "00000000-0000-0000-0000-0000000000" + i).collect(Collectors.toList());
        keys.add(0, "--key-ids");
        Script.assertRefused(run(keys.toArray(String[]::new)), "EventBridge takes patterns of 2048 characters", aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("WatchSecurityEvents", ALL, Set.of("sns:TagResource"));
    }
}
