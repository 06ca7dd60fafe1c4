///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Proves that backups in S3 are complete and restorable, and finds stale, missing and vanished repositories.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:s3
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS org.eclipse.jgit:org.eclipse.jgit:7.8.1.202611041320-r
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:-UsePerfData -Djdk.console=java.base
//RUNTIME_OPTIONS -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=10000
//RUNTIME_OPTIONS -XX:Tier4CompileThreshold=100000 -XX:Tier4BackEdgeThreshold=400000

import com.fasterxml.jackson.annotation.*;
import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import java.io.*;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.RecordComponent;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.time.*;
import java.time.format.DateTimeFormatter;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import java.util.zip.GZIPInputStream;
import javax.net.ssl.*;
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
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.CodeCommitException;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.ChecksumType;
import software.amazon.awssdk.services.s3.model.ExpirationStatus;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.InvalidObjectStateException;
import software.amazon.awssdk.services.s3.model.LifecycleRule;
import software.amazon.awssdk.services.s3.model.LifecycleRuleAndOperator;
import software.amazon.awssdk.services.s3.model.LifecycleRuleFilter;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.model.StorageClass;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Proves that the backups of backup-to-s3 can be restored, for the newest restore point of every repository or for all
 * of them, and that there are backups of every repository. Needs only a reader's access to the bucket.
 *
 * <p>Always: each manifest is read, and each object that it names must have the size and the CRC32 that were written,
 * by what S3 keeps, without a download, and must not be archived. With {@code --deep} every bundle is downloaded,
 * compared with its SHA-256 and indexed, and every object is reached from every ref, so that nothing is missing and
 * nothing is damaged; {@code git fsck --strict} is asked too if git is there, and it alone of what is large and good.
 * What is wrong with a backup is a finding of one of the codes that {@link Code} lists. What this machine, JGit or git
 * cannot check is never one: it is said to be unchecked.
 *
 * <p>Changes nothing in AWS. A second run does the same again. Local disk is used by {@code --deep} only, for as many
 * repositories as {@code --jobs} says, and given back also when interrupted.
 *
 * <p>IAM actions:
 * <ul>
 * <li>s3:ListBucket, s3:GetObject, and kms:Decrypt on the bucket's key if it has one
 * <li>codecommit:ListRepositories (on *) to find missing and vanished repositories; where it is denied that is said and
 * left out
 * <li>s3:GetLifecycleConfiguration to say when the backup of a vanished repository expires; where it is denied that is
 * said
 * </ul>
 */
@Command(name = "verify-backups", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Proves that backups in S3 are complete and restorable, "
                + "and finds stale, missing and vanished repositories.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: some repositories could not be checked, the others are complete",
                "4:findings: all were checked, and some backups are not as they should be", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang verify-backups --bucket my-backups \\",
                "      --expected-bucket-owner 444455556666",
                "  ./jbang verify-backups --bucket my-backups --repository-names 'team-*' \\",
                "      --all --deep"})
class VerifyBackups implements Callable<Integer> {
    @Option(names = "--account", paramLabel = "ACCOUNT",
            description = "Account whose repositories were backed up. Default: that of the credentials.")
    String account;

    @Option(names = "--repository-names", paramLabel = "GLOB", arity = "1..*",
            description = "Repositories to verify, by name or with * and ?. Default: all of the Region.")
    List<String> repositoryNames = List.of("*");

    @Option(names = "--all", description = "Every restore point. Default: the newest one of each repository.")
    boolean all;

    @Option(names = "--deep",
            description = "Downloads the bundles and follows every ref to its last object. Needs as much disk as the "
                    + "bundles of --jobs repositories (in Java's temporary directory: "
                    + "JAVA_TOOL_OPTIONS=-Djava.io.tmpdir=DIR), and some 500 MB of memory for each million of objects.")
    boolean deep;

    @Option(names = "--max-age", paramLabel = "TIME", defaultValue = "26h",
            description = "How long ago a run must have saved a repository or found it unchanged, in minutes, hours or "
                    + "days. Default: ${DEFAULT-VALUE}.")
    String maxAge;

    @Option(names = "--no-codecommit",
            description = "Does not ask CodeCommit for missing and vanished repositories.")
    boolean noCodecommit;

    @Option(names = "--expire-after-days", paramLabel = "DAYS",
            description = "When objects expire, to say until when a vanished repository can be restored. Default: by "
                    + "the bucket's lifecycle rules.")
    Integer expireAfterDays;

    /**
     * The printed document.
     *
     * @param status incomplete if some repositories could not be checked
     * @param account whose repositories were backed up
     * @param codecommit whether the backups were compared with CodeCommit's repositories, or why not
     * @param error why what belongs to no repository was not checked, or not all of it
     */
    record Result(String status, String account, String region, String bucket, String prefix, boolean deep,
            String codecommit, String error, Totals totals, Collection<VerifiedRepository> repositories,
            Collection<Finding> findings) {}

    /** @param downloaded in bytes, as are the bytes that S3 has */
    record Totals(long verified, long findings, long unchecked, long failed, long restorePoints, long objects,
            long bytes, long downloaded, double seconds) {}

    /**
     * @param error why it was not checked, or not all of it
     * @param newest the time of the newest restore point that can be used; null if there is none
     * @param restorePoints how many were verified
     * @param damaged how many restore points cannot be restored
     */
    record VerifiedRepository(String repositoryName, Outcome status, String error, @JsonInclude String newest,
            int restorePoints, int damaged, int objects, long bytes, double seconds) {
        /** In CodeCommit, and not in the bucket. */
        static VerifiedRepository missing(String repositoryName) {
            return new VerifiedRepository(repositoryName, Outcome.FINDINGS, null, null, 0, 0, 0, 0, 0);
        }

        VerifiedRepository withFindings() {
            return new VerifiedRepository(repositoryName, Outcome.FINDINGS, error, newest, restorePoints, damaged,
                    objects, bytes, seconds);
        }
    }

    /** Unchecked: something could not be checked, and the rest was. Failed: not even that. */
    enum Outcome {
        VERIFIED, FINDINGS, UNCHECKED, FAILED;

        @JsonValue
        @Override
        public String toString() {
            return kebabCase(this);
        }
    }

    /**
     * Something that is not as it should be.
     *
     * @param repositoryName null of a run record or what else belongs to no repository
     * @param key of the object that it is about; null if there is none
     * @param expires the day on which the last backup of a vanished repository expires; null if there is none
     */
    record Finding(@JsonInclude String repositoryName, Code code, @JsonInclude String key, String message,
            @JsonInclude String expires) {}

    enum Code {
        /** An object that a restore point needs is gone. */
        MISSING_OBJECT,
        /** An object has another size than was written. */
        SIZE,
        /** An object has another checksum than was written. */
        CHECKSUM,
        /** An object that a restore point needs must be restored from an archive before it can be read. */
        ARCHIVED,
        /** A document or bundle is what was written, as far as that is known, and cannot be read. */
        UNREADABLE,
        /** A document is of a later version. */
        FORMAT,
        /** A manifest contradicts itself or its place. */
        MANIFEST,
        /** An object that a ref leads to is in no bundle. */
        NOT_CONNECTED,
        /** The refs of a bundle are not those of its manifest. */
        REFS,
        /** No run of late saved the repository or found it unchanged: a quiet one is not stale, a dead job is. */
        STALE,
        /** The repository is in CodeCommit, but without a restore point. */
        MISSING,
        /** The repository is backed up, but no longer in CodeCommit. */
        VANISHED,
        /** An object that no manifest names, such as a killed run leaves; nothing depends on it. */
        ORPHAN;

        @JsonValue
        @Override
        public String toString() {
            return kebabCase(this);
        }
    }

    static String kebabCase(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** The keys in a repository's directory; the stem tells for which manifest the object was written. */
    static final Pattern KEY = Pattern.compile("(?<stem>.*/\\d{8}T\\d{9}Z-\\w+)"
            + "\\.(?<kind>manifest|full|incr|pull-requests)\\.(json\\.gz|bundle)");
    /** What Java says when this machine's disk is to blame, which it tells by text alone. */
    static final Pattern DISK_ERROR = Pattern.compile(
            "(No space left on device|Disk quota exceeded|File too large|Input/output error|Read-only file system).*");
    /** Lines of git fsck about an object that breaks Git's rules, and is as it was pushed. */
    static final Pattern MALFORMED = Pattern.compile("(error|warning) in (commit|tree|blob|tag) [0-9a-f]{40}: .*");
    /** Lines of git fsck about an object that is not there. */
    static final Pattern LOST = Pattern.compile("missing \\w+ [0-9a-f]{40}|(broken link from| +to) +\\w+ [0-9a-f]{40}"
            + "|error: .*: invalid sha1 pointer [0-9a-f]{40}");
    /** Of a repository that is as it should be, in a list. */
    static final Finding NO_FINDING = new Finding(null, null, null, null, null);
    /** A younger object may belong to a run that has not written its manifest yet. */
    static final Duration ORPHAN_AGE = Duration.ofDays(1);

    /** How long workers may go on writing when interrupted. */
    Duration removalPatience = Duration.ofSeconds(30);
    Instant now = Instant.now();
    String gitCommand = "git";
    /** Bytes of bundles that git indexes and follows, as it takes less time; what is smaller JGit has done sooner. */
    long leastForGit = 4 << 20;
    /** Whether git is left out, or cannot be started. */
    volatile boolean withoutGit;

    S3Client s3;
    /** CodeCommit's repositories, ids by name; null if they are not compared. */
    Map<String, String> live;
    String codecommit = "compared";
    /** Why what belongs to no repository was not checked; null if it was. */
    volatile String errorBeside;
    final RunRecords runRecords = new RunRecords();
    /** By repository, code and key. */
    final ConcurrentSkipListMap<String, Finding> findings = new ConcurrentSkipListMap<>();
    final Map<String, VerifiedRepository> verified = new ConcurrentSkipListMap<>();
    final Map<String, Gone> gone = new ConcurrentSkipListMap<>();
    final AtomicLong downloaded = new AtomicLong();
    final long started = System.nanoTime();

    /** Also the lock under which processes are started and scratch repositories created, so that none escapes. */
    final Set<Process> children = ConcurrentHashMap.newKeySet();
    /** Holds the scratch repositories; null if there was none yet. */
    Path temporary;
    ExecutorService workers;
    volatile boolean stopping;

    public static void main(String[] args) {
        System.exit(new VerifyBackups().commandLine().execute(args));
    }

    @Override
    public Integer call() throws Exception {
        checkOptions();
        connect();
        if (account == null) {
            account = caller.account();
        }
        s3 = s3();
        var hook = new Thread(this::stop);
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            live = liveRepositories();
            verifyAll();
            findMissing();
            findVanished();
        } finally {
            if (removeHook(hook)) {
                stop();
            }
        }
        return report();
    }

    void checkOptions() {
        checkOutput();
        checkBucket();
        if (account != null) {
            checkAccount("--account", account);
        }
        checkSelection();
        check("--max-age", maxAge, "[1-9]\\d{0,4}[mhd]",
                "a number and m, h or d for minutes, hours or days, such as 26h");
        if (expireAfterDays != null) {
            check("--expire-after-days", String.valueOf(expireAfterDays), "[1-9]\\d{0,4}",
                    "1 to 99999 days, such as 365");
        }
    }

    /** CodeCommit's repositories, ids by name; null where it may not or need not be asked. */
    Map<String, String> liveRepositories() {
        if (noCodecommit) {
            codecommit = "not compared: --no-codecommit";
            return null;
        }
        if (!account.equals(caller.account())) {
            return notCompared(
                    "the credentials are of account " + caller.account() + ", the backups of " + account);
        }
        try (var client = client(CodeCommitClient.builder())) {
            return client.listRepositoriesPaginator().repositories().stream()
                    .collect(Collectors.toMap(r -> r.repositoryName(), r -> r.repositoryId(), (a, b) -> b,
                            TreeMap::new));
        } catch (SdkException e) {
            var isDenied = e instanceof CodeCommitException answer && !isCutShort(answer)
                    && answer.awsErrorDetails().errorCode().equals("AccessDeniedException");
            if (!isDenied) {
                throw new Failure("CodeCommit cannot list the repositories: " + reason(e)
                        + "; --no-codecommit verifies the backups without it", e);
            }
            return notCompared(reason(e));
        }
    }

    Map<String, String> notCompared(String why) {
        codecommit = "not compared: " + why;
        note("missing and vanished repositories are not looked for: " + why);
        return null;
    }

    /** The part of a run record that is about one repository. */
    record RunEntry(String outcome, String manifest) {
        boolean isGood() {
            return outcome.equals("saved") || outcome.equals("unchanged");
        }
    }

    /** What the runs of the last --max-age say. Older records are read only for what the newer ones do not tell. */
    class RunRecords {
        /** Keys of the records that are not read yet, newest first. */
        private final Deque<String> unread = new ArrayDeque<>();
        private final Map<String, RunEntry> lastEntries = new HashMap<>();
        private final Map<String, RunEntry> lastGoodEntries = new HashMap<>();
        /** Whether there is a record of which it is not known what it says. */
        private boolean hasUnreadable;

        void list() {
            var directory = prefix + "/" + account + "/runs/" + region() + "/";
            var oldest = now.minus(duration(maxAge));
            listed(directory, directory + KEY_TIME.format(oldest)).forEach(object -> unread.addFirst(object.key()));
        }

        /** The newest entry of a run that saved the repository or found it unchanged; null if there is none. */
        synchronized RunEntry lastGood(String repositoryName) throws Exception {
            while (!lastGoodEntries.containsKey(repositoryName) && !unread.isEmpty()) {
                try {
                    read(unread.peek());
                } catch (Damage e) {
                    hasUnreadable = true;
                    find("", e.code, e.key, e.getMessage());
                }
                unread.remove();
            }
            return lastGoodEntries.get(repositoryName);
        }

        private void read(String key) throws Exception {
            for (var repository : document(key).path("repositories").properties()) {
                var entry = new RunEntry(repository.getValue().path("outcome").asText(),
                        repository.getValue().path("manifest").asText(null));
                lastEntries.putIfAbsent(repository.getKey(), entry);
                if (entry.isGood()) {
                    lastGoodEntries.putIfAbsent(repository.getKey(), entry);
                }
            }
        }

        /** Whether a repository without an entry was in none of the runs. */
        synchronized boolean isComplete() {
            return !hasUnreadable;
        }

        /** What a finding adds about a repository of which the last run has no success. */
        synchronized String lastOutcome(String repositoryName) {
            var entry = lastEntries.get(repositoryName);
            return entry == null ? "" : ", and the last run says: " + entry.outcome;
        }
    }

    Iterable<S3Object> listed(String beginning, String after) {
        return s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(beginning).startAfter(after)).contents();
    }

    void verifyAll() throws InterruptedException {
        workers = Executors.newFixedThreadPool(jobs, VerifyBackups::daemon);
        try {
            runRecords.list();
            submitAll(workers);
            workers.shutdown();
            workers.awaitTermination(Long.MAX_VALUE, TimeUnit.DAYS);
        } catch (SdkException e) {
            throw new Failure("s3://" + bucket + "/" + prefix + "/" + account + ": " + reason(e), e);
        } finally {
            workers.shutdownNow();
        }
        failIfStopping();
        if (verified.isEmpty() && live == null) {
            throw new Failure("nothing is backed up in " + region()
                    + "; check --prefix, --account, --region and --repository-names");
        }
    }

    /**
     * Lists everything once, and hands over each repository as soon as it is listed. It waits for the workers, so that
     * memory does not grow with the bucket.
     */
    void submitAll(Executor workers) throws InterruptedException {
        var root = prefix + "/" + account + "/" + region() + "/";
        var places = new Semaphore(2 * jobs);
        Backup backup = null;
        for (var object : listed(root + commonBeginning(), null)) {
            var path = object.key().substring(root.length());
            var name = path.substring(0, Math.max(0, path.indexOf('/')));
            var isWanted = name.isEmpty() ? repositoryNames.contains("*") : isWanted(name);
            var isFolderOfTheConsole = object.size() == 0 && path.endsWith("/");
            if (!isWanted || isFolderOfTheConsole) {
                continue;
            }
            if (backup == null || !name.equals(backup.name)) {
                submit(backup, workers, places);
                backup = new Backup(name);
            }
            backup.objects.put(object.key(), object);
        }
        submit(backup, workers, places);
    }

    void submit(Backup backup, Executor workers, Semaphore places) throws InterruptedException {
        if (backup == null) {
            return;
        }
        places.acquire();
        workers.execute(() -> {
            backup.check();
            places.release();
        });
    }

    boolean isWanted(String name) {
        return matchesAny(repositoryNames, name) && !matchesAny(exclude, name);
    }

    /** What the directories of all wanted names begin with. */
    String commonBeginning() {
        var common = repositoryNames.get(0) + "/";
        for (var glob : repositoryNames) {
            var fixed = (glob + "/").split("[*?]", 2)[0];
            while (!fixed.startsWith(common)) {
                common = common.substring(0, common.length() - 1);
            }
        }
        return common;
    }

    /** An object that a manifest names, as it was written. */
    record StoredObject(String key, String kind, long size, String sha256, String crc32) {
        static StoredObject of(JsonNode object) {
            return new StoredObject(object.path("key").asText(), object.path("kind").asText("pull-requests"),
                    object.path("size").asLong(), object.path("sha256").asText(), object.path("crc32").asText());
        }

        boolean isBundle() {
            return !kind.equals("pull-requests");
        }

        /** Tells it from all others, and ends. */
        String line() {
            return key + " " + sha256 + "\n";
        }
    }

    /**
     * A restore point.
     *
     * @param key of its manifest
     * @param head the ref or, if it is detached, the commit that HEAD names; "" if none
     */
    record Point(String key, String time, String repositoryId, String head, Map<String, String> refs,
            List<StoredObject> bundles, List<StoredObject> pullRequests) {
        static Point of(String key, JsonNode manifest) {
            var refs = manifest.path("refs").properties().stream()
                    .collect(Collectors.toMap(Map.Entry::getKey, ref -> ref.getValue().asText()));
            return new Point(key, manifest.path("time").asText(), manifest.at("/repository/repositoryId").asText(),
                    manifest.path("head").asText(""), refs,
                    manifest.path("chain").valueStream().map(StoredObject::of).toList(),
                    manifest.path("pullRequests").valueStream().map(StoredObject::of).toList());
        }

        List<StoredObject> objects() {
            return Stream.concat(bundles.stream(), pullRequests.stream()).toList();
        }

        Stream<String> keys() {
            return objects().stream().map(StoredObject::key);
        }

        /** Begins as that of any restore point whose bundles are the first of these. */
        String chain() {
            return bundles.stream().map(StoredObject::line).collect(Collectors.joining());
        }

        boolean isDetached() {
            return ObjectId.isId(head);
        }
    }

    /** The newest restore point of a repository that was not in CodeCommit, and its full bundle. */
    record Gone(Point newest, S3Object full) {}

    /** Something is wrong with what is stored, whoever reads it. */
    static class Damage extends Exception {
        final Code code;
        final String key;

        Damage(Code code, String key, String message) {
            super(message);
            this.code = code;
            this.key = key;
        }
    }

    /** Something could not be checked here, and may well be good. */
    static class Unchecked extends Exception {
        Unchecked(String message) {
            super(message);
        }
    }

    /** What S3 has of one repository; "" stands for what lies beside their directories. */
    class Backup {
        final String name;
        final TreeMap<String, S3Object> objects = new TreeMap<>();
        /** The restore points to verify, newest first. */
        final List<Point> points = new ArrayList<>();
        final TreeSet<String> unreadManifests = new TreeSet<>();
        /** The manifests of restore points that cannot be restored. */
        final Set<String> damagedManifests = new HashSet<>();
        /** What S3 says of an object; null if it is not there. */
        final Map<String, HeadObjectResponse> heads = new HashMap<>();
        /** By line: why an object cannot be used, so that it is not read again for the next restore point. */
        final Map<String, Exception> unusableObjects = new HashMap<>();
        /** What could not be checked, and why. */
        final Set<String> unchecked = new TreeSet<>();
        /** Whether there is a manifest of which it is not known what it names. */
        boolean hasUnreadableManifest;

        Backup(String name) {
            this.name = name;
        }

        /** Verifies it; whatever fails is a failure of this repository alone. */
        void check() {
            var start = System.nanoTime();
            Outcome outcome;
            String error = null;
            try {
                verify();
                outcome = hasFindings(name) ? Outcome.FINDINGS : Outcome.VERIFIED;
                if (!unchecked.isEmpty()) {
                    outcome = Outcome.UNCHECKED;
                    error = String.join("; ", unchecked);
                }
            } catch (Exception | Error e) {
                if (stopping) {
                    return;
                }
                outcome = Outcome.FAILED;
                error = reasonWithAdvice(e);
                trace(e);
            }
            if (error != null) {
                tell((name.isEmpty() ? "beside the repositories" : name) + ": " + error);
            }
            if (name.isEmpty()) {
                errorBeside = error;
            } else {
                var bytes = heads.values().stream().filter(Objects::nonNull)
                        .mapToLong(HeadObjectResponse::contentLength).sum();
                report(new VerifiedRepository(name, outcome, error, points.isEmpty() ? null : points.get(0).time,
                        points.size(), damagedManifests.size(), heads.size(), bytes, secondsSince(start)));
            }
        }

        void verify() throws Exception {
            objects.keySet().stream().filter(key -> key.endsWith(MANIFEST)).forEach(unreadManifests::add);
            while (!unreadManifests.isEmpty() && (all || points.isEmpty())) {
                readNewest().ifPresent(points::add);
            }
            points.forEach(this::compare);
            if (deep) {
                readObjects();
            }
            findOrphans();
            if (!points.isEmpty()) {
                findOutdated(points.get(0));
            }
        }

        /** The newest restore point that was not read yet. If it cannot be used, the next older one takes its place. */
        Optional<Point> readNewest() throws Exception {
            var key = unreadManifests.pollLast();
            try {
                var manifest = document(key);
                var contradiction = contradiction(key, manifest);
                if (contradiction != null) {
                    throw new Damage(Code.MANIFEST, key, contradiction);
                }
                return Optional.of(Point.of(key, manifest));
            } catch (Damage e) {
                hasUnreadableManifest = true;
                damagedManifests.add(key);
                find(name, e.code, e.key, e.getMessage());
                return Optional.empty();
            }
        }

        /** In what a manifest contradicts itself or its place; null if in nothing. */
        private String contradiction(String key, JsonNode manifest) {
            var arn = manifest.at("/repository/arn").asText();
            if (!manifest.at("/repository/repositoryName").asText().equals(name)
                    || !arn.endsWith(":codecommit:" + region() + ":" + account + ":" + name)) {
                return "is not this repository's: " + (arn.isEmpty() ? "names none" : arn);
            }
            var directory = key.substring(0, key.lastIndexOf('/') + 1);
            var time = manifest.path("time").asText();
            try {
                if (!key.startsWith(directory + KEY_TIME.format(Instant.parse(time)) + "-")) {
                    return "is of another time than its name says: " + time;
                }
            } catch (DateTimeException e) {
                return "is of no time: '" + time + "'";
            }
            var format = manifest.path("objectFormat").asText("sha1");
            if (!format.equals("sha1")) {
                return "is for objects of the format " + format;
            }
            var refs = manifest.path("refs");
            var chain = manifest.path("chain");
            if (!refs.isObject() || !chain.isArray()) {
                return "has no refs or no chain";
            }
            for (var ref : refs.properties()) {
                if (!isRef(ref.getKey()) || !ObjectId.isId(ref.getValue().asText())) {
                    return "has the ref " + ref.getKey() + " at '" + ref.getValue().asText() + "'";
                }
            }
            var head = manifest.path("head").asText("");
            if (!head.isEmpty() && !ObjectId.isId(head) && !isRef(head)) {
                return "has HEAD at '" + head + "'";
            }
            if (chain.isEmpty() && !refs.isEmpty()) {
                return "has " + counted(refs.size(), "ref") + " and no bundle";
            }
            return Stream.concat(IntStream.range(0, chain.size())
                    .mapToObj(i -> contradiction(key, directory, chain.get(i), i == 0 ? "full" : "incr")),
                    manifest.path("pullRequests").valueStream()
                            .map(object -> contradiction(key, directory, object, "pull-requests")))
                    .filter(Objects::nonNull).findFirst().orElse(null);
        }

        private String contradiction(String manifest, String directory, JsonNode node, String expectedKind) {
            var object = StoredObject.of(node);
            var parts = KEY.matcher(object.key);
            var isHere = object.key.startsWith(directory) && object.key.indexOf('/', directory.length()) < 0;
            if (!isHere || !parts.matches()) {
                return "names what is not this repository's: " + object.key;
            }
            if (!object.kind.equals(expectedKind) || !parts.group("kind").equals(expectedKind)) {
                return "does not name a full bundle and increments: " + object.key;
            }
            if (parts.group("stem").compareTo(stem(manifest)) > 0) {
                return "names what is younger: " + object.key;
            }
            if (!node.path("size").isIntegralNumber() || !object.sha256.matches("[0-9a-f]{64}")) {
                return "does not say size and SHA-256 of " + object.key;
            }
            return null;
        }

        private boolean isRef(String text) {
            return text.startsWith("refs/") && Repository.isValidRefName(text);
        }

        void findDamage(Point point, Code code, String key, String message) {
            damagedManifests.add(point.key);
            find(name, code, key, message);
        }

        /** Compares what S3 tells of a restore point's objects, without a download. */
        void compare(Point point) {
            for (var object : point.objects()) {
                if (!heads.containsKey(object.key)) {
                    heads.put(object.key, head(object.key));
                }
                compare(point, object, heads.get(object.key));
            }
        }

        private void compare(Point point, StoredObject object, HeadObjectResponse head) {
            if (isUnavailable(object.key, head)) {
                var damage = unavailable(object.key, head);
                findDamage(point, damage.code, object.key, damage.getMessage());
            }
            if (head == null) {
                return;
            }
            if (head.contentLength() != object.size) {
                findDamage(point, Code.SIZE, object.key,
                        "has " + counted(head.contentLength(), "byte") + "; it was written with " + object.size);
                return;
            }
            var isOfTheWhole = head.checksumCRC32() != null && head.checksumType() != ChecksumType.COMPOSITE;
            if (object.crc32.isEmpty() || !isOfTheWhole) {
                if (!deep) {
                    tell(name + ": " + object.key
                            + ": not compared, as S3 has no CRC32 of the whole object; --deep compares it");
                }
            } else if (!head.checksumCRC32().equals(object.crc32)) {
                findDamage(point, Code.CHECKSUM, object.key,
                        "has the CRC32 " + head.checksumCRC32() + "; it was written with " + object.crc32);
            }
        }

        /** Downloads the objects of the restore points, each once, and builds the restore points up as git would. */
        void readObjects() throws Exception {
            ignoreGitConfiguration();
            // Chains that begin alike follow each other, the shortest first: at each restore point the scratch
            // repository has just that point's bundles.
            var order = Comparator.comparing(Point::chain).thenComparing(Point::key);
            Scratch scratch = null;
            try {
                for (var point : points.stream().sorted(order).toList()) {
                    if (point.keys().anyMatch(key -> isUnavailable(key, heads.get(key)))) {
                        continue;
                    }
                    if (scratch == null || !point.chain().startsWith(scratch.chain)) {
                        end(scratch);
                        scratch = newScratch();
                        scratch.defersWalks = points.size() == 1 && isForGit(point);
                    }
                    readObjects(point, scratch);
                }
                end(scratch);
            } finally {
                if (scratch != null) {
                    scratch.close();
                }
            }
        }

        private boolean isForGit(Point point) {
            return !withoutGit && point.bundles.stream().mapToLong(StoredObject::size).sum() >= leastForGit;
        }

        private void readObjects(Point point, Scratch scratch) throws Exception {
            try {
                for (var object : point.objects()) {
                    read(object, scratch);
                }
                scratch.connect(point);
            } catch (Damage e) {
                findDamage(point, e.code, e.key, e.getMessage());
            } catch (Unchecked e) {
                unchecked.add(e.getMessage());
            }
        }

        private void read(StoredObject object, Scratch scratch) throws Exception {
            if (unusableObjects.containsKey(object.line())) {
                throw unusableObjects.get(object.line());
            }
            try {
                if (!object.isBundle()) {
                    download(object.key, object.sha256, VerifyBackups::gunzipped);
                } else if (!scratch.chain.contains(object.line())) {
                    scratch.load(object);
                }
            } catch (Damage | Unchecked e) {
                unusableObjects.put(object.line(), e);
                throw e;
            }
        }

        /** Asks git for a second opinion of the last good restore point, and removes the directory. */
        private void end(Scratch scratch) throws Exception {
            if (scratch == null) {
                return;
            }
            try (scratch) {
                var point = scratch.lastGood;
                var answer = point == null ? null : scratch.fsck();
                if (point != null && (answer == null || answer.verdict() != Verdict.GOOD)) {
                    scratch.connectDeferred();
                }
                if (answer == null) {
                    return;
                }
                switch (answer.verdict()) {
                    case GOOD -> {
                    }
                    case MALFORMED -> tell(name + ": malformed, and so in CodeCommit: "
                            + counted(answer.lines.size(), "object") + ": " + answer.lines.get(0));
                    case LOST -> findDamage(point, Code.NOT_CONNECTED, point.key, answer.lost());
                    case NONE -> tell(name + ": JGit found all objects good, and git could not check them: " + answer);
                }
            } catch (Damage e) {
                findDamage(scratch.lastGood, e.code, e.key, e.getMessage());
            } catch (Unchecked e) {
                unchecked.add(e.getMessage());
            }
        }

        /**
         * Finds what no manifest names. An object is taken to be named where its own manifest is there; else all
         * manifests from its time on are read.
         */
        void findOrphans() throws Exception {
            var loose = new TreeMap<>(objects);
            loose.values().removeIf(object -> object.lastModified().isAfter(now.minus(ORPHAN_AGE)));
            loose.keySet().removeIf(key -> stem(key) != null
                    && (key.endsWith(MANIFEST) || unreadManifests.contains(stem(key) + MANIFEST)));
            points.forEach(point -> point.keys().forEach(loose::remove));
            while (!loose.isEmpty() && !unreadManifests.isEmpty()
                    && unreadManifests.last().compareTo(loose.firstKey()) > 0) {
                readNewest().ifPresent(point -> point.keys().forEach(loose::remove));
            }
            if (hasUnreadableManifest) {
                return; // it may name them
            }
            loose.forEach((key, object) -> find(name, Code.ORPHAN, key,
                    (stem(key) == null ? "is not of the backup's format: " : "is named by no manifest: ")
                            + counted(object.size(), "byte") + " of " + object.lastModified()));
        }

        /** Compares with CodeCommit and with the run records, by the newest restore point. */
        void findOutdated(Point newest) throws Exception {
            if (live != null && !live.containsKey(name)) {
                var full = newest.bundles.isEmpty() ? null : objects.get(newest.bundles.get(0).key);
                gone.put(name, new Gone(newest, full == null ? objects.get(newest.key) : full));
                return;
            }
            if (live != null && !live.get(name).equals(newest.repositoryId)) {
                find(name, Code.MISSING, null, "was deleted and created anew: what is backed up is another repository"
                        + " of this name, and this one has no restore point");
            }
            RunEntry run;
            try {
                run = runRecords.lastGood(name);
            } catch (SdkException | Failure e) {
                unchecked.add("whether a run saved it of late: " + reason(e));
                return;
            }
            if (run == null && runRecords.isComplete()) {
                find(name, Code.STALE, null, "no run of the last " + maxAge + " saved it or found it unchanged; its"
                        + " newest restore point is of " + newest.time + runRecords.lastOutcome(name));
            } else if (run != null && run.manifest != null && !objects.containsKey(run.manifest)) {
                find(name, Code.MISSING_OBJECT, run.manifest,
                        "the newest restore point, by the record of the run that wrote it, is not there");
            }
        }
    }

    /** What the keys of all that is written for one manifest begin with; null for any other key. */
    static String stem(String key) {
        var parts = KEY.matcher(key);
        return parts.matches() ? parts.group("stem") : null;
    }

    /** @param head null if it is not there */
    boolean isUnavailable(String key, HeadObjectResponse head) {
        return head == null || archived(key, head) != null;
    }

    /** Why an object cannot be read, and what can be done. */
    Damage unavailable(String key, HeadObjectResponse head) {
        return head == null ? new Damage(Code.MISSING_OBJECT, key, "is not there")
                : new Damage(Code.ARCHIVED, key, archived(key, head));
    }

    /** A manifest or run record. */
    JsonNode document(String key) throws Exception {
        var document = download(key, null, VerifyBackups::gunzipped);
        if (document.path("format").asInt() != FORMAT) {
            throw new Damage(Code.FORMAT, key, "has the format " + document.path("format").asText("(none)")
                    + "; this version knows " + FORMAT);
        }
        return document;
    }

    interface Reader<T> {
        T read(InputStream in) throws Exception;
    }

    /**
     * Reads an object: up to three times if the connection is cut, twice if it is not what was written or cannot be
     * read, for which the connection may be to blame too.
     *
     * @param sha256 of what was written; null if that is not known
     */
    <T> T download(String key, String sha256, Reader<T> reader) throws Exception {
        for (var attempt = 1; ; attempt++) {
            try (var from = s3.getObject(r -> r.bucket(bucket).key(key))) {
                var in = new Download(from);
                T result = null;
                Exception failure = null;
                try {
                    result = in.readBy(reader);
                } catch (Exception e) {
                    failure = e;
                }
                var readSha256 = hex(in.sha256.digest());
                var isCut = in.count < from.response().contentLength();
                var isRight = sha256 == null ? failure == null : sha256.equals(readSha256);
                if (!isRight && attempt < (isCut ? 3 : 2) && !stopping) {
                    continue;
                }
                if (isCut) {
                    throw new Failure(key + ": the connection was cut after " + in.count + " of "
                            + counted(from.response().contentLength(), "byte"), failure);
                }
                if (!isRight && sha256 != null) {
                    throw new Damage(Code.CHECKSUM, key,
                            "has the SHA-256 " + readSha256 + "; it was written with " + sha256);
                }
                if (failure != null) {
                    throw meaning(key, failure);
                }
                return result;
            } catch (NoSuchKeyException e) {
                throw unavailable(key, null);
            } catch (InvalidObjectStateException e) {
                throw unavailable(key, head(key));
            }
        }
    }

    /** What it means that an object cannot be read, although it is what was written as far as that is known. */
    static Exception meaning(String key, Exception failure) {
        if (failure instanceof Damage || failure instanceof Unchecked || failure instanceof Failure) {
            return failure;
        }
        return isOfThisMachine(failure) ? new Failure(key + ": on this machine: " + reason(failure), failure)
                : new Damage(Code.UNREADABLE, key, "is damaged: " + reason(failure));
    }

    /** Whether it was this machine's disk that failed. */
    static boolean isOfThisMachine(Throwable failure) {
        for (var cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof FileSystemException || cause instanceof FileNotFoundException
                    || DISK_ERROR.matcher("" + cause.getMessage()).matches()) {
                return true;
            }
        }
        return false;
    }

    /** An object on its way to a reader, who may close it: the rest is read all the same. */
    class Download extends FilterInputStream {
        final MessageDigest sha256 = digest("SHA-256");
        long count;

        Download(InputStream in) {
            super(in);
        }

        <T> T readBy(Reader<T> reader) throws Exception {
            try {
                return reader.read(new BufferedInputStream(this, 1 << 16));
            } finally {
                transferTo(OutputStream.nullOutputStream());
            }
        }

        @Override
        public int read(byte[] to, int from, int most) throws IOException {
            failIfStopping();
            var n = in.read(to, from, most);
            if (n > 0) {
                sha256.update(to, from, n);
                count += n;
                downloaded.addAndGet(n);
            }
            return n;
        }

        @Override
        public void close() {
        }
    }

    /**
     * Whether JGit gave up for its own limits: objects of 2 GiB, commits and trees of more than 50 MB, memory. git has
     * others.
     */
    static boolean isLimitOfJGit(Throwable failure) {
        for (var cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof TooLargeObjectInPackException || cause instanceof LargeObjectException
                    || cause instanceof OutOfMemoryError) {
                return true;
            }
        }
        return false;
    }

    static String reasonWithAdvice(Throwable failure) {
        return failure instanceof OutOfMemoryError
                ? "out of memory: use fewer --jobs, or more memory, such as JAVA_TOOL_OPTIONS=-Xmx4g"
                : reason(failure);
    }

    /** What git fsck says of objects: all good, malformed as they were pushed, some not there; or nothing. */
    enum Verdict {
        GOOD, MALFORMED, LOST, NONE
    }

    /** What git answered. */
    record Answer(int exitCode, List<String> lines) {
        /**
         * Nothing, if git was killed or gave up (128 and more), or if any line is about something else, such as a file
         * that cannot be read: then it is this machine that may be wrong.
         */
        Verdict verdict() {
            if (exitCode == 0) {
                return Verdict.GOOD;
            }
            var isLost = lines.stream().anyMatch(line -> LOST.matcher(line).matches());
            var isOfObjects = lines.stream()
                    .allMatch(line -> LOST.matcher(line).matches() || MALFORMED.matcher(line).matches());
            if (exitCode >= 128 || lines.isEmpty() || !isOfObjects) {
                return Verdict.NONE;
            }
            return isLost ? Verdict.LOST : Verdict.MALFORMED;
        }

        String lost() {
            return "git fsck: " + lines.stream().filter(line -> LOST.matcher(line).matches()).findFirst().orElseThrow();
        }

        @Override
        public String toString() {
            var end = exitCode > 128 ? "git was ended by signal " + (exitCode - 128) : "git ended with " + exitCode;
            return end + lines.stream().findFirst().map(line -> ": " + line).orElse("");
        }
    }

    Scratch newScratch() throws IOException {
        synchronized (children) {
            failIfStopping();
            if (temporary == null) {
                temporary = Files.createTempDirectory("verify-backups-");
            }
            var directory = Files.createTempDirectory(temporary, "repository-");
            var git = new FileRepositoryBuilder().setGitDir(directory.toFile()).setBare().build();
            git.create(true);
            return new Scratch(directory, git);
        }
    }

    /** A Git repository in a temporary directory, which takes a chain's bundles one after the other. */
    class Scratch implements AutoCloseable {
        final Path directory;
        final Repository git;
        /** The bundles that it has. */
        String chain = "";
        /** The last bundle's refs. */
        Map<String, String> bundleRefs = Map.of();
        /** The refs that fetching all bundles one after the other leaves. */
        final Map<String, String> fetchedRefs = new HashMap<>();
        /** Objects that are there with all that they lead to. */
        final Set<String> connectedIds = new HashSet<>();
        /** The last restore point, if it was found good. */
        Point lastGood;
        /** Whether git fsck, which follows all objects anyway, is asked before JGit. */
        boolean defersWalks;
        /** Ids whose objects are to be followed, by what needs them. */
        final Map<String, Collection<String>> deferred = new LinkedHashMap<>();

        Scratch(Path directory, Repository git) {
            this.directory = directory;
            this.git = git;
        }

        /**
         * Indexes a bundle, as fetching it does. The pack's parser hashes every object, so one that is found by its id
         * is right.
         */
        void load(StoredObject bundle) throws Exception {
            lastGood = null;
            setRefs(fetchedRefs);
            bundleRefs = index(bundle);
            chain += bundle.line();
            fetchedRefs.putAll(bundleRefs);
            connect(bundle.key, bundleRefs.values());
        }

        /** The bundle's refs. */
        private Map<String, String> index(StoredObject bundle) throws Exception {
            if (bundle.size >= leastForGit && !withoutGit) {
                var refs = download(bundle.key, bundle.sha256, in -> indexAtOnce(in));
                if (refs.isPresent()) {
                    return refs.get();
                }
            }
            try {
                return download(bundle.key, bundle.sha256, in -> indexByJGit(bundle.key, in));
            } catch (Unchecked | OutOfMemoryError e) {
                return indexByGit(bundle, reasonWithAdvice(e));
            }
        }

        /** By git, on all processors; nothing if it does not, for whatever reason: JGit does it, or says why. */
        private Optional<Map<String, String>> indexAtOnce(InputStream in) throws IOException, InterruptedException {
            var refs = new HashMap<String, String>();
            var line = headerLine(in);
            if (!line.equals("# v2 git bundle")) {
                return Optional.empty();
            }
            for (line = headerLine(in); !line.isEmpty(); line = headerLine(in)) {
                var words = line.split(" ", 2);
                if (words[0].matches("[0-9a-f]{40}") && words.length == 2) {
                    refs.put(words[1], words[0]);
                } else if (!words[0].startsWith("-") || !fetchedRefs.containsValue(words[0].substring(1))) {
                    return Optional.empty(); // it starts from something else than refs of the bundles before
                }
            }
            var answer = git(in, "index-pack", "--stdin", "--fix-thin");
            // It prints the pack's name, and what came after the pack.
            var isWhole = answer != null && answer.exitCode == 0 && answer.lines.size() == 1;
            return isWhole ? Optional.of(refs) : Optional.empty();
        }

        /** Up to an end of line, or of the first 10,000 bytes. */
        private static String headerLine(InputStream in) throws IOException {
            var line = new ByteArrayOutputStream();
            for (var next = in.read(); next >= 0 && next != '\n' && line.size() < 10_000; next = in.read()) {
                line.write(next);
            }
            return line.toString(StandardCharsets.UTF_8);
        }

        private Map<String, String> indexByGit(StoredObject bundle, String limit) throws Exception {
            var unchecked = bundle.key + ": JGit cannot index it: " + limit + "; git can, if it is on the PATH";
            if (withoutGit) {
                throw new Unchecked(unchecked);
            }
            var file = directory.resolve("bundle");
            download(bundle.key, bundle.sha256, in -> Files.copy(in, file, StandardCopyOption.REPLACE_EXISTING));
            var answer = git("bundle", "unbundle", file.toString());
            Files.delete(file);
            if (answer == null || answer.exitCode != 0) {
                throw new Unchecked(unchecked + (answer == null ? "" : ", but " + answer));
            }
            return answer.lines.stream().map(line -> line.split(" ", 2))
                    .collect(Collectors.toMap(ref -> ref[1], ref -> ref[0], (a, b) -> b));
        }

        private Map<String, String> indexByJGit(String key, InputStream in) throws Exception {
            try (var transport = new TransportBundleStream(git, new URIish().setPath("bundle"), in);
                    var connection = transport.openFetch()) {
                connection.fetch(NullProgressMonitor.INSTANCE, connection.getRefs(), Set.of());
                return connection.getRefs().stream()
                        .collect(Collectors.toMap(Ref::getName, ref -> ref.getObjectId().name()));
            } catch (MissingBundlePrerequisiteException e) {
                var commits = e.getMessage().replaceFirst("(?s).*?\n", ": ").replaceAll("\\s+", " ");
                throw new Damage(Code.NOT_CONNECTED, key,
                        "starts from commits to which no ref of the bundles before it leads" + commits);
            } catch (TransportException e) {
                if (e.getCause() instanceof MissingObjectException missing) {
                    throw new Damage(Code.NOT_CONNECTED, key, "changes object " + missing.getObjectId().name()
                            + ", which no bundle before it has");
                }
                throw isLimitOfJGit(e) ? new Unchecked(reason(e)) : e;
            }
        }

        private void setRefs(Map<String, String> refs) throws IOException {
            var lines = refs.entrySet().stream().filter(ref -> ref.getKey().startsWith("refs/"))
                    .map(ref -> ref.getValue() + " " + ref.getKey() + "\n");
            Files.writeString(directory.resolve("packed-refs"), lines.collect(Collectors.joining()));
        }

        /** That every ref and HEAD leads to objects that are there, and that the bundle was written for these refs. */
        void connect(Point point) throws Exception {
            var ids = new HashSet<>(point.refs.values());
            if (point.isDetached()) {
                ids.add(point.head);
            }
            connect(point.key, ids);
            if (!point.bundles.isEmpty()) {
                compareRefs(point, point.bundles.get(point.bundles.size() - 1));
            }
            lastGood = point;
        }

        private void compareRefs(Point point, StoredObject lastBundle) throws Damage {
            if (!stem(point.key).equals(stem(lastBundle.key))) {
                return; // it was written for an earlier restore point
            }
            for (var ref : bundleRefs.entrySet()) {
                // A detached HEAD stands in a bundle as refs/HEAD, so that fetching refs/* takes it along.
                var isHead = point.isDetached() && ref.getKey().equals("refs/HEAD");
                var id = isHead ? point.head : point.refs.get(ref.getKey());
                if (ref.getKey().startsWith("refs/") && !ref.getValue().equals(id)) {
                    throw new Damage(Code.REFS, point.key,
                            "has " + ref.getKey() + " at " + id + ", and its bundle at " + ref.getValue());
                }
            }
        }

        private void connect(String key, Collection<String> ids) throws Exception {
            if (defersWalks && areThere(ids)) {
                deferred.put(key, ids);
            } else {
                follow(key, ids);
            }
        }

        private boolean areThere(Collection<String> ids) throws IOException {
            for (var id : ids) {
                if (!git.getObjectDatabase().has(ObjectId.fromString(id))) {
                    return false;
                }
            }
            return true;
        }

        /** What git fsck has not found good. */
        void connectDeferred() throws Exception {
            for (var each : deferred.entrySet()) {
                follow(each.getKey(), each.getValue());
            }
        }

        private void follow(String key, Collection<String> ids) throws Exception {
            if (connectedIds.containsAll(ids)) {
                return;
            }
            try (var walk = new ObjectWalk(git)) {
                walk.setRetainBody(false);
                for (var id : ids) {
                    if (!connectedIds.contains(id)) {
                        walk.markStart(walk.parseAny(ObjectId.fromString(id)));
                    }
                }
                for (var id : connectedIds) {
                    walk.markUninteresting(walk.parseAny(ObjectId.fromString(id)));
                }
                walk.checkConnectivity();
                connectedIds.addAll(ids);
            } catch (MissingObjectException e) {
                throw new Damage(Code.NOT_CONNECTED, key,
                        "needs object " + e.getObjectId().name() + ", which no bundle of the chain has");
            } catch (CorruptObjectException | IncorrectObjectTypeException | LargeObjectException
                    | OutOfMemoryError e) {
                // Malformed as it was pushed, for it has the content of its id; or a limit. git takes more than JGit.
                connectByGit(key, ids, reasonWithAdvice(e));
            }
        }

        private void connectByGit(String key, Collection<String> ids, String limit) throws Exception {
            setRefs(ids.stream().collect(Collectors.toMap(id -> "refs/ids/" + id, id -> id, (a, b) -> a)));
            var answer = git("fsck", "--connectivity-only", "--no-dangling", "--no-progress");
            var verdict = answer == null ? Verdict.NONE : answer.verdict();
            if (verdict == Verdict.LOST) {
                throw new Damage(Code.NOT_CONNECTED, key, answer.lost());
            }
            if (verdict == Verdict.NONE) {
                throw new Unchecked(key + ": JGit cannot follow its refs: " + limit + "; git can, if it is on the PATH"
                        + (answer == null ? "" : ", but " + answer));
            }
            connectedIds.addAll(ids);
        }

        /** What git says of the last good restore point; null if it cannot be started. */
        Answer fsck() throws IOException, InterruptedException {
            var refs = new HashMap<>(lastGood.refs);
            deferred.values().forEach(ids -> ids.forEach(id -> refs.put("refs/deferred/" + id, id)));
            setRefs(refs);
            if (!lastGood.head.isEmpty()) {
                Files.writeString(directory.resolve("HEAD"),
                        (lastGood.isDetached() ? "" : "ref: ") + lastGood.head + "\n");
            }
            return git("fsck", "--strict", "--no-dangling", "--no-progress");
        }

        /**
         * Asks git, on which no configuration of this user and machine has an effect; null if it cannot be started.
         * Older versions know only some of the variables.
         */
        private Answer git(String... arguments) throws IOException, InterruptedException {
            return git(InputStream.nullInputStream(), arguments);
        }

        private Answer git(InputStream in, String... arguments) throws IOException, InterruptedException {
            if (withoutGit) {
                return null;
            }
            var command = gitProcess(gitCommand, directory, arguments).redirectErrorStream(true)
                    .directory(directory.toFile());
            Process process;
            synchronized (children) {
                failIfStopping();
                try {
                    process = command.start();
                } catch (IOException e) {
                    leaveGitOut(e);
                    return null;
                }
                children.add(process);
            }
            try (var out = process.getOutputStream()) {
                in.transferTo(out);
            } catch (IOException e) {
                failIfStopping(); // else git has ended, and says why
            }
            var output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            children.remove(process);
            var exitCode = process.waitFor();
            failIfStopping();
            return new Answer(exitCode, output.lines().filter(line -> !line.startsWith("notice:")).toList());
        }

        @Override
        public void close() throws IOException {
            git.close();
            FileUtils.delete(directory.toFile(), FileUtils.RECURSIVE | FileUtils.SKIP_MISSING | FileUtils.RETRY);
        }
    }

    synchronized void leaveGitOut(IOException reason) {
        if (!withoutGit) {
            tell("git cannot be started, so that JGit alone checks the objects: " + reason(reason));
        }
        withoutGit = true;
    }

    void failIfStopping() {
        if (stopping) {
            throw new Failure("interrupted");
        }
    }

    /** At the end and on Ctrl-C, when workers may still be writing. */
    void stop() {
        stopping = true;
        clearProgress();
        Path left;
        synchronized (children) {
            children.forEach(VerifyBackups::kill);
            left = temporary;
        }
        if (left != null && poll(removalPatience, () -> removed(left)).isEmpty()) {
            note(left + " is left behind: remove it");
        }
    }

    /** With what it has started: git bundle has git index-pack write, which creates directories that are gone. */
    static void kill(Process git) {
        var started = git.descendants().toList();
        git.destroyForcibly().onExit().join();
        started.forEach(process -> {
            process.destroyForcibly();
            process.onExit().join();
        });
    }

    /** It is gone when it does not come back while there are workers. */
    private Optional<Path> removed(Path directory) {
        var mayComeBack = Files.exists(directory) && !workers.isTerminated();
        try {
            FileUtils.delete(directory.toFile(), FileUtils.RECURSIVE | FileUtils.SKIP_MISSING);
            return mayComeBack ? Optional.empty() : Optional.of(directory);
        } catch (IOException e) {
            return Optional.empty(); // a worker has written into it in the meantime
        }
    }

    void findMissing() {
        if (live != null) {
            live.keySet().stream().filter(this::isWanted)
                    .forEach(name -> verified.putIfAbsent(name, VerifiedRepository.missing(name)));
        }
        for (var repository : verified.values()) {
            var isOfInterest = live == null || live.containsKey(repository.repositoryName);
            var hasNone = repository.restorePoints == 0 && repository.damaged == 0
                    && repository.status != Outcome.FAILED;
            if (isOfInterest && hasNone) {
                find(repository.repositoryName, Code.MISSING, null, "has no restore point");
            }
        }
        for (var glob : new TreeSet<>(repositoryNames)) {
            var matchesNone = verified.keySet().stream().noneMatch(name -> matchesAny(List.of(glob), name));
            if (matchesNone && !glob.equals("*")) {
                find(glob, Code.MISSING, null,
                        "no backup has such a name" + (live == null ? "" : ", and no repository either"));
            }
        }
    }

    /** CodeCommit is asked again: a new repository may have been backed up after it was asked first. */
    void findVanished() {
        var liveNow = gone.isEmpty() ? null : liveRepositories();
        if (liveNow == null) {
            return;
        }
        List<LifecycleRule> rules = List.of();
        String unknown = null;
        try {
            rules = expirationRules();
        } catch (SdkException e) {
            unknown = reason(e);
        }
        for (var name : gone.keySet()) {
            if (!liveNow.containsKey(name)) {
                findVanished(name, gone.get(name), liveNow, rules, unknown);
            }
        }
    }

    List<LifecycleRule> expirationRules() {
        if (expireAfterDays != null) {
            return List.of(LifecycleRule.builder().status(ExpirationStatus.ENABLED)
                    .expiration(e -> e.days(expireAfterDays)).build());
        }
        try {
            return s3.getBucketLifecycleConfiguration(r -> r.bucket(bucket)).rules();
        } catch (S3Exception e) {
            if (e.statusCode() == 404) {
                return List.of();
            }
            throw e;
        }
    }

    /** @param unknown why the rules are not known; null if they are */
    void findVanished(String name, Gone repository, Map<String, String> liveNow, List<LifecycleRule> rules,
            String unknown) {
        var renamed = liveNow.entrySet().stream()
                .filter(other -> other.getValue().equals(repository.newest.repositoryId))
                .map(other -> ", but is named " + other.getKey()).findFirst().orElse("");
        var day = rules.stream().map(rule -> expiry(rule, repository.full)).filter(Objects::nonNull)
                .min(Comparator.naturalOrder()).map(LocalDate::toString).orElse(null);
        var until = "stays: no rule expires it";
        if (day != null) {
            until = "goes on " + day + " with this object";
        } else if (unknown != null) {
            until = "goes when this object expires, and when is not known: " + unknown;
        }
        find(new Finding(name, Code.VANISHED, repository.full.key(), "is no longer in CodeCommit" + renamed
                + "; its newest restore point, of " + repository.newest.time + ", " + until
                + "; if that is right: --exclude " + name, day));
    }

    /** The day, in UTC, at whose beginning a rule takes an object; null if it does not. */
    static LocalDate expiry(LifecycleRule rule, S3Object object) {
        if (rule.status() != ExpirationStatus.ENABLED || rule.expiration() == null || !appliesTo(rule, object)) {
            return null;
        }
        var day = rule.expiration().date();
        if (rule.expiration().days() != null) { // at the midnight that follows
            day = object.lastModified().plus(Duration.ofDays(rule.expiration().days() + 1));
        }
        return day == null ? null : LocalDate.ofInstant(day, ZoneOffset.UTC);
    }

    @SuppressWarnings("deprecation") // old rules have their prefix outside a filter
    static boolean appliesTo(LifecycleRule rule, S3Object object) {
        var one = rule.filter() == null ? LifecycleRuleFilter.builder().prefix(rule.prefix()).build() : rule.filter();
        var all = one.and() != null ? one.and() : LifecycleRuleAndOperator.builder().prefix(one.prefix())
                .tags(Stream.ofNullable(one.tag()).toList()).objectSizeGreaterThan(one.objectSizeGreaterThan())
                .objectSizeLessThan(one.objectSizeLessThan()).build();
        var smallest = all.objectSizeGreaterThan() == null ? 0 : all.objectSizeGreaterThan() + 1;
        var largest = all.objectSizeLessThan() == null ? Long.MAX_VALUE : all.objectSizeLessThan() - 1;
        return all.tags().isEmpty() // backups have no tags
                && (all.prefix() == null || object.key().startsWith(all.prefix()))
                && object.size() >= smallest && object.size() <= largest;
    }

    /** @param repositoryName "" if it belongs to none */
    void find(String repositoryName, Code code, String key, String message) {
        find(new Finding(repositoryName.isEmpty() ? null : repositoryName, code, key, message, null));
    }

    /** Tells and keeps a finding, once for each repository, code and object. */
    void find(Finding finding) {
        var name = Objects.requireNonNullElse(finding.repositoryName, "");
        var known = findings.putIfAbsent(name + "\0" + finding.code + "\0" + finding.key, finding);
        if (known == null) {
            var file = finding.key == null ? "" : finding.key.substring(finding.key.lastIndexOf('/') + 1) + ": ";
            tell((name.isEmpty() ? "" : name + ": ") + finding.code + ": " + file + finding.message);
        }
    }

    boolean hasFindings(String repositoryName) {
        var first = findings.ceilingKey(repositoryName + "\0");
        return first != null && first.startsWith(repositoryName + "\0");
    }

    /** A line a repository; on a terminal only if there is something to say, and how far it is. */
    synchronized void report(VerifiedRepository repository) {
        verified.put(repository.repositoryName, repository);
        if (!terminal || repository.status != Outcome.VERIFIED) {
            tell(repository.repositoryName + ": " + repository.status + ", "
                    + counted(repository.restorePoints, "restore point") + ", " + counted(repository.objects, "object")
                    + ", " + counted(repository.bytes, "byte") + ", " + repository.seconds + " s");
        }
        if (terminal && !stopping) {
            var megabytes = downloaded.get() / 1e6;
            var repositories = live == null ? counted(verified.size(), "repository")
                    : verified.size() + "/" + counted(live.size(), "repository");
            spec.commandLine().getErr().printf(Locale.ROOT, "%s%s, %.1f MB, %.1f MB/s", CLEAR_LINE, repositories,
                    megabytes, megabytes / Math.max(1e-3, secondsSince(started)));
            spec.commandLine().getErr().flush();
        }
    }

    /** Prints the result; exit code 1 without one if no repository could be checked. */
    int report() {
        verified.replaceAll((name, repository) -> repository.status == Outcome.VERIFIED && hasFindings(name)
                ? repository.withFindings() : repository);
        var totals = new Totals(count(Outcome.VERIFIED), count(Outcome.FINDINGS), count(Outcome.UNCHECKED),
                count(Outcome.FAILED), sum(VerifiedRepository::restorePoints), sum(VerifiedRepository::objects),
                sum(VerifiedRepository::bytes), downloaded.get(), secondsSince(started));
        if (totals.failed > 0 && totals.failed == verified.size()) {
            return 1;
        }
        var status = findings.isEmpty() ? "verified" : "findings";
        var exitCode = findings.isEmpty() ? 0 : 4;
        if (totals.failed + totals.unchecked > 0 || errorBeside != null) {
            status = "incomplete";
            exitCode = 3;
        }
        var result = new Result(status, account, region(), bucket, prefix, deep, codecommit, errorBeside, totals,
                verified.values(), findings.values());
        return print(result, listed(), status + ": " + counted(verified.size(), "repository") + ", "
                + counted(findings.size(), "finding"), exitCode);
    }

    /** A row for each finding, and for each repository without one. */
    Listed listed() {
        var rows = new ArrayList<Row>();
        var byRepository = findings.values().stream().collect(Collectors.groupingBy(
                finding -> Objects.requireNonNullElse(finding.repositoryName, ""), TreeMap::new, Collectors.toList()));
        verified.keySet().forEach(name -> byRepository.putIfAbsent(name, List.of(NO_FINDING)));
        byRepository.forEach((name, own) -> own.forEach(finding -> rows.add(row(name, verified.get(name), finding))));
        return new Listed(
                List.of("repositoryName", "status", "newest", "restorePoints", "damaged", "bytes", "finding"),
                List.of("objects", "key", "message", "expires", "error"), rows);
    }

    /** @param repository null for what belongs to none */
    static Row row(String name, VerifiedRepository repository, Finding finding) {
        if (repository == null) {
            return Row.of(true, name, Outcome.FINDINGS, null, null, null, null, finding.code, null, finding.key,
                    finding.message, finding.expires, null);
        }
        return Row.of(repository.status != Outcome.VERIFIED, name, repository.status, repository.newest,
                repository.restorePoints, repository.damaged, repository.bytes, finding.code, repository.objects,
                finding.key, finding.message, finding.expires, repository.error);
    }

    long count(Outcome outcome) {
        return sum(repository -> repository.status == outcome ? 1 : 0);
    }

    long sum(ToLongFunction<VerifiedRepository> figure) {
        return verified.values().stream().mapToLong(figure).sum();
    }

    //region The same in every script: command line

    @Option(names = "--region", paramLabel = "REGION",
            description = "AWS Region. Default: AWS_REGION, else the profile's.")
    String region;

    @Option(names = "--profile", paramLabel = "NAME",
            description = "Profile of the AWS configuration files. Goes before credentials in the environment.")
    String profile;

    @Option(names = "--print", paramLabel = "POINTER",
            description = "Prints only the value at this JSON Pointer of the result, without quotes, e.g. /status.")
    JsonPointer print;

    @Option(names = {"-v", "--verbose"},
            description = "Prints every AWS call, and the stack trace of an error, to stderr.")
    boolean verbose;

    @Spec
    CommandSpec spec;

    CommandLine commandLine() {
        var commandLine = new CommandLine(this);
        spec.usageMessage().synopsisHeading("Usage: ./jbang ");
        return commandLine
                // JSON is UTF-8, whatever the terminal's encoding.
                .setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8))
                .setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8))
                .setUsageHelpAutoWidth(true)
                .setExpandAtFiles(false) // "@x" is a value, not a file of arguments
                .registerConverter(JsonPointer.class, text -> jsonPointer(text))
                .setParameterExceptionHandler((e, arguments) -> {
                    note(usageError(e, arguments));
                    return 2;
                })
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    fail(e);
                    return 1;
                });
    }

    /** Refuses what leads to nothing in the result: after the run it would be too late. */
    static JsonPointer jsonPointer(String text) {
        if (!text.startsWith("/")) {
            throw new TypeConversionException("'" + text + "' is not a JSON Pointer such as /status");
        }
        var pointer = JsonPointer.compile(text);
        var members = resultMembers();
        if (!members.contains(pointer.getMatchingProperty())) {
            throw new TypeConversionException("'" + text + "' is not in the result, which has /"
                    + String.join(", /", members));
        }
        return pointer;
    }

    /** The members of the printed documents, which are the records that begin with status and account. */
    static Set<String> resultMembers() {
        return Stream.of(MethodHandles.lookup().lookupClass().getDeclaredClasses()).filter(Class::isRecord)
                .map(type -> Stream.of(type.getRecordComponents()).map(RecordComponent::getName).toList())
                .filter(names -> names.size() > 1 && names.subList(0, 2).equals(List.of("status", "account")))
                .flatMap(List::stream).collect(Collectors.toCollection(LinkedHashSet::new));
    }

    String usageError(ParameterException e, String[] arguments) {
        var message = e.getMessage().replaceFirst("^Error: ", "").replaceAll("\\s+", " ");
        var help = " (help: ./jbang " + spec.name() + " --help)";
        if (e instanceof UnmatchedArgumentException unmatched) {
            return message + didYouMean(unmatched) + help;
        }
        if (!(e instanceof MissingParameterException)) {
            return message + help;
        }
        return unknownOption(arguments).map(name -> message + "; unknown option '" + name + "'"
                + didYouMean(new UnmatchedArgumentException(spec.commandLine(), List.of(name))) + help)
                .orElseGet(() -> message + help + "; for example: " + firstExample());
    }

    /** Of the help, in one line. */
    String firstExample() {
        return String.join("\n", spec.usageMessage().footer()).split("(?<!\\\\)\n")[0].replaceAll("\\s*\\\\\n\\s*", " ")
                .strip();
    }

    static String didYouMean(UnmatchedArgumentException e) {
        return e.getSuggestions().isEmpty() ? "" : "; did you mean " + e.getSuggestions().get(0) + "?";
    }

    /** Of a required option with a typing error, picocli says only that the option is missing. */
    Optional<String> unknownOption(String[] arguments) {
        return Stream.of(arguments).map(argument -> argument.split("=", 2)[0])
                .filter(name -> name.startsWith("--") && spec.findOption(name) == null
                        && !spec.negatedOptionsMap().containsKey(name))
                .findFirst();
    }

    /** The value, if it has the form; else exit code 2 and what is right. */
    String check(String option, String value, String form, String right) {
        if (value.matches(form)) {
            return value;
        }
        throw wrong(option + " '" + value + "': must be " + right);
    }

    ParameterException wrong(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    //endregion

    //region The same in every script: AWS clients

    private AwsCredentialsProvider credentials;
    /** Known once {@link #connect} has returned. */
    Caller caller;

    /** Whose credentials these are. */
    record Caller(String account, String partition, String arn) {}

    /**
     * Finds the credentials and asks STS whose they are, which needs no permission. Scripts call this after they have
     * checked their options and before they read or change anything, so that a missing sign-in is reported first.
     */
    void connect() {
        region();
        checkConfigurationFiles();
        if (profile != null) {
            System.setProperty("aws.profile", profile); // for the clients that the SDK makes itself to sign in
        }
        credentials = profile != null ? ProfileCredentialsProvider.create(profile)
                : DefaultCredentialsProvider.builder().build();
        useProxies(System.getenv());
        useCaBundle(System.getenv("AWS_CA_BUNDLE"));
        System.setProperty("software.amazon.awssdk.http.service.impl", HttpService.class.getName());
        try {
            credentials.resolveCredentials();
        } catch (SdkException e) {
            throw new Failure(whyNotSignedIn(e), e);
        }
        try (var sts = client(StsClient.builder())) {
            var identity = sts.getCallerIdentity();
            caller = new Caller(identity.account(), identity.arn().split(":")[1], identity.arn());
        }
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder) {
        return client(builder, AwsRetryStrategy.standardRetryStrategy());
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder, RetryStrategy retries) {
        return builder.region(Region.of(region())).credentialsProvider(credentials).overrideConfiguration(o -> {
            o.retryStrategy(retries);
            if (profile != null) {
                o.defaultProfileName(profile);
            }
            if (verbose) {
                o.addExecutionInterceptor(new CallLog());
            }
        }).build();
    }

    class CallLog implements ExecutionInterceptor {
        @Override
        public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes call) {
            note(call.getAttribute(SdkExecutionAttribute.SERVICE_NAME) + " "
                    + call.getAttribute(SdkExecutionAttribute.OPERATION_NAME) + ": HTTP "
                    + context.httpResponse().statusCode());
        }
    }

    /**
     * The HTTP client of all of the SDK's clients, those that it makes itself to assume a profile's role included. The
     * JDK opens the connections, by the proxies and certificates that Git uses, too.
     */
    public static class HttpService implements SdkHttpService, SdkHttpClient.Builder<HttpService> {
        @Override
        public HttpService createHttpClientBuilder() {
            return this;
        }

        @Override
        public SdkHttpClient buildWithDefaults(AttributeMap ofService) {
            var timeouts = ofService.merge(SdkHttpConfigurationOption.GLOBAL_HTTP_DEFAULTS);
            return UrlConnectionHttpClient.create(uri -> open(uri, timeouts));
        }

        private static HttpURLConnection open(URI uri, AttributeMap timeouts) {
            try {
                var connection = (HttpURLConnection) uri.toURL().openConnection();
                connection.setConnectTimeout(
                        (int) timeouts.get(SdkHttpConfigurationOption.CONNECTION_TIMEOUT).toMillis());
                connection.setReadTimeout((int) timeouts.get(SdkHttpConfigurationOption.READ_TIMEOUT).toMillis());
                return connection;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /**
     * Makes the JDK follow HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Of itself the SDK takes HTTP_PROXY even for https, and
     * no domains in NO_PROXY.
     */
    static void useProxies(Map<String, String> environment) {
        UnaryOperator<String> variable = name -> environment
                .getOrDefault(name, environment.getOrDefault(name.toUpperCase(Locale.ROOT), "")).strip();
        for (var scheme : List.of("http", "https")) {
            var proxy = variable.apply(scheme + "_proxy");
            if (!proxy.isEmpty()) {
                useProxy(scheme, proxy);
            }
        }
        var direct = Stream.of(variable.apply("no_proxy").split("[,\\s]+"))
                .map(host -> host.replaceFirst("^\\*?\\.", "")).filter(host -> !host.isEmpty())
                .map(host -> "|" + host + "|*." + host).collect(Collectors.joining());
        System.setProperty("http.nonProxyHosts", "localhost|127.*|[::1]" + direct);
    }

    static void useProxy(String scheme, String proxy) {
        var form = "(?:https?://)?(?:(?<user>[^:@/]*):(?<password>[^@/]*)@)?(?<host>[\\w.-]+|\\[[\\da-fA-F:]+])"
                + "(?::(?<port>\\d+))?/?";
        var parts = Pattern.compile(form).matcher(proxy);
        if (!parts.matches()) {
            throw new Failure(scheme.toUpperCase(Locale.ROOT) + "_PROXY must be of the form http://HOST:PORT");
        }
        System.setProperty(scheme + ".proxyHost", parts.group("host"));
        System.setProperty(scheme + ".proxyPort", Objects.requireNonNullElse(parts.group("port"), "80"));
        if (parts.group("user") == null) {
            return;
        }
        var signIn = new PasswordAuthentication(percentDecoded(parts.group("user")),
                percentDecoded(parts.group("password")).toCharArray());
        System.setProperty("jdk.http.auth.tunneling.disabledSchemes", ""); // the JDK's default has no Basic for https
        Authenticator.setDefault(new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return getRequestorType() == RequestorType.PROXY ? signIn : null;
            }
        });
    }

    static String percentDecoded(String text) {
        return URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
    }

    /** Makes the JDK trust the certificates of a PEM file in the place of its own, as the AWS CLI does. */
    static void useCaBundle(String file) {
        if (file == null || file.isEmpty()) {
            return;
        }
        try {
            // the parser reads byte by byte
            var pem = new ByteArrayInputStream(Files.readAllBytes(Path.of(file)));
            var trusted = KeyStore.getInstance(KeyStore.getDefaultType());
            trusted.load(null);
            for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                trusted.setCertificateEntry("certificate-" + trusted.size(), certificate);
            }
            var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            managers.init(trusted);
            var context = SSLContext.getInstance("TLS");
            context.init(null, managers.getTrustManagers(), null);
            HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        } catch (IOException | InvalidPathException | GeneralSecurityException e) {
            throw new Failure("AWS_CA_BUNDLE " + file + " must be a PEM file of certificates: " + reason(e), e);
        }
    }

    /** What the SDK cannot parse would show up as a missing Region or missing credentials. */
    static void checkConfigurationFiles() {
        ProfileFileLocation.configurationFileLocation()
                .ifPresent(file -> checkConfigurationFile(file, ProfileFile.Type.CONFIGURATION));
        ProfileFileLocation.credentialsFileLocation()
                .ifPresent(file -> checkConfigurationFile(file, ProfileFile.Type.CREDENTIALS));
    }

    static void checkConfigurationFile(Path file, ProfileFile.Type type) {
        try {
            ProfileFile.builder().content(file).type(type).build();
        } catch (IllegalArgumentException | IllegalStateException e) {
            throw new Failure(file + ": " + reason(e), e);
        }
    }

    /** The SDK's chain says only that all of its members failed: the profile's own reason is told, if one is meant. */
    String whyNotSignedIn(SdkException failure) {
        var profiles = ProfileFile.defaultProfileFile().profiles();
        var name = profile != null ? profile : ProfileFileSystemSetting.AWS_PROFILE.getStringValueOrThrow();
        var settings = profiles.get(name);
        if (name.equals("default") && (settings == null || signInHint(name, settings).isEmpty())) {
            return "no AWS credentials: use --profile, set AWS_PROFILE, or sign in; --verbose shows what was tried";
        }
        if (settings == null) {
            return "no profile " + name + " in the AWS configuration files; " + (profiles.isEmpty() ? "there is none"
                    : "there are: " + String.join(", ", new TreeSet<>(profiles.keySet())));
        }
        return "profile " + name + ": " + reason(profile != null ? failure : failureOf(name, failure))
                + signInHint(name, settings);
    }

    /** Why a profile gives no credentials; if it does by now, why the chain gave none. */
    static SdkException failureOf(String profile, SdkException failureOfChain) {
        try (var provider = ProfileCredentialsProvider.create(profile)) {
            provider.resolveCredentials();
            return failureOfChain;
        } catch (SdkException e) {
            return e;
        }
    }

    static String signInHint(String name, Profile profile) {
        if (profile.property("login_session").isPresent()) {
            return "; sign in with: aws login --profile " + name;
        }
        if (profile.property("sso_session").isPresent() || profile.property("sso_start_url").isPresent()) {
            return "; sign in with: aws sso login --profile " + name;
        }
        if (profile.property("mfa_serial").isPresent()) {
            return "; it asks for MFA, which only the AWS CLI can do: "
                    + "eval \"$(aws configure export-credentials --profile " + name + " --format env)\"";
        }
        return "";
    }

    String region() {
        if (region == null) {
            region = configuredRegion();
        }
        return checkRegion("--region", region);
    }

    String checkRegion(String option, String name) {
        return check(option, name, "[a-z]{2,4}(-[a-z]+)+-\\d{1,2}", "a Region such as eu-west-1");
    }

    private String configuredRegion() {
        checkConfigurationFiles();
        try {
            return DefaultAwsRegionProviderChain.builder().profileName(profile).build().getRegion().id();
        } catch (SdkClientException e) {
            throw new Failure("no Region: use --region or set AWS_REGION", e);
        }
    }

    //endregion

    //region The same in every script: output and errors

    /** What is not known yet, as in a dry run, is left out. */
    static final ObjectMapper JSON = new ObjectMapper().setDefaultPropertyInclusion(JsonInclude.Include.NON_NULL);
    /** What would move a terminal's cursor, change its colours, or hide or turn what follows. */
    static final Pattern CONTROL = Pattern.compile("[[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}]&&[^\t\r\n]]");

    /** Prints the result, or the part of it that --print asks for. */
    int print(Object result, int exitCode) {
        JsonNode document = JSON.valueToTree(result);
        var part = print == null ? document : document.at(print);
        if (part.isMissingNode()) {
            throw new Failure("the result has nothing at " + print + ": " + document);
        }
        var out = spec.commandLine().getOut();
        out.println(part.isValueNode() ? part.asText() : visible(part.toPrettyString()));
        if (out.checkError()) {
            throw new Failure("stdout cannot be written to; the result is: " + document);
        }
        return exitCode;
    }

    void note(String message) {
        spec.commandLine().getErr().println(spec.name() + ": " + visible(message.replaceAll("[\r\n]+", " ")));
    }

    /** With control characters as JSON writes them, so that others' names cannot control the terminal. */
    static String visible(String text) {
        return CONTROL.matcher(text).replaceAll(found -> Matcher.quoteReplacement(found.group().chars()
                .mapToObj(unit -> String.format("\\u%04x", unit)).collect(Collectors.joining())));
    }

    void fail(Exception e) {
        note(reason(e));
        trace(e);
    }

    /** With --verbose, where an error comes from. */
    void trace(Throwable e) {
        if (verbose) {
            var text = new StringWriter();
            e.printStackTrace(new PrintWriter(text));
            spec.commandLine().getErr().println(visible(text.toString().replace('\r', ' ').stripTrailing()));
        }
    }

    /** In one line: the error code and message of AWS, or what else went wrong. */
    static String reason(Throwable e) {
        if (e instanceof AwsServiceException answer && answer.awsErrorDetails() != null) {
            return reason(answer);
        }
        // A Failure says more than its cause does.
        for (var cause = e; cause != null && !(cause instanceof Failure); cause = cause.getCause()) {
            if (cause instanceof UnknownHostException) {
                return "unknown host " + cause.getMessage() + "; check --region, AWS_ENDPOINT_URL and the network";
            }
            if (cause instanceof CertPathBuilderException) {
                return "the certificate of the other side is not trusted: if a proxy inspects TLS, set AWS_CA_BUNDLE to"
                        + " a PEM file of its CA";
            }
        }
        var text = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        var line = text.lines().findFirst().orElse("");
        return e instanceof Failure ? line : shortened(line); // the commands in a Failure have to be complete
    }

    /** Others may say a whole page. */
    private static String shortened(String line) {
        return line.length() > 2000 ? line.substring(0, 2000) + " ..." : line;
    }

    private static String reason(AwsServiceException answer) {
        var details = answer.awsErrorDetails();
        var code = Objects.requireNonNullElse(details.errorCode(), "HTTP " + answer.statusCode());
        var message = details.errorMessage() == null ? ""
                : ": " + shortened(details.errorMessage().replaceAll("\\s+", " "));
        return code + message + " (request id " + answer.requestId() + ")"
                + (code.contains("Expired") ? "; sign in again" : "");
    }

    /** Whether the same call may succeed later: a lost connection, an error of the service, throttling. */
    static boolean isTemporary(Throwable e) {
        for (var cause = e; cause != null; cause = cause.getCause()) {
            if (cause instanceof AwsServiceException answer) {
                return answer.statusCode() >= 500 || answer.isThrottlingException() || isCutShort(answer);
            }
            if (cause instanceof SdkClientException || cause instanceof IOException) {
                return true;
            }
        }
        return false;
    }

    /** Whether the answer was cut: AWS names an error code in every refusal. */
    static boolean isCutShort(AwsServiceException answer) {
        return answer.awsErrorDetails() == null || answer.awsErrorDetails().errorCode() == null;
    }

    /** Repeats a look until it finds something or the time is over; the waits between grow from 250 ms to 5 s. */
    static <T> Optional<T> poll(Duration patience, Supplier<Optional<T>> look) {
        var end = Instant.now().plus(patience);
        var wait = Duration.ofMillis(250);
        var found = look.get();
        while (found.isEmpty() && Instant.now().isBefore(end)) {
            pause(wait);
            wait = Collections.min(List.of(wait.multipliedBy(2), Duration.ofSeconds(5)));
            found = look.get();
        }
        return found;
    }

    static void pause(Duration time) {
        try {
            Thread.sleep(time.toMillis());
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        }
    }

    /** A failure whose message says what went wrong and what to do. */
    static class Failure extends RuntimeException {
        Failure(String message, Throwable cause) {
            super(message, cause);
        }

        Failure(String message) {
            this(message, null);
        }
    }

    //endregion

    //region The same in every script: lists for people

    @Option(names = "--output", paramLabel = "FORMAT", defaultValue = "json",
            description = "How the result is printed: json, csv for spreadsheets, or table for people."
                    + " Default: ${DEFAULT-VALUE}.")
    String output;

    /** East Asian wide characters and emoji, which take two columns of a terminal. */
    static final Pattern WIDE = Pattern.compile("[\\x{1100}-\\x{115f}\\x{2e80}-\\x{a4cf}\\x{a960}-\\x{a97f}"
            + "\\x{ac00}-\\x{d7a3}\\x{f900}-\\x{faff}\\x{fe30}-\\x{fe6f}\\x{ff00}-\\x{ff60}\\x{ffe0}-\\x{ffe6}"
            + "\\x{1f300}-\\x{1f64f}\\x{1f680}-\\x{1f6ff}\\x{1f900}-\\x{1f9ff}\\x{20000}-\\x{3fffd}]");
    /**
     * Before what a spreadsheet takes for the beginning of a formula: at the start of a value, and where one would
     * start for a spreadsheet that splits values at semicolons, tabs or ends of lines.
     */
    static final Pattern FORMULA = Pattern.compile("^(?=[-=+@\t\r\n\uff1d\uff0b\uff0d\uff20])"
            + "|(?<=[;\t\r\n])(?=[-=+@\uff1d\uff0b\uff0d\uff20])");
    /** Between the columns of a table. */
    static final String GAP = "  ";
    /** No column of a table becomes narrower to fit into a terminal. */
    static final int NARROWEST = 4;

    /** The columns of the terminal that stdout is; 0 if it is none. */
    IntSupplier terminalWidth = () -> System.console() == null ? 0 : terminalWidth();
    /** Whether a terminal gets colours, as it does in the help. */
    boolean colours = Help.Ansi.AUTO.enabled();

    /**
     * A result for people.
     *
     * @param columns the names of the first cells of each row
     * @param details the names of the other cells, which only CSV has room for
     */
    record Listed(List<String> columns, List<String> details, List<Row> rows) {}

    /**
     * A line of a list.
     *
     * @param isFinding whether something is wrong with it
     */
    record Row(boolean isFinding, List<?> cells) {
        static Row of(boolean isFinding, Object... cells) {
            return new Row(isFinding, Arrays.asList(cells));
        }
    }

    void checkOutput() {
        check("--output", output, "json|table|csv", "json, table or csv");
        if (print != null && !output.equals("json")) {
            throw wrong("--print: use it without --output " + output + "; it prints a part of the JSON document");
        }
    }

    /**
     * Prints the result as --output says.
     *
     * @param summary what a reader of a list wants to know first, for stderr
     */
    int print(Object result, Listed listed, String summary, int exitCode) {
        if (output.equals("json")) {
            return print(result, exitCode);
        }
        var out = spec.commandLine().getOut();
        out.print(output.equals("csv") ? csv(listed) : table(listed, terminalWidth.getAsInt()));
        if (out.checkError()) {
            throw new Failure("stdout cannot be written to; the result is: " + JSON.valueToTree(result));
        }
        note(summary);
        return exitCode;
    }

    /** By RFC 4180. */
    static String csv(Listed listed) {
        var names = Stream.concat(listed.columns.stream(), listed.details.stream()).toList();
        return Stream.concat(Stream.of(names), listed.rows.stream().map(Row::cells))
                .map(cells -> cells.stream().map(cell -> csvValue(cell)).collect(Collectors.joining(",")) + "\r\n")
                .collect(Collectors.joining());
    }

    /** A text cannot become a formula; a number stays one. */
    static String csvValue(Object cell) {
        var text = visible(text(cell));
        var value = cell instanceof Number ? text : FORMULA.matcher(text).replaceAll("'");
        return value.matches("(?s).*[\",;\t\r\n].*") ? "\"" + value.replace("\"", "\"\"") + "\"" : value;
    }

    /** @param width of the terminal, into which the lines have to fit; 0 if there is none */
    String table(Listed listed, int width) {
        var count = listed.columns.size();
        var lines = new ArrayList<List<String>>();
        lines.add(listed.columns.stream().map(name -> printable(name)).toList());
        listed.rows.forEach(row -> lines.add(row.cells.stream().limit(count).map(cell -> printable(cell)).toList()));
        var widths = IntStream.range(0, count).map(column -> lines.stream()
                .mapToInt(cells -> displayWidth(cells.get(column))).max().orElse(0)).toArray();
        if (width > 0) {
            narrow(widths, width - GAP.length() * (count - 1));
        }
        var isNumeric = IntStream.range(0, count).mapToObj(column -> isNumeric(listed.rows, column)).toList();
        var table = new StringBuilder();
        for (var i = 0; i < lines.size(); i++) {
            var line = line(lines.get(i), widths, isNumeric);
            var fitting = width > 0 ? cut(line, width) : line;
            var colour = i == 0 ? "\033[1m" : listed.rows.get(i - 1).isFinding ? "\033[31m" : "";
            var isColoured = width > 0 && colours && !colour.isEmpty();
            table.append(isColoured ? colour + fitting + "\033[0m" : fitting).append('\n');
        }
        return table.toString();
    }

    /** Takes from the widest columns until all fit, or none can be narrower. */
    static void narrow(int[] widths, int available) {
        while (IntStream.of(widths).sum() > available) {
            var widest = IntStream.range(0, widths.length).boxed().max(Comparator.comparing(i -> widths[i])).orElse(0);
            if (widths[widest] <= NARROWEST) {
                return;
            }
            widths[widest]--;
        }
    }

    static boolean isNumeric(List<Row> rows, int column) {
        var cells = rows.stream().map(row -> row.cells.get(column)).filter(Objects::nonNull).toList();
        return !cells.isEmpty() && cells.stream().allMatch(cell -> cell instanceof Number);
    }

    static String line(List<String> cells, int[] widths, List<Boolean> isNumeric) {
        var line = new StringBuilder();
        for (var i = 0; i < widths.length; i++) {
            var cell = cut(cells.get(i), widths[i]);
            var space = " ".repeat(widths[i] - displayWidth(cell));
            line.append(i == 0 ? "" : GAP).append(isNumeric.get(i) ? space + cell : cell + space);
        }
        return line.toString().stripTrailing();
    }

    /** A text in so many columns, with an ellipsis in the place of what is left out. */
    static String cut(String text, int width) {
        if (displayWidth(text) <= width) {
            return text;
        }
        var end = 0;
        var columns = 1; // of the ellipsis
        while (columns + displayWidth(text, end) <= width) {
            columns += displayWidth(text, end);
            end = text.offsetByCodePoints(end, 1);
        }
        return text.substring(0, end) + "\u2026";
    }

    static int displayWidth(String text) {
        var width = 0;
        for (var i = 0; i < text.length(); i = text.offsetByCodePoints(i, 1)) {
            width += displayWidth(text, i);
        }
        return width;
    }

    /** Of the character there; accents take none. */
    private static int displayWidth(String text, int index) {
        var type = Character.getType(text.codePointAt(index));
        if (type == Character.NON_SPACING_MARK || type == Character.ENCLOSING_MARK) {
            return 0;
        }
        return WIDE.matcher(Character.toString(text.codePointAt(index))).matches() ? 2 : 1;
    }

    /** A cell of a table, in one line. */
    static String printable(Object cell) {
        var text = text(cell).replaceAll("[\t\r\n]+", " ");
        return text.isEmpty() ? "-" : visible(text);
    }

    /** The text of a cell: "" if there is none, and the parts of a list in one. */
    private static String text(Object cell) {
        if (cell instanceof Collection<?> parts) {
            return parts.stream().map(part -> text(part)).collect(Collectors.joining(", "));
        }
        return Objects.toString(cell, "");
    }

    /** What the terminal says; 80 if it does not. */
    private static int terminalWidth() {
        try {
            var stty = new ProcessBuilder("stty", "size").redirectInput(new File("/dev/tty"))
                    .redirectError(ProcessBuilder.Redirect.DISCARD).start();
            var size = new String(stty.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            return size.matches("\\d+ [1-9]\\d*") ? Integer.parseInt(size.split(" ")[1]) : 80;
        } catch (IOException e) {
            return 80; // there is no stty
        }
    }

    //endregion

    //region The same in every script: AWS CLI commands

    /** An AWS CLI command for the same Region and profile. */
    String aws(String command) {
        return "aws " + command + place();
    }

    /** The options by which a command, of the AWS CLI or of these scripts, goes to the same Region and profile. */
    String place() {
        return place(region());
    }

    String place(String otherRegion) {
        return " --region " + otherRegion + (profile == null ? "" : " --profile " + quote(profile));
    }

    /**
     * The same with the operation's input as JSON, for free text, of which the AWS CLI would take file:// and a leading
     * dash for its own syntax.
     */
    String aws(String operation, Map<String, ?> input) {
        return aws(operation + " --cli-input-json " + quote(JSON.valueToTree(new TreeMap<>(input)).toString()));
    }

    /** As one word of a shell command. */
    static String quote(String word) {
        return word.matches("[\\w@%+=:,./-]+") ? word : "'" + word.replace("'", "'\\''") + "'";
    }

    //endregion

    //region The same in every script: threads

    /** A thread that does not keep Java alive. */
    static Thread daemon(Runnable task) {
        var thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    }

    //endregion

    //region The same in every script: ids of accounts

    void checkAccount(String option, String account) {
        check(option, account, "\\d{12}", "an account id of 12 digits, such as 444455556666");
    }

    //endregion

    //region The same in every script: names of buckets

    /** Without *, which would be a wildcard in policies. */
    static final String PREFIX_FORM = "(?!(.*/)?\\.{1,2}(/|$))[\\w!.'()=-]+(/[\\w!.'()=-]+)*";

    void checkBucketName(String option, String name) {
        check(option, name, "(?!xn--|sthree-|.*\\.\\.|[\\d.]+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
                "a bucket's name, such as my-backups");
    }

    void checkPrefix(String prefix) {
        check("--prefix", prefix, PREFIX_FORM,
                "letters, digits and !_.'()=- between single slashes, such as projects/codecommit-backup");
    }

    //endregion

    //region The same in every script: globs of repositories

    @Option(names = "--exclude", paramLabel = "GLOB", arity = "1..*",
            description = "Repositories to leave out, by name or with * and ?.")
    List<String> exclude = List.of();

    void checkGlobs(String option, List<String> globs) {
        globs.forEach(glob -> check(option, glob, "[\\w.*?-]{1,100}",
                "a repository's name, which may have * and ? for any characters, such as 'team-*'"));
    }

    /** Whether a repository's name is one of the globs. */
    static boolean matchesAny(List<String> globs, String name) {
        return globs.stream()
                .anyMatch(glob -> name.matches(glob.replace(".", "\\.").replace("*", ".*").replace('?', '.')));
    }

    //endregion

    //region The same in every script: many repositories

    @Option(names = "--jobs", paramLabel = "N", defaultValue = "4",
            description = "Repositories at a time. Default: ${DEFAULT-VALUE}.")
    int jobs;

    /** Takes back the line that a terminal's cursor is in. */
    static final String CLEAR_LINE = "\r\033[K";

    /** Whether stderr is a terminal, where progress is shown. */
    boolean terminal = System.console() != null;

    /** A message, where on a terminal the progress stands. */
    synchronized void tell(String message) {
        clearProgress();
        note(message);
    }

    synchronized void clearProgress() {
        if (terminal) {
            spec.commandLine().getErr().print(CLEAR_LINE);
            spec.commandLine().getErr().flush();
        }
    }

    void checkSelection() {
        checkGlobs("--repository-names", repositoryNames);
        checkGlobs("--exclude", exclude);
        check("--jobs", String.valueOf(jobs), "[1-9]|[1-5]\\d|6[0-4]", "1 to 64, such as 4");
    }

    /** @param text a number and m, h or d for minutes, hours or days */
    static Duration duration(String text) {
        return Duration.parse((text.endsWith("d") ? "P" : "PT") + text);
    }

    /** Since a {@link System#nanoTime}, to a hundredth of a second. */
    static double secondsSince(long start) {
        return Math.round((System.nanoTime() - start) / 1e7) / 100.0;
    }

    //endregion

    //region The same in every script: backups

    @Option(names = "--bucket", required = true, paramLabel = "NAME",
            description = "The bucket for the backups, in any Region and account.")
    String bucket;

    @Option(names = "--prefix", paramLabel = "PREFIX", defaultValue = "projects/codecommit-backup",
            description = "What the objects' keys begin with. Default: ${DEFAULT-VALUE}.")
    String prefix;

    @Option(names = "--expected-bucket-owner", paramLabel = "ACCOUNT",
            description = "Account that the bucket must belong to.")
    String expectedBucketOwner;

    /** Of manifests, pull requests and run records; a document of another format is not used. */
    static final int FORMAT = 1;
    /** In keys: when the refs were read. */
    static final DateTimeFormatter KEY_TIME = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmssSSS'Z'")
            .withZone(ZoneOffset.UTC);
    /** How the key of a manifest ends. */
    static final String MANIFEST = ".manifest.json.gz";

    void checkBucket() {
        checkBucketName("--bucket", bucket);
        checkPrefix(prefix);
        if (expectedBucketOwner != null) {
            checkAccount("--expected-bucket-owner", expectedBucketOwner);
        }
    }

    /**
     * S3, in the bucket's Region. What is read is compared with checksums here and not by the SDK, so that a damaged
     * object is told from a bad line. The SDK of itself does not retry a listing that was cut off.
     */
    S3Client s3(ExecutionInterceptor... more) {
        var interceptors = Stream.concat(Stream.of(more), Stream.of(new S3Headers(), new S3Refusals())).toList();
        var retries = AwsRetryStrategy.standardRetryStrategy().toBuilder()
                .retryOnExceptionOrCauseInstanceOf(XMLStreamException.class).build();
        var builder = S3Client.builder().crossRegionAccessEnabled(true)
                .responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED)
                .addPlugin(configuration -> configuration.overrideConfiguration(configuration.overrideConfiguration()
                        .copy(o -> interceptors.forEach(o::addExecutionInterceptor))));
        return client(builder, retries);
    }

    /**
     * Says on every call whose bucket it must be. Leaves out the Expect header, which costs a round trip a part, and
     * makes the JDK's client drop the message of an error that answers it.
     */
    class S3Headers implements ExecutionInterceptor {
        @Override
        public SdkHttpRequest modifyHttpRequest(Context.ModifyHttpRequest context, ExecutionAttributes call) {
            return context.httpRequest().copy(request -> {
                request.removeHeader("Expect");
                if (expectedBucketOwner != null) {
                    request.putHeader("x-amz-expected-bucket-owner", expectedBucketOwner);
                }
            });
        }
    }

    /** S3 does not tell other accounts what a denied call needs, and nobody in an answer to HEAD. */
    class S3Refusals implements ExecutionInterceptor {
        @Override
        public Throwable modifyException(Context.FailedExecution context, ExecutionAttributes call) {
            var operation = call.getAttribute(SdkExecutionAttribute.OPERATION_NAME);
            var needs = permission(operation);
            if (needs == null || !(context.exception() instanceof S3Exception e) || e.statusCode() != 403) {
                return context.exception();
            }
            var details = e.awsErrorDetails();
            var isHead = operation.startsWith("Head");
            if (details == null || !isHead && !"AccessDenied".equals(details.errorCode())) {
                return e;
            }
            var message = (isHead ? "" : details.errorMessage() + "; ") + "this needs " + needs
                    + (expectedBucketOwner == null ? "" : ", and a bucket of account " + expectedBucketOwner);
            return e.toBuilder().awsErrorDetails(details.toBuilder()
                    .errorCode(isHead ? "Forbidden" : details.errorCode()).errorMessage(message).build()).build();
        }
    }

    /** What an operation needs that writes no object; null for others. */
    private static String permission(String operation) {
        return switch (operation) {
            case "AbortMultipartUpload" -> "s3:AbortMultipartUpload";
            case "GetBucketLifecycleConfiguration" -> "s3:GetLifecycleConfiguration";
            case "GetObject", "HeadObject" -> "s3:GetObject, and kms:Decrypt on the bucket's key";
            case "HeadBucket", "ListObjectsV2" -> "s3:ListBucket";
            case "ListMultipartUploads" -> "s3:ListBucketMultipartUploads";
            default -> null;
        };
    }

    /** A gzipped JSON document, read to its end, where gzip's own checksum is. */
    static JsonNode gunzipped(InputStream in) throws IOException {
        return JSON.readTree(new GZIPInputStream(in).readAllBytes());
    }

    /**
     * Lets JGit read no configuration of this user and machine, on which nothing here may depend. Without one it would
     * measure how exact the times of a file system are, which takes seconds and leaves files.
     */
    static void ignoreGitConfiguration() {
        if (!(SystemReader.getInstance() instanceof SystemReader.Delegate)) {
            SystemReader.setInstance(new NoGitConfiguration(SystemReader.getInstance()));
        }
    }

    static class NoGitConfiguration extends SystemReader.Delegate {
        NoGitConfiguration(SystemReader system) {
            super(system);
        }

        @Override
        public FileBasedConfig openSystemConfig(Config parent, FS fs) {
            return new EmptyConfig(parent);
        }

        @Override
        public FileBasedConfig openUserConfig(Config parent, FS fs) {
            return new EmptyConfig(parent);
        }

        @Override
        public FileBasedConfig openJGitConfig(Config parent, FS fs) {
            return new EmptyConfig(parent);
        }
    }

    static class EmptyConfig extends FileBasedConfig {
        EmptyConfig(Config parent) {
            super(parent, null, FS.DETECTED);
        }

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
    }

    /** Takes back what Ctrl-C would start; false if it has started. */
    static boolean removeHook(Thread hook) {
        try {
            return Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            return false;
        }
    }

    /** "1 ref", "2 refs", "3 repositories". */
    static String counted(long count, String noun) {
        var plural = noun.endsWith("y") ? noun.substring(0, noun.length() - 1) + "ies" : noun + "s";
        return count + " " + (count == 1 ? noun : plural);
    }

    static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    static MessageDigest digest(String algorithm) {
        try {
            return MessageDigest.getInstance(algorithm);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    //endregion

    //region The same in every script: reading of backups

    /** What S3 says of an object; null if it is not there. */
    HeadObjectResponse head(String key) {
        try {
            return s3.headObject(r -> r.bucket(bucket).key(key).checksumMode(ChecksumMode.ENABLED));
        } catch (NoSuchKeyException e) {
            return null;
        } catch (S3Exception e) {
            throw new Failure(key + ": " + reason(e), e);
        }
    }

    /** Why an object cannot be read, and what can be done, if it is in an archive; else null. */
    String archived(String key, HeadObjectResponse head) {
        var isTiered = head.archiveStatus() != null;
        var isStored = head.storageClass() == StorageClass.GLACIER || head.storageClass() == StorageClass.DEEP_ARCHIVE;
        var restore = Objects.requireNonNullElse(head.restore(), "");
        if (!isTiered && !isStored || restore.startsWith("ongoing-request=\"false\"")) {
            return null;
        }
        var archive = isTiered ? head.archiveStatusAsString() : head.storageClassAsString();
        if (restore.startsWith("ongoing-request=\"true\"")) {
            return "is archived (" + archive + "), and is being restored, which takes hours: run this again then";
        }
        // From an archive of its storage class comes a copy for some days; from one of a tier, the object itself.
        return "is archived (" + archive + "), and must be restored before it can be read: aws s3api restore-object"
                + " --bucket " + bucket + " --key '" + key.replace("'", "'\\''") + "' --restore-request '"
                + (isTiered ? "GlacierJobParameters={Tier=Standard}" : "Days=7") + "'"
                + (profile == null ? "" : " --profile '" + profile.replace("'", "'\\''") + "'");
    }

    /**
     * A git command for a repository, on which no configuration of this user and machine has an effect. Older versions
     * know only some of the variables.
     */
    static ProcessBuilder gitProcess(String git, Path repository, String... arguments) {
        var process = new ProcessBuilder(git, "--git-dir", repository.toString());
        process.command().addAll(List.of(arguments));
        var environment = process.environment();
        environment.keySet().removeIf(name -> name.startsWith("GIT_"));
        environment.putAll(Map.of("GIT_CONFIG_NOSYSTEM", "1", "GIT_CONFIG_SYSTEM", "/dev/null",
                "GIT_CONFIG_GLOBAL", "/dev/null", "HOME", repository.toString(), "XDG_CONFIG_HOME",
                repository.toString(), "GIT_NO_REPLACE_OBJECTS", "1", "LC_ALL", "C"));
        return process;
    }

    //endregion
}
