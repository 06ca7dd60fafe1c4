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
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiPredicate;
import java.util.regex.Pattern;

/**
 * Decides requests as IAM does: an explicit deny beats everything, and what nothing allows is denied. Rules are those
 * of the IAM User Guide (policy grammar, condition operators, variables, evaluation logic); PolicyEvaluatorTest
 * compares them with an independent evaluator.
 */
public final class PolicyEvaluator {
    /** As the simulator spells it. */
    public enum Decision { allowed, explicitDeny, implicitDeny }

    /** @param id what a {@link Match} calls the policy */
    public record Policy(String id, JsonNode document) {
        public static Policy of(String id, String document) {
            try {
                return new Policy(id, Models.JSON.readTree(document));
            } catch (JsonProcessingException e) {
                throw new IllegalArgumentException(e);
            }
        }
    }

    /**
     * @param principal the ARN of a user, a role or an assumed role's session, an account's root ARN, or a service such
     *                  as codebuild.amazonaws.com
     * @param resource  an ARN, or {@code *} for actions that have no resource
     * @param context   values by condition key; the letter case of keys does not matter, no value is as good as no key
     */
    public record Request(String principal, String action, String resource, Map<String, List<String>> context) {
        public Request {
            var sorted = new TreeMap<String, List<String>>(String.CASE_INSENSITIVE_ORDER);
            context.forEach((key, values) -> {
                if (!values.isEmpty()) sorted.put(key, List.copyOf(values));
            });
            context = sorted;
        }

        private List<String> values(String key) {
            return context.getOrDefault(key, List.of());
        }
    }

    /** A statement that applies; the Sid is "" where it has none. */
    public record Match(String policyId, String sid) { }

    /**
     * @param missingKeys the condition keys that a statement for this action and resource asks for and the request does
     *                    not have
     */
    public record Result(Decision decision, List<Match> matched, Set<String> missingKeys) { }

    /** How near a statement's Principal comes to who asks; a whole account's grant still needs an identity policy's. */
    private enum Reach { NONE, ACCOUNT, ROLE, SELF }

    private final Request request;
    private final Set<String> missing = new TreeSet<>(String.CASE_INSENSITIVE_ORDER);
    private final List<Match> denies = new ArrayList<>();

    private PolicyEvaluator(Request request) {
        this.request = request;
    }

    /**
     * What these policies say by themselves, a Principal of theirs included: identity policies, an endpoint's policy,
     * one key policy.
     */
    public static Result evaluate(Request request, List<Policy> policies) {
        var evaluator = new PolicyEvaluator(request);
        var allows = evaluator.allows(policies);
        return evaluator.result(!allows.isEmpty(), allows.keySet());
    }

    /**
     * What they say together.
     *
     * @param resourcePolicy of the resource (bucket, key), or null
     * @param boundaries     the principal's permissions boundary: nothing but what one of these allows; empty for no
     *                       boundary
     */
    public static Result decide(Request request, List<Policy> identity, Policy resourcePolicy,
            List<Policy> boundaries) {
        var evaluator = new PolicyEvaluator(request);
        var own = evaluator.allows(identity);
        var bounds = evaluator.allows(boundaries);
        var others = resourcePolicy == null ? Map.<Match, Reach>of() : evaluator.allows(List.of(resourcePolicy));

        var inBounds = boundaries.isEmpty() || !bounds.isEmpty();
        var byIdentity = !own.isEmpty() && inBounds;
        var reach = others.values().stream().max(Reach::compareTo).orElse(Reach.NONE);
        // A grant to a user or a session stands above the boundary, a grant to a role does not.
        var byResource = reach == Reach.SELF || reach == Reach.ROLE && inBounds;
        boolean allowed;
        if (!evaluator.sameAccount()) allowed = byIdentity && reach != Reach.NONE;
        else if (resourcePolicy != null && part(request.resource, 2).equals("kms"))
            allowed = byResource || byIdentity && reach == Reach.ACCOUNT;
        else allowed = byResource || byIdentity;
        var matched = new ArrayList<>(own.keySet());
        matched.addAll(others.keySet());
        return evaluator.result(allowed, matched);
    }

    private Result result(boolean allowed, Collection<Match> allows) {
        if (!denies.isEmpty()) return new Result(Decision.explicitDeny, denies, missing);
        return allowed ? new Result(Decision.allowed, List.copyOf(allows), missing)
                : new Result(Decision.implicitDeny, List.of(), missing);
    }

    private boolean sameAccount() {
        var account = request.values("aws:ResourceAccount").stream().findFirst().orElse(part(request.resource, 4));
        return account.isEmpty() || account.equals(part(request.principal, 4)) || !request.principal.startsWith("arn:");
    }

    /** The statements that allow the request; those that deny it are added to the denies. */
    private Map<Match, Reach> allows(List<Policy> policies) {
        var allows = new LinkedHashMap<Match, Reach>();
        for (var policy : policies) {
            var variables = policy.document.path("Version").asText().equals("2012-10-17");
            for (var statement : list(policy.document.path("Statement"))) {
                var deny = statement.path("Effect").asText().equals("Deny");
                var reach = reach(statement, deny);
                if (reach == Reach.NONE || !action(statement) || !resource(statement, variables)
                        || !conditions(statement, variables))
                    continue;
                var match = new Match(policy.id, statement.path("Sid").asText());
                if (deny) denies.add(match);
                else allows.merge(match, reach, (a, b) -> a.compareTo(b) > 0 ? a : b);
            }
        }
        return allows;
    }

    // Principal, NotPrincipal

    private Reach reach(JsonNode statement, boolean deny) {
        if (statement.has("Principal")) return reach(statement.get("Principal"));
        if (!statement.has("NotPrincipal")) return Reach.SELF;
        if (!deny) return reach(statement.get("NotPrincipal")) == Reach.NONE ? Reach.SELF : Reach.NONE;
        // A deny spares only whom it names together with his account and, for a session, his role.
        var spared = list(statement.get("NotPrincipal").path("AWS")).stream().map(JsonNode::asText).toList();
        var all = request.principal.startsWith("arn:")
                ? spared.contains("*")
                        || spared.contains(request.principal) && (spared.contains(account()) || spared.contains(root()))
                        && (!session() || spared.contains(role()))
                : reach(statement.get("NotPrincipal")) != Reach.NONE;
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

    /**
     * A simulation asks for the same few actions again and again; to compile their patterns anew takes most of its
     * time.
     */
    private static final Map<String, Pattern> ACTIONS = new ConcurrentHashMap<>();

    private boolean action(JsonNode statement) {
        var not = statement.has("NotAction");
        return list(statement.path(not ? "NotAction" : "Action")).stream()
                .anyMatch(a -> ACTIONS
                        .computeIfAbsent(a.asText(), text -> glob(Text.of(text), ".*", Pattern.CASE_INSENSITIVE))
                        .matcher(request.action).matches())
                != not;
    }

    private boolean resource(JsonNode statement, boolean variables) {
        // endpoint policies may leave it out
        if (!statement.has("Resource") && !statement.has("NotResource")) return true;
        var not = statement.has("NotResource");
        return list(statement.path(not ? "NotResource" : "Resource")).stream().map(r -> text(r.asText(), variables))
                .anyMatch(text -> text != null && resource(text).matcher(request.resource).matches()) != not;
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

    private boolean conditions(JsonNode statement, boolean variables) {
        var all = true;
        for (var operator : statement.path("Condition").properties())
            for (var condition : operator.getValue().properties())
                all &= condition(operator.getKey(), condition.getKey(),
                        list(condition.getValue()).stream().map(JsonNode::asText).toList(), variables);
        return all;
    }

    private boolean condition(String operator, String key, List<String> wanted, boolean variables) {
        var given = request.values(key);
        if (given.isEmpty()) missing.add(key);
        if (operator.equals("Null")) return wanted.contains(String.valueOf(given.isEmpty()));
        var set = operator.contains(":") ? operator.substring(0, operator.indexOf(':')) : "";
        var ifExists = operator.endsWith("IfExists");
        var name = operator.substring(set.isEmpty() ? 0 : set.length() + 1,
                operator.length() - (ifExists ? "IfExists".length() : 0));
        var negated = name.contains("Not");
        var compare = comparison(name.replace("Not", ""));
        if (given.isEmpty()) return ifExists || set.equals("ForAllValues") || set.isEmpty() && negated;
        var texts = wanted.stream().map(w -> text(w, variables)).filter(t -> t != null).toList();
        BiPredicate<String, Text> quiet = (value, text) -> {
            try {
                return compare.test(value, text);
            } catch (DateTimeException | IllegalArgumentException e) {
                return false; // not a number, a date or an address: it equals nothing
            }
        };
        var matches = given.stream().map(value -> texts.stream().anyMatch(text -> quiet.test(value, text))).toList();
        return switch (set) {
            case "ForAllValues" -> !matches.contains(negated);
            case "ForAnyValue" -> matches.contains(!negated);
            case "" -> matches.contains(true) != negated;
            default -> throw new IllegalArgumentException(operator);
        };
    }

    private static BiPredicate<String, Text> comparison(String name) {
        return switch (name) {
            case "StringEquals", "BinaryEquals" -> (value, text) -> value.equals(text.plain());
            case "StringEqualsIgnoreCase", "Bool" -> (value, text) -> value.equalsIgnoreCase(text.plain());
            case "StringLike" -> (value, text) -> glob(text, ".*", 0).matcher(value).matches();
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

    private static boolean inRange(String address, String cidr) {
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

    private record Text(List<Char> chars) {
        static Text of(String text) {
            return new Text(text.chars().mapToObj(c -> new Char((char) c, true)).toList());
        }

        String plain() {
            var plain = new StringBuilder();
            chars.forEach(c -> plain.append(c.value));
            return plain.toString();
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
    private Text text(String text, boolean variables) {
        if (!variables) return Text.of(text);
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
                value = given.size() == 1 ? given.get(0) : given.isEmpty() ? matcher.group(3) : null;
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
