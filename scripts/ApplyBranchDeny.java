///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Denies roles, groups or users every way of changing protected branches, and proves it with IAM's policy simulator.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:iam
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//FILES policies/branch-deny.json=../policies/branch-deny.json
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.lang.invoke.MethodHandles;
import java.net.*;
import java.net.URLDecoder;
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
import software.amazon.awssdk.core.pagination.sync.SdkIterable;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.PartitionMetadata;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.iam.IamClient;
import software.amazon.awssdk.services.iam.model.*;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * Keeps roles, groups and users from changing protected branches except through others: a policy that denies every CodeCommit action which
 * moves, creates or deletes such a branch, attached and proved by IAM's policy simulator.
 *
 * <p>Changes in AWS: one inline policy of each principal, or with {@code --managed} one customer managed policy for all of them. It has two
 * statements, owned by Sid: ProtectBranches (the 13 write actions that know which branch they are for) and ProtectRepositories (the ones
 * that do not: deleting or renaming the repository, another default branch, overriding approval rules), which {@code --allow-administration}
 * leaves out. Other statements of the policy are kept and named. An inline policy that {@code --managed} replaces is taken off.
 *
 * <p>The policy is simulated on each principal before it is attached, and afterwards until it shows: protected branches and the repository
 * are denied; other branches, other repositories and requests that name no branch yet (every push begins with one) are not denied by it.
 * What another policy denies is named.
 *
 * <p>A second run with the same arguments changes nothing, and proves the policy again. {@code --remove} takes off what this put on.
 *
 * <p>IAM actions:
 * <ul>
 * <li>iam:GetRole, iam:GetGroup, iam:GetUser, iam:SimulatePrincipalPolicy, iam:GetPolicy, codecommit:BatchGetRepositories
 * <li>iam:ListRolePolicies, iam:GetRolePolicy, iam:PutRolePolicy, iam:DeleteRolePolicy; the same for groups: iam:ListGroupPolicies,
 * iam:GetGroupPolicy, iam:PutGroupPolicy, iam:DeleteGroupPolicy; for users: iam:ListUserPolicies, iam:GetUserPolicy, iam:PutUserPolicy,
 * iam:DeleteUserPolicy
 * <li>with {@code --managed} iam:GetPolicyVersion, iam:ListEntitiesForPolicy, iam:CreatePolicy, iam:CreatePolicyVersion,
 * iam:ListPolicyVersions, iam:DeletePolicyVersion, iam:DeletePolicy, iam:AttachRolePolicy, iam:DetachRolePolicy, iam:AttachGroupPolicy,
 * iam:DetachGroupPolicy, iam:AttachUserPolicy, iam:DetachUserPolicy
 * </ul>
 */
@Command(name = "apply-branch-deny", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Denies roles, groups or users every way of changing protected branches, and proves it with IAM's policy simulator.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "3:partly done: some principals failed, the others are complete",
                "130, 143:interrupted"},
        footerHeading = "%nLimits:%n"
                + "  The account's root user is not bound by this, nor is anybody who may change%n"
                + "  IAM policies. How CodeCommit decides one push of several branches is not%n"
                + "  documented. The simulator is IAM's word, not CodeCommit's: try a push as well.%n"
                + "%nExamples:%n",
        footer = {"  apply-branch-deny --branches main 'release/*' --all-repositories \\", "      --role-names Developer --dry-run",
                "  apply-branch-deny --branches main --repository-names payments orders \\", "      --group-names Developers --user-names alice --managed"})
class ApplyBranchDeny implements Callable<Integer> {
    @Option(names = "--branches", paramLabel = "NAME", arity = "1..*",
            description = "Branches to protect: names, or patterns with * and ?, such as 'release/*'.")
    List<String> branches = List.of();

    @ArgGroup
    Repositories repositories = new Repositories();

    static class Repositories {
        @Option(names = "--repository-names", paramLabel = "NAME", arity = "1..*", description = "Names of repositories.")
        List<String> names = List.of();

        @Option(names = "--all-repositories", description = "All repositories of the account in the Region, future ones too.")
        boolean all;
    }

    @Option(names = "--role-names", paramLabel = "NAME", arity = "1..*", description = "Roles to deny it to.")
    List<String> roles = List.of();

    @Option(names = "--group-names", paramLabel = "NAME", arity = "1..*", description = "IAM groups to deny it to.")
    List<String> groups = List.of();

    @Option(names = "--user-names", paramLabel = "NAME", arity = "1..*", description = "IAM users to deny it to.")
    List<String> users = List.of();

    @Option(names = "--policy-name", paramLabel = "NAME", description = "Name of the policy. Default: codecommit-branch-deny-REGION.")
    String policyName;

    @Option(names = "--managed", description = "One customer managed policy, attached to each, instead of inline policies.")
    boolean managed;

    @Option(names = "--allow-administration",
            description = "Does not deny to delete or rename repositories, to change default branches or to override approval rules.")
    boolean allowAdministration;

    @Option(names = "--remove", description = "Takes the policy off, inline or managed, and deletes a managed one that is attached to nobody else.")
    boolean remove;

    static final List<String> OWN_SIDS = List.of("ProtectBranches", "ProtectRepositories");
    /** In characters that are not white space, as IAM counts; all inline policies of a principal count together. */
    static final Map<String, Integer> INLINE_QUOTA = Map.of("role", 10240, "group", 5120, "user", 2048);
    static final int MANAGED_QUOTA = 6144;
    static final int MANAGED_VERSIONS = 5;
    /** Ends the name of a repository that the policy is not about, which the simulator is asked about too. */
    static final String OTHER = "-not-this-one";

    /** @param kind role, group or user */
    record Principal(String kind, String name, ObjectNode result) {
        @Override
        public String toString() {
            return kind + "/" + name;
        }

        String arn() {
            return result.path("principal").asText();
        }

        String status() {
            return result.path("status").asText();
        }
    }

    /** Requests to simulate, and the actions of them that the policy has to deny; the others it must not deny. */
    record Case(String reference, List<String> actions, List<String> repositories, Set<String> denied) { }

    /** One answer of the simulator; the policies are those whose statements decided. */
    record Decision(Case asked, String action, String repository, String decision, List<Statement> by) {
        boolean denied() {
            return decision.equals("explicitDeny");
        }

        boolean toBeDenied() {
            return asked.denied.contains(action);
        }

        Stream<String> policies() {
            return by.stream().map(Statement::sourcePolicyId);
        }

        @Override
        public String toString() {
            return action + " on " + (asked.reference == null ? "no branch" : asked.reference) + " of " + repository.replaceAll(".*:", "") + " is " + decision;
        }
    }

    /** How long an attached policy may take to show in the simulator; mostly seconds. */
    Duration proofDeadline = Duration.ofSeconds(60);

    IamClient iam;
    ObjectNode policy;
    List<Case> cases;
    final Set<String> unknownActions = new TreeSet<>();
    /** The inline policies of our name, as they are, by principal. */
    final Map<String, ObjectNode> inline = new TreeMap<>();
    String policyArn;
    /** The managed policy as it is, or null. */
    ObjectNode managedPolicy;
    String managedVersion;
    String managedDescription;
    /** Who has the managed policy attached. */
    final Set<String> attached = new TreeSet<>();

    @Override
    public Integer call() {
        var principals = principals();
        checkOptions();
        iam = client(IamClient.builder());
        policyArn = "arn:" + identity().partition() + ":iam::" + identity().account() + ":policy/" + policyName;
        if (!remove) {
            checkRepositories();
            policy = policy(identity().partition(), identity().account());
            cases = cases();
        }
        each(principals, principal -> {
            var arn = calls(principal).arn.apply(principal.name);
            principal.result.put("principal", arn).put("policyName", policyName).put("status", "unchanged");
        });
        readManagedPolicy();
        each(principals, principal -> {
            var document = inline(principal, policyName);
            if (document != null) inline.put(subject, (ObjectNode) parse(document));
        });
        if (remove) {
            each(principals, this::remove);
            removeManagedPolicy();
        } else {
            each(principals, this::prepare);
            if (managed && principals.stream().anyMatch(principal -> !principal.result.has("error"))) bringManagedPolicyInLine(principals);
            each(principals, this::apply);
        }
        return finish(principals);
    }

    /** Does it for each principal that has not failed before; the failure of one among several does not stop the others. */
    void each(List<Principal> principals, Consumer<Principal> step) {
        for (var principal : principals) {
            if (principal.result.has("error")) continue;
            subject = principal.toString();
            try {
                step.accept(principal);
            } catch (RuntimeException e) {
                if (principals.size() == 1) throw e;
                fail(e);
                principal.result.put("principal", subject).put("status", "failed").put("error", reason(e));
            }
        }
    }

    int finish(List<Principal> principals) {
        var failed = principals.stream().filter(principal -> principal.result.has("error")).count();
        if (failed == principals.size()) return 1;
        var strongest = principals.stream().map(Principal::status).max(Comparator.comparing(STATUSES::indexOf)).orElseThrow();
        var result = result(status(remove && !changes.isEmpty() ? "deleted" : strongest));
        for (var principal : principals)
            result.withArray("policies").add(principal.result.has("error") ? principal.result : principal.result.put("status", status(principal.status())));
        return finish(withChanges(result), failed > 0 ? 3 : 0);
    }

    // Options

    List<Principal> principals() {
        var form = "[\\w+=,.@-]{1,64}";
        for (var name : roles) check("--role-names", name, form, "a role's name without its path, such as Developer");
        for (var name : groups) check("--group-names", name, form.replace("64", "128"), "a group's name without its path, such as Developers");
        for (var name : users) check("--user-names", name, form, "a user's name without its path, such as alice");
        var principals = new ArrayList<Principal>();
        roles.stream().distinct().forEach(name -> principals.add(new Principal("role", name, JSON.createObjectNode())));
        groups.stream().distinct().forEach(name -> principals.add(new Principal("group", name, JSON.createObjectNode())));
        users.stream().distinct().forEach(name -> principals.add(new Principal("user", name, JSON.createObjectNode())));
        if (principals.isEmpty()) throw wrong("whom to deny it to is missing: give --role-names, --group-names or --user-names");
        return principals;
    }

    void checkOptions() {
        if (policyName != null) check("--policy-name", policyName, "[\\w+=,.@-]{1,128}", "letters, digits and + = , . @ _ -, such as branch-deny");
        if (!remove) checkWhatToProtect();
        if (policyName == null) policyName = "codecommit-branch-deny-" + region();
        if (remove) return;
        // All account ids are of one length, so the policy's is known before AWS is asked.
        var size = size(policy(PartitionMetadata.of(Region.of(region())).id(), "0".repeat(12)).toString());
        var quota = managed ? MANAGED_QUOTA : INLINE_QUOTA.get(!users.isEmpty() ? "user" : !groups.isEmpty() ? "group" : "role");
        if (size > quota)
            throw wrong("a policy of " + size + " characters, but " + (managed ? "a managed one holds " + quota + ": give " : "inline ones hold " + quota
                    + ": give --managed, or ") + "fewer --branches or --repository-names, or patterns, or --all-repositories");
    }

    void checkWhatToProtect() {
        if (branches.isEmpty()) throw wrong("what to protect is missing: give --branches, such as --branches main 'release/*'");
        for (var branch : branches) {
            if (branch.contains("${")) throw wrong("--branches '" + branch + "': IAM reads ${ as a variable; give ? in the place of $, such as 'a?{b}'");
            check("--branches", branch, "(?!refs/)(?!.*(\\.\\.|@\\{|//|/\\.|\\.lock(/|$)))(?![./-])[!-\\u00ff&&[^\\x7f-\\xa0~^:\\[\\\\]]{1,256}(?<![./])",
                    "a branch's name without refs/heads/, or a pattern with * and ?, such as main or 'release/*'");
        }
        if (repositories.names.isEmpty() && !repositories.all) throw wrong("where to protect it is missing: give --repository-names or --all-repositories");
        for (var name : repositories.names)
            check("--repository-names", name, "[\\w.-]{1,100}(?<!\\.git)", "a repository's name, such as payments, or --all-repositories");
    }

    /** A typing error would protect nothing. */
    void checkRepositories() {
        try (var codecommit = client(CodeCommitClient.builder())) {
            for (var from = 0; from < repositories.names.size(); from += 25) { // as many as every version of BatchGetRepositories takes
                var names = repositories.names.subList(from, Math.min(from + 25, repositories.names.size()));
                var missing = codecommit.batchGetRepositories(r -> r.repositoryNames(names)).repositoriesNotFound();
                if (!missing.isEmpty()) throw new Failure("no such repository in " + region() + ": " + String.join(", ", missing));
            }
        }
    }

    // Policy and proof

    ObjectNode policy(String partition, String account) {
        var names = repositories.all ? List.of("*") : repositories.names;
        var policy = template("branch-deny.json", Map.of("references", branches.stream().distinct().map(branch -> "refs/heads/" + branch).toList(),
                "repositories", names.stream().distinct().map(name -> "arn:" + partition + ":codecommit:" + region() + ":" + account + ":" + name).toList()));
        var condition = (ObjectNode) policy.at("/Statement/0/Condition");
        if (branches.stream().noneMatch(branch -> branch.matches(".*[*?].*"))) condition.set("StringEqualsIfExists", condition.remove("StringLikeIfExists"));
        if (allowAdministration) policy.withArray("Statement").remove(1);
        return policy;
    }

    List<Case> cases() {
        var template = template("branch-deny.json", Map.of("references", "", "repositories", ""));
        var writes = texts(template.at("/Statement/0/Action"));
        var unconditional = texts(template.at("/Statement/1/Action"));
        var all = Stream.concat(writes.stream(), unconditional.stream()).toList();
        var inside = texts(policy.at("/Statement/0/Resource")).stream().map(arn -> arn.replace("*", "any-repository")).toList();
        var references = branches.stream().distinct().map(branch -> "refs/heads/" + branch.replaceAll("[*?]", "x")).toList();
        var cases = new ArrayList<Case>();
        references.forEach(reference -> cases.add(new Case(reference, writes, inside, Set.copyOf(writes))));
        Stream.of("unprotected", "x", "0/1", "another-unprotected-branch").filter(name -> branches.stream().noneMatch(pattern -> matches(pattern, name)))
                .findFirst().ifPresent(name -> cases.add(new Case("refs/heads/" + name, writes, inside, Set.of())));
        cases.add(new Case(null, all, inside, allowAdministration ? Set.of() : Set.copyOf(unconditional)));
        if (!repositories.all) cases.add(new Case(references.get(0), all, List.of(inside.get(0) + OTHER), Set.of()));
        return cases;
    }

    static boolean matches(String pattern, String branch) {
        return branch.matches(("\\Q" + pattern + "\\E").replace("*", "\\E.*\\Q").replace("?", "\\E.\\Q"));
    }

    static List<String> texts(JsonNode array) {
        return array.valueStream().map(JsonNode::asText).toList();
    }

    /** What its policies say, with one more policy or as they are, for the result; and what of that is not as it should be. */
    List<Decision> simulate(Principal principal, ObjectNode addition) {
        var attachedAs = Set.of(policyName, principal.kind + "_" + principal.name + "_" + policyName);
        Predicate<String> own = id -> addition == null ? attachedAs.contains(id) : id.startsWith("PolicyInputList");
        var simulated = principal.result.putArray("simulated");
        var wrong = new ArrayList<Decision>();
        var others = new TreeSet<String>();
        for (var asked : cases) {
            var shown = simulated.addObject().put("reference", asked.reference);
            if (asked.repositories.get(0).endsWith(OTHER)) shown.put("repository", asked.repositories.get(0));
            for (var decision : decisions(principal, asked, addition)) {
                var actions = shown.withArray(decision.decision);
                if (!texts(actions).contains(decision.action)) actions.add(decision.action);
                if (decision.toBeDenied() ? !decision.denied() : decision.denied() && decision.policies().anyMatch(own)) wrong.add(decision);
                else if (decision.denied() && !decision.toBeDenied()) decision.policies().filter(id -> !attachedAs.contains(id)).forEach(others::add);
            }
        }
        principal.result.remove("deniedByOthers");
        if (!others.isEmpty()) principal.result.set("deniedByOthers", JSON.valueToTree(others));
        return wrong;
    }

    /** An action that the simulator does not know is left out and named. */
    List<Decision> decisions(Principal principal, Case asked, ObjectNode addition) {
        var actions = asked.actions.stream().filter(action -> !unknownActions.contains(action)).toList();
        var request = SimulatePrincipalPolicyRequest.builder().policySourceArn(principal.arn()).actionNames(actions).resourceArns(asked.repositories);
        if (addition != null) request.policyInputList(addition.toString());
        if (asked.reference != null)
            request.contextEntries(List.of(ContextEntry.builder().contextKeyName("codecommit:References").contextKeyType("string")
                    .contextKeyValues(asked.reference).build()));
        var decisions = new ArrayList<Decision>();
        try {
            for (var result : iam.simulatePrincipalPolicyPaginator(request.build()).evaluationResults()) {
                var action = result.evalActionName();
                if (result.resourceSpecificResults().isEmpty())
                    decisions.add(new Decision(asked, action, result.evalResourceName(), result.evalDecisionAsString(), result.matchedStatements()));
                for (var one : result.resourceSpecificResults())
                    decisions.add(new Decision(asked, action, one.evalResourceName(), one.evalResourceDecisionAsString(), one.matchedStatements()));
            }
            return decisions;
        } catch (InvalidInputException e) {
            unknownActions.add(actions.stream().filter(reason(e)::contains).findFirst().orElseThrow(() -> e));
            note("IAM's simulator does not know " + String.join(", ", unknownActions) + ": denied, but not proved");
            return decisions(principal, asked, addition);
        }
    }

    // Attaching

    /** Everything that can go wrong before something is changed. */
    void prepare(Principal principal) {
        var current = managed ? managedPolicy : inline.get(subject);
        var wanted = withOwn(current);
        if (dryRun) principal.result.set("policy", wanted);
        var present = current != null && sameMeaning(current, wanted) && (!managed || attached.contains(subject));
        if (present && !dryRun) return;
        if (!managed) {
            var size = size(wanted.toString());
            for (var name : calls(principal).inlineNames.apply(principal.name)) if (!name.equals(policyName)) size += size(inline(principal, name));
            var quota = INLINE_QUOTA.get(principal.kind);
            if (size > quota)
                throw new Failure("its inline policies would have " + size + " characters together, of at most " + quota + ": give --managed");
        }
        var wrong = simulate(principal, policy);
        if (!wrong.isEmpty()) throw new Failure("nothing was attached, because with the policy " + some(wrong));
    }

    static String some(List<Decision> wrong) {
        return wrong.get(0) + (wrong.size() > 1 ? ", and " + (wrong.size() - 1) + " more decisions are not as they should be" : "");
    }

    void apply(Principal principal) {
        var current = inline.get(subject);
        if (managed) {
            if (attached.add(subject)) {
                principal.result.put("status", "created");
                change("attachedPolicies", null, policyArn, command("detach", principal, " --policy-arn " + policyArn),
                        () -> calls(principal).attach.accept(principal.name, policyArn));
            }
            if (current != null) takeOffInline(principal, current);
        } else {
            if (attached.contains(subject)) note(subject + ": has " + policyArn + " as well; --managed changes that one, --remove takes both off");
            putInline(principal, current);
        }
        if (!dryRun) prove(principal);
        var others = texts(principal.result.path("deniedByOthers"));
        if (!others.isEmpty()) note(subject + ": other policies deny more than this one does: " + String.join(", ", others));
    }

    void putInline(Principal principal, ObjectNode current) {
        var wanted = withOwn(current);
        if (current == null) {
            principal.result.put("status", "created");
            change("inlinePolicy", null, wanted, command("delete", principal, " --policy-name " + policyName), () -> put(principal, wanted));
            return;
        }
        noteForeign(current);
        if (sameMeaning(current, wanted)) return;
        principal.result.put("status", "updated");
        change("inlinePolicy", current, wanted, putBack(principal, current), () -> put(principal, wanted));
    }

    void prove(Principal principal) {
        var deadline = Instant.now().plus(proofDeadline);
        for (var millis = 1000; ; millis = Math.min(2 * millis, 8000)) {
            var wrong = simulate(principal, null);
            if (wrong.isEmpty()) return;
            if (Instant.now().isAfter(deadline))
                throw new Failure("the policy " + policyName + " is attached, but after " + proofDeadline.toSeconds() + " s IAM's simulator says: "
                        + some(wrong) + "; run the same command again, or take it off: " + spec.name() + " --remove --" + principal.kind + "-names "
                        + principal.name + " --policy-name " + policyName + " --region " + region() + (profile == null ? "" : " --profile " + quote(profile)));
            note(subject + ": attached; waiting for IAM's simulator to show it, " + wrong.size() + " decisions to go ...");
            pause(millis);
        }
    }

    // Removing

    void remove(Principal principal) {
        if (inline.containsKey(subject)) takeOffInline(principal, inline.get(subject));
        if (!attached.contains(subject)) return;
        if (isForeign(managedPolicy)) {
            note(subject + ": left " + policyArn + " attached, which is not this script's");
            return;
        }
        principal.result.put("status", "deleted");
        change("attachedPolicies", policyArn, null, command("attach", principal, " --policy-arn " + policyArn),
                () -> unlessGone(() -> calls(principal).detach.accept(principal.name, policyArn)));
        attached.remove(subject);
    }

    /** Takes off the whole policy, or its own statements from among others. */
    void takeOffInline(Principal principal, ObjectNode current) {
        if (isForeign(current)) {
            note(subject + ": left its inline policy " + policyName + " alone, which is not this script's");
            return;
        }
        var kept = foreign(current).isEmpty() ? null : current.deepCopy();
        if (kept != null) kept.putArray("Statement").addAll(foreign(current));
        if (!principal.status().equals("created")) principal.result.put("status", remove ? "deleted" : "updated");
        change("inlinePolicy", current, kept, putBack(principal, current), () -> {
            if (kept != null) put(principal, kept);
            else unlessGone(() -> calls(principal).delete.accept(principal.name, policyName));
        });
    }

    void removeManagedPolicy() {
        subject = policyArn;
        if (managedPolicy == null || isForeign(managedPolicy)) return;
        if (!attached.isEmpty() || !foreign(managedPolicy).isEmpty()) {
            note(subject + ": kept, because it "
                    + (attached.isEmpty() ? "has statements that are not this script's" : "is attached to " + String.join(", ", attached)));
            return;
        }
        var undo = aws("iam create-policy --policy-name " + policyName + " --policy-document " + quote(managedPolicy.toString())
                + (managedDescription == null ? "" : " --description " + quote(managedDescription)));
        change("policy", managedPolicy, null, undo, () -> unlessGone(() -> {
            oldVersions().forEach(this::deleteVersion);
            iam.deletePolicy(r -> r.policyArn(policyArn));
        }));
    }

    // The managed policy

    void readManagedPolicy() {
        subject = policyArn;
        try {
            var shown = iam.getPolicy(r -> r.policyArn(policyArn)).policy();
            managedVersion = shown.defaultVersionId();
            managedDescription = shown.description();
        } catch (NoSuchEntityException e) {
            return;
        }
        managedPolicy = (ObjectNode) parse(decode(iam.getPolicyVersion(r -> r.policyArn(policyArn).versionId(managedVersion)).policyVersion().document()));
        for (var page : iam.listEntitiesForPolicyPaginator(r -> r.policyArn(policyArn))) {
            page.policyRoles().forEach(role -> attached.add("role/" + role.roleName()));
            page.policyGroups().forEach(group -> attached.add("group/" + group.groupName()));
            page.policyUsers().forEach(user -> attached.add("user/" + user.userName()));
        }
    }

    void bringManagedPolicyInLine(List<Principal> principals) {
        subject = policyArn;
        var wanted = withOwn(managedPolicy);
        if (managedPolicy != null) noteForeign(managedPolicy);
        principals.forEach(principal -> principal.result.put("policyArn", policyArn));
        if (managedPolicy == null) {
            change("policy", null, wanted, aws("iam delete-policy --policy-arn " + policyArn), () -> unlessThere(wanted, () -> iam.createPolicy(r ->
                    r.policyName(policyName).policyDocument(wanted.toString()).description("Denies changes of protected CodeCommit branches"))));
        } else if (!sameMeaning(managedPolicy, wanted)) {
            var others = new TreeSet<>(attached);
            principals.forEach(principal -> others.remove(principal.toString()));
            if (!others.isEmpty()) note(subject + ": changes for others as well who have it attached: " + String.join(", ", others));
            principals.stream().filter(principal -> !principal.result.has("error")).forEach(principal -> principal.result.put("status", "updated"));
            var undo = aws("iam set-default-policy-version --policy-arn " + policyArn + " --version-id " + managedVersion);
            change("policy", managedPolicy, wanted, undo, () -> {
                var old = oldVersions();
                if (old.size() + 1 >= MANAGED_VERSIONS) deleteVersion(old.get(0));
                unlessThere(wanted, () -> iam.createPolicyVersion(r -> r.policyArn(policyArn).policyDocument(wanted.toString()).setAsDefault(true)));
            });
        }
    }

    /** What a creation is refused for may be its own work, if an answer was lost, or that of another operator who wants the same. */
    void unlessThere(ObjectNode wanted, Runnable creation) {
        try {
            creation.run();
        } catch (EntityAlreadyExistsException | LimitExceededException e) {
            readManagedPolicy();
            if (managedPolicy == null || !sameMeaning(managedPolicy, wanted))
                throw new Failure(reason(e) + "; choose another --policy-name, or run the same command again", e);
        }
    }

    /** All versions but the default, oldest first. */
    List<PolicyVersion> oldVersions() {
        return iam.listPolicyVersionsPaginator(r -> r.policyArn(policyArn)).versions().stream().filter(version -> !version.isDefaultVersion())
                .sorted(Comparator.comparing(version -> Integer.valueOf(version.versionId().substring(1)))).toList();
    }

    void deleteVersion(PolicyVersion version) {
        unlessGone(() -> iam.deletePolicyVersion(r -> r.policyArn(policyArn).versionId(version.versionId())));
    }

    // Documents

    /** The policy with the wanted statements in the place of its own ones; all others as they are. */
    ObjectNode withOwn(ObjectNode current) {
        if (current == null) return policy;
        if (isForeign(current)) throw new Failure("there is a policy " + policyName + " already, which is not this script's; choose another --policy-name");
        var merged = current.deepCopy();
        merged.putArray("Statement").addAll(foreign(current)).addAll(statements(policy));
        return merged;
    }

    void noteForeign(ObjectNode current) {
        var sids = foreign(current).stream().map(statement -> statement.path("Sid").asText("(no Sid)")).collect(Collectors.joining(", "));
        if (!sids.isEmpty()) note(subject + ": kept statements of " + policyName + " that are not this script's: " + sids);
    }

    static List<JsonNode> foreign(ObjectNode policy) {
        return statements(policy).stream().filter(statement -> !OWN_SIDS.contains(statement.path("Sid").asText())).toList();
    }

    static boolean isForeign(ObjectNode policy) {
        return foreign(policy).size() == statements(policy).size();
    }

    static int size(String document) {
        return document.replaceAll("\\s", "").length();
    }

    /** IAM gives documents back percent-encoded. */
    static String decode(String document) {
        return URLDecoder.decode(document, StandardCharsets.UTF_8);
    }

    /** A deletion that is repeated because its answer was lost finds it gone. */
    static void unlessGone(Runnable deletion) {
        try {
            deletion.run();
        } catch (NoSuchEntityException e) {
            return;
        }
    }

    // Calls

    /** IAM has each operation once for every kind of principal. All take the principal's name first, then the policy's name or ARN. */
    record Calls(UnaryOperator<String> arn, Function<String, SdkIterable<String>> inlineNames, BinaryOperator<String> inline, Put put,
            BiConsumer<String, String> delete, BiConsumer<String, String> attach, BiConsumer<String, String> detach) { }

    interface Put {
        void put(String name, String policyName, String document);
    }

    final Map<String, Calls> calls = Map.of(
            "role", new Calls(name -> iam.getRole(r -> r.roleName(name)).role().arn(),
                    name -> iam.listRolePoliciesPaginator(r -> r.roleName(name)).policyNames(),
                    (name, policy) -> iam.getRolePolicy(r -> r.roleName(name).policyName(policy)).policyDocument(),
                    (name, policy, document) -> iam.putRolePolicy(r -> r.roleName(name).policyName(policy).policyDocument(document)),
                    (name, policy) -> iam.deleteRolePolicy(r -> r.roleName(name).policyName(policy)),
                    (name, arn) -> iam.attachRolePolicy(r -> r.roleName(name).policyArn(arn)),
                    (name, arn) -> iam.detachRolePolicy(r -> r.roleName(name).policyArn(arn))),
            "group", new Calls(name -> iam.getGroup(r -> r.groupName(name)).group().arn(),
                    name -> iam.listGroupPoliciesPaginator(r -> r.groupName(name)).policyNames(),
                    (name, policy) -> iam.getGroupPolicy(r -> r.groupName(name).policyName(policy)).policyDocument(),
                    (name, policy, document) -> iam.putGroupPolicy(r -> r.groupName(name).policyName(policy).policyDocument(document)),
                    (name, policy) -> iam.deleteGroupPolicy(r -> r.groupName(name).policyName(policy)),
                    (name, arn) -> iam.attachGroupPolicy(r -> r.groupName(name).policyArn(arn)),
                    (name, arn) -> iam.detachGroupPolicy(r -> r.groupName(name).policyArn(arn))),
            "user", new Calls(name -> iam.getUser(r -> r.userName(name)).user().arn(),
                    name -> iam.listUserPoliciesPaginator(r -> r.userName(name)).policyNames(),
                    (name, policy) -> iam.getUserPolicy(r -> r.userName(name).policyName(policy)).policyDocument(),
                    (name, policy, document) -> iam.putUserPolicy(r -> r.userName(name).policyName(policy).policyDocument(document)),
                    (name, policy) -> iam.deleteUserPolicy(r -> r.userName(name).policyName(policy)),
                    (name, arn) -> iam.attachUserPolicy(r -> r.userName(name).policyArn(arn)),
                    (name, arn) -> iam.detachUserPolicy(r -> r.userName(name).policyArn(arn))));

    Calls calls(Principal principal) {
        return calls.get(principal.kind);
    }

    /** An AWS CLI command. */
    String command(String verb, Principal principal, String policy) {
        return aws("iam " + verb + "-" + principal.kind + "-policy --" + principal.kind + "-name " + principal.name + policy);
    }

    String putBack(Principal principal, ObjectNode document) {
        return command("put", principal, " --policy-name " + policyName + " --policy-document " + quote(document.toString()));
    }

    void put(Principal principal, ObjectNode document) {
        calls(principal).put.put(principal.name, policyName, document.toString());
    }

    /** The text of an inline policy, null when there is none. */
    String inline(Principal principal, String policyName) {
        try {
            return decode(calls(principal).inline.apply(principal.name, policyName));
        } catch (NoSuchEntityException e) {
            return null;
        }
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
        System.exit(new ApplyBranchDeny().commandLine().execute(args));
    }
}
