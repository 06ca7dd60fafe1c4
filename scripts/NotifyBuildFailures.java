///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tells an SNS topic of CodeBuild builds that fail, and of builds that stopped happening.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:cloudwatch
//DEPS software.amazon.awssdk:codebuild
//DEPS software.amazon.awssdk:eventbridge
//DEPS software.amazon.awssdk:kms
//DEPS software.amazon.awssdk:sns
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//FILES policies/build-failures-event.json=../policies/build-failures-event.json
//FILES policies/build-failures-key.json=../policies/build-failures-key.json
//FILES policies/build-failures-topic.json=../policies/build-failures-topic.json
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
import software.amazon.awssdk.core.util.SdkAutoConstructList;
import software.amazon.awssdk.core.util.SdkAutoConstructMap;
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.cloudwatch.CloudWatchClient;
import software.amazon.awssdk.services.cloudwatch.model.AlarmHistoryItem;
import software.amazon.awssdk.services.cloudwatch.model.CloudWatchException;
import software.amazon.awssdk.services.cloudwatch.model.ComparisonOperator;
import software.amazon.awssdk.services.cloudwatch.model.Dimension;
import software.amazon.awssdk.services.cloudwatch.model.HistoryItemType;
import software.amazon.awssdk.services.cloudwatch.model.MetricAlarm;
import software.amazon.awssdk.services.cloudwatch.model.MetricDataQuery;
import software.amazon.awssdk.services.cloudwatch.model.PutMetricAlarmRequest;
import software.amazon.awssdk.services.cloudwatch.model.StateValue;
import software.amazon.awssdk.services.cloudwatch.model.Statistic;
import software.amazon.awssdk.services.codebuild.CodeBuildClient;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.eventbridge.model.DescribeRuleResponse;
import software.amazon.awssdk.services.eventbridge.model.InputTransformer;
import software.amazon.awssdk.services.eventbridge.model.ResourceNotFoundException;
import software.amazon.awssdk.services.eventbridge.model.RuleState;
import software.amazon.awssdk.services.eventbridge.model.Target;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.KeyManagerType;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.kms.model.KeySpec;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUsageType;
import software.amazon.awssdk.services.sns.SnsClient;
import software.amazon.awssdk.services.sns.model.InvalidParameterException;
import software.amazon.awssdk.services.sns.model.NotFoundException;
import software.amazon.awssdk.services.sns.model.StaleTagException;
import software.amazon.awssdk.services.sns.model.Subscription;
import software.amazon.awssdk.services.sns.model.Tag;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Tells an SNS topic, and so people by e-mail, of CodeBuild builds that fail and of builds that stopped happening, such
 * as those of a nightly backup.
 *
 * <p>Changes in AWS: the topic with its policy, key and subscriptions, and for each project
 * <ul>
 * <li>a rule of EventBridge (build-failures-PROJECT), which sends every build that failed, was stopped or timed out
 * <li>an alarm on failed builds (build-failed-PROJECT), since EventBridge delivers such events at its best effort only
 * <li>an alarm on silence (build-silent-PROJECT): no build succeeded for {@code --max-silence}
 * <li>an alarm on events that the rule could not deliver (build-undelivered-PROJECT)
 * </ul>
 * Of the topic's policy it owns two statements, by Sid: BuildEvents and BuildAlarms. Other statements are kept and
 * named. The rule, its target with the id topic, and the alarms are this script's: what was changed by hand is mended,
 * but a target's retries and dead-letter queue stay.
 *
 * <p>What would be lost without a word is refused or found: projects that do not exist, a topic's key that EventBridge
 * or CloudWatch may not use, and a topic that nobody has confirmed a subscription to, which is exit code 4.
 *
 * <p>A second run with the same arguments changes nothing; an option that is not given leaves the setting as it is.
 * {@code --remove} takes back what belongs to the projects. The topic's statements stay while other rules send to it; a
 * topic that this script created is deleted when nobody else uses it.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codebuild:BatchGetProjects, events:TestEventPattern
 * <li>sns:GetTopicAttributes, sns:ListSubscriptionsByTopic, events:DescribeRule, events:ListTargetsByRule,
 * cloudwatch:DescribeAlarms
 * <li>sns:CreateTopic, sns:TagResource, sns:SetTopicAttributes, sns:Subscribe, events:PutRule, events:PutTargets,
 * cloudwatch:PutMetricAlarm
 * <li>for a topic with a key kms:DescribeKey, kms:GetKeyPolicy
 * <li>for {@code --test} cloudwatch:SetAlarmState, cloudwatch:DescribeAlarmHistory
 * <li>for {@code --remove} events:ListRuleNamesByTarget, events:RemoveTargets, events:DeleteRule,
 * cloudwatch:DeleteAlarms, sns:ListTagsForResource, sns:Unsubscribe, sns:DeleteTopic
 * </ul>
 */
@Command(name = "notify-build-failures", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Tells an SNS topic of CodeBuild builds that fail, and of builds that stopped happening.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "4:findings: all is in place, but notifications would be lost", "130, 143:interrupted"},
        footerHeading = "%nLimits:%n"
                + "  The silence is counted in whole hours of UTC: the alarm comes within an hour%n"
                + "  after --max-silence. It comes once, not again every day.%n"
                + "%nExamples:%n",
        footer = {"  ./jbang notify-build-failures --project-names codecommit-backup \\",
                "      --emails operations@example.com",
                "  ./jbang notify-build-failures --project-names codecommit-backup \\",
                "      --topic-arn arn:aws:sns:eu-west-1:111122223333:alerts --dry-run"})
class NotifyBuildFailures implements Callable<Integer> {
    @Option(names = "--project-names", paramLabel = "NAME", arity = "1..*", required = true,
            description = "CodeBuild projects to watch.")
    List<String> projectNames = List.of();

    @Option(names = "--max-silence", paramLabel = "TIME",
            description = "The longest time between two successful builds, 1h to 168h. Default: 26h, for a build every"
                    + " night.")
    String maxSilence;

    @Option(names = "--kms-key-id", paramLabel = "KEY",
            description = "Customer managed key to encrypt the topic with: its id, ARN, alias (alias/NAME) or alias"
                    + " ARN. EventBridge and CloudWatch must be allowed to use it.")
    String kmsKeyId;

    @Option(names = "--raw", negatable = true,
            description = "Sends EventBridge's events as they are, not as a sentence. Default: a sentence, or as the"
                    + " rule has it.")
    Boolean raw;

    @Option(names = "--test", description = "Sets an alarm off, which sends a message, and says whether SNS took it.")
    boolean test;

    @Option(names = "--remove", description = "Takes back what this script made for the projects.")
    boolean remove;

    /** The printed document. */
    record Result(String status, String account, String region, Topic topic, List<Project> projects,
            List<Finding> findings, Test test, List<Change> changes, String undo) {}

    /** @param eventPattern of the rule, in a dry run */
    record Project(String projectName, String ruleName, List<String> alarmNames, JsonNode eventPattern) {}

    enum Code {
        /** The topic has no confirmed subscription: nobody is told. */
        UNCONFIRMED,
        /** A test message was not taken, or CloudWatch did not say so. */
        UNDELIVERED;

        @JsonValue
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    record Finding(Code code, String message) {}

    /** @param error why SNS did not take the message */
    record Test(String alarmName, boolean delivered, String error) {}

    static final int PROJECTS_PER_CALL = 100;
    static final String DEFAULT_TOPIC = "build-failures";
    static final int HOUR = 3600;
    /** In hours: a build every night, and two hours for a late or long one. */
    static final int DEFAULT_SILENCE = 26;
    /** The longest that CloudWatch allows, in hours. */
    static final int LONGEST_SILENCE = 168;
    /** What DescribeAlarms shows and PutMetricAlarm does not take. */
    static final Set<String> STATE_OF_ALARM = Set.of("AlarmArn", "AlarmConfigurationUpdatedTimestamp", "StateValue",
            "StateReason", "StateReasonData", "StateUpdatedTimestamp", "StateTransitionedTimestamp",
            "EvaluationState");

    /** How long an alarm may take to act when it is set off; usually seconds. */
    Duration testPatience = Duration.ofSeconds(60);

    EventBridgeClient events;
    CloudWatchClient cloudwatch;

    public static void main(String[] args) {
        System.exit(new NotifyBuildFailures().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        connect();
        events = client(EventBridgeClient.builder());
        cloudwatch = client(CloudWatchClient.builder());
        if (!remove) {
            checkProjects();
        }
        var watches = projectNames.stream().distinct().map(name -> new Watch(name)).toList();
        for (var watch : watches) {
            about(watch.projectName, () -> watch.read());
        }
        var topicArn = chosenTopic(watches.stream().flatMap(watch -> watch.alarms.values().stream())
                .flatMap(alarm -> alarm.alarmActions().stream()), DEFAULT_TOPIC);
        var topic = new AlertTopic(client(SnsClient.builder()), topicArn, "build-failures-topic.json",
                "build-failures-key.json").read();
        return naming("builds of " + String.join(", ", new LinkedHashSet<>(projectNames)),
                () -> remove ? removeAll(watches, topic) : watchAll(watches, topic));
    }

    void checkOptions() {
        projectNames.forEach(name -> check("--project-names", name, "[A-Za-z0-9][A-Za-z0-9_-]{1,149}",
                "the name of a CodeBuild project: 2 to 150 letters, digits, - and _, such as codecommit-backup"));
        checkTopicOptions(DEFAULT_TOPIC);
        if (maxSilence != null) {
            check("--max-silence", maxSilence, "[1-9]\\d{0,2}h", "hours, 1h to 168h, such as 26h");
            if (silence() > LONGEST_SILENCE) {
                throw wrong("--max-silence " + maxSilence + ": CloudWatch looks back 168h (7 days) at most");
            }
        }
        if (kmsKeyId != null) {
            checkCustomerKeyId("--kms-key-id", kmsKeyId);
        }
        if (remove && (maxSilence != null || kmsKeyId != null || raw != null || test)) {
            throw wrong("--remove goes with --project-names, --topic-name or --topic-arn, and --emails only");
        }
        if (test && dryRun) {
            throw wrong("--test sends a message, which a dry run does not: leave one of them out");
        }
    }

    int silence() {
        return Integer.parseInt(maxSilence.substring(0, maxSilence.length() - 1));
    }

    Integer watchAll(List<Watch> watches, AlertTopic topic) {
        topic.check(kmsKeyId);
        for (var watch : watches) {
            about(watch.projectName, () -> watch.checkPattern());
        }
        about(topic.topicArn, () -> topic.bringInLine(kmsKeyId));
        for (var watch : watches) {
            about(watch.projectName, () -> watch.bringInLine(topic.topicArn));
        }
        var subscriptions = topic.subscriptions();
        var tested = test ? about(topic.topicArn, () -> setOff(watches.get(0).failedAlarmName())) : null;
        var findings = new ArrayList<Finding>();
        topic.whyNobodyIsTold(subscriptions).ifPresent(why -> findings.add(new Finding(Code.UNCONFIRMED, why)));
        if (tested != null && !tested.delivered()) {
            findings.add(new Finding(Code.UNDELIVERED, topic.topicArn + " did not take the message of "
                    + tested.alarmName() + ": " + tested.error()));
        }
        findings.forEach(finding -> note(finding.message()));
        return print(new Result(printed(strongest(changes)), caller.account(), region(), topic.outcome(subscriptions),
                watches.stream().map(watch -> watch.outcome()).toList(), findings, tested, changes, undo()),
                findings.isEmpty() ? 0 : 4);
    }

    /** Refuses projects that do not exist: a rule for a mistyped name is silent for ever. */
    void checkProjects() {
        var names = projectNames.stream().distinct().toList();
        try (var codebuild = client(CodeBuildClient.builder())) {
            for (var batch : batches(names, PROJECTS_PER_CALL)) {
                var missing = codebuild.batchGetProjects(r -> r.names(batch)).projectsNotFound();
                if (!missing.isEmpty()) {
                    throw new Failure("no such CodeBuild project in " + region() + ": " + String.join(", ", missing));
                }
            }
        }
    }

    /** A project's rule and alarms: as they are, and as they are to be. */
    class Watch {
        final String projectName;
        final AlertRule rule;
        Map<String, MetricAlarm> alarms = Map.of();

        Watch(String projectName) {
            this.projectName = projectName;
            rule = new AlertRule(events, projectName, ruleName());
        }

        /** EventBridge takes 64 characters: of a longer name a hash stands for the end. */
        String ruleName() {
            var name = "build-failures-" + projectName;
            var hash = UUID.nameUUIDFromBytes(projectName.getBytes(StandardCharsets.UTF_8)).toString().replace("-", "");
            return name.length() <= 64 ? name : name.substring(0, 31) + "-" + hash;
        }

        String failedAlarmName() {
            return "build-failed-" + projectName;
        }

        String silentAlarmName() {
            return "build-silent-" + projectName;
        }

        String undeliveredAlarmName() {
            return "build-undelivered-" + projectName;
        }

        List<String> alarmNames() {
            return List.of(failedAlarmName(), silentAlarmName(), undeliveredAlarmName());
        }

        /** What EventBridge and CloudWatch have of it. */
        Watch read() {
            rule.read();
            alarms = cloudwatch.describeAlarmsPaginator(r -> r.alarmNames(alarmNames())).metricAlarms().stream()
                    .collect(Collectors.toMap(MetricAlarm::alarmName, Function.identity()));
            return this;
        }

        JsonNode pattern() {
            return template("build-failures-event.json", Map.of("project", projectName));
        }

        /** Asks EventBridge whether the rule will match a build that failed, and only that. */
        Watch checkPattern() {
            for (var status : List.of("FAILED", "SUCCEEDED")) {
                var event = JSON.createObjectNode().put("source", "aws.codebuild")
                        .put("detail-type", "CodeBuild Build State Change");
                event.putArray("resources").add(arn("codebuild", "build/" + projectName + ":1"));
                event.putObject("detail").put("build-status", status).put("project-name", projectName);
                var matches = rule.matches(pattern(), event);
                if (matches != status.equals("FAILED")) {
                    throw new Failure("EventBridge says that policies/build-failures-event.json "
                            + (matches ? "matches" : "does not match") + " a build that is " + status);
                }
            }
            return this;
        }

        Watch bringInLine(String topicArn) {
            var isRaw = raw != null ? raw : rule.target != null && rule.target.inputTransformer() == null;
            rule.bringInLine("Builds of " + projectName + " that did not succeed", pattern(), topicArn,
                    isRaw ? null : sentence());
            for (var alarm : List.of(failedAlarm(topicArn), silentAlarm(topicArn), undeliveredAlarm(topicArn))) {
                putAlarm(alarm);
            }
            return this;
        }

        /** Of values that can hold no quotation mark: they are put into the text as they are. */
        private InputTransformer sentence() {
            return InputTransformer.builder()
                    .inputPathsMap(Map.of("status", "$.detail.build-status", "project", "$.detail.project-name",
                            "build", "$.detail.build-id", "region", "$.region", "account", "$.account", "logs",
                            "$.detail.additional-information.logs.deep-link"))
                    .inputTemplate("\"Build of <project> in account <account>, <region>: <status>. Build <build>."
                            + " Logs: <logs>\"")
                    .build();
        }

        private PutMetricAlarmRequest.Builder alarm(String name, String description, String topicArn) {
            return PutMetricAlarmRequest.builder().alarmName(name).alarmDescription(description).actionsEnabled(true)
                    .alarmActions(topicArn).okActions(topicArn).threshold(1.0);
        }

        /** Of a metric that counts what should not happen. */
        private PutMetricAlarmRequest alarmOnAny(String name, String description, String topicArn, String namespace,
                String metric, Dimension dimension) {
            return alarm(name, description, topicArn).namespace(namespace).metricName(metric).dimensions(dimension)
                    .statistic(Statistic.SUM).period(300).evaluationPeriods(1)
                    .comparisonOperator(ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD)
                    .treatMissingData("notBreaching").build();
        }

        private PutMetricAlarmRequest failedAlarm(String topicArn) {
            return alarmOnAny(failedAlarmName(), "A build of " + projectName + " failed", topicArn, "AWS/CodeBuild",
                    "FailedBuilds", project());
        }

        private PutMetricAlarmRequest undeliveredAlarm(String topicArn) {
            return alarmOnAny(undeliveredAlarmName(), "EventBridge could not tell of a build of " + projectName
                    + ": see the policy of the topic and of its key", topicArn, "AWS/Events", "FailedInvocations",
                    Dimension.builder().name("RuleName").value(ruleName()).build());
        }

        private Dimension project() {
            return Dimension.builder().name("ProjectName").value(projectName).build();
        }

        /**
         * A metric without builds has no points, and CloudWatch looks for older ones before it counts missing ones: a
         * plain alarm comes days late. So every hour has a point here, 0 where there is none.
         */
        private PutMetricAlarmRequest silentAlarm(String topicArn) {
            var present = alarms.get(silentAlarmName());
            var hours = maxSilence != null ? silence() : present != null ? present.evaluationPeriods()
                    : DEFAULT_SILENCE;
            var succeeded = MetricDataQuery.builder().id("m1").returnData(false).metricStat(stat -> stat.period(HOUR)
                    .stat("Sum").metric(metric -> metric.namespace("AWS/CodeBuild").metricName("SucceededBuilds")
                            .dimensions(project()))).build();
            var filled = MetricDataQuery.builder().id("e1").expression("FILL(m1,0)").label("successes")
                    .returnData(true).build();
            return alarm(silentAlarmName(), "No build of " + projectName + " succeeded for " + hours + " hours",
                    topicArn)
                    .metrics(succeeded, filled).evaluationPeriods(hours).datapointsToAlarm(hours)
                    .comparisonOperator(ComparisonOperator.LESS_THAN_THRESHOLD).treatMissingData("breaching").build();
        }

        private void putAlarm(PutMetricAlarmRequest wanted) {
            var present = alarms.get(wanted.alarmName());
            if (present != null && settings(present).equals(asJson(wanted))) {
                return;
            }
            change(present == null ? Change.creation(projectName, "alarm", wanted.alarmName())
                    : Change.update(projectName, "alarm", settings(present), asJson(wanted)),
                    present == null ? deleteAlarmCommand(wanted.alarmName()) : putAlarmCommand(present),
                    () -> cloudwatch.putMetricAlarm(wanted));
        }

        Project outcome() {
            return new Project(projectName, ruleName(), alarmNames(), dryRun ? pattern() : null);
        }

        Watch remove() {
            rule.remove();
            alarmNames().stream().map(name -> alarms.get(name)).filter(Objects::nonNull)
                    .forEach(alarm -> change(Change.deletion(projectName, "alarm", alarm.alarmName(), null),
                            putAlarmCommand(alarm), () -> delete(alarm)));
            return this;
        }

        private void delete(MetricAlarm alarm) {
            try {
                cloudwatch.deleteAlarms(r -> r.alarmNames(alarm.alarmName()));
            } catch (CloudWatchException e) {
                if (isCutShort(e) || !e.awsErrorDetails().errorCode().equals("ResourceNotFound")) {
                    throw e;
                }
                note(alarm.alarmName() + ": someone else deleted it in the meantime");
            }
        }

        private String deleteAlarmCommand(String name) {
            return aws("cloudwatch delete-alarms --alarm-names " + name);
        }

        private String putAlarmCommand(MetricAlarm alarm) {
            var members = new TreeMap<String, JsonNode>();
            settings(alarm).properties().forEach(member -> members.put(member.getKey(), member.getValue()));
            return aws("cloudwatch put-metric-alarm", members);
        }
    }

    /** What PutMetricAlarm would be given to make this alarm. */
    static ObjectNode settings(MetricAlarm alarm) {
        var settings = (ObjectNode) asJson(alarm);
        settings.remove(STATE_OF_ALARM);
        settings.removeIf(member -> member.isArray() && member.isEmpty());
        return settings;
    }

    /** Sets an alarm off, which goes back by itself, and looks up what became of its message. */
    Test setOff(String alarmName) {
        var before = lastAction(alarmName);
        var alarm = cloudwatch.describeAlarms(r -> r.alarmNames(alarmName)).metricAlarms().get(0);
        var state = alarm.stateValue() == StateValue.ALARM ? StateValue.OK : StateValue.ALARM;
        note("sets " + alarmName + " to " + state + " as a test; it goes back by itself ...");
        cloudwatch.setAlarmState(r -> r.alarmName(alarmName).stateValue(state)
                .stateReason("Test by notify-build-failures: no build has failed"));
        var action = poll(testPatience, () -> lastAction(alarmName).filter(item -> !Optional.of(item).equals(before)));
        if (action.isEmpty()) {
            return new Test(alarmName, false, "CloudWatch did not say within " + testPatience.toSeconds()
                    + " seconds what became of it");
        }
        var data = parsedPolicy(action.get().historyData());
        var isDelivered = data.path("actionState").asText().equals("Succeeded");
        return new Test(alarmName, isDelivered, isDelivered ? null
                : data.path("error").asText(action.get().historySummary()));
    }

    Optional<AlarmHistoryItem> lastAction(String alarmName) {
        return cloudwatch.describeAlarmHistory(
                r -> r.alarmName(alarmName).historyItemType(HistoryItemType.ACTION).maxRecords(1))
                .alarmHistoryItems().stream().findFirst();
    }

    Integer removeAll(List<Watch> watches, AlertTopic topic) {
        for (var watch : watches) {
            about(watch.projectName, () -> watch.remove());
        }
        if (topic.attributes != null) {
            about(topic.topicArn, () -> topic.release(otherUsers(watches, topic.topicArn)));
        }
        return print(new Result(printed(strongest(changes)), caller.account(), region(),
                new Topic(topic.topicArn, null, null, null, null),
                watches.stream().map(watch -> watch.outcome()).toList(), null, null, changes, undo()), 0);
    }

    /** The rules and alarms that send to the topic besides those of the projects. */
    Set<String> otherUsers(List<Watch> watches, String topicArn) {
        var users = otherRules(events, topicArn, watches.stream().map(watch -> watch.rule).toList());
        users.addAll(otherAlarms(watches, topicArn));
        return users;
    }

    List<String> otherAlarms(List<Watch> watches, String topicArn) {
        var own = watches.stream().flatMap(watch -> watch.alarmNames().stream()).collect(Collectors.toSet());
        return cloudwatch.describeAlarmsPaginator(r -> r.actionPrefix(topicArn)).metricAlarms().stream()
                .filter(alarm -> Stream.of(alarm.alarmActions(), alarm.okActions(), alarm.insufficientDataActions())
                        .anyMatch(actions -> actions.contains(topicArn)))
                .map(MetricAlarm::alarmName).filter(name -> !own.contains(name)).toList();
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

    //region The same in every script: batches

    /** The items in parts, for an operation that takes so many at once. */
    static <T> List<List<T>> batches(List<T> items, int size) {
        return IntStream.iterate(0, from -> from < items.size(), from -> from + size)
                .mapToObj(from -> items.subList(from, Math.min(from + size, items.size()))).toList();
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

    //region The same in every script: ARNs

    /** Of a resource of this account and Region. */
    String arn(String service, String resource) {
        return "arn:" + caller.partition() + ":" + service + ":" + region() + ":" + caller.account() + ":" + resource;
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

    //region The same in every script: policies for services

    /** Whether a statement names a service as its principal. */
    static boolean isFor(String service, JsonNode statement) {
        return texts(statement.at("/Principal/Service")).anyMatch(name -> name.equals(service));
    }

    /** Whether statements allow all of these actions in a request that has these condition keys. */
    static boolean lets(List<JsonNode> statements, Collection<String> actions, Map<String, String> request) {
        var keys = new TreeMap<String, String>(String.CASE_INSENSITIVE_ORDER);
        keys.putAll(request);
        return actions.stream().allMatch(action -> statements.stream()
                .anyMatch(one -> one.path("Effect").asText().equals("Allow")
                        && texts(one.path("Action")).anyMatch(pattern -> isLike(action.toLowerCase(Locale.ROOT),
                                pattern.toLowerCase(Locale.ROOT)))
                        && one.path("Condition").properties().stream().allMatch(operator -> operator.getValue()
                                .properties().stream().allMatch(key -> holds(operator.getKey(), key.getValue(),
                                        keys.get(key.getKey()))))));
    }

    /** Whether a condition of these kinds holds; any other may not. */
    private static boolean holds(String operator, JsonNode wanted, String value) {
        return value != null && operator.matches("(String|Arn)(Equals|Like)")
                && texts(wanted).anyMatch(pattern -> isLike(value, pattern));
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

    //region The same in every script: targets of rules

    static List<Target> targetsOf(EventBridgeClient events, String rule) {
        var found = new ArrayList<Target>();
        var page = events.listTargetsByRule(r -> r.rule(rule));
        found.addAll(page.targets());
        while (page.nextToken() != null) {
            var token = page.nextToken();
            page = events.listTargetsByRule(r -> r.rule(rule).nextToken(token));
            found.addAll(page.targets());
        }
        return found;
    }

    String putTargetsCommand(String rule, List<Target> targets) {
        return aws("events put-targets", Map.of("Rule", rule, "Targets", asJson(targets)));
    }

    //endregion

    //region The same in every script: topics of alerts

    @ArgGroup
    TopicOption topicOption = new TopicOption();

    static class TopicOption {
        @Option(names = "--topic-name", paramLabel = "NAME",
                description = "Name of the SNS topic; it is created if there is none. Default: the one that is in use,"
                        + " else one that is named after the task.")
        String name;

        @Option(names = "--topic-arn", paramLabel = "ARN",
                description = "An SNS topic of this account and Region that exists.")
        String arn;
    }

    @Option(names = "--emails", paramLabel = "ADDRESS", arity = "1..*",
            description = "E-mail addresses to subscribe. Each must confirm by the mail that it gets. With --remove:"
                    + " addresses to unsubscribe from a topic that stays.")
    List<String> emails = List.of();

    /**
     * @param confirmed endpoints that messages are sent to
     * @param pending endpoints that were asked to confirm, and get nothing yet
     * @param policy in a dry run
     */
    record Topic(String topicArn, String kmsKeyArn, List<String> confirmed, List<String> pending, JsonNode policy) {}

    /** The statement that every new topic has, for the account itself. */
    static final String DEFAULT_SID = "__default_statement_ID";
    /** What a service that publishes to an encrypted topic does with its key. */
    static final Set<String> KEY_ACTIONS = Set.of("kms:Decrypt", "kms:GenerateDataKey");

    /** How long SNS may take to show a change, or to forget a topic of the same name; usually seconds. */
    Duration newsPatience = Duration.ofSeconds(60);

    /** @param example the name of a topic */
    void checkTopicOptions(String example) {
        emails.forEach(email -> check("--emails", email,
                "(?=.{3,254}$)[\\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+",
                "e-mail addresses, such as operations@example.com"));
        if (topicOption.name != null) {
            check("--topic-name", topicOption.name, "[A-Za-z0-9_-]{1,256}", "up to 256 letters, digits, - and _, such"
                    + " as " + example + "; EventBridge knows no FIFO topics");
        }
        if (topicOption.arn != null) {
            check("--topic-arn", topicOption.arn, "arn:aws[a-z-]*:sns:[a-z0-9-]+:\\d{12}:[A-Za-z0-9_-]{1,256}",
                    "the ARN of an SNS topic that is no FIFO topic, such as arn:aws:sns:eu-west-1:111122223333:"
                            + example);
            if (!topicOption.arn.split(":")[3].equals(region())) {
                throw wrong("--topic-arn '" + topicOption.arn + "': must be a topic of the Region " + region()
                        + ", or use --region " + topicOption.arn.split(":")[3]);
            }
        }
    }

    /**
     * The topic that the options name, else the one of several that is in use.
     *
     * @param inUse topics that what this script owns sends to
     * @param otherwise the name, if none is in use
     */
    String chosenTopic(Stream<String> inUse, String otherwise) {
        if (topicOption.name != null) {
            return arn("sns", topicOption.name);
        }
        if (topicOption.arn == null) {
            var present = inUse.filter(one -> one.startsWith(arn("sns", ""))).distinct().toList();
            if (present.size() > 1) {
                throw new Failure("there are several topics in use, " + String.join(", ", present)
                        + ": say which one with --topic-arn");
            }
            return present.isEmpty() ? arn("sns", otherwise) : present.get(0);
        }
        if (!topicOption.arn.split(":")[4].equals(caller.account())) {
            throw new Failure(topicOption.arn + " is of another account than " + caller.account()
                    + "; its owner alone can change its policy: use a topic of this account");
        }
        return topicOption.arn;
    }

    /** A failure of one of the run's steps gets the name of what it is about. */
    static <T> T about(String resource, Supplier<T> step) {
        try {
            return step.get();
        } catch (RuntimeException e) {
            throw new Failure(resource + ": " + reason(e), e);
        }
    }

    /** The tag of topics that this script created. */
    Tag createdBy() {
        return Tag.builder().key("codecommit-toolkit:created-by").value(spec.name()).build();
    }

    static boolean isConfirmed(Subscription subscription) {
        return subscription.subscriptionArn().startsWith("arn:");
    }

    static boolean isPending(Subscription subscription) {
        return subscription.subscriptionArn().equals("PendingConfirmation");
    }

    static boolean isOf(Subscription subscription, String email) {
        return subscription.protocol().equals("email") && subscription.endpoint().equalsIgnoreCase(email);
    }

    static List<String> endpoints(List<Subscription> subscriptions, boolean confirmed) {
        return subscriptions.stream().filter(one -> confirmed ? isConfirmed(one) : isPending(one))
                .map(one -> one.endpoint()).toList();
    }

    /** A topic, with the statements of its policy that are this script's: as it is, and as it is to be. */
    class AlertTopic {
        final SnsClient sns;
        final String topicArn;
        private final String policyTemplate;
        private final String keyTemplate;
        /** As SNS has them; null if there is no topic. */
        Map<String, String> attributes;
        /** Of the topic as it is or is to be; null if it has none. */
        private KeyMetadata key;

        /**
         * @param policyTemplate the statements that let publish
         * @param keyTemplate what the policy of an encrypted topic's key must have
         */
        AlertTopic(SnsClient sns, String topicArn, String policyTemplate, String keyTemplate) {
            this.sns = sns;
            this.topicArn = topicArn;
            this.policyTemplate = policyTemplate;
            this.keyTemplate = keyTemplate;
        }

        AlertTopic read() {
            attributes = about(topicArn, () -> shown());
            return this;
        }

        /** Null if there is no such topic. */
        private Map<String, String> shown() {
            try {
                return sns.getTopicAttributes(r -> r.topicArn(topicArn)).attributes();
            } catch (NotFoundException e) {
                return null;
            }
        }

        private ObjectNode document(String template) {
            return template(template, Map.of("topic", topicArn, "account", caller.account(), "region",
                    topicArn.split(":")[3], "partition", caller.partition()));
        }

        private Set<String> ownSids() {
            return statements(document(policyTemplate)).stream().map(one -> sid(one)).collect(Collectors.toSet());
        }

        /** @param wantedKeyId for the topic; null to leave it as it is */
        void check(String wantedKeyId) {
            if (attributes == null && topicArn.equals(topicOption.arn)) {
                throw new Failure("no topic " + topicArn + "; with --topic-name instead of --topic-arn it is created");
            }
            key = about(topicArn, () -> usableKey(wantedKeyId));
        }

        private String keyId() {
            return attributes == null ? "" : attributes.getOrDefault("KmsMasterKeyId", "");
        }

        /** The key of the topic as it is or is to be, if all who publish may use it; null if it has none. */
        private KeyMetadata usableKey(String wantedKeyId) {
            var id = wantedKeyId != null ? wantedKeyId : keyId();
            if (id.isEmpty()) {
                return null;
            }
            try (var kms = client(KmsClient.builder())) {
                var found = kms.describeKey(r -> r.keyId(id)).keyMetadata();
                if (found.keyManager() == KeyManagerType.AWS) {
                    throw new Failure(id + " is managed by AWS, and lets neither EventBridge nor CloudWatch publish:"
                            + " encrypt the topic with a customer managed key, or with none");
                }
                checkUsable(found, "encrypt the topic with another key");
                var policy = parsedPolicy(kms.getKeyPolicy(r -> r.keyId(found.keyId()).policyName("default")).policy());
                var missing = statements(document(keyTemplate)).stream().filter(one -> !grants(policy, one)).toList();
                if (!missing.isEmpty()) {
                    throw new Failure("the policy of " + found.arn() + " does not let these publish, whose messages"
                            + " would be lost without a word; add to it: "
                            + JSON.createArrayNode().addAll(missing));
                }
                return found;
            } catch (software.amazon.awssdk.services.kms.model.NotFoundException e) {
                throw new Failure("no key " + id + " in " + region(), e);
            }
        }

        /** Whether a key's policy lets the service of a statement do what it must. */
        private static boolean grants(JsonNode policy, JsonNode statement) {
            var service = statement.at("/Principal/Service").asText();
            // what the statement's own conditions let through; EventBridge says nothing of for whom it acts
            var request = new TreeMap<String, String>();
            statement.path("Condition").forEach(operator -> operator.properties()
                    .forEach(key -> request.put(key.getKey(), key.getValue().asText().replace("*", "x"))));
            return lets(statements(policy).stream().filter(one -> isFor(service, one)).toList(), KEY_ACTIONS, request);
        }

        /** Its attributes as they are then; null in a dry run that would create it. */
        Map<String, String> bringInLine(String wantedKeyId) {
            var isNew = attributes == null;
            if (isNew) {
                attributes = create();
            }
            if (wantedKeyId != null && !keyId().equals(key.arn()) && !keyId().equals(wantedKeyId)) {
                encrypt(isNew);
            }
            letPublish(isNew);
            subscribe();
            return attributes;
        }

        /** The new topic's attributes, or those of one that someone else created; null in a dry run. */
        private Map<String, String> create() {
            var creation = Change.creation(topicArn, "topic", topicArn);
            var undo = aws("sns delete-topic --topic-arn " + topicArn);
            if (dryRun) {
                record(creation, undo);
                return null;
            }
            try {
                poll(newsPatience, () -> created()).orElseThrow(() -> new Failure("SNS still remembers the tags of a"
                        + " topic of the same name that was deleted: run the same command again in a minute"));
                record(creation, undo);
            } catch (InvalidParameterException e) { // a topic with other attributes or tags
                if (shown() == null) {
                    throw e;
                }
                note(topicArn + ": someone else created it in the meantime");
            }
            return poll(newsPatience, () -> Optional.ofNullable(shown())).orElseThrow(() -> new Failure(
                    "it was created, but SNS does not show it: run the same command again"));
        }

        /** Empty while SNS remembers the tags of a deleted topic of this name. */
        private Optional<String> created() {
            try {
                return Optional.of(sns.createTopic(r -> r.name(name()).tags(createdBy())).topicArn());
            } catch (StaleTagException e) {
                return Optional.empty();
            }
        }

        private String name() {
            return topicArn.substring(topicArn.lastIndexOf(':') + 1);
        }

        private void setAttribute(String name, String value) {
            sns.setTopicAttributes(r -> r.topicArn(topicArn).attributeName(name).attributeValue(value));
        }

        private String setAttributeCommand(String name, String value) {
            return aws("sns set-topic-attributes",
                    Map.of("TopicArn", topicArn, "AttributeName", name, "AttributeValue", value));
        }

        private void encrypt(boolean isNew) {
            change(Change.update(topicArn, "kmsKeyId", keyId().isEmpty() ? null : keyId(), key.arn()),
                    isNew ? null : setAttributeCommand("KmsMasterKeyId", keyId()),
                    () -> setAttribute("KmsMasterKeyId", key.arn()));
        }

        /** Empty for a topic that is not there yet. */
        private ObjectNode policyOf(Map<String, String> present) {
            var text = present == null ? null : present.get("Policy");
            return text == null ? JSON.createObjectNode() : parsedPolicy(text);
        }

        private ObjectNode withOwnStatements(ObjectNode present) {
            var wanted = document(policyTemplate);
            var own = statements(wanted);
            var all = wanted.putArray("Statement").addAll(foreign(present)).addAll(own);
            return present.isEmpty() ? wanted : (ObjectNode) present.deepCopy().set("Statement", all);
        }

        private List<JsonNode> foreign(ObjectNode policy) {
            return policy.isEmpty() ? List.of() : foreignStatements(policy, ownSids());
        }

        private List<JsonNode> foreignButDefault(ObjectNode policy) {
            return foreign(policy).stream().filter(one -> !sid(one).equals(DEFAULT_SID)).toList();
        }

        private void letPublish(boolean isNew) {
            var present = policyOf(attributes);
            var others = foreignButDefault(present);
            if (!others.isEmpty()) {
                note(topicArn + ": kept statements that are not this script's: " + sids(others));
            }
            var wanted = withOwnStatements(present);
            if (sameMeaning(present, wanted)) {
                return;
            }
            change(Change.update(topicArn, "policy", present.isEmpty() ? null : present, wanted),
                    isNew ? null : setAttributeCommand("Policy", present.toString()), () -> putPolicy());
        }

        /** Until the topic shows the statements: who writes a policy may not know what someone else just wrote. */
        private void putPolicy() {
            poll(newsPatience, () -> {
                setAttribute("Policy", withOwnStatements(policyOf(shown())).toString());
                var shown = policyOf(shown());
                return Optional.of(shown).filter(policy -> sameMeaning(policy, withOwnStatements(policy)));
            }).orElseThrow(() -> new Failure("its policy was changed, but SNS does not show it, or someone else changes"
                    + " it as often: run the same command again"));
        }

        /** None of a topic that a dry run would create. */
        List<Subscription> subscriptions() {
            return attributes == null ? List.of()
                    : sns.listSubscriptionsByTopicPaginator(r -> r.topicArn(topicArn)).subscriptions().stream()
                            .toList();
        }

        /** A pending subscription cannot be taken back: it goes away when nobody confirms it. */
        private void subscribe() {
            if (emails.isEmpty()) {
                return;
            }
            var present = subscriptions();
            for (var email : new LinkedHashSet<>(emails)) {
                if (present.stream().noneMatch(one -> isOf(one, email) && (isConfirmed(one) || isPending(one)))) {
                    change(Change.creation(topicArn, "subscription", email), null,
                            () -> sns.subscribe(r -> r.topicArn(topicArn).protocol("email").endpoint(email)
                                    .returnSubscriptionArn(true)));
                }
            }
        }

        Topic outcome(List<Subscription> subscriptions) {
            return new Topic(topicArn, key == null ? null : key.arn(), endpoints(subscriptions, true),
                    endpoints(subscriptions, false), dryRun ? withOwnStatements(policyOf(attributes)) : null);
        }

        /** Why nobody is told; empty if somebody is, or if the topic is still to be created. */
        Optional<String> whyNobodyIsTold(List<Subscription> subscriptions) {
            if (attributes == null || subscriptions.stream().anyMatch(one -> isConfirmed(one))) {
                return Optional.empty();
            }
            var pending = endpoints(subscriptions, false);
            return Optional.of(topicArn + " has no confirmed subscription, so nobody is told: "
                    + (pending.isEmpty() ? "subscribe somebody with --emails"
                            : "confirm by the mail to " + String.join(", ", pending) + ", which is valid for two days"
                                    + "; another one is sent by: " + subscribeCommand(pending.get(0))));
        }

        /**
         * Takes from the topic what is this script's, or deletes it if it is this script's alone; whether it stays.
         *
         * @param users what else sends to it
         */
        boolean release(Collection<String> users) {
            if (!users.isEmpty()) {
                note(topicArn + " stays as it is, other rules or alarms send to it: " + String.join(", ", users));
                return true;
            }
            try {
                return releaseUnused();
            } catch (NotFoundException e) {
                note(topicArn + ": someone else deleted it in the meantime");
                return false;
            }
        }

        private boolean releaseUnused() {
            var present = policyOf(attributes);
            var others = foreignButDefault(present);
            var subscriptions = subscriptions();
            var foreign = subscriptions.stream().filter(one -> !one.protocol().equals("email"))
                    .map(one -> one.endpoint()).toList();
            if (!sns.listTagsForResource(r -> r.resourceArn(topicArn)).tags().contains(createdBy())) {
                note(topicArn + " stays, as this script did not create it");
            } else if (!others.isEmpty()) {
                note(topicArn + " stays, as its policy has statements that are not this script's: " + sids(others));
            } else if (!foreign.isEmpty()) {
                note(topicArn + " stays, as it has subscriptions that are not this script's: "
                        + String.join(", ", foreign));
            } else {
                change(Change.deletion(topicArn, "topic", topicArn, null), createCommand(present, subscriptions),
                        () -> sns.deleteTopic(r -> r.topicArn(topicArn)));
                return false;
            }
            withdraw(present);
            unsubscribe(subscriptions);
            return true;
        }

        /** Its subscriptions must be confirmed again. */
        private String createCommand(ObjectNode policy, List<Subscription> subscriptions) {
            var settings = new TreeMap<>(Map.of("Policy", policy.toString()));
            if (!keyId().isEmpty()) {
                settings.put("KmsMasterKeyId", keyId());
            }
            var creation = aws("sns create-topic", Map.of("Name", name(), "Attributes", settings, "Tags",
                    List.of(Map.of("Key", createdBy().key(), "Value", createdBy().value()))));
            var subscribed = subscriptions.stream().filter(one -> isConfirmed(one) || isPending(one))
                    .map(one -> subscribeCommand(one.endpoint())).distinct();
            return Stream.concat(Stream.of(creation), subscribed).collect(Collectors.joining(" && "));
        }

        private String subscribeCommand(String email) {
            return aws("sns subscribe", Map.of("TopicArn", topicArn, "Protocol", "email", "Endpoint", email));
        }

        private void withdraw(ObjectNode present) {
            var kept = foreign(present);
            if (kept.size() == statements(present).size()) {
                return;
            }
            var wanted = (ObjectNode) present.deepCopy().set("Statement", JSON.createArrayNode().addAll(kept));
            if (kept.isEmpty()) {
                note(topicArn + ": its policy keeps this script's statements, as SNS takes none without a statement");
                return;
            }
            change(Change.update(topicArn, "policy", present, wanted),
                    setAttributeCommand("Policy", present.toString()),
                    () -> setAttribute("Policy", wanted.toString()));
        }

        private void unsubscribe(List<Subscription> subscriptions) {
            for (var email : new LinkedHashSet<>(emails)) {
                subscriptions.stream().filter(one -> isOf(one, email) && isConfirmed(one)).forEach(one -> change(
                        Change.deletion(topicArn, "subscription", one.endpoint(), null),
                        subscribeCommand(one.endpoint()),
                        () -> sns.unsubscribe(r -> r.subscriptionArn(one.subscriptionArn()))));
            }
        }
    }

    //endregion

    //region The same in every script: rules of alerts

    /** A rule with a target, which is the topic and has the id topic: as they are, and as they are to be. */
    class AlertRule {
        static final String TARGET_ID = "topic";

        final EventBridgeClient events;
        /** What the rule is about, as changes name it. */
        private final String resource;
        final String name;
        /** Null if there is none. */
        DescribeRuleResponse rule;
        /** Ours, by its id; null if there is none. */
        Target target;
        private List<Target> otherTargets = List.of();

        AlertRule(EventBridgeClient events, String resource, String name) {
            this.events = events;
            this.resource = resource;
            this.name = name;
        }

        /** What EventBridge has of it. */
        AlertRule read() {
            rule = shown();
            var targets = rule == null ? List.<Target>of() : targetsOf(events, name);
            target = targets.stream().filter(one -> one.id().equals(TARGET_ID)).findFirst().orElse(null);
            otherTargets = targets.stream().filter(one -> !one.id().equals(TARGET_ID)).toList();
            return this;
        }

        private DescribeRuleResponse shown() {
            try {
                return events.describeRule(r -> r.name(name));
            } catch (ResourceNotFoundException e) {
                return null;
            }
        }

        /** Whether EventBridge says that a pattern matches an event, of which the rest is made up. */
        boolean matches(JsonNode pattern, ObjectNode event) {
            var whole = JSON.createObjectNode().put("id", "1").put("account", caller.account())
                    .put("time", "2026-01-01T00:00:00Z").put("region", region());
            whole.putArray("resources");
            whole.setAll(event);
            return events.testEventPattern(r -> r.eventPattern(pattern.toString()).event(whole.toString())).result();
        }

        /** @param sentence what the topic gets; null for the event as it is */
        void bringInLine(String description, JsonNode pattern, String topicArn, InputTransformer sentence) {
            if (!otherTargets.isEmpty()) {
                note(name + ": kept targets that are not this script's: " + otherTargetIds());
            }
            put(description, pattern);
            putTarget(topicArn, sentence);
        }

        private String otherTargetIds() {
            return otherTargets.stream().map(Target::id).collect(Collectors.joining(", "));
        }

        private void put(String description, JsonNode pattern) {
            var isSame = rule != null && rule.state() == RuleState.ENABLED && description.equals(rule.description())
                    && rule.eventPattern() != null
                    && parsedPolicy(rule.eventPattern()).equals(parsedPolicy(pattern.toString()));
            if (isSame) {
                return;
            }
            var wanted = Map.of("EventPattern", pattern.toString(), "State", RuleState.ENABLED.toString(),
                    "Description", description);
            var undo = rule == null ? aws("events delete-rule --name " + name) : aws("events put-rule", settings());
            change(rule == null ? Change.creation(resource, "rule", name)
                    : Change.update(resource, "rule", settings(), wanted), undo,
                    () -> events.putRule(r -> r.name(name).description(description).eventPattern(pattern.toString())
                            .state(RuleState.ENABLED)));
        }

        /** What PutRule would be given to make the rule as it is. */
        private Map<String, Object> settings() {
            var settings = new TreeMap<String, Object>(Map.of("Name", name, "State", rule.stateAsString()));
            settings.put("EventPattern", rule.eventPattern());
            settings.put("Description", rule.description());
            settings.values().removeIf(Objects::isNull);
            return settings;
        }

        private void putTarget(String topicArn, InputTransformer sentence) {
            var wanted = (target == null ? Target.builder().id(TARGET_ID) : target.toBuilder()).arn(topicArn)
                    .roleArn(null).input(null).inputPath(null).inputTransformer(sentence).build();
            if (wanted.equals(target)) {
                return;
            }
            var undo = target == null ? aws("events remove-targets --rule " + name + " --ids " + TARGET_ID)
                    : putTargetsCommand(name, List.of(target));
            change(target == null ? Change.creation(resource, "target", topicArn)
                    : Change.update(resource, "target", asJson(target), asJson(wanted)), undo,
                    () -> changeTargets(() -> events.putTargets(r -> r.rule(name).targets(wanted)).failedEntries()
                            .stream().map(one -> new FailedEntry(one.errorCode(), one.errorMessage())).toList()));
        }

        void remove() {
            if (target != null) {
                change(Change.deletion(resource, "target", target.arn(), null),
                        putTargetsCommand(name, List.of(target)), () -> removeTarget());
            }
            if (!otherTargets.isEmpty()) {
                note(name + " stays, as it has targets that are not this script's: " + otherTargetIds());
            } else if (rule != null) {
                change(Change.deletion(resource, "rule", name, null), aws("events put-rule", settings()),
                        () -> events.deleteRule(r -> r.name(name)));
            }
        }

        private void removeTarget() {
            try {
                changeTargets(() -> events.removeTargets(r -> r.rule(name).ids(TARGET_ID)).failedEntries()
                        .stream().map(one -> new FailedEntry(one.errorCode(), one.errorMessage())).toList());
            } catch (ResourceNotFoundException e) {
                note(name + ": someone else removed it in the meantime");
            }
        }

        private boolean keepsSendingTo(String topicArn) {
            return otherTargets.stream().anyMatch(one -> one.arn().equals(topicArn));
        }
    }

    /** A target that EventBridge did not change, in an answer that is no error. */
    record FailedEntry(String code, String message) {}

    /** Changes a rule's targets: again while EventBridge says that someone else is changing the rule. */
    void changeTargets(Supplier<List<FailedEntry>> call) {
        var failed = poll(newsPatience, () -> {
            var entries = call.get();
            var isBusy = entries.stream().anyMatch(entry -> entry.code().equals("ConcurrentModificationException"));
            return isBusy ? Optional.empty() : Optional.of(entries);
        }).orElseThrow(() -> new Failure("someone else is changing the rule: run the same command again"));
        for (var entry : failed) {
            throw new Failure("EventBridge did not change the target: " + entry.code() + ": " + entry.message());
        }
    }

    /** The rules that send to a topic when these ones do no longer. */
    static Set<String> otherRules(EventBridgeClient events, String topicArn, Collection<AlertRule> own) {
        var names = new TreeSet<String>();
        String token = null;
        do {
            var nextToken = token;
            var page = events.listRuleNamesByTarget(r -> r.targetArn(topicArn).nextToken(nextToken));
            names.addAll(page.ruleNames());
            token = page.nextToken();
        } while (token != null);
        own.stream().filter(rule -> !rule.keepsSendingTo(topicArn)).forEach(rule -> names.remove(rule.name));
        return names;
    }

    //endregion
}
