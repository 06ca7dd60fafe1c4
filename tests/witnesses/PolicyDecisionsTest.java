import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
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
import picocli.CommandLine;

/**
 * What the toolkit's policies deny and what still works under them: every policy as its script renders it in a dry run,
 * every CodeCommit, KMS or S3 action against it. The last test asks an independent evaluator the same.
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

    /** What was decided here, to ask the independent evaluator. */
    static final List<ObjectNode> SIMULATIONS = new ArrayList<>();
    static final List<Decision> DECISIONS = new ArrayList<>();

    static String vpc;
    static String group;

    @BeforeAll
    static void use() {
        Script.use(aws);
        aws.iam.createRole("Developer");
        aws.iam.createRole("KeyAdmin");
        aws.iam.createUser("bob");
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

    /**
     * A request and the policies that decide it together, by iam-simulate's member names. Two keys have other names
     * there: of a list it takes only the first value if the key is not documented as a list, and keys that end with a
     * name of somebody's own it knows only of tags.
     *
     * @param principal an ARN, or a service
     * @param context texts, and lists of texts for keys that are lists in this request
     */
    record Question(String principal, String action, String resource, Map<String, ?> context,
            List<JsonNode> identities, JsonNode resourcePolicy, JsonNode endpointPolicy) {
        Decision decide() {
            var keys = new HashMap<String, Object>(context);
            if (principal.startsWith("arn:")) {
                keys.put("aws:PrincipalArn", principal.replaceAll("sts(::\\d+:)assumed-(role/[\\w-]+)/.*", "iam$1$2"));
                keys.put("aws:PrincipalAccount", principal.split(":")[4]);
            }
            var values = new HashMap<String, List<String>>();
            var lists = new HashSet<String>();
            keys.forEach((key, value) -> {
                if (value instanceof List<?> several) {
                    values.put(key, several.stream().map(Object::toString).toList());
                    lists.add(key);
                } else {
                    values.put(key, List.of(value.toString()));
                }
            });
            var request = new Request(principal, action, resource, values, lists);
            var policies = new PolicyEvaluator.Policies(
                    identities.stream().map(p -> new Policy("identity", p)).toList(), named("resource",
                            resourcePolicy), List.of(), List.of(), named("endpoint", endpointPolicy));
            var decision = PolicyEvaluator.decide(request, policies).decision();

            var simulation = JSON.createObjectNode();
            var owner = context.containsKey("aws:ResourceAccount") ? context.get("aws:ResourceAccount").toString()
                    : (resource.equals("*") ? principal : resource).split(":")[4];
            simulation.putObject("request").put("principal", principal).put("action", action)
                    .<ObjectNode>set("resource",
                            JSON.createObjectNode().put("resource", resource).put("accountId", owner))
                            .set("contextVariables", JSON.valueToTree(keys));
            identities.forEach(p -> simulation.withArray("identityPolicies").addObject()
                    .put("name", "p" + simulation.path("identityPolicies").size())
                    .set("policy", p));
            for (var list : List.of("identityPolicies", "serviceControlPolicies", "resourceControlPolicies")) {
                simulation.withArray(list);
            }
            if (resourcePolicy != null) simulation.set("resourcePolicy", resourcePolicy);
            if (endpointPolicy != null) {
                simulation.putArray("vpcEndpointPolicies").addObject().put("name", "endpoint")
                        .set("policy", endpointPolicy);
            }
            var known = simulation.toString().replace("kms:EncryptionContext:aws:s3:arn", "aws:PrincipalTag/object");
            SIMULATIONS.add(parsed(lists.isEmpty() ? known : known.replace("codecommit:References", "aws:TagKeys")));
            DECISIONS.add(decision);
            return decision;
        }
    }

    static ObjectNode parsed(String simulation) {
        try {
            return (ObjectNode) JSON.readTree(simulation);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static Policy named(String name, JsonNode document) {
        return document == null ? null : new Policy(name, document);
    }

    /** The actions by what is decided for them in each column: "explicitDeny allowed ...". */
    static Map<String, Set<String>> table(Set<String> actions, Function<String, Stream<Decision>> columns) {
        var table = new LinkedHashMap<String, Set<String>>();
        for (var action : actions) {
            var row = columns.apply(action).map(Decision::name).collect(Collectors.joining(" "));
            table.computeIfAbsent(row, decisions -> new TreeSet<>()).add(action);
        }
        return table;
    }

    static Set<String> without(Set<String> all, String... others) {
        var rest = new TreeSet<>(all);
        for (var words : others) assertTrue(rest.removeAll(Actions.words(words)), words);
        return rest;
    }

    // Branch deny

    static final String BRANCH_WRITES = """
            CreateBranch CreateCommit CreateUnreferencedMergeCommit DeleteBranch DeleteFile GitPush
            MergeBranchesByFastForward MergeBranchesBySquash MergeBranchesByThreeWay MergePullRequestByFastForward
            MergePullRequestBySquash MergePullRequestByThreeWay PutFile""";
    static final String REPOSITORY_WRITES = """
            BatchDisassociateApprovalRuleTemplateFromRepositories DeletePullRequestApprovalRule DeleteRepository
            DisassociateApprovalRuleTemplateFromRepository OverridePullRequestApprovalRules UpdateDefaultBranch
            UpdatePullRequestApprovalRuleContent UpdateRepositoryEncryptionKey UpdateRepositoryName""";
    static final String TEMPLATE_WRITES = "DeleteApprovalRuleTemplate UpdateApprovalRuleTemplateContent "
            + "UpdateApprovalRuleTemplateDescription UpdateApprovalRuleTemplateName";

    static JsonNode branchDeny(String... arguments) {
        var run = Script.run(new ApplyBranchDeny().commandLine(),
                Stream.concat(Stream.of("--role-names", "Developer", "--dry-run"), Stream.of(arguments))
                        .toArray(String[]::new));
        assertEquals(0, run.exitCode(), run.err());
        return run.json().at("/policies/0/policy");
    }

    /**
     * For a role that may do everything else.
     *
     * @param branch null for a request that names none, with which every push begins
     */
    static Decision underBranchDeny(JsonNode deny, String action, String branch, String repository) {
        return underBranchDeny(deny, action, repository,
                branch == null ? Map.of() : Map.of("codecommit:References", "refs/heads/" + branch));
    }

    static Decision underBranchDeny(JsonNode deny, String action, String repository, Map<String, ?> context) {
        var resource = Actions.WITHOUT_REPOSITORY.contains(action) ? "*" : repository;
        var known = Actions.WITH_REFERENCE.contains(action) ? context : Map.<String, String>of();
        return new Question(DEVELOPER, "codecommit:" + action, resource, known, List.of(ALLOW_ALL, deny), null, null)
                .decide();
    }

    /** One request that names several branches, if CodeCommit gives IAM all of them as a list. */
    static Decision underBranchDeny(JsonNode deny, String action, List<String> branches) {
        return underBranchDeny(deny, action, REPOSITORY, Map.of("codecommit:References",
                branches.stream().map(branch -> "refs/heads/" + branch).toList()));
    }

    /** What is denied does not depend on whether IAM is asked for each ref or once for the list of them. */
    @Test
    void branchDenyDecidesAListByItsProtectedBranches() {
        for (var branches : List.of(List.of("main", "release/*"), List.of("main", "release/1", "release/2"))) {
            var deny = branchDeny(Stream.concat(Stream.of("--all-repositories", "--branches"), branches.stream())
                    .toArray(String[]::new));
            var protectedOnly = Stream.of(List.of("main"), List.of("release/1"), List.of("release/1", "main"),
                    List.of("release/1", "release/2"));
            var mixed = Stream.of(List.of("main", "x"), List.of("x", "main"), List.of("x", "y/z", "release/2", "Main"));
            var others = Stream.of(List.of("x"), List.of("x", "y/z"), List.of("Main", "mai", "main2", "x/main"));
            var lists = Stream.of(protectedOnly, mixed, others).flatMap(list -> list).toList();
            assertEquals(Map.of(
                    "explicitDeny ".repeat(7) + "allowed allowed allowed", Actions.words(BRANCH_WRITES),
                    "explicitDeny ".repeat(10).strip(), Actions.words(REPOSITORY_WRITES + " " + TEMPLATE_WRITES),
                    "allowed ".repeat(10).strip(),
                    without(Actions.CODECOMMIT_WITH_CONSOLE, BRANCH_WRITES, REPOSITORY_WRITES, TEMPLATE_WRITES)),
                    table(Actions.CODECOMMIT_WITH_CONSOLE,
                            action -> lists.stream().map(list -> underBranchDeny(deny, action, list))));
            for (var list : lists) {
                assertEquals(list.stream().anyMatch(branch ->
                        underBranchDeny(deny, "GitPush", branch, REPOSITORY) == Decision.explicitDeny),
                        underBranchDeny(deny, "GitPush", list) == Decision.explicitDeny, list.toString());
            }
        }
    }

    @Test
    void branchDenyKeepsProtectedBranchesAndPatternsAndNothingElse() {
        var deny = branchDeny("--branches", "main", "release/*", "--repository-names", "payments", "orders");
        assertEquals(Map.of(
                // main, release/1.2, release/1/2, releases, Main, feature/main, none, main of orders, main of billing,
                // main in another Region, main of payments2
                "explicitDeny explicitDeny explicitDeny allowed allowed allowed allowed explicitDeny allowed allowed "
                        + "allowed",
                Actions.words(BRANCH_WRITES),
                "explicitDeny explicitDeny explicitDeny explicitDeny explicitDeny explicitDeny explicitDeny "
                        + "explicitDeny allowed allowed allowed",
                Actions.words(REPOSITORY_WRITES),
                // templates belong to no repository
                "explicitDeny ".repeat(11).strip(), Actions.words(TEMPLATE_WRITES),
                "allowed ".repeat(11).strip(),
                without(Actions.CODECOMMIT_WITH_CONSOLE, BRANCH_WRITES, REPOSITORY_WRITES, TEMPLATE_WRITES)),
                table(Actions.CODECOMMIT_WITH_CONSOLE, action -> Stream.concat(
                        Stream.of("main", "release/1.2", "release/1/2", "releases", "Main", "feature/main", "")
                                .map(branch -> underBranchDeny(deny, action, branch.isEmpty() ? null : branch,
                                        REPOSITORY)),
                        Stream.of("eu-west-1:111122223333:orders", "eu-west-1:111122223333:billing",
                                "eu-west-2:111122223333:payments", "eu-west-1:111122223333:payments2")
                                .map(repository -> underBranchDeny(deny, action, "main",
                                        "arn:aws:codecommit:" + repository)))));
    }

    @Test
    void branchDenyForExactNamesKnowsNoPatterns() {
        var deny = branchDeny("--branches", "main", "prod", "--repository-names", "payments");
        assertEquals(Map.of("explicitDeny explicitDeny allowed allowed", Actions.words(BRANCH_WRITES),
                "explicitDeny explicitDeny explicitDeny explicitDeny",
                Actions.words(REPOSITORY_WRITES + " " + TEMPLATE_WRITES),
                "allowed allowed allowed allowed",
                without(Actions.CODECOMMIT_WITH_CONSOLE, BRANCH_WRITES, REPOSITORY_WRITES, TEMPLATE_WRITES)),
                table(Actions.CODECOMMIT_WITH_CONSOLE, action -> Stream.of("main", "prod", "main2", "")
                        .map(branch -> underBranchDeny(deny, action, branch.isEmpty() ? null : branch, REPOSITORY))));
    }

    @Test
    void branchDenyForAllRepositoriesStaysInItsRegionAndAccount() {
        var deny = branchDeny("--branches", "*", "--all-repositories");
        assertEquals(
                Map.of("explicitDeny explicitDeny explicitDeny allowed",
                        Actions.words(BRANCH_WRITES + " " + REPOSITORY_WRITES),
                        "explicitDeny explicitDeny explicitDeny explicitDeny", Actions.words(TEMPLATE_WRITES),
                        "allowed allowed allowed allowed",
                without(Actions.CODECOMMIT_WITH_CONSOLE, BRANCH_WRITES, REPOSITORY_WRITES, TEMPLATE_WRITES)),
                table(Actions.CODECOMMIT_WITH_CONSOLE,
                        action -> Stream.of("eu-west-1:111122223333:orders", "eu-west-1:111122223333:payments",
                                "eu-west-1:111122223333:new",
                        "eu-west-2:111122223333:payments")
                        .map(repository -> underBranchDeny(deny, action, "x/y", "arn:aws:codecommit:" + repository))));
        for (var action : Actions.words(BRANCH_WRITES)) {
            assertEquals(Decision.allowed, underBranchDeny(deny, action, null, REPOSITORY),
                    action + ": the handshake of every push");
        }
    }

    @Test
    void branchDenyMayLeaveAdministrationToOthers() {
        var deny = branchDeny("--branches", "main", "--all-repositories", "--allow-administration");
        assertEquals(
                Map.of("explicitDeny allowed allowed", Actions.words(BRANCH_WRITES), "allowed allowed allowed",
                        without(Actions.CODECOMMIT_WITH_CONSOLE, BRANCH_WRITES)),
                table(Actions.CODECOMMIT_WITH_CONSOLE, action -> Stream.of("main", "x", "")
                        .map(branch -> underBranchDeny(deny, action, branch.isEmpty() ? null : branch, REPOSITORY))));
    }

    @Test
    void branchDenyMayLeaveMergesOfPullRequestsToTheirRules() {
        var deny = branchDeny("--branches", "main", "--all-repositories", "--allow-pull-request-merges");
        var merges = "MergePullRequestByFastForward MergePullRequestBySquash MergePullRequestByThreeWay";
        assertEquals(Map.of("explicitDeny allowed allowed explicitDeny", without(Actions.words(BRANCH_WRITES), merges),
                "explicitDeny explicitDeny explicitDeny explicitDeny",
                Actions.words(REPOSITORY_WRITES + " " + TEMPLATE_WRITES),
                "allowed allowed allowed allowed",
                without(Actions.CODECOMMIT_WITH_CONSOLE, String.join(" ", without(Actions.words(BRANCH_WRITES),
                        merges)), REPOSITORY_WRITES, TEMPLATE_WRITES)),
                table(Actions.CODECOMMIT_WITH_CONSOLE, action -> Stream.concat(Stream.of("main", "x", "")
                        .map(branch -> underBranchDeny(deny, action, branch.isEmpty() ? null : branch, REPOSITORY)),
                        Stream.of(underBranchDeny(deny, action, List.of("x", "main"))))));
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

    static Decision underKeyPolicy(JsonNode policy, String action, String principal, JsonNode... identities) {
        return new Question(principal, "kms:" + action, KEY, Map.of(), List.of(identities), policy, null).decide();
    }

    @Test
    void theKeyIsUsedByUsersAdministeredByAdministratorsAndOtherwiseByWhomIamAllowsIt() {
        var policy = keyPolicy("--users", "arn:aws:iam::111122223333:role/Developer", "arn:aws:iam::444455556666:root",
                "--administrators", "arn:aws:iam::111122223333:role/KeyAdmin");
        var admin = "arn:aws:sts::111122223333:assumed-role/KeyAdmin/bob";
        var nobody = "arn:aws:iam::111122223333:user/nobody";
        var partner = "arn:aws:sts::444455556666:assumed-role/Build/1";
        var stranger = "arn:aws:sts::" + STRANGERS + ":assumed-role/Developer/alice";
        assertEquals(Map.of(
                // Developer, KeyAdmin, nobody, nobody whom IAM allows everything, partner, partner whom his IAM allows
                // everything, stranger likewise
                "allowed implicitDeny implicitDeny allowed implicitDeny allowed implicitDeny",
                without(Actions.words(KEY_USE), "DescribeKey"),
                "allowed allowed implicitDeny allowed implicitDeny allowed implicitDeny", Actions.words("DescribeKey"),
                "implicitDeny allowed implicitDeny allowed implicitDeny implicitDeny implicitDeny",
                without(Actions.KMS, KEY_USE, "GenerateDataKeyPair Sign"),
                "implicitDeny implicitDeny implicitDeny allowed implicitDeny implicitDeny implicitDeny",
                Actions.words("GenerateDataKeyPair Sign")),
                table(Actions.KMS, action -> Stream.of(
                        underKeyPolicy(policy, action, DEVELOPER),
                        underKeyPolicy(policy, action, admin),
                        underKeyPolicy(policy, action, nobody),
                        underKeyPolicy(policy, action, nobody, ALLOW_ALL),
                        underKeyPolicy(policy, action, partner),
                        underKeyPolicy(policy, action, partner, ALLOW_ALL),
                        underKeyPolicy(policy, action, stranger, ALLOW_ALL))));
    }

    @Test
    void theKeyWithoutUsersIsForWhomIamAllowsIt() {
        var policy = keyPolicy();
        var eve = "arn:aws:iam::" + STRANGERS + ":user/eve";
        assertEquals(Map.of("allowed implicitDeny implicitDeny", Actions.KMS),
                table(Actions.KMS, action -> Stream.of(
                        underKeyPolicy(policy, action, DEVELOPER, ALLOW_ALL),
                        underKeyPolicy(policy, action, DEVELOPER),
                        underKeyPolicy(policy, action, eve, ALLOW_ALL))));
    }

    // The endpoints

    static final String GIT = "GitPull GitPush";

    /** The policy of one of the two endpoints, api or git. */
    static JsonNode endpointPolicy(String service, String... arguments) {
        var all = Stream.concat(
                Stream.of("--vpc-id", vpc, "--security-group-ids", group, "--services", service, "--dry-run"),
                Stream.of(arguments));
        var run = Script.run(new CreateVpcEndpoint().commandLine(), all.toArray(String[]::new));
        assertEquals(0, run.exitCode(), run.err());
        return run.json().at("/endpoints/0/policy");
    }

    /** What comes through for somebody whom IAM allows everything. */
    static Decision throughEndpoint(JsonNode policy, String action, String principal, String repository) {
        var resource = Actions.WITHOUT_REPOSITORY.contains(action) ? "*" : repository;
        return new Question(principal, "codecommit:" + action, resource, Map.of(), List.of(ALLOW_ALL), null, policy)
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
        assertEquals(Map.of(own, without(Actions.CODECOMMIT, GIT), nobody, Actions.words(GIT)),
                table(Actions.CODECOMMIT, action -> throughEndpoint(api, action)));
        var git = endpointPolicy("git");
        assertEquals(Map.of(own, Actions.words(GIT), nobody, without(Actions.CODECOMMIT, GIT)),
                table(Actions.CODECOMMIT, action -> throughEndpoint(git, action)));
        for (var policy : List.of(api, git)) {
            for (var action : without(Actions.CODECOMMIT, String.join(" ", Actions.WITHOUT_REPOSITORY))) {
                assertEquals(Decision.implicitDeny,
                        throughEndpoint(policy, action, DEVELOPER,
                                "arn:aws:codecommit:eu-west-1:" + STRANGERS + ":theirs"),
                        action + " out of the account");
            }
        }
    }

    @Test
    void theRestrictedEndpointsAreForTheNamedPrincipalsAndRepositories() {
        var named = new String[] {"--policy", "restricted", "--principals", "arn:aws:iam::111122223333:role/Developer",
                "--repository-names", "payments", "orders"};
        var one = "allowed implicitDeny implicitDeny implicitDeny implicitDeny implicitDeny";
        var any = "allowed allowed implicitDeny implicitDeny implicitDeny implicitDeny";
        var nobody = "implicitDeny implicitDeny implicitDeny implicitDeny implicitDeny implicitDeny";
        var templates = String.join(" ", Actions.WITHOUT_REPOSITORY);
        var api = endpointPolicy("api", named);
        assertEquals(Map.of(one, without(Actions.CODECOMMIT, GIT, templates), any, Actions.WITHOUT_REPOSITORY,
                nobody, Actions.words(GIT)),
                table(Actions.CODECOMMIT, action -> throughEndpoint(api, action)));
        var git = endpointPolicy("git", named);
        assertEquals(Map.of(one, Actions.words(GIT), nobody, without(Actions.CODECOMMIT, GIT)),
                table(Actions.CODECOMMIT, action -> throughEndpoint(git, action)));
        var all = endpointPolicy("git", "--policy", "restricted", "--principals",
                "arn:aws:iam::111122223333:role/Developer", "arn:aws:iam::111122223333:user/bob");
        assertEquals(Map.of("allowed allowed allowed implicitDeny implicitDeny implicitDeny", Actions.words(GIT)),
                table(Actions.words(GIT), action -> throughEndpoint(all, action)));
    }

    // The backup: bucket, key, roles and topic

    static final String WRITER = "arn:aws:sts::444455556666:assumed-role/BackupWriter/1";
    static final String BACKUPS = "arn:aws:s3:::my-backups/projects/codecommit-backup/";
    static final String JOB = "arn:aws:sts::111122223333:assumed-role/codecommit-backup-eu-west-1/1";

    static JsonNode planned(CommandLine script, String... arguments) {
        var run = Script.run(script, Stream.concat(Stream.of("--dry-run"), Stream.of(arguments))
                .toArray(String[]::new));
        assertEquals(0, run.exitCode(), run.err());
        return run.json();
    }

    /** For somebody whom IAM allows everything, over TLS, with the condition that the backup's writes have. */
    static Decision inTheBucket(JsonNode policy, String action, String principal, String object) {
        var keys = new HashMap<String, String>(Map.of("aws:ResourceAccount", ACCOUNT, "aws:SecureTransport", "true"));
        if (action.equals("PutObject")) {
            keys.putAll(Map.of("s3:if-none-match", "*", "s3:ObjectCreationOperation", "true"));
        }
        if (action.equals("ListBucket")) {
            keys.put("s3:prefix", object.replaceFirst("^[^/]*/", ""));
        }
        return new Question(principal, "s3:" + action, resource(action, object), keys, List.of(ALLOW_ALL), policy,
                null).decide();
    }

    /** The object, or its bucket if the action is of buckets. */
    static String resource(String action, String object) {
        return Actions.OF_BUCKET.contains(action) || action.matches(".*Bucket(Acl|Policy|Versions)?")
                ? object.replaceFirst("/.*", "") : object;
    }

    @Test
    void theBackupsAreAddedByWritersReadByReadersAndDeletedByNobody() {
        var key = aws.kms.createKey("eu-west-1");
        var bucket = planned(new CreateBackupBucket().commandLine(), "--bucket", "my-backups", "--kms-key-id", key.arn,
                "--writer-role-arns", "arn:aws:iam::444455556666:role/BackupWriter", "--reader-role-arns",
                "arn:aws:iam::777788889999:role/BackupReader").path("bucket");
        var policy = bucket.path("policy");
        var reader = "arn:aws:sts::" + STRANGERS + ":assumed-role/BackupReader/1";
        var other = "arn:aws:sts::444455556666:assumed-role/Other/1";
        assertEquals(Map.of(
                // writer; at another account's backups; another role of his account; reader; the bucket's own account
                "allowed implicitDeny implicitDeny implicitDeny allowed",
                Actions.words("AbortMultipartUpload PutObject"),
                "allowed implicitDeny implicitDeny allowed allowed", Actions.words("GetObject ListBucket"),
                "allowed allowed implicitDeny allowed allowed", Actions.words("GetLifecycleConfiguration"),
                "allowed allowed implicitDeny implicitDeny allowed", Actions.words("ListBucketMultipartUploads"),
                "explicitDeny explicitDeny explicitDeny explicitDeny explicitDeny",
                Actions.words("BypassGovernanceRetention DeleteObject DeleteObjectVersion"),
                "explicitDeny explicitDeny explicitDeny implicitDeny allowed",
                without(Actions.S3, "AbortMultipartUpload PutObject GetObject ListBucket GetLifecycleConfiguration",
                        "ListBucketMultipartUploads BypassGovernanceRetention DeleteObject DeleteObjectVersion")),
                table(Actions.S3, action -> Stream.of(
                        inTheBucket(policy, action, WRITER, BACKUPS + "444455556666/x"),
                        inTheBucket(policy, action, WRITER, BACKUPS + "111122223333/x"),
                        inTheBucket(policy, action, other, BACKUPS + "444455556666/x"),
                        inTheBucket(policy, action, reader, BACKUPS + "444455556666/x"),
                        inTheBucket(policy, action, DEVELOPER, BACKUPS + "444455556666/x"))));
        assertEquals(Map.of(
                // writer; for another bucket; another role of his account; reader
                "allowed implicitDeny implicitDeny allowed", Actions.words("Decrypt"),
                "allowed implicitDeny implicitDeny implicitDeny", Actions.words("GenerateDataKey"),
                "explicitDeny explicitDeny explicitDeny explicitDeny", Actions.words("DisableKey ScheduleKeyDeletion"),
                "implicitDeny implicitDeny implicitDeny implicitDeny",
                without(Actions.KMS, "Decrypt GenerateDataKey DisableKey ScheduleKeyDeletion")),
                table(Actions.KMS, action -> Stream.of(
                        throughS3(bucket.path("keyPolicy"), action, WRITER, BACKUPS + "444455556666/x"),
                        throughS3(bucket.path("keyPolicy"), action, WRITER, "arn:aws:s3:::other/x"),
                        throughS3(bucket.path("keyPolicy"), action, other, BACKUPS + "444455556666/x"),
                        throughS3(bucket.path("keyPolicy"), action, reader, BACKUPS + "444455556666/x"))));
    }

    static Decision throughS3(JsonNode policy, String action, String principal, String object) {
        return new Question(principal, "kms:" + action, KEY, Map.of("kms:ViaService", "s3.eu-west-1.amazonaws.com",
                "kms:EncryptionContext:aws:s3:arn", object), List.of(ALLOW_ALL), policy, null).decide();
    }

    /** In a bucket that lets everybody in. */
    static Decision asTheJob(JsonNode policy, String action, String object, String bucketOwner) {
        var open = JSON.valueToTree(Map.of("Version", "2012-10-17", "Statement",
                List.of(Map.of("Effect", "Allow", "Principal", "*", "Action", "*", "Resource", "*"))));
        return new Question(JOB, "s3:" + action, resource(action, object),
                Map.of("aws:ResourceAccount", bucketOwner), List.of(policy), open, null).decide();
    }

    @Test
    void theJobsRoleWritesIntoItsBucketAndTheRolesAreForThisJobAlone() {
        aws.codecommit.createRepository("codecommit-toolkit").commit("refs/heads/main", "buildspec.yml",
                "version: 0.2");
        var policies = planned(new ScheduleBackup().commandLine(), "--bucket", "my-backups", "--bucket-owner",
                "444455556666", "--source-repository", "codecommit-toolkit").at("/project/policies");
        var policy = policies.path("codecommit-backup-eu-west-1/backup");
        assertEquals(Map.of(
                // its prefix; when the bucket has become a stranger's; beside the prefix
                "allowed implicitDeny implicitDeny", Actions.words("AbortMultipartUpload GetObject PutObject"),
                "allowed implicitDeny allowed",
                Actions.words("GetLifecycleConfiguration ListBucket ListBucketMultipartUploads"),
                "implicitDeny implicitDeny implicitDeny",
                without(Actions.S3, "AbortMultipartUpload GetObject PutObject GetLifecycleConfiguration",
                        "ListBucket ListBucketMultipartUploads")),
                table(Actions.S3, action -> Stream.of(
                        asTheJob(policy, action, BACKUPS + "111122223333/x", "444455556666"),
                        asTheJob(policy, action, BACKUPS + "111122223333/x", STRANGERS),
                        asTheJob(policy, action, "arn:aws:s3:::my-backups/x", "444455556666"))));
        var starter = policies.path("codecommit-backup-eu-west-1-events/trust");
        var builder = policies.path("codecommit-backup-eu-west-1/trust");
        assertEquals(Decision.allowed, asService(builder, "codebuild", "project/codecommit-backup", ACCOUNT));
        assertEquals(Decision.implicitDeny, asService(builder, "codebuild", "project/other", ACCOUNT));
        assertEquals(Decision.implicitDeny, asService(builder, "codebuild", "project/codecommit-backup", STRANGERS));
        assertEquals(Decision.implicitDeny, asService(builder, "events", "rule/codecommit-backup", ACCOUNT));
        assertEquals(Decision.allowed, asService(starter, "events", "rule/codecommit-backup", ACCOUNT));
        assertEquals(Decision.allowed, asService(starter, "events", "rule/codecommit-backup-push", ACCOUNT));
        assertEquals(Decision.implicitDeny, asService(starter, "events", "rule/other", ACCOUNT));
        assertEquals(Decision.implicitDeny, asService(starter, "events", "rule/codecommit-backup", STRANGERS));
    }

    /** A service that wants to assume a role for something of an account. */
    static Decision asService(JsonNode trust, String service, String source, String account) {
        return forService(trust, service, "sts:AssumeRole", "arn:aws:iam::111122223333:role/x", source, account);
    }

    static Decision forService(JsonNode policy, String service, String action, String resource, String source,
            String account) {
        return new Question(service + ".amazonaws.com", action, resource, Map.of("aws:SourceAccount", account,
                "aws:SourceArn", "arn:aws:" + service + ":eu-west-1:" + account + ":" + source), List.of(), policy,
                null).decide();
    }

    @Test
    void theTopicTakesWhatEventsAndAlarmsOfBuildsTell() {
        Projects.create(aws, "eu-west-1", "nightly", "true");
        var run = Script.run(new NotifyBuildFailures().commandLine(), "--project-names", "nightly", "--dry-run");
        var topic = run.json().at("/topic/policy");
        var decisions = Stream.of("events rule/x " + ACCOUNT, "cloudwatch alarm:build-x " + ACCOUNT,
                "cloudwatch alarm:x " + ACCOUNT, "cloudwatch alarm:build-x " + STRANGERS, "s3 x " + ACCOUNT)
                .map(one -> one.split(" ")).map(one -> forService(topic, one[0], "sns:Publish",
                        "arn:aws:sns:eu-west-1:111122223333:build-failures", one[1], one[2])).toList();
        assertEquals(List.of(Decision.allowed, Decision.allowed, Decision.implicitDeny, Decision.implicitDeny,
                Decision.implicitDeny), decisions);
    }

    // The independent evaluator

    @Test
    @Order(Integer.MAX_VALUE)
    void anIndependentEvaluatorDecidesTheSame() throws Exception {
        assertTrue(SIMULATIONS.size() > 500, "the other tests come first");
        var decisions = IndependentEvaluator.decide(SIMULATIONS);
        var differences = new ArrayList<String>();
        for (var i = 0; i < decisions.size(); i++) {
            if (!decisions.get(i).equals(DECISIONS.get(i).name())) {
                differences.add("here " + DECISIONS.get(i) + ", there " + decisions.get(i) + ": " + SIMULATIONS.get(i));
            }
        }
        assertEquals(List.of(), differences.subList(0, Math.min(3, differences.size())),
                differences.size() + " differ of " + decisions.size());
    }
}
