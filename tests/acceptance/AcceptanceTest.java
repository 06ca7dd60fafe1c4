import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import localaws.Fault;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The acceptance as a process, in two accounts of the embedded AWS: it says what it found, and leaves nothing. */
class AcceptanceTest {
    @TempDir
    Path directory;
    final LocalAws aws = LocalAws.start();
    /** How far the embedded AWS's clock is ahead: who waits for an alarm there need not wait for it here. */
    volatile Duration ahead = Duration.ZERO;

    @BeforeEach
    void profiles() throws IOException {
        aws.clock = new SuppliedClock(() -> Instant.now().plus(ahead));
        aws.onCall(call -> {
            if (call.name().equals("cloudwatch:DescribeAlarms")) {
                ahead = ahead.plusMinutes(1);
            }
        });
        var backup = aws.as("arn:aws:iam::" + LocalAws.BACKUP_ACCOUNT + ":user/operator");
        Files.writeString(directory.resolve("config"), """
                [profile source]
                region = eu-west-1
                aws_access_key_id = %s
                aws_secret_access_key = %s

                [profile backup]
                region = eu-west-1
                aws_access_key_id = %s
                aws_secret_access_key = %s
                """.formatted(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY, backup.accessKeyId(),
                backup.secretAccessKey()));
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    Process start(String... arguments) throws IOException, InterruptedException {
        var acceptance = new ArrayList<>(List.of("--profile", "source", "--backup-profile", "backup",
                "--report-directory", directory.toString(), "--most-push-mib", "2", "--most-requests", "10"));
        acceptance.addAll(List.of(arguments));
        var command = Stream.concat(Script.withDefaultSignals().stream(),
                Script.java(List.of(), "Acceptance", acceptance.toArray(new String[0])).stream()).toList();
        var builder = Script.within(aws, new ProcessBuilder(command));
        builder.environment().put("AWS_CONFIG_FILE", directory.resolve("config").toString());
        builder.environment().put("TOOLKIT_HOME", Path.of("").toAbsolutePath().toString());
        return builder.redirectErrorStream(true).redirectOutput(directory.resolve("log").toFile()).start();
    }

    String log() {
        try {
            return Files.readString(directory.resolve("log"));
        } catch (IOException e) {
            return e.toString();
        }
    }

    JsonNode report() throws IOException {
        try (var files = Files.newDirectoryStream(directory, "acceptance-*.json")) {
            return new ObjectMapper().readTree(files.iterator().next().toFile());
        }
    }

    /** What is made by a call, and the call that removes it; what its name is in both. */
    static final List<List<String>> PAIRS = List.of(
            List.of("kms:CreateAlias", "kms:DeleteAlias", "AliasName"),
            List.of("codecommit:CreateRepository", "codecommit:DeleteRepository", "repositoryName"),
            List.of("iam:CreateRole", "iam:DeleteRole", "RoleName"),
            List.of("s3:CreateBucket", "s3:DeleteBucket", "Bucket"),
            List.of("codebuild:CreateProject", "codebuild:DeleteProject", "name"),
            List.of("events:PutRule", "events:DeleteRule", "Name"),
            List.of("logs:CreateLogGroup", "logs:DeleteLogGroup", "logGroupName"));

    /** That each call that made something was followed by one that removed it. */
    void assertNothingLeft() {
        for (var pair : PAIRS) {
            var left = names(pair.get(0), pair.get(2));
            left.removeAll(names(pair.get(1), pair.get(2))); // what was never made may be removed, too
            assertEquals(Set.of(), left, pair.get(1));
        }
        for (var pair : List.of(List.of("kms:CreateKey", "kms:ScheduleKeyDeletion"),
                List.of("sns:CreateTopic", "sns:DeleteTopic"))) {
            assertTrue(count(pair.get(0)) <= count(pair.get(1)), pair.get(1));
        }
        assertEquals(names("cloudwatch:PutMetricAlarm", "AlarmName").size(),
                aws.calls().stream().filter(call -> call.ok() && call.name().equals("cloudwatch:DeleteAlarms"))
                        .mapToInt(call -> call.input().path("AlarmNames").size()).sum());
    }

    Set<String> names(String call, String member) {
        return aws.calls().stream().filter(one -> one.ok() && one.name().equals(call))
                .map(one -> one.input().path(member).asText()).collect(Collectors.toCollection(TreeSet::new));
    }

    long count(String call) {
        return aws.calls().stream().filter(one -> one.ok() && one.name().equals(call)).count();
    }

    @Test
    void itRunsTheTourAnswersEveryQuestionAndLeavesNothing() throws Exception {
        assumeTrue(Boolean.getBoolean("tests.long"), "takes long: ./jbang test --long");
        var process = start("--yes");
        assertEquals(0, Wait.forEnd(process, this::log), this::log);
        var report = report();
        assertTrue(report.path("steps").size() > 12, report::toPrettyString);
        assertTrue(report.path("answers").size() > 10, report::toPrettyString);
        for (var answer : report.path("answers")) {
            assertFalse(answer.path("answer").asText().matches("(error|not within).*"), answer::toString);
        }
        assertEquals(0, report.path("left").size());
        assertFalse(report.toString().matches(".*(111122223333|444455556666).*"), report::toPrettyString);
        assertNothingLeft();
    }

    @Test
    void atCtrlCItRemovesWhatItHasMade() throws Exception {
        var begun = new CountDownLatch(1);
        aws.onCall(call -> {
            if (call.name().equals("iam:PutRolePolicy")) {
                begun.countDown();
            }
        });
        var process = start("--yes");
        begun.await();
        assertEquals(0, new ProcessBuilder("kill", "-INT", String.valueOf(process.pid())).start().waitFor());
        assertEquals(130, Wait.forEnd(process, this::log), this::log);
        assertTrue(report().path("interrupted").asBoolean());
        assertTrue(count("iam:CreateRole") == 1 && count("kms:CreateKey") == 1, this::log);
        assertNothingLeft();
    }

    @Test
    void itAsksFirst() throws Exception {
        var process = start();
        assertEquals(2, Wait.forEnd(process, this::log), this::log);
        assertTrue(log().contains("there is no terminal to ask on"), this::log);
        assertEquals(List.of(), aws.calls().stream().filter(call -> !call.readOnly()).toList());
    }

    @Test
    void aStepThatFailsStopsNoneAndNothingIsLeft() throws Exception {
        assumeTrue(Boolean.getBoolean("tests.long"), "takes long: ./jbang test --long");
        aws.inject(Fault.on("s3:PutBucketPolicy").always().error(403, "AccessDenied", "Access Denied"));
        var process = start("--yes", "--timeout", "5s");
        assertEquals(1, Wait.forEnd(process, this::log), this::log);
        var failed = StreamSupport.stream(report().path("steps").spliterator(), false)
                .filter(step -> step.has("error")).map(step -> step.path("title").asText()).toList();
        assertTrue(failed.contains("A bucket for the backups") && !failed.contains("A key for the backups"),
                failed::toString);
        assertNothingLeft();
    }

    @Test
    void whatALostConnectionLeavesBehindIsNamedWithTheCommandThatRemovesIt() throws Exception {
        assumeTrue(Boolean.getBoolean("tests.long"), "takes long: ./jbang test --long");
        var process = start("--yes", "--timeout", "5s");
        aws.onCall(call -> {
            if (call.name().equals("iam:CreateRole")) {
                aws.inject(Fault.on("*").always().loseAnswer());
            }
        });
        assertEquals(1, Wait.forEnd(process, this::log), this::log);
        var left = StreamSupport.stream(report().path("left").spliterator(), false)
                .map(thing -> thing.path("name").asText().replaceFirst("acceptance-\\w+", "NAME")).toList();
        assertTrue(left.containsAll(List.of("key alias/NAME", "repository NAME", "role NAME")), left::toString);
        assertTrue(log().contains("aws codecommit delete-repository --repository-name acceptance-"), this::log);
    }
}
