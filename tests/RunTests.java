///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 17+
//DESCRIPTION Runs the tests: all of them, or the classes that are named; --long takes more random cases and larger numbers.
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS org.junit.jupiter:junit-jupiter:5.13.4
//DEPS org.junit.platform:junit-platform-launcher:1.13.4
//DEPS org.eclipse.jgit:org.eclipse.jgit:7.8.1.202611041320-r
//DEPS org.slf4j:slf4j-nop:2.0.17
//DEPS org.yaml:snakeyaml:2.5
//SOURCES ../scripts/*.java
//SOURCES *Test.java
//SOURCES Script.java
//SOURCES bench/*.java
//SOURCES witnesses/*.java
//SOURCES localaws/*.java
//COMPILE_OPTIONS -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC
//RUNTIME_OPTIONS -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx1g -Xmn32m -Dsun.net.http.retryPost=false

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * {@code ./jbang test [--long] [CLASS...]}, from the repository's root. The last line is
 * {@code N passed, N failed, N skipped}.
 *
 * <p>A single class runs in this JVM. More are shared out to one JVM more than there are processors, three at most, as
 * tests wait nearly as much as they work; within each they run one after the other, because the SDK's endpoint and
 * credentials are system properties.
 */
class RunTests {
    /**
     * These take longest: none of them is left for the end. The first two start no script as a process and need not
     * wait for {@link #build}.
     */
    private static final List<String> FIRST = List.of("ConformanceTest", "BackupToS3Test", "ProcessTest", "SandboxTest",
            "RestoreFromS3Test", "FaultCampaignTest",
            "VerifyBackupsTest", "RandomHistoriesTest", "BackupToS3ProcessTest");
    /** Begins what a JVM of the tests says to this one, in the last line about a class. */
    private static final String RESULT = "\u0001";

    private final Queue<String> classes;
    private final Path temp;
    private final Tally total = new Tally();

    private RunTests(List<String> classes) throws IOException {
        this.classes = new ConcurrentLinkedQueue<>(classes);
        temp = Files.createTempDirectory("tests-");
    }

    public static void main(String[] args) throws Exception {
        var names = new ArrayList<>(Arrays.asList(args));
        if (names.remove("--serve")) serve();
        System.setProperty("tests.long", String.valueOf(names.remove("--long")));
        if (names.isEmpty())
            try (var files = Files.walk(Path.of("tests"))) {
                files.map(f -> f.getFileName().toString()).filter(f -> f.endsWith("Test.java"))
                        .map(f -> f.replace(".java", "")).sorted().forEach(names::add);
                names.sort(Comparator.comparing(name -> FIRST.contains(name) ? FIRST.indexOf(name) : FIRST.size()));
            }
        for (var name : names) find(name);
        var run = new RunTests(names);
        Runtime.getRuntime().addShutdownHook(new Thread(run::stop));
        run.run();
        run.total.slow.sort(Comparator.comparing(test -> -Double.parseDouble(test.split(" ")[0])));
        if (!run.total.slow.isEmpty()) System.out.println("The slowest tests, in seconds:");
        run.total.slow.stream().limit(30).forEach(test -> System.out.println("    " + test));
        System.out.println(
                run.total.passed + " passed, " + run.total.failed + " failed, " + run.total.skipped + " skipped");
        System.exit(run.total.failed > 0 || run.total.passed == 0 ? 1 : 0);
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        try {
            return Class.forName(name);
        } catch (ClassNotFoundException e) {
            return Class.forName("localaws." + name);
        }
    }

    private static Tally execute(String name) throws ClassNotFoundException {
        var report = new Report();
        LauncherFactory.create()
                .execute(LauncherDiscoveryRequestBuilder.request().selectors(selectClass(find(name))).build(), report);
        if (report.tally.toString().startsWith("0\t0\t0")) {
            report.tally.failed++;
            System.out.println("FAILED " + name + ": it has no tests");
        }
        return report.tally;
    }

    // ---- The JVM that was started

    private void run() throws Exception {
        if (classes.size() == 1) {
            var name = classes.remove();
            var start = started(name);
            ended(name, start, "", execute(name).toString());
            return;
        }
        var build = new Thread(this::build);
        build.start();
        var sharers = IntStream.range(0, 1 + Math.min(2, Runtime.getRuntime().availableProcessors()))
                .mapToObj(i -> new Thread(() -> share(i, build))).toList();
        sharers.forEach(Thread::start);
        for (var sharer : sharers) sharer.join();
        build.join();
    }

    /**
     * JBang does not lock its cache: a script that is not built yet must not be started by the tests of two JVMs at
     * once.
     */
    private void build() {
        try (var files = Files.list(Path.of("scripts"))) {
            var scripts = new ArrayList<>(files.map(Path::toString).sorted().toList());
            scripts.add("tests/localaws/Sandbox.java");
            for (var script : scripts) {
                var builder = new ProcessBuilder("./jbang", "build", script).redirectErrorStream(true);
                // halves javac's time
                builder.environment().merge("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
                        (given, more) -> given + " " + more);
                var process = builder.start();
                var said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
                if (process.waitFor() != 0) failed("./jbang build " + script, said);
            }
        } catch (IOException | InterruptedException e) {
            failed("./jbang build", e.toString());
        }
    }

    /** Hands class after class to a JVM, and shows what it says when it is done with one: what two say never mixes. */
    private void share(int number, Thread build) {
        Process jvm = null;
        for (var name = classes.poll(); name != null; name = classes.poll())
            try {
                if (FIRST.indexOf(name) < 0 || FIRST.indexOf(name) > 1) build.join();
                if (jvm == null) jvm = start(Files.createDirectories(temp.resolve(String.valueOf(number))));
                var start = started(name);
                var watch = watch(jvm);
                jvm.outputWriter().append(name).append('\n').flush();
                var said = new StringBuilder();
                var line = jvm.inputReader().readLine();
                for (; line != null && !line.contains(RESULT); line = jvm.inputReader().readLine())
                    said.append(line).append('\n');
                watch.shutdownNow();
                if (line != null) ended(name, start, said + line.substring(0, line.indexOf(RESULT)),
                        line.substring(line.indexOf(RESULT) + 1));
                else {
                    System.out.print(said);
                    failed(name, "its JVM ended with exit code " + jvm.waitFor() + " and no result");
                    jvm = null;
                }
            } catch (IOException | InterruptedException e) {
                failed(name, e.toString());
                jvm = null;
            }
    }

    /** With this one's options, but a temporary directory of its own, as some tests look at what is left there. */
    private static Process start(Path directory) throws IOException {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
                .filter(option -> !option.startsWith("-agentlib:")).forEach(command::add);
        command.addAll(List.of("-Djava.io.tmpdir=" + directory, "-Dtests.long=" + System.getProperty("tests.long"),
                "-cp", System.getProperty("java.class.path"), "RunTests", "--serve"));
        var builder = new ProcessBuilder(command).redirectErrorStream(true);
        skipShims(builder.environment());
        return builder.start();
    }

    /**
     * Does once what pyenv's stand-ins for aws and python3 do at each call, which is a third of the time of an AWS CLI
     * command.
     */
    private static void skipShims(Map<String, String> environment) throws IOException {
        if (Stream.of(environment.getOrDefault("PATH", "").split(":")).noneMatch(folder -> folder.endsWith("/shims")))
            return;
        var pyenv = new ProcessBuilder("pyenv", "prefix").redirectError(ProcessBuilder.Redirect.DISCARD).start();
        var prefix = new String(pyenv.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        if (!prefix.isEmpty())
            environment.merge("PATH", prefix.replace(":", "/bin:") + "/bin:", (path, first) -> first + path);
    }

    /** Ends a JVM that takes far too long for one class, after it has printed what its threads do. */
    private static ScheduledExecutorService watch(Process jvm) {
        var watch = Executors.newSingleThreadScheduledExecutor();
        var minutes = Boolean.getBoolean("tests.long") ? 180 : 15;
        watch.schedule(() -> new ProcessBuilder("kill", "-QUIT", String.valueOf(jvm.pid())).start().waitFor(), minutes,
                TimeUnit.MINUTES);
        watch.schedule(jvm::destroyForcibly, minutes * 60 + 5, TimeUnit.SECONDS);
        return watch;
    }

    private static long started(String name) {
        System.out.println("[" + LocalTime.now().withNano(0) + "] " + name);
        return System.nanoTime();
    }

    private synchronized void ended(String name, long start, String said, String tally) {
        System.out.print(said);
        System.out.println("[" + LocalTime.now().withNano(0) + "] " + name + ": "
                + (System.nanoTime() - start) / 1_000_000_000 + " s");
        total.add(tally);
    }

    private synchronized void failed(String name, String why) {
        System.out.println("FAILED " + name + ": " + why);
        total.failed++;
    }

    /** At the end and at Ctrl-C: no JVM of the tests, nothing that they started, and none of their files is left. */
    private void stop() {
        classes.clear(); // no more of them are begun
        var children = ProcessHandle.current().descendants().toList();
        children.forEach(ProcessHandle::destroy);
        for (var child : children)
            try {
                child.onExit().get(5, TimeUnit.SECONDS);
            } catch (Exception e) {
                child.destroyForcibly();
            }
        try (var files = Files.walk(temp)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        } catch (IOException e) {
            System.err.println("not all of " + temp + " could be deleted: " + e);
        }
    }

    // ---- A JVM of the tests

    /**
     * Runs each class that a line on stdin names. Ends with stdin: also when the JVM that holds its other end is
     * killed.
     */
    private static void serve() {
        var work = Executors.newSingleThreadExecutor();
        new BufferedReader(new InputStreamReader(System.in)).lines().forEach(name -> work.execute(() -> {
            try {
                System.out.println(RESULT + execute(name));
            } catch (Throwable e) {
                e.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
        }));
        System.exit(0);
    }

    /** How tests ended. */
    static class Tally {
        int passed;
        int failed;
        int skipped;
        final List<String> slow = new ArrayList<>();

        @Override
        public String toString() {
            return passed + "\t" + failed + "\t" + skipped + "\t" + String.join("\t", slow);
        }

        /** Adds what {@link #toString} has said. */
        void add(String tally) {
            var parts = List.of(tally.split("\t"));
            passed += Integer.parseInt(parts.get(0));
            failed += Integer.parseInt(parts.get(1));
            skipped += Integer.parseInt(parts.get(2));
            slow.addAll(parts.subList(3, parts.size()));
        }
    }

    /** Counts, and prints the whole story of what failed. */
    static class Report implements TestExecutionListener {
        final Tally tally = new Tally();
        private final Map<TestIdentifier, Long> started = new HashMap<>();

        @Override
        public void executionStarted(TestIdentifier test) {
            started.put(test, System.nanoTime());
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            var seconds = (System.nanoTime() - started.remove(test)) / 1e9;
            if (test.isTest() && seconds > 2)
                tally.slow.add("%.1f %s".formatted(seconds, name(test)).replaceAll("\\s", " "));
            switch (result.getStatus()) {
                case SUCCESSFUL -> tally.passed += test.isTest() ? 1 : 0;
                case ABORTED -> skipped(test, result.getThrowable().map(Throwable::getMessage).orElse(""));
                case FAILED -> {
                    tally.failed++;
                    System.out.println("FAILED " + name(test));
                    result.getThrowable().ifPresent(e -> {
                        var trace = new StringWriter();
                        e.printStackTrace(new PrintWriter(trace));
                        trace.toString().lines().filter(l -> !l.contains("org.junit.") && !l.contains("java.base/"))
                                .limit(40).forEach(l -> System.out.println("    " + l));
                    });
                }
            }
        }

        @Override
        public void executionSkipped(TestIdentifier test, String reason) {
            skipped(test, reason);
        }

        private void skipped(TestIdentifier test, String reason) {
            tally.skipped++;
            System.out.println("SKIPPED " + name(test) + ": " + reason);
        }

        private static String name(TestIdentifier test) {
            var parts = new ArrayList<String>();
            for (var segment : test.getUniqueIdObject().getSegments().subList(1,
                    test.getUniqueIdObject().getSegments().size()))
                parts.add(segment.getValue());
            return String.join(" ", parts)
                    + (parts.get(parts.size() - 1).startsWith("#") ? " " + test.getDisplayName() : "");
        }
    }
}
