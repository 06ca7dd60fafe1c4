package localaws;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.function.Supplier;
import java.util.stream.Stream;
import localaws.PolicyEvaluator.Decision;
import localaws.PolicyEvaluator.Policy;
import localaws.PolicyEvaluator.Request;

/**
 * IAM: roles, users and groups, their inline and managed policies, and the policy simulator. Rules from the IAM API
 * Reference and its quotas page.
 */
public final class Iam implements LocalAws.Service {
    /** What is counted of a policy: everything but white space. */
    private static final Map<String, Integer> INLINE_QUOTA = Map.of("user", 2048, "group", 5120, "role", 10240);
    private static final int MANAGED_QUOTA = 6144;
    private static final int ATTACHED_QUOTA = 10;
    private static final int VERSIONS = 5;
    private static final ObjectReader STRICT = Models.JSON.reader().with(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
            .with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    /** A role, user or group; tests may look at it and change it. */
    public static final class Principal {
        public final String kind;
        /** Begins and ends with a slash. */
        public final String path;
        public final String name;
        /** Documents by name. */
        public final Map<String, String> inline = new TreeMap<>();
        /**
         * Managed policies, as in their ARNs behind the account: {@code policy/path/Name}; AWS's own begin with
         * {@code aws:}.
         */
        public final Set<String> attached = new TreeSet<>();
        /** For a user: the names of its groups. */
        public final Set<String> groups = new TreeSet<>();
        /** Like one of the attached, or null. */
        public String boundary;
        /** As aws:PrincipalTag sees them. */
        public final Map<String, String> tags = new TreeMap<>();
        /** For a role: the policy that says who may assume it; its own account at first. */
        public String trust;
        /** For a role: the longest session, in seconds. */
        public int maxSessionDuration = 3600;
        public String description = "";
        private int kmsLooksInVain;
        private int usesInVain;
        private final String id;
        private final Instant created;

        Principal(String kind, String path, String name, Instant created) {
            this.kind = kind;
            this.path = path;
            this.name = name;
            this.created = created;
            id = newId(Map.of("user", "AIDA", "group", "AGPA", "role", "AROA").get(kind));
        }

        String resource() {
            return kind + path + name;
        }

        String id() {
            return id;
        }
    }

    /** A managed policy. */
    public static final class Managed {
        public final String name;
        /** Documents by version id, oldest first. */
        public final Map<String, String> versions = new LinkedHashMap<>();
        public String defaultVersion = "v1";
        public final Map<String, String> tags = new TreeMap<>();
        public final String description;
        private final String resource;
        private final String id = newId("ANPA");
        private final Instant created;
        private int versionsMade = 1;

        Managed(String resource, String description, String document, Instant created) {
            this.resource = resource;
            this.name = resource.substring(resource.lastIndexOf('/') + 1);
            this.description = description;
            this.created = created;
            versions.put("v1", document);
        }

        /** One more, which is not the default. */
        public String addVersion(String document) {
            var version = "v" + ++versionsMade;
            versions.put(version, document);
            return version;
        }
    }

    private final LocalAws aws;
    private final String account;
    /** By kind and name: {@code role/Backup}, without the path. */
    private final Map<String, Principal> principals = new TreeMap<>();
    /** By resource: {@code policy/path/Name}. */
    private final Map<String, Managed> policies = new TreeMap<>();
    /** How many items a page has; AWS's own pages are longer. */
    public int pageSize = 2;
    /** How often a service finds that a role which was just created is not there: IAM is eventually consistent. */
    public int earlyRoleUses = 1;
    public int simulatorPageSize = 10;
    public int authorizationDetailsPageSize = 3;
    /** How many simulations still see the policies as they were before a change. */
    public int simulatorLag;
    private int staleCalls;
    private Map<String, List<Policy>> stale = Map.of();
    /** Actions that the simulator refuses as unknown. */
    public final Set<String> unknownToSimulator = new HashSet<>();
    /**
     * Whether the simulator answers once for each action, with the strictest decision on all resources, and lists the
     * resources below that (IAM API Reference, EvaluationResult). It used to answer once for each action and resource.
     */
    public boolean simulatorGroupsResources = true;
    /**
     * The service control policies of the account, of which the simulator takes account and answers what they do. The
     * calls of the embedded AWS are not decided by them.
     */
    public final List<String> serviceControlPolicies = new ArrayList<>();

    Iam(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
        var all = "{\n    \"Version\": \"2012-10-17\",\n    \"Statement\": [\n        {\n            \"Effect\": "
                + "\"Allow\",\n            \"Action\": \"%s\",\n            \"Resource\": \"*\"\n        }\n    ]\n}";
        for (var own : Map
                .of("AdministratorAccess", all.formatted("*"), "AWSCodeCommitFullAccess", all.formatted("codecommit:*"))
                .entrySet()) {
            policies.put("aws:policy/" + own.getKey(),
                    new Managed("aws:policy/" + own.getKey(), "", own.getValue(), aws.now()));
        }
    }

    // For tests: what no script makes, and a look at the state

    /** A role such as {@code Backup} or, with a path, {@code team/Backup}. */
    public Principal createRole(String pathAndName) {
        return create("role", pathAndName);
    }

    /** A role that KMS, and the services that are to assume it, do not know the first n times that they look. */
    public Principal createRoleVisibleAfter(String pathAndName, int n) {
        var role = create("role", pathAndName);
        role.kmsLooksInVain = n;
        role.usesInVain = n;
        return role;
    }

    public Principal createUser(String pathAndName) {
        return create("user", pathAndName);
    }

    public Principal createGroup(String pathAndName, String... users) {
        for (var user : users) {
            principals.get("user/" + user).groups.add(pathAndName.substring(pathAndName.lastIndexOf('/') + 1));
        }
        return create("group", pathAndName);
    }

    /** A managed policy, whatever is in it. */
    public synchronized Managed createPolicy(String name, String document) {
        var policy = new Managed("policy/" + name, "", document, aws.now());
        policies.put(policy.resource, policy);
        return policy;
    }

    private synchronized Principal create(String kind, String pathAndName) {
        var slash = pathAndName.lastIndexOf('/');
        var principal = new Principal(kind, "/" + pathAndName.substring(0, slash + 1), pathAndName.substring(slash + 1),
                aws.now());
        if (kind.equals("role")) {
            principal.trust = """
                    {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",
                    "Principal":{"AWS":"%s"}}]}""".formatted(account);
        }
        principals.put(kind + "/" + principal.name, principal);
        return principal;
    }

    /** The role, user or group, as {@code role/Backup}; null when there is none. */
    public synchronized Principal find(String kindAndName) {
        return principals.get(kindAndName);
    }

    /** The managed policy, as {@code policy/path/Name}; null when there is none. */
    public synchronized Managed policy(String resource) {
        return policies.get(resource);
    }

    /** Whether this is the ARN of a role, user or group, of any partition, or the account's root. */
    synchronized boolean exists(String arn) {
        var parts = arn.split(":", 6);
        if (parts.length < 6 || !parts[2].equals("iam") || !parts[4].equals(account)) return false;
        return parts[5].equals("root") || principals.values().stream().anyMatch(p -> p.resource().equals(parts[5]));
    }

    /** The role of this ARN, or null. */
    synchronized Principal role(String arn) {
        return principals.values().stream()
                .filter(p -> p.kind.equals("role") && arn.endsWith(":iam::" + account + ":" + p.resource())).findFirst()
                .orElse(null);
    }

    /**
     * What a caller is allowed by who he is.
     *
     * @param arn    of the user, of the session's role, or of the root user
     * @param type   as aws:PrincipalType has it
     * @param userId as aws:userid has it
     */
    record Identity(String arn, String type, String name, String userId, List<Policy> policies,
            List<Policy> boundaries, Map<String, String> tags) { }

    /** Of a caller of this account; whoever was deleted since has no policies. */
    synchronized Identity identity(Caller caller) {
        var resource = caller.arn().split(":", 6)[5];
        if (resource.equals("root")) {
            return new Identity(caller.arn(), "Account", "root", account, List.of(Authorizer.FULL_ACCESS), List.of(),
                    Map.of());
        }
        var session = resource.startsWith("assumed-role/");
        var name = session ? resource.split("/")[1] : resource.substring(resource.lastIndexOf('/') + 1);
        var type = session ? "AssumedRole" : "User";
        var principal = principals.get((session ? "role/" : "user/") + name);
        if (principal == null) {
            return new Identity(caller.iamArn((session ? "role/" : "user/") + name), type, name, "", List.of(),
                    List.of(), Map.of());
        }
        var userId = principal.id + (session ? ":" + resource.substring(resource.lastIndexOf('/') + 1) : "");
        var boundaries = principal.boundary == null ? List.<Policy>of() : List.of(policyOf(principal.boundary));
        return new Identity(caller.iamArn(principal.resource()), type, name, userId, policiesOf(principal), boundaries,
                principal.tags);
    }

    /** Whether services can assume the role already; each try brings that nearer. */
    synchronized boolean visibleToServices(Principal role) {
        return role.usesInVain-- <= 0;
    }

    /** Whether KMS knows it already; each look brings that nearer. */
    synchronized boolean visibleToKms(String arn) {
        var principal = principals.values().stream().filter(p -> arn.endsWith(":" + p.resource())).findFirst();
        return principal.isEmpty() || principal.get().kmsLooksInVain-- <= 0;
    }

    // Permissions

    @Override
    public AwsError refused(Need need, String message) {
        return new AwsError(403, "AccessDenied", message);
    }

    /** On the role, user, group or policy that is named; messages name the first three without their ARN. */
    @Override
    public synchronized List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "iam:" + operation;
        return switch (operation) {
            case "GetUser" -> {
                var isNamed = input.hasNonNull("UserName") || !caller.arn().contains(":user/");
                yield List.of(on(action, "user", isNamed ? input : named(input, caller), caller));
            }
            case "CreateRole" -> List.of(new Need(action,
                    caller.iamArn("role" + input.path("Path").asText("/") + input.path("RoleName").asText()))
                    .shown("role " + input.path("RoleName").asText()));
            case "DeleteRole", "UpdateAssumeRolePolicy", "GetGroup", "GetRole", "PutRolePolicy", "PutUserPolicy",
                    "PutGroupPolicy", "GetRolePolicy",
                    "GetUserPolicy", "GetGroupPolicy", "DeleteRolePolicy", "DeleteUserPolicy", "DeleteGroupPolicy",
                    "ListRolePolicies", "ListUserPolicies", "ListGroupPolicies", "ListAttachedRolePolicies",
                    "ListAttachedUserPolicies", "ListAttachedGroupPolicies" ->
                List.of(on(action, kind(operation), input, caller));
            case "AttachRolePolicy", "AttachUserPolicy", "AttachGroupPolicy", "DetachRolePolicy", "DetachUserPolicy",
                    "DetachGroupPolicy" ->
                List.of(on(action, kind(operation), input, caller)
                        .key("iam:PolicyARN", input.path("PolicyArn").asText()));
            case "CreatePolicy" -> List.of(new Need(action,
                    caller.iamArn("policy" + input.path("Path").asText("/") + input.path("PolicyName").asText()))
                    .requestTags(Need.tags(input.path("Tags"), "Key", "Value")));
            case "TagPolicy" ->
                List.of(onPolicy(action, input).requestTags(Need.tags(input.path("Tags"), "Key", "Value")));
            case "GetPolicy", "DeletePolicy", "CreatePolicyVersion", "GetPolicyVersion", "ListPolicyVersions",
                    "SetDefaultPolicyVersion", "DeletePolicyVersion", "ListEntitiesForPolicy" ->
                List.of(onPolicy(action, input));
            case "SimulatePrincipalPolicy" -> List.of(new Need(action, input.path("PolicySourceArn").asText()));
            case "SimulateCustomPolicy", "GetAccountAuthorizationDetails" -> List.of(new Need(action, "*"));
            case "ListRoles", "ListUsers" ->
                List.of(new Need(action, "*").shown(caller.iamArn(kind(operation) + "/")));
            default -> throw new IllegalStateException("no permission is known for iam:" + operation);
        };
    }

    private Need on(String action, String kind, ObjectNode input, Caller caller) {
        var name = input.path(nameOf(kind)).asText();
        var principal = principals.get(kind + "/" + name);
        var need = new Need(action, caller.iamArn(principal == null ? kind + "/" + name : principal.resource()))
                .shown(kind + " " + name);
        if (principal == null) return need;
        if (principal.boundary != null && !kind.equals("group")
                && !action.matches("iam:(List.*|Get.*Policy|GetUser)")) {
            need = need.key("iam:PermissionsBoundary", arn(policies.get(principal.boundary), caller));
        }
        return need.resourceTags(principal.tags);
    }

    private Need onPolicy(String action, ObjectNode input) {
        var arn = input.path("PolicyArn").asText();
        var policy = policies.values().stream().filter(p -> arn.endsWith(":" + p.resource)).findFirst();
        // those of AWS, whose ARNs have no account, are open to the identity policies of every account
        return new Need(action, arn).owner(account).shown("policy " + arn)
                .resourceTags(policy.map(p -> p.tags).orElse(Map.of()));
    }

    private static String kind(String operation) {
        return operation.contains("Role") ? "role" : operation.contains("User") ? "user" : "group";
    }

    // Operations

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        return new AwsError("ValidationError", LocalAws.Service.super.invalid(operation, violations).getMessage());
    }

    @Override
    public synchronized JsonNode answer(String operation, ObjectNode input, Caller caller) {
        for (var member : List.of("PathPrefix", "PolicyUsageFilter", "CallerArn", "ResourcePolicy", "ResourceOwner",
                "ResourceHandlingOption")) {
            if (input.hasNonNull(member)) {
                throw new AwsError("InvalidInput", "The embedded AWS does not offer " + member);
            }
        }
        var kind = kind(operation);
        return switch (operation) {
            case "GetRole", "GetUser" ->
                node(kind.equals("role") ? "Role" : "User", describe(principal(kind, named(input, caller)), caller));
            case "CreateRole" -> createRole(input, caller);
            case "UpdateAssumeRolePolicy" -> {
                var role = modifiable(principal(kind, input));
                checkTrust(input.get("PolicyDocument").asText());
                role.trust = input.get("PolicyDocument").asText();
                yield null;
            }
            case "DeleteRole" -> change(() -> deleteRole(modifiable(principal(kind, input))));
            case "GetGroup" -> {
                var group = principal(kind, input);
                var answer = page("Users",
                        principals.values().stream().filter(p -> p.groups.contains(group.name))
                                .map(p -> describe(p, caller)).toList(),
                        input, pageSize);
                yield answer.set("Group", describe(group, caller));
            }
            case "PutRolePolicy", "PutUserPolicy", "PutGroupPolicy" ->
                change(() -> putInline(principal(kind, input), input, caller));
            case "GetRolePolicy", "GetUserPolicy", "GetGroupPolicy" -> {
                var principal = principal(kind, input);
                var name = input.get("PolicyName").asText();
                if (!principal.inline.containsKey(name)) throw noSuchInline(principal, name);
                yield Models.JSON.createObjectNode().put(nameOf(kind), principal.name).put("PolicyName", name)
                        .put("PolicyDocument", encode(principal.inline.get(name)));
            }
            case "DeleteRolePolicy", "DeleteUserPolicy", "DeleteGroupPolicy" -> change(() -> {
                var principal = modifiable(principal(kind, input));
                var name = input.get("PolicyName").asText();
                if (!principal.inline.containsKey(name)) throw noSuchInline(principal, name);
                principal.inline.remove(name);
            });
            case "ListRolePolicies", "ListUserPolicies", "ListGroupPolicies" ->
                page("PolicyNames",
                        principal(kind, input).inline.keySet().stream()
                                .map(name -> Models.JSON.getNodeFactory().textNode(name)).toList(),
                            input, pageSize);
            case "AttachRolePolicy", "AttachUserPolicy", "AttachGroupPolicy" -> change(() -> {
                var principal = modifiable(principal(kind, input));
                var policy = managed(input, caller);
                if (principal.attached.size() >= ATTACHED_QUOTA && !principal.attached.contains(policy.resource)) {
                    throw limit("Cannot exceed quota for PoliciesPer" + capital(kind) + ": " + ATTACHED_QUOTA);
                }
                principal.attached.add(policy.resource);
            });
            case "DetachRolePolicy", "DetachUserPolicy", "DetachGroupPolicy" -> change(() -> {
                var principal = modifiable(principal(kind, input));
                if (!principal.attached.contains(resource(input, caller))) {
                    throw noSuch("Policy " + input.get("PolicyArn").asText() + " was not found.");
                }
                principal.attached.remove(resource(input, caller));
            });
            case "ListAttachedRolePolicies", "ListAttachedUserPolicies", "ListAttachedGroupPolicies" ->
                    page("AttachedPolicies", principal(kind, input).attached.stream().map(policies::get)
                        .map(p -> Models.JSON.createObjectNode().put("PolicyName", p.name).put("PolicyArn",
                                arn(p, caller)))
                        .toList(), input, pageSize);
            case "CreatePolicy" -> createPolicy(input, caller);
            case "GetPolicy" -> node("Policy", describe(managed(input, caller), caller, true));
            case "TagPolicy" -> {
                var policy = own(managed(input, caller));
                putTags(policy, input);
                yield null;
            }
            case "DeletePolicy" -> change(() -> deletePolicy(own(managed(input, caller))));
            case "CreatePolicyVersion" -> createVersion(own(managed(input, caller)), input, caller);
            case "GetPolicyVersion" -> {
                var policy = managed(input, caller);
                var version = version(policy, input);
                yield node("PolicyVersion",
                        describe(policy, version).put("Document", encode(policy.versions.get(version))));
            }
            case "ListPolicyVersions" -> {
                var policy = managed(input, caller);
                var newestFirst = new ArrayList<JsonNode>();
                policy.versions.keySet().forEach(version -> newestFirst.add(0, describe(policy, version)));
                yield page("Versions", newestFirst, input, pageSize);
            }
            case "SetDefaultPolicyVersion" -> change(() -> {
                var policy = own(managed(input, caller));
                policy.defaultVersion = version(policy, input);
            });
            case "DeletePolicyVersion" -> {
                var policy = own(managed(input, caller));
                if (version(policy, input).equals(policy.defaultVersion)) {
                    throw new AwsError(409, "DeleteConflict", "Cannot delete the default version of a policy.");
                }
                policy.versions.remove(version(policy, input));
                yield null;
            }
            case "ListEntitiesForPolicy" -> entities(managed(input, caller), input);
            case "SimulatePrincipalPolicy" -> simulatePrincipal(input, caller);
            case "SimulateCustomPolicy" -> simulate(input, caller.iamArn("user/simulated"),
                    given(input, "PolicyInputList", caller),
                    given(input, "PermissionsBoundaryPolicyInputList", caller), List.of());
            case "GetAccountAuthorizationDetails" -> authorizationDetails(input, caller);
            case "ListRoles", "ListUsers" -> page(capital(kind) + "s", principals.values().stream()
                    .filter(p -> p.kind.equals(kind)).map(p -> describe(p, caller)).toList(), input, pageSize);
            default -> throw new AwsError("InvalidAction", operation);
        };
    }

    private ObjectNode named(ObjectNode input, Caller caller) {
        if (input.hasNonNull("UserName") || input.hasNonNull("RoleName")) return input;
        if (!caller.arn().contains(":user/")) {
            throw new AwsError("ValidationError", "Must specify userName when calling with non-User credentials");
        }
        return input.deepCopy().put("UserName", caller.arn().substring(caller.arn().lastIndexOf('/') + 1));
    }

    private Principal principal(String kind, ObjectNode input) {
        var name = input.get(nameOf(kind)).asText();
        var principal = principals.get(kind + "/" + name);
        if (principal == null) throw noSuch("The " + kind + " with name " + name + " cannot be found.");
        return principal;
    }

    private static Principal modifiable(Principal principal) {
        if (principal.path.startsWith("/aws-service-role/")) {
            throw new AwsError("UnmodifiableEntity",
                    "Cannot perform the operation on the protected role '" + principal.name
                    + "' - this role is only modifiable by AWS");
        }
        return principal;
    }

    private ObjectNode describe(Principal principal, Caller caller) {
        var described = Models.JSON.createObjectNode().put("Path", principal.path)
                .put(nameOf(principal.kind), principal.name)
                .put(capital(principal.kind) + "Id", principal.id)
                .put("Arn", "arn:" + caller.partition() + ":iam::" + caller.account() + ":" + principal.resource())
                        .put("CreateDate", principal.created.getEpochSecond());
        if (!principal.description.isEmpty()) described.put("Description", principal.description);
        if (principal.trust != null) {
            described.put("AssumeRolePolicyDocument", encode(principal.trust))
                    .put("MaxSessionDuration", principal.maxSessionDuration);
        }
        if (principal.boundary != null) {
            described.putObject("PermissionsBoundary").put("PermissionsBoundaryType", "Policy")
                    .put("PermissionsBoundaryArn", arn(policies.get(principal.boundary), caller));
        }
        return described;
    }

    private JsonNode createRole(ObjectNode input, Caller caller) {
        for (var member : List.of("Tags", "PermissionsBoundary"))
            if (input.hasNonNull(member))
                throw new AwsError("InvalidInput", "The embedded AWS does not offer " + member);
        var name = input.get("RoleName").asText();
        if (principals.values().stream().anyMatch(p -> p.kind.equals("role") && p.name.equalsIgnoreCase(name)))
            throw new AwsError(409, "EntityAlreadyExists", "Role with name " + name + " already exists.");
        checkTrust(input.get("AssumeRolePolicyDocument").asText());
        var role = create("role", input.path("Path").asText("/").substring(1) + name);
        role.trust = input.get("AssumeRolePolicyDocument").asText();
        role.description = input.path("Description").asText("");
        role.maxSessionDuration = input.path("MaxSessionDuration").asInt(3600);
        role.usesInVain = earlyRoleUses;
        return node("Role", describe(role, caller));
    }

    private void deleteRole(Principal role) {
        if (!role.inline.isEmpty())
            throw new AwsError(409, "DeleteConflict", "Cannot delete entity, must delete policies first.");
        if (!role.attached.isEmpty())
            throw new AwsError(409, "DeleteConflict", "Cannot delete entity, must detach all policies first.");
        principals.remove("role/" + role.name);
    }

    /** A policy that says who may assume a role: it names principals, which exist, and no resource. */
    private void checkTrust(String text) {
        JsonNode policy;
        try {
            policy = STRICT.readTree(text);
        } catch (JsonProcessingException e) {
            throw malformed("This policy contains invalid Json");
        }
        only(policy, "Version|Id|Statement");
        if (!policy.path("Statement").isContainerNode() || policy.get("Statement").isEmpty())
            throw malformed("Syntax errors in policy.");
        for (var statement : Kms.list(policy.get("Statement"))) {
            if (statement.has("Resource") || statement.has("NotResource"))
                throw malformed("Has prohibited field Resource");
            only(statement, "Sid|Effect|Principal|NotPrincipal|Action|NotAction|Condition");
            if (!statement.path("Effect").asText().matches("Allow|Deny")) throw malformed("Syntax errors in policy.");
            for (var action : oneOf(statement, "Action", "actions"))
                if (!action.matches("sts:\\w+|\\*")) throw malformed("AssumeRole policy may only specify STS "
                        + "AssumeRole actions");
            var principal = statement.path("Principal");
            if (principal.isMissingNode()) throw malformed("Missing required field Principal");
            for (var service : Kms.list(principal.path("Service")))
                if (!service.asText().matches("[a-z0-9-]+(\\.[a-z0-9-]+)*\\.amazonaws\\.com(\\.cn)?"))
                    throw malformed("Invalid principal in policy: \"SERVICE\":\"" + service.asText() + "\"");
            for (var arn : Kms.list(principal.path("AWS"))) checkTrusted(arn.asText());
            checkCondition(statement.path("Condition"));
        }
    }

    private void checkTrusted(String principal) {
        if (principal.matches("\\*|\\d{12}")) return;
        var fields = principal.split(":", 6);
        var trusted = fields.length < 6 ? null : aws.known(fields[4]);
        if (trusted == null || !trusted.iam.exists(principal))
            throw malformed("Invalid principal in policy: \"AWS\":\"" + principal + "\"");
    }

    private void putInline(Principal principal, ObjectNode input, Caller caller) {
        var document = input.get("PolicyDocument").asText();
        modifiable(principal);
        checkPolicy(document, caller);
        var size = size(document);
        for (var other : principal.inline.entrySet()) {
            if (!other.getKey().equals(input.get("PolicyName").asText())) size += size(other.getValue());
        }
        if (size > INLINE_QUOTA.get(principal.kind)) {
            throw limit("Maximum policy size of " + INLINE_QUOTA.get(principal.kind) + " bytes exceeded for "
                    + principal.kind + " " + principal.name);
        }
        principal.inline.put(input.get("PolicyName").asText(), document);
    }

    private JsonNode createPolicy(ObjectNode input, Caller caller) {
        var document = input.get("PolicyDocument").asText();
        checkPolicy(document, caller);
        if (size(document) > MANAGED_QUOTA) throw limit("Cannot exceed quota for PolicySize: " + MANAGED_QUOTA);
        var name = input.get("PolicyName").asText();
        if (policies.values().stream().anyMatch(p -> p.name.equalsIgnoreCase(name) && !p.resource.startsWith("aws:"))) {
            throw new AwsError(409, "EntityAlreadyExists",
                    "A policy called " + name + " already exists. Duplicate names are not allowed.");
        }
        var policy = new Managed("policy" + input.path("Path").asText("/") + name, input.path("Description").asText(""),
                document, aws.now());
        putTags(policy, input);
        policies.put(policy.resource, policy);
        return node("Policy", describe(policy, caller, false));
    }

    private void deletePolicy(Managed policy) {
        if (holders(policy).findAny().isPresent()) {
            throw new AwsError(409, "DeleteConflict", "Cannot delete a policy attached to entities.");
        }
        if (policy.versions.size() > 1) {
            throw new AwsError(409, "DeleteConflict",
                    "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                            + "versions. The default version is deleted with the policy.");
        }
        policies.remove(policy.resource);
    }

    private JsonNode createVersion(Managed policy, ObjectNode input, Caller caller) {
        var document = input.get("PolicyDocument").asText();
        checkPolicy(document, caller);
        if (size(document) > MANAGED_QUOTA) throw limit("Cannot exceed quota for PolicySize: " + MANAGED_QUOTA);
        if (policy.versions.size() >= VERSIONS) {
            throw limit("A managed policy can have up to " + VERSIONS
                    + " versions. Before you create a new version, you must delete an existing version.");
        }
        return change(() -> {
            var version = policy.addVersion(document);
            if (input.path("SetAsDefault").asBoolean()) policy.defaultVersion = version;
            return node("PolicyVersion", describe(policy, version));
        });
    }

    private Stream<Principal> holders(Managed policy) {
        return principals.values().stream().filter(p -> p.attached.contains(policy.resource));
    }

    private String arn(Managed policy, Caller caller) {
        return "arn:" + caller.partition() + ":iam::"
                + (policy.resource.startsWith("aws:") ? "" : caller.account() + ":") + policy.resource;
    }

    private static String resource(ObjectNode input, Caller caller) {
        var arn = input.get("PolicyArn").asText();
        var own = "arn:" + caller.partition() + ":iam::" + caller.account() + ":";
        var others = "arn:" + caller.partition() + ":iam::aws:";
        if (!arn.startsWith(own + "policy/") && !arn.startsWith(others + "policy/")) {
            throw new AwsError("InvalidInput", "ARN " + arn + " is not valid.");
        }
        return arn.startsWith(own) ? arn.substring(own.length()) : "aws:" + arn.substring(others.length());
    }

    /** The policy of this ARN, which must be of this account or AWS's. */
    synchronized Policy managed(String arn) {
        return policies.values().stream()
                .filter(p -> arn.endsWith(p.resource.startsWith("aws:") ? ":iam::" + p.resource
                        : ":iam::" + account + ":" + p.resource))
                .map(p -> policyOf(p.resource)).findFirst()
                .orElseThrow(() -> new AwsError("MalformedPolicyDocument", "Policy " + arn + " does not exist"));
    }

    private Managed managed(ObjectNode input, Caller caller) {
        var policy = policies.get(resource(input, caller));
        if (policy == null) {
            throw noSuch("Policy " + input.get("PolicyArn").asText() + " does not exist or is not attachable.");
        }
        return policy;
    }

    private static Managed own(Managed policy) {
        if (policy.resource.startsWith("aws:")) {
            throw new AwsError(403, "AccessDenied", "AWS's own policies cannot be changed");
        }
        return policy;
    }

    private static String version(Managed policy, ObjectNode input) {
        var version = input.get("VersionId").asText();
        if (!policy.versions.containsKey(version)) {
            throw noSuch("Policy " + policy.name + " version " + version + " does not exist or is not attachable.");
        }
        return version;
    }

    private ObjectNode describe(Managed policy, Caller caller, boolean whole) {
        var described = Models.JSON.createObjectNode().put("PolicyName", policy.name).put("PolicyId", policy.id)
                .put("Arn", arn(policy, caller))
                .put("Path",
                        policy.resource.substring(policy.resource.indexOf('/'), policy.resource.lastIndexOf('/') + 1))
                        .put("DefaultVersionId", policy.defaultVersion)
                .put("AttachmentCount", holders(policy).count()).put("IsAttachable", true)
                .put("PermissionsBoundaryUsageCount",
                        principals.values().stream().filter(p -> policy.resource.equals(p.boundary)).count())
                .put("CreateDate", policy.created.getEpochSecond()).put("UpdateDate", policy.created.getEpochSecond());
        if (whole && !policy.description.isEmpty()) described.put("Description", policy.description);
        policy.tags
                .forEach((key, value) -> described.withArray("Tags").addObject().put("Key", key).put("Value", value));
        return described;
    }

    private static ObjectNode describe(Managed policy, String version) {
        return Models.JSON.createObjectNode().put("VersionId", version)
                .put("IsDefaultVersion", version.equals(policy.defaultVersion))
                .put("CreateDate", policy.created.getEpochSecond());
    }

    private static void putTags(Managed policy, ObjectNode input) {
        for (var tag : input.path("Tags")) {
            if (tag.get("Key").asText().toLowerCase(Locale.ROOT).startsWith("aws:")) {
                throw new AwsError("InvalidInput", "System tags cannot be added/updated by requester");
            }
            policy.tags.put(tag.get("Key").asText(), tag.get("Value").asText());
        }
    }

    private JsonNode entities(Managed policy, ObjectNode input) {
        var holders = holders(policy).filter(
                p -> !input.hasNonNull("EntityFilter") || input.get("EntityFilter").asText().equalsIgnoreCase(p.kind))
                .map(p -> Models.JSON.createObjectNode().put(nameOf(p.kind), p.name).put(capital(p.kind) + "Id", p.id))
                .toList();
        var answer = page("All", holders, input, pageSize);
        var page = answer.remove("All");
        for (var kind : INLINE_QUOTA.keySet()) {
            answer.putArray("Policy" + capital(kind) + "s")
                    .addAll(page.valueStream().filter(p -> p.has(nameOf(kind))).toList());
        }
        return answer;
    }

    /** Users, groups, roles and policies in one list of pages; of AWS's own policies only those that are in use. */
    private JsonNode authorizationDetails(ObjectNode input, Caller caller) {
        var wanted = input.path("Filter").valueStream().map(JsonNode::asText).toList();
        var all = new ArrayList<JsonNode>();
        for (var kind : List.of("User", "Group", "Role")) {
            if (!wanted.isEmpty() && !wanted.contains(kind)) continue;
            principals.values().stream().filter(p -> capital(p.kind).equals(kind))
                    .map(p -> node(kind + "DetailList", details(p, caller))).forEach(all::add);
        }
        for (var policy : policies.values()) {
            var isAws = policy.resource.startsWith("aws:");
            // whether a policy of AWS that is only a boundary is listed is not documented
            var isUsed = !isAws || holders(policy).findAny().isPresent();
            if (isUsed && (wanted.isEmpty() || wanted.contains(isAws ? "AWSManagedPolicy" : "LocalManagedPolicy"))) {
                var described = describe(policy, caller, true);
                described.remove("Tags");
                policy.versions.forEach((version, document) -> described.withArray("PolicyVersionList")
                        .add(describe(policy, version).put("Document", encode(document))));
                all.add(node("Policies", described));
            }
        }
        var answer = page("All", all, input, authorizationDetailsPageSize);
        for (var item : answer.remove("All")) {
            item.properties().forEach(one -> answer.withArray(one.getKey()).add(one.getValue()));
        }
        return answer;
    }

    private ObjectNode details(Principal principal, Caller caller) {
        var details = describe(principal, caller);
        details.remove(List.of("Description", "MaxSessionDuration"));
        var inline = details.putArray(capital(principal.kind) + "PolicyList");
        principal.inline.forEach((name, document) -> inline.addObject().put("PolicyName", name)
                .put("PolicyDocument", encode(document)));
        var attached = details.putArray("AttachedManagedPolicies");
        principal.attached.stream().map(policies::get).forEach(policy -> attached.addObject()
                .put("PolicyName", policy.name).put("PolicyArn", arn(policy, caller)));
        if (principal.kind.equals("user")) principal.groups.forEach(details.putArray("GroupList")::add);
        principal.tags.forEach((key, value) -> details.withArray("Tags").addObject().put("Key", key)
                .put("Value", value));
        return details;
    }

    // The simulator

    /** A change that the simulator is slow to see, if a test says so. */
    private <T> T change(Supplier<T> step) {
        var before = simulatorLag > 0 && staleCalls == 0 ? allPolicies() : stale;
        var answer = step.get();
        if (simulatorLag > 0) {
            stale = before;
            staleCalls = simulatorLag;
        }
        return answer;
    }

    private JsonNode change(Runnable step) {
        return change(() -> {
            step.run();
            return null;
        });
    }

    private Map<String, List<Policy>> allPolicies() {
        var all = new HashMap<String, List<Policy>>();
        principals.forEach((name, principal) -> all.put(name, policiesOf(principal)));
        return all;
    }

    /** Its own policies and, for a user, those of its groups, with the ids that the simulator gives them. */
    private List<Policy> policiesOf(Principal principal) {
        var all = new ArrayList<Policy>();
        principal.inline.forEach(
                (name, document) -> all.add(Policy.of(principal.kind + "_" + principal.name + "_" + name, document)));
        principal.attached.forEach(resource -> all.add(policyOf(resource)));
        principal.groups.forEach(group -> all.addAll(policiesOf(principals.get("group/" + group))));
        return all;
    }

    private Policy policyOf(String resource) {
        var policy = policies.get(resource);
        return Policy.of(policy.name, policy.versions.get(policy.defaultVersion));
    }

    private JsonNode simulatePrincipal(ObjectNode input, Caller caller) {
        var source = input.get("PolicySourceArn").asText();
        if (!source.matches("arn:" + caller.partition() + ":iam::\\d{12}:(user|group|role)/.+")) {
            throw new AwsError("InvalidInput", "Invalid Entity Arn: " + source);
        }
        var principal = principals.values().stream()
                .filter(p -> source.endsWith("::" + caller.account() + ":" + p.resource())).findFirst()
                .orElseThrow(() -> noSuch("The entity " + source + " cannot be found."));
        var identity = new ArrayList<>(staleCalls > 0
                ? stale.getOrDefault(principal.kind + "/" + principal.name, List.of()) : policiesOf(principal));
        if (staleCalls > 0 && !input.hasNonNull("Marker")) staleCalls--;
        identity.addAll(given(input, "PolicyInputList", caller));
        var boundaries = new ArrayList<>(given(input, "PermissionsBoundaryPolicyInputList", caller));
        if (boundaries.isEmpty() && principal.boundary != null) boundaries.add(policyOf(principal.boundary));
        var organization = serviceControlPolicies.stream().map(text -> Policy.of("organization", text)).toList();
        return simulate(input, source, identity, boundaries, organization);
    }

    private JsonNode simulate(ObjectNode input, String source, List<Policy> identity, List<Policy> boundaries,
            List<Policy> organization) {
        var context = new LinkedHashMap<String, List<String>>();
        var lists = new HashSet<String>();
        for (var entry : input.path("ContextEntries")) {
            if (!entry.hasNonNull("ContextKeyName") || !entry.hasNonNull("ContextKeyType")) {
                throw new AwsError("InvalidInput", "Context entries must have a name and a type");
            }
            var values = entry.path("ContextKeyValues").valueStream().map(JsonNode::asText).toList();
            if (values.isEmpty() || values.size() > 1 && !entry.get("ContextKeyType").asText().endsWith("List")) {
                throw new AwsError("InvalidInput", "Context entry " + entry.get("ContextKeyName").asText() + " has "
                        + values.size() + " values for its type");
            }
            context.put(entry.get("ContextKeyName").asText(), values);
            if (entry.get("ContextKeyType").asText().endsWith("List")) lists.add(entry.get("ContextKeyName").asText());
        }
        var resources = input.path("ResourceArns").valueStream().map(JsonNode::asText).toList();
        var results = new ArrayList<JsonNode>();
        for (var action : input.get("ActionNames")) {
            if (!action.asText().matches("[a-z0-9-]+:[A-Za-z0-9]+") || unknownToSimulator.contains(action.asText())) {
                throw new AwsError("InvalidInput", "Invalid Action: " + action.asText());
            }
            var found = (resources.isEmpty() ? List.of("*") : resources).stream()
                    .map(resource -> result(new Request(source, action.asText(), resource, context, lists), identity,
                            boundaries, organization))
                    .toList();
            results.addAll(simulatorGroupsResources ? List.of(together(found)) : found);
        }
        return page("EvaluationResults", results, input, simulatorPageSize);
    }

    /** The results of one action on several resources as one: the strictest of them, with what it is on each. */
    private static ObjectNode together(List<ObjectNode> results) {
        var strictest = Stream.of(Decision.explicitDeny, Decision.implicitDeny, Decision.allowed)
                .flatMap(decision -> results.stream()
                        .filter(result -> result.path("EvalDecision").asText().equals(decision.name())))
                .findFirst().orElseThrow().deepCopy();
        if (results.size() > 1) {
            var specific = strictest.putArray("ResourceSpecificResults");
            results.forEach(
                    result -> specific.addAll(result.path("ResourceSpecificResults").valueStream().toList()));
        }
        return strictest;
    }

    private static ObjectNode result(Request request, List<Policy> identity, List<Policy> boundaries,
            List<Policy> organization) {
        var decided = PolicyEvaluator.decide(request, identity, null, boundaries);
        var decision = decided.decision();
        var byOrganization = organization.isEmpty() ? Decision.allowed
                : PolicyEvaluator.evaluate(request, organization).decision();
        if (byOrganization == Decision.explicitDeny || decision == Decision.allowed) decision = byOrganization;
        var result = Models.JSON.createObjectNode().put("EvalActionName", request.action())
                .put("EvalResourceName", request.resource())
                .put("EvalDecision", decision.name());
        if (!organization.isEmpty()) {
            result.putObject("OrganizationsDecisionDetail")
                    .put("AllowedByOrganizations", byOrganization == Decision.allowed);
        }
        var policyIds = decided.matched().stream().map(PolicyEvaluator.Match::policyId).toList();
        for (var match : new LinkedHashSet<>(policyIds)) {
            result.withArray("MatchedStatements").addObject().put("SourcePolicyId", match).put("SourcePolicyType",
                    "IAM Policy");
        }
        if (!boundaries.isEmpty()) {
            result.putObject("PermissionsBoundaryDecisionDetail")
                    .put("AllowedByPermissionsBoundary",
                            PolicyEvaluator.evaluate(request, boundaries).decision() == Decision.allowed);
        }
        if (request.resource().equals("*")) {
            decided.missingKeys().forEach(result.putArray("MissingContextValues")::add);
            return result;
        }
        var specific = result.deepCopy();
        specific.remove(List.of("EvalActionName", "EvalDecision", "OrganizationsDecisionDetail"));
        specific.put("EvalResourceDecision", decision.name());
        decided.missingKeys().forEach(specific.putArray("MissingContextValues")::add);
        result.putArray("ResourceSpecificResults").add(specific);
        return result;
    }

    private List<Policy> given(ObjectNode input, String list, Caller caller) {
        var given = new ArrayList<Policy>();
        for (var document : input.path(list)) {
            try {
                checkPolicy(document.asText(), caller);
            } catch (AwsError e) {
                throw new AwsError("InvalidInput",
                        "Policy input " + (given.size() + 1) + " is not valid: " + e.getMessage());
            }
            given.add(Policy.of(list + "." + (given.size() + 1), document.asText()));
        }
        return given;
    }

    // The grammar of identity policies

    static void checkPolicy(String text, Caller caller) {
        JsonNode policy;
        try {
            policy = STRICT.readTree(text);
        } catch (JsonProcessingException e) {
            throw malformed("Syntax errors in policy.");
        }
        var sids = new HashSet<String>();
        only(policy, "Version|Id|Statement");
        if (!policy.path("Version").asText("2008-10-17").matches("2012-10-17|2008-10-17")) {
            throw malformed("Syntax errors in policy.");
        }
        if (!policy.path("Statement").isContainerNode() || policy.get("Statement").isEmpty()) {
            throw malformed("Syntax errors in policy.");
        }
        for (var statement : Kms.list(policy.get("Statement"))) {
            if (statement.has("Principal") || statement.has("NotPrincipal")) {
                throw malformed("Policy document should not specify a principal.");
            }
            only(statement, "Sid|Effect|Action|NotAction|Resource|NotResource|Condition");
            if (!statement.path("Effect").asText().matches("Allow|Deny")) throw malformed("Syntax errors in policy.");
            var sid = statement.path("Sid").asText("");
            if (!sid.matches("[0-9A-Za-z]*")) {
                throw malformed(
                        "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular "
                                + "expression [0-9A-Za-z]*");
            }
            if (!sid.isEmpty() && !sids.add(sid)) {
                throw malformed("Statement IDs (SID) in a single policy must be unique.");
            }
            for (var action : oneOf(statement, "Action", "actions")) {
                if (!action.equals("*") && !action.matches("[a-zA-Z0-9-]+:[\\w*?]+")) {
                    throw malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");
                }
            }
            for (var resource : oneOf(statement, "Resource", "resources")) checkResource(resource, caller);
            checkCondition(statement.path("Condition"));
        }
    }

    private static void only(JsonNode node, String members) {
        if (!node.isObject()) throw malformed("Syntax errors in policy.");
        node.fieldNames().forEachRemaining(name -> {
            if (!name.matches(members)) throw malformed("Syntax errors in policy.");
        });
    }

    /** The values of the element or of its negation, of which there must be one. */
    private static List<String> oneOf(JsonNode statement, String element, String what) {
        if (statement.has(element) == statement.has("Not" + element)) {
            throw malformed("Policy statement must contain " + what + ".");
        }
        var values = Kms.list(statement.path(statement.has(element) ? element : "Not" + element));
        if (values.isEmpty()) throw malformed("Policy statement must contain " + what + ".");
        if (!values.stream().allMatch(JsonNode::isTextual)) throw malformed("Syntax errors in policy.");
        return values.stream().map(JsonNode::asText).toList();
    }

    private static void checkResource(String resource, Caller caller) {
        if (resource.equals("*")) return;
        var parts = resource.split(":", 6);
        if (!parts[0].equals("arn") || parts.length < 6) {
            throw malformed("Resource " + resource + " must be in ARN format or \"*\".");
        }
        if (!parts[1].equals("*") && !parts[1].equals(caller.partition())) {
            throw malformed("Partition \"" + parts[1] + "\" is not valid for resource \"" + resource + "\".");
        }
        if (!parts[2].matches("[a-z0-9-]+")) {
            throw malformed("Resource vendor must be fully qualified and cannot contain regexes.");
        }
    }

    private static void checkCondition(JsonNode condition) {
        if (condition.isMissingNode()) return;
        if (!condition.isObject()) throw malformed("Syntax errors in policy.");
        for (var operator : condition.properties()) {
            if (!PolicyEvaluator.OPERATOR.matcher(operator.getKey()).matches()) {
                throw malformed("Invalid Condition type : " + operator.getKey() + ".");
            }
            if (!operator.getValue().isObject()) throw malformed("Syntax errors in policy.");
            for (var key : operator.getValue().properties()) {
                if (!key.getKey().matches("[a-zA-Z0-9-]+:.+")) {
                    throw malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");
                }
                if (Kms.list(key.getValue()).stream().anyMatch(value -> !value.isValueNode() || value.isNull())) {
                    throw malformed("Syntax errors in policy.");
                }
            }
        }
    }

    // Small things

    private static ObjectNode page(String name, List<? extends JsonNode> items, ObjectNode input, int size) {
        var from = 0;
        if (input.hasNonNull("Marker")) {
            if (!input.get("Marker").asText().matches("AAF\\d{1,6}/=")) {
                throw new AwsError("ValidationError", "Invalid Marker.");
            }
            from = Math.min(Integer.parseInt(input.get("Marker").asText().replaceAll("\\D", "")), items.size());
        }
        var to = Math.min(items.size(), from + Math.min(size, input.path("MaxItems").asInt(100)));
        var answer = Models.JSON.createObjectNode().put("IsTruncated", to < items.size());
        if (to < items.size()) answer.put("Marker", "AAF" + to + "/=");
        answer.putArray(name).addAll(items.subList(from, to));
        return answer;
    }

    private static int size(String document) {
        return document.replaceAll("\\s", "").length();
    }

    /** As IAM gives documents back: percent-encoded by RFC 3986. */
    private static String encode(String document) {
        return URLEncoder.encode(document, StandardCharsets.UTF_8).replace("+", "%20").replace("*", "%2A")
                .replace("%7E", "~");
    }

    private static ObjectNode node(String name, JsonNode value) {
        return Models.JSON.createObjectNode().set(name, value);
    }

    private static String newId(String prefix) {
        return prefix + UUID.randomUUID().toString().replace("-", "").substring(0, 17).toUpperCase(Locale.ROOT);
    }

    private static String capital(String word) {
        return word.substring(0, 1).toUpperCase(Locale.ROOT) + word.substring(1);
    }

    private static String nameOf(String kind) {
        return capital(kind) + "Name";
    }

    private static AwsError noSuchInline(Principal principal, String name) {
        return noSuch("The " + principal.kind + " policy with name " + name + " cannot be found.");
    }

    private static AwsError noSuch(String message) {
        return new AwsError(404, "NoSuchEntity", message);
    }

    private static AwsError limit(String message) {
        return new AwsError(409, "LimitExceeded", message);
    }

    private static AwsError malformed(String message) {
        return new AwsError("MalformedPolicyDocument", message);
    }
}
