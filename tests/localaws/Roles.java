package localaws;

/**
 * Roles as a company has them that keeps its repositories in one account and its backups in another: for the sandbox,
 * and for tests that want more than an administrator. Each may be assumed by its own account.
 */
public final class Roles {
    private Roles() {
    }

    /**
     * Administrator, Developer, BackupWriter and Auditor in the account of the repositories; Administrator,
     * BackupReader and Auditor in that of the backups.
     */
    public static void create(LocalAws aws) {
        var backups = aws.account(LocalAws.BACKUP_ACCOUNT);
        administrator(aws.iam);
        administrator(backups.iam);
        auditor(aws.iam);
        auditor(backups.iam);
        aws.iam.createRole("Developer").inline.put("Develop", DEVELOPER);
        aws.iam.createRole("BackupWriter").inline.put("Backup", WRITER);
        backups.iam.createRole("BackupReader").inline.put("Restore", READER);
    }

    /**
     * A bucket of the account of the backups: BackupWriter and the operator of the account of the repositories may add
     * to it and read it, and nobody of that account may delete.
     */
    public static S3.Bucket createBackupBucket(LocalAws aws, String name, String region) {
        return aws.s3.createBucket(name, region, LocalAws.BACKUP_ACCOUNT).policy(BUCKET.replace("%bucket", name));
    }

    private static void administrator(Iam iam) {
        iam.createRole("Administrator").attached.add("aws:policy/AdministratorAccess");
    }

    private static void auditor(Iam iam) {
        iam.createRole("Auditor").inline.put("Audit", AUDITOR);
    }

    /** All of CodeCommit but what cannot be undone, and the keys of repositories through CodeCommit only. */
    private static final String DEVELOPER = """
            {"Version": "2012-10-17", "Statement": [
              {"Sid": "Repositories", "Effect": "Allow", "Action": "codecommit:*", "Resource": "*"},
              {"Sid": "KeepRepositories", "Effect": "Deny", "Resource": "*",
               "Action": ["codecommit:DeleteRepository", "codecommit:UpdateRepositoryEncryptionKey"]},
              {"Sid": "KeysOfRepositories", "Effect": "Allow", "Resource": "*",
               "Action": ["kms:DescribeKey", "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey",
                          "kms:GenerateDataKeyWithoutPlaintext"],
               "Condition": {"StringLike": {"kms:ViaService": "codecommit.*.amazonaws.com"}}}]}""";

    /** Reads every repository, and adds to buckets. */
    private static final String WRITER = """
            {"Version": "2012-10-17", "Statement": [
              {"Sid": "ReadRepositories", "Effect": "Allow", "Resource": "*",
               "Action": ["codecommit:BatchGet*", "codecommit:Describe*", "codecommit:Get*", "codecommit:GitPull",
                          "codecommit:List*"]},
              {"Sid": "KeysOfRepositories", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*",
               "Condition": {"StringLike": {"kms:ViaService": "codecommit.*.amazonaws.com"}}},
              {"Sid": "AddBackups", "Effect": "Allow", "Resource": "*",
               "Action": ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads",
                          "s3:PutObject"]},
              {"Sid": "KeysOfBackups", "Effect": "Allow", "Resource": "*",
               "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
               "Condition": {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}}}]}""";

    /** What verify-backups and restore-from-s3 need of a bucket, and nothing that writes. */
    private static final String READER = """
            {"Version": "2012-10-17", "Statement": [
              {"Sid": "ListRepositories", "Effect": "Allow", "Action": "codecommit:ListRepositories", "Resource": "*"},
              {"Sid": "ReadBackups", "Effect": "Allow", "Resource": "*",
               "Action": ["s3:GetBucketLocation", "s3:GetLifecycleConfiguration", "s3:GetObject",
                          "s3:GetObjectVersion", "s3:ListBucket"]},
              {"Sid": "KeysOfBackups", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*",
               "Condition": {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}}}]}""";

    /** Settings, no contents. */
    private static final String AUDITOR = """
            {"Version": "2012-10-17", "Statement": [
              {"Sid": "Settings", "Effect": "Allow", "Resource": "*",
               "Action": ["codecommit:BatchGetRepositories", "codecommit:GetApprovalRuleTemplate",
                          "codecommit:GetRepository", "codecommit:GetRepositoryTriggers", "codecommit:List*",
                          "ec2:Describe*", "iam:Get*", "iam:List*", "iam:Simulate*", "kms:Describe*", "kms:GetKey*",
                          "kms:List*", "s3:GetBucket*", "s3:GetLifecycleConfiguration", "s3:ListBucket"]},
              {"Sid": "KeysOfRepositories", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*",
               "Condition": {"StringLike": {"kms:ViaService": "codecommit.*.amazonaws.com"}}}]}""";

    private static final String BUCKET = """
            {"Version": "2012-10-17", "Statement": [
              {"Sid": "WriterObjects", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
               "Action": ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
               "Resource": "arn:aws:s3:::%bucket/*",
               "Condition": {"ArnEquals": {"aws:PrincipalArn": ["arn:aws:iam::111122223333:role/BackupWriter",
                                                                "arn:aws:iam::111122223333:user/operator"]}}},
              {"Sid": "WriterBucket", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
               "Action": ["s3:GetBucketLocation", "s3:GetLifecycleConfiguration", "s3:ListBucket",
                          "s3:ListBucketMultipartUploads"],
               "Resource": "arn:aws:s3:::%bucket",
               "Condition": {"ArnEquals": {"aws:PrincipalArn": ["arn:aws:iam::111122223333:role/BackupWriter",
                                                                "arn:aws:iam::111122223333:user/operator"]}}},
              {"Sid": "NobodyDeletes", "Effect": "Deny", "Principal": "*",
               "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion"], "Resource": "arn:aws:s3:::%bucket/*",
               "Condition": {"StringEquals": {"aws:PrincipalAccount": "111122223333"}}}]}""";
}
