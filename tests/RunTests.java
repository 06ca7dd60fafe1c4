///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 17+
//DESCRIPTION Runs the tests: all, or the classes and methods that are named; --long takes more and fresh random cases.
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:eventbridge
//DEPS software.amazon.awssdk:sns
//DEPS info.picocli:picocli:4.7.7
//DEPS org.junit.jupiter:junit-jupiter:5.13.4
//DEPS org.junit.platform:junit-platform-launcher:1.13.4
//DEPS org.eclipse.jgit:org.eclipse.jgit:7.8.1.202611041320-r
//DEPS org.slf4j:slf4j-nop:2.0.17
//DEPS org.yaml:snakeyaml:2.5
//SOURCES ../scripts/*.java
//SOURCES Directories.java
//SOURCES EmptyBucket.java
//SOURCES Gate.java
//SOURCES Git.java
//SOURCES Projects.java
//SOURCES Repositories.java
//SOURCES Script.java
//SOURCES SignedIn.java
//SOURCES SuppliedClock.java
//SOURCES Wait.java
//SOURCES scripts/*.java
//SOURCES contract/*.java
//SOURCES process/*.java
//SOURCES campaigns/*.java
//SOURCES witnesses/*.java
//SOURCES localaws/*.java
//SOURCES acceptance/*.java
//SOURCES bench/*.java
//COMPILE_OPTIONS -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -Xlint:deprecation -Werror
//RUNTIME_OPTIONS -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx1g -Xmn32m -Dsun.net.http.retryPost=false

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectMethod;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.management.ManagementFactory;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.platform.commons.annotation.Testable;
import org.junit.platform.commons.support.AnnotationSupport;
import org.junit.platform.commons.support.HierarchyTraversalMode;
import org.junit.platform.commons.support.ReflectionSupport;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/**
 * Runs tests, from the repository's root. The last line is {@code N passed, N failed, N skipped}.
 *
 * <p>The classes are shared out to two JVMs for each processor, four at most, as tests wait nearly as much as they
 * work; within each they run one after the other, because the SDK's endpoint and credentials are system properties.
 * Under a debugger ({@code ./jbang --debug test CLASS}) a single class runs in this JVM.
 */
@Command(name = "./jbang test", sortOptions = false,
        description = "Runs the tests: all, or the classes and methods that are named.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:all that ran passed", "1:a test failed, or none passed", "2:wrong usage"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang test", "  ./jbang test CreateKmsKeyTest ProcessTest#composesInAShell",
            "  ./jbang test --seed 17 FaultCampaignTest"})
class RunTests implements Callable<Integer> {
    /**
     * These take longest: none of them is left for the end. The first two start no script as a process and need not
     * wait for {@link #build}.
     */
    private static final List<String> FIRST = List.of("ConformanceTest", "BackupToS3Test", "SandboxTest",
            "RestoreFromS3Test", "ProcessTest", "BootstrapTest", "FaultCampaignTest", "VerifyBackupsTest",
            "RandomHistoriesTest", "BackupToS3ProcessTest", "ScheduleBackupTest", "BackupChainTest");
    /** Begins what a JVM of the tests says to this one, in the last line about a class. */
    private static final String RESULT = "\u0001";

    @Spec
    CommandSpec spec;
    @Option(names = "--long", description = "Takes larger numbers, and more random cases, of seeds that are drawn anew "
            + "each time and printed.")
    boolean isLong;
    @Option(names = "--seed", paramLabel = "N", description = "The random campaigns take the case of this seed alone.")
    Long seed;
    @Option(names = {"-h", "--help"}, usageHelp = true, description = "Prints this help.")
    boolean help;
    @Parameters(paramLabel = "CLASS[#METHOD]", description = "Runs these alone.")
    List<String> named = List.of();

    /** What is to be run: a class, or class#method and more methods of it behind commas. */
    private final Queue<String> selections = new ConcurrentLinkedQueue<>();
    /** Whether it is one class, so that what it says is shown at once. */
    private boolean isAlone;
    private final Path temp;
    private final Tally total = new Tally();

    private RunTests() throws IOException {
        temp = Files.createTempDirectory("tests-");
    }

    public static void main(String[] args) throws Exception {
        if (List.of(args).equals(List.of("--serve"))) serve();
        var run = new RunTests();
        Runtime.getRuntime().addShutdownHook(new Thread(run::stop));
        System.exit(new CommandLine(run).setParameterExceptionHandler((wrong, words) -> {
            System.err.println("test: " + wrong.getMessage() + "; see ./jbang test --help");
            return CommandLine.ExitCode.USAGE;
        }).execute(args));
    }

    @Override
    public Integer call() throws Exception {
        System.setProperty("tests.long", String.valueOf(isLong));
        if (seed != null) System.setProperty("tests.seed", String.valueOf(seed));
        selections.addAll(selections());
        run();
        total.slow.sort(Comparator.comparing(test -> -Double.parseDouble(test.split(" ")[0])));
        if (!total.slow.isEmpty()) System.out.println("The slowest tests, in seconds:");
        total.slow.stream().limit(30).forEach(test -> System.out.println("    " + test));
        System.out.println(total.passed + " passed, " + total.failed + " failed, " + total.skipped + " skipped");
        return total.failed > 0 || total.passed == 0 ? 1 : 0;
    }

    // ---- What is to be run

    /** All classes, the longest first; or those that are named, each once. */
    private List<String> selections() throws IOException {
        var classes = classes();
        if (named.isEmpty()) return classes;
        var methods = new LinkedHashMap<String, Set<String>>();
        for (var name : named) {
            var words = name.split("#", 2);
            if (!classes.contains(words[0])) throw unknown("test class", words[0], classes);
            var known = methods(find(words[0])).stream().map(Method::getName).toList();
            if (words.length > 1 && !known.contains(words[1])) throw unknown("test in " + words[0], words[1], known);
            var wanted = methods.computeIfAbsent(words[0], one -> new TreeSet<>());
            if (words.length > 1) wanted.add(words[1]);
            else wanted.addAll(known);
        }
        return methods.entrySet().stream().map(one -> selection(one.getKey(), one.getValue())).toList();
    }

    private static String selection(String name, Set<String> wanted) {
        var all = methods(find(name)).stream().map(Method::getName).allMatch(wanted::contains);
        return all ? name : name + "#" + String.join(",", wanted);
    }

    private static List<String> classes() throws IOException {
        try (var files = Files.walk(Path.of("tests"))) {
            return files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith("Test.java"))
                    .map(name -> name.replace(".java", "")).sorted()
                    .sorted(Comparator.comparing(name -> FIRST.contains(name) ? FIRST.indexOf(name) : FIRST.size()))
                    .toList();
        }
    }

    private static Class<?> find(String name) {
        try {
            return Class.forName(name);
        } catch (ClassNotFoundException e) {
            try {
                return Class.forName("localaws." + name);
            } catch (ClassNotFoundException none) {
                throw new IllegalStateException(name + " is in neither of the tests' packages", none);
            }
        }
    }

    /** Its tests, and those of the classes that are nested in it. */
    private static List<Method> methods(Class<?> type) {
        var nested = ReflectionSupport.streamNestedClasses(type, inner -> true);
        return Stream.concat(Stream.of(type), nested).flatMap(each -> AnnotationSupport
                .findAnnotatedMethods(each, Testable.class, HierarchyTraversalMode.TOP_DOWN).stream()).toList();
    }

    private ParameterException unknown(String what, String name, Collection<String> known) {
        var nearest = known.stream().distinct().sorted(Comparator.comparing(other -> distance(name, other))).limit(3);
        return new ParameterException(spec.commandLine(), "there is no " + what + " named " + name + "; the nearest: "
                + nearest.collect(Collectors.joining(", ")));
    }

    /** How many letters must be added, taken away or replaced, whatever their case; less where one is in the other. */
    private static int distance(String one, String other) {
        var a = one.toLowerCase();
        var b = other.toLowerCase();
        var above = IntStream.rangeClosed(0, b.length()).toArray();
        for (var i = 1; i <= a.length(); i++) {
            var row = new int[b.length() + 1];
            row[0] = i;
            for (var j = 1; j <= b.length(); j++) {
                var replaced = above[j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                row[j] = Math.min(replaced, 1 + Math.min(row[j - 1], above[j]));
            }
            above = row;
        }
        return b.contains(a) || a.contains(b) ? 1 : above[b.length()];
    }

    private static List<? extends DiscoverySelector> selectors(String selection) {
        var words = selection.split("#");
        var type = find(words[0]);
        if (words.length == 1) return List.of(selectClass(type));
        var wanted = List.of(words[1].split(","));
        return methods(type).stream().filter(method -> wanted.contains(method.getName()))
                .map(method -> selectMethod(method.getDeclaringClass(), method)).toList();
    }

    private static Tally execute(String selection) {
        var report = new Report();
        // a guard against a test that hangs, not a measure of one that is slow
        var timeout = Boolean.getBoolean("tests.long") ? "3 h" : "30 m";
        LauncherFactory.create().execute(LauncherDiscoveryRequestBuilder.request().selectors(selectors(selection))
                .configurationParameter("junit.jupiter.execution.timeout.default", timeout).build(), report);
        if (report.tally.passed + report.tally.failed + report.tally.skipped == 0) {
            report.tally.failed++;
            System.out.println("FAILED " + selection + ": it has no tests");
        }
        return report.tally;
    }

    // ---- The JVM that was started

    private void run() throws Exception {
        isAlone = selections.size() == 1;
        if (isAlone && options().anyMatch(option -> option.startsWith("-agentlib:"))) {
            var selection = selections.remove();
            var start = started(selection);
            ended(selection, start, "", execute(selection).toString());
            return;
        }
        var build = new Thread(this::build);
        if (!isAlone) build.start();
        var jvms = 2 * Math.min(2, Runtime.getRuntime().availableProcessors());
        var sharers = IntStream.range(0, Math.min(jvms, selections.size()))
                .mapToObj(i -> new Thread(() -> share(i, build))).toList();
        sharers.forEach(Thread::start);
        for (var sharer : sharers) sharer.join();
        build.join();
    }

    /**
     * JBang does not lock its cache: a script that is not built yet must not be started by the tests of two JVMs at
     * once. Each is started once, so that its command is kept and no test waits for JBang. Of what javac notes
     * (deprecated, unchecked), users would read at a script's first start.
     */
    private void build() {
        try (var files = Files.list(Path.of("scripts"))) {
            var scripts = files.map(file -> file.getFileName().toString().replace(".java", "")).sorted().toList();
            for (var script : scripts) runOnce("./jbang", Toolkit.kebab(script), "--version");
            runOnce("./jbang", "build", "tests/localaws/Sandbox.java");
        } catch (IOException | InterruptedException e) {
            failed("./jbang", e.toString());
        }
    }

    private void runOnce(String... command) throws IOException, InterruptedException {
        var builder = new ProcessBuilder(command).redirectErrorStream(true);
        // halves javac's time
        builder.environment().merge("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Duser.language=en",
                (given, more) -> given + " " + more);
        var process = builder.start();
        var said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0 || said.contains("Note: ")) failed(String.join(" ", command), said);
    }

    /** Hands class after class to a JVM, and shows what it says when it is done with one: what two say never mixes. */
    private void share(int number, Thread build) {
        Process jvm = null;
        for (var selection = selections.poll(); selection != null; selection = selections.poll()) {
            try {
                if (!FIRST.subList(0, 2).contains(selection.split("#")[0])) build.join();
                if (jvm == null) jvm = start(Files.createDirectories(temp.resolve(String.valueOf(number))));
                var start = started(selection);
                var watch = watch(jvm);
                jvm.outputWriter().append(selection).append('\n').flush();
                var said = new StringBuilder();
                var line = jvm.inputReader().readLine();
                for (; line != null && !line.contains(RESULT); line = jvm.inputReader().readLine()) {
                    if (isAlone) System.out.println(line);
                    else said.append(line).append('\n');
                }
                watch.shutdownNow();
                if (line == null) {
                    System.out.print(said);
                    failed(selection, "its JVM ended with exit code " + jvm.waitFor() + " and no result");
                    jvm = null;
                } else {
                    var end = line.indexOf(RESULT);
                    ended(selection, start, said + line.substring(0, end), line.substring(end + 1));
                }
            } catch (IOException | InterruptedException e) {
                failed(selection, e.toString());
                jvm = null;
            }
        }
    }

    private static Stream<String> options() {
        return ManagementFactory.getRuntimeMXBean().getInputArguments().stream();
    }

    /** With this one's options, but a temporary directory of its own, as some tests look at what is left there. */
    private static Process start(Path directory) throws IOException {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        options().filter(option -> !option.startsWith("-agentlib:")).forEach(command::add);
        for (var name : List.of("tests.long", "tests.seed")) {
            if (System.getProperty(name) != null) command.add("-D" + name + "=" + System.getProperty(name));
        }
        command.addAll(List.of("-Djava.io.tmpdir=" + directory, "-cp", System.getProperty("java.class.path"),
                "RunTests", "--serve"));
        var builder = new ProcessBuilder(command).redirectErrorStream(true);
        // no profile, endpoint or CA bundle of this machine
        builder.environment().keySet().removeIf(name -> name.startsWith("AWS_"));
        skipShims(builder.environment());
        return builder.start();
    }

    /**
     * Does once what pyenv's stand-ins for aws and python3 do at each call, which is a third of the time of an AWS CLI
     * command.
     */
    private static void skipShims(Map<String, String> environment) throws IOException {
        if (Stream.of(environment.getOrDefault("PATH", "").split(":")).noneMatch(folder -> folder.endsWith("/shims"))) {
            return;
        }
        var pyenv = new ProcessBuilder("pyenv", "prefix").redirectError(ProcessBuilder.Redirect.DISCARD).start();
        var prefix = new String(pyenv.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        if (!prefix.isEmpty()) {
            environment.merge("PATH", prefix.replace(":", "/bin:") + "/bin:", (path, first) -> first + path);
        }
    }

    /** Ends a JVM that hangs, as no machine is so slow, after it has printed what its threads do. */
    private static ScheduledExecutorService watch(Process jvm) {
        var watch = Executors.newSingleThreadScheduledExecutor();
        var minutes = Boolean.getBoolean("tests.long") ? 600 : 90;
        watch.schedule(() -> new ProcessBuilder("kill", "-QUIT", String.valueOf(jvm.pid())).start().waitFor(), minutes,
                TimeUnit.MINUTES);
        watch.schedule(jvm::destroyForcibly, minutes * 60 + 5, TimeUnit.SECONDS);
        return watch;
    }

    private static long started(String selection) {
        System.out.println("[" + LocalTime.now().withNano(0) + "] " + title(selection));
        return System.nanoTime();
    }

    /** A selection without the methods, which may be many. */
    private static String title(String selection) {
        return selection.contains(",") ? selection.split("#")[0] : selection;
    }

    private synchronized void ended(String selection, long start, String said, String tally) {
        System.out.print(said);
        System.out.println("[" + LocalTime.now().withNano(0) + "] " + title(selection) + ": "
                + (System.nanoTime() - start) / 1_000_000_000 + " s");
        total.add(tally);
    }

    private synchronized void failed(String what, String why) {
        System.out.println("FAILED " + title(what) + ": " + why);
        total.failed++;
    }

    /** At the end and at Ctrl-C: no JVM of the tests, nothing that they started, and none of their files is left. */
    private void stop() {
        selections.clear(); // no more of them are begun
        var children = ProcessHandle.current().descendants().toList();
        children.forEach(ProcessHandle::destroy);
        for (var child : children) {
            try {
                child.onExit().get(5, TimeUnit.SECONDS);
            } catch (Exception e) {
                child.destroyForcibly();
            }
        }
        try (var files = Files.walk(temp)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        } catch (IOException e) {
            System.err.println("not all of " + temp + " could be deleted: " + e);
        }
    }

    // ---- A JVM of the tests

    /**
     * Runs each selection that a line on stdin is. Ends with stdin: also when the JVM that holds its other end is
     * killed.
     */
    private static void serve() {
        var work = Executors.newSingleThreadExecutor();
        new BufferedReader(new InputStreamReader(System.in)).lines().forEach(selection -> work.execute(() -> {
            try {
                System.out.println(RESULT + execute(selection));
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
            if (test.isTest() && seconds > 2) {
                tally.slow.add("%.1f %s".formatted(seconds, name(test)).replaceAll("\\s", " "));
            }
            switch (result.getStatus()) {
                case SUCCESSFUL -> tally.passed += test.isTest() ? 1 : 0;
                case ABORTED -> skipped(test, result.getThrowable().map(Throwable::getMessage).orElse(""));
                case FAILED -> {
                    tally.failed++;
                    System.out.println("FAILED " + name(test));
                    result.getThrowable().ifPresent(e -> {
                        var trace = new StringWriter();
                        e.printStackTrace(new PrintWriter(trace));
                        var lines = trace.toString().lines()
                                .filter(l -> !l.contains("org.junit.") && !l.contains("java.base/")).toList();
                        var end = Math.max(10, lines.size() - 40); // of a long output the end says most
                        lines.stream().limit(10).forEach(l -> System.out.println("    " + l));
                        lines.stream().skip(end).forEach(l -> System.out.println("    " + l));
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
                    test.getUniqueIdObject().getSegments().size())) {
                parts.add(segment.getValue());
            }
            return String.join(" ", parts)
                    + (parts.get(parts.size() - 1).startsWith("#") ? " " + test.getDisplayName() : "");
        }
    }
}
