import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import localaws.Call;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The backup, as a process of 128 MB, of more than a gigabyte and of thousands of repositories. */
class LargeRepositoriesTest extends EmptyBucket {
    @TempDir
    Path directory;

    @BeforeEach
    void takesLong() {
        assumeTrue(Boolean.getBoolean("tests.long"), "takes minutes: ./jbang test --long");
        assumeTrue(Observed.possible(), "memory and disk of a process are read from Linux's /proc");
    }

    private Observed backUp(String... arguments) throws Exception {
        var command = new ArrayList<>(List.of("./jbang", "-R=-Xmx128m", "backup-to-s3", "--bucket", "backups"));
        command.addAll(List.of(arguments));
        var run = Observed.run(Script.environment(aws), command);
        assertEquals(0, run.exitCode(), run.err());
        return run;
    }

    private static JsonNode totals(Observed run) throws IOException {
        return new ObjectMapper().readTree(run.out()).path("totals");
    }

    private void serve(String name, Path source) throws Exception {
        aws.codecommit.createRepository(name).borrow(source.resolve("objects"), Git.refs(source))
                .defaultBranch("main");
    }

    @Test
    void savesMoreThanAGigabyteInLittleMemoryWithoutDisk() throws Exception {
        var repositories = new Repositories(directory);
        var huge = repositories.blobs("huge", 1_100);
        Git.run(huge, "tag", "v1", "main~500");
        serve("a-huge", huge);
        var other = repositories.blobs("other", 40);
        for (var i = 0; i < 8; i++) serve("other" + i, other); // so that all four jobs are busy
        backUp("--dry-run"); // JBang compiles the script, which takes disk
        var run = backUp();
        assertEquals(9, totals(run).path("created").asInt(), run.out());
        assertTrue(run.memory() > 0 && run.memory() < 256 << 10, run.memory() + " KiB were resident");
        assertEquals(0, run.written(), "bytes were written to disk");

        var key = bucket.keys().stream().filter(k -> k.contains("/a-huge/") && k.endsWith(".full.bundle")).findFirst()
                .orElseThrow();
        assertTrue(bucket.size(key) > 1_100L << 20, key + " has " + bucket.size(key) + " bytes");
        var restored = directory.resolve("restored.git");
        Git.run(directory, "init", "-q", "--bare", restored.toString());
        // git index-pack, and that all refs are connected
        Git.run(restored, "fetch", "-q", bucket.file(key).toString(), "refs/*:refs/*");
        assertEquals(Git.refs(huge), Git.refs(restored));
        assertEquals(2, Git.refs(restored).size());
    }

    @Test
    void asksOnceForEachOfThousandsOfRepositoriesInWhichNothingChanged() throws Exception {
        var count = 5_000;
        for (var i = 0; i < count; i++) {
            aws.codecommit.createRepository("r" + i).commit("refs/heads/main", "a", "text " + i);
        }
        assertEquals(count, totals(backUp()).path("created").asInt());
        aws.clearCalls();
        var run = backUp();
        assertEquals(count, totals(run).path("unchanged").asInt(), run.out());
        var calls = aws.calls().stream()
                .collect(Collectors.groupingBy(Call::name, TreeMap::new, Collectors.counting()));
        assertEquals(Map.of("codecommit:ListRepositories", 5L, "codecommit:BatchGetRepositories", 200L,
                "codecommit:GitPull", 5_000L, "s3:ListObjectsV2", 1L, "s3:GetObject", 1L, "s3:PutObject", 1L,
                "sts:GetCallerIdentity", 1L), calls);
        assertTrue(run.memory() > 0 && run.memory() < 256 << 10, run.memory() + " KiB were resident");
        assertEquals(0, run.written(), "bytes were written to disk");
    }
}
