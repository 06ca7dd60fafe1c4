import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.RandomAccessFile;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.LocalAws;
import localaws.S3;
import org.eclipse.jgit.errors.TransportException;
import org.eclipse.jgit.internal.storage.file.FileRepository;
import org.eclipse.jgit.internal.storage.pack.PackWriter;
import org.eclipse.jgit.lib.Constants;
import org.eclipse.jgit.lib.NullProgressMonitor;
import org.eclipse.jgit.lib.ObjectId;
import org.eclipse.jgit.lib.ObjectInserter;
import org.eclipse.jgit.revwalk.RevCommit;
import org.eclipse.jgit.revwalk.RevObject;
import org.eclipse.jgit.revwalk.RevWalk;
import org.eclipse.jgit.transport.BundleWriter;
import org.eclipse.jgit.transport.PackParser;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.SdkHttpClient;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.CompletedPart;

/** Verification of backups that this class makes by the format's rules: good ones, and every kind of damage. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class VerifyBackupsTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmssSSS'Z'")
            .withZone(ZoneOffset.UTC);
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    static final SdkHttpClient HTTP = UrlConnectionHttpClient.create();
    static final StaticCredentialsProvider OPERATOR = StaticCredentialsProvider.create(
            AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY));

    @TempDir
    Path directory;
    LocalAws aws;
    S3.Bucket bucket;
    /** Writes backups. */
    S3Client s3;
    String region = "eu-west-1";
    /** Whether backups are written without a call, and so without the checksum that is in the manifest. */
    boolean withoutCalls;
    /** Of the next restore point; each is a minute younger than the last one. */
    Instant time = Instant.now().truncatedTo(ChronoUnit.MILLIS).minus(Duration.ofHours(2));

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        bucket = aws.s3.createBucket("backups", "eu-west-1");
        Script.use(aws);
        s3 = S3Client.builder().endpointOverride(aws.endpoint()).region(Region.EU_WEST_1).httpClient(HTTP)
                .credentialsProvider(OPERATOR).build();
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    Script.Run run(String... args) {
        return run(new VerifyBackups(), args);
    }

    Script.Run run(VerifyBackups script, String... args) {
        aws.clearCalls();
        var all = new ArrayList<>(List.of("--bucket", "backups"));
        all.addAll(List.of(args));
        var run = Script.run(script.commandLine(), all.toArray(String[]::new));
        ALL.addAll(aws.calls());
        Script.assertReadsOnly(aws);
        assertTrue(run.exitCode() != 1 && run.exitCode() != 2 || run.out().isEmpty(), run.out());
        return run;
    }

    /** Each finding as "repository kind file". */
    static List<String> findings(Script.Run run) {
        return run.json().path("findings").valueStream()
                .map(f -> f.path("repositoryName").asText() + " " + f.path("kind").asText() + " "
                + f.path("key").asText("").replaceAll("null|.*/", "")).toList();
    }

    static String messages(Script.Run run) {
        return run.json().path("findings").valueStream().map(f -> f.path("message").asText())
                .collect(Collectors.joining("\n"));
    }

    void assertVerified(Script.Run run) {
        assertEquals(0, run.exitCode(), run.out() + run.err());
        assertEquals("verified", run.status());
        assertEquals(List.of(), findings(run));
    }

    void assertFound(Script.Run run, String... expected) {
        assertEquals(4, run.exitCode(), run.out() + run.err());
        assertEquals("findings", run.status());
        assertEquals(Arrays.stream(expected).sorted().toList(), findings(run).stream().sorted().toList(), run.err());
        for (var finding : run.json().path("findings")) {
            assertTrue(run.err().contains(finding.path("message").asText()), "told on stderr too");
        }
    }

    long calls(String name) {
        return aws.calls().stream().filter(call -> call.name().equals(name)).count();
    }

    List<String> bundlesRead() {
        return aws.calls().stream().filter(call -> call.name().equals("s3:GetObject"))
                .map(call -> call.input().path("Key").asText())
                .filter(key -> key.endsWith(".bundle")).sorted().toList();
    }

    // ---- Backups, as the format's description says

    /** A restore point that was written. */
    record Made(String key, ObjectNode manifest) {
        String stem() {
            return key.replace(".manifest.json.gz", "");
        }

        /** The file names of its bundles. */
        String bundle(int i) {
            return manifest.path("chain").get(i).path("key").asText().replaceAll(".*/", "");
        }

        String file() {
            return key.replaceAll(".*/", "");
        }
    }

    String prefix(String kind) {
        return "projects/codecommit-backup/111122223333/" + kind + "/";
    }

    void put(String key, byte[] bytes) {
        if (withoutCalls) {
            bucket.put(key, bytes);
        } else {
            s3.putObject(r -> r.bucket("backups").key(key).checksumCRC32(Backups.crc32(bytes)),
                    RequestBody.fromBytes(bytes));
        }
    }

    ObjectNode object(String key, String kind, byte[] bytes) {
        return JSON.createObjectNode().put("key", key).put("kind", kind).put("size", bytes.length)
                .put("sha256", Backups.sha("SHA-256", bytes)).put("crc32", Backups.crc32(bytes));
    }

    static Map<String, String> refs(CodeCommit.Repo repo) {
        try {
            return repo.git().getRefDatabase().getRefsByPrefix("refs/").stream().collect(Collectors
                    .toMap(ref -> ref.getName(), ref -> ref.getObjectId().name(), (a, b) -> a, TreeMap::new));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    Made full(CodeCommit.Repo repo) {
        return full(repo, manifest -> { });
    }

    Made full(CodeCommit.Repo repo, Consumer<ObjectNode> change) {
        return full(repo, bundle(repo, Map.of(), refs(repo)), change);
    }

    Made full(CodeCommit.Repo repo, byte[] bundle, Consumer<ObjectNode> change) {
        return point(repo, JSON.createArrayNode(), "full", bundle, change);
    }

    /** An increment on another restore point's chain. */
    Made incr(CodeCommit.Repo repo, Made base) {
        return incr(repo, base, manifest -> { });
    }

    Made incr(CodeCommit.Repo repo, Made base, Consumer<ObjectNode> change) {
        return incr(repo, base, refs(repo), change);
    }

    /** @param refs that the bundle has, if they are not the base's */
    Made incr(CodeCommit.Repo repo, Made base, Map<String, String> refs, Consumer<ObjectNode> change) {
        var known = JSON.convertValue(base.manifest.path("refs"), Map.class);
        return point(repo, base.manifest.withArray("chain").deepCopy(), "incr", bundle(repo, known, refs), change);
    }

    /** A restore point that needs no new objects. */
    Made refsOnly(CodeCommit.Repo repo, Made base) {
        return point(repo, base.manifest.withArray("chain").deepCopy(), null, null, manifest -> { });
    }

    /** A bundle of what changed, its prerequisites the known branches. */
    @SuppressWarnings("unchecked")
    static byte[] bundle(CodeCommit.Repo repo, Map<?, ?> known, Map<String, String> refs) {
        var bytes = new ByteArrayOutputStream();
        try (var walk = new RevWalk(repo.git())) {
            var writer = new BundleWriter(repo.git());
            for (var ref : ((Map<String, String>) known).entrySet()) {
                if (ref.getKey().startsWith("refs/heads/")) {
                    writer.assume(walk.parseCommit(ObjectId.fromString(ref.getValue())));
                }
            }
            for (var ref : refs.entrySet()) {
                if (!ref.getValue().equals(known.get(ref.getKey()))) {
                    writer.include(ref.getKey(), ObjectId.fromString(ref.getValue()));
                }
            }
            writer.writeBundle(NullProgressMonitor.INSTANCE, bytes);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    Made point(CodeCommit.Repo repo, ArrayNode chain, String kind, byte[] bundle, Consumer<ObjectNode> change) {
        time = time.plusSeconds(60);
        var stem = prefix(region) + repo.name + "/" + TIME.format(time) + "-"
                + HexFormat.of().toHexDigits(new Random().nextInt());
        if (kind != null) {
            put(stem + "." + kind + ".bundle", bundle);
            chain.add(object(stem + "." + kind + ".bundle", kind, bundle));
        }
        var manifest = JSON.createObjectNode().put("format", 1).put("tool", "codecommit-toolkit 0.1.0").put("time",
                time.toString());
        manifest.putObject("repository").put("repositoryId", repo.id).put("repositoryName", repo.name).put("arn",
                repo.arn);
        manifest.put("objectFormat", "sha1").put("head",
                repo.defaultBranch() == null ? null : "refs/heads/" + repo.defaultBranch());
        manifest.set("refs", JSON.valueToTree(refs(repo)));
        manifest.set("chain", chain);
        change.accept(manifest);
        put(stem + ".manifest.json.gz", Backups.gzip(manifest));
        return new Made(stem + ".manifest.json.gz", manifest);
    }

    /** The record of a run that found these restore points to be the newest. */
    void record(Made... newest) {
        record(Instant.now(), "unchanged", newest);
    }

    void record(Instant at, String outcome, Made... newest) {
        var record = JSON.createObjectNode().put("format", 1).put("time", at.toString()).put("account", "111122223333")
                .put("region", region);
        var repositories = record.putObject("repositories");
        for (var made : newest) {
            repositories.putObject(made.key.split("/")[4]).put("outcome", outcome).put("manifest", made.key);
        }
        put(prefix("runs/" + region) + TIME.format(at) + "-" + HexFormat.of().toHexDigits(new Random().nextInt())
                + ".json.gz", Backups.gzip(record));
    }

    CodeCommit.Repo repository(String name) {
        return aws.codecommit.createRepository(region, name).commit("refs/heads/main", "a.txt", "one of " + name)
                .commit("refs/heads/main", "dir/b.txt", "two").annotatedTag("v1", "refs/heads/main");
    }

    // ---- Good backups

    @Test
    void verifiesGoodBackupsWithoutDownloadingThem() {
        var payments = repository("payments");
        var first = full(payments);
        payments.commit("refs/heads/main", "a.txt", "three").ref("refs/heads/old", "refs/heads/main~1");
        var second = incr(payments, first);
        var orders = full(repository("orders"));
        record(second, orders);
        var run = run();
        assertVerified(run);
        var json = run.json();
        assertEquals(List.of("111122223333", "eu-west-1", "backups", "compared", "false"),
                Stream.of("account", "region", "bucket", "codecommit", "deep").map(name -> json.path(name).asText())
                        .toList());
        var repository = json.at("/repositories/1");
        assertEquals(List.of("payments", "verified", second.manifest.path("time").asText(), "1", "0", "2"),
                Stream.of("repositoryName", "status", "newest", "restorePoints", "damaged", "objects")
                        .map(name -> repository.path(name).asText()).toList());
        assertEquals(2, json.at("/totals/verified").asInt());
        assertEquals(3, json.at("/totals/objects").asInt());
        assertEquals(bucket.keys().stream().filter(key -> key.endsWith(".bundle")).mapToLong(bucket::size).sum(),
                json.at("/totals/bytes").asLong());
        assertEquals(3, calls("s3:HeadObject"));
        assertEquals(List.of(), bundlesRead());
        assertEquals(3, calls("s3:GetObject"), "a manifest each and one run record");
        assertEquals(2, run.err().lines().count(), run.err());
        assertTrue(run.err().contains("verify-backups: orders: verified, 1 restore point, 1 object, "), run.err());
        assertEquals("verified\n", run("--print", "/status").out());
    }

    @Test
    void verifiesEveryRestorePointAndDownloadsEachBundleOnce() {
        var repo = repository("payments");
        var made = new ArrayList<>(List.of(full(repo)));
        for (var i = 0; i < 4; i++) {
            repo.commit("refs/heads/main", "a.txt", "change " + i);
            if (i == 1) repo.ref("refs/heads/force", "refs/heads/main~2").commit("refs/heads/force", "f", "x");
            made.add(incr(repo, made.get(made.size() - 1)));
        }
        repo.ref("refs/heads/again", "refs/heads/main~3");
        made.add(refsOnly(repo, made.get(made.size() - 1)));
        made.add(full(repo));
        repo.ref("refs/heads/force", "refs/heads/main~1").commit("refs/heads/force", "f", "y");
        made.add(incr(repo, made.get(made.size() - 1)));
        record(made.get(made.size() - 1));
        var run = run("--all", "--deep");
        assertVerified(run);
        assertEquals(made.size(), run.json().at("/repositories/0/restorePoints").asInt());
        var bundles = bucket.keys().stream().filter(key -> key.endsWith(".bundle")).toList();
        assertEquals(7, bundles.size());
        assertEquals(bundles, bundlesRead());
        assertEquals(bundles.size(), calls("s3:HeadObject"));
        var newest = run("--deep");
        assertVerified(newest);
        assertEquals(2, newest.json().at("/repositories/0/objects").asInt());
        assertTrue(newest.json().at("/totals/downloaded").asLong() < run.json().at("/totals/downloaded").asLong());
    }

    @Test
    void knowsAllThatARepositoryMayBe() {
        var odd = repository("odd").ref("refs/heads/ünïcode/'quoted'\"", "refs/heads/main")
                .ref("refs/pull/7/head", "refs/heads/main~1").ref("refs/tags/tree", "refs/heads/main^{tree}")
                .ref("refs/tags/blob", "refs/heads/main:a.txt").ref("refs/notes/commits", "refs/heads/main~1");
        var all = full(odd);
        odd.commit("refs/heads/main", "a.txt", "more").ref("refs/tags/blob", "refs/heads/main:a.txt");
        var more = incr(odd, all);
        var empty = point(aws.codecommit.createRepository("empty"), JSON.createArrayNode(), null, null, manifest -> {});
        var unborn = full(repository("unborn"), manifest -> manifest.put("head", "refs/heads/never"));
        var detached = repository("detached");
        var at = full(detached, manifest -> manifest.put("head", detached.resolve("refs/heads/main~1").name()));
        var emptied = repository("emptied");
        var before = full(emptied);
        var without = point(emptied, before.manifest.withArray("chain").deepCopy(), null, null,
                manifest -> manifest.set("refs", JSON.createObjectNode()));
        record(more, empty, unborn, at, without);
        var run = run("--all", "--deep");
        assertVerified(run);
        assertEquals(7, run.json().at("/totals/restorePoints").asInt());
    }

    @Test
    void verifiesPullRequestsToo() {
        var bytes = Backups.gzip(JSON.createObjectNode().put("format", 1));
        var made = full(repository("payments"), manifest -> { });
        var key = made.stem() + ".pull-requests.json.gz";
        put(key, bytes);
        made.manifest.putArray("pullRequests").add(object(key, null, bytes).without("kind"));
        put(made.key, Backups.gzip(made.manifest));
        record(made);
        assertVerified(run("--deep"));
        assertEquals(2, run().json().at("/totals/objects").asInt());
        bucket.corrupt(key, 12);
        assertVerified(run());
        assertFound(run("--deep"), "payments checksum " + key.replaceAll(".*/", ""));
        bucket.delete(key);
        assertFound(run(), "payments missing-object " + key.replaceAll(".*/", ""));
    }

    /** What backup-to-s3 itself writes, over some nights. */
    @Test
    void verifiesWhatBackupToS3Writes() throws Exception {
        var payments = repository("payments").ref("refs/heads/side", "refs/heads/main~1")
                .commit("refs/heads/side", "s", "side")
                .ref("refs/tags/blob", "refs/heads/main:a.txt");
        var gone = repository("gone");
        aws.codecommit.createRepository("empty");
        for (var night = 0; night < 4; night++) {
            var backup = Script.run(new BackupToS3().commandLine(), "--bucket", "backups");
            assertEquals(0, backup.exitCode(), backup.err());
            assertVerified(run());
            assertVerified(run("--all", "--deep"));
            payments.commit("refs/heads/main", "a.txt", "night " + night).ref("refs/heads/side", "refs/heads/main~1");
            if (night == 1) {
                SampleRepositories.deleteRefs(payments, "refs/heads/side")
                        .ref("refs/heads/again", "refs/heads/main~2");
            }
            if (night == 2) gone.ref("refs/heads/new", "refs/heads/main");
        }
        assertEquals(4 + 2 + 1, run("--all").json().at("/totals/restorePoints").asInt());
        aws.codecommit.deleteRepository("eu-west-1", "gone");
        assertEquals("vanished", run("--deep").json().at("/findings/0/kind").asText());
    }

    // ---- Damage

    /** A chain of a full bundle and two increments, the newest of which is a restore point too. */
    Made chain(CodeCommit.Repo repo, Consumer<ObjectNode> change) {
        var first = full(repo);
        var second = incr(repo.commit("refs/heads/main", "a.txt", "second"), first);
        return incr(repo.commit("refs/heads/main", "a.txt", "third"), second, change);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void findsALostBundle(int which) {
        var made = chain(repository("payments"), manifest -> { });
        var fine = full(repository("fine"));
        record(made, fine);
        bucket.delete(made.manifest.path("chain").get(which).path("key").asText());
        for (var how : List.of("--jobs=1", "--deep")) {
            var run = run(how);
            assertFound(run, "payments missing-object " + made.bundle(which));
            assertEquals("verified", run.json().at("/repositories/0/status").asText());
            assertEquals("findings", run.json().at("/repositories/1/status").asText());
            assertEquals(1, run.json().at("/repositories/1/damaged").asInt());
        }
        var all = run("--all", "--deep");
        assertFound(all, "payments missing-object " + made.bundle(which));
        assertEquals(3 - which, all.json().at("/repositories/1/damaged").asInt(), "restore points from that bundle on");
    }

    @Test
    void findsAMissingLink() {
        var made = chain(repository("payments"), manifest -> manifest.withArray("chain").remove(1));
        record(made);
        assertVerified(run("--all"));
        assertFound(run("--all", "--deep"), "payments not-connected " + made.bundle(1));
    }

    /** S3 keeps the checksum of what it was given, so a bit that turns on its disks shows only in a download. */
    @ParameterizedTest
    @ValueSource(ints = {5, 60, 200, -1})
    void findsATurnedBit(int at) {
        var made = chain(repository("payments"), manifest -> { });
        record(made);
        var key = made.manifest.at("/chain/1/key").asText();
        bucket.corrupt(key, at < 0 ? bucket.size(key) + at : at);
        assertVerified(run("--all"));
        var run = run("--all", "--deep");
        assertFound(run, "payments checksum " + made.bundle(1));
        assertEquals(2, run.json().at("/repositories/0/damaged").asInt(), "the first restore point does not need it");
        assertEquals(2, bundlesRead().stream().filter(key::equals).count(), "looked at twice, whatever needs it");
    }

    @Test
    void findsAnObjectThatIsNotTheOneThatWasWritten() {
        var made = chain(repository("payments"), manifest -> { });
        record(made);
        var keys = made.manifest.path("chain").findValuesAsText("key");
        var other = bucket.get(keys.get(0));
        other[other.length - 1] ^= 1;
        put(keys.get(0), other);
        put(keys.get(1), Arrays.copyOf(bucket.get(keys.get(1)), 100));
        assertFound(run(), "payments checksum " + made.bundle(0), "payments size " + made.bundle(1));
        var deep = run("--deep");
        assertFound(deep, "payments checksum " + made.bundle(0), "payments size " + made.bundle(1));
    }

    /** What is wrong in the newest manifest, and what is found: without and with a download. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "no restore point of the name; manifest; manifest",
            "another account; manifest; manifest",
            "another region; manifest; manifest",
            "no arn; manifest; manifest",
            "another time; manifest; manifest",
            "no time; manifest; manifest",
            "sha256 objects; manifest; manifest",
            "another repository's bundle; manifest; manifest",
            "a bundle elsewhere; manifest; manifest",
            "no bundle; manifest; manifest",
            "no full bundle; manifest; manifest",
            "two full bundles; manifest; manifest",
            "no size; manifest; manifest",
            "no sha256; manifest; manifest",
            "a younger bundle; manifest; manifest",
            "a ref that is no ref; manifest; manifest",
            "a ref at no id; manifest; manifest",
            "HEAD at no ref; manifest; manifest",
            "no refs; manifest; manifest",
            "format 2; format; format",
            "no format; format; format",
            "another crc32; checksum; checksum",
            "another sha256; ; checksum",
            "another size; size; size",
            "a ref that nothing has; ; not-connected",
            "a detached HEAD that nothing has; ; not-connected",
            "a ref less than its bundle; ; refs",
            "a ref elsewhere than its bundle; ; refs",
            "a detached HEAD elsewhere than its bundle; ; refs",
    })
    void findsWhatAManifestHasWrong(String wrong, String shallow, String deep) {
        var repo = repository("payments");
        var others = full(repository("others"));
        var first = full(repo);
        var tip = repo.resolve("refs/heads/main").name();
        var detached = wrong.equals("a detached HEAD elsewhere than its bundle");
        var refs = new TreeMap<>(refs(repo.commit("refs/heads/main", "a.txt", "second")));
        if (detached) refs.put("refs/HEAD", refs.get("refs/heads/main"));
        var second = incr(repo, first, refs, manifest -> {
            var repository = (ObjectNode) manifest.path("repository");
            var last = (ObjectNode) manifest.at("/chain/1");
            var written = (ObjectNode) manifest.path("refs");
            switch (wrong) {
                case "no restore point of the name" -> repository.put("repositoryName", "others");
                case "another account" -> repository.put("arn", "arn:aws:codecommit:eu-west-1:444455556666:payments");
                case "another region" -> repository.put("arn", "arn:aws:codecommit:eu-west-2:111122223333:payments");
                case "no arn" -> repository.remove("arn");
                case "another time" -> manifest.put("time", time.plusMillis(1).toString());
                case "no time" -> manifest.put("time", "yesterday");
                case "sha256 objects" -> manifest.put("objectFormat", "sha256");
                case "another repository's bundle" -> last.put("key", others.manifest.at("/chain/0/key").asText());
                case "a bundle elsewhere" -> last.put("key", "elsewhere/x.incr.bundle");
                case "no bundle" -> manifest.putArray("chain");
                case "no full bundle" -> manifest.withArray("chain").remove(0);
                case "two full bundles" -> manifest.withArray("chain").add(manifest.at("/chain/0"));
                case "no size" -> last.put("size", "many");
                case "no sha256" -> last.remove("sha256");
                case "a younger bundle" -> last.put("key", last.path("key").asText().replaceFirst("/2", "/3"));
                case "a ref that is no ref" -> written.put("main", tip);
                case "a ref at no id" -> written.put("refs/heads/x", "main");
                case "HEAD at no ref" -> manifest.put("head", "main");
                case "no refs" -> manifest.remove("refs");
                case "format 2" -> manifest.put("format", 2);
                case "no format" -> manifest.remove("format");
                case "another crc32" -> last.put("crc32", "AAAAAA==");
                case "another sha256" -> last.put("sha256", "0".repeat(64));
                case "another size" -> last.put("size", 7);
                case "a ref that nothing has" -> written.put("refs/heads/x", "1".repeat(40));
                case "a detached HEAD that nothing has" -> manifest.put("head", "1".repeat(40));
                case "a ref less than its bundle" -> written.remove("refs/heads/main");
                case "a ref elsewhere than its bundle" -> written.put("refs/heads/main", tip);
                case "a detached HEAD elsewhere than its bundle" -> manifest.put("head", tip);
                default -> throw new IllegalArgumentException(wrong);
            }
        });
        record(second, others);
        for (var kind : List.of(shallow == null ? "" : shallow, deep)) {
            var run = kind.equals(deep) ? run("--deep") : run();
            var key = kind.matches("checksum|size") ? second.bundle(1) : second.file();
            if (kind.isEmpty()) assertVerified(run);
            else assertFound(run, "payments " + kind + " " + key);
            if (kind.matches("manifest|format")) {
                assertEquals(first.manifest.path("time").asText(), run.json().at("/repositories/1/newest").asText(),
                        "the one before it is verified instead");
                assertEquals(1, run.json().at("/repositories/1/damaged").asInt());
            } else if (!kind.isEmpty()) {
                assertVerified(run("--deep", "--exclude", "payments"));
            }
        }
    }

    @Test
    void findsDocumentsThatCannotBeRead() throws Exception {
        var repo = repository("payments");
        var made = chain(repo, manifest -> { });
        record(Instant.now().minusSeconds(60), "saved", made);
        var record = prefix("runs/eu-west-1") + TIME.format(Instant.now()) + "-00000000.json.gz";
        put(record, Backups.gzip(JSON.createObjectNode().put("format", 1)));
        bucket.corrupt(record, bucket.size(record) - 6);
        bucket.corrupt(made.key, bucket.size(made.key) - 6);
        var unreadable = "payments unreadable " + made.file();
        assertFound(run(), unreadable, "null unreadable " + record.replaceAll(".*/", ""));
        var half = Arrays.copyOf(Backups.gzip(made.manifest), 100);
        for (var bytes : List.of(new byte[0], "not gzipped".getBytes(), Backups.gzip(JSON.createArrayNode()), half,
                Backups.gzip(JSON.getNodeFactory().textNode("x")))) {
            put(made.key, bytes);
            put(record, Backups.gzip(JSON.createObjectNode().put("format", 1)));
            var run = run("--all");
            assertEquals(4, run.exitCode());
            assertEquals(1, findings(run).size());
            assertTrue(findings(run).get(0).matches("payments (unreadable|format) " + made.file()), run.out());
            assertEquals(2, run.json().at("/repositories/0/restorePoints").asInt());
        }
    }

    /** Bundles that are just as they were written, but were written wrongly. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "text; unreadable; is damaged: bundle: ",
            "a line; unreadable; is damaged: bundle: not a bundle",
            "version 3; unreadable; is damaged: bundle: not a bundle",
            "an endless header; unreadable; is damaged: bundle: ",
            "a header of nonsense; unreadable; is damaged: bundle: ",
            "no pack; unreadable; is damaged",
            "half a pack; unreadable; is damaged",
            "a pack and more; unreadable; is damaged",
            "a pack with a turned bit; unreadable; is damaged",
            "a pack without a blob; not-connected; needs object",
            "a pack without a tree; not-connected; needs object",
            "a pack without a commit; not-connected; needs object",
            "an increment; not-connected; starts from commits to which no ref of the bundles before it leads: ",
            "a ref that it lacks; not-connected; needs object",
    })
    void findsBundlesThatWereWrittenWrongly(String wrong, String kind, String saying) throws Exception {
        var repo = repository("payments");
        var good = bundle(repo, Map.of(), refs(repo));
        var text = new String(good, StandardCharsets.ISO_8859_1);
        var pack = text.indexOf("\n\nPACK") + 2;
        var lost = switch (wrong) {
            case "a pack without a blob" -> repo.resolve("refs/heads/main:dir/b.txt");
            case "a pack without a tree" -> repo.resolve("refs/heads/main:dir");
            case "a pack without a commit" -> repo.resolve("refs/heads/main~1");
            default -> null;
        };
        var tip = repo.resolve("refs/heads/main").name();
        var bytes = lost != null ? without(repo, lost) : (switch (wrong) {
            case "text" -> "hello";
            case "a line" -> "hello\n";
            case "version 3" -> text.replace("# v2 git bundle\n", "# v3 git bundle\n@object-format=sha1\n");
            case "an endless header" -> text.substring(0, 100) + "x".repeat(100_000);
            case "a header of nonsense" -> text.substring(0, pack - 1) + "and so on\n" + text.substring(pack - 1);
            case "no pack" -> text.substring(0, pack);
            case "half a pack" -> text.substring(0, text.length() - 50);
            case "a pack and more" -> text + "x";
            case "a pack with a turned bit" -> {
                var at = text.length() - 60;
                yield text.substring(0, at) + (char) (text.charAt(at) ^ 1) + text.substring(at + 1);
            }
            case "an increment" -> {
                repo.commit("refs/heads/main", "x", "y");
                yield new String(bundle(repo, Map.of("refs/heads/main", tip), refs(repo)), StandardCharsets.ISO_8859_1);
            }
            case "a ref that it lacks" ->
                text.substring(0, pack - 1) + "1".repeat(40) + " refs/heads/x\n" + text.substring(pack - 1);
            default -> throw new IllegalArgumentException(wrong);
        }).getBytes(StandardCharsets.ISO_8859_1);
        var made = full(repo, bytes, manifest -> { });
        record(made);
        assertVerified(run());
        var run = run("--deep");
        assertFound(run, "payments " + kind + " " + made.bundle(0));
        assertTrue(messages(run).contains(saying), messages(run));
        if (lost != null) assertTrue(messages(run).contains(lost.name()), messages(run));
    }

    /** A full bundle whose pack lacks one object. */
    static byte[] without(CodeCommit.Repo repo, ObjectId lost) throws IOException {
        var bytes = new ByteArrayOutputStream();
        bytes.write("# v2 git bundle\n".getBytes());
        for (var ref : refs(repo).entrySet()) bytes.write((ref.getValue() + " " + ref.getKey() + "\n").getBytes());
        bytes.write('\n');
        try (var walk = new org.eclipse.jgit.revwalk.ObjectWalk(repo.git()); var writer = new PackWriter(repo.git())) {
            for (var id : refs(repo).values()) walk.markStart(walk.parseAny(ObjectId.fromString(id)));
            var objects = new ArrayList<RevObject>();
            for (var commit = walk.next(); commit != null; commit = walk.next()) objects.add(commit);
            for (var object = walk.nextObject(); object != null; object = walk.nextObject()) objects.add(object);
            objects.removeIf(object -> object.equals(lost));
            writer.preparePack(objects.iterator());
            writer.writePack(NullProgressMonitor.INSTANCE, NullProgressMonitor.INSTANCE, bytes);
        }
        return bytes.toByteArray();
    }

    /** What git would refuse to fetch, though the objects are all there. */
    @Test
    void findsAnIncrementThatGitWouldRefuse() throws Exception {
        var repo = repository("payments").ref("refs/heads/side", "refs/heads/main~1").commit("refs/heads/side", "s",
                "side");
        var side = repo.resolve("refs/heads/side");
        var first = full(repo);
        SampleRepositories.deleteRefs(repo, "refs/heads/side");
        repo.ref("refs/heads/side", "refs/heads/main~1");
        assertEquals(side.name(), first.manifest.at("/refs/refs~1heads~1side").asText());
        repo.commit("refs/heads/main", "a.txt", "second");
        var moved = incr(repo, first);
        // From here on no bundle's refs lead to the old tip of side, which the next increment starts from.
        var known = Map.of("refs/heads/main", repo.resolve("refs/heads/main").name(), "refs/heads/old", side.name());
        var wrong = bundle(repo.commit("refs/heads/main", "a.txt", "third"), known, refs(repo));
        assertTrue(new String(wrong, StandardCharsets.ISO_8859_1).contains("-" + side.name()));
        var made = point(repo, moved.manifest.withArray("chain").deepCopy(), "incr", wrong, manifest -> { });
        record(made);
        var run = run("--deep");
        assertFound(run, "payments not-connected " + made.bundle(2));
        var saying = "starts from commits to which no ref of the bundles before it leads: " + side.name();
        assertTrue(messages(run).contains(saying), messages(run));
        assertVerified(run("--deep", "--exclude", "payments"));
    }

    /** An object that each restore point from the third on has, but not the second. */
    @Test
    void aLaterBundleDoesNotProveAnEarlierRestorePoint() {
        var repo = repository("payments");
        var first = full(repo);
        var later = repo.commit("refs/heads/main", "a.txt", "later").resolve("refs/heads/main").name();
        repo.ref("refs/heads/main", "refs/heads/main~1");
        var second = point(repo, first.manifest.withArray("chain").deepCopy(), null, null,
                manifest -> ((ObjectNode) manifest.path("refs")).put("refs/heads/main", later));
        var third = incr(repo.ref("refs/heads/main", later), first);
        record(third);
        assertVerified(run("--deep"));
        var run = run("--all", "--deep");
        assertFound(run, "payments not-connected " + second.file());
        assertTrue(messages(run).contains("needs object " + later), messages(run));
        assertEquals("3 1", run.json().at("/repositories/0/restorePoints").asText() + " "
                + run.json().at("/repositories/0/damaged").asText());
    }

    @Test
    void takesOldMalformedObjectsForWhatTheyAre() throws Exception {
        Program.needs("git", "git", "--version");
        var repo = repository("old");
        repo.work(git -> {
            try (var inserter = git.newObjectInserter()) {
                var commit = "tree " + git.resolve("refs/heads/main^{tree}").name() + "\nparent "
                        + git.resolve("refs/heads/main").name()
                        + "\nauthor Ada <ada@example.com> 1767225600 +051800\ncommitter Ada <ada@example.com> "
                        + "1767225600 +051800\n"
                        + "\nOld tools wrote odd time zones\n";
                var update = git.updateRef("refs/heads/main");
                update.setNewObjectId(inserter.insert(Constants.OBJ_COMMIT, commit.getBytes()));
                inserter.flush();
                update.forceUpdate();
            }
        });
        record(full(repo));
        var run = run("--deep");
        assertVerified(run);
        var saying = "old: malformed, and so in CodeCommit: 1 object: error in commit "
                + repo.resolve("refs/heads/main").name() + ": badTimezone";
        assertTrue(run.err().contains(saying), run.err());
        var script = new VerifyBackups();
        script.gitCommand = "git-that-nobody-has";
        var without = run(script, "--deep");
        assertVerified(without);
        assertTrue(without.err().contains("JGit alone checks the objects"), without.err());
    }

    /** A copy of an object that S3 keeps no checksum of the whole of. */
    @Test
    void saysWhichObjectsItCouldNotCompare() {
        var made = full(repository("payments"));
        record(made);
        var key = made.manifest.at("/chain/0/key").asText();
        var bytes = bucket.get(key);
        var upload = s3
                .createMultipartUpload(r -> r.bucket("backups").key(key).checksumAlgorithm(ChecksumAlgorithm.CRC32))
                .uploadId();
        var crc32 = Backups.crc32(bytes);
        var etag = s3.uploadPart(
                r -> r.bucket("backups").key(key).uploadId(upload).partNumber(1).checksumCRC32(crc32),
                RequestBody.fromBytes(bytes)).eTag();
        var part = CompletedPart.builder().partNumber(1).eTag(etag).checksumCRC32(crc32).build();
        s3.completeMultipartUpload(
                r -> r.bucket("backups").key(key).uploadId(upload).multipartUpload(m -> m.parts(part)));
        var run = run();
        assertVerified(run);
        assertTrue(
                run.err().contains(
                        made.bundle(0) + ": not compared, as S3 has no CRC32 of the whole object; --deep compares it"),
                run.err());
        bucket.put(key, bytes);
        assertTrue(run().err().contains("not compared"), "another algorithm");
        var deep = run("--deep");
        assertVerified(deep);
        assertFalse(deep.err().contains("not compared"), deep.err());
    }

    // ---- Archived

    /** An object's storage class, x-amz-restore and x-amz-archive-status, and how it is to be restored. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "GLACIER; ; ; Days=7",
            "DEEP_ARCHIVE; ; ; Days=7",
            "GLACIER; ongoing-request=\"true\"; ; by waiting",
            "INTELLIGENT_TIERING; ; ARCHIVE_ACCESS; GlacierJobParameters={Tier=Standard}",
            "INTELLIGENT_TIERING; ongoing-request=\"true\"; DEEP_ARCHIVE_ACCESS; by waiting",
    })
    void findsArchivedObjectsAndSaysHowTheyAreRestored(String storageClass, String restore, String archiveStatus,
            String how) {
        var made = chain(repository("payments"), manifest -> { });
        record(made, full(repository("fine")));
        var key = made.manifest.at("/chain/1/key").asText();
        archive(key, storageClass, restore, archiveStatus);
        for (var options : List.of("--all", "--deep")) {
            var run = run(options);
            assertFound(run, "payments archived " + made.bundle(1));
            var where = archiveStatus == null ? storageClass : archiveStatus;
            assertEquals("is archived (" + where + "), and " + (how.equals("by waiting")
                    ? "is being restored, which takes hours: run this again then"
                    : "must be restored before it can be read: aws s3api restore-object --bucket backups --key '" + key
                            + "' --restore-request '" + how + "'"),
                    messages(run));
            assertEquals(options.equals("--all") ? 2 : 1, run.json().at("/repositories/1/damaged").asInt(),
                    "restore points from that bundle on");
        }
        assertEquals(List.of("fine"), bundlesRead().stream().map(read -> read.split("/")[4]).toList());
    }

    void archive(String key, String storageClass, String restore, String archiveStatus) {
        bucket.header(key, "x-amz-storage-class", storageClass);
        if (restore != null) bucket.header(key, "x-amz-restore", restore);
        if (archiveStatus != null) bucket.header(key, "x-amz-archive-status", archiveStatus);
    }

    @Test
    void findsArchivedDocuments() {
        var made = chain(repository("payments"), manifest -> { });
        record(Instant.now().minusSeconds(60), "saved", made);
        archive(made.key, "GLACIER", null, null);
        var run = run("--deep");
        assertFound(run, "payments archived " + made.file());
        assertTrue(messages(run).contains("aws s3api restore-object --bucket backups --key '" + made.key + "'"));
        assertEquals(1, run.json().at("/repositories/0/restorePoints").asInt(), "the one before is verified instead");
        var one = full(repository("one"));
        archive(one.key, "INTELLIGENT_TIERING", null, "ARCHIVE_ACCESS");
        assertFound(run("--repository-names", "one"), "one archived " + one.file());
    }

    /** Nobody knows what it says, so no repository is stale for its sake. */
    @Test
    void aRunRecordThatCannotBeReadMakesNoRepositoryStale() {
        var made = full(repository("payments"));
        assertFound(run(), "payments stale ");
        record(made);
        var record = bucket.keys().stream().filter(key -> key.contains("/runs/")).findFirst().orElseThrow();
        archive(record, "DEEP_ARCHIVE", null, null);
        assertFound(run(), "null archived " + record.replaceAll(".*/", ""));
        put(record, new byte[10]);
        assertFound(run(), "null unreadable " + record.replaceAll(".*/", ""));
        bucket.policy("""
                {"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
                  "Resource": "%s/*/runs/*"}}""".formatted(bucket.arn()));
        var denied = run();
        assertEquals(3, denied.exitCode(), denied.err());
        assertEquals("incomplete", denied.status());
        assertEquals(List.of(), findings(denied));
        assertEquals(1, denied.json().at("/totals/unchecked").asInt());
        assertEquals("unchecked", denied.json().at("/repositories/0/status").asText());
        var error = denied.json().at("/repositories/0/error").asText();
        assertTrue(error.startsWith("whether a run saved it of late: AccessDenied: "), error);
        assertTrue(denied.err().contains("payments: " + error), denied.err());
    }

    // ---- What this machine, JGit or git cannot check is no finding

    /** A git that runs these commands of the shell. */
    Path git(String commands) throws IOException {
        var file = Files.writeString(directory.resolve("git"), "#!/bin/sh\n" + commands + "\n");
        assertTrue(file.toFile().setExecutable(true));
        return file;
    }

    Script.Run runWith(Path git, String... args) {
        var script = new VerifyBackups();
        script.gitCommand = git.toString();
        return run(script, args);
    }

    /** What a git does that is misconfigured, killed, without memory or none at all, and what is said of it. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "echo fatal: bad config line 1 in file .gitconfig; exit 128 | git ended with 128: fatal: bad config line 1",
            "echo fatal: Out of memory, malloc failed >&2; exit 128 | git ended with 128: fatal: Out of memory",
            "kill -9 $$ | git was ended by signal 9",
            "echo missing blob 0123456789012345678901234567890123456789; kill -9 $$ | git was ended by signal 9: missi",
            "exit 16 | git ended with 16",
            "echo xcode-select: note: no developer tools were found >&2; exit 1 | git ended with 1: xcode-select: note",
            "echo error: unable to open x.pack: Too many open files; "
                    + "echo missing blob 0123456789012345678901234567890123456789; exit 2 | git ended with 2: error: ",
    })
    void whatGitCannotCheckIsNoFinding(String commands, String saying) throws IOException {
        record(chain(repository("payments"), manifest -> { }));
        var run = runWith(git(commands), "--deep");
        assertVerified(run);
        assertTrue(run.err().contains(
                "payments: JGit found all objects good, and git could not check them: " + saying), run.err());
    }

    @Test
    void aGitThatCannotBeStartedIsSaidOnce() throws IOException {
        record(full(repository("payments")), full(repository("orders")));
        var git = git("exit 1");
        for (var none : List.of(directory, Files.writeString(directory.resolve("text"), "text"), git.resolve("git"))) {
            var run = runWith(none, "--deep");
            assertVerified(run);
            assertEquals(1, run.err().lines().filter(line -> line.contains("so that JGit alone checks")).count(),
                    run.err());
        }
    }

    @Test
    void takesGitsWordForObjectsThatAreNotThere() throws IOException {
        var made = full(repository("payments"));
        record(made);
        var run = runWith(git("echo missing tree 0123456789012345678901234567890123456789; exit 2"), "--deep");
        assertFound(run, "payments not-connected " + made.file());
        assertEquals("git fsck: missing tree 0123456789012345678901234567890123456789", messages(run));
    }

    /** What git fsck prints, with | for the line breaks, its exit code, and what that says of the objects. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "; 0; GOOD",
            "warning in tree ID: zeroPaddedFilemode: contains zero-padded file modes; 0; GOOD",
            "error in commit ID: badTimezone: invalid author/committer line - bad time zone; 1; MALFORMED",
            "error in tag ID: missingSpaceBeforeDate: x|warning in tree ID: nullSha1: x; 1; MALFORMED",
            "missing blob ID; 2; LOST",
            "broken link from    tree ID|              to    blob ID|missing blob ID; 2; LOST",
            "error: refs/heads/main: invalid sha1 pointer ID; 2; LOST",
            "error in commit ID: badTimezone: x|missing tree ID; 3; LOST",
            "; 1; NONE",
            "; 137; NONE",
            "missing blob ID; 128; NONE",
            "missing blob ID|error: ID: object corrupt or missing; 3; NONE",
            "error: refs/heads/main: not a commit; 8; NONE",
            "fatal: not a git repository: x; 128; NONE",
    })
    void tellsWhatGitFsckSays(String lines, int exitCode, VerifyBackups.Verdict verdict) {
        var id = "0123456789abcdef0123456789abcdef01234567";
        var printed = lines == null ? List.<String>of() : List.of(lines.replace("ID", id).split("\\|"));
        assertEquals(verdict, new VerifyBackups.Answer(exitCode, printed).verdict());
    }

    @Test
    void tellsThisMachinesFaultsFromThoseOfABundle() throws IOException {
        for (var text : List.of("No space left on device", "Disk quota exceeded (x)", "Input/output error",
                "Read-only file system", "File too large"))
            assertTrue(VerifyBackups.isOfThisMachine(new TransportException("bundle", new IOException(text))), text);
        assertTrue(VerifyBackups.isOfThisMachine(new FileNotFoundException("x (Too many open files)")));
        assertTrue(VerifyBackups.isOfThisMachine(new IOException(new FileSystemException("x"))));
        for (var text : List.of("Packfile is truncated.", "Unknown object type 0.", "x: No space left on device?"))
            assertFalse(VerifyBackups.isOfThisMachine(new TransportException("bundle", new IOException(text))), text);
        assertFalse(VerifyBackups.isOfThisMachine(new EOFException()));
    }

    /** With a JGit whose limits are narrower: what it takes no more is indexed by git. */
    static class Limited extends VerifyBackups {
        final OutOfMemoryError noMemory;

        Limited(OutOfMemoryError noMemory) {
            this.noMemory = noMemory;
        }

        @Override
        Scratch newScratch() throws IOException {
            var scratch = super.newScratch();
            return new Scratch(scratch.directory, new FileRepository(scratch.directory.toFile()) {
                @Override
                public ObjectInserter newObjectInserter() {
                    var inserter = super.newObjectInserter();
                    return new ObjectInserter.Filter() {
                        @Override
                        protected ObjectInserter delegate() {
                            return inserter;
                        }

                        @Override
                        public PackParser newPackParser(InputStream in) throws IOException {
                            if (noMemory != null) throw noMemory;
                            var parser = inserter.newPackParser(in);
                            parser.setMaxObjectSizeLimit(1000);
                            return parser;
                        }
                    };
                }
            });
        }
    }

    /** As a file of 2 GiB is in a pack for JGit, or a large delta for the memory. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void whatJGitCannotIndexIsIndexedByGitOrUnchecked(boolean noMemory) throws Exception {
        var error = noMemory ? new OutOfMemoryError("Java heap space") : null;
        var repo = repository("large").commit("refs/heads/main", "large", SampleRepositories.bulk(2000));
        var first = full(repo);
        var second = incr(repo.commit("refs/heads/main", "large", SampleRepositories.bulk(2010)), first);
        var anew = full(repo.commit("refs/heads/main", "a.txt", "later"));
        var damaged = full(repository("damaged"));
        record(anew, full(repository("small")), damaged);
        bucket.delete(damaged.manifest.at("/chain/0/key").asText());
        var lost = "damaged missing-object " + damaged.bundle(0);
        assertFound(run(new Limited(error), "--deep", "--all"), lost);
        assertEquals(noMemory ? 4 * 2 : 1 + 3 * 2, bundlesRead().size(), "twice where JGit gave up");

        var without = new Limited(error);
        without.gitCommand = "git-that-nobody-has";
        var run = run(without, "--deep", "--all");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of(lost), findings(run));
        assertEquals("incomplete", run.status());
        var large = run.json().at("/repositories/1");
        assertEquals("unchecked", large.path("status").asText());
        assertEquals(0, large.path("damaged").asInt());
        for (var key : List.of(first.bundle(0), anew.bundle(0)))
            assertTrue(large.path("error").asText().contains(key + ": JGit cannot index it: "
                    + (noMemory ? "out of memory: use fewer --jobs" : "bundle: Object too large (")), run.out());
        assertFalse(run.err().contains(second.bundle(1) + ": JGit"), "what builds on it is not tried");
        assertEquals(noMemory ? 0 : 1, run.json().at("/totals/verified").asInt());

        var broken = new Limited(error);
        broken.gitCommand = git("echo fatal: Out of memory, malloc failed; exit 128").toString();
        var neither = run(broken, "--deep", "--repository-names", "large");
        assertEquals(3, neither.exitCode(), neither.err());
        assertTrue(neither.err().contains("; git can, if it is on the PATH, but git ended with 128: fatal: Out of mem"),
                neither.err());
    }

    /** A bundle of all refs, written by git, which takes some objects that JGit does not. */
    byte[] bundleByGit(CodeCommit.Repo repo) throws IOException {
        var file = directory.resolve("by-git.bundle");
        Git.run(repo.directory(), "bundle", "create", "-q", file.toString(), "--all");
        return Files.readAllBytes(file);
    }

    /** As tools write them that are not Git, and as CodeCommit may take them: JGit refuses to follow these. */
    @ParameterizedTest
    @ValueSource(strings = {"a file mode of 30000", "a tag of 51 MB"})
    void whatJGitCannotFollowIsFollowedByGitOrUnchecked(String kind) throws Exception {
        var repo = repository("odd");
        var main = repo.resolve("refs/heads/main").name();
        if (kind.startsWith("a file mode")) {
            var entry = new ByteArrayOutputStream();
            entry.write("30000 a\0".getBytes());
            ObjectId.fromString("1".repeat(40)).copyRawTo(entry);
            var tree = insert(repo, Constants.OBJ_TREE, entry.toByteArray());
            var commit = "tree " + tree + "\nparent " + main + "\nauthor Ada <ada@example.com> 1767225600 +0000\n"
                    + "committer Ada <ada@example.com> 1767225600 +0000\n\nodd\n";
            repo.ref("refs/heads/odd", insert(repo, Constants.OBJ_COMMIT, commit.getBytes()));
        } else {
            var tag = "object " + main + "\ntype commit\ntag large\ntagger Ada <ada@example.com> 1767225600 +0000\n\n"
                    + "x".repeat(51 << 20);
            Git.run(repo.directory(), "update-ref", "refs/tags/large", insert(repo, Constants.OBJ_TAG, tag.getBytes()));
        }
        var made = full(repo, bundleByGit(repo), manifest -> { });
        record(made);
        assertVerified(run("--deep"));
        var run = runWith(Path.of("git-that-nobody-has"), "--deep");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of(), findings(run));
        var error = run.json().at("/repositories/0/error").asText();
        assertTrue(error.startsWith(made.manifest.at("/chain/0/key").asText() + ": JGit cannot follow its refs: "),
                error);
        var lacking = full(repo, withoutByGit(repo, repo.resolve("refs/heads/main:dir/b.txt")), manifest -> { });
        record(lacking);
        assertFound(run("--deep"), "odd not-connected " + lacking.bundle(0));
    }

    /** The same without one object. */
    static byte[] withoutByGit(CodeCommit.Repo repo, ObjectId lost) throws IOException {
        var bytes = new ByteArrayOutputStream();
        bytes.write("# v2 git bundle\n".getBytes());
        for (var ref : refs(repo).entrySet()) bytes.write((ref.getValue() + " " + ref.getKey() + "\n").getBytes());
        bytes.write('\n');
        var pack = new ProcessBuilder("bash", "-c", "git rev-list --objects --all | cut -c 1-40 | grep -v $1 |"
                + " git pack-objects -q --stdout", "bash", lost.name()).directory(repo.directory().toFile()).start();
        pack.getInputStream().transferTo(bytes);
        return bytes.toByteArray();
    }

    static String insert(CodeCommit.Repo repo, int type, byte[] content) throws IOException {
        try (var inserter = repo.git().newObjectInserter()) {
            var id = inserter.insert(type, content);
            inserter.flush();
            return id.name();
        }
    }

    /** Which is a limit of JGit for one reader, and damage for none. */
    @Test
    void aBundleThatIsTooLargeForJGitAndNoneForGitIsUnchecked() throws Exception {
        var repo = repository("payments");
        var pack = new ByteArrayOutputStream();
        pack.write(new byte[] {'P', 'A', 'C', 'K', 0, 0, 0, 2, 0, 0, 0, 1});
        pack.write(new byte[] {(byte) 0xb0, (byte) 0x80, (byte) 0x80, (byte) 0x80, 0x40}); // a blob of 2 GiB
        pack.write(new byte[] {0x78, (byte) 0x9c, 0x03, 0, 0, 0, 0, 1}); // that is empty
        pack.write(HexFormat.of().parseHex(Backups.sha("SHA-1", pack.toByteArray())));
        var header = "# v2 git bundle\n" + repo.resolve("refs/heads/main").name() + " refs/heads/main\n\n";
        var bundle = new ByteArrayOutputStream();
        bundle.write(header.getBytes());
        pack.writeTo(bundle);
        record(full(repo, bundle.toByteArray(), manifest -> { }));
        var run = run("--deep");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of(), findings(run));
        var error = run.json().at("/repositories/0/error").asText();
        assertTrue(error.contains("JGit cannot index it: bundle: Object too large (2,147,483,648 bytes)"), error);
        assertTrue(error.contains(", but git ended with 1: "), error);
    }

    @Test
    void aFileOf2GibIsVerifiedByGit() throws Exception {
        assumeTrue(Boolean.getBoolean("tests.long"), "takes minutes: ./jbang test --long");
        Program.needs("git", "git", "--version");
        var zeros = directory.resolve("zeros");
        try (var file = new RandomAccessFile(zeros.toFile(), "rw")) {
            file.setLength(1L << 31);
        }
        var source = directory.resolve("source.git");
        Git.run(directory, "init", "-q", "--bare", source.toString());
        var blob = Git.run(source, "hash-object", "-w", "--no-filters", zeros.toString()).strip();
        Git.run(source, "update-index", "--add", "--cacheinfo", "100644," + blob + ",zeros");
        var commit = Git.run(source, "commit-tree", "-m", "large", Git.run(source, "write-tree").strip()).strip();
        Git.run(source, "update-ref", "refs/heads/main", commit);
        var repo = aws.codecommit.createRepository("large").borrow(source.resolve("objects"), Git.refs(source))
                .defaultBranch("main");
        var made = full(repo, bundleByGit(repo), manifest -> { });
        record(made);
        assertVerified(run("--deep"));
        var without = runWith(Path.of("git-that-nobody-has"), "--deep");
        assertEquals(3, without.exitCode(), without.err());
        assertEquals(List.of(), findings(without));
        assertTrue(without.err().contains("Object too large (2,147,483,648 bytes)"), without.err());
    }

    /** git, started by a process whose surroundings are as bad as they get. */
    @Test
    void noConfigurationOfGitMatters() throws Exception {
        record(chain(repository("payments"), manifest -> { }));
        var broken = Files.writeString(directory.resolve("config"), "[user");
        Files.createDirectories(directory.resolve("xdg/git"));
        Files.copy(broken, directory.resolve("xdg/git/config"));
        var builder = new ProcessBuilder("./jbang", "scripts/VerifyBackups.java", "--bucket", "backups", "--deep");
        Script.within(aws, builder).redirectError(directory.resolve("err").toFile());
        builder.environment().putAll(Map.of("GIT_CONFIG_GLOBAL", broken.toString(), "GIT_CONFIG_SYSTEM",
                broken.toString(), "XDG_CONFIG_HOME", directory.resolve("xdg").toString(), "GIT_CONFIG_COUNT", "many",
                "GIT_DIR", "/nowhere", "GIT_OBJECT_DIRECTORY", "/nowhere", "GIT_TRACE", "1"));
        var process = builder.start();
        var out = new String(process.getInputStream().readAllBytes());
        var err = Files.readString(directory.resolve("err"));
        assertEquals(0, Wait.forEnd(process, () -> err), err);
        assertEquals("verified", JSON.readTree(out).path("status").asText());
        assertFalse(err.contains("git could not check") || err.contains("JGit alone"), err);
    }

    // ---- Stale, missing, vanished, orphan

    @Test
    void findsWhatNoRunSawOfLate() {
        var quiet = full(repository("quiet"));
        var dead = full(repository("dead"));
        var failing = full(repository("failing"));
        record(Instant.now().minus(Duration.ofHours(30)), "saved", quiet, dead, failing);
        record(Instant.now().minus(Duration.ofHours(20)), "unchanged", quiet);
        record(Instant.now().minus(Duration.ofHours(10)), "failed", failing);
        var run = run();
        assertFound(run, "dead stale ", "failing stale ");
        var saying = "no run of the last 26h saved it or found it unchanged; its newest restore point is of ";
        assertTrue(messages(run).contains(saying + dead.manifest.path("time").asText()), messages(run));
        assertTrue(messages(run).contains(failing.manifest.path("time").asText() + ", and the last run says: failed"),
                messages(run));
        assertVerified(run("--max-age", "31h"));
        assertVerified(run("--max-age", "2d"));
        assertFound(run("--max-age", "1199m"), "dead stale ", "failing stale ", "quiet stale ");
    }

    @Test
    void readsAsManyRunRecordsAsItNeeds() {
        var made = new ArrayList<Made>();
        for (var i = 0; i < 6; i++) made.add(full(repository("r" + i)));
        for (var i = 0; i < 6; i++) record(Instant.now().minus(Duration.ofHours(6 - i)), "saved", made.get(i));
        record(Instant.now(), "unchanged", made.toArray(Made[]::new));
        assertVerified(run());
        assertEquals(7, calls("s3:GetObject"), "the newest has all");
        bucket.delete(bucket.keys().stream().filter(key -> key.contains("/runs/")).reduce((a, b) -> b).orElseThrow());
        assertVerified(run());
        assertEquals(12, calls("s3:GetObject"));
    }

    @Test
    void findsARestorePointThatARunWroteAndThatIsGone() {
        var repo = repository("payments");
        var first = full(repo);
        var second = incr(repo.commit("refs/heads/main", "a.txt", "second"), first);
        record(second);
        bucket.delete(second.key);
        assertFound(run(), "payments missing-object " + second.file());
    }

    @Test
    void findsWhatIsMissing() {
        record(full(repository("there")));
        repository("never");
        repository("failed");
        bucket.put(prefix("eu-west-1") + "failed/20261121T040000000Z-00000000.full.bundle", new byte[10]);
        var run = run();
        assertFound(run, "failed missing ", "never missing ");
        assertEquals("has no restore point\nhas no restore point", messages(run));
        assertEquals(List.of("findings", "findings", "verified"),
                run.json().path("repositories").valueStream().map(r -> r.path("status").asText()).toList());
        assertFound(run("--no-codecommit"), "failed missing ");
        assertVerified(run("--exclude", "never", "f*"));
        assertFound(run("--repository-names", "never", "there"), "never missing ");
        assertFound(run("--repository-names", "there", "thre", "x*"), "thre missing ", "x* missing ");
        assertTrue(run("--repository-names", "thre").err()
                .contains("no backup has such a name, and no repository either"));
    }

    @Test
    void tellsARepositoryFromOneOfTheSameNameBefore() {
        var made = full(repository("payments"));
        record(made);
        assertVerified(run());
        aws.codecommit.deleteRepository("eu-west-1", "payments");
        var anew = repository("payments");
        var run = run();
        assertFound(run, "payments missing ");
        assertTrue(messages(run).contains("was deleted and created anew"), messages(run));
        record(full(anew));
        assertVerified(run("--all", "--deep"));
    }

    static final String RULE = "<Rule><ID>x</ID><Status>%s</Status><Filter>%s</Filter>"
            + "<Expiration>%s</Expiration></Rule>";

    /** Rules, and the days until the full bundle of yesterday goes. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "; never", "none; never",
            "Enabled|<Prefix>projects/</Prefix>|<Days>365</Days>; 365",
            "Enabled||<Days>30</Days>; 30",
            "Disabled||<Days>30</Days>; never",
            "Enabled|<Prefix>other/</Prefix>|<Days>30</Days>; never",
            "Enabled|<Tag><Key>a</Key><Value>b</Value></Tag>|<Days>30</Days>; never",
            "Enabled|<And><Prefix>projects/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And>|<Days>30</Days>; "
                    + "never",
            "Enabled|<And><Prefix>projects/</Prefix><ObjectSizeGreaterThan>100</ObjectSizeGreaterThan></And>"
                    + "|<Days>30</Days>; 30",
            "Enabled|<ObjectSizeGreaterThan>1000000</ObjectSizeGreaterThan>|<Days>30</Days>; never",
            "Enabled|<ObjectSizeLessThan>100</ObjectSizeLessThan>|<Days>30</Days>; never",
            "Enabled||<Date>2030-01-01T00:00:00.000Z</Date>; 2030-01-01",
            "Enabled||<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>; never",
    })
    void findsVanishedRepositoriesAndWhenTheirBackupGoes(String rule, String when) {
        var others = String.format(RULE, "Enabled", "<Prefix>other/</Prefix>", "<Days>1</Days>");
        if ("none".equals(rule)) bucket.lifecycle(others);
        else if (rule != null) bucket.lifecycle(others + String.format(RULE, (Object[]) rule.split("\\|")));
        var repo = repository("gone");
        var first = full(repo);
        var second = incr(repo.commit("refs/heads/main", "a.txt", "second"), first);
        record(second);
        aws.codecommit.deleteRepository("eu-west-1", "gone");
        var run = run();
        assertFound(run, "gone vanished " + first.bundle(0));
        var day = when.equals("never") ? null : when.contains("-") ? when : in(1 + Integer.parseInt(when));
        assertEquals(day, run.json().at("/findings/0/expires").asText(null));
        assertTrue(messages(run).contains("is no longer in CodeCommit; its newest restore point, of "
                + second.manifest.path("time").asText() + ", "
                + (day == null ? "stays: no rule expires it" : "goes on " + day + " with this object")
                + "; if that is right: --exclude gone"), messages(run));
        assertVerified(run("--exclude", "gone"));
        assertEquals(0, calls("s3:GetBucketLifecycleConfiguration"));
        assertVerified(run("--no-codecommit"));
    }

    static String in(int days) {
        return Instant.now().atZone(ZoneOffset.UTC).toLocalDate().plusDays(days).toString();
    }

    @Test
    void saysWhenItIsNotKnownWhenABackupGoes() {
        record(full(repository("gone")));
        aws.codecommit.deleteRepository("eu-west-1", "gone");
        aws.inject(Fault.on("s3:GetBucketLifecycleConfiguration").always().error(403, "AccessDenied", "Access Denied"));
        var run = run();
        assertEquals(4, run.exitCode());
        assertTrue(
                messages(run)
                        .contains("goes when this object expires, and when is not known: AccessDenied: Access Denied"),
                messages(run));
        var days = run("--expire-after-days", "90");
        assertEquals(in(91), days.json().at("/findings/0/expires").asText());
        assertEquals(0, calls("s3:GetBucketLifecycleConfiguration"));
    }

    @Test
    void seesThatARepositoryWasRenamed() {
        var old = full(repository("old"));
        var renamed = repository("new");
        var id = ((ObjectNode) old.manifest.path("repository")).put("repositoryId", renamed.id);
        put(old.key, Backups.gzip(old.manifest));
        assertEquals(renamed.id, id.path("repositoryId").asText());
        record(old);
        aws.codecommit.deleteRepository("eu-west-1", "old");
        var run = run();
        assertFound(run, "old vanished " + old.bundle(0), "new missing ");
        assertTrue(messages(run).contains("is no longer in CodeCommit, but is named new;"), messages(run));
    }

    /** A repository that is made and backed up while the backups are listed has not vanished. */
    @Test
    void looksAgainForWhatSeemsToHaveVanished() {
        withoutCalls = true;
        var run = Gate.inStep(aws, call -> {
            if (!call.name().equals("codecommit:ListRepositories") || aws.codecommit.repository("late") != null) return;
            record(full(repository("late")), full(repository("other")));
        }, () -> Script.run(new VerifyBackups().commandLine(), "--bucket", "backups"));
        assertVerified(run);
        assertEquals(2, run.json().at("/totals/verified").asInt());
    }

    @Test
    void findsOrphansThatAreOlderThanADay() {
        var repo = repository("payments");
        var first = full(repo);
        var old = prefix("eu-west-1");
        aws.clock = Clock.offset(Clock.systemUTC(), Duration.ofDays(-2));
        var stem = old + "payments/" + TIME.format(time.minusSeconds(90)) + "-0badcafe";
        put(stem + ".full.bundle", new byte[10]);
        put(old + "payments/notes.txt", new byte[11]);
        put(old + "payments/", new byte[0]);
        put(old + "README", new byte[12]);
        put(old + "only/" + TIME.format(time) + "-0badcafe.incr.bundle", new byte[13]);
        aws.clock = Clock.systemUTC();
        put(old + "payments/" + TIME.format(time.minusSeconds(80)) + "-0badcafe.incr.bundle", new byte[10]);
        record(first);
        aws.codecommit.createRepository("only");
        var run = run();
        assertFound(run, "payments orphan " + stem.replaceAll(".*/", "") + ".full.bundle", "payments orphan notes.txt",
                "null orphan README",
                "only orphan " + TIME.format(time) + "-0badcafe.incr.bundle", "only missing ");
        assertTrue(messages(run).contains("is named by no manifest: 10 bytes of "), messages(run));
        assertTrue(messages(run).contains("is not of the backup's format: 11 bytes of "), messages(run));
        assertEquals(2, run.json().path("repositories").size(), "what lies beside them is no repository");
        assertFound(run("--repository-names", "payments"),
                "payments orphan " + stem.replaceAll(".*/", "") + ".full.bundle", "payments orphan notes.txt");
        // While a manifest cannot be read, it may name them.
        put(old + "payments/" + TIME.format(time.plusSeconds(5)) + "-00000000.manifest.json.gz", new byte[1]);
        assertFound(run("--repository-names", "payments"),
                "payments unreadable " + TIME.format(time.plusSeconds(5)) + "-00000000.manifest.json.gz");
    }

    /**
     * A bundle whose own manifest is gone, but that a later one's chain needs, is no orphan; neither is one whose
     * manifest need not be read.
     */
    @Test
    void whatALaterManifestNamesIsNoOrphan() {
        aws.clock = Clock.offset(Clock.systemUTC(), Duration.ofDays(-2));
        var repo = repository("payments");
        var first = full(repo);
        var second = incr(repo.commit("refs/heads/main", "a.txt", "second"), first);
        var third = full(repo);
        record(third);
        assertVerified(run());
        assertEquals(2, calls("s3:GetObject"), "one manifest");
        bucket.delete(first.key);
        assertVerified(run());
        assertEquals(3, calls("s3:GetObject"), "and the one that names it");
        bucket.delete(second.key);
        assertFound(run(), "payments orphan " + first.bundle(0), "payments orphan " + second.bundle(1));
        assertEquals(1, run("--all").json().at("/repositories/0/restorePoints").asInt());
    }

    // ---- Silent beside what looks like a finding

    /** Of each kind a backup in which nothing is wrong, but something near it is. */
    @ParameterizedTest
    @EnumSource(VerifyBackups.Kind.class)
    void staysSilentWhere(VerifyBackups.Kind kind) throws Exception {
        assertVerified(run(almost(kind)));
    }

    /** Makes it, and gives the options that it is verified with. */
    String[] almost(VerifyBackups.Kind kind) throws Exception {
        var repo = repository("payments");
        var first = full(repo);
        var options = new ArrayList<String>(List.of("--deep"));
        switch (kind) {
            case MISSING_OBJECT -> { // an older chain has lost its bundle, and a run of before names a lost manifest
                var before = full(repo);
                record(Instant.now().minusSeconds(60), "saved", before);
                record(full(repo));
                bucket.delete(before.manifest.at("/chain/0/key").asText());
                bucket.delete(before.key);
            }
            case SIZE -> { // of a bundle that only an older restore point needs
                record(full(repo));
                put(first.manifest.at("/chain/0/key").asText(), new byte[7]);
            }
            case CHECKSUM -> { // the line turns a bit, once
                record(first);
                aws.inject(Fault.on("s3:GetObject").after(1).flip(40));
            }
            case ARCHIVED -> { // a restored copy, a class that is none of an archive, and an older chain
                var second = incr(repo.commit("refs/heads/main", "a.txt", "second"), full(repo));
                record(second);
                archive(first.manifest.at("/chain/0/key").asText(), "GLACIER", null, null);
                archive(second.manifest.at("/chain/0/key").asText(), "DEEP_ARCHIVE",
                        "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\"", null);
                archive(second.manifest.at("/chain/1/key").asText(), "GLACIER_IR", null, null);
                archive(second.key, "INTELLIGENT_TIERING", null, null);
            }
            case UNREADABLE -> { // an older manifest, and what is young and no manifest
                record(full(repo));
                put(first.key, new byte[10]);
                put(first.stem() + ".manifest.json.gz.tmp", new byte[10]);
            }
            case FORMAT -> // members that later versions may add
                record(full(repo, manifest -> manifest.put("later", 2).withObject("/repository").put("format", 2)));
            case MANIFEST -> { // names that begin or match as another's, and nothing that need not be there
                var other = repository("pay.ments");
                record(full(repo, manifest -> manifest.without(List.of("objectFormat", "tool"))), full(other),
                        full(repository("payments-2")));
            }
            case NOT_CONNECTED -> { // a submodule's commit
                var tree = new ByteArrayOutputStream();
                tree.write("160000 sub\0".getBytes());
                ObjectId.fromString("1".repeat(40)).copyRawTo(tree);
                var commit = "tree " + insert(repo, Constants.OBJ_TREE, tree.toByteArray()) + "\nauthor Ada <a@b.c> "
                        + "1767225600 +0000\ncommitter Ada <a@b.c> 1767225600 +0000\n\nsub\n";
                repo.ref("refs/heads/sub", insert(repo, Constants.OBJ_COMMIT, commit.getBytes()));
                record(full(repo));
            }
            case REFS -> { // a bundle of before in which a branch stands elsewhere, and HEAD's own line
                var detached = repo.resolve("refs/heads/main~1").name();
                var refs = new TreeMap<>(refs(repo.commit("refs/heads/main", "a.txt", "second")));
                refs.put("refs/HEAD", detached);
                incr(repo, first, refs, manifest -> manifest.put("head", detached));
                var second = incr(repo, first, refs, manifest -> manifest.put("head", detached));
                repo.ref("refs/heads/main", "refs/heads/main~1");
                record(refsOnly(repo, second));
                options.add("--all");
            }
            case STALE -> { // quiet for long, and the last run failed, but one of late did not
                record(Instant.now().minus(Duration.ofDays(30)), "saved", first);
                record(Instant.now().minus(Duration.ofHours(25)), "unchanged", first);
                record(Instant.now().minus(Duration.ofHours(1)), "failed", first);
            }
            case MISSING -> { // without a commit, and one that nobody wants to be verified
                record(first, point(aws.codecommit.createRepository("empty"), JSON.createArrayNode(), null, null,
                        manifest -> { }));
                repository("excluded");
                options.addAll(List.of("--exclude", "excl*"));
            }
            case VANISHED -> { // deleted and created anew, and saved since
                aws.codecommit.deleteRepository("eu-west-1", "payments");
                record(full(repository("payments")));
            }
            case ORPHAN -> { // two days old: named by a later manifest alone; and what a run may be writing right now
                bucket.keys().forEach(bucket::delete);
                aws.clock = Clock.offset(Clock.systemUTC(), Duration.ofDays(-2));
                var old = full(repo);
                record(incr(repo.commit("refs/heads/main", "a.txt", "second"), old));
                aws.clock = Clock.systemUTC();
                bucket.delete(old.key);
                put(prefix(region) + "payments/" + TIME.format(time.plusSeconds(1)) + "-0badcafe.full.bundle",
                        new byte[10]);
            }
        }
        return options.toArray(String[]::new);
    }

    // ---- Access

    @Test
    void aReadersAccessIsEnough() {
        var made = full(repository("payments"));
        record(made);
        var theirs = aws.s3.createBucket("theirs", "us-west-2", "444455556666");
        bucket.keys().forEach(key -> theirs.put(key, bucket.get(key)));
        theirs.policy("""
                {"Statement": [
                  {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:ListBucket",
                   "Resource": "%1$s", "Condition": {"StringLike": {"s3:prefix": "projects/*"}}},
                  {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:GetObject",
                   "Resource": "%1$s/*"}]}"""
                .formatted(theirs.arn()));
        aws.inject(Fault.on("codecommit:ListRepositories").error(400, "AccessDeniedException",
                "not authorized to perform: codecommit:ListRepositories"));
        var run = run("--bucket", "theirs", "--deep", "--expected-bucket-owner", "444455556666");
        assertEquals(2, run.exitCode(), "the option twice");
        run = Script.run(new VerifyBackups().commandLine(), "--bucket", "theirs", "--deep", "--expected-bucket-owner",
                "444455556666");
        assertVerified(run);
        assertTrue(run.json().path("codecommit").asText()
                .startsWith("not compared: AccessDeniedException: not authorized"), run.out());
        assertTrue(run.err().contains("missing and vanished repositories are not looked for: AccessDeniedException"),
                run.err());
        var wrong = Script.run(new VerifyBackups().commandLine(), "--bucket", "theirs", "--expected-bucket-owner",
                "999988887777");
        assertEquals(1, wrong.exitCode());
        assertEquals("", wrong.out());
        assertTrue(wrong.err().contains("AccessDenied"), wrong.err());
    }

    @Test
    void verifiesAnotherAccountsBackups() {
        repository("never");
        var repo = repository("payments");
        var made = full(repo, manifest -> ((ObjectNode) manifest.path("repository")).put("arn",
                "arn:aws:codecommit:eu-west-1:999988887777:payments"));
        var json = made.manifest.toString().replace("111122223333", "999988887777");
        for (var key : bucket.keys()) {
            put(key.replace("111122223333", "999988887777"),
                    key.endsWith(".bundle") ? bucket.get(key) : Backups.gzip(parse(json)));
        }
        var run = run("--account", "999988887777");
        assertFound(run, "payments stale ");
        assertEquals("999988887777", run.json().path("account").asText());
        assertEquals("not compared: the credentials are of account 111122223333, the backups of 999988887777",
                run.json().path("codecommit").asText());
        assertEquals(0, calls("codecommit:ListRepositories"));
    }

    static JsonNode parse(String json) {
        try {
            return JSON.readTree(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"cn-north-1", "us-gov-west-1"})
    void worksInOtherPartitions(String other) {
        region = other;
        var repo = repository("payments");
        assertTrue(repo.arn.matches("arn:aws-(cn|us-gov):codecommit:.*"));
        record(full(repo));
        assertVerified(run("--region", other, "--deep"));
        assertEquals(1, run("--region", "eu-west-1", "--no-codecommit").exitCode());
    }

    // ---- Exit codes and faults

    @Test
    void failsWhenItCannotLook() {
        record(full(repository("payments")));
        for (var call : List.of("s3:ListObjectsV2", "codecommit:ListRepositories")) {
            aws.clearFaults();
            aws.inject(Fault.on(call).always().serverError());
            assertFails(run(), "InternalFailure");
        }
        for (var fault : List.of(Fault.on("codecommit:ListRepositories").always().serverError(),
                Fault.on("codecommit:ListRepositories").always().loseAnswer(),
                Fault.on("codecommit:ListRepositories").always().error(400, "EncryptionKeyDisabledException", "off"))) {
            aws.clearFaults();
            aws.inject(fault);
            assertFails(run(), "; --no-codecommit verifies the backups without it");
            assertVerified(run("--no-codecommit"));
        }
        aws.clearFaults();
        aws.inject(Fault.on("s3:ListObjectsV2").after(1).always().error(403, "AccessDenied", "Access Denied"));
        assertFails(run(), "s3://backups/projects/codecommit-backup/111122223333: AccessDenied");
        aws.clearFaults();
        aws.inject(Fault.on("s3:HeadObject").always().serverError());
        var all = run();
        assertEquals(1, all.exitCode(), "no repository could be checked");
        aws.clearFaults();
        assertFails(run("--prefix", "elsewhere", "--no-codecommit"),
                "nothing is backed up in eu-west-1; check --prefix, --account, --region and --repository-names");
        assertFails(run("--print", "/totals/nothing"), "the result has nothing at /totals/nothing");
        aws.codecommit.deleteRepository("eu-west-1", "payments");
        var nothing = run("--prefix", "elsewhere");
        assertVerified(nothing);
        assertEquals(0, nothing.json().path("repositories").size(), "CodeCommit says that there is none");
    }

    static void assertFails(Script.Run run, String saying) {
        assertEquals(1, run.exitCode(), run.out() + run.err());
        assertEquals("", run.out());
        assertTrue(run.err().lines().reduce((a, b) -> b).orElse("").contains(saying), run.err());
    }

    /** A manifest beside the repositories is read as theirs are. */
    @Test
    void whatCannotBeCheckedBesideTheRepositoriesIsCounted() {
        record(full(repository("payments")));
        put("projects/codecommit-backup/111122223333/eu-west-1/20260101T000000000Z-00000000.manifest.json.gz",
                new byte[10]);
        aws.inject(Fault.on("s3:GetObject").error(403, "AccessDenied", "Access Denied"));
        var run = run("--jobs", "1");
        assertEquals(3, run.exitCode(), run.out() + run.err());
        assertEquals("incomplete", run.status());
        assertTrue(run.json().path("error").asText().startsWith("AccessDenied: "), run.out());
        assertTrue(run.err().contains("verify-backups: beside the repositories: AccessDenied: "), run.err());
        assertEquals(List.of("verified"), run.json().path("repositories").findValuesAsText("status"));
    }

    /** What a shell may ask for by --print: there, and null if there is none. */
    @Test
    void theResultHasEveryMember() {
        record(full(repository("payments")));
        aws.codecommit.createRepository("new");
        var run = run();
        assertFound(run, "new missing ");
        assertEquals(List.of("status", "account", "region", "bucket", "prefix", "deep", "codecommit", "totals",
                "repositories", "findings"), run.json().propertyStream().map(Map.Entry::getKey).toList());
        assertEquals(List.of("repositoryName", "status", "newest", "restorePoints", "damaged", "objects", "bytes",
                "seconds"), run.json().at("/repositories/0").propertyStream().map(Map.Entry::getKey).toList());
        assertEquals(List.of("repositoryName", "kind", "key", "message", "expires"),
                run.json().at("/findings/0").propertyStream().map(Map.Entry::getKey).toList());
        assertTrue(run.json().at("/findings/0/expires").isNull() && run.json().at("/repositories/0/newest").isNull(),
                run.out());
    }

    @Test
    void oneBadRepositoryDoesNotStopTheOthers() {
        var bad = full(repository("bad"));
        var lost = full(repository("lost"));
        record(bad, lost, full(repository("good")));
        bucket.delete(lost.manifest.at("/chain/0/key").asText());
        aws.inject(Fault.on("s3:HeadObject").error(403, "AccessDenied", "Access Denied"));
        var run = run("--jobs", "1");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals("incomplete", run.status());
        var repositories = run.json().path("repositories").valueStream()
                .map(r -> r.path("repositoryName").asText() + " " + r.path("status").asText());
        assertEquals(List.of("bad failed", "good verified", "lost findings"), repositories.toList());
        assertEquals(List.of("lost missing-object " + lost.bundle(0)), findings(run));
        var saying = bad.manifest.at("/chain/0/key").asText()
                + ": Forbidden: this needs s3:GetObject, and kms:Decrypt on the bucket's key (request id ";
        assertTrue(run.err().contains("verify-backups: bad: " + saying), run.err());
        assertTrue(run.json().at("/repositories/0/error").asText().startsWith(saying), run.out());
    }

    @ParameterizedTest
    @ValueSource(strings = {"s3:ListObjectsV2", "s3:HeadObject", "s3:GetObject", "codecommit:ListRepositories",
            "s3:GetBucketLifecycleConfiguration"})
    void survivesThrottlingServerErrorsAndLostAnswers(String call) {
        record(chain(repository("payments"), manifest -> { }), full(repository("gone")));
        aws.codecommit.deleteRepository("eu-west-1", "gone");
        var expected = findings(run("--deep"));
        for (var fault : List.of(Fault.on(call).throttle(), Fault.on(call).serverError(), Fault.on(call).loseAnswer(),
                Fault.on(call).after(1).throttle(),
                Fault.on(call).cut(30), Fault.on(call).after(2).cut(200))) {
            aws.clearFaults();
            aws.inject(fault);
            var run = run("--deep");
            assertEquals(4, run.exitCode(), run.err());
            assertEquals(expected, findings(run));
            assertEquals(2, run.json().at("/totals/findings").asInt() + run.json().at("/totals/verified").asInt());
        }
    }

    @Test
    void aBadLineIsNoDamage() {
        var made = chain(repository("payments"), manifest -> { });
        record(made);
        for (var after = 0; after < 5; after++) {
            for (var fault : List.of(Fault.on("s3:GetObject").after(after).flip(40),
                    Fault.on("s3:GetObject").after(after).times(2).cut(50))) {
                aws.clearFaults();
                aws.inject(fault);
                assertVerified(run("--deep"));
            }
        }
        aws.clearFaults();
        aws.inject(Fault.on("s3:GetObject").after(1).always().cut(50));
        var cut = run("--deep");
        assertEquals(1, cut.exitCode());
        assertTrue(cut.err().contains(made.bundle(0) + ": ") && cut.err().contains("cut after"), cut.err());
    }

    @Test
    void followsPagesAndListsEverythingJustOnce() {
        aws.s3.pageSize = 7;
        aws.codecommit.repositoriesPerPage = 5;
        var made = new ArrayList<Made>();
        for (var i = 0; i < 12; i++) {
            var repo = repository("repo-" + i);
            var first = full(repo);
            made.add(i % 3 == 0 ? incr(repo.commit("refs/heads/main", "a", "b"), first) : first);
        }
        record(made.toArray(Made[]::new));
        var run = run();
        assertVerified(run);
        assertEquals(12, run.json().at("/totals/verified").asInt());
        var keys = bucket.keys().stream().filter(key -> key.contains("/eu-west-1/repo-")).count();
        assertEquals(32, keys);
        assertEquals(Map.of("sts:GetCallerIdentity", 1L, "codecommit:ListRepositories", 3L, "s3:ListObjectsV2",
                1 + (keys + 6) / 7,
                        "s3:GetObject", 13L, "s3:HeadObject", 16L),
                aws.calls().stream().collect(Collectors.groupingBy(Call::name, Collectors.counting())));
        assertVerified(run("--repository-names", "repo-1", "repo-11"));
        assertEquals(List.of("runs/eu-west-1/", "eu-west-1/repo-1"), listed());
        assertEquals(2, calls("s3:HeadObject"));
        assertVerified(run("--repository-names", "repo-1"));
        assertEquals(List.of("runs/eu-west-1/", "eu-west-1/repo-1/"), listed());
        run("--repository-names", "repo-1*0", "re*");
        assertEquals("eu-west-1/re", listed().get(1));
    }

    /** The prefixes that were listed. */
    List<String> listed() {
        return aws.calls().stream().filter(call -> call.name().equals("s3:ListObjectsV2"))
                .map(call -> call.input().path("Prefix").asText())
                .map(listed -> listed.replace("projects/codecommit-backup/111122223333/", "")).toList();
    }

    @ParameterizedTest
    @ValueSource(strings = {"INT", "TERM"})
    void leavesNothingBehindWhenInterrupted(String signal) throws Exception {
        record(chain(repository("payments"), manifest -> { }));
        aws.inject(Fault.on("s3:GetObject").after(3).stall(60, Duration.ofHours(1)));
        var directory = Files.createTempDirectory("verify-test-");
        var command = new ArrayList<>(Script.withDefaultSignals());
        command.addAll(Script.java(List.of("-Djava.io.tmpdir=" + directory), "VerifyBackups", "--bucket", "backups",
                "--deep"));
        var builder = new ProcessBuilder(command);
        var process = Script.within(aws, builder).redirectError(ProcessBuilder.Redirect.DISCARD).start();
        try {
            Wait.until(() -> !list(directory).isEmpty() || !process.isAlive(), () -> "it downloads nothing");
            assertEquals(1, list(directory).size());
            assertEquals(0, new ProcessBuilder("kill", "-" + signal, String.valueOf(process.pid())).start().waitFor());
            assertEquals(signal.equals("INT") ? 130 : 143, Wait.forEnd(process, () -> "it takes no signal"));
            assertEquals("", new String(process.getInputStream().readAllBytes()));
            assertEquals(List.of(), list(directory));
        } finally {
            process.destroyForcibly();
            Directories.delete(directory);
        }
    }

    /** git that is stopped takes along what it has started, which would go on writing. */
    @Test
    void leavesNoProcessBehindWhenInterrupted() throws Exception {
        record(full(repository("payments")));
        var path = Files.createDirectory(directory.resolve("path"));
        var git = Files.writeString(path.resolve("git"),
                "#!/bin/sh\nPATH=${PATH#*:}\nsleep 36000 &\necho $! >\"" + directory + "/started.new\"\n"
                        + "mv \"" + directory + "/started.new\" \"" + directory + "/started\"\nwait\n");
        assertTrue(git.toFile().setExecutable(true));
        var command = new ArrayList<>(Script.withDefaultSignals());
        command.addAll(Script.java(List.of("-Djava.io.tmpdir=" + directory), "VerifyBackups", "--bucket", "backups",
                "--deep"));
        var builder = Script.within(aws, new ProcessBuilder(command));
        builder.environment().merge("PATH", path + ":", (those, first) -> first + those);
        var process = builder.redirectError(ProcessBuilder.Redirect.DISCARD).start();
        var started = directory.resolve("started");
        Wait.until(() -> Files.exists(started) || !process.isAlive(), () -> "it starts no git");
        var sleep = ProcessHandle.of(Long.parseLong(Files.readString(started).strip())).orElseThrow();
        process.destroy();
        assertEquals(143, Wait.forEnd(process, () -> "it takes no signal"));
        assertFalse(sleep.isAlive());
        assertEquals(List.of(), list(directory));
    }

    /** A row for each finding, also for what belongs to no repository, and for each repository without one. */
    @Test
    void printsFindingsAsATableAndAsCsv() {
        var orders = full(repository("orders"));
        var payments = full(repository("payments"));
        repository("missing");
        record(orders);
        bucket.delete(payments.stem() + ".full.bundle");
        put(prefix("runs/" + region) + TIME.format(Instant.now().minusSeconds(60)) + "-0123abcd.json.gz",
                "no gzip".getBytes(StandardCharsets.UTF_8));
        record(Instant.now().minus(Duration.ofHours(1)), "failed", orders);
        var table = run("--output", "table");
        assertEquals(4, table.exitCode(), table.err());
        var lines = table.out().lines().toList();
        assertEquals(List.of("repositoryName", "status", "newest", "restorePoints", "damaged", "bytes", "finding"),
                List.of(lines.get(0).split(" +")));
        assertTrue(table.err().contains("\nverify-backups: findings: 3 repositories, "), table.err());
        var csv = run("--output", "csv");
        assertEquals(4, csv.exitCode(), csv.err());
        var document = run().json();
        var rows = ListsForPeopleTest.readCsv(csv.out());
        var at = Stream.of("repositoryName", "finding", "key", "message").map(rows.get(0)::indexOf).toList();
        var found = rows.stream().skip(1).filter(row -> !row.get(at.get(1)).isEmpty())
                .map(row -> at.stream().map(row::get).toList()).collect(Collectors.toSet());
        assertEquals(document.path("findings").valueStream().map(finding -> Stream.of("repositoryName", "kind", "key",
                "message").map(name -> finding.hasNonNull(name) ? finding.path(name).asText() : "").toList())
                .collect(Collectors.toSet()), found);
        assertEquals(lines.size(), rows.size());
        assertTrue(found.stream().anyMatch(row -> row.get(0).isEmpty()), "of the run record: " + found);
        assertEquals(1, rows.stream().filter(row -> row.get(0).equals("orders")).count(), "which has no finding");
    }

    @Test
    void anInterruptionTakesTheProgressAway() {
        var script = new VerifyBackups();
        script.terminal = true;
        var err = new StringWriter();
        script.commandLine().setErr(new PrintWriter(err, true));
        script.stop();
        assertEquals("\r\033[K", err.toString());
    }

    static List<Path> list(Path directory) {
        try (var files = Files.list(directory)) {
            return files.filter(file -> file.getFileName().toString().startsWith("verify-backups-")).toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--all; --bucket=NAME",
            "--bucket|My_Bucket; such as my-backups",
            "--bucket|s3://b; such as my-backups",
            "--bucket=; such as my-backups",
            "--bucket|ab; such as my-backups",
            "--bucket|b-1|--prefix|/a; such as projects/codecommit-backup",
            "--bucket|b-1|--prefix|a/; such as projects/codecommit-backup",
            "--bucket|b-1|--prefix|a//b; such as projects/codecommit-backup",
            "--bucket|b-1|--prefix|a/../b; such as projects/codecommit-backup",
            "--bucket|b-1|--prefix=; such as projects/codecommit-backup",
            "--bucket|b-1|--account|123; such as 444455556666",
            "--bucket|b-1|--account|my-account; such as 444455556666",
            "--bucket|b-1|--repository-names|a/b; such as 'team-*'",
            "--bucket|b-1|--repository-names|[ab]; such as 'team-*'",
            "--bucket|b-1|--repository-names; --repository-names",
            "--bucket|b-1|--exclude|a b; such as 'team-*'",
            "--bucket|b-1|--max-age|26; such as 26h",
            "--bucket|b-1|--max-age|0h; such as 26h",
            "--bucket|b-1|--max-age|1w; such as 26h",
            "--bucket|b-1|--max-age|-1h; such as 26h",
            "--bucket|b-1|--expire-after-days|0; such as 365",
            "--bucket|b-1|--expire-after-days|-5; such as 365",
            "--bucket|b-1|--expire-after-days|year; --expire-after-days",
            "--bucket|b-1|--jobs|0; such as 4",
            "--bucket|b-1|--jobs|65; such as 4",
            "--bucket|b-1|--jobs|many; --jobs",
            "--bucket|b-1|--expected-bucket-owner|me; such as 444455556666",
            "--bucket|b-1|--region|Ireland; eu-west-1",
            "--bucket|b-1|--print|status; /status",
            "--bucket|b-1|--dry-run; --dry-run",
            "--bucket|b-1|--deap; --deep",
            "--bucket|b-1|surplus; surplus",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        Script.assertRefused(Script.run(new VerifyBackups().commandLine(), arguments.split("\\|")), right, aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("VerifyBackups", ALL, Set.of("kms:Decrypt"));
    }
}
