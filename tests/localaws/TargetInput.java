package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What a rule of EventBridge hands over to a target: the event, a part of it, a constant, or what a template makes of
 * it. Values come into a template as they are: nothing in them is escaped (User Guide, "Transforming target input").
 */
final class TargetInput {
    private static final ObjectReader STRICT = Models.JSON.reader()
            .with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    private static final Pattern VARIABLE = Pattern.compile("<([\\w.-]+)>");
    private static final Pattern PATH = Pattern.compile("\\$((?:\\.[^.\\[\\]]+|\\[\\d{1,4}])*)");
    private static final Pattern STEP = Pattern.compile("\\.([^.\\[\\]]+)|\\[(\\d+)]");
    private static final String WHOLE_EVENT = "aws.events.event.json";
    private static final Set<String> RESERVED = Set.of("aws.events.rule-arn", "aws.events.rule-name",
            "aws.events.event.ingestion-time", "aws.events.event", WHOLE_EVENT);

    private final ObjectNode target;

    /** @param target of a rule, as PutTargets has it */
    TargetInput(ObjectNode target) {
        this.target = target;
    }

    /** Refuses what PutTargets refuses. */
    void check() {
        var given = Stream.of("Input", "InputPath", "InputTransformer").filter(target::hasNonNull).toList();
        var id = target.path("Id").asText();
        if (given.size() > 1)
            throw invalid("Only one of Input, InputPath, or InputTransformer must be provided for target " + id + ".");
        if (target.hasNonNull("Input") && !isJson(target.get("Input").asText()))
            throw invalid("JSON syntax error in input for target " + id);
        if (target.hasNonNull("InputTransformer")) checkTransformer(id);
    }

    private void checkTransformer(String id) {
        var template = target.at("/InputTransformer/InputTemplate").asText();
        var names = target.at("/InputTransformer/InputPathsMap");
        names.fieldNames().forEachRemaining(name -> {
            if (name.startsWith("aws.") || !name.matches("[\\w-]{1,256}"))
                throw invalid("InputPathsMap for target " + id + " has the invalid key " + name);
        });
        var filled = fill(template, new Variables() {
            @Override
            public String value(String name) {
                if (!RESERVED.contains(name) && !names.has(name))
                    throw invalid("InputTemplate for target " + id + " contains invalid placeholder <" + name + ">.");
                return "null";
            }

            @Override
            public String text(String name) {
                value(name);
                if (name.equals(WHOLE_EVENT))
                    throw invalid("InputTemplate for target " + id + " contains placeholder within quotes <" + name
                            + ">.");
                return "";
            }
        });
        try (var values = Models.JSON.readerFor(JsonNode.class).<JsonNode>readValues(filled)) {
            var all = values.readAll();
            // more than one are the lines of a text
            if (all.isEmpty() || all.size() > 1 && !all.stream().allMatch(JsonNode::isTextual))
                throw invalid("Invalid InputTemplate for target " + id);
        } catch (IOException e) {
            throw invalid("Invalid InputTemplate for target " + id + " : " + e.getMessage());
        }
    }

    private static boolean isJson(String text) {
        try {
            return !STRICT.readTree(text).isMissingNode();
        } catch (JsonProcessingException e) {
            return false;
        }
    }

    /** What the target gets of an event that matched. */
    String of(ObjectNode event, String ruleArn, String ruleName) {
        if (target.hasNonNull("Input")) return target.get("Input").asText();
        if (target.hasNonNull("InputPath")) {
            var part = at(event, target.get("InputPath").asText());
            return part.isMissingNode() ? "" : part.toString();
        }
        if (!target.hasNonNull("InputTransformer")) return event.toString();
        var values = new TreeMap<String, JsonNode>();
        target.at("/InputTransformer/InputPathsMap").properties()
                .forEach(path -> values.put(path.getKey(), at(event, path.getValue().asText())));
        var nodes = Models.JSON.getNodeFactory();
        values.putAll(Map.of("aws.events.rule-arn", nodes.textNode(ruleArn),
                "aws.events.rule-name", nodes.textNode(ruleName),
                "aws.events.event.ingestion-time", event.get("time"),
                "aws.events.event", event.deepCopy().without(List.of("detail")),
                WHOLE_EVENT, event));
        Function<String, String> text = name -> {
            var value = values.get(name);
            return value.isTextual() ? value.textValue() : value.toString();
        };
        return fill(target.at("/InputTransformer/InputTemplate").asText(), new Variables() {
            @Override
            public String value(String name) {
                return values.get(name).isTextual() ? '"' + text.apply(name) + '"' : text.apply(name);
            }

            @Override
            public String text(String name) {
                return text.apply(name);
            }
        });
    }

    /** A path in dots; one that leads nowhere, or that is none, is missing. */
    private static JsonNode at(JsonNode event, String path) {
        var whole = PATH.matcher(path);
        if (!whole.matches()) return Models.JSON.missingNode();
        var node = event;
        var step = STEP.matcher(whole.group(1));
        while (step.find())
            node = step.group(1) != null ? node.path(step.group(1)) : node.path(Integer.parseInt(step.group(2)));
        return node;
    }

    /** What stands for a variable. */
    private interface Variables {
        /** Where the template has a JSON value. */
        String value(String name);

        /** Within a string of the template. */
        String text(String name);
    }

    private static String fill(String template, Variables variables) {
        var filled = new StringBuilder();
        var isInString = false;
        var variable = VARIABLE.matcher(template);
        for (var i = 0; i < template.length(); i++) {
            var c = template.charAt(i);
            if (c == '<' && variable.region(i, template.length()).lookingAt()) {
                filled.append(isInString ? variables.text(variable.group(1)) : variables.value(variable.group(1)));
                i = variable.end() - 1;
                continue;
            }
            filled.append(c);
            if (isInString && c == '\\' && i + 1 < template.length()) filled.append(template.charAt(++i));
            else if (c == '"') isInString = !isInString;
        }
        return filled.toString();
    }

    private static AwsError invalid(String message) {
        return new AwsError("ValidationException", message);
    }
}
