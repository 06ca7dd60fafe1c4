import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Call;
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
class CreateKmsKeyTest {
    static final LocalAws aws = LocalAws.start();
    static final String REGION = "eu-west-1";
    static final String DEVELOPER = "arn:aws:iam::111122223333:role/Developer";
    static final String ADMIN = "arn:aws:iam::111122223333:role/KeyAdmin";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    @BeforeAll
    static void use() {
        Script.use(aws);
        aws.iam.createRole("Developer");
        aws.iam.createRole("KeyAdmin");
        aws.iam.createUser("alice");
        aws.onCall(ALL::add);
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    String alias;

    @BeforeEach
    void clear() {
        aws.clearFaults();
        aws.clearCalls();
        alias = "alias/test-" + System.nanoTime();
    }

    static Script.Run run(String... args) {
        return Script.run(new CreateKmsKey().commandLine(), args);
    }

    Kms.Key key() {
        return aws.kms.find(alias, REGION);
    }

    static void set(Kms.Key key, java.util.function.Consumer<com.fasterxml.jackson.databind.node.ObjectNode> edit)
            throws Exception {
        var policy = (com.fasterxml.jackson.databind.node.ObjectNode) new ObjectMapper().readTree(key.policy);
        edit.accept(policy);
        key.policy = policy.toString();
    }

    @Test
    void createsAKeyThatRotatesAndThatTheNamedPrincipalsMayUse() throws Exception {
        var run = run("--alias", alias, "--users", DEVELOPER, "--administrators", ADMIN, "--description", "all code",
                "--tags", "Team=Payments", "Cost=12");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals("", run.err());
        assertEquals(key().arn, run.json().at("/key/keyArn").asText());
        assertEquals(key().keyId, run.json().at("/key/keyId").asText());
        assertEquals("111122223333", run.json().path("account").asText());
        assertEquals(REGION, run.json().path("region").asText());
        assertEquals("all code", key().description);
        assertEquals(365, key().rotationPeriod);
        assertEquals("{Cost=12, Team=Payments}", key().tags.toString());
        var statements = new ObjectMapper().readTree(key().policy).path("Statement");
        assertEquals(List.of("AccountAdministration", "KeyAdministration", "KeyUsage"),
                statements.valueStream().map(s -> s.path("Sid").asText()).toList());
        assertEquals(DEVELOPER, statements.at("/2/Principal/AWS/0").asText());
        assertTrue(run.json().path("undo").asText().contains("delete-alias --alias-name " + alias), run.out());
    }

    @Test
    void aSecondRunChangesNothing() {
        var arguments = new String[] {"--alias", alias, "--users", DEVELOPER, "arn:aws:iam::444455556666:root",
                "--administrators", ADMIN, "--description", "x", "--rotation-period-in-days", "90", "--tags", "A=b"};
        assertEquals("created", run(arguments).status());
        aws.clearCalls();
        var second = run(arguments);
        Script.assertUnchanged(second, aws);
        assertEquals("unchanged", run("--alias", alias).status(), "what is not given stays as it is");
    }

    @Test
    void aDryRunReadsOnlyAndPrintsThePolicy() {
        var planned = run("--alias", alias, "--users", DEVELOPER, "--dry-run");
        assertEquals(0, planned.exitCode(), planned.err());
        assertEquals("would-create", planned.status());
        assertEquals(DEVELOPER, planned.json().at("/key/policy/Statement/1/Principal/AWS/0").asText());
        Script.assertReadsOnly(aws);
        run("--alias", alias);
        aws.clearCalls();
        var update = run("--alias", alias, "--users", DEVELOPER, "--description", "new", "--no-rotation", "--tags",
                "A=b", "--dry-run");
        assertEquals("would-update", update.status());
        assertEquals(List.of("policy", "description", "rotationPeriodInDays", "tags"),
                update.json().path("changes").valueStream().map(c -> c.path("field").asText()).toList());
        assertFalse(update.json().has("undo"), "nothing was done");
        Script.assertReadsOnly(aws);
    }

    @Test
    void mendsWhatItOwnsAndKeepsWhatOthersAdded() throws Exception {
        run("--alias", alias, "--users", DEVELOPER, "--tags", "A=b", "--rotation-period-in-days", "200",
                "--description", "right");
        set(key(), policy -> {
            policy.withArray("Statement").remove(1);
            policy.withArray("Statement").addObject().put("Sid", "Theirs").put("Effect", "Deny").put("Principal", "*")
                    .put("Action", "kms:ScheduleKeyDeletion").put("Resource", "*");
        });
        key().rotationPeriod = 0;
        key().description = "wrong";
        key().tags.put("A", "wrong");
        key().tags.put("Theirs", "stays");
        var run = run("--alias", alias, "--users", DEVELOPER, "--tags", "A=b", "--rotation-period-in-days", "200",
                "--description", "right");
        assertEquals("updated", run.status(), run.err());
        assertTrue(run.err().contains("not this script's: Theirs"), run.err());
        assertEquals(Set.of("AccountAdministration", "Theirs", "KeyUsage"),
                new ObjectMapper().readTree(key().policy).path("Statement").valueStream()
                        .map(s -> s.path("Sid").asText()).collect(Collectors.toSet()));
        assertEquals(200, key().rotationPeriod);
        assertEquals("right", key().description);
        assertEquals("{A=b, Theirs=stays}", key().tags.toString());
        assertTrue(run.json().path("undo").asText().contains("kms put-key-policy"), run.out());
        assertEquals("updated", run("--alias", alias, "--tags", "A=b", "--remove-other-tags").status());
        assertEquals("{A=b}", key().tags.toString());
        assertEquals("updated", run("--alias", alias, "--no-rotation").status());
        assertEquals(0, key().rotationPeriod);
    }

    @Test
    void makesOneKeyForEachEnvironment() {
        var run = run("--environments", "production", "staging", "--environments", "development", "--region",
                "us-east-2");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(List.of("alias/codecommit-production", "alias/codecommit-staging", "alias/codecommit-development"),
                run.json().path("keys").valueStream().map(k -> k.path("alias").asText()).toList());
        var production = aws.kms.find("alias/codecommit-production", "us-east-2");
        assertEquals("{Compliance=Required, Environment=production, SecurityLevel=High, Service=CodeCommit}",
                production.tags.toString());
        assertEquals(365, production.rotationPeriod);
        assertEquals(0, aws.kms.find("alias/codecommit-staging", "us-east-2").rotationPeriod);
        production.rotationPeriod = 0;
        var second = run("--environments", "production", "staging", "--region", "us-east-2");
        assertEquals("updated", second.status());
        assertEquals(List.of("updated", "unchanged"),
                second.json().path("keys").valueStream().map(k -> k.path("status").asText()).toList());
        assertEquals(365, production.rotationPeriod);
    }

    @Test
    void aPresetReplacesNothingThatWasSet() {
        run("--environments", "production", "staging", "--region", "eu-west-2", "--description", "ours", "--tags",
                "Environment=prod-eu", "Team=Payments", "--rotation-period-in-days", "90");
        aws.clearCalls();
        var again = run("--environments", "production", "staging", "--region", "eu-west-2", "--remove-other-tags");
        var production = aws.kms.find("alias/codecommit-production", "eu-west-2");
        var staging = aws.kms.find("alias/codecommit-staging", "eu-west-2");
        assertEquals("{Compliance=Required, Environment=prod-eu, SecurityLevel=High, Service=CodeCommit}",
                production.tags.toString(), "Team is no preset");
        assertEquals("ours", production.description);
        assertEquals(90, production.rotationPeriod);
        assertEquals(90, staging.rotationPeriod);
        assertEquals(List.of("tags", "tags"),
                again.json().path("changes").valueStream().map(c -> c.path("field").asText()).toList());
        aws.clearCalls();
        assertEquals("unchanged",
                run("--environments", "production", "--region", "eu-west-2", "--remove-other-tags").status());
        Script.assertReadsOnly(aws);
        production.tags.remove("Compliance");
        production.description = "";
        production.rotationPeriod = 0;
        assertEquals("updated", run("--environments", "production", "--region", "eu-west-2").status());
        assertEquals("{Compliance=Required, Environment=prod-eu, SecurityLevel=High, Service=CodeCommit}",
                production.tags.toString());
        assertEquals("CodeCommit repositories, production", production.description);
        assertEquals(365, production.rotationPeriod);
        assertEquals("updated", run("--environments", "production", "--region", "eu-west-2", "--tags",
                "Environment=production", "--no-rotation", "--description", "").status());
        assertEquals("production", production.tags.get("Environment"), "what is given goes before all");
        assertEquals(0, production.rotationPeriod);
        assertEquals("", production.description);
    }

    @ParameterizedTest
    @ValueSource(strings = {"file:///etc/hostname", "http://127.0.0.1/", "-legacy-", "it's \"$HOME\" `x`"})
    void theUndoHoldsFreeTextAsJson(String text) {
        assertEquals("created", run("--alias", alias, "--description=" + text, "--tags", "Team=file://x").status());
        var run = run("--alias", alias, "--description", "other", "--tags", "Team=-y", "More=z", "--users", DEVELOPER);
        var undo = run.json().path("undo").asText();
        var description = "'" + ("{\"Description\":\"" + text.replace("\"", "\\\"") + "\",\"KeyId\":\"" + key().keyId
                + "\"}").replace("'", "'\\''") + "'";
        assertEquals(List.of(
                "aws kms tag-resource --cli-input-json '{\"KeyId\":\"" + key().keyId
                        + "\",\"Tags\":[{\"TagKey\":\"Team\",\"TagValue\":\"file://x\"}]}' --region eu-west-1",
                "aws kms untag-resource --cli-input-json '{\"KeyId\":\"" + key().keyId
                        + "\",\"TagKeys\":[\"More\"]}' --region eu-west-1",
                "aws kms update-key-description --cli-input-json " + description + " --region eu-west-1"),
                List.of(undo.split(" && ")).subList(0, 3));
        assertTrue(undo.split(" && ")[3].startsWith("aws kms put-key-policy --cli-input-json '{\"KeyId\":\""
                + key().keyId + "\",\"Policy\":\"{"), undo);
    }

    @Test
    void oneKeyThatFailsDoesNotHideTheOthers() {
        aws.kms.createAlias("us-west-1", "alias/codecommit-staging", aws.kms.createKey("us-west-1"));
        aws.kms.find("alias/codecommit-staging", "us-west-1").state = "Disabled";
        var run = run("--environments", "production", "staging", "--region", "us-west-1");
        assertEquals(3, run.exitCode());
        assertEquals(List.of("created", "failed"),
                run.json().path("keys").valueStream().map(k -> k.path("status").asText()).toList());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains("alias/codecommit-staging") && run.err().contains("aws kms enable-key"),
                run.err());
        var alone = run("--environments", "staging", "--region", "us-west-1");
        assertEquals(1, alone.exitCode());
        assertEquals("", alone.out());
    }

    @Test
    void buildsArnsOfTheCallersPartition() {
        for (var region : List.of("cn-north-1", "us-gov-west-1")) {
            var partition = region.startsWith("cn") ? "aws-cn" : "aws-us-gov";
            var run = run("--alias", alias, "--region", region, "--dry-run");
            assertEquals("arn:" + partition + ":iam::111122223333:root",
                    run.json().at("/key/policy/Statement/0/Principal/AWS").asText());
            assertEquals("created", run("--alias", alias, "--region", region).status());
            assertTrue(aws.kms.find(alias, region).arn.startsWith("arn:" + partition + ":kms:"));
        }
    }

    @Test
    void refusesAKeyThatCodeCommitCannotUse() {
        run("--alias", alias);
        key().keySpec = "RSA_2048";
        assertFails("encryption at rest needs SYMMETRIC_DEFAULT");
        key().keySpec = "SYMMETRIC_DEFAULT";
        key().state = "PendingDeletion";
        key().deletion = Instant.now();
        assertFails("aws kms cancel-key-deletion --key-id " + key().keyId + " --region eu-west-1");
        key().state = "Enabled";
        key().manager = "AWS";
        assertFails("is managed by AWS");
    }

    void assertFails(String saying) {
        aws.clearCalls();
        var run = run("--alias", alias);
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().startsWith("create-kms-key: " + alias + ": ") && run.err().contains(saying), run.err());
        Script.assertReadsOnly(aws);
    }

    @Test
    void waitsForANewRoleThatKmsDoesNotKnowYet() {
        aws.iam.createRoleVisibleAfter("Fresh", 2);
        var run = run("--alias", alias, "--users", "arn:aws:iam::111122223333:role/Fresh");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("create-kms-key: " + alias
                + ": KMS does not accept the policy yet; new principals take a few seconds to show ...\n", run.err());
        var attempts = aws.calls().stream().filter(call -> call.name().equals("kms:CreateKey")).map(Call::time)
                .toList();
        assertEquals(3, attempts.size());
        for (var next = 1; next < attempts.size(); next++) {
            var waited = Duration.between(attempts.get(next - 1), attempts.get(next));
            assertTrue(waited.toMillis() >= 200, "tried again at once, after " + waited); // clocks count in whole ms
        }
    }

    @Test
    void namesThePrincipalsThatKmsMayNotKnow() {
        aws.inject(Fault.on("kms:CreateKey").always().error(400, "MalformedPolicyDocumentException",
                "Policy contains a statement with one or more invalid principals."));
        var foreign = "arn:aws:iam::444455556666:role/Ghost";
        var script = new CreateKmsKey();
        script.newsPatience = Duration.ZERO;
        var run = Script.run(script.commandLine(), "--alias", alias, "--users", DEVELOPER, foreign);
        assertEquals(1, run.exitCode());
        assertTrue(run.err().endsWith("; check these principals of the policy: " + DEVELOPER + ", " + foreign + "\n"),
                run.err());
        assertEquals(null, key());
    }

    /** What others say is cut, but not the command that takes a policy back, however long that is. */
    @Test
    void aFailureAfterAChangeNamesTheWholeCommandThatTakesItBack() throws Exception {
        run("--alias", alias);
        set(key(), policy -> policy.put("Id", "their-own-" + "x".repeat(3_000)));
        var before = key().policy;
        aws.inject(Fault.on("kms:UpdateKeyDescription").error(400, "AccessDeniedException", "y".repeat(5_000)));
        var run = run("--alias", alias, "--users", DEVELOPER, "--description", "new");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains("; changed before that: policy; this takes it back: aws kms put-key-policy "
                + "--cli-input-json '{\"KeyId\":\"" + key().keyId + "\",\"Policy\":"), run.err());
        assertTrue(run.err().contains(": " + "y".repeat(2_000) + " ... (request id "), run.err());
        assertTrue(run.err().contains("x".repeat(3_000)) && run.err().endsWith("' --region eu-west-1\n"), run.err());
        assertFalse(before.equals(key().policy), "it was changed");
    }

    /** Principals that IAM does not have, and what is said of them. */
    @ParameterizedTest
    @CsvSource({"role/Ghost, IAM does not know arn:aws:iam::111122223333:role/Ghost",
            "user/bob, IAM does not know arn:aws:iam::111122223333:user/bob",
            "role/teams/Developer, IAM does not know arn:aws:iam::111122223333:role/teams/Developer; it has "
                    + "arn:aws:iam::111122223333:role/Developer",
            "user/staff/alice, IAM does not know arn:aws:iam::111122223333:user/staff/alice; it has "
                    + "arn:aws:iam::111122223333:user/alice"})
    void aPrincipalThatIamDoesNotHaveIsRefusedBeforeAnythingIsAsked(String principal, String message) {
        var script = new CreateKmsKey();
        script.newsPatience = Duration.ofDays(1);
        for (var option : List.of("--users", "--administrators")) {
            for (var dryRun : new String[][] {{}, {"--dry-run"}}) {
                aws.clearCalls();
                var arguments = Stream.concat(Stream.of("--alias", alias, option, DEVELOPER,
                        "arn:aws:iam::111122223333:" + principal), Stream.of(dryRun)).toArray(String[]::new);
                var run = Script.run(script.commandLine(), arguments);
                assertEquals(1, run.exitCode());
                assertEquals("create-kms-key: " + message + "\n", run.err());
                assertEquals(List.of(), aws.calls().stream().map(Call::name).filter(name -> name.startsWith("kms:"))
                        .toList());
            }
        }
    }

    @Test
    void aPrincipalThatMayNotBeLookedUpIsLeftToKms() {
        aws.inject(Fault.on("iam:GetRole").error(403, "AccessDenied", "not authorized to perform: iam:GetRole"));
        var run = run("--alias", alias, "--users", DEVELOPER);
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().startsWith("create-kms-key: whether " + DEVELOPER + " exists could not be checked: "
                + "AccessDenied: "), run.err());
    }

    @Test
    void waitsForANewKeyToShow() {
        assertEquals("created", run("--alias", alias, "--no-rotation").status());
        assertEquals(List.of("NotFoundException", "null"),
                aws.calls().stream().filter(call -> call.name().equals("kms:CreateAlias"))
                        .map(call -> String.valueOf(call.error())).toList());
    }

    @Test
    void namesADeletedPrincipalThatKmsDoesNotTakeBack() throws Exception {
        run("--alias", alias);
        set(key(), policy -> policy.withArray("Statement").addObject().put("Sid", "Theirs").put("Effect", "Allow")
                .put("Action", "kms:Decrypt").put("Resource", "*")
                .putObject("Principal").put("AWS", "AROAIOSFODNN7EXAMPLE"));
        var before = key().policy;
        var script = new CreateKmsKey();
        script.newsPatience = Duration.ofMillis(100);
        var run = Script.run(script.commandLine(), "--alias", alias, "--users", DEVELOPER);
        assertEquals(1, run.exitCode());
        assertTrue(run.err()
                .endsWith("; check these principals of the policy: AROAIOSFODNN7EXAMPLE (which was deleted), "
                        + DEVELOPER + "\n"),
                run.err());
        assertEquals(before, key().policy);
    }

    @Test
    void goesOnWithTheWinnersKeyWhenItLosesTheRaceForAnAlias() {
        var winner = aws.kms.createKey(REGION);
        aws.inject(Fault.on("kms:CreateAlias").error(400, "AlreadyExistsException", "An alias with the name exists"));
        var run = Gate.inStep(aws, call -> {
            ALL.add(call);
            if (call.name().equals("kms:EnableKeyRotation")) aws.kms.createAlias(REGION, alias, winner);
        }, () -> run("--alias", alias, "--users", DEVELOPER));
        aws.onCall(ALL::add);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("updated", run.status());
        assertEquals(winner.arn, run.json().at("/key/keyArn").asText());
        assertTrue(winner.policy.contains("KeyUsage"));
        var loser = aws.kms.keys(REGION).stream()
                .filter(k -> k.state.equals("PendingDeletion") && run.err().contains(k.arn)).toList();
        assertEquals(1, loser.size(), run.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"kms:EnableKeyRotation", "kms:CreateAlias"})
    void aKeyThatCouldNotBeFinishedIsScheduledForDeletionAndNamed(String call) {
        aws.inject(Fault.on(call).error(400, "AccessDeniedException", "not authorized"));
        var before = aws.kms.keys(REGION).size();
        var run = run("--alias", alias);
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        var left = aws.kms.keys(REGION).subList(before, aws.kms.keys(REGION).size());
        assertEquals(List.of("PendingDeletion"), left.stream().map(k -> k.state).toList());
        assertTrue(run.err().contains(left.get(0).arn) && run.err().contains("AccessDeniedException"), run.err());
        assertEquals(1, run.err().lines().count(), run.err());
        assertEquals(null, key());
    }

    @Test
    void namesTheKeyAndTheCommandWhenEvenItsDeletionFails() {
        aws.inject(Fault.on("kms:CreateAlias").error(400, "LimitExceededException", "too many"));
        aws.inject(Fault.on("kms:ScheduleKeyDeletion").error(400, "AccessDeniedException", "not authorized"));
        var run = run("--alias", alias);
        assertEquals(1, run.exitCode());
        var left = aws.kms.keys(REGION).get(aws.kms.keys(REGION).size() - 1);
        assertTrue(run.err().contains("aws kms schedule-key-deletion --key-id " + left.keyId
                + " --pending-window-in-days 7 --region eu-west-1"), run.err());
    }

    @Test
    void aLostAnswerToCreateKeyLeavesNoKeyBehind() {
        var before = aws.kms.keys(REGION).size();
        aws.inject(Fault.on("kms:CreateKey").loseAnswer());
        var run = run("--alias", alias, "--tags", "A=b");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertEquals(1, aws.calls().stream().filter(c -> c.name().equals("kms:CreateKey")).count(),
                "not tried again: it would make a second key");
        var left = aws.kms.keys(REGION).subList(before, aws.kms.keys(REGION).size());
        assertEquals(List.of("PendingDeletion"), left.stream().map(k -> k.state).toList());
        assertTrue(run.err().contains(left.get(0).arn), run.err());
        assertEquals("created", run("--alias", alias).status());
    }

    @Test
    void saysThatAKeyMayExistWhenItCannotBeLookedFor() {
        aws.inject(Fault.on("kms:CreateKey").loseAnswer());
        aws.inject(Fault.on("kms:ListKeys").error(400, "AccessDeniedException", "not authorized"));
        var run = run("--alias", alias);
        assertEquals(1, run.exitCode());
        assertTrue(run.err().matches("(?s)create-kms-key: .*; whether it created a key is unknown"
                + " \\(AccessDeniedException: not authorized .*\\): such a key has the policy Id create-kms-key/\\S+"
                + " and no alias\n"), run.err());
    }

    @Test
    void aLostAnswerToCreateAliasIsSuccess() {
        aws.inject(Fault.on("kms:CreateAlias").loseAnswer());
        var run = run("--alias", alias);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(key().arn, run.json().at("/key/keyArn").asText());
    }

    @ParameterizedTest
    @ValueSource(strings = {"sts:GetCallerIdentity", "kms:DescribeKey", "kms:CreateKey", "kms:EnableKeyRotation",
            "kms:CreateAlias", "kms:GetKeyPolicy"})
    void throttlingIsSurvived(String call) {
        aws.inject(Fault.on(call).times(2).throttle());
        var run = run("--alias", alias, "--tags", "A=b");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
    }

    @ParameterizedTest
    @CsvSource({"sts:GetCallerIdentity, 500", "kms:DescribeKey, 500", "kms:CreateKey, 500",
            "kms:EnableKeyRotation, 500", "kms:CreateAlias, 500", "kms:GetKeyPolicy, 500",
            "sts:GetCallerIdentity, cut", "kms:DescribeKey, cut", "kms:CreateKey, cut", "kms:GetKeyPolicy, cut",
            "kms:DescribeKey, flip", "kms:CreateKey, flip", "kms:GetKeyPolicy, flip"})
    void anyOtherFaultLeavesNothingHalfMadeUnnamed(String call, String fault) {
        var before = aws.kms.keys(REGION).size();
        aws.inject(switch (fault) {
            case "500" -> Fault.on(call).always().serverError();
            case "cut" -> Fault.on(call).always().cut(20);
            default -> Fault.on(call).always().flip(1);
        });
        var run = run("--alias", alias);
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        for (var left : aws.kms.keys(REGION).subList(before, aws.kms.keys(REGION).size())) {
            assertTrue(left.state.equals("PendingDeletion") || left == key() || run.err().contains("the policy Id"),
                    run.err());
        }
    }

    @Test
    void expiredCredentialsAreOneLine() {
        aws.addCredentials("ASIAEXPIRED", "secret", "token", "assumed-role/Backup/x", Instant.now().minusSeconds(1));
        System.setProperty("aws.accessKeyId", "ASIAEXPIRED");
        System.setProperty("aws.secretAccessKey", "secret");
        System.setProperty("aws.sessionToken", "token");
        try {
            var run = run("--alias", alias);
            assertEquals(1, run.exitCode());
            assertTrue(run.err().contains("; sign in again"), run.err());
            assertEquals(1, run.err().lines().count());
        } finally {
            System.clearProperty("aws.sessionToken");
            Script.use(aws);
        }
    }

    @Test
    void printsOneValueForTheShell() {
        var arn = run("--alias", alias, "--print", "/key/keyArn");
        assertEquals(key().arn + "\n", arn.out());
        var missing = run("--alias", alias, "--print", "/key/nothing");
        assertEquals(1, missing.exitCode());
        assertEquals("", missing.out());
    }

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--description|x; --alias=alias/NAME",
            "--alias|codecommit; alias/codecommit",
            "--alias|alias/; alias/codecommit",
            "--alias|alias/aws/codecommit; alias/codecommit",
            "--alias|alias/with.dot; alias/codecommit",
            "--alias|alias/a b; alias/codecommit",
            "--alias|alias/x|--environments|production; mutually exclusive",
            "--environments|Production; production, staging, development",
            "--environments|; ENVIRONMENT",
            "--alias|alias/x|--users|Developer; arn:aws:iam::111122223333:role/Developer",
            "--alias|alias/x|--users|*; arn:aws:iam::111122223333:role/Developer",
            "--alias|alias/x|--users|arn:aws:iam::1111:role/Developer; arn:aws:iam::111122223333:role/Developer",
            "--alias|alias/x|--users|arn:aws:sts::111122223333:assumed-role/Developer/me; "
                    + "arn:aws:iam::111122223333:role/Developer",
            "--alias|alias/x|--administrators|arn:aws:iam::111122223333:role/A,arn:aws:iam::111122223333:role/B; "
                    + "arn:aws:iam::111122223333:role/Developer",
            "--alias|alias/x|--rotation-period-in-days|89; 90 to 2560",
            "--alias|alias/x|--rotation-period-in-days|2561; 90 to 2560",
            "--alias|alias/x|--rotation-period-in-days|0; 90 to 2560",
            "--alias|alias/x|--rotation-period-in-days|year; --rotation-period-in-days",
            "--alias|alias/x|--rotation-period-in-days|90|--no-rotation; mutually exclusive",
            "--alias|alias/x|--tags|Team; Team=Payments",
            "--alias|alias/x|--tags|A=b,c; Team=Payments",
            "--alias|alias/x|--tags|aws:A=b; Team=Payments",
            "--alias|alias/x|--tags|A=b|A=c; use each once",
            "--alias|alias/x|--region|Ireland; eu-west-1",
            "--alias|alias/x|--print|key; /status",
            "--alias|alias/x|--dryrun; --dry-run",
            "--alias|alias/x|surplus; surplus",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        Script.assertRefused(run(arguments.split("\\|")), right, aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("CreateKmsKey", ALL, Set.of("kms:TagResource"));
    }
}
