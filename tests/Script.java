import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.TreeMap;
import localaws.LocalAws;
import picocli.CommandLine;

/** Runs a script in this JVM: {@code Script.run(CreateKmsKey.commandLine(), "--alias", "alias/x")}. */
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
        var out = new StringWriter();
        var err = new StringWriter();
        var exitCode = script.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true)).execute(args);
        return new Run(exitCode, out.toString(), err.toString());
    }

    /** Points the SDK of this JVM at an embedded AWS, as the environment variables of the sandbox do for other processes. */
    static void use(LocalAws aws) {
        System.setProperty("aws.endpointUrl", aws.endpoint().toString());
        System.setProperty("aws.accessKeyId", LocalAws.ACCESS_KEY_ID);
        System.setProperty("aws.secretAccessKey", LocalAws.SECRET_ACCESS_KEY);
        System.setProperty("aws.region", "eu-west-1");
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
}
