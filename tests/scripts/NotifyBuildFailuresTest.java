import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import localaws.Call;
import localaws.Fault;
import localaws.LocalAws;
import localaws.Sns;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.services.cloudwatch.CloudWatchClient;
import software.amazon.awssdk.services.cloudwatch.model.MetricAlarm;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.eventbridge.model.DescribeRuleResponse;
import software.amazon.awssdk.services.eventbridge.model.ResourceNotFoundException;
import software.amazon.awssdk.services.eventbridge.model.Target;
import software.amazon.awssdk.services.sns.SnsClient;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class NotifyBuildFailuresTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";
    static final String PROJECT = "nightly";
    static final String RULE = "build-failures-nightly";
    static final String TOPIC = "arn:aws:sns:eu-west-1:111122223333:build-failures";
    static final String EMAIL = "operations@example.com";
    static final List<String> ALARMS = List.of("build-failed-nightly", "build-silent-nightly",
            "build-undelivered-nightly");
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    LocalAws aws;
    CloudWatchClient cloudwatch;
    EventBridgeClient events;
    SnsClient sns;

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        Script.use(aws);
        Projects.create(aws, REGION, PROJECT, "false");
        var root = "arn:aws:iam::111122223333:root";
        cloudwatch = SignedIn.client(aws, CloudWatchClient.builder(), REGION, root);
        events = SignedIn.client(aws, EventBridgeClient.builder(), REGION, root);
        sns = SignedIn.client(aws, SnsClient.builder(), REGION, root);
        aws.clearCalls();
        aws.onCall(call -> collect(call));
    }

    /** The script's calls; the test makes its own as the root user. */
    static void collect(Call call) {
        if (call.caller().endsWith(":user/operator")) {
            ALL.add(call);
        }
    }

    @AfterEach
    void stop() {
        Stream.of(cloudwatch, events, sns).forEach(client -> client.close());
        aws.close();
    }

    static Script.Run run(String... args) {
        var script = new NotifyBuildFailures();
        script.newsPatience = Duration.ofSeconds(5);
        script.testPatience = Duration.ofSeconds(5);
        return Script.run(script.commandLine(), args);
    }

    Script.Run watch(String... more) {
        return run(Stream.concat(Stream.of("--project-names", PROJECT), Stream.of(more)).toArray(String[]::new));
    }

    /** Watched, with a subscriber who has confirmed. */
    void watched() {
        assertEquals(4, watch("--emails", EMAIL).exitCode());
        subscriber().confirmed = true;
        aws.clearCalls();
    }

    Sns.Topic topic() {
        return aws.sns.topic(REGION, "build-failures");
    }

    Sns.Subscription subscriber() {
        return topic().subscription(EMAIL);
    }

    List<MetricAlarm> alarms() {
        return cloudwatch.describeAlarmsPaginator().metricAlarms().stream().toList();
    }

    MetricAlarm alarm(String name) {
        return alarms().stream().filter(alarm -> alarm.alarmName().equals(name)).findFirst().orElseThrow();
    }

    DescribeRuleResponse rule() {
        return events.describeRule(r -> r.name(RULE));
    }

    boolean hasRule(String name) {
        try {
            return events.describeRule(r -> r.name(name)) != null;
        } catch (ResourceNotFoundException e) {
            return false;
        }
    }

    List<Target> targets() {
        return events.listTargetsByRule(r -> r.rule(RULE)).targets();
    }

    List<String> sids() {
        return policy().path("Statement").valueStream().map(statement -> statement.path("Sid").asText()).toList();
    }

    ObjectNode policy() {
        try {
            return (ObjectNode) JSON.readTree(topic().attributes.get("Policy"));
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }

    void editPolicy(Consumer<ObjectNode> edit) {
        var policy = policy();
        edit.accept(policy);
        topic().attributes.put("Policy", policy.toString());
    }

    static List<String> fields(Script.Run run) {
        return run.json().path("changes").valueStream().map(change -> change.path("field").asText()).toList();
    }

    static List<String> strings(JsonNode list) {
        return list.valueStream().map(JsonNode::asText).toList();
    }

    // ---- The contract

    @Test
    void makesATopicARuleAndThreeAlarms() {
        var run = watch("--emails", EMAIL);
        assertEquals(4, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(List.of("topic", "policy", "subscription", "rule", "target", "alarm", "alarm", "alarm"),
                fields(run));
        assertEquals(TOPIC, run.json().at("/topic/topicArn").asText());
        assertEquals(List.of(EMAIL), strings(run.json().at("/topic/pending")));
        assertEquals(ALARMS, strings(run.json().at("/projects/0/alarmNames")));
        assertEquals(List.of("__default_statement_ID", "BuildEvents", "BuildAlarms"), sids());
        assertEquals("arn:aws:cloudwatch:eu-west-1:111122223333:alarm:build-*",
                policy().at("/Statement/2/Condition/ArnLike/aws:SourceArn").asText());
        assertTrue(rule().eventPattern().contains("\"project-name\":[\"nightly\"]"), rule().eventPattern());
        assertEquals(List.of(TOPIC), targets().stream().map(Target::arn).toList());
        assertNotNull(targets().get(0).inputTransformer());
        assertEquals(ALARMS, alarms().stream().map(MetricAlarm::alarmName).toList());
        for (var alarm : alarms()) {
            assertEquals(List.of(TOPIC), alarm.alarmActions());
            assertEquals(List.of(TOPIC), alarm.okActions());
        }
        assertEquals(26, alarm("build-silent-nightly").evaluationPeriods());
        assertEquals("FILL(m1,0)", alarm("build-silent-nightly").metrics().get(1).expression());
        assertEquals(RULE, alarm("build-undelivered-nightly").dimensions().get(0).value());
    }

    @Test
    void aSecondRunChangesNothing() {
        watched();
        Script.assertUnchanged(watch("--emails", EMAIL, "--max-silence", "26h", "--topic-name", "build-failures"), aws);
        Script.assertUnchanged(watch("--topic-arn", TOPIC, "--no-raw"), aws);
        assertEquals("updated", watch("--max-silence", "30h", "--raw").status());
        aws.clearCalls();
        Script.assertUnchanged(watch(), aws);
        assertEquals(30, alarm("build-silent-nightly").evaluationPeriods(), "what is not given stays");
        assertNull(targets().get(0).inputTransformer());
    }

    @Test
    void aDryRunReadsOnly() {
        var planned = watch("--emails", EMAIL, "--dry-run");
        assertEquals(0, planned.exitCode(), planned.err());
        assertEquals("would-create", planned.status());
        assertEquals(List.of("BuildEvents", "BuildAlarms"), planned.json().at("/topic/policy/Statement").valueStream()
                .map(statement -> statement.path("Sid").asText()).toList());
        assertEquals(PROJECT, planned.json().at("/projects/0/eventPattern/detail/project-name/0").asText());
        Script.assertReadsOnly(aws);
        watched();
        var update = watch("--max-silence", "50h", "--emails", "second@example.com", "--dry-run");
        assertEquals("would-create", update.status());
        assertEquals(List.of("subscription", "alarm"), fields(update));
        assertEquals("would-delete", watch("--remove", "--dry-run").status());
        Script.assertReadsOnly(aws);
    }

    @Test
    void mendsWhatItOwnsAndKeepsWhatOthersAdded() {
        watched();
        editPolicy(policy -> {
            policy.withArray("Statement").remove(1);
            policy.withArray("Statement").addObject().put("Sid", "Theirs").put("Effect", "Allow")
                    .put("Action", "sns:Publish").put("Resource", TOPIC)
                    .putObject("Principal").put("Service", "codecommit.amazonaws.com");
        });
        events.putRule(r -> r.name(RULE).eventPattern("{\"source\":[\"aws.codebuild\"]}").description("mine"));
        events.putTargets(r -> r.rule(RULE).targets(
                Target.builder().id("topic").arn("arn:aws:sns:eu-west-1:111122223333:other").build(),
                Target.builder().id("theirs").arn("arn:aws:sns:eu-west-1:111122223333:other").build()));
        events.disableRule(r -> r.name(RULE));
        cloudwatch.putMetricAlarm(r -> r.alarmName(ALARMS.get(0)).namespace("AWS/CodeBuild").metricName("FailedBuilds")
                .statistic("Sum").period(60).evaluationPeriods(1).threshold(9.0)
                .comparisonOperator("GreaterThanThreshold"));
        cloudwatch.deleteAlarms(r -> r.alarmNames(ALARMS.get(2)));
        var run = watch("--no-raw");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(List.of("policy", "rule", "target", "alarm", "alarm"), fields(run));
        assertEquals(Set.of("__default_statement_ID", "Theirs", "BuildEvents", "BuildAlarms"), Set.copyOf(sids()));
        assertTrue(run.err().contains("kept statements that are not this script's: Theirs"), run.err());
        assertTrue(run.err().contains("kept targets that are not this script's: theirs"), run.err());
        assertEquals("ENABLED", rule().stateAsString());
        assertEquals(1.0, alarm(ALARMS.get(0)).threshold());
        aws.clearCalls();
        Script.assertUnchanged(watch(), aws);
        assertEquals(2, targets().size());
        var undo = run.json().path("undo").asText();
        for (var command : List.of("aws cloudwatch delete-alarms --alarm-names build-undelivered-nightly",
                "aws cloudwatch put-metric-alarm --cli-input-json", "aws events put-targets --cli-input-json",
                "aws events put-rule --cli-input-json", "aws sns set-topic-attributes --cli-input-json")) {
            assertTrue(undo.contains(command), command + " is not in " + undo);
        }
    }

    /** Retries and a dead-letter queue of the target are the operator's. */
    @Test
    void whatATargetHasBesidesStays() {
        watched();
        events.putTargets(r -> r.rule(RULE).targets(targets().get(0).toBuilder()
                .retryPolicy(policy -> policy.maximumRetryAttempts(3).maximumEventAgeInSeconds(60)).build()));
        assertEquals("unchanged", watch().status());
        assertEquals("updated", watch("--raw").status());
        assertEquals(3, targets().get(0).retryPolicy().maximumRetryAttempts());
    }

    @Test
    void anotherProjectGetsItsOwnRuleAndTheSameTopic() {
        watched();
        Projects.create(aws, REGION, "hourly", "true");
        var run = run("--project-names", "hourly", PROJECT, "--max-silence", "26h");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of("rule", "target", "alarm", "alarm", "alarm"), fields(run));
        assertEquals(6, alarms().size());
        var removed = watch("--remove");
        assertEquals("deleted", removed.status());
        assertTrue(removed.err().contains("other rules or alarms send to it: "), removed.err());
        assertTrue(removed.err().contains(" build-failures-hourly"), removed.err());
        assertEquals(3, alarms().size());
        assertTrue(sids().contains("BuildEvents"), "the other project's");
        assertEquals("deleted", run("--project-names", "hourly", "--remove").status());
        assertNull(topic());
    }

    @Test
    void theTopicThatTheProjectsHaveStays() {
        assertEquals("created", watch("--topic-name", "alerts").status());
        aws.clearCalls();
        var again = watch();
        assertEquals("unchanged", again.status(), again.out());
        assertEquals(TOPIC.replace("build-failures", "alerts"), again.json().at("/topic/topicArn").asText());
        Script.assertReadsOnly(aws);
        assertNull(topic());
        Projects.create(aws, REGION, "hourly", "true");
        run("--project-names", "hourly", "--topic-name", "others");
        var both = run("--project-names", PROJECT, "hourly");
        assertEquals(1, both.exitCode());
        assertTrue(both.err().contains("there are several topics in use"), both.err());
        assertEquals("deleted", watch("--remove").status());
        assertNull(aws.sns.topic(REGION, "alerts"));
    }

    @Test
    void aTopicThatAnotherAlarmUsesStays() {
        watched();
        cloudwatch.putMetricAlarm(r -> r.alarmName("theirs").namespace("AWS/S3").metricName("x").period(300)
                .evaluationPeriods(1).threshold(1.0).statistic("Sum").alarmActions(TOPIC)
                .comparisonOperator("GreaterThanThreshold"));
        var run = watch("--remove");
        assertEquals("deleted", run.status());
        assertTrue(run.err().contains("other rules or alarms send to it: theirs"), run.err());
        assertNotNull(topic());
        assertTrue(sids().contains("BuildAlarms"));
    }

    /** Two names that Java gives one hash code. */
    @Test
    void aLongNameStillMakesARule() {
        var names = Stream.of("Aa", "BB").map(end -> "a".repeat(148) + end).toList();
        names.forEach(name -> Projects.create(aws, REGION, name, "true"));
        assertEquals("created", run("--project-names", names.get(0), names.get(1)).status());
        assertEquals(2, events.listRules(r -> r.namePrefix("build-")).rules().size());
        assertEquals("unchanged", run("--project-names", names.get(0), names.get(1)).status());
    }

    @Test
    void takesBackWhatItMade() {
        watched();
        var run = watch("--remove");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("deleted", run.status());
        assertEquals(List.of("target", "rule", "alarm", "alarm", "alarm", "topic"), fields(run));
        assertFalse(hasRule(RULE));
        assertEquals(List.of(), alarms());
        assertNull(topic());
        var undo = run.json().path("undo").asText();
        assertTrue(undo.startsWith("aws sns create-topic --cli-input-json")
                && undo.endsWith("--region eu-west-1"), undo);
        aws.clearCalls();
        var again = watch("--remove");
        Script.assertUnchanged(again, aws);
        assertEquals("created", watch().status(), "though SNS remembers the tags of the deleted topic");
    }

    @Test
    void leavesWhatOthersUseWhenItTakesBack() {
        sns.createTopic(r -> r.name("build-failures"));
        watched();
        var foreignTopic = watch("--remove", "--emails", EMAIL);
        assertEquals(List.of("target", "rule", "alarm", "alarm", "alarm", "policy", "subscription"),
                fields(foreignTopic));
        assertTrue(foreignTopic.err().contains("as this script did not create it"), foreignTopic.err());
        assertEquals(List.of("__default_statement_ID"), sids());
        assertNull(subscriber());
        sns.deleteTopic(r -> r.topicArn(TOPIC));

        watched();
        events.putTargets(r -> r.rule(RULE).targets(Target.builder().id("theirs").arn(TOPIC).build()));
        var foreignTarget = watch("--remove");
        assertTrue(foreignTarget.err().contains("has targets that are not this script's: "), foreignTarget.err());
        assertEquals(List.of("theirs"), targets().stream().map(Target::id).toList());
        events.removeTargets(r -> r.rule(RULE).ids("theirs"));

        var queue = sns.subscribe(r -> r.topicArn(TOPIC).protocol("sqs")
                .endpoint("arn:aws:sqs:eu-west-1:111122223333:builds").returnSubscriptionArn(true)).subscriptionArn();
        var foreignSubscription = watch("--remove");
        assertTrue(foreignSubscription.err().contains("subscriptions that are not this script's: arn:aws:sqs"),
                foreignSubscription.err());
        sns.unsubscribe(r -> r.subscriptionArn(queue));
        editPolicy(policy -> policy.withArray("Statement").addObject().put("Sid", "Theirs").put("Effect", "Allow")
                .put("Action", "sns:Publish").put("Resource", TOPIC).putObject("Principal").put("AWS", "111122223333"));
        var foreignStatement = watch("--remove");
        assertTrue(foreignStatement.err().contains("statements that are not this script's: Theirs"),
                foreignStatement.err());
        assertNotNull(topic());
    }

    // ---- Others at the same time, and failures

    @Test
    void twoOperatorsAtOnceComeToTheSame() {
        var run = Gate.inStep(aws, call -> {
            collect(call);
            if (call.name().equals("sns:GetTopicAttributes") && topic() == null) { // the other one is a step ahead
                aws.sns.createTopic(REGION, "build-failures").tags.put("codecommit-toolkit:created-by",
                        "notify-build-failures");
            }
        }, () -> watch());
        assertEquals(4, run.exitCode(), run.err());
        assertEquals(List.of("BuildEvents", "BuildAlarms"), sids().subList(1, 3));
        assertEquals("unchanged", watch().status());
    }

    @Test
    void goesOnWithATopicThatSomeoneElseCreatedMeanwhile() {
        aws.inject(Fault.on("sns:GetTopicAttributes").error(404, "NotFound", "Topic does not exist"));
        sns.createTopic(r -> r.name("build-failures"));
        var run = watch();
        assertEquals(4, run.exitCode(), run.err());
        assertTrue(run.err().contains("someone else created it in the meantime"), run.err());
        assertEquals(List.of("policy", "rule", "target", "alarm", "alarm", "alarm"), fields(run));
    }

    /** Both read the policy, both write it: the second one takes the first one's statements away. */
    @Test
    void aPolicyThatSomeoneElseOverwritesIsWrittenAgain() {
        watched();
        editPolicy(policy -> policy.withArray("Statement").remove(2));
        var overwritten = topic().attributes.get("Policy");
        var writes = new ArrayList<Call>();
        var run = Gate.inStep(aws, call -> {
            collect(call);
            if (call.name().equals("sns:SetTopicAttributes") && writes.isEmpty()) {
                topic().attributes.put("Policy", overwritten);
            }
            if (call.name().equals("sns:SetTopicAttributes")) {
                writes.add(call);
            }
        }, () -> watch());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(2, writes.size());
        assertTrue(sids().contains("BuildAlarms"), sids().toString());
    }

    @Test
    void whatSomeoneElseRemovesMeanwhileIsRemoved() {
        watched();
        aws.inject(Fault.on("events:RemoveTargets").error(400, "ResourceNotFoundException", "Rule does not exist."));
        aws.inject(Fault.on("cloudwatch:DeleteAlarms").error(404, "ResourceNotFound", "Unknown alarm"));
        var run = Gate.inStep(aws, call -> {
            collect(call);
            if (call.name().equals("cloudwatch:DescribeAlarms")) { // the script has read the targets
                aws.events.rule(REGION, RULE).targets = Map.of();
            }
        }, () -> watch("--remove"));
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains(RULE + ": someone else removed it in the meantime"), run.err());
        assertTrue(run.err().contains("build-failed-nightly: someone else deleted it in the meantime"), run.err());
        assertFalse(hasRule(RULE));
    }

    @ParameterizedTest
    @CsvSource({"sns:SetTopicAttributes, 'changed before that: topic'", "sns:Subscribe, 'topic, policy'",
            "events:PutRule, 'changed before that: topic, policy, subscription'",
            "events:PutTargets, 'topic, policy, subscription, rule'",
            "cloudwatch:PutMetricAlarm, 'topic, policy, subscription, rule, target'"})
    void aStepThatFailsNamesWhatWasChangedBefore(String call, String named) {
        aws.inject(Fault.on(call).error(400, "LimitExceededException", "too many"));
        var run = watch("--emails", EMAIL);
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertTrue(run.err().contains("LimitExceeded") && run.err().contains(named), run.err());
        aws.clearFaults();
        assertEquals(4, watch("--emails", EMAIL).exitCode());
        assertEquals(ALARMS.size(), alarms().size());
    }

    @Test
    void aTargetThatEventBridgeRefusesIsToldThoughTheAnswerIsNoError() {
        watched();
        events.removeTargets(r -> r.rule(RULE).ids("topic"));
        IntStream.range(0, 5).forEach(i -> events.putTargets(r -> r.rule(RULE).targets(
                Target.builder().id("theirs-" + i).arn(TOPIC).build())));
        var run = watch();
        assertEquals(1, run.exitCode(), run.err());
        assertTrue(run.err().contains("LimitExceeded"), run.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"codebuild:BatchGetProjects", "sns:GetTopicAttributes", "sns:CreateTopic",
            "sns:SetTopicAttributes", "sns:Subscribe", "events:PutRule", "events:PutTargets",
            "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"})
    void throttlingAndLostAnswersAreSurvived(String call) {
        aws.inject(Fault.on(call).times(2).throttle());
        var run = watch("--emails", EMAIL);
        assertEquals(4, run.exitCode(), run.err());
        assertEquals("created", run.status());
        run("--project-names", PROJECT, "--remove");
        aws.inject(Fault.on(call).loseAnswer());
        assertEquals(4, watch("--emails", EMAIL).exitCode());
        assertEquals(1, topic().subscriptions().size());
    }

    @Test
    void aProjectThatDoesNotExistIsRefused() {
        var run = run("--project-names", PROJECT, "nightli");
        assertEquals(1, run.exitCode());
        assertEquals("notify-build-failures: no such CodeBuild project in eu-west-1: nightli\n", run.err());
        Script.assertReadsOnly(aws);
    }

    @Test
    void aTopicThatIsNotThereOrNotOursIsRefused() {
        var missing = watch("--topic-arn", TOPIC);
        assertEquals(1, missing.exitCode());
        assertTrue(missing.err().contains("no topic " + TOPIC + "; with --topic-name"), missing.err());
        var foreign = watch("--topic-arn", "arn:aws:sns:eu-west-1:444455556666:alerts");
        assertEquals(1, foreign.exitCode());
        assertTrue(foreign.err().contains("is of another account than 111122223333"), foreign.err());
        Script.assertReadsOnly(aws);
    }

    // ---- What is told

    @Test
    void aBuildThatFailsIsToldByEventAndByAlarm() {
        watched();
        Projects.build(aws, REGION, PROJECT);
        var event = subscriber().received();
        assertEquals(1, event.size(), event.toString());
        assertTrue(event.get(0).text().contains(
                "Build of nightly in account 111122223333, eu-west-1: FAILED. Build arn:aws:codebuild:"),
                event.get(0).text());
        advance(Duration.ofMinutes(2));
        assertTrue(told("build-failed-nightly", "ALARM"), subscriber().received().toString());
        watch("--raw");
        Projects.build(aws, REGION, PROJECT);
        var last = subscriber().received().get(subscriber().received().size() - 1).text();
        assertTrue(last.startsWith("{") && last.contains("\"detail-type\":\"CodeBuild Build State Change\""), last);
    }

    void advance(Duration time) {
        aws.advanceTo(aws.clock.instant().plus(time));
    }

    boolean told(String alarm, String state) {
        return subscriber().received().stream().anyMatch(message -> message.text().contains("\"AlarmName\":\"" + alarm)
                && message.text().contains("\"NewStateValue\":\"" + state));
    }

    void succeed() {
        count("SucceededBuilds");
    }

    void count(String metric) {
        aws.cloudwatch.put(REGION, "AWS/CodeBuild", metric, Map.of("ProjectName", PROJECT), 1);
    }

    String silence() {
        return aws.cloudwatch.state(REGION, "build-silent-nightly");
    }

    static Instant at(String time) {
        return Instant.parse("2026-03-" + time + ":00Z");
    }

    void watchedSince(String time) {
        aws.clock = Clock.fixed(at(time), ZoneOffset.UTC);
        watched();
    }

    /** Nothing to compare with: it is silent from the first look on. */
    @Test
    void aProjectThatNeverSucceededIsSilentAtOnce() {
        watchedSince("02T10:20");
        aws.advanceTo(at("02T11:02"));
        assertEquals("INSUFFICIENT_DATA", silence());
        aws.advanceTo(at("02T11:03"));
        assertEquals("ALARM", silence());
        assertTrue(told("build-silent-nightly", "ALARM"));
        succeed();
        advance(Duration.ofHours(1));
        assertEquals("OK", silence());
        assertTrue(told("build-silent-nightly", "OK"), "that it is over");
    }

    /** The last night at several minutes: the alarm is within the hour that follows the 26. */
    @ParameterizedTest
    @ValueSource(strings = {"04:03", "04:20", "04:41", "04:59"})
    void aProjectThatStoppedIsSilentAfter26HoursAndBefore27(String minute) {
        watchedSince("02T01:00");
        for (var day = 2; day <= 4; day++) {
            aws.advanceTo(at("0" + day + "T" + minute));
            succeed();
        }
        var last = aws.clock.instant();
        aws.advanceTo(last.plus(Duration.ofHours(26)));
        assertEquals("OK", silence());
        var before = subscriber().received().size();
        aws.advanceTo(last.plus(Duration.ofHours(27)));
        assertEquals("ALARM", silence());
        aws.advanceTo(last.plus(Duration.ofDays(7)));
        assertEquals("ALARM", silence());
        assertEquals(before + 1, subscriber().received().size(), "once, and not again every day");
    }

    @Test
    void aNightThatIsAnHourLateIsNotSilent() {
        watchedSince("02T01:00");
        for (var time : List.of("02T04:20", "03T04:20", "04T05:20", "05T04:20", "06T06:05", "07T04:20")) {
            aws.advanceTo(at(time));
            succeed();
        }
        advance(Duration.ofHours(20));
        assertEquals("OK", silence());
        assertEquals(1, subscriber().received().stream().filter(message -> message.text()
                .contains("\"AlarmName\":\"build-silent-nightly\",") && message.text().contains(
                        "\"NewStateValue\":\"ALARM\"")).count(), "before the first night, and never again");
    }

    @Test
    void aProjectThatFailsEveryNightIsSilent() {
        watchedSince("02T01:00");
        aws.advanceTo(at("02T04:20"));
        succeed();
        for (var time : List.of("03T04:20", "04T04:20", "05T04:20")) {
            aws.advanceTo(at(time));
            count("FailedBuilds");
            assertEquals(at(time).isAfter(at("03T07:00")) ? "ALARM" : "OK", silence());
        }
        assertEquals(at("03T07:03"), aws.cloudwatch.changed(REGION, "build-silent-nightly"), "26 h 43 min");
        advance(Duration.ofMinutes(2));
        assertEquals("ALARM", aws.cloudwatch.state(REGION, "build-failed-nightly"));
    }

    @Test
    void anotherSilenceIsAnotherNumberOfHours() {
        watchedSince("02T01:00");
        watch("--max-silence", "3h");
        aws.advanceTo(at("02T04:20"));
        succeed();
        aws.advanceTo(at("02T07:19"));
        assertEquals("OK", silence());
        aws.advanceTo(at("02T07:23"));
        assertEquals("ALARM", silence());
    }

    // ---- What is lost without a word

    @Test
    void nobodyIsToldBeforeTheyConfirm() {
        var run = watch("--emails", EMAIL, "second@example.com");
        assertEquals(4, run.exitCode());
        assertEquals("unconfirmed", run.json().at("/findings/0/code").asText());
        assertTrue(run.err().contains("confirm by the mail to operations@example.com, second@example.com"), run.err());
        Projects.build(aws, REGION, PROJECT);
        assertEquals(1, topic().published().size());
        assertEquals(List.of(), subscriber().received());
        aws.clearCalls();
        var again = watch("--emails", EMAIL);
        assertEquals(4, again.exitCode());
        assertEquals("unchanged", again.status());
        Script.assertReadsOnly(aws); // no second mail
        subscriber().confirmed = true;
        var confirmed = watch("--emails", EMAIL);
        assertEquals(0, confirmed.exitCode());
        assertEquals(List.of(EMAIL), strings(confirmed.json().at("/topic/confirmed")));
        assertEquals(List.of("second@example.com"), strings(confirmed.json().at("/topic/pending")));
        Projects.build(aws, REGION, PROJECT);
        assertEquals(1, subscriber().received().size());
        assertEquals(4, run("--project-names", PROJECT, "--topic-name", "deaf").exitCode());
    }

    /** A condition in the statement for EventBridge: it never matches, and only the alarm on the rule says so. */
    @Test
    void aConditionThatEventBridgeNeverMeetsIsFoundByTheAlarmAndMended() {
        watched();
        editPolicy(policy -> ((ObjectNode) policy.at("/Statement/1")).putObject("Condition").putObject("ArnLike")
                .put("aws:SourceArn", "arn:aws:events:eu-west-1:111122223333:rule/*"));
        Projects.build(aws, REGION, PROJECT);
        assertEquals(List.of(), subscriber().received());
        advance(Duration.ofMinutes(2));
        assertTrue(told("build-undelivered-nightly", "ALARM"), subscriber().received().toString());
        var run = watch();
        assertEquals("updated", run.status());
        assertEquals(List.of("policy"), fields(run));
        var before = subscriber().received().size();
        Projects.build(aws, REGION, PROJECT);
        assertEquals(before + 1, subscriber().received().size());
    }

    /** @param statement of the template */
    static ObjectNode keyStatement(int statement) throws Exception {
        var text = Toolkit.read("policies/build-failures-key.json").replace("${account}", "111122223333")
                .replace("${partition}", "aws").replace("${region}", REGION);
        return (ObjectNode) JSON.readTree(text).path("Statement").get(statement);
    }

    @Test
    void aKeyThatDoesNotLetThemPublishIsRefusedBeforeAnythingIsChanged() throws Exception {
        var key = aws.kms.createKey(REGION);
        var refused = watch("--kms-key-id", key.arn, "--emails", EMAIL);
        assertEquals(1, refused.exitCode());
        assertTrue(refused.err().contains("BuildEventsToTopic") && refused.err().contains("BuildAlarmsToTopic"),
                refused.err());
        Script.assertReadsOnly(aws);
        var policy = (ObjectNode) JSON.readTree(key.policy);
        policy.withArray("Statement").add(keyStatement(0)).add(keyStatement(1));
        // EventBridge never meets it
        ((ObjectNode) policy.at("/Statement/1")).putObject("Condition").putObject("StringEquals")
                .put("aws:SourceAccount", "111122223333");
        key.policy = policy.toString();
        var half = watch("--kms-key-id", key.arn);
        assertEquals(1, half.exitCode());
        assertTrue(half.err().contains("BuildEventsToTopic") && !half.err().contains("BuildAlarmsToTopic"), half.err());
        ((ObjectNode) policy.at("/Statement/1")).remove("Condition");
        key.policy = policy.toString();
        var run = watch("--kms-key-id", key.keyId, "--emails", EMAIL, "--test");
        assertEquals(4, run.exitCode(), run.err());
        assertTrue(run.json().at("/test/delivered").asBoolean(), run.out());
        assertEquals(key.arn, topic().attributes.get("KmsMasterKeyId"));
        subscriber().confirmed = true;
        Projects.build(aws, REGION, PROJECT);
        assertEquals(1, subscriber().received().size());
        aws.clearCalls();
        Script.assertUnchanged(watch("--kms-key-id", key.arn), aws);
        // the grant goes away later: without --kms-key-id, too, it is looked at
        key.policy = ((ObjectNode) policy.deepCopy()).toString().replace("events.amazonaws.com", "s3.amazonaws.com");
        assertEquals(1, watch().exitCode());
    }

    @Test
    void aKeyOfAwsOrOneThatIsDisabledIsRefused() {
        watched();
        topic().attributes.put("KmsMasterKeyId", "alias/aws/codecommit");
        assertTrue(watch().err().contains("is managed by AWS, and lets neither EventBridge nor CloudWatch publish"));
        var key = aws.kms.createKey(REGION);
        key.state = "Disabled";
        assertTrue(watch("--kms-key-id", key.arn).err().contains("is Disabled; enable it with: aws kms enable-key"));
        assertTrue(watch("--kms-key-id", "alias/none").err().contains("no key alias/none in eu-west-1"));
        Script.assertReadsOnly(aws);
    }

    @Test
    void aTestSaysWhetherSnsTookTheMessage() {
        watched();
        var run = watch("--test");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("unchanged", run.status());
        assertEquals("build-failed-nightly", run.json().at("/test/alarmName").asText());
        assertTrue(run.json().at("/test/delivered").asBoolean());
        assertTrue(told("build-failed-nightly", "ALARM"));
        assertEquals(0, watch("--test").exitCode(), "from ALARM, too");
        // a Deny of someone else's, which is no business of the script's
        editPolicy(policy -> policy.withArray("Statement").addObject().put("Sid", "Theirs").put("Effect", "Deny")
                .put("Action", "sns:Publish").put("Resource", TOPIC).put("Principal", "*"));
        var lost = watch("--test");
        assertEquals(4, lost.exitCode());
        assertEquals("undelivered", lost.json().at("/findings/0/code").asText());
        assertFalse(lost.json().at("/test/delivered").asBoolean());
        assertTrue(lost.json().at("/test/error").asText().contains("SNS:Publish"), lost.out());
    }

    @Test
    void printsOneValueForTheShell() {
        watched();
        assertEquals(TOPIC + "\n", watch("--print", "/topic/topicArn").out());
        assertEquals("arn:aws-cn:sns:cn-north-1:111122223333:build-failures", partitionTopic("cn-north-1"));
        assertEquals("arn:aws-us-gov:sns:us-gov-west-1:111122223333:build-failures", partitionTopic("us-gov-west-1"));
    }

    String partitionTopic(String region) {
        var name = "elsewhere-" + region;
        Projects.create(aws, region, name, "true");
        var run = run("--project-names", name, "--region", region);
        assertEquals(4, run.exitCode(), run.err());
        assertEquals("unchanged", run("--project-names", name, "--region", region).status());
        return run.json().at("/topic/topicArn").asText();
    }

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--emails|a@example.com; --project-names",
            "--project-names; NAME",
            "--project-names|a; such as codecommit-backup",
            "--project-names|-ab; --project-names",
            "--project-names|night ly; such as codecommit-backup",
            "--project-names|_nightly; such as codecommit-backup",
            "--project-names|arn:aws:codebuild:eu-west-1:111122223333:project/nightly; such as codecommit-backup",
            "--project-names|nightly|${x}; such as codecommit-backup",
            "--project-names|nightly|--topic-name|a.fifo; FIFO",
            "--project-names|nightly|--topic-name|a b; such as build-failures",
            "--project-names|nightly|--topic-name|alerts|--topic-arn|arn:aws:sns:eu-west-1:111122223333:alerts; "
                    + "mutually exclusive",
            "--project-names|nightly|--topic-arn|alerts; arn:aws:sns:eu-west-1:111122223333:build-failures",
            "--project-names|nightly|--topic-arn|arn:aws:sqs:eu-west-1:111122223333:alerts; arn:aws:sns:",
            "--project-names|nightly|--topic-arn|arn:aws:sns:eu-west-1:111122223333:a.fifo; FIFO",
            "--project-names|nightly|--topic-arn|arn:aws:sns:us-east-1:111122223333:alerts; --region us-east-1",
            "--project-names|nightly|--emails|operations; operations@example.com",
            "--project-names|nightly|--emails|a@example.com,b@example.com; operations@example.com",
            "--project-names|nightly|--emails|a@localhost; operations@example.com",
            "--project-names|nightly|--emails|Ops <a@example.com>; operations@example.com",
            "--project-names|nightly|--max-silence|26; such as 26h",
            "--project-names|nightly|--max-silence|0h; such as 26h",
            "--project-names|nightly|--max-silence|90m; such as 26h",
            "--project-names|nightly|--max-silence|169h; 168h",
            "--project-names|nightly|--max-silence|a day; such as 26h",
            "--project-names|nightly|--kms-key-id|key; such as alias/codecommit",
            "--project-names|nightly|--kms-key-id|arn:aws:kms:us-east-1:111122223333:alias/x; --region us-east-1",
            "--project-names|nightly|--remove|--max-silence|26h; --remove goes with",
            "--project-names|nightly|--remove|--test; --remove goes with",
            "--project-names|nightly|--remove|--raw; --remove goes with",
            "--project-names|nightly|--test|--dry-run; leave one of them out",
            "--project-names|nightly|--region|Ireland; eu-west-1",
            "--project-names|nightly|--print|topic; /status",
            "--project-names|nightly|--project; --project-names",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        Script.assertRefused(run(arguments.split("\\|")), right, aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("NotifyBuildFailures", ALL, Set.of("sns:TagResource"));
    }
}
