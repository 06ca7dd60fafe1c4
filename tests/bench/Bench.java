///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Measures, as ratios in one run, against what an operator would use instead.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//SOURCES ../localaws/LocalAws.java

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import localaws.LocalAws;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/**
 * {@code ./jbang bench [CASE...]}, from the repository's root. A case runs its contestants in turn (A B C A B C ...), after a run of each
 * that is not counted, so that a machine whose speed drifts drifts for all; what counts is the toolkit's ratio to each of the others, round by round. Times are
 * of whole process trees, as bash's time reports them; the server (the embedded AWS) runs beside them on the same machine and is not in the
 * CPU time, but in the wall time.
 */
@Command(name = "bench", mixinStandardHelpOptions = true, description = "Measures, as ratios in one run, against what an operator would use instead.")
class Bench implements Callable<Integer> {
    enum Case {
        startup("create-kms-key on a key that is as it should be, against one call of the AWS CLI"),
        first("first backup of one large repository"),
        small("first backup of 40 small repositories"),
        unchanged("backup of 40 repositories in which nothing changed"),
        growth("backup of 500 and of 5,000 repositories in which nothing changed");

        final String title;

        Case(String title) {
            this.title = title;
        }
    }

    @Parameters(paramLabel = "CASE", description = "What to measure: ${COMPLETION-CANDIDATES}. Default: all.")
    List<Case> cases = List.of(Case.values());

    @Option(names = "--runs", description = "Counted runs of each contestant. Default: ${DEFAULT-VALUE}.")
    int runs = 5;

    @Option(names = "--large", paramLabel = "DIR", description = "A bare Git repository for the cases with a large one. Default: one of some 80 MB is made.")
    Path large;

    @Option(names = "--json", paramLabel = "FILE", description = "Writes all measurements to this file.")
    Path json;

    static final String BUCKET = "bench";
    final ObjectNode results = new ObjectMapper().createObjectNode();
    Path work;
    LocalAws aws;

    /** @param script for bash; $1 is unlike in every run, $WORK an empty directory */
    record Contestant(String name, String script) { }

    /** Seconds. */
    record Time(double wall, double cpu) { }

    @Override
    public Integer call() throws Exception {
        results.put("processors", Runtime.getRuntime().availableProcessors()).put("java", Runtime.version().toString()).put("runs", runs);
        work = Files.createTempDirectory("bench-");
        try {
            for (var each : cases)
                try (var fresh = LocalAws.start()) {
                    aws = fresh;
                    aws.s3.createBucket(BUCKET, "eu-west-1");
                    System.out.printf("%n%s: %s (%d runs; median, least to most)%n", each, each.title, runs);
                    switch (each) {
                        case startup -> startup();
                        case first -> first();
                        case small -> small();
                        case unchanged -> unchanged();
                        case growth -> growth();
                    }
                }
            if (json != null) Files.writeString(json, results.toPrettyString() + "\n");
        } finally {
            delete(work);
        }
        return 0;
    }

    void startup() throws Exception {
        if (lacks("aws")) return;
        var toolkit = "./jbang create-kms-key --alias alias/bench";
        var cli = "aws kms create-key --description bench";
        compare("startup, all processors", new Contestant("./jbang create-kms-key", toolkit), new Contestant("aws kms create-key", cli));
        if (!lacks("taskset")) compare("startup, one processor", new Contestant("./jbang create-kms-key", "taskset -c 0 " + toolkit), new Contestant("aws kms create-key", "taskset -c 0 " + cli));
    }

    void first() throws Exception {
        if (lacks("aws") || lacks("curl")) return;
        if (large == null) large = repository("large", 27_000, 7_000);
        serve("large", large);
        compare("first", new Contestant("./jbang backup-to-s3", "./jbang backup-to-s3 --bucket " + BUCKET + " --prefix first/$1"),
                new Contestant("clone, tar, aws s3 cp", PEER.formatted("large")), new Contestant("clone, bundle, aws s3 cp", BUNDLE.formatted("large")), floor("large"));
    }

    /** What the public CodeCommit backups do, with --mirror so that no branch is lost. */
    static final String PEER = """
            for r in %s; do
              git clone -q --mirror $AWS_ENDPOINT_URL/v1/repos/$r $WORK/$r.git
              tar -C $WORK -czf $WORK/$r.tgz $r.git
              aws s3 cp --quiet $WORK/$r.tgz s3://bench/peer/$1/$r.tgz
            done""";

    static final String BUNDLE = """
            for r in %s; do
              git clone -q --mirror $AWS_ENDPOINT_URL/v1/repos/$r $WORK/$r.git
              git -C $WORK/$r.git bundle create -q $WORK/$r.bundle --all
              aws s3 cp --quiet $WORK/$r.bundle s3://bench/peer/$1/$r.bundle
            done""";

    /** The least that a backup can cost: the same pack from the same server by curl, and by curl into the same bucket. */
    Contestant floor(String name) throws IOException {
        var wants = new StringBuilder();
        for (var id : refs(large).values().stream().distinct().toList())
            wants.append(line("want " + id + (wants.isEmpty() ? " side-band-64k ofs-delta no-progress" : "") + "\n"));
        var request = Files.writeString(work.resolve("wants"), wants + "0000" + line("done\n"));
        Files.writeString(work.resolve("curlrc"), "header = \"Authorization: " + aws.gitAuthorization(name) + "\"\n");
        return new Contestant("curl get, curl put", """
                curl -sSf -K %s -H 'Content-Type: application/x-git-upload-pack-request' --data-binary @%s -o $WORK/pack $AWS_ENDPOINT_URL/v1/repos/%s/git-upload-pack
                curl -sSf --aws-sigv4 aws:amz:eu-west-1:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -T $WORK/pack $AWS_ENDPOINT_URL/bench/floor/$1"""
                .formatted(work.resolve("curlrc"), request, name));
    }

    /** A line of Git's protocol, with its length in front. */
    static String line(String text) {
        return HexFormat.of().toHexDigits((short) (text.length() + 4)) + text;
    }

    void small() throws Exception {
        if (lacks("aws")) return;
        var names = smallRepositories();
        compare("small", new Contestant("./jbang backup-to-s3", "./jbang backup-to-s3 --bucket " + BUCKET + " --prefix small/$1"), new Contestant("clone, tar, aws s3 cp", PEER.formatted(names)));
    }

    void unchanged() throws Exception {
        if (lacks("aws")) return;
        var names = smallRepositories();
        var mirrors = Files.createDirectory(work.resolve("mirrors"));
        for (var name : names.split(" ")) run("git", "clone", "-q", "--mirror", work.resolve("source/" + name + ".git").toString(), mirrors.resolve(name).toString());
        for (var name : names.split(" ")) run("git", "-C", mirrors.resolve(name).toString(), "remote", "set-url", "origin", aws.endpoint() + "/v1/repos/" + name);
        compare("unchanged", new Contestant("./jbang backup-to-s3", "./jbang backup-to-s3 --bucket " + BUCKET), new Contestant("clone, tar, aws s3 cp", PEER.formatted(names)),
                new Contestant("git fetch into mirrors", "for r in %s; do git -C %s/$r fetch -q --prune; done".formatted(names, mirrors)));
    }

    void growth() throws Exception {
        for (var count : new int[] {500, 5_000}) {
            for (var i = aws.codecommit.repository("r0") == null ? 0 : 500; i < count; i++) aws.codecommit.createRepository("r" + i).commit("refs/heads/main", "file", "text " + i);
            compare(count + " repositories", new Contestant("./jbang backup-to-s3", "./jbang backup-to-s3 --bucket " + BUCKET + " --prefix growth-" + count));
            aws.clearCalls();
            time(new Contestant("./jbang backup-to-s3", "./jbang backup-to-s3 --bucket " + BUCKET + " --prefix growth-" + count));
            var calls = new TreeMap<String, Integer>();
            aws.calls().forEach(call -> calls.merge(call.name(), 1, Integer::sum));
            results.withObjectProperty(count + " repositories").set("calls", new ObjectMapper().valueToTree(calls));
            System.out.println("calls: " + calls);
        }
    }

    String smallRepositories() throws Exception {
        var names = IntStream.range(0, 40).mapToObj(i -> "small" + i).toList();
        for (var name : names) serve(name, repository(name, 300, 20));
        return String.join(" ", names);
    }

    void serve(String name, Path directory) throws IOException {
        aws.codecommit.createRepository(name).borrow(directory.resolve("objects"), refs(directory)).defaultBranch("main");
    }

    static Map<String, String> refs(Path directory) throws IOException {
        var refs = new TreeMap<String, String>();
        try (var out = new ProcessBuilder("git", "-C", directory.toString(), "for-each-ref", "--format=%(objectname) %(refname)").start().inputReader()) {
            out.lines().map(ref -> ref.split(" ", 2)).forEach(ref -> refs.put(ref[1], ref[0]));
        }
        return refs;
    }

    /** A bare repository of random text, always the same for one name: so many commits, each of two files in a tree of directories, and so many tags. */
    Path repository(String name, int commits, int tags) throws IOException, InterruptedException {
        var directory = work.resolve("source/" + name + ".git");
        if (Files.exists(directory)) return directory;
        run("git", "init", "-q", "--bare", "-b", "main", directory.toString());
        var git = new ProcessBuilder("git", "-C", directory.toString(), "fast-import", "--quiet").redirectError(ProcessBuilder.Redirect.INHERIT).start();
        var random = new Random(name.hashCode());
        var bytes = new byte[700];
        try (var out = new BufferedOutputStream(git.getOutputStream(), 1 << 16)) {
            for (var i = 0; i < commits; i++) {
                data(out, "commit refs/heads/main\ncommitter Bench <bench@example.com> " + (1_700_000_000 + i) + " +0000\n", "Commit " + i);
                for (var file = 0; file < 2; file++) {
                    random.nextBytes(bytes);
                    data(out, "M 644 inline d" + random.nextInt(40) + "/e" + random.nextInt(20) + "/f" + random.nextInt(10) + "\n", HexFormat.of().formatHex(bytes));
                }
                if (i % Math.max(1, commits / tags) == 0) out.write(("reset refs/tags/v" + i + "\nfrom refs/heads/main\n\n").getBytes(StandardCharsets.UTF_8));
            }
        }
        if (git.waitFor() != 0) throw new IOException("git fast-import failed");
        run("git", "-C", directory.toString(), "repack", "-q", "-a", "-d");
        return directory;
    }

    static void data(OutputStream out, String before, String text) throws IOException {
        out.write((before + "data " + text.length() + "\n" + text + "\n").getBytes(StandardCharsets.UTF_8));
    }

    static void run(String... command) throws IOException, InterruptedException {
        if (new ProcessBuilder(command).inheritIO().start().waitFor() != 0) throw new IOException(String.join(" ", command) + " failed");
    }

    static boolean lacks(String command) {
        var found = Stream.of(System.getenv("PATH").split(File.pathSeparator)).anyMatch(directory -> Files.isExecutable(Path.of(directory, command)));
        if (!found) System.out.println("skipped: " + command + " is not on PATH");
        return !found;
    }

    void compare(String title, Contestant... contestants) throws Exception {
        for (var contestant : contestants) time(contestant);
        var times = new ArrayList<List<Time>>();
        for (var contestant : contestants) times.add(new ArrayList<>());
        for (var i = 0; i < runs; i++) for (var c = 0; c < contestants.length; c++) times.get(c).add(time(contestants[c]));
        System.out.printf("%n%-32s %-26s %s%n", title, "CPU", "wall");
        for (var c = 0; c < contestants.length; c++) row(title, contestants[c].name(), "%.2f s", times.get(c));
        for (var c = 1; c < contestants.length; c++) {
            var ratios = new ArrayList<Time>();
            for (var i = 0; i < runs; i++) ratios.add(new Time(times.get(0).get(i).wall() / times.get(c).get(i).wall(), times.get(0).get(i).cpu() / times.get(c).get(i).cpu()));
            row(title, "toolkit : " + contestants[c].name(), "%.2f x", ratios);
        }
    }

    void row(String title, String name, String format, List<Time> times) {
        var node = results.withObjectProperty(title).withObjectProperty(name);
        System.out.printf("%-32s %-26s %s%n", name, summary(node, "cpu", format, times, Time::cpu), summary(node, "wall", format, times, Time::wall));
    }

    static String summary(ObjectNode node, String figure, String format, List<Time> times, ToDoubleFunction<Time> value) {
        var sorted = times.stream().mapToDouble(value).sorted().toArray();
        var median = sorted.length % 2 == 1 ? sorted[sorted.length / 2] : (sorted[sorted.length / 2 - 1] + sorted[sorted.length / 2]) / 2;
        node.putObject(figure).put("median", median).put("min", sorted[0]).put("max", sorted[sorted.length - 1]);
        return String.format(Locale.ROOT, format + " (%.2f to %.2f)", median, sorted[0], sorted[sorted.length - 1]);
    }

    /** A run that fails is no measurement. */
    Time time(Contestant contestant) throws IOException, InterruptedException {
        var output = work.resolve("output");
        var empty = Files.createTempDirectory(work, "run-");
        var builder = new ProcessBuilder("bash", "-c", "TIMEFORMAT='%R %U %S'; time bash -euc \"$0\" bash \"$1\" >\"$2\" 2>&1", contestant.script(), empty.getFileName().toString(), output.toString());
        builder.environment().putAll(environment());
        builder.environment().put("WORK", empty.toString());
        var process = builder.start();
        var times = new String(process.getErrorStream().readAllBytes()).trim().split(" ");
        if (process.waitFor() != 0) throw new IOException(contestant.name() + " failed: " + Files.readString(output));
        delete(empty);
        return new Time(Double.parseDouble(times[0]), Double.parseDouble(times[1]) + Double.parseDouble(times[2]));
    }

    /** The embedded AWS for the SDK, the AWS CLI and git; a sign-in for Git is good for 15 minutes, so each run has new ones. */
    Map<String, String> environment() {
        var environment = new HashMap<>(Map.of("AWS_ENDPOINT_URL", aws.endpoint().toString(), "AWS_ACCESS_KEY_ID", LocalAws.ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY", LocalAws.SECRET_ACCESS_KEY,
                "AWS_REGION", "eu-west-1", "AWS_DEFAULT_REGION", "eu-west-1", "AWS_EC2_METADATA_DISABLED", "true", "AWS_CONFIG_FILE", "/dev/null", "AWS_SHARED_CREDENTIALS_FILE", "/dev/null"));
        var names = Stream.concat(Stream.of("large"), IntStream.range(0, 40).mapToObj(i -> "small" + i)).filter(name -> aws.codecommit.repository(name) != null).toList();
        for (var i = 0; i < names.size(); i++) {
            environment.put("GIT_CONFIG_KEY_" + i, "http." + aws.endpoint() + "/v1/repos/" + names.get(i) + ".extraHeader");
            environment.put("GIT_CONFIG_VALUE_" + i, "Authorization: " + aws.gitAuthorization(names.get(i)));
        }
        environment.put("GIT_CONFIG_COUNT", String.valueOf(names.size()));
        return environment;
    }

    static void delete(Path directory) throws IOException {
        try (var files = Files.walk(directory)) {
            for (var file : files.sorted(Comparator.reverseOrder()).toList()) Files.delete(file);
        }
    }

    public static void main(String[] args) {
        System.exit(new CommandLine(new Bench()).setCaseInsensitiveEnumValuesAllowed(true).execute(args));
    }
}
