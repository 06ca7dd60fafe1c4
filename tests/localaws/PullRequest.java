package localaws;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
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
    private final Set<String> earlierRevisions = new HashSet<>();
    private final Set<String> approvers = new LinkedHashSet<>();
    private String overrider;

    PullRequest(CodeCommit codecommit, CodeCommit.Repo repo, String id, String title, String author, String source,
            String destination) {
        this.codecommit = codecommit;
        this.repo = repo;
        this.id = id;
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
            var content = template.get("approvalRuleTemplateContent").asText();
            if (!ApprovalRule.of(content).appliesTo(destination)) continue;
            rule(templateName, content, template.get("lastModifiedUser").asText())
                    .putObject("originApprovalRuleTemplate")
                    .put("approvalRuleTemplateName", templateName)
                    .set("approvalRuleTemplateId", template.get("approvalRuleTemplateId"));
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

    /** Whether CreatePullRequest was given these parameters. */
    boolean isRequestedBy(ObjectNode input, String source, String destination) {
        return shown.get("title").equals(input.get("title"))
                && shown.path("description").asText().equals(input.path("description").asText())
                && target.get("repositoryName").equals(input.at("/targets/0/repositoryName"))
                && target.get("sourceReference").asText().equals(source)
                && target.get("destinationReference").asText().equals(destination);
    }

    boolean isOpen() {
        return shown.get("pullRequestStatus").asText().equals("OPEN");
    }

    private void checkOpen() {
        if (!isOpen()) throw new AwsError("PullRequestAlreadyClosedException", "The pull request is already closed");
    }

    private void checkRevision(String revision) {
        if (revision.equals(revisionId())) return;
        throw earlierRevisions.contains(revision)
                ? new AwsError("RevisionNotCurrentException", "The revision is not the current one: " + revision)
                : new AwsError("InvalidRevisionIdException", "The pull request has no revision " + revision);
    }

    /** The most approvals that a pull request may have (user guide, page "limits"). */
    private static final int APPROVALS = 200;

    /** An approval by a call: of who signed it, for the current revision. */
    synchronized void approve(String revision, String state, String userArn) {
        checkOpen();
        checkRevision(revision);
        if (userArn.equals(shown.get("authorArn").asText())) {
            throw new AwsError("PullRequestCannotBeApprovedByAuthorException",
                    "You cannot approve a pull request that you created");
        }
        if (state.equals("APPROVE") && approvers.size() >= APPROVALS && !approvers.contains(userArn)) {
            throw new AwsError("MaximumNumberOfApprovalsExceededException",
                    "The maximum number of approvals is " + APPROVALS);
        }
        approval(userArn, state);
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
        return overrider != null || rules(false).isEmpty();
    }

    /** The names of the rules that have their approvals, or that have not; the author's does not count. */
    private List<String> rules(boolean satisfied) {
        var counted = new LinkedHashSet<>(approvers);
        counted.remove(shown.get("authorArn").asText());
        return shown.get("approvalRules").valueStream()
                .filter(rule -> ApprovalRule.of(rule.get("approvalRuleContent").asText())
                        .isSatisfied(counted) == satisfied)
                .map(rule -> rule.get("approvalRuleName").asText()).toList();
    }

    /** Whether a pull request without rules is approved is not documented; it can be merged. */
    synchronized ObjectNode evaluation(String revision) {
        checkRevision(revision);
        var evaluation = Models.JSON.createObjectNode().put("approved", satisfied())
                .put("overridden", overrider != null);
        rules(true).forEach(evaluation.putArray("approvalRulesSatisfied")::add);
        rules(false).forEach(evaluation.putArray("approvalRulesNotSatisfied")::add);
        return evaluation;
    }

    /** An override by a call. */
    synchronized void override(String revision, String status, String userArn) {
        checkOpen();
        checkRevision(revision);
        override(status, userArn);
    }

    synchronized void override(String status, String userArn) {
        if (status.equals("OVERRIDE") == (overrider != null)) {
            throw new AwsError("OverrideAlreadySetException", "The override is already set to " + status);
        }
        overrider = status.equals("OVERRIDE") ? userArn : null;
        event("PULL_REQUEST_APPROVAL_RULE_OVERRIDDEN", userArn, "approvalRuleOverriddenEventMetadata")
                .put("revisionId", revisionId()).put("overrideStatus", status);
    }

    /** The most rules that a pull request may have, those of templates included (user guide, page "limits"). */
    private static final int RULES = 30;

    private ObjectNode find(String ruleName, String code, String verb) {
        for (var rule : shown.withArray("approvalRules")) {
            if (!rule.get("approvalRuleName").asText().equals(ruleName)) continue;
            if (rule.has("originApprovalRuleTemplate")) {
                throw new AwsError(code, "The rule " + ruleName + " was made from a template and cannot be " + verb);
            }
            return (ObjectNode) rule;
        }
        return null;
    }

    private static void checkRule(String content) {
        if (!ApprovalRule.isValid(content, false)) {
            throw new AwsError("InvalidApprovalRuleContentException", "The content of the approval rule is not valid");
        }
    }

    /** A rule of this pull request alone, by a call. */
    synchronized ObjectNode createRule(String ruleName, String content, String userArn) {
        checkOpen();
        checkRule(content);
        var rules = shown.withArray("approvalRules");
        if (rules.valueStream().anyMatch(rule -> rule.get("approvalRuleName").asText().equals(ruleName))) {
            throw new AwsError("ApprovalRuleNameAlreadyExistsException", "There is a rule " + ruleName + " already");
        }
        if (rules.size() >= RULES) {
            throw new AwsError("NumberOfRulesExceededException", "The maximum number of rules is " + RULES);
        }
        var rule = rule(ruleName, content, userArn);
        event("PULL_REQUEST_APPROVAL_RULE_CREATED", userArn, "approvalRuleEventMetadata")
                .put("approvalRuleName", ruleName).put("approvalRuleId", rule.get("approvalRuleId").asText())
                .put("approvalRuleContent", content);
        return rule.deepCopy();
    }

    synchronized ObjectNode updateRule(String ruleName, String content, String sha256, String userArn) {
        checkOpen();
        checkRule(content);
        var rule = find(ruleName, "CannotModifyApprovalRuleFromTemplateException", "modified");
        if (rule == null) throw new AwsError("ApprovalRuleDoesNotExistException", "There is no rule " + ruleName);
        if (sha256 != null && !sha256.equals(rule.get("ruleContentSha256").asText())) {
            throw new AwsError("InvalidRuleContentSha256Exception", "The content was changed in the meantime");
        }
        rule.put("approvalRuleContent", content).put("ruleContentSha256", CodeCommit.sha256(content))
                .put("lastModifiedDate", codecommit.seconds()).put("lastModifiedUser", userArn);
        event("PULL_REQUEST_APPROVAL_RULE_UPDATED", userArn, "approvalRuleEventMetadata")
                .put("approvalRuleName", ruleName).put("approvalRuleId", rule.get("approvalRuleId").asText())
                .put("approvalRuleContent", content);
        return rule.deepCopy();
    }

    /** The id of the rule, or null when there is none of this name. */
    synchronized String deleteRule(String ruleName) {
        checkOpen();
        var rule = find(ruleName, "CannotDeleteApprovalRuleFromTemplateException", "deleted");
        if (rule == null) return null;
        shown.withArray("approvalRules").removeIf(other -> other == rule);
        return rule.get("approvalRuleId").asText();
    }

    /** A closed one cannot be opened again. */
    synchronized void status(String status, String userArn) {
        if (status.equals("OPEN") && !isOpen()) {
            throw new AwsError("InvalidPullRequestStatusUpdateException", "A closed pull request stays closed");
        }
        if (status.equals("CLOSED") && isOpen()) close(userArn);
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
        if (!isOpen() || !isSource && !ref.equals(target.get("destinationReference").asText())) {
            return;
        }
        var commit = repo.resolve(ref);
        var member = isSource ? "sourceCommit" : "destinationCommit";
        if (commit == null || commit.name().equals(target.get(member).asText())) return;
        target.put(member, commit.name());
        compare();
        if (!isSource) return;
        earlierRevisions.add(revisionId());
        shown.put("revisionId", UUID.randomUUID().toString());
        approvers.clear();
        overrider = null;
        event("PULL_REQUEST_SOURCE_REFERENCE_UPDATED", repo.user("developer"),
                "pullRequestSourceReferenceUpdatedEventMetadata").put("repositoryName", repo.name)
                .put("beforeCommitId", target.get("destinationCommit").asText()).put("afterCommitId", commit.name())
                .setAll(mergeBase());
    }
}
