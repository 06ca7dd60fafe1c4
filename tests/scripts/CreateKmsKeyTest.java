import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
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
import org.junit.jupiter.api.io.TempDir;
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
        assertEquals("{Cost=12, Name=" + alias.substring(6)
                + ", Purpose=Repository-Encryption, Service=CodeCommit, Team=Payments}", key().tags.toString());
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
        key().tags.keySet().removeAll(List.of("Name", "Purpose", "Service"));
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
        assertEquals("{Compliance=Required, Environment=production, Name=codecommit-production,"
                + " Purpose=Repository-Encryption, SecurityLevel=High, Service=CodeCommit}",
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
        assertEquals("{Compliance=Required, Environment=prod-eu, Name=codecommit-production,"
                + " Purpose=Repository-Encryption, SecurityLevel=High, Service=CodeCommit}",
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
        production.tags.keySet().removeAll(List.of("Compliance", "Name", "Purpose"));
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
    void theUsualTagsAreForNewKeysAndNeverReplaceAnything() {
        run("--alias", alias, "--tags", "Purpose=Backups", "Team=Payments");
        assertEquals("{Name=" + alias.substring(6) + ", Purpose=Backups, Service=CodeCommit, Team=Payments}",
                key().tags.toString());
        key().tags.put("Service", "S3");
        key().tags.remove("Name");
        aws.clearCalls();
        Script.assertUnchanged(run("--alias", alias, "--tags", "Team=Payments"), aws);
        assertEquals("updated", run("--alias", alias, "--remove-other-tags").status());
        assertEquals("{Purpose=Backups, Service=S3}", key().tags.toString(), "Team is no usual tag");
        aws.clearCalls();
        Script.assertUnchanged(run("--alias", alias, "--remove-other-tags"), aws);
        var full = Stream.iterate(1, n -> n + 1).limit(48).map(n -> "T" + n + "=x");
        alias += "-full";
        assertEquals("created", run(Stream.concat(Stream.of("--alias", alias, "--tags"), full)
                .toArray(String[]::new)).status());
        assertEquals(48, key().tags.size(), "AWS takes 50 at most");
    }

    @Test
    void makesAKeyForAnEnvironmentOfAnyName() {
        var run = run("--environments", "Production", "team-a/test", "--region", "eu-central-1");
        assertEquals("created", run.status(), run.err());
        var production = aws.kms.find("alias/codecommit-Production", "eu-central-1");
        assertEquals("Production", production.tags.get("Environment"));
        assertEquals("High", production.tags.get("SecurityLevel"), "the preset of production, in any case");
        assertEquals("CodeCommit repositories, Production", production.description);
        var other = aws.kms.find("alias/codecommit-team-a/test", "eu-central-1");
        assertEquals("team-a/test", other.tags.get("Environment"));
        assertFalse(other.tags.containsKey("SecurityLevel"), other.tags.toString());
        assertEquals(365, other.rotationPeriod);
        aws.clearCalls();
        Script.assertUnchanged(run("--environments", "Production", "team-a/test", "--region", "eu-central-1"), aws);
    }

    @Test
    void updatesAKeyThatHasNoAliasByItsId() throws Exception {
        var key = aws.kms.createKey(REGION);
        for (var id : List.of(key.keyId, key.arn)) {
            var planned = run("--key-id", id, "--users", DEVELOPER, "--description", id, "--dry-run");
            assertEquals("would-update", planned.status(), planned.err());
            var run = run("--key-id", id, "--users", DEVELOPER, "--description", id);
            assertEquals("updated", run.status(), run.err());
            assertEquals(id, run.json().at("/changes/0/resource").asText());
            assertEquals(key.arn, run.json().at("/key/keyArn").asText());
            assertFalse(run.json().path("key").has("alias"), run.out());
            assertTrue(key.policy.contains("KeyUsage"), key.policy);
            assertEquals(id, key.description);
            aws.clearCalls();
            Script.assertUnchanged(run("--key-id", id, "--users", DEVELOPER, "--description", id), aws);
        }
    }

    @Test
    void givesAKeyThatIsNamedByItsIdTheAlias() {
        var key = aws.kms.createKey(REGION);
        var planned = run("--key-id", key.keyId, "--alias", alias, "--dry-run");
        assertEquals("would-update", planned.status(), planned.err());
        assertEquals(null, key());
        aws.inject(Fault.on("kms:CreateAlias").loseAnswer());
        var run = run("--key-id", key.keyId, "--alias", alias);
        assertEquals("updated", run.status(), run.err());
        assertEquals(key, key());
        assertEquals(alias, run.json().at("/key/alias").asText());
        assertTrue(run.json().path("undo").asText().startsWith("aws kms delete-alias --alias-name " + alias + " "),
                run.out());
        aws.clearCalls();
        Script.assertUnchanged(run("--key-id", key.keyId, "--alias", alias), aws);
        var other = aws.kms.createKey(REGION);
        var policy = other.policy;
        var refused = run("--key-id", other.keyId, "--alias", alias, "--users", DEVELOPER);
        assertEquals(1, refused.exitCode());
        assertTrue(refused.err().contains("is the alias of " + key.arn + ", not of " + other.arn)
                && refused.err().contains("aws kms update-alias --alias-name " + alias + " --target-key-id "
                        + other.keyId), refused.err());
        assertEquals(policy, other.policy);
    }

    @Test
    void neverCreatesAKeyThatIsNamedByItsId() {
        aws.clearCalls();
        for (var id : List.of("01234567-89ab-cdef-0123-456789abcdef", alias)) {
            var run = run("--key-id", id, "--alias", "alias/new");
            assertEquals(1, run.exitCode());
            assertTrue(run.err().contains("no such key in eu-west-1"), run.err());
        }
        var foreign = run("--key-id", "arn:aws:kms:eu-west-1:444455556666:key/01234567-89ab-cdef-0123-456789abcdef");
        assertEquals(1, foreign.exitCode());
        assertTrue(foreign.err().contains("is of another account than these credentials, 111122223333"),
                foreign.err());
        Script.assertReadsOnly(aws);
        var key = aws.kms.createKey(REGION);
        key.state = "PendingDeletion";
        key.deletion = Instant.now();
        assertTrue(run("--key-id", key.keyId).err().contains("aws kms cancel-key-deletion --key-id " + key.keyId));
        key.state = "Enabled";
        key.manager = "AWS";
        assertTrue(run("--key-id", key.keyId).err().contains("is managed by AWS; use another key"));
    }

    @Test
    void theRotationOfAReplicaIsLeftToItsPrimaryKey() {
        var primary = aws.kms.createMultiRegionKey(REGION, "eu-west-2");
        primary.rotationPeriod = 365;
        var replica = aws.kms.keys("eu-west-2").stream().filter(key -> key.keyId.equals(primary.keyId)).findFirst()
                .orElseThrow();
        var policy = replica.policy;
        var run = run("--key-id", replica.keyId, "--region", "eu-west-2", "--no-rotation", "--users", DEVELOPER);
        assertEquals(1, run.exitCode());
        assertTrue(run.err().endsWith("change the rotation with --key-id " + primary.keyId + " --region eu-west-1\n"),
                run.err());
        assertEquals(policy, replica.policy, "refused before anything is changed");
        assertEquals("updated", run("--key-id", replica.arn, "--region", "eu-west-2", "--users", DEVELOPER,
                "--rotation-period-in-days", "365").status());
        assertEquals("updated", run("--key-id", primary.keyId, "--no-rotation").status());
        assertEquals(0, primary.rotationPeriod);
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
            "--description|x; --alias, --environments and --key-id; for example: ./jbang create-kms-key --alias",
            "--alias|codecommit; alias/codecommit",
            "--alias|alias/; alias/codecommit",
            "--alias|alias/aws/codecommit; alias/codecommit",
            "--alias|alias/with.dot; alias/codecommit",
            "--alias|alias/a b; alias/codecommit",
            "--alias|alias/x|--environments|production; mutually exclusive",
            "--key-id|alias/x|--environments|production; mutually exclusive",
            "--environments|team a; such as production",
            "--environments|-x; such as production",
            "--environments|Entwürfe; such as production",
            "--environments|test|Test; differ by more than case",
            "--environments|; NAME",
            "--key-id|codecommit; alias/codecommit",
            "--key-id|alias/aws/codecommit; a customer managed key",
            "--key-id|arn:aws:kms:eu-west-2:111122223333:key/01234567-89ab-cdef-0123-456789abcdef; --region eu-west-2",
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

    @TempDir
    Path directory;

    String file(String content) throws IOException {
        return Files.writeString(directory.resolve("policy.json"), content).toString();
    }

    static Map<String, JsonNode> statements(Kms.Key key) throws IOException {
        return new ObjectMapper().readTree(key.policy).path("Statement").valueStream()
                .collect(Collectors.toMap(statement -> statement.path("Sid").asText(), statement -> statement));
    }

    static final String AUDITORS = """
            {"Sid": "Auditors", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/Developer"},
             "Action": ["kms:DescribeKey", "kms:Get*"], "Resource": "*",
             "Condition": {"StringEquals": {"aws:PrincipalTag/team": "${aws:PrincipalTag/x}"}}}""";

    @Test
    void addsTheStatementsOfAFileAndMendsThem() throws Exception {
        var policy = file("{\"Version\": \"2012-10-17\", \"Id\": \"mine\", \"Statement\": [" + AUDITORS + "]}");
        var arguments = new String[] {"--alias", alias, "--users", DEVELOPER, "--policy-file", policy};
        var planned = run(Stream.concat(Stream.of(arguments), Stream.of("--dry-run")).toArray(String[]::new));
        assertEquals("Auditors", planned.json().at("/key/policy/Statement/2/Sid").asText(), planned.err());
        assertEquals("created", run(arguments).status());
        assertEquals(Set.of("AccountAdministration", "KeyUsage", "Auditors"), statements(key()).keySet());
        aws.clearCalls();
        var second = run(arguments);
        Script.assertUnchanged(second, aws);
        assertEquals("", second.err(), "what is of the file is not others'");
        set(key(), changed -> changed.withArray("Statement").forEach(statement -> {
            if (statement.path("Sid").asText().equals("Auditors")) {
                ((com.fasterxml.jackson.databind.node.ObjectNode) statement).put("Action", "kms:*");
            }
        }));
        var before = key().policy;
        var mended = run(arguments);
        assertEquals("updated", mended.status(), mended.err());
        assertEquals("[\"kms:DescribeKey\",\"kms:Get*\"]", statements(key()).get("Auditors").path("Action").toString());
        assertTrue(mended.json().path("undo").asText().contains("kms put-key-policy")
                && before.contains("kms:*"), mended.out());
        var without = run("--alias", alias);
        assertEquals("unchanged", without.status());
        assertTrue(without.err().contains("not this script's: Auditors"), without.err());
        var list = file("[" + AUDITORS.replace("Auditors", "Enable X") + "]");
        assertEquals("updated", run("--alias", alias, "--policy-file", list).status(), "a Sid as AWS's own have");
        assertEquals("unchanged", run("--alias", alias, "--policy-file", file(AUDITORS)).status(), "one statement");
    }

    @Test
    void aStatementOfAFileTakesThePlaceOfTheScriptsOwn() throws Exception {
        var administrator = """
                {"Sid": "AccountAdministration", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
                 "Principal": {"AWS": "arn:aws:iam::111122223333:user/operator"}}""";
        assertEquals("created", run("--alias", alias, "--policy-file", file(administrator)).status());
        assertEquals("arn:aws:iam::111122223333:user/operator",
                statements(key()).get("AccountAdministration").at("/Principal/AWS").asText());
        aws.clearCalls();
        Script.assertUnchanged(run("--alias", alias, "--policy-file", file(administrator)), aws);
        assertEquals("updated", run("--alias", alias).status(), "without the file it has its own text again");
        var foreign = file(administrator.replace("111122223333", "444455556666"));
        var denied = run("--alias", alias, "--policy-file", foreign);
        assertEquals(1, denied.exitCode());
        assertTrue(denied.err().contains("would let no one of 111122223333 change it again"), denied.err());
        set(key(), policy -> policy.withArray("Statement").addObject().put("Sid", "Theirs").put("Effect", "Deny")
                .put("Principal", "*").put("Action", "kms:Put*").put("Resource", "*"));
        var before = key().policy;
        set(key(), policy -> policy.put("Version", "2008-10-17"));
        assertTrue(run("--alias", alias, "--policy-file", file(AUDITORS)).err().contains("is no variable; give it"));
        set(key(), policy -> policy.put("Version", "2012-10-17"));
        var merged = run("--alias", alias, "--policy-file", file(AUDITORS));
        assertEquals(1, merged.exitCode());
        assertTrue(merged.err().contains("would let no one of 111122223333 change it again"), merged.err());
        assertEquals(before, key().policy);
    }

    @Test
    void theDocumentHasNoControlCharacters() {
        run("--alias", alias);
        key().description = "a\u009b2J\u202eb";
        var run = run("--alias", alias, "--dry-run", "--description", "new");
        assertTrue(run.json().path("changes").toString().contains("a\u009b2J\u202eb"), run.out());
        assertFalse(run.out().matches("(?s).*[\\p{Cc}\\p{Cf}&&[^\n]].*"), run.out());
    }

    /** Of AWS's message, and of the Java exception that --verbose shows with it. */
    @Test
    void messagesHaveNoControlCharacters() {
        aws.inject(Fault.on("kms:CreateKey").error(400, "LimitExceededException", "a\u009b2J\u202eb\r\nc").always());
        var run = run("--alias", alias, "-v");
        assertEquals(1, run.exitCode());
        assertTrue(run.err().contains(": LimitExceededException: a\\u009b2J\\u202eb c "), run.err());
        assertTrue(run.err().contains("\tat software.amazon.awssdk."), run.err());
        assertFalse(run.err().matches("(?s).*[\\p{Cc}\\p{Cf}&&[^\n\t]].*"), run.err());
    }

    /** What a file says, with ' for quotes; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', quoteCharacter = '`', value = {
            "{; must be JSON",
            "{} {}; must be JSON",
            "'x'; must be a policy",
            "[]; have a statement",
            "{'Version': '2012-10-17', 'Version': '2012-10-17', 'Statement': []}; Duplicate field 'Version'",
            "{'Statement': [S]}; have 'Version': '2012-10-17'",
            "{'Version': '2008-10-17', 'Statement': [S]}; have 'Version': '2012-10-17'",
            "{'Version': '2012-10-17', 'Statements': [], 'Statement': []}; have no Statements",
            "[S, S]; have each Sid once, not X twice",
            "[S{'Sid': 'a-b'}]; 'Sid': 'Auditors'",
            "[S{'Sid': null}]; 'Sid': 'Auditors'",
            "[S{'Effect': 'allow'}]; Allow or Deny",
            "[S{'Principle': '*'}]; have no Principle, only Action",
            "[S{'Principal': null}]; one of Principal and NotPrincipal",
            "[S{'NotPrincipal': '*'}]; one of Principal and NotPrincipal",
            "[S{'Principal': null, 'NotPrincipal': '*'}]; not allow with NotPrincipal",
            "[S{'Principal': 'everybody'}]; have a Principal such as",
            "[S{'Principal': {'Aws': '*'}}]; have no Aws, only AWS, Federated, Service",
            "[S{'Principal': {'AWS': 'arn:aws:iam::111122223333:role/*'}}]; without wildcards",
            "[S{'Principal': {'AWS': []}}]; without wildcards",
            "[S{'Principal': {'AWS': '${account}'}}]; without wildcards",
            "[S{'Principal': '*'}]; must not be for everybody",
            "[S{'Principal': '*', 'Condition': {'ArnLike': {'aws:PrincipalArn': '*'}}}]; "
                    + "with one of aws:PrincipalAccount, ",
            "[S{'Principal': '*', 'Condition': {'ArnLike': {'aws:PrincipalArn': 'arn:aws:iam::*:role/A'}}}]; "
                    + "with one of aws:PrincipalAccount, ",
            "[S{'Principal': '*', 'Condition': {'StringEqualsIfExists': {'aws:SourceVpc': 'vpc-01'}}}]; "
                    + "with one of aws:PrincipalAccount, ",
            "[S{'Principal': '*', 'Condition': {'StringNotEquals': {'kms:CallerAccount': '444455556666'}}}]; "
                    + "with one of aws:PrincipalAccount, ",
            "[S{'Principal': '*', 'Condition': {'StringEquals': {'kms:ViaService': 's3.amazonaws.com'}}}]; "
                    + "with one of aws:PrincipalAccount, ",
            "[S{'Principal': '*', 'Condition': {'StringLike': {'aws:PrincipalOrgID': ['o-a1b2c3d4e5', '*']}}}]; "
                    + "with one of aws:PrincipalAccount, ",
            "[S{'Action': 'Decrypt'}]; such as kms:Decrypt",
            "[S{'Action': 's3:GetObject'}]; such as kms:Decrypt",
            "[S{'Action': []}]; such as kms:Decrypt",
            "[S{'Action': 7}]; such as kms:Decrypt",
            "[S{'Resource': 'arn:aws:kms:eu-west-1:111122223333:key/1'}]; something such as *",
            "[S{'Resource': null}]; one of Resource and NotResource",
            "[S{'Condition': {}}]; have a Condition such as",
            "[S{'Condition': {'StringEqual': {'aws:x': 'y'}}}]; not the operator StringEqual",
            "[S{'Condition': {'StringEquals': {'x': 'y'}}}]; not the key x",
            "[S{'Condition': {'StringEquals': {'aws:x': []}}}]; have a Condition such as",
            "[S{'Condition': {'StringEquals': {'aws:x': {}}}}]; have a Condition such as",
            "[S{'Condition': {'StringEquals': {'aws:x': '${account}'}}}]; no open ${account}",
            "[S{'Condition': {'StringEquals': {'aws:x': '${aws:'}}}]; no open ${aws:",
            "[S{'Condition': {'StringEquals': {'aws:x': '漢'}}}]; Latin-1",
            "[S{'Sid': 'KeyUsage'}]; which --administrators or --users give",
            "[S{'Effect': 'Deny', 'Principal': '*', 'Action': 'kms:*'}]; must leave someone",
            "[S{'Effect': 'Deny', 'Principal': {'AWS': '*'}, 'NotAction': 'kms:D*', 'Action': null}]; "
                    + "must leave someone",
            "[S{'Effect': 'Deny', 'Principal': null, 'NotPrincipal': {'Service': 's3.amazonaws.com'}, 'Action': '*'}]; "
                    + "must leave someone",
            "[S{'Sid': 'AccountAdministration'}]; must leave someone",
    })
    void aFileThatAwsWouldRefuseOrTakeOtherwiseIsRefusedBeforeAnyCall(String content, String right) throws Exception {
        var edits = Pattern.compile("S(\\{.*})?(?=[],])").matcher(content);
        var json = edits.replaceAll(found -> {
            var statement = new ObjectMapper().createObjectNode().put("Sid", "X").put("Effect", "Allow")
                    .put("Action", "kms:Decrypt").put("Resource", "*");
            statement.putObject("Principal").put("AWS", DEVELOPER);
            if (found.group(1) != null) {
                parsed(found.group(1)).properties().forEach(member -> {
                    statement.remove(member.getKey());
                    if (!member.getValue().isNull()) {
                        statement.set(member.getKey(), member.getValue());
                    }
                });
            }
            return Matcher.quoteReplacement(statement.toString());
        });
        var policy = file(json.replace('\'', '"'));
        Script.assertRefused(run("--alias", alias, "--users", DEVELOPER, "--policy-file", policy),
                right.startsWith("Duplicate") ? right : right.replace('\'', '"'), aws);
    }

    @ParameterizedTest
    @ValueSource(strings = {"{'StringEquals': {'aws:PrincipalOrgID': ['o-a1b2c3d4e5', 'o-f6g7h8i9j0']}}",
            "{'StringEquals': {'kms:CallerAccount': '444455556666', 'kms:ViaService': 's3.eu-west-1.amazonaws.com'}}",
            "{'ArnLike': {'AWS:PrincipalArn': 'arn:aws:iam::444455556666:role/team/*'}}",
            "{'ForAnyValue:StringLike': {'aws:PrincipalOrgPaths': 'o-a1b2c3d4e5/r-ab12/*'}}",
            "{'ArnLike': {'aws:SourceArn': 'arn:aws:logs:*:444455556666:*'}}",
            "{'StringEquals': {'aws:SourceVpce': 'vpce-0123456789abcdef0'}}"})
    void aConditionThatNamesAccountsAnOrganizationOrAVpcLimitsAStatementForEverybody(String condition)
            throws Exception {
        var statement = "{'Sid': 'X', 'Effect': 'Allow', 'Principal': '*', 'Action': 'kms:Decrypt', 'Resource': '*', "
                + "'Condition': " + condition + "}";
        var run = run("--alias", alias, "--policy-file", file(statement.replace('\'', '"')));
        assertEquals(0, run.exitCode(), run.err());
        var statements = parsed(key().policy).path("Statement");
        assertTrue(statements.valueStream().anyMatch(parsed(statement)::equals), key().policy);
    }

    static JsonNode parsed(String json) {
        try {
            return new ObjectMapper().readTree(json.replace('\'', '"'));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void aFileThatCannotBeReadOrIsTooLongIsRefused() throws Exception {
        Script.assertRefused(run("--alias", alias, "--policy-file", directory.resolve("none").toString()),
                "must be a file that can be read: NoSuchFileException", aws);
        Script.assertRefused(run("--alias", alias, "--policy-file", file(AUDITORS.replace("PrincipalTag/x",
                "PrincipalTag/" + "x".repeat(33_000)))), "KMS takes 32768", aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("CreateKmsKey", ALL, Set.of("kms:TagResource"));
    }
}
