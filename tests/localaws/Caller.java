package localaws;

import software.amazon.awssdk.regions.PartitionMetadata;
import software.amazon.awssdk.regions.Region;

/** Who signed a request, and for which Region. */
public record Caller(String arn, String account, String region) {
    /** aws, aws-cn or aws-us-gov, by the Region. */
    public String partition() {
        return PartitionMetadata.of(Region.of(region)).id();
    }

    /** amazonaws.com or amazonaws.com.cn, by the Region. */
    public String dnsSuffix() {
        return PartitionMetadata.of(Region.of(region)).dnsSuffix();
    }

    /** The ARN of one of this account's resources in this Region. */
    public String arn(String service, String resource) {
        return "arn:" + partition() + ":" + service + ":" + region + ":" + account + ":" + resource;
    }
}
