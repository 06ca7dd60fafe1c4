package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.eclipse.jgit.api.Git;
import org.eclipse.jgit.transport.RefSpec;
import org.eclipse.jgit.transport.UsernamePasswordCredentialsProvider;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.RepositoryTrigger;

/** What triggers of CodeCommit tell of changes, whom, and what is lost on the way. */
class TriggersTest {
    static final LocalAws aws = LocalAws.start();
    static final String REGION = "eu-west-1";
    static final String OPERATOR = "arn:aws:iam::111122223333:user/operator";
    static final CodeCommitClient codecommit = CodeCommitClient.builder().endpointOverride(aws.endpoint())
            .region(Region.EU_WEST_1).credentialsProvider(StaticCredentialsProvider.create(LocalAwsTest.RIGHT))
            .httpClient(UrlConnectionHttpClient.create()).build();
    static int count;

    CodeCommit.Repo repo;
    Lambda.Function function;
    Sns.Topic topic;

    @BeforeAll
    static void bePatient() {
        aws.kms.earlyCalls = 0;
    }

    @AfterAll
    static void stop() {
        codecommit.close();
        aws.close();
    }

    @BeforeEach
    void seed() {
        count++;
        repo = aws.codecommit.createRepository("repo" + count).commit("refs/heads/main", "a", "1\n");
        function = aws.lambda.createFunction(REGION, "build" + count);
        topic = aws.sns.createTopic(REGION, "pushes" + count);
    }

    /** Lets CodeCommit invoke what an ARN names, for this repository. */
    void permit(String qualifier) {
        function.statement(qualifier, "s", permission(qualifier));
    }

    ObjectNode permission(String qualifier) {
        var statement = Models.JSON.createObjectNode().put("Effect", "Allow").put("Sid", "s")
                .put("Action", "lambda:InvokeFunction")
                .put("Resource", function.arn + (qualifier.isEmpty() ? "" : ":" + qualifier));
        statement.putObject("Principal").put("Service", "codecommit.amazonaws.com");
        statement.withObject("/Condition/ArnLike").put("AWS:SourceArn", repo.arn);
        statement.withObject("/Condition/StringEquals").put("AWS:SourceAccount", LocalAws.ACCOUNT);
        return statement;
    }

    static RepositoryTrigger trigger(String name, String arn, Consumer<RepositoryTrigger.Builder> change) {
        return RepositoryTrigger.builder().name(name).destinationArn(arn).branches(List.of())
                .eventsWithStrings("all").applyMutation(change).build();
    }

    void put(RepositoryTrigger... triggers) {
        codecommit.putRepositoryTriggers(r -> r.repositoryName(repo.name).triggers(triggers));
    }

    String tip(String branch) {
        return repo.resolve("refs/heads/" + branch).name();
    }

    String write(String branch, String text) {
        return codecommit.putFile(r -> r.repositoryName(repo.name).branchName(branch).parentCommitId(tip(branch))
                .filePath("a").fileContent(SdkBytes.fromUtf8String(text))).commitId();
    }

    /** Every reference that the function was told of: its name, and whether it was created or deleted. */
    List<String> told() {
        return function.invocations().stream().flatMap(one -> one.payload().at("/Records/0/codecommit/references")
                .valueStream()).map(TriggersTest::shown).toList();
    }

    private static String shown(JsonNode reference) {
        return reference.get("ref").asText() + (reference.path("created").asBoolean() ? " created" : "")
                + (reference.path("deleted").asBoolean() ? " deleted" : "");
    }

    @Test
    void aFunctionIsInvokedWithWhatAwsSends() throws Exception {
        permit("");
        put(trigger("build", function.arn, t -> t.customData("team=payments")));
        var commit = write("main", "2\n");
        var invocation = function.invocations().get(0);
        assertEquals(List.of("", "codecommit.amazonaws.com"), List.of(invocation.qualifier(), invocation.principal()));
        var record = (ObjectNode) invocation.payload().at("/Records/0");
        assertTrue(record.remove("eventId").asText().matches("[0-9a-f-]{36}"));
        assertTrue(record.remove("eventTime").asText().matches("\\d{4}-\\d\\d-\\d\\dT[\\d:]{8}\\.\\d{3}\\+0000"));
        assertEquals(codecommit.getRepositoryTriggers(r -> r.repositoryName(repo.name)).configurationId(),
                record.remove("eventTriggerConfigId").asText());
        assertEquals(Models.JSON.readTree("""
                {"awsRegion": "eu-west-1", "codecommit": {"references": [{"ref": "refs/heads/main", "commit": "%s"}]},
                 "customData": "team=payments", "eventName": "ReferenceChanges", "eventPartNumber": 1,
                 "eventSource": "aws:codecommit", "eventSourceARN": "%s", "eventTotalParts": 1,
                 "eventTriggerName": "build", "eventVersion": "1.0", "userIdentityARN": "%s"}"""
                .formatted(commit, repo.arn, OPERATOR)), record);
    }

    @Test
    void everyWayOfChangingABranchIsTold() {
        permit("");
        put(trigger("build", function.arn, t -> {}));
        var main = tip("main");
        codecommit.createBranch(r -> r.repositoryName(repo.name).branchName("b").commitId(main));
        codecommit.createCommit(r -> r.repositoryName(repo.name).branchName("b").parentCommitId(main)
                .putFiles(f -> f.filePath("b").fileContent(SdkBytes.fromUtf8String("b\n"))));
        var pullRequest = repo.pullRequest("b", "b", "main");
        codecommit.mergePullRequestByFastForward(r -> r.repositoryName(repo.name).pullRequestId(pullRequest));
        write("b", "3\n");
        codecommit.mergeBranchesByFastForward(r -> r.repositoryName(repo.name).sourceCommitSpecifier("b")
                .destinationCommitSpecifier("main").targetBranch("main"));
        codecommit.deleteFile(r -> r.repositoryName(repo.name).branchName("b").parentCommitId(tip("b")).filePath("b"));
        codecommit.deleteBranch(r -> r.repositoryName(repo.name).branchName("b"));
        assertEquals(List.of("refs/heads/b created", "refs/heads/b", "refs/heads/main", "refs/heads/b",
                "refs/heads/main", "refs/heads/b", "refs/heads/b deleted"), told());
    }

    @Test
    void aPushOfSeveralRefsIsOneMessage(@TempDir Path directory) throws Exception {
        permit("");
        put(trigger("all", function.arn, t -> {}), trigger("main", topic.arn, t -> t.branches("main", "other")));
        try (var git = Git.cloneRepository().setURI(repo.directory().toUri().toString())
                .setDirectory(directory.toFile()).call()) {
            git.commit().setMessage("2").setAllowEmpty(true).setAuthor("Ada", "ada@example.com")
                    .setCommitter("Ada", "ada@example.com").setSign(false).call();
            var login = new LocalAws.Login(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY, null);
            var password = GitHttp.password(login.secretAccessKey(), "127.0.0.1", "/v1/repos/" + repo.name, REGION);
            git.push().setRemote(repo.cloneUrlHttp())
                    .setRefSpecs(new RefSpec("HEAD:refs/heads/main"), new RefSpec("HEAD:refs/heads/b"),
                            new RefSpec("HEAD:refs/tags/v1"))
                    .setCredentialsProvider(new UsernamePasswordCredentialsProvider(GitHttp.user(login), password))
                    .call();
        }
        assertEquals(1, function.invocations().size());
        assertEquals("[refs/heads/b created, refs/heads/main, refs/tags/v1 created]",
                told().stream().sorted().toList().toString());
        assertEquals(OPERATOR, function.invocations().get(0).payload().at("/Records/0/userIdentityARN").asText());
        var message = Models.JSON.readTree(topic.published().get(0).text());
        assertEquals("[refs/heads/main]", message.at("/Records/0/codecommit/references").valueStream()
                .map(TriggersTest::shown).toList().toString());
        assertFalse(message.at("/Records/0").has("customData"), "there is none");
    }

    @ParameterizedTest
    @CsvSource({"createReference, '[refs/heads/b created]'", "updateReference, '[refs/heads/b]'",
            "deleteReference, '[refs/heads/b deleted]'",
            "createReference deleteReference, '[refs/heads/b created, refs/heads/b deleted]'"})
    void aTriggerIsToldOfItsEventsAlone(String events, String told) {
        permit("");
        put(trigger("build", function.arn, t -> t.eventsWithStrings(events.split(" "))));
        codecommit.createBranch(r -> r.repositoryName(repo.name).branchName("b").commitId(tip("main")));
        write("b", "2\n");
        codecommit.deleteBranch(r -> r.repositoryName(repo.name).branchName("b"));
        assertEquals(told, told().toString());
    }

    @Test
    void withoutThePermissionOfItsQualifierAMessageIsLostWithoutAWord() {
        function.alias("live", function.publish());
        put(trigger("bare", function.arn, t -> {}), trigger("live", function.arn + ":live", t -> {}),
                trigger("latest", function.arn + ":$LATEST", t -> {}),
                trigger("gone", function.arn + ":gone", t -> {}));
        permit("");
        write("main", "2\n");
        function.statement("", "s", null);
        permit("live");
        write("main", "3\n");
        assertEquals(List.of("", "live"), function.invocations().stream().map(Lambda.Invocation::qualifier).toList());
        assertEquals("bare, live lost: AccessDeniedException, latest lost: AccessDeniedException, gone lost:"
                + " ResourceNotFoundException, bare lost: AccessDeniedException, live, latest lost:"
                + " AccessDeniedException, gone lost: ResourceNotFoundException",
                repo.deliveries().stream().map(one -> one.replaceFirst("(lost: \\w+).*", "$1"))
                        .collect(Collectors.joining(", ")));
    }

    @Test
    void aPermissionForAnotherRepositoryOrAccountDoesNotHelp() {
        put(trigger("build", function.arn, t -> {}));
        var other = permission("");
        other.withObject("/Condition/ArnLike").put("AWS:SourceArn", repo.arn + "-other");
        function.statement("", "s", other);
        write("main", "2\n");
        var stranger = permission("");
        stranger.withObject("/Condition/StringEquals").put("AWS:SourceAccount", LocalAws.BACKUP_ACCOUNT);
        function.statement("", "s", stranger);
        write("main", "3\n");
        assertEquals(0, function.invocations().size());
        var wide = permission("");
        wide.withObject("/Condition/ArnLike").put("AWS:SourceArn", "arn:aws:codecommit:eu-west-1:111122223333:*");
        function.statement("", "s", wide);
        write("main", "4\n");
        assertEquals(1, function.invocations().size());
        function.state = "Failed";
        write("main", "5\n");
        assertEquals(1, function.invocations().size());
    }

    @Test
    void aTopicTakesMessagesByItsPolicyAndItsKey() {
        put(trigger("tell", topic.arn, t -> {}));
        write("main", "2\n");
        assertEquals(1, topic.published().size(), "the policy of a new topic is enough in its own account");
        topic.attributes.put("KmsMasterKeyId", "alias/aws/sns");
        write("main", "3\n");
        var key = aws.kms.createKey(REGION);
        topic.attributes.put("KmsMasterKeyId", key.arn);
        write("main", "4\n");
        assertEquals(1, topic.published().size());
        key.policy = """
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*",
                 "Principal": {"Service": "codecommit.amazonaws.com"},
                 "Action": ["kms:Decrypt", "kms:GenerateDataKey*"]}]}""";
        write("main", "5\n");
        assertEquals(2, topic.published().size());
        topic.attributes.remove("KmsMasterKeyId");
        topic.attributes.put("Policy", topic.attributes.get("Policy").replace(LocalAws.ACCOUNT, "777788889999"));
        write("main", "6\n");
        assertEquals(2, topic.published().size());
        assertEquals("[tell, tell lost: KMSAccessDenied, tell lost: KMSAccessDenied, tell, tell lost: "
                + "AuthorizationError]", repo.deliveries().stream()
                .map(one -> one.replaceFirst("(lost: \\w+).*", "$1")).toList().toString());
    }

    @Test
    void anotherAccountsTopicMustNameTheRepository() {
        var theirs = aws.account(LocalAws.BACKUP_ACCOUNT).sns.createTopic(REGION, "theirs" + count);
        put(trigger("tell", theirs.arn, t -> {}));
        write("main", "2\n");
        assertEquals(0, theirs.published().size());
        theirs.attributes.put("Policy", """
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sns:Publish",
                 "Resource": "%s", "Principal": {"Service": "codecommit.amazonaws.com"},
                 "Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"},
                               "ArnLike": {"aws:SourceArn": "%s"}}}]}""".formatted(theirs.arn, repo.arn));
        write("main", "3\n");
        assertEquals(1, theirs.published().size());
    }

    @Test
    void aTestSendsToTheGivenTriggersAndChangesNone() {
        permit("");
        put(trigger("kept", topic.arn, t -> {}));
        var tested = codecommit.testRepositoryTriggers(r -> r.repositoryName(repo.name).triggers(
                trigger("build", function.arn, t -> {}), trigger("lost", function.arn + ":1", t -> {})));
        assertEquals(List.of("build"), tested.successfulExecutions());
        assertEquals("lost", tested.failedExecutions().get(0).trigger());
        assertTrue(tested.failedExecutions().get(0).failureMessage().contains("ResourceNotFoundException"));
        var record = function.invocations().get(0).payload().at("/Records/0");
        assertEquals("TriggerEventTest", record.path("eventName").asText());
        assertEquals(tip("main"), record.at("/codecommit/references/0/commit").asText());
        assertEquals(0, topic.published().size());
        assertEquals(1, repo.triggers().size());
        var empty = aws.codecommit.createRepository("empty" + count);
        codecommit.testRepositoryTriggers(r -> r.repositoryName(empty.name).triggers(trigger("t", topic.arn, t -> {})));
        assertTrue(topic.published().get(0).text().contains("\"commit\":\"" + "0".repeat(40)), "nothing to show");
        assertEquals("InvalidRepositoryTriggerDestinationArnException", CodeCommitTest.error(() -> codecommit
                .testRepositoryTriggers(r -> r.repositoryName(repo.name).triggers(trigger("t", "x", t -> {})))));
        assertEquals("RepositoryDoesNotExistException", CodeCommitTest.error(() -> codecommit
                .testRepositoryTriggers(r -> r.repositoryName("absent").triggers(List.of()))));
    }

    @Test
    void aRenamedRepositoryKeepsItsTriggerAndLosesItsPermission() {
        permit("");
        put(trigger("build", function.arn, t -> {}));
        aws.codecommit.renameRepository(repo.name, "renamed" + count);
        write("main", "2\n");
        assertEquals(0, function.invocations().size());
        assertEquals(1, repo.deliveries().size());
    }
}
