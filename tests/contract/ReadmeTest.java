import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.math.BigDecimal;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.LocalAws;
import localaws.PolicyEvaluator;
import localaws.PolicyEvaluator.Decision;
import localaws.PolicyEvaluator.Policy;
import localaws.PolicyEvaluator.Request;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What README.md tells an operator to paste: its commands, policies and rules, and the requests that it counts. */
class ReadmeTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String README = Toolkit.read("README.md");

    static List<String> blocks(String language) {
        return Pattern.compile("(?ms)^```" + language + "\n(.*?)^```$").matcher(README).results()
                .map(block -> block.group(1)).toList();
    }

    static List<String> shell() {
        return blocks("sh");
    }

    /** The shell variables that the commands of the job begin with, and what AWS answers to two of them. */
    static Map<String, String> variables() {
        var variables = new TreeMap<>(Map.of("role", "arn:aws:iam::111122223333:role/codecommit-backup",
                "project", "arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup"));
        var block = shell().stream().filter(b -> b.contains("permissions.json")).findFirst().orElseThrow();
        var assignments = Pattern.compile("(?m)(?:^| )(\\w+)=([^\\s($]+)")
                .matcher(block.substring(0, block.indexOf("cat >")));
        assignments.results().forEach(v -> variables.put(v.group(1), v.group(2)));
        return variables;
    }

    /** A document that the README's commands write, as the shell writes it. */
    static JsonNode document(String file) throws IOException {
        var text = Pattern.compile("(?s)cat > " + Pattern.quote(file) + " <<EOF\n(.*?)\nEOF\n").matcher(README)
                .results().map(m -> m.group(1)).findFirst()
                .orElseThrow();
        return JSON.readTree(
                Pattern.compile("\\$(\\w+)").matcher(text).replaceAll(name -> variables().get(name.group(1))));
    }

    static Decision decide(JsonNode policy, String principal, String action, String resource, String... context) {
        var keys = new TreeMap<String, List<String>>();
        for (var i = 0; i < context.length; i += 2) keys.put(context[i], List.of(context[i + 1]));
        return PolicyEvaluator
                .evaluate(new Request(principal, action, resource, keys), List.of(new Policy("policy", policy)))
                .decision();
    }

    static final String JOB = "arn:aws:sts::111122223333:assumed-role/codecommit-backup/AWSCodeBuild-1";
    static final String KEY = "arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    static final String OBJECT = "arn:aws:s3:::my-backups/projects/codecommit-backup/111122223333/eu-west-1/payments/"
            + "x.full.bundle";
    /** Asks for every action in the place where the job needs it. */
    @Test
    void theJobsRoleMayDoWhatItsScriptsCallAndNothingElse() throws IOException {
        var policy = document("permissions.json");
        var allowed = new TreeSet<String>();
        for (var action : Actions.CODECOMMIT) {
            for (var resource : List.of("*", "arn:aws:codecommit:eu-west-1:111122223333:payments")) {
                if (decide(policy, JOB, "codecommit:" + action, resource) == Decision.allowed) {
                    allowed.add("codecommit:" + action);
                }
            }
        }
        for (var action : Actions.S3) {
            for (var resource : List.of("arn:aws:s3:::my-backups", OBJECT)) {
                if (decide(policy, JOB, "s3:" + action, resource) == Decision.allowed) allowed.add("s3:" + action);
            }
        }
        for (var action : Actions.KMS) {
            if (decide(policy, JOB, "kms:" + action, KEY, "kms:ViaService", "s3.eu-west-1.amazonaws.com")
                    == Decision.allowed) {
                allowed.add("kms:" + action);
            }
        }
        var called = Stream.of("BackupToS3", "VerifyBackups").flatMap(script -> Script.iamActions(script).stream())
                .collect(Collectors.toCollection(TreeSet::new));
        assertEquals(String.join("\n", called), String.join("\n", allowed));
    }

    @ParameterizedTest
    @CsvSource({"codecommit:GitPull, arn:aws:codecommit:eu-west-2:111122223333:payments, s3.eu-west-1.amazonaws.com",
            "codecommit:GitPull, arn:aws:codecommit:eu-west-1:777788889999:payments, s3.eu-west-1.amazonaws.com",
            "codecommit:GitPush, arn:aws:codecommit:eu-west-1:111122223333:payments, s3.eu-west-1.amazonaws.com",
            "s3:PutObject, arn:aws:s3:::my-backups/projects/other/x, s3.eu-west-1.amazonaws.com",
            "s3:GetObject, arn:aws:s3:::my-backups2/projects/codecommit-backup/x, s3.eu-west-1.amazonaws.com",
            "s3:ListBucket, arn:aws:s3:::my-backups2, s3.eu-west-1.amazonaws.com",
            "kms:Decrypt, arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab, "
                    + "codecommit.eu-west-1.amazonaws.com",
            "kms:Decrypt, arn:aws:kms:eu-west-1:444455556666:key/00000000-12ab-34cd-56ef-1234567890ab, "
                    + "s3.eu-west-1.amazonaws.com",
            "logs:PutLogEvents, arn:aws:logs:eu-west-1:111122223333:log-group:/aws/codebuild/other:*, "
                    + "s3.eu-west-1.amazonaws.com",
            "iam:PassRole, arn:aws:iam::111122223333:role/codecommit-backup, s3.eu-west-1.amazonaws.com"})
    void theJobsRoleMayDoNothingElsewhere(String action, String resource, String service) throws IOException {
        assertEquals(Decision.implicitDeny,
                decide(document("permissions.json"), JOB, action, resource, "kms:ViaService", service));
    }

    /** A service uses a role for this account's project and rules, and for nobody else's. */
    @ParameterizedTest
    @CsvSource({
            "trust.json, codebuild.amazonaws.com, 111122223333, "
                    + "arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup, allowed",
            "trust.json, codebuild.amazonaws.com, 111122223333, "
                    + "arn:aws:codebuild:eu-west-1:111122223333:project/other, implicitDeny",
            "trust.json, codebuild.amazonaws.com, 777788889999, "
                    + "arn:aws:codebuild:eu-west-1:777788889999:project/codecommit-backup, implicitDeny",
            "trust.json, events.amazonaws.com, 111122223333, "
                    + "arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup, implicitDeny",
            "trust.json, codebuild.amazonaws.com, , , implicitDeny",
            "schedule-trust.json, events.amazonaws.com, 111122223333, "
                    + "arn:aws:events:eu-west-1:111122223333:rule/codecommit-backup, allowed",
            "schedule-trust.json, events.amazonaws.com, 111122223333, "
                    + "arn:aws:events:eu-west-1:111122223333:rule/codecommit-backup-2, allowed",
            "schedule-trust.json, events.amazonaws.com, 111122223333, "
                    + "arn:aws:events:eu-west-1:111122223333:rule/other, implicitDeny",
            "schedule-trust.json, events.amazonaws.com, 777788889999, "
                    + "arn:aws:events:eu-west-1:777788889999:rule/codecommit-backup, implicitDeny",
            "schedule-trust.json, events.amazonaws.com, , , implicitDeny"})
    void theRolesAreForThisJobOnly(String file, String service, String account, String arn, Decision decision)
            throws IOException {
        var context = account == null ? new String[0]
                : new String[] {"aws:SourceAccount", account, "aws:SourceArn", arn};
        assertEquals(decision, decide(document(file), service, "sts:AssumeRole", "*", context));
    }

    @Test
    void theScheduleMayStartTheProjectAndNothingElse() throws IOException {
        var policy = document("schedule-permissions.json");
        assertEquals(Decision.allowed, decide(policy, JOB, "codebuild:StartBuild", variables().get("project")));
        assertEquals(Decision.implicitDeny,
                decide(policy, JOB, "codebuild:StartBuild", "arn:aws:codebuild:eu-west-1:111122223333:project/other"));
        assertEquals(Decision.implicitDeny, decide(policy, JOB, "codebuild:UpdateProject", variables().get("project")));
    }

    /** The project sets what the buildspec asks for, and the timeout that its deadline is made for. */
    @Test
    void theProjectFitsTheBuildspec() throws IOException {
        var project = document("project.json");
        var set = project.at("/environment/environmentVariables").valueStream()
                .map(v -> v.path("name").asText() + "=" + v.path("value").asText()).toList();
        assertEquals(List.of("BACKUP_BUCKET=my-backups", "BACKUP_BUCKET_OWNER=444455556666"), set);
        var deadline = Toolkit.buildspec().at("/env/variables/DEADLINE").asText();
        assertTrue(
                deadline.matches("\\d+m")
                        && Integer.parseInt(deadline.replace("m", "")) <= project.path("timeoutInMinutes").asInt() - 15,
                deadline);
        for (var variable : Toolkit.buildspec().at("/env/variables").properties()) {
            assertTrue(README.lines().anyMatch(line -> line.startsWith("| `" + variable.getKey() + "` |")
                    && line.contains("Default: `" + variable.getValue().asText() + "`")), variable.toString());
        }
    }

    /** Expiry leaves a year of whole restore points. */
    @Test
    void theExpiryOfTheTextLeavesAYear() {
        var days = 365 + Integer.parseInt(new BackupToS3().fullEvery.replace("d", ""));
        assertTrue(README.contains("with N = " + days + " that is a year"));
        assertTrue(README.contains("`--expire-after-days " + days + "`"));
    }

    @ParameterizedTest
    @MethodSource("shell")
    void itsCommandsAreBash(String block) throws Exception {
        var bash = new ProcessBuilder("bash", "-n", "-c", block).redirectErrorStream(true).start();
        var said = new String(bash.getInputStream().readAllBytes());
        assertEquals(0, bash.waitFor(), said);
    }

    /** Whatever the README calls a script with, the script takes. */
    @Test
    void itsCommandsAreOnesThatTheScriptsTake() throws Exception {
        var scripts = Toolkit.scripts().stream().collect(Collectors.toMap(Toolkit::kebab, script -> script));
        var commands = Pattern.compile("\\./jbang ((?:" + String.join("|", scripts.keySet()) + ")"
                + "(?: (?:\"[^\"]*\"|'[^']*'|[\\w$./:=*-]+))+)").matcher(README).results()
                .map(m -> m.group(1)).toList();
        assertTrue(commands.size() > 15, commands.toString());
        for (var command : commands) {
            var words = Toolkit.words(command.replaceAll("\\$\\w+", "x").replaceAll("\\s*\\\\\n\\s*", " "));
            Toolkit.command(scripts.get(words.get(0)))
                    .parseArgs(words.subList(1, words.size()).toArray(String[]::new));
        }
    }

    // What it costs

    static final int REPOSITORIES = 25;

    /**
     * A table row of the calls that were made for each repository, and not for the run: its records, and listings of
     * more than a repository.
     */
    static String row(String what, LocalAws aws) {
        var calls = aws.calls().stream().filter(call -> !call.name().matches("sts:.*|codecommit:ListRepositories"))
                .filter(call -> !call.input().toString().contains("/runs/")
                        && call.input().path("Prefix").asText("/r0/").matches(".*/r\\d+/"))
                .collect(Collectors.groupingBy(call -> kind(call.name()), Collectors.counting()));
        aws.clearCalls();
        var counts = Stream.of("Git", "API", "PUT", "GET")
                .map(kind -> new BigDecimal(calls.getOrDefault(kind, 0L)).divide(new BigDecimal(REPOSITORIES))
                        .stripTrailingZeros());
        return "| " + what + " | " + counts.map(BigDecimal::toPlainString).collect(Collectors.joining(" | ")) + " |";
    }

    private static String kind(String call) {
        if (call.equals("codecommit:GitPull")) return "Git";
        return call.startsWith("codecommit:") ? "API" : call.matches("s3:(Get|Head)Object") ? "GET" : "PUT";
    }

    @Test
    void theRequestsThatItCountsAreThoseThatAreMade() {
        try (var aws = LocalAws.start()) {
            Script.use(aws);
            aws.s3.createBucket("backups", "eu-west-1");
            for (var i = 0; i < REPOSITORIES; i++) {
                aws.codecommit.createRepository("r" + i).commit("refs/heads/main", "a.txt", "a".repeat(1000) + i);
            }
            var rows = new ArrayList<String>();
            backup(Duration.ZERO);
            rows.add(row("saved for the first time", aws));
            backup(Duration.ofDays(1));
            rows.add(row("unchanged", aws));
            backup(Duration.ofDays(8));
            rows.add(row("unchanged, and its settings are read (once a week)", aws));
            for (var i = 0; i < REPOSITORIES; i++) {
                aws.codecommit.repository("r" + i).commit("refs/heads/main", "b.txt", "b" + i);
            }
            backup(Duration.ofDays(9));
            rows.add(row("changed", aws));
            var verify = Script.run(new VerifyBackups().commandLine(), "--bucket", "backups");
            assertEquals(0, verify.exitCode(), verify.err());
            rows.add(row("verified, with a chain of two bundles", aws));
            var told = README.lines().filter(line -> line.matches("\\| (saved for|unchanged|changed|verified).*"))
                    .toList();
            assertEquals(String.join("\n", rows), String.join("\n", told));
        }
    }

    private static void backup(Duration later) {
        var script = new BackupToS3();
        script.clock = Clock.offset(Clock.systemUTC(), later);
        var run = Script.run(script.commandLine(), "--bucket", "backups");
        assertEquals(0, run.exitCode(), run.err());
    }

    /** What the README's formula prints is what it says that it prints. */
    @Test
    void theCostsAreWhatTheFormulaGives() throws Exception {
        var formula = shell().stream().filter(block -> block.startsWith("awk ")).findFirst().orElseThrow();
        var awk = new ProcessBuilder("bash", "-c", formula).redirectErrorStream(true).start();
        var said = new String(awk.getInputStream().readAllBytes());
        assertEquals(0, awk.waitFor(), said);
        var costs = said.lines().map(line -> line.replaceAll(".* ", "")).collect(Collectors.joining(" | ", "| ", " |"));
        assertTrue(README.contains("\n" + costs + "\n"), costs);
    }
}
