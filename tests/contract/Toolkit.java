import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import picocli.CommandLine;

/** The toolkit as its files say what it is: scripts, policies, aliases, the scheduled job. */
final class Toolkit {
    /** Scripts that change nothing in AWS and so have no --dry-run. */
    static final Set<String> READING = Set.of("AuditEncryption", "VerifyBackups");
    private static final ObjectMapper JSON = new ObjectMapper();

    private Toolkit() {
    }

    static List<String> scripts() {
        return list("scripts", ".java").stream().map(name -> name.replace(".java", "")).toList();
    }

    static List<String> policies() {
        return list("policies", ".json");
    }

    private static List<String> list(String folder, String ending) {
        try (var files = Files.list(Path.of(folder))) {
            return files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(ending)).sorted()
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static String read(String file) {
        try {
            return Files.readString(Path.of(file));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static String source(String script) {
        return read("scripts/" + script + ".java");
    }

    /** What stands behind each //DIRECTIVE of this name. */
    static List<String> directives(String script, String name) {
        return source(script).lines().filter(line -> line.startsWith("//" + name + " "))
                .map(line -> line.substring(name.length() + 3)).toList();
    }

    /** A new instance's command line. */
    static CommandLine command(String script) {
        try {
            var type = Class.forName(script);
            var constructor = type.getDeclaredConstructor();
            var commandLine = type.getDeclaredMethod("commandLine");
            constructor.setAccessible(true);
            commandLine.setAccessible(true);
            return (CommandLine) commandLine.invoke(constructor.newInstance());
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(script + " has no commandLine() to test it by", e);
        }
    }

    /** The name of a script's command and alias. */
    static String kebab(String script) {
        return script.replaceAll("(?<=.)([A-Z])", "-$1").toLowerCase();
    }

    static Map<String, JsonNode> aliases() {
        try {
            return JSON.readTree(read("jbang-catalog.json")).path("aliases").properties().stream()
                    .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue, (a, b) -> a, TreeMap::new));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The scheduled job. */
    static JsonNode buildspec() {
        return yaml(read("buildspec.yml"));
    }

    /** A YAML document, in which no key may stand twice. */
    static JsonNode yaml(String text) {
        var options = new LoaderOptions();
        options.setAllowDuplicateKeys(false);
        return JSON.valueToTree(new Yaml(options).load(text));
    }

    /** The words that bash makes of a command, without running it. */
    static List<String> words(String command) {
        try {
            var bash = new ProcessBuilder("bash", "-f", "-c", "printf '%s\\0' " + command).redirectErrorStream(true)
                    .start();
            var words = new String(bash.getInputStream().readAllBytes());
            if (bash.waitFor() != 0) throw new AssertionError(words);
            return Arrays.asList(words.split("\0"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
