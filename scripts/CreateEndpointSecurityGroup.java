///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Creates or updates the security group that lets named CIDRs reach CodeCommit's VPC endpoints on port 443.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:ec2
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

import com.fasterxml.jackson.annotation.*;
import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.RecordComponent;
import java.math.BigInteger;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.time.*;
import java.util.*;
import java.util.concurrent.Callable;
import java.util.function.*;
import java.util.regex.*;
import java.util.stream.*;
import javax.net.ssl.*;
import picocli.CommandLine;
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.SdkPojo;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.core.util.SdkAutoConstructList;
import software.amazon.awssdk.core.util.SdkAutoConstructMap;
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.ec2.model.Ec2Exception;
import software.amazon.awssdk.services.ec2.model.Filter;
import software.amazon.awssdk.services.ec2.model.IpPermission;
import software.amazon.awssdk.services.ec2.model.IpRange;
import software.amazon.awssdk.services.ec2.model.Ipv6Range;
import software.amazon.awssdk.services.ec2.model.PrefixListId;
import software.amazon.awssdk.services.ec2.model.ResourceType;
import software.amazon.awssdk.services.ec2.model.SecurityGroup;
import software.amazon.awssdk.services.ec2.model.Tag;
import software.amazon.awssdk.services.ec2.model.TagSpecification;
import software.amazon.awssdk.services.ec2.model.UserIdGroupPair;
import software.amazon.awssdk.services.ec2.model.Vpc;
import software.amazon.awssdk.services.ec2.model.VpcCidrBlockAssociation;
import software.amazon.awssdk.services.ec2.model.VpcCidrBlockStateCode;
import software.amazon.awssdk.services.ec2.model.VpcIpv6CidrBlockAssociation;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Creates the security group for CodeCommit's VPC endpoints, or brings an existing one in line; VPC and name say which
 * group is meant. It lets the given CIDRs, IPv4 and IPv6, or else those of the VPC itself, in on TCP port 443, which is
 * all that CodeCommit's endpoints need.
 *
 * <p>Changes in AWS: the security group, its inbound rules, their descriptions, its tags. Missing rules are added;
 * others are named, and removed only by {@code --revoke-others}. A rule that was asked for and has no description gets
 * one; another description is replaced only by {@code --rule-description}. Outbound rules stay as they are: endpoints
 * answer without any. A new group has the tags Name, Service and Purpose, unless {@code --tags} says otherwise.
 *
 * <p>A second run with the same arguments changes nothing. A run that fails half-way names a group that lets in fewer
 * than it should.
 *
 * <p>IAM actions:
 * <ul>
 * <li>ec2:DescribeVpcs, ec2:DescribeSecurityGroups
 * <li>ec2:CreateSecurityGroup, ec2:AuthorizeSecurityGroupIngress, ec2:CreateTags
 * <li>ec2:UpdateSecurityGroupRuleDescriptionsIngress for descriptions of rules that exist
 * <li>ec2:RevokeSecurityGroupIngress for {@code --revoke-others}
 * </ul>
 */
@Command(name = "create-endpoint-security-group", version = "codecommit-toolkit 0.1.0",
        mixinStandardHelpOptions = true, sortOptions = false,
        description = "Creates or updates the security group that lets named CIDRs reach CodeCommit's VPC endpoints on"
                + " port 443.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang create-endpoint-security-group --vpc-id vpc-0123456789abcdef0",
                "  ./jbang create-endpoint-security-group --vpc-id vpc-0123456789abcdef0 \\",
                "      --cidrs 10.0.0.0/16 2001:db8:1234:1a00::/56 --revoke-others --dry-run"})
class CreateEndpointSecurityGroup implements Callable<Integer> {
    @Option(names = "--vpc-id", required = true, paramLabel = "ID", description = "The VPC of the endpoints.")
    String vpcId;

    @Option(names = "--group-name", paramLabel = "NAME", defaultValue = "codecommit-endpoints",
            description = "Name of the security group. A group of the VPC that has it already is updated."
                    + " Default: ${DEFAULT-VALUE}.")
    String groupName;

    @Option(names = "--cidrs", paramLabel = "CIDR", arity = "1..*",
            description = "IPv4 and IPv6 networks to let in. Default: all of the VPC's own.")
    List<String> cidrs;

    @Option(names = "--rule-description", paramLabel = "TEXT",
            description = "Description of the rules for these networks. If not given, rules keep theirs, and those"
                    + " without one get: " + RULE_DESCRIPTION + ".")
    String ruleDescription;

    @Option(names = "--revoke-others", description = "Removes the inbound rules that are not given.")
    boolean revokeOthers;

    @Option(names = "--allow-anywhere", description = "Allows --cidrs as wide as the internet or a large part of it.")
    boolean allowAnywhere;

    @Option(names = "--tags", paramLabel = "Key=Value", arity = "1..*", description = "Tags to add or change.")
    List<String> tags = List.of();

    /** The printed document. */
    record Result(String status, String account, String region, Group securityGroup, List<Change> changes,
            String undo) {}

    /**
     * @param cidrs let in on port 443 because they were asked for
     * @param others rules that were not asked for and stay
     */
    record Group(String groupId, String groupName, String vpcId, Collection<String> cidrs, List<String> others) {}

    static final int HTTPS = 443;
    static final String RULE_DESCRIPTION = "HTTPS to the VPC endpoints of CodeCommit";

    /** How long EC2 may take to show a new group or its rules; usually less than a second. */
    Duration showPatience = Duration.ofSeconds(30);

    Ec2Client ec2;

    public static void main(String[] args) {
        System.exit(new CreateEndpointSecurityGroup().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        var wantedTags = tagsByKey(tags);
        var givenNetworks = cidrs == null ? null : givenNetworks();
        connect();
        ec2 = client(Ec2Client.builder());
        var vpc = naming(vpcId, () -> vpc());
        var wanted = givenNetworks != null ? givenNetworks : networksOf(vpc);
        var found = naming(groupName, () -> find());
        var securityGroup = naming(found.map(group -> nameOf(group)).orElse(groupName),
                () -> bringInLine(found.orElseGet(() -> create(wantedTags)), wanted, wantedTags));
        return print(new Result(printed(strongest(changes)), caller.account(), region(), securityGroup, changes,
                undo()), 0);
    }

    void checkOptions() {
        checkVpcId(vpcId);
        if (ruleDescription != null) {
            // whether EC2 trims them is not documented
            check("--rule-description", ruleDescription, "(?! )[a-zA-Z0-9 ._\\-:/()#,@\\[\\]+=;{}!$*]{1,255}(?<! )",
                    "up to 255 letters, digits, spaces within and . _ - : / ( ) # , @ [ ] + = ; { } ! $ *, such as"
                            + " Offices");
        }
        check("--group-name", groupName,
                "(?!sg-|(?i:default)$)(?! )[a-zA-Z0-9 ._\\-:/()#,@\\[\\]+=&;{}!$*]{1,255}(?<! )",
                "up to 255 letters, digits, spaces and . _ - : / ( ) # , @ [ ] + = & ; { } ! $ *, not default and not"
                        + " beginning with sg-, such as codecommit-endpoints");
    }

    /** The networks of --cidrs with their spelling. */
    Map<Network, String> givenNetworks() {
        var networks = new LinkedHashMap<Network, String>();
        for (var cidr : cidrs) {
            var network = Network.of(cidr).orElseThrow(() -> wrong("--cidrs '" + cidr
                    + "': must be IPv4 or IPv6 networks such as 10.0.0.0/16 or 2001:db8:1234:1a00::/56"));
            if (!network.equals(network.withoutHostBits())) {
                throw wrong("--cidrs '" + cidr + "' is an address within a network: use " + network.withoutHostBits());
            }
            if (network.isLikeTheInternet() && !allowAnywhere) {
                throw wrong("--cidrs '" + cidr + "' lets in a large part of the internet: use narrower networks such as"
                        + " 10.0.0.0/8, or --allow-anywhere");
            }
            networks.putIfAbsent(network, cidr);
        }
        return networks;
    }

    Vpc vpc() {
        try {
            return ec2.describeVpcs(r -> r.vpcIds(vpcId)).vpcs().get(0);
        } catch (Ec2Exception e) {
            throw explained(e);
        }
    }

    /** The networks of a VPC with their spelling. */
    static Map<Network, String> networksOf(Vpc vpc) {
        var ipv4 = vpc.cidrBlockAssociationSet().stream()
                .filter(block -> block.cidrBlockState().state() == VpcCidrBlockStateCode.ASSOCIATED)
                .map(VpcCidrBlockAssociation::cidrBlock);
        var ipv6 = vpc.ipv6CidrBlockAssociationSet().stream()
                .filter(block -> block.ipv6CidrBlockState().state() == VpcCidrBlockStateCode.ASSOCIATED)
                .map(VpcIpv6CidrBlockAssociation::ipv6CidrBlock);
        var networks = new LinkedHashMap<Network, String>();
        Stream.concat(ipv4, ipv6).forEach(cidr -> networks.put(Network.of(cidr).orElseThrow(), cidr));
        return networks;
    }

    /** The account's group of that name, in whatever case: EC2 allows no two names that differ by case only. */
    Optional<SecurityGroup> find() {
        return ec2.describeSecurityGroupsPaginator(
                r -> r.filters(filter("vpc-id", vpcId), filter("owner-id", caller.account()))).securityGroups().stream()
                .filter(group -> group.groupName().equalsIgnoreCase(groupName)).findFirst();
    }

    static String nameOf(SecurityGroup group) {
        return group.groupName() + (group.groupId() == null ? "" : " " + group.groupId());
    }

    /** A new group, which lets no one in, or the one that someone else created; in a dry run one without an id. */
    SecurityGroup create(Map<String, String> wantedTags) {
        var tags = withUsual(wantedTags, Map.of("Name", groupName.replaceAll("[^\\w +\\-=.:/@]", "-"), "Service",
                "CodeCommit", "Purpose", "VPC-Endpoint-Access"));
        var group = SecurityGroup.builder().groupName(groupName).tags(ec2Tags(tags));
        if (dryRun) {
            record(Change.creation(groupName, "securityGroup", groupName), null);
            return group.build();
        }
        try {
            return created(group.groupId(ec2.createSecurityGroup(r -> r.vpcId(vpcId).groupName(groupName)
                    .description("Lets clients reach the VPC endpoints of CodeCommit on port 443")
                    .tagSpecifications(tagSpecifications(ResourceType.SECURITY_GROUP, tags))).groupId()).build());
        } catch (SdkException e) {
            if (e instanceof Ec2Exception refusal && errorCode(refusal).equals("InvalidGroup.Duplicate")) {
                return existing(refusal);
            }
            if (isTemporary(e)) {
                throw new Failure(reason(e) + "; if the group was created, it lets no one in yet: the same command"
                        + " again goes on with it", e);
            }
            throw e;
        }
    }

    SecurityGroup created(SecurityGroup group) {
        record(Change.creation(nameOf(group), "securityGroup", group.groupId()),
                aws("ec2 delete-security-group --group-id " + group.groupId()));
        return group;
    }

    /** The group that has the name: an earlier attempt of this run created it, or someone else did. */
    SecurityGroup existing(Ec2Exception refusal) {
        var group = poll(showPatience, () -> find()).orElseThrow(() -> new Failure(
                reason(refusal) + "; but EC2 does not show it: run the same command again", refusal));
        if (isDoubtful(refusal)) {
            return created(group);
        }
        note(groupName + ": someone else created " + group.groupId() + " in the meantime");
        return group;
    }

    Group bringInLine(SecurityGroup group, Map<Network, String> wanted, Map<String, String> wantedTags) {
        var present = rules(group);
        addMissing(group, present, wanted);
        describe(group, present.stream().filter(rule -> wanted.containsKey(network(rule))).toList());
        var others = present.stream().filter(rule -> !wanted.containsKey(network(rule))).toList();
        if (revokeOthers) {
            revoke(group, others);
        } else if (!others.isEmpty()) {
            note(nameOf(group) + ": kept rules that were not asked for, --revoke-others removes them: "
                    + String.join(", ", texts(others)));
        }
        changeEc2Tags(ec2, nameOf(group), group.groupId(), group.tags(), wantedTags);
        return new Group(group.groupId(), group.groupName(), vpcId, wanted.values(),
                revokeOthers ? List.of() : texts(others));
    }

    void addMissing(SecurityGroup group, List<IpPermission> present, Map<Network, String> wanted) {
        var missing = new LinkedHashMap<>(wanted);
        missing.keySet().removeAll(networks(present));
        if (missing.isEmpty()) {
            return;
        }
        var isNew = strongest(changes) == Status.CREATED;
        var rules = missing.entrySet().stream().map(entry -> https(entry.getKey(), entry.getValue())).toList();
        change(Change.update(nameOf(group), "cidrs", cidrs(present),
                Stream.concat(cidrs(present).stream(), missing.values().stream()).toList()),
                isNew ? null : ingressCommand("revoke", group, rules),
                () -> changeRules(rules,
                        left -> ec2.authorizeSecurityGroupIngress(r -> r.groupId(group.groupId()).ipPermissions(left)),
                        (rule, shown) -> networks(shown).contains(network(rule))));
    }

    /** Gives rules that are there the description of the option, or those that have none the usual one. */
    void describe(SecurityGroup group, List<IpPermission> rules) {
        var outdated = rules.stream().filter(rule -> ruleDescription == null ? description(rule).isEmpty()
                : !description(rule).equals(ruleDescription)).toList();
        if (outdated.isEmpty()) {
            return;
        }
        var described = outdated.stream().map(rule -> https(network(rule), cidr(rule).orElseThrow())).toList();
        change(Change.update(nameOf(group), "descriptions", descriptions(outdated), descriptions(described)),
                aws("ec2 update-security-group-rule-descriptions-ingress",
                        Map.of("GroupId", group.groupId(), "IpPermissions", asJson(outdated))),
                () -> ec2.updateSecurityGroupRuleDescriptionsIngress(
                        r -> r.groupId(group.groupId()).ipPermissions(described)));
    }

    /** Of a rule for a network; empty if it has none. */
    static String description(IpPermission rule) {
        return Stream.concat(rule.ipRanges().stream().map(IpRange::description),
                rule.ipv6Ranges().stream().map(Ipv6Range::description)).filter(Objects::nonNull).findFirst().orElse("");
    }

    /** By CIDR. */
    static Map<String, String> descriptions(List<IpPermission> rules) {
        return rules.stream().collect(Collectors.toMap(rule -> cidr(rule).orElseThrow(), rule -> description(rule)));
    }

    void revoke(SecurityGroup group, List<IpPermission> others) {
        if (others.isEmpty()) {
            return;
        }
        change(Change.update(nameOf(group), "others", texts(others), List.of()),
                ingressCommand("authorize", group, others),
                () -> changeRules(others,
                        left -> ec2.revokeSecurityGroupIngress(r -> r.groupId(group.groupId()).ipPermissions(left)),
                        (rule, shown) -> !shown.contains(rule)));
    }

    String ingressCommand(String verb, SecurityGroup group, List<IpPermission> rules) {
        return aws("ec2 " + verb + "-security-group-ingress",
                Map.of("GroupId", group.groupId(), "IpPermissions", asJson(rules)));
    }

    /**
     * Changes rules. EC2 makes all of one call's changes or none. It refuses them all if one was made before, by
     * someone else or by an attempt whose answer was lost, or if it does not know a new group yet: then the rules are
     * read again and what is left is tried again.
     *
     * @param isDone whether a rule is as it should be among those that EC2 shows
     */
    void changeRules(List<IpPermission> rules, Consumer<List<IpPermission>> call,
            BiPredicate<IpPermission, List<IpPermission>> isDone) {
        var left = new ArrayList<>(rules);
        var done = poll(showPatience, () -> {
            try {
                call.accept(left);
                return Optional.of(left);
            } catch (Ec2Exception e) {
                if (!errorCode(e).matches("InvalidPermission\\.(Duplicate|NotFound)|InvalidGroup\\.NotFound")) {
                    throw e;
                }
                find().ifPresent(group -> left.removeIf(rule -> isDone.test(rule, rules(group))));
                return left.isEmpty() ? Optional.of(left) : Optional.empty();
            }
        });
        if (done.isEmpty()) {
            call.accept(left);
        }
    }

    /** The inbound rules, one source each. */
    static List<IpPermission> rules(SecurityGroup group) {
        return group.ipPermissions().stream().flatMap(permission -> bySource(permission)).toList();
    }

    static Stream<IpPermission> bySource(IpPermission permission) {
        Function<Consumer<IpPermission.Builder>, IpPermission> rule = source -> IpPermission.builder()
                .ipProtocol(permission.ipProtocol()).fromPort(permission.fromPort()).toPort(permission.toPort())
                .applyMutation(source).build();
        return Stream.of(
                permission.ipRanges().stream().map(range -> rule.apply(r -> r.ipRanges(range))),
                permission.ipv6Ranges().stream().map(range -> rule.apply(r -> r.ipv6Ranges(range))),
                permission.prefixListIds().stream().map(list -> rule.apply(r -> r.prefixListIds(list))),
                permission.userIdGroupPairs().stream().map(pair -> rule.apply(r -> r.userIdGroupPairs(asInput(pair)))))
                .flatMap(rules -> rules);
    }

    /** The calls that change rules do not take all that EC2 shows of a group (name, peering). */
    static UserIdGroupPair asInput(UserIdGroupPair shown) {
        return UserIdGroupPair.builder().groupId(shown.groupId()).userId(shown.userId())
                .description(shown.description()).build();
    }

    IpPermission https(Network network, String cidr) {
        var description = Objects.requireNonNullElse(ruleDescription, RULE_DESCRIPTION);
        var rule = IpPermission.builder().ipProtocol("tcp").fromPort(HTTPS).toPort(HTTPS);
        return network.ipv6()
                ? rule.ipv6Ranges(Ipv6Range.builder().cidrIpv6(cidr).description(description).build()).build()
                : rule.ipRanges(IpRange.builder().cidrIp(cidr).description(description).build()).build();
    }

    /** The network that a rule lets in on just port 443; null for any other rule. */
    static Network network(IpPermission rule) {
        var isHttps = rule.ipProtocol().equals("tcp") && rule.fromPort() == HTTPS && rule.toPort() == HTTPS;
        return isHttps ? cidr(rule).flatMap(cidr -> Network.of(cidr)).orElse(null) : null;
    }

    static Optional<String> cidr(IpPermission rule) {
        return Stream.concat(rule.ipRanges().stream().map(IpRange::cidrIp),
                rule.ipv6Ranges().stream().map(Ipv6Range::cidrIpv6)).findFirst();
    }

    static Set<Network> networks(List<IpPermission> rules) {
        return rules.stream().map(rule -> network(rule)).filter(Objects::nonNull).collect(Collectors.toSet());
    }

    /** What the rules let in on port 443. */
    static List<String> cidrs(List<IpPermission> rules) {
        return rules.stream().filter(rule -> network(rule) != null).flatMap(rule -> cidr(rule).stream()).toList();
    }

    static List<String> texts(List<IpPermission> rules) {
        return rules.stream().map(rule -> text(rule)).toList();
    }

    /** Such as "tcp 22 from 192.0.2.0/24". */
    static String text(IpPermission rule) {
        var traffic = rule.ipProtocol().equals("-1") ? "all traffic" : rule.ipProtocol();
        var ports = Stream.of(rule.fromPort(), rule.toPort()).filter(Objects::nonNull).distinct()
                .map(port -> port.toString()).collect(Collectors.joining("-"));
        var source = Stream.of(cidr(rule).stream(), rule.prefixListIds().stream().map(PrefixListId::prefixListId),
                rule.userIdGroupPairs().stream().map(UserIdGroupPair::groupId)).flatMap(sources -> sources).findFirst();
        return traffic + (ports.isEmpty() ? "" : " " + ports) + " from " + source.orElseThrow();
    }

    /** A range of addresses; equal to every other spelling of it. */
    record Network(boolean ipv6, BigInteger address, int prefix) {
        static final String BYTE = "(25[0-5]|2[0-4]\\d|1?\\d?\\d)";
        static final String CIDR = "(" + BYTE + "\\.){3}" + BYTE + "/\\d{1,2}|[0-9a-fA-F:]*:[0-9a-fA-F:]*/\\d{1,3}";

        /** The network of a CIDR, host bits included. IPv4 within IPv6 is none: EC2 wants it as IPv4. */
        static Optional<Network> of(String cidr) {
            if (!cidr.matches(CIDR)) {
                return Optional.empty();
            }
            var slash = cidr.indexOf('/');
            var ipv6 = cidr.contains(":");
            var prefix = Integer.parseInt(cidr.substring(slash + 1));
            try {
                var bytes = InetAddress.getByName(cidr.substring(0, slash)).getAddress();
                var isNetwork = bytes.length == (ipv6 ? 16 : 4) && prefix <= 8 * bytes.length;
                return isNetwork ? Optional.of(new Network(ipv6, new BigInteger(1, bytes), prefix)) : Optional.empty();
            } catch (UnknownHostException e) {
                return Optional.empty();
            }
        }

        Network withoutHostBits() {
            var hostBits = (ipv6 ? 128 : 32) - prefix;
            return new Network(ipv6, address.shiftRight(hostBits).shiftLeft(hostBits), prefix);
        }

        /** Wider than any private range (10.0.0.0/8) or any provider's; fc00::/7 is the one for private use in IPv6. */
        boolean isLikeTheInternet() {
            var isPrivate = ipv6 && prefix >= 7 && address.shiftRight(121).intValue() == 0xfc >> 1;
            return prefix < (ipv6 ? 16 : 8) && !isPrivate;
        }

        @Override
        public String toString() {
            var bytes = address.setBit(8 * 16).toByteArray(); // 17 bytes, so that leading zeros stay
            try {
                return InetAddress.getByAddress(Arrays.copyOfRange(bytes, ipv6 ? 1 : 13, 17)).getHostAddress() + "/"
                        + prefix;
            } catch (UnknownHostException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    //region The same in every script: command line

    @Option(names = "--region", paramLabel = "REGION",
            description = "AWS Region. Default: AWS_REGION, else the profile's.")
    String region;

    @Option(names = "--profile", paramLabel = "NAME",
            description = "Profile of the AWS configuration files. Goes before credentials in the environment.")
    String profile;

    @Option(names = "--print", paramLabel = "POINTER",
            description = "Prints only the value at this JSON Pointer of the result, without quotes, e.g. /status.")
    JsonPointer print;

    @Option(names = {"-v", "--verbose"},
            description = "Prints every AWS call, and the stack trace of an error, to stderr.")
    boolean verbose;

    @Spec
    CommandSpec spec;

    CommandLine commandLine() {
        var commandLine = new CommandLine(this);
        spec.usageMessage().synopsisHeading("Usage: ./jbang ");
        return commandLine
                // JSON is UTF-8, whatever the terminal's encoding.
                .setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8))
                .setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8))
                .setUsageHelpAutoWidth(true)
                .setExpandAtFiles(false) // "@x" is a value, not a file of arguments
                .registerConverter(JsonPointer.class, text -> jsonPointer(text))
                .setParameterExceptionHandler((e, arguments) -> {
                    note(usageError(e, arguments));
                    return 2;
                })
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    fail(e);
                    return 1;
                });
    }

    /** Refuses what leads to nothing in the result: after the run it would be too late. */
    static JsonPointer jsonPointer(String text) {
        if (!text.startsWith("/")) {
            throw new TypeConversionException("'" + text + "' is not a JSON Pointer such as /status");
        }
        var pointer = JsonPointer.compile(text);
        var members = resultMembers();
        if (!members.contains(pointer.getMatchingProperty())) {
            throw new TypeConversionException("'" + text + "' is not in the result, which has /"
                    + String.join(", /", members));
        }
        return pointer;
    }

    /** The members of the printed documents, which are the records that begin with status and account. */
    static Set<String> resultMembers() {
        return Stream.of(MethodHandles.lookup().lookupClass().getDeclaredClasses()).filter(Class::isRecord)
                .map(type -> Stream.of(type.getRecordComponents()).map(RecordComponent::getName).toList())
                .filter(names -> names.size() > 1 && names.subList(0, 2).equals(List.of("status", "account")))
                .flatMap(List::stream).collect(Collectors.toCollection(LinkedHashSet::new));
    }

    String usageError(ParameterException e, String[] arguments) {
        var message = e.getMessage().replaceFirst("^Error: ", "").replaceAll("\\s+", " ");
        var help = " (help: ./jbang " + spec.name() + " --help)";
        if (e instanceof UnmatchedArgumentException unmatched) {
            return message + didYouMean(unmatched) + help;
        }
        if (!(e instanceof MissingParameterException)) {
            return message + help;
        }
        return unknownOption(arguments).map(name -> message + "; unknown option '" + name + "'"
                + didYouMean(new UnmatchedArgumentException(spec.commandLine(), List.of(name))) + help)
                .orElseGet(() -> message + help + "; for example: " + firstExample());
    }

    /** Of the help, in one line. */
    String firstExample() {
        return String.join("\n", spec.usageMessage().footer()).split("(?<!\\\\)\n")[0].replaceAll("\\s*\\\\\n\\s*", " ")
                .strip();
    }

    static String didYouMean(UnmatchedArgumentException e) {
        return e.getSuggestions().isEmpty() ? "" : "; did you mean " + e.getSuggestions().get(0) + "?";
    }

    /** Of a required option with a typing error, picocli says only that the option is missing. */
    Optional<String> unknownOption(String[] arguments) {
        return Stream.of(arguments).map(argument -> argument.split("=", 2)[0])
                .filter(name -> name.startsWith("--") && spec.findOption(name) == null
                        && !spec.negatedOptionsMap().containsKey(name))
                .findFirst();
    }

    /** The value, if it has the form; else exit code 2 and what is right. */
    String check(String option, String value, String form, String right) {
        if (value.matches(form)) {
            return value;
        }
        throw wrong(option + " '" + value + "': must be " + right);
    }

    ParameterException wrong(String message) {
        return new ParameterException(spec.commandLine(), message);
    }

    //endregion

    //region The same in every script: AWS clients

    private AwsCredentialsProvider credentials;
    /** Known once {@link #connect} has returned. */
    Caller caller;

    /** Whose credentials these are. */
    record Caller(String account, String partition, String arn) {}

    /**
     * Finds the credentials and asks STS whose they are, which needs no permission. Scripts call this after they have
     * checked their options and before they read or change anything, so that a missing sign-in is reported first.
     */
    void connect() {
        region();
        checkConfigurationFiles();
        if (profile != null) {
            System.setProperty("aws.profile", profile); // for the clients that the SDK makes itself to sign in
        }
        credentials = profile != null ? ProfileCredentialsProvider.create(profile)
                : DefaultCredentialsProvider.builder().build();
        useProxies(System.getenv());
        useCaBundle(System.getenv("AWS_CA_BUNDLE"));
        System.setProperty("software.amazon.awssdk.http.service.impl", HttpService.class.getName());
        try {
            credentials.resolveCredentials();
        } catch (SdkException e) {
            throw new Failure(whyNotSignedIn(e), e);
        }
        try (var sts = client(StsClient.builder())) {
            var identity = sts.getCallerIdentity();
            caller = new Caller(identity.account(), identity.arn().split(":")[1], identity.arn());
        }
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder) {
        return client(builder, AwsRetryStrategy.standardRetryStrategy());
    }

    <B extends AwsClientBuilder<B, C> & AwsSyncClientBuilder<B, C>, C> C client(B builder, RetryStrategy retries) {
        return builder.region(Region.of(region())).credentialsProvider(credentials).overrideConfiguration(o -> {
            o.retryStrategy(retries);
            if (profile != null) {
                o.defaultProfileName(profile);
            }
            if (verbose) {
                o.addExecutionInterceptor(new CallLog());
            }
        }).build();
    }

    class CallLog implements ExecutionInterceptor {
        @Override
        public void afterTransmission(Context.AfterTransmission context, ExecutionAttributes call) {
            note(call.getAttribute(SdkExecutionAttribute.SERVICE_NAME) + " "
                    + call.getAttribute(SdkExecutionAttribute.OPERATION_NAME) + ": HTTP "
                    + context.httpResponse().statusCode());
        }
    }

    /**
     * The HTTP client of all of the SDK's clients, those that it makes itself to assume a profile's role included. The
     * JDK opens the connections, by the proxies and certificates that Git uses, too.
     */
    public static class HttpService implements SdkHttpService, SdkHttpClient.Builder<HttpService> {
        @Override
        public HttpService createHttpClientBuilder() {
            return this;
        }

        @Override
        public SdkHttpClient buildWithDefaults(AttributeMap ofService) {
            var timeouts = ofService.merge(SdkHttpConfigurationOption.GLOBAL_HTTP_DEFAULTS);
            return UrlConnectionHttpClient.create(uri -> open(uri, timeouts));
        }

        private static HttpURLConnection open(URI uri, AttributeMap timeouts) {
            try {
                var connection = (HttpURLConnection) uri.toURL().openConnection();
                connection.setConnectTimeout(
                        (int) timeouts.get(SdkHttpConfigurationOption.CONNECTION_TIMEOUT).toMillis());
                connection.setReadTimeout((int) timeouts.get(SdkHttpConfigurationOption.READ_TIMEOUT).toMillis());
                return connection;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /**
     * Makes the JDK follow HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Of itself the SDK takes HTTP_PROXY even for https, and
     * no domains in NO_PROXY.
     */
    static void useProxies(Map<String, String> environment) {
        UnaryOperator<String> variable = name -> environment
                .getOrDefault(name, environment.getOrDefault(name.toUpperCase(Locale.ROOT), "")).strip();
        for (var scheme : List.of("http", "https")) {
            var proxy = variable.apply(scheme + "_proxy");
            if (!proxy.isEmpty()) {
                useProxy(scheme, proxy);
            }
        }
        var direct = Stream.of(variable.apply("no_proxy").split("[,\\s]+"))
                .map(host -> host.replaceFirst("^\\*?\\.", "")).filter(host -> !host.isEmpty())
                .map(host -> "|" + host + "|*." + host).collect(Collectors.joining());
        System.setProperty("http.nonProxyHosts", "localhost|127.*|[::1]" + direct);
    }

    static void useProxy(String scheme, String proxy) {
        var form = "(?:https?://)?(?:(?<user>[^:@/]*):(?<password>[^@/]*)@)?(?<host>[\\w.-]+|\\[[\\da-fA-F:]+])"
                + "(?::(?<port>\\d+))?/?";
        var parts = Pattern.compile(form).matcher(proxy);
        if (!parts.matches()) {
            throw new Failure(scheme.toUpperCase(Locale.ROOT) + "_PROXY must be of the form http://HOST:PORT");
        }
        System.setProperty(scheme + ".proxyHost", parts.group("host"));
        System.setProperty(scheme + ".proxyPort", Objects.requireNonNullElse(parts.group("port"), "80"));
        if (parts.group("user") == null) {
            return;
        }
        var signIn = new PasswordAuthentication(percentDecoded(parts.group("user")),
                percentDecoded(parts.group("password")).toCharArray());
        System.setProperty("jdk.http.auth.tunneling.disabledSchemes", ""); // the JDK's default has no Basic for https
        Authenticator.setDefault(new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return getRequestorType() == RequestorType.PROXY ? signIn : null;
            }
        });
    }

    static String percentDecoded(String text) {
        return URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
    }

    /** Makes the JDK trust the certificates of a PEM file in the place of its own, as the AWS CLI does. */
    static void useCaBundle(String file) {
        if (file == null || file.isEmpty()) {
            return;
        }
        try {
            // the parser reads byte by byte
            var pem = new ByteArrayInputStream(Files.readAllBytes(Path.of(file)));
            var trusted = KeyStore.getInstance(KeyStore.getDefaultType());
            trusted.load(null);
            for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                trusted.setCertificateEntry("certificate-" + trusted.size(), certificate);
            }
            var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            managers.init(trusted);
            var context = SSLContext.getInstance("TLS");
            context.init(null, managers.getTrustManagers(), null);
            HttpsURLConnection.setDefaultSSLSocketFactory(context.getSocketFactory());
        } catch (IOException | InvalidPathException | GeneralSecurityException e) {
            throw new Failure("AWS_CA_BUNDLE " + file + " must be a PEM file of certificates: " + reason(e), e);
        }
    }

    /** What the SDK cannot parse would show up as a missing Region or missing credentials. */
    static void checkConfigurationFiles() {
        ProfileFileLocation.configurationFileLocation()
                .ifPresent(file -> checkConfigurationFile(file, ProfileFile.Type.CONFIGURATION));
        ProfileFileLocation.credentialsFileLocation()
                .ifPresent(file -> checkConfigurationFile(file, ProfileFile.Type.CREDENTIALS));
    }

    static void checkConfigurationFile(Path file, ProfileFile.Type type) {
        try {
            ProfileFile.builder().content(file).type(type).build();
        } catch (IllegalArgumentException | IllegalStateException e) {
            throw new Failure(file + ": " + reason(e), e);
        }
    }

    /** The SDK's chain says only that all of its members failed: the profile's own reason is told, if one is meant. */
    String whyNotSignedIn(SdkException failure) {
        var profiles = ProfileFile.defaultProfileFile().profiles();
        var name = profile != null ? profile : ProfileFileSystemSetting.AWS_PROFILE.getStringValueOrThrow();
        var settings = profiles.get(name);
        if (name.equals("default") && (settings == null || signInHint(name, settings).isEmpty())) {
            return "no AWS credentials: use --profile, set AWS_PROFILE, or sign in; --verbose shows what was tried";
        }
        if (settings == null) {
            return "no profile " + name + " in the AWS configuration files; " + (profiles.isEmpty() ? "there is none"
                    : "there are: " + String.join(", ", new TreeSet<>(profiles.keySet())));
        }
        return "profile " + name + ": " + reason(profile != null ? failure : failureOf(name, failure))
                + signInHint(name, settings);
    }

    /** Why a profile gives no credentials; if it does by now, why the chain gave none. */
    static SdkException failureOf(String profile, SdkException failureOfChain) {
        try (var provider = ProfileCredentialsProvider.create(profile)) {
            provider.resolveCredentials();
            return failureOfChain;
        } catch (SdkException e) {
            return e;
        }
    }

    static String signInHint(String name, Profile profile) {
        if (profile.property("login_session").isPresent()) {
            return "; sign in with: aws login --profile " + name;
        }
        if (profile.property("sso_session").isPresent() || profile.property("sso_start_url").isPresent()) {
            return "; sign in with: aws sso login --profile " + name;
        }
        if (profile.property("mfa_serial").isPresent()) {
            return "; it asks for MFA, which only the AWS CLI can do: "
                    + "eval \"$(aws configure export-credentials --profile " + name + " --format env)\"";
        }
        return "";
    }

    String region() {
        if (region == null) {
            region = configuredRegion();
        }
        return checkRegion("--region", region);
    }

    String checkRegion(String option, String name) {
        return check(option, name, "[a-z]{2,4}(-[a-z]+)+-\\d{1,2}", "a Region such as eu-west-1");
    }

    private String configuredRegion() {
        checkConfigurationFiles();
        try {
            return DefaultAwsRegionProviderChain.builder().profileName(profile).build().getRegion().id();
        } catch (SdkClientException e) {
            throw new Failure("no Region: use --region or set AWS_REGION", e);
        }
    }

    //endregion

    //region The same in every script: output and errors

    /** What is not known yet, as in a dry run, is left out. */
    static final ObjectMapper JSON = new ObjectMapper().setDefaultPropertyInclusion(JsonInclude.Include.NON_NULL);
    /** What would move a terminal's cursor, change its colours, or hide or turn what follows. */
    static final Pattern CONTROL = Pattern.compile("[[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}]&&[^\t\r\n]]");

    /** Prints the result, or the part of it that --print asks for. */
    int print(Object result, int exitCode) {
        JsonNode document = JSON.valueToTree(result);
        var part = print == null ? document : document.at(print);
        if (part.isMissingNode()) {
            throw new Failure("the result has nothing at " + print + ": " + document);
        }
        var out = spec.commandLine().getOut();
        out.println(part.isValueNode() ? part.asText() : visible(part.toPrettyString()));
        if (out.checkError()) {
            throw new Failure("stdout cannot be written to; the result is: " + document);
        }
        return exitCode;
    }

    void note(String message) {
        spec.commandLine().getErr().println(spec.name() + ": " + visible(message.replaceAll("[\r\n]+", " ")));
    }

    /** With control characters as JSON writes them, so that others' names cannot control the terminal. */
    static String visible(String text) {
        return CONTROL.matcher(text).replaceAll(found -> Matcher.quoteReplacement(found.group().chars()
                .mapToObj(unit -> String.format("\\u%04x", unit)).collect(Collectors.joining())));
    }

    void fail(Exception e) {
        note(reason(e));
        trace(e);
    }

    /** With --verbose, where an error comes from. */
    void trace(Throwable e) {
        if (verbose) {
            var text = new StringWriter();
            e.printStackTrace(new PrintWriter(text));
            spec.commandLine().getErr().println(visible(text.toString().replace('\r', ' ').stripTrailing()));
        }
    }

    /** In one line: the error code and message of AWS, or what else went wrong. */
    static String reason(Throwable e) {
        if (e instanceof AwsServiceException answer && answer.awsErrorDetails() != null) {
            return reason(answer);
        }
        // A Failure says more than its cause does.
        for (var cause = e; cause != null && !(cause instanceof Failure); cause = cause.getCause()) {
            if (cause instanceof UnknownHostException) {
                return "unknown host " + cause.getMessage() + "; check --region, AWS_ENDPOINT_URL and the network";
            }
            if (cause instanceof CertPathBuilderException) {
                return "the certificate of the other side is not trusted: if a proxy inspects TLS, set AWS_CA_BUNDLE to"
                        + " a PEM file of its CA";
            }
        }
        var text = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        var line = text.lines().findFirst().orElse("");
        return e instanceof Failure ? line : shortened(line); // the commands in a Failure have to be complete
    }

    /** Others may say a whole page. */
    private static String shortened(String line) {
        return line.length() > 2000 ? line.substring(0, 2000) + " ..." : line;
    }

    private static String reason(AwsServiceException answer) {
        var details = answer.awsErrorDetails();
        var code = Objects.requireNonNullElse(details.errorCode(), "HTTP " + answer.statusCode());
        var message = details.errorMessage() == null ? ""
                : ": " + shortened(details.errorMessage().replaceAll("\\s+", " "));
        return code + message + " (request id " + answer.requestId() + ")"
                + (code.contains("Expired") ? "; sign in again" : "");
    }

    /** Whether the same call may succeed later: a lost connection, an error of the service, throttling. */
    static boolean isTemporary(Throwable e) {
        for (var cause = e; cause != null; cause = cause.getCause()) {
            if (cause instanceof AwsServiceException answer) {
                return answer.statusCode() >= 500 || answer.isThrottlingException() || isCutShort(answer);
            }
            if (cause instanceof SdkClientException || cause instanceof IOException) {
                return true;
            }
        }
        return false;
    }

    /** Whether the answer was cut: AWS names an error code in every refusal. */
    static boolean isCutShort(AwsServiceException answer) {
        return answer.awsErrorDetails() == null || answer.awsErrorDetails().errorCode() == null;
    }

    /** Repeats a look until it finds something or the time is over; the waits between grow from 250 ms to 5 s. */
    static <T> Optional<T> poll(Duration patience, Supplier<Optional<T>> look) {
        var end = Instant.now().plus(patience);
        var wait = Duration.ofMillis(250);
        var found = look.get();
        while (found.isEmpty() && Instant.now().isBefore(end)) {
            pause(wait);
            wait = Collections.min(List.of(wait.multipliedBy(2), Duration.ofSeconds(5)));
            found = look.get();
        }
        return found;
    }

    static void pause(Duration time) {
        try {
            Thread.sleep(time.toMillis());
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        }
    }

    /** A failure whose message says what went wrong and what to do. */
    static class Failure extends RuntimeException {
        Failure(String message, Throwable cause) {
            super(message, cause);
        }

        Failure(String message) {
            this(message, null);
        }
    }

    //endregion

    //region The same in every script: AWS CLI commands

    /** An AWS CLI command for the same Region and profile. */
    String aws(String command) {
        return "aws " + command + place();
    }

    /** The options by which a command, of the AWS CLI or of these scripts, goes to the same Region and profile. */
    String place() {
        return place(region());
    }

    String place(String otherRegion) {
        return " --region " + otherRegion + (profile == null ? "" : " --profile " + quote(profile));
    }

    /**
     * The same with the operation's input as JSON, for free text, of which the AWS CLI would take file:// and a leading
     * dash for its own syntax.
     */
    String aws(String operation, Map<String, ?> input) {
        return aws(operation + " --cli-input-json " + quote(JSON.valueToTree(new TreeMap<>(input)).toString()));
    }

    /** As one word of a shell command. */
    static String quote(String word) {
        return word.matches("[\\w@%+=:,./-]+") ? word : "'" + word.replace("'", "'\\''") + "'";
    }

    //endregion

    //region The same in every script: changes

    @Option(names = "--dry-run", description = "Only reads, and prints what would change.")
    boolean dryRun;

    /** The weakest first; a run that changes several things reports the strongest. */
    enum Status {
        UNCHANGED, UPDATED, CREATED, DELETED
    }

    /** @param resource whose field this is */
    record Change(String resource, String field, @JsonInclude Object from, @JsonInclude Object to,
            @JsonIgnore Status status) {
        static Change creation(String resource, String field, Object to) {
            return new Change(resource, field, null, to, Status.CREATED);
        }

        static Change update(String resource, String field, Object from, Object to) {
            return new Change(resource, field, from, to, Status.UPDATED);
        }

        static Change deletion(String resource, String field, Object from, Object to) {
            return new Change(resource, field, from, to, Status.DELETED);
        }
    }

    /** In the order in which they were made, or in a dry run would be. */
    List<Change> changes = new ArrayList<>();
    /** Commands that take the changes back, the last change first. */
    Deque<String> undoCommands = new ArrayDeque<>();

    /** Makes a change and records it; in a dry run only records it. */
    void change(Change change, String undoCommand, Runnable step) {
        if (!dryRun) {
            step.run();
        }
        record(change, undoCommand);
    }

    /** Records a change that was made. */
    void record(Change change, String undoCommand) {
        changes.add(change);
        if (undoCommand != null && !dryRun) {
            undoCommands.push(undoCommand);
        }
    }

    /** The command that takes all changes back; null if nothing was changed. */
    String undo() {
        return undoSince(0);
    }

    /** The command that takes back what was changed since there were so many undo commands; null if nothing was. */
    String undoSince(int count) {
        var latest = undoCommands.stream().limit(undoCommands.size() - count).toList();
        return latest.isEmpty() ? null : String.join(" && ", latest);
    }

    static Status strongest(List<Change> changes) {
        return changes.stream().map(Change::status).max(Comparator.naturalOrder()).orElse(Status.UNCHANGED);
    }

    /** "created", in a dry run "would-create". */
    String printed(Status status) {
        var done = status.name().toLowerCase(Locale.ROOT);
        return dryRun && status != Status.UNCHANGED ? "would-" + done.substring(0, done.length() - 1) : done;
    }

    /**
     * Runs steps that change a resource. A failure gets its name, and says what they had changed before and how that is
     * taken back: a run that fails prints no result.
     */
    <T> T naming(String resource, Supplier<T> steps) {
        var changesBefore = changes.size();
        var undoBefore = undoCommands.size();
        try {
            return steps.get();
        } catch (RuntimeException e) {
            var made = changes.stream().skip(changesBefore).map(Change::field).toList();
            var undo = undoSince(undoBefore);
            throw new Failure(resource + ": " + reason(e) + (made.isEmpty() || dryRun ? "" : "; changed before that: "
                    + String.join(", ", made) + (isTemporary(e) ? "; the same command again does the rest" : "")
                    + (undo == null ? "" : "; this takes it back: " + undo)), e);
        }
    }

    /** Whether a call may have had an effect although it failed: it was tried before, or the answer was lost. */
    static boolean isDoubtful(SdkException e) {
        return e.numAttempts() > 1 || isTemporary(e);
    }

    //endregion

    //region The same in every script: tags

    /** Key=Value options by key, within AWS's limits on tags. */
    Map<String, String> tagsByKey(List<String> options) {
        var byKey = new TreeMap<String, String>();
        for (var option : options) {
            check("--tags", option, "(?!aws:)[\\p{L}\\p{N} +\\-._:/@]{1,128}=[\\p{L}\\p{N} +\\-=._:/@]{0,256}",
                    "Key=Value of letters, digits, spaces and + - = . _ : / @, such as Team=Payments");
            var equals = option.indexOf('=');
            if (byKey.put(option.substring(0, equals), option.substring(equals + 1)) != null) {
                throw wrong("--tags '" + option + "': its key is there twice; use each once, such as Team=Payments");
            }
        }
        if (byKey.size() > 50) {
            throw wrong("--tags: " + byKey.size() + " tags; AWS takes 50 at most");
        }
        return byKey;
    }

    /** How a resource is tagged and untagged, and the AWS CLI commands for it. */
    record Tagging(Consumer<Map<String, String>> tag, Consumer<Set<String>> untag,
            Function<Map<String, String>, String> tagCommand, Function<Set<String>, String> untagCommand) {}

    /** Adds and changes tags; others go only if asked for. AWS's own tags (aws:) cannot be changed. */
    void changeTags(String resource, Map<String, String> present, Map<String, String> wanted, boolean removeOthers,
            Tagging tagging) {
        var added = new TreeMap<>(wanted);
        added.entrySet().removeAll(present.entrySet());
        if (!added.isEmpty()) {
            var replaced = new TreeMap<>(present);
            replaced.keySet().retainAll(added.keySet());
            change(Change.update(resource, "tags", replaced, added), untagging(added, replaced, tagging),
                    () -> tagging.tag().accept(added));
        }
        var others = new TreeMap<>(present);
        others.keySet().removeIf(key -> wanted.containsKey(key) || key.startsWith("aws:"));
        if (removeOthers && !others.isEmpty()) {
            change(Change.update(resource, "tags", others, Map.of()), tagging.tagCommand().apply(others),
                    () -> tagging.untag().accept(others.keySet()));
        }
    }

    /** The commands that give replaced tags their values back and remove new ones. */
    static String untagging(Map<String, String> added, Map<String, String> replaced, Tagging tagging) {
        var fresh = new TreeSet<>(added.keySet());
        fresh.removeAll(replaced.keySet());
        var commands = new ArrayList<String>();
        if (!replaced.isEmpty()) {
            commands.add(tagging.tagCommand().apply(replaced));
        }
        if (!fresh.isEmpty()) {
            commands.add(tagging.untagCommand().apply(fresh));
        }
        return String.join(" && ", commands);
    }

    //endregion

    //region The same in every script: usual tags

    /** The tags of a new resource: those that are given, and the usual ones under other keys if there is room. */
    static Map<String, String> withUsual(Map<String, String> given, Map<String, String> usual) {
        var all = new TreeMap<>(usual);
        all.putAll(given);
        return all.size() > 50 ? given : all;
    }

    //endregion

    //region The same in every script: AWS structures as JSON

    /** What AWS answered, with its own names for everything, as the AWS CLI prints and takes it. */
    static JsonNode asJson(Object value) {
        if (value instanceof SdkPojo structure) {
            var node = JSON.createObjectNode();
            for (var field : structure.sdkFields()) {
                var member = field.getValueOrDefault(structure);
                if (member != null && !(member instanceof SdkAutoConstructList<?>)
                        && !(member instanceof SdkAutoConstructMap<?, ?>)) {
                    node.set(field.memberName(), asJson(member));
                }
            }
            return node;
        }
        if (value instanceof Collection<?> items) {
            return JSON.createArrayNode().addAll(items.stream().map(item -> asJson(item)).toList());
        }
        if (value instanceof Map<?, ?> entries) {
            var node = JSON.createObjectNode();
            entries.forEach((key, entry) -> node.set(key.toString(), asJson(entry)));
            return node;
        }
        if (value instanceof Long number && number == number.intValue()) {
            return IntNode.valueOf(number.intValue()); // as Jackson reads it back, for comparisons
        }
        return JSON.valueToTree(value instanceof Instant time ? time.toString() : value);
    }

    //endregion

    //region The same in every script: EC2

    void checkVpcId(String id) {
        check("--vpc-id", id, "vpc-([0-9a-f]{8}|[0-9a-f]{17})", "the id of a VPC such as vpc-0123456789abcdef0");
    }

    static Filter filter(String name, String value) {
        return Filter.builder().name(name).values(value).build();
    }

    static String errorCode(Ec2Exception e) {
        return String.valueOf(e.awsErrorDetails().errorCode());
    }

    /** A VPC that EC2 does not know may be in another Region. */
    RuntimeException explained(Ec2Exception e) {
        return errorCode(e).equals("InvalidVpcID.NotFound")
                ? new Failure(reason(e) + "; if it is in another Region than " + region() + ", use --region", e) : e;
    }

    static List<Tag> ec2Tags(Map<String, String> tags) {
        return tags.entrySet().stream().map(tag -> Tag.builder().key(tag.getKey()).value(tag.getValue()).build())
                .toList();
    }

    /** The tags for a new resource; null if there are none, as EC2 takes no empty list. */
    static List<TagSpecification> tagSpecifications(ResourceType type, Map<String, String> tags) {
        return tags.isEmpty() ? null
                : List.of(TagSpecification.builder().resourceType(type).tags(ec2Tags(tags)).build());
    }

    void changeEc2Tags(Ec2Client ec2, String resource, String id, List<Tag> present, Map<String, String> wanted) {
        var presentTags = present.stream().collect(Collectors.toMap(Tag::key, Tag::value));
        changeTags(resource, presentTags, wanted, false, new Tagging(
                tags -> ec2.createTags(r -> r.resources(id).tags(ec2Tags(tags))),
                keys -> {
                    throw new UnsupportedOperationException("tags in EC2 are added and changed only");
                },
                tags -> aws("ec2 create-tags", Map.of("Resources", List.of(id), "Tags", asJson(ec2Tags(tags)))),
                keys -> aws("ec2 delete-tags", Map.of("Resources", List.of(id), "Tags",
                        keys.stream().map(key -> Map.of("Key", key)).toList()))));
    }

    //endregion
}
