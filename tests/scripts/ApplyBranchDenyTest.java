import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Call;
import localaws.Fault;
import localaws.Iam;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.iam.IamClient;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ApplyBranchDenyTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String NAME = "codecommit-branch-deny-eu-west-1";
    static final String MANAGED = "policy/" + NAME;
    static final String ARN = "arn:aws:iam::111122223333:" + MANAGED;
    static final Set<String> WRITES = Set.of("CreateBranch", "CreateCommit", "CreateUnreferencedMergeCommit",
            "DeleteBranch", "DeleteFile", "GitPush",
            "MergeBranchesByFastForward",
            "MergeBranchesBySquash", "MergeBranchesByThreeWay", "MergePullRequestByFastForward",
            "MergePullRequestBySquash", "MergePullRequestByThreeWay", "PutFile");
    static final Set<String> REPOSITORY_WRITES = Set.of("BatchDisassociateApprovalRuleTemplateFromRepositories",
            "DeletePullRequestApprovalRule", "DeleteRepository", "DisassociateApprovalRuleTemplateFromRepository",
            "OverridePullRequestApprovalRules", "UpdateDefaultBranch", "UpdatePullRequestApprovalRuleContent",
            "UpdateRepositoryEncryptionKey", "UpdateRepositoryName");
    static final Set<String> TEMPLATE_WRITES = Set.of("DeleteApprovalRuleTemplate",
            "UpdateApprovalRuleTemplateContent", "UpdateApprovalRuleTemplateDescription",
            "UpdateApprovalRuleTemplateName");
    static final List<String> SIDS = List.of("ProtectBranches", "ProtectRepositories", "ProtectTemplates");
    /** Branches of a request that none of the tests protects. */
    static final String FREE = "['refs/heads/unprotected','refs/heads/x','refs/heads/0/1',"
            + "'refs/heads/another-unprotected-branch']";
    static final String OTHERS_DENY = """
            {"Version": "2012-10-17",
             "Statement": {"Sid": "NoPush", "Effect": "Deny", "Action": "codecommit:GitPush", "Resource": "*"}}""";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    final LocalAws aws = LocalAws.start();
    final Iam.Principal developer = aws.iam.createRole("team/Developer");
    final Iam.Principal alice = aws.iam.createUser("alice");
    final Iam.Principal developers = aws.iam.createGroup("Developers", "alice");

    @BeforeEach
    void use() {
        Script.use(aws);
        developer.attached.add("aws:policy/AdministratorAccess");
        aws.codecommit.createRepository("payments");
        aws.codecommit.createRepository("orders");
        aws.onCall(ALL::add);
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    static Script.Run run(String... args) {
        return Script.run(new ApplyBranchDeny().commandLine(), args);
    }

    /** For main of payments and the role Developer, if nothing else is said. */
    static Script.Run apply(String... more) {
        return run(Stream
                .concat(Stream.of("--branches", "main", "--repository-names", "payments", "--role-names", "Developer"),
                        Arrays.stream(more))
                .toArray(String[]::new));
    }

    static JsonNode policy(String document) throws Exception {
        return JSON.readTree(document);
    }

    static List<String> texts(JsonNode array) {
        return array.valueStream().map(JsonNode::asText).toList();
    }

    static List<String> sids(JsonNode statements) {
        return statements.valueStream().map(statement -> statement.path("Sid").asText()).toList();
    }

    static Set<String> names(JsonNode actions) {
        return Set.copyOf(texts(actions).stream().map(action -> action.replace("codecommit:", "")).toList());
    }

    /**
     * What was simulated for a request, for the policy's repositories.
     *
     * @param reference as JSON: a ref, a list of refs, or null
     */
    static JsonNode simulated(Script.Run run, String reference) {
        return simulated(run, reference, "");
    }

    static JsonNode simulated(Script.Run run, String reference, String repository) {
        return run.json().at("/policies/0/simulated").valueStream()
                .filter(c -> c.path("reference").toString().equals(reference.replace('\'', '"'))
                        && c.path("repository").asText().equals(repository))
                .findFirst().orElseThrow();
    }

    @Test
    void putsAnInlinePolicyOnARoleAndProvesIt() throws Exception {
        var run = apply();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals("", run.err());
        assertEquals("arn:aws:iam::111122223333:role/team/Developer", run.json().at("/policies/0/principal").asText());
        assertEquals(NAME, run.json().at("/policies/0/policyName").asText());
        var statements = policy(developer.inline.get(NAME)).path("Statement");
        assertEquals(SIDS, sids(statements));
        for (var statement : statements) {
            assertEquals("Deny", statement.path("Effect").asText());
        }
        assertEquals(List.of("arn:aws:codecommit:eu-west-1:111122223333:payments"),
                texts(statements.at("/0/Resource")));
        assertEquals(statements.at("/0/Resource"), statements.at("/1/Resource"));
        assertEquals("*", statements.at("/2/Resource").asText());
        assertEquals(JSON.readTree("{\"ForAnyValue:StringLike\": {\"codecommit:References\": [\"refs/heads/main\"]}, "
                + "\"Null\": {\"codecommit:References\": \"false\"}}"), statements.at("/0/Condition"));
        assertEquals(1, statements.findValues("Condition").size());

        assertEquals(WRITES, names(simulated(run, "'refs/heads/main'").path("explicitDeny")));
        assertEquals(WRITES,
                names(simulated(run, "['refs/heads/unprotected','refs/heads/main']").path("explicitDeny")));
        assertEquals(WRITES, names(simulated(run, "'refs/heads/unprotected'").path("allowed")));
        assertEquals(WRITES, names(simulated(run, FREE).path("allowed")));
        assertEquals(WRITES, names(simulated(run, "null").path("allowed")));
        assertEquals(REPOSITORY_WRITES, names(simulated(run, "null").path("explicitDeny")));
        assertEquals(TEMPLATE_WRITES, names(simulated(run, "null", "*").path("explicitDeny")));
        var another = simulated(run, "'refs/heads/main'",
                "arn:aws:codecommit:eu-west-1:111122223333:payments-not-this-one");
        assertEquals(22, another.path("allowed").size());
        assertEquals("aws iam delete-role-policy --role-name Developer --policy-name " + NAME + " --region eu-west-1",
                run.json().path("undo").asText());
    }

    @Test
    void aSecondRunChangesNothingAndProvesItAgain() {
        for (var arguments : List.of(List.of(), List.of("--managed", "--policy-name", "other", "--group-names",
                "Developers", "--user-names", "alice"))) {
            assertEquals("created", apply(arguments.toArray(String[]::new)).status());
            aws.clearCalls();
            var second = apply(arguments.toArray(String[]::new));
            Script.assertUnchanged(second, aws);
            assertEquals(WRITES, names(simulated(second, "'refs/heads/main'").path("explicitDeny")));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "--managed"})
    void aDryRunReadsOnlyAndPrintsThePolicyAndTheSimulation(String more) {
        var arguments = Stream.of("--dry-run", more).filter(a -> !a.isEmpty()).toArray(String[]::new);
        var run = apply(arguments);
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("would-create", run.status());
        assertEquals("would-create", run.json().at("/policies/0/status").asText());
        assertEquals(SIDS, sids(run.json().at("/policies/0/policy/Statement")));
        assertEquals(WRITES, names(simulated(run, "'refs/heads/main'").path("explicitDeny")));
        assertEquals(WRITES, names(simulated(run, "'refs/heads/unprotected'").path("allowed")));
        assertFalse(run.json().has("undo"));
        Script.assertReadsOnly(aws);
        apply(more.isEmpty() ? new String[0] : new String[] {more});
        aws.clearCalls();
        assertEquals("unchanged", apply(arguments).status());
        var update = Script.run(new ApplyBranchDeny().commandLine(),
                Stream.concat(Stream.of("--branches", "main", "dev", "--repository-names", "payments", "--role-names",
                        "Developer"), Arrays.stream(arguments))
                .toArray(String[]::new));
        assertEquals("would-update", update.status());
        assertEquals("would-delete", apply("--remove", "--dry-run").status());
        Script.assertReadsOnly(aws);
    }

    @Test
    void protectsPatternsInAllRepositories() throws Exception {
        var run = run("--branches", "main", "release/*", "v?", "--branches", "main", "--all-repositories",
                "--role-names", "Developer");
        assertEquals(0, run.exitCode(), run.err());
        var statements = policy(developer.inline.get(NAME)).path("Statement");
        assertEquals(List.of("refs/heads/main", "refs/heads/release/*", "refs/heads/v?"),
                texts(statements.at("/0/Condition/ForAnyValue:StringLike/codecommit:References")));
        assertEquals(List.of("arn:aws:codecommit:eu-west-1:111122223333:*"), texts(statements.at("/0/Resource")));
        assertEquals(WRITES, names(simulated(run, "'refs/heads/release/x'").path("explicitDeny")));
        assertEquals(WRITES, names(simulated(run, "'refs/heads/vx'").path("explicitDeny")));
        assertEquals(List.of(), aws.calls().stream().filter(c -> c.name().startsWith("codecommit:")).toList());
        var everything = run("--branches", "*", "--all-repositories", "--role-names", "Developer");
        assertEquals("updated", everything.status(), everything.err());
        assertEquals(List.of("\"refs/heads/x\"", "[\"refs/heads/x\"]", "null", "null"),
                everything.json().at("/policies/0/simulated").valueStream().map(c -> c.path("reference").toString())
                        .toList());
    }

    @Test
    void buildsArnsOfTheCallersPartition() throws Exception {
        for (var region : List.of("cn-north-1", "us-gov-west-1")) {
            var partition = region.startsWith("cn") ? "aws-cn" : "aws-us-gov";
            aws.codecommit.createRepository(region, "payments");
            var run = apply("--region", region);
            assertEquals(0, run.exitCode(), run.err());
            assertEquals("arn:" + partition + ":codecommit:" + region + ":111122223333:payments",
                    policy(developer.inline.get("codecommit-branch-deny-" + region)).at("/Statement/0/Resource/0")
                            .asText());
            assertEquals("created", apply("--region", region, "--managed", "--policy-name", partition).status());
            assertEquals("unchanged", apply("--region", region, "--managed", "--policy-name", partition).status());
        }
    }

    @Test
    void allowsAdministrationIfAsked() throws Exception {
        apply();
        var run = apply("--allow-administration");
        assertEquals("updated", run.status(), run.err());
        assertEquals(List.of("ProtectBranches"), sids(policy(developer.inline.get(NAME)).path("Statement")));
        assertEquals(22, simulated(run, "null").path("allowed").size());
        assertEquals(TEMPLATE_WRITES, names(simulated(run, "null", "*").path("allowed")));
        assertEquals("unchanged", apply("--allow-administration").status());
        assertTrue(
                run.json().path("undo").asText()
                        .startsWith("aws iam put-role-policy --role-name Developer --policy-name " + NAME
                                + " --policy-document '{"),
                run.out());
    }

    static final Set<String> PULL_REQUEST_MERGES = Set.of("MergePullRequestByFastForward", "MergePullRequestBySquash",
            "MergePullRequestByThreeWay");

    static Set<String> withoutMerges() {
        return WRITES.stream().filter(action -> !PULL_REQUEST_MERGES.contains(action)).collect(Collectors.toSet());
    }

    /** The option holds for one run, as --allow-administration does. */
    @ParameterizedTest
    @ValueSource(strings = {"", "--managed"})
    void mergesOfPullRequestsAreAllowedIfAskedAndDeniedAgainIfNot(String more) {
        var managed = more.isEmpty() ? new String[0] : new String[] {more};
        var option = Stream.concat(Stream.of("--allow-pull-request-merges"), Stream.of(managed)).toArray(String[]::new);
        assertEquals("created", apply(managed).status());
        var run = apply(option);
        assertEquals("updated", run.status(), run.err());
        assertEquals("", run.err());
        for (var reference : List.of("'refs/heads/main'", "['refs/heads/unprotected','refs/heads/main']")) {
            assertEquals(withoutMerges(), names(simulated(run, reference).path("explicitDeny")));
            assertEquals(PULL_REQUEST_MERGES, names(simulated(run, reference).path("allowed")));
        }
        assertEquals(WRITES, names(simulated(run, "'refs/heads/unprotected'").path("allowed")));
        assertEquals(REPOSITORY_WRITES, names(simulated(run, "null").path("explicitDeny")),
                "what weakens approvals stays denied");
        assertEquals(TEMPLATE_WRITES, names(simulated(run, "null", "*").path("explicitDeny")));
        aws.clearCalls();
        Script.assertUnchanged(apply(option), aws);
        var off = apply(managed);
        assertEquals("updated", off.status(), off.err());
        assertEquals(WRITES, names(simulated(off, "'refs/heads/main'").path("explicitDeny")));
        assertEquals("unchanged", apply(managed).status());
        apply(option);
        assertEquals("deleted", apply("--remove").status());
    }

    @Test
    void mergesThatAnybodyMayOverrideAreTold() {
        var run = apply("--allow-pull-request-merges", "--allow-administration");
        assertEquals("created", run.status(), run.err());
        assertEquals("apply-branch-deny: with --allow-administration, approval rules can be overridden and their "
                + "templates changed: then nothing asks for approvals\n", run.err());
        assertEquals(22, simulated(run, "null").path("allowed").size());
    }

    /** 973 characters for main, of a role's 10,240. */
    @Test
    void theOptionCostsEightCharacters() {
        apply("--allow-pull-request-merges");
        assertEquals(973, developer.inline.get(NAME).length());
    }

    @Test
    void anotherPolicyThatDeniesMergesIsNamed() {
        apply("--policy-name", "older");
        var run = apply("--allow-pull-request-merges");
        assertEquals("created", run.status(), run.err());
        assertTrue(run.err().contains("other policies deny more than this one does: role_Developer_older"), run.err());
    }

    @Test
    void worksForGroupsAndUsersInOneRun() {
        var run = run("--branches", "main", "--repository-names", "payments", "orders", "--group-names", "Developers",
                "--user-names", "alice", "operator",
                "--role-names", "Developer");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(4, run.json().path("policies").size());
        for (var each : List.of(developer, developers, alice)) assertEquals(Set.of(NAME), each.inline.keySet());
        assertEquals(List.of("role/Developer", "group/Developers", "user/alice", "user/operator"),
                run.json().path("changes").valueStream().map(c -> c.path("resource").asText()).toList());
        assertEquals(WRITES, names(run.json().at("/policies/2/simulated/0/explicitDeny")));
        assertEquals(WRITES, names(run.json().at("/policies/2/simulated/2/implicitDeny")),
                "nothing allows alice anything");
        var removed = run("--remove", "--group-names", "Developers", "--user-names", "alice", "operator",
                "--role-names", "Developer");
        assertEquals("deleted", removed.status(), removed.err());
        for (var each : List.of(developer, developers, alice)) assertEquals(Set.of(), each.inline.keySet());
    }

    @Test
    void findsTheSameWhetherTheSimulatorGroupsResourcesOrNot() {
        var arguments = new String[] {"--branches", "main", "--repository-names", "payments", "orders", "--role-names",
                "Developer", "--dry-run"};
        var together = run(arguments);
        aws.iam.simulatorGroupsResources = false;
        assertEquals(together.json(), run(arguments).json());
    }

    @Test
    void oneManagedPolicyServesAll() throws Exception {
        var run = apply("--managed", "--group-names", "Developers", "--user-names", "alice");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(ARN, run.json().at("/policies/2/policyArn").asText());
        for (var each : List.of(developer, developers, alice)) {
            assertTrue(each.attached.contains(MANAGED));
            assertEquals(Set.of(), each.inline.keySet());
        }
        assertEquals(SIDS, sids(policy(aws.iam.policy(MANAGED).versions.get("v1")).path("Statement")));
        assertTrue(run.json().path("undo").asText()
                .endsWith("aws iam delete-policy --policy-arn " + ARN + " --region eu-west-1"), run.out());
        assertEquals(3, run.json().path("undo").asText().split("detach-").length - 1);

        aws.iam.createRole("Visitor").attached.add(MANAGED);
        for (var i = 2; i <= 7; i++) {
            var update = run("--branches", "main", "b" + i, "--repository-names", "payments", "--role-names",
                    "Developer", "--managed");
            assertEquals("updated", update.status(), update.err());
            assertTrue(update.err().contains(
                    "changes for others as well who have it attached: group/Developers, role/Visitor, user/alice"),
                    update.err());
            assertEquals("v" + i, aws.iam.policy(MANAGED).defaultVersion);
            var undo = "set-default-policy-version --policy-arn " + ARN + " --version-id v" + (i - 1);
            assertTrue(update.json().path("undo").asText().contains(undo), update.out());
        }
        assertEquals(List.of("v3", "v4", "v5", "v6", "v7"), List.copyOf(aws.iam.policy(MANAGED).versions.keySet()),
                "five at most: the oldest go");

        var kept = apply("--remove", "--group-names", "Developers", "--user-names", "alice");
        assertEquals("deleted", kept.status());
        assertTrue(kept.err().contains(ARN + ": kept, because it is attached to role/Visitor"), kept.err());
        assertFalse(developer.attached.contains(MANAGED) || developers.attached.contains(MANAGED)
                || alice.attached.contains(MANAGED));
        var gone = run("--remove", "--role-names", "Visitor");
        assertEquals("deleted", gone.status(), gone.err());
        assertNull(aws.iam.policy(MANAGED));
        aws.clearCalls();
        assertEquals("unchanged", run("--remove", "--role-names", "Visitor", "Developer").status());
        Script.assertReadsOnly(aws);
    }

    @Test
    void aDefaultVersionThatIsTheOldestIsKept() {
        apply("--managed");
        var policy = aws.iam.policy(MANAGED);
        for (var i = 2; i <= 5; i++) policy.addVersion(OTHERS_DENY);
        var run = run("--branches", "dev", "--repository-names", "payments", "--role-names", "Developer", "--managed");
        assertEquals("updated", run.status(), run.err());
        assertTrue(policy.versions.containsKey("v1") && !policy.versions.containsKey("v2"),
                policy.versions.keySet().toString());
    }

    @Test
    void aManagedPolicyReplacesTheInlineOneAndTheOtherWayRoundIsSaid() {
        apply();
        var managed = apply("--managed");
        assertEquals("created", managed.status(), managed.err());
        assertEquals(Set.of(), developer.inline.keySet());
        assertTrue(developer.attached.contains(MANAGED));
        var inline = apply();
        assertTrue(inline.err().contains("role/Developer: has " + ARN + " as well; --managed changes that one"),
                inline.err());
        var removed = apply("--remove");
        assertEquals("deleted", removed.status());
        assertEquals(Set.of("aws:policy/AdministratorAccess"), developer.attached);
        assertEquals(Set.of(), developer.inline.keySet());
        assertNull(aws.iam.policy(MANAGED));
    }

    @Test
    void countsTheQuotaBeforeItPuts() {
        alice.inline.put("theirs", IamPolicies.ofSize(1500));
        alice.inline.put("more", IamPolicies.ofSize(300));
        aws.clearCalls();
        var run = run("--branches", "main", "--repository-names", "payments", "--user-names", "alice");
        assertEquals(1, run.exitCode());
        assertTrue(run.err().matches(
                "apply-branch-deny: user/alice: its inline policies together would have \\d{4} characters, of at "
                        + "most 2048: use --managed\n"),
                run.err());
        assertEquals("", run.out());
        Script.assertReadsOnly(aws);
        assertEquals("created",
                run("--branches", "main", "--repository-names", "payments", "--user-names", "alice", "--managed")
                        .status());
    }

    @Test
    void countsItsOwnPolicyOnce() {
        var arguments = new String[] {"--branches", "main", "--repository-names", "payments", "--user-names", "alice"};
        assertEquals("created", run(arguments).status());
        alice.inline.put("theirs", IamPolicies.ofSize(2048 - alice.inline.get(NAME).length()));
        var shorter = run(
                Stream.concat(Arrays.stream(arguments), Stream.of("--allow-administration")).toArray(String[]::new));
        assertEquals("updated", shorter.status(), shorter.err());
        assertEquals("updated", run(arguments).status(), "to the last character");
    }

    /** What fitted before the policy knew lists and approvals (965 characters for this one) has to fit still. */
    @Test
    void isNoLargerThanThePolicyOfVersion1() {
        apply();
        assertEquals(965, developer.inline.get(NAME).length());
    }

    /** A branch's name pads the policy to the quota, and then to one character more. */
    @ParameterizedTest
    @CsvSource({"--user-names, alice, 2048,", "--group-names, Developers, 5120,", "--role-names, Developer, 10240,",
            "--user-names, alice, 6144, --managed"})
    void takesAPolicyThatIsAsLargeAsTheQuota(String option, String principal, int quota, String managed) {
        var branches = new ArrayList<>(List.of("main"));
        var left = quota - 965;
        for (; left > 230; left -= 214) {
            branches.add("%03d".formatted(branches.size()) + "x".repeat(197));
        }
        branches.add("y".repeat(left - 14));
        var run = run(arguments(branches, option, principal, managed));
        assertEquals("created", run.status(), run.err());
        var document = managed == null ? aws.iam.find(option.substring(2).replace("-names", "/") + principal).inline
                .get(NAME) : aws.iam.policy(MANAGED).versions.get("v1");
        assertEquals(quota, document.length());

        branches.set(branches.size() - 1, "y".repeat(left - 13));
        aws.clearCalls();
        Script.assertRefused(run(arguments(branches, option, principal, managed)),
                managed == null ? "inline policies hold " + quota + ": use --managed, or fewer --branches"
                        : "a managed policy holds 6144: use fewer --branches",
                aws);
    }

    static String[] arguments(List<String> branches, String... more) {
        return Stream.of(Stream.of("--repository-names", "payments", "--branches"), branches.stream(),
                Stream.of(more).filter(word -> word != null)).flatMap(words -> words).toArray(String[]::new);
    }

    @Test
    void mendsWhatItOwnsAndKeepsWhatOthersAdded() throws Exception {
        apply();
        var document = (ObjectNode) policy(developer.inline.get(NAME));
        document.withArray("Statement").remove(1);
        ((ObjectNode) document.at("/Statement/0")).putArray("Action").add("codecommit:GitPush");
        document.withArray("Statement").addObject().put("Sid", "Theirs").put("Effect", "Deny").put("Action", "s3:*")
                .put("Resource", "*");
        developer.inline.put(NAME, document.toString());
        developer.inline.put("theirs", OTHERS_DENY);
        var run = apply();
        assertEquals("updated", run.status(), run.err());
        assertTrue(run.err().contains("kept statements of " + NAME + " that are not this script's: Theirs\n"),
                run.err());
        assertEquals(1, run.err().lines().filter(line -> line.contains("kept")).count(), run.err());
        var statements = policy(developer.inline.get(NAME)).path("Statement");
        assertEquals(Set.of("Theirs", "ProtectBranches", "ProtectRepositories", "ProtectTemplates"),
                Set.copyOf(sids(statements)));
        assertEquals(7, statements.valueStream().filter(s -> s.path("Sid").asText().equals("ProtectBranches"))
                .findFirst().orElseThrow().path("Action").size());
        assertEquals("unchanged", apply().status());
        assertEquals("deleted", apply("--remove").status());
        assertEquals("Theirs", policy(developer.inline.get(NAME)).at("/Statement/0/Sid").asText());
        assertEquals(OTHERS_DENY, developer.inline.get("theirs"));
    }

    @Test
    void keepsAManagedPolicyThatOthersAddedTo() throws Exception {
        apply("--managed");
        var policy = aws.iam.policy(MANAGED);
        var document = (ObjectNode) policy(policy.versions.get("v1"));
        document.withArray("Statement").addObject().put("Sid", "Theirs").put("Effect", "Deny").put("Action", "s3:*")
                .put("Resource", "*");
        policy.versions.put("v1", document.toString());
        assertEquals("unchanged", apply("--managed").status());
        var update = apply("--managed", "--allow-administration");
        assertEquals("updated", update.status(), update.err());
        assertEquals(1, update.err().lines()
                .filter(line -> line.contains("kept statements") && line.endsWith(": Theirs")).count(), update.err());
        assertTrue(policy.versions.get("v2").contains("Theirs"));
        var removed = apply("--remove");
        assertEquals("deleted", removed.status());
        assertTrue(removed.err().contains("kept, because it has statements that are not this script's"), removed.err());
        assertFalse(developer.attached.contains(MANAGED));
        assertEquals(policy, aws.iam.policy(MANAGED));
    }

    @Test
    void leavesPoliciesAloneThatOnlyHaveItsName() {
        developer.inline.put(NAME, OTHERS_DENY);
        var run = apply();
        assertEquals(1, run.exitCode());
        assertTrue(
                run.err()
                        .contains("role/Developer: there is a policy " + NAME
                                + " already, which is not this script's; use another --policy-name"),
                run.err());
        var removal = apply("--remove");
        assertEquals("unchanged", removal.status());
        assertTrue(removal.err().contains("left its inline policy " + NAME + " alone"), removal.err());
        assertEquals(OTHERS_DENY, developer.inline.get(NAME));
        developer.inline.clear();
        aws.iam.createPolicy(NAME, OTHERS_DENY);
        developer.attached.add(MANAGED);
        assertEquals(1, apply("--managed").exitCode());
        assertEquals("unchanged", apply("--remove").status());
        assertTrue(developer.attached.contains(MANAGED));
        assertEquals(1, aws.iam.policy(MANAGED).versions.size());
        assertEquals("created", apply("--managed", "--policy-name", "mine").status());
    }

    @Test
    void waitsUntilTheSimulatorShowsIt() {
        aws.iam.simulatorLag = 3;
        var run = apply();
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(
                run.err().contains(
                        "role/Developer: attached; waiting for IAM's simulator to show it, 26 decisions to go ..."),
                run.err());
        assertEquals(WRITES, names(simulated(run, "'refs/heads/main'").path("explicitDeny")));
    }

    @Test
    void namesThePolicyThatIsAttachedButDoesNotShow() {
        aws.iam.simulatorLag = 1000;
        var script = new ApplyBranchDeny();
        script.proofPatience = Duration.ofMillis(10);
        var run = Script.run(script.commandLine(), "--branches", "main", "--repository-names", "payments",
                "--role-names", "Developer");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().contains("the policy " + NAME + " is attached, but after")
                && run.err().contains("codecommit:CreateBranch on refs/heads/main of payments is allowed, and 38 more"),
                run.err());
        assertTrue(run.err().contains("./jbang apply-branch-deny --remove --role-names Developer --policy-name " + NAME
                + " --region eu-west-1"), run.err());
        aws.iam.simulatorLag = 0;
        assertEquals("deleted",
                run("--remove", "--role-names", "Developer", "--policy-name", NAME, "--region", "eu-west-1").status());
    }

    /** With a policy that denies too little or too much, nothing is attached. */
    @ParameterizedTest
    @CsvSource({"action missing, refs/heads/main of payments is allowed",
            "operator for one value, refs/heads/unprotected with refs/heads/main of payments is allowed",
            "branch too many, refs/heads/unprotected of payments is explicitDeny",
            "absent key, no branch of payments is explicitDeny",
            "all repositories, of payments-not-this-one is explicitDeny",
            "merges too many, MergePullRequestByFastForward on refs/heads/main of payments is explicitDeny",
            "no repository statement, no branch of payments is allowed",
            "no template statement, no branch of * is allowed"})
    void attachesNothingThatTheSimulatorDoesNotConfirm(String fault, String complaint) {
        var script = new ApplyBranchDeny() {
            @Override
            ObjectNode policy(UnaryOperator<String> repositoryArn) {
                var policy = super.policy(repositoryArn);
                var statements = policy.withArray("Statement");
                var branches = (ObjectNode) statements.get(0);
                var condition = (ObjectNode) branches.path("Condition");
                switch (fault) {
                    case "action missing" -> branches.withArray("Action").remove(1);
                    case "operator for one value" ->
                        condition.set("StringLikeIfExists", condition.remove("ForAnyValue:StringLike"));
                    case "branch too many" -> ((ObjectNode) condition.path("ForAnyValue:StringLike"))
                            .withArray("codecommit:References").add("refs/heads/unprotected");
                    case "absent key" -> {
                        condition.set("ForAnyValue:StringLikeIfExists", condition.remove("ForAnyValue:StringLike"));
                        condition.remove("Null");
                    }
                    case "merges too many" -> branches.withArray("Action").add("codecommit:Merge*");
                    case "all repositories" -> branches.put("Resource", "*");
                    case "no repository statement" -> statements.remove(1);
                    case "no template statement" -> statements.remove(2);
                    default -> throw new IllegalArgumentException(fault);
                }
                return policy;
            }
        };
        for (var more : List.of("--verbose", "--managed")) {
            aws.clearCalls();
            script.allowPullRequestMerges = fault.equals("merges too many");
            var run = Script.run(script.commandLine(), "--branches", "main", "--repository-names", "payments",
                    "--role-names", "Developer", more);
            assertEquals(1, run.exitCode(), run.out());
            assertTrue(run.err().contains("role/Developer: nothing was attached, because with the policy codecommit:"),
                    run.err());
            assertTrue(run.err().contains(complaint), run.err());
            Script.assertReadsOnly(aws);
        }
    }

    @Test
    void saysWhatOtherPoliciesDeny() {
        developer.inline.put("theirs", OTHERS_DENY);
        var run = apply();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertTrue(
                run.err()
                        .contains("role/Developer: other policies deny more than this one does: role_Developer_theirs"),
                run.err());
        assertEquals(List.of("role_Developer_theirs"), texts(run.json().at("/policies/0/deniedByOthers")));
        assertEquals(Set.of("GitPush"), names(simulated(run, "'refs/heads/unprotected'").path("explicitDeny")));
    }

    @Test
    void anActionThatTheSimulatorDoesNotKnowIsNamed() {
        aws.iam.unknownToSimulator.add("codecommit:GitPush");
        var run = apply();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("apply-branch-deny: IAM's simulator does not know codecommit:GitPush: not simulated, so not"
                + " proved\n", run.err());
        assertEquals(12, simulated(run, "'refs/heads/main'").path("explicitDeny").size());
        assertTrue(developer.inline.get(NAME).contains("codecommit:GitPush"));
    }

    @Test
    void whatTheSimulatorRefusesForAnotherReasonIsNoUnknownAction() {
        aws.inject(Fault.on("iam:SimulatePrincipalPolicy").always().error(400, "InvalidInput", "Invalid input"));
        var run = apply();
        assertEquals(1, run.exitCode(), run.out());
        assertTrue(run.err().startsWith("apply-branch-deny: role/Developer: InvalidInput: Invalid input"), run.err());
        assertEquals(1, run.err().lines().count(), run.err());
        Script.assertReadsOnly(aws);
    }

    @Test
    void onePrincipalThatFailsDoesNotHideTheOthers() {
        var run = run("--branches", "main", "--repository-names", "payments", "--role-names", "Nobody", "Developer",
                "--user-names", "alice", "--managed");
        assertEquals(3, run.exitCode());
        assertEquals(List.of("failed", "created", "created"),
                run.json().path("policies").valueStream().map(p -> p.path("status").asText()).toList());
        assertEquals("created", run.status());
        assertTrue(run.err().startsWith("apply-branch-deny: role/Nobody: NoSuchEntity: "), run.err());
        assertTrue(developer.attached.contains(MANAGED));
        var planned = run("--branches", "dev", "--repository-names", "payments", "--role-names", "Nobody", "Developer",
                "--managed", "--dry-run");
        assertEquals(3, planned.exitCode());
        assertEquals(List.of("failed", "would-update"),
                planned.json().path("policies").valueStream().map(p -> p.path("status").asText()).toList());
        var alone = run("--branches", "main", "--repository-names", "payments", "--role-names", "Nobody");
        assertEquals(1, alone.exitCode());
        assertEquals("", alone.out());
        assertEquals(1, alone.err().lines().count(), alone.err());
        assertEquals(1,
                run("--branches", "main", "--repository-names", "payments", "--role-names", "Nobody", "NobodyElse")
                        .exitCode());
    }

    @Test
    void refusesRepositoriesThatAreNotThere() {
        var run = run("--branches", "main", "--repository-names", "payments", "paiments", "--role-names", "Developer");
        assertEquals(1, run.exitCode());
        assertEquals("apply-branch-deny: no such repository in eu-west-1: paiments\n", run.err());
        Script.assertReadsOnly(aws);
    }

    @Test
    void whatIamRefusesIsOneLineAndSaysWhatWasDoneBefore() {
        aws.iam.createRole("aws-service-role/x.amazonaws.com/AWSServiceRoleForX");
        var linked = run("--branches", "main", "--repository-names", "payments", "--role-names", "AWSServiceRoleForX");
        assertEquals(1, linked.exitCode());
        assertTrue(linked.err().startsWith("apply-branch-deny: role/AWSServiceRoleForX: UnmodifiableEntity: "),
                linked.err());
        for (var i = 0; i < 9; i++) {
            aws.iam.createPolicy("p" + i, OTHERS_DENY.replace("codecommit:GitPush", "s3:*"));
            developer.attached.add("policy/p" + i);
        }
        var full = apply("--managed");
        assertEquals(1, full.exitCode());
        assertEquals("", full.out());
        assertEquals(1, full.err().lines().count(), full.err());
        assertFalse(full.err().contains("same command again"), full.err());
        assertTrue(full.err().startsWith("apply-branch-deny: role/Developer: " + ARN
                + ": LimitExceeded: Cannot exceed quota for PoliciesPerRole: 10"), full.err());
        assertTrue(full.err().endsWith("; changed before that: policy; this takes it back: aws iam delete-policy "
                + "--policy-arn " + ARN + " --region eu-west-1\n"), full.err());
        developer.attached.remove("policy/p0");
        assertEquals("created", apply("--managed").status());
    }

    /** IAM refuses to change such a role, so its permission set is named before anything is tried. */
    @Test
    void saysWhatIsNoLongerProtected() {
        for (var managed : List.of(List.<String>of(), List.of("--managed"))) {
            var wide = Stream.concat(Stream.of("--branches", "main", "release/*", "--all-repositories",
                    "--role-names", "Developer"), managed.stream()).toList();
            assertEquals(0, run(wide.toArray(String[]::new)).exitCode());
            var narrow = new ArrayList<>(wide);
            narrow.remove("release/*");
            var run = run(narrow.toArray(String[]::new));
            assertTrue(run.err().contains("codecommit-branch-deny-eu-west-1 protects no longer: refs/heads/release/*;"
                    + " use another --policy-name to have both"), run.err());
            assertFalse(run(wide.toArray(String[]::new)).err().contains("no longer"));
        }
    }

    @Test
    void aRoleOfIdentityCenterIsChangedByItsPermissionSet() {
        var name = "AWSReservedSSO_Developer_0123456789abcdef";
        var role = aws.iam.createRole("aws-reserved/sso.amazonaws.com/eu-west-1/" + name);
        var apply = List.of("--branches", "main", "--repository-names", "payments", "--role-names", name);
        for (var more : List.of(List.<String>of(), List.of("--dry-run"), List.of("--managed"))) {
            var run = run(Stream.concat(apply.stream(), more.stream()).toArray(String[]::new));
            assertEquals(1, run.exitCode(), run.out());
            assertTrue(run.err().startsWith("apply-branch-deny: role/" + name + ": only its permission set"),
                    run.err());
            assertTrue(run.err().contains("--print /policies/0/policy"), run.err());
            assertFalse(run.err().contains("same command again"), run.err());
            Script.assertReadsOnly(aws);
        }
        assertEquals("created", apply("--managed").status());
        role.attached.add(MANAGED); // as Identity Center does for a permission set that names the policy
        aws.clearCalls();
        var proved = run(Stream.concat(apply.stream(), Stream.of("--managed")).toArray(String[]::new));
        assertEquals("unchanged", proved.status(), proved.err());
        var removal = run("--remove", "--role-names", name);
        assertEquals(1, removal.exitCode(), removal.out());
        assertTrue(removal.err().contains("only its permission set"), removal.err());
        Script.assertReadsOnly(aws);
    }

    /** Else the next principal would find the policy of whoever was faster, and change it. */
    @Test
    void aManagedPolicyThatSomeoneElseCreatesMeanwhileIsLeftAlone() {
        aws.iam.createRole("Second");
        var theirs = OTHERS_DENY.replace("NoPush", "ProtectBranches");
        var run = Gate.inStep(aws, call -> {
            ALL.add(call);
            // after the look for the policy, and before it is created
            if (call.name().equals("iam:GetRole") && aws.iam.policy(MANAGED) == null) {
                aws.iam.createPolicy(NAME, theirs);
            }
        }, () -> run("--branches", "main", "--repository-names", "payments", "--role-names", "Developer", "Second",
                "--managed"));
        assertEquals(1, run.exitCode(), run.out());
        for (var role : List.of("Developer", "Second")) {
            assertTrue(run.err().contains("apply-branch-deny: role/" + role + ": " + ARN + ": EntityAlreadyExists: "),
                    run.err());
        }
        assertTrue(run.err().contains("someone else created it in the meantime: the same command again"), run.err());
        assertEquals(1, aws.iam.policy(MANAGED).versions.size(), "someone else's policy is changed");
        assertEquals(Set.of("aws:policy/AdministratorAccess"), developer.attached);
    }

    @Test
    void aManagedPolicyThatCannotBeDeletedIsNamedBesideWhatWasTakenOff() {
        apply("--managed");
        aws.inject(Fault.on("iam:DeletePolicy").error(403, "AccessDenied", "not you"));
        var run = run("--remove", "--role-names", "Developer");
        assertEquals(3, run.exitCode(), run.err());
        assertEquals("deleted", run.status());
        assertEquals(List.of("deleted", "failed"),
                run.json().path("policies").valueStream().map(p -> p.path("status").asText()).toList());
        assertEquals(ARN, run.json().at("/policies/1/policyArn").asText());
        assertTrue(run.json().at("/policies/1/error").asText().startsWith(ARN + ": AccessDenied: not you"), run.out());
        assertTrue(run.err().contains("apply-branch-deny: " + ARN + ": AccessDenied: not you"), run.err());
        assertEquals(Set.of("aws:policy/AdministratorAccess"), developer.attached);
        assertEquals("deleted", run("--remove", "--role-names", "Developer").status());
        assertEquals(null, aws.iam.policy(MANAGED));
    }

    // Faults

    @ParameterizedTest
    @ValueSource(strings = {"sts:GetCallerIdentity", "codecommit:BatchGetRepositories", "iam:GetRole", "iam:GetPolicy",
            "iam:GetRolePolicy",
            "iam:ListRolePolicies", "iam:SimulatePrincipalPolicy",
            "iam:PutRolePolicy"})
    void throttlingIsSurvived(String call) {
        aws.inject(Fault.on(call).times(2).throttle());
        var run = apply();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
    }

    @ParameterizedTest
    @CsvSource({"sts:GetCallerIdentity", "codecommit:BatchGetRepositories", "iam:GetRole", "iam:GetPolicy",
            "iam:GetRolePolicy", "iam:ListRolePolicies",
            "iam:SimulatePrincipalPolicy", "iam:PutRolePolicy"})
    void anyOtherFaultLeavesNothingUnnamedAndTheNextRunFinishes(String call) {
        for (var fault : List.of(Fault.on(call).always().serverError(), Fault.on(call).always().cut(20),
                Fault.on(call).always().flip(1))) {
            developer.inline.clear();
            aws.clearFaults();
            aws.inject(fault);
            var run = apply();
            // An answer without content is right whatever comes with it: a put whose answer is spoilt has been done,
            // and is proved.
            if (run.exitCode() != 0 || !call.equals("iam:PutRolePolicy")) {
                assertEquals(1, run.exitCode(), run.err());
                assertEquals("", run.out());
                assertEquals(1, run.err().lines().count(), run.err());
            }
            if (!call.equals("iam:PutRolePolicy")) assertEquals(Set.of(), developer.inline.keySet());
            aws.clearFaults();
            assertEquals(0, apply().exitCode());
            assertEquals(Set.of(NAME), developer.inline.keySet());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"iam:PutRolePolicy", "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:AttachRolePolicy",
            "iam:DeletePolicyVersion",
            "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:DeletePolicy"})
    void aLostAnswerIsSuccess(String call) {
        aws.inject(Fault.on(call).loseAnswer());
        assertEquals("created", apply().status());
        assertEquals("created", apply("--managed").status());
        var policy = aws.iam.policy(MANAGED);
        for (var i = 2; i <= 5; i++) policy.addVersion(OTHERS_DENY);
        var update = run("--branches", "dev", "--repository-names", "payments", "--role-names", "Developer",
                "--managed");
        assertEquals("updated", update.status(), update.err());
        assertTrue(policy.versions.get(policy.defaultVersion).contains("refs/heads/dev"));
        var removed = apply("--remove");
        assertEquals("deleted", removed.status(), removed.err());
        assertEquals(Set.of("aws:policy/AdministratorAccess"), developer.attached);
        assertNull(aws.iam.policy(MANAGED));
        assertTrue(aws.calls().stream().anyMatch(c -> c.name().equals(call) && c.status() == 0), "the answer was lost");
    }

    @ParameterizedTest
    @ValueSource(strings = {"iam:CreatePolicy", "iam:AttachRolePolicy", "iam:GetPolicyVersion",
            "iam:ListEntitiesForPolicy", "iam:ListPolicyVersions",
            "iam:CreatePolicyVersion"})
    void aManagedPolicyThatCouldNotBeFinishedIsNamedAndTheNextRunFinishes(String call) {
        var update = call.contains("Version") || call.contains("Entities");
        if (update) apply("--managed");
        aws.inject(Fault.on(call).always().error(403, "AccessDenied", "not authorized"));
        var run = run("--branches", "dev", "--repository-names", "payments", "--role-names", "Developer", "--managed");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains("AccessDenied"), run.err());
        if (aws.iam.policy(MANAGED) != null) assertTrue(run.err().contains(ARN), run.err());
        aws.clearFaults();
        assertEquals(0,
                run("--branches", "dev", "--repository-names", "payments", "--role-names", "Developer", "--managed")
                        .exitCode());
        assertTrue(developer.attached.contains(MANAGED));
        assertTrue(aws.iam.policy(MANAGED).versions.get(aws.iam.policy(MANAGED).defaultVersion)
                .contains("refs/heads/dev"));
    }

    /** Someone else creates it between this run's look and its attempt. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aManagedPolicyThatSomeoneElseCreatesInTheMeantimeIsTakenIfItIsTheSame(boolean same) {
        var document = same ? apply("--managed", "--dry-run").json().at("/policies/0/policy").toString() : OTHERS_DENY;
        var script = new ApplyBranchDeny() {
            @Override
            void attach(Principal principal) {
                aws.iam.createPolicy(NAME, document);
                super.attach(principal);
            }
        };
        var run = Script.run(script.commandLine(), "--branches", "main", "--repository-names", "payments",
                "--role-names", "Developer", "--managed");
        assertEquals(Set.of("v1"), aws.iam.policy(MANAGED).versions.keySet());
        if (!same) {
            assertEquals(1, run.exitCode(), run.out());
            assertTrue(run.err().contains(ARN + ": EntityAlreadyExists"), run.err());
            assertFalse(developer.attached.contains(MANAGED));
            return;
        }
        assertEquals("created", run.status(), run.err());
        assertTrue(run.err().contains(ARN + ": someone else created it in the meantime"), run.err());
        assertTrue(developer.attached.contains(MANAGED));
        assertEquals("aws iam detach-role-policy --role-name Developer --policy-arn " + ARN + " --region eu-west-1",
                run.json().path("undo").asText(), "what someone else created stays");
    }

    @Test
    void theUndoOfADeletedPolicyTakesItsDescriptionAsItIs() {
        var document = apply("--managed", "--dry-run").json().at("/policies/0/policy");
        try (var iam = IamClient.builder().region(Region.EU_WEST_1).build()) {
            iam.createPolicy(r -> r.policyName(NAME).policyDocument(document.toString())
                    .description("file:///etc/hostname"));
        }
        var run = apply("--remove");
        assertEquals("deleted", run.status(), run.err());
        assertTrue(run.json().path("undo").asText().startsWith("aws iam create-policy --cli-input-json "
                + "'{\"Description\":\"file:///etc/hostname\",\"PolicyDocument\":\""), run.out());
    }

    @Test
    void aMistypedPrincipalDeletesNoPolicy() {
        aws.iam.createPolicy(NAME, apply("--managed", "--dry-run").json().at("/policies/0/policy").toString());
        assertEquals(1, run("--remove", "--role-names", "Develper").exitCode());
        assertEquals(1, aws.iam.policy(MANAGED).versions.size());
    }

    // Bad input

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', quoteCharacter = '\u0001', value = {
            "--branches|main|--all-repositories; use --role-names, --group-names or --user-names",
            "--branches|main|--role-names|Developer; such as --repository-names payments",
            "--all-repositories|--role-names|Developer; --branches main 'release/*'",
            "--branches|main|--all-repositories|--repository-names|payments|--role-names|Developer; mutually exclusive",
            "--branches|refs/heads/main|--all-repositories|--role-names|Developer; without refs/heads/",
            "--branches|feature/${user}|--all-repositories|--role-names|Developer; use ? in the place of $",
            "--branches|a..b|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|a b|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|a~1|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|a:b|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|[ab]|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|/main|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|main/|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|a//b|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|a/.b|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|main.lock|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|x@{1}|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|\u20ac|--all-repositories|--role-names|Developer; such as main or 'release/*'",
            "--branches|main|--repository-names|payments.git|--role-names|Developer; such as payments",
            "--branches|main|--repository-names|pay*|--role-names|Developer; such as payments",
            "--branches|main|--repository-names|arn:aws:codecommit:eu-west-1:111122223333:payments"
                    + "|--role-names|Developer; such as payments",
            "--branches|main|--all-repositories|--role-names|arn:aws:iam::111122223333:role/Developer; such as "
                    + "Developer",
            "--branches|main|--all-repositories|--role-names|team/Developer; without its path",
            "--branches|main|--all-repositories|--group-names|Dev elopers; such as Developers",
            "--branches|main|--all-repositories|--user-names|a/b; such as alice",
            "--branches|main|--all-repositories|--user-names|LONG65; such as alice",
            "--branches|main|--all-repositories|--role-names|Developer|--policy-name|a b; such as branch-deny",
            "--branches|main|--all-repositories|--role-names|Developer|--region|Ireland; eu-west-1",
            "--branches|main|--all-repositories|--role-names|Developer|--print|status; /status",
            "--branches|main|--all-repositories|--role-name|Developer; --role-names",
            "--branches|MANY40|--all-repositories|--user-names|alice; use --managed",
            "--branches|MANY120|--all-repositories|--group-names|Developers; use --managed",
            "--branches|MANY250|--all-repositories|--role-names|Developer|--managed; a managed policy holds 6144",
            "--branches|MANY250|--all-repositories|--role-names|Developer; use --managed",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        var words = Arrays.stream(arguments.split("\\|")).flatMap(word -> switch (word) {
            case "LONG65" -> Stream.of("x".repeat(65));
            case "MANY40", "MANY120", "MANY250" ->
                Stream.iterate(1, i -> i + 1).limit(Integer.parseInt(word.substring(4)))
                    .map(i -> "a-long-name-of-a-branch-" + i);
            default -> Stream.of(word);
        });
        Script.assertRefused(run(words.toArray(String[]::new)), right, aws);
    }

    @Test
    void badInputIsRefusedWithoutARegionToo() {
        System.clearProperty("aws.region");
        System.setProperty("aws.configFile", "/dev/null");
        try {
            Script.assertRefused(run("--branches", "a..b", "--all-repositories", "--role-names", "Developer"),
                    "such as main or 'release/*'", aws);
            var run = run("--branches", "main", "--all-repositories", "--role-names", "Developer");
            assertEquals(1, run.exitCode());
            assertEquals("apply-branch-deny: no Region: use --region or set AWS_REGION\n", run.err());
        } finally {
            System.clearProperty("aws.configFile");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"main", "*", "release/*", "v?.x", "feature/a-b_c", "a.b", "caf\u00e9", "a@b", "a{b}", "a$b",
            "it's", "say\"hi\"", "lock/x",
            "a.lockx"})
    void takesEveryNameThatGitTakes(String branch) {
        var run = run("--branches", branch, "--all-repositories", "--role-names", "Developer", "--dry-run");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("refs/heads/" + branch,
                run.json().at("/policies/0/policy/Statement/0/Condition").findValues("codecommit:References").stream()
                .filter(JsonNode::isArray).findFirst().orElseThrow().path(0).asText());
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("ApplyBranchDeny", ALL, Set.of());
    }

    /** Policies for their size. */
    static final class IamPolicies {
        private IamPolicies() {
        }

        static String ofSize(int size) {
            var empty = """
                    {"Version":"2012-10-17",\
                    "Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::"}}""";
            return empty.replace(":::", ":::" + "x".repeat(size - empty.length()));
        }
    }
}
