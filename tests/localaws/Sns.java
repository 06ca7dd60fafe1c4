package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * SNS: topics, their policies, and subscriptions, which receive nothing until they are confirmed. Rules from the SNS
 * API Reference unless another source is named.
 */
public final class Sns implements LocalAws.Service {
    /** @param subject null when none was given */
    public record Message(String id, Instant time, String subject, String text) { }

    /** One subscription; tests may look at it. */
    public static final class Subscription {
        public final String arn;
        public final String topicArn;
        public final String protocol;
        public final String endpoint;
        /** The account that subscribed. */
        public final String owner;
        /** What the message for confirmation carries. */
        public final String token;
        /** Whether somebody has confirmed it, or nobody needed to. */
        public volatile boolean confirmed;
        private final List<Message> received = new ArrayList<>();

        Subscription(String arn, String topicArn, String protocol, String endpoint, String owner, String token) {
            this.arn = arn;
            this.topicArn = topicArn;
            this.protocol = protocol;
            this.endpoint = endpoint;
            this.owner = owner;
            this.token = token;
        }

        /** What arrived at the endpoint, oldest first. */
        public synchronized List<Message> received() {
            return List.copyOf(received);
        }

        synchronized void receive(Message message) {
            received.add(message);
        }
    }

    /** One topic; tests may look at it and change it. */
    public static final class Topic {
        public final String arn;
        public final String name;
        /** As GetTopicAttributes tells it; the policy and the key among them. */
        public final Map<String, String> attributes = new TreeMap<>();
        public final Map<String, String> tags = new TreeMap<>();
        final Map<String, Subscription> subscriptions = new LinkedHashMap<>();
        private final List<Message> published = new ArrayList<>();

        Topic(String arn) {
            this.arn = arn;
            this.name = arn.substring(arn.lastIndexOf(':') + 1);
        }

        /** What was published and accepted, oldest first, whether anybody received it or not. */
        public synchronized List<Message> published() {
            return List.copyOf(published);
        }

        /** The subscription of this endpoint, or null. */
        public synchronized Subscription subscription(String endpoint) {
            return subscriptions.values().stream().filter(s -> s.endpoint.equals(endpoint)).findFirst().orElse(null);
        }

        public synchronized Collection<Subscription> subscriptions() {
            return List.copyOf(subscriptions.values());
        }
    }

    private final LocalAws aws;
    private final String account;
    private final Map<String, Map<String, Topic>> regions = LocalAws.concurrentMap();

    Sns(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    /** The topic, or null. */
    public Topic topic(String region, String name) {
        return in(region).get(new Caller("", account, region).arn("sns", name));
    }

    /** All topics of the Region. */
    public List<Topic> topics(String region) {
        return List.copyOf(in(region).values());
    }

    private Map<String, Topic> in(String region) {
        return LocalAws.regional(regions, region, LocalAws::sortedMap);
    }

    /**
     * Publishes for a service that acts by itself, if the topic's policy and that of its key let it.
     *
     * @param service       such as cloudwatch.amazonaws.com
     * @param sourceArn     the alarm, rule or repository that it acts for
     * @param topicArn      of any account
     * @param subject       or null
     * @throws AwsError as SNS refuses it: NotFound, AuthorizationError, KMSAccessDenied ...
     */
    void publishFor(String service, String sourceArn, String topicArn, String subject, String message) {
        throw new AwsError("InvalidAction", service);
    }

    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        throw new IllegalStateException("no permission is known for sns:" + operation);
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        throw new AwsError("InvalidAction", operation);
    }
}
