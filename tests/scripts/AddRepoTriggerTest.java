import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.Lambda;
import localaws.LocalAws;
import localaws.Sns;
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
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class AddRepoTriggerTest {
    static final LocalAws aws = LocalAws.start();
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";
    static final String REPOSITORIES = "arn:aws:codecommit:eu-west-1:111122223333:";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();
    static final CodeCommitClient codecommit = CodeCommitClient.builder().endpointOverride(aws.endpoint())
            .region(Region.of(REGION)).credentialsProvider(StaticCredentialsProvider.create(
                    AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY)))
            .httpClient(UrlConnectionHttpClient.create()).build();
    static int count;

    CodeCommit.Repo repo;
    Lambda.Function function;
    /** The function's alias. */
    String live;
    Sns.Topic topic;

    @BeforeAll
    static void use() {
        Script.use(aws);
        aws.kms.earlyCalls = 0;
        aws.codecommit.repositoriesPerPage = 2;
    }

    @AfterAll
    static void stop() {
        codecommit.close();
        aws.close();
    }

    /** But for what the tests themselves call. */
    static void collect(Call call) {
        if (!Set.of("codecommit:PutFile", "codecommit:CreateBranch").contains(call.name())) {
            ALL.add(call);
        }
    }

    @BeforeEach
    void seed() {
        aws.clearFaults();
        aws.onCall(AddRepoTriggerTest::collect);
        aws.codecommit.testKeepsTriggers = false;
        count++;
        for (var i = 0; i < count; i++) {
            Stream.of("", "-a", "-b").map(("r" + i)::concat).forEach(name -> aws.codecommit
                    .deleteRepository(REGION, name));
        }
        repo = repository("r" + count);
        function = aws.lambda.createFunction(REGION, "build" + count);
        function.alias("live", function.publish());
        live = function.arn + ":live";
        topic = aws.sns.createTopic(REGION, "pushes" + count);
        aws.clearCalls();
    }

    static CodeCommit.Repo repository(String name) {
        return aws.codecommit.createRepository(name).commit("refs/heads/main", "a", "1\n");
    }

    static Script.Run run(String... args) {
        var script = new AddRepoTrigger();
        script.newsPatience = Duration.ofSeconds(5);
        return Script.run(script.commandLine(), args);
    }

    /** The trigger build in this test's repository. */
    Script.Run trigger(String... more) {
        return run(Stream.concat(Stream.of("--trigger-name", "build", "--repository-names", repo.name),
                Stream.of(more)).toArray(String[]::new));
    }

    Script.Run toLive(String... more) {
        return trigger(Stream.concat(Stream.of("--destination-arn", live), Stream.of(more)).toArray(String[]::new));
    }

    Script.Run toTopic(String... more) {
        return trigger(Stream.concat(Stream.of("--destination-arn", topic.arn), Stream.of(more))
                .toArray(String[]::new));
    }

    static JsonNode read(String text) {
        try {
            return JSON.readTree(text);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static void push(CodeCommit.Repo repo) {
        var tip = repo.resolve("refs/heads/main").name();
        codecommit.putFile(r -> r.repositoryName(repo.name).branchName("main").parentCommitId(tip).filePath("a")
                .fileContent(SdkBytes.fromUtf8String(tip)));
    }

    static List<String> names(CodeCommit.Repo repo) {
        return repo.triggers().valueStream().map(one -> one.path("name").asText()).toList();
    }

    /** The statements of the alias's policy by their Sids; none without a policy. */
    List<String> sids(String qualifier) {
        var policy = function.policy(qualifier);
        return policy == null ? List.of()
                : read(policy).path("Statement").valueStream().map(one -> one.path("Sid").asText()).toList();
    }

    static String sid(CodeCommit.Repo repo) {
        return AddRepoTrigger.sidOf(repo.arn);
    }

    ObjectNode statement(String source, String qualifier) {
        return (ObjectNode) read("""
                {"Sid": "theirs", "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "%s",
                 "Principal": {"Service": "codecommit.amazonaws.com"},
                 "Condition": {"StringEquals": {"AWS:SourceAccount": "111122223333"},
                               "ArnLike": {"AWS:SourceArn": "%s"}}}"""
                .formatted(function.arn + qualifier, source));
    }

    static ArrayNode triggers(int number, String arn) {
        var all = JSON.createArrayNode();
        IntStream.range(0, number).forEach(i -> all.addObject().put("name", "theirs-" + i).put("destinationArn", arn)
                .put("customData", "").set("branches", JSON.createArrayNode()));
        all.forEach(one -> ((ObjectNode) one).putArray("events").add("all"));
        return all;
    }

    static List<String> written() {
        return aws.calls().stream().filter(call -> !call.readOnly()).map(Call::name).toList();
    }

    static String fields(Script.Run run) {
        return run.json().path("changes").valueStream().map(one -> one.path("field").asText()).toList().toString();
    }

    // ---- Created, unchanged, changed, removed

    @Test
    void aPushInvokesTheFunctionWhoseAliasIsPermittedFirst() {
        repo.triggers(triggers(1, topic.arn));
        var run = toLive("--events", "updateReference", "createReference", "--branches", "main", "release/1",
                "--custom-data", "team=payments");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("", run.err());
        assertEquals("created", run.status());
        assertEquals(List.of("lambda:AddPermission", "codecommit:PutRepositoryTriggers"), written());
        assertEquals(read("""
                {"repositoryName": "%s", "arn": "%s", "status": "created", "otherTriggers": ["theirs-0"],
                 "statementId": "%s",
                 "trigger": {"name": "build", "destinationArn": "%s", "branches": ["main", "release/1"],
                             "customData": "team=payments", "events": ["createReference", "updateReference"]}}"""
                .formatted(repo.name, repo.arn, sid(repo), live)), run.json().at("/repositories/0"));
        assertEquals("[permission, trigger]", fields(run));
        assertEquals(List.of("theirs-0", "build"), names(repo));
        assertEquals(List.of(sid(repo)), sids("live"));
        assertEquals(List.of(), sids(""));
        assertTrue(sid(repo).matches("codecommit-[0-9a-f]{12}"), sid(repo));
        push(repo);
        assertEquals(1, function.invocations().size());
        assertEquals("team=payments", function.invocations().get(0).payload().at("/Records/0/customData").asText());
        assertEquals(1, topic.published().size(), "the trigger that was there still tells");
    }

    @Test
    void aTopicIsToldWithoutAChangeOfIts() {
        var before = topic.attributes.toString();
        var run = toTopic();
        assertEquals("created", run.status(), run.err());
        assertTrue(run.err().contains("has no confirmed subscription, so nobody is told; subscribe with: aws sns "
                + "subscribe --protocol email"), run.err());
        assertEquals("[\"all\"]", run.json().at("/repositories/0/trigger/events").toString());
        assertEquals(before, topic.attributes.toString());
        assertFalse(run.json().at("/repositories/0").has("statementId"));
        push(repo);
        assertEquals(1, topic.published().size());
    }

    @Test
    void aSecondRunChangesNothing() {
        var all = new String[] {"--events", "deleteReference", "createReference", "--branches", "b", "a",
                "--custom-data", "x"};
        assertEquals("created", toLive(all).status());
        aws.clearCalls();
        Script.assertUnchanged(toLive(all), aws);
        Script.assertUnchanged(toLive("--branches", "a", "b", "b"), aws);
        var second = toLive();
        Script.assertUnchanged(second, aws);
        assertEquals("", second.err());
        assertEquals(sid(repo), second.json().at("/repositories/0/statementId").asText());
        assertEquals("created", run("--trigger-name", "tell", "--repository-names", repo.name, "--destination-arn",
                topic.arn).status());
        aws.clearCalls();
        Script.assertUnchanged(run("--trigger-name", "tell", "--repository-names", repo.name, "--destination-arn",
                topic.arn), aws);
    }

    @Test
    void whatIsNotGivenStaysAndWhatIsGivenIsChanged() {
        toLive("--events", "createReference", "--branches", "main", "--custom-data", "x");
        var events = toLive("--events", "all");
        assertEquals("updated", events.status(), events.err());
        assertEquals("[trigger]", fields(events));
        assertEquals("[\"main\"] x", repo.triggers().at("/0/branches") + " "
                + repo.triggers().at("/0/customData").asText());
        assertEquals("updated", toLive("--all-branches", "--custom-data", "").status());
        assertEquals("[] ", repo.triggers().at("/0/branches") + " " + repo.triggers().at("/0/customData").asText());
    }

    @Test
    void whatWasChangedByHandIsMended() {
        toLive("--branches", "main");
        var right = repo.triggers();
        var policy = function.policy("live");
        for (var member : List.of("branches", "events")) {
            var changed = (ArrayNode) right.deepCopy();
            ((ObjectNode) changed.get(0)).putArray(member).add(member.equals("events") ? "deleteReference" : "other");
            repo.triggers(changed);
            assertEquals("updated", toLive("--branches", "main", "--events", "all").status());
            assertEquals(right, repo.triggers());
        }
        var stranger = statement(repo.arn, ":live").put("Sid", sid(repo));
        stranger.withObject("/Condition").remove("StringEquals");
        function.statement("live", sid(repo), stranger);
        var mended = toLive();
        assertEquals("updated", mended.status(), mended.err());
        assertEquals("[permission]", fields(mended));
        assertEquals(read(policy), read(function.policy("live")));
        assertTrue(mended.json().path("undo").asText().endsWith("--statement-id " + sid(repo) + " --action "
                + "lambda:InvokeFunction --principal codecommit.amazonaws.com --source-arn " + repo.arn
                + " --region eu-west-1"), mended.out());
        function.statement("live", sid(repo), null);
        assertEquals("[permission]", fields(toLive()));
        push(repo);
        assertEquals(1, function.invocations().size());
    }

    @Test
    void aNewDestinationTakesThePermissionOfTheOldOneAlong() {
        toLive();
        var moved = trigger("--destination-arn", function.arn);
        assertEquals("updated", moved.status(), moved.err());
        assertEquals("[permission, trigger, permission]", fields(moved));
        assertEquals(List.of(), sids("live"));
        assertEquals(List.of(sid(repo)), sids(""));
        push(repo);
        assertEquals("", function.invocations().get(0).qualifier());
        assertEquals("[trigger, permission]", fields(toTopic()));
        assertNull(function.policy(""));
    }

    @Test
    void aDryRunReadsOnlyAndShowsThePermissionAndTheTrigger() {
        var run = toLive("--dry-run");
        assertEquals("would-create", run.status(), run.err());
        assertEquals("would-create", run.json().at("/repositories/0/status").asText());
        assertEquals("lambda:InvokeFunction", run.json().at("/changes/0/to/Action").asText());
        assertEquals(live, run.json().at("/repositories/0/trigger/destinationArn").asText());
        assertFalse(run.json().has("undo"));
        assertEquals(List.of(), names(repo));
        Script.assertReadsOnly(aws);
        toLive();
        aws.clearCalls();
        assertEquals("would-update", toLive("--events", "createReference", "--dry-run").status());
        var removal = trigger("--remove", "--dry-run");
        assertEquals("would-delete", removal.status());
        assertEquals("[trigger, permission]", fields(removal));
        Script.assertReadsOnly(aws);
    }

    @Test
    void aRemovalLeavesOtherTriggersAndThePermissionThatTheyNeed() {
        run("--trigger-name", "second", "--repository-names", repo.name, "--destination-arn", live);
        toLive();
        var first = trigger("--remove");
        assertEquals("deleted", first.status(), first.err());
        assertEquals("[trigger]", fields(first));
        assertEquals(List.of("second"), names(repo));
        push(repo);
        assertEquals(1, function.invocations().size());
        var second = run("--trigger-name", "second", "--repository-names", repo.name, "--remove");
        assertEquals("[trigger, permission]", fields(second));
        assertNull(function.policy("live"));
        aws.clearCalls();
        Script.assertUnchanged(trigger("--remove"), aws);
    }

    @Test
    void aRemovalTakesOnlyATriggerWithTheGivenDestination() {
        toLive();
        aws.clearCalls();
        var other = toTopic("--remove");
        assertEquals(1, other.exitCode());
        assertTrue(other.err().contains("the trigger build sends to " + live + ", not to " + topic.arn), other.err());
        Script.assertReadsOnly(aws);
        assertEquals("deleted", toLive("--remove").status());
    }

    @Test
    void aPermissionThatWasLeftOverIsRemovedByItsDestination() {
        toLive();
        aws.inject(Fault.on("lambda:RemovePermission").error(400, "InvalidParameterValueException", "no"));
        var half = trigger("--remove");
        assertEquals(1, half.exitCode());
        assertTrue(half.err().contains("the permission " + sid(repo) + " of " + live + " is left over, remove it with: "
                + "aws lambda remove-permission --function-name " + function.name + " --qualifier live --statement-id "
                + sid(repo) + " --region eu-west-1; changed before that: trigger"), half.err());
        assertEquals(List.of(), names(repo));
        assertEquals("[permission]", fields(toLive("--remove")));
        assertNull(function.policy("live"));
    }

    @Test
    void theUndoTakesItBack() {
        Program.needsAwsCli();
        repo.triggers(triggers(2, topic.arn));
        var before = repo.triggers();
        var undo = toLive("--custom-data", "it's \"x\"").json().path("undo").asText();
        var undone = Program.run(Path.of("."), Script.environment(aws), "bash", "-c", undo);
        assertEquals(0, undone.exitCode(), undone.err());
        assertEquals(before, repo.triggers());
        assertNull(function.policy("live"));
        toLive("--custom-data", "it's \"x\"");
        var made = repo.triggers();
        var policy = function.policy("live");
        var redo = trigger("--remove").json().path("undo").asText();
        var redone = Program.run(Path.of("."), Script.environment(aws), "bash", "-c", redo);
        assertEquals(0, redone.exitCode(), redone.err());
        assertEquals(made, repo.triggers());
        assertEquals(read(policy), read(function.policy("live")));
    }

    // ---- Which repositories, and which permission

    @Test
    void repositoriesAreChosenByNameAndGlobAndLeftOut() {
        repository(repo.name + "-a");
        repository(repo.name + "-b");
        var run = run("--trigger-name", "build", "--repository-names", repo.name + "*", repo.name, "--exclude", "*-b",
                "--destination-arn", live);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of(repo.name, repo.name + "-a"), run.json().path("repositories").valueStream()
                .map(one -> one.path("repositoryName").asText()).toList());
        assertEquals(2, sids("live").size());
        var all = run("--trigger-name", "build", "--all-repositories", "--destination-arn", live);
        assertEquals(List.of("unchanged", "unchanged", "created"), all.json().path("repositories").valueStream()
                .map(one -> one.path("status").asText()).toList());
        var none = run("--trigger-name", "build", "--repository-names", "nothing-*", "--destination-arn", live);
        assertEquals(1, none.exitCode());
        assertTrue(none.err().contains("has a name like 'nothing-*'"), none.err());
    }

    @Test
    void whereThereAreNoRepositoriesAllAreAsTheyShouldBe() {
        var run = run("--trigger-name", "build", "--all-repositories", "--remove", "--region", "eu-west-2");
        assertEquals("unchanged", run.status(), run.err());
        assertEquals("add-repo-trigger: there are no repositories in eu-west-2\n", run.err());
    }

    @Test
    void aRepositoryThatFailsDoesNotStopTheOthers() {
        var full = repository(repo.name + "-a").triggers(triggers(10, topic.arn));
        var run = run("--trigger-name", "build", "--repository-names", full.name, "absent", repo.name,
                "--destination-arn", live);
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of("failed", "failed", "created"), run.json().path("repositories").valueStream()
                .map(one -> one.path("status").asText()).toList());
        assertTrue(run.err().contains(full.name + ": it has 10 triggers, of at most 10; remove one of them first"),
                run.err());
        assertTrue(run.json().at("/repositories/1/error").asText().contains("RepositoryDoesNotExistException"));
        assertEquals(List.of(sid(repo)), sids("live"), "no permission for what gets no trigger");
        assertEquals(10, full.triggers().size());
        var alone = run("--trigger-name", "build", "--repository-names", full.name, "--destination-arn", live);
        assertEquals(1, alone.exitCode());
        assertEquals("", alone.out());
        repo.triggers(triggers(10, topic.arn));
        assertEquals(0, run("--trigger-name", "theirs-3", "--repository-names", repo.name, "--destination-arn", live)
                .exitCode(), "a trigger that is there needs no room");
    }

    @Test
    void onePermissionServesAnyRepositoryAndGoesWithTheLastTrigger() {
        var other = repository(repo.name + "-a");
        var run = run("--trigger-name", "build", "--repository-names", repo.name, other.name, "--destination-arn",
                live, "--any-repository");
        assertEquals("created", run.status(), run.err());
        assertEquals(List.of("codecommit-any-repository"), sids("live"));
        assertEquals("[permission, trigger, trigger]", fields(run));
        aws.clearCalls();
        Script.assertUnchanged(toLive(), aws);
        push(other);
        assertEquals(1, function.invocations().size());
        var one = trigger("--remove");
        assertEquals("[trigger]", fields(one));
        assertTrue(one.err().contains("left its statement codecommit-any-repository, which other repositories may"
                + " need"), one.err());
        var all = run("--trigger-name", "build", "--all-repositories", "--remove");
        assertEquals("[trigger, permission]", fields(all), all.err());
        assertNull(function.policy("live"));
    }

    @Test
    void aStatementOfSomeoneElseThatIsEnoughIsKeptAndUsed() {
        function.statement("live", "theirs", statement(REPOSITORIES + "*", ":live"));
        var run = toLive();
        assertEquals("[trigger]", fields(run), run.err());
        assertEquals("theirs", run.json().at("/repositories/0/statementId").asText());
        assertEquals("[trigger]", fields(trigger("--remove")));
        assertEquals(List.of("theirs"), sids("live"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"Action\": \"lambda:GetFunction\"}",
            "{\"Principal\": {\"Service\": \"s3.amazonaws.com\"}}",
            "{\"Condition\": {\"ArnLike\": {\"AWS:SourceArn\": \"arn:aws:codecommit:eu-west-1:111122223333:other\"}}}",
            "{\"Condition\": {\"StringEquals\": {\"AWS:SourceAccount\": \"444455556666\"}}}",
            "{\"Condition\": {\"Bool\": {\"aws:SecureTransport\": \"true\"}}}"})
    void aStatementThatIsNotEnoughDoesNotCount(String change) {
        function.statement("live", "theirs", statement(repo.arn, ":live").setAll((ObjectNode) read(change)));
        assertEquals("[permission, trigger]", fields(toLive()));
    }

    @Test
    void aPolicyThatWouldBecomeTooLongIsRefusedBeforeAnythingIsChanged() {
        Stream.of("-a", "-b").forEach(end -> repository(repo.name + end));
        for (var i = 0; function.policy("live") == null || function.policy("live").length() < 19_600; i++) {
            function.statement("live", "theirs-" + i,
                    statement(REPOSITORIES + "other-" + i, ":live").put("Sid", "theirs-" + i));
        }
        aws.clearCalls();
        var run = run("--trigger-name", "build", "--repository-names", repo.name + "*", "--destination-arn", live);
        assertEquals(1, run.exitCode(), run.out());
        assertTrue(run.err().contains("use --any-repository, by which one statement is for all"), run.err());
        Script.assertReadsOnly(aws);
        assertEquals(0, run("--trigger-name", "build", "--repository-names", repo.name + "*", "--destination-arn",
                live, "--any-repository").exitCode());
    }

    @Test
    void permissionsOfRepositoriesThatAreGoneAreRemovedIfTheyAreThisScripts() {
        var gone = repository(repo.name + "-a");
        run("--trigger-name", "build", "--repository-names", gone.name, "--destination-arn", live);
        function.statement("live", "theirs", statement(gone.arn, ":live"));
        aws.codecommit.renameRepository(gone.name, repo.name + "-b");
        var run = toLive();
        assertEquals("[permission, trigger, permission]", fields(run), run.err());
        assertTrue(run.err().contains("the repository " + repo.name + "-a is gone, and so is its permission"),
                run.err());
        assertEquals(List.of(sid(repo), "theirs").stream().sorted().toList(), sids("live").stream().sorted().toList());
        var renamed = run("--trigger-name", "build", "--repository-names", repo.name + "-b", "--destination-arn",
                live);
        assertEquals("[permission]", fields(renamed), "the trigger went along, the permission did not");
    }

    // ---- The test

    @Test
    void aTestReachesOurDestinationAloneAndChangesNothing() {
        repo.triggers(triggers(1, topic.arn));
        var run = toLive("--test");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("true", run.json().at("/repositories/0/test/delivered").asText());
        assertTrue(run.err().contains("the test of build arrived at " + live + "; what the function made of it is in"
                + " its log group /aws/lambda/" + function.name), run.err());
        assertEquals("TriggerEventTest",
                function.invocations().get(0).payload().at("/Records/0/eventName").asText());
        assertEquals(0, topic.published().size());
        assertEquals(List.of("theirs-0", "build"), names(repo));
        aws.clearCalls();
        var again = toLive("--test");
        assertEquals("unchanged", again.status());
        assertEquals(List.of("codecommit:TestRepositoryTriggers"), written());
    }

    @Test
    void aTestThatDoesNotArriveIsAFinding() {
        toLive();
        function.state = "Failed";
        aws.inject(Fault.on("lambda:GetFunctionConfiguration").answer("{\"State\": \"Active\"}"));
        var run = toLive("--test");
        assertEquals(4, run.exitCode(), run.err());
        assertEquals("false", run.json().at("/repositories/0/test/delivered").asText());
        assertTrue(run.json().at("/repositories/0/test/error").asText().contains("ResourceConflictException"));
        assertTrue(run.err().contains(": the test of build did not arrive at " + live + ": "), run.err());
        var topicRun = run("--trigger-name", "tell", "--repository-names", repo.name, "--destination-arn", topic.arn,
                "--test", "--print", "/repositories/0/test");
        assertEquals(0, topicRun.exitCode(), topicRun.err());
        assertEquals(read("{\"delivered\": true}"), topicRun.json());
    }

    @Test
    void otherTriggersAreThereAfterATestThatTakesThemAway() {
        repo.triggers(triggers(2, topic.arn));
        aws.codecommit.testKeepsTriggers = true;
        var run = toLive("--test");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().contains("the test left the tested trigger alone in the repository; putting the others"
                + " back"), run.err());
        assertEquals(List.of("theirs-0", "theirs-1", "build"), names(repo));
    }

    // ---- What would be lost is refused

    @Test
    void aFunctionThatCannotBeInvokedIsRefused() {
        var missing = trigger("--destination-arn", function.arn + ":test");
        assertEquals(1, missing.exitCode());
        assertTrue(missing.err().contains("it has no such version or alias; create an alias with: aws lambda "
                + "create-alias"), missing.err());
        assertTrue(trigger("--destination-arn", function.arn + "x").err().contains("there is no such function"));
        function.state = "Failed";
        function.stateReason = "The image is gone";
        assertTrue(toLive().err().contains("the function cannot be invoked: The image is gone"));
        var foreign = trigger("--destination-arn", "arn:aws:lambda:eu-west-1:444455556666:function:build");
        assertEquals(1, foreign.exitCode());
        assertTrue(foreign.err().contains("is of another account than the repositories"), foreign.err());
        Script.assertReadsOnly(aws);
        function.state = "Inactive";
        var inactive = toLive();
        assertEquals(0, inactive.exitCode());
        assertTrue(inactive.err().contains("its first invocation wakes it"), inactive.err());
    }

    @Test
    void aNewFunctionIsWaitedFor() {
        function.pending(1);
        assertEquals("created", toLive().status());
        assertEquals(2, aws.calls().stream().filter(call -> call.name().equals("lambda:GetFunctionConfiguration"))
                .count());
    }

    @Test
    void aTopicThatCodeCommitCannotPublishToIsRefused() {
        topic.attributes.put("KmsMasterKeyId", "alias/aws/sns");
        assertTrue(toTopic().err().contains("it is encrypted under alias/aws/sns, whose policy is AWS's own"));
        var key = aws.kms.createKey(REGION);
        topic.attributes.put("KmsMasterKeyId", key.arn);
        var unknown = toTopic();
        assertEquals(1, unknown.exitCode());
        assertTrue(unknown.err().contains("the policy of its key " + key.arn + " does not let CodeCommit use it, whose"
                + " messages would be lost without a word; add to it: {\"Sid\":\"RepositoryTriggers\""), unknown.err());
        topic.attributes.remove("KmsMasterKeyId");
        var policy = topic.attributes.get("Policy");
        topic.attributes.put("Policy", policy.replace("\"SNS:Publish\"", "\"SNS:Receive\""));
        var closed = toTopic();
        assertTrue(closed.err().contains("its policy does not let CodeCommit publish, whose messages would be lost"
                + " without a word; add to it: {"), closed.err());
        assertTrue(trigger("--destination-arn", topic.arn + "x").err().contains("there is no such topic"));
        Script.assertReadsOnly(aws);
        var advice = closed.err().substring(closed.err().indexOf("{\"Sid\"")).strip();
        topic.attributes.put("Policy", "{\"Version\": \"2012-10-17\", \"Statement\": [" + advice + "]}");
        topic.attributes.put("KmsMasterKeyId", key.arn);
        key.policy = """
                {"Version": "2012-10-17", "Statement": [%s, {"Effect": "Allow", "Action": "kms:*", "Resource": "*",
                 "Principal": {"AWS": "arn:aws:iam::111122223333:root"}}]}"""
                .formatted(unknown.err().substring(unknown.err().indexOf("{\"Sid\"")).strip());
        var run = toTopic("--test");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(1, topic.published().size(), "what it advises is enough");
    }

    @Test
    void anotherAccountsTopicIsTakenOnTrustAndProvenByTheTest() {
        var theirs = aws.account(LocalAws.BACKUP_ACCOUNT).sns.createTopic(REGION, "theirs" + count);
        var untested = trigger("--destination-arn", theirs.arn);
        assertEquals(0, untested.exitCode(), untested.err());
        assertTrue(untested.err().contains("its account does not let you look at it; its policy has to have: {"),
                untested.err());
        assertEquals(4, trigger("--destination-arn", theirs.arn, "--test").exitCode());
        var advice = untested.err().replaceFirst("(?s).*has to have: ", "").replaceFirst("; --test.*\n", "");
        theirs.attributes.put("Policy", "{\"Version\": \"2012-10-17\", \"Statement\": [" + advice + "]}");
        assertEquals(0, trigger("--destination-arn", theirs.arn, "--test").exitCode());
    }

    // ---- Others at the same time, and failures

    @Test
    void whatASecondOperatorAddsWhileThePermissionIsMadeStays() {
        var run = Gate.inStep(aws, call -> {
            collect(call);
            if (call.name().equals("lambda:AddPermission")) {
                repo.triggers(triggers(1, live));
            }
        }, () -> toLive());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of("theirs-0", "build"), names(repo));
        assertTrue(run.json().path("undo").asText().contains("theirs-0"), run.out());
    }

    @Test
    void aPermissionThatASecondOperatorMadeMeanwhileIsNotThisRunsToTakeBack() {
        var run = Gate.inStep(aws, call -> {
            collect(call);
            if (call.name().equals("codecommit:GetRepositoryTriggers")) {
                function.statement("live", sid(repo), statement(repo.arn, ":live").put("Sid", sid(repo)));
            }
        }, () -> toLive());
        assertEquals("[trigger]", fields(run), run.err());
        assertFalse(run.json().path("undo").asText().contains("remove-permission"), run.out());
    }

    @Test
    void aTriggerThatSomeoneElseOverwritesIsPutInAgainAndOthersThatVanishAreNamed() {
        repo.triggers(triggers(2, topic.arn));
        var writes = new ArrayList<Call>();
        var run = Gate.inStep(aws, call -> {
            collect(call);
            if (call.name().equals("codecommit:PutRepositoryTriggers")) {
                if (writes.isEmpty()) {
                    repo.triggers(triggers(1, topic.arn));
                }
                writes.add(call);
            }
        }, () -> toLive());
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(2, writes.size());
        assertEquals(List.of("theirs-0", "build"), names(repo));
        assertTrue(run.err().contains("someone else changed the triggers at the same time; these are gone or changed: "
                + "[{\"name\":\"theirs-1\""), run.err());
        assertEquals("[permission, trigger]", fields(run), "each once");
        assertFalse(run.json().path("undo").asText().contains("theirs-1"), "what someone else removed stays so");
    }

    @Test
    void whoIsOverwrittenAgainAndAgainGivesWay() {
        var run = Gate.inStep(aws, call -> {
            collect(call);
            if (call.name().equals("codecommit:PutRepositoryTriggers")) {
                repo.triggers(triggers(1, topic.arn));
            }
        }, () -> toLive());
        assertEquals(1, run.exitCode());
        assertTrue(run.err().contains("others keep changing the triggers at the same time"), run.err());
    }

    @Test
    void aPolicyThatSomeoneElseChangesMeanwhileIsReadAgain() {
        function.statement("live", sid(repo), statement(repo.arn + "x", ":live").put("Sid", sid(repo)));
        aws.inject(Fault.on("lambda:RemovePermission").error(412, "PreconditionFailedException", "not the latest"));
        aws.inject(Fault.on("lambda:AddPermission").error(409, "ResourceConflictException", "in progress"));
        var run = toLive();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(List.of(sid(repo)), sids("live"));
        push(repo);
        assertEquals(1, function.invocations().size());
    }

    @ParameterizedTest
    @ValueSource(strings = {"lambda:GetFunctionConfiguration", "lambda:GetPolicy", "lambda:AddPermission",
            "codecommit:GetRepositoryTriggers", "codecommit:PutRepositoryTriggers",
            "codecommit:TestRepositoryTriggers"})
    void throttlingAndLostAnswersAreSurvived(String call) {
        aws.inject(Fault.on(call).times(2).throttle());
        var throttled = toLive("--test");
        assertEquals(0, throttled.exitCode(), throttled.err());
        assertEquals("created", throttled.status());
        trigger("--remove");
        aws.inject(Fault.on(call).loseAnswer());
        var lost = toLive("--test");
        assertEquals(0, lost.exitCode(), lost.err());
        assertEquals("[permission, trigger]", fields(lost));
        assertEquals(List.of("build"), names(repo));
        assertEquals(List.of(sid(repo)), sids("live"));
    }

    @Test
    void aTriggerThatIsRefusedLeavesNoPermission() {
        aws.inject(Fault.on("codecommit:PutRepositoryTriggers").error(400, "EncryptionKeyAccessDeniedException", "no"));
        var run = toLive();
        assertEquals(1, run.exitCode());
        assertEquals("add-repo-trigger: " + repo.name + ": EncryptionKeyAccessDeniedException: no (request id ",
                run.err().replaceFirst("(?s)(request id ).*", "$1"));
        assertNull(function.policy("live"));
        aws.inject(Fault.on("codecommit:PutRepositoryTriggers").error(400, "EncryptionKeyAccessDeniedException", "no"));
        aws.inject(Fault.on("lambda:RemovePermission").error(403, "AccessDeniedException", "no"));
        var left = toLive();
        assertEquals(1, left.exitCode());
        assertTrue(left.err().contains("a permission is left over, which could not be removed (AccessDeniedException:"
                + " no"), left.err());
        assertTrue(left.err().contains("aws lambda remove-permission --function-name " + function.name
                + " --qualifier live --statement-id " + sid(repo)), left.err());
    }

    @Test
    void aTriggerThatMayBeThereKeepsItsPermission() {
        aws.inject(Fault.on("codecommit:PutRepositoryTriggers").times(3).serverError());
        var run = toLive();
        assertEquals(1, run.exitCode());
        assertTrue(run.err().contains("the triggers are as they were, as far as CodeCommit shows; changed before that:"
                + " permission; the same command again does the rest; this takes it back: aws lambda"
                + " remove-permission"), run.err());
        assertEquals(List.of(sid(repo)), sids("live"));
        assertEquals("[trigger]", fields(toLive()));
    }

    // ---- Wrong usage

    static final String TO = "--destination-arn arn:aws:lambda:eu-west-1:111122223333:function:build:live ";

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '"', value = {
            "--trigger-name a,b --repository-names r " + TO + "| up to 100 letters, digits and . _ -, such as build",
            "--trigger-name 'a b' --repository-names r " + TO + "| such as build",
            "--trigger-name b --repository-names a/b " + TO + "| such as 'team-*'",
            "--trigger-name b --repository-names r --exclude a$ " + TO + "| such as 'team-*'",
            "--trigger-name b " + TO + "| --repository-names",
            "--repository-names r " + TO + "| --trigger-name",
            "--trigger-name b --repository-names r --all-repositories " + TO + "| mutually exclusive",
            "--trigger-name b --repository-names r | such as --destination-arn arn:aws:lambda",
            "--trigger-name b --repository-names r --destination-arn build | such as arn:aws:lambda:eu-west-1",
            "--trigger-name b --repository-names r --destination-arn arn:aws:sqs:eu-west-1:111122223333:q | such as",
            "--trigger-name b --repository-names r --destination-arn arn:aws:sns:eu-west-1:111122223333:t.fifo"
                    + " | use a standard topic, such as arn:aws:sns:eu-west-1:111122223333:t",
            "--trigger-name b --repository-names r --destination-arn arn:aws:sns:us-east-1:111122223333:t"
                    + " | or use --region us-east-1",
            "--trigger-name b --repository-names r"
                    + " --destination-arn arn:aws:lambda:eu-west-1:111122223333:function:f:$LATEST"
                    + " | such as arn:aws:lambda:eu-west-1:111122223333:function:f:live",
            "--trigger-name b --repository-names r --events push " + TO + "| one of all, createReference",
            "--trigger-name b --repository-names r --events all createReference " + TO + "| --events all",
            "--trigger-name b --repository-names r --branches refs/heads/main " + TO + "| such as main",
            "--trigger-name b --repository-names r --branches release/* " + TO + "| without wildcards, such as main",
            "--trigger-name b --repository-names r --branches a..b " + TO + "| such as main",
            "--trigger-name b --repository-names r --branches 1 2 3 4 5 6 7 8 9 10 11 " + TO + "| takes 10 at most",
            "--trigger-name b --repository-names r --branches a --all-branches " + TO + "| mutually exclusive",
            "--trigger-name b --repository-names r --remove --events all | --trigger-name build --all-repositories",
            "--trigger-name b --repository-names r --remove --test | --trigger-name build --all-repositories",
            "--trigger-name b --repository-names r --test --dry-run " + TO + "| leave one of them out",
            "--trigger-name b --repository-names r --any-repository"
                    + " --destination-arn arn:aws:sns:eu-west-1:111122223333:t | leave it out",
            "--trigger-name b --destination arn:aws:sns:eu-west-1:111122223333:t --repository-names r"
                    + " | did you mean --destination-arn"})
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        var words = Arrays.stream(arguments.strip().split(" (?=([^']*'[^']*')*[^']*$)"))
                .map(word -> word.replace("'", "")).toArray(String[]::new);
        Script.assertRefused(run(words), right.strip(), aws);
    }

    @Test
    void customDataHasAtMost1000Characters() {
        Script.assertRefused(toLive("--custom-data", "x".repeat(1001)), "such as --custom-data team=payments", aws);
        assertEquals("created", toLive("--custom-data", "x".repeat(1000)).status());
        assertNotEquals("", repo.triggers().at("/0/customData").asText());
    }

    @Test
    void thePrintedPartIsRaw() {
        assertEquals("created\n", toLive("--print", "/repositories/0/status").out());
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void itsIamActionsAreThoseOfItsCalls() {
        var key = aws.kms.createKey(REGION);
        topic.attributes.put("KmsMasterKeyId", key.arn);
        assertEquals(1, toTopic().exitCode());
        Script.assertIamActions("AddRepoTrigger", ALL, Set.of());
    }
}
