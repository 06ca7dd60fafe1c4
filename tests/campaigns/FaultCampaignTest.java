import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.LocalAws;
import localaws.S3;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;

/**
 * Backups, verifications and restores while one thing or several go wrong, at any call and any byte, in what is kept,
 * in side steps and in git: nothing that was saved gets lost, nothing is claimed that is not so, a restore point is
 * written whenever the fetch works, nothing but damage is a finding, and a run without faults makes it good. Trials are
 * made from seeds, 30 of them in {@code ./jbang test}, 300 fresh ones in {@code ./jbang test --long}. One that fails is
 * tried again with fewer faults, and can then be kept in {@link #ONCE_FAILED}.
 *
 * <p>Bits are flipped only where something in the scripts must see it: in packs, in what S3 is sent, and in what it
 * keeps. Everywhere else TLS makes a cut of it.
 */
class FaultCampaignTest {
    /** What went wrong once, as a failure prints it: the seed, and the faults. */
    static final List<String> ONCE_FAILED = List.of("17: error-403-AccessDenied sts:GetCallerIdentity 0 1 0",
            "6: unlink=a-large any 0 1 0, unlink=c-odd any 0 1 1",
            "11: error-403-AccessDenied codecommit:GetRepositoryTriggers 0 1 0",
            "516968349: gone=c-odd before 0 2 205, gone=c-odd before 0 2 89");

    /** Of what few seeds draw alone, something for every run. */
    static final List<String> FIXED = List.of("0: throw codecommit:GetRepositoryTriggers 0 1000 1",
            "2: throw codecommit:ListPullRequests 0 1000 5", "6: odd codecommit:GetPullRequest 0 1000 6",
            "8: archived=runs before 0 3 0, archived=b-small before 0 1 0", "10: git fsck 0 1 3", "10: git fsck 0 1 5",
            "5: git index-pack 0 1 3", "11: git rev-list 0 1 5");

    static final List<String> NAMES = List.of("a-large", "b-small", "c-odd");

    /** The calls of a backup that are about what a repository is besides Git. */
    static final List<String> SIDE_STEPS = Stream.of("ListTagsForResource", "GetRepositoryTriggers",
            "ListAssociatedApprovalRuleTemplatesForRepository", "GetApprovalRuleTemplate", "GetFile",
            "ListPullRequests", "GetPullRequest", "GetCommentsForPullRequest", "GetPullRequestApprovalStates",
            "GetPullRequestOverrideState", "DescribePullRequestEvents").map(name -> "codecommit:" + name).toList();
    /** Answers that no side step can expect. */
    static final List<String> ODD_ANSWERS = List.of("{}", "", "null", "[]", "<html>Sign in</html>", "{\"tags\": []}",
            "{\"pullRequest\": {}, \"pullRequestIds\": [null], \"approvals\": null}",
            "{\"triggers\": [{}], \"approvalRuleTemplateNames\": [\"\"], \"fileContent\": \"\"}",
            "{\"pullRequestIds\": [\"x\"], \"commentsForPullRequestData\": [{}], \"pullRequestEvents\": [{}]}");
    /** What a side step throws that nobody thought of. */
    static final List<Supplier<RuntimeException>> EXCEPTIONS = List.of(NullPointerException::new,
            () -> new IllegalStateException("odd"), () -> new UncheckedIOException(new IOException("odd")),
            () -> new CancellationException(), () -> SdkClientException.create("odd"),
            () -> new IndexOutOfBoundsException(7));
    static final List<Supplier<Error>> ERRORS = List.of(() -> new OutOfMemoryError("Java heap space"),
            StackOverflowError::new, () -> new NoClassDefFoundError("Odd"), () -> new AssertionError("odd"));
    /** How a manifest or a run record becomes unreadable. */
    static final List<String> UNREADABLE = List.of("archived", "denied", "gone", "damaged", "later", "shapeless");
    static final List<String> SHAPES = List.of("{\"format\": 1}", "[]", "null", "{\"format\": 1, \"refs\": 7}",
            "{\"format\": 1, \"repositories\": {\"b-small\": null, \"c-odd\": 7}}",
            "{\"format\": 1, \"repository\": {}, \"refs\": {}, \"settings\": {}, \"chain\": [{}]}");
    /** The git commands of restores. */
    static final List<String> GIT_COMMANDS = List.of("--version", "index-pack", "rev-list");
    /** What git does instead, as a shell has it; with AT for a number. An empty one stands for no git at all. */
    static final List<String> GIT_FAULTS = List.of("", "exit 1", "exit 127",
            "echo 'fatal: bad config line 1 in file .gitconfig' >&2; exit 128",
            "echo 'error: unable to create temporary file: Too many open files' >&2; exit 1", "kill -9 $$",
            "head -c AT | git \"$@\"; kill -9 $$", "git \"$@\" >/dev/null 2>&1; kill -9 $$", "git \"$@\"; exit 3",
            "ulimit -v 9000", "printf '[broken\\n' >\"$0.config\"; export GIT_CONFIG_GLOBAL=\"$0.config\"");

    /**
     * Something that goes wrong.
     *
     * @param kind  a method of Fault's; an error as error-STATUS-CODE; odd for an odd answer; throw for a client that
     *              throws; git for a fault of git; one of UNREADABLE, with the repository whose newest manifest it is,
     *              or with runs; or what somebody does midway, with the repository that it is done to: delete, rename,
     *              commit, rewrite, unlink; or expire, twice
     * @param call  the name of the call, or the command of git; "any" when it is somebody's doing, "before" when it has
     *              happened before the run
     * @param after how many such calls pass before
     * @param times how many are hit; of run records the newest ones
     * @param at    the byte, or the number of a fault of its kind
     */
    record Trouble(String kind, String call, int after, int times, long at) {
        static Trouble parse(String text) {
            var words = text.split(" ");
            return new Trouble(words[0], words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]),
                    Long.parseLong(words[4]));
        }

        @Override
        public String toString() {
            return kind + " " + call + " " + after + " " + times + " " + at;
        }

        /** Null when it is somebody's doing. */
        Fault fault() {
            var fault = Fault.on(call).after(after).times(times);
            if (kind.startsWith("error-")) {
                var words = kind.split("-");
                return fault.error(Integer.parseInt(words[1]), words[2], "On purpose.");
            }
            return switch (kind) {
                case "throttle" -> fault.throttle();
                case "serverError" -> fault.serverError();
                case "loseAnswer" -> fault.loseAnswer();
                case "delay" -> fault.delay(Duration.ofMillis(200));
                case "cut" -> fault.cut(at);
                case "flip" -> fault.flip(at);
                // Git's timeout is a second here
                case "stall" -> fault.stall(at, Duration.ofMillis(call.equals("codecommit:GitPull") ? 1500 : 300));
                case "cutRequest" -> fault.cutRequest(at);
                case "flipRequest" -> fault.flipRequest(at);
                case "odd" -> fault.answer(any(ODD_ANSWERS));
                default -> null;
            };
        }

        boolean is(String what) {
            return kind.split("=")[0].equals(what);
        }

        boolean isUnreadable() {
            return UNREADABLE.stream().anyMatch(this::is);
        }

        <T> T any(List<T> of) {
            return of.get((int) (at % of.size()));
        }

        /** Null as long as such calls pass, and when they do again. */
        Throwable thrown(int callsBefore) {
            if (callsBefore < after || callsBefore >= after + times) return null;
            var number = (int) (at % (EXCEPTIONS.size() + ERRORS.size()));
            return number < ERRORS.size() ? ERRORS.get(number).get() : EXCEPTIONS.get(number - ERRORS.size()).get();
        }
    }

    static Stream<String> trials() {
        var fixed = Stream.of(ONCE_FAILED, FIXED).flatMap(List::stream).toList();
        return Campaign.trials(FaultCampaignTest.class, fixed, 30, 300);
    }

    @ParameterizedTest
    @MethodSource("trials")
    void nothingIsLostAndNothingIsClaimed(String text) throws Exception {
        var seed = Long.parseLong(text.split(": ")[0]);
        var troubles = text.contains(": ") ? Arrays.stream(text.split(": ")[1].split(", ")).map(Trouble::parse).toList()
                : troubles(seed);
        run(seed, troubles, Trial::check);
    }

    /** What is found wrong with a trial; nothing if it returns. */
    interface Check {
        void check(Trial trial) throws Exception;
    }

    static void run(long seed, List<Trouble> troubles, Check check) {
        var failure = failure(seed, troubles, check);
        if (failure == null) return;
        var least = Campaign.shrunk(troubles, fewer -> failure(seed, fewer, check) != null);
        var again = failure(seed, least, check);
        throw new AssertionError(
                "fails with " + troubles.size() + " faults, and with these too: " + seed + ": "
                        + least.stream().map(Trouble::toString).collect(Collectors.joining(", ")),
                again == null ? failure : again);
    }

    static Throwable failure(long seed, List<Trouble> troubles, Check check) {
        try (var trial = new Trial(seed, troubles)) {
            check.check(trial);
            return null;
        } catch (Exception | AssertionError e) {
            return e;
        }
    }

    /** What is tried; two times of three it is the backup. */
    static String subject(long seed) {
        return seed % 6 == 4 ? "verification"
                : seed % 12 == 5 ? "directory" : seed % 12 == 11 ? "repository" : "backup";
    }

    /** The calls that a run without faults makes, and those that it makes only when something went wrong. */
    static final Map<String, List<String>> CALLS = new ConcurrentHashMap<>();

    static synchronized List<String> calls(String subject) {
        if (!CALLS.containsKey(subject)) {
            var seed = Map.of("backup", 0L, "verification", 4L, "directory", 5L, "repository", 11L).get(subject);
            var failure = failure(seed, List.of(), trial -> {
                trial.check();
                CALLS.put(subject, trial.made);
            });
            if (failure != null) throw new AssertionError("without any fault", failure);
            if (subject.equals("backup")) {
                CALLS.get(subject)
                        .addAll(List.of("s3:AbortMultipartUpload", "s3:ListMultipartUploads", "s3:HeadObject"));
            }
        }
        return CALLS.get(subject);
    }

    static List<Trouble> troubles(long seed) {
        var random = new Random(seed);
        var subject = subject(seed);
        var calls = calls(subject);
        var all = new ArrayList<Trouble>();
        var leavesGitAlone = subject.equals("backup") && seed % 2 == 0;
        for (var i = random.nextInt(4); i >= 0; i--) {
            var beside = random.nextInt(leavesGitAlone ? 2 : subject.equals("backup") ? 8 : 4);
            if (beside == 0) {
                var names = List.of("a-large", "b-small", "c-odd", "runs");
                all.add(new Trouble(UNREADABLE.get(random.nextInt(UNREADABLE.size())) + "="
                        + names.get(random.nextInt(names.size())), "before", 0, 1 + random.nextInt(3),
                        random.nextInt(1000)));
                continue;
            }
            if (beside == 1) {
                all.add(subject.equals("backup")
                        ? new Trouble(random.nextBoolean() ? "odd" : "throw",
                                SIDE_STEPS.get(random.nextInt(SIDE_STEPS.size())), random.nextInt(2),
                                List.of(1, 2, 1000).get(random.nextInt(3)), random.nextInt(1000))
                        : new Trouble("git", subject.equals("verification") ? "fsck"
                                : GIT_COMMANDS.get(random.nextInt(GIT_COMMANDS.size())), 0, 1,
                                random.nextInt(50_000)));
                continue;
            }
            if (subject.equals("backup") && random.nextInt(5) == 0) {
                var kind = List.of("delete=", "rename=", "commit=", "rewrite=", "unlink=", "expire", "twice")
                        .get(random.nextInt(7));
                var name = kind.endsWith("=") ? NAMES.get(random.nextInt(NAMES.size())) : "";
                all.add(new Trouble(kind + name, "any",
                        kind.equals("unlink=") || kind.equals("twice") ? 0 : random.nextInt(calls.size()), 1,
                        random.nextInt(1000)));
                continue;
            }
            var call = calls.get(random.nextInt(calls.size()));
            var occurrences = (int) calls.stream().filter(call::equals).count();
            var kinds = new ArrayList<>(List.of("throttle", "serverError", "loseAnswer", "delay", "cut", "cut", "stall",
                    "error-403-AccessDenied", "error-400-ExpiredToken"));
            var writes = call.matches("s3:(PutObject|UploadPart|CompleteMultipartUpload)");
            if (writes) {
                kinds.addAll(List.of("cutRequest", "flipRequest", "flipRequest", "error-412-PreconditionFailed",
                        "error-409-ConditionalRequestConflict", "error-400-BadDigest"));
            }
            if (call.equals("codecommit:GitPull")) {
                kinds.addAll(subject.equals("backup")
                        ? List.of("flip", "flip", "error-404-RepositoryDoesNotExistException") : List.of());
            }
            if (call.equals("codecommit:GitPush")) kinds.addAll(List.of("cutRequest", "cutRequest"));
            if (call.equals("s3:GetObject")) kinds.addAll(List.of("flip", "flip"));
            var kind = kinds.get(random.nextInt(kinds.size()));
            var flipped = all.stream().anyMatch(trouble -> trouble.is("flip"));
            // what is read wrong twice is damaged
            if (kind.equals("flip") && flipped && subject.equals("verification")) continue;
            var times = kind.equals("flip") ? 1 : List.of(1, 1, 1, 2, 3, 1000).get(random.nextInt(6));
            var most = call.matches("codecommit:Git.*|s3:UploadPart|s3:GetObject") ? 400_000 : 2_000;
            // A pack is what is answered to every second of a repository's requests, from the second one on.
            var after = call.equals("codecommit:GitPull") && kind.equals("flip")
                    ? 2 * random.nextInt(occurrences / 2) + 1 : random.nextInt(occurrences);
            all.add(new Trouble(kind, call, after, times, (long) Math.exp(random.nextDouble() * Math.log(most))));
        }
        return all;
    }

    /** Three repositories that were backed up, what is to go wrong, and what became of it. */
    static class Trial implements AutoCloseable {
        final LocalAws aws = LocalAws.start();
        final S3.Bucket bucket = aws.s3.createBucket("backups", "eu-west-1");
        final long seed;
        final Random random;
        final List<Trouble> troubles;
        /** By name, what its restore points may have brought back: what it was when the run began, and since. */
        final Map<String, Set<String>> states = new ConcurrentHashMap<>();
        /** By key, all that must stay. */
        final Map<String, String> old = new TreeMap<>();
        /** By manifest, the repository's state when it was made. */
        final Map<String, String> points = new TreeMap<>();
        /** The calls of the run that the faults were for. */
        List<String> made = new ArrayList<>();
        /** The calls that were made. */
        int counted;
        /** Whether nothing may happen any more. */
        boolean isOver;
        final Set<String> gone = ConcurrentHashMap.newKeySet();
        /** The keys of links that are lost. */
        final Set<String> unlinked = new TreeSet<>();
        /** By key, what was there before it became unreadable. */
        final Map<String, byte[]> unreadable = new TreeMap<>();
        /** The keys among these that may not be read. */
        final Set<String> denied = new TreeSet<>();
        /** Side steps that throw, with how often each was called. */
        final Map<Trouble, AtomicInteger> throwing = new ConcurrentHashMap<>();
        /** Has what stands in git's place. */
        final Path programs = Files.createTempDirectory("programs-");
        /** Whether Git servers are not waited for; a busy machine is one, too. */
        boolean hurried;

        Trial(long seed, List<Trouble> troubles) throws Exception {
            this.seed = seed;
            this.troubles = troubles;
            random = new Random(seed);
            Script.use(aws);
            aws.s3.smallestPart = SampleRepositories.SMALL_PART;
            SampleRepositories.largeAtFirst(aws, "a-large");
            aws.codecommit.createApprovalRuleTemplate("two", 2);
            var small = SampleRepositories.small(aws, "b-small").tag("team", "payments").approvalRuleTemplate("two")
                    .trigger("tell", "arn:aws:sns:eu-west-1:111122223333:builds");
            small.comment(small.pullRequest("Add b", "feature", "main"), "Hm");
            SampleRepositories.small(aws, "c-odd").commit("refs/heads/main", "bulk", SampleRepositories.bulk(20_000))
                    .commit("refs/heads/main", ".gitattributes",
                            "# Bin\u00e4r\n*.psd filter=lfs\n".getBytes(StandardCharsets.ISO_8859_1))
                    .commit("refs/heads/ümläut/\"日本\"", "x", "x").ref("refs/tags/blob", "refs/heads/main:a.txt")
                    .ref("refs/tags/tree", "refs/heads/main^{tree}").annotatedTag("of-a-tag", "refs/tags/v1")
                    .pullRequest("Add b", "feature", "main");
            saved();
        }

        @Override
        public void close() {
            aws.close();
            try {
                Directories.delete(programs);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        Script.Run backUp(String... args) {
            var script = new BackupToS3() {
                @Override
                Map<String, String> listRepositories() {
                    codecommit = throwing(codecommit);
                    return super.listRepositories();
                }
            };
            script.partSize = SampleRepositories.SMALL_PART;
            if (hurried) script.gitTimeout = 1;
            return Backups.run(script, args);
        }

        CodeCommitClient throwing(CodeCommitClient client) {
            return (CodeCommitClient) Proxy.newProxyInstance(CodeCommitClient.class.getClassLoader(),
                    new Class<?>[] {CodeCommitClient.class}, (proxy, method, arguments) -> {
                        for (var step : throwing.entrySet()) {
                            var name = step.getKey().call.split(":")[1];
                            if (!method.getName().replaceFirst("Paginator$", "").equalsIgnoreCase(name)) continue;
                            var thrown = step.getKey().thrown(step.getValue().getAndIncrement());
                            if (thrown != null) throw thrown;
                        }
                        try {
                            return method.invoke(client, arguments);
                        } catch (InvocationTargetException e) {
                            throw e.getCause();
                        }
                    });
        }

        /** Whether only what is kept, git and side steps are at fault, but no line. */
        boolean hasGoodLine() {
            return troubles.stream()
                    .allMatch(trouble -> trouble.isUnreadable() || trouble.is("git") || trouble.is("throw"));
        }

        /** The program in git's place; of this trial, or else the one given. */
        String git(String otherwise) throws IOException {
            var trouble = troubles.stream().filter(each -> each.is("git")).findFirst().orElse(null);
            if (trouble == null) return otherwise;
            var does = trouble.any(GIT_FAULTS);
            if (does.isEmpty()) return "no git here";
            // nobody closes what fsck might read
            var program = Files.writeString(programs.resolve("git"), "#!/bin/sh\ncase \" $* \" in *\" fsck \"*) exec "
                    + "</dev/null ;; esac\ncase \" $* \" in *\" " + trouble.call + " \"*) "
                    + does.replace("AT", String.valueOf(trouble.at)) + " ;; esac\nexec git \"$@\"\n");
            assertTrue(program.toFile().setExecutable(true));
            return program.toString();
        }

        /** A run that must succeed, after which everything is as it says. */
        void saved() throws Exception {
            var run = backUp();
            assertEquals(0, run.exitCode(), run.err());
            for (var name : NAMES) {
                if (!gone.contains(name)) remember(name, keys(name).get(keys(name).size() - 1));
            }
            for (var key : bucket.keys()) old.put(key, Backups.sha("SHA-1", bucket.get(key)));
        }

        void remember(String name, String manifest) throws IOException {
            states.put(name, ConcurrentHashMap.newKeySet());
            states.get(name).add(state(name));
            points.putIfAbsent(manifest, state(name));
        }

        CodeCommit.Repo repository(String name) {
            return aws.codecommit.repository(name);
        }

        String state(String name) throws IOException {
            return Git.state(repository(name).directory(), true);
        }

        /** The keys of its manifests. */
        List<String> keys(String name) {
            return Backups.manifests(bucket, name);
        }

        void change(String name) throws Exception {
            if (name.equals("a-large")) {
                SampleRepositories.advance(repository(name));
            } else {
                repository(name).commit("refs/heads/main", "more.txt", "more " + random.nextInt())
                        .commit("refs/heads/new", "n.txt", "new").annotatedTag("v2", "refs/heads/new");
            }
            states.get(name).clear();
            states.get(name).add(state(name));
        }

        void check() throws Exception {
            switch (subject(seed)) {
                case "verification" -> checkVerification();
                case "directory" -> checkDirectory();
                case "repository" -> checkRepository();
                default -> checkBackup();
            }
        }

        // ---- Backups

        void checkBackup() throws Exception {
            var unchanged = random.nextInt(6);
            for (var name : NAMES) {
                if (NAMES.indexOf(name) != unchanged) change(name);
            }
            for (var trouble : troubles) {
                if (trouble.is("unlink") && NAMES.indexOf(name(trouble)) != unchanged) unlink(trouble);
            }
            inject();
            aws.onCall(call -> letHappen());
            var jobs = random.nextBoolean() ? "1" : "4";
            var other = troubles.stream().anyMatch(trouble -> trouble.is("twice"))
                    ? CompletableFuture.supplyAsync(() -> backUp("--jobs", jobs)) : null;
            var runs = new ArrayList<>(List.of(backUp("--jobs", jobs)));
            if (other != null) runs.add(other.join());
            repair();
            for (var run : runs) checkRun(run);
            checkUploads(runs.stream().map(Script.Run::err).collect(Collectors.joining()));
            checkObjects();
            saved();
            for (var name : NAMES) {
                if (!gone.contains(name)) {
                    assertEquals(state(name), restored(keys(name).get(keys(name).size() - 1)), name);
                }
            }
            for (var point : points.entrySet()) {
                if (point.getKey().contains("/b-small/") && unlinked.isEmpty()) {
                    assertEquals(point.getValue(), restored(point.getKey()));
                }
            }
            var verify = verify("--no-codecommit", "--all", "--deep");
            assertEquals(unlinked.isEmpty() ? 0 : 4, verify.exitCode(), verify.err());
            if (!unlinked.isEmpty()) {
                assertTrue(Set.of("missing-object", "size", "checksum")
                        .containsAll(verify.json().path("findings").findValuesAsText("code")), verify.err());
            }
        }

        static String name(Trouble trouble) {
            return trouble.kind.substring(trouble.kind.indexOf('=') + 1);
        }

        void inject() {
            aws.clearCalls();
            for (var trouble : troubles) {
                if (trouble.fault() != null) aws.inject(trouble.fault());
                if (trouble.is("throw")) throwing.put(trouble, new AtomicInteger());
                if (trouble.isUnreadable()) makeUnreadable(trouble);
            }
            if (!denied.isEmpty()) {
                bucket.policy("""
                        {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
                         "Action": "s3:GetObject", "Resource": [%s]}]}""".formatted(denied.stream()
                        .map(key -> '"' + bucket.arn() + "/" + key + '"').collect(Collectors.joining(", "))));
            }
            hurried = troubles.stream()
                    .anyMatch(trouble -> trouble.is("stall") && trouble.call.equals("codecommit:GitPull"));
        }

        synchronized void repair() {
            isOver = true;
            made = new ArrayList<>(aws.calls().stream().map(Call::name).toList());
            aws.clearFaults();
            throwing.clear();
            bucket.policy(null);
            unreadable.forEach(bucket::put);
            hurried = false;
            aws.addCredentials(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY, null, "user/operator", Instant.MAX);
        }

        /** A link of the newest chain is lost, or half of it. */
        void unlink(Trouble trouble) {
            var key = Backups.document(bucket, keys(name(trouble)).get(0)).at("/chain/0/key").asText();
            if (!unlinked.add(key)) return;
            if (trouble.at % 2 == 0) bucket.delete(key);
            else bucket.put(key, Arrays.copyOf(bucket.get(key), (int) bucket.size(key) / 2));
            old.remove(key);
        }

        /** The newest manifest or the newest run records are not to be had, or not to be understood. */
        void makeUnreadable(Trouble trouble) {
            var name = name(trouble);
            var keys = name.equals("runs") ? bucket.keys().stream().filter(key -> key.contains("/runs/")).toList()
                    : keys(name);
            var count = Math.min(name.equals("runs") ? trouble.times : 1, keys.size());
            for (var key : keys.subList(keys.size() - count, keys.size())) {
                if (unreadable.containsKey(key)) continue;
                var bytes = bucket.get(key);
                unreadable.put(key, bytes);
                switch (trouble.kind.split("=")[0]) {
                    case "archived" -> bucket.header(key, "x-amz-storage-class", "GLACIER");
                    case "denied" -> denied.add(key);
                    case "gone" -> bucket.delete(key);
                    // behind gzip's header, which says nothing
                    case "damaged" -> bucket.corrupt(key, 10 + trouble.at % (bytes.length - 10));
                    case "later" -> bucket.put(key, Backups.gzip(Backups.document(bucket, key).put("format", 2)));
                    default -> bucket.put(key, Backups.gzip(Backups.json(trouble.any(SHAPES))));
                }
            }
        }

        /** Whether a finding is about what is unreadable, and not only denied. */
        boolean isOfUnreadable(JsonNode finding) {
            var key = finding.path("key").asText();
            var name = finding.path("repositoryName").asText();
            return switch (finding.path("code").asText()) {
                case "stale" -> unreadable.keySet().stream().anyMatch(each -> each.contains("/runs/"));
                case "missing" -> unreadable.keySet().stream().anyMatch(each -> each.contains("/" + name + "/"));
                default -> unreadable.containsKey(key) && !denied.contains(key);
            };
        }

        /** At each call, also of several at once: what is due at it happens once, and nothing after the run. */
        synchronized void letHappen() {
            if (isOver) return;
            for (var trouble : troubles) {
                if (trouble.call.equals("any") && trouble.after == counted) happen(trouble);
            }
            counted++;
        }

        /** What somebody does while the backup runs. */
        void happen(Trouble trouble) {
            try {
                var name = name(trouble);
                var repository = repository(name);
                if (trouble.is("expire")) {
                    aws.addCredentials(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY, null, "user/operator",
                            Instant.EPOCH);
                }
                if (repository == null || trouble.is("unlink")) return;
                if (trouble.is("delete") || trouble.is("rename")) {
                    gone.add(name);
                    aws.codecommit.deleteRepository("eu-west-1", name);
                    if (trouble.is("rename")) {
                        aws.codecommit.createRepository("renamed-" + name)
                                .commit("refs/heads/main", "a", "of another name");
                    }
                    return;
                }
                if (trouble.is("commit")) repository.commit("refs/heads/main", "midway.txt", "midway");
                if (trouble.is("rewrite")) { // and nothing that was advertised is there any more
                    repository.commit("refs/heads/rewritten", "midway.txt", "midway");
                    states.get(name).add(state(name)); // a backup may see it between any two of these steps
                    repository.ref("refs/heads/main", "refs/heads/rewritten");
                    states.get(name).add(state(name));
                    for (var ref : Git.refs(repository.directory()).keySet()) {
                        if (!ref.matches("refs/(heads/(?!main).*|tags/.*)")) continue;
                        SampleRepositories.deleteRefs(repository, Pattern.quote(ref));
                        states.get(name).add(state(name));
                    }
                }
                states.get(name).add(state(name));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** That a run says what it did, and did what it says. */
        void checkRun(Script.Run run) throws Exception {
            assertTrue(Set.of(0, 1, 3).contains(run.exitCode()), run.exitCode() + " " + run.err());
            assertEquals(run.exitCode() == 1, run.out().isEmpty(), run.out() + run.err());
            assertTrue(run.err().lines().allMatch(line -> line.startsWith("backup-to-s3: ")), run.err());
            if (run.exitCode() == 1) {
                assertFalse(troubles.stream().allMatch(Trouble::isUnreadable) || hasGoodLine(), run.err());
                assertTrue(run.err().lines()
                        .anyMatch(line -> !line.matches("backup-to-s3: [\\w-]+: (unchanged|created, .*)")), run.err());
                return;
            }
            var shown = run.json().path("repositories");
            if (troubles.stream().allMatch(trouble -> trouble.isUnreadable() || SIDE_STEPS.contains(trouble.call))) {
                for (var name : NAMES) {
                    var status = Backups.repository(run.json(), name).path("status").asText();
                    assertTrue(status.matches("created|unchanged"), name + ": " + status + run.err());
                }
                if (troubles.stream().allMatch(Trouble::isUnreadable)) assertEquals(0, run.exitCode(), run.err());
            }
            assertEquals(run.exitCode() == 0, shown.valueStream().noneMatch(repository -> repository.has("error")),
                    run.out());
            for (var name : NAMES) {
                if (!gone.contains(name)) assertNotNull(Backups.repository(run.json(), name));
            }
            for (var repository : shown) {
                var name = repository.path("repositoryName").asText();
                if (repository.has("error")) {
                    assertEquals(1,
                            run.err().lines().filter(
                                    ("backup-to-s3: " + name + ": " + repository.path("error").asText())::equals)
                                    .count(),
                            run.err());
                    // else its commits are saved, though not all the rest
                    if (repository.path("status").asText().equals("failed")) continue;
                }
                if (!NAMES.contains(name)) continue; // the new name of one that was renamed
                var manifest = repository.path("status").asText().equals("created")
                        ? repository.at("/keys").valueStream().map(JsonNode::asText).reduce("", (a, b) -> b)
                        : Backups.document(bucket, run.json().path("run").asText()).path("repositories")
                                .path(name).path("manifest").asText();
                var state = restored(manifest);
                assertTrue(states.get(name).contains(state),
                        name + " is said to be " + repository.path("status").asText() + " and restores to\n" + state
                                + "and not to\n" + states.get(name));
            }
        }

        /** That no upload is left unfinished without a word. */
        void checkUploads(String err) {
            var told = bucket.uploads().stream()
                    .filter(key -> err.lines()
                            .anyMatch(line -> line.contains(key) && line.contains("an unfinished upload is left")))
                    .toList();
            assertEquals(told, bucket.uploads(), err);
        }

        /** That all that was there is there as it was, and that what has come is whole. */
        void checkObjects() {
            old.forEach((key, hash) -> assertEquals(hash, Backups.sha("SHA-1", bucket.get(key)), key));
            for (var key : bucket.keys()) {
                if (old.containsKey(key)) continue;
                if (key.endsWith(".manifest.json.gz")) {
                    Backups.assertVerified(bucket, Backups.document(bucket, key));
                }
                if (!key.endsWith(".bundle") || unlinked.contains(key)) continue;
                Backups.assertWhole(key, bucket.get(key));
            }
        }

        // ---- Verifications

        Script.Run verify(String... args) throws IOException {
            var script = new VerifyBackups();
            script.gitCommand = git("");
            script.withoutGit = script.gitCommand.isEmpty();
            return Script.run(script.commandLine(),
                    Stream.concat(Stream.of("--bucket", "backups"), Stream.of(args)).toArray(String[]::new));
        }

        /** Whatever the line does: no clean bill for what is damaged, and no finding for what is not. */
        void checkVerification() throws Exception {
            change("b-small");
            change("c-odd");
            saved();
            var damaged = random.nextBoolean() && !troubles.isEmpty();
            if (damaged) damage();
            inject();
            var run = verify("--all", "--deep", "--jobs", random.nextBoolean() ? "1" : "4");
            repair();
            var isReadable = denied.containsAll(unreadable.keySet());
            assertTrue((damaged ? Set.of(1, 3, 4) : isReadable ? Set.of(0, 1, 3) : Set.of(0, 1, 3, 4))
                    .contains(run.exitCode()), run.exitCode() + " " + run.err());
            assertEquals(run.exitCode() == 1, run.out().isEmpty(), run.out() + run.err());
            assertTrue(run.err().lines().allMatch(line -> line.startsWith("verify-backups: ")), run.err());
            if (run.exitCode() == 1 || run.exitCode() == 3) assertFalse(run.err().isEmpty());
            if (run.exitCode() == 3) {
                assertTrue(run.json().path("repositories").findValuesAsText("status").stream()
                        .anyMatch(status -> status.matches("failed|unchecked")), run.out());
            }
            if (!damaged && run.exitCode() != 1) {
                assertTrue(run.json().path("findings").valueStream().allMatch(this::isOfUnreadable), run.out());
            }
            if (hasGoodLine() && run.exitCode() != 1) {
                var found = run.json().path("findings").findValuesAsText("key");
                unreadable.keySet().stream().filter(key -> key.endsWith(".manifest.json.gz") && !denied.contains(key))
                        .forEach(key -> assertTrue(found.contains(key), key + run.out()));
                if (!damaged && unreadable.isEmpty()) assertEquals(0, run.exitCode(), run.err());
            }
            var again = verify("--all", "--deep");
            assertEquals(damaged ? 4 : 0, again.exitCode(), again.err());
        }

        void damage() {
            var bundles = bucket.keys().stream().filter(key -> key.endsWith(".bundle")).toList();
            var key = bundles.get(random.nextInt(bundles.size()));
            var manifests = keys("b-small");
            switch (random.nextInt(5)) {
                case 0 -> bucket.delete(key);
                case 1 -> bucket.put(key, Arrays.copyOf(bucket.get(key), random.nextInt((int) bucket.size(key))));
                case 2 -> bucket.corrupt(key, random.nextInt((int) bucket.size(key)));
                case 3 -> bucket.delete(manifests.get(manifests.size() - 1));
                // behind gzip's header, which says nothing
                default ->
                    bucket.corrupt(manifests.get(0), 10 + random.nextInt((int) bucket.size(manifests.get(0)) - 10));
            }
        }

        // ---- Restores

        String restored(String manifest) throws Exception {
            var directory = Files.createTempDirectory("trial-");
            var run = restore(new RestoreFromS3(), "no git here", manifest, directory.resolve("r.git"));
            assertEquals(0, run.exitCode(), run.err());
            var state = Git.state(directory.resolve("r.git"), true);
            Directories.delete(directory);
            return state;
        }

        static Script.Run restore(RestoreFromS3 script, String git, String manifest, Path directory) {
            script.git = git;
            script.linePatience = Duration.ofSeconds(2);
            return Script.run(script.commandLine(), "--bucket", "backups", "--manifest", manifest, "--directory",
                    directory.toString());
        }

        /** Whatever comes over the line: the refs as they were, or no directory. */
        void checkDirectory() throws Exception {
            change("a-large");
            change("c-odd");
            saved();
            var key = List.copyOf(points.keySet()).get(random.nextInt(points.size()));
            var damaged = random.nextInt(3) == 0 && !troubles.isEmpty();
            var chain = Backups.document(bucket, key).path("chain");
            if (damaged) {
                var bundle = chain.get(random.nextInt(chain.size())).path("key").asText();
                if (random.nextBoolean()) bucket.delete(bundle);
                else bucket.corrupt(bundle, random.nextInt((int) bucket.size(bundle)));
            }
            var directory = Files.createTempDirectory("trial-");
            inject();
            var run = restore(new RestoreFromS3(), git(random.nextBoolean() ? "git" : "no git here"), key,
                    directory.resolve("r.git"));
            repair();
            var isBad = damaged || unreadable.containsKey(key);
            checkRestored(run, directory, isBad ? null : points.get(key));
            if (hasGoodLine() && !isBad) assertEquals(0, run.exitCode(), run.err());
            Directories.delete(directory);
        }

        /** Whatever comes over the line: the same command again does the rest, and nothing else. */
        void checkRepository() throws Exception {
            change("a-large");
            change("c-odd");
            saved();
            aws.kms.createAlias("eu-west-1", "alias/codecommit", aws.kms.createKey("eu-west-1"));
            var key = List.copyOf(points.keySet()).get(random.nextInt(points.size()));
            inject();
            var run = intoRepository(key);
            repair();
            // What may not be read of the settings is left out.
            var isDenied = troubles.stream().anyMatch(trouble -> trouble.is("error-403-AccessDenied"));
            assertTrue((isDenied ? Set.of(0, 1, 3) : Set.of(0, 1)).contains(run.exitCode()),
                    run.exitCode() + " " + run.err());
            if (hasGoodLine()) assertEquals(unreadable.containsKey(key) ? 1 : 0, run.exitCode(), run.err());
            assertTrue(run.err().lines().allMatch(line -> line.startsWith("restore-from-s3: ")), run.err());
            assertEquals(run.exitCode() == 1, run.out().isEmpty(), run.out());
            if (run.exitCode() == 3) assertNotEquals(0, run.json().path("leftOut").size(), run.out());
            if (run.exitCode() != 1) assertEquals(points.get(key), state("restored"));
            var again = intoRepository(key);
            assertEquals(0, again.exitCode(), again.err());
            if (run.exitCode() == 0) assertEquals("unchanged", again.status());
            assertEquals(points.get(key), state("restored"));
        }

        Script.Run intoRepository(String manifest) throws IOException {
            var script = new RestoreFromS3();
            script.git = git("no git here");
            script.linePatience = Duration.ofSeconds(2);
            script.maxBytes = 100_000;
            return Script.run(script.commandLine(), "--bucket", "backups", "--manifest", manifest,
                    "--to-repository-name", "restored", "--kms-key-id", "alias/codecommit");
        }

        static void checkRestored(Script.Run run, Path directory, String state) throws IOException {
            assertTrue(run.exitCode() == 0 && state != null || run.exitCode() == 1, run.exitCode() + " " + run.err());
            assertTrue(run.err().lines().allMatch(line -> line.startsWith("restore-from-s3: ")), run.err());
            if (run.exitCode() == 0) {
                assertEquals(state, Git.state(directory.resolve("r.git"), true));
                assertEquals("", Git.fsck(directory.resolve("r.git")));
            } else {
                assertEquals("", run.out());
                assertEquals(List.of(), RestoreFromS3.entries(directory), run.err());
                assertFalse(run.err().isEmpty());
            }
        }
    }

    // ---- Processes

    static Stream<Long> kills() {
        return Campaign.seeds(FaultCampaignTest.class, 2, 20);
    }

    /** Of three parts of 8 MiB, made once. */
    static Path huge;

    static synchronized Path huge() throws Exception {
        if (huge == null) huge = new Repositories(Files.createTempDirectory("huge-")).blobs("huge", 20);
        return huge;
    }

    @AfterAll
    static void deleteRepositories() throws IOException {
        if (huge != null) Directories.delete(huge.getParent());
        SampleRepositories.deleteLarge();
    }

    /**
     * Before any of its calls, and some time after that: what was saved stays, what has come is whole, and the next run
     * makes it good.
     */
    @ParameterizedTest
    @MethodSource("kills")
    void aBackupThatIsKilledLosesNothing(long seed, @TempDir Path directory) throws Exception {
        try (var trial = new Trial(seed, List.of())) {
            for (var name : NAMES) trial.change(name);
            var large = trial.aws.codecommit.createRepository("d-huge")
                    .borrow(huge().resolve("objects"), Git.refs(huge())).defaultBranch("main");
            var random = new Random(seed);
            var last = 1 + random.nextInt(25);
            var command = Script.java(List.of("-Xmx128m"), "BackupToS3", "--bucket", "backups");
            var builder = new ProcessBuilder(command).directory(directory.toFile())
                    .redirectOutput(directory.resolve("out").toFile()).redirectError(directory.resolve("err").toFile());
            Script.within(trial.aws, builder);
            try (var gate = Gate.after(last, trial.aws)) {
                var process = builder.start();
                gate.awaitCaller(process);
                Thread.sleep(random.nextInt(30)); // what is under way gets so much further
                process.destroyForcibly();
                assertEquals(137, process.waitFor(),
                        "it was over before " + last + " calls: " + Files.readString(directory.resolve("err")));
            }
            assertEquals("", Files.readString(directory.resolve("out")));
            trial.repair();
            trial.checkObjects();
            trial.saved();
            for (var name : NAMES) {
                assertEquals(trial.state(name),
                        trial.restored(trial.keys(name).get(trial.keys(name).size() - 1)), name);
            }
            Backups.assertRestores(trial.bucket, large);
            var verify = trial.verify("--all");
            assertEquals(0, verify.exitCode(), verify.err());
        }
    }

    static Stream<Long> disks() {
        return Campaign.seeds(FaultCampaignTest.class, 4, 24);
    }

    /**
     * Where no file may be larger than so much, git is ended by a signal and Java's writes fail: that is this machine's
     * fault, not the backup's.
     */
    @ParameterizedTest
    @MethodSource("disks")
    void withoutRoomThereIsNoDirectoryAndNoFinding(long seed, @TempDir Path directory) throws Exception {
        try (var trial = new Trial(seed, List.of())) {
            trial.change("a-large");
            trial.saved();
            var key = trial.keys("a-large").get(1);
            var target = Files.createDirectory(directory.resolve("target"));
            var command = new ArrayList<>(List.of("/bin/bash", "-c", "ulimit -f $0 && exec \"$@\"",
                    String.valueOf(20 + new Random(seed).nextInt(400))));
            var options = List.of("-XX:-UsePerfData"); // a file
            command.addAll(seed % 3 == 0
                    ? Script.java(options, "VerifyBackups", "--bucket", "backups", "--all", "--deep")
                    : Script.java(options, "RestoreFromS3", "--bucket", "backups", "--manifest", key,
                            "--directory", target.resolve("r.git").toString()));
            var builder = new ProcessBuilder(command).redirectOutput(directory.resolve("out").toFile())
                    .redirectError(directory.resolve("err").toFile());
            Script.within(trial.aws, builder);
            if (seed % 2 == 0) builder.environment().put("PATH", directory.toString()); // no git there
            var run = new Script.Run(builder.start().waitFor(), Files.readString(directory.resolve("out")),
                    Files.readString(directory.resolve("err")));
            if (seed % 3 == 0) {
                assertTrue(Set.of(0, 3).contains(run.exitCode()), run.exitCode() + " " + run.err());
                assertEquals(0, run.json().path("findings").size(), run.out());
            } else {
                Trial.checkRestored(run, target, trial.points.get(key));
                assertFalse(run.err().contains("restore point before it"), run.err());
            }
        }
    }

    /** A check that takes a flipped pack for a fault is content only without it: of all faults that one is left. */
    @Test
    void findsTheFewestFaultsThatMatter() {
        var troubles = List.of(Trouble.parse("delay s3:PutObject 0 1 0"),
                Trouble.parse("throttle s3:ListObjectsV2 0 1 0"), Trouble.parse("flip codecommit:GitPull 1 1 100000"),
                Trouble.parse("loseAnswer s3:PutObject 2 1 0"), Trouble.parse("delay codecommit:GitPull 0 1 0"));
        Check strict = trial -> {
            trial.change("a-large");
            trial.inject();
            var run = trial.backUp("--jobs", "1");
            trial.repair();
            assertEquals(4, trial.made.stream().filter("codecommit:GitPull"::equals).count(), run.err());
        };
        var error = assertThrows(AssertionError.class, () -> run(0, troubles, strict));
        assertTrue(error.getMessage().endsWith(" too: 0: flip codecommit:GitPull 1 1 100000"), error.getMessage());
    }
}
