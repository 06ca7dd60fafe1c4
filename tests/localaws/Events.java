package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * EventBridge: rules of the default bus, their targets, and the delivery of what services tell of themselves. Rules
 * from the EventBridge API Reference unless another source is named.
 */
public final class Events implements LocalAws.Service, LocalAws.Timer {
    /**
     * What invokes a kind of target; {@link Account#targets} has them by the service in the target's ARN. It is called
     * in the thread that published, which may hold a service's lock: what takes long, it only begins.
     */
    @FunctionalInterface
    public interface Target {
        /**
         * @param arn     of the target
         * @param input   what the rule hands over: the event, or what the target's Input, InputPath or
         *                InputTransformer made of it
         * @param session of the target's role, whose permissions decide
         * @throws AwsError when the call is refused: the invocation has failed
         */
        void invoke(String arn, JsonNode input, Caller session);
    }

    /**
     * What became of a match of a rule with a target.
     *
     * @param error why it failed, or null; the metric FailedInvocations of AWS/Events counts those
     */
    public record Invocation(Instant time, String region, String rule, String targetId, String error) { }

    private final LocalAws aws;
    private final String account;
    private final List<Invocation> invocations = new CopyOnWriteArrayList<>();

    Events(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    /**
     * Puts a service's event on the default bus of the Region, and delivers it to the targets of the rules that match:
     * that is done when this returns. Nothing is made where no rule is.
     *
     * @param source such as aws.codecommit
     */
    void publish(String region, String source, String detailType, List<String> resources, ObjectNode detail) {
    }

    /** All invocations of targets so far, oldest first, those of rules that are gone too. */
    public List<Invocation> invocations() {
        return List.copyOf(invocations);
    }

    @Override
    public Instant next(Instant after) {
        return null;
    }

    @Override
    public void due(Instant now) {
    }

    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        throw new IllegalStateException("no permission is known for events:" + operation);
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        throw new AwsError("UnknownOperationException", operation);
    }
}
