package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * What S3 takes as the policy of a bucket, and whether such a policy is public (User Guide, "Bucket policies" and
 * "Blocking public access", the meaning of "public").
 */
final class BucketPolicy {
    private static final int LARGEST = 20 << 10;
    private static final Set<String> STATEMENT = Set.of("Sid", "Effect", "Principal", "NotPrincipal", "Action",
            "NotAction", "Resource", "NotResource", "Condition");
    /** Condition keys of S3 that only some actions have (Service Authorization Reference). */
    private static final Map<String, Pattern> ONLY_WITH = Map.of(
            "s3:prefix", Pattern.compile("s3:ListBucket(Versions)?"),
            "s3:delimiter", Pattern.compile("s3:ListBucket(Versions)?"),
            "s3:max-keys", Pattern.compile("s3:ListBucket(Versions)?"),
            "s3:if-none-match", Pattern.compile("s3:PutObject"),
            "s3:ObjectCreationOperation", Pattern.compile("s3:PutObject"),
            "s3:x-amz-server-side-encryption", Pattern.compile("s3:PutObject|s3:ReplicateObject"),
            "s3:x-amz-server-side-encryption-aws-kms-key-id", Pattern.compile("s3:PutObject|s3:ReplicateObject"),
            "s3:object-lock-remaining-retention-days", Pattern.compile("s3:PutObject(Retention)?"));
    /** Which actions are those of the bucket itself. */
    private static final Pattern OF_BUCKET = Pattern.compile("s3:(CreateBucket|DeleteBucket.*|GetBucket.*|"
            + "(Get|Put)(AccelerateConfiguration|AnalyticsConfiguration|EncryptionConfiguration|"
            + "InventoryConfiguration|LifecycleConfiguration|MetricsConfiguration|ReplicationConfiguration)|"
            + "ListBucket.*|PutBucket.*)");
    /** Of an allow for everyone, these with a fixed value say for whom it is. */
    private static final Set<String> NARROWING = Set.of("aws:PrincipalAccount",
            "aws:PrincipalOrgID", "aws:SourceAccount", "aws:SourceArn", "aws:SourceIp", "aws:SourceOwner",
            "aws:SourceVpc", "aws:SourceVpce", "aws:userid");

    private BucketPolicy() {
    }

    /** @param isPrincipal whether a policy may name this user, role or account */
    static JsonNode checked(byte[] text, String bucketArn, Predicate<String> isPrincipal) {
        if (text.length > LARGEST) {
            throw malformed("Normalized policy document exceeds the maximum allowed size of 20480 bytes.");
        }
        JsonNode policy;
        try {
            policy = Models.JSON.readTree(new String(text, StandardCharsets.UTF_8));
        } catch (JsonProcessingException e) {
            throw malformed("Policies must be valid JSON and the first byte must be '{'");
        }
        if (!policy.isObject()) throw malformed("Policies must be valid JSON and the first byte must be '{'");
        only(policy, Set.of("Version", "Id", "Statement"));
        if (policy.has("Version") && !policy.get("Version").asText().matches("2012-10-17|2008-10-17")) {
            throw malformed("The policy must contain a valid version string");
        }
        var statements = Kms.list(policy.path("Statement"));
        if (statements.isEmpty()) throw malformed("Missing required field Statement");
        for (var statement : statements) check(statement, bucketArn, isPrincipal);
        return policy;
    }

    private static void check(JsonNode statement, String bucketArn, Predicate<String> isPrincipal) {
        only(statement, STATEMENT);
        if (!statement.path("Effect").asText().matches("Allow|Deny")) {
            throw malformed("Missing required field Effect");
        }
        checkPrincipals(oneOf(statement, "Principal"), isPrincipal);
        var actions = Kms.list(oneOf(statement, "Action")).stream().map(JsonNode::asText).toList();
        for (var action : actions) {
            if (!action.matches("\\*|s3:[A-Za-z*?]+")) throw malformed("Policy has invalid action");
        }
        var resources = Kms.list(oneOf(statement, "Resource")).stream().map(JsonNode::asText).toList();
        for (var resource : resources) {
            if (!resource.equals(bucketArn) && !resource.startsWith(bucketArn + "/")
                    && !resource.matches(Pattern.quote(bucketArn) + "\\*")) {
                throw malformed("Policy has invalid resource");
            }
        }
        if (statement.has("Action")) checkFit(statement, bucketArn, actions, resources);
    }

    /** Each action needs a resource of its kind, and each condition key an action that has it. */
    private static void checkFit(JsonNode statement, String bucketArn, List<String> actions, List<String> resources) {
        for (var action : actions) {
            if (action.contains("*")) continue;
            var isOfBucket = OF_BUCKET.matcher(action).matches();
            if (resources.stream().noneMatch(resource -> resource.contains("*") && !resource.contains("/")
                    || resource.equals(bucketArn) == isOfBucket)) {
                throw malformed("Action does not apply to any resource(s) in statement");
            }
        }
        for (var operator : statement.path("Condition").properties()) {
            if (!PolicyEvaluator.OPERATOR.matcher(operator.getKey()).matches()) {
                throw malformed("Invalid Condition type : " + operator.getKey());
            }
            for (var key : operator.getValue().properties()) {
                if (!key.getKey().matches("(aws|s3):.+")) {
                    throw malformed("Policy has an invalid condition key");
                }
                var fitting = ONLY_WITH.get(key.getKey());
                if (fitting != null && !actions.stream()
                        .allMatch(action -> action.contains("*") || fitting.matcher(action).matches())) {
                    throw malformed("Conditions do not apply to combination of actions and resources in statement");
                }
            }
        }
    }

    private static void checkPrincipals(JsonNode principals, Predicate<String> isPrincipal) {
        if (principals.isTextual()) {
            if (!principals.asText().equals("*")) throw malformed("Invalid policy syntax.");
            return;
        }
        only(principals, Set.of("AWS", "Service", "Federated", "CanonicalUser"));
        for (var kind : principals.properties()) {
            for (var principal : Kms.list(kind.getValue())) {
                if (kind.getKey().equals("AWS") && !isPrincipal.test(principal.asText())
                        || kind.getKey().equals("Service")
                                && !principal.asText().matches("[a-z0-9.-]+\\.amazonaws\\.com(\\.cn)?")) {
                    throw malformed("Invalid principal in policy");
                }
            }
        }
    }

    private static JsonNode oneOf(JsonNode statement, String element) {
        var value = statement.path(statement.has(element) ? element : "Not" + element);
        if (statement.has(element) == statement.has("Not" + element) || value.isContainerNode() && value.isEmpty()) {
            throw malformed("Missing required field " + element);
        }
        return value;
    }

    private static void only(JsonNode node, Set<String> members) {
        if (!node.isObject()) throw malformed("Invalid policy syntax.");
        node.fieldNames().forEachRemaining(name -> {
            if (!members.contains(name)) throw malformed("Unknown field " + name);
        });
    }

    /** Whether it allows everyone something, without a condition that says who that is. */
    static boolean isPublic(JsonNode policy) {
        return Kms.list(policy.path("Statement")).stream()
                .filter(statement -> statement.path("Effect").asText().equals("Allow"))
                .anyMatch(statement -> isForEveryone(statement) && !isNarrowed(statement));
    }

    private static boolean isForEveryone(JsonNode statement) {
        var principal = statement.path("Principal");
        return statement.has("NotPrincipal") || principal.asText().equals("*")
                || Kms.list(principal.path("AWS")).stream().anyMatch(name -> name.asText().equals("*"));
    }

    private static boolean isNarrowed(JsonNode statement) {
        for (var operator : statement.path("Condition").properties()) {
            if (!operator.getKey().matches("(String|Arn)(Equals|Like)|IpAddress")) continue;
            for (var key : operator.getValue().properties()) {
                if (NARROWING.contains(key.getKey()) && Kms.list(key.getValue()).stream()
                        .noneMatch(value -> value.asText().contains("*") || value.asText().contains("${"))) {
                    return true;
                }
            }
        }
        return false;
    }

    private static AwsError malformed(String message) {
        return new AwsError("MalformedPolicy", message);
    }
}
