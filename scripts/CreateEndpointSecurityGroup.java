///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Creates or updates the security group that lets named CIDRs reach CodeCommit's VPC endpoints on port 443.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:ec2
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.math.BigInteger;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.time.*;
import java.util.*;
import java.util.concurrent.Callable;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import picocli.CommandLine;
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.*;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.core.util.SdkAutoConstructList;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.ec2.model.*;
import software.amazon.awssdk.services.ec2.model.Tag;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * Makes the security group for CodeCommit's VPC endpoints, or brings an existing one in line; VPC and name say which group is meant. It lets
 * the given CIDRs, IPv4 and IPv6, or else those of the VPC itself, in on TCP port 443: all that CodeCommit's endpoints need.
 *
 * <p>Changes in AWS: the security group, its rules for traffic in, its tags. Rules that are missing are added; others are named, and removed
 * only by {@code --revoke-others}. Rules for traffic out stay as they are: endpoints answer without any.
 *
 * <p>A second run with the same arguments changes nothing. A run that fails half-way leaves a group that lets fewer in than it should, and
 * says so; the same command again does the rest.
 *
 * <p>IAM actions:
 * <ul>
 * <li>ec2:DescribeVpcs, ec2:DescribeSecurityGroups
 * <li>ec2:CreateSecurityGroup, ec2:AuthorizeSecurityGroupIngress, ec2:CreateTags
 * <li>ec2:RevokeSecurityGroupIngress for {@code --revoke-others}
 * </ul>
 */
@Command(name = "create-endpoint-security-group", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Creates or updates the security group that lets named CIDRs reach CodeCommit's VPC endpoints on port 443.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  create-endpoint-security-group --vpc-id vpc-0123456789abcdef0", "  create-endpoint-security-group --vpc-id vpc-0123456789abcdef0 \\",
                "      --cidrs 10.0.0.0/16 2001:db8:1234:1a00::/56 --revoke-others --dry-run"})
class CreateEndpointSecurityGroup implements Callable<Integer> {
    @Option(names = "--vpc-id", required = true, paramLabel = "ID", description = "The VPC of the endpoints.")
    String vpcId;

    @Option(names = "--group-name", paramLabel = "NAME", defaultValue = "codecommit-endpoints",
            description = "Name of the security group. A group of the VPC that has it already is updated. Default: ${DEFAULT-VALUE}.")
    String groupName;

    @Option(names = "--cidrs", paramLabel = "CIDR", arity = "1..*", description = "IPv4 and IPv6 networks to let in. Default: all of the VPC's own.")
    List<String> cidrs;

    @Option(names = "--revoke-others", description = "Removes the rules for traffic in that are not given.")
    boolean revokeOthers;

    @Option(names = "--allow-anywhere", description = "Allows --cidrs as wide as the internet or a large part of it.")
    boolean allowAnywhere;

    @Option(names = "--tags", paramLabel = "Key=Value", arity = "1..*", description = "Tags to add or change.")
    List<String> tags = List.of();

    static final int HTTPS = 443;

    /** How long EC2 may take to show a new group; mostly it takes less than a second. */
    Duration visibleDeadline = Duration.ofSeconds(30);

    Ec2Client ec2;

    @Override
    public Integer call() {
        check("--vpc-id", vpcId, "vpc-([0-9a-f]{8}|[0-9a-f]{17})", "the id of a VPC such as vpc-0123456789abcdef0");
        check("--group-name", groupName, "(?!sg-|(?i:default)$)(?! )[a-zA-Z0-9 ._\\-:/()#,@\\[\\]+=&;{}!$*]{1,255}(?<! )",
                "up to 255 letters, digits, spaces and . _ - : / ( ) # , @ [ ] + = & ; { } ! $ *, not default and not beginning with sg-, "
                        + "such as codecommit-endpoints");
        var wantedTags = tags(tags);
        var given = cidrs == null ? null : given();
        ec2 = client(Ec2Client.builder());
        subject = vpcId;
        var vpc = vpc();
        var wanted = given == null ? own(vpc) : given;
        subject = groupName;
        var group = find();
        if (group == null) group = create(wantedTags);
        if (group.groupId() != null) subject = group.groupName() + " " + group.groupId();
        var others = bringInLine(group, wanted, wantedTags);
        return finish(withChanges(describe(group, wanted, others)), 0);
    }

    /** A range of addresses; equal to every other spelling of it. */
    record Network(boolean ipv6, BigInteger address, int prefix) {
        /** The network of a CIDR, host bits included; null if it is none. IPv4 within IPv6 is none: EC2 wants it as IPv4. */
        static Network of(String cidr) {
            if (!cidr.matches("((25[0-5]|2[0-4]\\d|1?\\d?\\d)(\\.(?!/)|(?=/))){4}/\\d{1,2}|[0-9a-fA-F:]*:[0-9a-fA-F:]*/\\d{1,3}")) return null;
            try {
                var ipv6 = cidr.contains(":");
                var address = InetAddress.getByName(cidr.substring(0, cidr.indexOf('/'))).getAddress();
                var prefix = Integer.parseInt(cidr.substring(cidr.indexOf('/') + 1));
                return address.length == (ipv6 ? 16 : 4) && prefix <= 8 * address.length ? new Network(ipv6, new BigInteger(1, address), prefix) : null;
            } catch (UnknownHostException e) {
                return null;
            }
        }

        int hostBits() {
            return (ipv6 ? 128 : 32) - prefix;
        }

        /** Without host bits. */
        Network canonical() {
            return new Network(ipv6, address.shiftRight(hostBits()).shiftLeft(hostBits()), prefix);
        }

        /** Wider than any private range (10.0.0.0/8) or any provider's; fc00::/7 is the one for private use in IPv6. */
        boolean isLikeTheInternet() {
            return ipv6 ? prefix < 16 && (prefix < 7 || address.shiftRight(121).intValue() != 0xfc >> 1) : prefix < 8;
        }

        @Override
        public String toString() {
            var bytes = address.setBit(8 * 16).toByteArray(); // 17 bytes, so that leading zeros stay
            try {
                return InetAddress.getByAddress(Arrays.copyOfRange(bytes, ipv6 ? 1 : 13, 17)).getHostAddress() + "/" + prefix;
            } catch (UnknownHostException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    /** The networks of --cidrs with their spelling. */
    Map<Network, String> given() {
        var networks = new LinkedHashMap<Network, String>();
        for (var cidr : cidrs) {
            var network = Network.of(cidr);
            if (network == null) throw wrong("--cidrs '" + cidr + "': give IPv4 or IPv6 networks such as 10.0.0.0/16 or 2001:db8:1234:1a00::/56");
            if (!network.equals(network.canonical())) throw wrong("--cidrs '" + cidr + "' is an address within a network: give " + network.canonical());
            if (network.isLikeTheInternet() && !allowAnywhere)
                throw wrong("--cidrs '" + cidr + "' lets in a large part of the internet: give narrower networks such as 10.0.0.0/8, or --allow-anywhere");
            networks.putIfAbsent(network, cidr);
        }
        return networks;
    }

    Vpc vpc() {
        try {
            return ec2.describeVpcs(r -> r.vpcIds(vpcId)).vpcs().get(0);
        } catch (Ec2Exception e) {
            if (code(e).equals("InvalidVpcID.NotFound")) throw new Failure(reason(e) + "; is it in another Region than " + region() + "? Give --region", e);
            throw e;
        }
    }

    /** The networks of the VPC, all of them, with their spelling. */
    static Map<Network, String> own(Vpc vpc) {
        var ipv4 = vpc.cidrBlockAssociationSet().stream().filter(c -> c.cidrBlockState().state() == VpcCidrBlockStateCode.ASSOCIATED)
                .map(VpcCidrBlockAssociation::cidrBlock);
        var ipv6 = vpc.ipv6CidrBlockAssociationSet().stream().filter(c -> c.ipv6CidrBlockState().state() == VpcCidrBlockStateCode.ASSOCIATED)
                .map(VpcIpv6CidrBlockAssociation::ipv6CidrBlock);
        return Stream.concat(ipv4, ipv6).collect(Collectors.toMap(Network::of, cidr -> cidr, (a, b) -> a, LinkedHashMap::new));
    }

    /** The account's group of that name, whatever its case: EC2 allows no two that differ by case only. Null if none shows. */
    SecurityGroup find() {
        var groups = ec2.describeSecurityGroupsPaginator(r -> r.filters(filter("vpc-id", vpcId), filter("owner-id", identity().account()))).securityGroups();
        return groups.stream().filter(group -> group.groupName().equalsIgnoreCase(groupName)).findFirst().orElse(null);
    }

    static Filter filter(String name, String value) {
        return Filter.builder().name(name).values(value).build();
    }

    /** A new group, which lets nobody in, or the one that somebody else made meanwhile; in a dry run one without an id. */
    SecurityGroup create(Map<String, String> tags) {
        var group = SecurityGroup.builder().vpcId(vpcId).groupName(groupName).tags(awsTags(tags));
        if (!dryRun) {
            try {
                group.groupId(ec2.createSecurityGroup(r -> {
                    r.vpcId(vpcId).groupName(groupName).description("Lets clients reach the VPC endpoints of CodeCommit on port 443");
                    if (!tags.isEmpty())
                        r.tagSpecifications(TagSpecification.builder().resourceType(ResourceType.SECURITY_GROUP).tags(awsTags(tags)).build());
                }).groupId());
            } catch (Ec2Exception e) {
                if (e.statusCode() >= 500) throw doubtful(e);
                if (!code(e).equals("InvalidGroup.Duplicate")) throw e;
                var existing = awaitShown(e);
                if (e.numAttempts() == 1) { // with more, it is from an earlier attempt of our own, whose answer was lost
                    note(subject + ": somebody else made " + existing.groupId() + " meanwhile");
                    return existing;
                }
                group.groupId(existing.groupId());
            } catch (SdkClientException e) {
                throw doubtful(e);
            }
        }
        var made = group.build();
        if (!dryRun) subject = groupName + " " + made.groupId();
        var undoCommand = dryRun ? null : aws("ec2 delete-security-group --group-id " + made.groupId());
        change("securityGroup", null, dryRun ? groupName : made.groupId(), undoCommand, () -> { });
        return made;
    }

    static Failure doubtful(SdkException e) {
        return new Failure(reason(e) + "; if the group was made, it lets nobody in yet: the same command again goes on with it", e);
    }

    SecurityGroup awaitShown(Ec2Exception refusal) {
        var deadline = Instant.now().plus(visibleDeadline);
        for (var millis = 250; ; millis = Math.min(2 * millis, 5000)) {
            var group = find();
            if (group != null) return group;
            if (Instant.now().isAfter(deadline)) throw new Failure(reason(refusal) + "; but EC2 does not show it: run the same command again", refusal);
            pause(millis);
        }
    }

    /** Adds what is missing, then removes what is more if that is asked for; returns the other rules that stay. */
    List<IpPermission> bringInLine(SecurityGroup group, Map<Network, String> wanted, Map<String, String> wantedTags) {
        var isNew = !changes.isEmpty();
        var present = rules(group);
        var missing = new LinkedHashMap<>(wanted);
        missing.keySet().removeAll(networks(present));
        var others = present.stream().filter(rule -> !wanted.containsKey(network(rule))).toList();
        var arguments = "--group-id " + group.groupId() + " --ip-permissions ";
        if (!missing.isEmpty()) {
            var add = missing.entrySet().stream().map(e -> https(e.getKey(), e.getValue())).toList();
            change("cidrs", cidrs(present), Stream.concat(cidrs(present).stream(), missing.values().stream()).toList(),
                    isNew ? null : aws("ec2 revoke-security-group-ingress " + arguments + quote(json(add).toString())),
                    () -> insist(add, r -> ec2.authorizeSecurityGroupIngress(a -> a.groupId(group.groupId()).ipPermissions(r)),
                            (rules, shown) -> rules.stream().filter(rule -> !networks(shown).contains(network(rule))).toList()));
        }
        if (!others.isEmpty() && revokeOthers)
            change("others", texts(others), List.of(), aws("ec2 authorize-security-group-ingress " + arguments + quote(json(others).toString())),
                    () -> insist(others, r -> ec2.revokeSecurityGroupIngress(a -> a.groupId(group.groupId()).ipPermissions(r)),
                            (rules, shown) -> rules.stream().filter(shown::contains).toList()));
        else if (!others.isEmpty()) note(subject + ": kept rules that were not asked for, --revoke-others removes them: " + String.join(", ", texts(others)));
        var currentTags = new TreeMap<String, String>();
        group.tags().forEach(tag -> currentTags.put(tag.key(), tag.value()));
        var resource = "--resources " + group.groupId() + " --tags ";
        changeTags(currentTags, wantedTags, false, new Tagging(put -> ec2.createTags(r -> r.resources(group.groupId()).tags(awsTags(put))), remove -> { },
                put -> aws("ec2 create-tags " + resource + quote(json(awsTags(put)).toString())),
                remove -> aws("ec2 delete-tags " + resource + quote(JSON.valueToTree(remove.stream().map(key -> Map.of("Key", key)).toList()).toString()))));
        return revokeOthers ? List.of() : others;
    }

    /**
     * Changes rules. EC2 makes all of one call's changes or none, and refuses them all when one was made before (by another operator, or by an
     * attempt of ours whose answer was lost) or when a new group does not show yet: then looks again and does what is left.
     */
    void insist(List<IpPermission> rules, Consumer<List<IpPermission>> step, BinaryOperator<List<IpPermission>> left) {
        var deadline = Instant.now().plus(visibleDeadline);
        for (var millis = 250; !rules.isEmpty(); millis = Math.min(2 * millis, 5000)) {
            try {
                step.accept(rules);
                return;
            } catch (Ec2Exception e) {
                if (!code(e).matches("InvalidPermission\\.(Duplicate|NotFound)|InvalidGroup\\.NotFound") || Instant.now().isAfter(deadline)) throw e;
            }
            pause(millis);
            var group = find();
            if (group != null) rules = left.apply(rules, rules(group));
        }
    }

    /** The rules for traffic in, one source each. */
    static List<IpPermission> rules(SecurityGroup group) {
        var rules = new ArrayList<IpPermission>();
        for (var p : group.ipPermissions()) {
            Supplier<IpPermission.Builder> rule = () -> IpPermission.builder().ipProtocol(p.ipProtocol()).fromPort(p.fromPort()).toPort(p.toPort());
            p.ipRanges().forEach(source -> rules.add(rule.get().ipRanges(source).build()));
            p.ipv6Ranges().forEach(source -> rules.add(rule.get().ipv6Ranges(source).build()));
            p.prefixListIds().forEach(source -> rules.add(rule.get().prefixListIds(source).build()));
            // as DescribeSecurityGroups shows a group (name, peering) the calls that change rules do not take it
            for (var source : p.userIdGroupPairs()) {
                var pair = UserIdGroupPair.builder().groupId(source.groupId()).userId(source.userId()).description(source.description()).build();
                rules.add(rule.get().userIdGroupPairs(pair).build());
            }
        }
        return rules;
    }

    static IpPermission https(Network network, String cidr) {
        var rule = IpPermission.builder().ipProtocol("tcp").fromPort(HTTPS).toPort(HTTPS);
        if (network.ipv6()) rule.ipv6Ranges(Ipv6Range.builder().cidrIpv6(cidr).build());
        else rule.ipRanges(IpRange.builder().cidrIp(cidr).build());
        return rule.build();
    }

    /** The network that a rule lets in on just port 443; null for any other rule. */
    static Network network(IpPermission rule) {
        var cidr = cidr(rule);
        return cidr != null && rule.ipProtocol().equals("tcp") && rule.fromPort() == HTTPS && rule.toPort() == HTTPS ? Network.of(cidr) : null;
    }

    static String cidr(IpPermission rule) {
        if (!rule.ipRanges().isEmpty()) return rule.ipRanges().get(0).cidrIp();
        return rule.ipv6Ranges().isEmpty() ? null : rule.ipv6Ranges().get(0).cidrIpv6();
    }

    static Set<Network> networks(List<IpPermission> rules) {
        return rules.stream().map(CreateEndpointSecurityGroup::network).filter(Objects::nonNull).collect(Collectors.toSet());
    }

    /** What the rules let in on port 443. */
    static List<String> cidrs(List<IpPermission> rules) {
        return rules.stream().filter(rule -> network(rule) != null).map(CreateEndpointSecurityGroup::cidr).toList();
    }

    /** Such as "tcp 22 from 192.0.2.0/24". */
    static List<String> texts(List<IpPermission> rules) {
        return rules.stream().map(rule -> {
            var traffic = rule.ipProtocol().equals("-1") ? "all traffic" : rule.ipProtocol();
            var ports = rule.fromPort() == null ? "" : rule.fromPort().equals(rule.toPort()) ? " " + rule.toPort()
                    : " " + rule.fromPort() + "-" + rule.toPort();
            var other = rule.prefixListIds().isEmpty() ? "" : rule.prefixListIds().get(0).prefixListId();
            for (var pair : rule.userIdGroupPairs()) other = pair.groupId();
            return traffic + ports + " from " + (cidr(rule) == null ? other : cidr(rule));
        }).toList();
    }

    ObjectNode describe(SecurityGroup group, Map<Network, String> networks, List<IpPermission> others) {
        var isNew = changes.at("/0/field").asText().equals("securityGroup");
        var result = result(status(changes.isEmpty() ? "unchanged" : isNew ? "created" : "updated"));
        var node = result.putObject("securityGroup");
        if (group.groupId() != null) node.put("groupId", group.groupId());
        node.put("groupName", group.groupName()).put("vpcId", vpcId);
        node.set("cidrs", JSON.valueToTree(networks.values()));
        node.set("others", JSON.valueToTree(texts(others)));
        return result;
    }

    static List<Tag> awsTags(Map<String, String> tags) {
        return tags.entrySet().stream().map(tag -> Tag.builder().key(tag.getKey()).value(tag.getValue()).build()).toList();
    }

    /** AWS's own shape of a value, as the AWS CLI takes it. */
    static JsonNode json(Object value) {
        if (value instanceof List<?> list) return JSON.createArrayNode().addAll(list.stream().map(CreateEndpointSecurityGroup::json).toList());
        if (!(value instanceof SdkPojo structure)) return JSON.valueToTree(value);
        var node = JSON.createObjectNode();
        for (var field : structure.sdkFields()) {
            var member = field.getValueOrDefault(structure);
            if (member != null && !(member instanceof SdkAutoConstructList)) node.set(field.memberName(), json(member));
        }
        return node;
    }

    static String code(AwsServiceException e) {
        return String.valueOf(e.awsErrorDetails().errorCode());
    }

    // ---- The same in every script: options, clients, output, errors ----

    static final ObjectMapper JSON = new ObjectMapper();

    @Option(names = "--region", paramLabel = "REGION", description = "AWS Region. Default: AWS_REGION, else the profile's.")
    String region;

    @Option(names = "--profile", paramLabel = "NAME", description = "Profile of the AWS configuration files. Goes before credentials in the environment.")
    String profile;

    @Option(names = "--print", paramLabel = "POINTER", description = "Prints only the value at this JSON Pointer of the result, without quotes, e.g. /status.")
    JsonPointer print;

    @Option(names = {"-v", "--verbose"}, description = "Prints every AWS call, and the stack trace of an error, to stderr.")
    boolean verbose;

    @Spec
    CommandSpec spec;

    /** What is being worked on: stands in front of the message of an error. */
    String subject = "";

    private AwsCredentialsProvider credentials;
    private Identity identity;

    CommandLine commandLine() {
        return new CommandLine(this)
                .setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8)) // JSON is UTF-8, whatever the terminal's encoding
                .setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8))
                .setUsageHelpAutoWidth(true)
                .setExpandAtFiles(false) // "@x" is a value, not a file of arguments
                .registerConverter(JsonPointer.class, text -> {
                    if (text.startsWith("/")) return JsonPointer.compile(text);
                    throw new TypeConversionException("'" + text + "' is not a JSON Pointer such as /status");
                })
                .setParameterExceptionHandler((e, args) -> {
                    var near = e instanceof UnmatchedArgumentException unknown ? unknown.getSuggestions() : List.of();
                    note(e.getMessage().replaceFirst("^Error: ", "").replaceAll("\\s+", " ") + (near.isEmpty() ? "" : "; did you mean " + near.get(0) + "?")
                            + " (help: " + spec.name() + " --help)");
                    return 2;
                })
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    fail(e);
                    return 1;
                });
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder) {
        return client(builder, AwsRetryStrategy.standardRetryStrategy());
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder, RetryStrategy retries) {
        useProxies(System.getenv());
        // The JDK knows the proxies.
        var http = UrlConnectionHttpClient.builder().proxyConfiguration(p -> p.useSystemPropertyValues(false).useEnvironmentVariablesValues(false));
        return builder.httpClientBuilder(http).region(Region.of(region())).credentialsProvider(credentials()).overrideConfiguration(o -> {
            o.retryStrategy(retries);
            if (profile != null) o.defaultProfileName(profile);
            if (!verbose) return;
            o.addExecutionInterceptor(new ExecutionInterceptor() {
                @Override
                public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes call) {
                    note(call.getAttribute(SdkExecutionAttribute.SERVICE_NAME) + " " + call.getAttribute(SdkExecutionAttribute.OPERATION_NAME)
                            + ": HTTP " + context.httpResponse().statusCode());
                }
            });
        }).build();
    }

    /**
     * Makes the JDK follow HTTPS_PROXY, HTTP_PROXY and NO_PROXY, for Git and for the STS client behind a profile too. Of itself the SDK takes HTTP_PROXY
     * even for https, and no domains in NO_PROXY.
     */
    static void useProxies(Map<String, String> environment) {
        UnaryOperator<String> variable = name -> environment.getOrDefault(name, environment.getOrDefault(name.toUpperCase(Locale.ROOT), "")).strip();
        for (var scheme : List.of("http", "https")) {
            var proxy = variable.apply(scheme + "_proxy");
            if (proxy.isEmpty()) continue;
            var parts = Pattern.compile("(?:https?://)?(?:([^:@/]*):([^@/]*)@)?([\\w.-]+|\\[[\\da-fA-F:]+])(?::(\\d+))?/?").matcher(proxy);
            if (!parts.matches()) throw new Failure(scheme.toUpperCase(Locale.ROOT) + "_PROXY is not of the form http://HOST:PORT");
            System.setProperty(scheme + ".proxyHost", parts.group(3));
            System.setProperty(scheme + ".proxyPort", parts.group(4) == null ? "80" : parts.group(4));
            if (parts.group(1) == null) continue;
            UnaryOperator<String> decode = text -> URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
            var signIn = new PasswordAuthentication(decode.apply(parts.group(1)), decode.apply(parts.group(2)).toCharArray());
            System.setProperty("jdk.http.auth.tunneling.disabledSchemes", ""); // without this, no Basic for https
            Authenticator.setDefault(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    return getRequestorType() == RequestorType.PROXY ? signIn : null;
                }
            });
        }
        var direct = Stream.of(variable.apply("no_proxy").split("[,\\s]+")).map(host -> host.replaceFirst("^\\*?\\.", "")).filter(host -> !host.isEmpty());
        System.setProperty("http.nonProxyHosts", "localhost|127.*|[::1]" + direct.map(host -> "|" + host + "|*." + host).collect(Collectors.joining()));
        System.setProperty("software.amazon.awssdk.http.service.impl", "software.amazon.awssdk.http.urlconnection.UrlConnectionSdkHttpService");
    }

    AwsCredentialsProvider credentials() {
        if (credentials == null) credentials = profile != null ? ProfileCredentialsProvider.create(profile) : DefaultCredentialsProvider.builder().build();
        return credentials;
    }

    String region() {
        if (region != null) return check("--region", region, "[a-z]{2,4}(-[a-z]+)+-\\d{1,2}", "a Region such as eu-west-1");
        try {
            return region = DefaultAwsRegionProviderChain.builder().profileName(profile).build().getRegion().id();
        } catch (SdkClientException e) {
            throw new Failure("no Region: give --region or set AWS_REGION", e);
        }
    }

    /** Whose credentials these are: decides account and partition. */
    record Identity(String account, String partition) { }

    /** Asks STS once, which needs no permission. */
    Identity identity() {
        if (identity != null) return identity;
        try (var sts = client(StsClient.builder())) {
            var caller = sts.getCallerIdentity();
            return identity = new Identity(caller.account(), caller.arn().split(":")[1]);
        }
    }

    /** The value, if it has the form; else exit code 2 and what is right. */
    String check(String what, String value, String form, String right) {
        if (value.matches(form)) return value;
        throw wrong(what + " '" + value + "': give " + right);
    }

    ParameterException wrong(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    /** What every result begins with. */
    ObjectNode result(String status) {
        return JSON.createObjectNode().put("status", status).put("account", identity().account()).put("region", region());
    }

    /** Prints the result, or the part of it that --print asks for. */
    int finish(ObjectNode result, int exitCode) {
        var part = print == null ? result : result.at(print);
        var planned = result.path("status").asText().startsWith("would") ? " in a dry run" : "";
        if (part.isMissingNode()) throw new Failure("the result has nothing at " + print + planned + ": " + result);
        var out = spec.commandLine().getOut();
        out.println(part.isValueNode() ? part.asText() : part.toPrettyString());
        if (out.checkError()) throw new Failure("this result could not be written to stdout: " + result);
        return exitCode;
    }

    void note(String message) {
        spec.commandLine().getErr().println(spec.name() + ": " + message);
    }

    void fail(Exception e) {
        note((subject.isEmpty() ? "" : subject + ": ") + reason(e));
        if (verbose) e.printStackTrace(spec.commandLine().getErr());
    }

    /** In one line: the error code and message of AWS, or what else went wrong. */
    static String reason(Throwable e) {
        if (e instanceof AwsServiceException aws && aws.awsErrorDetails() != null) {
            var code = aws.awsErrorDetails().errorCode() == null ? "HTTP " + aws.statusCode() : aws.awsErrorDetails().errorCode();
            var message = aws.awsErrorDetails().errorMessage() == null ? "" : ": " + aws.awsErrorDetails().errorMessage().replaceAll("\\s+", " ");
            return code + message + " (request id " + aws.requestId() + ")" + (code.contains("Expired") ? "; sign in again" : "");
        }
        for (var cause = e; cause != null; cause = cause.getCause())
            if (cause instanceof UnknownHostException) return "unknown host " + cause.getMessage() + "; see to --region, AWS_ENDPOINT_URL and the network";
        var text = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage().lines().findFirst().orElse("");
        if (text.startsWith("Unable to load credentials")) return "no AWS credentials: give --profile, set AWS_PROFILE, or sign in";
        return text.length() > 2000 ? text.substring(0, 2000) + " ..." : text;
    }

    static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        }
    }

    /** A failure whose message says it all. */
    static class Failure extends RuntimeException {
        Failure(String message, Throwable cause) {
            super(message, cause);
        }

        Failure(String message) {
            this(message, null);
        }
    }

    // ----

    // ---- The same in every script that changes a resource: dry run, changes, undo, tags ----

    @Option(names = "--dry-run", description = "Only reads, and prints what would change.")
    boolean dryRun;

    /** By strength: that of several resources is the strongest. */
    static final List<String> STATUSES = List.of("unchanged", "updated", "created", "deleted");

    /** "created", in a dry run "would-create". */
    String status(String done) {
        return dryRun && !done.equals("unchanged") ? "would-" + done.substring(0, done.length() - 1) : done;
    }

    final ArrayNode changes = JSON.createArrayNode();
    /** Commands that take the changes back, the last change first. */
    final List<String> undo = new ArrayList<>();

    /** Records a change and, unless this is a dry run, makes it. With a failure it is said what was changed before. */
    void change(String field, Object from, Object to, String undoCommand, Runnable step) {
        if (!dryRun) {
            try {
                step.run();
            } catch (RuntimeException e) {
                var before = changes.valueStream().map(change -> change.path("resource").asText() + " " + change.path("field").asText()).toList();
                if (before.isEmpty()) throw e;
                throw new Failure(field + ": " + reason(e) + "; changed before that: " + String.join(", ", before)
                        + "; the same command again does the rest", e);
            }
            if (undoCommand != null) undo.add(0, undoCommand);
        }
        changes.addObject().put("resource", subject).put("field", field).<ObjectNode>set("from", JSON.valueToTree(from)).set("to", JSON.valueToTree(to));
    }

    /** Adds changes and undo to a result. */
    ObjectNode withChanges(ObjectNode result) {
        result.set("changes", changes);
        if (!undo.isEmpty()) result.put("undo", String.join(" && ", undo));
        return result;
    }

    /** An AWS CLI command for the same Region and profile. */
    String aws(String command) {
        return "aws " + command + " --region " + region() + (profile == null ? "" : " --profile " + quote(profile));
    }

    /** As one word of a shell command. */
    static String quote(String word) {
        return word.matches("[\\w@%+=:,./-]+") ? word : "'" + word.replace("'", "'\\''") + "'";
    }

    /** Key=Value options by key, within AWS's limits on tags. */
    Map<String, String> tags(List<String> options) {
        var tags = new TreeMap<String, String>();
        for (var option : options) {
            check("--tags", option, "(?!aws:)[\\p{L}\\p{N} +\\-._:/@]{1,128}=[\\p{L}\\p{N} +\\-=._:/@]{0,256}",
                    "Key=Value of letters, digits, spaces and + - = . _ : / @, such as Team=Payments");
            var equals = option.indexOf('=');
            if (tags.put(option.substring(0, equals), option.substring(equals + 1)) != null)
                throw wrong("--tags '" + option + "': give each key once, such as Team=Payments");
        }
        if (tags.size() > 50) throw wrong("--tags: " + tags.size() + " tags; give 50 at most");
        return tags;
    }

    /** How a resource is tagged and untagged, and the AWS CLI commands for it. */
    record Tagging(Consumer<Map<String, String>> put, Consumer<Set<String>> remove,
            Function<Map<String, String>, String> putCommand, Function<Set<String>, String> removeCommand) { }

    /** Adds and changes tags; others go only if asked for. AWS's own tags (aws:) cannot be changed. */
    void changeTags(Map<String, String> present, Map<String, String> wanted, boolean removeOthers, Tagging tagging) {
        var put = new TreeMap<>(wanted);
        put.entrySet().removeAll(present.entrySet());
        var replaced = new TreeMap<>(present);
        replaced.keySet().retainAll(put.keySet());
        if (!put.isEmpty()) {
            var added = new TreeSet<>(put.keySet());
            added.removeAll(replaced.keySet());
            var undo = new ArrayList<String>();
            if (!replaced.isEmpty()) undo.add(tagging.putCommand().apply(replaced));
            if (!added.isEmpty()) undo.add(tagging.removeCommand().apply(added));
            change("tags", replaced, put, String.join(" && ", undo), () -> tagging.put().accept(put));
        }
        var others = new TreeMap<>(present);
        others.keySet().removeIf(key -> wanted.containsKey(key) || key.startsWith("aws:"));
        if (removeOthers && !others.isEmpty())
            change("tags", others, Map.of(), tagging.putCommand().apply(others), () -> tagging.remove().accept(others.keySet()));
    }

    // ----

    public static void main(String[] args) {
        System.exit(new CreateEndpointSecurityGroup().commandLine().execute(args));
    }
}
