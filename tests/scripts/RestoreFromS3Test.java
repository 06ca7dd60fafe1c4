import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.DeflaterOutputStream;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLHandshakeException;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.LocalAws;
import localaws.S3;
import org.eclipse.jgit.errors.RemoteRepositoryException;
import org.eclipse.jgit.errors.TransportException;
import org.eclipse.jgit.lib.NullProgressMonitor;
import org.eclipse.jgit.lib.ObjectId;
import org.eclipse.jgit.lib.Repository;
import org.eclipse.jgit.revwalk.RevWalk;
import org.eclipse.jgit.transport.BundleWriter;
import org.eclipse.jgit.transport.Transport;
import org.eclipse.jgit.transport.URIish;
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
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;

/**
 * Restores of backups that were made by hand here, in the format of backup-to-s3: chains of increments, odd refs,
 * settings; and what goes wrong.
 */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class RestoreFromS3Test {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String ROOT = "projects/codecommit-backup/111122223333/eu-west-1/";
    static final Instant NIGHT = Instant.parse("2026-11-21T04:00:00.123456Z");
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    @TempDir
    Path home;
    LocalAws aws;
    S3.Bucket bucket;
    String git = "git";
    Consumer<RestoreFromS3> with = script -> { };
    /** For faults that do not pass. */
    static final Consumer<RestoreFromS3> IMPATIENT = script -> script.linePatience = Duration.ZERO;

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        bucket = aws.s3.createBucket("backups", "eu-west-1");
        aws.kms.createAlias("eu-west-1", "alias/codecommit", aws.kms.createKey("eu-west-1"));
        aws.onCall(ALL::add);
        Script.use(aws);
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    // Backups

    /** Saves a repository as it is; with a base as an increment to that manifest. Gives the manifest's key. */
    String save(CodeCommit.Repo repository, String base, Instant time) {
        return save(repository, base, time, manifest -> { });
    }

    String save(CodeCommit.Repo repository, String base, Instant time, Consumer<ObjectNode> change) {
        var local = repository.git();
        var before = base == null ? JSON.createObjectNode() : manifest(base);
        var known = new HashSet<String>();
        before.path("refs").forEach(id -> known.add(id.asText()));
        var document = JSON.createObjectNode().put("format", 1).put("tool", "codecommit-toolkit 0.1.0")
                .put("time", time.toString()).put("objectFormat", "sha1");
        document.putObject("repository").put("repositoryId", repository.id).put("repositoryName", repository.name)
                .put("arn", repository.arn);
        document.put("head", repository.defaultBranch() == null ? null : "refs/heads/" + repository.defaultBranch());
        var chain = document.putArray("chain");
        before.path("chain").forEach(chain::add);
        var stem = ROOT + repository.name + "/" + RestoreFromS3.KEY_TIME.format(time) + "-"
                + HexFormat.of().toHexDigits(new Random().nextInt());
        try (var walk = new RevWalk(local)) {
            var writer = new BundleWriter(local);
            var news = 0;
            for (var ref : local.getRefDatabase().getRefsByPrefix("refs/")) {
                document.withObject("/refs").put(ref.getName(), ref.getObjectId().name());
                if (known.contains(ref.getObjectId().name())) continue;
                writer.include(ref.getName(), ref.getObjectId());
                news++;
            }
            for (var ref : before.path("refs").properties()) {
                if (ref.getKey().startsWith("refs/heads/")) {
                    writer.assume(walk.parseCommit(ObjectId.fromString(ref.getValue().asText())));
                }
            }
            if (news > 0) {
                var bytes = new ByteArrayOutputStream();
                writer.writeBundle(NullProgressMonitor.INSTANCE, bytes);
                var kind = base == null ? "full" : "incr";
                var objects = ByteBuffer.wrap(bytes.toByteArray())
                        .getInt(bytes.toString(StandardCharsets.ISO_8859_1).indexOf("\n\nPACK") + 10);
                if (objects > 0) {
                    chain.add(object(stem + "." + kind + ".bundle", bytes.toByteArray()).put("kind", kind)
                            .put("objects", objects));
                }
            }
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
        if (!document.has("refs")) document.putObject("refs");
        change.accept(document);
        bucket.put(stem + ".manifest.json.gz", Backups.gzip(document));
        return stem + ".manifest.json.gz";
    }

    /** Puts an object, and says of it what a manifest does. */
    ObjectNode object(String key, byte[] bytes) {
        bucket.put(key, bytes);
        return JSON.createObjectNode().put("key", key).put("size", bytes.length)
                .put("sha256", Backups.sha("SHA-256", bytes)).put("crc32", Backups.crc32(bytes));
    }

    ObjectNode manifest(String key) {
        return Backups.document(bucket, key);
    }

    String bundle(String manifest, int index) {
        return manifest(manifest).at("/chain/" + index + "/key").asText();
    }

    /** A small repository with settings, saved once. */
    String payments() {
        var payments = aws.codecommit.createRepository("payments").commit("refs/heads/main", "a", "1")
                .commit("refs/heads/main", "b", "2").commit("refs/heads/topic", "c", "3")
                .annotatedTag("v1", "refs/heads/main");
        return save(payments, null, NIGHT, manifest -> manifest.set("settings", settings()));
    }

    ObjectNode settings() {
        var settings = JSON.createObjectNode().put("repositoryDescription", "pays, and \"more\"")
                .put("defaultBranch", "main").put("kmsKeyId", aws.kms.find("alias/codecommit", "eu-west-1").arn);
        settings.putObject("tags").put("Team", "Payments").put("Cost centre", "1 2");
        settings.putArray("triggers").addObject().put("name", "tell")
                .put("destinationArn", "arn:aws:sns:eu-west-1:111122223333:topic").put("customData", "")
                .<ObjectNode>set("branches", JSON.createArrayNode()).putArray("events").add("all");
        settings.putArray("approvalRuleTemplates").addObject().put("approvalRuleTemplateName", "two of them")
                .put("approvalRuleTemplateDescription", "why")
                .put("approvalRuleTemplateContent",
                        "{\"Version\": \"2018-11-08\", \"Statements\": [{\"Type\": \"Approvers\", "
                                + "\"NumberOfApprovalsNeeded\": 2}]}");
        return settings;
    }

    // Runs

    Script.Run restore(String... args) {
        var script = new RestoreFromS3();
        script.git = git;
        with.accept(script);
        return Script.run(script.commandLine(),
                Stream.concat(Stream.of("--bucket", "backups"), Stream.of(args)).toArray(String[]::new));
    }

    Script.Run toDirectory(String manifest, String name) {
        return restore("--manifest", manifest, "--directory", home.resolve(name).toString());
    }

    static Script.Run ok(Script.Run run) {
        assertEquals(0, run.exitCode(), run.err());
        return run;
    }

    static Script.Run failed(Script.Run run, String... says) {
        assertEquals(1, run.exitCode(), run.err() + run.out());
        assertEquals("", run.out());
        var last = run.err().lines().reduce("", (a, b) -> b);
        for (var text : says) assertTrue(last.contains(text), "'" + text + "' in " + last);
        return run;
    }

    static Map<String, String> refs(JsonNode manifest) {
        return manifest.path("refs").properties().stream().collect(
                Collectors.toMap(Map.Entry::getKey, ref -> ref.getValue().asText(), (a, b) -> a, TreeMap::new));
    }

    void assertRestored(String manifest, Path repository) throws Exception {
        assertEquals(refs(manifest(manifest)), Git.refs(repository));
        var head = manifest(manifest).path("head").asText("refs/heads/main");
        assertEquals((head.startsWith("refs/") ? "ref: " : "") + head + "\n",
                Files.readString(repository.resolve("HEAD")));
        var fsck = Git.run(repository, "fsck", "--strict", "--full");
        assertTrue(fsck.lines().allMatch(
                line -> line.startsWith("notice: ") || line.startsWith("dangling ") || line.startsWith("Checking ")),
                fsck);
        assertEquals(Set.of("HEAD", "config", "objects", "packed-refs", "refs"),
                Set.copyOf(RestoreFromS3.entries(repository)));
    }

    void assertRestored(String manifest, CodeCommit.Repo repository) throws Exception {
        assertEquals(refs(manifest(manifest)), Git.refs(repository.directory()));
        Git.run(repository.directory(), "fsck", "--strict", "--full");
    }

    List<String> names(String prefix) {
        return aws.calls().stream().map(Call::name).filter(name -> name.startsWith(prefix)).toList();
    }

    /** What the system's temporary directory has of this script's. */
    static Set<String> leftovers() {
        return RestoreFromS3.entries(Path.of(System.getProperty("java.io.tmpdir"))).stream()
                .filter(name -> name.startsWith("restore-from-s3-")).collect(Collectors.toSet());
    }

    // Directories

    static List<String> readers() {
        return List.of("git", "no git here");
    }

    /** Four nights of a repository whose refs are as odd as Git allows. */
    List<String> oddNights() {
        var repository = aws.codecommit.createRepository("odd").commit("refs/heads/main", "dir/a", "1\n".repeat(2000))
                .commit("refs/heads/main", "b", "2")
                .commit("refs/heads/ümlaut/日本語", "c", "3").commit("refs/heads/it's-\"quoted\"&$(x)`y`;<z>", "d", "4")
                .commit("refs/heads/gone", "e", "5").commit("refs/heads/flat", "f", "6")
                .ref("refs/tags/blob", "refs/heads/main:b").ref("refs/tags/tree", "refs/heads/main:dir")
                .annotatedTag("v1", "refs/heads/main").annotatedTag("of-a-tag", "refs/tags/v1")
                .ref("refs/notes/commits", "refs/heads/gone").ref("refs/tags/\uFF5E", "refs/heads/main")
                .ref("refs/tags/\uD83D\uDE00", "refs/heads/main");
        var nights = new ArrayList<String>();
        nights.add(save(repository, null, NIGHT));
        repository.commit("refs/heads/main", "dir/a", "1\n".repeat(2000) + "more\n");
        SampleRepositories.deleteRefs(repository, "refs/heads/gone|refs/heads/flat|refs/notes/commits")
                .ref("refs/heads/flat/now-a-folder", "refs/heads/main").ref("refs/tags/blob2", "refs/heads/main:dir/a");
        nights.add(save(repository, nights.get(0), NIGHT.plusSeconds(86_400)));
        repository.ref("refs/heads/old", "refs/heads/main~2");
        nights.add(save(repository, nights.get(1), NIGHT.plusSeconds(2 * 86_400)));
        repository.ref("refs/heads/main", "refs/heads/main~2").commit("refs/heads/main", "g", "7").annotatedTag("v2",
                "refs/heads/main");
        nights.add(save(repository, nights.get(2), NIGHT.plusSeconds(3 * 86_400)));
        assertEquals(List.of(1, 2, 2, 3), nights.stream().map(key -> manifest(key).path("chain").size()).toList());
        return nights;
    }

    /** Two names that are not UTF-8, as backup-to-s3 saves them. */
    String rawNames() {
        var repository = aws.codecommit.createRepository("raw").commit("refs/heads/main", "a", "1")
                .commit("refs/heads/main", "a", "2");
        return save(repository, null, NIGHT, m -> {
            var refs = m.withObject("/refs").put("refs/heads/caf%e9", repository.resolve("refs/heads/main~1").name());
            refs.put("refs/tags/%ff", refs.path("refs/heads/main").asText());
            m.withObject("/rawNames").put("refs/heads/caf%e9", hex("refs/heads/caf\u00e9"))
                    .put("refs/tags/%ff", hex("refs/tags/\u00ff"));
        });
    }

    static String hex(String latin1) {
        return HexFormat.of().formatHex(latin1.getBytes(StandardCharsets.ISO_8859_1));
    }

    @ParameterizedTest
    @MethodSource("readers")
    void restoresNamesThatAreNotUtf8(String reader) throws Exception {
        git = reader;
        var rawNames = rawNames();
        ok(toDirectory(rawNames, "raw"));
        var packed = new String(Files.readAllBytes(home.resolve("raw/packed-refs")), StandardCharsets.ISO_8859_1);
        assertEquals(List.of("refs/heads/caf\u00e9", "refs/heads/main", "refs/tags/\u00ff"),
                packed.lines().skip(1).map(line -> line.substring(41)).toList());
        assertEquals(3, Git.run(home.resolve("raw"), "for-each-ref").lines().count());
        assertEquals("", Git.fsck(home.resolve("raw")));
        assertEquals("unchanged", ok(toDirectory(rawNames, "raw")).status());
        var damaged = save(aws.codecommit.repository("raw"), null, NIGHT.plusSeconds(1),
                m -> m.withObject("/rawNames").put("refs/heads/main", hex("refs/heads/a\nb")));
        failed(toDirectory(damaged, "damaged"), "is damaged: the ref name ");
    }

    @ParameterizedTest
    @MethodSource("readers")
    void restoresEveryNightRefByRef(String reader) throws Exception {
        git = reader;
        var nights = oddNights();
        for (var i = 0; i < nights.size(); i++) {
            var run = ok(toDirectory(nights.get(i), "night" + i));
            assertRestored(nights.get(i), home.resolve("night" + i));
            assertEquals("created", run.status());
            assertEquals(home.resolve("night" + i).toString(), run.json().path("directory").asText());
            assertEquals(manifest(nights.get(i)).path("refs").size(), run.json().path("refs").asInt());
            assertEquals(nights.get(i), run.json().at("/restorePoint/manifest").asText());
        }
        assertFalse(Git.refs(home.resolve("night1")).containsKey("refs/heads/gone"), "deleted branches stay deleted");
        Script.assertReadsOnly(aws);
        assertEquals(Set.of(), leftovers());
    }

    @Test
    void theResultIsTheSameWithAndWithoutGit() throws Exception {
        var nights = oddNights();
        for (var reader : readers()) {
            git = reader;
            ok(toDirectory(nights.get(3), reader));
        }
        for (var file : List.of("HEAD", "config", "packed-refs")) {
            assertEquals(Files.readString(home.resolve("git").resolve(file)),
                    Files.readString(home.resolve("no git here").resolve(file)));
        }
        assertEquals(Git.run(home.resolve("git"), "rev-list", "--objects", "--all"),
                Git.run(home.resolve("no git here"), "rev-list", "--objects", "--all"));
        assertEquals(Git.run(home.resolve("git"), "clone", "--quiet", home.resolve("git").toString(),
                home.resolve("clone").toString()), "");
    }

    @ParameterizedTest
    @MethodSource("readers")
    void restoresHeadAsItWas(String reader) throws Exception {
        git = reader;
        var repository = aws.codecommit.createRepository("heads").commit("refs/heads/main", "a", "1")
                .commit("refs/heads/main", "a", "2");
        var detached = save(repository, null, NIGHT,
                m -> m.put("head", repository.resolve("refs/heads/main~1").name()));
        var unborn = save(repository, null, NIGHT, m -> m.put("head", "refs/heads/not-yet"));
        var lost = save(repository, null, NIGHT, m -> m.put("head", "1234567890123456789012345678901234567890"));
        failed(toDirectory(lost, "lost"), lost + ": its bundles lack objects of its refs: ", "1234567890");
        var none = save(repository, null, NIGHT, m -> m.putNull("head"));
        var empty = save(aws.codecommit.createRepository("empty"), null, NIGHT);
        for (var point : List.of(detached, unborn, none, empty)) {
            var name = "r" + List.of(detached, unborn, none, empty).indexOf(point);
            assertEquals("created", ok(toDirectory(point, name)).status());
            assertRestored(point, home.resolve(name));
            assertEquals("unchanged", ok(toDirectory(point, name)).status());
        }
    }

    @ParameterizedTest
    @MethodSource("readers")
    void aSecondRunLeavesTheDirectoryAndAnotherIsRefused(String reader) throws Exception {
        git = reader;
        var nights = oddNights();
        Files.createDirectory(home.resolve("r"));
        ok(toDirectory(nights.get(1), "r"));
        var before = Files.getLastModifiedTime(home.resolve("r/packed-refs"));
        aws.clearCalls();
        var second = ok(toDirectory(nights.get(1), "r"));
        assertEquals("unchanged", second.status());
        assertEquals(0, second.json().path("changes").size());
        assertFalse(names("s3:").contains("s3:GetObject") && names("s3:GetObject").size() > 1,
                "just the manifest is read");
        assertEquals(before, Files.getLastModifiedTime(home.resolve("r/packed-refs")));
        failed(toDirectory(nights.get(2), "r"), "other refs", "refs/heads/old", "use a directory");
        assertRestored(nights.get(1), home.resolve("r"));
    }

    @Test
    void aDryRunMakesNothing() {
        var point = payments();
        var run = ok(restore("--manifest", point, "--directory", home.resolve("r").toString(), "--dry-run"));
        assertEquals("would-create", run.status());
        assertEquals("directory", run.json().at("/changes/0/field").asText());
        assertFalse(Files.exists(home.resolve("r")));
        assertEquals(List.of("s3:GetObject", "s3:HeadObject"), names("s3:"));
        run = ok(restore("--manifest", point, "--to-repository-name", "new", "--dry-run"));
        assertEquals("would-create", run.status());
        assertEquals(
                List.of("repository", "refs", "defaultBranch", "tags", "approvalRuleTemplate", "approvalRuleTemplates",
                        "triggers"),
                run.json().path("changes").valueStream().map(c -> c.path("field").asText()).toList());
        assertNull(aws.codecommit.repository("new"));
        Script.assertReadsOnly(aws);
    }

    // Which restore point

    @ParameterizedTest
    @ValueSource(strings = {"2026-11-20T23:00:00Z -", "2026-11-21T04:00:00.122Z -", "2026-11-21T04:00:00.123456Z 0",
            "2026-11-21T05:00:00.123+01:00 0", "2026-11-21 0", "2026-11-22T03:59:59Z 0", "2026-11-22 1", "2030-01-01 3",
            " 3"})
    void takesTheNewestThatIsNotAfterTheTime(String atAndNight) {
        var nights = oddNights();
        var at = atAndNight.split(" ")[0];
        var night = atAndNight.split(" ")[1];
        var args = new ArrayList<>(
                List.of("--repository-name", "odd", "--directory", home.resolve("r").toString(), "--dry-run"));
        if (!at.isEmpty()) args.addAll(List.of("--at", at));
        var run = restore(args.toArray(String[]::new));
        if (night.equals("-")) failed(run, "no restore point", "the oldest is of 2026-11-21T04:00:00.123Z");
        else assertEquals(nights.get(Integer.parseInt(night)), ok(run).json().at("/restorePoint/manifest").asText());
    }

    @Test
    void listsRestorePoints() {
        var nights = oddNights();
        var payments = payments();
        aws.s3.pageSize = 3;
        var all = ok(restore("--list")).json();
        assertEquals(List.of("odd", "payments"),
                all.path("repositories").valueStream().map(r -> r.path("repositoryName").asText()).toList());
        assertEquals(nights,
                all.at("/repositories/0/restorePoints").valueStream().map(p -> p.path("manifest").asText()).toList());
        var first = all.at("/repositories/1/restorePoints/0");
        assertEquals(payments, first.path("manifest").asText());
        assertEquals(NIGHT.toString(), first.path("time").asText());
        assertEquals(3, first.path("refs").asInt());
        assertEquals(bucket.size(bundle(payments, 0)), first.path("size").asLong());
        assertEquals("[\"full\",\"incr\",\"incr\"]", all.at("/repositories/0/restorePoints/3/kinds").toString());
        assertEquals(nights.get(1),
                ok(restore("--list", "--at", "2026-11-22", "--print", "/repositories/0/restorePoints/0/manifest")).out()
                        .strip());
        assertEquals("1",
                ok(restore("--list", "--at", "2026-11-22")).json().at("/repositories/0/restorePoints").size() + "");
        assertEquals(1, ok(restore("--list", "--repository-name", "payments")).json().path("repositories").size());
        bucket.put(payments, "{}".getBytes());
        var partly = restore("--list");
        assertEquals(3, partly.exitCode());
        assertTrue(partly.json().at("/repositories/1/restorePoints/0/error").asText().contains("is damaged"),
                partly.out());
        failed(restore("--list", "--repository-name", "absent"),
                "no restore point below s3://backups/" + ROOT + "absent/", "--backup-account");
        failed(restore("--repository-name", "absent", "--directory", home.resolve("r").toString()), "no restore point",
                "--list");
        failed(restore("--list", "--backup-region", "us-east-1"), "111122223333/us-east-1/");
        failed(restore("--list", "--backup-account", "444455556666", "--prefix", "p"),
                "s3://backups/p/444455556666/eu-west-1/");
        Script.assertReadsOnly(aws);
    }

    @Test
    void printsRestorePointsAsATableAndAsCsv() {
        var nights = oddNights();
        var payments = payments();
        bucket.put(payments, "{}".getBytes());
        var table = restore("--list", "--output", "table");
        assertEquals(3, table.exitCode(), table.err());
        var lines = table.out().lines().toList();
        assertEquals(List.of("repositoryName", "time", "refs", "size", "bundles", "head", "error"),
                List.of(lines.get(0).split(" +")));
        assertEquals(nights.size() + 2, lines.size(), table.out());
        assertTrue(table.err().endsWith("restore-from-s3: 2 repositories, " + (nights.size() + 1)
                + " restore points\n"), table.err());
        var rows = ListsForPeopleTest.readCsv(restore("--list", "--output", "csv").out());
        var key = rows.get(0).indexOf("manifest");
        assertEquals(Stream.concat(nights.stream(), Stream.of(payments)).toList(),
                rows.stream().skip(1).map(row -> row.get(key)).toList());
        assertEquals("full, incr, incr", rows.get(4).get(rows.get(0).indexOf("kinds")));
        failed(restore("--list", "--repository-name", "absent", "--output", "csv"), "no restore point");
    }

    // What is refused

    /** Three nights, one bundle each. */
    List<String> chain() {
        var repository = aws.codecommit.createRepository("chain").commit("refs/heads/main", "a", "1");
        var nights = new ArrayList<>(List.of(save(repository, null, NIGHT)));
        for (var i = 1; i < 3; i++) {
            nights.add(save(repository.commit("refs/heads/main", "a", "x" + i),
                    nights.get(i - 1), NIGHT.plusSeconds(86_400L * i)));
        }
        return nights;
    }

    @ParameterizedTest
    @MethodSource("readers")
    void aChainWithAMissingLinkIsRefusedAndTheNewestWholePointBeforeItIsNamed(String reader) throws Exception {
        git = reader;
        var nights = chain();
        var link = bundle(nights.get(2), 1);
        bucket.delete(link);
        failed(toDirectory(nights.get(2), "r"), "s3://backups/" + link + " is missing",
                "whole, by sizes and checksums: --manifest " + nights.get(0));
        failed(restore("--repository-name", "chain", "--to-repository-name", "new", "--kms-key-id", "alias/codecommit"),
                link + " is missing", "--manifest " + nights.get(0));
        assertNull(aws.codecommit.repository("new"));
        assertFalse(Files.exists(home.resolve("r")));
        assertRestored(nights.get(0), directoryOf(ok(toDirectory(nights.get(0), "r"))));
        bucket.delete(bundle(nights.get(2), 0));
        failed(toDirectory(nights.get(1), "r1"), bundle(nights.get(1), 0) + " is missing",
                "no restore point before it is whole");
    }

    @Test
    void aFindingIsToldAlsoIfNoOtherRestorePointCanBeLookedFor() {
        var nights = chain();
        bucket.delete(bundle(nights.get(2), 1));
        aws.inject(Fault.on("s3:ListObjectsV2").always().error(403, "AccessDenied", "Access Denied"));
        failed(toDirectory(nights.get(2), "r"), bundle(nights.get(2), 1) + " is missing; whether one before it is whole"
                + " is not known: AccessDenied: Access Denied");
        aws.clearFaults();
        aws.inject(Fault.on("s3:HeadObject").after(3).always().error(403, "AccessDenied", "Access Denied"));
        failed(toDirectory(nights.get(2), "r"), bundle(nights.get(2), 1) + " is missing; the newest restore point");
        aws.clearFaults();
        aws.inject(Fault.on("s3:HeadObject").always().error(403, "AccessDenied", "Access Denied"));
        failed(toDirectory(nights.get(2), "r"), bundle(nights.get(2), 0) + ": Forbidden: this needs s3:GetObject");
    }

    static Path directoryOf(Script.Run run) {
        return Path.of(run.json().path("directory").asText());
    }

    /** Archives an object, as a lifecycle rule does. */
    void archive(String key, String storageClass) {
        bucket.header(key, "x-amz-storage-class", storageClass);
        if (storageClass.equals("INTELLIGENT_TIERING")) bucket.header(key, "x-amz-archive-status", "ARCHIVE_ACCESS");
    }

    static String thaw(String key, String request) {
        return "must be restored before it can be read: aws s3api restore-object --bucket backups --key '" + key
                + "' --restore-request '" + request + "'";
    }

    @Test
    void anArchivedBundleIsNamedWithTheCommandThatBringsItBack() throws Exception {
        var nights = chain();
        var first = bundle(nights.get(2), 1);
        var second = bundle(nights.get(2), 2);
        archive(second, "GLACIER");
        failed(toDirectory(nights.get(2), "r"), "s3://backups/" + second + " is archived (GLACIER), and "
                + thaw(second, "Days=7"), "--manifest " + nights.get(1));
        archive(first, "DEEP_ARCHIVE");
        var run = failed(restore("--repository-name", "chain", "--to-repository-name", "new", "--kms-key-id",
                "alias/codecommit"), nights.get(2) + ": 2 of its bundles are archived", "--manifest " + nights.get(0));
        assertTrue(run.err().contains(first + " is archived (DEEP_ARCHIVE), and " + thaw(first, "Days=7")), run.err());
        assertTrue(run.err().contains(second + " is archived (GLACIER), and " + thaw(second, "Days=7")), run.err());
        assertNull(aws.codecommit.repository("new"));
        assertFalse(Files.exists(home.resolve("r")));
        bucket.delete(bundle(nights.get(2), 0));
        failed(toDirectory(nights.get(2), "r"), bundle(nights.get(2), 0) + " is missing", "no restore point before it");
    }

    @Test
    void anObjectThatComesBackFromAnArchiveIsRestoredFromThere() throws Exception {
        var nights = chain();
        var bundle = bundle(nights.get(2), 0);
        archive(bundle, "GLACIER");
        bucket.header(bundle, "x-amz-restore", "ongoing-request=\"true\"");
        failed(toDirectory(nights.get(2), "r"), bundle + " is archived (GLACIER), and is being restored, which takes",
                "no restore point before it is whole and can be read");
        bucket.header(bundle, "x-amz-restore",
                "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\"");
        ok(toDirectory(nights.get(2), "r"));
        assertRestored(nights.get(2), home.resolve("r"));
        archive(bundle(nights.get(2), 1), "GLACIER_IR");
        ok(toDirectory(nights.get(2), "at once"));
        archive(bundle(nights.get(2), 1), "INTELLIGENT_TIERING");
        failed(toDirectory(nights.get(2), "tier"), " is archived (ARCHIVE_ACCESS), and "
                + thaw(bundle(nights.get(2), 1), "GlacierJobParameters={Tier=Standard}"));
    }

    @Test
    void anArchivedManifestIsNamedAndTheOthersAreListed() {
        var nights = chain();
        archive(nights.get(2), "GLACIER");
        failed(restore("--repository-name", "chain", "--directory", home.resolve("r").toString()),
                nights.get(2) + " is archived (GLACIER), and " + thaw(nights.get(2), "Days=7"),
                "--manifest " + nights.get(1));
        archive(nights.get(1), "DEEP_ARCHIVE");
        failed(toDirectory(nights.get(2), "r"), "--manifest " + nights.get(0));
        var listed = restore("--list");
        assertEquals(3, listed.exitCode(), listed.err());
        var points = listed.json().at("/repositories/0/restorePoints");
        assertEquals(nights, points.valueStream().map(point -> point.path("manifest").asText()).toList());
        assertTrue(points.at("/1/error").asText().contains(thaw(nights.get(1), "Days=7")), listed.out());
        assertFalse(points.path(0).has("error"), listed.out());
    }

    @ParameterizedTest
    @ValueSource(strings = {"git 5", "git 30", "git 90", "git -3", "no git here 5", "no git here 30", "no git here 90",
            "no git here -3"})
    void aDamagedBundleIsRefused(String readerAndPlace) throws Exception {
        git = readerAndPlace.replaceFirst(" -?\\d+$", "");
        var at = Integer.parseInt(readerAndPlace.replaceFirst(".* ", ""));
        var nights = chain();
        var link = bundle(nights.get(2), 1);
        bucket.corrupt(link, at < 0 ? bucket.size(link) + at : at);
        failed(toDirectory(nights.get(2), "r"), "s3://backups/" + link + " is damaged: its SHA-256 is ",
                "--manifest " + nights.get(0));
        assertFalse(Files.exists(home.resolve("r")), "nothing half-made is left");
        Files.createDirectory(home.resolve("there"));
        failed(toDirectory(nights.get(1), "there"), "is damaged");
        assertEquals(List.of(), RestoreFromS3.entries(home.resolve("there")));
    }

    @Test
    void anObjectThatWasReplacedIsToldByItsSizeOrChecksum() throws Exception {
        var nights = chain();
        var link = bundle(nights.get(2), 2);
        var bytes = bucket.get(link);
        var twice = Arrays.copyOf(bytes, 2 * bytes.length);
        bucket.put(link, twice);
        failed(toDirectory(nights.get(2), "r"), "has " + twice.length + " bytes and should have " + bytes.length,
                "--manifest " + nights.get(1));
        bytes[40] ^= 1;
        bucket.put(link, bytes);
        var told = new CountDownLatch(1);
        aws.onCall(call -> told.countDown());
        try (var s3 = S3Client.builder().httpClient(UrlConnectionHttpClient.create()).region(Region.EU_WEST_1)
                .forcePathStyle(true).build()) {
            s3.putObject(r -> r.bucket("backups").key(link).checksumAlgorithm("CRC32"), RequestBody.fromBytes(bytes));
        }
        told.await(); // the script's own calls alone are collected
        aws.clearCalls();
        aws.onCall(ALL::add);
        failed(toDirectory(nights.get(2), "r"), "is another object: its CRC32 is ", "--manifest " + nights.get(1));
        assertEquals(2, names("s3:GetObject").size(), "manifests only");
    }

    @ParameterizedTest
    @MethodSource("readers")
    void aChainThatLacksObjectsIsRefusedAlthoughEveryLinkIsWhole(String reader) {
        git = reader;
        var nights = chain();
        var broken = save(aws.codecommit.repository("chain"), nights.get(2), NIGHT.plusSeconds(3 * 86_400),
                m -> m.withArray("/chain").remove(1));
        failed(toDirectory(broken, "r"), broken + ": its bundles lack objects of its refs: ",
                "--manifest " + nights.get(2));
        var lacking = save(aws.codecommit.repository("chain"), nights.get(2), NIGHT.plusSeconds(4 * 86_400),
                m -> m.withObject("/refs").put("refs/heads/lost", "1234567890123456789012345678901234567890"));
        failed(toDirectory(lacking, "r"), lacking + ": its bundles lack objects of its refs: ",
                "1234567890123456789012345678901234567890");
    }

    @ParameterizedTest
    @ValueSource(strings = {"format", "objectFormat", "ref", "id", "chain", "gzip", "json", "missing"})
    void aManifestThatIsNotOursIsLeftAlone(String what) {
        var nights = chain();
        var document = manifest(nights.get(2));
        switch (what) {
            case "format" -> document.put("format", 2);
            case "objectFormat" -> document.put("objectFormat", "sha256");
            case "ref" ->
                document.withObject("/refs").put("../../evil", document.at("/refs/refs~1heads~1main").asText());
            case "id" -> document.withObject("/refs").put("refs/heads/main", "main");
            case "chain" -> ((ObjectNode) document.at("/chain/0")).remove("sha256");
            default -> { }
        }
        switch (what) {
            case "gzip" -> bucket.put(nights.get(2), "no gzip".getBytes());
            case "json" -> bucket.put(nights.get(2), Arrays.copyOf(bucket.get(nights.get(2)), 100));
            case "missing" -> bucket.delete(nights.get(2));
            default -> bucket.put(nights.get(2), Backups.gzip(document));
        }
        failed(toDirectory(nights.get(2), "r"),
                nights.get(2) + (what.equals("format") ? " has format 2 and this release reads format 1"
                        : what.equals("objectFormat") ? " is of a repository with "
                                : what.equals("missing") ? " is missing" : " is damaged: "),
                "--manifest " + nights.get(1));
        assertFalse(Files.exists(home.resolve("r")));
    }

    @Test
    void aBundleThatIsNoneIsRefused() {
        var repository = aws.codecommit.createRepository("x").commit("refs/heads/main", "a", "1");
        for (var text : List.of("# v2 git bundle", "# v3 git bundle\n@filter=blob:none\n\nPACK", "PACK",
                "# v2 git bundle\n" + "x".repeat(20_000))) {
            var point = save(repository, null, NIGHT, m -> m.withArray("/chain").set(0,
                    object(ROOT + "x/y.full.bundle", text.getBytes()).put("kind", "full")));
            failed(toDirectory(point, "r"), "x/y.full.bundle is what was saved, but cannot be added");
        }
    }

    static List<List<String>> badInputs() {
        var key = ROOT + "r/20261121T040000123Z-0a1b2c3d.manifest.json.gz";
        var from = List.of("--repository-name", "r");
        return List.of(
                List.of("which repository?", "--directory", "HOME/x"),
                List.of("where to?", "--repository-name", "r"),
                List.of("where to?", "--manifest", key),
                List.of("such as payments", "--repository-name", "a/b", "--directory", "HOME/x"),
                List.of("such as payments", "--repository-name", "r.git", "--list"),
                List.of("such as payments", "--repository-name", "r", "--to-repository-name", "a b"),
                List.of("such as payments", "--repository-name", "r", "--to-repository-name", "a".repeat(101)),
                List.of("such as 2026-11-21T04:00:00Z", "--repository-name", "r", "--directory", "HOME/x", "--at",
                        "yesterday"),
                List.of("such as 2026-11-21T04:00:00Z", "--repository-name", "r", "--directory", "HOME/x", "--at",
                        "2026-02-30"),
                List.of("such as 2026-11-21T04:00:00Z", "--repository-name", "r", "--directory", "HOME/x", "--at",
                        "2026-11-21T04:00:00"),
                List.of("a key as --list shows it", "--manifest", "s3://backups/x.manifest.json", "--directory",
                        "HOME/x"),
                List.of("the key says all that", "--manifest", key, "--repository-name", "r", "--directory", "HOME/x"),
                List.of("the key says all that", "--manifest", key, "--at", "2026-11-21", "--directory", "HOME/x"),
                List.of("the key says all that", "--manifest", key, "--backup-region", "eu-west-1", "--directory",
                        "HOME/x"),
                List.of("--output csv: use it with --list", "--output", "csv", "--repository-name", "a",
                        "--directory", "HOME/x"),
                List.of("--list: use it without", "--list", "--directory", "HOME/x"),
                List.of("--list: use it without", "--list", "--to-repository-name", "x"),
                List.of("--list: use it without", "--list", "--manifest", key),
                List.of("in one that exists", "--repository-name", "r", "--directory", "HOME/no/such"),
                List.of("does not exist yet or is empty", "--repository-name", "r", "--directory", "HOME/file"),
                List.of("does not exist yet or is empty", "--repository-name", "r", "--directory", "HOME/full"),
                List.of("remove it if none is", "--repository-name", "r", "--directory", "HOME/killed"),
                List.of("is not a path", "--repository-name", "r", "--directory", "a\0b"),
                List.of("use it with --to-repository-name", "--repository-name", "r", "--directory", "HOME/x",
                        "--kms-key-id", "alias/codecommit"),
                List.of("use it with --to-repository-name", "--repository-name", "r", "--directory", "HOME/x",
                        "--git-endpoint", "git.example.com"),
                List.of("such as alias/codecommit", "--repository-name", "r", "--to-repository-name", "x",
                        "--kms-key-id", "codecommit"),
                List.of("must be a key of the Region ", "--repository-name", "r",
                        "--to-repository-name", "x", "--kms-key-id", "arn:aws:kms:us-east-1:111122223333:alias/x"),
                List.of("a host name without https://", "--repository-name", "r", "--to-repository-name", "x",
                        "--git-endpoint", "https://git.example.com/"),
                List.of("must be a host of the Region", "--repository-name", "r", "--to-repository-name", "x",
                        "--git-endpoint", "git-codecommit-fips.us-east-1.amazonaws.com"),
                List.of("such as pull-requests.json", "--repository-name", "r", "--directory", "HOME/x",
                        "--pull-requests", "HOME/no/such"),
                List.of("such as pull-requests.json", "--repository-name", "r", "--directory", "HOME/x",
                        "--pull-requests", "HOME/full"),
                List.of("such as 444455556666", "--list", "--expected-bucket-owner", "me"),
                List.of("such as 444455556666", "--list", "--backup-account", "1234"),
                List.of("such as eu-west-1", "--list", "--backup-region", "Ireland"),
                List.of("such as eu-west-1", "--repository-name", "r", "--to-repository-name", "x", "--git-endpoint",
                        "git-codecommit.eu-west-1.amazonaws.com", "--region", "Ireland"),
                List.of("such as projects/codecommit-backup", "--list", "--prefix", "/a//b/"),
                List.of("such as my-backups", "--list", "--bucket", "s3://backups"),
                List.of("did you mean", "--repositoryname", "r"));
    }

    @ParameterizedTest
    @MethodSource("badInputs")
    void refusesBadInput(List<String> rightAndArguments) throws Exception {
        Files.writeString(home.resolve("file"), "x");
        Files.createDirectories(home.resolve("full/of"));
        Files.createDirectories(home.resolve("killed/.restoring-123"));
        var args = rightAndArguments.stream().skip(1).map(arg -> arg.replace("HOME", home.toString()))
                .toArray(String[]::new);
        var script = new RestoreFromS3();
        var run = Script.run(script.commandLine(), List.of(args).contains("--bucket") ? args
                : Stream.concat(Stream.of("--bucket", "backups"), Stream.of(args)).toArray(String[]::new));
        Script.assertRefused(run, rightAndArguments.get(0), aws);
    }

    // CodeCommit

    Script.Run toRepository(String manifest, String name, String... more) {
        return restore(Stream.concat(Stream.of("--manifest", manifest, "--to-repository-name", name), Stream.of(more))
                .toArray(String[]::new));
    }

    @Test
    void restoresARepositoryWithItsSettings() throws Exception {
        var point = payments();
        var run = ok(restore("--repository-name", "payments", "--to-repository-name", "again"));
        assertEquals("created", run.status());
        var made = aws.codecommit.repository("again");
        assertRestored(point, made);
        assertEquals(List.of("main", "pays, and \"more\"", aws.kms.find("alias/codecommit", "eu-west-1").arn),
                List.of(made.defaultBranch(), made.description(), made.key()));
        assertEquals(Map.of("Team", "Payments", "Cost centre", "1 2"), made.tags());
        assertEquals(settings().path("triggers").toString().length(), made.triggers().toString().length());
        assertEquals("tell", made.triggers().at("/0/name").asText());
        assertEquals(List.of(), made.fired(), "the triggers come last");
        assertEquals(List.of("two of them"), made.approvalRuleTemplates());
        assertEquals(settings().at("/approvalRuleTemplates/0/approvalRuleTemplateContent").asText(), aws.codecommit
                .approvalRuleTemplate("eu-west-1", "two of them").path("approvalRuleTemplateContent").asText());
        assertEquals(3, run.json().path("refs").asInt());
        assertEquals("main", run.json().at("/repository/defaultBranch").asText());
        assertEquals(made.id, run.json().at("/repository/repositoryId").asText());
        assertEquals(made.key(), run.json().at("/repository/kmsKeyId").asText());
        assertEquals(made.cloneUrlHttp(), run.json().at("/repository/cloneUrlHttp").asText());
        assertTrue(run.json().path("undo").asText().endsWith(
                "aws codecommit delete-repository --repository-name=again --region eu-west-1 # irreversible: deletes "
                        + "what was pushed since, too"),
                run.out());
        assertEquals(Set.of(), leftovers());

        aws.clearCalls();
        var second = ok(restore("--repository-name", "payments", "--to-repository-name", "again"));
        assertEquals("unchanged", second.status());
        assertEquals(0, second.json().path("changes").size());
        Script.assertReadsOnly(aws);
        assertEquals(1, names("s3:GetObject").size(), "nothing but the manifest is downloaded");
        ok(restore("--repository-name", "payments", "--to-repository-name", "again", "--kms-key-id",
                "alias/codecommit"));
    }

    @Test
    void theOriginalStaysWhatItIsAndIsBroughtInLine() throws Exception {
        var point = payments();
        var original = aws.codecommit.repository("payments").tag("Other", "kept")
                .trigger("kept", "arn:aws:sns:eu-west-1:111122223333:other").description("old");
        var run = ok(toRepository(point, "payments"));
        assertEquals("updated", run.status());
        assertEquals(
                List.of("repositoryDescription", "tags", "approvalRuleTemplate", "approvalRuleTemplates", "triggers"),
                run.json().path("changes").valueStream().map(c -> c.path("field").asText()).toList());
        assertEquals("kept", original.tags().get("Other"));
        assertEquals(List.of("kept", "tell"),
                original.triggers().valueStream().map(t -> t.path("name").asText()).toList());
        assertNull(original.key(), "the key of an existing repository stays");
        SampleRepositories.deleteRefs(original, "refs/heads/topic").ref("refs/heads/main", "refs/heads/main");
        assertEquals("updated", ok(toRepository(point, "payments")).status());
        assertRestored(point, original);
    }

    @Test
    void aRepositoryWithAnyOtherRefIsRefused() throws Exception {
        var point = payments();
        var other = aws.codecommit.createRepository("other").commit("refs/heads/main", "z", "z")
                .commit("refs/heads/mine", "z", "z");
        var before = Git.refs(other.directory());
        aws.clearCalls();
        failed(toRepository(point, "other"), "other: has other refs than ", "refs/heads/main, refs/heads/mine",
                "nothing was changed");
        Script.assertReadsOnly(aws);
        assertEquals(0, names("s3:GetObject").size() - 1, "refused before anything is downloaded");
        assertEquals(before, Git.refs(other.directory()));
        var behind = aws.codecommit.createRepository("behind").commit("refs/heads/main", "a", "1");
        failed(toRepository(point, "behind"), "refs/heads/main");
        assertEquals(1, Git.refs(behind.directory()).size());
        var extra = aws.codecommit.createRepository("extra");
        ok(toRepository(point, "extra"));
        extra.commit("refs/heads/extra", "q", "q");
        failed(toRepository(point, "extra"), "refs/heads/extra");
    }

    @Test
    void aRepositoryThatExistsButIsEmptyIsFilled() throws Exception {
        var point = payments();
        var ready = aws.codecommit.createRepository("ready").key(aws.kms.find("alias/codecommit", "eu-west-1").arn);
        var run = ok(toRepository(point, "ready"));
        assertEquals("updated", run.status());
        assertEquals("{\"resource\":\"ready\",\"field\":\"refs\",\"from\":0,\"to\":3}",
                run.json().at("/changes/0").toString());
        assertRestored(point, ready);
        assertEquals("main", ready.defaultBranch());
    }

    @Test
    void whatCodeCommitDoesNotTakeIsNamed() throws Exception {
        var nights = oddNights();
        var run = toRepository(nights.get(0), "odd2", "--kms-key-id", "alias/codecommit");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals("[{\"what\":\"refs/notes/commits\",\"why\":\"CodeCommit takes branches and tags only\"}]",
                run.json().path("leftOut").toString());
        var expected = refs(manifest(nights.get(0)));
        expected.remove("refs/notes/commits");
        assertEquals(expected, Git.refs(aws.codecommit.repository("odd2").directory()));
        assertEquals(expected.size(), run.json().path("refs").asInt());
        var second = toRepository(nights.get(0), "odd2");
        assertEquals(3, second.exitCode());
        assertEquals("unchanged", second.status());

        var repository = aws.codecommit.createRepository("settings").commit("refs/heads/main", "a", "1");
        var point = save(repository, null, NIGHT, m -> {
            m.put("head", "refs/heads/deleted").set("settings", settings());
            m.withArray("/settings/triggers").addObject().put("name", "far")
                    .put("destinationArn", "arn:aws:sns:us-east-1:111122223333:topic")
                    .<ObjectNode>set("branches", JSON.createArrayNode()).putArray("events").add("all");
            ((ObjectNode) m.at("/settings/approvalRuleTemplates/0")).put("approvalRuleTemplateContent", "{}");
            m.withObject("/settings/tags").put("a,b", "not a tag at AWS");
        });
        run = toRepository(point, "parts");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of("HEAD", "tags", "approval rule template two of them", "trigger far"),
                run.json().path("leftOut").valueStream().map(l -> l.path("what").asText()).toList());
        assertTrue(run.json().at("/leftOut/1/why").asText().startsWith("InvalidTagsMapException: "), run.out());
        assertTrue(run.json().at("/leftOut/2/why").asText().startsWith("InvalidApprovalRuleTemplateContentException: "),
                run.out());
        assertEquals("tell", aws.codecommit.repository("parts").triggers().at("/0/name").asText());
        assertEquals(1, aws.codecommit.repository("parts").triggers().size());
        assertEquals("pays, and \"more\"", aws.codecommit.repository("parts").description());
    }

    @Test
    void aNameThatIsNotUtf8IsReplacedInCodeCommit() throws Exception {
        var point = rawNames();
        var run = toRepository(point, "raw2", "--kms-key-id", "alias/codecommit");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of("the name of refs/heads/caf%e9", "the name of refs/tags/%ff"),
                run.json().path("leftOut").findValuesAsText("what"));
        assertRestored(point, aws.codecommit.repository("raw2"));
    }

    @Test
    void anEmptyRepositoryAndOneWithoutSettings() throws Exception {
        var empty = save(aws.codecommit.createRepository("empty"), null, NIGHT, m -> m.set("settings", settings()));
        var run = ok(toRepository(empty, "empty2"));
        assertEquals(0, run.json().path("refs").asInt());
        assertEquals(Map.of("Team", "Payments", "Cost centre", "1 2"), aws.codecommit.repository("empty2").tags());
        assertEquals("unchanged", ok(toRepository(empty, "empty2")).status());
        var old = chain().get(2);
        failed(toRepository(old, "old"),
                "old: does not exist, and the restore point names no key for it: use --kms-key-id");
        run = ok(toRepository(old, "old", "--kms-key-id", "alias/aws/codecommit"));
        assertTrue(run.err().contains("no settings were saved"), run.err());
        assertNull(aws.codecommit.repository("old").key());
    }

    @Test
    void theKeyIsDecidedSafely() {
        var repository = aws.codecommit.createRepository("r").commit("refs/heads/main", "a", "1");
        var key = aws.kms.createKey("eu-west-1");
        var elsewhere = "is not of account 111122223333 in eu-west-1: use --kms-key-id";
        var wrong = Map.of(
                "arn:aws:kms:eu-west-1:444455556666:key/1", elsewhere,
                "arn:aws:kms:us-east-1:111122223333:key/1", elsewhere,
                aws.kms.find("alias/aws/codecommit", "eu-west-1").arn,
                "was under the AWS managed key before: use --kms-key-id",
                key.arn.replaceFirst("........$", "00000000"), "no key ");
        wrong.forEach((before, says) -> {
            var saved = save(repository, null, NIGHT, m -> m.putObject("settings").put("kmsKeyId", before));
            failed(toRepository(saved, "new"), says);
        });
        var point = save(repository, null, NIGHT, m -> m.putObject("settings").put("kmsKeyId", key.arn));
        key.state = "Disabled";
        failed(toRepository(point, "new"), key.arn + " is Disabled; enable it with: aws kms enable-key");
        failed(toRepository(point, "new", "--kms-key-id", "alias/absent"), "no key alias/absent in eu-west-1");
        assertNull(aws.codecommit.repository("new"));
        key.state = "Enabled";
        ok(toRepository(point, "new"));
        assertEquals(key.arn, aws.codecommit.repository("new").key());
        aws.clearCalls();
        failed(toRepository(point, "new", "--kms-key-id", "alias/codecommit"), "new: is under " + key.arn,
                "leave --kms-key-id out, or first run ./jbang create-encrypted-repo");
        failed(toRepository(point, "r", "--kms-key-id", "alias/codecommit"), "is under the AWS managed key");
        ok(toRepository(point, "r", "--kms-key-id", "alias/aws/codecommit"));
    }

    @Test
    void aRepositoryThatComesAndGoesMeanwhileIsToldOf() throws Exception {
        var point = payments();
        aws.inject(Fault.on("codecommit:CreateRepository").error(400, "RepositoryNameExistsException", "It exists"));
        failed(toRepository(point, "again"), "again: was there and is not any more; the same command again creates it");
        ok(toRepository(point, "again"));
        assertRestored(point, aws.codecommit.repository("again"));
    }

    /** What a shell may ask for by --print after all is done: there, and null if there is none. */
    @Test
    void theResultHasEveryMember() throws Exception {
        var empty = aws.codecommit.createRepository("empty");
        var point = save(empty, null, NIGHT, m -> m.putNull("head"));
        var result = ok(toRepository(point, "again", "--kms-key-id", "alias/aws/codecommit")).json();
        assertEquals(List.of("status", "account", "region", "directory", "repository", "refs", "restorePoint",
                "pullRequests", "leftOut", "changes", "undo"),
                result.propertyStream().map(Map.Entry::getKey).toList());
        assertEquals(List.of("manifest", "time", "repositoryId", "head", "refs", "size", "kinds", "settings",
                "pullRequests"), result.path("restorePoint").propertyStream().map(Map.Entry::getKey).toList());
        assertEquals(List.of("repositoryName", "repositoryId", "arn", "kmsKeyId", "defaultBranch", "cloneUrlHttp"),
                result.path("repository").propertyStream().map(Map.Entry::getKey).toList());
        for (var pointer : List.of("/restorePoint/head", "/pullRequests", "/directory", "/repository/defaultBranch")) {
            assertEquals("null\n", ok(toRepository(point, "again", "--print", pointer)).out());
        }
        assertEquals("[ ]\n", ok(toRepository(point, "again", "--print", "/leftOut")).out());
        assertEquals("null\n", ok(restore("--manifest", point, "--directory", home.resolve("r").toString(), "--print",
                "/repository")).out());
    }

    /** Whatever an interruption removes is not created again by what it interrupts. */
    @Test
    void whatWasRemovedMeanwhileStaysRemoved() {
        var point = payments();
        var script = new RestoreFromS3() {
            @Override
            long freeSpace(Path directory) throws IOException {
                Directories.delete(directory);
                return Long.MAX_VALUE;
            }
        };
        failed(Script.run(script.commandLine(), "--bucket", "backups", "--manifest", point, "--directory",
                home.resolve("r").toString()), "objects");
        assertFalse(Files.exists(home.resolve("r")));
    }

    @Test
    void countsInTheRightNumber() {
        assertEquals(List.of("1 ref", "0 refs", "2 refs", "1 repository", "2 repositories"),
                List.of(RestoreFromS3.counted(1, "ref"), RestoreFromS3.counted(0, "ref"),
                        RestoreFromS3.counted(2, "ref"), RestoreFromS3.counted(1, "repository"),
                        RestoreFromS3.counted(2, "repository")));
        var one = aws.codecommit.createRepository("one").commit("refs/heads/main", "a", "1");
        var run = ok(toDirectory(save(one, null, NIGHT), "r"));
        assertTrue(run.err().contains(": 1 ref, 0.0 MB in 1 bundle, through "), run.err());
    }

    @Test
    void templatesOfTheAccountStayAsTheyAre() {
        var point = payments();
        aws.codecommit.createApprovalRuleTemplate("two of them", 1);
        var run = ok(toRepository(point, "again"));
        assertTrue(
                run.err().contains(
                        "the approval rule template two of them is another one today, and is associated as it is"),
                run.err());
        assertEquals(List.of("two of them"), aws.codecommit.repository("again").approvalRuleTemplates());
        assertTrue(aws.codecommit.approvalRuleTemplate("eu-west-1", "two of them").path("approvalRuleTemplateContent")
                .asText().contains("Needed\":1"));
        assertEquals(0, names("codecommit:CreateApprovalRuleTemplate").size());
    }

    @Test
    void intoADirectoryAndARepositoryAtOnce() throws Exception {
        var point = payments();
        var run = ok(toRepository(point, "again", "--directory", home.resolve("r").toString()));
        assertEquals("created", run.status());
        assertRestored(point, home.resolve("r"));
        assertRestored(point, aws.codecommit.repository("again"));
        assertEquals(1,
                aws.calls().stream().filter(
                        call -> call.name().equals("s3:GetObject") && call.input().toString().contains(".bundle"))
                        .count());
        assertEquals("unchanged",
                ok(toRepository(point, "again", "--directory", home.resolve("r").toString())).status());
    }

    @ParameterizedTest
    @ValueSource(strings = {"cn-north-1", "us-gov-west-1"})
    void worksInOtherPartitions(String region) throws Exception {
        var point = payments();
        aws.kms.createAlias(region, "alias/codecommit", aws.kms.createKey(region));
        var run = restore("--repository-name", "payments", "--backup-region", "eu-west-1", "--region", region,
                "--to-repository-name", "far", "--kms-key-id", "alias/codecommit");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals("trigger tell", run.json().at("/leftOut/0/what").asText());
        assertEquals("arn:" + (region.startsWith("cn") ? "aws-cn" : "aws-us-gov") + ":codecommit:" + region
                + ":111122223333:far", run.json().at("/repository/arn").asText());
        assertRestored(point, aws.codecommit.repository(region, "far"));
    }

    @Test
    void readsAnotherAccountsBucketAndChecksItsOwner() throws Exception {
        aws.s3.createBucket("elsewhere", "us-east-1", "444455556666").policy("""
                {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
                  "Action": ["s3:ListBucket", "s3:GetObject"],
                  "Resource": ["arn:aws:s3:::elsewhere", "arn:aws:s3:::elsewhere/*"]}]}""");
        var point = payments();
        bucket.keys().forEach(key -> aws.s3.bucket("elsewhere").put(key, bucket.get(key)));
        ok(Script.run(new RestoreFromS3().commandLine(), "--bucket", "elsewhere", "--repository-name", "payments",
                "--directory", home.resolve("r").toString(), "--expected-bucket-owner", "444455556666"));
        assertRestored(point, home.resolve("r"));
        failed(restore("--repository-name", "payments", "--directory", home.resolve("r2").toString(),
                "--expected-bucket-owner", "444455556666"), "Access Denied");
    }

    // Pushes

    /** Commits of one file of random text each, a merged side branch among them. */
    CodeCommit.Repo large(String name, int commits, int size) {
        var repository = aws.codecommit.createRepository(name);
        var random = new Random(7);
        for (var i = 0; i < commits; i++) {
            repository.commit("refs/heads/main", "f" + i % 5, randomText(random, size));
            if (i == commits / 3) {
                repository.ref("refs/heads/side", "refs/heads/main")
                        .commit("refs/heads/side", "s", randomText(random, size))
                        .annotatedTag("early", "refs/heads/side");
            }
        }
        return repository.annotatedTag("late", "refs/heads/main");
    }

    static String randomText(Random random, int size) {
        var bytes = new byte[size];
        random.nextBytes(bytes);
        return Base64.getEncoder().encodeToString(bytes);
    }

    long pushes() {
        return aws.calls().stream().filter(call -> call.name().equals("codecommit:GitPush")
                && call.input().path("path").asText().equals("git-receive-pack")).count();
    }

    @Test
    void longHistoriesArePushedInPartsThatCodeCommitDoesNotCut() throws Exception {
        var point = save(large("large", 24, 30_000), null, NIGHT, m -> m.set("settings", settings()));
        assertTrue(bucket.size(bundle(point, 0)) > 24 * 30_000);
        var marks = new HashSet<String>();
        aws.onCall(call -> {
            ALL.add(call);
            if (call.name().equals("codecommit:GitPush")) {
                marks.add(aws.codecommit.repository("parts").tags().getOrDefault(RestoreFromS3.RESTORING, "none"));
            }
        });
        aws.inject(Fault.on("codecommit:GitPush").cutRequest(155_000).always());
        with = script -> script.maxBytes = 150_000;
        var run = ok(toRepository(point, "parts"));
        assertRestored(point, aws.codecommit.repository("parts"));
        assertEquals(Set.of(point.replaceAll(".*/|\\.manifest.*", "")), marks, "refs on their way are marked");
        assertEquals(Map.of("Team", "Payments", "Cost centre", "1 2"), aws.codecommit.repository("parts").tags(),
                "and the mark goes");
        assertTrue(pushes() >= 6 && pushes() <= 20, pushes() + " pushes");
        assertEquals("unchanged", ok(toRepository(point, "parts")).status());
    }

    @Test
    void oneCommitThatIsLargerThanAPartIsPushedAsItIs() throws Exception {
        var repository = aws.codecommit.createRepository("blob").commit("refs/heads/main", "a", "1")
                .commit("refs/heads/main", "big", randomText(new Random(1), 100_000))
                .commit("refs/heads/main", "b", "2");
        var point = save(repository, null, NIGHT);
        with = script -> script.maxBytes = 10_000;
        ok(toRepository(point, "blob2", "--kms-key-id", "alias/codecommit"));
        assertRestored(point, aws.codecommit.repository("blob2"));
    }

    @Test
    void anInterruptedRestoreIsTakenUp() throws Exception {
        var point = save(large("large", 24, 30_000), null, NIGHT, m -> m.set("settings", settings()));
        with = IMPATIENT.andThen(script -> script.maxBytes = 150_000);
        aws.inject(Fault.on("codecommit:GitPush").after(2).always().cutRequest(50_000));
        var run = failed(toRepository(point, "parts"), "parts: ", " of 4 refs are right; ",
                "; the same command again does the rest");
        var half = aws.codecommit.repository("parts");
        assertEquals(point.replaceAll(".*/|\\.manifest.*", ""), half.tags().get(RestoreFromS3.RESTORING));
        var onItsWay = Git.refs(half.directory());
        var wanted = refs(manifest(point));
        assertTrue(onItsWay.entrySet().stream().anyMatch(ref -> !ref.getValue().equals(wanted.get(ref.getKey()))),
                onItsWay.toString());
        assertEquals(0, half.triggers().size(), "the triggers come last");
        var first = pushes();
        aws.clearFaults();
        failed(toRepository(save(large("large2", 5, 10), null, NIGHT, m -> m.set("settings", settings())), "parts"),
                "has other refs");
        aws.clearCalls();
        assertEquals("updated", ok(toRepository(point, "parts")).status());
        assertRestored(point, half);
        assertFalse(half.tags().containsKey(RestoreFromS3.RESTORING));
        assertEquals("tell", half.triggers().at("/0/name").asText());
        assertEquals(Set.of(), leftovers());
    }

    @Test
    void nobodysPushIsUndoneOnTheWay() throws Exception {
        var point = save(large("large", 24, 30_000), null, NIGHT, m -> m.set("settings", settings()));
        with = IMPATIENT.andThen(script -> script.maxBytes = 150_000);
        aws.inject(Fault.on("codecommit:GitPush").after(2).always().cutRequest(50_000));
        failed(toRepository(point, "parts"));
        aws.clearFaults();
        var half = aws.codecommit.repository("parts");
        var moved = Git.refs(half.directory()).entrySet().stream()
                .filter(ref -> !ref.getValue().equals(refs(manifest(point)).get(ref.getKey()))).map(Map.Entry::getKey)
                .findFirst().orElseThrow();
        half.commit(moved, "mine", "mine");
        failed(toRepository(point, "parts"), "someone else pushes there: " + moved);
        assertEquals(half.resolve(moved).name(), Git.refs(half.directory()).get(moved));
    }

    /** Restores while someone else acts before the Nth connection of Git: the first looks, the last compares. */
    Script.Run meddled(String point, int connection, Runnable someoneElse) {
        var script = new RestoreFromS3() {
            int connections;

            @Override
            Transport transport(String cloneUrl, Repository local) throws Exception {
                if (++connections == connection) someoneElse.run();
                return super.transport(cloneUrl, local);
            }
        };
        return Script.run(script.commandLine(), "--bucket", "backups", "--manifest", point, "--to-repository-name",
                "busy");
    }

    @Test
    void nobodysPushIsOverwrittenBetweenTheLookAndThePush() throws Exception {
        var point = payments();
        var busy = aws.codecommit.createRepository("busy");
        failed(meddled(point, 2, () -> busy.commit("refs/heads/main", "theirs", "theirs")), "busy: ", "refused: ",
                "refs/heads/main (REJECTED_REMOTE_CHANGED)", " of 3 refs are right");
        assertEquals("theirs", Git.run(busy.directory(), "show", "refs/heads/main:theirs"));
    }

    @Test
    void whatSomeoneElsePushesDuringTheRestoreIsTold() throws Exception {
        var point = payments();
        var added = aws.codecommit.createRepository("busy");
        failed(meddled(point, 3, () -> added.commit("refs/heads/theirs", "theirs", "theirs")),
                "someone else pushes there: refs/heads/theirs changed in the meantime", "3 of 3 refs are right");
        aws.codecommit.deleteRepository("eu-west-1", "busy");
        var moved = aws.codecommit.createRepository("busy");
        failed(meddled(point, 3, () -> moved.commit("refs/heads/main", "theirs", "theirs")),
                "someone else pushes there: refs/heads/main changed in the meantime", "2 of 3 refs are right");
        assertEquals("theirs", Git.run(moved.directory(), "show", "refs/heads/main:theirs"));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3, 4, 5})
    void aPushWhoseAnswerIsLostIsSeenToHaveBeenDone(int after) throws Exception {
        var point = save(large("large", 8, 30_000), null, NIGHT, m -> m.set("settings", settings()));
        with = script -> script.maxBytes = 100_000;
        aws.inject(Fault.on("codecommit:GitPush").after(after).loseAnswer());
        ok(toRepository(point, "lost"));
        assertRestored(point, aws.codecommit.repository("lost"));
    }

    /** 17,000 refs in a long run; the embedded server takes some milliseconds for each. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void manyRefs(boolean isByGit) throws Exception {
        if (isByGit) with = BY_GIT_AT_ONCE;
        var count = Boolean.getBoolean("tests.long") ? 17_000 : 5_000;
        var repository = aws.codecommit.createRepository("many");
        var text = new StringBuilder();
        for (var i = 1; i <= 50; i++) {
            text.append("commit refs/heads/main\nmark :" + i + "\ncommitter A <a@b> " + (1767225600 + i)
                    + " +0000\ndata 1\nx\nM 100644 inline f\ndata 2\n" + i % 10 + "\n\n");
        }
        for (var i = 0; i < count; i++) {
            text.append(
                    "reset refs/" + (i % 2 == 0 ? "heads" : "tags") + "/r" + i + "\nfrom :" + (i % 50 + 1) + "\n\n");
        }
        var importer = new ProcessBuilder("git", "-C", repository.directory().toString(), "fast-import", "--quiet")
                .redirectErrorStream(true).start();
        try (var out = importer.getOutputStream()) {
            out.write(text.toString().getBytes());
        }
        assertEquals("", new String(importer.getInputStream().readAllBytes()));
        var point = save(repository, null, NIGHT);
        ok(toDirectory(point, "r"));
        assertEquals(refs(manifest(point)), Git.refs(home.resolve("r")));
        var run = ok(toRepository(point, "many2", "--kms-key-id", "alias/codecommit"));
        assertEquals(count + 1, run.json().path("refs").asInt());
        assertEquals(refs(manifest(point)), Git.refs(aws.codecommit.repository("many2").directory()));
        assertEquals(count / 3_000 + 1, pushes(), "in as few pushes as the server's limit of 4,000 refs allows");
    }

    @Test
    void twoOperatorsAtOnce() throws Exception {
        var point = save(large("large", 12, 20_000), null, NIGHT, m -> m.set("settings", settings()));
        with = script -> script.maxBytes = 100_000;
        for (var round = 0; round < 3; round++) {
            var name = "both" + round;
            var runs = Stream.of(1, 2)
                    .map(i -> java.util.concurrent.CompletableFuture.supplyAsync(() -> toRepository(point, name)))
                    .toList();
            for (var run : runs) assertTrue(Set.of(0, 1).contains(run.get().exitCode()), run.get().err());
            assertTrue(ok(toRepository(point, name)).exitCode() == 0);
            assertRestored(point, aws.codecommit.repository(name));
            assertEquals("unchanged", ok(toRepository(point, name)).status());
        }
    }

    // Pushes by git

    /** All that are pushed by git, however small. */
    static final Consumer<RestoreFromS3> BY_GIT = script -> {
        script.leastForGit = 0;
        script.maxBytes = 150_000;
        script.maxBytesByGit.set(script.maxBytes);
    };
    /** The same, at once. */
    static final Consumer<RestoreFromS3> BY_GIT_AT_ONCE = BY_GIT.andThen(s -> s.maxBytesByGit.set(5_000_000));

    @ParameterizedTest
    @ValueSource(longs = {500_000, 5_000_000})
    void gitPushesWhatIsLargeInPartsThatCodeCommitDoesNotCut(long bytesAtFirst) throws Exception {
        var repository = large("large", 24, 30_000);
        repository.ref("refs/heads/it's-\"quoted\"&$(x)", "refs/heads/main~2")
                .ref("refs/tags/tree", "refs/heads/main^{tree}").ref("refs/tags/old", "refs/heads/main~9");
        var point = save(repository, null, NIGHT, m -> m.set("settings", settings()));
        var marks = new HashSet<String>();
        aws.onCall(call -> {
            ALL.add(call);
            if (call.name().equals("codecommit:GitPush")) {
                marks.add(aws.codecommit.repository("parts").tags().getOrDefault(RestoreFromS3.RESTORING, "none"));
            }
        });
        aws.inject(Fault.on("codecommit:GitPush").cutRequest(155_000).always());
        with = BY_GIT.andThen(script -> script.maxBytesByGit.set(bytesAtFirst));
        git = gitThat("push", "echo \"$*\" >>'" + home.resolve("arguments") + "'");
        var run = ok(toRepository(point, "parts"));
        assertFalse(run.err().contains("JGit"), run.err());
        assertEquals(1, run.err().lines().filter(line -> line.endsWith("; tries again in smaller parts"))
                .count(), run.err());
        assertRestored(point, aws.codecommit.repository("parts"));
        assertTrue(marks.contains(point.replaceAll(".*/|\\.manifest.*", "")), "refs on their way are marked");
        assertEquals(Map.of("Team", "Payments", "Cost centre", "1 2"), aws.codecommit.repository("parts").tags());
        assertTrue(pushes() >= 6 && pushes() <= 40, pushes() + " pushes");
        var arguments = Files.readString(home.resolve("arguments"));
        assertTrue(arguments.contains(" push ") && !arguments.contains("Basic"), arguments);
        assertEquals(Set.of(), leftovers());
        assertEquals("unchanged", ok(toRepository(point, "parts")).status());
    }

    @ParameterizedTest
    @CsvSource({"0, false", "1, false", "2, false", "3, false", "5, false", "8, false", "0, true", "1, true"})
    void aPushOfGitWhoseAnswerIsLostIsSeenToHaveBeenDone(int after, boolean isAtOnce) throws Exception {
        var point = save(large("large", 8, 30_000), null, NIGHT, m -> m.set("settings", settings()));
        with = isAtOnce ? BY_GIT_AT_ONCE : BY_GIT;
        aws.inject(Fault.on("codecommit:GitPush").after(after).loseAnswer());
        ok(toRepository(point, "lost"));
        assertRestored(point, aws.codecommit.repository("lost"));
    }

    @Test
    void aRestoreByGitThatWasInterruptedIsTakenUp() throws Exception {
        var point = save(large("large", 24, 30_000), null, NIGHT, m -> m.set("settings", settings()));
        with = IMPATIENT.andThen(BY_GIT);
        aws.inject(Fault.on("codecommit:GitPush").after(4).always().cutRequest(50_000));
        var run = failed(toRepository(point, "parts"), "parts: ", " of 4 refs are right; ",
                "; the same command again does the rest");
        assertTrue(run.err().contains("; JGit is used instead"), run.err());
        var half = aws.codecommit.repository("parts");
        assertEquals(point.replaceAll(".*/|\\.manifest.*", ""), half.tags().get(RestoreFromS3.RESTORING));
        aws.clearFaults();
        assertEquals("updated", ok(toRepository(point, "parts")).status());
        assertRestored(point, half);
        assertFalse(half.tags().containsKey(RestoreFromS3.RESTORING));
    }

    @ParameterizedTest
    @CsvSource({"push, false", "push, true", "rev-list, false"})
    void whatGitDoesNotPushJGitDoes(String word, boolean isAtOnce) throws Exception {
        var point = save(large("large", 8, 30_000), null, NIGHT, m -> m.set("settings", settings()));
        with = isAtOnce ? BY_GIT_AT_ONCE : BY_GIT;
        git = gitThat(word + (word.equals("push") ? "" : " --objects --in-commit-order"), "exit 1");
        var run = ok(toRepository(point, "parts"));
        assertRestored(point, aws.codecommit.repository("parts"));
        assertEquals(1, run.err().lines().filter(line -> line.endsWith("; JGit is used instead")).count(), run.err());
    }

    @Test
    void gitOverwritesNobodysPush() throws Exception {
        var point = payments();
        var busy = aws.codecommit.createRepository("busy");
        with = BY_GIT;
        var isPushed = new java.util.concurrent.atomic.AtomicBoolean();
        var run = Gate.inStep(aws, call -> {
            if (call.name().equals("codecommit:GitPush") && !isPushed.getAndSet(true)) {
                busy.commit("refs/heads/main", "theirs", "theirs");
            }
        }, () -> toRepository(point, "busy"));
        failed(run, "busy: ");
        assertEquals("theirs", Git.run(busy.directory(), "show", "refs/heads/main:theirs"));
    }

    // Faults

    static Stream<String> steps() {
        return Stream.of("s3:ListObjectsV2", "s3:GetObject", "s3:HeadObject", "kms:DescribeKey",
                "codecommit:GetRepository", "codecommit:CreateRepository", "codecommit:GitPush", "codecommit:GitPull",
                "codecommit:UpdateDefaultBranch", "codecommit:ListTagsForResource", "codecommit:TagResource",
                "codecommit:ListAssociatedApprovalRuleTemplatesForRepository", "codecommit:GetApprovalRuleTemplate",
                "codecommit:CreateApprovalRuleTemplate", "codecommit:AssociateApprovalRuleTemplateWithRepository",
                "codecommit:GetRepositoryTriggers", "codecommit:PutRepositoryTriggers", "sts:GetCallerIdentity");
    }

    /** A repository whose default branch is not the first that is pushed. */
    String manySteps() {
        var steps = aws.codecommit.createRepository("steps").commit("refs/heads/a", "a", "1")
                .commit("refs/heads/main", "b", "2").defaultBranch("main");
        return save(steps, null, NIGHT, m -> m.set("settings", settings()));
    }

    @ParameterizedTest
    @MethodSource("steps")
    void everyStepSurvivesThrottlingAndLostAnswers(String step) throws Exception {
        var point = manySteps();
        for (var fault : List.of(Fault.on(step).times(2).throttle(), Fault.on(step).loseAnswer(),
                Fault.on(step).serverError())) {
            var name = "r" + System.nanoTime();
            aws.inject(fault);
            var run = ok(restore("--repository-name", "steps", "--to-repository-name", name));
            assertRestored(point, aws.codecommit.repository(name));
            assertEquals("main", aws.codecommit.repository(name).defaultBranch());
            assertEquals(1, aws.codecommit.repository(name).triggers().size());
            assertEquals(1, aws.codecommit.repository(name).approvalRuleTemplates().size());
            assertEquals(2, aws.codecommit.repository(name).tags().size());
            assertEquals("unchanged", ok(restore("--repository-name", "steps", "--to-repository-name", name)).status());
            aws.clearFaults();
        }
    }

    /** The SDK does not ask again when an answer is cut in its middle. */
    @ParameterizedTest
    @MethodSource("steps")
    void anAnswerThatIsCutIsTakenUpNowOrByTheSameCommand(String step) throws Exception {
        var point = manySteps();
        for (var at : List.of(0, 20)) {
            var name = "r" + System.nanoTime();
            aws.inject(Fault.on(step).cut(at));
            var run = restore("--repository-name", "steps", "--to-repository-name", name);
            if (run.exitCode() != 0) failed(run);
            ok(restore("--repository-name", "steps", "--to-repository-name", name));
            assertRestored(point, aws.codecommit.repository(name));
            aws.clearFaults();
        }
    }

    @ParameterizedTest
    @MethodSource("steps")
    void whatFailsForGoodIsToldAndTheSameCommandDoesTheRest(String step) throws Exception {
        var point = manySteps();
        with = IMPATIENT;
        aws.inject(Fault.on(step).always().serverError());
        var run = failed(restore("--repository-name", "steps", "--to-repository-name", "again"));
        assertEquals(Set.of(), leftovers());
        if (aws.codecommit.repository("again") != null) {
            assertTrue(run.err().contains("the same command again"), run.err());
        }
        aws.clearFaults();
        ok(restore("--repository-name", "steps", "--to-repository-name", "again"));
        assertRestored(point, aws.codecommit.repository("again"));
        assertEquals(1, aws.codecommit.repository("again").triggers().size());
    }

    @ParameterizedTest
    @MethodSource("readers")
    void aCutOrFlippedDownloadIsTakenUp(String reader) throws Exception {
        git = reader;
        var point = save(large("large", 6, 60_000), null, NIGHT);
        for (var fault : List.of(Fault.on("s3:GetObject").after(1).times(3).cut(100_000),
                Fault.on("s3:GetObject").after(1).flip(200_000), Fault.on("s3:GetObject").flip(30),
                Fault.on("s3:GetObject").cut(30))) {
            aws.clearFaults();
            aws.clearCalls();
            aws.inject(fault);
            var name = "r" + System.nanoTime();
            ok(toDirectory(point, name));
            assertRestored(point, home.resolve(name));
        }
        with = IMPATIENT;
        aws.inject(Fault.on("s3:GetObject").after(1).always().cut(0));
        failed(toDirectory(point, "never"), "after 0 of ");
        assertFalse(Files.exists(home.resolve("never")));
    }

    @Test
    void aCutDownloadGoesOnWhereItWasCut() {
        var point = save(large("large", 6, 60_000), null, NIGHT);
        aws.inject(Fault.on("s3:GetObject").after(1).times(2).cut(100_000));
        ok(toDirectory(point, "r"));
        assertEquals(4, names("s3:GetObject").size(), "the manifest, and the bundle in three pieces");
    }

    @Test
    void expiredCredentials() throws Exception {
        var point = save(large("large", 12, 30_000), null, NIGHT, m -> m.set("settings", settings()));
        aws.addCredentials("ASIAIOSFODNN7EXAMPLE", "secret/of/a/session", "token", "assumed-role/Restorer/me",
                Instant.now().plusSeconds(3600));
        System.setProperty("aws.accessKeyId", "ASIAIOSFODNN7EXAMPLE");
        System.setProperty("aws.secretAccessKey", "secret/of/a/session");
        System.setProperty("aws.sessionToken", "token");
        try {
            with = script -> script.maxBytes = 150_000;
            var pushed = new java.util.concurrent.atomic.AtomicInteger();
            aws.onCall(call -> {
                ALL.add(call);
                if (call.name().equals("codecommit:GitPush") && pushed.incrementAndGet() == 4) {
                    aws.clock = java.time.Clock.offset(java.time.Clock.systemUTC(), Duration.ofHours(2));
                }
            });
            var run = failed(toRepository(point, "again"), "again: the Git server answered 403 Forbidden; it takes"
                    + " codecommit:GitPush, the use of the repository's key, valid credentials and a right clock; ",
                    " of 4 refs are right; changed before that: repository, refs");
            assertFalse(run.err().contains("the same command again"), run.err());
            failed(toRepository(point, "again"), "ExpiredToken", "sign in again");
            failed(toDirectory(point, "r"), "ExpiredToken", "sign in again");
            aws.clock = java.time.Clock.systemUTC();
            ok(toRepository(point, "again"));
            assertRestored(point, aws.codecommit.repository("again"));
            assertTrue(aws.calls().stream()
                    .allMatch(call -> call.caller().contains("Restorer") || call.caller().isEmpty()));
        } finally {
            System.clearProperty("aws.sessionToken");
        }
    }

    /** A request to Git, how its answer refuses it, and what is said of that. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "GitPull | 0 | 401 | Unauthorized; it takes codecommit:GitPull, ",
            "GitPull | 0 | 403 | Forbidden; it takes codecommit:GitPull, ",
            "GitPull | 0 | 404 | not found",
            "GitPush | 0 | 403 | Forbidden; it takes codecommit:GitPush, ",
            "GitPush | 1 | 403 | Forbidden; it takes codecommit:GitPush, ",
            "GitPush | 1 | 400 | the Git server answered 400 Bad Request",
            "GitPush | 1 | 413 | the Git server answered 413 Request Entity Too Large"})
    void whatGitRefusesForGoodEndsAtOnce(String request, int after, int status, String says) {
        var point = payments();
        with = script -> script.linePatience = Duration.ofSeconds(2);
        aws.inject(Fault.on("codecommit:" + request).after(after).always().error(status, "Odd", "Odd"));
        var run = failed(toRepository(point, "again"), "again: ", says, "; changed before that: repository");
        assertEquals(after + 1, names("codecommit:" + request).size(), run.err());
        assertFalse(run.err().contains("again does the rest") || run.err().contains("tries again"), run.err());
    }

    /** A policy that is no status, in the words of a push's report. */
    @Test
    void aRefThatIsRefusedEndsThePushAtOnce() {
        var name = "refs/heads/" + "a".repeat(40);
        var point = save(aws.codecommit.createRepository("hex").commit(name, "a", "1"), null, NIGHT);
        with = script -> script.linePatience = Duration.ofSeconds(2);
        var run = failed(toRepository(point, "again", "--kms-key-id", "alias/codecommit"),
                "again: refused: " + name + " (names have at most", "; 0 of 1 ref is right; ");
        assertEquals(2, names("codecommit:GitPush").size(), run.err());
        assertFalse(run.err().contains("again does the rest") || run.err().contains("tries again"), run.err());
    }

    /** The first time, and not each time. */
    @ParameterizedTest
    @ValueSource(strings = {"codecommit:GitPull 0 500 again: the Git server answered 500",
            "codecommit:GitPull 0 429 again: the Git server answered 429",
            "codecommit:GitPush 0 503 again: a push failed: the Git server answered 503",
            "codecommit:GitPush 1 500 again: a push failed: the Git server answered 500",
            "codecommit:GitPush 1 0 again: a push failed: ", "s3:GetObject 1 0 .bundle: "})
    void aLineThatBreaksIsToldAtOnceAndTriedAgain(String callAfterStatusAndSaying) throws Exception {
        var parts = callAfterStatusAndSaying.split(" ", 4);
        var point = payments();
        var fault = Fault.on(parts[0]).after(Integer.parseInt(parts[1])).times(2);
        aws.inject(parts[2].equals("0") ? fault.cut(10) : fault.error(Integer.parseInt(parts[2]), "Odd", "Odd"));
        var run = ok(toRepository(point, "again"));
        assertRestored(point, aws.codecommit.repository("again"));
        var told = run.err().lines().filter(line -> line.contains("tries again")).toList();
        assertEquals(1, told.size(), run.err());
        assertTrue(told.get(0).contains(parts[3]) && told.get(0).endsWith("; tries again"), told.get(0));
    }

    static Stream<Arguments> failuresOfGit() throws Exception {
        var certificate = new SSLHandshakeException("PKIX path building failed");
        certificate.initCause(new CertificateException("no name matches"));
        var handshake = new SSLHandshakeException("Remote host terminated the handshake");
        handshake.initCause(new EOFException());
        return Stream.of(Arguments.of(true, new SocketException("Connection reset")),
                Arguments.of(true, new SocketTimeoutException("Read timed out")),
                Arguments.of(true, new EOFException("Short read of block.")),
                Arguments.of(true, new IOException("Premature EOF")), Arguments.of(true, handshake),
                Arguments.of(true, new SSLException("Tag mismatch!")),
                Arguments.of(false, new UnknownHostException("git-codecommit.invalid")),
                Arguments.of(false, certificate), Arguments.of(false, new SSLHandshakeException("handshake_failure")),
                Arguments.of(false, new FileNotFoundException("objects/pack/x.pack")),
                Arguments.of(false, new RemoteRepositoryException(new URIish("https://x/y"), "no")),
                Arguments.of(false, null));
    }

    /** Of what JGit throws only the type counts. */
    @ParameterizedTest
    @MethodSource("failuresOfGit")
    void tellsALineThatBreaksFromARefusal(boolean isOfLine, Exception cause) {
        assertEquals(isOfLine, RestoreFromS3.isOfLine(new TransportException("Connection reset", cause)));
        var failure = new RestoreFromS3().lasting(new TransportException("Connection reset", cause));
        assertFalse(RestoreFromS3.isTemporary(failure), "so that nothing says to try again");
    }

    @Test
    void anotherGitEndpoint() throws Exception {
        var point = payments();
        ok(toRepository(point, "again", "--git-endpoint", "127.0.0.1:" + aws.endpoint().getPort()));
        assertRestored(point, aws.codecommit.repository("again"));
        failed(toRepository(point, "again", "--git-endpoint", "git-codecommit.eu-west-1.invalid"), "again: ",
                "unknown host git-codecommit.eu-west-1.invalid");
        var run = failed(toRepository(point, "other", "--git-endpoint", "git-codecommit.eu-west-1.invalid"), "other: ",
                "unknown host git-codecommit.eu-west-1.invalid", "; changed before that: repository");
        assertFalse(run.err().contains("the same command again"), run.err());
    }

    @ParameterizedTest
    @MethodSource("readers")
    void aDiskWithoutRoomIsSeenFirst(String reader) {
        git = reader;
        var point = save(large("large", 6, 60_000), null, NIGHT);
        var script = new RestoreFromS3() {
            @Override
            long freeSpace(Path directory) {
                return 1_000_000;
            }
        };
        failed(Script.run(script.commandLine(), "--bucket", "backups", "--manifest", point, "--directory",
                home.resolve("r").toString()), " has room for 1.0 MB and needs ", "choose another --directory");
        assertFalse(Files.exists(home.resolve("r")));
        assertEquals(1, names("s3:GetObject").size());
    }

    @ParameterizedTest
    @MethodSource("readers")
    void aDiskThatGetsFullIsTold(String reader) throws Exception {
        var disk = Files.createDirectory(home.resolve("disk"));
        var mount = new ProcessBuilder("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk.toString())
                .redirectErrorStream(true);
        try {
            assumeTrue(mount.start().waitFor() == 0, "may not mount a small file system here");
        } catch (IOException e) {
            assumeTrue(false, "has no mount command here");
        }
        try {
            var point = save(large("large", 20, 60_000), null, NIGHT);
            var script = new RestoreFromS3() {
                @Override
                long freeSpace(Path directory) {
                    return Long.MAX_VALUE;
                }
            };
            script.git = reader;
            failed(Script.run(script.commandLine(), "--bucket", "backups", "--manifest", point, "--directory",
                    disk.resolve("r").toString()), disk.resolve("r") + "/", "No space left on device");
            assertEquals(List.of(), RestoreFromS3.entries(disk));
            assertEquals(reader.equals("git") ? 3 : 2, names("s3:GetObject").size(),
                    "the manifest and the bundle, and this once more by JGit, as what git failed of is not known");
        } finally {
            assertEquals(0, new ProcessBuilder("umount", disk.toString()).start().waitFor());
        }
    }

    /** A program in git's place: it does what is said here for the commands that have a word, and for others git. */
    String gitThat(String word, String does) throws IOException {
        var text = "#!/bin/sh\ncase \" $* \" in *\" " + word + " \"*) " + does + " ;; esac\nexec git \"$@\"\n";
        var program = Files.writeString(Files.createTempFile(home, "git-", ""), text);
        assertTrue(program.toFile().setExecutable(true));
        return program.toString();
    }

    /** The kernel kills what takes too much memory; git itself ends with 128, for whatever reason. */
    @ParameterizedTest
    @ValueSource(strings = {"index-pack; kill -9 $$; git index-pack was ended by signal 9",
            "rev-list; kill -9 $$; git rev-list was ended by signal 9",
            "index-pack; echo 'fatal: Out of memory, malloc failed' >&2 && exit 128; git index-pack failed with exit "
                    + "code 128: fatal: Out of memory, malloc failed",
            "rev-list; echo 'fatal: unable to create thread' >&2 && exit 128; git rev-list failed with exit code 128: "
                    + "fatal: unable to create thread",
            "index-pack; head -c 9 >$2/objects/pack/tmp_pack_x && exit 1; git index-pack failed with exit code 1",
            "--version; exit 127; git --version failed with exit code 127"})
    void whatGitCannotDoOnThisMachineJGitDoes(String wordAndWhatItDoesAndWhatIsSaid) throws Exception {
        var parts = wordAndWhatItDoesAndWhatIsSaid.split("; ", -1);
        var point = save(large("large", 6, 60_000), null, NIGHT);
        git = gitThat(parts[0], parts[1]);
        var run = ok(toDirectory(point, "r"));
        assertRestored(point, home.resolve("r"));
        assertEquals(List.of("restore-from-s3: " + parts[2] + "; JGit is used instead"),
                run.err().lines().skip(1).toList());
        assertEquals(List.of("idx", "pack"), RestoreFromS3.entries(home.resolve("r/objects/pack")).stream()
                .map(name -> name.replaceFirst(".*\\.", "")).sorted().toList());
        git = gitThat(parts[0], parts[1]);
        bucket.corrupt(bundle(point, 0), 5_000);
        failed(toDirectory(point, "damaged"), bundle(point, 0) + " is damaged: its SHA-256 is ");
    }

    /** Git's own configuration and variables, which are about other work on this machine. */
    @Test
    void gitRunsWithoutTheUsersConfiguration() throws Exception {
        var point = payments();
        var configuration = Files.createDirectories(home.resolve("configuration/git")).resolve("config");
        Files.writeString(configuration, "[user\n");
        Files.writeString(home.resolve(".gitconfig"), "[core]\n\trepositoryformatversion = 99\n[broken\n");
        var git = Files.writeString(Files.createDirectory(home.resolve("bin")).resolve("git"),
                "#!/bin/sh\necho \"$3\" >>'" + home.resolve("asked") + "'\nPATH=${PATH#*:} exec git \"$@\"\n");
        assertTrue(git.toFile().setExecutable(true));
        var process = process(Map.of("HOME", home.toString(), "XDG_CONFIG_HOME", home.resolve("configuration") + "",
                "PATH", git.getParent() + ":" + System.getenv("PATH"), "GIT_DIR", "/nowhere",
                "GIT_OBJECT_DIRECTORY", "/nowhere", "GIT_CONFIG_COUNT", "x"),
                List.of(), "--manifest", point, "--directory", home.resolve("r").toString());
        assertEquals(0, Wait.forEnd(process, this::said), said());
        assertFalse(said().contains("JGit"), said());
        assertEquals(List.of("--version", "index-pack", "rev-list"), Files.readAllLines(home.resolve("asked")));
        assertRestored(point, home.resolve("r"));
    }

    /** A bundle of a pack with one object, which has this type, size and, compressed, these bytes. */
    String packOf(int type, long size, byte[] compressed) {
        var pack = new ByteArrayOutputStream();
        pack.writeBytes("# v2 git bundle\n\nPACK".getBytes(StandardCharsets.US_ASCII));
        pack.writeBytes(ByteBuffer.allocate(8).putInt(2).putInt(1).array());
        var rest = size >> 4;
        pack.write((int) (type << 4 | size & 15 | (rest > 0 ? 128 : 0)));
        for (; rest > 0; rest >>= 7) pack.write((int) (rest & 127 | (rest > 127 ? 128 : 0)));
        pack.writeBytes(compressed);
        var repository = aws.codecommit.createRepository("pack" + size);
        return save(repository, null, NIGHT, m -> m.withArray("/chain")
                .add(object(ROOT + "x/y.full.bundle", pack.toByteArray()).put("kind", "full").put("objects", 1)));
    }

    @Test
    void aFileOf2GiBNeedsGit() {
        git = "no git here";
        var point = packOf(3, 1L << 31, new byte[100]);
        var run = failed(toDirectory(point, "r"), "Object too large (2,147,483,648 bytes)",
                "git, which takes more than JGit, was not used: ", "\"no git here\"");
        assertFalse(run.err().contains("restore point before it"), run.err());
        assertFalse(Files.exists(home.resolve("r")));
    }

    @Test
    void tooLittleMemoryIsToldAndIsNoDamage() throws Exception {
        var tree = new ByteArrayOutputStream();
        try (var out = new DeflaterOutputStream(tree)) {
            for (var i = 0; i < 200; i++) out.write(new byte[1 << 20]);
        }
        var point = packOf(2, 200 << 20, tree.toByteArray());
        var process = process(Map.of("PATH", home.toString()), List.of("-Xmx64m"), "--manifest", point, "--directory",
                home.resolve("r").toString());
        assertEquals(1, Wait.forEnd(process, this::said), said());
        assertTrue(said().contains("JAVA_TOOL_OPTIONS=-Xmx4g"), said());
        assertTrue(said().contains("git, which takes more than JGit, was not used"), said());
        assertFalse(said().contains("restore point before it"), said());
        assertFalse(Files.exists(home.resolve("r")));
    }

    /** The script as a process of its own. */
    Process process(String... args) throws Exception {
        return process(Map.of(), List.of(), args);
    }

    Process process(Map<String, String> environment, List<String> options, String... args) throws Exception {
        var command = new ArrayList<>(Script.withDefaultSignals());
        command.addAll(Script.java(options, "RestoreFromS3", "--bucket", "backups"));
        command.addAll(List.of(args));
        var builder = new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(home.resolve("said").toFile());
        Script.within(aws, builder).environment().putAll(environment);
        return builder.start();
    }

    String said() {
        try {
            return Files.readString(home.resolve("said"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"INT 130 --directory", "TERM 143 --directory", "INT 130 --to-repository-name",
            "TERM 143 --to-repository-name"})
    void anInterruptedRestoreLeavesNothingBehind(String signalCodeAndTarget) throws Exception {
        var signal = signalCodeAndTarget.split(" ")[0];
        var code = Integer.parseInt(signalCodeAndTarget.split(" ")[1]);
        var target = signalCodeAndTarget.split(" ")[2];
        var point = save(large("large", 6, 60_000), null, NIGHT, m -> m.set("settings", settings()));
        aws.inject(Fault.on("s3:GetObject").after(1).stall(100_000, Duration.ofHours(1)));
        var process = process("--manifest", point, target,
                target.equals("--directory") ? home.resolve("r").toString() : "new");
        try {
            Wait.until(() -> said().contains(" ...\n") || !process.isAlive(), this::said);
            var through = Path.of(said().replaceFirst("(?s).* through (.*) \\.\\.\\..*", "$1"));
            Wait.until(() -> Files.exists(through.resolve("HEAD")) || !process.isAlive(), this::said);
            assertTrue(process.isAlive(), said());
            assertEquals(0, new ProcessBuilder("kill", "-" + signal, String.valueOf(process.pid())).start().waitFor());
            assertEquals(code, Wait.forEnd(process, this::said));
            assertFalse(Files.exists(through), said());
            assertFalse(Files.exists(home.resolve("r")));
            assertNull(aws.codecommit.repository("new"));
        } finally {
            process.destroyForcibly();
        }
    }

    // By hand

    /** The shell block that restores, as it stands in the text beside the backups. */
    static String recipe() {
        return "sh -eu " + BackupToS3.GUIDE.split("\n```sh\nsh -eu ")[1].split("\n```\n")[0];
    }

    /** Runs the recipe as it stands there, in a new directory, where the result is repository.git. */
    Script.Run byHand(String manifest, Path folder) throws Exception {
        Program.needsAwsCli();
        Program.needs("jq", "jq", "--version");
        var shell = new ProcessBuilder("sh", "-c", recipe())
                .directory(Files.createDirectory(folder).toFile()).redirectError(home.resolve("said").toFile());
        Script.within(aws, shell).environment().putAll(Map.of("bucket", "backups", "manifest", manifest));
        var process = shell.start();
        var out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Script.Run(process.waitFor(), out, said());
    }

    @Test
    void theRecipeSaysHowManyRefsCameBack() throws Exception {
        var point = rawNames();
        var run = byHand(point, home.resolve("r"));
        assertEquals(0, run.exitCode(), run.toString());
        assertTrue(run.out().strip().endsWith("3 refs restored"), run.out());
        assertEquals(refs(manifest(point)), Git.refs(home.resolve("r/repository.git")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"bundle", "lost bundle", "lost objects", "lost HEAD", "manifest", "ref"})
    void theRecipeEndsAtTheFirstError(String what) throws Exception {
        var nights = chain();
        var point = nights.get(2);
        switch (what) {
            case "bundle" -> bucket.corrupt(bundle(point, 1), 60);
            case "lost bundle" -> bucket.delete(bundle(point, 1));
            case "lost objects" -> point = save(aws.codecommit.repository("chain"), point, NIGHT.plusSeconds(300_000),
                    m -> m.withArray("/chain").remove(2));
            case "lost HEAD" -> point = save(aws.codecommit.repository("chain"), point, NIGHT.plusSeconds(300_000),
                    m -> m.put("head", "1".repeat(40)));
            case "manifest" -> bucket.put(point, "none".getBytes());
            default -> point = save(aws.codecommit.repository("chain"), point, NIGHT.plusSeconds(300_000),
                    m -> m.withObject("/refs").put("refs/heads/a..b", "1".repeat(40)));
        }
        var run = byHand(point, home.resolve("r"));
        assertTrue(run.exitCode() != 0, run.toString());
        assertFalse(run.out().contains("refs restored"), run.toString());
        assertFalse(run.err().isBlank(), run.toString());
    }

    // Pull requests

    @Test
    void writesPullRequestsToAFile() throws Exception {
        var repository = aws.codecommit.createRepository("prs").commit("refs/heads/main", "a", "1");
        var first = Backups.gzip(pullRequests(Map.of("7", "ünï", "12", "new")));
        var second = Backups.gzip(pullRequests(Map.of("12", "renamed")));
        var point = save(repository, null, NIGHT,
                m -> m.putArray("pullRequests").add(object(ROOT + "prs/w.pull-requests.json.gz", first))
                .add(object(ROOT + "prs/x.pull-requests.json.gz", second)));
        var file = home.resolve("pull-requests.json");
        var args = new String[] {"--manifest", point, "--directory", home.resolve("r").toString(), "--pull-requests",
                file.toString()};
        assertEquals("would-create",
                ok(restore(Stream.concat(Stream.of(args), Stream.of("--dry-run")).toArray(String[]::new))).status());
        assertFalse(Files.exists(file));
        assertEquals(file.toString(), ok(restore(args)).json().path("pullRequests").asText());
        assertEquals(List.of("ünï", "renamed"),
                JSON.readTree(file.toFile()).path("pullRequests").findValuesAsText("title"));
        assertEquals("unchanged", ok(restore(args)).status());
        Files.writeString(file, "mine");
        failed(restore(args), "exists and is something else: use another file");
        assertEquals("mine", Files.readString(file));
        Files.delete(file);
        bucket.put(ROOT + "prs/x.pull-requests.json.gz", Backups.gzip(pullRequests(Map.of("12", "forged"))));
        failed(restore("--manifest", point, "--directory", home.resolve("r2").toString(), "--pull-requests",
                file.toString()), "pull-requests.json.gz is damaged: its SHA-256 is not that of the manifest");
        archive(ROOT + "prs/x.pull-requests.json.gz", "GLACIER");
        failed(restore("--manifest", point, "--directory", home.resolve("r2").toString(), "--pull-requests",
                file.toString()), thaw(ROOT + "prs/x.pull-requests.json.gz", "Days=7"));
        bucket.put(ROOT + "prs/x.pull-requests.json.gz", second);
        bucket.corrupt(ROOT + "prs/x.pull-requests.json.gz", 30);
        failed(restore("--manifest", point, "--directory", home.resolve("r2").toString(), "--pull-requests",
                file.toString()), "pull-requests.json.gz is damaged");
        assertFalse(Files.exists(home.resolve("r2")));
        var none = chain().get(0);
        var run = ok(restore("--manifest", none, "--directory", home.resolve("r3").toString(), "--pull-requests",
                file.toString()));
        assertTrue(run.err().contains("no pull requests were saved"), run.err());
        assertTrue(run.json().path("pullRequests").isNull(), run.out());
        assertFalse(Files.exists(file));
    }

    static ObjectNode pullRequests(Map<String, String> titles) {
        var document = JSON.createObjectNode().put("format", 1).put("tool", "x");
        titles.forEach((id, title) -> document.withArray("pullRequests").addObject().putObject("pullRequest")
                .put("pullRequestId", id).put("title", title));
        return document;
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void namesTheIamActionsThatItNeeds() {
        var forTheKey = Set.of("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo",
                "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext");
        Script.assertIamActions("RestoreFromS3", ALL, forTheKey);
    }
}
