import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import localaws.Fault;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import software.amazon.awssdk.http.HttpExecuteRequest;
import software.amazon.awssdk.http.SdkHttpConfigurationOption;
import software.amazon.awssdk.http.SdkHttpMethod;
import software.amazon.awssdk.http.SdkHttpRequest;
import software.amazon.awssdk.utils.AttributeMap;

/** How all scripts find credentials and a Region, and what they say when they cannot; tried on one of them. */
class SignInTest {
    static LocalAws aws;

    @TempDir
    Path directory;
    Properties properties;

    @BeforeAll
    static void start() throws IOException {
        aws = LocalAws.start();
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    @BeforeEach
    void forgetCredentials() {
        aws.clearFaults();
        aws.clearCalls();
        properties = (Properties) System.getProperties().clone();
        Script.use(aws);
        List.of("aws.accessKeyId", "aws.secretAccessKey", "aws.region").forEach(System::clearProperty);
        System.setProperty("aws.disableEc2Metadata", "true");
        System.setProperty("aws.sharedCredentialsFile", directory.resolve("credentials").toString());
    }

    @AfterEach
    void restoreProperties() {
        System.setProperties(properties);
    }

    void configure(String text) throws IOException {
        var file = Files.writeString(directory.resolve("config"), text);
        System.setProperty("aws.configFile", file.toString());
    }

    static Script.Run run(String... more) {
        var arguments = new ArrayList<>(List.of("--repository-name", "x", "--kms-key-id", "alias/x"));
        arguments.addAll(List.of(more));
        return Script.run(new CreateEncryptedRepo().commandLine(), arguments.toArray(String[]::new));
    }

    /** Exit code 1, nothing on stdout, one line on stderr. */
    static void assertFailed(Script.Run run, String message) {
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertEquals("create-encrypted-repo: " + message + "\n", run.err());
    }

    static final String PROFILES = """
            [profile login]
            region = eu-west-1
            login_session = arn:aws:iam::111122223333:user/operator
            [profile sso]
            region = eu-west-1
            sso_session = corp
            sso_account_id = 111122223333
            sso_role_name = Dev
            [sso-session corp]
            sso_region = eu-west-1
            sso_start_url = https://corp.awsapps.com/start
            [profile keys]
            region = eu-west-1
            aws_access_key_id = %s
            aws_secret_access_key = %s
            [profile mfa]
            region = eu-west-1
            role_arn = arn:aws:iam::111122223333:role/Administrator
            source_profile = keys
            mfa_serial = arn:aws:iam::111122223333:mfa/operator
            """.formatted(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY);

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "login | Token cache file for login_session `arn:aws:iam::111122223333:user/operator` not found. You must "
                    + "re-authenticate.; sign in with: aws login --profile login",
            "sso | Unable to load SSO token; sign in with: aws sso login --profile sso"})
    void saysHowToSignInToAProfile(String profile, String message) throws IOException {
        configure(PROFILES);
        assertFailed(run("--profile", profile), "profile " + profile + ": " + message);
        System.setProperty("aws.profile", profile);
        assertFailed(run(), "profile " + profile + ": " + message);
        assertEquals(List.of(), aws.calls());
    }

    @Test
    void saysThatMfaIsLeftToTheAwsCli() throws IOException {
        configure(PROFILES);
        aws.inject(Fault.on("sts:AssumeRole").always().error(403, "AccessDenied", "MFA is required"));
        var run = run("--profile", "mfa");
        assertEquals(1, run.exitCode(), run.err());
        assertTrue(run.err().startsWith("create-encrypted-repo: profile mfa: AccessDenied: MFA is required (request"),
                run.err());
        assertTrue(run.err().endsWith("; it asks for MFA, which only the AWS CLI can do: "
                + "eval \"$(aws configure export-credentials --profile mfa --format env)\"\n"), run.err());
    }

    @Test
    void namesTheProfilesThereAre() throws IOException {
        configure(PROFILES);
        var message = "no profile typo in the AWS configuration files; there are: keys, login, mfa, sso";
        assertFailed(run("--profile", "typo", "--region", "eu-west-1"), message);
        System.setProperty("aws.profile", "typo");
        assertFailed(run("--region", "eu-west-1"), message);
        configure("");
        assertFailed(run("--region", "eu-west-1"),
                "no profile typo in the AWS configuration files; there is none");
    }

    @Test
    void saysWhatIsMissing() {
        System.setProperty("aws.configFile", directory.resolve("none").toString());
        assertFailed(run(), "no Region: use --region or set AWS_REGION");
        assertFailed(run("--region", "eu-west-1"),
                "no AWS credentials: use --profile, set AWS_PROFILE, or sign in; --verbose shows what was tried");
    }

    @Test
    void theDefaultProfileNeedsNoName() throws IOException {
        configure(PROFILES.replace("profile sso]", "default]"));
        assertFailed(run(), "profile default: Unable to load SSO token; sign in with: aws sso login --profile default");
        configure(PROFILES.replace("profile keys]", "default]"));
        assertFailed(run("--dry-run"), "x: no key alias/x in eu-west-1; create one with: ./jbang create-kms-key "
                + "--alias alias/x"
                + " --region eu-west-1");
    }

    /** The AWS CLI reads these, the SDK does not: it would see no Region, or no credentials. */
    @Test
    void namesTheLineOfAFileThatDoesNotParse() throws IOException {
        configure(PROFILES + "[profile indented]\n    region = eu-west-1\n");
        var message = directory.resolve("config") + ": Expected a profile or property definition on line 22";
        assertFailed(run("--profile", "keys"), message);
        assertFailed(run("--profile", "keys", "--region", "eu-west-1"), message);
        System.setProperty("aws.accessKeyId", LocalAws.ACCESS_KEY_ID);
        System.setProperty("aws.secretAccessKey", LocalAws.SECRET_ACCESS_KEY);
        assertFailed(run("--region", "eu-west-1"), message);
    }

    /** An https server whose certificate no one else trusts; to every call it says 403 and an error code of its own. */
    static final class PrivateServer implements AutoCloseable {
        final HttpsServer server;

        PrivateServer(Path directory) throws Exception {
            var store = directory.resolve("private.p12");
            var keytool = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                    "-genkeypair", "-keyalg", "EC", "-alias", "private", "-dname", "CN=private", "-ext",
                    "san=ip:127.0.0.1", "-storetype", "PKCS12", "-keystore", store.toString(), "-storepass", "secret")
                    .redirectErrorStream(true).start();
            assertEquals(0, keytool.waitFor());
            var keys = KeyStore.getInstance(store.toFile(), "secret".toCharArray());
            Files.writeString(directory.resolve("ca.pem"), "-----BEGIN CERTIFICATE-----\n"
                    + Base64.getMimeEncoder().encodeToString(keys.getCertificate("private").getEncoded())
                    + "\n-----END CERTIFICATE-----\n");
            var managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            managers.init(keys, "secret".toCharArray());
            var context = SSLContext.getInstance("TLS");
            context.init(managers.getKeyManagers(), null, null);
            server = HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
            server.setHttpsConfigurator(new HttpsConfigurator(context));
            server.createContext("/", exchange -> {
                var answer = "<ErrorResponse><Error><Code>Reached</Code></Error></ErrorResponse>".getBytes();
                exchange.sendResponseHeaders(403, answer.length);
                exchange.getResponseBody().write(answer);
                exchange.close();
            });
            server.start();
        }

        URI url() {
            return URI.create("https://127.0.0.1:" + server.getAddress().getPort());
        }

        @Override
        public void close() {
            server.stop(0);
        }
    }

    /** With an empty AWS_CA_BUNDLE as without one. */
    Script.Run runWithCaBundle(URI endpoint, String file) {
        var environment = Script.environment(aws);
        environment.put("AWS_ENDPOINT_URL", endpoint.toString());
        environment.put("AWS_CA_BUNDLE", file);
        return Program.run(Path.of("."), environment, "./jbang", "create-encrypted-repo", "--repository-name", "x",
                "--kms-key-id", "alias/x");
    }

    @Test
    void trustsTheCertificatesOfAwsCaBundleForAwsAndGit() throws Exception {
        var bundle = directory.resolve("ca.pem").toString();
        var before = HttpsURLConnection.getDefaultSSLSocketFactory();
        try (var server = new PrivateServer(directory)) {
            Program.run(Path.of("."), Map.of(), "./jbang", "create-encrypted-repo", "--help"); // builds it
            assertFailed(runWithCaBundle(server.url(), ""), "the certificate of the other side is not trusted: if a "
                    + "proxy inspects TLS, set AWS_CA_BUNDLE to a PEM file of its CA");
            var reached = runWithCaBundle(server.url(), bundle);
            assertTrue(reached.err().startsWith("create-encrypted-repo: Reached (request id "), reached.err());
            CreateEncryptedRepo.useCaBundle(bundle);
            var connection = (HttpsURLConnection) server.url().toURL().openConnection(); // as JGit opens one
            assertEquals(403, connection.getResponseCode());
        } finally {
            HttpsURLConnection.setDefaultSSLSocketFactory(before);
        }
    }

    @Test
    void waitsForNoServerForEver() throws Exception {
        try (var silent = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
            var timeouts = AttributeMap.builder()
                    .put(SdkHttpConfigurationOption.READ_TIMEOUT, Duration.ofMillis(100)).build();
            try (var client = new CreateEncryptedRepo.HttpService().buildWithDefaults(timeouts)) {
                var request = SdkHttpRequest.builder().method(SdkHttpMethod.GET)
                        .uri(URI.create("http://127.0.0.1:" + silent.getLocalPort() + "/")).build();
                var call = client.prepareRequest(HttpExecuteRequest.builder().request(request).build());
                assertThrows(SocketTimeoutException.class, call::call);
            }
        }
    }

    @Test
    void namesACaBundleThatIsNone() throws IOException {
        var file = Files.writeString(directory.resolve("ca.pem"), "no certificate");
        for (var bad : List.of(file.toString(), directory.resolve("none.pem").toString())) {
            var failure = assertThrows(RuntimeException.class, () -> CreateEncryptedRepo.useCaBundle(bad));
            assertTrue(failure.getMessage().startsWith("AWS_CA_BUNDLE " + bad + " must be a PEM file of certificates"),
                    failure.getMessage());
        }
    }
}
