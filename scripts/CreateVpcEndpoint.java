///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Creates or updates the private endpoints of a VPC for CodeCommit's API and for Git, and waits until they are available.
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
//FILES policies/endpoint-api-default.json=../policies/endpoint-api-default.json
//FILES policies/endpoint-api-restricted.json=../policies/endpoint-api-restricted.json
//FILES policies/endpoint-git-default.json=../policies/endpoint-git-default.json
//FILES policies/endpoint-git-restricted.json=../policies/endpoint-git-restricted.json
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.lang.invoke.MethodHandles;
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
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.PartitionMetadata;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.ec2.Ec2Client;
import software.amazon.awssdk.services.ec2.model.*;
import software.amazon.awssdk.services.ec2.model.Tag;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * Makes the interface endpoints by which a VPC reaches CodeCommit without the internet, or brings existing ones in line: one for the API,
 * one for Git, each over one subnet per zone; VPC and service say which endpoint is meant.
 *
 * <p>Changes in AWS: the endpoints (billed by hour, zone and traffic), their policies and tags. Subnets and security groups are added; others
 * stay and are named. Of the policies it owns the statements ApiOnRepositories, ApiWithoutRepository and GitOnRepositories, by Sid, and
 * replaces AWS's own statement that allows everything; other statements are kept and named. Policy and private DNS of an existing endpoint stay
 * as they are where the options do not say what they shall be.
 *
 * <p>A second run with the same arguments changes nothing. An endpoint that did not become available is named, with what to do.
 *
 * <p>IAM actions:
 * <ul>
 * <li>ec2:DescribeVpcAttribute, ec2:DescribeSubnets, ec2:DescribeSecurityGroups, ec2:DescribeVpcEndpointServices, ec2:DescribeVpcEndpoints
 * <li>ec2:CreateVpcEndpoint, ec2:CreateTags
 * <li>ec2:ModifyVpcEndpoint to change an existing endpoint
 * </ul>
 */
@Command(name = "create-vpc-endpoint", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Creates or updates the private endpoints of a VPC for CodeCommit's API and for Git, and waits until they are available.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "3:partly done: one endpoint failed, the other is complete",
            "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  create-vpc-endpoint --vpc-id vpc-0123456789abcdef0 \\", "      --security-group-ids sg-0123456789abcdef0",
                "  create-vpc-endpoint --vpc-id vpc-0123456789abcdef0 \\", "      --security-group-ids sg-0123456789abcdef0 --policy restricted \\",
                "      --principals arn:aws:iam::111122223333:role/Developer"})
class CreateVpcEndpoint implements Callable<Integer> {
    @Option(names = "--vpc-id", required = true, paramLabel = "ID", description = "The VPC of the endpoints.")
    String vpcId;

    @Option(names = "--security-group-ids", required = true, paramLabel = "ID", arity = "1..*",
            description = "Security groups for the endpoints, such as create-endpoint-security-group makes.")
    List<String> securityGroupIds;

    @Option(names = "--services", paramLabel = "SERVICE", arity = "1..*", description = "Which endpoints: ${COMPLETION-CANDIDATES}. Default: both.")
    List<Service> services = List.of(Service.values());

    @Option(names = "--fips", description = "The FIPS endpoints, in Regions that have them.")
    boolean fips;

    @ArgGroup
    Where where = new Where();

    static class Where {
        @Option(names = "--subnet-ids", paramLabel = "ID", arity = "1..*", description = "Subnets for the endpoints, one per zone.")
        List<String> subnetIds;

        @Option(names = "--availability-zones", paramLabel = "ZONE", arity = "1..*",
                description = "Zones for the endpoints. Default: all where the service is offered and the VPC has a subnet.")
        List<String> zones;
    }

    @Option(names = "--policy", paramLabel = "POLICY",
            description = "Either default: all principals of the account; or restricted: --principals and --repository-names. "
                    + "If not given, an endpoint keeps the policy that it has, and one without gets default.")
    String policy;

    @Option(names = "--principals", paramLabel = "ARN", arity = "1..*", description = "Users and roles that the restricted policy lets through.")
    List<String> principals = List.of();

    @Option(names = "--repository-names", paramLabel = "NAME", arity = "1..*",
            description = "Repositories that the restricted policy lets through. Default: all of the account's.")
    List<String> repositoryNames = List.of();

    @Option(names = "--private-dns", negatable = true,
            description = "Whether CodeCommit's own host names lead to the endpoints within the VPC. "
                    + "If not given, they do for a new endpoint, and an existing one stays as it is.")
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
        api("codecommit", "endpoint-api-default.json", "endpoint-api-restricted.json"),
        git("git-codecommit", "endpoint-git-default.json", "endpoint-git-restricted.json");

        final String awsName;
        final String defaultPolicy;
        final String restrictedPolicy;

        Service(String awsName, String defaultPolicy, String restrictedPolicy) {
            this.awsName = awsName;
            this.defaultPolicy = defaultPolicy;
            this.restrictedPolicy = restrictedPolicy;
        }
    }

    /** One of the endpoints to make or change: what is offered, what there is, what is wanted, what became of it. */
    static class Target {
        final Service service;
        ServiceDetail offer;
        /** As EC2 last showed it; null while there is none. */
        VpcEndpoint endpoint;
        List<String> subnetIds;
        JsonNode policy;
        /** Modified, so that it may become pending though it is shown as available yet. */
        boolean modified;
        String status = "unchanged";
        RuntimeException failure;

        Target(Service service) {
            this.service = service;
        }

        String id() {
            return endpoint == null ? null : endpoint.vpcEndpointId();
        }

        String name() {
            return endpoint == null ? service.name() : service + " " + id();
        }
    }

    static final int HTTPS = 443;
    /** Characters, white space included. */
    static final int MAX_POLICY_SIZE = 20480;
    static final Set<String> OWN_SIDS = Set.of("ApiOnRepositories", "ApiWithoutRepository", "GitOnRepositories");
    /** The statement of endpoints that are made without a policy. */
    static final String FULL_ACCESS = "{\"Effect\": \"Allow\", \"Principal\": \"*\", \"Action\": \"*\", \"Resource\": \"*\"}";

    /** How often the endpoints' states are read: less often the longer it takes, mostly a minute or two. */
    Duration firstPoll = Duration.ofSeconds(1);
    Duration slowestPoll = Duration.ofSeconds(10);
    /** How long EC2 may take to show a new endpoint; mostly it takes less than a second. */
    Duration visibleDeadline = Duration.ofSeconds(15);

    Ec2Client ec2;
    Duration timeout;
    /** All of the VPC. */
    List<Subnet> subnets;
    Map<String, String> wantedTags;

    @Override
    public Integer call() {
        checkOptions();
        ec2 = client(Ec2Client.builder());
        subject = vpcId;
        var targets = plan();
        for (var target : targets) {
            subject = target.name();
            try {
                if (target.endpoint == null) create(target);
                else update(target);
            } catch (RuntimeException e) {
                target.failure = e;
            }
        }
        if (!dryRun) await(targets.stream().filter(target -> target.failure == null).toList(), waiting.none);
        for (var target : targets) {
            subject = target.name();
            if (target.failure != null) fail(target.failure);
        }
        if (targets.stream().allMatch(target -> target.failure != null)) return 1;
        var status = targets.stream().map(target -> target.status).max(Comparator.comparing(STATUSES::indexOf)).orElseThrow();
        var result = result(status(status));
        targets.forEach(target -> result.withArray("endpoints").add(describe(target)));
        return finish(withChanges(result), targets.stream().anyMatch(target -> target.failure != null) ? 3 : 0);
    }

    void checkOptions() {
        check("--vpc-id", vpcId, "vpc-([0-9a-f]{8}|[0-9a-f]{17})", "the id of a VPC such as vpc-0123456789abcdef0");
        securityGroupIds = securityGroupIds.stream().distinct().toList();
        for (var id : securityGroupIds)
            check("--security-group-ids", id, "sg-([0-9a-f]{8}|[0-9a-f]{17})", "ids of security groups such as sg-0123456789abcdef0");
        if (where.subnetIds != null)
            for (var id : where.subnetIds)
                check("--subnet-ids", id, "subnet-([0-9a-f]{8}|[0-9a-f]{17})", "ids of subnets such as subnet-0123456789abcdef0");
        if (where.zones != null)
            for (var zone : where.zones)
                check("--availability-zones", zone, Pattern.quote(region()) + "[a-z]", "zones of the Region such as " + region() + "a");
        if (policy != null) check("--policy", policy, "default|restricted", "default or restricted");
        if (isRestricted() && principals.isEmpty()) throw wrong("--policy restricted: give those whom it lets through, such as --principals " + principal());
        if (!isRestricted() && !(principals.isEmpty() && repositoryNames.isEmpty()))
            throw wrong("--principals, --repository-names: give --policy restricted with them");
        for (var arn : principals) // what aws:PrincipalArn is compared with: for a role's session the ARN of the role
            check("--principals", arn, "arn:" + partition() + ":iam::\\d{12}:(role|user)/[\\w+=,.@/-]+", "ARNs of roles and users such as " + principal());
        for (var name : repositoryNames) check("--repository-names", name, "[\\w.-]{1,100}(?<!\\.git)", "names of repositories such as payments");
        for (var service : services) { // account ids are of one length, so the size is known before AWS is asked
            var size = render(service, "000000000000").toString().length();
            if (size > MAX_POLICY_SIZE)
                throw wrong("--principals, --repository-names: give fewer, the policy has " + size + " characters, and EC2 takes " + MAX_POLICY_SIZE);
        }
        check("--timeout", waiting.timeout, "(?=.*[1-9])(\\d{1,5}h)?(\\d{1,5}m)?(\\d{1,5}s)?", "a time such as 90s, 10m or 1h30m");
        timeout = Duration.parse("PT" + waiting.timeout.toUpperCase(Locale.ROOT));
        wantedTags = tags(tags);
    }

    boolean isRestricted() {
        return "restricted".equals(policy);
    }

    String partition() {
        return PartitionMetadata.of(Region.of(region())).id();
    }

    /** As an example. */
    String principal() {
        return "arn:" + partition() + ":iam::111122223333:role/Developer";
    }

    /** What there is and what is wanted; whatever would fail fails here, before anything is changed. */
    List<Target> plan() {
        var dnsOff = dnsAttributesOff();
        checkSecurityGroups();
        var offers = offers();
        subnets = ec2.describeSubnetsPaginator(r -> r.filters(filter("vpc-id", vpcId))).subnets().stream().toList();
        var endpoints = endpoints();
        var targets = services.stream().distinct().map(Target::new).toList();
        for (var target : targets) {
            subject = target.service.name();
            target.offer = offer(target.service, offers);
            target.endpoint = existing(target, endpoints);
            subject = target.name();
            target.subnetIds = choose(target);
            var wantsDns = target.endpoint == null ? wantsPrivateDns() : Boolean.TRUE.equals(privateDns) && !target.endpoint.privateDnsEnabled();
            if (wantsDns && !dnsOff.isEmpty())
                throw new Failure("private DNS needs two attributes of " + vpcId + ": turn on what is off with: "
                        + dnsOff.stream().map(name -> aws("ec2 modify-vpc-attribute --vpc-id " + vpcId + " --" + name)).collect(Collectors.joining(" && "))
                        + ", or give --no-private-dns");
        }
        return targets;
    }

    /** Private DNS works only in a VPC that has both. */
    List<String> dnsAttributesOff() {
        try {
            var support = ec2.describeVpcAttribute(r -> r.vpcId(vpcId).attribute(VpcAttributeName.ENABLE_DNS_SUPPORT)).enableDnsSupport();
            var hostnames = ec2.describeVpcAttribute(r -> r.vpcId(vpcId).attribute(VpcAttributeName.ENABLE_DNS_HOSTNAMES)).enableDnsHostnames();
            var off = new ArrayList<String>();
            if (!support.value()) off.add("enable-dns-support");
            if (!hostnames.value()) off.add("enable-dns-hostnames");
            return off;
        } catch (Ec2Exception e) {
            if (code(e).equals("InvalidVpcID.NotFound")) throw new Failure(reason(e) + "; is it in another Region than " + region() + "? Give --region", e);
            throw e;
        }
    }

    void checkSecurityGroups() {
        var create = "; make one with: create-endpoint-security-group --vpc-id " + vpcId;
        try {
            var groups = ec2.describeSecurityGroups(r -> r.groupIds(securityGroupIds)).securityGroups();
            for (var group : groups)
                if (!group.vpcId().equals(vpcId)) throw new Failure(group.groupId() + " belongs to " + group.vpcId() + create);
            var isOpen = groups.stream().flatMap(group -> group.ipPermissions().stream()).anyMatch(rule -> rule.ipProtocol().equals("-1")
                    || rule.ipProtocol().equals("tcp") && rule.fromPort() <= HTTPS && rule.toPort() >= HTTPS);
            if (!isOpen) note("nobody can reach the endpoints: " + String.join(", ", securityGroupIds) + " let nobody in on port " + HTTPS + create);
        } catch (Ec2Exception e) {
            if (code(e).equals("InvalidGroup.NotFound")) throw new Failure(reason(e) + create, e);
            throw e;
        }
    }

    static Filter filter(String name, String value) {
        return Filter.builder().name(name).values(value).build();
    }

    /** All endpoint services of the Region: names are looked up, for not all begin alike. */
    List<ServiceDetail> offers() {
        var offers = new ArrayList<ServiceDetail>();
        for (String token = null; ; ) {
            var from = token;
            var page = ec2.describeVpcEndpointServices(r -> r.nextToken(from));
            offers.addAll(page.serviceDetails());
            token = page.nextToken();
            if (token == null) return offers;
        }
    }

    ServiceDetail offer(Service service, List<ServiceDetail> offers) {
        var name = service.awsName + (fips ? "-fips" : "");
        return offers.stream().filter(offer -> offer.serviceName().endsWith("." + region() + "." + name)).findFirst().orElseThrow(() ->
                new Failure("AWS offers no " + name + " endpoint in " + region() + (fips ? ": leave --fips out, or choose another Region" : "")));
    }

    List<VpcEndpoint> endpoints() {
        return ec2.describeVpcEndpointsPaginator(r -> r.filters(filter("vpc-id", vpcId))).vpcEndpoints().stream().toList();
    }

    /** EC2 answers in lower case, unlike its documentation, which is why the SDK's enum does not know its states. */
    static String state(VpcEndpoint endpoint) {
        return String.valueOf(endpoint.stateAsString()).toLowerCase(Locale.ROOT);
    }

    static boolean isPending(VpcEndpoint endpoint) {
        return state(endpoint).startsWith("pending");
    }

    static boolean isUsable(VpcEndpoint endpoint) {
        return isPending(endpoint) || state(endpoint).matches("available|partial");
    }

    /** The VPC's endpoint for the service: the one with private DNS if there are several. Null if there is none. */
    VpcEndpoint existing(Target target, List<VpcEndpoint> endpoints) {
        var same = endpoints.stream().filter(e -> e.serviceName().equals(target.offer.serviceName()) && !state(e).matches("deleting|deleted"))
                .sorted(Comparator.comparing((VpcEndpoint e) -> !isUsable(e)).thenComparing(e -> !e.privateDnsEnabled())
                        .thenComparing(VpcEndpoint::vpcEndpointId)).toList();
        if (same.isEmpty()) return null;
        if (!isUsable(same.get(0))) throw new Failure(broken(same.get(0)));
        var others = same.stream().skip(1).map(e -> e.vpcEndpointId() + " (" + state(e) + ")").collect(Collectors.joining(", "));
        if (!others.isEmpty()) note(subject + ": left alone, for the same service: " + others);
        return same.get(0);
    }

    String broken(VpcEndpoint endpoint) {
        var error = endpoint.lastError();
        var why = error != null ? ": " + error.code() + ": " + error.message() : endpoint.failureReason() != null ? ": " + endpoint.failureReason() : "";
        return endpoint.vpcEndpointId() + " is " + state(endpoint) + why + "; delete it with: " + deletion(endpoint) + ", then run the same command again";
    }

    String deletion(VpcEndpoint endpoint) {
        return aws("ec2 delete-vpc-endpoints --vpc-endpoint-ids " + endpoint.vpcEndpointId());
    }

    /** One subnet for each zone where the service is offered: the endpoint's own, else the lowest id; or those of --subnet-ids. */
    List<String> choose(Target target) {
        var present = new TreeMap<String, String>();
        if (target.endpoint != null)
            for (var subnet : subnets)
                if (target.endpoint.subnetIds().contains(subnet.subnetId())) present.put(subnet.availabilityZone(), subnet.subnetId());
        if (where.subnetIds != null) return named(target, present);
        var chosen = new ArrayList<String>();
        for (var zone : new TreeSet<>(where.zones == null ? target.offer.availabilityZones() : where.zones)) {
            checkOffered(target, zone, zone);
            var lowest = subnets.stream().filter(s -> s.availabilityZone().equals(zone) && unfit(s) == null).map(Subnet::subnetId).sorted().findFirst();
            if (present.containsKey(zone)) chosen.add(present.get(zone));
            else if (lowest.isPresent()) chosen.add(lowest.get());
            else if (where.zones != null) throw new Failure(vpcId + " has no subnet in " + zone + " that an endpoint can use: one of this account, with IPv4");
        }
        if (chosen.isEmpty())
            throw new Failure(vpcId + " has no subnet that an endpoint can use: one of this account, with IPv4, in "
                    + String.join(", ", target.offer.availabilityZones()));
        return chosen;
    }

    List<String> named(Target target, Map<String, String> present) {
        var chosen = new TreeMap<String, String>();
        for (var id : new TreeSet<>(where.subnetIds)) {
            var subnet = subnets.stream().filter(s -> s.subnetId().equals(id)).findFirst()
                    .orElseThrow(() -> new Failure(id + " is not a subnet of " + vpcId));
            var zone = subnet.availabilityZone();
            if (unfit(subnet) != null) throw new Failure(id + " " + unfit(subnet) + ": give another subnet of " + zone);
            checkOffered(target, zone, id + " in " + zone);
            var other = chosen.put(zone, id);
            if (other != null) throw new Failure(other + " and " + id + " are both in " + zone + ": give one subnet per zone");
            var own = present.getOrDefault(zone, id);
            if (!own.equals(id))
                throw new Failure("has " + own + " in " + zone + ", and takes one subnet per zone: give that one, or make room for " + id + " first with: "
                        + aws("ec2 modify-vpc-endpoint --vpc-endpoint-id " + target.id() + " --remove-subnet-ids " + own));
        }
        return List.copyOf(chosen.values());
    }

    static void checkOffered(Target target, String zone, String what) {
        var offered = target.offer.availabilityZones();
        if (!offered.contains(zone)) throw new Failure(what + ": " + target.offer.serviceName() + " is offered in " + String.join(", ", offered) + " only");
    }

    /** Why an endpoint cannot be in the subnet; null if it can. */
    String unfit(Subnet subnet) {
        if (!subnet.ownerId().equals(identity().account())) return "is shared by account " + subnet.ownerId();
        if (subnet.outpostArn() != null) return "is on an Outpost";
        return Boolean.TRUE.equals(subnet.ipv6Native()) ? "has no IPv4" : null;
    }

    void create(Target target) {
        target.policy = render(target.service, identity().account());
        if (!dryRun) {
            var token = UUID.randomUUID().toString(); // the SDK tries again with the same one: a lost answer makes no second endpoint
            try {
                target.endpoint = ec2.createVpcEndpoint(r -> {
                    r.vpcEndpointType(VpcEndpointType.INTERFACE).vpcId(vpcId).serviceName(target.offer.serviceName()).clientToken(token)
                            .subnetIds(target.subnetIds).securityGroupIds(securityGroupIds).privateDnsEnabled(wantsPrivateDns())
                            .policyDocument(target.policy.toString());
                    if (!wantedTags.isEmpty())
                        r.tagSpecifications(TagSpecification.builder().resourceType(ResourceType.VPC_ENDPOINT).tags(awsTags(wantedTags)).build());
                }).vpcEndpoint();
            } catch (SdkException e) {
                var refused = e instanceof AwsServiceException service && (service.statusCode() < 500 || service.isThrottlingException());
                var conflict = refused && reason(e).contains("conflicting DNS domain");
                if (refused && !conflict) throw e;
                target.endpoint = awaitShown(target, e);
                if (conflict) {
                    note(subject + ": somebody else made " + target.id() + " meanwhile");
                    target.subnetIds = choose(target);
                    update(target);
                    return;
                }
            }
            subject = target.name();
            note(subject + " is made, " + state(target.endpoint));
        }
        target.status = "created";
        change("endpoint", null, dryRun ? target.offer.serviceName() : target.id(), dryRun ? null : deletion(target.endpoint), () -> { });
    }

    /** The endpoint that is in a new one's way, or that a call without an answer has made: endpoints are billed, none may be left unnamed. */
    VpcEndpoint awaitShown(Target target, SdkException failure) {
        var deadline = Instant.now().plus(visibleDeadline);
        try {
            for (var millis = firstPoll.toMillis(); Instant.now().isBefore(deadline); millis *= 2) {
                var shown = existing(target, endpoints());
                if (shown != null) return shown;
                pause(millis);
            }
        } catch (SdkException e) {
            failure.addSuppressed(e);
        }
        throw new Failure(reason(failure) + "; an endpoint that this made, or that is in its way, does not show yet or is going: look with: "
                + aws("ec2 describe-vpc-endpoints --filters Name=vpc-id,Values=" + vpcId) + ", and run the same command again", failure);
    }

    /** @param undo options of modify-vpc-endpoint that take it back */
    record Edit(String field, Object from, Object to, Consumer<ModifyVpcEndpointRequest.Builder> step, String undo) { }

    /** Changes what differs, all in one call: EC2 takes no second one while the first is under way. */
    void update(Target target) {
        var before = changes.size();
        nameWhatStays(target);
        var edits = edits(target);
        if (!dryRun && !edits.isEmpty()) modify(target);
        var undo = aws("ec2 modify-vpc-endpoint --vpc-endpoint-id " + target.id() + " " + edits.stream().map(Edit::undo).collect(Collectors.joining(" ")));
        for (var edit : edits) change(edit.field(), edit.from(), edit.to(), edit == edits.get(0) ? undo : null, () -> { });
        var present = new TreeMap<String, String>();
        target.endpoint.tags().forEach(tag -> present.put(tag.key(), tag.value()));
        var arguments = "--resources " + target.id() + " --tags ";
        changeTags(present, wantedTags, false, new Tagging(put -> ec2.createTags(r -> r.resources(target.id()).tags(awsTags(put))), remove -> { },
                put -> aws("ec2 create-tags " + arguments + json(put.entrySet().stream().map(tag -> Map.of("Key", tag.getKey(), "Value", tag.getValue())))),
                remove -> aws("ec2 delete-tags " + arguments + json(remove.stream().map(key -> Map.of("Key", key))))));
        if (changes.size() > before) target.status = "updated";
    }

    /** Repeated while another change is under way: somebody else's, or our own whose answer was lost. */
    void modify(Target target) {
        for (var deadline = Instant.now().plus(timeout); ; pause(firstPoll.toMillis())) {
            if (isPending(target.endpoint)) await(List.of(target), false);
            if (target.failure != null) throw target.failure;
            var edits = edits(target);
            if (edits.isEmpty()) return;
            try {
                ec2.modifyVpcEndpoint(r -> edits.forEach(edit -> edit.step().accept(r.vpcEndpointId(target.id()))));
                target.modified = true;
                return;
            } catch (Ec2Exception e) {
                if (!code(e).equals("OperationInProgress") || Instant.now().isAfter(deadline)) throw e;
                endpoints().stream().filter(endpoint -> endpoint.vpcEndpointId().equals(target.id())).forEach(endpoint -> target.endpoint = endpoint);
            }
        }
    }

    List<Edit> edits(Target target) {
        var edits = new ArrayList<Edit>();
        var subnets = target.endpoint.subnetIds();
        var newSubnets = without(target.subnetIds, subnets);
        if (!newSubnets.isEmpty())
            edits.add(new Edit("subnetIds", subnets, joined(subnets, newSubnets), r -> r.addSubnetIds(newSubnets),
                    "--remove-subnet-ids " + String.join(" ", newSubnets)));
        var groups = groupIds(target.endpoint);
        var newGroups = without(securityGroupIds, groups);
        if (!newGroups.isEmpty())
            edits.add(new Edit("securityGroupIds", groups, joined(groups, newGroups), r -> r.addSecurityGroupIds(newGroups),
                    "--remove-security-group-ids " + String.join(" ", newGroups)));
        if (privateDns != null && !privateDns.equals(target.endpoint.privateDnsEnabled()))
            edits.add(new Edit("privateDnsEnabled", !privateDns, privateDns, r -> r.privateDnsEnabled(privateDns),
                    privateDns ? "--no-private-dns-enabled" : "--private-dns-enabled"));
        var policy = parse(target.endpoint.policyDocument());
        target.policy = wantedPolicy(target.service, policy);
        if (!sameMeaning(policy, target.policy))
            edits.add(new Edit("policy", policy, target.policy, r -> r.policyDocument(target.policy.toString()),
                    "--policy-document " + quote(policy.toString())));
        return edits;
    }

    /** The statements of this script with those of others; without --policy the policy as it is, unless it is AWS's that allows everything. */
    JsonNode wantedPolicy(Service service, JsonNode current) {
        var others = statements(current).stream().filter(s -> !meaning(s).equals(meaning(parse(FULL_ACCESS)))).toList();
        if (policy == null && !others.isEmpty()) return current;
        var wanted = render(service, identity().account());
        others.stream().filter(s -> !OWN_SIDS.contains(s.path("Sid").asText())).forEach(wanted.withArray("Statement")::add);
        return wanted;
    }

    void nameWhatStays(Target target) {
        var others = new ArrayList<>(without(groupIds(target.endpoint), securityGroupIds));
        others.addAll(without(target.endpoint.subnetIds(), target.subnetIds));
        for (var statement : statements(wantedPolicy(target.service, parse(target.endpoint.policyDocument()))))
            if (!OWN_SIDS.contains(statement.path("Sid").asText())) others.add("policy statement " + statement.path("Sid").asText("(no Sid)"));
        if (!others.isEmpty()) note(subject + ": kept what is not this script's: " + String.join(", ", others));
    }

    /** The rendered template, of --policy or else default. */
    ObjectNode render(Service service, String account) {
        var all = "arn:" + partition() + ":codecommit:" + region() + ":" + account + ":";
        var repositories = (repositoryNames.isEmpty() ? List.of("*") : repositoryNames).stream().distinct().map(name -> all + name).toList();
        return template(isRestricted() ? service.restrictedPolicy : service.defaultPolicy, Map.of("partition", partition(), "region", region(),
                "account", account, "principals", principals.stream().distinct().toList(), "repositories", repositories));
    }

    /** Waits until none of the endpoints is pending, or only looks once. One that does not become available in time, or at all, is a failure. */
    void await(List<Target> targets, boolean once) {
        var open = new ArrayList<>(targets.stream().filter(target -> target.modified || isPending(target.endpoint)).toList());
        if (open.isEmpty()) return;
        if (!once) note("waiting up to " + waiting.timeout + " for " + open.stream().map(Target::name).collect(Collectors.joining(" and ")) + " ...");
        var started = Instant.now();
        var told = started;
        for (var millis = firstPoll.toMillis(); ; millis = Math.min(2 * millis, slowestPoll.toMillis())) {
            Map<String, VpcEndpoint> shown;
            try {
                shown = endpoints().stream().collect(Collectors.toMap(VpcEndpoint::vpcEndpointId, endpoint -> endpoint));
            } catch (SdkException e) {
                for (var target : open) target.failure = new Failure("waiting for it failed: " + reason(e) + "; the same command again waits on", e);
                return;
            }
            var seconds = Duration.between(started, Instant.now()).toSeconds();
            for (var target : List.copyOf(open)) {
                if (!shown.containsKey(target.id())) continue; // a new one may not show yet
                target.endpoint = shown.get(target.id());
                if (isPending(target.endpoint)) continue;
                open.remove(target);
                if (isUsable(target.endpoint)) note(target.name() + " is " + state(target.endpoint) + " after " + seconds + " s");
                else target.failure = new Failure(broken(target.endpoint));
            }
            if (open.isEmpty() || once) return;
            if (seconds >= timeout.toSeconds()) {
                for (var target : open)
                    target.failure = new Failure("still " + state(target.endpoint) + " after " + waiting.timeout
                            + "; the same command again waits on, and this deletes it: " + deletion(target.endpoint));
                return;
            }
            if (Duration.between(told, Instant.now()).toSeconds() >= 30) {
                told = Instant.now();
                for (var target : open) note(target.name() + " is " + state(target.endpoint) + " after " + seconds + " s");
            }
            pause(millis);
        }
    }

    ObjectNode describe(Target target) {
        var endpoint = target.endpoint;
        var node = JSON.createObjectNode().put("service", target.service.name()).put("status", target.failure == null ? status(target.status) : "failed");
        if (target.failure != null) node.put("error", reason(target.failure));
        if (endpoint != null) node.put("vpcEndpointId", target.id());
        node.put("serviceName", target.offer.serviceName()).put("vpcId", vpcId);
        if (endpoint != null) node.put("state", state(endpoint));
        node.put("privateDnsEnabled", endpoint == null ? wantsPrivateDns() : endpoint.privateDnsEnabled());
        node.set("subnetIds", JSON.valueToTree(endpoint == null ? target.subnetIds : endpoint.subnetIds()));
        node.set("securityGroupIds", JSON.valueToTree(endpoint == null ? securityGroupIds : groupIds(endpoint)));
        if (endpoint != null)
            for (var dns : endpoint.dnsEntries())
                node.withArray("dnsEntries").addObject().put("dnsName", dns.dnsName()).put("hostedZoneId", dns.hostedZoneId());
        if (dryRun) node.set("policy", target.policy);
        return node;
    }

    /** What a new endpoint gets. */
    boolean wantsPrivateDns() {
        return !Boolean.FALSE.equals(privateDns);
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

    static List<Tag> awsTags(Map<String, String> tags) {
        return tags.entrySet().stream().map(tag -> Tag.builder().key(tag.getKey()).value(tag.getValue()).build()).toList();
    }

    /** As one word for the AWS CLI. */
    static String json(Stream<Map<String, String>> items) {
        return quote(JSON.valueToTree(items.toList()).toString());
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

    // ---- The same in every script that renders a policy ----

    /** The policy template with its placeholders filled; a name that the template wants and nobody gives is an error. */
    static ObjectNode template(String name, Map<String, ?> values) {
        try (var file = MethodHandles.lookup().lookupClass().getResourceAsStream("/policies/" + name)) {
            return (ObjectNode) fill(JSON.readTree(file), values);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Replaces ${name} in every string of the tree, a string that is just that by the whole value; ${aws:...} policy variables stay. */
    static JsonNode fill(JsonNode node, Map<String, ?> values) {
        if (node.isObject()) node.properties().forEach(e -> e.setValue(fill(e.getValue(), values)));
        if (node instanceof ArrayNode array) for (var i = 0; i < array.size(); i++) array.set(i, fill(array.get(i), values));
        if (!node.isTextual()) return node;
        var placeholders = Pattern.compile("\\$\\{(\\w+)}").matcher(node.textValue());
        var text = placeholders.replaceAll(found -> {
            if (!values.containsKey(found.group(1))) throw new IllegalArgumentException("the policy template wants " + found.group());
            return Matcher.quoteReplacement(String.valueOf(values.get(found.group(1))));
        });
        var whole = node.textValue().matches("\\$\\{\\w+}");
        return whole ? JSON.valueToTree(values.get(node.textValue().substring(2, node.textValue().length() - 1))) : JSON.getNodeFactory().textNode(text);
    }

    static JsonNode parse(String json) {
        try {
            return JSON.readTree(json);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static List<JsonNode> statements(JsonNode policy) {
        var statements = policy.path("Statement");
        return statements.isArray() ? statements.valueStream().toList() : List.of(statements);
    }

    /** Whether two policies say the same, however AWS has rewritten one of them. */
    static boolean sameMeaning(JsonNode one, JsonNode other) {
        Function<JsonNode, Set<Object>> meanings = policy -> statements(policy).stream().map(s -> meaning(s)).collect(Collectors.toSet());
        return meanings.apply(one).equals(meanings.apply(other));
    }

    /** One form for all spellings: sets for lists and single values, text for numbers and booleans, account ids for root ARNs, {"AWS": "*"} for "*". */
    static Object meaning(JsonNode node) {
        if (node.isObject()) {
            var members = new TreeMap<String, Object>();
            node.properties().forEach(e -> {
                var everybody = e.getKey().endsWith("Principal") && e.getValue().asText().equals("*");
                members.put(e.getKey(), everybody ? Map.of("AWS", Set.of("*")) : meaning(e.getValue()));
            });
            return members;
        }
        var values = node.isArray() ? node.valueStream() : Stream.of(node);
        return values.map(v -> v.asText().replaceAll("^arn:aws[a-z-]*:iam::(\\d{12}):root$", "$1")).collect(Collectors.toSet());
    }

    // ----

    public static void main(String[] args) {
        System.exit(new CreateVpcEndpoint().commandLine().execute(args));
    }
}
