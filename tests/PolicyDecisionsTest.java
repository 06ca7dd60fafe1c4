import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.IndependentEvaluator;
import localaws.LocalAws;
import localaws.PolicyEvaluator;
import localaws.PolicyEvaluator.Decision;
import localaws.PolicyEvaluator.Policy;
import localaws.PolicyEvaluator.Request;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;

/**
 * What the toolkit's policies deny and what still works under them: every policy as its script renders it in a dry run,
 * every CodeCommit or KMS action against it. The last test asks an independent evaluator the same.
 */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class PolicyDecisionsTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final LocalAws aws = LocalAws.start();

    static final JsonNode ALLOW_ALL = JSON.valueToTree(Map.of("Version", "2012-10-17", "Statement",
            List.of(Map.of("Effect", "Allow", "Action", "*", "Resource", "*"))));
    static final String ACCOUNT = "111122223333";
    static final String STRANGERS = "777788889999";
    static final String DEVELOPER = "arn:aws:sts::111122223333:assumed-role/Developer/alice";
    static final String REPOSITORY = "arn:aws:codecommit:eu-west-1:111122223333:payments";

    /** The actions that know which branch they are for; from the Service Authorization Reference, as are the others. */
    static final Set<String> WITH_REFERENCE = words("""
            CreateBranch CreateCommit CreateUnreferencedMergeCommit DeleteBranch DeleteFile GetMergeCommit
            GitPush MergeBranchesByFastForward MergeBranchesBySquash MergeBranchesByThreeWay
            MergePullRequestByFastForward MergePullRequestBySquash MergePullRequestByThreeWay PutFile""");
    static final Set<String> WITHOUT_REPOSITORY = words("""
            CreateApprovalRuleTemplate DeleteApprovalRuleTemplate GetApprovalRuleTemplate
            ListApprovalRuleTemplates ListRepositories ListRepositoriesForApprovalRuleTemplate
            UpdateApprovalRuleTemplateContent UpdateApprovalRuleTemplateDescription
            UpdateApprovalRuleTemplateName""");
    static final Set<String> OTHERS = words("""
            AssociateApprovalRuleTemplateWithRepository BatchAssociateApprovalRuleTemplateWithRepositories
            BatchDescribeMergeConflicts BatchDisassociateApprovalRuleTemplateFromRepositories BatchGetCommits
            BatchGetPullRequests BatchGetRepositories CreatePullRequest CreatePullRequestApprovalRule
            CreateRepository DeleteCommentContent DeletePullRequestApprovalRule DeleteRepository
            DescribeMergeConflicts DescribePullRequestEvents DisassociateApprovalRuleTemplateFromRepository
            EvaluatePullRequestApprovalRules GetBlob GetBranch GetComment GetCommentReactions
            GetCommentsForComparedCommit GetCommentsForPullRequest GetCommit GetDifferences GetFile GetFolder
            GetMergeConflicts GetMergeOptions GetPullRequest GetPullRequestApprovalStates
            GetPullRequestOverrideState GetReferences GetRepository GetRepositoryTriggers GitPull
            ListAssociatedApprovalRuleTemplatesForRepository ListBranches ListFileCommitHistory ListPullRequests
            ListTagsForResource OverridePullRequestApprovalRules PostCommentForComparedCommit
            PostCommentForPullRequest PostCommentReply PutCommentReaction PutRepositoryTriggers TagResource
            TestRepositoryTriggers UntagResource UpdateComment UpdateDefaultBranch
            UpdatePullRequestApprovalRuleContent UpdatePullRequestApprovalState UpdatePullRequestDescription
            UpdatePullRequestStatus UpdatePullRequestTitle UpdateRepositoryDescription
            UpdateRepositoryEncryptionKey UpdateRepositoryName""");
    static final Set<String> KMS = words("""
            CancelKeyDeletion CreateAlias CreateGrant Decrypt DeleteAlias DescribeKey DisableKey
            DisableKeyRotation EnableKey EnableKeyRotation Encrypt GenerateDataKey GenerateDataKeyPair
            GenerateDataKeyWithoutPlaintext GetKeyPolicy GetKeyRotationStatus ListGrants ListKeyPolicies
            ListResourceTags PutKeyPolicy ReEncryptFrom ReEncryptTo RevokeGrant RotateKeyOnDemand
            ScheduleKeyDeletion Sign TagResource UntagResource UpdateKeyDescription""");

    static Set<String> words(String text) {
        return new TreeSet<>(List.of(text.strip().split("\\s+")));
    }

    /** What was decided here, to ask the independent evaluator. */
    static final List<ObjectNode> SIMULATIONS = new ArrayList<>();
    static final List<Decision> DECISIONS = new ArrayList<>();

    static String vpc;
    static String group;

    @BeforeAll
    static void use() {
        Script.use(aws);
        aws.iam.createRole("Developer");
        aws.codecommit.createRepository("payments");
        aws.codecommit.createRepository("orders");
        vpc = aws.ec2.createVpc("eu-west-1", "10.0.0.0/16");
        group = aws.ec2.createSecurityGroup(vpc, "codecommit-endpoints");
        aws.ec2.authorizeIngress(group, "tcp", 443, 443, "10.0.0.0/16");
        aws.ec2.createSubnet(vpc, "eu-west-1a", "10.0.0.0/24");
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    /** A request and the policies that decide it together, by iam-simulate's member names. */
    record Question(String principal, String action, String resource, Map<String, String> context, JsonNode identity,
            JsonNode resourcePolicy,
            JsonNode endpointPolicy) {
        Decision decide() {
            var keys = new HashMap<>(Map.of("aws:PrincipalArn",
                    principal.replaceAll("sts(::\\d+:)assumed-(role/\\w+)/.*", "iam$1$2"), "aws:PrincipalAccount",
                    principal.split(":")[4]));
            keys.putAll(context);
            var request = new Request(principal, action, resource,
                    keys.entrySet().stream().collect(Collectors.toMap(Map.Entry::getKey, e -> List.of(e.getValue()))));
            var identities = identity == null ? List.<Policy>of()
                    : Stream.of(ALLOW_ALL, identity).distinct().map(p -> new Policy("identity", p)).toList();
            var policies = new PolicyEvaluator.Policies(identities, named("resource", resourcePolicy), List.of(),
                    List.of(), named("endpoint", endpointPolicy));
            var decision = PolicyEvaluator.decide(request, policies).decision();

            var simulation = JSON.createObjectNode();
            var owner = (resource.equals("*") ? principal : resource).split(":")[4];
            simulation.putObject("request").put("principal", principal).put("action", action)
                    .<ObjectNode>set("resource",
                            JSON.createObjectNode().put("resource", resource).put("accountId", owner))
                            .set("contextVariables", JSON.valueToTree(keys));
            identities.forEach(p -> simulation.withArray("identityPolicies").addObject()
                    .put("name", "p" + simulation.path("identityPolicies").size())
                    .set("policy", p.document()));
            for (var list : List.of("identityPolicies", "serviceControlPolicies", "resourceControlPolicies"))
                simulation.withArray(list);
            if (resourcePolicy != null) simulation.set("resourcePolicy", resourcePolicy);
            if (endpointPolicy != null) simulation.putArray("vpcEndpointPolicies").addObject().put("name", "endpoint")
                    .set("policy", endpointPolicy);
            SIMULATIONS.add(simulation);
            DECISIONS.add(decision);
            return decision;
        }
    }

    static Policy named(String name, JsonNode document) {
        return document == null ? null : new Policy(name, document);
    }

    /** The actions by what is decided for them in each column: "explicitDeny allowed ...". */
    static Map<String, Set<String>> table(Set<String> actions,
            java.util.function.Function<String, Stream<Decision>> columns) {
        var table = new LinkedHashMap<String, Set<String>>();
        for (var action : actions) table
                .computeIfAbsent(columns.apply(action).map(Decision::name).collect(Collectors.joining(" ")),
                        row -> new TreeSet<>())
                .add(action);
        return table;
    }

    static Set<String> without(Set<String> all, String... others) {
        var rest = new TreeSet<>(all);
        for (var words : others) assertTrue(rest.removeAll(words(words)), words);
        return rest;
    }

    static Set<String> codecommit() {
        return Stream.of(WITH_REFERENCE, WITHOUT_REPOSITORY, OTHERS).flatMap(Set::stream)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    // Branch deny

    static final String BRANCH_WRITES = """
            CreateBranch CreateCommit CreateUnreferencedMergeCommit DeleteBranch DeleteFile GitPush
            MergeBranchesByFastForward MergeBranchesBySquash MergeBranchesByThreeWay
            MergePullRequestByFastForward MergePullRequestBySquash MergePullRequestByThreeWay PutFile""";
    static final String REPOSITORY_WRITES = "DeleteRepository OverridePullRequestApprovalRules UpdateDefaultBranch "
            + "UpdateRepositoryName";

    static JsonNode branchDeny(String... arguments) {
        var run = Script.run(new ApplyBranchDeny().commandLine(),
                Stream.concat(Stream.of("--role-names", "Developer", "--dry-run"), Stream.of(arguments))
                        .toArray(String[]::new));
        assertEquals(0, run.exitCode(), run.err());
        return run.json().at("/policies/0/policy");
    }

    /**
     * For a role that may do everything else; the branch null is the request that names none, with which every push
     * begins.
     */
    static Decision underBranchDeny(JsonNode deny, String action, String branch, String repository) {
        var resource = WITHOUT_REPOSITORY.contains(action) ? "*" : repository;
        var context = branch == null || !WITH_REFERENCE.contains(action) ? Map.<String, String>of()
                : Map.of("codecommit:References", "refs/heads/" + branch);
        return new Question(DEVELOPER, "codecommit:" + action, resource, context, deny, null, null).decide();
    }

    @Test
    void branchDenyKeepsProtectedBranchesAndPatternsAndNothingElse() {
        var deny = branchDeny("--branches", "main", "release/*", "--repository-names", "payments", "orders");
        assertEquals(Map.of(
                // main, release/1.2, release/1/2, releases, Main, feature/main, none, main of orders, main of billing,
                // main in another Region, main of payments2
                "explicitDeny explicitDeny explicitDeny allowed allowed allowed allowed explicitDeny allowed allowed "
                        + "allowed",
                words(BRANCH_WRITES),
                "explicitDeny explicitDeny explicitDeny explicitDeny explicitDeny explicitDeny explicitDeny "
                        + "explicitDeny allowed allowed allowed",
                words(REPOSITORY_WRITES),
                "allowed allowed allowed allowed allowed allowed allowed allowed allowed allowed allowed",
                without(codecommit(), BRANCH_WRITES, REPOSITORY_WRITES)),
                table(codecommit(), action -> Stream.concat(
                        Stream.of("main", "release/1.2", "release/1/2", "releases", "Main", "feature/main", "")
                                .map(branch -> underBranchDeny(deny, action, branch.isEmpty() ? null : branch,
                                        REPOSITORY)),
                        Stream.of("eu-west-1:111122223333:orders", "eu-west-1:111122223333:billing",
                                "eu-west-2:111122223333:payments",
                                "eu-west-1:111122223333:payments2")
                                .map(repository -> underBranchDeny(deny, action, "main",
                                        "arn:aws:codecommit:" + repository)))));
    }

    @Test
    void branchDenyForExactNamesKnowsNoPatterns() {
        var deny = branchDeny("--branches", "main", "prod", "--repository-names", "payments");
        assertEquals(Map.of("explicitDeny explicitDeny allowed allowed", words(BRANCH_WRITES),
                "explicitDeny explicitDeny explicitDeny explicitDeny", words(REPOSITORY_WRITES),
                "allowed allowed allowed allowed", without(codecommit(), BRANCH_WRITES, REPOSITORY_WRITES)),
                table(codecommit(), action -> Stream.of("main", "prod", "main2", "")
                        .map(branch -> underBranchDeny(deny, action, branch.isEmpty() ? null : branch, REPOSITORY))));
    }

    @Test
    void branchDenyForAllRepositoriesStaysInItsRegionAndAccount() {
        var deny = branchDeny("--branches", "*", "--all-repositories");
        assertEquals(
                Map.of("explicitDeny explicitDeny explicitDeny allowed", words(BRANCH_WRITES + " " + REPOSITORY_WRITES),
                        "allowed allowed allowed allowed",
                without(codecommit(), BRANCH_WRITES, REPOSITORY_WRITES)),
                table(codecommit(),
                        action -> Stream.of("eu-west-1:111122223333:orders", "eu-west-1:111122223333:payments",
                                "eu-west-1:111122223333:new",
                        "eu-west-2:111122223333:payments")
                        .map(repository -> underBranchDeny(deny, action, "x/y", "arn:aws:codecommit:" + repository))));
        for (var action : words(BRANCH_WRITES))
            assertEquals(Decision.allowed, underBranchDeny(deny, action, null, REPOSITORY),
                action + ": the handshake of every push");
    }

    @Test
    void branchDenyMayLeaveAdministrationToOthers() {
        var deny = branchDeny("--branches", "main", "--all-repositories", "--allow-administration");
        assertEquals(
                Map.of("explicitDeny allowed allowed", words(BRANCH_WRITES), "allowed allowed allowed",
                        without(codecommit(), BRANCH_WRITES)),
                table(codecommit(), action -> Stream.of("main", "x", "")
                        .map(branch -> underBranchDeny(deny, action, branch.isEmpty() ? null : branch, REPOSITORY))));
    }

    // The key

    static final String KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    static final String KEY_USE = "Decrypt DescribeKey Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext "
            + "ReEncryptFrom ReEncryptTo";

    static JsonNode keyPolicy(String... arguments) {
        var run = Script.run(new CreateKmsKey().commandLine(),
                Stream.concat(Stream.of("--alias", "alias/x", "--dry-run"), Stream.of(arguments))
                        .toArray(String[]::new));
        assertEquals(0, run.exitCode(), run.err());
        return run.json().at("/key/policy");
    }

    static Decision underKeyPolicy(JsonNode policy, String action, String principal, JsonNode identity) {
        return new Question(principal, "kms:" + action, KEY, Map.of(), identity, policy, null).decide();
    }

    @Test
    void theKeyIsUsedByUsersAdministeredByAdministratorsAndOtherwiseByWhomIamAllowsIt() {
        var policy = keyPolicy("--users", "arn:aws:iam::111122223333:role/Developer", "arn:aws:iam::444455556666:root",
                "--administrators",
                "arn:aws:iam::111122223333:role/KeyAdmin");
        var admin = "arn:aws:sts::111122223333:assumed-role/KeyAdmin/bob";
        var nobody = "arn:aws:iam::111122223333:user/nobody";
        var partner = "arn:aws:sts::444455556666:assumed-role/Build/1";
        var stranger = "arn:aws:sts::" + STRANGERS + ":assumed-role/Developer/alice";
        assertEquals(Map.of(
                // Developer, KeyAdmin, nobody, nobody whom IAM allows everything, partner, partner whom his IAM allows
                // everything, stranger likewise
                "allowed implicitDeny implicitDeny allowed implicitDeny allowed implicitDeny",
                without(words(KEY_USE), "DescribeKey"),
                "allowed allowed implicitDeny allowed implicitDeny allowed implicitDeny", words("DescribeKey"),
                "implicitDeny allowed implicitDeny allowed implicitDeny implicitDeny implicitDeny",
                without(KMS, KEY_USE, "GenerateDataKeyPair Sign"),
                "implicitDeny implicitDeny implicitDeny allowed implicitDeny implicitDeny implicitDeny",
                words("GenerateDataKeyPair Sign")),
                table(KMS, action -> Stream.of(
                        underKeyPolicy(policy, action, DEVELOPER, null), underKeyPolicy(policy, action, admin, null),
                                underKeyPolicy(policy, action, nobody, null),
                        underKeyPolicy(policy, action, nobody, ALLOW_ALL),
                        underKeyPolicy(policy, action, partner, null),
                                underKeyPolicy(policy, action, partner, ALLOW_ALL),
                        underKeyPolicy(policy, action, stranger, ALLOW_ALL))));
    }

    @Test
    void theKeyWithoutUsersIsForWhomIamAllowsIt() {
        var policy = keyPolicy();
        assertEquals(Map.of("allowed implicitDeny implicitDeny", KMS),
                table(KMS,
                        action -> Stream.of(underKeyPolicy(policy, action, DEVELOPER, ALLOW_ALL),
                                underKeyPolicy(policy, action, DEVELOPER, null),
                        underKeyPolicy(policy, action, "arn:aws:iam::" + STRANGERS + ":user/eve", ALLOW_ALL))));
    }

    // The endpoints

    /** The policy of one of the two endpoints, api or git. */
    static JsonNode endpointPolicy(String service, String... arguments) {
        var run = Script.run(new CreateVpcEndpoint().commandLine(),
                Stream.concat(
                        Stream.of("--vpc-id", vpc, "--security-group-ids", group, "--services", service, "--dry-run"),
                Stream.of(arguments)).toArray(String[]::new));
        assertEquals(0, run.exitCode(), run.err());
        return run.json().at("/endpoints/0/policy");
    }

    /** What comes through for somebody whom IAM allows everything. */
    static Decision throughEndpoint(JsonNode policy, String action, String principal, String repository) {
        return new Question(principal, "codecommit:" + action, WITHOUT_REPOSITORY.contains(action) ? "*" : repository,
                Map.of(), ALLOW_ALL, null, policy)
                .decide();
    }

    static Stream<Decision> throughEndpoint(JsonNode policy, String action) {
        var stranger = "arn:aws:sts::" + STRANGERS + ":assumed-role/Developer/alice";
        return Stream.of(
                throughEndpoint(policy, action, DEVELOPER, REPOSITORY),
                throughEndpoint(policy, action, DEVELOPER, "arn:aws:codecommit:eu-west-1:111122223333:billing"),
                throughEndpoint(policy, action, "arn:aws:iam::111122223333:user/bob", REPOSITORY),
                throughEndpoint(policy, action, "arn:aws:sts::111122223333:assumed-role/Developer2/alice", REPOSITORY),
                throughEndpoint(policy, action, stranger, "arn:aws:codecommit:eu-west-1:" + STRANGERS + ":theirs"),
                throughEndpoint(policy, action, stranger, "arn:aws:codecommit:eu-west-1:" + STRANGERS + ":payments"));
    }

    @Test
    void theDefaultEndpointsAreForTheAccountsOwnPrincipalsAndRepositories() {
        // Developer, Developer at billing, bob, Developer2, and out of the account: a stranger with his own
        // repositories
        var own = "allowed allowed allowed allowed implicitDeny implicitDeny";
        var nobody = "implicitDeny implicitDeny implicitDeny implicitDeny implicitDeny implicitDeny";
        var api = endpointPolicy("api", "--policy", "default");
        assertEquals(Map.of(own, without(codecommit(), "GitPull GitPush"), nobody, words("GitPull GitPush")),
                table(codecommit(), action -> throughEndpoint(api, action)));
        var git = endpointPolicy("git");
        assertEquals(Map.of(own, words("GitPull GitPush"), nobody, without(codecommit(), "GitPull GitPush")),
                table(codecommit(), action -> throughEndpoint(git, action)));
        for (var policy : List.of(api, git))
            for (var action : without(codecommit(), String.join(" ", WITHOUT_REPOSITORY)))
                assertEquals(Decision.implicitDeny,
                        throughEndpoint(policy, action, DEVELOPER,
                                "arn:aws:codecommit:eu-west-1:" + STRANGERS + ":theirs"),
                        action + " out of the account");
    }

    @Test
    void theRestrictedEndpointsAreForTheNamedPrincipalsAndRepositories() {
        var named = new String[] {"--policy", "restricted", "--principals", "arn:aws:iam::111122223333:role/Developer",
                "--repository-names", "payments",
                "orders"};
        var one = "allowed implicitDeny implicitDeny implicitDeny implicitDeny implicitDeny";
        var any = "allowed allowed implicitDeny implicitDeny implicitDeny implicitDeny";
        var nobody = "implicitDeny implicitDeny implicitDeny implicitDeny implicitDeny implicitDeny";
        var templates = String.join(" ", WITHOUT_REPOSITORY);
        var api = endpointPolicy("api", named);
        assertEquals(
                Map.of(one, without(codecommit(), "GitPull GitPush", templates), any, WITHOUT_REPOSITORY, nobody,
                        words("GitPull GitPush")),
                table(codecommit(), action -> throughEndpoint(api, action)));
        var git = endpointPolicy("git", named);
        assertEquals(Map.of(one, words("GitPull GitPush"), nobody, without(codecommit(), "GitPull GitPush")),
                table(codecommit(), action -> throughEndpoint(git, action)));
        var all = endpointPolicy("git", "--policy", "restricted", "--principals",
                "arn:aws:iam::111122223333:role/Developer",
                "arn:aws:iam::111122223333:user/bob");
        assertEquals(Map.of("allowed allowed allowed implicitDeny implicitDeny implicitDeny", words("GitPull GitPush")),
                table(words("GitPull GitPush"), action -> throughEndpoint(all, action)));
    }

    // The independent evaluator

    @Test
    @Order(Integer.MAX_VALUE)
    void anIndependentEvaluatorDecidesTheSame() throws Exception {
        assertTrue(SIMULATIONS.size() > 500, "the other tests come first");
        var decisions = IndependentEvaluator.decide(SIMULATIONS);
        var differences = new ArrayList<String>();
        for (var i = 0; i < decisions.size(); i++)
            if (!decisions.get(i).equals(DECISIONS.get(i).name()))
                differences.add("here " + DECISIONS.get(i) + ", there " + decisions.get(i) + ": " + SIMULATIONS.get(i));
        assertEquals(List.of(), differences.subList(0, Math.min(3, differences.size())),
                differences.size() + " differ of " + decisions.size());
    }
}
