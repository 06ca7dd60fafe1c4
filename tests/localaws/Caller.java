package localaws;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import software.amazon.awssdk.regions.PartitionMetadata;
import software.amazon.awssdk.regions.Region;

/**
 * Who signed a request, for which Region, and how it came.
 *
 * @param sessionPolicies what AssumeRole was given: the session may do nothing but what one of these allows; empty for
 *                        none
 * @param endpoint        the VPC endpoint that the request came through, or null
 * @param via             the service that calls another one with this caller's permissions, such as
 *                        s3.eu-west-1.amazonaws.com, or null
 */
public record Caller(String arn, String account, String region, List<PolicyEvaluator.Policy> sessionPolicies,
        Endpoint endpoint, String via) {
    /** A VPC endpoint as policies see it. */
    record Endpoint(String id, String vpcId, String account, String serviceName, PolicyEvaluator.Policy policy) {
        /** Whether it is the endpoint of codecommit, git-codecommit, kms ... */
        boolean serves(String service) {
            return serviceName.replaceFirst("-fips$", "").endsWith("." + service);
        }
    }

    public Caller(String arn, String account, String region) {
        this(arn, account, region, List.of(), null, null);
    }

    /** The same caller when a service calls another one for it (forward access); so it is in each partition. */
    Caller via(String service) {
        return new Caller(arn, account, region, sessionPolicies, null, service + "." + region + ".amazonaws.com");
    }

    /** By Region: the SDK tries the pattern of one partition after the other, which takes longer than a decision. */
    private static final Map<String, PartitionMetadata> PARTITIONS = new ConcurrentHashMap<>();

    private PartitionMetadata metadata() {
        return PARTITIONS.computeIfAbsent(region, r -> PartitionMetadata.of(Region.of(r)));
    }

    /** aws, aws-cn or aws-us-gov, by the Region. */
    public String partition() {
        return metadata().id();
    }

    /** amazonaws.com or amazonaws.com.cn, by the Region. */
    public String dnsSuffix() {
        return metadata().dnsSuffix();
    }

    /** The ARN of one of this account's resources in this Region. */
    public String arn(String service, String resource) {
        return "arn:" + partition() + ":" + service + ":" + region + ":" + account + ":" + resource;
    }

    /** The ARN of one of this account's IAM resources, such as {@code role/Backup}. */
    String iamArn(String resource) {
        return "arn:" + partition() + ":iam::" + account + ":" + resource;
    }
}
