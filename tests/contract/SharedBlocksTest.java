import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the scripts have in common is the same in each and stands nowhere else; {@code ./jbang sync} keeps it so. */
class SharedBlocksTest {
    static SharedBlocks toolkit;

    @BeforeAll
    static void read() throws IOException {
        toolkit = new SharedBlocks(Path.of(""), null).read();
    }

    // The toolkit's scripts

    @Test
    void everyCopyOfABlockIsTheSameAndEveryImportIsUsed() {
        var differences = toolkit.differences();
        assertEquals("", String.join("\n", differences), "./jbang sync mends what was edited in one script");
    }

    @Test
    void theBlocksComeLastInOneOrder() {
        var wrong = new ArrayList<String>();
        for (var script : toolkit.scripts()) {
            var names = List.copyOf(script.blocks.keySet());
            if (!names.equals(SharedBlocks.ORDER.stream().filter(names::contains).toList())) {
                wrong.add(script.name + ": " + names + "; SharedBlocks.ORDER is " + SharedBlocks.ORDER);
            }
            var end = script.text.substring(Math.max(0, script.text.indexOf("    //region")));
            if (!end.replaceAll("(?ms)^    //region [^\n]+\n.*?^    //endregion$", "").matches("\\s*}\\s*"))
                wrong.add(script.name + ": the blocks must come last, with nothing between them but empty lines");
        }
        assertEquals("", String.join("\n", wrong));
    }

    @Test
    void aBlockIsInSeveralScripts() {
        var scripts = toolkit.scripts();
        assertEquals(List.of(), SharedBlocks.ORDER.stream().filter(block -> scripts.stream()
                .filter(script -> script.blocks.containsKey(block)).count() < 2).toList(), "in less than two scripts");
    }

    /** A method that several scripts have outside of their blocks belongs into one. */
    @Test
    void noMethodIsInSeveralScriptsOutsideOfTheBlocks() {
        assertEquals("", String.join("\n", repeatedMethods(toolkit)));
    }

    static List<String> repeatedMethods(SharedBlocks toolkit) {
        var places = new TreeMap<String, Set<String>>();
        for (var script : toolkit.scripts()) {
            for (var method : script.methods) {
                if (script.isInBlock(method.position())) continue;
                var place = script.name + "." + method.signature();
                var linesBetweenBraces = method.body().lines().count() - 2;
                if (method.statements() >= 3) {
                    places.computeIfAbsent(method.body(), body -> new TreeSet<>()).add(place);
                } else if (linesBetweenBraces > 2) {
                    places.computeIfAbsent(method.signature() + method.body(), body -> new TreeSet<>()).add(place);
                }
            }
        }
        return places.values().stream()
                .filter(found -> found.stream().map(place -> place.replaceAll("\\..*", "")).distinct().count() > 1)
                .map(found -> "the same method: " + String.join(", ", found)).sorted().toList();
    }

    @Test
    void syncHasTheDependenciesOfAllScripts() {
        var sync = Toolkit.read("tests/contract/SharedBlocks.java").lines().toList();
        var missing = Toolkit.scripts().stream().flatMap(script -> Toolkit.directives(script, "DEPS").stream())
                .map(dependency -> "//DEPS " + dependency).distinct().filter(line -> !sync.contains(line)).toList();
        assertEquals(List.of(), missing, "missing in tests/contract/SharedBlocks.java");
    }

    /** {@code ./jbang sync} on three small scripts. */
    @Nested
    class Sync {
        static final String COMMON = """

                    static int two() {
                        return 2;
                    }

                """;

        @TempDir
        Path root;
        /** What is answered on the terminal; null: there is none. */
        String answer;

        @BeforeEach
        void commitThreeScripts() throws IOException {
            Files.createDirectory(root.resolve("scripts"));
            write("CreateA", script("CreateA", "import java.util.List;", "List<String> names = List.of();",
                    "common", COMMON, "lists", "\n    List<String> none = List.of();\n\n"));
            write("CreateB", script("CreateB", "import java.util.*;", "Set<String> names = Set.of();",
                    "common", COMMON, "lists", "\n    List<String> none = List.of();\n\n"));
            write("CreateC", script("CreateC", "import java.util.regex.Pattern;", "Pattern a = Pattern.compile(\"\");",
                    "common", COMMON));
            Git.run(root, "init", "--quiet");
            commit();
        }

        void commit() {
            Git.run(root, "add", "--all");
            Git.run(root, "commit", "--quiet", "--message", "x");
        }

        static String script(String name, String imports, String own, String... blocks) {
            var text = new StringBuilder("///usr/bin/env jbang \"$0\" \"$@\" ; exit $?\n//JAVA 17+\n\n" + imports
                    + "\n\n/** Does it. */\nclass " + name + " {\n    " + own + "\n");
            for (var i = 0; i < blocks.length; i += 2) {
                text.append("\n    //region The same in every script: ").append(blocks[i]).append("\n")
                        .append(blocks[i + 1]).append("    //endregion\n");
            }
            return text + "}\n";
        }

        Path file(String script) {
            return root.resolve("scripts/" + script + ".java");
        }

        String read(String script) throws IOException {
            return Files.readString(file(script));
        }

        void write(String script, String text) throws IOException {
            Files.writeString(file(script), text);
            Files.setPosixFilePermissions(file(script), PosixFilePermissions.fromString("rwxr-x--x"));
        }

        void edit(String script, String old, String text) throws IOException {
            assertTrue(read(script).contains(old), old);
            write(script, read(script).replace(old, text));
        }

        Script.Run sync(String... arguments) {
            UnaryOperator<String> terminal = answer == null ? null : question -> answer;
            return Script.run(new SharedBlocks(root, terminal).commandLine(), arguments);
        }

        Map<String, String> all() throws IOException {
            var all = new TreeMap<String, String>();
            for (var script : List.of("CreateA", "CreateB", "CreateC")) all.put(script, read(script));
            return all;
        }

        void assertAllCompile() throws IOException {
            for (var script : all().keySet()) {
                var compiler = ToolProvider.getSystemJavaCompiler();
                var said = new ByteArrayOutputStream();
                var status = compiler.run(null, said, said, "-proc:none", "-d", root.toString(),
                        file(script).toString());
                assertEquals(0, status, said.toString(StandardCharsets.UTF_8));
            }
        }

        void assertRefused(Script.Run run, int exitCode, String saying, Map<String, String> before) throws IOException {
            assertEquals(exitCode, run.exitCode(), run.out() + run.err());
            assertTrue(run.err().contains(saying), run.err());
            assertEquals(before, all(), "something was changed");
        }

        @Test
        void saysThatThereIsNothingToDo() throws IOException {
            var before = all();
            var run = sync();
            assertEquals("nothing to do\n", run.out(), run.err());
            assertEquals(0, run.exitCode());
            assertEquals(0, sync("--check").exitCode());
            assertEquals(0, sync("--from", "CreateA").exitCode());
            assertEquals(before, all());
        }

        @Test
        void carriesABlockIntoTheOtherScripts() throws IOException {
            edit("CreateB", "return 2;", "return 1 + 1;");
            var edited = read("CreateB");
            assertEquals("block 'common' of CreateB differs from that of CreateA, CreateC:\n"
                    + "-        return 2;\n+        return 1 + 1;\n", sync("--check").out());
            assertEquals(1, sync("--check").exitCode());
            var run = sync();
            assertEquals(0, run.exitCode(), run.err());
            assertEquals("CreateA: block 'common' of CreateB\nCreateC: block 'common' of CreateB\n", run.out());
            assertEquals("", run.err());
            assertEquals(edited, read("CreateB"));
            assertTrue(read("CreateA").contains("return 1 + 1;") && read("CreateC").contains("return 1 + 1;"));
            assertAllCompile();
            assertEquals("nothing to do\n", sync().out());
            commit();
            assertEquals("nothing to do\n", sync().out());
            for (var script : all().keySet()) {
                assertEquals("rwxr-x--x", PosixFilePermissions.toString(Files.getPosixFilePermissions(file(script))));
            }
            try (var files = Files.list(root.resolve("scripts"))) {
                assertEquals(3, files.count(), "something is left beside the scripts");
            }
        }

        @Test
        void takesTheImportsAlongThatABlockNeedsAndNoOthers() throws IOException {
            edit("CreateB", "import java.util.*;", "import java.net.*;\nimport java.nio.file.*;\nimport java.util.*;\n"
                    + "import java.util.concurrent.Callable;\nimport java.util.zip.CRC32;\n"
                    + "import picocli.CommandLine.*;");
            edit("CreateB", "Set<String> names", "CRC32 own; URI uri; Set<String> names");
            edit("CreateB", "    static int two() {", """
                        /** As {@link Callable}, and not as Pattern. */
                        @Option(names = "--path")
                        Map.Entry<Path, String> entry; // not a URI

                        static int two() {
                            var text = "URI";
                            Runnable none = () -> { };
                            none.run();
                    """);
            var run = sync();
            assertEquals(0, run.exitCode(), run.err());
            assertEquals("""
                    CreateA: block 'common' of CreateB
                    CreateA: + import java.nio.file.*;
                    CreateA: + import java.util.*;
                    CreateA: + import java.util.concurrent.Callable;
                    CreateA: + import picocli.CommandLine.*;
                    CreateC: block 'common' of CreateB
                    CreateC: + import java.nio.file.*;
                    CreateC: + import java.util.*;
                    CreateC: + import java.util.concurrent.Callable;
                    CreateC: + import picocli.CommandLine.*;
                    """, run.out());
            assertTrue(read("CreateA").contains("""

                    import java.nio.file.*;
                    import java.util.*;
                    import java.util.List;
                    import java.util.concurrent.Callable;
                    import picocli.CommandLine.*;

                    """), read("CreateA"));
            assertTrue(read("CreateC").contains("""

                    import java.nio.file.*;
                    import java.util.*;
                    import java.util.concurrent.Callable;
                    import java.util.regex.Pattern;
                    import picocli.CommandLine.*;

                    """), read("CreateC"));
            assertAllCompile();
            assertEquals("nothing to do\n", sync().out());
        }

        /** The script in which a block was edited need not compile yet. */
        @Test
        void takesImportsFromAnyScriptThatHasTheBlock() throws IOException {
            edit("CreateB", "return 2;", "return Pattern.compile(\"a\").split(\"bac\").length;");
            var run = sync();
            assertEquals(0, run.exitCode(), run.err());
            assertTrue(run.out().contains("CreateB: + import java.util.regex.Pattern;\n"), run.out());
            assertAllCompile();
        }

        @Test
        void takesStaticImportsAlong() throws IOException {
            edit("CreateB", "import java.util.*;", "import static java.lang.Math.max;\n\nimport java.util.*;");
            edit("CreateB", "return 2;", "return max(1, 2);");
            assertEquals(0, sync().exitCode());
            assertTrue(read("CreateC").contains("import static java.lang.Math.max;\n"), read("CreateC"));
            assertAllCompile();
        }

        @Test
        void removesImportsThatNothingUsesAnyMore() throws IOException {
            edit("CreateA", "List<String> names = List.of();", "int own = two();");
            edit("CreateA", "List<String> none = List.of();", "String none = \"List\"; // no List");
            var run = sync();
            assertEquals("""
                    CreateA: - import java.util.List;
                    CreateB: block 'lists' of CreateA
                    """, run.out(), run.err());
            assertAllCompile();
        }

        @Test
        void saysWhatIsAnotherTypeElsewhere() throws IOException {
            edit("CreateB", "import java.util.*;", "import java.nio.file.*;\nimport java.util.*;");
            edit("CreateB", "return 2;", "return Path.of(\"a\").getNameCount();");
            edit("CreateA", "List<String> names", "record Path() { }\n    List<String> names");
            var run = sync();
            assertEquals(1, run.exitCode());
            assertTrue(run.err().contains("sync: block 'common': Path is declared in CreateA, java.nio.file.Path in "
                    + "CreateB, CreateC\n"), run.err());
            edit("CreateA", "record Path() { }", "");
            commit();
            edit("CreateB", "Path.of(\"a\").getNameCount()", "new Timer().purge()");
            edit("CreateB", "import java.util.*;", "import java.util.*;\nimport javax.swing.*;");
            edit("CreateB", "Set<String> names", "JButton button; Set<String> names");
            assertTrue(sync().err().contains(
                    "Timer is java.util.Timer or javax.swing.Timer in CreateA, CreateB, CreateC\n"), sync().err());
        }

        @Test
        void asksWhichOfTwoEditedCopiesIsRight() throws IOException {
            edit("CreateA", "return 2;", "return 1 + 1;");
            edit("CreateC", "return 2;", "return 3 - 1;");
            var before = all();
            var run = sync();
            assertRefused(run, 1, "./jbang sync --from SCRIPT --block 'common'", before);
            assertTrue(run.err().contains("  1: that of CreateA\n") && run.err().contains("  2: that of CreateC\n"
                    + "-        return 1 + 1;\n+        return 3 - 1;\n"), run.err());
            answer = "3";
            assertRefused(sync(), 1, "nothing was changed", before);
            answer = "";
            assertRefused(sync(), 1, "nothing was changed", before);
            answer = "2";
            assertEquals(0, sync().exitCode());
            for (var text : all().values()) assertTrue(text.contains("return 3 - 1;"), text);
        }

        @Test
        void asksWhereWhatWasCommittedCannotTell() throws IOException {
            edit("CreateA", "return 2;", "return 1 + 1;");
            commit();
            assertRefused(sync(), 1, "cannot be told from Git's HEAD", all());
            Directories.delete(root.resolve(".git"));
            assertRefused(sync(), 1, "cannot be told from Git's HEAD", all());
            var forced = sync("--from", "CreateA");
            assertEquals(0, forced.exitCode(), forced.err());
            assertTrue(read("CreateC").contains("return 1 + 1;"));
        }

        @Test
        void takesTheBlocksOfTheScriptThatIsNamed() throws IOException {
            edit("CreateA", "return 2;", "return 1 + 1;");
            edit("CreateA", "none = List.of()", "none = null");
            edit("CreateB", "return 2;", "return 3 - 1;");
            edit("CreateB", "none = List.of()", "none = new ArrayList<>()");
            var one = sync("--from", "scripts/CreateB.java", "--block", "common");
            assertEquals(1, one.exitCode(), one.err());
            assertTrue(read("CreateA").contains("return 3 - 1;") && read("CreateA").contains("none = null"));
            assertTrue(one.err().contains("sync: block 'lists' of CreateB differs from that of CreateA:\n"), one.err());
            assertEquals(0, sync("--from", "CreateB").exitCode());
            assertTrue(read("CreateA").contains("new ArrayList<>()"));
            assertAllCompile();
        }

        @Test
        void refusesUnknownNames() throws IOException {
            edit("CreateA", "return 2;", "return 1 + 1;");
            var before = all();
            assertRefused(sync("--from", "CreateD"), 2, "must be one of CreateA, CreateB, CreateC", before);
            assertRefused(sync("--from", "CreateC", "--block", "lists"), 2, "must be one of those of CreateC: common",
                    before);
            assertRefused(sync("--block", "common"), 2, "--block needs --from", before);
            assertRefused(sync("--form", "CreateA"), 2, "--form", before);
            assertRefused(sync("--check", "--from", "CreateA"), 2, "--check needs no --from", before);
        }

        @Test
        void refusesMarkersThatAreNotABlocks() throws IOException {
            for (var broken : List.of("", "    //endregion\n    //endregion", "   //endregion", "//endregion")) {
                edit("CreateB", "        return 2;\n    }\n\n    //endregion", "        return 2;\n    }\n\n" + broken);
                assertRefused(sync(), 1, "CreateB.java:", all());
                Git.run(root, "checkout", "--quiet", ".");
            }
            edit("CreateB", "//region The same in every script: lists", "//region The same in every script: common");
            assertRefused(sync(), 1, "CreateB.java:18: the block 'common' is here twice", all());
            edit("CreateB", "//region The same in every script: common", "// region a");
            assertRefused(sync(), 1, "a block must be between", all());
        }

        @Test
        void saysWhereAScriptCannotBeRead() throws IOException {
            edit("CreateB", "return 2;", "return 2 +;");
            assertRefused(sync(), 1, "CreateB.java:13: illegal start of expression", all());
        }

        @Test
        void findsMethodsThatBelongIntoABlock() throws IOException {
            var method = "\n    int %s(int a) {\n        var b = a;\n        b++;%s\n        return b;\n    }\n";
            edit("CreateA", "    List<String> names", method.formatted("one", " // more") + "    List<String> names");
            edit("CreateB", "    Set<String> names", method.formatted("other", "\n") + "    Set<String> names");
            assertEquals(List.of("the same method: CreateA.int one(int), CreateB.int other(int)"),
                    repeatedMethods(new SharedBlocks(root, null).read()));
            edit("CreateB", "other(int a) {\n        var b = a;\n        b++;\n\n        return b;",
                    "other(int c) {\n        var other = c;\n        other++;\n        return other;");
            assertEquals(List.of("the same method: CreateA.int one(int), CreateB.int other(int)"),
                    repeatedMethods(new SharedBlocks(root, null).read()), "under other names");
            edit("CreateB", "other++;", "other--;");
            assertEquals(List.of(), repeatedMethods(new SharedBlocks(root, null).read()));
        }
    }
}
