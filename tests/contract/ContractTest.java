import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.LocalAws;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;

/**
 * What all scripts have in common, read from their sources and their command lines, so that knowing one is knowing all.
 */
class ContractTest {
    static final ObjectMapper JSON = new ObjectMapper();
    /** Options that mean another thing in another script, by "script --option"; the others have one text everywhere. */
    static final Set<String> OWN_MEANING = Set.of("add-repo-trigger --all-repositories", "add-repo-trigger --branches",
            "add-repo-trigger --remove", "add-repo-trigger --repository-names", "add-repo-trigger --test",
            "audit-branch-protection --all-repositories", "audit-branch-protection --allow-pull-request-merges",
            "audit-branch-protection --branches", "audit-branch-protection --repository-names",
            "audit-encryption --repository-names",
            "backup-to-s3 --repository-names",
            "create-backup-bucket --bucket", "create-backup-bucket --expire-after-days",
            "create-backup-bucket --prefix", "create-kms-key --key-id", "create-vpc-endpoint --policy-file",
            "create-vpc-endpoint --repository-names", "share-kms-key --policy-file",
            "notify-build-failures --kms-key-id", "notify-build-failures --remove",
            "require-approval --all-repositories", "require-approval --branches", "require-approval --remove",
            "require-approval --repository-names", "restore-from-s3 --all", "restore-from-s3 --repository-name",
            "restore-from-s3 --repository-names", "schedule-backup --deadline", "schedule-backup --prefix",
            "schedule-backup --remove", "schedule-backup --security-group-ids", "schedule-backup --subnet-ids",
            "schedule-backup --vpc-id", "share-kms-key --remove", "verify-backups --repository-names",
            "watch-security-events --branches", "watch-security-events --bucket", "watch-security-events --remove",
            "watch-security-events --test");

    /**
     * Of scripts that need other options of the JVM: they hash all that they move, which the C1 compiler makes many
     * times slower. C2 compiles what is ten times as hot as it usually asks for, which is the hashing still, and not
     * what a start runs through: that took more than the start itself. For all: new objects go round in 16 MB, as the
     * first touch of memory takes longer than collecting it, and a start has nothing to keep.
     */
    static final Map<String, String> RUNTIME_OPTIONS = Stream.of("BackupToS3", "RestoreFromS3", "VerifyBackups")
            .collect(Collectors.toMap(script -> script, script ->
                    "-XX:+UseSerialGC -Xmn16m -XX:-UsePerfData -Djdk.console=java.base"
                            + (script.equals("VerifyBackups") ? "" : " -Dsun.net.http.retryPost=false")
                            + " -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=10000"
                            + " -XX:Tier4CompileThreshold=100000 -XX:Tier4BackEdgeThreshold=400000"));

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void beginsAsJBangWants(String script) {
        var lines = Toolkit.source(script).lines().toList();
        assertEquals("///usr/bin/env jbang \"$0\" \"$@\" ; exit $?", lines.get(0));
        assertTrue(Files.isExecutable(Path.of("scripts", script + ".java")), "has no run bit");
        var head = lines.subList(1, lines.indexOf(""));
        assertEquals(List.of(), head.stream()
                .filter(line -> !line.matches("//(DESCRIPTION|JAVA|DEPS|FILES|RUNTIME_OPTIONS) \\S.*")).toList(),
                "in the head");
        assertEquals(List.of(),
                lines.subList(head.size() + 1, lines.size()).stream().filter(line -> line.matches("//[A-Z_]+ .*"))
                        .toList(),
                "directives below the head");
        assertEquals(
                Stream.of("DESCRIPTION", "JAVA", "DEPS", "FILES", "RUNTIME_OPTIONS")
                        .filter(name -> !Toolkit.directives(script, name).isEmpty()).toList(),
                head.stream().map(line -> line.substring(2, line.indexOf(' '))).distinct().toList(),
                "the order of the directives");
        assertEquals(List.of("17+"), Toolkit.directives(script, "JAVA"));
        // Newer versions of Java have a console of their own, which is there without a terminal, too.
        var console = Toolkit.source(script).contains("System.console()") ? " -Djdk.console=java.base" : "";
        assertEquals(RUNTIME_OPTIONS.getOrDefault(script,
                "-XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1" + console),
                String.join(" ", Toolkit.directives(script, "RUNTIME_OPTIONS")));
        assertEquals(1, Toolkit.directives(script, "DESCRIPTION").size());
        assertTrue(Toolkit.directives(script, "DESCRIPTION").get(0).matches("[A-Z].*[a-z0-9]\\."),
                "the description is not a sentence");
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void dependsOnPinnedVersions(String script) {
        var dependencies = Toolkit.directives(script, "DEPS");
        assertTrue(dependencies.get(0).matches("software\\.amazon\\.awssdk:bom:[\\d.]+@pom"),
                "the AWS BOM is not the first: " + dependencies.get(0));
        for (var dependency : dependencies.subList(1, dependencies.size())) {
            assertTrue(
                    dependency.matches("software\\.amazon\\.awssdk:[a-z0-9-]+")
                            || dependency.matches("(?!software\\.amazon)[\\w.-]+:[\\w.-]+:\\d[\\w.-]*\\d[\\w-]*"),
                    "one pinned dependency a line: " + dependency);
        }
        assertEquals(dependencies.size(), new HashSet<>(dependencies).size(), "named twice: " + dependencies);
        for (var needed : List.of("sts", "sso", "ssooidc", "signin", "url-connection-client")) {
            assertTrue(dependencies.contains("software.amazon.awssdk:" + needed), needed + " is missing");
        }
    }

    @Test
    void dependsOnTheSameVersionsEverywhere() {
        var versions = new TreeMap<String, Set<String>>();
        var files = Stream.concat(Toolkit.scripts().stream().map(script -> "scripts/" + script + ".java"),
                Stream.of("tests/RunTests.java"));
        files.flatMap(file -> Toolkit.read(file).lines()).filter(line -> line.startsWith("//DEPS "))
                .map(line -> line.substring(7).split(":"))
                .filter(parts -> parts.length == 3)
                .forEach(parts -> versions.computeIfAbsent(parts[0] + ":" + parts[1], name -> new TreeSet<>())
                        .add(parts[2]));
        versions.forEach((name, found) -> assertEquals(1, found.size(), name + " in " + found));
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void bringsTheTemplatesThatItNamesAndNoOthers(String script) {
        var code = Toolkit.source(script).lines().filter(line -> !line.startsWith("//"))
                .collect(Collectors.joining("\n"));
        var named = Pattern.compile("\"([\\w-]+\\.json)\"").matcher(code).results().map(found -> found.group(1))
                .collect(Collectors.toCollection(TreeSet::new));
        var brought = new TreeSet<String>();
        for (var line : Toolkit.directives(script, "FILES")) {
            if (line.startsWith("toolkit/")) continue; // what schedule-backup puts into its zip
            var file = Pattern.compile("policies/([\\w-]+\\.json)=\\.\\./policies/\\1").matcher(line);
            assertTrue(file.matches(), "//FILES policies/x.json=../policies/x.json, not " + line);
            assertTrue(Files.exists(Path.of("policies", file.group(1))), file.group(1) + " does not exist");
            assertTrue(brought.add(file.group(1)), file.group(1) + " twice");
        }
        assertEquals(named, brought);
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void hasOneNameInEveryPlace(String script) {
        assertTrue(script.matches("([A-Z][a-z0-9]+){2,}"), "not VerbNoun");
        var alias = Toolkit.kebab(script);
        assertEquals(alias, Toolkit.command(script).getCommandName());
        var entry = Toolkit.aliases().get(alias);
        assertNotNull(entry, "no such alias in jbang-catalog.json: " + alias);
        assertEquals("scripts/" + script + ".java", entry.path("script-ref").asText());
        assertEquals(Toolkit.directives(script, "DESCRIPTION").get(0), entry.path("description").asText());
        assertTrue(Files.exists(Path.of("tests/scripts", script + "Test.java")), "has no test class");
        var lines = Toolkit.source(script).lines().toList();
        assertEquals(1,
                lines.stream().filter(line -> line.matches("(public )?(final )?(class|record|interface|enum) .*"))
                        .count(),
                "helpers are nested: top-level ones clash in the tests");
        assertEquals(List.of(),
                lines.stream().filter(line -> line.matches("import static .*\\*;|package .*")).toList());
    }

    @Test
    void everyAliasLeadsToAFile() {
        var files = Toolkit.aliases().values().stream().map(alias -> alias.path("script-ref").asText());
        assertEquals(List.of(), files.filter(file -> !Files.exists(Path.of(file))).toList());
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void hasTheOptionsThatAllHave(String script) {
        var spec = Toolkit.command(script).getCommandSpec();
        for (var name : List.of("--region", "--profile", "--print", "-v", "--verbose", "-h", "--help", "-V",
                "--version")) {
            assertNotNull(spec.findOption(name), name);
        }
        assertEquals(!Toolkit.READING.contains(script), spec.findOption("--dry-run") != null, "--dry-run");
        for (var option : spec.options()) {
            for (var name : option.names()) {
                assertTrue(name.matches("--[a-z]+(-[a-z0-9]+)*|-[vhV]"), name + " is not kebab-case");
            }
            assertTrue(option.description().length > 0 && option.description()[0].matches("(?s)[A-Z].*\\."),
                    option.longestName() + ": the description is not a sentence");
            if (option.arity().max() > 0) {
                assertTrue(option.paramLabel().matches("[A-Z][A-Za-z_=/.-]*|[a-z]+/[A-Z]+"),
                        option.longestName() + ": " + option.paramLabel());
            }
            if (option.isMultiValue()) {
                assertTrue(option.arity().isVariable() && option.arity().min() == 1,
                        option.longestName() + " takes several values after one option and repeats of it: arity 1..*");
            }
        }
        assertEquals(List.of(), spec.positionalParameters(), "everything has a name");
    }

    @Test
    void theSameOptionIsTheSameEverywhere() {
        var texts = new TreeMap<String, Map<String, Set<String>>>();
        for (var script : Toolkit.scripts()) {
            for (var option : Toolkit.command(script).getCommandSpec().options()) {
                if (!OWN_MEANING.contains(Toolkit.kebab(script) + " " + option.longestName())) {
                    texts.computeIfAbsent(option.longestName(), name -> new TreeMap<>())
                            .computeIfAbsent(says(option), text -> new TreeSet<>()).add(script);
                }
            }
        }
        texts.forEach((name, found) -> assertEquals(1, found.size(), name + " is not the same everywhere: " + found));
    }

    static String says(OptionSpec option) {
        return String.join(", ", option.names()) + " " + (option.arity().max() > 0 ? option.paramLabel() : "") + " "
                + option.arity() + ": "
                + String.join(" ", option.description());
    }

    /** Of a required option that is misspelled, picocli says only that it is missing. */
    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void suggestsTheRequiredOptionThatWasMeant(String script) {
        for (var option : Toolkit.command(script).getCommandSpec().requiredArgs()) {
            var name = ((OptionSpec) option).longestName();
            var run = Script.run(Toolkit.command(script), name + "e", "x");
            assertEquals(2, run.exitCode(), run.err());
            assertTrue(run.err().contains("unknown option '" + name + "e'; did you mean " + name + "?"), run.err());
        }
    }

    /** A command without what it needs says how it looks with it. */
    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void aMissingOptionIsAnsweredWithAnExample(String script) {
        var spec = Toolkit.command(script).getCommandSpec();
        if (script.equals("AuditEncryption")) { // needs none
            assertEquals(List.of(), spec.requiredArgs());
            return;
        }
        var run = Script.run(Toolkit.command(script), "--region", "eu-west-1");
        assertEquals(2, run.exitCode(), run.err());
        assertEquals(1, run.err().lines().count(), run.err());
        if (!spec.requiredArgs().isEmpty()) {
            assertTrue(run.err().endsWith("; for example: " + examples(script).get(0) + "\n"), run.err());
        }
    }

    /** What is printed may be somebody else's name: it must not clear a screen, or turn round what follows. */
    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void nothingThatIsPrintedActsOnATerminal(String script) {
        var run = Script.run(Toolkit.command(script), "--\u009b2J\u202e\033[31m\r");
        assertEquals(2, run.exitCode(), run.err());
        assertTrue(run.err().contains("'--\\u009b2J\\u202e\\u001b[31m '"), run.err());
        assertFalse(run.err().matches("(?s).*[\\p{Cc}\\p{Cf}&&[^\n]].*"), run.err());
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void printRefusesWhatTheResultNeverHas(String script) throws Exception {
        var words = new ArrayList<>(Toolkit.words(examples(script).get(0)));
        words.subList(0, 2).clear();
        words.add("--print");
        try (var aws = LocalAws.start()) {
            Script.use(aws);
            for (var pointer : List.of("status", "/stauts", "/", "/Status")) {
                words.add(pointer);
                var run = Script.run(Toolkit.command(script), words.toArray(String[]::new));
                Script.assertRefused(run, "'" + pointer + "' is no", aws);
                assertTrue(run.err().contains("/status"), run.err());
                words.remove(words.size() - 1);
            }
        }
    }

    /** Help, examples and messages name commands as they are started in a clone. */
    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void commandsAreNamedAsTheyAreStarted(String script) {
        assertTrue(help(script).startsWith("Usage: ./jbang " + Toolkit.kebab(script) + " "), help(script));
        assertTrue(Toolkit.command(script).getCommandSpec().usageMessage().footer()[0].startsWith("  ./jbang "));
        assertEquals(List.of(), bareCommands(Toolkit.source(script)));
    }

    /** The commands of the toolkit in a source's texts that begin without ./jbang: with options, or to be run. */
    static List<String> bareCommands(String source) {
        var command = Pattern.compile("(?<!\\./jbang )\\b(" + String.join("|", Toolkit.aliases().keySet()) + ")\\b");
        return Pattern.compile("\"(?:[^\"\\\\\n]|\\\\.)*\"").matcher(source).results().map(MatchResult::group)
                .filter(text -> command.matcher(text).results().anyMatch(found -> text.startsWith(" -", found.end())
                        || text.substring(0, found.start()).matches(".*\\b(run|with):? ")))
                .toList();
    }

    @Test
    void aBareCommandIsFound() {
        assertEquals(List.of("\"no key; run create-kms-key\"", "\"create-kms-key --alias \""),
                bareCommands("f(\"no key; run create-kms-key\", \"create-kms-key --alias \", \"create-kms-key: no\","
                        + " \"as create-kms-key creates\", \"run ./jbang create-kms-key --alias x\")"));
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void helpListsTheExitCodes(String script) {
        var codes = Toolkit.command(script).getCommandSpec().usageMessage().exitCodeList();
        assertEquals("done, or already so", codes.get("0"));
        assertEquals("failed", codes.get("1"));
        assertEquals("wrong usage", codes.get("2"));
        assertEquals("interrupted", codes.get("130, 143"));
        assertTrue(codes.getOrDefault("3", "partly done").startsWith("partly done"), codes.get("3"));
        assertTrue(codes.getOrDefault("4", "findings").startsWith("findings"), codes.get("4"));
        assertTrue(Set.of("0", "1", "2", "3", "4", "130, 143").containsAll(codes.keySet()), codes.keySet().toString());
        codes.keySet().forEach(
                code -> assertTrue(help(script).contains("  " + code + "  "), "help does not show exit code " + code));
    }

    static String help(String script) {
        var command = Toolkit.command(script);
        command.getCommandSpec().usageMessage().autoWidth(false).width(80);
        return command.getUsageMessage(CommandLine.Help.Ansi.OFF);
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void helpFitsATerminal(String script) {
        var lines = help(script).lines().toList();
        assertEquals(List.of(), lines.stream().filter(line -> line.length() > 80).toList());
        assertTrue(lines.stream().noneMatch(line -> line.contains("${") || line.contains("@|")),
                "a variable that nobody filled");
        for (var line : Toolkit.command(script).getCommandSpec().usageMessage().footer()) {
            assertTrue(lines.contains(line), "the example is wrapped: " + line);
        }
        assertEquals(String.join(" ", Toolkit.command(script).getCommandSpec().usageMessage().description()),
                Toolkit.directives(script, "DESCRIPTION").get(0));
    }

    /** The commands of a script's --help, continued lines joined. */
    static List<String> examples(String script) {
        return String.join("\n", Toolkit.command(script).getCommandSpec().usageMessage().footer())
                .replaceAll("\\s*\\\\\n\\s*", " ").lines().map(String::strip)
                .toList();
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void itsExamplesAreCommandsThatItTakes(String script) throws Exception {
        assertEquals(2, examples(script).size(), examples(script).toString());
        try (var aws = LocalAws.start()) {
            Script.use(aws);
            for (var example : examples(script)) {
                assertFalse(example.matches(".*[|;&<>`].*|.*\\$\\(.*"), "more than one command: " + example);
                var words = new ArrayList<>(Toolkit.words(example));
                assertEquals("./jbang", words.remove(0), example);
                assertEquals(Toolkit.kebab(script), words.remove(0), example);
                Toolkit.command(script).parseArgs(words.toArray(String[]::new));
                if (!words.contains("--dry-run") && !Toolkit.READING.contains(script)) words.add("--dry-run");
                // the options are checked after the parser, too
                var run = Script.run(Toolkit.command(script), words.toArray(String[]::new));
                assertNotEquals(2, run.exitCode(), run.err());
            }
        }
    }

    @Test
    void allAreOfOneVersion() {
        var versions = Toolkit.scripts().stream().map(script -> Script.run(Toolkit.command(script), "-V")).toList();
        assertEquals(1, versions.stream().map(Script.Run::out).distinct().count(), versions.toString());
        assertTrue(versions.get(0).out().matches("codecommit-toolkit \\d+\\.\\d+\\.\\d+\n"), versions.get(0).out());
    }

    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void itsJavadocNamesWhatItNeedsAndWhatASecondRunDoes(String script) {
        var javadoc = Script.javadoc(script);
        assertTrue(javadoc.contains("IAM actions:"), "the Javadoc does not list the IAM actions");
        assertFalse(Script.iamActions(script).isEmpty(), "the Javadoc lists no IAM action");
        assertTrue(javadoc.replaceAll("\\s*\\n \\* ?", " ").contains("second run"),
                "the Javadoc does not say what a second run does");
    }

    @ParameterizedTest
    @MethodSource("Toolkit#policies")
    void aPolicyIsUsedAndItsStatementsAreNamedAndNotOpenToAll(String policy) throws IOException {
        assertTrue(
                Toolkit.scripts().stream()
                        .anyMatch(script -> Toolkit.directives(script, "FILES").stream()
                                .anyMatch(line -> line.startsWith("policies/" + policy + "="))),
                "no script uses it");
        var root = JSON.readTree(Toolkit.read("policies/" + policy));
        if (root.has("source")) return; // a pattern of EventBridge
        assertEquals("2012-10-17", root.path("Version").asText());
        assertTrue(root.path("Statement").isArray() && !root.path("Statement").isEmpty());
        var sids = new HashSet<String>();
        for (var statement : root.path("Statement")) {
            assertTrue(statement.path("Sid").asText().matches("[A-Za-z0-9]+"),
                    "a Sid of letters and digits, not " + statement.path("Sid"));
            assertTrue(sids.add(statement.path("Sid").asText()), "twice: " + statement.path("Sid"));
            assertTrue(Set.of("Allow", "Deny").contains(statement.path("Effect").asText()));
            var everybody = statement.has("NotPrincipal")
                    || Stream.of(statement.path("Principal"), statement.at("/Principal/AWS"))
                            .flatMap(node -> node.isArray() ? node.valueStream() : Stream.of(node))
                            .anyMatch(node -> node.asText().equals("*"));
            assertTrue(!everybody || !statement.path("Condition").isEmpty(),
                    statement.path("Sid") + " is for everybody, without a condition");
        }
    }

    /** All text files that Git keeps or would keep. */
    static List<Path> files() throws Exception {
        var git = new ProcessBuilder("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        var names = new String(git.getInputStream().readAllBytes());
        assumeTrue(git.waitFor() == 0, "not a Git work tree: which files belong to it is not known");
        return Arrays.stream(names.split("\0")).map(Path::of).filter(Files::isRegularFile).toList();
    }

    @Test
    void noLineOfJavaIsWiderThanTheEditorsLimit() throws Exception {
        var found = new ArrayList<String>();
        var files = files().stream().map(Path::toString).filter(file -> file.endsWith(".java"))
                .toList();
        for (var file : files) {
            var lines = Toolkit.read(file).lines().toList();
            for (var i = 0; i < lines.size(); i++) {
                if (lines.get(i).length() > 120) found.add(file + ":" + (i + 1));
            }
        }
        assertEquals(List.of(), found, "more than 120 columns (.editorconfig)");
    }

    @Test
    void nothingIsLeftInTheFilesThatDoesNotBelongThere() throws Exception {
        var examples = Set.of("AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPLE",
                "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY");
        var rules = Map.of(
                // CodeBuild's home is /root, and its caches are named.
                "an absolute home path",
                Pattern.compile("(?<![\\w.}])/(?:home|Users)/(?!cloudshell-user)[\\w.-]+"
                        + "|(?<![\\w.}])/root/(?!\\.(?:m2|jbang|cache)/)[\\w.-]+"),
                "an AWS access key", Pattern.compile("\\b(?:AKIA|ASIA)[A-Z0-9]{16}\\b"),
                "an AWS secret key", Pattern.compile("(?i:secret)\\w*[\"' :=(,]+([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])"),
                "trailing white space", Pattern.compile("[ \\t]+$"),
                "a tab", Pattern.compile("\\t"),
                "work left to do", Pattern.compile("\\b(TO" + "DO|FIX" + "ME|XX" + "X)\\b"));
        var found = new ArrayList<String>();
        for (var file : files()) {
            String text;
            try {
                text = Files.readString(file);
            } catch (CharacterCodingException e) {
                continue; // not text
            }
            if (!text.isEmpty() && !text.endsWith("\n")) found.add(file + ": no line feed at the end");
            if (text.contains("\r")) found.add(file + ": carriage returns");
            var lines = text.split("\n");
            for (var i = 0; i < lines.length; i++) {
                for (var rule : rules.entrySet()) {
                    var match = rule.getValue().matcher(lines[i]);
                    while (match.find()) {
                        if (!examples.contains(match.group())
                                && (match.groupCount() == 0 || !examples.contains(match.group(1)))) {
                            found.add(file + ":" + (i + 1) + ": " + rule.getKey());
                        }
                    }
                }
            }
        }
        assertEquals("", String.join("\n", found));
    }

    static String readme() {
        assumeTrue(Files.exists(Path.of("README.md")), "README.md does not exist yet");
        return Toolkit.read("README.md");
    }

    /** The rows of the README's tables. */
    static List<String> rows() {
        return readme().lines().filter(line -> line.startsWith("|")).toList();
    }

    @Test
    void everyScriptAndAliasStandsInTheReadmesTable() {
        var readme = readme();
        assertEquals(List.of(), Toolkit.aliases().keySet().stream().filter(alias -> !readme.contains(alias)).toList(),
                "aliases that README.md does not name");
        assertEquals(List.of(),
                Toolkit.scripts().stream()
                        .filter(script -> rows().stream().noneMatch(row -> row.contains(script) && names(row, script)))
                        .toList(),
                "scripts without a table row of the script's and the command's name");
    }

    static boolean names(String row, String script) {
        return Pattern.compile("(?<![\\w-])" + Toolkit.kebab(script) + "(?![\\w-])").matcher(row).find();
    }

    /**
     * In README.md a table row with the alias and the actions, e.g.
     * {@code | create-kms-key | kms:CreateKey, kms:CreateAlias |}.
     */
    @ParameterizedTest
    @MethodSource("Toolkit#scripts")
    void theReadmeListsTheSameIamActionsAsTheJavadoc(String script) {
        var actions = rows().stream().filter(row -> names(row, script)).map(Script::actions)
                .filter(found -> !found.isEmpty()).toList();
        assertEquals(1, actions.size(), "README.md needs one row with the IAM actions of " + Toolkit.kebab(script));
        assertEquals(String.join("\n", Script.iamActions(script)), String.join("\n", actions.get(0)));
    }
}
