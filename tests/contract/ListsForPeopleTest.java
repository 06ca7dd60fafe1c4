import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import localaws.LocalAws;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What --output table and csv make of a list, by the copy of the shared block that verify-backups has. */
class ListsForPeopleTest {
    final VerifyBackups script = new VerifyBackups();
    final StringWriter out = new StringWriter();
    final StringWriter err = new StringWriter();

    /** @param width of the terminal; 0 without one */
    String printed(String output, int width, VerifyBackups.Listed listed) {
        script.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(err, true));
        script.output = output;
        script.terminalWidth = () -> width;
        assertEquals(4, script.print(List.of("the document"), listed, "1 finding", 4));
        return out.toString();
    }

    static VerifyBackups.Listed listed(List<String> columns, List<?>... rows) {
        return new VerifyBackups.Listed(columns, List.of(),
                Arrays.stream(rows).map(cells -> new VerifyBackups.Row(false, cells)).toList());
    }

    /** The values of a CSV document by RFC 4180; whatever the RFC does not allow is an error. */
    static List<List<String>> readCsv(String csv) {
        var rows = new ArrayList<List<String>>();
        var row = new ArrayList<String>();
        for (var i = 0; i < csv.length();) {
            var value = new StringBuilder();
            if (csv.charAt(i) == '"') {
                for (i++; csv.charAt(i) != '"' || csv.charAt(i + 1) == '"'; i++) {
                    if (csv.charAt(i) == '"') i++;
                    value.append(csv.charAt(i));
                }
                i++;
            } else {
                for (; csv.charAt(i) != ',' && csv.charAt(i) != '\r'; i++) {
                    assertFalse("\"\n".indexOf(csv.charAt(i)) >= 0, "outside of quotes at " + i + ": " + csv);
                    value.append(csv.charAt(i));
                }
            }
            row.add(value.toString());
            if (csv.charAt(i) == ',') {
                i++;
                continue;
            }
            assertEquals("\r\n", csv.substring(i, i + 2), "the end of a line at " + i + ": " + csv);
            i += 2;
            rows.add(List.copyOf(row));
            row.clear();
        }
        assertEquals(List.of(), row, "the last line has no end");
        return rows;
    }

    @Test
    void aTableHasOneLineARowAndItsColumnsAreAligned() {
        assertEquals("""
                name      bytes  state
                payments      5  VERIFIED, LATE
                a         12345  -
                """, printed("table", 0, listed(List.of("name", "bytes", "state"),
                List.of("payments", 5, List.of("VERIFIED", "LATE")), Arrays.asList("a", 12345L, null))));
        assertEquals("verify-backups: 1 finding\n", err.toString());
    }

    @Test
    void anEmptyListIsTheNamesOfItsColumns() {
        assertEquals("name  state\n", printed("table", 0, listed(List.of("name", "state"))));
        assertEquals("name  state\nname,state\r\n", printed("csv", 0, listed(List.of("name", "state"))));
    }

    @Test
    void jsonIsTheDocumentAlone() {
        assertEquals("[ \"the document\" ]\n", printed("json", 80, listed(List.of("name"), List.of("payments"))));
        assertEquals("", err.toString());
    }

    @Test
    void detailsAreInCsvAlone() {
        var listed = new VerifyBackups.Listed(List.of("name"), List.of("key"),
                List.of(VerifyBackups.Row.of(true, "payments", "a/b")));
        assertEquals("name\npayments\n", printed("table", 0, listed));
        assertEquals("name\npayments\nname,key\r\npayments,a/b\r\n", printed("csv", 0, listed));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 9, 20, 21, 33, 40, 79, 400})
    void noLineIsWiderThanTheTerminal(int width) {
        var texts = Stream.of("a", "payments", "\u652f\u6255\u3044\u7528".repeat(9), "e\u0301".repeat(40),
                "\ud83d\ude80".repeat(30));
        var rows = texts.<List<?>>map(text -> List.of(text, 1234, text + text, "end")).toArray(List[]::new);
        script.colours = false;
        var table = printed("table", width, listed(List.of("repositoryName", "bytes", "message", "state"), rows));
        assertEquals(6, table.lines().count());
        for (var line : table.lines().toList()) {
            assertTrue(VerifyBackups.displayWidth(line) <= width, width + ": " + line);
        }
        assertEquals(width < 400, table.contains("\u2026"), table);
        if (width == 400) assertTrue(table.contains("\u652f\u6255\u3044\u7528".repeat(9)), table);
    }

    @Test
    void theWidestColumnsAreCutAndTheOthersStayWhole() {
        assertEquals("""
                name      message      bytes
                payments  is damaged\u2026     12
                """, printed("table", 28, listed(List.of("name", "message", "bytes"),
                List.of("payments", "is damaged, and much more", 12))).replaceAll("\033\\[\\d*m", ""));
    }

    @Test
    void withoutATerminalNothingIsCutAndNothingIsColoured() {
        script.colours = true;
        var text = "x".repeat(500);
        assertEquals("name\n" + text + "\n", printed("table", 0, listed(List.of("name"), List.of(text))));
    }

    @Test
    void aTerminalGetsTheNamesInBoldAndFindingsInRed() {
        script.colours = true;
        var listed = new VerifyBackups.Listed(List.of("name"), List.of(),
                List.of(VerifyBackups.Row.of(true, "bad"), VerifyBackups.Row.of(false, "good")));
        assertEquals("\033[1mname\033[0m\n\033[31mbad\033[0m\ngood\n", printed("table", 80, listed));
    }

    @Test
    void aTerminalThatWantsNoColoursGetsNone() {
        script.colours = false;
        var listed = new VerifyBackups.Listed(List.of("name"), List.of(), List.of(VerifyBackups.Row.of(true, "bad")));
        assertEquals("name\nbad\n", printed("table", 80, listed));
    }

    @ParameterizedTest
    @CsvSource({"a, 1", "\u00e9, 1", "e\u0301, 1", "\u65e5\u672c, 4", "\ud55c, 2", "\uff21, 2", "\uff71, 1",
        "\ud83d\ude80, 2", "\ud840\udc00, 2", "\u2026, 1"})
    void wideCharactersCountTwoAndAccentsNone(String text, int width) {
        assertEquals(width, VerifyBackups.displayWidth(text));
    }

    @Test
    void controlCharactersReachNeitherATerminalNorASpreadsheet() {
        var evil = "a\033[2Jb\u009b31mc\u0000\u007f\u202egnp\u200b\u2028\ud800z";
        var listed = listed(List.of("na\033me"), List.of(evil));
        var shown = "a\\u001b[2Jb\\u009b31mc\\u0000\\u007f\\u202egnp\\u200b\\u2028\\ud800z";
        assertEquals("na\\u001bme\n" + shown + "\n", printed("table", 0, listed));
        out.getBuffer().setLength(0);
        assertEquals("na\\u001bme\r\n" + shown + "\r\n", printed("csv", 0, listed));
        out.getBuffer().setLength(0);
        assertEquals("x\na b c\n", printed("table", 0, listed(List.of("x"), List.of("a\r\n\tb\nc"))));
    }

    @Test
    void whatIsReadBackFromCsvIsWhatWasWritten() {
        var values = List.of("plain", "a,b", "a \"quoted\" word", "\"", "\"\"", "two\r\nlines", "two\nlines", "a;b",
                " a ", "\u65e5\u672c", "\ud83d\ude80", "1-2", "a=b", "a'b", "", "2026-11-26T04:00:00Z",
                "arn:aws:kms:eu-west-1:111122223333:key/x");
        var twice = values.stream().map(value -> value + value).toList();
        assertEquals(List.of(values, values, twice), readCsv(printed("csv", 80, listed(values, values, twice))));
    }

    /** Nothing that a spreadsheet reads as a formula is left, whether it splits at commas, semicolons or tabs. */
    @ParameterizedTest
    @ValueSource(strings = {"=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0",
        "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff201", "a;=1+1", "a\n=1+1", "a\t@x", "=", "-",
        "\"=1+1\"", "\";=1+1;\"", "=1,\"=2"})
    void aSpreadsheetCannotBeTricked(String value) {
        var csv = printed("csv", 0, listed(List.of("a", "b"), List.of("x", value)));
        var read = readCsv(csv).get(1).get(1);
        var begin = "[-=+@\uff1d\uff0b\uff0d\uff20]";
        assertEquals(value, read.replaceAll("^'(?=[\\t\\r\\n])|(?<=^|[;\\t\\r\\n])'(?=" + begin + ")", ""));
        for (var separator : List.of(",", ";", "\t")) {
            for (var cell : csv.split("\r\n|[\r\n]|" + separator)) {
                assertFalse(cell.matches("(?s)\"?" + begin + ".*"), "'" + separator + "' gives " + cell);
            }
        }
    }

    @Test
    void aNumberStaysANumber() {
        assertEquals("a,b,c\r\n-5,0.5,-1e-3\r\n".replace("-1e-3", "-0.001"),
                printed("csv", 0, listed(List.of("a", "b", "c"), List.of(-5, 0.5, -0.001))));
    }

    @Test
    void aFullDiskIsAFailureThatTellsTheResult() {
        script.commandLine().setOut(new PrintWriter(new OutputStream() {
            @Override
            public void write(int b) throws IOException {
                throw new IOException("No space left on device");
            }
        }));
        script.output = "csv";
        var listed = listed(List.of("name"), List.of("payments"));
        var failure = assertThrows(VerifyBackups.Failure.class,
                () -> script.print(List.of("the document"), listed, "1 finding", 4));
        assertTrue(failure.getMessage().contains("the result is: [\"the document\"]"), failure.getMessage());
    }

    /** Lines of a table that a process prints to a terminal of 44 columns. */
    static List<String> onATerminal(LocalAws aws, String noColour) throws Exception {
        var command = "stty cols 44; \"$JAVA\" -XX:+UseSerialGC -Djdk.console=java.base -cp \"$CLASSES\""
                + " AuditEncryption --output table 2>/dev/null";
        var process = Script.within(aws, new ProcessBuilder("script", "-qec", command, "/dev/null"));
        process.environment().putAll(Map.of("JAVA", Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "CLASSES", System.getProperty("java.class.path"), "NO_COLOR", noColour));
        if (noColour.isEmpty()) process.environment().remove("NO_COLOR");
        var started = process.redirectErrorStream(true).start();
        started.getOutputStream().close();
        var said = new String(started.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(4, Wait.forEnd(started, () -> said), said);
        return said.lines().toList();
    }

    @Test
    void aTerminalIsAskedForItsWidthAndNoColorIsRespected() throws Exception {
        assumeTrue(Files.isExecutable(Path.of("/usr/bin/script")), "script, which makes a terminal, is missing");
        try (var aws = LocalAws.start()) {
            var key = aws.kms.createKey("eu-west-1");
            key.state = "Disabled";
            aws.codecommit.batchNeedsKey = false;
            aws.codecommit.createRepository("payments").key(key.arn);
            for (var noColour : List.of("", "1")) {
                var lines = onATerminal(aws, noColour);
                assertEquals(2, lines.size(), lines.toString());
                assertEquals(noColour.isEmpty(), lines.get(0).startsWith("\033[1m"), lines.toString());
                assertEquals(noColour.isEmpty(), lines.get(1).startsWith("\033[31mpaym"), lines.toString());
                for (var line : lines) {
                    var plain = line.replaceAll("\033\\[\\d+m", "");
                    assertTrue(VerifyBackups.displayWidth(plain) <= 44 && plain.contains("\u2026"), lines.toString());
                }
            }
        }
    }

    static Stream<String> scripts() {
        return Toolkit.scripts().stream()
                .filter(name -> Toolkit.command(name).getCommandSpec().findOption("--output") != null);
    }

    @ParameterizedTest
    @MethodSource("scripts")
    void refusesOtherFormatsAndAPartOfAList(String name) throws Exception {
        try (var aws = LocalAws.start()) {
            Script.use(aws);
            var example = String.join("\n", Toolkit.command(name).getCommandSpec().usageMessage().footer())
                    .split("(?<!\\\\)\n")[0].replaceAll("\\\\\n", " ");
            var words = new ArrayList<>(Toolkit.words(example));
            words.subList(0, 2).clear();
            var at = words.indexOf("--output");
            if (at >= 0) words.subList(at, at + 2).clear();
            for (var wrong : List.of(List.of("--output", "yaml"), List.of("--output", "Table"), List.of("--output="),
                    List.of("--output", "json,csv"))) {
                Script.assertRefused(run(name, words, wrong), "must be json, table or csv", aws);
            }
            for (var format : List.of("table", "csv")) {
                Script.assertRefused(run(name, words, List.of("--output", format, "--print", "/status")),
                        "--print: use it without --output " + format, aws);
            }
        }
    }

    static Script.Run run(String name, List<String> words, List<String> more) {
        return Script.run(Toolkit.command(name),
                Stream.concat(words.stream(), more.stream()).toArray(String[]::new));
    }
}
