package localaws;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.AttachedPolicy;
import software.amazon.awssdk.services.iam.model.ContextEntry;
import software.amazon.awssdk.services.iam.model.EntityType;
import software.amazon.awssdk.services.iam.model.EvaluationResult;
import software.amazon.awssdk.services.iam.model.PolicyEvaluationDecisionType;
import software.amazon.awssdk.services.iam.model.Role;
import software.amazon.awssdk.services.iam.model.SimulatePrincipalPolicyRequest;
import software.amazon.awssdk.services.iam.model.Statement;
import software.amazon.awssdk.services.iam.model.Tag;
import software.amazon.awssdk.services.iam.model.User;

/** IAM by AWS's own client: what it keeps, what it refuses and with which code, and what its simulator says. */
class IamTest {
    static final String ALLOW_ALL = "{\"Version\": \"2012-10-17\", \"Statement\": {\"Effect\": \"Allow\", "
            + "\"Action\": \"*\", \"Resource\": \"*\"}}";
    static final String DENY_MAIN = """
            {"Version": "2012-10-17", "Statement": [{"Sid": "Main", "Effect": "Deny",
              "Action": ["codecommit:GitPush", "codecommit:CreateCommit"],
              "Resource": "arn:aws:codecommit:eu-west-1:111122223333:orders",
              "Condition": {"StringLikeIfExists": {"codecommit:References": "refs/heads/main"},
              "Null": {"codecommit:References": "false"}}}]}""";
    static final String ROLE = "arn:aws:iam::111122223333:role/Developer";

    final LocalAws aws = LocalAws.start();
    final IamClient iam = client("eu-west-1");

    IamClient client(String region) {
        return IamClient.builder().endpointOverride(aws.endpoint()).region(Region.of(region))
                .httpClient(UrlConnectionHttpClient.create())
                .credentialsProvider(StaticCredentialsProvider
                        .create(AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY)))
                .build();
    }

    @AfterEach
    void stop() {
        iam.close();
        aws.close();
    }

    static Tag tag(String key, String value) {
        return Tag.builder().key(key).value(value).build();
    }

    static void assertError(String code, Executable call) {
        var error = assertThrows(AwsServiceException.class, call).awsErrorDetails();
        assertEquals(code, error.errorCode(), error.errorMessage());
    }

    @Test
    void knowsItsPrincipalsByArnInAnyPartition() {
        aws.iam.createRole("team/Developer");
        assertEquals("arn:aws:iam::111122223333:role/team/Developer",
                iam.getRole(r -> r.roleName("Developer")).role().arn());
        try (var china = client("cn-north-1")) {
            assertEquals("arn:aws-cn:iam::111122223333:user/operator", china.getUser().user().arn());
        }
        assertTrue(aws.iam.exists("arn:aws:iam::111122223333:role/team/Developer"));
        assertTrue(aws.iam.exists("arn:aws-cn:iam::111122223333:user/operator"));
        assertTrue(aws.iam.exists("arn:aws:iam::111122223333:root"));
        assertFalse(aws.iam.exists("arn:aws:iam::111122223333:role/Developer"), "the path belongs to the ARN");
        assertFalse(aws.iam.exists("arn:aws:iam::444455556666:role/team/Developer"));
        assertError("NoSuchEntity", () -> iam.getRole(r -> r.roleName("Nobody")));
        assertError("NoSuchEntity", () -> iam.getUser(r -> r.userName("Nobody")));
        assertError("NoSuchEntity", () -> iam.getGroup(r -> r.groupName("Nobody")));
        assertError("ValidationError", () -> iam.getRole(r -> r.roleName("a/b")));
        assertError("ValidationError", () -> iam.getRole(r -> r.roleName("x".repeat(65))));
    }

    @Test
    void aNewRoleIsNotVisibleToKmsAtOnce() {
        aws.iam.createRoleVisibleAfter("Developer", 2);
        assertEquals(List.of(false, false, true, true),
                IntStream.range(0, 4).mapToObj(i -> aws.iam.visibleToKms(ROLE)).toList());
        assertEquals("Developer", iam.getRole(r -> r.roleName("Developer")).role().roleName());
    }

    @Test
    void keepsInlinePoliciesAsTheyWereAndGivesThemBackEncoded() {
        aws.iam.createRole("Developer");
        aws.iam.createUser("alice");
        aws.iam.createGroup("team/Developers", "alice");
        var document = ALLOW_ALL.replace("\"*\"}", "\"arn:aws:s3:::a+b/*\"}");
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("all").policyDocument(document));
        var got = iam.getRolePolicy(r -> r.roleName("Developer").policyName("all"));
        assertTrue(got.policyDocument().startsWith("%7B%22Version%22%3A%20%222012-10-17%22"), got.policyDocument());
        assertFalse(got.policyDocument().contains("*"));
        assertEquals(document, URLDecoder.decode(got.policyDocument(), StandardCharsets.UTF_8));
        assertEquals("Developer", got.roleName());
        iam.putUserPolicy(r -> r.userName("alice").policyName("all").policyDocument(document));
        assertEquals("alice", iam.getUserPolicy(r -> r.userName("alice").policyName("all")).userName());
        iam.putGroupPolicy(r -> r.groupName("Developers").policyName("all").policyDocument(document));
        assertEquals("Developers", iam.getGroupPolicy(r -> r.groupName("Developers").policyName("all")).groupName());
        assertEquals("arn:aws:iam::111122223333:group/team/Developers",
                iam.getGroup(r -> r.groupName("Developers")).group().arn());
        iam.deleteGroupPolicy(r -> r.groupName("Developers").policyName("all"));
        assertError("NoSuchEntity", () -> iam.deleteGroupPolicy(r -> r.groupName("Developers").policyName("all")));
        assertError("NoSuchEntity", () -> iam.getGroupPolicy(r -> r.groupName("Developers").policyName("all")));
        assertEquals(Set.of("all"), aws.iam.find("user/alice").inline.keySet());
        iam.deleteUserPolicy(r -> r.userName("alice").policyName("all"));
        iam.deleteRolePolicy(r -> r.roleName("Developer").policyName("all"));
        assertTrue(aws.iam.find("role/Developer").inline.isEmpty());
        assertNull(aws.iam.find("role/Nobody"));
    }

    @Test
    void listsInShortPages() {
        aws.iam.createRole("Developer");
        for (var i = 0; i < 5; i++) aws.iam.createUser("user" + i);
        aws.iam.createGroup("Developers", "user0", "user1", "user2", "user3", "user4");
        for (var i = 0; i < 5; i++) {
            var name = "p" + i;
            iam.putRolePolicy(r -> r.roleName("Developer").policyName(name).policyDocument(ALLOW_ALL));
            var arn = iam.createPolicy(r -> r.policyName(name).policyDocument(ALLOW_ALL)).policy().arn();
            iam.attachRolePolicy(r -> r.roleName("Developer").policyArn(arn));
            iam.attachUserPolicy(r -> r.userName("user0").policyArn(arn));
        }
        var first = iam.listRolePolicies(r -> r.roleName("Developer"));
        assertTrue(first.isTruncated() && first.policyNames().size() < 5);
        assertEquals(List.of("p0", "p1", "p2", "p3", "p4"),
                iam.listRolePoliciesPaginator(r -> r.roleName("Developer")).policyNames().stream().toList());
        assertEquals(List.of("p0", "p1", "p2", "p3", "p4"),
                iam.listAttachedRolePoliciesPaginator(r -> r.roleName("Developer")).attachedPolicies().stream()
                        .map(AttachedPolicy::policyName).toList());
        assertEquals(5,
                iam.listAttachedUserPoliciesPaginator(r -> r.userName("user0")).attachedPolicies().stream().count());
        assertEquals(0, iam.listAttachedGroupPoliciesPaginator(r -> r.groupName("Developers")).attachedPolicies()
                .stream().count());
        assertEquals(5, iam.getGroupPaginator(r -> r.groupName("Developers")).users().stream().count());
        var arn = "arn:aws:iam::111122223333:policy/p0";
        iam.attachGroupPolicy(r -> r.groupName("Developers").policyArn(arn));
        aws.iam.createRole("Other");
        iam.attachRolePolicy(r -> r.roleName("Other").policyArn(arn));
        var entities = iam.listEntitiesForPolicyPaginator(r -> r.policyArn(arn));
        assertEquals(Set.of("Developer", "Other"), entities.stream().flatMap(p -> p.policyRoles().stream())
                .map(r -> r.roleName()).collect(Collectors.toSet()));
        assertEquals(1, entities.stream().flatMap(p -> p.policyUsers().stream()).count());
        assertEquals(1, entities.stream().flatMap(p -> p.policyGroups().stream()).count());
        assertError("ValidationError", () -> iam.listRolePolicies(r -> r.roleName("Developer").marker("x")));
    }

    @Test
    void managedPoliciesHaveVersions() {
        aws.iam.createRole("Developer");
        var policy = iam.createPolicy(
                r -> r.policyName("deny").path("/team/").policyDocument(ALLOW_ALL).description("x").tags(tag("a", "b")))
                .policy();
        assertEquals("arn:aws:iam::111122223333:policy/team/deny", policy.arn());
        assertEquals("v1", policy.defaultVersionId());
        assertError("EntityAlreadyExists", () -> iam.createPolicy(r -> r.policyName("Deny").policyDocument(ALLOW_ALL)));
        iam.tagPolicy(r -> r.policyArn(policy.arn()).tags(tag("c", "d")));
        var got = iam.getPolicy(r -> r.policyArn(policy.arn())).policy();
        assertEquals("x", got.description());
        assertEquals(2, got.tags().size());
        for (var i = 2; i <= 5; i++) {
            var last = i == 5;
            iam.createPolicyVersion(
                    r -> r.policyArn(policy.arn()).policyDocument(last ? DENY_MAIN : ALLOW_ALL).setAsDefault(last));
        }
        assertError("LimitExceeded",
                () -> iam.createPolicyVersion(r -> r.policyArn(policy.arn()).policyDocument(ALLOW_ALL)));
        assertEquals(List.of("v5", "v4", "v3", "v2", "v1"),
                iam.listPolicyVersionsPaginator(r -> r.policyArn(policy.arn())).versions().stream()
                        .map(v -> v.versionId()).toList());
        assertEquals("v5", iam.getPolicy(r -> r.policyArn(policy.arn())).policy().defaultVersionId());
        assertEquals(DENY_MAIN,
                URLDecoder.decode(
                        iam.getPolicyVersion(r -> r.policyArn(policy.arn()).versionId("v5")).policyVersion().document(),
                StandardCharsets.UTF_8));
        assertError("DeleteConflict", () -> iam.deletePolicyVersion(r -> r.policyArn(policy.arn()).versionId("v5")));
        assertError("NoSuchEntity", () -> iam.deletePolicyVersion(r -> r.policyArn(policy.arn()).versionId("v6")));
        iam.setDefaultPolicyVersion(r -> r.policyArn(policy.arn()).versionId("v2"));
        assertEquals("v2", aws.iam.policy("policy/team/deny").defaultVersion);
        assertError("NoSuchEntity", () -> iam.setDefaultPolicyVersion(r -> r.policyArn(policy.arn()).versionId("v6")));
        iam.setDefaultPolicyVersion(r -> r.policyArn(policy.arn()).versionId("v5"));
        iam.attachRolePolicy(r -> r.roleName("Developer").policyArn(policy.arn()));
        iam.attachRolePolicy(r -> r.roleName("Developer").policyArn(policy.arn()));
        assertEquals(1, iam.getPolicy(r -> r.policyArn(policy.arn())).policy().attachmentCount());
        assertError("DeleteConflict", () -> iam.deletePolicy(r -> r.policyArn(policy.arn())));
        iam.detachRolePolicy(r -> r.roleName("Developer").policyArn(policy.arn()));
        assertError("NoSuchEntity", () -> iam.detachRolePolicy(r -> r.roleName("Developer").policyArn(policy.arn())));
        assertError("DeleteConflict", () -> iam.deletePolicy(r -> r.policyArn(policy.arn())));
        for (var version : List.of("v1", "v2", "v3", "v4")) {
            iam.deletePolicyVersion(r -> r.policyArn(policy.arn()).versionId(version));
        }
        assertEquals("v6",
                iam.createPolicyVersion(r -> r.policyArn(policy.arn()).policyDocument(ALLOW_ALL)).policyVersion()
                        .versionId(),
                "numbers are not used twice");
        iam.deletePolicyVersion(r -> r.policyArn(policy.arn()).versionId("v6"));
        iam.deletePolicy(r -> r.policyArn(policy.arn()));
        assertNull(aws.iam.policy("policy/team/deny"));
        assertError("NoSuchEntity", () -> iam.getPolicy(r -> r.policyArn(policy.arn())));
        assertError("InvalidInput", () -> iam.getPolicy(r -> r.policyArn("arn:aws-cn:iam::111122223333:policy/deny")));
        assertError("AccessDenied", () -> iam.createPolicyVersion(
                r -> r.policyArn("arn:aws:iam::aws:policy/AdministratorAccess").policyDocument(ALLOW_ALL)));
    }

    @Test
    void quotasCountWhatIsNotWhiteSpace() {
        aws.iam.createRole("Developer");
        aws.iam.createUser("alice");
        aws.iam.createGroup("Developers");
        iam.putRolePolicy(
                r -> r.roleName("Developer").policyName("a").policyDocument(ofSize(10_000) + " ".repeat(5000)));
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("b").policyDocument(ofSize(240)));
        assertError("LimitExceeded",
                () -> iam.putRolePolicy(r -> r.roleName("Developer").policyName("c").policyDocument(ofSize(200))));
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("a").policyDocument(ofSize(9_800)));
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("c").policyDocument(ofSize(200)));
        iam.putUserPolicy(r -> r.userName("alice").policyName("a").policyDocument(ofSize(2048)));
        assertError("LimitExceeded",
                () -> iam.putUserPolicy(r -> r.userName("alice").policyName("a").policyDocument(ofSize(2049))));
        iam.putGroupPolicy(r -> r.groupName("Developers").policyName("a").policyDocument(ofSize(5120)));
        assertError("LimitExceeded",
                () -> iam.putGroupPolicy(r -> r.groupName("Developers").policyName("a").policyDocument(ofSize(5121))));
        iam.createPolicy(r -> r.policyName("p").policyDocument(ofSize(6144)));
        assertError("LimitExceeded", () -> iam.createPolicy(r -> r.policyName("q").policyDocument(ofSize(6145))));
        assertError("LimitExceeded", () -> iam.createPolicyVersion(
                r -> r.policyArn("arn:aws:iam::111122223333:policy/p").policyDocument(ofSize(6145))));
        for (var i = 0; i < 11; i++) {
            var name = "n" + i;
            iam.createPolicy(r -> r.policyName(name).policyDocument(ALLOW_ALL));
            Executable attach = () -> iam
                    .attachUserPolicy(r -> r.userName("alice").policyArn("arn:aws:iam::111122223333:policy/" + name));
            if (i < 10) {
                assertDoesNotThrow(attach);
            } else {
                assertError("LimitExceeded", attach);
            }
        }
    }

    /** A policy of so many characters that are not white space. */
    static String ofSize(int size) {
        var empty = "{\"Version\": \"2012-10-17\", \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", "
                + "\"Resource\": \"arn:aws:s3:::\"}}";
        return empty.replace(":::", ":::" + "x".repeat(size - empty.replaceAll("\\s", "").length()));
    }

    @ParameterizedTest
    @CsvSource(quoteCharacter = '|', delimiter = ';', value = {
            "{'Version': '2012-10-17'",
            "{'Version': '2012-10-17', 'Statement': []}",
            "{'Version': '2012-10-17'}",
            "{'Version': '2020-01-01', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*'}}",
            "{'Version': '2012-10-17', 'Statements': {'Effect': 'Deny', 'Action': '*', 'Resource': '*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*', 'Effekt': "
                    + "'Deny'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*', 'Action': "
                    + "'s3:*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'deny', 'Action': '*', 'Resource': '*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Action': '*', 'Resource': '*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': []}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*', "
                    + "'NotResource': '*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Resource': '*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': 'GitPush', 'Resource': '*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': ['codecommit:Git Push'], "
                    + "'Resource': '*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': 'orders'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': "
                    + "'arn:aws-cn:codecommit:cn-north-1:111122223333:orders'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': "
                    + "'arn:aws:code*:eu-west-1:111122223333:orders'}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*', 'Principal': "
                    + "'*'}}",
            "{'Version': '2012-10-17', 'Statement': {'Sid': 'deny-main', 'Effect': 'Deny', 'Action': '*', "
                    + "'Resource': '*'}}",
            "{'Version': '2012-10-17', 'Statement': [{'Sid': 'A', 'Effect': 'Deny', 'Action': '*', 'Resource': '*'}, "
                    + "{'Sid': 'A', 'Effect': 'Deny', 'Action': 's3:*', 'Resource': '*'}]}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*', 'Condition': "
                    + "{'StringMatches': {'aws:x': 'y'}}}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*', 'Condition': "
                    + "{'NullIfExists': {'aws:x': 'true'}}}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*', 'Condition': "
                    + "{'StringLike': {'References': 'y'}}}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*', 'Condition': "
                    + "{'StringLike': 'y'}}}",
            "{'Version': '2012-10-17', 'Statement': {'Effect': 'Deny', 'Action': '*', 'Resource': '*'}} x"})
    void refusesWhatIsNoIdentityPolicy(String policy) {
        aws.iam.createRole("Developer");
        var document = policy.replace('\'', '"');
        assertError("MalformedPolicyDocument",
                () -> iam.putRolePolicy(r -> r.roleName("Developer").policyName("p").policyDocument(document)));
        assertError("MalformedPolicyDocument", () -> iam.createPolicy(r -> r.policyName("p").policyDocument(document)));
        assertError("InvalidInput", () -> iam.simulatePrincipalPolicy(
                r -> r.policySourceArn(ROLE).actionNames("s3:GetObject").policyInputList(document)));
        assertTrue(aws.iam.find("role/Developer").inline.isEmpty());
    }

    @Test
    void refusesWhatTheModelRefuses() {
        aws.iam.createRole("Developer");
        assertError("ValidationError",
                () -> iam.putRolePolicy(r -> r.roleName("Developer").policyName("a b").policyDocument(ALLOW_ALL)));
        assertError("ValidationError", () -> iam
                .putRolePolicy(r -> r.roleName("Developer").policyName("x".repeat(129)).policyDocument(ALLOW_ALL)));
        assertError("ValidationError", () -> iam
                .putRolePolicy(r -> r.roleName("Developer").policyName("p").policyDocument("{\"\u20ac\": 1}")));
        assertError("ValidationError",
                () -> iam.createPolicy(r -> r.policyName("p").path("team").policyDocument(ALLOW_ALL)));
        assertError("ValidationError", () -> iam.listRolePolicies(r -> r.roleName("Developer").maxItems(0)));
        assertError("ValidationError", () -> iam.simulatePrincipalPolicy(r -> r.policySourceArn(ROLE)));
        assertError("ValidationError",
                () -> iam.simulatePrincipalPolicy(r -> r.policySourceArn(ROLE).actionNames("s3:GetObject")
                        .contextEntries(ContextEntry.builder().contextKeyName("aws:x").contextKeyType("text")
                                .contextKeyValues("y").build())));
    }

    @Test
    void aServiceLinkedRoleIsNotTouched() {
        aws.iam.createRole("aws-service-role/cloud9.amazonaws.com/AWSServiceRoleForAWSCloud9");
        assertError("UnmodifiableEntity", () -> iam.putRolePolicy(
                r -> r.roleName("AWSServiceRoleForAWSCloud9").policyName("p").policyDocument(ALLOW_ALL)));
        assertError("UnmodifiableEntity", () -> iam.attachRolePolicy(r -> r.roleName("AWSServiceRoleForAWSCloud9")
                .policyArn("arn:aws:iam::aws:policy/AdministratorAccess")));
    }

    // The simulator

    List<EvaluationResult> simulate(SimulatePrincipalPolicyRequest.Builder request) {
        return iam.simulatePrincipalPolicyPaginator(request.build()).evaluationResults().stream().toList();
    }

    static SimulatePrincipalPolicyRequest.Builder push(String source, String ref) {
        var request = SimulatePrincipalPolicyRequest.builder().policySourceArn(source).actionNames("codecommit:GitPush")
                .resourceArns("arn:aws:codecommit:eu-west-1:111122223333:orders");
        return ref == null ? request
                : request.contextEntries(
                        ContextEntry.builder().contextKeyName("codecommit:References").contextKeyType("string")
                .contextKeyValues(ref).build());
    }

    @Test
    void simulatesThePoliciesOfAPrincipalWithThoseThatAreGiven() {
        aws.iam.createRole("Developer");
        iam.attachRolePolicy(r -> r.roleName("Developer").policyArn("arn:aws:iam::aws:policy/AdministratorAccess"));
        var main = simulate(push(ROLE, "refs/heads/main").policyInputList(DENY_MAIN)).get(0);
        assertEquals(PolicyEvaluationDecisionType.EXPLICIT_DENY, main.evalDecision());
        assertEquals(List.of("PolicyInputList.1"),
                main.matchedStatements().stream().map(Statement::sourcePolicyId).toList());
        assertEquals(PolicyEvaluationDecisionType.EXPLICIT_DENY,
                main.resourceSpecificResults().get(0).evalResourceDecision());
        var other = simulate(push(ROLE, "refs/heads/x").policyInputList(DENY_MAIN)).get(0);
        assertEquals(PolicyEvaluationDecisionType.ALLOWED, other.evalDecision());
        assertEquals(List.of("AdministratorAccess"),
                other.matchedStatements().stream().map(Statement::sourcePolicyId).toList());
        var none = simulate(push(ROLE, null).policyInputList(DENY_MAIN)).get(0);
        assertEquals(PolicyEvaluationDecisionType.ALLOWED, none.evalDecision());
        assertEquals(List.of("codecommit:References"), none.resourceSpecificResults().get(0).missingContextValues());
        assertEquals(PolicyEvaluationDecisionType.ALLOWED,
                simulate(push(ROLE, "refs/heads/main")).get(0).evalDecision());
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("deny").policyDocument(DENY_MAIN));
        assertEquals(List.of("role_Developer_deny"),
                simulate(push(ROLE, "refs/heads/main")).get(0).matchedStatements().stream()
                        .map(Statement::sourcePolicyId)
                .toList());
    }

    @Test
    void aUserHasItsGroupsPoliciesAndABoundaryLimits() {
        aws.iam.createUser("alice");
        aws.iam.createGroup("Developers", "alice");
        var alice = "arn:aws:iam::111122223333:user/alice";
        assertEquals(PolicyEvaluationDecisionType.IMPLICIT_DENY, simulate(push(alice, null)).get(0).evalDecision());
        iam.putGroupPolicy(r -> r.groupName("Developers").policyName("all").policyDocument(ALLOW_ALL));
        assertEquals(PolicyEvaluationDecisionType.ALLOWED, simulate(push(alice, null)).get(0).evalDecision());
        assertEquals(PolicyEvaluationDecisionType.ALLOWED,
                simulate(push("arn:aws:iam::111122223333:group/Developers", null)).get(0).evalDecision());
        var reads = ALLOW_ALL.replace("\"Action\": \"*\"", "\"Action\": \"s3:Get*\"");
        var limited = simulate(push(alice, null).permissionsBoundaryPolicyInputList(reads)).get(0);
        assertEquals(PolicyEvaluationDecisionType.IMPLICIT_DENY, limited.evalDecision());
        assertFalse(limited.permissionsBoundaryDecisionDetail().allowedByPermissionsBoundary());
        iam.createPolicy(r -> r.policyName("reads").policyDocument(reads));
        aws.iam.find("user/alice").boundary = "policy/reads";
        assertEquals("arn:aws:iam::111122223333:policy/reads",
                iam.getUser(r -> r.userName("alice")).user().permissionsBoundary().permissionsBoundaryArn());
        assertEquals(PolicyEvaluationDecisionType.IMPLICIT_DENY, simulate(push(alice, null)).get(0).evalDecision());
    }

    @Test
    void answersForEachActionAndResourceInPages() {
        aws.iam.createRole("Developer");
        var actions = IntStream.range(0, 7).mapToObj(i -> "codecommit:Action" + i).toList();
        var request = push(ROLE, null).actionNames(actions)
                .resourceArns("arn:aws:codecommit:eu-west-1:111122223333:a",
                        "arn:aws:codecommit:eu-west-1:111122223333:b");
        aws.iam.simulatorPageSize = 5;
        assertTrue(iam.simulatePrincipalPolicy(request.build()).isTruncated());
        aws.iam.simulatorGroupsResources = false;
        var results = simulate(request);
        assertEquals(14, results.size());
        assertEquals(14, results.stream().map(r -> r.evalActionName() + r.evalResourceName()).distinct().count());
        aws.iam.simulatorGroupsResources = true;
        results = simulate(request);
        assertEquals(7, results.size());
        assertEquals(
                List.of("arn:aws:codecommit:eu-west-1:111122223333:a", "arn:aws:codecommit:eu-west-1:111122223333:b"),
                results.get(3).resourceSpecificResults().stream().map(r -> r.evalResourceName()).toList());
        assertEquals("*", simulate(push(ROLE, null).resourceArns(List.of())).get(0).evalResourceName());
    }

    @Test
    void identityPoliciesLetAwssOwnPoliciesBeRead() {
        assertEquals("AdministratorAccess", iam.getPolicy(
                r -> r.policyArn("arn:aws:iam::aws:policy/AdministratorAccess")).policy().policyName());
        assertTrue(iam.getPolicyVersion(r -> r.policyArn("arn:aws:iam::aws:policy/AdministratorAccess")
                .versionId("v1")).policyVersion().isDefaultVersion());
    }

    @Test
    void oneResultForSeveralResourcesHasTheStrictestDecision() {
        aws.iam.createRole("Developer");
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("all").policyDocument(ALLOW_ALL));
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("deny").policyDocument(DENY_MAIN));
        var results = simulate(push(ROLE, "refs/heads/main").resourceArns(
                "arn:aws:codecommit:eu-west-1:111122223333:a", "arn:aws:codecommit:eu-west-1:111122223333:orders"));
        assertEquals(1, results.size());
        assertEquals("explicitDeny", results.get(0).evalDecisionAsString());
        assertEquals(List.of("allowed", "explicitDeny"), results.get(0).resourceSpecificResults().stream()
                .map(one -> one.evalResourceDecisionAsString()).toList());
        assertEquals(List.of("role_Developer_all"), results.get(0).resourceSpecificResults().get(0)
                .matchedStatements().stream().map(Statement::sourcePolicyId).toList());
    }

    @Test
    void serviceControlPoliciesDecideInTheSimulator() {
        aws.iam.createRole("Developer");
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("all").policyDocument(ALLOW_ALL));
        assertNull(simulate(push(ROLE, null)).get(0).organizationsDecisionDetail());
        aws.iam.serviceControlPolicies.add(ALLOW_ALL);
        var free = simulate(push(ROLE, "refs/heads/main")).get(0);
        assertEquals("allowed", free.evalDecisionAsString());
        assertTrue(free.organizationsDecisionDetail().allowedByOrganizations());
        aws.iam.serviceControlPolicies.add(DENY_MAIN);
        var denied = simulate(push(ROLE, "refs/heads/main")).get(0);
        assertEquals("explicitDeny", denied.evalDecisionAsString());
        assertFalse(denied.organizationsDecisionDetail().allowedByOrganizations());
        assertEquals("explicitDeny", denied.resourceSpecificResults().get(0).evalResourceDecisionAsString());
        aws.iam.serviceControlPolicies.remove(ALLOW_ALL);
        assertEquals("implicitDeny", simulate(push(ROLE, "refs/heads/x")).get(0).evalDecisionAsString());
    }

    @Test
    void theDetailsOfTheAccountHaveAllPrincipalsAndTheirPoliciesInPages() {
        var role = aws.iam.createRole("team/Developer");
        role.inline.put("all", ALLOW_ALL);
        role.tags.put("Team", "Payments");
        var alice = aws.iam.createUser("alice");
        aws.iam.createGroup("Developers", "alice").attached.add("aws:policy/AWSCodeCommitFullAccess");
        aws.iam.createPolicy("team/own", ALLOW_ALL).addVersion(DENY_MAIN);
        alice.boundary = "policy/team/own";
        var pages = iam.getAccountAuthorizationDetailsPaginator(r -> { }).stream().toList();
        assertTrue(pages.size() > 1, "in pages");
        var users = pages.stream().flatMap(page -> page.userDetailList().stream()).toList();
        assertEquals(List.of("alice", "operator"), users.stream().map(user -> user.userName()).toList());
        assertEquals(List.of("Developers"), users.get(0).groupList());
        assertEquals("arn:aws:iam::111122223333:policy/team/own",
                users.get(0).permissionsBoundary().permissionsBoundaryArn());
        var found = pages.stream().flatMap(page -> page.roleDetailList().stream()).toList().get(0);
        assertEquals("arn:aws:iam::111122223333:role/team/Developer", found.arn());
        assertEquals(ALLOW_ALL, URLDecoder.decode(found.rolePolicyList().get(0).policyDocument(),
                StandardCharsets.UTF_8));
        assertEquals("Payments", found.tags().get(0).value());
        var groups = pages.stream().flatMap(page -> page.groupDetailList().stream()).toList();
        assertEquals("arn:aws:iam::aws:policy/AWSCodeCommitFullAccess",
                groups.get(0).attachedManagedPolicies().get(0).policyArn());
        var policies = pages.stream().flatMap(page -> page.policies().stream()).toList();
        assertEquals(List.of("AWSCodeCommitFullAccess", "AdministratorAccess", "own"),
                policies.stream().map(policy -> policy.policyName()).sorted().toList());
        var own = policies.stream().filter(policy -> policy.policyName().equals("own")).findFirst().orElseThrow();
        assertEquals(List.of("v1", "v2"), own.policyVersionList().stream().map(v -> v.versionId()).toList());
        assertEquals(List.of(true, false), own.policyVersionList().stream().map(v -> v.isDefaultVersion()).toList());
        var filtered = iam.getAccountAuthorizationDetails(r -> r
                .filter(EntityType.ROLE, EntityType.LOCAL_MANAGED_POLICY));
        assertEquals(List.of(0, 0, 1, 1), List.of(filtered.userDetailList().size(), filtered.groupDetailList().size(),
                filtered.roleDetailList().size(), filtered.policies().size()));
    }

    @Test
    void aChangeShowsLateIfATestWantsIt() {
        aws.iam.createRole("Developer");
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("all").policyDocument(ALLOW_ALL));
        aws.iam.simulatorLag = 2;
        iam.putRolePolicy(r -> r.roleName("Developer").policyName("deny").policyDocument(DENY_MAIN));
        assertEquals(List.of("allowed", "allowed", "explicitDeny"),
                IntStream.range(0, 3)
                        .mapToObj(i -> simulate(push(ROLE, "refs/heads/main")).get(0).evalDecisionAsString()).toList());
        iam.deleteRolePolicy(r -> r.roleName("Developer").policyName("deny"));
        assertEquals(List.of("explicitDeny", "explicitDeny", "allowed"),
                IntStream.range(0, 3)
                        .mapToObj(i -> simulate(push(ROLE, "refs/heads/main")).get(0).evalDecisionAsString()).toList());
    }

    @Test
    void refusesSimulationsThatMakeNoSense() {
        aws.iam.createRole("Developer");
        assertError("NoSuchEntity", () -> simulate(push("arn:aws:iam::111122223333:role/Nobody", null)));
        assertError("InvalidInput", () -> simulate(push("arn:aws:sts::111122223333:assumed-role/Developer/me", null)));
        assertError("InvalidInput", () -> simulate(push("arn:aws:iam::111122223333:policy/Developer", null)));
        assertError("InvalidInput", () -> simulate(push("arn:aws-cn:iam::111122223333:role/Developer", null)));
        assertError("InvalidInput", () -> simulate(push(ROLE, null).actionNames("codecommit:Git*")));
        assertError("InvalidInput", () -> simulate(push(ROLE, null)
                .contextEntries(ContextEntry.builder().contextKeyName("codecommit:References").contextKeyType("string")
                        .contextKeyValues("a", "b").build())));
        aws.iam.unknownToSimulator.add("codecommit:GitPush");
        assertError("InvalidInput", () -> simulate(push(ROLE, null)));
    }

    @Test
    void listsRolesAndUsers() {
        aws.iam.createRole("team/Developer").maxSessionDuration = 7200;
        aws.iam.createRole("Backup");
        assertEquals(List.of("arn:aws:iam::111122223333:role/Backup", "arn:aws:iam::111122223333:role/team/Developer"),
                iam.listRolesPaginator().roles().stream().map(Role::arn).toList());
        assertEquals(List.of("operator"), iam.listUsersPaginator().users().stream().map(User::userName).toList());
        var role = iam.getRole(r -> r.roleName("Developer")).role();
        assertTrue(URLDecoder.decode(role.assumeRolePolicyDocument(), StandardCharsets.UTF_8)
                .contains("\"Principal\":{\"AWS\":\"111122223333\"}"));
        assertEquals(7200, role.maxSessionDuration());
    }

    @Test
    void simulatesPoliciesThatNobodyHas() {
        Function<List<String>, String> decision = references -> iam.simulateCustomPolicy(r -> r
                .policyInputList(DENY_MAIN, ALLOW_ALL).actionNames("codecommit:GitPush")
                .resourceArns("arn:aws:codecommit:eu-west-1:111122223333:orders")
                .contextEntries(ContextEntry.builder().contextKeyName("codecommit:References")
                        .contextKeyType(references.size() == 1 ? "string" : "stringList")
                        .contextKeyValues(references).build()))
                .evaluationResults().get(0).evalDecisionAsString();
        assertEquals("explicitDeny", decision.apply(List.of("refs/heads/main")));
        assertEquals("allowed", decision.apply(List.of("refs/heads/x")));
        // an operator for one value does not hold for a list
        assertEquals("allowed", decision.apply(List.of("refs/heads/main", "refs/heads/x")));
    }
}
