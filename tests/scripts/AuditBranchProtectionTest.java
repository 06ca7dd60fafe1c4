import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
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

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class AuditBranchProtectionTest {
    static final String IAM_ARN = "arn:aws:iam::111122223333:";
    static final String REPOSITORY_ARN = "arn:aws:codecommit:eu-west-1:111122223333:";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    final LocalAws aws = LocalAws.start();
    final Iam.Principal developer = aws.iam.createRole("team/Developer");

    @BeforeEach
    void use() {
        Script.use(aws);
        aws.iam.simulatorPageSize = 100;
        aws.codecommit.createRepository("payments");
        aws.codecommit.createRepository("orders");
        aws.onCall(ALL::add);
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    static Script.Run run(String... args) {
        return Script.run(new AuditBranchProtection().commandLine(), args);
    }

    /** Of main in all repositories; the user who runs this may change it. */
    static Script.Run audit(String... more) {
        return run(Stream.concat(Stream.of("--branches", "main", "--all-repositories", "--except-users", "operator"),
                Arrays.stream(more)).toArray(String[]::new));
    }

    static String statement(String effect, String actions, String resource, String condition) {
        var list = Stream.of(actions.split(" ")).map(action -> "\"" + action + "\"").collect(Collectors.joining(","));
        return "{\"Effect\": \"" + effect + "\", \"Action\": [" + list + "], \"Resource\": \"" + resource + "\""
                + (condition.isEmpty() ? "" : ", \"Condition\": " + condition.replace('\'', '"')) + "}";
    }

    static String policy(String... statements) {
        return "{\"Version\": \"2012-10-17\", \"Statement\": [" + String.join(", ", statements) + "]}";
    }

    static String allow(String actions, String resource) {
        return policy(statement("Allow", actions, resource, ""));
    }

    static final String PUSH = allow("codecommit:GitPush", "*");

    static List<String> texts(JsonNode array) {
        return array.valueStream().map(JsonNode::asText).toList();
    }

    static List<JsonNode> findings(Script.Run run, String code) {
        return run.json().path("findings").valueStream().filter(f -> f.path("code").asText().equals(code)).toList();
    }

    /** The one finding of this code. */
    static JsonNode finding(Script.Run run, String code) {
        var isIncomplete = Set.of("not-auditable", "not-simulated").stream().anyMatch(codes(run)::contains);
        assertEquals(isIncomplete ? 3 : 4, run.exitCode(), run.err());
        assertEquals(isIncomplete ? "incomplete" : "findings", run.status());
        var found = findings(run, code);
        assertEquals(1, found.size(), run.out());
        return found.get(0);
    }

    static Set<String> codes(Script.Run run) {
        return new TreeSet<>(run.json().path("findings").findValuesAsText("code"));
    }

    long calls(String name) {
        return aws.calls().stream().filter(call -> call.name().equals(name)).count();
    }

    static JsonNode principal(Script.Run run, String name) {
        return run.json().path("principals").valueStream()
                .filter(p -> p.path("principal").asText().endsWith("/" + name)).findFirst().orElseThrow();
    }

    @Test
    void isRedUntilTheDenyIsAppliedAndGreenThen() {
        developer.attached.add("aws:policy/AWSCodeCommitFullAccess");
        var red = audit();
        assertEquals(4, red.exitCode(), red.err());
        assertEquals("findings", red.status());
        var finding = finding(red, "can-change-branch");
        assertEquals(IAM_ARN + "role/team/Developer", finding.path("principal").asText());
        assertEquals("high", finding.path("severity").asText());
        assertEquals(List.of("main"), texts(finding.path("branches")));
        assertEquals(List.of("*"), texts(finding.path("repositories")));
        assertEquals(ApplyBranchDenyTest.WRITES, ApplyBranchDenyTest.names(finding.path("actions")));
        assertEquals(List.of("AWSCodeCommitFullAccess"), texts(finding.path("policies")));
        var administration = findings(red, "can-administer");
        assertEquals(List.of(ApplyBranchDenyTest.REPOSITORY_WRITES, ApplyBranchDenyTest.TEMPLATE_WRITES),
                administration.stream().map(f -> ApplyBranchDenyTest.names(f.path("actions"))).toList());
        Script.assertReadsOnly(aws);

        var command = finding.path("command").asText();
        assertEquals("./jbang apply-branch-deny --branches main --all-repositories --role-names Developer"
                + " --region eu-west-1", command);
        assertEquals(Set.of(command), administration.stream().map(f -> f.path("command").asText())
                .collect(Collectors.toSet()));
        var mended = Script.run(new ApplyBranchDeny().commandLine(),
                command.replace("./jbang apply-branch-deny ", "").split(" "));
        assertEquals(0, mended.exitCode(), mended.err());

        var green = audit();
        assertEquals(0, green.exitCode(), green.out());
        assertEquals("protected", green.status());
        assertEquals(0, green.json().path("findings").size());
        assertEquals(13, principal(green, "Developer").path("allowedWithoutReference").size(),
                "every push begins with a request that names no branch");
        assertEquals(green.json(), audit().json(), "a second run finds the same");
        assertEquals(List.of(IAM_ARN + "root"), texts(green.json().path("neverBound")));
    }

    @Test
    void findsWhatTheUsualExampleOfADenyLeavesOpen() {
        developer.inline.put("all", allow("codecommit:*", "*"));
        developer.inline.put("deny", policy(statement("Deny", "codecommit:GitPush codecommit:DeleteBranch"
                + " codecommit:PutFile codecommit:Merge*", "*", "{'StringEqualsIfExists':"
                + " {'codecommit:References': ['refs/heads/main']}, 'Null': {'codecommit:References': 'false'}}")));
        var run = audit();
        assertEquals(Set.of("CreateBranch", "CreateCommit", "CreateUnreferencedMergeCommit", "DeleteFile"),
                ApplyBranchDenyTest.names(finding(run, "can-change-branch").path("actions")));
        var several = finding(run, "can-change-branch-among-others");
        assertEquals(9, several.path("actions").size(), "an operator for one value does not hold for a list");
        assertTrue(several.path("message").asText().contains("names others too"), several.toString());
        assertEquals("medium", several.path("severity").asText());
    }

    @Test
    void aUserHasThePoliciesOfItsGroups() {
        aws.iam.createUser("alice");
        aws.iam.createUser("bob");
        var group = aws.iam.createGroup("Developers", "alice");
        group.inline.put("push", PUSH);
        var run = audit();
        var finding = finding(run, "can-change-branch");
        assertEquals(IAM_ARN + "user/alice", finding.path("principal").asText());
        assertEquals(List.of("group_Developers_push"), texts(finding.path("policies")));
        assertEquals(List.of("Developers"), texts(principal(run, "alice").path("groups")));
        assertTrue(finding.path("command").asText().contains(" --user-names alice "), finding.toString());
        assertEquals(1, run.json().at("/totals/audited").asInt());
        assertEquals(2, run.json().at("/totals/allowedNothing").asInt(), "bob and the role Developer");
    }

    @Test
    void aPermissionsBoundaryLimits() {
        developer.inline.put("all", allow("*", "*"));
        aws.iam.createPolicy("boundary", allow("codecommit:GitPull s3:*", "*"));
        developer.boundary = "policy/boundary";
        var run = audit();
        assertEquals(0, run.exitCode(), run.out());
        assertEquals(IAM_ARN + "policy/boundary", principal(run, "Developer").path("permissionsBoundary").asText());
        aws.iam.createPolicy("boundary", allow("codecommit:Git*", REPOSITORY_ARN + "pay*"));
        var finding = finding(audit(), "can-change-branch");
        assertEquals(List.of("payments"), texts(finding.path("repositories")));
        assertEquals(List.of("codecommit:GitPush"), texts(finding.path("actions")));
    }

    @Test
    void looksUpABoundaryOfAwsThatTheDetailsDoNotHave() {
        developer.inline.put("push", PUSH);
        developer.boundary = "aws:policy/AWSCodeCommitFullAccess";
        assertEquals(List.of("can-change-branch"), List.copyOf(codes(audit())));
        assertEquals(1, calls("iam:GetPolicyVersion"));
        aws.inject(Fault.on("iam:GetPolicy").always().error(403, "AccessDenied", "no"));
        var blind = finding(audit(), "not-auditable");
        assertTrue(blind.path("message").asText().contains("AWSCodeCommitFullAccess cannot be read: AccessDenied"),
                blind.toString());
    }

    @Test
    void aDenyOfAllButSomeActionsIsUnderstood() {
        developer.inline.put("all", allow("codecommit:*", "*"));
        developer.inline.put("deny", """
                {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "NotAction": ["codecommit:Get*",
                 "codecommit:PutFile"], "Resource": "*"}}""");
        assertEquals(List.of("codecommit:PutFile"), texts(finding(audit(), "can-change-branch").path("actions")));
    }

    @Test
    void namesOneFindingForRepositoriesThatAreAllowedTheSame() {
        for (var name : List.of("team-a", "team-b", "team-c", "other")) aws.codecommit.createRepository(name);
        developer.inline.put("mixed", policy(
                statement("Allow", "codecommit:GitPush", REPOSITORY_ARN + "team-*", ""),
                statement("Allow", "codecommit:PutFile", "*", ""),
                statement("Deny", "codecommit:PutFile codecommit:GitPush", REPOSITORY_ARN + "team-b", "")));
        var run = audit();
        assertEquals(List.of("[\"codecommit:GitPush\",\"codecommit:PutFile\"] [\"team-a\",\"team-c\"] ",
                "[\"codecommit:PutFile\"] [\"orders\",\"other\",\"payments\"] "),
                findings(run, "can-change-branch").stream().map(f -> f.path("actions") + " " + f.path("repositories")
                        + " " + (f.has("exceptRepositories") ? f.path("exceptRepositories") : "")).sorted().toList());
        aws.codecommit.createRepository("another");
        developer.inline.put("mixed", policy(statement("Allow", "codecommit:GitPush", "*", ""),
                statement("Deny", "codecommit:GitPush", REPOSITORY_ARN + "team-b", "")));
        var most = finding(audit(), "can-change-branch");
        assertEquals(List.of("*"), texts(most.path("repositories")));
        assertEquals(List.of("team-b"), texts(most.path("exceptRepositories")));
        var some = run("--branches", "main", "--repository-names", "team-?", "orders", "--except-users", "operator");
        assertEquals(4, some.json().path("repositories").asInt());
        assertTrue(finding(some, "can-change-branch").path("command").asText()
                .contains(" --repository-names orders team-a team-c --role-names"), some.out());
    }

    @Test
    void theCommandsOfAllFindingsTogetherLeaveNoHoleAndNarrowNoDenyThatIsThere() {
        developer.inline.put("mixed", policy(
                statement("Allow", "codecommit:GitPush", REPOSITORY_ARN + "payments", ""),
                statement("Allow", "codecommit:PutFile", REPOSITORY_ARN + "orders", "")));
        assertEquals(0, deny("--branches main release/* --all-repositories --role-names Developer").exitCode());
        var before = developer.inline.get("codecommit-branch-deny-eu-west-1");
        var run = run("--branches", "main", "hotfix", "--all-repositories", "--except-users", "operator");
        assertEquals(2, findings(run, "can-change-branch").size(), run.out());
        for (var command : run.json().path("findings").findValuesAsText("command")) {
            var mended = deny(command.replace("./jbang apply-branch-deny ", ""));
            assertEquals(0, mended.exitCode(), mended.err());
        }
        assertEquals(before, developer.inline.get("codecommit-branch-deny-eu-west-1"));
        var green = run("--branches", "main", "hotfix", "release/1", "--all-repositories", "--except-users",
                "operator");
        assertEquals(0, green.exitCode(), green.out());
    }

    static Script.Run deny(String arguments) {
        return Script.run(new ApplyBranchDeny().commandLine(), arguments.split(" "));
    }

    @Test
    void asksForAllBranchesThatAPatternStandsFor() {
        developer.inline.put("push", PUSH);
        developer.inline.put("deny", policy(statement("Deny", "codecommit:GitPush", "*", "{'ForAnyValue:StringLike':"
                + " {'codecommit:References': ['refs/heads/release/1*', 'refs/heads/main']}}")));
        var run = run("--branches", "release/*", "main", "release/1.?", "--all-repositories", "--except-users",
                "operator");
        assertEquals(List.of("release/*"), texts(finding(run, "can-change-branch").path("branches")));
        developer.inline.put("push", policy(statement("Allow", "codecommit:GitPush", "*", "{'StringLike':"
                + " {'codecommit:References': 'refs/heads/*-hot?ix'}}")));
        var hidden = run("--branches", "release/*", "--all-repositories", "--except-users", "operator");
        assertEquals(Set.of("can-change-branch"), codes(hidden), "release/any-0x-hotxix");
        developer.inline.put("deny", policy(statement("Deny", "codecommit:GitPush", "*", "{'ForAnyValue:StringLike':"
                + " {'codecommit:References': 'refs/heads/release/*'}}")));
        assertEquals(0, run("--branches", "release/*", "--all-repositories", "--except-users", "operator").exitCode());
    }

    @ParameterizedTest
    @CsvSource({"main, main, true", "release/*, */x, true", "a*, *b, true", "*, *, true", "a?c, abc, true",
            "a?, ?b, true", "a*c, abc*, true", "a**b, a*?b, true", "a*b*c, *x*, true", "release/*, main, false",
            "a?, a, false", "*a, *b, false", "a*b, b*, false", "*ab*, c?c, false", "*?*, '', false"})
    void aTextThatTwoPatternsStandForIsFoundIfThereIsOne(String one, String other, boolean exists) {
        var common = AuditBranchProtection.common(one, other);
        assertEquals(exists, common.isPresent(), common.toString());
        common.ifPresent(text -> assertTrue(AuditBranchProtection.isLike(text, one)
                && AuditBranchProtection.isLike(text, other), text));
    }

    @Test
    void findsWhoCanTakeADenyAway() {
        developer.inline.put("iam", policy(
                statement("Allow", "iam:DeleteRolePolicy iam:PutRolePolicy", IAM_ARN + "role/team/*", ""),
                statement("Allow", "iam:*AccessKey iam:DetachUserPolicy", IAM_ARN + "user/alice", ""),
                statement("Allow", "iam:CreatePolicyVersion", "*", "")));
        aws.iam.createRole("Other");
        aws.iam.createUser("alice");
        aws.iam.createPolicy("own", PUSH);
        aws.iam.createPolicy("own2", PUSH);
        var run = audit();
        assertEquals(4, run.exitCode(), run.err());
        assertEquals(Set.of("can-edit-iam"), codes(run));
        assertEquals(Set.of(
                "[\"iam:DeleteRolePolicy\",\"iam:PutRolePolicy\"] [\"" + IAM_ARN + "role/team/Developer\"]",
                "[\"iam:CreateAccessKey\",\"iam:DetachUserPolicy\"] [\"" + IAM_ARN + "user/alice\"]",
                "[\"iam:CreatePolicyVersion\"] [\"" + IAM_ARN + "policy/*\"]"),
                findings(run, "can-edit-iam").stream().map(f -> f.path("actions") + " " + f.path("resources"))
                        .collect(Collectors.toSet()));
        assertTrue(findings(run, "can-edit-iam").get(0).path("message").asText().endsWith(" --except-roles"),
                run.out());
    }

    @Test
    void keysOfOneselfAreNoFinding() {
        var alice = aws.iam.createUser("alice");
        aws.iam.createUser("bob");
        aws.iam.createGroup("Staff", "alice", "bob").inline.put("self", allow("iam:*AccessKey* iam:GetUser"
                + " iam:UploadSSHPublicKey", IAM_ARN + "user/${aws:username}"));
        var run = audit();
        assertEquals(0, run.exitCode(), run.out());
        assertEquals(2, run.json().at("/totals/audited").asInt());
        alice.inline.put("keys", allow("iam:CreateAccessKey", "*"));
        var finding = finding(audit(), "can-edit-iam");
        assertEquals(Set.of(IAM_ARN + "user/bob", IAM_ARN + "user/operator"),
                Set.copyOf(texts(finding.path("resources"))));
    }

    @Test
    void whatOnlyAConditionHindersIsAFindingOfItsOwn() {
        developer.inline.put("push", policy(statement("Allow", "codecommit:GitPush", "*",
                "{'IpAddress': {'aws:SourceIp': '10.0.0.0/8'}}")));
        var run = audit();
        assertEquals(Set.of("depends-on-conditions"), codes(run));
        var finding = finding(run, "depends-on-conditions");
        assertEquals(List.of("aws:SourceIp"), texts(finding.path("conditionKeys")));
        assertEquals(List.of("codecommit:GitPush"), texts(finding.path("actions")));
        assertEquals("low", finding.path("severity").asText());

        developer.inline.put("push", policy(statement("Allow", "codecommit:GitPush", "*", ""),
                statement("Deny", "*", "*", "{'BoolIfExists': {'aws:MultiFactorAuthPresent': 'false'}}")));
        assertEquals(List.of("aws:MultiFactorAuthPresent"),
                texts(finding(audit(), "depends-on-conditions").path("conditionKeys")));
        developer.inline.put("edit", allow("codecommit:PutFile", "*"));
        aws.inject(Fault.on("iam:SimulateCustomPolicy").error(403, "AccessDenied", "not this one"));
        developer.inline.put("push", policy(statement("Allow", "codecommit:GitPush", "*",
                "{'IpAddress': {'aws:SourceIp': '10.0.0.0/8'}}")));
        var incomplete = audit();
        assertEquals(Set.of("can-change-branch", "not-auditable"), codes(incomplete), "what is certain is told");
        assertTrue(finding(incomplete, "not-auditable").path("message").asText()
                .startsWith("what depends on conditions is not known: AccessDenied: not this one"), incomplete.out());
        Script.run(new ApplyBranchDeny().commandLine(), "--branches", "main", "--all-repositories", "--role-names",
                "Developer");
        var denied = audit();
        assertEquals(0, denied.exitCode(), "denied whatever the conditions are: " + denied.out());
    }

    @Test
    void whatIsCertainOfAPrincipalDecides() {
        developer.tags.put("Team", "payments");
        developer.inline.put("tagged", policy(statement("Allow", "codecommit:GitPush",
                REPOSITORY_ARN + "${aws:PrincipalTag/Team}", "{'StringEquals': {'aws:RequestedRegion': 'eu-west-1'},"
                        + " 'Bool': {'aws:SecureTransport': 'true'}, 'ArnLike': {'aws:PrincipalArn':"
                        + " 'arn:aws:iam::*:role/team/*'}}")));
        var run = audit();
        assertEquals(Set.of("can-change-branch"), codes(run));
        assertEquals(List.of("payments"), texts(finding(run, "can-change-branch").path("repositories")));
        developer.tags.clear();
        var unknown = finding(audit(), "depends-on-conditions");
        assertEquals(List.of("*"), texts(unknown.path("repositories")), "a session may have any tag");
        assertEquals(List.of("aws:PrincipalTag/Team"), texts(unknown.path("conditionKeys")));
    }

    @Test
    void whoMayIsLeftOutAndNamed() {
        developer.inline.put("push", PUSH);
        aws.iam.createRole("DeveloperTwo").inline.put("push", PUSH);
        aws.iam.createUser("carol").inline.put("push", PUSH);
        var run = audit("--except-roles", "Developer*", "--except-users", "c?rol", "--except-roles", "Admin*");
        assertEquals(0, run.exitCode(), run.out());
        assertEquals(List.of(IAM_ARN + "role/DeveloperTwo", IAM_ARN + "role/team/Developer", IAM_ARN + "user/carol",
                IAM_ARN + "user/operator"), run.json().path("excepted").findValuesAsText("principal"));
        assertEquals(0, calls("iam:SimulatePrincipalPolicy"));
        assertTrue(run.err().contains("--except-roles 'Admin*': no role has such a name"), run.err());
        assertEquals(2, findings(audit("--except-users", "carol"), "can-change-branch").size());
    }

    @Test
    void saysWhoMayAssumeARole() {
        developer.inline.put("push", PUSH);
        developer.trust = """
                {"Version": "2012-10-17", "Statement": [
                 {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "codebuild.amazonaws.com",
                  "AWS": ["444455556666", "arn:aws:iam::111122223333:role/Other"]}},
                 {"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": {"AWS": "777788889999"}},
                 {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*"}]}""";
        assertEquals(Set.of("*", "444455556666", "arn:aws:iam::111122223333:role/Other", "codebuild.amazonaws.com"),
                Set.copyOf(texts(principal(audit(), "Developer").path("assumedBy"))));
    }

    @Test
    void noCommandMendsRolesThatOnlyAwsMayChange() {
        aws.iam.createRole("aws-service-role/sync.amazonaws.com/AWSServiceRoleForSync").inline.put("p", PUSH);
        aws.iam.createRole("aws-reserved/sso.amazonaws.com/AWSReservedSSO_Dev_0123").inline.put("p", PUSH);
        var run = audit();
        assertEquals("service-linked-role", principal(run, "AWSServiceRoleForSync").path("type").asText());
        var messages = findings(run, "can-change-branch").stream().map(f -> f.path("message").asText()).toList();
        assertTrue(messages.get(0).contains("permission set"), messages.toString());
        assertTrue(messages.get(1).contains("acts for sync.amazonaws.com"), messages.toString());
        assertEquals(List.of(), run.json().path("findings").findValuesAsText("command"));
    }

    @Test
    void aPrincipalThatCannotBeSimulatedIsAFindingAndTheOthersAreAudited() {
        for (var name : List.of("A", "B", "C")) aws.iam.createRole(name).inline.put("push", PUSH);
        aws.inject(Fault.on("iam:SimulatePrincipalPolicy").error(403, "AccessDenied", "not this one"));
        var run = audit();
        var finding = finding(run, "not-auditable");
        assertEquals(IAM_ARN + "role/A", finding.path("principal").asText());
        assertTrue(finding.path("message").asText().startsWith("AccessDenied: not this one"), run.out());
        assertEquals(2, findings(run, "can-change-branch").size());
        assertEquals(1, run.json().at("/totals/notAuditable").asInt());
        aws.inject(Fault.on("iam:GetAccountAuthorizationDetails").error(403, "AccessDenied", "no"));
        var blind = audit();
        assertEquals(1, blind.exitCode());
        assertEquals("", blind.out());
        assertTrue(blind.err().contains("AccessDenied: no"), blind.err());
    }

    @Test
    void anActionThatTheSimulatorDoesNotKnowIsAFinding() {
        aws.iam.unknownToSimulator.add("codecommit:GitPush");
        developer.inline.put("push", allow("codecommit:GitPush codecommit:GitPull codecommit:PutFile", "*"));
        var run = audit();
        assertEquals(List.of("codecommit:GitPush"), texts(finding(run, "not-simulated").path("actions")));
        assertEquals(List.of("codecommit:PutFile"), texts(finding(run, "can-change-branch").path("actions")));
    }

    @Test
    void survivesThrottlingAndLostAnswers() {
        developer.inline.put("push", policy(statement("Allow", "codecommit:GitPush iam:Put*", "*", ""),
                statement("Deny", "codecommit:GitPush", REPOSITORY_ARN + "orders",
                        "{'Bool': {'aws:MultiFactorAuthPresent': 'false'}}")));
        var calm = audit();
        for (var call : List.of("iam:GetAccountAuthorizationDetails", "iam:SimulatePrincipalPolicy",
                "iam:SimulateCustomPolicy", "codecommit:ListRepositories")) {
            aws.inject(Fault.on(call).throttle());
            aws.inject(Fault.on(call).after(1).loseAnswer());
        }
        assertEquals(calm.json().path("findings"), audit().json().path("findings"));
    }

    @Test
    void findsTheSameWhetherTheSimulatorGroupsResourcesOrNot() {
        developer.inline.put("push", policy(statement("Allow", "codecommit:GitPush iam:Put*", "*", ""),
                statement("Deny", "codecommit:GitPush", REPOSITORY_ARN + "orders", "")));
        aws.iam.simulatorPageSize = 1;
        var together = audit();
        aws.iam.simulatorGroupsResources = false;
        assertEquals(together.json(), audit().json());
        assertEquals(List.of("payments"), texts(finding(together, "can-change-branch").path("repositories")));
    }

    @Test
    void principalsWithEqualPoliciesAreSimulatedOnceUnlessServiceControlPoliciesDecide() {
        for (var i = 0; i < 10; i++) {
            aws.iam.createUser("user" + i).inline.put("push", PUSH);
            aws.iam.createRole("role" + i).inline.put("push", PUSH);
        }
        var run = audit();
        assertEquals(20, findings(run, "can-change-branch").size());
        assertEquals(List.of("user_user7_push"), texts(findings(run, "can-change-branch").stream()
                .filter(f -> f.path("principal").asText().endsWith("user7")).findFirst().orElseThrow()
                .path("policies")));
        assertEquals(4, calls("iam:SimulatePrincipalPolicy"), "for a role and a user: of main, and without a branch");
        aws.iam.serviceControlPolicies.add(allow("*", "*"));
        aws.iam.serviceControlPolicies.add(policy(statement("Deny", "codecommit:*", "*", "")));
        aws.clearCalls();
        var inOrganization = audit();
        assertEquals(0, inOrganization.exitCode(), inOrganization.out());
        assertEquals(40, calls("iam:SimulatePrincipalPolicy"));
    }

    @Test
    void printsFindingsAsATableAndForSpreadsheets() {
        developer.inline.put("push", PUSH);
        var table = audit("--output", "table");
        assertEquals(4, table.exitCode(), table.err());
        assertEquals(List.of("code severity principal branches repositories actions",
                "can-change-branch high " + IAM_ARN + "role/team/Developer main * codecommit:GitPush"),
                table.out().lines().map(line -> line.replaceAll(" +", " ")).toList());
        assertTrue(table.err().endsWith("1 roles and users audited in 2 repositories, 1 excepted, 0 allowed nothing:"
                + " 1 findings\n"), table.err());
        var csv = audit("--output", "csv").out().split("\r\n");
        assertEquals(2, csv.length);
        assertTrue(csv[0].endsWith(",exceptRepositories,resources,policies,conditionKeys,message,command"), csv[0]);
        assertTrue(csv[1].contains(",./jbang apply-branch-deny --branches main --all-repositories --role-names "),
                csv[1]);
    }

    @Test
    void aLargeAccountNeedsFewRequests() {
        for (var i = 0; i < 4_998; i++) aws.codecommit.createRepository("repository-" + i);
        aws.iam.pageSize = 1000;
        aws.iam.authorizationDetailsPageSize = 500;
        aws.iam.simulatorPageSize = 1000;
        var staff = IntStream.range(0, 500).mapToObj(i -> aws.iam.createUser("user" + i).name).toArray(String[]::new);
        aws.iam.createGroup("Staff", staff).inline.put("code", policy(statement("Allow", "codecommit:*", "*", ""),
                statement("Deny", "codecommit:*", REPOSITORY_ARN + "repository-1*", "")));
        for (var i = 0; i < 400; i++) aws.iam.createRole("lambda" + i).inline.put("logs", allow("logs:* s3:*", "*"));
        for (var i = 0; i < 100; i++) {
            aws.iam.createRole("team" + i).inline.put("code", allow("codecommit:Git*",
                    REPOSITORY_ARN + "repository-" + i + "*"));
        }
        var run = audit();
        assertEquals(4, run.exitCode(), run.err());
        assertEquals(600, findings(run, "can-change-branch").size());
        assertEquals(5_000, run.json().path("repositories").asInt());
        assertEquals(List.of(5L, 2L * 100 + 3, 0L), List.of(calls("codecommit:ListRepositories"),
                calls("iam:SimulatePrincipalPolicy"), calls("iam:SimulateCustomPolicy")));
        assertEquals(2 * 100 + 3, run.json().at("/totals/simulations").asInt());
        assertEquals(3, calls("iam:GetAccountAuthorizationDetails"));
        assertTrue(run.out().length() < 4_000_000, "no list of 5,000 names for each: " + run.out().length());
        var sets = run.json().path("repositorySets");
        assertEquals(1 + 49, sets.size(), "of the staff, and of team1 to team49");
        var set = sets.valueStream().filter(one -> one.path("size").asInt() == 5_000 - 1_111).findFirst().orElseThrow();
        assertEquals(1_111, set.path("exceptRepositories").size());
        assertEquals(1_000, run.json().path("findings").findValuesAsText("repositorySet").stream()
                .filter(set.path("name").asText()::equals).count(), "branches and administration of 500 users");
    }

    @Test
    void worksInOtherPartitions() {
        for (var region : List.of("cn-north-1", "us-gov-west-1")) {
            var partition = region.startsWith("cn") ? "aws-cn" : "aws-us-gov";
            aws.codecommit.createRepository(region, "payments");
            developer.inline.put("push", allow("codecommit:GitPush",
                    "arn:" + partition + ":codecommit:" + region + ":111122223333:payments"));
            var finding = finding(audit("--region", region), "can-change-branch");
            assertEquals("arn:" + partition + ":iam::111122223333:role/team/Developer",
                    finding.path("principal").asText());
            assertTrue(finding.path("command").asText().endsWith(" --region " + region), finding.toString());
        }
    }

    @Test
    void aRepositoryThatDoesNotExistIsAnError() {
        var run = run("--branches", "main", "--repository-names", "paymets", "pay*");
        assertEquals(1, run.exitCode());
        assertEquals("audit-branch-protection: no such repository in eu-west-1: paymets\n", run.err());
        var none = audit("--region", "eu-west-2");
        assertEquals("audit-branch-protection: no such repository in eu-west-2: there is none\n", none.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "--all-repositories | no branch to protect: use --branches",
        "--branches main | no repository to audit: use --all-repositories, or --repository-names",
        "--branches main --all-repositories --repository-names payments | mutually exclusive",
        "--branches refs/heads/main --all-repositories | without refs/heads/",
        "--branches a..b --all-repositories | such as main or 'release/*'",
        "--branches a~b --all-repositories | such as main or 'release/*'",
        "--branches main. --all-repositories | such as main or 'release/*'",
        "--branches [ab] --all-repositories | such as main or 'release/*'",
        "--branches a${b} --all-repositories | use ? in the place of $",
        "--branches main --repository-names a/b | such as 'team-*'",
        "--branches main --repository-names a.git | such as 'team-*'",
        "--branches main --repository-names arn:aws:codecommit:eu-west-1:111122223333:a | such as 'team-*'",
        "--branches main --all-repositories --except-roles team/Admin | such as 'Admin*'",
        "--branches main --all-repositories --except-roles arn:aws:iam::111122223333:role/A | such as 'Admin*'",
        "--branches main --all-repositories --except-users a:b | such as alice",
        "--branches main --all-repositories --region Ireland | a Region such as eu-west-1",
        "--branches main --all-repositories --print /finding | is not in the result",
        "--branches main --all-repositories --print findings | is not a JSON Pointer",
        "--branches main --all-repositories --except-role Admin | did you mean --except-roles?",
        "--branches main --all-repositories --output xml | json, table or csv",
        "--branches main --all-repositories --dry-run | Unknown option: '--dry-run'"})
    void refusesBadInputBeforeAnyCall(String both) {
        var parts = both.split(" \\| ");
        Script.assertRefused(run(parts[0].split(" ")), parts[1], aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void theJavadocListsTheIamActionsThatWereCalled() {
        assertFalse(ALL.isEmpty(), "the other tests come first");
        Script.assertIamActions("AuditBranchProtection", ALL.stream().filter(call -> !isOfApply(call)).toList(),
                Set.of());
    }

    /** One test runs apply-branch-deny as well. */
    static boolean isOfApply(Call call) {
        return call.name().matches("iam:(Put|GetRole|List).*|codecommit:BatchGet.*");
    }
}
