///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Denies roles, groups or users every change of protected branches, and proves it by IAM's policy simulator.
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
//FILES policies/branch-deny.json=../policies/branch-deny.json
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

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
import picocli.CommandLine;
import picocli.CommandLine.*;
import picocli.CommandLine.Model.CommandSpec;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.awscore.client.builder.*;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.exception.*;
import software.amazon.awssdk.core.interceptor.*;
import software.amazon.awssdk.core.pagination.sync.SdkIterable;
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.PartitionMetadata;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.ContextEntry;
import software.amazon.awssdk.services.iam.model.ContextKeyTypeEnum;
import software.amazon.awssdk.services.iam.model.EntityAlreadyExistsException;
import software.amazon.awssdk.services.iam.model.EvaluationResult;
import software.amazon.awssdk.services.iam.model.InvalidInputException;
import software.amazon.awssdk.services.iam.model.LimitExceededException;
import software.amazon.awssdk.services.iam.model.NoSuchEntityException;
import software.amazon.awssdk.services.iam.model.PolicyEvaluationDecisionType;
import software.amazon.awssdk.services.iam.model.PolicyVersion;
import software.amazon.awssdk.services.iam.model.SimulatePrincipalPolicyRequest;
import software.amazon.awssdk.services.iam.model.Statement;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Keeps roles, groups and users from changing protected branches: attaches a policy that denies every CodeCommit action
 * which moves, creates or deletes such a branch, and proves it by IAM's policy simulator.
 *
 * <p>Changes in AWS: one inline policy of each principal, or with {@code --managed} one customer managed policy for all
 * of them. The policy has three statements, which are found again by Sid:
 * <ul>
 * <li>ProtectBranches denies the 13 write actions that name their branches, if one of the branches is protected. It
 * decides the same whether CodeCommit asks IAM for one branch at a time or for a list. With
 * {@code --allow-pull-request-merges} it leaves out the three that merge a pull request: then approval rules decide
 * about them, and what weakens those rules is denied by the other two statements.
 * <li>ProtectRepositories denies what gets around that: deleting or renaming a repository, changing its default branch
 * or key, overriding, editing or deleting approval rules, and disassociating approval rule templates.
 * <li>ProtectTemplates denies editing and deleting approval rule templates. They belong to no repository, so this holds
 * for all templates of the account, in every Region.
 * </ul>
 * {@code --allow-administration} leaves the last two out. Both options hold for this run: without them, the next run
 * denies again what they allow. Other statements of the policy are kept and named. An inline
 * policy that {@code --managed} replaces is taken off.
 *
 * <p>The policy is simulated on each principal before it is attached, and afterwards until it shows: changes of
 * protected branches and the administration are denied, also for a list in which only one branch is protected; other
 * branches, other repositories and requests that name no branch yet (every push begins with one) are not denied by it.
 * What another policy denies is named.
 *
 * <p>A second run with the same arguments changes nothing, and proves the policy again. {@code --remove} takes off what
 * this put on.
 *
 * <p>IAM actions:
 * <ul>
 * <li>iam:GetRole, iam:GetGroup, iam:GetUser, iam:SimulatePrincipalPolicy, iam:GetPolicy,
 * codecommit:BatchGetRepositories
 * <li>iam:ListRolePolicies, iam:GetRolePolicy, iam:PutRolePolicy, iam:DeleteRolePolicy; the same for groups:
 * iam:ListGroupPolicies, iam:GetGroupPolicy, iam:PutGroupPolicy, iam:DeleteGroupPolicy; for users:
 * iam:ListUserPolicies, iam:GetUserPolicy, iam:PutUserPolicy, iam:DeleteUserPolicy
 * <li>with {@code --managed} iam:GetPolicyVersion, iam:ListEntitiesForPolicy, iam:CreatePolicy,
 * iam:CreatePolicyVersion, iam:ListPolicyVersions, iam:DeletePolicyVersion, iam:DeletePolicy, iam:AttachRolePolicy,
 * iam:DetachRolePolicy, iam:AttachGroupPolicy, iam:DetachGroupPolicy, iam:AttachUserPolicy, iam:DetachUserPolicy
 * </ul>
 */
@Command(name = "apply-branch-deny", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Denies roles, groups or users every change of protected branches, and proves it by IAM's policy"
                + " simulator.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: some principals, or the deletion of a managed policy, failed; the rest is complete",
                "130, 143:interrupted"},
        footerHeading = "%nLimits:%n"
                + "  The account's root user is not bound by this, nor is anyone who may change%n"
                + "  IAM policies. Approval rule templates belong to no repository: editing and%n"
                + "  deleting them is denied in the whole account. A push of several branches is%n"
                + "  denied as a whole or only for the protected ones, as CodeCommit asks IAM. The%n"
                + "  simulator is IAM's word, not CodeCommit's: try a push as well.%n"
                + "%nExamples:%n",
        footer = {"  ./jbang apply-branch-deny --branches main 'release/*' --all-repositories \\",
                "      --role-names Developer --dry-run",
                "  ./jbang apply-branch-deny --branches main \\",
                "      --repository-names payments orders \\",
                "      --group-names Developers --user-names alice --managed"})
class ApplyBranchDeny implements Callable<Integer> {
    @Option(names = "--branches", paramLabel = "NAME", arity = "1..*",
            description = "Branches to protect: names, or patterns with * and ?, such as 'release/*'.")
    List<String> branches = List.of();

    @ArgGroup
    Repositories repositories = new Repositories();

    static class Repositories {
        @Option(names = "--repository-names", paramLabel = "NAME", arity = "1..*",
                description = "Names of repositories.")
        List<String> names = List.of();

        @Option(names = "--all-repositories",
                description = "All repositories of the account in the Region, future ones too.")
        boolean all;
    }

    @Option(names = "--role-names", paramLabel = "NAME", arity = "1..*", description = "Roles to deny it to.")
    List<String> roles = List.of();

    @Option(names = "--group-names", paramLabel = "NAME", arity = "1..*", description = "IAM groups to deny it to.")
    List<String> groups = List.of();

    @Option(names = "--user-names", paramLabel = "NAME", arity = "1..*", description = "IAM users to deny it to.")
    List<String> users = List.of();

    @Option(names = "--policy-name", paramLabel = "NAME",
            description = "Name of the policy. Default: codecommit-branch-deny-REGION.")
    String policyName;

    @Option(names = "--managed",
            description = "One customer managed policy, attached to each, instead of inline policies.")
    boolean managed;

    @Option(names = "--allow-pull-request-merges",
            description = "Does not deny merging pull requests into the branches, for approval rules to decide about"
                    + " (./jbang require-approval); a pull request without a rule needs no approval. Every other change"
                    + " of the branches stays denied.")
    boolean allowPullRequestMerges;

    @Option(names = "--allow-administration",
            description = "Denies only changes of branches. Else these are denied too: deleting and renaming"
                    + " repositories, changing default branches and keys, overriding, editing and deleting approval"
                    + " rules, disassociating approval rule templates, and, in the whole account, editing and deleting"
                    + " templates.")
    boolean allowAdministration;

    @Option(names = "--remove",
            description = "Takes the policy off, inline or managed, and deletes a managed one that is attached to"
                    + " nobody else.")
    boolean remove;

    /** The printed document. */
    record Result(String status, String account, String region, List<PrincipalPolicy> policies, List<Change> changes,
            String undo) {}

    /**
     * @param principal its ARN; of one that failed, kind/name; null for the managed policy that was not deleted
     * @param policyArn with --managed
     * @param policy in a dry run
     * @param deniedByOthers policies that deny more than this one
     */
    @JsonInclude(JsonInclude.Include.NON_EMPTY)
    record PrincipalPolicy(String principal, String policyName, String policyArn, String status, JsonNode policy,
            List<Simulated> simulated, Set<String> deniedByOthers, String error) {}

    /**
     * The actions of a request by what the simulator decides of them.
     *
     * @param reference the branch's ref; a list for a request that names several, null for one that names none
     * @param repository one that the policy is not about, or * for actions that belong to none; else null
     */
    @JsonInclude(JsonInclude.Include.NON_EMPTY)
    record Simulated(@JsonInclude Object reference, String repository, Set<String> explicitDeny, Set<String> allowed,
            Set<String> implicitDeny) {}

    static final String BRANCHES_SID = "ProtectBranches";
    static final Set<String> OWN_SIDS = Set.of(BRANCHES_SID, "ProtectRepositories", "ProtectTemplates");
    /** Of a policy, in characters that are not white space. */
    static final int MANAGED_QUOTA = 6144;
    static final int MANAGED_VERSIONS = 5;
    /** Ends the name of a repository that the policy is not about. */
    static final String OTHER = "-not-this-one";

    /** How long the simulator may take to show a policy that was attached; usually seconds. */
    Duration proofPatience = Duration.ofSeconds(60);

    IamClient iam;
    List<Principal> principals;
    ObjectNode wantedPolicy;
    ManagedPolicy managedPolicy;
    Simulator simulator;

    public static void main(String[] args) {
        System.exit(new ApplyBranchDeny().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        principals = principals();
        checkOptions();
        if (allowPullRequestMerges && allowAdministration && !remove) {
            note("with --allow-administration, approval rules can be overridden and their templates changed: then"
                    + " nothing asks for approvals");
        }
        connect();
        iam = client(IamClient.builder());
        if (!remove) {
            checkExistence(repositories.names);
            wantedPolicy = policy(name -> arn("codecommit", name));
            simulator = new Simulator(questions());
        }
        managedPolicy = new ManagedPolicy();
        naming(managedPolicy.arn, () -> managedPolicy.read());
        each(principal -> read(principal));
        if (remove) {
            removeAll();
        } else {
            each(principal -> prepare(principal));
            each(principal -> attach(principal));
            each(principal -> prove(principal));
        }
        var failures = principals.stream().filter(principal -> principal.error != null).count();
        if (failures == principals.size()) {
            return 1;
        }
        var policies = Stream.concat(principals.stream().map(principal -> entry(principal)),
                Stream.ofNullable(managedPolicy.failedEntry())).toList();
        var isComplete = failures == 0 && managedPolicy.error == null;
        return print(new Result(printed(strongest(changes)), caller.account(), region(), policies, changes, undo()),
                isComplete ? 0 : 3);
    }

    List<Principal> principals() {
        var given = Stream.of(principals(Kind.ROLE, roles, 64, "Developer"),
                principals(Kind.GROUP, groups, 128, "Developers"), principals(Kind.USER, users, 64, "alice"))
                .flatMap(List::stream).toList();
        if (given.isEmpty()) {
            throw wrong("no principal to deny it to: use --role-names, --group-names or --user-names, such as"
                    + " --role-names Developer");
        }
        return given;
    }

    private List<Principal> principals(Kind kind, List<String> names, int maxLength, String example) {
        names.forEach(name -> check("--" + kind + "-names", name, "[\\w+=,.@-]{1," + maxLength + "}",
                "a " + kind + "'s name without its path, such as " + example));
        return names.stream().distinct().map(name -> new Principal(kind, name)).toList();
    }

    void checkOptions() {
        if (policyName != null) {
            check("--policy-name", policyName, "[\\w+=,.@-]{1,128}",
                    "up to 128 letters, digits and + = , . @ _ -, such as branch-deny");
        }
        if (!remove) {
            checkBranches(branches);
            if (repositories.names.isEmpty() && !repositories.all) {
                throw wrong("no repository to protect: use --all-repositories, or --repository-names such as"
                        + " --repository-names payments");
            }
            repositories.names.forEach(name -> checkRepositoryName("--repository-names", name));
            checkSize();
        }
        if (policyName == null) {
            policyName = "codecommit-branch-deny-" + region();
        }
    }

    /** All account ids have the same length, so the size of the policy is known before AWS is asked. */
    void checkSize() {
        var arns = "arn:" + PartitionMetadata.of(Region.of(region())).id() + ":codecommit:" + region()
                + ":111122223333:";
        var size = size(policy(name -> arns + name).toString());
        var inlineQuota = principals.stream().mapToInt(principal -> principal.kind.inlineQuota).min().orElseThrow();
        if (size > (managed ? MANAGED_QUOTA : inlineQuota)) {
            var quota = managed ? "a managed policy holds " + MANAGED_QUOTA + ": use "
                    : "inline policies hold " + inlineQuota + ": use --managed, or ";
            throw wrong("the policy has " + size + " characters, and " + quota
                    + "fewer --branches or --repository-names, or patterns, or --all-repositories");
        }
    }

    /** Takes a step for each principal that has not failed; one that fails does not stop the others. */
    void each(Consumer<Principal> step) {
        principals.stream().filter(principal -> principal.error == null)
                .forEach(principal -> takeStep(step, principal));
    }

    private void takeStep(Consumer<Principal> step, Principal principal) {
        try {
            naming(principal.toString(), () -> {
                step.accept(principal);
                return principal;
            });
        } catch (RuntimeException e) {
            fail(e);
            principal.error = reason(e);
        }
    }

    /** What IAM has of a principal. */
    void read(Principal principal) {
        principal.arn = operations(principal).getArn().apply(principal.name);
        principal.inlinePolicy = inlineText(principal, policyName).map(text -> parsedPolicy(text)).orElse(null);
    }

    /** Refuses all that can be refused before something is changed. */
    void prepare(Principal principal) {
        var present = presentPolicy(principal);
        var wanted = withOwnStatements(present);
        var isSame = present != null && sameMeaning(present, wanted);
        var isAttached = managed ? managedPolicy.isAttachedTo(principal) : isSame;
        if (!isAttached) {
            checkChangeable(principal);
        }
        if (dryRun || !isSame || !isAttached) {
            checkQuota(principal, wanted);
            principal.proof = simulator.ask(principal, wantedPolicy);
            if (!principal.proof.holds()) {
                throw new Failure("nothing was attached, because with the policy " + principal.proof.fault());
            }
        }
    }

    /** The policy of our name, as it is; null if there is none. */
    ObjectNode presentPolicy(Principal principal) {
        return managed ? managedPolicy.document : principal.inlinePolicy;
    }

    /** Refuses a role that IAM does not let its own operations change. */
    static void checkChangeable(Principal principal) {
        if (principal.arn.contains(":role/aws-reserved/sso.amazonaws.com/")) {
            throw new Failure("only its permission set in IAM Identity Center can change this role: change its policies"
                    + " there; a dry run for another principal prints this one, with --print /policies/0/policy");
        }
    }

    /** All inline policies of a principal share its quota. */
    void checkQuota(Principal principal, ObjectNode wanted) {
        var size = size(wanted.toString());
        if (!managed) {
            for (var name : operations(principal).listInline().apply(principal.name)) {
                size += name.equals(policyName) ? 0 : size(inlineText(principal, name).orElse(""));
            }
        }
        var quota = managed ? MANAGED_QUOTA : principal.kind.inlineQuota;
        if (size > quota) {
            var wayOut = managed ? "use another --policy-name" : "use --managed";
            throw new Failure((managed ? "the policy" : "its inline policies together") + " would have " + size
                    + " characters, of at most " + quota + ": " + wayOut);
        }
    }

    void attach(Principal principal) {
        if (managed) {
            managedPolicy.bringInLine();
            managedPolicy.attach(principal);
            takeOffInline(principal);
        } else {
            if (managedPolicy.isAttachedTo(principal)) {
                note(principal + ": has " + managedPolicy.arn + " as well; --managed changes that one, --remove takes"
                        + " both off");
            }
            putInline(principal);
        }
    }

    /** Waits until the simulator shows what was attached; a dry run has only what {@link #prepare} simulated. */
    void prove(Principal principal) {
        if (!dryRun && poll(proofPatience, () -> shownProof(principal)).isEmpty()) {
            throw new Failure("the policy " + policyName + " is attached, but after " + proofPatience.toSeconds()
                    + " s IAM's simulator says: " + principal.proof.fault() + "; run the same command again, or take"
                    + " it off: ./jbang " + spec.name() + " --remove --" + principal.kind + "-names " + principal.name
                    + " --policy-name " + policyName + place());
        }
        var others = principal.proof.deniedByOthers();
        if (!others.isEmpty()) {
            note(principal + ": other policies deny more than this one does: " + String.join(", ", others));
        }
    }

    private Optional<Proof> shownProof(Principal principal) {
        principal.proof = simulator.ask(principal, null);
        if (principal.proof.holds()) {
            return Optional.of(principal.proof);
        }
        note(principal + ": attached; waiting for IAM's simulator to show it, " + principal.proof.wrong().size()
                + " decisions to go ...");
        return Optional.empty();
    }

    void removeAll() {
        each(principal -> {
            takeOffInline(principal);
            managedPolicy.detach(principal);
        });
        if (principals.stream().anyMatch(principal -> principal.error == null)) {
            managedPolicy.deleteUnused();
        }
    }

    /** What is printed of a principal. */
    PrincipalPolicy entry(Principal principal) {
        if (principal.error != null) {
            return new PrincipalPolicy(principal.toString(), policyName, null, "failed", null, null, null,
                    principal.error);
        }
        var resources = managed ? Set.of(principal.toString(), managedPolicy.arn) : Set.of(principal.toString());
        var status = strongest(changes.stream().filter(change -> resources.contains(change.resource())).toList());
        return new PrincipalPolicy(principal.arn, policyName, managed && !remove ? managedPolicy.arn : null,
                printed(status), dryRun && !remove ? withOwnStatements(presentPolicy(principal)) : null,
                principal.proof.simulated(), principal.proof.deniedByOthers(), null);
    }

    /** @param repositoryArn the ARN for a repository's name or * */
    ObjectNode policy(UnaryOperator<String> repositoryArn) {
        var names = repositories.all ? Stream.of("*") : repositories.names.stream().distinct();
        var policy = template("branch-deny.json",
                Map.of("references", references(branches), "repositories", names.map(repositoryArn).toList(),
                        "merges", allowPullRequestMerges ? "codecommit:MergeBranches*" : "codecommit:Merge*"));
        if (allowAdministration) {
            policy.withArray("Statement").removeIf(statement -> !sid(statement).equals(BRANCHES_SID));
        }
        return policy;
    }

    /** The wanted policy, with the statements of the present one that are not ours. */
    ObjectNode withOwnStatements(ObjectNode present) {
        if (present == null) {
            return wantedPolicy;
        }
        if (isForeign(present)) {
            throw new Failure("there is a policy " + policyName + " already, which is not this script's; use another"
                    + " --policy-name");
        }
        var merged = present.deepCopy();
        merged.putArray("Statement").addAll(foreignStatements(present, OWN_SIDS)).addAll(statements(wantedPolicy));
        return merged;
    }

    static boolean isForeign(ObjectNode policy) {
        return foreignStatements(policy, OWN_SIDS).size() == statements(policy).size();
    }

    void noteForeignStatements(String resource, ObjectNode policy) {
        var foreign = foreignStatements(policy, OWN_SIDS);
        if (!foreign.isEmpty()) {
            note(resource + ": kept statements of " + policyName + " that are not this script's: " + sids(foreign));
        }
    }

    /** One policy has one scope, the last one that was given: says what it protected and protects no longer. */
    void noteNarrower(String resource, ObjectNode present, ObjectNode wanted) {
        var left = new ArrayList<String>();
        for (var part : List.of("/Resource", "/Condition/ForAnyValue:StringLike/codecommit:References")) {
            var patterns = protectedBy(wanted, part);
            protectedBy(present, part).stream().filter(one -> patterns.stream().noneMatch(pattern -> isLike(one,
                    pattern))).forEach(left::add);
        }
        if (!left.isEmpty()) {
            note(resource + ": " + policyName + (dryRun ? " would protect no longer: " : " protects no longer: ")
                    + String.join(", ", left) + "; use another --policy-name to have both");
        }
    }

    private static List<String> protectedBy(ObjectNode policy, String part) {
        return statements(policy).stream().filter(statement -> sid(statement).equals(BRANCHES_SID))
                .flatMap(statement -> texts(statement.at(part))).toList();
    }

    /** What IAM counts of a policy: everything but white space. */
    static int size(String document) {
        return document.replaceAll("\\s", "").length();
    }

    Optional<String> inlineText(Principal principal, String name) {
        try {
            return Optional.of(percentDecoded(operations(principal).getInline().apply(principal.name, name)));
        } catch (NoSuchEntityException e) {
            return Optional.empty();
        }
    }

    void putInline(Principal principal) {
        var present = principal.inlinePolicy;
        var wanted = withOwnStatements(present);
        Runnable put = () -> operations(principal).putInline().put(principal.name, policyName, wanted.toString());
        if (present == null) {
            change(Change.creation(principal.toString(), "inlinePolicy", wanted),
                    command("delete", principal, "--policy-name " + policyName), put);
            return;
        }
        noteForeignStatements(principal.toString(), present);
        if (!sameMeaning(present, wanted)) {
            change(Change.update(principal.toString(), "inlinePolicy", present, wanted), putBack(principal), put);
            noteNarrower(principal.toString(), present, wanted);
        }
    }

    /** Takes off the inline policy of our name; if it has statements of others, only our own. */
    void takeOffInline(Principal principal) {
        var present = principal.inlinePolicy;
        if (present == null) {
            return;
        }
        if (isForeign(present)) {
            note(principal + ": left its inline policy " + policyName + " alone, which is not this script's");
            return;
        }
        checkChangeable(principal);
        var others = foreignStatements(present, OWN_SIDS);
        var kept = others.isEmpty() ? null : present.deepCopy();
        if (kept != null) {
            kept.putArray("Statement").addAll(others);
        }
        var change = remove ? Change.deletion(principal.toString(), "inlinePolicy", present, kept)
                : Change.update(principal.toString(), "inlinePolicy", present, kept);
        change(change, putBack(principal), () -> {
            if (kept != null) {
                operations(principal).putInline().put(principal.name, policyName, kept.toString());
            } else {
                unlessGone(() -> operations(principal).deleteInline().apply(principal.name, policyName));
            }
        });
    }

    /** The command that puts the inline policy back as it is now. */
    String putBack(Principal principal) {
        return command("put", principal, "--policy-name " + policyName + " --policy-document "
                + quote(principal.inlinePolicy.toString()));
    }

    /** An AWS CLI command for a policy of a principal. */
    String command(String verb, Principal principal, String policy) {
        return aws("iam " + verb + "-" + principal.kind + "-policy --" + principal.kind + "-name " + principal.name
                + " " + policy);
    }

    /** A deletion that is repeated because its answer was lost finds nothing more to delete. */
    static void unlessGone(Runnable deletion) {
        try {
            deletion.run();
        } catch (NoSuchEntityException e) {
            return;
        }
    }

    /** The customer managed policy of our name. */
    class ManagedPolicy {
        final String arn = "arn:" + caller.partition() + ":iam::" + caller.account() + ":policy/" + policyName;
        /** As it is; null if there is none. */
        ObjectNode document;
        private String description;
        private String defaultVersion;
        /** Principals, as kind/name. */
        private final Set<String> attachedTo = new TreeSet<>();
        private boolean isInLine;
        /** Why it could not be brought in line or deleted; null if it could, or this was not tried. */
        String error;

        /** Whether it exists. */
        boolean read() {
            try {
                var policy = iam.getPolicy(r -> r.policyArn(arn)).policy();
                description = policy.description();
                defaultVersion = policy.defaultVersionId();
            } catch (NoSuchEntityException e) {
                return false;
            }
            document = parsedPolicy(percentDecoded(iam.getPolicyVersion(
                    r -> r.policyArn(arn).versionId(defaultVersion)).policyVersion().document()));
            for (var page : iam.listEntitiesForPolicyPaginator(r -> r.policyArn(arn))) {
                page.policyRoles().forEach(role -> attachedTo.add("role/" + role.roleName()));
                page.policyGroups().forEach(group -> attachedTo.add("group/" + group.groupName()));
                page.policyUsers().forEach(user -> attachedTo.add("user/" + user.userName()));
            }
            return true;
        }

        boolean isAttachedTo(Principal principal) {
            return attachedTo.contains(principal.toString());
        }

        /**
         * Creates or updates the policy, once for all principals. What is refused for one is not tried for the next: by
         * then this knows the policy of whoever was faster, and would change it.
         */
        void bringInLine() {
            if (error != null) {
                throw new Failure(error);
            }
            if (isInLine) {
                return;
            }
            try {
                naming(arn, () -> {
                    if (document == null) {
                        create();
                    } else {
                        update();
                    }
                    return arn;
                });
            } catch (RuntimeException e) {
                error = reason(e);
                throw e;
            }
            isInLine = true;
        }

        private void create() {
            try {
                if (!dryRun) {
                    iam.createPolicy(r -> r.policyName(policyName).policyDocument(wantedPolicy.toString())
                            .description("Denies changes of protected CodeCommit branches"));
                }
            } catch (EntityAlreadyExistsException e) {
                if (!read() || !sameMeaning(document, wantedPolicy)) {
                    throw new Failure(reason(e) + "; someone else created it in the meantime: the same command again"
                            + " compares it with what is wanted", e);
                }
                if (!isDoubtful(e)) {
                    note(arn + ": someone else created it in the meantime");
                    return;
                }
            }
            record(Change.creation(arn, "policy", wantedPolicy), aws("iam delete-policy --policy-arn " + arn));
        }

        private void update() {
            var wanted = withOwnStatements(document);
            noteForeignStatements(arn, document);
            if (sameMeaning(document, wanted)) {
                return;
            }
            var others = new TreeSet<>(attachedTo);
            principals.forEach(principal -> others.remove(principal.toString()));
            if (!others.isEmpty()) {
                note(arn + ": changes for others as well who have it attached: " + String.join(", ", others));
            }
            var before = document;
            change(Change.update(arn, "policy", before, wanted),
                    aws("iam set-default-policy-version --policy-arn " + arn + " --version-id " + defaultVersion),
                    () -> addVersion(wanted));
            noteNarrower(arn, before, wanted);
        }

        private void addVersion(ObjectNode wanted) {
            var old = oldVersions();
            if (old.size() + 1 >= MANAGED_VERSIONS) {
                deleteVersion(old.get(0));
            }
            try {
                iam.createPolicyVersion(r -> r.policyArn(arn).policyDocument(wanted.toString()).setAsDefault(true));
            } catch (LimitExceededException e) {
                if (!read() || !sameMeaning(document, wanted)) { // not by an attempt whose answer was lost
                    throw e;
                }
            }
        }

        void attach(Principal principal) {
            if (!isAttachedTo(principal)) {
                change(Change.creation(principal.toString(), "attachedPolicies", arn),
                        command("detach", principal, "--policy-arn " + arn),
                        () -> naming(arn, () -> operations(principal).attach().apply(principal.name, arn)));
                attachedTo.add(principal.toString());
            }
        }

        void detach(Principal principal) {
            if (!isAttachedTo(principal)) {
                return;
            }
            if (isForeign(document)) {
                note(principal + ": left " + arn + " attached, which is not this script's");
                return;
            }
            checkChangeable(principal);
            change(Change.deletion(principal.toString(), "attachedPolicies", arn, null),
                    command("attach", principal, "--policy-arn " + arn),
                    () -> unlessGone(() -> operations(principal).detach().apply(principal.name, arn)));
            attachedTo.remove(principal.toString());
        }

        /** Deletes the policy unless someone needs it. That it was taken off stays true if this fails. */
        void deleteUnused() {
            try {
                naming(arn, () -> {
                    tryToDelete();
                    return arn;
                });
            } catch (RuntimeException e) {
                fail(e);
                error = reason(e);
            }
        }

        /** What is printed of the policy itself if it could not be deleted; else null. */
        PrincipalPolicy failedEntry() {
            return error == null || !remove ? null
                    : new PrincipalPolicy(null, policyName, arn, "failed", null, null, null, error);
        }

        /** Keeps it if someone has it attached or added statements to it. */
        private void tryToDelete() {
            if (document == null || isForeign(document)) {
                return;
            }
            if (!attachedTo.isEmpty()) {
                note(arn + ": kept, because it is attached to " + String.join(", ", attachedTo));
                return;
            }
            if (!foreignStatements(document, OWN_SIDS).isEmpty()) {
                note(arn + ": kept, because it has statements that are not this script's");
                return;
            }
            var creation = new TreeMap<>(Map.of("PolicyName", policyName, "PolicyDocument", document.toString()));
            if (description != null) {
                creation.put("Description", description);
            }
            change(Change.deletion(arn, "policy", document, null), aws("iam create-policy", creation), () -> {
                oldVersions().forEach(version -> deleteVersion(version));
                unlessGone(() -> iam.deletePolicy(r -> r.policyArn(arn)));
            });
        }

        /** All versions but the default one, the oldest first. */
        private List<PolicyVersion> oldVersions() {
            return iam.listPolicyVersionsPaginator(r -> r.policyArn(arn)).versions().stream()
                    .filter(version -> !version.isDefaultVersion())
                    .sorted(Comparator.comparing(version -> Integer.valueOf(version.versionId().substring(1))))
                    .toList();
        }

        private void deleteVersion(PolicyVersion version) {
            unlessGone(() -> iam.deletePolicyVersion(r -> r.policyArn(arn).versionId(version.versionId())));
        }
    }

    /** One request of each kind that the policy has to decide. */
    List<Question> questions() {
        var names = repositories.all ? List.of("any-repository") : repositories.names;
        var inside = names.stream().distinct().map(name -> arn("codecommit", name)).toList();
        var wanted = references(branches).stream().map(reference -> reference.replaceAll("[*?]", "x")).toList();
        var free = unprotected(branches);
        var repositoryActions = allowAdministration ? Set.<String>of() : REPOSITORY_ACTIONS;
        var templateActions = allowAdministration ? Set.<String>of() : TEMPLATE_ACTIONS;
        var branchActions = new TreeSet<>(BRANCH_ACTIONS);
        if (allowPullRequestMerges) {
            branchActions.removeAll(PULL_REQUEST_MERGES);
        }
        var all = new TreeSet<>(BRANCH_ACTIONS);
        all.addAll(REPOSITORY_ACTIONS);

        var questions = new ArrayList<Question>();
        for (var reference : wanted) {
            questions.add(new Question(ONE_VALUE, List.of(reference), BRANCH_ACTIONS, inside, branchActions));
        }
        var mixed = Stream.concat(free.stream().limit(1), wanted.stream().limit(1)).toList();
        questions.add(new Question(LIST, mixed, BRANCH_ACTIONS, inside, branchActions));
        if (!free.isEmpty()) {
            questions.add(new Question(ONE_VALUE, free.subList(0, 1), BRANCH_ACTIONS, inside, Set.of()));
            questions.add(new Question(LIST, free, BRANCH_ACTIONS, inside, Set.of()));
        }
        questions.add(new Question(null, List.of(), all, inside, repositoryActions));
        questions.add(new Question(null, List.of(), TEMPLATE_ACTIONS, List.of("*"), templateActions));
        if (!repositories.all) {
            questions.add(new Question(ONE_VALUE, wanted.subList(0, 1), all, List.of(inside.get(0) + OTHER), Set.of()));
        }
        return questions;
    }

    /** IAM's policy simulator. */
    class Simulator {
        private final List<Question> questions;

        Simulator(List<Question> questions) {
            this.questions = questions;
        }

        /** @param addition a policy that is not attached yet; null to ask about the policies as they are attached */
        Proof ask(Principal principal, ObjectNode addition) {
            var attachedIds = Set.of(policyName, principal.kind + "_" + principal.name + "_" + policyName);
            Predicate<String> isOurs = id -> addition == null ? attachedIds.contains(id)
                    : id.startsWith("PolicyInputList");
            var simulated = new ArrayList<Simulated>();
            var wrong = new ArrayList<Answer>();
            var others = new TreeSet<String>();
            for (var question : questions) {
                var decisions = decisions(question.actions(), known -> simulate(principal, question, addition, known));
                simulated.add(question.simulated(decisions));
                var answers = decisions.stream().map(decision -> new Answer(question, decision)).toList();
                answers.stream().filter(answer -> answer.isWrong(isOurs)).forEach(wrong::add);
                answers.stream().filter(answer -> answer.decision().isDenied() && !answer.mustBeDenied())
                        .flatMap(answer -> answer.decision().policies().stream()).forEach(others::add);
            }
            others.removeIf(id -> isOurs.test(id) || attachedIds.contains(id));
            return new Proof(simulated, wrong, others);
        }

        private Stream<EvaluationResult> simulate(Principal principal, Question question, ObjectNode addition,
                Set<String> actions) {
            var request = SimulatePrincipalPolicyRequest.builder().policySourceArn(principal.arn).actionNames(actions)
                    .resourceArns(question.resources());
            if (addition != null) {
                request.policyInputList(addition.toString());
            }
            if (question.type() != null) {
                request.contextEntries(referencesEntry(question.type(), question.references()));
            }
            return iam.simulatePrincipalPolicyPaginator(request.build()).evaluationResults().stream();
        }
    }

    /**
     * A request that the policy has to decide.
     *
     * @param type of the key codecommit:References; null if the request does not have it, as the first one of a push
     * @param mustBeDenied those of the actions that the policy has to deny; the others it must not deny
     */
    record Question(ContextKeyTypeEnum type, List<String> references, Set<String> actions, List<String> resources,
            Set<String> mustBeDenied) {
        Simulated simulated(List<Decision> decisions) {
            var printed = type == LIST ? references : references.stream().findFirst().orElse(null);
            var unusual = resources.stream().filter(arn -> arn.equals("*") || arn.endsWith(OTHER)).findFirst();
            return new Simulated(printed, unusual.orElse(null),
                    actions(decisions, PolicyEvaluationDecisionType.EXPLICIT_DENY),
                    actions(decisions, PolicyEvaluationDecisionType.ALLOWED),
                    actions(decisions, PolicyEvaluationDecisionType.IMPLICIT_DENY));
        }

        private static Set<String> actions(List<Decision> decisions, PolicyEvaluationDecisionType type) {
            return decisions.stream().filter(decision -> decision.type() == type).map(Decision::action)
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }

    /** What the simulator decided of a question's action and resource. */
    record Answer(Question question, Decision decision) {
        boolean mustBeDenied() {
            return question.mustBeDenied().contains(decision.action());
        }

        /** What only other policies deny is not wrong. */
        boolean isWrong(Predicate<String> isOurs) {
            return mustBeDenied() ? !decision.isDenied()
                    : decision.isDenied() && decision.policies().stream().anyMatch(isOurs);
        }

        @Override
        public String toString() {
            var references = question.references().isEmpty() ? "no branch"
                    : String.join(" with ", question.references());
            return decision.action() + " on " + references + " of " + decision.resource().replaceAll(".*:", "")
                    + " is " + decision.type();
        }
    }

    /** @param wrong the decisions that are not as they have to be */
    record Proof(List<Simulated> simulated, List<Answer> wrong, Set<String> deniedByOthers) {
        static final Proof NONE = new Proof(List.of(), List.of(), Set.of());

        boolean holds() {
            return wrong.isEmpty();
        }

        String fault() {
            var more = wrong.size() - 1;
            return wrong.get(0) + (more == 0 ? "" : ", and " + more + " more "
                    + (more == 1 ? "decision is not as it" : "decisions are not as they") + " should be");
        }
    }

    enum Kind {
        ROLE(10240), GROUP(5120), USER(2048);

        /** Of all inline policies of a principal together, in characters that are not white space. */
        final int inlineQuota;

        Kind(int inlineQuota) {
            this.inlineQuota = inlineQuota;
        }

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** A principal, and what this run has found out about it. */
    static class Principal {
        final Kind kind;
        final String name;
        String arn;
        /** The one of our name, as it is; null if there is none. */
        ObjectNode inlinePolicy;
        Proof proof = Proof.NONE;
        /** Why a step failed; null if none did. */
        String error;

        Principal(Kind kind, String name) {
            this.kind = kind;
            this.name = name;
        }

        @Override
        public String toString() {
            return kind + "/" + name;
        }
    }

    /**
     * IAM's operations on one kind of principal. All take the principal's name first, then the name of an inline policy
     * or the ARN of a managed one.
     */
    record Operations(UnaryOperator<String> getArn, Function<String, SdkIterable<String>> listInline,
            BinaryOperator<String> getInline, InlinePut putInline, BiFunction<String, String, ?> deleteInline,
            BiFunction<String, String, ?> attach, BiFunction<String, String, ?> detach) {}

    interface InlinePut {
        void put(String principalName, String policyName, String document);
    }

    final Map<Kind, Operations> operations = Map.of(
            Kind.ROLE, new Operations(name -> iam.getRole(r -> r.roleName(name)).role().arn(),
                    name -> iam.listRolePoliciesPaginator(r -> r.roleName(name)).policyNames(),
                    (name, policy) -> iam.getRolePolicy(r -> r.roleName(name).policyName(policy)).policyDocument(),
                    (name, policy, text) -> iam.putRolePolicy(
                            r -> r.roleName(name).policyName(policy).policyDocument(text)),
                    (name, policy) -> iam.deleteRolePolicy(r -> r.roleName(name).policyName(policy)),
                    (name, arn) -> iam.attachRolePolicy(r -> r.roleName(name).policyArn(arn)),
                    (name, arn) -> iam.detachRolePolicy(r -> r.roleName(name).policyArn(arn))),
            Kind.GROUP, new Operations(name -> iam.getGroup(r -> r.groupName(name)).group().arn(),
                    name -> iam.listGroupPoliciesPaginator(r -> r.groupName(name)).policyNames(),
                    (name, policy) -> iam.getGroupPolicy(r -> r.groupName(name).policyName(policy)).policyDocument(),
                    (name, policy, text) -> iam.putGroupPolicy(
                            r -> r.groupName(name).policyName(policy).policyDocument(text)),
                    (name, policy) -> iam.deleteGroupPolicy(r -> r.groupName(name).policyName(policy)),
                    (name, arn) -> iam.attachGroupPolicy(r -> r.groupName(name).policyArn(arn)),
                    (name, arn) -> iam.detachGroupPolicy(r -> r.groupName(name).policyArn(arn))),
            Kind.USER, new Operations(name -> iam.getUser(r -> r.userName(name)).user().arn(),
                    name -> iam.listUserPoliciesPaginator(r -> r.userName(name)).policyNames(),
                    (name, policy) -> iam.getUserPolicy(r -> r.userName(name).policyName(policy)).policyDocument(),
                    (name, policy, text) -> iam.putUserPolicy(
                            r -> r.userName(name).policyName(policy).policyDocument(text)),
                    (name, policy) -> iam.deleteUserPolicy(r -> r.userName(name).policyName(policy)),
                    (name, arn) -> iam.attachUserPolicy(r -> r.userName(name).policyArn(arn)),
                    (name, arn) -> iam.detachUserPolicy(r -> r.userName(name).policyArn(arn))));

    Operations operations(Principal principal) {
        return operations.get(principal.kind);
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

    //region The same in every script: batches

    /** The items in parts, for an operation that takes so many at once. */
    static <T> List<List<T>> batches(List<T> items, int size) {
        return IntStream.iterate(0, from -> from < items.size(), from -> from + size)
                .mapToObj(from -> items.subList(from, Math.min(from + size, items.size()))).toList();
    }

    //endregion

    //region The same in every script: batches of repositories

    /** As many repositories as every version of BatchGetRepositories takes. */
    static final int REPOSITORIES_PER_CALL = 25;

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

    //region The same in every script: ARNs

    /** Of a resource of this account and Region. */
    String arn(String service, String resource) {
        return "arn:" + caller.partition() + ":" + service + ":" + region() + ":" + caller.account() + ":" + resource;
    }

    //endregion

    //region The same in every script: names of repositories

    void checkRepositoryName(String option, String name) {
        check(option, name, "(?!.*\\.git$)[\\w.-]{1,100}",
                "up to 100 letters, digits and . _ -, not ending with .git, such as payments");
    }

    //endregion

    //region The same in every script: existing repositories

    /** Refuses repositories that do not exist: what is made for a mistyped name has no effect, without a word. */
    void checkExistence(List<String> repositoryNames) {
        try (var codecommit = client(CodeCommitClient.builder())) {
            for (var batch : batches(repositoryNames, REPOSITORIES_PER_CALL)) {
                var missing = codecommit.batchGetRepositories(r -> r.repositoryNames(batch)).repositoriesNotFound();
                if (!missing.isEmpty()) {
                    throw new Failure("no such repository in " + region() + ": " + String.join(", ", missing));
                }
            }
        }
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
