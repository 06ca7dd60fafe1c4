package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import localaws.PolicyEvaluator.Policy;

/** STS: who am I, and roles to assume, of any account whose trust policy lets the caller. */
public final class Sts implements LocalAws.Service {
    /** The longest session that a role's session can assume a role for, in seconds (API reference, AssumeRole). */
    private static final int CHAINED = 3600;

    private final LocalAws aws;

    Sts(LocalAws aws) {
        this.aws = aws;
    }

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        return validation(LocalAws.Service.super.invalid(operation, violations).getMessage());
    }

    @Override
    public AwsError refused(Need need, String message) {
        // it does not tell whether there is such a role, nor which policy refuses
        return new AwsError(403, "AccessDenied", message.replaceFirst(" (because no|with an explicit) .*", ""));
    }

    /** GetCallerIdentity needs nothing and cannot be denied. */
    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        return switch (operation) {
            case "GetCallerIdentity" -> List.of();
            case "AssumeRole" -> {
                var arn = input.path("RoleArn").asText();
                var role = role(arn);
                yield List.of(new Need("sts:AssumeRole", arn).policy("trust", role == null ? null : role.trust)
                        .key("sts:RoleSessionName", input.path("RoleSessionName").asText())
                        .key("sts:ExternalId", input.path("ExternalId").textValue())
                        .resourceTags(role == null ? Map.of() : role.tags));
            }
            default -> throw new IllegalStateException("no permission is known for sts:" + operation);
        };
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        return switch (operation) {
            case "GetCallerIdentity" -> Models.JSON.createObjectNode().put("Account", caller.account())
                    .put("Arn", caller.arn())
                    .put("UserId", aws.account(caller.account()).iam.identity(caller).userId());
            case "AssumeRole" -> assumeRole(input, caller);
            default -> throw new AwsError("InvalidAction", operation);
        };
    }

    private Iam.Principal role(String arn) {
        var fields = arn.split(":", 6);
        var account = fields.length < 6 ? null : aws.known(fields[4]);
        return account == null ? null : account.iam.role(arn);
    }

    /**
     * What a service gets that assumes a role for a resource of the role's account; null when the role's trust policy
     * does not let it, when there is no such role, or when IAM does not show it yet.
     *
     * @param service   such as codebuild.amazonaws.com
     * @param sourceArn the resource
     */
    LocalAws.Login assumeAsService(String service, String arn, String sessionName, String sourceArn) {
        var role = role(arn);
        if (role == null) return null;
        var account = arn.split(":")[4];
        if (!aws.account(account).iam.visibleToServices(role)) return null;
        var need = new Need("sts:AssumeRole", arn).policy("trust", role.trust);
        var region = sourceArn.split(":")[3];
        if (aws.authorizer.decideForService(service, sourceArn, account, region, need)
                .decision() != PolicyEvaluator.Decision.allowed)
            return null;
        return aws.login("ASIA", "assumed-role/" + role.name + "/" + sessionName, account,
                "token+/" + UUID.randomUUID() + "==", aws.now().plusSeconds(role.maxSessionDuration), List.of());
    }

    private JsonNode assumeRole(ObjectNode input, Caller caller) {
        for (var member : List.of("Tags", "TransitiveTagKeys", "SerialNumber", "TokenCode", "SourceIdentity",
                "ProvidedContexts")) {
            if (input.hasNonNull(member)) {
                throw validation("The embedded AWS does not offer " + member);
            }
        }
        var arn = input.get("RoleArn").asText();
        var role = role(arn);
        var seconds = input.path("DurationSeconds").asInt(3600);
        if (seconds > role.maxSessionDuration) {
            throw validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
        }
        if (seconds > CHAINED && caller.arn().contains(":assumed-role/")) {
            throw validation("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
                    + "role chaining");
        }
        var name = input.get("RoleSessionName").asText();
        var account = arn.split(":")[4];
        return session(role, account, name, seconds, sessionPolicies(input, caller, account), caller.partition());
    }

    /** Those of both kinds bound the session together: it may do what one of them allows. */
    private List<Policy> sessionPolicies(ObjectNode input, Caller caller, String account) {
        var policies = new ArrayList<Policy>();
        if (input.hasNonNull("Policy")) {
            Iam.checkPolicy(input.get("Policy").asText(), caller);
            policies.add(Policy.of("session", input.get("Policy").asText()));
        }
        for (var managed : input.path("PolicyArns")) {
            policies.add(aws.account(account).iam.managed(managed.path("arn").asText()));
        }
        return policies;
    }

    private JsonNode session(Iam.Principal role, String account, String name, int seconds, List<Policy> policies,
            String partition) {
        var expiry = aws.now().plus(Duration.ofSeconds(seconds));
        var resource = "assumed-role/" + role.name + "/" + name;
        var login = aws.login("ASIA", resource, account, "token+/" + UUID.randomUUID() + "==", expiry,
                policies);
        var answer = Models.JSON.createObjectNode();
        answer.putObject("Credentials").put("AccessKeyId", login.accessKeyId())
                .put("SecretAccessKey", login.secretAccessKey()).put("SessionToken", login.sessionToken())
                .put("Expiration", expiry.getEpochSecond());
        answer.putObject("AssumedRoleUser").put("AssumedRoleId", role.id() + ":" + name)
                .put("Arn", "arn:" + partition + ":sts::" + account + ":" + resource);
        return answer;
    }

    private static AwsError validation(String message) {
        return new AwsError("ValidationError", message);
    }
}
