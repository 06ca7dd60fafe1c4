import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Call;
import localaws.Fault;
import localaws.Kms;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The scripts as processes, from a shell, as an operator runs them: {@code ./jbang create-kms-key ...} against an
 * embedded AWS.
 */
@Timeout(120)
class ProcessTest {
    static final LocalAws aws = LocalAws.start();
    static final Path ROOT = Path.of("").toAbsolutePath();
    static final String REGION = "eu-west-1";
    static final String OTHER_ACCESS_KEY_ID = "AKIAI44QH8DHBEXAMPLE";
    static final String OTHER_SECRET_ACCESS_KEY = "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY";

    /** Not a part of the clone; its names would spoil arguments that a shell expands once too often. */
    @TempDir
    static Path elsewhere;
    /** JBang's own directory, empty at first: what a user trusts and has cached stays as it is, and is of no help. */
    @TempDir
    static Path jbangDirectory;

    static String vpc;

    @BeforeAll
    static void prepare() throws IOException {
        aws.iam.createRole("Developer");
        aws.iam.createRole("Backup").attached.add("aws:policy/AdministratorAccess");
        aws.kms.createAlias(REGION, "alias/process", aws.kms.createKey(REGION));
        aws.codecommit.createRepository("payments").commit("refs/heads/main", "README.md", "# Payments\n");
        aws.s3.createBucket("backups", REGION);
        vpc = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        aws.ec2.createSubnet(vpc, REGION + "a", "10.0.0.0/24");
        aws.addCredentials(OTHER_ACCESS_KEY_ID, OTHER_SECRET_ACCESS_KEY, null, "user/other", Instant.MAX);
        aws.addCredentials("ASIAIOSFODNN7EXAMPLE", OTHER_SECRET_ACCESS_KEY, "token", "assumed-role/Backup/yesterday",
                Instant.now().minusSeconds(60));
        Files.writeString(elsewhere.resolve("a b"), "");
        Files.createSymbolicLink(Files.createDirectory(elsewhere.resolve("bin")).resolve("jbang"),
                ROOT.resolve("jbang"));
        Files.writeString(elsewhere.resolve("config"), """
                [profile backup]
                role_arn = arn:aws:iam::111122223333:role/Backup
                source_profile = other
                region = eu-central-1
                """);
        Files.writeString(elsewhere.resolve("credentials"), """
                [other]
                aws_access_key_id = %1$s
                aws_secret_access_key = %2$s
                [expired]
                aws_access_key_id = ASIAIOSFODNN7EXAMPLE
                aws_secret_access_key = %2$s
                aws_session_token = token
                """.formatted(OTHER_ACCESS_KEY_ID, OTHER_SECRET_ACCESS_KEY));
    }

    @AfterAll
    static void stop() throws IOException {
        aws.close();
        try (var files = Files.walk(elsewhere)) {
            // JUnit warns of links that lead out of a temporary directory
            for (var link : files.filter(Files::isSymbolicLink).toList()) Files.delete(link);
        }
    }

    String alias;

    @BeforeEach
    void clear() {
        aws.clearFaults();
        aws.clearCalls();
        aws.onCall(call -> { });
        alias = "alias/process-" + System.nanoTime();
    }

    Kms.Key key() {
        return aws.kms.find(alias, REGION);
    }

    /**
     * A bash command; its $1, $2 ... are the arguments. It runs elsewhere, in an environment that has no more than a
     * new user's.
     */
    static final class Shell {
        private final ProcessBuilder builder;
        private Path out;
        private Path err;

        Shell(String command, String... arguments) {
            builder = new ProcessBuilder(
                    Stream.concat(Stream.of("bash", "-c", command, "bash"), Stream.of(arguments)).toList())
                    .directory(elsewhere.toFile());
            var environment = builder.environment();
            environment.keySet().removeIf(name -> name
                    .matches("(?i)(AWS|JBANG|GIT)_.*|.*_PROXY|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|LANG|LC_.*"));
            environment.putAll(Script.environment(aws));
            environment.put("JBANG_DIR", jbangDirectory.toString());
            environment.put("JBANG", ROOT.resolve("jbang").toString());
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
            out = Files.createTempFile(jbangDirectory, "out", "");
            err = Files.createTempFile(jbangDirectory, "err", "");
            return builder.redirectInput(Path.of("/dev/null").toFile()).redirectOutput(out.toFile())
                    .redirectError(err.toFile()).start();
        }

        Script.Run finish(Process process) throws Exception {
            if (!process.waitFor(60, TimeUnit.SECONDS)) {
                process.descendants().forEach(ProcessHandle::destroyForcibly);
                process.destroyForcibly();
                throw new AssertionError("does not end: " + Files.readString(err));
            }
            // What JBang says of its own work, the first time or when a script has changed, is not the script's.
            var said = Files.readString(err).lines()
                    .filter(line -> !line.startsWith("[jbang] ") || line.startsWith("[jbang] [ERROR]"))
                    .map(line -> line + "\n").toList();
            return new Script.Run(process.exitValue(), Files.readString(out), String.join("", said));
        }

        Script.Run run() throws Exception {
            return finish(start());
        }
    }

    /** {@code ./jbang create-kms-key --alias alias/... ARGUMENTS}, from elsewhere. */
    Shell createKmsKey(String... arguments) {
        return new Shell("exec \"$JBANG\" create-kms-key --alias \"$@\"",
                Stream.concat(Stream.of(alias), Stream.of(arguments)).toArray(String[]::new));
    }

    /** Exit code 1, nothing on stdout, one short line on stderr. */
    static void assertFailed(Script.Run run, String saying) {
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().startsWith("create-kms-key: ") && run.err().contains(saying), run.err());
        assertTrue(run.err().length() < 1000, run.err());
    }

    static List<String> scripts() {
        return ContractTest.scripts().stream()
                .filter(script -> Files.isExecutable(Path.of("scripts", script + ".java"))).toList();
    }

    static List<String> goodRun(String script) {
        return switch (script) {
            case "ApplyBranchDeny" -> List.of("--branches", "main", "--all-repositories", "--role-names", "Developer");
            case "BackupToS3" -> List.of("--bucket", "backups");
            case "CreateEncryptedRepo" -> List.of("--repository-name", "website", "--kms-key-id", "alias/process");
            case "CreateEndpointSecurityGroup" -> List.of("--vpc-id", vpc);
            case "CreateKmsKey" -> List.of("--environments", "production", "staging", "development");
            case "CreateVpcEndpoint" ->
                List.of("--vpc-id", vpc, "--security-group-ids", aws.ec2.createSecurityGroup(vpc, "endpoints"));
            case "VerifyBackups" -> {
                Script.use(aws);
                assertEquals(0, Script.run(new BackupToS3().commandLine(), "--bucket", "backups").exitCode());
                yield List.of("--bucket", "backups");
            }
            case "RestoreFromS3" -> {
                Script.use(aws);
                var backup = Script.run(new BackupToS3().commandLine(), "--bucket", "backups", "--repository-names",
                        "payments");
                assertEquals(0, backup.exitCode(), backup.err());
                yield List.of("--bucket", "backups", "--repository-name", "payments", "--directory",
                        elsewhere.resolve("payments.git").toString());
            }
            default -> throw new AssertionError("a good run of " + script + " is wanted here");
        };
    }

    /**
     * {@code ./jbang ALIAS ARGUMENTS}, from elsewhere, with what is built already: other tests of this class build one
     * in an empty cache.
     */
    static Shell script(String script, List<String> arguments) {
        var directory = System.getenv().getOrDefault("JBANG_DIR", System.getProperty("user.home") + "/.jbang");
        return new Shell("exec \"$JBANG\" \"$@\"",
                Stream.concat(Stream.of(ContractTest.kebab(script)), arguments.stream()).toArray(String[]::new))
                .with("JBANG_CACHE_DIR", System.getenv().getOrDefault("JBANG_CACHE_DIR", directory + "/cache"));
    }

    @ParameterizedTest
    @MethodSource("scripts")
    void everyScriptRuns(String script) throws Exception {
        var arguments = new ArrayList<>(goodRun(script));
        arguments.addAll(List.of("--print", "/status"));
        var run = script(script, arguments).run();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(ContractTest.READING.contains(script) ? "verified\n" : "created\n", run.out());
    }

    @Test
    void helpsAndRefuses() throws Exception {
        var helped = script("CreateKmsKey", List.of("--help")).run();
        assertEquals(0, helped.exitCode(), helped.err());
        assertTrue(helped.out().startsWith("Usage: create-kms-key ") && helped.out().contains("\nExamples:\n"),
                helped.out());
        assertEquals("", helped.err());
        var refused = script("CreateKmsKey", List.of("--regoin", "eu-west-1")).run();
        assertEquals(2, refused.exitCode(), refused.err());
        assertEquals("", refused.out());
        assertEquals(1, refused.err().lines().count(), refused.err());
    }

    @Test
    void theShellSeesOneDocumentAndExitCode0() throws Exception {
        var run = createKmsKey("--users", "arn:aws:iam::111122223333:role/Developer").run();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("", run.err());
        assertEquals("created", run.status());
        assertEquals(key().arn, run.json().at("/key/keyArn").asText());
        var second = createKmsKey("--users", "arn:aws:iam::111122223333:role/Developer", "-v").run();
        assertEquals("unchanged", second.status());
        assertTrue(second.err().contains("create-kms-key: Kms DescribeKey: HTTP 200\n"), second.err());
    }

    @Test
    void aResultThatCannotBeWrittenIsAFailure() throws Exception {
        assumeTrue(Files.exists(Path.of("/dev/full")), "/dev/full is missing");
        var run = new Shell("\"$JBANG\" create-kms-key --alias \"$1\" >/dev/full", alias).run();
        assertFailed(run, "this result could not be written to stdout: {\"status\":\"created\"");
        assertTrue(run.err().contains(key().arn), run.err());
    }

    @Test
    void composesInAShell() throws Exception {
        aws.kms.createAlias(REGION, alias + "-b", aws.kms.createKey(REGION));
        var run = new Shell("""
                set -euo pipefail
                PATH=$PWD/bin:$PATH
                printf '%s\\n' a b | while read -r name; do
                    key=$(jbang create-kms-key --alias "$1-$name" --print /key/keyArn)
                    echo "$name is $key"
                done
                ! jbang create-kms-key --alias "$1" --print /nothing | cat || exit 9
                """, alias).run();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("a is " + aws.kms.find(alias + "-a", REGION).arn + "\nb is "
                + aws.kms.find(alias + "-b", REGION).arn + "\n", run.out());
        assertTrue(run.err().contains("the result has nothing at /nothing"), run.err());
    }

    @Test
    void argumentsArriveAsTheyWereGiven() throws Exception {
        var odd = "it's \"50%\" of  $HOME `id` $(id) * ? [a] ~ \\ \\n ! # ; & | < > {a,b} ü € -x";
        var run = createKmsKey("--description", odd, "--tags", "Cost Center=a = b", "Owner=ü@example.com").run();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(odd, key().description, "in a locale that knows ASCII alone");
        assertEquals("{Cost Center=a = b, Owner=ü@example.com}", key().tags.toString());
        // JBang takes @config for a file of arguments
        var file = createKmsKey("--description", "@@config", "--print", "/changes/0/to").run();
        assertEquals("@config\n", file.out(), file.err());
    }

    @Test
    void runsByPathFromAnyDirectoryOfTheClone() throws Exception {
        var byPath = new Shell("../jbang CreateKmsKey.java --alias \"$1\" --print /status", alias)
                .in(ROOT.resolve("scripts")).run();
        assertEquals("created\n", byPath.out(), byPath.err());
    }

    /** What create-kms-key needs, in a directory of its own. */
    static Path copy(String name) throws IOException {
        var copy = Files.createDirectory(elsewhere.resolve(name));
        for (var file : List.of("jbang", "jbang-catalog.json", "scripts/CreateKmsKey.java", "policies/kms-key.json")) {
            Files.createDirectories(copy.resolve(file).getParent());
            Files.copy(ROOT.resolve(file), copy.resolve(file), StandardCopyOption.COPY_ATTRIBUTES);
        }
        return copy;
    }

    /** {@code ./jbang create-kms-key ARGUMENTS} of a copy, from elsewhere, with a cache of its own. */
    static Shell start(Path copy, String... arguments) {
        return new Shell("exec \"$COPY/jbang\" create-kms-key \"$@\"", arguments).with("COPY", copy)
                .with("JBANG_CACHE_DIR", copy.resolve("cache"));
    }

    /** The same where JBang cannot be asked, as its Java does not start. */
    static Shell startAlone(Path copy, String... arguments) {
        return start(copy, arguments).with("JBANG_JAVA_OPTIONS", "-XX:+NoSuchOption");
    }

    static void assertAsksJBang(Shell start) throws Exception {
        var run = start.run();
        assertEquals(1, run.exitCode(), run.out() + run.err());
        assertTrue((run.out() + run.err()).contains("NoSuchOption"), run.out() + run.err());
    }

    @Test
    void startsWithoutJBangUntilSomethingHasChanged() throws Exception {
        var copy = copy("it's a (copy) & $more");
        String[] arguments = {"--alias", alias, "--print", "/status"};
        var one = start(copy, arguments);
        var other = start(copy, "--alias", alias + "-b", "--print", "/status");
        var starting = one.start(); // nothing is built yet: one of them builds it, and the other waits
        var waiting = other.start();
        for (var run : List.of(one.finish(starting), other.finish(waiting)))
            assertEquals("created\n", run.out(), run.err());

        var odd = "it's \"50%\" of  $HOME `id` * \\ ü";
        var alone = startAlone(copy, "--alias", alias, "--description", odd).run();
        assertEquals("updated", alone.status(), alone.err());
        assertEquals(odd, key().description);
        assertEquals("", alone.err());
        assertTrue(startAlone(copy, "--alias", alias, "--print", "").run().err().contains("'' is not a JSON Pointer"),
                "an empty argument arrives");
        assertAsksJBang(startAlone(copy, "--alias", "@file"));
        assertAsksJBang(startAlone(copy, arguments).with("JBANG_FAST", 0));
        var offline = new Shell("./jbang -o create-kms-key --alias \"$1\" --print /status", alias).in(copy)
                .with("JBANG_CACHE_DIR", copy.resolve("cache")).run();
        assertEquals("unchanged\n", offline.out(), offline.err());

        for (var source : List.of("policies/kms-key.json", "scripts/CreateKmsKey.java", "jbang-catalog.json")) {
            var text = Files.readString(copy.resolve(source));
            Files.writeString(copy.resolve(source), text.replaceFirst("\n", " \n"));
            Files.setLastModifiedTime(copy.resolve(source), FileTime.fromMillis(0));
            assertAsksJBang(startAlone(copy, arguments));
            Files.writeString(copy.resolve(source), text);
        }
        assertEquals("unchanged\n", startAlone(copy, arguments).run().out());
        BackupToS3Test.delete(copy.resolve("cache/jars"));
        assertAsksJBang(startAlone(copy, arguments));
    }

    @Test
    void runsByUrlAndByCatalogAndOfflineAfterwards() throws Exception {
        var served = new CopyOnWriteArrayList<String>();
        var server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.createContext("/", exchange -> {
            served.add(exchange.getRequestURI().getPath());
            var file = ROOT.resolve(exchange.getRequestURI().getPath().substring(1)).normalize();
            var found = file.startsWith(ROOT) && Files.isRegularFile(file);
            var bytes = found ? Files.readAllBytes(file) : new byte[0];
            exchange.sendResponseHeaders(found ? 200 : 404, bytes.length == 0 ? -1 : bytes.length);
            exchange.getResponseBody().write(bytes);
            exchange.close();
        });
        server.start();
        var url = "http://127.0.0.1:" + server.getAddress().getPort();
        try {
            var trust = new Shell("\"$JBANG\" trust add \"$1\"", url + "/").run();
            assertEquals(0, trust.exitCode(), trust.err());
            assertEquals("created\n", byUrl("", url).out());
            assertTrue(served.contains("/policies/kms-key.json"), served.toString());
            assertEquals("unchanged\n", byCatalog("", url).out());
            assertTrue(served.contains("/jbang-catalog.json"), served.toString());
        } finally {
            server.stop(0);
        }
        assertEquals("unchanged\n", byUrl("", url).out(), "the server is gone");
        assertEquals("unchanged\n", byCatalog("-o", url).out());
    }

    Script.Run byUrl(String offline, String url) throws Exception {
        return new Shell("\"$JBANG\" " + offline + " \"$1\" --alias \"$2\" --print /status",
                url + "/scripts/CreateKmsKey.java", alias).run();
    }

    Script.Run byCatalog(String offline, String url) throws Exception {
        return new Shell("\"$JBANG\" " + offline + " \"$1\" --alias \"$2\" --print /status",
                "create-kms-key@" + url + "/jbang-catalog.json", alias).run();
    }

    @ParameterizedTest
    @CsvSource({"INT, 130", "TERM, 143"})
    void aSignalEndsItAndTheKeyIsNamed(String signal, int exitCode) throws Exception {
        var env = String.join(" ", Script.withDefaultSignals());
        aws.inject(Fault.on("kms:CreateAlias").delay(Duration.ofSeconds(3)));
        var keyIsMade = new CountDownLatch(1);
        aws.onCall(call -> {
            if (call.name().equals("kms:EnableKeyRotation")) keyIsMade.countDown(); // the next call is CreateAlias
        });
        var shell = new Shell("exec " + env + " \"$JBANG\" create-kms-key --alias \"$1\"", alias);
        var process = shell.start();
        assertTrue(keyIsMade.await(60, TimeUnit.SECONDS));
        Thread.sleep(300);
        var keys = aws.kms.keys(REGION);
        assertEquals(0, new ProcessBuilder("kill", "-" + signal, String.valueOf(process.pid())).start().waitFor());
        var signalled = Instant.now();
        var run = shell.finish(process);
        assertTrue(Duration.between(signalled, Instant.now()).toMillis() < 2000,
                "waits for the call that is under way");
        assertEquals(exitCode, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains(keys.get(keys.size() - 1).arn + " has no alias"), run.err());
        assertTrue(run.err().contains("aws kms schedule-key-deletion --key-id " + keys.get(keys.size() - 1).keyId),
                run.err());
    }

    @Test
    void isSmallAndShowsNoCredentialsOnOneProcessor() throws Exception {
        assumeTrue(Files.exists(Path.of("/proc/self/status")),
                "/proc is missing: memory and arguments of other processes cannot be seen");
        assumeTrue(new ProcessBuilder("taskset", "-c", "0", "true").start().waitFor() == 0, "taskset is missing");
        aws.inject(Fault.on("kms:CreateAlias").delay(Duration.ofMillis(300))); // the last call: time to look
        var shell = new Shell(
                "exec taskset -c 0 \"$JBANG\" create-kms-key --alias \"$1\" --profile backup --region eu-west-1 -v",
                alias)
                .with("AWS_CONFIG_FILE", elsewhere.resolve("config"))
                .with("AWS_SHARED_CREDENTIALS_FILE", elsewhere.resolve("credentials"));
        var process = shell.start();
        var peaks = new TreeMap<Long, Long>();
        var arguments = new ArrayList<String>();
        while (process.isAlive()) {
            for (var each : Stream.concat(Stream.of(process.toHandle()), process.descendants()).map(ProcessHandle::pid)
                    .toList()) {
                try {
                    var peak = Pattern.compile("VmHWM:\\s+(\\d+) kB")
                            .matcher(Files.readString(Path.of("/proc/" + each + "/status")));
                    if (peak.find()) peaks.merge(each, Long.parseLong(peak.group(1)), Math::max);
                    arguments.add(Files.readString(Path.of("/proc/" + each + "/cmdline")));
                } catch (IOException e) {
                    // it has ended meanwhile
                }
            }
            Thread.sleep(20);
        }
        var run = shell.finish(process);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("arn:aws:sts::111122223333:assumed-role/Backup", caller());
        assertTrue(peaks.size() >= 2, "JBang's process and the script's: " + peaks);
        assertTrue(peaks.values().stream().allMatch(kilobytes -> kilobytes < 256 * 1024), "in kB: " + peaks);
        assertTrue(arguments.stream().anyMatch(line -> line.contains("CreateKmsKey") && line.contains(alias)),
                "did not see the script's arguments");
        var secrets = Pattern.compile("(AKIA|ASIA)[A-Z0-9]{16}|" + Pattern.quote(LocalAws.SECRET_ACCESS_KEY) + "|"
                + Pattern.quote(OTHER_SECRET_ACCESS_KEY)
                + "|token\\+/|Signature=|(?i)x-amz-security-token");
        for (var seen : Stream.concat(arguments.stream(), Stream.of(run.out(), run.err())).toList())
            assertFalse(secrets.matcher(seen).find(), seen);
    }

    /** Who made the last call, without the name of the session. */
    static String caller() {
        var calls = aws.calls();
        return calls.get(calls.size() - 1).caller().replaceAll("(assumed-role/[^/]+)/.*", "$1");
    }

    @Test
    void aProfileGoesBeforeCredentialsInTheEnvironmentAndMayAssumeARole() throws Exception {
        var run = createKmsKey("--profile", "backup", "--dry-run").without("AWS_REGION", "AWS_DEFAULT_REGION")
                .with("AWS_CONFIG_FILE", elsewhere.resolve("config"))
                .with("AWS_SHARED_CREDENTIALS_FILE", elsewhere.resolve("credentials")).run();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("arn:aws:sts::111122223333:assumed-role/Backup", caller());
        assertEquals(List.of("arn:aws:iam::111122223333:user/other"),
                aws.calls().stream().filter(call -> call.name().equals("sts:AssumeRole"))
                .map(Call::caller).toList());
        assertEquals("eu-central-1", run.json().path("region").asText(), "the profile's Region");
    }

    @Test
    void expiredCredentialsAreOneLine() throws Exception {
        var files = Map.of("AWS_CONFIG_FILE", elsewhere.resolve("config"), "AWS_SHARED_CREDENTIALS_FILE",
                elsewhere.resolve("credentials"));
        var shell = createKmsKey("--profile", "expired");
        files.forEach(shell::with);
        assertFailed(shell.run(), "; sign in again");
    }

    @Test
    void missingCredentialsOrRegionAreOneLineSoon() throws Exception {
        var started = Instant.now();
        assertFailed(createKmsKey().without("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY").run(),
                "no AWS credentials: give --profile, set AWS_PROFILE, or sign in");
        assertFailed(createKmsKey().without("AWS_REGION", "AWS_DEFAULT_REGION").run(),
                "no Region: give --region or set AWS_REGION");
        assertEquals(List.of(), aws.calls());
        assertTrue(Duration.between(started, Instant.now()).toSeconds() < 60,
                "took " + Duration.between(started, Instant.now()));
    }

    /** A proxy that wants a name and a password and then reaches nobody. */
    static final class Proxy implements AutoCloseable {
        final ServerSocket socket = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        final List<String> asked = new CopyOnWriteArrayList<>();

        Proxy() throws IOException {
            var thread = new Thread(() -> {
                while (true)
                    try (var connection = socket.accept()) {
                        var head = new StringBuilder();
                        while (head.indexOf("\r\n\r\n") < 0) {
                            var next = connection.getInputStream().read();
                            if (next < 0) break;
                            head.append((char) next);
                        }
                        var signIn = Pattern.compile("(?im)^Proxy-Authorization: (.*)$").matcher(head);
                        asked.add(head.toString().lines().findFirst().orElse("")
                                + (signIn.find() ? " " + signIn.group(1) : ""));
                        connection.getOutputStream().write((signIn.find(0)
                                ? "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
                                : "HTTP/1.1 407 Sign in\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: "
                                        + "0\r\nConnection: close\r\n\r\n")
                                .getBytes());
                    } catch (IOException e) {
                        if (socket.isClosed()) return;
                    }
            });
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }

    @Test
    void reachesAwsThroughTheProxyAlone() throws Exception {
        try (var proxy = new Proxy()) {
            var address = "http://me:p%40ss%3A+@127.0.0.1:" + proxy.socket.getLocalPort();
            var signIn = " Basic " + Base64.getEncoder().encodeToString("me:p@ss:+".getBytes());
            assertFailed(createKmsKey().without("AWS_ENDPOINT_URL").with("HTTPS_PROXY", address).run(),
                    "502 Bad Gateway");
            assertEquals("CONNECT kms.eu-west-1.amazonaws.com:443 HTTP/1.1", proxy.asked.get(0));
            assertEquals("CONNECT kms.eu-west-1.amazonaws.com:443 HTTP/1.1" + signIn, proxy.asked.get(1));
            proxy.asked.clear();
            assertFailed(createKmsKey("--profile", "backup").without("AWS_ENDPOINT_URL").with("https_proxy", address)
                    .with("AWS_CONFIG_FILE", elsewhere.resolve("config"))
                    .with("AWS_SHARED_CREDENTIALS_FILE", elsewhere.resolve("credentials")).run(),
                    "502 Bad Gateway");
            assertEquals("CONNECT sts.eu-central-1.amazonaws.com:443 HTTP/1.1" + signIn, proxy.asked.get(1),
                    "the role is assumed through the proxy too");
        }
        var dead = "http://127.0.0.1:9";
        assertFailed(createKmsKey().with("AWS_ENDPOINT_URL", "http://aws.invalid/").with("HTTP_PROXY", dead).run(),
                "Connection refused");
        var around = createKmsKey("--print", "/status").with("HTTP_PROXY", dead).with("HTTPS_PROXY", dead)
                .with("NO_PROXY", "127.0.0.1").run();
        assertEquals("created\n", around.out(), around.err());
        var socks = assertThrows(RuntimeException.class,
                () -> CreateKmsKey.useProxies(Map.of("HTTPS_PROXY", "socks5://me:secret@127.0.0.1:1080")));
        assertEquals("HTTPS_PROXY is not of the form http://HOST:PORT", socks.getMessage());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "HTTPS_PROXY=http://proxy:3128                                | https://kms.eu-west-1.amazonaws.com | "
                    + "proxy:3128",
            "https_proxy=proxy HTTPS_PROXY=other                          | https://kms.eu-west-1.amazonaws.com | "
                    + "proxy:80",
            "HTTPS_PROXY=http://[fd00::1]:3128/                           | https://kms.eu-west-1.amazonaws.com | "
                    + "[fd00::1]:3128",
            "HTTP_PROXY=http://proxy:3128                                 | https://kms.eu-west-1.amazonaws.com |",
            "HTTPS_PROXY=http://proxy:3128 NO_PROXY=.amazonaws.com,x      | https://kms.eu-west-1.amazonaws.com |",
            "HTTPS_PROXY=http://proxy:3128 NO_PROXY=x,*.amazonaws.com     | https://kms.eu-west-1.amazonaws.com |",
            "HTTPS_PROXY=http://proxy:3128 NO_PROXY=amazonaws.com         | https://kms.eu-west-1.amazonaws.com |",
            "HTTPS_PROXY=http://proxy:3128 NO_PROXY=*                     | https://kms.eu-west-1.amazonaws.com |",
            "HTTPS_PROXY=http://proxy:3128 NO_PROXY=aws.com               | https://kms.eu-west-1.amazonaws.com | "
                    + "proxy:3128",
            "HTTP_PROXY=http://proxy:3128                                 | http://127.0.0.1:8080               |",
            "HTTP_PROXY=http://proxy:3128 NO_PROXY=x                      | http://localhost:8080               |",
    })
    void knowsProxies(String environment, URI address, String proxy) {
        var before = System.getProperties();
        System.setProperties((Properties) before.clone());
        try {
            CreateKmsKey.useProxies(Stream.of(environment.split(" ")).map(pair -> pair.split("=", 2))
                    .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1])));
            var chosen = ProxySelector.getDefault().select(address).get(0).address() instanceof InetSocketAddress found
                    ? found.getHostString() + ":" + found.getPort() : null;
            assertEquals(proxy, chosen);
        } finally {
            System.setProperties(before);
        }
    }

    /** A directory for PATH that has links to these tools alone. */
    static Path path(String... tools) throws IOException {
        var directory = Files.createTempDirectory(elsewhere, "path");
        for (var tool : tools) {
            var found = Stream.of(System.getenv("PATH").split(":")).map(folder -> Path.of(folder, tool))
                    .filter(Files::isExecutable).findFirst();
            Files.createSymbolicLink(directory.resolve(tool),
                    found.orElseThrow(() -> new AssertionError(tool + " is not on PATH")));
        }
        return directory;
    }

    static void fake(Path directory, String name, String script) throws IOException {
        var file = Files.writeString(directory.resolve(name), "#!/usr/bin/env bash\n" + script);
        assertTrue(file.toFile().setExecutable(true));
    }

    @Test
    void prefersAnInstalledJBang() throws Exception {
        var path = path("bash", "env", "readlink", "dirname", "grep");
        fake(path, "jbang", "printf '%s\\n' \"$@\"; exit 7\n");
        var run = new Shell("$JBANG create-kms-key --alias 'alias/x y' ''").with("PATH", path).run();
        assertEquals(7, run.exitCode(), run.err());
        assertEquals("create-kms-key@" + ROOT.resolve("jbang-catalog.json") + "\n--alias\nalias/x y\n\n", run.out());
        var options = new Shell("$JBANG --verbose run -o create-kms-key create-kms-key").with("PATH", path).run();
        assertEquals("--verbose\nrun\n-o\ncreate-kms-key@" + ROOT.resolve("jbang-catalog.json") + "\ncreate-kms-key\n",
                options.out());
        var others = new Shell("$JBANG other --alias create-kms-key").with("PATH", path).run();
        assertEquals("other\n--alias\ncreate-kms-key\n", others.out());
    }

    @Test
    void saysWhatItNeedsWhereThereIsNothing() throws Exception {
        var run = new Shell("$JBANG create-kms-key").with("PATH", path("bash", "env", "readlink", "dirname", "grep"))
                .with("XDG_CACHE_HOME", elsewhere.resolve("no-cache")).run();
        assertEquals(127, run.exitCode());
        assertEquals("", run.out());
        assertEquals("jbang: none of jbang, mvn and curl is on PATH; see https://www.jbang.dev/download\n", run.err());
    }

    @Test
    void takesJBangsInstallerWhereThereIsNoMaven() throws Exception {
        var path = path("bash", "env", "readlink", "dirname", "grep", "mkdir", "chmod", "cat");
        var directory = elsewhere.resolve("installed");
        fake(path, "curl", """
                echo "$@" >&2
                cat <<'END'
                mkdir -p "$JBANG_DIR/bin"
                printf '#!/usr/bin/env bash\\necho "JBang '"$JBANG_DOWNLOAD_VERSION"': $*"\\n' >"$JBANG_DIR/bin/jbang"
                chmod +x "$JBANG_DIR/bin/jbang"
                END
                """);
        for (var time : List.of("first", "second")) {
            var run = new Shell("$JBANG sandbox").with("PATH", path)
                    .with("XDG_CACHE_HOME", elsewhere.resolve("no-cache")).with("JBANG_DIR", directory).run();
            assertEquals(0, run.exitCode(), run.err());
            assertEquals("JBang 0.132.1: sandbox@" + ROOT.resolve("jbang-catalog.json") + "\n", run.out());
            assertEquals(
                    time.equals("first")
                            ? "jbang: fetching JBang 0.132.1 by its installer ...\n-fLsS https://sh.jbang.dev\n" : "",
                    run.err());
        }
    }

    @Test
    void fetchesJBangByMavenOnAFreshMachine() throws Exception {
        var path = Stream.of(System.getenv("PATH").split(":")).filter(folder -> !Files.exists(Path.of(folder, "jbang")))
                .toList();
        assumeTrue(path.stream().anyMatch(folder -> Files.isExecutable(Path.of(folder, "mvn"))), "mvn is missing");
        var cache = elsewhere.resolve("a cache");
        var run = new Shell("\"$JBANG\" alias list \"$1\"", ROOT.resolve("jbang-catalog.json").toString())
                .with("PATH", String.join(":", path))
                .with("XDG_CACHE_HOME", cache).run();
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().startsWith("jbang: fetching JBang 0.132.1 from Maven Central ...\n"), run.err());
        assertTrue(run.out().contains("create-kms-key"), "an old gson reads every catalog as empty: " + run.out());
        assertNotNull(cache.resolve("jbang-cli/0.132.1").toFile().list());
    }
}
