package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.regex.Pattern;

/**
 * KMS: keys, their policies, rotation, tags and aliases. Rules from the KMS API Reference unless another source is
 * named.
 */
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
        /** AWS_KMS, EXTERNAL (imported), AWS_CLOUDHSM or EXTERNAL_KEY_STORE. */
        public String origin = "AWS_KMS";
        /** When its imported material expires; null if it does not. */
        public Instant validTo;
        public String description = "";
        public String policy;
        /** In days; 0 when the key does not rotate. */
        public int rotationPeriod;
        public Instant deletion;
        public final Map<String, String> tags = new TreeMap<>();
        /** They are listed; no call here makes one, and none lets anybody in. */
        public final List<Grant> grants = new ArrayList<>();
        /** All keys of a multi-Region key, the primary one first; empty for a key of one Region. */
        List<Key> multiRegion = List.of();
        /** What GetKeyPolicy shows so many times more. */
        private String oldPolicy;
        private int looksAtOldPolicy;
        /** How many calls by its id KMS still answers as if the key did not exist. */
        int looksInVain;

        Key(String keyId, String arn, Instant created) {
            this.keyId = keyId;
            this.arn = arn;
            this.created = created;
        }
    }

    public record Grant(String id, String grantee, List<String> operations) {}

    private static final class Regional {
        final Map<String, Key> keys = new LinkedHashMap<>();
        final Map<String, String> aliases = new TreeMap<>();
    }

    private final LocalAws aws;
    private final String account;
    private final Map<String, Regional> regions = LocalAws.concurrentMap();
    /** The services whose aliases stand in every Region, with a key as soon as somebody uses one. */
    private static final Set<String> SERVICES = new TreeSet<>(Set.of("codecommit", "s3", "sns"));

    /** How many items a page has; AWS's own pages are longer. */
    public int pageSize = 3;
    /** How many calls for a new key come too early: KMS is eventually consistent (API Reference, CreateKey). */
    public int earlyCalls = 1;
    /** How often GetKeyPolicy shows the old policy after a change (API Reference, PutKeyPolicy). */
    public int looksAtOldPolicy;

    Kms(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    /** The key that an id, ARN, alias name or alias ARN stands for, or null. */
    public synchronized Key find(String id, String region) {
        var regional = regional(region);
        var prefix = new Caller("", account, region).arn("kms", "");
        if (id.startsWith("arn:") && !id.matches(Pattern.quote(prefix) + "(key|alias)/.+")) return null;
        var name = id.startsWith("arn:") ? id.substring(prefix.length()).replaceFirst("^key/", "") : id;
        // a service's own key is made when its alias is first used (API Reference, DescribeKey)
        var service = name.replaceFirst("^alias/aws/", "");
        if (name.startsWith("alias/aws/") && SERVICES.contains(service) && !regional.aliases.containsKey(name)) {
            addManaged(regional, region, service);
        }
        return regional.keys.get(name.startsWith("alias/") ? regional.aliases.get(name) : name);
    }

    /** Whether it is the key that AWS manages for CodeCommit, which need not exist. */
    synchronized boolean isOfCodeCommit(String arn, String region) {
        var regional = regional(region);
        var key = regional.keys.get(regional.aliases.get("alias/aws/codecommit"));
        return key != null && key.arn.equals(arn);
    }

    /** All keys of the Region that somebody made. */
    public synchronized List<Key> keys(String region) {
        return regional(region).keys.values().stream().filter(key -> key.manager.equals("CUSTOMER")).toList();
    }

    public synchronized Map<String, String> aliases(String region) {
        return Map.copyOf(regional(region).aliases);
    }

    /** A key without alias, with the console's default policy. */
    public Key createKey(String region) {
        return createKey(region, UUID.randomUUID().toString());
    }

    public synchronized Key createKey(String region, String keyId) {
        return add(new Caller("", account, region), keyId, "");
    }

    /** The primary key of a multi-Region key with a replica in each of the other Regions. */
    public synchronized Key createMultiRegionKey(String region, String... replicaRegions) {
        var id = "mrk-" + UUID.randomUUID().toString().replace("-", "");
        var keys = new ArrayList<>(List.of(createKey(region, id)));
        for (var replicaRegion : replicaRegions) keys.add(createKey(replicaRegion, id));
        for (var key : keys) key.multiRegion = List.copyOf(keys);
        return keys.get(0);
    }

    public synchronized void createAlias(String region, String alias, Key key) {
        regional(region).aliases.put(alias, key.keyId);
    }

    private Regional regional(String region) {
        return LocalAws.regional(regions, region, Regional::new);
    }

    /** The AWS managed key of a service, which the account's callers may use through the service alone. */
    private void addManaged(Regional regional, String region, String service) {
        var id = UUID.randomUUID().toString();
        var managed = new Key(id, new Caller("", account, region).arn("kms", "key/" + id), aws.now());
        managed.manager = "AWS";
        managed.description = "Default key that protects my " + (service.equals("codecommit")
                ? "CodeCommit repositories" : service.toUpperCase(Locale.ROOT) + (service.equals("s3") ? " objects"
                : " data")) + " when no other key is defined";
        managed.policy = """
                {"Version":"2012-10-17","Id":"auto-%3$s-1","Statement":[
                {"Sid":"Allow access through the service","Effect":"Allow","Principal":{"AWS":"*"},
                "Resource":"*",
                "Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey"],
                "Condition":{"StringEquals":{"kms:CallerAccount":"%1$s",
                                             "kms:ViaService":"%3$s.%2$s.amazonaws.com"}}},
                {"Sid":"Allow direct access to key metadata to the account","Effect":"Allow",
                "Principal":{"AWS":"%1$s"},"Action":["kms:Describe*","kms:Get*","kms:List*"],"Resource":"*"}]}
                """.formatted(account, region, service);
        managed.rotationPeriod = 365;
        regional.keys.put(managed.keyId, managed);
        regional.aliases.put("alias/aws/" + service, managed.keyId);
    }

    private Key add(Caller caller, String id, String description) {
        var key = new Key(id, caller.arn("kms", "key/" + id), aws.now());
        key.description = description;
        key.policy = """
                {"Version":"2012-10-17","Id":"key-default-1","Statement":[
                {"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:%s:iam::%s:root"},
                "Action":"kms:*","Resource":"*"}]}
                """.formatted(caller.partition(), caller.account());
        regional(caller.region()).keys.put(id, key);
        return key;
    }

    // Permissions

    private static final Set<String> TAKES_KEY = Set.of("CancelKeyDeletion", "DescribeKey", "DisableKey",
            "DisableKeyRotation", "EnableKey", "EnableKeyRotation", "Encrypt", "GetKeyPolicy", "GetKeyRotationStatus",
            "ListGrants", "ListResourceTags", "PutKeyPolicy", "ScheduleKeyDeletion", "TagResource", "UntagResource",
            "UpdateKeyDescription");

    /**
     * On the key, whose policy is asked first; on the alias too where one is made or deleted. What asks for an alias
     * that is of no key needs nothing.
     */
    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "kms:" + operation;
        return switch (operation) {
            case "CreateKey" -> {
                var tags = Need.tags(input.path("Tags"), "TagKey", "TagValue");
                var create = new Need(action, "*").requestTags(tags).key("kms:CallerAccount", caller.account())
                        .key("kms:KeySpec", "SYMMETRIC_DEFAULT").key("kms:KeyUsage", "ENCRYPT_DECRYPT")
                        .key("kms:KeyOrigin", "AWS_KMS").key("kms:MultiRegion", "false")
                        .key("kms:BypassPolicyLockoutSafetyCheck", bypass(input));
                // the key is not there yet, and neither is its policy
                var tag = new Need("kms:TagResource", caller.arn("kms", "key/" + new UUID(0, 0))).requestTags(tags)
                        .key("kms:CallerAccount", caller.account());
                yield tags.isEmpty() ? List.of(create) : List.of(create, tag);
            }
            case "ListKeys", "ListAliases" -> List.of(new Need(action, "*"));
            case "CreateAlias" -> List.of(onAlias(action, input, caller),
                    onKey(action, input.path("TargetKeyId").asText(), caller));
            case "DeleteAlias" -> {
                var name = input.path("AliasName").asText();
                var key = regional(caller.region()).aliases.get(name);
                var alias = onAlias(action, input, caller);
                yield key == null ? List.of(alias) : List.of(alias, onKey(action, key, caller));
            }
            default -> {
                if (!TAKES_KEY.contains(operation)) {
                    throw new IllegalStateException("no permission is known for kms:" + operation);
                }
                var id = input.path("KeyId").asText();
                // to everyone of the account it is not found: AWS's own CloudFormation handler counts on that
                if (id.contains("alias/") && owner(id, caller) == this && findAnywhere(id, caller) == null) {
                    yield List.of();
                }
                var need = onKey(action, id, caller);
                if (operation.equals("Encrypt")) need = cryptographic(need, context(input));
                if (operation.matches("DescribeKey|Encrypt") && id.contains("alias/")) {
                    need = need.key("kms:RequestAlias", id.substring(id.indexOf("alias/")));
                }
                if (operation.equals("PutKeyPolicy")) {
                    need = need.key("kms:BypassPolicyLockoutSafetyCheck", bypass(input));
                }
                if (operation.equals("EnableKeyRotation")) {
                    need = need.key("kms:RotationPeriodInDays", input.path("RotationPeriodInDays").asText("365"));
                }
                if (operation.equals("ScheduleKeyDeletion")) {
                    need = need.key("kms:ScheduleKeyDeletionPendingWindowInDays",
                            input.path("PendingWindowInDays").asText("30"));
                }
                if (operation.equals("TagResource")) {
                    need = need.requestTags(Need.tags(input.path("Tags"), "TagKey", "TagValue"));
                }
                if (operation.equals("UntagResource")) {
                    need = need.keys("aws:TagKeys", input.path("TagKeys").valueStream().map(JsonNode::asText).toList());
                }
                yield List.of(need);
            }
        };
    }

    private static String bypass(ObjectNode input) {
        return String.valueOf(input.path("BypassPolicyLockoutSafetyCheck").asBoolean());
    }

    private static Need onAlias(String action, ObjectNode input, Caller caller) {
        return new Need(action, caller.arn("kms", input.path("AliasName").asText()))
                .key("kms:CallerAccount", caller.account());
    }

    /** A key that does not exist has no policy; whether identity policies allow it is still asked. */
    private Need onKey(String action, String id, Caller caller) {
        var key = findAnywhere(id, caller);
        if (key == null) {
            var arn = id.startsWith("arn:") ? id : caller.arn("kms", id.contains("alias/") ? id : "key/" + id);
            return new Need(action, arn).key("kms:CallerAccount", caller.account());
        }
        return new Need(action, key.arn).policy("key", key.policy).resourceTags(key.tags)
                .key("kms:CallerAccount", caller.account()).key("kms:ViaService", caller.via())
                .key("kms:KeySpec", key.keySpec).key("kms:KeyUsage", key.usage).key("kms:KeyOrigin", key.origin)
                .key("kms:MultiRegion", String.valueOf(!key.multiRegion.isEmpty()))
                .keys("kms:ResourceAliases", owner(id, caller).aliasesOf(key, caller.region()));
    }

    private synchronized List<String> aliasesOf(Key key, String region) {
        return regional(region).aliases.entrySet().stream().filter(alias -> alias.getValue().equals(key.keyId))
                .map(Map.Entry::getKey).toList();
    }

    /** The KMS of the account that an ARN names, else the caller's; null when there is no such account. */
    private Kms owner(String id, Caller caller) {
        var fields = id.split(":", 6);
        var owner = aws.known(fields.length == 6 && !fields[4].isEmpty() ? fields[4] : caller.account());
        return owner == null ? null : owner.kms;
    }

    private Key findAnywhere(String id, Caller caller) {
        var owner = owner(id, caller);
        return owner == null ? null : owner.find(id, caller.region());
    }

    /**
     * That a service may do this with a key for a caller, with the caller's permissions (forward access).
     *
     * @param caller  as {@link Caller#via} the service
     * @param context the encryption context
     */
    void authorize(Caller caller, String id, List<String> actions, Map<String, String> context) {
        var needs = new ArrayList<Need>();
        for (var action : actions) {
            var need = onKey(action, id, caller);
            needs.add(action.equals("kms:DescribeKey") ? need : cryptographic(need, context));
        }
        aws.authorizer.check(caller, needs, this);
    }

    private static Need cryptographic(Need need, Map<String, String> context) {
        var more = need.key("kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT");
        if (!context.isEmpty()) more = more.keys("kms:EncryptionContextKeys", List.copyOf(context.keySet()));
        for (var entry : context.entrySet()) {
            more = more.key("kms:EncryptionContext:" + entry.getKey(), entry.getValue());
        }
        return more;
    }

    private static Map<String, String> context(ObjectNode input) {
        var context = new TreeMap<String, String>();
        input.path("EncryptionContext").properties().forEach(e -> context.put(e.getKey(), e.getValue().asText()));
        return context;
    }

    /** The same for a key of any account, which must exist and be enabled. */
    Key use(Caller caller, String id, List<String> actions, Map<String, String> context) {
        var key = findAnywhere(id, caller);
        if (key == null) throw notFound("Key '" + id + "' does not exist");
        authorize(caller, id, actions, context);
        return usable(key);
    }

    /**
     * The same for a service that acts by itself: the key's policy alone decides.
     *
     * @param sourceArn     for which resource the service acts, or null
     * @param sourceAccount for which account, or null
     */
    Key useForService(String service, String sourceArn, String sourceAccount, Key key, List<String> actions,
            Map<String, String> context) {
        for (var action : actions) {
            var need = cryptographic(new Need(action, key.arn).policy("key", key.policy).resourceTags(key.tags),
                    context);
            var result = aws.authorizer.decideForService(service, sourceArn, sourceAccount, key.arn.split(":")[3],
                    need);
            if (result.decision() != PolicyEvaluator.Decision.allowed)
                throw new AwsError("AccessDeniedException", service + " is not authorized to perform: " + action
                        + " on resource: " + key.arn + " " + result.reason());
        }
        return usable(key);
    }

    // Operations

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        return switch (operation) {
            case "CreateKey" -> create(input, caller);
            case "DescribeKey" -> answer("KeyMetadata", metadata(reachable(input, caller, true)));
            case "CreateAlias" -> createAlias(input, caller);
            case "DeleteAlias" -> {
                var name = aliasName(input);
                if (regional(caller.region()).aliases.remove(name) == null) {
                    throw notFound("Alias " + caller.arn("kms", name) + " is not found.");
                }
                yield null;
            }
            case "ListAliases" -> {
                var key = input.hasNonNull("KeyId") ? key(input, caller, false) : null;
                // those of AWS are listed before they have a key (API Reference, ListAliases)
                var aliases = new TreeMap<String, String>();
                if (key == null) SERVICES.forEach(service -> aliases.put("alias/aws/" + service, null));
                regional(caller.region()).aliases.forEach((name, id) -> {
                    if (key == null || id.equals(key.keyId)) aliases.put(name, id);
                });
                yield page("Aliases", aliases.entrySet().stream().map(alias -> alias(alias, caller)).toList(), input,
                        100);
            }
            case "GetKeyPolicy" -> {
                var key = key(input, caller, false);
                if (!input.path("PolicyName").asText("default").equals("default")) {
                    throw notFound("No such policy exists");
                }
                var shown = key.looksAtOldPolicy-- > 0 ? key.oldPolicy : key.policy;
                yield Models.JSON.createObjectNode().put("Policy", rewritten(shown, caller)).put("PolicyName",
                        "default");
            }
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
                var key = rotatable(reachable(input, caller, false));
                // a replica shows what its primary key does
                var period = (key.multiRegion.isEmpty() ? key : key.multiRegion.get(0)).rotationPeriod;
                var rotates = period > 0 && !key.state.equals("PendingDeletion");
                var status = Models.JSON.createObjectNode().put("KeyId", key.arn).put("KeyRotationEnabled", rotates);
                yield rotates ? status.put("RotationPeriodInDays", period)
                        .put("NextRotationDate", key.created.plus(Duration.ofDays(period)).getEpochSecond())
                        : status;
            }
            case "UpdateKeyDescription" -> {
                kept(customer(key(input, caller, false))).description = input.get("Description").asText();
                yield null;
            }
            case "TagResource" -> {
                putTags(kept(customer(key(input, caller, false))), input.get("Tags"));
                yield null;
            }
            case "UntagResource" -> {
                var key = kept(customer(key(input, caller, false)));
                input.get("TagKeys").forEach(tag -> key.tags.remove(tag.asText()));
                yield null;
            }
            case "ListResourceTags" -> {
                var key = key(input, caller, false);
                var tags = key.tags.entrySet().stream()
                        .map(t -> (JsonNode) Models.JSON.createObjectNode().put("TagKey", t.getKey())
                        .put("TagValue", t.getValue())).toList();
                if (input.path("Limit").asInt(1) > 50) throw validation("Limit must be between 1 and 50");
                yield page("Tags", tags, input, 50);
            }
            // the ciphertext is as long as AWS's and says nothing: nothing here decrypts
            case "Encrypt" -> {
                var key = usable(reachable(input, caller, true));
                var blob = new byte[Base64.getDecoder().decode(input.get("Plaintext").asText()).length + 152];
                ThreadLocalRandom.current().nextBytes(blob);
                yield Models.JSON.createObjectNode().put("KeyId", key.arn).put("CiphertextBlob", blob)
                        .put("EncryptionAlgorithm", "SYMMETRIC_DEFAULT");
            }
            case "ListGrants" -> {
                var key = reachable(input, caller, false);
                yield page("Grants", key.grants.stream()
                        .filter(grant -> input.path("GrantId").asText(grant.id()).equals(grant.id()))
                        .filter(grant -> input.path("GranteePrincipal").asText(grant.grantee()).equals(grant.grantee()))
                        .map(grant -> grant(key, grant)).toList(), input, 100);
            }
            case "ListKeys" -> page("Keys", regional(caller.region()).keys.values().stream()
                    .map(key -> (JsonNode) Models.JSON.createObjectNode().put("KeyId", key.keyId).put("KeyArn",
                            key.arn))
                    .toList(), input, 1000);
            case "ScheduleKeyDeletion" -> {
                var key = kept(customer(key(input, caller, false)));
                var days = input.path("PendingWindowInDays").asInt(30);
                // the model says 1 to 365
                if (days < 7 || days > 30) throw validation("PendingWindowInDays must be between 7 and 30");
                key.state = "PendingDeletion";
                key.deletion = aws.now().plus(Duration.ofDays(days));
                yield Models.JSON.createObjectNode().put("KeyId", key.arn)
                        .put("DeletionDate", key.deletion.getEpochSecond()).put("KeyState", key.state)
                        .put("PendingWindowInDays", days);
            }
            case "CancelKeyDeletion" -> {
                var key = customer(key(input, caller, false));
                if (!key.state.equals("PendingDeletion")) {
                    throw new AwsError("KMSInvalidStateException", key.arn + " is not pending deletion.");
                }
                key.state = "Disabled"; // also if it was enabled before
                key.deletion = null;
                yield Models.JSON.createObjectNode().put("KeyId", key.arn);
            }
            case "DisableKey", "EnableKey" -> {
                var key = customer(key(input, caller, false));
                if (!key.state.matches("Enabled|Disabled")) throw state(key);
                key.state = operation.replace("Key", "d");
                yield null;
            }
            default -> throw new AwsError("UnknownOperationException", operation);
        };
    }

    private static JsonNode alias(Map.Entry<String, String> alias, Caller caller) {
        var node = Models.JSON.createObjectNode().put("AliasName", alias.getKey())
                .put("AliasArn", caller.arn("kms", alias.getKey()));
        return alias.getValue() == null ? node : node.put("TargetKeyId", alias.getValue());
    }

    private JsonNode create(ObjectNode input, Caller caller) {
        for (var member : List.of("KeySpec", "CustomerMasterKeySpec", "KeyUsage", "Origin", "CustomKeyStoreId",
                "XksKeyId", "MultiRegion")) {
            if (input.hasNonNull(member)) {
                throw new AwsError("UnsupportedOperationException", "The embedded AWS does not offer " + member);
            }
        }
        var text = input.path("Policy").asText(null);
        if (text != null) checkPolicy(text, input.path("BypassPolicyLockoutSafetyCheck").asBoolean(), caller);
        var tags = withTags(Map.of(), input.path("Tags"));
        var key = add(caller, UUID.randomUUID().toString(), input.path("Description").asText(""));
        if (text != null) key.policy = text;
        key.tags.putAll(tags);
        key.looksInVain = earlyCalls;
        return answer("KeyMetadata", metadata(key));
    }

    private static ObjectNode metadata(Key key) {
        var node = Models.JSON.createObjectNode().put("AWSAccountId", key.arn.split(":")[4]).put("KeyId", key.keyId)
                .put("Arn", key.arn)
                .put("CreationDate", key.created.toEpochMilli() / 1000.0).put("Enabled", key.state.equals("Enabled"))
                .put("Description", key.description)
                .put("KeyUsage", key.usage)
                .put("KeyState", key.state).put("Origin", key.origin).put("KeyManager", key.manager)
                .put("CustomerMasterKeySpec", key.keySpec)
                .put("KeySpec", key.keySpec)
                .put("MultiRegion", false);
        node.putArray("EncryptionAlgorithms").add("SYMMETRIC_DEFAULT");
        if (!key.multiRegion.isEmpty()) {
            var keys = node.put("MultiRegion", true).putObject("MultiRegionConfiguration")
                    .put("MultiRegionKeyType", key == key.multiRegion.get(0) ? "PRIMARY" : "REPLICA");
            keys.set("PrimaryKey", inRegion(key.multiRegion.get(0)));
            var replicas = keys.putArray("ReplicaKeys");
            key.multiRegion.stream().skip(1).forEach(replica -> replicas.add(inRegion(replica)));
        }
        if (key.deletion != null) node.put("DeletionDate", key.deletion.getEpochSecond());
        if (key.origin.matches("AWS_CLOUDHSM|EXTERNAL_KEY_STORE")) {
            node.put("CustomKeyStoreId", "cks-1234567890abcdef0");
        }
        // only where there is material (API Reference, KeyMetadata)
        if (key.origin.equals("EXTERNAL") && !key.state.equals("PendingImport")) {
            node.put("ExpirationModel", key.validTo == null ? "KEY_MATERIAL_DOES_NOT_EXPIRE" : "KEY_MATERIAL_EXPIRES");
            if (key.validTo != null) node.put("ValidTo", key.validTo.getEpochSecond());
        }
        return node;
    }

    private static JsonNode inRegion(Key key) {
        return Models.JSON.createObjectNode().put("Arn", key.arn).put("Region", key.arn.split(":")[3]);
    }

    private static JsonNode grant(Key key, Grant grant) {
        var node = Models.JSON.createObjectNode().put("KeyId", key.arn).put("GrantId", grant.id())
                .put("GranteePrincipal", grant.grantee()).put("CreationDate", key.created.getEpochSecond())
                .put("IssuingAccount", "arn:" + key.arn.split(":")[1] + ":iam::" + key.arn.split(":")[4] + ":root");
        grant.operations().forEach(node.putArray("Operations")::add);
        return node;
    }

    private JsonNode createAlias(ObjectNode input, Caller caller) {
        var name = aliasName(input);
        if (input.get("TargetKeyId").asText().contains("alias/")) {
            throw validation("Aliases must refer to keys. Not aliases");
        }
        var key = kept(customer(key(input.get("TargetKeyId").asText(), caller)));
        var aliases = regional(caller.region()).aliases;
        if (aliases.containsKey(name)) {
            throw new AwsError("AlreadyExistsException",
                    "An alias with the name " + caller.arn("kms", name) + " already exists");
        }
        if (aliases.values().stream().filter(key.keyId::equals).count() >= 50) {
            throw new AwsError("LimitExceededException", "Alias limit exceeded");
        }
        aliases.put(name, key.keyId);
        return null;
    }

    private static String aliasName(ObjectNode input) {
        var name = input.get("AliasName").asText();
        if (!name.startsWith("alias/")) throw validation("Alias must start with the prefix \"alias/\".");
        if (name.startsWith("alias/aws/")) {
            throw new AwsError("NotAuthorizedException", "Alias " + name + " is reserved");
        }
        if (!name.matches("alias/[a-zA-Z0-9/_-]+")) {
            throw new AwsError("InvalidAliasNameException", name + " is not a valid alias name");
        }
        return name;
    }

    private JsonNode putPolicy(ObjectNode input, Caller caller) {
        var key = kept(customer(key(input, caller, false)));
        if (!input.path("PolicyName").asText("default").equals("default")) throw notFound("No such policy exists");
        checkPolicy(input.get("Policy").asText(), input.path("BypassPolicyLockoutSafetyCheck").asBoolean(), caller);
        key.oldPolicy = key.policy;
        key.looksAtOldPolicy = looksAtOldPolicy;
        key.policy = input.get("Policy").asText();
        return null;
    }

    private void checkPolicy(String text, boolean bypassLockoutCheck, Caller caller) {
        // quota "Key policy document size"
        if (text.length() > 32768) throw new AwsError("LimitExceededException", "The policy exceeds 32768 bytes");
        JsonNode policy;
        try {
            policy = Models.JSON.readTree(text);
        } catch (JsonProcessingException e) {
            throw malformed("Policy is not valid JSON");
        }
        only(policy, "Version|Id|Statement");
        if (!policy.path("Version").asText().matches("2012-10-17|2008-10-17")) {
            throw malformed("Policy has no valid Version");
        }
        if (!policy.path("Statement").isContainerNode() || policy.get("Statement").isEmpty()) {
            throw malformed("Policy must contain a statement");
        }
        for (var statement : list(policy.get("Statement"))) {
            only(statement, "Sid|Effect|Principal|NotPrincipal|Action|NotAction|Resource|NotResource|Condition");
            if (!statement.path("Effect").asText().matches("Allow|Deny")) {
                throw malformed("Policy statement must have Effect");
            }
            checkPrincipals(oneOf(statement, "Principal", "a principal"), caller);
            for (var action : list(oneOf(statement, "Action", "actions"))) {
                if (!action.asText().matches("\\*|[a-zA-Z0-9-]+:[\\w*?]+")) {
                    throw malformed("Policy contains an invalid action: " + action.asText());
                }
            }
            for (var resource : list(oneOf(statement, "Resource", "resources"))) {
                if (!resource.asText().matches("\\*|arn:.+")) {
                    throw malformed("Policy contains an invalid resource: " + resource.asText());
                }
            }
            for (var operator : statement.path("Condition").properties()) {
                if (!PolicyEvaluator.OPERATOR.matcher(operator.getKey()).matches()) {
                    throw malformed("Policy contains an invalid condition operator: " + operator.getKey());
                }
                if (!operator.getValue().isObject()) throw malformed("Policy contains an invalid condition");
            }
        }
        if (bypassLockoutCheck) return;
        var again = new PolicyEvaluator.Request(caller.arn(), "kms:PutKeyPolicy",
                caller.arn("kms", "key/" + UUID.randomUUID()),
                Map.of("aws:PrincipalAccount", List.of(caller.account()), "kms:CallerAccount",
                        List.of(caller.account())));
        var identity = PolicyEvaluator.Policy.of("identity",
                "{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}}");
        var result = PolicyEvaluator.decide(again, List.of(identity), new PolicyEvaluator.Policy("key", policy),
                List.of());
        if (result.decision() != PolicyEvaluator.Decision.allowed) {
            throw malformed("The new key policy will not allow you to update the key policy in the future.");
        }
    }

    private static void only(JsonNode node, String members) {
        if (!node.isObject()) throw malformed("Policy contains what is not an object");
        node.fieldNames().forEachRemaining(name -> {
            if (!name.matches(members)) throw malformed("Unknown element " + name);
        });
    }

    /** The value of the element or of its negation, of which there must be one. */
    private static JsonNode oneOf(JsonNode statement, String element, String what) {
        var value = statement.path(statement.has(element) ? element : "Not" + element);
        if (statement.has(element) == statement.has("Not" + element) || value.isContainerNode() && value.isEmpty()) {
            throw malformed("Policy statement must contain " + what + ".");
        }
        return value;
    }

    private void checkPrincipals(JsonNode principals, Caller caller) {
        if (principals.asText().equals("*")) return;
        only(principals, "AWS|Service|Federated|CanonicalUser");
        for (var kind : principals.properties()) {
            if (list(kind.getValue()).isEmpty()) throw malformed("Policy statement must contain a principal.");
            for (var principal : list(kind.getValue())) {
                if (!switch (kind.getKey()) {
                    case "AWS" -> isPrincipal(principal.asText(), caller);
                    case "Service" -> principal.asText().matches("[a-z0-9.-]+\\.amazonaws\\.com(\\.cn)?");
                    default -> true;
                }) {
                    throw malformed("Policy contains a statement with one or more invalid principals.");
                }
            }
        }
    }

    /**
     * Whether a policy may name it: of the users and roles of accounts that are here, those that exist and that KMS can
     * see already. Groups and patterns never, and no account that does not exist, such as 000000000000; of any other
     * id there may be one.
     */
    boolean isPrincipal(String arn, Caller caller) {
        if (arn.matches("(arn:[a-z-]+:(iam|sts)::)?000000000000(:.*)?")) return false;
        if (arn.equals("*") || arn.matches("\\d{12}")) return true;
        var parts = Pattern
                .compile("arn:" + caller.partition()
                        + ":(?:iam|sts)::(\\d{12}):(root|(?:user|role|assumed-role|federated-user)/[\\w+=,.@/-]+)")
                .matcher(arn);
        if (!parts.matches()) return false;
        var owner = aws.known(parts.group(1));
        if (owner == null || parts.group(2).equals("root") || arn.equals(caller.arn())) return true;
        var resource = parts.group(2).replaceFirst("^assumed-role/([^/]+)/.*", "role/$1");
        var iam = "arn:" + caller.partition() + ":iam::" + owner.id + ":" + resource;
        return owner.iam.exists(iam) && owner.iam.visibleToKms(iam);
    }

    private Key rotatable(ObjectNode input, Caller caller) {
        var id = input.get("KeyId").asText();
        if (id.contains("alias/")) throw notFound("Invalid keyId '" + id + "'"); // takes key ids and ARNs only
        var key = rotatable(customer(usable(key(id, caller))));
        // of a multi-Region key, the primary one has the setting (API Reference, EnableKeyRotation)
        if (!key.multiRegion.isEmpty() && key != key.multiRegion.get(0)) {
            throw new AwsError("UnsupportedOperationException", key.arn + " is a replica key");
        }
        return key;
    }

    /** Neither asymmetric keys rotate by themselves, nor those whose material is not of KMS. */
    private static Key rotatable(Key key) {
        if (!key.keySpec.equals("SYMMETRIC_DEFAULT")) {
            throw new AwsError("UnsupportedOperationException",
                    key.arn + " key spec is " + key.keySpec + " which is not valid for this operation.");
        }
        if (!key.origin.equals("AWS_KMS")) {
            throw new AwsError("UnsupportedOperationException",
                    key.arn + " origin is " + key.origin + " which is not valid for this operation.");
        }
        return key;
    }

    /** What may still be changed; a disabled key may (Developer Guide, "Key states of AWS KMS keys"). */
    private static Key kept(Key key) {
        if (key.state.equals("PendingDeletion")) throw state(key);
        return key;
    }

    private static Key usable(Key key) {
        if (!key.state.equals("Enabled")) {
            throw key.state.equals("Disabled")
                    ? new AwsError("DisabledException", key.arn + " is disabled.") : state(key);
        }
        return key;
    }

    private static Key customer(Key key) {
        if (!key.manager.equals("CUSTOMER")) {
            throw new AwsError("AccessDeniedException", key.arn + " is managed by AWS");
        }
        return key;
    }

    private Key key(ObjectNode input, Caller caller, boolean aliasToo) {
        var id = input.get("KeyId").asText();
        if (!aliasToo && id.contains("alias/")) throw notFound("Invalid keyId '" + id + "'");
        return key(id, caller);
    }

    /** Of this account or, for what works across accounts, of another one that lets the caller. */
    private Key reachable(ObjectNode input, Caller caller, boolean aliasToo) {
        var id = input.get("KeyId").asText();
        var others = owner(id, caller) == this ? null : findAnywhere(id, caller);
        return others == null ? key(input, caller, aliasToo) : others;
    }

    private Key key(String id, Caller caller) {
        if (owner(id, caller) != this) {
            throw new AwsError("AccessDeniedException", "User: " + caller.arn() + " is not authorized to access " + id
                    + " because the resource does not exist in this Region, no resource-based policies allow access,"
                    + " or a resource-based policy explicitly denies access");
        }
        var key = find(id, caller.region());
        if (key == null || key.looksInVain-- > 0) {
            throw notFound(id.contains("alias/")
                    ? "Alias " + caller.arn("kms", id.substring(id.indexOf("alias/"))) + " is not found."
                    : "Key '" + (id.startsWith("arn:") ? id : caller.arn("kms", "key/" + id)) + "' does not exist");
        }
        return key;
    }

    private static void putTags(Key key, JsonNode tags) {
        key.tags.putAll(withTags(key.tags, tags));
    }

    private static Map<String, String> withTags(Map<String, String> present, JsonNode tags) {
        var all = new TreeMap<>(present);
        var given = new TreeSet<String>();
        for (var tag : tags) {
            var name = tag.get("TagKey").asText();
            if (name.toLowerCase(Locale.ROOT).startsWith("aws:")) {
                throw new AwsError("TagException", "Tag keys must not begin with aws:");
            }
            if (!(name + tag.get("TagValue").asText()).matches("[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*")) {
                throw new AwsError("TagException", "Tags must match [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*");
            }
            if (!given.add(name)) throw new AwsError("TagException", "Duplicate tag keys");
            all.put(name, tag.get("TagValue").asText());
        }
        if (all.size() > 50) throw new AwsError("TagException", "Too many tags");
        return all;
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

    /**
     * A policy as AWS may give it back: lists in another order, lists of one as that one, accounts as the ARNs of their
     * root.
     */
    static String rewritten(String policy, Caller caller) {
        try {
            return rewritten(Models.JSON.readTree(policy), caller, false).toPrettyString();
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    private static JsonNode rewritten(JsonNode node, Caller caller, boolean principal) {
        if (node instanceof ObjectNode object) {
            var out = Models.JSON.createObjectNode();
            object.properties()
                    .forEach(e -> out.set(e.getKey(), rewritten(e.getValue(), caller, e.getKey().equals("AWS"))));
            return out;
        }
        if (node instanceof ArrayNode array) {
            var items = new ArrayList<JsonNode>();
            array.forEach(item -> items.add(0, rewritten(item, caller, principal)));
            return items.size() == 1 ? items.get(0) : Models.JSON.createArrayNode().addAll(items);
        }
        if (!principal || !node.asText().matches("\\d{12}")) return node;
        return Models.JSON.getNodeFactory().textNode("arn:" + caller.partition() + ":iam::" + node.asText() + ":root");
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
        return new AwsError("KMSInvalidStateException",
                key.arn + (key.state.equals("PendingDeletion") ? " is pending deletion." : " is " + key.state));
    }
}
