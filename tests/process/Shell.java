import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import localaws.LocalAws;

/** A bash command as a process of its own, in an environment that has no more than a new user's. */
final class Shell {
    private final ProcessBuilder builder;
    private Path out;
    private Path err;

    /** The command's $1, $2 ... are the arguments; its $JBANG is ./jbang. */
    Shell(LocalAws aws, String command, String... arguments) {
        builder = new ProcessBuilder(
                Stream.concat(Stream.of("bash", "-c", command, "bash"), Stream.of(arguments)).toList());
        Script.within(aws, builder);
        builder.environment().keySet().removeIf(name -> name.matches("(JBANG|GIT)_.*|LANG|LC_.*"));
        with("JBANG", Path.of("jbang").toAbsolutePath());
    }

    Shell in(Path directory) {
        builder.directory(directory.toFile());
        return this;
    }

    Shell with(String name, Object value) {
        builder.environment().put(name, value.toString());
        return this;
    }

    Shell without(String... names) {
        builder.environment().keySet().removeAll(List.of(names));
        return this;
    }

    Process start() throws IOException {
        out = Files.createTempFile("out", "");
        err = Files.createTempFile("err", "");
        return builder.redirectInput(Path.of("/dev/null").toFile()).redirectOutput(out.toFile())
                .redirectError(err.toFile()).start();
    }

    /** What the process that was started has said on stderr up to now. */
    String err() {
        try {
            return Files.readString(err);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    Script.Run finish(Process process) throws Exception {
        var exitCode = Wait.forEnd(process, this::err);
        // What JBang says of its own work, the first time or when a script has changed, is not the script's.
        var said = err().lines().filter(line -> !line.startsWith("[jbang] ") || line.startsWith("[jbang] [ERROR]"))
                .map(line -> line + "\n").toList();
        var run = new Script.Run(exitCode, Files.readString(out), String.join("", said));
        Files.delete(out);
        Files.delete(err);
        return run;
    }

    Script.Run run() throws Exception {
        return finish(start());
    }
}
