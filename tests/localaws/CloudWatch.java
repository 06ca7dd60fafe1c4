package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;

/**
 * CloudWatch: the values of metrics, and alarms on them, which notify SNS topics. Alarms are evaluated for each full
 * minute up to the present of {@link LocalAws#clock}; tests move that and call {@link #evaluate}.
 */
public final class CloudWatch implements LocalAws.Service {
    private final LocalAws aws;
    private final String account;

    CloudWatch(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    /**
     * One value of a metric, now, as services put them into their own namespaces. A service that also counts for the
     * whole account puts the value once more, without dimensions.
     *
     * @param namespace  such as AWS/CodeBuild
     * @param dimensions values by name, such as ProjectName
     */
    public void put(String region, String namespace, String metricName, Map<String, String> dimensions,
            double value) {
    }

    /** Evaluates the alarms of all Regions for each full minute since the last time up to the present. */
    public void evaluate() {
        throw new UnsupportedOperationException();
    }

    /** OK, ALARM or INSUFFICIENT_DATA; null when there is no such alarm. */
    public String state(String region, String alarmName) {
        throw new UnsupportedOperationException();
    }

    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        throw new IllegalStateException("no permission is known for cloudwatch:" + operation);
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        throw new AwsError("InvalidAction", operation);
    }
}
