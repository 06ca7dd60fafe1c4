import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Call;
import localaws.LocalAws;
import localaws.S3;
import picocli.CommandLine;

/** Runs a script in this JVM: {@code Script.run(new CreateKmsKey().commandLine(), "--alias", "alias/x")}. */
final class Script {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Script() {
    }

    /** What one run returned and printed. */
    record Run(int exitCode, String out, String err) {
        /** The document on stdout. */
        JsonNode json() {
            try {
                return JSON.readTree(out);
            } catch (IOException e) {
                throw new UncheckedIOException(this.toString(), e);
            }
        }

        String status() {
            return json().path("status").asText();
        }
    }

    static Run run(CommandLine script, String... args) {
        return run(script, new StringWriter(), args);
    }

    /** @param err where stderr goes, to be looked at while the script runs */
    static Run run(CommandLine script, StringWriter err, String... args) {
        var out = new StringWriter();
        var exitCode = script.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true)).execute(args);
        return new Run(exitCode, out.toString(), err.toString());
    }

    /**
     * That a run was refused as wrong usage: exit code 2, nothing on stdout, one line on stderr that shows what is
     * right, no call to AWS.
     */
    static void assertRefused(Run run, String right, LocalAws aws) {
        assertEquals(2, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains(right), run.err());
        assertEquals(List.of(), aws.calls());
    }

    /** That a second run found all as it should be, and so called nothing that changes anything. */
    static void assertUnchanged(Run second, LocalAws aws) {
        assertEquals(0, second.exitCode(), second.err());
        assertEquals("unchanged", second.status());
        assertEquals(0, second.json().path("changes").size());
        assertFalse(second.json().has("undo"));
        assertReadsOnly(aws);
    }

    /** That nothing was called that changes anything. */
    static void assertReadsOnly(LocalAws aws) {
        assertEquals(List.of(), aws.calls().stream().filter(call -> !call.readOnly()).map(Call::name).toList());
    }

    /**
     * That the IAM actions in a script's Javadoc are those of the calls it made, no fewer and no more; the implied ones
     * need a permission without being a call of their own (tags given at creation). sts:GetCallerIdentity needs none.
     */
    static void assertIamActions(String script, Collection<Call> calls, Set<String> implied) {
        var made = new TreeSet<>(implied);
        calls.stream().map(Call::name)
                .filter(name -> !name.equals("sts:GetCallerIdentity") && !name.startsWith("unknown:"))
                .map(name -> name.startsWith("s3:") ? S3.action(name) : name).forEach(made::add);
        assertEquals(String.join("\n", made), String.join("\n", iamActions(script)));
    }

    /** The IAM actions that a script's Javadoc lists. */
    static Set<String> iamActions(String script) {
        var javadoc = javadoc(script);
        return actions(javadoc.substring(javadoc.indexOf("IAM actions")));
    }

    /** All that look like IAM actions in a text. */
    static Set<String> actions(String text) {
        var services = "cloudtrail|cloudwatch|codebuild|codecommit|ec2|events|iam|kms|lambda|logs|s3|sns";
        return Pattern.compile("\\b(?:" + services + "):[A-Z]\\w+").matcher(text).results()
                .map(MatchResult::group).collect(Collectors.toCollection(TreeSet::new));
    }

    static String javadoc(String script) {
        var source = Toolkit.source(script);
        return source.substring(source.indexOf("/**"), source.indexOf("*/"));
    }

    /**
     * Points the SDK of this JVM at an embedded AWS, as the environment variables of the sandbox do for other
     * processes.
     */
    static void use(LocalAws aws) {
        System.setProperty("aws.endpointUrl", aws.endpoint().toString());
        System.setProperty("aws.accessKeyId", LocalAws.ACCESS_KEY_ID);
        System.setProperty("aws.secretAccessKey", LocalAws.SECRET_ACCESS_KEY);
        System.setProperty("aws.region", "eu-west-1");
        // which a run with --profile, or as a role, has set
        System.clearProperty("aws.profile");
        System.clearProperty("aws.sessionToken");
    }

    /** The environment in which another process sees this embedded AWS, and no other AWS. */
    static Map<String, String> environment(LocalAws aws) {
        return new TreeMap<>(Map.of(
                "AWS_ENDPOINT_URL", aws.endpoint().toString(),
                "AWS_ACCESS_KEY_ID", LocalAws.ACCESS_KEY_ID,
                "AWS_SECRET_ACCESS_KEY", LocalAws.SECRET_ACCESS_KEY,
                "AWS_REGION", "eu-west-1",
                "AWS_DEFAULT_REGION", "eu-west-1",
                "AWS_EC2_METADATA_DISABLED", "true",
                "AWS_CONFIG_FILE", "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE", "/dev/null"));
    }

    /** Lets a process see this embedded AWS, and no AWS account, proxy or Java option of this machine. */
    static ProcessBuilder within(LocalAws aws, ProcessBuilder process) {
        process.environment().keySet()
                .removeIf(name -> name.matches("(?i)AWS_.*|.*_PROXY|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS"));
        process.environment().putAll(environment(aws));
        return process;
    }

    /** The command of a script's process that Java starts without JBang, which takes as long as the script itself. */
    static List<String> java(List<String> options, String script, String... arguments) {
        var command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        command.addAll(options);
        command.addAll(List.of("-XX:+UseSerialGC", "-cp", System.getProperty("java.class.path"), script));
        command.addAll(List.of(arguments));
        return command;
    }

    /**
     * Begins the command of a process that a signal is to end: if the tests were started in the background, all that
     * they start ignores SIGINT.
     */
    static List<String> withDefaultSignals() throws IOException, InterruptedException {
        var env = List.of("env", "--default-signal=INT,TERM");
        assumeTrue(new ProcessBuilder(Stream.concat(env.stream(), Stream.of("true")).toList()).start().waitFor() == 0,
                "env --default-signal is missing: whether signals arrive depends on who started this test");
        return env;
    }
}
