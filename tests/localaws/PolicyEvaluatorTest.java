package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import localaws.PolicyEvaluator.Decision;
import localaws.PolicyEvaluator.Match;
import localaws.PolicyEvaluator.Policy;
import localaws.PolicyEvaluator.Request;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * What IAM's documentation says of each element and operator, and then a few hundred random cases beside an independent
 * evaluator.
 */
class PolicyEvaluatorTest {
    static final String USER = "arn:aws:iam::111122223333:user/alice";
    static final String SESSION = "arn:aws:sts::111122223333:assumed-role/Backup/night";
    static final String ROLE = "arn:aws:iam::111122223333:role/Backup";
    static final String REPOSITORY = "arn:aws:codecommit:eu-west-1:111122223333:orders";

    /**
     * One Allow statement for GitPush on any repository, with this condition (' for ", ` for '), and no other context
     * than this.
     */
    private static boolean holds(String condition, Map<String, List<String>> context) {
        var policy = "{'Version': '2012-10-17', 'Statement': {'Effect': 'Allow', 'Action': '*', 'Resource': '*', "
                + "'Condition': "
                + condition + "}}";
        return evaluate(new Request(USER, "codecommit:GitPush", REPOSITORY, context), policy) == Decision.allowed;
    }

    private static Decision evaluate(Request request, String... policies) {
        return PolicyEvaluator
                .evaluate(request,
                        java.util.Arrays.stream(policies)
                                .map(p -> Policy.of("p", p.replace('\'', '"').replace('`', '\''))).toList())
                .decision();
    }

    @ParameterizedTest(name = "{0}: missing {1}, wanted {2}, other {3}, both {4}")
    @CsvSource({
            // operator                        missing wanted other both
            "StringEquals,                     false, true,  false, false",
            "StringNotEquals,                  true,  false, true,  false",
            "StringEqualsIfExists,             true,  true,  false, false",
            "StringNotEqualsIfExists,          true,  false, true,  false",
            "StringLike,                       false, true,  false, false",
            "StringNotLike,                    true,  false, true,  false",
            "StringEqualsIgnoreCase,           false, true,  false, false",
            "StringNotEqualsIgnoreCase,        true,  false, true,  false",
            "ForAllValues:StringEquals,        true,  true,  false, false",
            "ForAllValues:StringNotEquals,     true,  false, true,  false",
            "ForAnyValue:StringEquals,         false, true,  false, true",
            "ForAnyValue:StringNotEquals,      false, false, true,  true",
            "ForAnyValue:StringEqualsIfExists, true,  true,  false, true",
            "ForAllValues:StringLike,          true,  true,  false, false"})
    void missingAndSeveralValues(String operator, boolean missing, boolean wanted, boolean other, boolean both) {
        var condition = "{'" + operator + "': {'codecommit:References': ['a', 'b']}}";
        assertEquals(missing, holds(condition, Map.of()));
        assertEquals(missing, holds(condition, Map.of("codecommit:References", List.of())));
        assertEquals(wanted, holds(condition, Map.of("codecommit:references", List.of("b"))));
        assertEquals(other, holds(condition, Map.of("codecommit:References", List.of("c"))));
        assertEquals(both, holds(condition, Map.of("codecommit:References", List.of("a", "c"))));
    }

    @ParameterizedTest(name = "{0} {1} given {2}: {3}")
    @CsvSource({
            "StringEquals,             a*,                    ab,                    false",
            "StringLike,               a*,                    ab,                    true",
            "StringLike,               a?,                    abc,                   false",
            "StringLike,               refs/heads/release/*,  refs/heads/release/1/2, true",
            "StringLike,               refs/heads/release/*,  refs/heads/released,   false",
            "StringEqualsIgnoreCase,   Main,                  mAIN,                  true",
            "StringEquals,             Main,                  main,                  false",
            "StringLike,               a.c,                   abc,                   false",
            "ArnLike,                  arn:aws:iam::*:role/B*, arn:aws:iam::111122223333:role/Backup, true",
            "ArnEquals,                arn:aws:iam::*:role/B*, arn:aws:iam::111122223333:role/Backup, true",
            "ArnLike,                  arn:aws:iam:*:role/B*, arn:aws:iam::111122223333:role/Backup, false",
            "ArnNotLike,               arn:aws:iam::*:role/B*, arn:aws:iam::111122223333:role/Backup, false",
            "ArnNotEquals,             arn:aws:iam::*:role/C*, arn:aws:iam::111122223333:role/Backup, true",
            "Bool,                     true,                  true,                  true",
            "Bool,                     true,                  false,                 false",
            "NumericLessThan,          10,                    9.5,                   true",
            "NumericLessThanEquals,    10,                    10.0,                  true",
            "NumericGreaterThan,       10,                    10,                    false",
            "NumericGreaterThanEquals, 10,                    x,                     false",
            "NumericNotEquals,         10,                    11,                    true",
            "DateLessThan,             2026-11-22T00:00:00Z,  2026-11-21T23:59:59Z,  true",
            "DateGreaterThan,          2026-11-22,            1795305600,            false",
            "DateGreaterThanEquals,    2026-11-22,            1795305600,            true",
            "DateNotEquals,            2026-11-22T01:00:00+01:00, 2026-11-22T00:00:00Z, false",
            "IpAddress,                10.0.0.0/8,            10.255.0.1,            true",
            "IpAddress,                10.0.0.0/8,            11.0.0.1,              false",
            "NotIpAddress,             10.0.0.0/8,            11.0.0.1,              true",
            "IpAddress,                2001:db8::/32,         2001:db8:1::1,         true",
            "IpAddress,                2001:db8::/32,         10.0.0.1,              false",
            "IpAddress,                10.0.0.1,              10.0.0.1,              true"})
    void comparesByType(String operator, String wanted, String given, boolean holds) {
        assertEquals(holds,
                holds("{'" + operator + "': {'aws:x': '" + wanted + "'}}", Map.of("aws:x", List.of(given))));
    }

    @Test
    void nullAsksForPresence() {
        var there = Map.of("codecommit:References", List.of("refs/heads/main"));
        assertTrue(holds("{'Null': {'codecommit:References': 'false'}}", there));
        assertTrue(!holds("{'Null': {'codecommit:References': false}}", Map.of()));
        assertTrue(holds("{'Null': {'codecommit:References': 'true'}}", Map.of()));
        assertTrue(!holds("{'Null': {'codecommit:References': 'true'}}", there));
    }

    /** Condition keys have no letter case, those neither that are lists by the request's word. */
    @Test
    void aKeyIsAListHoweverThePolicySpellsIt() {
        var request = new Request(USER, "codecommit:GitPush", "*",
                Map.of("codecommit:References", List.of("refs/heads/main")), Set.of("codecommit:References"));
        var policy = "{'Version': '2012-10-17', 'Statement': {'Effect': 'Allow', 'Action': '*', 'Resource': '*', "
                + "'Condition': {'%s': {'%s': 'refs/heads/main'}}}}";
        for (var key : List.of("codecommit:References", "CodeCommit:references")) {
            assertEquals(Decision.implicitDeny, evaluate(request, policy.formatted("StringEquals", key)), key);
            assertEquals(Decision.allowed, evaluate(request, policy.formatted("ForAnyValue:StringEquals", key)), key);
        }
    }

    @Test
    void aVariableMayHaveADefault() {
        var policy = "{'Version': '2012-10-17', 'Statement': {'Effect': 'Allow', 'Action': '*', 'Resource': "
                + "'arn:aws:s3:::backup/${aws:PrincipalTag/team, `all`}/*'}}";
        assertEquals(Decision.allowed,
                evaluate(new Request(USER, "s3:GetObject", "arn:aws:s3:::backup/all/1", Map.of()), policy));
        assertEquals(Decision.implicitDeny, evaluate(new Request(USER, "s3:GetObject", "arn:aws:s3:::backup/all/1",
                Map.of("aws:PrincipalTag/team", List.of("x"))), policy));
        assertEquals(Decision.allowed,
                evaluate(
                        new Request(USER, "s3:GetObject", "arn:aws:s3:::backup/x/1",
                                Map.of("aws:PrincipalTag/team", List.of("x"))),
                policy));
    }

    @Test
    void allConditionsMustHoldAndAnyOfTheirValues() {
        var condition = "{'StringLike': {'codecommit:References': ['refs/heads/main', 'refs/heads/r*'], 'aws:x': "
                + "'1'}, 'Bool': {'aws:y': 'true'}}";
        assertTrue(holds(condition, Map.of("codecommit:References", List.of("refs/heads/r1"), "aws:x", List.of("1"),
                "aws:y", List.of("true"))));
        assertTrue(!holds(condition, Map.of("codecommit:References", List.of("refs/heads/r1"), "aws:x", List.of("2"),
                "aws:y", List.of("true"))));
        assertTrue(!holds(condition, Map.of("codecommit:References", List.of("refs/heads/r1"), "aws:x", List.of("1"))));
    }

    @Test
    void fillsVariablesAndTakesTheirTextLiterally() {
        var name = Map.of("aws:username", List.of("a*"));
        assertTrue(holds("{'StringLike': {'aws:x': '${aws:username}/*'}}",
                Map.of("aws:username", List.of("a"), "aws:x", List.of("a/b"))));
        assertTrue(!holds("{'StringLike': {'aws:x': '${aws:username}'}}",
                Map.of("aws:username", name.get("aws:username"), "aws:x", List.of("ab"))));
        assertTrue(holds("{'StringLike': {'aws:x': 'a${*}'}}", Map.of("aws:x", List.of("a*"))));
        assertTrue(!holds("{'StringLike': {'aws:x': 'a${*}'}}", Map.of("aws:x", List.of("ab"))));
        assertTrue(!holds("{'StringEquals': {'aws:x': '${aws:username}'}}", Map.of("aws:x", List.of("a"))));
        assertTrue(holds("{'StringEquals': {'aws:x': '${aws:PrincipalTag/team, `none`}'}}",
                Map.of("aws:x", List.of("none"))));
        var old = "{'Version': '2008-10-17', 'Statement': {'Effect': 'Allow', 'Action': '*', 'Resource': '*', "
                + "'Condition': {'StringEquals': {'aws:x': '${aws:username}'}}}}";
        assertEquals(Decision.allowed,
                evaluate(new Request(USER, "s3:GetObject", "*", Map.of("aws:x", List.of("${aws:username}"))), old));
    }

    @ParameterizedTest(name = "{0} {1}: {2}")
    @CsvSource({
            "arn:aws:codecommit:eu-west-1:111122223333:orders,  arn:aws:codecommit:eu-west-1:111122223333:orders, true",
            "arn:aws:codecommit:eu-west-1:111122223333:Orders, arn:aws:codecommit:eu-west-1:111122223333:orders, false",
            "arn:aws:codecommit:*:111122223333:ord*,            arn:aws:codecommit:eu-west-1:111122223333:orders, true",
            "arn:aws:codecommit:*,                              arn:aws:codecommit:eu-west-1:111122223333:orders, true",
            "arn:aws:codecommit,                                arn:aws:codecommit:eu-west-1:111122223333:orders, true",
            "arn:aws:codecommit:eu-*-1:111122223333:orders,     arn:aws:codecommit:eu-west-1:111122223333:orders, true",
            "arn:aws:codecommit:e*1:orders,                    arn:aws:codecommit:eu-west-1:111122223333:orders, false",
            "arn:aws:s3:::backup/*,                             arn:aws:s3:::backup/a/b, true",
            "arn:aws:s3:::backup/*,                             arn:aws:s3:::backup, false",
            "arn:aws:codecommit:*:*:*,                          *, false",
            "*,                                                 *, true"})
    void matchesResources(String pattern, String resource, boolean matches) {
        var request = new Request(USER, "codecommit:GitPull", resource, Map.of());
        var policy = "{'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 'codecommit:git*', '%s': "
                + "['arn:aws:s3:::x', '"
                + pattern + "']}]}";
        assertEquals(matches ? Decision.allowed : Decision.implicitDeny,
                evaluate(request, policy.formatted("Resource")));
        assertEquals(matches ? Decision.implicitDeny : Decision.allowed,
                evaluate(request, policy.formatted("NotResource")));
    }

    @Test
    void aDenyBeatsEveryAllowAndIsTheOnlyOneNamed() {
        var allow = Policy.of("allow",
                "{\"Statement\": {\"Sid\": \"All\", \"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}}");
        var deny = Policy.of("deny", """
                {"Version": "2012-10-17", "Statement": [
                  {"Sid": "Main", "Effect": "Deny", "NotAction": ["codecommit:Get*", "codecommit:GitPull"],
                   "Resource": "*", "Condition": {"StringEquals": {"codecommit:References": "refs/heads/main"}}}]}""");
        var main = PolicyEvaluator.evaluate(
                new Request(USER, "codecommit:GitPush", REPOSITORY,
                        Map.of("codecommit:References", List.of("refs/heads/main"))),
                List.of(allow, deny));
        assertEquals(new PolicyEvaluator.Result(Decision.explicitDeny, List.of(new Match("deny", "Main")), Set.of(),
                "with an explicit deny in an identity-based policy"),
                main);
        var none = PolicyEvaluator.evaluate(new Request(USER, "codecommit:GitPush", REPOSITORY, Map.of()),
                List.of(allow, deny));
        assertEquals(new PolicyEvaluator.Result(Decision.allowed, List.of(new Match("allow", "All")),
                Set.of("codecommit:References"), ""), none);
        assertEquals(Decision.allowed, PolicyEvaluator.evaluate(new Request(USER, "codecommit:gitpull", REPOSITORY,
                Map.of("codecommit:References", List.of("refs/heads/main"))),
                List.of(allow, deny)).decision());
        assertEquals(Decision.implicitDeny, PolicyEvaluator
                .evaluate(new Request(USER, "codecommit:GitPull", REPOSITORY, Map.of()), List.of(deny)).decision());
    }

    @ParameterizedTest(name = "{0} by {1}: {2} by itself, {3} beside an identity policy")
    @CsvSource(quoteCharacter = '|', value = {
            "{'AWS': '111122223333'},                                               "
                    + "arn:aws:iam::111122223333:user/alice,              implicitDeny, allowed",
            "{'AWS': 'arn:aws:iam::111122223333:root'},                             "
                    + "arn:aws:sts::111122223333:assumed-role/Backup/night, implicitDeny, allowed",
            "{'AWS': 'arn:aws:iam::111122223333:role/Backup'},                      "
                    + "arn:aws:sts::111122223333:assumed-role/Backup/night, allowed, allowed",
            "{'AWS': 'arn:aws:iam::111122223333:role/Backup'},                      "
                    + "arn:aws:sts::111122223333:assumed-role/Other/night, implicitDeny, implicitDeny",
            "{'AWS': 'arn:aws:sts::111122223333:assumed-role/Backup/night'},        "
                    + "arn:aws:sts::111122223333:assumed-role/Backup/night, allowed, allowed",
            "{'AWS': 'arn:aws:sts::111122223333:assumed-role/Backup/*'},            "
                    + "arn:aws:sts::111122223333:assumed-role/Backup/night, implicitDeny, implicitDeny",
            "{'AWS': 'arn:aws:iam::111122223333:user/alice'},                       "
                    + "arn:aws:iam::111122223333:user/alice,              allowed, allowed",
            "{'AWS': 'arn:aws:iam::444455556666:root'},                             "
                    + "arn:aws:iam::444455556666:user/eve,                implicitDeny, allowed",
            "{'AWS': 'arn:aws:iam::444455556666:user/eve'},                         "
                    + "arn:aws:iam::444455556666:user/eve,                implicitDeny, allowed",
            "{'AWS': 'arn:aws:iam::444455556666:user/eve'},                         "
                    + "arn:aws:iam::444455556666:user/mallory,            implicitDeny, implicitDeny",
            "'*',                                                                   "
                    + "arn:aws:iam::111122223333:user/alice,              allowed, allowed",
            "{'Service': 'codebuild.amazonaws.com'},                                codebuild.amazonaws.com,         "
                    + "                  allowed, allowed",
            "{'Service': 'codebuild.amazonaws.com'},                                events.amazonaws.com,            "
                    + "                  implicitDeny, implicitDeny",
            "{'Federated': 'cognito-identity.amazonaws.com'},                       "
                    + "arn:aws:iam::111122223333:user/alice,              implicitDeny, implicitDeny"})
    void keyPoliciesNeedAPrincipalAndAccountsAnIdentityPolicyToo(String principal, String who, Decision alone,
            Decision together) {
        var request = new Request(who, "kms:Decrypt", "arn:aws:kms:eu-west-1:111122223333:key/1", Map.of());
        var key = Policy.of("key",
                ("{'Statement': {'Effect': 'Allow', 'Action': 'kms:*', 'Resource': '*', 'Principal': " + principal
                        + "}}")
                .replace('\'', '"'));
        var all = Policy.of("all", "{\"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}}");
        assertEquals(alone, PolicyEvaluator.decide(request, List.of(), key, List.of()).decision());
        assertEquals(together, PolicyEvaluator.decide(request, List.of(all), key, List.of()).decision());
    }

    @Test
    void boundariesLimitIdentityPoliciesAndGrantsToRolesButNotToUsersAndSessions() {
        var all = Policy.of("all", "{\"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}}");
        var reads = Policy.of("reads",
                "{\"Statement\": {\"Effect\": \"Allow\", \"Action\": \"s3:GetObject\", \"Resource\": \"*\"}}");
        var write = new Request(SESSION, "s3:PutObject", "arn:aws:s3:::backup/a", Map.of());
        assertEquals(Decision.implicitDeny,
                PolicyEvaluator.decide(write, List.of(all), null, List.of(reads)).decision());
        assertEquals(Decision.allowed,
                PolicyEvaluator.decide(write, List.of(all), null, List.of(reads, all)).decision());
        assertEquals(Decision.implicitDeny,
                PolicyEvaluator.decide(write, List.of(), bucket(ROLE), List.of(reads)).decision());
        assertEquals(Decision.allowed,
                PolicyEvaluator.decide(write, List.of(), bucket(SESSION), List.of(reads)).decision());
        assertEquals(Decision.allowed, PolicyEvaluator.decide(write, List.of(), bucket(ROLE), List.of()).decision());
    }

    private static Policy bucket(String principal) {
        return Policy.of("bucket",
                "{\"Statement\": {\"Effect\": \"Allow\", \"Action\": \"s3:*\", \"Resource\": \"*\", \"Principal\": "
                        + "{\"AWS\": \""
                        + principal
                + "\"}}}");
    }

    @Test
    void anotherAccountNeedsBothPolicies() {
        var all = Policy.of("all", "{\"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}}");
        var request = new Request(SESSION, "s3:PutObject", "arn:aws:s3:::backup/a",
                Map.of("aws:ResourceAccount", List.of("444455556666")));
        assertEquals(Decision.implicitDeny,
                PolicyEvaluator.decide(request, List.of(), bucket(ROLE), List.of()).decision());
        assertEquals(Decision.implicitDeny,
                PolicyEvaluator.decide(request, List.of(all), bucket(USER), List.of()).decision());
        assertEquals(Decision.allowed,
                PolicyEvaluator.decide(request, List.of(all), bucket(ROLE), List.of()).decision());
    }

    @Test
    void notPrincipalSparesASessionOnlyWithItsRoleAndAccount() {
        var policy = "{'Statement': [{'Effect': 'Allow', 'Principal': '*', 'Action': '*', 'Resource': '*'}, "
                + "{'Effect': 'Deny', 'NotPrincipal': {'AWS': %s}, 'Action': '*', 'Resource': '*'}]}";
        var request = new Request(SESSION, "s3:PutObject", "arn:aws:s3:::backup/a", Map.of());
        assertEquals(Decision.explicitDeny, evaluate(request, policy.formatted("'" + ROLE + "'")));
        assertEquals(Decision.explicitDeny, evaluate(request, policy.formatted("['" + ROLE + "', '" + SESSION + "']")));
        assertEquals(Decision.allowed,
                evaluate(request, policy.formatted("['" + ROLE + "', '" + SESSION + "', '111122223333']")));
        assertEquals(Decision.allowed, evaluate(new Request(USER, "s3:PutObject", "arn:aws:s3:::backup/a", Map.of()),
                policy.formatted("['" + USER + "', '111122223333']")));
    }

    @Test
    void anOperatorThatIsNoneIsAnError() {
        assertThrows(IllegalArgumentException.class,
                () -> holds("{'StringMatches': {'aws:x': 'y'}}", Map.of("aws:x", List.of("y"))));
        assertThrows(IllegalArgumentException.class,
                () -> holds("{'ForSomeValues:StringLike': {'aws:x': 'y'}}", Map.of("aws:x", List.of("y"))));
    }

    // The independent evaluator

    @Test
    void decidesLikeAnIndependentEvaluator() throws Exception {
        var fresh = Boolean.getBoolean("tests.long");
        var seed = Long.getLong("tests.seed", fresh ? new Random().nextLong() : 20261126);
        var cases = new Cases(new Random(seed)).some(fresh ? 5000 : 800);
        var decisions = IndependentEvaluator.decide(cases);
        System.out.println("PolicyEvaluatorTest: tests.seed=" + seed);
        var seen = new LinkedHashMap<String, Integer>();
        var differences = new ArrayList<String>();
        for (var i = 0; i < cases.size(); i++) {
            var ours = decide(cases.get(i)).name();
            seen.merge(ours, 1, Integer::sum);
            if (!ours.equals(decisions.get(i))) {
                differences.add("here " + ours + ", there " + decisions.get(i) + ": " + cases.get(i));
            }
        }
        differences.sort(Comparator.comparing(String::length));
        assertEquals(List.of(), differences.subList(0, Math.min(3, differences.size())),
                differences.size() + " differ of " + cases.size() + " with tests.seed=" + seed);
        assertTrue(seen.values().stream().allMatch(n -> n > cases.size() / 20) && seen.size() == 3,
                "a mixture: " + seen);
    }

    private static Decision decide(JsonNode simulation) {
        var request = simulation.get("request");
        var context = new LinkedHashMap<String, List<String>>();
        request.get("contextVariables").properties().forEach(e -> context.put(e.getKey(), values(e.getValue())));
        context.put("aws:ResourceAccount", List.of(request.at("/resource/accountId").asText()));
        var asked = new Request(request.get("principal").asText(), request.get("action").asText(),
                request.at("/resource/resource").asText(), context);
        var session = simulation.has("sessionPolicy") ? List.of(new Policy("session", simulation.get("sessionPolicy")))
                : List.<Policy>of();
        return PolicyEvaluator.decide(asked, new PolicyEvaluator.Policies(policies(simulation.get("identityPolicies")),
                simulation.has("resourcePolicy") ? new Policy("resource", simulation.get("resourcePolicy")) : null,
                policies(simulation.path("permissionBoundaryPolicies")), session,
                policies(simulation.path("vpcEndpointPolicies")).stream().findFirst().orElse(null))).decision();
    }

    private static List<String> values(JsonNode node) {
        var values = new ArrayList<String>();
        if (node.isTextual()) values.add(node.asText());
        node.forEach(v -> values.add(v.asText()));
        return values;
    }

    private static List<Policy> policies(JsonNode list) {
        var policies = new ArrayList<Policy>();
        list.forEach(p -> policies.add(new Policy(p.get("name").asText(), p.get("policy"))));
        return policies;
    }

    /**
     * Requests that often meet their policies, and policies of every element and operator, each key with the operators
     * of its type.
     */
    static final class Cases {
        private static final Map<String, List<String>> ACTIONS = Map.of(
                "codecommit",
                List.of("codecommit:GitPush", "codecommit:GitPull", "codecommit:CreateCommit",
                        "codecommit:DeleteBranch"),
                "s3", List.of("s3:PutObject", "s3:GetObject", "s3:DeleteObject"),
                "kms", List.of("kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"),
                "sts", List.of("sts:AssumeRole"));
        private static final Map<String, List<String>> RESOURCES = Map.of(
                "codecommit",
                List.of("arn:aws:codecommit:eu-west-1:111122223333:orders",
                        "arn:aws:codecommit:eu-west-1:111122223333:billing"),
                "s3", List.of("arn:aws:s3:::backup/orders/main.bundle", "arn:aws:s3:::other/file"),
                "kms", List.of("arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
                "sts", List.of("arn:aws:iam::111122223333:role/Auditor"));
        private static final List<String> RESOURCE_PATTERNS = List.of("*",
                "arn:aws:codecommit:eu-west-1:111122223333:orders", "arn:aws:codecommit:*:111122223333:*",
                "arn:aws:codecommit:eu-west-1:*:b?lling", "arn:aws:s3:::backup/*", "arn:aws:s3:::*/file",
                "arn:aws:s3:::backup/${aws:PrincipalTag/team}/*",
                "arn:aws:kms:*:111122223333:key/*", "arn:aws:iam::111122223333:role/A*");
        private static final List<String> PRINCIPALS = List.of(USER, "arn:aws:iam::111122223333:user/bob", SESSION,
                "arn:aws:sts::111122223333:assumed-role/Other/day",
                "arn:aws:sts::444455556666:assumed-role/Backup/night");
        private static final List<String> PRINCIPAL_PATTERNS = List.of("*", "111122223333",
                "arn:aws:iam::111122223333:root", "444455556666", USER, ROLE, SESSION,
                "arn:aws:iam::444455556666:role/Backup");
        private static final Map<String, List<String>> OPERATORS = Map.of(
                "String",
                List.of("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase",
                        "StringLike", "StringNotLike"),
                "Arn", List.of("ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"),
                "Bool", List.of("Bool"),
                "Numeric",
                List.of("NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals",
                        "NumericGreaterThan", "NumericGreaterThanEquals"),
                "Date",
                List.of("DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan",
                        "DateGreaterThanEquals"),
                "IpAddress", List.of("IpAddress", "NotIpAddress"));

        private record Key(String name, String type, boolean several, List<String> given, List<String> wanted) { }

        private static final List<Key> KEYS = List.of(
                new Key("codecommit:References", "String", false,
                        List.of("refs/heads/main", "refs/heads/release/1", "refs/heads/x"),
                        List.of("refs/heads/main", "refs/heads/release/*", "REFS/heads/MAIN", "refs/heads/?",
                                "refs/heads/${aws:PrincipalTag/team, 'main'}")),
                new Key("aws:PrincipalTag/team", "String", false, List.of("orders", "ops"),
                        List.of("orders", "o*", "${aws:PrincipalTag/team}", "OPS")),
                new Key("aws:PrincipalOrgPaths", "String", true, List.of("o-a/r-1/ou-1/", "o-a/r-1/ou-2/", "o-b/r-2/"),
                        List.of("o-a/r-1/ou-1/", "o-a/*", "o-b/r-?/")),
                new Key("aws:TagKeys", "String", true, List.of("Team", "Stage", "Cost"), List.of("Team", "S*", "cost")),
                new Key("aws:username", "String", false, List.of("alice", "bob"),
                        List.of("alice", "${aws:username}", "b*")),
                new Key("aws:CalledVia", "String", true, List.of("athena.amazonaws.com", "kms.amazonaws.com"),
                        List.of("kms.amazonaws.com", "athena.*", "x")),
                new Key("aws:PrincipalArn", "Arn", false, List.of(ROLE, USER),
                        List.of(ROLE, "arn:aws:iam::*:role/*", "arn:aws:iam::111122223333:user/a????",
                                "arn:aws:iam::444455556666:role/Backup")),
                new Key("aws:SecureTransport", "Bool", false, List.of("true", "false"), List.of("true", "false")),
                new Key("aws:MultiFactorAuthAge", "Numeric", false, List.of("10", "3600", "7200"),
                        List.of("10", "3600", "5000")),
                new Key("aws:CurrentTime", "Date", false, List.of("2026-11-21T04:00:00Z", "2026-12-24T18:00:00Z"),
                        List.of("2026-11-21T04:00:00Z", "2026-12-01T00:00:00Z")),
                new Key("aws:SourceIp", "IpAddress", false, List.of("10.1.2.3", "192.0.2.7", "2001:db8::1"),
                        List.of("10.0.0.0/8", "192.0.2.7/32", "192.0.2.0/24", "2001:db8::/32")));

        private final Random random;

        Cases(Random random) {
            this.random = random;
        }

        private <T> T one(List<T> of) {
            return of.get(random.nextInt(of.size()));
        }

        private ArrayNode several(List<String> of) {
            var list = new ArrayList<>(of);
            Collections.shuffle(list, random);
            var array = Models.JSON.createArrayNode();
            list.subList(0, 1 + random.nextInt(Math.min(3, list.size()))).forEach(array::add);
            return array;
        }

        List<ObjectNode> some(int n) {
            var cases = new ArrayList<ObjectNode>();
            for (var i = 0; i < n; i++) cases.add(simulation());
            return cases;
        }

        private ObjectNode simulation() {
            var simulation = Models.JSON.createObjectNode();
            var service = one(List.of("codecommit", "codecommit", "s3", "kms", "sts"));
            var request = simulation.putObject("request");
            request.put("principal", one(service.equals("codecommit") ? PRINCIPALS.subList(0, 4) : PRINCIPALS))
                    .put("action", one(ACTIONS.get(service)));
            request.putObject("resource").put("resource", one(RESOURCES.get(service))).put("accountId", "111122223333");
            var context = request.putObject("contextVariables");
            for (var key : KEYS) {
                if (random.nextInt(3) > 0 && (!key.name.startsWith("codecommit:") || service.equals("codecommit")
                        && !request.get("action").asText().endsWith("GitPull"))) {
                    if (key.several) {
                        context.set(key.name, several(key.given));
                    } else {
                        context.put(key.name, one(key.given));
                    }
                }
            }
            if (context.has("aws:PrincipalArn")) {
                context.put("aws:PrincipalArn", roleOf(request.get("principal").asText()));
            }
            var identity = simulation.putArray("identityPolicies");
            for (var i = random.nextInt(3); i >= 0; i--) {
                identity.addObject().put("name", "identity" + i).set("policy", policy(service, false));
            }
            simulation.putArray("serviceControlPolicies");
            simulation.putArray("resourceControlPolicies");
            if (service.matches("kms|sts") || service.equals("s3") && random.nextBoolean()) {
                simulation.set("resourcePolicy", policy(service, true));
            }
            if (random.nextInt(5) == 0) {
                simulation.putArray("permissionBoundaryPolicies").addObject().put("name", "boundary").set("policy",
                        policy(service, false));
            }
            if (random.nextInt(5) == 0 && request.get("principal").asText().contains("assumed-role")) {
                simulation.set("sessionPolicy", policy(service, false));
            }
            if (random.nextInt(5) == 0) {
                simulation.putArray("vpcEndpointPolicies").addObject().put("name", "endpoint")
                        .set("policy", endpointPolicy(service));
            }
            return simulation;
        }

        private static String roleOf(String principal) {
            return principal.replaceAll("sts(::\\d+:)assumed-(role/\\w+)/.*", "iam$1$2");
        }

        private ObjectNode endpointPolicy(String service) {
            var policy = policy(service, true);
            policy.get("Statement").forEach(s -> ((ObjectNode) s).put("Principal", "*"));
            return policy;
        }

        private ObjectNode policy(String service, boolean principal) {
            var policy = Models.JSON.createObjectNode().put("Version", "2012-10-17");
            var statements = policy.putArray("Statement");
            for (var i = random.nextInt(3); i >= 0; i--) {
                var statement = statements.addObject().put("Sid", "S" + i).put("Effect",
                        random.nextInt(3) == 0 ? "Deny" : "Allow");
                // NotPrincipal is left out: the guide says that it must name account, role and session, the other
                // evaluator is content with one.
                if (principal) statement.putObject("Principal").set("AWS", several(PRINCIPAL_PATTERNS));
                var actions = new ArrayList<>(ACTIONS.get(service));
                actions.addAll(List.of("*", service + ":*", service + ":D*", service + ":Git????"));
                statement.set(random.nextInt(6) == 0 ? "NotAction" : "Action", several(actions));
                var resources = new ArrayList<>(principal ? List.of("*") : RESOURCE_PATTERNS);
                if (service.equals("s3")) resources.remove("*");
                if (service.equals("s3")) resources.add("arn:aws:s3:::*");
                var not = random.nextInt(8) == 0 && !principal;
                // the guide does not say what NotResource makes of a variable without a value
                if (not) resources.removeIf(r -> r.contains("${"));
                statement.set(not ? "NotResource" : "Resource", several(resources));
                for (var c = random.nextInt(3); c > 0; c--) condition(statement, service);
            }
            return policy;
        }

        private void condition(ObjectNode statement, String service) {
            var key = one(service.equals("codecommit") ? KEYS : KEYS.subList(1, KEYS.size()));
            if (random.nextInt(8) == 0) {
                statement.withObject("/Condition").withObject("/Null").put(key.name,
                        random.nextBoolean() ? "true" : "false");
                return;
            }
            var operator = one(OPERATORS.get(key.type));
            if (key.several || random.nextInt(6) == 0) {
                operator = one(List.of("ForAllValues:", "ForAnyValue:", "")) + operator;
            }
            // Of ForAnyValue with IfExists and a missing key the guide says true, the other evaluator false: left out.
            if (random.nextInt(3) == 0 && !operator.startsWith("ForAnyValue")) operator += "IfExists";
            statement.withObject("/Condition").withObject("/" + operator).set(key.name, several(key.wanted));
        }
    }
}
