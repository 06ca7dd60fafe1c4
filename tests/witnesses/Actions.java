import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** IAM actions of the services that the toolkit's policies are for, from the Service Authorization Reference. */
final class Actions {
    /** Of CodeCommit, those that know which branch they are for. */
    static final Set<String> WITH_REFERENCE = words("""
            CreateBranch CreateCommit CreateUnreferencedMergeCommit DeleteBranch DeleteFile GetMergeCommit GitPush
            MergeBranchesByFastForward MergeBranchesBySquash MergeBranchesByThreeWay MergePullRequestByFastForward
            MergePullRequestBySquash MergePullRequestByThreeWay PutFile""");
    /** Of CodeCommit, those whose resource is no repository. */
    static final Set<String> WITHOUT_REPOSITORY = words("""
            CreateApprovalRuleTemplate DeleteApprovalRuleTemplate GetApprovalRuleTemplate ListApprovalRuleTemplates
            ListRepositories ListRepositoriesForApprovalRuleTemplate UpdateApprovalRuleTemplateContent
            UpdateApprovalRuleTemplateDescription UpdateApprovalRuleTemplateName""");
    private static final Set<String> OTHERS = words("""
            AssociateApprovalRuleTemplateWithRepository BatchAssociateApprovalRuleTemplateWithRepositories
            BatchDescribeMergeConflicts BatchDisassociateApprovalRuleTemplateFromRepositories BatchGetCommits
            BatchGetPullRequests BatchGetRepositories CreatePullRequest CreatePullRequestApprovalRule
            CreateRepository DeleteCommentContent DeletePullRequestApprovalRule DeleteRepository
            DescribeMergeConflicts DescribePullRequestEvents DisassociateApprovalRuleTemplateFromRepository
            EvaluatePullRequestApprovalRules GetBlob GetBranch GetComment GetCommentReactions
            GetCommentsForComparedCommit GetCommentsForPullRequest GetCommit GetDifferences GetFile GetFolder
            GetMergeConflicts GetMergeOptions GetPullRequest GetPullRequestApprovalStates
            GetPullRequestOverrideState GetReferences GetRepository GetRepositoryTriggers GitPull
            ListAssociatedApprovalRuleTemplatesForRepository ListBranches ListFileCommitHistory ListPullRequests
            ListTagsForResource OverridePullRequestApprovalRules PostCommentForComparedCommit
            PostCommentForPullRequest PostCommentReply PutCommentReaction PutRepositoryTriggers TagResource
            TestRepositoryTriggers UntagResource UpdateComment UpdateDefaultBranch
            UpdatePullRequestApprovalRuleContent UpdatePullRequestApprovalState UpdatePullRequestDescription
            UpdatePullRequestStatus UpdatePullRequestTitle UpdateRepositoryDescription UpdateRepositoryEncryptionKey
            UpdateRepositoryName""");
    static final Set<String> CODECOMMIT = Stream.of(WITH_REFERENCE, WITHOUT_REPOSITORY, OTHERS).flatMap(Set::stream)
            .collect(Collectors.toCollection(TreeSet::new));
    /** With those that are no operation of the API, but actions for CodePipeline and the console. */
    static final Set<String> CODECOMMIT_WITH_CONSOLE = Stream.concat(CODECOMMIT.stream(), words("""
            CancelUploadArchive GetBlobDifferences GetCommitHistory GetCommitsFromMergeBase GetObjectIdentifier GetTree
            GetUploadArchiveStatus UploadArchive""").stream()).collect(Collectors.toCollection(TreeSet::new));
    /** Of S3, those of a bucket itself; the others are of its objects. */
    static final Set<String> OF_BUCKET = words("""
            CreateBucket GetBucketObjectLockConfiguration GetBucketOwnershipControls GetBucketPolicy
            GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketTagging GetBucketVersioning
            GetEncryptionConfiguration GetLifecycleConfiguration ListBucket ListBucketMultipartUploads
            PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock
            PutBucketTagging PutBucketVersioning PutEncryptionConfiguration PutLifecycleConfiguration
            TagResource""");
    /** The types of resources that actions of EC2 take. */
    static final Map<String, String> EC2 = Map.ofEntries(
            Map.entry("AuthorizeSecurityGroupIngress", "security-group security-group-rule"),
            Map.entry("CreateSecurityGroup", "security-group vpc"),
            Map.entry("CreateTags", "security-group vpc-endpoint"),
            Map.entry("CreateVpcEndpoint", "security-group subnet vpc vpc-endpoint"),
            Map.entry("DescribeSecurityGroups", "*"), Map.entry("DescribeSubnets", "*"),
            Map.entry("DescribeVpcAttribute", "vpc"), Map.entry("DescribeVpcEndpointServices", "*"),
            Map.entry("DescribeVpcEndpoints", "*"), Map.entry("DescribeVpcs", "*"),
            Map.entry("ModifyVpcEndpoint", "security-group subnet vpc-endpoint"),
            Map.entry("RevokeSecurityGroupIngress", "security-group"),
            Map.entry("UpdateSecurityGroupRuleDescriptionsIngress", "security-group"));
    /** Enough of KMS to find a grant that is too wide. */
    static final Set<String> KMS = words("""
            CancelKeyDeletion CreateAlias CreateGrant Decrypt DeleteAlias DescribeKey DisableKey DisableKeyRotation
            EnableKey EnableKeyRotation Encrypt GenerateDataKey GenerateDataKeyPair GenerateDataKeyWithoutPlaintext
            GetKeyPolicy GetKeyRotationStatus ListGrants ListKeyPolicies ListResourceTags PutKeyPolicy ReEncryptFrom
            ReEncryptTo RevokeGrant RotateKeyOnDemand ScheduleKeyDeletion Sign TagResource UntagResource
            UpdateKeyDescription""");
    /** What a bucket and its objects know; enough of it to find a grant that is too wide. */
    static final Set<String> S3 = words("""
            AbortMultipartUpload BypassGovernanceRetention CreateBucket DeleteBucket DeleteBucketPolicy DeleteObject
            DeleteObjectVersion GetBucketAcl GetBucketPolicy GetLifecycleConfiguration GetObject GetObjectAcl
            GetObjectAttributes GetObjectVersion ListBucket ListBucketMultipartUploads ListBucketVersions
            ListMultipartUploadParts PutBucketPolicy PutBucketVersioning PutLifecycleConfiguration PutObject
            PutObjectAcl PutObjectLegalHold PutObjectRetention PutObjectTagging RestoreObject""");

    private Actions() {
    }

    static Set<String> words(String text) {
        return new TreeSet<>(List.of(text.strip().split("\\s+")));
    }
}
