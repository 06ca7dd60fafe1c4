import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import localaws.Call;
import localaws.Fault;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class CreateEndpointSecurityGroupTest {
    static final String REGION = "eu-west-1";
    /** All calls of this class's runs, to compare with the IAM actions that the script names. */
    static final List<Call> ALL = new CopyOnWriteArrayList<>();

    final LocalAws aws = LocalAws.start();
    String vpc;

    @AfterEach
    void stop() {
        aws.close();
    }

    @BeforeEach
    void start() {
        Script.use(aws);
        aws.onCall(ALL::add);
        vpc = aws.ec2.createVpc(REGION, "10.0.0.0/16", "10.1.0.0/16", "2001:db8:1234:1a00::/56");
    }

    Script.Run run(String... args) {
        return runIn(vpc, args);
    }

    static Script.Run runIn(String vpc, String... args) {
        return Script.run(new CreateEndpointSecurityGroup().commandLine(), with(vpc, args));
    }

    static String[] with(String vpc, String... args) {
        var all = new ArrayList<>(List.of("--vpc-id", vpc));
        all.addAll(List.of(args));
        return all.toArray(String[]::new);
    }

    /** The group's rules as "tcp 443-443 10.0.0.0/16", sorted. */
    static Set<String> rules(JsonNode group) {
        var rules = new TreeSet<String>();
        for (var permission : group.path("IpPermissions")) {
            for (var kind : List.of("IpRanges/CidrIp", "Ipv6Ranges/CidrIpv6", "UserIdGroupPairs/GroupId",
                    "PrefixListIds/PrefixListId")) {
                for (var source : permission.path(kind.split("/")[0])) {
                    rules.add(permission.path("IpProtocol").asText() + " " + permission.path("FromPort").asText() + "-"
                            + permission.path("ToPort").asText() + " " + source.path(kind.split("/")[1]).asText());
                }
            }
        }
        return rules;
    }

    static Set<String> https(String... cidrs) {
        var rules = new TreeSet<String>();
        for (var cidr : cidrs) rules.add("tcp 443-443 " + cidr);
        return rules;
    }

    JsonNode group() {
        assertEquals(1, aws.ec2.groups(vpc).size(), aws.ec2.groups(vpc).toString());
        return aws.ec2.groups(vpc).get(0);
    }

    String tags() {
        var tags = new TreeMap<String, String>();
        group().path("Tags").forEach(tag -> tags.put(tag.path("Key").asText(), tag.path("Value").asText()));
        return tags.toString();
    }

    /** Of the rules for networks; empty for none. */
    Set<String> descriptions() {
        var descriptions = new TreeSet<String>();
        for (var permission : group().path("IpPermissions")) {
            for (var kind : List.of("IpRanges", "Ipv6Ranges")) {
                permission.path(kind).forEach(source -> descriptions.add(source.path("Description").asText("")));
            }
        }
        return descriptions;
    }

    @Test
    void letsInAllOfTheVpcsOwnNetworks() {
        // another VPC's is none of ours
        aws.ec2.createSecurityGroup(aws.ec2.createVpc(REGION, "10.9.0.0/16"), "codecommit-endpoints");
        var run = run("--tags", "Team=Payments", "Cost=12");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals("", run.err());
        assertEquals(https("10.0.0.0/16", "10.1.0.0/16", "2001:db8:1234:1a00::/56"), rules(group()));
        assertEquals(group().path("GroupId").asText(), run.json().at("/securityGroup/groupId").asText());
        assertEquals("codecommit-endpoints", group().path("GroupName").asText());
        assertEquals("[\"10.0.0.0/16\",\"10.1.0.0/16\",\"2001:db8:1234:1a00::/56\"]",
                run.json().at("/securityGroup/cidrs").toString());
        assertEquals("[]", run.json().at("/securityGroup/others").toString());
        assertEquals("111122223333", run.json().path("account").asText());
        assertEquals(REGION, run.json().path("region").asText());
        assertEquals("{Cost=12, Name=codecommit-endpoints, Purpose=VPC-Endpoint-Access, Service=CodeCommit,"
                + " Team=Payments}", tags());
        assertEquals(Set.of("HTTPS to the VPC endpoints of CodeCommit"), descriptions());
        assertEquals(
                "aws ec2 delete-security-group --group-id " + group().path("GroupId").asText() + " --region eu-west-1",
                run.json().path("undo").asText());
    }

    @Test
    void leavesOutNetworksThatTheVpcHasLost() {
        aws.ec2.disassociate(vpc, "10.1.0.0/16");
        aws.ec2.disassociate(vpc, "2001:db8:1234:1a00::/56");
        assertEquals("created", run().status());
        assertEquals(https("10.0.0.0/16"), rules(group()));
    }

    @Test
    void describesItsRulesAndReplacesADescriptionOnlyWhenTold() {
        var id = aws.ec2.createSecurityGroup(vpc, "codecommit-endpoints");
        aws.ec2.authorizeIngress(id, "tcp", 443, 443, "10.1.0.0/16");
        aws.ec2.authorizeIngress(id, "tcp", 22, 22, "10.1.0.0/16");
        var planned = run("--cidrs", "10.1.0.0/16", "--dry-run");
        assertEquals("would-update", planned.status(), planned.err());
        assertEquals("{\"resource\":\"codecommit-endpoints " + id + "\",\"field\":\"descriptions\",\"from\":"
                + "{\"10.1.0.0/16\":\"\"},\"to\":{\"10.1.0.0/16\":\"HTTPS to the VPC endpoints of CodeCommit\"}}",
                planned.json().at("/changes/0").toString());
        assertEquals(Set.of(""), descriptions());
        assertEquals("updated", run("--cidrs", "10.1.0.0/16").status());
        assertEquals(Set.of("", "HTTPS to the VPC endpoints of CodeCommit"), descriptions(), "SSH is not asked for");
        var told = run("--cidrs", "10.1.0.0/16", "2001:db8:1234:1a00::/56", "--rule-description", "Offices");
        assertEquals("updated", told.status(), told.err());
        assertEquals(Set.of("", "Offices"), descriptions());
        var undo = told.json().path("undo").asText();
        assertTrue(undo.startsWith("aws ec2 update-security-group-rule-descriptions-ingress --cli-input-json "
                + "'{\"GroupId\":\"" + id + "\",\"IpPermissions\":[{\"IpProtocol\":\"tcp\",\"FromPort\":443,"
                + "\"ToPort\":443,\"IpRanges\":[{\"Description\":"
                + "\"HTTPS to the VPC endpoints of CodeCommit\",\"CidrIp\":\"10.1.0.0/16\"}]}]}'"), undo);
        aws.clearCalls();
        Script.assertUnchanged(run("--cidrs", "10.1.0.0/16", "2001:db8:1234:1a00::/56"), aws);
        Script.assertUnchanged(run("--cidrs", "10.1.0.0/16", "--rule-description", "Offices"), aws);
    }

    @Test
    void theUsualTagsAreForNewGroupsAndNeverReplaceAnything() {
        run("--group-name", "Git (all)", "--tags", "Purpose=Git");
        assertEquals("{Name=Git -all-, Purpose=Git, Service=CodeCommit}", tags());
        aws.clearCalls();
        Script.assertUnchanged(run("--group-name", "Git (all)"), aws);
        var other = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        var id = aws.ec2.createSecurityGroup(other, "codecommit-endpoints");
        aws.ec2.authorizeIngress(id, "tcp", 443, 443, "10.0.0.0/16");
        assertEquals("updated", runIn(other).status());
        assertEquals("[]", aws.ec2.groups(other).get(0).path("Tags").toString());
    }

    @Test
    void aNewGroupThatCouldNotBeFinishedIsNamedWithWhatTakesItBack() {
        aws.inject(Fault.on("ec2:AuthorizeSecurityGroupIngress").error(403, "UnauthorizedOperation", "not authorized"));
        var run = run();
        assertEquals(1, run.exitCode());
        assertTrue(run.err().startsWith("create-endpoint-security-group: codecommit-endpoints: UnauthorizedOperation: ")
                && run.err().endsWith("; changed before that: securityGroup; this takes it back: aws ec2"
                        + " delete-security-group --group-id " + group().path("GroupId").asText()
                        + " --region eu-west-1\n"), run.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"",
            "--cidrs 192.0.2.0/24 2001:DB8:0:0::/32 --group-name Git --tags A=b --cidrs 198.51.100.7/32"})
    void aSecondRunChangesNothing(String options) {
        var args = options.isEmpty() ? new String[0] : options.split(" ");
        assertEquals("created", run(args).status());
        aws.clearCalls();
        var second = run(args);
        Script.assertUnchanged(second, aws);
        assertEquals("", second.err());
    }

    @Test
    void aNameThatDiffersByCaseIsTheSameGroup() {
        aws.ec2.createSecurityGroup(vpc, "CodeCommit-Endpoints");
        var run = run();
        assertEquals("updated", run.status(), run.err());
        assertEquals("CodeCommit-Endpoints", run.json().at("/securityGroup/groupName").asText());
        assertEquals(3, rules(group()).size());
    }

    @Test
    void findsItsGroupBehindManyPages() {
        for (var i = 0; i < 23; i++) aws.ec2.createSecurityGroup(vpc, "other-" + i);
        assertEquals("created", run().status());
        assertEquals("unchanged", run().status());
        assertEquals(24, aws.ec2.groups(vpc).size());
    }

    @Test
    void aDryRunReadsOnly() {
        var planned = run("--dry-run", "--cidrs", "10.0.0.0/8");
        assertEquals(0, planned.exitCode(), planned.err());
        assertEquals("would-create", planned.status());
        assertEquals(List.of("securityGroup", "cidrs"),
                planned.json().path("changes").valueStream().map(c -> c.path("field").asText()).toList());
        assertEquals("[\"10.0.0.0/8\"]", planned.json().at("/changes/1/to").toString());
        assertFalse(planned.json().has("undo"));
        assertEquals(List.of(), aws.ec2.groups(vpc));
        run();
        aws.clearCalls();
        var update = run("--dry-run", "--cidrs", "10.0.0.0/8", "--revoke-others", "--tags", "A=b");
        assertEquals("would-update", update.status());
        assertEquals(List.of("cidrs", "others", "tags"),
                update.json().path("changes").valueStream().map(c -> c.path("field").asText()).toList());
        assertFalse(update.json().has("undo"));
        Script.assertReadsOnly(aws);
        assertEquals(1, runIn("vpc-0fedcba9876543210", "--dry-run", "--cidrs", "10.0.0.0/8").exitCode());
    }

    @Test
    void addsWhatIsMissingAndKeepsWhatOthersAddedUnlessTold() {
        run("--tags", "A=file://b");
        var id = group().path("GroupId").asText();
        aws.ec2.authorizeIngress(id, "tcp", 22, 22, "192.0.2.0/24");
        aws.ec2.authorizeIngress(id, "tcp", 0, 65535, "10.0.0.0/16");
        aws.ec2.authorizeIngress(id, "tcp", 443, 443, "198.51.100.0/24");
        var kept = run("--cidrs", "10.0.0.0/16", "203.0.113.0/24", "2001:db8:1234:1a00::/56", "--tags", "A=c", "B=d");
        assertEquals("updated", kept.status(), kept.err());
        assertEquals(1, kept.err().lines().count());
        for (var other : List.of("tcp 22 from 192.0.2.0/24", "tcp 0-65535 from 10.0.0.0/16",
                "tcp 443 from 198.51.100.0/24", "tcp 443 from 10.1.0.0/16")) {
            assertTrue(kept.err().contains(other) && kept.out().contains(other), kept.toString());
        }
        assertEquals(7, rules(group()).size());
        assertTrue(tags().startsWith("{A=c, B=d, "), tags());
        assertEquals(List.of(
                "aws ec2 create-tags --cli-input-json '{\"Resources\":[\"" + id
                        + "\"],\"Tags\":[{\"Key\":\"A\",\"Value\":\"file://b\"}]}' --region eu-west-1",
                "aws ec2 delete-tags --cli-input-json '{\"Resources\":[\"" + id
                        + "\"],\"Tags\":[{\"Key\":\"B\"}]}' --region eu-west-1",
                "aws ec2 revoke-security-group-ingress --cli-input-json '{\"GroupId\":\"" + id
                        + "\",\"IpPermissions\":[{\"IpProtocol\":\"tcp\",\"FromPort\":443,\"ToPort\":443,"
                        + "\"IpRanges\":[{\"Description\":\"HTTPS to the VPC endpoints of CodeCommit\","
                        + "\"CidrIp\":\"203.0.113.0/24\"}]}]}' --region eu-west-1"),
                List.of(kept.json().path("undo").asText().split(" && ")));

        var revoked = run("--cidrs", "10.0.0.0/16", "203.0.113.0/24", "2001:db8:1234:1a00::/56", "--revoke-others");
        assertEquals("updated", revoked.status(), revoked.err());
        assertEquals("", revoked.err());
        assertEquals(https("10.0.0.0/16", "203.0.113.0/24", "2001:db8:1234:1a00::/56"), rules(group()));
        assertEquals("[]", revoked.json().at("/securityGroup/others").toString());
        assertEquals(1, aws.calls().stream().filter(c -> c.name().equals("ec2:RevokeSecurityGroupIngress")).count());
        assertTrue(revoked.json().path("undo").asText().startsWith(
                "aws ec2 authorize-security-group-ingress --cli-input-json '{\"GroupId\":\"" + id), revoked.out());
        assertEquals("unchanged",
                run("--cidrs", "10.0.0.0/16", "203.0.113.0/24", "2001:db8:1234:1a00::/56", "--revoke-others").status());
    }

    @Test
    void worksInOtherPartitions() {
        for (var region : List.of("cn-north-1", "us-gov-west-1")) {
            var other = aws.ec2.createVpc(region, "10.0.0.0/16");
            assertEquals("created", runIn(other, "--region", region).status());
            assertEquals(https("10.0.0.0/16"), rules(aws.ec2.groups(other).get(0)));
            assertEquals("unchanged", runIn(other, "--region", region).status());
        }
    }

    @Test
    void aMissingVpcIsNamedWithWhatToDo() {
        for (var options : List.of(new String[0], new String[] {"--cidrs", "10.0.0.0/8"})) {
            var run = runIn("vpc-0fedcba9876543210", options);
            assertEquals(1, run.exitCode());
            assertEquals("", run.out());
            assertTrue(run.err()
                    .startsWith("create-endpoint-security-group: vpc-0fedcba9876543210: InvalidVpcID.NotFound: ")
                    && run.err().contains("use --region"), run.err());
            assertEquals(1, run.err().lines().count());
        }
    }

    @Test
    void theWholeInternetIsLetInOnlyWhenTold() {
        assertEquals("created", run("--cidrs", "0.0.0.0/0", "::/0", "--allow-anywhere").status());
        assertEquals(https("0.0.0.0/0", "::/0"), rules(group()));
        assertEquals("created",
                run("--cidrs", "fc00::/7", "10.0.0.0/8", "2001:db8::/32", "--group-name", "private").status(),
                "all private addresses are not the internet");
    }

    @Test
    void twoOperatorsAtOnceMakeOneGroup() throws Exception {
        var both = List.of(CompletableFuture.supplyAsync(() -> run()), CompletableFuture.supplyAsync(() -> run()));
        var statuses = new TreeSet<String>();
        for (var one : both) {
            assertEquals(0, one.get().exitCode(), one.get().err());
            statuses.add(one.get().status());
        }
        assertEquals(3, rules(group()).size());
        assertTrue(statuses.contains("created"), statuses.toString());
    }

    /** A run, and what somebody else does once the groups are read. */
    Script.Run meanwhile(Runnable event, String... arguments) {
        var happened = new AtomicBoolean();
        return Gate.inStep(aws, call -> {
            ALL.add(call);
            if (call.name().equals("ec2:DescribeSecurityGroups") && !happened.getAndSet(true)) event.run();
        }, () -> run(arguments));
    }

    @Test
    void goesOnWithTheGroupThatSomebodyElseMakesMeanwhile() {
        var run = meanwhile(() -> {
            var group = aws.ec2.createSecurityGroup(vpc, "codecommit-endpoints");
            aws.ec2.authorizeIngress(group, "tcp", 443, 443, "10.1.0.0/16");
        });
        assertEquals("updated", run.status(), run.err());
        assertTrue(run.err().contains("someone else created " + group().path("GroupId").asText() + " in the meantime"),
                run.err());
        assertEquals(https("10.0.0.0/16", "10.1.0.0/16", "2001:db8:1234:1a00::/56"), rules(group()));
        assertEquals(List.of("[\"10.1.0.0/16\"]", "{\"10.1.0.0/16\":\"\"}"),
                run.json().path("changes").valueStream().map(c -> c.path("from").toString()).toList());
    }

    @Test
    void goesOnWithTheRulesThatSomebodyElseAddsMeanwhile() {
        var id = aws.ec2.createSecurityGroup(vpc, "codecommit-endpoints");
        var run = meanwhile(() -> aws.ec2.authorizeIngress(id, "tcp", 443, 443, "10.1.0.0/16"));
        assertEquals("updated", run.status(), run.err());
        assertEquals(https("10.0.0.0/16", "10.1.0.0/16", "2001:db8:1234:1a00::/56"), rules(group()));
        assertEquals(List.of("InvalidPermission.Duplicate"),
                aws.calls().stream().map(Call::error).filter(e -> e != null).toList());
    }

    @Test
    void goesOnWhenSomebodyElseRevokesMeanwhile() {
        var id = aws.ec2.createSecurityGroup(vpc, "codecommit-endpoints");
        aws.ec2.authorizeIngress(id, "tcp", 22, 22, "192.0.2.0/24");
        aws.ec2.authorizeIngress(id, "tcp", 22, 22, "198.51.100.0/24");
        var run = meanwhile(() -> aws.ec2.revokeIngress(id, "192.0.2.0/24"), "--revoke-others");
        assertEquals("updated", run.status(), run.err());
        assertEquals(https("10.0.0.0/16", "10.1.0.0/16", "2001:db8:1234:1a00::/56"), rules(group()));
        assertEquals(List.of("InvalidPermission.NotFound"),
                aws.calls().stream().map(Call::error).filter(e -> e != null).toList());
    }

    @ParameterizedTest
    @ValueSource(strings = {"ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateTags",
            "ec2:RevokeSecurityGroupIngress", "ec2:UpdateSecurityGroupRuleDescriptionsIngress"})
    void aLostAnswerIsSuccess(String call) {
        if (!call.endsWith("CreateSecurityGroup")) {
            var id = aws.ec2.createSecurityGroup(vpc, "codecommit-endpoints");
            aws.ec2.authorizeIngress(id, "tcp", 22, 22, "192.0.2.0/24");
            aws.ec2.authorizeIngress(id, "tcp", 443, 443, "10.0.0.0/16");
        }
        aws.inject(Fault.on(call).loseAnswer());
        var run = run("--tags", "A=b", "--revoke-others");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals(call.endsWith("CreateSecurityGroup") ? "created" : "updated", run.status());
        assertEquals(https("10.0.0.0/16", "10.1.0.0/16", "2001:db8:1234:1a00::/56"), rules(group()));
        assertTrue(tags().startsWith("{A=b"), tags());
    }

    @ParameterizedTest
    @ValueSource(strings = {"sts:GetCallerIdentity", "ec2:DescribeVpcs", "ec2:DescribeSecurityGroups",
            "ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress"})
    void throttlingIsSurvived(String call) {
        aws.inject(Fault.on(call).times(2).throttle());
        var run = run();
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("created", run.status());
        assertEquals(3, rules(group()).size());
    }

    @ParameterizedTest
    @CsvSource({"sts:GetCallerIdentity, 500", "ec2:DescribeVpcs, 500", "ec2:DescribeSecurityGroups, 500",
            "ec2:CreateSecurityGroup, 500", "ec2:AuthorizeSecurityGroupIngress, 500",
            "ec2:RevokeSecurityGroupIngress, 500", "ec2:CreateTags, 500", "sts:GetCallerIdentity, cut",
            "ec2:DescribeVpcs, cut", "ec2:DescribeSecurityGroups, cut",
            "ec2:CreateSecurityGroup, cut", "ec2:DescribeVpcs, flip", "ec2:DescribeSecurityGroups, flip",
            "ec2:AuthorizeSecurityGroupIngress, denied", "ec2:CreateSecurityGroup, denied"})
    void anyOtherFaultLeavesNothingHalfMadeUnnamed(String call, String fault) {
        var existing = call.matches(".*(Revoke|CreateTags).*");
        if (existing) {
            aws.ec2.authorizeIngress(aws.ec2.createSecurityGroup(vpc, "codecommit-endpoints"), "tcp", 22, 22,
                    "192.0.2.0/24");
        }
        aws.inject(switch (fault) {
            case "500" -> Fault.on(call).always().serverError();
            case "cut" -> Fault.on(call).always().cut(20);
            case "flip" -> Fault.on(call).always().flip(1);
            default -> Fault.on(call).always().error(403, "UnauthorizedOperation",
                    "You are not authorized to perform this operation.");
        });
        var run = run("--tags", "A=b", "--revoke-others");
        assertEquals(1, run.exitCode(), run.err());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        for (var left : aws.ec2.groups(vpc)) {
            assertTrue(existing || run.err().contains(left.path("GroupId").asText())
                    || run.err().contains("the same command again goes on with it"), run.err());
        }
        aws.clearFaults();
        assertTrue(Set.of("created", "updated").contains(run("--tags", "A=b", "--revoke-others").status()));
        assertEquals(https("10.0.0.0/16", "10.1.0.0/16", "2001:db8:1234:1a00::/56"), rules(group()));
    }

    @Test
    void doesNotWaitForEverForAGroupThatDoesNotShow() {
        aws.inject(Fault.on("ec2:CreateSecurityGroup").error(400, "InvalidGroup.Duplicate",
                "The security group 'codecommit-endpoints' already exists"));
        var script = new CreateEndpointSecurityGroup();
        script.showPatience = Duration.ofMillis(100);
        var run = Script.run(script.commandLine(), with(vpc));
        assertEquals(1, run.exitCode());
        assertTrue(run.err().contains("InvalidGroup.Duplicate") && run.err().contains("run the same command again"),
                run.err());
    }

    /** Arguments, with | between them; then what the message has to show. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "--group-name|x; --vpc-id=ID",
            "--vpc-id|vpc-12345; vpc-0123456789abcdef0",
            "--vpc-id|VPC-0123456789abcdef0; vpc-0123456789abcdef0",
            "--vpc-id|subnet-0123456789abcdef0; vpc-0123456789abcdef0",
            "--vpc-id|vpc-0123456789abcdef0|--group-name|sg-git; codecommit-endpoints",
            "--vpc-id|vpc-0123456789abcdef0|--group-name|default; codecommit-endpoints",
            "--vpc-id|vpc-0123456789abcdef0|--group-name|Entwürfe; codecommit-endpoints",
            "--vpc-id|vpc-0123456789abcdef0|--group-name|it's; codecommit-endpoints",
            "--vpc-id|vpc-0123456789abcdef0|--group-name| x; codecommit-endpoints",
            "--vpc-id|vpc-0123456789abcdef0|--rule-description|Büros; such as Offices",
            "--vpc-id|vpc-0123456789abcdef0|--rule-description|R&D; such as Offices",
            "--vpc-id|vpc-0123456789abcdef0|--rule-description|'Offices '; such as Offices",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs; CIDR",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|10.0.0.0; 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|10.0.0/16; 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|10.0.0.256/32; 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|10.0.0.010/32; 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|10.0.0.0/33; 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|10.0.0.0/16,10.1.0.0/16; 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|example.com/16; 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|sg-0123456789abcdef0; 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|2001:db8::/129; 2001:db8:1234:1a00::/56",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|2001:db8:::/32; 2001:db8:1234:1a00::/56",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|::ffff:a00:0/104; 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|10.0.3.7/16; use 10.0.0.0/16",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|2001:db8::1/32; use 2001:db8:0:0:0:0:0:0/32",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|0.0.0.0/0; --allow-anywhere",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|10.0.0.0/16|128.0.0.0/1; --allow-anywhere",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|0.0.0.0/1; --allow-anywhere",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|64.0.0.0/2; --allow-anywhere",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|::/0; --allow-anywhere",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|8000::/1; --allow-anywhere",
            "--vpc-id|vpc-0123456789abcdef0|--cidrs|2000::/3; --allow-anywhere",
            "--vpc-id|vpc-0123456789abcdef0|--tags|Team; Team=Payments",
            "--vpc-id|vpc-0123456789abcdef0|--tags|aws:A=b; Team=Payments",
            "--vpc-id|vpc-0123456789abcdef0|--region|Ireland; eu-west-1",
            "--vpc-id|vpc-0123456789abcdef0|--revoke-other; --revoke-others",
            "--vpc-id|vpc-0123456789abcdef0|surplus; surplus",
    })
    void badInputIsRefusedBeforeAnyCall(String arguments, String right) {
        Script.assertRefused(Script.run(new CreateEndpointSecurityGroup().commandLine(), arguments.split("\\|")), right,
                aws);
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void callsWhatItsJavadocNames() {
        Script.assertIamActions("CreateEndpointSecurityGroup", ALL, Set.of("ec2:CreateTags"));
    }
}
