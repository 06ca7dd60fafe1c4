///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Measures, as ratios in one run, against what an operator would use instead.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//SOURCES ../localaws/LocalAws.java
//SOURCES Observed.java
//SOURCES ../Git.java
//SOURCES ../Repositories.java
//SOURCES Results.java

import com.sun.management.OperatingSystemMXBean;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import localaws.LocalAws;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/**
 * {@code ./jbang bench [CASE...]}, from the repository's root. A case runs its contestants in turn (A B C A B C ...),
 * after a run of each that is not counted, so that a machine whose speed drifts drifts for all; what counts is the
 * ratio of one to another, round by round. Times are of whole process trees, as bash's time reports them; the server
 * (the embedded AWS) runs beside them on the same machine: it is in the wall time, and its CPU time is told apart. A
 * contestant that fails is no measurement; one whose tools are missing is left out by name.
 */
@Command(name = "bench", mixinStandardHelpOptions = true,
        description = "Measures, as ratios in one run, against what an operator would use instead.")
class Bench implements Callable<Integer> {
    enum Case {
        startup("create-kms-key on a key that is as it should be, against one call of the AWS CLI"),
        first("first backup of one large repository"),
        small("40 repositories: first backup, and one in which nothing changed"),
        increment("one commit on the large repository"),
        restore("restore of the large repository"),
        restore_push("restore of the large repository into CodeCommit"),
        verify("deep verification of the large repository"),
        restore_fleet("restore of 40 repositories into CodeCommit"),
        memory("memory and disk with a repository of more than 1 GB"),
        growth("how time grows with changed bytes, with history, and with the number of repositories");

        final String title;

        Case(String title) {
            this.title = title;
        }

        /** As it is named on the command line. */
        @Override
        public String toString() {
            return name().replace('_', '-');
        }
    }

    @Spec
    CommandSpec spec;

    @Parameters(paramLabel = "CASE", description = "What to measure: ${COMPLETION-CANDIDATES}. Default: all.")
    List<Case> cases = List.of(Case.values());

    @Option(names = "--runs", description = "Counted runs of each contestant. Default: ${DEFAULT-VALUE}.")
    int runs = 3;

    @Option(names = "--large", paramLabel = "DIR",
            description = "A bare Git repository for the cases with a large one. Default: one of some 84 MB is made.")
    Path large;

    @Option(names = "--quick", description = "A tenth of everything, to try it out: the figures mean nothing then.")
    boolean quick;

    @Option(names = "--json", paramLabel = "FILE", description = "Writes all measurements to this file.")
    Path json;

    @Option(names = "--svg", paramLabel = "FILE", description = "Draws the measurements as a bar chart.")
    Path svg;

    static final String BUCKET = "bench";
    static final String TOOLKIT = "backup-to-s3";
    /** What starting Java, listing repositories and writing a run record takes. */
    static final String START = "backup-to-s3 of nothing";
    static final String PEER = "clone, tar, aws s3 cp";
    static final String MIRROR = "fetch into mirrors, bundle, aws s3 cp";
    static final String FLOOR = "curl get, curl put";

    final Results results = new Results();
    final CountDownLatch done = new CountDownLatch(1);
    volatile boolean stopping;
    Path work;
    Repositories repositories;
    LocalAws aws;
    /** The repositories that git itself may reach. */
    final List<String> served = new ArrayList<>();

    /**
     * @param script for bash; $1 is unlike in every run, $WORK an empty directory
     * @param needs  tools that need not be on every machine
     */
    record Contestant(String name, String script, String... needs) { }

    /** The counted runs of some contestants, by name. */
    record Comparison(Map<String, List<Results.Run>> runs, Map<String, String> missing) {
        /** What a round's runs of the named contestants make; a row stays without a value if one of them is missing. */
        void figures(Results.Row row, IntToDoubleFunction value, String... names) {
            var lacking = Arrays.stream(names).filter(missing::containsKey).findFirst();
            if (lacking.isPresent()) {
                row.missing(missing.get(lacking.get()));
                return;
            }
            var figures = IntStream.range(0, runs.get(names[0]).size()).mapToDouble(value).toArray();
            if (Arrays.stream(figures).allMatch(figure -> figure > 0 && Double.isFinite(figure))) {
                row.measured(figures);
            } else {
                row.missing("less than what starting Java varies by: "
                        + Arrays.stream(figures).mapToObj(Results::number).toList());
            }
        }

        /** How many times as long one takes as another. */
        void ratio(Results.Row row, String name, String other) {
            figures(row, i -> wall(name, i) / wall(other, i), name, other);
        }

        double wall(String name, int round) {
            return runs.get(name).get(round).wall();
        }
    }

    /** What happens before each round. */
    interface Preparation {
        void prepare() throws Exception;
    }

    @Override
    public Integer call() throws Exception {
        if (runs < 1) throw new ParameterException(spec.commandLine(), "--runs " + runs + ": at least 1");
        if (large != null && !Files.isDirectory(large.resolve("objects"))) {
            throw new ParameterException(spec.commandLine(), "--large " + large + ": no bare Git repository");
        }
        results.about.put("processors", Runtime.getRuntime().availableProcessors())
                .put("java", Runtime.version().toString())
                .put("git", Git.run(Path.of("."), "--version").strip()).put("runs", runs).put("quick", quick);
        work = Files.createTempDirectory("bench-");
        repositories = new Repositories(Files.createDirectory(work.resolve("source")));
        Runtime.getRuntime().addShutdownHook(new Thread(this::stop));
        var failed = false;
        try {
            for (var each : cases) {
                if (!stopping) failed |= !measure(each);
            }
            if (stopping) return 130;
            System.out.println(results.table());
            if (json != null) Files.writeString(json, results.json().toPrettyString() + "\n");
            if (svg != null) Files.writeString(svg, results.svg());
        } finally {
            try {
                delete(work);
            } finally {
                done.countDown();
            }
        }
        return failed ? 1 : 0;
    }

    /** Whether nothing failed in it; the other cases go on. */
    boolean measure(Case each) throws Exception {
        System.out.printf("%n%s: %s%n", each, each.title);
        var rows = results.rows.size();
        try (var fresh = LocalAws.start()) {
            aws = fresh;
            served.clear();
            aws.s3.createBucket(BUCKET, "eu-west-1");
            switch (each) {
                case startup -> startup();
                case first -> first();
                case small -> small();
                case increment -> increment();
                case restore -> restore();
                case restore_push -> restorePush();
                case verify -> verify();
                case restore_fleet -> restoreFleet();
                case memory -> memory();
                case growth -> growth();
            }
            return true;
        } catch (IOException | UncheckedIOException e) {
            System.out.println(stopping ? "interrupted" : "FAILED " + e.getMessage());
            results.rows.subList(rows, results.rows.size()).forEach(row -> row.missing("failed"));
            return false;
        }
    }

    /**
     * After Ctrl-C: ends what was started, children before their parents, so that nothing writes any more when all that
     * was made is removed.
     */
    void stop() {
        stopping = true;
        try {
            while (!done.await(100, TimeUnit.MILLISECONDS)) {
                ProcessHandle.current().descendants().filter(process -> process.children().findAny().isEmpty())
                        .forEach(ProcessHandle::destroy);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    // ---- Cases

    void startup() throws Exception {
        for (var one : List.of("all processors", "one processor")) {
            var pin = one.startsWith("one") ? "taskset -c 0 " : "";
            var row = results.row("start-up, " + one,
                    "CPU of create-kms-key (3 calls), times that of aws kms create-key (1 call)", "x");
            var toolkit = "create-kms-key";
            var cli = "aws kms create-key";
            var comparison = compare("start-up, " + one, () -> { },
                    new Contestant(toolkit, pin + "./jbang create-kms-key --alias alias/bench",
                            pin.isEmpty() ? "bash" : "taskset"),
                    new Contestant(cli, pin + "aws kms create-key --description bench", "aws"));
            comparison.figures(row,
                    i -> comparison.runs.get(toolkit).get(i).cpu() / comparison.runs.get(cli).get(i).cpu(), toolkit,
                    cli);
        }
    }

    void first() throws Exception {
        var subject = "first backup of " + large();
        serve("large", large);
        var net = results.row(subject, "times as long as the floor (curl), start of Java taken off",
                Results.Bound.AT_MOST, 1.1, "x");
        var gross = results.row(subject, "times as long as the floor (curl), start of Java included", "x");
        var peer = results.row(subject, "times faster than " + PEER, "x");
        var comparison = compare(subject, () -> {}, new Contestant(TOOLKIT, backup("first/$1")), nothing(), floor(),
                peer("large"));
        comparison.figures(net,
                i -> (comparison.wall(TOOLKIT, i) - comparison.wall(START, i)) / comparison.wall(FLOOR, i), TOOLKIT,
                START, FLOOR);
        comparison.ratio(gross, TOOLKIT, FLOOR);
        comparison.ratio(peer, PEER, TOOLKIT);
    }

    void small() throws Exception {
        var names = IntStream.range(0, quick ? 4 : 40).mapToObj(i -> "small" + i).toList();
        var mirrors = Files.createDirectory(work.resolve("mirrors"));
        for (var name : names) mirror(mirrors, name, repositories.history(name, 300, 20));
        var first = "first backup of " + names.size() + " small repositories";
        var unchanged = names.size() + " repositories in which nothing changed";
        var peerFirst = results.row(first, "times faster than " + PEER, Results.Bound.AT_LEAST, 10, "x");
        var peer = results.row(unchanged, "times faster than " + PEER, "x");
        var mirror = results.row(unchanged, "times as fast as " + MIRROR, Results.Bound.AT_LEAST, 1, "x");
        var again = TOOLKIT + " again";
        // The peer does the same whether something changed or not, so that one run of it stands for both.
        var comparison = compare("", () -> {}, new Contestant(TOOLKIT, backup("small/$1")),
                new Contestant(again, backup("small/unchanged")), nothing(),
                kept(mirrors, names), peer(String.join(" ", names)));
        comparison.ratio(peerFirst, PEER, TOOLKIT);
        comparison.ratio(peer, PEER, again);
        comparison.ratio(mirror, MIRROR, again);
        requests(unchanged, comparison.runs.get(again), names.size());
        chart(first, comparison, TOOLKIT, PEER);
        chart(unchanged, comparison, again, START, MIRROR, PEER);
    }

    void increment() throws Exception {
        var subject = "one commit on " + large();
        var mirrors = Files.createDirectory(work.resolve("mirror-of-large"));
        mirror(mirrors, "large", large);
        var repository = aws.codecommit.repository("large");
        var branch = repository.defaultBranch();
        var size = results.row(subject, "bytes stored beyond the pack that git itself would send",
                Results.Bound.AT_MOST, 2048, "bytes");
        var mirror = results.row(subject, "times as fast as " + MIRROR + ", start of Java taken off",
                Results.Bound.AT_LEAST, 1, "x");
        var packs = new ArrayList<Long>();
        var comparison = compare(subject, () -> {
            var before = Git.refs(repository.directory()).values();
            repository.commit("refs/heads/" + branch, "bench.txt", "change " + packs.size() + "\n");
            var tip = repository.resolve("refs/heads/" + branch).name();
            var wanted = Files.writeString(work.resolve("wanted"), tip + "\n^" + String.join("\n^", before) + "\n");
            var pack = work.resolve("thin.pack");
            var git = new ProcessBuilder("git", "pack-objects", "--revs", "--thin", "--delta-base-offset", "--stdout",
                    "-q")
                    .directory(repository.directory().toFile()).redirectInput(wanted.toFile())
                    .redirectOutput(pack.toFile())
                    .redirectError(ProcessBuilder.Redirect.INHERIT).start();
            if (git.waitFor() != 0) throw new IOException("git pack-objects failed");
            packs.add(Files.size(pack));
        }, new Contestant(TOOLKIT, backup("increment")), nothing(), kept(mirrors, List.of("large")));
        var bucket = aws.s3.bucket(BUCKET);
        var stored = bucket.keys().stream().filter(key -> key.endsWith(".incr.bundle")).mapToLong(bucket::size)
                .toArray();
        if (stored.length != packs.size() - 1) {
            throw new IOException(stored.length + " increments for " + (packs.size() - 1)
                    + " commits behind the full bundle: " + bucket.keys());
        }
        size.measured(IntStream.range(0, stored.length).mapToDouble(i -> stored[i] - packs.get(i + 1)).toArray());
        comparison.figures(mirror,
                i -> comparison.wall(MIRROR, i) / (comparison.wall(TOOLKIT, i) - comparison.wall(START, i)), MIRROR,
                TOOLKIT, START);
    }

    void restore() throws Exception {
        var subject = "restore of " + large();
        serve("large", large);
        time(new Contestant(TOOLKIT, backup("restore")));
        var bucket = aws.s3.bucket(BUCKET);
        var key = bucket.keys().stream().filter(k -> k.endsWith(".full.bundle")).findFirst().orElseThrow();
        var clone = "git clone --mirror of the bundle";
        var download = "aws s3 cp, git clone --mirror";
        var strict = results.row(subject, "times as long as " + clone + " on disk", Results.Bound.AT_MOST, 1.1, "x");
        var fair = results.row(subject, "times as long as " + download, "x");
        var toolkit = "restore-from-s3";
        var comparison = compare(subject, () -> { },
                new Contestant(toolkit,
                        "./jbang restore-from-s3 --bucket bench --prefix restore --repository-name large --directory "
                                + "$WORK/large.git"),
                new Contestant(clone, "git clone -q --mirror " + bucket.file(key) + " $WORK/large.git"),
                new Contestant(download, """
                        aws s3 cp --quiet s3://bench/%s $WORK/large.bundle
                        git clone -q --mirror $WORK/large.bundle $WORK/large.git""".formatted(key), "aws"));
        comparison.ratio(strict, toolkit, clone);
        comparison.ratio(fair, toolkit, download);
    }

    void restorePush() throws Exception {
        var subject = "restore of " + large() + " into CodeCommit";
        serve("large", large);
        time(new Contestant(TOOLKIT, backup("push")));
        var push = "git push from a mirror on disk";
        var row = results.row(subject, "times as long as " + push, Results.Bound.AT_MOST, 1.5, "x");
        var toolkit = "restore-from-s3";
        var comparison = compare(subject, () -> newTargets(List.of("large")),
                new Contestant(toolkit, restored("push", "--repository-name large --to-repository-name $1")),
                new Contestant(push, pushed(large.toString(), "large")));
        comparison.ratio(row, toolkit, push);
    }

    void verify() throws Exception {
        var subject = "deep verification of " + large();
        serve("large", large);
        time(new Contestant(TOOLKIT, backup("verify")));
        var bucket = aws.s3.bucket(BUCKET);
        var key = bucket.keys().stream().filter(each -> each.endsWith(".full.bundle")).findFirst().orElseThrow();
        var git = "git index-pack, git fsck --strict";
        var net = results.row(subject, "times as long as " + git + " of the bundle on disk, start of Java taken off",
                Results.Bound.AT_MOST, 1.2, "x");
        var gross = results.row(subject, "times as long as that, start of Java included", "x");
        var toolkit = "verify-backups --deep";
        var comparison = compare(subject, () -> { },
                new Contestant(toolkit, "./jbang verify-backups --bucket bench --prefix verify --deep"), nothing(),
                new Contestant(git, """
                        git init -q --bare $WORK/large.git
                        git -C $WORK/large.git bundle unbundle %s >$WORK/large.git/packed-refs
                        git -C $WORK/large.git fsck --strict --no-dangling --no-progress"""
                        .formatted(bucket.file(key))));
        comparison.figures(net,
                i -> (comparison.wall(toolkit, i) - comparison.wall(START, i)) / comparison.wall(git, i), toolkit,
                START, git);
        comparison.ratio(gross, toolkit, git);
    }

    void restoreFleet() throws Exception {
        var names = IntStream.range(0, quick ? 4 : 40).mapToObj(i -> "small" + i).toList();
        var subject = "restore of " + names.size() + " small repositories into CodeCommit";
        for (var name : names) serve(name, repositories.history("fleet-" + name, 300, 20));
        time(new Contestant(TOOLKIT, backup("fleet")));
        var bundles = Files.createDirectory(work.resolve("bundles"));
        var bucket = aws.s3.bucket(BUCKET);
        for (var key : bucket.keys()) {
            if (key.endsWith(".full.bundle")) {
                Files.copy(bucket.file(key), bundles.resolve(key.split("/")[3] + ".bundle"));
            }
        }
        var toolkit = "restore-from-s3 --all";
        var loop = "a loop of restore-from-s3";
        var git = "a loop of git clone --mirror of a bundle on disk, git push";
        var faster = results.row(subject, "times faster than " + loop, Results.Bound.AT_LEAST, 10, "x");
        var row = results.row(subject, "times as long as " + git, Results.Bound.AT_MOST, 2, "x");
        var each = "for r in " + String.join(" ", names) + "; do\n  ";
        var comparison = compare(subject, () -> newTargets(names),
                new Contestant(toolkit, restored("fleet", "--all --to-prefix $1-")),
                new Contestant(loop,
                        each + restored("fleet", "--repository-name $r --to-repository-name $1-$r") + "\ndone"),
                new Contestant(git, each + "git clone -q --mirror " + bundles + "/$r.bundle $WORK/$r.git\n"
                        + pushed("$WORK/$r.git", "$r") + "\ndone"));
        comparison.ratio(faster, loop, toolkit);
        comparison.ratio(row, toolkit, git);
    }

    private static String restored(String prefix, String what) {
        return "./jbang restore-from-s3 --bucket " + BUCKET + " --prefix " + prefix + " " + what
                + " --kms-key-id alias/aws/codecommit";
    }

    /** Branches and tags, in as few pushes as CodeCommit takes. */
    private String pushed(String directory, String name) {
        return """
                git --git-dir %s for-each-ref --format='%%(refname):%%(refname)' refs/heads refs/tags >$WORK/refs
                split -l 3000 $WORK/refs $WORK/part-
                for part in $WORK/part-*; do
                  git --git-dir %1$s push -q $AWS_ENDPOINT_URL/v1/repos/target-%2$s $(cat $part)
                done
                rm $WORK/part-*""".formatted(directory, name);
    }

    /** Empty repositories for git to push to, in the place of those of the last round. */
    private void newTargets(List<String> names) {
        for (var name : names) {
            var target = "target-" + name;
            if (served.contains(target)) {
                aws.codecommit.deleteRepository("eu-west-1", target);
            } else {
                served.add(target);
            }
            aws.codecommit.createRepository(target);
        }
    }

    void memory() throws Exception {
        var size = quick ? 110 : 1_100;
        var subject = "a repository of " + Results.number(size) + " MiB and 12 others, 4 jobs, -Xmx128m";
        var disk = results.row(subject, "written to disk", Results.Bound.AT_MOST, 0, "bytes");
        var memory = results.row(subject, "resident memory at its peak", Results.Bound.AT_MOST, 256, "MiB");
        var seconds = results.row(subject, "takes", "s");
        if (!observable(disk, memory, seconds)) return;
        serve("a-huge", repositories.blobs("huge", size));
        var other = repositories.blobs("other", quick ? 4 : 40);
        for (var i = 0; i < 12; i++) serve("other" + i, other);
        observe("--dry-run", "--prefix", "memory"); // JBang compiles the script, which takes disk
        var all = new ArrayList<Observed>();
        for (var i = 0; i < runs; i++) {
            all.add(observe("--prefix", "memory/" + i));
            var bucket = aws.s3.bucket(BUCKET);
            if (bucket.keys().stream().filter(key -> key.endsWith(".full.bundle")).mapToLong(bucket::size).max()
                    .orElse(0) < (long) size << 20) {
                throw new IOException("there is no bundle of " + size + " MiB: " + bucket.keys());
            }
            bucket.keys().forEach(bucket::delete);
        }
        disk.measured(all.stream().mapToDouble(Observed::written).toArray());
        memory.measured(all.stream().mapToDouble(run -> run.memory() / 1024.0).toArray());
        seconds.measured(all.stream().mapToDouble(Observed::seconds).toArray());
    }

    void growth() throws Exception {
        // Linear is 1; the rest is for what a machine's speed drifts within a round.
        var linear = 1.25;
        growthWithBytes(linear);
        growthWithHistory(linear);
        growthWithNumber(linear);
    }

    void growthWithBytes(double linear) throws Exception {
        var subject = "changed data: 32, 128 and 512 MiB";
        var figure = "time for a byte of 512 MiB, times that of 32 MiB, start of Java taken off";
        var row = results.row(subject, figure, Results.Bound.AT_MOST, linear, "x");
        for (var size : new int[] {32, 128, 512}) {
            serve("bytes" + size, repositories.blobs("bytes" + size, quick ? size / 8 : size));
        }
        var comparison = compare(subject, () -> {}, only("32 MiB", "bytes32", "bytes/$1"),
                only("128 MiB", "bytes128", "bytes/$1"),
                only("512 MiB", "bytes512", "bytes/$1"), nothing());
        perPiece(row, comparison, "512 MiB", "32 MiB", 16);
    }

    void growthWithHistory(double linear) throws Exception {
        var subject = "one commit on histories of 1,700, 6,800 and 27,200 commits";
        var row = results.row(subject, "times as long on 27,200 commits as on 1,700", Results.Bound.AT_MOST, linear,
                "x");
        var counts = List.of(1_700, 6_800, 27_200);
        for (var count : counts) {
            serve("history" + count, repositories.history("history" + count, quick ? count / 10 : count, 20));
        }
        var change = new int[1];
        var contestants = counts.stream()
                .map(count -> only(Results.number(count) + " commits", "history" + count, "history"))
                .toArray(Contestant[]::new);
        var comparison = compare(subject, () -> {
            change[0]++;
            for (var count : counts) {
                aws.codecommit.repository("history" + count).commit("refs/heads/main", "bench.txt",
                        "change " + change[0] + "\n");
            }
        }, contestants);
        comparison.ratio(row, contestants[2].name, contestants[0].name);
    }

    void growthWithNumber(double linear) throws Exception {
        var count = quick ? 500 : 5_000;
        var many = Results.number(count) + " repositories";
        var few = Results.number(count / 10) + " repositories";
        var subject = Results.number(count / 10) + " and " + many + " in which nothing changed";
        var minutes = results.row(subject, "takes, for " + many, Results.Bound.AT_MOST, 5, "minutes");
        var figure = "time for one of " + Results.number(count) + ", times that of one of " + Results.number(count / 10)
                + ", start of Java taken off";
        var perRepository = results.row(subject, figure, Results.Bound.AT_MOST, linear, "x");
        var memory = results.row(subject, "resident memory at its peak, -Xmx128m", Results.Bound.AT_MOST, 256, "MiB");
        for (var i = 0; i < count; i++) {
            aws.codecommit.createRepository("many-" + i).commit("refs/heads/main", "file", "text " + i);
        }
        for (var i = 0; i < count / 10; i++) {
            aws.codecommit.createRepository("few-" + i).commit("refs/heads/main", "file", "text " + i);
        }
        var comparison = compare(subject, () -> {}, only(few, "few-*", "few"), only(many, "many-*", "many"), nothing());
        comparison.figures(minutes, i -> comparison.wall(many, i) / 60, many);
        perPiece(perRepository, comparison, many, few, 10);
        requests(subject, comparison.runs.get(many), count);
        if (observable(memory)) {
            memory.measured(observe("--repository-names", "many-*", "--prefix", "many").memory() / 1024.0);
        }
    }

    /** What a piece takes where there are so many times as many of them, as a ratio, without what it takes to start. */
    static void perPiece(Results.Row row, Comparison comparison, String many, String few, int times) {
        comparison.figures(row,
                i -> (comparison.wall(many, i) - comparison.wall(START, i))
                        / (comparison.wall(few, i) - comparison.wall(START, i)) / times,
                many, few, START);
    }

    /** What runs in which nothing changed asked for. */
    void requests(String subject, List<Results.Run> unchanged, int repositories) {
        var git = results.row(subject, "requests to Git for a repository", Results.Bound.AT_MOST, 1, "requests");
        var s3 = results.row(subject, "requests to S3 besides a listing, one read and one write", Results.Bound.AT_MOST,
                0, "requests");
        var api = results.row(subject, "API calls for a repository, S3's included", "calls");
        git.measured(unchanged.stream()
                .mapToDouble(run -> (double) run.calls().get("codecommit:GitPull") / repositories).toArray());
        s3.measured(unchanged.stream()
                .mapToDouble(run -> run.calls().entrySet().stream().filter(call -> call.getKey().startsWith("s3:"))
                        .mapToInt(call -> call.getValue()
                                - (call.getKey().matches("s3:(ListObjectsV2|GetObject|PutObject)") ? 1 : 0))
                        .sum())
                .toArray());
        api.measured(unchanged.stream()
                .mapToDouble(run -> run.calls().entrySet().stream()
                        .filter(call -> !call.getKey().equals("codecommit:GitPull")).mapToInt(Map.Entry::getValue)
                        .sum() / (double) repositories)
                .toArray());
        System.out.println("requests: " + unchanged.get(0).calls());
    }

    // ---- Contestants

    static String backup(String prefix) {
        return "./jbang backup-to-s3 --bucket " + BUCKET + " --prefix " + prefix;
    }

    static Contestant only(String name, String glob, String prefix) {
        return new Contestant(name, backup(prefix) + " --repository-names '" + glob + "'");
    }

    static Contestant nothing() {
        return new Contestant(START, backup("nothing/$1") + " --exclude '*'");
    }

    /** What the public CodeCommit backups do, with --mirror so that no branch is lost. */
    static Contestant peer(String names) {
        return new Contestant(PEER, """
                for r in %s; do
                  git clone -q --mirror $AWS_ENDPOINT_URL/v1/repos/$r $WORK/$r.git
                  tar -C $WORK -czf $WORK/$r.tgz $r.git
                  aws s3 cp --quiet $WORK/$r.tgz s3://bench/peer/$1/$r.tgz
                done""".formatted(names), "aws");
    }

    /** Who keeps a mirror of each repository on a disk of his own. */
    static Contestant kept(Path mirrors, List<String> names) {
        return new Contestant(MIRROR, """
                for r in %s; do
                  git -C %s/$r for-each-ref --format='^%%(objectname)' >$WORK/old
                  git -C %2$s/$r fetch -q --prune
                  git -C %2$s/$r for-each-ref --format='^%%(objectname)' >$WORK/new
                  if ! cmp -s $WORK/old $WORK/new; then
                    git -C %2$s/$r bundle create -q $WORK/$r.bundle --all --stdin <$WORK/old
                    aws s3 cp --quiet $WORK/$r.bundle s3://bench/mirror/$1/$r.bundle
                  fi
                done""".formatted(String.join(" ", names), mirrors), "aws");
    }

    /**
     * The least that a backup can cost: the same pack from the same server by curl, and by curl into the same bucket.
     */
    Contestant floor() throws IOException, InterruptedException {
        var wants = new StringBuilder();
        for (var id : Git.refs(large).values().stream().distinct().toList()) {
            wants.append(line("want " + id + (wants.isEmpty() ? " side-band-64k ofs-delta no-progress" : "") + "\n"));
        }
        var request = Files.writeString(work.resolve("wants"), wants + "0000" + line("done\n"));
        return new Contestant(FLOOR, """
                curl -sSf -K $WORK/../curlrc -H 'Content-Type: application/x-git-upload-pack-request' \
                --data-binary @%s -o $WORK/pack $AWS_ENDPOINT_URL/v1/repos/large/git-upload-pack
                curl -sSf --aws-sigv4 aws:amz:eu-west-1:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
                -T $WORK/pack -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' $AWS_ENDPOINT_URL/bench/floor/$1"""
                .formatted(request), "curl");
    }

    /** A line of Git's protocol, with its length in front. */
    static String line(String text) {
        return HexFormat.of().toHexDigits((short) (text.length() + 4)) + text;
    }

    // ---- Repositories

    /** Makes the large repository if none was given, and says what it is. */
    String large() throws IOException, InterruptedException {
        if (large == null) large = repositories.history("large", quick ? 2_500 : 25_000, quick ? 730 : 7_300);
        var count = new HashMap<String, Long>();
        Git.run(large, "count-objects", "-v").lines().map(line -> line.split(": "))
                .filter(pair -> pair[1].matches("\\d+"))
                .forEach(pair -> count.put(pair[0], Long.parseLong(pair[1])));
        return String.format(Locale.ROOT, "%,d MB (%,d objects, %,d refs)",
                Math.round((count.get("size-pack") + count.get("size")) * 1024 / 1e6),
                count.get("in-pack") + count.get("count"), Git.refs(large).size());
    }

    void serve(String name, Path directory) throws IOException, InterruptedException {
        var head = Git.run(directory, "symbolic-ref", "HEAD").strip().replaceFirst("^refs/heads/", "");
        aws.codecommit.createRepository(name).borrow(directory.resolve("objects"), Git.refs(directory))
                .defaultBranch(head);
        served.add(name);
    }

    /** Also keeps a mirror of it, as it is now. */
    void mirror(Path mirrors, String name, Path directory) throws IOException, InterruptedException {
        serve(name, directory);
        Git.run(work, "clone", "-q", "--mirror", "--no-hardlinks", directory.toString(),
                mirrors.resolve(name).toString());
        Git.run(mirrors.resolve(name), "remote", "set-url", "origin", aws.endpoint() + "/v1/repos/" + name);
    }

    // ---- Runs

    Comparison compare(String subject, Preparation round, Contestant... contestants) throws Exception {
        var comparison = new Comparison(new LinkedHashMap<>(), new LinkedHashMap<>());
        var present = new ArrayList<Contestant>();
        for (var contestant : contestants) {
            var lacking = Arrays.stream(contestant.needs).filter(Bench::lacks).findFirst();
            if (lacking.isEmpty()) {
                present.add(contestant);
            } else {
                comparison.missing.put(contestant.name, lacking.get() + " is not on PATH");
                System.out.println("skipped: " + contestant.name + ": " + lacking.get() + " is not on PATH");
            }
        }
        for (var i = -1; i < runs; i++) {
            round.prepare();
            for (var contestant : present) {
                var run = time(contestant);
                if (i >= 0) comparison.runs.computeIfAbsent(contestant.name, name -> new ArrayList<>()).add(run);
            }
        }
        System.out.printf("%-40s %10s %10s %12s%n", "median of " + runs, "wall s", "CPU s", "server CPU s");
        comparison.runs.forEach((name, all) -> System.out.printf(Locale.ROOT, "%-40s %10.2f %10.2f %12.2f%n", name,
                Results.median(all, Results.Run::wall),
                Results.median(all, Results.Run::cpu), Results.median(all, Results.Run::server)));
        if (!subject.isEmpty()) chart(subject, comparison, comparison.runs.keySet().toArray(String[]::new));
        return comparison;
    }

    void chart(String subject, Comparison comparison, String... names) {
        var shown = results.runs.computeIfAbsent(subject, s -> new LinkedHashMap<>());
        for (var name : names) Optional.ofNullable(comparison.runs.get(name)).ifPresent(all -> shown.put(name, all));
    }

    static boolean lacks(String command) {
        return Stream.of(System.getenv("PATH").split(File.pathSeparator))
                .noneMatch(directory -> Files.isExecutable(Path.of(directory, command)));
    }

    static boolean observable(Results.Row... rows) {
        if (Observed.possible()) return true;
        for (var row : rows) row.missing("memory and disk of a process are read from Linux's /proc");
        System.out.println("skipped: memory and disk of a process are read from Linux's /proc");
        return false;
    }

    /** A run that fails is no measurement. */
    Results.Run time(Contestant contestant) throws IOException, InterruptedException {
        var output = work.resolve("output");
        var empty = Files.createTempDirectory(work, "run-");
        var timed = "TIMEFORMAT='%R %U %S'; time bash -euc \"$0\" bash \"$1\" >\"$2\" 2>&1";
        var builder = new ProcessBuilder("bash", "-c", timed, contestant.script, empty.getFileName().toString(),
                output.toString());
        builder.environment().keySet().removeIf(name -> name.startsWith("AWS_"));
        builder.environment().putAll(environment());
        builder.environment().put("WORK", empty.toString());
        if (served.contains("large")) {
            Files.writeString(work.resolve("curlrc"),
                    "header = \"Authorization: " + aws.gitAuthorization("large") + "\"\n");
        }
        aws.clearCalls();
        var cpu = cpu();
        var process = builder.start();
        process.getOutputStream().close();
        var times = new String(process.getErrorStream().readAllBytes()).trim().split(" ");
        if (process.waitFor() != 0) throw new IOException(contestant.name + " failed: " + Files.readString(output));
        var calls = new TreeMap<String, Integer>();
        aws.calls().forEach(call -> calls.merge(call.name(), 1, Integer::sum));
        var run = new Results.Run(Double.parseDouble(times[0]),
                Double.parseDouble(times[1]) + Double.parseDouble(times[2]), cpu() - cpu, calls);
        delete(empty);
        return run;
    }

    /** CPU seconds of this process so far, which is the server. */
    static double cpu() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1e9;
    }

    Observed observe(String... arguments) throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of("./jbang", "-R=-Xmx128m", "backup-to-s3", "--bucket", BUCKET));
        command.addAll(List.of(arguments));
        var run = Observed.run(environment(), command);
        if (run.exitCode() != 0) throw new IOException(String.join(" ", command) + " failed: " + run.err());
        return run;
    }

    /**
     * The embedded AWS for the SDK, the AWS CLI and git; a sign-in for Git is good for 15 minutes, so each run has new
     * ones.
     */
    Map<String, String> environment() {
        var environment = new HashMap<>(
                Map.of("AWS_ENDPOINT_URL", aws.endpoint().toString(), "AWS_ACCESS_KEY_ID", LocalAws.ACCESS_KEY_ID,
                        "AWS_SECRET_ACCESS_KEY", LocalAws.SECRET_ACCESS_KEY, "AWS_REGION", "eu-west-1",
                        "AWS_DEFAULT_REGION", "eu-west-1",
                        "AWS_EC2_METADATA_DISABLED", "true", "AWS_CONFIG_FILE", "/dev/null",
                        "AWS_SHARED_CREDENTIALS_FILE", "/dev/null"));
        for (var i = 0; i < served.size(); i++) {
            environment.put("GIT_CONFIG_KEY_" + i,
                    "http." + aws.endpoint() + "/v1/repos/" + served.get(i) + ".extraHeader");
            environment.put("GIT_CONFIG_VALUE_" + i, "Authorization: " + aws.gitAuthorization(served.get(i)));
        }
        environment.put("GIT_CONFIG_COUNT", String.valueOf(served.size()));
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
