///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Schedules the backup: a CodeBuild project with its role, a nightly rule, and on request one for pushes.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:cloudwatchlogs
//DEPS software.amazon.awssdk:codebuild
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:eventbridge
//DEPS software.amazon.awssdk:iam
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
//FILES policies/backup-job.json=../policies/backup-job.json
//FILES policies/backup-job-source.json=../policies/backup-job-source.json
//FILES policies/backup-job-trust.json=../policies/backup-job-trust.json
//FILES policies/backup-job-vpc.json=../policies/backup-job-vpc.json
//FILES policies/backup-start.json=../policies/backup-start.json
//FILES policies/backup-start-trust.json=../policies/backup-start-trust.json
//FILES toolkit/BackupToS3.java=BackupToS3.java
//FILES toolkit/VerifyBackups.java=VerifyBackups.java
//FILES toolkit/buildspec.yml=../buildspec.yml
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

import com.fasterxml.jackson.annotation.*;
import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.RecordComponent;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.time.*;
import java.util.*;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import java.util.zip.*;
import javax.net.ssl.*;
import javax.tools.ToolProvider;
import picocli.CommandLine;
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.SdkField;
import software.amazon.awssdk.core.SdkPojo;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.core.util.SdkAutoConstructList;
import software.amazon.awssdk.core.util.SdkAutoConstructMap;
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.cloudwatchlogs.CloudWatchLogsClient;
import software.amazon.awssdk.services.cloudwatchlogs.model.CloudWatchLogsException;
import software.amazon.awssdk.services.cloudwatchlogs.model.LogGroup;
import software.amazon.awssdk.services.cloudwatchlogs.model.OutputLogEvent;
import software.amazon.awssdk.services.cloudwatchlogs.model.ResourceAlreadyExistsException;
import software.amazon.awssdk.services.codebuild.CodeBuildClient;
import software.amazon.awssdk.services.codebuild.model.ArtifactsType;
import software.amazon.awssdk.services.codebuild.model.BuildPhase;
import software.amazon.awssdk.services.codebuild.model.ComputeType;
import software.amazon.awssdk.services.codebuild.model.CreateProjectRequest;
import software.amazon.awssdk.services.codebuild.model.EnvironmentType;
import software.amazon.awssdk.services.codebuild.model.EnvironmentVariable;
import software.amazon.awssdk.services.codebuild.model.EnvironmentVariableType;
import software.amazon.awssdk.services.codebuild.model.Project;
import software.amazon.awssdk.services.codebuild.model.ProjectEnvironment;
import software.amazon.awssdk.services.codebuild.model.ProjectSource;
import software.amazon.awssdk.services.codebuild.model.SourceType;
import software.amazon.awssdk.services.codebuild.model.StatusType;
import software.amazon.awssdk.services.codebuild.model.VpcConfig;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.CommitDoesNotExistException;
import software.amazon.awssdk.services.codecommit.model.FileDoesNotExistException;
import software.amazon.awssdk.services.codecommit.model.RepositoryDoesNotExistException;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.eventbridge.model.ResourceNotFoundException;
import software.amazon.awssdk.services.eventbridge.model.Rule;
import software.amazon.awssdk.services.eventbridge.model.RuleState;
import software.amazon.awssdk.services.eventbridge.model.Target;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.DeleteConflictException;
import software.amazon.awssdk.services.iam.model.EntityAlreadyExistsException;
import software.amazon.awssdk.services.iam.model.NoSuchEntityException;
import software.amazon.awssdk.services.iam.model.Role;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.BucketVersioningStatus;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Schedules the backup in the account of the repositories: what buildspec.yml does, every night, in CodeBuild.
 *
 * <p>Changes in AWS, with NAME of {@code --project-name}: the CodeBuild project NAME and its log group; the rules of
 * EventBridge that start it; the role NAME-REGION, which builds have and which may read the repositories and add
 * backups; the role NAME-REGION-events, by which the rules start builds. With {@code --on-push} the project NAME-push
 * too, with a rule that starts a build for the repository that was pushed to, by its name and nothing else of the
 * event. All of them have a description by which they are known as this script's; what has the name and another
 * description is refused. What others added to them stays. An option that is not given leaves the setting as it is.
 *
 * <p>A build runs what its source has at one commit or in one version of one object, so that who may push or upload
 * later does not run code as the role. {@code --source-bucket} takes a zip that this script makes: the two scripts that
 * a build runs, compiled, with their libraries, so that a build fetches nothing from the internet.
 *
 * <p>A second run with the same arguments changes nothing; one with fewer {@code --shards} leaves nothing behind.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codebuild:BatchGetProjects, codebuild:CreateProject, codebuild:UpdateProject, codebuild:DeleteProject
 * <li>events:ListRules, events:ListTargetsByRule, events:PutRule, events:PutTargets, events:RemoveTargets,
 * events:DeleteRule
 * <li>iam:GetRole, iam:GetRolePolicy, iam:CreateRole, iam:UpdateAssumeRolePolicy, iam:PutRolePolicy,
 * iam:DeleteRolePolicy, iam:DeleteRole, iam:PassRole
 * <li>logs:DescribeLogGroups, logs:CreateLogGroup, logs:PutRetentionPolicy
 * <li>with {@code --source-repository} codecommit:GetRepository, codecommit:GetBranch, codecommit:GetFile
 * <li>with {@code --source-bucket} s3:GetBucketVersioning, s3:GetObject, s3:ListBucket, s3:PutObject
 * <li>with {@code --run-now} codebuild:StartBuild, codebuild:BatchGetBuilds, logs:GetLogEvents
 * </ul>
 */
@Command(name = "schedule-backup", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Schedules the backup: a CodeBuild project with its role, a nightly rule, and on request one for"
                + " pushes.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: the backup is scheduled, the build of --run-now failed", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang schedule-backup --bucket my-backups --bucket-owner 444455556666 \\",
                "      --source-bucket my-toolkit --on-push --run-now",
                "  ./jbang schedule-backup --bucket my-backups --bucket-owner 444455556666 \\",
                "      --source-repository codecommit-toolkit --shards 8 --dry-run"})
class ScheduleBackup implements Callable<Integer> {
    @Option(names = "--bucket", paramLabel = "NAME",
            description = "The bucket for the backups, in any Region and account.")
    String bucket;

    @Option(names = "--bucket-owner", paramLabel = "ACCOUNT",
            description = "Account that the bucket belongs to; builds refuse another one's.")
    String bucketOwner;

    @Option(names = "--prefix", paramLabel = "PREFIX",
            description = "What the objects' keys begin with. Default: as it is, for a new job " + DEFAULT_PREFIX + ".")
    String prefix;

    @Option(names = "--bucket-kms-key-arn", paramLabel = "ARN",
            description = "The bucket's KMS key, for the role. Default: any key of the bucket's owner, for this"
                    + " bucket's objects alone.")
    String bucketKmsKeyArn;

    @Option(names = "--project-name", paramLabel = "NAME", defaultValue = "codecommit-backup",
            description = "Name of the CodeBuild project; roles and rules have names that begin with it. Default:"
                    + " ${DEFAULT-VALUE}.")
    String projectName;

    @ArgGroup
    When when = new When();

    static class When {
        @Option(names = "--daily-at", paramLabel = "TIME", description = "When, in UTC, such as 23:30. Default: 04:00.")
        String dailyAt;

        @Option(names = "--schedule", paramLabel = "CRON",
                description = "When, in UTC, as EventBridge takes it, such as 'cron(0 4 ? * MON-FRI *)'.")
        String schedule;
    }

    @Option(names = "--shards", paramLabel = "N",
            description = "Builds that share the repositories each time, 1 to 50. With more than one, another build"
                    + " verifies the backups when their time is over. Default: 1.")
    Integer shards;

    @Option(names = "--on-push", negatable = true,
            description = "Saves a repository after each push to it as well, within minutes.")
    Boolean onPush;

    @Option(names = "--deadline", paramLabel = "TIME",
            description = "A build's backup ends after this time, such as 50m; 15 minutes more are for the"
                    + " verification. Default: 45m.")
    String deadline;

    @Option(names = "--compute-type", paramLabel = "TYPE",
            description = "What a build runs on: ${COMPLETION-CANDIDATES}. Default: BUILD_GENERAL1_SMALL.")
    Compute computeType;

    enum Compute {
        BUILD_GENERAL1_SMALL, BUILD_GENERAL1_MEDIUM, BUILD_GENERAL1_LARGE
    }

    @ArgGroup
    From from = new From();

    static class From {
        @Option(names = "--source-repository", paramLabel = "NAME",
                description = "Builds run this toolkit from a CodeCommit repository that holds it.")
        String repository;

        @Option(names = "--source-bucket", paramLabel = "NAME",
                description = "Builds run this toolkit from a zip, which is put into this bucket: one of this account"
                        + " and Region, with versions. They need no internet then.")
        String bucket;
    }

    @Option(names = "--source-version", paramLabel = "COMMIT",
            description = "With --source-repository, the commit that builds run: its full id. Default: the newest one"
                    + " of the default branch, as it is now.")
    String sourceVersion;

    @Option(names = "--vpc-id", paramLabel = "ID", description = "Builds run in this VPC.")
    String vpcId;

    @Option(names = "--subnet-ids", paramLabel = "ID", arity = "1..*",
            description = "With --vpc-id, the subnets of the builds: private ones.")
    List<String> subnetIds = List.of();

    @Option(names = "--security-group-ids", paramLabel = "ID", arity = "1..*",
            description = "With --vpc-id, the security groups of the builds.")
    List<String> securityGroupIds = List.of();

    @Option(names = "--run-now", description = "Starts a build at once, and shows how it went.")
    boolean runNow;

    @Option(names = "--remove",
            description = "Removes rules, projects and roles. The backups, the builds' logs and the zip stay.")
    boolean remove;

    /** The printed document. */
    record Result(String status, String account, String region, Job project, Build build, List<Change> changes,
            String undo) {}

    /**
     * @param pushName of the project for pushes, or null
     * @param source repository, or bucket and key of the zip
     * @param policies in a dry run, by role and name
     */
    record Job(String name, String arn, String pushName, String serviceRole, String eventsRole, String logGroup,
            String scheduleExpression, Integer shards, String source, String sourceVersion,
            Map<String, JsonNode> policies) {}

    record Build(String id, String buildStatus, String log) {}

    /** Marks what is this script's: the description of each project, rule and role. */
    static final String OWN = "Backs up CodeCommit repositories (schedule-backup)";
    static final String DEFAULT_PREFIX = "projects/codecommit-backup";
    static final String DEADLINE_FORM = "[1-9]\\d{0,3}[mh]";
    static final String COMMIT_FORM = "[0-9a-f]{40}";
    /** The oldest maintained image with Corretto 21 in all Regions. */
    static final String IMAGE = "aws/codebuild/amazonlinux-x86_64-standard:5.0";
    /** The scripts that a build runs. */
    static final List<String> PROGRAMS = List.of("BackupToS3", "VerifyBackups");
    /** The inline policies of the role of the builds. */
    static final List<String> POLICIES = List.of("backup", "source", "vpc");
    /** For starting the build and for the verification, which a build that times out does not come to. */
    static final Duration BESIDE_BACKUP = Duration.ofMinutes(15);
    /** What CodeBuild takes, in minutes. */
    static final int LONGEST_BUILD = 2160;
    /** Of EventBridge. */
    static final int TARGETS_PER_RULE = 5;
    /** As cron names them. */
    static final List<String> MONTHS = List.of("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT",
            "NOV", "DEC");
    static final List<String> DAYS = List.of("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT");
    /** That cron knows. */
    static final int FIRST_YEAR = 1970;
    static final int LAST_YEAR = 2199;
    /** Of the builds' logs, in days, in a log group that this script creates. */
    static final int RETENTION = 90;
    /** Of a build that failed, shown on stderr. */
    static final int LAST_LINES = 30;

    /** How long IAM may take to show a new role everywhere; usually seconds. */
    Duration rolePatience = Duration.ofMinutes(2);
    /** Where the libraries of the zip come from: those of this script. */
    String classPath = System.getProperty("java.class.path");

    IamClient iam;
    CodeBuildClient codebuild;
    EventBridgeClient events;
    CloudWatchLogsClient logs;
    /** What is there, by name. */
    final Map<String, Project> projects = new TreeMap<>();
    final Map<String, Rule> rules = new TreeMap<>();
    final Map<String, List<Target>> targets = new TreeMap<>();
    final Map<String, Role> roles = new TreeMap<>();
    /** By role and name. */
    final Map<String, JsonNode> policies = new TreeMap<>();

    public static void main(String[] args) {
        System.exit(new ScheduleBackup().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        connect();
        iam = client(IamClient.builder());
        codebuild = client(CodeBuildClient.builder());
        events = client(EventBridgeClient.builder());
        logs = client(CloudWatchLogsClient.builder());
        look();
        var plan = remove ? null : plan();
        var outcome = naming(projectName, () -> remove ? new Outcome(removeAll(), null) : outcome(plan));
        var isGreen = outcome.build() == null || outcome.build().buildStatus().equals("SUCCEEDED");
        return print(new Result(printed(status()), caller.account(), region(), outcome.job(), outcome.build(), changes,
                undo()), isGreen ? 0 : 3);
    }

    /** @param build null if none was started */
    record Outcome(Job job, Build build) {}

    Outcome outcome(Plan plan) {
        var job = bringInLine(plan.with(source()));
        return new Outcome(job, runNow && !dryRun ? runBuild() : null);
    }

    /** Of the job: rules and roles come and go with it. */
    Status status() {
        var made = changes.stream().anyMatch(change -> change.status() == Status.CREATED
                && change.field().equals("project") && change.resource().equals(projectName));
        return changes.isEmpty() ? Status.UNCHANGED : remove ? Status.DELETED : made ? Status.CREATED : Status.UPDATED;
    }

    void checkOptions() {
        check("--project-name", projectName, "(?!.*-(push|verify|shards-\\d+)$)[A-Za-z0-9][A-Za-z0-9_-]{1,31}",
                "2 to 32 letters, digits and - _, and not end as the rules of another job do (-push, -verify,"
                        + " -shards-1), such as codecommit-backup");
        if (remove) {
            if (runNow) {
                throw wrong("--run-now and --remove exclude each other: use one of them");
            }
            return;
        }
        checkBucketOptions();
        checkSchedule();
        checkSource();
        checkVpc();
    }

    void checkBucketOptions() {
        if (bucket == null || bucketOwner == null) {
            throw wrong("--bucket NAME and --bucket-owner ACCOUNT are needed, such as --bucket my-backups"
                    + " --bucket-owner 444455556666");
        }
        checkBucketName("--bucket", bucket);
        checkAccount("--bucket-owner", bucketOwner);
        if (prefix != null) {
            checkPrefix(prefix);
        }
        if (bucketKmsKeyArn != null) {
            check("--bucket-kms-key-arn", bucketKmsKeyArn, "arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:key/[a-z0-9-]+",
                    "the ARN of a key, such as"
                            + " arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab");
        }
        if (from.bucket != null) {
            checkBucketName("--source-bucket", from.bucket);
        }
    }

    void checkSchedule() {
        if (when.dailyAt != null) {
            check("--daily-at", when.dailyAt, "([01]\\d|2[0-3]):[0-5]\\d", "a time of day in UTC, such as 04:00");
        }
        if (when.schedule != null) {
            checkCron(when.schedule);
        }
        if (shards != null && (shards < 1 || shards > 50)) {
            throw wrong("--shards " + shards + ": must be 1 to 50, such as 4");
        }
        if (deadline != null) {
            check("--deadline", deadline, DEADLINE_FORM,
                    "a number and m or h for minutes or hours, such as 50m");
            if (buildTime(deadline).toMinutes() > LONGEST_BUILD) {
                throw wrong("--deadline '" + deadline + "': must be at most "
                        + (LONGEST_BUILD - BESIDE_BACKUP.toMinutes()) + "m, as CodeBuild ends builds after "
                        + LONGEST_BUILD + " minutes");
            }
        }
    }

    /** EventBridge's grammar: six fields, of which day-of-month or day-of-week is a question mark. */
    void checkCron(String schedule) {
        var right = "six fields in cron(), of which the third or the fifth is a ?, such as 'cron(0 4 * * ? *)'";
        check("--schedule", schedule, "cron\\(\\S+( \\S+){5}\\)", right);
        var fields = fields(schedule);
        var months = String.join("|", MONTHS);
        var days = String.join("|", DAYS);
        var year = "19[789]\\d|2[01]\\d\\d";
        var forms = List.of(listOf("[0-5]?\\d"), listOf("[01]?\\d|2[0-3]"),
                listOf("0?[1-9]|[12]\\d|3[01]") + "|\\?|L|([1-9]|[12]\\d|3[01])W", listOf("0?[1-9]|1[0-2]|" + months),
                listOf("[1-7]|" + days) + "|\\?|([1-7]|" + days + ")?L|([1-7]|" + days + ")#[1-5]", listOf(year));
        for (var i = 0; i < forms.size(); i++) {
            check("--schedule", fields.get(i), forms.get(i), right);
        }
        if (fields.get(2).equals("?") == fields.get(4).equals("?")) {
            throw wrong("--schedule '" + schedule + "': must be " + right);
        }
        if (!comes(fields)) {
            throw wrong("--schedule '" + schedule + "': no such day comes; must be one that does, such as"
                    + " 'cron(0 4 * * ? *)'");
        }
    }

    /** Whether any day from today on is meant: 30 February does not come, nor does a year that is over. */
    static boolean comes(List<String> fields) {
        var today = LocalDate.now(ZoneOffset.UTC);
        return today.datesUntil(LocalDate.of(LAST_YEAR + 1, 1, 1)).anyMatch(day -> has(fields.get(5), day.getYear(),
                FIRST_YEAR, List.of()) && has(fields.get(3), day.getMonthValue(), 1, MONTHS)
                && (fields.get(2).equals("?") ? isDayOfWeek(fields.get(4), day) : isDayOfMonth(fields.get(2), day)));
    }

    static boolean isDayOfMonth(String field, LocalDate day) {
        if (field.equals("L")) {
            return day.getDayOfMonth() == day.lengthOfMonth();
        }
        // W is the weekday that is nearest, in a month that has the day
        return has(field.replace("W", ""), day.getDayOfMonth(), 1, List.of());
    }

    static boolean isDayOfWeek(String field, LocalDate day) {
        var ofWeek = day.getDayOfWeek().getValue() % 7 + 1; // from Sunday
        if (field.contains("#")) {
            var parts = field.split("#");
            return ofWeek == number(parts[0], DAYS) && (day.getDayOfMonth() + 6) / 7 == Integer.parseInt(parts[1]);
        }
        if (field.endsWith("L")) {
            return field.equals("L") ? ofWeek == 7 : ofWeek == number(field.replaceAll("L$", ""), DAYS)
                    && day.getDayOfMonth() > day.lengthOfMonth() - 7;
        }
        return has(field, ofWeek, 1, DAYS);
    }

    /** Whether a field of *, values, ranges and steps has a number. */
    static boolean has(String field, int number, int lowest, List<String> names) {
        return Stream.of(field.split(",")).anyMatch(item -> {
            var parts = item.split("/");
            var ends = parts[0].split("-");
            var from = ends[0].equals("*") ? lowest : number(ends[0], names);
            var isOne = ends.length == 1 && parts.length == 1 && !ends[0].equals("*");
            var to = ends.length > 1 ? number(ends[1], names) : isOne ? from : Integer.MAX_VALUE;
            var step = parts.length > 1 ? Integer.parseInt(parts[1]) : 1;
            return number >= from && number <= to && (number - from) % step == 0;
        });
    }

    static int number(String text, List<String> names) {
        return names.contains(text) ? names.indexOf(text) + 1 : Integer.parseInt(text);
    }

    /** A field of cron: *, values, ranges and steps. */
    static String listOf(String value) {
        var range = "(\\*|(" + value + ")(-(" + value + "))?)(/0?[1-9]|/[1-5]\\d)?";
        return range + "(," + range + ")*";
    }

    static List<String> fields(String cron) {
        return List.of(cron.substring("cron(".length(), cron.length() - 1).split(" "));
    }

    void checkSource() {
        if (from.repository != null) {
            checkRepositoryName("--source-repository", from.repository);
        }
        if (sourceVersion == null) {
            return;
        }
        if (from.repository == null) {
            throw wrong("--source-version needs --source-repository NAME, such as codecommit-toolkit");
        }
        check("--source-version", sourceVersion, COMMIT_FORM,
                "the full id of a commit, 40 hexadecimal digits, as git rev-parse HEAD prints it: a branch would let"
                        + " everybody who may push to it run code as the role");
    }

    void checkVpc() {
        if (vpcId == null && subnetIds.isEmpty() && securityGroupIds.isEmpty()) {
            return;
        }
        if (vpcId == null || subnetIds.isEmpty() || securityGroupIds.isEmpty()) {
            throw wrong("--vpc-id, --subnet-ids and --security-group-ids are needed together, such as --vpc-id"
                    + " vpc-0123456789abcdef0 --subnet-ids subnet-0123456789abcdef0 --security-group-ids"
                    + " sg-0123456789abcdef0");
        }
        check("--vpc-id", vpcId, "vpc-([0-9a-f]{8}|[0-9a-f]{17})", "the id of a VPC such as vpc-0123456789abcdef0");
        subnetIds.forEach(id -> check("--subnet-ids", id, "subnet-([0-9a-f]{8}|[0-9a-f]{17})",
                "ids of subnets such as subnet-0123456789abcdef0"));
        securityGroupIds.forEach(id -> check("--security-group-ids", id, "sg-([0-9a-f]{8}|[0-9a-f]{17})",
                "ids of security groups such as sg-0123456789abcdef0"));
    }

    String pushName() {
        return projectName + "-push";
    }

    String serviceRoleName() {
        return projectName + "-" + region();
    }

    String eventsRoleName() {
        return serviceRoleName() + "-events";
    }

    String roleArn(String name) {
        return "arn:" + caller.partition() + ":iam::" + caller.account() + ":role/" + name;
    }

    void look() {
        for (var project : codebuild.batchGetProjects(r -> r.names(projectName, pushName())).projects()) {
            checkOwn("the project " + project.name(), project.description());
            projects.put(project.name(), project);
        }
        for (var rule : allRules()) {
            checkOwn("the rule " + rule.name(), rule.description());
            rules.put(rule.name(), rule);
            targets.put(rule.name(), targetsOf(events, rule.name()));
        }
        for (var name : List.of(serviceRoleName(), eventsRoleName())) {
            findRole(name).ifPresent(role -> roles.put(name, role));
        }
    }

    void checkOwn(String what, String description) {
        if (!OWN.equals(description)) {
            throw new Failure(what + " exists and was not made by " + spec.name()
                    + ", which describes what it makes as '" + OWN + "': use another --project-name");
        }
    }

    /** Those with names as this script gives them. */
    List<Rule> allRules() {
        var found = new ArrayList<Rule>();
        var page = events.listRules(r -> r.namePrefix(projectName));
        found.addAll(page.rules());
        while (page.nextToken() != null) {
            var token = page.nextToken();
            page = events.listRules(r -> r.namePrefix(projectName).nextToken(token));
            found.addAll(page.rules());
        }
        var form = Pattern.quote(projectName) + "(-shards-\\d+|-verify|-push)?";
        return found.stream().filter(rule -> rule.name().matches(form)).toList();
    }

    Optional<Role> findRole(String name) {
        try {
            var role = iam.getRole(r -> r.roleName(name)).role();
            checkOwn("the role " + name, role.description());
            return Optional.of(role);
        } catch (NoSuchEntityException e) {
            return Optional.empty();
        }
    }

    Optional<JsonNode> findPolicy(String role, String name) {
        try {
            var document = iam.getRolePolicy(r -> r.roleName(role).policyName(name)).policyDocument();
            return Optional.of(parsedPolicy(percentDecoded(document)));
        } catch (NoSuchEntityException e) {
            return Optional.empty();
        }
    }

    /** Whether a target is one that this script makes. */
    boolean isOwn(Target target) {
        return target.id().matches("backup|shard-\\d+|verify|push");
    }

    /** @param verification when the backups of several builds are verified; else null */
    record Plan(String prefix, String schedule, String verification, int shards, boolean onPush, String deadline,
            Source source) {
        Plan with(Source other) {
            return new Plan(prefix, schedule, verification, shards, onPush, deadline, other);
        }
    }

    /** @param location as CodeBuild has it */
    record Source(SourceType type, String location, String version) {}

    /** What is wanted, but for the source: the options, else what is there, else the default. */
    Plan plan() {
        var project = Optional.ofNullable(projects.get(projectName));
        if (from.repository == null && from.bucket == null && project.isEmpty()) {
            throw wrong("--source-bucket NAME or --source-repository NAME is needed for a new job: where builds get"
                    + " this toolkit from, such as --source-bucket my-toolkit");
        }
        var time = Objects.requireNonNullElse(when.dailyAt, "04:00").split(":");
        var daily = "cron(" + Integer.parseInt(time[1]) + " " + Integer.parseInt(time[0]) + " * * ? *)";
        var present = Stream.of(projectName, shardsName(1)).filter(name -> rules.containsKey(name)).findFirst()
                .map(name -> rules.get(name).scheduleExpression());
        var schedule = when.schedule != null ? when.schedule : when.dailyAt != null ? daily : present.orElse(daily);
        var shardsNow = targets.values().stream().flatMap(List::stream)
                .filter(target -> target.id().matches("shard-\\d+")).count();
        var share = shards != null ? shards : Math.max(1, (int) shardsNow);
        var end = deadline != null ? deadline
                : project.flatMap(found -> variable(found, "DEADLINE", DEADLINE_FORM)).orElse("45m");
        var below = prefix != null ? prefix : project.flatMap(found -> variable(found, "BACKUP_PREFIX", PREFIX_FORM))
                .orElse(DEFAULT_PREFIX);
        return new Plan(below, schedule, share == 1 ? null : afterBuilds(schedule, end), share,
                onPush != null ? onPush : projects.containsKey(pushName()), end, null);
    }

    /** What the project has, unless that is of no use. */
    static Optional<String> variable(Project project, String name, String form) {
        return project.environment().environmentVariables().stream()
                .filter(variable -> variable.name().equals(name)).map(EnvironmentVariable::value)
                .filter(value -> value.matches(form)).findFirst();
    }

    Source source() {
        if (from.repository != null) {
            return naming(from.repository, () -> pinnedCommit());
        }
        if (from.bucket != null) {
            return naming("s3://" + from.bucket + "/" + zipKey(), () -> pinnedZip());
        }
        return presentSource(projects.get(projectName));
    }

    /** Refuses one that was changed by hand so that others decide what runs as the role. */
    Source presentSource(Project project) {
        var source = project.source();
        var version = Objects.requireNonNullElse(project.sourceVersion(), "");
        var isPinned = switch (source.type()) {
            case CODECOMMIT -> source.location().startsWith(repositoryUrl("")) && version.matches(COMMIT_FORM);
            case S3 -> source.location().endsWith("/" + zipKey()) && !version.isEmpty();
            default -> false;
        };
        if (!isPinned) {
            throw new Failure("its builds run what " + source.typeAsString() + " " + source.location() + " has at '"
                    + version + "', which is not one commit or version that this script chose: use --source-bucket or"
                    + " --source-repository");
        }
        return new Source(source.type(), source.location(), version);
    }

    String repositoryUrl(String name) {
        return "https://git-codecommit." + region() + "." + Region.of(region()).metadata().partition().dnsSuffix()
                + "/v1/repos/" + name;
    }

    static Duration buildTime(String deadline) {
        var number = Long.parseLong(deadline.substring(0, deadline.length() - 1));
        return (deadline.endsWith("h") ? Duration.ofHours(number) : Duration.ofMinutes(number)).plus(BESIDE_BACKUP);
    }

    /** When the builds that share the work have ended, be it by their time-out. */
    String afterBuilds(String schedule, String deadline) {
        var fields = new ArrayList<>(fields(schedule));
        if (!fields.get(0).matches("\\d+") || !fields.get(1).matches("\\d+")) {
            throw wrong("--schedule '" + schedule + "': with --shards, minute and hour must be numbers, such as"
                    + " 'cron(0 4 * * ? *)', as the verification comes after the builds");
        }
        var minutes = Integer.parseInt(fields.get(0)) + 60 * Integer.parseInt(fields.get(1))
                + (int) buildTime(deadline).plus(BESIDE_BACKUP).toMinutes();
        var isDaily = fields.subList(2, 6).stream().allMatch(field -> field.matches("[*?]"));
        if (minutes >= 24 * 60 && !isDaily) {
            throw wrong("--schedule '" + schedule + "': with --shards, the verification must come before"
                    + " midnight, " + buildTime(deadline).plus(BESIDE_BACKUP).toMinutes()
                    + " minutes later: begin earlier, such as 'cron(0 4 ? * MON-FRI *)'");
        }
        fields.set(0, String.valueOf(minutes % 60));
        fields.set(1, String.valueOf(minutes / 60 % 24));
        return "cron(" + String.join(" ", fields) + ")";
    }

    /** The commit has what a build begins with. */
    Source pinnedCommit() {
        try (var codecommit = client(CodeCommitClient.builder())) {
            var repository = codecommit.getRepository(r -> r.repositoryName(from.repository)).repositoryMetadata();
            if (sourceVersion == null && repository.defaultBranch() == null) {
                throw new Failure("has no branch; push this toolkit to it");
            }
            var commit = sourceVersion != null ? sourceVersion : codecommit.getBranch(
                    r -> r.repositoryName(from.repository).branchName(repository.defaultBranch())).branch().commitId();
            codecommit.getFile(
                    r -> r.repositoryName(from.repository).commitSpecifier(commit).filePath("buildspec.yml"));
            return new Source(SourceType.CODECOMMIT, repositoryUrl(from.repository), commit);
        } catch (RepositoryDoesNotExistException e) {
            throw new Failure("there is no such repository in " + region()
                    + "; create it with ./jbang create-encrypted-repo, and push this toolkit to it", e);
        } catch (CommitDoesNotExistException | FileDoesNotExistException e) {
            throw new Failure("has no buildspec.yml in the commit " + Objects.requireNonNullElse(sourceVersion,
                    "that is the newest one of its default branch") + "; push this toolkit to it", e);
        }
    }

    String zipKey() {
        return projectName + "/toolkit.zip";
    }

    /** Uploads the zip, unless its newest version is the same: S3 has computed that object's SHA-256 itself. */
    Source pinnedZip() {
        var location = from.bucket + "/" + zipKey();
        try (var s3 = client(S3Client.builder())) {
            var versioning = s3.getBucketVersioning(r -> r.bucket(from.bucket).expectedBucketOwner(caller.account()));
            if (versioning.status() != BucketVersioningStatus.ENABLED) {
                throw new Failure("the bucket has no versions, so that a build could not be bound to one of them; turn"
                        + " them on with: " + aws("s3api put-bucket-versioning --bucket " + from.bucket
                                + " --versioning-configuration Status=Enabled"));
            }
            var head = headOfZip(s3);
            var zip = Files.createTempFile("toolkit-", ".zip");
            try {
                writeZip(zip);
                return new Source(SourceType.S3, location, versionOf(s3, zip, head));
            } finally {
                Files.delete(zip);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** What S3 says of the newest version. An answer to HEAD has no message. */
    Optional<HeadObjectResponse> headOfZip(S3Client s3) {
        try {
            return Optional.of(s3.headObject(r -> r.bucket(from.bucket).key(zipKey()).checksumMode(ChecksumMode.ENABLED)
                    .expectedBucketOwner(caller.account())));
        } catch (NoSuchKeyException e) {
            return Optional.empty();
        } catch (S3Exception e) {
            throw e.statusCode() == 403 ? new Failure("S3 denies to look; this needs s3:GetObject, s3:ListBucket, and"
                    + " kms:Decrypt if the bucket has a key of its own", e) : e;
        }
    }

    /** The id of the version that holds the zip; in a dry run null if there is none. */
    String versionOf(S3Client s3, Path zip, Optional<HeadObjectResponse> head) throws IOException {
        var name = from.bucket + "/" + zipKey();
        var sum = Base64.getEncoder().encodeToString(sha256(zip));
        if (head.filter(found -> sum.equals(found.checksumSHA256())).isPresent()) {
            return head.get().versionId();
        }
        var before = head.map(HeadObjectResponse::checksumSHA256).orElse(null);
        var change = head.isEmpty() ? Change.creation(name, "sha256", sum) : Change.update(name, "sha256", before, sum);
        if (dryRun) {
            record(change, null);
            return null;
        }
        note("uploading the toolkit, " + Files.size(zip) / 1_000_000 + " MB, to s3://" + name + " ...");
        var version = s3.putObject(r -> r.bucket(from.bucket).key(zipKey()).checksumAlgorithm(ChecksumAlgorithm.SHA256)
                .expectedBucketOwner(caller.account()), zip).versionId();
        record(change, aws("s3api delete-object --bucket " + from.bucket + " --key " + zipKey() + " --version-id "
                + version));
        return version;
    }

    static byte[] sha256(Path file) throws IOException {
        try (var in = new DigestInputStream(Files.newInputStream(file), MessageDigest.getInstance("SHA-256"))) {
            in.transferTo(OutputStream.nullOutputStream());
            return in.getMessageDigest().digest();
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The same bytes each time, with the same compiler: names in order, times of none. */
    void writeZip(Path file) throws IOException {
        var entries = new TreeMap<String, Path>();
        var work = Files.createTempDirectory("toolkit-");
        try (var zip = new ZipOutputStream(Files.newOutputStream(file))) {
            compile(work, libraries());
            libraries().forEach(library -> entries.put("lib/" + library.getFileName(), library));
            entries.put("buildspec.yml", resource("buildspec.yml", work));
            entries.put("jbang", Files.writeString(work.resolve("jbang"), launcher(work)));
            try (var classes = Files.walk(work.resolve("classes"))) {
                classes.filter(path -> Files.isRegularFile(path)).forEach(path -> entries.put(
                        work.relativize(path).toString().replace(File.separatorChar, '/'), path));
            }
            zip.setLevel(Deflater.BEST_SPEED);
            for (var entry : entries.entrySet()) {
                var name = new ZipEntry(entry.getKey());
                name.setTimeLocal(LocalDateTime.of(1980, 1, 1, 0, 0));
                zip.putNextEntry(name);
                Files.copy(entry.getValue(), zip);
            }
        } finally {
            try (var files = Files.walk(work)) {
                files.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
            }
        }
    }

    /** The jars of this script's class path but its own; they include all that the scripts of a build need. */
    List<Path> libraries() {
        var own = getClass().getProtectionDomain().getCodeSource().getLocation();
        return Stream.of(classPath.split(File.pathSeparator)).map(Path::of)
                .filter(path -> path.toString().endsWith(".jar") && !own.getPath().endsWith("/" + path.getFileName()))
                .sorted().toList();
    }

    static Path resource(String name, Path directory) throws IOException {
        var file = Files.createDirectories(directory).resolve(name);
        try (var in = MethodHandles.lookup().lookupClass().getResourceAsStream("/toolkit/" + name)) {
            Files.copy(in, file);
        }
        return file;
    }

    static void compile(Path work, List<Path> libraries) throws IOException {
        var compiler = ToolProvider.getSystemJavaCompiler();
        if (compiler == null) {
            throw new Failure("this Java, " + System.getProperty("java.home") + ", has no compiler: use a JDK");
        }
        var sources = new ArrayList<Path>();
        for (var program : PROGRAMS) {
            sources.add(resource(program + ".java", work.resolve("src")));
        }
        var said = new StringWriter();
        try (var files = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8)) {
            var options = List.of("--release", "17", "-proc:none", "-nowarn", "-d", work.resolve("classes").toString(),
                    "-cp", libraries.stream().map(Path::toString).collect(Collectors.joining(File.pathSeparator)));
            var units = files.getJavaFileObjectsFromPaths(sources);
            if (!compiler.getTask(said, files, null, options, null, units).call()) {
                throw new Failure("the scripts do not compile: " + said);
            }
        }
    }

    /** What buildspec.yml starts as ./jbang: Java itself, with the options that each script asks JBang for. */
    static String launcher(Path work) throws IOException {
        var cases = new StringBuilder();
        for (var program : PROGRAMS) {
            var options = Files.readString(work.resolve("src/" + program + ".java")).lines()
                    .filter(line -> line.startsWith("//RUNTIME_OPTIONS "))
                    .map(line -> line.substring("//RUNTIME_OPTIONS ".length())).collect(Collectors.joining(" "));
            cases.append("  ").append(program.replaceAll("(?<=.)([A-Z])", "-$1").toLowerCase(Locale.ROOT))
                    .append(") set -- ").append(options).append(" -cp \"$here/classes:$here/lib/*\" ").append(program)
                    .append(" \"$@\" ;;\n");
        }
        return """
                #!/bin/sh
                # Starts a script of the toolkit as schedule-backup compiled it. Nothing is fetched.
                here=$(cd "$(dirname "$0")" && pwd)
                name=$1
                shift
                case $name in
                %s  *) echo "jbang: there is no $name in this zip" >&2; exit 2 ;;
                esac
                exec java "$@"
                """.formatted(cases);
    }

    Job bringInLine(Plan plan) {
        var service = updateServiceRole(plan);
        var starter = updateEventsRole();
        updateLogGroup(projectName);
        updateProject(projectName, plan, service, Map.of());
        if (plan.onPush()) {
            updateLogGroup(pushName());
            updateProject(pushName(), plan, service, Map.of("TASK", "backup"));
        }
        var wanted = wantedRules(plan, starter);
        wanted.forEach(rule -> updateRule(rule));
        var names = wanted.stream().map(WantedRule::name).collect(Collectors.toSet());
        rules.keySet().stream().filter(name -> !names.contains(name)).toList().forEach(name -> removeRule(name));
        if (!plan.onPush()) {
            removeProject(pushName());
        }
        return new Job(projectName, arn("codebuild", "project/" + projectName), plan.onPush() ? pushName() : null,
                service, starter, logGroup(projectName), plan.schedule(), plan.shards(), plan.source().location(),
                plan.source().version(), dryRun ? policies : null);
    }

    /** Projects of the job, whether there is one for pushes or not: roles need not change for it. */
    List<String> projectArns() {
        return Stream.of(projectName, pushName()).map(name -> arn("codebuild", "project/" + name)).toList();
    }

    /** Values of the placeholders of all templates. */
    Map<String, Object> values(Plan plan, JsonNode presentPolicy) {
        var values = new TreeMap<String, Object>(Map.of("partition", caller.partition(), "region", region(), "account",
                caller.account(), "projects", projectArns(), "bucket", bucket, "bucketOwner", bucketOwner, "prefix",
                plan.prefix(), "bucketKey", bucketKey(presentPolicy), "rules",
                List.of(arn("events", "rule/" + projectName), arn("events", "rule/" + projectName + "-*"))));
        values.put("logGroups", Stream.of(projectName, pushName())
                .map(name -> arn("logs", "log-group:" + logGroup(name) + ":*")).toList());
        if (plan.source().type() == SourceType.S3) {
            var location = plan.source().location().split("/", 2);
            values.put("sourceBucket", location[0]);
            values.put("sourceKey", location[1]);
        }
        values.put("subnets", wantedVpc().map(vpc -> vpc.subnets()).orElse(List.of()).stream()
                .map(id -> arn("ec2", "subnet/" + id)).toList());
        return values;
    }

    /** The option, else the key of this owner that the role has, else any key of the bucket's owner. */
    String bucketKey(JsonNode presentPolicy) {
        if (bucketKmsKeyArn != null) {
            return bucketKmsKeyArn;
        }
        return statements(presentPolicy).stream().filter(statement -> sid(statement).equals("UseKeyOfBackups"))
                .map(statement -> statement.path("Resource").asText())
                .filter(key -> key.matches("arn:aws[a-z-]*:kms:[a-z0-9-]+:" + bucketOwner + ":key/[a-z0-9-]+"))
                .findFirst()
                .orElse("arn:" + caller.partition() + ":kms:*:" + bucketOwner + ":key/*");
    }

    String updateServiceRole(Plan plan) {
        var name = serviceRoleName();
        var present = new TreeMap<String, JsonNode>();
        if (roles.containsKey(name)) {
            POLICIES.forEach(policy -> findPolicy(name, policy).ifPresent(found -> present.put(policy, found)));
        }
        var values = values(plan, present.getOrDefault("backup", JSON.createObjectNode()));
        var wanted = new TreeMap<>(Map.of("backup", template("backup-job.json", values)));
        if (plan.source().type() == SourceType.S3) {
            wanted.put("source", template("backup-job-source.json", values));
        }
        if (wantedVpc().isPresent()) {
            wanted.put("vpc", template("backup-job-vpc.json", values));
        }
        return updateRole(name, template("backup-job-trust.json", values), present, wanted);
    }

    String updateEventsRole() {
        var name = eventsRoleName();
        var present = new TreeMap<String, JsonNode>();
        if (roles.containsKey(name)) {
            findPolicy(name, "start").ifPresent(found -> present.put("start", found));
        }
        var values = Map.of("account", caller.account(), "projects", projectArns(), "rules",
                List.of(arn("events", "rule/" + projectName), arn("events", "rule/" + projectName + "-*")));
        return updateRole(name, template("backup-start-trust.json", values), present,
                Map.of("start", template("backup-start.json", values)));
    }

    /** Returns the role's ARN. */
    String updateRole(String name, JsonNode trust, Map<String, JsonNode> present, Map<String, ObjectNode> wanted) {
        policies.put(name + "/trust", trust);
        wanted.forEach((policy, document) -> policies.put(name + "/" + policy, document));
        if (roles.containsKey(name)) {
            updateTrust(roles.get(name), trust);
        } else {
            createRole(name, trust);
        }
        wanted.forEach((policy, document) -> putPolicy(name, policy, present.get(policy), document));
        present.keySet().stream().filter(policy -> !wanted.containsKey(policy))
                .forEach(policy -> deletePolicy(name, policy, present.get(policy)));
        return roles.containsKey(name) ? roles.get(name).arn() : roleArn(name);
    }

    void createRole(String name, JsonNode trust) {
        var creation = Change.creation(name, "role", roleArn(name));
        if (dryRun) {
            record(creation, null);
            return;
        }
        try {
            var role = iam.createRole(r -> r.roleName(name).description(OWN).assumeRolePolicyDocument(trust.toString()))
                    .role();
            record(creation, aws("iam delete-role --role-name " + name));
            roles.put(name, role);
        } catch (EntityAlreadyExistsException e) {
            var role = findRole(name).orElseThrow(() -> new Failure(reason(e) + ", and is gone again", e));
            recordUnlessOthers(creation, aws("iam delete-role --role-name " + name), e);
            roles.put(name, role);
            updateTrust(role, trust);
        }
    }

    /** What was there when it was to be created is this run's if the answer to its first attempt was lost. */
    void recordUnlessOthers(Change creation, String undo, SdkException refusal) {
        if (isDoubtful(refusal)) {
            record(creation, undo);
        } else {
            note(creation.resource() + ": someone else created it in the meantime");
        }
    }

    void updateTrust(Role role, JsonNode wanted) {
        var present = parsedPolicy(percentDecoded(role.assumeRolePolicyDocument()));
        if (sameMeaning(present, wanted)) {
            return;
        }
        change(Change.update(role.roleName(), "assumeRolePolicyDocument", present, wanted),
                aws("iam update-assume-role-policy", Map.of("RoleName", role.roleName(), "PolicyDocument",
                        present.toString())),
                () -> iam.updateAssumeRolePolicy(r -> r.roleName(role.roleName()).policyDocument(wanted.toString())));
    }

    void putPolicy(String role, String name, JsonNode present, JsonNode wanted) {
        if (present != null && sameMeaning(present, wanted)) {
            return;
        }
        var change = present == null ? Change.creation(role, "policy " + name, wanted)
                : Change.update(role, "policy " + name, present, wanted);
        var undo = present == null ? aws("iam delete-role-policy --role-name " + role + " --policy-name " + name)
                : putPolicyCommand(role, name, present);
        change(change, undo,
                () -> iam.putRolePolicy(r -> r.roleName(role).policyName(name).policyDocument(wanted.toString())));
    }

    String putPolicyCommand(String role, String name, JsonNode policy) {
        return aws("iam put-role-policy", Map.of("RoleName", role, "PolicyName", name, "PolicyDocument",
                policy.toString()));
    }

    void deletePolicy(String role, String name, JsonNode present) {
        change(Change.deletion(role, "policy " + name, present, null), putPolicyCommand(role, name, present),
                () -> unlessGone(role, () -> iam.deleteRolePolicy(r -> r.roleName(role).policyName(name))));
    }

    /** Deletes in IAM; that someone else did, or an attempt whose answer was lost, is as good. */
    void unlessGone(String role, Runnable deletion) {
        try {
            deletion.run();
        } catch (NoSuchEntityException e) {
            note(role + ": what was to be deleted is gone already");
        }
    }

    static String logGroup(String project) {
        return "/aws/codebuild/" + project;
    }

    /** Builds may not make it, and their logs would stay for ever; one that is there is left as it is. */
    void updateLogGroup(String project) {
        var name = logGroup(project);
        var present = findLogGroup(name);
        if (present.isEmpty()) {
            createLogGroup(name);
        } else if (present.get().retentionInDays() == null) {
            note(name + " was there before, and keeps logs for ever; this lets them expire: "
                    + putRetentionCommand(name));
        }
    }

    String putRetentionCommand(String name) {
        return aws("logs put-retention-policy --log-group-name " + name + " --retention-in-days " + RETENTION);
    }

    Optional<LogGroup> findLogGroup(String name) {
        return logs.describeLogGroupsPaginator(r -> r.logGroupNamePrefix(name)).logGroups().stream()
                .filter(group -> group.logGroupName().equals(name)).findFirst();
    }

    void createLogGroup(String name) {
        var creation = Change.creation(name, "logGroup", name);
        var undo = aws("logs delete-log-group --log-group-name " + name);
        try {
            change(creation, undo, () -> logs.createLogGroup(r -> r.logGroupName(name)));
        } catch (ResourceAlreadyExistsException e) {
            recordUnlessOthers(creation, undo, e);
            if (!isDoubtful(e)) {
                return;
            }
        }
        change(Change.update(name, "retentionInDays", null, RETENTION), null, () -> setRetention(name));
    }

    void setRetention(String name) {
        try {
            logs.putRetentionPolicy(r -> r.logGroupName(name).retentionInDays(RETENTION));
        } catch (SdkException e) {
            throw new Failure(reason(e) + "; " + name + " keeps logs for ever until this is done: "
                    + putRetentionCommand(name), e);
        }
    }

    void updateProject(String name, Plan plan, String role, Map<String, String> variables) {
        var present = projects.get(name);
        var wanted = wantedProject(name, present, plan, role, variables);
        if (present == null) {
            createProject(wanted);
        } else {
            changeProject(present, wanted);
        }
    }

    /** What others set in the project stays: further variables, another image. */
    Project wantedProject(String name, Project present, Plan plan, String role, Map<String, String> variables) {
        var environment = present != null ? present.environment()
                : ProjectEnvironment.builder().type(EnvironmentType.LINUX_CONTAINER).image(IMAGE)
                        .computeType(ComputeType.BUILD_GENERAL1_SMALL).build();
        var all = new LinkedHashMap<String, EnvironmentVariable>();
        environment.environmentVariables().forEach(variable -> all.put(variable.name(), variable));
        var own = new TreeMap<>(variables);
        own.putAll(Map.of("BACKUP_BUCKET", bucket, "BACKUP_BUCKET_OWNER", bucketOwner, "BACKUP_PREFIX",
                plan.prefix(), "DEADLINE", plan.deadline()));
        own.forEach((key, value) -> all.put(key, EnvironmentVariable.builder().name(key).value(value)
                .type(EnvironmentVariableType.PLAINTEXT).build()));
        var source = present == null || present.source().type() != plan.source().type()
                ? ProjectSource.builder().type(plan.source().type()).build() : present.source();
        return Project.builder().name(name).description(OWN).serviceRole(role)
                .source(source.toBuilder().location(plan.source().location()).buildspec(null).build())
                .sourceVersion(plan.source().version())
                .environment(environment.toBuilder().environmentVariables(all.values())
                        .computeType(computeType == null ? environment.computeTypeAsString() : computeType.name())
                        .build())
                .timeoutInMinutes((int) buildTime(plan.deadline()).toMinutes())
                .vpcConfig(wantedVpc().orElse(null)).build();
    }

    /** The options, else what the project has. */
    Optional<VpcConfig> wantedVpc() {
        if (vpcId != null) {
            return Optional.of(VpcConfig.builder().vpcId(vpcId).subnets(subnetIds).securityGroupIds(securityGroupIds)
                    .build());
        }
        return Optional.ofNullable(projects.get(projectName)).map(Project::vpcConfig)
                .filter(vpc -> vpc.vpcId() != null && !vpc.vpcId().isEmpty());
    }

    void createProject(Project wanted) {
        var creation = Change.creation(wanted.name(), "project", arn("codebuild", "project/" + wanted.name()));
        if (dryRun) {
            record(creation, null);
            return;
        }
        try {
            whenRoleShows(wanted.serviceRole(), () -> codebuild.createProject(r -> r.name(wanted.name())
                    .description(OWN).serviceRole(wanted.serviceRole()).source(wanted.source())
                    .sourceVersion(wanted.sourceVersion()).environment(wanted.environment())
                    .artifacts(a -> a.type(ArtifactsType.NO_ARTIFACTS)).timeoutInMinutes(wanted.timeoutInMinutes())
                    .vpcConfig(wanted.vpcConfig())));
            record(creation, aws("codebuild delete-project --name " + wanted.name()));
        } catch (software.amazon.awssdk.services.codebuild.model.ResourceAlreadyExistsException e) {
            var found = codebuild.batchGetProjects(r -> r.names(wanted.name())).projects();
            if (found.isEmpty()) {
                throw new Failure(reason(e) + ", and is gone again", e);
            }
            checkOwn("the project " + wanted.name(), found.get(0).description());
            recordUnlessOthers(creation, aws("codebuild delete-project --name " + wanted.name()), e);
            changeProject(found.get(0), wanted);
        }
    }

    /** One call with the members that differ, each of them whole, as CodeBuild replaces it. */
    void changeProject(Project present, Project wanted) {
        var was = (ObjectNode) asJson(present);
        var willBe = (ObjectNode) asJson(wanted);
        willBe.propertyStream().map(Map.Entry::getKey).filter(name -> sameSettings(was.path(name), willBe.get(name)))
                .toList().forEach(name -> willBe.remove(name));
        if (willBe.isEmpty()) {
            return;
        }
        was.retain(willBe.propertyStream().map(Map.Entry::getKey).toList());
        var undo = new TreeMap<String, Object>(Map.of("name", present.name()));
        willBe.propertyStream().map(Map.Entry::getKey)
                .forEach(name -> undo.put(name, was.has(name) ? was.get(name) : Map.of()));
        if (!dryRun) {
            whenRoleShows(wanted.serviceRole(), () -> codebuild.updateProject(r -> r.name(present.name())
                    .serviceRole(willBe.has("serviceRole") ? wanted.serviceRole() : null)
                    .source(willBe.has("source") ? wanted.source() : null)
                    .sourceVersion(willBe.has("sourceVersion") ? wanted.sourceVersion() : null)
                    .environment(willBe.has("environment") ? wanted.environment() : null)
                    .timeoutInMinutes(willBe.has("timeoutInMinutes") ? wanted.timeoutInMinutes() : null)
                    .vpcConfig(willBe.has("vpcConfig") ? wanted.vpcConfig() : null)));
        }
        var command = aws("codebuild update-project", undo);
        var isFirst = true;
        for (var member : willBe.properties()) {
            record(Change.update(present.name(), member.getKey(), was.path(member.getKey()), member.getValue()),
                    isFirst ? command : null);
            isFirst = false;
        }
    }

    /** Lists of variables, subnets and groups have no order. */
    static boolean sameSettings(JsonNode one, JsonNode other) {
        return settings(one).equals(settings(other));
    }

    static Object settings(JsonNode node) {
        if (node.isArray()) {
            return node.valueStream().map(item -> settings(item)).collect(Collectors.toSet());
        }
        if (!node.isObject()) {
            return node.asText();
        }
        var members = new TreeMap<String, Object>();
        node.properties().forEach(member -> members.put(member.getKey(), settings(member.getValue())));
        return members;
    }

    /**
     * CodeBuild and EventBridge refuse a role that IAM does not show them yet, by the error code that any wrong input
     * has: so this repeats the call if the role is new, and only then.
     */
    <T> T whenRoleShows(String roleArn, Supplier<T> call) {
        var name = roleArn.substring(roleArn.lastIndexOf('/') + 1);
        var role = roles.get(name);
        var isNew = role != null && role.createDate().isAfter(Instant.now().minus(Duration.ofMinutes(5)));
        return whileRefused(isNew ? Set.of("InvalidInputException", "ValidationException") : Set.of(), rolePatience,
                name + ": a new role takes some seconds to show everywhere: waiting ...", call);
    }

    void removeProject(String name) {
        var present = projects.get(name);
        if (present == null) {
            return;
        }
        change(Change.deletion(name, "project", present.arn(), null),
                aws("codebuild create-project", creation(present)),
                () -> codebuild.deleteProject(r -> r.name(name)));
        if (!dryRun) {
            note("the log group " + logGroup(name) + " stays; delete it with: "
                    + aws("logs delete-log-group --log-group-name " + logGroup(name)));
        }
    }

    /** What CreateProject takes of what BatchGetProjects shows. */
    static Map<String, JsonNode> creation(Project project) {
        var settings = (ObjectNode) asJson(project);
        settings.retain(CreateProjectRequest.builder().build().sdkFields().stream().map(SdkField::locationName)
                .toList());
        var members = new TreeMap<String, JsonNode>();
        settings.properties().forEach(member -> members.put(member.getKey(), member.getValue()));
        return members;
    }

    /** A rule by schedule or by pattern. */
    record WantedRule(String name, String schedule, JsonNode pattern, List<Target> targets) {}

    String shardsName(int number) {
        return projectName + "-shards-" + number;
    }

    List<WantedRule> wantedRules(Plan plan, String role) {
        var wanted = new ArrayList<WantedRule>();
        if (plan.shards() == 1) {
            wanted.add(new WantedRule(projectName, plan.schedule(), null, List.of(target("backup", role, null))));
        }
        for (var first = 1; plan.shards() > 1 && first <= plan.shards(); first += TARGETS_PER_RULE) {
            var last = Math.min(first + TARGETS_PER_RULE - 1, plan.shards());
            var some = IntStream.rangeClosed(first, last).mapToObj(shard -> target("shard-" + shard, role,
                    Map.of("TASK", "backup", "SHARD", shard + "/" + plan.shards()))).toList();
            wanted.add(new WantedRule(shardsName(wanted.size() + 1), plan.schedule(), null, some));
        }
        if (plan.shards() > 1) {
            wanted.add(new WantedRule(projectName + "-verify", plan.verification(), null,
                    List.of(target("verify", role, Map.of("TASK", "verify")))));
        }
        if (plan.onPush()) {
            wanted.add(pushRule(role));
        }
        return wanted;
    }

    Target target(String id, String role, Map<String, String> variables) {
        return Target.builder().id(id).arn(arn("codebuild", "project/" + projectName)).roleArn(role)
                .input(variables == null ? null : overriding(variables).toString()).build();
    }

    static ObjectNode overriding(Map<String, String> variables) {
        var input = JSON.createObjectNode();
        var list = input.putArray("environmentVariablesOverride");
        new TreeMap<>(variables).forEach(
                (name, value) -> list.addObject().put("name", name).put("value", value).put("type", "PLAINTEXT"));
        return input;
    }

    /**
     * A build gets the repository's name, of letters, digits and . _ -, and nothing else of the event: branches have
     * names that a shell or JSON may take for something else.
     */
    WantedRule pushRule(String role) {
        var pattern = JSON.createObjectNode();
        pattern.putArray("source").add("aws.codecommit");
        pattern.putArray("detail-type").add("CodeCommit Repository State Change");
        pattern.putObject("detail").putArray("event").add("referenceCreated").add("referenceDeleted")
                .add("referenceUpdated");
        var template = overriding(Map.of("REPOSITORY_NAMES", "REPOSITORY")).toString().replace("\"REPOSITORY\"",
                "<repository>");
        var target = Target.builder().id("push").arn(arn("codebuild", "project/" + pushName())).roleArn(role)
                .inputTransformer(t -> t.inputPathsMap(Map.of("repository", "$.detail.repositoryName"))
                        .inputTemplate(template))
                .build();
        return new WantedRule(projectName + "-push", null, pattern, List.of(target));
    }

    void updateRule(WantedRule wanted) {
        var present = rules.get(wanted.name());
        if (present == null) {
            change(Change.creation(wanted.name(), "rule",
                    wanted.schedule() != null ? wanted.schedule() : wanted.pattern()),
                    aws("events delete-rule --name " + wanted.name()), () -> putRule(wanted));
        } else if (!isInLine(present, wanted)) {
            change(Change.update(wanted.name(), "rule", rule(present), rule(wanted)), putRuleCommand(present),
                    () -> putRule(wanted));
        }
        updateTargets(wanted);
    }

    static boolean isInLine(Rule present, WantedRule wanted) {
        return rule(present).equals(rule(wanted));
    }

    /** What this script says of a rule. */
    static JsonNode rule(Rule rule) {
        return rule(rule.scheduleExpression(), rule.eventPattern() == null ? null : parsedPolicy(rule.eventPattern()),
                rule.state());
    }

    static JsonNode rule(WantedRule wanted) {
        return rule(wanted.schedule(), wanted.pattern(), RuleState.ENABLED);
    }

    private static JsonNode rule(String schedule, JsonNode pattern, RuleState state) {
        var shown = JSON.createObjectNode();
        if (schedule != null) {
            shown.put("ScheduleExpression", schedule);
        }
        if (pattern != null) {
            shown.set("EventPattern", pattern);
        }
        return shown.put("State", state.toString());
    }

    void putRule(WantedRule wanted) {
        events.putRule(r -> r.name(wanted.name()).description(OWN).state(RuleState.ENABLED)
                .scheduleExpression(wanted.schedule())
                .eventPattern(wanted.pattern() == null ? null : wanted.pattern().toString()));
    }

    String putRuleCommand(Rule rule) {
        var input = new TreeMap<String, Object>(Map.of("Name", rule.name(), "Description", rule.description(), "State",
                rule.stateAsString()));
        if (rule.scheduleExpression() != null) {
            input.put("ScheduleExpression", rule.scheduleExpression());
        }
        if (rule.eventPattern() != null) {
            input.put("EventPattern", rule.eventPattern());
        }
        return aws("events put-rule", input);
    }

    void updateTargets(WantedRule wanted) {
        var present = targets.getOrDefault(wanted.name(), List.of()).stream()
                .collect(Collectors.toMap(Target::id, target -> target, (a, b) -> a, TreeMap::new));
        var different = wanted.targets().stream()
                .filter(target -> !present.containsKey(target.id())
                        || !invocation(present.get(target.id())).equals(invocation(target)))
                .toList();
        if (!different.isEmpty()) {
            putTargets(wanted.name(), different, present);
        }
        var ids = wanted.targets().stream().map(Target::id).toList();
        var others = present.values().stream().filter(target -> !ids.contains(target.id())).toList();
        removeTargets(wanted.name(), others.stream().filter(target -> isOwn(target)).toList());
        var foreign = others.stream().filter(target -> !isOwn(target)).map(Target::id).toList();
        if (!foreign.isEmpty()) {
            note(wanted.name() + ": kept targets that are not this script's: " + String.join(", ", foreign));
        }
    }

    /** A target with its input as what it means, not as text. */
    static JsonNode invocation(Target target) {
        var shown = (ObjectNode) asJson(target);
        if (target.input() != null) {
            shown.set("Input", parsedPolicy(target.input()));
        }
        return shown;
    }

    void putTargets(String rule, List<Target> wanted, Map<String, Target> present) {
        var ids = wanted.stream().map(Target::id).toList();
        var before = ids.stream().filter(present::containsKey).map(present::get).toList();
        var fresh = ids.stream().filter(id -> !present.containsKey(id)).toList();
        var undo = Stream.of(before.isEmpty() ? "" : putTargetsCommand(rule, before),
                fresh.isEmpty() ? ""
                        : aws("events remove-targets --rule " + rule + " --ids " + String.join(" ", fresh)))
                .filter(command -> !command.isEmpty()).collect(Collectors.joining(" && "));
        change(Change.update(rule, "targets", before.isEmpty() ? null : asJson(before), asJson(wanted)), undo, () -> {
            var answer = whenRoleShows(wanted.get(0).roleArn(),
                    () -> events.putTargets(r -> r.rule(rule).targets(wanted)));
            if (answer.failedEntryCount() > 0) {
                var entry = answer.failedEntries().get(0);
                throw new Failure("the target " + entry.targetId() + ": " + entry.errorCode() + ": "
                        + entry.errorMessage() + "; run the same command again");
            }
        });
    }

    void removeTargets(String rule, List<Target> surplus) {
        if (surplus.isEmpty()) {
            return;
        }
        var ids = surplus.stream().map(Target::id).toList();
        change(Change.deletion(rule, "targets", asJson(surplus), null), putTargetsCommand(rule, surplus), () -> {
            try {
                var answer = events.removeTargets(r -> r.rule(rule).ids(ids));
                if (answer.failedEntryCount() > 0) {
                    var entry = answer.failedEntries().get(0);
                    throw new Failure("the target " + entry.targetId() + ": " + entry.errorCode() + ": "
                            + entry.errorMessage() + "; run the same command again");
                }
            } catch (ResourceNotFoundException e) {
                note(rule + ": someone else removed it in the meantime");
            }
        });
    }

    /** A rule that others have given targets stays for these. */
    void removeRule(String name) {
        var present = targets.get(name);
        removeTargets(name, present.stream().filter(target -> isOwn(target)).toList());
        var others = present.stream().filter(target -> !isOwn(target)).map(Target::id).toList();
        if (!others.isEmpty()) {
            note(name + " stays, as it has targets that are not this script's: " + String.join(", ", others));
            return;
        }
        change(Change.deletion(name, "rule", rule(rules.get(name)), null), putRuleCommand(rules.get(name)),
                () -> events.deleteRule(r -> r.name(name)));
    }

    Job removeAll() {
        var source = Optional.ofNullable(projects.get(projectName)).map(Project::source);
        List.copyOf(rules.keySet()).forEach(name -> removeRule(name));
        removeProject(pushName());
        removeProject(projectName);
        removeRole(eventsRoleName(), List.of("start"));
        removeRole(serviceRoleName(), POLICIES);
        source.filter(found -> found.type() == SourceType.S3 && !dryRun)
                .ifPresent(found -> note("the zip s3://" + found.location() + " stays"));
        return new Job(projectName, arn("codebuild", "project/" + projectName), null, roleArn(serviceRoleName()),
                roleArn(eventsRoleName()), logGroup(projectName), null, null, null, null, null);
    }

    void removeRole(String name, List<String> ownPolicies) {
        var role = roles.get(name);
        if (role == null) {
            return;
        }
        for (var policy : ownPolicies) {
            findPolicy(name, policy).ifPresent(present -> deletePolicy(name, policy, present));
        }
        var trust = parsedPolicy(percentDecoded(role.assumeRolePolicyDocument()));
        var creation = new TreeMap<>(Map.of("RoleName", name, "Path", role.path(), "Description", OWN,
                "AssumeRolePolicyDocument", trust.toString()));
        if (role.permissionsBoundary() != null) {
            creation.put("PermissionsBoundary", role.permissionsBoundary().permissionsBoundaryArn());
        }
        change(Change.deletion(name, "role", role.arn(), null), aws("iam create-role", creation),
                () -> deleteRole(name));
    }

    void deleteRole(String name) {
        try {
            unlessGone(name, () -> iam.deleteRole(r -> r.roleName(name)));
        } catch (DeleteConflictException e) {
            throw new Failure(reason(e) + "; the role " + name + " has policies that are not this script's: take them"
                    + " off, then run the same command again", e);
        }
    }

    /** Waits for the build's end, and shows what a failed one said last. */
    Build runBuild() {
        var token = UUID.randomUUID().toString();
        var started = codebuild.startBuild(r -> r.projectName(projectName).idempotencyToken(token)).build();
        note("build " + started.id() + " has begun; its log: " + started.logs().deepLink());
        var hook = new Thread(() -> note("interrupted: the build goes on; stop it with: "
                + aws("codebuild stop-build --id " + started.id())));
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            return waitFor(started.id());
        } finally {
            Runtime.getRuntime().removeShutdownHook(hook);
        }
    }

    Build waitFor(String id) {
        var said = new HashSet<String>();
        var build = poll(Duration.ofMinutes(2L * LONGEST_BUILD), () -> {
            var seen = codebuild.batchGetBuilds(r -> r.ids(id)).builds().get(0);
            seen.phases().stream().filter(phase -> phase.phaseStatus() != null && said.add(phase.phaseTypeAsString()))
                    .forEach(phase -> note(shown(phase)));
            return seen.buildComplete() ? Optional.of(seen) : Optional.empty();
        }).orElseThrow(() -> new Failure("build " + id + " does not end"));
        if (build.buildStatus() != StatusType.SUCCEEDED) {
            showLog(build.logs().groupName(), build.logs().streamName());
        }
        return new Build(id, build.buildStatusAsString(), build.logs().deepLink());
    }

    static String shown(BuildPhase phase) {
        var reasons = phase.contexts().stream().filter(context -> context.message() != null)
                .map(context -> ": " + context.message().replaceAll("\\s+", " ")).collect(Collectors.joining());
        return phase.phaseTypeAsString() + " " + phase.phaseStatusAsString() + " in " + phase.durationInSeconds() + " s"
                + reasons;
    }

    void showLog(String group, String stream) {
        try {
            var last = logs.getLogEvents(r -> r.logGroupName(group).logStreamName(stream).limit(LAST_LINES)).events();
            var lines = last.stream().map(OutputLogEvent::message).flatMap(String::lines).toList();
            lines.stream().skip(Math.max(0, lines.size() - LAST_LINES)).forEach(line -> note("log: " + line));
        } catch (CloudWatchLogsException e) {
            note("the log cannot be shown: " + reason(e));
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

    //region The same in every script: waiting for AWS

    /**
     * Repeats a call that AWS refuses with one of these error codes, as long as it does not know what is new. The last
     * refusal is the caller's.
     *
     * @param waiting what to say at the first refusal; null to say nothing
     */
    <T> T whileRefused(Set<String> codes, Duration patience, String waiting, Supplier<T> call) {
        var refusals = new AtomicInteger();
        return poll(patience, () -> {
            try {
                return Optional.of(call.get());
            } catch (AwsServiceException e) {
                if (isCutShort(e) || !codes.contains(e.awsErrorDetails().errorCode())) {
                    throw e;
                }
                if (waiting != null && refusals.getAndIncrement() == 0) {
                    note(waiting);
                }
                return Optional.empty();
            }
        }).orElseGet(call);
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

    //region The same in every script: policies

    /** A policy template with its placeholders filled; it is an error if one has no value. */
    static ObjectNode template(String name, Map<String, ?> values) {
        try (var file = MethodHandles.lookup().lookupClass().getResourceAsStream("/policies/" + name)) {
            return (ObjectNode) filled(JSON.readTree(file), values);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The tree with the placeholders filled in all of its strings; the policy variables of IAM (${aws:...}) stay. */
    static JsonNode filled(JsonNode node, Map<String, ?> values) {
        if (node.isObject()) {
            node.properties().forEach(member -> member.setValue(filled(member.getValue(), values)));
            return node;
        }
        if (node.isArray()) {
            return JSON.createArrayNode().addAll(node.valueStream().map(item -> filled(item, values)).toList());
        }
        return node.isTextual() ? filled(node.textValue(), values) : node;
    }

    /** A text that is just one placeholder becomes the whole value, such as a list. */
    private static JsonNode filled(String text, Map<String, ?> values) {
        var placeholder = Pattern.compile("\\$\\{(\\w+)}");
        var whole = placeholder.matcher(text);
        if (whole.matches()) {
            return JSON.valueToTree(value(whole.group(1), values));
        }
        return JSON.getNodeFactory().textNode(placeholder.matcher(text).replaceAll(
                found -> Matcher.quoteReplacement(String.valueOf(value(found.group(1), values)))));
    }

    private static Object value(String name, Map<String, ?> values) {
        if (!values.containsKey(name)) {
            throw new IllegalArgumentException("the policy template has ${" + name + "}, which has no value");
        }
        return values.get(name);
    }

    static ObjectNode parsedPolicy(String document) {
        try {
            return (ObjectNode) JSON.readTree(document);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static List<JsonNode> statements(JsonNode policy) {
        var statements = policy.path("Statement");
        return statements.isArray() ? statements.valueStream().toList() : List.of(statements);
    }

    /** The statements of a policy that have none of our Sids. */
    static List<JsonNode> foreignStatements(JsonNode policy, Collection<String> ownSids) {
        return statements(policy).stream().filter(statement -> !ownSids.contains(sid(statement))).toList();
    }

    static String sid(JsonNode statement) {
        return statement.path("Sid").asText("(no Sid)");
    }

    static String sids(List<JsonNode> statements) {
        return statements.stream().map(statement -> sid(statement)).collect(Collectors.joining(", "));
    }

    /** The texts of a list, of which AWS shows one by itself; none if there is nothing. */
    static Stream<String> texts(JsonNode oneOrMore) {
        var values = oneOrMore.isArray() ? oneOrMore.valueStream() : Stream.of(oneOrMore);
        return values.filter(value -> !value.isMissingNode()).map(value -> value.asText());
    }

    /** Whether two policies say the same, however AWS has rewritten one of them. */
    static boolean sameMeaning(JsonNode one, JsonNode other) {
        return meanings(one).equals(meanings(other));
    }

    private static Set<Object> meanings(JsonNode policy) {
        return statements(policy).stream().map(statement -> meaning(statement)).collect(Collectors.toSet());
    }

    /**
     * One form for all spellings: sets for lists and single values, text for numbers and booleans, account ids for root
     * ARNs, {"AWS": "*"} for "*".
     */
    static Object meaning(JsonNode node) {
        if (!node.isObject()) {
            return texts(node).map(text -> text.replaceAll("^arn:aws[a-z-]*:iam::(\\d{12}):root$", "$1"))
                    .collect(Collectors.toSet());
        }
        var members = new TreeMap<String, Object>();
        node.properties().forEach(member -> {
            var isEveryone = member.getKey().endsWith("Principal") && member.getValue().asText().equals("*");
            members.put(member.getKey(), isEveryone ? Map.of("AWS", Set.of("*")) : meaning(member.getValue()));
        });
        return members;
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

    //region The same in every script: targets of rules

    static List<Target> targetsOf(EventBridgeClient events, String rule) {
        var found = new ArrayList<Target>();
        var page = events.listTargetsByRule(r -> r.rule(rule));
        found.addAll(page.targets());
        while (page.nextToken() != null) {
            var token = page.nextToken();
            page = events.listTargetsByRule(r -> r.rule(rule).nextToken(token));
            found.addAll(page.targets());
        }
        return found;
    }

    String putTargetsCommand(String rule, List<Target> targets) {
        return aws("events put-targets", Map.of("Rule", rule, "Targets", asJson(targets)));
    }

    //endregion
}
