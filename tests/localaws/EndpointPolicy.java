package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;

/** The policies of VPC endpoints: what EC2 takes as one, and how it gives it back. */
final class EndpointPolicy {
    /** What an endpoint has that was given no policy. */
    static final String FULL_ACCESS = "{\n  \"Statement\": [\n    {\n      \"Action\": \"*\", \n      "
            + "\"Effect\": \"Allow\", \n"
            + "      \"Principal\": \"*\", \n      \"Resource\": \"*\"\n    }\n  ]\n}";
    private static final Set<String> STATEMENT = Set.of("Sid", "Effect", "Principal", "NotPrincipal", "Action",
            "NotAction", "Resource", "NotResource", "Condition");
    private static final Pattern ARN = Pattern.compile("arn:[^:]*:[^:]*:[^:]*:([^:]*):.+");
    private static final Set<String> SYSTEM_IDS = Set.of("aws:principalaccount", "aws:resourceaccount",
            "aws:sourceaccount", "aws:sourcevpc", "aws:sourcevpce", "aws:vpceaccount");

    /**
     * A policy as EC2 gives it back: checked, members in another order, statements and lists turned round, lists of one
     * unwrapped.
     */
    static String rewritten(String text, String partition) {
        if (text.length() > 20480) {
            throw new AwsError("InvalidPolicyDocument", "The policy document is larger than 20480 characters");
        }
        JsonNode policy;
        try {
            policy = Models.JSON.readTree(text);
        } catch (JsonProcessingException e) {
            throw new AwsError("InvalidPolicyDocument", "The policy document is not valid JSON");
        }
        check(policy.isObject(), "a policy is an object");
        policy.fieldNames().forEachRemaining(
                name -> check(Set.of("Version", "Id", "Statement").contains(name), "unknown element " + name));
        check(!policy.has("Version") || Set.of("2012-10-17", "2008-10-17").contains(policy.get("Version").asText()),
                "wrong Version");
        var statements = Kms.list(policy.path("Statement"));
        check(!statements.isEmpty(), "no Statement");
        var sids = Kms.list(policy.path("Statement")).stream().filter(s -> s.has("Sid")).map(s -> s.get("Sid").asText())
                .toList();
        check(new HashSet<>(sids).size() == sids.size(), "Sids are not unique");
        var answer = node();
        if (policy.has("Id")) answer.set("Id", policy.get("Id"));
        var rewritten = new ArrayList<JsonNode>();
        for (var statement : statements) rewritten.add(rewritten(statement, partition));
        Collections.reverse(rewritten);
        answer.putArray("Statement").addAll(rewritten);
        if (policy.has("Version")) answer.set("Version", policy.get("Version"));
        return answer.toString();
    }

    private static ObjectNode rewritten(JsonNode statement, String partition) {
        check(statement.isObject(), "a statement is an object");
        statement.fieldNames().forEachRemaining(name -> check(STATEMENT.contains(name), "unknown element " + name));
        check(statement.path("Sid").asText("").matches("[A-Za-z0-9 ]*"), "wrong Sid");
        check(Set.of("Allow", "Deny").contains(statement.path("Effect").asText()), "wrong Effect");
        for (var name : List.of("Principal", "Action", "Resource")) {
            check(statement.has(name) != statement.has("Not" + name),
                    "one of " + name + " and Not" + name + " is needed");
        }
        for (var name : List.of("Action", "NotAction")) {
            Kms.list(statement.path(name)).forEach(
                    a -> check(a.asText().matches("\\*|[a-z0-9-]+:[A-Za-z0-9*?]+"), "wrong action " + a.asText()));
        }
        for (var name : List.of("Resource", "NotResource")) {
            Kms.list(statement.path(name))
                    .forEach(r -> check(r.asText().equals("*") || arn(r.asText()), "wrong resource " + r.asText()));
        }
        statement.path("Condition").properties().forEach(operator -> {
            check(PolicyEvaluator.OPERATOR.matcher(operator.getKey()).matches(),
                    "unknown operator " + operator.getKey());
            check(operator.getValue().isObject() && !operator.getValue().isEmpty(), "an operator needs a key");
            operator.getValue().properties().forEach(key -> Kms.list(key.getValue()).forEach(value -> {
                check(value.isValueNode(), "wrong value for " + key.getKey());
                check(!SYSTEM_IDS.contains(key.getKey().toLowerCase()) || !value.asText().matches(".*[*?].*"),
                        "wildcards cannot be used with " + key.getKey());
            }));
        });
        var answer = node();
        new TreeMap<>(fields(statement)).forEach((name, value) -> answer.set(name,
                name.endsWith("Principal") ? principal(value, partition) : turned(value)));
        return answer;
    }

    private static JsonNode principal(JsonNode principal, String partition) {
        if (principal.isTextual()) {
            check(principal.asText().equals("*"), "a Principal is * or an object");
            return node().put("AWS", "*");
        }
        check(principal.isObject() && !principal.isEmpty(), "a Principal is * or an object");
        var answer = node();
        principal.properties().forEach(type -> {
            check(Set.of("AWS", "Service", "Federated", "CanonicalUser").contains(type.getKey()),
                    "unknown principal type " + type.getKey());
            var values = node().arrayNode();
            Kms.list(type.getValue()).forEach(p -> {
                check(!type.getKey().equals("AWS") || p.asText().matches("\\*|\\d{12}") || arn(p.asText()),
                        "wrong principal " + p.asText());
                values.add(p.asText().matches("\\d{12}") ? "arn:" + partition + ":iam::" + p.asText() + ":root"
                        : p.asText());
            });
            answer.set(type.getKey(), turned(values));
        });
        return answer;
    }

    /** The account part of an ARN is an id or a wildcard, not both. */
    private static boolean arn(String text) {
        var matcher = ARN.matcher(text);
        return matcher.matches() && matcher.group(1).matches("\\d{12}|[*]|aws|");
    }

    private static JsonNode turned(JsonNode value) {
        if (value.isArray()) {
            var items = new ArrayList<>(Kms.list(value));
            Collections.reverse(items);
            return items.size() == 1 ? items.get(0) : node().arrayNode().addAll(items);
        }
        if (!value.isObject()) return value;
        var answer = node();
        new TreeMap<>(fields(value)).forEach((name, member) -> answer.set(name, turned(member)));
        return answer;
    }

    private static void check(boolean right, String wrong) {
        if (!right) throw new AwsError("InvalidPolicyDocument", "Policy document is malformed: " + wrong);
    }

    private static Map<String, JsonNode> fields(JsonNode object) {
        var fields = new LinkedHashMap<String, JsonNode>();
        object.properties().forEach(field -> fields.put(field.getKey(), field.getValue()));
        return fields;
    }

    private static ObjectNode node() {
        return Models.JSON.createObjectNode();
    }
}
