///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Backs up CodeCommit repositories to S3 as Git bundles, streamed without local disk.
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
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:-UsePerfData -Djdk.console=java.base -Dsun.net.http.retryPost=false
//RUNTIME_OPTIONS -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=10000 -XX:Tier4CompileThreshold=100000 -XX:Tier4BackEdgeThreshold=400000

import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.*;
import java.time.*;
import java.time.format.DateTimeFormatter;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.function.*;
import java.util.regex.Pattern;
import java.util.stream.*;
import java.util.zip.*;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.xml.stream.XMLStreamException;
import org.eclipse.jgit.errors.*;
import org.eclipse.jgit.internal.storage.dfs.*;
import org.eclipse.jgit.lib.*;
import org.eclipse.jgit.storage.file.FileBasedConfig;
import org.eclipse.jgit.transport.*;
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
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.core.util.*;
import software.amazon.awssdk.http.SdkHttpRequest;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.*;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.*;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * Backs up CodeCommit repositories to S3. The pack that the Git server sends goes straight into an S3 upload, behind a bundle's header: no
 * clone, no local disk, memory bounded by the part buffers. Plain git restores it: {@code git clone --mirror}, then the manifest's refs.
 *
 * <p>Changes in AWS: adds objects to the bucket, each under a name of its own; none is ever overwritten or deleted. An upload is completed
 * only after the pack's checksum matched. Under {@code PREFIX/ACCOUNT/REGION/REPOSITORY/} these are bundles, pull requests and manifests (a
 * manifest is a restore point: all refs, HEAD, settings, and the objects that have the rest), under {@code PREFIX/ACCOUNT/runs/REGION/} one
 * record a run.
 *
 * <p>A second run asks each repository for its refs, finds them equal to those of the last run record, and writes just its own run record.
 * A repository that has changed since gets an increment: a bundle of what the ones before it lack. From time to time a full bundle begins a
 * new chain. Settings (tags, triggers, approval rule templates) and pull requests cost calls of their own: they are read whenever a
 * repository has changed, and of the others in turn, each within {@code --settings-every}. A repository that fails does not stop the
 * others; the next run does it again.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codecommit:ListRepositories (on *), codecommit:BatchGetRepositories, codecommit:GitPull; for repositories under a customer managed
 *     key also the key's six actions of create-kms-key
 * <li>for the settings codecommit:ListTagsForResource, codecommit:GetRepositoryTriggers,
 *     codecommit:ListAssociatedApprovalRuleTemplatesForRepository, codecommit:GetApprovalRuleTemplate (on *), and codecommit:GetFile, which
 *     finds out whether Git LFS is in use
 * <li>for the pull requests codecommit:ListPullRequests, codecommit:GetPullRequest, codecommit:DescribePullRequestEvents,
 *     codecommit:GetCommentsForPullRequest, codecommit:GetPullRequestApprovalStates, codecommit:GetPullRequestOverrideState
 * <li>s3:ListBucket, s3:GetObject, s3:PutObject, s3:AbortMultipartUpload, s3:ListBucketMultipartUploads
 * <li>with --sse-kms-key-id, on that key: kms:GenerateDataKey, kms:Decrypt
 * </ul>
 */
@Command(name = "backup-to-s3", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Backs up CodeCommit repositories to S3 as Git bundles, streamed without local disk.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "3:partly done: some repositories failed, the others are complete",
                "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  backup-to-s3 --bucket my-backups --expected-bucket-owner 444455556666",
                "  backup-to-s3 --bucket my-backups --repository-names 'team-*' --dry-run"})
class BackupToS3 implements Callable<Integer> {
    @Option(names = "--bucket", required = true, paramLabel = "NAME", description = "The bucket for the backups, in any Region and account.")
    String bucket;

    @Option(names = "--prefix", paramLabel = "PREFIX", defaultValue = "projects/codecommit-backup",
            description = "What the objects' keys begin with. Default: ${DEFAULT-VALUE}.")
    String prefix;

    @Option(names = "--repository-names", paramLabel = "GLOB", arity = "1..*",
            description = "Repositories to back up, by name or with * and ?. Default: all of the Region.")
    List<String> repositoryNames = List.of("*");

    @Option(names = "--exclude", paramLabel = "GLOB", arity = "1..*", description = "Repositories to leave out, by name or with * and ?.")
    List<String> exclude = List.of();

    @Option(names = "--shard", paramLabel = "I/N",
            description = "Only the I-th of N parts of the repositories, by their names, so that N runs can share the work. Such as 1/4.")
    String shard;

    @Option(names = "--jobs", paramLabel = "N", defaultValue = "4", description = "Repositories at a time. Default: ${DEFAULT-VALUE}.")
    int jobs;

    @Option(names = "--full-every", paramLabel = "TIME", defaultValue = "30d",
            description = "How old full bundles get, such as 30d or 12h; each repository's a share of its own less, up to a third. Default: ${DEFAULT-VALUE}.")
    String fullEvery = "30d";

    @Option(names = "--settings-every", paramLabel = "TIME", defaultValue = "7d",
            description = "How long ago at the most settings and pull requests of an unchanged repository were read. Default: ${DEFAULT-VALUE}.")
    String settingsEvery = "7d";

    @Option(names = "--no-pull-requests", description = "Leaves the pull requests out.")
    boolean noPullRequests;

    @Option(names = "--deadline", paramLabel = "TIME", description = "Ends by then, such as 50m: begins no repository in the last tenth of the time (or five "
            + "minutes, if that is less), and gives up what is under way at its end. Those with the oldest backup come first. Default: none.")
    String deadline;

    @Option(names = "--expected-bucket-owner", paramLabel = "ACCOUNT", description = "Account that the bucket must belong to.")
    String expectedBucketOwner;

    @Option(names = "--sse-kms-key-id", paramLabel = "ARN",
            description = "Encrypts under this KMS key of the bucket's Region, with a bucket key. Default: as the bucket says.")
    String sseKmsKeyId;

    @Option(names = "--dry-run", description = "Only reads, and prints what would change.")
    boolean dryRun;

    static final String TOOL = BackupToS3.class.getAnnotation(Command.class).version()[0];
    /** As many repositories as every version of BatchGetRepositories takes. */
    static final int BATCH = 25;
    /** How many run records are read at the most to find every repository's last state. */
    static final int RUNS_READ = 50;
    /** Bundles behind a full one, before there is a new one. */
    static final int MOST_INCREMENTS = 30;
    /** How many ids a server is told of at the most, by 32 a request, until it knows enough of them. */
    static final int MOST_HAVES = 256;
    /** As many lines as keep a small increment small. Git checks the whole anyway when it fetches. */
    static final int MOST_PREREQUISITES = 32;
    /** How long, in seconds, a Git server may be silent. */
    int gitTimeout = 30;
    /** S3's limit. */
    int mostParts = 10_000;
    /** 78 GiB in 10,000 parts with a heap of up to 2 GiB; larger parts with a larger heap. */
    int partSize = (int) Math.min(1 << 30, Math.max(8 << 20, Runtime.getRuntime().maxMemory() / 256));
    /** What the waits between attempts grow from. */
    Duration backOff = Duration.ofSeconds(1);

    /** What the time is, but for sign-ins. */
    Clock clock = Clock.systemUTC();

    CodeCommitClient codecommit;
    S3Client s3;
    Buffers buffers;
    final ExecutorService uploads = Executors.newCachedThreadPool(BackupToS3::daemon);
    /** Keys and ids of the multipart uploads under way. */
    final Map<String, String> open = new ConcurrentHashMap<>();
    /** How often CreateMultipartUpload was sent for a key. */
    final Map<String, Integer> begun = new ConcurrentHashMap<>();
    Selection selection;
    /** When the run began: the same for all that it saves, so that those go on in the order of their names. */
    Instant begin;
    /** Ids of the Region's repositories by name. */
    Map<String, String> ids = Map.of();
    /** The repositories to back up, those with the oldest backup first. */
    List<String> names = List.of();
    /** What the last run of this job saw and is no longer there. */
    final ArrayNode vanished = JSON.createArrayNode();
    /** Templates by name: they are the account's, and many repositories have the same. */
    final Map<String, JsonNode> templates = new ConcurrentHashMap<>();
    /** By name; also what was asked for and is no repository. */
    final Map<String, Outcome> outcomes = new ConcurrentSkipListMap<>();
    final AtomicLong received = new AtomicLong();
    final long started = System.nanoTime();
    volatile boolean stopping;
    /** The repositories that were begun. */
    final Set<String> attempted = ConcurrentHashMap.newKeySet();
    /** Whether the --deadline is over. */
    volatile boolean late;
    /** How long, after the deadline, what is under way may take to give up. */
    Duration grace = Duration.ofSeconds(10);
    /** Whether somebody watches; then stderr shows how far it is. */
    boolean terminal = System.console() != null;

    /** What the result and the run record say of a repository. */
    record Outcome(ObjectNode shown, ObjectNode recorded) {
        String status() {
            return shown.get("status").asText();
        }
    }

    @Override
    public Integer call() throws Exception {
        checkOptions();
        codecommit = client(CodeCommitClient.builder());
        ignoreGitConfiguration();
        s3 = s3(new ExecutionInterceptor() {
            @Override
            public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes call) {
                if (context.request() instanceof CreateMultipartUploadRequest create) begun.merge(create.key(), 1, Integer::sum);
            }
        });
        buffers = new Buffers(partSize, (int) Math.max(2, Math.min(4L * jobs, Runtime.getRuntime().maxMemory() * 2 / 5 / partSize)));
        begin = clock.instant();
        selection = new Selection(repositoryNames, exclude, shard);
        names = repositories();
        var known = lastRuns();
        names = names.stream().sorted(Comparator.comparing(name -> known.getOrDefault(name, JSON.missingNode()).path("lastSuccess").asText())).toList();
        var hook = new Thread(this::stop);
        Runtime.getRuntime().addShutdownHook(hook);
        var workers = Executors.newFixedThreadPool(jobs, BackupToS3::daemon);
        var watch = Executors.newSingleThreadScheduledExecutor(BackupToS3::daemon);
        if (terminal) watch.scheduleAtFixedRate(this::progress, 0, 200, TimeUnit.MILLISECONDS);
        try {
            var tasks = new ArrayList<Future<?>>();
            for (var i = 0; i < names.size(); i += BATCH) {
                var batch = new Batch(names.subList(i, Math.min(i + BATCH, names.size())));
                for (var name : batch.names) tasks.add(workers.submit(() -> backUp(name, batch, known.get(name))));
            }
            workers.shutdown();
            while (!late && !workers.awaitTermination(200, TimeUnit.MILLISECONDS)) if (isPast(Duration.ZERO)) giveUp(workers, known);
            for (var task : tasks) if (task.isDone()) task.get();
        } finally {
            workers.shutdownNow();
            watch.shutdownNow();
            if (terminal) spec.commandLine().getErr().print(CLEAR_LINE);
            if (stopping) hook.join(); // it ends the run, and records it
            Runtime.getRuntime().removeShutdownHook(hook);
        }
        return summary(dryRun ? null : writeRun());
    }

    void checkOptions() {
        checkBucket();
        checkSelection();
        if (shard != null) {
            var good = "which part of how many, such as 1/4";
            var parts = check("--shard", shard, "[1-9]\\d{0,2}/[1-9]\\d{0,2}", good).split("/");
            if (Integer.parseInt(parts[0]) > Integer.parseInt(parts[1])) throw wrong("--shard '" + shard + "': give " + good);
        }
        check("--full-every", fullEvery, "[1-9]\\d{0,4}[hd]", "a number and h or d for hours or days, such as 30d");
        check("--settings-every", settingsEvery, "[1-9]\\d{0,4}[hd]", "a number and h or d for hours or days, such as 7d");
        if (deadline != null) check("--deadline", deadline, "[1-9]\\d{0,4}[mh]", "a number and m or h for minutes or hours, such as 50m");
        if (sseKmsKeyId != null)
            check("--sse-kms-key-id", sseKmsKeyId, "arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:key/[A-Za-z0-9-]+",
                    "the key's whole ARN, such as arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab");
        checkGitEndpoint();
    }

    // 1. Which repositories, and what the last runs know of them

    /** The names that are wanted, in order. A pattern that fits nothing is a failure like that of a repository. */
    List<String> repositories() {
        subject = "list of repositories";
        var all = new TreeMap<String, String>();
        for (var repository : codecommit.listRepositoriesPaginator(r -> { }).repositories()) all.put(repository.repositoryName(), repository.repositoryId());
        ids = all;
        subject = "";
        for (var glob : new TreeSet<>(repositoryNames)) {
            if (glob.equals("*") || all.keySet().stream().anyMatch(name -> fits(name, List.of(glob)))) continue;
            var unknown = new Failure("no repository of account " + identity().account() + " in " + region() + " has such a name");
            report(glob, failed(null, unknown, System.nanoTime()));
        }
        return all.keySet().stream().filter(selection::has).toList();
    }

    /** What CodeCommit knows of some repositories, asked for when the first of them is begun. */
    class Batch {
        final List<String> names;
        private Map<String, RepositoryMetadata> found;
        private final Map<String, String> errors = new HashMap<>();

        Batch(List<String> names) {
            this.names = names;
        }

        synchronized RepositoryMetadata get(String name) {
            if (found == null) {
                var answer = codecommit.batchGetRepositories(r -> r.repositoryNames(names));
                answer.errors().forEach(e -> errors.put(e.repositoryName(), e.errorCodeAsString() + ": " + e.errorMessage()));
                found = answer.repositories().stream().collect(Collectors.toMap(RepositoryMetadata::repositoryName, r -> r));
            }
            if (!found.containsKey(name)) throw new Failure(errors.getOrDefault(name, "deleted or renamed since the repositories were listed"));
            return found.get(name);
        }
    }

    String runs() {
        return prefix + "/" + identity().account() + "/runs/" + region() + "/";
    }

    /** Which repositories a run is for. */
    record Selection(List<String> repositoryNames, List<String> exclude, String shard) {
        boolean has(String name) {
            if (!fits(name, repositoryNames) || fits(name, exclude)) return false;
            if (shard == null) return true;
            var parts = shard.split("/");
            return Math.floorMod(name.hashCode(), Integer.parseInt(parts[1])) == Integer.parseInt(parts[0]) - 1;
        }
    }

    /** The last state of each repository, from the newest run records. */
    Map<String, JsonNode> lastRuns() throws IOException {
        subject = "s3://" + bucket + "/" + runs();
        var keys = keys(runs() + TIME.format(clock.instant().minus(Duration.ofDays(40))));
        if (keys.isEmpty()) keys = keys(runs());
        var known = new HashMap<String, JsonNode>();
        var missing = new HashSet<>(names);
        var newer = new ArrayList<Selection>();
        for (var i = keys.size() - 1; i >= Math.max(0, keys.size() - RUNS_READ) && (!missing.isEmpty() || newer.isEmpty()); i--) {
            var record = read(keys.get(i));
            if (record.isEmpty()) continue;
            for (var entry : record.path("repositories").properties()) {
                var name = entry.getKey();
                if (entry.getValue().has("manifest") && missing.remove(name)) known.put(name, entry.getValue());
                // What was gone already when a newer run looked for it was told then.
                if (selection.has(name) && !ids.containsKey(name) && newer.stream().noneMatch(run -> run.has(name))) vanished(name, entry.getValue());
            }
            if (record.has("selection")) newer.add(JSON.convertValue(record.get("selection"), Selection.class));
        }
        subject = "";
        return known;
    }

    /** Names a repository of the last run that was deleted or renamed since. */
    void vanished(String name, JsonNode last) {
        var renamed = ids.entrySet().stream().filter(other -> other.getValue().equals(last.path("id").asText())).map(Map.Entry::getKey).findFirst();
        var point = last.path("manifest").asText("none");
        note(name + ": " + renamed.map(other -> "was renamed to " + other + ", and is backed up anew under that name").orElse("is no longer in CodeCommit")
                + "; newest restore point: " + point);
        vanished.addObject().put("repositoryName", name).put("repositoryId", last.path("id").textValue()).put("renamedTo", renamed.orElse(null))
                .put("manifest", last.path("manifest").textValue());
    }

    /** The last state of a repository of which no run record tells, by what is in its directory; null if that is nothing. */
    JsonNode newest(String name) throws IOException {
        var folder = folder(name);
        var manifest = s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(folder)).contents().stream().map(S3Object::key)
                .filter(key -> key.endsWith(MANIFEST)).reduce((older, newer) -> newer);
        if (manifest.isEmpty()) return null;
        var point = read(manifest.get());
        if (point.isEmpty()) return null;
        var full = point.at("/chain/0/key").asText(manifest.get()).substring(folder.length()).split("-")[0];
        return JSON.createObjectNode().put("id", point.at("/repository/repositoryId").asText()).put("manifest", manifest.get()).put("refs", digest(point))
                .put("full", TIME.parse(full, Instant::from).toString());
    }

    /** Where a repository's objects are. */
    String folder(String name) {
        return prefix + "/" + identity().account() + "/" + region() + "/" + name + "/";
    }

    List<String> keys(String after) {
        return s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(runs()).startAfter(after)).contents().stream().map(S3Object::key).toList();
    }

    /** A manifest or run record; an empty document for one that is gone, damaged or of another format, which costs a new full bundle and no more. */
    JsonNode read(String key) throws IOException {
        try (var in = s3.getObjectAsBytes(r -> r.bucket(bucket).key(key)).asInputStream()) {
            var document = json(in);
            if (document.path("format").asInt() == FORMAT) return document;
            note(key + " has another format than " + FORMAT + " and is not used");
        } catch (NoSuchKeyException | ZipException | EOFException | com.fasterxml.jackson.core.JsonProcessingException e) {
            note(key + " cannot be used: " + reason(e));
        }
        return JSON.createObjectNode();
    }

    // 2. One repository

    void backUp(String name, Batch batch, JsonNode last) {
        var start = System.nanoTime();
        // What is begun in the last tenth of the time might not be done by its end.
        if (deadline != null && isPast(Collections.min(List.of(duration(deadline).dividedBy(10), Duration.ofMinutes(5))))) {
            report(name, new Outcome(shown("not-attempted", start), recorded("not-attempted", last)));
            return;
        }
        attempted.add(name);
        for (var attempt = 1; !stopping; attempt++)
            try {
                report(name, save(batch.get(name), last != null ? last : newest(name), start));
                return;
            } catch (Exception | OutOfMemoryError e) {
                var cause = late ? new Failure("not done by the --deadline", e) : cause(e);
                var throttled = cause instanceof TransportException && ("" + cause.getMessage()).matches("(?s).*: (429|503) .*");
                // A branch may have moved between the advertisement and the fetch, or the line was cut: once more, with a new advertisement.
                if (cause instanceof TransportException && !(cause instanceof NoRemoteRepositoryException) && attempt < (throttled ? 6 : 2)) {
                    if (throttled) pause(ThreadLocalRandom.current().nextLong(backOff.toMillis() << attempt));
                    continue;
                }
                if (!stopping) report(name, failed(last, cause, start));
                return;
            }
    }

    /** Whether it is no more than this long until the deadline. */
    boolean isPast(Duration before) {
        return deadline != null && !clock.instant().isBefore(begin.plus(duration(deadline)).minus(before));
    }

    /** At the deadline: what is under way is given up, and whatever does not hear of it is left behind. */
    void giveUp(ExecutorService workers, Map<String, JsonNode> known) throws InterruptedException {
        late = true;
        workers.awaitTermination(grace.toMillis(), TimeUnit.MILLISECONDS);
        for (var name : attempted)
            if (!outcomes.containsKey(name)) report(name, failed(known.get(name), new Failure("not done by the --deadline"), System.nanoTime()));
        for (var name : names) report(name, new Outcome(shown("not-attempted", System.nanoTime()), recorded("not-attempted", known.get(name))));
        abortAll();
    }

    boolean isOver() {
        return stopping || late;
    }

    /** The failure of S3 or of a check, if that is what ended a fetch. */
    static Throwable cause(Throwable e) {
        for (var cause = e; cause != null; cause = cause.getCause()) if (cause instanceof SdkException || cause instanceof Failure) return cause;
        return e;
    }

    Outcome save(RepositoryMetadata repository, JsonNode last, long start) throws Exception {
        var target = new StreamingRepository();
        try (var transport = transport(repository.cloneUrlHttp(), target); var connection = transport.openFetch()) {
            var time = clock.instant();
            var now = manifest(repository, connection, time);
            var point = JSON.createObjectNode().put("id", repository.repositoryId()).put("refs", digest(now));
            var same = last != null && last.get("id").equals(point.get("id"));
            var renewed = same && due(last, "full", fullEvery, time);
            var unchanged = same && !renewed && last.get("refs").equals(point.get("refs"));
            if (unchanged && !due(last, "settingsRead", settingsEvery, time)) return outcome("unchanged", last, now, start);

            // A chain is continued unless it is another repository's, old, long, damaged or empty.
            var previous = same ? read(last.get("manifest").asText()) : JSON.createObjectNode();
            var base = renewed || !complete(previous) ? JSON.createObjectNode() : previous;
            var wanted = wanted(connection, base.path("refs"));
            if (!wanted.isEmpty() && (base.path("refs").isEmpty() || isLong(base.path("chain")))) {
                base = JSON.createObjectNode();
                wanted = wanted(connection, base);
            }
            var chain = now.putArray("chain");
            base.path("chain").forEach(chain::add);
            var stem = folder(repository.repositoryName()) + newName(time);
            if (!wanted.isEmpty()) target.fetch(connection, wanted, base.path("refs"), now, stem, chain.isEmpty() ? "full" : "incr").ifPresent(chain::add);
            var errors = readSettings(repository, previous, now, stem, base.isEmpty());
            if (errors.isEmpty()) point.put("settingsRead", time.toString()); // else the next run reads them again
            point.put("full", base.isEmpty() ? time.toString() : last.get("full").asText());
            var sameRefs = unchanged && !base.isEmpty();
            var outcome = sameRefs && isTheSame(previous, now) ? outcome("unchanged", point.put("manifest", last.get("manifest").asText()), now, start)
                    : write(now, stem, point, sameRefs, start);
            if (now.has("gitLfs")) outcome.shown.set("gitLfs", now.get("gitLfs"));
            if (!errors.isEmpty()) outcome.shown.put("error", String.join("; ", errors));
            return outcome;
        }
    }

    /** Makes a restore point, now that all is there that it names. */
    Outcome write(ObjectNode now, String stem, ObjectNode point, boolean sameRefs, long start) throws IOException {
        var made = objects(now).filter(object -> object.get("key").asText().startsWith(stem)).toList();
        var bytes = made.stream().mapToLong(object -> object.get("size").asLong()).sum() + put(stem + MANIFEST, now).get("size").asLong();
        var outcome = outcome(dryRun ? "would-create" : "created", point.put("manifest", stem + MANIFEST), now, start);
        outcome.shown.put("kind", made.stream().filter(object -> object.has("kind")).map(object -> object.get("kind").asText()).findFirst()
                .orElse(sameRefs ? "settings" : "refs")).put("bytes", bytes);
        if (!dryRun) made.forEach(object -> outcome.shown.withArray("keys").add(object.get("key")));
        if (!dryRun) outcome.shown.withArray("keys").add(stem + MANIFEST);
        return outcome;
    }

    /** What a restore point needs: bundles and pull requests. */
    static Stream<JsonNode> objects(JsonNode manifest) {
        return Stream.concat(manifest.path("chain").valueStream(), manifest.path("pullRequests").valueStream());
    }

    /** Whether two restore points differ in nothing but their time. */
    static boolean isTheSame(JsonNode one, JsonNode other) {
        return Stream.of("head", "refs", "chain", "settings", "gitLfs", "pullRequests").allMatch(part -> one.path(part).equals(other.path(part)));
    }

    /** What is advertised and not saved; one ref for each id. */
    static List<Ref> wanted(FetchConnection connection, JsonNode saved) {
        var ids = saved.valueStream().map(JsonNode::asText).collect(Collectors.toCollection(HashSet::new));
        return connection.getRefs().stream().filter(ref -> ids.add(ref.getObjectId().name())).toList();
    }

    /** Whether something was last done too long ago: a share of the time less that depends on the repository, lest all are due on one night. */
    static boolean due(JsonNode last, String what, String every, Instant now) {
        var most = duration(every).toMillis();
        var less = Math.floorMod(last.path("id").asText().hashCode(), 1000) * most / 3000;
        return !last.has(what) || !Instant.parse(last.get(what).asText()).plusMillis(most - less).isAfter(now);
    }

    /** Whether restoring a chain has become more work than a new full bundle is worth. */
    static boolean isLong(JsonNode chain) {
        var increments = chain.valueStream().skip(1).mapToLong(bundle -> bundle.get("size").asLong());
        return chain.size() > MOST_INCREMENTS || increments.sum() > chain.at("/0/size").asLong() / 2;
    }

    /** @param point the newest restore point, as run records have it: repository id, key of the manifest, digest, and when what was last done */
    Outcome outcome(String status, JsonNode point, JsonNode manifest, long start) {
        var recorded = recorded(status.equals("unchanged") ? status : "saved", point).put("lastSuccess", begin.toString());
        return new Outcome(shown(status, start).put("refs", manifest.get("refs").size()), recorded);
    }

    ObjectNode shown(String status, long start) {
        return JSON.createObjectNode().put("status", status).put("kind", (String) null).put("refs", 0).put("bytes", 0L).put("seconds", seconds(start));
    }

    static ObjectNode recorded(String outcome, JsonNode point) {
        var recorded = point == null ? JSON.createObjectNode() : point.<ObjectNode>deepCopy();
        return recorded.put("outcome", outcome);
    }

    Outcome failed(JsonNode last, Throwable e, long start) {
        if (verbose) e.printStackTrace(spec.commandLine().getErr());
        var denied = reason(e).contains(" not permitted on "); // JGit's words for HTTP 403
        return new Outcome(shown("failed", start).put("error", reason(e) + (denied
                ? "; it takes codecommit:GitPull, the use of the repository's key, valid credentials and a right clock" : "")), recorded("failed", last));
    }

    static String newName(Instant time) {
        return TIME.format(time) + "-" + HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextInt());
    }

    /** Of what every run learns of a repository without calls of its own: its refs, and of its settings those that come with its clone URL. */
    static String digest(JsonNode manifest) {
        var digest = sha("SHA-256");
        Consumer<String> line = text -> digest.update((text + "\n").getBytes(StandardCharsets.UTF_8));
        line.accept("HEAD " + manifest.get("head").asText());
        manifest.get("refs").properties().forEach(ref -> line.accept(ref.getValue().asText() + " " + ref.getKey()));
        line.accept("key " + manifest.at("/settings/kmsKeyId").asText());
        line.accept("description " + manifest.at("/settings/repositoryDescription").asText());
        return hex(digest.digest());
    }

    /** Whether what a restore point needs is all there, as long as it was; it lies close together, mostly on one page. */
    boolean complete(JsonNode manifest) {
        if (objects(manifest).findAny().isEmpty()) return true;
        var keys = objects(manifest).map(object -> object.get("key").asText()).sorted().toList();
        var first = keys.get(0);
        var last = keys.get(keys.size() - 1);
        var folder = first.substring(0, first.lastIndexOf('/') + 1);
        var there = s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(folder).startAfter(first.substring(0, first.length() - 1))).contents().stream()
                .takeWhile(object -> object.key().compareTo(last) <= 0).collect(Collectors.toMap(S3Object::key, S3Object::size));
        return objects(manifest).allMatch(object -> there.getOrDefault(object.get("key").asText(), -1L) == object.get("size").asLong());
    }

    /** A restore point but for its chain, and of the settings what is known already. */
    ObjectNode manifest(RepositoryMetadata repository, FetchConnection connection, Instant time) {
        var manifest = document(repository, time);
        var detached = connection.getRef("HEAD");
        manifest.put("objectFormat", "sha1").put("head", repository.defaultBranch() != null ? "refs/heads/" + repository.defaultBranch()
                : detached != null ? detached.getObjectId().name() : null);
        var refs = manifest.putObject("refs");
        var peeled = manifest.putObject("peeled");
        for (var ref : new TreeMap<>(connection.getRefsMap()).values()) {
            if (!ref.getName().startsWith("refs/")) continue;
            refs.put(ref.getName(), ref.getObjectId().name());
            if (ref.getPeeledObjectId() != null) peeled.put(ref.getName(), ref.getPeeledObjectId().name());
        }
        manifest.putObject("settings").put("repositoryDescription", Objects.requireNonNullElse(repository.repositoryDescription(), ""))
                .put("defaultBranch", repository.defaultBranch()).put("kmsKeyId", repository.kmsKeyId());
        return manifest;
    }

    /** What manifests and pull requests begin with. */
    static ObjectNode document(RepositoryMetadata repository, Instant time) {
        var document = JSON.createObjectNode().put("format", FORMAT).put("tool", TOOL).put("time", time.toString());
        document.putObject("repository").put("repositoryId", repository.repositoryId()).put("repositoryName", repository.repositoryName())
                .put("arn", repository.arn());
        return document;
    }

    // 3. What a repository is besides Git

    /**
     * Adds settings and pull requests to a restore point. What cannot be read stays as the one before has it, and is told; it is no reason not to
     * save the commits.
     */
    List<String> readSettings(RepositoryMetadata repository, JsonNode previous, ObjectNode now, String stem, boolean newChain) {
        var errors = new ArrayList<String>();
        var name = repository.repositoryName();
        var settings = (ObjectNode) now.get("settings");
        part("settings", errors, () -> {
            settings.set("tags", tags(repository.arn()));
            settings.set("triggers", described(codecommit.getRepositoryTriggers(r -> r.repositoryName(name)).triggers()));
            var names = codecommit.listAssociatedApprovalRuleTemplatesForRepositoryPaginator(r -> r.repositoryName(name)).stream()
                    .flatMap(page -> page.approvalRuleTemplateNames().stream()).sorted().toList();
            settings.set("approvalRuleTemplates", JSON.valueToTree(names.stream().map(each -> templates.computeIfAbsent(each, this::template)).toList()));
        });
        if (!errors.isEmpty()) previous.path("settings").properties().forEach(each -> settings.putIfAbsent(each.getKey(), each.getValue()));
        part("use of Git LFS", errors, () -> gitLfs(name, now));
        var kept = now.putArray("pullRequests");
        if (!noPullRequests || !newChain) previous.path("pullRequests").forEach(kept::add);
        if (!noPullRequests) part("pull requests", errors, () -> readPullRequests(repository, now, stem, newChain));
        if (kept.isEmpty()) now.remove("pullRequests");
        return errors;
    }

    interface Step {
        void run() throws IOException;
    }

    void part(String what, List<String> errors, Step step) {
        try {
            step.run();
        } catch (IOException | SdkException | Failure | OutOfMemoryError e) {
            if (isOver()) throw new Failure("interrupted", e);
            if (verbose) e.printStackTrace(spec.commandLine().getErr());
            errors.add(what + " not saved: " + reason(e));
        }
    }

    JsonNode tags(String arn) {
        var tags = new TreeMap<String, String>();
        for (String token = null; ; ) {
            var from = token;
            var page = codecommit.listTagsForResource(r -> r.resourceArn(arn).nextToken(from));
            tags.putAll(page.tags());
            if ((token = page.nextToken()) == null) return JSON.valueToTree(tags);
        }
    }

    JsonNode template(String name) {
        var template = codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName(name)).approvalRuleTemplate();
        return JSON.createObjectNode().put("approvalRuleTemplateName", name).put("approvalRuleTemplateDescription", template.approvalRuleTemplateDescription())
                .put("approvalRuleTemplateContent", template.approvalRuleTemplateContent());
    }

    /** Which files are kept in Git LFS, by the patterns of .gitattributes at HEAD: of these the repository has only pointers. */
    void gitLfs(String name, ObjectNode now) {
        var head = now.path("refs").path(now.get("head").asText()).asText(now.get("head").asText());
        if (!ObjectId.isId(head)) return;
        try {
            codecommit.getFile(r -> r.repositoryName(name).commitSpecifier(head).filePath(".gitattributes")).fileContent().asUtf8String().lines()
                    .filter(line -> line.matches("[^#].*\\sfilter=lfs(\\s.*)?")).forEach(line -> now.withArray("gitLfs").add(line.strip().split("\\s")[0]));
        } catch (FileDoesNotExistException e) {
            return;
        }
        if (now.has("gitLfs")) note(name + ": Git LFS is in use (" + now.get("gitLfs").valueStream().map(JsonNode::asText).collect(Collectors.joining(", "))
                + "): these files are not in Git, and so not in the backup");
    }

    /**
     * Writes the pull requests that have changed. The objects of a chain follow each other as its bundles do: of a pull request that is in
     * several, the last one counts. Closed ones are read once, and once more when a new chain begins, in case somebody has added to them.
     */
    void readPullRequests(RepositoryMetadata repository, ObjectNode now, String stem, boolean newChain) throws IOException {
        var objects = (ArrayNode) now.get("pullRequests");
        var saved = new HashMap<String, JsonNode>();
        for (var object : objects) for (var each : read(object.get("key").asText()).path("pullRequests")) saved.put(id(each), each);
        // Objects older than their chain expire before it, also those that stayed because the new ones could not be read.
        var anew = newChain || objects.isEmpty() || objects.at("/0/key").asText().compareTo(now.at("/chain/0/key").asText()) < 0;
        var document = document(repository, Instant.parse(now.get("time").asText()));
        var changed = document.putArray("pullRequests");
        var ids = codecommit.listPullRequestsPaginator(r -> r.repositoryName(repository.repositoryName())).stream()
                .flatMap(page -> page.pullRequestIds().stream()).sorted(Comparator.comparing(Long::valueOf)).toList();
        for (var id : ids) {
            if (isOver()) throw new Failure("interrupted");
            var before = saved.get(id);
            var closed = before != null && before.at("/pullRequest/pullRequestStatus").asText().equals("CLOSED");
            if (closed && !anew) continue;
            var today = pullRequest(id);
            var pullRequest = closed && today.equals(before.get("pullRequest")) ? before : whole(id, today);
            if (anew || !pullRequest.equals(before)) changed.add(pullRequest);
        }
        if (anew) objects.removeAll();
        if (!changed.isEmpty()) objects.add(put(stem + ".pull-requests.json.gz", document));
    }

    static String id(JsonNode pullRequest) {
        return pullRequest.at("/pullRequest/pullRequestId").asText();
    }

    JsonNode pullRequest(String id) {
        return described(codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest());
    }

    /** A pull request with all that belongs to it; read once more if somebody pushed meanwhile, as what was approved goes by the revision. */
    ObjectNode whole(String id, JsonNode pullRequest) {
        try {
            return whole(id, pullRequest, pullRequest.path("revisionId").asText());
        } catch (InvalidRevisionIdException e) {
            var again = pullRequest(id);
            return whole(id, again, again.path("revisionId").asText());
        }
    }

    ObjectNode whole(String id, JsonNode pullRequest, String revision) {
        var whole = JSON.createObjectNode();
        whole.set("pullRequest", pullRequest);
        whole.set("comments", described(codecommit.getCommentsForPullRequestPaginator(r -> r.pullRequestId(id)).stream()
                .flatMap(page -> page.commentsForPullRequestData().stream()).toList()));
        whole.set("approvals", described(codecommit.getPullRequestApprovalStates(r -> r.pullRequestId(id).revisionId(revision)).approvals()));
        whole.set("override", described(codecommit.getPullRequestOverrideState(r -> r.pullRequestId(id).revisionId(revision))));
        whole.set("events", described(codecommit.describePullRequestEventsPaginator(r -> r.pullRequestId(id)).stream()
                .flatMap(page -> page.pullRequestEvents().stream()).toList()));
        return whole;
    }

    /** What CodeCommit answered, with its names for everything. */
    static JsonNode described(Object value) {
        if (value instanceof SdkPojo structure) {
            var node = JSON.createObjectNode();
            for (var field : structure.sdkFields()) {
                var member = field.getValueOrDefault(structure);
                if (member != null && !(member instanceof SdkAutoConstructList<?>) && !(member instanceof SdkAutoConstructMap<?, ?>))
                    node.set(field.locationName(), described(member));
            }
            return node;
        }
        if (value instanceof Collection<?> list) return JSON.createArrayNode().addAll(list.stream().map(BackupToS3::described).toList());
        if (value instanceof Map<?, ?> map) {
            var node = JSON.createObjectNode();
            map.forEach((key, member) -> node.set(key.toString(), described(member)));
            return node;
        }
        if (value instanceof Long number && number == number.intValue()) return IntNode.valueOf(number.intValue()); // as it is read back
        return JSON.valueToTree(value instanceof Instant time ? time.toString() : value);
    }

    // 4. Git

    /** A repository that keeps nothing: JGit speaks the protocol, and the pack goes into a bundle instead of being indexed. */
    class StreamingRepository extends InMemoryRepository {
        private Bundle bundle;
        /** What the server is told that we have, the first one first. */
        private List<ObjectId> haves = List.of();

        StreamingRepository() {
            super(new DfsRepositoryDescription());
        }

        /** @param saved the refs of the restore point that an increment goes behind; gives nothing if it would add no object to them */
        Optional<ObjectNode> fetch(FetchConnection connection, List<Ref> wanted, JsonNode saved, JsonNode now, String stem, String kind) throws Exception {
            try (var to = new Bundle(stem + "." + kind + ".bundle")) {
                bundle = to;
                haves = haves(saved, now.get("refs"));
                to.header(saved, haves, now);
                // With a monitor the server tells of its progress, which keeps the line busy while it counts objects.
                connection.fetch(new EmptyProgressMonitor() {
                    @Override
                    public boolean isCancelled() {
                        return isOver();
                    }
                }, wanted, new LinkedHashSet<>(haves), null);
                if (to.objects == 0 && haves.isEmpty()) throw new Failure("the Git server sent no objects");
                return to.objects == 0 ? Optional.empty() : Optional.of(to.finish(kind));
            }
        }

        /**
         * Gives commits for the ids that the server is told of, without parents, the first one the newest: JGit tells their ids in that order
         * and asks no more of them.
         */
        @Override
        public ObjectReader newObjectReader() {
            return new ObjectReader() {
                @Override
                public ObjectLoader open(AnyObjectId id, int type) throws MissingObjectException {
                    var place = haves.indexOf(id);
                    if (place < 0) throw new MissingObjectException(id.toObjectId(), "object");
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
            };
        }

        @Override
        public ObjectInserter newObjectInserter() {
            var inserter = new DfsInserter(getObjectDatabase()) {
                @Override
                public DfsPackParser newPackParser(InputStream in) {
                    return new DfsPackParser(getObjectDatabase(), this, in) {
                        @Override
                        public PackLock parse(ProgressMonitor receiving, ProgressMonitor resolving) throws IOException {
                            bundle.receive(in);
                            return null;
                        }
                    };
                }
            };
            return inserter;
        }
    }

    /**
     * The ids of a restore point in the order in which the server is told of them. It is content with the first 32 of which it knows enough
     * to begin, so this order decides how much it sends: first what refs were before they moved (a few, because rewritten history may be gone
     * from the server), then what it still advertises, then the rest; of each the main branches, then the highest versions.
     */
    static List<ObjectId> haves(JsonNode saved, JsonNode now) {
        var advertised = now.valueStream().map(JsonNode::asText).collect(Collectors.toSet());
        var names = saved.propertyStream().map(Map.Entry::getKey).sorted(MAIN_THEN_NEWEST).toList();
        var moved = names.stream().filter(name -> now.has(name) && !advertised.contains(saved.get(name).asText())).limit(16);
        var known = names.stream().filter(name -> advertised.contains(saved.get(name).asText()));
        return Stream.of(moved, known, names.stream()).flatMap(all -> all).map(name -> ObjectId.fromString(saved.get(name).asText())).distinct()
                .limit(MOST_HAVES).toList();
    }

    static final List<String> MAIN = List.of("refs/heads/main", "refs/heads/master", "refs/heads/develop", "refs/heads/release");
    static final Comparator<String> MAIN_THEN_NEWEST = Comparator.comparing((String name) -> MAIN.contains(name) ? MAIN.indexOf(name) : MAIN.size())
            .thenComparing(BackupToS3::padded, Comparator.reverseOrder());

    /** With numbers of one length, so that v9 comes before v10. */
    static String padded(String name) {
        return Pattern.compile("\\d+").matcher(name).replaceAll(number -> "0".repeat(Math.max(0, 20 - number.group().length())) + number.group());
    }

    // 5. S3

    /** Part buffers, shared by all jobs: what bounds the memory. A job that finds none waits, and its Git server with it. */
    static class Buffers {
        private final int size;
        private final Semaphore left;
        private final Queue<byte[]> free = new ConcurrentLinkedQueue<>();

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

        void give(byte[] buffer) {
            free.add(buffer);
            left.release();
        }
    }

    /**
     * A bundle on its way to S3: one object if it fits into a buffer, else parts, each uploaded while the next one fills. Without a verified
     * pack there is no object.
     */
    class Bundle implements AutoCloseable {
        private final String key;
        private final CRC32 crc = new CRC32();
        private final MessageDigest sha256 = sha("SHA-256");
        private final MessageDigest pack = sha("SHA-1");
        private final byte[] tail = new byte[20];
        private int held;
        private final List<Future<CompletedPart>> parts = new ArrayList<>();
        private byte[] buffer = buffers.take();
        private int filled;
        private long size;
        private long objects;
        private boolean verified;
        private boolean done;
        private String uploadId;
        private volatile Exception broken;

        Bundle(String key) {
            this.key = key;
        }

        /** Only the refs that changed. HEAD's branch comes last: a plain clone of the bundle takes the last of the branches at HEAD for HEAD. */
        void header(JsonNode saved, List<ObjectId> haves, JsonNode now) {
            var text = new StringBuilder("# v2 git bundle\n");
            // Git takes only commits for prerequisites, which branches are and tags need not be.
            var branches = saved.propertyStream().filter(ref -> ref.getKey().startsWith("refs/heads/")).map(ref -> ref.getValue().asText())
                    .collect(Collectors.toSet());
            haves.stream().map(ObjectId::name).filter(branches::contains).limit(MOST_PREREQUISITES).forEach(id -> text.append('-').append(id).append('\n'));
            var head = now.get("head").asText();
            var last = ObjectId.isId(head) ? head + " refs/HEAD\n" : ""; // by another name git would not fetch it from an increment
            for (var ref : now.get("refs").properties()) {
                if (ref.getValue().equals(saved.get(ref.getKey()))) continue;
                var line = ref.getValue().asText() + " " + ref.getKey() + "\n";
                if (!ref.getKey().equals(head)) text.append(line);
                else last = ref.getValue().asText() + " HEAD\n" + line;
            }
            var bytes = (text + last + "\n").getBytes(StandardCharsets.UTF_8);
            write(bytes, 0, bytes.length);
        }

        /** Takes the whole pack; its last 20 bytes must be the SHA-1 of those before. */
        void receive(InputStream in) throws IOException {
            var bytes = new byte[64 << 10];
            var n = in.readNBytes(bytes, 0, 12);
            if (n < 12 || !new String(bytes, 0, 4, StandardCharsets.US_ASCII).equals("PACK")) throw new IOException("what the Git server sent is not a pack");
            objects = Integer.toUnsignedLong(ByteBuffer.wrap(bytes).getInt(8));
            for (; n > 0; n = in.read(bytes)) {
                if (isOver()) throw new Failure("interrupted");
                write(bytes, 0, n);
                hash(bytes, n);
                received.addAndGet(n);
            }
            if (!hex(tail).equals(hex(pack.digest())))
                throw new IOException("the pack is damaged or cut short: its checksum does not match after " + size + " bytes");
            verified = true;
        }

        private void hash(byte[] bytes, int count) {
            var kept = Math.min(count, tail.length);
            var old = Math.max(0, held + kept - tail.length);
            pack.update(tail, 0, old);
            pack.update(bytes, 0, count - kept);
            System.arraycopy(tail, old, tail, 0, held - old);
            System.arraycopy(bytes, count - kept, tail, held - old, kept);
            held += kept - old;
        }

        private void write(byte[] bytes, int from, int count) {
            sha256.update(bytes, from, count);
            crc.update(bytes, from, count);
            size += count;
            if (dryRun) return; // only how large it is
            for (int n; count > 0; from += n, count -= n) {
                if (filled == buffer.length) {
                    upload();
                    buffer = buffers.take();
                    filled = 0;
                }
                n = Math.min(count, buffer.length - filled);
                System.arraycopy(bytes, from, buffer, filled, n);
                filled += n;
            }
        }

        private void upload() {
            if (broken != null) throw new Failure(reason(broken), broken);
            if (isOver()) throw new Failure("interrupted");
            if (uploadId == null) begin();
            if (parts.size() == mostParts)
                throw new Failure("larger than " + mostParts + " parts of " + (buffer.length >> 10) + " KiB: give Java more memory, such as "
                        + "JAVA_TOOL_OPTIONS=-Xmx16g");
            var number = parts.size() + 1;
            var part = buffer;
            var length = filled;
            buffer = null;
            parts.add(uploads.submit(() -> {
                try {
                    var sum = crc32(part, length);
                    var tag = s3.uploadPart(r -> r.bucket(bucket).key(key).uploadId(uploadId).partNumber(number).checksumCRC32(sum), body(part, length)).eTag();
                    return CompletedPart.builder().partNumber(number).eTag(tag).checksumCRC32(sum).build();
                } catch (Exception e) {
                    broken = e;
                    throw e;
                } finally {
                    buffers.give(part);
                }
            }));
        }

        private void begin() {
            synchronized (open) {
                if (isOver()) throw new Failure("interrupted");
                uploadId = s3.createMultipartUpload(r -> r.bucket(bucket).key(key).checksumAlgorithm(ChecksumAlgorithm.CRC32)
                        .checksumType(ChecksumType.FULL_OBJECT).serverSideEncryption(encryption()).ssekmsKeyId(sseKmsKeyId)
                        .bucketKeyEnabled(bucketKey())).uploadId();
                open.put(key, uploadId);
            }
            if (begun.get(key) > 1) abortAll(key, uploadId); // an answer was lost, and with it the id of another upload
        }

        ObjectNode finish(String kind) throws Exception {
            if (!verified) throw new Failure("interrupted");
            var sum = base64(crc);
            if (uploadId == null) BackupToS3.this.put(key, buffer, filled);
            else {
                upload();
                var completed = new ArrayList<CompletedPart>();
                for (var part : parts) completed.add(part.get());
                BackupToS3.this.write(key, size, sum, () -> s3.completeMultipartUpload(r -> r.bucket(bucket).key(key).uploadId(uploadId)
                        .multipartUpload(m -> m.parts(completed)).ifNoneMatch("*").checksumType(ChecksumType.FULL_OBJECT).checksumCRC32(sum)
                        .mpuObjectSize(size)));
            }
            done = true;
            return JSON.createObjectNode().put("key", key).put("kind", kind).put("size", size).put("sha256", hex(sha256.digest())).put("crc32", sum)
                    .put("pack", hex(tail)).put("objects", objects);
        }

        @Override
        public void close() throws Exception {
            if (buffer != null) buffers.give(buffer);
            if (done) {
                open.remove(key);
                return;
            }
            for (var part : parts) // one that is still on its way would outlive the upload
                try {
                    part.get();
                } catch (java.util.concurrent.ExecutionException e) {
                    // told already
                }
            if (uploadId != null) abort(key, uploadId);
            else if (begun.containsKey(key)) abortAll(key, null);
        }
    }

    static RequestBody body(byte[] bytes, int length) {
        return RequestBody.fromContentProvider(() -> new ByteArrayInputStream(bytes, 0, length), length, "application/octet-stream"); // fromBytes would copy
    }

    ServerSideEncryption encryption() {
        return sseKmsKeyId == null ? null : ServerSideEncryption.AWS_KMS;
    }

    Boolean bucketKey() {
        return sseKmsKeyId == null ? null : true;
    }

    /** Puts a document, gzipped; gives what a manifest says of it. */
    ObjectNode put(String key, JsonNode document) throws IOException {
        var out = new ByteArrayOutputStream();
        try (var gzip = new GZIPOutputStream(out)) {
            JSON.writerWithDefaultPrettyPrinter().writeValue(gzip, document);
        }
        var bytes = out.toByteArray();
        put(key, bytes, bytes.length);
        return JSON.createObjectNode().put("key", key).put("size", bytes.length).put("sha256", hex(sha("SHA-256").digest(bytes)))
                .put("crc32", crc32(bytes, bytes.length));
    }

    void put(String key, byte[] bytes, int length) {
        if (dryRun) return;
        var sum = crc32(bytes, length);
        write(key, length, sum, () -> s3.putObject(r -> r.bucket(bucket).key(key).ifNoneMatch("*").checksumCRC32(sum)
                .serverSideEncryption(encryption()).ssekmsKeyId(sseKmsKeyId).bucketKeyEnabled(bucketKey()), body(bytes, length)));
    }

    /** Makes an object that must not exist. If it does, or the answer got lost, then it is ours if size and checksum are the same. */
    void write(String key, long size, String sum, Runnable call) {
        try {
            call.run();
        } catch (SdkException e) {
            var status = e instanceof S3Exception refused ? refused.statusCode() : 0;
            if (status >= 400 && status < 500 && !Set.of(404, 409, 412).contains(status)) throw e;
            if (status == 409) pause(backOff.toMillis()); // our first attempt is still under way
            HeadObjectResponse head;
            try {
                head = s3.headObject(r -> r.bucket(bucket).key(key).checksumMode(ChecksumMode.ENABLED));
            } catch (SdkException unknown) {
                e.addSuppressed(unknown);
                throw e;
            }
            if (head.contentLength() != size || !sum.equals(head.checksumCRC32()))
                throw new Failure("s3://" + bucket + "/" + key + " exists and is another object", e);
        }
    }

    void abort(String key, String uploadId) {
        open.remove(key);
        try {
            s3.abortMultipartUpload(r -> r.bucket(bucket).key(key).uploadId(uploadId));
        } catch (SdkException e) {
            if (e instanceof S3Exception gone && gone.statusCode() == 404) return;
            note("s3://" + bucket + "/" + key + ": an unfinished upload is left: " + reason(e)
                    + "; end it with: aws s3api abort-multipart-upload --bucket " + bucket + " --key '" + key + "' --upload-id " + uploadId);
        }
    }

    /** Aborts what uploads of a key, which only this run knows, S3 has, but for one. */
    void abortAll(String key, String but) {
        for (var upload : s3.listMultipartUploadsPaginator(r -> r.bucket(bucket).prefix(key)).uploads())
            if (!upload.uploadId().equals(but)) abort(key, upload.uploadId());
        if (but != null) open.put(key, but);
    }

    static String crc32(byte[] bytes, int length) {
        var crc = new CRC32();
        crc.update(bytes, 0, length);
        return base64(crc);
    }

    static String base64(CRC32 crc) {
        return Base64.getEncoder().encodeToString(ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
    }

    // 6. What was done

    /** A line a repository; on a terminal only for what was saved or failed. What was given up at the deadline is told once. */
    synchronized void report(String name, Outcome outcome) {
        if (outcomes.putIfAbsent(name, outcome) != null) return;
        if (terminal) spec.commandLine().getErr().print(CLEAR_LINE);
        var shown = outcome.shown;
        if (shown.hasNonNull("kind"))
            note(name + ": " + outcome.status() + ", " + shown.get("kind").asText() + ", " + shown.get("refs") + " refs, " + shown.get("bytes") + " bytes, "
                    + shown.get("seconds") + " s");
        else if (!terminal && !outcome.status().equals("failed")) note(name + ": " + outcome.status());
        if (shown.has("error")) note(name + ": " + shown.get("error").asText());
    }

    /** On a terminal: how far it is, in a line that the next one replaces. */
    synchronized void progress() {
        var megabytes = received.get() / 1e6;
        var err = spec.commandLine().getErr();
        err.printf(Locale.ROOT, "%s%d/%d repositories, %.1f MB, %.1f MB/s", CLEAR_LINE, outcomes.size(), names.size(), megabytes,
                megabytes / Math.max(1e-3, seconds(started)));
        err.flush();
    }

    /** Records what became of every repository, so that the next run need not ask S3 for each; gives the record's key. */
    String writeRun() throws IOException {
        subject = "run record";
        var time = clock.instant();
        var record = JSON.createObjectNode().put("format", FORMAT).put("tool", TOOL).put("time", time.toString())
                .put("account", identity().account()).put("region", region());
        record.set("selection", JSON.valueToTree(selection));
        var repositories = record.putObject("repositories");
        for (var name : names) if (outcomes.containsKey(name)) repositories.set(name, outcomes.get(name).recorded);
        var key = runs() + newName(time) + ".json.gz";
        put(key, record);
        return key;
    }

    /** On Ctrl-C: no upload stays unfinished, and what is done is recorded. */
    void stop() {
        stopping = true;
        note("interrupted: " + outcomes.size() + " of " + names.size() + " repositories are done");
        abortAll();
        try {
            if (!dryRun && !outcomes.isEmpty()) writeRun();
        } catch (IOException | RuntimeException e) {
            fail(e);
        }
    }

    void abortAll() {
        synchronized (open) {
            Map.copyOf(open).forEach(this::abort);
        }
    }

    int summary(String run) {
        var count = new TreeMap<String, Integer>();
        outcomes.values().forEach(outcome -> count.merge(outcome.status(), 1, Integer::sum));
        var good = outcomes.values().stream().filter(outcome -> !outcome.shown.has("error") && !outcome.status().equals("not-attempted")).count();
        if (!outcomes.isEmpty() && count.getOrDefault("failed", 0) == outcomes.size()) return 1;
        var created = dryRun ? "would-create" : "created";
        var result = result(count.containsKey(created) ? created : "unchanged").put("bucket", bucket).put("prefix", prefix).put("run", run);
        var totals = result.putObject("totals");
        count.forEach(totals::put);
        totals.put("bytes", outcomes.values().stream().mapToLong(outcome -> outcome.shown.get("bytes").asLong()).sum()).put("seconds", seconds(started));
        var repositories = result.putArray("repositories");
        outcomes.forEach((name, outcome) -> repositories.addObject().put("repositoryName", name).setAll(outcome.shown));
        if (!vanished.isEmpty()) result.set("vanished", vanished);
        return finish(result, good < outcomes.size() ? 3 : 0);
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

    // ---- The same in every script that speaks Git: endpoint, sign-in ----

    @Option(names = "--git-endpoint", paramLabel = "HOST", description = "Git host to use, such as a VPC endpoint's name. Default: that of the clone URL.")
    String gitEndpoint;

    void checkGitEndpoint() {
        if (gitEndpoint == null) return;
        check("--git-endpoint", gitEndpoint, "[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+(:\\d{1,5})?",
                "a host name without https:// and path, such as git-codecommit-fips.us-east-1.amazonaws.com");
        var itsRegion = gitEndpoint.replaceAll(".*git-codecommit(?:-fips)?\\.([a-z0-9-]+)\\..*", "$1");
        if (!itsRegion.equals(gitEndpoint) && !itsRegion.equals(region()))
            throw wrong("--git-endpoint '" + gitEndpoint + "': give a host of the Region " + region() + ", or --region " + itsRegion);
    }

    /** A connection to a repository at CodeCommit, good for about 15 minutes. */
    Transport transport(String cloneUrl, Repository local) throws Exception {
        var clone = URI.create(cloneUrl);
        var url = gitEndpoint == null ? clone
                : new URI((gitEndpoint.matches("127\\.0\\.0\\.1(:\\d+)?") ? "http" : "https") + "://" + gitEndpoint + clone.getRawPath());
        // The sign-in goes with every request, so it may go nowhere else: no redirects, no plain http but to this machine.
        if (!url.getScheme().equals("https") && !url.getHost().matches("127\\.0\\.0\\.1|localhost|\\[::1]")) throw new Failure(url + " is not https");
        local.getConfig().setString("http", null, "followRedirects", "false");
        local.getConfig().setString("protocol", null, "version", "0"); // one request for the refs, where version 2 takes two
        var transport = (TransportHttp) Transport.open(local, new URIish(url.toString()));
        var signIn = signIn(credentials().resolveCredentials(), region(), url.getHost(), url.getRawPath(), Instant.now());
        transport.setAdditionalHeaders(Map.of("Authorization", "Basic " + Base64.getEncoder().encodeToString(signIn.getBytes(StandardCharsets.UTF_8))));
        transport.setTagOpt(TagOpt.NO_TAGS);
        transport.setTimeout(gitTimeout);
        return transport;
    }

    /** User and password for Git: a request named GIT, signed as AWS signs requests (Signature Version 4); good for about 15 minutes, for this repository. */
    static String signIn(AwsCredentials credentials, String region, String host, String path, Instant time) throws GeneralSecurityException {
        var stamp = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss").withZone(ZoneOffset.UTC).format(time);
        var scope = stamp.substring(0, 8) + "/" + region + "/codecommit/aws4_request";
        var request = hex(sha("SHA-256").digest(("GIT\n" + path + "\n\nhost:" + host + "\n\nhost\n").getBytes(StandardCharsets.UTF_8)));
        var key = ("AWS4" + credentials.secretAccessKey()).getBytes(StandardCharsets.UTF_8);
        for (var part : scope.split("/")) key = hmac(key, part);
        var token = credentials instanceof AwsSessionCredentials session ? "%" + session.sessionToken() : "";
        return credentials.accessKeyId() + token + ":" + stamp + "Z" + hex(hmac(key, "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + request));
    }

    static byte[] hmac(byte[] key, String text) throws GeneralSecurityException {
        var mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    static MessageDigest sha(String name) {
        try {
            return MessageDigest.getInstance(name);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    // ----

    public static void main(String[] args) {
        System.exit(new BackupToS3().commandLine().execute(args));
    }
}
