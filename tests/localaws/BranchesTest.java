package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.OverrideStatus;
import software.amazon.awssdk.services.codecommit.model.PutFileRequest;

/** Branches, commits and merges by CodeCommit's API, and what it refuses. */
class BranchesTest {
    final LocalAws aws = LocalAws.start();
    final CodeCommitClient codecommit = CodeCommitClient.builder().endpointOverride(aws.endpoint())
            .region(Region.EU_WEST_1).credentialsProvider(StaticCredentialsProvider.create(LocalAwsTest.RIGHT))
            .httpClient(UrlConnectionHttpClient.create()).build();
    CodeCommit.Repo repo;

    @BeforeEach
    void seed() {
        repo = aws.codecommit.createRepository("r").commit("refs/heads/main", "a", "1\n");
    }

    @AfterEach
    void stop() {
        codecommit.close();
        aws.close();
    }

    static String error(Runnable call) {
        return CodeCommitTest.error(call);
    }

    String tip(String branch) {
        return repo.resolve("refs/heads/" + branch).name();
    }

    String file(String revision) {
        return codecommit.getFile(r -> r.repositoryName("r").commitSpecifier(revision).filePath("a")).fileContent()
                .asUtf8String();
    }

    @Test
    void makesListsAndDeletesBranches() {
        var main = tip("main");
        for (var name : List.of("b", "feature/x")) {
            codecommit.createBranch(r -> r.repositoryName("r").branchName(name).commitId(main));
        }
        aws.codecommit.branchesPerPage = 2;
        var first = codecommit.listBranches(r -> r.repositoryName("r"));
        assertEquals(List.of("b", "feature/x"), first.branches());
        assertEquals(List.of("main"),
                codecommit.listBranches(r -> r.repositoryName("r").nextToken(first.nextToken())).branches());
        assertEquals(main, codecommit.getBranch(r -> r.repositoryName("r").branchName("b")).branch().commitId());
        assertEquals(main, codecommit.deleteBranch(r -> r.repositoryName("r").branchName("b")).deletedBranch()
                .commitId());
        assertNull(codecommit.deleteBranch(r -> r.repositoryName("r").branchName("b")).deletedBranch());
        assertEquals("BranchDoesNotExistException",
                error(() -> codecommit.getBranch(r -> r.repositoryName("r").branchName("b"))));
        assertEquals("DefaultBranchCannotBeDeletedException",
                error(() -> codecommit.deleteBranch(r -> r.repositoryName("r").branchName("main"))));
        assertEquals("BranchNameExistsException",
                error(() -> codecommit.createBranch(r -> r.repositoryName("r").branchName("main").commitId(main))));
        assertEquals("CommitDoesNotExistException", error(
                () -> codecommit.createBranch(r -> r.repositoryName("r").branchName("c").commitId("1".repeat(40)))));
        assertEquals("InvalidBranchNameException",
                error(() -> codecommit.createBranch(r -> r.repositoryName("r").branchName("a..b").commitId(main))));
    }

    @Test
    void writesFilesOnTopOfTheTipOnly() {
        var main = tip("main");
        Consumer<PutFileRequest.Builder> put = r -> r.repositoryName("r").branchName("main").filePath("a")
                .fileContent(SdkBytes.fromUtf8String("2\n")).parentCommitId(main).commitMessage("Two").name("Ada")
                .email("ada@example.com");
        var made = codecommit.putFile(put);
        assertEquals(made.commitId(), tip("main"));
        assertEquals("2\n", file("main"));
        var commit = codecommit.getCommit(r -> r.repositoryName("r").commitId(made.commitId())).commit();
        assertEquals(List.of(main), commit.parents());
        assertEquals("Two", commit.message());
        assertEquals("Ada", commit.author().name());
        assertEquals("ParentCommitIdOutdatedException", error(() -> codecommit.putFile(put)));
        assertEquals("SameFileContentException",
                error(() -> codecommit.putFile(put.andThen(r -> r.parentCommitId(made.commitId())))));
        assertEquals("ParentCommitIdRequiredException",
                error(() -> codecommit.putFile(put.andThen(r -> r.parentCommitId(null)))));
        assertEquals("BranchDoesNotExistException",
                error(() -> codecommit.putFile(put.andThen(r -> r.branchName("b")))));
        var both = codecommit.createCommit(r -> r.repositoryName("r").branchName("main").parentCommitId(made.commitId())
                .putFiles(f -> f.filePath("dir/b").fileContent(SdkBytes.fromUtf8String("b\n")))
                .deleteFiles(f -> f.filePath("a")));
        assertEquals("FileDoesNotExistException", error(() -> file("main")));
        assertEquals("FileEntryRequiredException", error(() -> codecommit.createCommit(
                r -> r.repositoryName("r").branchName("main").parentCommitId(both.commitId()))));
        assertEquals("FileDoesNotExistException", error(() -> codecommit.deleteFile(r -> r.repositoryName("r")
                .branchName("main").parentCommitId(both.commitId()).filePath("a"))));
        codecommit.deleteFile(r -> r.repositoryName("r").branchName("main").parentCommitId(both.commitId())
                .filePath("dir/b"));
        assertEquals("CommitIdDoesNotExistException",
                error(() -> codecommit.getCommit(r -> r.repositoryName("r").commitId("1".repeat(40)))));
        assertEquals("InvalidCommitIdException",
                error(() -> codecommit.getCommit(r -> r.repositoryName("r").commitId("main"))));
    }

    @Test
    void theFirstFileMakesTheDefaultBranchOfAnEmptyRepository() {
        aws.codecommit.createRepository("empty");
        codecommit.putFile(r -> r.repositoryName("empty").branchName("first").filePath("a")
                .fileContent(SdkBytes.fromUtf8String("1\n")));
        assertEquals("first", aws.codecommit.repository("empty").defaultBranch());
    }

    @Test
    void mergesBranchesWhereThereIsNoConflict() {
        repo.ref("refs/heads/x", "refs/heads/main").commit("refs/heads/x", "x", "x\n");
        var x = tip("x");
        codecommit.mergeBranchesByFastForward(r -> r.repositoryName("r").sourceCommitSpecifier("x")
                .destinationCommitSpecifier("main"));
        assertEquals(x, tip("main"));
        repo.commit("refs/heads/main", "m", "m\n").commit("refs/heads/x", "y", "y\n");
        assertEquals("ManualMergeRequiredException", error(() -> codecommit.mergeBranchesByFastForward(
                r -> r.repositoryName("r").sourceCommitSpecifier("x").destinationCommitSpecifier("main"))));
        var main = tip("main");
        var free = codecommit.createUnreferencedMergeCommit(r -> r.repositoryName("r").sourceCommitSpecifier("x")
                .destinationCommitSpecifier("main").mergeOption("SQUASH_MERGE"));
        assertEquals(main, tip("main"));
        assertNotEquals(main, free.commitId());
        var merged = codecommit.mergeBranchesByThreeWay(r -> r.repositoryName("r").sourceCommitSpecifier("x")
                .destinationCommitSpecifier(main).targetBranch("main")).commitId();
        assertEquals(merged, tip("main"));
        assertEquals(List.of(main, tip("x")),
                codecommit.getCommit(r -> r.repositoryName("r").commitId(merged)).commit().parents());
        repo.commit("refs/heads/main", "a", "other\n").commit("refs/heads/x", "a", "another\n");
        assertEquals("ManualMergeRequiredException", error(() -> codecommit.mergeBranchesBySquash(
                r -> r.repositoryName("r").sourceCommitSpecifier("x").destinationCommitSpecifier("main"))));
    }

    @Test
    void mergesAPullRequestWhenItsRulesAreSatisfied() {
        repo.ref("refs/heads/x", "refs/heads/main").commit("refs/heads/x", "x", "x\n");
        var id = repo.pullRequest("X", "x", "main");
        repo.approvalRule(id, "One", 1);
        Runnable merge = () -> codecommit.mergePullRequestBySquash(r -> r.repositoryName("r").pullRequestId(id));
        assertEquals("PullRequestApprovalRulesNotSatisfiedException", error(merge));
        aws.codecommit.createRepository("other");
        assertEquals("RepositoryNotAssociatedWithPullRequestException", error(() -> codecommit
                .mergePullRequestBySquash(r -> r.repositoryName("other").pullRequestId(id))));
        repo.approve(id, "arn:aws:iam::111122223333:user/alice");
        merge.run();
        assertEquals("x\n", codecommit.getFile(r -> r.repositoryName("r").commitSpecifier("main").filePath("x"))
                .fileContent().asUtf8String());
        var target = codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest().pullRequestTargets().get(0);
        assertEquals("SQUASH_MERGE", target.mergeMetadata().mergeOptionAsString());
        assertEquals("arn:aws:iam::111122223333:user/operator", target.mergeMetadata().mergedBy());
        assertEquals("PullRequestAlreadyClosedException", error(merge));
    }

    @Test
    void rulesAreOverriddenOnceAndThoseOfTemplatesCannotBeDeleted() {
        aws.codecommit.createApprovalRuleTemplate("Two", 2);
        repo.approvalRuleTemplate("Two").ref("refs/heads/x", "refs/heads/main").commit("refs/heads/x", "x", "x\n");
        var id = repo.pullRequest("X", "x", "main");
        repo.approvalRule(id, "One", 1);
        var revision = codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest().revisionId();
        assertEquals("CannotDeleteApprovalRuleFromTemplateException", error(
                () -> codecommit.deletePullRequestApprovalRule(r -> r.pullRequestId(id).approvalRuleName("Two"))));
        assertTrue(codecommit.deletePullRequestApprovalRule(r -> r.pullRequestId(id).approvalRuleName("One"))
                .approvalRuleId().length() > 10);
        assertNull(codecommit.deletePullRequestApprovalRule(r -> r.pullRequestId(id).approvalRuleName("One"))
                .approvalRuleId());
        Runnable override = () -> codecommit.overridePullRequestApprovalRules(
                r -> r.pullRequestId(id).revisionId(revision).overrideStatus(OverrideStatus.OVERRIDE));
        override.run();
        assertEquals("OverrideAlreadySetException", error(override));
        codecommit.mergePullRequestByThreeWay(r -> r.repositoryName("r").pullRequestId(id));
        codecommit.disassociateApprovalRuleTemplateFromRepository(
                r -> r.repositoryName("r").approvalRuleTemplateName("Two"));
        assertEquals(List.of(), repo.approvalRuleTemplates());
        var content = "{\"Version\":\"2018-11-08\",\"Statements\":[{\"Type\":\"Approvers\","
                + "\"NumberOfApprovalsNeeded\":3}]}";
        assertEquals("InvalidRuleContentSha256Exception", error(() -> codecommit.updateApprovalRuleTemplateContent(
                r -> r.approvalRuleTemplateName("Two").newRuleContent(content)
                        .existingRuleContentSha256("0".repeat(64)))));
        assertEquals(content, codecommit.updateApprovalRuleTemplateContent(
                r -> r.approvalRuleTemplateName("Two").newRuleContent(content)).approvalRuleTemplate()
                .approvalRuleTemplateContent());
    }

    @Test
    void aRenamedRepositoryHasAnotherArn() {
        aws.codecommit.createRepository("taken");
        assertEquals("RepositoryNameExistsException",
                error(() -> codecommit.updateRepositoryName(r -> r.oldName("r").newName("taken"))));
        codecommit.updateRepositoryName(r -> r.oldName("r").newName("s"));
        assertEquals("arn:aws:codecommit:eu-west-1:111122223333:s",
                codecommit.getRepository(r -> r.repositoryName("s")).repositoryMetadata().arn());
    }
}
