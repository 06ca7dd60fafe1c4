import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
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
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The scripts as processes, from a shell, as an operator runs them: {@code ./jbang create-kms-key ...} against an
 * embedded AWS.
 */
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

    @BeforeAll
    static void prepare() throws IOException {
        aws.iam.createRole("Developer");
        aws.iam.createRole("Backup").attached.add("aws:policy/AdministratorAccess");
        aws.addCredentials(OTHER_ACCESS_KEY_ID, OTHER_SECRET_ACCESS_KEY, null, "user/other", Instant.MAX);
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
                aws_access_key_id = %s
                aws_secret_access_key = %s
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

    /** A bash command, from elsewhere. */
    static Shell shell(String command, String... arguments) {
        return new Shell(aws, command, arguments).in(elsewhere).with("JBANG_DIR", jbangDirectory);
    }

    /** {@code ./jbang create-kms-key --alias alias/... ARGUMENTS}, from elsewhere. */
    Shell createKmsKey(String... arguments) {
        return shell("exec \"$JBANG\" create-kms-key --alias \"$@\"",
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

    /**
     * {@code ./jbang ALIAS ARGUMENTS}, from elsewhere, as the user's JBang has kept it: other tests of this class build
     * one in an empty cache.
     */
    static Shell script(String script, List<String> arguments) {
        var shell = new Shell(aws, "exec \"$JBANG\" \"$@\"",
                Stream.concat(Stream.of(Toolkit.kebab(script)), arguments.stream()).toArray(String[]::new));
        System.getenv().forEach((name, value) -> {
            if (name.matches("JBANG_(CACHE_)?DIR")) shell.with(name, value);
        });
        return shell.in(elsewhere);
    }

    @Test
    void helpsAndRefuses() throws Exception {
        var helped = script("CreateKmsKey", List.of("--help")).run();
        assertEquals(0, helped.exitCode(), helped.err());
        assertTrue(helped.out().startsWith("Usage: ./jbang create-kms-key ") && helped.out().contains("\nExamples:\n"),
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
        var run = shell("\"$JBANG\" create-kms-key --alias \"$1\" >/dev/full", alias).run();
        assertFailed(run, "stdout cannot be written to; the result is: {\"status\":\"created\"");
        assertTrue(run.err().contains(key().arn), run.err());
    }

    @Test
    void composesInAShell() throws Exception {
        aws.kms.createAlias(REGION, alias + "-b", aws.kms.createKey(REGION));
        var run = shell("""
                set -euo pipefail
                PATH=$PWD/bin:$PATH
                printf '%s\\n' a b | while read -r name; do
                    key=$(jbang create-kms-key --alias "$1-$name" --print /key/keyArn)
                    echo "$name is $key"
                done
                ! jbang create-kms-key --alias "$1" --print /key/nothing | cat || exit 9
                """, alias).run();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("a is " + aws.kms.find(alias + "-a", REGION).arn + "\nb is "
                + aws.kms.find(alias + "-b", REGION).arn + "\n", run.out());
        assertTrue(run.err().contains("the result has nothing at /key/nothing"), run.err());
    }

    @Test
    void argumentsArriveAsTheyWereGiven() throws Exception {
        var odd = "it's \"50%\" of  $HOME `id` $(id) * ? [a] ~ \\ \\n ! # ; & | < > {a,b} ü € -x";
        var run = createKmsKey("--description", odd, "--tags", "Cost Center=a = b", "Owner=ü@example.com").run();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(odd, key().description, "in a locale that knows ASCII alone");
        var tags = key().tags;
        assertEquals("a = b ü@example.com", tags.get("Cost Center") + " " + tags.get("Owner"));
        // JBang takes @config for a file of arguments
        var file = createKmsKey("--description", "@@config", "--print", "/changes/0/to").run();
        assertEquals("@config\n", file.out(), file.err());
    }

    @Test
    void runsByPathFromAnyDirectoryOfTheClone() throws Exception {
        var byPath = shell("../jbang CreateKmsKey.java --alias \"$1\" --print /status", alias)
                .in(ROOT.resolve("scripts")).run();
        assertEquals("created\n", byPath.out(), byPath.err());
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
            var trust = shell("\"$JBANG\" trust add \"$1\"", url + "/").run();
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
        return shell("\"$JBANG\" " + offline + " \"$1\" --alias \"$2\" --print /status",
                url + "/scripts/CreateKmsKey.java", alias).run();
    }

    Script.Run byCatalog(String offline, String url) throws Exception {
        return shell("\"$JBANG\" " + offline + " \"$1\" --alias \"$2\" --print /status",
                "create-kms-key@" + url + "/jbang-catalog.json", alias).run();
    }

    @ParameterizedTest
    @CsvSource({"INT, 130", "TERM, 143"})
    void aSignalEndsItAndTheKeyIsNamed(String signal, int exitCode) throws Exception {
        var env = String.join(" ", Script.withDefaultSignals());
        try (var other = LocalAws.start()) { // with a call that is never answered
            other.inject(Fault.on("kms:CreateAlias").delay(Duration.ofHours(1)));
            var keyIsMade = new CountDownLatch(1);
            other.onCall(call -> {
                if (call.name().equals("kms:EnableKeyRotation")) keyIsMade.countDown(); // the next call is CreateAlias
            });
            var shell = shell("exec " + env + " \"$JBANG\" create-kms-key --alias \"$1\"", alias)
                    .with("AWS_ENDPOINT_URL", other.endpoint());
            var process = shell.start();
            Wait.until(() -> keyIsMade.getCount() == 0 || !process.isAlive(), () -> "no key is made");
            assertEquals(0, new ProcessBuilder("kill", "-" + signal, String.valueOf(process.pid())).start().waitFor());
            var run = shell.finish(process);
            assertEquals(exitCode, run.exitCode(), run.err());
            assertEquals("", run.out());
            var key = other.kms.keys(REGION).get(0);
            assertTrue(run.err().contains(key.arn + " has no alias"), run.err());
            assertTrue(run.err().contains("aws kms schedule-key-deletion --key-id " + key.keyId), run.err());
        }
    }

    @Test
    void isSmallAndShowsNoCredentialsOnOneProcessor() throws Exception {
        assumeTrue(Files.exists(Path.of("/proc/self/status")),
                "/proc is missing: memory and arguments of other processes cannot be seen");
        assumeTrue(new ProcessBuilder("taskset", "-c", "0", "true").start().waitFor() == 0, "taskset is missing");
        var shell = shell(
                "exec taskset -c 0 \"$JBANG\" create-kms-key --alias \"$1\" --profile backup --region eu-west-1 -v",
                alias)
                .with("AWS_CONFIG_FILE", elsewhere.resolve("config"))
                .with("AWS_SHARED_CREDENTIALS_FILE", elsewhere.resolve("credentials"));
        var process = shell.start();
        var looks = new Looks(process);
        Gate.inStep(aws, call -> looks.awaitNext(), looks);
        var run = shell.finish(process);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("arn:aws:sts::111122223333:assumed-role/Backup", caller());
        assertTrue(looks.peaks.values().stream().allMatch(kilobytes -> kilobytes < 256 * 1024), "kB: " + looks.peaks);
        assertTrue(looks.arguments.stream().anyMatch(line -> line.contains("CreateKmsKey") && line.contains(alias)),
                "did not see the script's arguments");
        var secrets = Pattern.compile("(AKIA|ASIA)[A-Z0-9]{16}|" + Pattern.quote(LocalAws.SECRET_ACCESS_KEY) + "|"
                + Pattern.quote(OTHER_SECRET_ACCESS_KEY) + "|token\\+/|Signature=|(?i)x-amz-security-token");
        for (var seen : Stream.concat(looks.arguments.stream(), Stream.of(run.out(), run.err())).toList()) {
            assertFalse(secrets.matcher(seen).find(), seen);
        }
    }

    /** Looks at a process and those that it has started, as often as it can, until it ends. */
    private static final class Looks implements Supplier<Void> {
        private final Process process;
        private final AtomicInteger count = new AtomicInteger();
        /** The most memory by process, in kB. */
        final Map<Long, Long> peaks = new TreeMap<>();
        final List<String> arguments = new ArrayList<>();

        Looks(Process process) {
            this.process = process;
        }

        @Override
        public Void get() {
            for (; process.isAlive(); count.incrementAndGet()) {
                Stream.concat(Stream.of(process.toHandle()), process.descendants()).forEach(each -> look(each.pid()));
                LockSupport.parkNanos(5_000_000);
            }
            return null;
        }

        private void look(long pid) {
            try {
                var peak = Pattern.compile("VmHWM:\\s+(\\d+) kB")
                        .matcher(Files.readString(Path.of("/proc/" + pid + "/status")));
                if (peak.find()) peaks.merge(pid, Long.parseLong(peak.group(1)), Math::max);
                arguments.add(Files.readString(Path.of("/proc/" + pid + "/cmdline")));
            } catch (IOException e) {
                // it has ended meanwhile
            }
        }

        /** Until all processes of now have been looked at. */
        void awaitNext() {
            var before = count.get();
            Wait.until(() -> count.get() > before + 1 || !process.isAlive(), () -> "does not look");
        }
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

    /** A proxy that wants a name and a password and then reaches nobody. */
    static final class Proxy implements AutoCloseable {
        final ServerSocket socket = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        final List<String> asked = new CopyOnWriteArrayList<>();

        Proxy() throws IOException {
            var thread = new Thread(() -> {
                while (true) {
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
        var dead = "http://127.0.0.1:9";
        try (var proxy = new Proxy()) {
            var address = "http://me:p%40ss%3A+@127.0.0.1:" + proxy.socket.getLocalPort();
            var signIn = " Basic " + Base64.getEncoder().encodeToString("me:p@ss:+".getBytes());
            assertFailed(createKmsKey().without("AWS_ENDPOINT_URL").with("HTTPS_PROXY", address)
                    .with("HTTP_PROXY", dead).run(), "502 Bad Gateway");
            assertEquals("CONNECT sts.eu-west-1.amazonaws.com:443 HTTP/1.1", proxy.asked.get(0));
            assertEquals("CONNECT sts.eu-west-1.amazonaws.com:443 HTTP/1.1" + signIn, proxy.asked.get(1));
            proxy.asked.clear();
            assertFailed(createKmsKey("--profile", "backup").without("AWS_ENDPOINT_URL").with("https_proxy", address)
                    .with("HTTP_PROXY", dead)
                    .with("AWS_CONFIG_FILE", elsewhere.resolve("config"))
                    .with("AWS_SHARED_CREDENTIALS_FILE", elsewhere.resolve("credentials")).run(),
                    "502 Bad Gateway");
            assertEquals("CONNECT sts.eu-central-1.amazonaws.com:443 HTTP/1.1" + signIn, proxy.asked.get(1),
                    "the role is assumed by the same proxy, and not by HTTP_PROXY, as the SDK itself would");
        }
        assertFailed(createKmsKey().with("AWS_ENDPOINT_URL", "http://aws.invalid/").with("HTTP_PROXY", dead).run(),
                "Connection refused");
        var around = createKmsKey("--print", "/status").with("HTTP_PROXY", dead).with("HTTPS_PROXY", dead)
                .with("NO_PROXY", "127.0.0.1").run();
        assertEquals("created\n", around.out(), around.err());
        var socks = assertThrows(RuntimeException.class,
                () -> CreateKmsKey.useProxies(Map.of("HTTPS_PROXY", "socks5://me:secret@127.0.0.1:1080")));
        assertEquals("HTTPS_PROXY must be of the form http://HOST:PORT", socks.getMessage());
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
}
