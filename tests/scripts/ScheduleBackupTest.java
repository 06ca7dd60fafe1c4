import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import localaws.Call;
import localaws.CodeBuild;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.LocalAws;
import localaws.S3;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.services.cloudwatchlogs.CloudWatchLogsClient;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ScheduleBackupTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";
    static final String ROLE = "codecommit-backup-eu-west-1";
    static final String STARTER = ROLE + "-events";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();
    /** A job that only tells what it was asked for. */
    static final String TELLING = """
            version: 0.2
            env: {variables: {TASK: all, SHARD: 1/1, REPOSITORY_NAMES: ''}}
            phases: {build: {commands: ['echo "$TASK $SHARD $REPOSITORY_NAMES"']}}
            """;

    LocalAws aws;
    S3.Bucket bucket;
    CodeCommit.Repo toolkit;

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        Script.use(aws);
        aws.onCall(ALL::add);
        bucket = aws.s3.createBucket("my-backups", REGION, LocalAws.BACKUP_ACCOUNT).policy("""
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
                 "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "s3:*",
                 "Resource": ["arn:aws:s3:::my-backups", "arn:aws:s3:::my-backups/*"],
                 "Condition": {"ArnEquals":
                   {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/codecommit-backup-eu-west-1"}}}]}""");
        toolkit = aws.codecommit.createRepository("codecommit-toolkit").commit("refs/heads/main", "buildspec.yml",
                TELLING);
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    static Script.Run run(String... args) {
        return Script.run(new ScheduleBackup().commandLine(), args);
    }

    /** A run with the bucket, its owner and the toolkit's repository. */
    static Script.Run schedule(String... more) {
        return run(with("--source-repository codecommit-toolkit", more));
    }

    static String[] with(String words, String... more) {
        return Stream.concat(Stream.of(("--bucket my-backups --bucket-owner 444455556666 " + words).strip().split(" ")),
                Stream.of(more)).toArray(String[]::new);
    }

    static void assertOk(String status, Script.Run run) {
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(status, run.status(), run.out());
    }

    ObjectNode project(String name) {
        return aws.codebuild.project(REGION, name).settings;
    }

    Map<String, String> variables(String name) {
        return project(name).at("/environment/environmentVariables").valueStream()
                .collect(Collectors.toMap(v -> v.path("name").asText(), v -> v.path("value").asText()));
    }

    /** The rules that there are, with the ids of their targets. */
    Map<String, Set<String>> rules() {
        return Stream.of("", "-verify", "-push", "-shards-1", "-shards-2", "-shards-3")
                .map(end -> aws.events.rule(REGION, "codecommit-backup" + end)).filter(rule -> rule != null)
                .collect(Collectors.toMap(rule -> rule.name, rule -> new TreeSet<>(rule.targets.keySet())));
    }

    List<CodeBuild.Build> builds(String project) {
        return aws.codebuild.builds(REGION, project);
    }

    /** What the builds of a project were asked for, when all have ended. */
    List<String> told(String project) {
        return builds(project).stream().map(build -> build.await().commands().get(0).out()).sorted().toList();
    }

    static JsonNode json(String text) throws Exception {
        return JSON.readTree(text);
    }

    // ---- Created, unchanged, mended, removed

    @Test
    void createsTheJobAndItsSchedule() throws Exception {
        var run = schedule();
        assertOk("created", run);
        assertEquals("arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup",
                run.json().at("/project/arn").asText());
        assertEquals("cron(0 4 * * ? *)", run.json().at("/project/scheduleExpression").asText());
        assertEquals(toolkit.resolve("refs/heads/main").name(), run.json().at("/project/sourceVersion").asText());
        assertEquals(Map.of("BACKUP_BUCKET", "my-backups", "BACKUP_BUCKET_OWNER", "444455556666", "BACKUP_PREFIX",
                "projects/codecommit-backup", "DEADLINE", "45m"), variables("codecommit-backup"));
        assertEquals(60, project("codecommit-backup").path("timeoutInMinutes").asInt());
        assertEquals("CODECOMMIT", project("codecommit-backup").at("/source/type").asText());
        assertEquals(Map.of("codecommit-backup", Set.of("backup")), rules());
        assertEquals(90, aws.logs.group(REGION, "/aws/codebuild/codecommit-backup").retention);
        assertEquals(Set.of("backup"), aws.iam.find("role/" + ROLE).inline.keySet());
        assertEquals(Set.of("start"), aws.iam.find("role/" + STARTER).inline.keySet());
        var trust = json(aws.iam.find("role/" + ROLE).trust).at("/Statement/0");
        assertEquals("codebuild.amazonaws.com", trust.at("/Principal/Service").asText());
        assertEquals("111122223333", trust.at("/Condition/StringEquals").path("aws:SourceAccount").asText());
        assertEquals(List.of("project/codecommit-backup", "project/codecommit-backup-push"),
                trust.at("/Condition/ArnEquals").path("aws:SourceArn").valueStream()
                        .map(arn -> arn.asText().split(":")[5]).toList());
        assertTrue(run.json().path("undo").asText().contains("aws events delete-rule --name codecommit-backup"));
        assertEquals("iam delete-role --role-name " + ROLE + " --region eu-west-1",
                run.json().path("undo").asText().replaceFirst(".*&& aws ", ""), "the first change last");
    }

    @Test
    void aSecondRunChangesNothing() {
        var all = new String[] {"--on-push", "--shards", "7", "--deadline", "2h", "--daily-at", "23:30",
                "--compute-type", "BUILD_GENERAL1_LARGE", "--bucket-kms-key-arn",
                "arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"};
        assertOk("created", schedule(all));
        aws.clearCalls();
        Script.assertUnchanged(schedule(all), aws);
        aws.clearCalls();
        Script.assertUnchanged(run(with("")), aws);
    }

    @Test
    void aDryRunReadsOnlyAndPrintsThePolicies() {
        var planned = schedule("--on-push", "--shards", "3", "--run-now", "--dry-run");
        assertOk("would-create", planned);
        Script.assertReadsOnly(aws);
        var policies = planned.json().at("/project/policies");
        assertEquals(Set.of(ROLE + "/backup", ROLE + "/trust", STARTER + "/start", STARTER + "/trust"),
                policies.propertyStream().map(Map.Entry::getKey).collect(Collectors.toSet()));
        assertFalse(policies.toString().contains("${"), policies.toString());
        assertFalse(planned.json().has("undo"));
        schedule();
        aws.clearCalls();
        assertOk("would-update", run(with("", "--deadline", "1h", "--dry-run")));
        Script.assertReadsOnly(aws);
        assertOk("would-delete", run("--remove", "--dry-run"));
        Script.assertReadsOnly(aws);
    }

    @Test
    void mendsWhatWasChangedAndKeepsWhatOthersAdded() throws Exception {
        schedule("--on-push");
        var role = aws.iam.find("role/" + ROLE);
        role.trust = role.trust.replace("ArnEquals", "ArnNotEquals");
        role.inline.put("backup", role.inline.get("backup").replace("GitPull", "GitPush"));
        role.inline.put("theirs", role.inline.get("backup"));
        aws.iam.find("role/" + STARTER).inline.remove("start");
        var project = project("codecommit-backup");
        project.put("timeoutInMinutes", 5);
        project.withObject("/source").put("buildspec", "version: 0.2\nphases: {build: {commands: ['curl evil']}}\n");
        project.put("sourceVersion", "main");
        project.withArray("/environment/environmentVariables").addObject().put("name", "THEIRS").put("value", "1");
        ((ObjectNode) project.at("/environment/environmentVariables/0")).put("value", "other-bucket");
        aws.logs.group(REGION, "/aws/codebuild/codecommit-backup").retention = 365;
        var rule = aws.events.rule(REGION, "codecommit-backup");
        rule.state = "DISABLED";
        var push = aws.events.rule(REGION, "codecommit-backup-push");
        push.targets.get("push").withObject("/InputTransformer").put("InputTemplate", "{}");
        var run = schedule();
        assertOk("updated", run);
        assertTrue(role.trust.contains("ArnEquals"));
        assertTrue(role.inline.get("backup").contains("GitPull"));
        assertTrue(role.inline.containsKey("theirs"));
        assertTrue(aws.iam.find("role/" + STARTER).inline.containsKey("start"));
        project = project("codecommit-backup");
        assertEquals(60, project.path("timeoutInMinutes").asInt());
        assertFalse(project.path("source").has("buildspec"));
        assertEquals(toolkit.resolve("refs/heads/main").name(), project.path("sourceVersion").asText());
        assertEquals("1", variables("codecommit-backup").get("THEIRS"));
        assertEquals("my-backups", variables("codecommit-backup").get("BACKUP_BUCKET"));
        assertEquals(365, aws.logs.group(REGION, "/aws/codebuild/codecommit-backup").retention);
        assertEquals("ENABLED", rule.state);
        assertTrue(aws.events.rule(REGION, "codecommit-backup-push").targets.get("push").toString()
                .contains("<repository>"));
        assertTrue(run.json().path("undo").asText().contains("codebuild update-project"), run.out());
        aws.clearCalls();
        Script.assertUnchanged(schedule(), aws);
    }

    @Test
    void logsThatAreKeptForEverStayAndAreTold() {
        var group = "/aws/codebuild/codecommit-backup";
        try (var logs = CloudWatchLogsClient.create()) {
            logs.createLogGroup(r -> r.logGroupName(group));
        }
        var run = schedule();
        assertOk("created", run);
        assertNull(aws.logs.group(REGION, group).retention);
        assertTrue(run.err().contains(group + " was there before, and keeps logs for ever; this lets them expire: aws "
                + "logs put-retention-policy --log-group-name " + group + " --retention-in-days 90"), run.err());
    }

    @Test
    void aLogGroupThatGetsNoRetentionIsTold() {
        aws.inject(Fault.on("logs:PutRetentionPolicy").error(400, "AccessDeniedException", "not authorized"));
        var run = schedule();
        assertEquals(1, run.exitCode(), run.out());
        assertTrue(run.err().contains("/aws/codebuild/codecommit-backup keeps logs for ever until this is done: aws "
                + "logs put-retention-policy"), run.err());
    }

    @Test
    void removesWhatItMadeAndNothingElse() {
        schedule("--on-push", "--shards", "6");
        var before = bucket.keys();
        var run = run("--remove");
        assertOk("deleted", run);
        assertEquals(Map.of(), rules());
        assertNull(aws.codebuild.project(REGION, "codecommit-backup"));
        assertNull(aws.codebuild.project(REGION, "codecommit-backup-push"));
        assertNull(aws.iam.find("role/" + ROLE));
        assertNull(aws.iam.find("role/" + STARTER));
        assertEquals(before, bucket.keys());
        assertTrue(run.err().contains("the log group /aws/codebuild/codecommit-backup stays; delete it with: aws logs "
                + "delete-log-group"), run.err());
        assertTrue(run.json().path("undo").asText().startsWith("aws iam create-role"), run.out());
        aws.clearCalls();
        Script.assertUnchanged(run("--remove"), aws);
    }

    @Test
    void aRoleWithOthersPoliciesIsNotRemoved() {
        schedule();
        aws.iam.find("role/" + ROLE).inline.put("theirs", aws.iam.find("role/" + ROLE).inline.get("backup"));
        var run = run("--remove");
        assertEquals(1, run.exitCode());
        assertTrue(run.err().contains("has policies that are not this script's: take them off, then run the same"),
                run.err());
        aws.iam.find("role/" + ROLE).inline.remove("theirs");
        assertOk("deleted", run("--remove"));
    }

    /** What has the right name and was made by somebody else is not touched. */
    @Test
    void refusesWhatItDidNotMake() {
        var role = aws.iam.createRole(ROLE);
        assertRefusedAsForeign("the role " + ROLE);
        role.description = ScheduleBackup.OWN;
        assertOk("created", schedule());
        project("codecommit-backup").put("description", "ours");
        assertRefusedAsForeign("the project codecommit-backup");
        project("codecommit-backup").put("description", ScheduleBackup.OWN);
        aws.events.rule(REGION, "codecommit-backup").description = "ours";
        assertRefusedAsForeign("the rule codecommit-backup");
    }

    void assertRefusedAsForeign(String what) {
        aws.clearCalls();
        for (var arguments : List.of(with("--source-repository codecommit-toolkit"), new String[] {"--remove"})) {
            var run = run(arguments);
            assertEquals(1, run.exitCode());
            assertTrue(run.err().contains(what + " exists and was not made by schedule-backup"), run.err());
            assertTrue(run.err().contains("use another --project-name"), run.err());
            Script.assertReadsOnly(aws);
        }
    }

    // ---- Schedule and shards

    /** When it is that time of the day for the next time. */
    static Instant next(int hour, int minute) {
        var now = Instant.now();
        var today = now.atZone(ZoneOffset.UTC).toLocalDate().atTime(hour, minute).toInstant(ZoneOffset.UTC);
        return today.isAfter(now) ? today : today.plus(Duration.ofDays(1));
    }

    @Test
    void theScheduleStartsABuildAsTheRole() {
        schedule("--daily-at", "04:15");
        var time = next(4, 15);
        aws.advanceTo(time.minusSeconds(60));
        assertEquals(List.of(), builds("codecommit-backup"));
        aws.advanceTo(time);
        assertEquals(List.of("all 1/1"), told("codecommit-backup"));
        var initiator = builds("codecommit-backup").get(0).initiator;
        assertTrue(initiator.startsWith(STARTER + "/"), initiator);
        assertEquals(List.of(), aws.events.invocations().stream().filter(one -> one.error() != null).toList());
    }

    @Test
    void shardsShareTheNightAndOneMoreBuildVerifiesIt() throws Exception {
        assertOk("created", schedule("--shards", "7"));
        assertEquals(Map.of("codecommit-backup-shards-1", Set.of("shard-1", "shard-2", "shard-3", "shard-4", "shard-5"),
                "codecommit-backup-shards-2", Set.of("shard-6", "shard-7"), "codecommit-backup-verify",
                Set.of("verify")), rules());
        assertEquals("cron(15 5 * * ? *)", aws.events.rule(REGION, "codecommit-backup-verify").schedule);
        var night = next(4, 0);
        aws.codebuild.concurrentBuilds = 7;
        aws.advanceTo(night);
        told("codecommit-backup");
        aws.advanceTo(night.plus(Duration.ofMinutes(90)));
        told("codecommit-backup");
        assertEquals(Stream.concat(IntStream.rangeClosed(1, 7).mapToObj(i -> "backup " + i + "/7"),
                Stream.of("verify 1/1")).toList(), told("codecommit-backup"));
        assertOk("updated", run(with("", "--shards", "2")));
        assertEquals(Map.of("codecommit-backup-shards-1", Set.of("shard-1", "shard-2"), "codecommit-backup-verify",
                Set.of("verify")), rules());
        assertTrue(aws.events.rule(REGION, "codecommit-backup-shards-1").targets.get("shard-1").toString()
                .contains("1/2"));
        aws.clearCalls();
        Script.assertUnchanged(run(with("")), aws);
        var back = run(with("", "--shards", "1"));
        assertEquals(0, back.exitCode(), back.err());
        assertEquals(Map.of("codecommit-backup", Set.of("backup")), rules());
    }

    @Test
    void aTargetOfSomebodyElseStaysAndKeepsItsRule() {
        schedule("--shards", "2");
        var rule = aws.events.rule(REGION, "codecommit-backup-verify");
        var more = new java.util.TreeMap<>(rule.targets);
        more.put("theirs", rule.targets.get("verify").deepCopy().put("Id", "theirs"));
        rule.targets = more;
        var run = run(with("", "--shards", "1"));
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains("stays, as it has targets that are not this script's: theirs"), run.err());
        assertEquals(Set.of("theirs"), rules().get("codecommit-backup-verify"));
    }

    /** The verification comes after the builds have ended, be it by their time-out. */
    @ParameterizedTest
    @CsvSource({"--daily-at, 23:00, 45m, cron(15 0 * * ? *)", "--schedule, cron(0 4 ? * MON-FRI *), 2h,"
            + " cron(30 6 ? * MON-FRI *)", "--schedule, cron(30 12 1 * ? *), 45m, cron(45 13 1 * ? *)"})
    void theVerificationOfShardsIsScheduledBehindThem(String option, String when, String deadline, String then) {
        assertOk("created", schedule(option, when, "--deadline", deadline, "--shards", "2"));
        assertEquals(then, aws.events.rule(REGION, "codecommit-backup-verify").schedule);
    }

    // ---- On push

    /** What BackupChainTest shows at length. */
    @Test
    void aPushStartsABuildForItsRepositoryAlone() {
        aws.codecommit.createRepository("payments");
        assertOk("created", schedule("--on-push"));
        assertEquals("backup", variables("codecommit-backup-push").get("TASK"));
        push("payments", "main");
        assertEquals(List.of("backup 1/1 payments"), told("codecommit-backup-push"));
        assertEquals(List.of(), builds("codecommit-backup"), "the nightly project counts its own builds alone");
        assertOk("updated", schedule("--no-on-push"));
        assertEquals(Map.of("codecommit-backup", Set.of("backup")), rules());
        assertNull(aws.codebuild.project(REGION, "codecommit-backup-push"));
    }

    /** Through Git, as a push is. */
    void push(String repository, String branch) {
        try (var git = org.eclipse.jgit.api.Git.init().setDirectory(directory("clone-")).call()) {
            git.commit().setMessage(branch).setAllowEmpty(true).setAuthor("a", "a@example.com")
                    .setCommitter("a", "a@example.com").setSign(false).call();
            git.getRepository().getConfig().setString("http", null, "extraHeader",
                    "Authorization: " + aws.gitAuthorization(repository));
            git.push().setRemote(aws.endpoint() + "/v1/repos/" + repository)
                    .setRefSpecs(new org.eclipse.jgit.transport.RefSpec("HEAD:refs/heads/" + branch)).call()
                    .forEach(result -> assertEquals(org.eclipse.jgit.transport.RemoteRefUpdate.Status.OK,
                            result.getRemoteUpdate("refs/heads/" + branch).getStatus()));
        } catch (org.eclipse.jgit.api.errors.GitAPIException e) {
            throw new AssertionError(e);
        }
    }

    @org.junit.jupiter.api.io.TempDir
    java.nio.file.Path temporary;

    File directory(String prefix) {
        try {
            return java.nio.file.Files.createTempDirectory(temporary, prefix).toFile();
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    // ---- What is not given stays, unless others decide by it what runs as the role

    @Test
    void aPrefixAndADeadlineThatAreNotGivenStay() {
        assertOk("created", schedule("--prefix", "ours", "--deadline", "2h"));
        aws.clearCalls();
        Script.assertUnchanged(schedule(), aws);
        var settings = project("codecommit-backup").at("/environment/environmentVariables");
        settings.forEach(variable -> {
            if (variable.path("name").asText().matches("BACKUP_PREFIX|DEADLINE")) {
                ((ObjectNode) variable).put("value", "*");
            }
        });
        assertOk("updated", schedule());
        assertEquals("projects/codecommit-backup", variables("codecommit-backup").get("BACKUP_PREFIX"));
        assertEquals("45m", variables("codecommit-backup").get("DEADLINE"));
    }

    @Test
    void anotherOwnersBucketTakesItsOwnKey() {
        var key = "arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        assertOk("created", schedule("--bucket-kms-key-arn", key));
        aws.clearCalls();
        Script.assertUnchanged(schedule(), aws);
        var run = run("--bucket", "my-backups", "--bucket-owner", "777788889999");
        assertOk("updated", run);
        var policy = aws.iam.find("role/" + ROLE).inline.get("backup");
        assertTrue(policy.contains("arn:aws:kms:*:777788889999:key/*") && !policy.contains(key), policy);
    }

    @ParameterizedTest
    @CsvSource({"main, ''", "'', ''", "'', https://git-codecommit.eu-west-1.amazonaws.com.example.com/v1/repos/x"})
    void aSourceThatIsNoLongerPinnedIsRefused(String version, String location) {
        schedule();
        var project = project("codecommit-backup");
        project.put("sourceVersion", location.isEmpty() ? version : project.path("sourceVersion").asText());
        if (!location.isEmpty()) {
            project.withObject("/source").put("location", location);
        }
        aws.clearCalls();
        var run = run(with("--shards 2"));
        assertEquals(1, run.exitCode(), run.err());
        assertTrue(run.err().contains("which is not one commit or version that this script chose: use --source-bucket"),
                run.err());
        Script.assertReadsOnly(aws);
        assertOk("updated", schedule("--shards", "2"));
    }

    // ---- What can happen on the way

    /** The first answer to each call that creates or deletes is lost, and the SDK asks again. */
    @ParameterizedTest
    @ValueSource(strings = {"iam:CreateRole", "iam:PutRolePolicy", "logs:CreateLogGroup", "codebuild:CreateProject",
            "events:PutRule", "events:PutTargets"})
    void aLostAnswerIsNoFailureAndTheUndoIsWhole(String call) {
        aws.inject(Fault.on(call).loseAnswer());
        var run = schedule();
        assertOk("created", run);
        for (var command : List.of("iam delete-role --role-name " + ROLE, "iam delete-role --role-name " + STARTER,
                "codebuild delete-project", "logs delete-log-group", "events delete-rule")) {
            assertTrue(run.json().path("undo").asText().contains(command), run.out());
        }
        aws.clearCalls();
        Script.assertUnchanged(schedule(), aws);
    }

    @ParameterizedTest
    @ValueSource(strings = {"iam:DeleteRolePolicy", "iam:DeleteRole", "codebuild:DeleteProject", "events:RemoveTargets",
            "events:DeleteRule"})
    void aLostAnswerToADeletionIsNoFailure(String call) {
        schedule();
        aws.inject(Fault.on(call).loseAnswer());
        assertOk("deleted", run("--remove"));
        aws.clearCalls();
        Script.assertUnchanged(run("--remove"), aws);
    }

    /** A run that fails prints no result: what it has made, billed or not, stands in its message. */
    @Test
    void aBuildThatCannotBeStartedNamesAllThatWasMade() {
        aws.inject(Fault.on("codebuild:StartBuild").error(400, "AccessDeniedException", "not authorized"));
        var run = schedule("--run-now");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("changed before that: role, policy backup, role, policy start, logGroup"),
                run.err());
        assertTrue(run.err().contains("; this takes it back: aws events remove-targets"), run.err());
    }

    /** CodeBuild shows more of a project than it takes to create one. */
    @Test
    void theUndoOfADeletionAsksForNothingThatCreateProjectDoesNotKnow() {
        var project = software.amazon.awssdk.services.codebuild.model.Project.builder().name("x").arn("arn:x")
                .created(Instant.EPOCH).projectVisibility("PRIVATE").badge(b -> b.badgeEnabled(false))
                .timeoutInMinutes(60).build();
        assertEquals(Set.of("name", "timeoutInMinutes"), ScheduleBackup.creation(project).keySet());
    }

    @Test
    void waitsUntilNewRolesShow() {
        aws.iam.earlyRoleUses = 3;
        var run = schedule();
        assertOk("created", run);
        var waiting = ": a new role takes some seconds to show everywhere: waiting ...\n";
        assertEquals("schedule-backup: codecommit-backup-eu-west-1" + waiting
                + "schedule-backup: codecommit-backup-eu-west-1-events" + waiting, run.err());
    }

    @Test
    void aRoleThatNeverShowsIsSaidWithAwssReason() {
        aws.iam.earlyRoleUses = Integer.MAX_VALUE;
        var script = new ScheduleBackup();
        script.rolePatience = Duration.ZERO;
        var run = Script.run(script.commandLine(), with("--source-repository codecommit-toolkit"));
        assertEquals(1, run.exitCode());
        assertTrue(run.err().contains("CodeBuild is not authorized to perform: sts:AssumeRole on"), run.err());
        assertTrue(run.err().contains("changed before that: role, policy backup, role, policy start, logGroup"),
                run.err());
    }

    /** Whatever fails, the next run does the rest, and does nothing twice. */
    @ParameterizedTest
    @ValueSource(strings = {"iam:CreateRole", "iam:PutRolePolicy", "logs:CreateLogGroup", "logs:PutRetentionPolicy",
            "codebuild:CreateProject", "events:PutRule", "events:PutTargets"})
    void aStepThatFailsIsNamedAndTheNextRunDoesTheRest(String call) {
        aws.inject(Fault.on(call).error(403, "AccessDeniedException", "not authorized to perform: " + call));
        var run = schedule("--on-push");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("schedule-backup: codecommit-backup: "), run.err());
        assertTrue(run.err().contains("not authorized to perform: " + call), run.err());
        aws.clearFaults();
        assertEquals(0, schedule("--on-push").exitCode());
        aws.clearCalls();
        Script.assertUnchanged(schedule("--on-push"), aws);
    }

    @ParameterizedTest
    @ValueSource(strings = {"iam:CreateRole", "codebuild:CreateProject", "events:PutRule", "events:PutTargets",
            "codebuild:UpdateProject"})
    void aLostAnswerIsAskedForAgain(String call) {
        if (call.startsWith("codebuild:Update")) {
            schedule();
        }
        aws.inject(Fault.on(call).loseAnswer());
        var run = schedule("--deadline", "1h");
        assertEquals(0, run.exitCode(), run.err());
        aws.clearCalls();
        Script.assertUnchanged(schedule("--deadline", "1h"), aws);
    }

    @Test
    void twoOperatorsAtOnceMakeOneJob() throws Exception {
        var runs = Stream.of(1, 2).map(i -> CompletableFuture.supplyAsync(() -> schedule("--on-push"))).toList();
        for (var run : runs) {
            assertEquals(0, run.get().exitCode(), run.get().err());
        }
        aws.clearCalls();
        Script.assertUnchanged(schedule("--on-push"), aws);
    }

    // ---- Sources

    @Test
    void aBuildRunsThePinnedCommitWhateverIsPushedLater() {
        var first = toolkit.resolve("refs/heads/main").name();
        assertOk("created", schedule());
        toolkit.commit("refs/heads/main", "buildspec.yml", TELLING.replace("echo \"", "echo \"evil "));
        var run = run(with("", "--run-now"));
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of("all 1/1"), told("codecommit-backup"));
        assertEquals(first, project("codecommit-backup").path("sourceVersion").asText(), "as it was");
        assertOk("updated", schedule());
        assertEquals(toolkit.resolve("refs/heads/main").name(),
                project("codecommit-backup").path("sourceVersion").asText());
        assertOk("updated", schedule("--source-version", first));
        assertEquals(first, project("codecommit-backup").path("sourceVersion").asText());
    }

    @Test
    void aSourceThatHasNotTheToolkitIsSaidBeforeAnythingIsMade() {
        aws.codecommit.createRepository("other").commit("refs/heads/main", "README.md", "x");
        aws.codecommit.createRepository("empty");
        aws.s3.createBucket("unversioned", REGION);
        for (var wrong : List.of(List.of("--source-repository", "other", "has no buildspec.yml in the commit"),
                List.of("--source-repository", "none", "there is no such repository in eu-west-1"),
                List.of("--source-repository", "empty", "has no branch"),
                List.of("--source-bucket", "unversioned", "aws s3api put-bucket-versioning --bucket unversioned"),
                List.of("--source-bucket", "no-such-bucket", "NoSuchBucket"),
                List.of("--source-bucket", "my-backups", "AccessDenied"))) {
            aws.clearCalls();
            var run = run(with("", wrong.get(0), wrong.get(1)));
            assertEquals(1, run.exitCode());
            assertTrue(run.err().contains(wrong.get(2)), run.err());
            Script.assertReadsOnly(aws);
        }
        var commit = schedule("--source-version", "0123456789012345678901234567890123456789");
        assertEquals(1, commit.exitCode());
        assertTrue(commit.err().contains("in the commit 0123456789"), commit.err());
        var none = run(with(""));
        assertEquals(2, none.exitCode());
        assertTrue(none.err().contains("--source-bucket NAME or --source-repository NAME is needed"), none.err());
    }

    /**
     * Everything that Maven or JBang would ask for is out of reach: no program of theirs is on the PATH, the home is
     * empty, and every host but the embedded AWS is behind a proxy that is not there.
     */
    @Test
    void theFirstBuildSavesEveryRepositoryAndFetchesNothing() throws Exception {
        aws.codecommit.createRepository("payments").commit("refs/heads/main", "a.txt", "1");
        aws.s3.createBucket("my-toolkit", REGION).versioned();
        aws.codebuild.image.putAll(Map.of("HTTPS_PROXY", "http://127.0.0.1:1", "HTTP_PROXY", "http://127.0.0.1:1",
                "NO_PROXY", "127.0.0.1", "PATH", System.getProperty("java.home") + "/bin:/usr/bin:/bin"));
        var arguments = with("--source-bucket my-toolkit --on-push", "--run-now");
        var run = Script.run(Jobs.withZip().commandLine(), arguments);
        assertEquals(0, run.exitCode(), run.err() + builds("codecommit-backup").get(0).log());
        assertEquals("SUCCEEDED", run.json().at("/build/buildStatus").asText());
        assertEquals("my-toolkit/codecommit-backup/toolkit.zip", run.json().at("/project/source").asText());
        assertEquals(Set.of("codecommit-toolkit", "payments"), bucket.keys().stream()
                .filter(key -> key.endsWith(".full.bundle")).map(key -> key.split("/")[4]).collect(Collectors.toSet()));
        aws.clearCalls();
        Script.assertUnchanged(Script.run(Jobs.withZip().commandLine(), with("--source-bucket my-toolkit")), aws);

        // a push, and what is uploaded over the zip is not run
        aws.s3.bucket("my-toolkit").put("codecommit-backup/toolkit.zip", new byte[] {1, 2, 3});
        push("payments", "main2");
        var pushed = builds("codecommit-backup-push").get(0).await();
        assertEquals("SUCCEEDED", pushed.status(), pushed.log());
        var document = json(pushed.commands().stream().filter(command -> command.phase().equals("build"))
                .reduce((a, b) -> b).orElseThrow().out());
        assertEquals(List.of("payments"), document.path("repositories").valueStream()
                .map(repository -> repository.path("repositoryName").asText()).toList());
        assertEquals(1, bucket.keys().stream().filter(key -> key.contains("/payments/") && key.endsWith(".incr.bundle"))
                .count());
    }

    /** Else a build would lack what its scripts import. */
    @Test
    void theZipHasAllThatItsScriptsDependOn() {
        var own = Toolkit.directives("ScheduleBackup", "DEPS");
        for (var program : ScheduleBackup.PROGRAMS) {
            assertEquals(List.of(), Toolkit.directives(program, "DEPS").stream().filter(one -> !own.contains(one))
                    .toList(), program);
            assertEquals(List.of(), Toolkit.directives(program, "FILES"), program);
        }
    }

    // ---- A build now

    @Test
    void aBuildThatFailsIsShownAndIsPartlyDone() {
        toolkit.commit("refs/heads/main", "buildspec.yml", "version: 0.2\nphases: {build: {commands: "
                + "['echo what went wrong', '(exit 3)']}}\n");
        var run = schedule("--run-now");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals("FAILED", run.json().at("/build/buildStatus").asText());
        assertTrue(run.err().contains("schedule-backup: log: what went wrong\n"), run.err());
        assertTrue(run.err().contains("BUILD FAILED in 0 s: Error while executing command: (exit 3). Reason: exit "
                + "status 3\n"), run.err());
        aws.inject(Fault.on("logs:GetLogEvents").error(400, "AccessDeniedException",
                "not authorized to perform: logs:GetLogEvents"));
        var again = run(with("", "--run-now"));
        assertEquals(3, again.exitCode());
        assertEquals("unchanged", again.status());
        assertTrue(again.err().contains("the log cannot be shown: AccessDeniedException"), again.err());
    }

    // ---- In a VPC, in other partitions

    @Test
    void buildsRunInTheVpc() throws Exception {
        var vpc = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        var subnet = aws.ec2.createSubnet(vpc, REGION + "a", "10.0.0.0/24");
        var group = aws.ec2.createSecurityGroup(vpc, "builds");
        var run = schedule("--vpc-id", vpc, "--subnet-ids", subnet, "--security-group-ids", group, "--run-now");
        assertOk("created", run);
        assertEquals(vpc, project("codecommit-backup").at("/vpcConfig/vpcId").asText());
        var policy = json(aws.iam.find("role/" + ROLE).inline.get("vpc"));
        assertEquals("arn:aws:ec2:eu-west-1:111122223333:subnet/" + subnet,
                policy.at("/Statement/1/Condition/ArnEquals").path("ec2:Subnet").get(0).asText());
        aws.clearCalls();
        Script.assertUnchanged(run(with("")), aws);
    }

    @Test
    void buildsArnsOfTheCallersPartition() throws Exception {
        aws.codecommit.createRepository("cn-north-1", "codecommit-toolkit").commit("refs/heads/main", "buildspec.yml",
                TELLING);
        var run = schedule("--region", "cn-north-1");
        assertOk("created", run);
        var project = aws.codebuild.project("cn-north-1", "codecommit-backup").settings;
        assertEquals("https://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/codecommit-toolkit",
                project.at("/source/location").asText());
        assertFalse(aws.iam.find("role/codecommit-backup-cn-north-1").inline.get("backup").contains("arn:aws:"));
    }

    // ---- Bad input

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "--bucket My_Backups --bucket-owner 444455556666 | such as my-backups",
            "--bucket my-backups | --bucket-owner ACCOUNT are needed",
            "--bucket-owner 444455556666 | --bucket NAME and",
            "--bucket my-backups --bucket-owner 4444 | an account id of 12 digits",
            "$ --prefix /x | between single slashes",
            "$ --prefix a/../b | between single slashes",
            "$ --prefix a*b | letters, digits and !_.'()=- between",
            "$ --bucket-kms-key-arn alias/x | the ARN of a key",
            "$ --project-name a | 2 to 32 letters",
            "$ --project-name codecommit_backup_with_a_name_too_long | 2 to 32 letters",
            "$ --project-name a$(b) | 2 to 32 letters",
            "$ --project-name codecommit-backup-push | as the rules of another job do",
            "$ --project-name codecommit-backup-verify | as the rules of another job do",
            "$ --project-name codecommit-backup-shards-2 | as the rules of another job do",
            "$ --schedule cron(*/0_4_*_*_?_*) | six fields in cron()",
            "$ --daily-at 24:00 | a time of day in UTC, such as 04:00",
            "$ --daily-at 4am | a time of day in UTC, such as 04:00",
            "$ --daily-at 04:00 --schedule cron(0_4_*_*_?_*) | mutually exclusive",
            "$ --schedule rate(1_day) | six fields in cron()",
            "$ --schedule cron(0_4_*_*_*_*) | six fields in cron()",
            "$ --schedule cron(0_4_?_*_?_*) | six fields in cron()",
            "$ --schedule cron(60_4_*_*_?_*) | six fields in cron()",
            "$ --schedule cron(0_24_*_*_?_*) | six fields in cron()",
            "$ --schedule cron(0_4_32_*_?_*) | six fields in cron()",
            "$ --schedule cron(0_4_?_*_8_*) | six fields in cron()",
            "$ --schedule cron(0_4_*_*_?) | six fields in cron()",
            "$ --schedule 0_4_*_*_* | six fields in cron()",
            "$ --schedule cron(0_4_30_2_?_*) | no such day comes",
            "$ --schedule cron(0_4_31_APR,6-6,9/2_?_*) | no such day comes",
            "$ --schedule cron(0_4_29_FEB_?_2029-2031) | no such day comes",
            "$ --schedule cron(0_4_*_*_?_2025) | no such day comes",
            "$ --schedule cron(0_4_?_2_MON#5_2029) | no such day comes",
            "$ --shards 0 | must be 1 to 50",
            "$ --shards 51 | must be 1 to 50",
            "$ --shards many | many",
            "$ --deadline 45 | a number and m or h",
            "$ --deadline 36h | must be at most 2145m",
            "$ --compute-type small | BUILD_GENERAL1_SMALL",
            "$ --source-repository a/b | up to 100 letters",
            "$ --source-bucket A | a bucket's name",
            "$ --source-bucket my-toolkit --source-repository x | mutually exclusive",
            "$ --source-repository x --source-version main | the full id of a commit",
            "$ --source-repository x --source-version 0123abc | the full id of a commit",
            "$ --source-version 0123456789012345678901234567890123456789 | needs --source-repository",
            "$ --vpc-id vpc-0123456789abcdef0 | are needed together",
            "$ --vpc-id x --subnet-ids subnet-0123456789abcdef0 --security-group-ids sg-0123456789abcdef0 | of a VPC",
            "$ --vpc-id vpc-0123456789abcdef0 --subnet-ids x --security-group-ids sg-0123456789abcdef0 | of subnets",
            "$ --vpc-id vpc-0123456789abcdef0 --subnet-ids subnet-0123456789abcdef0 --security-group-ids x | security",
            "--remove --run-now | exclude each other"})
    void refusesBadInputBeforeAnyCall(String words, String right) {
        var bucket = "--bucket my-backups --bucket-owner 444455556666";
        var arguments = Stream.of(words.replaceFirst("^[$]", bucket).split(" "))
                .map(word -> word.matches("(cron|rate).*|0_4.*") ? word.replace('_', ' ') : word)
                .toArray(String[]::new);
        Script.assertRefused(run(arguments), right, aws);
    }

    /** By the embedded EventBridge's own reading of cron. */
    @ParameterizedTest
    @ValueSource(strings = {"0 4 29 2 ? *", "0 4 31 1/2 ? *", "0 4 L 2 ? 2199", "0 4 30W 4 ? *", "0 4 ? * L *",
            "0 4 ? * FRIL *", "0 4 ? 2 2#5 *", "0 4 ? * MON-FRI 2030/10", "0/15 * 1,15 JAN-MAR,12 ? 2027-2030"})
    void takesEveryDayThatComes(String fields) {
        var run = schedule("--schedule", "cron(" + fields + ")");
        assertOk("created", run);
        assertNotNull(aws.events.next(Instant.now()), fields);
    }

    @Test
    void shardsNeedAScheduleThatLeavesRoomForTheVerification() {
        for (var schedule : List.of("cron(0/30 4 * * ? *)", "cron(0 23 ? * MON-FRI *)")) {
            aws.clearCalls();
            var run = schedule("--shards", "2", "--schedule", schedule);
            assertEquals(2, run.exitCode(), run.err());
            assertTrue(run.err().contains("with --shards"), run.err());
            Script.assertReadsOnly(aws);
        }
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void theJavadocListsTheIamActionsThatWereCalled() {
        Script.assertIamActions("ScheduleBackup", ALL.stream()
                .filter(call -> call.caller().endsWith(":user/operator") && !call.name().matches("codecommit:Git.*"))
                .toList(), Set.of("iam:PassRole", "s3:ListBucket"));
    }
}
