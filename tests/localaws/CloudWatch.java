package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.DoubleBinaryOperator;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import software.amazon.awssdk.regions.Region;

/**
 * CloudWatch: the values of metrics, and alarms on them, which notify SNS topics. Alarms are evaluated for each full
 * minute up to the present: on the way of {@link LocalAws#advanceTo}, and else with every call. Rules from the
 * CloudWatch API Reference (PutMetricAlarm) and User Guide ("Alarm evaluation", "Configuring how CloudWatch alarms
 * treat missing data", "Using metric math").
 */
public final class CloudWatch implements LocalAws.Service, LocalAws.Timer {
    /** How many alarms or items of history a page has; AWS's own pages are longer. */
    public volatile int pageSize = 3;

    private static final int MINUTE = 60;
    private static final int HOUR = 3600;
    private static final int DAY = 86400;
    private static final int WEEK = 604800;
    /** How long after the full hour an alarm of several days is evaluated (the guide's example), in minutes. */
    private static final int HOURLY_MINUTE = 3;
    /** How many points before the evaluation periods are looked at if points are missing (the guide's tables). */
    private static final int OLDER_POINTS = 2;
    private static final Set<String> OF_ONE_METRIC = Set.of("MetricName", "Namespace", "Statistic",
            "ExtendedStatistic", "Dimensions", "Period", "Unit");
    private static final Set<String> ACTIONS = Set.of("OKActions", "AlarmActions", "InsufficientDataActions");

    private record MetricName(String namespace, String name, Map<String, String> dimensions) {
    }

    /** All values of a metric within a minute. */
    private record Values(double sum, double count, double least, double most) {
        static final Values NONE = new Values(0, 0, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY);

        Values and(Values more) {
            return new Values(sum + more.sum, count + more.count, Math.min(least, more.least),
                    Math.max(most, more.most));
        }

        double statistic(String name) {
            return switch (name) {
                case "Sum" -> sum;
                case "SampleCount" -> count;
                case "Average" -> sum / count;
                case "Minimum" -> least;
                case "Maximum" -> most;
                default -> throw notOffered("statistic " + name);
            };
        }
    }

    private static final class Alarm {
        /** As PutMetricAlarm was given it, without tags. */
        ObjectNode input;
        final String name;
        final String arn;
        final Map<String, String> tags;
        Instant configured;
        String state = "INSUFFICIENT_DATA";
        String reason = "Unchecked: Initial alarm creation";
        Instant changed;

        Alarm(String name, String arn, Map<String, String> tags) {
            this.name = name;
            this.arn = arn;
            this.tags = tags;
        }

        int periods() {
            return input.get("EvaluationPeriods").intValue();
        }

        int period() {
            return CloudWatch.period(input);
        }

        /** Such an alarm is evaluated once an hour, on what there was at the full hour. */
        boolean isOfSeveralDays() {
            return period() * periods() > DAY;
        }
    }

    private record History(String alarmName, Instant time, String type, String summary, String data) {
    }

    private static final class Regional {
        final Map<MetricName, TreeMap<Instant, Values>> metrics = new HashMap<>();
        final TreeMap<String, Alarm> alarms = new TreeMap<>();
        final List<History> history = new ArrayList<>();
    }

    private final LocalAws aws;
    private final String account;
    private final Map<String, Regional> regions = new TreeMap<>();
    /** The full minute up to which all alarms are evaluated. */
    private Instant evaluated;

    CloudWatch(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
        evaluated = aws.now().truncatedTo(ChronoUnit.MINUTES);
    }

    // ---- What services, tests and the sandbox call

    /**
     * One value of a metric, now, as services put them into their own namespaces. A service that also counts for the
     * whole account puts the value once more, without dimensions.
     *
     * @param namespace  such as AWS/CodeBuild
     * @param dimensions values by name, such as ProjectName
     */
    public synchronized void put(String region, String namespace, String metricName, Map<String, String> dimensions,
            double value) {
        evaluate();
        var minute = aws.now().truncatedTo(ChronoUnit.MINUTES);
        regional(region).metrics.computeIfAbsent(
                new MetricName(namespace, metricName, Map.copyOf(dimensions)), metric -> new TreeMap<>())
                .merge(minute, new Values(value, 1, value, value), Values::and);
    }

    /** The next full minute, if there is an alarm. */
    @Override
    public synchronized Instant next(Instant after) {
        return hasAlarms() ? after.truncatedTo(ChronoUnit.MINUTES).plusSeconds(MINUTE) : null;
    }

    @Override
    public void due(Instant now) {
        evaluate();
    }

    private boolean hasAlarms() {
        return regions.values().stream().anyMatch(regional -> !regional.alarms.isEmpty());
    }

    /** Evaluates the alarms of all Regions for each full minute since the last time up to the present. */
    private synchronized void evaluate() {
        var present = aws.now().truncatedTo(ChronoUnit.MINUTES);
        if (!hasAlarms() || present.isBefore(evaluated)) {
            evaluated = present;
        }
        while (evaluated.isBefore(present)) {
            evaluated = evaluated.plusSeconds(MINUTE);
            for (var region : List.copyOf(regions.keySet())) {
                for (var alarm : List.copyOf(regional(region).alarms.values())) {
                    evaluate(region, alarm);
                }
            }
        }
    }

    /** OK, ALARM or INSUFFICIENT_DATA; null when there is no such alarm. */
    public synchronized String state(String region, String alarmName) {
        evaluate();
        var alarm = regional(region).alarms.get(alarmName);
        return alarm == null ? null : alarm.state;
    }

    /** Since when it has this state. */
    public synchronized Instant changed(String region, String alarmName) {
        evaluate();
        return regional(region).alarms.get(alarmName).changed;
    }

    private Regional regional(String region) {
        return regions.computeIfAbsent(region, made -> new Regional());
    }

    // ---- Permissions

    @Override
    public AwsError refused(Need need, String message) {
        return new AwsError(403, "AccessDenied", message);
    }

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        return validation(LocalAws.Service.super.invalid(operation, violations).getMessage());
    }

    @Override
    public synchronized List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "cloudwatch:" + operation;
        return switch (operation) {
            case "DescribeAlarms" -> List.of(new Need(action, caller.arn("cloudwatch", "alarm:*")));
            case "DescribeAlarmHistory" -> List.of(onAlarm(action, input.path("AlarmName").asText("*"), caller));
            case "SetAlarmState" -> List.of(onAlarm(action, input.path("AlarmName").asText(), caller));
            case "DeleteAlarms" -> texts(input.path("AlarmNames")).stream()
                    .map(name -> onAlarm(action, name, caller)).toList();
            case "ListTagsForResource" -> List.of(new Need(action, input.path("ResourceARN").asText()));
            case "TagResource" -> List.of(new Need(action, input.path("ResourceARN").asText())
                    .requestTags(Need.tags(input.path("Tags"), "Key", "Value")));
            case "PutMetricAlarm" -> {
                var name = input.path("AlarmName").asText();
                var tags = Need.tags(input.path("Tags"), "Key", "Value");
                var actions = ACTIONS.stream().flatMap(kind -> texts(input.path(kind)).stream()).toList();
                var put = onAlarm(action, name, caller).requestTags(tags);
                if (!actions.isEmpty()) {
                    put = put.list("cloudwatch:AlarmActions", actions);
                }
                yield tags.isEmpty() ? List.of(put)
                        : List.of(put, onAlarm("cloudwatch:TagResource", name, caller).requestTags(tags));
            }
            default -> throw new IllegalStateException("no permission is known for " + action);
        };
    }

    private Need onAlarm(String action, String name, Caller caller) {
        var alarm = regional(caller.region()).alarms.get(name);
        return new Need(action, caller.arn("cloudwatch", "alarm:" + name))
                .resourceTags(alarm == null ? Map.of() : alarm.tags);
    }

    // ---- Operations

    @Override
    public synchronized JsonNode answer(String operation, ObjectNode input, Caller caller) {
        evaluate();
        var regional = regional(caller.region());
        return switch (operation) {
            case "PutMetricAlarm" -> putAlarm(input, caller);
            case "DescribeAlarms" -> describeAlarms(input, regional);
            case "DescribeAlarmHistory" -> describeHistory(input, regional);
            case "DeleteAlarms" -> {
                texts(input.get("AlarmNames")).forEach(name -> alarm(name, regional));
                regional.alarms.keySet().removeAll(texts(input.get("AlarmNames")));
                yield null;
            }
            case "SetAlarmState" -> {
                var alarm = alarm(input.get("AlarmName").asText(), regional);
                if (input.hasNonNull("StateReasonData") && !isJson(input.get("StateReasonData").asText())) {
                    throw new AwsError("InvalidFormat", "StateReasonData was not valid JSON");
                }
                change(caller.region(), alarm, input.get("StateValue").asText(), input.get("StateReason").asText(),
                        aws.now());
                yield null;
            }
            case "ListTagsForResource" -> Models.JSON.createObjectNode().set("Tags",
                    Need.list(tagged(input, regional).tags));
            case "TagResource" -> {
                putTags(tagged(input, regional).tags, input.get("Tags"));
                yield null;
            }
            default -> throw new AwsError("InvalidAction", operation);
        };
    }

    private static Alarm alarm(String name, Regional regional) {
        var alarm = regional.alarms.get(name);
        if (alarm == null) {
            throw new AwsError(404, "ResourceNotFound", "Unknown alarm " + name);
        }
        return alarm;
    }

    private static Alarm tagged(ObjectNode input, Regional regional) {
        var arn = input.get("ResourceARN").asText();
        return regional.alarms.values().stream().filter(alarm -> alarm.arn.equals(arn)).findFirst()
                .orElseThrow(() -> new AwsError(404, "ResourceNotFoundException", arn + " does not exist"));
    }

    private static void putTags(Map<String, String> tags, JsonNode given) {
        given.forEach(tag -> tags.put(tag.get("Key").asText(), tag.get("Value").asText()));
        if (tags.size() > 50) {
            throw new AwsError("InvalidParameterValue", "The maximum number of tags is 50");
        }
    }

    private static boolean isJson(String text) {
        try {
            return Models.JSON.readTree(text) != null;
        } catch (JsonProcessingException e) {
            return false;
        }
    }

    /** An alarm that is there already keeps its state and its tags; all else becomes what is given. */
    private JsonNode putAlarm(ObjectNode input, Caller caller) {
        checkAlarm(input, caller.region());
        var name = input.get("AlarmName").asText();
        var regional = regional(caller.region());
        var alarm = regional.alarms.get(name);
        var isNew = alarm == null;
        if (isNew) {
            var tags = new TreeMap<String, String>();
            putTags(tags, input.path("Tags"));
            alarm = new Alarm(name, caller.arn("cloudwatch", "alarm:" + name), tags);
            alarm.changed = aws.now();
            regional.alarms.put(name, alarm);
        }
        alarm.input = input.deepCopy();
        alarm.input.remove("Tags");
        alarm.configured = aws.now();
        regional.history.add(new History(name, aws.now(), "ConfigurationUpdate",
                "Alarm \"" + name + "\" " + (isNew ? "created" : "updated"), null));
        return null;
    }

    private void checkAlarm(ObjectNode input, String region) {
        if (input.get("AlarmName").asText().chars().anyMatch(Character::isISOControl)) {
            throw validation("Alarm name must not contain leading or trailing whitespace or control characters");
        }
        if (!input.path("TreatMissingData").asText("missing").matches("missing|notBreaching|breaching|ignore")) {
            throw validation("TreatMissingData must be one of notBreaching, breaching, ignore, missing");
        }
        var periods = input.get("EvaluationPeriods").intValue();
        if (input.path("DatapointsToAlarm").asInt(1) > periods) {
            throw validation("DatapointsToAlarm must not be greater than EvaluationPeriods");
        }
        if (input.has("ThresholdMetricId") || !input.get("ComparisonOperator").asText()
                .matches("(LessThan|GreaterThan|LessThanOrEqualTo|GreaterThanOrEqualTo)Threshold")) {
            throw notOffered("an alarm on a band");
        }
        if (!input.has("Threshold")) {
            throw validation("Threshold must be specified for a static threshold alarm");
        }
        if (input.has("Metrics")) {
            checkQueries(input);
        } else {
            checkMetric(input);
        }
        checkLength(period(input), periods);
        for (var kind : ACTIONS) {
            texts(input.path(kind)).forEach(arn -> checkAction(arn, region));
        }
    }

    private static void checkMetric(ObjectNode input) {
        for (var member : List.of("MetricName", "Namespace", "Period")) {
            if (!input.hasNonNull(member)) {
                throw validation("The parameter " + member + " must be specified.");
            }
        }
        if (input.hasNonNull("Statistic") == input.hasNonNull("ExtendedStatistic")) {
            throw validation("Exactly one of Statistic and ExtendedStatistic must be specified");
        }
        if (input.has("ExtendedStatistic") || input.has("Unit")) {
            throw notOffered("an extended statistic or a unit");
        }
        checkPeriod(input.get("Period").intValue());
    }

    /** Of metric math, one result is the alarm's; what belongs to one metric stands in its query alone. */
    private static void checkQueries(ObjectNode input) {
        OF_ONE_METRIC.stream().filter(input::has).findFirst().ifPresent(member -> {
            throw validation("Metrics list and " + member + " cannot both be set on the request");
        });
        var queries = input.get("Metrics");
        if (queries.isEmpty() || queries.size() > 20) {
            throw validation("Metrics list must have 1 to 20 members");
        }
        var ids = queries.valueStream().map(query -> query.get("Id").asText()).toList();
        if (Set.copyOf(ids).size() < ids.size()) {
            throw validation("The values for parameter Id in MetricDataQueries are not unique.");
        }
        if (returned(queries).size() != 1) {
            throw validation("Exactly one element of the metrics list should return data.");
        }
        for (var query : queries) {
            checkQuery(query);
        }
        if (queries.valueStream().filter(query -> query.has("MetricStat")).count() == 0) {
            throw validation("The metrics list must have a metric");
        }
        // refuses what it cannot read; a series of any length will do
        series(queries, returned(queries).get(0), query -> new double[2]);
    }

    private static void checkQuery(JsonNode query) {
        if (!query.get("Id").asText().matches("[a-z]\\w*")) {
            throw validation("The value " + query.get("Id").asText() + " for parameter Id is not matching the"
                    + " expected pattern ^[a-z][a-zA-Z0-9_]*$.");
        }
        if (query.has("MetricStat") == query.has("Expression")) {
            throw validation("Exactly one of MetricStat and Expression must be in " + query.get("Id").asText());
        }
        if (query.has("AccountId") || query.has("Period") || query.at("/MetricStat/Unit").isTextual()) {
            throw notOffered("a query's AccountId, Period or Unit");
        }
        if (query.has("MetricStat")) {
            for (var member : List.of("Namespace", "MetricName")) {
                if (!query.at("/MetricStat/Metric").hasNonNull(member)) {
                    throw validation("The parameter " + member + " must be specified.");
                }
            }
            checkPeriod(query.at("/MetricStat/Period").intValue());
            Values.NONE.statistic(query.at("/MetricStat/Stat").asText());
        }
    }

    private static void checkPeriod(int period) {
        if (period % MINUTE != 0) {
            throw Set.of(10, 20, 30).contains(period) ? notOffered("a period of less than a minute")
                    : validation("Period must be 10, 20, 30 or a multiple of 60");
        }
    }

    private static void checkLength(int period, int periods) {
        var length = (long) period * periods;
        if (length > WEEK) {
            throw validation("Metrics cannot be checked across more than 7 days (EvaluationPeriods * Period must be"
                    + " <= 604800).");
        }
        if (period < HOUR && length > DAY) {
            throw validation("Metrics with a period of less than an hour cannot be checked across more than a day"
                    + " (EvaluationPeriods * Period must be <= 86400).");
        }
    }

    /** A topic need not exist. */
    private void checkAction(String arn, String region) {
        if (!arn.matches("arn:aws[a-z-]*:sns:[a-z0-9-]+:\\d{12}:[\\w-]{1,256}")) {
            throw arn.startsWith("arn:") && !arn.contains(":sns:") ? notOffered("the action " + arn)
                    : validation("Invalid arn syntax: " + arn);
        }
        if (!arn.split(":")[3].equals(region)) {
            throw validation("Invalid region " + arn.split(":")[3] + " specified. Only " + region
                    + " is supported.");
        }
    }

    private JsonNode describeAlarms(ObjectNode input, Regional regional) {
        if (input.has("AlarmNames") && input.has("AlarmNamePrefix")) {
            throw validation("AlarmNames and AlarmNamePrefix cannot both be specified");
        }
        if (input.has("ChildrenOfAlarmName") || input.has("ParentsOfAlarmName")) {
            throw notOffered("composite alarms");
        }
        var names = texts(input.path("AlarmNames"));
        var actionPrefix = input.path("ActionPrefix").asText("");
        Predicate<Alarm> hasAction = alarm -> ACTIONS.stream()
                .flatMap(kind -> texts(alarm.input.path(kind)).stream())
                .anyMatch(action -> action.startsWith(actionPrefix));
        var found = regional.alarms.values().stream()
                .filter(alarm -> !input.has("AlarmNames") || names.contains(alarm.name))
                .filter(alarm -> alarm.name.startsWith(input.path("AlarmNamePrefix").asText("")))
                .filter(alarm -> alarm.state.equals(input.path("StateValue").asText(alarm.state)))
                .filter(alarm -> actionPrefix.isEmpty() || hasAction.test(alarm))
                .filter(alarm -> !input.has("AlarmTypes") || texts(input.get("AlarmTypes")).contains("MetricAlarm"))
                .map(alarm -> (JsonNode) description(alarm)).toList();
        var answer = page("MetricAlarms", found, input);
        answer.putArray("CompositeAlarms");
        return answer;
    }

    private static ObjectNode description(Alarm alarm) {
        var node = alarm.input.deepCopy();
        ACTIONS.forEach(node::withArray);
        if (!node.has("Metrics")) {
            node.withArray("Dimensions");
        }
        if (!node.has("ActionsEnabled")) {
            node.put("ActionsEnabled", true);
        }
        return node.put("AlarmArn", alarm.arn).put("AlarmConfigurationUpdatedTimestamp", alarm.configured.toString())
                .put("StateValue", alarm.state).put("StateReason", alarm.reason)
                .put("StateUpdatedTimestamp", alarm.changed.toString())
                .put("StateTransitionedTimestamp", alarm.changed.toString());
    }

    private JsonNode describeHistory(ObjectNode input, Regional regional) {
        var from = input.has("StartDate") ? Instant.parse(input.get("StartDate").asText()) : Instant.MIN;
        var to = input.has("EndDate") ? Instant.parse(input.get("EndDate").asText()) : Instant.MAX;
        var found = regional.history.stream()
                .filter(item -> item.alarmName.equals(input.path("AlarmName").asText(item.alarmName)))
                .filter(item -> item.type.equals(input.path("HistoryItemType").asText(item.type)))
                .filter(item -> !item.time.isBefore(from) && !item.time.isAfter(to))
                .map(item -> (JsonNode) Models.JSON.createObjectNode().put("AlarmName", item.alarmName)
                        .put("AlarmType", "MetricAlarm").put("Timestamp", item.time.toString())
                        .put("HistoryItemType", item.type).put("HistorySummary", item.summary)
                        .put("HistoryData", item.data))
                .collect(Collectors.toCollection(ArrayList::new));
        if (!input.path("ScanBy").asText().equals("TimestampAscending")) {
            Collections.reverse(found);
        }
        return page("AlarmHistoryItems", found, input);
    }

    private ObjectNode page(String name, List<JsonNode> items, ObjectNode input) {
        var token = input.path("NextToken").asText("token-0");
        if (!token.matches("token-\\d{1,6}")) {
            throw new AwsError("InvalidNextToken", "The next token specified is invalid.");
        }
        var from = Math.min(Integer.parseInt(token.substring(6)), items.size());
        var to = Math.min(items.size(), from + Math.min(pageSize, input.path("MaxRecords").asInt(pageSize)));
        var answer = Models.JSON.createObjectNode();
        answer.putArray(name).addAll(items.subList(from, to));
        return to < items.size() ? answer.put("NextToken", "token-" + to) : answer;
    }

    // ---- Evaluation

    private void evaluate(String region, Alarm alarm) {
        var minute = evaluated.atZone(ZoneOffset.UTC).getMinute();
        if (alarm.isOfSeveralDays() && minute != HOURLY_MINUTE) {
            return;
        }
        var end = alarm.isOfSeveralDays() ? evaluated.truncatedTo(ChronoUnit.HOURS) : evaluated;
        var points = points(region, alarm, end);
        var state = state(alarm, points);
        change(region, alarm, state, reason(alarm, points, state), evaluated);
    }

    /** Of the evaluation periods and a few before, the oldest first; NaN is missing. The last one ends with end. */
    private double[] points(String region, Alarm alarm, Instant end) {
        var count = alarm.periods() + OLDER_POINTS;
        if (!alarm.input.has("Metrics")) {
            return points(region, alarm.input, alarm.input.get("Statistic").asText(), alarm.period(), end, count);
        }
        var queries = alarm.input.get("Metrics");
        return series(queries, returned(queries).get(0), query -> points(region, query.at("/MetricStat/Metric"),
                query.at("/MetricStat/Stat").asText(), alarm.period(), end, count));
    }

    private double[] points(String region, JsonNode metric, String statistic, int period, Instant end, int count) {
        var values = regional(region).metrics.getOrDefault(
                new MetricName(metric.get("Namespace").asText(), metric.get("MetricName").asText(),
                        Need.tags(metric.path("Dimensions"), "Name", "Value")),
                new TreeMap<>());
        return IntStream.range(0, count).mapToDouble(point -> {
            var from = end.minusSeconds((long) (count - point) * period);
            var all = values.subMap(from, from.plusSeconds(period)).values().stream()
                    .reduce(Values.NONE, Values::and);
            return all.count == 0 ? Double.NaN : all.statistic(statistic);
        }).toArray();
    }

    /**
     * The guide's tables for missing points: the latest points that there are count, older ones too; only what is then
     * still missing is treated as the alarm says.
     */
    private static String state(Alarm alarm, double[] points) {
        var present = DoubleStream.of(points).filter(point -> !Double.isNaN(point)).toArray();
        var known = Math.min(present.length, alarm.periods());
        var breaching = IntStream.range(present.length - known, present.length)
                .filter(point -> breaches(alarm.input, present[point])).count();
        var missing = alarm.periods() - known;
        var needed = alarm.input.path("DatapointsToAlarm").asInt(alarm.periods());
        if (breaching >= needed) {
            return "ALARM";
        }
        return switch (alarm.input.path("TreatMissingData").asText("missing")) {
            case "breaching" -> breaching + missing >= needed ? "ALARM" : "OK";
            case "notBreaching" -> "OK";
            case "ignore" -> missing > 0 && breaching == known ? alarm.state : "OK";
            default -> known == 0 ? "INSUFFICIENT_DATA" : missing > 0 && breaching == known ? "ALARM" : "OK";
        };
    }

    private static boolean breaches(ObjectNode alarm, double point) {
        var threshold = alarm.get("Threshold").doubleValue();
        return switch (alarm.get("ComparisonOperator").asText()) {
            case "LessThanThreshold" -> point < threshold;
            case "LessThanOrEqualToThreshold" -> point <= threshold;
            case "GreaterThanThreshold" -> point > threshold;
            default -> point >= threshold;
        };
    }

    private static String reason(Alarm alarm, double[] points, String state) {
        var shown = IntStream.range(OLDER_POINTS, points.length).mapToObj(point -> Double.isNaN(points[point])
                ? "missing" : String.valueOf(points[point])).collect(Collectors.joining(", ", "[", "]"));
        return (state.equals("INSUFFICIENT_DATA") ? "Insufficient Data: " : "Threshold Crossed: ") + alarm.periods()
                + " datapoints " + shown + " against the threshold (" + alarm.input.get("Threshold").doubleValue()
                + ")";
    }

    /** Notifies only if the state is another than before. */
    private void change(String region, Alarm alarm, String state, String reason, Instant time) {
        if (state.equals(alarm.state)) {
            return;
        }
        var before = alarm.state;
        alarm.state = state;
        alarm.reason = reason;
        alarm.changed = time;
        var data = Models.JSON.createObjectNode();
        data.putObject("oldState").put("stateValue", before);
        data.putObject("newState").put("stateValue", state).put("stateReason", reason);
        regional(region).history.add(new History(alarm.name, time, "StateUpdate",
                "Alarm updated from " + before + " to " + state, data.toString()));
        if (alarm.input.path("ActionsEnabled").asBoolean(true)) {
            var kind = switch (state) {
                case "OK" -> "OKActions";
                case "ALARM" -> "AlarmActions";
                default -> "InsufficientDataActions";
            };
            for (var topic : texts(alarm.input.path(kind))) {
                regional(region).history.add(notified(region, alarm, topic, before));
            }
        }
    }

    /** What became of a notification; nobody else is told when it fails. */
    private History notified(String region, Alarm alarm, String topic, String before) {
        var message = message(region, alarm, before);
        var data = Models.JSON.createObjectNode().put("notificationResource", topic)
                .put("stateUpdateTimestamp", alarm.changed.toEpochMilli()).put("publishedMessage", message);
        var subject = alarm.state + ": \"" + alarm.name + "\" in " + regionName(region);
        var error = publish(alarm, topic, subject, message);
        data.put("actionState", error == null ? "Succeeded" : "Failed").put("error", error);
        return new History(alarm.name, alarm.changed, "Action", error == null
                ? "Successfully executed action " + topic
                : "Failed to execute action " + topic + ". Received error: \"" + error + "\"", data.toString());
    }

    /** Why the message was not accepted; null if it was. */
    private String publish(Alarm alarm, String topic, String subject, String message) {
        var owner = aws.known(topic.split(":")[4]);
        if (owner == null) {
            return "NotFound: Topic does not exist";
        }
        try {
            owner.sns.publishFor("cloudwatch.amazonaws.com", alarm.arn, topic, subject, message);
            return null;
        } catch (AwsError e) {
            return e.code + ": " + e.getMessage();
        }
    }

    private static String message(String region, Alarm alarm, String before) {
        var message = Models.JSON.createObjectNode().put("AlarmName", alarm.name)
                .put("AlarmDescription", alarm.input.path("AlarmDescription").textValue())
                .put("AWSAccountId", alarm.arn.split(":")[4])
                .put("AlarmConfigurationUpdatedTimestamp", alarm.configured.toString())
                .put("NewStateValue", alarm.state).put("NewStateReason", alarm.reason)
                .put("StateChangeTime", alarm.changed.toString()).put("Region", regionName(region))
                .put("AlarmArn", alarm.arn).put("OldStateValue", before);
        for (var kind : ACTIONS) {
            message.set(kind, alarm.input.path(kind).deepCopy());
        }
        return message.toString();
    }

    private static String regionName(String region) {
        var known = Region.of(region).metadata();
        return known == null ? region : known.description();
    }

    // ---- Metric math

    private static List<JsonNode> returned(JsonNode queries) {
        return queries.valueStream().filter(query -> query.path("ReturnData").asBoolean(true)).toList();
    }

    /** The points of a metric, the oldest first. */
    private interface Source {
        double[] of(JsonNode query);
    }

    private static double[] series(JsonNode queries, JsonNode query, Source metrics) {
        return query.has("MetricStat") ? metrics.of(query) : new Expression(query, queries, metrics, 1).value();
    }

    /**
     * Numbers, ids, + - * /, parentheses and FILL(series, number). A missing point makes the result missing; FILL gives
     * points to a series that has some, not to one that has none.
     */
    private static final class Expression {
        private final String text;
        private final JsonNode queries;
        private final Source metrics;
        private final int depth;
        private int at;

        Expression(JsonNode query, JsonNode queries, Source metrics, int depth) {
            this.text = query.get("Expression").asText().replace(" ", "");
            this.queries = queries;
            this.metrics = metrics;
            this.depth = depth;
            if (depth > queries.size()) {
                throw validation("The expression '" + text + "' refers to itself");
            }
        }

        double[] value() {
            var value = sum();
            if (at < text.length()) {
                throw invalid();
            }
            if (value.length == 1) {
                throw validation("The expression '" + text + "' is a number; an alarm needs a time series");
            }
            return value;
        }

        private AwsError invalid() {
            return validation("Invalid metrics list: the expression '" + text + "' is not valid at character " + at);
        }

        private boolean next(String symbol) {
            var isNext = text.startsWith(symbol, at);
            at += isNext ? symbol.length() : 0;
            return isNext;
        }

        private void expect(String symbol) {
            if (!next(symbol)) {
                throw invalid();
            }
        }

        private String word(String form) {
            var found = Pattern.compile(form).matcher(text).region(at, text.length());
            if (!found.lookingAt()) {
                return "";
            }
            at = found.end();
            return found.group();
        }

        private double[] sum() {
            var value = product();
            while (true) {
                if (next("+")) {
                    value = combined(value, product(), (left, right) -> left + right);
                } else if (next("-")) {
                    value = combined(value, product(), (left, right) -> left - right);
                } else {
                    return value;
                }
            }
        }

        private double[] product() {
            var value = factor();
            while (true) {
                if (next("*")) {
                    value = combined(value, factor(), (left, right) -> left * right);
                } else if (next("/")) {
                    value = combined(value, factor(), (left, right) -> right == 0 ? Double.NaN : left / right);
                } else {
                    return value;
                }
            }
        }

        private double[] factor() {
            if (next("(")) {
                var value = sum();
                expect(")");
                return value;
            }
            if (next("FILL(")) {
                var series = sum();
                expect(",");
                var filling = sum();
                expect(")");
                if (series.length == 1 || filling.length > 1) {
                    throw notOffered("FILL of a number, or with a series");
                }
                var isEmpty = DoubleStream.of(series).allMatch(Double::isNaN);
                return isEmpty ? series : DoubleStream.of(series)
                        .map(point -> Double.isNaN(point) ? filling[0] : point).toArray();
            }
            var number = word("-?\\d+(\\.\\d+)?");
            if (!number.isEmpty()) {
                return new double[] {Double.parseDouble(number)};
            }
            var id = word("[a-z]\\w*");
            var query = queries.valueStream().filter(one -> one.get("Id").asText().equals(id)).findFirst()
                    .orElseThrow(() -> invalid());
            return query.has("MetricStat") ? metrics.of(query)
                    : new Expression(query, queries, metrics, depth + 1).value();
        }

        /** A number, an array of one, is combined with each point of a series. */
        private static double[] combined(double[] left, double[] right, DoubleBinaryOperator operator) {
            return IntStream.range(0, Math.max(left.length, right.length))
                    .mapToDouble(point -> operator.applyAsDouble(left[Math.min(point, left.length - 1)],
                            right[Math.min(point, right.length - 1)]))
                    .toArray();
        }
    }

    // ---- Helpers

    /** The period of an alarm on one metric, or of the metrics of its metric math, which is the same for all here. */
    private static int period(ObjectNode alarm) {
        if (!alarm.has("Metrics")) {
            return alarm.get("Period").intValue();
        }
        var periods = alarm.get("Metrics").valueStream().filter(query -> query.has("MetricStat"))
                .map(query -> query.at("/MetricStat/Period").intValue()).distinct().toList();
        if (periods.size() != 1) {
            throw notOffered("metrics of several periods");
        }
        return periods.get(0);
    }

    private static List<String> texts(JsonNode list) {
        return list.valueStream().map(JsonNode::asText).toList();
    }

    private static AwsError validation(String message) {
        return new AwsError("ValidationError", message);
    }

    private static AwsError notOffered(String what) {
        return validation("The embedded AWS does not offer " + what);
    }
}
