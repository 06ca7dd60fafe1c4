import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import java.util.stream.Collectors;
import localaws.CodeCommit;
import localaws.LocalAws;

/** CodeCommit repositories that tests back up. */
final class SampleRepositories {
    /** So that faults hit parts of an upload without moving megabytes; S3's own least part is 5 MiB. */
    static final int SMALL_PART = 128 << 10;
    private static Path large;
    private static Map<String, String> largeRefs;
    private static String firstOfLarge;

    private SampleRepositories() {
    }

    static CodeCommit.Repo small(LocalAws aws, String name) {
        return aws.codecommit.createRepository(name).commit("refs/heads/main", "README.md", "# " + name + "\n")
                .commit("refs/heads/main", "a.txt", "a\n").commit("refs/heads/feature", "b.txt", "b\n")
                .annotatedTag("v1", "refs/heads/main");
    }

    /** Text that does not get smaller in a pack, so that a few commits are small against the full bundle. */
    static String bulk(int size) {
        return new Random(size).ints(size, ' ', '~').mapToObj(Character::toString).collect(Collectors.joining());
    }

    /** Deletes the refs whose whole names fit. */
    static CodeCommit.Repo deleteRefs(CodeCommit.Repo repository, String pattern) {
        return repository.work(git -> {
            for (var ref : git.getRefDatabase().getRefsByPrefix("refs/")) {
                if (!ref.getName().matches(pattern)) continue;
                var update = git.updateRef(ref.getName());
                update.setForceUpdate(true);
                update.delete();
            }
        });
    }

    /** A repository of four small parts, made once by each class that asks for it. */
    static synchronized Path large() throws Exception {
        if (large == null) {
            large = Files.createTempDirectory("large-");
            Git.run(large, "init", "-q", "--bare", "-b", "main", "large.git");
            Repositories.addBlobs(large.resolve("large.git"), 1, 24, 16 << 10, 5);
            largeRefs = Git.refs(large.resolve("large.git"));
            firstOfLarge = Git.run(large.resolve("large.git"), "rev-list", "--max-parents=0", "main").strip();
        }
        return large.resolve("large.git");
    }

    /** Another class of this JVM may come to it. */
    static synchronized void deleteLarge() throws IOException {
        if (large != null) Directories.delete(large);
        large = null;
    }

    static CodeCommit.Repo large(LocalAws aws, String name) throws Exception {
        return aws.codecommit.createRepository(name).borrow(large().resolve("objects"), largeRefs)
                .defaultBranch("main");
    }

    /** As {@link #large} was after its first commit. */
    static CodeCommit.Repo largeAtFirst(LocalAws aws, String name) throws Exception {
        return aws.codecommit.createRepository(name)
                .borrow(large().resolve("objects"), Map.of("refs/heads/main", firstOfLarge)).defaultBranch("main");
    }

    /** Takes main on to its last commit. */
    static void advance(CodeCommit.Repo largeAtFirst) {
        largeAtFirst.ref("refs/heads/main", largeRefs.get("refs/heads/main"));
    }
}
