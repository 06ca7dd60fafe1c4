import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import localaws.LocalAws;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.nodes.MappingNode;
import org.yaml.snakeyaml.nodes.Node;
import org.yaml.snakeyaml.nodes.ScalarNode;
import org.yaml.snakeyaml.nodes.SequenceNode;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.ec2.model.IpPermission;
import software.amazon.awssdk.services.ec2.model.ResourceType;
import software.amazon.awssdk.services.ec2.model.Tag;
import software.amazon.awssdk.services.ec2.model.TagSpecification;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.LifecycleRule;

/** The CloudFormation templates are the scripts' twins: what a stack makes, the scripts find as it should be. */
class TemplatesTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Path ENDPOINTS = Path.of("templates/codecommit-endpoints.yaml");
    static final Path BACKUP_BUCKET = Path.of("templates/codecommit-backup-bucket.yaml");
    static final LocalAws aws = LocalAws.start();

    @BeforeAll
    static void createPrincipals() {
        aws.iam.createRole("Developer");
        aws.kms.earlyCalls = 0;
    }

    @BeforeEach
    void use() {
        Script.use(aws);
    }

    @AfterAll
    static void stop() {
        aws.close();
    }

    /**
     * As much of CloudFormation as the templates need: parameters, conditions, the functions, AWS::LanguageExtensions'
     * loops.
     */
    static class Stack {
        final JsonNode template;
        /**
         * Values of parameters, pseudo parameters and loops; ids and attributes ("Name.Attribute") of what was made.
         */
        final Map<String, JsonNode> values = new TreeMap<>();

        Stack(Path file, String region, Map<String, String> parameters) throws IOException {
            template = json(new Yaml().compose(Files.newBufferedReader(file)));
            var partition = region.startsWith("cn-") ? "aws-cn" : region.startsWith("us-gov-") ? "aws-us-gov" : "aws";
            values.putAll(Map.of("AWS::Region", text(region), "AWS::Partition", text(partition), "AWS::AccountId",
                    text(LocalAws.ACCOUNT)));
            template.path("Parameters").properties().forEach(parameter -> {
                var type = parameter.getValue().path("Type").asText();
                var given = parameters.getOrDefault(parameter.getKey(),
                        parameter.getValue().path("Default").asText(null));
                if (given == null) throw new IllegalArgumentException(parameter.getKey() + " is missing");
                var isList = type.equals("CommaDelimitedList") || type.startsWith("List<");
                var items = isList ? given.split(",") : new String[] {given};
                for (var item : items) check(parameter.getKey(), parameter.getValue(), item);
                // an empty list has one item, which is empty: a loop over it goes round once
                values.put(parameter.getKey(), isList ? JSON.valueToTree(items) : text(given));
            });
            for (var name : parameters.keySet()) {
                if (!values.containsKey(name)) throw new IllegalArgumentException("there is no parameter " + name);
            }
        }

        static void check(String name, JsonNode parameter, String value) {
            if (parameter.has("AllowedPattern") && !value.matches(parameter.get("AllowedPattern").asText())) {
                throw new IllegalArgumentException(
                        name + " '" + value + "': " + parameter.path("ConstraintDescription").asText());
            }
            if (parameter.has("AllowedValues") && parameter.get("AllowedValues").valueStream()
                    .noneMatch(allowed -> allowed.asText().equals(value))) {
                throw new IllegalArgumentException(
                        name + " '" + value + "' is none of " + parameter.get("AllowedValues"));
            }
        }

        /** A YAML node with the short forms of functions written out. */
        static JsonNode json(Node node) {
            JsonNode value;
            if (node instanceof MappingNode mapping) {
                var object = JSON.createObjectNode();
                mapping.getValue().forEach(
                        tuple -> object.set(((ScalarNode) tuple.getKeyNode()).getValue(), json(tuple.getValueNode())));
                value = object;
            } else if (node instanceof SequenceNode sequence) {
                value = JSON.createArrayNode().addAll(sequence.getValue().stream().map(Stack::json).toList());
            } else {
                value = text(((ScalarNode) node).getValue());
            }
            var tag = node.getTag().getValue();
            if (!tag.startsWith("!")) return value;
            if (tag.equals("!GetAtt")) value = JSON.valueToTree(value.asText().split("\\.", 2));
            return JSON.createObjectNode().set(
                    tag.equals("!Ref") || tag.equals("!Condition") ? tag.substring(1) : "Fn::" + tag.substring(1),
                    value);
        }

        static JsonNode text(String text) {
            return JSON.getNodeFactory().textNode(text);
        }

        /** The section with its loops unrolled. Two items that make the same name are an error. */
        Map<String, JsonNode> unrolled(String section) {
            var all = new LinkedHashMap<String, JsonNode>();
            template.path(section).properties().forEach(member -> {
                if (!member.getKey().startsWith("Fn::ForEach::")) {
                    all.put(member.getKey(), member.getValue());
                    return;
                }
                var identifier = member.getValue().get(0).asText();
                for (var item : resolve(member.getValue().get(1))) {
                    values.put(identifier, item);
                    member.getValue().get(2).properties().forEach(made -> {
                        var name = made.getKey()
                                .replace("&{" + identifier + "}", item.asText().replaceAll("[^A-Za-z0-9]", ""))
                                .replace("${" + identifier + "}", item.asText());
                        if (!name.matches("[A-Za-z0-9]+")) {
                            throw new IllegalArgumentException(name + " is not a logical id");
                        }
                        if (all.put(name, withItem(made.getValue(), identifier, item)) != null) {
                            throw new IllegalArgumentException(name + " is there twice");
                        }
                    });
                }
            });
            return all;
        }

        static JsonNode withItem(JsonNode node, String identifier, JsonNode item) {
            if (node.path("Ref").asText().equals(identifier)) return item;
            if (node instanceof ArrayNode array) {
                return JSON.createArrayNode()
                        .addAll(array.valueStream().map(element -> withItem(element, identifier, item)).toList());
            }
            if (!(node instanceof ObjectNode)) return node;
            var copy = JSON.createObjectNode();
            node.properties()
                    .forEach(member -> copy.set(member.getKey(), withItem(member.getValue(), identifier, item)));
            return copy;
        }

        boolean condition(String name) {
            return isTrue(template.path("Conditions").required(name));
        }

        boolean isTrue(JsonNode condition) {
            var function = condition.fieldNames().next();
            var arguments = condition.get(function);
            return switch (function) {
                case "Condition" -> condition(arguments.asText());
                case "Fn::Equals" -> resolve(arguments.get(0)).equals(resolve(arguments.get(1)));
                case "Fn::Not" -> !isTrue(arguments.get(0));
                default -> throw new IllegalArgumentException(function);
            };
        }

        /** The value; null for AWS::NoValue. */
        JsonNode resolve(JsonNode node) {
            if (node instanceof ArrayNode array) {
                return JSON.createArrayNode()
                        .addAll(array.valueStream().map(this::resolve).filter(value -> value != null).toList());
            }
            if (!(node instanceof ObjectNode object)) return node;
            var first = object.isEmpty() ? "" : object.fieldNames().next();
            if (object.size() > 1 || !(first.equals("Ref") || first.startsWith("Fn::"))) {
                var resolved = JSON.createObjectNode();
                object.properties().forEach(member -> {
                    var value = resolve(member.getValue());
                    if (value != null) resolved.set(member.getKey(), value);
                });
                return resolved;
            }
            var arguments = object.get(first);
            return switch (first) {
                case "Ref" -> arguments.asText().equals("AWS::NoValue") ? null : value(arguments.asText());
                case "Fn::GetAtt" -> value(arguments.get(0).asText() + "." + arguments.get(1).asText());
                case "Fn::If" -> resolve(arguments.get(condition(arguments.get(0).asText()) ? 1 : 2));
                case "Fn::Join" -> text(String.join(arguments.get(0).asText(),
                        resolve(arguments.get(1)).valueStream().map(JsonNode::asText).toList()));
                case "Fn::Split" -> JSON.valueToTree(
                        resolve(arguments.get(1)).asText().split(Pattern.quote(arguments.get(0).asText()), -1));
                case "Fn::Select" -> resolve(arguments.get(1)).required(arguments.get(0).asInt());
                case "Fn::Sub" -> {
                    var own = arguments.isArray() ? resolve(arguments.get(1)) : JSON.createObjectNode();
                    yield text(Pattern.compile("\\$\\{([^}]+)}")
                            .matcher(arguments.isArray() ? arguments.get(0).asText() : arguments.asText())
                            .replaceAll(found -> Matcher.quoteReplacement(found.group(1).startsWith("!")
                                    ? "${" + found.group(1).substring(1) + "}"
                                    : (own.has(found.group(1)) ? own.get(found.group(1)) : value(found.group(1)))
                                            .asText())));
                }
                default -> throw new IllegalArgumentException(first);
            };
        }

        JsonNode value(String name) {
            if (!values.containsKey(name)) throw new IllegalArgumentException("nothing is known of " + name);
            return values.get(name);
        }

        /**
         * Resources that are to be made, with their properties resolved, by name. What they refer to must have been
         * made.
         */
        Map<String, JsonNode> resources(String type) {
            var all = new LinkedHashMap<String, JsonNode>();
            unrolled("Resources").forEach((name, resource) -> {
                if (resource.path("Type").asText().equals(type)
                        && (!resource.has("Condition") || condition(resource.get("Condition").asText()))) {
                    all.put(name, resolve(resource.get("Properties")));
                }
            });
            return all;
        }

        /** Makes all of them in the embedded AWS, as CloudFormation would. */
        void deploy() {
            var types = unrolled("Resources").values().stream().map(resource -> resource.path("Type").asText())
                    .distinct().sorted().toList();
            assertTrue(List.of("AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::VPCEndpoint")
                    .containsAll(types), types.toString());
            try (var ec2 = Ec2Client.builder().region(Region.of(value("AWS::Region").asText())).build()) {
                resources("AWS::EC2::SecurityGroup").forEach((name, p) -> {
                    var id = ec2.createSecurityGroup(r -> r.vpcId(p.path("VpcId").asText())
                            .groupName(p.path("GroupName").asText()).description(p.path("GroupDescription").asText())
                            .tagSpecifications(tags(ResourceType.SECURITY_GROUP, p)))
                            .groupId();
                    values.put(name + ".GroupId", text(id));
                    ec2.describeSecurityGroups(); // now it shows
                });
                resources("AWS::EC2::SecurityGroupIngress").values().forEach(p -> {
                    var rule = IpPermission.builder().ipProtocol(p.path("IpProtocol").asText())
                            .fromPort(p.path("FromPort").asInt()).toPort(p.path("ToPort").asInt());
                    var description = p.path("Description").asText();
                    if (p.has("CidrIp")) {
                        rule.ipRanges(range -> range.cidrIp(p.get("CidrIp").asText()).description(description));
                    }
                    if (p.has("CidrIpv6")) {
                        rule.ipv6Ranges(range -> range.cidrIpv6(p.get("CidrIpv6").asText()).description(description));
                    }
                    ec2.authorizeSecurityGroupIngress(
                            r -> r.groupId(p.path("GroupId").asText()).ipPermissions(rule.build()));
                });
                resources("AWS::EC2::VPCEndpoint").forEach((name, p) -> {
                    var endpoint = ec2.createVpcEndpoint(r -> r.vpcEndpointType(p.path("VpcEndpointType").asText())
                            .vpcId(p.path("VpcId").asText()).serviceName(p.path("ServiceName").asText())
                            .subnetIds(texts(p.path("SubnetIds"))).securityGroupIds(texts(p.path("SecurityGroupIds")))
                            .privateDnsEnabled(p.path("PrivateDnsEnabled").asText().equals("true"))
                            .policyDocument(p.path("PolicyDocument").toString())
                            .tagSpecifications(tags(ResourceType.VPC_ENDPOINT, p))).vpcEndpoint();
                    values.put(name, text(endpoint.vpcEndpointId()));
                    values.put(name + ".DnsEntries", JSON.valueToTree(endpoint.dnsEntries().stream()
                            .map(entry -> entry.hostedZoneId() + ":" + entry.dnsName()).toList()));
                });
            }
        }

        private static TagSpecification tags(ResourceType type, JsonNode p) {
            return TagSpecification.builder().resourceType(type).tags(p.path("Tags").valueStream()
                    .map(tag -> Tag.builder().key(tag.path("Key").asText()).value(tag.path("Value").asText()).build())
                    .toList()).build();
        }

        /** Makes the key, the bucket and its policy, in this order. */
        void deployBackupBucket() {
            var region = Region.of(value("AWS::Region").asText());
            try (var kms = KmsClient.builder().region(region).build();
                    var s3 = S3Client.builder().region(region).build()) {
                resources("AWS::KMS::Key").forEach((name, p) -> values.put(name + ".Arn",
                        text(kms.createKey(r -> r.policy(p.path("KeyPolicy").toString())).keyMetadata().arn())));
                resources("AWS::S3::Bucket").forEach((name, p) -> {
                    createBucket(s3, p);
                    values.put(name, p.path("BucketName"));
                });
                resources("AWS::S3::BucketPolicy").values().forEach(p -> s3.putBucketPolicy(
                        r -> r.bucket(p.path("Bucket").asText()).policy(p.path("PolicyDocument").toString())));
            }
        }

        private static void createBucket(S3Client s3, JsonNode p) {
            var bucket = p.path("BucketName").asText();
            s3.createBucket(r -> r.bucket(bucket)
                    .objectLockEnabledForBucket(p.path("ObjectLockEnabled").asText().equals("true"))
                    .objectOwnership(p.at("/OwnershipControls/Rules/0/ObjectOwnership").asText()));
            var access = p.path("PublicAccessBlockConfiguration");
            s3.putPublicAccessBlock(r -> r.bucket(bucket).publicAccessBlockConfiguration(
                    c -> c.blockPublicAcls(access.path("BlockPublicAcls").asText().equals("true"))
                            .blockPublicPolicy(access.path("BlockPublicPolicy").asText().equals("true"))
                            .ignorePublicAcls(access.path("IgnorePublicAcls").asText().equals("true"))
                            .restrictPublicBuckets(access.path("RestrictPublicBuckets").asText().equals("true"))));
            s3.putBucketVersioning(r -> r.bucket(bucket).versioningConfiguration(
                    c -> c.status(p.at("/VersioningConfiguration/Status").asText())));
            var encryption = p.at("/BucketEncryption/ServerSideEncryptionConfiguration/0");
            s3.putBucketEncryption(r -> r.bucket(bucket).serverSideEncryptionConfiguration(c -> c.rules(rule -> rule
                    .bucketKeyEnabled(encryption.path("BucketKeyEnabled").asText("false").equals("true"))
                    .blockedEncryptionTypes(b -> b.encryptionTypeWithStrings(
                            texts(encryption.at("/BlockedEncryptionTypes/EncryptionType"))))
                    .applyServerSideEncryptionByDefault(d -> d
                            .sseAlgorithm(encryption.at("/ServerSideEncryptionByDefault/SSEAlgorithm").asText())
                            .kmsMasterKeyID(encryption.at("/ServerSideEncryptionByDefault/KMSMasterKeyID")
                                    .asText(null))))));
            var retention = p.at("/ObjectLockConfiguration/Rule/DefaultRetention");
            if (!retention.isMissingNode()) {
                s3.putObjectLockConfiguration(r -> r.bucket(bucket).objectLockConfiguration(c -> c
                        .objectLockEnabled(p.at("/ObjectLockConfiguration/ObjectLockEnabled").asText())
                        .rule(rule -> rule.defaultRetention(d -> d.mode(retention.path("Mode").asText())
                                .days(retention.path("Days").asInt())))));
            }
            s3.putBucketLifecycleConfiguration(r -> r.bucket(bucket).lifecycleConfiguration(c -> c.rules(
                    p.at("/LifecycleConfiguration/Rules").valueStream().map(rule -> lifecycleRule(rule)).toList())));
        }

        private static LifecycleRule lifecycleRule(JsonNode rule) {
            var made = LifecycleRule.builder().id(rule.path("Id").asText()).status(rule.path("Status").asText())
                    .filter(f -> f.prefix(rule.path("Prefix").asText()));
            if (rule.has("ExpirationInDays")) made.expiration(e -> e.days(rule.path("ExpirationInDays").asInt()));
            if (rule.has("NoncurrentVersionExpiration")) {
                made.noncurrentVersionExpiration(
                        n -> n.noncurrentDays(rule.at("/NoncurrentVersionExpiration/NoncurrentDays").asInt()));
            }
            if (rule.has("AbortIncompleteMultipartUpload")) {
                made.abortIncompleteMultipartUpload(a -> a.daysAfterInitiation(
                        rule.at("/AbortIncompleteMultipartUpload/DaysAfterInitiation").asInt()));
            }
            return made.build();
        }

        String output(String name) {
            return resolve(template.path("Outputs").required(name).get("Value")).asText();
        }
    }

    static List<String> texts(JsonNode array) {
        return array.valueStream().map(JsonNode::asText).toList();
    }

    /** A VPC with a subnet in each of two zones. */
    record Network(String vpc, List<String> subnets) {
        static Network in(String region) {
            var vpc = aws.ec2.createVpc(region, "10.20.0.0/16");
            return new Network(vpc, List.of(aws.ec2.createSubnet(vpc, region + "a", "10.20.1.0/24"),
                    aws.ec2.createSubnet(vpc, region + "b", "10.20.2.0/24")));
        }

        Stack stack(String region, String... parameters) throws IOException {
            var all = new TreeMap<>(
                    Map.of("VpcId", vpc, "SubnetIds", String.join(",", subnets), "Ipv4Cidrs", "10.20.0.0/16"));
            for (var parameter : parameters) {
                all.put(parameter.substring(0, parameter.indexOf('=')),
                        parameter.substring(parameter.indexOf('=') + 1));
            }
            return new Stack(ENDPOINTS, region, all);
        }
    }

    static final String[] RESTRICTED = {"--policy", "restricted", "--principals",
            "arn:%s:iam::111122223333:role/Developer", "arn:%1$s:iam::444455556666:user/alice", "--repository-names",
            "payments", "orders"};

    /** The parameters that say the same as options of create-vpc-endpoint, for each partition. */
    @ParameterizedTest
    @CsvSource({"eu-west-1, aws, , ", "cn-north-1, aws-cn, ServiceNamePrefix=cn.com.amazonaws, ",
            "us-gov-west-1, aws-us-gov, Fips=true, --fips"})
    void theScriptsFindNothingToChangeInAStack(String region, String partition, String parameter, String option)
            throws IOException {
        for (var restricted : List.of(false, true)) {
            var network = Network.in(region);
            var parameters = new ArrayList<>(
                    List.of("Ipv4Cidrs=10.20.0.0/16,198.51.100.0/24", "Ipv6Cidrs=2001:db8:1234:1a00::/56,fd00::/8"));
            var options = new ArrayList<>(List.of("--region", region, "--vpc-id", network.vpc));
            if (parameter != null) parameters.add(parameter);
            if (restricted) {
                parameters.addAll(List.of(
                        "Principals=arn:" + partition + ":iam::111122223333:role/Developer,arn:" + partition
                                + ":iam::444455556666:user/alice",
                        "RepositoryArns=arn:" + partition + ":codecommit:" + region + ":111122223333:payments,arn:"
                                + partition + ":codecommit:" + region + ":111122223333:orders"));
            }
            var stack = network.stack(region, parameters.toArray(String[]::new));
            stack.deploy();
            var group = Script.run(new CreateEndpointSecurityGroup().commandLine(), Stream.concat(options.stream(),
                    Stream.of("--cidrs", "10.20.0.0/16", "198.51.100.0/24", "2001:db8:1234:1a00::/56", "fd00::/8",
                            "--revoke-others"))
                    .toArray(String[]::new));
            assertEquals("unchanged", group.status(), group.out() + group.err());
            assertEquals(stack.output("SecurityGroupId"), group.json().at("/securityGroup/groupId").asText());
            if (option != null) options.add(option);
            options.addAll(List.of("--security-group-ids", stack.output("SecurityGroupId"), "--private-dns"));
            if (restricted) Arrays.stream(RESTRICTED).map(word -> word.formatted(partition)).forEach(options::add);
            else options.addAll(List.of("--policy", "default"));
            var endpoints = Script.run(new CreateVpcEndpoint().commandLine(), options.toArray(String[]::new));
            assertEquals("unchanged", endpoints.status(), endpoints.out() + endpoints.err());
            assertFalse(endpoints.err().contains("kept"), endpoints.err());
            assertEquals(List.of(stack.output("ApiEndpointId"), stack.output("GitEndpointId")),
                    endpoints.json().path("endpoints").findValuesAsText("vpcEndpointId"));
            assertTrue(
                    stack.output("GitEndpointHost").startsWith(stack.output("GitEndpointId"))
                            && stack.output("GitEndpointHost").contains(".git-codecommit"),
                    stack.output("GitEndpointHost"));
            assertTrue(stack.output("ApiEndpointHost").startsWith(stack.output("ApiEndpointId")),
                    stack.output("ApiEndpointHost"));
        }
    }

    /** For other stacks: Fn::ImportValue. */
    @Test
    void everyOutputOfTheEndpointsIsExportedUnderTheNameOfTheStack() throws IOException {
        var outputs = Stack.json(new Yaml().compose(Files.newBufferedReader(ENDPOINTS))).path("Outputs");
        assertFalse(outputs.isEmpty());
        outputs.properties().forEach(output -> assertEquals(
                "{\"Fn::Sub\":\"${AWS::StackName}-" + output.getKey() + "\"}",
                output.getValue().at("/Export/Name").toString()));
    }

    @Test
    void theTagsAndTheDescriptionsAreThoseOfTheScripts() throws IOException {
        var network = Network.in("eu-west-1");
        var group = Script.run(new CreateEndpointSecurityGroup().commandLine(), "--vpc-id", network.vpc, "--print",
                "/securityGroup/groupId").out().strip();
        var endpoints = Script.run(new CreateVpcEndpoint().commandLine(), "--vpc-id", network.vpc,
                "--security-group-ids", group).json().path("endpoints");
        var stack = Network.in("eu-west-1").stack("eu-west-1");
        stack.deploy();
        var groups = new ArrayList<JsonNode>();
        for (var vpc : List.of(network.vpc, stack.value("VpcId").asText())) {
            groups.addAll(aws.ec2.groups(vpc).stream()
                    .filter(one -> one.path("GroupName").asText().equals("codecommit-endpoints")).toList());
        }
        assertEquals(2, groups.size());
        assertEquals(Set.copyOf(groups.get(0).path("Tags").valueStream().toList()),
                Set.copyOf(groups.get(1).path("Tags").valueStream().toList()));
        for (var each : groups) {
            assertEquals(List.of("HTTPS to the VPC endpoints of CodeCommit"),
                    each.path("IpPermissions").findValuesAsText("Description").stream().distinct().toList());
        }
        var byService = Map.of("api", "ApiEndpointId", "git", "GitEndpointId");
        for (var endpoint : endpoints) {
            assertEquals(Set.copyOf(aws.ec2.endpoint(endpoint.path("vpcEndpointId").asText()).path("Tags")
                    .valueStream().toList()),
                    Set.copyOf(aws.ec2.endpoint(stack.output(byService.get(endpoint.path("service").asText())))
                            .path("Tags").valueStream().toList()));
        }
    }

    static final String PRINCIPALS = "Principals=arn:aws:iam::444455556666:user/alice,"
            + "arn:aws:iam::111122223333:role/Developer";
    static final String REPOSITORIES = "RepositoryArns=arn:aws:codecommit:eu-west-1:111122223333:orders,"
            + "arn:aws:codecommit:eu-west-1:111122223333:payments";

    /** Not by the script's own comparison. */
    @Test
    void thePoliciesSayTheSameAsThoseOfTheScript() throws IOException {
        var restricted = Arrays.stream(RESTRICTED).map(word -> word.formatted("aws")).toList();
        assertEquals(rendered(List.of()), policies());
        assertEquals(rendered(restricted.subList(0, restricted.indexOf("--repository-names"))), policies(PRINCIPALS));
        assertEquals(rendered(restricted), policies(PRINCIPALS, REPOSITORIES));
    }

    /** By services, in a dry run with these options. */
    static Map<String, String> rendered(List<String> options) {
        var network = Network.in("eu-west-1");
        var group = aws.ec2.createSecurityGroup(network.vpc, "codecommit-endpoints");
        var run = Script.run(new CreateVpcEndpoint().commandLine(),
                Stream.concat(Stream.of("--vpc-id", network.vpc, "--security-group-ids", group, "--dry-run"),
                        options.stream()).toArray(String[]::new));
        assertEquals("would-create", run.status(), run.err());
        var policies = new TreeMap<String, String>();
        for (var endpoint : run.json().path("endpoints")) {
            policies.put(endpoint.path("serviceName").asText(),
                    Meaning.of(endpoint.required("policy")).toPrettyString());
        }
        return policies;
    }

    static Map<String, String> policies(String... parameters) throws IOException {
        var stack = Network.in("eu-west-1").stack("eu-west-1", parameters);
        stack.values.put("SecurityGroup.GroupId", Stack.text("sg-1"));
        var policies = new TreeMap<String, String>();
        for (var endpoint : stack.resources("AWS::EC2::VPCEndpoint").values()) {
            policies.put(endpoint.path("ServiceName").asText(),
                    Meaning.of(endpoint.required("PolicyDocument")).toPrettyString());
        }
        return policies;
    }

    /** For which the script has no option. */
    @Test
    void repositoriesAloneLetNobodyElseThrough() throws IOException {
        for (var policy : policies(REPOSITORIES).values()) {
            var statements = Meaning.parse(policy).path("Statement");
            for (var statement : statements.isArray() ? statements : JSON.createArrayNode().add(statements)) {
                assertEquals("{\"StringEquals\":{\"aws:PrincipalAccount\":\"arn:aws:iam::111122223333:root\"}}",
                        statement.path("Condition").toString(), "as a root ARN only to compare");
                assertEquals(statement.path("Sid").asText().equals("ApiWithoutRepository") ? 0 : 2,
                        statement.path("Resource").size(), policy);
            }
        }
    }

    @ParameterizedTest
    @CsvSource(nullValues = "none", delimiter = '|', value = {
            "10.0.0.0/8 |  | 10.0.0.0/8",
            "10.0.0.0/8,10.1.10.0/24,192.168.0.0/16 | fc00::/7,2001:db8::/32 | 10.0.0.0/8 10.1.10.0/24 "
                    + "192.168.0.0/16 2001:db8::/32 fc00::/7",
            " | 2001:db8::/32 | 2001:db8::/32",
            " |  | none"})
    void everyNetworkOfTheListsGetsARuleAndAnEmptyListGetsNone(String ipv4, String ipv6, String rules)
            throws IOException {
        var stack = Network.in("eu-west-1").stack("eu-west-1", "Ipv4Cidrs=" + (ipv4 == null ? "" : ipv4),
                "Ipv6Cidrs=" + (ipv6 == null ? "" : ipv6));
        stack.values.put("SecurityGroup.GroupId", Stack.text("sg"));
        var made = stack.resources("AWS::EC2::SecurityGroupIngress").values();
        assertEquals(rules == null ? "" : rules, String.join(" ", made.stream()
                .map(rule -> rule.path("CidrIp").asText(rule.path("CidrIpv6").asText())).sorted().toList()));
        assertTrue(made.stream().allMatch(rule -> (rule.path("IpProtocol").asText() + rule.path("FromPort").asText()
                + rule.path("ToPort").asText()).equals("tcp443443")), made.toString());
    }

    @ParameterizedTest
    @ValueSource(strings = {"Ipv4Cidrs=0.0.0.0/0", "Ipv4Cidrs=10.0.0.0/7", "Ipv4Cidrs=10.0.0.0",
            "Ipv4Cidrs=10.0.0.0/33", "Ipv4Cidrs=2001:db8::/32", "Ipv6Cidrs=::/0", "Ipv6Cidrs=2000::/3",
            "Ipv6Cidrs=10.0.0.0/8", "Ipv6Cidrs=2001:db8::/129", "GroupName=sg-1", "GroupName=a'b", "Principals=*",
            "Principals=role/Developer", "Principals=arn:aws:iam::111122223333:role/*",
            "Principals=arn:aws:iam::111122223333:root", "RepositoryArns=payments",
            "RepositoryArns=arn:aws:s3:::payments", "Fips=yes", "PrivateDnsEnabled=no",
            "ServiceNamePrefix=com.example"})
    void refusesWhatTheScriptsRefuse(String parameter) throws IOException {
        var network = Network.in("eu-west-1");
        try {
            network.stack("eu-west-1", parameter);
        } catch (IllegalArgumentException e) {
            assertTrue(e.getMessage().startsWith(parameter.substring(0, parameter.indexOf('='))), e.getMessage());
            return;
        }
        throw new AssertionError("took " + parameter);
    }

    /** Parameters of the template, and the options that say the same. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "eu-west-1 | CreateKey=false | --writer-accounts 444455556666",
            "eu-west-1 | RetentionDays=400 RetentionMode=COMPLIANCE ConfirmComplianceDays=400 ExpireAfterDays=430 "
                    + "WriterRoleArns=arn:aws:iam::444455556666:role/A,arn:aws:iam::444455556666:role/b/C "
                    + "ReaderRoleArns=arn:aws:iam::777788889999:role/D ReaderAccount=777788889999 Prefix=x/y "
                    + "BreakGlassRoleArn=arn:aws:iam::111122223333:role/Developer"
                    + "| --retention-days 400 --retention-mode compliance --confirm-compliance-days 400 "
                    + "--expire-after-days 430 --writer-role-arns arn:aws:iam::444455556666:role/b/C "
                    + "arn:aws:iam::444455556666:role/A --reader-role-arns arn:aws:iam::777788889999:role/D "
                    + "--prefix x/y --break-glass-role-arn arn:aws:iam::111122223333:role/Developer",
            "cn-north-1 | RetentionDays=40 ReaderRoleArns=arn:aws-cn:iam::111122223333:role/Developer"
                    + "| --writer-accounts 444455556666 --retention-days 40 --retention-mode governance "
                    + "--reader-role-arns arn:aws-cn:iam::111122223333:role/Developer"})
    void theScriptFindsNothingToChangeInABucketsStack(String region, String parameters, String options)
            throws IOException {
        var name = "stack-" + System.nanoTime();
        var given = new TreeMap<>(Map.of("BucketName", name, "WriterAccount", "444455556666"));
        for (var parameter : parameters.split(" ")) {
            given.put(parameter.substring(0, parameter.indexOf('=')),
                    parameter.substring(parameter.indexOf('=') + 1));
        }
        var stack = new Stack(BACKUP_BUCKET, region, given);
        stack.deployBackupBucket();
        var arguments = new ArrayList<>(List.of("--region", region, "--bucket", name));
        arguments.addAll(List.of(options.split(" ")));
        if (stack.condition("HasKey")) arguments.addAll(List.of("--kms-key-id", stack.output("KeyArn")));
        var run = Script.run(new CreateBackupBucket().commandLine(), arguments.toArray(String[]::new));
        assertEquals("unchanged", run.status(), run.out() + run.err());
        assertEquals(CreateBackupBucket.OWN_SIDS.size()
                - (stack.condition("HasKey") ? 0 : 1) - (stack.condition("HasReaders") ? 0 : 2),
                JSON.readTree(aws.s3.bucket(name).policy()).path("Statement").size());
    }

    @ParameterizedTest
    @ValueSource(strings = {"codecommit-endpoints", "codecommit-backup-bucket"})
    void nothingIsBoundToOnePartitionAccountOrVpc(String file) throws IOException {
        var template = Stack.json(new Yaml().compose(Files.newBufferedReader(
                Path.of("templates", file + ".yaml"))));
        var said = Stream
                .concat(Stream.of(template.path("Resources"), template.path("Conditions")),
                        Stream.of(template.path("Parameters"), template.path("Outputs"))
                                .flatMap(JsonNode::valueStream)
                                .map(member -> ((ObjectNode) member)
                                        .without(List.of("Description", "ConstraintDescription", "AllowedPattern"))))
                .toList();
        assertEquals(List.of(),
                said.stream()
                        .filter(part -> part.toString()
                                .matches(".*(arn:aws|[0-9]{12}|vpc-[0-9a-f]|-(west|east|north|south)-|PrincipalVpc).*"))
                        .toList());
    }

    @Test
    void cfnLintFindsNothing() throws IOException {
        Program.needs("cfn-lint", "cfn-lint", "--version");
        String[] files;
        try (var all = Files.list(Path.of("templates"))) {
            files = Stream
                    .concat(Stream.of("cfn-lint"),
                            all.map(Path::toString).filter(file -> file.endsWith(".yaml")).sorted())
                    .toArray(String[]::new);
        }
        assertTrue(files.length > 1);
        var lint = Program.run(Path.of("."), Map.of(), files);
        assertEquals("", lint.out() + lint.err());
        assertEquals(0, lint.exitCode());
    }
}
