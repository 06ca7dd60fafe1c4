import localaws.LocalAws;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsSyncClientBuilder;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;

/** What the users and roles of an embedded AWS do with their own credentials. */
final class SignedIn {
    private SignedIn() {
    }

    /** Lets the SDK of this JVM sign as somebody, until {@link Script#use}. */
    static void use(LocalAws aws, String arn) {
        Script.use(aws);
        var login = aws.as(arn);
        System.setProperty("aws.accessKeyId", login.accessKeyId());
        System.setProperty("aws.secretAccessKey", login.secretAccessKey());
        if (login.sessionToken() != null) System.setProperty("aws.sessionToken", login.sessionToken());
    }

    static <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(LocalAws aws, B builder,
            String region, String arn) {
        return builder.endpointOverride(aws.endpoint()).region(Region.of(region))
                .credentialsProvider(StaticCredentialsProvider.create(credentials(aws.as(arn))))
                .httpClient(UrlConnectionHttpClient.create()).build();
    }

    static AwsCredentials credentials(LocalAws.Login login) {
        return login.sessionToken() == null
                ? AwsBasicCredentials.create(login.accessKeyId(), login.secretAccessKey())
                : AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(), login.sessionToken());
    }

    /** "yes", or HTTP status and error code of the refusal. */
    static String outcome(Runnable call) {
        try {
            call.run();
            return "yes";
        } catch (AwsServiceException e) {
            return e.statusCode() + " " + e.awsErrorDetails().errorCode();
        }
    }
}
