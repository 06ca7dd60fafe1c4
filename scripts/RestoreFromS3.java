///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Lists backups of CodeCommit repositories; restores one or all into bare Git repositories or CodeCommit.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:kms
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
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.*;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.RecordComponent;
import java.net.*;
import java.nio.channels.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.time.*;
import java.time.format.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import java.util.zip.GZIPInputStream;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.net.ssl.*;
import javax.xml.stream.XMLStreamException;
import org.eclipse.jgit.errors.*;
import org.eclipse.jgit.internal.storage.dfs.*;
import org.eclipse.jgit.internal.storage.pack.PackWriter;
import org.eclipse.jgit.lib.*;
import org.eclipse.jgit.revwalk.*;
import org.eclipse.jgit.storage.file.*;
import org.eclipse.jgit.transport.*;
import org.eclipse.jgit.transport.http.*;
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
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleTemplate;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleTemplateDoesNotExistException;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleTemplateNameAlreadyExistsException;
import software.amazon.awssdk.services.codecommit.model.CodeCommitException;
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
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.InvalidObjectStateException;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.model.StorageClass;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Restores what backup-to-s3 saved, ref by ref as a manifest has it: into a bare Git directory, into a CodeCommit
 * repository, or both, one repository or several in one run; and lists what there is. A restore point is a manifest:
 * all refs, HEAD, settings, and the chain of bundles that has the objects. If git is on the PATH it indexes the bundles
 * and pushes what is large, in a third of the time that JGit takes, else JGit does; the result is the same.
 *
 * <p>What comes from S3 counts only if its SHA-256 is the manifest's. A restore point with a missing or damaged bundle
 * is refused, and the newest one before it that is whole is named. The objects are collected in a temporary directory,
 * in {@code --directory} or else in the system's; the room for it is checked first, and it is always removed. A
 * directory becomes a repository only when everything is in it.
 *
 * <p>Changes in AWS, with {@code --to-repository-name}: creates the repository, pushes branches and tags, sets its
 * default branch, description and tags, associates its approval rule templates (creates those that do not exist) and
 * adds its triggers, last. A repository with any ref that is not the restore point's is refused. Nothing is deleted,
 * and the key of an existing repository stays. CodeCommit cuts long pushes and refuses those of more than 4,000 refs:
 * a push has at most 3,000 refs and 512 MiB, and 32 MiB by JGit or after one that failed, unless a single commit, with
 * what it merged, is larger. For that a ref may stand at an older commit of its own history for a while; the tag
 * codecommit-toolkit:restoring on the repository says so, and is removed when all refs are right. What CodeCommit does
 * not take (refs that are no branches or tags, a HEAD that is no branch, triggers of another Region) is named under
 * leftOut, with exit code 3.
 *
 * <p>Several repositories are restored by copies of this command, {@code --jobs} at a time, the largest first. One that
 * fails stops no other. A killed run may leave a directory on this machine, which the next one removes.
 *
 * <p>A second run with the same arguments changes nothing; after an interruption it continues with the repositories and
 * refs that are missing.
 *
 * <p>IAM actions:
 * <ul>
 * <li>s3:ListBucket, s3:GetObject on the bucket, and kms:Decrypt on the key of its objects: all that listing and
 * --directory need
 * <li>codecommit:GetRepository, codecommit:GitPull, codecommit:GitPush, codecommit:CreateRepository,
 * codecommit:UpdateDefaultBranch, codecommit:UpdateRepositoryDescription, codecommit:ListTagsForResource,
 * codecommit:TagResource, codecommit:UntagResource, codecommit:ListAssociatedApprovalRuleTemplatesForRepository,
 * codecommit:AssociateApprovalRuleTemplateWithRepository, codecommit:GetApprovalRuleTemplate and
 * codecommit:CreateApprovalRuleTemplate (these two on *), codecommit:GetRepositoryTriggers,
 * codecommit:PutRepositoryTriggers for --to-repository-name
 * <li>kms:DescribeKey, kms:Encrypt, kms:Decrypt, kms:ReEncryptFrom, kms:ReEncryptTo, kms:GenerateDataKey,
 * kms:GenerateDataKeyWithoutPlaintext on the repository's key
 * </ul>
 */
@Command(name = "restore-from-s3", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Lists backups of CodeCommit repositories; restores one or all into bare Git repositories or"
                + " CodeCommit.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: what CodeCommit did not take, and repositories that failed, are named; all else is"
                        + " restored",
                "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang restore-from-s3 --bucket my-backups --repository-name payments \\",
                "      --at 2026-11-21 --directory payments.git",
                "  ./jbang restore-from-s3 --bucket my-backups --all --to-codecommit \\",
                "      --kms-key-id alias/codecommit"})
class RestoreFromS3 implements Callable<Integer>, Cloneable {
    @Option(names = "--backup-account", paramLabel = "ACCOUNT",
            description = "Account whose repositories were backed up. Default: your own.")
    String backupAccount;

    @Option(names = "--backup-region", paramLabel = "REGION",
            description = "Region of the repositories that were backed up. Default: that of --region.")
    String backupRegion;

    @Option(names = "--repository-name", paramLabel = "NAME", description = "The repository that was backed up.")
    String repositoryName;

    @Option(names = "--repository-names", paramLabel = "GLOB", arity = "1..*",
            description = "The repositories that were backed up, several in one run: by name or with * and ?.")
    List<String> repositoryNames = List.of();

    @Option(names = "--all", description = "All repositories that were backed up, also those that were deleted since.")
    boolean all;

    @Option(names = "--list", description = "Only lists restore points: of one repository or all, or with --at the one"
            + " of each that would be restored.")
    boolean list;

    @Option(names = "--at", paramLabel = "TIME",
            description = "Takes the newest restore point not after this instant (2026-11-21T04:00:00Z) or the end of"
                    + " this day in UTC (2026-11-21). Default: the newest.")
    String at;

    @Option(names = "--manifest", paramLabel = "KEY",
            description = "Takes this restore point: a manifest's key, as --list shows it.")
    String manifest;

    @Option(names = "--directory", paramLabel = "DIR",
            description = "Restores into this bare Git repository, a directory that does not exist yet or is empty."
                    + " Several repositories: into DIR/NAME.git.")
    String directory;

    @Option(names = "--to-repository-name", paramLabel = "NAME",
            description = "Restores into this CodeCommit repository, which is created or has no other refs.")
    String toRepositoryName;

    @Option(names = "--to-codecommit",
            description = "Restores several repositories into CodeCommit, under their own names.")
    boolean toCodeCommit;

    @Option(names = "--to-prefix", paramLabel = "PREFIX",
            description = "Restores several repositories into CodeCommit, under their names behind this, such as"
                    + " restored-.")
    String toPrefix;

    @Option(names = "--kms-key-id", paramLabel = "KEY",
            description = "The key: its id, ARN, alias (alias/NAME) or alias ARN.")
    String kmsKeyId;

    @Option(names = "--kms-key-ids-by-tag", paramLabel = "TAG=VALUE=KEY", arity = "1..*",
            description = "The key of the repositories that had this tag when they were saved, such as"
                    + " Environment=production=alias/codecommit-production. All others: --kms-key-id, else the key that"
                    + " they had.")
    List<String> kmsKeyIdsByTag = List.of();

    @Option(names = "--pull-requests", paramLabel = "FILE",
            description = "Writes the restore point's pull requests to this file, as JSON.")
    String pullRequests;

    /** What --list prints. */
    record Listing(String status, String account, String region, String bucket, String prefix,
            List<SavedRepository> repositories) {}

    record SavedRepository(String repositoryName, List<RestorePoint> restorePoints) {}

    /**
     * @param manifest the key, for --manifest
     * @param head a branch or a commit id; null if there is none
     * @param size of all bundles, in bytes
     * @param kinds of the bundles, in order: full, incr
     * @param error why it cannot be used; then only key and time are known
     */
    record RestorePoint(String manifest, String time, String repositoryId, @JsonInclude String head, Integer refs,
            Long size, List<String> kinds, Boolean settings, Boolean pullRequests, String error) {}

    /**
     * What a restore prints.
     *
     * @param directory null if there is none
     * @param repository null if there is none
     * @param pullRequests the file; null if none were asked for or saved
     */
    record Result(String status, String account, String region, @JsonInclude String directory,
            @JsonInclude RestoredRepository repository, int refs, RestorePoint restorePoint,
            @JsonInclude String pullRequests, List<LeftOut> leftOut, List<Change> changes, String undo) {}

    /**
     * What a restore of several repositories prints.
     *
     * @param directory the one above them; null if there is none
     * @param totals how many repositories have each status, how many have something left out, the bytes of their
     *        bundles, and the seconds of the run
     */
    record FleetResult(String status, String account, String region, String bucket, String prefix,
            @JsonInclude String directory, Map<String, Number> totals, List<FleetRepository> repositories) {}

    /**
     * @param repositoryName the one that was backed up
     * @param status created, updated or unchanged (would-create ... in a dry run), or failed
     * @param error why it failed; then the rest is not known
     */
    record FleetRepository(String repositoryName, String status, String directory, RestoredRepository repository,
            Integer refs, Double seconds, RestorePoint restorePoint, List<LeftOut> leftOut, List<Change> changes,
            String undo, String error) {}

    /**
     * @param kmsKeyId null under the AWS managed key
     * @param defaultBranch null if there is none
     */
    record RestoredRepository(String repositoryName, String repositoryId, String arn, @JsonInclude String kmsKeyId,
            @JsonInclude String defaultBranch, String cloneUrlHttp) {}

    /** What CodeCommit did not take. */
    record LeftOut(String what, String why) {}

    /** Manifests that are read at a time. */
    static final int READERS = 8;
    static final String MANIFEST_KEY = ".+/\\d{8}T\\d{9}Z-[^/]+\\.manifest\\.json\\.gz";
    /** The tag on a repository whose refs are on their way to a restore point; its value is the point's name. */
    static final String RESTORING = "codecommit-toolkit:restoring";

    /** Refs in a push; CodeCommit takes 4,000. */
    int maxRefs = 3_000;
    /** Bytes in the pack of a push; CodeCommit says only that long pushes are cut. */
    long maxBytes = 32 << 20;
    /** Bytes in the pack of a push by git; {@link #maxBytes} once one has failed, of whichever repository. */
    final AtomicLong maxBytesByGit = new AtomicLong(512 << 20);
    /** Bytes of a repository that git pushes, as JGit takes thrice as long. What is smaller JGit pushes sooner. */
    long leastForGit = 4 << 20;
    /** Seconds that a Git server may be silent: it answers a push after it has indexed the pack. */
    int gitTimeout = 300;
    /** How long a line to S3 or Git that breaks again and again is tried while it brings nothing new. */
    Duration linePatience = Duration.ofMinutes(10);
    String git = "git";

    S3Client s3;
    CodeCommitClient codecommit;
    volatile boolean stopping;
    List<KeyByTag> keysByTag = List.of();
    /** Keys that were looked up, by what names them. */
    final Map<String, KeyMetadata> keys = new ConcurrentHashMap<>();
    /** Contents of the account's approval rule templates that were looked up or created, by name. */
    final Map<String, String> templates = new ConcurrentHashMap<>();
    /** Of several repositories: what to create of the same name, which is what was saved last. */
    final Map<String, JsonNode> newestTemplates = new TreeMap<>();
    final Set<String> differentTemplates = ConcurrentHashMap.newKeySet();

    public static void main(String[] args) {
        System.exit(new RestoreFromS3().commandLine().execute(args));
    }

    @Override
    public Integer call() throws Exception {
        checkOptions();
        connect();
        s3 = s3();
        if (list) {
            return printList();
        }
        if (isIntoCodeCommit()) {
            codecommit = client(CodeCommitClient.builder());
        }
        ignoreGitConfiguration();
        return isFleet() ? new Fleet().run() : restoreOne();
    }

    int restoreOne() throws Exception {
        var restore = new Restore(manifest != null ? manifest : newestKey(),
                directory == null ? null : path(directory), toRepositoryName, null);
        var onInterrupt = new Thread(restore::stop);
        Runtime.getRuntime().addShutdownHook(onInterrupt);
        try {
            return print(restore.run(), restore.leftOut.isEmpty() ? 0 : 3);
        } finally {
            removeHook(onInterrupt);
        }
    }

    /** Whether several repositories are restored, each by a copy of this command. */
    boolean isFleet() {
        return all || !repositoryNames.isEmpty();
    }

    boolean isIntoCodeCommit() {
        return toRepositoryName != null || toCodeCommit || toPrefix != null;
    }

    /** The same command for one of several repositories, with changes of its own. */
    RestoreFromS3 copy() {
        try {
            var copy = (RestoreFromS3) clone();
            copy.changes = new ArrayList<>();
            copy.undoCommands = new ArrayDeque<>();
            return copy;
        } catch (CloneNotSupportedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** What the line and the entry of one of several repositories say already. */
    void detail(String message) {
        if (!isFleet() || verbose) {
            note(message);
        }
    }

    void checkOptions() {
        checkOutput();
        if (!list && !isFleet() && !output.equals("json")) {
            throw wrong("--output " + output + ": use it with --list, --repository-names or --all; a restore of one"
                    + " repository prints JSON");
        }
        checkBucket();
        if (backupAccount != null) {
            checkAccount("--backup-account", backupAccount);
        }
        if (backupRegion != null) {
            checkRegion("--backup-region", backupRegion);
        }
        if (repositoryName != null) {
            checkRepositoryName("--repository-name", repositoryName);
        }
        if (at != null) {
            latest(at);
        }
        if (manifest != null) {
            check("--manifest", manifest, MANIFEST_KEY,
                    "a key as --list shows it, without s3://BUCKET/, ending with " + MANIFEST);
        }
        checkSelection();
        checkCombination();
        checkDestination();
    }

    void checkCombination() {
        var choosesKey = at != null || repositoryName != null || backupAccount != null || backupRegion != null;
        if (manifest != null && choosesKey) {
            throw wrong("--manifest: use it without --at, --repository-name, --backup-account and --backup-region;"
                    + " the key says all that");
        }
        var restores = manifest != null || directory != null || isIntoCodeCommit() || pullRequests != null;
        if (list && restores) {
            throw wrong("--list: use it without --manifest, --directory, --to-repository-name, --to-codecommit,"
                    + " --to-prefix and --pull-requests");
        }
        if (isFleet()) {
            checkFleet();
        } else if (!list) {
            checkOne();
        }
        if (!isIntoCodeCommit() && (kmsKeyId != null || gitEndpoint != null || !kmsKeyIdsByTag.isEmpty())) {
            throw wrong((kmsKeyId != null ? "--kms-key-id" : gitEndpoint != null ? "--git-endpoint"
                    : "--kms-key-ids-by-tag") + ": use it with --to-repository-name or --to-codecommit");
        }
    }

    void checkOne() {
        if (repositoryName == null && manifest == null) {
            throw wrong("which repository? Use --repository-name, such as --repository-name payments,"
                    + " --repository-names, --all or --manifest; --list shows what there is");
        }
        if (toCodeCommit || toPrefix != null || !exclude.isEmpty()) {
            throw wrong((toCodeCommit ? "--to-codecommit" : toPrefix != null ? "--to-prefix" : "--exclude")
                    + ": use it with --repository-names or --all; one repository goes to --to-repository-name");
        }
        if (directory == null && toRepositoryName == null) {
            throw wrong("where to? Use --directory, such as --directory payments.git, or --to-repository-name; --list"
                    + " shows what there is");
        }
    }

    void checkFleet() {
        if (all && !repositoryNames.isEmpty()) {
            throw wrong("--all: use it without --repository-names");
        }
        if (repositoryName != null || manifest != null || toRepositoryName != null || pullRequests != null) {
            throw wrong((all ? "--all" : "--repository-names") + ": use it without --repository-name, --manifest,"
                    + " --to-repository-name and --pull-requests, which are for one repository");
        }
        if (!list && directory == null && !isIntoCodeCommit()) {
            throw wrong("where to? Use --to-codecommit, --to-prefix, such as --to-prefix restored-, or --directory,"
                    + " such as --directory restored; --list shows what there is");
        }
    }

    void checkDestination() {
        if (toRepositoryName != null) {
            checkRepositoryName("--to-repository-name", toRepositoryName);
        }
        if (toPrefix != null) {
            check("--to-prefix", toPrefix, "[\\w.-]{1,99}",
                    "up to 99 letters, digits and . _ -, such as restored-");
        }
        if (kmsKeyId != null) {
            checkKeyId("--kms-key-id", kmsKeyId);
        }
        keysByTag = keysByTag();
        checkGitEndpoint();
        if (directory != null && isFleet()) {
            checkDirectoryAbove(path(directory));
        } else if (directory != null) {
            checkDirectory(path(directory));
        }
        if (pullRequests != null) {
            var file = path(pullRequests);
            if (Files.isDirectory(file) || !Files.isDirectory(file.getParent())) {
                throw wrong("--pull-requests '" + pullRequests
                        + "': must be a file in a directory that exists, such as pull-requests.json");
            }
        }
    }

    void checkDirectory(Path target) {
        var exists = Files.exists(target);
        var names = Files.isDirectory(target) ? entries(target) : List.<String>of();
        var unfinished = names.stream().filter(name -> name.startsWith(".restoring-")).findFirst();
        if (unfinished.isPresent()) {
            throw wrong("--directory '" + directory + "': holds " + unfinished.get()
                    + " of a restore that was killed or is running: remove it if none is running");
        }
        var isRepository = names.contains("HEAD");
        var isFree = exists ? Files.isDirectory(target) && names.isEmpty() : Files.isDirectory(target.getParent());
        if (!isRepository && !isFree) {
            throw wrong("--directory '" + directory + "': must be a directory that does not exist yet or is empty, in"
                    + " one that exists, such as payments.git");
        }
    }

    /** The directory above several repositories. */
    void checkDirectoryAbove(Path target) {
        var isFree = Files.exists(target) ? Files.isDirectory(target) && !entries(target).contains("HEAD")
                : target.getParent() != null && Files.isDirectory(target.getParent());
        if (!isFree) {
            throw wrong("--directory '" + directory + "': must be a directory that is no Git repository, or a new one"
                    + " in one that exists, such as restored");
        }
    }

    /** @param kmsKeyId of the repositories that had the tag */
    record KeyByTag(String tag, String value, String kmsKeyId) {}

    List<KeyByTag> keysByTag() {
        var option = "--kms-key-ids-by-tag";
        var byTag = new TreeMap<String, KeyByTag>();
        for (var text : kmsKeyIdsByTag) {
            check(option, text, "[^=]+=.*=[^=]+",
                    "TAG=VALUE=KEY, such as Environment=production=alias/codecommit-production");
            var end = text.lastIndexOf('=');
            var tag = text.substring(0, end);
            checkKeyId(option, text.substring(end + 1));
            var key = new KeyByTag(tag.split("=", 2)[0], tag.split("=", 2)[1], text.substring(end + 1));
            if (byTag.put(tag, key) != null) {
                throw wrong(option + " '" + text + "': " + tag + " is there twice; give each tag one key, such as "
                        + tag + "=alias/codecommit");
            }
        }
        return List.copyOf(byTag.values());
    }

    Path path(String text) {
        try {
            return Path.of(text).toAbsolutePath().normalize();
        } catch (InvalidPathException e) {
            throw wrong("'" + text.replace("\0", "\\0") + "' is not a path; use one such as payments.git");
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

    /** The last instant that --at means. */
    Instant latest(String text) {
        try {
            return text.matches("\\d{4}-\\d\\d-\\d\\d")
                    ? LocalDate.parse(text).plusDays(1).atStartOfDay(ZoneOffset.UTC).toInstant().minusMillis(1)
                    : OffsetDateTime.parse(text).toInstant();
        } catch (DateTimeParseException e) {
            throw wrong("--at '" + text
                    + "': must be an instant such as 2026-11-21T04:00:00Z, or a day such as 2026-11-21");
        }
    }

    /** The folder of the repository, or of all. */
    String folder() {
        return prefix + "/" + Objects.requireNonNullElse(backupAccount, caller.account()) + "/"
                + Objects.requireNonNullElse(backupRegion, region()) + "/"
                + (repositoryName == null ? "" : repositoryName + "/");
    }

    static String folder(String key) {
        return key.substring(0, key.lastIndexOf('/') + 1);
    }

    /** When the refs were read, as the key has it. */
    static String keyTime(String key) {
        return key.substring(key.lastIndexOf('/') + 1).substring(0, 19);
    }

    static Instant time(String key) {
        return KEY_TIME.parse(keyTime(key), Instant::from);
    }

    String uri(String key) {
        return "s3://" + bucket + "/" + key;
    }

    /** The keys of the manifests below a folder, repository by repository, the oldest first. */
    Stream<String> manifestKeys(String folder) {
        return s3.listObjectsV2Paginator(r -> r.bucket(bucket).prefix(folder)).contents().stream().map(S3Object::key)
                .filter(key -> key.matches(MANIFEST_KEY));
    }

    /** The keys of the manifests that the options leave. */
    Stream<String> eligibleKeys() {
        var last = at == null ? "99999999" : KEY_TIME.format(latest(at));
        return manifestKeys(folder()).filter(key -> keyTime(key).compareTo(last) <= 0)
                .filter(key -> !isFleet() || isSelected(savedName(key)));
    }

    boolean isSelected(String name) {
        return (all || matchesAny(repositoryNames, name)) && !matchesAny(exclude, name);
    }

    /** The name of the repository whose manifest this is. */
    static String savedName(String key) {
        return Path.of(folder(key)).getFileName().toString();
    }

    String newestKey() {
        var newest = eligibleKeys().reduce((older, younger) -> younger);
        if (newest.isPresent()) {
            return newest.get();
        }
        var oldest = at == null ? Optional.<String>empty() : manifestKeys(folder()).findFirst();
        if (oldest.isEmpty()) {
            throw noRestorePoint();
        }
        throw new Failure("no restore point below " + uri(folder()) + " is that old: the oldest is of "
                + time(oldest.get()));
    }

    /** By the repository's name. */
    SortedMap<String, String> newestKeys() {
        var newest = new TreeMap<String, String>();
        eligibleKeys().forEach(key -> newest.put(savedName(key), key));
        if (newest.isEmpty()) {
            throw noRestorePoint();
        }
        return newest;
    }

    Failure noRestorePoint() {
        var which = repositoryNames.isEmpty() ? "" : " of " + String.join(", ", repositoryNames);
        return new Failure("no restore point" + which + (at == null ? "" : " not after " + at) + " below "
                + uri(folder()) + "; check --list, --prefix, --backup-account and --backup-region");
    }

    /** What is wrong with a restore point, so that it cannot be used. */
    static class Damage extends Failure {
        Damage(String message, Throwable cause) {
            super(message, cause);
        }

        Damage(String message) {
            this(message, null);
        }
    }

    /**
     * A restore point: a manifest that was read.
     *
     * @param rawNames bytes of ref names that are not UTF-8, by the names that stand for them in refs
     */
    record Point(String key, JsonNode manifest, SortedMap<String, ObjectId> refs, Map<String, byte[]> rawNames,
            List<Bundle> chain) {
        /** The name of the manifest without its ending: time and a random part. */
        String name() {
            return key.substring(key.lastIndexOf('/') + 1).replace(MANIFEST, "");
        }

        /** A branch, a commit id, or null. */
        String head() {
            return manifest.path("head").textValue();
        }

        /** HEAD in a directory: of a repository without a default branch, what git init makes it. */
        String headOfDirectory() {
            return Objects.requireNonNullElse(head(), "refs/heads/main");
        }

        JsonNode settings() {
            return manifest.path("settings");
        }

        JsonNode pullRequests() {
            return manifest.path("pullRequests");
        }

        /** What CodeCommit takes of the refs. */
        SortedMap<String, ObjectId> branchesAndTags() {
            var some = new TreeMap<>(refs);
            some.keySet().removeIf(ref -> !ref.matches("(?s)refs/(heads|tags)/.*"));
            return some;
        }

        /** Of all refs and of a detached HEAD. */
        Set<ObjectId> ids() {
            var ids = new LinkedHashSet<>(refs.values());
            if (head() != null && ObjectId.isId(head())) {
                ids.add(ObjectId.fromString(head()));
            }
            return ids;
        }

        byte[] rawName(String ref) {
            return rawNames.getOrDefault(ref, ref.getBytes(StandardCharsets.UTF_8));
        }

        long size() {
            return chain.stream().mapToLong(Bundle::size).sum();
        }

        /** The bytes on disk that a repository of it takes. */
        long room() {
            var objects = chain.stream().mapToLong(Bundle::objects).sum();
            // An object has some 50 bytes in the index; what an increment builds upon is added to its pack.
            return (size() + 50 * objects) * 11 / 10 + (4 << 20);
        }

        RestorePoint restorePoint() {
            return new RestorePoint(key, manifest.path("time").asText(),
                    manifest.at("/repository/repositoryId").asText(), head(), refs.size(), size(),
                    chain.stream().map(Bundle::kind).toList(), settings().isObject(), !pullRequests().isEmpty(), null);
        }
    }

    /** What is wrong with a bundle. */
    record Problem(String text, boolean isArchived) {}

    /** @param crc32 null if the manifest does not have it */
    record Bundle(String key, String kind, long size, long objects, String sha256, String crc32) {}

    Point point(String key) {
        var document = document(key, null);
        var objectFormat = document.path("objectFormat").asText("sha1");
        if (!objectFormat.equals("sha1")) {
            throw new Damage(uri(key) + " is of a repository with " + objectFormat
                    + " ids, which this release cannot restore");
        }
        var refs = new TreeMap<String, ObjectId>();
        for (var ref : document.path("refs").properties()) {
            if (!isRefName(ref.getKey()) || !ObjectId.isId(ref.getValue().asText())) {
                throw new Damage(uri(key) + " is damaged: the ref " + ref);
            }
            refs.put(ref.getKey(), ObjectId.fromString(ref.getValue().asText()));
        }
        var rawNames = new TreeMap<String, byte[]>();
        for (var name : document.path("rawNames").properties()) {
            var hex = name.getValue().asText();
            var isHex = hex.matches("([0-9a-f]{2})+");
            if (!isHex || !isRefName(new String(HexFormat.of().parseHex(hex), StandardCharsets.ISO_8859_1))) {
                throw new Damage(uri(key) + " is damaged: the ref name " + name);
            }
            rawNames.put(name.getKey(), HexFormat.of().parseHex(hex));
        }
        var chain = new ArrayList<Bundle>();
        for (var bundle : document.path("chain")) {
            if (!bundle.hasNonNull("key") || !bundle.path("size").isIntegralNumber() || !bundle.hasNonNull("sha256")) {
                throw new Damage(uri(key) + " is damaged: the bundle " + bundle);
            }
            chain.add(new Bundle(bundle.get("key").asText(), bundle.path("kind").asText(), bundle.get("size").asLong(),
                    bundle.path("objects").asLong(), bundle.get("sha256").asText(),
                    bundle.path("crc32").textValue()));
        }
        return new Point(key, document, refs, rawNames, chain);
    }

    static boolean isRefName(String name) {
        return name.startsWith("refs/") && Repository.isValidRefName(name);
    }

    /**
     * A gzipped JSON document of this format. It is read twice if it is damaged, as that may have happened on the way.
     *
     * @param sha256 null if it is not known
     */
    JsonNode document(String key, String sha256) {
        try {
            return readDocument(key, sha256);
        } catch (IOException first) {
            try {
                return readDocument(key, sha256);
            } catch (IOException e) {
                e.addSuppressed(first);
                throw new Damage(uri(key) + " is damaged: " + reason(e), e);
            }
        }
    }

    private JsonNode readDocument(String key, String sha256) throws IOException {
        byte[] bytes;
        try {
            bytes = s3.getObjectAsBytes(r -> r.bucket(bucket).key(key)).asByteArrayUnsafe();
        } catch (NoSuchKeyException e) {
            throw new Damage(uri(key) + " is missing", e);
        } catch (InvalidObjectStateException e) {
            throw new Damage(uri(key) + " " + Objects.requireNonNullElse(archived(key, head(key)), reason(e)), e);
        }
        if (sha256 != null && !hex(digest("SHA-256").digest(bytes)).equals(sha256)) {
            throw new IOException("its SHA-256 is not that of the manifest");
        }
        var document = gunzipped(new ByteArrayInputStream(bytes));
        if (document.path("format").asInt() != FORMAT) {
            throw new Damage(uri(key) + " has format " + document.path("format") + " and this release reads format "
                    + FORMAT);
        }
        return document;
    }

    /** The refs that two repositories do not have in common. */
    static List<String> differences(Map<String, ObjectId> one, Map<String, ObjectId> other) {
        var names = new TreeSet<>(one.keySet());
        names.addAll(other.keySet());
        names.removeIf(name -> Objects.equals(one.get(name), other.get(name)));
        return new ArrayList<>(names);
    }

    /** The first five names of a list. */
    static String some(List<String> names) {
        return String.join(", ", names.subList(0, Math.min(5, names.size())))
                + (names.size() > 5 ? " and " + (names.size() - 5) + " more" : "");
    }

    static String megabytes(long bytes) {
        return String.format(Locale.ROOT, bytes < 10_000_000 ? "%.1f MB" : "%.0f MB", bytes / 1e6);
    }

    /** Looked up once. */
    KeyMetadata key(String id) {
        return keys.computeIfAbsent(id, key -> {
            try (var kms = client(KmsClient.builder())) {
                return usableKey(kms, key);
            }
        });
    }

    static Repository open(Path repository) throws IOException {
        return new FileRepositoryBuilder().setGitDir(repository.toFile()).setBare().setMustExist(true).build();
    }

    long freeSpace(Path directory) throws IOException {
        return Files.getFileStore(directory).getUsableSpace();
    }

    /** One restore: a restore point into a directory, a repository, or both. */
    class Restore {
        final String key;
        final Path targetDirectory;
        final String targetName;
        final List<LeftOut> leftOut = new ArrayList<>();
        /** What is wrong with the bundles that were looked at, by key. */
        final Map<String, Optional<Problem>> problems = new HashMap<>();
        final BareRepository bare;
        Point point;

        /**
         * @param targetDirectory null if there is none
         * @param targetName of a CodeCommit repository; null if there is none
         * @param workplace the directory for what is under way; null to take one of its own
         */
        Restore(String key, Path targetDirectory, String targetName, Path workplace) {
            this.key = key;
            this.targetDirectory = targetDirectory;
            this.targetName = targetName;
            bare = new BareRepository(this, workplace);
        }

        Result run() throws Exception {
            try {
                point = point(key);
                checkChain();
                return restore();
            } catch (Damage e) {
                throw new Failure(e.getMessage() + "; " + alternative(), e);
            } finally {
                bare.remove();
            }
        }

        private String alternative() {
            try {
                return wholeBefore();
            } catch (SdkException | Failure e) {
                return "whether one before it is whole is not known: " + reason(e);
            }
        }

        private Result restore() throws Exception {
            var file = pullRequestsFile();
            var destination = targetName == null ? null : naming(targetName, () -> destination());
            var needsObjects = destination != null && !destination.missing().isEmpty();
            if (targetDirectory != null) {
                restoreDirectory();
            } else if (needsObjects && !dryRun) {
                bare.create(null, "name another place with JAVA_TOOL_OPTIONS=-Djava.io.tmpdir=DIR, or use --directory,"
                        + " which is kept");
            }
            var repository = destination == null ? null : naming(targetName, () -> destination.restore());
            if (file != null && !dryRun) {
                Files.write(path(pullRequests), file);
            }
            var refs = destination == null ? point.refs() : point.branchesAndTags();
            var written = pullRequests == null || point.pullRequests().isEmpty() ? null
                    : path(pullRequests).toString();
            return new Result(printed(strongest(changes)), caller.account(), region(),
                    targetDirectory == null ? null : targetDirectory.toString(), repository, refs.size(),
                    point.restorePoint(), written, leftOut, changes, undo());
        }

        /** Checks by size and checksum in S3 that every bundle is there and can be read. */
        private void checkChain() {
            var found = problems(point);
            if (found.size() == 1) {
                throw new Damage(found.get(0));
            }
            if (!found.isEmpty()) {
                found.forEach(problem -> note(problem));
                throw new Damage(uri(key) + ": " + found.size()
                        + " of its bundles are archived, and must be restored before they can be read");
            }
        }

        /** The first thing that is wrong with the bundles; else all that are archived: to restore one takes hours. */
        private List<String> problems(Point point) {
            var archived = new ArrayList<String>();
            for (var bundle : point.chain()) {
                var problem = problems.computeIfAbsent(bundle.key(), key -> problem(bundle));
                if (problem.isPresent() && !problem.get().isArchived()) {
                    return List.of(problem.get().text());
                }
                problem.ifPresent(each -> archived.add(each.text()));
            }
            return archived;
        }

        private Optional<Problem> problem(Bundle bundle) {
            var head = head(bundle.key());
            var archived = head == null ? null : archived(bundle.key(), head);
            return archived != null ? Optional.of(new Problem(uri(bundle.key()) + " " + archived, true))
                    : difference(bundle, head).map(text -> new Problem(uri(bundle.key()) + " " + text, false));
        }

        private Optional<String> difference(Bundle bundle, HeadObjectResponse head) {
            if (head == null) {
                return Optional.of("is missing");
            }
            if (head.contentLength() != bundle.size()) {
                return Optional.of("has " + counted(head.contentLength(), "byte") + " and should have "
                        + bundle.size());
            }
            var crc32 = head.checksumCRC32();
            // One with a dash is of the parts, not of the object.
            var isKnown = crc32 != null && !crc32.contains("-") && bundle.crc32() != null;
            return !isKnown || crc32.equals(bundle.crc32()) ? Optional.empty()
                    : Optional.of("is another object: its CRC32 is " + crc32 + " and should be " + bundle.crc32());
        }

        private String wholeBefore() {
            var older = manifestKeys(folder(key)).filter(each -> each.compareTo(key) < 0)
                    .sorted(Comparator.reverseOrder()).toList();
            for (var each : older) {
                if (isWhole(each)) {
                    return "the newest restore point before it that is whole, by sizes and checksums: --manifest "
                            + each;
                }
            }
            return "no restore point before it is whole and can be read";
        }

        private boolean isWhole(String key) {
            try {
                return problems(point(key)).isEmpty();
            } catch (Damage e) {
                return false;
            }
        }

        /** The pull requests, as the file is to have them; null if there is nothing to write. */
        private byte[] pullRequestsFile() throws IOException {
            if (pullRequests == null) {
                return null;
            }
            if (point.pullRequests().isEmpty()) {
                note("no pull requests were saved with this restore point: " + pullRequests + " is not written");
                return null;
            }
            var document = JSON.createObjectNode();
            // Of a pull request that changed while the chain grew, the last object has the newest state.
            var newest = new TreeMap<Long, JsonNode>();
            for (var object : point.pullRequests()) {
                document = (ObjectNode) document(object.path("key").asText(), object.path("sha256").asText());
                for (var each : document.path("pullRequests")) {
                    newest.put(each.at("/pullRequest/pullRequestId").asLong(), each);
                }
            }
            document.putArray("pullRequests").addAll(newest.values());
            var bytes = (document.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8);
            var file = path(pullRequests);
            if (!Files.exists(file)) {
                return bytes;
            }
            if (!Arrays.equals(bytes, Files.readAllBytes(file))) {
                throw new Failure(pullRequests + " exists and is something else: use another file");
            }
            return null;
        }

        /** The repository to restore into; one with other refs is refused, before anything is downloaded. */
        private Destination destination() {
            var destination = new Destination(this);
            destination.look();
            return destination;
        }

        private void restoreDirectory() throws Exception {
            var name = targetDirectory.toString();
            if (entries(targetDirectory).contains("HEAD")) {
                var different = bare.differences(targetDirectory);
                if (different.isEmpty()) {
                    return;
                }
                throw new Failure(name + ": is a Git repository with other refs than " + point.name() + ": "
                        + some(different) + "; use a directory that does not exist yet or is empty");
            }
            if (!dryRun) {
                bare.create(targetDirectory, "or choose another --directory");
                bare.publish();
            }
            record(Change.creation(name, "directory", name), "rm -rf " + quote(name));
        }

        String git() {
            return git;
        }

        /** Where the objects are. */
        Path objects() {
            return targetDirectory != null ? targetDirectory : bare.place;
        }

        void leaveOut(String what, String why) {
            detail(targetName + ": left out: " + what + ": " + why);
            leftOut.add(new LeftOut(what, why));
        }

        /** On Ctrl-C: nothing stays behind. */
        void stop() {
            stopping = true;
            bare.stop();
            if (targetName != null && !changes.isEmpty()) {
                detail("interrupted: " + targetName + " is not finished; the same command again does the rest");
            }
        }
    }

    /**
     * Restores several repositories, the largest first, some at a time. One that fails stops no other. All manifests
     * are read first, so that there is room for all and an estimate, and approval rule templates are created as they
     * were saved last.
     */
    class Fleet {
        /** @param room the bytes on disk that it takes, if it is not restored yet */
        record Plan(String name, String key, long size, long room) {}

        /** Of a repository, what it costs besides the bytes of its bundles, in the same measure. */
        static final long EFFORT_OF_ONE = 1_000_000;

        final Path directoryAbove = directory == null ? null : path(directory);
        final long start = System.nanoTime();
        final Map<String, FleetRepository> outcomes = new ConcurrentSkipListMap<>();
        final Set<Restore> underWay = ConcurrentHashMap.newKeySet();
        final Map<String, Instant> templateTimes = new HashMap<>();
        List<Plan> plans = List.of();
        Workplace workplace;
        /** The repositories that are not done, and what is left to do of their effort. */
        int repositoriesLeft;
        long effortLeft;
        long effort;

        int run() throws Exception {
            var keysByName = newestKeys();
            lookUpKeys();
            var looked = inParallel(READERS, List.copyOf(keysByName.entrySet()),
                    each -> plan(each.getKey(), each.getValue()));
            plans = looked.stream()
                    .sorted(Comparator.comparingLong(Plan::size).reversed().thenComparing(Plan::name)).toList();
            reportUnknownNames(keysByName.keySet());
            checkRoom();
            var onInterrupt = new Thread(this::stop);
            Runtime.getRuntime().addShutdownHook(onInterrupt);
            try {
                if (!dryRun) {
                    begin();
                }
                inParallel(jobs, plans, plan -> restore(plan));
            } finally {
                if (workplace != null) {
                    workplace.close();
                }
                if (!removeHook(onInterrupt)) {
                    onInterrupt.join();
                }
            }
            if (stopping) {
                throw new Failure("interrupted");
            }
            return report();
        }

        /** A key that cannot be used is one for all: nothing is begun. */
        private void lookUpKeys() {
            Stream.concat(Stream.ofNullable(kmsKeyId), keysByTag.stream().map(KeyByTag::kmsKeyId)).distinct()
                    .forEach(id -> key(id));
        }

        private Plan plan(String name, String key) {
            try {
                var point = point(key);
                for (var template : point.settings().path("approvalRuleTemplates")) {
                    remember(template, time(key));
                }
                return new Plan(name, key, point.size(), isThere(name) ? 0 : point.room());
            } catch (RuntimeException e) {
                return new Plan(name, key, 0, 0); // its restore fails, too, and says why
            }
        }

        private synchronized void remember(JsonNode template, Instant time) {
            var name = template.path("approvalRuleTemplateName").asText();
            if (!time.isBefore(templateTimes.getOrDefault(name, Instant.MIN))) {
                templateTimes.put(name, time);
                newestTemplates.put(name, template);
            }
        }

        private boolean isThere(String name) {
            return directoryAbove != null && Files.exists(directoryOf(name).resolve("HEAD"));
        }

        private Path directoryOf(String name) {
            return directoryAbove == null ? null : directoryAbove.resolve(name + ".git");
        }

        private String repositoryOf(String name) {
            return isIntoCodeCommit() ? Objects.requireNonNullElse(toPrefix, "") + name : null;
        }

        /** What was asked for and matches nothing is a failure like that of a repository. */
        private void reportUnknownNames(Set<String> names) {
            for (var glob : new TreeSet<>(repositoryNames)) {
                if (names.stream().noneMatch(name -> matchesAny(List.of(glob), name))) {
                    report(failed(glob, noRestorePoint()), 0);
                }
            }
        }

        /** In a directory all stay, elsewhere only those that are under way. */
        private void checkRoom() throws IOException {
            var rooms = plans.stream().mapToLong(Plan::room).boxed().sorted(Comparator.reverseOrder());
            var needed = (directoryAbove != null ? rooms : rooms.limit(jobs)).mapToLong(Long::longValue).sum();
            var place = directoryAbove == null ? Path.of(System.getProperty("java.io.tmpdir"))
                    : Files.exists(directoryAbove) ? directoryAbove : directoryAbove.getParent();
            var free = freeSpace(place);
            if (needed > free) {
                throw new Failure(place + " has room for " + megabytes(free) + " and needs " + megabytes(needed)
                        + (directoryAbove != null ? ": make room, or choose another --directory"
                                : " for " + jobs + " repositories at a time: make room, use fewer --jobs, or name"
                                        + " another place with JAVA_TOOL_OPTIONS=-Djava.io.tmpdir=DIR"));
            }
            repositoriesLeft = plans.size();
            effort = plans.stream().mapToLong(Plan::size).sum() + EFFORT_OF_ONE * plans.size();
            effortLeft = effort;
            tell((dryRun ? "would restore " : "restoring ") + counted(plans.size(), "repository") + ", "
                    + megabytes(plans.stream().mapToLong(Plan::size).sum()) + ", " + jobs + " at a time; needs "
                    + megabytes(needed) + " in " + place + ", which has " + megabytes(free));
        }

        private void begin() throws IOException {
            if (directoryAbove != null && !Files.exists(directoryAbove)) {
                Files.createDirectory(directoryAbove);
            }
            workplace = directoryAbove != null ? new Workplace(directoryAbove, ".restoring-")
                    : new Workplace(Path.of(System.getProperty("java.io.tmpdir")), "restore-from-s3-");
        }

        private FleetRepository restore(Plan plan) {
            var begun = System.nanoTime();
            var outcome = outcome(plan, begun);
            if (!stopping) {
                report(outcome, EFFORT_OF_ONE + plan.size());
            }
            return outcome;
        }

        private FleetRepository outcome(Plan plan, long begun) {
            var one = copy();
            var restore = one.new Restore(plan.key(), directoryOf(plan.name()), repositoryOf(plan.name()),
                    workplace == null ? null : workplace.directory);
            underWay.add(restore);
            try {
                if (stopping) {
                    throw new Failure("interrupted");
                }
                if (restore.targetName != null && !restore.targetName.matches("(?!.*\\.git$)[\\w.-]{1,100}")) {
                    throw new Failure(restore.targetName + " is no name that a repository can have; restore it alone,"
                            + " with --to-repository-name");
                }
                var result = restore.run();
                return new FleetRepository(plan.name(), result.status(), result.directory(), result.repository(),
                        result.refs(), secondsSince(begun), result.restorePoint(), result.leftOut(), result.changes(),
                        result.undo(), null);
            } catch (Throwable e) { // an Error too: one repository does not stop the others
                trace(e);
                return failed(plan.name(), e);
            } finally {
                underWay.remove(restore);
            }
        }

        private FleetRepository failed(String name, Throwable e) {
            return new FleetRepository(name, "failed", null, null, null, null, null, null, null, null, reason(e));
        }

        /** A line for a repository that is done, with how long the rest may take. */
        private synchronized void report(FleetRepository one, long itsEffort) {
            outcomes.put(one.repositoryName(), one);
            repositoriesLeft -= itsEffort > 0 ? 1 : 0;
            effortLeft -= itsEffort;
            var isLast = repositoriesLeft == 0 || effort == 0;
            var seconds = secondsSince(start) / Math.max(1, effort - effortLeft) * effortLeft;
            tell(one.repositoryName() + ": " + line(one) + (isLast ? "" : "; " + repositoriesLeft + " left, about "
                    + inWords(seconds)));
        }

        private String line(FleetRepository one) {
            if (one.error() != null) {
                return "failed: " + one.error();
            }
            return one.status() + ": " + counted(one.refs(), "ref") + ", " + megabytes(one.restorePoint().size())
                    + " in " + inWords(one.seconds()) + (one.leftOut().isEmpty() ? "" : "; left out: "
                            + some(one.leftOut().stream().map(LeftOut::what).toList()));
        }

        static String inWords(double seconds) {
            return seconds < 10 ? String.format(Locale.ROOT, "%.1f s", seconds)
                    : seconds < 120 ? Math.round(seconds) + " s"
                    : seconds < 7200 ? Math.round(seconds / 60) + " min"
                    : String.format(Locale.ROOT, "%.1f h", seconds / 3600);
        }

        private int report() {
            var all = List.copyOf(outcomes.values());
            var failed = all.stream().filter(one -> one.error() != null).map(FleetRepository::repositoryName).toList();
            var restored = all.stream().filter(one -> one.error() == null).toList();
            var partly = restored.stream().filter(one -> !one.leftOut().isEmpty()).map(FleetRepository::repositoryName)
                    .toList();
            var bytes = restored.stream().mapToLong(one -> one.restorePoint().size()).sum();
            var totals = new TreeMap<String, Number>();
            all.forEach(one -> totals.merge(one.status(), 1, (count, another) -> count.intValue() + 1));
            var counts = totals.entrySet().stream().filter(total -> !total.getKey().equals("failed"))
                    .map(total -> total.getValue() + " " + total.getKey()).collect(Collectors.joining(", "));
            var summary = restored.size() + " of " + counted(all.size(), "repository")
                    + (dryRun ? " can be restored, " : " restored, ") + megabytes(bytes) + " in "
                    + inWords(secondsSince(start)) + (counts.isEmpty() ? "" : ": " + counts)
                    + (partly.isEmpty() ? "" : "; not all of " + partly.size() + ": " + some(partly))
                    + (failed.isEmpty() ? "" : "; " + failed.size() + " failed: " + some(failed));
            if (restored.isEmpty() || output.equals("json")) {
                tell(summary);
            }
            if (restored.isEmpty()) {
                return 1;
            }
            totals.put("leftOut", partly.size());
            totals.put("bytes", bytes);
            totals.put("seconds", secondsSince(start));
            var changed = restored.stream().flatMap(one -> one.changes().stream()).toList();
            var result = new FleetResult(printed(strongest(changed)), caller.account(), region(), bucket, prefix,
                    directoryAbove == null ? null : directoryAbove.toString(), totals, all);
            return print(result, listed(all), summary, failed.isEmpty() && partly.isEmpty() ? 0 : 3);
        }

        /** A row for each repository, those that need somebody marked. */
        private Listed listed(List<FleetRepository> repositories) {
            var rows = new ArrayList<Row>();
            for (var one : repositories) {
                var point = one.restorePoint();
                var leftOut = one.leftOut() == null ? List.of() : one.leftOut().stream().map(LeftOut::what).toList();
                rows.add(Row.of(one.error() != null || !leftOut.isEmpty(), one.repositoryName(), one.status(),
                        one.repository() != null ? one.repository().repositoryName() : one.directory(),
                        point == null ? null : point.time(), one.refs(), point == null ? null : point.size(),
                        one.seconds(), leftOut, one.error(), point == null ? null : point.manifest(),
                        one.repository() == null ? null : one.repository().kmsKeyId(), one.undo()));
            }
            return new Listed(List.of("repositoryName", "status", "restoredTo", "time", "refs", "size", "seconds",
                    "leftOut", "error"), List.of("manifest", "kmsKeyId", "undo"), rows);
        }

        /** On Ctrl-C: nothing half-made stays behind on this machine. */
        void stop() {
            stopping = true;
            underWay.forEach(restore -> restore.stop());
            if (workplace != null) {
                workplace.close();
            }
            tell("interrupted: " + outcomes.size() + " of " + counted(plans.size(), "repository")
                    + " done; the same command again does the rest");
        }
    }

    /**
     * A directory for what is under way, which is removed at the end. It holds a file that is locked as long as its
     * run lives, so that the next run can tell, and remove, what a killed one has left.
     */
    class Workplace implements AutoCloseable {
        static final String LOCK = "lock";
        final Path directory;
        private final FileChannel channel;

        Workplace(Path parent, String prefix) throws IOException {
            for (var name : entries(parent)) {
                if (name.startsWith(prefix) && Files.exists(parent.resolve(name).resolve(LOCK))) {
                    removeIfDead(parent.resolve(name));
                }
            }
            directory = Files.createTempDirectory(parent, prefix);
            // Locked before it has the name by which others look for it.
            var lock = directory.resolve("new");
            channel = FileChannel.open(lock, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
            channel.lock();
            Files.move(lock, directory.resolve(LOCK));
        }

        private void removeIfDead(Path other) throws IOException {
            try (var itsChannel = FileChannel.open(other.resolve(LOCK), StandardOpenOption.WRITE);
                    var itsLock = itsChannel.tryLock()) {
                if (itsLock == null) {
                    return;
                }
                FileUtils.delete(other.toFile(), FileUtils.RECURSIVE | FileUtils.SKIP_MISSING);
                note("removed " + other + ", which a run that was killed has left");
            } catch (OverlappingFileLockException | NoSuchFileException | AccessDeniedException e) {
                // of a run in this process; gone by now; of another user
            }
        }

        /** Several times if need be: on Ctrl-C something may still be written there. */
        @Override
        public synchronized void close() {
            for (var attempt = 1; Files.exists(directory); attempt++) {
                try {
                    FileUtils.delete(directory.toFile(), FileUtils.RECURSIVE | FileUtils.SKIP_MISSING);
                    channel.close();
                } catch (IOException e) {
                    if (attempt == 5) {
                        note(directory + " could not be removed: " + reason(e));
                        return;
                    }
                    pause(Duration.ofMillis(100));
                }
            }
        }
    }

    /** A bare repository that is made of a restore point, in a temporary directory until everything is in it. */
    class BareRepository {
        final Restore restore;
        /** Null if there is none. */
        final Path workplace;
        /** What it will become; null if it is only needed for a while. */
        Path target;
        /** Removed at the end, whatever happens; null before it is created. */
        Path place;
        /** Whether the directory above was created for it. */
        boolean createdDirectory;
        volatile Process running;
        /** Why git is not used. */
        private GitFailure gitFailure;

        BareRepository(Restore restore, Path workplace) {
            this.restore = restore;
            this.workplace = workplace;
        }

        /**
         * Makes the repository: its objects are checked, and its refs are those of the restore point.
         *
         * @param target directory that it will become; null for the system's temporary directory
         * @param alternative to making room
         */
        void create(Path target, String alternative) throws Exception {
            begin(target);
            checkRoom(alternative);
            var point = restore.point;
            detail("restoring " + point.name() + ": " + counted(point.refs().size(), "ref") + ", "
                    + megabytes(point.size()) + " in " + counted(point.chain().size(), "bundle") + ", through " + place
                    + " ...");
            for (var name : List.of("objects", "objects/info", "objects/pack", "refs")) {
                Files.createDirectory(place.resolve(name)); // not what an interruption has removed
            }
            Files.writeString(place.resolve("config"),
                    "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n");
            var head = point.headOfDirectory();
            Files.writeString(place.resolve("HEAD"), (head.startsWith("refs/") ? "ref: " : "") + head + "\n");
            tryGit();
            for (var bundle : point.chain()) {
                add(bundle);
            }
            checkConnected();
            writeRefs();
        }

        private synchronized void begin(Path target) throws IOException {
            if (stopping) {
                throw new Failure("interrupted");
            }
            this.target = target;
            if (workplace != null) {
                place = Files.createTempDirectory(workplace, "repository-");
                return;
            }
            if (target == null) {
                place = Files.createTempDirectory("restore-from-s3-");
                return;
            }
            createdDirectory = !Files.exists(target);
            if (createdDirectory) {
                Files.createDirectory(target);
            }
            place = Files.createTempDirectory(target, ".restoring-");
        }

        private void checkRoom(String alternative) throws IOException {
            var needed = restore.point.room();
            var free = freeSpace(place);
            if (free < needed) {
                throw new Failure(place + " has room for " + megabytes(free) + " and needs " + megabytes(needed)
                        + ": make room, " + alternative);
            }
        }

        /** Adds a bundle's objects: by JGit if git fails, for that may be the fault of this machine. */
        private void add(Bundle bundle) throws IOException {
            var packs = place.resolve("objects/pack");
            var before = entries(packs);
            var failure = read(bundle);
            if (failure.isPresent() && failure.get() instanceof GitFailure ofGit) {
                leaveGitOut(ofGit);
                for (var name : entries(packs)) {
                    if (!before.contains(name)) {
                        Files.delete(packs.resolve(name));
                    }
                }
                failure = read(bundle);
            }
            if (failure.isPresent()) {
                var e = failure.get();
                var isOfObjects = e instanceof CorruptObjectException || e instanceof MissingObjectException
                        || e instanceof NoBundle;
                throw isOfObjects ? new Damage(uri(bundle.key())
                        + " is what was saved, but cannot be added to the bundles before it: " + reason(e), e)
                        : limit(e);
            }
        }

        private void tryGit() {
            try {
                git(InputStream.nullInputStream(), "--version");
            } catch (GitFailure e) {
                leaveGitOut(e);
            }
        }

        boolean usesGit() {
            return gitFailure == null;
        }

        void leaveGitOut(GitFailure failure) {
            note(reason(failure) + "; JGit is used instead");
            gitFailure = failure;
        }

        /** What cannot be done on this machine, which says nothing about the backup. */
        private Failure limit(Throwable e) {
            var isOfJGit = e instanceof TooLargeObjectInPackException || e instanceof LargeObjectException
                    || e instanceof OutOfMemoryError || e instanceof CorruptObjectException
                    || e instanceof IncorrectObjectTypeException;
            return new Failure(place + ": " + reason(e) + memoryHint(e)
                    + (isOfJGit ? "; git, which takes more than JGit, was not used: " + reason(gitFailure) : ""), e);
        }

        /**
         * Reads a bundle to its end, and again if its SHA-256 is wrong, as that may have happened on the way. Finds why
         * its objects could not be added.
         */
        private Optional<Throwable> read(Bundle bundle) throws IOException {
            var found = "";
            for (var attempt = 1; attempt <= 2; attempt++) {
                try (var in = new Download(bundle)) {
                    var failure = index(in);
                    in.transferTo(OutputStream.nullOutputStream()); // what a reader that failed has left
                    found = hex(in.hash.digest());
                    if (found.equals(bundle.sha256())) {
                        return failure;
                    }
                }
            }
            var problem = new Problem(uri(bundle.key()) + " is damaged: its SHA-256 is " + found + " and should be "
                    + bundle.sha256(), false);
            restore.problems.put(bundle.key(), Optional.of(problem));
            throw new Damage(problem.text());
        }

        private Optional<Throwable> index(InputStream in) {
            try {
                skipHeader(in);
                if (usesGit()) {
                    git(in, "index-pack", "--stdin", "--fix-thin");
                } else {
                    indexByJGit(in);
                }
                return Optional.empty();
            } catch (IOException | LargeObjectException | OutOfMemoryError e) {
                return Optional.of(e);
            }
        }

        private void indexByJGit(InputStream in) throws IOException {
            try (var local = open(place); var inserter = local.newObjectInserter()) {
                var parser = inserter.newPackParser(in);
                parser.setAllowThin(true);
                parser.parse(NullProgressMonitor.INSTANCE);
                inserter.flush();
            }
        }

        /**
         * Reads a bundle's text, up to an empty line: signature, capabilities, and prerequisites and refs, for which
         * the manifest is the truth.
         */
        private void skipHeader(InputStream in) throws IOException {
            var line = line(in);
            if (!line.matches("# v[23] git bundle")) {
                throw new NoBundle("not a Git bundle");
            }
            while (!line.isEmpty()) {
                if (line.startsWith("@") && !line.equals("@object-format=sha1")) {
                    throw new NoBundle("the bundle wants " + line);
                }
                line = line(in);
            }
        }

        private String line(InputStream in) throws IOException {
            var line = new ByteArrayOutputStream();
            var next = in.read();
            while (next != '\n') {
                if (next < 0 || line.size() > 10_000) {
                    throw new NoBundle("the bundle's header has no end");
                }
                line.write(next);
                next = in.read();
            }
            return line.toString(StandardCharsets.UTF_8);
        }

        /** Checks that every object is there to which the refs lead. */
        private void checkConnected() {
            if (usesGit()) {
                var ids = restore.point.ids().stream().map(ObjectId::name).collect(Collectors.joining("\n"));
                try {
                    git(new ByteArrayInputStream(ids.getBytes(StandardCharsets.UTF_8)), "rev-list", "--objects",
                            "--quiet", "--stdin");
                    return;
                } catch (GitFailure e) {
                    leaveGitOut(e);
                }
            }
            try (var local = open(place); var walk = new ObjectWalk(local)) {
                for (var id : restore.point.ids()) {
                    walk.markStart(walk.parseAny(id));
                }
                walk.checkConnectivity();
            } catch (MissingObjectException e) {
                throw new Damage(uri(restore.key) + ": its bundles lack objects of its refs: " + reason(e), e);
            } catch (IOException | LargeObjectException | OutOfMemoryError e) {
                throw limit(e);
            }
        }

        private void git(InputStream in, String... arguments) throws GitFailure {
            run(gitProcess(git, place, arguments), in, arguments[0]);
        }

        /** @param what that does */
        void run(ProcessBuilder command, InputStream in, String what) throws GitFailure {
            String said;
            int code;
            try {
                running = command.redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
                feed(in);
                said = new String(running.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
                code = running.waitFor();
            } catch (IOException e) {
                throw new GitFailure(reason(e), e);
            } catch (InterruptedException e) {
                throw new Failure("interrupted", e);
            } finally {
                kill();
            }
            if (stopping) {
                throw new Failure("interrupted");
            }
            if (code != 0) {
                throw new GitFailure("git " + what
                        + (code > 128 ? " was ended by signal " + (code - 128) : " failed with exit code " + code)
                        + (said.isBlank() ? "" : ": " + said.strip().replaceAll("\\s+", " ")), null);
            }
        }

        private void feed(InputStream in) {
            try (var out = running.getOutputStream()) {
                in.transferTo(out);
            } catch (IOException e) {
                // git has ended, and says why by its exit code and on stderr
            }
        }

        /** Writes all refs into one file, for names that are too long for a file of their own, or not UTF-8. */
        private void writeRefs() throws IOException {
            var point = restore.point;
            var packed = new ByteArrayOutputStream();
            packed.writeBytes("# pack-refs with: sorted \n".getBytes(StandardCharsets.US_ASCII));
            var names = point.refs().keySet().stream()
                    .sorted(Comparator.comparing(name -> point.rawName(name), Arrays::compareUnsigned)).toList();
            for (var name : names) {
                packed.writeBytes((point.refs().get(name).name() + " ").getBytes(StandardCharsets.US_ASCII));
                packed.writeBytes(point.rawName(name));
                packed.write('\n');
            }
            Files.write(place.resolve("packed-refs"), packed.toByteArray());
            var different = differences(place);
            if (!different.isEmpty()) {
                throw new Failure("these refs did not become those of the restore point: " + some(different));
            }
        }

        /** What of a repository's refs and HEAD is not as in the restore point. */
        List<String> differences(Path repository) throws IOException {
            var wanted = new TreeMap<String, ObjectId>();
            restore.point.refs().forEach((name, id) -> wanted.put(
                    new String(restore.point.rawName(name), StandardCharsets.UTF_8), id)); // as JGit reads it
            try (var local = open(repository)) {
                var present = new TreeMap<String, ObjectId>();
                for (var ref : local.getRefDatabase().getRefsByPrefix("refs/")) {
                    present.put(ref.getName(), ref.getObjectId());
                }
                var different = RestoreFromS3.differences(wanted, present);
                var head = local.exactRef("HEAD");
                var target = head.isSymbolic() ? head.getTarget().getName() : head.getObjectId().name();
                if (!target.equals(restore.point.headOfDirectory())) {
                    different.add("HEAD");
                }
                return different;
            }
        }

        /** Makes the repository appear where it is wanted: HEAD comes last, and without HEAD it is none. */
        synchronized void publish() throws IOException {
            if (stopping) {
                throw new Failure("interrupted");
            }
            if (workplace != null) {
                Files.move(place, target, StandardCopyOption.REPLACE_EXISTING); // what is not empty stays
                return;
            }
            for (var name : entries(place)) {
                if (!name.equals("HEAD")) {
                    Files.move(place.resolve(name), place.resolveSibling(name));
                }
            }
            Files.move(place.resolve("HEAD"), place.resolveSibling("HEAD"));
            createdDirectory = false;
        }

        void stop() {
            kill();
            remove();
        }

        private void kill() {
            var process = running;
            if (process != null) {
                process.destroyForcibly().onExit().join();
            }
        }

        /** Several times if need be: on Ctrl-C something may still be written there. */
        synchronized void remove() {
            var created = createdDirectory ? place.getParent() : place;
            for (var attempt = 1; created != null && Files.exists(created); attempt++) {
                try {
                    FileUtils.delete(place.toFile(), FileUtils.RECURSIVE | FileUtils.SKIP_MISSING);
                    Files.deleteIfExists(created);
                } catch (IOException e) {
                    if (attempt == 5) {
                        note(created + " could not be removed: " + reason(e));
                        return;
                    }
                    pause(Duration.ofMillis(100));
                }
            }
        }
    }

    /** git could not be started or ended by an error: of the objects, its own, or this machine's. */
    static class GitFailure extends IOException {
        GitFailure(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** What should be a bundle is none that can be read. */
    static class NoBundle extends IOException {
        NoBundle(String message) {
            super(message);
        }
    }

    /** A bundle's bytes as they come from S3, hashed; a connection that was cut is continued where that was. */
    class Download extends InputStream {
        final MessageDigest hash = digest("SHA-256");
        private final Bundle bundle;
        private long position;
        private String version;
        private final BrokenLine line;
        private ResponseInputStream<GetObjectResponse> in;

        Download(Bundle bundle) {
            this.bundle = bundle;
            line = new BrokenLine(uri(bundle.key()));
        }

        @Override
        public int read() throws IOException {
            var one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] bytes, int from, int length) {
            if (position == bundle.size()) {
                return -1;
            }
            return poll(linePatience, () -> readOnce(bytes, from, length)).orElseThrow(() -> new Failure(
                    uri(bundle.key()) + ": " + reason(line.lastFailure) + " after " + position + " of "
                            + counted(bundle.size(), "byte"), line.lastFailure));
        }

        private Optional<Integer> readOnce(byte[] bytes, int from, int length) {
            if (stopping) {
                throw new Failure("interrupted");
            }
            try {
                if (in == null) {
                    in = open();
                }
                var count = in.read(bytes, from, (int) Math.min(length, bundle.size() - position));
                if (count < 0) {
                    throw new EOFException("the connection was cut");
                }
                hash.update(bytes, from, count);
                position += count;
                return Optional.of(count);
            } catch (IOException | SdkException e) {
                if (!isTemporary(e)) {
                    throw new Failure(uri(bundle.key()) + ": " + reason(e), e);
                }
                close();
                line.tell(e);
                return Optional.empty();
            }
        }

        private ResponseInputStream<GetObjectResponse> open() {
            try {
                var range = position == 0 ? null : "bytes=" + position + "-";
                var opened = s3.getObject(r -> r.bucket(bucket).key(bundle.key()).range(range).ifMatch(version));
                version = opened.response().eTag();
                return opened;
            } catch (NoSuchKeyException e) {
                throw new Damage(uri(bundle.key()) + " is missing", e);
            }
        }

        @Override
        public void close() {
            if (in != null) {
                in.abort();
            }
            in = null;
        }
    }

    /** The CodeCommit repository that is restored into. */
    class Destination {
        final Restore restore;
        final Point point;
        final String name;
        /** The refs that it is to have. */
        final SortedMap<String, ObjectId> wanted;
        /** Null while it does not exist. */
        RepositoryMetadata repository;
        /** The ARN for a new repository; null for one that exists, whose key stays. */
        String newKey;
        /** The refs that it has. */
        Map<String, ObjectId> present = Map.of();
        Map<String, String> tags = Map.of();
        /** Whether this run has set the tag that refs are on their way. */
        boolean marked;

        Destination(Restore restore) {
            this.restore = restore;
            point = restore.point;
            name = restore.targetName;
            wanted = point.branchesAndTags();
        }

        /** Looks at what is there, and refuses it if it is another repository. */
        void look() {
            repository = find();
            newKey = newKey();
            if (repository != null) {
                lookInside();
            }
        }

        private RepositoryMetadata find() {
            try {
                return codecommit.getRepository(r -> r.repositoryName(name)).repositoryMetadata();
            } catch (RepositoryDoesNotExistException e) {
                return null;
            }
        }

        private void lookInside() {
            present = refs();
            tags = repositoryTags(codecommit, repository.arn());
            var other = differences(point.refs(), present);
            other.removeIf(ref -> !present.containsKey(ref) || isOnItsWay(ref));
            if (!other.isEmpty()) {
                throw new Failure("has other refs than " + point.name() + ": " + some(other)
                        + "; nothing was changed: restore into another repository");
            }
        }

        private boolean isOnItsWay(String ref) {
            return isMarked() && wanted.containsKey(ref);
        }

        boolean isMarked() {
            return point.name().equals(tags.get(RESTORING));
        }

        private String newKey() {
            var chosen = chosenKey();
            if (chosen == null && repository != null) {
                return null;
            }
            var key = chosen != null ? key(chosen) : savedKey();
            if (repository == null) {
                return key.arn();
            }
            checkKey(key);
            return null;
        }

        /** The key that the options name for it; null if they name none. */
        private String chosenKey() {
            var saved = point.settings().path("tags");
            var ofTags = keysByTag.stream().filter(each -> each.value().equals(saved.path(each.tag()).textValue()))
                    .toList();
            if (ofTags.stream().map(KeyByTag::kmsKeyId).distinct().count() > 1) {
                throw new Failure("had several tags of --kms-key-ids-by-tag, with several keys: "
                        + ofTags.stream().map(each -> each.tag() + "=" + each.value())
                                .collect(Collectors.joining(", ")) + "; restore it alone, with --kms-key-id");
            }
            return ofTags.isEmpty() ? kmsKeyId : ofTags.get(0).kmsKeyId();
        }

        /** The key that the repository was under when it was saved. */
        private KeyMetadata savedKey() {
            var saved = point.settings().path("kmsKeyId").asText("");
            if (saved.isEmpty()) {
                throw new Failure("does not exist, and the restore point names no key for it: use --kms-key-id, such as"
                        + " --kms-key-id alias/codecommit");
            }
            if (!saved.contains(":kms:" + region() + ":" + caller.account() + ":")) {
                throw new Failure("does not exist, and its key was " + saved + ", which is not of account "
                        + caller.account() + " in " + region() + ": use --kms-key-id");
            }
            KeyMetadata key;
            try {
                key = key(saved);
            } catch (Failure e) {
                throw new Failure(reason(e) + "; or use --kms-key-id for another key than the repository had", e);
            }
            if (key.keyManager() == KeyManagerType.AWS) {
                throw new Failure("does not exist, and was under the AWS managed key before: use --kms-key-id;"
                        + " alias/aws/codecommit is that key");
            }
            return key;
        }

        /** Refuses a repository that is under another key. */
        private void checkKey(KeyMetadata key) {
            var current = repository.kmsKeyId();
            var isSame = current == null ? key.keyManager() == KeyManagerType.AWS
                    : List.of(key.arn(), key.keyId()).contains(current);
            if (!isSame) {
                throw new Failure("is under " + Objects.requireNonNullElse(current, "the AWS managed key") + ", not "
                        + key.arn() + ": leave --kms-key-id out, or first run ./jbang create-encrypted-repo");
            }
        }

        private Map<String, ObjectId> refs() {
            return patiently(name, () -> {
                var refs = new TreeMap<String, ObjectId>();
                try (var local = new InMemoryRepository(new DfsRepositoryDescription());
                        var transport = transport(repository.cloneUrlHttp(), local);
                        var connection = transport.openFetch()) {
                    connection.getRefs().forEach(ref -> refs.put(ref.getName(), ref.getObjectId()));
                }
                refs.keySet().removeIf(name -> !name.startsWith("refs/"));
                return refs;
            });
        }

        List<String> missing() {
            return wanted.keySet().stream().filter(ref -> !wanted.get(ref).equals(present.get(ref))).toList();
        }

        RestoredRepository restore() {
            for (var ref : point.refs().keySet()) {
                if (!wanted.containsKey(ref) && !present.containsKey(ref)) {
                    restore.leaveOut(ref, "CodeCommit takes branches and tags only");
                }
                if (wanted.containsKey(ref) && point.rawNames().containsKey(ref)) {
                    restore.leaveOut("the name of " + ref, "it was not UTF-8, and this name stands for it");
                }
            }
            if (repository == null) {
                create();
            }
            if (!missing().isEmpty()) {
                restoreRefs();
            }
            unmark();
            new Settings(this).restore();
            if (!dryRun && !changes.isEmpty()) {
                repository = find();
            }
            return outcome();
        }

        private void create() {
            var creation = Change.creation(name, "repository", name);
            var undo = aws("codecommit delete-repository --repository-name=" + name)
                    + " # irreversible: deletes what was pushed since, too";
            if (dryRun) {
                record(creation, undo);
                return;
            }
            var description = point.settings().path("repositoryDescription").asText("");
            try {
                repository = codecommit.createRepository(r -> r.repositoryName(name).kmsKeyId(newKey)
                        .repositoryDescription(description.isEmpty() ? null : description)).repositoryMetadata();
                record(creation, undo);
            } catch (RepositoryNameExistsException e) {
                repository = find();
                if (repository == null) {
                    throw new Failure("was there and is not any more; the same command again creates it", e);
                }
                if (isDoubtful(e)) {
                    record(creation, undo);
                } else {
                    note(name + ": someone else created it in the meantime");
                }
            } catch (SdkException e) {
                throw !isTemporary(e) ? e : new Failure(
                        reason(e) + "; it may have been created, empty: the same command again does the rest", e);
            }
            lookInside();
        }

        /** Pushes what is missing. If that fails half-way, what was pushed is recorded all the same. */
        private void restoreRefs() {
            var before = right();
            if (dryRun) {
                record(Change.update(name, "refs", before, wanted.size()), null);
                return;
            }
            try (var local = open(restore.objects())) {
                new Push(this, local).run();
            } catch (IOException | RuntimeException | OutOfMemoryError e) {
                throw new Failure(reason(e) + memoryHint(e) + "; " + progress(), e);
            } finally {
                if (right() > before) {
                    record(Change.update(name, "refs", before, right()), null);
                }
            }
        }

        private int right() {
            return wanted.size() - missing().size();
        }

        String progress() {
            return right() + " of " + counted(wanted.size(), "ref") + (wanted.size() == 1 ? " is" : " are") + " right";
        }

        void mark() {
            if (!marked && !isMarked()) {
                codecommit.tagResource(r -> r.resourceArn(repository.arn()).tags(Map.of(RESTORING, point.name())));
                marked = true;
            }
        }

        private void unmark() {
            if (marked) {
                codecommit.untagResource(r -> r.resourceArn(repository.arn()).tagKeys(RESTORING));
            } else if (tags.containsKey(RESTORING)) {
                change(Change.update(name, "tags", Map.of(RESTORING, tags.get(RESTORING)), Map.of()), null,
                        () -> codecommit.untagResource(r -> r.resourceArn(repository.arn()).tagKeys(RESTORING)));
            }
        }

        private RestoredRepository outcome() {
            var arn = arn("codecommit", name);
            return repository == null ? new RestoredRepository(name, null, arn, newKey, null, null)
                    : new RestoredRepository(name, repository.repositoryId(), arn, repository.kmsKeyId(),
                            repository.defaultBranch(), repository.cloneUrlHttp());
        }
    }

    interface GitCall<T> {
        T run() throws Exception;
    }

    /** Repeats a call to Git while the line breaks. */
    <T> T patiently(String subject, GitCall<T> call) {
        var line = new BrokenLine(subject);
        return poll(linePatience, () -> {
            try {
                return Optional.of(call.run());
            } catch (Exception e) {
                line.checkRetry(e);
                return Optional.empty();
            }
        }).orElseThrow(line::failure);
    }

    /** The failures of a line that breaks again and again: each is told when it first comes. */
    class BrokenLine {
        private final String subject;
        private Exception lastFailure;

        BrokenLine(String subject) {
            this.subject = subject;
        }

        /** Throws what the same call to Git would meet again; tells what it may not. */
        void checkRetry(Exception e) {
            if (stopping || !isOfLine(e)) {
                throw lasting(e);
            }
            // In JGit's type, or it would look like a refusal for good.
            tell(refusal(e).<Exception>map(refusal -> new TransportException(reason(refusal), refusal)).orElse(e));
        }

        void tell(Exception e) {
            tell(e, "tries again");
        }

        /** @param next what is done now */
        void tell(Exception e, String next) {
            if (lastFailure == null || !reason(lastFailure).equals(reason(e))) {
                note(subject + ": " + reason(e) + "; " + next);
            }
            lastFailure = e;
        }

        Failure failure() {
            return new Failure(reason(lastFailure), lastFailure);
        }
    }

    /**
     * Whether the line broke, or the server is too busy or out of order. Of a broken line JGit keeps the JDK's
     * exception; what a server refuses in words has none.
     */
    static boolean isOfLine(Exception e) {
        var refusal = refusal(e);
        if (refusal.isPresent()) {
            return refusal.get().isThrottling() || refusal.get().status >= 500;
        }
        if (!(e instanceof TransportException)) {
            return false; // of this machine
        }
        var isLasting = hasCause(e, UnknownHostException.class) || hasCause(e, CertificateException.class);
        return !isLasting && (hasCause(e, SocketException.class) || hasCause(e, InterruptedIOException.class)
                || hasCause(e, EOFException.class) || hasCauseOfJust(e, SSLException.class)
                || hasCauseOfJust(e, IOException.class));
    }

    static Optional<GitRefusal> refusal(Throwable e) {
        return Stream.iterate(e, Objects::nonNull, Throwable::getCause).filter(GitRefusal.class::isInstance)
                .map(GitRefusal.class::cast).findFirst();
    }

    /** What the same call would meet again. JGit's exception is not its cause, by which it would look temporary. */
    Failure lasting(Exception e) {
        if (stopping) {
            return new Failure("interrupted", e);
        }
        if (e instanceof Failure failure) {
            return failure;
        }
        var failure = new Failure(reason(refusal(e).<Exception>map(refusal -> refusal).orElse(e)) + memoryHint(e));
        failure.addSuppressed(e);
        return failure;
    }

    static String memoryHint(Throwable e) {
        var isOfMemory = hasCause(e, OutOfMemoryError.class) || hasCause(e, LargeObjectException.class);
        return !isOfMemory ? "" : "; Java takes " + megabytes(Runtime.getRuntime().maxMemory())
                + " of memory here, and more with JAVA_TOOL_OPTIONS=-Xmx4g";
    }

    static boolean hasCause(Throwable e, Class<? extends Throwable> type) {
        return e != null && (type.isInstance(e) || hasCause(e.getCause(), type));
    }

    /** The same for the type itself, not those that extend it. */
    static boolean hasCauseOfJust(Throwable e, Class<? extends Throwable> type) {
        return e != null && (e.getClass() == type || hasCauseOfJust(e.getCause(), type));
    }

    /** Brings the refs of a repository to where they are wanted, in as many pushes as it takes. */
    class Push {
        final Destination destination;
        /** Where the objects come from. */
        final Repository local;
        private final BrokenLine line;

        /** A ref on its way: to its place, or to a commit before that if the whole way is too long for one push. */
        record Step(String ref, ObjectId to) {}

        Push(Destination destination, Repository local) {
            this.destination = destination;
            this.local = local;
            line = new BrokenLine(destination.name + ": a push failed");
        }

        void run() throws IOException {
            checkWay();
            if (destination.point.size() >= leastForGit && !destination.missing().isEmpty()) {
                pushByGit();
            }
            while (!destination.missing().isEmpty()) {
                poll(linePatience, () -> pushSome()).orElseThrow(line::failure);
            }
            compare();
        }

        /**
         * Refuses a ref whose commit does not lead to where it is wanted: not an earlier restore has left it there but
         * someone else's push, which is not undone.
         */
        private void checkWay() throws IOException {
            for (var ref : destination.missing()) {
                var from = destination.present.get(ref);
                if (from != null && !leadsTo(from, destination.wanted.get(ref))) {
                    throw new Failure("someone else pushes there: " + ref + " is not on its way to the restore point");
                }
            }
        }

        /** After a push that failed: what it did, and what others did meanwhile. */
        private void lookAgain() {
            destination.present = destination.refs();
            try {
                checkWay();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        private boolean leadsTo(ObjectId from, ObjectId to) throws IOException {
            if (!local.getObjectDatabase().has(from)) {
                return false;
            }
            try (var walk = new RevWalk(local)) {
                return walk.parseAny(from) instanceof RevCommit base
                        && walk.peel(walk.parseAny(to)) instanceof RevCommit tip && walk.isMergedInto(base, tip);
            }
        }

        /**
         * What git does not push in smaller parts either, for whatever reason, is left to JGit, whose failures tell
         * what they are.
         */
        private void pushByGit() throws IOException {
            var bare = destination.restore.bare;
            if (destination.isMarked()) {
                maxBytesByGit.set(maxBytes); // a run before this one has met what cuts pushes
            }
            while (bare.usesGit() && !destination.missing().isEmpty()) {
                var before = Map.copyOf(destination.present);
                var mostBytes = maxBytesByGit.get();
                try {
                    for (var push : pushes(mostBytes)) {
                        sendByGit(push);
                    }
                } catch (GitFailure e) {
                    lookAgain();
                    if (destination.missing().isEmpty()) {
                        continue; // only the answer was lost
                    }
                    if (mostBytes > maxBytes && destination.point.size() > maxBytes) {
                        maxBytesByGit.set(maxBytes);
                        line.tell(e, "tries again in smaller parts");
                    } else if (destination.present.equals(before)) {
                        bare.leaveGitOut(e);
                    } else {
                        line.tell(e);
                    }
                }
            }
        }

        /** What brings all refs to their places, in pushes of at most {@link #maxRefs} refs and so many bytes. */
        private List<List<Step>> pushes(long mostBytes) throws IOException {
            return destination.point.size() > mostBytes ? parts(new History(this).read(), mostBytes)
                    : batches(steps(), maxRefs);
        }

        /**
         * Pushes of parts of the history: a branch stands for a while where the next commit, with what it merged,
         * would make a push too large.
         *
         * @param commits that the server lacks
         */
        private List<List<Step>> parts(Map<ObjectId, Commit> commits, long mostBytes) throws IOException {
            var parts = new ArrayList<List<Step>>();
            var part = new LinkedHashMap<String, Step>();
            var size = 0L;
            for (var step : steps()) {
                for (var commit : way(step, commits)) {
                    var added = commit.take();
                    if (size > 0 && size + added > mostBytes) {
                        parts.add(List.copyOf(part.values()));
                        part.clear();
                        size = 0;
                    }
                    size += added;
                    part.put(step.ref(), new Step(step.ref(), commit.id));
                }
                part.put(step.ref(), step);
                if (part.size() == maxRefs) {
                    parts.add(List.copyOf(part.values()));
                    part.clear();
                    size = 0;
                }
            }
            if (!part.isEmpty()) {
                parts.add(List.copyOf(part.values()));
            }
            return parts;
        }

        /** The commits along first parents that no part has yet, the oldest first. */
        private Deque<Commit> way(Step step, Map<ObjectId, Commit> commits) throws IOException {
            var way = new ArrayDeque<Commit>();
            try (var walk = new RevWalk(local)) {
                var next = commits.get(walk.peel(walk.parseAny(step.to())).copy());
                while (next != null && !next.isTaken) {
                    way.push(next);
                    next = next.firstParent;
                }
            }
            return way;
        }

        private void sendByGit(List<Step> part) throws IOException {
            if (part.stream().anyMatch(step -> !step.to().equals(destination.wanted.get(step.ref())))) {
                destination.mark();
            }
            var file = Files.createTempFile("restore-from-s3-", ".config"); // too much for a command line
            try {
                var url = gitUrl(URI.create(destination.repository.cloneUrlHttp()));
                Files.writeString(file, configuration(url, part));
                var push = gitProcess(git, local.getDirectory().toPath(), "-c", "include.path=" + file, "push",
                        "--quiet", "--no-verify", "codecommit");
                // In the environment, which others cannot read, and not in the arguments.
                push.environment().putAll(Map.of("GIT_CONFIG_COUNT", "1", "GIT_CONFIG_KEY_0", "http.extraHeader",
                        "GIT_CONFIG_VALUE_0", "Authorization: " + gitAuthorization(url), "GIT_TERMINAL_PROMPT", "0"));
                push.environment().remove("SSH_ASKPASS");
                var certificates = System.getenv("AWS_CA_BUNDLE");
                if (certificates != null && !certificates.isEmpty()) {
                    push.environment().put("GIT_SSL_CAINFO", certificates);
                }
                destination.restore.bare.run(push, InputStream.nullInputStream(), "push");
            } catch (URISyntaxException | GeneralSecurityException e) {
                throw new IllegalStateException(e);
            } finally {
                Files.deleteIfExists(file);
            }
            part.forEach(step -> destination.present.put(step.ref(), step.to()));
            if (!destination.missing().isEmpty()) {
                detail(destination.name + ": " + destination.progress());
            }
        }

        /** Without force, but for a tag that this restore has moved before: what others push is not overwritten. */
        private String configuration(URI url, List<Step> part) {
            var text = new StringBuilder("[http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 1\n\tlowSpeedTime = "
                    + gitTimeout + "\n[remote \"codecommit\"]\n\turl = " + url + "\n");
            for (var step : part) {
                var isMovedTag = step.ref().startsWith("refs/tags/") && destination.present.containsKey(step.ref());
                text.append("\tpush = \"").append(isMovedTag ? "+" : "").append(step.to().name()).append(':')
                        .append(step.ref().replace("\"", "\\\"")).append("\"\n");
            }
            return text.toString();
        }

        /** Pushes until all is done or the line breaks; finds something if that brought any ref further. */
        private Optional<Boolean> pushSome() {
            var before = Map.copyOf(destination.present);
            try {
                for (var some : batches(steps(), maxRefs)) {
                    push(some);
                }
            } catch (Exception e) {
                line.checkRetry(e);
                lookAgain();
            }
            return destination.present.equals(before) ? Optional.empty() : Optional.of(true);
        }

        /** The way of what is missing, the oldest commits first: so the packs of neighbours are parts of history. */
        private List<Step> steps() throws IOException {
            var times = new HashMap<Step, Integer>();
            try (var walk = new RevWalk(local)) {
                for (var ref : destination.missing()) {
                    var step = new Step(ref, destination.wanted.get(ref));
                    times.put(step, walk.peel(walk.parseAny(step.to())) instanceof RevCommit commit
                            ? commit.getCommitTime() : Integer.MAX_VALUE);
                }
            }
            return times.keySet().stream().sorted(Comparator.<Step>comparingInt(times::get).thenComparing(Step::ref))
                    .toList();
        }

        /** Pushes in as many parts as it takes: halves of the refs, and of one ref's history. */
        private void push(List<Step> steps) throws Exception {
            if (fits(steps)) {
                send(steps);
                return;
            }
            var half = steps.size() / 2;
            if (half > 0) {
                push(steps.subList(0, half));
                push(steps.subList(half, steps.size()));
                return;
            }
            var middle = middle(steps.get(0));
            if (middle.isEmpty()) {
                send(steps);
                return;
            }
            destination.mark();
            push(List.of(new Step(steps.get(0).ref(), middle.get())));
            push(steps);
        }

        /** Whether a pack of what the server lacks is small enough; it is written to find out. */
        private boolean fits(List<Step> steps) throws IOException {
            if (destination.point.size() <= maxBytes) {
                return true;
            }
            var known = new HashSet<ObjectId>();
            for (var id : destination.present.values()) {
                if (local.getObjectDatabase().has(id)) {
                    known.add(id);
                }
            }
            var ids = steps.stream().map(Step::to).collect(Collectors.toSet());
            try (var writer = new PackWriter(local)) {
                writer.setDeltaBaseAsOffset(true);
                writer.preparePack(NullProgressMonitor.INSTANCE, ids, known);
                writer.writePack(NullProgressMonitor.INSTANCE, NullProgressMonitor.INSTANCE, new Limit());
                return true;
            } catch (TooLarge e) {
                return false;
            }
        }

        /** The commit in the middle of the way along first parents; empty if there is none. */
        private Optional<ObjectId> middle(Step step) throws IOException {
            var from = destination.present.get(step.ref());
            var way = new ArrayList<ObjectId>();
            try (var walk = new RevWalk(local)) {
                var next = walk.peel(walk.parseAny(step.to()));
                while (next instanceof RevCommit commit && !commit.equals(from)) {
                    way.add(commit.copy());
                    next = commit.getParentCount() == 0 ? null : walk.parseCommit(commit.getParent(0));
                }
            }
            return way.size() < 2 ? Optional.empty() : Optional.of(way.get(way.size() / 2));
        }

        private void send(List<Step> steps) throws Exception {
            var updates = new ArrayList<RemoteRefUpdate>();
            for (var step : steps) {
                // Only by force does a tag leave its way. What is there now must be what was seen.
                var expected = destination.present.getOrDefault(step.ref(), ObjectId.zeroId());
                updates.add(new RemoteRefUpdate(local, null, step.to(), step.ref(), true, null, expected));
            }
            try (var transport = transport(destination.repository.cloneUrlHttp(), local)) {
                transport.push(NullProgressMonitor.INSTANCE, updates);
            }
            var refused = new ArrayList<String>();
            for (var update : updates) {
                switch (update.getStatus()) {
                    case OK, UP_TO_DATE ->
                        destination.present.put(update.getRemoteName(), update.getNewObjectId());
                    case AWAITING_REPORT, NOT_ATTEMPTED ->
                        throw new TransportException("no answer for " + update.getRemoteName());
                    default -> refused.add(update.getRemoteName() + " ("
                            + Objects.requireNonNullElse(update.getMessage(), update.getStatus().name()) + ")");
                }
            }
            if (!refused.isEmpty()) {
                throw new Failure("refused: " + some(refused));
            }
            if (!destination.missing().isEmpty()) {
                detail(destination.name + ": " + destination.progress());
            }
        }

        /** Reads the refs again: what is there now must be the restore point's. */
        private void compare() {
            destination.present = destination.refs();
            var different = differences(destination.point.refs(), destination.present);
            different.removeIf(ref -> !destination.present.containsKey(ref) && !destination.wanted.containsKey(ref));
            if (!different.isEmpty()) {
                throw new Failure("someone else pushes there: " + some(different) + " changed in the meantime");
            }
        }

        /** A pack that has more bytes than a push may have. */
        static class TooLarge extends IOException {}

        /** Takes as many bytes as a push may have. */
        class Limit extends OutputStream {
            private long size;

            @Override
            public void write(int b) throws IOException {
                count(1);
            }

            @Override
            public void write(byte[] bytes, int from, int length) throws IOException {
                count(length);
            }

            private void count(int length) throws IOException {
                size += length;
                if (size > maxBytes) {
                    throw new TooLarge();
                }
            }
        }
    }

    /** A commit that a server lacks. */
    static class Commit {
        final ObjectId id;
        /** In bytes, of the objects that come with it. */
        long size;
        /** Null if there is none that the server lacks. */
        Commit firstParent;
        List<Commit> parents = List.of();
        boolean isTaken;

        Commit(ObjectId id) {
            this.id = id;
        }

        /** Takes it and all before it that nobody has taken; gives their size. */
        long take() {
            var taken = 0L;
            var next = new ArrayDeque<Commit>(List.of(this));
            while (!next.isEmpty()) {
                var commit = next.pop();
                if (!commit.isTaken) {
                    commit.isTaken = true;
                    taken += commit.size;
                    commit.parents.forEach(next::push);
                }
            }
            return taken;
        }
    }

    /** What a server lacks, by two commands of git: the commits in their order, each with the sizes of its objects. */
    static class History {
        private final Push push;
        private final Map<ObjectId, Commit> commits = new HashMap<>();
        private Commit last = new Commit(ObjectId.zeroId());

        History(Push push) {
            this.push = push;
        }

        Map<ObjectId, Commit> read() throws IOException {
            var repository = push.local.getDirectory().toPath();
            var git = push.destination.restore.git();
            var objects = gitProcess(git, repository, "rev-list", "--objects", "--in-commit-order", "--reverse",
                    "--parents", "--stdin").redirectError(ProcessBuilder.Redirect.DISCARD);
            var sizes = gitProcess(git, repository, "cat-file", "--buffer",
                    "--batch-check=%(objecttype) %(objectsize:disk) %(objectname) %(rest)")
                    .redirectError(ProcessBuilder.Redirect.DISCARD);
            var processes = start(objects, sizes);
            try (var in = processes.get(0).getOutputStream()) {
                in.write(revisions().getBytes(StandardCharsets.US_ASCII));
            } catch (IOException e) {
                // git has ended, and says why by its exit code
            }
            try (var out = processes.get(1).inputReader(StandardCharsets.ISO_8859_1)) {
                for (var line = out.readLine(); line != null; line = out.readLine()) {
                    add(line.split(" "));
                }
                for (var process : processes) {
                    if (process.waitFor() != 0) {
                        throw new GitFailure("git could not list the objects", null);
                    }
                }
            } catch (InterruptedException e) {
                throw new Failure("interrupted", e);
            } finally {
                processes.forEach(process -> process.destroyForcibly().onExit().join());
            }
            return commits;
        }

        private static List<Process> start(ProcessBuilder... commands) throws GitFailure {
            try {
                return ProcessBuilder.startPipeline(List.of(commands));
            } catch (IOException e) {
                throw new GitFailure(reason(e), e);
            }
        }

        /** All that is wanted, without what is there. */
        private String revisions() throws IOException {
            var text = new StringBuilder();
            push.destination.wanted.values().forEach(id -> text.append(id.name()).append('\n'));
            for (var id : push.destination.present.values()) {
                if (push.local.getObjectDatabase().has(id)) {
                    text.append('^').append(id.name()).append('\n');
                }
            }
            return text.toString();
        }

        /** @param words of a line: type, size and id of an object, of a commit the ids of its parents too */
        private void add(String[] words) {
            if (words[0].equals("commit")) {
                last = commits.computeIfAbsent(ObjectId.fromString(words[2]), Commit::new);
                var parents = Stream.of(words).skip(3).map(ObjectId::fromString).map(commits::get).toList();
                last.firstParent = parents.isEmpty() ? null : parents.get(0);
                last.parents = parents.stream().filter(Objects::nonNull).toList();
            }
            last.size += Long.parseLong(words[1]);
        }
    }

    /** What a repository has besides refs. What CodeCommit refuses of it is left out, and stops nothing else. */
    class Settings {
        final Destination destination;

        Settings(Destination destination) {
            this.destination = destination;
        }

        void restore() {
            if (destination.repository != null && !dryRun) {
                destination.repository = destination.find(); // as the push made the default branch
            }
            part("HEAD", () -> restoreHead());
            var settings = destination.point.settings();
            if (!settings.isObject()) {
                detail("no settings were saved with this restore point: description, tags, approval rule templates and"
                        + " triggers stay as they are");
                return;
            }
            part("description", () -> restoreDescription(settings.path("repositoryDescription").asText("")));
            part("tags", () -> restoreTags(settings.path("tags")));
            part("approval rule templates", () -> restoreTemplates(settings.path("approvalRuleTemplates")));
            part("triggers", () -> restoreTriggers(settings.path("triggers")));
        }

        private void part(String what, Runnable step) {
            try {
                step.run();
            } catch (CodeCommitException e) {
                var isExpired = !isCutShort(e) && e.awsErrorDetails().errorCode().startsWith("ExpiredToken");
                if (isExpired || isTemporary(e)) {
                    throw e;
                }
                destination.restore.leaveOut(what, reason(e));
            }
        }

        private void restoreHead() {
            var head = destination.point.head();
            if (head == null) {
                return;
            }
            if (!destination.wanted.containsKey(head)) {
                destination.restore.leaveOut("HEAD", head + " is no branch that the repository has");
                return;
            }
            var branch = head.replaceFirst("^refs/heads/", "");
            var before = destination.repository == null ? null : destination.repository.defaultBranch();
            if (branch.equals(before)) {
                return;
            }
            var undo = before == null ? null : aws("codecommit update-default-branch",
                    Map.of("repositoryName", destination.name, "defaultBranchName", before));
            change(Change.update(destination.name, "defaultBranch", before, branch), undo,
                    () -> codecommit.updateDefaultBranch(
                            r -> r.repositoryName(destination.name).defaultBranchName(branch)));
        }

        private void restoreDescription(String description) {
            if (destination.repository == null || description.isEmpty()) {
                return;
            }
            var before = Objects.requireNonNullElse(destination.repository.repositoryDescription(), "");
            if (description.equals(before)) {
                return;
            }
            change(Change.update(destination.name, "repositoryDescription", before, description),
                    aws("codecommit update-repository-description",
                            Map.of("repositoryName", destination.name, "repositoryDescription", before)),
                    () -> codecommit.updateRepositoryDescription(
                            r -> r.repositoryName(destination.name).repositoryDescription(description)));
        }

        private void restoreTags(JsonNode saved) {
            var tags = new TreeMap<String, String>();
            saved.properties().forEach(tag -> tags.put(tag.getKey(), tag.getValue().asText()));
            tags.keySet().removeIf(tag -> tag.startsWith("aws:") || tag.equals(RESTORING));
            changeTags(destination.name, destination.tags, tags, false,
                    repositoryTagging(codecommit, arn("codecommit", destination.name)));
        }

        private void restoreTemplates(JsonNode saved) {
            var associated = new HashSet<String>();
            if (destination.repository != null) {
                codecommit.listAssociatedApprovalRuleTemplatesForRepositoryPaginator(
                        r -> r.repositoryName(destination.name)).stream()
                        .forEach(page -> associated.addAll(page.approvalRuleTemplateNames()));
            }
            for (var template : saved) {
                var name = template.path("approvalRuleTemplateName").asText();
                if (!associated.contains(name)) {
                    part("approval rule template " + name, () -> restoreTemplate(name, template));
                }
            }
        }

        private void restoreTemplate(String name, JsonNode template) {
            var current = templates.computeIfAbsent(name, any -> findOrCreateTemplate(
                    name, newestTemplates.getOrDefault(name, template)));
            // It is the account's, and may hold for other repositories.
            if (!current.equals(content(template)) && differentTemplates.add(name)) {
                note(destination.name + ": the approval rule template " + name
                        + " is another one today, and is associated as it is");
            }
            change(Change.update(destination.name, "approvalRuleTemplates", null, name),
                    aws("codecommit disassociate-approval-rule-template-from-repository",
                            Map.of("repositoryName", destination.name, "approvalRuleTemplateName", name)),
                    () -> codecommit.associateApprovalRuleTemplateWithRepository(
                            r -> r.repositoryName(destination.name).approvalRuleTemplateName(name)));
        }

        private static String content(JsonNode template) {
            return template.path("approvalRuleTemplateContent").asText();
        }

        /** Gives the content that the template has then. */
        private String findOrCreateTemplate(String name, JsonNode template) {
            var current = findTemplate(codecommit, name);
            if (current.isEmpty()) {
                change(Change.update(destination.name, "approvalRuleTemplate", null, name), templateDeletion(name),
                        () -> createMissingTemplate(name, template));
                return content(template);
            }
            return current.get().approvalRuleTemplateContent();
        }

        private void createMissingTemplate(String name, JsonNode template) {
            try {
                createTemplate(codecommit, name, content(template),
                        template.path("approvalRuleTemplateDescription").asText(""));
            } catch (ApprovalRuleTemplateNameAlreadyExistsException e) {
                note(destination.name + ": the approval rule template " + name + " was created in the meantime");
            }
        }

        /** Adds the saved triggers to those that are there, of which only one of the same name is replaced. */
        private void restoreTriggers(JsonNode saved) {
            var present = new ArrayList<Trigger>();
            if (destination.repository != null) {
                codecommit.getRepositoryTriggers(r -> r.repositoryName(destination.name)).triggers()
                        .forEach(trigger -> present.add(Trigger.of(trigger)));
            }
            var byName = new LinkedHashMap<String, Trigger>();
            present.forEach(trigger -> byName.put(trigger.name(), trigger));
            for (var node : saved) {
                var trigger = JSON.convertValue(node, Trigger.class);
                if (trigger.destinationArn().contains(":" + region() + ":")) {
                    byName.put(trigger.name(), trigger);
                } else {
                    destination.restore.leaveOut("trigger " + trigger.name(),
                            trigger.destinationArn() + " is not in " + region());
                }
            }
            var all = List.copyOf(byName.values());
            if (all.equals(present)) {
                return;
            }
            change(Change.update(destination.name, "triggers", present, all),
                    aws("codecommit put-repository-triggers",
                            Map.of("repositoryName", destination.name, "triggers", present)),
                    () -> codecommit.putRepositoryTriggers(r -> r.repositoryName(destination.name)
                            .triggers(all.stream().map(Trigger::toAws).toList())));
        }

        /** With CodeCommit's names for everything, as manifests and the AWS CLI have it. */
        @JsonIgnoreProperties(ignoreUnknown = true)
        record Trigger(String name, String destinationArn, String customData, List<String> branches,
                List<String> events) {
            Trigger {
                customData = Objects.requireNonNullElse(customData, "");
                branches = Objects.requireNonNullElse(branches, List.of());
            }

            static Trigger of(RepositoryTrigger trigger) {
                return new Trigger(trigger.name(), trigger.destinationArn(), trigger.customData(), trigger.branches(),
                        trigger.eventsAsStrings());
            }

            RepositoryTrigger toAws() {
                return RepositoryTrigger.builder().name(name).destinationArn(destinationArn).customData(customData)
                        .branches(branches).eventsWithStrings(events).build();
            }
        }
    }

    int printList() throws Exception {
        var keys = at != null ? List.copyOf(newestKeys().values()) : eligibleKeys().toList();
        if (keys.isEmpty()) {
            throw noRestorePoint();
        }
        var byName = new TreeMap<String, List<RestorePoint>>();
        for (var point : inParallel(READERS, keys, key -> restorePoint(key))) {
            byName.computeIfAbsent(savedName(point.manifest()), name -> new ArrayList<>()).add(point);
        }
        var repositories = byName.entrySet().stream()
                .map(each -> new SavedRepository(each.getKey(), each.getValue())).toList();
        var isComplete = byName.values().stream().flatMap(List::stream).allMatch(point -> point.error() == null);
        var listing = new Listing("unchanged", caller.account(), region(), bucket, prefix, repositories);
        var listed = listed(repositories);
        return print(listing, listed, counted(repositories.size(), "repository") + ", "
                + counted(listed.rows().size(), "restore point"), isComplete ? 0 : 3);
    }

    /** A row for each restore point. */
    static Listed listed(List<SavedRepository> repositories) {
        var rows = new ArrayList<Row>();
        for (var repository : repositories) {
            for (var point : repository.restorePoints()) {
                rows.add(Row.of(point.error() != null, repository.repositoryName(), point.time(), point.refs(),
                        point.size(), point.kinds() == null ? null : point.kinds().size(), point.head(), point.error(),
                        point.manifest(), point.repositoryId(), point.kinds(), point.settings(),
                        point.pullRequests()));
            }
        }
        return new Listed(List.of("repositoryName", "time", "refs", "size", "bundles", "head", "error"),
                List.of("manifest", "repositoryId", "kinds", "settings", "pullRequests"), rows);
    }

    RestorePoint restorePoint(String key) {
        try {
            return point(key).restorePoint();
        } catch (Damage e) {
            note(e.getMessage());
            return new RestorePoint(key, time(key).toString(), null, null, null, null, null, null, null,
                    e.getMessage());
        }
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

    //region The same in every script: steps in parallel

    /** Takes a step for each item, some at a time; the results are in the items' order, and so is what fails. */
    static <T, R> List<R> inParallel(int threads, List<T> items, Function<T, R> step) {
        var workers = Executors.newFixedThreadPool(threads, task -> daemon(task));
        try {
            var results = new ArrayList<R>();
            for (var future : items.stream().map(item -> workers.submit(() -> step.apply(item))).toList()) {
                results.add(future.get());
            }
            return results;
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        } catch (java.util.concurrent.ExecutionException e) {
            throw e.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(e.getCause());
        } finally {
            workers.shutdownNow();
        }
    }

    //endregion

    //region The same in every script: batches

    /** The items in parts, for an operation that takes so many at once. */
    static <T> List<List<T>> batches(List<T> items, int size) {
        return IntStream.iterate(0, from -> from < items.size(), from -> from + size)
                .mapToObj(from -> items.subList(from, Math.min(from + size, items.size()))).toList();
    }

    //endregion

    //region The same in every script: changes

    @Option(names = "--dry-run", description = "Only reads, and prints what would change.")
    boolean dryRun;

    /** The weakest first; a run that changes several things reports the strongest. */
    enum Status {
        UNCHANGED, UPDATED, CREATED, DELETED
    }

    /** @param resource whose field this is */
    record Change(String resource, String field, @JsonInclude Object from, @JsonInclude Object to,
            @JsonIgnore Status status) {
        static Change creation(String resource, String field, Object to) {
            return new Change(resource, field, null, to, Status.CREATED);
        }

        static Change update(String resource, String field, Object from, Object to) {
            return new Change(resource, field, from, to, Status.UPDATED);
        }

        static Change deletion(String resource, String field, Object from, Object to) {
            return new Change(resource, field, from, to, Status.DELETED);
        }
    }

    /** In the order in which they were made, or in a dry run would be. */
    List<Change> changes = new ArrayList<>();
    /** Commands that take the changes back, the last change first. */
    Deque<String> undoCommands = new ArrayDeque<>();

    /** Makes a change and records it; in a dry run only records it. */
    void change(Change change, String undoCommand, Runnable step) {
        if (!dryRun) {
            step.run();
        }
        record(change, undoCommand);
    }

    /** Records a change that was made. */
    void record(Change change, String undoCommand) {
        changes.add(change);
        if (undoCommand != null && !dryRun) {
            undoCommands.push(undoCommand);
        }
    }

    /** The command that takes all changes back; null if nothing was changed. */
    String undo() {
        return undoSince(0);
    }

    /** The command that takes back what was changed since there were so many undo commands; null if nothing was. */
    String undoSince(int count) {
        var latest = undoCommands.stream().limit(undoCommands.size() - count).toList();
        return latest.isEmpty() ? null : String.join(" && ", latest);
    }

    static Status strongest(List<Change> changes) {
        return changes.stream().map(Change::status).max(Comparator.naturalOrder()).orElse(Status.UNCHANGED);
    }

    /** "created", in a dry run "would-create". */
    String printed(Status status) {
        var done = status.name().toLowerCase(Locale.ROOT);
        return dryRun && status != Status.UNCHANGED ? "would-" + done.substring(0, done.length() - 1) : done;
    }

    /**
     * Runs steps that change a resource. A failure gets its name, and says what they had changed before and how that is
     * taken back: a run that fails prints no result.
     */
    <T> T naming(String resource, Supplier<T> steps) {
        var changesBefore = changes.size();
        var undoBefore = undoCommands.size();
        try {
            return steps.get();
        } catch (RuntimeException e) {
            var made = changes.stream().skip(changesBefore).map(Change::field).toList();
            var undo = undoSince(undoBefore);
            throw new Failure(resource + ": " + reason(e) + (made.isEmpty() || dryRun ? "" : "; changed before that: "
                    + String.join(", ", made) + (isTemporary(e) ? "; the same command again does the rest" : "")
                    + (undo == null ? "" : "; this takes it back: " + undo)), e);
        }
    }

    /** Whether a call may have had an effect although it failed: it was tried before, or the answer was lost. */
    static boolean isDoubtful(SdkException e) {
        return e.numAttempts() > 1 || isTemporary(e);
    }

    //endregion

    //region The same in every script: tags

    /** Key=Value options by key, within AWS's limits on tags. */
    Map<String, String> tagsByKey(List<String> options) {
        var byKey = new TreeMap<String, String>();
        for (var option : options) {
            check("--tags", option, "(?!aws:)[\\p{L}\\p{N} +\\-._:/@]{1,128}=[\\p{L}\\p{N} +\\-=._:/@]{0,256}",
                    "Key=Value of letters, digits, spaces and + - = . _ : / @, such as Team=Payments");
            var equals = option.indexOf('=');
            if (byKey.put(option.substring(0, equals), option.substring(equals + 1)) != null) {
                throw wrong("--tags '" + option + "': its key is there twice; use each once, such as Team=Payments");
            }
        }
        if (byKey.size() > 50) {
            throw wrong("--tags: " + byKey.size() + " tags; AWS takes 50 at most");
        }
        return byKey;
    }

    /** How a resource is tagged and untagged, and the AWS CLI commands for it. */
    record Tagging(Consumer<Map<String, String>> tag, Consumer<Set<String>> untag,
            Function<Map<String, String>, String> tagCommand, Function<Set<String>, String> untagCommand) {}

    /** Adds and changes tags; others go only if asked for. AWS's own tags (aws:) cannot be changed. */
    void changeTags(String resource, Map<String, String> present, Map<String, String> wanted, boolean removeOthers,
            Tagging tagging) {
        var added = new TreeMap<>(wanted);
        added.entrySet().removeAll(present.entrySet());
        if (!added.isEmpty()) {
            var replaced = new TreeMap<>(present);
            replaced.keySet().retainAll(added.keySet());
            change(Change.update(resource, "tags", replaced, added), untagging(added, replaced, tagging),
                    () -> tagging.tag().accept(added));
        }
        var others = new TreeMap<>(present);
        others.keySet().removeIf(key -> wanted.containsKey(key) || key.startsWith("aws:"));
        if (removeOthers && !others.isEmpty()) {
            change(Change.update(resource, "tags", others, Map.of()), tagging.tagCommand().apply(others),
                    () -> tagging.untag().accept(others.keySet()));
        }
    }

    /** The commands that give replaced tags their values back and remove new ones. */
    static String untagging(Map<String, String> added, Map<String, String> replaced, Tagging tagging) {
        var fresh = new TreeSet<>(added.keySet());
        fresh.removeAll(replaced.keySet());
        var commands = new ArrayList<String>();
        if (!replaced.isEmpty()) {
            commands.add(tagging.tagCommand().apply(replaced));
        }
        if (!fresh.isEmpty()) {
            commands.add(tagging.untagCommand().apply(fresh));
        }
        return String.join(" && ", commands);
    }

    //endregion

    //region The same in every script: ARNs

    /** Of a resource of this account and Region. */
    String arn(String service, String resource) {
        return "arn:" + caller.partition() + ":" + service + ":" + region() + ":" + caller.account() + ":" + resource;
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

    //region The same in every script: names of repositories

    void checkRepositoryName(String option, String name) {
        check(option, name, "(?!.*\\.git$)[\\w.-]{1,100}",
                "up to 100 letters, digits and . _ -, not ending with .git, such as payments");
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

    //region The same in every script: tagging of repositories

    Tagging repositoryTagging(CodeCommitClient codecommit, String arn) {
        return new Tagging(tags -> codecommit.tagResource(r -> r.resourceArn(arn).tags(tags)),
                keys -> codecommit.untagResource(r -> r.resourceArn(arn).tagKeys(keys)),
                tags -> aws("codecommit tag-resource", Map.of("resourceArn", arn, "tags", tags)),
                keys -> aws("codecommit untag-resource", Map.of("resourceArn", arn, "tagKeys", keys)));
    }

    //endregion

    //region The same in every script: ids of keys

    void checkKeyId(String option, String id) {
        var arn = "arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:";
        var keyId = "mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
        check(option, id, "(" + arn + "key/)?(" + keyId + ")|(" + arn + ")?alias/[a-zA-Z0-9/_-]{1,250}",
                "the id, ARN or alias of a key, such as alias/codecommit");
        if (id.startsWith("arn:") && !id.split(":")[3].equals(region())) {
            throw wrong(option + " '" + id + "': must be a key of the Region " + region() + ", or use --region "
                    + id.split(":")[3]);
        }
    }

    //endregion

    //region The same in every script: usable keys

    /**
     * Refuses a key that services cannot encrypt under.
     *
     * @param remedy what to do about a key of the wrong kind
     */
    void checkUsable(KeyMetadata key, String remedy) {
        if (key.keySpec() != KeySpec.SYMMETRIC_DEFAULT || key.keyUsage() != KeyUsageType.ENCRYPT_DECRYPT) {
            throw new Failure(key.arn() + " is " + key.keySpecAsString() + " for " + key.keyUsageAsString()
                    + "; encryption at rest needs SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT: " + remedy);
        }
        var enable = aws("kms enable-key --key-id " + key.keyId());
        if (key.keyState() == KeyState.PENDING_DELETION) {
            throw new Failure(key.arn() + " will be deleted on " + key.deletionDate() + "; keep it with: "
                    + aws("kms cancel-key-deletion --key-id " + key.keyId()) + " && " + enable);
        }
        if (key.keyState() != KeyState.ENABLED) {
            throw new Failure(key.arn() + " is " + key.keyStateAsString() + "; enable it with: " + enable);
        }
    }

    //endregion

    //region The same in every script: keys of repositories

    /** The key, if CodeCommit can encrypt under it. */
    KeyMetadata usableKey(KmsClient kms, String id) {
        if (id.startsWith("arn:") && !id.split(":")[4].equals(caller.account())) {
            throw new Failure(id + " is of another account than the repository's, " + caller.account()
                    + ", which CodeCommit is not known to support; use a key of this account");
        }
        KeyMetadata key;
        try {
            key = kms.describeKey(r -> r.keyId(id)).keyMetadata();
        } catch (NotFoundException e) {
            var alias = id.startsWith("alias/") ? id : "alias/codecommit";
            throw new Failure("no key " + id + " in " + region() + "; create one with: ./jbang create-kms-key --alias "
                    + alias + " --region " + region(), e);
        }
        checkUsable(key, "use another key, or create one with ./jbang create-kms-key");
        return key;
    }

    //endregion

    //region The same in every script: approval rule templates

    static Optional<ApprovalRuleTemplate> findTemplate(CodeCommitClient codecommit, String name) {
        try {
            return Optional.of(codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName(name))
                    .approvalRuleTemplate());
        } catch (ApprovalRuleTemplateDoesNotExistException e) {
            return Optional.empty();
        }
    }

    static void createTemplate(CodeCommitClient codecommit, String name, String content, String description) {
        codecommit.createApprovalRuleTemplate(
                r -> r.approvalRuleTemplateName(name).approvalRuleTemplateContent(content)
                        .approvalRuleTemplateDescription(description.isEmpty() ? null : description));
    }

    /** The AWS CLI command for it. */
    String templateDeletion(String name) {
        return aws("codecommit delete-approval-rule-template", Map.of("approvalRuleTemplateName", name));
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
