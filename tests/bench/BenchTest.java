import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import javax.xml.parsers.DocumentBuilderFactory;
import localaws.LocalAws;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.w3c.dom.Element;
import picocli.CommandLine;

/**
 * The benchmark itself, without what it measures: what it makes of numbers, and of contestants that fail or are
 * missing.
 */
class BenchTest {
    @TempDir
    Path directory;

    private static Script.Run bench(String... args) {
        return Script.run(new CommandLine(new Bench()).setCaseInsensitiveEnumValuesAllowed(true), args);
    }

    private static Results.Run run(double wall) {
        return new Results.Run(wall, wall / 2, wall / 4, Map.of());
    }

    private static Bench.Comparison comparison(Map<String, double[]> walls) {
        var runs = new LinkedHashMap<String, List<Results.Run>>();
        walls.forEach((name, all) -> runs.put(name, Arrays.stream(all).mapToObj(BenchTest::run).toList()));
        return new Bench.Comparison(runs, new LinkedHashMap<>());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "AT_LEAST | 5    | 4 6 5.5   | met    | 5.50 x (4 to 6)",
            "AT_LEAST | 5    | 4.9 4.9 9 | MISSED | 4.90 x (4.90 to 9)",
            "AT_LEAST | 5    | 5         | met    | 5 x",
            "AT_LEAST | 5    | 4 5       | MISSED | 4.50 x (4 to 5)",
            "AT_MOST  | 1.2  | 1.3 1.1 1 | met    | 1.10 x (1 to 1.30)",
            "AT_MOST  | 1.2  | 1.21      | MISSED | 1.21 x",
            "AT_MOST  | 0    | 0         | met    | 0 x",
            "AT_MOST  | 0    | 4096 0 1  | MISSED | 1 x (0 to 4,096)",
            "AT_MOST  | 2048 | 1375.4    | met    | 1,375 x"})
    void theMedianDecidesWhetherATargetIsMet(Results.Bound bound, double limit, String values, String verdict,
            String measure) {
        var row = new Results().row("a subject", "a figure", bound, limit, "x");
        row.measured(Arrays.stream(values.split(" ")).mapToDouble(Double::parseDouble).toArray());
        assertEquals(verdict, row.verdict());
        assertEquals(measure, row.measure());
        assertEquals(verdict.equals("met"), row.met());
    }

    @Test
    void ratiosAreThoseOfOneRound() {
        var row = new Results().row("a subject", "a figure", "x");
        comparison(Map.of("slow", new double[] {10, 20, 90}, "fast", new double[] {1, 4, 10})).ratio(row, "slow",
                "fast");
        assertEquals("9 x (5 to 10)", row.measure(), "the quotient of the medians is 5");
    }

    @Test
    void whatTheNoiseExceedsIsNoFigure() {
        var row = new Results().row("a subject", "a figure", Results.Bound.AT_MOST, 2, "x");
        var walls = Map.of("many", new double[] {2, 2}, "few", new double[] {1, 0.4}, Bench.START,
                new double[] {0.5, 0.5});
        Bench.perPiece(row, comparison(walls), "many", "few", 2);
        assertFalse(row.isMeasured());
        assertFalse(row.met());
        assertEquals("skipped: less than what starting Java varies by: [1.50, -7.50]", row.verdict());
        assertThrows(IllegalArgumentException.class, () -> row.measured(Double.NaN));
        assertThrows(IllegalArgumentException.class, row::measured);
    }

    @Test
    void tableJsonAndChartSayTheSame() throws Exception {
        var results = new Results();
        results.about.put("runs", 3);
        results.row("first <backup> & more", "times faster than \"tar\"", Results.Bound.AT_LEAST, 5, "x").measured(4, 5,
                6);
        results.row("first <backup> & more", "bytes", Results.Bound.AT_MOST, 0, "bytes").measured(1);
        results.row("first <backup> & more", "memory", "MiB").measured(12.34);
        results.row("another", "times", Results.Bound.AT_MOST, 1, "x").missing("aws is not on PATH");
        var runs = new LinkedHashMap<String, List<Results.Run>>();
        runs.put("toolkit", List.of(run(2), run(1), run(9)));
        runs.put("tar & co", List.of(run(10), run(11), run(9)));
        results.runs.put("first <backup> & more", runs);

        var table = results.table();
        assertTrue(table.matches("(?s).*times faster than \"tar\" +at least 5 x +5 x \\(4 to 6\\) +met\n.*"), table);
        assertTrue(table.matches("(?s).*bytes +at most 0 bytes +1 bytes +MISSED\n.*"), table);
        assertTrue(table.matches("(?s).*memory +12\\.3 MiB\n.*"), table);
        assertTrue(table.matches("(?s).*times +at most 1 x +skipped: aws is not on PATH\n.*"), table);
        assertTrue(table.endsWith("\ntargets: 1 met, 1 missed, 1 skipped\n"), table);

        var figures = results.json().path("figures");
        assertEquals("""
                {"subject":"first <backup> & more","figure":"times faster than \\"tar\\"","unit":"x",\
                "target":{"bound":"at least","limit":5.0},"median":5.0,"min":4.0,"max":6.0,"met":true}""",
                figures.get(0).toString());
        assertFalse(figures.get(1).path("met").asBoolean(true));
        assertFalse(figures.get(2).has("met") || figures.get(2).has("target"));
        assertEquals("aws is not on PATH", figures.get(3).path("skipped").asText());
        assertFalse(figures.get(3).has("met"));
        assertEquals(11, results.json().at("/runs/first <backup> & more/tar & co/1/wall").asDouble());

        var svg = DocumentBuilderFactory.newInstance().newDocumentBuilder()
                .parse(new ByteArrayInputStream(results.svg().getBytes(StandardCharsets.UTF_8)));
        var bars = svg.getElementsByTagName("rect");
        assertEquals(2, bars.getLength());
        var widths = IntStream.range(0, 2)
                .mapToDouble(i -> Double.parseDouble(((Element) bars.item(i)).getAttribute("width"))).toArray();
        assertEquals(5, widths[1] / widths[0], 0.01, "bars are as long as the medians, 10 and 2");
        var texts = svg.getElementsByTagName("text");
        var text = IntStream.range(0, texts.getLength()).mapToObj(i -> texts.item(i).getTextContent()).toList();
        assertEquals(List.of("first <backup> & more", "toolkit", "2 s", "tar & co", "10 s, 5 x",
                "times faster than \"tar\": 5 x (4 to 6): met, target at least 5 x",
                "bytes: 1 bytes: missed, target at most 0 bytes",
                "memory: 12.3 MiB", "another", "times: skipped: aws is not on PATH, target at most 1 x"), text);
        var height = Integer.parseInt(svg.getDocumentElement().getAttribute("height"));
        for (var i = 0; i < texts.getLength(); i++) {
            assertTrue(Integer.parseInt(((Element) texts.item(i)).getAttribute("y")) < height);
        }
    }

    @Test
    void contestantsRunInTurnAndOnesWithoutTheirToolsAreNamed() throws Exception {
        var bench = new Bench();
        bench.work = directory;
        bench.runs = 2;
        var log = directory.resolve("log");
        try (var aws = LocalAws.start()) {
            bench.aws = aws;
            var rounds = new int[1];
            var a = new Bench.Contestant("a", "echo a >>" + log);
            var b = new Bench.Contestant("b", "echo b >>" + log);
            var comparison = bench.compare("a subject", () -> rounds[0]++, a, b,
                    new Bench.Contestant("c", "exit 1", "no-such-tool"));
            assertEquals("a b a b a b", String.join(" ", Files.readAllLines(log)), "the first round does not count");
            assertEquals(3, rounds[0]);
            assertEquals(2, comparison.runs().get("a").size());
            var row = bench.results.row("a subject", "a figure", "x");
            comparison.ratio(row, "a", "c");
            assertEquals("skipped: no-such-tool is not on PATH", row.verdict());
            assertEquals(List.of("a", "b"), List.copyOf(bench.results.runs.get("a subject").keySet()));
            var failure = assertThrows(IOException.class,
                    () -> bench.compare("", () -> {}, new Bench.Contestant("d", "echo why; exit 3")));
            assertEquals("d failed: why\n", failure.getMessage());
        }
    }

    @Test
    void readsItsOptions() {
        var bench = new Bench();
        var command = new CommandLine(bench).setCaseInsensitiveEnumValuesAllowed(true);
        command.parseArgs();
        assertEquals(List.of(Bench.Case.values()), bench.cases);
        command.parseArgs("restore-push", "restore-fleet");
        assertEquals(List.of(Bench.Case.restore_push, Bench.Case.restore_fleet), bench.cases);
        command.parseArgs("FIRST", "small", "--runs", "1", "--quick", "--large", "x.git", "--json", "a.json", "--svg",
                "a.svg");
        assertEquals(List.of(Bench.Case.first, Bench.Case.small), bench.cases);
        assertTrue(bench.quick);
        assertEquals(1, bench.runs);
        assertEquals(2, bench("third").exitCode());
        assertTrue(bench("--runs", "0").err().contains("--runs 0: at least 1"));
        assertTrue(bench("--large", directory.toString()).err().contains(": no bare Git repository"));
    }
}
