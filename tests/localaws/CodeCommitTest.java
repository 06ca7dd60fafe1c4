package localaws;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eclipse.jgit.dircache.DirCache;
import org.eclipse.jgit.dircache.DirCacheEntry;
import org.eclipse.jgit.lib.CommitBuilder;
import org.eclipse.jgit.lib.Constants;
import org.eclipse.jgit.lib.FileMode;
import org.eclipse.jgit.lib.ObjectId;
import org.eclipse.jgit.lib.PersonIdent;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.Approval;
import software.amazon.awssdk.services.codecommit.model.ApprovalRule;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleEventMetadata;
import software.amazon.awssdk.services.codecommit.model.ApprovalState;
import software.amazon.awssdk.services.codecommit.model.Comment;
import software.amazon.awssdk.services.codecommit.model.CommentsForPullRequest;
import software.amazon.awssdk.services.codecommit.model.DescribePullRequestEventsRequest;
import software.amazon.awssdk.services.codecommit.model.FileModeTypeEnum;
import software.amazon.awssdk.services.codecommit.model.GetCommentsForPullRequestRequest;
import software.amazon.awssdk.services.codecommit.model.GetFileRequest;
import software.amazon.awssdk.services.codecommit.model.GetFileResponse;
import software.amazon.awssdk.services.codecommit.model.Location;
import software.amazon.awssdk.services.codecommit.model.MergeMetadata;
import software.amazon.awssdk.services.codecommit.model.MergeOptionTypeEnum;
import software.amazon.awssdk.services.codecommit.model.OrderEnum;
import software.amazon.awssdk.services.codecommit.model.OverrideStatus;
import software.amazon.awssdk.services.codecommit.model.PullRequestEvent;
import software.amazon.awssdk.services.codecommit.model.PullRequestEventType;
import software.amazon.awssdk.services.codecommit.model.PullRequestStatusEnum;
import software.amazon.awssdk.services.codecommit.model.RelativeFileVersionEnum;
import software.amazon.awssdk.services.codecommit.model.RepositoryNameIdPair;
import software.amazon.awssdk.services.codecommit.model.RepositoryTrigger;
import software.amazon.awssdk.services.codecommit.model.RepositoryTriggerEventEnum;
import software.amazon.awssdk.services.codecommit.model.SortByEnum;

/** CodeCommit's API as the SDK sees it, and what it refuses. */
class CodeCommitTest {
    final LocalAws aws = LocalAws.start();
    final CodeCommitClient codecommit = client("eu-west-1");

    CodeCommitClient client(String region) {
        return CodeCommitClient.builder().endpointOverride(aws.endpoint()).region(Region.of(region))
                .credentialsProvider(StaticCredentialsProvider.create(LocalAwsTest.RIGHT))
                .httpClient(UrlConnectionHttpClient.create()).build();
    }

    @AfterEach
    void stop() {
        codecommit.close();
        aws.close();
    }

    @BeforeEach
    void seed() {
        aws.codecommit.createRepository("present").commit("refs/heads/main", "a", "1");
    }

    static void assertSince(Instant before, Instant time) {
        assertFalse(time.isBefore(before) || time.isAfter(Instant.now()), time + ", not since " + before);
    }

    @Test
    void createsAndDescribesARepository() {
        var before = Instant.now().truncatedTo(ChronoUnit.SECONDS);
        var made = codecommit.createRepository(r -> r.repositoryName("My.Demo_Repo-1").repositoryDescription("what for")
                .tags(Map.of("Team", "a b+c=@:/._-", "ünï", ""))).repositoryMetadata();
        assertEquals("My.Demo_Repo-1", made.repositoryName());
        assertEquals("what for", made.repositoryDescription());
        assertEquals("111122223333", made.accountId());
        assertEquals("arn:aws:codecommit:eu-west-1:111122223333:My.Demo_Repo-1", made.arn());
        assertTrue(made.repositoryId().matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"));
        assertEquals(aws.endpoint() + "/v1/repos/My.Demo_Repo-1", made.cloneUrlHttp());
        assertEquals("ssh://git-codecommit.eu-west-1.amazonaws.com/v1/repos/My.Demo_Repo-1", made.cloneUrlSsh());
        assertNull(made.defaultBranch());
        assertSince(before, made.creationDate());
        assertEquals(made, codecommit.getRepository(r -> r.repositoryName("My.Demo_Repo-1")).repositoryMetadata());
        assertEquals(Map.of("Team", "a b+c=@:/._-", "ünï", ""),
                codecommit.listTagsForResource(r -> r.resourceArn(made.arn())).tags());
        assertEquals("main",
                codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().defaultBranch());
    }

    @Test
    void aRegionIsAWorldOfItsOwn() {
        try (var china = client("cn-north-1"); var gov = client("us-gov-west-1")) {
            var made = china.createRepository(r -> r.repositoryName("present")).repositoryMetadata();
            assertEquals("arn:aws-cn:codecommit:cn-north-1:111122223333:present", made.arn());
            assertEquals("ssh://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/present", made.cloneUrlSsh());
            assertEquals("arn:aws-us-gov:codecommit:us-gov-west-1:111122223333:x",
                    gov.createRepository(r -> r.repositoryName("x")).repositoryMetadata().arn());
            assertNotEquals(made.repositoryId(),
                    codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().repositoryId());
            assertEquals(1, china.listRepositories().repositories().size());
            assertEquals("InvalidResourceArnException",
                    error(() -> codecommit.listTagsForResource(r -> r.resourceArn(made.arn()))));
        }
    }

    @Test
    void deletesARepositoryOnceAndForAll() {
        var id = aws.codecommit.repository("present").id;
        assertEquals(id, codecommit.deleteRepository(r -> r.repositoryName("present")).repositoryId());
        assertNull(codecommit.deleteRepository(r -> r.repositoryName("present")).repositoryId());
        assertEquals("RepositoryDoesNotExistException",
                error(() -> codecommit.getRepository(r -> r.repositoryName("present"))));
        assertNotEquals(id,
                codecommit.createRepository(r -> r.repositoryName("present")).repositoryMetadata().repositoryId());
    }

    @Test
    void changesDescriptionAndDefaultBranch() {
        codecommit.updateRepositoryDescription(r -> r.repositoryName("present").repositoryDescription("new"));
        assertEquals("new", codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata()
                .repositoryDescription());
        codecommit.updateRepositoryDescription(r -> r.repositoryName("present"));
        assertNull(codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata()
                .repositoryDescription());
        aws.codecommit.repository("present").commit("refs/heads/release/1", "b", "2");
        codecommit.updateDefaultBranch(r -> r.repositoryName("present").defaultBranchName("release/1"));
        assertEquals("release/1",
                codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().defaultBranch());
    }

    @Test
    void listsInPagesAndInTheOrderThatWasAskedFor() {
        for (var name : List.of("c", "b", "a", "D")) aws.codecommit.createRepository(name);
        aws.codecommit.repositoriesPerPage = 2;
        Function<Consumer<software.amazon.awssdk.services.codecommit.model.ListRepositoriesRequest.Builder>,
                List<String>> list =
                        r -> codecommit.listRepositoriesPaginator(r).repositories().stream()
                                .map(RepositoryNameIdPair::repositoryName).toList();
        assertEquals(List.of("D", "a", "b", "c", "present"), list.apply(r -> r.sortBy(SortByEnum.REPOSITORY_NAME)));
        assertEquals(List.of("present", "c", "b", "a", "D"),
                list.apply(r -> r.sortBy(SortByEnum.REPOSITORY_NAME).order(OrderEnum.DESCENDING)));
        assertEquals(5, list.apply(r -> { }).size());
        aws.clock = Clock.offset(Clock.systemUTC(), Duration.ofHours(1));
        codecommit.updateRepositoryDescription(r -> r.repositoryName("b").repositoryDescription("latest"));
        assertEquals("b", list.apply(r -> r.sortBy(SortByEnum.LAST_MODIFIED_DATE)).get(4));
        assertEquals("InvalidContinuationTokenException",
                error(() -> codecommit.listRepositories(r -> r.nextToken("nonsense"))));
        assertEquals("InvalidContinuationTokenException",
                error(() -> codecommit.listRepositories(r -> r.nextToken("!"))));
    }

    @Test
    void pagesGoOnWhenRepositoriesComeAndGoMeanwhile() {
        for (var name : List.of("a", "b", "c", "d")) aws.codecommit.createRepository(name);
        aws.codecommit.repositoriesPerPage = 2;
        var first = codecommit.listRepositories(r -> r.sortBy(SortByEnum.REPOSITORY_NAME));
        assertEquals(List.of("a", "b"),
                first.repositories().stream().map(RepositoryNameIdPair::repositoryName).toList());
        codecommit.deleteRepository(r -> r.repositoryName("b"));
        codecommit.deleteRepository(r -> r.repositoryName("c"));
        aws.codecommit.createRepository("bb");
        var second = codecommit
                .listRepositories(r -> r.sortBy(SortByEnum.REPOSITORY_NAME).nextToken(first.nextToken()));
        assertEquals(List.of("bb", "d"),
                second.repositories().stream().map(RepositoryNameIdPair::repositoryName).toList());
    }

    @Test
    void getsManyAtOnceAndSaysWhichAreMissing() {
        aws.codecommit.createRepository("other");
        var answer = codecommit.batchGetRepositories(r -> r.repositoryNames("present", "absent", "other"));
        assertEquals(List.of("present", "other"), answer.repositories().stream().map(r -> r.repositoryName()).toList());
        assertEquals(List.of("absent"), answer.repositoriesNotFound());
        assertTrue(answer.errors().isEmpty());
        var names = IntStream.range(0, 100).mapToObj(i -> "n" + i).collect(Collectors.toCollection(ArrayList::new));
        assertEquals(100, codecommit.batchGetRepositories(r -> r.repositoryNames(names)).repositoriesNotFound().size());
        names.add("one.more");
        assertEquals("MaximumRepositoryNamesExceededException",
                error(() -> codecommit.batchGetRepositories(r -> r.repositoryNames(names))));
        assertEquals("RepositoryNamesRequiredException",
                error(() -> codecommit.batchGetRepositories(r -> r.repositoryNames(List.of()))));
    }

    @Test
    void holdsFiveThousandRepositoriesAndNoMore() {
        for (var i = 1; i < 5_000; i++) {
            aws.codecommit.createRepository("r" + i).commit("refs/heads/main", "README", "r" + i);
        }
        assertEquals(5_000, codecommit.listRepositoriesPaginator().repositories().stream()
                .map(RepositoryNameIdPair::repositoryName).distinct().count());
        assertEquals(5, aws.calls().size(), "pages of 1,000");
        assertEquals("RepositoryLimitExceededException",
                error(() -> codecommit.createRepository(r -> r.repositoryName("more"))));
        for (var i = 1; i < 5_000; i++) {
            assertEquals(40, aws.codecommit.repository("r" + i).resolve("refs/heads/main").name().length());
        }
    }

    @Test
    void tagsAreMergedPagedAndLimited() {
        var arn = aws.codecommit.repository("present").arn;
        var tags = new TreeMap<String, String>();
        for (var i = 0; i < 49; i++) tags.put("k" + i, "v" + i);
        codecommit.tagResource(r -> r.resourceArn(arn).tags(tags));
        codecommit.tagResource(r -> r.resourceArn(arn).tags(Map.of("k1", "changed", "one", "more")));
        assertEquals("TooManyTagsException",
                error(() -> codecommit.tagResource(r -> r.resourceArn(arn).tags(Map.of("two", "more")))));
        codecommit.untagResource(r -> r.resourceArn(arn).tagKeys("k2", "never.there"));
        var found = new TreeMap<String, String>();
        String token = null;
        var pages = 0;
        do {
            var next = token;
            var page = codecommit.listTagsForResource(r -> r.resourceArn(arn).nextToken(next));
            found.putAll(page.tags());
            token = page.nextToken();
            pages++;
        } while (token != null);
        tags.put("k1", "changed");
        tags.put("one", "more");
        tags.remove("k2");
        assertEquals(tags, found);
        assertEquals(3, pages);
    }

    @Test
    void listsAndShowsPullRequests() {
        var repo = aws.codecommit.repository("present").commit("refs/heads/feature", "b", "2");
        var ids = IntStream.range(0, 12).mapToObj(i -> repo.pullRequest("change " + i, "feature", "main")).toList();
        assertEquals(12, codecommit.listPullRequestsPaginator(r -> r.repositoryName("present")).stream()
                .mapToInt(p -> p.pullRequestIds().size()).sum());
        assertEquals(10, codecommit
                .listPullRequests(r -> r.repositoryName("present").pullRequestStatus(PullRequestStatusEnum.OPEN))
                .pullRequestIds().size());
        assertTrue(codecommit
                .listPullRequests(r -> r.repositoryName("present").pullRequestStatus(PullRequestStatusEnum.CLOSED))
                .pullRequestIds().isEmpty());
        var first = codecommit.getPullRequest(r -> r.pullRequestId(ids.get(0))).pullRequest();
        assertEquals("change 0", first.title());
        assertEquals("refs/heads/feature", first.pullRequestTargets().get(0).sourceReference());
        assertEquals(repo.resolve("refs/heads/main").name(), first.pullRequestTargets().get(0).destinationCommit());
        assertFalse(first.pullRequestTargets().get(0).mergeMetadata().isMerged());
    }

    @Test
    void mergesAndClosesPullRequestsAndTellsWhen() {
        aws.clock = Clock.fixed(Instant.parse("2026-01-02T03:04:05.678Z"), ZoneOffset.UTC);
        var repo = aws.codecommit.repository("present").ref("refs/heads/feature", "refs/heads/main")
                .commit("refs/heads/feature", "b", "2").commit("refs/heads/main", "c", "3");
        var merged = repo.pullRequest("merged", "feature", "main");
        var closed = repo.pullRequest("closed", "feature", "main");
        var destination = repo.resolve("refs/heads/main").name();
        aws.clock = Clock.offset(aws.clock, Duration.ofSeconds(10));
        repo.pullRequestDescription(closed, "why").closePullRequest(closed).mergePullRequest(merged);
        var shown = codecommit.getPullRequest(r -> r.pullRequestId(merged)).pullRequest();
        assertEquals(List.of("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:15.678Z"),
                List.of(shown.creationDate().toString(), shown.lastActivityDate().toString()));
        assertEquals(PullRequestStatusEnum.CLOSED, shown.pullRequestStatus());
        var target = shown.pullRequestTargets().get(0);
        assertEquals(
                List.of(repo.resolve("refs/heads/feature").name(), destination,
                        repo.resolve("refs/heads/feature~1").name()),
                List.of(target.sourceCommit(), target.destinationCommit(), target.mergeBase()));
        var main = repo.resolve("refs/heads/main").name();
        assertEquals(
                MergeMetadata.builder().isMerged(true).mergedBy("arn:aws:iam::111122223333:user/developer")
                        .mergeCommitId(main).mergeOption(MergeOptionTypeEnum.THREE_WAY_MERGE).build(),
                target.mergeMetadata());
        assertEquals(List.of(destination, target.sourceCommit()),
                List.of(repo.resolve("refs/heads/main^1").name(), repo.resolve("refs/heads/main^2").name()));
        for (var file : List.of("a", "b", "c")) {
            assertEquals(main, codecommit.getFile(r -> r.repositoryName("present").filePath(file)).commitId());
        }
        var events = events(merged);
        assertEquals(
                List.of(PullRequestEventType.PULL_REQUEST_CREATED,
                        PullRequestEventType.PULL_REQUEST_MERGE_STATE_CHANGED,
                        PullRequestEventType.PULL_REQUEST_STATUS_CHANGED),
                events.stream().map(PullRequestEvent::pullRequestEventType).toList());
        assertEquals(target.mergeMetadata(),
                events.get(1).pullRequestMergedStateChangedEventMetadata().mergeMetadata());
        assertEquals(PullRequestStatusEnum.CLOSED,
                events.get(2).pullRequestStatusChangedEventMetadata().pullRequestStatus());
        var created = events.get(0).pullRequestCreatedEventMetadata();
        assertEquals(List.of(target.sourceCommit(), destination, target.mergeBase()),
                List.of(created.sourceCommitId(), created.destinationCommitId(), created.mergeBase()));
        assertEquals(shown.creationDate(), events.get(0).eventDate());
        var other = codecommit.getPullRequest(r -> r.pullRequestId(closed)).pullRequest();
        assertEquals(List.of("why", PullRequestStatusEnum.CLOSED, false), List.of(other.description(),
                other.pullRequestStatus(), other.pullRequestTargets().get(0).mergeMetadata().isMerged()));
        assertNull(other.pullRequestTargets().get(0).mergeMetadata().mergeCommitId());
        assertEquals(List.of(closed, merged),
                codecommit
                        .listPullRequests(
                                r -> r.repositoryName("present").pullRequestStatus(PullRequestStatusEnum.CLOSED))
                        .pullRequestIds());
        repo.git();
        assertEquals(main, repo.resolve("refs/heads/main").name(), "merged the same way on disk");
    }

    List<PullRequestEvent> events(String pullRequestId) {
        return codecommit.describePullRequestEventsPaginator(r -> r.pullRequestId(pullRequestId)).stream()
                .flatMap(page -> page.pullRequestEvents().stream()).toList();
    }

    @Test
    void newCommitsMakeANewRevisionThatNobodyHasApproved() {
        var repo = aws.codecommit.repository("present").ref("refs/heads/feature", "refs/heads/main")
                .commit("refs/heads/feature", "b", "2");
        var id = repo.pullRequest("change", "feature", "main");
        var first = codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest();
        assertFalse(codecommit.getPullRequestOverrideState(r -> r.pullRequestId(id).revisionId(first.revisionId()))
                .overridden());
        var alice = "arn:aws:iam::111122223333:user/alice";
        var bob = "arn:aws:sts::111122223333:assumed-role/Review/bob";
        repo.approve(id, alice).approve(id, bob).revokeApproval(id, alice).overrideApprovalRules(id, bob);
        assertEquals(List.of(Approval.builder().userArn(bob).approvalState(ApprovalState.APPROVE).build()),
                codecommit.getPullRequestApprovalStates(r -> r.pullRequestId(id).revisionId(first.revisionId()))
                        .approvals());
        var override = codecommit.getPullRequestOverrideState(r -> r.pullRequestId(id).revisionId(first.revisionId()));
        assertEquals(List.of(true, bob), List.of(override.overridden(), override.overrider()));
        repo.commit("refs/heads/main", "c", "3").commit("refs/heads/feature", "b", "4");
        var second = codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest();
        assertNotEquals(first.revisionId(), second.revisionId());
        assertEquals(repo.resolve("refs/heads/feature").name(), second.pullRequestTargets().get(0).sourceCommit());
        assertEquals(repo.resolve("refs/heads/main").name(), second.pullRequestTargets().get(0).destinationCommit());
        assertEquals(List.of(), codecommit
                .getPullRequestApprovalStates(r -> r.pullRequestId(id).revisionId(second.revisionId())).approvals());
        assertNull(codecommit.getPullRequestOverrideState(r -> r.pullRequestId(id).revisionId(second.revisionId()))
                .overrider());
        assertEquals("InvalidRevisionIdException", error(() -> codecommit
                .getPullRequestApprovalStates(r -> r.pullRequestId(id).revisionId(first.revisionId()))));
        var events = events(id);
        assertEquals(
                List.of("PULL_REQUEST_CREATED", "PULL_REQUEST_APPROVAL_STATE_CHANGED",
                        "PULL_REQUEST_APPROVAL_STATE_CHANGED", "PULL_REQUEST_APPROVAL_STATE_CHANGED",
                        "PULL_REQUEST_APPROVAL_RULE_OVERRIDDEN", "PULL_REQUEST_SOURCE_REFERENCE_UPDATED"),
                events.stream().map(PullRequestEvent::pullRequestEventTypeAsString).toList());
        assertEquals(List.of(ApprovalState.APPROVE, ApprovalState.APPROVE, ApprovalState.REVOKE), events.subList(1, 4)
                .stream().map(e -> e.approvalStateChangedEventMetadata().approvalStatus()).toList());
        assertEquals(List.of(alice, bob, alice, bob),
                events.subList(1, 5).stream().map(PullRequestEvent::actorArn).toList());
        var overridden = events.get(4).approvalRuleOverriddenEventMetadata();
        assertEquals(List.of(OverrideStatus.OVERRIDE, first.revisionId()),
                List.of(overridden.overrideStatus(), overridden.revisionId()));
        assertEquals(second.pullRequestTargets().get(0).sourceCommit(),
                events.get(5).pullRequestSourceReferenceUpdatedEventMetadata().afterCommitId());
        var calls = aws.calls().size();
        assertEquals(List.of(events.get(5)),
                codecommit
                        .describePullRequestEvents(r -> r.pullRequestId(id)
                                .pullRequestEventType(PullRequestEventType.PULL_REQUEST_SOURCE_REFERENCE_UPDATED))
                        .pullRequestEvents());
        assertEquals(List.of(events.get(2), events.get(4)), codecommit
                .describePullRequestEvents(r -> r.pullRequestId(id).actorArn(bob).maxResults(100)).pullRequestEvents());
        assertEquals(events, events(id));
        assertEquals(4, aws.calls().size() - calls, "two pages");
        assertEquals(1, codecommit.describePullRequestEvents(r -> r.pullRequestId(id).maxResults(1)).pullRequestEvents()
                .size());
    }

    @Test
    void pullRequestsGetTheRulesOfTheTemplatesForTheirDestination() {
        var before = Instant.now().truncatedTo(ChronoUnit.SECONDS);
        var repo = aws.codecommit.repository("present").ref("refs/heads/feature", "refs/heads/main")
                .ref("refs/heads/release/1", "refs/heads/main");
        aws.codecommit.createApprovalRuleTemplate("all", 2);
        var template = codecommit
                .createApprovalRuleTemplate(r -> r.approvalRuleTemplateName("releases").approvalRuleTemplateContent(
                        "{\"Version\":\"2018-11-08\",\"DestinationReferences\":[\"refs/heads/trunk\","
                                + "\"refs/heads/release/*\"],\"Statements\":[{\"Type\":\"Approvers\","
                                + "\"NumberOfApprovalsNeeded\":1}]}"))
                .approvalRuleTemplate();
        repo.approvalRuleTemplate("all").approvalRuleTemplate("releases");
        var toMain = repo.pullRequest("a", "feature", "main");
        var toRelease = repo.pullRequest("b", "feature", "release/1");
        repo.approvalRule(toMain, "own", 3);
        Function<String, List<String>> rules = id -> codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest()
                .approvalRules().stream().map(ApprovalRule::approvalRuleName).toList();
        assertEquals(List.of("all", "own"), rules.apply(toMain));
        assertEquals(List.of("all", "releases"), rules.apply(toRelease));
        var rule = codecommit.getPullRequest(r -> r.pullRequestId(toRelease)).pullRequest().approvalRules().get(1);
        assertEquals(
                List.of(template.approvalRuleTemplateContent(), template.ruleContentSha256(),
                        template.approvalRuleTemplateId(), "releases"),
                List.of(rule.approvalRuleContent(), rule.ruleContentSha256(),
                        rule.originApprovalRuleTemplate().approvalRuleTemplateId(),
                        rule.originApprovalRuleTemplate().approvalRuleTemplateName()));
        var own = codecommit.getPullRequest(r -> r.pullRequestId(toMain)).pullRequest().approvalRules().get(1);
        assertNull(own.originApprovalRuleTemplate());
        assertSince(before, own.creationDate());
        var event = events(toMain).get(1);
        assertEquals(PullRequestEventType.PULL_REQUEST_APPROVAL_RULE_CREATED, event.pullRequestEventType());
        assertEquals(ApprovalRuleEventMetadata.builder().approvalRuleId(own.approvalRuleId()).approvalRuleName("own")
                .approvalRuleContent(own.approvalRuleContent()).build(), event.approvalRuleEventMetadata());
    }

    @Test
    void showsCommentsInThreadsPageByPage() {
        aws.clock = Clock.fixed(Instant.parse("2026-01-02T03:04:05.678Z"), ZoneOffset.UTC);
        var repo = aws.codecommit.repository("present").ref("refs/heads/feature", "refs/heads/main")
                .commit("refs/heads/feature", "a", "2").commit("refs/heads/feature", "dir/b", "3");
        var id = repo.pullRequest("change", "feature", "main");
        assertEquals(List.of(),
                codecommit.getCommentsForPullRequest(r -> r.pullRequestId(id)).commentsForPullRequestData());
        var general = repo.comment(id, "all of it: ünï <b>");
        var line = repo.commentOnFile(id, "this line", "a", 7);
        var fresh = repo.commentOnFile(id, "new file", "dir/b", 1);
        var before = repo.resolve("refs/heads/main").name();
        var after = repo.resolve("refs/heads/feature").name();
        repo.commit("refs/heads/main", "c", "4").commit("refs/heads/feature", "a", "5");
        aws.clock = Clock.offset(aws.clock, Duration.ofSeconds(10));
        var reply = repo.comment(id, "done", line);
        var again = repo.comment(id, "thanks", reply);
        var later = repo.comment(id, "of the second revision");
        repo.react(id, line, "THUMBSUP").react(id, line, "THUMBSUP").react(id, line, "HEART").deleteComment(id, fresh);
        var pages = codecommit.getCommentsForPullRequestPaginator(r -> r.pullRequestId(id)).stream()
                .map(page -> page.commentsForPullRequestData()).toList();
        assertEquals(
                List.of(List.of(List.of(general), List.of(line, reply, again)),
                        List.of(List.of(fresh), List.of(later))),
                pages.stream()
                        .map(page -> page.stream()
                                .map(thread -> thread.comments().stream().map(Comment::commentId).toList()).toList())
                        .toList());
        var threads = pages.stream().flatMap(List::stream).toList();
        for (var thread : threads) {
            assertEquals(List.of(id, "present", before),
                    List.of(thread.pullRequestId(), thread.repositoryName(), thread.beforeCommitId()));
        }
        assertEquals(List.of(after, after, after, repo.resolve("refs/heads/feature").name()),
                threads.stream().map(CommentsForPullRequest::afterCommitId).toList());
        assertNull(threads.get(0).location());
        assertEquals(Location.builder().filePath("a").filePosition(7L)
                .relativeFileVersion(RelativeFileVersionEnum.AFTER).build(), threads.get(1).location());
        assertEquals(List.of(repo.resolve(before + ":a").name(), repo.resolve(after + ":a").name()),
                List.of(threads.get(1).beforeBlobId(), threads.get(1).afterBlobId()));
        assertNull(threads.get(2).beforeBlobId());
        var said = threads.get(1).comments();
        assertEquals(List.of("this line", "done", "thanks"), said.stream().map(Comment::content).toList());
        assertEquals(Arrays.asList(null, line, reply), said.stream().map(Comment::inReplyTo).toList());
        assertEquals(List.of("reviewer", "developer", "developer"), said.stream()
                .map(comment -> comment.authorArn().replace("arn:aws:iam::111122223333:user/", "")).toList());
        assertEquals(Map.of("THUMBSUP", 2, "HEART", 1), said.get(0).reactionCounts());
        assertTrue(said.get(1).hasReactionCounts() && said.get(1).reactionCounts().isEmpty()
                && said.get(1).hasCallerReactions());
        assertEquals(List.of("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:15.678Z"),
                List.of(said.get(0).creationDate().toString(), said.get(1).lastModifiedDate().toString()));
        assertEquals("2026-01-02T03:04:15.678Z",
                codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest().lastActivityDate().toString());
        assertEquals("all of it: ünï <b>", threads.get(0).comments().get(0).content());
        var gone = threads.get(2).comments().get(0);
        assertTrue(gone.deleted() && gone.content() == null && !said.get(0).deleted());
        assertEquals(threads.subList(0, 3),
                codecommit
                        .getCommentsForPullRequestPaginator(r -> r.pullRequestId(id).repositoryName("present")
                                .beforeCommitId(before).afterCommitId(after).maxResults(500))
                        .stream()
                .flatMap(page -> page.commentsForPullRequestData().stream()).toList());
        var split = codecommit.getCommentsForPullRequestPaginator(r -> r.pullRequestId(id).maxResults(3)).stream()
                .map(page -> page.commentsForPullRequestData()).toList();
        assertEquals(List.of(line, reply), split.get(0).get(1).comments().stream().map(Comment::commentId).toList());
        assertEquals(threads.get(1).location(), split.get(1).get(0).location(), "the rest of a thread has its place");
        assertEquals(List.of(again), split.get(1).get(0).comments().stream().map(Comment::commentId).toList());
    }

    @Test
    void getsFilesOfBranchesTagsRefsAndCommits() {
        var repo = aws.codecommit.repository("present").commit("refs/heads/main", "dir/ü b", "one")
                .annotatedTag("v1", "refs/heads/main").commit("refs/heads/main", "dir/ü b", "two")
                .commit("refs/heads/release/1", "dir/ü b", "three");
        var v1 = repo.resolve("refs/tags/v1^{commit}").name();
        Function<String,
                String> get = commit -> codecommit
                        .getFile(r -> r.repositoryName("present").commitSpecifier(commit).filePath("dir/ü b"))
                        .fileContent().asUtf8String();
        assertEquals(List.of("two", "two", "two", "two", "one", "one", "one", "three", "three"),
                Stream.of(null, "HEAD", "main", "refs/heads/main", "v1", "refs/tags/v1", v1, "release/1",
                        "refs/heads/release/1").map(get).toList());
        var file = codecommit.getFile(r -> r.repositoryName("present").commitSpecifier("v1").filePath("/dir/ü b"));
        assertEquals(List.of(v1, repo.resolve("refs/tags/v1:dir/ü b").name(), "dir/ü b", FileModeTypeEnum.NORMAL, 3L),
                List.of(file.commitId(), file.blobId(), file.filePath(), file.fileMode(), file.fileSize()));
        var large = "x".repeat(6 * 1024 * 1024);
        repo.commit("refs/heads/main", "large", large).commit("refs/heads/main", "larger", large + "x");
        assertEquals(large,
                codecommit.getFile(r -> r.repositoryName("present").filePath("large")).fileContent().asUtf8String());
        assertEquals("FileTooLargeException",
                error(() -> codecommit.getFile(r -> r.repositoryName("present").filePath("larger"))));
        var bytes = new byte[256];
        for (var i = 0; i < bytes.length; i++) bytes[i] = (byte) i;
        repo.work(g -> {
            try (var inserter = g.newObjectInserter()) {
                var index = DirCache.newInCore();
                var builder = index.builder();
                for (var mode : List.of(FileMode.EXECUTABLE_FILE, FileMode.SYMLINK, FileMode.GITLINK)) {
                    var entry = new DirCacheEntry(mode.toString());
                    entry.setFileMode(mode);
                    entry.setObjectId(mode == FileMode.GITLINK ? ObjectId.fromString(v1)
                            : inserter.insert(Constants.OBJ_BLOB, bytes));
                    builder.add(entry);
                }
                builder.finish();
                var commit = new CommitBuilder();
                commit.setTreeId(index.writeTree(inserter));
                commit.setAuthor(new PersonIdent("Ada", "ada@example.com", Instant.EPOCH, ZoneOffset.UTC));
                commit.setCommitter(commit.getAuthor());
                commit.setMessage("Modes\n");
                var update = g.updateRef("refs/heads/modes");
                update.setNewObjectId(inserter.insert(commit));
                inserter.flush();
                update.update();
            }
        });
        Function<FileMode, GetFileResponse> odd = mode -> codecommit
                .getFile(r -> r.repositoryName("present").commitSpecifier("modes").filePath(mode.toString()));
        assertEquals(FileModeTypeEnum.EXECUTABLE, odd.apply(FileMode.EXECUTABLE_FILE).fileMode());
        assertEquals(FileModeTypeEnum.SYMLINK, odd.apply(FileMode.SYMLINK).fileMode());
        assertArrayEquals(bytes, odd.apply(FileMode.EXECUTABLE_FILE).fileContent().asByteArray());
        assertEquals("FileDoesNotExistException", error(() -> odd.apply(FileMode.GITLINK)));
    }

    @TestFactory
    List<DynamicTest> refusesReadsOfPullRequestsAndFilesThatAwsRefuses() {
        var repo = aws.codecommit.repository("present").commit("refs/heads/feature", "dir/b", "2");
        aws.codecommit.createRepository("other").commit("refs/heads/main", "x", "1");
        aws.codecommit.createRepository("empty");
        var id = repo.pullRequest("change", "feature", "main");
        var deleted = aws.codecommit.createRepository("deleted").commit("refs/heads/main", "a", "1")
                .pullRequest("of a deleted repository", "main", "main");
        aws.codecommit.deleteRepository("eu-west-1", "deleted");
        aws.codecommit.createRepository("deleted");
        var commit = repo.resolve("refs/heads/main").name();
        var refusals = new TreeMap<String, List<Runnable>>();
        Function<Consumer<GetFileRequest.Builder>, Runnable> file = change -> () -> codecommit
                .getFile(r -> r.repositoryName("present").filePath("a").applyMutation(change));
        Function<Consumer<GetCommentsForPullRequestRequest.Builder>, Runnable> comments = change -> () -> codecommit
                .getCommentsForPullRequest(r -> r.pullRequestId(id).applyMutation(change));
        Function<Consumer<DescribePullRequestEventsRequest.Builder>, Runnable> events = change -> () -> codecommit
                .describePullRequestEvents(r -> r.pullRequestId(id).applyMutation(change));
        Function<String, List<Runnable>> all = wrong -> List.of(comments.apply(r -> r.pullRequestId(wrong)),
                events.apply(r -> r.pullRequestId(wrong)), () -> codecommit.getPullRequest(r -> r.pullRequestId(wrong)),
                () -> codecommit.getPullRequestApprovalStates(r -> r.pullRequestId(wrong).revisionId("x")),
                () -> codecommit.getPullRequestOverrideState(r -> r.pullRequestId(wrong).revisionId("x")));
        refusals.put("PullRequestIdRequiredException", all.apply(null));
        refusals.put("InvalidPullRequestIdException",
                Stream.of("x", "", "-1").flatMap(wrong -> all.apply(wrong).stream()).toList());
        refusals.put("PullRequestDoesNotExistException",
                Stream.of("99", deleted).flatMap(wrong -> all.apply(wrong).stream()).toList());
        refusals.put("RevisionIdRequiredException",
                List.of(() -> codecommit.getPullRequestApprovalStates(r -> r.pullRequestId(id)),
                        () -> codecommit.getPullRequestOverrideState(r -> r.pullRequestId(id))));
        refusals.put("InvalidRevisionIdException",
                List.of(() -> codecommit.getPullRequestApprovalStates(r -> r.pullRequestId(id).revisionId("x")),
                () -> codecommit.getPullRequestOverrideState(r -> r.pullRequestId(id).revisionId(""))));
        refusals.put("InvalidPullRequestEventTypeException",
                List.of(events.apply(r -> r.pullRequestEventType("PULL_REQUEST_LIKED"))));
        refusals.put("InvalidActorArnException", List.of(events.apply(r -> r.actorArn("Ada"))));
        refusals.put("InvalidMaxResultsException",
                List.of(events.apply(r -> r.maxResults(0)), comments.apply(r -> r.maxResults(-1))));
        refusals.put("InvalidContinuationTokenException",
                List.of(events.apply(r -> r.nextToken("x")), comments.apply(r -> r.nextToken("x"))));
        refusals.put("RepositoryNameRequiredException",
                List.of(comments.apply(r -> r.beforeCommitId(commit).afterCommitId(commit)),
                        file.apply(r -> r.repositoryName(null))));
        refusals.put("CommitIdRequiredException", List.of(comments.apply(r -> r.repositoryName("present")),
                comments.apply(r -> r.repositoryName("present").afterCommitId(commit))));
        refusals.put("InvalidCommitIdException",
                List.of(comments.apply(r -> r.repositoryName("present").beforeCommitId("main").afterCommitId(commit))));
        refusals.put("CommitDoesNotExistException",
                List.of(comments.apply(
                        r -> r.repositoryName("present").beforeCommitId(commit).afterCommitId("0123456789".repeat(4))),
                        file.apply(r -> r.commitSpecifier("0123456789".repeat(4))),
                        file.apply(r -> r.commitSpecifier("absent")), file.apply(r -> r.commitSpecifier("heads/main")),
                        file.apply(r -> r.repositoryName("empty")),
                file.apply(r -> r.commitSpecifier(repo.resolve("refs/heads/main^{tree}").name()))));
        refusals.put("RepositoryNotAssociatedWithPullRequestException",
                List.of(comments.apply(r -> r.repositoryName("other").beforeCommitId(commit).afterCommitId(commit))));
        refusals.put("RepositoryDoesNotExistException",
                List.of(comments.apply(r -> r.repositoryName("absent").beforeCommitId(commit).afterCommitId(commit)),
                        file.apply(r -> r.repositoryName("absent"))));
        refusals.put("InvalidRepositoryNameException",
                List.of(comments.apply(r -> r.repositoryName("a b").beforeCommitId(commit).afterCommitId(commit)),
                        file.apply(r -> r.repositoryName("a.git"))));
        refusals.put("PathRequiredException", List.of(file.apply(r -> r.filePath(null))));
        refusals.put("InvalidPathException", Stream.of("", "/", "dir//b", "dir/", "../a", "dir/./b")
                .map(path -> file.apply(r -> r.filePath(path))).toList());
        refusals.put("FileDoesNotExistException", Stream.of("absent", "dir", "a/b")
                .map(path -> file.apply(r -> r.commitSpecifier("feature").filePath(path))).toList());
        refusals.put("InvalidCommitException", Stream.of("", "main~1", "a..b", "refs/heads/", "main:a")
                .map(name -> file.apply(r -> r.commitSpecifier(name))).toList());
        return tests(refusals);
    }

    /** The calls run now: JUnit runs dynamic tests after the method, when each would see another repository state. */
    private static List<DynamicTest> tests(Map<String, List<Runnable>> refusals) {
        return refusals.entrySet().stream().map(refusal -> {
            var codes = refusal.getValue().stream().map(CodeCommitTest::error).toList();
            return DynamicTest.dynamicTest(refusal.getKey(),
                    () -> codes.forEach(code -> assertEquals(refusal.getKey(), code)));
        }).toList();
    }

    static RepositoryTrigger trigger(Consumer<RepositoryTrigger.Builder> change) {
        return RepositoryTrigger.builder().name("Tell-them_1.0")
                .destinationArn("arn:aws:sns:eu-west-1:111122223333:topic").branches(List.of())
                .events(RepositoryTriggerEventEnum.ALL)
                .applyMutation(change).build();
    }

    @Test
    void replacesTriggersAndShowsWhatWasNotGivenAsEmpty() {
        var before = codecommit.getRepositoryTriggers(r -> r.repositoryName("present"));
        assertTrue(before.hasTriggers() && before.triggers().isEmpty());
        var lambda = trigger(t -> t.name("b").destinationArn("arn:aws:lambda:eu-west-1:444455556666:function:build")
                .branches("main", "release/1").customData("x")
                .events(RepositoryTriggerEventEnum.CREATE_REFERENCE, RepositoryTriggerEventEnum.DELETE_REFERENCE));
        var id = codecommit.putRepositoryTriggers(r -> r.repositoryName("present").triggers(trigger(t -> {}), lambda))
                .configurationId();
        var after = codecommit.getRepositoryTriggers(r -> r.repositoryName("present"));
        assertEquals(List.of(trigger(t -> t.customData("")), lambda), after.triggers());
        assertEquals(id, after.configurationId());
        assertNotEquals(id, before.configurationId());
        codecommit.putRepositoryTriggers(r -> r.repositoryName("present").triggers(lambda));
        assertEquals(List.of(lambda), codecommit.getRepositoryTriggers(r -> r.repositoryName("present")).triggers());
        codecommit.putRepositoryTriggers(r -> r.repositoryName("present").triggers(List.of()));
        assertEquals(List.of(), codecommit.getRepositoryTriggers(r -> r.repositoryName("present")).triggers());
        assertEquals(List.of(), aws.codecommit.repository("present").fired());
    }

    @Test
    void associatesApprovalRuleTemplates() {
        var content = "{\"Version\": \"2018-11-08\", \"DestinationReferences\": [\"refs/heads/main\", "
                + "\"refs/heads/release/*\"], \"Statements\": [{\"Type\": \"Approvers\", "
                + "\"NumberOfApprovalsNeeded\": 2, \"ApprovalPoolMembers\": "
                + "[\"arn:aws:sts::111122223333:assumed-role/Review/*\", \"CodeCommitApprovers:111122223333:Ada\"]}]}";
        var made = codecommit
                .createApprovalRuleTemplate(r -> r.approvalRuleTemplateName("two of them")
                        .approvalRuleTemplateContent(content).approvalRuleTemplateDescription("why"))
                .approvalRuleTemplate();
        var shown = codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("two of them"))
                .approvalRuleTemplate();
        assertEquals(made, shown);
        assertEquals(List.of("two of them", content, "why"), List.of(shown.approvalRuleTemplateName(),
                shown.approvalRuleTemplateContent(), shown.approvalRuleTemplateDescription()));
        for (var i = 0; i < 24; i++) {
            aws.codecommit.createApprovalRuleTemplate("t" + i, 1).repository("present").approvalRuleTemplate("t" + i);
        }
        for (var again = 0; again < 2; again++) {
            codecommit.associateApprovalRuleTemplateWithRepository(
                    r -> r.repositoryName("present").approvalRuleTemplateName("two of them"));
        }
        var pages = codecommit
                .listAssociatedApprovalRuleTemplatesForRepositoryPaginator(r -> r.repositoryName("present")).stream()
                .toList();
        assertEquals(5, pages.size());
        assertEquals(aws.codecommit.repository("present").approvalRuleTemplates(),
                pages.stream().flatMap(page -> page.approvalRuleTemplateNames().stream()).toList());
        assertEquals(3, codecommit
                .listAssociatedApprovalRuleTemplatesForRepository(r -> r.repositoryName("present").maxResults(3))
                .approvalRuleTemplateNames().size());
        aws.codecommit.createApprovalRuleTemplate("one more", 1);
        assertEquals("MaximumRuleTemplatesAssociatedWithRepositoryException",
                error(() -> codecommit.associateApprovalRuleTemplateWithRepository(
                        r -> r.repositoryName("present").approvalRuleTemplateName("one more"))));
        try (var other = client("us-east-1")) {
            assertEquals("ApprovalRuleTemplateDoesNotExistException",
                    error(() -> other.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("t1"))));
        }
    }

    @TestFactory
    List<DynamicTest> refusesTriggersAndTemplatesThatAwsRefuses() {
        var refusals = new TreeMap<String, List<Runnable>>();
        Function<Consumer<RepositoryTrigger.Builder>, Runnable> put = change -> () -> codecommit
                .putRepositoryTriggers(r -> r.repositoryName("present").triggers(trigger(change)));
        refusals.put("RepositoryTriggersListRequiredException",
                List.of(() -> codecommit.putRepositoryTriggers(r -> r.repositoryName("present"))));
        refusals.put("RepositoryTriggerNameRequiredException",
                List.of(put.apply(t -> t.name(null)), put.apply(t -> t.name(""))));
        refusals.put("InvalidRepositoryTriggerNameException",
                List.of(put.apply(t -> t.name("a b")), put.apply(t -> t.name("a,b")),
                        put.apply(t -> t.name("n".repeat(101))),
                        () -> codecommit.putRepositoryTriggers(
                                r -> r.repositoryName("present").triggers(trigger(t -> {}), trigger(t -> {})))));
        refusals.put("RepositoryTriggerDestinationArnRequiredException",
                List.of(put.apply(t -> t.destinationArn(null)), put.apply(t -> t.destinationArn(""))));
        refusals.put("InvalidRepositoryTriggerDestinationArnException",
                List.of(put.apply(t -> t.destinationArn("topic")),
                        put.apply(t -> t.destinationArn("arn:aws:sqs:eu-west-1:111122223333:queue")),
                        put.apply(t -> t.destinationArn("arn:aws:sns:eu-west-1:111122223333:topic.fifo")),
                        put.apply(t -> t.destinationArn("arn:aws-cn:sns:cn-north-1:111122223333:topic"))));
        refusals.put("InvalidRepositoryTriggerRegionException",
                List.of(put.apply(t -> t.destinationArn("arn:aws:sns:us-east-1:111122223333:topic"))));
        refusals.put("InvalidRepositoryTriggerCustomDataException",
                List.of(put.apply(t -> t.customData("x".repeat(1001)))));
        refusals.put("RepositoryTriggerBranchNameListRequiredException",
                List.of(put.apply(t -> t.branches((List<String>) null))));
        refusals.put("InvalidRepositoryTriggerBranchNameException",
                List.of(put.apply(t -> t.branches("refs/heads/main")), put.apply(t -> t.branches("a..b")),
                        put.apply(t -> t.branches("")), put.apply(t -> t.branches("b".repeat(257)))));
        refusals.put("MaximumBranchesExceededException",
                List.of(put.apply(t -> t.branches(IntStream.range(0, 11).mapToObj(i -> "b" + i).toList()))));
        refusals.put("RepositoryTriggerEventsListRequiredException", List.of(put.apply(t -> t.events(List.of())),
                put.apply(t -> t.events((List<RepositoryTriggerEventEnum>) null))));
        refusals.put("InvalidRepositoryTriggerEventsException", List.of(put.apply(t -> t.eventsWithStrings("push")),
                put.apply(t -> t.eventsWithStrings("all", "updateReference"))));
        refusals.put("MaximumRepositoryTriggersExceededException", List.of(
                () -> codecommit.putRepositoryTriggers(r -> r.repositoryName("present")
                        .triggers(IntStream.range(0, 11).mapToObj(i -> trigger(t -> t.name("t" + i))).toList()))));
        refusals.put("RepositoryDoesNotExistException",
                List.of(() -> codecommit.getRepositoryTriggers(r -> r.repositoryName("absent")),
                        () -> codecommit.putRepositoryTriggers(r -> r.repositoryName("absent").triggers(List.of())),
                        () -> codecommit
                                .listAssociatedApprovalRuleTemplatesForRepository(r -> r.repositoryName("absent")),
                        () -> codecommit.associateApprovalRuleTemplateWithRepository(
                                r -> r.repositoryName("absent").approvalRuleTemplateName("there"))));
        aws.codecommit.createApprovalRuleTemplate("there", 1);
        Function<String, Runnable> create = content -> () -> codecommit.createApprovalRuleTemplate(
                r -> r.approvalRuleTemplateName("new").approvalRuleTemplateContent(content));
        var right = aws.codecommit.approvalRuleTemplate("eu-west-1", "there").get("approvalRuleTemplateContent")
                .asText();
        refusals.put("ApprovalRuleTemplateNameRequiredException", List.of(
                () -> codecommit.getApprovalRuleTemplate(r -> {}),
                () -> codecommit.associateApprovalRuleTemplateWithRepository(r -> r.repositoryName("present"))));
        refusals.put("InvalidApprovalRuleTemplateNameException",
                List.of(() -> codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("")),
                        () -> codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("a/b")),
                        () -> codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("n".repeat(101))),
                        () -> codecommit.createApprovalRuleTemplate(
                                r -> r.approvalRuleTemplateName("a.git").approvalRuleTemplateContent(right))));
        refusals.put("ApprovalRuleTemplateDoesNotExistException",
                List.of(() -> codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("absent")),
                        () -> codecommit.associateApprovalRuleTemplateWithRepository(
                                r -> r.repositoryName("present").approvalRuleTemplateName("absent"))));
        refusals.put("ApprovalRuleTemplateNameAlreadyExistsException",
                List.of(() -> codecommit.createApprovalRuleTemplate(
                        r -> r.approvalRuleTemplateName("there").approvalRuleTemplateContent(right))));
        refusals.put("ApprovalRuleTemplateContentRequiredException", List.of(create.apply(null)));
        refusals.put("InvalidApprovalRuleTemplateDescriptionException", List.of(
                () -> codecommit.createApprovalRuleTemplate(r -> r.approvalRuleTemplateName("new")
                        .approvalRuleTemplateContent(right).approvalRuleTemplateDescription("d".repeat(1001)))));
        refusals.put("InvalidApprovalRuleTemplateContentException",
                List.of(create.apply(""), create.apply("{"), create.apply("[]"),
                        create.apply(right.replace("2018-11-08", "2012-10-17")),
                        create.apply(right.replace("}]", ",\"PoolMembers\":[]}]")),
                        create.apply(right.replace("Needed\":1", "Needed\":0")),
                        create.apply(right.replace("}]}", "}],\"DestinationReferences\":[\"main\"]}")),
                        create.apply(right.replace("}]}", "}],\"DestinationReferences\":[\"refs/heads/*\"]}")),
                        create.apply(right + " ".repeat(3000))));
        refusals.put("InvalidMaxResultsException", List.of(() -> codecommit
                .listAssociatedApprovalRuleTemplatesForRepository(r -> r.repositoryName("present").maxResults(0))));
        refusals.put("InvalidContinuationTokenException", List.of(() -> codecommit
                .listAssociatedApprovalRuleTemplatesForRepository(r -> r.repositoryName("present").nextToken("x"))));
        return tests(refusals);
    }

    @Test
    void isTheSameOnDiskAsInMemory() {
        var repo = aws.codecommit.createRepository("both").commit("refs/heads/trunk", "d/a", "1").annotatedTag("v1",
                "refs/heads/trunk");
        var before = repo.resolve("refs/tags/v1");
        repo.commit("refs/heads/trunk", "d/b", "2").ref("refs/heads/old", "refs/tags/v1^{commit}");
        var tip = repo.resolve("HEAD");
        assertEquals(tip, repo.resolve("refs/heads/trunk"));
        repo.git();
        assertEquals(List.of(before, tip), List.of(repo.resolve("refs/tags/v1"), repo.resolve("HEAD")));
        assertEquals(repo.resolve("refs/heads/trunk~1"), repo.resolve("refs/heads/old"));
        repo.commit("refs/heads/trunk", "d/c", "3");
        assertEquals(tip, repo.resolve("HEAD~1"));
    }

    @Test
    void equalSeedsHaveEqualHistories() {
        var one = aws.codecommit.createRepository("one").commit("refs/heads/main", "d/a", "1")
                .commit("refs/heads/main", "d/b", "2").annotatedTag("v1", "refs/heads/main")
                .ref("refs/heads/x", "refs/heads/main~1");
        var two = aws.codecommit.createRepository("two").commit("refs/heads/main", "d/a", "1")
                .commit("refs/heads/main", "d/b", "2").annotatedTag("v1", "refs/heads/main");
        assertEquals(one.resolve("refs/tags/v1"), two.resolve("refs/tags/v1"));
        assertNotEquals(one.resolve("refs/heads/x"), two.resolve("refs/heads/main"));
        assertEquals(one.resolve("refs/heads/main:d/a"), one.resolve("refs/heads/x:d/a"));
        assertNull(two.resolve("refs/heads/x"));
    }

    @Test
    void encryptsUnderAKeyGivenInAnyForm() {
        var key = aws.kms.createKey("eu-west-1");
        aws.kms.createAlias("eu-west-1", "alias/code", key);
        var alias = key.arn.replace("key/" + key.keyId, "alias/code");
        for (var form : List.of(key.keyId, key.arn, "alias/code", alias)) {
            codecommit.deleteRepository(r -> r.repositoryName("secret"));
            assertEquals(key.arn, codecommit.createRepository(r -> r.repositoryName("secret").kmsKeyId(form))
                    .repositoryMetadata().kmsKeyId());
        }
        assertNull(codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().kmsKeyId());
        var managed = aws.kms.find("alias/aws/codecommit", "eu-west-1").arn;
        aws.codecommit.showManagedKey = true;
        assertEquals(managed,
                codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().kmsKeyId());
        var changed = codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("present").kmsKeyId(alias));
        assertEquals(List.of(aws.codecommit.repository("present").id, key.arn, managed),
                List.of(changed.repositoryId(), changed.kmsKeyId(), changed.originalKmsKeyId()));
        assertEquals(key.arn,
                codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().kmsKeyId());
        assertEquals(key.arn, codecommit
                .updateRepositoryEncryptionKey(r -> r.repositoryName("present").kmsKeyId("alias/aws/codecommit"))
                .originalKmsKeyId());
        assertNull(aws.codecommit.repository("present").key());
    }

    @Test
    void refusesKeysThatCannotEncryptRepositories() {
        var key = aws.kms.createKey("eu-west-1");
        var elsewhere = aws.kms.createKey("eu-west-2");
        Function<String, String> create = id -> error(
                () -> codecommit.createRepository(r -> r.repositoryName("a").kmsKeyId(id)));
        assertEquals("EncryptionKeyNotFoundException", create.apply("12345678-1234-1234-1234-123456789012"));
        assertEquals("EncryptionKeyNotFoundException", create.apply("alias/absent"));
        assertEquals("EncryptionKeyNotFoundException", create.apply(elsewhere.keyId));
        assertEquals("EncryptionKeyNotFoundException", create.apply(elsewhere.arn));
        assertEquals("EncryptionKeyInvalidIdException", create.apply("arn:aws:iam::111122223333:role/x"));
        assertEquals("EncryptionKeyInvalidIdException", create.apply(key.arn.replace("arn:aws:", "arn:aws-cn:")));
        assertEquals("EncryptionKeyAccessDeniedException",
                create.apply(key.arn.replace("111122223333", "444455556666")));
        key.keySpec = "RSA_2048";
        assertEquals("EncryptionKeyInvalidUsageException", create.apply(key.arn));
        key.keySpec = "SYMMETRIC_DEFAULT";
        key.usage = "GENERATE_VERIFY_MAC";
        assertEquals("EncryptionKeyInvalidUsageException", error(
                () -> codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("present").kmsKeyId(key.arn))));
        key.usage = "ENCRYPT_DECRYPT";
        key.state = "Disabled";
        assertEquals("EncryptionKeyDisabledException", create.apply(key.arn));
        key.state = "PendingDeletion";
        assertEquals("EncryptionKeyUnavailableException", create.apply(key.arn));
        assertNull(aws.codecommit.repository("a"));
        assertNull(aws.codecommit.repository("present").key());
    }

    @Test
    void aDisabledKeyMakesItsRepositoryUnreadable() {
        var key = aws.kms.createKey("eu-west-1");
        var id = aws.codecommit.createRepository("secret").key(key.arn).commit("refs/heads/main", "a", "1")
                .pullRequest("change", "main", "main");
        var revision = codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest().revisionId();
        key.state = "Disabled";
        for (Runnable call : List.<Runnable>of(() -> codecommit.getRepository(r -> r.repositoryName("secret")),
                () -> codecommit.listPullRequests(r -> r.repositoryName("secret")),
                () -> codecommit.getFile(r -> r.repositoryName("secret").filePath("a")),
                () -> codecommit.getPullRequest(r -> r.pullRequestId(id)),
                () -> codecommit.describePullRequestEvents(r -> r.pullRequestId(id)),
                () -> codecommit.getCommentsForPullRequest(r -> r.pullRequestId(id)),
                () -> codecommit.getPullRequestApprovalStates(r -> r.pullRequestId(id).revisionId(revision)),
                () -> codecommit.getPullRequestOverrideState(r -> r.pullRequestId(id).revisionId(revision)),
                () -> codecommit
                        .updateRepositoryDescription(r -> r.repositoryName("secret").repositoryDescription("x")),
                () -> codecommit.updateRepositoryEncryptionKey(
                        r -> r.repositoryName("secret").kmsKeyId("alias/aws/codecommit")))) {
            assertEquals("EncryptionKeyDisabledException", error(call));
        }
        var batch = codecommit.batchGetRepositories(r -> r.repositoryNames("secret", "present"));
        assertEquals(List.of("present"), batch.repositories().stream().map(r -> r.repositoryName()).toList());
        assertEquals("EncryptionKeyDisabledException", batch.errors().get(0).errorCodeAsString());
        assertEquals("secret", batch.errors().get(0).repositoryName());
        assertEquals(2, codecommit.listRepositories().repositories().size(), "it is listed");
        key.state = "Enabled";
        assertEquals(key.arn,
                codecommit.getRepository(r -> r.repositoryName("secret")).repositoryMetadata().kmsKeyId());
    }

    @TestFactory
    List<DynamicTest> refusesWhatAwsRefuses() {
        var arn = "arn:aws:codecommit:eu-west-1:111122223333:";
        var refusals = new TreeMap<String, List<Runnable>>();
        refusals.put("RepositoryNameRequiredException", List.of(
                () -> codecommit.createRepository(r -> {}), () -> codecommit.getRepository(r -> {}),
                () -> codecommit.deleteRepository(r -> {}),
                () -> codecommit.updateRepositoryDescription(r -> r.repositoryDescription("x")),
                () -> codecommit.listPullRequests(r -> {})));
        refusals.put("InvalidRepositoryNameException", List.of(
                () -> codecommit.createRepository(r -> r.repositoryName("")),
                () -> codecommit.createRepository(r -> r.repositoryName("a b")),
                () -> codecommit.createRepository(r -> r.repositoryName("ümlaut")),
                () -> codecommit.createRepository(r -> r.repositoryName("a/b")),
                () -> codecommit.createRepository(r -> r.repositoryName("a".repeat(101))),
                () -> codecommit.createRepository(r -> r.repositoryName("a.git")),
                () -> codecommit.getRepository(r -> r.repositoryName("a*")),
                () -> codecommit.batchGetRepositories(r -> r.repositoryNames("present", "a b")),
                () -> codecommit.deleteRepository(r -> r.repositoryName("a.git"))));
        refusals.put("RepositoryNameExistsException",
                List.of(() -> codecommit.createRepository(r -> r.repositoryName("present"))));
        refusals.put("RepositoryDoesNotExistException", List.of(
                () -> codecommit.getRepository(r -> r.repositoryName("Present")),
                () -> codecommit.listTagsForResource(r -> r.resourceArn(arn + "absent")),
                () -> codecommit.updateRepositoryDescription(r -> r.repositoryName("absent")),
                () -> codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("absent").kmsKeyId("x")),
                () -> codecommit.listPullRequests(r -> r.repositoryName("absent"))));
        refusals.put("InvalidRepositoryDescriptionException", List.of(
                () -> codecommit.createRepository(r -> r.repositoryName("a").repositoryDescription("d".repeat(1001))),
                () -> codecommit.updateRepositoryDescription(
                        r -> r.repositoryName("present").repositoryDescription("d".repeat(1001)))));
        refusals.put("EncryptionKeyRequiredException",
                List.of(() -> codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("present"))));
        refusals.put("EncryptionKeyInvalidIdException", List.of(
                () -> codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("present").kmsKeyId("a b")),
                () -> codecommit.createRepository(r -> r.repositoryName("a").kmsKeyId("alias/a.b"))));
        refusals.put("ResourceArnRequiredException", List.of(() -> codecommit.listTagsForResource(r -> {}),
                () -> codecommit.tagResource(r -> r.tags(Map.of("a", "b")))));
        refusals.put("InvalidResourceArnException", List.of(
                () -> codecommit.listTagsForResource(r -> r.resourceArn("present")),
                () -> codecommit.listTagsForResource(r -> r.resourceArn(arn)),
                () -> codecommit.listTagsForResource(r -> r.resourceArn(arn.replace("1111", "2222") + "present"))));
        refusals.put("TagsMapRequiredException",
                List.of(() -> codecommit.tagResource(r -> r.resourceArn(arn + "present"))));
        refusals.put("InvalidTagsMapException", List.of(
                () -> codecommit
                        .tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("Compliance", "SOC2,GDPR"))),
                () -> codecommit.tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("a;b", "c"))),
                () -> codecommit.tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("k".repeat(129), "c"))),
                () -> codecommit.tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("k", "v".repeat(257)))),
                () -> codecommit.createRepository(r -> r.repositoryName("a").tags(Map.of("", "c"))),
                () -> codecommit.createRepository(r -> r.repositoryName("a").tags(Map.of("a", "c\n")))));
        refusals.put("InvalidSystemTagUsageException", List.of(
                () -> codecommit.createRepository(r -> r.repositoryName("a").tags(Map.of("aws:x", "c"))),
                () -> codecommit.tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("AWS:x", "c"))),
                () -> codecommit.untagResource(r -> r.resourceArn(arn + "present").tagKeys("aws:x"))));
        refusals.put("TooManyTagsException", List.of(
                () -> codecommit.createRepository(r -> r.repositoryName("a")
                        .tags(IntStream.range(0, 51).boxed().collect(Collectors.toMap(i -> "k" + i, i -> ""))))));
        refusals.put("TagKeysListRequiredException",
                List.of(() -> codecommit.untagResource(r -> r.resourceArn(arn + "present"))));
        refusals.put("InvalidTagKeysListException",
                List.of(() -> codecommit.untagResource(r -> r.resourceArn(arn + "present").tagKeys(""))));
        refusals.put("BranchNameRequiredException",
                List.of(() -> codecommit.updateDefaultBranch(r -> r.repositoryName("present"))));
        refusals.put("InvalidBranchNameException", List.of(
                () -> codecommit
                        .updateDefaultBranch(r -> r.repositoryName("present").defaultBranchName("b".repeat(257))),
                () -> codecommit.updateDefaultBranch(r -> r.repositoryName("present").defaultBranchName("a..b"))));
        refusals.put("BranchDoesNotExistException", List.of(
                () -> codecommit.updateDefaultBranch(r -> r.repositoryName("present").defaultBranchName("absent"))));
        refusals.put("InvalidSortByException", List.of(() -> codecommit.listRepositories(r -> r.sortBy("size"))));
        refusals.put("InvalidOrderException", List.of(() -> codecommit.listRepositories(r -> r.order("up"))));
        refusals.put("InvalidPullRequestStatusException",
                List.of(() -> codecommit.listPullRequests(r -> r.repositoryName("present").pullRequestStatus("open"))));
        refusals.put("InvalidMaxResultsException",
                List.of(() -> codecommit.listPullRequests(r -> r.repositoryName("present").maxResults(0))));
        refusals.put("InvalidAuthorArnException",
                List.of(() -> codecommit.listPullRequests(r -> r.repositoryName("present").authorArn("Ada"))));
        refusals.put("PullRequestIdRequiredException", List.of(() -> codecommit.getPullRequest(r -> { })));
        refusals.put("InvalidPullRequestIdException",
                List.of(() -> codecommit.getPullRequest(r -> r.pullRequestId("x"))));
        refusals.put("PullRequestDoesNotExistException",
                List.of(() -> codecommit.getPullRequest(r -> r.pullRequestId("1"))));
        return tests(refusals);
    }

    @Test
    void refusedRequestsChangeNothing() {
        error(() -> codecommit.createRepository(r -> r.repositoryName("a").tags(Map.of("a", "b,c"))));
        error(() -> codecommit.tagResource(
                r -> r.resourceArn(aws.codecommit.repository("present").arn).tags(Map.of("a", "b", "aws:c", "d"))));
        assertNull(aws.codecommit.repository("a"));
        assertEquals(Map.of(), aws.codecommit.repository("present").tags());
    }

    static String error(Runnable call) {
        var error = assertThrows(AwsServiceException.class, call::run);
        assertFalse(error.awsErrorDetails().errorMessage().isBlank());
        return error.awsErrorDetails().errorCode();
    }
}
