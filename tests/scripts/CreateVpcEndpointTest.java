import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Call;
import localaws.Fault;
import localaws.LocalAws;
import localaws.PolicyEvaluator;
import localaws.PolicyEvaluator.Decision;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.services.ec2.model.Ec2Exception;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class CreateVpcEndpointTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";
    static final String DEVELOPER = "arn:aws:iam::111122223333:role/teams/Developer";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    final LocalAws aws = LocalAws.start();
    String region = REGION;
    /** How long the script waits for what is there, and does not show yet. */
    Duration showPatience = Duration.ofHours(1);
    String vpc;
    String group;
    /** Two subnets in zone a, one in b; c has none. */
    List<String> inA;
    String inB;

    @BeforeEach
    void start() {
        Script.use(aws);
        aws.onCall(ALL::add);
        aws.iam.createRole("teams/Developer");
        aws.iam.createRole("x");
        aws.ec2.timesPending = 1; // so that waits are short
        makeVpc(REGION);
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    void makeVpc(String region) {
        this.region = region;
        vpc = aws.ec2.createVpc(region, "10.0.0.0/16", "2001:db8:1234:1a00::/56");
        group = aws.ec2.createSecurityGroup(vpc, "codecommit-endpoints");
        aws.ec2.authorizeIngress(group, "tcp", 443, 443, "10.0.0.0/16");
        inA = Stream.of("10.0.0.0/24", "10.0.1.0/24").map(cidr -> aws.ec2.createSubnet(vpc, region + "a", cidr))
                .sorted().toList();
        inB = aws.ec2.createSubnet(vpc, region + "b", "10.0.2.0/24");
    }

    CreateVpcEndpoint script() {
        var script = new CreateVpcEndpoint();
        script.showPatience = showPatience;
        return script;
    }

    Script.Run run(String... args) {
        return Script.run(script().commandLine(),
                Stream.concat(Stream.of("--vpc-id", vpc, "--security-group-ids", group, "--region", region),
                        Arrays.stream(args)).toArray(String[]::new));
    }

    /** The VPC's only endpoint for the service. */
    JsonNode endpoint(String service) {
        var found = aws.ec2.endpoints(vpc).stream().filter(e -> e.path("ServiceName").asText().endsWith("." + service))
                .toList();
        assertEquals(1, found.size(), found.toString());
        return found.get(0);
    }

    static String id(JsonNode endpoint) {
        return endpoint.path("VpcEndpointId").asText();
    }

    static String tags(JsonNode endpoint) {
        var tags = new TreeMap<String, String>();
        endpoint.path("Tags").forEach(tag -> tags.put(tag.path("Key").asText(), tag.path("Value").asText()));
        return tags.toString();
    }

    static JsonNode policy(JsonNode endpoint) {
        try {
            return JSON.readTree(endpoint.path("PolicyDocument").asText());
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    static Set<String> sids(JsonNode endpoint) {
        var statements = policy(endpoint).path("Statement");
        return (statements.isArray() ? statements.valueStream() : Stream.of(statements))
                .map(s -> s.path("Sid").asText()).collect(Collectors.toSet());
    }

    static Set<String> texts(JsonNode list) {
        return list.valueStream().map(JsonNode::asText).collect(Collectors.toSet());
    }

    static Set<String> groups(JsonNode endpoint) {
        return endpoint.path("Groups").valueStream().map(g -> g.path("GroupId").asText()).collect(Collectors.toSet());
    }

    static List<String> fields(Script.Run run) {
        return run.json().path("changes").valueStream().map(c -> c.path("field").asText()).toList();
    }

    long count(String call) {
        return aws.calls().stream().filter(c -> c.name().equals(call)).count();
    }

    @Test
    void makesBothEndpointsAndWaits() {
        aws.ec2.timesPending = 3;
        var run = run("--tags", "Team=Payments", "Cost=12");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        var api = endpoint("codecommit");
        var git = endpoint("git-codecommit");
        for (var endpoint : List.of(api, git)) {
            assertEquals("available", endpoint.path("State").asText());
            assertEquals("Interface", endpoint.path("VpcEndpointType").asText());
            assertEquals(Set.of(inA.get(0), inB), texts(endpoint.path("SubnetIds")), "the lowest id of each zone");
            assertEquals(Set.of(group), groups(endpoint));
            assertTrue(endpoint.path("PrivateDnsEnabled").asBoolean());
            assertEquals("{Cost=12, Name=codecommit-" + (endpoint == api ? "api" : "git")
                    + ", Purpose=VPC-Endpoint-Access, Service=CodeCommit, Team=Payments}", tags(endpoint));
            assertTrue(run.err().contains(id(endpoint) + " is available after "), run.err());
            assertTrue(
                    run.json().path("undo").asText().contains(
                            "aws ec2 delete-vpc-endpoints --vpc-endpoint-ids " + id(endpoint) + " --region eu-west-1"),
                    run.out());
        }
        assertEquals(Set.of("ApiOnRepositories", "ApiWithoutRepository"), sids(api));
        assertEquals(Set.of("GitOnRepositories"), sids(git));
        var shown = run.json().path("endpoints");
        assertEquals(List.of("api", "git"), shown.valueStream().map(e -> e.path("service").asText()).toList());
        assertEquals(List.of(id(api), id(git)),
                shown.valueStream().map(e -> e.path("vpcEndpointId").asText()).toList());
        assertEquals("com.amazonaws.eu-west-1.git-codecommit", shown.at("/1/serviceName").asText());
        assertEquals("available", shown.at("/1/state").asText());
        assertTrue(shown.at("/1/dnsEntries/0/dnsName").asText()
                .matches(id(git) + "-\\w+\\.git-codecommit\\.eu-west-1\\.vpce\\.amazonaws\\.com"), run.out());
        assertEquals("111122223333", run.json().path("account").asText());
        assertEquals(2, count("ec2:CreateVpcEndpoint"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "--services git --no-private-dns --policy default --tags A=b",
            "--policy restricted --principals arn:aws:iam::111122223333:role/x --repository-names a b --private-dns"})
    void aSecondRunChangesNothing(String options) {
        var args = options.isEmpty() ? new String[0] : options.split(" ");
        assertEquals("created", run(args).status());
        aws.clearCalls();
        var second = run(args);
        Script.assertUnchanged(second, aws);
        assertEquals("", second.err());
        assertEquals("unchanged",
                run().json().at("/endpoints/" + (options.contains("git") ? 1 : 0) + "/status").asText(),
                "what is not given stays as it is");
    }

    @Test
    void aDryRunReadsOnlyAndPrintsThePolicies() {
        var planned = run("--dry-run");
        assertEquals(0, planned.exitCode(), planned.err());
        assertEquals("would-create", planned.status());
        assertEquals(List.of("endpoint", "endpoint"), fields(planned));
        assertEquals("arn:aws:codecommit:eu-west-1:111122223333:*",
                planned.json().at("/endpoints/0/policy/Statement/0/Resource").asText());
        assertEquals("[\"" + inA.get(0) + "\",\"" + inB + "\"]",
                planned.json().at("/endpoints/1/subnetIds").toString());
        assertFalse(planned.json().has("undo"));
        assertFalse(planned.json().at("/endpoints/0").has("vpcEndpointId"));
        Script.assertReadsOnly(aws);
        run("--availability-zones", "eu-west-1b", "--no-private-dns");
        aws.clearCalls();
        var second = aws.ec2.createSecurityGroup(vpc, "second");
        var update = run("--dry-run", "--services", "git", "--private-dns", "--policy", "restricted", "--principals",
                DEVELOPER, "--tags", "A=b", "--security-group-ids", second);
        assertEquals("would-update", update.status(), update.err());
        assertEquals(List.of("subnetIds", "securityGroupIds", "privateDnsEnabled", "policy", "tags"), fields(update));
        assertEquals(DEVELOPER,
                update.json().at("/endpoints/0/policy/Statement/0/Condition/ArnEquals/aws:PrincipalArn/0").asText());
        assertFalse(update.json().has("undo"));
        Script.assertReadsOnly(aws);
    }

    @Test
    void takesOneFitSubnetInEachZoneThatTheServiceOffers() {
        aws.ec2.setUnsupportedZones(REGION, "git-codecommit", "eu-west-1b");
        // shared ones, several pages of them
        for (var i = 0; i < 12; i++)
            aws.ec2.createSubnet(vpc, "eu-west-1c", "10.0." + (10 + i) + ".0/24", "444455556666");
        aws.ec2.createSubnet(vpc, "eu-west-1c", "2001:db8:1234:1a01::/64");
        assertEquals("created", run().status());
        assertEquals(Set.of(inA.get(0), inB), texts(endpoint("codecommit").path("SubnetIds")));
        assertEquals(Set.of(inA.get(0)), texts(endpoint("git-codecommit").path("SubnetIds")));
        var inC = aws.ec2.createSubnet(vpc, "eu-west-1c", "10.0.99.0/24");
        var more = run();
        assertEquals("updated", more.status(), more.err());
        assertEquals(Set.of(inA.get(0), inB, inC), texts(endpoint("codecommit").path("SubnetIds")),
                "a zone that came later");
        assertEquals(Set.of(inA.get(0), inC), texts(endpoint("git-codecommit").path("SubnetIds")));
    }

    @Test
    void findsItsEndpointsBehindManyPages() {
        var other = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        for (var i = 0; i < 12; i++) aws.ec2.createEndpoint(i < 6 ? other : vpc, "sts", false, List.of(), List.of());
        assertEquals("created", run().status());
        assertEquals("unchanged", run().status());
        assertEquals(8, aws.ec2.endpoints(vpc).size());
        assertTrue(count("ec2:DescribeVpcEndpoints") > 10, "pages");
    }

    @Test
    void keepsTheSubnetThatAnEndpointHasInAZone() {
        var api = aws.ec2.createEndpoint(vpc, "codecommit", true, List.of(inA.get(1)), List.of(group));
        var run = run("--services", "api");
        assertEquals("updated", run.status(), run.err());
        assertEquals(Set.of(inA.get(1), inB), texts(aws.ec2.endpoint(api).path("SubnetIds")));
    }

    @Test
    void takesTheSubnetsAndZonesThatAreNamed() {
        assertFails("are both in eu-west-1a: use one subnet per zone", "--subnet-ids", inA.get(0), inA.get(1));
        assertEquals("created", run("--subnet-ids", inA.get(1)).status());
        assertEquals(Set.of(inA.get(1)), texts(endpoint("codecommit").path("SubnetIds")));
        assertEquals("unchanged", run("--subnet-ids", inA.get(1)).status());
        assertEquals("updated", run("--availability-zones", "eu-west-1b").status());
        assertEquals(Set.of(inA.get(1), inB), texts(endpoint("git-codecommit").path("SubnetIds")), "others stay");
        var other = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        var foreign = aws.ec2.createSubnet(other, "eu-west-1c", "10.0.0.0/24");
        var shared = aws.ec2.createSubnet(vpc, "eu-west-1c", "10.0.9.0/24", "444455556666");
        aws.ec2.setUnsupportedZones(REGION, "git-codecommit", "eu-west-1c");
        var inC = aws.ec2.createSubnet(vpc, "eu-west-1c", "10.0.10.0/24");
        assertFails("aws ec2 modify-vpc-endpoint --vpc-endpoint-id " + id(endpoint("codecommit"))
                + " --remove-subnet-ids " + inA.get(1), "--subnet-ids", inA.get(0));
        assertFails(foreign + " is not a subnet of " + vpc, "--subnet-ids", foreign);
        assertFails(shared + " is shared by account 444455556666", "--subnet-ids", shared);
        assertFails("is offered in eu-west-1a, eu-west-1b only", "--subnet-ids", inC);
        assertFails("is offered in eu-west-1a, eu-west-1b only", "--availability-zones", "eu-west-1c");
        assertFails("has no subnet that an endpoint can use: one of this account, with IPv4, in eu-west-1d",
                "--availability-zones", "eu-west-1d", "--services", "api");
    }

    /** With exit code 1, one line that says this, and nothing changed. */
    void assertFails(String saying, String... args) {
        // makes the zone known
        if (saying.contains("eu-west-1d")) aws.ec2.setUnsupportedZones(REGION, "dynamodb", "eu-west-1d");
        aws.clearCalls();
        var run = run(args);
        assertEquals(1, run.exitCode(), run.toString());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().startsWith("create-vpc-endpoint: ") && run.err().contains(saying), run.err());
        Script.assertReadsOnly(aws);
    }

    @Test
    void bringsAnExistingEndpointInLineInOneCallAndKeepsWhatOthersAdded() {
        run("--policy", "default", "--tags", "A=b", "Theirs=stays", "--availability-zones", "eu-west-1a");
        var git = id(endpoint("git-codecommit"));
        var api = id(endpoint("codecommit"));
        aws.ec2.setEndpoint(git, "PolicyDocument",
                """
                {"Version": "2012-10-17", "Statement": [
                    {"Sid": "GitOnRepositories", "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"},
                    {"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "codecommit:GitPush",
                        "Resource": "*"}]}
                """);
        var second = aws.ec2.createSecurityGroup(vpc, "second");
        aws.clearCalls();
        var run = run("--policy", "default", "--tags", "A=c", "--security-group-ids", second);
        assertEquals("updated", run.status(), run.err());
        assertEquals(List.of("updated", "updated"),
                run.json().path("endpoints").valueStream().map(e -> e.path("status").asText()).toList());
        assertEquals(2, count("ec2:ModifyVpcEndpoint"));
        assertEquals(0, count("ec2:CreateVpcEndpoint"));
        assertTrue(run.err().contains("git " + git + ": kept what is not this script's: policy statement Theirs\n"),
                run.err());
        assertEquals(Set.of("GitOnRepositories", "Theirs"), sids(aws.ec2.endpoint(git)));
        assertFalse(policy(aws.ec2.endpoint(git)).toString().contains("\"Action\":\"*\""),
                policy(aws.ec2.endpoint(git)).toString());
        assertEquals(Set.of(group, second), groups(aws.ec2.endpoint(git)));
        assertEquals(Set.of(inA.get(0), inB), texts(aws.ec2.endpoint(api).path("SubnetIds")));
        assertEquals("{A=c, Name=codecommit-git, Purpose=VPC-Endpoint-Access, Service=CodeCommit, Theirs=stays}",
                tags(aws.ec2.endpoint(git)));
        assertEquals("available", aws.ec2.endpoint(git).path("State").asText());
        var undo = "aws ec2 modify-vpc-endpoint --cli-input-json '{\"PolicyDocument\":\"{";
        assertTrue(run.json().path("undo").asText().contains(undo), run.out());
        assertTrue(run.json().path("undo").asText().contains("}\",\"RemoveSecurityGroupIds\":[\"" + second
                + "\"],\"RemoveSubnetIds\":[\"" + inB + "\"],\"VpcEndpointId\":\"" + git
                + "\"}' --region eu-west-1"), run.out());
        assertEquals("unchanged", run("--policy", "default", "--tags", "A=c", "--security-group-ids", second).status());
        var only = Script.run(script().commandLine(), "--vpc-id", vpc, "--security-group-ids", second, "--subnet-ids",
                inB);
        assertEquals("unchanged", only.status(), only.err());
        assertTrue(only.err().contains("kept what is not this script's: " + group + ", " + inA.get(0)), only.err());
    }

    @Test
    void changesBetweenPoliciesAndLeavesOneAloneThatIsNotAskedFor() {
        var open = aws.ec2.createEndpoint(vpc, "git-codecommit", true, List.of(inA.get(0), inB), List.of(group));
        assertEquals(List.of("policy"), fields(run("--services", "git")));
        assertEquals(Set.of("GitOnRepositories"), sids(aws.ec2.endpoint(open)),
                "AWS's policy that allows everything gives way");
        assertEquals("updated", run("--services", "git", "--policy", "restricted", "--principals", DEVELOPER,
                "--repository-names", "payments").status());
        assertTrue(policy(aws.ec2.endpoint(open)).toString()
                .contains("arn:aws:codecommit:eu-west-1:111122223333:payments"));
        assertEquals("unchanged", run("--services", "git").status());
        assertEquals("updated", run("--services", "git", "--policy", "default").status());
        assertFalse(policy(aws.ec2.endpoint(open)).toString().contains("PrincipalArn"));
        aws.ec2.setEndpoint(open, "PolicyDocument",
                "{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"*\"}}");
        var theirs = run("--services", "git");
        assertEquals("unchanged", theirs.status());
        assertTrue(theirs.err().contains("kept what is not this script's: policy statement (no Sid)"), theirs.err());
    }

    /**
     * What each endpoint's policy lets through: the principal, the action, the resource, and whether each of the four
     * policies allows it.
     */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            // api default, api restricted, git default, git restricted
            "role/teams/Developer | GetRepository              | payments  | true  | true  | false | false",
            "role/teams/Developer | BatchGetRepositories       | payments  | true  | true  | false | false",
            "role/teams/Developer | CreateCommit               | payments  | true  | true  | false | false",
            "role/teams/Developer | UpdateRepositoryEncryptionKey | payments | true | true | false | false",
            "role/teams/Developer | TagResource                | payments  | true  | true  | false | false",
            "role/teams/Developer | GetRepository              | other     | true  | false | false | false",
            "role/teams/Developer | ListRepositories           | *         | true  | true  | false | false",
            "role/teams/Developer | CreateApprovalRuleTemplate | *         | true  | true  | false | false",
            "role/teams/Developer | GitPull                    | payments  | false | false | true  | true",
            "role/teams/Developer | GitPush                    | payments  | false | false | true  | true",
            "role/teams/Developer | GitPush                    | other     | false | false | true  | false",
            "role/Other           | GetRepository              | payments  | true  | false | false | false",
            "role/Other           | ListRepositories           | *         | true  | false | false | false",
            "role/Other           | GitPull                    | payments  | false | false | true  | false",
            "foreign              | GetRepository              | payments  | false | false | false | false",
            "foreign              | ListRepositories           | *         | false | false | false | false",
            "foreign              | GitPull                    | payments  | false | false | false | false",
            "role/teams/Developer | GetRepository              | elsewhere | false | false | false | false",
    })
    void thePoliciesLetThroughWhatTheEndpointCarriesAndNobodyElse(String principal, String action, String resource,
            boolean apiDefault, boolean apiRestricted, boolean gitDefault, boolean gitRestricted) {
        var byDefault = run("--dry-run").json();
        var restricted = run("--dry-run", "--policy", "restricted", "--principals", DEVELOPER, "--repository-names",
                "payments", "docs").json();
        var account = principal.equals("foreign") ? "444455556666" : "111122223333";
        var arn = "arn:aws:iam::" + account + ":" + (principal.equals("foreign") ? "role/teams/Developer" : principal);
        var session = "arn:aws:sts::" + account + ":assumed-role/" + arn.substring(arn.lastIndexOf('/') + 1) + "/me";
        var on = resource.equals("*") ? "*"
                : resource.equals("elsewhere") ? "arn:aws:codecommit:us-east-1:111122223333:payments"
                        : "arn:aws:codecommit:eu-west-1:111122223333:" + resource;
        var request = new PolicyEvaluator.Request(session, "codecommit:" + action, on,
                Map.of("aws:PrincipalAccount", List.of(account), "aws:PrincipalArn", List.of(arn)));
        var expected = List.of(apiDefault, gitDefault, apiRestricted, gitRestricted);
        var actual = Stream.of(byDefault, restricted).flatMap(document -> document.path("endpoints").valueStream())
                .map(e -> PolicyEvaluator
                        .evaluate(request, List.of(PolicyEvaluator.Policy.of("endpoint", e.path("policy").toString())))
                        .decision() == Decision.allowed)
                .toList();
        assertEquals(expected, actual);
    }

    /** What each access lets through: endpoint, action, resource, and whether each of the three allows it. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            // full, read, git
            "api | GetRepository                    | 111122223333:payments | true  | true  | true",
            "api | BatchGetRepositories             | 111122223333:payments | true  | true  | true",
            "api | GetFile                          | 111122223333:payments | true  | true  | false",
            "api | BatchDescribeMergeConflicts      | 111122223333:payments | true  | true  | false",
            "api | EvaluatePullRequestApprovalRules | 111122223333:payments | true  | true  | false",
            "api | ListRepositories                 | *                     | true  | true  | true",
            "api | ListApprovalRuleTemplates        | *                     | true  | true  | false",
            "api | CreateApprovalRuleTemplate       | *                     | true  | false | false",
            "api | CreateCommit                     | 111122223333:payments | true  | false | false",
            "api | PutFile                          | 111122223333:payments | true  | false | false",
            "api | MergeBranchesBySquash            | 111122223333:payments | true  | false | false",
            "api | BatchAssociateApprovalRuleTemplateWithRepositories | 111122223333:payments | true | false | false",
            "api | TestRepositoryTriggers           | 111122223333:payments | true  | false | false",
            "api | TagResource                      | 111122223333:payments | true  | false | false",
            "git | GitPull                          | 111122223333:payments | true  | true  | true",
            "git | GitPush                          | 111122223333:payments | true  | false | true",
            "git | GitPull                          | 444455556666:payments | true  | true  | true",
            "git | GitPull                          | 444455556666:other    | false | false | false",
    })
    void anAccessLetsThroughWhatItsNameSays(String service, String action, String resource, boolean full, boolean read,
            boolean git) {
        var on = resource.equals("*") ? "*" : "arn:aws:codecommit:eu-west-1:" + resource;
        var request = new PolicyEvaluator.Request("arn:aws:sts::111122223333:assumed-role/Developer/me",
                "codecommit:" + action, on, Map.of("aws:PrincipalAccount", List.of("111122223333"),
                        "aws:PrincipalArn", List.of(DEVELOPER)));
        var actual = Stream.of("full", "read", "git").map(access -> run("--dry-run", "--services", service, "--policy",
                "restricted", "--principals", DEVELOPER, "--repository-names", "payments",
                "arn:aws:codecommit:eu-west-1:444455556666:payments", "--access", access).json()
                        .at("/endpoints/0/policy").toString())
                .map(policy -> PolicyEvaluator.evaluate(request,
                        List.of(PolicyEvaluator.Policy.of("endpoint", policy))).decision() == Decision.allowed)
                .toList();
        assertEquals(List.of(full, read, git), actual);
    }

    @Test
    void changesTheAccessAndNothingTwice() {
        var arguments = new ArrayList<>(List.of("--policy", "restricted", "--principals", DEVELOPER,
                "--repository-names", "arn:aws:codecommit:eu-west-1:444455556666:payments", "payments"));
        assertEquals("created", run(arguments.toArray(String[]::new)).status());
        arguments.addAll(List.of("--access", "read"));
        var read = run(arguments.toArray(String[]::new));
        assertEquals("updated", read.status(), read.err());
        assertEquals(List.of("policy", "policy"), fields(read));
        assertFalse(policy(endpoint("git-codecommit")).toString().contains("GitPush"));
        aws.clearCalls();
        Script.assertUnchanged(run(arguments.toArray(String[]::new)), aws);
    }

    @Test
    void leavesOutAndNamesAZoneInWhichTheVpcHasNoSubnet() {
        aws.ec2.setUnsupportedZones(REGION, "dynamodb", "eu-west-1d"); // makes the zone known
        var zones = new String[] {"--availability-zones", "eu-west-1a", "eu-west-1d", "eu-west-1b"};
        var planned = run(Stream.concat(Stream.of(zones), Stream.of("--dry-run")).toArray(String[]::new));
        assertEquals(3, planned.exitCode());
        assertEquals("would-create", planned.status());
        var run = run(zones);
        assertEquals(3, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(1, run.err().lines().filter(line -> line.startsWith("create-vpc-endpoint: eu-west-1d is left out: "
                + vpc + " has no subnet in it")).count(), run.err());
        for (var endpoint : run.json().path("endpoints")) {
            assertEquals("[\"eu-west-1d\"]", endpoint.path("zonesLeftOut").toString());
            assertEquals(Set.of(inA.get(0), inB), texts(endpoint.path("subnetIds")));
        }
        aws.clearCalls();
        var second = run(zones);
        assertEquals(3, second.exitCode());
        assertEquals("unchanged", second.status());
        Script.assertReadsOnly(aws);
        var inD = aws.ec2.createSubnet(vpc, "eu-west-1d", "10.0.77.0/24");
        var complete = run(zones);
        assertEquals(0, complete.exitCode(), complete.err());
        assertTrue(texts(endpoint("codecommit").path("SubnetIds")).contains(inD));
        assertFalse(complete.json().at("/endpoints/0").has("zonesLeftOut"));
    }

    static String statement(String sid, String effect, String action) {
        return ("{'Sid': '" + sid + "', 'Effect': '" + effect + "', 'Principal': '*', 'Action': 'codecommit:" + action
                + "', 'Resource': '*'}").replace('\'', '"');
    }

    @Test
    void theStatementsOfAFileAreThePolicyOrAreAddedToIt(@TempDir Path directory) throws Exception {
        var deny = Files.writeString(directory.resolve("deny.json"), statement("NoPush", "Deny", "GitPush")).toString();
        var own = Files.writeString(directory.resolve("own.json"), "[" + statement("Readers", "Allow", "Get*") + ","
                + statement("Pullers", "Allow", "GitPull") + "]").toString();
        assertEquals("created", run("--policy", "default", "--policy-file", deny).status());
        assertEquals(Set.of("GitOnRepositories", "NoPush"), sids(endpoint("git-codecommit")));
        aws.clearCalls();
        Script.assertUnchanged(run("--policy", "default", "--policy-file", deny), aws);
        assertEquals("unchanged", run().status(), "what is not given stays as it is");
        aws.ec2.setEndpoint(id(endpoint("git-codecommit")), "PolicyDocument",
                "{\"Version\":\"2012-10-17\",\"Statement\":[" + statement("GitOnRepositories", "Allow", "*") + ","
                        + statement("NoPush", "Deny", "GitPull") + ","
                + statement("Theirs", "Deny", "GitPush") + "]}");
        var mended = run("--policy", "default", "--policy-file", deny);
        assertEquals("updated", mended.status(), mended.err());
        assertTrue(mended.err().contains(": kept what is not this script's: policy statement Theirs\n"), mended.err());
        assertFalse(policy(endpoint("git-codecommit")).toString().contains("codecommit:*"));
        var alone = run("--policy-file", own);
        assertEquals("updated", alone.status(), alone.err());
        assertEquals(Set.of("Readers", "Pullers", "NoPush", "Theirs"), sids(endpoint("git-codecommit")),
                "in the place of the script's own statements; those of others stay");
        aws.clearCalls();
        Script.assertUnchanged(run("--policy-file", own), aws);
        assertEquals("unchanged", run().status());
        Script.assertReadsOnly(aws);
    }

    @Test
    void aPolicyFileThatLetsNoOneThroughOrIsNoneIsRefused(@TempDir Path directory) throws Exception {
        for (var refused : Map.of(statement("NoPush", "Deny", "GitPush"), "must allow something",
                statement("a b", "Allow", "GitPush"), "\"Sid\": \"Auditors\"",
                statement("X", "Allow", "GitPush").replace("codecommit:", "ec2:"), "such as codecommit:GitPull",
                statement("X", "Allow", "GitPush").replace("\"*\"}", "\"arn:aws:s3:::x\"}"),
                "such as arn:aws:codecommit:eu-west-1:111122223333:payments").entrySet()) {
            aws.clearCalls();
            Script.assertRefused(run("--policy-file", Files.writeString(directory.resolve("policy.json"),
                    refused.getKey()).toString()), refused.getValue(), aws);
        }
    }

    /** Every operation of CodeCommit's API gets through the API endpoint, those without a resource type on "*". */
    @Test
    void theApiPolicyKnowsEveryOperation() throws Exception {
        var policy = run("--dry-run", "--services", "api").json().at("/endpoints/0/policy").toString();
        var withoutResource = Set.of("CreateApprovalRuleTemplate", "DeleteApprovalRuleTemplate",
                "GetApprovalRuleTemplate", "ListApprovalRuleTemplates", "ListRepositories",
                "ListRepositoriesForApprovalRuleTemplate", "UpdateApprovalRuleTemplateContent",
                "UpdateApprovalRuleTemplateDescription", "UpdateApprovalRuleTemplateName");
        var operations = Arrays.stream(software.amazon.awssdk.services.codecommit.CodeCommitClient.class.getMethods())
                .filter(m -> m.getParameterCount() == 1
                        && m.getParameterTypes()[0].getSimpleName().endsWith("Request"))
                .map(m -> m.getParameterTypes()[0].getSimpleName().replaceAll("Request$", ""))
                .collect(Collectors.toSet());
        assertTrue(operations.size() >= 79, operations.toString());
        for (var operation : operations) {
            var on = withoutResource.contains(operation) ? "*" : "arn:aws:codecommit:eu-west-1:111122223333:payments";
            var request = new PolicyEvaluator.Request(DEVELOPER, "codecommit:" + operation, on,
                    Map.of("aws:PrincipalAccount", List.of("111122223333")));
            assertEquals(
                    Decision.allowed, PolicyEvaluator
                            .evaluate(request, List.of(PolicyEvaluator.Policy.of("endpoint", policy))).decision(),
                    operation);
        }
    }

    @Test
    void privateDnsNeedsTheVpcsDns() {
        aws.ec2.setDnsAttributes(vpc, false, false);
        assertFails("aws ec2 modify-vpc-attribute --vpc-id " + vpc
                + " --enable-dns-support --region eu-west-1 && aws ec2 modify-vpc-attribute --vpc-id " + vpc
                + " --enable-dns-hostnames");
        assertEquals("created", run("--no-private-dns").status());
        assertFalse(endpoint("codecommit").path("PrivateDnsEnabled").asBoolean());
        assertEquals("unchanged", run().status(), "what is not given stays as it is");
        assertFails("--enable-dns-hostnames", "--private-dns");
        aws.ec2.setDnsAttributes(vpc, true, true);
        assertEquals(List.of("privateDnsEnabled", "privateDnsEnabled"), fields(run("--private-dns")));
        assertTrue(endpoint("codecommit").path("PrivateDnsEnabled").asBoolean());
        assertTrue(run("--no-private-dns").json().path("undo").asText().contains("{\"PrivateDnsEnabled\":true,"));
        assertFalse(endpoint("git-codecommit").path("PrivateDnsEnabled").asBoolean());
    }

    @Test
    void looksUpTheNamesOfTheServicesInEachPartition() {
        for (var region : List.of("cn-north-1", "us-gov-west-1")) {
            makeVpc(region);
            var run = run();
            assertEquals("created", run.status(), run.err());
            var partition = region.startsWith("cn") ? "aws-cn" : "aws-us-gov";
            assertTrue(policy(endpoint("codecommit")).toString()
                    .contains("arn:" + partition + ":codecommit:" + region + ":111122223333:*"));
            assertEquals((region.startsWith("cn") ? "cn." : "") + "com.amazonaws." + region + ".codecommit",
                    run.json().at("/endpoints/0/serviceName").asText());
            assertEquals("unchanged", run().status());
        }
        var fips = run("--fips");
        assertEquals("created", fips.status(), fips.err());
        assertEquals("com.amazonaws.us-gov-west-1.git-codecommit-fips",
                fips.json().at("/endpoints/1/serviceName").asText());
        assertEquals(4, aws.ec2.endpoints(vpc).size());
        makeVpc(REGION);
        assertFails("AWS offers no codecommit-fips endpoint in eu-west-1: leave --fips out", "--fips");
    }

    @Test
    void saysWhatIsMissingBeforeAnythingIsMade() {
        var other = aws.ec2.createSecurityGroup(aws.ec2.createVpc(REGION, "10.0.0.0/16"), "x");
        assertFails(other + " belongs to vpc-", "--security-group-ids", other);
        assertFails("InvalidGroup.NotFound: The security group 'sg-0fedcba9876543210' does not exist",
                "--security-group-ids", "sg-0fedcba9876543210");
        vpc = "vpc-0fedcba9876543210";
        assertFails("InvalidVpcID.NotFound: The vpc ID 'vpc-0fedcba9876543210' does not exist");
        vpc = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        group = aws.ec2.createSecurityGroup(vpc, "x");
        aws.ec2.authorizeIngress(group, "tcp", 0, 65535, "10.0.0.0/16");
        assertFails("has no subnet that an endpoint can use");
    }

    @Test
    void saysThatAGroupLetsNobodyIn() {
        var closed = aws.ec2.createSecurityGroup(vpc, "closed");
        var run = Script.run(script().commandLine(), "--vpc-id", vpc, "--security-group-ids", closed, "--dry-run");
        assertTrue(run.err().contains(closed
                + " let no one in on port 443; create one with: ./jbang create-endpoint-security-group --vpc-id "
                + vpc),
                run.err());
    }

    @Test
    void saysWhyAnEndpointFailedAndHowToDeleteIt() {
        aws.ec2.failNextEndpoint(REGION, "InsufficientFreeAddressesInSubnet", "There are no free addresses");
        var run = run();
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of("failed", "created"),
                run.json().path("endpoints").valueStream().map(e -> e.path("status").asText()).toList());
        var failed = id(endpoint("codecommit"));
        var deletion = failed
                + " is failed: InsufficientFreeAddressesInSubnet: There are no free addresses; delete it with: aws "
                + "ec2 delete-vpc-endpoints --vpc-endpoint-ids "
                + failed + " --region eu-west-1";
        assertTrue(run.err().contains("create-vpc-endpoint: api " + failed + ": " + deletion), run.err());
        assertTrue(run.json().at("/endpoints/0/error").asText().contains(deletion), run.out());
        assertEquals("available", endpoint("git-codecommit").path("State").asText());
        assertFails(deletion);
        aws.ec2.failNextEndpoint(REGION, "X", "y");
        makeVpc(REGION);
        var alone = run("--services", "git");
        assertEquals(1, alone.exitCode());
        assertEquals("", alone.out());
        assertTrue(
                alone.err()
                        .contains("aws ec2 delete-vpc-endpoints --vpc-endpoint-ids " + id(endpoint("git-codecommit"))),
                alone.err());
    }

    @Test
    void waitsUntilTheDeadlineAndOnWithTheNextRun() {
        aws.ec2.timesPending = 1000;
        var late = run("--timeout", "1s");
        assertEquals(1, late.exitCode(), late.err());
        assertEquals("", late.out());
        for (var endpoint : aws.ec2.endpoints(vpc)) {
            assertTrue(late.err().contains(id(endpoint)
                    + ": still pending after 1s; the same command again waits on; this takes back what was changed: "
                    + "aws ec2 delete-vpc-endpoints --vpc-endpoint-ids "
                    + id(endpoint)), late.err());
        }
        aws.ec2.timesPending = 2;
        for (var endpoint : aws.ec2.endpoints(vpc)) aws.ec2.setTimesPending(id(endpoint), 3);
        var on = run();
        assertEquals("unchanged", on.status(), on.err());
        assertTrue(on.err().contains("waiting up to 10m for "), on.err());
        assertEquals("available", on.json().at("/endpoints/1/state").asText());
    }

    @Test
    void doesNotWaitWhenToldButBeforeItChangesWhatIsPending() {
        aws.ec2.timesPending = 2;
        var made = run("--no-wait", "--availability-zones", "eu-west-1a");
        assertEquals("created", made.status(), made.err());
        assertEquals("pending", made.json().at("/endpoints/0/state").asText());
        assertEquals("pending", endpoint("git-codecommit").path("State").asText());
        var changed = run("--no-wait", "--services", "api");
        assertEquals("updated", changed.status(), changed.err());
        assertEquals("pending", endpoint("codecommit").path("State").asText());
        assertEquals("pending", changed.json().at("/endpoints/0/state").asText());
        assertEquals(2, changed.json().at("/endpoints/0/subnetIds").size());
        var planned = run("--dry-run");
        assertEquals("unchanged", planned.json().at("/endpoints/0/status").asText());
        assertFalse(planned.err().contains("waiting"), planned.err());
    }

    /** EC2 answers in lower case, its documentation has other spellings. */
    @ParameterizedTest
    @CsvSource({"available, true", "Available, true", "partial, true", "Pending, true", "rejected, false",
            "Expired, false", "unheardOf, false"})
    void knowsTheStatesInEverySpelling(String state, boolean isUsable) {
        var api = aws.ec2.createEndpoint(vpc, "codecommit", true, List.of(inA.get(0), inB), List.of(group));
        run("--services", "api");
        aws.ec2.setEndpoint(api, "State", state);
        var run = run("--services", "api", "--dry-run");
        assertEquals(isUsable ? 0 : 1, run.exitCode(), run.err());
        assertEquals(isUsable ? "" : "create-vpc-endpoint: api: " + api + " is " + state + "; delete it with: aws ec2 "
                + "delete-vpc-endpoints --vpc-endpoint-ids " + api + " --region eu-west-1, then run the same command "
                + "again\n", run.err());
        assertEquals(isUsable ? state : "", isUsable ? run.json().at("/endpoints/0/state").asText() : run.out());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "InvalidParameter | private-dns-enabled cannot be set because there is already a conflicting DNS domain "
                    + "for codecommit.eu-west-1.amazonaws.com in the VPC vpc-1 | true",
            "InvalidParameter | Subnet subnet-1 does not belong to VPC vpc-1 | false",
            "UnauthorizedOperation | conflicting DNS domain | false"})
    void tellsAConflictOfPrivateDnsFromOtherRefusals(String code, String message, boolean isConflict) {
        var details = AwsErrorDetails.builder().errorCode(code).errorMessage(message).build();
        assertEquals(isConflict, CreateVpcEndpoint.isDnsConflict(Ec2Exception.builder().awsErrorDetails(details)
                .build()));
        assertFalse(CreateVpcEndpoint.isDnsConflict(SdkClientException.create("conflicting DNS domain")));
    }

    /** Principals that IAM does not have, and what is said of them. */
    @ParameterizedTest
    @CsvSource({"role/Ghost, IAM does not know arn:aws:iam::111122223333:role/Ghost",
            "role/Developer, IAM does not know arn:aws:iam::111122223333:role/Developer; it has "
                    + "arn:aws:iam::111122223333:role/teams/Developer",
            "user/staff/alice, IAM does not know arn:aws:iam::111122223333:user/staff/alice; it has "
                    + "arn:aws:iam::111122223333:user/alice"})
    void aPrincipalThatIamDoesNotHaveIsRefusedBeforeAnythingIsAsked(String principal, String message) {
        aws.iam.createUser("alice");
        for (var dryRun : new String[][] {{}, {"--dry-run"}}) {
            aws.clearCalls();
            var run = run(Stream.concat(Stream.of("--policy", "restricted", "--principals", DEVELOPER,
                    "arn:aws:iam::111122223333:" + principal), Arrays.stream(dryRun)).toArray(String[]::new));
            assertEquals(1, run.exitCode());
            assertEquals("create-vpc-endpoint: " + message + "\n", run.err());
            assertEquals(0, count("ec2:DescribeVpcAttribute"));
            Script.assertReadsOnly(aws);
        }
    }

    @Test
    void waitsForSomebodyElsesChangeToEnd() {
        var api = aws.ec2.createEndpoint(vpc, "codecommit", true, List.of(inA.get(0)), List.of(group));
        var looks = new AtomicInteger();
        var run = Gate.inStep(aws, call -> {
            ALL.add(call);
            // the first look is for the plan, the second comes just before the change
            if (call.name().equals("ec2:DescribeVpcEndpoints") && looks.incrementAndGet() == 2) {
                aws.ec2.setEndpoint(api, "State", "pending");
                aws.ec2.setTimesPending(api, 3);
            }
        }, () -> run("--services", "api"));
        assertEquals("updated", run.status(), run.err());
        assertTrue(aws.calls().stream().anyMatch(c -> "OperationInProgress".equals(c.error())));
        assertEquals(Set.of(inA.get(0), inB), texts(aws.ec2.endpoint(api).path("SubnetIds")));
    }

    @Test
    void goesOnWithTheEndpointThatSomebodyElseMakesMeanwhile() {
        var run = Gate.inStep(aws, call -> {
            ALL.add(call);
            if (call.name().equals("ec2:DescribeVpcEndpoints") && aws.ec2.endpoints(vpc).isEmpty())
                aws.ec2.createEndpoint(vpc, "codecommit", true, List.of(inA.get(1)), List.of(group));
        }, () -> run("--services", "api"));
        assertEquals("updated", run.status(), run.err());
        assertTrue(run.err().contains("someone else created " + id(endpoint("codecommit")) + " in the meantime"),
                run.err());
        assertEquals(id(endpoint("codecommit")), run.json().at("/endpoints/0/vpcEndpointId").asText());
        assertEquals(Set.of(inA.get(1), inB), texts(endpoint("codecommit").path("SubnetIds")));
    }

    @Test
    void twoOperatorsAtOnceMakeOneEndpointEach() {
        var both = Stream.of(1, 2).map(i -> CompletableFuture.supplyAsync(() -> run())).toList();
        for (var one : both) assertEquals(0, one.join().exitCode(), one.join().err());
        assertEquals(2, aws.ec2.endpoints(vpc).size());
    }

    @Test
    void anEndpointThatIsGoingIsNamedAsInTheWay() {
        var going = aws.ec2.createEndpoint(vpc, "codecommit", true, List.of(inA.get(0)), List.of(group));
        aws.ec2.setEndpoint(going, "State", "deleting");
        aws.ec2.setTimesPending(going, 1000);
        showPatience = Duration.ofMillis(100);
        var run = run("--services", "api");
        assertEquals(1, run.exitCode());
        assertTrue(
                run.err().contains("conflicting DNS domain")
                        && run.err().contains("aws ec2 describe-vpc-endpoints --filters Name=vpc-id,Values=" + vpc),
                run.err());
        assertEquals(1, run.err().lines().count(), run.err());
    }

    @Test
    void namesOthersForTheSameService() {
        var dns = aws.ec2.createEndpoint(vpc, "codecommit", true, List.of(inA.get(0), inB), List.of(group));
        var other = aws.ec2.createEndpoint(vpc, "codecommit", false, List.of(inA.get(0)), List.of(group));
        var run = run("--services", "api");
        assertEquals(dns, run.json().at("/endpoints/0/vpcEndpointId").asText());
        assertTrue(run.err().contains("left alone, for the same service: " + other + " (available)"), run.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint", "ec2:CreateTags"})
    void aLostAnswerIsSuccess(String call) {
        if (!call.endsWith("CreateVpcEndpoint"))
            aws.ec2.createEndpoint(vpc, "git-codecommit", true, List.of(inA.get(0)), List.of(group));
        aws.inject(Fault.on(call).loseAnswer());
        var run = run("--services", "git", "--tags", "A=b");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(call.endsWith("CreateVpcEndpoint") ? "created" : "updated", run.status());
        assertEquals(Set.of(inA.get(0), inB), texts(endpoint("git-codecommit").path("SubnetIds")));
        assertEquals(Set.of("GitOnRepositories"), sids(endpoint("git-codecommit")));
        assertTrue(tags(endpoint("git-codecommit")).startsWith("{A=b"), tags(endpoint("git-codecommit")));
    }

    @Test
    void anEndpointWhoseAnswersAreAllLostIsFound() {
        aws.inject(Fault.on("ec2:CreateVpcEndpoint").times(3).loseAnswer());
        var run = run("--services", "git");
        assertEquals("created", run.status(), run.err());
        assertEquals(id(endpoint("git-codecommit")), run.json().at("/endpoints/0/vpcEndpointId").asText());
        assertEquals(3, count("ec2:CreateVpcEndpoint"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"sts:GetCallerIdentity", "ec2:DescribeVpcAttribute", "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets", "ec2:DescribeVpcEndpointServices",
            "ec2:DescribeVpcEndpoints", "ec2:CreateVpcEndpoint"})
    void throttlingIsSurvived(String call) {
        aws.inject(Fault.on(call).times(2).throttle());
        var run = run();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
    }

    @ParameterizedTest
    @CsvSource({"sts:GetCallerIdentity, 500", "ec2:DescribeVpcAttribute, 500", "ec2:DescribeSecurityGroups, 500",
            "ec2:DescribeSubnets, 500", "ec2:DescribeVpcEndpointServices, 500",
            "ec2:DescribeVpcEndpoints, 500", "ec2:CreateVpcEndpoint, 500", "ec2:ModifyVpcEndpoint, 500",
            "ec2:CreateTags, 500", "ec2:DescribeSubnets, cut", "ec2:DescribeVpcEndpoints, cut",
            "ec2:CreateVpcEndpoint, cut", "ec2:DescribeVpcEndpointServices, flip", "ec2:DescribeVpcEndpoints, flip",
            "ec2:CreateVpcEndpoint, flip", "ec2:CreateVpcEndpoint, denied",
            "ec2:ModifyVpcEndpoint, denied"})
    void anyOtherFaultLeavesNothingHalfMadeUnnamed(String call, String fault) {
        if (call.matches(".*(Modify|CreateTags).*"))
            aws.ec2.createEndpoint(vpc, "git-codecommit", true, List.of(inA.get(0)), List.of(group));
        var existing = aws.ec2.endpoints(vpc).stream().map(CreateVpcEndpointTest::id).toList();
        aws.inject(switch (fault) {
            case "500" -> Fault.on(call).always().serverError();
            case "cut" -> Fault.on(call).always().cut(20);
            case "flip" -> Fault.on(call).always().flip(1);
            default -> Fault.on(call).always().error(403, "UnauthorizedOperation",
                    "You are not authorized to perform this operation.");
        });
        if (fault.equals("500")) showPatience = Duration.ofMillis(100);
        var run = run("--services", "git", "--tags", "A=b");
        if (run.exitCode() == 0) { // an answer that could not be read, and the endpoint was found
            assertTrue(call.equals("ec2:CreateVpcEndpoint") && !fault.equals("500"), run.toString());
            assertEquals(id(endpoint("git-codecommit")), run.json().at("/endpoints/0/vpcEndpointId").asText());
        } else {
            assertEquals(1, run.exitCode(), run.err());
            assertEquals("", run.out());
        }
        for (var left : aws.ec2.endpoints(vpc))
            assertTrue(existing.contains(id(left)) || run.err().contains(id(left)), run.err());
        aws.clearFaults();
        assertEquals(0, run("--services", "git", "--tags", "A=b").exitCode());
        assertEquals(Set.of(inA.get(0), inB), texts(endpoint("git-codecommit").path("SubnetIds")));
    }

    @Test
    void whenEc2DoesNotAnswerAnyMoreWhatWasMadeIsNamed() {
        aws.inject(Fault.on("ec2:DescribeVpcEndpoints").after(1).always().serverError());
        var run = run();
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        for (var endpoint : aws.ec2.endpoints(vpc)) {
            var line = run.err().lines().filter(said -> said.contains(id(endpoint) + ": InternalFailure")).findFirst();
            assertTrue(line.orElse(run.err()).endsWith("; the same command again waits on; this takes back what was "
                    + "changed: aws ec2 delete-vpc-endpoints --vpc-endpoint-ids " + id(endpoint)
                    + " --region eu-west-1"), run.err());
        }
        assertEquals(2, aws.ec2.endpoints(vpc).size());
        aws.clearFaults();
        assertEquals("unchanged", run().status());
    }

    /** What both had before is not lost with the document, which a failed run does not print. */
    @Test
    void whenEc2DoesNotAnswerAnyMoreWhatWasChangedCanBeTakenBack() {
        for (var service : List.of("codecommit", "git-codecommit")) {
            aws.ec2.createEndpoint(vpc, service, true, List.of(inA.get(0)), List.of(group));
        }
        aws.inject(Fault.on("ec2:DescribeVpcEndpoints").after(3).always().error(403, "UnauthorizedOperation", "no"));
        var run = run("--tags", "A=b");
        assertEquals(1, run.exitCode());
        assertEquals("", run.out());
        for (var endpoint : aws.ec2.endpoints(vpc)) {
            var line = run.err().lines().filter(said -> said.contains(id(endpoint) + ": UnauthorizedOperation: no"))
                    .findFirst().orElse(run.err());
            assertTrue(line.contains("; the same command again waits on; this takes back what was changed: aws ec2 "
                    + "delete-tags ") && line.contains(" && aws ec2 modify-vpc-endpoint "), line);
            assertTrue(line.contains("\"RemoveSubnetIds\":[\"" + inB + "\"],\"VpcEndpointId\":\"" + id(endpoint)),
                    line);
        }
    }

    @Test
    void looksAtAllEndpointsAtOnce() {
        assertEquals("created", run("--services", "api").status());
        var lists = count("ec2:DescribeVpcEndpoints");
        makeVpc(REGION);
        aws.clearCalls();
        assertEquals("created", run().status());
        assertEquals(lists, count("ec2:DescribeVpcEndpoints"), "for two endpoints as often as for one");
    }

    @Test
    void oneEndpointThatFailsDoesNotHideTheOther() {
        aws.inject(Fault.on("ec2:CreateVpcEndpoint").error(400, "VpcEndpointLimitExceeded", "too many"));
        var run = run();
        assertEquals(3, run.exitCode(), run.err());
        assertEquals(List.of("failed", "created"),
                run.json().path("endpoints").valueStream().map(e -> e.path("status").asText()).toList());
        assertTrue(run.err().contains("create-vpc-endpoint: api: VpcEndpointLimitExceeded: too many"), run.err());
        assertEquals(1, aws.ec2.endpoints(vpc).size());
    }

    /**
     * Arguments after a right --vpc-id and --security-group-ids, with | between them; then what the message has to
     * show.
     */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--services|https; [api, git]",
            "--services|API; [api, git]",
            "--services; SERVICE",
            "--subnet-ids|eu-west-1a; subnet-0123456789abcdef0",
            "--subnet-ids|subnet-12; subnet-0123456789abcdef0",
            "--availability-zones|us-east-1a; eu-west-1a",
            "--availability-zones|euw1-az1; eu-west-1a",
            "--availability-zones|eu-west-1; eu-west-1a",
            "--availability-zones|eu-west-1a|--subnet-ids|subnet-0123456789abcdef0; mutually exclusive",
            "--policy|open; default or restricted",
            "--policy|restricted; --principals arn:aws:iam::111122223333:role/Developer",
            "--principals|arn:aws:iam::111122223333:role/x; --policy restricted",
            "--policy|default|--repository-names|x; --policy restricted",
            "--access|read; --policy restricted",
            "--policy|restricted|--principals|arn:aws:iam::111122223333:role/x|--access|write; [full, read, git]",
            "--policy|restricted|--principals|arn:aws:iam::111122223333:role/x|--repository-names|"
                    + "arn:aws:codecommit:eu-west-2:444455556666:x; arn:aws:codecommit:eu-west-1:444455556666:payments",
            "--policy|restricted|--principals|arn:aws:iam::111122223333:role/x|--repository-names|"
                    + "arn:aws:codecommit:eu-west-1:444455556666:*; payments",
            "--policy|restricted|--principals|*; arn:aws:iam::111122223333:role/Developer",
            "--policy|restricted|--principals|111122223333; arn:aws:iam::111122223333:role/Developer",
            "--policy|restricted|--principals|arn:aws:iam::111122223333:role/*; "
                    + "arn:aws:iam::111122223333:role/Developer",
            "--policy|restricted|--principals|arn:aws:iam::111122223333:root; arn:aws:iam::111122223333:role/Developer",
            "--policy|restricted|--principals|arn:aws-cn:iam::111122223333:role/x; "
                    + "arn:aws:iam::111122223333:role/Developer",
            "--policy|restricted|--principals|arn:aws:sts::111122223333:assumed-role/x/y; "
                    + "arn:aws:iam::111122223333:role/Developer",
            "--policy|restricted|--principals|arn:aws:iam::111122223333:role/x|--repository-names|x.git; payments",
            "--policy|restricted|--principals|arn:aws:iam::111122223333:role/x|--repository-names|pay*; payments",
            "--policy|restricted|--principals|arn:aws:iam::111122223333:role/x|--repository-names|${aws:username}; "
                    + "payments",
            "--timeout|soon; 90s, 10m or 1h",
            "--timeout|10; 90s, 10m or 1h",
            "--timeout|0s; 90s, 10m or 1h",
            "--timeout|-5m; 90s, 10m or 1h",
            "--timeout|5m|--no-wait; mutually exclusive",
            "--tags|Team; Team=Payments",
            "--vpc-id|vpc-1; --vpc-id",
            "--region|Ireland; eu-west-1",
            "--fips|--nowait; --no-wait",
            "surplus; surplus",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        var all = new ArrayList<>(
                List.of("--vpc-id", "vpc-0123456789abcdef0", "--security-group-ids", "sg-0123456789abcdef0"));
        all.addAll(List.of(arguments.split("\\|")));
        Script.assertRefused(Script.run(script().commandLine(), all.toArray(String[]::new)), right, aws);
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--vpc-id|vpc-0123456789abcdef0; --security-group-ids=ID",
            "--security-group-ids|sg-0123456789abcdef0; --vpc-id=ID",
            "--vpc-id|vpc|--security-group-ids|sg-0123456789abcdef0; vpc-0123456789abcdef0",
            "--vpc-id|vpc-0123456789abcdef0|--security-group-ids|default; sg-0123456789abcdef0",
            "--vpc-id|vpc-0123456789abcdef0|--security-group-ids|sg-0123456789abcdef0,sg-0123456789abcdef1; "
                    + "sg-0123456789abcdef0",
    })
    void whatIsNeededIsAskedFor(String arguments, String right) {
        Script.assertRefused(Script.run(script().commandLine(), arguments.split("\\|")), right, aws);
    }

    @Test
    void aPolicyThatIsTooLongIsRefused() {
        var names = Stream.iterate(1, i -> i + 1).limit(300).map(i -> "repository-with-a-rather-long-name-" + i);
        var args = Stream.concat(Stream.of("--vpc-id", vpc, "--security-group-ids", group, "--policy", "restricted",
                "--principals", DEVELOPER, "--repository-names"), names);
        Script.assertRefused(Script.run(script().commandLine(), args.toArray(String[]::new)), "EC2 takes 20480", aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("CreateVpcEndpoint", ALL, Set.of("ec2:CreateTags"));
    }
}
