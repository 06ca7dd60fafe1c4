import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.Iam;
import localaws.Kms;
import localaws.LocalAws;
import localaws.S3;
import picocli.CommandLine;

/**
 * Runs of the scripts that together need all that a script's policy allows. Bucket and key of the backups are another
 * account's, which S3 tells less about a refusal.
 */
final class OperatorScenarios {
    private static final String REGION = "eu-west-1";
    private static final String BUCKET = "my-backups";
    private static final String ALICE = "arn:aws:iam::111122223333:user/alice";
    private static final String DEVELOPER = "arn:aws:iam::111122223333:role/Developer";

    /**
     * @param exitCode with all permissions
     * @param says     what stdout or stderr has then
     */
    record Scenario(String script, String name, int exitCode, String says, Preparation preparation) {
        @Override
        public String toString() {
            return Toolkit.kebab(script) + ", " + name;
        }
    }

    /** Makes a state of its own, as an administrator, each time that it is called. */
    interface Preparation {
        Invocation prepare() throws Exception;
    }

    /** @param placeholders of the policy, where they have other values than in the README */
    record Invocation(CommandLine script, Map<String, String> placeholders, List<String> arguments) {
        Invocation(CommandLine script, String... arguments) {
            this(script, Map.of(), List.of(arguments));
        }
    }

    private final LocalAws aws;
    private final Path directory;
    private final S3.Bucket bucket;
    private final Kms.Key bucketKey;
    private final Kms.Key repositoryKey;
    private final List<Scenario> scenarios = new ArrayList<>();
    /** Ends the names of what a preparation makes. */
    private int count;
    /** Names of repositories that a preparation or a run makes. */
    private final Set<String> repositories = new HashSet<>();
    /** A repository that is backed up once and for all, and the keys of its backup. */
    private final CodeCommit.Repo saved;
    private final Set<String> savedKeys;
    /** Who has the managed policy of the branch deny. */
    private List<Iam.Principal> holders = List.of();

    OperatorScenarios(LocalAws aws, Path directory) {
        this.aws = aws;
        this.directory = directory;
        aws.kms.earlyCalls = 0;
        aws.iam.earlyRoleUses = 0;
        aws.ec2.callsUntilVisible = 0;
        aws.ec2.timesPending = 0;
        aws.ec2.pageSize = 100;
        aws.iam.pageSize = 100;
        aws.iam.simulatorPageSize = 1000;
        aws.s3.smallestPart = SampleRepositories.SMALL_PART;
        aws.iam.createRole("Developer");
        aws.iam.createUser("alice");
        repositoryKey = aws.kms.createKey(REGION);
        bucketKey = aws.account(LocalAws.BACKUP_ACCOUNT).kms.createKey(REGION);
        bucketKey.policy = allow("kms:*", "*", LocalAws.BACKUP_ACCOUNT, LocalAws.ACCOUNT);
        bucket = aws.s3.createBucket(BUCKET, REGION, LocalAws.BACKUP_ACCOUNT)
                .policy(allow("s3:*", "arn:aws:s3:::" + BUCKET + "\", \"arn:aws:s3:::" + BUCKET + "/*",
                        LocalAws.ACCOUNT));
        bucket.lifecycle("<Rule><ID>Expire</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>"
                + "<Expiration><Days>395</Days></Expiration></Rule>");
        saved = repository("saved");
        save(saved);
        savedKeys = Set.copyOf(bucket.keys());
        keys();
        triggers();
        sharing();
        repositories();
        audits();
        endpoints();
        jobs();
        branchDenies();
        branchAudits();
        approvals();
        buckets();
        backups();
        verifications();
        restores();
        notifications();
        securityEvents();
    }

    private static String allow(String actions, String resources, String... accounts) {
        return "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"" + actions
                + "\", \"Resource\": [\"" + resources + "\"], \"Principal\": {\"AWS\": [\""
                + String.join("\", \"", accounts) + "\"]}}]}";
    }

    List<Scenario> of(String script) {
        return scenarios.stream().filter(scenario -> scenario.script.equals(script)).toList();
    }

    /** Takes away what the run before has left and the next one would see. */
    void clear() {
        aws.clearFaults();
        bucket.keys().stream().filter(key -> !savedKeys.contains(key)).forEach(bucket::delete);
        repositories.forEach(name -> aws.codecommit.deleteRepository(REGION, name));
        repositories.clear();
    }

    private void add(String script, String name, int exitCode, String says, Preparation preparation) {
        scenarios.add(new Scenario(script, name, exitCode, says, preparation));
    }

    private void add(String script, String name, String says, Preparation preparation) {
        add(script, name, 0, says, preparation);
    }

    private static String[] words(String... words) {
        return Stream.of(words).flatMap(word -> Stream.of(word.split(" "))).toArray(String[]::new);
    }

    private String next(String name) {
        return name + "-" + ++count;
    }

    private String nextRepository() {
        var name = next("payments");
        repositories.add(name);
        return name;
    }

    /** A run of the administrator that must succeed. */
    private static Script.Run done(CommandLine script, String... arguments) {
        var run = Script.run(script, arguments);
        if (run.exitCode() != 0) throw new AssertionError(run.err());
        return run;
    }

    // ---- create-kms-key

    private void keys() {
        add("CreateKmsKey", "a new key", "\"created\"", () -> new Invocation(new CreateKmsKey().commandLine(),
                words("--alias", next("alias/codecommit"), "--users", DEVELOPER, "--administrators", ALICE,
                        "--tags Team=Payments")));
        add("CreateKmsKey", "nothing to do", "\"unchanged\"", () -> new Invocation(new CreateKmsKey().commandLine(),
                words("--alias", existingAlias(), "--users", DEVELOPER, "--tags Team=Payments")));
        add("CreateKmsKey", "everything differs", "\"updated\"", () -> new Invocation(new CreateKmsKey().commandLine(),
                words("--alias", existingAlias(), "--users", ALICE, "--description other --tags Owner=alice",
                        "--remove-other-tags --rotation-period-in-days 90")));
        add("CreateKmsKey", "no rotation", "\"updated\"", () -> new Invocation(new CreateKmsKey().commandLine(),
                words("--alias", existingAlias(), "--no-rotation")));
        add("CreateKmsKey", "one for each environment", "\"keys\"", () -> {
            for (var environment : List.of("production", "staging", "development"))
                aws.kms.createAlias(REGION, "alias/codecommit-" + environment, aws.kms.createKey(REGION));
            return new Invocation(new CreateKmsKey().commandLine(),
                    words("--environments production staging development"));
        });
        add("CreateKmsKey", "a key that cannot be finished", 1, "will be deleted on", () -> {
            aws.inject(Fault.on("kms:CreateAlias").error(400, "LimitExceededException", "too many aliases"));
            return new Invocation(new CreateKmsKey().commandLine(), words("--alias", next("alias/codecommit")));
        });
        add("CreateKmsKey", "a lost answer", 1, "will be deleted on", () -> {
            aws.inject(Fault.on("kms:CreateKey").loseAnswer());
            return new Invocation(new CreateKmsKey().commandLine(), words("--alias", next("alias/codecommit")));
        });
    }

    private String existingAlias() {
        var alias = next("alias/codecommit");
        done(new CreateKmsKey().commandLine(), "--alias", alias, "--users", DEVELOPER, "--tags", "Team=Payments");
        return alias;
    }

    // ---- add-repo-trigger

    private Invocation trigger(Map<String, String> placeholders, String... more) {
        return new Invocation(new AddRepoTrigger().commandLine(), placeholders,
                List.of(words(Stream.concat(Stream.of("--trigger-name tell"), Stream.of(more))
                        .toArray(String[]::new))));
    }

    private void triggers() {
        add("AddRepoTrigger", "for a function", "\"created\"", () -> {
            var function = aws.lambda.createFunction(REGION, next("build"));
            return trigger(Map.of("function", function.name), "--repository-names", nextRepositoryWithCommit() + "*",
                    "--destination-arn", function.arn, "--test");
        });
        add("AddRepoTrigger", "without a function any more", "\"deleted\"", () -> {
            var function = aws.lambda.createFunction(REGION, next("build"));
            var repository = nextRepositoryWithCommit();
            done(new AddRepoTrigger().commandLine(), words("--trigger-name tell --repository-names", repository,
                    "--destination-arn", function.arn));
            return trigger(Map.of("function", function.name), "--repository-names", repository, "--remove");
        });
        add("AddRepoTrigger", "after a repository that is gone", "is gone, and so is its permission", () -> {
            var function = aws.lambda.createFunction(REGION, next("build"));
            var deleted = nextRepositoryWithCommit();
            done(new AddRepoTrigger().commandLine(), words("--trigger-name tell --repository-names", deleted,
                    "--destination-arn", function.arn));
            aws.codecommit.deleteRepository(REGION, deleted);
            return trigger(Map.of("function", function.name), "--repository-names", nextRepositoryWithCommit(),
                    "--destination-arn", function.arn);
        });
        add("AddRepoTrigger", "for an encrypted topic", "\"created\"", () -> {
            var key = aws.kms.createKey(REGION);
            key.policy = Toolkit.read("policies/trigger-key.json").replace("\"Statement\": [",
                    "\"Statement\": [{\"Effect\": \"Allow\", \"Principal\": {\"AWS\": \"" + LocalAws.ACCOUNT
                            + "\"}, \"Action\": \"kms:*\", \"Resource\": \"*\"},");
            var topic = aws.sns.createTopic(REGION, next("pushes"));
            topic.attributes.put("KmsMasterKeyId", key.arn);
            return trigger(Map.of("topic", topic.name), "--repository-names", nextRepositoryWithCommit(),
                    "--destination-arn", topic.arn);
        });
    }

    private String nextRepositoryWithCommit() {
        return aws.codecommit.createRepository(nextRepository()).commit("refs/heads/main", "README", "x\n").name;
    }

    // ---- share-kms-key

    private void sharing() {
        add("ShareKmsKey", "with an account", "\"created\"", () -> new Invocation(new ShareKmsKey().commandLine(),
                "--key-id", existingAlias(), "--account-ids", LocalAws.BACKUP_ACCOUNT));
        add("ShareKmsKey", "nothing to do", "\"unchanged\"", () -> new Invocation(new ShareKmsKey().commandLine(),
                "--key-id", sharedAlias(), "--account-ids", LocalAws.BACKUP_ACCOUNT));
        add("ShareKmsKey", "a withdrawal", "\"deleted\"", () -> new Invocation(new ShareKmsKey().commandLine(),
                "--key-id", sharedAlias(), "--account-ids", LocalAws.BACKUP_ACCOUNT, "--remove"));
    }

    private String sharedAlias() {
        var alias = existingAlias();
        done(new ShareKmsKey().commandLine(), "--key-id", alias, "--account-ids", LocalAws.BACKUP_ACCOUNT);
        return alias;
    }

    // ---- create-encrypted-repo

    private void repositories() {
        add("CreateEncryptedRepo", "a new repository", "\"created\"",
                () -> new Invocation(new CreateEncryptedRepo().commandLine(), words("--repository-name",
                        nextRepository(), "--kms-key-id", repositoryKey.arn, "--tags Team=Payments")));
        add("CreateEncryptedRepo", "nothing to do", "\"unchanged\"", () -> {
            var repository = aws.codecommit.createRepository(nextRepository()).key(repositoryKey.arn)
                    .tag("Team", "Payments");
            return new Invocation(new CreateEncryptedRepo().commandLine(), words("--repository-name",
                    repository.name, "--kms-key-id", repositoryKey.arn, "--tags Team=Payments"));
        });
        add("CreateEncryptedRepo", "everything differs", "\"updated\"", () -> {
            var repository = aws.codecommit.createRepository(nextRepository()).key(aws.kms.createKey(REGION).arn)
                    .tag("Team", "Payments");
            return new Invocation(new CreateEncryptedRepo().commandLine(), words("--repository-name",
                    repository.name, "--kms-key-id", repositoryKey.arn, "--repository-description other",
                    "--tags Owner=alice --remove-other-tags"));
        });
    }

    // ---- create-endpoint-security-group, create-vpc-endpoint

    private String vpc() {
        var vpc = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        aws.ec2.createSubnet(vpc, REGION + "a", "10.0.0.0/24");
        aws.ec2.createSubnet(vpc, REGION + "b", "10.0.1.0/24");
        return vpc;
    }

    private Invocation inVpc(CommandLine script, String vpc, String... more) {
        return new Invocation(script, Map.of("vpc", vpc), List.of(words(
                Stream.concat(Stream.of("--vpc-id", vpc), Stream.of(more)).toArray(String[]::new))));
    }

    private String group(String vpc, String name) {
        var group = aws.ec2.createSecurityGroup(vpc, name);
        aws.ec2.authorizeIngress(group, "tcp", 443, 443, "10.0.0.0/16");
        return group;
    }

    private void endpoints() {
        add("CreateEndpointSecurityGroup", "a new group", "\"created\"",
                () -> inVpc(new CreateEndpointSecurityGroup().commandLine(), vpc(), "--tags Team=Payments"));
        add("CreateEndpointSecurityGroup", "everything differs", "\"updated\"", () -> {
            var vpc = vpc();
            aws.ec2.authorizeIngress(group(vpc, "codecommit-endpoints"), "tcp", 443, 443, "192.168.1.0/24");
            return inVpc(new CreateEndpointSecurityGroup().commandLine(), vpc,
                    "--cidrs 192.168.0.0/24 192.168.1.0/24 --revoke-others --tags Team=Payments");
        });
        add("CreateVpcEndpoint", "two new endpoints", "\"created\"", () -> {
            var vpc = vpc();
            return inVpc(new CreateVpcEndpoint().commandLine(), vpc, "--security-group-ids",
                    group(vpc, "codecommit-endpoints"), "--tags Team=Payments");
        });
        add("CreateVpcEndpoint", "everything differs", "\"updated\"", () -> {
            var vpc = vpc();
            var subnet = aws.ec2.createSubnet(vpc, REGION + "c", "10.0.2.0/24");
            for (var service : List.of("codecommit", "git-codecommit"))
                aws.ec2.createEndpoint(vpc, service, true, List.of(subnet), List.of(group(vpc, service)));
            return inVpc(new CreateVpcEndpoint().commandLine(), vpc, "--security-group-ids",
                    group(vpc, "codecommit-endpoints"), "--policy restricted --principals", DEVELOPER, ALICE,
                    "--tags Team=Payments");
        });
    }

    // ---- schedule-backup

    /** A repository whose builds fail, so that their log is shown. */
    private String toolkit() {
        return aws.codecommit.createRepository(nextRepository()).commit("refs/heads/main", "buildspec.yml",
                "version: 0.2\nphases: {build: {commands: ['false']}}\n").name;
    }

    private Invocation job(String project, String... more) {
        return new Invocation(new ScheduleBackup().commandLine(), Map.of("project", project), List.of(words(
                Stream.concat(Stream.of("--project-name", project), Stream.of(more)).toArray(String[]::new))));
    }

    private static final String TO_BUCKET = "--bucket " + BUCKET + " --bucket-owner " + LocalAws.BACKUP_ACCOUNT;

    /** A job with more of everything than the next run is to want. */
    private String existingJob(String toolkit) {
        var project = next("job");
        done(new ScheduleBackup().commandLine(), words("--project-name", project, TO_BUCKET, "--source-repository",
                toolkit, "--shards 7 --on-push"));
        var role = aws.iam.find("role/" + project + "-" + REGION);
        role.trust = role.trust.replace("ArnEquals", "ArnLike");
        role.inline.put("source", role.inline.get("backup"));
        return project;
    }

    private void jobs() {
        aws.s3.createBucket("my-toolkit", REGION).versioned();
        add("ScheduleBackup", "a new job", "\"created\"", () -> job(next("job"), TO_BUCKET, "--source-repository",
                toolkit(), "--on-push"));
        add("ScheduleBackup", "everything differs", "\"updated\"", () -> {
            var toolkit = toolkit();
            return job(existingJob(toolkit), TO_BUCKET, "--source-repository", toolkit,
                    "--shards 1 --no-on-push --deadline 2h");
        });
        add("ScheduleBackup", "all of it removed", "\"deleted\"", () -> job(existingJob(toolkit()), "--remove"));
        add("ScheduleBackup", "a build now", 3, "\"FAILED\"", () -> {
            var project = next("job");
            done(new ScheduleBackup().commandLine(), words("--project-name", project, TO_BUCKET,
                    "--source-repository", toolkit()));
            return job(project, TO_BUCKET, "--run-now");
        });
        add("ScheduleBackup", "a zip", "toolkit.zip", () -> {
            var script = Jobs.withZip();
            var project = next("job");
            return new Invocation(script.commandLine(), Map.of("project", project), List.of(
                    words("--project-name", project, TO_BUCKET, "--source-bucket my-toolkit")));
        });
    }

    // ---- apply-branch-deny

    private static final String POLICY = "codecommit-branch-deny-" + REGION;

    /** A role, a user and a group of which the policy of that name knows nothing. */
    private List<Iam.Principal> principals() {
        if (aws.iam.policy("policy/" + POLICY) != null) {
            holders.forEach(holder -> holder.attached.clear());
            done(new ApplyBranchDeny().commandLine(), "--role-names", "Developer", "--remove");
        }
        var user = aws.iam.createUser(next("bob"));
        holders = List.of(aws.iam.createRole("team/" + next("Developer")), user,
                aws.iam.createGroup(next("Developers"), user.name));
        for (var holder : holders) holder.inline.put("other", branchDeny("refs/heads/x"));
        return holders;
    }

    /** The same, with the inline policy for another branch. */
    private List<Iam.Principal> withInline() {
        var principals = principals();
        for (var principal : principals) principal.inline.put(POLICY, branchDeny("refs/heads/old"));
        return principals;
    }

    /** The same, with the managed policy for another branch, which has as many versions as it may have. */
    private List<Iam.Principal> withManaged() {
        var principals = principals();
        var policy = aws.iam.createPolicy(POLICY, branchDeny("refs/heads/old"));
        while (policy.versions.size() < 5) policy.addVersion(branchDeny("refs/heads/older"));
        for (var principal : principals) principal.attached.add("policy/" + POLICY);
        return principals;
    }

    private static String branchDeny(String reference) {
        return "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Sid\": \"ProtectBranches\", \"Effect\": \"Deny\", "
                + "\"Action\": \"codecommit:GitPush\", \"Resource\": \"*\", \"Condition\": {\"StringEquals\": "
                + "{\"codecommit:References\": \"" + reference + "\"}}}]}";
    }

    private Invocation protect(List<Iam.Principal> principals, String... more) {
        return deny(principals, Stream.concat(Stream.of("--branches main --repository-names",
                aws.codecommit.createRepository(nextRepository()).name), Stream.of(more)).toArray(String[]::new));
    }

    private Invocation deny(List<Iam.Principal> principals, String... more) {
        var names = principals.stream().map(principal -> "--" + principal.kind + "-names " + principal.name);
        return new Invocation(new ApplyBranchDeny().commandLine(),
                words(Stream.concat(names, Stream.of(more)).toArray(String[]::new)));
    }

    private void branchDenies() {
        add("ApplyBranchDeny", "inline policies", "\"created\"", () -> protect(principals()));
        add("ApplyBranchDeny", "inline policies that differ", "\"updated\"", () -> protect(withInline()));
        add("ApplyBranchDeny", "inline policies taken off", "\"deleted\"", () -> deny(withInline(), "--remove"));
        add("ApplyBranchDeny", "a managed policy", "\"created\"", () -> protect(principals(), "--managed"));
        add("ApplyBranchDeny", "a managed policy that differs", "\"updated\"",
                () -> protect(withManaged(), "--managed"));
        add("ApplyBranchDeny", "a managed policy taken off", "\"deleted\"", () -> deny(withManaged(), "--remove"));
    }

    // ---- audit-branch-protection

    /** Whose boundary only iam:GetPolicy tells, and who may push only from some address. */
    private void branchAudits() {
        add("AuditBranchProtection", "a role that may push", 4, "\"depends-on-conditions\"", () -> {
            var role = aws.iam.createRole(next("Pusher"));
            role.boundary = "aws:policy/AWSCodeCommitFullAccess";
            role.inline.put("push", """
                    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "codecommit:GitPush",
                     "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}}""");
            return new Invocation(new AuditBranchProtection().commandLine(), words("--branches main --repository-names",
                    repository().name, "--except-users operator alice --except-roles Operator"));
        });
    }

    // ---- require-approval

    private Invocation approval(String template, CodeCommit.Repo repository, String... more) {
        return new Invocation(new RequireApproval().commandLine(), words(Stream.concat(Stream.of("--template-name",
                template, "--repository-names", repository.name), Stream.of(more)).toArray(String[]::new)));
    }

    /** A template that a repository has, which has an open pull request. */
    private Invocation existingApproval(String... more) {
        var template = next("template");
        var repository = SampleRepositories.small(aws, nextRepository());
        repository.pullRequest("One more file", "feature", "main");
        aws.codecommit.createApprovalRuleTemplate(template, 1);
        repository.approvalRuleTemplate(template);
        return approval(template, repository, more);
    }

    private void approvals() {
        add("RequireApproval", "a new template", "\"created\"", () -> {
            var repository = SampleRepositories.small(aws, nextRepository());
            repository.pullRequest("One more file", "feature", "main");
            return approval(next("template"), repository, "--approvals 2");
        });
        add("RequireApproval", "everything differs", "\"updated\"",
                () -> existingApproval("--approvals 2 --template-description why"));
        add("RequireApproval", "a template taken off", "\"deleted\"", () -> existingApproval("--remove"));
    }

    // ---- create-backup-bucket

    /** The account of the operator is that of the bucket here, and its writers are another one's. */
    private Invocation bucket(String name, String... more) {
        return new Invocation(new CreateBackupBucket().commandLine(),
                Map.of("bucket", name, "bucketOwner", LocalAws.ACCOUNT),
                List.of(words(Stream.concat(Stream.of("--bucket", name, "--writer-accounts",
                        LocalAws.BACKUP_ACCOUNT, "--reader-role-arns", DEVELOPER), Stream.of(more))
                        .toArray(String[]::new))));
    }

    private void buckets() {
        add("CreateBackupBucket", "a new bucket", "\"created\"", () -> bucket(next("bucket"), "--kms-key-id",
                aws.kms.createKey(REGION).arn, "--retention-days 400 --tags Team=Payments"));
        add("CreateBackupBucket", "everything differs", "\"updated\"", () -> {
            var name = aws.s3.createBucket(next("bucket"), REGION).setting("publicAccessBlock", null)
                    .setting("ownershipControls", "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>").name;
            aws.s3.bucket(name).put("there", new byte[1]);
            return bucket(name, "--accept-irreversible --retention-days 400 --tags Team=Payments --kms-key-id",
                    aws.kms.createKey(REGION).arn);
        });
        add("CreateBackupBucket", "nothing to do", "\"unchanged\"", () -> {
            var invocation = bucket(next("bucket"));
            done(invocation.script, invocation.arguments.toArray(String[]::new));
            return bucket(invocation.placeholders.get("bucket"));
        });
    }

    // ---- audit-encryption

    private void audits() {
        add("AuditEncryption", "a key that does not rotate", 4, "\"rotation-off\"", () -> {
            var name = nextRepository();
            aws.codecommit.createRepository(name).key(aws.kms.createKey(REGION).arn);
            return new Invocation(new AuditEncryption().commandLine(), words("--repository-names", name,
                    "--require-rotation"));
        });
    }

    // ---- backup-to-s3

    /** A repository with all that is backed up. */
    private CodeCommit.Repo repository() {
        return repository(nextRepository());
    }

    private CodeCommit.Repo repository(String name) {
        aws.codecommit.createApprovalRuleTemplate(name, 2);
        var repository = SampleRepositories.small(aws, name).description("Takes payments").tag("Team", "Payments")
                .approvalRuleTemplate(name).trigger("tell", "arn:aws:sns:eu-west-1:111122223333:pushes")
                .key(repositoryKey.arn).defaultBranch("feature");
        var pullRequest = repository.pullRequest("One more file", "feature", "main");
        repository.comment(pullRequest, "Why?");
        repository.approve(pullRequest, ALICE);
        return repository;
    }

    private Invocation backup(BackupToS3 script, CodeCommit.Repo repository) {
        script.backOff = Duration.ofMillis(1);
        return new Invocation(script.commandLine(), words("--bucket", BUCKET, "--expected-bucket-owner",
                LocalAws.BACKUP_ACCOUNT, "--sse-kms-key-id", bucketKey.arn, "--repository-names", repository.name));
    }

    private void save(CodeCommit.Repo repository) {
        var invocation = backup(new BackupToS3(), repository);
        done(invocation.script, invocation.arguments.toArray(String[]::new));
    }

    private BackupToS3 inParts() {
        var script = new BackupToS3();
        script.partSize = SampleRepositories.SMALL_PART;
        return script;
    }

    private CodeCommit.Repo large() throws Exception {
        return SampleRepositories.large(aws, nextRepository()).key(repositoryKey.arn);
    }

    private void backups() {
        add("BackupToS3", "the first backup", "\"full\"", () -> backup(new BackupToS3(), repository()));
        add("BackupToS3", "nothing to do", "\"unchanged\"", () -> {
            var repository = repository();
            save(repository);
            return backup(new BackupToS3(), repository);
        });
        add("BackupToS3", "an increment", "\"incr\"", () -> {
            var repository = repository().commit("refs/heads/main", "bulk.txt", SampleRepositories.bulk(10_000));
            save(repository);
            return backup(new BackupToS3(), repository.commit("refs/heads/main", "c.txt", "c\n"));
        });
        add("BackupToS3", "parts", "\"full\"", () -> backup(inParts(), large()));
        add("BackupToS3", "a lost answer", "\"full\"", () -> {
            aws.inject(Fault.on("s3:CreateMultipartUpload").loseAnswer());
            return backup(inParts(), large());
        });
        add("BackupToS3", "a part that fails", 1, "InvalidRequest", () -> {
            aws.inject(Fault.on("s3:UploadPart").after(1).error(400, "InvalidRequest", "no"));
            return backup(inParts(), large());
        });
    }

    // ---- verify-backups

    private Invocation verify(CodeCommit.Repo repository, String... more) {
        return new Invocation(new VerifyBackups().commandLine(), words(Stream.concat(Stream.of("--bucket", BUCKET,
                "--expected-bucket-owner", LocalAws.BACKUP_ACCOUNT, "--repository-names", repository.name),
                Stream.of(more)).toArray(String[]::new)));
    }

    private void verifications() {
        add("VerifyBackups", "without a download", "\"verified\"", () -> verify(saved));
        add("VerifyBackups", "every object", "\"verified\"", () -> verify(saved, "--deep --all"));
        add("VerifyBackups", "an object that is gone", 4, "\"missing-object\"", () -> {
            var repository = repository();
            save(repository);
            bucket.delete(bucket.keys().stream().filter(key -> key.endsWith(".bundle")).findFirst().orElseThrow());
            return verify(repository);
        });
        add("VerifyBackups", "a repository that is gone", 4, "\"expires\"", () -> {
            var repository = repository();
            save(repository);
            aws.codecommit.deleteRepository(REGION, repository.name);
            return verify(repository);
        });
    }

    // ---- restore-from-s3

    private Invocation restore(String... more) {
        return new Invocation(new RestoreFromS3().commandLine(), Stream.concat(Stream.of("--bucket", BUCKET,
                "--expected-bucket-owner", LocalAws.BACKUP_ACCOUNT, "--repository-name", saved.name),
                Stream.of(more)).toArray(String[]::new));
    }

    /** Gives the approval rule template of the backup another name. */
    private void renameTemplate(String name) {
        var key = Backups.manifests(bucket, saved.name).get(0);
        var manifest = Backups.document(bucket, key);
        ((ObjectNode) manifest.at("/settings/approvalRuleTemplates/0")).put("approvalRuleTemplateName", name);
        bucket.put(key, Backups.gzip(manifest));
    }

    private void restores() {
        add("RestoreFromS3", "a list", "\"restorePoints\"", () -> restore("--list"));
        add("RestoreFromS3", "a directory", "\"created\"", () -> restore("--directory",
                directory.resolve(next("restored")).toString(), "--pull-requests",
                directory.resolve(next("pull-requests")).toString()));
        add("RestoreFromS3", "a new repository", "\"created\"", () -> {
            renameTemplate(next("missing"));
            return restore("--kms-key-id", repositoryKey.arn, "--to-repository-name", nextRepository());
        });
        add("RestoreFromS3", "a repository in the making", "\"updated\"", () -> {
            var manifest = Path.of(Backups.manifests(bucket, saved.name).get(0)).getFileName().toString();
            var target = aws.codecommit.createRepository(nextRepository()).key(repositoryKey.arn)
                    .tag("codecommit-toolkit:restoring", manifest.replace(".manifest.json.gz", ""));
            return restore("--to-repository-name", target.name);
        });
        add("RestoreFromS3", "several repositories", "\"created\"", () -> {
            renameTemplate(next("missing"));
            var prefix = next("restored");
            repositories.add(prefix + saved.name);
            return new Invocation(new RestoreFromS3().commandLine(), "--bucket", BUCKET, "--expected-bucket-owner",
                    LocalAws.BACKUP_ACCOUNT, "--repository-names", saved.name, "--to-prefix", prefix,
                    "--kms-key-id", repositoryKey.arn);
        });
        add("RestoreFromS3", "nothing to do", "\"unchanged\"", () -> {
            renameTemplate(saved.name);
            return restore("--to-repository-name", saved.name);
        });
    }

    // ---- notify-build-failures

    private static final String PROJECT = "codecommit-backup";
    private static final String TOPIC = "build-failures";
    private static final String EMAIL = "operations@example.com";

    private CommandLine notification() {
        return new NotifyBuildFailures().commandLine();
    }

    /** Without a topic, rule or alarm. */
    private void clearNotifications() {
        if (aws.codebuild.project(REGION, PROJECT) == null) Projects.create(aws, REGION, PROJECT, "true");
        if (aws.sns.topic(REGION, TOPIC) == null) return;
        aws.sns.topic(REGION, TOPIC).tags.put("codecommit-toolkit:created-by", "notify-build-failures");
        done(notification(), "--project-names", PROJECT, "--remove");
    }

    private void watchBuilds() {
        clearNotifications();
        var run = Script.run(notification(), words("--project-names", PROJECT, "--emails", EMAIL));
        if (run.exitCode() != 4) throw new AssertionError(run.err());
        aws.sns.topic(REGION, TOPIC).subscription(EMAIL).confirmed = true;
    }

    private void notifications() {
        aws.sns.staleCalls = 0;
        add("NotifyBuildFailures", "a new topic", 4, "\"created\"", () -> {
            clearNotifications();
            var key = aws.kms.createKey(REGION);
            key.policy = Toolkit.read("policies/build-failures-key.json").replace("${account}", LocalAws.ACCOUNT)
                    .replace("${partition}", "aws").replace("${region}", REGION)
                    .replace("\"Statement\": [", "\"Statement\": [{\"Effect\": \"Allow\", \"Principal\": {\"AWS\": \""
                            + LocalAws.ACCOUNT + "\"}, \"Action\": \"kms:*\", \"Resource\": \"*\"},");
            return new Invocation(notification(), words("--project-names", PROJECT, "--kms-key-id", key.arn,
                    "--emails", EMAIL, "--test"));
        });
        add("NotifyBuildFailures", "nothing is left", "\"deleted\"", () -> {
            watchBuilds();
            return new Invocation(notification(), words("--project-names", PROJECT, "--remove"));
        });
        add("NotifyBuildFailures", "the topic is left", "\"deleted\"", () -> {
            watchBuilds();
            aws.sns.topic(REGION, TOPIC).tags.clear();
            return new Invocation(notification(), words("--project-names", PROJECT, "--remove --emails", EMAIL));
        });
    }

    // ---- watch-security-events

    private static final String ALERTS = "security-events";

    private CommandLine securityWatch() {
        return new WatchSecurityEvents().commandLine();
    }

    private Invocation watch(String... arguments) {
        return new Invocation(securityWatch(), Map.of("topic", ALERTS, "bucket", "watched", "bucketOwner",
                LocalAws.ACCOUNT), List.of(words(arguments)));
    }

    /** With a trail that feeds them, and without a topic or rule. */
    private void clearSecurityEvents() {
        if (aws.cloudtrail.trail(REGION, "all") == null) {
            aws.cloudtrail.createTrail(REGION, "all");
            aws.s3.createBucket("watched", REGION);
        }
        if (aws.sns.topic(REGION, ALERTS) == null) return;
        var topic = aws.sns.topic(REGION, ALERTS);
        topic.tags.put("codecommit-toolkit:created-by", "watch-security-events");
        topic.attributes.remove("KmsMasterKeyId");
        done(securityWatch(), "--remove");
    }

    private void watchSecurityEvents() {
        clearSecurityEvents();
        var run = Script.run(securityWatch(), words("--bucket watched --emails", EMAIL));
        if (run.exitCode() != 4) throw new AssertionError(run.err());
        aws.sns.topic(REGION, ALERTS).subscription(EMAIL).confirmed = true;
    }

    private void securityEvents() {
        add("WatchSecurityEvents", "a new watch", 4, "\"created\"", () -> {
            clearSecurityEvents();
            return watch("--repository-names", aws.codecommit.createRepository(nextRepository()).name,
                    "--bucket watched --key-ids", aws.kms.createKey(REGION).arn, "--emails", EMAIL);
        });
        add("WatchSecurityEvents", "an encrypted topic", "\"unchanged\"", () -> {
            watchSecurityEvents();
            var key = aws.kms.createKey(REGION);
            key.policy = Toolkit.read("policies/security-events-key.json")
                    .replace("\"Statement\": [", "\"Statement\": [{\"Effect\": \"Allow\", \"Principal\": {\"AWS\": \""
                            + LocalAws.ACCOUNT + "\"}, \"Action\": \"kms:*\", \"Resource\": \"*\"},");
            aws.sns.topic(REGION, ALERTS).attributes.put("KmsMasterKeyId", key.arn);
            return watch("--bucket watched");
        });
        add("WatchSecurityEvents", "a test message", "\"messageId\"", () -> {
            watchSecurityEvents();
            return watch("--bucket watched --test");
        });
        add("WatchSecurityEvents", "nothing is left", "\"deleted\"", () -> {
            watchSecurityEvents();
            return watch("--remove");
        });
        add("WatchSecurityEvents", "the topic is left", "\"deleted\"", () -> {
            watchSecurityEvents();
            aws.sns.topic(REGION, ALERTS).tags.clear();
            return watch("--remove --emails", EMAIL);
        });
    }
}
