import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToDoubleFunction;

/**
 * What a benchmark measured: figures with their targets, and the times that they come from; as a table, as JSON, and as
 * a bar chart.
 */
final class Results {
    enum Bound {
        AT_LEAST("at least"), AT_MOST("at most");

        final String words;

        Bound(String words) {
            this.words = words;
        }

        boolean holds(double value, double limit) {
            return this == AT_LEAST ? value >= limit : value <= limit;
        }
    }

    /**
     * A run of a contestant: seconds of its whole process tree, CPU seconds of the server meanwhile, and the requests
     * that it made, by name.
     */
    record Run(double wall, double cpu, double server, Map<String, Integer> calls) { }

    /** A figure of a subject, and what it should be. */
    static final class Row {
        final String subject;
        final String figure;
        /** Null where there is no target. */
        final Bound bound;
        final double limit;
        final String unit;
        private double[] sorted = {};
        private String missing = "not measured";

        private Row(String subject, String figure, Bound bound, double limit, String unit) {
            this.subject = subject;
            this.figure = figure;
            this.bound = bound;
            this.limit = limit;
            this.unit = unit;
        }

        void measured(double... values) {
            if (values.length == 0 || !Arrays.stream(values).allMatch(Double::isFinite)) {
                throw new IllegalArgumentException(figure + ": " + Arrays.toString(values));
            }
            sorted = Arrays.stream(values).sorted().toArray();
        }

        void missing(String reason) {
            missing = reason;
        }

        boolean isMeasured() {
            return sorted.length > 0;
        }

        /** The median decides. */
        boolean met() {
            return isMeasured() && bound != null && bound.holds(median(sorted), limit);
        }

        String target() {
            return bound == null ? "" : bound.words + " " + number(limit) + " " + unit;
        }

        String verdict() {
            return !isMeasured() ? "skipped: " + missing : bound == null ? "" : met() ? "met" : "MISSED";
        }

        /** The median, and the range where there is one. */
        String measure() {
            if (!isMeasured()) return "";
            var range = sorted[0] == sorted[sorted.length - 1] ? ""
                    : " (" + number(sorted[0]) + " to " + number(sorted[sorted.length - 1]) + ")";
            return number(median(sorted)) + " " + unit + range;
        }
    }

    static final ObjectMapper JSON = new ObjectMapper();
    /** About the machine and the run. */
    final ObjectNode about = JSON.createObjectNode();
    final List<Row> rows = new ArrayList<>();
    /** The runs of a subject's contestants; the first one is what the others are compared with. */
    final Map<String, Map<String, List<Run>>> runs = new LinkedHashMap<>();

    Row row(String subject, String figure, Bound bound, double limit, String unit) {
        rows.add(new Row(subject, figure, bound, limit, unit));
        return rows.get(rows.size() - 1);
    }

    /** A figure without a target. */
    Row row(String subject, String figure, String unit) {
        return row(subject, figure, null, 0, unit);
    }

    static double median(double[] sorted) {
        var half = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    }

    static double median(List<Run> runs, ToDoubleFunction<Run> value) {
        return median(runs.stream().mapToDouble(value).sorted().toArray());
    }

    /** Three digits are enough. */
    static String number(double value) {
        var size = Math.abs(value);
        return String.format(Locale.ROOT, value == Math.rint(value) || size >= 100 ? "%,.0f"
                : size >= 10 ? "%.1f" : size >= 0.1 ? "%.2f" : "%.4f", value);
    }

    String table() {
        var text = new StringBuilder();
        for (var subject : subjects()) {
            text.append('\n').append(subject).append('\n');
            for (var row : rows) {
                if (row.subject.equals(subject)) {
                    text.append(String
                            .format("  %-75s %-19s %-34s %s", row.figure, row.target(), row.measure(), row.verdict())
                            .stripTrailing()).append('\n');
                }
            }
        }
        var targets = rows.stream().filter(row -> row.bound != null).toList();
        var met = targets.stream().filter(Row::met).count();
        var skipped = targets.stream().filter(row -> !row.isMeasured()).count();
        return text + "\ntargets: " + met + " met, " + (targets.size() - met - skipped) + " missed, " + skipped
                + " skipped\n";
    }

    private List<String> subjects() {
        var subjects = new LinkedHashSet<String>();
        rows.forEach(row -> subjects.add(row.subject));
        return List.copyOf(subjects);
    }

    ObjectNode json() {
        var json = about.deepCopy();
        var figures = json.putArray("figures");
        for (var row : rows) {
            var node = figures.addObject().put("subject", row.subject).put("figure", row.figure).put("unit", row.unit);
            if (row.bound != null) node.putObject("target").put("bound", row.bound.words).put("limit", row.limit);
            if (!row.isMeasured()) {
                node.put("skipped", row.missing);
            } else {
                node.put("median", median(row.sorted)).put("min", row.sorted[0]).put("max",
                        row.sorted[row.sorted.length - 1]);
            }
            if (row.isMeasured() && row.bound != null) node.put("met", row.met());
        }
        var times = json.putObject("runs");
        runs.forEach((subject, contestants) -> contestants
                .forEach((name, all) -> times.withObjectProperty(subject).set(name, JSON.valueToTree(all))));
        return json;
    }

    // ---- The chart: what it has to say stands in it as text, and the colours do on white and on black

    private static final int WIDTH = 860;
    private static final int LABELS = 270;
    private static final int LONGEST = 400;

    String svg() {
        var body = new StringBuilder();
        var y = 8;
        for (var subject : subjects()) {
            body.append(text(8, y += 24, "title", subject));
            var contestants = runs.getOrDefault(subject, Map.of());
            var longest = contestants.values().stream().mapToDouble(all -> median(all, Run::wall)).max().orElse(1);
            var first = contestants.values().stream().findFirst().map(all -> median(all, Run::wall)).orElse(1.0);
            for (var contestant : contestants.entrySet()) {
                var wall = median(contestant.getValue(), Run::wall);
                var width = wall / longest * LONGEST;
                body.append(text(LABELS - 8, (y += 22) + 1, "name", contestant.getKey()));
                var style = wall == first ? "own" : "other";
                body.append(String.format(Locale.ROOT,
                        "<rect x=\"%d\" y=\"%d\" width=\"%.2f\" height=\"16\" class=\"%s\"/>\n", LABELS, y - 12, width,
                        style));
                body.append(text(LABELS + (int) width + 8, y + 1, "value",
                        number(wall) + " s" + (wall == first ? "" : ", " + number(wall / first) + " x")));
            }
            if (!contestants.isEmpty()) y += 4;
            for (var row : rows) {
                if (row.subject.equals(subject)) {
                    var verdict = row.bound == null ? row.verdict()
                            : row.verdict().replace("MISSED", "missed") + ", target " + row.target();
                    body.append(
                            text(24, y += 18, row.isMeasured() && row.bound != null && !row.met() ? "missed" : "figure",
                                    row.figure + ": " + row.measure()
                                            + (verdict.isEmpty() ? "" : (row.isMeasured() ? ": " : "") + verdict)));
                }
            }
            y += 12;
        }
        return """
                <svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %1$d %2$d" role="img" \
                aria-label="Benchmark results">
                <style>
                text { font: 13px system-ui, sans-serif; fill: #24292f }
                .title { font-weight: 600 }
                .name { text-anchor: end }
                .figure, .missed { font-size: 12px }
                .missed { fill: #bc4c00 }
                .own { fill: #1f6feb }
                .other { fill: #8b949e }
                @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .missed { fill: #f0883e } }
                </style>
                """.formatted(WIDTH, y + 8) + body + "</svg>\n";
    }

    private static String text(int x, int y, String style, String text) {
        var escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
        return "<text x=\"" + x + "\" y=\"" + y + "\" class=\"" + style + "\">" + escaped + "</text>\n";
    }
}
