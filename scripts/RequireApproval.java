///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Requires approvals before a pull request is merged, by an approval rule template for many repositories.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
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
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.time.*;
import java.util.*;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
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
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleTemplate;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleTemplateDoesNotExistException;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleTemplateInUseException;
import software.amazon.awssdk.services.codecommit.model.ApprovalRuleTemplateNameAlreadyExistsException;
import software.amazon.awssdk.services.codecommit.model.InvalidRuleContentSha256Exception;
import software.amazon.awssdk.services.codecommit.model.PullRequest;
import software.amazon.awssdk.services.codecommit.model.PullRequestStatusEnum;
import software.amazon.awssdk.services.codecommit.model.RepositoryNameIdPair;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Requires that others approve a pull request before it is merged: creates an approval rule template, or brings it in
 * line, and associates it with repositories. On each pull request that is opened from then on, the template puts a rule
 * of its name.
 *
 * <p>Changes in AWS: the template of that name, which is this script's, and its associations. Nobody's approval of an
 * own pull request counts, and anybody else's counts once, for one revision: new commits need new approvals. How many
 * approvals are needed is always given. Approvers, branches and description hold as they are if they are not given; of
 * a new template they are everyone, all branches, and none.
 *
 * <p>Pull requests that are open already keep the rules that they have; after a change, this script counts those that
 * its rule does not hold for. Only what is missing is associated. Associations with other repositories stay and are
 * named. Repositories of later days are not associated by themselves, with {@code --all-repositories} neither: run the
 * same command again.
 *
 * <p>A second run with the same arguments changes nothing. A template that someone else changes at the same time is
 * read and compared once more. {@code --remove} takes the template off the given repositories, and deletes it when no
 * other has it; rules that it made stay on their pull requests.
 *
 * <p>The rule holds for merges of pull requests and for nothing else. {@code apply-branch-deny} with
 * {@code --allow-pull-request-merges} denies the other ways of changing a branch, and what sets rules aside.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codecommit:ListRepositories, codecommit:GetApprovalRuleTemplate,
 * codecommit:ListRepositoriesForApprovalRuleTemplate
 * <li>codecommit:CreateApprovalRuleTemplate, codecommit:UpdateApprovalRuleTemplateContent,
 * codecommit:UpdateApprovalRuleTemplateDescription
 * <li>codecommit:BatchAssociateApprovalRuleTemplateWithRepositories, and, as AWS does not say whether each repository
 * takes the single action, codecommit:AssociateApprovalRuleTemplateWithRepository
 * <li>codecommit:ListPullRequests and codecommit:GetPullRequest, without which open pull requests are not counted
 * <li>with {@code --remove} codecommit:BatchDisassociateApprovalRuleTemplateFromRepositories,
 * codecommit:DisassociateApprovalRuleTemplateFromRepository, codecommit:DeleteApprovalRuleTemplate
 * </ul>
 */
@Command(name = "require-approval", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Requires approvals before a pull request is merged, by an approval rule template for many"
                + " repositories.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: some repositories, or the deletion of the template, failed; the rest is complete",
                "130, 143:interrupted"},
        footerHeading = "%nLimits:%n"
                + "  The rule stops merges of pull requests only. Pushes and everything else are%n"
                + "  stopped by apply-branch-deny, with --allow-pull-request-merges. Each session%n"
                + "  of a role is an approver of its own: who may choose the name of a session may%n"
                + "  approve more than once, and an own pull request too.%n"
                + "%nExamples:%n",
        footer = {"  ./jbang require-approval --template-name two-for-main --approvals 2 \\",
                "      --branches main --all-repositories --dry-run",
                "  ./jbang require-approval --template-name reviewed --approvals 1 \\",
                "      --approvers 'Reviewers/*' --repository-names 'team-*'"})
class RequireApproval implements Callable<Integer> {
    @Option(names = "--template-name", paramLabel = "NAME", required = true,
            description = "Name of the approval rule template, and of the rules that it makes.")
    String templateName;

    @Option(names = "--approvals", paramLabel = "N",
            description = "How many have to approve. Needed, but for --remove.")
    Integer approvals;

    @ArgGroup
    Approvers approvers = new Approvers();

    static class Approvers {
        @Option(names = "--approvers", paramLabel = "MEMBER", arity = "1..*",
                description = "Whose approvals count, with * for any text: users (alice), sessions of roles"
                        + " ('Reviewers/*'), or their ARNs. Default: everyone's; of a template that exists, those that"
                        + " it has.")
        List<String> members = List.of();

        @Option(names = "--any-approver", description = "Everyone's approvals count, whatever the template had.")
        boolean any;
    }

    @ArgGroup
    Branches branches = new Branches();

    static class Branches {
        @Option(names = "--branches", paramLabel = "NAME", arity = "1..*",
                description = "Branches that pull requests go to: names, or patterns with *, such as 'release/*'."
                        + " Default: all branches; of a template that exists, those that it has.")
        List<String> names = List.of();

        @Option(names = "--all-branches", description = "All branches, whatever it had.")
        boolean all;
    }

    @ArgGroup(multiplicity = "1")
    Repositories repositories;

    static class Repositories {
        @Option(names = "--repository-names", paramLabel = "GLOB", arity = "1..*",
                description = "Repositories, by name or with * and ?.")
        List<String> globs = List.of();

        @Option(names = "--all-repositories",
                description = "All repositories that the account has in the Region by now.")
        boolean all;
    }

    @Option(names = "--template-description", paramLabel = "TEXT",
            description = "Description of the template, up to 1,000 characters; '' takes it away.")
    String description;

    @Option(names = "--remove",
            description = "Takes the template off the repositories, and deletes it if no other has it. Open pull"
                    + " requests keep their rules.")
    boolean remove;

    /** The printed document. */
    record Result(String status, String account, String region, Template approvalRuleTemplate, List<Change> changes,
            String undo) {}

    /**
     * @param repositoryNames those of the given repositories that have it; in a dry run, that would have it
     * @param otherRepositoryNames those that have it and were not given
     * @param failed the repositories that a step failed for
     * @param openPullRequests after a change, those that the rule does not hold for; after a removal, those that it
     *                         still holds for; null if they were not counted
     * @param error why it could not be deleted
     */
    record Template(String approvalRuleTemplateName, String approvalRuleTemplateId,
            String approvalRuleTemplateDescription, JsonNode approvalRuleTemplateContent, String ruleContentSha256,
            Collection<String> repositoryNames, Collection<String> otherRepositoryNames,
            @JsonInclude(JsonInclude.Include.NON_EMPTY) Collection<FailedRepository> failed,
            List<OpenPullRequest> openPullRequests, String error) {}

    record FailedRepository(String repositoryName, String errorCode, String errorMessage) {
        /** AWS may leave the message out. */
        static FailedRepository of(String repositoryName, String errorCode, String errorMessage) {
            return new FailedRepository(repositoryName, errorCode, errorCode + (errorMessage == null ? ""
                    : ": " + errorMessage));
        }
    }

    record OpenPullRequest(String repositoryName, String pullRequestId) {}

    /** The meaning of a template's content; no approvers are everyone, no references all branches. */
    record Rule(int approvals, SortedSet<String> approvers, SortedSet<String> references) {
        static Optional<Rule> of(String content) {
            JsonNode json;
            try {
                json = JSON.readTree(content);
            } catch (IOException e) {
                return Optional.empty();
            }
            var statements = json.path("Statements");
            var statement = statements.path(0);
            if (statements.size() != 1 || !statement.path("Type").asText().equals("Approvers")) {
                return Optional.empty();
            }
            return Optional.of(new Rule(statement.path("NumberOfApprovalsNeeded").asInt(),
                    texts(statement.path("ApprovalPoolMembers")), texts(json.path("DestinationReferences"))));
        }

        private static SortedSet<String> texts(JsonNode list) {
            return list.valueStream().map(JsonNode::asText).collect(Collectors.toCollection(TreeSet::new));
        }

        ObjectNode content() {
            var content = JSON.createObjectNode().put("Version", "2018-11-08");
            if (!references.isEmpty()) {
                content.set("DestinationReferences", JSON.valueToTree(references));
            }
            var statement = content.putArray("Statements").addObject().put("Type", "Approvers")
                    .put("NumberOfApprovalsNeeded", approvals);
            if (!approvers.isEmpty()) {
                statement.set("ApprovalPoolMembers", JSON.valueToTree(approvers));
            }
            return content;
        }

        boolean isFor(String reference) {
            return references.isEmpty() || references.stream().anyMatch(pattern -> reference
                    .matches("\\Q" + pattern.replace("*", "\\E.*\\Q") + "\\E"));
        }

        /** How many people the approvers are; none if nobody knows, because everyone or a pattern is among them. */
        OptionalInt people() {
            if (approvers.isEmpty() || approvers.stream().anyMatch(member -> member.contains("*"))) {
                return OptionalInt.empty();
            }
            return OptionalInt.of((int) approvers.stream().map(Rule::person).distinct().count());
        }

        private static String person(String member) {
            var resource = member.substring(member.lastIndexOf(':') + 1);
            return resource.replaceFirst("^(user/(.*/)?|federated-user/|assumed-role/)", "");
        }

        /** Why no pull request could ever be merged; empty if one could. */
        Optional<String> flaw() {
            if (people().isEmpty() || people().getAsInt() >= approvals) {
                return Optional.empty();
            }
            return Optional.of("with " + approvals + " approvals by " + people().getAsInt() + " approver"
                    + (people().getAsInt() == 1 ? "" : "s") + " no pull request could be merged: use fewer --approvals,"
                    + " more --approvers, or a pattern such as 'Reviewers/*'");
        }
    }

    static final int LONGEST_CONTENT = 3000;
    static final int MOST_APPROVERS = 50;
    static final int MOST_BRANCHES = 100;
    static final int ASSOCIATIONS_PER_CALL = 100;
    /** Repositories at a time whose pull requests are looked at. */
    static final int LOOKS_AT_ONCE = 8;
    /** An account id, of the length that all have. */
    static final String ANY_ACCOUNT = "111122223333";

    CodeCommitClient codecommit;

    public static void main(String[] args) {
        System.exit(new RequireApproval().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        connect();
        checkAccounts();
        codecommit = client(CodeCommitClient.builder());
        var present = findTemplate(codecommit, templateName);
        var template = naming(templateName, () -> remove ? remove(present) : require(present));
        var isComplete = template.failed().isEmpty() && template.error() == null;
        if (changes.isEmpty() && !isComplete && (remove || template.repositoryNames().isEmpty())) {
            return 1;
        }
        return print(new Result(printed(strongest(changes)), caller.account(), region(), template, changes, undo()),
                isComplete ? 0 : 3);
    }

    void checkOptions() {
        check("--template-name", templateName, "(?!.*\\.git$)[\\w. -]{1,100}",
                "up to 100 letters, digits, spaces and . _ -, not ending with .git, such as two-for-main");
        checkGlobs("--repository-names", repositories.globs);
        checkGlobs("--exclude", exclude);
        if (remove) {
            checkRemoval();
            return;
        }
        if (approvals == null) {
            throw wrong("no number of approvals: use --approvals, such as --approvals 2");
        }
        check("--approvals", approvals.toString(), "[1-9]|[1-9]\\d|1\\d\\d|200", "1 to 200, such as 2");
        checkApprovers();
        checkBranches();
        if (description != null && description.length() > 1000) {
            throw wrong("--template-description: has " + description.length() + " characters; must be up to 1,000");
        }
        var given = new Rule(approvals, members(ANY_ACCOUNT), givenReferences());
        given.flaw().ifPresent(flaw -> {
            throw wrong("--approvers: " + flaw);
        });
        tooLong(given).ifPresent(text -> {
            throw wrong(text);
        });
    }

    void checkRemoval() {
        if (approvals != null || !approvers.members.isEmpty() || approvers.any || !branches.names.isEmpty()
                || branches.all || description != null) {
            throw wrong("--remove: use it without --approvals, --approvers, --any-approver, --branches, --all-branches"
                    + " and --template-description; such as --template-name two-for-main --all-repositories --remove");
        }
    }

    void checkApprovers() {
        var name = "[\\w+=,.@*-]{1,64}";
        var person = name + "(/" + name + ")?";
        var arn = "arn:aws[a-z-]*:(iam::\\d{12}:user/[\\w+=,.@/*-]+|sts::\\d{12}:(assumed-role/" + name + "/" + name
                + "|federated-user/" + name + "))";
        approvers.members.forEach(member -> check("--approvers", member,
                person + "|CodeCommitApprovers:\\d{12}:" + person + "|" + arn,
                "a user's name (alice), sessions of a role ('Reviewers/*'), or the ARN of a user or of sessions, such"
                        + " as arn:aws:sts::111122223333:assumed-role/Reviewers/*"));
        var accounts = accounts(approvers.members).distinct().toList();
        if (accounts.size() > 1) {
            throw wrong("--approvers of the accounts " + String.join(" and ", accounts)
                    + ": must be of the account of the repositories; CodeCommit counts no others' approvals");
        }
        if (members(ANY_ACCOUNT).size() > MOST_APPROVERS) {
            throw wrong("--approvers: are " + approvers.members.size() + ", and a rule takes " + MOST_APPROVERS
                    + ": use a pattern, such as 'Reviewers/*'");
        }
    }

    /** Of the members that name one. */
    static Stream<String> accounts(Collection<String> members) {
        return members.stream().filter(member -> member.contains(":"))
                .map(member -> member.split(":")[member.startsWith("arn:") ? 4 : 1]);
    }

    void checkBranches() {
        for (var branch : branches.names) {
            check("--branches", branch, "(?!\\*)(?!.*\\?)" + BRANCH, "a branch's name without refs/heads/, or a pattern"
                    + " with * but not at its beginning, such as main or 'release/*'");
        }
        if (givenReferences().size() > MOST_BRANCHES) {
            throw wrong("--branches: are " + givenReferences().size() + ", and a template takes " + MOST_BRANCHES
                    + ": use patterns, such as 'release/*', or --all-branches");
        }
    }

    static Optional<String> tooLong(Rule rule) {
        var length = rule.content().toString().length();
        return length <= LONGEST_CONTENT ? Optional.empty()
                : Optional.of("the template would have " + length + " characters, and CodeCommit takes "
                        + LONGEST_CONTENT + ": use fewer or shorter --branches or --approvers, or patterns such as"
                        + " 'release/*'");
    }

    /** The approvers as CodeCommit writes them. */
    SortedSet<String> members(String account) {
        return approvers.members.stream()
                .map(member -> member.contains(":") ? member : "CodeCommitApprovers:" + account + ":" + member)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    SortedSet<String> givenReferences() {
        return new TreeSet<>(references(branches.names));
    }

    /** What only the caller's own account tells. */
    void checkAccounts() {
        for (var member : approvers.members) {
            if (accounts(List.of(member)).anyMatch(account -> !account.equals(caller.account()))) {
                throw new Failure(member + " is of another account than the repositories, " + caller.account()
                        + "; CodeCommit counts no others' approvals");
            }
            if (member.startsWith("arn:") && !member.split(":")[1].equals(caller.partition())) {
                throw new Failure(member + " is of another partition than these credentials, " + caller.partition());
            }
        }
    }

    Template require(Optional<ApprovalRuleTemplate> present) {
        var selected = selectedRepositories();
        var associated = present.isEmpty() ? new TreeSet<String>() : repositoriesOfTemplate();
        var rule = bringInLine(present);
        if (rule.people().isPresent() && rule.people().getAsInt() == approvals) {
            note(templateName + ": nobody can merge a pull request of one of the " + approvals
                    + " approvers, as the author does not count; add an approver");
        }
        var isNewRule = !changes.isEmpty() && !present.flatMap(RequireApproval::rule).equals(Optional.of(rule));
        var missing = new TreeSet<>(selected);
        missing.removeAll(associated);
        var failed = associate(missing);
        var others = new TreeSet<>(associated);
        others.removeAll(selected);
        if (!others.isEmpty()) {
            note(templateName + ": stays associated with other repositories, too: " + some(others));
        }
        selected.removeAll(failed.keySet());
        var changed = new TreeSet<>(isNewRule ? associated : Set.of());
        changed.addAll(missing);
        changed.removeAll(failed.keySet());
        var outside = openPullRequests(changed, pullRequest -> isOutside(pullRequest, rule));
        tell(outside, "it does not hold for", "close and open them anew to have it hold for them");
        var shown = dryRun || changes.isEmpty() ? present : findTemplate(codecommit, templateName);
        return new Template(templateName, shown.map(ApprovalRuleTemplate::approvalRuleTemplateId).orElse(null),
                shown(present, shown), rule.content(),
                dryRun ? null : shown.map(ApprovalRuleTemplate::ruleContentSha256).orElse(null), selected, others,
                failed.values(), outside, null);
    }

    /** The description that a template has, or in a dry run would have; null if it has none. */
    String shown(Optional<ApprovalRuleTemplate> present, Optional<ApprovalRuleTemplate> shown) {
        var text = dryRun ? wantedDescription(present) : shown.map(RequireApproval::description).orElse("");
        return text.isEmpty() ? null : text;
    }

    /** The names of all repositories that are meant. */
    SortedSet<String> selectedRepositories() {
        var all = codecommit.listRepositoriesPaginator(r -> {}).repositories().stream()
                .map(RepositoryNameIdPair::repositoryName).toList();
        var unknown = repositories.globs.stream()
                .filter(glob -> all.stream().noneMatch(name -> matchesAny(List.of(glob), name))).toList();
        if (!unknown.isEmpty()) {
            throw new Failure("no such repository in " + region() + ": " + String.join(", ", unknown));
        }
        var selected = selected(all);
        if (selected.isEmpty() && !all.isEmpty()) {
            throw new Failure("no repository is left in " + region() + "; check --exclude "
                    + String.join(" ", exclude));
        }
        if (selected.isEmpty()) {
            note("there are no repositories in " + region() + ": run the same command again when there are");
        }
        return selected;
    }

    SortedSet<String> selected(Collection<String> names) {
        return names.stream().filter(name -> repositories.all || matchesAny(repositories.globs, name))
                .filter(name -> !matchesAny(exclude, name)).collect(Collectors.toCollection(TreeSet::new));
    }

    SortedSet<String> repositoriesOfTemplate() {
        return codecommit
                .listRepositoriesForApprovalRuleTemplatePaginator(r -> r.approvalRuleTemplateName(templateName))
                .stream().flatMap(page -> page.repositoryNames().stream())
                .collect(Collectors.toCollection(TreeSet::new));
    }

    static Optional<Rule> rule(ApprovalRuleTemplate template) {
        return Rule.of(template.approvalRuleTemplateContent());
    }

    static String description(ApprovalRuleTemplate template) {
        return Objects.requireNonNullElse(template.approvalRuleTemplateDescription(), "");
    }

    /** The rule as it should be: what is not given stays as it is. */
    Rule wantedRule(Optional<ApprovalRuleTemplate> present) {
        var keepsApprovers = approvers.members.isEmpty() && !approvers.any;
        var keepsBranches = branches.names.isEmpty() && !branches.all;
        var before = present.flatMap(RequireApproval::rule);
        if (present.isPresent() && before.isEmpty() && (keepsApprovers || keepsBranches)) {
            throw new Failure("its content is not one that this script can read: say what it should be, by --approvers"
                    + " or --any-approver, and --branches or --all-branches; it is "
                    + present.get().approvalRuleTemplateContent());
        }
        var rule = new Rule(approvals,
                keepsApprovers && before.isPresent() ? before.get().approvers() : members(caller.account()),
                keepsBranches && before.isPresent() ? before.get().references() : givenReferences());
        rule.flaw().or(() -> tooLong(rule)).ifPresent(flaw -> {
            throw new Failure(flaw);
        });
        return rule;
    }

    String wantedDescription(Optional<ApprovalRuleTemplate> present) {
        return description != null ? description : present.map(RequireApproval::description).orElse("");
    }

    /**
     * Creates or changes the template, and returns its rule. If someone else does so at the same time, it is read and
     * compared once more.
     */
    Rule bringInLine(Optional<ApprovalRuleTemplate> present) {
        var wanted = wantedRule(present);
        try {
            createOrUpdate(present, wanted);
            return wanted;
        } catch (ApprovalRuleTemplateNameAlreadyExistsException | InvalidRuleContentSha256Exception e) {
            var current = findTemplate(codecommit, templateName);
            if (isDoubtful(e) && current.flatMap(RequireApproval::rule).equals(Optional.of(wanted))) {
                recordRule(present, wanted); // by an attempt whose answer was lost
            } else {
                note(templateName + ": someone else changed it in the meantime; comparing it once more ...");
            }
            var wantedNow = wantedRule(current);
            createOrUpdate(current, wantedNow);
            return wantedNow;
        }
    }

    private void createOrUpdate(Optional<ApprovalRuleTemplate> present, Rule wanted) {
        if (present.isEmpty()) {
            if (!dryRun) {
                createTemplate(codecommit, templateName, wanted.content().toString(), wantedDescription(present));
            }
            recordRule(present, wanted);
            return;
        }
        var template = present.get();
        if (!rule(template).equals(Optional.of(wanted))) {
            if (!dryRun) {
                codecommit.updateApprovalRuleTemplateContent(
                        r -> r.approvalRuleTemplateName(templateName).newRuleContent(wanted.content().toString())
                                .existingRuleContentSha256(template.ruleContentSha256()));
            }
            recordRule(present, wanted);
        }
        var before = description(template);
        var after = wantedDescription(present);
        if (!before.equals(after)) {
            change(Change.update(templateName, "approvalRuleTemplateDescription", before, after),
                    aws("codecommit update-approval-rule-template-description",
                            Map.of("approvalRuleTemplateName", templateName,
                                    "approvalRuleTemplateDescription", before)),
                    () -> codecommit.updateApprovalRuleTemplateDescription(
                            r -> r.approvalRuleTemplateName(templateName).approvalRuleTemplateDescription(after)));
        }
    }

    /** Records that the template was created, or its content changed. */
    private void recordRule(Optional<ApprovalRuleTemplate> present, Rule wanted) {
        if (present.isEmpty()) {
            record(Change.creation(templateName, "approvalRuleTemplate", wanted.content()),
                    templateDeletion(templateName));
            return;
        }
        var before = present.get().approvalRuleTemplateContent();
        record(Change.update(templateName, "approvalRuleTemplateContent", parsed(before), wanted.content()),
                aws("codecommit update-approval-rule-template-content",
                        Map.of("approvalRuleTemplateName", templateName, "newRuleContent", before)));
    }

    /** As JSON, if it is. */
    static JsonNode parsed(String content) {
        try {
            return JSON.readTree(content);
        } catch (IOException e) {
            return JSON.getNodeFactory().textNode(content);
        }
    }

    /** Returns the repositories that failed, by name. */
    SortedMap<String, FailedRepository> associate(Set<String> names) {
        return inBatches(names, true, batch -> codecommit.batchAssociateApprovalRuleTemplateWithRepositories(
                r -> r.approvalRuleTemplateName(templateName).repositoryNames(batch)).errors().stream()
                .map(e -> FailedRepository.of(e.repositoryName(), e.errorCode(), e.errorMessage())),
                done -> Change.update(templateName, "repositoryNames", null, done),
                "batch-disassociate-approval-rule-template-from-repositories");
    }

    /** Returns the repositories that failed, by name. */
    SortedMap<String, FailedRepository> disassociate(Set<String> names) {
        return inBatches(names, false, batch -> codecommit.batchDisassociateApprovalRuleTemplateFromRepositories(
                r -> r.approvalRuleTemplateName(templateName).repositoryNames(batch)).errors().stream()
                .map(e -> FailedRepository.of(e.repositoryName(), e.errorCode(), e.errorMessage())),
                done -> Change.deletion(templateName, "repositoryNames", done, null),
                "batch-associate-approval-rule-template-with-repositories");
    }

    /**
     * Takes a step for as many repositories at a time as a call takes. A batch that fails does not stop the others.
     *
     * @param associated whether the step associates them
     * @param undo the operation that takes the step back
     */
    private SortedMap<String, FailedRepository> inBatches(Set<String> names, boolean associated,
            Function<List<String>, Stream<FailedRepository>> step, Function<List<String>, Change> change, String undo) {
        var failed = new TreeMap<String, FailedRepository>();
        var batches = batches(List.copyOf(names), ASSOCIATIONS_PER_CALL);
        if (!dryRun) {
            batches.forEach(batch -> failuresOf(batch, step).forEach(one -> failed.put(one.repositoryName(), one)));
            forgetDone(failed, associated);
        }
        for (var batch : batches) {
            var done = batch.stream().filter(name -> !failed.containsKey(name)).toList();
            if (!done.isEmpty()) {
                record(change.apply(done), aws("codecommit " + undo,
                        Map.of("approvalRuleTemplateName", templateName, "repositoryNames", done)));
            }
        }
        failed.values().forEach(one -> note(one.repositoryName() + ": " + one.errorMessage()));
        return failed;
    }

    private static List<FailedRepository> failuresOf(List<String> batch,
            Function<List<String>, Stream<FailedRepository>> step) {
        try {
            return step.apply(batch).toList();
        } catch (SdkException e) {
            var code = e instanceof AwsServiceException answer && answer.awsErrorDetails() != null
                    ? answer.awsErrorDetails().errorCode() : e.getClass().getSimpleName();
            return batch.stream().map(name -> new FailedRepository(name, code, reason(e))).toList();
        }
    }

    /**
     * What is as it should be has not failed, whatever the answer was: an attempt before it may have had an effect, and
     * AWS does not say how it answers a second one.
     */
    private void forgetDone(Map<String, FailedRepository> failed, boolean associated) {
        if (failed.isEmpty()) {
            return;
        }
        try {
            var now = repositoriesOfTemplate();
            failed.keySet().removeIf(name -> now.contains(name) == associated);
        } catch (SdkException e) {
            note(templateName + ": which repositories have it could not be seen: " + reason(e));
        }
    }

    Template remove(Optional<ApprovalRuleTemplate> present) {
        if (present.isEmpty()) {
            return new Template(templateName, null, null, null, null, List.of(), List.of(), List.of(), null, null);
        }
        var associated = repositoriesOfTemplate();
        var selected = selected(associated);
        if (!repositories.all && selected.isEmpty()) {
            note(templateName + ": no repository that has it is one of " + String.join(", ", repositories.globs));
        }
        var failed = disassociate(selected);
        var others = new TreeSet<>(associated);
        others.removeAll(selected);
        var error = others.isEmpty() && failed.isEmpty() ? delete(present.get()) : null;
        if (!others.isEmpty()) {
            note(templateName + ": kept, because other repositories have it: " + some(others));
        }
        var done = new TreeSet<>(selected);
        done.removeAll(failed.keySet());
        var left = openPullRequests(done, pullRequest -> ownRule(pullRequest).isPresent());
        tell(left, "its rule stays on", "only an override sets it aside");
        var isDeleted = changes.stream().anyMatch(change -> change.field().equals("approvalRuleTemplate"));
        return new Template(templateName, present.get().approvalRuleTemplateId(), null,
                isDeleted ? null : parsed(present.get().approvalRuleTemplateContent()), null, failed.keySet(), others,
                failed.values(), left, error);
    }

    /** Returns why it could not be deleted, which does not undo that it was taken off; null if it was. */
    private String delete(ApprovalRuleTemplate template) {
        var creation = new TreeMap<>(Map.of("approvalRuleTemplateName", templateName,
                "approvalRuleTemplateContent", template.approvalRuleTemplateContent()));
        if (!description(template).isEmpty()) {
            creation.put("approvalRuleTemplateDescription", description(template));
        }
        try {
            change(Change.deletion(templateName, "approvalRuleTemplate",
                    parsed(template.approvalRuleTemplateContent()), null),
                    aws("codecommit create-approval-rule-template", creation),
                    () -> codecommit.deleteApprovalRuleTemplate(r -> r.approvalRuleTemplateName(templateName)));
            return null;
        } catch (ApprovalRuleTemplateInUseException e) {
            note(templateName + ": kept, because someone else associated it in the meantime: " + reason(e));
            return reason(e);
        } catch (SdkException e) {
            fail(new Failure(templateName + ": could not be deleted: " + reason(e), e));
            return reason(e);
        }
    }

    /** The rule that this template made on a pull request. */
    private Optional<Rule> ownRule(PullRequest pullRequest) {
        return pullRequest.approvalRules().stream()
                .filter(rule -> rule.originApprovalRuleTemplate() != null
                        && templateName.equals(rule.originApprovalRuleTemplate().approvalRuleTemplateName()))
                .flatMap(rule -> Rule.of(rule.approvalRuleContent()).stream()).findFirst();
    }

    private boolean isOutside(PullRequest pullRequest, Rule wanted) {
        var own = ownRule(pullRequest);
        var isHeld = own.isPresent() && own.get().approvals() == wanted.approvals()
                && own.get().approvers().equals(wanted.approvers());
        return !isHeld && pullRequest.pullRequestTargets().stream()
                .anyMatch(target -> wanted.isFor(target.destinationReference()));
    }

    /** The open pull requests of some repositories that are meant; null if they could not be counted. */
    private List<OpenPullRequest> openPullRequests(Collection<String> names, Predicate<PullRequest> isMeant) {
        if (names.isEmpty()) {
            return null;
        }
        try {
            return inParallel(Math.min(LOOKS_AT_ONCE, names.size()), List.copyOf(names),
                    name -> openPullRequests(name, isMeant)).stream().flatMap(List::stream).toList();
        } catch (SdkException e) {
            note(templateName + ": the open pull requests could not be counted: " + reason(e));
            return null;
        }
    }

    private List<OpenPullRequest> openPullRequests(String repositoryName, Predicate<PullRequest> isMeant) {
        return codecommit.listPullRequestsPaginator(
                r -> r.repositoryName(repositoryName).pullRequestStatus(PullRequestStatusEnum.OPEN))
                .stream().flatMap(page -> page.pullRequestIds().stream())
                .filter(id -> isMeant.test(codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest()))
                .map(id -> new OpenPullRequest(repositoryName, id)).toList();
    }

    private void tell(List<OpenPullRequest> pullRequests, String what, String wayOut) {
        if (pullRequests != null && !pullRequests.isEmpty()) {
            note(templateName + ": " + what + " " + pullRequests.size() + " open pull request"
                    + (pullRequests.size() == 1 ? "" : "s") + "; " + wayOut + ": "
                    + some(pullRequests.stream().map(one -> one.repositoryName() + " " + one.pullRequestId())
                            .toList()));
        }
    }

    /** The first of them, and how many more there are. */
    static String some(Collection<String> names) {
        var shown = names.stream().limit(10).collect(Collectors.joining(", "));
        return names.size() <= 10 ? shown : shown + " and " + (names.size() - 10) + " more";
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

    //region The same in every script: threads

    /** A thread that does not keep Java alive. */
    static Thread daemon(Runnable task) {
        var thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    }

    //endregion

    //region The same in every script: steps in parallel

    /** Takes a step for each item, some at a time; the results are in the items' order, and so is what fails. */
    static <T, R> List<R> inParallel(int threads, List<T> items, Function<T, R> step) {
        var workers = Executors.newFixedThreadPool(threads, task -> daemon(task));
        try {
            var results = new ArrayList<R>();
            for (var future : items.stream().map(item -> workers.submit(() -> step.apply(item))).toList()) {
                results.add(future.get());
            }
            return results;
        } catch (InterruptedException e) {
            throw new Failure("interrupted", e);
        } catch (java.util.concurrent.ExecutionException e) {
            throw e.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(e.getCause());
        } finally {
            workers.shutdownNow();
        }
    }

    //endregion

    //region The same in every script: batches

    /** The items in parts, for an operation that takes so many at once. */
    static <T> List<List<T>> batches(List<T> items, int size) {
        return IntStream.iterate(0, from -> from < items.size(), from -> from + size)
                .mapToObj(from -> items.subList(from, Math.min(from + size, items.size()))).toList();
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

    //region The same in every script: names of branches

    /** Git's rules for a branch's name, with * and ? in it; beyond ASCII only letters that IAM takes in a policy. */
    static final String BRANCH = "(?!refs/|[./-])(?!.*(\\.\\.|@\\{|//|/\\.|\\.lock(/|$)))"
            + "[!-\\u00ff&&[^\\x7f-\\xa0~^:\\[\\\\]]{1,256}(?<![./])";

    static List<String> references(List<String> branches) {
        return branches.stream().distinct().map(branch -> "refs/heads/" + branch).toList();
    }

    //endregion

    //region The same in every script: approval rule templates

    static Optional<ApprovalRuleTemplate> findTemplate(CodeCommitClient codecommit, String name) {
        try {
            return Optional.of(codecommit.getApprovalRuleTemplate(r -> r.approvalRuleTemplateName(name))
                    .approvalRuleTemplate());
        } catch (ApprovalRuleTemplateDoesNotExistException e) {
            return Optional.empty();
        }
    }

    static void createTemplate(CodeCommitClient codecommit, String name, String content, String description) {
        codecommit.createApprovalRuleTemplate(
                r -> r.approvalRuleTemplateName(name).approvalRuleTemplateContent(content)
                        .approvalRuleTemplateDescription(description.isEmpty() ? null : description));
    }

    /** The AWS CLI command for it. */
    String templateDeletion(String name) {
        return aws("codecommit delete-approval-rule-template", Map.of("approvalRuleTemplateName", name));
    }

    //endregion

    //region The same in every script: globs of repositories

    @Option(names = "--exclude", paramLabel = "GLOB", arity = "1..*",
            description = "Repositories to leave out, by name or with * and ?.")
    List<String> exclude = List.of();

    void checkGlobs(String option, List<String> globs) {
        globs.forEach(glob -> check(option, glob, "[\\w.*?-]{1,100}",
                "a repository's name, which may have * and ? for any characters, such as 'team-*'"));
    }

    /** Whether a repository's name is one of the globs. */
    static boolean matchesAny(List<String> globs, String name) {
        return globs.stream()
                .anyMatch(glob -> name.matches(glob.replace(".", "\\.").replace("*", ".*").replace('?', '.')));
    }

    //endregion
}
