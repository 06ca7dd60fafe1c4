import static java.util.stream.Collectors.toMap;
import static java.util.stream.Collectors.toSet;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Kms;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchClient;
import software.amazon.awssdk.services.cloudwatch.model.MetricAlarm;
import software.amazon.awssdk.services.cloudwatch.model.MetricDataQuery;
import software.amazon.awssdk.services.codebuild.CodeBuildClient;
import software.amazon.awssdk.services.codebuild.model.ArtifactsType;
import software.amazon.awssdk.services.codebuild.model.ComputeType;
import software.amazon.awssdk.services.codebuild.model.EnvironmentType;
import software.amazon.awssdk.services.codebuild.model.SourceType;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.eventbridge.model.Rule;
import software.amazon.awssdk.services.eventbridge.model.Target;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.NoSuchEntityException;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.GrantOperation;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.sns.SnsClient;
import software.amazon.awssdk.services.sns.model.NotFoundException;

/**
 * Witnesses from outside, so that nothing is right only because our own embedded AWS says so: the AWS CLI, boto3 and
 * git as other clients of the embedded AWS, and moto as another AWS for the scripts. Each is skipped where it is not
 * installed.
 */
class ConformanceTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";
    static final LocalAws aws = LocalAws.start();

    @TempDir
    Path temp;

    @BeforeEach
    void use() {
        Script.use(aws);
        if (aws.iam.find("role/Developer") == null) aws.iam.createRole("Developer");
        if (aws.iam.find("role/KeyAdmin") == null) aws.iam.createRole("KeyAdmin");
        name = "c" + System.nanoTime();
    }

    @AfterAll
    static void stop() {
        if (boto != null) boto.destroy();
        if (moto != null) moto.destroy();
        aws.close();
    }

    /** A new one for each test. */
    String name;

    // ---- Other programs

    /** An AWS CLI command against the embedded AWS: its answer. */
    static JsonNode cli(String... arguments) {
        var command = Stream.concat(Stream.of("aws", "--output", "json"), Arrays.stream(arguments));
        var output = Program.run(Path.of("."), Script.environment(aws), command.toArray(String[]::new));
        assertEquals(0, output.exitCode(), () -> String.join(" ", arguments) + ": " + output.err());
        try {
            return JSON.readTree(output.out().isEmpty() ? "{}" : output.out());
        } catch (IOException e) {
            throw new UncheckedIOException(output.out(), e);
        }
    }

    /** A line of shell, as an operator would paste it. */
    static void shell(String line) {
        var output = Program.run(Path.of("."), Script.environment(aws), "bash", "-c", line);
        assertEquals(0, output.exitCode(), () -> line + "\n" + output.err());
    }

    /**
     * Runs a script, which must change something, then in a shell the command that it prints as undo: all must be as it
     * was.
     */
    static Script.Run takenBack(Supplier<?> state, CommandLine script, String... arguments) {
        var before = String.valueOf(state.get());
        var run = Script.run(script, arguments);
        assertEquals(0, run.exitCode(), run.err());
        assertNotEquals(before, String.valueOf(state.get()), "changed nothing");
        shell(run.json().path("undo").asText());
        assertEquals(before, String.valueOf(state.get()), () -> run.json().path("undo").asText());
        return run;
    }

    // ---- The AWS CLI reads what the scripts made

    @Test
    void theAwsCliFindsTheKeyAsItWasAskedFor() {
        Program.needsAwsCli();
        var alias = "alias/" + name;
        var made = Script.run(new CreateKmsKey().commandLine(), "--alias", alias,
                "--users", "arn:aws:iam::111122223333:role/Developer", "--description", "all code",
                "--tags", "Team=Payments", "Cost=12", "--rotation-period-in-days", "90");
        assertEquals(0, made.exitCode(), made.err());
        var key = cli("kms", "describe-key", "--key-id", alias).path("KeyMetadata");
        assertEquals(made.json().at("/key/keyArn").asText(), key.path("Arn").asText());
        assertEquals(List.of("Enabled", "CUSTOMER", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "all code"),
                Stream.of("KeyState", "KeyManager", "KeySpec", "KeyUsage", "Description")
                        .map(member -> key.path(member).asText()).toList());
        var id = key.path("KeyId").asText();
        var policy = Meaning.parse(
                cli("kms", "get-key-policy", "--key-id", id, "--policy-name", "default").path("Policy").asText());
        assertEquals(List.of("AccountAdministration", "KeyUsage"),
                policy.path("Statement").valueStream().map(s -> s.path("Sid").asText()).sorted().toList());
        assertTrue(policy.toString().contains("arn:aws:iam::111122223333:role/Developer"));
        assertEquals(Map.of("Team", "Payments", "Cost", "12", "Name", alias.substring("alias/".length()), "Service",
                "CodeCommit", "Purpose", "Repository-Encryption"),
                pairs(cli("kms", "list-resource-tags", "--key-id", id).path("Tags"), "TagKey", "TagValue"));
        assertEquals(90,
                cli("kms", "get-key-rotation-status", "--key-id", id).path("RotationPeriodInDays").asInt());
    }

    static Map<String, String> pairs(JsonNode list, String key, String value) {
        var pairs = new TreeMap<String, String>();
        list.forEach(item -> pairs.put(item.path(key).asText(), item.path(value).asText()));
        return pairs;
    }

    @Test
    void theAwsCliFindsTheRepositoryAndWhoMadeIt() {
        Program.needsAwsCli();
        var key = aws.kms.createKey(REGION);
        var made = Script.run(new CreateEncryptedRepo().commandLine(), "--repository-name", name,
                "--kms-key-id", key.keyId, "--repository-description", "pays \"all\" the bills",
                "--tags", "Team=Payments");
        assertEquals(0, made.exitCode(), made.err());
        var repository = cli("codecommit", "get-repository", "--repository-name", name).path("repositoryMetadata");
        assertEquals(made.json().at("/repository/arn").asText(), repository.path("Arn").asText());
        assertEquals(key.arn, repository.path("kmsKeyId").asText());
        assertEquals("pays \"all\" the bills", repository.path("repositoryDescription").asText());
        assertEquals(made.json().at("/repository/cloneUrlHttp").asText(), repository.path("cloneUrlHttp").asText());
        assertEquals("Payments",
                cli("codecommit", "list-tags-for-resource", "--resource-arn", repository.path("Arn").asText())
                        .at("/tags/Team").asText());
        assertEquals(made.json().path("account").asText(), cli("sts", "get-caller-identity").path("Account").asText());
    }

    @Test
    void theAwsCliFindsTheSecurityGroup() {
        Program.needsAwsCli();
        var vpc = aws.ec2.createVpc(REGION, "10.20.0.0/16", "2001:db8:1234:1a00::/56");
        var made = Script.run(new CreateEndpointSecurityGroup().commandLine(), "--vpc-id", vpc, "--tags",
                "Team=Payments");
        assertEquals(0, made.exitCode(), made.err());
        var group = cli("ec2", "describe-security-groups", "--filters", "Name=vpc-id,Values=" + vpc,
                "Name=group-name,Values=codecommit-endpoints").at("/SecurityGroups/0");
        assertEquals(made.json().at("/securityGroup/groupId").asText(), group.path("GroupId").asText());
        assertEquals(List.of("tcp", "443", "443", "10.20.0.0/16", "2001:db8:1234:1a00::/56"),
                Stream.of("/IpProtocol", "/FromPort", "/ToPort", "/IpRanges/0/CidrIp", "/Ipv6Ranges/0/CidrIpv6")
                        .map(pointer -> group.at("/IpPermissions/0" + pointer).asText()).toList());
        assertEquals(Map.of("Team", "Payments", "Name", "codecommit-endpoints", "Service", "CodeCommit", "Purpose",
                "VPC-Endpoint-Access"), pairs(group.path("Tags"), "Key", "Value"));
    }

    @Test
    void theAwsCliFindsTheEndpoints() {
        Program.needsAwsCli();
        var network = new Network();
        var made = Script.run(new CreateVpcEndpoint().commandLine(), "--vpc-id", network.vpc,
                "--security-group-ids", network.group,
                "--policy", "restricted", "--repository-names", "payments",
                "--principals", "arn:aws:iam::111122223333:role/Developer", "--tags", "Team=Payments");
        assertEquals(0, made.exitCode(), made.err());
        var endpoints = cli("ec2", "describe-vpc-endpoints", "--filters", "Name=vpc-id,Values=" + network.vpc)
                .path("VpcEndpoints").valueStream()
                .sorted(Comparator.comparing(endpoint -> endpoint.path("ServiceName").asText())).toList();
        assertEquals(List.of("com.amazonaws.eu-west-1.codecommit", "com.amazonaws.eu-west-1.git-codecommit"),
                endpoints.stream().map(endpoint -> endpoint.path("ServiceName").asText()).toList());
        for (var endpoint : endpoints) {
            assertEquals(List.of("Interface", "available", "true"),
                    Stream.of("VpcEndpointType", "State", "PrivateDnsEnabled")
                            .map(member -> endpoint.path(member).asText()).toList());
            assertEquals(JSON.valueToTree(network.subnets), endpoint.path("SubnetIds"));
            assertEquals(network.group, endpoint.at("/Groups/0/GroupId").asText());
            var name = endpoint.path("ServiceName").asText().endsWith(".git-codecommit") ? "git" : "api";
            assertEquals(Map.of("Team", "Payments", "Name", "codecommit-" + name, "Service", "CodeCommit", "Purpose",
                    "VPC-Endpoint-Access"), pairs(endpoint.path("Tags"), "Key", "Value"));
        }
        var policy = endpoints.get(1).path("PolicyDocument").asText();
        assertTrue(policy.contains("arn:aws:codecommit:eu-west-1:111122223333:payments"), policy);
    }

    /** A VPC with a subnet in each of two zones and a security group that lets the VPC in. */
    static class Network {
        final String vpc = aws.ec2.createVpc(REGION, "10.20.0.0/16");
        final List<String> subnets = List.of(aws.ec2.createSubnet(vpc, REGION + "a", "10.20.1.0/24"),
                aws.ec2.createSubnet(vpc, REGION + "b", "10.20.2.0/24"));
        final String group = group("codecommit-endpoints");

        String group(String name) {
            var group = aws.ec2.createSecurityGroup(vpc, name);
            aws.ec2.authorizeIngress(group, "tcp", 443, 443, "10.20.0.0/16");
            return group;
        }

        /** The endpoints, with all that the script changes. */
        Object endpoints() {
            var state = JSON.createArrayNode();
            for (var endpoint : aws.ec2.endpoints(vpc)) {
                if (endpoint.path("State").asText().equals("deleting")) continue;
                var policy = Meaning.of(endpoint.path("PolicyDocument").asText()).toString();
                ((ObjectNode) endpoint).put("PolicyDocument", policy).remove(List.of("NetworkInterfaceIds", "State"));
                state.add(endpoint);
            }
            return Meaning.of(state);
        }
    }

    @Test
    void theAwsCliFindsThePolicies() {
        Program.needsAwsCli();
        aws.iam.createRole(name);
        aws.iam.createGroup(name + "s");
        var made = Script.run(new ApplyBranchDeny().commandLine(), "--branches", "main", "release/*",
                "--all-repositories", "--role-names", name, "--policy-name", name);
        assertEquals(0, made.exitCode(), made.err());
        var inline = cli("iam", "get-role-policy", "--role-name", name, "--policy-name", name).path("PolicyDocument");
        assertEquals("[\"refs/heads/main\",\"refs/heads/release/*\"]",
                inline.findValue("codecommit:References").toString(), inline.toString());
        var managed = Script.run(new ApplyBranchDeny().commandLine(), "--branches", "main", "--all-repositories",
                "--group-names", name + "s", "--policy-name", name, "--managed");
        assertEquals(0, managed.exitCode(), managed.err());
        var arn = cli("iam", "list-attached-group-policies", "--group-name", name + "s")
                .at("/AttachedPolicies/0/PolicyArn").asText();
        var version = cli("iam", "get-policy", "--policy-arn", arn).at("/Policy/DefaultVersionId").asText();
        var document = cli("iam", "get-policy-version", "--policy-arn", arn, "--version-id", version)
                .at("/PolicyVersion/Document");
        assertEquals("Deny", document.findValue("Effect").asText());
    }

    @Test
    void theAwsCliAndGitReadTheBackup() throws IOException {
        Program.needsAwsCli();
        Program.needs("git", "git", "--version");
        aws.s3.createBucket(name, REGION);
        var repo = repositoryWithHistory(1000);
        var made = Script.run(new BackupToS3().commandLine(), "--bucket", name, "--repository-names", name);
        assertEquals(0, made.exitCode(), made.err());
        var keys = cli("s3api", "list-objects-v2", "--bucket", name, "--prefix",
                Backups.ROOT + REGION + "/" + name + "/")
                .path("Contents").findValuesAsText("Key");
        assertEquals(2, keys.size(), keys.toString());
        for (var key : keys) {
            cli("s3api", "get-object", "--bucket", name, "--key", key,
                    temp.resolve(key.replaceAll(".*/[^.]*\\.", "")).toString());
        }
        restoresAs(repo, Files.readAllBytes(temp.resolve("manifest.json.gz")), temp.resolve("full.bundle"));
    }

    /** With two branches, a tag object, and about as many bytes that cannot be compressed. */
    CodeCommit.Repo repositoryWithHistory(int bytes) {
        var noise = new StringBuilder();
        new Random(1).longs(bytes / 8).forEach(number -> noise.append(Long.toHexString(number)));
        return aws.codecommit.createRepository(name).commit("refs/heads/main", "a", "1")
                .commit("refs/heads/main", "noise", noise.toString())
                .ref("refs/heads/release/1", "refs/heads/main").commit("refs/heads/release/1", "b", "2")
                .annotatedTag("v1", "refs/heads/main");
    }

    /** That the bundle is the one in the manifest, and that git reads all of the repository out of it. */
    void restoresAs(CodeCommit.Repo repo, byte[] manifest, Path bundle) throws IOException {
        var point = JSON.readTree(new GZIPInputStream(new ByteArrayInputStream(manifest)));
        var sum = Program.run(Path.of("."), Map.of(), "sha256sum", bundle.toString()).out();
        assertTrue(sum.startsWith(point.at("/chain/0/sha256").asText()), point.toString());
        git(temp, "clone", "-q", "--mirror", bundle.toString(), "mirror.git");
        var refs = new TreeMap<String, String>();
        git(temp.resolve("mirror.git"), "for-each-ref", "--format=%(refname) %(objectname)").lines()
                .forEach(line -> refs.put(line.split(" ")[0], line.split(" ")[1]));
        assertEquals(JSON.valueToTree(refs), Meaning.of(point.path("refs")));
        assertEquals(List.of("refs/heads/main", "refs/heads/release/1", "refs/tags/v1"), List.copyOf(refs.keySet()));
        for (var ref : refs.entrySet()) assertEquals(repo.resolve(ref.getKey()).name(), ref.getValue());
        git(temp.resolve("mirror.git"), "fsck", "--strict");
    }

    // ---- Every undo takes its change back

    /** Keys that are of use, with all that the script changes, and the aliases. */
    static Object keys() {
        var state = new TreeMap<String, Object>(aws.kms.aliases(REGION));
        for (var key : aws.kms.keys(REGION)) {
            if (key.state.equals("Enabled")) {
                state.put(key.keyId,
                        List.of(key.description, Meaning.of(key.policy), key.rotationPeriod, new TreeMap<>(key.tags)));
            }
        }
        return state;
    }

    @Test
    void theUndoOfANewKeyTakesAliasAndKeyAway() {
        Program.needsAwsCli();
        var run = takenBack(ConformanceTest::keys, new CreateKmsKey().commandLine(), "--alias", "alias/" + name,
                "--users", "arn:aws:iam::111122223333:role/Developer");
        assertEquals("created", run.status());
        assertEquals("PendingDeletion", aws.kms.find(run.json().at("/key/keyId").asText(), REGION).state);
    }

    /** The AWS CLI has a meaning of its own for the first two. */
    @ParameterizedTest
    @ValueSource(strings = {"file:///etc/hostname", "-legacy-", "it's \"$HOME\" \\ `x`, Ünïcode"})
    void theUndoOfChangesToAKeyBringsBackPolicyDescriptionRotationAndTags(String description) {
        Program.needsAwsCli();
        var key = key();
        key.description = description;
        key.tags.put("Team", "old one");
        key.tags.put("Other", "-a b");
        var run = takenBack(ConformanceTest::keys, new CreateKmsKey().commandLine(), "--alias", "alias/" + name,
                "--users", "arn:aws:iam::111122223333:role/Developer", "--description", "new",
                "--rotation-period-in-days", "90", "--tags", "Team=new one", "More=x", "Most=", "--remove-other-tags");
        assertEquals(List.of("policy", "description", "rotationPeriodInDays", "tags", "tags"), fields(run));
    }

    Kms.Key key() {
        var key = aws.kms.createKey(REGION);
        aws.kms.createAlias(REGION, "alias/" + name, key);
        return key;
    }

    static List<String> fields(Script.Run run) {
        return run.json().path("changes").valueStream().map(change -> change.path("field").asText()).toList();
    }

    @Test
    void theUndoOfAnotherRotationBringsBackThePeriod() {
        Program.needsAwsCli();
        key().rotationPeriod = 200;
        var changed = takenBack(ConformanceTest::keys, new CreateKmsKey().commandLine(), "--alias", "alias/" + name,
                "--rotation-period-in-days", "90");
        assertTrue(fields(changed).contains("rotationPeriodInDays"));
        var stopped = takenBack(ConformanceTest::keys, new CreateKmsKey().commandLine(), "--alias", "alias/" + name,
                "--no-rotation");
        assertTrue(fields(stopped).contains("rotationPeriodInDays"));
    }

    @Test
    void theUndoOfASharedKeyBringsBackItsPolicy() {
        Program.needsAwsCli();
        var keyId = key().keyId;
        var shared = takenBack(ConformanceTest::keys, new ShareKmsKey().commandLine(), "--key-id", keyId,
                "--role-arns", "arn:aws:iam::444455556666:role/BackupWriter", "--via-services", "s3");
        assertEquals("created", shared.status());
        Script.run(new ShareKmsKey().commandLine(), "--key-id", keyId, "--account-ids", "444455556666");
        assertEquals("updated", takenBack(ConformanceTest::keys, new ShareKmsKey().commandLine(), "--key-id", keyId,
                "--account-ids", "777788889999").status());
        assertEquals("deleted", takenBack(ConformanceTest::keys, new ShareKmsKey().commandLine(), "--key-id", keyId,
                "--account-ids", "444455556666", "--remove").status());
    }

    /** As the message asks for it: out into a file, mended there, and back. */
    @Test
    void theAdviceForAStatementThatKmsDoesNotTakeBackIsACommand() throws Exception {
        Program.needsAwsCli();
        var key = key();
        var right = key.policy;
        key.policy = right.replaceFirst("\\]\\}\\s*$", ",{\"Sid\":\"Old\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":"
                + "\"AROAIOSFODNN7EXAMPLE\"},\"Action\":\"kms:Decrypt\",\"Resource\":\"*\"}]}");
        var refused = Script.run(new ShareKmsKey().commandLine(), "--key-id", key.keyId, "--account-ids",
                "444455556666");
        assertEquals(1, refused.exitCode(), refused.out());
        var commands = Pattern.compile("read and write: (.*) > policy.json; (.*)").matcher(refused.err());
        assertTrue(commands.find(), refused.err());
        var file = Files.createTempFile(temp, "policy", ".json");
        shell(commands.group(1) + " > " + file);
        assertTrue(Files.readString(file).contains("AROAIOSFODNN7EXAMPLE"));
        Files.writeString(file, right);
        shell(commands.group(2).replace("policy.json", file.toString()));
        assertEquals("created", Script.run(new ShareKmsKey().commandLine(), "--key-id", key.keyId, "--account-ids",
                "444455556666").status());
    }

    Object repository() {
        var repo = aws.codecommit.repository(name);
        return repo == null ? "none" : List.of(repo.description(), String.valueOf(repo.key()), repo.tags());
    }

    /** A bucket that CloudTrail may write to. */
    private void trailBucket() {
        var bucket = aws.s3.createBucket(name, REGION);
        bucket.policy("""
                {"Version": "2012-10-17", "Statement": {"Effect": "Allow",
                 "Action": ["s3:GetBucketAcl", "s3:PutObject"], "Principal": {"Service": "cloudtrail.amazonaws.com"},
                 "Resource": ["%1$s", "%1$s/*"]}}""".formatted(bucket.arn()));
    }

    /** What watch-security-events says of a trail that does not feed it can be pasted, and helps. */
    @Test
    void theAdviceForATrailIsACommandThatHelps() {
        Program.needsAwsCli();
        trailBucket();
        var key = aws.kms.createKey(REGION).arn;
        adviceOfWatch(key, "no trail in us-east-1: ", name);
        var trail = aws.cloudtrail.trail("us-east-1", "management-events");
        trail.logging = false;
        adviceOfWatch(key, "does not log: ", "");
        shell("aws cloudtrail put-event-selectors --region us-east-1 --trail-name " + trail.arn + " --event-selectors "
                + "'[{\"ReadWriteType\":\"All\",\"ExcludeManagementEventSources\":[\"kms.amazonaws.com\"]}]'");
        adviceOfWatch(key, "does not take changes of kms.amazonaws.com: ", "");
        shell("aws cloudtrail put-event-selectors --region us-east-1 --trail-name " + trail.arn
                + " --advanced-event-selectors '[{\"FieldSelectors\":[{\"Field\":\"eventCategory\",\"Equals\":"
                + "[\"Management\"]},{\"Field\":\"readOnly\",\"Equals\":[\"true\"]}]}]'");
        adviceOfWatch(key, "does not take changes of kms.amazonaws.com: ", "");
        trail.multiRegion = false;
        trail.globalEvents = false;
        adviceOfWatch(key, "is of us-east-1 alone: ", "");
        assertTrue(trail.multiRegion);
        shell("aws cloudtrail delete-trail --region us-east-1 --name " + trail.arn);
    }

    /** Runs the command that follows these words in the refusal; then the watch is taken. */
    private static void adviceOfWatch(String keyArn, String words, String bucket) {
        var watch = new String[] {"--key-ids", keyArn, "--policy-names", "deny", "--dry-run"};
        var refused = Script.run(new WatchSecurityEvents().commandLine(), watch);
        assertEquals(1, refused.exitCode(), refused.err());
        var after = refused.err().substring(refused.err().indexOf(words) + words.length()).strip();
        shell(after.split("; ")[0].replace("BUCKET", bucket));
        var taken = Script.run(new WatchSecurityEvents().commandLine(), watch);
        assertEquals(0, taken.exitCode(), taken.err());
    }

    @Test
    void theUndoOfAWatchTakesRulesAndTopicAway() {
        Program.needsAwsCli();
        aws.s3.createBucket(name, REGION);
        var trail = aws.cloudtrail.createTrail(REGION, name);
        var run = Script.run(new WatchSecurityEvents().commandLine(), "--bucket", name, "--topic-name", name);
        assertEquals(4, run.exitCode(), run.err());
        assertEquals(4, Script.run(new WatchSecurityEvents().commandLine(), "--bucket", name).exitCode());
        shell(run.json().path("undo").asText());
        assertNull(aws.sns.topic(REGION, name));
        assertNull(aws.events.rule(REGION, "security-events-s3"));
        assertNull(aws.events.rule(REGION, "security-events-watch"));
        shell("aws cloudtrail delete-trail --name " + trail.arn);
    }

    @Test
    void theUndoOfANewRepositoryDeletesIt() {
        Program.needsAwsCli();
        key();
        var made = takenBack(this::repository, new CreateEncryptedRepo().commandLine(), "--repository-name", name,
                "--kms-key-id", "alias/" + name, "--tags", "Team=Payments");
        assertEquals("created", made.status());
    }

    @Test
    void theUndoOfChangesToARepositoryBringsBackKeyDescriptionAndTags() {
        Program.needsAwsCli();
        key();
        var repo = aws.codecommit.createRepository(name).key(aws.kms.createKey(REGION).arn)
                .description("it's \"$HOME\" \\ `x`, Ünïcode").tag("Team", "old one").tag("Other", "a b");
        var arguments = new String[] {"--repository-name", name, "--kms-key-id", "alias/" + name,
                "--repository-description", "new", "--tags", "Team=new one", "More=x", "Most=",
                "--remove-other-tags"};
        var run = takenBack(this::repository, new CreateEncryptedRepo().commandLine(), arguments);
        assertEquals(List.of("kmsKeyId", "repositoryDescription", "tags", "tags"), fields(run));
        repo.key(null).description("");
        var again = takenBack(this::repository, new CreateEncryptedRepo().commandLine(), arguments);
        assertEquals(List.of("kmsKeyId", "repositoryDescription", "tags", "tags"), fields(again));
    }

    /** What S3 shows of the bucket, or the code of its error. */
    Object bucketSettings() {
        try (var s3 = S3Client.create()) {
            var reads = Map.<String, Supplier<?>>of("public access", () -> s3.getPublicAccessBlock(r -> r.bucket(name)),
                    "ownership", () -> s3.getBucketOwnershipControls(r -> r.bucket(name)),
                    "encryption", () -> s3.getBucketEncryption(r -> r.bucket(name)),
                    "lifecycle", () -> s3.getBucketLifecycleConfiguration(r -> r.bucket(name)),
                    "tags", () -> s3.getBucketTagging(r -> r.bucket(name)),
                    "lock", () -> s3.getObjectLockConfiguration(r -> r.bucket(name)),
                    "policy", () -> Meaning.of(s3.getBucketPolicy(r -> r.bucket(name)).policy()));
            var state = new TreeMap<String, Object>();
            reads.forEach((setting, read) -> state.put(setting, shown(read)));
            return state;
        }
    }

    static Object shown(Supplier<?> read) {
        try {
            return read.get();
        } catch (S3Exception e) {
            return e.awsErrorDetails().errorCode();
        }
    }

    @Test
    void theUndoOfANewBucketDeletesIt() {
        Program.needsAwsCli();
        var made = takenBack(this::bucketSettings, new CreateBackupBucket().commandLine(), "--bucket", name,
                "--writer-accounts", "444455556666", "--retention-days", "400");
        assertEquals("created", made.status());
    }

    @Test
    void theUndoOfChangesToABucketBringsBackItsSettings() {
        Program.needsAwsCli();
        var bucket = aws.s3.createBucket(name, REGION).versioned();
        var arguments = new String[] {"--bucket", name, "--writer-accounts", "444455556666", "--kms-key-id",
                key().arn, "--expire-after-days", "395", "--tags", "Team=Payments"};
        takenBack(this::bucketSettings, new CreateBackupBucket().commandLine(), arguments);
        bucket.setting("ownershipControls", "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>")
                .setting("publicAccessBlock", null)
                .setting("tagging", "<TagSet><Tag><Key>Team</Key><Value>-old</Value></Tag></TagSet>")
                .lifecycle("<Rule><ID>theirs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status>"
                        + "<Expiration><Days>7</Days></Expiration></Rule>")
                .policy("{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"Theirs\",\"Effect\":\"Allow\","
                        + "\"Principal\":{\"AWS\":\"444455556666\"},\"Action\":\"s3:GetObject\",\"Resource\":"
                        + "\"arn:aws:s3:::" + name + "/logs/*\"}]}");
        var run = takenBack(this::bucketSettings, new CreateBackupBucket().commandLine(), arguments);
        assertEquals(List.of("publicAccessBlock", "ownershipControls", "encryption", "lifecycleRules", "tags",
                "keyPolicy", "policy"), fields(run));
    }

    static Object groups(String vpc) {
        return aws.ec2.groups(vpc).stream().map(Meaning::of).toList();
    }

    @Test
    void theUndoOfANewSecurityGroupDeletesIt() {
        Program.needsAwsCli();
        var vpc = aws.ec2.createVpc(REGION, "10.20.0.0/16");
        var made = takenBack(() -> groups(vpc), new CreateEndpointSecurityGroup().commandLine(), "--vpc-id", vpc,
                "--tags", "Team=Payments");
        assertEquals("created", made.status());
    }

    @Test
    void theUndoOfChangesToASecurityGroupBringsBackRulesAndTags() {
        Program.needsAwsCli();
        var vpc = aws.ec2.createVpc(REGION, "10.20.0.0/16");
        var group = aws.ec2.createSecurityGroup(vpc, "codecommit-endpoints");
        var other = aws.ec2.createSecurityGroup(vpc, "clients");
        aws.ec2.authorizeIngress(group, "tcp", 22, 22, "192.0.2.0/24");
        aws.ec2.authorizeIngress(group, "tcp", 443, 443, "2001:db8::/32");
        aws.ec2.authorizeIngress(group, "tcp", 443, 443, "198.18.0.0/16");
        cli("ec2", "authorize-security-group-ingress", "--group-id", group, "--ip-permissions", """
                [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
                  "UserIdGroupPairs": [{"GroupId": "%s", "Description": "the clients"}]},
                 {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "198.51.100.0/24", "Description": "all; of them"}]}]"""
                .formatted(other));
        cli("ec2", "create-tags", "--resources", group, "--tags", "Key=Team,Value=old one", "Key=Other,Value=x");
        var run = takenBack(() -> groups(vpc), new CreateEndpointSecurityGroup().commandLine(), "--vpc-id", vpc,
                "--cidrs", "10.20.0.0/16", "2001:db8:1234:1a00::/56", "198.18.0.0/16", "--revoke-others",
                "--tags", "Team=new one", "More=x");
        assertEquals(List.of("cidrs", "descriptions", "others", "tags"), fields(run));
    }

    @Test
    void theUndoOfNewEndpointsDeletesThem() {
        Program.needsAwsCli();
        var network = new Network();
        var made = takenBack(network::endpoints, new CreateVpcEndpoint().commandLine(), "--vpc-id", network.vpc,
                "--security-group-ids", network.group, "--tags", "Team=Payments");
        assertEquals("created", made.status());
    }

    @Test
    void theUndoOfChangesToEndpointsBringsBackPolicySubnetsGroupsPrivateDnsAndTags() {
        Program.needsAwsCli();
        var network = new Network();
        var other = network.group("other");
        for (var service : List.of("codecommit", "git-codecommit")) {
            var id = aws.ec2.createEndpoint(network.vpc, service, service.equals("codecommit"),
                    network.subnets.subList(0, 1), List.of(other));
            cli("ec2", "create-tags", "--resources", id, "--tags", "Key=Team,Value=old one");
        }
        var run = takenBack(network::endpoints, new CreateVpcEndpoint().commandLine(), "--vpc-id", network.vpc,
                "--security-group-ids", network.group, "--private-dns", "--tags", "Team=new one", "More=x");
        assertEquals(List.of("subnetIds", "securityGroupIds", "policy", "tags",
                "subnetIds", "securityGroupIds", "privateDnsEnabled", "policy", "tags"), fields(run));
    }

    /** What is attached to a role, group or user, inline or managed, with the documents. */
    static Object policies(String... principals) {
        return Stream.of(principals).map(aws.iam::find).map(principal -> {
            var all = new TreeMap<String, Object>();
            principal.inline.forEach((policy, document) -> all.put(policy, Meaning.of(document)));
            principal.attached.forEach(policy -> all.put(policy,
                    Meaning.of(aws.iam.policy(policy).versions.get(aws.iam.policy(policy).defaultVersion))));
            return all;
        }).toList();
    }

    @Test
    void theUndoOfADenyTakesItOffAndThatOfItsRemovalPutsItOn() {
        Program.needsAwsCli();
        aws.iam.createRole(name);
        aws.iam.createUser(name);
        aws.iam.createGroup(name);
        var principals = new String[] {"role/" + name, "user/" + name, "group/" + name};
        var whom = List.of("--role-names", name, "--user-names", name, "--group-names", name, "--policy-name", name);
        Supplier<?> state = () -> policies(principals);
        var apply = Stream.concat(Stream.of("--branches", "main", "it's", "--all-repositories"), whom.stream())
                .toArray(String[]::new);
        assertEquals("created", takenBack(state, new ApplyBranchDeny().commandLine(), apply).status());
        assertEquals(0, Script.run(new ApplyBranchDeny().commandLine(), apply).exitCode());
        apply[1] = "trunk";
        assertEquals("updated", takenBack(state, new ApplyBranchDeny().commandLine(), apply).status());
        var remove = Stream.concat(Stream.of("--remove"), whom.stream()).toArray(String[]::new);
        assertEquals("deleted", takenBack(state, new ApplyBranchDeny().commandLine(), remove).status());
    }

    @Test
    void theUndoOfAManagedDenyBringsBackPolicyVersionAndAttachment() {
        Program.needsAwsCli();
        aws.iam.createRole(name);
        Supplier<?> state = () -> policies("role/" + name) + " "
                + (aws.iam.policy("policy/" + name) == null ? "none" : aws.iam.policy("policy/" + name).description);
        var apply = new String[] {"--branches", "main", "--all-repositories", "--role-names", name, "--policy-name",
                name, "--managed"};
        assertEquals("created", takenBack(state, new ApplyBranchDeny().commandLine(), apply).status());
        assertEquals(0,
                Script.run(new ApplyBranchDeny().commandLine(), Arrays.copyOf(apply, apply.length - 1)).exitCode(),
                "inline first, which the managed one replaces");
        assertEquals("created", takenBack(state, new ApplyBranchDeny().commandLine(), apply).status());
        assertEquals(0, Script.run(new ApplyBranchDeny().commandLine(), apply).exitCode());
        apply[1] = "trunk";
        assertEquals("updated", takenBack(state, new ApplyBranchDeny().commandLine(), apply).status());
        assertEquals("deleted", takenBack(state, new ApplyBranchDeny().commandLine(), "--remove", "--role-names", name,
                "--policy-name", name).status());
    }

    /** A template's content and description, without its id, and the repositories that have it. */
    String approvalRule(List<CodeCommit.Repo> repositories) {
        var template = aws.codecommit.approvalRuleTemplate(REGION, name);
        return (template == null ? "none" : template.path("approvalRuleTemplateContent").asText() + " "
                + template.path("approvalRuleTemplateDescription").asText()) + " "
                + repositories.stream().map(CodeCommit.Repo::approvalRuleTemplates).toList();
    }

    @Test
    void theUndoOfAnApprovalRuleTakesBackTemplateDescriptionAndAssociations() {
        Program.needsAwsCli();
        var repositories = Stream.of("-a", "-b").map(end -> aws.codecommit.createRepository(name + end)).toList();
        Supplier<?> state = () -> approvalRule(repositories);
        var require = new String[] {"--template-name", name, "--approvals", "1", "--repository-names", name + "-a",
                "--template-description", "file://it's"};
        assertEquals("created", takenBack(state, new RequireApproval().commandLine(), require).status());
        assertEquals(0, Script.run(new RequireApproval().commandLine(), require).exitCode());
        var more = takenBack(state, new RequireApproval().commandLine(), "--template-name", name, "--approvals", "2",
                "--approvers", "Reviewers/*", "--branches", "it's", "--repository-names", name + "-*",
                "--template-description", "");
        assertEquals(List.of("approvalRuleTemplateContent", "approvalRuleTemplateDescription", "repositoryNames"),
                fields(more));
        assertEquals("deleted", takenBack(state, new RequireApproval().commandLine(), "--template-name", name,
                "--all-repositories", "--remove").status());
    }

    // ---- boto3

    static Process boto;
    static BufferedReader botoAnswers;
    static PrintWriter botoCalls;

    /**
     * A line for each call: {"service", "operation", "input"}; a line for each answer, the answer itself or the error's
     * code, HTTP status and whether the service's model declares this error for the operation. Checks nothing by
     * itself, so that the embedded AWS has to.
     */
    static final String BRIDGE = """
            import boto3, functools, json, sys
            from botocore.config import Config
            from botocore.exceptions import ClientError
            @functools.cache
            def client_of(service):
                return boto3.client(service, config=Config(parameter_validation=False, retries={'max_attempts': 0}))
            for line in sys.stdin:
                call = json.loads(line)
                client = client_of(call['service'])
                try:
                    answer = getattr(client, call['operation'])(**call['input'])
                    if 'Body' in answer: answer['Body'] = answer['Body'].read().decode()
                except ClientError as e:
                    name = client.meta.method_to_api_mapping[call['operation']]
                    errors = client.meta.service_model.operation_model(name).error_shapes
                    declared = [shape.metadata.get('error', {}).get('code', shape.name) for shape in errors]
                    code = e.response['Error']['Code']
                    answer = {'error': code, 'message': e.response['Error']['Message'],
                              'status': e.response['ResponseMetadata']['HTTPStatusCode'],
                              'declared': code in declared}
                print(json.dumps(answer, default=str), flush=True)
            """;

    /** A call that must succeed. */
    static JsonNode boto(String service, String operation, String input, Object... values) {
        var answer = botoSays(service, operation, input, values);
        assertTrue(!answer.has("error"), () -> service + " " + operation + ": " + answer);
        return answer;
    }

    /** @param input JSON with ' for ", and %s where the values go, of which JSON takes the place as JSON */
    static JsonNode botoSays(String service, String operation, String input, Object... values) {
        Program.needs("boto3", "python3", "-c", "import boto3");
        try {
            if (boto == null) {
                var builder = new ProcessBuilder("python3", "-W", "ignore", "-c", BRIDGE)
                        .redirectError(ProcessBuilder.Redirect.INHERIT);
                builder.environment().putAll(Script.environment(aws));
                boto = builder.start();
                botoAnswers = boto.inputReader();
                botoCalls = new PrintWriter(boto.outputWriter(), true);
            }
            var parsed = Meaning.parse(input.replace('\'', '"').formatted(values));
            botoCalls.println(JSON.createObjectNode().put("service", service).put("operation", operation)
                    .set("input", parsed));
            return Meaning.parse(String.valueOf(botoAnswers.readLine()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void botoReadsAndWritesKeys() {
        var made = boto("kms", "create_key", "{'Description': 'by boto', 'Tags': [{'TagKey': 'A', 'TagValue': 'b'}]}")
                .path("KeyMetadata");
        var id = made.path("KeyId").asText();
        assertTrue(made.path("CreationDate").asText().matches("20\\d\\d-.*"), made.toString());
        for (var i = 0; i < 10 && botoSays("kms", "describe_key", "{'KeyId': '%s'}", id).has("error"); i++) {
            assertTrue(i < 9, "does not show");
        }
        boto("kms", "create_alias", "{'AliasName': 'alias/%s', 'TargetKeyId': '%s'}", name, id);
        boto("kms", "enable_key_rotation", "{'KeyId': '%s', 'RotationPeriodInDays': 100}", id);
        assertEquals(id, boto("kms", "describe_key", "{'KeyId': 'alias/%s'}", name).at("/KeyMetadata/KeyId").asText());
        assertEquals(100,
                boto("kms", "get_key_rotation_status", "{'KeyId': '%s'}", id).path("RotationPeriodInDays").asInt());
        var run = Script.run(new CreateKmsKey().commandLine(), "--alias", "alias/" + name,
                "--rotation-period-in-days", "100", "--tags", "A=b", "--description", "by boto");
        assertEquals(List.of("policy"), fields(run), "AWS's default policy says the same, but not with our Sid");
    }

    @Test
    void botoReadsAndWritesRepositories() {
        var made = boto("codecommit", "create_repository", "{'repositoryName': '%s', 'tags': {'A': 'b'}}", name)
                .path("repositoryMetadata");
        assertEquals(aws.codecommit.repository(name).arn, made.path("Arn").asText());
        assertTrue(made.path("creationDate").asText().matches("20\\d\\d-.*"), made.toString());
        var batch = boto("codecommit", "batch_get_repositories", "{'repositoryNames': ['%s', 'none']}", name);
        assertEquals(List.of(name, "none"), List.of(batch.at("/repositories/0/repositoryName").asText(),
                batch.at("/repositoriesNotFound/0").asText()));
        assertTrue(boto("codecommit", "list_repositories", "{}").path("repositories").findValuesAsText("repositoryName")
                .contains(name));
        assertEquals("b",
                boto("codecommit", "list_tags_for_resource", "{'resourceArn': '%s'}", made.path("Arn").asText())
                        .at("/tags/A").asText());
    }

    @Test
    void botoReadsAndWritesSecurityGroupsAndEndpoints() {
        var network = new Network();
        var group = boto("ec2", "create_security_group", "{'GroupName': 'g', 'Description': 'by boto', 'VpcId': '%s'}",
                network.vpc).path("GroupId").asText();
        boto("ec2", "describe_security_groups", "{}"); // now it shows
        var authorized = boto("ec2", "authorize_security_group_ingress",
                "{'GroupId': '%s', 'IpPermissions': [{'IpProtocol': 'tcp', 'FromPort': 443, 'ToPort': 443, "
                        + "'Ipv6Ranges': [{'CidrIpv6': '2001:DB8:0::/32'}]}]}",
                group);
        assertTrue(authorized.path("Return").asBoolean());
        assertEquals("2001:db8::/32", aws.ec2.group(group).findValue("CidrIpv6").asText());
        var made = boto("ec2", "create_vpc_endpoint",
                "{'VpcEndpointType': 'Interface', 'VpcId': '%s', 'ServiceName': "
                        + "'com.amazonaws.eu-west-1.git-codecommit', 'SubnetIds': %s, "
                        + "'SecurityGroupIds': ['%s'], 'PrivateDnsEnabled': true, 'PolicyDocument': %s}",
                network.vpc, JSON.valueToTree(network.subnets), group, JSON.valueToTree(ALLOW)).path("VpcEndpoint");
        assertEquals("pending", made.path("State").asText(), made.toString());
        var shown = made;
        for (var i = 0; i < 10 && !shown.path("State").asText().equals("available"); i++) {
            shown = boto("ec2", "describe_vpc_endpoints", "{'Filters': [{'Name': 'vpc-id', 'Values': ['%s']}]}",
                    network.vpc).at("/VpcEndpoints/0");
        }
        assertEquals("available", shown.path("State").asText());
        assertEquals(JSON.valueToTree(network.subnets), shown.path("SubnetIds"));
        assertEquals(group, shown.at("/Groups/0/GroupId").asText());
        assertEquals(Meaning.of(ALLOW), Meaning.of(shown.path("PolicyDocument").asText()));
    }

    static final String ALLOW = """
            {"Version": "2012-10-17",
             "Statement": {"Effect": "Allow", "Principal": "*", "Action": "codecommit:GitPull", "Resource": "*"}}""";
    static final String DENY = """
            {"Version": "2012-10-17", "Statement": [{"Sid": "No", "Effect": "Deny",
             "Action": ["codecommit:GitPush", "codecommit:PutFile"], "Resource": "*"}]}""";

    @Test
    void botoReadsAndWritesPolicies() {
        aws.iam.createRole(name);
        boto("iam", "put_role_policy", "{'RoleName': '%s', 'PolicyName': 'p', 'PolicyDocument': %s}", name,
                JSON.valueToTree(DENY));
        var read = boto("iam", "get_role_policy", "{'RoleName': '%s', 'PolicyName': 'p'}", name).path("PolicyDocument");
        assertTrue(read.isObject(), "boto3 decodes the policy itself, if it is encoded as IAM does it");
        assertEquals(Meaning.of(DENY), Meaning.of(read));
        var decisions = boto("iam", "simulate_principal_policy",
                "{'PolicySourceArn': 'arn:aws:iam::111122223333:role/%s', 'ActionNames': ['codecommit:GitPush', "
                        + "'codecommit:GitPull']}",
                name);
        assertEquals(List.of("explicitDeny", "implicitDeny"),
                decisions.path("EvaluationResults").findValuesAsText("EvalDecision"));
    }

    @Test
    void botoReadsAndWritesTrails() {
        trailBucket();
        var arn = boto("cloudtrail", "create_trail", "{'Name': '%s', 'S3BucketName': '%s', 'IsMultiRegionTrail': true}",
                name, name).path("TrailARN").asText();
        boto("cloudtrail", "start_logging", "{'Name': '%s'}", name);
        assertTrue(boto("cloudtrail", "get_trail_status", "{'Name': '%s'}", arn).path("IsLogging").asBoolean());
        assertEquals("All", boto("cloudtrail", "get_event_selectors", "{'TrailName': '%s'}", arn)
                .at("/EventSelectors/0/ReadWriteType").asText());
        boto("cloudtrail", "put_event_selectors", "{'TrailName': '%s', 'EventSelectors': [{'ReadWriteType': "
                + "'WriteOnly', 'ExcludeManagementEventSources': ['kms.amazonaws.com']}]}", name);
        assertEquals("kms.amazonaws.com", boto("cloudtrail", "get_event_selectors", "{'TrailName': '%s'}", arn)
                .at("/EventSelectors/0/ExcludeManagementEventSources/0").asText());
        assertTrue(boto("cloudtrail", "describe_trails", "{}").path("trailList").findValuesAsText("TrailARN")
                .contains(arn));
        boto("cloudtrail", "delete_trail", "{'Name': '%s'}", name);
        assertEquals("TrailNotFoundException",
                botoSays("cloudtrail", "get_trail_status", "{'Name': '%s'}", arn).path("error").asText());
    }

    @Test
    void botoReadsAndWritesObjects() {
        aws.s3.createBucket(name, REGION);
        var put = boto("s3", "put_object",
                "{'Bucket': '%s', 'Key': 'a b/ü', 'Body': 'text', 'IfNoneMatch': '*', 'ExpectedBucketOwner': "
                        + "'111122223333'}",
                name);
        assertTrue(put.path("ChecksumCRC32").isTextual(), put.toString());
        assertEquals("text",
                boto("s3", "get_object", "{'Bucket': '%s', 'Key': 'a b/ü', 'ChecksumMode': 'ENABLED'}", name)
                        .path("Body").asText());
        assertEquals("[\"a b/ü\"]", boto("s3", "list_objects_v2", "{'Bucket': '%s', 'Prefix': 'a b/'}", name)
                .path("Contents").findValues("Key").toString());
        var upload = boto("s3", "create_multipart_upload",
                "{'Bucket': '%s', 'Key': 'parts', 'ChecksumAlgorithm': 'CRC32', 'ChecksumType': 'FULL_OBJECT'}",
                name).path("UploadId").asText();
        var part = boto("s3", "upload_part",
                "{'Bucket': '%s', 'Key': 'parts', 'UploadId': '%s', 'PartNumber': 1, 'Body': 'part'}", name, upload)
                .path("ETag");
        boto("s3", "complete_multipart_upload",
                "{'Bucket': '%s', 'Key': 'parts', 'UploadId': '%s', 'MultipartUpload': {'Parts': [{'PartNumber': 1, "
                        + "'ETag': %s}]}}",
                name, upload, part);
        assertEquals("part", new String(aws.s3.bucket(name).get("parts")));
    }

    /**
     * Error codes as AWS's API references name them. Those of KMS, CodeCommit and IAM must be ones that botocore's
     * models declare for the operation.
     */
    @EnabledIf(value = "Program#hasBoto", disabledReason = "boto3 is not installed (python3 -c import boto3)")
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            kms | describe_key | {'KeyId': 'alias/none'} | NotFoundException
            kms | describe_key | {'KeyId': '12345678-1234-1234-1234-123456789012'} | NotFoundException
            kms | create_alias | {'AliasName': 'none', 'TargetKeyId': '%key'} | ValidationException
            kms | create_alias | {'AliasName': 'alias/a:b', 'TargetKeyId': '%key'} | InvalidAliasNameException
            kms | create_alias | {'AliasName': 'alias/%name', 'TargetKeyId': '%key'} | AlreadyExistsException
            kms | put_key_policy | {'KeyId': '%key', 'PolicyName': 'default', 'Policy': '{'} \
                | MalformedPolicyDocumentException
            kms | put_key_policy | {'KeyId': '%key', 'PolicyName': 'default', 'Policy': '{}'} \
                | MalformedPolicyDocumentException
            kms | enable_key_rotation | {'KeyId': '%key', 'RotationPeriodInDays': 30} | ValidationException
            kms | enable_key_rotation | {'KeyId': 'alias/%name'} | NotFoundException
            kms | schedule_key_deletion | {'KeyId': '%key', 'PendingWindowInDays': 3} | ValidationException
            kms | tag_resource | {'KeyId': '%key', 'Tags': [{'TagKey': 'aws:a', 'TagValue': 'b'}]} | TagException
            kms | describe_key | {} | ValidationException
            codecommit | get_repository | {'repositoryName': 'none'} | RepositoryDoesNotExistException
            codecommit | get_repository | {} | RepositoryNameRequiredException
            codecommit | create_repository | {'repositoryName': 'a.git'} | InvalidRepositoryNameException
            codecommit | create_repository | {'repositoryName': 'a b'} | InvalidRepositoryNameException
            codecommit | create_repository | {'repositoryName': '%name'} | RepositoryNameExistsException
            codecommit | create_repository | {'repositoryName': 'x', 'tags': {'Compliance': 'SOC2,GDPR'}} \
                | InvalidTagsMapException
            codecommit | create_repository | {'repositoryName': 'x', 'tags': {'aws:a': 'b'}} \
                | InvalidSystemTagUsageException
            codecommit | create_repository | {'repositoryName': 'x', 'kmsKeyId': 'alias/none'} \
                | EncryptionKeyNotFoundException
            codecommit | update_repository_encryption_key | {'repositoryName': '%name'} \
                | EncryptionKeyRequiredException
            codecommit | batch_get_repositories | {'repositoryNames': [%101]} \
                | MaximumRepositoryNamesExceededException
            codecommit | list_repositories | {'nextToken': 'none'} | InvalidContinuationTokenException
            codecommit | list_tags_for_resource | {'resourceArn': 'none'} | InvalidResourceArnException
            iam | get_role | {'RoleName': 'none'} | NoSuchEntity
            iam | get_role_policy | {'RoleName': 'Developer', 'PolicyName': 'none'} | NoSuchEntity
            iam | put_role_policy | {'RoleName': 'Developer', 'PolicyName': 'p', 'PolicyDocument': '{}'} \
                | MalformedPolicyDocument
            iam | put_role_policy | {'RoleName': 'Developer', 'PolicyName': 'a b', 'PolicyDocument': '{}'} \
                | ValidationError
            iam | create_policy | {'PolicyName': 'p', 'PolicyDocument': 'none'} | MalformedPolicyDocument
            iam | delete_policy | {'PolicyArn': 'arn:aws:iam::111122223333:policy/none'} | NoSuchEntity
            iam | attach_role_policy | {'RoleName': 'Developer', 'PolicyArn': 'arn:aws:iam::111122223333:policy/none'} \
                | NoSuchEntity
            ec2 | describe_vpcs | {'VpcIds': ['vpc-0123456789abcdef0']} | InvalidVpcID.NotFound
            ec2 | describe_vpcs | {'Filters': [{'Name': 'colour', 'Values': ['red']}]} | InvalidParameterValue
            ec2 | create_security_group | {'GroupName': 'sg-a', 'Description': 'd', 'VpcId': '%vpc'} \
                | InvalidParameterValue
            ec2 | create_security_group | {'GroupName': 'taken', 'Description': 'd', 'VpcId': '%vpc'} \
                | InvalidGroup.Duplicate
            ec2 | authorize_security_group_ingress \
                | {'GroupId': '%group', 'IpProtocol': 'tcp', 'FromPort': 443, 'ToPort': 443, 'CidrIp': '10.0.0.0'} \
                | InvalidParameterValue
            ec2 | authorize_security_group_ingress \
                | {'GroupId': '%group', 'IpProtocol': 'tcp', 'FromPort': 22, 'ToPort': 22, 'CidrIp': '10.0.0.0/8'} \
                | InvalidPermission.Duplicate
            ec2 | revoke_security_group_ingress \
                | {'GroupId': '%group', 'IpProtocol': 'tcp', 'FromPort': 443, 'ToPort': 443, 'CidrIp': '10.0.0.0/8'} \
                | InvalidPermission.NotFound
            ec2 | create_vpc_endpoint \
                | {'VpcId': '%vpc', 'ServiceName': 'com.amazonaws.eu-west-1.none', 'VpcEndpointType': 'Interface'} \
                | InvalidServiceName
            ec2 | create_vpc_endpoint \
                | {'VpcId': '%vpc', 'ServiceName': 'com.amazonaws.eu-west-1.codecommit', 'SubnetIds': ['%subnet']} \
                | InvalidParameter
            ec2 | describe_vpcs | {'DryRun': true} | DryRunOperation
            s3 | get_object | {'Bucket': '%name', 'Key': 'none'} | NoSuchKey
            s3 | list_objects_v2 | {'Bucket': 'there-is-none'} | NoSuchBucket
            s3 | put_object | {'Bucket': '%name', 'Key': 'there', 'Body': 'x', 'IfNoneMatch': '*'} \
                | PreconditionFailed
            s3 | put_object | {'Bucket': '%name', 'Key': 'x', 'Body': 'x', 'ExpectedBucketOwner': '444455556666'} \
                | AccessDenied
            s3 | put_object | {'Bucket': '%name', 'Key': 'x', 'Body': 'x', 'ChecksumCRC32': 'AAAAAA=='} | BadDigest
            s3 | upload_part | {'Bucket': '%name', 'Key': 'x', 'Body': 'x', 'UploadId': 'none', 'PartNumber': 1} \
                | NoSuchUpload
            s3 | abort_multipart_upload | {'Bucket': '%name', 'Key': 'x', 'UploadId': 'none'} | NoSuchUpload
            sts | assume_role | {'RoleArn': 'arn:aws:iam::111122223333:role/none', 'RoleSessionName': 'session'} \
                | AccessDenied
            sts | assume_role | {'RoleArn': 'arn:aws:iam::111122223333:role/Developer', 'RoleSessionName': 's'} \
                | ValidationError
            """)
    void botoKnowsTheErrorsOfRequestsThatAwsRejects(String service, String operation, String input, String code) {
        var vpc = aws.ec2.createVpc(REGION, "10.20.0.0/16");
        var group = aws.ec2.createSecurityGroup(vpc, "taken");
        aws.ec2.authorizeIngress(group, "tcp", 22, 22, "10.0.0.0/8");
        aws.codecommit.createRepository(name);
        aws.s3.createBucket(name, REGION).put("there", new byte[1]);
        var answer = botoSays(service, operation,
                input.replace("%name", name).replace("%key", key().keyId).replace("%vpc", vpc).replace("%group", group)
                        .replace("%subnet", aws.ec2.createSubnet(vpc, REGION + "a", "10.20.1.0/24"))
                        .replace("%101", "'r',".repeat(100) + "'r'"));
        assertEquals(code, answer.path("error").asText(), answer.toString());
        assertTrue(answer.path("status").asInt() >= 400 && answer.path("status").asInt() < 500, answer.toString());
        if (List.of("kms", "codecommit", "iam").contains(service) && !code.startsWith("ValidationE")) {
            assertTrue(answer.path("declared").asBoolean(), "not an error of this operation");
        }
    }

    // ---- git with the AWS CLI's credential helper

    @Test
    void gitPushesClonesAndFetchesWithTheAwsClisPasswords() throws IOException {
        Program.needsAwsCli();
        Program.needs("git", "git", "--version");
        var url = aws.codecommit.createRepository(name).cloneUrlHttp();
        var work = Files.createDirectory(temp.resolve("work"));
        git(work, "init", "-q", "-b", "main");
        git(work, "commit", "-q", "--allow-empty", "-m", "first");
        git(work, "tag", "-a", "-m", "tagged", "v1");
        git(work, "push", "-q", url, "main", "v1");
        git(temp, "clone", "-q", url, "clone");
        assertEquals(git(work, "rev-parse", "HEAD", "v1"), git(temp.resolve("clone"), "rev-parse", "HEAD", "v1"));
        git(work, "commit", "-q", "--allow-empty", "-m", "second");
        git(work, "push", "-q", url, "main");
        git(temp.resolve("clone"), "fetch", "-q");
        assertEquals(git(work, "rev-parse", "HEAD"), git(temp.resolve("clone"), "rev-parse", "origin/main"));
        assertEquals(aws.codecommit.repository(name).resolve("refs/heads/main").name(),
                git(work, "rev-parse", "HEAD").trim());
    }

    static String git(Path directory, String... arguments) {
        var environment = new TreeMap<>(Script.environment(aws));
        environment.putAll(Map.of("GIT_CONFIG_NOSYSTEM", "1", "GIT_CONFIG_GLOBAL", "/dev/null",
                "GIT_AUTHOR_NAME", "a", "GIT_AUTHOR_EMAIL", "a@example.com",
                "GIT_COMMITTER_NAME", "a", "GIT_COMMITTER_EMAIL", "a@example.com"));
        var command = Stream.concat(Stream.of("git", "-c", "credential.helper=",
                "-c", "credential.helper=!aws codecommit credential-helper --ignore-host-check $@",
                "-c", "credential.UseHttpPath=true"), Arrays.stream(arguments));
        var output = Program.run(directory, environment, command.toArray(String[]::new));
        assertEquals(0, output.exitCode(), () -> String.join(" ", arguments) + ": " + output.err());
        return output.out();
    }

    // ---- moto: another AWS for the scripts

    /**
     * moto, with one deviation mended that would end create-kms-key: a new key's usage is ENCRYPT_DECRYPT when none is
     * asked for (KMS API Reference, CreateKey).
     */
    static final String MOTO = """
            import sys
            from moto.kms.models import Key
            from moto.server import main
            make = Key.__init__
            def with_usage(self, policy, key_usage, *rest, **named):
                make(self, policy, key_usage or 'ENCRYPT_DECRYPT', *rest, **named)
            Key.__init__ = with_usage
            main(sys.argv[1:])
            """;

    static Process moto;
    static String motoEndpoint;

    /** Points the SDK of this JVM at moto instead. */
    static void useMoto() throws Exception {
        Program.needs("moto", "python3", "-c", "import moto.server, flask");
        if (moto == null) {
            int port;
            try (var free = new ServerSocket(0)) {
                port = free.getLocalPort();
            }
            moto = new ProcessBuilder("python3", "-c", MOTO, "-H", "127.0.0.1", "-p", String.valueOf(port))
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            motoEndpoint = "http://127.0.0.1:" + port;
            Wait.until(() -> listens(port) || !moto.isAlive(), () -> "moto does not listen");
        }
        System.setProperty("aws.endpointUrl", motoEndpoint);
    }

    static boolean listens(int port) {
        try (var socket = new Socket("127.0.0.1", port)) {
            return socket.isConnected();
        } catch (IOException e) {
            return false;
        }
    }

    @Test
    void aKeyIsMadeInMotoAndThenUnchanged() throws Exception {
        useMoto();
        try (var iam = IamClient.builder().region(Region.of(REGION)).build()) {
            iam.createRole(r -> r.roleName(name)
                    .assumeRolePolicyDocument("{\"Version\":\"2012-10-17\",\"Statement\":[]}"));
        }
        var arguments = new String[] {"--alias", "alias/" + name, "--description", "all code",
                "--users", "arn:aws:iam::123456789012:role/" + name, "--tags", "Team=Payments"};
        var first = Script.run(new CreateKmsKey().commandLine(), arguments);
        assertEquals(0, first.exitCode(), first.err());
        assertEquals("created", first.status());
        var second = Script.run(new CreateKmsKey().commandLine(), arguments);
        assertEquals("unchanged", second.status(), second.out() + second.err());
        assertEquals(first.json().at("/key/keyArn"), second.json().at("/key/keyArn"));
        var third = Script.run(new CreateKmsKey().commandLine(), "--alias", "alias/" + name,
                "--rotation-period-in-days", "365", "--description", "more code");
        assertEquals(List.of("description"), fields(third),
                "moto tells no RotationPeriodInDays: 365 is what KMS takes by default");
    }

    @Test
    void aKeyIsSharedInMotoAndWithdrawn() throws Exception {
        useMoto();
        var alias = "alias/shared-" + name;
        try (var kms = KmsClient.create()) {
            var keyId = kms.createKey(r -> r.multiRegion(true)).keyMetadata().keyId();
            kms.createAlias(r -> r.aliasName(alias).targetKeyId(keyId));
            kms.replicateKey(r -> r.keyId(keyId).replicaRegion("eu-west-2"));
            kms.createGrant(r -> r.keyId(keyId).granteePrincipal("arn:aws:iam::444455556666:role/BackupWriter")
                    .operations(GrantOperation.DECRYPT));
        }
        assertEquals(0, Script.run(new CreateKmsKey().commandLine(), "--alias", "alias/" + name).exitCode());
        for (var id : List.of(alias, "alias/" + name)) {
            var arguments = new String[] {"--key-id", id, "--role-arns",
                    "arn:aws:iam::444455556666:role/BackupWriter", "--via-services", "s3"};
            var first = Script.run(new ShareKmsKey().commandLine(), arguments);
            assertEquals(0, first.exitCode(), first.err());
            assertEquals("created", first.status());
            assertEquals("unchanged", Script.run(new ShareKmsKey().commandLine(), arguments).status());
            assertEquals("updated", Script.run(new ShareKmsKey().commandLine(), "--key-id", id, "--account-ids",
                    "444455556666").status());
        }
        var withdrawn = Script.run(new ShareKmsKey().commandLine(), "--key-id", alias, "--account-ids",
                "444455556666", "--remove");
        assertEquals("deleted", withdrawn.status(), withdrawn.err());
        assertEquals(1, withdrawn.json().at("/key/otherKeyArns").size(), withdrawn.out());
        assertTrue(withdrawn.json().at("/key/otherKeyArns/0").asText().contains(":eu-west-2:"), withdrawn.out());
        assertEquals(1, withdrawn.json().at("/key/grants").size(), withdrawn.out());
        advised(withdrawn, "revoke it with: (.*)");
        var again = Script.run(new ShareKmsKey().commandLine(), "--key-id", alias, "--account-ids", "444455556666",
                "--remove");
        assertEquals("unchanged", again.status(), again.err());
        assertEquals(0, again.json().at("/key/grants").size(), again.out());
    }

    @Test
    void aSecurityGroupIsMadeInMotoAndThenUnchanged() throws Exception {
        useMoto();
        String vpc;
        try (var ec2 = Ec2Client.create()) {
            vpc = ec2.createVpc(r -> r.cidrBlock("10.20.0.0/16")).vpc().vpcId();
        }
        var arguments = new String[] {"--vpc-id", vpc, "--cidrs", "10.20.0.0/16", "2001:db8::/32", "--tags",
                "Team=Payments"};
        var first = Script.run(new CreateEndpointSecurityGroup().commandLine(), arguments);
        assertEquals(0, first.exitCode(), first.err());
        assertEquals("created", first.status());
        var second = Script.run(new CreateEndpointSecurityGroup().commandLine(), arguments);
        assertEquals("unchanged", second.status(), second.out() + second.err());
        assertEquals("unchanged", Script.run(new CreateEndpointSecurityGroup().commandLine(), "--vpc-id", vpc).status(),
                "the VPC's own network by default");
    }

    @Test
    void endpointsAreMadeInMotoAndThenUnchanged() throws Exception {
        useMoto();
        String vpc;
        String group;
        try (var ec2 = Ec2Client.create()) {
            vpc = ec2.createVpc(r -> r.cidrBlock("10.20.0.0/16")).vpc().vpcId();
            ec2.createSubnet(r -> r.vpcId(vpc).availabilityZone(REGION + "a").cidrBlock("10.20.1.0/24"));
            ec2.createSubnet(r -> r.vpcId(vpc).availabilityZone(REGION + "b").cidrBlock("10.20.2.0/24"));
            group = ec2.createSecurityGroup(r -> r.vpcId(vpc).groupName("endpoints").description("for endpoints"))
                    .groupId();
        }
        var arguments = new String[] {"--vpc-id", vpc, "--security-group-ids", group, "--tags", "Team=Payments"};
        var refused = Script.run(new CreateVpcEndpoint().commandLine(), arguments); // a new VPC has no DNS hostnames
        assertEquals(1, refused.exitCode(), refused.out());
        advised(refused, "turn on what is off with: (.*), or use");
        var first = Script.run(new CreateVpcEndpoint().commandLine(), arguments);
        assertEquals(0, first.exitCode(), first.err());
        assertEquals("created", first.status());
        var second = Script.run(new CreateVpcEndpoint().commandLine(), arguments);
        assertEquals("unchanged", second.status(), second.out() + second.err());
        assertEquals(first.json().at("/endpoints/0/vpcEndpointId"), second.json().at("/endpoints/0/vpcEndpointId"));
        assertEquals(2, second.json().at("/endpoints/0/subnetIds").size());
    }

    /**
     * Runs the command that a message names as the way out, in moto, which knows operations that the scripts never
     * call.
     */
    static void advised(Script.Run refused, String pattern) {
        Program.needsAwsCli();
        var command = Pattern.compile(pattern).matcher(refused.err());
        assertTrue(command.find(), refused.err());
        var environment = new TreeMap<>(Script.environment(aws));
        environment.put("AWS_ENDPOINT_URL", motoEndpoint);
        var output = Program.run(Path.of("."), environment, "bash", "-c", command.group(1));
        assertEquals(0, output.exitCode(), () -> command.group(1) + ": " + output.err());
    }

    @Test
    void theAdviceForAKeyThatIsToBeDeletedKeepsIt() throws Exception {
        useMoto();
        var arguments = new String[] {"--alias", "alias/" + name};
        var key = Script.run(new CreateKmsKey().commandLine(), arguments).json().at("/key/keyId").asText();
        try (var kms = KmsClient.create()) {
            kms.scheduleKeyDeletion(r -> r.keyId(key).pendingWindowInDays(7));
        }
        var refused = Script.run(new CreateKmsKey().commandLine(), arguments);
        assertEquals(1, refused.exitCode(), refused.out());
        advised(refused, "keep it with: (.*)");
        assertEquals("unchanged", Script.run(new CreateKmsKey().commandLine(), arguments).status());
    }

    @Test
    void nothingIsAttachedInMotoWhichHasNoSimulator() throws Exception {
        useMoto();
        try (var iam = IamClient.builder().region(Region.of(REGION)).build()) {
            iam.createRole(
                    r -> r.roleName(name).assumeRolePolicyDocument("{\"Version\":\"2012-10-17\",\"Statement\":[]}"));
            var run = Script.run(new ApplyBranchDeny().commandLine(), "--branches", "main", "--all-repositories",
                    "--role-names", name);
            assertEquals(1, run.exitCode(), run.out());
            assertEquals("", run.out());
            assertEquals(1, run.err().lines().count(), run.err());
            assertTrue(run.err().contains("role/" + name), run.err());
            assertEquals(List.of(), iam.listRolePolicies(r -> r.roleName(name)).policyNames(),
                    "not proved, so not attached");
        }
    }

    /** moto decides by the policy, and its endpoint has no TLS: whoever tries the policy is denied everything. */
    @Test
    void aBucketForBackupsIsMadeAndLockedInMoto() throws Exception {
        useMoto();
        var run = Script.run(new CreateBackupBucket().commandLine(), "--bucket", name, "--writer-accounts",
                "444455556666", "--retention-days", "400", "--expire-after-days", "430");
        assertEquals("created", run.status(), run.err());
        assertTrue(run.err().contains("the policy could not be tried"), run.err());
        try (var s3 = S3Client.create()) {
            assertEquals("Enabled", s3.getBucketVersioning(r -> r.bucket(name)).statusAsString());
            assertEquals(400, s3.getObjectLockConfiguration(r -> r.bucket(name)).objectLockConfiguration().rule()
                    .defaultRetention().days());
            assertEquals(2, s3.getBucketLifecycleConfiguration(r -> r.bucket(name)).rules().size());
            assertEquals(8, Meaning.parse(s3.getBucketPolicy(r -> r.bucket(name)).policy()).path("Statement").size());
        }
    }

    /** The project that a test has watched, of a role that moto does not ask for. */
    static void createMotosProject(CodeBuildClient codebuild, String name) {
        codebuild.createProject(r -> r.name(name).serviceRole("arn:aws:iam::123456789012:role/Builds")
                .source(source -> source.type(SourceType.CODECOMMIT).location("https://example.com/v1/repos/app"))
                .artifacts(artifacts -> artifacts.type(ArtifactsType.NO_ARTIFACTS))
                .environment(environment -> environment.type(EnvironmentType.LINUX_CONTAINER)
                        .image("aws/codebuild/amazonlinux-x86_64-standard:6.0")
                        .computeType(ComputeType.BUILD_GENERAL1_SMALL)));
    }

    /**
     * moto answers TestEventPattern without a result, so that the embedded AWS does; all else is moto's. moto confirms
     * every subscription at once.
     */
    @Test
    void failedBuildsAreToldByMotosTopicRuleAndAlarmsAndThenNoMore() throws Exception {
        useMoto();
        var moto = URI.create(motoEndpoint);
        try (var forwarder = new Forwarder(
                head -> head.contains("AWSEvents.TestEventPattern") ? aws.endpoint() : moto);
                var codebuild = CodeBuildClient.create();
                var events = EventBridgeClient.create();
                var sns = SnsClient.create();
                var cloudwatch = CloudWatchClient.create()) {
            createMotosProject(codebuild, name);
            System.setProperty("aws.endpointUrlEventBridge", forwarder.endpoint().toString());
            aws.clearCalls();
            var arguments = new String[] {"--project-names", name, "--topic-name", name, "--emails",
                    "operations@example.com", "--max-silence", "30h"};
            var first = Script.run(new NotifyBuildFailures().commandLine(), arguments);
            assertEquals(0, first.exitCode(), first.err());
            assertEquals("created", first.status());
            assertEquals(Set.of("events:TestEventPattern"), aws.calls().stream().map(Call::name).collect(toSet()));
            var topic = first.json().at("/topic/topicArn").asText();
            var policy = Meaning.parse(sns.getTopicAttributes(r -> r.topicArn(topic)).attributes().get("Policy"));
            assertEquals(Set.of("BuildEvents", "BuildAlarms"), policy.path("Statement").valueStream()
                    .map(one -> one.path("Sid").asText()).filter(sid -> sid.startsWith("Build")).collect(toSet()));
            assertEquals("operations@example.com",
                    sns.listSubscriptionsByTopic(r -> r.topicArn(topic)).subscriptions().get(0).endpoint());
            var rule = "build-failures-" + name;
            assertEquals(name, Meaning.parse(events.describeRule(r -> r.name(rule)).eventPattern())
                    .at("/detail/project-name/0").asText());
            assertEquals(List.of(topic),
                    events.listTargetsByRule(r -> r.rule(rule)).targets().stream().map(Target::arn).toList());
            var alarms = Stream.of("build-failed-", "build-silent-", "build-undelivered-").map(kind -> kind + name)
                    .toList();
            var shown = cloudwatch.describeAlarms(r -> r.alarmNames(alarms)).metricAlarms().stream()
                    .collect(toMap(MetricAlarm::alarmName, alarm -> alarm));
            assertEquals(Set.copyOf(alarms), shown.keySet());
            shown.values().forEach(alarm -> assertEquals(List.of(topic), alarm.alarmActions()));
            assertEquals(30, shown.get("build-silent-" + name).evaluationPeriods());
            assertEquals("FILL(m1,0)", shown.get("build-silent-" + name).metrics().stream()
                    .map(MetricDataQuery::expression).filter(Objects::nonNull).findFirst().orElse(""));

            var second = Script.run(new NotifyBuildFailures().commandLine(), arguments);
            assertEquals("unchanged", second.status(), second.out() + second.err());
            events.removeTargets(r -> r.rule(rule).ids("topic"));
            cloudwatch.deleteAlarms(r -> r.alarmNames("build-failed-" + name));
            var mended = Script.run(new NotifyBuildFailures().commandLine(), arguments);
            assertEquals(List.of("target", "alarm"), fields(mended), mended.err());

            var removed = Script.run(new NotifyBuildFailures().commandLine(), "--project-names", name, "--remove");
            assertEquals("deleted", removed.status(), removed.err());
            assertEquals(List.of(), events.listRules(r -> r.namePrefix(rule)).rules());
            assertEquals(List.of(), cloudwatch.describeAlarms(r -> r.alarmNames(alarms)).metricAlarms());
            assertThrows(NotFoundException.class, () -> sns.getTopicAttributes(r -> r.topicArn(topic)));
        } finally {
            System.clearProperty("aws.endpointUrlEventBridge");
        }
    }

    /** The toolkit's repository is the embedded AWS's, of which moto's CodeBuild only keeps the address. */
    @Test
    void theBackupIsScheduledInMotoAndThenUnchanged() throws Exception {
        useMoto();
        var toolkit = aws.codecommit.createRepository(name).commit("refs/heads/main", "buildspec.yml",
                "version: 0.2\nphases: {}\n");
        System.setProperty("aws.endpointUrlCodeCommit", aws.endpoint().toString());
        try (var codebuild = CodeBuildClient.create();
                var events = EventBridgeClient.create();
                var iam = IamClient.builder().region(Region.of(REGION)).build()) {
            var project = "backup" + System.nanoTime() % 1_000_000;
            var arguments = new String[] {"--project-name", project, "--bucket", name, "--bucket-owner",
                    "444455556666", "--source-repository", name, "--shards", "6", "--on-push"};
            var first = Script.run(new ScheduleBackup().commandLine(), arguments);
            assertEquals(0, first.exitCode(), first.err());
            assertEquals("created", first.status());
            var made = codebuild.batchGetProjects(r -> r.names(project, project + "-push")).projects();
            assertEquals(2, made.size());
            assertEquals(toolkit.resolve("refs/heads/main").name(), made.get(0).sourceVersion());
            assertEquals(List.of(project, project), made.stream().map(one -> one.serviceRole().replaceAll(
                    ".*:role/(.*)-eu-west-1", "$1")).toList());
            var shards = project + "-shards-";
            assertEquals(Map.of(shards + 1, 5, shards + 2, 1, project + "-verify", 1, project + "-push", 1),
                    events.listRules(r -> r.namePrefix(project)).rules().stream().collect(toMap(Rule::name,
                            rule -> events.listTargetsByRule(r -> r.rule(rule.name())).targets().size())));
            assertEquals("cron(0 4 * * ? *)", events.describeRule(r -> r.name(shards + 2)).scheduleExpression());
            assertEquals(List.of("backup"), iam.listRolePolicies(r -> r.roleName(project + "-" + REGION))
                    .policyNames());

            var second = Script.run(new ScheduleBackup().commandLine(), arguments);
            assertEquals("unchanged", second.status(), second.out() + second.err());
            events.removeTargets(r -> r.rule(shards + 2).ids("shard-6"));
            var mended = Script.run(new ScheduleBackup().commandLine(), arguments);
            assertEquals(List.of("targets"), fields(mended), mended.err());
            var fewer = Script.run(new ScheduleBackup().commandLine(), "--project-name", project, "--bucket", name,
                    "--bucket-owner", "444455556666", "--shards", "1", "--no-on-push");
            assertEquals("updated", fewer.status(), fewer.err());
            assertEquals(List.of(project),
                    events.listRules(r -> r.namePrefix(project)).rules().stream().map(Rule::name).toList());

            var removed = Script.run(new ScheduleBackup().commandLine(), "--project-name", project, "--remove");
            assertEquals("deleted", removed.status(), removed.err());
            assertEquals(List.of(), events.listRules(r -> r.namePrefix(project)).rules());
            assertEquals(List.of(), codebuild.batchGetProjects(r -> r.names(project)).projects());
            assertThrows(NoSuchEntityException.class, () -> iam.getRole(r -> r.roleName(project + "-" + REGION)));
        } finally {
            System.clearProperty("aws.endpointUrlCodeCommit");
        }
    }

    /** CodeCommit's builds get a zip, which moto's S3 keeps: another run finds it by its checksum. */
    @Test
    void theZipOfTheToolkitIsPutIntoMotosBucketOnce() throws Exception {
        useMoto();
        try (var s3 = S3Client.create(); var codebuild = CodeBuildClient.create()) {
            s3.createBucket(r -> r.bucket(name).createBucketConfiguration(c -> c.locationConstraint(REGION)));
            s3.putBucketVersioning(r -> r.bucket(name).versioningConfiguration(c -> c.status("Enabled")));
            var project = "zip" + System.nanoTime() % 1_000_000;
            var arguments = new String[] {"--project-name", project, "--bucket", name, "--bucket-owner",
                    "444455556666", "--source-bucket", name};
            var first = Script.run(Jobs.withZip().commandLine(), arguments);
            assertEquals(0, first.exitCode(), first.err());
            assertEquals("created", first.status());
            var version = first.json().at("/project/sourceVersion").asText();
            assertEquals(version, s3.headObject(r -> r.bucket(name).key(project + "/toolkit.zip")).versionId());
            assertEquals(version,
                    codebuild.batchGetProjects(r -> r.names(project)).projects().get(0).sourceVersion());
            var second = Script.run(Jobs.withZip().commandLine(), arguments);
            assertEquals("unchanged", second.status(), second.out() + second.err());
        }
    }

    /** CodeCommit and Git from the embedded AWS, S3 from moto. */
    @Test
    void aBackupGoesIntoMotosBucketAndIsThenUnchanged() throws Exception {
        Program.needs("git", "git", "--version");
        useMoto();
        Script.use(aws);
        System.setProperty("aws.endpointUrlS3", motoEndpoint);
        try (var s3 = S3Client.create()) {
            s3.createBucket(r -> r.bucket(name).createBucketConfiguration(c -> c.locationConstraint(REGION)));
            var repo = repositoryWithHistory(6 << 20);
            var script = new BackupToS3();
            script.partSize = 5 << 20;
            var first = Script.run(script.commandLine(), "--bucket", name, "--repository-names", name);
            assertEquals(0, first.exitCode(), first.err());
            assertEquals("created", first.status());
            var second = Script.run(new BackupToS3().commandLine(), "--bucket", name, "--repository-names", name);
            assertEquals("unchanged", second.status(), second.out() + second.err());
            var objects = s3.listObjectsV2(r -> r.bucket(name).prefix(Backups.ROOT + REGION + "/")).contents();
            assertEquals(2, objects.size(), objects.toString());
            for (var object : objects) {
                s3.getObject(r -> r.bucket(name).key(object.key()),
                        temp.resolve(object.key().replaceAll(".*/[^.]*\\.", "")));
            }
            restoresAs(repo, Files.readAllBytes(temp.resolve("manifest.json.gz")), temp.resolve("full.bundle"));
            assertTrue(Files.size(temp.resolve("full.bundle")) > 5 << 20, "more than one part");
        } finally {
            System.clearProperty("aws.endpointUrlS3");
        }
    }
}
