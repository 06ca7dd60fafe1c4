///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Backs up CodeCommit repositories to S3 as Git bundles, streamed without local disk.
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
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:-UsePerfData -Djdk.console=java.base -Dsun.net.http.retryPost=false
//RUNTIME_OPTIONS -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=10000
//RUNTIME_OPTIONS -XX:Tier4CompileThreshold=100000 -XX:Tier4BackEdgeThreshold=400000

import com.fasterxml.jackson.annotation.*;
import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.RecordComponent;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.time.*;
import java.time.format.DateTimeFormatter;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import java.util.zip.*;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.net.ssl.*;
import javax.xml.stream.XMLStreamException;
import org.eclipse.jgit.errors.*;
import org.eclipse.jgit.internal.storage.dfs.*;
import org.eclipse.jgit.lib.*;
import org.eclipse.jgit.lib.ObjectReader;
import org.eclipse.jgit.storage.file.FileBasedConfig;
import org.eclipse.jgit.transport.*;
import org.eclipse.jgit.transport.http.*;
import org.eclipse.jgit.util.FS;
import org.eclipse.jgit.util.SystemReader;
import picocli.CommandLine;
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.SdkPojo;
import software.amazon.awssdk.core.SdkRequest;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.core.util.*;
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.FileDoesNotExistException;
import software.amazon.awssdk.services.codecommit.model.InvalidRevisionIdException;
import software.amazon.awssdk.services.codecommit.model.RepositoryMetadata;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.ChecksumType;
import software.amazon.awssdk.services.s3.model.CompleteMultipartUploadRequest;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.CreateMultipartUploadRequest;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.model.ServerSideEncryption;
import software.amazon.awssdk.services.s3.model.UploadPartRequest;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Backs up CodeCommit repositories to S3. The pack that the Git server sends is streamed into an S3 upload, behind the
 * header of a bundle: no clone, no local disk, memory bounded by the part buffers. Plain git restores it:
 * {@code git clone --mirror}, then the manifest's refs.
 *
 * <p>Changes in AWS: adds objects to the bucket, each under a new key; none is ever overwritten or deleted. An upload
 * is completed only after the pack's checksum matched. Below {@code PREFIX/ACCOUNT/REGION/REPOSITORY/} are bundles,
 * pull requests and manifests (a manifest is a restore point: all refs, HEAD, settings, and the objects that hold the
 * rest), below {@code PREFIX/ACCOUNT/runs/REGION/} one record for each run. {@code PREFIX/ACCOUNT/README.md} says how
 * they are restored by hand.
 *
 * <p>A second run asks each repository for its refs, finds them equal to those of the last run record, and writes only
 * its own run record. A repository that has changed since gets an increment: a bundle of what the earlier ones lack.
 * From time to time a full bundle starts a new chain. Settings (tags, triggers, approval rule templates) and pull
 * requests cost calls of their own: they are read whenever a repository has changed, and otherwise once in each
 * {@code --settings-every}. A repository that fails does not stop the others; the next run tries it again.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codecommit:ListRepositories (on *), codecommit:BatchGetRepositories, codecommit:GitPull, and kms:Decrypt on the
 * keys of the repositories
 * <li>for the settings codecommit:ListTagsForResource, codecommit:GetRepositoryTriggers,
 * codecommit:ListAssociatedApprovalRuleTemplatesForRepository, codecommit:GetApprovalRuleTemplate (on *), and
 * codecommit:GetFile, which finds out whether Git LFS is in use
 * <li>for the pull requests codecommit:ListPullRequests, codecommit:GetPullRequest,
 * codecommit:DescribePullRequestEvents, codecommit:GetCommentsForPullRequest, codecommit:GetPullRequestApprovalStates,
 * codecommit:GetPullRequestOverrideState
 * <li>s3:ListBucket, s3:GetObject, s3:PutObject, s3:AbortMultipartUpload, s3:ListBucketMultipartUploads
 * <li>on the key that the objects are encrypted under, unless it is AWS's: kms:GenerateDataKey, kms:Decrypt
 * </ul>
 */
@Command(name = "backup-to-s3", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Backs up CodeCommit repositories to S3 as Git bundles, streamed without local disk.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: some repositories failed, the others are complete", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang backup-to-s3 --bucket my-backups --expected-bucket-owner 444455556666",
                "  ./jbang backup-to-s3 --bucket my-backups --repository-names 'team-*' \\",
                "      --dry-run"})
class BackupToS3 implements Callable<Integer> {
    @Option(names = "--repository-names", paramLabel = "GLOB", arity = "1..*",
            description = "Repositories to back up, by name or with * and ?. Default: all of the Region.")
    List<String> repositoryNames = List.of("*");

    @Option(names = "--shard", paramLabel = "I/N",
            description = "Only the I-th of N parts of the repositories, such as 1/4, so that N runs can share the"
                    + " work. Their names decide.")
    String shard;

    @Option(names = "--full-every", paramLabel = "TIME", defaultValue = "30d",
            description = "Longest time between full bundles, such as 30d or 12h. Each repository takes up to a third"
                    + " less, so that not all are due at once. Default: ${DEFAULT-VALUE}.")
    String fullEvery = "30d";

    @Option(names = "--settings-every", paramLabel = "TIME", defaultValue = "7d",
            description = "Longest time between readings of the settings and pull requests of an unchanged"
                    + " repository, such as 7d or 12h. Default: ${DEFAULT-VALUE}.")
    String settingsEvery = "7d";

    @Option(names = "--no-pull-requests", description = "Leaves the pull requests out.")
    boolean noPullRequests;

    @Option(names = "--deadline", paramLabel = "TIME",
            description = "Ends after this time, such as 50m: starts no repository in its last tenth (five minutes at"
                    + " most), and stops what is under way at its end. Repositories with the oldest backup come first."
                    + " Default: none.")
    String deadline;

    @Option(names = "--sse", paramLabel = "TYPE",
            description = "Encryption header of every object: AES256 or aws:kms, for a bucket whose policy asks for"
                    + " one. Default: none, as the bucket encrypts by itself.")
    String sse;

    @Option(names = "--sse-kms-key-id", paramLabel = "ARN",
            description = "Encrypts under this KMS key of the bucket's Region, with a bucket key. Default: as the"
                    + " bucket says; with --sse aws:kms the AWS managed key.")
    String sseKmsKeyId;

    @Option(names = "--dry-run", description = "Only reads, and prints what would change.")
    boolean dryRun;

    /**
     * The printed document.
     *
     * @param run key of the run record; null in a dry run
     * @param totals how many repositories have each status, and the bytes and seconds of all
     * @param vanished what an earlier run saw and is no longer there; null if that is nothing
     */
    record Result(String status, String account, String region, String bucket, String prefix, @JsonInclude String run,
            Map<String, Number> totals, List<RepositoryResult> repositories, List<Vanished> vanished) {}

    /**
     * @param status created (would-create in a dry run), unchanged, failed or not-attempted
     * @param kind full or incr for a new bundle, refs or settings if only those are new; null if nothing is
     * @param bytes of the objects in keys
     * @param gitLfs the files that are kept in Git LFS, by their patterns, if that was looked up
     * @param error why it failed, or what could not be saved
     */
    record RepositoryResult(String repositoryName, String status, @JsonInclude String kind, int refs, long bytes,
            double seconds, List<String> keys, List<String> gitLfs, String error) {}

    /** @param manifest its newest restore point */
    record Vanished(String repositoryName, @JsonInclude String repositoryId, @JsonInclude String renamedTo,
            @JsonInclude String manifest) {}

    /** What the printed document and the run record say of a repository. */
    record Outcome(RepositoryResult result, RecordedState state) {}

    static final String TOOL = BackupToS3.class.getAnnotation(Command.class).version()[0];
    /** The most run records that are read to find the last state of every repository. */
    static final int MOST_RUN_RECORDS = 50;
    /** After so many that cannot be used, the repositories' folders are listed instead. */
    static final int MOST_UNUSABLE_RECORDS = 3;
    /** The most increments of a chain; the next bundle is a full one. */
    static final int MOST_INCREMENTS = 30;
    /** The most ids that a server is told of, 32 in each request, until it knows enough of them. */
    static final int MOST_HAVES = 256;
    /** The most prerequisites of a bundle, so that a small increment stays small. Git checks all objects anyway. */
    static final int MOST_PREREQUISITES = 32;
    /** How many tries a repository gets: more if the Git server is asked too often. */
    static final int TRIES = 2;
    static final int TRIES_IF_THROTTLED = 6;
    static final String LATE = "not done by the --deadline";
    /** The text beside the backups, for whoever has nothing but the bucket. Another format has another name. */
    static final String GUIDE_NAME = "README.md";
    static final Duration GUIDE_EVERY = Duration.ofDays(7);
    /** How long, in seconds, a Git server may be silent. */
    int gitTimeout = 30;
    /** S3's limit. */
    int mostParts = 10_000;
    /** In bytes: 78 GiB in 10,000 parts with a heap of up to 2 GiB; larger parts with a larger heap. */
    int partSize = (int) Math.min(1 << 30, Math.max(8 << 20, Runtime.getRuntime().maxMemory() / 256));
    /** The first wait between tries; it doubles. */
    Duration backOff = Duration.ofSeconds(1);
    /** How long what is under way at the deadline may take to stop. */
    Duration grace = Duration.ofSeconds(10);
    /** Git sign-ins use the system's. */
    Clock clock = Clock.systemUTC();

    CodeCommitClient codecommit;
    S3Client s3;
    Buffers buffers;
    final ExecutorService uploads = Executors.newCachedThreadPool(BackupToS3::daemon);
    /** Ids of the multipart uploads under way, by key. */
    final Map<String, String> openUploads = new ConcurrentHashMap<>();
    /** How often CreateMultipartUpload was sent for a key. */
    final Map<String, Integer> uploadsSent = new ConcurrentHashMap<>();
    /** When the run began: the same for all that it saves, so that the next run takes those in the order of names. */
    Instant begin;
    final long started = System.nanoTime();
    Selection selection;
    /** Ids of the Region's repositories by name. */
    Map<String, String> repositoryIds = Map.of();
    /** The repositories to back up, those with the oldest backup first. */
    List<String> names = List.of();
    /** By name; also what was asked for and does not exist. */
    final Map<String, Outcome> outcomes = new ConcurrentSkipListMap<>();
    final RunRecords runRecords = new RunRecords();
    final Set<String> startedRepositories = ConcurrentHashMap.newKeySet();
    /** Approval rule templates by name: they belong to the account, and many repositories have the same. */
    final Map<String, JsonNode> templates = new ConcurrentHashMap<>();
    /** Bytes from Git servers. */
    final AtomicLong received = new AtomicLong();
    /** Whether the run is interrupted. */
    volatile boolean stopping;
    /** Whether the deadline is over. */
    volatile boolean late;

    public static void main(String[] args) {
        System.exit(new BackupToS3().commandLine().execute(args));
    }

    @Override
    public Integer call() throws Exception {
        checkOptions();
        connect();
        ignoreGitConfiguration();
        codecommit = client(CodeCommitClient.builder());
        s3 = s3(new Writes());
        buffers = new Buffers(partSize, bufferCount());
        begin = clock.instant();
        selection = new Selection(repositoryNames, exclude, shard);
        repositoryIds = named("list of repositories", this::listRepositories);
        reportUnknownNames();
        names = repositoryIds.keySet().stream().filter(selection::has).toList();
        var lastStates = named("s3://" + bucket + "/" + runRecords.folder(), runRecords::lastStates);
        names = names.stream().sorted(Comparator.comparing(
                name -> lastStates.getOrDefault(name, RecordedState.NONE).lastSuccess(),
                Comparator.nullsFirst(Comparator.naturalOrder()))).toList();
        backUpAll(lastStates);
        writeGuide();
        return printResult(dryRun ? null : named("run record", runRecords::write));
    }

    void checkOptions() {
        checkBucket();
        checkSelection();
        if (shard != null) {
            var right = "which part of how many, such as 1/4";
            var parts = check("--shard", shard, Selection.SHARD, right).split("/");
            if (Integer.parseInt(parts[0]) > Integer.parseInt(parts[1])) {
                throw wrong("--shard '" + shard + "': must be " + right);
            }
        }
        check("--full-every", fullEvery, "[1-9]\\d{0,4}[hd]", "a number and h or d for hours or days, such as 30d");
        check("--settings-every", settingsEvery, "[1-9]\\d{0,4}[hd]",
                "a number and h or d for hours or days, such as 7d");
        if (deadline != null) {
            check("--deadline", deadline, "[1-9]\\d{0,4}[mh]",
                    "a number and m or h for minutes or hours, such as 50m");
        }
        if (sse != null) {
            check("--sse", sse, "AES256|aws:kms", "AES256 or aws:kms");
        }
        if (sseKmsKeyId != null) {
            if ("AES256".equals(sse)) {
                throw wrong("--sse 'AES256': must be aws:kms with --sse-kms-key-id");
            }
            check("--sse-kms-key-id", sseKmsKeyId, "arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:key/[a-z0-9-]+",
                    "the ARN of a key, such as"
                            + " arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab");
        }
        checkGitEndpoint();
    }

    /** As many as the jobs keep busy, in at most two fifths of the heap. */
    int bufferCount() {
        return (int) Math.max(2, Math.min(4L * jobs, Runtime.getRuntime().maxMemory() * 2 / 5 / partSize));
    }

    /** Which repositories a run is for. */
    record Selection(List<String> repositoryNames, List<String> exclude, @JsonInclude String shard) {
        static final String SHARD = "[1-9]\\d{0,2}/[1-9]\\d{0,2}";

        /** Refuses what no run can have had. */
        Selection {
            var globs = Stream.of(repositoryNames, exclude).flatMap(List::stream);
            if (!globs.allMatch(glob -> glob.matches("[\\w.*?-]+")) || shard != null && !shard.matches(SHARD)) {
                throw new IllegalArgumentException("no selection of repositories");
            }
        }

        boolean has(String name) {
            if (!matchesAny(repositoryNames, name) || matchesAny(exclude, name)) {
                return false;
            }
            if (shard == null) {
                return true;
            }
            var parts = shard.split("/");
            return Math.floorMod(name.hashCode(), Integer.parseInt(parts[1])) == Integer.parseInt(parts[0]) - 1;
        }
    }

    /** A failure of a step gets the name of what it was about. */
    static <T> T named(String what, Supplier<T> step) {
        try {
            return step.get();
        } catch (SdkException | Failure e) {
            throw new Failure(what + ": " + reason(e), e);
        }
    }

    Map<String, String> listRepositories() {
        var ids = new TreeMap<String, String>();
        codecommit.listRepositoriesPaginator(r -> {}).repositories()
                .forEach(repository -> ids.put(repository.repositoryName(), repository.repositoryId()));
        return ids;
    }

    /** What was asked for and matches no repository is a failure like that of a repository. */
    void reportUnknownNames() {
        var unknown = new Failure("no repository of account " + caller.account() + " in " + region()
                + " has such a name");
        new TreeSet<>(repositoryNames).stream().filter(glob -> !glob.equals("*"))
                .filter(glob -> repositoryIds.keySet().stream().noneMatch(name -> matchesAny(List.of(glob), name)))
                .forEach(glob -> report(failed(glob, RecordedState.NONE, System.nanoTime(), unknown)));
    }

    /**
     * What run records tell of a repository: its newest restore point, and when it was last backed up. What is not
     * known is null.
     *
     * @param refs a digest of what every run learns without calls of their own
     * @param settingsRead when all settings and pull requests were read
     * @param full when the chain was started
     * @param lastSuccess the start of the last run that saved the repository or found it unchanged
     */
    record RecordedState(String id, String refs, String settingsRead, String full, String manifest, String outcome,
            String lastSuccess) {
        static final RecordedState NONE = new RecordedState(null, null, null, null, null, null, null);

        /** Refuses times that are none, and a manifest without a key. */
        RecordedState {
            Stream.of(settingsRead, full, lastSuccess).filter(Objects::nonNull).forEach(Instant::parse);
            if ("".equals(manifest)) {
                throw new IllegalArgumentException("a manifest without a key");
            }
        }

        RecordedState with(String newOutcome, String success) {
            return new RecordedState(id, refs, settingsRead, full, manifest, newOutcome, success);
        }
    }

    /**
     * What a run saw of each of its repositories, so that the next run need not ask S3 for each.
     *
     * @param guide when the guide was last known to be there; null if it was not
     */
    record RunRecord(int format, String tool, String time, String account, String region, Selection selection,
            Map<String, RecordedState> repositories, String guide) {
        /** Refuses a document of another shape. */
        RunRecord {
            if (guide != null) {
                Instant.parse(guide);
            }
            repositories.values().forEach(Objects::requireNonNull);
        }
    }

    class RunRecords {
        /** What an earlier run saw and is no longer there. */
        final List<Vanished> vanished = new ArrayList<>();
        /** When the guide was last known to be there. */
        String guide;

        String folder() {
            return prefix + "/" + caller.account() + "/runs/" + region() + "/";
        }

        /** The last state of each repository that has a restore point. */
        Map<String, RecordedState> lastStates() {
            var states = new HashMap<String, RecordedState>();
            var missing = new HashSet<>(names);
            var newerSelections = new ArrayList<Selection>();
            var unusable = 0;
            for (var key : newestKeys()) {
                if (missing.isEmpty() && !newerSelections.isEmpty() || unusable == MOST_UNUSABLE_RECORDS) {
                    break;
                }
                var record = read(key, RunRecord.class).orElse(null);
                if (record == null) {
                    unusable++;
                    continue;
                }
                guide = guide == null ? record.guide() : guide;
                record.repositories().forEach((name, state) -> {
                    if (state.manifest() != null && missing.remove(name)) {
                        states.put(name, state);
                    }
                    // What was gone already when a newer run looked for it was told then.
                    var isGone = selection.has(name) && !repositoryIds.containsKey(name);
                    if (isGone && newerSelections.stream().noneMatch(newer -> newer.has(name))) {
                        tellVanished(name, state);
                    }
                });
                if (record.selection() != null) {
                    newerSelections.add(record.selection());
                }
            }
            return states;
        }

        /** The newest first. The listing begins with the last weeks, which mostly are enough. */
        List<String> newestKeys() {
            var keys = keysAfter(KEY_TIME.format(clock.instant().minus(Duration.ofDays(40))));
            return (keys.isEmpty() ? keysAfter("") : keys).stream().sorted(Comparator.reverseOrder())
                    .limit(MOST_RUN_RECORDS).toList();
        }

        List<String> keysAfter(String time) {
            return s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(folder()).startAfter(folder() + time))
                    .contents().stream().map(S3Object::key).toList();
        }

        /** Names a repository of an earlier run that was deleted or renamed since. */
        void tellVanished(String name, RecordedState state) {
            var newName = repositoryIds.entrySet().stream().filter(other -> other.getValue().equals(state.id()))
                    .map(Map.Entry::getKey).findFirst();
            var what = newName.map(other -> "was renamed to " + other + ", and is backed up anew under that name")
                    .orElse("is no longer in CodeCommit");
            note(name + ": " + what + "; newest restore point: "
                    + Objects.requireNonNullElse(state.manifest(), "none"));
            vanished.add(new Vanished(name, state.id(), newName.orElse(null), state.manifest()));
        }

        /** Gives the key of this run's record. */
        String write() {
            var time = clock.instant();
            var states = new LinkedHashMap<String, RecordedState>();
            for (var name : names) {
                if (outcomes.containsKey(name)) {
                    states.put(name, outcomes.get(name).state());
                }
            }
            return putDocument(folder() + newName(time) + ".json.gz", new RunRecord(FORMAT, TOOL, time.toString(),
                    caller.account(), region(), selection, states, guide)).key();
        }
    }

    /** A name for new objects, in the order of time. */
    static String newName(Instant time) {
        return KEY_TIME.format(time) + "-" + HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextInt());
    }

    /**
     * Puts the guide beside the backups if it is not there, which is asked once a week, as objects may expire. The
     * backups are whole without it.
     */
    void writeGuide() {
        var last = runRecords.guide;
        if (dryRun || late || last != null && Instant.parse(last).isAfter(clock.instant().minus(GUIDE_EVERY))) {
            return;
        }
        var key = prefix + "/" + caller.account() + "/" + GUIDE_NAME;
        var bytes = GUIDE.getBytes(StandardCharsets.UTF_8);
        try {
            putNew(key, bytes, bytes.length, crc32(bytes, bytes.length));
            runRecords.guide = clock.instant().toString();
        } catch (SdkException e) {
            var isThere = e instanceof S3Exception answer && answer.statusCode() == 412;
            runRecords.guide = isThere ? clock.instant().toString() : null;
            if (!isThere) {
                tell("s3://" + bucket + "/" + key + " could not be written, and is tried again by the next run: "
                        + reason(e));
            }
        }
    }

    void backUpAll(Map<String, RecordedState> lastStates) throws Exception {
        var hook = new Thread(this::stop);
        Runtime.getRuntime().addShutdownHook(hook);
        var workers = Executors.newFixedThreadPool(jobs, BackupToS3::daemon);
        var watch = Executors.newSingleThreadScheduledExecutor(BackupToS3::daemon);
        if (terminal) {
            watch.scheduleAtFixedRate(this::showProgress, 0, 200, TimeUnit.MILLISECONDS);
        }
        try {
            var tasks = submitAll(workers, lastStates);
            workers.shutdown();
            while (!late && !workers.awaitTermination(200, TimeUnit.MILLISECONDS)) {
                if (isPast(Duration.ZERO)) {
                    stopAtDeadline(workers, lastStates);
                }
            }
            for (var task : tasks) {
                if (task.isDone()) {
                    task.get();
                }
            }
        } finally {
            workers.shutdownNow();
            watch.shutdownNow();
            clearProgress();
            if (!removeHook(hook)) {
                hook.join(); // it ends the run, and records it
            }
        }
        if (stopping) {
            throw new Failure("interrupted");
        }
    }

    List<Future<?>> submitAll(ExecutorService workers, Map<String, RecordedState> lastStates) {
        var tasks = new ArrayList<Future<?>>();
        for (var some : batches(names, REPOSITORIES_PER_CALL)) {
            var batch = new Batch(some);
            for (var name : batch.names) {
                var lastState = lastStates.getOrDefault(name, RecordedState.NONE);
                tasks.add(workers.submit(() -> backUp(name, batch, lastState)));
            }
        }
        return tasks;
    }

    /** What CodeCommit knows of some repositories, asked for when the first of them is started. */
    class Batch {
        final List<String> names;
        Map<String, RepositoryMetadata> found;
        final Map<String, String> errors = new HashMap<>();

        Batch(List<String> names) {
            this.names = names;
        }

        synchronized RepositoryMetadata get(String name) {
            if (found == null) {
                var answer = codecommit.batchGetRepositories(r -> r.repositoryNames(names));
                answer.errors()
                        .forEach(e -> errors.put(e.repositoryName(), e.errorCodeAsString() + ": " + e.errorMessage()));
                found = answer.repositories().stream()
                        .collect(Collectors.toMap(RepositoryMetadata::repositoryName, metadata -> metadata));
            }
            if (!found.containsKey(name)) {
                throw new Failure(
                        errors.getOrDefault(name, "deleted or renamed since the repositories were listed"));
            }
            return found.get(name);
        }
    }

    void backUp(String name, Batch batch, RecordedState lastState) {
        var start = System.nanoTime();
        // What is started in the last tenth of the time might not be done by its end.
        if (deadline != null
                && isPast(Collections.min(List.of(duration(deadline).dividedBy(10), Duration.ofMinutes(5))))) {
            report(notAttempted(name, lastState));
            return;
        }
        startedRepositories.add(name);
        var attempt = 1;
        while (!stopping) {
            try {
                var known = lastState.manifest() != null ? lastState : newestState(name);
                report(new RepositoryBackup(batch.get(name), known, start).save());
                return;
            } catch (Throwable e) { // an Error too: one repository does not stop the others
                var cause = late ? new Failure(LATE, e) : cause(e);
                if (!isWorthATry(cause, attempt)) {
                    if (!stopping) {
                        report(failed(name, lastState, start, cause));
                    }
                    return;
                }
                if (cause instanceof GitRefusal refusal && refusal.isThrottling()) {
                    pause(Duration.ofMillis(ThreadLocalRandom.current().nextLong(backOff.toMillis() << attempt)));
                }
                attempt++;
            }
        }
    }

    /** The failure of S3 or of a check, if that is what ended a fetch. */
    static Throwable cause(Throwable e) {
        for (var cause = e; cause != null; cause = cause.getCause()) {
            if (cause instanceof SdkException || cause instanceof Failure) {
                return cause;
            }
        }
        return e;
    }

    /** A branch may have moved between the advertisement and the fetch, or the connection was cut. */
    static boolean isWorthATry(Throwable cause, int attempt) {
        if (cause instanceof GitRefusal refusal) {
            return attempt < (refusal.isThrottling() ? TRIES_IF_THROTTLED : TRIES);
        }
        return cause instanceof TransportException && !(cause instanceof NoRemoteRepositoryException)
                && attempt < TRIES;
    }

    /** Whether it is no more than this long until the deadline. */
    boolean isPast(Duration before) {
        return deadline != null && !clock.instant().isBefore(begin.plus(duration(deadline)).minus(before));
    }

    /** Stops what is under way; what does not react to that is left behind. */
    void stopAtDeadline(ExecutorService workers, Map<String, RecordedState> lastStates) throws InterruptedException {
        late = true;
        workers.awaitTermination(grace.toMillis(), TimeUnit.MILLISECONDS);
        for (var name : names) {
            var lastState = lastStates.getOrDefault(name, RecordedState.NONE);
            report(startedRepositories.contains(name)
                    ? failed(name, lastState, System.nanoTime(), new Failure(LATE))
                    : notAttempted(name, lastState));
        }
        abortAll();
    }

    /** On Ctrl-C: no upload stays unfinished, and what is done is recorded. */
    void stop() {
        stopping = true;
        tell("interrupted: " + outcomes.size() + " of " + counted(names.size(), "repository") + " done");
        abortAll();
        try {
            if (!dryRun && !outcomes.isEmpty()) {
                named("run record", runRecords::write);
            }
        } catch (RuntimeException e) {
            fail(e);
        }
    }

    boolean isOver() {
        return stopping || late;
    }

    void checkTime() {
        if (isOver()) {
            throw new Failure("interrupted");
        }
    }

    /** Where a repository's objects are. */
    String folder(String name) {
        return prefix + "/" + caller.account() + "/" + region() + "/" + name + "/";
    }

    /** The last state of a repository of which no run record tells, by what is in its folder. */
    RecordedState newestState(String name) {
        var folder = folder(name);
        var newest = s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(folder)).contents().stream()
                .map(S3Object::key).filter(key -> key.endsWith(MANIFEST)).reduce((older, newer) -> newer);
        var manifest = newest.flatMap(key -> read(key, Manifest.class)).orElse(null);
        if (manifest == null) {
            return RecordedState.NONE;
        }
        var first = manifest.chain().isEmpty() ? newest.get() : manifest.chain().get(0).key();
        return new RecordedState(manifest.repository().repositoryId(), refsDigest(manifest), null, timeOf(first),
                newest.get(), null, null);
    }

    /** When an object was written, by its key; null if the key does not tell. */
    static String timeOf(String key) {
        try {
            return KEY_TIME.parse(key.substring(key.lastIndexOf('/') + 1).split("-")[0], Instant::from).toString();
        } catch (DateTimeException e) {
            return null;
        }
    }

    record RepositoryId(String repositoryId, String repositoryName, String arn) {}

    /** By CodeCommit's own names; null is what could not be read yet. */
    record Settings(String repositoryDescription, @JsonInclude String defaultBranch, @JsonInclude String kmsKeyId,
            JsonNode tags, JsonNode triggers, JsonNode approvalRuleTemplates) {}

    /**
     * An object that a restore point needs. Kind (full, incr), pack (its SHA-1) and objects (how many) are a bundle's.
     */
    record StoredObject(String key, String kind, long size, String sha256, String crc32, String pack, Long objects) {}

    /**
     * A restore point.
     *
     * @param head a ref's name; of a detached HEAD the commit's id
     * @param refs ids by name
     * @param peeled ids of what annotated tags lead to, by name
     * @param rawNames bytes of ref names that are not UTF-8, in hexadecimal, by the names that stand for them here
     * @param chain bundles: a full one and its increments
     * @param gitLfs patterns of the files that are not in Git
     */
    record Manifest(int format, String tool, String time, RepositoryId repository, String objectFormat,
            @JsonInclude String head, SortedMap<String, String> refs, SortedMap<String, String> peeled,
            @JsonInclude(JsonInclude.Include.NON_EMPTY) SortedMap<String, String> rawNames, Settings settings,
            List<StoredObject> chain, @JsonInclude(JsonInclude.Include.NON_EMPTY) List<String> gitLfs,
            @JsonInclude(JsonInclude.Include.NON_EMPTY) List<StoredObject> pullRequests) {
        static final Manifest NONE = new Manifest(FORMAT, TOOL, null, new RepositoryId(null, null, null), "sha1", null,
                new TreeMap<>(), new TreeMap<>(), null, new Settings(null, null, null, null, null, null), List.of(),
                List.of(), List.of());

        /** Refuses a document of another shape. */
        Manifest {
            rawNames = Objects.requireNonNullElse(rawNames, new TreeMap<>());
            gitLfs = Objects.requireNonNullElse(gitLfs, List.of());
            pullRequests = Objects.requireNonNullElse(pullRequests, List.of());
            Objects.requireNonNull(repository);
            Objects.requireNonNull(settings);
            refs.values().forEach(ObjectId::fromString);
            if (Stream.concat(chain.stream(), pullRequests.stream()).anyMatch(object -> object.key().isEmpty())) {
                throw new IllegalArgumentException("an object without a key");
            }
        }

        Manifest with(Settings newSettings, List<StoredObject> newChain, List<String> newGitLfs,
                List<StoredObject> newPullRequests) {
            return new Manifest(format, tool, time, repository, objectFormat, head, refs, peeled, rawNames, newSettings,
                    newChain, newGitLfs, newPullRequests);
        }

        /** All that restoring needs besides the manifest. */
        Stream<StoredObject> objects() {
            return Stream.concat(chain.stream(), pullRequests.stream());
        }

        /** Whether both would restore the same. */
        boolean isSameAs(Manifest other) {
            return Objects.equals(head, other.head) && refs.equals(other.refs) && rawNames.equals(other.rawNames)
                    && chain.equals(other.chain) && settings.equals(other.settings) && gitLfs.equals(other.gitLfs)
                    && pullRequests.equals(other.pullRequests);
        }
    }

    /**
     * Of what every run learns of a repository without calls of their own: its refs, and of its settings those that
     * come with its clone URL.
     */
    static String refsDigest(Manifest manifest) {
        var digest = digest("SHA-256");
        Consumer<String> line = text -> digest.update((text + "\n").getBytes(StandardCharsets.UTF_8));
        line.accept("HEAD " + manifest.head());
        manifest.refs().forEach((name, id) -> line.accept(id + " " + name));
        manifest.rawNames().forEach((name, bytes) -> line.accept(bytes + " " + name));
        line.accept("key " + manifest.settings().kmsKeyId());
        line.accept("description " + manifest.settings().repositoryDescription());
        return hex(digest.digest());
    }

    class RepositoryBackup {
        final RepositoryMetadata repository;
        final RecordedState lastState;
        final long start;
        Instant time;
        /** What the keys of its objects begin with. */
        String stem;
        /** The restore point before; none if it cannot be used. */
        Manifest previous = Manifest.NONE;
        /** The restore point whose chain is continued; none if a new chain is started. */
        Manifest base = Manifest.NONE;
        /** What could not be saved. */
        final List<String> errors = new ArrayList<>();

        RepositoryBackup(RepositoryMetadata repository, RecordedState lastState, long start) {
            this.repository = repository;
            this.lastState = lastState;
            this.start = start;
        }

        Outcome save() throws Exception {
            var git = new StreamingRepository();
            try (var transport = transport(repository.cloneUrlHttp(), git); var connection = openFetch(transport)) {
                time = clock.instant();
                var folder = folder(repository.repositoryName());
                stem = folder + newName(time);
                var advertised = advertised(connection);
                var refs = refsDigest(advertised);
                var isSameRepository = repository.repositoryId().equals(lastState.id());
                var isRenewed = isSameRepository && isDue(lastState.full(), fullEvery, lastState.id(), time);
                var isUnchanged = isSameRepository && !isRenewed && refs.equals(lastState.refs());
                if (isUnchanged && !isDue(lastState.settingsRead(), settingsEvery, lastState.id(), time)) {
                    return unchanged(lastState, advertised);
                }
                // A chain is continued unless it is another repository's, old, damaged, long or empty.
                if (isSameRepository) {
                    previous = read(lastState.manifest(), Manifest.class).orElse(Manifest.NONE);
                }
                base = isRenewed || !isComplete(previous, folder) ? Manifest.NONE : previous;
                var wanted = wanted(connection, base.refs());
                if (!wanted.isEmpty() && (base.refs().isEmpty() || base.chain().isEmpty() || isLong(base.chain()))) {
                    base = Manifest.NONE;
                    wanted = wanted(connection, base.refs());
                }
                var chain = new ArrayList<>(base.chain());
                if (!wanted.isEmpty()) {
                    fetch(git, connection, wanted, advertised).ifPresent(chain::add);
                }
                var manifest = withSideSteps(advertised, chain);
                var hasSameRefs = isUnchanged && base != Manifest.NONE;
                var isSame = hasSameRefs && previous.isSameAs(manifest);
                var state = new RecordedState(repository.repositoryId(), refs,
                        errors.isEmpty() ? time.toString() : null, // what could not be read, the next run reads again
                        base == Manifest.NONE ? time.toString() : lastState.full(),
                        isSame ? lastState.manifest() : stem + MANIFEST, null, null);
                return isSame ? unchanged(state, manifest)
                        : write(manifest, state, hasSameRefs ? "settings" : "refs");
            }
        }

        FetchConnection openFetch(Transport transport) throws NotSupportedException, TransportException {
            ((TransportHttp) transport).setHttpConnectionFactory(new EscapingConnections());
            return transport.openFetch();
        }

        /** The refs, and of the settings what is known already. */
        Manifest advertised(FetchConnection connection) {
            var refs = new TreeMap<String, String>();
            var peeled = new TreeMap<String, String>();
            var rawNames = new TreeMap<String, String>();
            // Those whose names are UTF-8 come first, and keep them.
            var advertised = connection.getRefs().stream().filter(ref -> ref.getName().startsWith("refs/"))
                    .sorted(Comparator.comparing(ref -> EscapedLines.isEscaped(ref.getName()))).toList();
            for (var ref : advertised) {
                var name = ref.getName();
                if (EscapedLines.isEscaped(name)) {
                    name = EscapedLines.nameFor(ref.getName(), refs.keySet());
                    rawNames.put(name, hex(EscapedLines.bytes(ref.getName())));
                }
                refs.put(name, ref.getObjectId().name());
                if (ref.getPeeledObjectId() != null) {
                    peeled.put(name, ref.getPeeledObjectId().name());
                }
            }
            var branch = repository.defaultBranch();
            var detached = connection.getRef("HEAD");
            var head = branch != null ? "refs/heads/" + branch
                    : detached != null ? detached.getObjectId().name() : null;
            var settings = new Settings(Objects.requireNonNullElse(repository.repositoryDescription(), ""), branch,
                    repository.kmsKeyId(), null, null, null);
            var id = new RepositoryId(repository.repositoryId(), repository.repositoryName(), repository.arn());
            return new Manifest(FORMAT, TOOL, time.toString(), id, "sha1", head, refs, peeled, rawNames, settings,
                    List.of(), List.of(), List.of());
        }

        /** The new bundle; none if the wanted refs lead to nothing that the chain lacks. */
        Optional<StoredObject> fetch(StreamingRepository git, FetchConnection connection, List<Ref> wanted,
                Manifest advertised) throws Exception {
            var kind = base == Manifest.NONE ? "full" : "incr";
            var haves = haves(base.refs(), advertised.refs());
            try (var bundle = new BundleUpload(stem + "." + kind + ".bundle")) {
                bundle.writeHeader(base.refs(), haves, advertised);
                git.fetch(connection, wanted, haves, bundle);
                if (bundle.objects == 0 && haves.isEmpty()) {
                    throw new Failure("the Git server sent no objects");
                }
                return bundle.objects == 0 ? Optional.empty() : Optional.of(bundle.finish(kind));
            }
        }

        /** Adds what a repository is besides Git. What cannot be read stays as the restore point before has it. */
        Manifest withSideSteps(Manifest advertised, List<StoredObject> chain) {
            var name = repository.repositoryName();
            var known = advertised.settings();
            var saved = previous.settings();
            var settings = new Settings(known.repositoryDescription(), known.defaultBranch(), known.kmsKeyId(),
                    sideStep("tags", saved.tags(),
                            () -> JSON.valueToTree(repositoryTags(codecommit, repository.arn()))),
                    sideStep("triggers", saved.triggers(),
                            () -> asJson(codecommit.getRepositoryTriggers(r -> r.repositoryName(name)).triggers())),
                    sideStep("approval rule templates", saved.approvalRuleTemplates(),
                            () -> JSON.valueToTree(approvalRuleTemplates(name))));
            var gitLfs = sideStep("use of Git LFS", previous.gitLfs(), () -> gitLfs(name, advertised));
            return advertised.with(settings, chain, gitLfs, pullRequests(advertised, chain));
        }

        /**
         * A step besides Git: whatever it throws is told, and no reason to leave a bundle without a manifest. What is
         * left at the deadline is left out.
         */
        <T> T sideStep(String what, T otherwise, Callable<T> step) {
            try {
                checkTime();
                return step.call();
            } catch (Throwable e) {
                if (stopping) {
                    throw new Failure("interrupted", e);
                }
                trace(e);
                errors.add(what + " not saved: " + (late ? LATE : reason(e)));
                return otherwise;
            }
        }

        List<StoredObject> pullRequests(Manifest advertised, List<StoredObject> chain) {
            var isNewChain = base == Manifest.NONE;
            if (noPullRequests) {
                return isNewChain ? List.of() : previous.pullRequests();
            }
            // Objects that are older than their chain, as they could not be read when it was started, expire before it.
            var saved = previous.pullRequests();
            var isAnew = isNewChain || saved.isEmpty()
                    || !chain.isEmpty() && saved.get(0).key().compareTo(chain.get(0).key()) < 0;
            return sideStep("pull requests", saved,
                    () -> new PullRequests(advertised, stem + ".pull-requests.json.gz").save(saved, isAnew));
        }

        /**
         * Writes the restore point, now that all is there that it names.
         *
         * @param kind what is new, if it is no bundle
         */
        Outcome write(Manifest manifest, RecordedState state, String kind) {
            var created = manifest.objects().filter(object -> object.key().startsWith(stem))
                    .collect(Collectors.toCollection(ArrayList::new));
            var bundle = created.stream().map(StoredObject::kind).filter(Objects::nonNull).findFirst();
            created.add(putDocument(stem + MANIFEST, manifest));
            return outcome(dryRun ? "would-create" : "created", bundle.orElse(kind), created,
                    state.with("saved", begin.toString()), manifest);
        }

        Outcome unchanged(RecordedState state, Manifest manifest) {
            return outcome("unchanged", null, List.of(), state.with("unchanged", begin.toString()), manifest);
        }

        Outcome outcome(String status, String kind, List<StoredObject> created, RecordedState state,
                Manifest manifest) {
            var bytes = created.stream().mapToLong(StoredObject::size).sum();
            var keys = created.isEmpty() || dryRun ? null : created.stream().map(StoredObject::key).toList();
            return new Outcome(new RepositoryResult(repository.repositoryName(), status, kind, manifest.refs().size(),
                    bytes, secondsSince(start), keys, manifest.gitLfs().isEmpty() ? null : manifest.gitLfs(),
                    error(manifest.rawNames().keySet())), state);
        }

        /** What is not saved as it is; null if that is nothing. */
        String error(Set<String> otherNames) {
            var all = new ArrayList<>(errors);
            if (!otherNames.isEmpty()) {
                all.add("names of refs that are not UTF-8 are saved with % and two digits for a byte: "
                        + otherNames.stream().limit(10).collect(Collectors.joining(", "))
                        + (otherNames.size() > 10 ? " and " + (otherNames.size() - 10) + " more" : ""));
            }
            return all.isEmpty() ? null : String.join("; ", all);
        }
    }

    /** What is advertised and not saved; one ref for each id. */
    static List<Ref> wanted(FetchConnection connection, Map<String, String> savedRefs) {
        var ids = new HashSet<>(savedRefs.values());
        return connection.getRefs().stream().filter(ref -> ids.add(ref.getObjectId().name())).toList();
    }

    /**
     * Whether something was last done too long ago, or never. Up to a third of the time is taken off, by the
     * repository, so that not all are due on one night.
     */
    static boolean isDue(String lastTime, String every, String repositoryId, Instant now) {
        var most = duration(every).toMillis();
        var less = Math.floorMod(repositoryId.hashCode(), 1000) * most / 3000;
        return lastTime == null || !Instant.parse(lastTime).plusMillis(most - less).isAfter(now);
    }

    /** Whether restoring a chain has become more work than a new full bundle is worth. */
    static boolean isLong(List<StoredObject> chain) {
        var increments = chain.stream().skip(1).mapToLong(StoredObject::size).sum();
        return chain.size() > MOST_INCREMENTS || increments > chain.get(0).size() / 2;
    }

    /** Whether all that a restore point needs is there, with its size. It lies close together, mostly on one page. */
    boolean isComplete(Manifest manifest, String folder) {
        var sizes = manifest.objects().collect(Collectors.toMap(StoredObject::key, StoredObject::size, Math::max,
                TreeMap::new));
        if (sizes.isEmpty() || !sizes.keySet().stream().allMatch(key -> key.startsWith(folder))) {
            return sizes.isEmpty();
        }
        var before = sizes.firstKey().substring(0, sizes.firstKey().length() - 1);
        var present = s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(folder).startAfter(before)).contents()
                .stream().takeWhile(object -> object.key().compareTo(sizes.lastKey()) <= 0)
                .collect(Collectors.toMap(S3Object::key, S3Object::size));
        return present.entrySet().containsAll(sizes.entrySet());
    }

    List<JsonNode> approvalRuleTemplates(String repositoryName) {
        return codecommit.listAssociatedApprovalRuleTemplatesForRepositoryPaginator(
                r -> r.repositoryName(repositoryName)).stream()
                .flatMap(page -> page.approvalRuleTemplateNames().stream()).sorted()
                .map(name -> templates.computeIfAbsent(name, this::approvalRuleTemplate)).toList();
    }

    JsonNode approvalRuleTemplate(String name) {
        var template = codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName(name)).approvalRuleTemplate();
        return JSON.createObjectNode().put("approvalRuleTemplateName", name)
                .put("approvalRuleTemplateDescription", template.approvalRuleTemplateDescription())
                .put("approvalRuleTemplateContent", template.approvalRuleTemplateContent());
    }

    /**
     * Which files are kept in Git LFS, by the patterns of .gitattributes at HEAD: of these the repository has only
     * pointers.
     */
    List<String> gitLfs(String name, Manifest manifest) {
        var head = manifest.refs().getOrDefault(String.valueOf(manifest.head()), manifest.head());
        if (head == null || !ObjectId.isId(head)) {
            return List.of();
        }
        byte[] attributes;
        try {
            attributes = codecommit
                    .getFile(r -> r.repositoryName(name).commitSpecifier(head).filePath(".gitattributes"))
                    .fileContent().asByteArray();
        } catch (FileDoesNotExistException e) {
            return List.of();
        }
        var patterns = decoded(attributes).lines().filter(line -> line.matches("[^#].*\\sfilter=lfs(\\s.*)?"))
                .map(line -> line.strip().split("\\s")[0]).toList();
        if (!patterns.isEmpty()) {
            tell(name + ": Git LFS is in use (" + String.join(", ", patterns)
                    + "): these files are not in Git, and so not in the backup");
        }
        return patterns;
    }

    /** A text as an editor wrote it: by its byte order mark, else in UTF-8 if it is that, else in Latin-1. */
    static String decoded(byte[] bytes) {
        for (var charset : List.of(StandardCharsets.UTF_8, StandardCharsets.UTF_16LE, StandardCharsets.UTF_16BE)) {
            var mark = "\uFEFF".getBytes(charset);
            if (bytes.length >= mark.length && Arrays.equals(mark, Arrays.copyOf(bytes, mark.length))) {
                return new String(bytes, mark.length, bytes.length - mark.length, charset);
            }
        }
        var text = new String(bytes, StandardCharsets.UTF_8);
        return text.contains("\uFFFD") ? new String(bytes, StandardCharsets.ISO_8859_1) : text;
    }

    /** Pull requests that are written together, each with all that belongs to it. */
    record PullRequestDocument(int format, String tool, String time, RepositoryId repository,
            List<JsonNode> pullRequests) {
        /** Refuses a document of another shape. */
        PullRequestDocument {
            Objects.requireNonNull(pullRequests);
        }
    }

    /**
     * The pull requests of a repository. The objects of a chain follow each other as its bundles do: of a pull request
     * that is in several, the last one counts.
     */
    class PullRequests {
        final Manifest manifest;
        final String key;

        /** @param key of a new object */
        PullRequests(Manifest manifest, String key) {
            this.manifest = manifest;
            this.key = key;
        }

        /**
         * Writes those that have changed, or all: if they are to be written anew, and if the saved ones cannot be
         * used. Closed ones are read once, and once more when all are written, in case someone has added to them.
         */
        List<StoredObject> save(List<StoredObject> savedObjects, boolean isAnew) {
            var documents = savedObjects.stream().map(StoredObject::key)
                    .flatMap(savedKey -> read(savedKey, PullRequestDocument.class).stream()).toList();
            var isAll = isAnew || documents.size() < savedObjects.size();
            var saved = new HashMap<String, JsonNode>();
            documents.forEach(document -> document.pullRequests()
                    .forEach(pullRequest -> saved.put(idOf(pullRequest), pullRequest)));
            var changed = new ArrayList<JsonNode>();
            for (var id : ids()) {
                checkTime();
                var before = saved.get(id);
                var isClosed = before != null
                        && before.at("/pullRequest/pullRequestStatus").asText().equals("CLOSED");
                if (isClosed && !isAll) {
                    continue;
                }
                var now = get(id);
                var whole = isClosed && now.equals(before.get("pullRequest")) ? before : whole(id, now);
                if (isAll || !whole.equals(before)) {
                    changed.add(whole);
                }
            }
            var objects = isAll ? new ArrayList<StoredObject>() : new ArrayList<>(savedObjects);
            if (!changed.isEmpty()) {
                objects.add(putDocument(key, new PullRequestDocument(FORMAT, TOOL, manifest.time(),
                        manifest.repository(), changed)));
            }
            return objects;
        }

        List<String> ids() {
            return codecommit
                    .listPullRequestsPaginator(r -> r.repositoryName(manifest.repository().repositoryName())).stream()
                    .flatMap(page -> page.pullRequestIds().stream()).sorted(Comparator.comparing(Long::valueOf))
                    .toList();
        }

        JsonNode get(String id) {
            return asJson(codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest());
        }

        /** Read once more if someone pushed in the meantime: approvals are those of a revision. */
        JsonNode whole(String id, JsonNode pullRequest) {
            try {
                return wholeAt(id, pullRequest);
            } catch (InvalidRevisionIdException e) {
                return wholeAt(id, get(id));
            }
        }

        JsonNode wholeAt(String id, JsonNode pullRequest) {
            var revision = pullRequest.path("revisionId").asText();
            var whole = JSON.createObjectNode();
            whole.set("pullRequest", pullRequest);
            whole.set("comments", asJson(codecommit.getCommentsForPullRequestPaginator(r -> r.pullRequestId(id))
                    .stream().flatMap(page -> page.commentsForPullRequestData().stream()).toList()));
            whole.set("approvals", asJson(codecommit
                    .getPullRequestApprovalStates(r -> r.pullRequestId(id).revisionId(revision)).approvals()));
            whole.set("override", asJson(codecommit
                    .getPullRequestOverrideState(r -> r.pullRequestId(id).revisionId(revision))));
            whole.set("events", asJson(codecommit.describePullRequestEventsPaginator(r -> r.pullRequestId(id))
                    .stream().flatMap(page -> page.pullRequestEvents().stream()).toList()));
            return whole;
        }
    }

    static String idOf(JsonNode pullRequest) {
        return pullRequest.at("/pullRequest/pullRequestId").asText();
    }

    /**
     * A repository that keeps nothing: JGit speaks the protocol, and the pack goes into a bundle instead of being
     * indexed.
     */
    class StreamingRepository extends InMemoryRepository {
        BundleUpload bundle;
        /** What the server is told that we have, the first one first. */
        List<ObjectId> haves = List.of();

        StreamingRepository() {
            super(new DfsRepositoryDescription());
        }

        void fetch(FetchConnection connection, List<Ref> wanted, List<ObjectId> knownIds, BundleUpload target)
                throws TransportException {
            bundle = target;
            haves = knownIds;
            // With a monitor the server sends its progress, which keeps the connection busy while it counts objects.
            connection.fetch(new EmptyProgressMonitor() {
                @Override
                public boolean isCancelled() {
                    return isOver();
                }
            }, wanted, new LinkedHashSet<>(haves), null);
        }

        @Override
        public ObjectReader newObjectReader() {
            return new HavesReader();
        }

        @Override
        public ObjectInserter newObjectInserter() {
            return new DfsInserter(getObjectDatabase()) {
                @Override
                public DfsPackParser newPackParser(InputStream in) {
                    return new DfsPackParser(getObjectDatabase(), this, in) {
                        @Override
                        public PackLock parse(ProgressMonitor receiving, ProgressMonitor resolving)
                                throws IOException {
                            bundle.receive(in);
                            return null;
                        }
                    };
                }
            };
        }

        /**
         * Gives commits for the ids that the server is told of, without parents, the first one the newest: JGit names
         * their ids in that order and asks no more of them.
         */
        class HavesReader extends ObjectReader {
            @Override
            public ObjectLoader open(AnyObjectId id, int type) throws MissingObjectException {
                var place = haves.indexOf(id);
                if (place < 0) {
                    throw new MissingObjectException(id.toObjectId(), "object");
                }
                var by = " - <-> " + (Integer.MAX_VALUE - place) + " +0000\n";
                // Not the empty tree: a tag may be at it, and JGit does not take one id for a tree and for a commit.
                var commit = "tree " + ObjectId.zeroId().name() + "\nauthor" + by + "committer" + by + "\n";
                return new ObjectLoader.SmallObject(Constants.OBJ_COMMIT, Constants.encode(commit));
            }

            @Override
            public Collection<ObjectId> resolve(AbbreviatedObjectId id) {
                return List.of();
            }

            @Override
            public Set<ObjectId> getShallowCommits() {
                return Set.of();
            }

            @Override
            public ObjectReader newReader() {
                return this;
            }

            @Override
            public void close() {
            }
        }
    }

    /** Reads refs by the bytes of their names. */
    static class EscapingConnections extends GitConnections {
        @Override
        public HttpConnection create(URL url, Proxy proxy) throws IOException {
            return url.getPath().endsWith("/info/refs") ? new RefsConnection(url, proxy) : super.create(url, proxy);
        }
    }

    static class RefsConnection extends GitConnection {
        RefsConnection(URL url, Proxy proxy) throws IOException {
            super(url, proxy);
        }

        @Override
        public InputStream getInputStream() throws IOException {
            var in = super.getInputStream();
            return new EscapedLines("gzip".equals(super.getHeaderField("Content-Encoding")) ? new GZIPInputStream(in)
                    : in);
        }

        /** JGit need not know of the compression of refs. */
        @Override
        public String getHeaderField(String name) {
            return name.equalsIgnoreCase("Content-Encoding") ? null : super.getHeaderField(name);
        }
    }

    /**
     * Lines of Git's protocol. JGit takes what is not UTF-8 for Latin-1, and so two names for the same; here such bytes
     * are escaped, by a question mark, which no ref's name has.
     */
    static class EscapedLines extends InputStream {
        final InputStream in;
        InputStream line = InputStream.nullInputStream();

        EscapedLines(InputStream in) {
            this.in = in;
        }

        @Override
        public int read() throws IOException {
            var one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] bytes, int from, int count) throws IOException {
            var read = line.read(bytes, from, count);
            if (read < 0) {
                line = nextLine();
                read = line.read(bytes, from, count);
            }
            return read;
        }

        /** A line begins with its length in four hexadecimal digits, these four included; 0000 ends a list of lines. */
        InputStream nextLine() throws IOException {
            var digits = in.readNBytes(4);
            var isLine = digits.length == 4
                    && IntStream.range(0, 4).allMatch(i -> HexFormat.isHexDigit(digits[i]));
            if (!isLine) {
                return new SequenceInputStream(new ByteArrayInputStream(digits), in); // not Git's protocol, or the end
            }
            var length = HexFormat.fromHexDigits(new String(digits, StandardCharsets.US_ASCII));
            var text = in.readNBytes(Math.max(0, length - 4));
            var escaped = escaped(text);
            var newDigits = HexFormat.of().toHexDigits((short) (length + escaped.length - text.length));
            return new SequenceInputStream(new ByteArrayInputStream(newDigits.getBytes(StandardCharsets.US_ASCII)),
                    new ByteArrayInputStream(escaped));
        }

        static byte[] escaped(byte[] text) {
            try {
                StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text));
                return text;
            } catch (CharacterCodingException e) {
                var latin1 = new String(text, StandardCharsets.ISO_8859_1);
                return Pattern.compile("[\\x80-\\xff]").matcher(latin1)
                        .replaceAll(character -> "?" + Integer.toHexString(character.group().charAt(0)))
                        .getBytes(StandardCharsets.US_ASCII);
            }
        }

        static boolean isEscaped(String name) {
            return name.contains("?");
        }

        static byte[] bytes(String escapedName) {
            return Pattern.compile("\\?([0-9a-f]{2})").matcher(escapedName)
                    .replaceAll(escape -> String.valueOf((char) Integer.parseInt(escape.group(1), 16)))
                    .getBytes(StandardCharsets.ISO_8859_1);
        }

        /** A name that is UTF-8 and not taken: such bytes, and percent signs, with a percent sign. */
        static String nameFor(String escapedName, Set<String> taken) {
            var name = escapedName.replace("%", "%25").replace('?', '%');
            while (taken.contains(name)) {
                name += "%00"; // which is no byte of a name
            }
            return name;
        }

        @Override
        public void close() throws IOException {
            in.close();
        }
    }

    /**
     * The ids of a restore point in the order in which the server is told of them. It is content with the first 32 of
     * which it knows enough to begin, so this order decides how much it sends: first what refs were before they moved
     * (a few, because rewritten history may be gone from the server), then what it still advertises, then the rest; of
     * each the main branches, then the highest versions.
     */
    static List<ObjectId> haves(Map<String, String> savedRefs, Map<String, String> refs) {
        var advertised = new HashSet<>(refs.values());
        var names = savedRefs.keySet().stream().sorted(MAIN_THEN_NEWEST).toList();
        var moved = names.stream()
                .filter(name -> refs.containsKey(name) && !advertised.contains(savedRefs.get(name))).limit(16);
        var known = names.stream().filter(name -> advertised.contains(savedRefs.get(name)));
        return Stream.of(moved, known, names.stream()).flatMap(part -> part)
                .map(name -> ObjectId.fromString(savedRefs.get(name))).distinct().limit(MOST_HAVES).toList();
    }

    static final List<String> MAIN = List.of("refs/heads/main", "refs/heads/master", "refs/heads/develop",
            "refs/heads/release");
    static final Comparator<String> MAIN_THEN_NEWEST = Comparator
            .comparing((String name) -> MAIN.contains(name) ? MAIN.indexOf(name) : MAIN.size())
            .thenComparing(BackupToS3::padded, Comparator.reverseOrder());

    /** With numbers of one length, so that v9 comes before v10. */
    static String padded(String name) {
        return Pattern.compile("\\d+").matcher(name)
                .replaceAll(number -> "0".repeat(Math.max(0, 20 - number.group().length())) + number.group());
    }

    /** Part buffers, shared by all jobs: they bound the memory. A job that finds none waits, and its Git server too. */
    static class Buffers {
        final int size;
        final Semaphore left;
        final Queue<byte[]> free = new ConcurrentLinkedQueue<>();

        Buffers(int size, int count) {
            this.size = size;
            left = new Semaphore(count);
        }

        byte[] take() {
            left.acquireUninterruptibly();
            try {
                var buffer = free.poll();
                return buffer != null ? buffer : new byte[size];
            } catch (OutOfMemoryError e) {
                left.release();
                throw e;
            }
        }

        void giveBack(byte[] buffer) {
            free.add(buffer);
            left.release();
        }
    }

    /** What of a write is seen only on its way. */
    class Writes implements ExecutionInterceptor {
        /** A second CreateMultipartUpload for a key means that the answer to the first one was lost. */
        @Override
        public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes call) {
            if (context.request() instanceof CreateMultipartUploadRequest create) {
                uploadsSent.merge(create.key(), 1, Integer::sum);
            }
        }

        /** S3 does not say why it denies a write. */
        @Override
        public Throwable modifyException(Context.FailedExecution context, ExecutionAttributes call) {
            var needs = needs(context.request());
            if (needs.isEmpty() || !(context.exception() instanceof S3Exception e) || isCutShort(e)
                    || !e.awsErrorDetails().errorCode().equals("AccessDenied")) {
                return context.exception();
            }
            var details = e.awsErrorDetails();
            var message = details.errorMessage() + "; it takes " + String.join("; ", needs);
            return e.toBuilder().awsErrorDetails(details.toBuilder().errorMessage(message).build()).build();
        }
    }

    /** What a write needs, by what is sent with it; nothing for other requests. */
    List<String> needs(SdkRequest request) {
        var isObject = request instanceof PutObjectRequest;
        var isUpload = request instanceof CreateMultipartUploadRequest;
        var isPart = request instanceof UploadPartRequest;
        if (!isObject && !isUpload && !isPart && !(request instanceof CompleteMultipartUploadRequest)) {
            return List.of();
        }
        var needs = new ArrayList<String>();
        needs.add("s3:PutObject on " + bucket + "/" + prefix + "/*, in the bucket's policy too if it is another"
                + " account's");
        if (isObject || isUpload) {
            needs.add(encryption() == null ? "a policy that asks for no encryption header, else --sse"
                    : "a policy that takes x-amz-server-side-encryption " + encryption());
        }
        if (encryption() != ServerSideEncryption.AES256) {
            needs.add("kms:GenerateDataKey and kms:Decrypt on " + Objects.requireNonNullElse(sseKmsKeyId,
                    encryption() == null ? "the bucket's key, if it has one"
                            : "aws/s3, which other accounts cannot use: else --sse-kms-key-id"));
        }
        if (isUpload || isPart) {
            needs.add("a policy that asks for If-None-Match" + (isPart ? " and encryption headers" : "")
                    + " only where s3:ObjectCreationOperation is true");
        }
        if (expectedBucketOwner != null) {
            needs.add("a bucket of " + expectedBucketOwner);
        }
        return needs;
    }

    /**
     * A bundle on its way to S3: one object if it fits into a buffer, else parts, each uploaded while the next one
     * fills. Without a verified pack there is no object.
     */
    class BundleUpload implements AutoCloseable {
        final String key;
        final CRC32 crc = new CRC32();
        final MessageDigest sha256 = digest("SHA-256");
        final MessageDigest packSha1 = digest("SHA-1");
        /** The last bytes so far, which may be the pack's checksum and are not hashed yet. */
        final byte[] tail = new byte[20];
        int tailLength;
        byte[] buffer = buffers.take();
        int filled;
        long size;
        long objects;
        final List<Future<CompletedPart>> parts = new ArrayList<>();
        String uploadId;
        /** Why a part could not be uploaded. */
        volatile Exception broken;
        boolean isVerified;
        boolean isDone;

        BundleUpload(String key) {
            this.key = key;
        }

        /**
         * Only the refs that changed. HEAD's branch comes last: a plain clone of the bundle takes the last of the
         * branches at HEAD for HEAD.
         */
        void writeHeader(Map<String, String> savedRefs, List<ObjectId> haves, Manifest manifest) {
            var header = new StringBuilder("# v2 git bundle\n");
            // Git takes only commits for prerequisites, which branches are and tags need not be.
            var branches = savedRefs.entrySet().stream().filter(ref -> ref.getKey().startsWith("refs/heads/"))
                    .map(Map.Entry::getValue).collect(Collectors.toSet());
            haves.stream().map(ObjectId::name).filter(branches::contains).limit(MOST_PREREQUISITES)
                    .forEach(id -> header.append("-" + id + "\n"));
            var head = String.valueOf(manifest.head());
            // Of a detached HEAD under another name: git would not fetch HEAD from an increment.
            var last = ObjectId.isId(head) ? head + " refs/HEAD\n" : "";
            for (var ref : manifest.refs().entrySet()) {
                var line = ref.getValue() + " " + ref.getKey() + "\n";
                if (ref.getValue().equals(savedRefs.get(ref.getKey()))) {
                    continue;
                }
                if (ref.getKey().equals(head)) {
                    last = ref.getValue() + " HEAD\n" + line;
                } else {
                    header.append(line);
                }
            }
            var bytes = (header + last + "\n").getBytes(StandardCharsets.UTF_8);
            write(bytes, bytes.length);
        }

        /** Takes the whole pack; its last 20 bytes must be the SHA-1 of those before. */
        void receive(InputStream in) throws IOException {
            var bytes = new byte[64 << 10];
            var count = in.readNBytes(bytes, 0, 12);
            if (count < 12 || !new String(bytes, 0, 4, StandardCharsets.US_ASCII).equals("PACK")) {
                throw new IOException("what the Git server sent is not a pack");
            }
            objects = Integer.toUnsignedLong(ByteBuffer.wrap(bytes).getInt(8));
            while (count > 0) {
                checkTime();
                write(bytes, count);
                hash(bytes, count);
                received.addAndGet(count);
                count = in.read(bytes);
            }
            if (!MessageDigest.isEqual(tail, packSha1.digest())) {
                throw new IOException(
                        "the pack is damaged or cut short: its checksum does not match after " + counted(size, "byte"));
            }
            isVerified = true;
        }

        /** Hashes all but the last 20 bytes so far. */
        void hash(byte[] bytes, int count) {
            var kept = Math.min(count, tail.length);
            var old = Math.max(0, tailLength + kept - tail.length);
            packSha1.update(tail, 0, old);
            packSha1.update(bytes, 0, count - kept);
            System.arraycopy(tail, old, tail, 0, tailLength - old);
            System.arraycopy(bytes, count - kept, tail, tailLength - old, kept);
            tailLength += kept - old;
        }

        void write(byte[] bytes, int count) {
            sha256.update(bytes, 0, count);
            crc.update(bytes, 0, count);
            size += count;
            var from = dryRun ? count : 0; // of a dry run only the size is told
            while (from < count) {
                if (filled == buffer.length) {
                    upload();
                    buffer = buffers.take();
                    filled = 0;
                }
                var length = Math.min(count - from, buffer.length - filled);
                System.arraycopy(bytes, from, buffer, filled, length);
                filled += length;
                from += length;
            }
        }

        /** Uploads the buffer as the next part, in the background. */
        void upload() {
            if (broken != null) {
                throw new Failure(reason(broken), broken);
            }
            checkTime();
            if (uploadId == null) {
                createUpload();
            }
            if (parts.size() == mostParts) {
                throw new Failure("larger than " + mostParts + " parts of " + (buffer.length >> 10)
                        + " KiB: give Java more memory, such as JAVA_TOOL_OPTIONS=-Xmx16g");
            }
            var part = buffer;
            var length = filled;
            var number = parts.size() + 1;
            buffer = null;
            parts.add(uploads.submit(() -> uploadPart(part, length, number)));
        }

        CompletedPart uploadPart(byte[] part, int length, int number) {
            try {
                var sum = crc32(part, length);
                var answer = s3.uploadPart(r -> r.bucket(bucket).key(key).uploadId(uploadId).partNumber(number)
                        .checksumCRC32(sum), body(part, length));
                return CompletedPart.builder().partNumber(number).eTag(answer.eTag()).checksumCRC32(sum).build();
            } catch (RuntimeException e) {
                broken = e;
                throw e;
            } finally {
                buffers.giveBack(part);
            }
        }

        void createUpload() {
            synchronized (openUploads) {
                checkTime();
                uploadId = s3.createMultipartUpload(r -> r.bucket(bucket).key(key)
                        .checksumAlgorithm(ChecksumAlgorithm.CRC32).checksumType(ChecksumType.FULL_OBJECT)
                        .serverSideEncryption(encryption()).ssekmsKeyId(sseKmsKeyId).bucketKeyEnabled(bucketKey()))
                        .uploadId();
                openUploads.put(key, uploadId);
            }
            if (uploadsSent.get(key) > 1) {
                abortUploads(key, uploadId); // an answer was lost, and with it the id of another upload
            }
        }

        StoredObject finish(String kind) throws Exception {
            if (!isVerified) {
                throw new Failure("interrupted");
            }
            var sum = base64(crc);
            if (uploadId == null) {
                put(key, buffer, filled);
            } else {
                upload();
                complete(sum);
            }
            isDone = true;
            return new StoredObject(key, kind, size, hex(sha256.digest()), sum, hex(tail), objects);
        }

        void complete(String sum) throws Exception {
            var completed = new ArrayList<CompletedPart>();
            for (var part : parts) {
                completed.add(part.get());
            }
            createObject(key, size, sum, () -> s3.completeMultipartUpload(r -> r.bucket(bucket).key(key)
                    .uploadId(uploadId).multipartUpload(m -> m.parts(completed)).ifNoneMatch("*")
                    .checksumType(ChecksumType.FULL_OBJECT).checksumCRC32(sum).mpuObjectSize(size)));
        }

        @Override
        public void close() throws InterruptedException {
            if (buffer != null) {
                buffers.giveBack(buffer);
            }
            if (isDone) {
                openUploads.remove(key);
                return;
            }
            for (var part : parts) {
                try {
                    part.get(); // one that is still under way would outlive the upload
                } catch (java.util.concurrent.ExecutionException e) {
                    // told already
                }
            }
            if (uploadId != null) {
                abort(key, uploadId);
            } else if (uploadsSent.containsKey(key)) {
                abortUploads(key, null);
            }
        }
    }

    static RequestBody body(byte[] bytes, int length) {
        return RequestBody.fromContentProvider(() -> new ByteArrayInputStream(bytes, 0, length), length,
                "application/octet-stream"); // fromBytes would copy
    }

    ServerSideEncryption encryption() {
        return sseKmsKeyId != null ? ServerSideEncryption.AWS_KMS : ServerSideEncryption.fromValue(sse);
    }

    Boolean bucketKey() {
        return encryption() == ServerSideEncryption.AWS_KMS ? true : null;
    }

    /** Puts a document, gzipped; gives what a manifest says of it. */
    StoredObject putDocument(String key, Object document) {
        var out = new ByteArrayOutputStream();
        try (var gzip = new GZIPOutputStream(out)) {
            JSON.writerWithDefaultPrettyPrinter().writeValue(gzip, document);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        var bytes = out.toByteArray();
        put(key, bytes, bytes.length);
        return new StoredObject(key, null, bytes.length, hex(digest("SHA-256").digest(bytes)),
                crc32(bytes, bytes.length), null, null);
    }

    void put(String key, byte[] bytes, int length) {
        if (dryRun) {
            return;
        }
        var sum = crc32(bytes, length);
        createObject(key, length, sum, () -> putNew(key, bytes, length, sum));
    }

    void putNew(String key, byte[] bytes, int length, String sum) {
        s3.putObject(r -> r.bucket(bucket).key(key).ifNoneMatch("*").checksumCRC32(sum)
                .serverSideEncryption(encryption()).ssekmsKeyId(sseKmsKeyId).bucketKeyEnabled(bucketKey()),
                body(bytes, length));
    }

    /**
     * Creates an object that must not exist. If it does, or the answer was lost, then it is ours if size and checksum
     * are the same.
     */
    void createObject(String key, long size, String sum, Runnable call) {
        try {
            call.run();
        } catch (SdkException e) {
            var status = e instanceof S3Exception answer ? answer.statusCode() : 0;
            var isRefused = status >= 400 && status < 500 && !Set.of(404, 409, 412).contains(status);
            if (isRefused) {
                throw e;
            }
            if (status == 409) {
                pause(backOff); // our first attempt is still under way
            }
            var present = head(key, e);
            if (present.contentLength() != size || !sum.equals(present.checksumCRC32())) {
                throw new Failure("s3://" + bucket + "/" + key + " exists and is another object", e);
            }
        }
    }

    HeadObjectResponse head(String key, SdkException failure) {
        try {
            return s3.headObject(r -> r.bucket(bucket).key(key).checksumMode(ChecksumMode.ENABLED));
        } catch (SdkException e) {
            failure.addSuppressed(e);
            throw failure;
        }
    }

    /**
     * Reads a manifest, pull requests or a run record, which only save work: one that is not to be had or not to be
     * understood is named, and costs a new full bundle.
     */
    <T> Optional<T> read(String key, Class<T> type) {
        try (var in = s3.getObjectAsBytes(r -> r.bucket(bucket).key(key)).asInputStream()) {
            var document = gunzipped(in);
            if (document.path("format").asInt() == FORMAT) {
                return Optional.of(JSON.reader().without(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
                        .treeToValue(document, type));
            }
            tell(key + " has another format than " + FORMAT + " and is not used");
        } catch (IOException e) {
            tell(key + " cannot be used: " + reason(e));
        } catch (S3Exception e) {
            if (!isUnreadable(e)) {
                throw e;
            }
            tell(key + " cannot be used: " + reason(e));
        }
        return Optional.empty();
    }

    /**
     * Whether an object is gone, archived, denied, or under a key that cannot be used. Other refusals are about the
     * caller or for now.
     */
    static boolean isUnreadable(S3Exception e) {
        return !isCutShort(e) && e.awsErrorDetails().errorCode()
                .matches("NoSuchKey|InvalidObjectState|AccessDenied|KMS\\..*");
    }

    void abort(String key, String uploadId) {
        openUploads.remove(key);
        try {
            s3.abortMultipartUpload(r -> r.bucket(bucket).key(key).uploadId(uploadId));
        } catch (SdkException e) {
            if (e instanceof S3Exception answer && answer.statusCode() == 404) {
                return;
            }
            tell("s3://" + bucket + "/" + key + ": an unfinished upload is left: " + reason(e)
                    + "; end it with: " + aws("s3api abort-multipart-upload --bucket " + bucket + " --key " + quote(key)
                            + " --upload-id " + uploadId));
        }
    }

    /** Aborts the uploads of a key, which only this run knows, but for one. */
    void abortUploads(String key, String keptId) {
        for (var upload : s3.listMultipartUploadsPaginator(r -> r.bucket(bucket).prefix(key)).uploads()) {
            if (!upload.uploadId().equals(keptId)) {
                abort(key, upload.uploadId());
            }
        }
        if (keptId != null) {
            openUploads.put(key, keptId);
        }
    }

    void abortAll() {
        synchronized (openUploads) {
            Map.copyOf(openUploads).forEach(this::abort);
        }
    }

    static String crc32(byte[] bytes, int length) {
        var crc = new CRC32();
        crc.update(bytes, 0, length);
        return base64(crc);
    }

    static String base64(CRC32 crc) {
        return Base64.getEncoder().encodeToString(ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
    }

    Outcome failed(String name, RecordedState lastState, long start, Throwable e) {
        trace(e);
        return outcome(name, "failed", lastState, start, reason(e));
    }

    Outcome notAttempted(String name, RecordedState lastState) {
        return outcome(name, "not-attempted", lastState, System.nanoTime(), null);
    }

    static Outcome outcome(String name, String status, RecordedState lastState, long start, String error) {
        return new Outcome(new RepositoryResult(name, status, null, 0, 0, secondsSince(start), null, null, error),
                lastState.with(status, lastState.lastSuccess()));
    }

    /** A line for each repository; on a terminal only if it was saved or failed. The first report of it counts. */
    synchronized void report(Outcome outcome) {
        var result = outcome.result();
        var name = result.repositoryName();
        if (outcomes.putIfAbsent(name, outcome) != null) {
            return;
        }
        if (result.kind() != null) {
            tell(name + ": " + result.status() + ", " + result.kind() + ", " + counted(result.refs(), "ref") + ", "
                    + counted(result.bytes(), "byte") + ", " + result.seconds() + " s");
        } else if (!terminal && !result.status().equals("failed")) {
            tell(name + ": " + result.status());
        }
        if (result.error() != null) {
            tell(name + ": " + result.error());
        }
    }

    /** On a terminal, in a line that the next one replaces. */
    synchronized void showProgress() {
        if (stopping) {
            return;
        }
        var megabytes = received.get() / 1e6;
        var err = spec.commandLine().getErr();
        err.printf(Locale.ROOT, "%s%d/%s, %.1f MB, %.1f MB/s", CLEAR_LINE, outcomes.size(),
                counted(names.size(), "repository"), megabytes, megabytes / Math.max(1e-3, secondsSince(started)));
        err.flush();
    }

    int printResult(String runRecord) {
        var results = outcomes.values().stream().map(Outcome::result).toList();
        if (!results.isEmpty() && results.stream().allMatch(result -> result.status().equals("failed"))) {
            return 1;
        }
        var totals = new TreeMap<String, Number>();
        results.forEach(result -> totals.merge(result.status(), 1, (count, one) -> count.intValue() + 1));
        var created = dryRun ? "would-create" : "created";
        var status = totals.containsKey(created) ? created : "unchanged";
        var all = new LinkedHashMap<>(totals);
        all.put("bytes", results.stream().mapToLong(RepositoryResult::bytes).sum());
        all.put("seconds", secondsSince(started));
        var isComplete = results.stream()
                .noneMatch(result -> result.error() != null || result.status().equals("not-attempted"));
        return print(new Result(status, caller.account(), region(), bucket, prefix, runRecord, all, results,
                runRecords.vanished.isEmpty() ? null : runRecords.vanished), isComplete ? 0 : 3);
    }

    /** Its second half stands in the README of the toolkit, too. */
    static final String GUIDE = """
            # Backups of AWS CodeCommit repositories

            Git bundles of an account's repositories, which `backup-to-s3` of the CodeCommit toolkit wrote here \
            (format 1). Plain git restores them. No object is ever changed: a run adds objects, under names that \
            begin with the time.

            ```
            REGION/REPOSITORY/
                TIME-RANDOM.manifest.json.gz       a restore point: all refs, HEAD, settings, and the objects that \
            hold the rest
                TIME-RANDOM.full.bundle            all commits and files of that time
                TIME-RANDOM.incr.bundle            what the bundles before it lack
                TIME-RANDOM.pull-requests.json.gz  pull requests that changed, with comments and approvals
            runs/REGION/
                TIME-RANDOM.json.gz                what a run saw of each repository
            ```

            The manifest's refs are the truth. A bundle is only a container of objects: a deleted branch may be in \
            one, and a new branch on an old commit in none.

            ## Restoring by hand

            With git, jq, a POSIX shell and a client for S3, here the AWS CLI. This is also the text of an object \
            beside the backups, `PREFIX/ACCOUNT/README.md`, for whoever has nothing but the bucket. After `export \
            bucket=BUCKET folder=PREFIX/ACCOUNT`, the restore points, of each repository the newest last:

            ```sh
            aws s3 ls --recursive "s3://$bucket/$folder/" | sed -n 's/.* //; /[.]manifest[.]json[.]gz$/p'
            ```

            After `export manifest=KEY`, one of these lines, in a new directory. This ends at the first error; \
            without one, its last line counts the refs:

            ```sh
            sh -eu <<'END'
            get() { aws s3 cp "s3://$bucket/$1" "$2" --only-show-errors; } # or another client for S3
            get "$manifest" manifest.json.gz
            gunzip manifest.json.gz
            git init --quiet --bare repository.git
            sha256() { if command -v sha256sum > /dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut \
            -c 1-64; }
            # the objects: every bundle of the chain, in order
            jq -r '.chain[] | .key + " " + .sha256' manifest.json > chain
            while read -r key sha256; do
              get "$key" next.bundle
              [ "$(sha256 next.bundle)" = "$sha256" ] || { echo "$key is damaged" >&2; exit 1; }
              git -C repository.git bundle unbundle ../next.bundle > unbundled
            done < chain
            # the refs: what the manifest names, and nothing else; in one file, as a file's name cannot be as long \
            as a ref's
            jq -r '.refs | to_entries[] | .value + " " + .key' manifest.json > repository.git/packed-refs
            head=$(jq -r '.head // empty' manifest.json)
            case $head in
              refs/*) git -C repository.git symbolic-ref HEAD "$head" ;;
              ?*) git -C repository.git update-ref --no-deref HEAD "$head" ;;
            esac
            # every ref is there, and every object to which one leads
            git -C repository.git for-each-ref --format='%(objectname) %(refname)' > refs
            LC_ALL=C sort refs > restored
            LC_ALL=C sort repository.git/packed-refs | cmp - restored
            git -C repository.git fsck --connectivity-only --no-dangling
            echo "$(wc -l < restored) refs restored"
            END
            ```

            After `export url=URL`, branches and tags into an empty repository of any Git server:

            ```sh
            git -C repository.git push "$url" 'refs/heads/*:refs/heads/*' 'refs/tags/*:refs/tags/*'
            ```

            CodeCommit takes at most 4,000 refs in a push, and cuts long ones: push some branches first there. The \
            manifest's `settings` are there to be read, with CodeCommit's own names for everything; `pullRequests` \
            lists the objects that have the pull requests, of which the last one to have a pull request counts. A \
            ref's name that is not UTF-8 stands there with % and two digits for each such byte; `rawNames` has its \
            bytes.
            """;

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

    //region The same in every script: batches

    /** The items in parts, for an operation that takes so many at once. */
    static <T> List<List<T>> batches(List<T> items, int size) {
        return IntStream.iterate(0, from -> from < items.size(), from -> from + size)
                .mapToObj(from -> items.subList(from, Math.min(from + size, items.size()))).toList();
    }

    //endregion

    //region The same in every script: batches of repositories

    /** As many repositories as every version of BatchGetRepositories takes. */
    static final int REPOSITORIES_PER_CALL = 25;

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

    //region The same in every script: tags of repositories

    static Map<String, String> repositoryTags(CodeCommitClient codecommit, String arn) {
        var tags = new TreeMap<String, String>();
        var page = codecommit.listTagsForResource(r -> r.resourceArn(arn));
        tags.putAll(page.tags());
        while (page.nextToken() != null) {
            var token = page.nextToken();
            page = codecommit.listTagsForResource(r -> r.resourceArn(arn).nextToken(token));
            tags.putAll(page.tags());
        }
        return tags;
    }

    //endregion

    //region The same in every script: AWS structures as JSON

    /** What AWS answered, with its own names for everything, as the AWS CLI prints and takes it. */
    static JsonNode asJson(Object value) {
        if (value instanceof SdkPojo structure) {
            var node = JSON.createObjectNode();
            for (var field : structure.sdkFields()) {
                var member = field.getValueOrDefault(structure);
                if (member != null && !(member instanceof SdkAutoConstructList<?>)
                        && !(member instanceof SdkAutoConstructMap<?, ?>)) {
                    node.set(field.memberName(), asJson(member));
                }
            }
            return node;
        }
        if (value instanceof Collection<?> items) {
            return JSON.createArrayNode().addAll(items.stream().map(item -> asJson(item)).toList());
        }
        if (value instanceof Map<?, ?> entries) {
            var node = JSON.createObjectNode();
            entries.forEach((key, entry) -> node.set(key.toString(), asJson(entry)));
            return node;
        }
        if (value instanceof Long number && number == number.intValue()) {
            return IntNode.valueOf(number.intValue()); // as Jackson reads it back, for comparisons
        }
        return JSON.valueToTree(value instanceof Instant time ? time.toString() : value);
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

    //region The same in every script: Git

    @Option(names = "--git-endpoint", paramLabel = "HOST",
            description = "Git host to use, such as a VPC endpoint's name. Default: that of the clone URL.")
    String gitEndpoint;

    void checkGitEndpoint() {
        if (gitEndpoint == null) {
            return;
        }
        check("--git-endpoint", gitEndpoint, "[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+(:\\d{1,5})?",
                "a host name without https:// and path, such as git-codecommit-fips.us-east-1.amazonaws.com");
        var itsRegion = gitEndpoint.replaceAll(".*git-codecommit(?:-fips)?\\.([a-z0-9-]+)\\..*", "$1");
        if (!itsRegion.equals(gitEndpoint) && !itsRegion.equals(region())) {
            throw wrong("--git-endpoint '" + gitEndpoint + "': must be a host of the Region " + region()
                    + ", or use --region " + itsRegion);
        }
    }

    /** A connection to a repository at CodeCommit, good for about 15 minutes. */
    Transport transport(String cloneUrl, Repository local) throws Exception {
        var url = gitUrl(URI.create(cloneUrl));
        local.getConfig().setString("http", null, "followRedirects", "false");
        local.getConfig().setString("protocol", null, "version", "0"); // one request for the refs; version 2 takes two
        var transport = (TransportHttp) Transport.open(local, new URIish(url.toString()));
        transport.setAdditionalHeaders(Map.of("Authorization", gitAuthorization(url)));
        transport.setHttpConnectionFactory(new GitConnections());
        transport.setTagOpt(TagOpt.NO_TAGS);
        transport.setTimeout(gitTimeout);
        return transport;
    }

    private String gitAuthorization(URI url) throws GeneralSecurityException {
        var signIn = gitSignIn(credentials.resolveCredentials(), region(), url.getHost(), url.getRawPath(),
                Instant.now());
        return "Basic " + Base64.getEncoder().encodeToString(signIn.getBytes(StandardCharsets.UTF_8));
    }

    static class GitConnections implements HttpConnectionFactory {
        @Override
        public HttpConnection create(URL url) throws IOException {
            return create(url, Proxy.NO_PROXY);
        }

        @Override
        public HttpConnection create(URL url, Proxy proxy) throws IOException {
            return new GitConnection(url, proxy);
        }
    }

    /** Tells a refusal by its status, of which JGit gives text alone; of 404 it has a type of its own. */
    static class GitConnection extends JDKHttpConnection {
        private final String action;

        GitConnection(URL url, Proxy proxy) throws IOException {
            super(url, proxy);
            action = url.toString().endsWith("git-receive-pack") ? "codecommit:GitPush" : "codecommit:GitPull";
        }

        @Override
        public int getResponseCode() throws IOException {
            var status = super.getResponseCode();
            if (status >= 400 && status != HTTP_NOT_FOUND) {
                throw new GitRefusal(status, getResponseMessage(), action);
            }
            return status;
        }
    }

    static class GitRefusal extends Failure {
        final int status;

        /** @param action that the request needs */
        GitRefusal(int status, String message, String action) {
            super("the Git server answered " + status + " " + message + (status != 401 && status != 403 ? ""
                    : "; it takes " + action + ", the use of the repository's key, valid credentials and a right"
                            + " clock"));
            this.status = status;
        }

        boolean isThrottling() {
            return status == 429 || status == 503;
        }
    }

    /** The sign-in goes with every request, so it may go nowhere else: no plain http but to this machine. */
    private URI gitUrl(URI cloneUrl) throws URISyntaxException {
        var url = cloneUrl;
        if (gitEndpoint != null) {
            var scheme = gitEndpoint.matches("127\\.0\\.0\\.1(:\\d+)?") ? "http" : "https";
            url = new URI(scheme + "://" + gitEndpoint + cloneUrl.getRawPath());
        }
        if (!url.getScheme().equals("https") && !url.getHost().matches("127\\.0\\.0\\.1|localhost|\\[::1]")) {
            throw new Failure(url + " is not https");
        }
        return url;
    }

    /**
     * User and password for Git: a request named GIT, signed as AWS signs requests (Signature Version 4); good for
     * about 15 minutes, for this repository.
     */
    static String gitSignIn(AwsCredentials credentials, String region, String host, String path, Instant time)
            throws GeneralSecurityException {
        var stamp = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss").withZone(ZoneOffset.UTC).format(time);
        var scope = stamp.substring(0, 8) + "/" + region + "/codecommit/aws4_request";
        var request = hex(digest("SHA-256")
                .digest(("GIT\n" + path + "\n\nhost:" + host + "\n\nhost\n").getBytes(StandardCharsets.UTF_8)));
        var key = ("AWS4" + credentials.secretAccessKey()).getBytes(StandardCharsets.UTF_8);
        for (var part : scope.split("/")) {
            key = hmac(key, part);
        }
        var signature = hex(hmac(key, "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + request));
        var token = credentials instanceof AwsSessionCredentials session ? "%" + session.sessionToken() : "";
        return credentials.accessKeyId() + token + ":" + stamp + "Z" + signature;
    }

    static byte[] hmac(byte[] key, String text) throws GeneralSecurityException {
        var mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    //endregion
}
