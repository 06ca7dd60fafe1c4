package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Stream;
import localaws.PolicyEvaluator.Decision;

/**
 * EventBridge: rules of the default bus, their targets, and the delivery of what services tell of themselves. Rules
 * from the EventBridge API Reference unless another source is named.
 */
public final class Events implements LocalAws.Service, LocalAws.Timer {
    /**
     * What invokes a kind of target; {@link Account#targets} has them by the service in the target's ARN. It is called
     * in the thread that published, which may hold a service's lock: what takes long, it only begins.
     */
    @FunctionalInterface
    public interface Target {
        /**
         * @param arn     of the target
         * @param input   what the rule hands over: the event, or what the target's Input, InputPath or
         *                InputTransformer made of it
         * @param session of the target's role, whose permissions decide
         * @throws AwsError when the call is refused: the invocation has failed
         */
        void invoke(String arn, JsonNode input, Caller session);
    }

    /**
     * What became of a match of a rule with a target.
     *
     * @param error why it failed, or null; the metric FailedInvocations of AWS/Events counts those
     */
    public record Invocation(Instant time, String region, String rule, String targetId, String error) { }

    /** One rule; tests may look at it. What is null was not given. */
    public static final class Rule {
        public final String name;
        public final String arn;
        /** The account that made it. */
        public final String createdBy;
        public volatile String pattern;
        public volatile String schedule;
        public volatile String state = "ENABLED";
        public volatile String description;
        public volatile String roleArn;
        /** The service that made it, such as codepipeline.amazonaws.com, or null. */
        public volatile String managedBy;
        public volatile Map<String, String> tags = Map.of();
        /** By id, as PutTargets has them. */
        public volatile Map<String, ObjectNode> targets = Map.of();
        /** Of the pattern. */
        private volatile EventPattern matcher;
        /** Of the schedule. */
        private volatile Schedule timetable;

        Rule(String name, String arn, String createdBy) {
            this.name = name;
            this.arn = arn;
            this.createdBy = createdBy;
        }

        private boolean isEnabled() {
            return !state.equals("DISABLED");
        }
    }

    private static final String PRINCIPAL = "events.amazonaws.com";
    private static final int TARGETS_PER_CALL = 10;
    private static final int TAGS = 50;
    /** What an event must have to be tested. */
    private static final List<String> MANDATORY = List.of("id", "account", "source", "time", "region", "resources",
            "detail-type");

    private final LocalAws aws;
    private final String account;
    private final Map<String, Map<String, Rule>> regions = LocalAws.concurrentMap();
    private final List<Invocation> invocations = new CopyOnWriteArrayList<>();
    /** How many items a page has; AWS's own pages are longer. */
    public volatile int pageSize = 2;
    /** At AWS too quotas that can be raised, but for the number of targets. */
    public volatile int rulesPerBus = 300;
    public volatile int patternLength = 2_048;
    public volatile int targetsPerRule = 5;
    /** How many entries of PutTargets and RemoveTargets fail in an answer that else is good, as in AWS under load. */
    public volatile int failingEntries;

    Events(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    /** The rule, or null. */
    public Rule rule(String region, String name) {
        return in(region).get(name);
    }

    /** All invocations of targets so far, oldest first, those of rules that are gone too. */
    public List<Invocation> invocations() {
        return List.copyOf(invocations);
    }

    private Map<String, Rule> in(String region) {
        return LocalAws.regional(regions, region, ConcurrentSkipListMap::new);
    }

    // Delivery

    /** Whether the Region has any rule: what is published without one is lost. */
    boolean hasRules(String region) {
        var rules = regions.get(region);
        return rules != null && !rules.isEmpty();
    }

    /**
     * Puts a service's event on the default bus of the Region, and delivers it to the targets of the rules that match:
     * that is done when this returns.
     *
     * @param source such as aws.codecommit
     */
    void publish(String region, String source, String detailType, List<String> resources, ObjectNode detail) {
        if (hasRules(region)) put(event(region, source, detailType, aws.now(), resources, detail));
    }

    /**
     * The same for a call that CloudTrail tells of. Rules that are no more than ENABLED do not see those that only read
     * (User Guide, "Read-only management events from AWS services").
     */
    void publishCall(String region, String source, boolean isReading, Supplier<ObjectNode> detail) {
        var all = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS";
        if (!hasRules(region)
                || isReading && in(region).values().stream().noneMatch(rule -> rule.state.equals(all))) return;
        put(event(region, source, "AWS API Call via CloudTrail", aws.now(), List.of(), detail.get()),
                rule -> !isReading || rule.state.equals(all));
    }

    private ObjectNode event(String region, String source, String detailType, Instant time, List<String> resources,
            ObjectNode detail) {
        var event = Models.JSON.createObjectNode().put("version", "0").put("id", UUID.randomUUID().toString())
                .put("detail-type", detailType).put("source", source).put("account", account)
                .put("time", time.truncatedTo(ChronoUnit.SECONDS).toString()).put("region", region);
        resources.forEach(event.putArray("resources")::add);
        return event.set("detail", detail);
    }

    private void put(ObjectNode event) {
        put(event, rule -> true);
    }

    private void put(ObjectNode event, Predicate<Rule> seeing) {
        var region = event.get("region").asText();
        in(region).values().stream().filter(rule -> rule.isEnabled() && rule.matcher != null && seeing.test(rule)
                && rule.matcher.matches(event)).forEach(rule -> invoke(rule, region, event));
    }

    private void invoke(Rule rule, String region, ObjectNode event) {
        rule.targets.forEach((id, target) -> {
            String error = null;
            try {
                invoke(rule, region, target, new TargetInput(target).of(event, rule.arn, rule.name));
            } catch (AwsError e) {
                error = e.code + ": " + e.getMessage();
            }
            invocations.add(new Invocation(aws.now(), region, rule.name, id, error));
            count("Invocations", rule, region);
            if (error != null) count("FailedInvocations", rule, region);
        });
    }

    private void count(String metric, Rule rule, String region) {
        aws.account(account).cloudwatch.put(region, "AWS/Events", metric, Map.of("RuleName", rule.name), 1);
    }

    /** With the role if there is one; else a topic's own policy decides. */
    private void invoke(Rule rule, String region, ObjectNode target, String input) {
        var arn = target.get("Arn").asText();
        var session = target.hasNonNull("RoleArn") ? assume(target.get("RoleArn").asText(), rule.arn, region) : null;
        var service = arn.split(":")[2];
        var sns = aws.account(account).sns;
        if (!service.equals("sns")) aws.account(account).targets.get(service).invoke(arn, json(input), session);
        else if (session == null) sns.publishFor(PRINCIPAL, rule.arn, arn, null, input);
        else sns.publishAs(session, arn, input);
    }

    private static JsonNode json(String input) {
        try {
            return Models.JSON.readTree(input);
        } catch (JsonProcessingException e) {
            throw validation("The input is no JSON: " + e.getOriginalMessage());
        }
    }

    /** A session of a role of this account, if its trust policy lets EventBridge have one for the rule. */
    private Caller assume(String roleArn, String ruleArn, String region) {
        var role = roleArn.startsWith("arn:") && roleArn.split(":").length == 6
                && roleArn.split(":")[4].equals(account) ? aws.account(account).iam.role(roleArn) : null;
        var allowed = role != null && aws.authorizer.decideForService(PRINCIPAL, ruleArn, account, region,
                new Need("sts:AssumeRole", roleArn).policy("trust", role.trust)).decision() == Decision.allowed;
        if (!allowed)
            throw validation("Provided role '" + roleArn + "' cannot be assumed by principal '" + PRINCIPAL + "'.");
        var partition = new Caller("", account, region).partition();
        return new Caller("arn:" + partition + ":sts::" + account + ":assumed-role/" + role.name + "/EventBridge",
                account, region);
    }

    // Schedules

    @Override
    public Instant next(Instant after) {
        return scheduled().map(rule -> rule.timetable.next(after)).filter(next -> next != null)
                .min(Instant::compareTo).orElse(null);
    }

    @Override
    public void due(Instant now) {
        scheduled().filter(rule -> now.equals(rule.timetable.next(now.minusNanos(1)))).toList().forEach(rule -> {
            var region = rule.arn.split(":")[3];
            invoke(rule, region, event(region, "aws.events", "Scheduled Event", now, List.of(rule.arn),
                    Models.JSON.createObjectNode()));
        });
    }

    private Stream<Rule> scheduled() {
        return regions.values().stream().flatMap(rules -> rules.values().stream())
                .filter(rule -> rule.isEnabled() && rule.timetable != null);
    }

    // Permissions

    /** On the rule, and on a role that is handed over; what lists or tests has no resource. */
    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "events:" + operation;
        return switch (operation) {
            case "ListRules", "ListRuleNamesByTarget", "TestEventPattern" -> List.of(new Need(action, "*"));
            case "DescribeRule", "DeleteRule", "EnableRule", "DisableRule" ->
                List.of(onRule(action, input.path("Name").asText(), caller));
            case "ListTargetsByRule", "RemoveTargets" ->
                List.of(onRule(action, input.path("Rule").asText(), caller));
            case "PutTargets" -> {
                var needs = new ArrayList<Need>();
                var targets = input.path("Targets");
                needs.add(onRule(action, input.path("Rule").asText(), caller).list("events:TargetArn",
                        targets.valueStream().map(target -> target.path("Arn").asText()).toList()));
                targets.forEach(target -> passRole(target, needs));
                yield needs;
            }
            case "PutRule" -> putRuleNeeds(input, caller);
            case "PutEvents" -> input.path("Entries").valueStream()
                    .map(entry -> new Need(action, caller.arn("events", "event-bus/default"))
                            .key("events:source", entry.path("Source").textValue())
                            .key("events:detail-type", entry.path("DetailType").textValue()))
                    .toList();
            case "ListTagsForResource" -> List.of(onArn(action, input, caller));
            case "TagResource" -> List.of(onArn(action, input, caller)
                    .requestTags(Need.tags(input.path("Tags"), "Key", "Value")));
            case "UntagResource" -> List.of(onArn(action, input, caller)
                    .keys("aws:TagKeys", input.path("TagKeys").valueStream().map(JsonNode::asText).toList()));
            default -> throw new IllegalStateException("no permission is known for events:" + operation);
        };
    }

    private List<Need> putRuleNeeds(ObjectNode input, Caller caller) {
        var name = input.path("Name").asText();
        var tags = Need.tags(input.path("Tags"), "Key", "Value");
        var put = onRule("events:PutRule", name, caller).requestTags(tags);
        if (input.hasNonNull("EventPattern")) {
            var pattern = new EventPattern(input.get("EventPattern").asText());
            for (var field : List.of("source", "detail-type")) {
                var values = pattern.strings(field);
                if (!values.isEmpty()) put = put.list("events:" + field, values);
            }
        }
        var needs = new ArrayList<>(List.of(put));
        if (!tags.isEmpty() && !in(caller.region()).containsKey(name))
            needs.add(onRule("events:TagResource", name, caller).requestTags(tags));
        passRole(input, needs);
        return needs;
    }

    private static void passRole(JsonNode holder, List<Need> needs) {
        if (holder.hasNonNull("RoleArn"))
            needs.add(new Need("iam:PassRole", holder.get("RoleArn").asText()).key("iam:PassedToService", PRINCIPAL));
    }

    private Need onRule(String action, String name, Caller caller) {
        var rule = in(caller.region()).get(name);
        var need = new Need(action, caller.arn("events", "rule/" + name));
        return rule == null ? need
                : need.resourceTags(rule.tags).key("events:creatorAccount", rule.createdBy);
    }

    private Need onArn(String action, ObjectNode input, Caller caller) {
        var arn = input.path("ResourceARN").asText();
        var prefix = caller.arn("events", "rule/");
        return arn.startsWith(prefix) ? onRule(action, arn.substring(prefix.length()), caller)
                : new Need(action, arn);
    }

    // Operations

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        checkBus(input, caller);
        return switch (operation) {
            case "PutRule" -> putRule(input, caller);
            case "DescribeRule" -> shown(rule(input, "Name", caller)).put("CreatedBy", caller.account());
            case "ListRules" -> page("Rules", in(caller.region()).values().stream()
                    .filter(rule -> rule.name.startsWith(input.path("NamePrefix").asText()))
                    .map(rule -> (JsonNode) shown(rule)).toList(), input);
            case "DeleteRule" -> {
                var rule = in(caller.region()).get(input.get("Name").asText());
                if (rule != null) {
                    checkManaged(rule, input);
                    if (!rule.targets.isEmpty()) throw validation("Rule can't be deleted since it has targets.");
                    in(caller.region()).remove(rule.name);
                }
                yield null;
            }
            case "EnableRule", "DisableRule" -> {
                var rule = rule(input, "Name", caller);
                checkManaged(rule, input);
                rule.state = operation.equals("EnableRule") ? "ENABLED" : "DISABLED";
                yield null;
            }
            case "PutTargets" -> putTargets(input, caller);
            case "RemoveTargets" -> {
                var rule = rule(input, "Rule", caller);
                checkManaged(rule, input);
                var left = new LinkedHashMap<>(rule.targets);
                var failed = new ArrayList<String>();
                input.get("Ids").forEach(id -> {
                    if (fails()) failed.add(id.asText());
                    else left.remove(id.asText());
                });
                rule.targets = left;
                yield failed(failed);
            }
            case "ListTargetsByRule" ->
                page("Targets", List.<JsonNode>copyOf(rule(input, "Rule", caller).targets.values()), input);
            case "ListRuleNamesByTarget" -> page("RuleNames", in(caller.region()).values().stream()
                    .filter(rule -> rule.targets.values().stream()
                            .anyMatch(target -> target.get("Arn").equals(input.get("TargetArn"))))
                    .map(rule -> (JsonNode) Models.JSON.getNodeFactory().textNode(rule.name)).toList(), input);
            case "TestEventPattern" -> test(input);
            case "PutEvents" -> putEvents(input, caller);
            case "TagResource" -> {
                var rule = tagged(input, caller);
                checkManaged(rule, input);
                rule.tags = tags(rule.tags, input.path("Tags"));
                yield Models.JSON.createObjectNode();
            }
            case "UntagResource" -> {
                var rule = tagged(input, caller);
                var left = new TreeMap<>(rule.tags);
                input.get("TagKeys").forEach(key -> left.remove(key.asText()));
                rule.tags = left;
                yield Models.JSON.createObjectNode();
            }
            case "ListTagsForResource" -> Models.JSON.createObjectNode().set("Tags",
                    Need.list(tagged(input, caller).tags));
            default -> throw new AwsError("UnknownOperationException", operation);
        };
    }

    /** There is no bus but the default one here. */
    private static void checkBus(ObjectNode input, Caller caller) {
        var bus = input.path("EventBusName").asText("default");
        if (!bus.equals("default") && !bus.equals(caller.arn("events", "event-bus/default")))
            throw new AwsError("ResourceNotFoundException", "Event bus " + bus + " does not exist.");
    }

    private Rule rule(ObjectNode input, String member, Caller caller) {
        return existing(input.get(member).asText(), caller);
    }

    private Rule existing(String name, Caller caller) {
        var rule = in(caller.region()).get(name);
        if (rule == null)
            throw new AwsError("ResourceNotFoundException", "Rule " + name + " does not exist on EventBus default.");
        return rule;
    }

    private Rule tagged(ObjectNode input, Caller caller) {
        var arn = input.get("ResourceARN").asText();
        var prefix = caller.arn("events", "rule/");
        if (!arn.startsWith(prefix)) throw validation("Parameter ResourceARN is not valid: " + arn);
        return existing(arn.substring(prefix.length()), caller);
    }

    private static void checkManaged(Rule rule, ObjectNode input) {
        if (rule.managedBy != null && !input.path("Force").asBoolean())
            throw new AwsError("ManagedRuleException",
                    "Rule " + rule.name + " is managed by " + rule.managedBy + " and cannot be changed.");
    }

    /** The whole rule: what the request leaves out is not kept. Tags are heard of at the first time only. */
    private JsonNode putRule(ObjectNode input, Caller caller) {
        var pattern = input.path("EventPattern").textValue();
        var expression = input.path("ScheduleExpression").textValue();
        if (pattern == null && expression == null)
            throw validation("Parameter(s) EventPattern or ScheduleExpression must be specified.");
        if (pattern != null && pattern.length() > patternLength)
            throw validation("1 validation error detected: Value at 'eventPattern' failed to satisfy constraint: "
                    + "Member must have length less than or equal to " + patternLength);
        var matcher = pattern == null ? null : new EventPattern(pattern);
        var name = input.get("Name").asText();
        var there = in(caller.region()).get(name);
        if (there != null) checkManaged(there, input);
        var isSame = there != null && expression != null && expression.equals(there.schedule);
        var timetable = expression == null ? null : isSame ? there.timetable : timetable(expression);
        var tags = tags(Map.of(), input.path("Tags"));
        if (there == null && in(caller.region()).size() >= rulesPerBus)
            throw new AwsError("LimitExceededException",
                    "The requested resource exceeds the maximum number allowed.");
        var arn = caller.arn("events", "rule/" + name);
        if (input.hasNonNull("RoleArn")) checkRole(input.get("RoleArn").asText(), arn, caller);
        var rule = there == null ? new Rule(name, arn, caller.account()) : there;
        rule.pattern = pattern;
        rule.matcher = matcher;
        rule.schedule = expression;
        rule.timetable = timetable;
        rule.state = input.path("State").asText("ENABLED");
        rule.description = input.path("Description").textValue();
        rule.roleArn = input.path("RoleArn").textValue();
        if (there == null) rule.tags = tags;
        in(caller.region()).put(name, rule);
        return Models.JSON.createObjectNode().put("RuleArn", arn);
    }

    private Schedule timetable(String expression) {
        try {
            return new Schedule(expression, aws.now());
        } catch (IllegalArgumentException e) {
            throw validation("Parameter ScheduleExpression is not valid.");
        }
    }

    private static ObjectNode shown(Rule rule) {
        var shown = Models.JSON.createObjectNode().put("Name", rule.name).put("Arn", rule.arn)
                .put("State", rule.state).put("EventBusName", "default");
        if (rule.pattern != null) shown.put("EventPattern", rule.pattern);
        if (rule.schedule != null) shown.put("ScheduleExpression", rule.schedule);
        if (rule.description != null) shown.put("Description", rule.description);
        if (rule.roleArn != null) shown.put("RoleArn", rule.roleArn);
        if (rule.managedBy != null) shown.put("ManagedBy", rule.managedBy);
        return shown;
    }

    private JsonNode putTargets(ObjectNode input, Caller caller) {
        var rule = rule(input, "Rule", caller);
        checkManaged(rule, input);
        var targets = new LinkedHashMap<>(rule.targets);
        var given = new HashSet<String>();
        var failed = new ArrayList<String>();
        for (var target : input.get("Targets")) {
            check((ObjectNode) target, caller);
            if (target.hasNonNull("RoleArn")) checkRole(target.get("RoleArn").asText(), rule.arn, caller);
            if (!given.add(target.get("Id").asText()))
                throw validation("Target id " + target.get("Id").asText() + " is given twice.");
            if (fails()) failed.add(target.get("Id").asText());
            else targets.put(target.get("Id").asText(), target.deepCopy());
        }
        if (given.size() > TARGETS_PER_CALL || targets.size() > targetsPerRule)
            throw new AwsError("LimitExceededException",
                    "The requested resource exceeds the maximum number allowed.");
        rule.targets = targets;
        return failed(failed);
    }

    private boolean fails() {
        return failingEntries > 0 && failingEntries-- > 0;
    }

    private static JsonNode failed(List<String> targetIds) {
        var answer = Models.JSON.createObjectNode().put("FailedEntryCount", targetIds.size());
        var entries = answer.putArray("FailedEntries");
        targetIds.forEach(id -> entries.addObject().put("TargetId", id)
                .put("ErrorCode", "ConcurrentModificationException")
                .put("ErrorMessage", "Rule is being modified, try again."));
        return answer;
    }

    private static final Set<String> OFFERED = Set.of("Id", "Arn", "RoleArn", "Input", "InputPath",
            "InputTransformer", "RetryPolicy");

    private void check(ObjectNode target, Caller caller) {
        target.fieldNames().forEachRemaining(member -> {
            if (target.hasNonNull(member) && !OFFERED.contains(member))
                throw validation("The embedded AWS does not offer " + member + " of targets");
        });
        var arn = target.get("Arn").asText();
        var fields = arn.split(":", 6);
        if (fields.length < 6 || !fields[0].equals("arn") || fields[5].isEmpty())
            throw validation("Parameter " + arn + " is not valid. Reason: Provided Arn is not in correct format.");
        if (!fields[3].equals(caller.region()))
            throw validation("Parameter " + arn + " is not valid. Reason: Target must be in the Region of the rule.");
        if (fields[2].equals("sns")) {
            if (fields[5].endsWith(".fifo"))
                throw validation("Parameter " + arn + " is not valid. Reason: FIFO topics are not supported.");
        } else {
            if (!aws.account(account).targets.containsKey(fields[2]))
                throw validation("The embedded AWS does not offer targets of " + fields[2]);
            if (!target.hasNonNull("RoleArn")) throw validation("RoleArn is required for target " + arn + ".");
        }
        new TargetInput(target).check();
    }

    private void checkRole(String roleArn, String ruleArn, Caller caller) {
        assume(roleArn, ruleArn, caller.region());
        var iam = aws.account(account).iam;
        if (!iam.visibleToServices(iam.role(roleArn)))
            throw validation("Provided role '" + roleArn + "' cannot be assumed by principal '" + PRINCIPAL + "'.");
    }

    private static JsonNode test(ObjectNode input) {
        var pattern = new EventPattern(input.get("EventPattern").asText());
        JsonNode event;
        try {
            event = EventPattern.event(input.get("Event").asText());
        } catch (JsonProcessingException e) {
            throw validation("Parameter Event is not valid.");
        }
        for (var member : MANDATORY)
            if (!event.has(member)) throw validation("Parameter Event is not valid. Reason: it has no " + member);
        return Models.JSON.createObjectNode().put("Result", pattern.matches(event));
    }

    private JsonNode putEvents(ObjectNode input, Caller caller) {
        var answer = Models.JSON.createObjectNode();
        var results = answer.putArray("Entries");
        var failed = 0;
        for (var entry : input.get("Entries")) {
            checkBus((ObjectNode) entry, caller);
            try {
                var event = event(entry, caller.region());
                put(event);
                results.addObject().put("EventId", event.get("id").asText());
            } catch (AwsError e) {
                failed++;
                results.addObject().put("ErrorCode", e.code).put("ErrorMessage", e.getMessage());
            }
        }
        return answer.put("FailedEntryCount", failed);
    }

    private ObjectNode event(JsonNode entry, String region) {
        for (var member : List.of("Source", "DetailType", "Detail"))
            if (entry.path(member).asText().isEmpty())
                throw new AwsError("InvalidArgument",
                        "Parameter " + member + " is not valid. Reason: " + member + " is a required argument.");
        var source = entry.get("Source").asText();
        if (source.toLowerCase(Locale.ROOT).startsWith("aws."))
            throw new AwsError("NotAuthorizedForSourceException", "Not authorized for the source.");
        JsonNode detail;
        try {
            detail = EventPattern.event(entry.get("Detail").asText());
        } catch (JsonProcessingException e) {
            throw new AwsError("MalformedDetail", "Detail is malformed.");
        }
        if (!detail.isObject()) throw new AwsError("MalformedDetail", "Detail is malformed.");
        var time = entry.hasNonNull("Time") ? Instant.ofEpochSecond(entry.get("Time").asLong()) : aws.now();
        return event(region, source, entry.get("DetailType").asText(), time,
                entry.path("Resources").valueStream().map(JsonNode::asText).toList(), (ObjectNode) detail);
    }

    private static Map<String, String> tags(Map<String, String> present, JsonNode tags) {
        var all = new TreeMap<>(present);
        for (var tag : tags) {
            if (tag.get("Key").asText().toLowerCase(Locale.ROOT).startsWith("aws:"))
                throw validation("Tag keys must not begin with aws:");
            all.put(tag.get("Key").asText(), tag.get("Value").asText());
        }
        if (all.size() > TAGS) throw new AwsError("LimitExceededException", "The resource has too many tags.");
        return all;
    }

    private JsonNode page(String name, List<JsonNode> items, ObjectNode input) {
        var token = input.path("NextToken").asText("page-0");
        if (!token.matches("page-\\d{1,6}")) throw validation("Parameter NextToken is not valid.");
        var from = Math.min(Integer.parseInt(token.substring(5)), items.size());
        var to = Math.min(items.size(), from + Math.min(pageSize, input.path("Limit").asInt(pageSize)));
        var answer = Models.JSON.createObjectNode();
        if (to < items.size()) answer.put("NextToken", "page-" + to);
        answer.putArray(name).addAll(items.subList(from, to));
        return answer;
    }

    private static AwsError validation(String message) {
        return new AwsError("ValidationException", message);
    }
}
