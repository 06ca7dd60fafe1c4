package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.cfg.JsonNodeFeature;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What a rule of EventBridge matches. Every leaf is a list of values and matchers, one of which must fit one of the
 * event's values (User Guide, "Event patterns" and "Comparison operators").
 */
final class EventPattern {
    /** Numbers are compared as they are written: 300 is not 300.0. */
    private static final ObjectReader EXACT = Models.JSON.reader()
            .with(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
            .with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .without(JsonNodeFeature.STRIP_TRAILING_BIGDECIMAL_ZEROES);
    private static final BigDecimal FARTHEST = new BigDecimal("5e9");
    /** How many rules without $or one may stand for. */
    private static final int COMBINATIONS = 1_000;
    private static final Pattern CIDR = Pattern.compile("[0-9a-fA-F.:]+/\\d{1,3}");

    private final JsonNode pattern;

    /** @throws AwsError InvalidEventPatternException, as for a rule or a test */
    EventPattern(String text) {
        try {
            pattern = EXACT.readTree(text);
        } catch (JsonProcessingException e) {
            throw invalid(e.getOriginalMessage());
        }
        if (!pattern.isObject()) throw invalid("Filter is not an object");
        checkFields(pattern);
        if (combinations(pattern) > COMBINATIONS)
            throw invalid("rule has more than " + COMBINATIONS + " combinations of $or");
    }

    /** An event, with numbers as they are written. */
    static JsonNode event(String text) throws JsonProcessingException {
        return EXACT.readTree(text);
    }

    /** The plain strings that the pattern lists for a field of the event, which condition keys of PutRule tell. */
    List<String> strings(String field) {
        return pattern.path(field).valueStream().filter(JsonNode::isTextual).map(JsonNode::textValue).toList();
    }

    // Grammar

    private static void checkFields(JsonNode fields) {
        if (fields.isEmpty()) throw invalid("Empty objects are not allowed");
        fields.properties().forEach(field -> {
            var value = field.getValue();
            if (field.getKey().equals("$or")) {
                if (!value.isArray() || value.size() < 2 || value.valueStream().anyMatch(one -> !one.isObject()))
                    throw invalid("\"$or\" must be an array of two objects or more");
                value.forEach(EventPattern::checkFields);
            } else if (value.isObject()) checkFields(value);
            else if (!value.isArray()) throw invalid("\"" + field.getKey() + "\" must be an object or an array");
            else if (value.isEmpty()) throw invalid("Empty arrays are not allowed");
            else value.forEach(EventPattern::checkLeaf);
        });
    }

    private static void checkLeaf(JsonNode leaf) {
        if (leaf.isArray()) throw invalid("Match value must be String, number, true, false, or null");
        if (!leaf.isObject()) return;
        if (leaf.size() != 1) throw invalid("Only one key allowed in match expression");
        var name = leaf.fieldNames().next();
        var value = leaf.get(name);
        var right = switch (name) {
            case "prefix", "suffix" -> value.isTextual() || isIgnoringCase(value);
            case "equals-ignore-case" -> value.isTextual();
            case "wildcard" -> isWildcard(value);
            case "exists" -> value.isBoolean();
            case "cidr" -> value.isTextual() && isCidr(value.textValue());
            case "numeric" -> isRange(value);
            case "anything-but" -> isAnythingBut(value);
            default -> throw invalid("Unrecognized match type " + name);
        };
        if (!right) throw invalid("Value of " + name + " is not valid: " + value);
    }

    private static boolean isIgnoringCase(JsonNode value) {
        return value.isObject() && value.size() == 1 && value.path("equals-ignore-case").isTextual();
    }

    private static boolean isAnythingBut(JsonNode value) {
        if (!value.isObject()) return isTextOrNumber(value) || isList(value, JsonNode::isTextual)
                || isList(value, JsonNode::isNumber);
        if (value.size() != 1) return false;
        var name = value.fieldNames().next();
        var unwanted = value.get(name);
        return switch (name) {
            case "prefix", "suffix", "equals-ignore-case" ->
                unwanted.isTextual() || isList(unwanted, JsonNode::isTextual);
            case "wildcard" -> isWildcard(unwanted) || isList(unwanted, EventPattern::isWildcard);
            default -> false;
        };
    }

    private static boolean isTextOrNumber(JsonNode value) {
        return value.isTextual() || value.isNumber();
    }

    private static boolean isList(JsonNode value, java.util.function.Predicate<JsonNode> of) {
        return value.isArray() && !value.isEmpty() && value.valueStream().allMatch(of);
    }

    /** Any text, in which a backslash stands before * and itself only, and no two * stand side by side. */
    private static boolean isWildcard(JsonNode value) {
        return value.isTextual() && value.textValue().matches("(?s)(?:\\\\[*\\\\]|[^*\\\\]|\\*(?!\\*))*");
    }

    private static boolean isCidr(String range) {
        if (!CIDR.matcher(range).matches()) return false;
        try {
            var bits = Integer.parseInt(range.substring(range.indexOf('/') + 1));
            return bits <= (range.contains(":") ? 128 : 32)
                    && PolicyEvaluator.inRange(range.substring(0, range.indexOf('/')), range);
        } catch (IllegalArgumentException e) {
            return false;
        }
    }

    /** One comparison, or a lower and an upper bound. */
    private static boolean isRange(JsonNode value) {
        if (!value.isArray() || value.size() != 2 && value.size() != 4) return false;
        for (var i = 1; i < value.size(); i += 2)
            if (!value.get(i).isNumber() || value.get(i).decimalValue().abs().compareTo(FARTHEST) > 0) return false;
        if (value.size() == 2) return value.get(0).asText().matches("=|[<>]=?");
        return value.get(0).asText().matches(">=?") && value.get(2).asText().matches("<=?")
                && value.get(1).decimalValue().compareTo(value.get(3).decimalValue()) < 0;
    }

    private static long combinations(JsonNode fields) {
        var product = 1L;
        for (var field : fields.properties()) {
            if (field.getKey().equals("$or"))
                product *= field.getValue().valueStream().mapToLong(EventPattern::combinations).sum();
            else if (field.getValue().isObject()) product *= combinations(field.getValue());
            if (product > COMBINATIONS) return product;
        }
        return product;
    }

    private static AwsError invalid(String reason) {
        return new AwsError("InvalidEventPatternException", "Event pattern is not valid. Reason: " + reason);
    }

    // Matching

    boolean matches(JsonNode event) {
        var leaves = new HashSet<String>();
        leaves("", event, leaves);
        return fields(pattern, event, "", leaves);
    }

    /** The paths at which the event has a value that is neither an object nor a list. */
    private static void leaves(String path, JsonNode node, Set<String> leaves) {
        if (node.isObject()) node.properties().forEach(f -> leaves(path + "\0" + f.getKey(), f.getValue(), leaves));
        else if (node.isArray()) node.forEach(element -> leaves(path, element, leaves));
        else leaves.add(path);
    }

    /** @param node an object of the event; what is missing has no fields */
    private static boolean fields(JsonNode pattern, JsonNode node, String path, Set<String> leaves) {
        return pattern.properties().stream().allMatch(field -> {
            var name = field.getKey();
            var wanted = field.getValue();
            if (name.equals("$or")) return wanted.valueStream().anyMatch(one -> fields(one, node, path, leaves));
            var there = node.path(name);
            var at = path + "\0" + name;
            // of a list of objects, one and the same must fit
            if (wanted.isObject()) {
                var objects = there.isArray() && !there.isEmpty() ? there.valueStream() : Stream.of(there);
                return objects.anyMatch(object -> fields(wanted, object, at, leaves));
            }
            var values = new ArrayList<JsonNode>();
            values(there, values);
            return wanted.valueStream().anyMatch(one -> one.path("exists").isBoolean()
                    ? one.get("exists").booleanValue() ? !values.isEmpty() : !leaves.contains(at)
                    : values.stream().anyMatch(value -> matches(one, value)));
        });
    }

    private static void values(JsonNode node, List<JsonNode> values) {
        if (node.isArray()) node.forEach(element -> values(element, values));
        else if (node.isValueNode()) values.add(node);
    }

    private static boolean matches(JsonNode wanted, JsonNode value) {
        if (!wanted.isObject()) return same(wanted, value);
        var name = wanted.fieldNames().next();
        var operand = wanted.get(name);
        return switch (name) {
            case "numeric" -> value.isNumber() && inRange(operand, value.decimalValue());
            case "anything-but" -> isOtherThan(operand, value);
            default -> value.isTextual() && matches(name, operand, value.textValue());
        };
    }

    private static boolean same(JsonNode wanted, JsonNode value) {
        return wanted.getNodeType() == value.getNodeType() && wanted.asText().equals(value.asText());
    }

    private static boolean isOtherThan(JsonNode unwanted, JsonNode value) {
        if (!unwanted.isObject()) return list(unwanted).stream().noneMatch(one -> same(one, value));
        var name = unwanted.fieldNames().next();
        return !value.isTextual()
                || list(unwanted.get(name)).stream().noneMatch(one -> matches(name, one, value.textValue()));
    }

    private static List<JsonNode> list(JsonNode oneOrMore) {
        return oneOrMore.isArray() ? oneOrMore.valueStream().toList() : List.of(oneOrMore);
    }

    private static boolean matches(String matcher, JsonNode operand, String value) {
        if (operand.isObject())
            return matches(matcher, operand.get("equals-ignore-case").textValue().toLowerCase(Locale.ROOT),
                    value.toLowerCase(Locale.ROOT));
        return matches(matcher, operand.textValue(), value);
    }

    private static boolean matches(String matcher, String operand, String value) {
        return switch (matcher) {
            case "prefix" -> value.startsWith(operand);
            case "suffix" -> value.endsWith(operand);
            case "equals-ignore-case" -> value.equalsIgnoreCase(operand);
            case "wildcard" -> wildcard(operand).matcher(value).matches();
            case "cidr" -> isIn(operand, value);
            default -> throw new IllegalStateException(matcher);
        };
    }

    private static Pattern wildcard(String text) {
        var regex = new StringBuilder();
        for (var i = 0; i < text.length(); i++) {
            var c = text.charAt(i);
            if (c == '*') regex.append(".*");
            else regex.append(Pattern.quote(String.valueOf(c == '\\' ? text.charAt(++i) : c)));
        }
        return Pattern.compile(regex.toString(), Pattern.DOTALL);
    }

    private static boolean isIn(String range, String address) {
        try {
            return PolicyEvaluator.inRange(address, range);
        } catch (IllegalArgumentException e) {
            return false; // no address
        }
    }

    private static boolean inRange(JsonNode range, BigDecimal number) {
        for (var i = 0; i < range.size(); i += 2) {
            var order = number.compareTo(range.get(i + 1).decimalValue());
            var fits = switch (range.get(i).asText()) {
                case "=" -> order == 0;
                case "<" -> order < 0;
                case "<=" -> order <= 0;
                case ">" -> order > 0;
                default -> order >= 0;
            };
            if (!fits) return false;
        }
        return true;
    }
}
