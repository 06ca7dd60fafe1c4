package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.List;
import java.util.UUID;

/** STS: who am I, and roles to assume. */
public final class Sts implements LocalAws.Service {
    private final LocalAws aws;

    Sts(LocalAws aws) {
        this.aws = aws;
    }

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        return new AwsError("ValidationError", LocalAws.Service.super.invalid(operation, violations).getMessage());
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        return switch (operation) {
            case "GetCallerIdentity" -> Models.JSON.createObjectNode().put("Account", caller.account())
                    .put("Arn", caller.arn()).put("UserId", "AIDACKCEVSQ6C2EXAMPLE");
            case "AssumeRole" -> assumeRole(input, caller);
            default -> throw new AwsError("InvalidAction", operation);
        };
    }

    private JsonNode assumeRole(ObjectNode input, Caller caller) {
        var arn = input.get("RoleArn").asText();
        if (!aws.iam.exists(arn))
            throw new AwsError(403, "AccessDenied",
                    "User: " + caller.arn() + " is not authorized to perform: sts:AssumeRole on resource: " + arn);
        var accessKeyId = "ASIA" + UUID.randomUUID().toString().replace("-", "").substring(0, 16).toUpperCase();
        var secret = UUID.randomUUID().toString();
        var token = "token+/" + UUID.randomUUID() + "==";
        var expiry = aws.now().plus(Duration.ofSeconds(input.path("DurationSeconds").asInt(3600)));
        var resource = "assumed-role/" + arn.substring(arn.lastIndexOf('/') + 1) + "/"
                + input.get("RoleSessionName").asText();
        aws.credentials.add(accessKeyId, secret, token, resource, caller.account(), expiry);
        var answer = Models.JSON.createObjectNode();
        answer.putObject("Credentials").put("AccessKeyId", accessKeyId).put("SecretAccessKey", secret)
                .put("SessionToken", token).put("Expiration", expiry.getEpochSecond());
        answer.putObject("AssumedRoleUser")
                .put("AssumedRoleId", "AROA3XFRBF535PLBIFPI4:" + input.get("RoleSessionName").asText())
                .put("Arn", "arn:" + caller.partition() + ":sts::" + caller.account() + ":" + resource);
        return answer;
    }
}
