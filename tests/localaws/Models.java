package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * AWS's own service models: what a request may hold (required, length, range, pattern, enum), how Query and EC2
 * requests become a tree, and how an answer becomes XML. models/models.json is made by DistilModels.java beside it.
 */
final class Models {
    static final ObjectMapper JSON = new ObjectMapper();
    private static final JsonNode MODELS = load();

    private Models() {
    }

    private static JsonNode load() {
        try (var in = Models.class.getResourceAsStream("/localaws/models/models.json")) {
            return JSON.readTree(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** One broken rule: the member's path in the request, the name of its shape, the rule, and AWS's wording of it. */
    record Violation(String path, String shape, Rule rule, String text) {
        String member() {
            return path.substring(path.lastIndexOf('.') + 1);
        }
    }

    enum Rule { REQUIRED, UNKNOWN, TYPE, LENGTH, RANGE, PATTERN, ENUM }

    /** Whether bodies are JSON; which operation is meant says a header, or for REST method and path. */
    static boolean isJson(String service) {
        return MODELS.path(service).path("protocol").asText().equals("json") || isRest(service);
    }

    static boolean isRest(String service) {
        return MODELS.path(service).path("protocol").asText().equals("rest-json");
    }

    /**
     * The operation of a service that a method and a path stand for, with what the path gives; empty if there is none.
     *
     * @param path still encoded
     */
    static Optional<Map.Entry<String, Map<String, String>>> route(String service, String method, String path) {
        var given = path.replaceFirst("(?<=.)/$", "").split("/");
        return model(service).path("operations").propertyStream()
                .filter(operation -> operation.getValue().at("/http/method").asText().equals(method))
                .flatMap(operation -> values(operation.getValue().at("/http/requestUri").asText(), given).stream()
                        .map(values -> Map.entry(operation.getKey(), values)))
                .findFirst();
    }

    private static Optional<Map<String, String>> values(String template, String[] given) {
        var parts = template.replaceFirst("/$", "").split("/");
        if (parts.length != given.length) return Optional.empty();
        var values = new TreeMap<String, String>();
        for (var i = 0; i < parts.length; i++) {
            if (parts[i].startsWith("{")) {
                values.put(parts[i].substring(1, parts[i].length() - 1),
                        URLDecoder.decode(given[i].replace("+", "%2B"), StandardCharsets.UTF_8));
            } else if (!parts[i].equals(given[i])) {
                return Optional.empty();
            }
        }
        return Optional.of(values);
    }

    /** Adds to the members of a REST request's body those that its path and query give. */
    static void addLocated(String service, String operation, Map<String, String> inPath, Map<String, String> query,
            ObjectNode input) {
        var rest = new TreeMap<>(query);
        var members = shape(service, operation(service, operation).path("input").asText()).path("members");
        members.properties().forEach(member -> {
            var name = member.getValue().path("locationName").asText();
            var values = member.getValue().path("location").asText().equals("uri") ? inPath
                    : member.getValue().path("location").asText().equals("querystring") ? rest : Map.of();
            if (!values.containsKey(name)) return;
            var text = String.valueOf(values.get(name));
            var type = shape(service, member.getValue().get("shape").asText()).path("type").asText();
            if (type.equals("integer") && text.matches("-?\\d{1,9}")) {
                input.put(member.getKey(), Integer.parseInt(text));
            } else {
                input.put(member.getKey(), text);
            }
            if (values == rest) rest.remove(name);
        });
        if (!rest.isEmpty()) {
            throw new AwsError("UnknownParameter", "The parameter " + rest.firstKey() + " is not recognized");
        }
    }

    static boolean isQuery(String service) {
        return MODELS.path(service).path("protocol").asText().equals("query");
    }

    static boolean knows(String service) {
        return MODELS.has(service);
    }

    static JsonNode model(String service) {
        return MODELS.get(service);
    }

    static JsonNode operation(String service, String name) {
        return MODELS.path(service).path("operations").path(name);
    }

    private static JsonNode shape(String service, String name) {
        return MODELS.path(service).path("shapes").path(name);
    }

    static List<Violation> violations(String service, String operation, JsonNode input) {
        var found = new ArrayList<Violation>();
        var shape = operation(service, operation).path("input").asText();
        if (!shape.isEmpty()) check(service, shape, input, "", found);
        return found;
    }

    private static void check(String service, String name, JsonNode value, String path, List<Violation> found) {
        var shape = shape(service, name);
        switch (shape.path("type").asText()) {
            case "structure" -> {
                if (!value.isObject()) {
                    found.add(new Violation(path, name, Rule.TYPE, "Expected a structure at '" + path + "'"));
                    return;
                }
                for (var required : shape.path("required")) {
                    if (!value.hasNonNull(required.asText())) {
                        found.add(new Violation(path + "." + required.asText(),
                                shape.at("/members/" + required.asText() + "/shape").asText(), Rule.REQUIRED,
                                "Value null at '" + (path + "." + required.asText()).substring(1)
                                        + "' failed to satisfy constraint: Member must not be null"));
                    }
                }
                value.properties().forEach(member -> {
                    var known = shape.path("members").path(member.getKey());
                    if (known.isMissingNode()) {
                        found.add(new Violation(path + "." + member.getKey(), "", Rule.UNKNOWN,
                                "Unknown member '" + (path + "." + member.getKey()).substring(1) + "'"));
                    } else if (!member.getValue().isNull()) {
                        check(service, known.get("shape").asText(), member.getValue(), path + "." + member.getKey(),
                                found);
                    }
                });
            }
            case "list" -> {
                if (!value.isArray()) {
                    found.add(new Violation(path, name, Rule.TYPE, "Expected a list at '" + path + "'"));
                    return;
                }
                length(shape, name, value.size(), value, path, found);
                for (var i = 0; i < value.size(); i++) {
                    check(service, shape.at("/member/shape").asText(), value.get(i),
                            path + "." + (i + 1) + ".member", found);
                }
            }
            case "map" -> {
                length(shape, name, value.size(), value, path, found);
                value.properties().forEach(entry -> {
                    check(service, shape.at("/key/shape").asText(), JSON.getNodeFactory().textNode(entry.getKey()),
                            path + ".key", found);
                    check(service, shape.at("/value/shape").asText(), entry.getValue(),
                            path + "." + entry.getKey() + ".member", found);
                });
            }
            case "string" -> {
                if (!value.isTextual()) {
                    found.add(new Violation(path, name, Rule.TYPE, "Expected a string at '" + path + "'"));
                    return;
                }
                length(shape, name, value.textValue().codePointCount(0, value.textValue().length()), value, path,
                        found);
                if (shape.has("pattern")
                        && !Pattern.compile(shape.get("pattern").textValue()).matcher(value.textValue()).matches()) {
                    found.add(new Violation(path, name, Rule.PATTERN, constraint(value, path,
                            "Member must satisfy regular expression pattern: " + shape.get("pattern").textValue())));
                }
                if (shape.has("enum") && !contains(shape.get("enum"), value)) {
                    found.add(new Violation(path, name, Rule.ENUM,
                            constraint(value, path, "Member must satisfy enum value set: " + shape.get("enum"))));
                }
            }
            case "integer", "long" -> {
                if (!value.isIntegralNumber()) {
                    found.add(new Violation(path, name, Rule.TYPE, "Expected an integer at '" + path + "'"));
                } else if (shape.has("min") && value.longValue() < shape.get("min").longValue()
                        || shape.has("max") && value.longValue() > shape.get("max").longValue()) {
                    found.add(new Violation(path, name, Rule.RANGE, constraint(value, path,
                            "Member must have value between " + shape.path("min") + " and " + shape.path("max"))));
                }
            }
            case "double" -> {
                if (!value.isNumber()) {
                    found.add(new Violation(path, name, Rule.TYPE, "Expected a number at '" + path + "'"));
                }
            }
            case "boolean" -> {
                if (!value.isBoolean()) {
                    found.add(new Violation(path, name, Rule.TYPE, "Expected a boolean at '" + path + "'"));
                }
            }
            default -> { }
        }
    }

    private static boolean contains(JsonNode array, JsonNode value) {
        for (var element : array) if (element.equals(value)) return true;
        return false;
    }

    private static void length(JsonNode shape, String name, int length, JsonNode value, String path,
            List<Violation> found) {
        if (shape.has("min") && length < shape.get("min").intValue()) {
            found.add(new Violation(path, name, Rule.LENGTH,
                    constraint(value, path, "Member must have length greater than or equal to " + shape.get("min"))));
        }
        if (shape.has("max") && length > shape.get("max").longValue()) {
            found.add(new Violation(path, name, Rule.LENGTH,
                    constraint(value, path, "Member must have length less than or equal to " + shape.get("max"))));
        }
    }

    private static String constraint(JsonNode value, String path, String rule) {
        return "Value '" + (value.isTextual() ? value.textValue() : value.toString()) + "' at '"
                + (path.isEmpty() ? "" : path.substring(1))
                + "' failed to satisfy constraint: " + rule;
    }

    /**
     * The tree that the form parameters of a Query or EC2 request stand for; parameters that the model does not know
     * are an error.
     */
    static ObjectNode decode(String service, String operation, Map<String, String> form) {
        var rest = new HashSet<>(form.keySet());
        rest.removeAll(Set.of("Action", "Version"));
        var shape = operation(service, operation).path("input").asText();
        var tree = shape.isEmpty() ? JSON.createObjectNode() : (ObjectNode) decode(service, shape, "", form, rest);
        if (!rest.isEmpty()) {
            throw new AwsError("UnknownParameter", "The parameter " + rest.iterator().next() + " is not recognized");
        }
        return tree;
    }

    private static JsonNode decode(String service, String name, String prefix, Map<String, String> form,
            Set<String> rest) {
        var shape = shape(service, name);
        var nodes = JSON.getNodeFactory();
        var ec2 = service.equals("ec2");
        switch (shape.path("type").asText()) {
            case "structure" -> {
                var tree = JSON.createObjectNode();
                shape.path("members").properties().forEach(member -> {
                    var key = prefix + parameter(ec2, member.getKey(), member.getValue());
                    if (form.keySet().stream().anyMatch(k -> k.equals(key) || k.startsWith(key + "."))) {
                        tree.set(member.getKey(),
                                decode(service, member.getValue().get("shape").asText(), key + ".", form, rest));
                    }
                });
                return tree;
            }
            case "list" -> {
                var tree = JSON.createArrayNode();
                var item = prefix + (ec2 || shape.path("flattened").asBoolean() ? "" : "member.");
                for (var i = 1; ; i++) {
                    var key = item + i;
                    if (form.keySet().stream().noneMatch(k -> k.equals(key) || k.startsWith(key + "."))) break;
                    tree.add(decode(service, shape.at("/member/shape").asText(), key + ".", form, rest));
                }
                rest.remove(prefix.substring(0, prefix.length() - 1)); // an empty list is sent as "Name="
                return tree;
            }
            case "map" -> {
                var tree = JSON.createObjectNode();
                var keys = shape.at("/key/locationName").asText("key");
                var values = shape.at("/value/locationName").asText("value");
                for (var i = 1; form.containsKey(prefix + "entry." + i + "." + keys); i++) {
                    var entry = prefix + "entry." + i + ".";
                    var key = decode(service, shape.at("/key/shape").asText(), entry + keys + ".", form, rest).asText();
                    tree.set(key, decode(service, shape.at("/value/shape").asText(), entry + values + ".", form, rest));
                }
                rest.remove(prefix.substring(0, prefix.length() - 1));
                return tree;
            }
            default -> {
                var key = prefix.substring(0, prefix.length() - 1);
                rest.remove(key);
                var text = form.get(key);
                return switch (shape.path("type").asText()) {
                    case "boolean" -> text.equals("true") || text.equals("false")
                            ? nodes.booleanNode(text.equals("true")) : nodes.textNode(text);
                    case "integer", "long" ->
                        text.matches("-?\\d+") ? nodes.numberNode(Long.parseLong(text)) : nodes.textNode(text);
                    case "double" -> text.matches("-?\\d+(\\.\\d*)?(E-?\\d+)?")
                            ? nodes.numberNode(Double.parseDouble(text)) : nodes.textNode(text);
                    default -> nodes.textNode(text);
                };
            }
        }
    }

    private static String parameter(boolean ec2, String name, JsonNode member) {
        if (!ec2) return member.path("locationName").asText(name);
        if (member.has("queryName")) return member.get("queryName").asText();
        var location = member.path("locationName").asText(name);
        return Character.toUpperCase(location.charAt(0)) + location.substring(1);
    }

    /** An answer as the XML of the Query and EC2 protocols. */
    static String encode(String service, String operation, JsonNode answer, String requestId) {
        var shape = operation(service, operation).path("output").asText();
        var body = new StringBuilder();
        if (!shape.isEmpty()) encode(service, shape, answer, body);
        var namespace = service.equals("ec2")
                ? "http://ec2.amazonaws.com/doc/" + model(service).path("apiVersion").asText() + "/"
                : model(service).path("xmlNamespace").asText();
        if (service.equals("ec2")) {
            return "<" + operation + "Response xmlns=\"" + namespace + "\"><requestId>" + requestId + "</requestId>"
                    + body + "</" + operation + "Response>";
        }
        return "<" + operation + "Response xmlns=\"" + namespace + "\">"
                + (shape.isEmpty() ? "" : "<" + operation + "Result>" + body + "</" + operation + "Result>")
                + "<ResponseMetadata><RequestId>" + requestId + "</RequestId></ResponseMetadata></" + operation
                + "Response>";
    }

    private static void encode(String service, String name, JsonNode value, StringBuilder xml) {
        var shape = shape(service, name);
        switch (shape.path("type").asText()) {
            case "structure" -> {
                value.properties().forEach(member -> {
                    if (!shape.path("members").has(member.getKey())) {
                        throw new IllegalStateException("the embedded AWS answers with " + name + "." + member.getKey()
                                + ", which the model does not know");
                    }
                });
                shape.path("members").properties().forEach(member -> {
                    if (!value.hasNonNull(member.getKey())) return;
                    var element = member.getValue().path("locationName").asText(member.getKey());
                    xml.append('<').append(element).append('>');
                    encode(service, member.getValue().get("shape").asText(), value.get(member.getKey()), xml);
                    xml.append("</").append(element).append('>');
                });
            }
            case "list" -> {
                var element = shape.at("/member/locationName").asText(service.equals("ec2") ? "item" : "member");
                for (var item : (ArrayNode) value) {
                    xml.append('<').append(element).append('>');
                    encode(service, shape.at("/member/shape").asText(), item, xml);
                    xml.append("</").append(element).append('>');
                }
            }
            case "map" -> value.properties().forEach(entry -> {
                xml.append("<entry><key>").append(escape(entry.getKey())).append("</key><value>");
                encode(service, shape.at("/value/shape").asText(), entry.getValue(), xml);
                xml.append("</value></entry>");
            });
            case "timestamp" ->
                xml.append(value.isNumber() ? Instant.ofEpochSecond(value.longValue()).toString() : value.asText());
            default -> xml.append(escape(value.asText()));
        }
    }

    static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;")
                .replace("\r", "&#13;");
    }
}
