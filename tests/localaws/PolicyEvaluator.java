package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiPredicate;
import java.util.regex.Pattern;

/**
 * Decides requests as IAM does: an explicit deny beats everything, and what nothing allows is denied. Rules are those
 * of the IAM User Guide (policy grammar, condition operators, variables, evaluation logic); PolicyEvaluatorTest
 * compares them with an independent evaluator. It serves the authorisation of every call and IAM's simulator.
 *
 * <p>A document is parsed once: what was made of it is kept by its text.
 */
public final class PolicyEvaluator {
    /** As the simulator spells it. */
    public enum Decision { allowed, explicitDeny, implicitDeny }

    /** A policy document and what a {@link Match} calls it. */
    public static final class Policy {
        private static final int KEPT = 10_000;
        private static final Map<String, Policy> BY_TEXT = new ConcurrentHashMap<>();

        private final String id;
        private final JsonNode document;
        private final List<Statement> statements;

        public Policy(String id, JsonNode document) {
            this(id, document, statements(document));
        }

        private Policy(String id, JsonNode document, List<Statement> statements) {
            this.id = id;
            this.document = document;
            this.statements = statements;
        }

        public static Policy of(String id, String text) {
            if (BY_TEXT.size() >= KEPT) BY_TEXT.clear();
            var parsed = BY_TEXT.computeIfAbsent(text, t -> new Policy("", parse(t)));
            return new Policy(id, parsed.document, parsed.statements);
        }

        private static JsonNode parse(String text) {
            try {
                return Models.JSON.readTree(text);
            } catch (JsonProcessingException e) {
                throw new IllegalArgumentException(e);
            }
        }

        private static List<Statement> statements(JsonNode document) {
            var variables = document.path("Version").asText().equals("2012-10-17");
            return list(document.path("Statement")).stream().map(node -> new Statement(node, variables)).toList();
        }

        public String id() {
            return id;
        }

        public JsonNode document() {
            return document;
        }
    }

    /**
     * @param principal the ARN of a user, a role or an assumed role's session, an account's root ARN, or a service such
     *                  as codebuild.amazonaws.com
     * @param resource  an ARN, or {@code *} for actions that have no resource
     * @param context   values by condition key; the letter case of keys does not matter, no value is as good as no key
     * @param lists     the keys that are lists even with a single value, besides those that AWS defines so
     */
    public record Request(String principal, String action, String resource, Map<String, List<String>> context,
            Set<String> lists) {
        public Request(String principal, String action, String resource, Map<String, List<String>> context) {
            this(principal, action, resource, context, Set.of());
        }

        /** Nearly always the policy spells the key as AWS does. */
        private List<String> values(String key) {
            var values = context.get(key);
            if (values != null) return values;
            for (var entry : context.entrySet())
                if (entry.getKey().equalsIgnoreCase(key)) return entry.getValue();
            return List.of();
        }

        private boolean isList(String key) {
            return values(key).size() > 1 || MULTIVALUED.contains(key.toLowerCase(Locale.ROOT))
                    || lists.contains(key);
        }
    }

    /** What a policy may have as an operator. */
    static final Pattern OPERATOR = Pattern.compile("(ForAllValues:|ForAnyValue:)?("
            + "String(Not)?(Equals(IgnoreCase)?|Like)|Arn(Not)?(Equals|Like)"
            + "|(Numeric|Date)(NotEquals|Equals|(LessThan|GreaterThan)(Equals)?)"
            + "|Bool|BinaryEquals|(Not)?IpAddress)(IfExists)?|Null");

    /** The keys that AWS defines as lists (Service Authorization Reference, types that begin with ArrayOf). */
    private static final Set<String> MULTIVALUED = Set.of("aws:calledvia", "aws:principalorgpaths",
            "aws:principalservicenameslist", "aws:resourceorgpaths", "aws:sourceorgpaths", "aws:tagkeys",
            "aws:vpceorgpaths", "events:detail-type", "events:eventbusarn", "events:source", "events:targetarn",
            "kms:encryptioncontextkeys", "kms:grantoperations", "kms:resourcealiases", "lambda:securitygroupids",
            "lambda:subnetids", "s3:requestobjecttagkeys", "sts:transitivetagkeys");

    /**
     * Everything that decides a request.
     *
     * @param identity   the policies of the principal and its groups
     * @param resource   of the resource (bucket, key, role), or null
     * @param boundaries the principal's permissions boundary: nothing but what one of these allows; empty for none
     * @param session    what AssumeRole was given: nothing but what one of these allows; empty for none
     * @param endpoint   of the VPC endpoint that the request came through, or null
     */
    public record Policies(List<Policy> identity, Policy resource, List<Policy> boundaries, List<Policy> session,
            Policy endpoint) {
        public static Policies of(List<Policy> identity) {
            return new Policies(identity, null, List.of(), List.of(), null);
        }
    }

    /** A statement that applies; the Sid is "" where it has none. */
    public record Match(String policyId, String sid) { }

    /**
     * @param missingKeys the condition keys that a statement for this action and resource asks for and the request does
     *                    not have
     * @param reason      of a refusal, in the words of AWS's messages; "" when it is allowed
     */
    public record Result(Decision decision, List<Match> matched, Set<String> missingKeys, String reason) { }

    /** How near a statement's Principal comes to who asks; a whole account's grant still needs an identity policy's. */
    private enum Reach { NONE, ACCOUNT, ROLE, SELF }

    /** What the policies of one kind say. */
    private record Group(String kind, boolean present, Map<Match, Reach> allows, List<Match> denies) {
        boolean allowed() {
            return !allows.isEmpty();
        }

        Reach reach() {
            return allows.values().stream().max(Reach::compareTo).orElse(Reach.NONE);
        }
    }

    private final Request request;
    private final Set<String> missing = new TreeSet<>(String.CASE_INSENSITIVE_ORDER);
    private boolean bounded;

    private PolicyEvaluator(Request request) {
        this.request = request;
    }

    /**
     * What these policies say by themselves, a Principal of theirs included: identity policies, an endpoint's policy,
     * one key policy.
     */
    public static Result evaluate(Request request, List<Policy> policies) {
        var evaluator = new PolicyEvaluator(request);
        var group = evaluator.group("identity-based policy", policies);
        return evaluator.result(group.allowed(), List.of(group), group);
    }

    public static Result decide(Request request, List<Policy> identity, Policy resourcePolicy,
            List<Policy> boundaries) {
        return decide(request, new Policies(identity, resourcePolicy, boundaries, List.of(), null));
    }

    /** What they say together. */
    public static Result decide(Request request, Policies policies) {
        var evaluator = new PolicyEvaluator(request);
        var identity = evaluator.group("identity-based policy", policies.identity);
        var boundary = evaluator.group("permissions boundary", policies.boundaries);
        evaluator.bounded = boundary.present;
        var session = evaluator.group("session policy", policies.session);
        var resource = evaluator.group("resource-based policy", one(policies.resource));
        var endpoint = evaluator.group("VPC endpoint policy", one(policies.endpoint));

        var inBounds = !boundary.present || boundary.allowed();
        var byIdentity = identity.allowed() && inBounds;
        var reach = resource.reach();
        // A grant to a user or a session stands above the boundary, a grant to a role does not.
        var byResource = reach == Reach.SELF || reach == Reach.ROLE && inBounds;
        boolean granted;
        if (!evaluator.sameAccount()) granted = byIdentity && reach != Reach.NONE;
        else if (resource.present && evaluator.needsTrust())
            granted = byResource || byIdentity && reach == Reach.ACCOUNT;
        else granted = byResource || byIdentity;
        var inSession = !session.present || session.allowed();
        var throughEndpoint = !endpoint.present || endpoint.allowed();

        Group lacking;
        if (!inSession) lacking = session;
        else if (!inBounds && !granted) lacking = boundary;
        else if (!throughEndpoint && granted) lacking = endpoint;
        else lacking = identity.allowed() ? resource : identity;
        return evaluator.result(granted && inSession && throughEndpoint,
                List.of(identity, boundary, session, resource, endpoint), lacking);
    }

    private static List<Policy> one(Policy policy) {
        return policy == null ? List.of() : List.of(policy);
    }

    private Result result(boolean allowed, List<Group> groups, Group lacking) {
        for (var group : groups)
            if (!group.denies.isEmpty()) {
                var denies = groups.stream().flatMap(g -> g.denies.stream()).toList();
                var article = group.kind.startsWith("i") ? "an " : "a ";
                return new Result(Decision.explicitDeny, denies, missing,
                        "with an explicit deny in " + article + group.kind);
            }
        if (!allowed)
            return new Result(Decision.implicitDeny, List.of(), missing,
                    "because no " + lacking.kind + " allows the " + request.action + " action");
        var allows = groups.stream().filter(g -> !g.kind.startsWith("permissions"))
                .flatMap(g -> g.allows.keySet().stream()).toList();
        return new Result(Decision.allowed, allows, missing, "");
    }

    /**
     * A key's policy and a role's trust policy are asked in the own account too: without a statement that trusts the
     * account, identity policies are not heard.
     */
    private boolean needsTrust() {
        return part(request.resource, 2).equals("kms") || request.action.startsWith("sts:");
    }

    private boolean sameAccount() {
        var account = request.values("aws:ResourceAccount").stream().findFirst().orElse(part(request.resource, 4));
        return account.isEmpty() || account.equals(part(request.principal, 4)) || !request.principal.startsWith("arn:");
    }

    private Group group(String kind, List<Policy> policies) {
        var allows = new LinkedHashMap<Match, Reach>();
        var denies = new ArrayList<Match>();
        for (var policy : policies)
            for (var statement : policy.statements) {
                var reach = reach(statement);
                if (reach == Reach.NONE || !action(statement) || !resource(statement) || !conditions(statement))
                    continue;
                var match = new Match(policy.id, statement.sid);
                if (statement.deny) denies.add(match);
                else allows.merge(match, reach, (a, b) -> a.compareTo(b) > 0 ? a : b);
            }
        return new Group(kind, !policies.isEmpty(), allows, denies);
    }

    // Statements as they are kept

    /** A statement, parsed. */
    private static final class Statement {
        final JsonNode node;
        final boolean deny;
        final String sid;
        final boolean notAction;
        final List<Pattern> actions;
        final boolean anyResource;
        final boolean notResource;
        final List<Template> resources;
        final List<Condition> conditions = new ArrayList<>();

        Statement(JsonNode node, boolean variables) {
            this.node = node;
            deny = node.path("Effect").asText().equals("Deny");
            sid = node.path("Sid").asText();
            notAction = node.has("NotAction");
            actions = list(node.path(notAction ? "NotAction" : "Action")).stream()
                    .map(a -> glob(Text.of(a.asText()), ".*", Pattern.CASE_INSENSITIVE)).toList();
            notResource = node.has("NotResource");
            // endpoint policies may leave it out
            anyResource = !notResource && !node.has("Resource");
            resources = list(node.path(notResource ? "NotResource" : "Resource")).stream()
                    .map(r -> new Template(r.asText(), variables)).toList();
            for (var operator : node.path("Condition").properties())
                for (var key : operator.getValue().properties())
                    conditions.add(new Condition(operator.getKey(), key.getKey(), list(key.getValue()), variables));
        }
    }

    /** A policy's text, which may have variables: without any, it is the same for every request. */
    private static final class Template {
        final String text;
        final Text fixed;
        final Pattern resource;

        Template(String text, boolean variables) {
            this.text = text;
            fixed = variables && text.contains("${") ? null : Text.of(text);
            resource = fixed == null ? null : PolicyEvaluator.resource(fixed);
        }
    }

    /** One key of one operator. */
    private static final class Condition {
        final String key;
        final boolean isNull;
        final boolean ifExists;
        final boolean negated;
        final String set;
        final List<Template> wanted;
        final BiPredicate<String, Text> compare;

        Condition(String operator, String key, List<JsonNode> values, boolean variables) {
            this.key = key;
            wanted = values.stream().map(value -> new Template(value.asText(), variables)).toList();
            isNull = operator.equals("Null");
            set = operator.contains(":") ? operator.substring(0, operator.indexOf(':')) : "";
            if (!Set.of("", "ForAllValues", "ForAnyValue").contains(set)) throw new IllegalArgumentException(operator);
            ifExists = operator.endsWith("IfExists");
            var name = operator.substring(set.isEmpty() ? 0 : set.length() + 1,
                    operator.length() - (ifExists ? "IfExists".length() : 0));
            negated = name.contains("Not");
            compare = isNull ? null : comparison(name.replace("Not", ""));
        }
    }

    // Principal, NotPrincipal

    private Reach reach(Statement statement) {
        var node = statement.node;
        if (node.has("Principal")) return reach(node.get("Principal"));
        if (!node.has("NotPrincipal")) return Reach.SELF;
        if (!statement.deny) return reach(node.get("NotPrincipal")) == Reach.NONE ? Reach.SELF : Reach.NONE;
        // who has a permissions boundary is denied, whatever NotPrincipal says (User Guide, "Permissions boundaries")
        if (bounded) return Reach.SELF;
        // A deny spares only whom it names together with his account and, for a session, his role.
        var spared = list(node.get("NotPrincipal").path("AWS")).stream().map(JsonNode::asText).toList();
        var all = request.principal.startsWith("arn:")
                ? spared.contains("*")
                        || spared.contains(request.principal) && (spared.contains(account()) || spared.contains(root()))
                        && (!session() || spared.contains(role()))
                : reach(node.get("NotPrincipal")) != Reach.NONE;
        return all ? Reach.NONE : Reach.SELF;
    }

    private Reach reach(JsonNode principal) {
        if (principal.isTextual()) return principal.asText().equals("*") ? Reach.SELF : Reach.NONE;
        var best = Reach.NONE;
        for (var type : principal.properties())
            for (var name : list(type.getValue())) {
                var reach = type.getKey().equals("AWS") ? reach(name.asText())
                        : name.asText().equals(request.principal) ? Reach.SELF : Reach.NONE;
                if (reach.compareTo(best) > 0) best = reach;
            }
        return best;
    }

    private Reach reach(String name) {
        if (!request.principal.startsWith("arn:")) return name.equals("*") ? Reach.SELF : Reach.NONE;
        if (name.equals(request.principal) && part(name, 5).startsWith("role/")) return Reach.ROLE;
        if (name.equals("*") || name.equals(request.principal)) return Reach.SELF;
        if (session() && name.equals(role())) return Reach.ROLE;
        return name.equals(account()) || name.equals(root()) ? Reach.ACCOUNT : Reach.NONE;
    }

    private boolean session() {
        return part(request.principal, 5).startsWith("assumed-role/");
    }

    private String account() {
        return part(request.principal, 4);
    }

    private String root() {
        return "arn:" + part(request.principal, 1) + ":iam::" + account() + ":root";
    }

    /** A session's ARN does not have its role's path, aws:PrincipalArn does. */
    private String role() {
        return request.values("aws:PrincipalArn").stream().findFirst()
                .orElseGet(() -> "arn:" + part(request.principal, 1) + ":iam::" + account() + ":role/"
                        + request.principal.split("/")[1]);
    }

    // Action, Resource

    private boolean action(Statement statement) {
        for (var action : statement.actions)
            if (action.matcher(request.action).matches()) return !statement.notAction;
        return statement.notAction;
    }

    private boolean resource(Statement statement) {
        if (statement.anyResource) return true;
        for (var template : statement.resources) {
            var pattern = template.resource;
            if (pattern == null) {
                var filled = text(template);
                if (filled == null) continue;
                pattern = resource(filled);
            }
            if (pattern.matcher(request.resource).matches()) return !statement.notResource;
        }
        return statement.notResource;
    }

    /**
     * A * at the end of one of an ARN's fields reaches beyond it, another one does not; fields that are left out match
     * everything.
     */
    private static Pattern resource(Text text) {
        var regex = new StringBuilder();
        var field = 0;
        for (var i = 0; i < text.chars.size(); i++) {
            var c = text.chars.get(i);
            var end = i + 1 == text.chars.size() || text.chars.get(i + 1).is(':');
            if (c.is(':')) field++;
            regex.append(c.wild && c.value == '*' && field < 5 && !end ? "[^:]*" : c.regex(".*"));
        }
        if (field > 0 && field < 5) regex.append("(:.*)?");
        return Pattern.compile(regex.toString(), Pattern.DOTALL);
    }

    // Condition

    private boolean conditions(Statement statement) {
        var all = true;
        for (var condition : statement.conditions) all &= holds(condition);
        return all;
    }

    private boolean holds(Condition condition) {
        var given = request.values(condition.key);
        if (given.isEmpty()) missing.add(condition.key);
        if (condition.isNull)
            return condition.wanted.stream()
                    .anyMatch(w -> w.text.equalsIgnoreCase(String.valueOf(given.isEmpty())));
        if (given.isEmpty())
            return condition.ifExists || condition.set.equals("ForAllValues")
                    || condition.set.isEmpty() && condition.negated;
        // an operator for one value never holds for a list, negated or not: a list needs a set operator
        if (condition.set.isEmpty() && request.isList(condition.key)) return false;
        var texts = condition.wanted.stream().map(this::text).filter(t -> t != null).toList();
        var matches = given.stream().map(value -> texts.stream().anyMatch(text -> equal(condition, value, text)))
                .toList();
        return switch (condition.set) {
            case "ForAllValues" -> !matches.contains(condition.negated);
            case "ForAnyValue" -> matches.contains(!condition.negated);
            default -> matches.contains(true) != condition.negated;
        };
    }

    private static boolean equal(Condition condition, String value, Text text) {
        try {
            return condition.compare.test(value, text);
        } catch (DateTimeException | IllegalArgumentException e) {
            return false; // not a number, a date or an address: it equals nothing
        }
    }

    private static BiPredicate<String, Text> comparison(String name) {
        return switch (name) {
            case "StringEquals", "BinaryEquals" -> (value, text) -> value.equals(text.plain());
            case "StringEqualsIgnoreCase" -> (value, text) -> value.equalsIgnoreCase(text.plain());
            case "Bool" -> (value, text) -> Boolean.toString(Boolean.parseBoolean(value)).equalsIgnoreCase(value)
                    && value.equalsIgnoreCase(text.plain());
            case "StringLike" -> (value, text) -> text.like().matcher(value).matches();
            case "ArnEquals", "ArnLike" -> PolicyEvaluator::arnLike;
            case "NumericEquals" -> (value, text) -> number(value, text) == 0;
            case "NumericLessThan" -> (value, text) -> number(value, text) < 0;
            case "NumericLessThanEquals" -> (value, text) -> number(value, text) <= 0;
            case "NumericGreaterThan" -> (value, text) -> number(value, text) > 0;
            case "NumericGreaterThanEquals" -> (value, text) -> number(value, text) >= 0;
            case "DateEquals" -> (value, text) -> date(value, text) == 0;
            case "DateLessThan" -> (value, text) -> date(value, text) < 0;
            case "DateLessThanEquals" -> (value, text) -> date(value, text) <= 0;
            case "DateGreaterThan" -> (value, text) -> date(value, text) > 0;
            case "DateGreaterThanEquals" -> (value, text) -> date(value, text) >= 0;
            case "IpAddress" -> (value, text) -> inRange(value, text.plain());
            default -> throw new IllegalArgumentException("no condition operator: " + name);
        };
    }

    /** Field by field, so that a * in one field does not reach into the next. */
    private static boolean arnLike(String value, Text text) {
        var colons = text.chars.stream().filter(c -> c.is(':')).count();
        if (value.split(":", 6).length < 6 || colons < 5) return false;
        var regex = new StringBuilder();
        var field = 0;
        for (var c : text.chars) {
            if (c.is(':')) field++;
            regex.append(c.regex(field < 5 ? "[^:]*" : ".*"));
        }
        return Pattern.compile(regex.toString(), Pattern.DOTALL).matcher(value).matches();
    }

    private static int number(String value, Text text) {
        return new BigDecimal(value).compareTo(new BigDecimal(text.plain()));
    }

    private static int date(String value, Text text) {
        return date(value).compareTo(date(text.plain()));
    }

    /** ISO 8601 to the day or finer, or seconds since 1970. */
    private static Instant date(String text) {
        if (text.matches("\\d{5,}")) return Instant.ofEpochSecond(Long.parseLong(text));
        if (text.matches("\\d{4}-\\d\\d-\\d\\d")) return LocalDate.parse(text).atStartOfDay().toInstant(ZoneOffset.UTC);
        return OffsetDateTime.parse(text).toInstant();
    }

    static boolean inRange(String address, String cidr) {
        var slash = cidr.indexOf('/');
        var network = bytes(slash < 0 ? cidr : cidr.substring(0, slash));
        var given = bytes(address);
        var bits = slash < 0 ? network.length * 8 : Integer.parseInt(cidr.substring(slash + 1));
        var drop = network.length * 8 - bits;
        return given.length == network.length
                && new BigInteger(1, given).shiftRight(drop).equals(new BigInteger(1, network).shiftRight(drop));
    }

    private static byte[] bytes(String address) {
        // a name would be looked up
        if (!address.matches("[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")) throw new IllegalArgumentException(address);
        try {
            return InetAddress.getByName(address).getAddress();
        } catch (UnknownHostException e) {
            throw new IllegalArgumentException(address, e);
        }
    }

    // Text of policies: wildcards and variables

    /** A character; a wild * or ? stands for others, one that a variable brought or that was written ${*} does not. */
    private record Char(char value, boolean wild) {
        boolean is(char c) {
            return value == c;
        }

        String regex(String many) {
            if (Character.isLetterOrDigit(value)) return String.valueOf(value);
            return wild && value == '*' ? many : wild && value == '?' ? "." : Pattern.quote(String.valueOf(value));
        }
    }

    private static final class Text {
        final List<Char> chars;
        private final String plain;
        private volatile Pattern like;

        Text(List<Char> chars) {
            this.chars = chars;
            var text = new StringBuilder();
            chars.forEach(c -> text.append(c.value));
            plain = text.toString();
        }

        static Text of(String text) {
            return new Text(text.chars().mapToObj(c -> new Char((char) c, true)).toList());
        }

        String plain() {
            return plain;
        }

        /** What it stands for as a pattern of one text without fields. */
        Pattern like() {
            if (like == null) like = glob(this, ".*", 0);
            return like;
        }
    }

    private static Pattern glob(Text text, String many, int flags) {
        var regex = new StringBuilder();
        text.chars.forEach(c -> regex.append(c.regex(many)));
        return Pattern.compile(regex.toString(), flags | Pattern.DOTALL);
    }

    private static final Pattern VARIABLE = Pattern.compile("\\$\\{([*?$]|([^},]+?)\\s*(?:,\\s*'([^']*)')?)}");

    /**
     * The text with its variables filled in, null when the request has no single value for one and it has no default.
     */
    private Text text(Template template) {
        if (template.fixed != null) return template.fixed;
        var text = template.text;
        var chars = new ArrayList<Char>();
        var matcher = VARIABLE.matcher(text);
        var at = 0;
        while (matcher.find()) {
            chars.addAll(Text.of(text.substring(at, matcher.start())).chars);
            at = matcher.end();
            String value;
            if (matcher.group(2) == null) value = matcher.group(1);
            else {
                var given = request.values(matcher.group(2));
                if (given.isEmpty()) missing.add(matcher.group(2));
                if (given.isEmpty()) value = matcher.group(3);
                else value = request.isList(matcher.group(2)) ? matcher.group(3) : given.get(0);
            }
            if (value == null) return null;
            for (var c : value.toCharArray()) chars.add(new Char(c, false));
        }
        chars.addAll(Text.of(text.substring(at)).chars);
        return new Text(chars);
    }

    private static List<JsonNode> list(JsonNode node) {
        if (node.isMissingNode()) return List.of();
        if (!node.isArray()) return List.of(node);
        var items = new ArrayList<JsonNode>();
        node.forEach(items::add);
        return items;
    }

    /** The ARN's field with this number, from 0; "" where there is none. */
    private static String part(String arn, int number) {
        var parts = arn.split(":", 6);
        return parts.length > number ? parts[number] : "";
    }
}
