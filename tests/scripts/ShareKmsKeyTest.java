import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
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
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsSyncClientBuilder;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.s3.S3Client;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ShareKmsKeyTest {
    static final LocalAws aws = LocalAws.start();
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";
    static final String HOME = LocalAws.ACCOUNT;
    static final String OTHER = LocalAws.BACKUP_ACCOUNT;
    static final String THIRD = "777788889999";
    static final String WRITER = "arn:aws:iam::444455556666:role/BackupWriter";
    static final String READER = "arn:aws:iam::444455556666:role/team/BackupReader";
    /** The seven actions that are shared unless others are given. */
    static final String USE = "[\"kms:Decrypt\",\"kms:DescribeKey\",\"kms:Encrypt\",\"kms:GenerateDataKey\","
            + "\"kms:GenerateDataKeyWithoutPlaintext\",\"kms:ReEncryptFrom\",\"kms:ReEncryptTo\"]";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    @BeforeAll
    static void use() {
        Script.use(aws);
        aws.onCall(ShareKmsKeyTest::remember);
        aws.iam.createRole("Developer");
    }

    /** But for what the tests themselves call as other accounts. */
    static void remember(Call call) {
        if (!call.caller().contains("/session")) ALL.add(call);
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    Kms.Key key;

    @BeforeEach
    void clear() {
        aws.clearFaults();
        aws.clearCalls();
        aws.kms.looksAtOldPolicy = 0;
        key = aws.kms.createKey(REGION);
    }

    static Script.Run run(String... args) {
        return Script.run(new ShareKmsKey().commandLine(), args);
    }

    Script.Run share(String... more) {
        return run(with(more));
    }

    String[] with(String... more) {
        return Stream.concat(Stream.of("--key-id", key.keyId), Stream.of(more)).toArray(String[]::new);
    }

    static ObjectNode read(String text) {
        try {
            return (ObjectNode) JSON.readTree(text);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static void set(Kms.Key key, Consumer<ObjectNode> edit) {
        var policy = read(key.policy);
        edit.accept(policy);
        key.policy = policy.toString();
    }

    static JsonNode statement(Kms.Key key) {
        var own = read(key.policy).path("Statement").valueStream()
                .filter(statement -> statement.path("Sid").asText().equals("KeySharing")).toList();
        assertTrue(own.size() <= 1, key.policy);
        return own.isEmpty() ? JSON.missingNode() : own.get(0);
    }

    JsonNode statement() {
        return statement(key);
    }

    static String texts(JsonNode document, String pointer) {
        return document.at(pointer).valueStream().map(JsonNode::asText).toList().toString();
    }

    static ObjectNode theirs(String sid, String principal) {
        return JSON.createObjectNode().put("Sid", sid).put("Effect", "Allow").put("Action", "kms:Decrypt")
                .put("Resource", "*").set("Principal", JSON.createObjectNode().put("AWS", principal));
    }

    void addStatement(ObjectNode statement) {
        set(key, policy -> policy.withArray("Statement").add(statement));
    }

    static final String CONTRACTOR = """
            {"Sid": "Contractor", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"},
             "Action": ["kms:Decrypt", "kms:DescribeKey"], "Resource": "*",
             "Condition": {"StringEquals": {"kms:EncryptionContext:project": "x"}}}""";

    List<String> keySids() {
        return read(key.policy).path("Statement").valueStream().map(each -> each.path("Sid").asText("")).sorted()
                .toList();
    }

    @Test
    void addsTheStatementsOfAFileMendsThemAndTakesThemAway(@TempDir Path directory) throws IOException {
        var file = Files.writeString(directory.resolve("contractor.json"), CONTRACTOR).toString();
        var before = keySids();
        assertEquals("would-create", share("--policy-file", file, "--dry-run").status());
        assertEquals(before, keySids());
        var alone = share("--policy-file", file);
        assertEquals("created", alone.status(), alone.err());
        assertEquals("", alone.err());
        assertEquals("[\"Contractor\"]", alone.json().at("/key/fileStatements").toString());
        assertTrue(alone.json().path("undo").asText().contains("kms put-key-policy"), alone.out());
        aws.clearCalls();
        Script.assertUnchanged(share("--policy-file", file), aws);
        var both = share("--policy-file", file, "--account-ids", OTHER);
        assertEquals("updated", both.status(), both.err());
        assertTrue(keySids().containsAll(List.of("Contractor", "KeySharing")), key.policy);
        assertEquals("unchanged", share("--account-ids", OTHER).status(), "what is not given stays as it is");
        set(key, policy -> policy.withArray("Statement").forEach(each -> {
            if (each.path("Sid").asText().equals("Contractor")) {
                ((ObjectNode) each).remove("Condition");
            }
        }));
        assertEquals("updated", share("--policy-file", file).status());
        assertTrue(key.policy.contains("kms:EncryptionContext:project"), key.policy);
        var kept = statement();
        assertEquals("updated", share("--policy-file", file, "--remove").status());
        assertEquals(ShareKmsKey.meaning(kept), ShareKmsKey.meaning(statement()), "that is for --account-ids");
        assertFalse(keySids().contains("Contractor"), key.policy);
        assertEquals("unchanged", share("--policy-file", file, "--remove").status());
        assertEquals("deleted", share("--policy-file", file, "--remove", "--account-ids", OTHER).status());
        assertEquals(before, keySids());
    }

    @Test
    void aFileThatWouldLockOutOrIsForOtherOptionsIsRefused(@TempDir Path directory) throws IOException {
        var file = directory.resolve("policy.json");
        for (var refused : List.of(List.of("Contractor", "KeySharing", "which the other options give"),
                List.of("Contractor", "AccountAdministration", "which create-kms-key gives"),
                List.of("\"kms:Decrypt\"", "\"s3:GetObject\"", "such as kms:Decrypt"))) {
            Files.writeString(file, CONTRACTOR.replace(refused.get(0), refused.get(1)));
            Script.assertRefused(share("--policy-file", file.toString()), refused.get(2), aws);
        }
        Files.writeString(file, """
                {"Sid": "Nobody", "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}""");
        Script.assertRefused(share("--policy-file", file.toString()), "must leave someone", aws);
        Files.writeString(file, """
                {"Sid": "Nobody", "Effect": "Deny", "Principal": {"AWS": "111122223333"}, "Action": "kms:Put*",
                 "Resource": "*"}""");
        var before = key.policy;
        var run = share("--policy-file", file.toString());
        assertEquals(1, run.exitCode());
        assertTrue(run.err().contains("would let no one of 111122223333 change it again"), run.err());
        assertEquals(before, key.policy);
    }

    @Test
    void sharesWithAccountsByOneStatementAndPrintsTheirPolicy() {
        var run = share("--account-ids", OTHER, THIRD, "--organization-id", "o-a1b2c3d4e5");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("", run.err());
        assertEquals("created", run.status());
        assertEquals(HOME, run.json().path("account").asText());
        assertEquals(key.arn, run.json().at("/key/keyArn").asText());
        assertEquals("[444455556666, 777788889999]", texts(run.json(), "/key/accountIds"));
        assertEquals("[]", texts(run.json(), "/key/roleArns"));
        assertEquals("[Enable IAM User Permissions]", texts(run.json(), "/key/otherStatements"));
        assertEquals(read("""
                {"Sid": "KeySharing", "Effect": "Allow",
                 "Principal": {"AWS": ["arn:aws:iam::444455556666:root", "arn:aws:iam::777788889999:root"]},
                 "Action": %s, "Resource": "*",
                 "Condition": {"StringEquals": {"aws:PrincipalOrgID": ["o-a1b2c3d4e5"]}}}""".formatted(USE)),
                statement());
        assertEquals(read("""
                {"Version": "2012-10-17", "Statement": [{"Sid": "UseSharedKey", "Effect": "Allow",
                 "Action": %s, "Resource": "%s"}]}""".formatted(USE, key.arn)), run.json().path("identityPolicy"));
        var change = run.json().at("/changes/0");
        assertEquals("policy", change.path("field").asText());
        assertEquals("Enable IAM User Permissions", change.at("/from/Statement/Sid").asText());
        assertEquals(2, change.at("/to/Statement").size());
        assertTrue(run.json().path("undo").asText().startsWith("aws kms put-key-policy --cli-input-json '{\"KeyId\":\""
                + key.keyId + "\",\"Policy\":\""), run.out());
    }

    @Test
    void narrowsAnAccountToItsRoles() {
        var run = share("--role-arns", WRITER, READER, "--via-services", "s3", "--actions", "kms:GenerateDataKey",
                "kms:Decrypt");
        assertEquals("created", run.status(), run.err());
        assertEquals("share-kms-key: " + key.keyId + ": nothing but the account id keeps strangers out; check " + OTHER
                + ", or use --organization-id\n", run.err());
        assertEquals(read("""
                {"Sid": "KeySharing", "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::444455556666:root"]},
                 "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*",
                 "Condition": {"ArnLike": {"aws:PrincipalArn": ["%s", "%s"]},
                               "StringEquals": {"kms:ViaService": ["s3.eu-west-1.amazonaws.com"]}}}"""
                .formatted(WRITER, READER)), statement());
        assertEquals("[" + WRITER + ", " + READER + "]", texts(run.json(), "/key/roleArns"));
        assertEquals(read("""
                {"Version": "2012-10-17", "Statement": [{"Sid": "UseSharedKey", "Effect": "Allow",
                 "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "%s",
                 "Condition": {"StringEquals": {"kms:ViaService": ["s3.eu-west-1.amazonaws.com"]}}}]}"""
                .formatted(key.arn)), run.json().path("identityPolicy"));
    }

    @Test
    void aSecondRunChangesNothing() {
        for (var arguments : List.of(new String[] {"--account-ids", THIRD, OTHER, OTHER},
                new String[] {"--role-arns", WRITER, "arn:aws:iam::777788889999:role/X", "--via-services", "s3",
                        "codecommit", "--organization-id", "o-a1b2c3d4e5", "--actions", "kms:Decrypt"})) {
            assertFalse(share(arguments).status().equals("unchanged"));
            aws.clearCalls();
            var second = share(arguments);
            Script.assertUnchanged(second, aws);
            assertEquals("", second.err());
            assertFalse(second.json().path("identityPolicy").isMissingNode(), "it is printed each time");
        }
        aws.clearCalls();
        Script.assertUnchanged(share("--role-arns", WRITER), aws);
        assertEquals("[\"kms:Decrypt\"]", statement().path("Action").toString(), "what is not given stays");
    }

    @Test
    void theKeyIsNamedByIdArnOrAlias() {
        aws.kms.createAlias(REGION, "alias/shared", key);
        for (var id : List.of(key.keyId, key.arn, "alias/shared", "arn:aws:kms:eu-west-1:111122223333:alias/shared"))
            assertEquals(key.arn, run("--key-id", id, "--account-ids", OTHER, "--print", "/key/keyArn").out().strip());
    }

    @Test
    void aDryRunReadsOnlyAndPrintsThePolicy() {
        var before = key.policy;
        var planned = share("--account-ids", OTHER, "--dry-run");
        assertEquals(0, planned.exitCode(), planned.err());
        assertEquals("would-create", planned.status());
        assertEquals("[Enable IAM User Permissions, KeySharing]", planned.json().at("/key/policy/Statement")
                .valueStream().map(statement -> statement.path("Sid").asText()).toList().toString());
        assertEquals(key.arn, planned.json().at("/identityPolicy/Statement/0/Resource").asText());
        assertFalse(planned.json().has("undo"));
        assertEquals(before, key.policy);
        Script.assertReadsOnly(aws);
        share("--account-ids", OTHER, THIRD);
        aws.clearCalls();
        assertEquals("would-update", share("--account-ids", THIRD, "--remove", "--dry-run").status());
        assertEquals("would-delete", share("--account-ids", THIRD, OTHER, "--remove", "--dry-run").status());
        Script.assertReadsOnly(aws);
    }

    @Test
    void addsToThoseThatAreThereAndOfAnAccountTheLastFormCounts() {
        share("--account-ids", OTHER);
        assertEquals("updated", share("--account-ids", THIRD).status());
        assertEquals("[arn:aws:iam::444455556666:root, arn:aws:iam::777788889999:root]",
                texts(statement(), "/Principal/AWS"));
        var narrowed = share("--role-arns", WRITER);
        assertEquals("[777788889999]", texts(narrowed.json(), "/key/accountIds"));
        assertEquals("[" + WRITER + "]", texts(narrowed.json(), "/key/roleArns"));
        assertEquals("[arn:aws:iam::777788889999:*, " + WRITER + "]",
                texts(statement(), "/Condition/ArnLike/aws:PrincipalArn"));
        aws.clearCalls();
        Script.assertUnchanged(share("--account-ids", THIRD), aws);
        var wide = share("--account-ids", OTHER);
        assertEquals("[444455556666, 777788889999]", texts(wide.json(), "/key/accountIds"));
        assertFalse(statement().has("Condition"), statement().toString());
    }

    @Test
    void mendsWhatItOwnsAndKeepsWhatOthersAdded() {
        share("--role-arns", WRITER, "--via-services", "s3");
        var right = statement();
        addStatement(theirs("Theirs", "arn:aws:iam::111122223333:role/Developer"));
        List<Consumer<ObjectNode>> edits = List.of(s -> s.put("Action", "kms:*"), s -> s.remove("Condition"),
                s -> s.put("Effect", "Deny"), s -> s.withObject("/Principal").put("AWS", "*"),
                s -> s.put("Resource", key.arn), s -> s.withObject("/Condition").remove("ArnLike"),
                s -> s.withObject("/Condition/StringEquals").put("kms:ViaService", "ec2.eu-west-1.amazonaws.com"));
        for (var edit : edits) {
            set(key, policy -> policy.path("Statement").forEach(statement -> {
                if (statement.path("Sid").asText().equals("KeySharing")) edit.accept((ObjectNode) statement);
            }));
            assertFalse(right.equals(statement()));
            var mended = share("--role-arns", WRITER, "--via-services", "s3");
            assertEquals("updated", mended.status(), mended.err());
            assertEquals(right, statement());
            assertEquals("[Enable IAM User Permissions, Theirs]", texts(mended.json(), "/key/otherStatements"));
            assertTrue(key.policy.contains("\"Theirs\""), key.policy);
        }
    }

    @Test
    void furtherConditionsOfItsStatementStayAndAreNamed() {
        share("--account-ids", OTHER, "--via-services", "s3");
        set(key, policy -> policy.path("Statement").forEach(statement -> {
            if (statement.path("Sid").asText().equals("KeySharing"))
                ((ObjectNode) statement).withObject("/Condition/Bool").put("aws:SecureTransport", "true");
        }));
        var run = share("--account-ids", THIRD);
        assertEquals("updated", run.status());
        assertTrue(run.err().contains("kept conditions of the statement KeySharing that are not this script's: Bool "
                + "aws:SecureTransport\n"), run.err());
        assertEquals("true", statement().at("/Condition/Bool/aws:SecureTransport").asText());
        assertEquals("s3.eu-west-1.amazonaws.com", statement().at("/Condition/StringEquals").path("kms:ViaService")
                .asText(), "as KMS shows it");
    }

    @Test
    void takesTheGivenAwayAndTheStatementWithTheLast() {
        var before = read(key.policy);
        share("--account-ids", THIRD);
        share("--role-arns", WRITER, READER);
        var first = share("--role-arns", READER, "--remove");
        assertEquals("updated", first.status());
        assertEquals("[" + WRITER + "]", texts(first.json(), "/key/roleArns"));
        assertEquals("[]", texts(first.json(), "/key/grants"));
        assertEquals("updated", share("--account-ids", THIRD, "--remove").status());
        assertEquals("arn:aws:iam::444455556666:root", statement().at("/Principal/AWS/0").asText());
        var last = share("--account-ids", OTHER, "--remove");
        assertEquals("deleted", last.status(), "with all of its roles");
        assertEquals("", last.err());
        assertFalse(last.json().has("identityPolicy"));
        assertFalse(last.json().path("key").has("statement"));
        assertEquals(before.path("Statement").size(), read(key.policy).path("Statement").size());
        assertTrue(statement().isMissingNode());
        aws.clearCalls();
        Script.assertUnchanged(share("--account-ids", OTHER, "--remove"), aws);
        assertTrue(last.json().path("undo").asText().contains("KeySharing"));
    }

    @Test
    void takesSeveralAfterOneOptionAndRepeatsOfIt() {
        assertEquals("created", share("--account-ids", OTHER, "--account-ids", THIRD).status());
        assertEquals("[\"" + OTHER + "\",\"" + THIRD + "\"]",
                share("--account-ids", THIRD, OTHER, OTHER).json().at("/key/accountIds").toString());
    }

    @Test
    void aRoleIsNotTakenOutOfAWholeAccount() {
        share("--account-ids", OTHER);
        aws.clearCalls();
        var run = share("--role-arns", WRITER, "--remove");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("it is shared with all of " + OTHER + ", not with " + WRITER + " alone: withdraw"
                + " it with --account-ids " + OTHER + " --remove"), run.err());
        Script.assertReadsOnly(aws);
    }

    @Test
    void aWithdrawalLeavesAndNamesStatementsAndGrants() {
        share("--account-ids", OTHER);
        addStatement(theirs("Allow use by another account", "arn:aws:iam::444455556666:root"));
        addStatement(theirs("Third", "arn:aws:iam::777788889999:root"));
        set(key, policy -> policy.withArray("Statement").addObject().put("Sid", "Everybody").put("Effect", "Allow")
                .put("Principal", "*").put("Action", "kms:Decrypt").put("Resource", "*").withObject("/Condition")
                .withObject("/StringEquals").put("kms:CallerAccount", HOME));
        set(key, policy -> policy.withArray("Statement").addObject().put("Sid", "Denied").put("Effect", "Deny")
                .put("Principal", "*").put("Action", "kms:ScheduleKeyDeletion").put("Resource", "*"));
        for (var grantee : List.of(WRITER, "arn:aws:iam::777788889999:role/X", "arn:aws:iam::111122223333:role/Y",
                "arn:aws:sts::444455556666:assumed-role/BackupWriter/me", "arn:aws:iam::444455556666:root"))
            key.grants.add(new Kms.Grant("grant-" + key.grants.size(), grantee, List.of("Decrypt", "Encrypt")));
        var run = share("--account-ids", OTHER, "--remove");
        assertEquals("deleted", run.status());
        var named = "share-kms-key: " + key.keyId + ": ";
        assertEquals(named + "other statements of its policy still are for 444455556666 or for everybody: Allow use by"
                + " another account, Everybody\n"
                + named + WRITER + " still has a grant; revoke it with: aws kms revoke-grant --key-id " + key.arn
                + " --grant-id grant-0 --region eu-west-1\n"
                + named + "arn:aws:sts::444455556666:assumed-role/BackupWriter/me still has a grant; revoke it with:"
                + " aws kms revoke-grant --key-id " + key.arn + " --grant-id grant-3 --region eu-west-1\n"
                + named + "arn:aws:iam::444455556666:root still has a grant; revoke it with: aws kms revoke-grant"
                + " --key-id " + key.arn + " --grant-id grant-4 --region eu-west-1\n", run.err());
        assertEquals(List.of("grant-0", "grant-3", "grant-4"), run.json().at("/key/grants").valueStream()
                .map(grant -> grant.path("grantId").asText()).toList());
        assertEquals("[Decrypt, Encrypt]", texts(run.json(), "/key/grants/0/operations"));
        assertEquals(5, read(key.policy).path("Statement").size());
        assertEquals(run.err(), share("--account-ids", OTHER, "--remove").err(), "each time");
    }

    @Test
    void aWithdrawalThatCannotListTheGrantsSaysWhatIsDone() {
        share("--account-ids", OTHER);
        aws.inject(Fault.on("kms:ListGrants").error(400, "AccessDeniedException", "no kms:ListGrants for you"));
        var run = share("--account-ids", OTHER, "--remove");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("no kms:ListGrants for you") && run.err().contains("; changed before that: "
                + "policy"), run.err());
        assertTrue(statement().isMissingNode(), "the withdrawal itself comes first");
    }

    @Test
    void aDisabledKeyIsWithdrawnAndNotShared() {
        share("--account-ids", OTHER);
        key.state = "Disabled";
        assertFails("aws kms enable-key --key-id " + key.keyId, "--account-ids", THIRD);
        assertEquals("deleted", share("--account-ids", OTHER, "--remove").status());
    }

    @Test
    void refusesAKeyThatCannotBeShared() {
        assertFails("no key alias/nothing-here in eu-west-1", 1,
                run("--key-id", "alias/nothing-here", "--account-ids", OTHER));
        key.keySpec = "RSA_2048";
        assertFails("needs SYMMETRIC_DEFAULT", "--account-ids", OTHER);
        key.keySpec = "SYMMETRIC_DEFAULT";
        key.manager = "AWS";
        assertFails("is managed by AWS", "--account-ids", OTHER);
        key.manager = "CUSTOMER";
        key.state = "PendingDeletion";
        key.deletion = Instant.now();
        for (var more : List.of(new String[] {"--account-ids", OTHER},
                new String[] {"--account-ids", OTHER, "--remove"}))
            assertFails("aws kms cancel-key-deletion --key-id " + key.keyId, more);
    }

    @Test
    void refusesTheKeysOwnAccountAnotherAccountsKeyAndAnotherPartition() {
        assertFails(HOME + " is the account of the key", "--account-ids", OTHER, HOME);
        assertFails(HOME + " is the account of the key", "--role-arns", "arn:aws:iam::111122223333:role/Developer");
        assertFails("is of another partition than these credentials, aws", "--role-arns",
                "arn:aws-cn:iam::444455556666:role/BackupWriter");
        var foreign = aws.account(OTHER).kms.createKey(REGION);
        assertFails("is of another account than these credentials", 1, run("--key-id", foreign.arn, "--account-ids",
                THIRD));
    }

    void assertFails(String saying, String... more) {
        aws.clearCalls();
        assertFails(saying, 1, share(more));
    }

    static void assertFails(String saying, int lines, Script.Run run) {
        assertEquals(1, run.exitCode(), run.out());
        assertEquals("", run.out());
        assertEquals(lines, run.err().lines().count(), run.err());
        assertTrue(run.err().contains(saying), run.err());
        Script.assertReadsOnly(aws);
    }

    /** Statements that KMS has kept and does not take back, and what is said of them; in a dry run too. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "'Principal':{'AWS':'AROAIOSFODNN7EXAMPLE'},'Action':'kms:Decrypt','Resource':'*'; "
                    + "names AROAIOSFODNN7EXAMPLE, which was deleted",
            "'Principal':{'AWS':['arn:aws:iam::111122223333:role/Developer','AIDAIOSFODNN7EXAMPLE']},"
                    + "'Action':'kms:Decrypt','Resource':'*'; names AIDAIOSFODNN7EXAMPLE, which was deleted",
            "'NotPrincipal':{'AWS':'AROAIOSFODNN7EXAMPLE'},'Action':'kms:Decrypt','Resource':'*'; "
                    + "names AROAIOSFODNN7EXAMPLE",
            "'Principal':{'AWS':'111122223333'},'Resource':'*'; has no Action",
            "'Principal':{'AWS':'111122223333'},'Action':'kms:Decrypt'; has no Resource"})
    void namesTheStatementThatKmsWouldNotTakeBack(String members, String says) {
        addStatement(read("{'Sid':'Old','Effect':'Allow',%s}".formatted(members).replace('\'', '"')));
        var before = key.policy;
        for (var more : List.of(new String[] {"--account-ids", OTHER},
                new String[] {"--account-ids", OTHER, "--dry-run"})) {
            assertFails("KMS takes no change of this policy as long as its statement Old " + says, more);
            assertEquals(before, key.policy);
        }
        assertFails("aws kms put-key-policy --policy-name default --policy file://policy.json --key-id " + key.keyId,
                "--account-ids", OTHER);
        aws.clearCalls();
        Script.assertUnchanged(share("--account-ids", OTHER, "--remove"), aws);
    }

    @Test
    void refusesAPolicyThatIsTooLong() {
        addStatement(theirs("x".repeat(32_300), "111122223333"));
        assertFails("bytes, and KMS takes 32768", "--account-ids", OTHER, "--dry-run");
    }

    @Test
    void twoStatementsOfItsSidAreShownAndLeftToTheOperator() {
        addStatement(theirs("KeySharing", "arn:aws:iam::444455556666:root"));
        addStatement(theirs("KeySharing", "arn:aws:iam::777788889999:root"));
        for (var remove : new String[][] {{}, {"--remove"}}) {
            var more = Stream.concat(Stream.of("--account-ids", OTHER), Stream.of(remove)).toArray(String[]::new);
            assertFails("its policy has 2 statements with the Sid KeySharing", more);
            var said = share(more).err();
            assertTrue(said.contains("444455556666") && said.contains("777788889999"), said);
        }
    }

    @Test
    void saysThatAnAccountMayNotExist() {
        var before = key.policy;
        var run = share("--account-ids", "000000000000");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("MalformedPolicyDocumentException") && run.err().contains("; KMS takes no account"
                + " that does not exist") && run.err().contains("check 000000000000"), run.err());
        assertEquals(before, key.policy);
    }

    @Test
    void warnsOfGrantsThatOutliveAWithdrawal() {
        var run = share("--account-ids", OTHER, "--actions", "kms:CreateGrant", "--organization-id", "o-a1b2c3d4e5");
        assertEquals(0, run.exitCode());
        assertTrue(run.err().contains("with kms:CreateGrant others may give themselves grants, which outlive a"), run
                .err());
    }

    @Test
    void theOtherKeysOfAMultiRegionKeyAreNamedAndStayAsTheyAre() {
        key = aws.kms.createMultiRegionKey(REGION, "eu-west-2", "us-east-1");
        var replica = aws.kms.find(key.keyId, "us-east-1");
        var before = replica.policy;
        var run = share("--account-ids", OTHER);
        assertEquals("created", run.status());
        var others = aws.kms.find(key.keyId, "eu-west-2").arn + ", " + replica.arn;
        assertEquals("[" + others + "]", texts(run.json(), "/key/otherKeyArns"));
        assertTrue(run.err().contains("a multi-Region key, whose other keys have policies of their own; share or"
                + " withdraw each of them, with its --region: " + others + "\n"), run.err());
        assertEquals(before, replica.policy);
        var there = share("--account-ids", OTHER, "--region", "us-east-1");
        assertEquals("created", there.status());
        assertTrue(there.err().contains(key.arn + ", " + aws.kms.find(key.keyId, "eu-west-2").arn), there.err());
    }

    @Test
    void buildsArnsAndServicesOfTheCallersPartition() {
        for (var region : List.of("cn-north-1", "us-gov-west-1")) {
            var partition = region.startsWith("cn") ? "aws-cn" : "aws-us-gov";
            key = aws.kms.createKey(region);
            var run = share("--region", region, "--role-arns", "arn:" + partition + ":iam::444455556666:role/X",
                    "--via-services", "s3");
            assertEquals("created", run.status(), run.err());
            assertEquals("arn:" + partition + ":iam::444455556666:root", statement().at("/Principal/AWS/0").asText());
            assertEquals("s3." + region + ".amazonaws.com",
                    statement().at("/Condition/StringEquals").path("kms:ViaService").path(0).asText());
        }
    }

    // ---- Others at the same time, and what KMS shows late

    @Test
    void waitsUntilKmsShowsTheChange() {
        aws.kms.looksAtOldPolicy = 3;
        var run = share("--account-ids", OTHER);
        assertEquals("created", run.status(), run.err());
        assertEquals(List.of("kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:GetKeyPolicy",
                "kms:GetKeyPolicy", "kms:GetKeyPolicy", "kms:GetKeyPolicy"),
                aws.calls().stream().map(Call::name).filter(name -> name.startsWith("kms:")).toList());
        aws.kms.looksAtOldPolicy = Integer.MAX_VALUE;
        var script = new ShareKmsKey();
        script.newsPatience = Duration.ZERO;
        var late = Script.run(script.commandLine(), with("--account-ids", THIRD));
        assertEquals(1, late.exitCode());
        assertTrue(late.err().contains("KMS still shows the old key policy") && late.err().contains("; changed before"
                + " that: policy"), late.err());
    }

    /** Runs it, and lets something happen right after each of its first so many changes. */
    Script.Run whileOthersWrite(int times, Runnable step, String... more) {
        var left = new int[] {times};
        var run = Gate.inStep(aws, call -> {
            remember(call);
            if (call.name().equals("kms:PutKeyPolicy") && left[0]-- > 0) step.run();
        }, () -> share(more));
        aws.onCall(ShareKmsKeyTest::remember);
        return run;
    }

    /** Another operator read the policy before this run changed it, and writes afterwards. */
    @Test
    void changesAgainWhatAnotherOperatorHasOverwritten() {
        addStatement(theirs("Theirs", "arn:aws:iam::111122223333:role/Developer"));
        var before = key.policy;
        share("--account-ids", THIRD);
        var othersShare = key.policy;
        key.policy = before;
        var run = whileOthersWrite(1, () -> key.policy = othersShare, "--account-ids", OTHER);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("updated", run.status(), "the statement is the other operator's now");
        assertTrue(run.err().contains("someone else changed the key policy at the same time; changing it again"), run
                .err());
        assertEquals("[444455556666, 777788889999]", texts(run.json(), "/key/accountIds"));
        assertEquals("[arn:aws:iam::444455556666:root, arn:aws:iam::777788889999:root]",
                texts(statement(), "/Principal/AWS"));
        assertTrue(key.policy.contains("\"Theirs\""));
        assertEquals(1, run.json().path("changes").size());
        assertTrue(run.json().path("undo").asText().contains(THIRD), "it brings back what the other one made");
    }

    @Test
    void namesOthersStatementsThatVanishedAtTheSameTime() {
        var before = key.policy;
        addStatement(theirs("Theirs", "arn:aws:iam::111122223333:role/Developer"));
        var run = whileOthersWrite(1, () -> key.policy = before, "--account-ids", OTHER);
        assertEquals("created", run.status(), run.err());
        assertTrue(run.err().contains("these statements of it are gone: [{\"Sid\":\"Theirs\",\"Effect\":\"Allow\""),
                run.err());
        assertEquals("[arn:aws:iam::444455556666:root]", texts(statement(), "/Principal/AWS"));
        assertFalse(key.policy.contains("\"Theirs\""), "whoever took it away may have meant it");
    }

    @Test
    void givesWayToOthersThatKeepWriting() {
        var before = key.policy;
        var times = new int[1];
        var run = whileOthersWrite(Integer.MAX_VALUE, () -> set(key, policy -> {
            policy.removeAll().setAll(read(before));
            policy.withArray("Statement").add(theirs("Theirs" + ++times[0], HOME));
        }), "--account-ids", OTHER);
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("others keep changing the key policy at the same time; run the same command"
                + " again"), run.err());
        assertEquals(5, times[0]);
    }

    /** The fifth attempt counts if it holds. */
    @Test
    void outlivesOthersThatWriteFourTimes() {
        var before = key.policy;
        var times = new int[1];
        var run = whileOthersWrite(4, () -> set(key, policy -> {
            policy.removeAll().setAll(read(before));
            policy.withArray("Statement").add(theirs("Theirs" + ++times[0], HOME));
        }), "--account-ids", OTHER);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals("[arn:aws:iam::444455556666:root]", texts(statement(), "/Principal/AWS"));
        assertTrue(key.policy.contains("\"Theirs4\""), key.policy);
    }

    @Test
    void aLostAnswerIsNoFailure() {
        aws.inject(Fault.on("kms:PutKeyPolicy").loseAnswer());
        assertEquals("created", share("--account-ids", OTHER).status());
        aws.inject(Fault.on("kms:PutKeyPolicy").always().loseAnswer());
        var run = share("--account-ids", THIRD);
        assertEquals("updated", run.status(), run.err());
        assertEquals(2, statement().at("/Principal/AWS").size());
    }

    @ParameterizedTest
    @ValueSource(strings = {"sts:GetCallerIdentity", "kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy",
            "kms:ListGrants"})
    void throttlingIsSurvived(String call) {
        share("--account-ids", OTHER, THIRD);
        aws.inject(Fault.on(call).times(2).throttle());
        var run = share("--account-ids", OTHER, "--remove");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("updated", run.status());
    }

    @ParameterizedTest
    @CsvSource({"kms:DescribeKey, 500", "kms:GetKeyPolicy, 500", "kms:PutKeyPolicy, 500", "kms:DescribeKey, cut",
            "kms:GetKeyPolicy, cut", "kms:DescribeKey, flip", "kms:GetKeyPolicy, flip"})
    void anyOtherFaultLeavesThePolicyAsItWas(String call, String fault) {
        var before = key.policy;
        aws.inject(switch (fault) {
            case "500" -> Fault.on(call).always().serverError();
            case "cut" -> Fault.on(call).always().cut(20);
            default -> Fault.on(call).always().flip(1);
        });
        var run = share("--account-ids", OTHER, "--organization-id", "o-a1b2c3d4e5");
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertEquals(before, key.policy);
    }

    @Test
    void aDeniedChangeIsOneLine() {
        aws.inject(Fault.on("kms:PutKeyPolicy").error(400, "AccessDeniedException", "no kms:PutKeyPolicy for you"));
        var run = share("--account-ids", OTHER, "--organization-id", "o-a1b2c3d4e5");
        assertEquals(1, run.exitCode());
        assertTrue(run.err().startsWith("share-kms-key: " + key.keyId + ": AccessDeniedException: no kms:PutKeyPolicy "
                + "for you"), run.err());
        assertEquals(1, run.err().lines().count());
    }

    // ---- What it is good for: really called, by roles of another account

    /** The account that owns the key, and the one that uses it. */
    record Direction(String owner, String user) {
        String role(String name) {
            return "arn:aws:iam::" + user + ":role/" + name;
        }

        Kms.Key newKey() {
            return aws.account(owner).kms.createKey(REGION);
        }

        /** A role with this policy alone, made anew. */
        void createRole(String name, JsonNode policy) {
            var role = aws.account(user).iam.createRole(name);
            if (policy != null) role.inline.put("Use", policy.toString());
        }
    }

    static <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder, String arn) {
        return SignedIn.client(aws, builder, REGION, arn);
    }

    /** As an administrator of the account that owns the key. */
    static Script.Run shareAs(String owner, String... args) {
        var login = aws.as("arn:aws:iam::" + owner + ":user/operator");
        System.setProperty("aws.accessKeyId", login.accessKeyId());
        System.setProperty("aws.secretAccessKey", login.secretAccessKey());
        try {
            var run = run(args);
            assertEquals(0, run.exitCode(), run.err());
            return run;
        } finally {
            Script.use(aws);
        }
    }

    static String encrypt(String role, Kms.Key key) {
        try (var kms = client(KmsClient.builder(), role)) {
            kms.encrypt(r -> r.keyId(key.arn).plaintext(SdkBytes.fromUtf8String("text")));
            kms.describeKey(r -> r.keyId(key.arn));
            return "allowed";
        } catch (AwsServiceException e) {
            return e.awsErrorDetails().errorCode();
        }
    }

    /** Writes an object under the key into a bucket of the role's own account, and reads it. */
    static String throughS3(Direction direction, String role, Kms.Key key) {
        var bucket = "bucket-" + key.keyId;
        if (aws.s3.bucket(bucket) == null) aws.s3.createBucket(bucket, REGION, direction.user());
        try (var s3 = client(S3Client.builder().forcePathStyle(true), role)) {
            s3.putObject(r -> r.bucket(bucket).key("x").serverSideEncryption("aws:kms").ssekmsKeyId(key.arn),
                    RequestBody.fromString("text"));
            assertEquals("text", s3.getObjectAsBytes(r -> r.bucket(bucket).key("x")).asUtf8String());
            return "allowed";
        } catch (AwsServiceException e) {
            return e.awsErrorDetails().errorCode();
        }
    }

    static final String DENIED = "AccessDeniedException";

    @ParameterizedTest
    @CsvSource({HOME + ", " + OTHER, OTHER + ", " + HOME})
    void bothSidesAreNeededAndWhatIsPrintedIsTheOtherOne(String owner, String user) {
        var direction = new Direction(owner, user);
        key = direction.newKey();
        var name = "User" + System.nanoTime();
        direction.createRole(name, null);
        direction.createRole("Half" + name, null);
        assertEquals(DENIED, encrypt(direction.role(name), key), "neither side");
        var run = shareAs(owner, with("--account-ids", user));
        assertEquals(DENIED, encrypt(direction.role(name), key), "the key's side alone");
        direction.createRole("With" + name, run.json().path("identityPolicy"));
        assertEquals("allowed", encrypt(direction.role("With" + name), key));
        shareAs(owner, with("--account-ids", user, "--remove"));
        assertEquals(DENIED, encrypt(direction.role("With" + name), key), "the other side alone");
        var third = aws.account(THIRD).kms.createKey(REGION);
        assertEquals(DENIED, encrypt(direction.role("With" + name), third), "another key");
    }

    @ParameterizedTest
    @CsvSource({HOME + ", " + OTHER, OTHER + ", " + HOME})
    void rolesAndServicesAreHeldTo(String owner, String user) {
        var direction = new Direction(owner, user);
        key = direction.newKey();
        var writer = "Writer" + System.nanoTime();
        var narrow = shareAs(owner, with("--role-arns", direction.role(writer)));
        var policy = (ObjectNode) narrow.json().path("identityPolicy").deepCopy();
        policy.withArray("Statement").addObject().put("Effect", "Allow").put("Action", "s3:*").put("Resource", "*");
        direction.createRole(writer, policy); // after it was let in
        direction.createRole("Other" + writer, policy);
        assertEquals("allowed", encrypt(direction.role(writer), key));
        assertEquals("allowed", throughS3(direction, direction.role(writer), key));
        assertEquals(DENIED, encrypt(direction.role("Other" + writer), key), "the same account, another role");
        assertEquals("AccessDenied", throughS3(direction, direction.role("Other" + writer), key));
        shareAs(owner, with("--role-arns", direction.role(writer), "--via-services", "s3"));
        assertEquals(DENIED, encrypt(direction.role(writer), key), "not through S3");
        assertEquals("allowed", throughS3(direction, direction.role(writer), key));
        shareAs(owner, with("--role-arns", direction.role(writer), "--actions", "kms:GenerateDataKey"));
        assertEquals("AccessDenied", throughS3(direction, direction.role(writer), key), "writes, but cannot read");
        shareAs(owner, with("--role-arns", direction.role(writer), "--remove"));
        assertEquals("AccessDenied", throughS3(direction, direction.role(writer), key));
        assertTrue(statement().isMissingNode());
    }

    @Test
    void theOrganizationIsHeldTo() {
        var direction = new Direction(HOME, OTHER);
        var run = share("--account-ids", OTHER, "--organization-id", "o-a1b2c3d4e5");
        direction.createRole("Stranger", run.json().path("identityPolicy"));
        assertEquals(DENIED, encrypt(direction.role("Stranger"), key), "its account is in no organization");
    }

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--account-ids|444455556666; --key-id=KEY",
            "--key-id|alias/x; --account-ids, --role-arns and --policy-file; for example: ./jbang share-kms-key",
            "--key-id|alias/x|--via-services|s3|--policy-file|/dev/null; must come with --account-ids or --role-arns",
            "--key-id|alias/x|--account-ids|444455556666|--policy-file|/dev/null; must be a policy",
            "--key-id|alias/x|--account-ids|444455556666|--role-arns|arn:aws:iam::444455556666:role/X; "
                    + "mutually exclusive",
            "--key-id|backups|--account-ids|444455556666; alias/codecommit",
            "--key-id|alias/|--account-ids|444455556666; alias/codecommit",
            "--key-id|alias/a b|--account-ids|444455556666; alias/codecommit",
            "--key-id|arn:aws:s3:::bucket|--account-ids|444455556666; alias/codecommit",
            "--key-id|arn:aws:kms:us-east-1:111122223333:alias/x|--account-ids|444455556666; --region us-east-1",
            "--key-id|alias/x|--account-ids|4444; such as 444455556666",
            "--key-id|alias/x|--account-ids|4444-5555-6666; such as 444455556666",
            "--key-id|alias/x|--account-ids|444455556666,777788889999; such as 444455556666",
            "--key-id|alias/x|--account-ids|*; such as 444455556666",
            "--key-id|alias/aws/s3|--account-ids|444455556666; customer managed",
            "--key-id|arn:aws:kms:eu-west-1:111122223333:alias/aws/s3|--account-ids|444455556666; customer managed",
            "--key-id|alias/x|--account-ids|arn:aws:iam::444455556666:root; such as 444455556666",
            "--key-id|alias/x|--account-ids; ACCOUNT",
            "--key-id|alias/x|--role-arns|BackupWriter; arn:aws:iam::111122223333:role/BackupWriter",
            "--key-id|alias/x|--role-arns|arn:aws:iam::444455556666:role/*; "
                    + "arn:aws:iam::111122223333:role/BackupWriter",
            "--key-id|alias/x|--role-arns|arn:aws:iam::444455556666:user/alice; "
                    + "arn:aws:iam::111122223333:role/BackupWriter",
            "--key-id|alias/x|--role-arns|arn:aws:sts::444455556666:assumed-role/X/me; "
                    + "arn:aws:iam::111122223333:role/BackupWriter",
            "--key-id|alias/x|--role-arns|arn:aws:iam::444455556666:role/${aws:username}; "
                    + "arn:aws:iam::111122223333:role/BackupWriter",
            "--key-id|alias/x|--account-ids|444455556666|--via-services|s3.eu-west-1.amazonaws.com; such as s3",
            "--key-id|alias/x|--account-ids|444455556666|--via-services|S3; such as s3",
            "--key-id|alias/x|--account-ids|444455556666|--via-services|*; such as s3",
            "--key-id|alias/x|--account-ids|444455556666|--organization-id|r-abcd; o-a1b2c3d4e5",
            "--key-id|alias/x|--account-ids|444455556666|--organization-id|o-*; o-a1b2c3d4e5",
            "--key-id|alias/x|--account-ids|444455556666|--actions|Decrypt; kms:Decrypt",
            "--key-id|alias/x|--account-ids|444455556666|--actions|kms:*; kms:Decrypt",
            "--key-id|alias/x|--account-ids|444455556666|--actions|kms:PutKeyPolicy; work across accounts",
            "--key-id|alias/x|--account-ids|444455556666|--actions|kms:Sign; work across accounts",
            "--key-id|alias/x|--account-ids|444455556666|--actions|kms:Decrypt|--remove; without --via-services",
            "--key-id|alias/x|--account-ids|444455556666|--via-services|s3|--remove; without --via-services",
            "--key-id|alias/x|--account-ids|444455556666|--organization-id|o-a1b2c3d4e5|--remove; "
                    + "without --via-services",
            "--key-id|alias/x|--account-ids|444455556666|--region|Ireland; eu-west-1",
            "--key-id|alias/x|--account-ids|444455556666|--print|key; /status",
            "--key-id|alias/x|--dryrun|--account-ids|444455556666; --dry-run",
            "--key-id|alias/x|--account-id|444455556666; --account-ids",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        Script.assertRefused(run(arguments.split("\\|")), right, aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("ShareKmsKey", ALL, Set.of());
    }
}
