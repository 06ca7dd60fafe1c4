import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Authorizer;
import localaws.CodeCommit;
import localaws.IndependentEvaluator;
import localaws.LocalAws;
import localaws.Roles;
import localaws.S3;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.MergeOptionTypeEnum;
import software.amazon.awssdk.services.codecommit.model.OverrideStatus;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.Tag;
import software.amazon.awssdk.services.s3.S3Client;

/**
 * What the toolkit's policies let through when they are tried: the branch deny, the key policy and both endpoint
 * policies, as the scripts put them there, under real calls and real pushes by real roles, beside a backup bucket in
 * another account. Each table says what is expected. The last test asks an independent evaluator about every decision
 * that these calls led to.
 */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class AuthorisedCallsTest {
    static final String HOME = "arn:aws:iam::111122223333:role/";
    static final String THERE = "arn:aws:iam::444455556666:role/";
    static final ObjectMapper JSON = new ObjectMapper();
    static final LocalAws aws = LocalAws.start();

    /** What was decided, each different question once, as iam-simulate wants it. */
    static final Map<String, ObjectNode> SIMULATIONS = Collections.synchronizedMap(new LinkedHashMap<>());
    static final Map<String, String> DECISIONS = Collections.synchronizedMap(new LinkedHashMap<>());

    static JsonNode keyPolicy;
    static String keyArn;

    @BeforeAll
    static void prepare() {
        Script.use(aws);
        Roles.create(aws);
        aws.iam.createRole("KeyAdministrator");
        aws.iam.createRole("Nobody");
        var key = script(new CreateKmsKey().commandLine(), "--alias", "alias/payments", "--users", HOME + "Developer",
                "--administrators", HOME + "KeyAdministrator");
        keyArn = key.at("/key/keyArn").asText();
        keyPolicy = read(aws.kms.find(keyArn, "eu-west-1").policy);
        script(new ApplyBranchDeny().commandLine(), "--branches", "main", "release/*", "--all-repositories",
                "--role-names", "Developer");
        aws.onDecision(AuthorisedCallsTest::note);
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    static JsonNode script(picocli.CommandLine command, String... arguments) {
        var run = Script.run(command, arguments);
        assertEquals(0, run.exitCode(), run.err());
        return run.json();
    }

    static JsonNode read(String json) {
        try {
            return JSON.readTree(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    // Who calls, and what comes of it

    static final Map<String, LocalAws.Login> LOGINS = new LinkedHashMap<>();

    static LocalAws.Login login(String arn) {
        return LOGINS.computeIfAbsent(arn, aws::as);
    }

    static <B extends AwsClientBuilder<B, C>, C> C client(B builder, String arn, URI endpoint) {
        return builder.endpointOverride(endpoint).region(Region.EU_WEST_1)
                .credentialsProvider(StaticCredentialsProvider.create(SignedIn.credentials(login(arn)))).build();
    }

    interface Step {
        void run() throws Exception;
    }

    /** yes, no, or the HTTP status of another answer. */
    static String outcome(Step step) {
        try {
            step.run();
            return "yes";
        } catch (AwsServiceException e) {
            var denied = e.awsErrorDetails() != null
                    && "AccessDeniedException".equals(e.awsErrorDetails().errorCode());
            return e.statusCode() == 403 || denied ? "no"
                    : String.valueOf(e.statusCode());
        } catch (Refused e) {
            return "no";
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    /** Git's answer to HTTP status 403. */
    static final class Refused extends RuntimeException { }

    /** A table of words: the row's name, and what comes of it in each column. */
    static void assertTable(String expected, Function<String, List<String>> columns) {
        var rows = expected.strip().lines().map(String::strip).filter(row -> !row.startsWith("#")).toList();
        var actual = rows.stream().map(row -> row.split(" +")[0])
                .map(name -> name + " " + String.join(" ", columns.apply(name))).collect(Collectors.joining("\n"));
        assertEquals(rows.stream().map(row -> row.replaceAll(" +", " ")).collect(Collectors.joining("\n")), actual);
    }

    // Branches

    static int repositories;

    /** A repository under the key, with a branch, one more commit on another, and a pull request between them. */
    static final class Stage {
        final CodeCommit.Repo repo;
        final String branch;
        String pullRequest;

        Stage(String name, String branch, boolean withBranch) {
            aws.codecommit.deleteRepository("eu-west-1", name);
            this.branch = branch;
            repo = aws.codecommit.createRepository(name).key(keyArn).commit("refs/heads/trunk", "README", "x\n");
            if (!withBranch) return;
            repo.ref("refs/heads/" + branch, "refs/heads/trunk").commit("refs/heads/" + branch, "file", "1\n")
                    .ref("refs/heads/source", "refs/heads/" + branch).commit("refs/heads/source", "more", "2\n");
            pullRequest = repo.pullRequest("More", "source", branch);
            repo.approvalRule(pullRequest, "Two", 0);
        }

        String tip(String ref) {
            var tip = repo.resolve("refs/heads/" + ref);
            return tip == null ? "none" : tip.name();
        }

        String everything() {
            return tip(branch) + " " + repo.name + " " + repo.defaultBranch() + " " + repo.key() + " "
                    + repo.approvalRuleTemplates() + " " + aws.codecommit.repository(repo.name);
        }

        String revision(CodeCommitClient administrator) {
            return administrator.getPullRequest(r -> r.pullRequestId(pullRequest)).pullRequest().revisionId();
        }
    }

    /** One write to a branch by whatever call; what it does is seen, and what is refused changes nothing. */
    static String write(String action, String who, String name, String branch, URI api, URI git) {
        var stage = new Stage(name, branch, !action.equals("CreateBranch"));
        var before = stage.tip(branch);
        var codecommit = client(CodeCommitClient.builder(), who, api);
        var outcome = outcome(() -> write(action, codecommit, stage, who, git));
        var changes = outcome.equals("yes") && !action.equals("CreateUnreferencedMergeCommit");
        if (changes) assertNotEquals(before, stage.tip(branch), action);
        else assertEquals(before, stage.tip(branch), action);
        return outcome;
    }

    static String write(String action, String who, String branch) {
        return write(action, who, "repository" + ++repositories, branch, aws.endpoint(), aws.endpoint());
    }

    static void write(String action, CodeCommitClient codecommit, Stage stage, String who, URI git) throws Exception {
        var name = stage.repo.name;
        var branch = stage.branch;
        var text = SdkBytes.fromUtf8String("new\n");
        switch (action) {
            case "CreateBranch" ->
                codecommit.createBranch(r -> r.repositoryName(name).branchName(branch).commitId(stage.tip("trunk")));
            case "CreateCommit" -> codecommit.createCommit(r -> r.repositoryName(name).branchName(branch)
                    .parentCommitId(stage.tip(branch)).putFiles(f -> f.filePath("new").fileContent(text)));
            case "CreateUnreferencedMergeCommit" -> codecommit.createUnreferencedMergeCommit(r -> r.repositoryName(name)
                    .sourceCommitSpecifier("source").destinationCommitSpecifier(branch)
                    .mergeOption(MergeOptionTypeEnum.THREE_WAY_MERGE));
            case "DeleteBranch" -> codecommit.deleteBranch(r -> r.repositoryName(name).branchName(branch));
            case "DeleteFile" -> codecommit.deleteFile(r -> r.repositoryName(name).branchName(branch).filePath("file")
                    .parentCommitId(stage.tip(branch)));
            case "PutFile" -> codecommit.putFile(r -> r.repositoryName(name).branchName(branch).filePath("file")
                    .fileContent(text).parentCommitId(stage.tip(branch)));
            case "GitPush" -> git(who, git, stage, "push", "refs/heads/source:refs/heads/" + branch);
            case "MergeBranchesByFastForward" -> codecommit.mergeBranchesByFastForward(r -> r.repositoryName(name)
                    .sourceCommitSpecifier("source").destinationCommitSpecifier(branch).targetBranch(branch));
            case "MergeBranchesBySquash" -> codecommit.mergeBranchesBySquash(r -> r.repositoryName(name)
                    .sourceCommitSpecifier("source").destinationCommitSpecifier(branch));
            case "MergeBranchesByThreeWay" -> codecommit.mergeBranchesByThreeWay(r -> r.repositoryName(name)
                    .sourceCommitSpecifier("source").destinationCommitSpecifier(branch).targetBranch(branch));
            case "MergePullRequestByFastForward" -> codecommit.mergePullRequestByFastForward(
                    r -> r.repositoryName(name).pullRequestId(stage.pullRequest));
            case "MergePullRequestBySquash" -> codecommit.mergePullRequestBySquash(
                    r -> r.repositoryName(name).pullRequestId(stage.pullRequest));
            case "MergePullRequestByThreeWay" -> codecommit.mergePullRequestByThreeWay(
                    r -> r.repositoryName(name).pullRequestId(stage.pullRequest));
            default -> throw new IllegalArgumentException(action);
        }
    }

    /** Runs git against the repository, signed in as a role; refused when that was HTTP status 403. */
    static String git(String who, URI endpoint, Stage stage, String command, String... references) throws Exception {
        var arguments = new ArrayList<>(List.of("git", "--git-dir", stage.repo.directory().toString(), "-c",
                "http.extraHeader=Authorization: " + aws.gitAuthorization(login(who), stage.repo.name), command,
                endpoint + "/v1/repos/" + stage.repo.name));
        arguments.addAll(List.of(references));
        var builder = new ProcessBuilder(arguments).redirectErrorStream(true);
        builder.environment().keySet().removeIf(n -> n.startsWith("GIT_") || n.toLowerCase().endsWith("_proxy"));
        builder.environment().putAll(Map.of("GIT_CONFIG_GLOBAL", "/dev/null", "GIT_CONFIG_NOSYSTEM", "1",
                "GIT_TERMINAL_PROMPT", "0"));
        var process = builder.start();
        var out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() == 0) return out;
        assertTrue(out.contains("403"), out);
        throw new Refused();
    }

    static final String WRITES = """
            # Developer at main, release/1, feature | Auditor at feature | Administrator at main
            CreateBranch                   no  no  yes  no  yes
            CreateCommit                   no  no  yes  no  yes
            CreateUnreferencedMergeCommit  no  no  yes  no  yes
            DeleteBranch                   no  no  yes  no  yes
            DeleteFile                     no  no  yes  no  yes
            GitPush                        no  no  yes  no  yes
            MergeBranchesByFastForward     no  no  yes  no  yes
            MergeBranchesBySquash          no  no  yes  no  yes
            MergeBranchesByThreeWay        no  no  yes  no  yes
            MergePullRequestByFastForward  no  no  yes  no  yes
            MergePullRequestBySquash       no  no  yes  no  yes
            MergePullRequestByThreeWay     no  no  yes  no  yes
            PutFile                        no  no  yes  no  yes
            """;

    @Test
    void theBranchDenyHoldsForEveryWriteToAProtectedBranchAndForNoOther() {
        assertTable(WRITES, action -> List.of(write(action, HOME + "Developer", "main"),
                write(action, HOME + "Developer", "release/1"), write(action, HOME + "Developer", "feature"),
                write(action, HOME + "Auditor", "feature"), write(action, HOME + "Administrator", "main")));
    }

    @Test
    void aPushOfSeveralRefsIsRefusedForOneOfThem() throws Exception {
        var stage = new Stage("several", "main", true);
        assertEquals("no", outcome(() -> git(HOME + "Developer", aws.endpoint(), stage, "push",
                "refs/heads/source:refs/heads/feature", "refs/heads/source:refs/heads/main")));
        assertEquals("none", stage.tip("feature"), "nothing of it is received");
        assertEquals("yes", outcome(() -> git(HOME + "Developer", aws.endpoint(), stage, "push",
                "refs/heads/source:refs/heads/feature", "refs/heads/source:refs/heads/other")));
        assertEquals("no", outcome(() -> git(HOME + "Developer", aws.endpoint(), stage, "push", ":refs/heads/main")),
                "to delete a branch is a push too");
        assertEquals("yes", outcome(() -> git(HOME + "Developer", aws.endpoint(), stage, "push", ":refs/heads/other")));
    }

    /** - is for what the branch deny may deny or leave. */
    static final String ADMINISTRATION = """
            # Developer | Auditor | Administrator
            DeleteRepository                                       no   no  yes
            OverridePullRequestApprovalRules                       no   no  yes
            UpdateDefaultBranch                                    no   no  yes
            UpdateRepositoryName                                   no   no  yes
            UpdateRepositoryEncryptionKey                          no   no  yes
            DeletePullRequestApprovalRule                          no   no  yes
            UpdatePullRequestApprovalRuleContent                   no   no  yes
            DisassociateApprovalRuleTemplateFromRepository         no   no  yes
            BatchDisassociateApprovalRuleTemplateFromRepositories  no   no  yes
            UpdateApprovalRuleTemplateContent                      no   no  yes
            UpdateApprovalRuleTemplateDescription                  no   no  yes
            UpdateApprovalRuleTemplateName                         no   no  yes
            DeleteApprovalRuleTemplate                             no   no  yes
            # what makes rules stricter is nobody's harm
            CreatePullRequestApprovalRule                          yes  no  yes
            UpdatePullRequestApprovalState                         yes  no  yes
            """;

    @Test
    void theBranchDenyHoldsForWhatWouldTakeItAwayOrGoAroundIt() {
        aws.codecommit.createApprovalRuleTemplate("two", 2);
        assertTable(ADMINISTRATION, action -> Stream.of("Developer", "Auditor", "Administrator")
                .map(role -> administer(action, HOME + role)).toList());
    }

    static final String ONE_APPROVAL = "{\"Version\":\"2018-11-08\",\"Statements\":[{\"Type\":\"Approvers\","
            + "\"NumberOfApprovalsNeeded\":1}]}";

    static String administer(String action, String who) {
        var stage = new Stage("repository" + ++repositories, "feature", true);
        stage.repo.approvalRuleTemplate("two");
        var spare = "spare" + repositories;
        aws.codecommit.createApprovalRuleTemplate(spare, 1);
        var name = stage.repo.name;
        var codecommit = client(CodeCommitClient.builder(), who, aws.endpoint());
        var revision = stage.revision(client(CodeCommitClient.builder(), HOME + "Administrator", aws.endpoint()));
        var before = stage.everything();
        var outcome = outcome(() -> {
            switch (action) {
                case "DeleteRepository" -> codecommit.deleteRepository(r -> r.repositoryName(name));
                case "OverridePullRequestApprovalRules" -> codecommit.overridePullRequestApprovalRules(r -> r
                        .pullRequestId(stage.pullRequest).revisionId(revision).overrideStatus(OverrideStatus.OVERRIDE));
                case "UpdateDefaultBranch" ->
                    codecommit.updateDefaultBranch(r -> r.repositoryName(name).defaultBranchName("feature"));
                case "UpdateRepositoryName" ->
                    codecommit.updateRepositoryName(r -> r.oldName(name).newName(name + "-renamed"));
                case "UpdateRepositoryEncryptionKey" -> codecommit.updateRepositoryEncryptionKey(
                        r -> r.repositoryName(name).kmsKeyId(aws.kms.createKey("eu-west-1").arn));
                case "DeletePullRequestApprovalRule" -> codecommit.deletePullRequestApprovalRule(
                        r -> r.pullRequestId(stage.pullRequest).approvalRuleName("Two"));
                case "DisassociateApprovalRuleTemplateFromRepository" ->
                    codecommit.disassociateApprovalRuleTemplateFromRepository(
                            r -> r.repositoryName(name).approvalRuleTemplateName("two"));
                case "BatchDisassociateApprovalRuleTemplateFromRepositories" ->
                    codecommit.batchDisassociateApprovalRuleTemplateFromRepositories(
                            r -> r.repositoryNames(name).approvalRuleTemplateName("two"));
                case "UpdateApprovalRuleTemplateContent" -> codecommit.updateApprovalRuleTemplateContent(
                        r -> r.approvalRuleTemplateName("two").newRuleContent(ONE_APPROVAL));
                case "UpdateApprovalRuleTemplateDescription" -> codecommit.updateApprovalRuleTemplateDescription(
                        r -> r.approvalRuleTemplateName(spare).approvalRuleTemplateDescription("none"));
                case "UpdateApprovalRuleTemplateName" -> codecommit.updateApprovalRuleTemplateName(
                        r -> r.oldApprovalRuleTemplateName(spare).newApprovalRuleTemplateName(spare + "-renamed"));
                case "DeleteApprovalRuleTemplate" ->
                    codecommit.deleteApprovalRuleTemplate(r -> r.approvalRuleTemplateName(spare));
                case "CreatePullRequestApprovalRule" -> codecommit.createPullRequestApprovalRule(r -> r
                        .pullRequestId(stage.pullRequest).approvalRuleName("one").approvalRuleContent(ONE_APPROVAL));
                case "UpdatePullRequestApprovalRuleContent" -> codecommit.updatePullRequestApprovalRuleContent(
                        r -> r.pullRequestId(stage.pullRequest).approvalRuleName("Two").newRuleContent(ONE_APPROVAL));
                case "UpdatePullRequestApprovalState" -> codecommit.updatePullRequestApprovalState(r -> r
                        .pullRequestId(stage.pullRequest).revisionId(revision).approvalState("APPROVE"));
                default -> throw new IllegalArgumentException(action);
            }
        });
        var showsElsewhere = action.matches(".*PullRequest.*|(Update|Delete)Approval.*");
        if (outcome.equals("yes") && !showsElsewhere) assertNotEquals(before, stage.everything(), action);
        if (outcome.equals("no")) assertEquals(before, stage.everything(), action);
        return outcome;
    }

    // The key

    static final String KEY_CALLS = """
            # Developer | KeyAdministrator | Administrator | Nobody | another account's administrator
            CreateAlias           no   no   yes  no  no
            DescribeKey           yes  yes  yes  no  no
            DisableKeyRotation    no   yes  yes  no  no
            EnableKeyRotation     no   yes  yes  no  no
            Encrypt               yes  no   yes  no  no
            GetKeyPolicy          no   yes  yes  no  no
            GetKeyRotationStatus  no   yes  yes  no  no
            ListGrants            no   yes  yes  no  no
            ListResourceTags      no   yes  yes  no  no
            PutKeyPolicy          no   yes  yes  no  no
            ScheduleKeyDeletion   no   yes  yes  no  no
            TagResource           no   yes  yes  no  no
            UpdateKeyDescription  no   yes  yes  no  no
            """;
    /** Without the statement that trusts the account, identity policies are not heard: only whom the key names. */
    static final String KEY_CALLS_WITHOUT_ACCOUNT = KEY_CALLS
            .replaceAll("(?m)^(\\w+ +(?:yes|no) +(?:yes|no)) +yes ", "$1 no ");

    static String useKey(String action, String who, JsonNode policy) {
        var key = aws.kms.createKey("eu-west-1");
        key.policy = policy.toString();
        var kms = client(KmsClient.builder(), who, aws.endpoint());
        var tag = Tag.builder().tagKey("Team").tagValue("Payments").build();
        return outcome(() -> {
            switch (action) {
                case "CreateAlias" -> kms.createAlias(r -> r.aliasName("alias/a" + key.keyId).targetKeyId(key.arn));
                case "DescribeKey" -> kms.describeKey(r -> r.keyId(key.arn));
                case "DisableKeyRotation" -> kms.disableKeyRotation(r -> r.keyId(key.arn));
                case "EnableKeyRotation" -> kms.enableKeyRotation(r -> r.keyId(key.arn));
                case "Encrypt" -> kms.encrypt(r -> r.keyId(key.arn).plaintext(SdkBytes.fromUtf8String("x"))
                        .encryptionContext(Map.of("Purpose", "test")));
                case "GetKeyPolicy" -> kms.getKeyPolicy(r -> r.keyId(key.arn).policyName("default"));
                case "GetKeyRotationStatus" -> kms.getKeyRotationStatus(r -> r.keyId(key.arn));
                case "ListGrants" -> kms.listGrants(r -> r.keyId(key.arn));
                case "ListResourceTags" -> kms.listResourceTags(r -> r.keyId(key.arn));
                case "PutKeyPolicy" ->
                    kms.putKeyPolicy(r -> r.keyId(key.arn).policyName("default").policy(policy.toString()));
                case "ScheduleKeyDeletion" -> kms.scheduleKeyDeletion(r -> r.keyId(key.arn).pendingWindowInDays(7));
                case "TagResource" -> kms.tagResource(r -> r.keyId(key.arn).tags(tag));
                case "UpdateKeyDescription" -> kms.updateKeyDescription(r -> r.keyId(key.arn).description("x"));
                default -> throw new IllegalArgumentException(action);
            }
        });
    }

    static List<String> useKey(String action, JsonNode policy) {
        return List.of(useKey(action, HOME + "Developer", policy), useKey(action, HOME + "KeyAdministrator", policy),
                useKey(action, HOME + "Administrator", policy), useKey(action, HOME + "Nobody", policy),
                useKey(action, THERE + "Administrator", policy));
    }

    @Test
    void theKeyIsForItsUsersAndAdministratorsAndForWhomIamAllowsIt() {
        assertTable(KEY_CALLS, action -> useKey(action, keyPolicy));
    }

    @Test
    void theKeyWithoutTheAccountIsForItsUsersAndAdministratorsAlone() {
        var policy = keyPolicy.<ObjectNode>deepCopy();
        var statements = policy.withArray("Statement");
        for (var i = statements.size() - 1; i >= 0; i--)
            if (statements.get(i).path("Sid").asText().equals("AccountAdministration")) statements.remove(i);
        assertEquals(2, statements.size());
        assertTable(KEY_CALLS_WITHOUT_ACCOUNT, action -> useKey(action, policy));
    }

    // The endpoints

    /** The API's and Git's endpoint of a new VPC, as the script makes them. */
    static URI[] endpoints(String... arguments) {
        var vpc = aws.ec2.createVpc("eu-west-1", "10.0.0.0/16");
        aws.ec2.createSubnet(vpc, "eu-west-1a", "10.0.0.0/24");
        var group = aws.ec2.createSecurityGroup(vpc, "endpoints");
        aws.ec2.authorizeIngress(group, "tcp", 443, 443, "10.0.0.0/16");
        var all = new ArrayList<>(List.of("--vpc-id", vpc, "--security-group-ids", group));
        all.addAll(List.of(arguments));
        var made = script(new CreateVpcEndpoint().commandLine(), all.toArray(String[]::new)).get("endpoints");
        var byService = new LinkedHashMap<Boolean, URI>();
        made.forEach(e -> byService.put(e.get("serviceName").asText().contains(".git-codecommit"),
                aws.throughEndpoint(e.get("vpcEndpointId").asText())));
        return new URI[] {byService.get(false), byService.get(true)};
    }

    static final String RESTRICTED = """
            # Developer at payments, orders | Administrator at payments
            CreateBranch                   yes  no   no
            CreateCommit                   yes  no   no
            CreateUnreferencedMergeCommit  yes  no   no
            DeleteBranch                   yes  no   no
            DeleteFile                     yes  no   no
            GitPush                        yes  no   no
            MergeBranchesByFastForward     yes  no   no
            MergeBranchesBySquash          yes  no   no
            MergeBranchesByThreeWay        yes  no   no
            MergePullRequestByFastForward  yes  no   no
            MergePullRequestBySquash       yes  no   no
            MergePullRequestByThreeWay     yes  no   no
            PutFile                        yes  no   no
            """;

    @Test
    void theRestrictedEndpointsAreForTheNamedPrincipalsAndRepositories() throws Exception {
        var through = endpoints("--policy", "restricted", "--principals", HOME + "Developer", "--repository-names",
                "payments");
        assertTable(RESTRICTED, action -> List.of(
                write(action, HOME + "Developer", "payments", "feature", through[0], through[1]),
                write(action, HOME + "Developer", "orders", "feature", through[0], through[1]),
                write(action, HOME + "Administrator", "payments", "feature", through[0], through[1])));
        assertEquals("no", write("PutFile", HOME + "Developer", "payments", "main", through[0], through[1]),
                "the branch deny holds there too");
        reads("Developer yes no yes | Administrator no no no | Auditor no no no", through);
        assertEquals("yes", write("GitPush", HOME + "Administrator", "payments", "feature", aws.endpoint(),
                aws.endpoint()), "not through the endpoint");
    }

    @Test
    void theDefaultEndpointsAreForTheAccountsOwnPrincipals() throws Exception {
        var through = endpoints("--policy", "default");
        reads("Developer yes yes yes | Administrator yes yes yes | Auditor no no yes", through);
        var other = client(CodeCommitClient.builder(), THERE + "Administrator", through[0]);
        assertEquals("no", outcome(() -> other.listRepositories()), "another account's repositories");
        assertEquals("yes", outcome(() -> client(CodeCommitClient.builder(), THERE + "Administrator", aws.endpoint())
                .listRepositories()));
    }

    /** Who may pull payments and orders through Git's endpoint, and list repositories through the API's. */
    static void reads(String expected, URI[] through) {
        assertTable(expected.replace(" | ", "\n"), role -> {
            var who = HOME + role;
            return List.of(
                    outcome(() -> git(who, through[1], new Stage("payments", "feature", true), "ls-remote")),
                    outcome(() -> git(who, through[1], new Stage("orders", "feature", true), "ls-remote")),
                    outcome(() -> client(CodeCommitClient.builder(), who, through[0]).listRepositories()));
        });
    }

    @Test
    void anEndpointReachesItsOwnServiceOnly() {
        var through = endpoints("--policy", "default");
        assertEquals("404", outcome(() -> client(CodeCommitClient.builder(), HOME + "Administrator", through[1])
                .listRepositories()));
        assertEquals("404", outcome(() -> client(KmsClient.builder(), HOME + "Administrator", through[0])
                .listKeys()));
    }

    // The backup account

    static final String BUCKET_CALLS = """
            # BackupWriter | Developer | Auditor | Administrator || BackupReader | Administrator of the backups
            AbortMultipartUpload   yes  no  no  no  no   yes
            CreateMultipartUpload  yes  no  no  no  no   yes
            GetBucketLocation      no   no  no  no  yes  yes
            GetObject              yes  no  no  no  yes  yes
            HeadBucket             yes  no  no  no  yes  yes
            HeadObject             yes  no  no  no  yes  yes
            HeadObject:missing     404  no  no  no  404  404
            ListMultipartUploads   yes  no  no  no  no   yes
            ListObjectsV2          yes  no  no  no  yes  yes
            PutObject              yes  no  no  no  no   yes
            PutObject:kms          yes  no  no  no  no   yes
            GetObject:kms          yes  no  no  no  yes  yes
            """;

    static String useBucket(String call, String who, S3.Bucket bucket, String key) {
        var s3 = client(S3Client.builder(), who, aws.endpoint());
        var owner = client(S3Client.builder(), THERE + "Administrator", aws.endpoint());
        var name = bucket.name;
        return outcome(() -> {
            switch (call) {
                case "AbortMultipartUpload" -> {
                    var id = owner.createMultipartUpload(r -> r.bucket(name).key("p/part")).uploadId();
                    s3.abortMultipartUpload(r -> r.bucket(name).key("p/part").uploadId(id));
                }
                case "CreateMultipartUpload" -> s3.createMultipartUpload(r -> r.bucket(name).key("p/part"));
                case "GetBucketLocation" -> s3.getBucketLocation(r -> r.bucket(name));
                case "GetObject" -> s3.getObjectAsBytes(r -> r.bucket(name).key("p/there"));
                case "GetObject:kms" -> s3.getObjectAsBytes(r -> r.bucket(name).key("p/encrypted"));
                case "HeadBucket" -> s3.headBucket(r -> r.bucket(name));
                case "HeadObject" -> s3.headObject(r -> r.bucket(name).key("p/there"));
                case "HeadObject:missing" -> s3.headObject(r -> r.bucket(name).key("p/gone"));
                case "ListMultipartUploads" -> s3.listMultipartUploads(r -> r.bucket(name).prefix("p/"));
                case "ListObjectsV2" -> s3.listObjectsV2(r -> r.bucket(name).prefix("p/"));
                case "PutObject" -> s3.putObject(r -> r.bucket(name).key("p/new"), RequestBody.fromString("x"));
                case "PutObject:kms" -> s3.putObject(r -> r.bucket(name).key("p/new").serverSideEncryption("aws:kms")
                        .ssekmsKeyId(key).bucketKeyEnabled(true), RequestBody.fromString("x"));
                default -> throw new IllegalArgumentException(call);
            }
        });
    }

    @Test
    void theBackupBucketIsForWhomBothAccountsAllowIt() {
        var bucket = Roles.createBackupBucket(aws, "authorised-backups", "eu-west-1");
        bucket.put("p/there", "x".getBytes(StandardCharsets.UTF_8));
        var key = aws.account("444455556666").kms.createKey("eu-west-1");
        // as the account's own statement and one for the writer, which the other account's policies must allow too
        key.policy = """
                {"Version": "2012-10-17", "Statement": [
                  {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "kms:*", "Resource": "*"},
                  {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Resource": "*",
                   "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                   "Condition": {"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/BackupWriter"},
                                 "StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com",
                                                  "kms:EncryptionContext:aws:s3:arn": "%s"}}}]}"""
                .formatted(bucket.arn());
        client(S3Client.builder(), THERE + "Administrator", aws.endpoint()).putObject(r -> r.bucket(bucket.name)
                .key("p/encrypted").serverSideEncryption("aws:kms").ssekmsKeyId(key.arn).bucketKeyEnabled(true),
                RequestBody.fromString("x"));
        assertTable(BUCKET_CALLS, call -> Arrays.asList(
                useBucket(call, HOME + "BackupWriter", bucket, key.arn),
                useBucket(call, HOME + "Developer", bucket, key.arn),
                useBucket(call, HOME + "Auditor", bucket, key.arn),
                useBucket(call, HOME + "Administrator", bucket, key.arn),
                useBucket(call, THERE + "BackupReader", bucket, key.arn),
                useBucket(call, THERE + "Administrator", bucket, key.arn)));
    }

    // The independent evaluator

    /**
     * Keeps what was decided, but for the time. The other evaluator does not know condition keys with the names of an
     * encryption context: what depends on one is left out, else the key is.
     */
    static void note(Authorizer.Decided decided) {
        var request = decided.request();
        var simulation = JSON.createObjectNode();
        var asked = simulation.putObject("request").put("principal", request.principal())
                .put("action", request.action());
        asked.putObject("resource").put("resource", request.resource()).put("accountId", decided.owner());
        var context = asked.putObject("contextVariables");
        request.context().forEach((key, values) -> {
            if (key.matches("aws:(CurrentTime|EpochTime)|kms:EncryptionContext:.*")) return;
            if (values.size() == 1) context.put(key, values.get(0));
            else values.forEach(context.withArray(key)::add);
        });
        var policies = decided.policies();
        for (var list : List.of("identityPolicies", "serviceControlPolicies", "resourceControlPolicies"))
            simulation.putArray(list);
        policies.identity().forEach(p -> simulation.withArray("identityPolicies").addObject().put("name", p.id())
                .set("policy", p.document()));
        if (policies.resource() != null && !policies.resource().document().path("Statement").isEmpty())
            simulation.set("resourcePolicy", policies.resource().document());
        if (policies.endpoint() != null) simulation.putArray("vpcEndpointPolicies").addObject()
                .put("name", "endpoint").set("policy", read(policies.endpoint().document().toString()
                        .replace("{\"AWS\":\"*\"}", "\"*\""))); // as it was before EC2 rewrote it
        var question = simulation.toString();
        if (question.contains("kms:EncryptionContext:")) return;
        SIMULATIONS.put(question, simulation);
        DECISIONS.put(question, decided.result().decision().name());
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void anIndependentEvaluatorDecidesTheSame() throws Exception {
        var questions = List.copyOf(SIMULATIONS.keySet());
        assertTrue(questions.size() >= 300, "the other tests come first: " + questions.size());
        var decisions = IndependentEvaluator.decide(questions.stream().map(SIMULATIONS::get).toList());
        var differences = new ArrayList<String>();
        for (var i = 0; i < questions.size(); i++)
            if (!decisions.get(i).equals(DECISIONS.get(questions.get(i))))
                differences.add("here " + DECISIONS.get(questions.get(i)) + ", there " + decisions.get(i) + ": "
                        + questions.get(i));
        assertEquals(List.of(), differences.subList(0, Math.min(3, differences.size())),
                differences.size() + " differ of " + questions.size());
    }
}
