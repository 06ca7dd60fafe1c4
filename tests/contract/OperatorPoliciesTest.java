import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import localaws.Iam;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The policies that operators paste, policies/operators. Each script does its whole job under its own, and says what is
 * missing when any action of any statement is.
 */
class OperatorPoliciesTest {
    static final ObjectMapper JSON = new ObjectMapper();
    /** What a script goes on without, and says so; by its Javadoc. */
    static final Map<String, Set<String>> OPTIONAL = Map.of("CreateKmsKey", Set.of("iam:GetRole", "iam:GetUser"),
            "CreateVpcEndpoint", Set.of("iam:GetRole", "iam:GetUser"),
            "AddRepoTrigger", Set.of("codecommit:BatchGetRepositories"),
            "CreateBackupBucket", Set.of("iam:GetRole", "kms:GenerateDataKey", "s3:PutObject"),
            "RequireApproval", Set.of("codecommit:GetPullRequest", "codecommit:ListPullRequests"),
            "VerifyBackups", Set.of("codecommit:ListRepositories", "s3:GetLifecycleConfiguration"));
    static final LocalAws aws = LocalAws.start();
    /** Actions that were decided for the operator since a run began. */
    static final Set<String> decided = new ConcurrentSkipListSet<>();
    static final Map<OperatorScenarios.Scenario, Whole> wholes = new HashMap<>();

    /** A run with all that the policy allows, and the actions that it needed. */
    record Whole(Script.Run run, Set<String> actions) {
    }

    @TempDir
    static Path directory;
    static OperatorScenarios scenarios;
    static Iam.Principal operator;
    static LocalAws.Login login;

    @BeforeAll
    static void start() {
        Script.use(aws);
        scenarios = new OperatorScenarios(aws, directory);
        operator = aws.iam.createRole("Operator");
        login = aws.as("arn:aws:iam::111122223333:role/Operator");
        aws.onDecision(decision -> {
            if (decision.request().principal().contains("/Operator/")) decided.add(decision.request().action());
        });
    }

    @AfterAll
    static void stop() throws IOException {
        aws.close();
        System.clearProperty("aws.sessionToken");
        SampleRepositories.deleteLarge();
    }

    // ---- What the policies are

    static Path file(String script) {
        return Path.of("policies/operators", Toolkit.kebab(script) + ".json");
    }

    static List<String> texts(JsonNode node) {
        return node.isArray() ? node.valueStream().map(JsonNode::asText).toList() : List.of(node.asText());
    }

    /** With its placeholders. */
    static JsonNode template(String script) throws IOException {
        return JSON.readTree(file(script).toFile());
    }

    /** As the README's command renders it, with the README's values but for these. */
    static ObjectNode rendered(String script, Map<String, String> placeholders) {
        var command = Pattern.compile("(?m)^sed (.*\\\\\n)*.*policies/operators/\\S+$").matcher(ReadmeTest.README)
                .results().map(found -> found.group()).findFirst().orElseThrow()
                .replaceFirst("\\S+$", file(script).toString());
        for (var value : placeholders.entrySet())
            command = command.replaceFirst("(?<=[$]\\{" + value.getKey() + "}\\|)[^|]*", value.getValue());
        try {
            var shell = new ProcessBuilder("sh", "-c", command).redirectErrorStream(true).start();
            var text = new String(shell.getInputStream().readAllBytes());
            assertEquals(0, shell.waitFor(), text);
            return (ObjectNode) JSON.readTree(text);
        } catch (IOException | InterruptedException e) {
            throw new AssertionError(command, e);
        }
    }

    @Test
    void thereIsOneForEachScript() throws IOException {
        try (var files = Files.list(Path.of("policies/operators"))) {
            assertEquals(Toolkit.scripts().stream().map(script -> file(script)).sorted().toList(),
                    files.sorted().toList());
        }
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void itsActionsAreThoseOfTheJavadoc(String script) throws IOException {
        var actions = new TreeSet<String>();
        for (var statement : template(script).path("Statement")) actions.addAll(texts(statement.path("Action")));
        assertEquals(String.join("\n", Script.iamActions(script)), String.join("\n", actions));
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void itCanBePasted(String script) {
        var policy = rendered(script, Map.of());
        assertFalse(policy.toString().contains("${"), "a placeholder that the README's command does not fill");
        assertTrue(policy.toString().length() <= 6144, "IAM takes 6,144 characters in a managed policy");
        assertEquals("2012-10-17", policy.path("Version").asText());
        var sids = new HashSet<String>();
        for (var statement : policy.path("Statement")) {
            assertTrue(statement.path("Sid").asText().matches("[A-Za-z]+"), statement.toString());
            assertTrue(sids.add(statement.path("Sid").asText()), statement.toString());
            assertEquals(Set.of("Sid", "Effect", "Action", "Resource"),
                    Set.copyOf(statement.propertyStream().map(Map.Entry::getKey)
                            .filter(name -> !name.equals("Condition")).toList()), statement.toString());
            assertEquals("Allow", statement.path("Effect").asText());
        }
    }

    /** Which resources an action takes, by the Service Authorization Reference. */
    static Pattern resource(String action) {
        var name = action.substring(action.indexOf(':') + 1);
        return Pattern.compile(switch (action.substring(0, action.indexOf(':'))) {
            case "cloudtrail" -> name.equals("DescribeTrails") ? "\\*" : "arn:aws:cloudtrail:\\*:\\*:trail/\\*";
            case "cloudwatch" -> name.equals("DescribeAlarms") ? "\\*"
                    : "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:build-\\*";
            case "codebuild" -> "arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup(-push)?";
            case "codecommit" -> Actions.WITHOUT_REPOSITORY.contains(name) ? "\\*"
                    : "arn:aws:codecommit:eu-west-1:111122223333:\\*";
            case "ec2" -> Actions.EC2.get(name).equals("*") ? "\\*"
                    : "arn:aws:ec2:eu-west-1:111122223333:(" + Actions.EC2.get(name).replace(' ', '|') + ")/.+";
            case "events" -> Set.of("ListRuleNamesByTarget", "ListRules", "TestEventPattern").contains(name) ? "\\*"
                    : "arn:aws:events:(eu-west-1|\\*):111122223333:rule/.+";
            case "iam" -> Set.of("GetAccountAuthorizationDetails", "SimulateCustomPolicy").contains(name) ? "\\*"
                    : "arn:aws:iam::(?:111122223333|444455556666|aws):("
                    + (name.equals("SimulatePrincipalPolicy") ? "group|role|user"
                    : Stream.of("Group", "Role", "User", "").filter(name.replace("EntitiesFor", "")::contains)
                            .findFirst().orElseThrow().toLowerCase().replaceFirst("^$", "policy")) + ")/.+";
            case "kms" -> Set.of("CreateKey", "ListAliases", "ListKeys").contains(name) ? "\\*"
                    : "arn:aws:kms:(eu-west-1|\\*):\\d{12}:(key/\\*" + (name.equals("CreateAlias") ? "|alias/.+" : "")
                            + ")";
            case "lambda" -> "arn:aws:lambda:eu-west-1:111122223333:function:build(:\\*)?";
            case "logs" -> "arn:aws:logs:eu-west-1:111122223333:log-group:"
                    + (name.equals("DescribeLogGroups") ? "\\*" : "/aws/codebuild/codecommit-backup(-push)?(:\\*)?");
            case "sns" -> name.equals("Unsubscribe") ? "\\*"
                    : "arn:aws:sns:(eu-west-1|\\*):111122223333:build-failures";
            case "s3" -> "arn:aws:s3:::my-toolkit(/codecommit-backup/toolkit.zip)?|arn:aws:s3:::my-backups"
                    + (Actions.OF_BUCKET.contains(name) ? "" : "/projects/codecommit-backup/\\*");
            default -> throw new AssertionError(action);
        });
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void itsActionsTakeItsResources(String script) {
        for (var statement : rendered(script, Map.of()).path("Statement")) {
            for (var action : texts(statement.path("Action"))) {
                assertFalse(action.contains("*"), statement.toString());
                for (var resource : texts(statement.path("Resource")))
                    assertTrue(resource(action).matcher(resource).matches(), action + " on " + resource);
            }
            var conditions = statement.path("Condition").toString();
            // IAM is one for all Regions
            if (statement.path("Resource").asText().equals("*")
                    && !texts(statement.path("Action")).stream().allMatch(action -> action.startsWith("iam:")))
                assertTrue(conditions.matches(".*\"aws:RequestedRegion\":\\[?\"eu-west-1\".*"), statement.toString());
            if (statement.path("Resource").toString().contains(":s3:")) {
                var owner = statement.path("Resource").toString().contains("my-toolkit") ? "111122223333"
                        : "444455556666";
                assertTrue(conditions.contains("\"aws:ResourceAccount\":\"" + owner + "\""), statement.toString());
            }
        }
    }

    // ---- What they are good for

    /** A run as somebody who has this policy alone. */
    static Script.Run run(OperatorScenarios.Scenario scenario, String sid, String action) throws Exception {
        Script.use(aws);
        System.clearProperty("aws.sessionToken");
        scenarios.clear();
        var invocation = scenario.preparation().prepare();
        var policy = rendered(scenario.script(), invocation.placeholders());
        operator.inline.put("operator", without(policy, sid, action).toString());
        System.setProperty("aws.accessKeyId", login.accessKeyId());
        System.setProperty("aws.secretAccessKey", login.secretAccessKey());
        System.setProperty("aws.sessionToken", login.sessionToken());
        decided.clear();
        return Script.run(invocation.script(), invocation.arguments().toArray(String[]::new));
    }

    /** A policy without one action of one statement. */
    static ObjectNode without(ObjectNode policy, String sid, String action) {
        var statements = (ArrayNode) policy.path("Statement");
        for (var i = 0; i < statements.size(); i++) {
            var statement = (ObjectNode) statements.get(i);
            if (!statement.path("Sid").asText().equals(sid)) continue;
            var actions = new ArrayList<>(texts(statement.path("Action")));
            assertTrue(actions.remove(action), action);
            if (actions.isEmpty()) statements.remove(i);
            else statement.set("Action", JSON.valueToTree(actions));
            return policy;
        }
        return policy;
    }

    static List<OperatorScenarios.Scenario> scenarios() {
        return Toolkit.scripts().stream().flatMap(script -> scenarios.of(script).stream()).toList();
    }

    static Whole whole(OperatorScenarios.Scenario scenario) throws Exception {
        if (!wholes.containsKey(scenario)) {
            var run = run(scenario, "", "");
            wholes.put(scenario, new Whole(run, Set.copyOf(decided)));
        }
        return wholes.get(scenario);
    }

    @ParameterizedTest
    @MethodSource("scenarios")
    void theWholeJobIsDoneUnderIt(OperatorScenarios.Scenario scenario) throws Exception {
        var run = whole(scenario).run;
        assertEquals(scenario.exitCode(), run.exitCode(), run.err() + run.out());
        assertTrue((run.out() + run.err()).contains(scenario.says()), run.out() + run.err());
    }

    /** The README tells operators to leave them out, since they allow to give anyone anything. */
    @Test
    void aManagedBranchDenyNeedsNoStatementOnInlinePolicies() throws Exception {
        var managed = scenarios.of("ApplyBranchDeny").stream().filter(one -> one.name().equals("a managed policy"));
        var actions = whole(managed.findFirst().orElseThrow()).actions;
        var statements = template("ApplyBranchDeny").path("Statement").valueStream()
                .filter(statement -> statement.path("Sid").asText().startsWith("InlinePolicyOf")).toList();
        assertEquals(3, statements.size());
        for (var statement : statements) {
            for (var action : texts(statement.path("Action"))) assertFalse(actions.contains(action), action);
        }
    }

    /** Whether the run is what it should be without an action: it fails, or goes on where that is documented. */
    static boolean isTold(Script.Run run, OperatorScenarios.Scenario scenario, String action) {
        var isOptional = OPTIONAL.getOrDefault(scenario.script(), Set.of()).contains(action);
        var isRight = isOptional ? run.exitCode() == scenario.exitCode()
                : run.exitCode() == 1 || run.exitCode() == 3;
        return isRight && Pattern.compile("\\b" + action + "\\b").matcher(run.out() + run.err()).find();
    }

    /** What the runs without an action said, or nothing if one of them is as it should be. */
    static String untold(String script, String sid, String action) throws Exception {
        var said = new StringBuilder();
        for (var scenario : scenarios.of(script)) {
            if (!whole(scenario).actions.contains(action)) continue;
            var run = run(scenario, sid, action);
            if (isTold(run, scenario, action)) return "";
            said.append("\n" + scenario + ": exit code " + run.exitCode() + ", " + run.err());
        }
        return sid + ", " + action + (said.isEmpty() ? ": is never needed" : said);
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void everyActionOfEveryStatementIsNeededAndNamedWhereItIsMissing(String script) throws Exception {
        var untold = new ArrayList<String>();
        var cases = 0;
        for (var statement : template(script).path("Statement")) {
            for (var action : texts(statement.path("Action"))) {
                cases++;
                untold.add(untold(script, statement.path("Sid").asText(), action));
            }
        }
        untold.removeIf(String::isEmpty);
        assertEquals("", String.join("\n", untold), untold.size() + " of " + cases + " removed actions");
    }
}
