import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.math.BigDecimal;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.LocalAws;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
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

    /** The table of the job's variables has each of them, with its default. */
    @Test
    void theBuildspecsVariablesAreThoseOfTheTable() {
        for (var variable : Toolkit.buildspec().at("/env/variables").properties()) {
            var otherwise = variable.getValue().asText().isEmpty() ? "all" : "`" + variable.getValue().asText() + "`";
            assertTrue(README.lines().anyMatch(line -> line.startsWith("| `" + variable.getKey() + "` |")
                    && line.contains("Default: " + otherwise)), variable.toString());
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
                + "(?: (?:\"[^\"]*\"|'[^']*'|[\\w$./:=*-]+))+)")
                .matcher(README.replaceAll("\\\\\n *", "")).results()
                .map(m -> m.group(1)).toList();
        assertTrue(commands.size() > 15, commands.toString());
        for (var command : commands) {
            var words = Toolkit.words(command.replaceAll("\\$\\w+", "x"));
            Toolkit.command(scripts.get(words.get(0)))
                    .parseArgs(words.subList(1, words.size()).toArray(String[]::new));
        }
    }

    // What it costs

    static final int REPOSITORIES = 25;

    /**
     * A table row of the calls made for each repository, and not for the run: its records, the guide, and listings of
     * more than a repository.
     */
    static String row(String what, LocalAws aws) {
        var calls = aws.calls().stream().filter(call -> !call.name().matches("sts:.*|codecommit:ListRepositories"))
                .filter(call -> !call.input().toString().matches(".*(/runs/|/README.md).*")
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
