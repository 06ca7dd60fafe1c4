import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Programs that are no part of the toolkit and that a machine may lack. */
final class Program {
    private static final Map<String, Boolean> FOUND = new ConcurrentHashMap<>();

    private Program() {
    }

    /** Skips a test where a program is missing; the command is one that a right installation answers. */
    static void needs(String what, String... command) {
        assumeTrue(has(command), what + " is not installed (" + String.join(" ", command) + ")");
    }

    static boolean has(String... command) {
        return FOUND.computeIfAbsent(String.join(" ", command), words -> {
            try {
                return run(Path.of("."), Map.of(), command).exitCode() == 0;
            } catch (UncheckedIOException e) {
                return false; // no such program
            }
        });
    }

    static void needsAwsCli() {
        needs("the AWS CLI", "aws", "--version");
    }

    static boolean hasBoto() {
        return has("python3", "-c", "import boto3");
    }

    /** Without anything on stdin. */
    static Script.Run run(Path directory, Map<String, String> environment, String... command) {
        try {
            var err = Files.createTempFile("program-", ".err");
            var builder = new ProcessBuilder(command).directory(directory.toFile()).redirectError(err.toFile());
            builder.environment().putAll(environment);
            builder.environment()
                    .putAll(Map.of("AWS_PAGER", "", "GIT_TERMINAL_PROMPT", "0", "PYTHONWARNINGS", "ignore"));
            var process = builder.start();
            process.getOutputStream().close();
            var out = new String(process.getInputStream().readAllBytes());
            var run = new Script.Run(process.waitFor(), out, Files.readString(err));
            Files.delete(err);
            return run;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
