import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Fault;
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
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.PullRequest;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class RequireApprovalTest {
    static final LocalAws aws = LocalAws.start();
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";
    static final String REVIEWERS = "CodeCommitApprovers:111122223333:Reviewers/*";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();
    static CodeCommitClient administrator;
    static int count;

    final String template = "template " + ++count;
    final CodeCommit.Repo payments = repository("payments");
    final CodeCommit.Repo orders = repository("orders");

    @BeforeAll
    static void use() {
        Script.use(aws);
        aws.onCall(RequireApprovalTest::remember);
        administrator = CodeCommitClient.create();
    }

    static boolean isRunning;

    /** But for what the tests themselves call. */
    static void remember(Call call) {
        if (isRunning) ALL.add(call);
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    @BeforeEach
    void clear() {
        aws.clearFaults();
        aws.clearCalls();
        aws.codecommit.refuseAssociated = false;
    }

    static CodeCommit.Repo repository(String name) {
        return aws.codecommit.createRepository(name + count).commit("refs/heads/main", "a", "1\n")
                .ref("refs/heads/x", "refs/heads/main").commit("refs/heads/x", "x", "x\n");
    }

    static Script.Run run(String... arguments) {
        isRunning = true;
        try {
            return Script.run(new RequireApproval().commandLine(), arguments);
        } finally {
            isRunning = false;
        }
    }

    /** For this test's template and repositories. */
    Script.Run require(String... more) {
        return run(Stream.concat(Stream.of("--template-name", template, "--repository-names", payments.name,
                orders.name), Stream.of(more)).toArray(String[]::new));
    }

    /** What is required in most tests. */
    Script.Run twoForMain(String... more) {
        return require(Stream.concat(Stream.of("--approvals", "2", "--approvers", "Reviewers/*", "--branches", "main"),
                Stream.of(more)).toArray(String[]::new));
    }

    static JsonNode json(String text) {
        try {
            return JSON.readTree(text.replace('\'', '"'));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static final JsonNode TWO_FOR_MAIN = json("{'Version':'2018-11-08','DestinationReferences':['refs/heads/main'],"
            + "'Statements':[{'Type':'Approvers','NumberOfApprovalsNeeded':2,'ApprovalPoolMembers':['" + REVIEWERS
            + "']}]}");

    JsonNode template() {
        return aws.codecommit.approvalRuleTemplate(REGION, template);
    }

    JsonNode content() {
        return json(template().path("approvalRuleTemplateContent").asText());
    }

    /** Someone changes it by hand. */
    void write(String content) {
        administrator.updateApprovalRuleTemplateContent(
                r -> r.approvalRuleTemplateName(template).newRuleContent(content.replace('\'', '"')));
    }

    boolean isAssociated(CodeCommit.Repo repository) {
        return repository.approvalRuleTemplates().contains(template);
    }

    static List<String> texts(JsonNode list) {
        return list.valueStream().map(JsonNode::asText).toList();
    }

    static String statuses(Script.Run... runs) {
        return Arrays.stream(runs).map(run -> run.exitCode() + " " + run.status()).collect(Collectors.joining(", "));
    }

    /** The operations of CodeCommit that were called, with how often. */
    static String calls() {
        var calls = new TreeMap<String, Integer>();
        aws.calls().stream().filter(call -> call.name().startsWith("codecommit:"))
                .forEach(call -> calls.merge(call.name().substring("codecommit:".length()), 1, Integer::sum));
        return calls.toString();
    }

    // What it does

    @Test
    void createsATemplateAndAssociatesIt() {
        var run = twoForMain("--template-description", "two of them");
        assertEquals("0 created", statuses(run), run.err());
        assertEquals("", run.err());
        assertEquals(TWO_FOR_MAIN, content());
        assertTrue(isAssociated(payments) && isAssociated(orders));
        var shown = run.json().path("approvalRuleTemplate");
        assertEquals(template().path("approvalRuleTemplateId"), shown.path("approvalRuleTemplateId"));
        assertEquals(template().path("ruleContentSha256"), shown.path("ruleContentSha256"));
        assertEquals("two of them", shown.path("approvalRuleTemplateDescription").asText());
        assertEquals(TWO_FOR_MAIN, shown.path("approvalRuleTemplateContent"));
        assertEquals(List.of(orders.name, payments.name), texts(shown.path("repositoryNames")));
        assertEquals(List.of("approvalRuleTemplate", "repositoryNames"), texts(fields(run)));
        assertEquals("aws codecommit batch-disassociate-approval-rule-template-from-repositories --cli-input-json "
                + "'{\"approvalRuleTemplateName\":\"" + template + "\",\"repositoryNames\":[\"" + orders.name + "\",\""
                + payments.name + "\"]}' --region eu-west-1 && aws codecommit delete-approval-rule-template "
                + "--cli-input-json '{\"approvalRuleTemplateName\":\"" + template + "\"}' --region eu-west-1",
                run.json().path("undo").asText());
    }

    static JsonNode fields(Script.Run run) {
        return JSON.valueToTree(run.json().path("changes").valueStream().map(change -> change.path("field").asText())
                .toList());
    }

    @Test
    void aSecondRunChangesNothing() {
        twoForMain();
        aws.clearCalls();
        var second = twoForMain();
        Script.assertUnchanged(second, aws);
        assertEquals("", second.err());
        assertEquals("{GetApprovalRuleTemplate=1, ListRepositories=1, ListRepositoriesForApprovalRuleTemplate=1}",
                calls());
    }

    @Test
    void aDryRunOnlyReads() {
        var created = twoForMain("--dry-run");
        assertEquals("0 would-create", statuses(created), created.err());
        assertEquals(TWO_FOR_MAIN, created.json().at("/approvalRuleTemplate/approvalRuleTemplateContent"));
        assertEquals(2, created.json().at("/approvalRuleTemplate/repositoryNames").size());
        assertFalse(created.json().has("undo"));
        Script.assertReadsOnly(aws);
        assertEquals("0 created", statuses(twoForMain("--dry-run=false")));
        aws.clearCalls();
        assertEquals("0 unchanged, 0 would-update, 0 would-delete", statuses(twoForMain("--dry-run"),
                require("--approvals", "3", "--dry-run"), require("--remove", "--dry-run")));
        Script.assertReadsOnly(aws);
    }

    @Test
    void whatIsNotGivenStaysAndCanBeTakenAway() {
        twoForMain("--template-description", "why");
        var run = require("--approvals", "3");
        assertEquals("0 updated", statuses(run), run.err());
        assertEquals(json(TWO_FOR_MAIN.toString().replace("Needed\":2", "Needed\":3")), content());
        assertEquals("why", template().path("approvalRuleTemplateDescription").asText());
        assertTrue(run.json().path("undo").asText().contains("update-approval-rule-template-content --cli-input-json"));
        require("--approvals", "3", "--any-approver");
        assertTrue(content().at("/Statements/0/ApprovalPoolMembers").isMissingNode(), content().toString());
        assertEquals(1, content().path("DestinationReferences").size());
        require("--approvals", "3", "--all-branches", "--template-description", "");
        assertEquals("{\"Version\":\"2018-11-08\",\"Statements\":[{\"Type\":\"Approvers\","
                + "\"NumberOfApprovalsNeeded\":3}]}", content().toString());
        assertFalse(template().has("approvalRuleTemplateDescription"));
        assertEquals("0 unchanged", statuses(require("--approvals", "3")));
    }

    @Test
    void mendsWhatWasChangedByHandAndComparesByMeaning() {
        twoForMain("--branches", "release/*", "--approvers", "alice");
        var wanted = content();
        write("{'Statements': [{'ApprovalPoolMembers': ['CodeCommitApprovers:111122223333:alice', '" + REVIEWERS
                + "'], 'NumberOfApprovalsNeeded': 2, 'Type': 'Approvers'}], 'DestinationReferences': "
                + "['refs/heads/release/*', 'refs/heads/main'], 'Version': '2018-11-08'}");
        assertEquals("0 unchanged", statuses(twoForMain("--branches", "release/*", "--approvers", "alice")));
        write("{'Version':'2018-11-08','Statements':[{'Type':'Approvers','NumberOfApprovalsNeeded':1}]}");
        administrator.disassociateApprovalRuleTemplateFromRepository(
                r -> r.approvalRuleTemplateName(template).repositoryName(orders.name));
        var mended = twoForMain("--branches", "release/*", "--approvers", "alice");
        assertEquals("0 updated", statuses(mended), mended.err());
        assertEquals(wanted, content());
        assertEquals(List.of("approvalRuleTemplateContent", "repositoryNames"), texts(fields(mended)));
        assertEquals(List.of(orders.name), texts(mended.json().at("/changes/1/to")), "only what was missing");
    }

    @Test
    void aContentThatItCannotReadIsOnlyReplacedByOneThatIsGivenWhole() {
        twoForMain();
        ((ObjectNode) template()).put("approvalRuleTemplateContent", "{Version: 2018-11-08}");
        var run = require("--approvals", "2", "--branches", "main");
        assertEquals(1, run.exitCode(), run.out());
        assertTrue(run.err().contains("say what it should be, by --approvers or --any-approver, and --branches or "
                + "--all-branches; it is {Version: 2018-11-08}"), run.err());
        assertEquals("0 updated", statuses(twoForMain()));
        assertEquals(TWO_FOR_MAIN, content());
    }

    @Test
    void otherRepositoriesKeepTheTemplateAndAreNamed() {
        twoForMain();
        var run = run("--template-name", template, "--approvals", "2", "--repository-names", payments.name);
        assertEquals("0 unchanged", statuses(run));
        assertTrue(run.err().contains(template + ": stays associated with other repositories, too: " + orders.name),
                run.err());
        assertEquals(List.of(orders.name), texts(run.json().at("/approvalRuleTemplate/otherRepositoryNames")));
    }

    @Test
    void globsNameManyRepositoriesAndAllThereAre() {
        var names = List.of("team-a", "team-b", "team-sandbox", "other");
        names.forEach(name -> aws.codecommit.createRepository("us-east-1", name));
        var globs = run("--region", "us-east-1", "--template-name", "t", "--approvals", "1", "--repository-names",
                "team-*", "--exclude", "*sandbox");
        assertEquals("0 created", statuses(globs), globs.err());
        assertEquals(List.of("team-a", "team-b"), texts(globs.json().at("/approvalRuleTemplate/repositoryNames")));
        var all = run("--region", "us-east-1", "--template-name", "t", "--approvals", "1", "--all-repositories");
        assertEquals("0 updated", statuses(all), all.err());
        assertEquals(List.of("other", "team-sandbox"), texts(all.json().at("/changes/0/to")));
        var unknown = run("--region", "us-east-1", "--template-name", "t", "--approvals", "1", "--repository-names",
                "team-a", "paymets", "x*");
        assertEquals(1, unknown.exitCode(), unknown.out());
        assertEquals("require-approval: t: no such repository in us-east-1: paymets, x*\n", unknown.err());
    }

    @Test
    void membersAreOfThePartitionAndAccountOfTheRepositories() {
        aws.codecommit.createRepository("cn-north-1", "payments");
        var run = run("--region", "cn-north-1", "--template-name", "t", "--approvals", "1", "--repository-names",
                "payments", "--approvers", "arn:aws-cn:sts::111122223333:assumed-role/Reviewers/*", "alice");
        assertEquals("0 created", statuses(run), run.err());
        assertTrue(run.out().contains("CodeCommitApprovers:111122223333:alice"), run.out());
        for (var member : List.of("arn:aws:iam::444455556666:user/alice", "CodeCommitApprovers:444455556666:alice",
                "arn:aws-cn:iam::111122223333:user/alice")) {
            aws.clearCalls();
            var refused = require("--approvals", "1", "--approvers", member, "bob");
            assertEquals(1, refused.exitCode(), refused.out());
            assertTrue(refused.err().contains(member + " is of another "), refused.err());
            assertEquals("{}", calls());
        }
    }

    @Test
    void aPoolThatHasNobodyToSpareIsTold() {
        var run = require("--approvals", "2", "--approvers", "alice", "arn:aws:iam::111122223333:user/team/bob");
        assertEquals("0 created", statuses(run), run.err());
        assertEquals("require-approval: " + template + ": nobody can merge a pull request of one of the 2 approvers, as"
                + " the author does not count; add an approver\n", run.err());
        var more = require("--approvals", "3");
        assertEquals(1, more.exitCode(), more.out());
        assertTrue(more.err().contains("with 3 approvals by 2 approvers no pull request could be merged"), more.err());
        assertEquals(2, content().at("/Statements/0/NumberOfApprovalsNeeded").asInt());
    }

    // Removal

    @Test
    void isTakenOffSomeRepositoriesAndDeletedWithTheLast() {
        twoForMain();
        var some = run("--template-name", template, "--repository-names", payments.name, "--remove");
        assertEquals("0 deleted", statuses(some), some.err());
        assertTrue(some.err().contains(template + ": kept, because other repositories have it: " + orders.name),
                some.err());
        assertFalse(isAssociated(payments));
        var kept = run("--template-name", template, "--all-repositories", "--exclude", orders.name, "--remove");
        assertEquals("0 unchanged", statuses(kept), kept.err());
        var rest = run("--template-name", template, "--all-repositories", "--remove");
        assertEquals("0 deleted", statuses(rest), rest.err());
        assertNull(template());
        assertEquals(List.of("repositoryNames", "approvalRuleTemplate"), texts(fields(rest)));
        aws.clearCalls();
        Script.assertUnchanged(run("--template-name", template, "--all-repositories", "--remove"), aws);
    }

    @Test
    void aTemplateThatCannotBeDeletedIsNamedBesideWhatWasTakenOff() {
        twoForMain();
        aws.inject(Fault.on("codecommit:DeleteApprovalRuleTemplate").error(403, "AccessDeniedException", "not you"));
        var run = require("--remove");
        assertEquals("3 deleted", statuses(run), run.err());
        assertTrue(run.json().at("/approvalRuleTemplate/error").asText().startsWith("AccessDeniedException: not you"));
        assertFalse(isAssociated(payments) || isAssociated(orders));
        aws.inject(Fault.on("codecommit:DeleteApprovalRuleTemplate").error(403, "AccessDeniedException", "not you"));
        var nothing = require("--remove");
        assertEquals(1, nothing.exitCode(), "there was nothing left to take off: " + nothing.out());
        assertEquals("", nothing.out());
        assertTrue(nothing.err().contains("require-approval: " + template
                + ": could not be deleted: AccessDeniedException: not you"), nothing.err());
        assertEquals("0 deleted", statuses(require("--remove")));
    }

    @Test
    void aRuleForNoRepositoryIsNotMadeByMistakeAndSaidWhereThereAreNone() {
        var excluded = run("--template-name", template, "--approvals", "1", "--all-repositories", "--exclude", "*");
        assertEquals(1, excluded.exitCode(), excluded.out());
        assertEquals("require-approval: " + template + ": no repository is left in eu-west-1; check --exclude *\n",
                excluded.err());
        assertNull(template());
        var none = run("--template-name", template, "--approvals", "1", "--all-repositories", "--region", "eu-west-2");
        assertEquals("0 created", statuses(none));
        assertEquals("require-approval: there are no repositories in eu-west-2: run the same command again when there"
                + " are\n", none.err());
    }

    // Pull requests that are open already

    @Test
    void tellsWhichOpenPullRequestsStayOutside() {
        payments.ref("refs/heads/dev", "refs/heads/main");
        var before = payments.pullRequest("before", "x", "main");
        payments.pullRequest("elsewhere", "x", "dev");
        var closed = payments.pullRequest("closed", "x", "main");
        payments.closePullRequest(closed);
        for (var more : List.of("--dry-run", "--dry-run=false")) {
            var run = twoForMain(more);
            assertEquals("[{\"repositoryName\":\"" + payments.name + "\",\"pullRequestId\":\"" + before + "\"}]",
                    run.json().at("/approvalRuleTemplate/openPullRequests").toString());
            assertEquals("require-approval: " + template + ": it does not hold for 1 open pull request; close and open "
                    + "them anew to have it hold for them: " + payments.name + " " + before + "\n", run.err());
        }
        var after = orders.pullRequest("after", "x", "main");
        assertFalse(twoForMain().json().at("/approvalRuleTemplate").has("openPullRequests"), "nothing changed");
        var changed = twoForMain("--approvers", "alice");
        assertEquals(List.of(after, before), texts(JSON.valueToTree(changed.json()
                .at("/approvalRuleTemplate/openPullRequests").findValuesAsText("pullRequestId"))),
                "a rule that was made before stays as it was");
        var removed = require("--remove");
        assertEquals(List.of(after), texts(JSON.valueToTree(removed.json()
                .at("/approvalRuleTemplate/openPullRequests").findValuesAsText("pullRequestId"))));
        assertTrue(removed.err().contains("its rule stays on 1 open pull request; only an override sets it aside"),
                removed.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"ListPullRequests", "GetPullRequest"})
    void whoMayNotSeePullRequestsIsToldSoAndIsDone(String operation) {
        payments.pullRequest("before", "x", "main");
        aws.inject(Fault.on("codecommit:" + operation).always().error(400, "AccessDeniedException", "no " + operation));
        var run = twoForMain();
        assertEquals("0 created", statuses(run), run.err());
        assertTrue(run.err().contains("the open pull requests could not be counted: AccessDeniedException: no "
                + operation), run.err());
        assertFalse(run.json().at("/approvalRuleTemplate").has("openPullRequests"));
    }

    // Half-way

    @Test
    void aRepositoryThatFailsDoesNotStopTheOthers() {
        for (var i = 0; i < 25; i++) {
            orders.approvalRuleTemplate("other" + i);
        }
        var run = twoForMain();
        assertEquals("3 created", statuses(run), run.err());
        assertTrue(isAssociated(payments));
        assertEquals(List.of(payments.name), texts(run.json().at("/approvalRuleTemplate/repositoryNames")));
        assertEquals("MaximumRuleTemplatesAssociatedWithRepositoryException",
                run.json().at("/approvalRuleTemplate/failed/0/errorCode").asText());
        assertTrue(run.err().startsWith("require-approval: " + orders.name
                + ": MaximumRuleTemplatesAssociatedWithRepositoryException: The maximum number"), run.err());
        assertFalse(run.json().path("undo").asText().contains(orders.name), run.out());
        assertEquals("3 unchanged", statuses(twoForMain()));
        var alone = run("--template-name", template, "--approvals", "2", "--repository-names", orders.name);
        assertEquals(1, alone.exitCode());
        assertEquals("", alone.out());
        aws.codecommit.deleteRepository(REGION, orders.name);
    }

    @Test
    void aBatchThatFailsDoesNotStopTheOthersAndTheNextRunDoesTheRest() {
        var names = IntStream.range(0, 250).mapToObj(i -> payments.name + "-%03d".formatted(i)).toList();
        names.forEach(aws.codecommit::createRepository);
        aws.inject(Fault.on("codecommit:BatchAssociateApprovalRuleTemplateWithRepositories").after(1)
                .error(403, "AccessDeniedException", "not now"));
        var arguments = new String[] {"--template-name", template, "--approvals", "1", "--repository-names",
                payments.name + "-*"};
        var run = run(arguments);
        assertEquals("3 created", statuses(run), run.err());
        assertEquals(150, run.json().at("/approvalRuleTemplate/repositoryNames").size());
        assertEquals(100, run.json().at("/approvalRuleTemplate/failed").size());
        assertEquals(2, run.json().path("undo").asText().split("batch-disassociate").length - 1);
        aws.clearCalls();
        assertEquals("0 updated", statuses(run(arguments)));
        assertTrue(calls().contains("BatchAssociateApprovalRuleTemplateWithRepositories=1,"), calls());
        assertTrue(names.stream().allMatch(name -> isAssociated(aws.codecommit.repository(name))));
    }

    @Test
    void aStepThatFailsIsNamedWithWhatWasChangedBeforeIt() {
        twoForMain();
        aws.inject(Fault.on("codecommit:UpdateApprovalRuleTemplateDescription").always()
                .error(403, "AccessDeniedException", "not you"));
        var run = require("--approvals", "3", "--template-description", "new");
        assertEquals(1, run.exitCode(), run.out());
        assertEquals("", run.out());
        assertTrue(run.err().contains(template + ": AccessDeniedException: not you") && run.err().contains(
                "changed before that: approvalRuleTemplateContent; this takes it back: aws codecommit update-approval-"
                        + "rule-template-content"), run.err());
    }

    /** Of 5,000 repositories, only those that lack the template are sent. */
    @Test
    void fiveThousandRepositoriesCostTheDifferenceAlone() {
        var region = "eu-central-1";
        var first = new String[] {"--region", region, "--template-name", "t", "--approvals", "1", "--repository-names",
                "r0000"};
        var all = new String[] {"--region", region, "--template-name", "t", "--approvals", "1", "--all-repositories"};
        aws.codecommit.createRepository(region, "r0000");
        assertEquals("0 created", statuses(run(first)));
        for (var i = 1; i < 5_000; i++) {
            var repository = aws.codecommit.createRepository(region, "r%04d".formatted(i));
            if (i % 40 != 0) repository.approvalRuleTemplate("t");
        }
        aws.clearCalls();
        var run = run(all);
        assertEquals("0 updated", statuses(run), run.err());
        assertEquals(5_000, run.json().at("/approvalRuleTemplate/repositoryNames").size());
        assertEquals("{BatchAssociateApprovalRuleTemplateWithRepositories=2, GetApprovalRuleTemplate=2, "
                + "ListPullRequests=124, ListRepositories=5, ListRepositoriesForApprovalRuleTemplate=49}", calls());
        aws.clearCalls();
        Script.assertUnchanged(run(all), aws);
        assertEquals("{GetApprovalRuleTemplate=1, ListRepositories=5, ListRepositoriesForApprovalRuleTemplate=50}",
                calls());
    }

    // Two operators

    /** Someone else changes the template between the look and the change. */
    @Test
    void aTemplateThatSomeoneElseChangesMeanwhileIsReadOnceMore() {
        twoForMain();
        aws.inject(Fault.on("codecommit:UpdateApprovalRuleTemplateContent")
                .hold(() -> write(TWO_FOR_MAIN.toString().replace("heads/main", "heads/prod"))).after(0));
        var run = require("--approvals", "3");
        assertEquals("0 updated", statuses(run), run.err());
        assertTrue(run.err().contains("someone else changed it in the meantime; comparing it once more"), run.err());
        assertEquals("refs/heads/prod", content().at("/DestinationReferences/0").asText(), "what was not given stays");
        assertEquals(3, content().at("/Statements/0/NumberOfApprovalsNeeded").asInt());
        assertTrue(run.json().path("undo").asText().contains("heads/prod"), "it brings back what the other one made");
    }

    @Test
    void ofTwoWhoChangeItAgainAndAgainOneGivesWay() {
        twoForMain();
        aws.inject(Fault.on("codecommit:UpdateApprovalRuleTemplateContent").always()
                .error(400, "InvalidRuleContentSha256Exception", "it was changed"));
        var run = require("--approvals", "3");
        assertEquals(1, run.exitCode(), run.out());
        assertTrue(run.err().contains(template + ": InvalidRuleContentSha256Exception: it was changed"), run.err());
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aTemplateThatSomeoneElseCreatesMeanwhileIsComparedAndKept(boolean same) {
        aws.inject(Fault.on("codecommit:CreateApprovalRuleTemplate").hold(() -> administrator
                .createApprovalRuleTemplate(r -> r.approvalRuleTemplateName(template).approvalRuleTemplateContent(
                        same ? TWO_FOR_MAIN.toString() : TWO_FOR_MAIN.toString().replace("\":2", "\":1")))));
        var run = twoForMain();
        assertEquals("0 updated", statuses(run), run.err());
        assertEquals(TWO_FOR_MAIN, content());
        assertEquals(same ? List.of("repositoryNames") : List.of("approvalRuleTemplateContent", "repositoryNames"),
                texts(fields(run)));
        assertFalse(run.json().path("undo").asText().contains("delete-approval-rule-template"),
                "what someone else created stays");
    }

    @Test
    void aTemplateThatSomeoneElseAssociatesMeanwhileIsKept() {
        twoForMain();
        var other = repository("other");
        aws.inject(Fault.on("codecommit:DeleteApprovalRuleTemplate").hold(() -> administrator
                .associateApprovalRuleTemplateWithRepository(
                        r -> r.approvalRuleTemplateName(template).repositoryName(other.name))));
        var run = require("--remove");
        assertEquals("3 deleted", statuses(run), run.err());
        assertTrue(run.err().contains("kept, because someone else associated it in the meantime"), run.err());
        assertTrue(isAssociated(other));
    }

    // Faults

    static final List<String> OPERATIONS = List.of("GetApprovalRuleTemplate", "ListRepositories",
            "ListRepositoriesForApprovalRuleTemplate", "CreateApprovalRuleTemplate",
            "UpdateApprovalRuleTemplateContent", "UpdateApprovalRuleTemplateDescription",
            "BatchAssociateApprovalRuleTemplateWithRepositories", "ListPullRequests",
            "BatchDisassociateApprovalRuleTemplateFromRepositories", "DeleteApprovalRuleTemplate");

    /** Of each call the first one fails. What AWS answers to a second association is not documented. */
    @ParameterizedTest
    @CsvSource({"throttled, 400, false", "lost, 0, false", "lost, 0, true"})
    void throttlingAndLostAnswersAreSurvived(String how, int status, boolean refuseAssociated) {
        aws.codecommit.refuseAssociated = refuseAssociated;
        for (var operation : OPERATIONS) {
            var fault = Fault.on("codecommit:" + operation);
            aws.inject(how.equals("lost") ? fault.loseAnswer() : fault.throttle());
        }
        var runs = statuses(twoForMain(), require("--approvals", "3", "--template-description", "new"),
                require("--remove"));
        assertEquals("0 created, 0 updated, 0 deleted", runs);
        assertNull(template());
        for (var operation : OPERATIONS) {
            // the repositories' pull requests are listed at the same time: any of these calls may be the one
            assertTrue(aws.calls().stream().anyMatch(call -> call.name().equals("codecommit:" + operation)
                    && call.status() == status), operation);
        }
    }

    @Test
    void aLostAnswerIsTheRunsOwnChange() {
        aws.inject(Fault.on("codecommit:CreateApprovalRuleTemplate").loseAnswer());
        var created = twoForMain();
        assertEquals(List.of("approvalRuleTemplate", "repositoryNames"), texts(fields(created)), created.err());
        assertTrue(created.json().path("undo").asText().contains("delete-approval-rule-template"), created.out());
        aws.inject(Fault.on("codecommit:UpdateApprovalRuleTemplateContent").loseAnswer());
        var updated = require("--approvals", "3");
        assertEquals(List.of("approvalRuleTemplateContent"), texts(fields(updated)), updated.err());
        assertEquals("", created.err() + updated.err());
    }

    // Bad input

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', quoteCharacter = '\u0001', value = {
            "--approvals|2|--all-repositories; --template-name",
            "--template-name|a/b|--approvals|2|--all-repositories; such as two-for-main",
            "--template-name|a.git|--approvals|2|--all-repositories; such as two-for-main",
            "--template-name|LONG101|--approvals|2|--all-repositories; such as two-for-main",
            "--template-name|t|--all-repositories; such as --approvals 2",
            "--template-name|t|--approvals|2; --repository-names",
            "--template-name|t|--approvals|2|--all-repositories|--repository-names|x; mutually exclusive",
            "--template-name|t|--approvals|two|--all-repositories; --approvals",
            "--template-name|t|--approvals|0|--all-repositories; 1 to 200, such as 2",
            "--template-name|t|--approvals|201|--all-repositories; 1 to 200, such as 2",
            "--template-name|t|--approvals|2|--repository-names|a/b; such as 'team-*'",
            "--template-name|t|--approvals|2|--all-repositories|--exclude|a b; such as 'team-*'",
            "--template-name|t|--approvals|2|--all-repositories|--branches|refs/tags/v1; without refs/heads/",
            "--template-name|t|--approvals|2|--all-repositories|--branches|refs/heads/main; without refs/heads/",
            "--template-name|t|--approvals|2|--all-repositories|--branches|*; not at its beginning",
            "--template-name|t|--approvals|2|--all-repositories|--branches|*/x; such as main or 'release/*'",
            "--template-name|t|--approvals|2|--all-repositories|--branches|v?; such as main or 'release/*'",
            "--template-name|t|--approvals|2|--all-repositories|--branches|a..b; such as main or 'release/*'",
            "--template-name|t|--approvals|2|--all-repositories|--branches|main|--all-branches; mutually exclusive",
            "--template-name|t|--approvals|2|--all-repositories|--branches|MANY101; takes 100: use patterns",
            "--template-name|t|--approvals|2|--all-repositories|--branches|LONG80; CodeCommit takes 3000",
            "--template-name|t|--approvals|1|--all-repositories|--approvers|a b; assumed-role/Reviewers/*",
            "--template-name|t|--approvals|1|--all-repositories|--approvers|a/b/c; assumed-role/Reviewers/*",
            "--template-name|t|--approvals|1|--all-repositories|--approvers|arn:aws:iam::111122223333:role/X; "
                    + "sessions of a role ('Reviewers/*')",
            "--template-name|t|--approvals|1|--all-repositories|--approvers|arn:aws:sts::111122223333:assumed-role/X; "
                    + "sessions of a role ('Reviewers/*')",
            "--template-name|t|--approvals|1|--all-repositories|--approvers|arn:aws:iam::1111:user/x; "
                    + "the ARN of a user",
            "--template-name|t|--approvals|1|--all-repositories|--approvers|CodeCommitApprovers:111122223333:a|"
                    + "arn:aws:iam::444455556666:user/b; must be of the account of the repositories",
            "--template-name|t|--approvals|1|--all-repositories|--approvers|MANY51; use a pattern",
            "--template-name|t|--approvals|1|--all-repositories|--approvers|a|--any-approver; mutually exclusive",
            "--template-name|t|--approvals|3|--all-repositories|--approvers|alice|bob; with 3 approvals by 2 approvers",
            "--template-name|t|--approvals|2|--all-repositories|--approvers|alice|"
                    + "arn:aws:iam::111122223333:user/team/alice|CodeCommitApprovers:111122223333:alice; by 1 ",
            "--template-name|t|--approvals|2|--all-repositories|--template-description|LONG1001; up to 1,000",
            "--template-name|t|--approvals|2|--all-repositories|--remove; --remove: use it without --approvals",
            "--template-name|t|--all-repositories|--remove|--any-approver; --remove: use it without --approvals",
            "--template-name|t|--approvals|2|--all-repositories|--region|Ireland; eu-west-1",
            "--template-name|t|--approvals|2|--all-repositories|--print|status; /status",
            "--template-names|t|--approvals|2|--all-repositories; --template-name",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        var words = Arrays.stream(arguments.split("\\|")).flatMap(word -> switch (word) {
            case "LONG101", "LONG1001" -> Stream.of("x".repeat(Integer.parseInt(word.substring(4))));
            case "LONG80" -> IntStream.range(0, 80).mapToObj(i -> "a-long-name-of-a-branch/" + i + "x".repeat(20));
            case "MANY51", "MANY101" -> IntStream.range(0, Integer.parseInt(word.substring(4))).mapToObj(i -> "m" + i);
            default -> Stream.of(word);
        });
        Script.assertRefused(run(words.toArray(String[]::new)), right, aws);
    }

    // The README's recipe

    /** Someone's session of a role: with CodeCommit's API and with Git. */
    record Person(String resource, LocalAws.Login login, CodeCommitClient codecommit) {
        static Person of(String role, String name) {
            var login = new LocalAws.Login("ASIA" + name.toUpperCase() + "0".repeat(12), "secret-of-" + name, "token");
            aws.addCredentials(login.accessKeyId(), login.secretAccessKey(), login.sessionToken(),
                    "assumed-role/" + role + "/" + name, Instant.MAX);
            var credentials = AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(),
                    login.sessionToken());
            return new Person("assumed-role/" + role + "/" + name, login, CodeCommitClient.builder()
                    .region(Region.EU_WEST_1).credentialsProvider(StaticCredentialsProvider.create(credentials))
                    .build());
        }

        void push(Path clone, CodeCommit.Repo repository, String refs) {
            Git.run(clone, "-c", "http.extraHeader=Authorization: " + aws.gitAuthorization(login, repository.name),
                    "push", "--quiet", aws.endpoint() + "/v1/repos/" + repository.name, refs);
        }

        PullRequest open(CodeCommit.Repo repository, String branch) {
            return codecommit.createPullRequest(r -> r.title(branch).targets(t -> t.repositoryName(repository.name)
                    .sourceReference(branch).destinationReference("main"))).pullRequest();
        }

        void approve(PullRequest pullRequest) {
            codecommit.updatePullRequestApprovalState(r -> r.pullRequestId(pullRequest.pullRequestId())
                    .revisionId(pullRequest.revisionId()).approvalState("APPROVE"));
        }

        void merge(CodeCommit.Repo repository, PullRequest pullRequest) {
            codecommit.mergePullRequestByThreeWay(
                    r -> r.repositoryName(repository.name).pullRequestId(pullRequest.pullRequestId()));
        }
    }

    static String refusal(Runnable step) {
        try {
            step.run();
            return "none";
        } catch (AwsServiceException e) {
            return e.awsErrorDetails().errorCode();
        } catch (UncheckedIOException e) {
            return e.getMessage().contains("403") ? "HTTP 403" : e.getMessage();
        }
    }

    /** The README's commands for it, as they stand there. */
    static List<String> recipe() {
        var section = ReadmeTest.README.substring(ReadmeTest.README.indexOf("## Nobody pushes to main"));
        return Pattern.compile("(?m)^\\./jbang (.*)$").matcher(section).results().map(found -> found.group(1))
                .limit(2).toList();
    }

    @Test
    void nobodyPushesToMainAndEverybodyMergesWhatTwoOthersApproved(@TempDir Path clone) {
        localaws.Roles.create(aws);
        var scripts = List.of(new RequireApproval().commandLine(), new ApplyBranchDeny().commandLine());
        for (var i = 0; i < 2; i++) {
            var words = new ArrayList<>(Toolkit.words(recipe().get(i)));
            assertEquals(scripts.get(i).getCommandName(), words.remove(0));
            var run = Script.run(scripts.get(i), words.toArray(String[]::new));
            assertEquals("0 created", statuses(run), run.err());
        }
        var ada = Person.of("Developer", "ada");
        var bob = Person.of("Developer", "bob");
        var carol = Person.of("Developer", "carol");
        Git.run(clone, "clone", "--quiet", payments.git().getDirectory().toString(), ".");
        Git.run(clone, "checkout", "--quiet", "-b", "idea");
        Git.run(clone, "commit", "--quiet", "--allow-empty", "-m", "An idea");
        var main = payments.resolve("refs/heads/main");

        assertEquals("HTTP 403", refusal(() -> ada.push(clone, payments, "idea:main")), "a push to main");
        ada.push(clone, payments, "idea:idea");
        assertEquals("AccessDeniedException", refusal(() -> ada.codecommit.mergeBranchesByFastForward(
                r -> r.repositoryName(payments.name).sourceCommitSpecifier("idea").destinationCommitSpecifier("main")
                        .targetBranch("main"))), "a merge of branches");
        var first = ada.open(payments, "idea");
        assertEquals("PullRequestApprovalRulesNotSatisfiedException", refusal(() -> ada.merge(payments, first)));
        assertEquals("PullRequestCannotBeApprovedByAuthorException", refusal(() -> ada.approve(first)));
        bob.approve(first);
        bob.approve(first);
        assertEquals("PullRequestApprovalRulesNotSatisfiedException", refusal(() -> bob.merge(payments, first)));
        carol.approve(first);
        Git.run(clone, "commit", "--quiet", "--allow-empty", "-m", "One more idea");
        ada.push(clone, payments, "idea:idea");
        assertEquals("PullRequestApprovalRulesNotSatisfiedException", refusal(() -> ada.merge(payments, first)),
                "what was pushed after the approvals is not approved");
        var second = administrator.getPullRequest(r -> r.pullRequestId(first.pullRequestId())).pullRequest();

        for (var weakening : List.<Runnable>of(
                () -> ada.codecommit.overridePullRequestApprovalRules(r -> r.pullRequestId(second.pullRequestId())
                        .revisionId(second.revisionId()).overrideStatus("OVERRIDE")),
                () -> ada.codecommit.updateApprovalRuleTemplateContent(r -> r.approvalRuleTemplateName("two-for-main")
                        .newRuleContent(TWO_FOR_MAIN.toString().replace("\":2", "\":1"))),
                () -> ada.codecommit.disassociateApprovalRuleTemplateFromRepository(
                        r -> r.approvalRuleTemplateName("two-for-main").repositoryName(payments.name)),
                () -> ada.codecommit.batchDisassociateApprovalRuleTemplateFromRepositories(
                        r -> r.approvalRuleTemplateName("two-for-main").repositoryNames(payments.name)),
                () -> ada.codecommit.deleteApprovalRuleTemplate(r -> r.approvalRuleTemplateName("two-for-main")),
                () -> ada.codecommit.updateApprovalRuleTemplateName(
                        r -> r.oldApprovalRuleTemplateName("two-for-main").newApprovalRuleTemplateName("none")))) {
            assertEquals("AccessDeniedException", refusal(weakening));
        }
        assertEquals(main, payments.resolve("refs/heads/main"), "nothing came to main so far");

        bob.approve(second);
        carol.approve(second);
        ada.merge(payments, second);
        assertEquals("One more idea", Git.run(payments.git().getDirectory().toPath(), "log", "-1", "--format=%s",
                "main^2").strip());
        assertEquals("0 deleted, 0 deleted", statuses(
                Script.run(new ApplyBranchDeny().commandLine(), "--role-names", "Developer", "--remove"),
                Script.run(new RequireApproval().commandLine(), "--template-name", "two-for-main", "--all-repositories",
                        "--remove")));
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("RequireApproval", ALL, Set.of(
                "codecommit:AssociateApprovalRuleTemplateWithRepository",
                "codecommit:DisassociateApprovalRuleTemplateFromRepository"));
    }
}
