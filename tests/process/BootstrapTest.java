import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * How {@code ./jbang} finds or fetches JBang, and starts scripts: on machines that have more and less than this one.
 * Where JBang itself does not matter, another program that is as quick to start answers for it.
 */
class BootstrapTest {
    static final LocalAws aws = LocalAws.start();
    static final Path ROOT = Path.of("").toAbsolutePath();
    static final String VERSION = "0.132.1";
    static final String FETCHING = "jbang: fetching JBang " + VERSION + " from Maven Central ...\n";
    static final String WAITING = "jbang: waiting for another ./jbang, which builds a script ...\n";
    /** Commands of a JBang that fails while another one is under way. */
    static final String ALONE = "mkdir \"$home/building\" || exit 9; sleep 1; rm -r \"$home/building\"";
    /** What ./jbang calls, besides bash, Java and Maven. */
    static final List<String> TOOLS = List.of("awk", "cat", "cksum", "dirname", "env", "grep", "mkdir", "mktemp", "mv",
            "readlink", "rm", "sed", "sleep", "sort");

    @TempDir
    Path temp;

    @AfterAll
    static void stop() {
        aws.close();
    }

    /** JUnit warns of links that lead out of a temporary directory. */
    @AfterEach
    void deleteLinks() throws IOException {
        try (var files = Files.walk(temp)) {
            for (var link : files.filter(Files::isSymbolicLink).toList()) Files.delete(link);
        }
    }

    Shell shell(String command, String... arguments) {
        return new Shell(aws, command, arguments).in(temp).with("JBANG_DIR", temp.resolve("jbang's own"))
                .with("XDG_CACHE_HOME", temp.resolve("a cache"));
    }

    static List<String> list(Path directory) throws IOException {
        try (var files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    // Machines

    /** Where a tool of this machine is. */
    static Path tool(String name) {
        return Stream.of(System.getenv("PATH").split(":")).map(folder -> Path.of(folder, name))
                .filter(Files::isExecutable).findFirst()
                .orElseThrow(() -> new AssertionError(name + " is not on PATH"));
    }

    /** A directory for PATH that has these tools alone. */
    Path path(String... tools) throws IOException {
        var directory = Files.createTempDirectory(temp, "path");
        for (var tool : tools) Files.createSymbolicLink(directory.resolve(tool), tool(tool));
        return directory;
    }

    Path pathWithTools(String... others) throws IOException {
        return path(Stream.concat(Stream.concat(Stream.of("bash"), TOOLS.stream()), Stream.of(others))
                .toArray(String[]::new));
    }

    static void program(Path file, String script) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, "#!/usr/bin/env bash\n" + script);
        assertTrue(file.toFile().setExecutable(true));
    }

    /**
     * A Java home whose JBang tells that a script is started by this Java, which then prints the script's arguments.
     * Before it answers it runs the commands that are given.
     */
    Path javaThatAnswers(String commands) throws IOException {
        var home = Files.createTempDirectory(temp, "java");
        Files.writeString(home.resolve("release"), "JAVA_VERSION=17\n");
        program(home.resolve("bin/java"), """
                home=${0%/bin/java}
                case " $* " in
                  *' dev.jbang.Main '*) ;;
                  *) shift 3; printf '%s\\n' "$@"; exit ;;
                esac
                echo asked >>"$home/log"
                COMMANDS
                echo "'$0' -classpath '$home/release' CreateKmsKey ARGUMENTS"
                exit 255
                """.replace("COMMANDS", commands));
        return home;
    }

    /** {@code ./jbang create-kms-key ARGUMENTS} where JBang is fetched, and Java is another program. */
    Shell start(Path java, String... arguments) throws IOException {
        Files.createDirectories(temp.resolve("a cache/jbang-cli/" + VERSION));
        return shell("exec \"$JBANG\" create-kms-key \"$@\"", arguments).with("JAVA_HOME", java)
                .with("PATH", pathWithTools());
    }

    Path builds() throws IOException {
        return Files.createDirectories(temp.resolve("jbang's own/cache/starts/builds"));
    }

    // Finding and fetching JBang

    @Test
    void prefersAnInstalledJBang() throws Exception {
        var path = pathWithTools();
        program(path.resolve("jbang"), "printf '%s\\n' \"$@\"; exit 7\n");
        var run = shell("\"$JBANG\" create-kms-key --alias 'alias/x y' ''").with("PATH", path).run();
        assertEquals(7, run.exitCode(), run.err());
        assertEquals("create-kms-key@" + ROOT.resolve("jbang-catalog.json") + "\n--alias\nalias/x y\n\n", run.out());
        var options = shell("\"$JBANG\" --verbose run -o create-kms-key create-kms-key").with("PATH", path).run();
        assertEquals("--verbose\nrun\n-o\ncreate-kms-key@" + ROOT.resolve("jbang-catalog.json") + "\ncreate-kms-key\n",
                options.out());
        for (var others : List.of("info tools", "other@catalog", "Other.java --alias", "run other", "--version")) {
            var passed = shell("\"$JBANG\" " + others).with("PATH", path).run();
            assertEquals(others.replace(' ', '\n') + "\n", passed.out());
        }
        Files.writeString(temp.resolve("file"), "");
        assertEquals("file\n", shell("\"$JBANG\" file").with("PATH", path).run().out());
    }

    @Test
    void listsTheCommandsWhereNoneIsGiven() throws Exception {
        var run = shell("\"$JBANG\"").with("PATH", pathWithTools()).run();
        assertEquals(2, run.exitCode());
        assertEquals("", run.out());
        var lines = run.err().lines().toList();
        assertEquals("Usage: ./jbang COMMAND [OPTIONS], where COMMAND is one of:", lines.get(0));
        assertEquals(List.copyOf(Toolkit.aliases().keySet()),
                lines.stream().filter(line -> line.matches("  [a-z].*")).map(line -> line.strip().split(" ")[0])
                        .sorted().toList());
        assertEquals(List.of(), lines.stream().filter(line -> line.length() > 80).toList());
        var text = String.join(" ", lines.stream().map(String::strip).toList()).replaceAll(" +", " ");
        Toolkit.aliases().forEach((alias, entry) ->
                assertTrue(text.contains(" " + alias + " " + entry.path("description").asText() + " "), text));
    }

    @ParameterizedTest
    @CsvSource({"create-kms-kye, create-kms-key", "restore-form-s3, restore-from-s3", "backup, backup-to-s3",
            "tests, test", "sandbx, sandbox", "hello, "})
    void suggestsTheCommandThatWasMeant(String word, String nearest) throws Exception {
        var run = shell("\"$JBANG\" \"$@\"", word, "--alias", "x").with("PATH", pathWithTools()).run();
        assertEquals(2, run.exitCode());
        assertEquals("", run.out());
        assertTrue(run.err().startsWith("Usage: ./jbang COMMAND "), run.err());
        assertTrue(run.err().endsWith("\njbang: no such command: " + word
                + (nearest == null ? "" : "; did you mean " + nearest + "?") + "\n"), run.err());
    }

    @Test
    void isNoInstalledJBangItself() throws Exception {
        var path = pathWithTools();
        Files.createSymbolicLink(path.resolve("jbang"), ROOT.resolve("jbang"));
        var installed = temp.resolve("an installed one");
        program(installed.resolve("jbang"), "read -r line; echo \"installed: $* $line\"\n");
        var run = shell("cd \"$2\"; echo input | PATH=$1:$2 jbang version", path.toString(), installed.toString())
                .run();
        assertEquals("installed: version input\n", run.out(), run.err());
    }

    @Test
    void takesJBangsInstallerWhereThereIsNoMaven() throws Exception {
        var path = pathWithTools("chmod");
        program(path.resolve("curl"), """
                echo "$@" >&2
                cat <<'END'
                mkdir -p "$JBANG_DIR/bin"
                printf '#!/usr/bin/env bash\\necho "JBang '"$JBANG_DOWNLOAD_VERSION"': $*"\\n' >"$JBANG_DIR/bin/jbang"
                chmod +x "$JBANG_DIR/bin/jbang"
                END
                """);
        for (var said : List.of("jbang: fetching JBang " + VERSION + " by its installer ...\n"
                + "-fLsS https://sh.jbang.dev\n", "")) {
            var run = shell("\"$JBANG\" sandbox").with("PATH", path).run();
            assertEquals(0, run.exitCode(), run.err());
            assertEquals("JBang " + VERSION + ": sandbox@" + ROOT.resolve("jbang-catalog.json") + "\n", run.out());
            assertEquals(said, run.err());
        }
    }

    @Test
    void fetchesJBangByMavenOnAFreshMachine() throws Exception {
        var path = Stream.of(System.getenv("PATH").split(":")).filter(folder -> !Files.exists(Path.of(folder, "jbang")))
                .toList();
        assumeTrue(path.stream().anyMatch(folder -> Files.isExecutable(Path.of(folder, "mvn"))), "mvn is missing");
        var run = shell("\"$JBANG\" alias list \"$1\"", ROOT.resolve("jbang-catalog.json").toString())
                .with("PATH", String.join(":", path)).run();
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.err().startsWith(FETCHING), run.err());
        assertTrue(run.out().contains("create-kms-key"), "an old gson reads every catalog as empty: " + run.out());
        assertEquals(List.of(VERSION), list(temp.resolve("a cache/jbang-cli")), "something else is left there");
    }

    /** The tools of macOS and the BSDs have none of GNU's long options and these letters, and some are missing. */
    @Test
    void startsAScriptWhereToolsAreThoseOfABsd() throws Exception {
        var path = path("bash", "java", "javac", "mvn", "git");
        for (var tool : Stream.concat(TOOLS.stream(),
                Stream.of("basename", "chmod", "cp", "cut", "date", "diff", "expr", "find", "head", "id", "ls",
                        "tail", "touch", "tr", "uname", "wc")).toList()) {
            var letters = switch (tool) {
                case "mv", "cp" -> "[Tt]";
                case "readlink" -> "[fem]";
                case "grep" -> "P";
                case "sed" -> "[irs]";
                case "date" -> "d";
                case "sort" -> "[Vz]";
                default -> "-";
            };
            program(path.resolve(tool), """
                    for word; do
                      case $word in
                        --) break ;;
                        --?* | -LETTERS* | -[a-zA-Z]LETTERS*) echo "TOOL: illegal option $word" >&2; exit 64 ;;
                      esac
                    done
                    exec FILE "$@"
                    """.replace("LETTERS", letters).replace("TOOL", tool).replace("FILE", tool(tool).toString()));
        }
        assertEquals(64, shell("mv -T a b").with("PATH", path).run().exitCode());
        assertEquals(64, shell("readlink -f a").with("PATH", path).run().exitCode());
        assertEquals(127, shell("sha256sum").with("PATH", path).run().exitCode());
        assertEquals(127, shell("flock 9").with("PATH", path).run().exitCode());
        var start = shell("\"$JBANG\" create-kms-key --version").with("PATH", path);
        var first = start.run();
        assertEquals(0, first.exitCode(), first.err());
        assertTrue(first.out().startsWith("codecommit-toolkit "), first.out());
        assertEquals(FETCHING, first.err());
        var second = start.with("JBANG_JAVA_OPTIONS", "-XX:+NoSuchOption").run();
        assertEquals(first.out(), second.out(), "JBang is asked again: " + second.err());
    }

    /** Of two that fetch JBang at once, one finds that the other one was first. */
    @Test
    void takesWhatAnotherHasFetchedInTheMeantime() throws Exception {
        var path = pathWithTools();
        program(path.resolve("mvn"), """
                for word; do case $word in -DoutputDirectory=*) fetched=${word#*=} ;; esac; done
                mkdir -p "$fetched" "$XDG_CACHE_HOME/jbang-cli/${fetched##*/}"
                : >"$fetched/mine.jar" >"$XDG_CACHE_HOME/jbang-cli/${fetched##*/}/theirs.jar"
                """);
        var run = start(javaThatAnswers(""), "a").with("PATH", path);
        Directories.delete(temp.resolve("a cache"));
        var fetching = run.run();
        assertEquals("a\n", fetching.out(), fetching.err());
        assertEquals(FETCHING, fetching.err());
        assertEquals(List.of(VERSION), list(temp.resolve("a cache/jbang-cli")));
        assertEquals(List.of("theirs.jar"), list(temp.resolve("a cache/jbang-cli/" + VERSION)));
    }

    /** Whatever goes wrong, stderr says what. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "                                          | 127 | none of jbang, mvn and curl is on PATH",
            "curl: exit 22                             | 1   | JBang's installer failed",
            "curl: echo exit 3                         | 1   | JBang's installer failed",
            "mvn: echo no network; exit 1              | 1   | no network, Maven could not fetch JBang",
            "mvn: :                                    | 1   | mv: ",
            "mktemp: echo mktemp: no space >&2; exit 1 | 1   | mktemp: no space",
            "mkdir: echo mkdir: read-only >&2; exit 1  | 1   | mkdir: read-only",
            "readlink: exit 1                          | 127 | none of jbang, mvn and curl is on PATH"})
    void saysWhyItFails(String program, int exitCode, String saying) throws Exception {
        var path = pathWithTools();
        if (program != null) {
            var parts = program.split(": ", 2);
            Files.deleteIfExists(path.resolve(parts[0]));
            program(path.resolve(parts[0]), parts[1] + "\n");
            if (TOOLS.contains(parts[0]) && exitCode == 1) program(path.resolve("mvn"), "exit 1\n");
        }
        var run = shell("\"$JBANG\" create-kms-key").with("PATH", path).without("JAVA_HOME").run();
        assertEquals(exitCode, run.exitCode(), run.err());
        assertEquals("", run.out());
        for (var part : saying.split(", ")) assertTrue(run.err().contains(part), run.err());
    }

    @Test
    void saysThatThereIsNoJava() throws Exception {
        var run = start(temp).without("JAVA_HOME").run();
        assertEquals(127, run.exitCode(), run.err());
        assertTrue(run.err().contains("java"), run.err());
        assertEquals("", run.out());
    }

    // Starting scripts

    /** What create-kms-key needs, in a directory of its own. */
    Path copy(String name) throws IOException {
        var copy = Files.createDirectory(temp.resolve(name));
        for (var file : List.of("jbang", "jbang-catalog.json", "scripts/CreateKmsKey.java", "policies/kms-key.json")) {
            Files.createDirectories(copy.resolve(file).getParent());
            Files.copy(ROOT.resolve(file), copy.resolve(file), StandardCopyOption.COPY_ATTRIBUTES);
        }
        return copy;
    }

    /** {@code ./jbang create-kms-key ARGUMENTS} of a copy, from elsewhere, with a cache of its own. */
    Shell startCopy(Path copy, String... arguments) {
        return shell("exec \"$COPY/jbang\" create-kms-key \"$@\"", arguments).with("COPY", copy)
                .with("JBANG_CACHE_DIR", copy.resolve("cache")).without("XDG_CACHE_HOME");
    }

    /** The same where JBang cannot be asked, as its Java does not start. */
    Shell startAlone(Path copy, String... arguments) {
        return startCopy(copy, arguments).with("JBANG_JAVA_OPTIONS", "-XX:+NoSuchOption");
    }

    static void assertAsksJBang(Shell start) throws Exception {
        var run = start.run();
        assertEquals(1, run.exitCode(), run.out() + run.err());
        assertTrue((run.out() + run.err()).contains("NoSuchOption"), run.out() + run.err());
    }

    @Test
    void startsWithoutJBangUntilSomethingHasChanged() throws Exception {
        var copy = copy("it's a (copy) & $more");
        String[] arguments = {"--alias", "alias/bootstrap", "--print", "/status"};
        var first = startCopy(copy, arguments).run();
        assertEquals("created\n", first.out(), first.err());

        var odd = "it's \"50%\" of  $HOME `id` * \\ ü";
        var alone = startAlone(copy, "--alias", "alias/bootstrap", "--description", odd).run();
        assertEquals("updated", alone.status(), alone.err());
        assertEquals(odd, aws.kms.find("alias/bootstrap", "eu-west-1").description);
        assertEquals("", alone.err());
        assertTrue(startAlone(copy, "--alias", "alias/x", "--print", "").run().err()
                .contains("'' is not a JSON Pointer"), "an empty argument arrives");
        assertAsksJBang(startAlone(copy, "--alias", "@file"));
        assertAsksJBang(startAlone(copy, arguments).with("JBANG_FAST", 0));
        var offline = shell("./jbang -o create-kms-key --alias alias/bootstrap --print /status").in(copy)
                .with("JBANG_CACHE_DIR", copy.resolve("cache")).without("XDG_CACHE_HOME").run();
        assertEquals("unchanged\n", offline.out(), offline.err());

        for (var source : List.of("policies/kms-key.json", "scripts/CreateKmsKey.java", "jbang-catalog.json")) {
            var text = Files.readString(copy.resolve(source));
            Files.writeString(copy.resolve(source), text.replaceFirst("\n", " \n"));
            Files.setLastModifiedTime(copy.resolve(source), FileTime.fromMillis(0));
            assertAsksJBang(startAlone(copy, arguments));
            Files.writeString(copy.resolve(source), text);
        }
        assertEquals("unchanged\n", startAlone(copy, arguments).run().out());
        Directories.delete(copy.resolve("cache/jars"));
        assertAsksJBang(startAlone(copy, arguments));
    }

    /** JBang does not lock its cache: two that build a script at once spoil it. */
    @Test
    void oneAsksJBangAndOthersThatStartAtOnceUseItsAnswer() throws Exception {
        var java = javaThatAnswers(ALONE);
        assertEquals(List.of("0\n", "1\n", "2\n", "3\n"), startAtOnce(java, 4));
        assertEquals("asked\n", Files.readString(java.resolve("log")));
    }

    @Test
    void oneAtATimeAsksJBangWhereItHasNoCommandToKeep() throws Exception {
        var java = javaThatAnswers(ALONE + "; echo done; exit 0");
        assertEquals(List.of("done\n", "done\n", "done\n"), startAtOnce(java, 3));
        assertEquals("asked\n".repeat(3), Files.readString(java.resolve("log")));
    }

    /** What several that start at the same time print. */
    List<String> startAtOnce(Path java, int count) throws Exception {
        var starts = new ArrayList<Shell>();
        for (var i = 0; i < count; i++) starts.add(start(java, String.valueOf(i)));
        var processes = new ArrayList<Process>();
        for (var start : starts) processes.add(start.start());
        var printed = new ArrayList<String>();
        for (var i = 0; i < count; i++) {
            var run = starts.get(i).finish(processes.get(i));
            assertTrue(Set.of("", WAITING).contains(run.err()), run.err());
            printed.add(run.out());
        }
        assertEquals(List.of(), list(builds()));
        return printed;
    }

    @Test
    void waitsForAnotherThatBuildsAndNotForOneThatHasEnded() throws Exception {
        var ended = new ProcessBuilder("true").start();
        ended.waitFor();
        var builder = new ProcessBuilder("cat").start(); // ends when its stdin does
        Files.createFile(builds().resolve(String.valueOf(ended.pid())));
        Files.createFile(builds().resolve(String.valueOf(builder.pid())));
        var java = javaThatAnswers("");
        var start = start(java, "a");
        var process = start.start();
        Wait.until(() -> !process.isAlive() || !start.err().isEmpty(), () -> "it says nothing");
        assertEquals(WAITING, start.err());
        assertFalse(Files.exists(java.resolve("log")), "asks JBang while the other one builds");
        builder.getOutputStream().close();
        builder.waitFor();
        var run = start.finish(process);
        assertEquals("a\n", run.out(), run.err());
        assertEquals(List.of(), list(builds()));
    }
}
