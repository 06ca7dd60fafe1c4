package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * EC2's part of a VPC that private endpoints need: VPCs and subnets (made by the public methods), security groups and
 * interface endpoints (made by calls, or by the public methods). New groups and endpoints do not show at once,
 * endpoints are pending first, pages are short and may be empty though more follow, policies come back rewritten.
 */
public final class Ec2 implements LocalAws.Service {
    /** How many calls miss a new group or endpoint before it shows. */
    public volatile int callsUntilVisible = 1;
    /** How many times a new or modified endpoint is shown as pending. */
    public volatile int timesPending = 2;
    /** The most that one page holds, whatever MaxResults says. */
    public volatile int pageSize = 5;

    /** A VPC, subnet, group or endpoint as calls describe it, and what calls do not show. */
    private static final class Thing {
        final ObjectNode data;
        final List<Rule> ingress = new ArrayList<>();
        final List<Rule> egress = new ArrayList<>();
        int hidden;
        int pending;
        ObjectNode failure;

        Thing(ObjectNode data) {
            this.data = data;
        }

        String get(String member) {
            return data.path(member).asText();
        }
    }

    /**
     * One source that a rule of a security group lets in; the kind is IpRanges, Ipv6Ranges, UserIdGroupPairs or
     * PrefixListIds.
     */
    private record Rule(String protocol, Integer from, Integer to, String kind, String source, String description,
            String id) {
        Rule key() {
            return new Rule(protocol, from, to, kind, source, null, null);
        }
    }

    private static final class State {
        final Map<String, Thing> vpcs = new TreeMap<>();
        final Map<String, Thing> subnets = new TreeMap<>();
        final Map<String, Thing> groups = new TreeMap<>();
        final Map<String, Thing> endpoints = new TreeMap<>();
        final Map<String, ObjectNode> clientTokens = new HashMap<>();
        final Map<String, Set<String>> withoutZones = new HashMap<>();
        final Set<String> zones = new TreeSet<>();
        ObjectNode nextFailure;
    }

    private final LocalAws aws;
    private final String account;
    private final Map<String, State> regions = new ConcurrentHashMap<>();
    private final Map<String, String> regionOf = new ConcurrentHashMap<>();
    private final AtomicInteger counter = new AtomicInteger();

    Ec2(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    // ---- What tests and the sandbox put there

    /**
     * A VPC with these CIDRs (the first IPv4 one is its primary), both DNS attributes on, and its default security
     * group.
     */
    public synchronized String createVpc(String region, String... cidrs) {
        var id = id("vpc", region);
        var data = node().put("VpcId", id).put("State", "available").put("OwnerId", account)
                .put("InstanceTenancy", "default").put("IsDefault", false)
                .put("DhcpOptionsId", "dopt-0123456789abcdef0").put("EnableDnsSupport", true)
                .put("EnableDnsHostnames", true);
        for (var cidr : cidrs) {
            var ipv6 = cidr.contains(":");
            if (!ipv6 && !data.has("CidrBlock")) data.put("CidrBlock", cidr);
            var association = data.withArray(ipv6 ? "Ipv6CidrBlockAssociationSet" : "CidrBlockAssociationSet")
                    .addObject();
            association.put("AssociationId", id("vpc-cidr-assoc", region)).put(ipv6 ? "Ipv6CidrBlock" : "CidrBlock",
                    cidr);
            association.putObject(ipv6 ? "Ipv6CidrBlockState" : "CidrBlockState").put("State", "associated");
        }
        state(region).vpcs.put(id, new Thing(data));
        for (var letter : List.of("a", "b", "c")) state(region).zones.add(region + letter);
        createSecurityGroup(id, "default");
        return id;
    }

    /** Takes a CIDR from a VPC; for a while the association is still listed, as disassociated. */
    public synchronized void disassociate(String vpcId, String cidr) {
        for (var set : List.of("CidrBlockAssociationSet", "Ipv6CidrBlockAssociationSet")) {
            for (var association : thing(vpcId).data.path(set)) {
                if (association.path("CidrBlock").asText(association.path("Ipv6CidrBlock").asText()).equals(cidr)) {
                    ((ObjectNode) association.get(set.replace("AssociationSet", "State"))).put("State",
                            "disassociated");
                }
            }
        }
    }

    public synchronized void setDnsAttributes(String vpcId, boolean support, boolean hostnames) {
        thing(vpcId).data.put("EnableDnsSupport", support).put("EnableDnsHostnames", hostnames);
    }

    /** A subnet; with an IPv6 CIDR one that has no IPv4 at all. */
    public String createSubnet(String vpcId, String zone, String cidr) {
        return createSubnet(vpcId, zone, cidr, account);
    }

    /** A subnet of another owner, who shares it with this account. */
    public synchronized String createSubnet(String vpcId, String zone, String cidr, String owner) {
        var region = regionOf.get(vpcId);
        if (!zone.startsWith(region)) throw new IllegalArgumentException(zone + " is not in " + region);
        var id = id("subnet", region);
        var state = state(region);
        state.zones.add(zone);
        var data = node().put("SubnetId", id).put("VpcId", vpcId).put("State", "available")
                .put("AvailabilityZone", zone)
                .put("AvailabilityZoneId", zoneId(zone))
                .put("OwnerId", owner).put("AvailableIpAddressCount", 251).put("DefaultForAz", false)
                .put("Ipv6Native", cidr.contains(":"))
                .put("SubnetArn", "arn:" + new Caller("", owner, region).partition() + ":ec2:" + region + ":" + owner
                        + ":subnet/" + id);
        if (cidr.contains(":")) {
            data.putArray("Ipv6CidrBlockAssociationSet").addObject()
                    .put("AssociationId", id("subnet-cidr-assoc", region))
                    .put("Ipv6CidrBlock", cidr)
                    .putObject("Ipv6CidrBlockState").put("State", "associated");
        } else {
            data.put("CidrBlock", cidr);
        }
        state.subnets.put(id, new Thing(data));
        return id;
    }

    /** Zones in which a service, named without its prefix ("git-codecommit"), cannot have endpoints. */
    public synchronized void setUnsupportedZones(String region, String service, String... zones) {
        state(region).withoutZones.put(service, Set.of(zones));
        state(region).zones.addAll(List.of(zones));
    }

    /** A security group without rules for traffic in. */
    public synchronized String createSecurityGroup(String vpcId, String name) {
        return newGroup(vpcId, name, "made beforehand", node().arrayNode()).get("GroupId");
    }

    public synchronized void authorizeIngress(String groupId, String protocol, int fromPort, int toPort, String cidr) {
        thing(groupId).ingress.add(new Rule(protocol, fromPort, toPort, cidr.contains(":") ? "Ipv6Ranges" : "IpRanges",
                canonical(cidr), null,
                id("sgr", regionOf.get(groupId))));
    }

    /** Takes all rules for this CIDR out. */
    public synchronized void revokeIngress(String groupId, String cidr) {
        thing(groupId).ingress.removeIf(rule -> rule.source.equals(canonical(cidr)));
    }

    /**
     * An available interface endpoint with AWS's policy that allows everything; the service is named without its
     * prefix.
     */
    public synchronized String createEndpoint(String vpcId, String service, boolean privateDns, List<String> subnetIds,
            List<String> groupIds) {
        var region = regionOf.get(vpcId);
        return newEndpoint(thing(vpcId), service(region, service), EndpointPolicy.FULL_ACCESS, privateDns, subnetIds,
                groupIds, node().arrayNode()).get("VpcEndpointId");
    }

    /** Gives an endpoint this state, policy or other member; what AWS itself does not make known is null. */
    public synchronized void setEndpoint(String endpointId, String member, String value) {
        thing(endpointId).data.put(member, value);
    }

    /** Shows the endpoint as pending, or deleting if it is that, this many times more. */
    public synchronized void setTimesPending(String endpointId, int times) {
        thing(endpointId).pending = times;
    }

    /** The next endpoint that a call makes becomes failed instead of available, for this reason. */
    public synchronized void failNextEndpoint(String region, String code, String message) {
        state(region).nextFailure = node().put("Code", code).put("Message", message);
    }

    // ---- What tests look at

    /** A group as DescribeSecurityGroups shows it. */
    public synchronized JsonNode group(String groupId) {
        return shown(thing(groupId));
    }

    /** An endpoint as DescribeVpcEndpoints shows it; looking does not make time pass. */
    public synchronized JsonNode endpoint(String endpointId) {
        return thing(endpointId).data.deepCopy();
    }

    /** All groups of a VPC but its default one. */
    public synchronized List<JsonNode> groups(String vpcId) {
        return state(regionOf.get(vpcId)).groups.values().stream()
                .filter(g -> g.get("VpcId").equals(vpcId) && !g.get("GroupName").equals("default"))
                .map(g -> (JsonNode) shown(g)).toList();
    }

    public synchronized List<JsonNode> endpoints(String vpcId) {
        return state(regionOf.get(vpcId)).endpoints.values().stream().filter(e -> e.get("VpcId").equals(vpcId))
                .map(e -> (JsonNode) e.data.deepCopy()).toList();
    }

    /** The VPC of a subnet or security group of the Region; null when there is no such thing. */
    synchronized String vpcOf(String region, String id) {
        return region.equals(regionOf.get(id)) ? thing(id).get("VpcId") : null;
    }

    private Thing thing(String id) {
        var state = state(regionOf.get(id));
        return Stream.of(state.vpcs, state.subnets, state.groups, state.endpoints).map(m -> m.get(id))
                .filter(t -> t != null).findFirst()
                .orElseThrow(() -> new IllegalArgumentException("there is no " + id));
    }

    private State state(String region) {
        return LocalAws.regional(regions, region, State::new);
    }

    /** Ids do not grow with time: AWS's do not either. */
    private String id(String kind, String region) {
        var hash = Credentials
                .hex(Credentials.sha256((kind + counter.incrementAndGet()).getBytes(StandardCharsets.UTF_8)));
        var id = kind + "-0" + hash.substring(0, 16);
        regionOf.put(id, region);
        return id;
    }

    /** eu-west-1a is euw1-az1, us-gov-west-1b is usgw1-az2. */
    private static String zoneId(String zone) {
        var region = zone.substring(0, zone.length() - 1);
        var parts = region.split("-");
        var id = new StringBuilder(parts[0]);
        for (var part : Arrays.copyOfRange(parts, 1, parts.length - 1)) {
            id.append(part.replaceAll("(north|south|east|west|central|gov)", "$1 ").replaceAll("(\\w)\\w* ", "$1"));
        }
        return id.append(parts[parts.length - 1]).append("-az").append(zone.charAt(zone.length() - 1) - 'a' + 1)
                .toString();
    }

    // ---- Permissions

    @Override
    public AwsError refused(Need need, String message) {
        var shown = need.resource().equals("*") ? message.replace(" on resource: *", "") : message;
        // what EC2 appends, except to Describe calls, only DecodeAuthorizationMessage can read
        var encoded = need.resource().equals("*") ? "" : ". Encoded authorization failure message: "
                + Base64.getUrlEncoder().withoutPadding().encodeToString(shown.getBytes(StandardCharsets.UTF_8));
        return new AwsError(403, "UnauthorizedOperation",
                "You are not authorized to perform this operation. " + shown + encoded);
    }

    /** On everything that a call makes, changes or uses; Describe calls have no resource, but for one. */
    @Override
    public synchronized List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "ec2:" + operation;
        return switch (operation) {
            case "DescribeVpcs", "DescribeSubnets", "DescribeSecurityGroups", "DescribeSecurityGroupRules",
                    "DescribeTags", "DescribeVpcEndpointServices", "DescribeVpcEndpoints" ->
                List.of(new Need(action, "*").key("ec2:Region", caller.region()));
            case "DescribeVpcAttribute" -> List.of(on(action, input.path("VpcId").asText(), caller));
            case "CreateSecurityGroup" -> {
                var tags = requestTags(input, "security-group");
                var needs = new ArrayList<>(List.of(made(action, "security-group", tags, caller),
                        on(action, input.path("VpcId").asText(), caller)));
                tagging(needs, operation, "security-group", tags, caller);
                yield needs;
            }
            case "DeleteSecurityGroup", "RevokeSecurityGroupIngress", "UpdateSecurityGroupRuleDescriptionsIngress" ->
                List.of(on(action, input.path("GroupId").asText(), caller));
            case "AuthorizeSecurityGroupIngress" -> {
                var tags = requestTags(input, "security-group-rule");
                var needs = new ArrayList<>(List.of(on(action, input.path("GroupId").asText(), caller)));
                if (!tags.isEmpty()) needs.add(made(action, "security-group-rule", tags, caller));
                tagging(needs, operation, "security-group-rule", tags, caller);
                yield needs;
            }
            case "CreateVpcEndpoint" -> {
                var tags = requestTags(input, "vpc-endpoint");
                var needs = new ArrayList<>(List.of(on(action, input.path("VpcId").asText(), caller),
                        made(action, "vpc-endpoint", tags, caller)
                                .key("ec2:VpceServiceName", input.path("ServiceName").asText())));
                for (var list : List.of("SubnetIds", "SecurityGroupIds")) {
                    texts(input.path(list)).forEach(id -> needs.add(on(action, id, caller)));
                }
                tagging(needs, operation, "vpc-endpoint", tags, caller);
                yield needs;
            }
            case "ModifyVpcEndpoint" -> {
                var needs = new ArrayList<>(List.of(on(action, input.path("VpcEndpointId").asText(), caller)));
                for (var list : List.of("AddSubnetIds", "RemoveSubnetIds", "AddSecurityGroupIds",
                        "RemoveSecurityGroupIds")) {
                    texts(input.path(list)).forEach(id -> needs.add(on(action, id, caller)));
                }
                yield needs;
            }
            case "DeleteVpcEndpoints" ->
                texts(input.path("VpcEndpointIds")).stream().map(id -> on(action, id, caller)).toList();
            case "CreateTags" -> {
                var tags = Need.tags(input.path("Tags"), "Key", "Value");
                yield texts(input.path("Resources")).stream().map(id -> on(action, id, caller).requestTags(tags))
                        .toList();
            }
            case "DeleteTags" -> {
                var keys = stream(input.path("Tags")).map(tag -> tag.path("Key").asText()).toList();
                yield texts(input.path("Resources")).stream()
                        .map(id -> on(action, id, caller).keys("aws:TagKeys", keys)).toList();
            }
            default -> throw new IllegalStateException("no permission is known for ec2:" + operation);
        };
    }

    private static Map<String, String> requestTags(ObjectNode input, String type) {
        var tags = new TreeMap<String, String>();
        for (var specification : input.path("TagSpecifications")) {
            if (specification.path("ResourceType").asText().equals(type)) {
                tags.putAll(Need.tags(specification.path("Tags"), "Key", "Value"));
            }
        }
        return tags;
    }

    /** On what does not have an id yet. */
    private static Need made(String action, String type, Map<String, String> tags, Caller caller) {
        return new Need(action, caller.arn("ec2", type + "/*")).requestTags(tags).key("ec2:Region", caller.region());
    }

    /** Tags given at creation need a permission of their own. */
    private static void tagging(List<Need> needs, String operation, String type, Map<String, String> tags,
            Caller caller) {
        if (!tags.isEmpty()) {
            needs.add(made("ec2:CreateTags", type, tags, caller).key("ec2:CreateAction", operation));
        }
    }

    private Need on(String action, String id, Caller caller) {
        var type = id.startsWith("sg-") ? "security-group" : id.startsWith("sgr-") ? "security-group-rule"
                : id.startsWith("vpce-") ? "vpc-endpoint" : id.startsWith("subnet-") ? "subnet" : "vpc";
        var state = state(caller.region());
        var thing = Stream.of(state.vpcs, state.subnets, state.groups, state.endpoints).map(things -> things.get(id))
                .filter(found -> found != null).findFirst();
        var owner = thing.filter(t -> t.data.hasNonNull("OwnerId")).map(t -> t.get("OwnerId")).orElse(account);
        var need = new Need(action, "arn:" + caller.partition() + ":ec2:" + caller.region() + ":" + owner + ":" + type
                + "/" + id).owner(account).key("ec2:Region", caller.region()); // a shared subnet is used as one's own
        if (thing.isEmpty()) return need;
        var tags = Need.tags(thing.get().data.path("Tags"), "Key", "Value");
        need = need.resourceTags(tags);
        for (var tag : tags.entrySet()) need = need.key("ec2:ResourceTag/" + tag.getKey(), tag.getValue());
        var vpc = caller.arn("ec2", "vpc/" + thing.get().get("VpcId"));
        return switch (type) {
            case "security-group" -> need.key("ec2:SecurityGroupID", id).key("ec2:Vpc", vpc);
            case "subnet" -> need.key("ec2:SubnetID", id).key("ec2:Vpc", vpc);
            case "vpc" -> need.key("ec2:VpcID", id).key("ec2:Tenancy", thing.get().get("InstanceTenancy"));
            default -> need;
        };
    }

    /** The endpoint as the requests that come through it have it, or null when it is not there. */
    synchronized Caller.Endpoint through(String endpointId) {
        var region = regionOf.get(endpointId);
        var endpoint = region == null ? null : state(region).endpoints.get(endpointId);
        return endpoint == null ? null
                : new Caller.Endpoint(endpointId, endpoint.get("VpcId"), account, endpoint.get("ServiceName"),
                        PolicyEvaluator.Policy.of(endpointId, endpoint.get("PolicyDocument")));
    }

    // ---- Calls

    @Override
    public synchronized JsonNode answer(String operation, ObjectNode input, Caller caller) {
        if (input.path("DryRun").asBoolean()) {
            throw new AwsError(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.");
        }
        var state = state(caller.region());
        return switch (operation) {
            case "DescribeVpcs" -> describe(state.vpcs, input, "VpcIds", VPC, "Vpcs", VPC_FILTERS);
            case "DescribeVpcAttribute" -> describeVpcAttribute(state, input);
            case "DescribeSubnets" -> describe(state.subnets, input, "SubnetIds", SUBNET, "Subnets", SUBNET_FILTERS);
            case "CreateSecurityGroup" -> createSecurityGroup(state, input);
            case "DeleteSecurityGroup" -> deleteSecurityGroup(state, input);
            case "DescribeSecurityGroups" -> describeSecurityGroups(state, input);
            case "DescribeSecurityGroupRules" -> describeSecurityGroupRules(state, input);
            case "DescribeTags" -> describeTags(state, input);
            case "AuthorizeSecurityGroupIngress" -> authorizeSecurityGroupIngress(state, input, caller);
            case "RevokeSecurityGroupIngress" -> revokeSecurityGroupIngress(state, input);
            case "UpdateSecurityGroupRuleDescriptionsIngress" -> describeIngress(state, input);
            case "DescribeVpcEndpointServices" -> describeVpcEndpointServices(input, caller);
            case "CreateVpcEndpoint" -> createVpcEndpoint(state, input, caller);
            case "ModifyVpcEndpoint" -> modifyVpcEndpoint(state, input, caller);
            case "DeleteVpcEndpoints" -> deleteVpcEndpoints(state, input);
            case "DescribeVpcEndpoints" -> describeVpcEndpoints(state, input);
            case "CreateTags" -> createTags(state, input);
            case "DeleteTags" -> deleteTags(state, input);
            default ->
                throw new AwsError("InvalidAction", "The action " + operation + " is not valid for this web service.");
        };
    }

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        var first = violations.get(0);
        return switch (first.rule()) {
            case REQUIRED ->
                new AwsError("MissingParameter", "The request must contain the parameter " + first.member());
            case UNKNOWN -> new AwsError("UnknownParameter", "The parameter " + first.member() + " is not recognized");
            default -> invalidValue(first.text());
        };
    }

    // ---- Lists: ids, filters, pages

    /** How a kind of thing is named in ids and errors; EC2 itself is not of one mind. */
    private record Kind(String prefix, String malformed, String notFound, String notFoundText) {
        Thing find(Map<String, Thing> things, String id) {
            if (!id.matches(prefix + "-[0-9a-z]+")) {
                throw new AwsError(malformed, "Invalid id: \"" + id + "\" (expecting \"" + prefix
                        + "-...; the Id may only contain lowercase alphanumeric characters and a single dash\")");
            }
            var thing = things.get(id);
            if (thing == null || thing.hidden-- > 0) throw new AwsError(notFound, notFoundText.replace("%", id));
            return thing;
        }
    }

    private static final Kind VPC = new Kind("vpc", "InvalidVpcID.Malformed", "InvalidVpcID.NotFound",
            "The vpc ID '%' does not exist");
    private static final Kind SUBNET = new Kind("subnet", "InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound",
            "The subnet ID '%' does not exist");
    private static final Kind ENDPOINT_SUBNET = new Kind("subnet", "InvalidSubnetId.Malformed",
            "InvalidSubnetId.NotFound", "The subnet ID '%' does not exist");
    private static final Kind GROUP = new Kind("sg", "InvalidGroupId.Malformed", "InvalidGroup.NotFound",
            "The security group '%' does not exist");
    private static final Kind ENDPOINT = new Kind("vpce", "InvalidVpcEndpointId.Malformed",
            "InvalidVpcEndpointId.NotFound",
            "The Vpc Endpoint Id '%' does not exist");

    private interface Values extends Function<JsonNode, Stream<String>> { }

    private static Values member(String path) {
        return data -> Stream.of(data.at("/" + path).asText());
    }

    private static Values each(String list, String member) {
        return data -> stream(data.path(list)).map(item -> item.at("/" + member).asText());
    }

    private static final Map<String, Values> VPC_FILTERS = Map.of("vpc-id", member("VpcId"), "owner-id",
            member("OwnerId"), "state", member("State"),
            "cidr", member("CidrBlock"), "is-default", member("IsDefault"), "cidr-block-association.cidr-block",
            each("CidrBlockAssociationSet", "CidrBlock"),
            "ipv6-cidr-block-association.ipv6-cidr-block", each("Ipv6CidrBlockAssociationSet", "Ipv6CidrBlock"));
    private static final Map<String,
            Values> SUBNET_FILTERS = Map.of("vpc-id", member("VpcId"), "subnet-id", member("SubnetId"), "owner-id",
                    member("OwnerId"),
            "availability-zone", member("AvailabilityZone"), "availabilityZone", member("AvailabilityZone"),
            "availability-zone-id", member("AvailabilityZoneId"),
                    "cidr-block", member("CidrBlock"), "state", member("State"), "ipv6-native", member("Ipv6Native"),
                    "default-for-az", member("DefaultForAz"));
    private static final Map<String,
            Values> GROUP_FILTERS = Map.of("vpc-id", member("VpcId"), "group-id", member("GroupId"), "group-name",
                    member("GroupName"),
            "owner-id", member("OwnerId"), "description", member("Description"));
    private static final Map<String,
            Values> ENDPOINT_FILTERS = Map.of("vpc-id", member("VpcId"), "vpc-endpoint-id", member("VpcEndpointId"),
                    "service-name", member("ServiceName"), "vpc-endpoint-state", member("State"), "vpc-endpoint-type",
                    member("VpcEndpointType"),
            "ip-address-type", member("IpAddressType"));
    private static final Map<String, Values> RULE_FILTERS = Map.of("group-id", member("GroupId"),
            "security-group-rule-id", member("SecurityGroupRuleId"));
    private static final Map<String, Values> TAG_FILTERS = Map.of("resource-id", member("ResourceId"), "resource-type",
            member("ResourceType"), "key", member("Key"), "value", member("Value"));
    private static final Map<String,
            Values> SERVICE_FILTERS = Map.of("service-name", member("ServiceName"), "owner", member("Owner"),
            "service-type", each("ServiceType", "ServiceType"), "supported-ip-address-types",
            data -> stream(data.path("SupportedIpAddressTypes")).map(JsonNode::asText));

    private ObjectNode describe(Map<String, Thing> things, ObjectNode input, String ids, Kind kind, String list,
            Map<String, Values> filters) {
        var shown = new TreeMap<String, ObjectNode>();
        if (input.has(ids)) {
            if (input.has("MaxResults")) {
                throw new AwsError("InvalidParameterCombination",
                        "The parameter " + ids + " cannot be used with the parameter maxResults");
            }
            for (var id : input.get(ids)) shown.put(id.asText(), shown(kind.find(things, id.asText())));
        } else {
            things.forEach((id, thing) -> {
                if (thing.hidden-- <= 0) shown.put(id, shown(thing));
            });
        }
        return page(shown, input, input.has(ids), list, filters);
    }

    /** A page is cut first and filtered then, so that it may be empty though more follow. */
    private ObjectNode page(TreeMap<String, ObjectNode> all, ObjectNode input, boolean whole, String list,
            Map<String, Values> filters) {
        for (var filter : input.path("Filters")) {
            var name = filter.path("Name").asText();
            if (!filters.containsKey(name) && !name.matches("tag:.+|tag-key")) {
                throw invalidValue("The filter '" + name + "' is invalid");
            }
            if (!filter.path("Values").isArray() || filter.get("Values").isEmpty()) {
                throw invalidValue("The filter '" + name + "' has no values");
            }
        }
        var question = Integer.toHexString(input.path("Filters").toString().hashCode());
        var rest = all;
        if (input.has("NextToken")) {
            var token = token(input.get("NextToken").asText());
            if (!token.startsWith(question + " ")) {
                throw new AwsError("InvalidNextToken", "The token was not given for this request");
            }
            rest = new TreeMap<>(all.tailMap(token.substring(question.length() + 1), false));
        }
        var size = whole ? Integer.MAX_VALUE : Math.min(pageSize, input.path("MaxResults").asInt(1000));
        var answer = node();
        var items = answer.putArray(list);
        rest.values().stream().limit(size).filter(data -> matches(data, input.path("Filters"), filters))
                .forEach(items::add);
        if (rest.size() > size) {
            var last = rest.keySet().stream().limit(size).reduce("", (a, b) -> b);
            answer.put("NextToken",
                    Base64.getEncoder().encodeToString((question + " " + last).getBytes(StandardCharsets.UTF_8)));
        }
        return answer;
    }

    private static String token(String encoded) {
        try {
            return new String(Base64.getDecoder().decode(encoded), StandardCharsets.UTF_8);
        } catch (IllegalArgumentException e) {
            throw new AwsError("InvalidNextToken", "The token '" + encoded + "' is invalid");
        }
    }

    /** All filters must match, each by one of its values, in which * and ? are wildcards; case counts. */
    private static boolean matches(JsonNode data, JsonNode filters, Map<String, Values> known) {
        return stream(filters).allMatch(filter -> {
            var name = filter.get("Name").asText();
            Stream<String> values = known.containsKey(name) ? known.get(name).apply(data)
                    : name.equals("tag-key") ? stream(data.path("Tags")).map(t -> t.path("Key").asText())
                            : stream(data.path("Tags")).filter(t -> t.path("Key").asText().equals(name.substring(4)))
                                    .map(t -> t.path("Value").asText());
            var wanted = stream(filter.get("Values")).map(v -> Pattern.compile(glob(v.asText()))).toList();
            return values.anyMatch(value -> wanted.stream().anyMatch(w -> w.matcher(value).matches()));
        });
    }

    private static String glob(String pattern) {
        return Arrays.stream(pattern.split("(?=[*?])|(?<=[*?])"))
                .map(part -> part.equals("*") ? ".*" : part.equals("?") ? "." : Pattern.quote(part))
                .reduce("(?s)", String::concat);
    }

    private ObjectNode shown(Thing thing) {
        var data = thing.data.deepCopy();
        data.remove(List.of("EnableDnsSupport", "EnableDnsHostnames"));
        if (data.has("GroupName")) {
            data.set("IpPermissions", permissions(thing.ingress));
            data.set("IpPermissionsEgress", permissions(thing.egress));
        }
        return data;
    }

    // ---- VPCs and tags

    private ObjectNode describeVpcAttribute(State state, ObjectNode input) {
        var vpc = VPC.find(state.vpcs, input.get("VpcId").asText());
        var answer = node().put("VpcId", vpc.get("VpcId"));
        var member = input.get("Attribute").asText().replace("enable", "Enable");
        answer.putObject(member).put("Value", vpc.data.path(member).asBoolean());
        return answer;
    }

    private ObjectNode createTags(State state, ObjectNode input) {
        var things = taggable(state, input.get("Resources"));
        checkTags(input.get("Tags"));
        for (var thing : things) {
            var tags = new LinkedHashMap<String, JsonNode>();
            stream(thing.data.path("Tags")).forEach(tag -> tags.put(tag.get("Key").asText(), tag));
            stream(input.get("Tags")).forEach(tag -> tags.put(tag.get("Key").asText(), tag));
            if (tags.size() > 50) {
                throw new AwsError("TagLimitExceeded", "The maximum number of tags for a resource is 50");
            }
            thing.data.putArray("Tags").addAll(tags.values());
        }
        return null;
    }

    /** With a value, the tag goes only if it has that value; without one, whatever it has. */
    private ObjectNode deleteTags(State state, ObjectNode input) {
        for (var thing : taggable(state, input.get("Resources"))) {
            var left = stream(thing.data.path("Tags")).filter(tag -> input.has("Tags") && stream(input.get("Tags"))
                    .noneMatch(gone -> gone.path("Key").equals(tag.get("Key"))
                    && (!gone.has("Value") || gone.get("Value").equals(tag.get("Value"))))).toList();
            thing.data.putArray("Tags").addAll(left);
        }
        return null;
    }

    private static List<Thing> taggable(State state, JsonNode ids) {
        return stream(ids).map(JsonNode::asText).map(id ->
        id.startsWith("vpc-") ? VPC.find(state.vpcs, id) : id.startsWith("subnet-") ? SUBNET.find(state.subnets, id)
                : id.startsWith("vpce-") ? ENDPOINT.find(state.endpoints, id) : GROUP.find(state.groups, id)).toList();
    }

    private static void checkTags(JsonNode tags) {
        var keys = new HashSet<String>();
        for (var tag : tags) {
            var key = tag.path("Key").asText();
            if (key.isEmpty() || key.startsWith("aws:")) {
                throw invalidValue("Tag keys starting with 'aws:' are reserved for internal use");
            }
            if (key.length() > 128) throw invalidValue("Tag key exceeds the maximum length of 128 characters");
            if (tag.path("Value").asText().length() > 256) {
                throw invalidValue("Tag value exceeds the maximum length of 256 characters");
            }
            if (!keys.add(key)) throw invalidValue("Duplicate tag key '" + key + "' specified.");
        }
        if (keys.size() > 50) throw new AwsError("TagLimitExceeded", "The maximum number of tags for a resource is 50");
    }

    /** The tags of a request's TagSpecifications, which must be for the type that it makes. */
    private static ArrayNode tags(ObjectNode input, String type) {
        var tags = node().arrayNode();
        for (var specification : input.path("TagSpecifications")) {
            if (!specification.path("ResourceType").asText().equals(type)) {
                throw invalidValue("'" + specification.path("ResourceType").asText()
                        + "' is not a valid taggable resource type for this operation.");
            }
            tags.addAll((ArrayNode) specification.withArray("/Tags"));
        }
        checkTags(tags);
        return tags;
    }

    // ---- Security groups

    private static final String TEXT = "[a-zA-Z0-9 ._\\-:/()#,@\\[\\]+=&;{}!$*]{1,255}";

    private ObjectNode createSecurityGroup(State state, ObjectNode input) {
        if (!input.has("VpcId")) throw new AwsError("VPCIdNotSpecified", "No default VPC for this user");
        var vpcId = VPC.find(state.vpcs, input.get("VpcId").asText()).get("VpcId");
        var name = input.get("GroupName").asText();
        if (name.startsWith("sg-")) {
            throw invalidValue(
                    "Invalid value '" + name + "' for groupName. Group names may not be in the format sg-*.");
        }
        if (!name.matches(TEXT)) throw invalidValue("Value (" + name + ") for parameter GroupName is invalid.");
        if (!input.get("Description").asText().matches(TEXT)) {
            throw invalidValue(
                    "Invalid security group description. Valid descriptions are strings less than 256 characters "
                            + "from the following set:  "
                    + "a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*");
        }
        if (state.groups.values().stream()
                .anyMatch(g -> g.get("VpcId").equals(vpcId) && g.get("GroupName").equalsIgnoreCase(name))) {
            throw new AwsError("InvalidGroup.Duplicate",
                    "The security group '" + name + "' already exists for VPC '" + vpcId + "'");
        }
        var group = newGroup(vpcId, name, input.get("Description").asText(), tags(input, "security-group"));
        group.hidden = callsUntilVisible;
        return node().put("GroupId", group.get("GroupId")).set("Tags", group.data.get("Tags"));
    }

    private Thing newGroup(String vpcId, String name, String description, ArrayNode tags) {
        var region = regionOf.get(vpcId);
        var data = node().put("GroupId", id("sg", region)).put("GroupName", name).put("Description", description)
                .put("VpcId", vpcId)
                .put("OwnerId", account);
        data.set("Tags", tags);
        var group = new Thing(data);
        group.egress.add(new Rule("-1", null, null, "IpRanges", "0.0.0.0/0", null, id("sgr", region)));
        if (thing(vpcId).data.has("Ipv6CidrBlockAssociationSet")) {
            group.egress.add(new Rule("-1", null, null, "Ipv6Ranges", "::/0", null, id("sgr", region)));
        }
        state(region).groups.put(group.get("GroupId"), group);
        return group;
    }

    private ObjectNode deleteSecurityGroup(State state, ObjectNode input) {
        var group = namedGroup(state, input);
        var id = group.get("GroupId");
        if (group.get("GroupName").equals("default")) {
            throw new AwsError("CannotDelete",
                    "the specified group: \"" + id + "\" name: \"default\" cannot be deleted by a user");
        }
        var used = state.endpoints.values().stream()
                .anyMatch(e -> stream(e.data.path("Groups")).anyMatch(g -> g.path("GroupId").asText().equals(id)))
                || state.groups.values().stream()
                        .anyMatch(other -> other != group && other.ingress.stream().anyMatch(r -> r.source.equals(id)));
        if (used) throw new AwsError("DependencyViolation", "resource " + id + " has a dependent object");
        state.groups.remove(id);
        return null;
    }

    private ObjectNode describeSecurityGroups(State state, ObjectNode input) {
        if (input.has("GroupNames")) throw invalidValue("Group names can be used for groups of a default VPC only");
        return describe(state.groups, input, "GroupIds", GROUP, "SecurityGroups", GROUP_FILTERS);
    }

    private static Thing namedGroup(State state, ObjectNode input) {
        if (!input.has("GroupId")) {
            throw new AwsError("MissingParameter",
                    "The request must contain the parameter GroupId: names are for groups of a default VPC only");
        }
        return GROUP.find(state.groups, input.get("GroupId").asText());
    }

    private ObjectNode authorizeSecurityGroupIngress(State state, ObjectNode input, Caller caller) {
        var group = namedGroup(state, input);
        var wanted = rules(state, input);
        tags(input, "security-group-rule");
        var keys = group.ingress.stream().map(Rule::key).collect(Collectors.toSet());
        for (var rule : wanted) {
            if (keys.contains(rule.key())) {
                throw new AwsError("InvalidPermission.Duplicate",
                        "the specified rule \"peer: " + rule.source + ", " + rule.protocol.toUpperCase()
                        + ", from port: " + rule.from + ", to port: " + rule.to + ", ALLOW\" already exists");
            }
        }
        for (var kind : List.of("IpRanges", "Ipv6Ranges")) {
            if (Stream.concat(group.ingress.stream(), wanted.stream()).filter(r -> r.kind.equals(kind)).count() > 60) {
                throw new AwsError("RulesPerSecurityGroupLimitExceeded",
                        "The maximum number of rules per security group has been reached.");
            }
        }
        var answer = node().put("Return", true);
        for (var rule : wanted) {
            var made = new Rule(rule.protocol, rule.from, rule.to, rule.kind, rule.source, rule.description,
                    id("sgr", caller.region()));
            group.ingress.add(made);
            answer.withArray("SecurityGroupRules").add(shown(group, made, false));
        }
        return answer;
    }

    private ObjectNode shown(Thing group, Rule rule, boolean egress) {
        var shown = node().put("SecurityGroupRuleId", rule.id).put("GroupId", group.get("GroupId"))
                .put("IsEgress", egress).put("GroupOwnerId", account).put("IpProtocol", rule.protocol)
                .put("FromPort", rule.from).put("ToPort", rule.to).put("Description", rule.description);
        switch (rule.kind) {
            case "IpRanges" -> shown.put("CidrIpv4", rule.source);
            case "Ipv6Ranges" -> shown.put("CidrIpv6", rule.source);
            case "PrefixListIds" -> shown.put("PrefixListId", rule.source);
            default -> shown.putObject("ReferencedGroupInfo").put("GroupId", rule.source).put("UserId", account);
        }
        return shown;
    }

    private ObjectNode describeSecurityGroupRules(State state, ObjectNode input) {
        var rules = new TreeMap<String, ObjectNode>();
        for (var group : state.groups.values()) {
            group.ingress.forEach(rule -> rules.put(rule.id, shown(group, rule, false)));
            group.egress.forEach(rule -> rules.put(rule.id, shown(group, rule, true)));
        }
        for (var id : texts(input.path("SecurityGroupRuleIds"))) {
            if (!rules.containsKey(id)) {
                throw new AwsError("InvalidSecurityGroupRuleId.NotFound",
                        "The security group rule ID '" + id + "' does not exist");
            }
        }
        if (input.has("SecurityGroupRuleIds")) rules.keySet().retainAll(texts(input.get("SecurityGroupRuleIds")));
        return page(rules, input, input.has("SecurityGroupRuleIds"), "SecurityGroupRules", RULE_FILTERS);
    }

    private ObjectNode describeTags(State state, ObjectNode input) {
        var tags = new TreeMap<String, ObjectNode>();
        Map.of("vpc", state.vpcs, "subnet", state.subnets, "security-group", state.groups, "vpc-endpoint",
                state.endpoints).forEach((type, things) -> things.forEach((id, thing) -> {
                    for (var tag : thing.data.path("Tags")) {
                        tags.put(id + " " + tag.get("Key").asText(), node().put("ResourceId", id)
                                .put("ResourceType", type).put("Key", tag.get("Key").asText())
                                .put("Value", tag.path("Value").asText()));
                    }
                }));
        return page(tags, input, false, "Tags", TAG_FILTERS);
    }

    private ObjectNode revokeSecurityGroupIngress(State state, ObjectNode input) {
        var group = namedGroup(state, input);
        var gone = new ArrayList<Rule>();
        if (input.has("SecurityGroupRuleIds")) {
            if (input.has("IpPermissions")) {
                throw new AwsError("InvalidParameterCombination",
                        "The parameter securityGroupRuleIds may not be used with ipPermissions");
            }
            for (var id : input.get("SecurityGroupRuleIds")) {
                gone.add(group.ingress.stream().filter(r -> r.id.equals(id.asText())).findFirst()
                        .orElseThrow(() -> new AwsError("InvalidSecurityGroupRuleId.NotFound",
                                "The security group rule ID '" + id.asText()
                        + "' does not exist")));
            }
        } else {
            for (var rule : rules(state, input)) {
                gone.add(group.ingress.stream().filter(r -> r.key().equals(rule.key())).findFirst()
                        .orElseThrow(() -> new AwsError("InvalidPermission.NotFound",
                                "The specified rule does not exist in this security group.")));
            }
        }
        group.ingress.removeAll(gone);
        return node().put("Return", true);
    }

    /** A description that is left out is removed; a rule that does not exist is an error, and none is changed then. */
    private ObjectNode describeIngress(State state, ObjectNode input) {
        var group = namedGroup(state, input);
        if (input.has("SecurityGroupRuleDescriptions")) {
            throw new AwsError("UnsupportedOperation", "The embedded AWS takes IpPermissions only");
        }
        var described = rules(state, input).stream().collect(Collectors.toMap(Rule::key, rule -> rule));
        if (!group.ingress.stream().map(Rule::key).collect(Collectors.toSet()).containsAll(described.keySet())) {
            throw new AwsError("InvalidPermission.NotFound",
                    "The specified rule does not exist in this security group.");
        }
        group.ingress.replaceAll(rule -> described.containsKey(rule.key()) ? new Rule(rule.protocol, rule.from, rule.to,
                rule.kind, rule.source, described.get(rule.key()).description, rule.id) : rule);
        return node().put("Return", true);
    }

    private static final Map<String,
            String> SOURCES = Map.of("IpRanges", "CidrIp", "Ipv6Ranges", "CidrIpv6", "UserIdGroupPairs", "GroupId",
                    "PrefixListIds",
            "PrefixListId");

    /** The rules that a request names: in IpPermissions, or one in CidrIp, IpProtocol, FromPort and ToPort. */
    private static List<Rule> rules(State state, ObjectNode input) {
        var permissions = input.path("IpPermissions");
        if (permissions.isMissingNode() || permissions.isEmpty()) {
            if (!input.has("CidrIp")) {
                throw new AwsError("MissingParameter", "The request must contain the parameter ipPermissions");
            }
            var one = node().arrayNode();
            var permission = one.addObject();
            for (var member : List.of("IpProtocol", "FromPort", "ToPort")) permission.set(member, input.get(member));
            permission.putArray("IpRanges").addObject().set("CidrIp", input.get("CidrIp"));
            permissions = one;
        }
        var rules = new ArrayList<Rule>();
        for (var permission : permissions) {
            var protocol = protocol(permission.path("IpProtocol").asText());
            var ports = protocol.equals("tcp") || protocol.equals("udp");
            var from = permission.path("FromPort").asInt(-1);
            var to = permission.path("ToPort").asInt(-1);
            if (ports && (from < 0 || to > 65535 || from > to)) {
                throw invalidValue("Invalid value '" + from + "-" + to + "' for port range.");
            }
            SOURCES.forEach((kind, member) -> stream(permission.path(kind)).forEach(source -> {
                var value = source.path(member).asText();
                if (kind.equals("UserIdGroupPairs")) GROUP.find(state.groups, value);
                var description = source.path("Description").asText("");
                if (!description.isEmpty() && !description.matches(TEXT.replace("&", ""))) {
                    throw invalidValue(
                            "Invalid rule description. Valid descriptions are strings less than 256 characters from "
                                    + "the following set:  "
                            + "a-zA-Z0-9. _-:/()#,@[]+=;{}!$*");
                }
                if (kind.startsWith("Ip")) {
                    if (kind.equals("IpRanges") == value.contains(":")) {
                        throw invalidValue("CIDR block " + value + " is malformed");
                    }
                    value = canonical(value);
                }
                rules.add(new Rule(protocol, ports ? from : null, ports ? to : null, kind, value,
                        description.isEmpty() ? null : description, null));
            }));
        }
        if (rules.isEmpty()) {
            throw new AwsError("InvalidPermission.Malformed",
                    "A rule needs a source: a CIDR, a prefix list or a security group");
        }
        if (rules.stream().map(Rule::key).distinct().count() < rules.size()) {
            throw invalidValue("The same permission must not appear multiple times");
        }
        return rules;
    }

    private static String protocol(String name) {
        return switch (name) {
            case "tcp", "6" -> "tcp";
            case "udp", "17" -> "udp";
            case "icmp", "1" -> "icmp";
            case "-1" -> "-1";
            default -> throw new AwsError("InvalidPermission.Malformed",
                    "Unsupported IP protocol \"" + name + "\"  - supported: [tcp, udp, icmp, -1]");
        };
    }

    private ArrayNode permissions(List<Rule> rules) {
        var grouped = new LinkedHashMap<List<Object>, ObjectNode>();
        for (var rule : rules) {
            var permission = grouped.computeIfAbsent(Arrays.asList(rule.protocol, rule.from, rule.to), k -> {
                var empty = node().put("IpProtocol", rule.protocol).put("FromPort", rule.from).put("ToPort", rule.to);
                SOURCES.keySet().forEach(empty::putArray);
                return empty;
            });
            var source = permission.withArray(rule.kind).addObject().put(SOURCES.get(rule.kind), rule.source)
                    .put("Description", rule.description);
            if (rule.kind.equals("UserIdGroupPairs")) source.put("UserId", account);
        }
        return node().arrayNode().addAll(grouped.values());
    }

    /** A CIDR with its host bits off, and an IPv6 address in its shortest form: what EC2 makes of what it is given. */
    static String canonical(String cidr) {
        var malformed = invalidValue("CIDR block " + cidr + " is malformed");
        var parts = cidr.split("/", -1);
        var ipv6 = parts[0].contains(":");
        if (parts.length != 2 || !parts[1].matches("\\d{1,3}")
                || !parts[0].matches(ipv6 ? "[0-9a-fA-F:.]+" : "\\d{1,3}(\\.\\d{1,3}){3}")) {
            throw malformed;
        }
        byte[] address;
        try {
            address = InetAddress.getByName(parts[0]).getAddress();
        } catch (UnknownHostException e) {
            throw malformed;
        }
        var bits = Integer.parseInt(parts[1]);
        if (bits > address.length * 8 || address.length != (ipv6 ? 16 : 4)) throw malformed;
        for (var bit = bits; bit < address.length * 8; bit++) address[bit / 8] &= (byte) ~(0x80 >> bit % 8);
        if (!ipv6) {
            return (address[0] & 255) + "." + (address[1] & 255) + "." + (address[2] & 255) + "."
                    + (address[3] & 255) + "/" + bits;
        }
        var text = new StringBuilder();
        for (var i = 0; i < 16; i += 2) {
            text.append(i == 0 ? "" : ":").append(Integer.toHexString((address[i] & 255) << 8 | address[i + 1] & 255));
        }
        // the longest run of two or more zero groups, the first of equals, becomes "::" (RFC 5952)
        for (var run = 8; run >= 2; run--) {
            var zeros = Pattern.compile("(^|:)0(:0){" + (run - 1) + "}(:|$)").matcher(text);
            if (zeros.find()) return zeros.replaceFirst("::") + "/" + bits;
        }
        return text + "/" + bits;
    }

    // ---- Endpoint services

    private static final Set<String> FIPS_REGIONS = Set.of("us-east-1", "us-east-2", "us-west-1", "us-west-2",
            "ca-central-1", "us-gov-west-1",
            "us-gov-east-1");
    private static final List<
            String> CODECOMMIT = List.of("codecommit", "codecommit-fips", "git-codecommit", "git-codecommit-fips");
    private static final List<String> OTHER_SERVICES = List.of("codebuild", "dynamodb", "ec2", "events", "kms",
            "lambda", "logs", "monitoring", "s3", "sns",
            "sts");

    /** The service with this name, with or without its prefix. */
    private ObjectNode service(String region, String name) {
        return services(region).values().stream()
                .filter(s -> ("." + s.get("ServiceName").asText()).endsWith("." + region + "." + name)
                || s.get("ServiceName").asText().equals(name)).findFirst()
                .orElseThrow(() -> new AwsError("InvalidServiceName",
                        "The Vpc Endpoint Service '" + name + "' does not exist"));
    }

    private TreeMap<String, ObjectNode> services(String region) {
        var suffix = new Caller("", "", region).dnsSuffix();
        var state = state(region);
        var services = new TreeMap<String, ObjectNode>();
        Stream.concat(CODECOMMIT.stream().filter(s -> !s.endsWith("-fips") || FIPS_REGIONS.contains(region)),
                OTHER_SERVICES.stream()).forEach(name -> {
            var gateway = name.equals("s3") || name.equals("dynamodb");
            var zones = new TreeSet<>(state.zones);
            zones.removeAll(state.withoutZones.getOrDefault(name, Set.of()));
                    var data = node()
                            .put("ServiceName",
                                    (CODECOMMIT.contains(name) && region.startsWith("cn-") ? "cn." : "")
                                            + "com.amazonaws." + region + "." + name)
                            .put("ServiceId",
                                    "vpce-svc-0" + Credentials
                                            .hex(Credentials.sha256((region + name).getBytes(StandardCharsets.UTF_8)))
                                            .substring(0, 16))
                    .put("Owner", "amazon")
                            .put("VpcEndpointPolicySupported", true).put("AcceptanceRequired", false)
                            .put("ManagesVpcEndpoints", false);
            data.putArray("ServiceType").addObject().put("ServiceType", gateway ? "Gateway" : "Interface");
            zones.forEach(data.putArray("AvailabilityZones")::add);
            data.putArray("BaseEndpointDnsNames").add(name + "." + region + ".vpce." + suffix);
            if (!gateway) {
                        data.put("PrivateDnsName", name + "." + region + "." + suffix)
                                .put("PrivateDnsNameVerificationState", "verified");
                data.putArray("PrivateDnsNames").addObject().put("PrivateDnsName", name + "." + region + "." + suffix);
                data.putArray("SupportedIpAddressTypes").add("ipv4");
            }
            services.put(data.get("ServiceName").asText(), data);
        });
        return services;
    }

    private ObjectNode describeVpcEndpointServices(ObjectNode input, Caller caller) {
        var all = services(caller.region());
        if (input.has("ServiceNames")) {
            for (var name : input.get("ServiceNames")) {
                if (!all.containsKey(name.asText())) {
                    throw new AwsError("InvalidServiceName",
                            "The Vpc Endpoint Service '" + name.asText() + "' does not exist");
                }
            }
            all.keySet().retainAll(stream(input.get("ServiceNames")).map(JsonNode::asText).toList());
        }
        var answer = page(all, input, input.has("ServiceNames"), "ServiceDetails", SERVICE_FILTERS);
        answer.get("ServiceDetails").forEach(s -> answer.withArray("ServiceNames").add(s.get("ServiceName")));
        return answer;
    }

    // ---- Endpoints

    private ObjectNode createVpcEndpoint(State state, ObjectNode input, Caller caller) {
        var token = input.path("ClientToken").asText("");
        var request = input.deepCopy();
        request.remove("ClientToken");
        if (state.clientTokens.containsKey(token)) {
            var before = state.clientTokens.get(token);
            if (!before.get("request").equals(request)) {
                throw new AwsError("IdempotentParameterMismatch",
                        "The request uses the same client token as a previous, but non-identical request.");
            }
            return node().put("ClientToken", token).set("VpcEndpoint", before.get("endpoint"));
        }
        var vpc = VPC.find(state.vpcs, input.get("VpcId").asText());
        var service = service(caller.region(), input.get("ServiceName").asText());
        if (!services(caller.region()).containsKey(input.get("ServiceName").asText())) {
            throw new AwsError("InvalidServiceName",
                    "The Vpc Endpoint Service '" + input.get("ServiceName").asText() + "' does not exist");
        }
        var type = input.path("VpcEndpointType").asText("Gateway");
        var offered = service.at("/ServiceType/0/ServiceType").asText();
        if (type.equals("Gateway") && input.has("SubnetIds")) {
            throw invalidParameter(
                    "Subnet IDs are only supported for Interface and GatewayLoadBalancer type VPC Endpoints.");
        }
        if (!type.equals(offered)) {
            throw invalidParameter(
                    "Endpoint type (" + type + ") does not match available service types ([" + offered + "]).");
        }
        if (!type.equals("Interface")) {
            throw new AwsError("UnsupportedOperation", "The embedded AWS makes interface endpoints only");
        }
        for (var member : List.of("RouteTableIds", "SubnetConfigurations", "DnsOptions")) {
            if (input.has(member)) {
                throw new AwsError("UnsupportedOperation", "The embedded AWS does not know " + member);
            }
        }
        if (!input.path("IpAddressType").asText("ipv4").equals("ipv4")) {
            throw invalidParameter(
                    "The endpoint service does not support the IP address type " + input.get("IpAddressType").asText());
        }
        var privateDns = input.path("PrivateDnsEnabled").asBoolean(true);
        if (privateDns) checkPrivateDns(state, vpc, service, null);
        var subnets = texts(input.path("SubnetIds"));
        checkSubnets(state, vpc, service, List.of(), subnets);
        var groups = texts(input.path("SecurityGroupIds"));
        checkGroups(state, vpc, groups);
        if (groups.isEmpty()) {
            groups = state.groups.values().stream()
                    .filter(g -> g.get("VpcId").equals(vpc.get("VpcId")) && g.get("GroupName").equals("default"))
                    .map(g -> g.get("GroupId")).toList();
        }
        var policy = policy(input, caller, EndpointPolicy.FULL_ACCESS);
        var endpoint = newEndpoint(vpc, service, policy, privateDns, subnets, groups, tags(input, "vpc-endpoint"));
        endpoint.data.put("State", "pending");
        endpoint.hidden = callsUntilVisible;
        endpoint.pending = timesPending;
        endpoint.failure = state.nextFailure;
        state.nextFailure = null;
        if (!token.isEmpty()) {
            var remembered = node();
            remembered.set("request", request);
            remembered.set("endpoint", endpoint.data.deepCopy());
            state.clientTokens.put(token, remembered);
        }
        var answer = node();
        if (!token.isEmpty()) answer.put("ClientToken", token);
        return answer.set("VpcEndpoint", endpoint.data.deepCopy());
    }

    private static String policy(ObjectNode input, Caller caller, String otherwise) {
        return input.has("PolicyDocument")
                ? EndpointPolicy.rewritten(input.get("PolicyDocument").asText(), caller.partition()) : otherwise;
    }

    private Thing newEndpoint(Thing vpc, ObjectNode service, String policy, boolean privateDns, List<String> subnets,
            List<String> groups, ArrayNode tags) {
        var region = regionOf.get(vpc.get("VpcId"));
        var id = id("vpce", region);
        var data = node().put("VpcEndpointId", id).put("VpcEndpointType", "Interface").put("VpcId", vpc.get("VpcId"))
                .put("ServiceName", service.get("ServiceName").asText())
                .put("State", "available").put("PolicyDocument", policy).put("PrivateDnsEnabled", privateDns)
                .put("RequesterManaged", false)
                .put("IpAddressType", "ipv4")
                .put("OwnerId", account).put("CreationTimestamp", aws.now().getEpochSecond());
        data.putObject("DnsOptions").put("DnsRecordIpType", "ipv4");
        data.set("Tags", tags);
        data.putArray("RouteTableIds");
        data.putArray("SubnetIds");
        data.putArray("Groups");
        var endpoint = new Thing(data);
        state(region).endpoints.put(id, endpoint);
        attach(endpoint, subnets, groups);
        return endpoint;
    }

    private void attach(Thing endpoint, Collection<String> subnets, Collection<String> groups) {
        var data = endpoint.data;
        var region = regionOf.get(endpoint.get("VpcEndpointId"));
        data.putArray("SubnetIds");
        data.putArray("NetworkInterfaceIds");
        subnets.forEach(subnet -> {
            data.withArray("SubnetIds").add(subnet);
            data.withArray("NetworkInterfaceIds").add(id("eni", region));
        });
        data.putArray("Groups");
        groups.forEach(group -> data.withArray("Groups").addObject().put("GroupId", group).put("GroupName",
                thing(group).get("GroupName")));
        var service = service(region, endpoint.get("ServiceName"));
        var name = endpoint.get("VpcEndpointId") + "-" + endpoint.get("VpcEndpointId").substring(8, 16);
        var suffix = "." + service.at("/BaseEndpointDnsNames/0").asText();
        var entries = data.putArray("DnsEntries");
        entries.addObject().put("DnsName", name + suffix).put("HostedZoneId", "Z7HUB22UULQXV");
        subnets.forEach(subnet -> entries.addObject()
                .put("DnsName", name + "-" + thing(subnet).get("AvailabilityZone") + suffix)
                .put("HostedZoneId", "Z7HUB22UULQXV"));
        if (data.path("PrivateDnsEnabled").asBoolean()) {
            service.get("PrivateDnsNames")
                    .forEach(n -> entries.addObject().put("DnsName", n.get("PrivateDnsName").asText())
                    .put("HostedZoneId", "Z0PRIVATEZONEEXAMPLE"));
        }
    }

    private static void checkPrivateDns(State state, Thing vpc, ObjectNode service, Thing except) {
        if (!vpc.data.path("EnableDnsSupport").asBoolean() || !vpc.data.path("EnableDnsHostnames").asBoolean()) {
            throw invalidParameter(
                    "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set "
                            + "to true for "
                    + vpc.get("VpcId"));
        }
        if (state.endpoints.values().stream()
                .anyMatch(e -> e != except && e.get("VpcId").equals(vpc.get("VpcId"))
                        && e.data.path("PrivateDnsEnabled").asBoolean()
                        && e.get("ServiceName").equals(service.get("ServiceName").asText())
                        && !e.get("State").equals("failed"))) {
            throw invalidParameter(
                    "private-dns-enabled cannot be set because there is already a conflicting DNS domain for "
                    + service.at("/PrivateDnsNames/0/PrivateDnsName").asText() + " in the VPC " + vpc.get("VpcId"));
        }
    }

    private void checkSubnets(State state, Thing vpc, ObjectNode service, List<String> present,
            List<String> added) {
        var zones = new HashSet<String>();
        present.forEach(id -> zones.add(state.subnets.get(id).get("AvailabilityZone")));
        for (var id : added) {
            var subnet = ENDPOINT_SUBNET.find(state.subnets, id);
            if (!subnet.get("VpcId").equals(vpc.get("VpcId"))) {
                throw invalidParameter("Subnet " + id + " does not belong to VPC " + vpc.get("VpcId"));
            }
            if (!subnet.get("OwnerId").equals(account)) {
                throw invalidParameter(
                        "Subnet " + id + " is shared by another account and cannot be used for an endpoint");
            }
            if (subnet.data.path("Ipv6Native").asBoolean()) {
                throw invalidParameter(
                        "Subnet " + id + " has no IPv4 CIDR block, which the IP address type ipv4 needs");
            }
            if (stream(service.get("AvailabilityZones"))
                    .noneMatch(z -> z.asText().equals(subnet.get("AvailabilityZone")))) {
                throw invalidParameter("The VPC endpoint service " + service.get("ServiceName").asText()
                        + " does not support the availability zone of the subnet: " + id + ".");
            }
            if (!zones.add(subnet.get("AvailabilityZone"))) {
                throw new AwsError("DuplicateSubnetsInSameZone",
                        "Found another VPC endpoint subnet in the availability zone of " + id
                                + ". VPC endpoint subnets should be in different availability zones supported by the "
                                + "VPC endpoint service.");
            }
        }
    }

    private static void checkGroups(State state, Thing vpc, List<String> ids) {
        for (var id : ids) {
            if (!GROUP.find(state.groups, id).get("VpcId").equals(vpc.get("VpcId"))) {
                throw new AwsError("InvalidGroup.NotFound",
                        "The security group '" + id + "' does not exist in VPC '" + vpc.get("VpcId") + "'");
            }
        }
    }

    private ObjectNode modifyVpcEndpoint(State state, ObjectNode input, Caller caller) {
        var endpoint = ENDPOINT.find(state.endpoints, input.get("VpcEndpointId").asText());
        if (endpoint.get("State").equals("pending")) {
            throw new AwsError("OperationInProgress", "VpcEndpoint modify operation in progress");
        }
        if (!endpoint.get("State").equals("available")) {
            throw new AwsError("InvalidState", "The endpoint is " + endpoint.get("State"));
        }
        for (var member : List.of("AddRouteTableIds", "RemoveRouteTableIds", "SubnetConfigurations", "DnsOptions",
                "IpAddressType", "ResetPolicy")) {
            if (input.has(member)) throw invalidParameter(member + " is not for interface endpoints here");
        }
        if (input.size() == 1) throw new AwsError("MissingParameter", "No attribute to modify is given");
        var vpc = state.vpcs.get(endpoint.get("VpcId"));
        var service = service(caller.region(), endpoint.get("ServiceName"));
        var subnets = new ArrayList<>(texts(endpoint.data.get("SubnetIds")));
        var groups = new ArrayList<>(stream(endpoint.data.get("Groups")).map(g -> g.get("GroupId").asText()).toList());
        for (var id : texts(input.path("RemoveSubnetIds"))) {
            if (!subnets.contains(id)) throw invalidParameter("Subnet " + id + " is not associated with the endpoint");
        }
        for (var id : texts(input.path("RemoveSecurityGroupIds"))) {
            if (!groups.contains(id)) {
                throw invalidParameter("Security group " + id + " is not associated with the endpoint");
            }
        }
        // What is there counts before what is removed: a zone's subnet cannot be exchanged in one call.
        checkSubnets(state, vpc, service, subnets,
                texts(input.path("AddSubnetIds")).stream().filter(id -> !subnets.contains(id)).toList());
        checkGroups(state, vpc, texts(input.path("AddSecurityGroupIds")));
        var privateDns = input.path("PrivateDnsEnabled").asBoolean(endpoint.data.path("PrivateDnsEnabled").asBoolean());
        if (privateDns) checkPrivateDns(state, vpc, service, endpoint);
        var policy = policy(input, caller, endpoint.get("PolicyDocument"));
        subnets.removeAll(texts(input.path("RemoveSubnetIds")));
        texts(input.path("AddSubnetIds")).stream().filter(id -> !subnets.contains(id)).forEach(subnets::add);
        groups.removeAll(texts(input.path("RemoveSecurityGroupIds")));
        texts(input.path("AddSecurityGroupIds")).stream().filter(id -> !groups.contains(id)).forEach(groups::add);
        if (groups.isEmpty()) throw invalidParameter("An interface endpoint needs a security group");
        endpoint.data.put("PrivateDnsEnabled", privateDns).put("PolicyDocument", policy);
        attach(endpoint, subnets, groups);
        endpoint.data.put("State", "pending");
        endpoint.pending = timesPending;
        return node().put("Return", true);
    }

    private ObjectNode deleteVpcEndpoints(State state, ObjectNode input) {
        var answer = node();
        answer.putArray("Unsuccessful");
        for (var id : texts(input.get("VpcEndpointIds"))) {
            try {
                var endpoint = ENDPOINT.find(state.endpoints, id);
                endpoint.data.put("State", "deleting");
                endpoint.pending = timesPending;
            } catch (AwsError e) {
                answer.withArray("Unsuccessful").addObject().put("ResourceId", id).putObject("Error")
                        .put("Code", e.code).put("Message", e.getMessage());
            }
        }
        return answer;
    }

    private ObjectNode describeVpcEndpoints(State state, ObjectNode input) {
        var answer = describe(state.endpoints, input, "VpcEndpointIds", ENDPOINT, "VpcEndpoints", ENDPOINT_FILTERS);
        for (var shown : answer.get("VpcEndpoints")) {
            var endpoint = state.endpoints.get(shown.get("VpcEndpointId").asText());
            if (!endpoint.get("State").matches("pending|deleting") || --endpoint.pending > 0) continue;
            if (endpoint.get("State").equals("deleting")) {
                state.endpoints.remove(endpoint.get("VpcEndpointId"));
            } else if (endpoint.failure != null) {
                endpoint.data.put("State", "failed").set("LastError", endpoint.failure);
            } else {
                endpoint.data.put("State", "available");
            }
        }
        return answer;
    }

    // ----

    private static AwsError invalidValue(String text) {
        return new AwsError("InvalidParameterValue", text);
    }

    private static AwsError invalidParameter(String text) {
        return new AwsError("InvalidParameter", text);
    }

    private static List<String> texts(JsonNode list) {
        return stream(list).map(JsonNode::asText).toList();
    }

    private static Stream<JsonNode> stream(JsonNode list) {
        return StreamSupport.stream(list.spliterator(), false);
    }

    private static ObjectNode node() {
        return Models.JSON.createObjectNode();
    }
}
