package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.ec2.model.CreateVpcEndpointRequest;
import software.amazon.awssdk.services.ec2.model.DescribeSecurityGroupRulesRequest;
import software.amazon.awssdk.services.ec2.model.Ec2Exception;
import software.amazon.awssdk.services.ec2.model.Filter;
import software.amazon.awssdk.services.ec2.model.IpPermission;
import software.amazon.awssdk.services.ec2.model.IpRange;
import software.amazon.awssdk.services.ec2.model.Ipv6Range;
import software.amazon.awssdk.services.ec2.model.ServiceDetail;
import software.amazon.awssdk.services.ec2.model.Subnet;
import software.amazon.awssdk.services.ec2.model.Tag;
import software.amazon.awssdk.services.ec2.model.TagSpecification;
import software.amazon.awssdk.services.ec2.model.VpcEndpoint;
import software.amazon.awssdk.services.ec2.model.VpcEndpointType;

/** What EC2 does and refuses, asked by the real SDK. */
class Ec2Test {
    private final LocalAws aws = LocalAws.start();
    private final Ec2Client ec2 = client("eu-west-1");
    private final String vpc = aws.ec2.createVpc("eu-west-1", "10.0.0.0/16", "10.1.0.0/16", "2001:db8:1234::/56");
    private final String a = aws.ec2.createSubnet(vpc, "eu-west-1a", "10.0.0.0/24");
    private final String secondInA = aws.ec2.createSubnet(vpc, "eu-west-1a", "10.0.1.0/24");
    private final String b = aws.ec2.createSubnet(vpc, "eu-west-1b", "10.0.2.0/24");
    private final String group = aws.ec2.createSecurityGroup(vpc, "endpoints");

    private Ec2Client client(String region) {
        return Ec2Client.builder().endpointOverride(aws.endpoint()).region(Region.of(region))
                .httpClient(UrlConnectionHttpClient.create())
                .credentialsProvider(StaticCredentialsProvider
                        .create(AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY)))
                .build();
    }

    @AfterEach
    void stop() {
        ec2.close();
        aws.close();
    }

    private static Filter filter(String name, String value) {
        return Filter.builder().name(name).values(value).build();
    }

    private static void assertError(String code, String text, Runnable call) {
        var e = assertThrows(Ec2Exception.class, call::run);
        assertEquals(code, e.awsErrorDetails().errorCode());
        assertTrue(e.awsErrorDetails().errorMessage().contains(text), e.awsErrorDetails().errorMessage());
    }

    // ---- VPCs, subnets, lists

    @Test
    void showsAVpcWithAllItsCidrsAndItsDnsAttributes() {
        var shown = ec2.describeVpcs(r -> r.vpcIds(vpc)).vpcs().get(0);
        assertEquals("10.0.0.0/16", shown.cidrBlock());
        assertEquals(List.of("10.0.0.0/16", "10.1.0.0/16"),
                shown.cidrBlockAssociationSet().stream().map(c -> c.cidrBlock()).toList());
        assertEquals(List.of("2001:db8:1234::/56"),
                shown.ipv6CidrBlockAssociationSet().stream().map(c -> c.ipv6CidrBlock()).toList());
        aws.ec2.disassociate(vpc, "10.1.0.0/16");
        assertEquals(List.of("associated", "disassociated"),
                ec2.describeVpcs(r -> r.vpcIds(vpc)).vpcs().get(0).cidrBlockAssociationSet().stream()
                        .map(c -> c.cidrBlockState().stateAsString()).toList());
        aws.ec2.setDnsAttributes(vpc, true, false);
        assertTrue(
                ec2.describeVpcAttribute(r -> r.vpcId(vpc).attribute("enableDnsSupport")).enableDnsSupport().value());
        var hostnames = ec2.describeVpcAttribute(r -> r.vpcId(vpc).attribute("enableDnsHostnames"));
        assertFalse(hostnames.enableDnsHostnames().value());
        assertEquals(null, hostnames.enableDnsSupport());
    }

    @Test
    void namesWhatDoesNotExist() {
        assertError("InvalidVpcID.NotFound", "vpc-0fedcba9876543210",
                () -> ec2.describeVpcs(r -> r.vpcIds("vpc-0fedcba9876543210")));
        assertError("InvalidVpcID.Malformed", "VPC1", () -> ec2.describeVpcs(r -> r.vpcIds("VPC1")));
        assertError("InvalidSubnetID.NotFound", "subnet-0", () -> ec2.describeSubnets(r -> r.subnetIds("subnet-0")));
        assertError("InvalidGroup.NotFound", "sg-0", () -> ec2.describeSecurityGroups(r -> r.groupIds("sg-0")));
        assertError("InvalidVpcEndpointId.NotFound", "vpce-0",
                () -> ec2.describeVpcEndpoints(r -> r.vpcEndpointIds("vpce-0")));
        try (var other = client("us-east-1")) {
            assertError("InvalidVpcID.NotFound", vpc, () -> other.describeVpcs(r -> r.vpcIds(vpc)));
        }
    }

    @Test
    void pagesAreShortAndMayBeEmptyThoughMoreFollow() {
        var wanted = new TreeSet<String>();
        for (var i = 0; i < 20; i++) aws.ec2.createSubnet(vpc, "eu-west-1c", "10.0." + (10 + i) + ".0/24");
        var other = aws.ec2.createVpc("eu-west-1", "10.0.0.0/16");
        wanted.add(aws.ec2.createSubnet(other, "eu-west-1a", "10.0.0.0/24"));
        var filter = filter("vpc-id", other);
        assertEquals(wanted, new TreeSet<>(ec2.describeSubnetsPaginator(r -> r.filters(filter)).subnets().stream()
                .map(Subnet::subnetId).toList()));
        var pages = ec2.describeSubnetsPaginator(r -> r.filters(filter).maxResults(1000)).stream()
                .map(p -> p.subnets().size()).toList();
        assertEquals(5, pages.size());
        assertEquals(4, pages.stream().filter(n -> n == 0).count());
        var token = ec2.describeSubnets(r -> r.filters(filter)).nextToken();
        assertError("InvalidNextToken", "", () -> ec2.describeSubnets(r -> r.nextToken(token)));
        assertError("InvalidNextToken", "", () -> ec2.describeSubnets(r -> r.nextToken("?")));
        assertError("InvalidParameterCombination", "maxResults",
                () -> ec2.describeSubnets(r -> r.subnetIds(a).maxResults(5)));
        assertError("InvalidParameterValue", "between 5 and 1000", () -> ec2.describeSubnets(r -> r.maxResults(1)));
    }

    @Test
    void filtersKnowWildcardsAndCaseAndNoUnknownNames() {
        assertEquals(2,
                ec2.describeSubnets(r -> r.filters(filter("availability-zone", "eu-west-1a"), filter("vpc-id", vpc)))
                .subnets().size());
        assertEquals(3,
                ec2.describeSubnets(r -> r.filters(filter("availability-zone", "eu-west-1?"))).subnets().size());
        assertEquals(1,
                ec2.describeSecurityGroups(r -> r.filters(filter("group-name", "end*"))).securityGroups().size());
        assertEquals(0,
                ec2.describeSecurityGroups(r -> r.filters(filter("group-name", "Endpoints"))).securityGroups().size());
        assertError("InvalidParameterValue", "The filter 'vpc' is invalid",
                () -> ec2.describeSecurityGroups(r -> r.filters(filter("vpc", vpc))));
        assertError("InvalidParameterValue", "The filter 'group-name' is invalid",
                () -> ec2.describeVpcEndpoints(r -> r.filters(filter("group-name", "x"))));
    }

    @Test
    void dryRunAndTags() {
        assertError("DryRunOperation", "would have succeeded",
                () -> ec2.createSecurityGroup(r -> r.groupName("x").description("x").vpcId(vpc).dryRun(true)));
        assertEquals(1, aws.ec2.groups(vpc).size());
        ec2.createTags(r -> r.resources(group).tags(tag("Team", "git"), tag("Stage", "test")));
        ec2.createTags(r -> r.resources(group).tags(tag("Stage", "production")));
        assertEquals(1,
                ec2.describeSecurityGroups(r -> r.filters(filter("tag:Stage", "production"))).securityGroups().size());
        ec2.deleteTags(r -> r.resources(group).tags(tag("Stage", "test")));
        assertEquals(2, aws.ec2.group(group).get("Tags").size(), "a tag with another value stays");
        ec2.deleteTags(r -> r.resources(group).tags(Tag.builder().key("Stage").build()));
        assertEquals("[{\"Key\":\"Team\",\"Value\":\"git\"}]", aws.ec2.group(group).get("Tags").toString());
        assertError("InvalidParameterValue", "aws:",
                () -> ec2.createTags(r -> r.resources(group).tags(tag("aws:x", "y"))));
        assertError("InvalidParameterValue", "Duplicate",
                () -> ec2.createTags(r -> r.resources(group).tags(tag("x", "y"), tag("x", "z"))));
    }

    private static Tag tag(String key, String value) {
        return Tag.builder().key(key).value(value).build();
    }

    private static TagSpecification specification(String type) {
        return TagSpecification.builder().resourceType(type).tags(tag("Team", "git")).build();
    }

    // ---- Security groups

    @Test
    void aNewGroupIsTakenAtOnceAndShownLater() {
        var id = ec2.createSecurityGroup(r -> r.groupName("git").description("Git").vpcId(vpc)
                .tagSpecifications(specification("security-group"))).groupId();
        assertError("InvalidGroup.Duplicate", "GIT",
                () -> ec2.createSecurityGroup(r -> r.groupName("GIT").description("Git").vpcId(vpc)));
        assertError("InvalidGroup.NotFound", id, () -> ec2.describeSecurityGroups(r -> r.groupIds(id)));
        var shown = ec2.describeSecurityGroups(r -> r.groupIds(id)).securityGroups().get(0);
        assertEquals(List.of(tag("Team", "git")), shown.tags());
        assertEquals(List.of(), shown.ipPermissions());
        assertEquals("0.0.0.0/0", shown.ipPermissionsEgress().get(0).ipRanges().get(0).cidrIp());
        assertEquals("::/0", shown.ipPermissionsEgress().get(0).ipv6Ranges().get(0).cidrIpv6());
        var other = aws.ec2.createVpc("eu-west-1", "10.0.0.0/16");
        ec2.createSecurityGroup(r -> r.groupName("git").description("Git").vpcId(other));
    }

    @ParameterizedTest
    @CsvSource({"sg-git,Git,security-group", "gît,Git,security-group", "g'it,Git,security-group",
            "'',Git,security-group", "git,Gît,security-group",
            "git,a?,security-group",
            "git,Git,vpc-endpoint", "default,Git,security-group"})
    void refusesGroups(String name, String description, String type) {
        var code = name.equals("default") ? "InvalidGroup.Duplicate" : "InvalidParameterValue";
        assertError(code, "", () -> ec2.createSecurityGroup(
                r -> r.groupName(name).description(description).vpcId(vpc).tagSpecifications(specification(type))));
        assertError("InvalidParameterValue", "",
                () -> ec2.createSecurityGroup(r -> r.groupName("x".repeat(256)).description("x").vpcId(vpc)));
        assertError("MissingParameter", "Description", () -> ec2.createSecurityGroup(r -> r.groupName("x").vpcId(vpc)));
        assertError("VPCIdNotSpecified", "", () -> ec2.createSecurityGroup(r -> r.groupName("x").description("x")));
        assertEquals(1, aws.ec2.groups(vpc).size());
    }

    private static IpPermission https(String... cidrs) {
        var permission = IpPermission.builder().ipProtocol("tcp").fromPort(443).toPort(443);
        var v4 = List.of(cidrs).stream().filter(c -> !c.contains(":")).toList();
        var v6 = List.of(cidrs).stream().filter(c -> c.contains(":")).toList();
        return permission
                .ipRanges(v4.stream().map(c -> IpRange.builder().cidrIp(c).description("VPC").build()).toList())
                .ipv6Ranges(v6.stream().map(c -> Ipv6Range.builder().cidrIpv6(c).build()).toList()).build();
    }

    /** The CIDRs of the group's rules. */
    private List<String> letIn() {
        var permissions = ec2.describeSecurityGroups(r -> r.groupIds(group)).securityGroups().get(0).ipPermissions();
        return permissions.stream()
                .flatMap(p -> Stream.concat(p.ipRanges().stream().map(IpRange::cidrIp),
                        p.ipv6Ranges().stream().map(Ipv6Range::cidrIpv6)))
                .toList();
    }

    @Test
    void rulesAreMadeCanonicalAndNeverDouble() {
        ec2.authorizeSecurityGroupIngress(
                r -> r.groupId(group).ipPermissions(https("10.0.3.7/16", "2001:DB8:1234:0::1/56")));
        assertEquals(List.of("10.0.0.0/16", "2001:db8:1234::/56"), letIn());
        var rule = ec2.describeSecurityGroups(r -> r.groupIds(group)).securityGroups().get(0).ipPermissions().get(0);
        assertEquals("tcp 443 443 VPC", rule.ipProtocol() + " " + rule.fromPort() + " " + rule.toPort() + " "
                + rule.ipRanges().get(0).description());
        assertError("InvalidPermission.Duplicate", "10.0.0.0/16",
                () -> ec2.authorizeSecurityGroupIngress(
                        r -> r.groupId(group).ipPermissions(https("10.9.0.0/16", "10.0.0.0/16"))));
        assertEquals(List.of("10.0.0.0/16", "2001:db8:1234::/56"), letIn(), "all or nothing");
        assertError("InvalidParameterValue", "multiple times",
                () -> ec2.authorizeSecurityGroupIngress(
                        r -> r.groupId(group).ipPermissions(https("10.2.0.0/16", "10.2.0.1/16"))));
        assertError("InvalidParameterValue", "malformed",
                () -> ec2.authorizeSecurityGroupIngress(r -> r.groupId(group).ipPermissions(https("10.2.0.0/33"))));
        assertError("InvalidParameterValue", "malformed",
                () -> ec2.authorizeSecurityGroupIngress(r -> r.groupId(group).ipPermissions(https("10.2.0.0"))));
        assertError("InvalidPermission.NotFound", "", () -> ec2.revokeSecurityGroupIngress(r -> r.groupId(group)
                .ipPermissions(https("10.0.0.0/16", "10.2.0.0/16"))));
        ec2.revokeSecurityGroupIngress(r -> r.groupId(group).ipPermissions(https("10.0.0.0/16")));
        assertEquals(List.of("2001:db8:1234::/56"), letIn());
        assertError("RulesPerSecurityGroupLimitExceeded", "", () -> {
            var many = new ArrayList<String>();
            for (var i = 0; i <= 60; i++) many.add("10." + i + ".0.0/16");
            ec2.authorizeSecurityGroupIngress(r -> r.groupId(group).ipPermissions(https(many.toArray(String[]::new))));
        });
    }

    @Test
    void descriptionsOfRulesAreChangedAllOrNone() {
        ec2.authorizeSecurityGroupIngress(r -> r.groupId(group).ipPermissions(https("10.0.0.0/16", "10.1.0.0/16")));
        assertError("InvalidPermission.NotFound", "",
                () -> ec2.updateSecurityGroupRuleDescriptionsIngress(r -> r.groupId(group).ipPermissions(p -> p
                        .ipProtocol("tcp").fromPort(443).toPort(443)
                        .ipRanges(IpRange.builder().cidrIp("10.1.0.0/16").description("new").build(),
                                IpRange.builder().cidrIp("10.2.0.0/16").description("new").build()))));
        assertEquals(List.of("VPC", "VPC"), descriptions());
        ec2.updateSecurityGroupRuleDescriptionsIngress(r -> r.groupId(group).ipPermissions(p -> p
                .ipProtocol("tcp").fromPort(443).toPort(443)
                .ipRanges(IpRange.builder().cidrIp("10.1.0.0/16").description("new").build())));
        assertEquals(List.of("VPC", "new"), descriptions());
        ec2.updateSecurityGroupRuleDescriptionsIngress(r -> r.groupId(group).ipPermissions(p -> p
                .ipProtocol("tcp").fromPort(443).toPort(443)
                .ipRanges(IpRange.builder().cidrIp("10.0.0.0/16").build())));
        assertEquals(List.of("null", "new"), descriptions(), "one that is left out is removed");
    }

    private List<String> descriptions() {
        return ec2.describeSecurityGroups(r -> r.groupIds(group)).securityGroups().get(0).ipPermissions().get(0)
                .ipRanges().stream().map(range -> String.valueOf(range.description())).toList();
    }

    @ParameterizedTest
    @CsvSource({"0.0.0.0/0,0.0.0.0/0", "255.255.255.255/9,255.128.0.0/9", "::/0,::/0",
            "2001:DB8:0:0:1:0:0:1/128,2001:db8::1:0:0:1/128",
            "2001:db8:0:1:1:1:1:1/128,2001:db8:0:1:1:1:1:1/128",
            "fd00:0:0:0:0:0:0:1/8,fd00::/8", "::1/128,::1/128"})
    void canonicalCidrs(String given, String canonical) {
        assertEquals(canonical, Ec2.canonical(given));
    }

    @Test
    void aGroupInUseCannotBeDeleted() {
        var endpoint = aws.ec2.createEndpoint(vpc, "codecommit", true, List.of(a), List.of(group));
        assertError("DependencyViolation", group, () -> ec2.deleteSecurityGroup(r -> r.groupId(group)));
        ec2.deleteVpcEndpoints(r -> r.vpcEndpointIds(endpoint));
        assertError("DependencyViolation", group, () -> ec2.deleteSecurityGroup(r -> r.groupId(group)));
        assertEquals("deleting", shown(endpoint).stateAsString());
        shown(endpoint);
        assertError("InvalidVpcEndpointId.NotFound", endpoint,
                () -> ec2.describeVpcEndpoints(r -> r.vpcEndpointIds(endpoint)));
        ec2.deleteSecurityGroup(r -> r.groupId(group));
        assertEquals(List.of(), aws.ec2.groups(vpc));
        var base = ec2.describeSecurityGroups(r -> r.filters(filter("group-name", "default"))).securityGroups().get(0)
                .groupId();
        assertError("CannotDelete", base, () -> ec2.deleteSecurityGroup(r -> r.groupId(base)));
        assertEquals("InvalidVpcEndpointId.NotFound",
                ec2.deleteVpcEndpoints(r -> r.vpcEndpointIds(endpoint)).unsuccessful().get(0).error().code());
    }

    // ---- Endpoint services

    private List<ServiceDetail> services(Ec2Client client) {
        var all = new ArrayList<ServiceDetail>();
        String token = null;
        do {
            var next = token;
            var page = client.describeVpcEndpointServices(
                    r -> r.nextToken(next).filters(filter("service-name", "*codecommit*")));
            all.addAll(page.serviceDetails());
            token = page.nextToken();
        } while (token != null);
        return all;
    }

    @Test
    void serviceNamesDependOnTheRegion() {
        aws.ec2.setUnsupportedZones("eu-west-1", "git-codecommit", "eu-west-1c");
        assertEquals(List.of("com.amazonaws.eu-west-1.codecommit", "com.amazonaws.eu-west-1.git-codecommit"),
                services(ec2).stream()
                .map(ServiceDetail::serviceName).toList());
        assertEquals(List.of(List.of("eu-west-1a", "eu-west-1b", "eu-west-1c"), List.of("eu-west-1a", "eu-west-1b")),
                services(ec2).stream()
                .map(ServiceDetail::availabilityZones).toList());
        assertEquals("git-codecommit.eu-west-1.amazonaws.com",
                services(ec2).get(1).privateDnsNames().get(0).privateDnsName());
        try (var china = client("cn-north-1")) {
            assertEquals(
                    List.of("cn.com.amazonaws.cn-north-1.codecommit", "cn.com.amazonaws.cn-north-1.git-codecommit"),
                    services(china).stream()
                    .map(ServiceDetail::serviceName).toList());
            assertEquals("codecommit.cn-north-1.amazonaws.com.cn",
                    services(china).get(0).privateDnsNames().get(0).privateDnsName());
        }
        try (var gov = client("us-gov-west-1")) {
            assertEquals(4, services(gov).size());
        }
        assertError("InvalidServiceName", "codecommit-fips",
                () -> ec2.describeVpcEndpointServices(r -> r.serviceNames("com.amazonaws.eu-west-1.codecommit-fips")));
    }

    // ---- Endpoints

    private static final String API = "com.amazonaws.eu-west-1.codecommit";

    private Consumer<CreateVpcEndpointRequest.Builder> endpoint(Consumer<CreateVpcEndpointRequest.Builder> more) {
        return r -> {
            r.vpcId(vpc).serviceName(API).vpcEndpointType(VpcEndpointType.INTERFACE).subnetIds(a, b)
                    .securityGroupIds(group);
            more.accept(r);
        };
    }

    private VpcEndpoint shown(String id) {
        return ec2.describeVpcEndpoints(r -> r.vpcEndpointIds(id)).vpcEndpoints().get(0);
    }

    @Test
    void anEndpointHidesThenIsPendingThenAvailableInLowerCase() {
        var made = ec2.createVpcEndpoint(endpoint(r -> r.tagSpecifications(specification("vpc-endpoint"))))
                .vpcEndpoint();
        var id = made.vpcEndpointId();
        assertEquals("pending", made.stateAsString());
        assertError("InvalidVpcEndpointId.NotFound", id, () -> shown(id));
        assertEquals("pending", aws.ec2.endpoint(id).get("State").asText());
        shown(id);
        shown(id);
        assertEquals("available", aws.ec2.endpoint(id).get("State").asText());
        var endpoint = shown(id);
        assertEquals(List.of(a, b), endpoint.subnetIds());
        assertEquals(group, endpoint.groups().get(0).groupId());
        assertEquals(2, endpoint.networkInterfaceIds().size());
        assertEquals(List.of(tag("Team", "git")), endpoint.tags());
        var names = endpoint.dnsEntries().stream().map(d -> d.dnsName()).toList();
        assertTrue(names.get(0).matches(id + "-\\w+\\.codecommit\\.eu-west-1\\.vpce\\.amazonaws\\.com"),
                names.toString());
        assertTrue(names.get(1).matches(id + "-\\w+-eu-west-1a\\.codecommit\\.eu-west-1\\.vpce\\.amazonaws\\.com"),
                names.toString());
        assertEquals("codecommit.eu-west-1.amazonaws.com", names.get(3));
    }

    @Test
    void aClientTokenMakesOneEndpointOnly() {
        var first = ec2.createVpcEndpoint(endpoint(r -> r.clientToken("token"))).vpcEndpoint().vpcEndpointId();
        assertEquals(first, ec2.createVpcEndpoint(endpoint(r -> r.clientToken("token"))).vpcEndpoint().vpcEndpointId());
        assertError("IdempotentParameterMismatch", "",
                () -> ec2.createVpcEndpoint(endpoint(r -> r.clientToken("token").subnetIds(a))));
        assertEquals(1, aws.ec2.endpoints(vpc).size());
        aws.inject(Fault.on("ec2:CreateVpcEndpoint").loseAnswer());
        ec2.createVpcEndpoint(endpoint(r -> r.clientToken("lost").privateDnsEnabled(false)));
        assertEquals(2, aws.ec2.endpoints(vpc).size(), "the SDK's second try gets the first one's endpoint");
    }

    @Test
    void refusesEndpoints() {
        assertError("InvalidParameter", "Endpoint type (Gateway) does not match available service types ([Interface])",
                () -> ec2.createVpcEndpoint(r -> r.vpcId(vpc).serviceName(API).securityGroupIds(group)));
        assertError("InvalidParameter", "Subnet IDs are only supported for Interface",
                () -> ec2.createVpcEndpoint(r -> r.vpcId(vpc).serviceName(API).subnetIds(a)));
        refused("InvalidServiceName", "does not exist", r -> r.serviceName("com.amazonaws.eu-west-1.codecommit-fips"));
        refused("InvalidServiceName", "does not exist", r -> r.serviceName("codecommit"));
        refused("DuplicateSubnetsInSameZone", secondInA, r -> r.subnetIds(a, b, secondInA));
        refused("InvalidSubnetId.NotFound", "subnet-0", r -> r.subnetIds("subnet-0"));
        var other = aws.ec2.createVpc("eu-west-1", "10.0.0.0/16");
        refused("InvalidParameter", "does not belong",
                r -> r.subnetIds(aws.ec2.createSubnet(other, "eu-west-1a", "10.0.0.0/24")));
        refused("InvalidParameter", "shared by another account",
                r -> r.subnetIds(aws.ec2.createSubnet(vpc, "eu-west-1c", "10.0.5.0/24", "444455556666")));
        refused("InvalidParameter", "no IPv4",
                r -> r.subnetIds(aws.ec2.createSubnet(vpc, "eu-west-1c", "2001:db8:1234::/64")));
        refused("InvalidGroup.NotFound", "does not exist in VPC",
                r -> r.securityGroupIds(aws.ec2.createSecurityGroup(other, "x")));
        refused("InvalidParameterValue", "not a valid taggable",
                r -> r.tagSpecifications(specification("security-group")));
        refused("InvalidParameter", "IP address type", r -> r.ipAddressType("dualstack"));
        aws.ec2.setUnsupportedZones("eu-west-1", "codecommit", "eu-west-1b");
        refused("InvalidParameter", "does not support the availability zone of the subnet: " + b, r -> { });
        aws.ec2.setUnsupportedZones("eu-west-1", "codecommit");
        aws.ec2.setDnsAttributes(vpc, true, false);
        refused("InvalidParameter", "enableDnsSupport and enableDnsHostnames", r -> { });
        aws.ec2.setDnsAttributes(vpc, true, true);
        assertEquals(List.of(), aws.ec2.endpoints(vpc));
        aws.ec2.createEndpoint(vpc, "codecommit", true, List.of(a), List.of(group));
        refused("InvalidParameter",
                "private-dns-enabled cannot be set because there is already a conflicting DNS domain for "
                        + "codecommit.eu-west-1.amazonaws.com in the VPC "
                        + vpc,
                r -> {});
        ec2.createVpcEndpoint(endpoint(r -> r.privateDnsEnabled(false)));
        assertEquals(2, aws.ec2.endpoints(vpc).size());
    }

    private void refused(String code, String text, Consumer<CreateVpcEndpointRequest.Builder> more) {
        assertError(code, text, () -> ec2.createVpcEndpoint(endpoint(more)));
    }

    @Test
    void failsOnDemandAndSaysWhy() {
        aws.ec2.failNextEndpoint("eu-west-1", "InsufficientFreeAddressesInSubnet", "no free addresses");
        var id = ec2.createVpcEndpoint(endpoint(r -> { })).vpcEndpoint().vpcEndpointId();
        assertError("InvalidVpcEndpointId.NotFound", id, () -> shown(id));
        shown(id);
        shown(id);
        assertEquals("failed", aws.ec2.endpoint(id).get("State").asText());
        assertEquals("no free addresses", shown(id).lastError().message());
        assertError("InvalidState", "failed", () -> ec2.modifyVpcEndpoint(r -> r.vpcEndpointId(id).addSubnetIds(b)));
    }

    @Test
    void modifiesOneThingAtATime() {
        var id = aws.ec2.createEndpoint(vpc, "codecommit", false, List.of(a), List.of(group));
        var second = aws.ec2.createSecurityGroup(vpc, "second");
        ec2.modifyVpcEndpoint(
                r -> r.vpcEndpointId(id).addSubnetIds(b).addSecurityGroupIds(second).privateDnsEnabled(true));
        assertError("OperationInProgress", "modify operation in progress",
                () -> ec2.modifyVpcEndpoint(r -> r.vpcEndpointId(id).removeSubnetIds(a)));
        shown(id);
        shown(id);
        assertEquals(List.of(a, b), shown(id).subnetIds());
        assertEquals(2, shown(id).groups().size());
        assertTrue(shown(id).privateDnsEnabled());
        assertError("DuplicateSubnetsInSameZone", secondInA,
                () -> ec2.modifyVpcEndpoint(r -> r.vpcEndpointId(id).removeSubnetIds(a).addSubnetIds(secondInA)));
        assertError("InvalidParameter", "not associated",
                () -> ec2.modifyVpcEndpoint(r -> r.vpcEndpointId(id).removeSubnetIds(secondInA)));
        assertError("InvalidParameter", "needs a security group",
                () -> ec2.modifyVpcEndpoint(r -> r.vpcEndpointId(id).removeSecurityGroupIds(group, second)));
        ec2.modifyVpcEndpoint(r -> r.vpcEndpointId(id).removeSubnetIds(a).removeSecurityGroupIds(group));
        assertEquals(List.of(b), shown(id).subnetIds());
        assertEquals(second, shown(id).groups().get(0).groupId());
    }

    // ---- Policies

    private String policy(String text) {
        return "{\"Version\":\"2012-10-17\",\"Statement\":[" + text + "]}";
    }

    @Test
    void policiesComeBackRewritten() {
        var id = ec2.createVpcEndpoint(endpoint(r -> r.policyDocument(policy(
                "{\"Sid\":\"One\",\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":[\"codecommit:GitPull\","
                        + "\"codecommit:GitPush\"],"
                        + "\"Resource\":[\"*\"],"
                        + "\"Condition\":{\"StringEquals\":{\"aws:PrincipalAccount\":[\"111122223333\"]}}},"
                        + "{\"Sid\":\"Two\",\"Effect\":\"Deny\",\"Principal\":{\"AWS\":\"111122223333\"},"
                        + "\"Action\":\"*\",\"Resource\":\"*\"}"))))
                .vpcEndpoint()
                .vpcEndpointId();
        assertEquals(
                "{\"Statement\":[{\"Action\":\"*\",\"Effect\":\"Deny\","
                        + "\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:root\"},\"Resource\":\"*\","
                        + "\"Sid\":\"Two\"},"
                        + "{\"Action\":[\"codecommit:GitPush\",\"codecommit:GitPull\"],"
                        + "\"Condition\":{\"StringEquals\":{\"aws:PrincipalAccount\":\"111122223333\"}},"
                        + "\"Effect\":\"Allow\","
                        + "\"Principal\":{\"AWS\":\"*\"},\"Resource\":\"*\",\"Sid\":\"One\"}],"
                        + "\"Version\":\"2012-10-17\"}",
                aws.ec2.endpoint(id).get("PolicyDocument")
                .asText());
        var open = aws.ec2.createEndpoint(vpc, "git-codecommit", true, List.of(a), List.of(group));
        assertTrue(aws.ec2.endpoint(open).get("PolicyDocument").asText().contains("\"Principal\": \"*\""));
        ec2.modifyVpcEndpoint(r -> r.vpcEndpointId(open)
                .policyDocument(
                        policy("{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"*\"}")));
        assertNotEquals("Allow",
                aws.ec2.endpoint(open).get("PolicyDocument").asText().replaceAll(".*\"Effect\":\"(\\w+)\".*", "$1"));
    }

    @ParameterizedTest
    @ValueSource(strings = {
            "{'Effect':'Allow','Action':'*','Resource':'*'}",
            "{'Effect':'Allow','Principal':'*','Resource':'*'}",
            "{'Effect':'Allow','Principal':'*','Action':'*'}",
            "{'Effect':'allow','Principal':'*','Action':'*','Resource':'*'}",
            "{'Effect':'Allow','Principal':'111122223333','Action':'*','Resource':'*'}",
            "{'Effect':'Allow','Principal':{'AWS':'role/x'},'Action':'*','Resource':'*'}",
            "{'Effect':'Allow','Principal':'*','Action':'GitPull','Resource':'*'}",
            "{'Effect':'Allow','Principal':'*','Action':'*','Resource':'repository'}",
            "{'Effect':'Allow','Principal':'*','Action':'*','Resource':'arn:aws:codecommit:eu-west-1:1111*:x'}",
            "{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*','Sid':'with-hyphen'}",
            "{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*','Conditions':{}}",
            "{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*',"
                    + "'Condition':{'Equals':{'aws:PrincipalAccount':'111122223333'}}}",
            "{'Effect':'Allow','Principal':'*','Action':'*','Resource':'*',"
                    + "'Condition':{'StringLike':{'aws:PrincipalAccount':'1111*'}}}",
            "{'Sid':'a','Effect':'Allow','Principal':'*','Action':'*','Resource':'*'},{'Sid':'a','Effect':'Allow',"
                    + "'Principal':'*','Action':'*','Resource':'*'}",
            "", "{", "'text'"})
    void refusesPolicies(String statement) {
        refused("InvalidPolicyDocument", "olicy", r -> r.policyDocument(policy(statement.replace('\'', '"'))));
        refused("InvalidPolicyDocument", "20480",
                r -> r.policyDocument(
                        policy("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"*\"}")
                                + " ".repeat(20480)));
        assertEquals(List.of(), aws.ec2.endpoints(vpc));
    }

    @Test
    void listsRulesAndTags() {
        var made = aws.ec2.createSecurityGroup(vpc, "listed");
        aws.ec2.authorizeIngress(made, "tcp", 443, 443, "10.0.0.0/16");
        Consumer<DescribeSecurityGroupRulesRequest.Builder> ofGroup = r -> r
                .filters(f -> f.name("group-id").values(made));
        var rules = ec2.describeSecurityGroupRulesPaginator(ofGroup).securityGroupRules().stream().toList();
        assertEquals(Set.of("false 10.0.0.0/16 null", "true 0.0.0.0/0 null", "true null ::/0"),
                rules.stream().map(r -> r.isEgress() + " " + r.cidrIpv4() + " " + r.cidrIpv6())
                        .collect(Collectors.toSet()));
        var first = rules.get(0).securityGroupRuleId();
        assertEquals(List.of(rules.get(0)),
                ec2.describeSecurityGroupRules(r -> r.securityGroupRuleIds(first)).securityGroupRules());
        assertError("InvalidSecurityGroupRuleId.NotFound", "does not exist",
                () -> ec2.describeSecurityGroupRules(r -> r.securityGroupRuleIds("sgr-1")));
        ec2.createTags(r -> r.resources(made).tags(t -> t.key("Team").value("a")));
        var tags = ec2.describeTagsPaginator(r -> r.filters(f -> f.name("resource-id").values(made))).tags().stream()
                .toList();
        assertEquals(List.of("security-group Team=a"),
                tags.stream().map(t -> t.resourceTypeAsString() + " " + t.key() + "=" + t.value()).toList());
    }
}
