import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.LocalAws;
import localaws.S3;
import org.eclipse.jgit.lib.Constants;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;

/** The backup against the embedded AWS: Git, S3, and what plain git makes of the bundles. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class BackupToS3Test {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String KEY = "arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    /** All calls of this class's runs, for the list of IAM actions. */
    static final Collection<Call> made = new ConcurrentLinkedQueue<>();

    LocalAws aws;
    S3.Bucket bucket;

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        bucket = aws.s3.createBucket("backups", "eu-west-1");
        Script.use(aws);
    }

    @AfterEach
    void stop() {
        aws.close(); // what a test has left stalling ends
        made.addAll(aws.calls());
        System.clearProperty("aws.sessionToken");
    }

    @AfterAll
    static void deleteLarge() throws IOException {
        SampleRepositories.deleteLarge();
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        // S3 itself uses the key that the objects are encrypted under, in the name of the caller.
        Script.assertIamActions("BackupToS3", made, Set.of("kms:GenerateDataKey", "kms:Decrypt"));
    }

    // ---- Helpers

    static Script.Run run(String... args) {
        return Backups.run(args);
    }

    static Script.Run run(Consumer<BackupToS3> settings, String... args) {
        return Backups.run(settings, args);
    }

    static JsonNode saved(String... args) {
        return Backups.saved(args);
    }

    static JsonNode repository(JsonNode result, String name) {
        return Backups.repository(result, name);
    }

    CodeCommit.Repo small(String name) {
        return SampleRepositories.small(aws, name);
    }

    void assertRestores(CodeCommit.Repo source) throws IOException {
        Backups.assertRestores(bucket, source);
    }

    List<String> keys(String end) {
        return bucket.keys().stream().filter(key -> key.endsWith(end)).toList();
    }

    JsonNode document(String key) {
        return Backups.document(bucket, key);
    }

    /** The newest manifest of a repository. */
    JsonNode manifest(String repository) {
        return Backups.manifest(bucket, repository);
    }

    List<String> calls(String name) {
        return aws.calls().stream().map(Call::name).filter(name::equals).toList();
    }

    // ---- What a run does

    @Test
    void savesEveryRepositoryAndThenNone() throws Exception {
        var app = small("app");
        var empty = aws.codecommit.createRepository("empty");
        var result = saved();
        assertEquals("created", result.path("status").asText());
        assertEquals(LocalAws.ACCOUNT, result.path("account").asText());
        assertEquals(List.of("created", "refs"), List.of(repository(result, "empty").path("status").asText(),
                repository(result, "empty").path("kind").asText()));
        var shown = repository(result, "app");
        assertEquals("created full 3",
                shown.path("status").asText() + " " + shown.path("kind").asText() + " " + shown.path("refs"));
        var keys = shown.path("keys").valueStream().map(JsonNode::asText).toList();
        assertEquals(bucket.size(keys.get(0)) + bucket.size(keys.get(1)), shown.path("bytes").asLong());
        var stamp = "\\d{8}T\\d{9}Z-[0-9a-f]{8}";
        var place = Backups.ROOT + "eu-west-1/app/" + stamp;
        assertTrue(keys.get(0).matches(place + "\\.full\\.bundle"), keys.get(0));
        assertTrue(keys.get(1).matches(place + "\\.manifest\\.json\\.gz"), keys.get(1));
        assertTrue(result.path("run").asText().matches(Backups.ROOT + "runs/eu-west-1/" + stamp + "\\.json\\.gz"),
                result.toString());
        assertEquals(5, bucket.keys().size(), "with the guide");
        assertRestores(app);
        assertRestores(empty);

        var manifest = document(keys.get(1));
        assertEquals(List.of(1, "codecommit-toolkit 0.1.0", app.id, "app", app.arn, "sha1", "refs/heads/main"),
                List.of(manifest.path("format").asInt(), manifest.path("tool").asText(),
                        manifest.at("/repository/repositoryId").asText(),
                        manifest.at("/repository/repositoryName").asText(),
                        manifest.at("/repository/arn").asText(), manifest.path("objectFormat").asText(),
                        manifest.path("head").asText()));
        assertEquals(app.resolve("refs/tags/v1^{commit}").name(), manifest.at("/peeled/refs~1tags~1v1").asText());
        assertTrue(keys.get(0).contains(BackupToS3.KEY_TIME.format(Instant.parse(manifest.path("time").asText()))),
                "the keys' time is the manifest's");
        var run = document(result.path("run").asText());
        assertEquals("saved", run.at("/repositories/app/outcome").asText());
        assertEquals(keys.get(1), run.at("/repositories/app/manifest").asText());

        // Nothing changed: one request to Git for a repository, and of S3 a listing, one read, one write for the whole
        // run.
        aws.clearCalls();
        var before = bucket.keys();
        var second = saved();
        assertEquals("unchanged", second.path("status").asText());
        assertEquals("unchanged", repository(second, "app").path("status").asText());
        assertEquals(List.of("codecommit:BatchGetRepositories", "codecommit:GitPull", "codecommit:GitPull",
                "codecommit:ListRepositories", "s3:GetObject", "s3:ListObjectsV2", "s3:PutObject",
                "sts:GetCallerIdentity"), aws.calls().stream().map(Call::name).sorted().toList());
        assertTrue(aws.calls().stream().allMatch(Call::ok), "no round of 401 before the sign-in");
        assertEquals(before.size() + 1, bucket.keys().size());
        assertEquals(keys.get(1), document(second.path("run").asText()).at("/repositories/app/manifest").asText());
    }

    /** As every version has written them: backups of before are read, and found unchanged. */
    @Test
    void theFormatsAreThoseOfTheFirstVersion() throws Exception {
        var app = small("app").description("Pays").tag("team", "payments");
        var result = saved();
        var written = manifest("app");
        var bundle = written.at("/chain/0");
        var manifest = """
                {
                  "format" : 1,
                  "tool" : "codecommit-toolkit 0.1.0",
                  "time" : "%s",
                  "repository" : {
                    "repositoryId" : "%s",
                    "repositoryName" : "app",
                    "arn" : "arn:aws:codecommit:eu-west-1:111122223333:app"
                  },
                  "objectFormat" : "sha1",
                  "head" : "refs/heads/main",
                  "refs" : {
                    "refs/heads/feature" : "%s",
                    "refs/heads/main" : "%s",
                    "refs/tags/v1" : "%s"
                  },
                  "peeled" : {
                    "refs/tags/v1" : "%4$s"
                  },
                  "settings" : {
                    "repositoryDescription" : "Pays",
                    "defaultBranch" : "main",
                    "kmsKeyId" : null,
                    "tags" : {
                      "team" : "payments"
                    },
                    "triggers" : [ ],
                    "approvalRuleTemplates" : [ ]
                  },
                  "chain" : [ {
                    "key" : "%6$s",
                    "kind" : "full",
                    "size" : %7$s,
                    "sha256" : "%8$s",
                    "crc32" : "%9$s",
                    "pack" : "%10$s",
                    "objects" : 10
                  } ]
                }""".formatted(written.path("time").asText(), app.id, app.resolve("refs/heads/feature").name(),
                app.resolve("refs/heads/main").name(), app.resolve("refs/tags/v1").name(),
                bundle.path("key").asText(), bundle.path("size"), bundle.path("sha256").asText(),
                bundle.path("crc32").asText(), bundle.path("pack").asText());
        var manifestKey = repository(result, "app").at("/keys/1").asText();
        assertEquals(manifest, text(manifestKey));
        var refs = "HEAD refs/heads/main\n"
                + Git.run(app.directory(), "for-each-ref", "--format=%(objectname) %(refname)")
                + "key null\ndescription Pays\n";
        var recordKey = result.path("run").asText();
        var started = document(recordKey).at("/repositories/app/lastSuccess").asText();
        var record = """
                {
                  "format" : 1,
                  "tool" : "codecommit-toolkit 0.1.0",
                  "time" : "%s",
                  "account" : "111122223333",
                  "region" : "eu-west-1",
                  "selection" : {
                    "repositoryNames" : [ "*" ],
                    "exclude" : [ ],
                    "shard" : null
                  },
                  "repositories" : {
                    "app" : {
                      "id" : "%s",
                      "refs" : "%s",
                      "settingsRead" : "%s",
                      "full" : "%4$s",
                      "manifest" : "%5$s",
                      "outcome" : "saved",
                      "lastSuccess" : "%6$s"
                    }
                  },
                  "guide" : "%7$s"
                }""".formatted(document(recordKey).path("time").asText(), app.id,
                Backups.sha("SHA-256", refs.getBytes(StandardCharsets.UTF_8)), written.path("time").asText(),
                manifestKey, started, document(recordKey).path("guide").asText());
        assertEquals(record, text(recordKey));
        bucket.put(manifestKey, Backups.gzip(JSON.readTree(manifest)));
        bucket.put(recordKey, Backups.gzip(JSON.readTree(record)));
        assertEquals("unchanged", saved().path("status").asText());
        assertEquals("unchanged", after(Duration.ofDays(8)).path("status").asText(), "with its settings");
    }

    String text(String key) throws IOException {
        try (var in = new GZIPInputStream(new ByteArrayInputStream(bucket.get(key)))) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    @Test
    void writesEverythingOnceWithItsChecksumAndOneLineARepository() {
        small("app");
        var run = run();
        assertTrue(run.err().matches("backup-to-s3: app: created, full, 3 refs, \\d+ bytes, [\\d.]+ s\n"), run.err());
        var writes = aws.calls().stream().filter(c -> c.name().equals("s3:PutObject")).toList();
        assertEquals(4, writes.size());
        for (var write : writes) {
            assertTrue(write.input().path("IfNoneMatch").asText().equals("*") && write.input().has("ChecksumCrc32"),
                    write.toString());
        }
        assertEquals(List.of("README.md", "full.bundle", "json.gz", "manifest.json.gz"), writes.stream()
                .map(w -> w.input().get("Key").asText().replaceAll(".*(-[0-9a-f]{8}\\.|/)", "")).sorted().toList());
        assertEquals("backup-to-s3: app: unchanged\n", run().err());
    }

    long guidesPut() {
        return aws.calls().stream().filter(call -> call.name().equals("s3:PutObject")
                && call.input().path("Key").asText().endsWith("/README.md")).count();
    }

    @Test
    void theGuideIsPutOnceAndAgainWithinAWeekIfItIsGone() {
        small("app");
        var guide = Backups.ROOT + "README.md";
        aws.inject(Fault.on("s3:PutObject").after(2).error(403, "AccessDenied", "Access Denied"));
        var denied = run();
        assertEquals(0, denied.exitCode(), denied.err());
        assertTrue(denied.err().contains("backup-to-s3: s3://backups/" + guide
                + " could not be written, and is tried again by the next run: AccessDenied"), denied.err());
        aws.clearFaults();
        saved();
        assertEquals(BackupToS3.GUIDE, new String(bucket.get(guide), StandardCharsets.UTF_8));
        aws.clearCalls();
        saved();
        after(Duration.ofDays(6));
        assertEquals(0, guidesPut());
        bucket.put(guide, "edited".getBytes(StandardCharsets.UTF_8));
        assertEquals("backup-to-s3: app: unchanged\n", runAfter(Duration.ofDays(7).plusHours(1)).err());
        assertTrue(guidesPut() > 0, "it is looked for");
        assertEquals("edited", new String(bucket.get(guide), StandardCharsets.UTF_8), "and stays");
        bucket.delete(guide);
        aws.clearCalls();
        after(Duration.ofDays(13));
        assertEquals(0, guidesPut());
        after(Duration.ofDays(15));
        assertEquals(BackupToS3.GUIDE, new String(bucket.get(guide), StandardCharsets.UTF_8));
    }

    @Test
    void showsOnATerminalHowFarItIs() throws Exception {
        small("a");
        saved();
        small("b");
        var script = new BackupToS3();
        script.terminal = true;
        var said = new StringWriter();
        var err = Gate.inStep(aws, call -> {
            if (call.name().equals("codecommit:GitPull")) {
                Wait.until(() -> said.toString().contains(" repositories, "), said::toString);
            }
        }, () -> Script.run(script.commandLine(), said, "--bucket", "backups")).err();
        assertTrue(err.matches(
                "(?s)(\\r\\033\\[K\\d/2 repositories, 0\\.0 MB, 0\\.0 MB/s)+.*\\033\\[Kbackup-to-s3: b: created, "
                        + "full, 3 refs, .* s\n.*\\r\\033\\[K"),
                err);
        assertFalse(err.contains("unchanged"), err);
    }

    @Test
    void anInterruptionTakesTheProgressAway() {
        var script = new BackupToS3();
        script.terminal = true;
        var err = new StringWriter();
        script.commandLine().setErr(new PrintWriter(err, true));
        script.stop();
        script.showProgress();
        assertEquals("\r\033[Kbackup-to-s3: interrupted: 0 of 0 repositories done\n", err.toString());
    }

    @Test
    void aDryRunOnlyReads() {
        var app = small("app");
        var first = saved("--dry-run");
        assertEquals("would-create", first.path("status").asText());
        assertEquals("would-create full 3", repository(first, "app").path("status").asText() + " "
                + repository(first, "app").path("kind").asText() + " " + repository(first, "app").path("refs"));
        assertTrue(first.path("run").isNull());
        assertTrue(aws.calls().stream().allMatch(Call::readOnly), aws.calls().toString());
        assertEquals(List.of(), bucket.keys());
        assertEquals(size(saved()), size(first), 9,
                "but for the manifest, whose compressed time and names differ, the size is known");
        aws.clearCalls();
        assertEquals("unchanged", saved("--dry-run").path("status").asText());
        app.ref("refs/heads/new", "refs/heads/main");
        assertEquals("refs", repository(saved("--dry-run"), "app").path("kind").asText());
        app.commit("refs/heads/new", "c.txt", SampleRepositories.bulk(5_000));
        var planned = saved("--dry-run");
        assertEquals("incr", repository(planned, "app").path("kind").asText());
        assertFalse(repository(planned, "app").has("keys"), planned.toString());
        assertTrue(aws.calls().stream().allMatch(Call::readOnly), aws.calls().toString());
        assertEquals(4, bucket.keys().size());
        assertEquals(size(saved()), size(planned), 9);
    }

    static long size(JsonNode result) {
        return repository(result, "app").path("bytes").asLong();
    }

    List<String> header(String key) {
        var bytes = bucket.get(key);
        return new String(bytes, 0, Backups.pack(bytes) - 2, StandardCharsets.UTF_8).lines().toList();
    }

    @Test
    void aChangedRepositoryGetsAnIncrementAndTheOldRestorePointsStay() throws Exception {
        var app = small("app").commit("refs/heads/main", "bulk", SampleRepositories.bulk(10_000));
        saved();
        var old = manifest("app");
        var oldState = Git.state(app.directory(), true);
        var main = app.resolve("refs/heads/main").name();
        var feature = app.resolve("refs/heads/feature").name();
        app.commit("refs/heads/main", "c.txt", "c\n").commit("refs/heads/zzz", "z.txt", "z\n").annotatedTag("v2",
                "refs/heads/zzz");
        aws.clearCalls();
        var shown = repository(saved(), "app");
        assertEquals("created incr 5",
                shown.path("status").asText() + " " + shown.path("kind").asText() + " " + shown.path("refs"));
        assertTrue(shown.at("/keys/0").asText().endsWith(".incr.bundle"), shown.toString());
        assertTrue(shown.path("bytes").asLong() < 3_000, shown.toString());
        assertEquals(
                List.of("codecommit:BatchGetRepositories", "codecommit:GetFile", "codecommit:GetRepositoryTriggers",
                        "codecommit:GitPull", "codecommit:GitPull",
                        "codecommit:ListAssociatedApprovalRuleTemplatesForRepository", "codecommit:ListPullRequests",
                        "codecommit:ListRepositories", "codecommit:ListTagsForResource", "s3:GetObject",
                        "s3:GetObject", "s3:ListObjectsV2", "s3:ListObjectsV2", "s3:PutObject", "s3:PutObject",
                        "s3:PutObject", "sts:GetCallerIdentity"),
                aws.calls().stream().map(Call::name).sorted().toList());

        // The header: branches of the base as prerequisites, what changed as refs, HEAD's branch last.
        var moved = app.resolve("refs/heads/main").name();
        assertEquals(List.of("# v2 git bundle", "-" + main, "-" + feature,
                app.resolve("refs/heads/zzz").name() + " refs/heads/zzz",
                app.resolve("refs/tags/v2").name() + " refs/tags/v2",
                moved + " HEAD", moved + " refs/heads/main"), header(shown.at("/keys/0").asText()));
        var manifest = manifest("app");
        assertEquals(List.of("full", "incr"), manifest.path("chain").findValuesAsText("kind"));
        assertEquals(old.at("/chain/0"), manifest.at("/chain/0"));
        assertEquals(7, manifest.at("/chain/1/objects").asInt(), "two commits, two trees, two files, a tag");
        assertRestores(app);
        Backups.assertRestores(bucket, old, oldState);
        assertEquals("unchanged", saved().path("status").asText());
    }

    /** A step in a repository's life, and what the backup after it must be. */
    record Step(String kind, Consumer<CodeCommit.Repo> change) { }

    static Stream<Step> steps() {
        var main = "refs/heads/main";
        return Stream.of(
                new Step("incr", r -> r.commit(main, "c", "c")),
                new Step("incr",
                        r -> r.ref("refs/tags/tree", main + "^{tree}").commit(main, "d", "d")
                                .annotatedTag("of-a-blob", main + ":c").annotatedTag("of-a-tree", main + "^{tree}")),
                // haves of every type
                new Step("incr", r -> r.commit(main, "e", "e").ref("refs/tags/blob", main + ":e")),
                new Step("refs", r -> r.ref("refs/tags/old-tree", main + "~2^{tree}")),
                new Step("refs", r -> r.ref("refs/heads/hotfix", main + "~2")), // a commit that is no tip of the base
                new Step("incr", r -> r.commit("refs/heads/hotfix", "f", "f").annotatedTag("of-a-tag", "refs/tags/v1")),
                // force-pushed
                new Step("incr",
                        r -> r.commit("refs/heads/other-root", "x", "x").ref(main, "refs/heads/other-root").commit(main,
                                "y", "y")),
                new Step("refs",
                        r -> SampleRepositories.deleteRefs(r, "refs/heads/hotfix|refs/tags/tree|refs/tags/of-a-blob")),
                new Step("refs", r -> r.ref("refs/heads/again", "refs/heads/feature").defaultBranch("again")),
                new Step("incr", r -> r.commit("refs/heads/feature", "g", "g")),
                // its prerequisites: also what only "again" holds
                new Step("incr", r -> r.commit("refs/heads/feature", "h", "h")),
                new Step("refs", r -> r.ref(main, "refs/heads/feature~1")), // back to what no ref of the base names
                new Step("incr",
                        r -> r.commit("refs/heads/ümläut/日本", "i", "i")
                                .commit("refs/heads/quote\"and'apostrophe", "j", "j")
                                .ref("refs/custom/deep/er/ref", "refs/heads/feature~1")),
                new Step("incr", r -> r.ref("refs/tags/another-blob", main + ":b.txt").work(git -> {
                    try (var inserter = git.newObjectInserter()) {
                        var update = git.updateRef("refs/tags/new-blob");
                        update.setNewObjectId(inserter.insert(Constants.OBJ_BLOB, "nowhere else".getBytes()));
                        inserter.flush();
                        update.update();
                    }
                })),
                new Step("refs", r -> SampleRepositories.deleteRefs(r, ".*")),
                new Step("full", r -> r.commit(main, "l", "l")));
    }

    /** After every step the new restore point brings back all refs; the objects of the older ones are as they were. */
    @Test
    void everyStepOfARepositorysLifeRestores() throws Exception {
        var app = small("app").commit("refs/heads/main", "bulk", SampleRepositories.bulk(20_000));
        saved();
        assertRestores(app);
        var then = new TreeMap<String, String>();
        var number = 0;
        for (var step : steps().toList()) {
            for (var end : List.of(".bundle", ".manifest.json.gz")) {
                keys(end).forEach(key -> then.put(key, Backups.sha("SHA-1", bucket.get(key))));
            }
            step.change.accept(app);
            var place = "step " + ++number;
            assertEquals(step.kind, repository(saved(), "app").path("kind").asText(), place);
            try {
                assertRestores(app);
            } catch (AssertionError e) {
                throw new AssertionError(place, e);
            }
            then.forEach((key, hash) -> assertEquals(hash, Backups.sha("SHA-1", bucket.get(key)), key));
        }
    }

    @Test
    void aDetachedHeadIsSavedWithItsCommits() throws Exception {
        var app = aws.codecommit.createRepository("app")
                .commit("refs/notes/first", "bulk", SampleRepositories.bulk(5_000)).ref("HEAD", "refs/notes/first");
        saved();
        assertEquals(app.resolve("HEAD").name(), manifest("app").path("head").asText());
        assertRestores(app);
        app.commit("HEAD", "b", "b");
        assertEquals("incr", repository(saved(), "app").path("kind").asText());
        assertEquals(app.resolve("HEAD").name() + " refs/HEAD",
                header(manifest("app").at("/chain/1/key").asText()).get(1));
        assertRestores(app);
    }

    @Test
    void continuesOnlyAChainThatIsWhole() throws Exception {
        var app = small("app").commit("refs/heads/main", "bulk", SampleRepositories.bulk(10_000));
        saved();
        for (var spoil : List.<Consumer<String>>of(key -> bucket.delete(key),
                key -> bucket.put(key, Arrays.copyOf(bucket.get(key), 100)))) {
            for (var file : List.of("full.bundle", "incr.bundle")) {
                app.commit("refs/heads/main", "c", "1" + bucket.keys().size());
                assertEquals("incr", repository(saved(), "app").path("kind").asText());
                spoil.accept(keys(file).get(keys(file).size() - 1));
                app.commit("refs/heads/main", "c", "2" + bucket.keys().size());
                assertEquals("full", repository(saved(), "app").path("kind").asText());
                assertRestores(app);
            }
        }
        app.ref("refs/heads/b", "refs/heads/main");
        keys("full.bundle").forEach(bucket::delete);
        assertEquals("full", repository(saved(), "app").path("kind").asText(), "new names alone need the objects too");
    }

    @Test
    void renewsTheFullBundleInTimeEvenIfNothingChanged() throws Exception {
        var app = small("app").commit("refs/heads/main", "bulk", SampleRepositories.bulk(10_000));
        aws.codecommit.createRepository("empty");
        saved();
        var day = firstDue(app.id, Instant.now());
        assertTrue(day > 20 && day <= 30, "after " + day + " days");
        assertEquals(2, after(Duration.ofDays(20)).at("/totals/unchanged").asInt());
        app.commit("refs/heads/main", "c", "c");
        assertEquals("incr",
                repository(after(Duration.ofDays(day - 1), "--repository-names", "app"), "app").path("kind").asText());
        var renewed = after(Duration.ofDays(30));
        assertEquals("created full", repository(renewed, "app").path("status").asText() + " "
                + repository(renewed, "app").path("kind").asText());
        assertEquals("created refs", repository(renewed, "empty").path("status").asText() + " "
                + repository(renewed, "empty").path("kind").asText());
        assertEquals(1, manifest("app").path("chain").size());
        assertRestores(app);
        assertEquals(2, after(Duration.ofDays(31)).at("/totals/unchanged").asInt());
        assertEquals("full",
                repository(after(Duration.ofDays(32), "--full-every", "36h"), "app").path("kind").asText());
    }

    /** After how many days a full bundle that was written then is renewed. */
    static int firstDue(String id, Instant full) {
        return IntStream.range(1, 40)
                .filter(day -> BackupToS3.isDue(full.toString(), "30d", id, full.plus(Duration.ofDays(day))))
                .findFirst().orElseThrow();
    }

    /** A run at a later time. */
    static Script.Run runAfter(Duration time, String... args) {
        return run(script -> script.clock = Clock.offset(Clock.systemUTC(), time), args);
    }

    static JsonNode after(Duration time, String... args) {
        var run = runAfter(time, args);
        assertEquals(0, run.exitCode(), run.err());
        return run.json();
    }

    /** 5,000 fulls of the first night do not all return on one night. */
    @Test
    void spreadsTheRenewalsOverTheNights() {
        var start = Instant.parse("2026-01-01T04:00:00Z");
        var nights = new TreeMap<Integer, Integer>();
        for (var i = 0; i < 5_000; i++) {
            nights.merge(firstDue(UUID.randomUUID().toString(), start), 1, Integer::sum);
        }
        assertTrue(nights.firstKey() > 20 && nights.lastKey() <= 30 && nights.size() >= 10, nights.toString());
        assertTrue(nights.values().stream().allMatch(n -> n < 700), nights.toString());
    }

    static BackupToS3.StoredObject bundle(long size) {
        return new BackupToS3.StoredObject(null, null, size, null, null, null, null);
    }

    @Test
    void renewsTheFullBundleWhenTheChainIsLong() throws Exception {
        var chain = new ArrayList<>(List.of(bundle(1_000)));
        for (var i = 0; i < 29; i++) chain.add(bundle(1));
        assertFalse(BackupToS3.isLong(chain));
        chain.add(bundle(471));
        assertTrue(chain.size() == 31 && BackupToS3.isLong(chain), "30 increments");
        assertTrue(BackupToS3.isLong(List.of(bundle(1_000), bundle(501))), "more than half of the full one");
        assertFalse(BackupToS3.isLong(List.of(bundle(1_000), bundle(500))));

        var app = small("app").commit("refs/heads/main", "bulk", SampleRepositories.bulk(10_000));
        saved();
        app.commit("refs/heads/main", "more", SampleRepositories.bulk(9_000));
        assertEquals("incr", repository(saved(), "app").path("kind").asText());
        app.ref("refs/heads/new", "refs/heads/main");
        assertEquals("refs", repository(saved(), "app").path("kind").asText(), "names alone are no reason");
        app.commit("refs/heads/main", "c", "c");
        assertEquals("full", repository(saved(), "app").path("kind").asText());
        assertRestores(app);
    }

    /** In a repository of many tags, branches and releases, where other orders would send much of what is there. */
    @Test
    void tellsTheServerFirstOfWhatDecides() throws Exception {
        var app = aws.codecommit.createRepository("app");
        for (var i = 1; i <= 40; i++) {
            app.commit("refs/heads/main", "f", SampleRepositories.bulk(500 + i))
                    .annotatedTag("v" + i, "refs/heads/main");
        }
        for (var i = 1; i <= 10; i++) {
            app.commit("refs/heads/main", "g", SampleRepositories.bulk(500 + i))
                    .commit("refs/heads/feature", "h", SampleRepositories.bulk(600 + i));
        }
        for (var i = 1; i <= 33; i++) app.commit("refs/heads/b" + i, "b", "b" + i);
        saved();
        for (var branch : List.of("main", "feature")) {
            app.commit("refs/heads/" + branch, "new", branch);
            saved();
            var increment = manifest("app").at("/chain/" + (branch.equals("main") ? 1 : 2));
            assertEquals(3, increment.path("objects").asInt(), "a commit, its tree and its file");
            assertEquals(33,
                    header(increment.path("key").asText()).stream().filter(line -> line.matches("(-|# ).*")).count(),
                    "prerequisites of 35 branches");
        }
        for (var i = 1; i <= 33; i++) app.commit("refs/heads/b" + i, "b", "c" + i); // more than are told at once
        assertEquals("incr", repository(saved(), "app").path("kind").asText());
        app.commit("refs/heads/main", "new", "unrelated").ref("refs/heads/new", "refs/tags/v9~3")
                .commit("refs/heads/new", "b", "c");
        saved();
        assertEquals(6, manifest("app").at("/chain/4/objects").asInt());
        assertRestores(app);
        assertEquals(
                List.of("refs/heads/main", "refs/heads/release", "refs/tags/v11", "refs/tags/v9", "refs/heads/x",
                        "refs/heads/a10", "refs/heads/a9"),
                Stream.of("refs/heads/a9", "refs/heads/x", "refs/heads/release", "refs/tags/v9", "refs/heads/a10",
                        "refs/heads/main", "refs/tags/v11").sorted(BackupToS3.MAIN_THEN_NEWEST).toList());
    }

    /** New names for old objects, deleted branches, HEAD: a manifest over the same bundle, without a fetch. */
    @Test
    void namesThatChangeCostNoBundle() throws Exception {
        var app = small("app");
        saved();
        var bundle = keys(".bundle");
        var steps = List.<Consumer<CodeCommit.Repo>>of(
                r -> r.ref("refs/heads/hotfix", "refs/heads/main"),
                r -> r.ref("refs/tags/light", "refs/tags/v1"),
                r -> SampleRepositories.deleteRefs(r, "refs/heads/feature"),
                r -> r.defaultBranch("hotfix"),
                r -> r.ref("refs/heads/hotfix", "refs/heads/main"));
        for (var i = 0; i < 4; i++) {
            steps.get(i).accept(app);
            aws.clearCalls();
            var shown = repository(saved(), "app");
            assertEquals("created refs 1",
                    shown.path("status").asText() + " " + shown.path("kind").asText() + " " + shown.path("keys").size(),
                    "step " + i);
            assertEquals(1, calls("codecommit:GitPull").size());
            assertEquals(bundle, keys(".bundle"));
            assertRestores(app);
        }
        assertEquals("refs/heads/hotfix", manifest("app").path("head").asText());
        // Without its bundle the old chain is worth nothing.
        bucket.delete(bundle.get(0));
        app.ref("refs/heads/again", "refs/heads/main");
        assertEquals("full", repository(saved(), "app").path("kind").asText());
        assertRestores(app);
    }

    /** The same ids, as many of each, in the same order. */
    @Test
    void aBranchThatIsRenamedIsAChange() throws Exception {
        var app = small("app");
        saved();
        app.ref("refs/heads/features", "refs/heads/feature");
        SampleRepositories.deleteRefs(app, "refs/heads/feature");
        assertEquals("refs", repository(saved(), "app").path("kind").asText());
        assertRestores(app);
        assertEquals("unchanged", saved().path("status").asText());
    }

    @Test
    void everyKindOfRefComesBack() throws Exception {
        var odd = small("odd.repo_1-x");
        for (var name : List.of("heads/ümläut/日本", "heads/quote\"and'apostrophe", "heads/a$b`c;d&e|f", "heads/per%cent",
                "heads/#hash", "heads/-dash", "tags/🚀", "notes/commits", "custom/deep/er/ref")) {
            odd.ref("refs/" + name, "refs/heads/feature");
        }
        odd.annotatedTag("of-a-tag", "refs/tags/v1").annotatedTag("of-a-tree", "refs/heads/main^{tree}")
                .annotatedTag("of-a-blob", "refs/heads/main:a.txt");
        odd.ref("refs/tags/tree", "refs/heads/main^{tree}").ref("refs/tags/blob", "refs/heads/main:README.md");
        var unborn = small("unborn").defaultBranch("nowhere");
        var gone = small("all-gone");
        saved();
        for (var repository : List.of(odd, unborn)) assertRestores(repository);
        assertEquals("refs/heads/nowhere", manifest("unborn").path("head").asText());
        SampleRepositories.deleteRefs(gone, ".*");
        assertEquals("created", saved().path("status").asText());
        assertRestores(gone);
        assertEquals(0, manifest("all-gone").path("refs").size());
    }

    @Test
    void savesThisProjectsOwnHistory() throws Exception {
        Path common;
        try {
            common = Path.of(Git.run(Path.of("."), "rev-parse", "--path-format=absolute", "--git-common-dir").strip());
            assumeTrue(Git.run(Path.of("."), "rev-parse", "--is-shallow-repository").strip().equals("false"),
                    "this clone is shallow");
        } catch (UncheckedIOException e) {
            assumeTrue(false, "this is not a clone");
            return;
        }
        var refs = new TreeMap<String, String>();
        Git.run(common, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags").lines()
                .map(line -> line.split(" ", 2)).forEach(ref -> refs.put(ref[1], ref[0]));
        assumeTrue(!refs.isEmpty(), "this clone has no branches");
        var head = refs.keySet().stream().filter(ref -> ref.startsWith("refs/heads/")).findFirst().orElseThrow()
                .replace("refs/heads/", "");
        var own = aws.codecommit.createRepository("own").borrow(common.resolve("objects"), refs).defaultBranch(head);
        saved();
        assertRestores(own);
    }

    @Test
    void aPlainCloneOfTheBundleGuessesTheBranchRight() throws Exception {
        var app = aws.codecommit.createRepository("app").commit("refs/heads/trunk", "a", "a");
        for (var branch : List.of("aaa", "master2", "zzz")) app.ref("refs/heads/" + branch, "refs/heads/trunk");
        saved();
        var directory = Files.createTempDirectory("clone-");
        Git.run(directory, "clone", "-q", bucket.file(keys(".bundle").get(0)).toString(), "c");
        assertEquals("refs/heads/trunk\n", Git.run(directory.resolve("c"), "symbolic-ref", "HEAD"));
        Directories.delete(directory);
    }

    @Test
    void aRepositoryThatWasDeletedAndMadeAgainBeginsAnew() throws Exception {
        small("app");
        saved();
        aws.codecommit.deleteRepository("eu-west-1", "app");
        var again = small("app");
        assertEquals(0, saved().path("totals").path("unchanged").asInt(),
                "the refs are equal, the repository is another one");
        assertEquals(2, keys(".bundle").size());
        assertEquals(again.id, manifest("app").at("/repository/repositoryId").asText());
        assertRestores(again);
    }

    @Test
    void followsPagesAndAsksForDetailsOf25RepositoriesAtATime() {
        aws.codecommit.repositoriesPerPage = 7;
        for (var i = 0; i < 30; i++) aws.codecommit.createRepository("r" + i);
        aws.s3.pageSize = 3;
        for (var i = 0; i < 5; i++) saved("--repository-names", "r" + i);
        var result = saved();
        assertEquals(30, result.path("repositories").size());
        assertEquals(5, result.at("/totals/unchanged").asInt());
        aws.clearCalls();
        saved();
        assertEquals(5, calls("codecommit:ListRepositories").size());
        assertEquals(2, calls("codecommit:BatchGetRepositories").size());
        assertEquals(1, calls("s3:GetObject").size(), "the newest run record has them all");
        assertEquals(2, calls("s3:ListObjectsV2").size());
    }

    @Test
    void picksRepositoriesByName() {
        for (var name : List.of("team-a", "team-b", "team-sandbox", "other.x", "otherYx")) {
            aws.codecommit.createRepository(name);
        }
        var names = saved("--repository-names", "team-*", "other.?", "--exclude", "*sandbox", "--dry-run")
                .path("repositories").findValuesAsText("repositoryName");
        assertEquals(List.of("other.x", "team-a", "team-b"), names);
        var run = run("--repository-names", "team-a", "nobody", "x*");
        assertEquals(3, run.exitCode());
        assertEquals("failed", repository(run.json(), "nobody").path("status").asText());
        assertTrue(run.err().contains("nobody: no repository of account 111122223333 in eu-west-1 has such a name"),
                run.err());
        assertEquals(
                new Script.Run(1, "",
                        "backup-to-s3: nobody: no repository of account 111122223333 in eu-west-1 has such a name\n"),
                run("--repository-names", "nobody"));
    }

    /**
     * What a run over a part records does not hide what earlier runs know of the rest; what cannot be used costs a
     * bundle, not the run.
     */
    @Test
    void readsBackThroughTheRunRecords() throws Exception {
        small("one");
        small("two");
        saved();
        for (var i = 0; i < 3; i++) saved("--repository-names", "two");
        assertEquals(2, saved().at("/totals/unchanged").asInt());
        var newest = bucket.keys().get(bucket.keys().size() - 1);
        bucket.put(newest.replaceAll("1/\\d{4}", "1/9998"), "no gzip".getBytes());
        bucket.put(newest.replaceAll("1/\\d{4}", "1/9999"),
                Backups.gzip(JSON.readTree("{\"format\": 2, \"repositories\": {\"one\": {\"id\": \"x\"}}}")));
        var run = run();
        assertEquals(2, run.json().at("/totals/unchanged").asInt());
        assertTrue(run.err().contains("has another format than 1")
                && run.err().contains("cannot be used: Not in GZIP format"), run.err());
        // Long ago: found too, though the listing begins with the last weeks.
        bucket.keys().stream().filter(key -> key.contains("/runs/")).forEach(key -> {
            if (!key.equals(newest)) bucket.delete(key);
        });
        bucket.put(newest.replaceAll("1/\\d{4}", "1/2019"), bucket.get(newest));
        bucket.delete(newest);
        assertEquals(2, saved().at("/totals/unchanged").asInt());
        // A manifest that is gone: its restore point is made again when the repository changes.
        aws.codecommit.repository("one").ref("refs/heads/new", "refs/heads/main");
        keys(".manifest.json.gz").stream().filter(key -> key.contains("/one/")).forEach(bucket::delete);
        assertEquals("full", repository(saved(), "one").path("kind").asText());
    }

    /** Of valid JSON in valid gzip, of the right format, but of another shape: a later version's, or a slip by hand. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "run | /repositories | null",
            "run | /repositories | {\"app\": null}",
            "run | /repositories | [1]",
            "run | /repositories/app/full | \"yesterday\"",
            "run | /repositories/app/full | {\"time\": 1}",
            "run | /repositories/app/manifest | \"elsewhere\"",
            "run | /repositories/app/manifest | \"\"",
            "run | /repositories/app/id | null",
            "run | /selection | {\"shard\": \"1/4\"}",
            "run | /selection/shard | \"half\"",
            "run | /selection/exclude | [\"a[\"]",
            "manifest | /refs | null",
            "manifest | /refs | {\"refs/heads/main\": \"newest\"}",
            "manifest | /chain | [null]",
            "manifest | /chain | [{\"size\": 1}]",
            "manifest | /chain/0/size | 1",
            "manifest | /chain/0/key | \"\"",
            "manifest | /chain/0/key | \"full.bundle\"",
            "manifest | /settings | null",
            "manifest | /pullRequests | [{}]",
            "manifest | /pullRequests | [{\"key\": \"\"}]",
            "manifest | /format | 2"})
    void aDocumentOfAnotherShapeCostsAFullBundleAtMost(String document, String place, String json) throws Exception {
        var app = small("app").commit("refs/heads/main", "bulk", SampleRepositories.bulk(10_000));
        for (var hasRunRecords : List.of(true, false)) {
            bucket.keys().forEach(bucket::delete);
            saved();
            var records = keys(".json.gz").stream().filter(key -> key.contains("/runs/")).toList();
            var key = document.equals("run") ? records.get(0) : keys(".manifest.json.gz").get(0);
            var changed = document(key);
            var slash = place.lastIndexOf('/');
            var parent = (ObjectNode) changed.at(place.substring(0, slash));
            parent.set(place.substring(slash + 1), JSON.readTree(json));
            bucket.put(key, Backups.gzip(changed));
            if (!hasRunRecords) records.forEach(bucket::delete);
            app.commit("refs/heads/main", "c", "c" + hasRunRecords);
            var run = run();
            assertEquals(0, run.exitCode(), run.err());
            var kind = repository(run.json(), "app").path("kind").asText();
            assertTrue(kind.equals("full") || document.equals("run") && kind.equals("incr"), kind);
            assertRestores(app);
            assertEquals("unchanged", saved().path("status").asText());
        }
    }

    /** Each run asks for the time of a restore point once it knows the one before; all wait for each other there. */
    @Test
    void twoRunsAtOnceWriteTwoRestorePoints() throws Exception {
        var apps = IntStream.range(0, 6).mapToObj(i -> small("app" + i)).toList();
        var all = new CyclicBarrier(12);
        var runs = IntStream.range(0, 2).mapToObj(i -> CompletableFuture.supplyAsync(() -> {
            var main = Thread.currentThread();
            return run(script -> script.clock = new SuppliedClock(() -> {
                if (Thread.currentThread() != main) await(all);
                return Instant.now();
            }), "--jobs", "6");
        })).toList();
        for (var run : runs) assertEquals(0, run.join().exitCode(), run.join().err());
        assertEquals(12, keys(".manifest.json.gz").size());
        for (var app : apps) assertRestores(app);
        for (var key : keys(".manifest.json.gz")) Backups.assertVerified(bucket, document(key));
        assertEquals(6, saved().at("/totals/unchanged").asInt());
    }

    @Test
    void findsItsRestorePointsWithoutARunRecordToo() throws Exception {
        var app = small("app").commit("refs/heads/main", "bulk", SampleRepositories.bulk(10_000));
        aws.codecommit.createRepository("empty");
        saved();
        app.commit("refs/heads/main", "c", "c");
        saved();
        bucket.keys().stream().filter(key -> key.contains("/runs/")).forEach(bucket::delete);
        assertEquals(2, saved().at("/totals/unchanged").asInt());
        bucket.keys().stream().filter(key -> key.contains("/runs/")).forEach(bucket::delete);
        app.commit("refs/heads/main", "c", "d");
        assertEquals("incr", repository(saved(), "app").path("kind").asText());
        assertRestores(app);
        bucket.keys().stream().filter(key -> key.contains("/runs/")).forEach(bucket::delete);
        assertEquals("full", repository(after(Duration.ofDays(30)), "app").path("kind").asText(),
                "it knows how old the chain is");
    }

    // ---- Settings and pull requests

    JsonNode pullRequests(int object) {
        return document(manifest("app").at("/pullRequests/" + object + "/key").asText());
    }

    @Test
    void savesWhatARepositoryIsBesidesGit() throws Exception {
        for (var i = 0; i < 7; i++) aws.codecommit.createApprovalRuleTemplate("two of team " + i, 2);
        var app = small("app").description("Pays").tag("team", "payments").trigger("build",
                "arn:aws:sns:eu-west-1:111122223333:builds");
        for (var i = 0; i < 25; i++) app.tag("tag" + i, "x");
        for (var i = 0; i < 7; i++) app.approvalRuleTemplate("two of team " + i);
        saved();
        var settings = manifest("app").get("settings");
        assertEquals(List.of("repositoryDescription", "defaultBranch", "kmsKeyId", "tags", "triggers",
                "approvalRuleTemplates"), settings.propertyStream().map(Map.Entry::getKey).toList());
        assertEquals("Pays main null", settings.get("repositoryDescription").asText() + " "
                + settings.get("defaultBranch").asText() + " " + settings.get("kmsKeyId"));
        assertEquals(JSON.valueToTree(app.tags()), settings.get("tags"));
        assertEquals(app.triggers().at("/0/destinationArn"), settings.at("/triggers/0/destinationArn"));
        assertEquals(List.of("all"), settings.at("/triggers/0/events").valueStream().map(JsonNode::asText).toList());
        assertEquals(app.approvalRuleTemplates(),
                settings.get("approvalRuleTemplates").findValuesAsText("approvalRuleTemplateName"));
        assertEquals(2, JSON.readTree(settings.at("/approvalRuleTemplates/6/approvalRuleTemplateContent").asText())
                .at("/Statements/0/NumberOfApprovalsNeeded").asInt());
        assertEquals(7, calls("codecommit:GetApprovalRuleTemplate").size());

        // What comes with the clone URL is seen at once, the rest in its turn.
        app.description("Pays more");
        assertEquals("created settings", repository(saved(), "app").path("status").asText() + " "
                + repository(saved("--dry-run"), "app").path("kind").asText("settings"));
        assertEquals("Pays more", manifest("app").at("/settings/repositoryDescription").asText());
        app.tag("team", "billing");
        assertEquals("unchanged", saved().path("status").asText());
        assertEquals("unchanged", after(Duration.ofDays(4)).path("status").asText());
        var later = repository(after(Duration.ofDays(7)), "app");
        assertEquals("created settings 1",
                later.path("status").asText() + " " + later.path("kind").asText() + " " + later.path("keys").size());
        assertEquals("billing", manifest("app").at("/settings/tags/team").asText());
        aws.clearCalls();
        assertEquals("unchanged", after(Duration.ofDays(8)).path("status").asText());
        assertEquals(List.of(), calls("codecommit:ListTagsForResource"), "read last night");
        assertEquals("unchanged", after(Duration.ofDays(15)).path("status").asText(), "read, and nothing is new");
        after(Duration.ofDays(16));
        assertEquals(2, calls("codecommit:ListTagsForResource").size(), "two pages; that they were read is recorded");
        assertRestores(app);
    }

    @Test
    void savesPullRequestsOnceUnlessTheyChange() throws Exception {
        aws.codecommit.commentsPerPage = 2;
        aws.codecommit.eventsPerPage = 2;
        var app = small("app").commit("refs/heads/main", "bulk", SampleRepositories.bulk(10_000));
        var merged = app.pullRequest("Add b", "feature", "main");
        var first = app.comment(merged, "Why?");
        app.comment(merged, "Because.", first);
        app.commentOnFile(merged, "Typo", "b.txt", 1);
        app.approve(merged, "arn:aws:iam::111122223333:user/reviewer").mergePullRequest(merged);
        app.ref("refs/heads/other", "refs/heads/main").commit("refs/heads/other", "c", "c");
        var open = app.pullRequest("Add c", "other", "main");
        var shown = repository(saved(), "app");
        assertEquals(List.of("full.bundle", "pull-requests.json.gz", "manifest.json.gz"),
                shown.path("keys").valueStream().map(key -> key.asText().replaceAll(".*-[0-9a-f]{8}\\.", "")).toList());
        assertEquals(shown.path("keys").valueStream().mapToLong(key -> bucket.size(key.asText())).sum(),
                shown.path("bytes").asLong());
        var all = pullRequests(0).get("pullRequests");
        assertEquals(List.of(merged, open), all.valueStream().map(BackupToS3::idOf).toList());
        var closed = all.get(0);
        assertEquals(List.of("Add b", "CLOSED", "true"),
                Stream.of("title", "pullRequestStatus", "pullRequestTargets/0/mergeMetadata/isMerged")
                        .map(member -> closed.at("/pullRequest/" + member).asText()).toList());
        assertEquals(Set.of("Why?", "Because.", "Typo"),
                Set.copyOf(closed.get("comments").findValuesAsText("content")));
        assertEquals(first, closed.get("comments").findValuesAsText("inReplyTo").get(0));
        assertEquals("arn:aws:iam::111122223333:user/reviewer", closed.at("/approvals/0/userArn").asText());
        assertFalse(closed.at("/override/overridden").asBoolean(true));
        var events = closed.get("events").findValuesAsText("pullRequestEventType");
        assertTrue(events.containsAll(Set.of("PULL_REQUEST_CREATED", "PULL_REQUEST_APPROVAL_STATE_CHANGED",
                "PULL_REQUEST_MERGE_STATE_CHANGED")), events.toString());
        assertTrue(closed.at("/pullRequest/creationDate").asText().matches("\\d{4}-\\d\\d-\\d\\dT.*Z"),
                closed.at("/pullRequest/creationDate").asText());
        var object = manifest("app").at("/pullRequests/0");
        assertEquals(Backups.sha("SHA-256", bucket.get(object.get("key").asText())), object.get("sha256").asText());
        assertEquals(bucket.headers(object.get("key").asText()).get("x-amz-checksum-crc32"),
                object.get("crc32").asText());

        // Only the open one is read again, and nothing is written of it unless it changed.
        aws.clearCalls();
        app.commit("refs/heads/feature", "d", "d");
        saved();
        assertEquals(List.of("codecommit:GetPullRequest"), calls("codecommit:GetPullRequest"));
        assertEquals(1, manifest("app").get("pullRequests").size());
        app.comment(open, "Nice");
        assertEquals("settings", repository(after(Duration.ofDays(7)), "app").path("kind").asText());
        assertEquals(List.of(open), pullRequests(1).get("pullRequests").valueStream().map(BackupToS3::idOf).toList());
        app.closePullRequest(open);
        after(Duration.ofDays(14));
        assertEquals("CLOSED", pullRequests(2).at("/pullRequests/0/pullRequest/pullRequestStatus").asText());
        aws.clearCalls();
        assertEquals("unchanged", after(Duration.ofDays(15), "--settings-every", "12h").path("status").asText());
        assertEquals(1, calls("codecommit:ListPullRequests").size());
        assertEquals(List.of(), calls("codecommit:GetPullRequest"), "both are closed, and saved");

        // A new chain has them all again, also what was said after they were closed; what has not changed is not asked
        // for.
        app.comment(merged, "Late");
        aws.clearCalls();
        assertEquals("full", repository(after(Duration.ofDays(31)), "app").path("kind").asText());
        assertEquals(1, manifest("app").get("pullRequests").size());
        assertEquals(List.of(merged, open),
                pullRequests(0).get("pullRequests").valueStream().map(BackupToS3::idOf).toList());
        assertTrue(pullRequests(0).findValuesAsText("content").contains("Late"));
        assertEquals(2, calls("codecommit:GetPullRequest").size());
        assertEquals(1, calls("codecommit:GetPullRequestApprovalStates").size());
        assertRestores(app);
        assertEquals("full", repository(after(Duration.ofDays(70), "--no-pull-requests"), "app").path("kind").asText());
        assertFalse(manifest("app").has("pullRequests"));
    }

    /** The commits are saved whatever becomes of the rest, which the next run reads again. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "GetRepositoryTriggers | triggers not saved: AccessDeniedException: no",
            "GetFile | use of Git LFS not saved: AccessDeniedException: no",
            "GetCommentsForPullRequest | pull requests not saved: AccessDeniedException: no"})
    void savesTheCommitsEvenIfSomethingElseCannotBeRead(String operation, String says) throws Exception {
        var app = small("app").tag("team", "payments").trigger("build", "arn:aws:sns:eu-west-1:111122223333:builds");
        app.pullRequest("Add b", "feature", "main");
        saved();
        var before = manifest("app");
        app.commit("refs/heads/main", "c", "c").comment("1", "Hm");
        app.tag("team", "billing");
        aws.inject(Fault.on("codecommit:" + operation).always().error(400, "AccessDeniedException", "no"));
        var run = run();
        aws.clearFaults();
        assertEquals(3, run.exitCode(), run.err());
        assertTrue(run.err().contains("app: " + says), run.err());
        assertEquals("created", repository(run.json(), "app").path("status").asText());
        assertTrue(repository(run.json(), "app").path("error").asText().startsWith(says), run.out());
        assertRestores(app);
        assertEquals(before.at("/settings/triggers"), manifest("app").at("/settings/triggers"),
                "what could not be read stays");
        assertEquals(operation.equals("GetCommentsForPullRequest") ? 1 : 2, manifest("app").get("pullRequests").size());
        var next = run();
        assertEquals(0, next.exitCode(), next.err());
        assertEquals(2, manifest("app").get("pullRequests").size());
        assertEquals("billing", manifest("app").at("/settings/tags/team").asText());
        assertEquals("unchanged", saved().path("status").asText());
    }

    @Test
    void readsAPullRequestOnceMoreThatWasPushedToMeanwhile() {
        var app = small("app");
        app.pullRequest("Add b", "feature", "main");
        aws.inject(Fault.on("codecommit:GetPullRequestApprovalStates").error(400, "InvalidRevisionIdException",
                "The revision ID is not valid"));
        saved();
        assertEquals(2, calls("codecommit:GetPullRequest").size());
        assertEquals(1, pullRequests(0).get("pullRequests").size());
    }

    static Stream<Arguments> encodings() {
        var text = "# Bin\u00e4rdateien\r\n*.bin binary\r\n*.psd filter=lfs\r\n";
        var mark = "\uFEFF";
        return Stream.of(Arguments.of("UTF-8", text.getBytes(StandardCharsets.UTF_8)),
                Arguments.of("Latin-1", text.getBytes(StandardCharsets.ISO_8859_1)),
                Arguments.of("UTF-8 with a mark", (mark + text.substring(28)).getBytes(StandardCharsets.UTF_8)),
                Arguments.of("UTF-16, little end first", (mark + text).getBytes(StandardCharsets.UTF_16LE)),
                Arguments.of("UTF-16, big end first", (mark + text).getBytes(StandardCharsets.UTF_16BE)));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("encodings")
    void findsGitLfsHoweverAnEditorWroteTheFile(String name, byte[] attributes) throws Exception {
        var app = small("app").commit("refs/heads/main", ".gitattributes", attributes);
        saved();
        assertEquals(List.of("*.psd"),
                manifest("app").path("gitLfs").valueStream().map(JsonNode::asText).toList());
        assertRestores(app);
        assertEquals("unchanged", saved().path("status").asText());
        assertEquals(1, keys(".bundle").size());
    }

    /** An Error, too, of a kind that nobody thought of. */
    @Test
    void whateverASideStepThrowsIsItsError() throws Exception {
        var app = small("app").commit("refs/heads/main", "bulk", SampleRepositories.bulk(10_000));
        app.pullRequest("Add b", "feature", "main");
        for (var thrown : List.of(new IllegalStateException("odd"), new StackOverflowError(),
                new OutOfMemoryError("Java heap space"), new NoClassDefFoundError("Odd"))) {
            app.commit("refs/heads/main", "c", thrown.toString());
            var script = new BackupToS3() {
                @Override
                List<String> gitLfs(String name, Manifest manifest) {
                    throw BackupToS3Test.<RuntimeException>unchecked(thrown);
                }

                @Override
                List<JsonNode> approvalRuleTemplates(String name) {
                    throw BackupToS3Test.<RuntimeException>unchecked(thrown);
                }
            };
            var run = Script.run(script.commandLine(), "--bucket", "backups");
            assertEquals(3, run.exitCode(), run.err());
            var why = BackupToS3.reason(thrown);
            assertEquals("approval rule templates not saved: " + why + "; use of Git LFS not saved: " + why,
                    repository(run.json(), "app").path("error").asText());
            assertRestores(app);
            assertEquals(keys(".bundle").size(), manifest("app").path("chain").size(), "every bundle has its manifest");
        }
        assertEquals(0, run().exitCode());
        assertEquals("unchanged", saved().path("status").asText());
    }

    @SuppressWarnings("unchecked")
    static <T extends Throwable> T unchecked(Throwable thrown) throws T {
        throw (T) thrown;
    }

    /** What is left of the side steps then is left out. */
    @Test
    void aDeadlineWhilePullRequestsAreReadLeavesNoBundleWithoutAManifest() throws Exception {
        var app = small("app");
        for (var i = 0; i < 3; i++) {
            app.ref("refs/heads/b" + i, "refs/heads/main").commit("refs/heads/b" + i, "b", "b" + i);
            app.pullRequest("Add b" + i, "b" + i, "main");
        }
        var script = new BackupToS3();
        var now = new AtomicReference<>(Instant.now());
        script.clock = new SuppliedClock(now::get);
        script.grace = Duration.ofHours(1);
        var run = Gate.inStep(aws, call -> {
            if (!call.name().equals("codecommit:ListPullRequests")) return;
            now.set(now.get().plus(Duration.ofMinutes(50)));
            Wait.until(() -> script.late, () -> "it is not late");
        }, () -> Script.run(script.commandLine(), "--bucket", "backups", "--deadline", "50m"));
        assertEquals(3, run.exitCode(), run.err());
        assertEquals("pull requests not saved: not done by the --deadline",
                repository(run.json(), "app").path("error").asText());
        assertEquals(1, keys(".bundle").size());
        assertRestores(app);
        assertEquals(0, run().exitCode());
        assertEquals(3, pullRequests(0).path("pullRequests").size());
    }

    /** They stay those of the restore point before, also where a new chain would write them anew. */
    @Test
    void pullRequestsThatCannotBeWrittenAreNotLost() throws Exception {
        var app = small("app");
        app.pullRequest("Add b", "feature", "main");
        saved();
        var before = manifest("app").path("pullRequests");
        assertEquals(1, before.size());
        aws.inject(Fault.on("s3:PutObject").after(1).error(403, "AccessDenied", "Access Denied"));
        var run = runAfter(Duration.ofDays(31));
        assertEquals(3, run.exitCode(), run.err());
        assertEquals("full", repository(run.json(), "app").path("kind").asText());
        assertEquals(before, manifest("app").path("pullRequests"));
        // Older than their chain they would expire before it: written anew as soon as they can be.
        assertEquals("settings", repository(after(Duration.ofDays(32)), "app").path("kind").asText());
        assertEquals(1, manifest("app").path("pullRequests").size());
        assertTrue(manifest("app").at("/pullRequests/0/key").asText()
                .compareTo(manifest("app").at("/chain/0/key").asText()) > 0, manifest("app").toString());
        assertEquals(1, pullRequests(0).path("pullRequests").size());
    }

    /** A role may read manifests and run records alone; and objects may be archived. */
    @Test
    void pullRequestsThatCannotBeReadAreReadFromCodeCommitAgain() throws Exception {
        var app = small("app");
        var merged = app.pullRequest("Add b", "feature", "main");
        app.mergePullRequest(merged);
        app.ref("refs/heads/other", "refs/heads/main").commit("refs/heads/other", "c", "c");
        var open = app.pullRequest("Add c", "other", "main");
        saved();
        for (var fault : List.of(Fault.on("s3:GetObject").after(2).error(403, "AccessDenied", "Access Denied"),
                Fault.on("s3:GetObject").after(2).error(403, "InvalidObjectState", "archived"))) {
            app.commit("refs/heads/main", "c", fault.toString());
            aws.inject(fault);
            var run = run();
            assertEquals(0, run.exitCode(), run.err());
            assertTrue(run.err().contains(".pull-requests.json.gz cannot be used: "), run.err());
            assertEquals(1, manifest("app").path("pullRequests").size());
            assertEquals(List.of(merged, open),
                    pullRequests(0).get("pullRequests").valueStream().map(BackupToS3::idOf).toList());
        }
    }

    @Test
    void warnsOfGitLfs() {
        var app = small("app").commit("refs/heads/main", ".gitattributes",
                "# none filter=lfs\n*.txt text\n*.psd filter=lfs diff=lfs merge=lfs -text\n*.zip -text "
                        + "filter=lfs\n*.x filter=lfsx\n");
        var run = run();
        assertTrue(
                run.err().contains(
                        "app: Git LFS is in use (*.psd, *.zip): these files are not in Git, and so not in the backup"),
                run.err());
        assertEquals(List.of("*.psd", "*.zip"),
                repository(run.json(), "app").path("gitLfs").valueStream().map(JsonNode::asText).toList());
        assertEquals(2, manifest("app").path("gitLfs").size());
        assertEquals("unchanged", saved().path("status").asText());
        app.commit("refs/heads/main", ".gitattributes", "*.txt text\n");
        saved();
        assertFalse(manifest("app").has("gitLfs"));
    }

    // ---- A part of the repositories, a part of the time

    @Test
    void shardsShareTheRepositoriesWithoutTalking() throws Exception {
        var all = IntStream.range(0, 40).mapToObj(i -> "repository-" + i).toList();
        all.forEach(this::small);
        var seen = new ArrayList<String>();
        for (var i = 1; i <= 3; i++) {
            var names = saved("--shard", i + "/3").path("repositories").findValuesAsText("repositoryName");
            assertTrue(names.size() > 5, names.toString());
            seen.addAll(names);
        }
        assertEquals(all.stream().sorted().toList(), seen.stream().sorted().toList());
        assertEquals("unchanged", saved("--shard", "1/3").path("status").asText());
        assertEquals(40, saved().at("/totals/unchanged").asInt(), "one run finds what the shards have recorded");
        aws.codecommit.deleteRepository("eu-west-1", seen.get(0));
        assertFalse(saved("--shard", "2/3").has("vanished"));
        assertEquals(seen.get(0), saved("--shard", "1/3").at("/vanished/0/repositoryName").asText());
    }

    /** Those that were saved longest ago come first; what is not begun is named, and keeps its place in the record. */
    @Test
    void endsByTheDeadline() throws Exception {
        for (var name : List.of("a", "b", "c", "d")) small(name);
        saved();
        saved("--repository-names", "a", "c");
        for (var name : List.of("a", "b", "c", "d")) {
            aws.codecommit.repository(name).commit("refs/heads/main", "x", name);
        }
        // the second pull of d, which comes after b, is never answered, nor is another one in its place
        aws.inject(Fault.on("codecommit:GitPull").after(3).always().delay(Duration.ofHours(1)));
        var run = run(script -> {
            script.clock = clockThatJumps("codecommit:GitPull", 3, Duration.ofMinutes(51));
            script.grace = Duration.ofMillis(100);
        }, "--jobs", "1", "--deadline", "50m");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of("not-attempted", "created", "not-attempted", "failed"),
                run.json().path("repositories").findValuesAsText("status"));
        assertTrue(run.err().contains("d: not done by the --deadline"), run.err());
        assertTrue(run.err().contains("a: not-attempted"), run.err());
        aws.onCall(call -> { });
        aws.clearFaults();
        assertEquals(List.of(), bucket.uploads());
        var record = document(run.json().path("run").asText()).path("repositories");
        assertEquals("not-attempted failed saved", record.at("/a/outcome").asText() + " "
                + record.at("/d/outcome").asText() + " " + record.at("/b/outcome").asText());
        assertTrue(record.at("/d/lastSuccess").asText().compareTo(record.at("/a/lastSuccess").asText()) < 0,
                record.toString());
        var next = saved("--jobs", "1");
        assertEquals(3, next.at("/totals/created").asInt());
        for (var name : List.of("a", "b", "c", "d")) assertRestores(aws.codecommit.repository(name));
    }

    /** Nothing is begun in the last five minutes. */
    @Test
    void beginsNothingThatMightNotEndByTheDeadline() {
        for (var name : List.of("a", "b")) small(name);
        var early = run(script -> script.clock = clockThatJumps("codecommit:GitPull", 1, Duration.ofMinutes(44)),
                "--jobs", "1", "--deadline", "50m");
        assertEquals(0, early.exitCode(), early.err());
        for (var name : List.of("a", "b")) aws.codecommit.repository(name).commit("refs/heads/main", "x", name);
        var late = run(script -> script.clock = clockThatJumps("codecommit:GitPull", 1, Duration.ofMinutes(45)),
                "--jobs", "1", "--deadline", "50m");
        assertEquals(3, late.exitCode(), late.err());
        assertEquals(List.of("created", "not-attempted"), late.json().path("repositories").findValuesAsText("status"));
        assertEquals(1, late.json().at("/totals/not-attempted").asInt());
    }

    /** A clock that stands still but for a jump when the n-th call of a kind is answered. */
    Clock clockThatJumps(String name, int n, Duration jump) {
        var count = new AtomicInteger();
        var now = new AtomicReference<>(Instant.now());
        aws.onCall(call -> {
            if (call.name().equals(name) && count.incrementAndGet() == n) now.set(now.get().plus(jump));
        });
        return new SuppliedClock(now::get);
    }

    static void await(CyclicBarrier barrier) {
        try {
            barrier.await();
        } catch (InterruptedException | BrokenBarrierException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void givesUpWhatDoesNotEndByTheDeadline() throws Exception {
        SampleRepositories.large(aws, "a");
        aws.s3.smallestPart = SampleRepositories.SMALL_PART;
        aws.inject(Fault.on("s3:UploadPart").always().delay(Duration.ofHours(1)));
        var run = run(script -> {
            script.partSize = SampleRepositories.SMALL_PART;
            script.grace = Duration.ofMillis(300);
            script.clock = clockThatJumps("s3:CreateMultipartUpload", 1, Duration.ofHours(2));
        }, "--deadline", "1h");
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("backup-to-s3: a: not done by the --deadline\n", run.err());
        assertEquals(List.of(), bucket.uploads());
        assertEquals(1, bucket.keys().size(), "the run record");
    }

    @Test
    void namesWhatHasVanishedSinceTheLastRun() throws Exception {
        for (var name : List.of("gone", "old-name", "stays")) small(name);
        saved();
        aws.codecommit.deleteRepository("eu-west-1", "gone");
        aws.codecommit.renameRepository("old-name", "new-name");
        var run = run();
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(
                run.err().contains(
                        "gone: is no longer in CodeCommit; newest restore point: " + Backups.ROOT + "eu-west-1/gone/"),
                run.err());
        assertTrue(run.err().contains(
                "old-name: was renamed to new-name, and is backed up anew under that name; newest restore point: "),
                run.err());
        assertEquals(List.of("gone", "old-name"), run.json().path("vanished").findValuesAsText("repositoryName"));
        assertEquals("new-name", run.json().at("/vanished/1/renamedTo").asText());
        assertTrue(bucket.keys().contains(run.json().at("/vanished/0/manifest").asText()));
        assertEquals("full", repository(run.json(), "new-name").path("kind").asText());
        assertRestores(aws.codecommit.repository("new-name"));
        assertFalse(saved().has("vanished"), "told once");
        assertFalse(saved("--repository-names", "stays").has("vanished"), "the others were not asked for");
    }

    // ---- Where the bucket is, and whose

    @Test
    void writesToABucketOfAnotherRegionAndAccountUnderItsPolicy() throws Exception {
        var theirs = aws.s3.createBucket("vault", "us-east-1", "444455556666").versioned();
        var me = "arn:aws:iam::111122223333:user/operator";
        theirs.policy("""
                {"Version": "2012-10-17", "Statement": [
                  {"Effect": "Allow", "Principal": {"AWS": "%1$s"},
                   "Action": ["s3:PutObject", "s3:AbortMultipartUpload"], "Resource": "arn:aws:s3:::vault/%2$s*"},
                  {"Effect": "Allow", "Principal": {"AWS": "%1$s"}, "Action": "s3:GetObject",
                   "Resource": ["arn:aws:s3:::vault/%2$s*.manifest.json.gz", "arn:aws:s3:::vault/%2$sruns/*"]},
                  {"Effect": "Allow", "Principal": {"AWS": "%1$s"},
                   "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"], "Resource": "arn:aws:s3:::vault",
                   "Condition": {"StringLike": {"s3:prefix": "%2$s*"}}},
                  {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::vault/*",
                   "Condition": {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}},
                  {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::vault/*",
                   "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "%3$s"},
                                 "Bool": {"s3:ObjectCreationOperation": "true"},
                                 "Null": {"s3:x-amz-server-side-encryption": "false"}}}]}"""
                .formatted(me, Backups.ROOT, KEY.replace("eu-west-1", "us-east-1")));
        aws.account("444455556666").kms.createKey("us-east-1", KEY.split("/")[1]).policy = """
                {"Version": "2012-10-17", "Statement": [
                  {"Effect": "Allow", "Principal": {"AWS": "%s"},
                   "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": "*",
                   "Condition": {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com",
                                                  "kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::vault"}}}]}"""
                .formatted(me);
        var app = small("app");
        Repositories.addBlobs(aws.codecommit.createRepository("large").defaultBranch("main").directory(), 1, 12,
                1 << 20, 3);
        bucket = theirs;
        for (var expected : List.of("created", "unchanged")) {
            aws.clearCalls();
            var run = run(s -> s.partSize = 5 << 20, "--bucket", "vault", "--expected-bucket-owner", "444455556666",
                    "--sse-kms-key-id", KEY.replace("eu-west-1", "us-east-1"));
            assertEquals(expected, run.status(), run.err());
            assertEquals(1, aws.calls().stream().filter(c -> c.name().startsWith("s3:") && !c.ok()).count(),
                    "one call finds out the Region");
            for (var call : aws.calls()) {
                if (call.name().startsWith("s3:")) {
                    assertEquals("444455556666", call.input().path("ExpectedBucketOwner").asText(), call.toString());
                }
            }
        }
        assertRestores(app);
        assertRestores(aws.codecommit.repository("large"));
        for (var key : theirs.keys()) {
            assertEquals(KEY.replace("eu-west-1", "us-east-1"),
                    theirs.headers(key).get("x-amz-server-side-encryption-aws-kms-key-id"), key);
            assertEquals("true", theirs.headers(key).get("x-amz-server-side-encryption-bucket-key-enabled"), key);
            assertEquals(1, theirs.versions(key));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"AES256", "aws:kms"})
    void writesToABucketWhosePolicyAsksForAnEncryptionHeader(String type) throws Exception {
        var app = small("app");
        bucket.policy("""
                {"Version": "2012-10-17", "Statement": [
                  {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::backups/*",
                   "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "%s"}}}]}""".formatted(type));
        var refused = run();
        assertEquals(1, refused.exitCode());
        assertTrue(refused.err().contains("; a policy that asks for no encryption header, else --sse; "
                + "kms:GenerateDataKey and kms:Decrypt on the bucket's key, if it has one"), refused.err());
        assertEquals(List.of(), bucket.keys());
        assertEquals("created", saved("--sse", type).path("status").asText());
        assertRestores(app);
        for (var key : bucket.keys())
            assertEquals(type, bucket.headers(key).get("x-amz-server-side-encryption"), key);
        assertEquals("unchanged", saved("--sse", type).path("status").asText());
    }

    @Test
    void asksForTheEncryptionWhereAnObjectIsStarted() throws Exception {
        SampleRepositories.large(aws, "large");
        aws.s3.smallestPart = SampleRepositories.SMALL_PART;
        assertEquals(0, run(script -> script.partSize = SampleRepositories.SMALL_PART, "--sse", "aws:kms").exitCode());
        var types = aws.calls().stream().filter(call -> call.name().matches("s3:(Put|Create|Upload|Complete).*"))
                .map(call -> call.name() + " " + call.input().path("ServerSideEncryption").asText("none") + " "
                        + call.input().path("ServerSideEncryptionBucketKeyEnabled").asText("none"))
                .distinct().sorted().toList();
        assertEquals(List.of("s3:CompleteMultipartUpload none none", "s3:CreateMultipartUpload aws:kms true",
                "s3:PutObject aws:kms true", "s3:UploadPart none none"), types);
    }

    /** By what was sent, since S3 does not say why it denies a write. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "PutObject | | takes s3:PutObject on backups/projects/codecommit-backup/*, in the bucket's policy too",
            "PutObject | --sse=AES256 | a policy that takes x-amz-server-side-encryption AES256 (",
            "PutObject | --sse=aws:kms | on aws/s3, which other accounts cannot use: else --sse-kms-key-id (",
            "PutObject | --sse-kms-key-id=KEY | kms:GenerateDataKey and kms:Decrypt on KEY (",
            "PutObject | --expected-bucket-owner=111122223333 | if it has one; a bucket of 111122223333 (",
            "CreateMultipartUpload | | a policy that asks for If-None-Match only where s3:ObjectCreationOperation",
            "UploadPart | | asks for If-None-Match and encryption headers only where s3:ObjectCreationOperation",
            "CompleteMultipartUpload | | takes s3:PutObject on backups/projects/codecommit-backup/*"})
    void namesWhatARefusedWriteMostLikelyLacks(String call, String option, String says) throws Exception {
        SampleRepositories.large(aws, "large");
        aws.s3.smallestPart = SampleRepositories.SMALL_PART;
        aws.inject(Fault.on("s3:" + call).always().error(403, "AccessDenied", "Access Denied"));
        var args = option == null ? new String[0] : option.replace("KEY", KEY).split("=");
        var run = run(script -> script.partSize = SampleRepositories.SMALL_PART, args);
        assertEquals(1, run.exitCode(), run.err());
        assertTrue(run.err().contains("AccessDenied: Access Denied; it takes s3:PutObject on "), run.err());
        assertTrue(run.err().contains(says.replace("KEY", KEY)), run.err());
        assertFalse(run.err().contains("If-None-Match") && call.matches("PutObject|CompleteMultipartUpload"),
                run.err());
    }

    @Test
    void saysWhatIsWrongWithTheBucket() {
        small("app");
        var run = run("--expected-bucket-owner", "999999999999");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        var records = Backups.ROOT + "runs/eu-west-1/";
        assertTrue(run.err().matches(
                "backup-to-s3: s3://backups/" + records + ": AccessDenied: .* \\(request id \\w+\\)\n"), run.err());
        run = run("--bucket", "no-such-bucket");
        assertEquals(1, run.exitCode());
        assertTrue(run.err().startsWith("backup-to-s3: s3://no-such-bucket/" + records + ": NoSuchBucket: "),
                run.err());
        assertEquals(List.of(), calls("codecommit:GitPull"));
    }

    @ParameterizedTest
    @CsvSource({"cn-north-1, aws-cn", "us-gov-west-1, aws-us-gov"})
    void worksInOtherPartitions(String region, String partition) {
        aws.s3.createBucket("there", region);
        var repository = aws.codecommit.createRepository(region, "app").commit("refs/heads/main", "a", "a");
        var result = saved("--bucket", "there", "--region", region);
        assertEquals("created", result.path("status").asText());
        bucket = aws.s3.bucket("there");
        var manifest = document(repository(result, "app").at("/keys/1").asText());
        assertEquals("arn:" + partition + ":codecommit:" + region + ":111122223333:app",
                manifest.at("/repository/arn").asText());
        assertEquals(repository.resolve("refs/heads/main").name(), manifest.at("/refs/refs~1heads~1main").asText());
    }

    // ---- Git's sign-in

    @ParameterizedTest
    @MethodSource("vectors")
    void signsInAsOtherImplementationsDo(String name, String user, String secret, String token, String region,
            String host, String path, String time, String password) throws Exception {
        var credentials = token.isEmpty() ? AwsBasicCredentials.create(user, secret)
                : AwsSessionCredentials.create(user, secret, token);
        assertEquals(user + (token.isEmpty() ? "" : "%" + token) + ":" + password,
                BackupToS3.gitSignIn(credentials, region, host, path, Instant.parse(time)), name);
    }

    static Object[][] vectors() {
        var secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        return new Object[][] {
                {"V1", "AKIDEXAMPLE", secret, "", "us-east-1", "git-codecommit.us-east-1.amazonaws.com",
                        "/v1/repos/MyDemoRepo", "2015-08-30T12:36:00Z",
                "20150830T123600Z088fec8c788f892e6cb940f22a736b224a5a5de18925fa5f02413a1bb215c389"},
            {"V2", "ASIDEXAMPLE", secret,
                        "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQW+LWsKWHGBuFqwAeMicRXmxfpS"
                                + "PfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGd==",
                        "us-east-2",
                "git-codecommit.us-east-2.amazonaws.com", "/v1/repos/my.demo_repo-1", "2026-11-21T04:00:00Z",
                "20261121T040000Z6f2384a0b9a4835df53f0b812d0e5250eda65a0ca836c4cbb2cc25eadb24f543"},
                {"V3", "AKIDEXAMPLE", secret, "", "cn-north-1", "git-codecommit.cn-north-1.amazonaws.com.cn",
                        "/v1/repos/MyDemoRepo", "2026-01-02T03:04:05Z",
                "20260102T030405Z6b2e40780c23f6b63859b24ae9f67dea71118bd323eae50409aefa17a46b3932"},
                {"V4", "AKIDEXAMPLE", secret, "", "us-gov-west-1", "git-codecommit-fips.us-gov-west-1.amazonaws.com",
                        "/v1/repos/MyDemoRepo", "2026-01-02T03:04:05Z",
                "20260102T030405Z9f87926f8082f3659366e55e6328321f0b72cacd1f36dbf8444d02ad68e8851a"},
                {"V5", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "eu-west-1",
                        "git-codecommit.eu-west-1.amazonaws.com", "/v1/repos/dummy-repo", "2021-09-01T10:25:23Z",
                "20210901T102523Z670ef0c32f13fc847ed0c001a2b90bc772451c1eb89eadf84a73f3e82da9f56a"},
                {"V6", "AKIDEXAMPLE", secret, "", "us-east-1",
                        "vpce-0123456789abcdef0-a1b2c3d4.git-codecommit.us-east-1.vpce.amazonaws.com",
                        "/v1/repos/MyDemoRepo", "2026-01-02T03:04:05Z",
                "20260102T030405Zf81c7c2de24c28486b9871303f67a45b08b7f312f4ffdf84dd7ae262b3294a28"}};
    }

    @Test
    void signsInWithASessionToken() {
        aws.addCredentials("ASIATEMPORARY", "secret", "to/ken+==", "assumed-role/Backup/night",
                Instant.now().plusSeconds(3600));
        System.setProperty("aws.accessKeyId", "ASIATEMPORARY");
        System.setProperty("aws.secretAccessKey", "secret");
        System.setProperty("aws.sessionToken", "to/ken+==");
        small("app");
        assertEquals("created", saved().path("status").asText());
        assertEquals("arn:aws:sts::111122223333:assumed-role/Backup/night",
                aws.calls().stream().filter(c -> c.name().equals("codecommit:GitPull")).findFirst().get().caller());
    }

    @ParameterizedTest
    @CsvSource({
            "us-east-1, , https://git-codecommit.us-east-1.amazonaws.com/v1/repos/app, "
                    + "https://git-codecommit.us-east-1.amazonaws.com/v1/repos/app",
            "cn-north-1, , https://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/app, "
                    + "https://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/app",
            "us-east-1, git-codecommit-fips.us-east-1.amazonaws.com, "
                    + "https://git-codecommit.us-east-1.amazonaws.com/v1/repos/app, "
                    + "https://git-codecommit-fips.us-east-1.amazonaws.com/v1/repos/app",
            "us-east-1, vpce-0123456789abcdef0-a1b2c3d4.git-codecommit.us-east-1.vpce.amazonaws.com, "
                    + "https://git-codecommit.us-east-1.amazonaws.com/v1/repos/app, "
                    + "https://vpce-0123456789abcdef0-a1b2c3d4.git-codecommit.us-east-1.vpce.amazonaws.com"
                    + "/v1/repos/app",
            "us-east-1, , http://127.0.0.1:8080/v1/repos/app, http://127.0.0.1:8080/v1/repos/app"})
    void takesTheHostOfTheCloneUrlOrTheOneGiven(String region, String endpoint, String cloneUrl, String url)
            throws Exception {
        var script = new BackupToS3();
        script.region = region;
        script.gitEndpoint = endpoint;
        script.connect();
        try (var transport = script.transport(cloneUrl, script.new StreamingRepository())) {
            assertEquals(url, transport.getURI().toString());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"http://git-codecommit.us-east-1.amazonaws.com/v1/repos/app",
            "http://127.0.0.1.example.com/v1/repos/app", "http://localhost.example.com/v1/repos/app"})
    void sendsNoPasswordOverPlainHttp(String cloneUrl) {
        var script = new BackupToS3();
        script.region = "us-east-1";
        var e = assertThrows(BackupToS3.Failure.class,
                () -> script.transport(cloneUrl, script.new StreamingRepository()));
        assertTrue(e.getMessage().endsWith("is not https"), e.getMessage());
    }

    /** Git itself as the server of one repository: the embedded AWS, which is JGit, cannot have any bytes as a name. */
    private static HttpServer gitServer(Path repository, boolean zips) throws IOException {
        var server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.createContext("/", exchange -> {
            var asksForRefs = exchange.getRequestMethod().equals("GET");
            var command = new ArrayList<>(List.of("git", "upload-pack", "--stateless-rpc", repository.toString()));
            if (asksForRefs) command.add(3, "--advertise-refs");
            var git = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
            try (var in = git.getOutputStream()) {
                var body = exchange.getRequestBody();
                ("gzip".equals(exchange.getRequestHeaders().getFirst("Content-Encoding")) ? new GZIPInputStream(body)
                        : body).transferTo(in);
            }
            exchange.getResponseHeaders().set("Content-Type",
                    "application/x-git-upload-pack-" + (asksForRefs ? "advertisement" : "result"));
            var isZipped = zips && asksForRefs;
            if (isZipped) exchange.getResponseHeaders().set("Content-Encoding", "gzip");
            exchange.sendResponseHeaders(200, 0);
            try (var out = isZipped ? new GZIPOutputStream(exchange.getResponseBody()) : exchange.getResponseBody()) {
                if (asksForRefs) out.write("001e# service=git-upload-pack\n0000".getBytes());
                git.getInputStream().transferTo(out);
            }
        });
        server.start();
        return server;
    }

    private static void writeRefs(Path repository, Map<String, String> refs) throws IOException {
        var packed = new StringBuilder("# pack-refs with: \n");
        refs.forEach((name, id) -> packed.append(id).append(" refs/").append(name).append("\n"));
        Files.write(repository.resolve("packed-refs"), packed.toString().getBytes(StandardCharsets.ISO_8859_1));
    }

    /** Names as Latin-1 shows their bytes. */
    private static Map<String, String> rawRefs(Path repository) throws IOException {
        var git = new ProcessBuilder("git", "-C", repository.toString(), "for-each-ref",
                "--format=%(objectname) %(refname)").start();
        var refs = new TreeMap<String, String>();
        new String(git.getInputStream().readAllBytes(), StandardCharsets.ISO_8859_1).lines()
                .forEach(line -> refs.put(line.substring("0 refs/".length() + 39), line.substring(0, 40)));
        return refs;
    }

    /** Two that would decode alike, one that is what another becomes, and an annotated tag in Shift-JIS. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void namesThatAreNotUtf8AreToldAndNotLost(boolean zips, @TempDir Path directory) throws Exception {
        var source = directory.resolve("source.git");
        Git.run(directory, "init", "-q", "--bare", "-b", "main", source.toString());
        Repositories.addBlobs(source, 1, 4, 1_000, 0);
        Git.run(source, "tag", "-a", "-m", "test", "test", "main~1");
        var tag = Git.run(source, "rev-parse", "test").strip();
        var ids = Git.run(source, "rev-list", "main").lines().toList();
        Git.run(source, "update-ref", "-d", "refs/tags/test");
        Git.run(source, "update-ref", "-d", "refs/heads/main");
        var refs = new TreeMap<>(Map.of("heads/main", ids.get(0), "heads/b\u00c3\u00a4r", ids.get(1),
                "heads/b\u00e4r", ids.get(2), "heads/b%e4r", ids.get(3), "heads/100%\u00fc", ids.get(1),
                "tags/\u0083e\u0083X\u0083g", tag));
        writeRefs(source, refs);
        assertEquals(refs, rawRefs(source));
        aws.codecommit.createRepository("app").defaultBranch("main")
                .borrow(source.resolve("objects"), Map.of("refs/heads/main", ids.get(0)));
        var server = gitServer(source, zips);
        try {
            var host = "127.0.0.1:" + server.getAddress().getPort();
            var run = run("--git-endpoint", host);
            assertEquals(3, run.exitCode(), run.err());
            var says = "names of refs that are not UTF-8 are saved with % and two digits for a byte: "
                    + "refs/heads/100%25%fc, refs/heads/b%e4r%00, refs/tags/%83e%83X%83g";
            assertEquals(says, repository(run.json(), "app").path("error").asText());
            assertEquals("created", repository(run.json(), "app").path("status").asText());
            var manifest = manifest("app");
            assertEquals(Set.of("refs/heads/main", "refs/heads/b\u00e4r", "refs/heads/b%e4r", "refs/heads/b%e4r%00",
                    "refs/heads/100%25%fc", "refs/tags/%83e%83X%83g"),
                    manifest.path("refs").propertyStream().map(Map.Entry::getKey).collect(Collectors.toSet()));
            assertEquals(ids.get(1), manifest.at("/peeled/refs~1tags~1%83e%83X%83g").asText());
            assertEquals(refs, restoredNames(manifest));
            assertVerifies(manifest, directory.resolve("restored.git"));

            // It is no change, and told again; the settings are not read each time.
            aws.clearCalls();
            var again = run("--git-endpoint", host);
            assertEquals(3, again.exitCode(), again.err());
            assertEquals(says, repository(again.json(), "app").path("error").asText());
            assertEquals("unchanged", again.status());
            assertEquals(List.of(), calls("codecommit:ListTagsForResource"));

            // Other bytes at the same commit, behind the same name.
            refs.remove("heads/b%e4r");
            writeRefs(source, refs);
            assertEquals("refs", repository(run("--git-endpoint", host).json(), "app").path("kind").asText());
            assertEquals(refs, restoredNames(manifest("app")));
            refs.put("heads/b%e4r", refs.remove("heads/b\u00e4r"));
            writeRefs(source, refs);
            assertEquals("refs", repository(run("--git-endpoint", host).json(), "app").path("kind").asText());
            assertEquals(refs, restoredNames(manifest("app")));
        } finally {
            server.stop(0);
        }
    }

    /** The names that a manifest gives back, as Latin-1 shows their bytes. */
    private static Map<String, String> restoredNames(JsonNode manifest) {
        var refs = new TreeMap<String, String>();
        for (var ref : manifest.path("refs").properties()) {
            var raw = manifest.path("rawNames").path(ref.getKey());
            var bytes = raw.isMissingNode() ? ref.getKey().getBytes(StandardCharsets.UTF_8)
                    : HexFormat.of().parseHex(raw.asText());
            refs.put(new String(bytes, StandardCharsets.ISO_8859_1).substring("refs/".length()),
                    ref.getValue().asText());
        }
        return refs;
    }

    /** By readers that know nothing of other names. */
    private void assertVerifies(JsonNode manifest, Path restored) throws IOException {
        Backups.restore(bucket, manifest, restored);
        assertEquals("", Git.fsck(restored));
        var verified = Script.run(new VerifyBackups().commandLine(), "--bucket", "backups", "--deep");
        assertEquals(0, verified.exitCode(), verified.err() + verified.out());
    }

    /** A valid answer, and no backup of a repository that has refs. */
    @Test
    void aFirstFetchOfNoObjectsIsNoRestorePoint() throws Exception {
        small("app");
        var line = "1111111111111111111111111111111111111111 refs/heads/main\0side-band-64k ofs-delta "
                + "multi_ack_detailed agent=other\n";
        var header = new byte[] {'P', 'A', 'C', 'K', 0, 0, 0, 2, 0, 0, 0, 0};
        var pack = new ByteArrayOutputStream();
        pack.writeBytes("0008NAK\n0025\1".getBytes());
        pack.writeBytes(header);
        pack.writeBytes(HexFormat.of().parseHex(Backups.sha("SHA-1", header)));
        pack.writeBytes("0000".getBytes());
        var server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.createContext("/", exchange -> {
            var asksForRefs = exchange.getRequestMethod().equals("GET");
            exchange.getRequestBody().readAllBytes();
            exchange.getResponseHeaders().set("Content-Type",
                    "application/x-git-upload-pack-" + (asksForRefs ? "advertisement" : "result"));
            exchange.sendResponseHeaders(200, 0);
            exchange.getResponseBody().write(asksForRefs ? ("001e# service=git-upload-pack\n0000"
                    + String.format("%04x", line.length() + 4) + line + "0000").getBytes() : pack.toByteArray());
            exchange.close();
        });
        server.start();
        try {
            var run = run("--git-endpoint", "127.0.0.1:" + server.getAddress().getPort());
            assertEquals(1, run.exitCode(), run.err());
            assertEquals("backup-to-s3: app: the Git server sent no objects\n", run.err());
        } finally {
            server.stop(0);
        }
        assertEquals(List.of(), keys(".bundle"));
        assertEquals(List.of(), keys(".manifest.json.gz"));
    }

    /** A Git server of the test's own, for what the embedded one does not do; gives what it was asked. */
    private List<String> atAnotherGitServer(int status, String location, String body, Consumer<String> check)
            throws IOException {
        var asked = new ArrayList<String>();
        var server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.createContext("/", exchange -> {
            asked.add(exchange.getRequestMethod() + " " + exchange.getRequestURI());
            if (location != null) {
                exchange.getResponseHeaders().set("Location",
                        location.replace("HERE", "http://127.0.0.1:" + server.getAddress().getPort()));
            }
            exchange.getResponseHeaders().set("Content-Type", "application/x-git-upload-pack-advertisement");
            exchange.sendResponseHeaders(status, body.length());
            exchange.getResponseBody().write(body.getBytes(StandardCharsets.UTF_8));
            exchange.close();
        });
        server.start();
        try {
            check.accept("127.0.0.1:" + server.getAddress().getPort());
        } finally {
            server.stop(0);
        }
        return asked;
    }

    @Test
    void followsNoRedirect() throws IOException {
        small("app");
        var asked = atAnotherGitServer(302, "HERE/elsewhere/info/refs?service=git-upload-pack", "", host -> {
            var run = run("--git-endpoint", host);
            assertEquals(1, run.exitCode());
            assertTrue(run.err().contains("302"), run.err());
        });
        assertEquals(Set.of("GET /v1/repos/app/info/refs?service=git-upload-pack"), Set.copyOf(asked));
    }

    @Test
    void namesAServerThatCannotBeFetchedFrom() throws IOException {
        small("app");
        var line = "1111111111111111111111111111111111111111 refs/heads/main\0side-band-64k ofs-delta multi_ack "
                + "agent=old\n";
        var advertisement = "001e# service=git-upload-pack\n0000" + String.format("%04x", line.length() + 4) + line
                + "0000";
        atAnotherGitServer(200, null, advertisement, host -> {
            var run = run("--git-endpoint", host);
            assertEquals(1, run.exitCode());
            assertTrue(run.err().contains("app: ") && run.err().contains("multi_ack_detailed"), run.err());
        });
        assertEquals(List.of(), keys(".bundle"));
    }

    // ---- Faults

    /**
     * @param faults of the run in which both repositories have changed, @param exitCode of it, @param says what stderr
     *               must hold
     */
    record Case(String name, int exitCode, String says, Fault... faults) {
        @Override
        public String toString() {
            return name;
        }
    }

    /** The fault in both attempts at the first repository, whose requests come first: refs, pack, refs, pack. */
    static Fault[] twice(Consumer<Fault> fault) {
        var both = new Fault[] {Fault.on("codecommit:GitPull").after(1), Fault.on("codecommit:GitPull").after(2)};
        for (var one : both) fault.accept(one);
        return both;
    }

    static List<Case> cases() {
        var pull = "codecommit:GitPull";
        return List.of(
                new Case("refs are cut once", 0, "", Fault.on(pull).cut(100)),
                new Case("refs are cut", 3, "a-large: ", Fault.on(pull).times(2).cut(100)),
                new Case("refs are flipped", 3, "a-large: ", Fault.on(pull).times(2).flip(2)),
                new Case("Git is busy", 0, "", Fault.on(pull).times(4).throttle()),
                new Case("Git is busy behind the refs", 0, "", Fault.on(pull).after(1).throttle()),
                new Case("Git is too busy", 3, "the Git server answered 429", Fault.on(pull).times(6).throttle()),
                new Case("the sign-in has expired", 3, "answered 403 Forbidden; it takes codecommit:GitPull",
                        Fault.on(pull).times(2).error(403, "AccessDenied", "expired")),
                new Case("the repository is gone", 3, "not found",
                        Fault.on(pull).error(404, "RepositoryDoesNotExistException", "gone")),
                new Case("the pack is cut once", 0, "", Fault.on(pull).after(1).cut(100_000)),
                new Case("the pack is cut early", 3, "a-large: ", twice(f -> f.cut(10))),
                new Case("the pack is cut", 3, "a-large: ", twice(f -> f.cut(200_000))),
                new Case("the pack is cut at its end", 3, "a-large: ", twice(f -> f.cut(382_000))),
                new Case("a bit of the pack is flipped", 3, "damaged or cut short", twice(f -> f.flip(234_567))),
                new Case("Git fails", 3, "500", twice(f -> f.serverError())),
                new Case("S3 is busy", 0, "", Fault.on("s3:UploadPart").times(2).throttle(),
                        Fault.on("s3:CreateMultipartUpload").throttle(),
                        Fault.on("s3:CompleteMultipartUpload").throttle(), Fault.on("s3:PutObject").throttle(),
                        Fault.on("s3:ListObjectsV2").throttle()),
                new Case("S3 is too busy for a part", 3, "SlowDown", Fault.on("s3:UploadPart").always().throttle()),
                new Case("a part is cut on its way", 0, "", Fault.on("s3:UploadPart").after(1).cutRequest(60_000)),
                // signed: sent again
                new Case("a bit of a part is flipped on its way", 0, "",
                        Fault.on("s3:UploadPart").after(1).flipRequest(60_000)),
                new Case("a part's checksum is wrong", 3, "BadDigest",
                        Fault.on("s3:UploadPart").after(1).error(400, "BadDigest",
                                "The CRC32 you specified did not match")),
                new Case("a part is refused", 3, "AccessDenied",
                        Fault.on("s3:UploadPart").after(2).error(403, "AccessDenied", "Access Denied")),
                new Case("the credentials expire", 3, "ExpiredToken",
                        Fault.on("s3:UploadPart").after(1).error(400, "ExpiredToken",
                                "The provided token has expired.")),
                new Case("an upload's id is lost", 0, "", Fault.on("s3:CreateMultipartUpload").loseAnswer()),
                new Case("every upload's id is lost", 3, "a-large: ",
                        Fault.on("s3:CreateMultipartUpload").always().loseAnswer()),
                new Case("no upload may be made", 3, "AccessDenied",
                        Fault.on("s3:CreateMultipartUpload").always().error(403, "AccessDenied", "Access Denied")),
                new Case("the answer to the completion is lost", 0, "",
                        Fault.on("s3:CompleteMultipartUpload").loseAnswer()),
                new Case("all answers to the completion are lost", 0, "",
                        Fault.on("s3:CompleteMultipartUpload").always().loseAnswer()),
                new Case("the completion fails behind its 200", 0, "",
                        Fault.on("s3:CompleteMultipartUpload").error(200, "InternalError",
                                "We encountered an internal error.")),
                new Case("the completion fails", 3, "InternalError",
                        Fault.on("s3:CompleteMultipartUpload").always().error(500, "InternalError",
                                "We encountered an internal error.")),
                new Case("somebody else has the key", 3, "PreconditionFailed",
                        Fault.on("s3:CompleteMultipartUpload").error(412, "PreconditionFailed", "no")),
                new Case("the answer to a small bundle is lost", 0, "", Fault.on("s3:PutObject").after(1).loseAnswer()),
                new Case("all answers to a small bundle are lost", 0, "",
                        Fault.on("s3:PutObject").after(1).times(3).loseAnswer()),
                new Case("a small bundle conflicts with its first attempt", 3, "ConditionalRequestConflict",
                        Fault.on("s3:PutObject").after(1).error(409, "ConditionalRequestConflict",
                                "The conditional request cannot succeed")),
                new Case("a manifest is refused", 3, "AccessDenied",
                        Fault.on("s3:PutObject").error(403, "AccessDenied", "Access Denied")),
                new Case("all writing is refused", 1, "AccessDenied",
                        Fault.on("s3:PutObject").always().error(403, "AccessDenied", "Access Denied")),
                new Case("the run record is refused", 1, "run record: AccessDenied",
                        Fault.on("s3:PutObject").after(3).error(403, "AccessDenied", "Access Denied")),
                new Case("the old run record is refused", 0, ".json.gz cannot be used: AccessDenied",
                        Fault.on("s3:GetObject").error(403, "AccessDenied", "Access Denied")),
                new Case("the old run record is archived", 0, ".json.gz cannot be used: InvalidObjectState",
                        Fault.on("s3:GetObject").error(403, "InvalidObjectState",
                                "The operation is not valid for the object's storage class")),
                new Case("a base manifest is refused", 0, ".manifest.json.gz cannot be used: AccessDenied",
                        Fault.on("s3:GetObject").after(1).error(403, "AccessDenied", "Access Denied")),
                new Case("a base manifest is archived", 0, ".manifest.json.gz cannot be used: InvalidObjectState",
                        Fault.on("s3:GetObject").after(1).error(403, "InvalidObjectState",
                                "The operation is not valid for the object's storage class")),
                new Case("the key of a base manifest is disabled", 0, "cannot be used: KMS.DisabledException",
                        Fault.on("s3:GetObject").after(1).error(400, "KMS.DisabledException", "is disabled")),
                // what is about the caller, or for now, is no reason for a full bundle
                new Case("the credentials have expired for the run record", 1, "runs/eu-west-1/: ExpiredToken",
                        Fault.on("s3:GetObject").error(400, "ExpiredToken", "The provided token has expired.")),
                new Case("the credentials have expired for a base manifest", 3, "a-large: ExpiredToken",
                        Fault.on("s3:GetObject").after(1).error(400, "ExpiredToken",
                                "The provided token has expired.")),
                new Case("the sign-in is wrong for a base manifest", 3, "a-large: InvalidAccessKeyId",
                        Fault.on("s3:GetObject").after(1).error(403, "InvalidAccessKeyId", "does not exist")),
                new Case("S3 is too busy for the run record", 1, "runs/eu-west-1/: SlowDown",
                        Fault.on("s3:GetObject").always().throttle()),
                new Case("S3 is too busy for a base manifest", 3, "a-large: SlowDown",
                        Fault.on("s3:GetObject").after(1).times(3).throttle()),
                new Case("a run record is cut", 0, "", Fault.on("s3:GetObject").cut(50)),
                new Case("the listing fails", 1, "InternalError",
                        Fault.on("s3:ListObjectsV2").always().error(500, "InternalError",
                                "We encountered an internal error.")),
                new Case("CodeCommit is busy", 0, "", Fault.on("codecommit:ListRepositories").times(2).throttle(),
                        Fault.on("codecommit:BatchGetRepositories").times(2).throttle()),
                new Case("CodeCommit is too busy", 1, "list of repositories: ThrottlingException",
                        Fault.on("codecommit:ListRepositories").always().throttle()),
                new Case("CodeCommit tells no details at first", 3, "InternalFailure",
                        Fault.on("codecommit:BatchGetRepositories").times(3).serverError()),
                new Case("CodeCommit tells no details", 1, "InternalFailure",
                        Fault.on("codecommit:BatchGetRepositories").always().serverError()));
    }

    /**
     * Whatever happens: the exit code, no object that does not verify, no upload left, older restore points untouched,
     * and the next run makes it good.
     */
    @ParameterizedTest
    @MethodSource("cases")
    void nothingIsLostWhen(Case fault) throws Exception {
        var a = SampleRepositories.largeAtFirst(aws, "a-large");
        var b = small("b-small");
        aws.s3.smallestPart = SampleRepositories.SMALL_PART;
        Consumer<BackupToS3> settings = script -> {
            script.partSize = SampleRepositories.SMALL_PART;
            script.backOff = Duration.ofMillis(1);
        };
        assertEquals(0, run(settings).exitCode());
        var old = bucket.keys().stream()
                .collect(Collectors.toMap(key -> key, key -> Backups.sha("SHA-1", bucket.get(key))));
        SampleRepositories.advance(a);
        b.commit("refs/heads/main", "more.txt", "more");
        aws.clearCalls();
        for (var one : fault.faults) aws.inject(one);
        var run = run(settings, "--jobs", "1");
        aws.clearFaults();
        assertEquals(fault.exitCode, run.exitCode(), run.err());
        assertTrue(run.err().contains(fault.says), run.err());
        assertEquals(fault.exitCode == 1, run.out().isEmpty(), run.out());
        assertFalse(run.err().contains("\tat "), run.err());
        assertEquals(List.of(), bucket.uploads());
        for (var key : keys(".bundle")) Backups.assertWhole(key, bucket.get(key));
        for (var key : keys(".manifest.json.gz")) Backups.assertVerified(bucket, document(key));
        old.forEach((key, hash) -> assertEquals(hash, Backups.sha("SHA-1", bucket.get(key)), key));
        if (fault.exitCode == 3) {
            var statuses = run.json().path("repositories").findValuesAsText("status");
            assertEquals(1, statuses.stream().filter("created"::equals).count(), "the other one is complete");
        }
        if (fault.name.equals("S3 is busy")) {
            assertEquals(4, calls("codecommit:GitPull").size(), "parts are sent again from their buffers");
        }
        if (fault.exitCode == 0) assertEquals("unchanged", run(settings).status());
        else assertEquals(0, run(settings).exitCode());
        assertRestores(a);
        assertRestores(b);
    }

    /** Git's time-out is a second here: on a machine that takes as long for the refs, those are what stalls. */
    @Test
    void aPackThatStallsIsGivenUp() throws Exception {
        var app = SampleRepositories.large(aws, "a");
        aws.s3.smallestPart = SampleRepositories.SMALL_PART;
        aws.inject(Fault.on("codecommit:GitPull").always().stall(200_000, Duration.ofHours(1)));
        var run = run(script -> {
            script.partSize = SampleRepositories.SMALL_PART;
            script.gitTimeout = 1;
        });
        assertEquals(1, run.exitCode(), run.err());
        assertTrue(run.err().startsWith("backup-to-s3: a: ") && run.err().contains("timed out"), run.err());
        assertEquals(List.of(), bucket.uploads());
        assertEquals(List.of(), keys(".bundle"));
        aws.clearFaults();
        saved();
        assertRestores(app);
    }

    /** Of the same size, and written while the answer to ours is lost or our parts are on their way. */
    @ParameterizedTest
    @ValueSource(strings = {"s3:PutObject", "s3:CreateMultipartUpload"})
    void anotherObjectUnderTheKeyIsNotTakenForOurs(String call) throws Exception {
        var app = SampleRepositories.large(aws, "app");
        aws.s3.smallestPart = SampleRepositories.SMALL_PART;
        var isSmall = call.equals("s3:PutObject");
        Consumer<BackupToS3> settings = script -> script.partSize = isSmall ? 8 << 20 : SampleRepositories.SMALL_PART;
        var size = repository(run(settings, "--dry-run").json(), "app").path("bytes").asInt();
        if (isSmall) aws.inject(Fault.on(call).loseAnswer());
        var others = new TreeMap<String, byte[]>();
        var script = new BackupToS3();
        settings.accept(script);
        var run = Gate.inStep(aws, made -> {
            if (!made.name().equals(call) || !others.isEmpty()) return;
            var key = made.input().path("Key").asText();
            others.put(key, isSmall ? bucket.get(key) : new byte[size]);
            others.get(key)[100] ^= 1;
            bucket.put(key, others.get(key));
        }, () -> Script.run(script.commandLine(), "--bucket", "backups"));
        assertEquals(1, run.exitCode(), run.err());
        var key = others.firstKey();
        assertTrue(run.err().contains("app: s3://backups/" + key + " exists and is another object"), run.err());
        assertEquals(List.of(), keys(".manifest.json.gz"));
        assertEquals(List.of(), bucket.uploads());
        assertEquals(Backups.sha("SHA-1", others.get(key)), Backups.sha("SHA-1", bucket.get(key)));
        assertEquals("full", repository(saved(), "app").path("kind").asText());
        assertRestores(app);
    }

    @Test
    void namesAnUploadThatItCannotAbort() throws Exception {
        SampleRepositories.large(aws, "a");
        aws.inject(Fault.on("s3:UploadPart").after(1).error(403, "AccessDenied", "Access Denied"));
        aws.inject(Fault.on("s3:AbortMultipartUpload").error(403, "AccessDenied", "Access Denied"));
        var run = run(script -> script.partSize = SampleRepositories.SMALL_PART);
        assertEquals(1, run.exitCode());
        var command = java.util.regex.Pattern.compile(
                "an unfinished upload is left: AccessDenied: .*; end it with: aws s3api abort-multipart-upload "
                        + "--bucket backups --key (\\S+) --upload-id (\\S+) --region eu-west-1")
                .matcher(run.err());
        assertTrue(command.find(), run.err());
        assertEquals(List.of(command.group(1)), bucket.uploads());
    }

    @Test
    void refusesWhatHasTooManyParts() throws Exception {
        SampleRepositories.large(aws, "a");
        var run = run(script -> {
            script.partSize = 1 << 17;
            script.mostParts = 2;
        });
        assertEquals(1, run.exitCode());
        assertTrue(run.err().contains("a: larger than 2 parts of 128 KiB: give Java more memory"), run.err());
        assertEquals(List.of(), bucket.uploads());
    }

    /** A stream that ends early without a word, and one with any bit flipped. */
    @Test
    void acceptsNoPackButTheOneThatWasSent() throws Exception {
        small("app");
        saved();
        var bundle = bucket.get(keys(".bundle").get(0));
        var pack = Arrays.copyOfRange(bundle, Backups.pack(bundle), bundle.length);
        var script = new BackupToS3();
        script.buffers = new BackupToS3.Buffers(5 << 20, 1);
        for (var length = 0; length < pack.length; length++) {
            var short1 = Arrays.copyOf(pack, length);
            try (var to = script.new BundleUpload("k")) {
                assertThrows(IOException.class, () -> to.receive(new ByteArrayInputStream(short1)));
                assertThrows(BackupToS3.Failure.class, () -> to.finish("full"));
            }
        }
        for (var bit = 0; bit < pack.length * 8; bit++) {
            var flipped = pack.clone();
            flipped[bit / 8] ^= (byte) (1 << bit % 8);
            try (var to = script.new BundleUpload("k")) {
                assertThrows(IOException.class, () -> to.receive(new ByteArrayInputStream(flipped)));
            }
        }
        for (var step : List.of(1, 7, 19, 20, 21, 100)) { // however the bytes come in
            try (var to = script.new BundleUpload("k")) {
                to.receive(new FilterInputStream(new ByteArrayInputStream(pack)) {
                    @Override
                    public int read(byte[] bytes, int from, int count) throws IOException {
                        return super.read(bytes, from, Math.min(count, step));
                    }
                });
            }
        }
    }

    @Test
    void aRepositoryThatVanishesDoesNotStopTheOthers() throws Exception {
        for (var name : List.of("a", "b", "c", "d")) small(name);
        aws.codecommit.repositoriesPerPage = 1000;
        var deleted = new AtomicInteger();
        var run = Gate.inStep(aws, call -> {
            if (call.name().equals("codecommit:ListRepositories") && deleted.getAndIncrement() == 0) {
                aws.codecommit.deleteRepository("eu-west-1", "a");
            }
            if (call.name().equals("codecommit:BatchGetRepositories") && deleted.getAndIncrement() == 1) {
                aws.codecommit.deleteRepository("eu-west-1", "b");
            }
        }, () -> run("--jobs", "1"));
        assertEquals(3, run.exitCode());
        assertEquals(List.of("failed", "failed", "created", "created"),
                run.json().path("repositories").findValuesAsText("status"));
        assertTrue(run.err().contains("a: deleted or renamed since the repositories were listed"), run.err());
        assertTrue(run.err().contains("b: ") && run.err().contains("not found"), run.err());
        assertEquals("unchanged", saved().path("status").asText());
    }

    /** Between the advertisement and the fetch, so that what was advertised cannot be had any more. */
    @Test
    void aBranchThatMovesMidwayIsSavedAsItIsThen() throws Exception {
        var app = aws.codecommit.createRepository("app").commit("refs/heads/main", "a", "a");
        var moved = new AtomicInteger();
        var result = Gate.inStep(aws, call -> {
            if (!call.name().equals("codecommit:GitPull") || moved.getAndIncrement() > 0) return;
            app.commit("refs/heads/unrelated", "b", "b");
            app.ref("refs/heads/main", "refs/heads/unrelated");
        }, () -> saved());
        assertEquals("created", result.path("status").asText());
        assertEquals(4, calls("codecommit:GitPull").size(), "refs, pack, and both again");
        assertRestores(app);
        assertEquals(1, keys(".manifest.json.gz").size());
    }

    @Test
    void tellsNoSecrets() {
        small("app");
        var seen = new StringBuilder();
        for (var fault : List.of(Fault.on("codecommit:GitPull").always().error(403, "AccessDenied", "no"),
                Fault.on("codecommit:GitPull").always().cut(10),
                Fault.on("s3:PutObject").always().error(403, "AccessDenied", "no"))) {
            aws.inject(fault);
            var run = run("--verbose");
            assertEquals(1, run.exitCode());
            seen.append(run.out()).append(run.err());
            aws.clearFaults();
        }
        assertTrue(seen.toString().contains("\tat "), "with --verbose");
        assertFalse(seen.toString().matches("(?s).*(" + LocalAws.SECRET_ACCESS_KEY.replace("+", "\\+")
                + "|Basic |Authorization|\\d{8}T\\d{6}Z[0-9a-f]{64}).*"), seen.toString());
    }

    // ---- Many

    /** LargeRepositoriesTest has an account of 5,000, and looks at memory and disk, too. */
    @Test
    void manyUnchangedRepositoriesCostOneGitRequestEach() {
        var count = 500;
        for (var i = 0; i < count; i++) aws.codecommit.createRepository("r" + i);
        assertEquals(count, saved().at("/totals/created").asInt());
        aws.clearCalls();
        var result = saved();
        assertEquals(count, result.at("/totals/unchanged").asInt());
        var calls = aws.calls().stream()
                .collect(Collectors.groupingBy(Call::name, TreeMap::new, Collectors.counting()));
        assertEquals(Map.of("codecommit:ListRepositories", (count + 999L) / 1000, "codecommit:BatchGetRepositories",
                (count + 24L) / 25, "codecommit:GitPull", (long) count,
                "s3:ListObjectsV2", 1L, "s3:GetObject", 1L, "s3:PutObject", 1L, "sts:GetCallerIdentity", 1L), calls);
    }

    // ---- Bad input

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "--bucket=s3://backups | a bucket's name, such as my-backups",
            "--bucket=Backups | a bucket's name, such as my-backups",
            "--bucket=b | a bucket's name, such as my-backups",
            "--bucket=arn:aws:s3:::backups | a bucket's name, such as my-backups",
            "--bucket=backups/prefix | a bucket's name, such as my-backups",
            "--bucket=backups --prefix=/projects | single slashes, such as projects/codecommit-backup",
            "--bucket=backups --prefix=projects/ | single slashes, such as projects/codecommit-backup",
            "--bucket=backups --prefix=a/../b | single slashes, such as projects/codecommit-backup",
            "--bucket=backups --prefix=a//b | single slashes, such as projects/codecommit-backup",
            "--bucket=backups --prefix= | single slashes, such as projects/codecommit-backup",
            "--bucket=backups --prefix=a$b | single slashes, such as projects/codecommit-backup",
            "--bucket=backups --repository-names=arn:aws:codecommit:eu-west-1:111122223333:app | a "
                    + "repository's name, which may have * and ?",
            "--bucket=backups --repository-names=a/b | a repository's name, which may have * and ?",
            "--bucket=backups --repository-names=[ab] | a repository's name, which may have * and ?",
            "--bucket=backups --exclude=a+ | a repository's name, which may have * and ?",
            "--bucket=backups --repository-names | Missing required parameter for option '--repository-names'",
            "--bucket=backups --jobs=0 | 1 to 64, such as 4",
            "--bucket=backups --shard=0/4 | which part of how many, such as 1/4",
            "--bucket=backups --shard=5/4 | which part of how many, such as 1/4",
            "--bucket=backups --shard=1 | which part of how many, such as 1/4",
            "--bucket=backups --deadline=50 | a number and m or h for minutes or hours, such as 50m",
            "--bucket=backups --deadline=1d | a number and m or h for minutes or hours, such as 50m",
            "--bucket=backups --full-every=30 | a number and h or d for hours or days, such as 30d",
            "--bucket=backups --settings-every=weekly | a number and h or d for hours or days, such as 7d",
            "--bucket=backups --jobs=65 | 1 to 64, such as 4",
            "--bucket=backups --jobs=many | 'many' is not an int",
            "--bucket=backups --expected-bucket-owner=1234 | 12 digits, such as 444455556666",
            "--bucket=backups --expected-bucket-owner=arn:aws:iam::444455556666:root | 12 digits, such as 444455556666",
            "--bucket=backups --sse=aes256 | must be AES256 or aws:kms",
            "--bucket=backups --sse=AES256 --sse-kms-key-id=alias/backups | must be aws:kms with --sse-kms-key-id",
            "--bucket=backups --sse-kms-key-id=alias/backups | the ARN of a key, such as arn:aws:kms:",
            "--bucket=backups --sse-kms-key-id=1234abcd-12ab-34cd-56ef-1234567890ab | the ARN of a key, such as "
                    + "arn:aws:kms:",
            "--bucket=backups --sse-kms-key-id=arn:aws:kms:eu-west-1:444455556666:alias/backups | the ARN of a key, "
                    + "such as arn:aws:kms:",
            "--bucket=backups --git-endpoint=https://git-codecommit.eu-west-1.amazonaws.com | a host name without "
                    + "https:// and path",
            "--bucket=backups --git-endpoint=git-codecommit.eu-west-1.amazonaws.com/v1/repos/app | a host name "
                    + "without https:// and path",
            "--bucket=backups --git-endpoint=user@git-codecommit.eu-west-1.amazonaws.com | a host name without "
                    + "https:// and path",
            "--bucket=backups --git-endpoint=git-codecommit.us-east-1.amazonaws.com | must be a host of the "
                    + "Region eu-west-1, or use --region us-east-1",
            "--bucket=backups --git-endpoint=vpce-0123456789abcdef0-a1b2c3d4.git-codecommit-fips.us-gov-west-1"
                    + ".vpce.amazonaws.com | or use --region us-gov-west-1",
            "--bucket=backups --region=europe | a Region such as eu-west-1",
            "--bucket=backups --print=status | a JSON Pointer such as /status",
            "--bucket=backups --repository-name | did you mean --repository-names?",
            "--prefix=a | Missing required option: '--bucket=NAME'"})
    void refuses(String args, String right) {
        Script.assertRefused(Script.run(new BackupToS3().commandLine(), args.split(" ")), right, aws);
    }
}
