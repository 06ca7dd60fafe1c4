package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.lambda.LambdaClient;
import software.amazon.awssdk.services.lambda.model.AddPermissionRequest;
import software.amazon.awssdk.services.lambda.model.FunctionConfiguration;
import software.amazon.awssdk.services.lambda.model.Runtime;
import software.amazon.awssdk.services.lambda.model.State;

/** The embedded Lambda, driven by the AWS SDK for Java: functions, versions, aliases, and the policy of each. */
class LambdaTest {
    static final LocalAws aws = LocalAws.start();
    static final String REGION = "eu-west-1";
    static final String ROLE = "arn:aws:iam::111122223333:role/Function";
    static final String REPOSITORY = "arn:aws:codecommit:eu-west-1:111122223333:payments";
    static final AtomicInteger functions = new AtomicInteger();
    static LambdaClient lambda;

    @BeforeAll
    static void connect() {
        lambda = client(AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY));
        aws.iam.createRole("Nobody");
        aws.iam.earlyRoleUses = 0;
        aws.iam.createRole("Function").trust = """
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                 "Principal": {"Service": "lambda.amazonaws.com"}}]}""";
    }

    @AfterAll
    static void stop() {
        lambda.close();
        aws.close();
    }

    static LambdaClient client(AwsCredentials credentials) {
        return LambdaClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(StaticCredentialsProvider.create(credentials))
                .httpClient(UrlConnectionHttpClient.create()).build();
    }

    Lambda.Function function;

    @BeforeEach
    void seed() {
        aws.lambda.pageSize = 3;
        function = aws.lambda.createFunction(REGION, "f" + functions.incrementAndGet());
    }

    static void assertError(int status, String code, String message, Runnable call) {
        var refused = assertThrows(AwsServiceException.class, call::run);
        assertEquals(code, refused.awsErrorDetails().errorCode(), refused.getMessage());
        assertEquals(status, refused.statusCode());
        assertTrue(refused.awsErrorDetails().errorMessage().contains(message), refused.getMessage());
    }

    static void assertInvalid(String message, Runnable call) {
        assertError(400, "InvalidParameterValueException", message, call);
    }

    /** CodeCommit's, for a repository. */
    Consumer<AddPermissionRequest.Builder> permission(String sid, String qualifier) {
        return r -> r.functionName(function.name).qualifier(qualifier).statementId(sid).action("lambda:InvokeFunction")
                .principal("codecommit.amazonaws.com").sourceArn(REPOSITORY).sourceAccount(LocalAws.ACCOUNT);
    }

    static JsonNode json(String text) throws Exception {
        return Models.JSON.readTree(text);
    }

    @Test
    void aNewFunctionIsPendingAndThenActive() {
        var made = lambda.createFunction(r -> r.functionName("made").role(ROLE).runtime(Runtime.PYTHON3_12)
                .handler("index.handler").description("Builds").code(c -> c.zipFile(SdkBytes.fromUtf8String("zip"))));
        assertEquals(State.PENDING, made.state());
        assertEquals("arn:aws:lambda:eu-west-1:111122223333:function:made", made.functionArn());
        var states = IntStream.range(0, 3)
                .mapToObj(i -> lambda.getFunctionConfiguration(r -> r.functionName("made")).state()).toList();
        assertEquals(List.of(State.PENDING, State.ACTIVE, State.ACTIVE), states);
        var shown = lambda.getFunction(r -> r.functionName(made.functionArn())).configuration();
        assertEquals(List.of("made", ROLE, "index.handler", "Builds", "$LATEST", 3L),
                List.of(shown.functionName(), shown.role(), shown.handler(), shown.description(), shown.version(),
                        shown.codeSize()));
        assertError(409, "ResourceConflictException", "Function already exist: made", () -> lambda.createFunction(
                r -> r.functionName("made").role(ROLE).runtime("python3.12").handler("a.b")
                        .code(c -> c.zipFile(SdkBytes.fromUtf8String("zip")))));
        assertInvalid("cannot be assumed by Lambda", () -> lambda.createFunction(
                r -> r.functionName("other").role("arn:aws:iam::111122223333:role/Nobody").runtime("python3.12")
                        .handler("a.b").code(c -> c.zipFile(SdkBytes.fromUtf8String("zip")))));
        assertInvalid("Runtime and Handler are mandatory", () -> lambda.createFunction(r -> r.functionName("other")
                .role(ROLE).code(c -> c.zipFile(SdkBytes.fromUtf8String("zip")))));
    }

    @Test
    void listsFunctionsPageByPage() {
        IntStream.range(0, 4).forEach(i -> aws.lambda.createFunction("us-east-1", "listed" + i));
        try (var there = LambdaClient.builder().endpointOverride(aws.endpoint()).region(Region.US_EAST_1)
                .credentialsProvider(StaticCredentialsProvider.create(LocalAwsTest.RIGHT)).build()) {
            assertEquals(List.of("listed0", "listed1", "listed2", "listed3"), there.listFunctionsPaginator()
                    .functions().stream().map(FunctionConfiguration::functionName).toList());
            assertEquals(1, there.listFunctions(r -> r.maxItems(1)).functions().size());
        }
    }

    @Test
    void versionsAndAliasesAreFoundByTheirQualifiers() {
        assertEquals("1", lambda.publishVersion(r -> r.functionName(function.name)).version());
        var alias = lambda.createAlias(r -> r.functionName(function.name).name("live").functionVersion("1"));
        assertEquals(function.arn + ":live", alias.aliasArn());
        var shown = lambda.getFunctionConfiguration(r -> r.functionName(function.name).qualifier("live"));
        assertEquals(List.of(function.arn + ":live", "1"), List.of(shown.functionArn(), shown.version()));
        assertEquals(function.arn + ":1",
                lambda.getFunctionConfiguration(r -> r.functionName(function.arn + ":1")).functionArn());
        for (var missing : List.of("2", "test")) {
            assertError(404, "ResourceNotFoundException", "Function not found: " + function.arn + ":" + missing,
                    () -> lambda.getFunctionConfiguration(r -> r.functionName(function.name).qualifier(missing)));
        }
        assertError(409, "ResourceConflictException", "Alias already exists", () -> lambda
                .createAlias(r -> r.functionName(function.name).name("live").functionVersion("1")));
        assertError(404, "ResourceNotFoundException", "Function not found", () -> lambda
                .createAlias(r -> r.functionName(function.name).name("next").functionVersion("2")));
        assertInvalid("does not match the specified qualifier", () -> lambda.getFunctionConfiguration(
                r -> r.functionName(function.arn + ":1").qualifier("live")));
        assertError(404, "ResourceNotFoundException", "not reachable in this region", () -> lambda
                .getFunction(r -> r.functionName("arn:aws:lambda:us-east-1:111122223333:function:x")));
    }

    @Test
    void thereIsNoPolicyBeforeTheFirstPermissionAndAfterTheLast() throws Exception {
        assertError(404, "ResourceNotFoundException", "The resource you requested does not exist.",
                () -> lambda.getPolicy(r -> r.functionName(function.name)));
        var statement = """
                {"Sid": "s", "Effect": "Allow", "Principal": {"Service": "codecommit.amazonaws.com"},
                 "Action": "lambda:InvokeFunction", "Resource": "%s",
                 "Condition": {"StringEquals": {"AWS:SourceAccount": "111122223333"},
                               "ArnLike": {"AWS:SourceArn": "%s"}}}""".formatted(function.arn, REPOSITORY);
        assertEquals(json(statement), json(lambda.addPermission(permission("s", null)).statement()));
        var policy = json(lambda.getPolicy(r -> r.functionName(function.name)).policy());
        assertEquals(json("{\"Version\": \"2012-10-17\", \"Id\": \"default\", \"Statement\": [" + statement + "]}"),
                policy);
        lambda.removePermission(r -> r.functionName(function.name).statementId("s"));
        assertNull(function.policy(""));
        assertError(404, "ResourceNotFoundException", "The resource you requested does not exist.",
                () -> lambda.getPolicy(r -> r.functionName(function.name)));
        assertError(404, "ResourceNotFoundException", "Statement s is not found in resource policy.",
                () -> lambda.removePermission(r -> r.functionName(function.name).statementId("s")));
    }

    @Test
    void everyVersionAndAliasHasAPolicyOfItsOwn() {
        function.alias("live", function.publish());
        lambda.addPermission(permission("s", "live"));
        lambda.addPermission(permission("s", "1"));
        assertNull(function.policy(""));
        assertTrue(function.policy("live").contains(function.arn + ":live\""), function.policy("live"));
        assertTrue(function.policy("1").contains(function.arn + ":1\""), function.policy("1"));
        assertError(404, "ResourceNotFoundException", "does not exist",
                () -> lambda.getPolicy(r -> r.functionName(function.name)));
        function.deleteAlias("live");
        assertNull(function.policy("live"));
        assertInvalid("We currently do not support adding policies for $LATEST.",
                () -> lambda.addPermission(permission("s", "$LATEST")));
        assertError(404, "ResourceNotFoundException", "Function not found",
                () -> lambda.addPermission(permission("s", "test")));
    }

    @Test
    void aStatementIdIsGivenOnceAndAChangeCanInsistOnARevision() {
        lambda.addPermission(permission("s", null));
        assertError(409, "ResourceConflictException", "The statement id (s) provided already exists.",
                () -> lambda.addPermission(permission("s", null)));
        var before = lambda.getPolicy(r -> r.functionName(function.name)).revisionId();
        lambda.addPermission(permission("t", null).andThen(r -> r.revisionId(before)));
        var after = lambda.getPolicy(r -> r.functionName(function.name)).revisionId();
        assertNotEquals(before, after);
        assertError(412, "PreconditionFailedException", "does not match the latest RevisionId",
                () -> lambda.addPermission(permission("u", null).andThen(r -> r.revisionId(before))));
        assertError(412, "PreconditionFailedException", "does not match the latest RevisionId", () -> lambda
                .removePermission(r -> r.functionName(function.name).statementId("s").revisionId(before)));
        lambda.removePermission(r -> r.functionName(function.name).statementId("s").revisionId(after));
    }

    @Test
    void aPolicyHasAtMost20Kilobytes() {
        var count = new AtomicInteger();
        var refused = assertThrows(AwsServiceException.class, () -> {
            while (count.get() < 100) {
                lambda.addPermission(permission("codecommit-0123456789ab-" + count.get(), null));
                count.incrementAndGet();
            }
        });
        assertEquals("PolicyLengthExceededException", refused.awsErrorDetails().errorCode());
        assertTrue(count.get() > 40 && count.get() < 70, "for " + count + " repositories");
        assertTrue(function.policy("").length() <= 20_480);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"principal | x.example.com | The provided principal was invalid",
            "principal | arn:aws:iam::111122223333:role/missing | The provided principal was invalid",
            "sid | a b | regular expression", "action | s3:GetObject | regular expression",
            "account | 12 | regular expression"})
    void refusesPermissionsThatLambdaRefuses(String what, String value, String message) {
        Consumer<AddPermissionRequest.Builder> change = r -> {
            switch (what) {
                case "principal" -> r.principal(value);
                case "sid" -> r.statementId(value);
                case "action" -> r.action(value);
                default -> r.sourceAccount(value);
            }
        };
        var refused = assertThrows(AwsServiceException.class,
                () -> lambda.addPermission(permission("s", null).andThen(change)));
        assertTrue(refused.getMessage().contains(message), refused.getMessage());
        assertEquals(400, refused.statusCode());
        assertNull(function.policy(""));
    }

    @Test
    void everyCallIsAuthorised() {
        var login = aws.as("arn:aws:iam::111122223333:role/Nobody");
        var role = aws.iam.find("role/Nobody");
        try (var nobody = client(AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(),
                login.sessionToken()))) {
            function.alias("live", function.publish());
            assertError(403, "AccessDeniedException", "lambda:GetPolicy on resource: " + function.arn + ":live",
                    () -> nobody.getPolicy(r -> r.functionName(function.name).qualifier("live")));
            assertError(403, "AccessDeniedException", "lambda:ListFunctions", nobody::listFunctions);
            role.inline.put("permissions", """
                    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
                     "Action": ["lambda:AddPermission", "lambda:RemovePermission"], "Resource": "*",
                     "Condition": {"StringEquals": {"lambda:Principal": "codecommit.amazonaws.com"}}}]}""");
            nobody.addPermission(permission("s", "live"));
            assertError(403, "AccessDeniedException", "lambda:AddPermission", () -> nobody.addPermission(
                    permission("t", "live").andThen(r -> r.principal("s3.amazonaws.com"))));
            lambda.addPermission(permission("t", "live").andThen(r -> r.principal("s3.amazonaws.com")));
            nobody.removePermission(r -> r.functionName(function.name).qualifier("live").statementId("s"));
            assertError(403, "AccessDeniedException", "lambda:RemovePermission", () -> nobody.removePermission(
                    r -> r.functionName(function.name).qualifier("live").statementId("t")));
        } finally {
            role.inline.clear();
        }
    }

    @Test
    void throttlingHasLambdasOwnCode() {
        aws.inject(Fault.on("lambda:GetPolicy").times(1).throttle());
        lambda.addPermission(permission("s", null));
        lambda.getPolicy(r -> r.functionName(function.name));
        var answers = aws.calls().stream().filter(call -> call.name().equals("lambda:GetPolicy"))
                .map(Call::error).toList();
        assertEquals("TooManyRequestsException", answers.get(answers.size() - 2));
    }
}
