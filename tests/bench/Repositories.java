import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/** Bare Git repositories of random contents, the same for the same name. */
final class Repositories {
    private final Path directory;

    Repositories(Path directory) {
        this.directory = directory;
    }

    /** What is written to git fast-import. */
    private interface Stream {
        void to(OutputStream out) throws IOException;
    }

    /** A history of text: so many commits, each of two files in a tree of directories, and so many tags. */
    Path history(String name, int commits, int tags) throws IOException, InterruptedException {
        var random = new Random(name.hashCode());
        var bytes = new byte[700];
        var made = make(name, List.of(), out -> {
            for (var i = 0; i < commits; i++) {
                commit(out, i);
                for (var file = 0; file < 2; file++) {
                    random.nextBytes(bytes);
                    var place = "d" + random.nextInt(40) + "/e" + random.nextInt(20) + "/f" + random.nextInt(10);
                    file(out, place, HexFormat.of().formatHex(bytes).getBytes(StandardCharsets.US_ASCII));
                }
                if (i % Math.max(1, commits / tags) == 0)
                    print(out, "reset refs/tags/v" + i + "\nfrom refs/heads/main\n\n");
            }
        });
        git(made, "repack", "-q", "-a", "-d");
        return made;
    }

    /** So many commits, each of a file of 1 MiB that does not compress. */
    Path blobs(String name, int count) throws IOException, InterruptedException {
        var random = new Random(name.hashCode());
        var bytes = new byte[1 << 20];
        // neither deflated nor compared with others, in vain
        return make(name, List.of("-c", "core.compression=0", "-c", "core.bigFileThreshold=1"), out -> {
            for (var i = 0; i < count; i++) {
                commit(out, i);
                random.nextBytes(bytes);
                file(out, "f" + i % 50, bytes);
            }
        });
    }

    private Path make(String name, List<String> options, Stream stream) throws IOException, InterruptedException {
        var made = directory.resolve(name + ".git");
        run("git", "init", "-q", "--bare", "-b", "main", made.toString());
        var command = new ArrayList<>(List.of("git", "-C", made.toString()));
        command.addAll(options);
        command.addAll(List.of("fast-import", "--quiet"));
        var git = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        try (var out = new BufferedOutputStream(git.getOutputStream(), 1 << 16)) {
            stream.to(out);
        }
        if (git.waitFor() != 0) throw new IOException("git fast-import failed");
        return made;
    }

    private static void commit(OutputStream out, int number) throws IOException {
        var message = "Commit " + number;
        var by = "committer Bench <bench@example.com> " + (1_700_000_000 + number) + " +0000\n";
        print(out, "commit refs/heads/main\n" + by + "data " + message.length() + "\n" + message + "\n");
    }

    private static void file(OutputStream out, String name, byte[] bytes) throws IOException {
        print(out, "M 644 inline " + name + "\ndata " + bytes.length + "\n");
        out.write(bytes);
        out.write('\n');
    }

    private static void print(OutputStream out, String text) throws IOException {
        out.write(text.getBytes(StandardCharsets.UTF_8));
    }

    static Map<String, String> refs(Path directory) throws IOException, InterruptedException {
        var refs = new TreeMap<String, String>();
        git(directory, "for-each-ref", "--format=%(objectname) %(refname)").lines().map(ref -> ref.split(" ", 2))
                .forEach(ref -> refs.put(ref[1], ref[0]));
        return refs;
    }

    /** What git prints in a repository. */
    static String git(Path directory, String... arguments) throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of("git", "-C", directory.toString()));
        command.addAll(Arrays.asList(arguments));
        return run(command.toArray(String[]::new));
    }

    static String run(String... command) throws IOException, InterruptedException {
        var process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        process.getOutputStream().close();
        var out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) throw new IOException(String.join(" ", command) + " failed");
        return out;
    }
}
