///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Measures, as ratios in one run, against what an operator would use instead.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//SOURCES ../localaws/LocalAws.java

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import localaws.LocalAws;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code ./jbang bench [CASE...]}, from the repository's root. A case runs the contestants in turn (A B A B ...), after a run of each that is
 * not counted, so that a machine whose speed drifts drifts for both; what counts is the ratio, pair by pair. Times are of whole process
 * trees, as bash's time reports them.
 */
@Command(name = "bench", mixinStandardHelpOptions = true, description = "Measures, as ratios in one run, against what an operator would use instead.")
class Bench implements Callable<Integer> {
    enum Case { startup }

    @Parameters(paramLabel = "CASE", description = "What to measure: ${COMPLETION-CANDIDATES}. Default: all.")
    List<Case> cases = List.of(Case.values());

    @Option(names = "--runs", description = "Counted runs of each contestant. Default: ${DEFAULT-VALUE}.")
    int runs = 7;

    @Option(names = "--json", paramLabel = "FILE", description = "Writes all measurements to this file.")
    Path json;

    final ObjectNode results = new ObjectMapper().createObjectNode();

    record Contestant(String name, List<String> command, Map<String, String> environment) { }

    /** Seconds. */
    record Time(double wall, double cpu) { }

    @Override
    public Integer call() throws Exception {
        results.put("processors", Runtime.getRuntime().availableProcessors()).put("java", Runtime.version().toString());
        for (var each : cases) {
            switch (each) {
                case startup -> startup();
            }
        }
        if (json != null) Files.writeString(json, results.toPrettyString() + "\n");
        return 0;
    }

    /** create-kms-key on a key that is as it should be, against the AWS CLI's one call to the same endpoint. */
    void startup() throws Exception {
        if (!found("aws")) {
            System.out.println("startup: skipped, the AWS CLI (aws) is not on PATH");
            return;
        }
        try (var aws = LocalAws.start()) {
            var environment = Map.of("AWS_ENDPOINT_URL", aws.endpoint().toString(), "AWS_ACCESS_KEY_ID", LocalAws.ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY", LocalAws.SECRET_ACCESS_KEY,
                    "AWS_REGION", "eu-west-1", "AWS_DEFAULT_REGION", "eu-west-1", "AWS_EC2_METADATA_DISABLED", "true", "AWS_CONFIG_FILE", "/dev/null", "AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
            var toolkit = new Contestant("./jbang create-kms-key", List.of("./jbang", "create-kms-key", "--alias", "alias/bench"), environment);
            var cli = new Contestant("aws kms create-key", List.of("aws", "kms", "create-key", "--description", "bench"), environment);
            compare("startup, all processors", toolkit, cli);
            if (found("taskset")) compare("startup, one processor", pinned(toolkit), pinned(cli));
            else System.out.println("startup, one processor: skipped, taskset is not on PATH");
        }
    }

    static Contestant pinned(Contestant contestant) {
        return new Contestant(contestant.name(), Stream.concat(Stream.of("taskset", "-c", "0"), contestant.command().stream()).toList(), contestant.environment());
    }

    static boolean found(String command) {
        return Stream.of(System.getenv("PATH").split(File.pathSeparator)).anyMatch(directory -> Files.isExecutable(Path.of(directory, command)));
    }

    void compare(String title, Contestant one, Contestant other) throws Exception {
        time(one);
        time(other);
        var ones = new ArrayList<Time>();
        var others = new ArrayList<Time>();
        for (var i = 0; i < runs; i++) {
            ones.add(time(one));
            others.add(time(other));
        }
        var ratios = new ArrayList<Time>();
        for (var i = 0; i < runs; i++) ratios.add(new Time(ones.get(i).wall() / others.get(i).wall(), ones.get(i).cpu() / others.get(i).cpu()));
        System.out.printf("%n%s (%d runs each: median, least to most)%n%-28s %-26s %s%n", title, runs, "", "CPU", "wall");
        row(title, one.name(), "%.2f s", ones);
        row(title, other.name(), "%.2f s", others);
        row(title, "ratio", "%.2f x", ratios);
    }

    void row(String title, String name, String format, List<Time> times) {
        var node = results.withObjectProperty(title).withObjectProperty(name);
        System.out.printf("%-28s %-26s %s%n", name, summary(node, "cpu", format, times, Time::cpu), summary(node, "wall", format, times, Time::wall));
    }

    static String summary(ObjectNode node, String figure, String format, List<Time> times, ToDoubleFunction<Time> value) {
        var sorted = times.stream().mapToDouble(value).sorted().toArray();
        var median = sorted.length % 2 == 1 ? sorted[sorted.length / 2] : (sorted[sorted.length / 2 - 1] + sorted[sorted.length / 2]) / 2;
        node.putObject(figure).put("median", median).put("min", sorted[0]).put("max", sorted[sorted.length - 1]);
        return String.format(Locale.ROOT, format + " (%.2f to %.2f)", median, sorted[0], sorted[sorted.length - 1]);
    }

    /** A run that fails is no measurement. */
    static Time time(Contestant contestant) throws IOException, InterruptedException {
        var output = Files.createTempFile("bench", ".out");
        try {
            var command = new ArrayList<>(List.of("bash", "-c", "TIMEFORMAT='%R %U %S'; time \"$@\" >\"$0\" 2>&1", output.toString()));
            command.addAll(contestant.command());
            var builder = new ProcessBuilder(command);
            builder.environment().putAll(contestant.environment());
            var process = builder.start();
            var times = new String(process.getErrorStream().readAllBytes()).trim().split(" ");
            if (process.waitFor() != 0) throw new IOException(contestant.name() + " failed: " + Files.readString(output));
            return new Time(Double.parseDouble(times[0]), Double.parseDouble(times[1]) + Double.parseDouble(times[2]));
        } finally {
            Files.delete(output);
        }
    }

    public static void main(String[] args) {
        System.exit(new CommandLine(new Bench()).setCaseInsensitiveEnumValuesAllowed(true).execute(args));
    }
}
