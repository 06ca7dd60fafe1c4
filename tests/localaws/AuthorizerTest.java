package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import localaws.PolicyEvaluator.Decision;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.ec2.model.ResourceType;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.Tag;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.services.sts.model.AssumeRoleRequest;

/** What is gathered for a decision, in each kind of policy, and how each service words its refusal. */
class AuthorizerTest {
    static final String HOME = "arn:aws:iam::111122223333:";
    static final String THERE = "arn:aws:iam::444455556666:";
    static final LocalAws aws = LocalAws.start();
    static int count;

    /** A role without any permission, and a user. */
    Iam.Principal role;
    Iam.Principal user;

    @BeforeEach
    void somebody() {
        count++;
        aws.onDecision(decided -> { });
        role = aws.iam.createRole("team/Role" + count);
        user = aws.iam.createUser("user" + count);
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    @Test
    void aNeedHasAllTheListsThatItWasGiven() {
        var need = new Need("codecommit:GitPush", "*").list("codecommit:References", List.of("refs/heads/main"))
                .list("aws:TagKeys", List.of("Team"));
        assertEquals(Set.of("codecommit:References", "aws:TagKeys"), need.lists());
    }

    String roleArn() {
        return HOME + "role/team/" + role.name;
    }

    static String policy(String effect, String actions, String resource, String condition) {
        return "{'Version':'2012-10-17','Statement':{'Effect':'%s','Action':['%s'],'Resource':'%s'%s}}"
                .formatted(effect, actions.replace(" ", "','"), resource,
                        condition.isEmpty() ? "" : ",'Condition':" + condition)
                .replace('\'', '"');
    }

    static String allow(String actions) {
        return policy("Allow", actions, "*", "");
    }

    static AwsCredentials credentials(LocalAws.Login login) {
        return login.sessionToken() == null
                ? AwsBasicCredentials.create(login.accessKeyId(), login.secretAccessKey())
                : AwsSessionCredentials.create(login.accessKeyId(), login.secretAccessKey(), login.sessionToken());
    }

    static <B extends AwsClientBuilder<B, C>, C> C client(B builder, LocalAws.Login login) {
        return client(aws, builder, login);
    }

    static <B extends AwsClientBuilder<B, C>, C> C client(LocalAws aws, B builder, LocalAws.Login login) {
        return builder.endpointOverride(aws.endpoint()).region(Region.EU_WEST_1)
                .credentialsProvider(StaticCredentialsProvider.create(credentials(login))).build();
    }

    static LocalAws.Login operator() {
        return new LocalAws.Login(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY, null);
    }

    /** The error code and message of a refusal. */
    static String refusal(int status, Runnable call) {
        var e = assertThrows(AwsServiceException.class, call::run);
        assertEquals(status, e.statusCode(), e.getMessage());
        return e.awsErrorDetails().errorCode() + ": " + e.awsErrorDetails().errorMessage();
    }

    // What it is asked

    @Test
    void everyOperationThatIsOfferedHasAnEntry() {
        var caller = new Caller(HOME + "user/operator", LocalAws.ACCOUNT, "eu-west-1");
        var others = new TreeSet<String>();
        for (var service : aws.account(LocalAws.ACCOUNT).services.entrySet()) {
            var operations = new ArrayList<String>();
            Models.model(service.getKey()).get("operations").fieldNames().forEachRemaining(operations::add);
            for (var operation : operations) {
                try {
                    var needs = service.getValue().needs(operation, Models.JSON.createObjectNode(), caller);
                    if (needs.size() != 1) others.add(operation);
                } catch (AwsError e) {
                    // the request is too empty to say what it is about
                    assertTrue(service.getKey().equals("lambda")
                            || operation.matches(".*PullRequest.*|(Tag|Untag)Resource|ListTagsForResource"), operation);
                }
            }
            assertThrows(IllegalStateException.class,
                    () -> service.getValue().needs("NoSuchOperation", Models.JSON.createObjectNode(), caller));
        }
        // they need none, or one for each resource that they name
        assertEquals(Set.of("BatchAssociateApprovalRuleTemplateWithRepositories",
                "BatchDisassociateApprovalRuleTemplateFromRepositories", "BatchGetBuilds", "BatchGetProjects",
                "BatchGetRepositories", "CreateAlias", "CreateSecurityGroup", "CreateTags", "CreateVpcEndpoint",
                "DeleteAlarms", "DeleteTags", "DeleteVpcEndpoints", "GetCallerIdentity", "PutEvents"), others);
    }

    // Words

    @Test
    void eachServiceRefusesInItsOwnWords() {
        var who = "User: arn:aws:sts::111122223333:assumed-role/" + role.name
                + "/session is not authorized to perform: ";
        var login = aws.as(roleArn());
        var key = aws.kms.createKey("eu-west-1");
        aws.codecommit.createRepository("words");
        var vpc = aws.ec2.createVpc("eu-west-1", "10.0.0.0/16");
        assertEquals("AccessDeniedException: " + who + "kms:DescribeKey on resource: " + key.arn
                + " because no identity-based policy allows the kms:DescribeKey action",
                refusal(400, () -> client(KmsClient.builder(), login).describeKey(r -> r.keyId(key.keyId))));
        assertEquals("AccessDeniedException: " + who
                + "codecommit:GetRepository on resource: arn:aws:codecommit:eu-west-1:111122223333:words because no "
                + "identity-based policy allows the codecommit:GetRepository action",
                refusal(400, () -> client(CodeCommitClient.builder(), login)
                        .getRepository(r -> r.repositoryName("words"))));
        assertEquals("AccessDenied: " + who + "iam:GetRole on resource: role " + role.name
                + " because no identity-based policy allows the iam:GetRole action",
                refusal(403, () -> client(IamClient.builder(), login).getRole(r -> r.roleName(role.name))));
        assertEquals("UnauthorizedOperation: You are not authorized to perform this operation. " + who
                + "ec2:DescribeVpcs because no identity-based policy allows the ec2:DescribeVpcs action",
                refusal(403, () -> client(Ec2Client.builder(), login).describeVpcs()));
        var create = refusal(403, () -> client(Ec2Client.builder(), login)
                .createSecurityGroup(r -> r.groupName("g").description("d").vpcId(vpc)));
        assertTrue(create.startsWith("UnauthorizedOperation: You are not authorized to perform this operation. " + who
                + "ec2:CreateSecurityGroup on resource: arn:aws:ec2:eu-west-1:111122223333:security-group/* because no "
                + "identity-based policy allows the ec2:CreateSecurityGroup action. Encoded authorization failure "
                + "message: "), create);
        assertEquals("AccessDenied: " + who + "sts:AssumeRole on resource: " + HOME + "role/none",
                refusal(403, () -> client(StsClient.builder(), login)
                        .assumeRole(r -> r.roleArn(HOME + "role/none").roleSessionName("me"))));
        var bucket = aws.s3.createBucket("words" + count, "eu-west-1").name;
        assertEquals("AccessDenied: " + who + "s3:PutObject on resource: \"arn:aws:s3:::" + bucket
                + "/k\" because no identity-based policy allows the s3:PutObject action",
                refusal(403, () -> client(S3Client.builder(), login)
                        .putObject(r -> r.bucket(bucket).key("k"), RequestBody.fromString("x"))));
        role.inline.put("deny", policy("Deny", "kms:*", "*", ""));
        assertTrue(refusal(400, () -> client(KmsClient.builder(), login).listKeys())
                .endsWith("kms:ListKeys on resource: * with an explicit deny in an identity-based policy"));
    }

    @Test
    void aDryRunOfEc2AsksForThePermissionFirst() {
        var vpc = aws.ec2.createVpc("eu-west-1", "10.0.0.0/16");
        var ec2 = client(Ec2Client.builder(), aws.as(roleArn()));
        assertTrue(refusal(403, () -> ec2.describeVpcs(r -> r.dryRun(true))).startsWith("UnauthorizedOperation"));
        role.inline.put("look", allow("ec2:DescribeVpcs"));
        assertTrue(refusal(412, () -> ec2.describeVpcs(r -> r.dryRun(true).vpcIds(vpc))).startsWith("DryRunOperation"));
    }

    // Identity policies

    @Test
    void gathersInlineAndManagedPoliciesOfAUserAndItsGroups() {
        var iam = client(IamClient.builder(), aws.as(HOME + "user/" + user.name));
        Consumer<Boolean> may = expected -> {
            if (expected) {
                iam.getRole(r -> r.roleName(role.name));
            } else {
                assertTrue(refusal(403, () -> iam.getRole(r -> r.roleName(role.name))).startsWith("AccessDenied"));
            }
        };
        may.accept(false);
        user.inline.put("p", policy("Allow", "iam:GetRole", HOME + "role/team/*", ""));
        may.accept(true);
        user.inline.clear();
        var managed = aws.iam.createPolicy("Look" + count, allow("iam:GetRole"));
        user.attached.add("policy/Look" + count);
        may.accept(true);
        managed.defaultVersion = managed.addVersion(allow("iam:GetUser"));
        may.accept(false);
        aws.iam.createGroup("Group" + count, user.name).inline.put("p", allow("iam:Get*"));
        may.accept(true);
        user.boundary = "policy/Look" + count;
        may.accept(false);
        managed.defaultVersion = "v1";
        may.accept(true);
        managed.versions.put("v1", allow("iam:GetRole").replace("Allow", "Deny"));
        may.accept(false);
    }

    @Test
    void knowsWhoAsks() {
        role.tags.put("team", "payments");
        user.inline.put("p", policy("Allow", "iam:GetUser", HOME + "user/${aws:username}", ""));
        var own = client(IamClient.builder(), aws.as(HOME + "user/" + user.name));
        assertEquals(user.name, own.getUser().user().userName());
        refusal(403, () -> own.getUser(r -> r.userName("operator")));
        role.inline.put("p", policy("Allow", "codecommit:GetRepository",
                "arn:aws:codecommit:*:*:${aws:PrincipalTag/team}-*", "{'ArnEquals':{'aws:PrincipalArn':'" + roleArn()
                        + "'},'StringEquals':{'aws:PrincipalType':'AssumedRole','aws:RequestedRegion':'eu-west-1'},"
                        + "'StringLike':{'aws:userid':'" + role.id() + ":*'},'Bool':{'aws:SecureTransport':'true'},"
                        + "'IpAddress':{'aws:SourceIp':'127.0.0.0/8'},'DateGreaterThan':{'aws:CurrentTime':"
                        + "'2026-01-01T00:00:00Z'},'StringEqualsIfExists':{'aws:ResourceTag/stage':'live'}}"));
        role.inline.put("key", allow("kms:Decrypt"));
        aws.codecommit.createRepository("payments-" + count);
        aws.codecommit.createRepository("orders-" + count);
        var codecommit = client(CodeCommitClient.builder(), aws.as(roleArn()));
        codecommit.getRepository(r -> r.repositoryName("payments-" + count));
        refusal(400, () -> codecommit.getRepository(r -> r.repositoryName("orders-" + count)));
        aws.codecommit.repository("payments-" + count).tag("stage", "test");
        refusal(400, () -> codecommit.getRepository(r -> r.repositoryName("payments-" + count)));
    }

    @Test
    void whatIsTaggedWhenItIsMadeNeedsThatPermissionToo() {
        role.inline.put("p", allow("kms:CreateKey codecommit:CreateRepository ec2:CreateSecurityGroup kms:Decrypt"));
        var login = aws.as(roleArn());
        var vpc = aws.ec2.createVpc("eu-west-1", "10.0.0.0/16");
        var tag = Tag.builder().tagKey("Team").tagValue("a").build();
        var kms = client(KmsClient.builder(), login);
        var codecommit = client(CodeCommitClient.builder(), login);
        var ec2 = client(Ec2Client.builder(), login);
        assertTrue(refusal(400, () -> kms.createKey(r -> r.tags(tag)))
                .contains("kms:TagResource on resource: arn:aws:kms"));
        assertTrue(refusal(400, () -> codecommit
                .createRepository(r -> r.repositoryName("tagged" + count).tags(Map.of("Team", "a"))))
                .contains("codecommit:TagResource"));
        Consumer<software.amazon.awssdk.services.ec2.model.CreateSecurityGroupRequest.Builder> group = r -> r
                .groupName("tagged").description("d").vpcId(vpc).tagSpecifications(s -> s
                        .resourceType(ResourceType.SECURITY_GROUP).tags(t -> t.key("Team").value("a")));
        assertTrue(refusal(403, () -> ec2.createSecurityGroup(group)).contains("ec2:CreateTags"));
        assertEquals(List.of(), aws.ec2.groups(vpc));
        role.inline.put("tags", policy("Allow", "kms:TagResource codecommit:TagResource", "*",
                "{'ForAllValues:StringEquals':{'aws:TagKeys':['Team']},'StringEquals':{'aws:RequestTag/Team':'a'}}"));
        role.inline.put("more", policy("Allow", "ec2:CreateTags", "*",
                "{'StringEquals':{'ec2:CreateAction':'CreateSecurityGroup'}}"));
        kms.createKey(r -> r.tags(tag));
        ec2.createSecurityGroup(group);
        role.inline.put("key", policy("Allow", "kms:*", "*", "{'Null':{'kms:ViaService':'false'}}"));
        codecommit.createRepository(r -> r.repositoryName("tagged" + count).tags(Map.of("Team", "a")));
    }

    // Roles

    @Test
    void aRoleIsForWhomItTrustsAndWhoseOwnPoliciesAllowIt() {
        var sts = client(StsClient.builder(), aws.as(HOME + "user/" + user.name));
        Consumer<AssumeRoleRequest.Builder> request = r -> r.roleArn(roleArn()).roleSessionName("me");
        assertTrue(refusal(403, () -> sts.assumeRole(request)).startsWith("AccessDenied"), "the account is trusted");
        user.inline.put("p", allow("sts:AssumeRole"));
        var session = sts.assumeRole(request);
        assertEquals("arn:aws:sts::111122223333:assumed-role/" + role.name + "/me", session.assumedRoleUser().arn());
        assertEquals(role.id() + ":me", session.assumedRoleUser().assumedRoleId());
        role.trust = trust(HOME + "user/operator", "");
        refusal(403, () -> sts.assumeRole(request));
        role.trust = trust(HOME + "user/" + user.name, "");
        user.inline.clear();
        sts.assumeRole(request); // a trust policy that names the user is enough within the account
        role.trust = trust(HOME + "user/" + user.name, ",'Condition':{'StringEquals':{'sts:ExternalId':'secret'}}");
        refusal(403, () -> sts.assumeRole(request));
        sts.assumeRole(request.andThen(r -> r.externalId("secret")));
        user.inline.put("p", policy("Deny", "sts:*", roleArn(), ""));
        refusal(403, () -> sts.assumeRole(request.andThen(r -> r.externalId("secret"))));
        assertEquals(HOME + "user/" + user.name, sts.getCallerIdentity().arn(), "which cannot be denied");
    }

    static String trust(String principal, String condition) {
        return ("{'Version':'2012-10-17','Statement':{'Effect':'Allow','Action':'sts:AssumeRole',"
                + "'Principal':{'AWS':'%s'}%s}}").formatted(principal, condition).replace('\'', '"');
    }

    @Test
    void aRoleOfAnotherAccountNeedsBothSides() {
        var theirs = aws.account("444455556666").iam.createRole("Theirs" + count);
        Consumer<AssumeRoleRequest.Builder> request = r -> r.roleArn(THERE + "role/" + theirs.name)
                .roleSessionName("me");
        var sts = client(StsClient.builder(), aws.as(HOME + "user/" + user.name));
        theirs.trust = trust(HOME + "user/" + user.name, "");
        refusal(403, () -> sts.assumeRole(request));
        user.inline.put("p", allow("sts:AssumeRole"));
        var answer = sts.assumeRole(request).credentials();
        var session = new LocalAws.Login(answer.accessKeyId(), answer.secretAccessKey(), answer.sessionToken());
        var there = client(StsClient.builder(), session).getCallerIdentity();
        assertEquals("444455556666", there.account());
        assertEquals("arn:aws:sts::444455556666:assumed-role/" + theirs.name + "/me", there.arn());
        theirs.trust = trust("444455556666", "");
        refusal(403, () -> sts.assumeRole(request));
    }

    @Test
    void aSessionIsBoundByItsPoliciesAndItsTime() {
        role.inline.put("p", allow("iam:*"));
        var sts = client(StsClient.builder(), operator());
        Consumer<AssumeRoleRequest.Builder> request = r -> r.roleArn(roleArn()).roleSessionName("me");
        var answer = sts.assumeRole(request.andThen(r -> r.policy(allow("iam:GetRole sts:AssumeRole")))).credentials();
        var session = new LocalAws.Login(answer.accessKeyId(), answer.secretAccessKey(), answer.sessionToken());
        var iam = client(IamClient.builder(), session);
        iam.getRole(r -> r.roleName(role.name));
        assertTrue(refusal(403, () -> iam.listRolePolicies(r -> r.roleName(role.name)))
                .contains("because no session policy allows the iam:ListRolePolicies action"));
        aws.iam.createPolicy("Session" + count, allow("iam:List*"));
        var more = sts.assumeRole(request.andThen(r -> r.policy(allow("iam:GetRole"))
                .policyArns(p -> p.arn(HOME + "policy/Session" + count)))).credentials();
        client(IamClient.builder(), new LocalAws.Login(more.accessKeyId(), more.secretAccessKey(), more.sessionToken()))
                .listRolePolicies(r -> r.roleName(role.name));
        assertTrue(refusal(400, () -> sts.assumeRole(request.andThen(r -> r.policy("{}"))))
                .startsWith("MalformedPolicyDocument"));
        assertTrue(refusal(400, () -> sts.assumeRole(request.andThen(r -> r.durationSeconds(7200))))
                .contains("MaxSessionDuration"));
        role.maxSessionDuration = 43200;
        sts.assumeRole(request.andThen(r -> r.durationSeconds(7200)));
        role.inline.put("chain", allow("sts:AssumeRole"));
        assertTrue(refusal(400, () -> client(StsClient.builder(), session)
                .assumeRole(request.andThen(r -> r.durationSeconds(7200)))).contains("role chaining"));
    }

    @Test
    void theRootUserMayDoEverythingThatNoResourcePolicyDenies() {
        var login = aws.as(HOME + "root");
        assertEquals(HOME + "root", client(StsClient.builder(), login).getCallerIdentity().arn());
        client(KmsClient.builder(), login).listKeys();
        var bucket = aws.s3.createBucket("root" + count, "eu-west-1").policy("""
                {"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject",
                "Resource":"*"}}""");
        assertTrue(refusal(403, () -> client(S3Client.builder(), login)
                .putObject(r -> r.bucket(bucket.name).key("k"), RequestBody.fromString("x")))
                .contains("with an explicit deny in a resource-based policy"));
    }

    // Keys

    @Test
    void withoutTrustInTheAccountAKeyHearsItsOwnPolicyOnly() {
        var key = aws.kms.createKey("eu-west-1");
        var administrator = client(KmsClient.builder(), operator());
        administrator.describeKey(r -> r.keyId(key.arn));
        key.policy = """
                {"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"%s"},
                "Action":"kms:DescribeKey","Resource":"*"}}""".formatted(roleArn());
        assertTrue(refusal(400, () -> administrator.describeKey(r -> r.keyId(key.arn)))
                .contains("because no resource-based policy allows the kms:DescribeKey action"));
        var user = client(KmsClient.builder(), aws.as(roleArn()));
        user.describeKey(r -> r.keyId(key.arn));
        refusal(400, () -> user.getKeyPolicy(r -> r.keyId(key.arn)));
        // a grant to a role is bound by its boundary
        aws.iam.createPolicy("Bound" + count, allow("s3:*"));
        role.boundary = "policy/Bound" + count;
        assertTrue(refusal(400, () -> user.describeKey(r -> r.keyId(key.arn)))
                .contains("because no permissions boundary allows"));
    }

    @Test
    void aKeyOfAnotherAccountNeedsBothSides() {
        var key = aws.account("444455556666").kms.createKey("eu-west-1");
        var kms = client(KmsClient.builder(), operator());
        assertTrue(refusal(400, () -> kms.describeKey(r -> r.keyId(key.arn)))
                .contains("because no resource-based policy allows the kms:DescribeKey action"));
        key.policy = """
                {"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},
                "Action":["kms:DescribeKey","kms:GetKeyPolicy"],"Resource":"*"}}""";
        assertEquals("444455556666", kms.describeKey(r -> r.keyId(key.arn)).keyMetadata().awsAccountId());
        refusal(400, () -> client(KmsClient.builder(), aws.as(roleArn())).describeKey(r -> r.keyId(key.arn)));
        assertTrue(refusal(400, () -> kms.getKeyPolicy(r -> r.keyId(key.arn))).startsWith("AccessDeniedException"),
                "GetKeyPolicy does not work across accounts");
        refusal(400, () -> kms.describeKey(r -> r.keyId(key.keyId)));
    }

    @Test
    void s3UsesTheKeyWithTheCallersPermissions() {
        var key = aws.kms.createKey("eu-west-1");
        var bucket = aws.s3.createBucket("encrypted" + count, "eu-west-1");
        role.inline.put("s3", allow("s3:*"));
        var s3 = client(S3Client.builder(), aws.as(roleArn()));
        Runnable put = () -> s3.putObject(r -> r.bucket(bucket.name).key("k").serverSideEncryption("aws:kms")
                .ssekmsKeyId(key.arn), RequestBody.fromString("x"));
        Runnable get = () -> s3.getObjectAsBytes(r -> r.bucket(bucket.name).key("k"));
        assertTrue(refusal(403, put).contains("is not authorized to perform: kms:GenerateDataKey on resource: "
                + key.arn));
        role.inline.put("kms", policy("Allow", "kms:GenerateDataKey", key.arn, "{'StringEquals':{'kms:ViaService':"
                + "'s3.eu-west-1.amazonaws.com','kms:EncryptionContext:aws:s3:arn':'" + bucket.arn() + "/k'},"
                + "'Bool':{'aws:ViaAWSService':'true'}}"));
        put.run();
        assertTrue(refusal(403, get).contains("kms:Decrypt"));
        assertEquals(1, s3.headObject(r -> r.bucket(bucket.name).key("k")).contentLength(), "the head needs no key");
        refusal(403, () -> s3.headObject(r -> r.bucket(bucket.name).key("k").checksumMode(ChecksumMode.ENABLED)));
        role.inline.put("more", policy("Allow", "kms:Decrypt", key.arn, "{'StringEquals':{"
                + "'kms:EncryptionContext:aws:s3:arn':'" + bucket.arn() + "/k'}}"));
        get.run();
        // with a bucket key the context is the bucket
        assertTrue(refusal(403, () -> s3.putObject(r -> r.bucket(bucket.name).key("k").serverSideEncryption("aws:kms")
                .bucketKeyEnabled(true).ssekmsKeyId(key.arn), RequestBody.fromString("x"))).contains("kms:Generate"));
        // directly the role may do nothing: the key is for S3
        assertTrue(refusal(400, () -> client(KmsClient.builder(), aws.as(roleArn())).describeKey(r -> r.keyId(key.arn)))
                .startsWith("AccessDeniedException"));
        key.state = "Disabled";
        assertTrue(refusal(400, get).startsWith("KMS.DisabledException"));
        key.state = "Enabled";
        key.policy = "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"*\","
                + "\"Action\":\"kms:*\",\"Resource\":\"*\"}}";
        assertTrue(refusal(403, get).contains("with an explicit deny in a resource-based policy"));
    }

    @Test
    void codeCommitUsesTheKeyWithTheCallersPermissions() {
        var key = aws.kms.createKey("eu-west-1");
        var codecommit = client(CodeCommitClient.builder(), aws.as(roleArn()));
        role.inline.put("p", allow("codecommit:*"));
        var name = "keyed" + count;
        assertTrue(refusal(400, () -> codecommit.createRepository(r -> r.repositoryName(name).kmsKeyId(key.arn)))
                .startsWith("EncryptionKeyAccessDeniedException: User: "));
        var via = "{'StringEquals':{'kms:ViaService':'codecommit.eu-west-1.amazonaws.com'}}";
        role.inline.put("kms", policy("Allow", "kms:DescribeKey kms:Encrypt kms:Decrypt kms:ReEncrypt* "
                + "kms:GenerateDataKey kms:GenerateDataKeyWithoutPlaintext", "*", via));
        codecommit.createRepository(r -> r.repositoryName(name).kmsKeyId(key.arn));
        aws.codecommit.repository(name).commit("refs/heads/main", "a", "a\n");
        role.inline.put("kms", policy("Allow", "kms:Decrypt", "*", via));
        codecommit.getFile(r -> r.repositoryName(name).filePath("a"));
        assertTrue(refusal(400, () -> codecommit.createBranch(r -> r.repositoryName(name).branchName("x")
                .commitId(aws.codecommit.repository(name).resolve("refs/heads/main").name())))
                .startsWith("EncryptionKeyAccessDeniedException"));
        role.inline.remove("kms");
        assertTrue(refusal(400, () -> codecommit.getRepository(r -> r.repositoryName(name)))
                .startsWith("EncryptionKeyAccessDeniedException"));
        var errors = codecommit.batchGetRepositories(r -> r.repositoryNames(name)).errors();
        assertEquals("EncryptionKeyAccessDeniedException", errors.get(0).errorCodeAsString());
        // the key that AWS manages needs no permission, and must not be denied
        aws.codecommit.createRepository("managed" + count);
        codecommit.getRepository(r -> r.repositoryName("managed" + count));
        role.inline.put("deny", policy("Deny", "kms:Decrypt", "*", ""));
        assertTrue(refusal(400, () -> codecommit.getRepository(r -> r.repositoryName("managed" + count)))
                .startsWith("EncryptionKeyAccessDeniedException"));
    }

    // Buckets

    @Test
    void whoMayNotListDoesNotLearnWhatIsThere() {
        var bucket = aws.s3.createBucket("secret" + count, "eu-west-1");
        bucket.put("there", "x".getBytes(StandardCharsets.UTF_8));
        role.inline.put("p", policy("Allow", "s3:GetObject", bucket.arn() + "/*", ""));
        var s3 = client(S3Client.builder(), aws.as(roleArn()));
        s3.getObjectAsBytes(r -> r.bucket(bucket.name).key("there"));
        assertTrue(refusal(403, () -> s3.getObjectAsBytes(r -> r.bucket(bucket.name).key("gone")))
                .contains("s3:ListBucket"));
        refusalWithoutBody(403, () -> s3.headObject(r -> r.bucket(bucket.name).key("gone")));
        role.inline.put("list", policy("Allow", "s3:ListBucket", bucket.arn(), ""));
        assertTrue(refusal(404, () -> s3.getObjectAsBytes(r -> r.bucket(bucket.name).key("gone")))
                .startsWith("NoSuchKey"));
        refusalWithoutBody(404, () -> s3.headObject(r -> r.bucket(bucket.name).key("gone")));
        // another version needs another permission
        bucket.versioned().put("v", "1".getBytes(StandardCharsets.UTF_8));
        var version = s3.getObject(r -> r.bucket(bucket.name).key("v")).response().versionId();
        assertTrue(refusal(403, () -> s3.getObjectAsBytes(r -> r.bucket(bucket.name).key("v").versionId(version)))
                .contains("s3:GetObjectVersion"));
    }

    static void refusalWithoutBody(int status, Runnable call) {
        assertEquals(status, assertThrows(AwsServiceException.class, call::run).statusCode());
    }

    @Test
    void aBucketOfAnotherAccountNeedsBothSidesAndIsTheOwnersToPermit() {
        var bucket = aws.s3.createBucket("theirs" + count, "eu-west-1", "444455556666");
        var s3 = client(S3Client.builder(), aws.as(roleArn()));
        Runnable put = () -> s3.putObject(r -> r.bucket(bucket.name).key("k"), RequestBody.fromString("x"));
        role.inline.put("p", allow("s3:PutObject"));
        assertEquals("AccessDenied: Access Denied", refusal(403, put), "and not told why");
        bucket.policy("{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\""
                + roleArn() + "\"},\"Action\":\"s3:*\",\"Resource\":\"" + bucket.arn() + "/*\"}}");
        put.run();
        role.inline.clear();
        refusal(403, put);
        var own = aws.s3.createBucket("ours" + count, "eu-west-1");
        own.policy("{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\""
                + roleArn() + "\"},\"Action\":\"s3:*\",\"Resource\":\"" + own.arn() + "/*\"}}");
        s3.putObject(r -> r.bucket(own.name).key("k"), RequestBody.fromString("x")); // one side is enough at home
    }

    // Services

    @Test
    void aServiceIsAllowedByTheResourcesPolicyForWhomItActs() {
        var need = new Need("sts:AssumeRole", roleArn());
        var trust = """
                {"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole",
                "Principal":{"Service":"codebuild.amazonaws.com"},"Condition":{
                "StringEquals":{"aws:SourceAccount":"111122223333"},
                "ArnLike":{"aws:SourceArn":"arn:aws:codebuild:eu-west-1:111122223333:project/backup"}}}}""";
        var project = "arn:aws:codebuild:eu-west-1:111122223333:project/";
        assertEquals(Decision.allowed, service("codebuild", project + "backup", "111122223333", need, trust));
        assertEquals(Decision.implicitDeny, service("codebuild", project + "other", "111122223333", need, trust));
        assertEquals(Decision.implicitDeny, service("codebuild", project + "backup", "777788889999", need, trust));
        assertEquals(Decision.implicitDeny, service("events", project + "backup", "111122223333", need, trust));
        assertEquals(Decision.implicitDeny, service("codebuild", null, null, need, trust));
        assertEquals(Decision.implicitDeny,
                service("codebuild", project + "backup", "111122223333", need, trust(LocalAws.ACCOUNT, "")));
    }

    private static Decision service(String service, String arn, String account, Need need, String policy) {
        return aws.authorizer.decideForService(service + ".amazonaws.com", arn, account, "eu-west-1",
                need.policy("trust", policy)).decision();
    }

    // Speed

    /** What it costs is printed: the machine's speed is no verdict. */
    @Test
    void aHundredThousandDecisionsAreMeasured() {
        role.inline.put("deny", policy("Deny", "codecommit:GitPush", "arn:aws:codecommit:*:111122223333:*",
                "{'StringLikeIfExists':{'codecommit:References':['refs/heads/main','refs/heads/release/*']},"
                        + "'Null':{'codecommit:References':'false'}}"));
        role.inline.put("allow", allow("codecommit:* kms:Decrypt"));
        var caller = new Caller("arn:aws:sts::111122223333:assumed-role/" + role.name + "/me", LocalAws.ACCOUNT,
                "eu-west-1");
        var need = new Need("codecommit:GitPush", "arn:aws:codecommit:eu-west-1:111122223333:payments")
                .key("codecommit:References", "refs/heads/feature");
        var denied = need.key("codecommit:References", "refs/heads/release/1");
        var threads = ManagementFactory.getThreadMXBean();
        var start = 0L;
        for (var i = 0; i < 120_000; i++) {
            if (i == 20_000) start = threads.getCurrentThreadCpuTime();
            assertEquals(i % 2 == 0 ? Decision.allowed : Decision.explicitDeny,
                    aws.authorizer.decide(caller, i % 2 == 0 ? need : denied).decision());
        }
        System.out.printf("AuthorizerTest: 100,000 decisions, %.1f microseconds of processor time each%n",
                (threads.getCurrentThreadCpuTime() - start) / 100_000 / 1000.0);
    }
}
