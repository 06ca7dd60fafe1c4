package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eclipse.jgit.api.Git;
import org.eclipse.jgit.transport.RefSpec;
import org.eclipse.jgit.transport.UsernamePasswordCredentialsProvider;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.PutFileRequest;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.eventbridge.model.PutEventsRequestEntry;
import software.amazon.awssdk.services.eventbridge.model.PutRuleRequest;
import software.amazon.awssdk.services.eventbridge.model.RuleState;
import software.amazon.awssdk.services.eventbridge.model.Tag;
import software.amazon.awssdk.services.eventbridge.model.Target;

/** The embedded EventBridge, driven by the AWS SDK for Java: rules, patterns, schedules, and what reaches targets. */
class EventsTest {
    static final String REGION = "eu-west-1";
    static final String PROJECT = "arn:aws:codebuild:eu-west-1:111122223333:project/backup";
    static final String ROLE = "arn:aws:iam::111122223333:role/Invoke";
    static final String PATTERN = "{\"source\":[\"shop\"]}";
    static final String TRUST = """
            {"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},
            "Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"},
            "ArnEquals":{"aws:SourceArn":"arn:aws:events:eu-west-1:111122223333:rule/nightly"}}}}""";

    /** What a target was invoked with. */
    record Invoked(String arn, JsonNode input, Caller session) { }

    @TempDir
    Path temp;
    LocalAws aws;
    EventBridgeClient events;
    Sns.Topic topic;
    final List<Invoked> invoked = new CopyOnWriteArrayList<>();

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        events = client(AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY));
        topic = aws.sns.createTopic(REGION, "alerts");
        topic.attributes.put("Policy", """
                {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"SNS:Publish","Resource":"%s",
                "Principal":{"Service":"events.amazonaws.com"}}]}""".formatted(topic.arn));
        aws.account(LocalAws.ACCOUNT).targets.put("codebuild",
                (arn, input, session) -> invoked.add(new Invoked(arn, input, session)));
        aws.iam.createRole("Invoke").trust = TRUST;
    }

    @AfterEach
    void stop() {
        events.close();
        aws.close();
    }

    EventBridgeClient client(AwsCredentials credentials) {
        return EventBridgeClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(StaticCredentialsProvider.create(credentials))
                .httpClient(UrlConnectionHttpClient.create()).build();
    }

    EventBridgeClient as(String arn) {
        var login = aws.as(arn);
        return client(AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(),
                login.sessionToken()));
    }

    static void assertError(String code, String message, Runnable call) {
        var refused = assertThrows(AwsServiceException.class, call::run);
        assertEquals(code, refused.awsErrorDetails().errorCode(), refused.getMessage());
        assertTrue(refused.awsErrorDetails().errorMessage().contains(message), refused.getMessage());
    }

    static void assertInvalid(String message, Runnable call) {
        assertError("ValidationException", message, call);
    }

    void putRule(String name, String pattern) {
        events.putRule(r -> r.name(name).eventPattern(pattern));
    }

    static Target.Builder target(String id, String arn) {
        return Target.builder().id(id).arn(arn);
    }

    Target.Builder build(String id) {
        return target(id, PROJECT).roleArn(ROLE);
    }

    void putTargets(String rule, Target.Builder... targets) {
        var answer = events.putTargets(
                r -> r.rule(rule).targets(List.of(targets).stream().map(Target.Builder::build).toList()));
        assertEquals(0, answer.failedEntryCount());
    }

    /** Puts an event of the shop on the bus. */
    void shop(String detail) {
        assertEquals(0, events.putEvents(r -> r.entries(entry("shop", "Sold", detail))).failedEntryCount());
    }

    static PutEventsRequestEntry entry(String source, String type, String detail) {
        return PutEventsRequestEntry.builder().source(source).detailType(type).detail(detail).build();
    }

    List<String> texts() {
        return topic.published().stream().map(Sns.Message::text).toList();
    }

    List<String> errors() {
        return aws.events.invocations().stream().map(Events.Invocation::error).toList();
    }

    static ObjectNode json(String text) throws Exception {
        return (ObjectNode) Models.JSON.readTree(text);
    }

    // Rules

    @Test
    void putsTheWholeRuleAndKeepsNothingThatIsLeftOut() {
        var arn = events.putRule(r -> r.name("nightly").eventPattern(PATTERN).scheduleExpression("rate(1 day)")
                .description("d").state(RuleState.DISABLED).tags(tag("a", "1"))).ruleArn();
        assertEquals("arn:aws:events:eu-west-1:111122223333:rule/nightly", arn);
        var first = events.describeRule(r -> r.name("nightly"));
        assertEquals(List.of(PATTERN, "rate(1 day)", "d", "DISABLED", "default", "111122223333"),
                List.of(first.eventPattern(), first.scheduleExpression(), first.description(), first.stateAsString(),
                        first.eventBusName(), first.createdBy()));
        events.putRule(r -> r.name("nightly").scheduleExpression("rate(1 day)").tags(tag("a", "2"), tag("b", "1")));
        var second = events.describeRule(r -> r.name("nightly"));
        assertNull(second.eventPattern());
        assertNull(second.description());
        assertEquals(RuleState.ENABLED, second.state());
        assertEquals(List.of(tag("a", "1")), events.listTagsForResource(r -> r.resourceARN(arn)).tags(),
                "an update does not hear of tags");
    }

    static Tag tag(String key, String value) {
        return Tag.builder().key(key).value(value).build();
    }

    @Test
    void tagsRules() {
        var arn = events.putRule(r -> r.name("nightly").eventPattern(PATTERN)).ruleArn();
        events.tagResource(r -> r.resourceARN(arn).tags(tag("a", "1"), tag("b", "2")));
        events.untagResource(r -> r.resourceARN(arn).tagKeys("a"));
        assertEquals(List.of(tag("b", "2")), events.listTagsForResource(r -> r.resourceARN(arn)).tags());
        assertInvalid("Tag keys", () -> events.tagResource(r -> r.resourceARN(arn).tags(tag("aws:x", "1"))));
        assertError("ResourceNotFoundException", "does not exist",
                () -> events.listTagsForResource(r -> r.resourceARN(arn + "x")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"with space", "slash/ed", "umläut"})
    void refusesNamesOfRules(String name) {
        assertInvalid("failed to satisfy constraint", () -> putRule(name, PATTERN));
    }

    @Test
    void refusesALongNameNoPatternALongPatternAndAnotherBus() {
        assertInvalid("failed to satisfy constraint", () -> putRule("x".repeat(65), PATTERN));
        assertInvalid("EventPattern or ScheduleExpression must be specified",
                () -> events.putRule(r -> r.name("nightly")));
        assertInvalid("length less than or equal to 2048",
                () -> putRule("nightly", "{\"source\":[\"" + "x".repeat(2040) + "\"]}"));
        assertError("ResourceNotFoundException", "Event bus other does not exist",
                () -> events.putRule(r -> r.name("nightly").eventPattern(PATTERN).eventBusName("other")));
        aws.events.rulesPerBus = 1;
        putRule("one", PATTERN);
        putRule("one", PATTERN);
        assertError("LimitExceededException", "", () -> putRule("two", PATTERN));
    }

    @ParameterizedTest
    @ValueSource(strings = {"rate(1 days)", "rate(2 day)", "rate(0 minutes)", "rate(1.5 days)", "rate(5 seconds)",
            "rate(1  day)", "every day", "cron(0 4 * * *)", "cron(0 4 * * * *)", "cron(0 4 ? * ? *)",
            "cron(60 4 * * ? *)", "cron(0 24 * * ? *)", "cron(0 4 32 * ? *)", "cron(0 4 * 13 ? *)",
            "cron(0 4 ? * 8 *)", "cron(0 4 ? * FUN *)", "cron(0 4 * * ? 1969)", "cron(0 4 * * ? * *)",
            "cron(0, 4 * * ? *)", "cron(0 5-4 * * ? *)", "cron(? 4 * * ? *)", "cron(0 4 0W * ? *)", "cron()",
            "cron(0 4 * * ? *", "at(2026-11-26T04:00:00)"})
    void refusesSchedules(String expression) {
        assertInvalid("Parameter ScheduleExpression is not valid.",
                () -> events.putRule(r -> r.name("nightly").scheduleExpression(expression)));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "cron(0 4 * * ? *)          | 2026-11-26T12:34:56Z | 2026-11-27T04:00:00Z",
            "cron(0 4 * * ? *)          | 2026-11-27T03:59:59Z | 2026-11-27T04:00:00Z",
            "cron(0 4 * * ? *)          | 2026-11-27T04:00:00Z | 2026-11-28T04:00:00Z",
            "cron(0/15 8-10 ? * MON *)  | 2026-11-26T12:00:00Z | 2026-11-30T08:00:00Z",
            "cron(0/15 8-10 ? * MON *)  | 2026-11-30T08:00:00Z | 2026-11-30T08:15:00Z",
            "cron(*/20 * * * ? *)       | 2026-11-30T23:40:00Z | 2026-12-01T00:00:00Z",
            "cron(5,35 14 * * ? *)      | 2026-11-30T14:05:00Z | 2026-11-30T14:35:00Z",
            "cron(0 0 L FEB ? *)        | 2026-11-30T00:00:00Z | 2027-02-28T00:00:00Z",
            "cron(0 0 29 2 ? *)         | 2026-11-30T00:00:00Z | 2028-02-29T00:00:00Z",
            "cron(0 9 1W * ? *)         | 2026-10-31T00:00:00Z | 2026-11-02T09:00:00Z",
            "cron(0 9 15W * ? *)        | 2026-11-01T00:00:00Z | 2026-11-16T09:00:00Z",
            "cron(0 9 ? * 6L *)         | 2026-11-01T00:00:00Z | 2026-11-27T09:00:00Z",
            "cron(0 9 ? * TUE#2 *)      | 2026-11-01T00:00:00Z | 2026-11-10T09:00:00Z",
            "cron(0 9 ? * L *)          | 2026-11-01T09:00:00Z | 2026-11-07T09:00:00Z",
            "cron(0 9 1 1 ? 2030-2031)  | 2026-11-01T09:00:00Z | 2030-01-01T09:00:00Z",
            "cron(0 9 1 1 ? 2025)       | 2026-11-01T09:00:00Z |",
            "rate(1 minute)             | 2026-11-26T00:00:10Z | 2026-11-26T00:01:10Z",
            "rate(12 hours)             | 2026-11-27T00:00:09Z | 2026-11-27T00:00:10Z",
            "rate(2 days)               | 2026-11-26T00:00:10Z | 2026-11-28T00:00:10Z"})
    void knowsWhenAScheduleIsDue(String expression, Instant after, Instant due) {
        var schedule = new Schedule(expression, Instant.parse("2026-11-26T00:00:10Z"));
        assertEquals(due, schedule.next(after));
    }

    @Test
    void listsRulesPageByPageAndByPrefix() {
        for (var i = 0; i < 5; i++) putRule("backup-" + i, PATTERN);
        putRule("other", PATTERN);
        var first = events.listRules(r -> r.namePrefix("backup-"));
        assertEquals(2, first.rules().size());
        assertNotNull(first.nextToken());
        var names = new ArrayList<String>();
        for (String token = null;;) {
            var from = token;
            var page = events.listRules(r -> r.namePrefix("backup-").nextToken(from));
            page.rules().forEach(rule -> names.add(rule.name()));
            token = page.nextToken();
            if (token == null) break;
        }
        assertEquals(List.of("backup-0", "backup-1", "backup-2", "backup-3", "backup-4"), names);
    }

    @Test
    void deletesARuleWithoutTargetsAndOneThatIsNotThere() {
        putRule("nightly", PATTERN);
        putTargets("nightly", target("topic", topic.arn));
        assertInvalid("Rule can't be deleted since it has targets.", () -> events.deleteRule(r -> r.name("nightly")));
        events.removeTargets(r -> r.rule("nightly").ids("topic", "never-was"));
        events.deleteRule(r -> r.name("nightly"));
        events.deleteRule(r -> r.name("nightly"));
        assertError("ResourceNotFoundException", "Rule nightly does not exist",
                () -> events.describeRule(r -> r.name("nightly")));
        assertError("ResourceNotFoundException", "", () -> events.removeTargets(r -> r.rule("nightly").ids("topic")));
        assertError("ResourceNotFoundException", "", () -> putTargets("nightly", target("topic", topic.arn)));
    }

    @Test
    void leavesRulesOfOtherServicesAlone() {
        putRule("managed", PATTERN);
        aws.events.rule(REGION, "managed").managedBy = "codepipeline.amazonaws.com";
        assertError("ManagedRuleException", "codepipeline", () -> putRule("managed", PATTERN));
        assertError("ManagedRuleException", "", () -> putTargets("managed", target("topic", topic.arn)));
        assertError("ManagedRuleException", "", () -> events.disableRule(r -> r.name("managed")));
        assertError("ManagedRuleException", "", () -> events.deleteRule(r -> r.name("managed")));
        events.deleteRule(r -> r.name("managed").force(true));
    }

    // Targets

    @Test
    void putsListsAndFindsTargets() {
        putRule("nightly", PATTERN);
        putRule("second", PATTERN);
        putTargets("nightly", target("topic", topic.arn), build("a").input("{\"x\":1}"),
                build("b").input("{}"));
        putTargets("second", target("topic", topic.arn));
        putTargets("nightly", build("a").input("{\"x\":2}"));
        var targets = new TreeMap<String, Target>();
        for (String token = null;;) {
            var from = token;
            var page = events.listTargetsByRule(r -> r.rule("nightly").nextToken(from));
            page.targets().forEach(target -> targets.put(target.id(), target));
            token = page.nextToken();
            if (token == null) break;
        }
        assertEquals(List.of("a", "b", "topic"), List.copyOf(targets.keySet()));
        assertEquals(build("a").input("{\"x\":2}").build(), targets.get("a"));
        assertEquals(List.of("nightly", "second"),
                events.listRuleNamesByTarget(r -> r.targetArn(topic.arn)).ruleNames());
    }

    @Test
    void refusesMoreThanFiveTargetsOfARule() {
        putRule("nightly", PATTERN);
        putTargets("nightly", IntStream.range(0, 5).mapToObj(i -> build("t" + i)).toArray(Target.Builder[]::new));
        putTargets("nightly", build("t4"));
        assertError("LimitExceededException", "", () -> putTargets("nightly", build("t5")));
        assertEquals(5, aws.events.rule(REGION, "nightly").targets.size());
    }

    @Test
    void refusesTargetsThatAreNotRight() {
        putRule("nightly", PATTERN);
        assertInvalid("Only one of Input, InputPath, or InputTransformer",
                () -> putTargets("nightly", build("a").input("{}").inputPath("$.detail")));
        assertInvalid("Only one of Input, InputPath, or InputTransformer", () -> putTargets("nightly",
                build("a").inputPath("$.detail").inputTransformer(t -> t.inputTemplate("\"x\""))));
        assertInvalid("JSON syntax error", () -> putTargets("nightly", build("a").input("{")));
        assertInvalid("Region", () -> putTargets("nightly", target("a", topic.arn.replace(REGION, "us-east-1"))));
        assertInvalid("Provided Arn is not in correct format", () -> putTargets("nightly", target("a", "alerts")));
        assertInvalid("FIFO", () -> putTargets("nightly", target("a", topic.arn + ".fifo")));
        assertInvalid("RoleArn is required", () -> putTargets("nightly", target("a", PROJECT)));
        assertInvalid("given twice", () -> putTargets("nightly", build("a"), build("a")));
        assertEquals(Map.of(), aws.events.rule(REGION, "nightly").targets);
    }

    @ParameterizedTest
    @ValueSource(strings = {"<repo>\", \"x\": <repo>", "{\"a\": <nobody>}", "{\"a\": \"<nobody>\"}", "no quotes",
            "{\"a\": \"<aws.events.event.json>\"}", "{\"a\": <repo>", "{\"a\": 1} {\"b\": 2}"})
    void refusesTemplates(String template) {
        putRule("nightly", PATTERN);
        assertInvalid("InputTemplate", () -> putTargets("nightly", build("a").inputTransformer(
                t -> t.inputPathsMap(Map.of("repo", "$.detail.repo")).inputTemplate(template))));
    }

    @Test
    void refusesRolesThatItCannotAssumeNowOrNotYet() {
        putRule("nightly", PATTERN);
        var message = "Provided role '%s' cannot be assumed by principal 'events.amazonaws.com'.";
        assertInvalid(message.formatted(ROLE + "x"), () -> putTargets("nightly", build("a").roleArn(ROLE + "x")));
        aws.iam.createRole("Other");
        var other = "arn:aws:iam::111122223333:role/Other";
        assertInvalid(message.formatted(other), () -> putTargets("nightly", build("a").roleArn(other)));
        putRule("unexpected", PATTERN);
        assertInvalid(message.formatted(ROLE), () -> putTargets("unexpected", build("a")));
        aws.iam.createRoleVisibleAfter("Young", 2).trust = TRUST;
        var young = "arn:aws:iam::111122223333:role/Young";
        for (var i = 0; i < 2; i++)
            assertInvalid(message.formatted(young), () -> putTargets("nightly", build("a").roleArn(young)));
        putTargets("nightly", build("a").roleArn(young));
    }

    @Test
    void answersWithEntriesThatFailed() {
        putRule("nightly", PATTERN);
        aws.events.failingEntries = 1;
        var answer = events.putTargets(r -> r.rule("nightly").targets(build("a").build(), build("b").build()));
        assertEquals(1, answer.failedEntryCount());
        assertEquals("ConcurrentModificationException", answer.failedEntries().get(0).errorCode());
        assertEquals("a", answer.failedEntries().get(0).targetId());
        assertEquals(1, aws.events.rule(REGION, "nightly").targets.size());
        aws.events.failingEntries = 1;
        assertEquals(1, events.removeTargets(r -> r.rule("nightly").ids("b")).failedEntryCount());
        assertEquals(0, events.removeTargets(r -> r.rule("nightly").ids("b")).failedEntryCount());
    }

    // Who may

    @Test
    void needsToPassTheRoleAndToTagANewRule() {
        putRule("nightly", PATTERN);
        var operator = aws.iam.createRole("Operator");
        operator.inline.put("p", allow("events:PutRule\",\"events:PutTargets", "*", ""));
        try (var client = as("arn:aws:iam::111122223333:role/Operator")) {
            assertError("AccessDeniedException", "iam:PassRole", () -> client.putTargets(
                    r -> r.rule("nightly").targets(build("a").build())));
            operator.inline.put("pass", allow("iam:PassRole", ROLE,
                    ",\"Condition\":{\"StringEquals\":{\"iam:PassedToService\":\"events.amazonaws.com\"}}"));
            client.putTargets(r -> r.rule("nightly").targets(build("a").build()));
            client.putRule(r -> r.name("nightly").eventPattern(PATTERN).tags(tag("a", "1")));
            assertError("AccessDeniedException", "events:TagResource",
                    () -> client.putRule(r -> r.name("tagged").eventPattern(PATTERN).tags(tag("a", "1"))));
            assertError("AccessDeniedException", "events:DeleteRule", () -> client.deleteRule(r -> r.name("nightly")));
        }
    }

    static String allow(String action, String resource, String rest) {
        return "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Action\":[\"" + action
                + "\"],\"Resource\":\"" + resource + "\"" + rest + "}}";
    }

    @Test
    void tellsPoliciesTheTargetsAndTheSourcesOfARuleAsLists() {
        putRule("nightly", PATTERN);
        aws.iam.createRole("Narrow").inline.put("p", """
                {"Version":"2012-10-17","Statement":[
                {"Effect":"Allow","Action":"events:PutTargets","Resource":"*","Condition":{
                 "ForAllValues:ArnEquals":{"events:TargetArn":"%s"},"Null":{"events:TargetArn":"false"}}},
                {"Effect":"Allow","Action":"events:PutRule","Resource":"*","Condition":{
                 "ForAllValues:StringEquals":{"events:source":"shop"},"Null":{"events:source":"false"}}}]}"""
                .formatted(topic.arn));
        try (var client = as("arn:aws:iam::111122223333:role/Narrow")) {
            client.putTargets(r -> r.rule("nightly").targets(target("a", topic.arn).build()));
            assertError("AccessDeniedException", "events:PutTargets", () -> client.putTargets(r -> r.rule("nightly")
                    .targets(target("a", topic.arn).build(), target("b", topic.arn + "x").build())));
            client.putRule(r -> r.name("shop").eventPattern(PATTERN));
            assertError("AccessDeniedException", "events:PutRule", () -> client
                    .putRule(r -> r.name("shop").eventPattern("{\"source\":[\"shop\",\"aws.kms\"]}")));
        }
    }

    // Patterns

    static final String EVENT = """
            {"id":"1","account":"111122223333","source":"aws.codebuild","time":"2026-11-26T04:00:00Z",
             "region":"eu-west-1","resources":["arn:one","arn:two"],"detail-type":"CodeBuild Build State Change",
             "detail":{"status":"FAILED","count":300,"exact":300.0,"none":null,"empty":"","flag":true,"list":[],
              "address":"10.0.1.7","file":"images/logo.PNG","object":{"x":1},
              "steps":[{"name":"a","code":1},{"name":"b","code":2}]}}""";

    boolean matches(String pattern) {
        return events.testEventPattern(r -> r.eventPattern(pattern).event(EVENT)).result();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
            // values
            "true  | {\"source\":[\"aws.codebuild\"]}",
            "false | {\"source\":[\"aws.codecommit\"]}",
            "true  | {\"source\":[\"x\",\"aws.codebuild\"],\"detail\":{\"status\":[\"FAILED\",\"FAULT\"]}}",
            "false | {\"source\":[\"aws.codebuild\"],\"detail\":{\"status\":[\"SUCCEEDED\"]}}",
            "true  | {\"resources\":[\"arn:two\"]}",
            "false | {\"resources\":[\"arn:tw\"]}",
            "true  | {\"detail\":{\"count\":[300]}}",
            "false | {\"detail\":{\"count\":[300.0]}}",
            "false | {\"detail\":{\"count\":[\"300\"]}}",
            "true  | {\"detail\":{\"exact\":[300.0]}}",
            "false | {\"detail\":{\"exact\":[300]}}",
            "true  | {\"detail\":{\"none\":[null]}}",
            "false | {\"detail\":{\"empty\":[null]}}",
            "true  | {\"detail\":{\"empty\":[\"\"]}}",
            "true  | {\"detail\":{\"flag\":[true]}}",
            "false | {\"detail\":{\"flag\":[false]}}",
            "false | {\"detail\":{\"missing\":[null]}}",
            // the last of a key that is given twice wins
            "false | {\"source\":[\"aws.codebuild\"],\"source\":[\"aws.kms\"]}",
            // one element of a list must fit all of an object
            "true  | {\"detail\":{\"steps\":{\"name\":[\"b\"],\"code\":[2]}}}",
            "false | {\"detail\":{\"steps\":{\"name\":[\"b\"],\"code\":[1]}}}",
            // text
            "true  | {\"detail\":{\"file\":[{\"prefix\":\"images/\"}]}}",
            "false | {\"detail\":{\"file\":[{\"prefix\":\"Images/\"}]}}",
            "true  | {\"detail\":{\"file\":[{\"prefix\":{\"equals-ignore-case\":\"IMAGES/\"}}]}}",
            "true  | {\"detail\":{\"file\":[{\"suffix\":\".PNG\"}]}}",
            "false | {\"detail\":{\"file\":[{\"suffix\":\".png\"}]}}",
            "true  | {\"detail\":{\"file\":[{\"suffix\":{\"equals-ignore-case\":\".png\"}}]}}",
            "true  | {\"detail\":{\"status\":[{\"equals-ignore-case\":\"failed\"}]}}",
            "true  | {\"detail\":{\"file\":[{\"wildcard\":\"images/*.PNG\"}]}}",
            "false | {\"detail\":{\"file\":[{\"wildcard\":\"images/*.GIF\"}]}}",
            "false | {\"detail\":{\"file\":[{\"wildcard\":\"images/\\\\*.PNG\"}]}}",
            "false | {\"detail\":{\"count\":[{\"prefix\":\"3\"}]}}",
            // anything but
            "true  | {\"detail\":{\"status\":[{\"anything-but\":\"SUCCEEDED\"}]}}",
            "false | {\"detail\":{\"status\":[{\"anything-but\":[\"SUCCEEDED\",\"FAILED\"]}]}}",
            "true  | {\"detail\":{\"count\":[{\"anything-but\":[1,2]}]}}",
            "false | {\"detail\":{\"count\":[{\"anything-but\":300}]}}",
            "false | {\"detail\":{\"file\":[{\"anything-but\":{\"prefix\":\"images/\"}}]}}",
            "false | {\"detail\":{\"file\":[{\"anything-but\":{\"prefix\":[\"x\",\"images/\"]}}]}}",
            "true  | {\"detail\":{\"file\":[{\"anything-but\":{\"suffix\":\".png\"}}]}}",
            "false | {\"detail\":{\"file\":[{\"anything-but\":{\"equals-ignore-case\":\"IMAGES/logo.png\"}}]}}",
            "false | {\"detail\":{\"file\":[{\"anything-but\":{\"wildcard\":\"*logo*\"}}]}}",
            "false | {\"detail\":{\"missing\":[{\"anything-but\":\"x\"}]}}",
            // numbers and addresses
            "true  | {\"detail\":{\"count\":[{\"numeric\":[\"=\",300.0]}]}}",
            "true  | {\"detail\":{\"count\":[{\"numeric\":[\">\",299,\"<=\",300]}]}}",
            "false | {\"detail\":{\"count\":[{\"numeric\":[\">=\",301]}]}}",
            "false | {\"detail\":{\"status\":[{\"numeric\":[\">\",0]}]}}",
            "true  | {\"detail\":{\"address\":[{\"cidr\":\"10.0.1.0/24\"}]}}",
            "false | {\"detail\":{\"address\":[{\"cidr\":\"10.0.2.0/24\"}]}}",
            "false | {\"detail\":{\"status\":[{\"cidr\":\"10.0.2.0/24\"}]}}",
            // existence, of leaves alone
            "true  | {\"detail\":{\"status\":[{\"exists\":true}]}}",
            "false | {\"detail\":{\"status\":[{\"exists\":false}]}}",
            "true  | {\"detail\":{\"missing\":[{\"exists\":false}]}}",
            "true  | {\"missing\":{\"deeper\":[{\"exists\":false}]}}",
            "false | {\"detail\":{\"missing\":[{\"exists\":true}]}}",
            "false | {\"detail\":{\"object\":[{\"exists\":true}]}}",
            "true  | {\"detail\":{\"object\":[{\"exists\":false}]}}",
            "true  | {\"detail\":{\"list\":[{\"exists\":false}]}}",
            "true  | {\"detail\":{\"none\":[{\"exists\":true}]}}",
            "false | {\"detail\":{\"steps\":{\"code\":[{\"exists\":false}]}}}",
            // or
            "true  | {\"$or\":[{\"source\":[\"x\"]},{\"region\":[\"eu-west-1\"]}]}",
            "false | {\"$or\":[{\"source\":[\"x\"]},{\"region\":[\"y\"]}]}",
            "true  | {\"detail\":{\"$or\":[{\"count\":[1]},{\"status\":[\"FAILED\"]}],\"flag\":[true]}}",
            "false | {\"detail\":{\"$or\":[{\"count\":[1]},{\"status\":[\"FAILED\"]}],\"flag\":[false]}}"})
    void matchesEvents(boolean expected, String pattern) {
        assertEquals(expected, matches(pattern));
    }

    @ParameterizedTest
    @ValueSource(strings = {"{", "[]", "{}", "{\"source\":\"x\"}", "{\"source\":[]}", "{\"source\":{}}",
            "{\"source\":[[\"x\"]]}", "{\"source\":[{\"like\":\"x\"}]}", "{\"source\":[{}]}",
            "{\"source\":[{\"prefix\":\"x\",\"suffix\":\"y\"}]}", "{\"source\":[{\"prefix\":1}]}",
            "{\"source\":[{\"suffix\":[\"x\"]}]}", "{\"source\":[{\"equals-ignore-case\":1}]}",
            "{\"source\":[{\"wildcard\":\"a**b\"}]}", "{\"source\":[{\"wildcard\":\"a\\\\b\"}]}",
            "{\"source\":[{\"anything-but\":[]}]}", "{\"source\":[{\"anything-but\":[\"x\",1]}]}",
            "{\"source\":[{\"anything-but\":null}]}", "{\"source\":[{\"anything-but\":{\"numeric\":[\"=\",1]}}]}",
            "{\"source\":[{\"exists\":\"yes\"}]}", "{\"source\":[{\"cidr\":\"10.0.0.0/33\"}]}",
            "{\"source\":[{\"cidr\":\"10.0.0.0\"}]}", "{\"source\":[{\"cidr\":\"10.0.0.x/8\"}]}",
            "{\"source\":[{\"numeric\":[\">\"]}]}", "{\"source\":[{\"numeric\":[\"!=\",1]}]}",
            "{\"source\":[{\"numeric\":[\">\",5,\"<\",1]}]}", "{\"source\":[{\"numeric\":[\"<\",5,\">\",1]}]}",
            "{\"source\":[{\"numeric\":[\">\",6000000000]}]}", "{\"source\":[{\"numeric\":[\">\",\"1\"]}]}",
            "{\"$or\":[{\"source\":[\"x\"]}]}", "{\"$or\":[\"x\",\"y\"]}", "{\"source\":[\"x\"]} x"})
    void refusesPatterns(String pattern) {
        assertError("InvalidEventPatternException", "Event pattern is not valid. Reason: ",
                () -> events.testEventPattern(r -> r.eventPattern(pattern).event(EVENT)));
        assertError("InvalidEventPatternException", "", () -> putRule("nightly", pattern));
    }

    @Test
    void refusesMoreThanAThousandCombinations() {
        var ten = IntStream.range(0, 10).mapToObj(i -> "{\"a\":[" + i + "]}").collect(Collectors.joining(","));
        var or = "{\"$or\":[" + ten + "]}";
        var thousand = "{\"x\":" + or + ",\"y\":" + or + ",\"z\":" + or + "}";
        assertFalse(matches(thousand));
        assertError("InvalidEventPatternException", "combinations",
                () -> matches(thousand.replace("\"z\":" + or, "\"z\":" + or.replace("[{", "[{\"b\":[1]},{"))));
    }

    @Test
    void testsWholeEventsOnly() {
        for (var member : List.of("id", "account", "source", "time", "region", "resources", "detail-type"))
            assertInvalid("it has no " + member, () -> events.testEventPattern(
                    r -> r.eventPattern(PATTERN).event(EVENT.replace("\"" + member + "\":", "\"other\":"))));
        assertInvalid("Parameter Event is not valid", () -> events.testEventPattern(
                r -> r.eventPattern(PATTERN).event("no event")));
    }

    // Events and inputs

    @Test
    void takesEventsOfTheAccountButNotOfServices() {
        putRule("nightly", "{\"source\":[{\"prefix\":\"\"}]}");
        putTargets("nightly", target("topic", topic.arn));
        var answer = events.putEvents(r -> r.entries(entry("shop", "Sold", "{}"),
                entry("aws.codecommit", "CodeCommit Repository State Change", "{}"), entry("shop", "Sold", "{"),
                entry("shop", "Sold", "[]"), entry("shop", "Sold", null)));
        assertEquals(4, answer.failedEntryCount());
        assertNotNull(answer.entries().get(0).eventId());
        assertEquals(List.of("NotAuthorizedForSourceException", "MalformedDetail", "MalformedDetail",
                "InvalidArgument"), answer.entries().stream().skip(1).map(e -> e.errorCode()).toList());
        assertEquals(1, texts().size());
    }

    @Test
    void handsOverTheWholeEventAPartOrAConstant() throws Exception {
        aws.clock = Clock.fixed(Instant.parse("2026-11-26T04:00:00.5Z"), ZoneOffset.UTC);
        putRule("nightly", PATTERN);
        putTargets("nightly", target("a", topic.arn), build("b").inputPath("$.detail.items[1]"),
                build("c").input("{\"environmentVariablesOverride\":[]}"));
        shop("{\"items\":[1,{\"x\":2}]}");
        var event = json(texts().get(0));
        assertEquals("[1,{\"x\":2}]", event.at("/detail/items").toString());
        event.remove(List.of("id", "detail"));
        assertEquals(json("""
                {"version":"0","detail-type":"Sold","source":"shop","account":"111122223333",
                 "time":"2026-11-26T04:00:00Z","region":"eu-west-1","resources":[]}"""), event);
        assertEquals(List.of("{\"x\":2}", "{\"environmentVariablesOverride\":[]}"),
                invoked.stream().map(i -> i.input().toString()).toList());
        assertEquals(PROJECT, invoked.get(0).arn());
        assertEquals("arn:aws:sts::111122223333:assumed-role/Invoke/EventBridge", invoked.get(0).session().arn());
    }

    void transform(String template, Map<String, String> paths) {
        putRule("nightly", PATTERN);
        putTargets("nightly", target("a", topic.arn)
                .inputTransformer(t -> t.inputPathsMap(paths).inputTemplate(template)));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
            "{\"value\":<repo>} | {\"value\":\"app\"}",
            "{\"value\": <count>, \"all\":<list>} | {\"value\": 3, \"all\":[1,2]}",
            "\"<repo> has <count>\" | \"app has 3\"",
            "\"<repo>\"\\n\"<count>\" | \"app\"\\n\"3\"",
            "\"gone: <absent>.\" | \"gone: .\"",
            "\"<rule>\" | \"\"",
            "{\"rule\":<aws.events.rule-name>,\"arn\":\"<aws.events.rule-arn>\"} "
                    + "| {\"rule\":\"nightly\",\"arn\":\"arn:aws:events:eu-west-1:111122223333:rule/nightly\"}"})
    void transformsInput(String template, String expected) {
        transform(template.replace("\\n", "\n"), Map.of("repo", "$.detail.repo", "count", "$.detail.count", "list",
                "$.detail.list", "absent", "$.detail.absent", "rule", "no path"));
        shop("{\"repo\":\"app\",\"count\":3,\"list\":[1,2]}");
        assertEquals(List.of(expected.replace("\\n", "\n")), texts());
    }

    @Test
    void insertsValuesAsTheyAre() {
        transform("{\"value\":\"<v>\",\"raw\":<v>}", Map.of("v", "$.detail.v"));
        shop("{\"v\":\"x\\\",\\\"admin\\\":\\\"yes\"}");
        assertEquals(List.of("{\"value\":\"x\",\"admin\":\"yes\",\"raw\":\"x\",\"admin\":\"yes\"}"), texts());
    }

    @Test
    void insertsTheEventWithAndWithoutItsDetail() throws Exception {
        transform("{\"all\":<aws.events.event.json>,\"head\":<aws.events.event>}", Map.of());
        shop("{\"v\":1}");
        var text = json(texts().get(0));
        assertEquals("{\"v\":1}", text.at("/all/detail").toString());
        assertEquals("shop", text.at("/head/source").asText());
        assertFalse(text.get("head").has("detail"));
    }

    @Test
    void failsWhenWhatATemplateMadeIsNoJsonForATargetThatWantsIt() {
        putRule("nightly", PATTERN);
        putTargets("nightly", build("a").inputTransformer(
                t -> t.inputPathsMap(Map.of("v", "$.detail.v")).inputTemplate("{\"value\":<v>}")));
        shop("{}");
        shop("{\"v\":1}");
        assertEquals(List.of("{\"value\":1}"), invoked.stream().map(i -> i.input().toString()).toList());
        assertTrue(errors().get(0).startsWith("ValidationException: "), errors().get(0));
        assertNull(errors().get(1));
    }

    // Delivery

    @Test
    void reachesTargetsOfEnabledRulesThatMatchAlone() {
        putRule("nightly", PATTERN);
        putRule("other", "{\"source\":[\"other\"]}");
        putTargets("nightly", target("topic", topic.arn));
        putTargets("other", target("topic", topic.arn));
        shop("{}");
        events.disableRule(r -> r.name("nightly"));
        shop("{}");
        events.enableRule(r -> r.name("nightly"));
        aws.events.publish("us-east-1", "shop", "Sold", List.of(), Models.JSON.createObjectNode());
        assertEquals(1, texts().size());
        assertEquals(List.of("nightly topic"), aws.events.invocations().stream()
                .map(invocation -> invocation.rule() + " " + invocation.targetId()).toList());
    }

    @Test
    void losesWithoutAWordWhatTheTopicDoesNotLetIn() {
        putRule("nightly", PATTERN);
        putTargets("nightly", target("topic", topic.arn), target("gone", topic.arn + "x"));
        topic.attributes.put("Policy", topic.attributes.get("Policy").replace("\"Principal\"",
                "\"Condition\":{\"ArnEquals\":{\"aws:SourceArn\":"
                        + "\"arn:aws:events:eu-west-1:111122223333:rule/nightly\"}},\"Principal\""));
        shop("{}");
        assertEquals(List.of(), texts());
        assertEquals(List.of("AuthorizationError", "NotFound"),
                errors().stream().map(error -> error.replaceFirst(":.*", "")).sorted().toList());
    }

    @Test
    void losesWhatTheKeyOfTheTopicDoesNotLetIn() {
        putRule("nightly", PATTERN);
        putTargets("nightly", target("topic", topic.arn));
        for (var key : List.of("alias/aws/sns", aws.kms.createKey(REGION).arn)) {
            topic.attributes.put("KmsMasterKeyId", key);
            shop("{}");
        }
        assertEquals(List.of(), texts());
        assertTrue(errors().stream().allMatch(error -> error.startsWith("KMSAccessDenied")), errors().toString());
    }

    @Test
    void publishesAsTheTargetsRoleIfThereIsOne() {
        putRule("nightly", PATTERN);
        putTargets("nightly", target("topic", topic.arn).roleArn(ROLE));
        topic.attributes.put("Policy", "{\"Version\":\"2012-10-17\",\"Statement\":[]}");
        shop("{}");
        assertTrue(errors().get(0).contains("assumed-role/Invoke/EventBridge is not authorized to perform: "
                + "sns:Publish"), errors().toString());
        aws.iam.find("role/Invoke").inline.put("publish", allow("sns:Publish", topic.arn, ""));
        shop("{}");
        assertNull(errors().get(1));
        assertEquals(1, texts().size());
    }

    @Test
    void failsWhenTheRoleCannotBeAssumedAnyMoreOrTheTargetRefuses() {
        putRule("nightly", PATTERN);
        putTargets("nightly", build("a"));
        aws.account(LocalAws.ACCOUNT).targets.put("codebuild", (arn, input, session) -> {
            throw new AwsError("AccessDeniedException", session.arn());
        });
        shop("{}");
        aws.iam.find("role/Invoke").trust = TRUST.replace("rule/nightly", "rule/other");
        shop("{}");
        assertEquals(List.of("AccessDeniedException: arn:aws:sts::111122223333:assumed-role/Invoke/EventBridge",
                "ValidationException: Provided role '" + ROLE
                        + "' cannot be assumed by principal 'events.amazonaws.com'."), errors());
    }

    // Schedules

    @Test
    void firesAllThatBecomesDueWhileTheClockIsMoved() throws Exception {
        aws.clock = Clock.fixed(Instant.parse("2026-11-26T12:00:00Z"), ZoneOffset.UTC);
        events.putRule(r -> r.name("nightly").scheduleExpression("cron(0 4 * * ? *)"));
        putTargets("nightly", target("topic", topic.arn));
        events.putRule(r -> r.name("often").scheduleExpression("rate(12 hours)"));
        putTargets("often", target("topic", topic.arn).input("\"often\""));
        events.putRule(r -> r.name("off").scheduleExpression("rate(1 minute)").state(RuleState.DISABLED));
        putTargets("off", target("topic", topic.arn));
        aws.advanceTo(Instant.parse("2026-11-28T04:00:00Z"));
        assertEquals(List.of("often 2026-11-27T00:00:00Z", "nightly 2026-11-27T04:00:00Z",
                "often 2026-11-27T12:00:00Z", "often 2026-11-28T00:00:00Z", "nightly 2026-11-28T04:00:00Z"),
                aws.events.invocations().stream().map(i -> i.rule() + " " + i.time()).toList());
        assertEquals("\"often\"", texts().get(0));
        var event = json(texts().get(1));
        event.remove("id");
        assertEquals(json("""
                {"version":"0","detail-type":"Scheduled Event","source":"aws.events","account":"111122223333",
                 "time":"2026-11-27T04:00:00Z","region":"eu-west-1","detail":{},
                 "resources":["arn:aws:events:eu-west-1:111122223333:rule/nightly"]}"""), event);
        assertEquals(Instant.parse("2026-11-28T04:00:00Z"), aws.clock.instant());
        aws.advanceTo(Instant.parse("2026-11-28T04:00:00Z"));
        assertEquals(5, texts().size());
    }

    @Test
    void countsARateFromTheTimeThatItWasGiven() {
        aws.clock = Clock.fixed(Instant.parse("2026-11-26T12:00:00Z"), ZoneOffset.UTC);
        var rule = PutRuleRequest.builder().name("often").scheduleExpression("rate(2 hours)").build();
        events.putRule(rule);
        putTargets("often", target("topic", topic.arn));
        aws.advanceTo(Instant.parse("2026-11-26T13:00:00Z"));
        events.putRule(rule);
        aws.advanceTo(Instant.parse("2026-11-26T14:00:00Z"));
        assertEquals(1, texts().size());
        events.removeTargets(r -> r.rule("often").ids("topic"));
        events.deleteRule(r -> r.name("often"));
        aws.advanceTo(Instant.parse("2026-11-26T15:00:00Z"));
        events.putRule(rule);
        putTargets("often", target("topic", topic.arn));
        aws.advanceTo(Instant.parse("2026-11-26T16:59:00Z"));
        assertEquals(1, texts().size());
        aws.advanceTo(Instant.parse("2026-11-26T17:00:00Z"));
        assertEquals(2, texts().size());
    }

    // CodeCommit

    static final String PUSHES = """
            {"source":["aws.codecommit"],"detail-type":["CodeCommit Repository State Change"]}""";

    List<JsonNode> changes() throws Exception {
        var changes = new ArrayList<JsonNode>();
        for (var text : texts()) changes.add(json(text));
        return changes;
    }

    @Test
    void tellsOfReferencesThatCallsChange() throws Exception {
        putRule("pushes", PUSHES);
        putTargets("pushes", target("topic", topic.arn));
        var repo = aws.codecommit.createRepository("app");
        try (var codecommit = CodeCommitClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(StaticCredentialsProvider.create(
                        AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY)))
                .httpClient(UrlConnectionHttpClient.create()).build()) {
            var file = PutFileRequest.builder().repositoryName("app").branchName("main").filePath("a")
                    .fileContent(SdkBytes.fromUtf8String("1")).build();
            var first = codecommit.putFile(file).commitId();
            var second = codecommit.putFile(file.toBuilder().parentCommitId(first).filePath("b").build()).commitId();
            codecommit.createBranch(r -> r.repositoryName("app").branchName("side").commitId(first));
            codecommit.deleteBranch(r -> r.repositoryName("app").branchName("side"));
            var changes = changes();
            assertEquals(json("""
                    {"event":"referenceUpdated","repositoryName":"app","referenceType":"branch","referenceName":"main",
                     "referenceFullName":"refs/heads/main","repositoryId":"%s","commitId":"%s","oldCommitId":"%s"}"""
                    .formatted(repo.id, second, first)), changes.get(1).get("detail"));
            assertEquals(List.of(repo.arn), changes.get(1).get("resources").valueStream().map(JsonNode::asText)
                    .toList());
            assertEquals(List.of("referenceCreated", "referenceUpdated", "referenceCreated", "referenceDeleted"),
                    changes.stream().map(c -> c.at("/detail/event").asText()).toList());
            assertFalse(changes.get(0).get("detail").has("oldCommitId"));
            assertFalse(changes.get(3).get("detail").has("commitId"));
            assertEquals(first, changes.get(3).at("/detail/oldCommitId").asText());
        }
    }

    @Test
    void tellsOfReferencesThatAPushChangesAndOfNoOthers() throws Exception {
        putRule("pushes", PUSHES);
        putTargets("pushes", target("topic", topic.arn));
        aws.codecommit.createRepository("app");
        var authorization = aws.gitAuthorization("app").substring("Basic ".length());
        var login = new String(Base64.getDecoder().decode(authorization)).split(":", 2);
        var url = aws.endpoint() + "/v1/repos/app";
        var signIn = new UsernamePasswordCredentialsProvider(login[0], login[1]);
        try (var git = Git.init().setDirectory(temp.toFile()).setInitialBranch("main").call()) {
            var first = git.commit().setMessage("one").setAllowEmpty(true).call();
            git.tag().setName("v1").setAnnotated(true).setMessage("first").call();
            git.push().setRemote(url).setCredentialsProvider(signIn).setRefSpecs(new RefSpec("refs/heads/main"),
                    new RefSpec("refs/tags/v1"), new RefSpec("refs/heads/main:refs/notes/x")).call();
            git.commit().setMessage("two").setAllowEmpty(true).call();
            git.push().setRemote(url).setCredentialsProvider(signIn).setRefSpecs(new RefSpec("refs/heads/main"),
                    new RefSpec("refs/heads/main:refs/heads/$(x)\";y")).call();
            git.push().setRemote(url).setCredentialsProvider(signIn).setRefSpecs(new RefSpec("refs/heads/main"),
                    new RefSpec(":refs/tags/v1")).call();
            assertEquals(List.of("referenceCreated branch main", "referenceCreated tag v1",
                    "referenceUpdated branch main", "referenceCreated branch $(x)\";y", "referenceDeleted tag v1"),
                    changes().stream().map(c -> c.get("detail")).map(d -> d.get("event").asText() + " "
                            + d.get("referenceType").asText() + " " + d.get("referenceName").asText()).toList());
            assertEquals(first.name(), changes().get(1).at("/detail/commitId").asText(), "the commit of a tag");
        }
    }

    @Test
    void movesTheClockWithoutSchedules() {
        aws.advanceTo(Instant.parse("2030-01-01T00:00:00Z"));
        assertEquals(Instant.parse("2030-01-01T00:00:00Z"), aws.clock.instant());
    }
}
