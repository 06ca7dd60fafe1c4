///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Creates or updates a VPC's endpoints for CodeCommit's API and for Git, and waits until they are available.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:ec2
//DEPS software.amazon.awssdk:iam
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//FILES policies/endpoint-api-default.json=../policies/endpoint-api-default.json
//FILES policies/endpoint-api-git.json=../policies/endpoint-api-git.json
//FILES policies/endpoint-api-read.json=../policies/endpoint-api-read.json
//FILES policies/endpoint-api-restricted.json=../policies/endpoint-api-restricted.json
//FILES policies/endpoint-git-default.json=../policies/endpoint-git-default.json
//FILES policies/endpoint-git-read.json=../policies/endpoint-git-read.json
//FILES policies/endpoint-git-restricted.json=../policies/endpoint-git-restricted.json
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

import com.fasterxml.jackson.annotation.*;
import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.RecordComponent;
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
import software.amazon.awssdk.regions.PartitionMetadata;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.ec2.model.Ec2Exception;
import software.amazon.awssdk.services.ec2.model.Filter;
import software.amazon.awssdk.services.ec2.model.ModifyVpcEndpointRequest;
import software.amazon.awssdk.services.ec2.model.ResourceType;
import software.amazon.awssdk.services.ec2.model.SecurityGroup;
import software.amazon.awssdk.services.ec2.model.SecurityGroupIdentifier;
import software.amazon.awssdk.services.ec2.model.ServiceDetail;
import software.amazon.awssdk.services.ec2.model.State;
import software.amazon.awssdk.services.ec2.model.Subnet;
import software.amazon.awssdk.services.ec2.model.Tag;
import software.amazon.awssdk.services.ec2.model.TagSpecification;
import software.amazon.awssdk.services.ec2.model.VpcAttributeName;
import software.amazon.awssdk.services.ec2.model.VpcEndpoint;
import software.amazon.awssdk.services.ec2.model.VpcEndpointType;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.NoSuchEntityException;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Creates the interface endpoints by which a VPC reaches CodeCommit without the internet, or brings existing ones in
 * line: one for the API, one for Git, each over one subnet per zone; VPC and service say which endpoint is meant.
 *
 * <p>Changes in AWS: the endpoints (billed by hour, zone and traffic), their policies and tags. Subnets and security
 * groups are added; others stay and are named. Of the policies it owns the statements ApiOnRepositories,
 * ApiWithoutRepository and GitOnRepositories and those of {@code --policy-file}, by Sid, and replaces AWS's own
 * statement that allows everything; other statements are kept and named. Policy and private DNS of an existing endpoint
 * stay as they are if no option says otherwise. A new endpoint has the tags Name, Service and Purpose, unless
 * {@code --tags} says otherwise. A zone that was asked for and has no subnet for the endpoints is left out and named.
 *
 * <p>A second run with the same arguments changes nothing. An endpoint that did not become available is named, with
 * what to do.
 *
 * <p>IAM actions:
 * <ul>
 * <li>iam:GetRole, iam:GetUser to look the principals up; where it is denied that is said
 * <li>ec2:DescribeVpcAttribute, ec2:DescribeSubnets, ec2:DescribeSecurityGroups, ec2:DescribeVpcEndpointServices,
 * ec2:DescribeVpcEndpoints
 * <li>ec2:CreateVpcEndpoint, ec2:CreateTags
 * <li>ec2:ModifyVpcEndpoint to change an existing endpoint
 * </ul>
 */
@Command(name = "create-vpc-endpoint", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Creates or updates a VPC's endpoints for CodeCommit's API and for Git, and waits until they are"
                + " available.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: one endpoint failed, or zones were left out; the rest is complete",
                "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang create-vpc-endpoint --vpc-id vpc-0123456789abcdef0 \\",
                "      --security-group-ids sg-0123456789abcdef0",
                "  ./jbang create-vpc-endpoint --vpc-id vpc-0123456789abcdef0 \\",
                "      --security-group-ids sg-0123456789abcdef0 --policy restricted \\",
                "      --principals arn:aws:iam::111122223333:role/Developer"})
class CreateVpcEndpoint implements Callable<Integer> {
    @Option(names = "--vpc-id", required = true, paramLabel = "ID", description = "The VPC of the endpoints.")
    String vpcId;

    @Option(names = "--security-group-ids", required = true, paramLabel = "ID", arity = "1..*",
            description = "Security groups for the endpoints, such as create-endpoint-security-group creates.")
    List<String> securityGroupIds;

    @Option(names = "--services", paramLabel = "SERVICE", arity = "1..*",
            description = "Which endpoints: ${COMPLETION-CANDIDATES}. Default: both.")
    List<Service> services = List.of(Service.values());

    @Option(names = "--fips", description = "The FIPS endpoints, in Regions that have them.")
    boolean fips;

    @ArgGroup
    Where where = new Where();

    static class Where {
        @Option(names = "--subnet-ids", paramLabel = "ID", arity = "1..*",
                description = "Subnets for the endpoints, one per zone.")
        List<String> subnetIds;

        @Option(names = "--availability-zones", paramLabel = "ZONE", arity = "1..*",
                description = "Zones for the endpoints. Default: all where the service is offered and the VPC has a"
                        + " subnet.")
        List<String> zones;
    }

    @Option(names = "--policy", paramLabel = "POLICY",
            description = "Either default: all principals of the account; or restricted: --principals and"
                    + " --repository-names. If not given, an endpoint keeps the policy that it has, and one without"
                    + " gets default.")
    String policy;

    @Option(names = "--principals", paramLabel = "ARN", arity = "1..*",
            description = "Users and roles that the restricted policy lets through.")
    List<String> principals = List.of();

    @Option(names = "--repository-names", paramLabel = "NAME", arity = "1..*",
            description = "Repositories that the restricted policy lets through; those of other accounts by their ARNs."
                    + " Default: all of the account's.")
    List<String> repositoryNames = List.of();

    @Option(names = "--access", paramLabel = "ACCESS",
            description = "What the restricted policy lets them do: full; read: neither change nor push; git: pull,"
                    + " push, and find repositories. Default: full.")
    Access access;

    @Option(names = "--policy-file", paramLabel = "FILE",
            description = "Statements of your own for the endpoint policies, in JSON: a policy, a list or one. With"
                    + " --policy they are added to its statements, or take the place of those with the same Sids;"
                    + " without, they are the policy. Statements of others stay.")
    Path policyFile;

    @Option(names = "--private-dns", negatable = true,
            description = "Whether CodeCommit's own host names lead to the endpoints within the VPC. If not given, they"
                    + " do for a new endpoint, and an existing one stays as it is.")
    Boolean privateDns;

    @ArgGroup
    Waiting waiting = new Waiting();

    static class Waiting {
        @Option(names = "--no-wait", description = "Does not wait until the endpoints are available.")
        boolean none;

        @Option(names = "--timeout", paramLabel = "DURATION", defaultValue = "10m",
                description = "How long to wait, such as 90s, 10m or 1h. Default: ${DEFAULT-VALUE}.")
        String timeout = "10m";
    }

    @Option(names = "--tags", paramLabel = "Key=Value", arity = "1..*", description = "Tags to add or change.")
    List<String> tags = List.of();

    /** CodeCommit has two endpoint services; each carries only its own actions. */
    enum Service {
        api("codecommit", "endpoint-api-default.json",
                Map.of(Access.full, "endpoint-api-restricted.json", Access.read, "endpoint-api-read.json",
                        Access.git, "endpoint-api-git.json")),
        git("git-codecommit", "endpoint-git-default.json",
                Map.of(Access.full, "endpoint-git-restricted.json", Access.read, "endpoint-git-read.json",
                        Access.git, "endpoint-git-restricted.json"));

        final String awsName;
        final String defaultPolicy;
        final Map<Access, String> restrictedPolicies;

        Service(String awsName, String defaultPolicy, Map<Access, String> restrictedPolicies) {
            this.awsName = awsName;
            this.defaultPolicy = defaultPolicy;
            this.restrictedPolicies = restrictedPolicies;
        }
    }

    enum Access {
        full, read, git
    }

    /** The printed document. */
    record Result(String status, String account, String region, List<Endpoint> endpoints, List<Change> changes,
            String undo) {}

    /**
     * @param error why it failed; null if it did not
     * @param zonesLeftOut those of --availability-zones in which the VPC has no subnet for it; null if there are none
     * @param policy in a dry run
     */
    record Endpoint(String service, String status, String error, String vpcEndpointId, String serviceName, String vpcId,
            String state, boolean privateDnsEnabled, List<String> subnetIds, List<String> zonesLeftOut,
            List<String> securityGroupIds, List<DnsName> dnsEntries, JsonNode policy) {}

    record DnsName(String dnsName, String hostedZoneId) {}

    static final int HTTPS = 443;
    /** Characters, white space included. */
    static final int MAX_POLICY_SIZE = 20480;
    static final Set<String> OWN_SIDS = Set.of("ApiOnRepositories", "ApiWithoutRepository", "GitOnRepositories");
    static final PolicyRules ENDPOINT_POLICY = new PolicyRules("[a-zA-Z0-9]{1,128}", "codecommit:[a-zA-Z*?]+|\\*",
            "\\*|arn:(aws[a-z-]*|\\*):codecommit:[a-z0-9*-]+:(\\d{12}|\\*):[\\w.*?-]+", "codecommit:GitPull",
            "arn:aws:codecommit:eu-west-1:111122223333:payments");
    /** The statement of endpoints that were created without a policy. */
    static final String FULL_ACCESS = """
            {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}""";

    /** How long EC2 may take to show a new endpoint; usually less than a second. */
    Duration showPatience = Duration.ofSeconds(15);

    Ec2Client ec2;
    Map<String, String> wantedTags;
    /** Those of --policy-file. */
    List<JsonNode> fileStatements = List.of();
    Inventory inventory;

    public static void main(String[] args) {
        System.exit(new CreateVpcEndpoint().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        wantedTags = tagsByKey(tags);
        connect();
        checkPrincipals(Stream.concat(principals.stream(), principalsOf(fileStatements)).distinct().toList());
        ec2 = client(Ec2Client.builder());
        inventory = naming(vpcId, () -> inventory());
        checkSecurityGroups();
        var targets = services.stream().distinct().map(service -> naming(service.name(), () -> target(service)))
                .toList();
        var zonesLeftOut = targets.stream().flatMap(target -> zonesLeftOut(target.subnetIds()).stream()).distinct()
                .toList();
        zonesLeftOut.forEach(zone -> note(zone + " is left out: " + vpcId + " has no subnet in it that an endpoint can"
                + " use, one of this account, with IPv4"));
        var outcomes = await(targets.stream()
                .map(target -> attempt(target, () -> target.endpoint() == null ? create(target) : update(target)))
                .toList());
        var failures = outcomes.stream().filter(outcome -> outcome.failure() != null).count();
        if (failures == outcomes.size()) {
            return 1;
        }
        var endpoints = outcomes.stream().map(outcome -> entry(outcome)).toList();
        return print(new Result(printed(strongest(changes)), caller.account(), region(), endpoints, changes, undo()),
                failures == 0 && zonesLeftOut.isEmpty() ? 0 : 3);
    }

    void checkOptions() {
        checkVpcId(vpcId);
        securityGroupIds = securityGroupIds.stream().distinct().toList();
        securityGroupIds.forEach(id -> check("--security-group-ids", id, "sg-([0-9a-f]{8}|[0-9a-f]{17})",
                "ids of security groups such as sg-0123456789abcdef0"));
        if (where.subnetIds != null) {
            where.subnetIds.forEach(id -> check("--subnet-ids", id, "subnet-([0-9a-f]{8}|[0-9a-f]{17})",
                    "ids of subnets such as subnet-0123456789abcdef0"));
        }
        if (where.zones != null) {
            where.zones.forEach(zone -> check("--availability-zones", zone, Pattern.quote(region()) + "[a-z]",
                    "zones of the Region such as " + region() + "a"));
        }
        checkPolicyOptions();
        check("--timeout", waiting.timeout, "(?=.*[1-9])(\\d{1,5}h)?(\\d{1,5}m)?(\\d{1,5}s)?",
                "a time such as 90s, 10m or 1h30m");
    }

    void checkPolicyOptions() {
        if (policy != null) {
            check("--policy", policy, "default|restricted", "default or restricted");
        }
        var example = "arn:" + partition() + ":iam::111122223333:role/Developer";
        if (isRestricted() && principals.isEmpty()) {
            throw wrong("--policy restricted: must come with its principals, such as --principals " + example);
        }
        if (!isRestricted() && !(principals.isEmpty() && repositoryNames.isEmpty() && access == null)) {
            throw wrong("--principals, --repository-names, --access: must come with --policy restricted");
        }
        for (var arn : principals) { // what aws:PrincipalArn is compared with: for a role's session the ARN of the role
            checkPrincipalArn("--principals", arn);
            check("--principals", arn, "arn:" + partition() + ":.+/.+", "ARNs of roles and users such as " + example);
        }
        repositoryNames.forEach(name -> checkRepository(name));
        if (policyFile != null) {
            fileStatements = fileStatements("--policy-file", policyFile, ENDPOINT_POLICY);
        }
        for (var service : services) { // account ids are of one length, so the size is known before AWS is asked
            var own = ownPolicy(service, "000000000000");
            var size = own.toString().length();
            if (size > MAX_POLICY_SIZE) {
                throw wrong("--principals, --repository-names, --policy-file: must be fewer or shorter, the policy has "
                        + size + " characters, and EC2 takes " + MAX_POLICY_SIZE);
            }
            if (statements(own).stream().noneMatch(statement -> statement.path("Effect").asText().equals("Allow"))) {
                throw wrong("--policy-file " + policyFile + ": must allow something, or no one could use the endpoints;"
                        + " or add it to a policy, such as with --policy default");
            }
        }
    }

    /** By name, or by ARN: then of this Region, which is all that an endpoint leads to. */
    void checkRepository(String nameOrArn) {
        if (!nameOrArn.startsWith("arn:")) {
            checkRepositoryName("--repository-names", nameOrArn);
            return;
        }
        var start = "arn:" + partition() + ":codecommit:" + region() + ":";
        check("--repository-names", nameOrArn, Pattern.quote(start) + "\\d{12}:.+",
                "names, or ARNs of this Region such as " + start + "444455556666:payments");
        checkRepositoryName("--repository-names", nameOrArn.split(":", 6)[5]);
    }

    boolean isRestricted() {
        return "restricted".equals(policy);
    }

    String partition() {
        return PartitionMetadata.of(Region.of(region())).id();
    }

    Duration timeout() {
        return Duration.parse("PT" + waiting.timeout);
    }

    /**
     * What EC2 has for endpoints in the VPC.
     *
     * @param dnsCommands turn on what private DNS needs and is off
     */
    record Inventory(List<String> dnsCommands, List<ServiceDetail> offers, List<Subnet> subnets,
            List<VpcEndpoint> endpoints) {}

    Inventory inventory() {
        return new Inventory(dnsCommands(), offers(),
                ec2.describeSubnetsPaginator(r -> r.filters(filter("vpc-id", vpcId))).subnets().stream().toList(),
                endpoints());
    }

    List<String> dnsCommands() {
        try {
            var support = ec2.describeVpcAttribute(r -> r.vpcId(vpcId).attribute(VpcAttributeName.ENABLE_DNS_SUPPORT));
            var hostnames = ec2.describeVpcAttribute(
                    r -> r.vpcId(vpcId).attribute(VpcAttributeName.ENABLE_DNS_HOSTNAMES));
            var isOn = new LinkedHashMap<String, Boolean>();
            isOn.put("--enable-dns-support", support.enableDnsSupport().value());
            isOn.put("--enable-dns-hostnames", hostnames.enableDnsHostnames().value());
            return isOn.keySet().stream().filter(attribute -> !isOn.get(attribute))
                    .map(attribute -> aws("ec2 modify-vpc-attribute --vpc-id " + vpcId + " " + attribute)).toList();
        } catch (Ec2Exception e) {
            throw explained(e);
        }
    }

    /** All endpoint services of the Region: names are looked up, for not all begin alike. */
    List<ServiceDetail> offers() {
        var page = ec2.describeVpcEndpointServices();
        var offers = new ArrayList<>(page.serviceDetails());
        while (page.nextToken() != null) {
            var token = page.nextToken();
            page = ec2.describeVpcEndpointServices(r -> r.nextToken(token));
            offers.addAll(page.serviceDetails());
        }
        return offers;
    }

    void checkSecurityGroups() {
        var create = "; create one with: ./jbang create-endpoint-security-group --vpc-id " + vpcId;
        List<SecurityGroup> groups;
        try {
            groups = ec2.describeSecurityGroups(r -> r.groupIds(securityGroupIds)).securityGroups();
        } catch (Ec2Exception e) {
            throw errorCode(e).equals("InvalidGroup.NotFound") ? new Failure(reason(e) + create, e) : e;
        }
        for (var group : groups) {
            if (!group.vpcId().equals(vpcId)) {
                throw new Failure(group.groupId() + " belongs to " + group.vpcId() + create);
            }
        }
        var isOpen = groups.stream().flatMap(group -> group.ipPermissions().stream())
                .anyMatch(rule -> rule.ipProtocol().equals("-1")
                        || rule.ipProtocol().equals("tcp") && rule.fromPort() <= HTTPS && rule.toPort() >= HTTPS);
        if (!isOpen) {
            note("no one can reach the endpoints: " + String.join(", ", securityGroupIds) + " let no one in on port "
                    + HTTPS + create);
        }
    }

    /**
     * An endpoint to create or to bring in line.
     *
     * @param subnetIds where it shall be, one for each zone
     * @param endpoint as EC2 last showed it; null if there is none yet
     */
    record Target(Service service, ServiceDetail offer, List<String> subnetIds, VpcEndpoint endpoint) {
        String name() {
            return service + (endpoint == null ? "" : " " + endpoint.vpcEndpointId());
        }

        Target with(VpcEndpoint shown) {
            return new Target(service, offer, subnetIds, shown);
        }
    }

    /** What there is and what is wanted; whatever would fail fails here, before anything is changed. */
    Target target(Service service) {
        var offer = offer(service);
        var existing = existing(service, offer, inventory.endpoints()).orElse(null);
        var subnetIds = subnetIds(offer, existing);
        var needsDns = existing == null ? wantsPrivateDns()
                : Boolean.TRUE.equals(privateDns) && !existing.privateDnsEnabled();
        if (needsDns && !inventory.dnsCommands().isEmpty()) {
            throw new Failure("private DNS needs two attributes of " + vpcId + ": turn on what is off with: "
                    + String.join(" && ", inventory.dnsCommands()) + ", or use --no-private-dns");
        }
        return new Target(service, offer, subnetIds, existing);
    }

    /** Of a new endpoint. */
    boolean wantsPrivateDns() {
        return !Boolean.FALSE.equals(privateDns);
    }

    ServiceDetail offer(Service service) {
        var name = service.awsName + (fips ? "-fips" : "");
        return inventory.offers().stream().filter(offer -> offer.serviceName().endsWith("." + region() + "." + name))
                .findFirst().orElseThrow(() -> new Failure("AWS offers no " + name + " endpoint in " + region()
                        + (fips ? ": leave --fips out, or use another Region" : "")));
    }

    /** All of the VPC, of whatever service. */
    List<VpcEndpoint> endpoints() {
        return ec2.describeVpcEndpointsPaginator(r -> r.filters(filter("vpc-id", vpcId))).vpcEndpoints().stream()
                .toList();
    }

    static Optional<VpcEndpoint> find(String id, List<VpcEndpoint> endpoints) {
        return endpoints.stream().filter(endpoint -> endpoint.vpcEndpointId().equals(id)).findFirst();
    }

    /** EC2 answers in lower case, unlike its documentation, which is why the SDK does not know its states. */
    static State state(VpcEndpoint endpoint) {
        return State.knownValues().stream()
                .filter(state -> state.toString().equalsIgnoreCase(endpoint.stateAsString())).findFirst()
                .orElse(State.UNKNOWN_TO_SDK_VERSION);
    }

    static boolean isPending(VpcEndpoint endpoint) {
        return Set.of(State.PENDING, State.PENDING_ACCEPTANCE).contains(state(endpoint));
    }

    static boolean isUsable(VpcEndpoint endpoint) {
        return isPending(endpoint) || Set.of(State.AVAILABLE, State.PARTIAL).contains(state(endpoint));
    }

    /** The VPC's endpoint for the service: the one with private DNS if there are several. */
    Optional<VpcEndpoint> existing(Service service, ServiceDetail offer, List<VpcEndpoint> all) {
        var endpoints = all.stream().filter(endpoint -> endpoint.serviceName().equals(offer.serviceName()))
                .filter(endpoint -> !Set.of(State.DELETING, State.DELETED).contains(state(endpoint)))
                .sorted(Comparator.comparing((VpcEndpoint endpoint) -> !isUsable(endpoint))
                        .thenComparing(endpoint -> !endpoint.privateDnsEnabled())
                        .thenComparing(VpcEndpoint::vpcEndpointId))
                .toList();
        if (endpoints.isEmpty()) {
            return Optional.empty();
        }
        checkState(endpoints.get(0));
        var others = endpoints.stream().skip(1)
                .map(endpoint -> endpoint.vpcEndpointId() + " (" + endpoint.stateAsString() + ")").toList();
        if (!others.isEmpty()) {
            note(service + ": left alone, for the same service: " + String.join(", ", others));
        }
        return Optional.of(endpoints.get(0));
    }

    void checkState(VpcEndpoint endpoint) {
        if (!isUsable(endpoint)) {
            throw new Failure(fault(endpoint));
        }
    }

    /** Why an endpoint is not usable, and the way out. */
    String fault(VpcEndpoint endpoint) {
        var error = endpoint.lastError() == null ? endpoint.failureReason()
                : endpoint.lastError().code() + ": " + endpoint.lastError().message();
        return endpoint.vpcEndpointId() + " is " + endpoint.stateAsString() + (error == null ? "" : ": " + error)
                + "; delete it with: " + deletion(endpoint) + ", then run the same command again";
    }

    String deletion(VpcEndpoint endpoint) {
        return aws("ec2 delete-vpc-endpoints --vpc-endpoint-ids " + endpoint.vpcEndpointId());
    }

    /** One subnet for each zone. */
    List<String> subnetIds(ServiceDetail offer, VpcEndpoint existing) {
        var presentIds = existing == null ? List.<String>of() : existing.subnetIds();
        var presentByZone = inventory.subnets().stream().filter(subnet -> presentIds.contains(subnet.subnetId()))
                .collect(Collectors.toMap(Subnet::availabilityZone, Subnet::subnetId));
        return where.subnetIds != null ? givenSubnets(offer, existing, presentByZone)
                : subnetsOfZones(offer, presentByZone);
    }

    /** In the zones where the service is offered, or those of --availability-zones: those present, else the lowest. */
    List<String> subnetsOfZones(ServiceDetail offer, Map<String, String> presentByZone) {
        var chosen = new ArrayList<String>();
        for (var zone : new TreeSet<>(where.zones == null ? offer.availabilityZones() : where.zones)) {
            checkOffered(offer, zone, zone);
            var lowest = inventory.subnets().stream().filter(subnet -> subnet.availabilityZone().equals(zone))
                    .filter(subnet -> obstacle(subnet) == null).map(Subnet::subnetId).min(Comparator.naturalOrder());
            var subnet = Optional.ofNullable(presentByZone.get(zone)).or(() -> lowest);
            subnet.ifPresent(id -> chosen.add(id));
        }
        if (chosen.isEmpty()) {
            throw new Failure(vpcId + " has no subnet that an endpoint can use: one of this account, with IPv4, in "
                    + String.join(", ", where.zones == null ? offer.availabilityZones() : where.zones));
        }
        return chosen;
    }

    /** Those of --availability-zones in which an endpoint over these subnets is not. */
    List<String> zonesLeftOut(List<String> subnetIds) {
        var zones = inventory.subnets().stream().filter(subnet -> subnetIds.contains(subnet.subnetId()))
                .map(Subnet::availabilityZone).toList();
        return where.zones == null ? List.of() : without(where.zones.stream().distinct().toList(), zones);
    }

    List<String> givenSubnets(ServiceDetail offer, VpcEndpoint existing, Map<String, String> presentByZone) {
        var chosenByZone = new TreeMap<String, String>();
        for (var id : new TreeSet<>(where.subnetIds)) {
            var subnet = inventory.subnets().stream().filter(each -> each.subnetId().equals(id)).findFirst()
                    .orElseThrow(() -> new Failure(id + " is not a subnet of " + vpcId));
            var zone = subnet.availabilityZone();
            if (obstacle(subnet) != null) {
                throw new Failure(id + " " + obstacle(subnet) + ": use another subnet of " + zone);
            }
            checkOffered(offer, zone, id + " in " + zone);
            var other = chosenByZone.put(zone, id);
            if (other != null) {
                throw new Failure(other + " and " + id + " are both in " + zone + ": use one subnet per zone");
            }
            var present = presentByZone.getOrDefault(zone, id);
            if (!present.equals(id)) {
                throw new Failure(existing.vpcEndpointId() + " has " + present + " in " + zone
                        + ", and takes one subnet per zone: use that one, or make room for " + id + " first with: "
                        + aws("ec2 modify-vpc-endpoint --vpc-endpoint-id " + existing.vpcEndpointId()
                                + " --remove-subnet-ids " + present));
            }
        }
        return List.copyOf(chosenByZone.values());
    }

    static void checkOffered(ServiceDetail offer, String zone, String what) {
        if (!offer.availabilityZones().contains(zone)) {
            throw new Failure(what + ": " + offer.serviceName() + " is offered in "
                    + String.join(", ", offer.availabilityZones()) + " only");
        }
    }

    /** Why an endpoint cannot be in the subnet; null if it can. */
    String obstacle(Subnet subnet) {
        if (!subnet.ownerId().equals(caller.account())) {
            return "is shared by account " + subnet.ownerId();
        }
        if (subnet.outpostArn() != null) {
            return "is on an Outpost";
        }
        return Boolean.TRUE.equals(subnet.ipv6Native()) ? "has no IPv4" : null;
    }

    /**
     * What became of a target.
     *
     * @param isOpen EC2 has not finished with it
     * @param undo the command that takes back what was changed; null if nothing was
     * @param failure null if there was none
     */
    record Outcome(Target target, Status status, boolean isOpen, String undo, RuntimeException failure) {}

    /** One endpoint that fails does not stop the other. */
    Outcome attempt(Target target, Supplier<Outcome> steps) {
        try {
            return naming(target.name(), steps);
        } catch (RuntimeException e) {
            fail(e);
            return new Outcome(target, Status.UNCHANGED, false, null, e);
        }
    }

    Outcome create(Target target) {
        if (dryRun) {
            record(Change.creation(target.name(), "endpoint", target.offer().serviceName()), null);
            return new Outcome(target, Status.CREATED, false, null, null);
        }
        VpcEndpoint endpoint;
        try {
            endpoint = createEndpoint(target);
        } catch (SdkException e) {
            var isThrottled = e instanceof AwsServiceException answer && answer.isThrottlingException();
            if (!isDnsConflict(e) && (isThrottled || !isTemporary(e))) {
                throw e;
            }
            endpoint = shown(target, e);
            if (isDnsConflict(e)) {
                note(target.name() + ": someone else created " + endpoint.vpcEndpointId() + " in the meantime");
                return update(new Target(target.service(), target.offer(), subnetIds(target.offer(), endpoint),
                        endpoint));
            }
        }
        var created = target.with(endpoint);
        note(created.name() + " is created, " + endpoint.stateAsString());
        record(Change.creation(created.name(), "endpoint", endpoint.vpcEndpointId()), deletion(endpoint));
        return new Outcome(created, Status.CREATED, isPending(endpoint), deletion(endpoint), null);
    }

    /** The SDK repeats the call with the same token, so that a lost answer makes no second endpoint. */
    VpcEndpoint createEndpoint(Target target) {
        var token = UUID.randomUUID().toString();
        var tags = withUsual(wantedTags, Map.of("Name", "codecommit-" + target.service(), "Service", "CodeCommit",
                "Purpose", "VPC-Endpoint-Access"));
        return ec2.createVpcEndpoint(r -> r.vpcEndpointType(VpcEndpointType.INTERFACE).vpcId(vpcId)
                .serviceName(target.offer().serviceName()).clientToken(token).subnetIds(target.subnetIds())
                .securityGroupIds(securityGroupIds).privateDnsEnabled(wantsPrivateDns())
                .policyDocument(ownPolicy(target.service(), caller.account()).toString())
                .tagSpecifications(tagSpecifications(ResourceType.VPC_ENDPOINT, tags))).vpcEndpoint();
    }

    /** Whether another endpoint has the private DNS names already, which EC2 says only in the message. */
    static boolean isDnsConflict(SdkException e) {
        return e instanceof Ec2Exception refusal && errorCode(refusal).equals("InvalidParameter")
                && refusal.awsErrorDetails().errorMessage().contains("conflicting DNS domain");
    }

    /**
     * The endpoint that is in a new one's way, or that a call without an answer created: endpoints are billed, none may
     * be left unnamed.
     */
    VpcEndpoint shown(Target target, SdkException failure) {
        var shown = Optional.<VpcEndpoint>empty();
        try {
            shown = poll(showPatience, () -> existing(target.service(), target.offer(), endpoints()));
        } catch (SdkException e) {
            failure.addSuppressed(e);
        }
        return shown.orElseThrow(() -> new Failure(reason(failure) + "; an endpoint that this created, or that is in"
                + " its way, does not show yet or is being deleted: look with: "
                + aws("ec2 describe-vpc-endpoints --filters Name=vpc-id,Values=" + vpcId)
                + ", and run the same command again", failure));
    }

    Outcome update(Target target) {
        var changesBefore = changes.size();
        var undoBefore = undoCommands.size();
        var id = target.endpoint().vpcEndpointId();
        noteWhatStays(target);
        var edits = edits(target);
        var undo = new TreeMap<String, Object>(Map.of("VpcEndpointId", id));
        edits.forEach(edit -> undo.putAll(edit.undo()));
        if (!edits.isEmpty() && !dryRun) {
            modify(target);
        }
        for (var edit : edits) {
            record(Change.update(target.name(), edit.field(), edit.from(), edit.to()),
                    edit == edits.get(0) ? aws("ec2 modify-vpc-endpoint", undo) : null);
        }
        changeEc2Tags(ec2, target.name(), id, target.endpoint().tags(), wantedTags);
        var isOpen = !edits.isEmpty() || isPending(target.endpoint());
        return new Outcome(target, strongest(changes.subList(changesBefore, changes.size())), isOpen && !dryRun,
                undoSince(undoBefore), null);
    }

    void noteWhatStays(Target target) {
        var endpoint = target.endpoint();
        var others = new ArrayList<>(without(groupIds(endpoint), securityGroupIds));
        others.addAll(without(endpoint.subnetIds(), target.subnetIds()));
        foreignStatements(wantedPolicy(target.service(), endpoint), ownSids())
                .forEach(statement -> others.add("policy statement " + sid(statement)));
        if (!others.isEmpty()) {
            note(target.name() + ": kept what is not this script's: " + String.join(", ", others));
        }
    }

    /**
     * @param step what it adds to ModifyVpcEndpoint
     * @param undo and what takes it back
     */
    record Edit(String field, Object from, Object to, Consumer<ModifyVpcEndpointRequest.Builder> step,
            Map<String, ?> undo) {}

    /** Where an endpoint differs from what is wanted. */
    List<Edit> edits(Target target) {
        var subnetIds = target.endpoint().subnetIds();
        var newSubnetIds = without(target.subnetIds(), subnetIds);
        var groupIds = groupIds(target.endpoint());
        var newGroupIds = without(securityGroupIds, groupIds);
        var hasDns = target.endpoint().privateDnsEnabled();
        var policyNow = parsedPolicy(target.endpoint().policyDocument());
        var wantedPolicy = wantedPolicy(target.service(), target.endpoint());
        return Stream.of(
                new Edit("subnetIds", subnetIds, joined(subnetIds, newSubnetIds), r -> r.addSubnetIds(newSubnetIds),
                        Map.of("RemoveSubnetIds", newSubnetIds)),
                new Edit("securityGroupIds", groupIds, joined(groupIds, newGroupIds),
                        r -> r.addSecurityGroupIds(newGroupIds), Map.of("RemoveSecurityGroupIds", newGroupIds)),
                new Edit("privateDnsEnabled", hasDns, Objects.requireNonNullElse(privateDns, hasDns),
                        r -> r.privateDnsEnabled(privateDns), Map.of("PrivateDnsEnabled", hasDns)),
                new Edit("policy", policyNow, sameMeaning(policyNow, wantedPolicy) ? policyNow : wantedPolicy,
                        r -> r.policyDocument(wantedPolicy.toString()),
                        Map.of("PolicyDocument", policyNow.toString())))
                .filter(edit -> !edit.from().equals(edit.to())).toList();
    }

    void modify(Target target) {
        if (isPending(target.endpoint())) {
            note(target.name() + " is pending: waiting up to " + waiting.timeout + " to change it ...");
        }
        poll(timeout(), () -> modifyOnce(target)).orElseThrow(() -> new Failure("was not changed, as another change is"
                + " still under way after " + waiting.timeout + "; run the same command again"));
    }

    /**
     * One call for all that differs: EC2 takes no second one while one is under way, someone else's or this run's own
     * whose answer was lost. Empty if one is.
     */
    Optional<Target> modifyOnce(Target target) {
        var id = target.endpoint().vpcEndpointId();
        var latest = target.with(find(id, endpoints())
                .orElseThrow(() -> new Failure("someone else deleted it in the meantime")));
        checkState(latest.endpoint());
        if (isPending(latest.endpoint())) {
            return Optional.empty();
        }
        var edits = edits(latest);
        try {
            if (!edits.isEmpty()) {
                ec2.modifyVpcEndpoint(r -> edits.forEach(edit -> edit.step().accept(r.vpcEndpointId(id))));
            }
            return Optional.of(latest);
        } catch (Ec2Exception e) {
            if (errorCode(e).equals("OperationInProgress")) {
                return Optional.empty();
            }
            throw e;
        }
    }

    /**
     * The statements of this script and of --policy-file with those of others. Without these options the policy of an
     * endpoint stays as it is, unless it is AWS's that allows everything.
     */
    ObjectNode wantedPolicy(Service service, VpcEndpoint endpoint) {
        var wanted = ownPolicy(service, caller.account());
        if (endpoint == null) {
            return wanted;
        }
        var current = parsedPolicy(endpoint.policyDocument());
        var fullAccess = meaning(parsedPolicy(FULL_ACCESS));
        var others = statements(current).stream().filter(statement -> !meaning(statement).equals(fullAccess)).toList();
        if (policy == null && policyFile == null && !others.isEmpty()) {
            return current;
        }
        others.stream().filter(statement -> !ownSids().contains(sid(statement)))
                .forEach(wanted.withArray("Statement")::add);
        return wanted;
    }

    List<String> ownSids() {
        return Stream.concat(OWN_SIDS.stream(), fileStatements.stream().map(statement -> sid(statement))).toList();
    }

    /** The template of --policy with the statements of --policy-file, or these alone; by default that of default. */
    ObjectNode ownPolicy(Service service, String account) {
        var all = "arn:" + partition() + ":codecommit:" + region() + ":" + account + ":";
        var repositories = (repositoryNames.isEmpty() ? List.of("*") : repositoryNames).stream()
                .map(name -> name.startsWith("arn:") ? name : all + name).distinct().toList();
        var chosenAccess = Objects.requireNonNullElse(access, Access.full);
        var own = template(isRestricted() ? service.restrictedPolicies.get(chosenAccess) : service.defaultPolicy,
                Map.of("partition", partition(), "region", region(), "account", account, "principals",
                        principals.stream().distinct().toList(), "repositories", repositories));
        if (policy == null && policyFile != null) {
            own.putArray("Statement");
        }
        return withStatements(own, fileStatements);
    }

    /** Waits until EC2 has finished with all of them; with --no-wait only looks. */
    List<Outcome> await(List<Outcome> outcomes) {
        var names = outcomes.stream().filter(Outcome::isOpen).map(outcome -> outcome.target().name()).toList();
        if (names.isEmpty()) {
            return outcomes;
        }
        if (!waiting.none) {
            note("waiting up to " + waiting.timeout + " for " + String.join(" and ", names) + " ...");
        }
        var watch = new Watch(outcomes);
        try {
            poll(waiting.none ? Duration.ZERO : timeout(), () -> watch.look());
        } catch (SdkException e) {
            return eachOpen(watch.outcomes, outcome -> unfinished(outcome, reason(e), e));
        }
        return waiting.none ? watch.outcomes : eachOpen(watch.outcomes, outcome -> unfinished(outcome,
                "still " + outcome.target().endpoint().stateAsString() + " after " + waiting.timeout, null));
    }

    static List<Outcome> eachOpen(List<Outcome> outcomes, UnaryOperator<Outcome> step) {
        return outcomes.stream().map(outcome -> outcome.isOpen() ? step.apply(outcome) : outcome).toList();
    }

    Outcome unfinished(Outcome outcome, String why, SdkException cause) {
        return failed(outcome, why + "; the same command again waits on"
                + (outcome.undo() == null ? "" : "; this takes back what was changed: " + outcome.undo()), cause);
    }

    Outcome failed(Outcome outcome, String why, SdkException cause) {
        var failure = new Failure(outcome.target().name() + ": " + why, cause);
        fail(failure);
        return new Outcome(outcome.target(), outcome.status(), false, outcome.undo(), failure);
    }

    /** What EC2 shows of the endpoints that it has not finished with. */
    class Watch {
        private final Instant started = Instant.now();
        private Instant lastNote = started;
        List<Outcome> outcomes;

        Watch(List<Outcome> outcomes) {
            this.outcomes = outcomes;
        }

        /** The outcomes, if EC2 has finished with all of them. */
        Optional<List<Outcome>> look() {
            var shown = endpoints();
            outcomes = eachOpen(outcomes, outcome -> latest(outcome, shown));
            var open = outcomes.stream().filter(Outcome::isOpen).toList();
            if (Instant.now().isAfter(lastNote.plusSeconds(30))) {
                lastNote = Instant.now();
                open.forEach(outcome -> noteState(outcome));
            }
            return open.isEmpty() ? Optional.of(outcomes) : Optional.empty();
        }

        private Outcome latest(Outcome outcome, List<VpcEndpoint> shown) {
            var known = outcome.target().endpoint();
            var endpoint = find(known.vpcEndpointId(), shown).orElse(known); // a new one may not show yet
            var latest = new Outcome(outcome.target().with(endpoint), outcome.status(), isPending(endpoint),
                    outcome.undo(), null);
            if (!isUsable(endpoint)) {
                return failed(latest, fault(endpoint), null);
            }
            if (!latest.isOpen()) {
                noteState(latest);
            }
            return latest;
        }

        private void noteState(Outcome outcome) {
            note(outcome.target().name() + " is " + outcome.target().endpoint().stateAsString() + " after "
                    + Duration.between(started, Instant.now()).toSeconds() + " s");
        }
    }

    /** What is printed of an endpoint. */
    Endpoint entry(Outcome outcome) {
        var target = outcome.target();
        var planned = VpcEndpoint.builder().privateDnsEnabled(wantsPrivateDns()).subnetIds(target.subnetIds())
                .groups(securityGroupIds.stream().map(id -> SecurityGroupIdentifier.builder().groupId(id).build())
                        .toList())
                .build();
        var endpoint = target.endpoint() == null ? planned : target.endpoint();
        var dnsEntries = endpoint.dnsEntries().stream()
                .map(entry -> new DnsName(entry.dnsName(), entry.hostedZoneId())).toList();
        var failure = outcome.failure();
        var leftOut = zonesLeftOut(target.subnetIds());
        return new Endpoint(target.service().name(), failure == null ? printed(outcome.status()) : "failed",
                failure == null ? null : reason(failure), endpoint.vpcEndpointId(), target.offer().serviceName(), vpcId,
                endpoint.stateAsString(), endpoint.privateDnsEnabled(), endpoint.subnetIds(),
                leftOut.isEmpty() ? null : leftOut, groupIds(endpoint),
                endpoint.hasDnsEntries() ? dnsEntries : null,
                dryRun ? wantedPolicy(target.service(), target.endpoint()) : null);
    }

    static List<String> groupIds(VpcEndpoint endpoint) {
        return endpoint.groups().stream().map(SecurityGroupIdentifier::groupId).toList();
    }

    static List<String> without(List<String> all, List<String> some) {
        return all.stream().filter(one -> !some.contains(one)).toList();
    }

    static List<String> joined(List<String> one, List<String> other) {
        return Stream.concat(one.stream(), other.stream()).toList();
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

    //region The same in every script: names of repositories

    void checkRepositoryName(String option, String name) {
        check(option, name, "(?!.*\\.git$)[\\w.-]{1,100}",
                "up to 100 letters, digits and . _ -, not ending with .git, such as payments");
    }

    //endregion

    //region The same in every script: IAM principals

    void checkPrincipalArn(String option, String arn) {
        check(option, arn, "arn:aws[a-z-]*:iam::\\d{12}:(role|user)/[\\w+=,.@/-]+|arn:aws[a-z-]*:iam::\\d{12}:root",
                "the ARN of a role, user or account, such as arn:aws:iam::111122223333:role/Developer");
    }

    /**
     * Refuses users and roles of this account that IAM does not have under exactly this ARN: with another path it is
     * another principal. Those of other accounts cannot be looked up.
     */
    void checkPrincipals(Collection<String> arns) {
        var ofAccount = "arn:[a-z-]+:iam::" + caller.account() + ":(role|user)/.+";
        var own = arns.stream().filter(arn -> arn.matches(ofAccount)).toList();
        if (own.isEmpty()) {
            return;
        }
        try (var iam = client(IamClient.builder())) {
            for (var arn : own) {
                checkPrincipal(iam, arn);
            }
        }
    }

    private void checkPrincipal(IamClient iam, String arn) {
        var name = arn.substring(arn.lastIndexOf('/') + 1);
        try {
            var found = arn.contains(":role/") ? iam.getRole(r -> r.roleName(name)).role().arn()
                    : iam.getUser(r -> r.userName(name)).user().arn();
            if (!found.equals(arn)) {
                throw new Failure("IAM does not know " + arn + "; it has " + found);
            }
        } catch (NoSuchEntityException e) {
            throw new Failure("IAM does not know " + arn, e);
        } catch (SdkException e) { // denied, or no way to IAM, as in a VPC
            note("whether " + arn + " exists could not be checked: " + reason(e));
        }
    }

    //endregion

    //region The same in every script: policies

    /** A policy template with its placeholders filled; it is an error if one has no value. */
    static ObjectNode template(String name, Map<String, ?> values) {
        try (var file = MethodHandles.lookup().lookupClass().getResourceAsStream("/policies/" + name)) {
            return (ObjectNode) filled(JSON.readTree(file), values);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The tree with the placeholders filled in all of its strings; the policy variables of IAM (${aws:...}) stay. */
    static JsonNode filled(JsonNode node, Map<String, ?> values) {
        if (node.isObject()) {
            node.properties().forEach(member -> member.setValue(filled(member.getValue(), values)));
            return node;
        }
        if (node.isArray()) {
            return JSON.createArrayNode().addAll(node.valueStream().map(item -> filled(item, values)).toList());
        }
        return node.isTextual() ? filled(node.textValue(), values) : node;
    }

    /** A text that is just one placeholder becomes the whole value, such as a list. */
    private static JsonNode filled(String text, Map<String, ?> values) {
        var placeholder = Pattern.compile("\\$\\{(\\w+)}");
        var whole = placeholder.matcher(text);
        if (whole.matches()) {
            return JSON.valueToTree(value(whole.group(1), values));
        }
        return JSON.getNodeFactory().textNode(placeholder.matcher(text).replaceAll(
                found -> Matcher.quoteReplacement(String.valueOf(value(found.group(1), values)))));
    }

    private static Object value(String name, Map<String, ?> values) {
        if (!values.containsKey(name)) {
            throw new IllegalArgumentException("the policy template has ${" + name + "}, which has no value");
        }
        return values.get(name);
    }

    static ObjectNode parsedPolicy(String document) {
        try {
            return (ObjectNode) JSON.readTree(document);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static List<JsonNode> statements(JsonNode policy) {
        var statements = policy.path("Statement");
        return statements.isArray() ? statements.valueStream().toList() : List.of(statements);
    }

    /** The statements of a policy that have none of our Sids. */
    static List<JsonNode> foreignStatements(JsonNode policy, Collection<String> ownSids) {
        return statements(policy).stream().filter(statement -> !ownSids.contains(sid(statement))).toList();
    }

    static String sid(JsonNode statement) {
        return statement.path("Sid").asText("(no Sid)");
    }

    static String sids(List<JsonNode> statements) {
        return statements.stream().map(statement -> sid(statement)).collect(Collectors.joining(", "));
    }

    /** The texts of a list, of which AWS shows one by itself; none if there is nothing. */
    static Stream<String> texts(JsonNode oneOrMore) {
        var values = oneOrMore.isArray() ? oneOrMore.valueStream() : Stream.of(oneOrMore);
        return values.filter(value -> !value.isMissingNode()).map(value -> value.asText());
    }

    /** Whether two policies say the same, however AWS has rewritten one of them. */
    static boolean sameMeaning(JsonNode one, JsonNode other) {
        return meanings(one).equals(meanings(other));
    }

    private static Set<Object> meanings(JsonNode policy) {
        return statements(policy).stream().map(statement -> meaning(statement)).collect(Collectors.toSet());
    }

    /**
     * One form for all spellings: sets for lists and single values, text for numbers and booleans, account ids for root
     * ARNs, {"AWS": "*"} for "*".
     */
    static Object meaning(JsonNode node) {
        if (!node.isObject()) {
            return texts(node).map(text -> text.replaceAll("^arn:aws[a-z-]*:iam::(\\d{12}):root$", "$1"))
                    .collect(Collectors.toSet());
        }
        var members = new TreeMap<String, Object>();
        node.properties().forEach(member -> {
            var isEveryone = member.getKey().endsWith("Principal") && member.getValue().asText().equals("*");
            members.put(member.getKey(), isEveryone ? Map.of("AWS", Set.of("*")) : meaning(member.getValue()));
        });
        return members;
    }

    //endregion

    //region The same in every script: policy files

    /**
     * What the statements of a file may say.
     *
     * @param sid a pattern, as the next two
     */
    record PolicyRules(String sid, String action, String resource, String exampleAction, String exampleResource) {}

    /** What AWS knows as principals in a policy of a resource, by kind. */
    private static final Map<String, String> PRINCIPALS = Map.of(
            "AWS", "\\*|\\d{12}|arn:aws[a-z-]*:iam::\\d{12}:(root|(role|user)/[\\w+=,.@/-]+)"
                    + "|arn:aws[a-z-]*:sts::\\d{12}:(assumed-role/[\\w+=,.@-]+|federated-user)/[\\w+=,.@-]+",
            "Service", "[a-z0-9-]+(\\.[a-z0-9-]+)*\\.amazonaws\\.com(\\.cn)?",
            "Federated", "[\\w.-]+|arn:aws[a-z-]*:iam::\\d{12}:(saml|oidc)-provider/.+");
    private static final String OPERATOR = "(ForAllValues:|ForAnyValue:)?"
            + "(String(Not)?(Equals(IgnoreCase)?|Like)|(Numeric|Date)((Not)?Equals|(Less|Greater)Than(Equals)?)"
            + "|Arn(Not)?(Equals|Like)|Bool|BinaryEquals|(Not)?IpAddress)(IfExists)?|Null";

    /**
     * The statements of a file of the operator's own: of a policy, a list of statements, or one. What AWS would refuse,
     * or take for another thing than was meant, is refused here, before any call.
     */
    List<JsonNode> fileStatements(String option, Path file, PolicyRules rules) {
        var place = option + " " + file;
        var content = fileContent(place, file);
        must(place, content.isContainerNode(), "be a policy, or its statements, in JSON");
        if (content.has("Statement")) {
            checkMembers(place, content, Set.of("Version", "Id", "Statement"));
            must(place, content.path("Version").asText().equals("2012-10-17"), "have \"Version\": \"2012-10-17\"");
        }
        var policy = content.has("Statement") ? content : JSON.createObjectNode().set("Statement", content);
        var found = statements(policy);
        must(place, !found.isEmpty(), "have a statement");
        found.forEach(statement -> checkStatement(place, statement, rules));
        var knownSids = new HashSet<String>();
        found.forEach(statement -> must(place, knownSids.add(sid(statement)),
                "have each Sid once, not " + sid(statement) + " twice"));
        return found;
    }

    private JsonNode fileContent(String place, Path file) {
        try {
            return JSON.reader().with(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).readTree(Files.readAllBytes(file));
        } catch (JsonProcessingException e) {
            throw wrong(place + ": must be JSON: " + e.getOriginalMessage().lines().findFirst().orElse("") + " in line "
                    + (e.getLocation() == null ? 1 : e.getLocation().getLineNr()));
        } catch (IOException e) {
            throw wrong(place + ": must be a file that can be read: " + e.getClass().getSimpleName());
        }
    }

    private void must(String place, boolean isRight, String right) {
        if (!isRight) {
            throw wrong(place + ": must " + right);
        }
    }

    private void checkMembers(String place, JsonNode node, Set<String> known) {
        node.propertyStream().forEach(member -> must(place, known.contains(member.getKey()), "have no "
                + member.getKey() + ", only " + String.join(", ", new TreeSet<>(known))));
    }

    private void checkStatement(String place, JsonNode statement, PolicyRules rules) {
        must(place, statement.path("Sid").asText().matches(rules.sid()),
                "have a Sid in each statement, of letters and digits, such as \"Sid\": \"Auditors\"");
        var where = place + ", statement " + sid(statement);
        checkMembers(where, statement, Set.of("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction",
                "Resource", "NotResource", "Condition"));
        must(where, statement.path("Effect").asText().matches("Allow|Deny"), "have the Effect Allow or Deny");
        for (var element : List.of("Principal", "Action", "Resource")) {
            must(where, statement.has(element) != statement.has("Not" + element),
                    "have one of " + element + " and Not" + element);
        }
        must(where, !statement.has("NotPrincipal") || statement.path("Effect").asText().equals("Deny"),
                "not allow with NotPrincipal, which lets in all others, of all accounts");
        checkPrincipalElement(where, either(statement, "Principal"));
        checkTexts(where, either(statement, "Action"), rules.action(), "Action", rules.exampleAction());
        checkTexts(where, either(statement, "Resource"), rules.resource(), "Resource", rules.exampleResource());
        if (statement.has("Condition")) {
            checkCondition(where, statement.path("Condition"));
        }
        var text = statement.toString();
        var variables = Pattern.compile("\\$\\{[^}\"]*}?").matcher(text).results().map(MatchResult::group);
        variables.forEach(variable -> must(where, variable.matches("\\$\\{([\\w./-]+:[^{}$]+|[*?$])}"),
                "have no open " + variable + ": fill it in"));
        must(where, text.matches("[\\u0020-\\u00FF]*"), "have no other characters than those of Latin-1");
    }

    /** The element, or its negation. */
    private static JsonNode either(JsonNode statement, String element) {
        return statement.has(element) ? statement.get(element) : statement.path("Not" + element);
    }

    private void checkPrincipalElement(String where, JsonNode principal) {
        if (principal.isTextual() && principal.textValue().equals("*")) {
            return;
        }
        must(where, principal.isObject() && !principal.isEmpty(), "have a Principal such as"
                + " {\"AWS\": \"arn:aws:iam::111122223333:role/Developer\"}, not " + principal);
        checkMembers(where, principal, PRINCIPALS.keySet());
        principal.propertyStream().forEach(kind -> checkTexts(where, kind.getValue(), PRINCIPALS.get(kind.getKey()),
                "Principal", "arn:aws:iam::111122223333:role/Developer, without wildcards"));
    }

    private void checkTexts(String where, JsonNode oneOrMore, String form, String element, String example) {
        var values = oneOrMore.isArray() ? oneOrMore.valueStream().toList() : List.of(oneOrMore);
        must(where, !values.isEmpty(), "have in " + element + " something such as " + example);
        values.forEach(value -> must(where, value.isTextual() && value.textValue().matches(form),
                "have in " + element + " something such as " + example + ", not " + value));
    }

    private void checkCondition(String where, JsonNode condition) {
        var right = "have a Condition such as {\"StringEquals\": {\"aws:PrincipalOrgID\": \"o-a1b2c3d4e5\"}}, not ";
        must(where, condition.isObject() && !condition.isEmpty(), right + condition);
        condition.propertyStream().forEach(operator -> {
            must(where, operator.getKey().matches(OPERATOR), right + "the operator " + operator.getKey());
            must(where, operator.getValue().isObject() && !operator.getValue().isEmpty(), right + operator.getValue());
            operator.getValue().propertyStream().forEach(key -> {
                must(where, key.getKey().matches("[\\w-]+:.+"), right + "the key " + key.getKey());
                var values = key.getValue().isArray() ? key.getValue().valueStream() : Stream.of(key.getValue());
                must(where, !(key.getValue().isArray() && key.getValue().isEmpty()) && values.allMatch(value ->
                        value.isValueNode() && !value.isNull()), right + key.getValue());
            });
        });
    }

    /** The accounts, users and roles that statements name. */
    static Stream<String> principalsOf(List<JsonNode> statements) {
        return statements.stream().flatMap(statement -> texts(either(statement, "Principal").path("AWS")));
    }

    /** The policy with these statements in the place of those with the same Sids. */
    static ObjectNode withStatements(ObjectNode policy, List<JsonNode> wanted) {
        var wantedSids = wanted.stream().map(statement -> sid(statement)).toList();
        var result = policy.deepCopy();
        result.putArray("Statement").addAll(foreignStatements(policy, wantedSids)).addAll(wanted);
        return result;
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
