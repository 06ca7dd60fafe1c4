///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Lists backups of CodeCommit repositories, and restores one into a bare Git directory or a CodeCommit repository.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:kms
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
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.time.*;
import java.time.format.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import java.util.zip.GZIPInputStream;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.xml.stream.XMLStreamException;
import org.eclipse.jgit.errors.*;
import org.eclipse.jgit.internal.storage.dfs.*;
import org.eclipse.jgit.internal.storage.pack.PackWriter;
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
import software.amazon.awssdk.core.ResponseInputStream;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.http.SdkHttpRequest;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleTemplateDoesNotExistException;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleTemplateNameAlreadyExistsException;
import software.amazon.awssdk.services.codecommit.model.RepositoryDoesNotExistException;
import software.amazon.awssdk.services.codecommit.model.RepositoryMetadata;
import software.amazon.awssdk.services.codecommit.model.RepositoryNameExistsException;
import software.amazon.awssdk.services.codecommit.model.RepositoryTrigger;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.KeyManagerType;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.kms.model.KeySpec;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUsageType;
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * Restores what backup-to-s3 saved, ref by ref as a manifest has it: into a bare Git directory, into a CodeCommit repository, or both; and
 * lists what there is. A restore point is a manifest: all refs, HEAD, settings, and the chain of bundles that has the objects. Git indexes
 * the bundles when it is on the PATH, which is three times faster, else JGit does; the result is the same.
 *
 * <p>What comes from S3 counts only if its SHA-256 is the manifest's. A restore point with a missing or damaged bundle is refused, and the
 * newest one before it that is whole is named. On its way the data lies in a temporary directory, in {@code --directory} or else in the
 * system's; the room for it is checked first, and it is always removed. A directory is a repository only when all is in it.
 *
 * <p>Changes in AWS, with {@code --to-repository-name}: creates the repository, pushes branches and tags, sets its default branch,
 * description and tags, associates its approval rule templates (made if they are missing) and adds its triggers, last. A repository with
 * any ref that is not the restore point's is refused. Nothing is deleted, and the key of an existing repository stays. CodeCommit cuts long
 * pushes and refuses those of more than 4,000 refs: a push has at most 3,000 refs, and its pack at most 32 MiB if one commit on the way along
 * first parents, with what it merged, is not larger. For that a ref may stand at an older commit of its own history for a while; the
 * tag codecommit-toolkit:restoring on the repository says so, and goes when all refs are right. What CodeCommit does not take (refs that
 * are no branches or tags, a HEAD that is no branch, triggers of another Region) is named under leftOut, with exit code 3.
 *
 * <p>A second run with the same arguments changes nothing; after an interruption it goes on with the refs that are missing.
 *
 * <p>IAM actions:
 * <ul>
 * <li>s3:ListBucket, s3:GetObject on the bucket, and kms:Decrypt on the key of its objects: all that listing and --directory need
 * <li>codecommit:GetRepository, codecommit:GitPull, codecommit:GitPush, codecommit:CreateRepository, codecommit:UpdateDefaultBranch,
 * codecommit:UpdateRepositoryDescription, codecommit:ListTagsForResource, codecommit:TagResource, codecommit:UntagResource,
 * codecommit:ListAssociatedApprovalRuleTemplatesForRepository, codecommit:AssociateApprovalRuleTemplateWithRepository,
 * codecommit:GetApprovalRuleTemplate and codecommit:CreateApprovalRuleTemplate (these two on *), codecommit:GetRepositoryTriggers,
 * codecommit:PutRepositoryTriggers for --to-repository-name
 * <li>kms:DescribeKey, kms:Encrypt, kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKey, kms:GenerateDataKeyWithoutPlaintext on the
 * repository's key
 * </ul>
 */
@Command(name = "restore-from-s3", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Lists backups of CodeCommit repositories, and restores one into a bare Git directory or a CodeCommit repository.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "3:partly done: what CodeCommit did not take is named, all else is restored",
                "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  restore-from-s3 --bucket my-backups --repository-name payments --list",
                "  restore-from-s3 --bucket my-backups --repository-name payments \\", "      --at 2026-11-21 --directory payments.git"})
class RestoreFromS3 implements Callable<Integer> {
    @Option(names = "--bucket", required = true, paramLabel = "NAME", description = "The bucket for the backups, in any Region and account.")
    String bucket;

    @Option(names = "--prefix", paramLabel = "PREFIX", defaultValue = "projects/codecommit-backup",
            description = "What the objects' keys begin with. Default: ${DEFAULT-VALUE}.")
    String prefix;

    @Option(names = "--expected-bucket-owner", paramLabel = "ACCOUNT", description = "Account that the bucket must belong to.")
    String expectedBucketOwner;

    @Option(names = "--backup-account", paramLabel = "ACCOUNT", description = "Account whose repositories were backed up. Default: your own.")
    String backupAccount;

    @Option(names = "--backup-region", paramLabel = "REGION", description = "Region of the repositories that were backed up. Default: that of --region.")
    String backupRegion;

    @Option(names = "--repository-name", paramLabel = "NAME", description = "The repository that was backed up.")
    String repositoryName;

    @Option(names = "--list", description = "Only lists restore points: of one repository or all, or with --at the one of each that would be restored.")
    boolean list;

    @Option(names = "--at", paramLabel = "TIME", description = "Takes the newest restore point not after this instant (2026-11-21T04:00:00Z) "
            + "or the end of this day in UTC (2026-11-21). Default: the newest.")
    String at;

    @Option(names = "--manifest", paramLabel = "KEY", description = "Takes this restore point: a manifest's key, as --list shows it.")
    String manifest;

    @Option(names = "--directory", paramLabel = "DIR", description = "Restores into this bare Git repository, a directory that does not exist yet or is empty.")
    String directory;

    @Option(names = "--to-repository-name", paramLabel = "NAME",
            description = "Restores into this CodeCommit repository, which is created or has no other refs.")
    String toRepositoryName;

    @Option(names = "--kms-key-id", paramLabel = "KEY", description = "The key: its id, ARN, alias (alias/NAME) or alias ARN.")
    String kmsKeyId;

    @Option(names = "--pull-requests", paramLabel = "FILE", description = "Writes the restore point's pull requests to this file, as JSON.")
    String pullRequests;

    static final String AGAIN = "the same command again does the rest";
    static final String KEY = ".+/\\d{8}T\\d{9}Z-[^/]+\\.manifest\\.json\\.gz";
    /** On a repository in the making: which restore point its unfinished refs are on the way to. */
    static final String MARK = "codecommit-toolkit:restoring";
    /** Per push; CodeCommit takes 4,000. */
    int mostRefs = 3_000;
    /** Per push; CodeCommit says only that long ones are cut. */
    long mostBytes = 32 << 20;
    /** How long, in seconds, a Git server may be silent: it answers a push when it has indexed the pack. */
    int gitTimeout = 300;
    /** What the waits between attempts grow from. */
    Duration backOff = Duration.ofSeconds(1);
    String git = "git";

    S3Client s3;
    CodeCommitClient codecommit;
    final ArrayNode leftOut = JSON.createArrayNode();
    /** What is wrong with a bundle, by its key; "" for nothing. */
    final Map<String, String> problems = new ConcurrentHashMap<>();
    /** What is removed at the end, whatever happens. */
    Path temporary;
    boolean madeDirectory;
    volatile Process running;
    volatile boolean stopping;

    /** A manifest. */
    record Point(String key, JsonNode manifest, SortedMap<String, ObjectId> refs) {
        JsonNode chain() {
            return manifest.path("chain");
        }

        long sum(String member) {
            return chain().valueStream().mapToLong(bundle -> bundle.path(member).asLong()).sum();
        }

        /** A branch, a commit id, or null. */
        String head() {
            return manifest.path("head").textValue();
        }

        JsonNode settings() {
            return manifest.path("settings");
        }

        /** The name of the manifest without its ending: time and a random part. */
        String name() {
            return key.substring(key.lastIndexOf('/') + 1).replace(MANIFEST, "");
        }

        /** What CodeCommit takes. */
        SortedMap<String, ObjectId> branchesAndTags() {
            var some = new TreeMap<>(refs);
            some.keySet().removeIf(ref -> !ref.matches("(?s)refs/(heads|tags)/.*"));
            return some;
        }
    }

    /** A restore point that cannot be used, and why. */
    static class Finding extends Failure {
        Finding(String message, Throwable cause) {
            super(message, cause);
        }
    }

    @Override
    public Integer call() throws Exception {
        checkOptions();
        s3 = s3();
        if (list) return list();
        subject = repositoryName == null ? "" : repositoryName;
        var key = manifest != null ? manifest : newest();
        var hook = new Thread(this::stop);
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            return restore(point(key));
        } catch (Finding e) {
            throw new Failure(e.getMessage() + "; " + wholeBefore(key), e);
        } finally {
            removeTemporary();
            if (!stopping) Runtime.getRuntime().removeShutdownHook(hook);
        }
    }

    void checkOptions() {
        checkBucket();
        if (backupAccount != null) check("--backup-account", backupAccount, "\\d{12}", "an account id of 12 digits, such as 444455556666");
        if (backupRegion != null) check("--backup-region", backupRegion, "[a-z]{2,4}(-[a-z]+)+-\\d{1,2}", "a Region such as eu-west-1");
        var names = "(?!.*\\.git$)[\\w.-]{1,100}";
        var right = "up to 100 letters, digits and . _ -, not ending with .git, such as payments";
        if (repositoryName != null) check("--repository-name", repositoryName, names, right);
        if (toRepositoryName != null) check("--to-repository-name", toRepositoryName, names, right);
        if (at != null) instant(at);
        if (manifest != null) check("--manifest", manifest, KEY, "a key as --list shows it, without s3://BUCKET/, ending with " + MANIFEST);
        if (manifest != null && (at != null || repositoryName != null || backupAccount != null || backupRegion != null))
            throw wrong("--manifest: give it without --at, --repository-name, --backup-account and --backup-region; the key says all that");
        if (list && (manifest != null || directory != null || toRepositoryName != null || pullRequests != null))
            throw wrong("--list: give it without --manifest, --directory, --to-repository-name and --pull-requests");
        if (!list && repositoryName == null && manifest == null)
            throw wrong("which repository? give --repository-name, such as --repository-name payments, --manifest, or --list to see what there is");
        if (!list && directory == null && toRepositoryName == null)
            throw wrong("where to? give --directory, such as --directory payments.git, or --to-repository-name, or --list");
        if (toRepositoryName == null && (kmsKeyId != null || gitEndpoint != null))
            throw wrong((kmsKeyId != null ? "--kms-key-id" : "--git-endpoint") + ": give it with --to-repository-name");
        var arn = "arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:";
        var keys = "(" + arn + "key/)?(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})|(" + arn + ")?alias/[a-zA-Z0-9/_-]{1,250}";
        if (kmsKeyId != null) check("--kms-key-id", kmsKeyId, keys, "the id, ARN or alias of a key, such as alias/codecommit");
        if (directory != null) checkDirectory();
        if (pullRequests != null && (Files.isDirectory(path(pullRequests)) || !Files.isDirectory(path(pullRequests).getParent())))
            throw wrong("--pull-requests '" + pullRequests + "': give a file in a directory that exists, such as pull-requests.json");
        if (kmsKeyId != null && kmsKeyId.startsWith("arn:") && !kmsKeyId.split(":")[3].equals(region()))
            throw wrong("--kms-key-id '" + kmsKeyId + "': give a key of the repository's Region, " + region() + ", or --region " + kmsKeyId.split(":")[3]);
        checkGitEndpoint();
    }

    void checkDirectory() {
        var wrong = wrong("--directory '" + directory + "': give a directory that does not exist yet or is empty, in one that exists, such as payments.git");
        var target = path(directory);
        if (Files.exists(target) ? !Files.isDirectory(target) : !Files.isDirectory(target.getParent())) throw wrong;
        var there = entries(target);
        var left = there.stream().filter(name -> name.startsWith(".restoring-")).findFirst();
        if (left.isPresent())
            throw wrong("--directory '" + directory + "': a killed restore has left " + left.get() + " there, or one is under way: remove it if none is");
        if (!there.isEmpty() && !there.contains("HEAD")) throw wrong;
    }

    Path path(String text) {
        try {
            return Path.of(text).toAbsolutePath().normalize();
        } catch (InvalidPathException e) {
            throw wrong("'" + text.replace("\0", "\\0") + "' is not a path: give one such as payments.git");
        }
    }

    /** The names in a directory; none if it does not exist. */
    static List<String> entries(Path directory) {
        try (var files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).toList();
        } catch (NoSuchFileException e) {
            return List.of();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A day means its end. */
    Instant instant(String text) {
        try {
            if (text.matches("\\d{4}-\\d\\d-\\d\\d")) return LocalDate.parse(text).plusDays(1).atStartOfDay(ZoneOffset.UTC).toInstant().minusMillis(1);
            return OffsetDateTime.parse(text).toInstant();
        } catch (DateTimeParseException e) {
            throw wrong("--at '" + text + "': give an instant such as 2026-11-21T04:00:00Z, or a day such as 2026-11-21");
        }
    }

    // 1. Restore points

    /** The folder of the repository, or of all. */
    String root() {
        return prefix + "/" + (backupAccount != null ? backupAccount : identity().account()) + "/" + (backupRegion != null ? backupRegion : region()) + "/"
                + (repositoryName == null ? "" : repositoryName + "/");
    }

    /** The keys of manifests below a folder, repository by repository, the oldest first. */
    List<String> manifests(String folder) {
        return s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(folder)).contents().stream().map(S3Object::key).filter(key -> key.matches(KEY)).toList();
    }

    /** The keys of the restore points that --repository-name and --at mean. */
    List<String> wanted() {
        var last = at == null ? null : TIME.format(instant(at));
        return manifests(root()).stream().filter(key -> last == null || time(key).compareTo(last) <= 0).toList();
    }

    static String time(String key) {
        return key.substring(key.lastIndexOf('/') + 1).substring(0, 19);
    }

    static String folder(String key) {
        return key.substring(0, key.lastIndexOf('/') + 1);
    }

    String newest() {
        var keys = wanted();
        if (!keys.isEmpty()) return keys.get(keys.size() - 1);
        var all = at == null ? List.<String>of() : manifests(root());
        if (all.isEmpty()) throw none();
        throw new Failure("no restore point below " + uri(root()) + " is that old: the oldest is of " + TIME.parse(time(all.get(0)), Instant::from));
    }

    Failure none() {
        return new Failure("no restore point" + (at == null ? "" : " not after " + at) + " below " + uri(root())
                + "; see --list, --prefix, --backup-account and --backup-region");
    }

    int list() throws Exception {
        var byRepository = wanted().stream().collect(Collectors.groupingBy(RestoreFromS3::folder, TreeMap::new, Collectors.toList()));
        if (byRepository.isEmpty()) throw none();
        var readers = Executors.newFixedThreadPool(8);
        var result = result("unchanged").put("bucket", bucket).put("prefix", prefix);
        var repositories = result.putArray("repositories");
        var unreadable = 0;
        try {
            for (var folder : byRepository.entrySet()) {
                var keys = folder.getValue();
                var read = new ArrayList<Future<ObjectNode>>();
                for (var key : at == null ? keys : keys.subList(keys.size() - 1, keys.size())) read.add(readers.submit(() -> shown(key)));
                var points = repositories.addObject().put("repositoryName", folder.getKey().replaceFirst(".*/(.*)/", "$1")).putArray("restorePoints");
                for (var each : read) points.add(each.get());
                for (var point : points) if (point.has("error")) unreadable++;
            }
        } catch (java.util.concurrent.ExecutionException e) {
            throw e.getCause() instanceof Exception cause ? cause : e;
        } finally {
            readers.shutdownNow();
        }
        return finish(result, unreadable > 0 ? 3 : 0);
    }

    ObjectNode shown(String key) throws IOException {
        try {
            return describe(point(key));
        } catch (Finding e) {
            note(e.getMessage());
            return JSON.createObjectNode().put("manifest", key).put("time", TIME.parse(time(key), Instant::from).toString()).put("error", e.getMessage());
        }
    }

    static ObjectNode describe(Point point) {
        var node = JSON.createObjectNode().put("manifest", point.key()).put("time", point.manifest().path("time").asText());
        node.put("repositoryId", point.manifest().at("/repository/repositoryId").asText()).put("head", point.head());
        node.put("refs", point.refs().size()).put("size", point.sum("size"));
        var kinds = node.putArray("kinds");
        point.chain().forEach(bundle -> kinds.add(bundle.path("kind")));
        return node.put("settings", point.settings().isObject()).put("pullRequests", !point.manifest().path("pullRequests").isEmpty());
    }

    Point point(String key) throws IOException {
        var document = document(key, "");
        var ids = document.path("objectFormat").asText("sha1");
        if (!ids.equals("sha1")) throw new Finding(uri(key) + " is of a repository with " + ids + " ids, which this release cannot restore", null);
        var refs = new TreeMap<String, ObjectId>(RestoreFromS3::byBytes);
        for (var ref : document.path("refs").properties()) {
            if (!ref.getKey().startsWith("refs/") || !Repository.isValidRefName(ref.getKey()) || !ObjectId.isId(ref.getValue().asText()))
                throw new Finding(uri(key) + " is damaged: the ref " + ref, null);
            refs.put(ref.getKey(), ObjectId.fromString(ref.getValue().asText()));
        }
        for (var bundle : document.path("chain"))
            if (!bundle.hasNonNull("key") || !bundle.path("size").isIntegralNumber() || !bundle.hasNonNull("sha256"))
                throw new Finding(uri(key) + " is damaged: the bundle " + bundle, null);
        return new Point(key, document, refs);
    }

    /** Refs are sorted by the bytes of their names in Git. */
    static int byBytes(String one, String other) {
        return Arrays.compareUnsigned(one.getBytes(StandardCharsets.UTF_8), other.getBytes(StandardCharsets.UTF_8));
    }

    String uri(String key) {
        return "s3://" + bucket + "/" + key;
    }

    /** A gzipped JSON document of this format. Read twice if it is damaged: that may have happened on the way. */
    JsonNode document(String key, String sha256) throws IOException {
        for (var attempt = 1; ; attempt++)
            try {
                var bytes = s3.getObjectAsBytes(r -> r.bucket(bucket).key(key)).asByteArrayUnsafe();
                if (!sha256.isEmpty() && !hex(sha("SHA-256").digest(bytes)).equals(sha256)) throw new IOException("its SHA-256 is not that of the manifest");
                var document = json(new ByteArrayInputStream(bytes));
                if (document.path("format").asInt() == FORMAT) return document;
                throw new Finding(uri(key) + " has format " + document.path("format") + " and this release reads format " + FORMAT, null);
            } catch (NoSuchKeyException e) {
                throw new Finding(uri(key) + " is missing", e);
            } catch (IOException | SdkClientException e) {
                var damaged = e instanceof IOException || String.valueOf(e.getMessage()).contains("checksum");
                if (attempt == 2) throw damaged ? new Finding(uri(key) + " is damaged: " + reason(e), e) : (SdkClientException) e;
            }
    }

    /** That every bundle is there, by its size and checksum in S3. */
    void checkChain(Point point) {
        for (var bundle : point.chain()) {
            var problem = problems.computeIfAbsent(bundle.get("key").asText(), key -> problem(key, bundle));
            if (!problem.isEmpty()) throw new Finding(uri(bundle.get("key").asText()) + " " + problem, null);
        }
    }

    String problem(String key, JsonNode bundle) {
        try {
            var head = s3.headObject(r -> r.bucket(bucket).key(key).checksumMode(ChecksumMode.ENABLED));
            if (head.contentLength() != bundle.get("size").asLong()) return "has " + head.contentLength() + " bytes and should have " + bundle.get("size");
            var crc = head.checksumCRC32();
            var other = crc != null && !crc.contains("-") && bundle.hasNonNull("crc32") && !crc.equals(bundle.get("crc32").asText());
            return other ? "is another object: its CRC32 is " + crc + " and should be " + bundle.get("crc32").asText() : "";
        } catch (S3Exception e) {
            if (e.statusCode() == 404) return "is missing";
            throw e;
        }
    }

    String wholeBefore(String key) throws IOException {
        var older = new ArrayList<>(manifests(folder(key)));
        older.removeIf(each -> each.compareTo(key) >= 0);
        Collections.reverse(older);
        for (var each : older)
            try {
                checkChain(point(each));
                return "the newest restore point before it that is whole, by sizes and checksums: --manifest " + each;
            } catch (Finding e) {
                // an older one may do
            }
        return "no restore point before it is whole";
    }

    // 2. The steps of a restore

    int restore(Point point) throws Exception {
        checkChain(point);
        identity(); // which the result needs: before anything is made
        ignoreGitConfiguration();
        var file = pullRequests(point);
        Target target = null;
        if (toRepositoryName != null) {
            subject = toRepositoryName;
            target = new Target(point);
        }
        if (directory != null) {
            subject = directory;
            intoDirectory(point);
        }
        if (target != null) {
            subject = toRepositoryName;
            try {
                target.restore();
            } catch (RuntimeException e) {
                throw dryRun || reason(e).contains(AGAIN) ? e : new Failure(reason(e) + "; " + AGAIN, e);
            }
        }
        if (file != null && !dryRun) Files.write(path(pullRequests), file);
        var first = changes.path(0).path("field").asText();
        var done = changes.isEmpty() ? "unchanged" : Set.of("directory", "repository").contains(first) ? "created" : "updated";
        var result = result(status(done));
        if (directory != null) result.put("directory", path(directory).toString());
        if (target != null) result.set("repository", target.describe());
        result.put("refs", target == null ? point.refs().size() : point.branchesAndTags().size()).set("restorePoint", describe(point));
        if (pullRequests != null) result.put("pullRequests", !point.manifest().path("pullRequests").isEmpty() ? path(pullRequests).toString() : null);
        if (!leftOut.isEmpty()) result.set("leftOut", leftOut);
        return finish(withChanges(result), leftOut.isEmpty() ? 0 : 3);
    }

    /** The pull requests, as they are to stand in the file; null if there is nothing to write. */
    byte[] pullRequests(Point point) throws IOException {
        if (pullRequests == null) return null;
        var saved = point.manifest().path("pullRequests");
        if (saved.isEmpty()) {
            note("no pull requests were saved with this restore point: " + pullRequests + " is not written");
            return null;
        }
        // Of a pull request that changed while the chain grew, the last object has what counts.
        var newest = new TreeMap<Long, JsonNode>();
        var whole = JSON.createObjectNode();
        for (var object : saved) {
            whole = (ObjectNode) document(object.path("key").asText(), object.path("sha256").asText());
            for (var each : whole.path("pullRequests")) newest.put(each.at("/pullRequest/pullRequestId").asLong(), each);
        }
        whole.putArray("pullRequests").addAll(newest.values());
        var text = (whole.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8);
        if (!Files.exists(path(pullRequests))) return text;
        if (!Arrays.equals(text, Files.readAllBytes(path(pullRequests)))) throw new Failure(pullRequests + " exists and is something else: give another file");
        return null;
    }

    // 3. A bare repository on disk

    void intoDirectory(Point point) throws Exception {
        var target = path(directory);
        if (entries(target).contains("HEAD")) {
            var different = differences(point, target);
            if (different.isEmpty()) return;
            throw new Failure("is a Git repository with other refs than " + point.name() + ": " + some(different)
                    + "; give a directory that does not exist yet or is empty");
        }
        change("directory", null, target.toString(), "rm -rf " + quote(target.toString()), () -> {
            try {
                madeDirectory = !Files.exists(target);
                if (madeDirectory) Files.createDirectory(target);
                download(point, Files.createTempDirectory(target, ".restoring-"), "or choose another --directory");
                moveUp();
            } catch (IOException e) {
                throw new Failure(reason(e), e);
            }
        });
    }

    /** Makes the repository appear in its directory: HEAD comes last, and without HEAD it is none. */
    synchronized void moveUp() throws IOException {
        if (stopping) throw new Failure("interrupted");
        for (var name : entries(temporary)) if (!name.equals("HEAD")) Files.move(temporary.resolve(name), temporary.resolveSibling(name));
        Files.move(temporary.resolve("HEAD"), temporary.resolveSibling("HEAD"));
        madeDirectory = false;
    }

    /** What a repository's refs and HEAD have that the restore point has not, and the other way round. */
    List<String> differences(Point point, Path repository) throws IOException {
        try (var local = open(repository)) {
            var present = new TreeMap<String, ObjectId>();
            for (var ref : local.getRefDatabase().getRefsByPrefix("refs/")) present.put(ref.getName(), ref.getObjectId());
            var different = differences(point.refs(), present);
            var head = local.exactRef("HEAD");
            if (!head(point).equals(head.isSymbolic() ? head.getTarget().getName() : head.getObjectId().name())) different.add("HEAD");
            return different;
        }
    }

    static List<String> differences(Map<String, ObjectId> one, Map<String, ObjectId> other) {
        var names = new TreeSet<>(one.keySet());
        names.addAll(other.keySet());
        names.removeIf(name -> Objects.equals(one.get(name), other.get(name)));
        return new ArrayList<>(names);
    }

    static String some(List<String> names) {
        return String.join(", ", names.subList(0, Math.min(5, names.size()))) + (names.size() > 5 ? " and " + (names.size() - 5) + " more" : "");
    }

    /** What HEAD is in a directory: of a repository without a default branch, what git init makes it. */
    static String head(Point point) {
        return point.head() == null ? "refs/heads/main" : point.head();
    }

    static org.eclipse.jgit.lib.Repository open(Path repository) throws IOException {
        return new FileRepositoryBuilder().setGitDir(repository.toFile()).setBare().setMustExist(true).build();
    }

    /** Makes a bare repository in the temporary directory: its objects are checked, and its refs are those of the restore point. */
    void download(Point point, Path into, String ifFull) throws IOException {
        temporary = into;
        // An object has some 50 bytes in the index; what an increment builds upon is added to its pack.
        var needed = (point.sum("size") + 50 * point.sum("objects")) * 11 / 10 + (4 << 20);
        var free = free(into);
        if (free < needed) throw new Failure(into + " has room for " + megabytes(free) + " and needs " + megabytes(needed) + ": make room, " + ifFull);
        note("restoring " + point.name() + ": " + point.refs().size() + " refs, " + megabytes(point.sum("size")) + " in " + point.chain().size()
                + " bundles, through " + into + " ...");
        for (var name : List.of("objects/info", "objects/pack", "refs")) Files.createDirectories(into.resolve(name));
        Files.writeString(into.resolve("config"), "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n");
        Files.writeString(into.resolve("HEAD"), (head(point).startsWith("refs/") ? "ref: " : "") + head(point) + "\n");
        var byGit = hasGit();
        for (var bundle : point.chain()) add(bundle, into, byGit);
        try {
            if (byGit) run(into, new ByteArrayInputStream(String.join("\n", ids(point)).getBytes()), "rev-list", "--objects", "--quiet", "--stdin");
            else walk(point, into);
        } catch (IOException e) {
            throw new Finding(uri(point.key()) + ": its bundles lack objects of its refs: " + reason(e), e);
        }
        var packed = new StringBuilder("# pack-refs with: sorted \n");
        point.refs().forEach((ref, id) -> packed.append(id.name()).append(' ').append(ref).append('\n'));
        Files.writeString(into.resolve("packed-refs"), packed);
        var different = differences(point, into);
        if (!different.isEmpty()) throw new Failure("these refs did not become those of the restore point: " + some(different));
    }

    long free(Path directory) throws IOException {
        return Files.getFileStore(directory).getUsableSpace();
    }

    static String megabytes(long bytes) {
        return String.format(Locale.ROOT, bytes < 10_000_000 ? "%.1f MB" : "%.0f MB", bytes / 1e6);
    }

    static Set<String> ids(Point point) {
        return point.refs().values().stream().map(ObjectId::name).collect(Collectors.toCollection(LinkedHashSet::new));
    }

    boolean hasGit() throws IOException {
        try {
            return new ProcessBuilder(git, "--version").redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start().waitFor() == 0;
        } catch (IOException e) {
            return false;
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        }
    }

    /** Adds a bundle's objects. It is used only if its SHA-256 is right; it is read twice if not, as that may have happened on the way. */
    void add(JsonNode bundle, Path repository, boolean byGit) throws IOException {
        var key = bundle.get("key").asText();
        for (var attempt = 1; ; attempt++)
            try (var in = new Download(bundle)) {
                IOException failure = null;
                try {
                    skipHeader(in);
                    if (byGit) run(repository, in, "index-pack", "--stdin", "--fix-thin");
                    else parse(in, repository);
                } catch (IOException e) {
                    if (e.getMessage() != null && e.getMessage().matches("(?si).*(no space left|quota exceeded|not enough space|file too large).*")) throw e;
                    failure = e;
                }
                in.transferTo(OutputStream.nullOutputStream()); // what a reader that failed has left: the hash is over all
                var found = hex(in.hash.digest());
                if (found.equals(bundle.get("sha256").asText())) {
                    if (failure == null) return;
                    throw new Finding(uri(key) + " is what was saved, but cannot be added to the bundles before it: " + reason(failure), failure);
                }
                if (attempt == 1) continue;
                problems.put(key, "is damaged: its SHA-256 is " + found + " and should be " + bundle.get("sha256").asText());
                throw new Finding(uri(key) + " " + problems.get(key), failure);
            }
    }

    /** A bundle's text: a signature, capabilities, prerequisites and refs, up to an empty line. The manifest knows better. */
    static void skipHeader(InputStream in) throws IOException {
        var first = line(in);
        if (!first.matches("# v[23] git bundle")) throw new IOException("not a Git bundle");
        for (var line = first; !line.isEmpty(); line = line(in))
            if (line.startsWith("@") && !line.equals("@object-format=sha1")) throw new IOException("the bundle wants " + line);
    }

    static String line(InputStream in) throws IOException {
        var line = new ByteArrayOutputStream();
        for (int b; (b = in.read()) != '\n'; line.write(b)) if (b < 0 || line.size() > 10_000) throw new IOException("the bundle's header has no end");
        return line.toString(StandardCharsets.UTF_8);
    }

    /** Runs git on a repository, regardless of the environment's Git variables. */
    void run(Path repository, InputStream in, String... command) throws IOException {
        var builder = new ProcessBuilder(Stream.concat(Stream.of(git, "--git-dir=" + repository), Stream.of(command)).toList());
        builder.redirectOutput(ProcessBuilder.Redirect.DISCARD);
        builder.environment().keySet().removeIf(name -> name.startsWith("GIT_"));
        builder.environment().put("LC_ALL", "C");
        running = builder.start();
        try {
            try (var out = running.getOutputStream()) {
                in.transferTo(out);
            } catch (IOException e) {
                // git has ended: it says why
            }
            var said = new String(running.getErrorStream().readAllBytes(), StandardCharsets.UTF_8).strip().replaceAll("\\s+", " ");
            var code = running.waitFor();
            if (code > 128) throw new Failure(stopping ? "interrupted" : "git " + command[0] + " was ended by signal " + (code - 128)); // by this machine
            if (code != 0) throw new IOException("git " + command[0] + ": " + said);
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        } finally {
            running.destroyForcibly();
        }
    }

    static void parse(InputStream in, Path repository) throws IOException {
        try (var local = open(repository); var inserter = local.newObjectInserter()) {
            var parser = inserter.newPackParser(in);
            parser.setAllowThin(true);
            parser.parse(NullProgressMonitor.INSTANCE);
            inserter.flush();
        }
    }

    static void walk(Point point, Path repository) throws IOException {
        try (var local = open(repository); var walk = new ObjectWalk(local)) {
            for (var id : ids(point)) walk.markStart(walk.parseAny(ObjectId.fromString(id)));
            walk.checkConnectivity();
        }
    }

    /** A bundle's bytes as they come from S3, hashed; a connection that was cut is taken up where that was. */
    class Download extends InputStream {
        final MessageDigest hash = sha("SHA-256");
        private final String key;
        private final long size;
        private long at;
        private int failures;
        private String version;
        private ResponseInputStream<GetObjectResponse> in;

        Download(JsonNode bundle) {
            key = bundle.get("key").asText();
            size = bundle.get("size").asLong();
        }

        @Override
        public int read() throws IOException {
            var one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] bytes, int from, int length) {
            for (; at < size; pause(backOff.toMillis() * failures)) {
                if (stopping) throw new Failure("interrupted");
                try {
                    if (in == null) open();
                    var n = in.read(bytes, from, (int) Math.min(length, size - at));
                    if (n < 0) throw new EOFException("the connection was cut");
                    hash.update(bytes, from, n);
                    at += n;
                    failures = 0;
                    return n;
                } catch (IOException e) {
                    close();
                    if (++failures == 5) throw new Failure(uri(key) + ": " + reason(e) + " after " + at + " of " + size + " bytes", e);
                }
            }
            return -1;
        }

        private void open() {
            try {
                in = s3.getObject(r -> r.bucket(bucket).key(key).range(at == 0 ? null : "bytes=" + at + "-").ifMatch(version));
                version = in.response().eTag();
            } catch (NoSuchKeyException e) {
                problems.put(key, "is missing");
                throw new Finding(uri(key) + " is missing", e);
            }
        }

        @Override
        public void close() {
            if (in != null) in.abort();
            in = null;
        }
    }

    /** On Ctrl-C: nothing stays behind. */
    void stop() {
        stopping = true;
        if (running != null) running.destroyForcibly();
        removeTemporary();
        if (codecommit != null && !changes.isEmpty()) note("interrupted: " + toRepositoryName + " is not finished; the same command again does the rest");
    }

    /** Twice if need be: what writes there may be at it. */
    synchronized void removeTemporary() {
        if (temporary == null) return;
        for (var attempt = 1; Files.exists(temporary); attempt++)
            try {
                FileUtils.delete(temporary.toFile(), FileUtils.RECURSIVE | FileUtils.SKIP_MISSING);
                if (madeDirectory) Files.delete(temporary.getParent());
            } catch (IOException e) {
                if (attempt == 5) {
                    note(temporary + " could not be removed: " + reason(e));
                    return;
                }
                pause(100);
            }
    }

    // 4. A CodeCommit repository

    /** A ref on its way: to its place, or to a commit before that if the whole way is too long for one push. */
    record Step(String ref, ObjectId to) { }

    static class TooLarge extends IOException {
    }

    class Target {
        final Point point;
        final SortedMap<String, ObjectId> wanted;
        RepositoryMetadata repository;
        final String newKey;
        Map<String, ObjectId> present = Map.of();
        Map<String, String> tags = Map.of();
        boolean marked;

        /** Looks at what is there, and refuses it if it is another repository: before anything is downloaded. */
        Target(Point point) throws Exception {
            this.point = point;
            wanted = point.branchesAndTags();
            codecommit = client(CodeCommitClient.builder());
            repository = find();
            newKey = newKey();
            look();
        }

        RepositoryMetadata find() {
            try {
                return codecommit.getRepository(r -> r.repositoryName(toRepositoryName)).repositoryMetadata();
            } catch (RepositoryDoesNotExistException e) {
                return null;
            }
        }

        void look() throws Exception {
            if (repository == null) return;
            present = refs();
            tags = tags(repository.arn());
            var other = differences(point.refs(), present);
            other.removeIf(ref -> !present.containsKey(ref) || isOnItsWay(ref));
            if (!other.isEmpty())
                throw new Failure("has other refs than " + point.name() + ": " + some(other) + "; nothing was changed: restore into another repository");
        }

        boolean isOnItsWay(String ref) {
            return point.name().equals(tags.get(MARK)) && wanted.containsKey(ref);
        }

        /** The ARN of a new repository's key; null for a repository that exists, whose key stays. */
        String newKey() {
            var before = point.settings().path("kmsKeyId").asText("");
            if (kmsKeyId == null && repository != null) return null;
            if (kmsKeyId == null && before.isEmpty())
                throw new Failure("does not exist, and the restore point names no key for it: give --kms-key-id, such as --kms-key-id alias/codecommit");
            if (kmsKeyId == null && !before.contains(":kms:" + region() + ":" + identity().account() + ":"))
                throw new Failure("does not exist, and its key was " + before + ", which is not of account " + identity().account() + " in " + region()
                        + ": give --kms-key-id");
            var id = kmsKeyId != null ? kmsKeyId : before;
            KeyMetadata key;
            try (var kms = client(KmsClient.builder())) {
                key = kms.describeKey(r -> r.keyId(id)).keyMetadata();
            } catch (NotFoundException e) {
                throw new Failure("no key " + id + " in " + region() + ": give --kms-key-id of another, or make one with create-kms-key", e);
            }
            if (key.keySpec() != KeySpec.SYMMETRIC_DEFAULT || key.keyUsage() != KeyUsageType.ENCRYPT_DECRYPT || key.keyState() != KeyState.ENABLED)
                throw new Failure(key.arn() + " is " + key.keySpecAsString() + " for " + key.keyUsageAsString() + " and " + key.keyStateAsString()
                        + "; CodeCommit needs SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT that is Enabled: give --kms-key-id of such a key");
            var managed = key.keyManager() == KeyManagerType.AWS;
            if (kmsKeyId == null && managed)
                throw new Failure("does not exist, and was under the AWS managed key before: give --kms-key-id; alias/aws/codecommit is that key");
            if (repository == null) return key.arn();
            var current = repository.kmsKeyId();
            if (current == null ? !managed : !List.of(key.arn(), key.keyId()).contains(current))
                throw new Failure("is under " + (current == null ? "the AWS managed key" : current) + ", not " + key.arn()
                        + ": leave --kms-key-id out, or first run create-encrypted-repo");
            return null;
        }

        void restore() throws Exception {
            for (var ref : point.refs().keySet())
                if (!wanted.containsKey(ref) && !present.containsKey(ref)) leaveOut(ref, "CodeCommit takes branches and tags only");
            var missing = missing();
            if (!missing.isEmpty() && directory == null && !dryRun)
                download(point, Files.createTempDirectory("restore-from-s3-"),
                        "name another place with JAVA_TOOL_OPTIONS=-Djava.io.tmpdir=DIR, or give --directory, which is kept");
            if (repository == null) create();
            if (!missing.isEmpty())
                change("refs", wanted.size() - missing.size(), wanted.size(), null, () -> push(directory == null ? temporary : path(directory)));
            unmark();
            restoreSettings();
            if (!dryRun && !changes.isEmpty()) repository = find();
        }

        List<String> missing() {
            return wanted.keySet().stream().filter(ref -> !wanted.get(ref).equals(present.get(ref))).toList();
        }

        void create() throws Exception {
            var description = point.settings().path("repositoryDescription").asText("");
            var deletion = aws("codecommit delete-repository --repository-name " + toRepositoryName) + " # irreversible: deletes what was pushed since, too";
            try {
                change("repository", null, toRepositoryName, deletion, () -> {
                    try {
                        repository = codecommit.createRepository(r -> r.repositoryName(toRepositoryName).kmsKeyId(newKey)
                                .repositoryDescription(description.isEmpty() ? null : description)).repositoryMetadata();
                    } catch (RepositoryNameExistsException e) {
                        if (e.numAttempts() == 1) throw e;
                        repository = find(); // ours: the answer to an attempt before was lost
                    }
                });
            } catch (RuntimeException e) {
                var cause = e instanceof Failure ? e.getCause() : e;
                var refused = cause instanceof AwsServiceException answer && answer.statusCode() < 500;
                if (!refused) throw new Failure(reason(e) + "; it may have been made, empty: " + AGAIN, e);
                if (!(cause instanceof RepositoryNameExistsException)) throw e;
                note(subject + ": somebody else made it meanwhile");
                repository = find();
            }
            if (!dryRun) look();
        }

        Map<String, ObjectId> refs() throws Exception {
            for (var failures = 1; ; failures++)
                try (var local = new InMemoryRepository(new DfsRepositoryDescription()); var transport = transport(repository.cloneUrlHttp(), local);
                        var connection = transport.openFetch()) {
                    var refs = new TreeMap<String, ObjectId>();
                    for (var ref : connection.getRefs()) if (ref.getName().startsWith("refs/")) refs.put(ref.getName(), ref.getObjectId());
                    return refs;
                } catch (TransportException e) {
                    goOnAfter(e, failures);
                }
        }

        /** Waits after a failure that may pass. */
        void goOnAfter(TransportException e, int failures) {
            if (e.getMessage().matches("(?s).*(not permitted|not authorized|: 40[13] ).*"))
                throw new Failure(reason(e) + "; the credentials have expired, or they lack codecommit:GitPull, codecommit:GitPush or the repository's key", e);
            if (e instanceof NoRemoteRepositoryException || reason(e).startsWith("unknown host") || failures == 4 || stopping) throw new Failure(reason(e), e);
            pause(backOff.toMillis() + ThreadLocalRandom.current().nextLong(1 + (backOff.toMillis() << failures)));
        }

        void push(Path from) {
            try (var local = open(from)) {
                checkWay(local);
                var failures = 0;
                while (!missing().isEmpty()) {
                    var before = Map.copyOf(present);
                    try {
                        var steps = steps(local);
                        for (var i = 0; i < steps.size(); i += mostRefs) push(local, steps.subList(i, Math.min(i + mostRefs, steps.size())));
                    } catch (TransportException e) {
                        note(toRepositoryName + ": a push failed: " + reason(e));
                        goOnAfter(e, ++failures);
                        present = refs();
                        if (!present.equals(before)) failures = 0;
                    }
                }
                present = refs();
                var different = differences(point.refs(), present);
                different.removeIf(ref -> !present.containsKey(ref) && !wanted.containsKey(ref));
                if (!different.isEmpty()) throw new Failure("somebody else pushes there: " + some(different) + " changed meanwhile");
            } catch (Exception e) {
                throw new Failure(reason(e) + "; " + (wanted.size() - missing().size()) + " of " + wanted.size() + " refs are right", e);
            }
        }

        /** What an interrupted restore has left on its way must lead to where it is to go: nobody else's push is undone. */
        void checkWay(Repository local) throws IOException {
            try (var walk = new RevWalk(local)) {
                for (var ref : missing()) {
                    if (!present.containsKey(ref)) continue;
                    if (!(local.getObjectDatabase().has(present.get(ref)) && walk.parseAny(present.get(ref)) instanceof RevCommit base
                            && walk.peel(walk.parseAny(wanted.get(ref))) instanceof RevCommit tip && walk.isMergedInto(base, tip)))
                        throw new Failure("somebody else pushes there: " + ref + " is not on its way to the restore point");
                }
            }
        }

        /** What is missing, the oldest commits first: so the packs of neighbours are parts of history. */
        List<Step> steps(Repository local) throws IOException {
            var times = new HashMap<String, Integer>();
            try (var walk = new RevWalk(local)) {
                for (var ref : missing())
                    times.put(ref, walk.peel(walk.parseAny(wanted.get(ref))) instanceof RevCommit commit ? commit.getCommitTime() : Integer.MAX_VALUE);
            }
            return missing().stream().sorted(Comparator.comparing(times::get)).map(ref -> new Step(ref, wanted.get(ref))).toList();
        }

        /** Pushes in as many parts as it takes: halves of the refs, and of one ref's history. */
        void push(Repository local, List<Step> steps) throws Exception {
            var half = steps.size() / 2;
            ObjectId middle;
            if (fits(local, steps)) send(local, steps);
            else if (half > 0) {
                push(local, steps.subList(0, half));
                push(local, steps.subList(half, steps.size()));
            } else if ((middle = middle(local, steps.get(0))) != null) {
                mark();
                push(local, List.of(new Step(steps.get(0).ref(), middle)));
                push(local, steps);
            } else send(local, steps);
        }

        boolean fits(Repository local, List<Step> steps) throws IOException {
            if (point.sum("size") <= mostBytes) return true;
            var known = new HashSet<ObjectId>();
            for (var id : present.values()) if (local.getObjectDatabase().has(id)) known.add(id);
            try (var writer = new PackWriter(local)) {
                writer.setDeltaBaseAsOffset(true);
                writer.preparePack(NullProgressMonitor.INSTANCE, steps.stream().map(Step::to).collect(Collectors.toSet()), known);
                writer.writePack(NullProgressMonitor.INSTANCE, NullProgressMonitor.INSTANCE, new OutputStream() {
                    private long size;

                    @Override
                    public void write(int b) throws IOException {
                        if (++size > mostBytes) throw new TooLarge();
                    }

                    @Override
                    public void write(byte[] bytes, int from, int length) throws IOException {
                        if ((size += length) > mostBytes) throw new TooLarge();
                    }
                });
                return true;
            } catch (TooLarge e) {
                return false;
            }
        }

        /** The commit in the middle of the way along first parents; null if there is none. */
        ObjectId middle(Repository local, Step step) throws IOException {
            var way = new ArrayList<ObjectId>();
            try (var walk = new RevWalk(local)) {
                var next = walk.peel(walk.parseAny(step.to()));
                while (next instanceof RevCommit commit && !commit.equals(present.get(step.ref()))) {
                    way.add(commit.copy());
                    next = commit.getParentCount() == 0 ? null : walk.parseCommit(commit.getParent(0));
                }
            }
            return way.size() < 2 ? null : way.get(way.size() / 2);
        }

        void send(Repository local, List<Step> steps) throws Exception {
            var updates = new ArrayList<RemoteRefUpdate>();
            for (var step : steps) // by force is what a tag needs to leave its way; what is there now must be what was seen
                updates.add(new RemoteRefUpdate(local, null, step.to(), step.ref(), true, null, present.getOrDefault(step.ref(), ObjectId.zeroId())));
            try (var transport = transport(repository.cloneUrlHttp(), local)) {
                transport.push(NullProgressMonitor.INSTANCE, updates);
            }
            var refused = new ArrayList<String>();
            for (var update : updates)
                switch (update.getStatus()) {
                    case OK, UP_TO_DATE -> present.put(update.getRemoteName(), update.getNewObjectId());
                    case AWAITING_REPORT, NOT_ATTEMPTED -> throw new TransportException("no answer for " + update.getRemoteName());
                    default -> refused.add(update.getRemoteName() + " (" + (update.getMessage() == null ? update.getStatus() : update.getMessage()) + ")");
                }
            if (!refused.isEmpty()) throw new Failure("refused: " + some(refused));
            var left = missing().size();
            if (left > 0) note(toRepositoryName + ": " + (wanted.size() - left) + " of " + wanted.size() + " refs are right");
        }

        void mark() {
            if (marked || point.name().equals(tags.get(MARK))) return;
            codecommit.tagResource(r -> r.resourceArn(repository.arn()).tags(Map.of(MARK, point.name())));
            marked = true;
        }

        void unmark() {
            Runnable untag = () -> codecommit.untagResource(r -> r.resourceArn(repository.arn()).tagKeys(MARK));
            if (marked) untag.run();
            else if (tags.containsKey(MARK)) change("tags", Map.of(MARK, tags.get(MARK)), Map.of(), null, untag);
        }

        Map<String, String> tags(String arn) {
            var all = new TreeMap<String, String>();
            for (var token = new String[1]; ; ) {
                var page = codecommit.listTagsForResource(r -> r.resourceArn(arn).nextToken(token[0]));
                all.putAll(page.tags());
                if ((token[0] = page.nextToken()) == null) return all;
            }
        }

        void restoreSettings() {
            var settings = point.settings();
            if (repository != null) repository = dryRun ? repository : find();
            part("HEAD", this::restoreHead);
            if (!settings.isObject()) {
                note("no settings were saved with this restore point: description, tags, approval rule templates and triggers stay as they are");
                return;
            }
            part("description", () -> restoreDescription(settings.path("repositoryDescription").asText("")));
            part("tags", () -> restoreTags(settings.path("tags")));
            var associated = new HashSet<String>();
            if (repository != null)
                for (var page : codecommit.listAssociatedApprovalRuleTemplatesForRepositoryPaginator(r -> r.repositoryName(toRepositoryName)))
                    associated.addAll(page.approvalRuleTemplateNames());
            for (var template : settings.path("approvalRuleTemplates")) {
                var name = template.path("approvalRuleTemplateName").asText();
                if (!associated.contains(name)) part("approval rule template " + name, () -> restoreTemplate(name, template));
            }
            part("triggers", () -> restoreTriggers(settings.path("triggers")));
        }

        void restoreHead() {
            var head = point.head();
            if (head == null) return;
            if (!wanted.containsKey(head)) {
                leaveOut("HEAD", head + " is no branch that the repository has");
                return;
            }
            var branch = head.replaceFirst("^refs/heads/", "");
            var before = repository == null ? null : repository.defaultBranch();
            if (branch.equals(before)) return;
            var back = before == null ? null
                    : aws("codecommit update-default-branch --repository-name " + toRepositoryName + " --default-branch-name " + quote(before));
            change("defaultBranch", before, branch, back,
                    () -> codecommit.updateDefaultBranch(r -> r.repositoryName(toRepositoryName).defaultBranchName(branch)));
        }

        void restoreDescription(String description) {
            if (repository == null || description.isEmpty()) return;
            var before = repository.repositoryDescription() == null ? "" : repository.repositoryDescription();
            if (description.equals(before)) return;
            var back = aws("codecommit update-repository-description --repository-name " + toRepositoryName + " --repository-description " + quote(before));
            change("repositoryDescription", before, description, back,
                    () -> codecommit.updateRepositoryDescription(r -> r.repositoryName(toRepositoryName).repositoryDescription(description)));
        }

        void restoreTags(JsonNode saved) {
            var wantedTags = new TreeMap<String, String>();
            saved.properties().forEach(tag -> wantedTags.put(tag.getKey(), tag.getValue().asText()));
            wantedTags.keySet().removeIf(tag -> tag.startsWith("aws:") || tag.equals(MARK));
            var arn = repository == null ? "" : repository.arn();
            changeTags(tags, wantedTags, false, new Tagging(
                    put -> codecommit.tagResource(r -> r.resourceArn(arn).tags(put)),
                    remove -> codecommit.untagResource(r -> r.resourceArn(arn).tagKeys(remove)),
                    put -> aws("codecommit tag-resource --resource-arn " + arn + " --tags " + quote(JSON.valueToTree(put).toString())),
                    remove -> aws("codecommit untag-resource --resource-arn " + arn + " --tag-keys " + quote(JSON.valueToTree(remove).toString()))));
        }

        /** Templates are the account's: one that is there stays as it is. */
        void restoreTemplate(String name, JsonNode template) {
            var content = template.path("approvalRuleTemplateContent").asText();
            var description = template.path("approvalRuleTemplateDescription").asText("");
            try {
                var today = codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName(name)).approvalRuleTemplate().approvalRuleTemplateContent();
                if (!today.equals(content)) note(subject + ": the approval rule template " + name + " is another one today, and is associated as it is");
            } catch (ApprovalRuleTemplateDoesNotExistException absent) {
                change("approvalRuleTemplate", null, name, aws("codecommit delete-approval-rule-template --approval-rule-template-name " + quote(name)), () -> {
                    try {
                        codecommit.createApprovalRuleTemplate(r -> r.approvalRuleTemplateName(name).approvalRuleTemplateContent(content)
                                .approvalRuleTemplateDescription(description.isEmpty() ? null : description));
                    } catch (ApprovalRuleTemplateNameAlreadyExistsException made) {
                        // by somebody meanwhile, or by this call, whose first answer was lost
                    }
                });
            }
            var back = "codecommit disassociate-approval-rule-template-from-repository --repository-name " + toRepositoryName;
            change("approvalRuleTemplates", null, name, aws(back + " --approval-rule-template-name " + quote(name)),
                    () -> codecommit.associateApprovalRuleTemplateWithRepository(r -> r.repositoryName(toRepositoryName).approvalRuleTemplateName(name)));
        }

        /** Adds the saved triggers to those that are there, which only a trigger of the same name replaces. */
        void restoreTriggers(JsonNode saved) {
            var present = new ArrayList<RepositoryTrigger>();
            if (repository != null) present.addAll(codecommit.getRepositoryTriggers(r -> r.repositoryName(toRepositoryName)).triggers());
            var all = new LinkedHashMap<String, RepositoryTrigger>();
            for (var trigger : present) all.put(trigger.name(), trigger);
            for (var each : saved) {
                var trigger = trigger(each);
                if (trigger.destinationArn().contains(":" + region() + ":")) all.put(trigger.name(), trigger);
                else leaveOut("trigger " + trigger.name(), trigger.destinationArn() + " is not in " + region());
            }
            var before = shown(present);
            var after = shown(all.values());
            if (before.equals(after)) return;
            var back = aws("codecommit put-repository-triggers --repository-name " + toRepositoryName + " --triggers " + quote(before.toString()));
            change("triggers", before, after, back, () -> codecommit.putRepositoryTriggers(r -> r.repositoryName(toRepositoryName).triggers(all.values())));
        }

        ObjectNode describe() {
            var node = JSON.createObjectNode().put("repositoryName", toRepositoryName);
            if (repository != null) node.put("repositoryId", repository.repositoryId());
            node.put("arn", "arn:" + identity().partition() + ":codecommit:" + region() + ":" + identity().account() + ":" + toRepositoryName);
            node.put("kmsKeyId", repository == null ? newKey : repository.kmsKeyId());
            return repository == null ? node : node.put("defaultBranch", repository.defaultBranch()).put("cloneUrlHttp", repository.cloneUrlHttp());
        }
    }

    static RepositoryTrigger trigger(JsonNode saved) {
        Function<String, List<String>> texts = member -> saved.path(member).valueStream().map(JsonNode::asText).toList();
        return RepositoryTrigger.builder().name(saved.path("name").asText()).destinationArn(saved.path("destinationArn").asText())
                .customData(saved.path("customData").asText("")).branches(texts.apply("branches")).eventsWithStrings(texts.apply("events")).build();
    }

    /** Triggers as the AWS CLI takes them. */
    static ArrayNode shown(Collection<RepositoryTrigger> triggers) {
        var all = JSON.createArrayNode();
        for (var trigger : triggers) {
            var node = all.addObject().put("name", trigger.name()).put("destinationArn", trigger.destinationArn());
            node.put("customData", trigger.customData() == null ? "" : trigger.customData());
            node.set("branches", JSON.valueToTree(trigger.branches()));
            node.set("events", JSON.valueToTree(trigger.eventsAsStrings()));
        }
        return all;
    }

    void leaveOut(String what, String why) {
        note(toRepositoryName + ": left out: " + what + ": " + why);
        leftOut.addObject().put("what", what).put("why", why);
    }

    /** What CodeCommit refuses of the settings is named, and stops nothing else. */
    void part(String what, Runnable step) {
        try {
            step.run();
        } catch (RuntimeException e) {
            var cause = e instanceof Failure ? e.getCause() : e;
            if (!(cause instanceof AwsServiceException refused) || refused.statusCode() >= 500 || refused.isThrottlingException()) throw e;
            if (reason(refused).matches("(?s)HTTP.*|.*Expired.*")) throw e; // without a code the answer was cut
            leaveOut(what, reason(refused));
        }
    }

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

    // ---- The same in every script that changes a resource: dry run, changes, undo, tags ----

    @Option(names = "--dry-run", description = "Only reads, and prints what would change.")
    boolean dryRun;

    /** By strength: that of several resources is the strongest. */
    static final List<String> STATUSES = List.of("unchanged", "updated", "created", "deleted");

    /** "created", in a dry run "would-create". */
    String status(String done) {
        return dryRun && !done.equals("unchanged") ? "would-" + done.substring(0, done.length() - 1) : done;
    }

    final ArrayNode changes = JSON.createArrayNode();
    /** Commands that take the changes back, the last change first. */
    final List<String> undo = new ArrayList<>();

    /** Records a change and, unless this is a dry run, makes it. With a failure it is said what was changed before. */
    void change(String field, Object from, Object to, String undoCommand, Runnable step) {
        if (!dryRun) {
            try {
                step.run();
            } catch (RuntimeException e) {
                var before = changes.valueStream().map(change -> change.path("resource").asText() + " " + change.path("field").asText()).toList();
                if (before.isEmpty()) throw e;
                throw new Failure(field + ": " + reason(e) + "; changed before that: " + String.join(", ", before)
                        + "; the same command again does the rest", e);
            }
            if (undoCommand != null) undo.add(0, undoCommand);
        }
        changes.addObject().put("resource", subject).put("field", field).<ObjectNode>set("from", JSON.valueToTree(from)).set("to", JSON.valueToTree(to));
    }

    /** Adds changes and undo to a result. */
    ObjectNode withChanges(ObjectNode result) {
        result.set("changes", changes);
        if (!undo.isEmpty()) result.put("undo", String.join(" && ", undo));
        return result;
    }

    /** An AWS CLI command for the same Region and profile. */
    String aws(String command) {
        return "aws " + command + " --region " + region() + (profile == null ? "" : " --profile " + quote(profile));
    }

    /** As one word of a shell command. */
    static String quote(String word) {
        return word.matches("[\\w@%+=:,./-]+") ? word : "'" + word.replace("'", "'\\''") + "'";
    }

    /** Key=Value options by key, within AWS's limits on tags. */
    Map<String, String> tags(List<String> options) {
        var tags = new TreeMap<String, String>();
        for (var option : options) {
            check("--tags", option, "(?!aws:)[\\p{L}\\p{N} +\\-._:/@]{1,128}=[\\p{L}\\p{N} +\\-=._:/@]{0,256}",
                    "Key=Value of letters, digits, spaces and + - = . _ : / @, such as Team=Payments");
            var equals = option.indexOf('=');
            if (tags.put(option.substring(0, equals), option.substring(equals + 1)) != null)
                throw wrong("--tags '" + option + "': give each key once, such as Team=Payments");
        }
        if (tags.size() > 50) throw wrong("--tags: " + tags.size() + " tags; give 50 at most");
        return tags;
    }

    /** How a resource is tagged and untagged, and the AWS CLI commands for it. */
    record Tagging(Consumer<Map<String, String>> put, Consumer<Set<String>> remove,
            Function<Map<String, String>, String> putCommand, Function<Set<String>, String> removeCommand) { }

    /** Adds and changes tags; others go only if asked for. AWS's own tags (aws:) cannot be changed. */
    void changeTags(Map<String, String> present, Map<String, String> wanted, boolean removeOthers, Tagging tagging) {
        var put = new TreeMap<>(wanted);
        put.entrySet().removeAll(present.entrySet());
        var replaced = new TreeMap<>(present);
        replaced.keySet().retainAll(put.keySet());
        if (!put.isEmpty()) {
            var added = new TreeSet<>(put.keySet());
            added.removeAll(replaced.keySet());
            var undo = new ArrayList<String>();
            if (!replaced.isEmpty()) undo.add(tagging.putCommand().apply(replaced));
            if (!added.isEmpty()) undo.add(tagging.removeCommand().apply(added));
            change("tags", replaced, put, String.join(" && ", undo), () -> tagging.put().accept(put));
        }
        var others = new TreeMap<>(present);
        others.keySet().removeIf(key -> wanted.containsKey(key) || key.startsWith("aws:"));
        if (removeOthers && !others.isEmpty())
            change("tags", others, Map.of(), tagging.putCommand().apply(others), () -> tagging.remove().accept(others.keySet()));
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
        System.exit(new RestoreFromS3().commandLine().execute(args));
    }
}
