import java.util.stream.Stream;
import software.amazon.awssdk.arns.Arn;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.services.cloudwatch.CloudWatchClient;
import software.amazon.awssdk.services.cloudwatchlogs.CloudWatchLogsClient;
import software.amazon.awssdk.services.codebuild.CodeBuildClient;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.NoSuchEntityException;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.KeyListEntry;
import software.amazon.awssdk.services.kms.model.KmsException;
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.BucketVersioningStatus;
import software.amazon.awssdk.services.s3.model.NoSuchBucketException;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.sts.StsClient;

/** An account as its administrator sees it: what the acceptance makes and removes without a script of the toolkit. */
final class Account {
    final String profile;
    final String region;
    final String id;
    final StsClient sts;
    final IamClient iam;
    final KmsClient kms;
    final S3Client s3;
    final CodeCommitClient codecommit;
    final CodeBuildClient codebuild;
    final CloudWatchClient cloudwatch;
    final CloudWatchLogsClient logs;

    private final AwsCredentialsProvider provider;
    private final Arn caller;

    Account(String profile, String region) {
        this.profile = profile;
        this.region = region != null ? region
                : DefaultAwsRegionProviderChain.builder().profileName(profile).build().getRegion().id();
        provider = ProfileCredentialsProvider.create(profile);
        sts = build(StsClient.builder(), provider);
        iam = build(IamClient.builder(), provider);
        kms = build(KmsClient.builder(), provider);
        s3 = build(S3Client.builder(), provider);
        codecommit = build(CodeCommitClient.builder(), provider);
        codebuild = build(CodeBuildClient.builder(), provider);
        cloudwatch = build(CloudWatchClient.builder(), provider);
        logs = build(CloudWatchLogsClient.builder(), provider);
        var identity = sts.getCallerIdentity();
        id = identity.account();
        caller = Arn.fromString(identity.arn());
    }

    <B extends AwsClientBuilder<B, C>, C> C build(B builder, AwsCredentialsProvider credentials) {
        return builder.region(Region.of(region)).credentialsProvider(credentials).build();
    }

    AwsCredentialsProvider provider() {
        return provider;
    }

    AwsCredentials credentials() {
        return provider.resolveCredentials();
    }

    String partition() {
        return caller.partition();
    }

    String roleArn(String name) {
        return "arn:" + partition() + ":iam::" + id + ":role/" + name;
    }

    /** A role that whoever runs this may assume, for the repositories whose names begin with its own. */
    void createRole(String name, String... actions) {
        iam.createRole(r -> r.roleName(name).assumeRolePolicyDocument("""
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                "Principal": {"AWS": "arn:%s:iam::%s:root"}}]}""".formatted(partition(), id)));
        iam.putRolePolicy(r -> r.roleName(name).policyName("acceptance").policyDocument("""
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["%s"],
                "Resource": "arn:%s:codecommit:%s:%s:%s*"}]}""".formatted(String.join("\", \"", actions), partition(),
                region, id, name)));
    }

    void deleteRole(String name) {
        try {
            for (var policy : iam.listRolePoliciesPaginator(r -> r.roleName(name)).policyNames()) {
                iam.deleteRolePolicy(r -> r.roleName(name).policyName(policy));
            }
            iam.deleteRole(r -> r.roleName(name));
        } catch (NoSuchEntityException e) {
            return; // it was never made
        }
    }

    /** All keys with this tag: one that could not be finished has no alias. A key's policy may deny its deletion. */
    void deleteKeys(String alias, String tag, String value) {
        for (var key : kms.listKeysPaginator().keys()) {
            if (isTagged(key, tag, value) && hasAlias(key, alias)) {
                kms.putKeyPolicy(r -> r.keyId(key.keyId()).policyName("default").policy("""
                        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*",
                        "Principal": {"AWS": "arn:%s:iam::%s:root"}, "Resource": "*"}]}""".formatted(partition(), id)));
                kms.scheduleKeyDeletion(r -> r.keyId(key.keyId()).pendingWindowInDays(7));
            }
        }
        try {
            kms.deleteAlias(r -> r.aliasName(alias));
        } catch (NotFoundException e) {
            return; // it was never made
        }
    }

    /** Whether a key has this alias or none: the account may have another key of this run. */
    private boolean hasAlias(KeyListEntry key, String alias) {
        var aliases = kms.listAliasesPaginator(r -> r.keyId(key.keyId())).aliases().stream()
                .map(one -> one.aliasName()).toList();
        return aliases.isEmpty() || aliases.contains(alias);
    }

    private boolean isTagged(KeyListEntry key, String tag, String value) {
        try {
            return kms.listResourceTagsPaginator(r -> r.keyId(key.keyId())).tags().stream()
                    .anyMatch(one -> one.tagKey().equals(tag) && one.tagValue().equals(value));
        } catch (KmsException e) {
            if (e.statusCode() == 400) {
                return false; // another one's key, which its policy hides
            }
            throw e;
        }
    }

    void createVersionedBucket(String bucket) {
        s3.createBucket(r -> r.bucket(bucket).createBucketConfiguration(
                c -> c.locationConstraint(region.equals("us-east-1") ? null : region)));
        s3.putBucketVersioning(r -> r.bucket(bucket)
                .versioningConfiguration(v -> v.status(BucketVersioningStatus.ENABLED)));
    }

    /** With all versions of all objects; a policy that denies deletion goes first. */
    void deleteBucket(String bucket) {
        try {
            s3.deleteBucketPolicy(r -> r.bucket(bucket));
            for (var page : s3.listObjectVersionsPaginator(r -> r.bucket(bucket))) {
                var versions = Stream.concat(
                        page.versions().stream().map(one -> identifier(one.key(), one.versionId())),
                        page.deleteMarkers().stream().map(one -> identifier(one.key(), one.versionId()))).toList();
                for (var version : versions) {
                    s3.deleteObject(r -> r.bucket(bucket).key(version.key()).versionId(version.versionId()));
                }
            }
            s3.deleteBucket(r -> r.bucket(bucket));
        } catch (NoSuchBucketException e) {
            return; // it was never made
        }
    }

    private static ObjectIdentifier identifier(String key, String versionId) {
        return ObjectIdentifier.builder().key(key).versionId(versionId).build();
    }

    void deleteLogGroups(String prefix) {
        for (var group : logs.describeLogGroupsPaginator(r -> r.logGroupNamePrefix(prefix)).logGroups()) {
            logs.deleteLogGroup(r -> r.logGroupName(group.logGroupName()));
        }
    }
}
