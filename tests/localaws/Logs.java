package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * CloudWatch Logs: groups with their retention, and the streams that builds write. Rules from the CloudWatch Logs API
 * Reference.
 */
public final class Logs implements LocalAws.Service {
    private static final Set<Integer> RETENTION = Set.of(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731,
            1096, 1827, 2192, 2557, 2922, 3288, 3653);

    private record Event(Instant time, String message) { }

    /** A log group; tests may look at it and change it. */
    public static final class Group {
        public final String name;
        /** In days; null when nothing expires. */
        public Integer retention;
        private final Instant created;
        private final Map<String, List<Event>> streams = new TreeMap<>();

        Group(String name, Instant created) {
            this.name = name;
            this.created = created;
        }
    }

    private final LocalAws aws;
    private final Map<String, Map<String, Group>> regions = LocalAws.concurrentMap();
    /** How many items a page has; AWS's own pages are longer. */
    public int pageSize = 3;

    Logs(LocalAws aws) {
        this.aws = aws;
    }

    /** The group, or null. */
    public synchronized Group group(String region, String name) {
        return groups(region).get(name);
    }

    private Map<String, Group> groups(String region) {
        return LocalAws.regional(regions, region, LocalAws::sortedMap);
    }

    /**
     * What a service needs to write to a stream, and to make the group that is not there yet.
     *
     * @param caller the role's
     */
    synchronized List<Need> writing(String group, String stream, Caller caller) {
        var needs = new ArrayList<Need>();
        var resource = "log-group:" + group + ":log-stream:";
        if (!groups(caller.region()).containsKey(group))
            needs.add(new Need("logs:CreateLogGroup", caller.arn("logs", resource)));
        for (var action : List.of("logs:CreateLogStream", "logs:PutLogEvents"))
            needs.add(new Need(action, caller.arn("logs", resource + stream)));
        return needs;
    }

    /** Appends to a stream, which with its group is made when it is not there. */
    synchronized void write(String region, String group, String stream, String message) {
        groups(region).computeIfAbsent(group, name -> new Group(name, aws.now())).streams
                .computeIfAbsent(stream, name -> new ArrayList<>()).add(new Event(aws.now(), message));
    }

    /** A stream's messages, one behind the other. */
    public synchronized String read(String region, String group, String stream) {
        var found = groups(region).get(group);
        var text = new StringBuilder();
        if (found != null)
            found.streams.getOrDefault(stream, List.of()).forEach(event -> text.append(event.message));
        return text.toString();
    }

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        return new AwsError("InvalidParameterException",
                LocalAws.Service.super.invalid(operation, violations).getMessage());
    }

    /** On the log group, as messages of CloudWatch Logs name it. */
    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var group = input.path("logGroupName").asText();
        return switch (operation) {
            case "CreateLogGroup", "DeleteLogGroup", "PutRetentionPolicy" ->
                List.of(new Need("logs:" + operation, caller.arn("logs", "log-group:" + group + ":log-stream:")));
            // whatever the prefix, it is decided on all groups, as its refusals show
            case "DescribeLogGroups" ->
                List.of(new Need("logs:" + operation, caller.arn("logs", "log-group::log-stream:")));
            case "GetLogEvents" -> List.of(new Need("logs:" + operation, caller.arn("logs", "log-group:" + group
                    + ":log-stream:" + input.path("logStreamName").asText())));
            default -> throw new IllegalStateException("no permission is known for logs:" + operation);
        };
    }

    @Override
    public synchronized JsonNode answer(String operation, ObjectNode input, Caller caller) {
        var groups = groups(caller.region());
        return switch (operation) {
            case "CreateLogGroup" -> {
                for (var member : List.of("kmsKeyId", "tags", "logGroupClass"))
                    if (input.hasNonNull(member)) throw invalid("The embedded AWS does not offer " + member);
                var name = input.get("logGroupName").asText();
                if (groups.containsKey(name))
                    throw new AwsError("ResourceAlreadyExistsException", "The specified log group already exists");
                groups.put(name, new Group(name, aws.now()));
                yield null;
            }
            case "DeleteLogGroup" -> {
                groups.remove(existing(input, caller).name);
                yield null;
            }
            case "PutRetentionPolicy" -> {
                var days = input.get("retentionInDays").asInt();
                if (!RETENTION.contains(days))
                    throw invalid("Invalid retention value. Valid values are: " + RETENTION.stream().sorted().toList());
                existing(input, caller).retention = days;
                yield null;
            }
            case "DescribeLogGroups" -> describe(input, caller);
            case "GetLogEvents" -> events(input, caller);
            default -> throw new AwsError("UnknownOperationException", operation);
        };
    }

    private Group existing(ObjectNode input, Caller caller) {
        var group = groups(caller.region()).get(input.get("logGroupName").asText());
        if (group == null)
            throw new AwsError("ResourceNotFoundException", "The specified log group does not exist.");
        return group;
    }

    private JsonNode describe(ObjectNode input, Caller caller) {
        for (var member : List.of("logGroupNamePattern", "accountIdentifiers", "includeLinkedAccounts"))
            if (input.hasNonNull(member)) throw invalid("The embedded AWS does not offer " + member);
        var prefix = input.path("logGroupNamePrefix").asText("");
        var found = groups(caller.region()).values().stream().filter(group -> group.name.startsWith(prefix))
                .filter(group -> group.name.compareTo(input.path("nextToken").asText("")) > 0).toList();
        var page = found.subList(0, Math.min(found.size(), Math.min(pageSize, input.path("limit").asInt(50))));
        var answer = Models.JSON.createObjectNode();
        var list = answer.putArray("logGroups");
        for (var group : page) {
            var described = list.addObject().put("logGroupName", group.name)
                    .put("arn", caller.arn("logs", "log-group:" + group.name + ":*"))
                    .put("creationTime", group.created.toEpochMilli());
            if (group.retention != null) described.put("retentionInDays", group.retention);
        }
        if (page.size() < found.size()) answer.put("nextToken", page.get(page.size() - 1).name);
        return answer;
    }

    /** The last ones, oldest first, as many as are asked for; what is before them is not offered. */
    private JsonNode events(ObjectNode input, Caller caller) {
        if (input.hasNonNull("nextToken") || input.path("startFromHead").asBoolean())
            throw invalid("The embedded AWS does not offer more than the last events");
        var stream = existing(input, caller).streams.get(input.path("logStreamName").asText());
        if (stream == null)
            throw new AwsError("ResourceNotFoundException", "The specified log stream does not exist.");
        var answer = Models.JSON.createObjectNode();
        var list = answer.putArray("events");
        var from = Math.max(0, stream.size() - input.path("limit").asInt(10_000));
        for (var event : stream.subList(from, stream.size()))
            list.addObject().put("timestamp", event.time.toEpochMilli()).put("message", event.message);
        return answer;
    }

    private static AwsError invalid(String message) {
        return new AwsError("InvalidParameterException", message);
    }
}
