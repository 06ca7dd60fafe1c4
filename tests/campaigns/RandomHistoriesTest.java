import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.CodeCommit;
import localaws.LocalAws;
import localaws.S3;
import org.eclipse.jgit.dircache.DirCache;
import org.eclipse.jgit.dircache.DirCacheEditor;
import org.eclipse.jgit.dircache.DirCacheEntry;
import org.eclipse.jgit.lib.CommitBuilder;
import org.eclipse.jgit.lib.Constants;
import org.eclipse.jgit.lib.FileMode;
import org.eclipse.jgit.lib.ObjectId;
import org.eclipse.jgit.lib.PersonIdent;
import org.eclipse.jgit.lib.Ref;
import org.eclipse.jgit.lib.RefUpdate;
import org.eclipse.jgit.lib.Repository;
import org.eclipse.jgit.lib.TagBuilder;
import org.eclipse.jgit.revwalk.RevWalk;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Whatever happens to a repository, every restore point brings back the refs and HEAD of its time. Histories are made
 * from seeds, 20 of them in {@code ./jbang test}, 200 fresh ones in {@code ./jbang test --long}. A history that fails
 * is made as short as it gets, and can then be kept in {@link #ONCE_FAILED}.
 */
class RandomHistoriesTest {
    /** What went wrong once, as a failure prints it. */
    static final List<String> ONCE_FAILED = List.of(
            // a tag of the empty tree
            "BULK 811010222, MERGE 429831000, REWRITE 1019586662, COMMIT 69486817, MERGE 701084747, TAG 506384461, "
                    + "BACKUP 687515792, COMMIT 1031832527");

    /** What may happen; how often, against the others. */
    enum Kind {
        BACKUP(8), COMMIT(10), BULK(1), MERGE(3), CROSS(2), BRANCH(3), ORPHAN(1), TAG(3), ANNOTATE(3), MOVE(3),
        REWRITE(2), DELETE(3), AGAIN(2), DEFAULT(1), EMPTY(1), GC(1), LATER(2);

        final int weight;

        Kind(int weight) {
            this.weight = weight;
        }
    }

    /**
     * One of them; all that is left to chance comes from the dice, and from what there is then: without any other step
     * it is still a step.
     */
    record Step(Kind kind, int dice) {
        @Override
        public String toString() {
            return kind + " " + dice;
        }
    }

    static List<Step> history(long seed) {
        var random = new Random(seed);
        var all = Arrays.stream(Kind.values()).flatMap(kind -> Stream.generate(() -> kind).limit(kind.weight)).toList();
        var steps = Stream.generate(() -> new Step(all.get(random.nextInt(all.size())), random.nextInt(1 << 30)))
                .limit(8 + random.nextInt(40));
        // Behind a small full bundle there is soon another one.
        return Stream
                .concat(seed % 3 == 0 ? Stream.of() : Stream.of(new Step(Kind.BULK, random.nextInt(1 << 30))), steps)
                .toList();
    }

    /** As toString() has them, separated by commas. */
    static List<Step> steps(String text) {
        return Arrays.stream(text.split(", ")).map(step -> step.split(" "))
                .map(step -> new Step(Kind.valueOf(step[0]), Integer.parseInt(step[1]))).toList();
    }

    /** How a restore point is brought back: gives HEAD and refs, as {@link Git#state} does. */
    interface Restore {
        String state(S3.Bucket bucket, String manifest, boolean hasHead, int turn) throws Exception;
    }

    static Stream<String> histories() {
        return Campaign.trials(RandomHistoriesTest.class, ONCE_FAILED, 20, 200);
    }

    @ParameterizedTest
    @MethodSource("histories")
    void everyRestorePointRestores(String history) throws Exception {
        var steps = history.contains(" ") ? steps(history) : history(Long.parseLong(history));
        run(history, steps, RandomHistoriesTest::restored);
    }

    /** Plays a history; if it fails, says with how few steps it does, too. */
    static void run(String name, List<Step> steps, Restore restore) {
        var failure = failure(steps, restore);
        if (failure == null) return;
        var least = Campaign.shrunk(steps, fewer -> failure(fewer, restore) != null);
        throw new AssertionError(name + " fails, with these steps of " + steps.size() + " too: "
                + least.stream().map(Step::toString).collect(Collectors.joining(", ")), failure(least, restore));
    }

    static Throwable failure(List<Step> steps, Restore restore) {
        try (var life = new Life(restore)) {
            life.live(steps);
            return null;
        } catch (Exception | AssertionError e) {
            return e;
        }
    }

    /** By turns with plain git alone, with the script and git, and with the script and JGit. */
    static String restored(S3.Bucket bucket, String manifest, boolean hasHead, int turn) throws Exception {
        var directory = Files.createTempDirectory("history-");
        var repository = directory.resolve("r.git");
        if (turn % 4 == 0) {
            Backups.restore(bucket, Backups.document(bucket, manifest), repository);
        } else {
            var script = new RestoreFromS3();
            script.git = turn % 4 == 1 ? "git" : "no git here";
            var run = Script.run(script.commandLine(), "--bucket", "backups", "--manifest", manifest, "--directory",
                    repository.toString());
            assertEquals(0, run.exitCode(), run.err());
        }
        var state = Git.state(repository, hasHead);
        assertEquals("", Git.fsck(repository));
        Directories.delete(directory);
        return state;
    }

    /** A repository, its backups, and what it was when they were made. */
    static class Life implements AutoCloseable {
        static final List<String> NAMES = List.of("heads/main", "heads/develop", "heads/release/1.10",
                "heads/release/1.9", "heads/d", "heads/d/e", "heads/d/e/f", "heads/MAIN",
                "heads/ümläut/日本語", "heads/\uD83D\uDE00", "heads/a#b'c\"d$e%f&g`h;i|j<k>l(m)n!o,p=q+r",
                "heads/$(touch$IFS.x)", "heads/-dash", "heads/HEAD", "heads/@", "heads/a@b",
                "heads/refs/heads/main", "heads/e\u0301", "heads/\u00e9", "heads/" + "x".repeat(240),
                "heads/" + "\uD83D\uDE80".repeat(58),
                "heads/" + "long/".repeat(49) + "name", "heads/%2e%2e", "tags/v1", "tags/v1.9", "tags/v1.10",
                "tags/main", "tags/t", "tags/t/u", "tags/\"quoted\"", "tags/{x}",
                "tags/\uFF5E", "tags/" + "ü".repeat(120), "custom/notes", "custom/deep/er/ref");

        final LocalAws aws = LocalAws.start();
        final S3.Bucket bucket = aws.s3.createBucket("backups", "eu-west-1");
        final CodeCommit.Repo repo = aws.codecommit.createRepository("r");
        final Repository git = repo.git();
        final Restore restore;
        final List<ObjectId> commits = new ArrayList<>();
        final Map<String, ObjectId> deleted = new TreeMap<>();
        /** By manifest. */
        final Map<String, String> then = new LinkedHashMap<>();
        /** Goes on by a little with every look at it, so that no machine is too slow for what is due, and when. */
        Instant now = Instant.now();
        final Clock clock = new SuppliedClock(this::nextInstant);
        /** When the newest full bundle, or what stands for it, was made. */
        Instant full;
        int seconds;
        /** How much of what does not get smaller the next commit has. */
        int bulk;
        Random random;

        Life(Restore restore) {
            this.restore = restore;
            Script.use(aws);
        }

        @Override
        public void close() {
            aws.close();
        }

        private synchronized Instant nextInstant() {
            now = now.plusMillis(1);
            return now;
        }

        void live(List<Step> steps) throws Exception {
            for (var step : steps) {
                random = new Random(step.dice);
                try {
                    take(step.kind);
                } catch (AssertionError | RuntimeException e) {
                    throw new AssertionError("in " + step, e);
                }
            }
            random = new Random(0);
            backUp();
            assertEquals("unchanged", backUp("30d"));
            assertEquals(List.copyOf(then.keySet()),
                    bucket.keys().stream().filter(key -> key.endsWith(".manifest.json.gz")).toList());
            var turn = 0;
            for (var point : then.entrySet()) {
                assertEquals(point.getValue(),
                        restore.state(bucket, point.getKey(), hasHead(point.getValue()), turn++), point.getKey());
            }
            var verify = new VerifyBackups();
            verify.now = now;
            verify.withoutGit = true; // each restore point has been through git fsck
            var run = Script.run(verify.commandLine(), "--bucket", "backups", "--all", "--deep");
            assertEquals(0, run.exitCode(), run.err());
            assertEquals(then.size(), run.json().at("/repositories/0/restorePoints").asInt(), run.out());
        }

        static boolean hasHead(String state) {
            return state.startsWith("ref: ");
        }

        void take(Kind kind) throws Exception {
            switch (kind) {
                case BACKUP -> backUp();
                case COMMIT -> {
                    var tip = chance(8) ? null : ref("heads/");
                    if (tip == null) {
                        put(name("heads/"), commit(commits.isEmpty() ? List.of() : List.of(any(commits))));
                    } else {
                        var commit = tip.getObjectId();
                        for (var i = random.nextInt(3); i >= 0; i--) commit = commit(List.of(commit));
                        put(tip.getName(), commit);
                    }
                }
                case BULK -> {
                    bulk = 60_000;
                    var tip = ref("heads/");
                    put(tip == null ? name("heads/") : tip.getName(),
                            commit(tip == null ? List.of() : List.of(tip.getObjectId())));
                    bulk = 0;
                }
                case MERGE -> {
                    var parents = new ArrayList<ObjectId>();
                    var tip = ref("heads/");
                    if (tip == null) return;
                    parents.add(tip.getObjectId());
                    for (var i = 1 + random.nextInt(4); i > 0; i--) {
                        var other = chance(3) ? any(commits) : ref("heads/").getObjectId();
                        if (!parents.contains(other)) parents.add(other);
                    }
                    put(tip.getName(), commit(parents));
                }
                case CROSS -> {
                    var one = ref("heads/");
                    var other = ref("heads/");
                    if (one == null || one.getName().equals(other.getName())) return;
                    for (var i = random.nextInt(2); i >= 0; i--) {
                        var a = commit(List.of(one.getObjectId(), other.getObjectId()));
                        var b = commit(List.of(other.getObjectId(), one.getObjectId()));
                        put(one.getName(), a);
                        put(other.getName(), b);
                        one = git.exactRef(one.getName());
                        other = git.exactRef(other.getName());
                    }
                }
                case BRANCH -> {
                    if (!commits.isEmpty()) put(name("heads/"), any(commits));
                }
                case ORPHAN -> put(name("heads/"), commit(List.of()));
                case TAG -> {
                    if (!commits.isEmpty()) put(name(chance(6) ? "custom/" : "tags/"), target());
                }
                case ANNOTATE -> {
                    if (!commits.isEmpty()) {
                        var name = name("tags/");
                        put(name, tag(name, target()));
                    }
                }
                case MOVE -> {
                    var ref = ref("");
                    if (ref != null && !commits.isEmpty()) {
                        put(ref.getName(), ref.getName().startsWith("refs/heads/") ? any(commits) : target());
                    }
                }
                case REWRITE -> {
                    var tip = ref("heads/");
                    if (tip == null) return;
                    var kept = tip.getObjectId();
                    try (var walk = new RevWalk(git)) {
                        for (var i = random.nextInt(4); i >= 0 && kept != null; i--) {
                            kept = walk.parseCommit(kept).getParentCount() == 0 ? null
                                    : walk.parseCommit(kept).getParent(0).copy();
                        }
                    }
                    var commit = kept == null ? commit(List.of()) : commit(List.of(kept));
                    for (var i = random.nextInt(3); i > 0; i--) commit = commit(List.of(commit));
                    put(tip.getName(), commit);
                }
                case DELETE -> {
                    for (var i = random.nextInt(3); i >= 0; i--) {
                        var ref = ref("");
                        if (ref != null) delete(ref);
                    }
                }
                case AGAIN -> {
                    var names = List.copyOf(deleted.keySet());
                    if (names.isEmpty()) return;
                    var name = any(names);
                    if (has(deleted.get(name))) put(name, deleted.remove(name));
                    else if (!commits.isEmpty()) put(name, any(commits));
                }
                case DEFAULT -> {
                    var branch = chance(5) ? null : ref("heads/");
                    repo.defaultBranch(
                            (branch == null ? name("heads/") : branch.getName()).substring("refs/heads/".length()));
                }
                case EMPTY -> {
                    if (chance(2)) for (var ref : refs("")) delete(ref);
                }
                case GC -> {
                    Git.run(repo.directory(), "gc", "-q", "--prune=now");
                    git.getObjectDatabase().close(); // JGit remembers loose objects
                    commits.removeIf(commit -> !has(commit));
                }
                case LATER -> now = now.plus(
                        chance(2) ? Duration.ofHours(1 + random.nextInt(48)) : Duration.ofDays(1 + random.nextInt(50)));
            }
        }

        /** Also that it wrote a restore point if something changed, and else only when the full bundle was due. */
        void backUp() throws Exception {
            var every = chance(4) ? any(List.of("1h", "36h", "7d")) : "30d";
            backUp(every);
            if (chance(3)) assertEquals("unchanged", backUp(every));
        }

        String backUp(String every) throws Exception {
            var hasHead = repo.defaultBranch() != null;
            var state = Git.state(repo.directory(), hasHead);
            var last = then.values().stream().reduce((a, b) -> b).orElse(null);
            var run = Backups.run(script -> script.clock = clock, "--full-every", every);
            assertEquals(0, run.exitCode(), run.err());
            var shown = run.json().at("/repositories/0");
            var fresh = bucket.keys().stream()
                    .filter(key -> key.endsWith(".manifest.json.gz") && !then.containsKey(key)).toList();
            var age = full == null ? null : Duration.between(full, now);
            var limit = BackupToS3.duration(every);
            var changed = !state.equals(last);
            if (changed || age.compareTo(limit) >= 0) {
                assertEquals(1, fresh.size(), run.err());
            } else if (age.compareTo(limit.multipliedBy(2).dividedBy(3).minusMinutes(10)) < 0) {
                assertEquals(List.of(), fresh, run.err());
            }
            assertEquals(fresh.isEmpty() ? "unchanged" : "created", shown.path("status").asText());
            for (var key : fresh) {
                then.put(key, state);
                var manifest = Backups.document(bucket, key);
                Backups.assertVerified(bucket, manifest);
                if (manifest.at("/chain").isEmpty() || shown.path("kind").asText().equals("full")) full = now;
            }
            return shown.path("status").asText();
        }

        boolean chance(int of) {
            return random.nextInt(of) == 0;
        }

        <T> T any(List<T> all) {
            return all.get(random.nextInt(all.size()));
        }

        String name(String beginning) {
            return "refs/" + any(NAMES.stream().filter(name -> name.startsWith(beginning)).toList());
        }

        List<Ref> refs(String beginning) throws IOException {
            return git.getRefDatabase().getRefsByPrefix("refs/" + beginning);
        }

        /** Any ref; null if there is none. */
        Ref ref(String beginning) throws IOException {
            var all = refs(beginning);
            return all.isEmpty() ? null : any(all);
        }

        boolean has(ObjectId id) {
            try {
                return git.getObjectDatabase().has(id);
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        }

        /** A commit, tree, blob or tag that there is, or a new blob. */
        ObjectId target() throws IOException {
            var commit = any(commits);
            try (var walk = new RevWalk(git); var inserter = git.newObjectInserter()) {
                switch (random.nextInt(6)) {
                    case 0:
                        return walk.parseCommit(commit).getTree().copy();
                    case 1:
                        var files = DirCache.read(git.newObjectReader(), walk.parseCommit(commit).getTree());
                        for (var i = 0; i < files.getEntryCount(); i++) {
                            if (files.getEntry(i).getFileMode().getObjectType() == Constants.OBJ_BLOB) {
                                return files.getEntry(i).getObjectId();
                            }
                        }
                        return commit;
                    case 2:
                        var blob = inserter.insert(Constants.OBJ_BLOB, text().getBytes(StandardCharsets.UTF_8));
                        inserter.flush();
                        return blob;
                    case 3:
                        var tag = ref("tags/");
                        return tag == null ? commit : tag.getObjectId();
                    default:
                        return commit;
                }
            }
        }

        /**
         * Much of it is what other files have, so that there is something to make deltas of; some is new and does not
         * get smaller.
         */
        String text() {
            var lines = "A line that is in many files, number %d\n";
            var text = new StringBuilder();
            for (var i = 0; i < 40; i++) text.append(String.format(lines, i < 30 ? i : random.nextInt(100)));
            if (chance(4)) random.ints(random.nextInt(20_000), ' ', '~').forEach(c -> text.append((char) c));
            return chance(10) ? "" : text.toString();
        }

        PersonIdent person() {
            var skewed = chance(5) ? random.nextInt(2_000_000) - 1_000_000 : 0;
            return new PersonIdent("Ada Lövelace", "ada@example.com",
                    Instant.ofEpochSecond(1_767_225_600L + 60L * seconds++ + skewed),
                    ZoneOffset.ofHours(random.nextInt(12)));
        }

        ObjectId commit(List<ObjectId> parents) throws IOException {
            try (var inserter = git.newObjectInserter(); var walk = new RevWalk(git)) {
                var index = parents.isEmpty() ? DirCache.newInCore()
                        : DirCache.read(git.newObjectReader(), walk.parseCommit(parents.get(0)).getTree());
                var editor = index.editor();
                var paths = new TreeSet<String>();
                for (var i = random.nextInt(4); i > 0; i--) {
                    var fresh = "x/" + random.nextInt(50);
                    paths.add(any(List.of("a", "b", "dir/b", "dir/sub/c", "ümläut", "with space", fresh)));
                }
                if (bulk > 0) {
                    edit(editor, "bulk", FileMode.REGULAR_FILE, inserter.insert(Constants.OBJ_BLOB,
                            SampleRepositories.bulk(bulk + random.nextInt(1000)).getBytes(StandardCharsets.UTF_8)));
                }
                for (var path : paths) {
                    if (chance(6)) {
                        editor.add(new DirCacheEditor.DeletePath(path));
                    } else {
                        edit(editor, path, chance(5) ? FileMode.EXECUTABLE_FILE : FileMode.REGULAR_FILE,
                                inserter.insert(Constants.OBJ_BLOB, text().getBytes(StandardCharsets.UTF_8)));
                    }
                }
                if (chance(10)) {
                    edit(editor, "link", FileMode.SYMLINK, inserter.insert(Constants.OBJ_BLOB, "dir/b".getBytes()));
                }
                if (chance(10)) {
                    edit(editor, "module", FileMode.GITLINK,
                            ObjectId.fromString(String.format("%040x", 1 + random.nextInt(1000))));
                }
                editor.finish();
                var commit = new CommitBuilder();
                commit.setTreeId(index.writeTree(inserter));
                commit.setParentIds(parents);
                commit.setAuthor(person());
                commit.setCommitter(commit.getAuthor());
                commit.setMessage("Change " + seconds + "\n");
                var id = inserter.insert(commit);
                inserter.flush();
                commits.add(id);
                return id;
            }
        }

        static void edit(DirCacheEditor editor, String path, FileMode mode, ObjectId id) {
            editor.add(new DirCacheEditor.PathEdit(path) {
                @Override
                public void apply(DirCacheEntry entry) {
                    entry.setFileMode(mode);
                    entry.setObjectId(id);
                }
            });
        }

        ObjectId tag(String name, ObjectId target) throws IOException {
            try (var inserter = git.newObjectInserter(); var walk = new RevWalk(git)) {
                var tag = new TagBuilder();
                tag.setTag(name.replaceFirst("refs/tags/", ""));
                tag.setObjectId(walk.parseAny(target));
                tag.setTagger(person());
                tag.setMessage("Tag " + seconds + "\n");
                var id = inserter.insert(tag);
                inserter.flush();
                return id;
            }
        }

        /** Makes or moves a ref, as a forced push would; not where Git has no place for its name. */
        void put(String name, ObjectId id) throws IOException {
            if (git.getRefDatabase().isNameConflicting(name)) return;
            if (repo.defaultBranch() == null && name.startsWith("refs/heads/")) {
                repo.defaultBranch(name.substring("refs/heads/".length()));
            }
            var update = git.updateRef(name, true);
            update.setNewObjectId(id);
            update.setForceUpdate(true);
            update.disableRefLog();
            var result = update.update();
            if (!List.of(RefUpdate.Result.NEW, RefUpdate.Result.FORCED, RefUpdate.Result.FAST_FORWARD,
                    RefUpdate.Result.NO_CHANGE).contains(result)) {
                fail(name + ": " + result);
            }
        }

        void delete(Ref ref) throws IOException {
            deleted.put(ref.getName(), ref.getObjectId());
            var update = git.updateRef(ref.getName());
            update.setForceUpdate(true);
            assertEquals(RefUpdate.Result.FORCED, update.delete(), ref.getName());
        }
    }

    /** The backup tells the server what it has as commits of a tree; that tree is none that a ref may be at. */
    @Test
    void aTagOfTheEmptyTreeGetsIncrementsToo() throws Exception {
        try (var life = new Life(RandomHistoriesTest::restored); var inserter = life.git.newObjectInserter()) {
            life.random = new Random(1);
            life.take(Kind.BULK);
            var empty = inserter.insert(Constants.OBJ_TREE, new byte[0]);
            inserter.flush();
            life.put("refs/tags/empty", empty);
            life.live(steps("BACKUP 1, REWRITE 1, BACKUP 2, REWRITE 2"));
            assertEquals(List.of("full", "incr", "incr"),
                    Backups.manifest(life.bucket, "r").path("chain").findValuesAsText("kind"));
        }
    }

    /**
     * A restore that takes the refs from the bundles forgets what was deleted; the shortest history that shows it is
     * found.
     */
    @Test
    void findsTheFewestStepsThatShowAFault() {
        Restore forgetful = (bucket, manifest, hasHead, turn) -> {
            var document = Backups.document(bucket, manifest);
            var refs = new TreeMap<String, String>();
            for (var bundle : document.path("chain")) {
                var bytes = bucket.get(bundle.get("key").asText());
                new String(bytes, 0, Backups.pack(bytes), StandardCharsets.UTF_8).lines()
                        .filter(line -> line.contains(" refs/"))
                        .forEach(line -> refs.put(line.split(" ", 2)[1], line.split(" ", 2)[0]));
            }
            document.get("refs").properties().forEach(ref -> refs.put(ref.getKey(), ref.getValue().asText()));
            return (hasHead ? "ref: " + document.get("head").asText() + "\n" : "") + refs.entrySet().stream()
                    .map(ref -> ref.getValue() + " " + ref.getKey() + "\n").collect(Collectors.joining());
        };
        var seed = Stream.iterate(1, n -> n + 1).filter(n -> failure(history(n), forgetful) != null).findFirst()
                .orElseThrow();
        var error = assertThrows(AssertionError.class, () -> run("planted", history(seed), forgetful));
        var least = steps(error.getMessage().replaceFirst(".* too: ", ""));
        assertTrue(least.stream().anyMatch(step -> List.of(Kind.DELETE, Kind.EMPTY).contains(step.kind))
                && least.size() <= 4, error.getMessage());
        assertTrue(error.getCause() != null && failure(least, RandomHistoriesTest::restored) == null,
                "it is the restore that fails");
        for (var step : least) {
            assertEquals(null,
                    failure(least.stream().filter(other -> other != step).toList(), forgetful), "none can be left out");
        }
    }
}
