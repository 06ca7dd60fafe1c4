import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.Kms;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class AuditEncryptionTest {
    static final String REGION = "eu-west-1";
    static final String OTHER = LocalAws.BACKUP_ACCOUNT;
    static final String ROOT = "{\"Sid\":\"Root\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"111122223333\"},"
            + "\"Action\":\"kms:*\",\"Resource\":\"*\"}";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    LocalAws aws;
    /** Whether only audits run, so that their calls can be told from those of other scripts. */
    volatile boolean runsAuditsOnly = true;

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        aws.onCall(call -> {
            if (runsAuditsOnly) ALL.add(call);
        });
        aws.codecommit.batchNeedsKey = false;
        Script.use(aws);
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    Script.Run audit(String... args) {
        aws.clearCalls();
        var run = Script.run(new AuditEncryption().commandLine(), args);
        Script.assertReadsOnly(aws);
        return run;
    }

    /** With findings, which are the only result of it. */
    Script.Run findings(String... args) {
        var run = audit(args);
        assertEquals(4, run.exitCode(), run.err());
        assertEquals("findings", run.status());
        return run;
    }

    /** That rotates every year, under this alias. */
    Kms.Key key(String alias) {
        var key = aws.kms.createKey(REGION);
        aws.kms.createAlias(REGION, alias, key);
        key.rotationPeriod = 365;
        return key;
    }

    CodeCommit.Repo repository(String name, Kms.Key key) {
        return aws.codecommit.createRepository(name).key(key.arn);
    }

    /** The statements beside that of the account, of a key policy. */
    static String policy(String... statements) {
        return "{\"Version\":\"2012-10-17\",\"Statement\":[" + ROOT
                + IntStream.range(0, statements.length).mapToObj(i -> "," + statements[i].replace('\'', '"'))
                .collect(Collectors.joining()) + "]}";
    }

    static String denied(String action) {
        return "{'Sid':'No','Effect':'Deny','Principal':'*','Action':'" + action + "','Resource':'*'}";
    }

    static List<String> codes(JsonNode list) {
        return list.valueStream().map(JsonNode::asText).toList();
    }

    /** The only finding. */
    static JsonNode finding(Script.Run run) {
        assertEquals(1, run.json().path("findings").size(), run.out());
        return run.json().at("/findings/0");
    }

    static void assertFinding(String code, String message, String command, Script.Run run) {
        var finding = finding(run);
        assertEquals(code, finding.path("code").asText());
        assertTrue(finding.path("message").asText().contains(message), finding.path("message").asText());
        assertEquals(command, finding.path("command").asText(null));
        assertTrue(run.err().contains(": " + code + ": ") && (command == null || run.err().contains(command)),
                run.err());
        assertEquals(List.of(code), codes(run.json().at("/repositories/0/findings")));
    }

    long count(String call) {
        return aws.calls().stream().filter(each -> each.name().equals(call)).count();
    }

    @Test
    void findsNothingWhereAllIsAsItShouldBe() {
        var key = key("alias/codecommit");
        aws.kms.createAlias(REGION, "alias/again", key);
        repository("website", key);
        repository("payments", key);
        for (var time = 0; time < 2; time++) {
            var run = audit("--require-customer-managed", "--require-rotation", "--max-rotation-days", "365");
            assertEquals(0, run.exitCode(), run.err());
            assertEquals("", run.err());
            assertEquals("audited", run.status());
            assertEquals("{\"repositories\":2,\"keys\":1,\"findings\":0}", run.json().path("totals").toString());
            assertEquals("{\"repositoryName\":\"payments\",\"arn\":\"arn:aws:codecommit:eu-west-1:111122223333:payments"
                    + "\",\"kmsKeyId\":\"" + key.arn + "\",\"findings\":[]}",
                    run.json().at("/repositories/0").toString());
            assertEquals("{\"kmsKeyId\":\"" + key.arn + "\",\"aliases\":[\"alias/again\",\"alias/codecommit\"],"
                    + "\"keyManager\":\"CUSTOMER\",\"keyState\":\"Enabled\",\"keySpec\":\"SYMMETRIC_DEFAULT\","
                    + "\"keyUsage\":\"ENCRYPT_DECRYPT\",\"origin\":\"AWS_KMS\",\"keyRotationEnabled\":true,"
                    + "\"rotationPeriodInDays\":365,\"repositories\":2,\"findings\":[]}",
                    run.json().at("/keys/0").toString());
            assertEquals(List.of(), codes(run.json().path("findings")));
        }
    }

    @Test
    void anEmptyRegionHasNoFindings() {
        var run = audit("--region", "eu-west-2", "--require-rotation");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(0, run.json().path("repositories").size());
        assertEquals("audit-encryption: there are no repositories in eu-west-2\n", run.err());
    }

    @Test
    void anAuditOfNothingIsNoAudit() {
        repository("payments", key("alias/codecommit"));
        var run = audit("--exclude", "*");
        assertEquals(1, run.exitCode(), run.out());
        assertEquals("audit-encryption: no repository of eu-west-1 is left to audit; check --exclude *\n", run.err());
    }

    /** A disabled key is one finding, and the command that enables it comes with it. */
    @Test
    void findsKeysThatCannotBeUsed() {
        var key = key("alias/codecommit");
        repository("payments", key);
        var enable = "aws kms enable-key --key-id " + key.keyId + " --region eu-west-1";
        key.state = "Disabled";
        assertFinding("key-unusable", "is Disabled", enable, findings());
        key.state = "PendingDeletion";
        key.deletion = Instant.parse("2026-12-01T04:00:00Z");
        var run = findings("--require-rotation");
        assertFinding("key-unusable", "is PendingDeletion, and will be deleted on 2026-12-01T04:00:00Z",
                "aws kms cancel-key-deletion --key-id " + key.keyId + " --region eu-west-1 && " + enable, run);
        assertEquals("2026-12-01T04:00:00Z", run.json().at("/keys/0/deletionDate").asText());
        assertFalse(run.json().at("/keys/0").has("keyRotationEnabled"), "KMS says no, whatever was set");
        key.deletion = null;
        key.state = "PendingReplicaDeletion";
        assertFinding("key-unusable", "is PendingReplicaDeletion", null, findings());
        key.origin = "EXTERNAL_KEY_STORE";
        key.state = "Unavailable";
        assertFinding("key-unusable", "is Unavailable",
                "aws kms connect-custom-key-store --custom-key-store-id cks-1234567890abcdef0 --region eu-west-1",
                findings());
        key.origin = "EXTERNAL";
        key.state = "PendingImport";
        assertFinding("key-unusable", "is PendingImport", "aws kms get-parameters-for-import --key-id " + key.keyId
                + " --wrapping-algorithm RSAES_OAEP_SHA_256 --wrapping-key-spec RSA_4096 --region eu-west-1",
                findings());
        key.origin = "AWS_KMS";
        key.state = "Updating";
        assertEquals(0, audit().exitCode(), "it can be used");
        key.state = "Enabled";
        key.keySpec = "RSA_4096";
        assertFinding("key-unusable", "is RSA_4096 for ENCRYPT_DECRYPT; CodeCommit needs SYMMETRIC_DEFAULT", null,
                findings("--require-rotation"));
        key.keySpec = "HMAC_256";
        key.usage = "GENERATE_VERIFY_MAC";
        assertFinding("key-unusable", "is HMAC_256 for GENERATE_VERIFY_MAC", null, findings());
    }

    @Test
    void findsKeysThatAreGoneAndThoseOfOtherRegions() {
        var gone = "arn:aws:kms:eu-west-1:111122223333:key/" + UUID.randomUUID();
        var repository = aws.codecommit.createRepository("payments").key(gone);
        assertFinding("key-unusable", "there is no such key in eu-west-1; what is under it can only be restored", null,
                findings("--require-rotation"));
        repository.key("arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab");
        assertFinding("key-unusable", "it is of us-east-1, and a repository's key is in the same Region", null,
                findings());
        assertEquals(0, count("kms:DescribeKey"));
        repository.key("alias/nothing");
        assertFinding("key-unusable", "there is no such alias in eu-west-1", null, findings());
    }

    /** Whatever CodeCommit calls a key, it is one. */
    @Test
    void aKeyIsTheSameByIdArnAndAlias() {
        var key = key("alias/codecommit");
        for (var id : List.of(key.keyId, key.arn, "alias/codecommit",
                "arn:aws:kms:eu-west-1:111122223333:alias/codecommit")) {
            aws.codecommit.createRepository("r" + id.length()).key(id);
        }
        var run = audit();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of(key.arn), run.json().path("keys").valueStream().map(k -> k.path("kmsKeyId").asText())
                .toList());
        assertEquals(4, run.json().at("/keys/0/repositories").asInt());
        assertEquals(1, count("kms:DescribeKey"));
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void findsRepositoriesUnderTheKeyOfAwsAndMovesThem(boolean isShown) {
        var managed = aws.kms.find("alias/aws/codecommit", REGION);
        aws.codecommit.showManagedKey = isShown;
        repository("good", key("alias/own"));
        List.of("a", "b", "c").forEach(name -> aws.codecommit.createRepository(name));
        assertEquals(0, audit("--require-rotation", "--max-rotation-days", "365").exitCode(), "it rotates every year");
        var run = findings("--require-customer-managed");
        assertEquals(3, run.json().path("findings").size());
        assertEquals(List.of(managed.arn, "AWS", "365"), List.of("kmsKeyId", "keyManager", "rotationPeriodInDays")
                .stream().map(name -> run.json().at("/keys").valueStream().filter(key -> key.path("repositories")
                        .asInt() == 3).findFirst().orElseThrow().path(name).asText()).toList());
        assertEquals(1, count("kms:GetKeyRotationStatus"), "of the other key alone");
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains("a (and 2 more repositories): aws-managed: "), run.err());
        runsAuditsOnly = false;
        for (var finding : run.json().path("findings")) {
            var command = finding.path("command").asText();
            assertEquals("./jbang create-encrypted-repo --repository-name=" + finding.path("repositoryName").asText()
                    + " --kms-key-id alias/own --region eu-west-1", command);
            var words = command.split(" ");
            assertEquals("updated", Script.run(new CreateEncryptedRepo().commandLine(),
                    Arrays.copyOfRange(words, 2, words.length)).status());
        }
        assertEquals(0, Script.run(new AuditEncryption().commandLine(), "--require-customer-managed").exitCode());
    }

    /** Its rotation is decided by AWS. */
    @Test
    void theKeyOfAwsMayRotateTooSlowly() {
        aws.codecommit.createRepository("payments");
        assertFinding("rotation-too-slow", "rotates every 365 days, as AWS decides", null,
                findings("--max-rotation-days", "180"));
    }

    @Test
    void noKeyComesIntoBeing() {
        repository("payments", key("alias/own"));
        aws.codecommit.createRepository("website");
        var before = aws.kms.aliases(REGION);
        assertEquals(Set.of("alias/own"), before.keySet());
        var run = findings("--require-customer-managed", "--require-rotation");
        assertEquals(before, aws.kms.aliases(REGION));
        assertEquals("alias/aws/codecommit", run.json().at("/repositories/1/kmsKeyId").asText());
        assertEquals("{\"kmsKeyId\":\"alias/aws/codecommit\",\"aliases\":[\"alias/aws/codecommit\"],"
                + "\"keyManager\":\"AWS\",\"keyRotationEnabled\":true,\"rotationPeriodInDays\":365,\"repositories\":1,"
                + "\"findings\":[]}", run.json().at("/keys/0").toString());
        assertEquals(1, count("kms:DescribeKey"));
        assertTrue(aws.calls().stream().noneMatch(call -> call.name().equals("kms:DescribeKey")
                && call.input().path("KeyId").asText().contains("alias/")));
    }

    @Test
    void findsKeysThatDoNotRotate() {
        var key = key("alias/codecommit");
        repository("payments", key);
        key.rotationPeriod = 0;
        assertEquals(0, audit().exitCode(), "nobody asked for it");
        var enable = "aws kms enable-key-rotation --key-id " + key.keyId;
        assertFinding("rotation-off", "does not rotate", enable + " --region eu-west-1",
                findings("--require-rotation"));
        assertFinding("rotation-off", "does not rotate", enable + " --rotation-period-in-days 180 --region eu-west-1",
                findings("--max-rotation-days", "180"));
        key.rotationPeriod = 181;
        assertEquals(0, audit("--require-rotation").exitCode());
        assertFinding("rotation-too-slow", "rotates every 181 days",
                enable + " --rotation-period-in-days 180 --region eu-west-1", findings("--max-rotation-days", "180"));
        key.rotationPeriod = 180;
        assertEquals(0, audit("--max-rotation-days", "180").exitCode());
        key.rotationPeriod = 0;
        key.state = "Disabled";
        var run = findings("--require-rotation");
        assertEquals(List.of("key-unusable", "rotation-off"), codes(run.json().at("/repositories/0/findings")));
        assertEquals("aws kms enable-key --key-id " + key.keyId + " --region eu-west-1 && " + enable
                + " --region eu-west-1", run.json().at("/findings/1/command").asText());
    }

    @Test
    void materialOfOthersDoesNotRotateAndMayExpire() {
        var key = key("alias/codecommit");
        repository("payments", key);
        key.origin = "EXTERNAL";
        assertEquals(0, audit().exitCode());
        assertFinding("rotation-off", "has material of origin EXTERNAL, which KMS does not rotate", null,
                findings("--require-rotation"));
        assertEquals(0, count("kms:GetKeyRotationStatus"), "KMS would refuse it");
        key.validTo = Instant.parse("2027-01-31T00:00:00Z");
        var run = findings();
        assertFinding("material-expires", "loses its material on 2027-01-31T00:00:00Z",
                "aws kms get-parameters-for-import --key-id " + key.keyId
                        + " --wrapping-algorithm RSAES_OAEP_SHA_256 --wrapping-key-spec RSA_4096 --region eu-west-1",
                run);
        assertEquals("2027-01-31T00:00:00Z", run.json().at("/keys/0/validTo").asText());
        key.validTo = null;
        for (var origin : List.of("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")) {
            key.origin = origin;
            assertFinding("rotation-off", "has material of origin " + origin, null, findings("--require-rotation"));
        }
    }

    /** What KMS does not rotate, it says so, whatever this script knows of origins. */
    @Test
    void aRefusedRotationIsNone() {
        repository("payments", key("alias/codecommit"));
        aws.inject(Fault.on("kms:GetKeyRotationStatus").error(400, "UnsupportedOperationException", "no"));
        assertFinding("rotation-off", "has material of origin AWS_KMS", null, findings("--require-rotation"));
    }

    @Test
    void aReplicaRotatesAsItsPrimaryKeyDoes() {
        var primary = aws.kms.createMultiRegionKey("eu-west-2", REGION);
        var repository = repository("payments", aws.kms.find(primary.keyId, REGION));
        var run = findings("--require-rotation");
        assertFinding("rotation-off", "does not rotate", "aws kms enable-key-rotation --key-id " + primary.keyId
                + " --region eu-west-2", run);
        assertEquals(primary.arn, run.json().at("/keys/0/primaryKeyArn").asText());
        primary.rotationPeriod = 365;
        assertEquals(0, audit("--require-rotation").exitCode());
        var own = aws.kms.createMultiRegionKey(REGION, "eu-west-2");
        own.rotationPeriod = 90;
        repository.key(own.arn);
        run = audit("--max-rotation-days", "90");
        assertEquals(0, run.exitCode(), run.err());
        assertFalse(run.json().at("/keys/0").has("primaryKeyArn"));
    }

    @Test
    void findsKeysOfOtherAccounts() {
        var foreign = aws.account(OTHER).kms.createKey(REGION);
        foreign.policy = policy("{'Effect':'Allow','Principal':{'AWS':'" + OTHER + "'},'Action':'kms:*',"
                + "'Resource':'*'}");
        repository("payments", foreign);
        var run = findings();
        assertFinding("foreign-key", "is under a key of account 444455556666, which can take it away",
                "./jbang create-encrypted-repo --repository-name=payments --kms-key-id alias/codecommit"
                        + " --region eu-west-1", run);
        assertEquals("Enabled", run.json().at("/keys/0/keyState").asText());
        assertEquals(0, count("kms:GetKeyPolicy"), "KMS shows it to no other account");
        run = findings("--require-rotation");
        assertEquals("does not rotate; only its account, 444455556666, can change that",
                run.json().at("/findings/0/message").asText());
        assertFalse(run.json().at("/findings/0").has("command"));
        foreign.policy = "{\"Statement\":[]}";
        run = audit();
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of("foreign-key", "key-error"), codes(run.json().at("/repositories/0/findings")));
    }

    @Test
    void findsStatementsForEveryoneAndForThoseWhoWereDeleted() {
        var key = key("alias/codecommit");
        repository("payments", key);
        var show = "aws kms get-key-policy --policy-name default --output text --key-id " + key.keyId
                + " --region eu-west-1";
        for (var principal : List.of("'Principal':'*'", "'Principal':{'AWS':'*'}", "'Principal':{'AWS':['444455556666',"
                + "'*']}", "'NotPrincipal':{'AWS':'444455556666'}", "'Principal':'*','Condition':{}")) {
            key.policy = policy("{'Sid':'Open','Effect':'Allow'," + principal + ",'Action':'kms:Decrypt',"
                    + "'Resource':'*'}");
            assertFinding("wide-key-policy", "statement Open of its policy lets everyone in", show, findings());
        }
        for (var statement : List.of("'Effect':'Deny','Principal':'*'", "'Effect':'Allow','Principal':'*','Condition':"
                + "{'StringEquals':{'kms:CallerAccount':'111122223333'}}",
                "'Effect':'Allow','Principal':{'Service':'codecommit.amazonaws.com'}")) {
            key.policy = policy("{" + statement + ",'Action':'kms:Encrypt','Resource':'*'}");
            assertEquals(0, audit().exitCode(), statement);
        }
        key.policy = policy("{'Sid':'Old','Effect':'Allow','Principal':{'AWS':['AROAEXAMPLEEXAMPLE123',"
                + "'111122223333']},'Action':'kms:Decrypt','Resource':'*'}");
        assertFinding("dead-principal", "statement Old of its policy names what was deleted", show, findings());
        assertTrue(finding(findings()).path("message").asText().endsWith(": AROAEXAMPLEEXAMPLE123"));
    }

    /** One key that KMS does not tell about is a row; all others are audited. */
    @ParameterizedTest
    @CsvSource({"kms:DescribeKey, the key could not be read", "kms:GetKeyPolicy, its policy could not be read",
        "kms:GetKeyRotationStatus, its rotation could not be read"})
    void aKeyThatIsDeniedIsARow(String action, String message) {
        var secret = key("alias/secret");
        secret.policy = policy(denied(action));
        repository("a", secret);
        repository("b", key("alias/codecommit"));
        var run = audit("--require-rotation");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals("incomplete", run.status());
        assertFinding("key-error", message + ": AccessDeniedException: ", null, run);
        assertTrue(finding(run).path("message").asText().endsWith("; this needs " + action + ", by IAM or the key's"
                + " policy"), run.out());
        assertEquals(List.of(), codes(run.json().at("/repositories/1/findings")));
        assertEquals(secret.arn, finding(run).path("kmsKeyId").asText());
    }

    @Test
    void throttlingIsWaitedForAndThenARow() {
        repository("a", key("alias/codecommit"));
        aws.inject(Fault.on("kms:DescribeKey").times(2).throttle());
        aws.inject(Fault.on("codecommit:BatchGetRepositories").times(2).throttle());
        assertEquals(0, audit().exitCode());
        aws.inject(Fault.on("kms:GetKeyPolicy").always().throttle());
        var run = audit();
        assertEquals(3, run.exitCode(), run.err());
        assertTrue(finding(run).path("message").asText().endsWith("; run the same command again"), run.out());
        assertEquals("Enabled", run.json().at("/keys/0/keyState").asText());
    }

    @Test
    void aRepositoryThatCannotBeReadIsARow() {
        aws.codecommit.batchNeedsKey = true;
        repository("good", key("alias/codecommit"));
        var key = key("alias/secret");
        repository("bad", key);
        key.policy = policy(denied("kms:Decrypt"));
        var run = audit();
        assertEquals(3, run.exitCode(), run.err());
        assertFinding("repository-error", "EncryptionKeyAccessDeniedException: ", null, run);
        assertTrue(finding(run).path("message").asText().endsWith("; CodeCommit asks for kms:Decrypt on its key"));
        assertTrue(run.json().at("/repositories/0/kmsKeyId").isNull());
        key.policy = policy();
        key.state = "Disabled";
        assertFinding("key-unusable", "cannot be read: EncryptionKeyDisabledException: ", null, findings());
        key.state = "PendingImport";
        assertFinding("key-unusable", "cannot be read: EncryptionKeyUnavailableException: ", null, findings());
    }

    @Test
    void aRepositoryThatWasDeletedMeanwhileIsARow() {
        var key = key("alias/codecommit");
        repository("a", key);
        repository("b", key);
        aws.inject(Fault.on("codecommit:BatchGetRepositories")
                .hold(() -> aws.codecommit.deleteRepository(REGION, "a")));
        var run = audit();
        assertEquals(3, run.exitCode(), run.err());
        assertFinding("repository-error", "deleted or renamed since the repositories were listed", null, run);
    }

    @Test
    void aFailedCallLosesItsRepositoriesAlone() {
        var key = key("alias/codecommit");
        for (var i = 0; i < 60; i++) repository("r%02d".formatted(i), key);
        aws.inject(Fault.on("codecommit:BatchGetRepositories").error(400, "AccessDeniedException", "not that one"));
        var run = audit("--jobs", "1");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(25, run.json().path("findings").size());
        assertEquals(35, run.json().at("/keys/0/repositories").asInt());
        aws.inject(Fault.on("codecommit:BatchGetRepositories").always().error(400, "AccessDeniedException", "none"));
        run = audit();
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("no repository could be read: AccessDeniedException: none"), run.err());
    }

    @Test
    void whatCannotBeListedFails() {
        repository("a", key("alias/codecommit"));
        for (var call : List.of("codecommit:ListRepositories", "kms:ListAliases")) {
            aws.inject(Fault.on(call).error(400, "AccessDeniedException", "not allowed to " + call));
            var run = audit("--output", "csv");
            assertEquals(1, run.exitCode());
            assertEquals("", run.out());
            assertTrue(run.err().contains("not allowed to " + call), run.err());
        }
    }

    @Test
    void auditsTheRepositoriesThatAreNamed() {
        var key = key("alias/codecommit");
        List.of("team-a", "team-b", "other").forEach(name -> repository(name, key));
        aws.codecommit.repositoriesPerPage = 2;
        assertEquals("team-a team-b", names(audit("--repository-names", "team-?")));
        assertEquals("other team-b", names(audit("--exclude", "*-a")));
        var run = audit("--repository-names", "other", "absent");
        assertEquals(3, run.exitCode());
        assertFinding("repository-error", "there is no such repository in eu-west-1", null, run);
        run = audit("--repository-names", "absent");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("no repository of eu-west-1 is one of --repository-names absent"), run.err());
    }

    static String names(Script.Run run) {
        assertEquals(0, run.exitCode(), run.err());
        return run.json().path("repositories").valueStream().map(each -> each.path("repositoryName").asText())
                .collect(Collectors.joining(" "));
    }

    @Test
    void thousandsOfRepositoriesAskForEachKeyOnce() {
        var keys = IntStream.range(0, 12).mapToObj(i -> key("alias/team-" + i)).toList();
        for (var i = 0; i < 5_000; i++) repository("r%04d".formatted(i), keys.get(i % 12));
        keys.get(3).rotationPeriod = 0;
        aws.kms.pageSize = 10;
        var run = findings("--require-customer-managed", "--require-rotation");
        assertEquals(5_000, run.json().path("repositories").size());
        assertEquals(12, run.json().path("keys").size());
        assertEquals("rotation-off", finding(run).path("code").asText());
        assertEquals(417, run.json().path("repositories").valueStream()
                .filter(repository -> !repository.path("findings").isEmpty()).count());
        assertEquals(1, run.err().lines().count());
        var counts = aws.calls().stream().collect(Collectors.groupingBy(Call::name, TreeMap::new,
                Collectors.counting()));
        assertEquals(Map.of("codecommit:BatchGetRepositories", 200L, "codecommit:ListRepositories", 5L,
                "kms:DescribeKey", 12L, "kms:GetKeyPolicy", 12L, "kms:GetKeyRotationStatus", 12L,
                "kms:ListAliases", 2L, "sts:GetCallerIdentity", 1L), counts);
    }

    @Test
    void printsATableForPeopleAndCsvForSpreadsheets() {
        var key = key("alias/codecommit");
        key.rotationPeriod = 0;
        repository("payments", key);
        var other = key("alias/other");
        other.state = "Disabled";
        repository("website", other);
        var args = List.of("--require-rotation", "--output");
        var table = audit(with(args, "table"));
        assertEquals(4, table.exitCode());
        assertEquals("""
                repositoryName  key               keyManager  keyState  rotation  findings
                payments        alias/codecommit  CUSTOMER    Enabled   off       rotation-off
                website         alias/other       CUSTOMER    Disabled  365       key-unusable
                """, table.out());
        assertTrue(table.err().endsWith("audit-encryption: findings, repositories: 2, keys: 2, findings: 2\n"),
                table.err());
        var csv = audit(with(args, "csv"));
        assertEquals(4, csv.exitCode());
        var rows = ListsForPeopleTest.readCsv(csv.out());
        assertEquals("[repositoryName, key, keyManager, keyState, rotation, findings, arn, kmsKeyId, keySpec, origin,"
                + " deletionDate, validTo, error]", rows.get(0).toString());
        assertEquals("[website, alias/other, CUSTOMER, Disabled, 365, key-unusable, "
                + "arn:aws:codecommit:eu-west-1:111122223333:website, " + other.arn
                + ", SYMMETRIC_DEFAULT, AWS_KMS, , , ]", rows.get(2).toString());
        assertEquals(3, rows.size());
    }

    static String[] with(List<String> args, String last) {
        var all = new ArrayList<>(args);
        all.add(last);
        return all.toArray(String[]::new);
    }

    @Test
    void printsAPartOfTheDocument() {
        repository("payments", key("alias/codecommit"));
        assertEquals("audited\n", audit("--print", "/status").out());
        assertEquals("1\n", audit("--print", "/totals/keys").out());
    }

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--repository-names|a/b; such as 'team-*'",
            "--repository-names=; such as 'team-*'",
            "--repository-names|arn:aws:codecommit:eu-west-1:111122223333:x; such as 'team-*'",
            "--repository-names|[ab]; such as 'team-*'",
            "--exclude|a b; such as 'team-*'",
            "--exclude|ü; such as 'team-*'",
            "--max-rotation-days|89; such as 365",
            "--max-rotation-days|2561; such as 365",
            "--max-rotation-days|0; such as 365",
            "--max-rotation-days|-90; such as 365",
            "--max-rotation-days|1y; such as 365",
            "--max-rotation-days|0365; such as 365",
            "--max-rotation-days|99999999999; such as 365",
            "--max-rotation-days=; such as 365",
            "--jobs|0; such as 4",
            "--jobs|65; such as 4",
            "--output|text; must be json, table or csv",
            "--output|TABLE; must be json, table or csv",
            "--output|csv|--print|/status; --print: use it without --output csv",
            "--region|Ireland; such as eu-west-1",
            "--require-rotations; Unknown option: '--require-rotations'",
            "--dry-run; Unknown option: '--dry-run'",
            "payments; Unmatched argument",
    })
    void refusesWrongInputBeforeAnyCall(String args, String right) {
        aws.clearCalls();
        Script.assertRefused(Script.run(new AuditEncryption().commandLine(), args.split("\\|")), right, aws);
    }

    @ParameterizedTest
    @ValueSource(strings = {"90", "99", "100", "999", "1000", "2499", "2500", "2559", "2560"})
    void takesEveryPeriodThatKmsTakes(String days) {
        assertEquals(0, audit("--max-rotation-days", days).exitCode());
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsTheActionsThatItNames() {
        Script.assertIamActions("AuditEncryption", ALL, Set.of("kms:Decrypt"));
    }
}
