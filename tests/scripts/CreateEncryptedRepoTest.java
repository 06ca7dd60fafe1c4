import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.Kms;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class CreateEncryptedRepoTest {
    static final LocalAws aws = LocalAws.start();
    static final String REGION = "eu-west-1";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    static Kms.Key key;
    static Kms.Key other;

    @BeforeAll
    static void use() {
        Script.use(aws);
        key = aws.kms.createKey(REGION);
        other = aws.kms.createKey(REGION);
        aws.kms.createAlias(REGION, "alias/codecommit", key);
        aws.kms.createAlias(REGION, "alias/other", other);
        aws.onCall(ALL::add);
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    String name;

    @BeforeEach
    void clear() {
        Script.use(aws);
        aws.clearFaults();
        aws.clearCalls();
        aws.codecommit.showManagedKey = false;
        name = "test-" + System.nanoTime();
    }

    static Script.Run run(String... args) {
        return Script.run(new CreateEncryptedRepo().commandLine(), args);
    }

    Script.Run make(String... more) {
        var args = new java.util.ArrayList<>(List.of("--repository-name", name, "--kms-key-id", "alias/codecommit"));
        args.addAll(List.of(more));
        return run(args.toArray(String[]::new));
    }

    CodeCommit.Repo repository() {
        return aws.codecommit.repository(name);
    }

    static String arn(String alias) {
        return "arn:aws:kms:eu-west-1:111122223333:" + alias;
    }

    @Test
    void createsARepositoryUnderAKey() {
        var run = make("--repository-description", "pays", "--tags", "Team=Payments", "Cost=1 2");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("", run.err());
        assertEquals("created", run.status());
        assertEquals(key.arn, repository().key());
        assertEquals("pays", repository().description());
        assertEquals("{Cost=1 2, Team=Payments}", repository().tags().toString());
        var made = run.json().path("repository");
        assertEquals(name, made.path("repositoryName").asText());
        assertEquals(repository().id, made.path("repositoryId").asText());
        assertEquals(repository().arn, made.path("arn").asText());
        assertEquals(key.arn, made.path("kmsKeyId").asText());
        assertEquals(aws.endpoint() + "/v1/repos/" + name, made.path("cloneUrlHttp").asText());
        assertEquals("ssh://git-codecommit.eu-west-1.amazonaws.com/v1/repos/" + name,
                made.path("cloneUrlSsh").asText());
        assertEquals("codecommit::eu-west-1://" + name, made.path("cloneUrlCodeCommit").asText());
        assertTrue(run.json().path("undo").asText().startsWith(
                "aws codecommit delete-repository --repository-name=" + name + " --region eu-west-1 # irreversible"),
                run.out());
        assertEquals(key.arn, aws.calls().stream().filter(c -> c.name().equals("codecommit:CreateRepository"))
                .findFirst().orElseThrow().input().path("kmsKeyId").asText(), "by its ARN, whatever was given");
    }

    @Test
    void aSecondRunChangesNothing() {
        var arguments = new String[] {"--repository-description", "pays", "--tags", "A=b", "C=d"};
        assertEquals("created", make(arguments).status());
        var id = repository().id;
        aws.clearCalls();
        var second = make(arguments);
        Script.assertUnchanged(second, aws);
        assertEquals(id, second.json().at("/repository/repositoryId").asText());
        assertEquals("unchanged", make().status(), "what is not given stays as it is");
    }

    @ParameterizedTest
    @ValueSource(strings = {"id", "arn", "alias", "alias arn"})
    void takesTheKeyInEveryForm(String form) {
        var given = switch (form) {
            case "id" -> key.keyId;
            case "arn" -> key.arn;
            case "alias" -> "alias/codecommit";
            default -> arn("alias/codecommit");
        };
        assertEquals("created", run("--repository-name", name, "--kms-key-id", given).status());
        assertEquals(key.arn, repository().key());
        assertEquals("unchanged", run("--repository-name", name, "--kms-key-id", given).status());
    }

    @Test
    void aDryRunReadsOnly() {
        var planned = make("--dry-run", "--tags", "A=b");
        assertEquals(0, planned.exitCode(), planned.err());
        assertEquals("would-create", planned.status());
        assertEquals("arn:aws:codecommit:eu-west-1:111122223333:" + name,
                planned.json().at("/repository/arn").asText());
        assertEquals(key.arn, planned.json().at("/repository/kmsKeyId").asText());
        assertFalse(planned.json().has("undo"));
        assertNull(repository());
        aws.codecommit.createRepository(name).description("old").tag("Old", "x");
        var update = make("--dry-run", "--repository-description", "new", "--tags", "A=b", "--remove-other-tags");
        assertEquals("would-update", update.status());
        assertEquals(List.of("kmsKeyId", "repositoryDescription", "tags", "tags"),
                update.json().path("changes").valueStream().map(c -> c.path("field").asText()).toList());
        assertEquals("old", update.json().at("/changes/1/from").asText());
        Script.assertReadsOnly(aws);
        assertNull(repository().key());
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void bringsAnExistingRepositoryUnderTheKey(boolean showManagedKey) {
        aws.codecommit.showManagedKey = showManagedKey;
        var managed = aws.kms.find("alias/aws/codecommit", REGION).arn;
        aws.codecommit.createRepository(name).commit("refs/heads/main", "a", "1");
        var tip = repository().resolve("refs/heads/main");
        var run = make();
        assertEquals("updated", run.status(), run.err());
        assertEquals(key.arn, repository().key());
        assertEquals(managed, run.json().at("/changes/0/from").asText());
        assertEquals(key.arn, run.json().at("/changes/0/to").asText());
        assertEquals("aws codecommit update-repository-encryption-key --repository-name=" + name + " --kms-key-id "
                + managed + " --region eu-west-1", run.json().path("undo").asText());
        assertEquals(List.of("GetRepository", "UpdateRepositoryEncryptionKey", "GetRepository"),
                aws.calls().stream().map(Call::name).filter(n -> n.startsWith("codecommit:")).map(n -> n.substring(11))
                        .toList(),
                "read again after the change");
        assertEquals(tip, repository().resolve("refs/heads/main"));
        assertEquals("updated", run("--repository-name", name, "--kms-key-id", "alias/other").status());
        assertEquals(other.arn, repository().key());
        assertEquals("updated", run("--repository-name", name, "--kms-key-id", "alias/aws/codecommit").status());
        assertEquals("unchanged", run("--repository-name", name, "--kms-key-id", "alias/aws/codecommit").status());
        assertNull(repository().key());
    }

    @Test
    void rekeysWhereTheManagedKeyMayNotBeAskedFor() {
        aws.codecommit.createRepository(name);
        aws.inject(Fault.on("kms:DescribeKey").after(1).error(400, "AccessDeniedException", "not authorized"));
        var run = make();
        assertEquals("updated", run.status(), run.err());
        assertTrue(run.json().path("undo").asText().contains("--kms-key-id alias/aws/codecommit "), run.out());
    }

    @Test
    void mendsDescriptionAndTagsAndKeepsWhatOthersAdded() {
        make("--repository-description", "right", "--tags", "A=b");
        var many = IntStream.range(0, 30).boxed()
                .collect(java.util.stream.Collectors.toMap(i -> "their" + i, i -> "x"));
        repository().description("it's wrong").tag("A", "wrong");
        many.forEach(repository()::tag);
        var run = make("--repository-description", "right", "--tags", "A=b", "Z=new");
        assertEquals("updated", run.status(), run.err());
        assertEquals("right", repository().description());
        var expected = new TreeMap<>(many);
        expected.putAll(Map.of("A", "b", "Z", "new"));
        assertEquals(expected, repository().tags());
        var undo = run.json().path("undo").asText();
        assertTrue(undo.contains("codecommit update-repository-description --cli-input-json "
                + "'{\"repositoryDescription\":\"it'\\''s wrong\",\"repositoryName\":\"" + name + "\"}'"), undo);
        assertTrue(undo.contains("codecommit tag-resource --cli-input-json '{\"resourceArn\":\"" + repository().arn
                + "\",\"tags\":{\"A\":\"wrong\"}}'"), undo);
        assertTrue(undo.contains("codecommit untag-resource --cli-input-json '{\"resourceArn\":\"" + repository().arn
                + "\",\"tagKeys\":[\"Z\"]}'"), undo);
        assertEquals("updated", make("--tags", "A=b", "Z=new", "--remove-other-tags").status(),
                "tags on later pages too");
        assertEquals(Map.of("A", "b", "Z", "new"), repository().tags());
        assertEquals("updated", make("--remove-other-tags", "--repository-description=").status());
        assertEquals(Map.of(), repository().tags());
        assertEquals("", repository().description());
        assertEquals("unchanged", make("--remove-other-tags", "--repository-description=").status());
    }

    @Test
    void buildsArnsAndUrlsOfTheCallersPartition() {
        for (var region : List.of("cn-north-1", "us-gov-west-1")) {
            var partition = region.startsWith("cn") ? "aws-cn" : "aws-us-gov";
            var made = aws.kms.createKey(region);
            var planned = run("--repository-name", name, "--kms-key-id", made.keyId, "--region", region, "--dry-run");
            assertEquals("arn:" + partition + ":codecommit:" + region + ":111122223333:" + name,
                    planned.json().at("/repository/arn").asText());
            var run = run("--repository-name", name, "--kms-key-id", made.arn, "--region", region);
            assertEquals("created", run.status(), run.err());
            assertEquals(aws.codecommit.repository(region, name).arn, run.json().at("/repository/arn").asText());
            assertEquals(
                    "ssh://git-codecommit." + region + "."
                            + (region.startsWith("cn") ? "amazonaws.com.cn" : "amazonaws.com") + "/v1/repos/" + name,
                    run.json().at("/repository/cloneUrlSsh").asText());
            assertEquals("codecommit::" + region + "://" + name,
                    run.json().at("/repository/cloneUrlCodeCommit").asText());
            assertEquals("unchanged",
                    run("--repository-name", name, "--kms-key-id", made.arn, "--region", region).status());
        }
    }

    @Test
    void refusesAKeyThatCodeCommitCannotUseAndSaysTheWayOut() {
        var bad = aws.kms.createKey(REGION);
        bad.keySpec = "RSA_2048";
        assertFails(bad.keyId,
                "encryption at rest needs SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT: use another key, "
                        + "or create one with ./jbang create-kms-key");
        bad.keySpec = "SYMMETRIC_DEFAULT";
        bad.usage = "GENERATE_VERIFY_MAC";
        assertFails(bad.keyId, "for GENERATE_VERIFY_MAC");
        bad.usage = "ENCRYPT_DECRYPT";
        bad.state = "Disabled";
        assertFails(bad.keyId,
                "is Disabled; enable it with: aws kms enable-key --key-id " + bad.keyId + " --region eu-west-1");
        bad.state = "PendingDeletion";
        bad.deletion = Instant.parse("2027-01-02T03:04:05Z");
        assertFails(bad.keyId,
                "will be deleted on 2027-01-02T03:04:05Z; keep it with: aws kms cancel-key-deletion --key-id "
                        + bad.keyId + " --region eu-west-1 && aws kms enable-key");
        assertFails("alias/absent",
                "no key alias/absent in eu-west-1; create one with: ./jbang create-kms-key --alias alias/absent "
                        + "--region eu-west-1");
        assertFails("12345678-1234-1234-1234-123456789012",
                "create one with: ./jbang create-kms-key --alias alias/codecommit");
        assertFails(key.arn.replace("111122223333", "444455556666"),
                "of another account than the repository's, 111122223333");
    }

    void assertFails(String keyId, String saying) {
        aws.clearCalls();
        var run = run("--repository-name", name, "--kms-key-id", keyId);
        assertEquals(1, run.exitCode(), run.out());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().startsWith("create-encrypted-repo: " + name + ": ") && run.err().contains(saying),
                run.err());
        Script.assertReadsOnly(aws);
        assertNull(repository());
    }

    @Test
    void saysWhatToDoAboutARepositoryWhoseKeyIsLost() {
        var lost = aws.kms.createKey(REGION);
        aws.codecommit.createRepository(name).key(lost.arn);
        lost.state = "Disabled";
        var run = make();
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains("EncryptionKeyDisabledException") && run.err().contains(lost.arn)
                && run.err().contains("enable it first"), run.err());
        assertEquals(lost.arn, repository().key());
    }

    @Test
    void saysWhatToDoWhenTheCallerMayNotUseTheKey() {
        aws.inject(Fault.on("codecommit:CreateRepository").error(400, "EncryptionKeyAccessDeniedException",
                "The encryption key is not accessible"));
        var create = make();
        assertEquals(1, create.exitCode());
        assertTrue(create.err().contains("./jbang create-kms-key --alias ALIAS --users YOUR-ROLE"), create.err());
        aws.codecommit.createRepository(name);
        aws.inject(Fault.on("codecommit:UpdateRepositoryEncryptionKey").error(400, "EncryptionKeyAccessDeniedException",
                "The encryption key is not accessible"));
        var update = make();
        assertEquals(1, update.exitCode());
        assertTrue(update.err().contains("./jbang create-kms-key --alias ALIAS --users YOUR-ROLE"), update.err());
        assertEquals(1, update.err().lines().count(), update.err());
    }

    @Test
    void goesOnWhenSomebodyElseMakesTheRepositoryMeanwhile() {
        var run = Gate.inStep(aws, call -> {
            ALL.add(call);
            if (call.name().equals("codecommit:GetRepository") && repository() == null) {
                aws.codecommit.createRepository(name).tag("Theirs", "stays");
            }
        }, () -> make("--tags", "A=b"));
        aws.onCall(ALL::add);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("updated", run.status());
        assertEquals("create-encrypted-repo: " + name + ": someone else created it in the meantime\n", run.err());
        assertEquals(key.arn, repository().key());
        assertEquals(Map.of("A", "b", "Theirs", "stays"), repository().tags());
        assertFalse(run.json().path("undo").asText().contains("delete-repository"),
                "what others made is not this run's to delete");
    }

    @Test
    void severalOperatorsAtOnceMakeOneRepository() {
        var runs = IntStream.range(0, 6).parallel().mapToObj(i -> make("--tags", "A=b")).toList();
        runs.forEach(run -> assertEquals(0, run.exitCode(), run.err()));
        assertEquals(1, runs.stream().filter(run -> run.status().equals("created")).count());
        assertEquals(5, runs.stream().filter(run -> run.status().equals("unchanged")).count());
        assertEquals(key.arn, repository().key());
    }

    @Test
    void aLostAnswerToCreateRepositoryIsSuccess() {
        aws.inject(Fault.on("codecommit:CreateRepository").loseAnswer());
        var once = make("--tags", "A=b");
        assertEquals(0, once.exitCode(), once.err());
        assertEquals("created", once.status());
        assertEquals("", once.err());
        assertTrue(once.json().path("undo").asText().contains("delete-repository"), once.out());
        name += "-always";
        aws.inject(Fault.on("codecommit:CreateRepository").always().loseAnswer());
        var always = make("--tags", "A=b");
        assertEquals(0, always.exitCode(), always.err());
        assertEquals("created", always.status());
        assertEquals(repository().id, always.json().at("/repository/repositoryId").asText());
    }

    @Test
    void namesWhatWasChangedBeforeAFailure() {
        aws.codecommit.createRepository(name);
        aws.inject(Fault.on("codecommit:TagResource").always().error(400, "AccessDeniedException", "not authorized"));
        var run = make("--tags", "A=b");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().startsWith("create-encrypted-repo: " + name + ": AccessDeniedException"), run.err());
        assertTrue(run.err().contains("; changed before that: kmsKeyId; this takes it back: aws codecommit "
                + "update-repository-encryption-key --repository-name=" + name + " --kms-key-id "), run.err());
        aws.clearFaults();
        assertEquals("updated", make("--tags", "A=b").status());
    }

    @Test
    void theLimitOfTheAccountIsOneLine() {
        aws.codecommit.repositoryLimit = 0;
        var run = make();
        aws.codecommit.repositoryLimit = 5_000;
        assertEquals(1, run.exitCode());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains("RepositoryLimitExceededException"), run.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"sts:GetCallerIdentity", "kms:DescribeKey", "codecommit:GetRepository",
            "codecommit:CreateRepository", "codecommit:ListTagsForResource"})
    void throttlingIsSurvived(String call) {
        aws.inject(Fault.on(call).times(2).throttle());
        var run = make("--tags", "A=b");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(key.arn, repository().key());
        assertEquals("", run.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"codecommit:UpdateRepositoryEncryptionKey", "codecommit:UpdateRepositoryDescription",
            "codecommit:TagResource", "codecommit:UntagResource"})
    void throttlingOfAnUpdateIsSurvived(String call) {
        aws.codecommit.createRepository(name).tag("Old", "x");
        aws.inject(Fault.on(call).times(2).throttle());
        var run = make("--repository-description", "d", "--tags", "A=b", "--remove-other-tags");
        assertEquals("updated", run.status(), run.err());
        assertEquals(key.arn + " d {A=b}",
                repository().key() + " " + repository().description() + " " + repository().tags());
    }

    @ParameterizedTest
    @CsvSource({"sts:GetCallerIdentity, 500", "kms:DescribeKey, 500", "codecommit:GetRepository, 500",
            "codecommit:CreateRepository, 500", "codecommit:ListTagsForResource, 500",
            "sts:GetCallerIdentity, cut", "kms:DescribeKey, cut", "codecommit:GetRepository, cut",
            "codecommit:CreateRepository, cut", "codecommit:ListTagsForResource, cut",
            "sts:GetCallerIdentity, flip", "kms:DescribeKey, flip", "codecommit:GetRepository, flip",
            "codecommit:CreateRepository, flip", "codecommit:ListTagsForResource, flip"})
    void anyOtherFaultLeavesNothingHalfMade(String call, String fault) {
        aws.inject(switch (fault) {
            case "500" -> Fault.on(call).always().serverError();
            case "cut" -> Fault.on(call).always().cut(10);
            default -> Fault.on(call).always().flip(1);
        });
        var run = make("--tags", "A=b");
        aws.clearFaults();
        // the answer was spoilt, but the repository is found
        if (call.equals("codecommit:CreateRepository") && !fault.equals("500")) {
            assertEquals(0, run.exitCode(), run.err());
            assertEquals("created", run.status());
            assertEquals(key.arn, repository().key());
            return;
        }
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        if (repository() != null) {
            assertEquals(key.arn, repository().key());
            assertEquals(Map.of("A", "b"), repository().tags());
        }
        var again = make("--tags", "A=b");
        assertEquals(0, again.exitCode(), again.err());
        assertEquals(key.arn, repository().key());
    }

    @ParameterizedTest
    @CsvSource({"UpdateRepositoryEncryptionKey, 500", "UpdateRepositoryEncryptionKey, lost",
            "UpdateRepositoryDescription, 500", "UpdateRepositoryDescription, lost",
            "TagResource, 500", "TagResource, lost", "UntagResource, 500", "UntagResource, lost"})
    void afterAnyFaultInAnUpdateTheSameCommandFinishesIt(String call, String fault) {
        aws.codecommit.createRepository(name).tag("Old", "x");
        aws.inject(fault.equals("lost") ? Fault.on("codecommit:" + call).always().loseAnswer()
                : Fault.on("codecommit:" + call).always().serverError());
        var arguments = new String[] {"--repository-description", "d", "--tags", "A=b", "--remove-other-tags"};
        var run = make(arguments);
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        aws.clearFaults();
        assertEquals(0, make(arguments).exitCode());
        assertEquals(key.arn + " d {A=b}",
                repository().key() + " " + repository().description() + " " + repository().tags());
        assertEquals("unchanged", make(arguments).status());
    }

    /** Runs the script while somebody does something to the repository behind each call from the key's change on. */
    Script.Run meddled(Duration keyDeadline, Consumer<String> meddling) {
        aws.codecommit.createRepository(name);
        var script = new CreateEncryptedRepo();
        script.keyPatience = keyDeadline;
        var changed = new AtomicBoolean();
        var run = Gate.inStep(aws, call -> {
            ALL.add(call);
            if (call.name().equals("codecommit:UpdateRepositoryEncryptionKey")) changed.set(true);
            if (changed.get()) meddling.accept(call.name());
        }, () -> Script.run(script.commandLine(), "--repository-name", name, "--kms-key-id", "alias/codecommit"));
        aws.onCall(ALL::add);
        return run;
    }

    @Test
    void aKeyThatDoesNotShowAfterTheChangeIsNoSuccess() {
        var run = meddled(Duration.ZERO, call -> repository().key(other.arn));
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("CodeCommit still shows the old one"), run.err());
    }

    @Test
    void waitsForAKeyThatShowsLate() {
        var run = meddled(Duration.ofHours(1), call -> {
            var isChange = call.equals("codecommit:UpdateRepositoryEncryptionKey");
            repository().key(isChange ? other.arn : key.arn);
        });
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("updated", run.status());
    }

    @Test
    void aRepositoryThatIsDeletedMeanwhileIsNoSuccess() {
        var run = meddled(Duration.ZERO, call -> {
            if (repository() != null) aws.codecommit.deleteRepository(REGION, name);
        });
        assertEquals(1, run.exitCode());
        assertTrue(run.err().contains("someone else deleted the repository in the meantime"), run.err());
    }

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--kms-key-id|alias/codecommit; --repository-name=NAME",
            "--repository-name|payments; --kms-key-id=KEY",
            "--repository-name|a b|--kms-key-id|alias/codecommit; such as payments",
            "--repository-name|a/b|--kms-key-id|alias/codecommit; such as payments",
            "--repository-name|payments.git|--kms-key-id|alias/codecommit; not ending with .git",
            "--repository-name|zahlungsverkehr-ä|--kms-key-id|alias/codecommit; such as payments",
            "--repository-name=|--kms-key-id|alias/codecommit; such as payments",
            "--repository-name|https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/x"
                    + "|--kms-key-id|alias/codecommit; such as payments",
            "--repository-name|payments|--kms-key-id|codecommit; such as alias/codecommit",
            "--repository-name|payments|--kms-key-id|alias/; such as alias/codecommit",
            "--repository-name|payments|--kms-key-id|alias/with.dot; such as alias/codecommit",
            "--repository-name|payments|--kms-key-id|key/12345678-1234-1234-1234-123456789012"
                    + "; such as alias/codecommit",
            "--repository-name|payments|--kms-key-id|12345678-1234-1234-1234; such as alias/codecommit",
            "--repository-name|payments|--kms-key-id"
                    + "|arn:aws:kms:eu-west-1:111122223333:12345678-1234-1234-1234-123456789012"
                    + "; such as alias/codecommit",
            "--repository-name|payments|--kms-key-id|arn:aws:iam::111122223333:role/Key; such as alias/codecommit",
            "--repository-name|payments|--kms-key-id"
                    + "|arn:aws:kms:us-east-1:111122223333:key/12345678-1234-1234-1234-123456789012"
                    + "; use --region us-east-1",
            "--repository-name|payments|--kms-key-id|arn:aws:kms:eu-west-1:111122223333:alias/x|--region|eu-west-2; "
                    + "must be a key of the Region eu-west-2",
            "--repository-name|payments|--kms-key-id|alias/x|--tags|Compliance=SOC2,GDPR; Team=Payments",
            "--repository-name|payments|--kms-key-id|alias/x|--tags|Team; Team=Payments",
            "--repository-name|payments|--kms-key-id|alias/x|--tags|aws:Team=x; Team=Payments",
            "--repository-name|payments|--kms-key-id|alias/x|--tags|A=b|A=c; use each once",
            "--repository-name|payments|--repository-name|other|--kms-key-id|alias/x; --repository-name",
            "--repository-name|payments|--kms-key-id|alias/x|--region|Ireland; eu-west-1",
            "--repository-name|payments|--kms-key-id|alias/x|--print|repository; /status",
            "--repository-name|payments|--kms-key-id|alias/x|--kms-key-ids|alias/y; --kms-key-id",
            "--repository-name|payments|--kms-key-id|alias/x|surplus; surplus",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        Script.assertRefused(run(arguments.split("\\|")), right, aws);
    }

    @Test
    void tooLongInputIsRefusedBeforeAnyCall() {
        Script.assertRefused(make("--repository-description", "d".repeat(1001)), "up to 1000 characters", aws);
        Script.assertRefused(run("--repository-name", "r".repeat(101), "--kms-key-id", "alias/x"), "up to 100", aws);
        var tags = new java.util.ArrayList<>(List.of("--tags"));
        for (var i = 0; i < 51; i++) tags.add("k" + i + "=v");
        Script.assertRefused(make(tags.toArray(String[]::new)), "50 at most", aws);
        assertEquals("created", make("--repository-description", "ü\n".repeat(500)).status());
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("CreateEncryptedRepo", ALL, Set.of("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom",
                "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"));
    }
}
