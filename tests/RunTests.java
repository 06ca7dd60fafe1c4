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
//SOURCES localaws/*.java
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmx1g

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** {@code ./jbang test [--long] [CLASS...]}, from the repository's root. The last line is {@code N passed, N failed, N skipped}. */
class RunTests {
    public static void main(String[] args) throws Exception {
        var names = new ArrayList<>(Arrays.asList(args));
        System.setProperty("tests.long", String.valueOf(names.remove("--long")));
        if (names.isEmpty())
            try (var files = Files.walk(Path.of("tests"))) {
                files.map(f -> f.getFileName().toString()).filter(f -> f.endsWith("Test.java")).sorted().forEach(f -> names.add(f.replace(".java", "")));
            }
        var request = LauncherDiscoveryRequestBuilder.request();
        for (var name : names) request.selectors(selectClass(find(name)));
        var report = new Report();
        LauncherFactory.create().execute(request.build(), report);
        System.out.println(report.passed + " passed, " + report.failed + " failed, " + report.skipped + " skipped");
        System.exit(report.failed > 0 || report.passed == 0 ? 1 : 0);
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        try {
            return Class.forName(name);
        } catch (ClassNotFoundException e) {
            return Class.forName("localaws." + name);
        }
    }

    /** One line a class, and the whole story of what failed. */
    static class Report implements TestExecutionListener {
        int passed;
        int failed;
        int skipped;

        @Override
        public void executionStarted(TestIdentifier test) {
            if (test.getParentId().isPresent() && !test.isTest() && test.getUniqueIdObject().getLastSegment().getType().equals("class"))
                System.out.println("[" + java.time.LocalTime.now().withNano(0) + "] " + test.getDisplayName());
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            switch (result.getStatus()) {
                case SUCCESSFUL -> passed += test.isTest() ? 1 : 0;
                case ABORTED -> skipped(test, result.getThrowable().map(Throwable::getMessage).orElse(""));
                case FAILED -> {
                    failed++;
                    System.out.println("FAILED " + name(test));
                    result.getThrowable().ifPresent(e -> {
                        var trace = new java.io.StringWriter();
                        e.printStackTrace(new java.io.PrintWriter(trace));
                        trace.toString().lines().filter(l -> !l.contains("org.junit.") && !l.contains("java.base/")).limit(40).forEach(l -> System.out.println("    " + l));
                    });
                }
            }
        }

        @Override
        public void executionSkipped(TestIdentifier test, String reason) {
            skipped(test, reason);
        }

        private void skipped(TestIdentifier test, String reason) {
            skipped++;
            System.out.println("SKIPPED " + name(test) + ": " + reason);
        }

        private static String name(TestIdentifier test) {
            var parts = new ArrayList<String>();
            for (var segment : test.getUniqueIdObject().getSegments().subList(1, test.getUniqueIdObject().getSegments().size())) parts.add(segment.getValue());
            return String.join(" ", parts) + (test.isTest() ? " " + test.getDisplayName() : "");
        }
    }
}
