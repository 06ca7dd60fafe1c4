package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchClient;
import software.amazon.awssdk.services.cloudwatch.model.AlarmHistoryItem;
import software.amazon.awssdk.services.cloudwatch.model.ComparisonOperator;
import software.amazon.awssdk.services.cloudwatch.model.Dimension;
import software.amazon.awssdk.services.cloudwatch.model.HistoryItemType;
import software.amazon.awssdk.services.cloudwatch.model.MetricAlarm;
import software.amazon.awssdk.services.cloudwatch.model.MetricDataQuery;
import software.amazon.awssdk.services.cloudwatch.model.PutMetricAlarmRequest;
import software.amazon.awssdk.services.cloudwatch.model.ScanBy;
import software.amazon.awssdk.services.cloudwatch.model.StateValue;
import software.amazon.awssdk.services.cloudwatch.model.Statistic;
import software.amazon.awssdk.services.cloudwatch.model.Tag;
import software.amazon.awssdk.services.sns.SnsClient;

/** The embedded CloudWatch, driven by the AWS SDK for Java: what AWS does, and what it refuses. */
class CloudWatchTest {
    static final String REGION = "eu-west-1";
    static final Instant START = Instant.parse("2026-03-02T10:00:00Z");
    static final Map<String, String> PROJECT = Map.of("ProjectName", "nightly");

    LocalAws aws;
    CloudWatchClient cloudwatch;
    SnsClient sns;
    String topicArn;

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        aws.clock = Clock.fixed(START, ZoneOffset.UTC);
        var operator = AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY);
        cloudwatch = client(operator);
        sns = SnsClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(StaticCredentialsProvider.create(operator))
                .httpClient(UrlConnectionHttpClient.create()).build();
        topicArn = sns.createTopic(r -> r.name("alerts")).topicArn();
        setPolicy(statement(""));
    }

    @AfterEach
    void stop() {
        cloudwatch.close();
        sns.close();
        aws.close();
    }

    CloudWatchClient client(AwsCredentials credentials) {
        return CloudWatchClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(StaticCredentialsProvider.create(credentials))
                .httpClient(UrlConnectionHttpClient.create()).build();
    }

    void setPolicy(String statement) {
        sns.setTopicAttributes(r -> r.topicArn(topicArn).attributeName("Policy").attributeValue(
                "{\"Version\":\"2012-10-17\",\"Statement\":[" + statement.replace('\'', '"') + "]}"));
    }

    String statement(String condition) {
        return "{'Effect':'Allow','Principal':{'Service':'cloudwatch.amazonaws.com'},'Action':'sns:Publish',"
                + "'Resource':'" + topicArn + "'" + condition + "}";
    }

    /** An alarm on builds that failed, of five minutes. */
    static PutMetricAlarmRequest.Builder failures(String name) {
        return PutMetricAlarmRequest.builder().alarmName(name).namespace("AWS/CodeBuild").metricName("FailedBuilds")
                .dimensions(Dimension.builder().name("ProjectName").value("nightly").build())
                .statistic(Statistic.SUM).period(300).evaluationPeriods(1).threshold(1.0)
                .comparisonOperator(ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD);
    }

    static MetricDataQuery metric(String id, String name, int period) {
        return MetricDataQuery.builder().id(id).returnData(false).metricStat(stat -> stat.period(period).stat("Sum")
                .metric(metric -> metric.namespace("AWS/CodeBuild").metricName(name)
                        .dimensions(Dimension.builder().name("ProjectName").value("nightly").build())))
                .build();
    }

    static MetricDataQuery expression(String id, String text) {
        return MetricDataQuery.builder().id(id).expression(text).build();
    }

    /** An alarm on hours without a success. */
    static PutMetricAlarmRequest.Builder silence(String name, int hours) {
        return PutMetricAlarmRequest.builder().alarmName(name)
                .metrics(metric("m1", "SucceededBuilds", 3600), expression("e1", "FILL(m1, 0)"))
                .evaluationPeriods(hours).datapointsToAlarm(hours).threshold(1.0).treatMissingData("breaching")
                .comparisonOperator(ComparisonOperator.LESS_THAN_THRESHOLD);
    }

    void put(PutMetricAlarmRequest.Builder alarm) {
        cloudwatch.putMetricAlarm(alarm.build());
    }

    void count(String metric) {
        aws.cloudwatch.put(REGION, "AWS/CodeBuild", metric, PROJECT, 1);
    }

    void advance(Duration time) {
        aws.advanceTo(aws.clock.instant().plus(time));
    }

    MetricAlarm alarm(String name) {
        return cloudwatch.describeAlarms(r -> r.alarmNames(name)).metricAlarms().get(0);
    }

    String state(String name) {
        return alarm(name).stateValueAsString();
    }

    static void assertError(String code, Runnable call) {
        var refused = assertThrows(AwsServiceException.class, call::run);
        assertEquals(code, refused.awsErrorDetails().errorCode(), refused.getMessage());
    }

    // ---- Alarms

    @Test
    void anAlarmIsWhatWasPutAndBeginsWithoutData() {
        put(failures("failed").alarmDescription("a build failed").alarmActions(topicArn)
                .treatMissingData("notBreaching"));
        var alarm = alarm("failed");
        assertEquals("arn:aws:cloudwatch:eu-west-1:111122223333:alarm:failed", alarm.alarmArn());
        assertEquals("a build failed", alarm.alarmDescription());
        assertEquals(StateValue.INSUFFICIENT_DATA, alarm.stateValue());
        assertTrue(alarm.actionsEnabled());
        assertEquals(List.of(topicArn), alarm.alarmActions());
        assertEquals(300, alarm.period());
        assertEquals(1.0, alarm.threshold());
        assertEquals(START, alarm.alarmConfigurationUpdatedTimestamp());
        put(silence("silent", 26));
        assertEquals("FILL(m1, 0)", alarm("silent").metrics().get(1).expression());
        assertEquals("nightly", alarm("silent").metrics().get(0).metricStat().metric().dimensions().get(0).value());
        assertEquals(List.of("failed", "silent"), cloudwatch.describeAlarmsPaginator().metricAlarms().stream()
                .map(MetricAlarm::alarmName).toList());
        assertEquals(1, cloudwatch.describeAlarms(r -> r.alarmNamePrefix("fa")).metricAlarms().size());
        assertEquals(0, cloudwatch.describeAlarms(r -> r.stateValue(StateValue.ALARM)).metricAlarms().size());
        assertEquals(1, cloudwatch.describeAlarms(r -> r.actionPrefix("arn:aws:sns")).metricAlarms().size());
    }

    @Test
    void anUpdateReplacesAllButTheStateAndTheTags() {
        put(failures("failed").alarmDescription("one").tags(Tag.builder().key("Team").value("a").build()));
        count("FailedBuilds");
        advance(Duration.ofMinutes(1));
        assertEquals("ALARM", state("failed"));
        put(failures("failed").threshold(2.0).tags(Tag.builder().key("Team").value("b").build()));
        assertEquals("ALARM", state("failed"));
        assertNull(alarm("failed").alarmDescription());
        assertEquals(2.0, alarm("failed").threshold());
        var arn = alarm("failed").alarmArn();
        assertEquals("a", cloudwatch.listTagsForResource(r -> r.resourceARN(arn)).tags().get(0).value());
        cloudwatch.tagResource(r -> r.resourceARN(arn).tags(Tag.builder().key("Team").value("b").build()));
        assertEquals("b", cloudwatch.listTagsForResource(r -> r.resourceARN(arn)).tags().get(0).value());
        advance(Duration.ofMinutes(1));
        assertEquals("OK", state("failed"));
    }

    @Test
    void pagesAreFollowed() {
        aws.cloudwatch.pageSize = 2;
        IntStream.range(0, 5).forEach(i -> put(failures("alarm-" + i)));
        assertEquals(2, cloudwatch.describeAlarms().metricAlarms().size());
        assertEquals(5, cloudwatch.describeAlarmsPaginator().metricAlarms().stream().count());
        assertEquals(5, cloudwatch.describeAlarmHistoryPaginator().alarmHistoryItems().stream().count());
        assertError("InvalidNextToken", () -> cloudwatch.describeAlarms(r -> r.nextToken("x")));
    }

    @Test
    void whatIsNotThereCannotBeChanged() {
        put(failures("failed"));
        assertError("ResourceNotFound", () -> cloudwatch.deleteAlarms(r -> r.alarmNames("failed", "nothing")));
        assertEquals("INSUFFICIENT_DATA", state("failed"), "none of them is deleted");
        assertError("ResourceNotFound", () -> cloudwatch.setAlarmState(
                r -> r.alarmName("nothing").stateValue(StateValue.ALARM).stateReason("x")));
        assertError("InvalidFormat", () -> cloudwatch.setAlarmState(r -> r.alarmName("failed")
                .stateValue(StateValue.ALARM).stateReason("x").stateReasonData("{")));
        cloudwatch.deleteAlarms(r -> r.alarmNames("failed"));
        assertEquals(List.of(), cloudwatch.describeAlarms(r -> r.alarmNames("failed")).metricAlarms());
    }

    /** Each with what makes it wrong. */
    static final Map<String, Consumer<PutMetricAlarmRequest.Builder>> REFUSED = Map.ofEntries(
            Map.entry("no period of whole minutes", r -> r.period(61)),
            Map.entry("more than a day in periods below an hour", r -> r.period(1800).evaluationPeriods(49)),
            Map.entry("more than a week", r -> r.period(86400).evaluationPeriods(8)),
            Map.entry("more points than periods", r -> r.datapointsToAlarm(2)),
            Map.entry("no way to treat missing data", r -> r.treatMissingData("notbreaching")),
            Map.entry("no threshold", r -> r.threshold(null)),
            Map.entry("no metric", r -> r.metricName(null)),
            Map.entry("no namespace", r -> r.namespace(null)),
            Map.entry("no statistic", r -> r.statistic((Statistic) null)),
            Map.entry("two statistics", r -> r.extendedStatistic("p90")),
            Map.entry("an unknown statistic", r -> r.statistic("Median")),
            Map.entry("an unknown comparison", r -> r.comparisonOperator("Equals")),
            Map.entry("a topic of another Region", r -> r.alarmActions("arn:aws:sns:us-east-1:111122223333:alerts")),
            Map.entry("no ARN", r -> r.okActions("alerts")),
            Map.entry("six actions", r -> r.alarmActions(IntStream.range(0, 6)
                    .mapToObj(i -> "arn:aws:sns:eu-west-1:111122223333:t" + i).toList())),
            Map.entry("no name", r -> r.alarmName("")),
            Map.entry("a long name", r -> r.alarmName("a".repeat(256))),
            Map.entry("a control character", r -> r.alarmName("a\nb")));

    @Test
    void whatAwsRefusesIsRefused() {
        REFUSED.forEach((what, change) -> assertError("ValidationError",
                () -> cloudwatch.putMetricAlarm(failures("x").applyMutation(change).build())));
        put(failures("a day").period(900).evaluationPeriods(96));
        put(failures("a week").period(86400).evaluationPeriods(7));
        put(failures("26 hours").period(3600).evaluationPeriods(26));
        assertEquals(3, cloudwatch.describeAlarms().metricAlarms().size());
    }

    @Test
    void metricMathThatAwsRefusesIsRefused() {
        var m1 = metric("m1", "SucceededBuilds", 3600);
        List<List<MetricDataQuery>> refused = List.of(
                List.of(m1), // nothing returned
                List.of(m1, expression("e1", "m1"), expression("e2", "m1")), // two returned
                List.of(m1, expression("m1", "FILL(m1,0)")), // an id twice
                List.of(m1, expression("E1", "FILL(m1,0)")),
                List.of(m1, expression("e1", "FILL(m2,0)")),
                List.of(m1, expression("e1", "FILL(m1)")),
                List.of(m1, expression("e1", "FILL(m1,0))")),
                List.of(m1, expression("e1", "1 + 2")),
                List.of(m1, expression("e1", "e1 + m1")),
                List.of(m1, expression("e1", "m1 +")),
                List.of(m1, MetricDataQuery.builder().id("e1").build()),
                List.of(metric("m1", "SucceededBuilds", 61), expression("e1", "FILL(m1,0)")));
        for (var queries : refused) {
            assertError("ValidationError", () -> put(silence("x", 26).metrics(queries)));
        }
        assertError("ValidationError", () -> put(silence("x", 26).period(3600)));
        assertError("ValidationError", () -> put(silence("x", 26).metricName("SucceededBuilds")));
        assertError("ValidationError", () -> put(silence("x", 169)));
        put(silence("x", 168));
    }

    // ---- Evaluation

    /**
     * The tables of the guide ("Configuring how CloudWatch alarms treat missing data"): 0 is within the threshold, X
     * breaches it, - is missing; the oldest first, the last three are the evaluation periods. The alarm was in ALARM.
     */
    @ParameterizedTest
    @CsvSource({
            "3, 0-X-X, OK, OK, OK, OK", "3, 0----, OK, OK, OK, OK",
            "3, ----0, OK, OK, OK, OK", "3, -----, INSUFFICIENT_DATA, ALARM, ALARM, OK",
            "3, 0XX-X, ALARM, ALARM, ALARM, ALARM", "3, --X--, ALARM, ALARM, ALARM, OK",
            "2, 0-X-X, ALARM, ALARM, ALARM, ALARM", "2, 00X0X, ALARM, ALARM, ALARM, ALARM",
            "2, 0-X--, OK, OK, ALARM, OK", "2, ----0, OK, OK, ALARM, OK",
            "2, ---X-, ALARM, ALARM, ALARM, OK"})
    void missingPointsAreTreatedAsTheGuideSays(int needed, String points, String missing, String ignore,
            String breaching, String notBreaching) {
        var wanted = Map.of("missing", missing, "ignore", ignore, "breaching", breaching, "notBreaching", notBreaching);
        for (var i = 0; i < points.length(); i++) {
            if (points.charAt(i) != '-') {
                aws.cloudwatch.put(REGION, "AWS/CodeBuild", "FailedBuilds", PROJECT, points.charAt(i) == 'X' ? 1 : 0);
            }
            if (i == points.length() - 1) {
                wanted.keySet().forEach(treatment -> putInAlarm(treatment, needed));
            }
            advance(Duration.ofMinutes(1));
        }
        wanted.forEach((treatment, state) -> assertEquals(state, aws.cloudwatch.state(REGION, treatment), treatment));
    }

    private void putInAlarm(String treatment, int needed) {
        put(failures(treatment).period(60).evaluationPeriods(3).datapointsToAlarm(needed).treatMissingData(treatment));
        setOff(treatment);
    }

    @Test
    void anAlarmOfMinutesLooksBackFromEachMinute() {
        aws.advanceTo(START.plusSeconds(150));
        put(failures("failed").treatMissingData("notBreaching"));
        count("FailedBuilds"); // of 10:02
        advance(Duration.ofMinutes(1));
        assertEquals("ALARM", state("failed"));
        aws.advanceTo(START.plus(Duration.ofMinutes(17)));
        assertEquals("ALARM", state("failed"), "an older point counts before missing ones");
        advance(Duration.ofMinutes(1));
        assertEquals("OK", state("failed"));
        assertEquals(START.plus(Duration.ofMinutes(18)), alarm("failed").stateUpdatedTimestamp());
    }

    /** The construction that one finds everywhere, and why it is no use. */
    @Test
    void anAlarmOnADayWithoutPointsComesDaysLate() {
        put(failures("naive").metricName("SucceededBuilds").period(86400).treatMissingData("breaching")
                .comparisonOperator(ComparisonOperator.LESS_THAN_THRESHOLD));
        count("SucceededBuilds");
        advance(Duration.ofHours(71));
        assertEquals("OK", state("naive"), "older points count before missing ones");
        advance(Duration.ofHours(2));
        assertEquals("ALARM", state("naive"));
    }

    @Test
    void anAlarmOfMoreThanADayIsEvaluatedOnceAnHourOnWholeHours() {
        put(silence("silent", 26));
        aws.advanceTo(START.plus(Duration.ofMinutes(20)));
        count("SucceededBuilds"); // of 10:20
        aws.advanceTo(START.plus(Duration.ofMinutes(62)));
        assertEquals("ALARM", state("silent"), "at 10:03 there was none yet");
        advance(Duration.ofMinutes(1));
        assertEquals("OK", state("silent"));
        aws.advanceTo(START.plus(Duration.ofHours(27)).plusSeconds(179)); // 13:02:59 of the next day
        assertEquals("OK", state("silent"));
        advance(Duration.ofSeconds(1));
        assertEquals("ALARM", state("silent"));
    }

    @Test
    void mathIsDoneWithEachPoint() {
        put(PutMetricAlarmRequest.builder().alarmName("share").metrics(metric("failed", "FailedBuilds", 60),
                metric("all", "Builds", 60), expression("filled", "FILL(failed, 0)").toBuilder().returnData(false)
                        .build(), expression("share", "100 * (filled / all) - 0.5"))
                .evaluationPeriods(1).threshold(49.5)
                .comparisonOperator(ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD));
        count("Builds");
        count("Builds");
        count("FailedBuilds");
        advance(Duration.ofMinutes(1));
        assertEquals("ALARM", state("share"));
        IntStream.range(0, 3).forEach(i -> count("Builds"));
        count("FailedBuilds");
        advance(Duration.ofMinutes(1));
        assertEquals("OK", state("share"));
    }

    // ---- Notifications

    List<AlarmHistoryItem> history(String name, HistoryItemType type) {
        return cloudwatch.describeAlarmHistoryPaginator(r -> r.alarmName(name).historyItemType(type)
                .scanBy(ScanBy.TIMESTAMP_ASCENDING)).alarmHistoryItems().stream().toList();
    }

    JsonNode lastAction(String name) throws Exception {
        return Models.JSON.readTree(cloudwatch.describeAlarmHistory(r -> r.alarmName(name)
                .historyItemType(HistoryItemType.ACTION)).alarmHistoryItems().get(0).historyData());
    }

    void setOff(String name) {
        cloudwatch.setAlarmState(r -> r.alarmName(name).stateValue(StateValue.ALARM).stateReason("a test"));
    }

    @Test
    void aChangeOfStateNotifiesOnceAndStandsInTheHistory() throws Exception {
        put(failures("failed").alarmActions(topicArn).okActions(topicArn).treatMissingData("notBreaching"));
        advance(Duration.ofMinutes(1));
        count("FailedBuilds");
        advance(Duration.ofMinutes(3));
        var published = aws.sns.topic(REGION, "alerts").published();
        assertEquals(2, published.size(), "OK, then ALARM, and not again while it lasts");
        assertEquals("ALARM: \"failed\" in Europe (Ireland)", published.get(1).subject());
        var message = Models.JSON.readTree(published.get(1).text());
        assertEquals("failed", message.path("AlarmName").asText());
        assertEquals("ALARM", message.path("NewStateValue").asText());
        assertEquals("OK", message.path("OldStateValue").asText());
        assertEquals("Succeeded", lastAction("failed").path("actionState").asText());
        assertEquals(topicArn, lastAction("failed").path("notificationResource").asText());
        assertEquals(List.of("Alarm updated from INSUFFICIENT_DATA to OK", "Alarm updated from OK to ALARM"),
                history("failed", HistoryItemType.STATE_UPDATE).stream().map(item -> item.historySummary()).toList());
        assertEquals("Alarm \"failed\" created",
                history("failed", HistoryItemType.CONFIGURATION_UPDATE).get(0).historySummary());
        put(failures("quiet").alarmActions(topicArn).actionsEnabled(false));
        setOff("quiet");
        assertEquals(List.of(), history("quiet", HistoryItemType.ACTION));
    }

    @Test
    void aStateThatIsSetGoesBackByItself() {
        put(failures("failed").alarmActions(topicArn).treatMissingData("notBreaching"));
        setOff("failed");
        setOff("failed");
        assertEquals("ALARM", state("failed"));
        assertEquals("a test", alarm("failed").stateReason());
        assertEquals(1, history("failed", HistoryItemType.ACTION).size());
        advance(Duration.ofMinutes(1));
        assertEquals("OK", state("failed"));
    }

    /** Only the history knows of these. */
    @Test
    void aTopicThatDoesNotLetCloudWatchPublishLosesTheMessage() throws Exception {
        put(failures("failed").alarmActions(topicArn));
        put(failures("other").alarmActions(topicArn));
        setPolicy(statement(",'Condition':{'StringEquals':{'aws:SourceAccount':'111122223333'},'ArnLike':"
                + "{'aws:SourceArn':'arn:aws:cloudwatch:eu-west-1:111122223333:alarm:f*'}}"));
        setOff("failed");
        setOff("other");
        assertEquals("Succeeded", lastAction("failed").path("actionState").asText());
        assertEquals("Failed", lastAction("other").path("actionState").asText());
        assertTrue(lastAction("other").path("error").asText().contains("SNS:Publish"),
                lastAction("other").path("error").asText());
        put(failures("nowhere").alarmActions("arn:aws:sns:eu-west-1:111122223333:nothing",
                "arn:aws:sns:eu-west-1:123456789012:nothing"));
        setOff("nowhere");
        assertEquals(2, history("nowhere", HistoryItemType.ACTION).stream()
                .filter(item -> item.historySummary().startsWith("Failed to execute action")).count());
        assertEquals(1, aws.sns.topic(REGION, "alerts").published().size());
    }

    @Test
    void anEncryptedTopicWhoseKeyDoesNotLetCloudWatchUseItLosesTheMessage() throws Exception {
        var key = aws.kms.createKey(REGION);
        sns.setTopicAttributes(r -> r.topicArn(topicArn).attributeName("KmsMasterKeyId").attributeValue(key.arn));
        put(failures("failed").alarmActions(topicArn));
        setOff("failed");
        assertEquals("Failed", lastAction("failed").path("actionState").asText());
        var policy = (ObjectNode) Models.JSON.readTree(key.policy);
        policy.withArray("Statement").addObject().put("Effect", "Allow").put("Resource", "*")
                .put("Action", "kms:*").putObject("Principal").put("Service", "cloudwatch.amazonaws.com");
        key.policy = policy.toString();
        cloudwatch.setAlarmState(r -> r.alarmName("failed").stateValue(StateValue.OK).stateReason("over"));
        setOff("failed");
        assertEquals("Succeeded", lastAction("failed").path("actionState").asText());
    }

    // ---- Permissions

    @Test
    void everyCallIsDecidedByTheAlarmItIsFor() {
        put(failures("mine"));
        put(failures("theirs"));
        aws.iam.createRole("Watcher").inline.put("alarms", """
                {"Version":"2012-10-17","Statement":[{"Effect":"Allow",
                "Action":["cloudwatch:PutMetricAlarm","cloudwatch:SetAlarmState","cloudwatch:DeleteAlarms",
                "cloudwatch:DescribeAlarmHistory","cloudwatch:ListTagsForResource"],
                "Resource":"arn:aws:cloudwatch:eu-west-1:111122223333:alarm:mine*"}]}""");
        var login = aws.as("arn:aws:iam::111122223333:role/Watcher");
        try (var watcher = client(AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(),
                login.sessionToken()))) {
            var calls = new ArrayList<Consumer<String>>(List.of(
                    name -> watcher.putMetricAlarm(failures(name).build()),
                    name -> watcher.setAlarmState(r -> r.alarmName(name).stateValue(StateValue.OK).stateReason("x")),
                    name -> watcher.describeAlarmHistory(r -> r.alarmName(name)),
                    name -> watcher.listTagsForResource(
                            r -> r.resourceARN("arn:aws:cloudwatch:eu-west-1:111122223333:alarm:" + name)),
                    name -> watcher.deleteAlarms(r -> r.alarmNames(name))));
            for (var call : calls) {
                call.accept("mine");
                assertError("AccessDenied", () -> call.accept("theirs"));
            }
            assertError("AccessDenied", () -> watcher.describeAlarms());
            assertError("AccessDenied", () -> watcher.putMetricAlarm(
                    failures("mine").tags(Tag.builder().key("a").value("b").build()).build()));
        }
    }
}
