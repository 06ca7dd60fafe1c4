import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;

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
        var made = init(name);
        add(made, List.of(), out -> {
            for (var i = 0; i < commits; i++) {
                commit(out, i);
                for (var file = 0; file < 2; file++) {
                    random.nextBytes(bytes);
                    var place = "d" + random.nextInt(40) + "/e" + random.nextInt(20) + "/f" + random.nextInt(10);
                    file(out, place, HexFormat.of().formatHex(bytes).getBytes(StandardCharsets.US_ASCII));
                }
                if (i % Math.max(1, commits / tags) == 0) {
                    print(out, "reset refs/tags/v" + i + "\nfrom refs/heads/main\n\n");
                }
            }
        });
        Git.run(made, "repack", "-q", "-a", "-d");
        return made;
    }

    /** So many commits, each of a file of 1 MiB that does not compress. */
    Path blobs(String name, int count) throws IOException, InterruptedException {
        var made = init(name);
        addBlobs(made, name.hashCode(), count, 1 << 20, 0);
        return made;
    }

    /**
     * Adds commits to main, each of a file of so many random bytes, which do not get smaller in a pack; and branches
     * and tags, as many of both together as are asked for, at one of the commits after the other.
     */
    static void addBlobs(Path repository, long seed, int commits, int size, int refs)
            throws IOException, InterruptedException {
        var random = new Random(seed);
        var bytes = new byte[size];
        // neither deflated nor compared with others, in vain
        var options = List.of("-c", "core.compression=0", "-c", "core.bigFileThreshold=1");
        add(repository, options, out -> {
            for (var i = 0; i < commits; i++) {
                commit(out, i);
                random.nextBytes(bytes);
                file(out, "f" + i % 50, bytes);
            }
            for (var i = 0; i < refs; i++) {
                print(out, "reset refs/" + (i % 2 == 0 ? "heads" : "tags") + "/r" + i + "\nfrom :" + (i % commits + 1)
                        + "\n\n");
            }
        });
    }

    private Path init(String name) {
        var made = directory.resolve(name + ".git");
        Git.run(directory, "init", "-q", "--bare", "-b", "main", made.toString());
        return made;
    }

    private static void add(Path repository, List<String> options, Stream stream)
            throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of("git", "-C", repository.toString()));
        command.addAll(options);
        command.addAll(List.of("fast-import", "--quiet"));
        var git = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        try (var out = new BufferedOutputStream(git.getOutputStream(), 1 << 16)) {
            stream.to(out);
        }
        if (git.waitFor() != 0) throw new IOException("git fast-import failed");
    }

    private static void commit(OutputStream out, int number) throws IOException {
        var message = "Commit " + number;
        var by = "committer Bench <bench@example.com> " + (1_700_000_000 + number) + " +0000\n";
        print(out, "commit refs/heads/main\nmark :" + (number + 1) + "\n" + by);
        print(out, "data " + message.length() + "\n" + message + "\n");
    }

    private static void file(OutputStream out, String name, byte[] bytes) throws IOException {
        print(out, "M 644 inline " + name + "\ndata " + bytes.length + "\n");
        out.write(bytes);
        out.write('\n');
    }

    private static void print(OutputStream out, String text) throws IOException {
        out.write(text.getBytes(StandardCharsets.UTF_8));
    }
}
