package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.stream.Stream;
import org.eclipse.jgit.lib.CommitBuilder;
import org.eclipse.jgit.lib.ObjectId;
import org.eclipse.jgit.merge.MergeStrategy;
import org.eclipse.jgit.merge.ThreeWayMerger;

/** A pull request of CodeCommit's, and what has happened to it. */
final class PullRequest {
    /** A comment of a thread, which says where in the comparison it is. Keys sort comments by thread and age. */
    record Comment(String key, ObjectNode thread, ObjectNode content) {
    }

    private final CodeCommit codecommit;
    final CodeCommit.Repo repo;
    final String id;
    final ObjectNode shown;
    final ObjectNode target;
    private final String firstDestinationCommit;
    private final List<ObjectNode> events = new ArrayList<>();
    private final TreeMap<String, Comment> comments = new TreeMap<>();
    private final Set<String> approvers = new LinkedHashSet<>();
    private String overrider;

    PullRequest(CodeCommit codecommit, CodeCommit.Repo repo, String id, String title, String source,
            String destination) {
        this.codecommit = codecommit;
        this.repo = repo;
        this.id = id;
        var author = repo.user("developer");
        shown = Models.JSON.createObjectNode().put("pullRequestId", id).put("title", title)
                .put("pullRequestStatus", "OPEN").put("authorArn", author)
                .put("creationDate", codecommit.seconds()).put("revisionId", UUID.randomUUID().toString())
                .put("clientRequestToken", UUID.randomUUID().toString());
        shown.putArray("approvalRules");
        firstDestinationCommit = repo.id(destination);
        target = shown.putArray("pullRequestTargets").addObject().put("repositoryName", repo.name)
                .put("sourceReference", source).put("sourceCommit", repo.id(source))
                .put("destinationReference", destination).put("destinationCommit", firstDestinationCommit);
        target.putObject("mergeMetadata").put("isMerged", false);
        compare();
        event("PULL_REQUEST_CREATED", author, "pullRequestCreatedEventMetadata").put("repositoryName", repo.name)
                .put("sourceCommitId", repo.id(source))
                .put("destinationCommitId", firstDestinationCommit).setAll(mergeBase());
        for (var templateName : repo.approvalRuleTemplates()) {
            var template = codecommit.templates(repo.owner.region()).get(templateName);
            if (template == null || !applies(template.get("approvalRuleTemplateContent").asText(), destination)) {
                continue;
            }
            rule(templateName, template.get("approvalRuleTemplateContent").asText(),
                    template.get("lastModifiedUser").asText()).putObject("originApprovalRuleTemplate")
                    .put("approvalRuleTemplateName", templateName)
                    .set("approvalRuleTemplateId", template.get("approvalRuleTemplateId"));
        }
    }

    /**
     * Whether a template is for pull requests to a branch: when it names none, or this one, where * stands for
     * anything.
     */
    private static boolean applies(String content, String destination) {
        try {
            var references = Models.JSON.readTree(content).path("DestinationReferences");
            return references.isEmpty() || references.valueStream()
                    .anyMatch(r -> destination.matches("\\Q" + r.asText().replace("*", "\\E.*\\Q") + "\\E"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    synchronized ObjectNode shown() {
        return shown.deepCopy();
    }

    synchronized List<ObjectNode> events() {
        return List.copyOf(events);
    }

    synchronized List<Comment> comments() {
        return comments.values().stream()
                .map(comment -> new Comment(comment.key, comment.thread, comment.content.deepCopy())).toList();
    }

    /** The approvals; REVOKE states are not stored. */
    synchronized ObjectNode approvals() {
        var answer = Models.JSON.createObjectNode();
        var list = answer.putArray("approvals");
        approvers.forEach(arn -> list.addObject().put("userArn", arn).put("approvalState", "APPROVE"));
        return answer;
    }

    synchronized ObjectNode override() {
        var answer = Models.JSON.createObjectNode().put("overridden", overrider != null);
        return overrider == null ? answer : answer.put("overrider", overrider);
    }

    String revisionId() {
        return shown.get("revisionId").asText();
    }

    ObjectNode touch() {
        return shown.put("lastActivityDate", codecommit.seconds());
    }

    /** A new event; gives the part that is of its type. */
    ObjectNode event(String type, String actor, String metadata) {
        touch();
        var event = Models.JSON.createObjectNode().put("pullRequestId", id).put("eventDate", codecommit.seconds())
                .put("pullRequestEventType", type).put("actorArn", actor);
        events.add(event);
        return event.putObject(metadata);
    }

    private void compare() {
        target.remove("mergeBase");
        var base = repo.mergeBase(target.get("sourceCommit").asText(), target.get("destinationCommit").asText());
        if (base != null) target.put("mergeBase", base);
    }

    private ObjectNode mergeBase() {
        var part = Models.JSON.createObjectNode();
        return target.has("mergeBase") ? part.set("mergeBase", target.get("mergeBase")) : part;
    }

    ObjectNode rule(String ruleName, String content, String user) {
        var now = codecommit.seconds();
        return shown.withArray("approvalRules").addObject().put("approvalRuleId", UUID.randomUUID().toString())
                .put("approvalRuleName", ruleName).put("approvalRuleContent", content)
                .put("ruleContentSha256", CodeCommit.sha256(content)).put("creationDate", now)
                .put("lastModifiedDate", now)
                .put("lastModifiedUser", user);
    }

    synchronized String comment(String text, String path, long line) {
        var thread = Models.JSON.createObjectNode().put("pullRequestId", id).put("repositoryName", repo.name)
                .put("beforeCommitId", firstDestinationCommit)
                .put("afterCommitId", target.get("sourceCommit").asText());
        if (path != null) {
            for (var side : List.of("before", "after")) {
                var blob = repo.resolve(thread.get(side + "CommitId").asText() + ":" + path);
                if (blob != null) thread.put(side + "BlobId", blob.name());
            }
            thread.putObject("location").put("filePath", path).put("filePosition", line).put("relativeFileVersion",
                    "AFTER");
        }
        return add("%09d".formatted(comments.size()) + " ", thread, text, "reviewer", null);
    }

    synchronized String reply(String text, String inReplyTo) {
        var comment = find(inReplyTo);
        return add(comment.key.substring(0, 10), comment.thread, text, "developer", inReplyTo);
    }

    private String add(String threadKey, ObjectNode thread, String text, String user, String inReplyTo) {
        var now = touch().get("lastActivityDate").asDouble();
        var comment = Models.JSON.createObjectNode().put("commentId", UUID.randomUUID().toString())
                .put("content", text).put("creationDate", now).put("lastModifiedDate", now)
                .put("authorArn", repo.user(user)).put("deleted", false)
                .put("clientRequestToken", UUID.randomUUID().toString());
        if (inReplyTo != null) comment.put("inReplyTo", inReplyTo);
        comment.putArray("callerReactions");
        comment.putObject("reactionCounts");
        var key = threadKey + "%09d".formatted(comments.size());
        comments.put(key, new Comment(key, thread, comment));
        return comment.get("commentId").asText();
    }

    Comment find(String commentId) {
        return comments.values().stream()
                .filter(comment -> comment.content.get("commentId").asText().equals(commentId)).findFirst()
                .orElseThrow(
                        () -> new IllegalArgumentException("pull request " + id + " has no comment " + commentId));
    }

    void approval(String userArn, String state) {
        if (state.equals("APPROVE")) {
            approvers.add(userArn);
        } else {
            approvers.remove(userArn);
        }
        event("PULL_REQUEST_APPROVAL_STATE_CHANGED", userArn, "approvalStateChangedEventMetadata")
                .put("revisionId", revisionId()).put("approvalStatus", state);
    }

    void close(String userArn) {
        shown.put("pullRequestStatus", "CLOSED");
        event("PULL_REQUEST_STATUS_CHANGED", userArn, "pullRequestStatusChangedEventMetadata")
                .put("pullRequestStatus", "CLOSED");
    }

    String destination() {
        return target.get("destinationReference").asText();
    }

    /** Whether each rule has its approvals, or all were overridden. */
    synchronized boolean satisfied() {
        return overrider != null || shown.get("approvalRules").valueStream()
                .allMatch(rule -> satisfied(rule.get("approvalRuleContent").asText()));
    }

    private boolean satisfied(String content) {
        try {
            for (var statement : Models.JSON.readTree(content).path("Statements")) {
                var pool = statement.path("ApprovalPoolMembers").valueStream().map(JsonNode::asText).toList();
                var counted = approvers.stream()
                        .filter(arn -> pool.isEmpty() || pool.stream().anyMatch(member -> isMember(arn, member)))
                        .count();
                if (counted < statement.path("NumberOfApprovalsNeeded").asInt()) return false;
            }
            return true;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A pool's member is an ARN or CodeCommitApprovers:ACCOUNT:NAME, in both of which * stands for anything. */
    private static boolean isMember(String arn, String member) {
        var fields = arn.split(":", 6);
        var name = fields[5].substring(fields[5].indexOf('/') + 1);
        return Stream.of(arn, "CodeCommitApprovers:" + fields[4] + ":" + name)
                .anyMatch(text -> text.matches("\\Q" + member.replace("*", "\\E.*\\Q") + "\\E"));
    }

    synchronized void override(String status, String userArn) {
        if (status.equals("OVERRIDE") == (overrider != null)) {
            throw new AwsError("OverrideAlreadySetException", "The override is already set to " + status);
        }
        overrider = status.equals("OVERRIDE") ? userArn : null;
        event("PULL_REQUEST_APPROVAL_RULE_OVERRIDDEN", userArn, "approvalRuleOverriddenEventMetadata")
                .put("revisionId", revisionId()).put("overrideStatus", status);
    }

    /** The id of the rule, or null when there is none of this name. */
    synchronized String deleteRule(String ruleName) {
        var rules = shown.withArray("approvalRules");
        for (var i = 0; i < rules.size(); i++) {
            var rule = rules.get(i);
            if (!rule.get("approvalRuleName").asText().equals(ruleName)) continue;
            if (rule.has("originApprovalRuleTemplate")) {
                throw new AwsError("CannotDeleteApprovalRuleFromTemplateException",
                        "The rule " + ruleName + " was made from a template");
            }
            rules.remove(i);
            return rule.get("approvalRuleId").asText();
        }
        return null;
    }

    /** A merge by a call. */
    synchronized void merge(String option, Branches branches, Caller caller) throws IOException {
        var source = repo.commit(target.get("sourceCommit").asText());
        var before = repo.commit(destination());
        var commit = branches.merged(option, source, before);
        repo.update(repo.git(), repo.git().newObjectInserter(), destination(), commit);
        merged(caller.arn(), switch (option) {
            case "FastForward" -> "FAST_FORWARD_MERGE";
            case "Squash" -> "SQUASH_MERGE";
            default -> "THREE_WAY_MERGE";
        });
        repo.changed(destination(), before, caller);
    }

    /**
     * Two events: the API reference has one for the merge, and the status changes; whether AWS tells both is not
     * documented.
     */
    private void merged(String userArn, String option) {
        var metadata = target.putObject("mergeMetadata").put("isMerged", true).put("mergedBy", userArn)
                .put("mergeCommitId", repo.id(destination())).put("mergeOption", option);
        event("PULL_REQUEST_MERGE_STATE_CHANGED", userArn, "pullRequestMergedStateChangedEventMetadata")
                .put("repositoryName", repo.name).put("destinationReference", destination())
                .set("mergeMetadata", metadata.deepCopy());
        close(userArn);
    }

    void merge() {
        var destination = target.get("destinationReference").asText();
        var source = ObjectId.fromString(target.get("sourceCommit").asText());
        var tip = ObjectId.fromString(repo.id(destination));
        var at = repo.person();
        repo.work(g -> {
            var merger = (ThreeWayMerger) MergeStrategy.RECURSIVE.newMerger(g, true);
            if (!merger.merge(tip, source)) throw new IOException("pull request " + id + " has conflicts");
            try (var inserter = g.newObjectInserter()) {
                var commit = new CommitBuilder();
                commit.setTreeId(merger.getResultTreeId());
                commit.setParentIds(tip, source);
                commit.setAuthor(at);
                commit.setCommitter(at);
                commit.setMessage("Merge pull request " + id + "\n");
                repo.update(g, inserter, destination, inserter.insert(commit));
            }
        });
        merged(repo.user("developer"), "THREE_WAY_MERGE");
    }

    /**
     * What a push does to an open pull request: from another source commit on it is another revision, which nobody
     * has approved yet.
     */
    synchronized void moved(String ref) {
        var isSource = ref.equals(target.get("sourceReference").asText());
        if (!shown.get("pullRequestStatus").asText().equals("OPEN")
                || !isSource && !ref.equals(target.get("destinationReference").asText())) {
            return;
        }
        var commit = repo.resolve(ref);
        var member = isSource ? "sourceCommit" : "destinationCommit";
        if (commit == null || commit.name().equals(target.get(member).asText())) return;
        target.put(member, commit.name());
        compare();
        if (!isSource) return;
        shown.put("revisionId", UUID.randomUUID().toString());
        approvers.clear();
        overrider = null;
        event("PULL_REQUEST_SOURCE_REFERENCE_UPDATED", repo.user("developer"),
                "pullRequestSourceReferenceUpdatedEventMetadata").put("repositoryName", repo.name)
                .put("beforeCommitId", target.get("destinationCommit").asText()).put("afterCommitId", commit.name())
                .setAll(mergeBase());
    }
}
