import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Comparator;
import java.util.TreeMap;

/** JSON in which order, lists of one and the spellings of a principal make no difference. */
final class Meaning {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Meaning() {
    }

    static JsonNode of(JsonNode node) {
        if (node instanceof ObjectNode object) {
            var sorted = new TreeMap<String, JsonNode>();
            object.properties().forEach(field -> {
                var everybody = field.getKey().equals("Principal") && field.getValue().isTextual();
                sorted.put(field.getKey(),
                        everybody ? JSON.createObjectNode().set("AWS", field.getValue()) : of(field.getValue()));
            });
            return JSON.valueToTree(sorted);
        }
        if (node instanceof ArrayNode array) {
            var sorted = array.valueStream().map(Meaning::of).sorted(Comparator.comparing(JsonNode::toString)).toList();
            return sorted.size() == 1 ? sorted.get(0) : JSON.createArrayNode().addAll(sorted);
        }
        return node.asText().matches("\\d{12}") ? JSON.valueToTree("arn:aws:iam::" + node.asText() + ":root") : node;
    }

    static JsonNode of(String json) {
        return of(parse(json));
    }

    static JsonNode parse(String json) {
        try {
            return JSON.readTree(json);
        } catch (IOException e) {
            throw new UncheckedIOException(json, e);
        }
    }
}
