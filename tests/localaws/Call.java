package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Instant;
import java.util.Set;

/**
 * One request that the embedded AWS received.
 *
 * @param name   service and operation, as IAM spells them: {@code kms:CreateKey}, {@code s3:PutObject},
 *               {@code codecommit:GitPull}
 * @param region the Region that the request was signed for
 * @param caller the ARN of who signed it, "" when nobody that is known did
 * @param input  its parameters; null when they could not be read
 * @param status the HTTP status of the answer; 0 when the connection was cut
 * @param error  the error code of the answer, or null
 */
public record Call(Instant time, String name, String region, String caller, JsonNode input, int status, String error) {
    private static final Set<String> READING = Set.of("BatchGet", "Describe", "Get", "Head", "List", "Simulate",
            "TestEventPattern");

    public boolean readOnly() {
        return reads(name);
    }

    static boolean reads(String name) {
        var operation = name.substring(name.indexOf(':') + 1);
        return operation.equals("GitPull") || READING.stream().anyMatch(operation::startsWith);
    }

    public boolean ok() {
        return status >= 200 && status < 300;
    }
}
