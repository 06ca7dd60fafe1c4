package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.UUID;
import org.eclipse.jgit.lib.Constants;
import org.eclipse.jgit.lib.ObjectId;
import org.eclipse.jgit.lib.Repository;

/**
 * A repository's triggers: what CodeCommit takes as such, and what it tells their functions and topics of changes. What
 * cannot be delivered is lost, as at AWS; tests see why. Rules from the API Reference and the User Guide's pages
 * "how-to-notify", "how-to-notify-sns", "how-to-notify-lambda-cc" and "limits".
 */
final class Triggers {
    /** What a ref named before a change and after it; null for nothing. */
    record Moved(String ref, ObjectId before, ObjectId after) {
        boolean isChange() {
            return before == null ? after != null : !before.equals(after);
        }

        private String event() {
            return before == null ? "createReference" : after == null ? "deleteReference" : "updateReference";
        }
    }

    /**
     * What became of a message to a trigger's destination.
     *
     * @param error why it is lost, or null
     */
    public record Delivery(String trigger, String destinationArn, String error) { }

    /** Quotas of the user guide's page "limits". */
    private static final int TRIGGERS = 10;
    private static final int BRANCHES = 10;
    private static final String PRINCIPAL = "codecommit.amazonaws.com";
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSZ")
            .withZone(ZoneOffset.UTC);

    private final LocalAws aws;
    private final CodeCommit.Repo repo;
    private final List<String> fired = new ArrayList<>();
    private final List<Delivery> deliveries = new ArrayList<>();
    private volatile JsonNode shown = Models.JSON.createArrayNode();
    private volatile String configurationId = UUID.randomUUID().toString();

    Triggers(LocalAws aws, CodeCommit.Repo repo) {
        this.aws = aws;
        this.repo = repo;
    }

    /** As GetRepositoryTriggers shows them. */
    JsonNode shown() {
        return shown;
    }

    ObjectNode answer() {
        return Models.JSON.createObjectNode().put("configurationId", configurationId).set("triggers", shown);
    }

    /** AWS shows custom data and branches that were not given, as empty ones. */
    void set(JsonNode wanted) {
        var all = Models.JSON.createArrayNode();
        for (var trigger : wanted) {
            var copy = all.addObject().put("customData", "");
            copy.putArray("branches");
            copy.setAll((ObjectNode) trigger);
        }
        shown = all;
        configurationId = UUID.randomUUID().toString();
    }

    synchronized List<String> fired() {
        return List.copyOf(fired);
    }

    synchronized List<Delivery> deliveries() {
        return List.copyOf(deliveries);
    }

    // Rules

    /** Replaces all. Whether CodeCommit looks for the function or topic is not documented: here it does not. */
    JsonNode put(ObjectNode input, Caller caller) {
        check(input.get("triggers"), caller);
        set(input.get("triggers"));
        return Models.JSON.createObjectNode().put("configurationId", configurationId);
    }

    private static void check(JsonNode triggers, Caller caller) {
        if (triggers.size() > TRIGGERS) {
            throw new AwsError("MaximumRepositoryTriggersExceededException",
                    "The maximum number of triggers for a repository is " + TRIGGERS);
        }
        var names = new HashSet<String>();
        for (var trigger : triggers) {
            checkTrigger(trigger, caller);
            if (!names.add(trigger.get("name").asText())) {
                throw new AwsError("InvalidRepositoryTriggerNameException",
                        "Trigger names must be unique: " + trigger.get("name").asText());
            }
        }
    }

    private static void checkTrigger(JsonNode trigger, Caller caller) {
        var name = trigger.get("name").asText();
        if (name.isEmpty()) throw new AwsError("RepositoryTriggerNameRequiredException", "A trigger name is required");
        if (!name.matches("[\\w.-]{1,100}")) {
            throw new AwsError("InvalidRepositoryTriggerNameException", "The trigger name is not valid: " + name);
        }
        var arn = trigger.get("destinationArn").asText();
        if (arn.isEmpty()) {
            throw new AwsError("RepositoryTriggerDestinationArnRequiredException", "A destination ARN is required");
        }
        if (!arn.matches("arn:" + caller.partition()
                + ":(sns:[a-z0-9-]+:\\d{12}:[\\w-]{1,256}"
                + "|lambda:[a-z0-9-]+:\\d{12}:function:[\\w-]{1,64}(:[\\w$-]+)?)")) {
            throw new AwsError("InvalidRepositoryTriggerDestinationArnException",
                    "The destination must be an Amazon SNS standard topic or an AWS Lambda function: " + arn);
        }
        if (!arn.split(":")[3].equals(caller.region())) {
            throw new AwsError("InvalidRepositoryTriggerRegionException",
                    "The destination must be in the Region of the repository, " + caller.region() + ": " + arn);
        }
        if (trigger.path("customData").asText().length() > 1_000) {
            throw new AwsError("InvalidRepositoryTriggerCustomDataException",
                    "Custom data has at most 1,000 characters");
        }
        if (!trigger.hasNonNull("branches")) {
            throw new AwsError("RepositoryTriggerBranchNameListRequiredException",
                    "A list of branch names is required; an empty one means all branches");
        }
        if (trigger.get("branches").size() > BRANCHES) {
            throw new AwsError("MaximumBranchesExceededException",
                    "The maximum number of branches for a trigger is " + BRANCHES);
        }
        for (var branch : trigger.get("branches")) {
            if (branch.asText().startsWith("refs/") || !Repository.isValidRefName("refs/heads/" + branch.asText())) {
                throw new AwsError("InvalidRepositoryTriggerBranchNameException",
                        "The branch name is not valid: " + branch.asText());
            }
        }
        var events = trigger.get("events");
        if (events.isEmpty()) {
            throw new AwsError("RepositoryTriggerEventsListRequiredException", "At least one event is required");
        }
        for (var event : events) {
            if (event.asText().equals("all") && events.size() > 1) {
                throw new AwsError("InvalidRepositoryTriggerEventsException",
                        "The event all cannot be used with other events");
            }
        }
    }

    // Messages

    /** Tells the triggers of one push, or of what a call changed: each gets what it is for. */
    void tell(List<Moved> changes, Caller caller) {
        for (var trigger : shown) {
            var references = Models.JSON.createArrayNode();
            for (var change : changes) {
                if (!change.isChange() || !isFor(trigger, change)) continue;
                note(trigger.get("name").asText() + " " + change.ref());
                // which commit CodeCommit names of a ref that is gone is not documented: here the last one
                var reference = references.addObject().put("ref", change.ref())
                        .put("commit", repo.commitOf(change.after() != null ? change.after() : change.before()));
                if (change.before() == null) reference.put("created", true);
                if (change.after() == null) reference.put("deleted", true);
            }
            if (!references.isEmpty()) deliver(trigger, record(trigger, "ReferenceChanges", references, caller));
        }
    }

    private synchronized void note(String triggerAndRef) {
        fired.add(triggerAndRef);
    }

    /** Branches and tags; a trigger for some branches is told of these alone. */
    private static boolean isFor(JsonNode trigger, Moved change) {
        if (!change.ref().matches("refs/(heads|tags)/.+")) return false;
        var isEvent = trigger.get("events").valueStream()
                .anyMatch(event -> event.asText().equals("all") || event.asText().equals(change.event()));
        var branches = trigger.get("branches");
        return isEvent && (branches.isEmpty() || branches.valueStream()
                .anyMatch(branch -> change.ref().equals("refs/heads/" + branch.asText())));
    }

    /** As the User Guide shows it; the name of the event and eventTotalParts by what functions log. */
    private ObjectNode record(JsonNode trigger, String eventName, JsonNode references, Caller caller) {
        var record = Models.JSON.createObjectNode().put("awsRegion", repo.owner.region());
        record.putObject("codecommit").set("references", references);
        if (!trigger.path("customData").asText().isEmpty()) record.set("customData", trigger.get("customData"));
        record.put("eventId", UUID.randomUUID().toString()).put("eventName", eventName).put("eventPartNumber", 1)
                .put("eventSource", "aws:codecommit").put("eventSourceARN", repo.arn)
                .put("eventTime", TIME.format(aws.now())).put("eventTotalParts", 1)
                .put("eventTriggerConfigId", configurationId)
                .put("eventTriggerName", trigger.get("name").asText()).put("eventVersion", "1.0")
                .put("userIdentityARN", caller.arn());
        var event = Models.JSON.createObjectNode();
        event.putArray("Records").add(record);
        return event;
    }

    /** Gives why the message is lost, or null. */
    private String deliver(JsonNode trigger, ObjectNode message) {
        var arn = trigger.get("destinationArn").asText();
        var from = aws.account(repo.owner.account());
        String error = null;
        try {
            if (arn.split(":")[2].equals("sns")) {
                from.sns.publishFor(PRINCIPAL, repo.arn, arn, null, message.toString());
            } else {
                from.lambda.invokeFor(PRINCIPAL, repo.arn, arn, message);
            }
        } catch (AwsError e) {
            error = e.code + ": " + e.getMessage();
        }
        synchronized (this) {
            deliveries.add(new Delivery(trigger.get("name").asText(), arn, error));
        }
        return error;
    }

    /** Sends to those that the request has, of the last commit of the default branch if there is one. */
    JsonNode test(ObjectNode input, Caller caller) {
        check(input.get("triggers"), caller);
        var answer = Models.JSON.createObjectNode();
        var successful = answer.putArray("successfulExecutions");
        var failed = answer.putArray("failedExecutions");
        var tip = repo.resolve(Constants.HEAD);
        var references = Models.JSON.createArrayNode();
        references.addObject().put("commit", tip == null ? ObjectId.zeroId().name() : tip.name())
                .put("ref", "refs/heads/" + (tip == null ? "main" : repo.defaultBranch()));
        for (var trigger : input.get("triggers")) {
            var error = deliver(trigger, record(trigger, "TriggerEventTest", references, caller));
            if (error == null) {
                successful.add(trigger.get("name"));
            } else {
                failed.addObject().put("failureMessage", error).set("trigger", trigger.get("name"));
            }
        }
        return answer;
    }
}
