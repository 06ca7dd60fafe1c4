import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import localaws.CodeCommit;
import localaws.LocalAws;
import localaws.S3;
import org.eclipse.jgit.lib.Constants;
import org.eclipse.jgit.lib.ObjectId;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Writer and readers agree on every shape that a repository can have: what backup-to-s3 saved over some nights,
 * verify-backups finds nothing wrong with, and restore-from-s3 and plain git bring back, ref by ref.
 */
class EveryShapeTest {
    static final String MAIN = "refs/heads/main";
    static final String NO_GIT = "git-that-nobody-has";

    @TempDir
    Path directory;
    LocalAws aws;
    S3.Bucket bucket;
    /** Refs and HEAD of each restore point, by its manifest's key, in the order in which they were saved. */
    final Map<String, Saved> saved = new LinkedHashMap<>();

    /** @param head as in the file HEAD; null if a repository has no default branch */
    record Saved(String repository, Map<String, String> refs, String head) {
        /** What CodeCommit takes. */
        Map<String, String> branchesAndTags() {
            var taken = new TreeMap<>(refs);
            taken.keySet().removeIf(ref -> !ref.startsWith("refs/heads/") && !ref.startsWith("refs/tags/"));
            return taken;
        }

        /** Whether each ref can be a file of its own, with room for the ending of a lock. */
        boolean fitsFiles() {
            return refs.keySet().stream().flatMap(ref -> Stream.of(ref.split("/"))).allMatch(p -> p.length() <= 250);
        }

        String defaultBranch() {
            var branch = head == null ? "" : head.replaceFirst("^ref: refs/heads/", "").strip();
            return refs.containsKey("refs/heads/" + branch) ? branch : null;
        }
    }

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        bucket = aws.s3.createBucket("backups", "eu-west-1");
        aws.kms.createAlias("eu-west-1", "alias/codecommit", aws.kms.createKey("eu-west-1"));
        Script.use(aws);
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    /** What each repository is on the first night, and what changes before each of the others. */
    Map<String, List<Consumer<CodeCommit.Repo>>> shapes() {
        var shapes = new LinkedHashMap<String, List<Consumer<CodeCommit.Repo>>>();
        shapes.put("plain", List.of(this::small, r -> r.commit(MAIN, "c", "c"), r -> { }));
        shapes.put("without-commits", List.of(r -> { }, r -> { }, this::small));
        shapes.put("only-tags", List.of(
                r -> r.commit("refs/tags/light", "a", "a").annotatedTag("v1", "refs/tags/light"),
                r -> SampleRepositories.deleteRefs(r, "refs/tags/light").annotatedTag("v2", "refs/tags/v1"),
                r -> r.commit("refs/tags/light", "b", "b")));
        shapes.put("only-odd-namespaces", List.of(r -> r.commit("refs/custom/a", "a", "a"),
                r -> r.commit("refs/custom/a", "b", "b"), r -> r.commit("refs/pull/7/head", "c", "c")));
        shapes.put("unborn-head", List.of(r -> small(r).defaultBranch("nowhere"), r -> r.commit(MAIN, "c", "c"),
                r -> r.ref("refs/heads/nowhere", MAIN)));
        shapes.put("head-left-behind", List.of(this::small, r -> SampleRepositories.deleteRefs(r, MAIN),
                r -> r.commit("refs/heads/feature", "c", "c")));
        shapes.put("renamed-branch", List.of(this::small,
                r -> SampleRepositories.deleteRefs(r.ref("refs/heads/trunk", MAIN).defaultBranch("trunk"), MAIN),
                r -> r.commit("refs/heads/trunk", "c", "c")));
        shapes.put("swapped-branches", List.of(this::small, r -> {
            var main = r.resolve(MAIN).name();
            r.ref(MAIN, "refs/heads/feature").ref("refs/heads/feature", main);
        }, r -> r.commit("refs/heads/feature", "c", "c")));
        shapes.put("recreated-branch", List.of(this::small,
                r -> SampleRepositories.deleteRefs(r, "refs/heads/feature"),
                r -> r.commit("refs/heads/feature", "other", "root")));
        shapes.put("forced-branch", List.of(r -> small(r).commit(MAIN, "c", "c"),
                r -> r.ref(MAIN, MAIN + "~2").commit(MAIN, "d", "d"), r -> r.ref(MAIN, MAIN + "~1")));
        shapes.put("file-and-folder", List.of(r -> small(r).ref("refs/heads/a", MAIN),
                r -> SampleRepositories.deleteRefs(r, "refs/heads/a").commit("refs/heads/a/b", "c", "c"),
                r -> SampleRepositories.deleteRefs(r, "refs/heads/a/b").commit("refs/heads/a", "d", "d")));
        shapes.put("all-refs-gone", List.of(this::small, r -> SampleRepositories.deleteRefs(r, ".*"), this::small));
        // CodeCommit with a default branch has a HEAD that is one; so these have no default branch at first.
        shapes.put("detached", List.of(
                r -> SampleRepositories.deleteRefs(r.commit("refs/notes/x", "a", "a").commit("refs/notes/x", "b", "b")
                        .ref(MAIN, "refs/notes/x").ref("HEAD", "refs/notes/x~1"), "refs/notes/x"),
                r -> r.commit("HEAD", "on no branch", "c"),
                r -> r.ref("HEAD", MAIN)));
        shapes.put("detached-without-branches", List.of(
                r -> r.commit("refs/notes/first", "a", "a").ref("HEAD", "refs/notes/first"),
                r -> r.commit("HEAD", "b", "b"), r -> r.commit("refs/notes/first", "c", "c")));
        shapes.put("detached-and-then-not", List.of(
                r -> r.commit("refs/tags/x", "a", "a").ref(MAIN, "refs/tags/x").ref("HEAD", MAIN),
                r -> r.commit("HEAD", "b", "b"),
                r -> r.defaultBranch("main").commit(MAIN, "c", "c")));
        shapes.put("tags-of-everything", List.of(
                r -> small(r).annotatedTag("of-a-tag", "refs/tags/v1").annotatedTag("of-a-tree", MAIN + "^{tree}")
                        .annotatedTag("of-a-blob", MAIN + ":a.txt").ref("refs/tags/tree", MAIN + "^{tree}")
                        .ref("refs/tags/blob", MAIN + ":README.md"),
                r -> r.ref("refs/tags/only-here", insert(r, Constants.OBJ_BLOB, "nowhere else".getBytes())),
                r -> r.commit(MAIN, "c", "c").ref("refs/tags/tree", MAIN + "^{tree}")));
        shapes.put("odd-names", List.of(this::oddNames, r -> r.commit("refs/heads/ümläut/日本", "c", "c"),
                r -> SampleRepositories.deleteRefs(r, "refs/heads/[^mf].*").commit(MAIN, "d", "d")));
        shapes.put("names-as-of-git", List.of(
                r -> small(r).ref("refs/tags/main", MAIN + "~1").ref("refs/heads/HEAD", MAIN)
                        .ref("refs/heads/Main", "refs/heads/feature").ref("refs/stash", MAIN)
                        .ref("refs/heads/refs/heads/main", MAIN).ref("refs/bundles/1/heads/main", "refs/heads/feature"),
                r -> r.commit("refs/heads/HEAD", "c", "c"), r -> r.ref("refs/HEAD", MAIN)));
        shapes.put("replaced", List.of(
                r -> small(r).ref("refs/replace/" + r.resolve(MAIN).name(), "refs/heads/feature"),
                r -> r.commit(MAIN, "c", "c"), r -> { }));
        shapes.put("long-names", List.of(r -> borrow(r, "x".repeat(256), "y/".repeat(127) + "yy"),
                r -> borrow(r, "x".repeat(256), "z".repeat(255)), r -> borrow(r, "y/".repeat(126) + "zzzz")));
        var many = Boolean.getBoolean("tests.long") ? 17_000 : 1_700;
        shapes.put("many-refs", List.of(r -> borrow(r, numbers(many)), r -> borrow(r, numbers(many + 1)),
                r -> borrow(r, numbers(many / 2))));
        shapes.put("large-files-elsewhere", List.of(
                r -> small(r).commit(MAIN, ".gitattributes", "*.psd filter=lfs diff=lfs merge=lfs -text\n")
                        .commit(MAIN, "a.psd", "version https://git-lfs.github.com/spec/v1\noid sha256:"
                                + "0".repeat(64) + "\nsize 1\n"),
                r -> r.commit(MAIN, "b.psd", "more"), r -> r.commit(MAIN, ".gitattributes", "")));
        shapes.put("recreated-repository", List.of(this::small, r -> {
            aws.codecommit.deleteRepository("eu-west-1", r.name);
            small(aws.codecommit.createRepository(r.name)).ref("refs/heads/other", MAIN);
        }, r -> r.commit("refs/heads/other", "c", "c")));
        shapes.put("submodule", List.of(r -> small(r).ref("refs/heads/sub", submodule(r)),
                r -> r.commit("refs/heads/sub", "c", "c"), r -> { }));
        return shapes;
    }

    CodeCommit.Repo small(CodeCommit.Repo repository) {
        return repository.commit(MAIN, "README.md", "# " + repository.name + "\n").commit(MAIN, "a.txt", "a\n")
                .commit("refs/heads/feature", "b.txt", "b\n").annotatedTag("v1", MAIN);
    }

    void oddNames(CodeCommit.Repo repository) {
        small(repository);
        for (var name : List.of("heads/ümläut/日本", "heads/quote\"and'apostrophe", "heads/a$b`c;d&e|f",
                "heads/per%cent", "heads/#hash", "heads/-dash", "heads/a,b{c}(d)<e>=+@!", "heads/line\u2028break",
                "tags/🚀", "tags/a.b.c", "notes/commits", "custom/deep/er/ref"))
            repository.ref("refs/" + name, "refs/heads/feature");
    }

    static String insert(CodeCommit.Repo repository, int type, byte[] content) {
        try (var inserter = repository.git().newObjectInserter()) {
            var id = inserter.insert(type, content);
            inserter.flush();
            return id.name();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A commit whose tree has the commit of a submodule, which is elsewhere. */
    static String submodule(CodeCommit.Repo repository) {
        var tree = new ByteArrayOutputStream();
        tree.writeBytes("160000 sub\0".getBytes());
        var id = new byte[20];
        ObjectId.fromString("1".repeat(40)).copyRawTo(id, 0);
        tree.writeBytes(id);
        var commit = "tree " + insert(repository, Constants.OBJ_TREE, tree.toByteArray())
                + "\nauthor Ada <ada@example.com> 1767225600 +0000\ncommitter Ada <ada@example.com> 1767225600 +0000"
                + "\n\nsub\n";
        return insert(repository, Constants.OBJ_COMMIT, commit.getBytes());
    }

    static String[] numbers(int count) {
        return IntStream.range(0, count).mapToObj(i -> "of/many/" + i).toArray(String[]::new);
    }

    /** Branches in a file of packed refs, since no file may have the longest of these names. */
    void borrow(CodeCommit.Repo repository, String... branches) {
        var source = Objects.requireNonNullElseGet(aws.codecommit.repository("plain"), () -> repository);
        var refs = new TreeMap<String, String>();
        var id = source.resolve(MAIN + "~" + branches.length % 2).name();
        for (var branch : branches) refs.put("refs/heads/" + branch, id);
        refs.put(MAIN, source.resolve(MAIN).name());
        try {
            repository.borrow(source.directory().resolve("objects"), refs).defaultBranch("main");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void whatWasSavedIsVerifiedAndRestored() throws Exception {
        for (var tool : List.of("git", "aws", "jq"))
            assumeTrue(Stream.of(System.getenv("PATH").split(File.pathSeparator))
                    .anyMatch(folder -> Files.isExecutable(Path.of(folder, tool))), tool + " is not on the PATH");
        var shapes = shapes();
        shapes.keySet().forEach(aws.codecommit::createRepository);
        for (var night = 0; night < 3; night++) save(shapes, night);
        assertEquals(shapes.keySet(), saved.values().stream().map(Saved::repository).collect(Collectors.toSet()));
        for (var git : List.of("git", NO_GIT)) verify(git);
        var faults = new ArrayList<String>();
        saved.keySet().forEach(key -> check(key, faults));
        assertEquals("", String.join("\n", faults));
    }

    void save(Map<String, List<Consumer<CodeCommit.Repo>>> shapes, int night) throws IOException {
        shapes.forEach((name, nights) -> nights.get(night).accept(aws.codecommit.repository(name)));
        var run = Backups.run();
        assertEquals(0, run.exitCode(), run.err());
        for (var name : shapes.keySet()) {
            var keys = Backups.manifests(bucket, name);
            var repository = aws.codecommit.repository(name);
            var head = Files.readString(repository.directory().resolve("HEAD"));
            var hasHead = repository.defaultBranch() != null || !head.startsWith("ref: ");
            saved.putIfAbsent(keys.get(keys.size() - 1),
                    new Saved(name, Git.refs(repository.directory()), hasHead ? head : null));
        }
    }

    void verify(String git) {
        var script = new VerifyBackups();
        script.gitCommand = git;
        var run = Script.run(script.commandLine(), "--bucket", "backups", "--all", "--deep");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(saved.size(), run.json().at("/totals/restorePoints").asInt(), run.out());
        assertEquals(git.equals(NO_GIT) ? 1 : 0, run.err().lines().filter(line -> line.contains(" git ")).count(),
                run.err());
    }

    /** Every way back. */
    void check(String key, List<String> faults) {
        var point = saved.get(key);
        var isNewest = saved.entrySet().stream().filter(each -> each.getValue().repository.equals(point.repository))
                .reduce((a, b) -> b).orElseThrow().getKey().equals(key);
        var number = new ArrayList<>(saved.keySet()).indexOf(key);
        var isThorough = isNewest || Boolean.getBoolean("tests.long");
        if (isThorough || number % 2 == 0) attempt(key, "git", faults, () -> intoDirectory(key, "git"));
        if (isThorough || number % 2 == 1) attempt(key, "JGit", faults, () -> intoDirectory(key, NO_GIT));
        if (isThorough || !point.fitsFiles()) attempt(key, "by hand", faults,
                () -> byHand(key, directory.resolve("by-hand-" + number)));
        // The embedded CodeCommit takes a push into files.
        if (isThorough && point.fitsFiles()) attempt(key, "CodeCommit", faults,
                () -> intoCodeCommit(key, "restored-" + number));
    }

    interface Step {
        void run() throws Exception;
    }

    static void attempt(String key, String how, List<String> faults, Step step) {
        try {
            step.run();
        } catch (Exception | AssertionError e) {
            faults.add(key.replaceFirst(".*/eu-west-1/", "") + " " + how + ": " + e);
        }
    }

    void intoDirectory(String key, String git) throws Exception {
        var target = Files.createTempDirectory(directory, "restored-").resolve("r.git");
        var script = new RestoreFromS3();
        script.git = git;
        var run = Script.run(script.commandLine(), "--bucket", "backups", "--manifest", key, "--directory",
                target.toString());
        assertEquals(0, run.exitCode(), run.err());
        assertSame(saved.get(key), target);
    }

    static void assertSame(Saved expected, Path repository) throws IOException {
        assertEquals(expected.refs, Git.refs(repository));
        if (expected.head != null) assertEquals(expected.head, Files.readString(repository.resolve("HEAD")));
        assertEquals("", Git.fsck(repository));
    }

    void intoCodeCommit(String key, String name) throws Exception {
        var run = Script.run(new RestoreFromS3().commandLine(), "--bucket", "backups", "--manifest", key,
                "--to-repository-name", name, "--kms-key-id", "alias/codecommit");
        var point = saved.get(key);
        var leftOut = new TreeSet<>(point.refs.keySet());
        leftOut.removeAll(point.branchesAndTags().keySet());
        if (point.head != null && point.defaultBranch() == null) leftOut.add("HEAD");
        assertEquals(leftOut.isEmpty() ? 0 : 3, run.exitCode(), run.err());
        assertEquals(leftOut, new TreeSet<>(run.json().path("leftOut").findValuesAsText("what")));
        var repository = aws.codecommit.repository(name);
        assertEquals(point.branchesAndTags(), Git.refs(repository.directory()));
        if (point.defaultBranch() != null) assertEquals(point.defaultBranch(), repository.defaultBranch());
        assertEquals("", Git.fsck(repository.directory()));
    }

    void byHand(String key, Path folder) throws Exception {
        var shell = new ProcessBuilder("sh", "-c", RestoreFromS3Test.recipe())
                .directory(Files.createDirectory(folder).toFile()).redirectErrorStream(true);
        Script.within(aws, shell).environment().putAll(Map.of("bucket", "backups", "manifest", key));
        var process = shell.start();
        var output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        assertTrue(Files.isDirectory(folder.resolve("repository.git")), output);
        assertSame(saved.get(key), folder.resolve("repository.git"));
    }
}
