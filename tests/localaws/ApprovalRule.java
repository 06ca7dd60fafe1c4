package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Collection;
import java.util.List;
import java.util.stream.Stream;

/**
 * What an approval rule or a template of rules says: user guide, pages "how-to-create-template" and "limits", and the
 * API reference of CreateApprovalRuleTemplate.
 *
 * @param destinations branches that pull requests go to; none for all
 * @param pool         whose approvals count; none for everybody's
 */
record ApprovalRule(List<String> destinations, int approvals, List<String> pool) {
    private static final int DESTINATIONS = 100;
    private static final int POOL_MEMBERS = 50;

    /** The rule of a content that was found valid. */
    static ApprovalRule of(String content) {
        try {
            return of(Models.JSON.readTree(content));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static ApprovalRule of(JsonNode content) {
        var statement = content.path("Statements").path(0);
        return new ApprovalRule(texts(content.path("DestinationReferences")),
                statement.path("NumberOfApprovalsNeeded").asInt(), texts(statement.path("ApprovalPoolMembers")));
    }

    /** Whether a content is one; only templates name branches. */
    static boolean isValid(String content, boolean isTemplate) {
        JsonNode rule;
        try {
            rule = Models.JSON.readTree(content);
        } catch (IOException e) {
            return false;
        }
        var statements = rule.path("Statements");
        var statement = statements.path(0);
        return only(rule, isTemplate ? List.of("Version", "DestinationReferences", "Statements")
                : List.of("Version", "Statements"))
                && rule.path("Version").asText().equals("2018-11-08") && statements.size() == 1
                && only(statement, List.of("Type", "NumberOfApprovalsNeeded", "ApprovalPoolMembers"))
                && statement.path("Type").asText().equals("Approvers") && of(rule).isValid();
    }

    private static boolean only(JsonNode node, List<String> members) {
        return node.isObject() && node.propertyStream().allMatch(member -> members.contains(member.getKey()));
    }

    private static List<String> texts(JsonNode list) {
        return list.valueStream().map(JsonNode::asText).toList();
    }

    private boolean isValid() {
        return approvals > 0 && destinations.size() <= DESTINATIONS && pool.size() <= POOL_MEMBERS
                && destinations.stream().allMatch(reference -> reference.matches("refs/heads/[^*].*"))
                && pool.stream().allMatch(member -> member
                        .matches("arn:aws[a-z-]*:(iam|sts)::\\d{12}:.+|CodeCommitApprovers:\\d{12}:.+"));
    }

    /** The content of a rule that asks for approvals by whomever. */
    static String content(int approvals) {
        return "{\"Version\":\"2018-11-08\",\"Statements\":[{\"Type\":\"Approvers\",\"NumberOfApprovalsNeeded\":"
                + approvals + "}]}";
    }

    /** Whether a template is for pull requests to a branch. */
    boolean appliesTo(String reference) {
        return destinations.isEmpty() || destinations.stream().anyMatch(pattern -> isLike(reference, pattern));
    }

    /** @param approvers ARNs, each identity once */
    boolean isSatisfied(Collection<String> approvers) {
        return approvers.stream().filter(arn -> pool.isEmpty() || pool.stream().anyMatch(member -> counts(arn, member)))
                .count() >= approvals;
    }

    /**
     * Whether a member of a pool stands for an identity: by its ARN, which is that of the session if a role was
     * assumed, or by CodeCommitApprovers:ACCOUNT:NAME. NAME is that of an IAM user or a federated user, ROLE/SESSION of
     * a session, or the resource of the ARN, as in the user guide's example user/*.
     */
    private static boolean counts(String arn, String member) {
        var fields = arn.split(":", 6);
        var resource = fields[5];
        var name = resource.startsWith("assumed-role/") ? resource.substring("assumed-role/".length())
                : resource.substring(resource.lastIndexOf('/') + 1);
        var approver = "CodeCommitApprovers:" + fields[4] + ":";
        return Stream.of(arn, approver + name, approver + resource).anyMatch(text -> isLike(text, member));
    }

    /** Whether a text is as a pattern says, in which * stands for anything. */
    private static boolean isLike(String text, String pattern) {
        return text.matches("\\Q" + pattern.replace("*", "\\E.*\\Q") + "\\E");
    }
}
