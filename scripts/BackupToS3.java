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
//RUNTIME_OPTIONS -XX:+UseSerialGC -XX:-UsePerfData -Djdk.console=java.base -Dsun.net.http.retryPost=false

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
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import java.util.stream.*;
import java.util.zip.*;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.eclipse.jgit.errors.*;
import org.eclipse.jgit.internal.storage.dfs.*;
import org.eclipse.jgit.lib.*;
import org.eclipse.jgit.transport.*;
import picocli.CommandLine;
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.core.sync.RequestBody;
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
 * only after the pack's checksum matched. Under {@code PREFIX/ACCOUNT/REGION/REPOSITORY/} these are bundles and manifests (a manifest is a
 * restore point: all refs, HEAD, and the bundles that have the objects), under {@code PREFIX/ACCOUNT/runs/REGION/} one record a run.
 *
 * <p>A second run asks each repository for its refs, finds them equal to those of the last run record, and writes just its own run record.
 * A repository that has changed since gets an increment: a bundle of what the ones before it lack. From time to time a full bundle begins a
 * new chain. A repository that fails does not stop the others; the next run does it again.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codecommit:ListRepositories (on *), codecommit:BatchGetRepositories, codecommit:GitPull; for repositories under a customer managed
 *     key also the key's six actions of create-kms-key
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

    @Option(names = "--jobs", paramLabel = "N", defaultValue = "4", description = "Repositories at a time. Default: ${DEFAULT-VALUE}.")
    int jobs;

    @Option(names = "--full-every", paramLabel = "TIME", defaultValue = "30d",
            description = "How old full bundles get, such as 30d or 12h; each repository's a share of its own less, up to a third. Default: ${DEFAULT-VALUE}.")
    String fullEvery = "30d";

    @Option(names = "--expected-bucket-owner", paramLabel = "ACCOUNT", description = "Account that the bucket must belong to.")
    String expectedBucketOwner;

    @Option(names = "--sse-kms-key-id", paramLabel = "ARN",
            description = "Encrypts under this KMS key of the bucket's Region, with a bucket key. Default: as the bucket says.")
    String sseKmsKeyId;

    @Option(names = "--dry-run", description = "Only reads, and prints what would change.")
    boolean dryRun;

    /** Of manifests and run records; a reader leaves what has another one. */
    static final int FORMAT = 1;
    static final String TOOL = BackupToS3.class.getAnnotation(Command.class).version()[0];
    static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmssSSS'Z'").withZone(ZoneOffset.UTC);
    /** As many repositories as every version of BatchGetRepositories takes. */
    static final int BATCH = 25;
    /** How many run records are read at the most to find every repository's last state. */
    static final int RUNS_READ = 50;
    /** What takes back the line that a terminal's cursor is in. */
    static final String CLEAR_LINE = "\r\033[K";
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
    /** The repositories to back up. */
    List<String> names = List.of();
    /** By name; also what was asked for and is no repository. */
    final Map<String, Outcome> outcomes = new ConcurrentSkipListMap<>();
    final AtomicLong received = new AtomicLong();
    final long started = System.nanoTime();
    volatile boolean stopping;
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
        s3 = client(S3Client.builder().crossRegionAccessEnabled(true)
                .addPlugin(config -> config.overrideConfiguration(config.overrideConfiguration().copy(o -> o.addExecutionInterceptor(onEveryCall())))));
        buffers = new Buffers(partSize, (int) Math.max(2, Math.min(4L * jobs, Runtime.getRuntime().maxMemory() * 2 / 5 / partSize)));
        names = repositories();
        var known = lastRuns(names);
        var hook = new Thread(this::stop);
        Runtime.getRuntime().addShutdownHook(hook);
        var workers = Executors.newFixedThreadPool(jobs, BackupToS3::daemon);
        var clock = Executors.newSingleThreadScheduledExecutor(BackupToS3::daemon);
        if (terminal) clock.scheduleAtFixedRate(this::progress, 0, 200, TimeUnit.MILLISECONDS);
        try {
            var batches = new ArrayList<Batch>();
            for (var i = 0; i < names.size(); i += BATCH) batches.add(new Batch(names.subList(i, Math.min(i + BATCH, names.size()))));
            var tasks = new ArrayList<Future<?>>();
            for (var batch : batches) for (var name : batch.names) tasks.add(workers.submit(() -> backUp(name, batch, known.get(name))));
            for (var task : tasks) task.get();
        } finally {
            workers.shutdownNow();
            clock.shutdownNow();
            if (terminal) spec.commandLine().getErr().print(CLEAR_LINE);
            if (!stopping) Runtime.getRuntime().removeShutdownHook(hook);
        }
        return summary(dryRun ? null : writeRun());
    }

    void checkOptions() {
        check("--bucket", bucket, "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "a bucket's name, such as my-backups");
        check("--prefix", prefix, "(?!(.*/)?\\.{1,2}(/|$))[\\w!.*'()=-]+(/[\\w!.*'()=-]+)*",
                "letters, digits and !_.*'()=- between single slashes, such as projects/codecommit-backup");
        var right = "names of repositories, with * and ? for any characters, such as 'team-*'";
        for (var glob : repositoryNames) check("--repository-names", glob, "[\\w.*?-]{1,100}", right);
        for (var glob : exclude) check("--exclude", glob, "[\\w.*?-]{1,100}", right);
        check("--jobs", String.valueOf(jobs), "[1-9]|[1-5]\\d|6[0-4]", "1 to 64, such as 4");
        check("--full-every", fullEvery, "[1-9]\\d{0,4}[hd]", "a number and h or d for hours or days, such as 30d");
        if (expectedBucketOwner != null) check("--expected-bucket-owner", expectedBucketOwner, "\\d{12}", "an account id of 12 digits, such as 444455556666");
        if (sseKmsKeyId != null)
            check("--sse-kms-key-id", sseKmsKeyId, "arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:key/[A-Za-z0-9-]+",
                    "the key's whole ARN, such as arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab");
        checkGitEndpoint();
    }

    /** @param text a number and m, h or d */
    static Duration duration(String text) {
        return Duration.parse((text.endsWith("d") ? "P" : "PT") + text);
    }

    /**
     * On every S3 call: whose bucket it must be. On none: the Expect header, which costs a round trip a part and makes the JDK's client
     * drop the message of an error that answers it.
     */
    ExecutionInterceptor onEveryCall() {
        return new ExecutionInterceptor() {
            @Override
            public SdkHttpRequest modifyHttpRequest(Context.ModifyHttpRequest context, ExecutionAttributes call) {
                return context.httpRequest().copy(r -> {
                    r.removeHeader("Expect");
                    if (expectedBucketOwner != null) r.putHeader("x-amz-expected-bucket-owner", expectedBucketOwner);
                });
            }

            @Override
            public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes call) {
                if (context.request() instanceof CreateMultipartUploadRequest create) begun.merge(create.key(), 1, Integer::sum);
            }
        };
    }

    // 1. Which repositories, and what the last runs know of them

    /** The names that are wanted, in order. A pattern that fits nothing is a failure like that of a repository. */
    List<String> repositories() {
        subject = "list of repositories";
        var all = codecommit.listRepositoriesPaginator(r -> { }).repositories().stream().map(RepositoryNameIdPair::repositoryName).sorted().toList();
        subject = "";
        for (var glob : new TreeSet<>(repositoryNames)) {
            if (glob.equals("*") || all.stream().anyMatch(name -> fits(name, List.of(glob)))) continue;
            var unknown = new Failure("no repository of account " + identity().account() + " in " + region() + " has such a name");
            report(glob, failed(null, unknown, System.nanoTime()));
        }
        return all.stream().filter(name -> fits(name, repositoryNames) && !fits(name, exclude)).toList();
    }

    static boolean fits(String name, List<String> globs) {
        return globs.stream().anyMatch(glob -> name.matches(glob.replace(".", "\\.").replace("*", ".*").replace('?', '.')));
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

    /** The last restore point of each repository, from the newest run records. */
    Map<String, JsonNode> lastRuns(List<String> names) throws IOException {
        subject = "s3://" + bucket + "/" + runs();
        var keys = keys(runs() + TIME.format(clock.instant().minus(Duration.ofDays(40))));
        if (keys.isEmpty()) keys = keys(runs());
        var known = new HashMap<String, JsonNode>();
        var missing = new HashSet<>(names);
        for (var i = keys.size() - 1; i >= Math.max(0, keys.size() - RUNS_READ) && !missing.isEmpty(); i--)
            for (var entry : read(keys.get(i)).path("repositories").properties())
                if (entry.getValue().has("manifest") && missing.remove(entry.getKey())) known.put(entry.getKey(), entry.getValue());
        subject = "";
        return known;
    }

    List<String> keys(String after) {
        return s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(runs()).startAfter(after)).contents().stream().map(S3Object::key).toList();
    }

    /** A manifest or run record; an empty document for one that is gone, damaged or of another format, which costs a new full bundle and no more. */
    JsonNode read(String key) throws IOException {
        try (var in = new GZIPInputStream(s3.getObjectAsBytes(r -> r.bucket(bucket).key(key)).asInputStream())) {
            var document = JSON.readTree(in);
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
        for (var attempt = 1; !stopping; attempt++)
            try {
                report(name, save(batch.get(name), last, start));
                return;
            } catch (Exception | OutOfMemoryError e) {
                var cause = cause(e);
                var throttled = cause instanceof TransportException && cause.getMessage().matches("(?s).*: (429|503) .*");
                // A branch may have moved between the advertisement and the fetch, or the line was cut: once more, with a new advertisement.
                if (cause instanceof TransportException && !(cause instanceof NoRemoteRepositoryException) && attempt < (throttled ? 6 : 2)) {
                    if (throttled) pause(ThreadLocalRandom.current().nextLong(backOff.toMillis() << attempt));
                    continue;
                }
                if (!stopping) report(name, failed(last, cause, start));
                return;
            }
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
            var digest = digest(now);
            var count = now.get("refs").size();
            var same = last != null && last.path("id").asText().equals(repository.repositoryId()) && !due(last, time);
            if (same && last.path("refs").asText().equals(digest)) return outcome("unchanged", last, start, count, null, 0, List.of());

            // A chain is continued unless it is another repository's, old, long, damaged or empty.
            var base = same ? read(last.get("manifest").asText()) : JSON.createObjectNode();
            var wanted = wanted(connection, base.path("refs"));
            var chain = now.putArray("chain");
            if (complete(base.path("chain")) && (wanted.isEmpty() || !base.path("refs").isEmpty() && !isLong(base.path("chain"))))
                base.path("chain").forEach(chain::add);
            else {
                base = JSON.createObjectNode();
                wanted = wanted(connection, base);
            }
            var kind = wanted.isEmpty() ? "refs" : chain.isEmpty() ? "full" : "incr";
            if (dryRun) return outcome("would-create", last, start, count, kind, 0, List.of());

            var stem = prefix + "/" + identity().account() + "/" + region() + "/" + repository.repositoryName() + "/" + newName(time);
            var manifest = stem + ".manifest.json.gz";
            var keys = new ArrayList<>(List.of(manifest));
            var bytes = 0L;
            var bundle = wanted.isEmpty() ? null : target.fetch(connection, wanted, base.path("refs"), now, stem, kind);
            if (bundle == null) kind = "refs";
            else {
                chain.add(bundle);
                keys.add(0, bundle.get("key").asText());
                bytes = bundle.get("size").asLong();
            }
            bytes += put(manifest, now);
            var point = JSON.createObjectNode().put("id", repository.repositoryId()).put("manifest", manifest).put("refs", digest)
                    .put("full", base.isEmpty() ? time.toString() : last.get("full").asText());
            return outcome("created", point, start, count, kind, bytes, keys);
        }
    }

    /** What is advertised and not saved; one ref for each id. */
    static List<Ref> wanted(FetchConnection connection, JsonNode saved) {
        var ids = saved.valueStream().map(JsonNode::asText).collect(Collectors.toCollection(HashSet::new));
        return connection.getRefs().stream().filter(ref -> ids.add(ref.getObjectId().name())).toList();
    }

    /** Whether it is time for a new full bundle: at --full-every less a part that depends on the repository, lest all begin anew on one night. */
    boolean due(JsonNode last, Instant now) {
        var every = duration(fullEvery).toMillis();
        var part = Math.floorMod(last.path("id").asText().hashCode(), 1000) * every / 3000;
        return !last.has("full") || !Instant.parse(last.get("full").asText()).plusMillis(every - part).isAfter(now);
    }

    /** Whether restoring a chain has become more work than a new full bundle is worth. */
    static boolean isLong(JsonNode chain) {
        var increments = chain.valueStream().skip(1).mapToLong(bundle -> bundle.get("size").asLong());
        return chain.size() > MOST_INCREMENTS || increments.sum() > chain.at("/0/size").asLong() / 2;
    }

    /** @param point the newest restore point: repository id, manifest, digest of the refs, time of its full bundle; null if there is none */
    Outcome outcome(String status, JsonNode point, long start, int refs, String kind, long bytes, List<String> keys) {
        var shown = JSON.createObjectNode().put("status", status);
        if (kind != null) shown.put("kind", kind);
        shown.put("refs", refs).put("bytes", bytes).put("seconds", seconds(start));
        if (!keys.isEmpty()) shown.set("keys", JSON.valueToTree(keys));
        var recorded = JSON.createObjectNode().put("outcome", status.equals("created") ? "saved" : status);
        if (point != null) List.of("id", "manifest", "refs", "full").forEach(member -> recorded.set(member, point.get(member)));
        return new Outcome(shown, recorded);
    }

    Outcome failed(JsonNode last, Throwable e, long start) {
        if (verbose) e.printStackTrace(spec.commandLine().getErr());
        var outcome = outcome("failed", last, start, 0, null, 0, List.of());
        var denied = reason(e).contains(" not permitted on "); // JGit's words for HTTP 403
        outcome.shown.put("error", reason(e) + (denied
                ? "; it takes codecommit:GitPull, the use of the repository's key, valid credentials and a right clock" : ""));
        return outcome;
    }

    static String newName(Instant time) {
        return TIME.format(time) + "-" + HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextInt());
    }

    /** Of all that a restore point's refs are. */
    static String digest(JsonNode manifest) {
        var digest = sha("SHA-256");
        digest.update(("HEAD " + manifest.get("head").asText() + "\n").getBytes(StandardCharsets.UTF_8));
        manifest.get("refs").properties().forEach(ref -> digest.update((ref.getValue().asText() + " " + ref.getKey() + "\n").getBytes(StandardCharsets.UTF_8)));
        return hex(digest.digest());
    }

    /** Whether a chain's bundles are all there, as long as they were; they lie close together, mostly on one page. */
    boolean complete(JsonNode chain) {
        if (chain.isEmpty()) return true;
        var first = chain.at("/0/key").asText();
        var last = chain.get(chain.size() - 1).get("key").asText();
        var folder = first.substring(0, first.lastIndexOf('/') + 1);
        var there = s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(folder).startAfter(first.substring(0, first.length() - 1))).contents().stream()
                .takeWhile(object -> object.key().compareTo(last) <= 0).collect(Collectors.toMap(S3Object::key, S3Object::size));
        return chain.valueStream().allMatch(bundle -> there.getOrDefault(bundle.get("key").asText(), -1L) == bundle.get("size").asLong());
    }

    /** A restore point but for its chain. */
    ObjectNode manifest(RepositoryMetadata repository, FetchConnection connection, Instant time) {
        var manifest = JSON.createObjectNode().put("format", FORMAT).put("tool", TOOL).put("time", time.toString());
        manifest.putObject("repository").put("repositoryId", repository.repositoryId()).put("repositoryName", repository.repositoryName())
                .put("arn", repository.arn());
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
        return manifest;
    }

    // 3. Git

    /** A repository that keeps nothing: JGit speaks the protocol, and the pack goes into a bundle instead of being indexed. */
    class StreamingRepository extends InMemoryRepository {
        private Bundle bundle;
        /** What the server is told that we have, the first one first. */
        private List<ObjectId> haves = List.of();

        StreamingRepository() {
            super(new DfsRepositoryDescription());
        }

        /** @param saved the refs of the restore point that an increment goes behind; gives null if it would add no object to them */
        ObjectNode fetch(FetchConnection connection, List<Ref> wanted, JsonNode saved, JsonNode now, String stem, String kind) throws Exception {
            try (var to = new Bundle(stem + "." + kind + ".bundle")) {
                bundle = to;
                haves = haves(saved, now.get("refs"));
                to.header(saved, haves, now);
                // With a monitor the server tells of its progress, which keeps the line busy while it counts objects.
                connection.fetch(new EmptyProgressMonitor() {
                    @Override
                    public boolean isCancelled() {
                        return stopping;
                    }
                }, wanted, new LinkedHashSet<>(haves), null);
                if (to.objects == 0 && haves.isEmpty()) throw new Failure("the Git server sent no objects");
                return to.objects == 0 ? null : to.finish(kind);
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
                    var commit = "tree " + Constants.EMPTY_TREE_ID.name() + "\nauthor" + by + "committer" + by + "\n";
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

    // 4. S3

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
            if (stopping) throw new Failure("interrupted");
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
                if (stopping) throw new Failure("interrupted");
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

    /** Puts a document, gzipped; gives its size. */
    int put(String key, JsonNode document) throws IOException {
        var bytes = new ByteArrayOutputStream();
        try (var out = new GZIPOutputStream(bytes)) {
            JSON.writerWithDefaultPrettyPrinter().writeValue(out, document);
        }
        put(key, bytes.toByteArray(), bytes.size());
        return bytes.size();
    }

    void put(String key, byte[] bytes, int length) {
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

    static Thread daemon(Runnable task) {
        var thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    }

    // 5. What was done

    double seconds(long start) {
        return Math.round((System.nanoTime() - start) / 1e7) / 100.0;
    }

    /** A line a repository; on a terminal only for what was saved or failed. */
    synchronized void report(String name, Outcome outcome) {
        outcomes.put(name, outcome);
        if (terminal) spec.commandLine().getErr().print(CLEAR_LINE);
        var shown = outcome.shown;
        var details = shown.get("refs") + " refs, " + shown.get("bytes") + " bytes, " + shown.get("seconds") + " s";
        if (shown.has("error")) note(name + ": " + shown.get("error").asText());
        else if (shown.has("kind")) note(name + ": " + outcome.status() + ", " + shown.get("kind").asText() + ", " + details);
        else if (!terminal) note(name + ": " + outcome.status());
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
        synchronized (open) {
            Map.copyOf(open).forEach(this::abort);
        }
        try {
            if (!dryRun && !outcomes.isEmpty()) writeRun();
        } catch (IOException | RuntimeException e) {
            fail(e);
        }
    }

    int summary(String run) {
        var count = new TreeMap<String, Integer>();
        outcomes.values().forEach(outcome -> count.merge(outcome.status(), 1, Integer::sum));
        int failures = count.getOrDefault("failed", 0);
        if (failures > 0 && failures == outcomes.size()) return 1;
        var created = dryRun ? "would-create" : "created";
        var result = result(count.containsKey(created) ? created : "unchanged").put("bucket", bucket).put("prefix", prefix).put("run", run);
        var totals = result.putObject("totals");
        count.forEach(totals::put);
        totals.put("bytes", outcomes.values().stream().mapToLong(outcome -> outcome.shown.get("bytes").asLong()).sum()).put("seconds", seconds(started));
        var repositories = result.putArray("repositories");
        outcomes.forEach((name, outcome) -> repositories.addObject().put("repositoryName", name).setAll(outcome.shown));
        return finish(result, failures > 0 ? 3 : 0);
    }

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
