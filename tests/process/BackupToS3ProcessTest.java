import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import localaws.Fault;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The backup as a process of its own: memory, disk, signals, proxies. */
class BackupToS3ProcessTest extends EmptyBucket {
    @TempDir
    Path directory;

    private Process start(Map<String, String> environment, String... args) throws Exception {
        var command = new ArrayList<>(Script.withDefaultSignals());
        command.addAll(Script.java(List.of("-Xmx128m"), "BackupToS3", "--bucket", "backups"));
        command.addAll(List.of(args));
        var builder = new ProcessBuilder(command).directory(directory.toFile())
                .redirectOutput(directory.resolve("out").toFile()).redirectError(directory.resolve("err").toFile());
        Script.within(aws, builder);
        builder.environment().putAll(environment);
        return builder.start();
    }

    private String err() {
        try {
            return Files.readString(directory.resolve("err"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Its output goes through pipes, and JBang has compiled it before, so that nothing is written at all. */
    @Test
    void saves50MegabytesAnd1000RefsWithALittleMemoryAndNoDisk() throws Exception {
        assumeTrue(Observed.possible(), "memory and disk of a process are read from Linux's /proc");
        var repository = aws.codecommit.createRepository("large").defaultBranch("main");
        Repositories.addBlobs(repository.directory(), 1, 550, 100_000, 1_000);
        var command = List.of("./jbang", "-R=-Xmx128m", "backup-to-s3", "--bucket", "backups");
        var warm = Observed.run(Script.environment(aws), with(command, "--dry-run"));
        assertEquals(0, warm.exitCode(), warm.err());
        var looks = new AtomicInteger();
        aws.inject(Fault.on("s3:PutObject").after(1).hold(() -> { // the last call: nothing grows any more
            var before = looks.get();
            Wait.until(() -> looks.get() > before + 1, () -> "nobody looks");
        }));
        var run = Observed.run(Script.environment(aws), command, looks);
        assertEquals(0, run.exitCode(), run.err());
        var key = bucket.keys().stream().filter(k -> k.endsWith(".bundle")).findFirst().orElseThrow();
        assertTrue(bucket.size(key) > 50_000_000, key + " has " + bucket.size(key) + " bytes");
        assertTrue(bucket.headers(key).get("x-amz-checksum-type").equals("FULL_OBJECT"));
        assertTrue(run.memory() > 0 && run.memory() < 256 << 10, run.memory() + " KiB were resident");
        assertEquals(0, run.written(), "bytes were written to disk");
        Backups.assertRestores(bucket, repository);
    }

    private static List<String> with(List<String> command, String... more) {
        return Stream.concat(command.stream(), Stream.of(more)).toList();
    }

    /** What is begun is taken back, what is done is recorded. */
    @ParameterizedTest
    @CsvSource({"INT, 130", "TERM, 143"})
    void leavesNoUploadWhenItIsInterrupted(String signal, int exitCode) throws Exception {
        assumeTrue(Files.isExecutable(Path.of("/bin/kill")) || Files.isExecutable(Path.of("/usr/bin/kill")),
                "there is no kill");
        var large = aws.codecommit.createRepository("large").defaultBranch("main");
        Repositories.addBlobs(large.directory(), 1, 20, 1 << 20, 3);
        aws.codecommit.createRepository("small").commit("refs/heads/main", "a", "a");
        aws.inject(Fault.on("s3:UploadPart").after(1).always().delay(Duration.ofHours(1)));
        var process = start(Map.of());
        Wait.until(() -> bucket.uploads().size() == 1 && err().contains("small: created") || !process.isAlive(),
                this::err);
        assertEquals(0, new ProcessBuilder("kill", "-" + signal, String.valueOf(process.pid())).start().waitFor());
        assertEquals(exitCode, Wait.forEnd(process, this::err), err());
        assertEquals("", Files.readString(directory.resolve("out")));
        assertTrue(err().contains("interrupted: 1 of 2 repositories done"), err());
        assertFalse(err().contains("Shutdown"), err());
        assertEquals(List.of(), bucket.uploads());
        assertEquals(1, bucket.keys().stream().filter(key -> key.endsWith(".bundle")).count());
        assertEquals(1, bucket.keys().stream().filter(key -> key.contains("/runs/")).count());
        aws.clearFaults();
        Script.use(aws);
        var next = Backups.saved();
        assertEquals(List.of("created", "unchanged"), next.path("repositories").findValuesAsText("status"));
        Backups.assertRestores(bucket, large);
    }

    /**
     * JGit, left to itself, asks git for its configuration and the user's, and writes into the user's what it has
     * measured.
     */
    @Test
    void noConfigurationOfGitIsReadOrWritten() throws Exception {
        aws.codecommit.createRepository("app").commit("refs/heads/main", "a", "a");
        var home = Files.createDirectory(directory.resolve("home"));
        Files.writeString(home.resolve(".gitconfig"), "[this is no configuration\n");
        var path = Files.createDirectory(directory.resolve("path"));
        var git = Files.writeString(path.resolve("git"), "#!/bin/sh\necho \"$@\" >>\"" + directory
                + "/asked\"\nPATH=${PATH#*:} HOME=/nowhere exec git \"$@\"\n");
        assertTrue(git.toFile().setExecutable(true));
        var asked = Files.createFile(directory.resolve("asked"));
        for (var words : List.of("BackupToS3 --bucket backups", "VerifyBackups --bucket backups --deep",
                "RestoreFromS3 --bucket backups --repository-name app --directory app.git")) {
            var script = words.split(" ", 2);
            var command = Script.java(List.of("-Duser.home=" + home), script[0], script[1].split(" "));
            var builder = new ProcessBuilder(command).directory(directory.toFile()).redirectErrorStream(true)
                    .redirectOutput(directory.resolve("err").toFile());
            Script.within(aws, builder);
            builder.environment().merge("PATH", path + ":", (those, first) -> first + those);
            assertEquals(0, builder.start().waitFor(), err());
            assertEquals(List.of(".gitconfig"), Stream.of(home.toFile().list()).toList(), words);
        }
        assertEquals(List.of("fsck", "--version", "index-pack", "rev-list"),
                Files.readAllLines(asked).stream()
                        .map(line -> line.replaceFirst("^--git-dir[= ]\\S+ ", "").split(" ")[0]).toList());
    }

    /** Git goes through the proxy that the SDK goes through, and the sign-in does not stop there. */
    @Test
    void followsTheProxyForGit() throws Exception {
        aws.codecommit.createRepository("app").commit("refs/heads/main", "a", "a");
        var asked = new ConcurrentLinkedQueue<String>();
        try (var proxy = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"))) {
            var thread = new Thread(() -> {
                try {
                    while (true) {
                        try (var client = proxy.accept()) {
                            var in = new BufferedReader(new InputStreamReader(client.getInputStream()));
                            for (var line = in.readLine(); line != null && !line.isEmpty(); line = in.readLine()) {
                                asked.add(line);
                            }
                            client.getOutputStream()
                                    .write("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                                            .getBytes());
                        }
                    }
                } catch (IOException e) {
                    // closed
                }
            });
            thread.setDaemon(true);
            thread.start();
            var process = start(Map.of("HTTPS_PROXY", "http://127.0.0.1:" + proxy.getLocalPort()), "--git-endpoint",
                    "git-codecommit.eu-west-1.amazonaws.com");
            assertEquals(1, process.waitFor(), err());
        }
        assertEquals("CONNECT git-codecommit.eu-west-1.amazonaws.com:443 HTTP/1.1", asked.peek(), err());
        assertFalse(asked.stream().anyMatch(line -> line.startsWith("Authorization")), asked.toString());
        assertTrue(err().contains("app: "), err());
        assertEquals(List.of("README.md", "run"), bucket.keys().stream()
                .map(key -> key.contains("/runs/") ? "run" : key.replaceFirst(".*/", "")).sorted().toList(),
                "the run record says that it failed");
    }
}
