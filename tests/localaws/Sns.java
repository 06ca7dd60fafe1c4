package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.function.Supplier;
import localaws.PolicyEvaluator.Decision;

/**
 * SNS: topics, their policies, and subscriptions, which receive nothing until they are confirmed. Rules from the SNS
 * API Reference unless another source is named.
 */
public final class Sns implements LocalAws.Service {
    /** @param subject null when none was given */
    public record Message(String id, Instant time, String subject, String text) { }

    /** What is sent to a subscriber's address, requests for confirmation included. */
    public record Mail(String address, String subject, String text) { }

    /** One subscription; tests may look at it, and confirm it as who reads the mail does. */
    public static final class Subscription {
        public final String arn;
        public final String topicArn;
        public final String protocol;
        public final String endpoint;
        /** The account that subscribed. */
        public final String owner;
        /** Whether somebody has confirmed it, or nobody needed to. */
        public volatile boolean confirmed;
        private final List<Message> received = new ArrayList<>();
        private final List<String> tokens = new ArrayList<>();
        private Instant tokenMade;

        Subscription(String arn, String topicArn, String protocol, String endpoint, String owner) {
            this.arn = arn;
            this.topicArn = topicArn;
            this.protocol = protocol;
            this.endpoint = endpoint;
            this.owner = owner;
        }

        /** What arrived at the endpoint, oldest first; not the requests for confirmation. */
        public synchronized List<Message> received() {
            return List.copyOf(received);
        }

        /** The tokens of the requests for confirmation that were sent to the endpoint, oldest first. */
        public synchronized List<String> tokens() {
            return List.copyOf(tokens);
        }

        private synchronized void receive(Message message) {
            received.add(message);
        }

        /** Gives the token. */
        private synchronized String ask(Instant now) {
            var token = UUID.randomUUID().toString().replace("-", "").repeat(2);
            tokens.add(token);
            tokenMade = now;
            return token;
        }

        /** Whether this is the newest token, not older than two days. */
        private synchronized boolean isConfirmedBy(String token, Instant now) {
            return !tokens.isEmpty() && tokens.get(tokens.size() - 1).equals(token)
                    && tokenMade.plus(TOKEN_LIFE).isAfter(now);
        }
    }

    /** One topic; tests may look at it and change it. */
    public static final class Topic {
        public final String arn;
        public final String name;
        /** What SetTopicAttributes sets, the Policy and the KmsMasterKeyId among it. */
        public final Map<String, String> attributes = LocalAws.sortedMap();
        public final Map<String, String> tags = LocalAws.sortedMap();
        private final List<Subscription> subscriptions = new ArrayList<>();
        private final List<Message> published = new ArrayList<>();
        private int unsubscribed;

        Topic(String arn, String account) {
            this.arn = arn;
            this.name = arn.substring(arn.lastIndexOf(':') + 1);
            attributes.put("DisplayName", "");
            attributes.put("Policy", DEFAULT_POLICY.formatted(arn, account));
        }

        /** What was accepted, oldest first, whether anybody received it or not. */
        public synchronized List<Message> published() {
            return List.copyOf(published);
        }

        public synchronized List<Subscription> subscriptions() {
            return List.copyOf(subscriptions);
        }

        /** The subscription of this endpoint, or null. */
        public Subscription subscription(String endpoint) {
            return subscriptions().stream().filter(s -> s.endpoint.equals(endpoint)).findFirst().orElse(null);
        }

        /** Gives the message's id. */
        private synchronized String publish(String subject, String text, Instant now) {
            var message = new Message(UUID.randomUUID().toString(), now, subject, text);
            published.add(message);
            subscriptions.stream().filter(subscription -> subscription.confirmed)
                    .forEach(subscription -> subscription.receive(message));
            return message.id;
        }

        private synchronized void add(Subscription subscription) {
            subscriptions.add(subscription);
        }

        private synchronized void remove(Subscription subscription) {
            subscriptions.remove(subscription);
            unsubscribed++;
        }
    }

    private static final Duration TOKEN_LIFE = Duration.ofDays(2);
    private static final int MESSAGE_BYTES = 256 * 1024;
    private static final int POLICY_BYTES = 30 * 1024;
    private static final int TAGS = 50;
    /** What a topic's policy may be about (Developer Guide, "Access policy language"). */
    private static final Set<String> POLICY_ACTIONS = Set.of("sns:addpermission", "sns:deletetopic",
            "sns:getdataprotectionpolicy", "sns:gettopicattributes", "sns:listsubscriptionsbytopic",
            "sns:listtagsforresource", "sns:publish", "sns:putdataprotectionpolicy", "sns:receive",
            "sns:removepermission", "sns:settopicattributes", "sns:subscribe");
    private static final Set<String> ATTRIBUTES = Set.of("DisplayName", "KmsMasterKeyId", "Policy");
    /** As SNS makes it; it lets services that send aws:SourceOwner publish, and EventBridge is none of them. */
    private static final String DEFAULT_POLICY = """
            {"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID",\
            "Effect":"Allow","Principal":{"AWS":"*"},"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes",\
            "SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe",\
            "SNS:ListSubscriptionsByTopic","SNS:Publish"],"Resource":"%s",\
            "Condition":{"StringEquals":{"AWS:SourceOwner":"%s"}}}]}""";

    private final LocalAws aws;
    private final String account;
    private final Map<String, Map<String, Topic>> regions = LocalAws.concurrentMap();
    /** How many more times a topic of this ARN cannot be made with tags, by ARNs of deleted ones. */
    private final Map<String, Integer> stale = new TreeMap<>();
    /** How many items a page has; AWS's own pages are longer. */
    public volatile int pageSize = 3;
    /** How often a topic of a deleted one's name cannot be made yet (StaleTag), if it is to have tags. */
    public volatile int staleCalls = 1;

    Sns(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    /** A topic as CreateTopic makes it without attributes and tags. */
    public Topic createTopic(String region, String name) {
        var topic = new Topic(new Caller("", account, region).arn("sns", name), account);
        in(region).put(topic.arn, topic);
        return topic;
    }

    /** The topic, or null. */
    public Topic topic(String region, String name) {
        return in(region).get(new Caller("", account, region).arn("sns", name));
    }

    private Map<String, Topic> in(String region) {
        return LocalAws.regional(regions, region, LocalAws::sortedMap);
    }

    /** The topic of this ARN, of any account, or null. */
    private Topic find(String arn) {
        var fields = arn.split(":", 6);
        var owner = fields.length < 6 || !fields[2].equals("sns") ? null : aws.known(fields[4]);
        return owner == null ? null : owner.sns.in(fields[3]).get(arn);
    }

    // Publishing for services

    /**
     * Publishes for a service that acts by itself for something of this account, if the topic's policy and that of its
     * key let it.
     *
     * @param service   such as cloudwatch.amazonaws.com
     * @param sourceArn the alarm, rule or repository that it acts for
     * @param topicArn  of any account
     * @param subject   or null
     * @throws AwsError as SNS refuses it: NotFound, AuthorizationError, KMSAccessDenied ...
     */
    void publishFor(String service, String sourceArn, String topicArn, String subject, String text) {
        var topic = find(topicArn);
        if (topic == null) throw notFound();
        var region = topicArn.split(":")[3];
        // EventBridge says neither for what it acts nor for whom, and a statement of a topic's policy with any
        // condition is never about it (EventBridge User Guide, "Using resource-based policies")
        var tells = !service.equals("events.amazonaws.com");
        var policy = topic.attributes.get("Policy");
        var need = new Need("sns:Publish", topicArn).policy("topic", tells ? policy : withoutConditions(policy))
                .resourceTags(topic.tags).key("aws:SourceOwner", tells ? account : null);
        var result = aws.authorizer.decideForService(service, tells ? sourceArn : null, tells ? account : null, region,
                need);
        if (result.decision() != Decision.allowed)
            throw new AwsError(403, "AuthorizationError", service + " is not authorized to perform: SNS:Publish on "
                    + "resource: " + topicArn + " " + result.reason());
        if (topic.attributes.containsKey("KmsMasterKeyId")) {
            var key = key(topic);
            encrypted(() -> aws.account(key.arn.split(":")[4]).kms.useForService(service, tells ? sourceArn : null,
                    tells ? account : null, key, KEY_USE, context(topic)));
        }
        send(topic, subject, text);
    }

    private static final List<String> KEY_USE = List.of("kms:GenerateDataKey", "kms:Decrypt");

    private static Map<String, String> context(Topic topic) {
        return Map.of("aws:sns:topicArn", topic.arn);
    }

    private static String withoutConditions(String policy) {
        try {
            var document = (ObjectNode) Models.JSON.readTree(policy);
            var kept = Models.JSON.createArrayNode();
            Kms.list(document.path("Statement")).stream().filter(statement -> statement.path("Condition").isEmpty())
                    .forEach(kept::add);
            return document.set("Statement", kept).toString();
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    /** What KMS refuses, in SNS's words. */
    private static void encrypted(Supplier<Kms.Key> use) {
        try {
            use.get();
        } catch (AwsError e) {
            throw new AwsError(switch (e.code) {
                case "NotFoundException" -> "KMSNotFound";
                case "DisabledException" -> "KMSDisabled";
                case "KMSInvalidStateException" -> "KMSInvalidState";
                default -> "KMSAccessDenied";
            }, e.getMessage());
        }
    }

    // Permissions

    @Override
    public AwsError refused(Need need, String message) {
        return new AwsError(403, "AuthorizationError", message);
    }

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        var violation = violations.get(0);
        return invalid(violation.member() + " Reason: " + violation.text());
    }

    /** On the topic, whose policy is asked too. */
    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "sns:" + operation;
        return switch (operation) {
            case "ListTopics", "GetSubscriptionAttributes", "Unsubscribe" -> List.of(new Need(action, "*"));
            case "CreateTopic" -> {
                var arn = caller.arn("sns", input.path("Name").asText());
                var tags = Need.tags(input.path("Tags"), "Key", "Value");
                var create = onTopic(action, arn).requestTags(tags);
                yield tags.isEmpty() ? List.of(create)
                        : List.of(create, onTopic("sns:TagResource", arn).requestTags(tags));
            }
            case "TagResource" -> List.of(onTopic(action, input.path("ResourceArn").asText())
                    .requestTags(Need.tags(input.path("Tags"), "Key", "Value")));
            case "UntagResource" -> List.of(onTopic(action, input.path("ResourceArn").asText())
                    .keys("aws:TagKeys", input.path("TagKeys").valueStream().map(JsonNode::asText).toList()));
            case "ListTagsForResource" -> List.of(onTopic(action, input.path("ResourceArn").asText()));
            case "Subscribe" -> List.of(onTopic(action, input.path("TopicArn").asText())
                    .key("sns:Protocol", input.path("Protocol").textValue())
                    .key("sns:Endpoint", input.path("Endpoint").textValue()));
            case "ConfirmSubscription", "DeleteTopic", "GetTopicAttributes", "ListSubscriptionsByTopic", "Publish",
                    "SetTopicAttributes" ->
                List.of(onTopic(action, input.path("TopicArn").asText()));
            default -> throw new IllegalStateException("no permission is known for sns:" + operation);
        };
    }

    private Need onTopic(String action, String arn) {
        var topic = find(arn);
        return topic == null ? new Need(action, arn)
                : new Need(action, arn).policy("topic", topic.attributes.get("Policy")).resourceTags(topic.tags);
    }

    // Operations

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        return switch (operation) {
            case "CreateTopic" -> createTopic(input, caller);
            case "DeleteTopic" -> {
                var arn = topicArn(input, "TopicArn", caller);
                var topic = find(arn);
                if (topic != null) {
                    var owner = aws.account(arn.split(":")[4]).sns;
                    owner.in(caller.region()).remove(arn);
                    owner.stale.put(arn, owner.staleCalls);
                }
                yield null;
            }
            case "GetTopicAttributes" -> Models.JSON.createObjectNode().set("Attributes", shown(topic(input, caller)));
            case "SetTopicAttributes" -> {
                set(topic(input, caller), required(input, "AttributeName"), input.path("AttributeValue").asText(""),
                        caller);
                yield null;
            }
            case "ListTopics" -> page("Topics", in(caller.region()).keySet().stream()
                    .map(arn -> (JsonNode) Models.JSON.createObjectNode().put("TopicArn", arn)).toList(), input);
            case "Publish" -> publish(input, caller);
            case "Subscribe" -> subscribe(input, caller);
            case "ConfirmSubscription" -> {
                var confirmed = confirm(topicArn(input, "TopicArn", caller), required(input, "Token"));
                yield Models.JSON.createObjectNode().put("SubscriptionArn", confirmed.arn);
            }
            case "ListSubscriptionsByTopic" -> page("Subscriptions", topic(input, caller).subscriptions().stream()
                    .map(subscription -> (JsonNode) Models.JSON.createObjectNode()
                            .put("SubscriptionArn", subscription.confirmed ? subscription.arn : "PendingConfirmation")
                            .put("Owner", subscription.owner).put("Protocol", subscription.protocol)
                            .put("Endpoint", subscription.endpoint).put("TopicArn", subscription.topicArn))
                    .toList(), input);
            case "GetSubscriptionAttributes" -> {
                var subscription = subscription(input, caller);
                if (subscription == null)
                    throw new AwsError(404, "NotFound", "Subscription does not exist");
                var attributes = Models.JSON.createObjectNode().put("SubscriptionArn", subscription.arn)
                        .put("TopicArn", subscription.topicArn).put("Owner", subscription.owner)
                        .put("Protocol", subscription.protocol).put("Endpoint", subscription.endpoint)
                        .put("RawMessageDelivery", "false")
                        .put("PendingConfirmation", String.valueOf(!subscription.confirmed));
                yield Models.JSON.createObjectNode().set("Attributes", attributes);
            }
            case "Unsubscribe" -> {
                var subscription = subscription(input, caller);
                if (subscription != null) {
                    if (!subscription.confirmed)
                        throw invalid("This subscription is pending confirmation and cannot be deleted");
                    find(subscription.topicArn).remove(subscription);
                }
                yield null;
            }
            case "TagResource" -> {
                var topic = tagged(input, caller);
                topic.tags.putAll(tags(topic.tags, input.path("Tags")));
                yield Models.JSON.createObjectNode();
            }
            case "UntagResource" -> {
                var topic = tagged(input, caller);
                input.path("TagKeys").forEach(key -> topic.tags.remove(key.asText()));
                yield Models.JSON.createObjectNode();
            }
            case "ListTagsForResource" -> Models.JSON.createObjectNode().set("Tags",
                    Need.list(tagged(input, caller).tags));
            default -> throw new AwsError("InvalidAction", operation);
        };
    }

    private JsonNode createTopic(ObjectNode input, Caller caller) {
        if (input.hasNonNull("DataProtectionPolicy")) throw invalid("The embedded AWS offers no DataProtectionPolicy");
        var name = required(input, "Name");
        if (!name.matches("[A-Za-z0-9_-]{1,256}")) throw invalid("Topic Name");
        var arn = caller.arn("sns", name);
        var there = find(arn);
        var tags = tags(Map.of(), input.path("Tags"));
        if (there == null) {
            if (!tags.isEmpty() && stale.merge(arn, -1, Integer::sum) >= 0)
                throw new AwsError("StaleTag", "The tags of the deleted topic " + name + " are not gone yet");
            var made = new Topic(arn, account);
            input.path("Attributes").properties()
                    .forEach(attribute -> set(made, attribute.getKey(), attribute.getValue().asText(), caller));
            made.tags.putAll(tags);
            in(caller.region()).put(arn, made);
            return Models.JSON.createObjectNode().put("TopicArn", arn);
        }
        for (var attribute : input.path("Attributes").properties())
            if (!attribute.getValue().asText().equals(there.attributes.getOrDefault(attribute.getKey(), "")))
                throw invalid("Attributes Reason: Topic already exists with different attributes");
        if (!tags.isEmpty() && !tags.equals(there.tags))
            throw invalid("Tags Reason: Topic already exists with different tags");
        return Models.JSON.createObjectNode().put("TopicArn", arn);
    }

    private static ObjectNode shown(Topic topic) {
        var shown = Models.JSON.createObjectNode().put("TopicArn", topic.arn).put("Owner", topic.arn.split(":")[4]);
        topic.attributes.forEach(shown::put);
        var confirmed = topic.subscriptions().stream().filter(subscription -> subscription.confirmed).count();
        return shown.put("SubscriptionsConfirmed", String.valueOf(confirmed))
                .put("SubscriptionsPending", String.valueOf(topic.subscriptions().size() - confirmed))
                .put("SubscriptionsDeleted", String.valueOf(topic.unsubscribed));
    }

    private void set(Topic topic, String name, String value, Caller caller) {
        if (!ATTRIBUTES.contains(name)) throw invalid("AttributeName");
        if (name.equals("DisplayName") && (value.length() > 100 || value.matches("(?s).*[\\p{Cntrl}].*")))
            throw invalid("DisplayName");
        if (name.equals("Policy")) checkPolicy(value, topic.arn, caller);
        if (name.equals("KmsMasterKeyId") && value.isEmpty()) topic.attributes.remove(name);
        else topic.attributes.put(name, value);
    }

    private void checkPolicy(String text, String arn, Caller caller) {
        if (text.getBytes(StandardCharsets.UTF_8).length > POLICY_BYTES) throw invalid("Policy too long");
        JsonNode policy;
        try {
            policy = Models.JSON.readTree(text);
        } catch (JsonProcessingException e) {
            throw invalid("Policy failed to parse policy document");
        }
        if (!policy.isObject() || !policy.path("Version").asText().matches("2012-10-17|2008-10-17")
                || Kms.list(policy.path("Statement")).isEmpty())
            throw invalid("Policy Error: null");
        var sids = new TreeSet<String>();
        for (var statement : Kms.list(policy.get("Statement"))) {
            if (!statement.path("Effect").asText().matches("Allow|Deny")
                    || statement.has("Principal") == statement.has("NotPrincipal")
                    || statement.has("Action") == statement.has("NotAction")
                    || statement.has("Resource") == statement.has("NotResource"))
                throw invalid("Policy Error: null");
            if (statement.has("Sid") && !sids.add(statement.get("Sid").asText()))
                throw invalid("Policy Error: duplicate Sid " + statement.get("Sid").asText());
            for (var action : Kms.list(statement.path(statement.has("Action") ? "Action" : "NotAction")))
                if (!POLICY_ACTIONS.contains(action.asText().toLowerCase(Locale.ROOT)))
                    throw invalid("Policy statement action out of service scope!");
            for (var resource : Kms.list(statement.path("Resource")))
                if (!arn.matches("\\Q" + resource.asText().replace("*", "\\E.*\\Q") + "\\E"))
                    throw invalid("Policy statement resource must match the topic");
            for (var operator : statement.path("Condition").properties())
                if (!PolicyEvaluator.OPERATOR.matcher(operator.getKey()).matches() || !operator.getValue().isObject())
                    throw invalid("Policy Error: null");
            checkPrincipals(statement.path(statement.has("Principal") ? "Principal" : "NotPrincipal"), caller);
        }
    }

    private void checkPrincipals(JsonNode principals, Caller caller) {
        if (principals.asText().equals("*")) return;
        for (var kind : principals.properties())
            for (var principal : Kms.list(kind.getValue())) {
                var known = switch (kind.getKey()) {
                    case "AWS" -> aws.account(account).kms.isPrincipal(principal.asText(), caller);
                    case "Service" -> principal.asText().matches("[a-z0-9.-]+\\.amazonaws\\.com(\\.cn)?");
                    default -> true;
                };
                if (!known) throw invalid("Policy Error: PrincipalNotFound");
            }
    }

    private JsonNode publish(ObjectNode input, Caller caller) {
        for (var member : List.of("TargetArn", "PhoneNumber", "MessageStructure", "MessageAttributes",
                "MessageDeduplicationId", "MessageGroupId"))
            if (input.hasNonNull(member)) throw invalid("The embedded AWS does not offer " + member);
        var topic = topic(input, caller);
        var text = input.path("Message").asText();
        if (text.isEmpty()) throw invalid("Empty message");
        if (text.getBytes(StandardCharsets.UTF_8).length > MESSAGE_BYTES) throw invalid("Message too long");
        var subject = input.path("Subject").textValue();
        if (subject != null && !subject.matches("[!-~][ -~]{0,99}")) throw invalid("Subject");
        return Models.JSON.createObjectNode().put("MessageId", publish(topic, caller, subject, text));
    }

    /** For a caller who was allowed it; the topic's key is asked here. Gives the message's id. */
    private String publish(Topic topic, Caller caller, String subject, String text) {
        if (topic.attributes.containsKey("KmsMasterKeyId")) {
            var key = key(topic);
            encrypted(() -> aws.account(caller.account()).kms.use(caller.via("sns"), key.arn, KEY_USE,
                    context(topic)));
        }
        return send(topic, subject, text);
    }

    /** Gives the message's id. */
    private String send(Topic topic, String subject, String text) {
        var id = topic.publish(subject, text, aws.now());
        topic.subscriptions().stream()
                .filter(subscription -> subscription.confirmed && subscription.protocol.equals("email"))
                .forEach(subscription -> aws.deliver(new Mail(subscription.endpoint,
                        subject == null ? "AWS Notification Message" : subject, text)));
        return id;
    }

    /** The key of an encrypted topic, which is one of the topic's account if only its alias is named. */
    private Kms.Key key(Topic topic) {
        var arn = topic.arn.split(":");
        var id = topic.attributes.get("KmsMasterKeyId");
        var owner = id.startsWith("arn:") ? aws.known(id.split(":")[4]) : aws.account(arn[4]);
        var key = owner == null ? null : owner.kms.find(id, arn[3]);
        if (key == null) throw new AwsError("KMSNotFound", "Key '" + id + "' does not exist");
        return key;
    }

    /** What a rule's role may publish; its own permissions and the topic's policy decide. */
    void publishAs(Caller session, String topicArn, String text) {
        var topic = find(topicArn);
        if (topic == null) throw notFound();
        aws.authorizer.check(session, List.of(onTopic("sns:Publish", topicArn)), this);
        publish(topic, session, null, text);
    }

    private JsonNode subscribe(ObjectNode input, Caller caller) {
        if (!input.path("Attributes").isEmpty()) throw invalid("The embedded AWS does not offer Attributes");
        var topic = topic(input, caller);
        var protocol = required(input, "Protocol");
        var endpoint = required(input, "Endpoint");
        var fits = switch (protocol) {
            case "email", "email-json" -> endpoint.matches("[^@\\s]+@[^@\\s]+\\.[^@\\s]+");
            case "http", "https" -> endpoint.startsWith(protocol + "://");
            case "sms" -> endpoint.matches("\\+?[0-9-]{5,20}");
            case "lambda", "sqs" -> endpoint.matches("arn:[a-z-]+:" + protocol + ":[a-z0-9-]+:\\d{12}:.+");
            default -> throw invalid("Amazon SNS does not support this protocol string: " + protocol);
        };
        if (!fits) throw invalid(protocol.startsWith("email") ? "Email address"
                : "Endpoint must match the specified protocol");
        var subscription = topic.subscriptions().stream()
                .filter(s -> s.protocol.equals(protocol) && s.endpoint.equals(endpoint)).findFirst().orElse(null);
        if (subscription == null) {
            subscription = new Subscription(topic.arn + ":" + UUID.randomUUID(), topic.arn, protocol, endpoint,
                    caller.account());
            // what lies in the subscriber's own account, and a telephone, needs no confirmation
            subscription.confirmed = protocol.equals("sms") || endpoint.startsWith("arn:")
                    && endpoint.split(":")[4].equals(caller.account());
            topic.add(subscription);
        }
        if (!subscription.confirmed) ask(subscription);
        return Models.JSON.createObjectNode().put("SubscriptionArn",
                subscription.confirmed || input.path("ReturnSubscriptionArn").asBoolean() ? subscription.arn
                        : "pending confirmation");
    }

    private void ask(Subscription subscription) {
        var token = subscription.ask(aws.now());
        if (!subscription.protocol.equals("email")) return;
        aws.deliver(new Mail(subscription.endpoint, "AWS Notification - Subscription Confirmation",
                "You have chosen to subscribe to the topic:\n" + subscription.topicArn
                        + "\nTo confirm this subscription, visit the link below:\n" + aws.endpoint()
                        + "/confirmation.html?TopicArn=" + subscription.topicArn + "&Token=" + token));
    }

    /** What the link in the mail does, for whoever has the newest token, without credentials. */
    Subscription confirm(String topicArn, String token) {
        var topic = find(topicArn);
        if (topic == null) throw notFound();
        var confirmed = topic.subscriptions().stream()
                .filter(subscription -> subscription.isConfirmedBy(token, aws.now())).findFirst()
                .orElseThrow(() -> invalid("Token"));
        confirmed.confirmed = true;
        return confirmed;
    }

    private static String required(ObjectNode input, String member) {
        var value = input.path(member).asText();
        if (value.isEmpty()) throw invalid(member + " Reason: no value for required parameter");
        return value;
    }

    private static String topicArn(ObjectNode input, String member, Caller caller) {
        var arn = required(input, member);
        var fields = arn.split(":", -1);
        if (fields.length < 6)
            throw invalid(member + " Reason: An ARN must have at least 6 elements, not " + fields.length);
        if (!fields[2].equals("sns") || !fields[3].equals(caller.region())) throw invalid(member);
        return arn;
    }

    private Topic topic(ObjectNode input, Caller caller) {
        var topic = find(topicArn(input, "TopicArn", caller));
        if (topic == null) throw notFound();
        return topic;
    }

    private Topic tagged(ObjectNode input, Caller caller) {
        var topic = find(topicArn(input, "ResourceArn", caller));
        if (topic == null) throw new AwsError(404, "ResourceNotFound", "Resource does not exist");
        return topic;
    }

    /** The subscription of the ARN that is given, or null. */
    private Subscription subscription(ObjectNode input, Caller caller) {
        var arn = topicArn(input, "SubscriptionArn", caller);
        var topic = find(arn.substring(0, arn.lastIndexOf(':')));
        return topic == null ? null
                : topic.subscriptions().stream().filter(s -> s.arn.equals(arn)).findFirst().orElse(null);
    }

    private static Map<String, String> tags(Map<String, String> present, JsonNode tags) {
        var all = new TreeMap<>(present);
        var given = new TreeSet<String>();
        for (var tag : tags) {
            var key = tag.path("Key").asText();
            if (key.toLowerCase(Locale.ROOT).startsWith("aws:")) throw invalid("Tag keys must not begin with aws:");
            if (!given.add(key)) throw invalid("Duplicated keys are not allowed");
            all.put(key, tag.path("Value").asText());
        }
        if (all.size() > TAGS) throw new AwsError("TagLimitExceeded", "Could not complete request: tag quota of per "
                + "resource exceeded");
        return all;
    }

    private JsonNode page(String name, List<JsonNode> items, ObjectNode input) {
        var token = input.path("NextToken").asText("page-0");
        if (!token.matches("page-\\d{1,6}")) throw invalid("NextToken Reason: Invalid Token");
        var from = Math.min(Integer.parseInt(token.substring(5)), items.size());
        var to = Math.min(items.size(), from + pageSize);
        var answer = Models.JSON.createObjectNode();
        if (to < items.size()) answer.put("NextToken", "page-" + to);
        answer.putArray(name).addAll(items.subList(from, to));
        return answer;
    }

    private static AwsError notFound() {
        return new AwsError(404, "NotFound", "Topic does not exist");
    }

    private static AwsError invalid(String what) {
        return new AwsError("InvalidParameter", "Invalid parameter: " + what);
    }
}
