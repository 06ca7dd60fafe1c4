package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.regex.Pattern;
import localaws.PolicyEvaluator.Decision;

/**
 * Lambda: functions with their versions and aliases, and the policies of each. Nothing runs: what functions are invoked
 * with is kept. Rules from the Lambda API Reference unless another source is named.
 */
public final class Lambda implements LocalAws.Service {
    /**
     * @param qualifier the version or alias that was invoked, or ""
     * @param principal the service that invoked it, such as codecommit.amazonaws.com
     */
    public record Invocation(Instant time, String qualifier, String principal, JsonNode payload) { }

    /** The statements that one version or alias has, or the function itself. */
    private static final class Policy {
        final Map<String, ObjectNode> statements = new TreeMap<>();
        String revisionId = UUID.randomUUID().toString();

        /** Null when there is no statement. */
        synchronized String text() {
            if (statements.isEmpty()) return null;
            var policy = Models.JSON.createObjectNode().put("Version", "2012-10-17").put("Id", "default");
            statements.values().forEach(policy.putArray("Statement")::add);
            return policy.toString();
        }

        synchronized void put(String sid, ObjectNode statement) {
            if (statement == null) statements.remove(sid);
            else statements.put(sid, statement);
            revisionId = UUID.randomUUID().toString();
        }
    }

    /** One function; tests may look at it and change it. */
    public static final class Function {
        public final String name;
        public final String arn;
        /** Pending, Active, Inactive or Failed. */
        public volatile String state = "Active";
        public volatile String stateReason;
        private final Map<String, Policy> policies = LocalAws.concurrentMap();
        private final Map<String, String> aliases = LocalAws.sortedMap();
        private final List<Invocation> invocations = new ArrayList<>();
        private final ObjectNode settings;
        private final Instant modified;
        private final String revisionId = UUID.randomUUID().toString();
        private int versions;
        private int looksWhilePending;

        Function(String arn, ObjectNode settings, Instant modified) {
            this.arn = arn;
            this.name = arn.substring(arn.lastIndexOf(':') + 1);
            this.settings = settings;
            this.modified = modified;
        }

        /** Gives the new version's number. */
        public synchronized String publish() {
            return String.valueOf(++versions);
        }

        public Function alias(String aliasName, String version) {
            aliases.put(aliasName, version);
            return this;
        }

        /** As a new one, which the next so many looks show as Pending. */
        public synchronized void pending(int looks) {
            state = "Pending";
            looksWhilePending = looks;
        }

        /** With its policy, which nothing keeps. */
        public void deleteAlias(String aliasName) {
            aliases.remove(aliasName);
            policies.remove(aliasName);
        }

        /**
         * The policy of a version or alias, or of the function itself: qualifier "". Null when there is none.
         */
        public String policy(String qualifier) {
            var policy = policies.get(qualifier);
            return policy == null ? null : policy.text();
        }

        /** Sets or, with null, removes a statement, as somebody else would. */
        public Function statement(String qualifier, String sid, ObjectNode statement) {
            own(qualifier).put(sid, statement);
            return this;
        }

        /** What it was invoked with, oldest first. */
        public synchronized List<Invocation> invocations() {
            return List.copyOf(invocations);
        }

        private synchronized void invoke(Invocation invocation) {
            invocations.add(invocation);
        }

        private Policy own(String qualifier) {
            return policies.computeIfAbsent(qualifier, q -> new Policy());
        }

        private synchronized boolean has(String qualifier) {
            return qualifier.isEmpty() || qualifier.equals("$LATEST") || aliases.containsKey(qualifier)
                    || qualifier.matches("\\d{1,9}") && Integer.parseInt(qualifier) <= versions
                            && Integer.parseInt(qualifier) > 0;
        }

        /** The state that a look shows: a new function is Pending for some of them. */
        private synchronized String look() {
            if (state.equals("Pending") && looksWhilePending-- <= 0) state = "Active";
            return state;
        }
    }

    /** What a request names: a function of any account and a qualifier, "" for none. */
    private record Named(String arn, String qualifier) {
        String qualified() {
            return qualifier.isEmpty() ? arn : arn + ":" + qualifier;
        }
    }

    private static final String PRINCIPAL = "lambda.amazonaws.com";
    private static final int POLICY_BYTES = 20 * 1024;
    private static final Pattern NAME = Pattern.compile(
            "(?:arn:aws[a-z-]*:lambda:)?(?:([a-z]{2}(?:-[a-z]+)+-\\d):)?(?:(\\d{12}):)?(?:function:)?"
                    + "([a-zA-Z0-9_-]{1,64})(?::([$a-zA-Z0-9_-]+))?");
    private static final Set<String> CREATE_OFFERED = Set.of("FunctionName", "Role", "Runtime", "Handler", "Code",
            "Description", "Publish", "Timeout", "MemorySize", "PackageType");

    private final LocalAws aws;
    private final String account;
    private final Map<String, Map<String, Function>> regions = LocalAws.concurrentMap();
    /** How many looks at a new function show it as Pending. */
    public volatile int looksWhilePending = 1;
    /** How many functions a page has; AWS's own pages are longer. */
    public volatile int pageSize = 3;

    Lambda(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    /** A function that is ready, made without a call. */
    public Function createFunction(String region, String name) {
        var settings = Models.JSON.createObjectNode().put("Runtime", "python3.12").put("Handler", "index.handler")
                .put("Role", new Caller("", account, region).iamArn("role/function"));
        var function = new Function(new Caller("", account, region).arn("lambda", "function:" + name), settings,
                aws.now());
        in(region).put(name, function);
        return function;
    }

    /** The function, or null. */
    public Function function(String region, String name) {
        return in(region).get(name);
    }

    private Map<String, Function> in(String region) {
        return LocalAws.regional(regions, region, LocalAws::sortedMap);
    }

    /** The function of an ARN without qualifier, of any account, or null. */
    private Function find(String arn) {
        var fields = arn.split(":");
        var owner = aws.known(fields[4]);
        return owner == null ? null : owner.lambda.in(fields[3]).get(fields[6]);
    }

    // Invocations by services

    /**
     * Invokes a function for a service that acts for something of this account, if the policy of what is invoked lets
     * it: that of an alias or version is not the function's own.
     *
     * @param service     such as codecommit.amazonaws.com
     * @param sourceArn   the repository, rule ... that it acts for
     * @param functionArn with or without a version or alias
     * @throws AwsError as Lambda refuses it
     */
    void invokeFor(String service, String sourceArn, String functionArn, JsonNode payload) {
        var fields = functionArn.split(":");
        var named = new Named(String.join(":", List.of(fields).subList(0, 7)), fields.length > 7 ? fields[7] : "");
        var function = find(named.arn());
        if (function == null || !function.has(named.qualifier())) throw notFound(named);
        var need = new Need("lambda:InvokeFunction", functionArn).policy("function",
                function.policy(named.qualifier()));
        var result = aws.authorizer.decideForService(service, sourceArn, account, fields[3], need);
        if (result.decision() != Decision.allowed) {
            throw new AwsError(403, "AccessDeniedException", service + " is not authorized to perform: "
                    + "lambda:InvokeFunction on resource: " + functionArn + " " + result.reason());
        }
        if (!function.look().equals("Active")) {
            throw new AwsError(409, "ResourceConflictException", "The operation cannot be performed at this time. The "
                    + "function is currently in the following state: " + function.state);
        }
        function.invoke(new Invocation(aws.now(), named.qualifier(), service, payload));
    }

    // Permissions

    /** On the function, with the version or alias if the request names one. */
    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "lambda:" + operation;
        return switch (operation) {
            case "ListFunctions" -> List.of(new Need(action, "*"));
            case "CreateFunction" -> List.of(on(action, input, caller),
                    new Need("iam:PassRole", input.path("Role").asText()).key("iam:PassedToService", PRINCIPAL));
            case "AddPermission" ->
                List.of(on(action, input, caller).key("lambda:Principal", input.path("Principal").textValue()));
            case "RemovePermission" -> {
                var function = find(named(input, caller).arn());
                var statement = function == null ? null : function.own(named(input, caller).qualifier()).statements
                        .get(input.path("StatementId").asText());
                var principal = statement == null ? null : statement.path("Principal");
                yield List.of(on(action, input, caller).key("lambda:Principal", principal == null ? null
                        : principal.path("Service").asText(principal.path("AWS").asText(principal.asText()))));
            }
            case "CreateAlias", "GetFunction", "GetFunctionConfiguration", "GetPolicy", "PublishVersion" ->
                List.of(on(action, input, caller));
            default -> throw new IllegalStateException("no permission is known for lambda:" + operation);
        };
    }

    private Need on(String action, ObjectNode input, Caller caller) {
        var named = named(input, caller);
        var function = find(named.arn());
        return new Need(action, named.qualified()).policy("function",
                function == null ? null : function.policy(named.qualifier()));
    }

    private static Named named(ObjectNode input, Caller caller) {
        var given = NAME.matcher(input.path("FunctionName").asText());
        if (!given.matches()) throw invalid("Invalid function name: " + input.path("FunctionName").asText());
        if (given.group(1) != null && !given.group(1).equals(caller.region())) {
            throw new AwsError(404, "ResourceNotFoundException", "Functions from '" + given.group(1)
                    + "' are not reachable in this region ('" + caller.region() + "')");
        }
        var inName = given.group(4) == null ? "" : given.group(4);
        var qualifier = input.path("Qualifier").asText(inName);
        if (!inName.isEmpty() && !inName.equals(qualifier)) {
            throw invalid("The derived qualifier from the function name does not match the specified qualifier.");
        }
        var owner = given.group(2) == null ? caller.account() : given.group(2);
        return new Named(new Caller("", owner, caller.region()).arn("lambda", "function:" + given.group(3)), qualifier);
    }

    // Operations

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        var refusal = LocalAws.Service.super.invalid(operation, violations);
        return new AwsError(400, violations.get(0).rule() == Models.Rule.UNKNOWN ? "InvalidRequestContentException"
                : "ValidationException", refusal.getMessage());
    }

    @Override
    public AwsError refused(Need need, String message) {
        return new AwsError(403, "AccessDeniedException", message);
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        return switch (operation) {
            case "CreateFunction" -> create(input, caller);
            case "GetFunction" -> Models.JSON.createObjectNode().set("Configuration", shown(input, caller));
            case "GetFunctionConfiguration" -> shown(input, caller);
            case "ListFunctions" -> list(input, caller);
            case "PublishVersion" -> {
                for (var member : List.of("CodeSha256", "RevisionId")) {
                    if (input.hasNonNull(member)) throw invalid("The embedded AWS does not offer " + member);
                }
                var function = existing(named(input, caller));
                yield shown(function, function.publish(), caller);
            }
            case "CreateAlias" -> createAlias(input, caller);
            case "GetPolicy" -> {
                var named = named(input, caller);
                var policy = existing(named).own(named.qualifier());
                var text = policy.text();
                if (text == null) {
                    throw new AwsError(404, "ResourceNotFoundException",
                            "The resource you requested does not exist.");
                }
                yield Models.JSON.createObjectNode().put("Policy", text).put("RevisionId", policy.revisionId);
            }
            case "AddPermission" -> addPermission(input, caller);
            case "RemovePermission" -> removePermission(input, caller);
            default -> throw new AwsError(404, "UnknownOperationException", operation);
        };
    }

    private Function existing(Named named) {
        var function = find(named.arn());
        if (function == null || !function.has(named.qualifier())) throw notFound(named);
        return function;
    }

    private JsonNode create(ObjectNode input, Caller caller) {
        input.fieldNames().forEachRemaining(member -> {
            if (!CREATE_OFFERED.contains(member)) throw invalid("The embedded AWS does not offer " + member);
        });
        var named = named(input, caller);
        var name = named.arn().substring(named.arn().lastIndexOf(':') + 1);
        if (!input.hasNonNull("Runtime") || !input.hasNonNull("Handler")) {
            throw invalid("Runtime and Handler are mandatory parameters for functions created with deployment "
                    + "packages.");
        }
        if (!input.at("/Code/ZipFile").isTextual()) throw invalid("Please provide a source for function code.");
        if (find(named.arn()) != null) {
            throw new AwsError(409, "ResourceConflictException", "Function already exist: " + name);
        }
        var role = aws.account(account).iam.role(input.get("Role").asText());
        var assumed = role != null && aws.authorizer.decideForService(PRINCIPAL, null, null, caller.region(),
                new Need("sts:AssumeRole", input.get("Role").asText()).policy("trust", role.trust))
                .decision() == Decision.allowed;
        if (!assumed || !aws.account(account).iam.visibleToServices(role)) {
            throw invalid("The role defined for the function cannot be assumed by Lambda.");
        }
        var function = new Function(named.arn(), input.deepCopy(), aws.now());
        function.pending(looksWhilePending);
        in(caller.region()).put(name, function);
        return shown(function, input.path("Publish").asBoolean() ? function.publish() : "", caller);
    }

    private JsonNode shown(ObjectNode input, Caller caller) {
        var named = named(input, caller);
        var function = existing(named);
        function.look();
        return shown(function, named.qualifier(), caller);
    }

    private static ObjectNode shown(Function function, String qualifier, Caller caller) {
        var code = Base64.getDecoder().decode(function.settings.at("/Code/ZipFile").asText(""));
        var shown = Models.JSON.createObjectNode().put("FunctionName", function.name)
                .put("FunctionArn", new Named(function.arn, qualifier).qualified())
                .put("CodeSize", code.length)
                .put("CodeSha256", Base64.getEncoder().encodeToString(Credentials.sha256(code)))
                .put("Timeout", 3).put("MemorySize", 128).put("PackageType", "Zip")
                .put("LastModified", function.modified.toString().replaceFirst("(\\.\\d{3})?\\d*Z$", "$1+0000"))
                .put("Version", function.aliases.getOrDefault(qualifier, qualifier.isEmpty() ? "$LATEST" : qualifier))
                .put("RevisionId", function.revisionId).put("State", function.state)
                .put("LastUpdateStatus", "Successful");
        for (var member : List.of("Runtime", "Handler", "Role", "Description", "Timeout", "MemorySize")) {
            if (function.settings.hasNonNull(member)) shown.set(member, function.settings.get(member));
        }
        if (function.stateReason != null) shown.put("StateReason", function.stateReason);
        return shown;
    }

    private JsonNode list(ObjectNode input, Caller caller) {
        for (var member : List.of("MasterRegion", "FunctionVersion")) {
            if (input.hasNonNull(member)) throw invalid("The embedded AWS does not offer " + member);
        }
        var found = in(caller.region()).values().stream()
                .filter(function -> function.name.compareTo(input.path("Marker").asText("")) > 0).toList();
        var page = found.subList(0, Math.min(found.size(), Math.min(pageSize, input.path("MaxItems").asInt(50))));
        var answer = Models.JSON.createObjectNode();
        var functions = answer.putArray("Functions");
        page.forEach(function -> functions.add(shown(function, "", caller)));
        if (page.size() < found.size()) answer.put("NextMarker", page.get(page.size() - 1).name);
        return answer;
    }

    private JsonNode createAlias(ObjectNode input, Caller caller) {
        if (input.hasNonNull("RoutingConfig")) throw invalid("The embedded AWS does not offer RoutingConfig");
        var named = named(input, caller);
        var function = existing(named);
        var alias = new Named(named.arn(), input.get("Name").asText());
        var version = input.get("FunctionVersion").asText();
        if (function.aliases.containsKey(alias.qualifier())) {
            throw new AwsError(409, "ResourceConflictException", "Alias already exists: " + alias.qualified());
        }
        if (!version.equals("$LATEST") && !version.matches("\\d+") || !function.has(version)) {
            throw new AwsError(404, "ResourceNotFoundException",
                    "Function not found: " + new Named(named.arn(), version).qualified());
        }
        function.alias(alias.qualifier(), version);
        return Models.JSON.createObjectNode().put("AliasArn", alias.qualified()).put("Name", alias.qualifier())
                .put("FunctionVersion", version).put("Description", input.path("Description").asText(""))
                .put("RevisionId", UUID.randomUUID().toString());
    }

    private JsonNode addPermission(ObjectNode input, Caller caller) {
        for (var member : List.of("EventSourceToken", "FunctionUrlAuthType", "PrincipalOrgID")) {
            if (input.hasNonNull(member)) throw invalid("The embedded AWS does not offer " + member);
        }
        var named = named(input, caller);
        if (named.qualifier().equals("$LATEST")) {
            throw invalid("We currently do not support adding policies for $LATEST.");
        }
        var policy = existing(named).own(named.qualifier());
        var sid = input.get("StatementId").asText();
        checkRevision(policy, input);
        if (policy.statements.containsKey(sid)) {
            throw new AwsError(409, "ResourceConflictException", "The statement id (" + sid + ") provided already "
                    + "exists. Please provide a new statement id, or remove the existing statement.");
        }
        var statement = statement(input, named, caller);
        var length = (policy.text() == null ? 0 : policy.text().getBytes(StandardCharsets.UTF_8).length)
                + statement.toString().getBytes(StandardCharsets.UTF_8).length;
        if (length > POLICY_BYTES) {
            throw new AwsError("PolicyLengthExceededException",
                    "The final policy size (" + length + ") is bigger than the limit (" + POLICY_BYTES + ").");
        }
        policy.put(sid, statement);
        return Models.JSON.createObjectNode().put("Statement", statement.toString());
    }

    private ObjectNode statement(ObjectNode input, Named named, Caller caller) {
        var principal = input.get("Principal").asText();
        var statement = Models.JSON.createObjectNode().put("Sid", input.get("StatementId").asText())
                .put("Effect", "Allow");
        if (principal.equals("*")) {
            statement.put("Principal", "*");
        } else if (principal.matches("[a-z0-9.-]+\\.amazonaws\\.com(\\.cn)?")) {
            statement.putObject("Principal").put("Service", principal);
        } else if (aws.account(account).kms.isPrincipal(principal, caller)) {
            statement.putObject("Principal").put("AWS", principal.matches("\\d{12}")
                    ? new Caller("", principal, caller.region()).iamArn("root") : principal);
        } else {
            throw invalid("The provided principal was invalid. Please check the principal and try again.");
        }
        statement.put("Action", input.get("Action").asText()).put("Resource", named.qualified());
        if (input.hasNonNull("SourceAccount")) {
            statement.withObject("/Condition/StringEquals").set("AWS:SourceAccount", input.get("SourceAccount"));
        }
        if (input.hasNonNull("SourceArn")) {
            statement.withObject("/Condition/ArnLike").set("AWS:SourceArn", input.get("SourceArn"));
        }
        return statement;
    }

    private JsonNode removePermission(ObjectNode input, Caller caller) {
        var named = named(input, caller);
        var policy = existing(named).own(named.qualifier());
        var sid = input.get("StatementId").asText();
        if (!policy.statements.containsKey(sid)) {
            throw new AwsError(404, "ResourceNotFoundException",
                    "Statement " + sid + " is not found in resource policy.");
        }
        checkRevision(policy, input);
        policy.put(sid, null);
        return null;
    }

    private static void checkRevision(Policy policy, ObjectNode input) {
        if (input.hasNonNull("RevisionId") && !input.get("RevisionId").asText().equals(policy.revisionId)) {
            throw new AwsError(412, "PreconditionFailedException", "The RevisionId provided does not match the latest "
                    + "RevisionId. Call the GetFunction or the GetAlias API to retrieve the latest RevisionId of your "
                    + "resource.");
        }
    }

    private static AwsError notFound(Named named) {
        return new AwsError(404, "ResourceNotFoundException", "Function not found: " + named.qualified());
    }

    private static AwsError invalid(String message) {
        return new AwsError("InvalidParameterValueException", message);
    }
}
