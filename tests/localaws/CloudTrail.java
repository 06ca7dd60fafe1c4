package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentSkipListMap;
import localaws.PolicyEvaluator.Decision;

/**
 * CloudTrail: trails of management events, and what EventBridge is told of calls that a logging trail takes. No log
 * files are written. Rules from the CloudTrail API Reference and User Guide unless another source is named.
 */
public final class CloudTrail implements LocalAws.Service {
    /** One trail; tests may look at it and change it. */
    public static final class Trail {
        public final String name;
        public final String arn;
        public final String homeRegion;
        public volatile String bucket;
        public volatile boolean multiRegion;
        public volatile boolean globalEvents = true;
        public volatile boolean logging;
        /** Of another account, the organization's, which alone may look at it closely. */
        final boolean organization;
        /** As PutEventSelectors has them, basic or advanced; at first all management events. */
        private volatile ArrayNode selectors = Models.JSON.createArrayNode();
        private volatile boolean advanced;
        private volatile boolean custom;
        private volatile Instant started;
        private volatile Instant stopped;

        Trail(String name, String arn, boolean organization) {
            this.name = name;
            this.arn = arn;
            this.organization = organization;
            homeRegion = arn.split(":")[3];
            selectors.addObject().put("ReadWriteType", "All").put("IncludeManagementEvents", true)
                    .putArray("DataResources");
        }

        /** Whether it is about calls of the Region, or of a service that has none, whose calls are in a home Region. */
        private boolean covers(String region, boolean global) {
            return isOf(new Caller("", "", region)) && (multiRegion || homeRegion.equals(region))
                    && (!global || globalEvents);
        }

        /** Whether it is of the caller's partition: others know nothing of each other. */
        private boolean isOf(Caller caller) {
            return arn.startsWith("arn:" + caller.partition() + ":");
        }

        private boolean selects(String eventSource, boolean reads) {
            return selectors.valueStream().anyMatch(one -> advanced ? selectsAdvanced(one, eventSource, reads)
                    : selectsBasic(one, eventSource, reads));
        }

        private static boolean selectsBasic(JsonNode selector, String eventSource, boolean reads) {
            return selector.path("IncludeManagementEvents").asBoolean(true)
                    && !selector.path("ReadWriteType").asText("All").equals(reads ? "WriteOnly" : "ReadOnly")
                    && selector.path("ExcludeManagementEventSources").valueStream()
                            .noneMatch(excluded -> excluded.asText().equals(eventSource));
        }

        private static boolean selectsAdvanced(JsonNode selector, String eventSource, boolean reads) {
            var values = Map.of("eventCategory", "Management", "readOnly", String.valueOf(reads), "eventSource",
                    eventSource);
            return selector.path("FieldSelectors").valueStream().allMatch(field -> {
                var value = values.get(field.path("Field").asText());
                return field.path("NotEquals").valueStream().noneMatch(one -> one.asText().equals(value))
                        && (!field.has("Equals")
                                || field.path("Equals").valueStream().anyMatch(one -> one.asText().equals(value)));
            });
        }
    }

    private static final int TRAILS_PER_REGION = 5;
    /** What CloudTrail writes of nobody's parameters. */
    private static final Set<String> SECRET = Set.of("fileContent", "putFiles", "plaintext");
    private static final Set<String> EXCLUDABLE = Set.of("kms.amazonaws.com", "rdsdata.amazonaws.com");
    /** S3's names of calls that differ from those of its API (User Guide of S3, "CloudTrail events"). */
    private static final Map<String, String> S3_NAMES = Map.of(
            "PutBucketLifecycleConfiguration", "PutBucketLifecycle",
            "GetBucketLifecycleConfiguration", "GetBucketLifecycle",
            "PutPublicAccessBlock", "PutBucketPublicAccessBlock",
            "GetPublicAccessBlock", "GetBucketPublicAccessBlock",
            "DeletePublicAccessBlock", "DeleteBucketPublicAccessBlock",
            "PutObjectLockConfiguration", "PutBucketObjectLockConfiguration",
            "GetObjectLockConfiguration", "GetBucketObjectLockConfiguration");

    private final LocalAws aws;
    private final String account;
    /** By name, in the Region that each is of. */
    private final Map<String, Map<String, Trail>> regions = LocalAws.concurrentMap();
    /**
     * Whether a call that was refused for want of a permission still tells its parameters and resources; for most
     * services that is not documented. Those of EC2 do.
     */
    public volatile boolean tellsRefusedParameters;

    CloudTrail(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    /** A trail of all Regions that logs, as most accounts have one; its bucket is not looked at. */
    public Trail createTrail(String region, String name) {
        var trail = new Trail(name, new Caller("", account, region).arn("cloudtrail", "trail/" + name), false);
        trail.bucket = "trails";
        trail.multiRegion = true;
        trail.logging = true;
        return add(trail);
    }

    /** An organization's trail, of its management account, as this account sees it. */
    public Trail createOrganizationTrail(String arn) {
        var trail = new Trail(arn.substring(arn.lastIndexOf('/') + 1), arn, true);
        trail.bucket = "organization";
        trail.multiRegion = true;
        trail.logging = true;
        return add(trail);
    }

    private Trail add(Trail trail) {
        in(trail.homeRegion).put(trail.name, trail);
        aws.hasTrails = true;
        return trail;
    }

    /** The trail, or null. */
    public Trail trail(String region, String name) {
        return in(region).get(name);
    }

    private Map<String, Trail> in(String region) {
        return LocalAws.regional(regions, region, ConcurrentSkipListMap::new);
    }

    private List<Trail> all() {
        return regions.values().stream().flatMap(trails -> trails.values().stream()).toList();
    }

    private boolean takes(String region, boolean global, String eventSource, boolean reads) {
        return all().stream().anyMatch(trail -> trail.logging && trail.covers(region, global)
                && trail.selects(eventSource, reads));
    }

    // What is told of a call

    /** The Region in which calls of services without Regions, such as IAM, are told. */
    static String homeRegion(Caller caller) {
        return switch (caller.partition()) {
            case "aws-cn" -> "cn-north-1";
            case "aws-us-gov" -> "us-gov-west-1";
            default -> "us-east-1";
        };
    }

    /**
     * A call that some account's trail takes, by the trails as they are before it: one that stops a trail is still
     * told.
     */
    static final class Told {
        private final LocalAws aws;
        private final LocalAws.Request request;
        private final String service;
        private final String operation;
        private final String region;
        private final boolean reads;
        /** Those whose trails take it: the caller's, and that of a key or bucket of another account. */
        private final Set<String> accounts;
        private final ArrayNode resources = Models.JSON.createArrayNode();

        /** Null for a call that nobody takes. */
        static Told of(LocalAws aws, LocalAws.Request request) {
            if (request.caller == null || !request.input.isObject()) return null;
            var told = new Told(aws, request);
            return told.accounts.isEmpty() ? null : told;
        }

        private Told(LocalAws aws, LocalAws.Request request) {
            this.aws = aws;
            this.request = request;
            service = request.name.substring(0, request.name.indexOf(':'));
            operation = request.name.substring(request.name.indexOf(':') + 1);
            var global = service.equals("iam");
            region = global ? homeRegion(request.caller) : request.caller.region();
            reads = isAdvertisement() || Call.reads(request.name);
            accounts = isDataEvent() ? Set.of() : new LinkedHashSet<>(List.of(request.caller.account()));
            if (accounts.isEmpty()) return;
            findResources();
            accounts.removeIf(id -> !aws.account(id).cloudtrail.takes(region, global, eventSource(), reads));
        }

        private boolean isDataEvent() {
            return service.equals("s3") && (request.input.has("Key") || operation.matches("(List|Head).*"))
                    || request.name.equals("events:PutEvents") || request.name.equals("sns:Publish");
        }

        private boolean isAdvertisement() {
            return operation.equals("GitPush") && request.input.path("path").asText().equals("info/refs");
        }

        private String eventSource() {
            return (service.equals("cloudwatch") ? "monitoring" : service) + ".amazonaws.com";
        }

        private void findResources() {
            var caller = request.caller;
            switch (service) {
                case "kms" -> {
                    var id = request.input.path("KeyId").asText(request.input.path("TargetKeyId").asText());
                    var alias = request.input.path("AliasName").asText();
                    if (!alias.isEmpty()) resource(caller.arn("kms", alias), "AWS::KMS::Alias");
                    var owner = id.startsWith("arn:") ? aws.known(id.split(":", 6)[4]) : aws.known(caller.account());
                    var key = owner == null || id.isEmpty() && alias.isEmpty() ? null
                            : owner.kms.find(id.isEmpty() ? alias : id, caller.region());
                    if (key != null) resource(key.arn, "AWS::KMS::Key");
                }
                case "s3" -> {
                    var bucket = aws.s3.bucket(request.input.path("Bucket").asText());
                    if (bucket == null) return;
                    resource(bucket.arn(), "AWS::S3::Bucket");
                    accounts.add(bucket.account);
                }
                case "codecommit" -> {
                    var name = request.input.path("repositoryName").asText();
                    if (!name.isEmpty()) resource(caller.arn("codecommit", name), "AWS::CodeCommit::Repository");
                }
                default -> { }
            }
        }

        private void resource(String arn, String type) {
            var owner = arn.split(":", 6)[4];
            resources.addObject().put("ARN", arn).put("accountId", owner.isEmpty() ? request.caller.account() : owner)
                    .put("type", type);
            if (!owner.isEmpty() && aws.known(owner) != null) accounts.add(owner);
        }

        /** Tells EventBridge, when the call is done and before its client knows. */
        void tell() {
            for (var id : accounts) {
                var account = aws.account(id);
                account.events.publishCall(region, eventSource().replaceFirst("(\\w+)\\..*", "aws.$1"),
                        operation.matches("(Describe|Get|List).*") && reads, () -> record(account));
            }
        }

        private ObjectNode record(Account recipient) {
            var record = Models.JSON.createObjectNode().put("eventVersion", "1.11");
            record.set("userIdentity", identity());
            record.put("eventTime", aws.now().truncatedTo(ChronoUnit.SECONDS).toString())
                    .put("eventSource", eventSource())
                    .put("eventName", service.equals("s3") ? S3_NAMES.getOrDefault(operation, operation) : operation)
                    .put("awsRegion", region).put("sourceIPAddress", "127.0.0.1")
                    .put("userAgent", request.header("User-Agent"));
            var isRefused = request.error != null && request.error.matches("AccessDenied.*|AuthorizationError");
            var isSilent = isRefused && !recipient.cloudtrail.tellsRefusedParameters;
            if (request.error != null) record.put("errorCode", errorCode(isRefused));
            record.set("requestParameters", isSilent ? null : parameters());
            record.putNull("responseElements");
            if (operation.matches("Git(Pull|Push)")) {
                record.putObject("additionalEventData").put("protocol", "HTTP")
                        .put("dataTransferred", request.pushed != null)
                        .put("repositoryName", request.input.path("repositoryName").asText());
            }
            record.put("requestID", UUID.randomUUID().toString()).put("eventID", UUID.randomUUID().toString())
                    .put("readOnly", reads);
            if (!isSilent && !resources.isEmpty()) record.set("resources", resources.deepCopy());
            return record.put("eventType", "AwsApiCall").put("managementEvent", true)
                    .put("recipientAccountId", recipient.id).put("eventCategory", "Management");
        }

        private String errorCode(boolean isRefused) {
            if (service.equals("ec2")) return "Client." + request.error;
            return isRefused ? "AccessDenied" : request.error;
        }

        private ObjectNode identity() {
            var caller = request.caller;
            var known = aws.account(caller.account()).iam.identity(caller);
            var identity = Models.JSON.createObjectNode().put("type", switch (known.type()) {
                case "Account" -> "Root";
                case "User" -> "IAMUser";
                default -> known.type();
            }).put("principalId", known.userId()).put("arn", caller.arn()).put("accountId", caller.account());
            if (known.type().equals("User")) identity.put("userName", known.name());
            if (known.type().equals("AssumedRole")) {
                identity.putObject("sessionContext").putObject("sessionIssuer").put("type", "Role")
                        .put("arn", known.arn()).put("accountId", caller.account()).put("userName", known.name());
            }
            return identity;
        }

        private JsonNode parameters() {
            if (service.equals("s3")) {
                var parameters = Models.JSON.createObjectNode();
                request.query.forEach((name, value) -> parameters.put(name, value));
                return parameters.put("bucketName", request.input.path("Bucket").asText());
            }
            if (operation.matches("Git(Pull|Push)")) {
                return request.pushed == null ? null : Models.JSON.createObjectNode().set("references",
                        request.pushed);
            }
            if (request.input.isEmpty()) return null;
            // as logs of others show them; AWS does not document it
            if (operation.matches("(Delete|Modify)VpcEndpoints?")) {
                var given = request.input.path("VpcEndpointIds");
                var inner = request.input.deepCopy();
                ((ObjectNode) inner).remove("VpcEndpointIds");
                for (var i = 0; i < given.size(); i++) {
                    var id = Models.JSON.createObjectNode().put("tag", i + 1).put("content", given.get(i).asText());
                    if (given.size() == 1) ((ObjectNode) inner).set("VpcEndpointId", id);
                    else ((ObjectNode) inner).withArray("VpcEndpointId").add(id);
                }
                return Models.JSON.createObjectNode().set(operation + "Request", inner);
            }
            return lowerCamel(request.input);
        }

        private static JsonNode lowerCamel(JsonNode node) {
            if (node.isArray()) {
                var items = Models.JSON.createArrayNode();
                node.forEach(item -> items.add(lowerCamel(item)));
                return items;
            }
            if (!node.isObject()) return node;
            var members = Models.JSON.createObjectNode();
            node.properties().forEach(member -> {
                var name = member.getKey().substring(0, 1).toLowerCase(Locale.ROOT) + member.getKey().substring(1);
                if (!SECRET.contains(name)) members.set(name, lowerCamel(member.getValue()));
            });
            return members;
        }
    }

    // Permissions

    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "cloudtrail:" + operation;
        return switch (operation) {
            case "DescribeTrails" -> List.of(new Need(action, "*"));
            case "CreateTrail", "DeleteTrail", "GetTrailStatus", "StartLogging", "StopLogging", "UpdateTrail" ->
                List.of(onTrail(action, input.path("Name").asText(), caller));
            case "GetEventSelectors", "PutEventSelectors" ->
                List.of(onTrail(action, input.path("TrailName").asText(), caller));
            default -> throw new IllegalStateException("no permission is known for cloudtrail:" + operation);
        };
    }

    private static Need onTrail(String action, String nameOrArn, Caller caller) {
        return new Need(action, nameOrArn.startsWith("arn:") ? nameOrArn
                : caller.arn("cloudtrail", "trail/" + nameOrArn)).owner(caller.account());
    }

    // Operations

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        return new AwsError("InvalidParameterValueException",
                LocalAws.Service.super.invalid(operation, violations).getMessage());
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        return switch (operation) {
            case "CreateTrail" -> create(input, caller);
            case "UpdateTrail" -> update(input, caller);
            case "DeleteTrail" -> {
                var trail = own(input.get("Name").asText(), caller);
                in(trail.homeRegion).remove(trail.name);
                yield Models.JSON.createObjectNode();
            }
            case "StartLogging" -> {
                var trail = own(input.get("Name").asText(), caller);
                trail.logging = true;
                trail.started = aws.now();
                yield Models.JSON.createObjectNode();
            }
            case "StopLogging" -> {
                var trail = own(input.get("Name").asText(), caller);
                trail.logging = false;
                trail.stopped = aws.now();
                yield Models.JSON.createObjectNode();
            }
            case "GetTrailStatus" -> {
                var trail = readable(input.get("Name").asText(), caller);
                var status = Models.JSON.createObjectNode().put("IsLogging", trail.logging);
                if (trail.started != null) status.put("StartLoggingTime", trail.started.getEpochSecond());
                if (trail.stopped != null) status.put("StopLoggingTime", trail.stopped.getEpochSecond());
                yield status;
            }
            case "DescribeTrails" -> describe(input, caller);
            case "PutEventSelectors" -> put(input, caller);
            case "GetEventSelectors" -> shownSelectors(readable(input.get("TrailName").asText(), caller));
            default -> throw new AwsError("UnknownOperationException", operation);
        };
    }

    private JsonNode create(ObjectNode input, Caller caller) {
        refuseOthers(input);
        var name = input.get("Name").asText();
        if (!name.matches("[A-Za-z0-9]([._-]?[A-Za-z0-9])+") || name.length() < 3 || name.length() > 128
                || name.matches("[\\d.]+"))
            throw new AwsError("InvalidTrailNameException", "Trail name is not valid: " + name);
        if (in(caller.region()).containsKey(name))
            throw new AwsError("TrailAlreadyExistsException", "Trail " + name + " already exists for customer: "
                    + account);
        if (in(caller.region()).size() >= TRAILS_PER_REGION)
            throw new AwsError("MaximumNumberOfTrailsExceededException",
                    "User already has " + TRAILS_PER_REGION + " trails in " + caller.region());
        var trail = new Trail(name, caller.arn("cloudtrail", "trail/" + name), false);
        set(trail, input, caller);
        add(trail);
        return settings(trail);
    }

    private JsonNode update(ObjectNode input, Caller caller) {
        refuseOthers(input);
        var trail = own(input.get("Name").asText(), caller);
        set(trail, input, caller);
        return settings(trail);
    }

    private static void refuseOthers(ObjectNode input) {
        for (var member : List.of("SnsTopicName", "CloudWatchLogsLogGroupArn", "CloudWatchLogsRoleArn", "KmsKeyId",
                "IsOrganizationTrail", "TagsList", "S3KeyPrefix"))
            if (input.hasNonNull(member) && !input.get(member).asText().equals("false"))
                throw new AwsError("OperationNotPermittedException", "The embedded AWS does not offer " + member);
    }

    private void set(Trail trail, ObjectNode input, Caller caller) {
        var multiRegion = input.path("IsMultiRegionTrail").asBoolean(trail.multiRegion);
        var global = input.path("IncludeGlobalServiceEvents").asBoolean(trail.globalEvents);
        if (multiRegion && !global)
            throw new AwsError("InvalidParameterCombinationException",
                    "Multi-Region trail must include global service events.");
        var bucket = input.path("S3BucketName").asText(trail.bucket);
        checkBucket(bucket, trail.arn, caller);
        trail.multiRegion = multiRegion;
        trail.globalEvents = global;
        trail.bucket = bucket;
    }

    /** The bucket's policy must let CloudTrail write (User Guide, "Amazon S3 bucket policy for CloudTrail"). */
    private void checkBucket(String name, String trailArn, Caller caller) {
        var bucket = aws.s3.bucket(name);
        if (bucket == null)
            throw new AwsError("S3BucketDoesNotExistException", "S3 bucket " + name + " does not exist!");
        for (var need : List.of(new Need("s3:GetBucketAcl", bucket.arn()),
                new Need("s3:PutObject", bucket.arn() + "/AWSLogs/" + account + "/CloudTrail/x")
                        .key("s3:x-amz-acl", "bucket-owner-full-control"))) {
            var result = aws.authorizer.decideForService("cloudtrail.amazonaws.com", trailArn, account,
                    caller.region(), need.owner(bucket.account).policy("bucket", bucket.policy()));
            if (result.decision() != Decision.allowed)
                throw new AwsError("InsufficientS3BucketPolicyException",
                        "Incorrect S3 bucket policy is detected for bucket: " + name);
        }
    }

    private JsonNode describe(ObjectNode input, Caller caller) {
        var names = input.path("trailNameList").valueStream().map(JsonNode::asText).toList();
        var shadows = input.path("includeShadowTrails").asBoolean(true);
        var answer = Models.JSON.createObjectNode();
        var list = answer.putArray("trailList");
        all().stream().filter(trail -> trail.homeRegion.equals(caller.region())
                || shadows && trail.multiRegion && trail.isOf(caller))
                .filter(trail -> names.isEmpty() || names.contains(trail.arn)
                        || names.contains(trail.name) && trail.homeRegion.equals(caller.region()))
                .forEach(trail -> list.add(settings(trail).put("HomeRegion", trail.homeRegion)
                        .put("HasCustomEventSelectors", trail.custom).put("HasInsightSelectors", false)));
        return answer;
    }

    private static ObjectNode settings(Trail trail) {
        return Models.JSON.createObjectNode().put("Name", trail.name).put("S3BucketName", trail.bucket)
                .put("IncludeGlobalServiceEvents", trail.globalEvents)
                .put("IsMultiRegionTrail", trail.multiRegion).put("TrailARN", trail.arn)
                .put("LogFileValidationEnabled", false).put("IsOrganizationTrail", trail.organization);
    }

    private JsonNode put(ObjectNode input, Caller caller) {
        var trail = own(input.get("TrailName").asText(), caller);
        var basic = input.path("EventSelectors");
        var advanced = input.path("AdvancedEventSelectors");
        if (basic.isEmpty() == advanced.isEmpty())
            throw invalidSelectors("Either EventSelectors or AdvancedEventSelectors must be specified.");
        basic.forEach(CloudTrail::checkBasic);
        advanced.forEach(CloudTrail::checkAdvanced);
        if (basic.size() > 5) throw invalidSelectors("A trail has up to 5 event selectors.");
        trail.advanced = basic.isEmpty();
        trail.selectors = (ArrayNode) (trail.advanced ? advanced : basic).deepCopy();
        if (!trail.advanced) {
            trail.selectors.forEach(selector -> {
                if (!selector.hasNonNull("ReadWriteType")) ((ObjectNode) selector).put("ReadWriteType", "All");
                if (!selector.hasNonNull("IncludeManagementEvents"))
                    ((ObjectNode) selector).put("IncludeManagementEvents", true);
            });
        }
        trail.custom = true;
        return shownSelectors(trail);
    }

    private static void checkBasic(JsonNode selector) {
        if (!selector.path("DataResources").isEmpty())
            throw invalidSelectors("The embedded AWS does not offer DataResources");
        for (var excluded : selector.path("ExcludeManagementEventSources"))
            if (!EXCLUDABLE.contains(excluded.asText()) || !selector.path("IncludeManagementEvents").asBoolean(true))
                throw invalidSelectors("Invalid value for ExcludeManagementEventSources: " + excluded.asText());
    }

    /** For management events (User Guide, "Filtering management events with advanced event selectors"). */
    private static void checkAdvanced(JsonNode selector) {
        var hasCategory = false;
        for (var field : selector.path("FieldSelectors")) {
            var operators = field.propertyStream().map(Map.Entry::getKey).filter(name -> !name.equals("Field"))
                    .toList();
            var values = new ArrayList<String>();
            operators.forEach(operator -> field.get(operator).forEach(value -> values.add(value.asText())));
            var isRight = switch (field.path("Field").asText()) {
                case "eventCategory" -> operators.equals(List.of("Equals")) && values.equals(List.of("Management"));
                case "readOnly" -> operators.equals(List.of("Equals")) && values.size() == 1
                        && values.get(0).matches("true|false");
                case "eventSource" -> operators.equals(List.of("NotEquals")) && EXCLUDABLE.containsAll(values);
                default -> false;
            };
            if (!isRight) throw invalidSelectors("Invalid field selector: " + field);
            hasCategory |= field.path("Field").asText().equals("eventCategory");
        }
        if (!hasCategory) throw invalidSelectors("eventCategory is required.");
    }

    private static AwsError invalidSelectors(String message) {
        return new AwsError("InvalidEventSelectorsException", message);
    }

    private static ObjectNode shownSelectors(Trail trail) {
        var answer = Models.JSON.createObjectNode().put("TrailARN", trail.arn);
        return answer.set(trail.advanced ? "AdvancedEventSelectors" : "EventSelectors", trail.selectors);
    }

    /** By its ARN from every Region that it is seen in, by its name from its own. */
    private Trail existing(String nameOrArn, Caller caller) {
        return all().stream().filter(trail -> trail.arn.equals(nameOrArn)
                || trail.name.equals(nameOrArn) && trail.homeRegion.equals(caller.region())).findFirst()
                .orElseThrow(() -> unknown(nameOrArn));
    }

    /** Of an organization's trail a member account is not told more than that it is there. */
    private Trail readable(String nameOrArn, Caller caller) {
        var trail = existing(nameOrArn, caller);
        if (trail.organization) throw unknown(nameOrArn);
        return trail;
    }

    private Trail own(String nameOrArn, Caller caller) {
        var trail = readable(nameOrArn, caller);
        if (!trail.homeRegion.equals(caller.region()))
            throw new AwsError("InvalidHomeRegionException", "Trail " + trail.arn + " can be changed in "
                    + trail.homeRegion + " only.");
        return trail;
    }

    private AwsError unknown(String nameOrArn) {
        return new AwsError("TrailNotFoundException", "Unknown trail: " + nameOrArn + " for the user: " + account);
    }
}
