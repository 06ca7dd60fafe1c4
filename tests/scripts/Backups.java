import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import java.util.zip.CRC32;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import localaws.CodeCommit;
import localaws.S3;

/** Backups: made by runs of backup-to-s3 in this JVM, read by their format alone, restored by plain git. */
final class Backups {
    static final String ROOT = "projects/codecommit-backup/111122223333/";
    private static final ObjectMapper JSON = new ObjectMapper();

    private Backups() {
    }

    // ---- Runs

    static Script.Run run(String... args) {
        return run(script -> { }, args);
    }

    /** Into the bucket backups, if the arguments name no other. */
    static Script.Run run(Consumer<BackupToS3> settings, String... args) {
        var script = new BackupToS3();
        settings.accept(script);
        return run(script, args);
    }

    static Script.Run run(BackupToS3 script, String... args) {
        script.backOff = Duration.ofMillis(1);
        var all = new ArrayList<>(List.of(args));
        if (!all.contains("--bucket")) all.addAll(0, List.of("--bucket", "backups"));
        return Script.run(script.commandLine(), all.toArray(String[]::new));
    }

    /** What a run says that must succeed. */
    static JsonNode saved(String... args) {
        var run = run(args);
        assertEquals(0, run.exitCode(), run.err());
        return run.json();
    }

    /** What a run says of a repository. */
    static JsonNode repository(JsonNode result, String name) {
        return result.path("repositories").valueStream().filter(r -> r.path("repositoryName").asText().equals(name))
                .findFirst().orElseThrow();
    }

    // ---- The format

    static ObjectNode document(S3.Bucket bucket, String key) {
        try (var in = new GZIPInputStream(new ByteArrayInputStream(bucket.get(key)))) {
            return (ObjectNode) JSON.readTree(in);
        } catch (IOException e) {
            throw new UncheckedIOException(key, e);
        }
    }

    static JsonNode json(String text) {
        try {
            return JSON.readTree(text);
        } catch (IOException e) {
            throw new UncheckedIOException(text, e);
        }
    }

    /** The newest manifest of a repository. */
    static JsonNode manifest(S3.Bucket bucket, String repository) {
        var keys = manifests(bucket, repository);
        return document(bucket, keys.get(keys.size() - 1));
    }

    /** The keys of a repository's manifests, the newest last. */
    static List<String> manifests(S3.Bucket bucket, String repository) {
        return bucket.keys().stream().filter(key -> key.startsWith(ROOT + "eu-west-1/" + repository + "/")
                && key.endsWith(".manifest.json.gz")).toList();
    }

    /** Where the pack begins: behind the header's empty line. */
    static int pack(byte[] bundle) {
        var i = 0;
        while (bundle[i] != '\n' || bundle[i + 1] != '\n') i++;
        return i + 2;
    }

    static byte[] gzip(JsonNode document) {
        var bytes = new ByteArrayOutputStream();
        try (var out = new GZIPOutputStream(bytes)) {
            JSON.writeValue(out, document);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    /** As S3 and the manifests spell it. */
    static String crc32(byte[] bytes) {
        var crc = new CRC32();
        crc.update(bytes);
        return Base64.getEncoder().encodeToString(ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
    }

    static String sha(String algorithm, byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance(algorithm).digest(bytes));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    // ---- Restores

    /** Restores a manifest by git alone, as the README does. */
    static void restore(S3.Bucket bucket, JsonNode manifest, Path repository) throws IOException {
        Git.run(repository.getParent(), "init", "-q", "--bare", "--template=", repository.toString());
        for (var bundle : manifest.get("chain")) {
            Git.run(repository, "bundle", "unbundle", bucket.file(bundle.get("key").asText()).toString());
        }
        var packed = new StringBuilder();
        manifest.get("refs").properties()
                .forEach(ref -> packed.append(ref.getValue().asText()).append(' ').append(ref.getKey()).append('\n'));
        Files.writeString(repository.resolve("packed-refs"), packed);
        var head = manifest.get("head").asText("refs/heads/main");
        Files.writeString(repository.resolve("HEAD"), (head.startsWith("refs/") ? "ref: " : "") + head + "\n");
    }

    /** That a restore point brings back these refs and HEAD. */
    static void assertRestores(S3.Bucket bucket, JsonNode manifest, String state) throws IOException {
        var directory = Files.createTempDirectory("restored-");
        var repository = directory.resolve("r.git");
        restore(bucket, manifest, repository);
        assertEquals(state, Git.state(repository, state.startsWith("ref: ")));
        assertEquals("", Git.fsck(repository));
        assertVerified(bucket, manifest);
        Directories.delete(directory);
    }

    /** That the newest restore point of a repository is what the repository is now. */
    static void assertRestores(S3.Bucket bucket, CodeCommit.Repo source) throws IOException {
        assertRestores(bucket, manifest(bucket, source.name),
                Git.state(source.directory(), source.defaultBranch() != null));
    }

    /** That the bundles of a manifest are what it says they are. */
    static void assertVerified(S3.Bucket bucket, JsonNode manifest) {
        for (var bundle : manifest.get("chain")) {
            var key = bundle.get("key").asText();
            var bytes = bucket.get(key);
            assertEquals(bundle.get("size").asLong(), bytes.length);
            assertEquals(bundle.get("sha256").asText(), sha("SHA-256", bytes));
            assertEquals(bundle.get("crc32").asText(), bucket.headers(key).get("x-amz-checksum-crc32"));
            assertEquals("FULL_OBJECT", bucket.headers(key).get("x-amz-checksum-type"));
            assertEquals(bundle.get("pack").asText(), assertWhole(key, bytes));
            assertEquals(bundle.get("objects").asLong(), ByteBuffer.wrap(bytes).getInt(pack(bytes) + 8));
        }
    }

    /** That a bundle's pack ends with the hash of all before, which this gives. */
    static String assertWhole(String key, byte[] bundle) {
        var end = bundle.length - 20;
        var hash = HexFormat.of().formatHex(bundle, end, bundle.length);
        assertEquals(sha("SHA-1", Arrays.copyOfRange(bundle, pack(bundle), end)), hash, key);
        return hash;
    }
}
