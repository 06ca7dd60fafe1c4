import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.CodeBuild;
import localaws.Kms;
import localaws.LocalAws;
import localaws.PolicyEvaluator.Decision;
import localaws.S3;
import localaws.Sns;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.cloudwatch.CloudWatchClient;
import software.amazon.awssdk.services.codebuild.CodeBuildClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;

/**
 * The whole chain in two accounts, as five commands make it: key and bucket in the one; key, job and alarms in the
 * other. The reader and the thief of the writer's credentials are of the account of the repositories, too.
 */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class BackupChainTest {
    static final LocalAws aws = LocalAws.start();
    static final String REGION = "eu-west-1";
    static final String BUCKET = "my-backups";
    static final String PREFIX = "projects/codecommit-backup/111122223333/";
    static final String OPERATOR = "arn:aws:iam::111122223333:user/operator";
    static final String KEEPER = "arn:aws:iam::444455556666:user/operator";
    static final String WRITER = "arn:aws:iam::111122223333:role/codecommit-backup-eu-west-1";
    /** Of the same role, in a build. */
    static final String SESSION = "arn:aws:sts::111122223333:assumed-role/codecommit-backup-eu-west-1/";
    /** May by its IAM policies do everything, so that only bucket and key stand in its way. */
    static final String READER = "arn:aws:iam::111122223333:role/BackupReader";
    static final String EMAIL = "operations@example.com";
    static final List<String> REPOSITORIES = List.of("payments", "orders", "web.site", "ideas_2", "9");
    static final List<String> PROJECTS = List.of("codecommit-backup", "codecommit-backup-push");
    /** Actions that were not allowed. */
    static final Set<String> refused = new ConcurrentSkipListSet<>();
    /** Actions that builds called themselves, or CodeBuild for them: not those of S3 with its key. */
    static final Set<String> called = new ConcurrentSkipListSet<>();

    @TempDir
    static Path directory;
    static Kms.Key backupsKey;
    static Kms.Key ownKey;
    static S3.Bucket bucket;
    static Sns.Topic topic;
    static Instant night;
    static CodeBuild.Build firstBuild;
    static int count;

    // ---- Five commands, each twice, and the first night

    @BeforeAll
    static void standsAfterFiveCommands() throws Exception {
        // it goes on by advanceTo alone, so that nothing depends on how long this takes
        aws.clock = Clock.fixed(Instant.now(), ZoneOffset.UTC);
        aws.onDecision(decided -> {
            if (decided.result().decision() != Decision.allowed) {
                refused.add(decided.request().action());
            }
            if (decided.request().principal().startsWith(SESSION) && decided.request().action().startsWith("logs:")) {
                called.add(decided.request().action());
            }
        });
        aws.onCall(call -> {
            if (call.caller().startsWith(SESSION)) {
                called.add(call.name());
            }
        });
        aws.iam.createRole("BackupReader").attached.add("aws:policy/AdministratorAccess");
        for (var name : REPOSITORIES) {
            SampleRepositories.small(aws, name);
        }
        SampleRepositories.small(aws, "gone");
        aws.s3.createBucket("my-toolkit", REGION).versioned();
        var vpc = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        var subnet = aws.ec2.createSubnet(vpc, REGION + "a", "10.0.0.0/24");
        var group = aws.ec2.createSecurityGroup(vpc, "builds");

        use(KEEPER);
        twice(0, () -> new CreateKmsKey().commandLine(), "--alias", "alias/backups");
        var keys = aws.account(LocalAws.BACKUP_ACCOUNT).kms;
        backupsKey = keys.find("alias/backups", REGION);
        twice(0, () -> new CreateBackupBucket().commandLine(), "--bucket", BUCKET, "--kms-key-id", "alias/backups",
                "--writer-role-arns", WRITER, "--reader-role-arns", READER, "--retention-days", "400");
        bucket = aws.s3.bucket(BUCKET);

        use(OPERATOR);
        twice(0, () -> new CreateKmsKey().commandLine(), "--alias", "alias/codecommit");
        ownKey = aws.kms.find("alias/codecommit", REGION);
        aws.codecommit.repository("payments").key(ownKey.arn);
        night = aws.clock.instant().plus(Duration.ofMinutes(2)).truncatedTo(ChronoUnit.MINUTES);
        twice(0, () -> Jobs.withZip().commandLine(), "--bucket", BUCKET, "--bucket-owner", "444455556666",
                "--bucket-kms-key-arn", backupsKey.arn, "--source-bucket", "my-toolkit", "--on-push", "--daily-at",
                night.atZone(ZoneOffset.UTC).toLocalTime().toString(), "--vpc-id", vpc, "--subnet-ids", subnet,
                "--security-group-ids", group);
        letServicesUse(ownKey);
        twice(4, () -> new NotifyBuildFailures().commandLine(), "--project-names", PROJECTS.get(0), PROJECTS.get(1),
                "--emails", EMAIL, "--kms-key-id", "alias/codecommit");
        topic = aws.sns.topic(REGION, "build-failures");
        topic.subscription(EMAIL).confirmed = true;
        // SNS's own statement, which lets alarms of this account in, too
        Live.of("build-failures-topic.json").takeAway("__default_statement_ID");

        aws.advanceTo(night);
        firstBuild = builds("codecommit-backup").get(0).await();
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    /** @param exitCode of the first run and of the second one, which changes nothing */
    static void twice(int exitCode, Supplier<CommandLine> script, String... arguments) {
        var first = Script.run(script.get(), arguments);
        assertEquals(exitCode, first.exitCode(), first.err());
        assertEquals("created", first.status());
        aws.clearCalls();
        var second = Script.run(script.get(), arguments);
        assertEquals(exitCode, second.exitCode(), second.err());
        assertEquals("unchanged", second.status());
        Script.assertReadsOnly(aws);
    }

    /** As notify-build-failures asks for it: the statements of its template. */
    static void letServicesUse(Kms.Key key) {
        var policy = (ObjectNode) Backups.json(key.policy);
        Backups.json(Toolkit.read("policies/build-failures-key.json").replace("${account}", "111122223333")
                .replace("${partition}", "aws").replace("${region}", REGION)).path("Statement")
                .forEach(policy.withArray("Statement")::add);
        key.policy = policy.toString();
    }

    static void use(String arn) {
        SignedIn.use(aws, arn);
    }

    static S3Client s3(String arn) {
        return SignedIn.client(aws, S3Client.builder(), REGION, arn);
    }

    static String outcome(Runnable call) {
        return SignedIn.outcome(call);
    }

    static List<CodeBuild.Build> builds(String project) {
        return aws.codebuild.builds(REGION, project);
    }

    @Test
    @Order(1)
    void theFirstNightsBackupIsVerifiedAndRestoredByTheReader() throws Exception {
        assertEquals("SUCCEEDED", firstBuild.status(), firstBuild.log());
        assertTrue(bucket.keys().stream().allMatch(key -> bucket.headers(key)
                .get("x-amz-server-side-encryption-aws-kms-key-id").equals(backupsKey.arn)));
        use(READER);
        var verified = Script.run(new VerifyBackups().commandLine(), "--bucket", BUCKET, "--deep", "--all");
        assertEquals(0, verified.exitCode(), verified.err());
        assertEquals(REPOSITORIES.size() + 1, verified.json().path("repositories").size(), verified.out());
        for (var name : REPOSITORIES) {
            var target = directory.resolve("restored-" + name);
            var restored = Script.run(new RestoreFromS3().commandLine(), "--bucket", BUCKET, "--repository-name", name,
                    "--directory", target.toString());
            assertEquals(0, restored.exitCode(), restored.err());
            assertEquals(Git.state(aws.codecommit.repository(name).directory(), true), Git.state(target, true));
        }
    }

    // ---- On push

    /** To each repository, and two to some of them; with --long four to each, 20 in all. */
    @Test
    @Order(2)
    void pushesAtOnceAreAllSavedByTheRepositorysNameAlone() throws Exception {
        var branches = List.of("release/1", "\";rm${IFS}-rf${IFS}pwned;\"", "$(touch${IFS}pwned)",
                "`touch${IFS}pwned`&|'");
        var work = Files.createDirectory(directory.resolve("work"));
        Git.run(work, "init", "-q");
        var pushed = new ArrayList<String>();
        for (var i = 0; i < branches.size(); i++) {
            Git.run(work, "commit", "-q", "--allow-empty", "-m", branches.get(i));
            for (var name : Boolean.getBoolean("tests.long") ? REPOSITORIES : REPOSITORIES.subList(i, i + 2)) {
                Git.run(work, "-c", "http.extraHeader=Authorization: " + aws.gitAuthorization(name), "push", "-q",
                        aws.endpoint() + "/v1/repos/" + name, "HEAD:refs/heads/" + branches.get(i));
                pushed.add(name);
            }
        }
        assertEquals(Set.copyOf(REPOSITORIES), Set.copyOf(pushed));
        var started = builds("codecommit-backup-push");
        assertEquals(pushed.stream().sorted().toList(),
                started.stream().map(build -> build.variables().get("REPOSITORY_NAMES")).sorted().toList());
        for (var build : started) {
            assertEquals("SUCCEEDED", build.await().status(), build.log());
            assertFalse(build.settings.toString().contains("pwned"), build.settings.toString());
            assertFalse(build.commands().toString().contains("pwned"), build.log());
        }
        for (var name : REPOSITORIES) {
            Backups.assertRestores(bucket, aws.codecommit.repository(name));
        }
        assertEquals(1, builds("codecommit-backup").size(), "of the night");
    }

    @Test
    @Order(2)
    void theEndpointsThatTheReadmeAsksForAreOfTheServicesThatBuildsCall() {
        var list = Pattern.compile("A build from the zip needs the endpoints of (.*?) there")
                .matcher(Toolkit.read("README.md"));
        assertTrue(list.find());
        var names = Map.of("s3", "S3 (a gateway)", "codecommit", "CodeCommit's API", "git",
                "Git (`create-vpc-endpoint`)", "sts", "STS", "logs", "CloudWatch Logs");
        var services = called.stream().map(call -> call.equals("codecommit:GitPull") ? "git" : call.split(":")[0]);
        assertEquals(services.map(service -> names.getOrDefault(service, service)).collect(Collectors.toSet()),
                Set.of(list.group(1).split(", | and ")));
    }

    // ---- What a thief of the writer's credentials cannot do

    static void put(String key, Consumer<PutObjectRequest.Builder> more) {
        s3(WRITER).putObject(r -> more.accept(r.bucket(BUCKET).key(key).ifNoneMatch("*")), RequestBody.fromString("x"));
    }

    @Test
    @Order(3)
    void theBuildsRoleCanAddAndNothingElse() {
        assertEquals("yes", outcome(() -> put(PREFIX + "there", r -> { })));
        var there = PREFIX + "there";
        var version = bucket.version(there);
        var s3 = s3(WRITER);
        var own = aws.kms.createKey(REGION).arn;
        var acts = new TreeMap<String, Runnable>();
        acts.put("overwrites", () -> put(there, r -> r.ifNoneMatch(null)));
        acts.put("hides", () -> s3.deleteObject(r -> r.bucket(BUCKET).key(there)));
        acts.put("deletes", () -> s3.deleteObject(r -> r.bucket(BUCKET).key(there).versionId(version)
                .bypassGovernanceRetention(true)));
        acts.put("shortens the lock", () -> s3.putObjectRetention(r -> r.bucket(BUCKET).key(there)
                .bypassGovernanceRetention(true).retention(lock -> lock.mode("GOVERNANCE")
                        .retainUntilDate(Instant.now().plusSeconds(60)))));
        acts.put("writes with a shorter lock", () -> put(PREFIX + "short", r -> r.objectLockMode("GOVERNANCE")
                .objectLockRetainUntilDate(Instant.now().plusSeconds(60))));
        acts.put("takes another key", () -> put(PREFIX + "own", r -> r.serverSideEncryption("aws:kms")
                .ssekmsKeyId(own)));
        acts.put("takes S3's own keys", () -> put(PREFIX + "sse", r -> r.serverSideEncryption("AES256")));
        acts.put("sends by plain http", () -> {
            aws.secureTransport = false;
            try {
                put(PREFIX + "http", r -> { });
            } finally {
                aws.secureTransport = true;
            }
        });
        acts.put("writes beside the prefix", () -> put("x", r -> { }));
        acts.put("writes for another account", () -> put("projects/codecommit-backup/777788889999/x", r -> { }));
        acts.put("reads another account's", () -> s3.getObject(r -> r.bucket(BUCKET)
                .key("projects/codecommit-backup/777788889999/x")));
        acts.put("changes what builds run", () -> s3.putObject(r -> r.bucket("my-toolkit")
                .key("codecommit-backup/toolkit.zip"), RequestBody.fromString("x")));
        acts.forEach((act, call) -> assertEquals("403 AccessDenied", outcome(call), act));
        assertEquals(1, bucket.versions(there));
        assertEquals("412 PreconditionFailed", outcome(() -> put(there, r -> { })));
    }

    // ---- What each statement is for

    /** One that allows; what those that deny are for, CreateBackupBucketTest shows by real calls. */
    record Statement(String template, JsonNode content) {
        String sid() {
            return content.path("Sid").asText();
        }

        List<String> actions() {
            var action = content.path("Action");
            return action.isArray() ? action.valueStream().map(JsonNode::asText).toList() : List.of(action.asText());
        }

        @Override
        public String toString() {
            return template + ", " + sid();
        }
    }

    static Stream<Statement> statements() {
        return Toolkit.policies().stream().filter(name -> name.matches("backup-.*|build-failures-(key|topic)\\.json"))
                .flatMap(name -> Backups.json(Toolkit.read("policies/" + name)).path("Statement").valueStream()
                        .map(statement -> new Statement(name, statement)))
                .filter(statement -> statement.content.path("Effect").asText().equals("Allow"));
    }

    /** @param where what says at which place it went wrong */
    record Outcome(boolean worked, String where) { }

    interface Act {
        Outcome run() throws Exception;
    }

    /**
     * A policy as it is in the accounts.
     *
     * @param text now
     */
    record Live(String text, Consumer<String> change) {
        static Live inline(String role, String name) {
            var policies = aws.iam.find("role/" + role).inline;
            return new Live(policies.get(name), text -> policies.put(name, text));
        }

        static Live trust(String role) {
            var principal = aws.iam.find("role/" + role);
            return new Live(principal.trust, text -> principal.trust = text);
        }

        static Live of(String template) {
            var builds = "codecommit-backup-eu-west-1";
            return switch (template) {
                case "backup-bucket.json" -> new Live(bucket.policy(), text -> bucket.policy(text));
                case "backup-job.json" -> inline(builds, "backup");
                case "backup-job-source.json" -> inline(builds, "source");
                case "backup-job-trust.json" -> trust(builds);
                case "backup-job-vpc.json" -> inline(builds, "vpc");
                case "backup-key.json" -> new Live(backupsKey.policy, text -> backupsKey.policy = text);
                case "backup-start.json" -> inline(builds + "-events", "start");
                case "backup-start-trust.json" -> trust(builds + "-events");
                case "build-failures-key.json" -> new Live(ownKey.policy, text -> ownKey.policy = text);
                case "build-failures-topic.json" -> new Live(topic.attributes.get("Policy"),
                        text -> topic.attributes.put("Policy", text));
                default -> throw new AssertionError("where is " + template + "?");
            };
        }

        /** Without a statement. */
        void takeAway(String sid) {
            var policy = (ObjectNode) Backups.json(text);
            var before = policy.path("Statement").size();
            policy.withArray("Statement").removeIf(statement -> statement.path("Sid").asText().equals(sid));
            assertEquals(before - 1, policy.path("Statement").size(), sid);
            change.accept(policy.toString());
        }
    }

    /** @param where what an act that fails for want of the statement has to say */
    record Purpose(Act act, String where) { }

    static Purpose purpose(String sid) {
        return switch (sid) {
            case "ListRepositories" -> new Purpose(() -> backUp(), "codecommit:ListRepositories");
            case "ReadRepositories" -> new Purpose(() -> backUp(), "codecommit:BatchGetRepositories");
            case "UseKeysOfRepositories" -> new Purpose(() -> backUp(), "payments: ");
            case "ListBackups", "WritersList" -> new Purpose(() -> backUp(), "s3:ListBucket");
            case "AddBackups", "UseKeyOfBackups", "WritersAddAndRead", "BackupWriters" ->
                new Purpose(() -> backUp(), "on the bucket's key");
            case "WritersSeeUploadsAndRules" -> new Purpose(() -> verifyWhatIsGone(), "when is not known");
            case "ReadersRead", "BackupReaders" -> new Purpose(() -> read(), "s3:GetObject");
            case "ReadersList" -> new Purpose(() -> read(), "s3:ListBucket");
            case "FindTheToolkit", "ReadTheToolkit" -> new Purpose(() -> build("true"), "DOWNLOAD_SOURCE FAILED");
            case "WriteTheLog" -> new Purpose(() -> build("true"), "does not allow AWS CodeBuild to create Amazon "
                    + "CloudWatch Logs log streams");
            case "InterfacesInTheVpc", "LendInterfacesToBuilds" -> new Purpose(() -> build("true"),
                    "PROVISIONING FAILED VPC_CLIENT_ERROR: Unexpected EC2 error: UnauthorizedOperation");
            case "BuildsOfTheJob" -> new Purpose(() -> build("true"), "CodeBuild is not authorized to perform: "
                    + "sts:AssumeRole on " + WRITER);
            case "RulesOfTheJob" -> new Purpose(() -> nextNight(), "cannot be assumed by principal "
                    + "'events.amazonaws.com'");
            case "StartBuildsOfTheJob" -> new Purpose(() -> nextNight(), "not authorized to perform: "
                    + "codebuild:StartBuild");
            case "BuildEvents" -> new Purpose(() -> tellOfABuild(), "AuthorizationError");
            case "BuildEventsToTopic" -> new Purpose(() -> tellOfABuild(), "KMSAccessDenied");
            case "BuildAlarms" -> new Purpose(() -> tellOfAnAlarm(), "SNS:Publish");
            case "BuildAlarmsToTopic" -> new Purpose(() -> tellOfAnAlarm(), "kms:");
            default -> throw new AssertionError("what is " + sid + " for?");
        };
    }

    /** What a build runs; here without its process. */
    static Outcome backUp() {
        use(WRITER);
        aws.codecommit.repository("payments").commit("refs/heads/main", "more.txt", "more " + ++count);
        var run = Backups.run("--bucket", BUCKET, "--expected-bucket-owner", "444455556666", "--repository-names",
                "payments");
        return new Outcome(run.exitCode() == 0, run.err());
    }

    static Script.Run verify(String who, String repository) {
        use(who);
        return Script.run(new VerifyBackups().commandLine(), "--bucket", BUCKET, "--expected-bucket-owner",
                "444455556666", "--repository-names", repository);
    }

    static Outcome read() {
        var run = verify(READER, "payments");
        return new Outcome(run.exitCode() == 0, run.err());
    }

    /** Says until when it can be restored. */
    static Outcome verifyWhatIsGone() {
        if (aws.codecommit.repository("gone") != null) {
            aws.codecommit.deleteRepository(REGION, "gone");
        }
        var run = verify(WRITER, "gone");
        return new Outcome(run.err().contains("no rule expires it"), run.err());
    }

    /** Has the builds of the job run one command from now on. */
    static void setCommand(String command) {
        PROJECTS.forEach(project -> aws.codebuild.project(REGION, project).settings.withObject("/source").put(
                "buildspec", "version: 0.2\nphases: {build: {commands: ['" + command + "']}}\n"));
    }

    static Outcome build(String command) {
        setCommand(command);
        try (var codebuild = SignedIn.client(aws, CodeBuildClient.builder(), REGION, OPERATOR)) {
            codebuild.startBuild(r -> r.projectName("codecommit-backup"));
        }
        var all = builds("codecommit-backup");
        var build = all.get(all.size() - 1).await();
        return new Outcome(build.status().equals("SUCCEEDED"), build.phases().toString());
    }

    static Outcome nextNight() {
        setCommand("true");
        var before = builds("codecommit-backup").size();
        night = night.plus(Duration.ofDays(1));
        aws.advanceTo(night);
        builds("codecommit-backup").forEach(build -> build.await());
        return new Outcome(builds("codecommit-backup").size() == before + 1, lost());
    }

    /** Why EventBridge could not deliver the last time that it could not. */
    static String lost() {
        return aws.events.invocations().stream().filter(invocation -> invocation.error() != null)
                .reduce((earlier, later) -> later).map(invocation -> invocation.error()).orElse("");
    }

    static List<Sns.Message> mails() {
        return topic.subscription(EMAIL).received();
    }

    static Outcome tellOfABuild() {
        var before = mails().size();
        assertFalse(build("false").worked());
        var told = mails().subList(before, mails().size());
        return new Outcome(told.size() == 1 && told.get(0).text().contains("codecommit-backup"), lost());
    }

    static Outcome tellOfAnAlarm() {
        var before = mails().size();
        try (var cloudwatch = SignedIn.client(aws, CloudWatchClient.builder(), REGION, OPERATOR)) {
            for (var state : List.of("OK", "ALARM")) {
                cloudwatch.setAlarmState(r -> r.alarmName("build-failed-codecommit-backup").stateValue(state)
                        .stateReason("tried"));
            }
            var told = mails().subList(before, mails().size()).stream()
                    .anyMatch(mail -> mail.text().contains("\"NewStateValue\":\"ALARM\""));
            return new Outcome(told, cloudwatch.describeAlarmHistory(r -> r.historyItemType("Action")
                    .alarmName("build-failed-codecommit-backup")).alarmHistoryItems().get(0).historySummary());
        }
    }

    /** Nothing but the statement's own actions is refused then. */
    @ParameterizedTest
    @MethodSource("statements")
    @Order(4)
    void withoutAStatementTheChainBreaksAtItsPlace(Statement statement) throws Exception {
        var purpose = purpose(statement.sid());
        var live = Live.of(statement.template());
        refused.clear();
        var with = purpose.act().run();
        assertTrue(with.worked(), with.where());
        var always = Set.copyOf(refused);
        live.takeAway(statement.sid());
        refused.clear();
        Outcome without;
        try {
            without = purpose.act().run();
        } finally {
            live.change().accept(live.text());
        }
        assertFalse(without.worked(), without.where());
        assertTrue(without.where().contains(purpose.where()), without.where());
        var missed = refused.stream().filter(action -> !always.contains(action)).collect(Collectors.toSet());
        assertFalse(missed.isEmpty());
        assertEquals(List.of(), missed.stream().filter(action -> statement.actions().stream().noneMatch(own ->
                action.matches(own.replace("*", ".*")))).toList());
    }
}
