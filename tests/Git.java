import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Plain git, without this machine's settings: another reader and writer than the scripts' JGit. */
final class Git {
    private Git() {
    }

    /** What a git command prints in a directory, on stdout and stderr; it must succeed. */
    static String run(Path directory, String... arguments) {
        var command = new ArrayList<>(List.of("git", "-C", directory.toString()));
        command.addAll(Arrays.asList(arguments));
        var builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().putAll(Map.of("GIT_CONFIG_GLOBAL", "/dev/null", "GIT_CONFIG_NOSYSTEM", "1",
                "GIT_AUTHOR_NAME", "Ada", "GIT_AUTHOR_EMAIL", "ada@example.com",
                "GIT_COMMITTER_NAME", "Ada", "GIT_COMMITTER_EMAIL", "ada@example.com", "LC_ALL", "C.UTF-8"));
        try {
            var process = builder.start();
            process.getOutputStream().close();
            var output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            if (process.waitFor() != 0) throw new IOException(String.join(" ", command) + ": " + output);
            return output;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The ids of all refs, by their names. */
    static Map<String, String> refs(Path repository) {
        var refs = new TreeMap<String, String>();
        run(repository, "for-each-ref", "--format=%(objectname) %(refname)").lines().map(line -> line.split(" ", 2))
                .forEach(ref -> refs.put(ref[1], ref[0]));
        return refs;
    }

    /** HEAD, where the repository has one, and all refs. */
    static String state(Path repository, boolean hasHead) throws IOException {
        return (hasHead ? Files.readString(repository.resolve("HEAD")) : "")
                + run(repository, "for-each-ref", "--format=%(objectname) %(refname)");
    }

    /** What git finds wrong in a repository's objects, without its notices. */
    static String fsck(Path repository) {
        // else git starts two more processes, for files that there are none of
        return run(repository, "-c", "core.commitGraph=false", "-c", "core.multiPackIndex=false", "fsck", "--strict",
                "--full", "--no-dangling", "--no-progress").replaceAll("notice: .*\n", "");
    }
}
