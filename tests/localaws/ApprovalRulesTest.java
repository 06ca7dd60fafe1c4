package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Instant;
import java.util.List;
import java.util.TreeMap;
import java.util.UUID;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.Approval;
import software.amazon.awssdk.services.codecommit.model.ApprovalRule;
import software.amazon.awssdk.services.codecommit.model.Evaluation;
import software.amazon.awssdk.services.codecommit.model.PullRequest;

/** Approval rule templates, the rules that they make, and who satisfies them. */
class ApprovalRulesTest {
    static final LocalAws aws = LocalAws.start();
    static final String HOME = "arn:aws:iam::111122223333:";
    static final String SESSION = "arn:aws:sts::111122223333:assumed-role/";
    static final CodeCommitClient administrator = AuthorizerTest.client(aws, CodeCommitClient.builder(),
            new LocalAws.Login(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY, null));
    static int names;

    final String template = "template " + ++names;
    final CodeCommit.Repo repo = aws.codecommit.createRepository("repository" + names)
            .commit("refs/heads/main", "a", "1\n").ref("refs/heads/x", "refs/heads/main")
            .commit("refs/heads/x", "x", "x\n");

    @AfterAll
    static void stop() {
        aws.close();
    }

    static String error(Runnable call) {
        return CodeCommitTest.error(call);
    }

    /** A client of a user or of a role's session, who is made if there is none. */
    static CodeCommitClient as(String resource) {
        var key = "ASIA" + UUID.randomUUID().toString().substring(0, 16);
        aws.addCredentials(key, "secret", "token", resource, Instant.MAX);
        return AuthorizerTest.client(aws, CodeCommitClient.builder(), new LocalAws.Login(key, "secret", "token"));
    }

    static String rule(int approvals, String... pool) {
        var members = pool.length == 0 ? ""
                : ",\"ApprovalPoolMembers\":[\"" + String.join("\",\"", pool) + "\"]";
        return "{\"Version\":\"2018-11-08\",\"Statements\":[{\"Type\":\"Approvers\",\"NumberOfApprovalsNeeded\":"
                + approvals + members + "}]}";
    }

    void create(String content) {
        administrator.createApprovalRuleTemplate(
                r -> r.approvalRuleTemplateName(template).approvalRuleTemplateContent(content));
    }

    void associate() {
        administrator.associateApprovalRuleTemplateWithRepository(
                r -> r.approvalRuleTemplateName(template).repositoryName(repo.name));
    }

    PullRequest open(CodeCommitClient author) {
        return author.createPullRequest(r -> r.title("X").targets(t -> t.repositoryName(repo.name)
                .sourceReference("x").destinationReference("main"))).pullRequest();
    }

    static PullRequest shown(PullRequest pullRequest) {
        return administrator.getPullRequest(r -> r.pullRequestId(pullRequest.pullRequestId())).pullRequest();
    }

    static void approve(CodeCommitClient who, PullRequest pullRequest) {
        who.updatePullRequestApprovalState(r -> r.pullRequestId(pullRequest.pullRequestId())
                .revisionId(pullRequest.revisionId()).approvalState("APPROVE"));
    }

    static Evaluation evaluation(PullRequest pullRequest) {
        return administrator.evaluatePullRequestApprovalRules(r -> r.pullRequestId(pullRequest.pullRequestId())
                .revisionId(pullRequest.revisionId())).evaluation();
    }

    static void override(PullRequest pullRequest, String status) {
        administrator.overridePullRequestApprovalRules(r -> r.pullRequestId(pullRequest.pullRequestId())
                .revisionId(pullRequest.revisionId()).overrideStatus(status));
    }

    void merge(CodeCommitClient who, PullRequest pullRequest) {
        who.mergePullRequestByFastForward(
                r -> r.repositoryName(repo.name).pullRequestId(pullRequest.pullRequestId()));
    }

    // Templates

    @Test
    void templatesAreChangedRenamedListedAndDeleted() {
        create(rule(1));
        var first = administrator.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName(template))
                .approvalRuleTemplate();
        var second = administrator.updateApprovalRuleTemplateContent(r -> r.approvalRuleTemplateName(template)
                .newRuleContent(rule(2)).existingRuleContentSha256(first.ruleContentSha256())).approvalRuleTemplate();
        assertEquals(List.of(rule(2), first.approvalRuleTemplateId()),
                List.of(second.approvalRuleTemplateContent(), second.approvalRuleTemplateId()));
        assertEquals("InvalidRuleContentSha256Exception",
                error(() -> administrator.updateApprovalRuleTemplateContent(r -> r.approvalRuleTemplateName(template)
                        .newRuleContent(rule(3)).existingRuleContentSha256(first.ruleContentSha256()))));
        assertEquals("why", administrator.updateApprovalRuleTemplateDescription(
                r -> r.approvalRuleTemplateName(template).approvalRuleTemplateDescription("why"))
                .approvalRuleTemplate().approvalRuleTemplateDescription());
        assertNull(administrator.updateApprovalRuleTemplateDescription(
                r -> r.approvalRuleTemplateName(template).approvalRuleTemplateDescription(""))
                .approvalRuleTemplate().approvalRuleTemplateDescription());
        associate();
        assertEquals("ApprovalRuleTemplateInUseException",
                error(() -> administrator.deleteApprovalRuleTemplate(r -> r.approvalRuleTemplateName(template))));
        administrator.updateApprovalRuleTemplateName(
                r -> r.oldApprovalRuleTemplateName(template).newApprovalRuleTemplateName(template + "b"));
        assertEquals(List.of(template + "b"), repo.approvalRuleTemplates());
        assertEquals("ApprovalRuleTemplateDoesNotExistException",
                error(() -> administrator.listRepositoriesForApprovalRuleTemplate(
                        r -> r.approvalRuleTemplateName(template))));
        administrator.disassociateApprovalRuleTemplateFromRepository(
                r -> r.approvalRuleTemplateName(template + "b").repositoryName(repo.name));
        assertTrue(administrator.listApprovalRuleTemplatesPaginator(r -> {}).stream()
                .flatMap(page -> page.approvalRuleTemplateNames().stream()).toList().contains(template + "b"));
        assertEquals(first.approvalRuleTemplateId(), administrator.deleteApprovalRuleTemplate(
                r -> r.approvalRuleTemplateName(template + "b")).approvalRuleTemplateId());
        assertNull(administrator.deleteApprovalRuleTemplate(r -> r.approvalRuleTemplateName(template + "b"))
                .approvalRuleTemplateId(), "to delete what is gone is no error");
    }

    @Test
    void aBatchTellsOfEachRepositoryThatItCouldNotDo() {
        create(rule(1));
        var full = aws.codecommit.createRepository(repo.name + "-full");
        for (var i = 0; i < 25; i++) {
            full.approvalRuleTemplate("other" + i);
        }
        var made = administrator.batchAssociateApprovalRuleTemplateWithRepositories(
                r -> r.approvalRuleTemplateName(template).repositoryNames(repo.name, "absent", full.name));
        assertEquals(List.of(repo.name), made.associatedRepositoryNames());
        var errors = new TreeMap<String, String>();
        made.errors().forEach(e -> errors.put(e.repositoryName(), e.errorCode()));
        assertEquals("{absent=RepositoryDoesNotExistException, " + full.name
                + "=MaximumRuleTemplatesAssociatedWithRepositoryException}", errors.toString());
        var taken = administrator.batchDisassociateApprovalRuleTemplateFromRepositories(
                r -> r.approvalRuleTemplateName(template).repositoryNames(repo.name, "absent"));
        assertEquals(List.of(List.of(repo.name), "absent"),
                List.of(taken.disassociatedRepositoryNames(), taken.errors().get(0).repositoryName()));
        var tooMany = IntStream.range(0, 101).mapToObj(i -> "r" + i).toList();
        assertEquals("MaximumRepositoryNamesExceededException",
                error(() -> administrator.batchAssociateApprovalRuleTemplateWithRepositories(
                        r -> r.approvalRuleTemplateName(template).repositoryNames(tooMany))));
        assertEquals("RepositoryNamesRequiredException",
                error(() -> administrator.batchDisassociateApprovalRuleTemplateFromRepositories(
                        r -> r.approvalRuleTemplateName(template).repositoryNames(List.of()))));
        assertEquals("ApprovalRuleTemplateDoesNotExistException",
                error(() -> administrator.batchAssociateApprovalRuleTemplateWithRepositories(
                        r -> r.approvalRuleTemplateName("absent").repositoryNames(repo.name))));
    }

    @Test
    void theRepositoriesOfATemplateAreListedPageByPage() {
        create(rule(1));
        var all = IntStream.range(0, 101)
                .mapToObj(i -> aws.codecommit.createRepository(repo.name + "-%03d".formatted(i))
                        .approvalRuleTemplate(template).name).toList();
        var pages = administrator.listRepositoriesForApprovalRuleTemplatePaginator(
                r -> r.approvalRuleTemplateName(template)).stream().toList();
        assertEquals(2, pages.size());
        assertEquals(all, pages.stream().flatMap(page -> page.repositoryNames().stream()).toList());
        assertEquals(7, administrator.listRepositoriesForApprovalRuleTemplate(
                r -> r.approvalRuleTemplateName(template).maxResults(7)).repositoryNames().size());
    }

    @Test
    void aTemplateTouchesNoPullRequestThatIsOpen() {
        var earlier = open(administrator);
        create(rule(1));
        associate();
        var author = as("user/author");
        var later = open(author);
        administrator.updateApprovalRuleTemplateContent(
                r -> r.approvalRuleTemplateName(template).newRuleContent(rule(2)));
        administrator.disassociateApprovalRuleTemplateFromRepository(
                r -> r.approvalRuleTemplateName(template).repositoryName(repo.name));
        administrator.deleteApprovalRuleTemplate(r -> r.approvalRuleTemplateName(template));
        assertEquals(List.of(), shown(earlier).approvalRules());
        assertEquals(List.of(rule(1)), shown(later).approvalRules().stream().map(ApprovalRule::approvalRuleContent)
                .toList());
        assertEquals("CannotDeleteApprovalRuleFromTemplateException",
                error(() -> author.deletePullRequestApprovalRule(
                        r -> r.pullRequestId(later.pullRequestId()).approvalRuleName(template))));
        assertEquals("CannotModifyApprovalRuleFromTemplateException",
                error(() -> author.updatePullRequestApprovalRuleContent(r -> r.pullRequestId(later.pullRequestId())
                        .approvalRuleName(template).newRuleContent(rule(1)))));
    }

    // Who counts

    /** By the examples of the user guide, and where it says what does not count. */
    @ParameterizedTest
    @CsvSource(textBlock = """
            CodeCommitApprovers:111122223333:Mary,         iam, user/Mary,                      yes
            CodeCommitApprovers:111122223333:Mary,         iam, user/team/Mary,                 yes
            CodeCommitApprovers:111122223333:Mary,         sts, federated-user/Mary,            yes
            CodeCommitApprovers:111122223333:Mary,         sts, assumed-role/Review/Mary,       no
            CodeCommitApprovers:111122223333:Mary,         iam, user/MaryAnn,                   no
            CodeCommitApprovers:111122223333:mary,         iam, user/Mary,                      no
            CodeCommitApprovers:111122223333:*Mary,        sts, assumed-role/Review/Mary,       yes
            CodeCommitApprovers:111122223333:Review/Mary,  sts, assumed-role/Review/Mary,       yes
            CodeCommitApprovers:111122223333:Review/*,     sts, assumed-role/Review/Li,         yes
            CodeCommitApprovers:111122223333:Review/*,     sts, assumed-role/Reviewer/Li,       no
            CodeCommitApprovers:111122223333:user/*,       iam, user/Mary,                      yes
            CodeCommitApprovers:444455556666:Mary,         iam, user/Mary,                      no
            arn:aws:sts::111122223333:assumed-role/Review/*, sts, assumed-role/Review/Mary,     yes
            arn:aws:sts::111122223333:assumed-role/Review, sts, assumed-role/Review/Mary,       no
            arn:aws:iam::111122223333:role/Review,         sts, assumed-role/Review/Mary,       no
            arn:aws:iam::111122223333:user/Mary,           iam, user/Mary,                      yes
            arn:aws:iam::111122223333:user/M*,             iam, user/Mary,                      yes
            arn:aws:iam::111122223333:user/Mary,           sts, federated-user/Mary,            no
            """)
    void membersOfAPoolAreMatchedAsTheUserGuideSays(String member, String service, String resource, String counts) {
        var rule = localaws.ApprovalRule.of(rule(1, member));
        assertEquals(counts.equals("yes"),
                rule.isSatisfied(List.of("arn:aws:" + service + "::111122223333:" + resource)));
    }

    @Test
    void theAuthorDoesNotCountAndAnyoneElseCountsOnce() {
        create(rule(2, "CodeCommitApprovers:111122223333:*"));
        associate();
        var author = as("assumed-role/Developer/ada");
        var pullRequest = open(author);
        assertEquals(SESSION + "Developer/ada", pullRequest.authorArn());
        assertEquals("PullRequestCannotBeApprovedByAuthorException", error(() -> approve(author, pullRequest)));
        var bob = as("assumed-role/Developer/bob");
        approve(bob, pullRequest);
        approve(bob, pullRequest);
        assertEquals(List.of(template), evaluation(pullRequest).approvalRulesNotSatisfied());
        assertEquals("PullRequestApprovalRulesNotSatisfiedException", error(() -> merge(author, pullRequest)));
        approve(as("user/carol"), pullRequest);
        assertEquals(List.of(SESSION + "Developer/bob", HOME + "user/carol"),
                administrator.getPullRequestApprovalStates(r -> r.pullRequestId(pullRequest.pullRequestId())
                        .revisionId(pullRequest.revisionId())).approvals().stream().map(Approval::userArn).toList());
        var evaluation = evaluation(pullRequest);
        assertEquals(List.of(true, false, List.of(template), List.of()), List.of(evaluation.approved(),
                evaluation.overridden(), evaluation.approvalRulesSatisfied(), evaluation.approvalRulesNotSatisfied()));
        merge(author, pullRequest);
        assertEquals(repo.resolve("refs/heads/x"), repo.resolve("refs/heads/main"));
        assertEquals("PullRequestAlreadyClosedException", error(() -> approve(bob, pullRequest)));
    }

    /** One person who may choose the name of a session is several identities. */
    @Test
    void eachSessionOfARoleIsAnIdentityOfItsOwn() {
        create(rule(2, SESSION + "Developer/*"));
        associate();
        var pullRequest = open(as("assumed-role/Developer/ada"));
        approve(as("assumed-role/Developer/ada-2"), pullRequest);
        approve(as("assumed-role/Visitor/ada-3"), pullRequest);
        assertFalse(evaluation(pullRequest).approved(), "not of the pool");
        approve(as("assumed-role/Developer/ada-3"), pullRequest);
        assertTrue(evaluation(pullRequest).approved());
    }

    @Test
    void approvalsAreForOneRevision() {
        create(rule(1));
        associate();
        var bob = as("user/bob");
        var first = open(as("user/author"));
        approve(bob, first);
        repo.commit("refs/heads/x", "x", "y\n");
        var second = shown(first);
        assertEquals("PullRequestApprovalRulesNotSatisfiedException", error(() -> merge(bob, second)));
        assertEquals("RevisionNotCurrentException", error(() -> approve(bob, first)));
        assertEquals("RevisionNotCurrentException", error(() -> evaluation(first)));
        assertEquals("RevisionNotCurrentException", error(() -> override(first, "OVERRIDE")));
        assertEquals("InvalidRevisionIdException", error(() -> bob.updatePullRequestApprovalState(
                r -> r.pullRequestId(first.pullRequestId()).revisionId("x").approvalState("APPROVE"))));
        approve(bob, second);
        bob.updatePullRequestApprovalState(r -> r.pullRequestId(second.pullRequestId())
                .revisionId(second.revisionId()).approvalState("REVOKE"));
        assertFalse(evaluation(second).approved());
        approve(bob, second);
        merge(bob, second);
    }

    @Test
    void anOverrideSetsAllRulesAsideAndCanBeRevoked() {
        create(rule(2));
        associate();
        var pullRequest = open(administrator);
        override(pullRequest, "OVERRIDE");
        assertTrue(evaluation(pullRequest).overridden());
        assertEquals(List.of(template), evaluation(pullRequest).approvalRulesNotSatisfied());
        override(pullRequest, "REVOKE");
        assertEquals("PullRequestApprovalRulesNotSatisfiedException",
                error(() -> merge(administrator, pullRequest)));
        override(pullRequest, "OVERRIDE");
        merge(administrator, pullRequest);
        assertEquals("PullRequestAlreadyClosedException", error(() -> override(pullRequest, "REVOKE")));
    }

    // Rules of one pull request, and pull requests

    @Test
    void aPullRequestHasRulesOfItsOwnWhichCanBeChangedAndDeleted() {
        var id = open(administrator).pullRequestId();
        var made = administrator.createPullRequestApprovalRule(
                r -> r.pullRequestId(id).approvalRuleName("own").approvalRuleContent(rule(1))).approvalRule();
        assertEquals("ApprovalRuleNameAlreadyExistsException",
                error(() -> administrator.createPullRequestApprovalRule(
                        r -> r.pullRequestId(id).approvalRuleName("own").approvalRuleContent(rule(1)))));
        assertEquals("InvalidApprovalRuleContentException", error(() -> administrator.createPullRequestApprovalRule(
                r -> r.pullRequestId(id).approvalRuleName("branches").approvalRuleContent(
                        rule(1).replace("\"Statements", "\"DestinationReferences\":[],\"Statements")))));
        assertEquals("InvalidRuleContentSha256Exception",
                error(() -> administrator.updatePullRequestApprovalRuleContent(r -> r.pullRequestId(id)
                        .approvalRuleName("own").newRuleContent(rule(2)).existingRuleContentSha256("x"))));
        assertEquals("ApprovalRuleDoesNotExistException",
                error(() -> administrator.updatePullRequestApprovalRuleContent(
                        r -> r.pullRequestId(id).approvalRuleName("absent").newRuleContent(rule(2)))));
        assertEquals(rule(2), administrator.updatePullRequestApprovalRuleContent(r -> r.pullRequestId(id)
                .approvalRuleName("own").newRuleContent(rule(2)).existingRuleContentSha256(made.ruleContentSha256()))
                .approvalRule().approvalRuleContent());
        administrator.deletePullRequestApprovalRule(r -> r.pullRequestId(id).approvalRuleName("own"));
        for (var i = 0; i < 30; i++) {
            var name = "rule" + i;
            administrator.createPullRequestApprovalRule(
                    r -> r.pullRequestId(id).approvalRuleName(name).approvalRuleContent(rule(1)));
        }
        assertEquals("NumberOfRulesExceededException", error(() -> administrator.createPullRequestApprovalRule(
                r -> r.pullRequestId(id).approvalRuleName("own").approvalRuleContent(rule(1)))));
        administrator.updatePullRequestStatus(r -> r.pullRequestId(id).pullRequestStatus("CLOSED"));
        assertEquals("PullRequestAlreadyClosedException", error(() -> administrator.deletePullRequestApprovalRule(
                r -> r.pullRequestId(id).approvalRuleName("rule1"))));
        assertEquals("InvalidPullRequestStatusUpdateException",
                error(() -> administrator.updatePullRequestStatus(
                        r -> r.pullRequestId(id).pullRequestStatus("OPEN"))));
    }

    @ParameterizedTest
    @CsvSource({"x, x, SourceAndDestinationAreSameException", "absent, main, ReferenceDoesNotExistException",
            "x, absent, ReferenceDoesNotExistException", "refs/tags/v1, main, ReferenceTypeNotSupportedException",
            "a..b, main, InvalidReferenceNameException"})
    void aPullRequestIsFromOneBranchToAnother(String source, String destination, String error) {
        repo.annotatedTag("v1", "refs/heads/main");
        assertEquals(error, error(() -> administrator.createPullRequest(r -> r.title("X").targets(
                t -> t.repositoryName(repo.name).sourceReference(source).destinationReference(destination)))));
    }

    @Test
    void theSameTokenAndParametersGiveTheSamePullRequest() {
        var made = IntStream.range(0, 2).mapToObj(i -> administrator.createPullRequest(r -> r.title("X")
                .clientRequestToken(repo.id).targets(t -> t.repositoryName(repo.name).sourceReference("x")))
                .pullRequest()).toList();
        assertEquals(made.get(0), made.get(1));
        assertEquals("refs/heads/main", made.get(0).pullRequestTargets().get(0).destinationReference(), "the default");
        assertEquals("IdempotencyParameterMismatchException",
                error(() -> administrator.createPullRequest(r -> r.title("Y").clientRequestToken(repo.id)
                        .targets(t -> t.repositoryName(repo.name).sourceReference("x")))));
        assertEquals("TargetsRequiredException",
                error(() -> administrator.createPullRequest(r -> r.title("Y").targets(List.of()))));
        assertEquals("InvalidTitleException", error(() -> administrator.createPullRequest(r -> r.title("x".repeat(151))
                .targets(t -> t.repositoryName(repo.name).sourceReference("x")))));
    }

    // Permissions

    @Test
    void aBatchNeedsItsOwnActionAndTheSingleOneOnEachRepository() {
        create(rule(1));
        var other = aws.codecommit.createRepository(repo.name + "-other");
        var role = aws.iam.createRole("Associates" + names);
        var client = AuthorizerTest.client(aws, CodeCommitClient.builder(), aws.as(HOME + "role/" + role.name));
        Runnable batch = () -> client.batchAssociateApprovalRuleTemplateWithRepositories(
                r -> r.approvalRuleTemplateName(template).repositoryNames(repo.name, other.name));
        role.inline.put("p", AuthorizerTest.allow("codecommit:BatchAssociateApprovalRuleTemplateWithRepositories"));
        assertEquals("AccessDeniedException", error(batch));
        role.inline.put("q", AuthorizerTest.policy("Allow", "codecommit:AssociateApprovalRuleTemplateWithRepository",
                repo.arn, ""));
        assertEquals("AccessDeniedException", error(batch));
        assertEquals(List.of(), repo.approvalRuleTemplates());
        role.inline.put("q", AuthorizerTest.allow("codecommit:AssociateApprovalRuleTemplateWithRepository"));
        batch.run();
        assertEquals(List.of(template), other.approvalRuleTemplates());
    }
}
