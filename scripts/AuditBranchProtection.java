///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Finds every role and user that can still change protected branches, by IAM's policy simulator.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:iam
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1 -Djdk.console=java.base

import com.fasterxml.jackson.annotation.*;
import com.fasterxml.jackson.core.JsonPointer;
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
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.AttachedPolicy;
import software.amazon.awssdk.services.iam.model.ContextEntry;
import software.amazon.awssdk.services.iam.model.ContextKeyTypeEnum;
import software.amazon.awssdk.services.iam.model.EvaluationResult;
import software.amazon.awssdk.services.iam.model.GroupDetail;
import software.amazon.awssdk.services.iam.model.InvalidInputException;
import software.amazon.awssdk.services.iam.model.ManagedPolicyDetail;
import software.amazon.awssdk.services.iam.model.PolicyDetail;
import software.amazon.awssdk.services.iam.model.PolicyEvaluationDecisionType;
import software.amazon.awssdk.services.iam.model.PolicyVersion;
import software.amazon.awssdk.services.iam.model.RoleDetail;
import software.amazon.awssdk.services.iam.model.Statement;
import software.amazon.awssdk.services.iam.model.Tag;
import software.amazon.awssdk.services.iam.model.UserDetail;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Finds who can still change protected branches: asks IAM's policy simulator about every role and user of the account,
 * with the policies of a user's groups and with permissions boundaries.
 *
 * <p>Changes nothing in AWS. A second run finds the same, unless someone changed IAM or added repositories.
 *
 * <p>Asked are, for each branch, the 13 write actions of CodeCommit that name their branches: for the branch alone, for
 * a request that names it beside another one, and for a request that names none. Then the administration that gets
 * around a protection, of repositories and of approval rule templates, and the actions of IAM by which someone can take
 * a deny away or act as somebody else.
 *
 * <p>What is asked stays small, and decides the same as if all was asked:
 * <ul>
 * <li>A principal is asked about only if a statement of its own or of its groups allows one of the actions; nothing
 * else can.
 * <li>Repositories that no resource in the policies of a principal tells apart are asked about by one of them.
 * <li>Principals whose policies are equal, and ask for nothing that differs between them, are asked about by one of
 * them, unless service control policies decide with them.
 * <li>What the simulator refuses only because of a condition key whose value a request brings, such as
 * aws:MultiFactorAuthPresent, is simulated again with the conditions taken as fulfilled; what is allowed then is a
 * finding of its own.
 * </ul>
 *
 * <p>IAM actions:
 * <ul>
 * <li>iam:GetAccountAuthorizationDetails, iam:SimulatePrincipalPolicy, iam:SimulateCustomPolicy,
 * codecommit:ListRepositories
 * <li>iam:GetPolicy, iam:GetPolicyVersion, if a managed policy is not among those details
 * </ul>
 * A principal that cannot be simulated, or whose policies cannot be read, is a finding.
 */
@Command(name = "audit-branch-protection", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Finds every role and user that can still change protected branches, by IAM's policy simulator.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: some roles, users or actions could not be audited; the rest is complete",
                "4:findings: someone can who is not excepted", "130, 143:interrupted"},
        footerHeading = "%nLimits:%n"
                + "  The account's root user is never bound by policies of IAM. The simulator is%n"
                + "  IAM's word, not CodeCommit's, and does not see resource control policies,%n"
                + "  policies of VPC endpoints and sessions. Whoever assumes a role acts as the%n"
                + "  role: assumedBy names whom its trust policy lets.%n"
                + "%nExamples:%n",
        footer = {"  ./jbang audit-branch-protection --branches main 'release/*' \\",
                "      --all-repositories --except-roles 'Admin*'",
                "  ./jbang audit-branch-protection --branches main \\",
                "      --repository-names 'team-*' --print /findings"})
class AuditBranchProtection implements Callable<Integer> {
    @Option(names = "--branches", paramLabel = "NAME", arity = "1..*",
            description = "Branches to audit: names, or patterns with * and ?, such as 'release/*'.")
    List<String> branches = List.of();

    @ArgGroup
    Repositories repositories = new Repositories();

    static class Repositories {
        @Option(names = "--repository-names", paramLabel = "NAME", arity = "1..*",
                description = "Names of repositories, which may have * and ?, such as 'team-*'.")
        List<String> globs = List.of();

        @Option(names = "--all-repositories", description = "All repositories of the account in the Region.")
        boolean all;
    }

    @Option(names = "--allow-pull-request-merges",
            description = "Merging pull requests into the branches is no finding: approval rules decide about it"
                    + " (./jbang require-approval).")
    boolean allowPullRequestMerges;

    @Option(names = "--except-roles", paramLabel = "NAME", arity = "1..*",
            description = "Roles that may change the branches, which are not audited: names without path, which may"
                    + " have * and ?, such as 'Admin*'.")
    List<String> exceptRoles = List.of();

    @Option(names = "--except-users", paramLabel = "NAME", arity = "1..*",
            description = "The same for users.")
    List<String> exceptUsers = List.of();

    /**
     * The printed document.
     *
     * @param status protected, findings, or incomplete if something could not be audited
     * @param repositories how many were audited
     * @param repositorySets what findings name that are about many repositories
     * @param principals those whom a policy allows one of the actions, whatever else denies it
     * @param excepted those whom --except-roles and --except-users name
     * @param neverBound whom no policy of IAM binds
     * @param notSeen what else decides in AWS
     */
    record Result(String status, String account, String region, List<String> branches, int repositories,
            Totals totals, List<Finding> findings, Collection<RepositorySet> repositorySets,
            List<AuditedPrincipal> principals, List<AuditedPrincipal> excepted, List<String> neverBound,
            List<String> notSeen) {}

    /**
     * @param allowedNothing those whom no policy allows any of the actions
     * @param simulations requests to the simulator, without further pages
     */
    record Totals(int roles, int users, int audited, int excepted, int allowedNothing, int notAuditable,
            int simulations) {}

    /**
     * @param assumedBy whom a role's trust policy lets assume it: services, accounts, users and roles
     * @param allowedWithoutReference write actions in a request that names no branch, with which every push begins;
     *        that changes no branch by itself
     */
    @JsonInclude(JsonInclude.Include.NON_EMPTY)
    record AuditedPrincipal(String principal, String type, Collection<String> groups, String permissionsBoundary,
            Collection<String> assumedBy, Collection<String> allowedWithoutReference, Collection<Code> findings) {}

    /**
     * What a principal can do and should not.
     *
     * @param principal its ARN; null for what was not simulated of any
     * @param branches as they were given
     * @param repositories their names, or * for all that were audited but those of exceptRepositories
     * @param repositorySet in their place if there are many
     * @param resources of IAM; a whole kind is shown as its ARN with *
     * @param policies the policies that allow it, by the simulator's names
     * @param conditionKeys whose values the request decides
     * @param command that mends it; null if there is none
     */
    @JsonInclude(JsonInclude.Include.NON_EMPTY)
    record Finding(Code code, String severity, String principal, Collection<String> branches,
            Collection<String> repositories, Collection<String> exceptRepositories, String repositorySet,
            Collection<String> resources, Collection<String> actions, Collection<String> policies,
            Collection<String> conditionKeys, String message, String command, @JsonIgnore RepositorySet all) {
        /** About a principal or actions of which nothing is known. */
        static Finding ofGap(Code code, String principal, Collection<String> actions, String message) {
            return new Finding(code, code.severity, principal, null, null, null, null, null, actions, null, null,
                    message, null, RepositorySet.NONE);
        }
    }

    /**
     * Repositories in which the same is allowed; most of those that were audited are shown as all but the others.
     *
     * @param name null if there are so few that findings name them
     * @param names all of them
     */
    record RepositorySet(String name, int size, List<String> repositories, List<String> exceptRepositories,
            @JsonIgnore List<String> names) {
        static final RepositorySet NONE = new RepositorySet(null, 0, List.of(), List.of(), List.of());
    }

    enum Code {
        /** A branch, by one of the 13 write actions. */
        CAN_CHANGE_BRANCH("high"),
        /** The same, only by a request that names other branches as well, should CodeCommit ask IAM for all at once. */
        CAN_CHANGE_BRANCH_AMONG_OTHERS("medium"),
        /** IAM's policies, keys or groups, and so take a deny away. */
        CAN_EDIT_IAM("high"),
        /** What gets around the protection: deletion, renaming, default branches, approval rules and templates. */
        CAN_ADMINISTER("medium"),
        /** One of these, if a condition is fulfilled whose value the simulation does not have. */
        DEPENDS_ON_CONDITIONS("low"),
        /** The principal could not be simulated. */
        NOT_AUDITABLE("medium"),
        /** Actions that the simulator does not know, so that nothing is known of anybody. */
        NOT_SIMULATED("medium");

        final String severity;

        Code(String severity) {
            this.severity = severity;
        }

        @JsonValue
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    /** What takes a deny away from a role, or lets someone act as the role. */
    static final Set<String> ROLE_ACTIONS = iamActions("AttachRolePolicy", "DeleteRolePermissionsBoundary",
            "DeleteRolePolicy", "DetachRolePolicy", "PutRolePermissionsBoundary", "PutRolePolicy",
            "UpdateAssumeRolePolicy");
    /** What lets someone act as a user; of oneself it changes nothing. */
    static final Set<String> CREDENTIAL_ACTIONS = iamActions("CreateAccessKey", "CreateLoginProfile",
            "CreateServiceSpecificCredential", "UpdateLoginProfile", "UploadSSHPublicKey");
    static final Set<String> USER_ACTIONS = union(CREDENTIAL_ACTIONS, iamActions("AttachUserPolicy",
            "DeleteUserPermissionsBoundary", "DeleteUserPolicy", "DetachUserPolicy", "PutUserPermissionsBoundary",
            "PutUserPolicy"));
    static final Set<String> GROUP_ACTIONS = iamActions("AddUserToGroup", "AttachGroupPolicy", "DeleteGroupPolicy",
            "DetachGroupPolicy", "PutGroupPolicy", "RemoveUserFromGroup");
    static final Set<String> POLICY_ACTIONS = iamActions("CreatePolicyVersion", "SetDefaultPolicyVersion");
    static final String REFERENCES_KEY = "codecommit:References";
    /** IAM names no limit of a request; programs that asked about many more were refused. */
    static final int RESOURCES_PER_REQUEST = 20;
    /** So many repositories a finding names itself, and a command. */
    static final int FEW = 20;
    static final int MAX_ATTEMPTS = 10;
    /** In the place of a wildcard, what no policy names. */
    static final String FRESH = "any-0x";
    static final List<String> NOT_SEEN = List.of(
            "resource control policies, policies of VPC endpoints, and policies and tags of sessions",
            "service control policies, as far as IAM's simulator does not take account of them; for "
                    + Code.DEPENDS_ON_CONDITIONS + " it does not at all",
            "who assumes a role: assumedBy names whom its trust policy lets, in other accounts too",
            "how CodeCommit asks IAM about a push: try one as well");

    final Set<String> allActions = union(BRANCH_ACTIONS, REPOSITORY_ACTIONS, TEMPLATE_ACTIONS, ROLE_ACTIONS,
            USER_ACTIONS, GROUP_ACTIONS, POLICY_ACTIONS);
    IamClient iam;
    List<String> repositoryNames;
    Account account;
    /** Whether the simulator took account of service control policies, by which equal policies may differ. */
    boolean isInOrganization;
    int simulations;
    /** What was simulated for policies, by the policies and what they ask for. */
    final Map<Object, Outcome> outcomes = new HashMap<>();
    /** By the ARNs of the repositories. */
    final Map<List<String>, RepositorySet> repositorySets = new LinkedHashMap<>();

    public static void main(String[] args) {
        System.exit(new AuditBranchProtection().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        connect();
        repositoryNames = repositoryNames();
        try (var client = client(IamClient.builder(), patient())) {
            iam = client;
            account = readAccount();
            var result = audit();
            return print(result, listed(result.findings), summary(result), exitCode(result.findings));
        }
    }

    static int exitCode(List<Finding> findings) {
        return isIncomplete(findings) ? 3 : findings.isEmpty() ? 0 : 4;
    }

    static String status(List<Finding> findings) {
        return isIncomplete(findings) ? "incomplete" : findings.isEmpty() ? "protected" : "findings";
    }

    static boolean isIncomplete(List<Finding> findings) {
        return findings.stream()
                .anyMatch(finding -> Set.of(Code.NOT_AUDITABLE, Code.NOT_SIMULATED).contains(finding.code));
    }

    void checkOptions() {
        checkOutput();
        checkBranches(branches);
        if (repositories.globs.isEmpty() && !repositories.all) {
            throw wrong("no repository to audit: use --all-repositories, or --repository-names such as"
                    + " --repository-names 'team-*'");
        }
        repositories.globs.forEach(glob -> check("--repository-names", glob, "(?!.*\\.git$)[\\w.*?-]{1,100}",
                "a repository's name, which may have * and ? for any characters, such as 'team-*'"));
        exceptRoles.forEach(glob -> check("--except-roles", glob, "[\\w+=,.@*?-]{1,64}",
                "a role's name without its path, which may have * and ?, such as 'Admin*'"));
        exceptUsers.forEach(glob -> check("--except-users", glob, "[\\w+=,.@*?-]{1,64}",
                "a user's name without its path, which may have * and ?, such as alice"));
    }

    /** A large account needs many simulations, of which IAM takes only some a second. */
    static RetryStrategy patient() {
        var usual = AwsRetryStrategy.standardRetryStrategy();
        return usual.toBuilder().maxAttempts(Math.max(MAX_ATTEMPTS, usual.maxAttempts()))
                .circuitBreakerEnabled(false).build();
    }

    List<String> repositoryNames() {
        try (var codecommit = client(CodeCommitClient.builder())) {
            var all = codecommit.listRepositoriesPaginator(r -> { }).repositories().stream()
                    .map(repository -> repository.repositoryName()).sorted().toList();
            var missing = repositories.globs.stream().distinct()
                    .filter(glob -> all.stream().noneMatch(name -> isLike(name, glob))).toList();
            if (!missing.isEmpty() || all.isEmpty()) {
                throw new Failure("no such repository in " + region()
                        + (missing.isEmpty() ? ": there is none" : ": " + String.join(", ", missing)));
            }
            return repositories.all ? all : all.stream()
                    .filter(name -> repositories.globs.stream().anyMatch(glob -> isLike(name, glob))).toList();
        }
    }

    // What IAM has

    /** @param id as the simulator names it */
    record Policy(String id, JsonNode document) {}

    enum Kind {
        ROLE, USER;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * @param policies its own and, of a user, those of its groups
     * @param boundaryArn null if it has none
     * @param boundary null if it has none
     * @param assumedBy of a role
     * @param certainKeys the condition keys whose values are the same in all of its requests; none of those that no
     *        request has
     * @param gap why not all of its policies are known; null if they are
     */
    record Principal(Kind kind, String name, String arn, List<String> groups, List<Policy> policies,
            String boundaryArn, JsonNode boundary, Collection<String> assumedBy,
            Map<String, List<String>> certainKeys, String gap) {
        /** Of a role that only AWS may change, the service; else null. */
        String owningService() {
            return arn.contains(":role/aws-service-role/") ? arn.split("/")[2] : null;
        }

        boolean isOfIdentityCenter() {
            return arn.contains(":role/aws-reserved/sso.amazonaws.com/");
        }

        List<JsonNode> statements() {
            return Stream.concat(policies.stream().map(Policy::document), Stream.ofNullable(boundary))
                    .flatMap(document -> AuditBranchProtection.statements(document).stream()).toList();
        }

        boolean isCertain(String key) {
            return certainKeys.containsKey(key) || kind == Kind.USER && key.toLowerCase(Locale.ROOT)
                    .startsWith("aws:principaltag/");
        }

        /** Condition keys of a statement whose values the request decides. */
        Set<String> uncertainKeys(JsonNode statement) {
            return keys(statement).stream().filter(key -> !isCertain(key) && !key.equalsIgnoreCase(REFERENCES_KEY))
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }

    /** The principals of the account, and what their policies may tell apart. */
    record Account(List<Principal> principals, Universe repositories, Universe roles, Universe users,
            Universe groups, Universe policies) {}

    Account readAccount() {
        var users = new ArrayList<UserDetail>();
        var groups = new TreeMap<String, GroupDetail>();
        var roles = new ArrayList<RoleDetail>();
        var managed = new ManagedPolicies();
        for (var page : iam.getAccountAuthorizationDetailsPaginator(r -> r.maxItems(1000))) {
            users.addAll(page.userDetailList());
            page.groupDetailList().forEach(group -> groups.put(group.groupName(), group));
            roles.addAll(page.roleDetailList());
            page.policies().forEach(policy -> managed.add(policy));
        }
        var principals = Stream.concat(roles.stream().map(role -> principal(role, managed)),
                users.stream().map(user -> principal(user, groups, managed)))
                .sorted(Comparator.comparing(Principal::arn)).toList();
        return new Account(principals,
                new Universe(repositoryNames.stream().map(name -> arn("codecommit", name)).toList()),
                new Universe(roles.stream().map(RoleDetail::arn).toList()),
                new Universe(users.stream().map(UserDetail::arn).toList()),
                new Universe(groups.values().stream().map(GroupDetail::arn).toList()),
                new Universe(managed.ownArns()));
    }

    Principal principal(RoleDetail role, ManagedPolicies managed) {
        var own = new Collected(managed);
        role.rolePolicyList().forEach(inline -> own.add(Kind.ROLE, role.roleName(), inline));
        role.attachedManagedPolicies().forEach(attached -> own.add(attached));
        var boundaryArn = role.permissionsBoundary() == null ? null
                : role.permissionsBoundary().permissionsBoundaryArn();
        var boundary = own.boundary(boundaryArn);
        return new Principal(Kind.ROLE, role.roleName(), role.arn(), List.of(), own.policies, boundaryArn, boundary,
                trusted(parsedPolicy(percentDecoded(role.assumeRolePolicyDocument()))),
                certainKeys(Kind.ROLE, role.roleName(), role.arn(), role.roleId(), role.tags()), own.gap);
    }

    Principal principal(UserDetail user, Map<String, GroupDetail> groups, ManagedPolicies managed) {
        var own = new Collected(managed);
        user.userPolicyList().forEach(inline -> own.add(Kind.USER, user.userName(), inline));
        user.attachedManagedPolicies().forEach(attached -> own.add(attached));
        for (var name : user.groupList()) {
            var group = groups.get(name);
            if (group == null) { // made while the pages were read
                own.gap = "its group " + name + " is not among the details of the account";
                continue;
            }
            group.groupPolicyList().forEach(inline -> own.add("group", name, inline));
            group.attachedManagedPolicies().forEach(attached -> own.add(attached));
        }
        var boundaryArn = user.permissionsBoundary() == null ? null
                : user.permissionsBoundary().permissionsBoundaryArn();
        var boundary = own.boundary(boundaryArn);
        return new Principal(Kind.USER, user.userName(), user.arn(), user.groupList(), own.policies, boundaryArn,
                boundary, List.of(), certainKeys(Kind.USER, user.userName(), user.arn(), user.userId(), user.tags()),
                own.gap);
    }

    /** The policies of a principal while they are gathered. */
    static class Collected {
        final List<Policy> policies = new ArrayList<>();
        private final ManagedPolicies managed;
        /** Why not all are known; null if they are. */
        String gap;

        Collected(ManagedPolicies managed) {
            this.managed = managed;
        }

        void add(Object kind, String name, PolicyDetail inline) {
            policies.add(new Policy(kind + "_" + name + "_" + inline.policyName(),
                    parsedPolicy(percentDecoded(inline.policyDocument()))));
        }

        void add(AttachedPolicy attached) {
            var document = document(attached.policyArn());
            if (document != null) {
                policies.add(new Policy(attached.policyName(), document));
            }
        }

        JsonNode boundary(String arn) {
            return arn == null ? null : document(arn);
        }

        private JsonNode document(String arn) {
            try {
                return managed.document(arn);
            } catch (SdkException e) {
                gap = "its policy " + arn + " cannot be read: " + reason(e);
                return null;
            }
        }
    }

    /** Managed policies by ARN; those that the details of the account do not have are looked up. */
    class ManagedPolicies {
        private final Map<String, JsonNode> documents = new TreeMap<>();

        void add(ManagedPolicyDetail policy) {
            policy.policyVersionList().stream().filter(PolicyVersion::isDefaultVersion).findFirst()
                    .ifPresent(version -> documents.put(policy.arn(),
                            parsedPolicy(percentDecoded(version.document()))));
        }

        JsonNode document(String arn) {
            return documents.computeIfAbsent(arn, missing -> {
                var version = iam.getPolicy(r -> r.policyArn(missing)).policy().defaultVersionId();
                return parsedPolicy(percentDecoded(iam.getPolicyVersion(
                        r -> r.policyArn(missing).versionId(version)).policyVersion().document()));
            });
        }

        /** Of the customer managed ones: nobody here may change AWS's own. */
        List<String> ownArns() {
            return documents.keySet().stream().filter(arn -> !arn.contains(":iam::aws:")).toList();
        }
    }

    /** Whom a trust policy lets assume the role. */
    static Collection<String> trusted(JsonNode trustPolicy) {
        var trusted = new TreeSet<String>();
        for (var statement : statements(trustPolicy)) {
            if (!statement.path("Effect").asText().equals("Allow")) {
                continue;
            }
            var principal = statement.path("Principal");
            if (principal.isTextual()) {
                trusted.add(principal.asText());
            }
            principal.properties().forEach(type -> texts(type.getValue()).forEach(trusted::add));
            if (statement.has("NotPrincipal")) {
                trusted.add("everyone but " + statement.get("NotPrincipal"));
            }
        }
        return trusted;
    }

    /** By key, whose letter case does not matter; no value for one that no request of the principal has. */
    Map<String, List<String>> certainKeys(Kind kind, String name, String arn, String id, List<Tag> tags) {
        var keys = new TreeMap<String, List<String>>(String.CASE_INSENSITIVE_ORDER);
        keys.put("aws:PrincipalArn", List.of(arn));
        keys.put("aws:PrincipalAccount", List.of(caller.account()));
        keys.put("aws:PrincipalType", List.of(kind == Kind.USER ? "User" : "AssumedRole"));
        keys.put("aws:PrincipalIsAWSService", List.of("false"));
        keys.put("aws:PrincipalServiceName", List.of());
        keys.put("aws:RequestedRegion", List.of(region()));
        keys.put("aws:ResourceAccount", List.of(caller.account()));
        keys.put("aws:SecureTransport", List.of("true"));
        keys.put("aws:username", kind == Kind.USER ? List.of(name) : List.of());
        if (kind == Kind.USER) {
            keys.put("aws:userid", List.of(id));
        }
        tags.forEach(tag -> keys.put("aws:PrincipalTag/" + tag.key(), List.of(tag.value())));
        return keys;
    }

    // What statements say

    static boolean isAllow(JsonNode statement) {
        return statement.path("Effect").asText().equals("Allow");
    }

    /** Whether a statement is about an action, on some resource. */
    static boolean isAbout(JsonNode statement, String action) {
        var listed = Stream.of("Action", "NotAction").flatMap(element -> texts(statement.path(element)))
                .anyMatch(pattern -> isLike(action.toLowerCase(Locale.ROOT), pattern.toLowerCase(Locale.ROOT)));
        return listed == statement.has("Action");
    }

    /** The actions that a statement is about. */
    Set<String> actions(JsonNode statement) {
        return actionsOfStatements.computeIfAbsent(statement, one -> allActions.stream()
                .filter(action -> isAbout(one, action)).collect(Collectors.toCollection(TreeSet::new)));
    }

    private final Map<JsonNode, Set<String>> actionsOfStatements = new HashMap<>();

    static final Pattern VARIABLE = Pattern.compile("\\$\\{\\s*([^},*?$]+?)\\s*(?:,[^}]*)?}");

    /** The condition keys that a statement asks for, by its conditions and the variables in it. */
    static Set<String> keys(JsonNode statement) {
        var keys = new TreeSet<String>(String.CASE_INSENSITIVE_ORDER);
        statement.path("Condition").forEach(operator -> operator.fieldNames().forEachRemaining(keys::add));
        for (var element : List.of("Resource", "NotResource", "Condition")) {
            VARIABLE.matcher(statement.path(element).toString()).results().forEach(found -> keys.add(found.group(1)));
        }
        return keys;
    }

    /** By which a principal's policies tell resources apart; a variable without a certain value may be anything. */
    Set<String> resourcePatterns(Principal principal) {
        return relevantStatements(principal)
                .flatMap(statement -> Stream.of("Resource", "NotResource")
                        .flatMap(element -> texts(statement.path(element))))
                .map(text -> VARIABLE.matcher(text).replaceAll(variable -> Matcher.quoteReplacement(String.join("",
                        principal.certainKeys.getOrDefault(variable.group(1), List.of("*"))))))
                .collect(Collectors.toCollection(TreeSet::new));
    }

    Stream<JsonNode> relevantStatements(Principal principal) {
        return principal.statements().stream().filter(statement -> !actions(statement).isEmpty());
    }

    /** The values that conditions compare a branch with. */
    List<String> referenceValues(Principal principal) {
        return relevantStatements(principal).flatMap(statement -> statement.path("Condition").valueStream())
                .flatMap(operator -> operator.properties().stream())
                .filter(condition -> condition.getKey().equalsIgnoreCase(REFERENCES_KEY))
                .flatMap(condition -> texts(condition.getValue())).distinct().toList();
    }

    boolean asksForReferences(Principal principal) {
        return relevantStatements(principal).anyMatch(statement -> keys(statement).contains(REFERENCES_KEY));
    }

    /** ARNs of one kind, in classes that patterns cannot tell apart. */
    static class Universe {
        final List<String> arns;
        private final Map<String, BitSet> matching = new HashMap<>();
        private final Map<Set<BitSet>, List<List<String>>> classes = new HashMap<>();

        Universe(List<String> arns) {
            this.arns = arns;
        }

        List<List<String>> classes(Set<String> patterns) {
            var dividing = patterns.stream().flatMap(pattern -> matches(pattern))
                    .filter(bits -> bits.cardinality() > 0 && bits.cardinality() < arns.size())
                    .collect(Collectors.toSet());
            return classes.computeIfAbsent(dividing, this::divided);
        }

        /**
         * By the whole text and by its last field alone: how far a * in the middle of an ARN reaches is not documented,
         * and either way these two decide.
         */
        private Stream<BitSet> matches(String pattern) {
            var fields = pattern.split(":", 6);
            return Stream.of(bits("", pattern), bits("last:", fields[fields.length - 1]));
        }

        private BitSet bits(String form, String pattern) {
            return matching.computeIfAbsent(form + pattern, key -> {
                var like = like(pattern);
                var bits = new BitSet();
                for (var i = 0; i < arns.size(); i++) {
                    var text = form.isEmpty() ? arns.get(i) : arns.get(i).split(":", 6)[5];
                    bits.set(i, like.matcher(text).matches());
                }
                return bits;
            });
        }

        private List<List<String>> divided(Set<BitSet> dividing) {
            var classes = new LinkedHashMap<List<Boolean>, List<String>>();
            for (var i = 0; i < arns.size(); i++) {
                var index = i;
                classes.computeIfAbsent(dividing.stream().map(bits -> bits.get(index)).toList(),
                        bits -> new ArrayList<>()).add(arns.get(i));
            }
            return List.copyOf(classes.values());
        }
    }

    // The audit

    Result audit() {
        var findings = new ArrayList<Finding>();
        var audited = new ArrayList<AuditedPrincipal>();
        var excepted = account.principals.stream().filter(principal -> isExcepted(principal)).toList();
        var others = account.principals.stream().filter(principal -> !isExcepted(principal)).toList();
        var candidates = others.stream().filter(principal -> principal.gap != null || isAllowedSomething(principal))
                .toList();
        noteUselessExceptions();
        note("simulating " + candidates.size() + " of " + account.principals.size() + " roles and users ...");
        for (var principal : candidates) {
            var own = new ArrayList<Finding>();
            var withoutReference = new TreeSet<String>();
            try {
                var outcome = outcome(principal);
                own.addAll(findings(principal, outcome));
                withoutReference.addAll(outcome.withoutReference);
                if (outcome.gap != null) {
                    own.add(notAuditable(principal, outcome.gap));
                }
            } catch (SdkException | Failure e) {
                note(principal.arn + ": " + reason(e));
                own.add(notAuditable(principal, reason(e)));
            }
            findings.addAll(own);
            audited.add(audited(principal, withoutReference, own));
        }
        if (!unknownActions.isEmpty()) {
            findings.add(notSimulated());
        }
        var notAuditable = (int) findings.stream().filter(finding -> finding.code == Code.NOT_AUDITABLE).count();
        var totals = new Totals(count(Kind.ROLE), count(Kind.USER), candidates.size(), excepted.size(),
                others.size() - candidates.size(), notAuditable, simulations);
        findings.sort(Comparator.comparing(Finding::code));
        return new Result(status(findings), caller.account(), region(), branches, repositoryNames.size(), totals,
                findings,
                repositorySets.values().stream().filter(set -> set.name != null).toList(), audited,
                excepted.stream().map(principal -> audited(principal, Set.of(), List.of())).toList(),
                List.of("arn:" + caller.partition() + ":iam::" + caller.account() + ":root"), NOT_SEEN);
    }

    int count(Kind kind) {
        return (int) account.principals.stream().filter(principal -> principal.kind == kind).count();
    }

    boolean isExcepted(Principal principal) {
        var globs = principal.kind == Kind.ROLE ? exceptRoles : exceptUsers;
        return globs.stream().anyMatch(glob -> isLike(principal.name, glob));
    }

    /** A mistyped exception is harmless, but not what was meant. */
    void noteUselessExceptions() {
        for (var kind : Kind.values()) {
            (kind == Kind.ROLE ? exceptRoles : exceptUsers).stream().distinct()
                    .filter(glob -> account.principals.stream()
                            .noneMatch(principal -> principal.kind == kind && isLike(principal.name, glob)))
                    .forEach(glob -> note("--except-" + kind + "s '" + glob + "': no " + kind + " has such a name"));
        }
    }

    /** In one account only the policies of a principal and its groups allow it what is asked about. */
    boolean isAllowedSomething(Principal principal) {
        return !allowedSomewhere(principal).isEmpty();
    }

    /** The actions that some statement allows on some resource, whatever others deny. */
    Set<String> allowedSomewhere(Principal principal) {
        return principal.policies.stream().flatMap(policy -> statements(policy.document).stream())
                .filter(statement -> isAllow(statement)).flatMap(statement -> actions(statement).stream())
                .collect(Collectors.toCollection(TreeSet::new));
    }

    static AuditedPrincipal audited(Principal principal, Set<String> withoutReference, List<Finding> findings) {
        return new AuditedPrincipal(principal.arn,
                principal.owningService() == null ? principal.kind.toString() : "service-linked-role",
                principal.groups, principal.boundaryArn, principal.assumedBy, withoutReference,
                findings.stream().map(Finding::code).collect(Collectors.toCollection(TreeSet::new)));
    }

    /**
     * What was found out about a principal's policies.
     *
     * @param withoutReference the write actions that are allowed in a request that names no branch
     * @param gap why what depends on conditions is not known; null if it is
     */
    record Outcome(List<Answer> answers, Set<String> withoutReference, String gap) {}

    /**
     * Allowed actions on some resources, all of which are allowed the same.
     *
     * @param branch as it was given; null if it does not matter
     * @param resources ARNs; * for actions that belong to none
     * @param isConditional whether a condition decides that was taken as fulfilled
     */
    record Answer(Code code, String branch, List<String> resources, Set<String> actions, Set<String> policies,
            boolean isConditional) {
        /** What this allows more than another one does. */
        Answer without(Set<String> others) {
            var rest = new TreeSet<>(actions);
            rest.removeAll(others);
            return new Answer(code, branch, resources, rest, policies, isConditional);
        }
    }

    /** Asks the simulator about some actions on some resources. */
    interface Simulator {
        Stream<EvaluationResult> simulate(Set<String> actions, List<String> resources, List<ContextEntry> entries);
    }

    /** Of principals with equal policies, the first is simulated. */
    Outcome outcome(Principal principal) {
        if (principal.gap != null) {
            throw new Failure(principal.gap);
        }
        var entries = contextEntries(principal);
        var own = principal.kind + "_" + principal.name + "_";
        var key = List.of(principal.policies.stream()
                .map(policy -> List.of(generalId(policy.id, own), policy.document)).collect(Collectors.toSet()),
                Objects.requireNonNullElse(principal.boundary, ""), entries, principal.kind);
        var known = isInOrganization ? null : outcomes.get(key);
        if (known == null) {
            known = simulated(principal, entries, own);
            outcomes.put(key, known);
        }
        return known;
    }

    /** An inline policy's id without the name of its principal. */
    static String generalId(String id, String own) {
        return id.startsWith(own) ? "\0" + id.substring(own.length()) : id;
    }

    /** The values of the certain keys that the policies ask for. */
    List<ContextEntry> contextEntries(Principal principal) {
        var asked = relevantStatements(principal).flatMap(statement -> keys(statement).stream())
                .collect(Collectors.toCollection(() -> new TreeSet<>(String.CASE_INSENSITIVE_ORDER)));
        return asked.stream().filter(key -> !principal.certainKeys.getOrDefault(key, List.of()).isEmpty())
                .map(key -> ContextEntry.builder().contextKeyName(key)
                        .contextKeyType(key.matches("(?i)aws:(SecureTransport|PrincipalIsAWSService)")
                                ? ContextKeyTypeEnum.BOOLEAN : ONE_VALUE)
                        .contextKeyValues(principal.certainKeys.get(key)).build())
                .toList();
    }

    Outcome simulated(Principal principal, List<ContextEntry> entries, String own) {
        var withoutReference = new TreeSet<String>();
        Simulator simulator = (actions, resources, more) -> {
            var results = iam.simulatePrincipalPolicyPaginator(r -> r.policySourceArn(principal.arn)
                    .actionNames(actions).resourceArns(resources).contextEntries(more).maxItems(1000))
                    .evaluationResults().stream().toList();
            isInOrganization |= results.stream().anyMatch(result -> result.organizationsDecisionDetail() != null);
            return results.stream();
        };
        var answers = answers(new Inquiry(principal, entries, false, simulator), withoutReference);
        var isUncertain = relevantStatements(principal)
                .anyMatch(statement -> !principal.uncertainKeys(statement).isEmpty());
        var gap = (String) null;
        try {
            if (isUncertain) {
                answers.addAll(conditional(principal, entries, answers));
            }
        } catch (SdkException e) {
            note(principal.arn + ": " + reason(e));
            gap = "what depends on conditions is not known: " + reason(e);
        }
        return new Outcome(answers.stream().map(answer -> new Answer(answer.code, answer.branch, answer.resources,
                answer.actions, answer.policies.stream().map(id -> generalId(id, own))
                        .collect(Collectors.toCollection(TreeSet::new)), answer.isConditional)).toList(),
                withoutReference, gap);
    }

    /** What is allowed beyond the answers if the conditions are fulfilled whose values the request decides. */
    List<Answer> conditional(Principal principal, List<ContextEntry> entries, List<Answer> answers) {
        var policies = principal.policies.stream().map(policy -> fulfilled(principal, policy.document))
                .flatMap(Optional::stream).map(JsonNode::toString).toList();
        var boundary = Optional.ofNullable(principal.boundary).map(document -> fulfilled(principal, document));
        if (policies.isEmpty() || boundary.isPresent() && boundary.get().isEmpty()) {
            return List.of();
        }
        var boundaries = boundary.stream().flatMap(Optional::stream).map(JsonNode::toString).toList();
        Simulator simulator = (actions, resources, more) -> iam.simulateCustomPolicyPaginator(r -> r
                .policyInputList(policies).permissionsBoundaryPolicyInputList(boundaries.isEmpty() ? null : boundaries)
                .actionNames(actions).resourceArns(resources).contextEntries(more).maxItems(1000))
                .evaluationResults().stream();
        var possible = answers(new Inquiry(principal, entries, true, simulator), new TreeSet<>());
        return possible.stream().map(answer -> answer.without(answers.stream()
                .filter(certain -> certain.code == answer.code && Objects.equals(certain.branch, answer.branch)
                        && certain.resources.equals(answer.resources))
                .flatMap(certain -> certain.actions.stream()).collect(Collectors.toSet())))
                .filter(answer -> !answer.actions.isEmpty()).toList();
    }

    /** A policy as if all conditions were fulfilled whose values the request decides; empty if nothing is left. */
    static Optional<JsonNode> fulfilled(Principal principal, JsonNode policy) {
        var fulfilled = ((ObjectNode) policy).deepCopy();
        var kept = fulfilled.putArray("Statement");
        for (var statement : statements(policy)) {
            var uncertain = principal.uncertainKeys(statement);
            if (uncertain.isEmpty()) {
                kept.add(statement);
            } else if (isAllow(statement)) {
                kept.add(fulfilledAllow((ObjectNode) statement.deepCopy(), uncertain));
            }
        }
        return kept.isEmpty() ? Optional.empty() : Optional.of(fulfilled);
    }

    private static ObjectNode fulfilledAllow(ObjectNode statement, Set<String> uncertain) {
        for (var operator : statement.path("Condition")) {
            ((ObjectNode) operator).remove(operator.properties().stream()
                    .filter(condition -> has(uncertain, condition.getKey())
                            || variables(condition.getValue()).anyMatch(variable -> has(uncertain, variable)))
                    .map(Map.Entry::getKey).toList());
        }
        if (statement.path("Condition") instanceof ObjectNode conditions) {
            conditions.removeIf(operator -> operator.isEmpty());
            if (conditions.isEmpty()) {
                statement.remove("Condition");
            }
        }
        if (variables(statement.path("NotResource")).anyMatch(variable -> has(uncertain, variable))) {
            statement.remove("NotResource");
            statement.put("Resource", "*");
        }
        if (statement.has("Resource")) {
            var resources = texts(statement.get("Resource")).map(text -> VARIABLE.matcher(text).replaceAll(variable ->
                    has(uncertain, variable.group(1)) ? "*" : Matcher.quoteReplacement(variable.group()))).toList();
            statement.set("Resource", JSON.valueToTree(resources));
        }
        return statement;
    }

    private static boolean has(Set<String> keys, String key) {
        return keys.stream().anyMatch(key::equalsIgnoreCase);
    }

    private static Stream<String> variables(JsonNode texts) {
        return VARIABLE.matcher(texts.toString()).results().map(found -> found.group(1));
    }

    /**
     * What is asked about a principal.
     *
     * @param entries values of condition keys
     * @param isConditional then a request that names several branches is not asked about
     */
    record Inquiry(Principal principal, List<ContextEntry> entries, boolean isConditional, Simulator simulator) {}

    /** @param withoutReference gets the write actions of a request that names no branch */
    List<Answer> answers(Inquiry inquiry, Set<String> withoutReference) {
        var patterns = resourcePatterns(inquiry.principal);
        var classes = account.repositories.classes(patterns);
        var answers = new ArrayList<Answer>();
        branches.stream().distinct().forEach(branch -> answers.addAll(branchAnswers(inquiry, branch, classes)));
        ask(inquiry, union(branchActions(), REPOSITORY_ACTIONS), classes, inquiry.entries)
                .forEach((index, allowed) -> {
                    withoutReference.addAll(allowed.only(BRANCH_ACTIONS).actions);
                    answers.add(allowed.only(REPOSITORY_ACTIONS).answer(Code.CAN_ADMINISTER, null,
                            classes.get(index), inquiry.isConditional));
                });
        answers.addAll(answers(inquiry, Code.CAN_ADMINISTER, TEMPLATE_ACTIONS, List.of(List.of("*"))));
        answers.addAll(answers(inquiry, Code.CAN_EDIT_IAM, ROLE_ACTIONS, account.roles.classes(patterns)));
        answers.addAll(answers(inquiry, Code.CAN_EDIT_IAM, USER_ACTIONS, account.users.classes(patterns)));
        answers.addAll(answers(inquiry, Code.CAN_EDIT_IAM, GROUP_ACTIONS, account.groups.classes(patterns)));
        answers.addAll(answers(inquiry, Code.CAN_EDIT_IAM, POLICY_ACTIONS, account.policies.classes(patterns)));
        answers.removeIf(answer -> answer.actions.isEmpty());
        return answers;
    }

    private List<Answer> answers(Inquiry inquiry, Code code, Set<String> actions, List<List<String>> classes) {
        var answers = new ArrayList<Answer>();
        ask(inquiry, actions, classes, inquiry.entries).forEach((index, allowed) -> answers.add(
                allowed.answer(code, null, classes.get(index), inquiry.isConditional)));
        return answers;
    }

    /** For the branch alone; for a list with others, too, if not all is allowed and a policy looks at branches. */
    private List<Answer> branchAnswers(Inquiry inquiry, String branch, List<List<String>> classes) {
        var alone = new TreeMap<Integer, Answer>();
        for (var reference : samples(branch, referenceValues(inquiry.principal))) {
            ask(inquiry, branchActions(), classes, withReferences(inquiry, ONE_VALUE, List.of(reference)))
                    .forEach((index, allowed) -> alone.merge(index, allowed.answer(Code.CAN_CHANGE_BRANCH, branch,
                            classes.get(index), inquiry.isConditional), AuditBranchProtection::together));
        }
        var answers = new ArrayList<>(alone.values());
        var possible = possible(inquiry.principal, branchActions()).size();
        var isAllowedAll = alone.size() == classes.size()
                && alone.values().stream().allMatch(answer -> answer.actions.size() == possible);
        if (inquiry.isConditional || isAllowedAll || !asksForReferences(inquiry.principal)) {
            return answers;
        }
        var several = Stream.concat(unprotected(branches).stream().limit(1), samples(branch, List.of()).stream())
                .toList();
        ask(inquiry, branchActions(), classes, withReferences(inquiry, LIST, several))
                .forEach((index, allowed) -> answers.add(allowed.answer(Code.CAN_CHANGE_BRANCH_AMONG_OTHERS, branch,
                        classes.get(index), false)
                        .without(alone.containsKey(index) ? alone.get(index).actions : Set.of())));
        return answers;
    }

    /** By which a branch must not be changed. */
    private Set<String> branchActions() {
        var actions = new TreeSet<>(BRANCH_ACTIONS);
        if (allowPullRequestMerges) {
            actions.removeAll(PULL_REQUEST_MERGES);
        }
        return actions;
    }

    private Set<String> possible(Principal principal, Set<String> actions) {
        var possible = new TreeSet<>(actions);
        possible.retainAll(allowedSomewhere(principal));
        return possible;
    }

    static List<ContextEntry> withReferences(Inquiry inquiry, ContextKeyTypeEnum type, List<String> references) {
        return Stream.concat(inquiry.entries.stream(), Stream.of(referencesEntry(type, references))).toList();
    }

    private static Answer together(Answer one, Answer other) {
        return new Answer(one.code, one.branch, one.resources, union(one.actions, other.actions),
                union(one.policies, other.policies), one.isConditional);
    }

    /** What is allowed on the resources of a class, and the policies that allow it by action. */
    record Allowed(Set<String> actions, Map<String, Set<String>> policies) {
        Allowed only(Set<String> some) {
            var kept = new TreeSet<>(actions);
            kept.retainAll(some);
            return new Allowed(kept, policies);
        }

        Answer answer(Code code, String branch, List<String> resources, boolean isConditional) {
            return new Answer(code, branch, resources, actions, isConditional ? Set.of() : actions.stream()
                    .flatMap(action -> policies.get(action).stream()).collect(Collectors.toCollection(TreeSet::new)),
                    isConditional);
        }
    }

    /** What is allowed by number of the class, each of which is asked about by its first member. */
    Map<Integer, Allowed> ask(Inquiry inquiry, Set<String> allActions, List<List<String>> classes,
            List<ContextEntry> entries) {
        var actions = possible(inquiry.principal, allActions);
        var numbers = new LinkedHashMap<String, Integer>();
        for (var i = 0; i < classes.size(); i++) {
            numbers.put(classes.get(i).get(0), i);
        }
        var first = List.copyOf(numbers.keySet());
        var answers = new TreeMap<Integer, Allowed>();
        for (var some : actions.isEmpty() ? List.<List<String>>of() : batches(first, RESOURCES_PER_REQUEST)) {
            var decisions = decisions(actions, known -> {
                simulations++;
                return inquiry.simulator.simulate(known, some, entries);
            });
            decisions.stream().filter(decision -> decision.type() == PolicyEvaluationDecisionType.ALLOWED)
                    .forEach(decision -> {
                        var allowed = answers.computeIfAbsent(numbers.get(decision.resource()),
                                number -> new Allowed(new TreeSet<>(), new TreeMap<>()));
                        allowed.actions.add(decision.action());
                        allowed.policies.put(decision.action(), decision.policies());
                    });
        }
        return answers;
    }

    /**
     * Refs of a branch, or of branches that a pattern stands for: one that no policy is likely to name, and for each
     * value that a condition compares with, one that both stand for.
     */
    static List<String> samples(String branch, List<String> values) {
        var pattern = "refs/heads/" + branch;
        if (!branch.matches(".*[*?].*")) {
            return List.of(pattern);
        }
        return Stream.concat(Stream.of(pattern), values.stream()).map(value -> common(pattern, value))
                .flatMap(Optional::stream).distinct().toList();
    }

    /** A text that two patterns both stand for. */
    static Optional<String> common(String one, String other) {
        return common(one, other, new HashSet<>());
    }

    private static Optional<String> common(String one, String other, Set<String> vain) {
        if (one.isEmpty() && other.isEmpty()) {
            return Optional.of("");
        }
        var isManyInOne = one.startsWith("*");
        var isManyInOther = other.startsWith("*");
        if (isManyInOne && isManyInOther) {
            var rest = common(one.substring(1), other.substring(1), vain);
            if (rest.isPresent()) {
                return rest.map(text -> FRESH + text);
            }
        }
        if (!vain.add(one + "\n" + other)) {
            return Optional.empty();
        }
        if (isManyInOne || isManyInOther) {
            var many = isManyInOne ? one : other;
            var fixed = isManyInOne ? other : one;
            var ended = common(many.substring(1), fixed, vain);
            if (ended.isPresent() || fixed.isEmpty()) {
                return ended;
            }
            var next = fixed.substring(0, 1);
            return next.equals("*") ? common(many, fixed.substring(1), vain)
                    : common(many, fixed.substring(1), vain).map(text -> next.replace("?", "x") + text);
        }
        if (one.isEmpty() || other.isEmpty()) {
            return Optional.empty();
        }
        var first = one.charAt(0);
        var second = other.charAt(0);
        if (first != second && first != '?' && second != '?') {
            return Optional.empty();
        }
        var letter = first == '?' ? second == '?' ? 'x' : second : first;
        return common(one.substring(1), other.substring(1), vain).map(text -> letter + text);
    }

    // Findings

    /** The answers that are the same for several classes of resources or several branches become one finding. */
    List<Finding> findings(Principal principal, Outcome outcome) {
        var groups = new LinkedHashMap<Group, Set<String>>();
        var own = principal.kind + "_" + principal.name + "_";
        var resources = new LinkedHashMap<Group, List<String>>();
        for (var answer : outcome.answers) {
            var actions = answer.resources.equals(List.of(principal.arn))
                    ? answer.without(CREDENTIAL_ACTIONS).actions : answer.actions;
            if (!actions.isEmpty()) {
                var ids = answer.policies.stream().map(id -> id.replace("\0", own))
                        .collect(Collectors.toCollection(TreeSet::new));
                resources.computeIfAbsent(new Group(answer.code, answer.isConditional, actions, ids,
                        answer.branch, null), group -> new ArrayList<>()).addAll(answer.resources);
            }
        }
        resources.forEach((group, arns) -> groups.computeIfAbsent(new Group(group.code, group.isConditional,
                group.actions, group.policies, null, arns), merged -> new LinkedHashSet<>())
                .addAll(Stream.ofNullable(group.branch).toList()));
        var command = command(principal, groups.keySet());
        var findings = new ArrayList<Finding>();
        groups.forEach((group, ofBranches) -> findings.add(finding(principal, group, ofBranches, command)));
        return findings;
    }

    /** What is equal in answers that become one finding. */
    record Group(Code code, boolean isConditional, Set<String> actions, Set<String> policies, String branch,
            List<String> resources) {
        /** Which belong to no repository. */
        boolean isOfTemplates() {
            return resources.equals(List.of("*"));
        }
    }

    Finding finding(Principal principal, Group group, Collection<String> ofBranches, String command) {
        var isIam = group.code == Code.CAN_EDIT_IAM;
        var set = isIam || group.isOfTemplates() ? RepositorySet.NONE : repositorySet(group.resources);
        var code = group.isConditional ? Code.DEPENDS_ON_CONDITIONS : group.code;
        var conditionKeys = !group.isConditional ? List.<String>of() : relevantStatements(principal)
                .filter(statement -> group.actions.stream().anyMatch(actions(statement)::contains))
                .flatMap(statement -> principal.uncertainKeys(statement).stream()).distinct().sorted().toList();
        return new Finding(code, code.severity, principal.arn, ofBranches, set.name == null ? set.repositories : null,
                set.name == null ? set.exceptRepositories : null, set.name,
                isIam ? shownResources(group.resources) : null, group.actions, group.policies, conditionKeys,
                message(principal, group, conditionKeys), wayOut(principal, group).isEmpty() ? command : null, set);
    }

    RepositorySet repositorySet(List<String> arns) {
        var known = repositorySets.get(arns);
        if (known != null) {
            return known;
        }
        var names = arns.stream().map(arn -> arn.split(":", 6)[5]).sorted().toList();
        var isMost = names.size() > repositoryNames.size() / 2;
        var others = new ArrayList<>(isMost ? repositoryNames : List.<String>of());
        others.removeAll(new HashSet<>(names));
        var isFew = others.size() <= FEW && (isMost || names.size() <= FEW);
        var set = new RepositorySet(isFew ? null : "set-" + (repositorySets.size() + 1), names.size(),
                isMost ? List.of("*") : names, others, names);
        repositorySets.put(arns, set);
        return set;
    }

    /** All of a kind as one ARN. */
    List<String> shownResources(List<String> arns) {
        for (var universe : List.of(account.roles, account.users, account.groups, account.policies)) {
            if (universe.arns.size() > 1 && arns.size() == universe.arns.size()
                    && universe.arns.containsAll(new HashSet<>(arns))) {
                return List.of(arns.get(0).replaceFirst("/.*", "/*"));
            }
        }
        return arns;
    }

    String message(Principal principal, Group group, List<String> conditionKeys) {
        var can = switch (group.code) {
            case CAN_CHANGE_BRANCH -> "can change protected branches";
            case CAN_CHANGE_BRANCH_AMONG_OTHERS -> "can change protected branches by a request that names others too,"
                    + " should CodeCommit ask IAM for all of them at once";
            case CAN_ADMINISTER -> group.isOfTemplates() ? "can edit or delete approval rule templates"
                    : "can get around the protection of the repositories";
            default -> "can take a deny away, or act as somebody else";
        };
        return can + (group.isConditional ? ", if a request fulfils conditions on " + String.join(", ", conditionKeys)
                : "") + wayOut(principal, group);
    }

    /** What is to be done where no command mends it. */
    static String wayOut(Principal principal, Group group) {
        if (principal.owningService() != null) {
            return "; only AWS can change this role, which acts for " + principal.owningService() + ": delete it if"
                    + " the service is not used, or name it in --except-roles";
        }
        if (principal.isOfIdentityCenter()) {
            return "; change its permission set in IAM Identity Center";
        }
        return group.code != Code.CAN_EDIT_IAM ? ""
                : "; take these actions away, or set a permissions boundary without them; who may do this is named in"
                        + " --except-" + principal.kind + "s";
    }

    /**
     * That mends all findings of a principal that a command can mend: it is one for all of them, as a second deny under
     * the same name would take the place of the first.
     */
    String command(Principal principal, Collection<Group> groups) {
        var mended = groups.stream().filter(group -> wayOut(principal, group).isEmpty()).toList();
        var found = mended.stream().flatMap(group -> group.resources.stream()).filter(arn -> !arn.equals("*"))
                .map(arn -> arn.split(":", 6)[5]).collect(Collectors.toCollection(TreeSet::new));
        // what is of templates alone says nothing of repositories
        var names = found.isEmpty() ? repositoryNames : found;
        var isAll = repositories.all && names.size() == repositoryNames.size();
        return "./jbang apply-branch-deny --branches " + branches.stream().distinct()
                .map(branch -> quote(branch)).collect(Collectors.joining(" ")) + " "
                + (isAll || names.size() > FEW ? "--all-repositories" : "--repository-names " + String.join(" ", names))
                + " --" + principal.kind + "-names " + principal.name
                + (allowPullRequestMerges ? " --allow-pull-request-merges" : "") + freePolicyName(principal)
                + place();
    }

    /** A deny that the principal has already may be for other branches and repositories, and has to stay. */
    private String freePolicyName(Principal principal) {
        var usual = "codecommit-branch-deny-" + region();
        var own = principal.kind + "_" + principal.name + "_";
        var taken = principal.policies.stream().map(Policy::id).collect(Collectors.toSet());
        return IntStream.iterate(1, i -> i + 1).mapToObj(i -> i == 1 ? usual : usual + "-" + i)
                .filter(name -> !taken.contains(name) && !taken.contains(own + name)).findFirst()
                .filter(name -> !name.equals(usual)).map(name -> " --policy-name " + name).orElse("");
    }

    static Finding notAuditable(Principal principal, String error) {
        return Finding.ofGap(Code.NOT_AUDITABLE, principal.arn, null, error
                + "; policies/operators/audit-branch-protection.json has what an audit needs");
    }

    Finding notSimulated() {
        return Finding.ofGap(Code.NOT_SIMULATED, null, unknownActions, "IAM's simulator does not know these actions:"
                + " whether anybody is allowed them is not known; try them with the credentials of somebody who must"
                + " not");
    }

    static Listed listed(List<Finding> findings) {
        return new Listed(List.of("code", "severity", "principal", "branches", "repositories", "actions"),
                List.of("exceptRepositories", "resources", "policies", "conditionKeys", "message", "command"),
                findings.stream().map(finding -> Row.of(true, finding.code, finding.severity, finding.principal,
                        finding.branches, finding.all.repositories, finding.actions, finding.all.exceptRepositories,
                        finding.resources, finding.policies, finding.conditionKeys, finding.message, finding.command))
                        .toList());
    }

    static String summary(Result result) {
        var totals = result.totals;
        return totals.audited + " roles and users audited in " + result.repositories + " repositories, "
                + totals.excepted + " excepted, " + totals.allowedNothing + " allowed nothing: "
                + result.findings.size() + " findings";
    }

    static Set<String> iamActions(String... names) {
        return Stream.of(names).map(name -> "iam:" + name).collect(Collectors.toCollection(TreeSet::new));
    }

    @SafeVarargs
    static Set<String> union(Set<String>... sets) {
        return Stream.of(sets).flatMap(Set::stream).collect(Collectors.toCollection(TreeSet::new));
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

    //region The same in every script: lists for people

    @Option(names = "--output", paramLabel = "FORMAT", defaultValue = "json",
            description = "How the result is printed: json, csv for spreadsheets, or table for people."
                    + " Default: ${DEFAULT-VALUE}.")
    String output;

    /** East Asian wide characters and emoji, which take two columns of a terminal. */
    static final Pattern WIDE = Pattern.compile("[\\x{1100}-\\x{115f}\\x{2e80}-\\x{a4cf}\\x{a960}-\\x{a97f}"
            + "\\x{ac00}-\\x{d7a3}\\x{f900}-\\x{faff}\\x{fe30}-\\x{fe6f}\\x{ff00}-\\x{ff60}\\x{ffe0}-\\x{ffe6}"
            + "\\x{1f300}-\\x{1f64f}\\x{1f680}-\\x{1f6ff}\\x{1f900}-\\x{1f9ff}\\x{20000}-\\x{3fffd}]");
    /**
     * Before what a spreadsheet takes for the beginning of a formula: at the start of a value, and where one would
     * start for a spreadsheet that splits values at semicolons, tabs or ends of lines.
     */
    static final Pattern FORMULA = Pattern.compile("^(?=[-=+@\t\r\n\uff1d\uff0b\uff0d\uff20])"
            + "|(?<=[;\t\r\n])(?=[-=+@\uff1d\uff0b\uff0d\uff20])");
    /** Between the columns of a table. */
    static final String GAP = "  ";
    /** No column of a table becomes narrower to fit into a terminal. */
    static final int NARROWEST = 4;

    /** The columns of the terminal that stdout is; 0 if it is none. */
    IntSupplier terminalWidth = () -> System.console() == null ? 0 : terminalWidth();
    /** Whether a terminal gets colours, as it does in the help. */
    boolean colours = Help.Ansi.AUTO.enabled();

    /**
     * A result for people.
     *
     * @param columns the names of the first cells of each row
     * @param details the names of the other cells, which only CSV has room for
     */
    record Listed(List<String> columns, List<String> details, List<Row> rows) {}

    /**
     * A line of a list.
     *
     * @param isFinding whether something is wrong with it
     */
    record Row(boolean isFinding, List<?> cells) {
        static Row of(boolean isFinding, Object... cells) {
            return new Row(isFinding, Arrays.asList(cells));
        }
    }

    void checkOutput() {
        check("--output", output, "json|table|csv", "json, table or csv");
        if (print != null && !output.equals("json")) {
            throw wrong("--print: use it without --output " + output + "; it prints a part of the JSON document");
        }
    }

    /**
     * Prints the result as --output says.
     *
     * @param summary what a reader of a list wants to know first, for stderr
     */
    int print(Object result, Listed listed, String summary, int exitCode) {
        if (output.equals("json")) {
            return print(result, exitCode);
        }
        var out = spec.commandLine().getOut();
        out.print(output.equals("csv") ? csv(listed) : table(listed, terminalWidth.getAsInt()));
        if (out.checkError()) {
            throw new Failure("stdout cannot be written to; the result is: " + JSON.valueToTree(result));
        }
        note(summary);
        return exitCode;
    }

    /** By RFC 4180. */
    static String csv(Listed listed) {
        var names = Stream.concat(listed.columns.stream(), listed.details.stream()).toList();
        return Stream.concat(Stream.of(names), listed.rows.stream().map(Row::cells))
                .map(cells -> cells.stream().map(cell -> csvValue(cell)).collect(Collectors.joining(",")) + "\r\n")
                .collect(Collectors.joining());
    }

    /** A text cannot become a formula; a number stays one. */
    static String csvValue(Object cell) {
        var text = visible(text(cell));
        var value = cell instanceof Number ? text : FORMULA.matcher(text).replaceAll("'");
        return value.matches("(?s).*[\",;\t\r\n].*") ? "\"" + value.replace("\"", "\"\"") + "\"" : value;
    }

    /** @param width of the terminal, into which the lines have to fit; 0 if there is none */
    String table(Listed listed, int width) {
        var count = listed.columns.size();
        var lines = new ArrayList<List<String>>();
        lines.add(listed.columns.stream().map(name -> printable(name)).toList());
        listed.rows.forEach(row -> lines.add(row.cells.stream().limit(count).map(cell -> printable(cell)).toList()));
        var widths = IntStream.range(0, count).map(column -> lines.stream()
                .mapToInt(cells -> displayWidth(cells.get(column))).max().orElse(0)).toArray();
        if (width > 0) {
            narrow(widths, width - GAP.length() * (count - 1));
        }
        var isNumeric = IntStream.range(0, count).mapToObj(column -> isNumeric(listed.rows, column)).toList();
        var table = new StringBuilder();
        for (var i = 0; i < lines.size(); i++) {
            var line = line(lines.get(i), widths, isNumeric);
            var fitting = width > 0 ? cut(line, width) : line;
            var colour = i == 0 ? "\033[1m" : listed.rows.get(i - 1).isFinding ? "\033[31m" : "";
            var isColoured = width > 0 && colours && !colour.isEmpty();
            table.append(isColoured ? colour + fitting + "\033[0m" : fitting).append('\n');
        }
        return table.toString();
    }

    /** Takes from the widest columns until all fit, or none can be narrower. */
    static void narrow(int[] widths, int available) {
        while (IntStream.of(widths).sum() > available) {
            var widest = IntStream.range(0, widths.length).boxed().max(Comparator.comparing(i -> widths[i])).orElse(0);
            if (widths[widest] <= NARROWEST) {
                return;
            }
            widths[widest]--;
        }
    }

    static boolean isNumeric(List<Row> rows, int column) {
        var cells = rows.stream().map(row -> row.cells.get(column)).filter(Objects::nonNull).toList();
        return !cells.isEmpty() && cells.stream().allMatch(cell -> cell instanceof Number);
    }

    static String line(List<String> cells, int[] widths, List<Boolean> isNumeric) {
        var line = new StringBuilder();
        for (var i = 0; i < widths.length; i++) {
            var cell = cut(cells.get(i), widths[i]);
            var space = " ".repeat(widths[i] - displayWidth(cell));
            line.append(i == 0 ? "" : GAP).append(isNumeric.get(i) ? space + cell : cell + space);
        }
        return line.toString().stripTrailing();
    }

    /** A text in so many columns, with an ellipsis in the place of what is left out. */
    static String cut(String text, int width) {
        if (displayWidth(text) <= width) {
            return text;
        }
        var end = 0;
        var columns = 1; // of the ellipsis
        while (columns + displayWidth(text, end) <= width) {
            columns += displayWidth(text, end);
            end = text.offsetByCodePoints(end, 1);
        }
        return text.substring(0, end) + "\u2026";
    }

    static int displayWidth(String text) {
        var width = 0;
        for (var i = 0; i < text.length(); i = text.offsetByCodePoints(i, 1)) {
            width += displayWidth(text, i);
        }
        return width;
    }

    /** Of the character there; accents take none. */
    private static int displayWidth(String text, int index) {
        var type = Character.getType(text.codePointAt(index));
        if (type == Character.NON_SPACING_MARK || type == Character.ENCLOSING_MARK) {
            return 0;
        }
        return WIDE.matcher(Character.toString(text.codePointAt(index))).matches() ? 2 : 1;
    }

    /** A cell of a table, in one line. */
    static String printable(Object cell) {
        var text = text(cell).replaceAll("[\t\r\n]+", " ");
        return text.isEmpty() ? "-" : visible(text);
    }

    /** The text of a cell: "" if there is none, and the parts of a list in one. */
    private static String text(Object cell) {
        if (cell instanceof Collection<?> parts) {
            return parts.stream().map(part -> text(part)).collect(Collectors.joining(", "));
        }
        return Objects.toString(cell, "");
    }

    /** What the terminal says; 80 if it does not. */
    private static int terminalWidth() {
        try {
            var stty = new ProcessBuilder("stty", "size").redirectInput(new File("/dev/tty"))
                    .redirectError(ProcessBuilder.Redirect.DISCARD).start();
            var size = new String(stty.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            return size.matches("\\d+ [1-9]\\d*") ? Integer.parseInt(size.split(" ")[1]) : 80;
        } catch (IOException e) {
            return 80; // there is no stty
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

    //region The same in every script: batches

    /** The items in parts, for an operation that takes so many at once. */
    static <T> List<List<T>> batches(List<T> items, int size) {
        return IntStream.iterate(0, from -> from < items.size(), from -> from + size)
                .mapToObj(from -> items.subList(from, Math.min(from + size, items.size()))).toList();
    }

    //endregion

    //region The same in every script: ARNs

    /** Of a resource of this account and Region. */
    String arn(String service, String resource) {
        return "arn:" + caller.partition() + ":" + service + ":" + region() + ":" + caller.account() + ":" + resource;
    }

    //endregion

    //region The same in every script: names of branches

    /** Git's rules for a branch's name, with * and ? in it; beyond ASCII only letters that IAM takes in a policy. */
    static final String BRANCH = "(?!refs/|[./-])(?!.*(\\.\\.|@\\{|//|/\\.|\\.lock(/|$)))"
            + "[!-\\u00ff&&[^\\x7f-\\xa0~^:\\[\\\\]]{1,256}(?<![./])";

    static List<String> references(List<String> branches) {
        return branches.stream().distinct().map(branch -> "refs/heads/" + branch).toList();
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

    //region The same in every script: wildcards

    /** As IAM compares: * is any text, ? any one character. */
    static boolean isLike(String value, String pattern) {
        return like(pattern).matcher(value).matches();
    }

    /** To compare many values with one pattern. */
    static Pattern like(String pattern) {
        return Pattern.compile(Pattern.compile("[*?]").matcher(Pattern.quote(pattern))
                .replaceAll(wildcard -> wildcard.group().equals("*") ? "\\\\E.*\\\\Q" : "\\\\E.\\\\Q"));
    }

    //endregion

    //region The same in every script: protected branches

    /** All of CodeCommit's write actions that have the key codecommit:References. */
    static final Set<String> BRANCH_ACTIONS = actions("CreateBranch", "CreateCommit", "CreateUnreferencedMergeCommit",
            "DeleteBranch", "DeleteFile", "GitPush", "MergeBranchesByFastForward", "MergeBranchesBySquash",
            "MergeBranchesByThreeWay", "MergePullRequestByFastForward", "MergePullRequestBySquash",
            "MergePullRequestByThreeWay", "PutFile");
    /** Those of them that merge a pull request, about which approval rules decide. */
    static final Set<String> PULL_REQUEST_MERGES = actions("MergePullRequestByFastForward", "MergePullRequestBySquash",
            "MergePullRequestByThreeWay");
    /** What gets around the protection of a repository's branches. */
    static final Set<String> REPOSITORY_ACTIONS = actions("BatchDisassociateApprovalRuleTemplateFromRepositories",
            "DeletePullRequestApprovalRule", "DeleteRepository", "DisassociateApprovalRuleTemplateFromRepository",
            "OverridePullRequestApprovalRules", "UpdateDefaultBranch", "UpdatePullRequestApprovalRuleContent",
            "UpdateRepositoryEncryptionKey", "UpdateRepositoryName");
    /** The same, of actions that belong to no repository. */
    static final Set<String> TEMPLATE_ACTIONS = actions("DeleteApprovalRuleTemplate",
            "UpdateApprovalRuleTemplateContent", "UpdateApprovalRuleTemplateDescription",
            "UpdateApprovalRuleTemplateName");

    static Set<String> actions(String... names) {
        return Stream.of(names).map(name -> "codecommit:" + name).collect(Collectors.toCollection(TreeSet::new));
    }

    void checkBranches(List<String> branches) {
        if (branches.isEmpty()) {
            throw wrong("no branch to protect: use --branches, such as --branches main 'release/*'");
        }
        for (var branch : branches) {
            if (branch.contains("${")) {
                throw wrong("--branches '" + branch + "': IAM reads ${ as a variable; use ? in the place of $, such as"
                        + " 'a?{b}'");
            }
            check("--branches", branch, BRANCH,
                    "a branch's name without refs/heads/, or a pattern with * and ?, such as main or 'release/*'");
        }
    }

    /** References of some branches that are not among these, which may be patterns. */
    static List<String> unprotected(List<String> branches) {
        return references(Stream.of("unprotected", "x", "0/1", "another-unprotected-branch")
                .filter(name -> branches.stream().noneMatch(pattern -> isLike(name, pattern))).toList());
    }

    //endregion

    //region The same in every script: IAM's policy simulator

    static final ContextKeyTypeEnum ONE_VALUE = ContextKeyTypeEnum.STRING;
    static final ContextKeyTypeEnum LIST = ContextKeyTypeEnum.STRING_LIST;

    /** Actions that the simulator has refused as unknown. */
    final Set<String> unknownActions = new TreeSet<>();

    /** @param policies those whose statements decided */
    record Decision(String action, String resource, PolicyEvaluationDecisionType type, Set<String> policies) {
        boolean isDenied() {
            return type == PolicyEvaluationDecisionType.EXPLICIT_DENY;
        }
    }

    /**
     * What the simulator decides of actions; one that it does not know is left out and named.
     *
     * @param simulate asks it about some of the actions
     */
    List<Decision> decisions(Set<String> actions, Function<Set<String>, Stream<EvaluationResult>> simulate) {
        var known = new TreeSet<>(actions);
        known.removeAll(unknownActions);
        if (known.isEmpty()) {
            return List.of();
        }
        try {
            return simulate.apply(known).flatMap(result -> decisions(result)).distinct().toList();
        } catch (InvalidInputException e) {
            var refused = known.stream().filter(action -> isRefused(action, simulate)).toList();
            if (refused.isEmpty() || refused.size() == known.size()) {
                throw e; // for another reason than single actions
            }
            unknownActions.addAll(refused);
            note("IAM's simulator does not know " + String.join(", ", refused) + ": not simulated, so not proved");
            return decisions(actions, simulate);
        }
    }

    private static boolean isRefused(String action, Function<Set<String>, Stream<EvaluationResult>> simulate) {
        try {
            simulate.apply(Set.of(action)).forEach(result -> { });
            return false;
        } catch (InvalidInputException e) {
            return true;
        }
    }

    /** One for each resource, whether the simulator puts them into one result or several. */
    private static Stream<Decision> decisions(EvaluationResult result) {
        var action = result.evalActionName();
        if (result.resourceSpecificResults().isEmpty()) {
            return Stream.of(new Decision(action, result.evalResourceName(), result.evalDecision(),
                    policyIds(result.matchedStatements())));
        }
        return result.resourceSpecificResults().stream().map(specific -> new Decision(action,
                specific.evalResourceName(), specific.evalResourceDecision(),
                policyIds(specific.matchedStatements())));
    }

    private static Set<String> policyIds(List<Statement> statements) {
        return statements.stream().map(Statement::sourcePolicyId).collect(Collectors.toCollection(TreeSet::new));
    }

    /** @param type whether the request names one ref or, as a list, several */
    static ContextEntry referencesEntry(ContextKeyTypeEnum type, List<String> references) {
        return ContextEntry.builder().contextKeyName("codecommit:References").contextKeyType(type)
                .contextKeyValues(references).build();
    }

    //endregion
}
