package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;

/** KMS: keys, their policies, rotation, tags and aliases. Rules from the KMS API Reference unless another source is named. */
public final class Kms implements LocalAws.Service {
    /** One key; tests may look at it and change it. */
    public static final class Key {
        public final String keyId;
        public final String arn;
        public final Instant created;
        public String state = "Enabled";
        public String keySpec = "SYMMETRIC_DEFAULT";
        public String usage = "ENCRYPT_DECRYPT";
        public String manager = "CUSTOMER";
        public String description = "";
        public String policy;
        /** In days; 0 when the key does not rotate. */
        public int rotationPeriod;
        public Instant deletion;
        public final Map<String, String> tags = new TreeMap<>();

        Key(String keyId, String arn, Instant created) {
            this.keyId = keyId;
            this.arn = arn;
            this.created = created;
        }
    }

    private static final class Regional {
        final Map<String, Key> keys = new LinkedHashMap<>();
        final Map<String, String> aliases = new TreeMap<>();
    }

    private final LocalAws aws;
    private final Map<String, Regional> regions = LocalAws.concurrentMap();
    /** How many items a page has; AWS's own pages are longer. */
    public int pageSize = 3;

    Kms(LocalAws aws) {
        this.aws = aws;
    }

    /** The key that an id, ARN, alias name or alias ARN stands for, or null. */
    public synchronized Key find(String id, String region) {
        var regional = regional(region);
        var name = id.startsWith("arn:") ? id.split(":", 6)[5].replaceFirst("^key/", "") : id;
        if (id.startsWith("arn:") && !id.split(":")[3].equals(region)) return null;
        return regional.keys.get(name.startsWith("alias/") ? regional.aliases.get(name) : name);
    }

    /** All keys of the Region that somebody made. */
    public synchronized List<Key> keys(String region) {
        return regional(region).keys.values().stream().filter(key -> key.manager.equals("CUSTOMER")).toList();
    }

    public synchronized Map<String, String> aliases(String region) {
        return Map.copyOf(regional(region).aliases);
    }

    /** A key without alias, with the console's default policy. */
    public synchronized Key createKey(String region) {
        return add(new Caller("", LocalAws.ACCOUNT, region), "");
    }

    public synchronized void createAlias(String region, String alias, Key key) {
        regional(region).aliases.put(alias, key.keyId);
    }

    private Regional regional(String region) {
        return LocalAws.regional(regions, region, () -> {
            var made = new Regional();
            var key = new Key(UUID.randomUUID().toString(), null, aws.now());
            var managed = new Key(key.keyId, new Caller("", LocalAws.ACCOUNT, region).arn("kms", "key/" + key.keyId), key.created);
            managed.manager = "AWS";
            managed.rotationPeriod = 365;
            made.keys.put(managed.keyId, managed);
            made.aliases.put("alias/aws/codecommit", managed.keyId);
            return made;
        });
    }

    private Key add(Caller caller, String description) {
        var id = UUID.randomUUID().toString();
        var key = new Key(id, caller.arn("kms", "key/" + id), aws.now());
        key.description = description;
        key.policy = "{\"Version\":\"2012-10-17\",\"Id\":\"key-default-1\",\"Statement\":[{\"Sid\":\"Enable IAM User Permissions\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:"
                + caller.partition() + ":iam::" + caller.account() + ":root\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}]}";
        regional(caller.region()).keys.put(id, key);
        return key;
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        return switch (operation) {
            case "CreateKey" -> create(input, caller);
            case "DescribeKey" -> answer("KeyMetadata", metadata(key(input, caller, true), caller));
            case "CreateAlias" -> createAlias(input, caller);
            case "DeleteAlias" -> {
                if (regional(caller.region()).aliases.remove(input.get("AliasName").asText()) == null) throw notFound("Alias " + caller.arn("kms", input.get("AliasName").asText()) + " is not found.");
                yield null;
            }
            case "GetKeyPolicy" -> Models.JSON.createObjectNode().put("Policy", rewritten(key(input, caller, false).policy)).put("PolicyName", "default");
            case "PutKeyPolicy" -> putPolicy(input, caller);
            case "EnableKeyRotation" -> {
                var key = rotatable(input, caller);
                key.rotationPeriod = input.path("RotationPeriodInDays").asInt(365);
                yield null;
            }
            case "DisableKeyRotation" -> {
                rotatable(input, caller).rotationPeriod = 0;
                yield null;
            }
            case "GetKeyRotationStatus" -> {
                var key = key(input, caller, false);
                var status = Models.JSON.createObjectNode().put("KeyId", key.arn).put("KeyRotationEnabled", key.rotationPeriod > 0);
                yield key.rotationPeriod > 0 ? status.put("RotationPeriodInDays", key.rotationPeriod).put("NextRotationDate", key.created.plus(Duration.ofDays(key.rotationPeriod)).getEpochSecond()) : status;
            }
            case "UpdateKeyDescription" -> {
                usable(key(input, caller, false)).description = input.get("Description").asText();
                yield null;
            }
            case "TagResource" -> {
                putTags(usable(key(input, caller, false)), input.get("Tags"));
                yield null;
            }
            case "UntagResource" -> {
                var key = usable(key(input, caller, false));
                input.get("TagKeys").forEach(tag -> key.tags.remove(tag.asText()));
                yield null;
            }
            case "ListResourceTags" -> {
                var key = key(input, caller, false);
                var tags = key.tags.entrySet().stream().map(t -> (JsonNode) Models.JSON.createObjectNode().put("TagKey", t.getKey()).put("TagValue", t.getValue())).toList();
                yield page("Tags", tags, input, 50);
            }
            case "ListKeys" -> page("Keys", regional(caller.region()).keys.values().stream()
                    .map(key -> (JsonNode) Models.JSON.createObjectNode().put("KeyId", key.keyId).put("KeyArn", key.arn)).toList(), input, 1000);
            case "ScheduleKeyDeletion" -> {
                var key = customer(key(input, caller, false));
                if (key.state.equals("PendingDeletion")) throw state(key);
                key.state = "PendingDeletion";
                key.deletion = aws.now().plus(Duration.ofDays(input.path("PendingWindowInDays").asInt(30)));
                yield Models.JSON.createObjectNode().put("KeyId", key.arn).put("DeletionDate", key.deletion.getEpochSecond()).put("KeyState", key.state)
                        .put("PendingWindowInDays", input.path("PendingWindowInDays").asInt(30));
            }
            default -> throw new AwsError("UnknownOperationException", operation);
        };
    }

    private JsonNode create(ObjectNode input, Caller caller) {
        if (input.hasNonNull("Policy")) checkPolicy(input.get("Policy").asText(), input.path("BypassPolicyLockoutSafetyCheck").asBoolean(), caller);
        if (input.hasNonNull("Tags")) checkTags(input.get("Tags"));
        var key = add(caller, input.path("Description").asText(""));
        if (input.hasNonNull("KeySpec")) key.keySpec = input.get("KeySpec").asText();
        if (input.hasNonNull("KeyUsage")) key.usage = input.get("KeyUsage").asText();
        if (input.hasNonNull("Policy")) key.policy = input.get("Policy").asText();
        if (input.hasNonNull("Tags")) putTags(key, input.get("Tags"));
        return answer("KeyMetadata", metadata(key, caller));
    }

    private static ObjectNode metadata(Key key, Caller caller) {
        var node = Models.JSON.createObjectNode().put("AWSAccountId", caller.account()).put("KeyId", key.keyId).put("Arn", key.arn)
                .put("CreationDate", key.created.toEpochMilli() / 1000.0).put("Enabled", key.state.equals("Enabled")).put("Description", key.description).put("KeyUsage", key.usage)
                .put("KeyState", key.state).put("Origin", "AWS_KMS").put("KeyManager", key.manager).put("CustomerMasterKeySpec", key.keySpec).put("KeySpec", key.keySpec)
                .put("MultiRegion", false);
        node.putArray("EncryptionAlgorithms").add("SYMMETRIC_DEFAULT");
        if (key.deletion != null) node.put("DeletionDate", key.deletion.getEpochSecond());
        return node;
    }

    private JsonNode createAlias(ObjectNode input, Caller caller) {
        var name = input.get("AliasName").asText();
        if (!name.matches("alias/[a-zA-Z0-9/_-]+")) throw new AwsError("InvalidAliasNameException", name + " is not a valid alias name");
        if (name.startsWith("alias/aws/")) throw new AwsError("NotAuthorizedException", "Alias " + name + " is reserved");
        if (input.get("TargetKeyId").asText().contains("alias/")) throw validation("Aliases must refer to keys. Not aliases");
        var key = customer(key(input.get("TargetKeyId").asText(), caller));
        if (key.state.equals("PendingDeletion")) throw state(key);
        var aliases = regional(caller.region()).aliases;
        if (aliases.containsKey(name)) throw new AwsError("AlreadyExistsException", "An alias with the name " + caller.arn("kms", name) + " already exists");
        if (aliases.values().stream().filter(key.keyId::equals).count() >= 50) throw new AwsError("LimitExceededException", "Alias limit exceeded");
        aliases.put(name, key.keyId);
        return null;
    }

    private JsonNode putPolicy(ObjectNode input, Caller caller) {
        var key = customer(key(input, caller, false));
        if (key.state.equals("PendingDeletion")) throw state(key);
        if (!input.path("PolicyName").asText("default").equals("default")) throw notFound("No such policy exists");
        checkPolicy(input.get("Policy").asText(), input.path("BypassPolicyLockoutSafetyCheck").asBoolean(), caller);
        key.policy = input.get("Policy").asText();
        return null;
    }

    private void checkPolicy(String text, boolean bypassLockoutCheck, Caller caller) {
        if (text.length() > 32768) throw new AwsError("LimitExceededException", "The policy exceeds 32768 bytes"); // quota "Key policy document size"
        JsonNode policy;
        try {
            policy = Models.JSON.readTree(text);
        } catch (JsonProcessingException e) {
            throw malformed("Policy is not valid JSON");
        }
        if (!policy.path("Version").asText().matches("2012-10-17|2008-10-17")) throw malformed("Policy has no valid Version");
        var lockedOut = true;
        for (var statement : list(policy.path("Statement"))) {
            statement.fieldNames().forEachRemaining(name -> {
                if (!name.matches("Sid|Effect|Principal|NotPrincipal|Action|NotAction|Resource|NotResource|Condition")) throw malformed("Unknown element " + name);
            });
            if (!statement.path("Effect").asText().matches("Allow|Deny")) throw malformed("Policy statement must have Effect");
            if (!statement.has("Principal") && !statement.has("NotPrincipal")) throw malformed("Policy statement must contain a principal");
            if (!statement.has("Resource") && !statement.has("NotResource")) throw malformed("Policy statement must contain resources.");
            if (!statement.has("Action") && !statement.has("NotAction")) throw malformed("Policy statement must contain actions.");
            for (var principal : list(statement.at("/Principal/AWS"))) checkPrincipal(principal.asText(), caller);
            if (statement.path("Effect").asText().equals("Allow") && !statement.has("Condition") && administers(statement, caller)) lockedOut = false;
        }
        if (lockedOut && !bypassLockoutCheck) throw malformed("The new key policy will not allow you to update the key policy in the future.");
    }

    private void checkPrincipal(String arn, Caller caller) {
        var known = arn.equals("*") || arn.matches("\\d{12}")
                || arn.startsWith("arn:" + caller.partition() + ":") && (arn.matches("arn:[^:]+:iam::\\d{12}:root") || !arn.contains("::" + caller.account() + ":") || aws.iam.exists(arn) && aws.iam.visibleToKms(arn));
        if (!known) throw malformed("Policy contains a statement with one or more invalid principals.");
    }

    private static boolean administers(JsonNode statement, Caller caller) {
        var principal = false;
        for (var arn : list(statement.at("/Principal/AWS")))
            principal |= arn.asText().equals(caller.account()) || arn.asText().equals("arn:" + caller.partition() + ":iam::" + caller.account() + ":root") || arn.asText().equals(caller.arn());
        var action = false;
        for (var name : list(statement.path("Action"))) action |= name.asText().matches("kms:\\*|kms:Put\\*|kms:PutKeyPolicy|\\*");
        return principal && action;
    }

    private Key rotatable(ObjectNode input, Caller caller) {
        var id = input.get("KeyId").asText();
        if (id.contains("alias/")) throw notFound("Invalid keyId '" + id + "'"); // takes key ids and ARNs only
        var key = customer(usable(key(id, caller)));
        if (!key.keySpec.equals("SYMMETRIC_DEFAULT")) throw new AwsError("UnsupportedOperationException", key.arn + " key spec is " + key.keySpec + " which is not valid for this operation.");
        return key;
    }

    private static Key usable(Key key) {
        if (!key.state.equals("Enabled")) throw key.state.equals("Disabled") ? new AwsError("DisabledException", key.arn + " is disabled.") : state(key);
        return key;
    }

    private static Key customer(Key key) {
        if (!key.manager.equals("CUSTOMER")) throw new AwsError("AccessDeniedException", key.arn + " is managed by AWS");
        return key;
    }

    private Key key(ObjectNode input, Caller caller, boolean aliasToo) {
        var id = input.get("KeyId").asText();
        if (!aliasToo && id.contains("alias/")) throw notFound("Invalid keyId '" + id + "'");
        return key(id, caller);
    }

    private Key key(String id, Caller caller) {
        var key = find(id, caller.region());
        if (key == null)
            throw notFound(id.contains("alias/") ? "Alias " + caller.arn("kms", id.substring(id.indexOf("alias/"))) + " is not found."
                    : "Key '" + (id.startsWith("arn:") ? id : caller.arn("kms", "key/" + id)) + "' does not exist");
        return key;
    }

    private static void checkTags(JsonNode tags) {
        for (var tag : tags) {
            if (tag.get("TagKey").asText().startsWith("aws:")) throw new AwsError("TagException", "Tag keys must not begin with aws:");
            if (!(tag.get("TagKey").asText() + tag.get("TagValue").asText()).matches("[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*")) throw new AwsError("TagException", "Tags must match [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*");
        }
    }

    private static void putTags(Key key, JsonNode tags) {
        checkTags(tags);
        tags.forEach(tag -> key.tags.put(tag.get("TagKey").asText(), tag.get("TagValue").asText()));
        if (key.tags.size() > 50) throw new AwsError("TagException", "Too many tags");
    }

    private JsonNode page(String name, List<JsonNode> items, ObjectNode input, int most) {
        var from = input.hasNonNull("Marker") ? marker(input.get("Marker").asText(), items.size()) : 0;
        var to = Math.min(items.size(), from + Math.min(pageSize, input.path("Limit").asInt(most)));
        var answer = Models.JSON.createObjectNode().put("Truncated", to < items.size());
        if (to < items.size()) answer.put("NextMarker", "marker-" + to);
        answer.putArray(name).addAll(items.subList(from, to));
        return answer;
    }

    private static int marker(String text, int size) {
        if (!text.matches("marker-\\d{1,6}")) throw new AwsError("InvalidMarkerException", "Marker is not valid");
        return Math.min(Integer.parseInt(text.substring(7)), size);
    }

    private static JsonNode answer(String name, JsonNode value) {
        return Models.JSON.createObjectNode().set(name, value);
    }

    static List<JsonNode> list(JsonNode oneOrMore) {
        if (oneOrMore.isMissingNode()) return List.of();
        return oneOrMore.isArray() ? oneOrMore.valueStream().toList() : List.of(oneOrMore);
    }

    /** A policy as AWS may give it back: lists in another order, lists of one as that one, account ids as root ARNs. */
    static String rewritten(String policy) {
        try {
            return rewritten(Models.JSON.readTree(policy)).toPrettyString();
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    private static JsonNode rewritten(JsonNode node) {
        if (node instanceof ObjectNode object) {
            var out = Models.JSON.createObjectNode();
            object.properties().forEach(e -> out.set(e.getKey(), rewritten(e.getValue())));
            return out;
        }
        if (node instanceof ArrayNode array) {
            var items = new ArrayList<JsonNode>();
            array.forEach(item -> items.add(0, rewritten(item)));
            return items.size() == 1 ? items.get(0) : Models.JSON.createArrayNode().addAll(items);
        }
        return node.asText().matches("\\d{12}") ? Models.JSON.getNodeFactory().textNode("arn:aws:iam::" + node.asText() + ":root") : node;
    }

    private static AwsError malformed(String message) {
        return new AwsError("MalformedPolicyDocumentException", message);
    }

    private static AwsError notFound(String message) {
        return new AwsError("NotFoundException", message);
    }

    private static AwsError validation(String message) {
        return new AwsError("ValidationException", message);
    }

    private static AwsError state(Key key) {
        return new AwsError("KMSInvalidStateException", key.arn + (key.state.equals("PendingDeletion") ? " is pending deletion." : " is " + key.state));
    }
}
