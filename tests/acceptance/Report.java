import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.util.ArrayList;
import java.util.List;

/** What a run found, to be filed as an issue: account ids in it are replaced. */
@JsonInclude(JsonInclude.Include.NON_NULL)
final class Report {
    private static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

    /** One command of the toolkit, or of git; the error is null where it did what was expected. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Step(String title, String command, int exitCode, double seconds, String error) { }

    /** What only AWS can tell. */
    record Answer(String question, String answer) { }

    public String toolkit;
    public String region;
    public String partition;
    public boolean twoAccounts;
    public boolean interrupted;
    public String startedAt;
    public double seconds;
    public final List<Step> steps = new ArrayList<>();
    public final List<Answer> answers = new ArrayList<>();
    public List<Made.Left> left = List.of();

    private final List<String> accounts = new ArrayList<>();

    void hide(String account) {
        if (!accounts.contains(account)) {
            accounts.add(account);
        }
    }

    boolean succeeded() {
        return !interrupted && left.isEmpty() && steps.stream().allMatch(step -> step.error() == null);
    }

    String json() throws JsonProcessingException {
        return hidden(JSON.writeValueAsString(this)) + "\n";
    }

    String markdown() {
        var text = new StringBuilder();
        text.append("# Acceptance of ").append(toolkit).append(succeeded() ? ": passed" : ": failed").append("\n\n");
        text.append(startedAt).append(", ").append(region).append(" (").append(partition).append("), ")
                .append(twoAccounts ? "two accounts" : "one account").append(", ")
                .append(Math.round(seconds)).append(" s").append(interrupted ? ", interrupted" : "").append(".\n\n");
        text.append("| Step | Exit code | Seconds | Error |\n|---|---|---|---|\n");
        for (var step : steps) {
            row(text, step.title(), String.valueOf(step.exitCode()), String.format("%.1f", step.seconds()),
                    step.error() == null ? "" : step.error());
        }
        text.append("\n| What only AWS can tell | Answer |\n|---|---|\n");
        for (var answer : answers) {
            row(text, answer.question(), answer.answer());
        }
        text.append(left.isEmpty() ? "\nAll that was made is removed.\n"
                : "\nLeft behind:\n\n| What | Why | Remove it by |\n|---|---|---|\n");
        for (var thing : left) {
            row(text, thing.name(), thing.reason(), "`" + thing.command() + "`");
        }
        return hidden(text.toString());
    }

    private static void row(StringBuilder text, String... cells) {
        for (var cell : cells) {
            text.append("| ").append(cell.replaceAll("\\s+", " ").replace("|", "\\|")).append(' ');
        }
        text.append("|\n");
    }

    private String hidden(String text) {
        var hidden = text;
        for (var i = 0; i < accounts.size(); i++) {
            hidden = hidden.replace(accounts.get(i), "ACCOUNT" + (i + 1));
        }
        return hidden;
    }
}
