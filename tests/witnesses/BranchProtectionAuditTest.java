import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import localaws.Iam;
import localaws.IndependentEvaluator;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * What audit-branch-protection finds in an account of 60 repositories and 40 principals, whose policies are drawn from
 * all that IAM's grammar has and an operator may meet: the audit asks about few of them, an independent evaluator about
 * each principal, repository and action.
 */
class BranchProtectionAuditTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String ACCOUNT = "arn:aws:iam::111122223333:";
    static final String REPOSITORY = "arn:aws:codecommit:eu-west-1:111122223333:";
    static final List<String> TEAMS = List.of("pay", "web", "data", "ops");
    static final List<List<String>> ACTIONS = List.of(List.of("codecommit:*"), List.of("*"),
            List.of("codecommit:GitPush", "codecommit:GitPull"), List.of("codecommit:Merge*", "codecommit:PutFile"),
            List.of("codecommit:Create*", "codecommit:Delete*"), List.of("CodeCommit:gitpush"), List.of("s3:*"));
    static final List<List<String>> RESOURCES = List.of(List.of("*"), List.of(REPOSITORY + "*"),
            List.of(REPOSITORY + "pay-*", REPOSITORY + "web-1?"), List.of("arn:aws:codecommit:*:*:*-2"),
            List.of("arn:aws:codecommit:eu-west-2:111122223333:*"),
            List.of(REPOSITORY + "data-3", REPOSITORY + "ops-4"),
            List.of(REPOSITORY + "${aws:username}-*"), List.of(REPOSITORY + "${aws:PrincipalTag/team}-*"),
            List.of("arn:aws:codecommit:*:*:*"), List.of("arn:*:codecommit:eu-*:111122223333:*a*"));
    static final List<String> CONDITIONS = List.of("", "", "",
            "{'StringEquals':{'codecommit:References':'refs/heads/main'}}",
            "{'StringEqualsIfExists':{'codecommit:References':['refs/heads/main','refs/heads/prod']},"
                    + "'Null':{'codecommit:References':'false'}}",
            "{'StringLike':{'codecommit:References':'refs/heads/m*'}}",
            "{'ForAnyValue:StringLike':{'codecommit:References':['refs/heads/main','x']}}",
            "{'StringNotLikeIfExists':{'codecommit:References':'refs/heads/feature/*'}}",
            "{'Null':{'codecommit:References':'true'}}",
            "{'ArnLike':{'aws:PrincipalArn':'arn:aws:iam::*:role/team/*'}}",
            "{'StringEquals':{'aws:RequestedRegion':'eu-west-1'}}",
            "{'StringNotEquals':{'aws:PrincipalTag/team':'pay'}}",
            "{'Bool':{'aws:SecureTransport':'false'}}",
            "{'IpAddress':{'aws:SourceIp':'10.0.0.0/8'}}",
            "{'BoolIfExists':{'aws:MultiFactorAuthPresent':'false'}}");

    final LocalAws aws = LocalAws.start();
    final Random random = new Random(20261126);
    final List<String> repositories = new ArrayList<>();
    final Map<String, Iam.Principal> principals = new TreeMap<>();
    /** What decides for each principal, by its ARN. */
    final Map<String, ObjectNode> simulations = new TreeMap<>();

    @BeforeEach
    void makeAccount() {
        Script.use(aws);
        aws.iam.simulatorPageSize = 100;
        for (var team : TEAMS) {
            for (var i = 0; i < 15; i++) {
                repositories.add(team + "-" + i);
                aws.codecommit.createRepository(team + "-" + i);
            }
        }
        for (var name : List.of("shared", "limits")) aws.iam.createPolicy(name, policy());
        var users = Stream.concat(TEAMS.stream(), IntStream.range(0, 11).mapToObj(i -> "user" + i))
                .map(name -> aws.iam.createUser(name)).toList();
        var groups = IntStream.range(0, 4).mapToObj(i -> aws.iam.createGroup("group" + i)).toList();
        var roles = IntStream.range(0, 25).mapToObj(i -> aws.iam.createRole((i % 3 == 0 ? "team/" : "") + "role" + i))
                .toList();
        groups.forEach(group -> give(group, 1));
        for (var principal : Stream.concat(users.stream(), roles.stream()).toList()) {
            give(principal, random.nextInt(3) + (principal.kind.equals("role") ? 1 : 0));
            if (principal.kind.equals("user") && random.nextInt(3) > 0) principal.groups.add(one(groups).name);
            if (random.nextInt(5) == 0) principal.attached.add("policy/shared");
            if (random.nextInt(6) == 0) principal.attached.add("aws:policy/AWSCodeCommitFullAccess");
            if (random.nextInt(6) == 0) principal.boundary = "policy/limits";
            if (random.nextInt(2) == 0) principal.tags.put("team", one(TEAMS));
            principals.put(ACCOUNT + principal.kind + principal.path + principal.name, principal);
        }
        oddities(roles);
        principals.forEach((arn, principal) -> simulations.put(arn, simulation(arn, principal)));
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    void give(Iam.Principal principal, int policies) {
        for (var i = 0; i < policies; i++) principal.inline.put("p" + i, policy());
    }

    /** What chance may not bring. */
    void oddities(List<Iam.Principal> roles) {
        roles.get(0).inline.put("all", """
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"},
                 {"Effect": "Deny", "NotAction": ["codecommit:Get*", "codecommit:GitP*"], "Resource": "*"}]}""");
        roles.get(1).inline.put("all", """
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "NotAction": "iam:*", "NotResource":
                 ["%spay-*", "%sops-1"]}]}""".formatted(REPOSITORY, REPOSITORY));
        roles.get(2).trust = """
                {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole",
                 "Principal": {"Service": "codebuild.amazonaws.com"}}}""";
        roles.get(3).inline.put("iam", """
                {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}}""");
        roles.get(4).boundary = "aws:policy/AWSCodeCommitFullAccess";
    }

    <T> T one(List<T> values) {
        return values.get(random.nextInt(values.size()));
    }

    String policy() {
        var policy = JSON.createObjectNode().put("Version", "2012-10-17");
        for (var i = random.nextInt(3); i >= 0; i--) {
            var statement = policy.withArray("Statement").addObject()
                    .put("Effect", random.nextInt(3) == 0 ? "Deny" : "Allow");
            statement.set(random.nextInt(6) == 0 ? "NotAction" : "Action", JSON.valueToTree(one(ACTIONS)));
            statement.set(random.nextInt(8) == 0 ? "NotResource" : "Resource", JSON.valueToTree(one(RESOURCES)));
            var condition = one(CONDITIONS);
            if (!condition.isEmpty()) statement.set("Condition", parsed(condition.replace('\'', '"')));
        }
        return policy.toString();
    }

    static JsonNode parsed(String text) {
        try {
            return JSON.readTree(text);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** By iam-simulate's member names, for any action and repository. */
    ObjectNode simulation(String arn, Iam.Principal principal) {
        var simulation = JSON.createObjectNode();
        var asks = principal.kind.equals("user") ? arn
                : "arn:aws:sts::111122223333:assumed-role/" + principal.name + "/session";
        var context = simulation.putObject("request").put("principal", asks).putObject("contextVariables");
        context.put("aws:PrincipalArn", arn).put("aws:PrincipalAccount", "111122223333")
                .put("aws:RequestedRegion", "eu-west-1").put("aws:SecureTransport", "true")
                .put("codecommit:References", "refs/heads/main");
        if (principal.kind.equals("user")) context.put("aws:username", principal.name);
        principal.tags.forEach((key, value) -> context.put("aws:PrincipalTag/" + key, value));
        var identity = simulation.putArray("identityPolicies");
        var holders = Stream.concat(Stream.of(principal),
                principal.groups.stream().map(group -> aws.iam.find("group/" + group))).toList();
        for (var holder : holders) {
            holder.inline.values().forEach(text -> identity.addObject().put("name", "p" + identity.size())
                    .set("policy", parsed(text)));
            holder.attached.forEach(policy -> identity.addObject().put("name", "p" + identity.size())
                    .set("policy", managed(policy)));
        }
        simulation.putArray("serviceControlPolicies");
        simulation.putArray("resourceControlPolicies");
        if (principal.boundary != null) {
            simulation.putArray("permissionBoundaryPolicies").addObject().put("name", "boundary").set("policy",
                    managed(principal.boundary));
        }
        return filled(simulation, principal);
    }

    /** Iam-simulate does not fill in a variable behind the last colon of an ARN, as IAM does. */
    static ObjectNode filled(ObjectNode simulation, Iam.Principal principal) {
        var text = simulation.toString();
        if (principal.kind.equals("user")) text = text.replace("${aws:username}", principal.name);
        for (var tag : principal.tags.entrySet()) {
            text = text.replace("${aws:PrincipalTag/" + tag.getKey() + "}", tag.getValue());
        }
        return (ObjectNode) parsed(text);
    }

    JsonNode managed(String resource) {
        var policy = aws.iam.policy(resource);
        return parsed(policy.versions.get(policy.defaultVersion));
    }

    /** The actions by "principal repository", from the findings of one code. */
    Map<String, Set<String>> found(JsonNode result, String code) {
        var found = new TreeMap<String, Set<String>>();
        for (var finding : result.path("findings")) {
            if (!finding.path("code").asText().equals(code)) continue;
            var set = result.path("repositorySets").valueStream()
                    .filter(one -> one.path("name").equals(finding.path("repositorySet"))).findFirst().orElse(finding);
            var names = new TreeSet<>(texts(set.path("repositories")));
            if (names.remove("*")) {
                names.addAll(repositories);
                names.removeAll(texts(set.path("exceptRepositories")));
            }
            for (var name : names) {
                var actions = found.computeIfAbsent(finding.path("principal").asText() + " " + name,
                        one -> new TreeSet<>());
                actions.addAll(texts(finding.path("actions")));
                actions.removeIf(action -> !ApplyBranchDenyTest.WRITES.contains(action.substring(11)));
            }
        }
        found.values().removeIf(Set::isEmpty);
        return found;
    }

    static List<String> texts(JsonNode array) {
        return array.valueStream().map(JsonNode::asText).toList();
    }

    /** Of all questions; without --long a thirteenth of them, in which every action comes with every principal. */
    @Test
    void anIndependentEvaluatorAllowsTheSameToEachPrincipalInEachRepository() throws Exception {
        var run = Script.run(new AuditBranchProtection().commandLine(), "--branches", "main", "--all-repositories",
                "--except-users", "operator");
        assertEquals(4, run.exitCode(), run.err());
        assertEquals(40, run.json().at("/totals/roles").asInt() + run.json().at("/totals/users").asInt() - 1);
        var found = found(run.json(), "can-change-branch");
        var conditional = found(run.json(), "depends-on-conditions");
        assertTrue(found.size() > 300 && conditional.size() >= 30, found.size() + " " + conditional.size());

        var writes = ApplyBranchDenyTest.WRITES.stream().sorted().toList();
        var keys = new ArrayList<String>();
        var questions = new ArrayList<ObjectNode>();
        var asked = new LinkedHashMap<String, Set<String>>();
        var number = 0;
        for (var principal : simulations.entrySet()) {
            for (var repository : repositories) {
                var which = number++;
                var some = Boolean.getBoolean("tests.long") ? writes : List.of(writes.get(which % writes.size()));
                for (var action : some) {
                    var question = principal.getValue().deepCopy();
                    ((ObjectNode) question.get("request")).put("action", "codecommit:" + action).putObject("resource")
                            .put("resource", REPOSITORY + repository).put("accountId", "111122223333");
                    questions.add(question);
                    var key = principal.getKey() + " " + repository;
                    keys.add(key + " codecommit:" + action);
                    asked.computeIfAbsent(key, one -> new TreeSet<>()).add("codecommit:" + action);
                }
            }
        }
        var decisions = IndependentEvaluator.decide(questions);
        var differences = new ArrayList<String>();
        for (var i = 0; i < decisions.size(); i++) {
            var key = keys.get(i);
            var action = key.substring(key.lastIndexOf(' ') + 1);
            var of = key.substring(0, key.lastIndexOf(' '));
            var isFound = found.getOrDefault(of, Set.of()).contains(action);
            if (isFound != decisions.get(i).equals("allowed")) {
                differences.add(key + " is " + decisions.get(i) + ", found: " + isFound + " " + questions.get(i));
            }
            if (isFound && conditional.getOrDefault(of, Set.of()).contains(action)) {
                differences.add(key + " is allowed, and depends on conditions");
            }
        }
        assertEquals(List.of(), differences.subList(0, Math.min(3, differences.size())),
                differences.size() + " differ of " + decisions.size());
    }

    /** With addresses and sign-ins of each kind that the conditions ask for. */
    @Test
    void nothingThatSomeRequestIsAllowedIsMissedForItsConditions() throws Exception {
        var run = Script.run(new AuditBranchProtection().commandLine(), "--branches", "main", "--all-repositories",
                "--except-users", "operator");
        var conditional = found(run.json(), "depends-on-conditions");
        var found = found(run.json(), "can-change-branch");
        var questions = new ArrayList<ObjectNode>();
        var keys = new ArrayList<String>();
        for (var principal : simulations.entrySet()) {
            for (var i = 0; i < repositories.size(); i += Boolean.getBoolean("tests.long") ? 1 : 10) {
                for (var mfa : List.of("true", "false")) {
                    for (var address : List.of("10.0.0.1", "192.0.2.1")) {
                        var question = principal.getValue().deepCopy();
                        var request = (ObjectNode) question.get("request");
                        request.put("action", "codecommit:GitPush").putObject("resource")
                                .put("resource", REPOSITORY + repositories.get(i)).put("accountId", "111122223333");
                        request.withObject("contextVariables").put("aws:MultiFactorAuthPresent", mfa)
                                .put("aws:SourceIp", address);
                        questions.add(question);
                        keys.add(principal.getKey() + " " + repositories.get(i));
                    }
                }
            }
        }
        var decisions = IndependentEvaluator.decide(questions);
        var allowed = new TreeSet<String>();
        for (var i = 0; i < keys.size(); i++) if (decisions.get(i).equals("allowed")) allowed.add(keys.get(i));
        var said = new TreeSet<String>();
        for (var key : Set.copyOf(keys)) {
            var isSaid = Stream.of(found, conditional)
                    .anyMatch(some -> some.getOrDefault(key, Set.of()).contains("codecommit:GitPush"));
            if (isSaid) said.add(key);
        }
        var missed = new TreeSet<>(allowed);
        missed.removeAll(said);
        assertEquals(Set.of(), missed, "allowed in some way, and no finding");
    }
}
