///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Proves that backups in S3 are complete and restorable, and finds stale, missing and vanished repositories.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:s3
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:url-connection-client
//DEPS org.eclipse.jgit:org.eclipse.jgit:7.8.1.202611041320-r
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:-UsePerfData -Djdk.console=java.base
//RUNTIME_OPTIONS -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=10000 -XX:Tier4CompileThreshold=100000 -XX:Tier4BackEdgeThreshold=400000

import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.time.*;
import java.time.format.DateTimeFormatter;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import java.util.zip.GZIPInputStream;
import javax.xml.stream.XMLStreamException;
import org.eclipse.jgit.errors.*;
import org.eclipse.jgit.lib.*;
import org.eclipse.jgit.revwalk.*;
import org.eclipse.jgit.storage.file.*;
import org.eclipse.jgit.transport.*;
import org.eclipse.jgit.util.FS;
import org.eclipse.jgit.util.FileUtils;
import org.eclipse.jgit.util.SystemReader;
import picocli.CommandLine;
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.http.SdkHttpRequest;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.CodeCommitException;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.*;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * Proves that the backups of backup-to-s3 can be restored, for the newest restore point of every repository or for all of them, and that
 * there are backups of every repository. Needs only a reader's access to the bucket.
 *
 * <p>Always: each manifest is read, each object that it names is there, as long as it says and with the CRC32 it says, by the checksum that S3
 * keeps, without a download. With {@code --deep} every bundle is downloaded, compared with its SHA-256, indexed, and every object is reached
 * from every ref, so that nothing is missing and nothing is damaged; {@code git fsck --strict} is asked too if git is there. Nobody needs to
 * know Git for the findings:
 * <ul>
 * <li>missing-object, size, checksum: an object that a restore point needs is gone or is not the one that was written
 * <li>unreadable, format, manifest: a document or bundle that is damaged, of a later version, or contradicts itself or its place
 * <li>not-connected, refs: an object that a ref leads to is in no bundle; a bundle's refs are not those of its manifest
 * <li>stale: no run of the last {@code --max-age} saved the repository or found it unchanged; a quiet repository is not stale, a dead job is
 * <li>missing: in CodeCommit, but without a restore point; vanished: backed up, but no longer in CodeCommit, and when its backup expires
 * <li>orphan: an object older than a day that no manifest names, such as a killed run leaves; nothing depends on it
 * </ul>
 *
 * <p>Changes nothing in AWS. A second run does the same again. Local disk is used by {@code --deep} only, for as many repositories as
 * {@code --jobs} says, and given back also when interrupted.
 *
 * <p>IAM actions:
 * <ul>
 * <li>s3:ListBucket, s3:GetObject, and kms:Decrypt on the bucket's key if it has one
 * <li>codecommit:ListRepositories (on *) to find missing and vanished repositories; where it is denied that is said and left out
 * <li>s3:GetLifecycleConfiguration to say when the backup of a vanished repository expires; where it is denied that is said
 * </ul>
 */
@Command(name = "verify-backups", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Proves that backups in S3 are complete and restorable, and finds stale, missing and vanished repositories.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "3:partly done: some repositories could not be checked, the others are complete",
                "4:findings: all were checked, and some backups are not as they should be", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  verify-backups --bucket my-backups --expected-bucket-owner 444455556666",
                "  verify-backups --bucket my-backups --repository-names 'team-*' --all --deep"})
class VerifyBackups implements Callable<Integer> {
    @Option(names = "--bucket", required = true, paramLabel = "NAME", description = "The bucket for the backups, in any Region and account.")
    String bucket;

    @Option(names = "--prefix", paramLabel = "PREFIX", defaultValue = "projects/codecommit-backup",
            description = "What the objects' keys begin with. Default: ${DEFAULT-VALUE}.")
    String prefix;

    @Option(names = "--account", paramLabel = "ACCOUNT", description = "Account whose repositories were backed up. Default: that of the credentials.")
    String account;

    @Option(names = "--repository-names", paramLabel = "GLOB", arity = "1..*",
            description = "Repositories to verify, by name or with * and ?. Default: all of the Region.")
    List<String> repositoryNames = List.of("*");

    @Option(names = "--exclude", paramLabel = "GLOB", arity = "1..*", description = "Repositories to leave out, by name or with * and ?.")
    List<String> exclude = List.of();

    @Option(names = "--all", description = "Every restore point. Default: the newest one of each repository.")
    boolean all;

    @Option(names = "--deep", description = "Downloads the bundles and follows every ref to its last object. Needs as much disk as the bundles of --jobs "
            + "repositories (in Java's temporary directory: JAVA_TOOL_OPTIONS=-Djava.io.tmpdir=DIR), and some 500 MB of memory for each million of objects.")
    boolean deep;

    @Option(names = "--max-age", paramLabel = "TIME", defaultValue = "26h",
            description = "How long ago a run must have saved a repository or found it unchanged, in minutes, hours or days. Default: ${DEFAULT-VALUE}.")
    String maxAge;

    @Option(names = "--no-codecommit", description = "Does not ask CodeCommit for missing and vanished repositories.")
    boolean noCodecommit;

    @Option(names = "--expire-after-days", paramLabel = "DAYS",
            description = "When objects expire, to say until when a vanished repository can be restored. Default: by the bucket's lifecycle rules.")
    Integer expireAfterDays;

    @Option(names = "--jobs", paramLabel = "N", defaultValue = "4", description = "Repositories at a time. Default: ${DEFAULT-VALUE}.")
    int jobs;

    @Option(names = "--expected-bucket-owner", paramLabel = "ACCOUNT", description = "Account that the bucket must belong to.")
    String expectedBucketOwner;

    /** The keys in a repository's directory; the stem tells for which manifest the object was written. */
    static final Pattern KEY = Pattern.compile("(?<stem>.*/\\d{8}T\\d{9}Z-\\w+)\\.(?<kind>manifest|full|incr|pull-requests)\\.(json\\.gz|bundle)");
    /** What Java says when this machine's disk is to blame. */
    static final Pattern LOCAL = Pattern.compile("(No space left on device|Disk quota exceeded|File too large|Input/output error|Read-only file system).*");
    /** A younger object may belong to a run that has not written its manifest yet. */
    static final Duration ORPHAN_AGE = Duration.ofDays(1);

    Instant now = Instant.now();
    S3Client s3;
    /** Ids of CodeCommit's repositories by name; null if it was not asked. */
    Map<String, String> live;
    String codecommit = "compared";
    /** Keys of the run records that are young enough, and not read yet, newest first. */
    final Deque<String> runs = new ArrayDeque<>();
    /** By repository, what the newest run says of it, and the newest one that saved it or found it unchanged. */
    final Map<String, JsonNode> lastRun = new HashMap<>();
    final Map<String, JsonNode> lastGoodRun = new HashMap<>();
    /** By repository, kind and key. */
    final ConcurrentSkipListMap<String, ObjectNode> findings = new ConcurrentSkipListMap<>();
    final Map<String, ObjectNode> outcomes = new ConcurrentSkipListMap<>();
    final Map<String, Gone> gone = new ConcurrentSkipListMap<>();
    final AtomicLong downloaded = new AtomicLong();
    final long started = System.nanoTime();
    boolean terminal = System.console() != null;
    final Set<Process> children = ConcurrentHashMap.newKeySet();
    String gitCommand = "git";
    boolean withoutGit;
    Path temporary;
    volatile boolean stopping;

    /** A restore point. */
    record Point(String key, JsonNode manifest) {
        List<JsonNode> bundles() {
            return manifest.path("chain").valueStream().toList();
        }

        /** The bundles, then the pull requests. */
        List<JsonNode> objects() {
            return Stream.concat(bundles().stream(), manifest.path("pullRequests").valueStream()).toList();
        }

        /** The bundles, a line each. */
        String chain() {
            return bundles().stream().map(VerifyBackups::line).collect(Collectors.joining());
        }

        Map<String, String> refs() {
            return manifest.path("refs").properties().stream().collect(Collectors.toMap(Map.Entry::getKey, ref -> ref.getValue().asText()));
        }

        /** "" if there is none. */
        String head() {
            return manifest.path("head").asText("");
        }

        String time() {
            return manifest.path("time").asText();
        }
    }

    /** The newest restore point of a repository that was not in CodeCommit, and what it needs most: its full bundle. */
    record Gone(Point newest, S3Object full) { }

    /** Something is wrong with what is stored, whoever reads it. */
    static class Damage extends Exception {
        final String kind;
        final String key;

        Damage(String kind, String key, String message) {
            super(message);
            this.kind = kind;
            this.key = key;
        }
    }

    @Override
    public Integer call() throws Exception {
        checkOptions();
        if (account == null) account = identity().account();
        s3 = s3();
        var hook = new Thread(this::stop);
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            live = repositories();
            subject = "s3://" + bucket + "/" + prefix + "/" + account;
            var records = prefix + "/" + account + "/runs/" + region() + "/";
            var oldest = now.minus(duration(maxAge));
            list(records, records + TIME.format(oldest)).forEach(object -> runs.addFirst(object.key()));
            verifyAll();
            missing();
            vanished();
        } finally {
            if (!stopping) {
                Runtime.getRuntime().removeShutdownHook(hook);
                stop();
            }
        }
        return summary();
    }

    void checkOptions() {
        checkBucket();
        if (account != null) check("--account", account, "\\d{12}", "an account id of 12 digits, such as 111122223333");
        checkSelection();
        check("--max-age", maxAge, "[1-9]\\d{0,4}[mhd]", "a number and m, h or d for minutes, hours or days, such as 26h");
        if (expireAfterDays != null) check("--expire-after-days", String.valueOf(expireAfterDays), "[1-9]\\d{0,4}", "1 to 99999 days, such as 365");
    }

    // 1. What there should be

    /** CodeCommit's repositories, ids by name; null where it may not or need not be asked. */
    Map<String, String> repositories() {
        if (noCodecommit) return notCompared("--no-codecommit");
        if (!account.equals(identity().account())) return notCompared("the credentials are of account " + identity().account() + ", the backups of " + account);
        subject = "list of repositories";
        try (var client = client(CodeCommitClient.builder())) {
            var ids = new TreeMap<String, String>();
            for (var repository : client.listRepositoriesPaginator(r -> { }).repositories()) ids.put(repository.repositoryName(), repository.repositoryId());
            return ids;
        } catch (CodeCommitException e) {
            if (e.awsErrorDetails() == null || !"AccessDeniedException".equals(e.awsErrorDetails().errorCode())) throw e;
            return notCompared(reason(e));
        }
    }

    Map<String, String> notCompared(String why) {
        codecommit = "not compared: " + why;
        if (!noCodecommit) note("missing and vanished repositories are not looked for: " + why);
        return null;
    }

    /** The newest entry of a run that saved the repository or found it unchanged. Older records are read as long as the newer ones do not have it. */
    synchronized JsonNode goodRun(String name) throws Exception {
        while (!lastGoodRun.containsKey(name) && !runs.isEmpty()) {
            try {
                for (var entry : document(runs.peek()).path("repositories").properties()) {
                    lastRun.putIfAbsent(entry.getKey(), entry.getValue());
                    if (entry.getValue().path("outcome").asText().matches("saved|unchanged")) lastGoodRun.putIfAbsent(entry.getKey(), entry.getValue());
                }
            } catch (Damage e) {
                find("", e.kind, e.key, e.getMessage());
            }
            runs.remove();
        }
        return lastGoodRun.get(name);
    }

    boolean wanted(String name) {
        return fits(name, repositoryNames) && !fits(name, exclude);
    }

    // 2. What there is

    Stream<S3Object> list(String beginning, String after) {
        return s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(beginning).startAfter(after))
                .contents().stream();
    }

    /** One listing of everything. It waits for the workers, who verify each repository as soon as it is listed: memory does not grow with the bucket. */
    void verifyAll() throws InterruptedException {
        var root = prefix + "/" + account + "/" + region() + "/";
        var workers = Executors.newFixedThreadPool(jobs, VerifyBackups::daemon);
        try {
            var places = new Semaphore(2 * jobs);
            Backup backup = null;
            for (var objects = list(root + beginning(), null).iterator(); objects.hasNext(); ) {
                var object = objects.next();
                var path = object.key().substring(root.length());
                var name = path.substring(0, Math.max(0, path.indexOf('/')));
                if (!(name.isEmpty() ? repositoryNames.contains("*") : wanted(name))) continue;
                if (object.size() == 0 && path.endsWith("/")) continue; // a "folder" of the console's
                if (backup == null || !name.equals(backup.name)) {
                    submit(backup, workers, places);
                    backup = new Backup(name);
                }
                backup.objects.put(object.key(), object);
            }
            submit(backup, workers, places);
            workers.shutdown();
            workers.awaitTermination(Long.MAX_VALUE, TimeUnit.DAYS);
        } finally {
            workers.shutdownNow();
        }
        if (outcomes.isEmpty() && live == null)
            throw new Failure("nothing is backed up in " + region() + "; see to --prefix, --account, --region and --repository-names");
    }

    void submit(Backup backup, Executor workers, Semaphore places) throws InterruptedException {
        if (backup == null) return;
        places.acquire();
        workers.execute(() -> {
            backup.check();
            places.release();
        });
    }

    /** What the directories of all wanted names begin with. */
    String beginning() {
        var common = repositoryNames.get(0) + "/";
        for (var glob : repositoryNames) while (!(glob + "/").split("[*?]", 2)[0].startsWith(common)) common = common.substring(0, common.length() - 1);
        return common;
    }

    /** What S3 has of one repository. */
    class Backup {
        final String name;
        final TreeMap<String, S3Object> objects = new TreeMap<>();
        /** The restore points to verify, newest first. */
        final List<Point> points = new ArrayList<>();
        final TreeSet<String> unread = new TreeSet<>();
        final Set<String> damaged = new HashSet<>();
        final Map<String, HeadObjectResponse> heads = new HashMap<>();
        /** What turned out to be damaged, by line of a chain, so that it is not read again for the next restore point. */
        final Map<String, Damage> bad = new HashMap<>();
        boolean unreadable;

        Backup(String name) {
            this.name = name;
        }

        void check() {
            var start = System.nanoTime();
            var shown = JSON.createObjectNode().put("repositoryName", name);
            try {
                verify();
                shown.put("status", found(name) ? "findings" : "verified");
            } catch (Exception | Error e) {
                if (stopping) return;
                var reason = !(e instanceof OutOfMemoryError) ? reason(e)
                        : "out of memory: give fewer --jobs, or Java more of it, such as JAVA_TOOL_OPTIONS=-Xmx4g";
                tell(name + ": " + reason);
                if (verbose) e.printStackTrace(spec.commandLine().getErr());
                shown.put("status", "failed").put("error", reason);
            }
            if (!points.isEmpty()) shown.put("newest", points.get(0).time());
            var bytes = heads.values().stream().filter(Objects::nonNull).mapToLong(HeadObjectResponse::contentLength).sum();
            shown.put("restorePoints", points.size()).put("damaged", damaged.size()).put("objects", heads.size()).put("bytes", bytes)
                    .put("seconds", seconds(start));
            if (!name.isEmpty()) report(name, shown);
        }

        void verify() throws Exception {
            for (var key : objects.keySet()) if (key.endsWith(MANIFEST)) unread.add(key);
            while (!unread.isEmpty() && (all || points.isEmpty())) points.addAll(read());
            for (var point : points) compare(point);
            if (deep) deep();
            orphans();
            if (points.isEmpty()) return;
            var newest = points.get(0);
            if (live != null && !live.containsKey(name)) {
                var full = newest.objects().isEmpty() ? null : objects.get(key(newest.objects().get(0)));
                gone.put(name, new Gone(newest, full == null ? objects.get(newest.key) : full));
                return;
            }
            if (live != null && !live.get(name).equals(newest.manifest.at("/repository/repositoryId").asText()))
                find(name, "missing", null,
                        "was deleted and created anew: what is backed up is another repository of this name, and this one has no restore point");
            var run = goodRun(name);
            if (run == null) find(name, "stale", null, "no run of the last " + maxAge + " saved it or found it unchanged; its newest restore point is of "
                    + newest.time() + (lastRun.containsKey(name) ? ", and the last run says: " + lastRun.get(name).path("outcome").asText() : ""));
            else if (run.has("manifest") && !objects.containsKey(run.get("manifest").asText()))
                find(name, "missing-object", run.get("manifest").asText(), "the newest restore point, by the record of the run that wrote it, is not there");
        }

        /** The newest restore point that was not read yet. One that cannot be used is a finding, and the next older one takes its place. */
        List<Point> read() throws Exception {
            var key = unread.pollLast();
            try {
                var point = new Point(key, document(key));
                var wrong = wrong(point);
                if (wrong != null) throw new Damage("manifest", key, wrong);
                return List.of(point);
            } catch (Damage e) {
                unreadable = true;
                damaged.add(key);
                find(name, e.kind, e.key, e.getMessage());
                return List.of();
            }
        }

        /** In what a manifest contradicts itself or its place; null if in nothing. */
        String wrong(Point point) {
            var manifest = point.manifest;
            var arn = manifest.at("/repository/arn").asText();
            var directory = point.key.substring(0, point.key.lastIndexOf('/') + 1);
            if (!manifest.at("/repository/repositoryName").asText().equals(name) || !arn.endsWith(":codecommit:" + region() + ":" + account + ":" + name))
                return "is not this repository's: " + (arn.isEmpty() ? "names none" : arn);
            try {
                if (!point.key.startsWith(directory + TIME.format(Instant.parse(point.time())) + "-"))
                    return "is of another time than its name says: " + point.time();
            } catch (DateTimeException e) {
                return "is of no time: '" + point.time() + "'";
            }
            if (!manifest.path("objectFormat").asText("sha1").equals("sha1")) return "is for objects of the format " + manifest.path("objectFormat").asText();
            if (!manifest.path("refs").isObject() || !manifest.path("chain").isArray()) return "has no refs or no chain";
            for (var ref : point.refs().entrySet())
                if (!isRef(ref.getKey()) || !ObjectId.isId(ref.getValue())) return "has the ref " + ref.getKey() + " at '" + ref.getValue() + "'";
            if (!point.head().isEmpty() && !ObjectId.isId(point.head()) && !isRef(point.head())) return "has HEAD at '" + point.head() + "'";
            if (point.bundles().isEmpty() && !point.refs().isEmpty()) return "has " + point.refs().size() + " refs and no bundle";
            var bundles = 0;
            for (var object : point.objects()) {
                var key = key(object);
                var named = KEY.matcher(key);
                var expected = !object.has("kind") ? "pull-requests" : bundles++ == 0 ? "full" : "incr";
                if (!key.startsWith(directory) || !named.matches() || key.indexOf('/', directory.length()) >= 0)
                    return "names what is not this repository's: " + key;
                if (!named.group("kind").equals(expected) || !object.path("kind").asText(expected).equals(expected))
                    return "does not name a full bundle and increments: " + key;
                if (named.group("stem").compareTo(stem(point.key)) > 0) return "names what is younger: " + key;
                if (!object.path("size").isIntegralNumber() || !sha256(object).matches("[0-9a-f]{64}")) return "does not say size and SHA-256 of " + key;
            }
            return null;
        }

        boolean isRef(String text) {
            return text.startsWith("refs/") && Repository.isValidRefName(text);
        }

        void damage(Point point, String kind, String key, String message) {
            damaged.add(point.key);
            find(name, kind, key, message);
        }

        /** Compares what S3 tells of a restore point's objects, without a download. */
        void compare(Point point) {
            for (var object : point.objects()) {
                var key = key(object);
                if (!heads.containsKey(key)) heads.put(key, head(key));
                var head = heads.get(key);
                var crc32 = object.path("crc32").asText();
                if (head == null) damage(point, "missing-object", key, "is not there; the restore point of " + point.time() + " needs it");
                else if (head.contentLength() != object.get("size").asLong())
                    damage(point, "size", key, "is " + head.contentLength() + " bytes long; " + object.get("size") + " were written");
                else if (crc32.isEmpty() || head.checksumCRC32() == null || head.checksumType() == ChecksumType.COMPOSITE) {
                    if (!deep) tell(name + ": " + key + ": not compared, as S3 has no CRC32 of the whole object; --deep compares it");
                } else if (!head.checksumCRC32().equals(crc32))
                    damage(point, "checksum", key, "has the CRC32 " + head.checksumCRC32() + "; it was written with " + crc32);
            }
        }

        /** Null if it is not there. */
        HeadObjectResponse head(String key) {
            try {
                return s3.headObject(r -> r.bucket(bucket).key(key).checksumMode(ChecksumMode.ENABLED));
            } catch (NoSuchKeyException e) {
                return null;
            } catch (S3Exception e) { // to HEAD, S3 answers without a message
                var needs = e.statusCode() == 403 ? ": needs s3:GetObject, and kms:Decrypt on the bucket's key" : "";
                throw new Failure(key + ": HTTP " + e.statusCode() + needs + " (request id " + e.requestId() + ")", e);
            }
        }

        /** Builds the restore points up from their bundles, each downloaded once, as git would do it. */
        void deep() throws Exception {
            Scratch scratch = null;
            try {
                // Chains that begin alike follow each other, the shortest first: at each point the scratch repository has just that point's bundles.
                for (var point : points.stream().sorted(Comparator.comparing(Point::chain).thenComparing(Point::key)).toList()) {
                    if (point.objects().stream().anyMatch(object -> heads.get(key(object)) == null)) continue;
                    if (scratch == null || !point.chain().startsWith(scratch.chain)) {
                        if (scratch != null) scratch.end(this);
                        ignoreGitConfiguration();
                        scratch = new Scratch();
                    }
                    try {
                        for (var object : point.objects()) good(object, scratch);
                        scratch.connect(point);
                    } catch (Damage e) {
                        damage(point, e.kind, e.key, e.getMessage());
                    }
                }
                if (scratch != null) scratch.end(this);
            } finally {
                if (scratch != null) scratch.close();
            }
        }

        void good(JsonNode object, Scratch scratch) throws Exception {
            try {
                if (bad.containsKey(line(object))) throw bad.get(line(object));
                if (!object.has("kind")) download(object, VerifyBackups::json);
                else if (!scratch.chain.contains(line(object))) scratch.load(object);
            } catch (Damage e) {
                bad.put(line(object), e);
                throw e;
            }
        }

        /** What no manifest names. That it is named is taken for granted where there is its own manifest; else all manifests from its time on are read. */
        void orphans() throws Exception {
            var loose = new TreeMap<>(objects);
            loose.values().removeIf(object -> object.lastModified().isAfter(now.minus(ORPHAN_AGE)));
            loose.keySet().removeIf(key -> key.endsWith(MANIFEST) && stem(key) != null || unread.contains(stem(key) + MANIFEST));
            for (var point : points) loose.keySet().removeAll(point.manifest.findValuesAsText("key"));
            while (!loose.isEmpty() && !unread.isEmpty() && unread.last().compareTo(loose.firstKey()) > 0)
                for (var point : read()) loose.keySet().removeAll(point.manifest.findValuesAsText("key"));
            if (unreadable) return; // it may name them
            loose.forEach((key, object) -> find(name, "orphan", key, (stem(key) == null ? "is not of the backup's format: " : "is named by no manifest: ")
                    + object.size() + " bytes of " + object.lastModified()));
        }
    }

    static String key(JsonNode object) {
        return object.path("key").asText();
    }

    static String sha256(JsonNode object) {
        return object.path("sha256").asText();
    }

    static String line(JsonNode object) {
        return key(object) + " " + sha256(object) + "\n";
    }

    /** What the keys of all that is written for one manifest begin with; null for any other key. */
    static String stem(String key) {
        var object = KEY.matcher(key);
        return object.matches() ? object.group("stem") : null;
    }

    // 3. What is in it

    /** A manifest or run record. */
    JsonNode document(String key) throws Exception {
        var document = download(key, null, VerifyBackups::json);
        if (document.path("format").asInt() != FORMAT)
            throw new Damage("format", key, "has the format " + document.path("format").asText("(none)") + "; this version knows " + FORMAT);
        return document;
    }

    interface Reader<T> {
        T read(InputStream in) throws Exception;
    }

    /** An object on its way to a reader, who may close it: the rest is read all the same. */
    class Download extends FilterInputStream {
        final MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
        long count;

        Download(InputStream in) throws NoSuchAlgorithmException {
            super(in);
        }

        @Override
        public int read(byte[] to, int from, int most) throws IOException {
            if (stopping) throw new Failure("interrupted");
            var n = in.read(to, from, most);
            if (n <= 0) return n;
            sha256.update(to, from, n);
            count += n;
            downloaded.addAndGet(n);
            return n;
        }

        @Override
        public void close() { }
    }

    <T> T download(JsonNode object, Reader<T> reader) throws Exception {
        return download(key(object), sha256(object), reader);
    }

    /**
     * Reads an object: up to three times if the line breaks, twice if it is not what was written or cannot be read, which may be the line's fault too.
     *
     * @param sha256 of what was written; null if that is not known
     */
    <T> T download(String key, String sha256, Reader<T> reader) throws Exception {
        for (var attempt = 1; ; attempt++)
            try (var from = s3.getObject(r -> r.bucket(bucket).key(key))) {
                var length = from.response().contentLength();
                var in = new Download(from);
                T result = null;
                Exception wrong = null;
                try {
                    try {
                        result = reader.read(new BufferedInputStream(in, 1 << 16));
                    } finally {
                        in.transferTo(OutputStream.nullOutputStream());
                    }
                } catch (Exception e) {
                    wrong = e;
                }
                var real = HexFormat.of().formatHex(in.sha256.digest());
                var same = sha256 == null ? wrong == null : sha256.equals(real);
                if (same && wrong == null && in.count == length) return result;
                if (!same && attempt < (in.count < length ? 3 : 2) && !stopping) continue;
                if (in.count < length) throw new Failure(key + ": the connection was cut after " + in.count + " of " + length + " bytes", wrong);
                if (!same && sha256 != null) throw new Damage("checksum", key, "has the SHA-256 " + real + "; it was written with " + sha256);
                for (Throwable cause = wrong; cause != null; cause = cause.getCause())
                    if (cause instanceof FileSystemException || cause instanceof FileNotFoundException || LOCAL.matcher("" + cause.getMessage()).matches())
                        throw new Failure(key + ": on this machine: " + reason(cause), wrong);
                throw wrong instanceof Damage || wrong instanceof Failure ? wrong : new Damage("unreadable", key, "is damaged: " + reason(wrong));
            } catch (NoSuchKeyException e) {
                throw new Damage("missing-object", key, "is not there");
            }
    }

    /** A Git repository in a temporary directory, which takes a chain's bundles one after the other. */
    class Scratch implements AutoCloseable {
        final Path directory = newDirectory();
        final Repository git = new FileRepositoryBuilder().setGitDir(directory.toFile()).setBare().build();
        /** The bundles that it has. */
        String chain = "";
        /** The last bundle's refs, and those that fetching all bundles one after the other leaves. */
        Map<String, String> refs = Map.of();
        final Map<String, String> tips = new HashMap<>();
        /** Objects that are there with all that they lead to. */
        final Set<String> whole = new HashSet<>();
        /** The last restore point that was found good. */
        Point last;

        Scratch() throws IOException {
            git.create(true);
        }

        /** Indexes a bundle, as fetching it does. The pack's parser hashes every object, so one that is found by its id is right. */
        void load(JsonNode bundle) throws Exception {
            last = null;
            setRefs(tips);
            refs = download(bundle, in -> {
                try (var transport = new TransportBundleStream(git, new URIish().setPath("bundle"), in); var connection = transport.openFetch()) {
                    connection.fetch(NullProgressMonitor.INSTANCE, connection.getRefs(), Set.of());
                    return connection.getRefs().stream().collect(Collectors.toMap(Ref::getName, ref -> ref.getObjectId().name()));
                } catch (MissingBundlePrerequisiteException e) {
                    var commits = e.getMessage().replaceFirst("(?s).*?\n", ": ").replaceAll("\\s+", " ");
                    throw new Damage("not-connected", key(bundle), "starts from commits to which no ref of the bundles before it leads" + commits);
                } catch (TransportException e) {
                    if (!(e.getCause() instanceof MissingObjectException lost)) throw e;
                    throw new Damage("not-connected", key(bundle), "changes object " + lost.getObjectId().name() + ", which no bundle before it has");
                }
            });
            chain += line(bundle);
            tips.putAll(refs);
            connect(key(bundle), refs.values());
        }

        void setRefs(Map<String, String> refs) throws IOException {
            var lines = refs.entrySet().stream().filter(ref -> ref.getKey().startsWith("refs/")).map(ref -> ref.getValue() + " " + ref.getKey() + "\n");
            Files.writeString(directory.resolve("packed-refs"), lines.collect(Collectors.joining()));
        }

        /** That every ref of a restore point, and HEAD, leads to objects that are there, and that its bundle was written for these refs. */
        void connect(Point point) throws Exception {
            var ids = new HashSet<>(point.refs().values());
            if (ObjectId.isId(point.head())) ids.add(point.head());
            connect(point.key, ids);
            if (!chain.isEmpty() && stem(point.key).equals(stem(key(point.bundles().get(point.bundles().size() - 1)))))
                for (var ref : refs.entrySet()) {
                    var same = point.refs().get(ref.getKey());
                    if (ref.getKey().startsWith("refs/") && !ref.getValue().equals(same))
                        throw new Damage("refs", point.key, "has " + ref.getKey() + " at " + same + ", and its bundle at " + ref.getValue());
                }
            last = point;
        }

        void connect(String key, Collection<String> ids) throws IOException, Damage {
            try (var walk = new ObjectWalk(git)) {
                walk.setRetainBody(false);
                for (var id : ids) if (!whole.contains(id)) walk.markStart(walk.parseAny(ObjectId.fromString(id)));
                for (var id : whole) walk.markUninteresting(walk.parseAny(ObjectId.fromString(id)));
                walk.checkConnectivity();
                whole.addAll(ids);
            } catch (MissingObjectException e) {
                throw new Damage("not-connected", key, "needs object " + e.getObjectId().name() + ", which no bundle of the chain has");
            } catch (CorruptObjectException | IncorrectObjectTypeException e) {
                throw new Damage("not-connected", key, "leads to a malformed object: " + reason(e));
            }
        }

        /** Asks git, if it is there, for a second opinion. Malformed objects, such as some old tools made, were so in CodeCommit: no damage of the backup. */
        void end(Backup backup) throws Exception {
            try (this) {
                if (last == null || withoutGit) return;
                setRefs(last.refs());
                if (!last.head().isEmpty()) Files.writeString(directory.resolve("HEAD"), (ObjectId.isId(last.head()) ? "" : "ref: ") + last.head() + "\n");
                var command = new ProcessBuilder(gitCommand, "--git-dir", directory.toString(), "fsck", "--strict", "--no-dangling", "--no-progress");
                command.environment().keySet().removeIf(name -> name.startsWith("GIT_"));
                command.environment().put("LC_ALL", "C");
                var process = command.redirectErrorStream(true).start();
                children.add(process);
                var text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
                children.remove(process);
                if (process.waitFor() == 0 || stopping) return;
                var said = text.lines().filter(line -> !line.startsWith("notice:")).toList();
                var other = said.stream().filter(line -> !line.matches("(error|warning) in (commit|tree|blob|tag) [0-9a-f]{40}: .*")).findFirst();
                if (other.isPresent() || said.isEmpty()) backup.damage(last, "not-connected", last.key, "git fsck: " + other.orElse("failed"));
                else tell(backup.name + ": " + said.size() + " objects are malformed, and were so in CodeCommit: " + said.get(0));
            } catch (IOException e) {
                if (e.getMessage() == null || !e.getMessage().startsWith("Cannot run program")) throw e;
                withoutGit = true;
            }
        }

        @Override
        public void close() throws IOException {
            git.close();
            FileUtils.delete(directory.toFile(), FileUtils.RECURSIVE | FileUtils.SKIP_MISSING | FileUtils.RETRY);
        }
    }

    Path newDirectory() throws IOException {
        synchronized (children) {
            if (stopping) throw new Failure("interrupted");
            if (temporary == null) temporary = Files.createTempDirectory("verify-backups-");
            return Files.createTempDirectory(temporary, "repository-");
        }
    }

    /** At the end, and on Ctrl-C, when workers may still be writing: so the directory is removed until it stays away. */
    void stop() {
        stopping = true;
        children.forEach(Process::destroyForcibly);
        synchronized (children) {
            if (temporary == null) return;
        }
        for (var attempt = 1; attempt <= 100; attempt++)
            try {
                FileUtils.delete(temporary.toFile(), FileUtils.RECURSIVE | FileUtils.SKIP_MISSING);
                pause(50);
                if (!Files.exists(temporary)) return;
            } catch (IOException e) {
                if (attempt == 100) note(temporary + " is left behind: " + reason(e));
            }
    }

    // 4. What is not there

    void missing() {
        var none = JSON.createObjectNode().put("status", "findings").put("restorePoints", 0);
        if (live != null) for (var name : live.keySet()) if (wanted(name)) outcomes.putIfAbsent(name, none.deepCopy().put("repositoryName", name));
        outcomes.forEach((name, shown) -> {
            if (shown.get("restorePoints").asInt() > 0 || shown.get("status").asText().equals("failed") || live != null && !live.containsKey(name)) return;
            find(name, "missing", null, "has no restore point");
        });
        for (var glob : new TreeSet<>(repositoryNames))
            if (!glob.equals("*") && outcomes.keySet().stream().noneMatch(name -> fits(name, List.of(glob))))
                find(glob, "missing", null, "no backup has such a name" + (live == null ? "" : ", and no repository either"));
    }

    /** Who was not in CodeCommit is looked for again: a new repository may have been backed up meanwhile. */
    void vanished() {
        var again = gone.isEmpty() ? null : repositories();
        if (again == null) return;
        var rules = List.<LifecycleRule>of();
        var unknown = "";
        try {
            rules = expireAfterDays != null ? List.of(LifecycleRule.builder().status(ExpirationStatus.ENABLED).expiration(e -> e.days(expireAfterDays)).build())
                    : s3.getBucketLifecycleConfiguration(r -> r.bucket(bucket)).rules();
        } catch (SdkException e) {
            if (!(e instanceof S3Exception none && none.statusCode() == 404)) unknown = reason(e);
        }
        for (var name : gone.keySet()) {
            if (again.containsKey(name)) continue;
            var newest = gone.get(name).newest;
            var full = gone.get(name).full;
            var id = newest.manifest.at("/repository/repositoryId").asText();
            var renamed = again.entrySet().stream().filter(other -> other.getValue().equals(id)).map(other -> ", but is named " + other.getKey()).findFirst();
            var day = rules.stream().map(rule -> expiry(rule, full)).filter(Objects::nonNull).min(Comparator.naturalOrder());
            var until = day.isPresent() ? "goes on " + day.get() + " with this object" : unknown.isEmpty() ? "stays: no rule expires it"
                    : "goes when this object expires, and when is not known: " + unknown;
            find(name, "vanished", full.key(), "is no longer in CodeCommit" + renamed.orElse("") + "; its newest restore point, of " + newest.time() + ", "
                    + until + "; if that is right: --exclude " + name).put("expires", day.map(LocalDate::toString).orElse(null));
        }
    }

    /** The day, in UTC, at whose beginning a rule takes an object; null if it does not. */
    @SuppressWarnings("deprecation") // old rules have their prefix outside a filter
    static LocalDate expiry(LifecycleRule rule, S3Object object) {
        var one = rule.filter() == null ? LifecycleRuleFilter.builder().prefix(rule.prefix()).build() : rule.filter();
        var all = one.and() != null ? one.and() : LifecycleRuleAndOperator.builder().prefix(one.prefix()).tags(Stream.ofNullable(one.tag()).toList())
                .objectSizeGreaterThan(one.objectSizeGreaterThan()).objectSizeLessThan(one.objectSizeLessThan()).build();
        if (rule.status() != ExpirationStatus.ENABLED || rule.expiration() == null || !all.tags().isEmpty()) return null; // backups have no tags
        if (all.prefix() != null && !object.key().startsWith(all.prefix())) return null;
        if (all.objectSizeGreaterThan() != null && object.size() <= all.objectSizeGreaterThan()) return null;
        if (all.objectSizeLessThan() != null && object.size() >= all.objectSizeLessThan()) return null;
        var day = rule.expiration().date();
        if (rule.expiration().days() != null) day = object.lastModified().plus(Duration.ofDays(rule.expiration().days() + 1)); // at the next midnight
        return day == null ? null : LocalDate.ofInstant(day, ZoneOffset.UTC);
    }

    // 5. What was found

    /** Makes a finding, once for each kind and object. */
    ObjectNode find(String name, String kind, String key, String message) {
        var finding = JSON.createObjectNode().put("repositoryName", name.isEmpty() ? null : name).put("kind", kind).put("key", key).put("message", message);
        if (findings.putIfAbsent(name + "\0" + kind + "\0" + key, finding) == null)
            tell((name.isEmpty() ? "" : name + ": ") + kind + ": " + (key == null ? "" : key.substring(key.lastIndexOf('/') + 1) + ": ") + message);
        return finding;
    }

    boolean found(String name) {
        var first = findings.ceilingKey(name + "\0");
        return first != null && first.startsWith(name + "\0");
    }

    /** A message, where on a terminal the progress stands. */
    synchronized void tell(String message) {
        if (terminal) spec.commandLine().getErr().print(CLEAR_LINE);
        note(message);
    }

    /** A line a repository; on a terminal only if there is something to say, and how far it is. */
    synchronized void report(String name, ObjectNode shown) {
        outcomes.put(name, shown);
        if (!terminal || !shown.get("status").asText().equals("verified"))
            tell(name + ": " + shown.get("status").asText() + ", " + shown.get("restorePoints") + " restore points, " + shown.get("objects") + " objects, "
                    + shown.get("bytes") + " bytes, " + shown.get("seconds") + " s");
        if (!terminal) return;
        var megabytes = downloaded.get() / 1e6;
        var of = live == null ? "" : "/" + live.size();
        spec.commandLine().getErr().printf(Locale.ROOT, "%s%d%s repositories, %.1f MB, %.1f MB/s", CLEAR_LINE, outcomes.size(), of, megabytes,
                megabytes / Math.max(1e-3, seconds(started)));
        spec.commandLine().getErr().flush();
    }

    int summary() {
        if (withoutGit) tell("git is not on the PATH: JGit alone checked the objects");
        var totals = JSON.createObjectNode().put("verified", 0).put("findings", 0).put("failed", 0);
        for (var shown : outcomes.values()) {
            if (shown.get("status").asText().equals("verified") && found(shown.get("repositoryName").asText())) shown.put("status", "findings");
            totals.put(shown.get("status").asText(), totals.get(shown.get("status").asText()).asInt() + 1);
            for (var count : List.of("restorePoints", "objects", "bytes")) totals.put(count, totals.path(count).asLong() + shown.path(count).asLong());
        }
        var failures = totals.get("failed").asInt();
        if (failures > 0 && failures == outcomes.size()) return 1;
        var result = result(failures > 0 ? "incomplete" : findings.isEmpty() ? "verified" : "findings").put("account", account)
                .put("bucket", bucket).put("prefix", prefix).put("deep", deep).put("codecommit", codecommit);
        result.set("totals", totals.put("downloaded", downloaded.get()).put("seconds", seconds(started)));
        result.putArray("repositories").addAll(outcomes.values());
        result.putArray("findings").addAll(findings.values());
        return finish(result, failures > 0 ? 3 : findings.isEmpty() ? 0 : 4);
    }

    // ---- The same in every script that works on many repositories: names, ages, threads ----

    /** What takes back the line that a terminal's cursor is in. */
    static final String CLEAR_LINE = "\r\033[K";

    void checkSelection() {
        var right = "names of repositories, with * and ? for any characters, such as 'team-*'";
        for (var glob : repositoryNames) check("--repository-names", glob, "[\\w.*?-]{1,100}", right);
        for (var glob : exclude) check("--exclude", glob, "[\\w.*?-]{1,100}", right);
        check("--jobs", String.valueOf(jobs), "[1-9]|[1-5]\\d|6[0-4]", "1 to 64, such as 4");
    }

    /** @param text a number and m, h or d */
    static Duration duration(String text) {
        return Duration.parse((text.endsWith("d") ? "P" : "PT") + text);
    }

    /** Whether a repository's name is one of these, which may have * and ?. */
    static boolean fits(String name, List<String> globs) {
        return globs.stream().anyMatch(glob -> name.matches(glob.replace(".", "\\.").replace("*", ".*").replace('?', '.')));
    }

    static Thread daemon(Runnable task) {
        var thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    }

    static double seconds(long start) {
        return Math.round((System.nanoTime() - start) / 1e7) / 100.0;
    }

    // ----

    // ---- The same in every script that works on backups: bucket, documents, times ----

    /** Of manifests, pull requests and run records; what has another one is left alone. */
    static final int FORMAT = 1;
    /** In keys: when the refs were read. */
    static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmssSSS'Z'").withZone(ZoneOffset.UTC);
    static final String MANIFEST = ".manifest.json.gz";

    void checkBucket() {
        check("--bucket", bucket, "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name, such as my-backups");
        check("--prefix", prefix, "(?!(.*/)?\\.{1,2}(/|$))[\\w!.*'()=-]+(/[\\w!.*'()=-]+)*",
                "letters, digits and !_.*'()=- between single slashes, such as projects/codecommit-backup");
        if (expectedBucketOwner != null) check("--expected-bucket-owner", expectedBucketOwner, "\\d{12}", "an account id of 12 digits, such as 444455556666");
    }

    /**
     * S3, in the bucket's Region. On every call: whose bucket it must be. On none: the Expect header, which costs a round trip a part and makes
     * the JDK's client drop the message of an error that answers it. What is read is compared with checksums here and not by the SDK, so that a
     * damaged object is told from a bad line; and of itself the SDK does not try again when a listing was cut off.
     */
    S3Client s3(ExecutionInterceptor... more) {
        var interceptors = Stream.concat(Stream.of(more), Stream.of(new ExecutionInterceptor() {
            @Override
            public SdkHttpRequest modifyHttpRequest(Context.ModifyHttpRequest context, ExecutionAttributes call) {
                return context.httpRequest().copy(r -> {
                    r.removeHeader("Expect");
                    if (expectedBucketOwner != null) r.putHeader("x-amz-expected-bucket-owner", expectedBucketOwner);
                });
            }
        })).toList();
        var builder = S3Client.builder().crossRegionAccessEnabled(true).responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED)
                .addPlugin(c -> c.overrideConfiguration(c.overrideConfiguration().copy(o -> interceptors.forEach(o::addExecutionInterceptor))));
        return client(builder, AwsRetryStrategy.standardRetryStrategy().toBuilder().retryOnExceptionOrCauseInstanceOf(XMLStreamException.class).build());
    }

    /** A gzipped document, read to its end, where gzip's own checksum is. */
    static JsonNode json(InputStream in) throws IOException {
        return JSON.readTree(new GZIPInputStream(in).readAllBytes());
    }

    /**
     * JGit reads no configuration of this user and machine, on which nothing here may depend. Without one it would find out how exact the times of
     * a file system are, in some seconds and with files of its own.
     */
    static void ignoreGitConfiguration() {
        class Nothing extends SystemReader.Delegate {
            Nothing() {
                super(SystemReader.getInstance());
            }

            static FileBasedConfig nothing(Config parent) {
                return new FileBasedConfig(parent, null, FS.DETECTED) {
                    @Override
                    public void load() {
                    }

                    @Override
                    public void save() {
                    }

                    @Override
                    public boolean isOutdated() {
                        return false;
                    }

                    @Override
                    public long getTimeUnit(String section, String subsection, String name, long otherwise, TimeUnit unit) {
                        return section.equals("filesystem") ? unit.convert(2, TimeUnit.SECONDS) : otherwise;
                    }
                };
            }

            @Override
            public FileBasedConfig openSystemConfig(Config parent, FS fs) {
                return nothing(parent);
            }

            @Override
            public FileBasedConfig openUserConfig(Config parent, FS fs) {
                return nothing(parent);
            }

            @Override
            public FileBasedConfig openJGitConfig(Config parent, FS fs) {
                return nothing(parent);
            }
        }
        if (!(SystemReader.getInstance() instanceof SystemReader.Delegate)) SystemReader.setInstance(new Nothing());
    }

    // ----

    // ---- The same in every script: options, clients, output, errors ----

    static final ObjectMapper JSON = new ObjectMapper();

    @Option(names = "--region", paramLabel = "REGION", description = "AWS Region. Default: AWS_REGION, else the profile's.")
    String region;

    @Option(names = "--profile", paramLabel = "NAME", description = "Profile of the AWS configuration files. Goes before credentials in the environment.")
    String profile;

    @Option(names = "--print", paramLabel = "POINTER", description = "Prints only the value at this JSON Pointer of the result, without quotes, e.g. /status.")
    JsonPointer print;

    @Option(names = {"-v", "--verbose"}, description = "Prints every AWS call, and the stack trace of an error, to stderr.")
    boolean verbose;

    @Spec
    CommandSpec spec;

    /** What is being worked on: stands in front of the message of an error. */
    String subject = "";

    private AwsCredentialsProvider credentials;
    private Identity identity;

    CommandLine commandLine() {
        return new CommandLine(this)
                .setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8)) // JSON is UTF-8, whatever the terminal's encoding
                .setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8))
                .setUsageHelpAutoWidth(true)
                .setExpandAtFiles(false) // "@x" is a value, not a file of arguments
                .registerConverter(JsonPointer.class, text -> {
                    if (text.startsWith("/")) return JsonPointer.compile(text);
                    throw new TypeConversionException("'" + text + "' is not a JSON Pointer such as /status");
                })
                .setParameterExceptionHandler((e, args) -> {
                    var near = e instanceof UnmatchedArgumentException unknown ? unknown.getSuggestions() : List.of();
                    note(e.getMessage().replaceFirst("^Error: ", "").replaceAll("\\s+", " ") + (near.isEmpty() ? "" : "; did you mean " + near.get(0) + "?")
                            + " (help: " + spec.name() + " --help)");
                    return 2;
                })
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    fail(e);
                    return 1;
                });
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder) {
        return client(builder, AwsRetryStrategy.standardRetryStrategy());
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder, RetryStrategy retries) {
        useProxies(System.getenv());
        // The JDK knows the proxies.
        var http = UrlConnectionHttpClient.builder().proxyConfiguration(p -> p.useSystemPropertyValues(false).useEnvironmentVariablesValues(false));
        return builder.httpClientBuilder(http).region(Region.of(region())).credentialsProvider(credentials()).overrideConfiguration(o -> {
            o.retryStrategy(retries);
            if (profile != null) o.defaultProfileName(profile);
            if (!verbose) return;
            o.addExecutionInterceptor(new ExecutionInterceptor() {
                @Override
                public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes call) {
                    note(call.getAttribute(SdkExecutionAttribute.SERVICE_NAME) + " " + call.getAttribute(SdkExecutionAttribute.OPERATION_NAME)
                            + ": HTTP " + context.httpResponse().statusCode());
                }
            });
        }).build();
    }

    /**
     * Makes the JDK follow HTTPS_PROXY, HTTP_PROXY and NO_PROXY, for Git and for the STS client behind a profile too. Of itself the SDK takes HTTP_PROXY
     * even for https, and no domains in NO_PROXY.
     */
    static void useProxies(Map<String, String> environment) {
        UnaryOperator<String> variable = name -> environment.getOrDefault(name, environment.getOrDefault(name.toUpperCase(Locale.ROOT), "")).strip();
        for (var scheme : List.of("http", "https")) {
            var proxy = variable.apply(scheme + "_proxy");
            if (proxy.isEmpty()) continue;
            var parts = Pattern.compile("(?:https?://)?(?:([^:@/]*):([^@/]*)@)?([\\w.-]+|\\[[\\da-fA-F:]+])(?::(\\d+))?/?").matcher(proxy);
            if (!parts.matches()) throw new Failure(scheme.toUpperCase(Locale.ROOT) + "_PROXY is not of the form http://HOST:PORT");
            System.setProperty(scheme + ".proxyHost", parts.group(3));
            System.setProperty(scheme + ".proxyPort", parts.group(4) == null ? "80" : parts.group(4));
            if (parts.group(1) == null) continue;
            UnaryOperator<String> decode = text -> URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
            var signIn = new PasswordAuthentication(decode.apply(parts.group(1)), decode.apply(parts.group(2)).toCharArray());
            System.setProperty("jdk.http.auth.tunneling.disabledSchemes", ""); // without this, no Basic for https
            Authenticator.setDefault(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    return getRequestorType() == RequestorType.PROXY ? signIn : null;
                }
            });
        }
        var direct = Stream.of(variable.apply("no_proxy").split("[,\\s]+")).map(host -> host.replaceFirst("^\\*?\\.", "")).filter(host -> !host.isEmpty());
        System.setProperty("http.nonProxyHosts", "localhost|127.*|[::1]" + direct.map(host -> "|" + host + "|*." + host).collect(Collectors.joining()));
        System.setProperty("software.amazon.awssdk.http.service.impl", "software.amazon.awssdk.http.urlconnection.UrlConnectionSdkHttpService");
    }

    AwsCredentialsProvider credentials() {
        if (credentials == null) credentials = profile != null ? ProfileCredentialsProvider.create(profile) : DefaultCredentialsProvider.builder().build();
        return credentials;
    }

    String region() {
        if (region != null) return check("--region", region, "[a-z]{2,4}(-[a-z]+)+-\\d{1,2}", "a Region such as eu-west-1");
        try {
            return region = DefaultAwsRegionProviderChain.builder().profileName(profile).build().getRegion().id();
        } catch (SdkClientException e) {
            throw new Failure("no Region: give --region or set AWS_REGION", e);
        }
    }

    /** Whose credentials these are: decides account and partition. */
    record Identity(String account, String partition) { }

    /** Asks STS once, which needs no permission. */
    Identity identity() {
        if (identity != null) return identity;
        try (var sts = client(StsClient.builder())) {
            var caller = sts.getCallerIdentity();
            return identity = new Identity(caller.account(), caller.arn().split(":")[1]);
        }
    }

    /** The value, if it has the form; else exit code 2 and what is right. */
    String check(String what, String value, String form, String right) {
        if (value.matches(form)) return value;
        throw wrong(what + " '" + value + "': give " + right);
    }

    ParameterException wrong(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    /** What every result begins with. */
    ObjectNode result(String status) {
        return JSON.createObjectNode().put("status", status).put("account", identity().account()).put("region", region());
    }

    /** Prints the result, or the part of it that --print asks for. */
    int finish(ObjectNode result, int exitCode) {
        var part = print == null ? result : result.at(print);
        var planned = result.path("status").asText().startsWith("would") ? " in a dry run" : "";
        if (part.isMissingNode()) throw new Failure("the result has nothing at " + print + planned + ": " + result);
        var out = spec.commandLine().getOut();
        out.println(part.isValueNode() ? part.asText() : part.toPrettyString());
        if (out.checkError()) throw new Failure("this result could not be written to stdout: " + result);
        return exitCode;
    }

    void note(String message) {
        spec.commandLine().getErr().println(spec.name() + ": " + message);
    }

    void fail(Exception e) {
        note((subject.isEmpty() ? "" : subject + ": ") + reason(e));
        if (verbose) e.printStackTrace(spec.commandLine().getErr());
    }

    /** In one line: the error code and message of AWS, or what else went wrong. */
    static String reason(Throwable e) {
        if (e instanceof AwsServiceException aws && aws.awsErrorDetails() != null) {
            var code = aws.awsErrorDetails().errorCode() == null ? "HTTP " + aws.statusCode() : aws.awsErrorDetails().errorCode();
            var message = aws.awsErrorDetails().errorMessage() == null ? "" : ": " + aws.awsErrorDetails().errorMessage().replaceAll("\\s+", " ");
            return code + message + " (request id " + aws.requestId() + ")" + (code.contains("Expired") ? "; sign in again" : "");
        }
        for (var cause = e; cause != null; cause = cause.getCause())
            if (cause instanceof UnknownHostException) return "unknown host " + cause.getMessage() + "; see to --region, AWS_ENDPOINT_URL and the network";
        var text = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage().lines().findFirst().orElse("");
        if (text.startsWith("Unable to load credentials")) return "no AWS credentials: give --profile, set AWS_PROFILE, or sign in";
        return text.length() > 2000 ? text.substring(0, 2000) + " ..." : text;
    }

    static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        }
    }

    /** A failure whose message says it all. */
    static class Failure extends RuntimeException {
        Failure(String message, Throwable cause) {
            super(message, cause);
        }

        Failure(String message) {
            this(message, null);
        }
    }

    // ----

    public static void main(String[] args) {
        System.exit(new VerifyBackups().commandLine().execute(args));
    }
}
