package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import org.yaml.snakeyaml.error.YAMLException;

/**
 * A buildspec.yml of version 0.2 and how CodeBuild runs it, by the user guide's pages on the buildspec reference and on
 * build phase transitions: one shell for all commands; a phase ends at the first command that fails, then come its
 * finally commands; a failure in build leads to post_build, one before it to the end; a build succeeds if every phase
 * did. What would need more of CodeBuild is refused.
 */
public final class Buildspec {
    public static final List<String> PHASES = List.of("install", "pre_build", "build", "post_build");
    /** What a buildspec may hold and is not offered here. */
    private static final Set<String> NOT_OFFERED = Set.of("run-as", "proxy", "batch", "reports", "artifacts");
    /** The runtimes of the Amazon Linux 2023 standard images. */
    private static final Set<String> JAVA = Set.of("corretto8", "corretto11", "corretto17", "corretto21",
            "corretto25");

    /** A command that was run. */
    public record Command(String phase, String text, int exitCode, String out, String err) { }

    /** Is told how a run goes on. */
    public interface Listener {
        void begins(String phase);

        void ran(Command command);

        /** @param failed the command that failed first; null if none did */
        void ends(String phase, Command failed);
    }

    private final JsonNode document;
    private volatile Process shell;
    private volatile boolean stopped;

    private Buildspec(JsonNode document) {
        this.document = document;
    }

    /** Throws an IllegalArgumentException that says why CodeBuild would refuse the text, or why this does. */
    public static Buildspec of(String yaml) {
        JsonNode document;
        try {
            document = Models.JSON.valueToTree(new Yaml(new SafeConstructor(new LoaderOptions())).load(yaml));
        } catch (YAMLException e) {
            throw new IllegalArgumentException("YAML file error: " + e.getMessage(), e);
        }
        if (!document.path("version").asText().equals("0.2"))
            throw new IllegalArgumentException("invalid buildspec version: " + document.path("version"));
        document.fieldNames().forEachRemaining(name -> {
            if (NOT_OFFERED.contains(name))
                throw new IllegalArgumentException("the embedded AWS does not offer " + name + " of a buildspec");
        });
        document.path("env").fieldNames().forEachRemaining(name -> {
            if (!name.matches("shell|variables"))
                throw new IllegalArgumentException("the embedded AWS does not offer env/" + name + " of a buildspec");
        });
        var java = document.at("/phases/install/runtime-versions/java");
        if (!java.isMissingNode() && !JAVA.contains(java.asText()))
            throw new IllegalArgumentException("Unknown runtime version named '" + java.asText() + "' of java.");
        PHASES.forEach(phase -> check(phase, document.path("phases").path(phase)));
        return new Buildspec(document);
    }

    private static void check(String name, JsonNode phase) {
        if (phase.has("on-failure") || phase.has("run-as"))
            throw new IllegalArgumentException(name + ": the embedded AWS does not offer on-failure and run-as");
        for (var block : List.of("commands", "finally"))
            for (var command : phase.path(block))
                if (!command.isTextual())
                    throw new IllegalArgumentException(
                            "Expected " + name + "/" + block + " to be of string type: found " + command);
    }

    /** What env/variables declares; the project's own go before them. */
    public Map<String, String> variables() {
        var variables = new TreeMap<String, String>();
        document.at("/env/variables").properties()
                .forEach(variable -> variables.put(variable.getKey(), variable.getValue().asText()));
        return variables;
    }

    private String shell() {
        return document.at("/env/shell").asText("sh");
    }

    /**
     * Runs the phases; true if all succeeded.
     *
     * @param process with directory and environment, without a command
     * @param scratch an own directory
     */
    public boolean run(ProcessBuilder process, Path scratch, Listener listener) throws IOException {
        var errors = scratch.resolve("err");
        synchronized (this) {
            if (stopped) return false;
            shell = process.command(shell()).redirectError(errors.toFile()).start();
        }
        var succeeding = true;
        try (var in = shell.outputWriter(); var out = shell.inputReader()) {
            for (var name : PHASES) {
                if (!succeeding && !name.equals("post_build") || stopped || !shell.isAlive()) break;
                listener.begins(name);
                in.write("export CODEBUILD_BUILD_SUCCEEDING=" + (succeeding ? 1 : 0) + "\n");
                Command failed = null;
                for (var block : List.of("commands", "finally")) {
                    for (var text : document.path("phases").path(name).path(block)) {
                        if (!shell.isAlive()) break;
                        var command = run(name, text.asText(), scratch, in, out);
                        listener.ran(command);
                        if (command.exitCode == 0) continue;
                        if (failed == null) failed = command;
                        break;
                    }
                }
                listener.ends(name, failed);
                succeeding &= failed == null;
                if (failed != null && !name.equals("build")) break;
            }
        } finally {
            stop();
        }
        return succeeding;
    }

    private Command run(String phase, String text, Path scratch, Writer in, BufferedReader out) throws IOException {
        var end = UUID.randomUUID().toString();
        var errors = scratch.resolve("err");
        var before = Files.size(errors);
        var file = Files.writeString(scratch.resolve("command"), text + "\n");
        var lines = new StringBuilder();
        int exitCode = -1;
        try {
            in.write(". '" + file + "' </dev/null; printf '\\n%s %d\\n' " + end + " $?\n");
            in.flush();
            for (var line = out.readLine(); line != null; line = out.readLine()) {
                if (line.startsWith(end)) {
                    exitCode = Integer.parseInt(line.substring(end.length() + 1));
                    break;
                }
                lines.append(line).append('\n');
            }
            if (exitCode == -1) exitCode = shell.waitFor(); // it has ended the shell
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
        var all = Files.readAllBytes(errors);
        var err = new String(all, (int) before, all.length - (int) before, StandardCharsets.UTF_8);
        return new Command(phase, text, exitCode, lines.toString().stripTrailing(), err);
    }

    /** Ends the shell and all that it has started. */
    public synchronized void stop() {
        stopped = true;
        if (shell == null) return;
        shell.descendants().forEach(ProcessHandle::destroy);
        shell.destroy();
    }
}
