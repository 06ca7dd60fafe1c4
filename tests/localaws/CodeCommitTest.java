package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
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
import software.amazon.awssdk.services.codecommit.model.OrderEnum;
import software.amazon.awssdk.services.codecommit.model.PullRequestStatusEnum;
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
                .credentialsProvider(StaticCredentialsProvider.create(LocalAwsTest.RIGHT)).httpClient(UrlConnectionHttpClient.create()).build();
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

    @Test
    void createsAndDescribesARepository() {
        var made = codecommit.createRepository(r -> r.repositoryName("My.Demo_Repo-1").repositoryDescription("what for").tags(Map.of("Team", "a b+c=@:/._-", "ünï", ""))).repositoryMetadata();
        assertEquals("My.Demo_Repo-1", made.repositoryName());
        assertEquals("what for", made.repositoryDescription());
        assertEquals("111122223333", made.accountId());
        assertEquals("arn:aws:codecommit:eu-west-1:111122223333:My.Demo_Repo-1", made.arn());
        assertTrue(made.repositoryId().matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"));
        assertEquals(aws.endpoint() + "/v1/repos/My.Demo_Repo-1", made.cloneUrlHttp());
        assertEquals("ssh://git-codecommit.eu-west-1.amazonaws.com/v1/repos/My.Demo_Repo-1", made.cloneUrlSsh());
        assertNull(made.defaultBranch());
        assertTrue(Duration.between(made.creationDate(), java.time.Instant.now()).abs().toMinutes() < 1);
        assertEquals(made, codecommit.getRepository(r -> r.repositoryName("My.Demo_Repo-1")).repositoryMetadata());
        assertEquals(Map.of("Team", "a b+c=@:/._-", "ünï", ""), codecommit.listTagsForResource(r -> r.resourceArn(made.arn())).tags());
        assertEquals("main", codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().defaultBranch());
    }

    @Test
    void aRegionIsAWorldOfItsOwn() {
        try (var china = client("cn-north-1"); var gov = client("us-gov-west-1")) {
            var made = china.createRepository(r -> r.repositoryName("present")).repositoryMetadata();
            assertEquals("arn:aws-cn:codecommit:cn-north-1:111122223333:present", made.arn());
            assertEquals("ssh://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/present", made.cloneUrlSsh());
            assertEquals("arn:aws-us-gov:codecommit:us-gov-west-1:111122223333:x", gov.createRepository(r -> r.repositoryName("x")).repositoryMetadata().arn());
            assertNotEquals(made.repositoryId(), codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().repositoryId());
            assertEquals(1, china.listRepositories().repositories().size());
            assertEquals("InvalidResourceArnException", error(() -> codecommit.listTagsForResource(r -> r.resourceArn(made.arn()))));
        }
    }

    @Test
    void deletesARepositoryOnceAndForAll() {
        var id = aws.codecommit.repository("present").id;
        assertEquals(id, codecommit.deleteRepository(r -> r.repositoryName("present")).repositoryId());
        assertNull(codecommit.deleteRepository(r -> r.repositoryName("present")).repositoryId());
        assertEquals("RepositoryDoesNotExistException", error(() -> codecommit.getRepository(r -> r.repositoryName("present"))));
        assertNotEquals(id, codecommit.createRepository(r -> r.repositoryName("present")).repositoryMetadata().repositoryId());
    }

    @Test
    void changesDescriptionAndDefaultBranch() {
        codecommit.updateRepositoryDescription(r -> r.repositoryName("present").repositoryDescription("new"));
        assertEquals("new", codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().repositoryDescription());
        codecommit.updateRepositoryDescription(r -> r.repositoryName("present"));
        assertNull(codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().repositoryDescription());
        aws.codecommit.repository("present").commit("refs/heads/release/1", "b", "2");
        codecommit.updateDefaultBranch(r -> r.repositoryName("present").defaultBranchName("release/1"));
        assertEquals("release/1", codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().defaultBranch());
    }

    @Test
    void listsInPagesAndInTheOrderThatWasAskedFor() {
        for (var name : List.of("c", "b", "a", "D")) aws.codecommit.createRepository(name);
        aws.codecommit.repositoriesPerPage = 2;
        Function<Consumer<software.amazon.awssdk.services.codecommit.model.ListRepositoriesRequest.Builder>, List<String>> list =
                r -> codecommit.listRepositoriesPaginator(r).repositories().stream().map(RepositoryNameIdPair::repositoryName).toList();
        assertEquals(List.of("D", "a", "b", "c", "present"), list.apply(r -> r.sortBy(SortByEnum.REPOSITORY_NAME)));
        assertEquals(List.of("present", "c", "b", "a", "D"), list.apply(r -> r.sortBy(SortByEnum.REPOSITORY_NAME).order(OrderEnum.DESCENDING)));
        assertEquals(5, list.apply(r -> { }).size());
        aws.clock = java.time.Clock.offset(java.time.Clock.systemUTC(), Duration.ofHours(1));
        codecommit.updateRepositoryDescription(r -> r.repositoryName("b").repositoryDescription("latest"));
        assertEquals("b", list.apply(r -> r.sortBy(SortByEnum.LAST_MODIFIED_DATE)).get(4));
        assertEquals("InvalidContinuationTokenException", error(() -> codecommit.listRepositories(r -> r.nextToken("nonsense"))));
        assertEquals("InvalidContinuationTokenException", error(() -> codecommit.listRepositories(r -> r.nextToken("!"))));
    }

    @Test
    void pagesGoOnWhenRepositoriesComeAndGoMeanwhile() {
        for (var name : List.of("a", "b", "c", "d")) aws.codecommit.createRepository(name);
        aws.codecommit.repositoriesPerPage = 2;
        var first = codecommit.listRepositories(r -> r.sortBy(SortByEnum.REPOSITORY_NAME));
        assertEquals(List.of("a", "b"), first.repositories().stream().map(RepositoryNameIdPair::repositoryName).toList());
        codecommit.deleteRepository(r -> r.repositoryName("b"));
        codecommit.deleteRepository(r -> r.repositoryName("c"));
        aws.codecommit.createRepository("bb");
        var second = codecommit.listRepositories(r -> r.sortBy(SortByEnum.REPOSITORY_NAME).nextToken(first.nextToken()));
        assertEquals(List.of("bb", "d"), second.repositories().stream().map(RepositoryNameIdPair::repositoryName).toList());
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
        assertEquals("MaximumRepositoryNamesExceededException", error(() -> codecommit.batchGetRepositories(r -> r.repositoryNames(names))));
        assertEquals("RepositoryNamesRequiredException", error(() -> codecommit.batchGetRepositories(r -> r.repositoryNames(List.of()))));
    }

    @Test
    void holdsFiveThousandRepositoriesAndNoMore() {
        var start = System.nanoTime();
        for (var i = 1; i < 5_000; i++) aws.codecommit.createRepository("r" + i).commit("refs/heads/main", "README", "r" + i);
        assertEquals(5_000, codecommit.listRepositoriesPaginator().repositories().stream().map(RepositoryNameIdPair::repositoryName).distinct().count());
        assertEquals(5, aws.calls().size(), "pages of 1,000");
        assertEquals("RepositoryLimitExceededException", error(() -> codecommit.createRepository(r -> r.repositoryName("more"))));
        for (var i = 1; i < 5_000; i++) assertEquals(40, aws.codecommit.repository("r" + i).resolve("refs/heads/main").name().length());
        assertTrue(System.nanoTime() - start < 20_000_000_000L, "seconds, not minutes");
    }

    @Test
    void tagsAreMergedPagedAndLimited() {
        var arn = aws.codecommit.repository("present").arn;
        var tags = new TreeMap<String, String>();
        for (var i = 0; i < 49; i++) tags.put("k" + i, "v" + i);
        codecommit.tagResource(r -> r.resourceArn(arn).tags(tags));
        codecommit.tagResource(r -> r.resourceArn(arn).tags(Map.of("k1", "changed", "one", "more")));
        assertEquals("TooManyTagsException", error(() -> codecommit.tagResource(r -> r.resourceArn(arn).tags(Map.of("two", "more")))));
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
        assertEquals(12, codecommit.listPullRequestsPaginator(r -> r.repositoryName("present")).stream().mapToInt(p -> p.pullRequestIds().size()).sum());
        assertEquals(10, codecommit.listPullRequests(r -> r.repositoryName("present").pullRequestStatus(PullRequestStatusEnum.OPEN)).pullRequestIds().size());
        assertTrue(codecommit.listPullRequests(r -> r.repositoryName("present").pullRequestStatus(PullRequestStatusEnum.CLOSED)).pullRequestIds().isEmpty());
        var first = codecommit.getPullRequest(r -> r.pullRequestId(ids.get(0))).pullRequest();
        assertEquals("change 0", first.title());
        assertEquals("refs/heads/feature", first.pullRequestTargets().get(0).sourceReference());
        assertEquals(repo.resolve("refs/heads/main").name(), first.pullRequestTargets().get(0).destinationCommit());
        assertFalse(first.pullRequestTargets().get(0).mergeMetadata().isMerged());
    }

    static RepositoryTrigger trigger(Consumer<RepositoryTrigger.Builder> change) {
        return RepositoryTrigger.builder().name("Tell-them_1.0").destinationArn("arn:aws:sns:eu-west-1:111122223333:topic").branches(List.of()).events(RepositoryTriggerEventEnum.ALL)
                .applyMutation(change).build();
    }

    @Test
    void replacesTriggersAndShowsWhatWasNotGivenAsEmpty() {
        var before = codecommit.getRepositoryTriggers(r -> r.repositoryName("present"));
        assertTrue(before.hasTriggers() && before.triggers().isEmpty());
        var lambda = trigger(t -> t.name("b").destinationArn("arn:aws:lambda:eu-west-1:444455556666:function:build").branches("main", "release/1").customData("x")
                .events(RepositoryTriggerEventEnum.CREATE_REFERENCE, RepositoryTriggerEventEnum.DELETE_REFERENCE));
        var id = codecommit.putRepositoryTriggers(r -> r.repositoryName("present").triggers(trigger(t -> { }), lambda)).configurationId();
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
        var content = "{\"Version\": \"2018-11-08\", \"DestinationReferences\": [\"refs/heads/main\", \"refs/heads/release/*\"], \"Statements\": [{\"Type\": \"Approvers\", "
                + "\"NumberOfApprovalsNeeded\": 2, \"ApprovalPoolMembers\": [\"arn:aws:sts::111122223333:assumed-role/Review/*\", \"CodeCommitApprovers:111122223333:Ada\"]}]}";
        var made = codecommit.createApprovalRuleTemplate(r -> r.approvalRuleTemplateName("two of them").approvalRuleTemplateContent(content).approvalRuleTemplateDescription("why")).approvalRuleTemplate();
        var shown = codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("two of them")).approvalRuleTemplate();
        assertEquals(made, shown);
        assertEquals(List.of("two of them", content, "why"), List.of(shown.approvalRuleTemplateName(), shown.approvalRuleTemplateContent(), shown.approvalRuleTemplateDescription()));
        for (var i = 0; i < 24; i++) aws.codecommit.createApprovalRuleTemplate("t" + i, 1).repository("present").approvalRuleTemplate("t" + i);
        for (var again = 0; again < 2; again++) codecommit.associateApprovalRuleTemplateWithRepository(r -> r.repositoryName("present").approvalRuleTemplateName("two of them"));
        var pages = codecommit.listAssociatedApprovalRuleTemplatesForRepositoryPaginator(r -> r.repositoryName("present")).stream().toList();
        assertEquals(5, pages.size());
        assertEquals(aws.codecommit.repository("present").approvalRuleTemplates(), pages.stream().flatMap(page -> page.approvalRuleTemplateNames().stream()).toList());
        assertEquals(3, codecommit.listAssociatedApprovalRuleTemplatesForRepository(r -> r.repositoryName("present").maxResults(3)).approvalRuleTemplateNames().size());
        aws.codecommit.createApprovalRuleTemplate("one more", 1);
        assertEquals("MaximumRuleTemplatesAssociatedWithRepositoryException",
                error(() -> codecommit.associateApprovalRuleTemplateWithRepository(r -> r.repositoryName("present").approvalRuleTemplateName("one more"))));
        try (var other = client("us-east-1")) {
            assertEquals("ApprovalRuleTemplateDoesNotExistException", error(() -> other.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("t1"))));
        }
    }

    @TestFactory
    List<DynamicTest> refusesTriggersAndTemplatesThatAwsRefuses() {
        var refusals = new TreeMap<String, List<Runnable>>();
        Function<Consumer<RepositoryTrigger.Builder>, Runnable> put = change -> () -> codecommit.putRepositoryTriggers(r -> r.repositoryName("present").triggers(trigger(change)));
        refusals.put("RepositoryTriggersListRequiredException", List.of(() -> codecommit.putRepositoryTriggers(r -> r.repositoryName("present"))));
        refusals.put("RepositoryTriggerNameRequiredException", List.of(put.apply(t -> t.name(null)), put.apply(t -> t.name(""))));
        refusals.put("InvalidRepositoryTriggerNameException", List.of(put.apply(t -> t.name("a b")), put.apply(t -> t.name("a,b")), put.apply(t -> t.name("n".repeat(101))),
                () -> codecommit.putRepositoryTriggers(r -> r.repositoryName("present").triggers(trigger(t -> { }), trigger(t -> { })))));
        refusals.put("RepositoryTriggerDestinationArnRequiredException", List.of(put.apply(t -> t.destinationArn(null)), put.apply(t -> t.destinationArn(""))));
        refusals.put("InvalidRepositoryTriggerDestinationArnException", List.of(put.apply(t -> t.destinationArn("topic")), put.apply(t -> t.destinationArn("arn:aws:sqs:eu-west-1:111122223333:queue")),
                put.apply(t -> t.destinationArn("arn:aws:sns:eu-west-1:111122223333:topic.fifo")), put.apply(t -> t.destinationArn("arn:aws-cn:sns:cn-north-1:111122223333:topic"))));
        refusals.put("InvalidRepositoryTriggerRegionException", List.of(put.apply(t -> t.destinationArn("arn:aws:sns:us-east-1:111122223333:topic"))));
        refusals.put("InvalidRepositoryTriggerCustomDataException", List.of(put.apply(t -> t.customData("x".repeat(1001)))));
        refusals.put("RepositoryTriggerBranchNameListRequiredException", List.of(put.apply(t -> t.branches((List<String>) null))));
        refusals.put("InvalidRepositoryTriggerBranchNameException", List.of(put.apply(t -> t.branches("refs/heads/main")), put.apply(t -> t.branches("a..b")), put.apply(t -> t.branches("")), put.apply(t -> t.branches("b".repeat(257)))));
        refusals.put("MaximumBranchesExceededException", List.of(put.apply(t -> t.branches(IntStream.range(0, 11).mapToObj(i -> "b" + i).toList()))));
        refusals.put("RepositoryTriggerEventsListRequiredException", List.of(put.apply(t -> t.events(List.of())), put.apply(t -> t.events((List<RepositoryTriggerEventEnum>) null))));
        refusals.put("InvalidRepositoryTriggerEventsException", List.of(put.apply(t -> t.eventsWithStrings("push")), put.apply(t -> t.eventsWithStrings("all", "updateReference"))));
        refusals.put("MaximumRepositoryTriggersExceededException", List.of(
                () -> codecommit.putRepositoryTriggers(r -> r.repositoryName("present").triggers(IntStream.range(0, 11).mapToObj(i -> trigger(t -> t.name("t" + i))).toList()))));
        refusals.put("RepositoryDoesNotExistException", List.of(() -> codecommit.getRepositoryTriggers(r -> r.repositoryName("absent")),
                () -> codecommit.putRepositoryTriggers(r -> r.repositoryName("absent").triggers(List.of())), () -> codecommit.listAssociatedApprovalRuleTemplatesForRepository(r -> r.repositoryName("absent")),
                () -> codecommit.associateApprovalRuleTemplateWithRepository(r -> r.repositoryName("absent").approvalRuleTemplateName("there"))));
        aws.codecommit.createApprovalRuleTemplate("there", 1);
        Function<String, Runnable> create = content -> () -> codecommit.createApprovalRuleTemplate(r -> r.approvalRuleTemplateName("new").approvalRuleTemplateContent(content));
        var right = aws.codecommit.approvalRuleTemplate("eu-west-1", "there").get("approvalRuleTemplateContent").asText();
        refusals.put("ApprovalRuleTemplateNameRequiredException", List.of(() -> codecommit.getApprovalRuleTemplate(r -> { }), () -> codecommit.associateApprovalRuleTemplateWithRepository(r -> r.repositoryName("present"))));
        refusals.put("InvalidApprovalRuleTemplateNameException", List.of(() -> codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("")), () -> codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("a/b")),
                () -> codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("n".repeat(101))), () -> codecommit.createApprovalRuleTemplate(r -> r.approvalRuleTemplateName("a.git").approvalRuleTemplateContent(right))));
        refusals.put("ApprovalRuleTemplateDoesNotExistException", List.of(() -> codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName("absent")),
                () -> codecommit.associateApprovalRuleTemplateWithRepository(r -> r.repositoryName("present").approvalRuleTemplateName("absent"))));
        refusals.put("ApprovalRuleTemplateNameAlreadyExistsException", List.of(() -> codecommit.createApprovalRuleTemplate(r -> r.approvalRuleTemplateName("there").approvalRuleTemplateContent(right))));
        refusals.put("ApprovalRuleTemplateContentRequiredException", List.of(create.apply(null)));
        refusals.put("InvalidApprovalRuleTemplateDescriptionException", List.of(
                () -> codecommit.createApprovalRuleTemplate(r -> r.approvalRuleTemplateName("new").approvalRuleTemplateContent(right).approvalRuleTemplateDescription("d".repeat(1001)))));
        refusals.put("InvalidApprovalRuleTemplateContentException", List.of(create.apply(""), create.apply("{"), create.apply("[]"), create.apply(right.replace("2018-11-08", "2012-10-17")),
                create.apply(right.replace("}]", ",\"PoolMembers\":[]}]")), create.apply(right.replace("Needed\":1", "Needed\":0")), create.apply(right.replace("}]}", "}],\"DestinationReferences\":[\"main\"]}")),
                create.apply(right.replace("}]}", "}],\"DestinationReferences\":[\"refs/heads/*\"]}")), create.apply(right + " ".repeat(3000))));
        refusals.put("InvalidMaxResultsException", List.of(() -> codecommit.listAssociatedApprovalRuleTemplatesForRepository(r -> r.repositoryName("present").maxResults(0))));
        refusals.put("InvalidContinuationTokenException", List.of(() -> codecommit.listAssociatedApprovalRuleTemplatesForRepository(r -> r.repositoryName("present").nextToken("x"))));
        return refusals.entrySet().stream().map(refusal -> {
            var codes = refusal.getValue().stream().map(CodeCommitTest::error).toList();
            return DynamicTest.dynamicTest(refusal.getKey(), () -> codes.forEach(code -> assertEquals(refusal.getKey(), code)));
        }).toList();
    }

    @Test
    void isTheSameOnDiskAsInMemory() {
        var repo = aws.codecommit.createRepository("both").commit("refs/heads/trunk", "d/a", "1").annotatedTag("v1", "refs/heads/trunk");
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
        var one = aws.codecommit.createRepository("one").commit("refs/heads/main", "d/a", "1").commit("refs/heads/main", "d/b", "2").annotatedTag("v1", "refs/heads/main").ref("refs/heads/x", "refs/heads/main~1");
        var two = aws.codecommit.createRepository("two").commit("refs/heads/main", "d/a", "1").commit("refs/heads/main", "d/b", "2").annotatedTag("v1", "refs/heads/main");
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
            assertEquals(key.arn, codecommit.createRepository(r -> r.repositoryName("secret").kmsKeyId(form)).repositoryMetadata().kmsKeyId());
        }
        assertNull(codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().kmsKeyId());
        var managed = aws.kms.find("alias/aws/codecommit", "eu-west-1").arn;
        aws.codecommit.showManagedKey = true;
        assertEquals(managed, codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().kmsKeyId());
        var changed = codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("present").kmsKeyId(alias));
        assertEquals(List.of(aws.codecommit.repository("present").id, key.arn, managed), List.of(changed.repositoryId(), changed.kmsKeyId(), changed.originalKmsKeyId()));
        assertEquals(key.arn, codecommit.getRepository(r -> r.repositoryName("present")).repositoryMetadata().kmsKeyId());
        assertEquals(key.arn, codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("present").kmsKeyId("alias/aws/codecommit")).originalKmsKeyId());
        assertNull(aws.codecommit.repository("present").key());
    }

    @Test
    void refusesKeysThatCannotEncryptRepositories() {
        var key = aws.kms.createKey("eu-west-1");
        var elsewhere = aws.kms.createKey("eu-west-2");
        Function<String, String> create = id -> error(() -> codecommit.createRepository(r -> r.repositoryName("a").kmsKeyId(id)));
        assertEquals("EncryptionKeyNotFoundException", create.apply("12345678-1234-1234-1234-123456789012"));
        assertEquals("EncryptionKeyNotFoundException", create.apply("alias/absent"));
        assertEquals("EncryptionKeyNotFoundException", create.apply(elsewhere.keyId));
        assertEquals("EncryptionKeyNotFoundException", create.apply(elsewhere.arn));
        assertEquals("EncryptionKeyInvalidIdException", create.apply("arn:aws:iam::111122223333:role/x"));
        assertEquals("EncryptionKeyInvalidIdException", create.apply(key.arn.replace("arn:aws:", "arn:aws-cn:")));
        assertEquals("EncryptionKeyAccessDeniedException", create.apply(key.arn.replace("111122223333", "444455556666")));
        key.keySpec = "RSA_2048";
        assertEquals("EncryptionKeyInvalidUsageException", create.apply(key.arn));
        key.keySpec = "SYMMETRIC_DEFAULT";
        key.usage = "GENERATE_VERIFY_MAC";
        assertEquals("EncryptionKeyInvalidUsageException", error(() -> codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("present").kmsKeyId(key.arn))));
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
        aws.codecommit.createRepository("secret").key(key.arn);
        key.state = "Disabled";
        for (Runnable call : List.<Runnable>of(() -> codecommit.getRepository(r -> r.repositoryName("secret")), () -> codecommit.listPullRequests(r -> r.repositoryName("secret")),
                () -> codecommit.updateRepositoryDescription(r -> r.repositoryName("secret").repositoryDescription("x")),
                () -> codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("secret").kmsKeyId("alias/aws/codecommit"))))
            assertEquals("EncryptionKeyDisabledException", error(call));
        var batch = codecommit.batchGetRepositories(r -> r.repositoryNames("secret", "present"));
        assertEquals(List.of("present"), batch.repositories().stream().map(r -> r.repositoryName()).toList());
        assertEquals("EncryptionKeyDisabledException", batch.errors().get(0).errorCodeAsString());
        assertEquals("secret", batch.errors().get(0).repositoryName());
        assertEquals(2, codecommit.listRepositories().repositories().size(), "it is listed");
        key.state = "Enabled";
        assertEquals(key.arn, codecommit.getRepository(r -> r.repositoryName("secret")).repositoryMetadata().kmsKeyId());
    }

    @TestFactory
    List<DynamicTest> refusesWhatAwsRefuses() {
        var arn = "arn:aws:codecommit:eu-west-1:111122223333:";
        var refusals = new TreeMap<String, List<Runnable>>();
        refusals.put("RepositoryNameRequiredException", List.of(
                () -> codecommit.createRepository(r -> { }), () -> codecommit.getRepository(r -> { }), () -> codecommit.deleteRepository(r -> { }),
                () -> codecommit.updateRepositoryDescription(r -> r.repositoryDescription("x")), () -> codecommit.listPullRequests(r -> { })));
        refusals.put("InvalidRepositoryNameException", List.of(
                () -> codecommit.createRepository(r -> r.repositoryName("")), () -> codecommit.createRepository(r -> r.repositoryName("a b")),
                () -> codecommit.createRepository(r -> r.repositoryName("ümlaut")), () -> codecommit.createRepository(r -> r.repositoryName("a/b")),
                () -> codecommit.createRepository(r -> r.repositoryName("a".repeat(101))), () -> codecommit.createRepository(r -> r.repositoryName("a.git")),
                () -> codecommit.getRepository(r -> r.repositoryName("a*")), () -> codecommit.batchGetRepositories(r -> r.repositoryNames("present", "a b")),
                () -> codecommit.deleteRepository(r -> r.repositoryName("a.git"))));
        refusals.put("RepositoryNameExistsException", List.of(() -> codecommit.createRepository(r -> r.repositoryName("present"))));
        refusals.put("RepositoryDoesNotExistException", List.of(
                () -> codecommit.getRepository(r -> r.repositoryName("Present")), () -> codecommit.listTagsForResource(r -> r.resourceArn(arn + "absent")),
                () -> codecommit.updateRepositoryDescription(r -> r.repositoryName("absent")), () -> codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("absent").kmsKeyId("x")),
                () -> codecommit.listPullRequests(r -> r.repositoryName("absent"))));
        refusals.put("InvalidRepositoryDescriptionException", List.of(
                () -> codecommit.createRepository(r -> r.repositoryName("a").repositoryDescription("d".repeat(1001))),
                () -> codecommit.updateRepositoryDescription(r -> r.repositoryName("present").repositoryDescription("d".repeat(1001)))));
        refusals.put("EncryptionKeyRequiredException", List.of(() -> codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("present"))));
        refusals.put("EncryptionKeyInvalidIdException", List.of(
                () -> codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName("present").kmsKeyId("a b")),
                () -> codecommit.createRepository(r -> r.repositoryName("a").kmsKeyId("alias/a.b"))));
        refusals.put("ResourceArnRequiredException", List.of(() -> codecommit.listTagsForResource(r -> { }), () -> codecommit.tagResource(r -> r.tags(Map.of("a", "b")))));
        refusals.put("InvalidResourceArnException", List.of(
                () -> codecommit.listTagsForResource(r -> r.resourceArn("present")), () -> codecommit.listTagsForResource(r -> r.resourceArn(arn)),
                () -> codecommit.listTagsForResource(r -> r.resourceArn(arn.replace("1111", "2222") + "present"))));
        refusals.put("TagsMapRequiredException", List.of(() -> codecommit.tagResource(r -> r.resourceArn(arn + "present"))));
        refusals.put("InvalidTagsMapException", List.of(
                () -> codecommit.tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("Compliance", "SOC2,GDPR"))), () -> codecommit.tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("a;b", "c"))),
                () -> codecommit.tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("k".repeat(129), "c"))), () -> codecommit.tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("k", "v".repeat(257)))),
                () -> codecommit.createRepository(r -> r.repositoryName("a").tags(Map.of("", "c"))), () -> codecommit.createRepository(r -> r.repositoryName("a").tags(Map.of("a", "c\n")))));
        refusals.put("InvalidSystemTagUsageException", List.of(
                () -> codecommit.createRepository(r -> r.repositoryName("a").tags(Map.of("aws:x", "c"))), () -> codecommit.tagResource(r -> r.resourceArn(arn + "present").tags(Map.of("AWS:x", "c"))),
                () -> codecommit.untagResource(r -> r.resourceArn(arn + "present").tagKeys("aws:x"))));
        refusals.put("TooManyTagsException", List.of(
                () -> codecommit.createRepository(r -> r.repositoryName("a").tags(IntStream.range(0, 51).boxed().collect(Collectors.toMap(i -> "k" + i, i -> ""))))));
        refusals.put("TagKeysListRequiredException", List.of(() -> codecommit.untagResource(r -> r.resourceArn(arn + "present"))));
        refusals.put("InvalidTagKeysListException", List.of(() -> codecommit.untagResource(r -> r.resourceArn(arn + "present").tagKeys(""))));
        refusals.put("BranchNameRequiredException", List.of(() -> codecommit.updateDefaultBranch(r -> r.repositoryName("present"))));
        refusals.put("InvalidBranchNameException", List.of(
                () -> codecommit.updateDefaultBranch(r -> r.repositoryName("present").defaultBranchName("b".repeat(257))), () -> codecommit.updateDefaultBranch(r -> r.repositoryName("present").defaultBranchName("a..b"))));
        refusals.put("BranchDoesNotExistException", List.of(() -> codecommit.updateDefaultBranch(r -> r.repositoryName("present").defaultBranchName("absent"))));
        refusals.put("InvalidSortByException", List.of(() -> codecommit.listRepositories(r -> r.sortBy("size"))));
        refusals.put("InvalidOrderException", List.of(() -> codecommit.listRepositories(r -> r.order("up"))));
        refusals.put("InvalidPullRequestStatusException", List.of(() -> codecommit.listPullRequests(r -> r.repositoryName("present").pullRequestStatus("open"))));
        refusals.put("InvalidMaxResultsException", List.of(() -> codecommit.listPullRequests(r -> r.repositoryName("present").maxResults(0))));
        refusals.put("InvalidAuthorArnException", List.of(() -> codecommit.listPullRequests(r -> r.repositoryName("present").authorArn("Ada"))));
        refusals.put("PullRequestIdRequiredException", List.of(() -> codecommit.getPullRequest(r -> { })));
        refusals.put("InvalidPullRequestIdException", List.of(() -> codecommit.getPullRequest(r -> r.pullRequestId("x"))));
        refusals.put("PullRequestDoesNotExistException", List.of(() -> codecommit.getPullRequest(r -> r.pullRequestId("1"))));
        // the calls run now: JUnit runs dynamic tests after this method, but each of them would see another repository state
        return refusals.entrySet().stream().map(refusal -> {
            var codes = refusal.getValue().stream().map(CodeCommitTest::error).toList();
            return DynamicTest.dynamicTest(refusal.getKey(), () -> codes.forEach(code -> assertEquals(refusal.getKey(), code)));
        }).toList();
    }

    @Test
    void refusedRequestsChangeNothing() {
        error(() -> codecommit.createRepository(r -> r.repositoryName("a").tags(Map.of("a", "b,c"))));
        error(() -> codecommit.tagResource(r -> r.resourceArn(aws.codecommit.repository("present").arn).tags(Map.of("a", "b", "aws:c", "d"))));
        assertNull(aws.codecommit.repository("a"));
        assertEquals(Map.of(), aws.codecommit.repository("present").tags());
    }

    static String error(Runnable call) {
        var error = assertThrows(AwsServiceException.class, call::run);
        assertFalse(error.awsErrorDetails().errorMessage().isBlank());
        return error.awsErrorDetails().errorCode();
    }
}
