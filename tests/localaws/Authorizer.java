package localaws;

import java.time.temporal.ChronoUnit;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import localaws.PolicyEvaluator.Decision;
import localaws.PolicyEvaluator.Policies;
import localaws.PolicyEvaluator.Policy;
import localaws.PolicyEvaluator.Request;
import localaws.PolicyEvaluator.Result;

/**
 * Decides every call as AWS does: gathers the caller's identity policies (inline, managed, of groups), permissions
 * boundary and session policies, the resource's policy and that of the VPC endpoint, and the condition keys of every
 * request. What a call needs is in each service's {@code needs}.
 *
 * <p>Requests come over HTTP from this machine; policies see them as TLS requests ({@link LocalAws#secureTransport})
 * from 127.0.0.1, or, through an endpoint, from an address in its VPC.
 */
public final class Authorizer {
    /** A decision and everything that led to it, for tests. */
    public record Decided(Request request, Policies policies, String owner, Result result) { }

    private final LocalAws aws;
    private volatile Consumer<Decided> listener = decided -> { };

    Authorizer(LocalAws aws) {
        this.aws = aws;
    }

    /** Is told of every decision. */
    void onDecision(Consumer<Decided> told) {
        listener = told;
    }

    /** What is decided for a caller. */
    Result decide(Caller caller, Need need) {
        var owner = owner(need, caller.account());
        var identity = aws.account(caller.account()).iam.identity(caller);
        var context = new HashMap<>(need.keys());
        context.put("aws:PrincipalArn", List.of(identity.arn()));
        context.put("aws:PrincipalAccount", List.of(caller.account()));
        context.put("aws:PrincipalType", List.of(identity.type()));
        context.put("aws:userid", List.of(identity.userId()));
        if (identity.type().equals("User")) context.put("aws:username", List.of(identity.name()));
        if (identity.type().equals("AssumedRole")) context.put("aws:MultiFactorAuthPresent", List.of("false"));
        identity.tags().forEach((key, value) -> context.put("aws:PrincipalTag/" + key, List.of(value)));
        context.put("aws:PrincipalIsAWSService", List.of("false"));
        context.put("aws:ViaAWSService", List.of(String.valueOf(caller.via() != null)));
        if (caller.via() == null) network(context, caller.endpoint());
        everyRequest(context, caller.region(), owner);
        var endpoint = caller.endpoint() == null ? null : caller.endpoint().policy();
        return decided(new Request(caller.arn(), need.action(), need.resource(), context, need.lists()),
                new Policies(identity.policies(), need.policy(), identity.boundaries(), caller.sessionPolicies(),
                        endpoint), owner);
    }

    /**
     * What is decided for a service that acts by itself, such as codebuild.amazonaws.com: the resource's policy alone
     * decides.
     *
     * @param sourceArn     for which resource the service acts, or null
     * @param sourceAccount for which account, or null
     */
    Result decideForService(String service, String sourceArn, String sourceAccount, String region, Need need) {
        var owner = owner(need, sourceAccount);
        var context = new HashMap<>(need.keys());
        if (sourceArn != null) context.put("aws:SourceArn", List.of(sourceArn));
        if (sourceAccount != null) context.put("aws:SourceAccount", List.of(sourceAccount));
        context.put("aws:PrincipalIsAWSService", List.of("true"));
        context.put("aws:PrincipalServiceName", List.of(service));
        everyRequest(context, region, owner);
        return decided(new Request(service, need.action(), need.resource(), context, need.lists()),
                new Policies(List.of(), need.policy(), List.of(), List.of(), null), owner);
    }

    private Result decided(Request request, Policies policies, String owner) {
        var result = PolicyEvaluator.decide(request, policies);
        listener.accept(new Decided(request, policies, owner, result));
        return result;
    }

    private static String owner(Need need, String otherwise) {
        if (need.owner() != null) return need.owner();
        var fields = need.resource().split(":", 6);
        return fields.length < 6 || fields[4].isEmpty() ? otherwise : fields[4];
    }

    private static void network(Map<String, List<String>> context, Caller.Endpoint endpoint) {
        if (endpoint == null) {
            context.put("aws:SourceIp", List.of("127.0.0.1"));
            return;
        }
        context.put("aws:SourceVpce", List.of(endpoint.id()));
        context.put("aws:SourceVpc", List.of(endpoint.vpcId()));
        context.put("aws:VpceAccount", List.of(endpoint.account()));
        context.put("aws:VpcSourceIp", List.of("10.0.0.10"));
    }

    private void everyRequest(Map<String, List<String>> context, String region, String owner) {
        var now = aws.now().truncatedTo(ChronoUnit.SECONDS);
        context.put("aws:CurrentTime", List.of(now.toString()));
        context.put("aws:EpochTime", List.of(String.valueOf(now.getEpochSecond())));
        context.put("aws:RequestedRegion", List.of(region));
        context.put("aws:SecureTransport", List.of(String.valueOf(aws.secureTransport)));
        if (owner != null) context.put("aws:ResourceAccount", List.of(owner));
    }

    /** Refuses in the service's words unless all of this is allowed. */
    void check(Caller caller, List<Need> needs, LocalAws.Service service) {
        for (var need : needs) {
            var result = decide(caller, need);
            if (result.decision() != Decision.allowed) throw service.refused(need, message(caller, need, result));
        }
    }

    /** As most services word it. */
    static String message(Caller caller, Need need, Result result) {
        return "User: " + caller.arn() + " is not authorized to perform: " + need.action() + " on resource: "
                + (need.shown() == null ? need.resource() : need.shown()) + " " + result.reason();
    }

    /** A policy that allows everything: what an account's root user has. */
    static final Policy FULL_ACCESS = Policy.of("root",
            "{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}}");
}
