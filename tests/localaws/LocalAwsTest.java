package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.sts.StsClient;

/** The embedded AWS's front door: signatures, faults, the log. */
class LocalAwsTest {
    static final LocalAws aws = LocalAws.start();

    @AfterAll
    static void stop() {
        aws.close();
    }

    @BeforeEach
    void clear() {
        aws.clearCalls();
        aws.clearFaults();
    }

    static StsClient sts(URI endpoint, AwsCredentials credentials) {
        return StsClient.builder().endpointOverride(endpoint).region(Region.of("cn-north-1"))
                .credentialsProvider(StaticCredentialsProvider.create(credentials))
                .httpClient(UrlConnectionHttpClient.create()).build();
    }

    static final AwsBasicCredentials RIGHT = AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID,
            LocalAws.SECRET_ACCESS_KEY);

    @Test
    void answersWhoSignedInTheRegionsPartition() {
        try (var sts = sts(aws.endpoint(), RIGHT)) {
            assertEquals("arn:aws-cn:iam::111122223333:user/operator", sts.getCallerIdentity().arn());
        }
        assertEquals("sts:GetCallerIdentity", aws.calls().get(0).name());
        assertEquals(200, aws.calls().get(0).status());
    }

    @Test
    void refusesAWrongSecretAnUnknownKeyAndAnExpiredToken() {
        aws.addCredentials("ASIAEXPIRED", "secret", "token", "assumed-role/Backup/night",
                Instant.now().minusSeconds(1));
        assertError("SignatureDoesNotMatch", AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, "wrong"));
        assertError("InvalidClientTokenId", AwsBasicCredentials.create("AKIANOBODY", "wrong"));
        assertError("ExpiredToken", AwsSessionCredentials.create("ASIAEXPIRED", "secret", "token"));
        assertError("InvalidClientTokenId", AwsSessionCredentials.create("ASIAEXPIRED", "secret", "other token"));
    }

    private static void assertError(String code, AwsCredentials credentials) {
        try (var sts = sts(aws.endpoint(), credentials)) {
            assertEquals(code,
                    assertThrows(AwsServiceException.class, sts::getCallerIdentity).awsErrorDetails().errorCode());
        }
    }

    @Test
    void throttlesCutsAndLosesAnswersOnDemand() {
        try (var sts = sts(aws.endpoint(), RIGHT)) {
            aws.inject(Fault.on("sts:GetCallerIdentity").times(2).throttle());
            assertEquals("111122223333", sts.getCallerIdentity().account(), "the SDK tries again");
            assertEquals(List.of(400, 400, 200), aws.calls().stream().map(Call::status).toList());
            aws.inject(Fault.on("sts:*").always().cut(10));
            assertThrows(SdkClientException.class, sts::getCallerIdentity);
            aws.clearFaults();
            aws.inject(Fault.on("sts:*").always().loseAnswer());
            assertThrows(SdkClientException.class, sts::getCallerIdentity);
            aws.clearFaults();
            aws.inject(Fault.on("sts:*").after(1).error(403, "AccessDenied", "no"));
            sts.getCallerIdentity();
            assertThrows(AwsServiceException.class, sts::getCallerIdentity);
            aws.clearFaults();
            aws.inject(Fault.on("sts:*").answer("<GetCallerIdentityResponse/>"));
            assertNull(sts.getCallerIdentity().account());
        }
    }

    /** A client that has an answer asks what was called, as the next call of a script shows its order. */
    @Test
    void aCallIsLoggedBeforeItsAnswerCanBeRead() throws Exception {
        aws.inject(Fault.on("codecommit:GitPull").stall(1, Duration.ofDays(1)));
        aws.codecommit.createRepository("logged").commit("refs/heads/main", "a", "a");
        var request = HttpRequest.newBuilder(
                URI.create(aws.endpoint() + "/v1/repos/logged/info/refs?service=git-upload-pack"))
                .header("Authorization", aws.gitAuthorization("logged")).build();
        try (var body = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofInputStream()).body()) {
            assertTrue(body.read() >= 0, "the answer has begun");
            assertEquals(List.of("codecommit:GitPull"), aws.calls().stream().map(Call::name).toList());
        }
    }

    @Test
    void theLogSaysThatAnAnswerWasCutAndKeepsTheCallsPlace() {
        try (var sts = sts(aws.endpoint(), RIGHT)) {
            aws.inject(Fault.on("sts:*").cut(10));
            assertThrows(SdkClientException.class, sts::getCallerIdentity);
            sts.getCallerIdentity();
        }
        assertEquals(List.of("Cut 0", "null 200"),
                aws.calls().stream().map(call -> call.error() + " " + call.status()).toList());
    }
}
