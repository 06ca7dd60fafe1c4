package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eclipse.jgit.dircache.DirCache;
import org.eclipse.jgit.dircache.DirCacheEntry;
import org.eclipse.jgit.errors.MissingObjectException;
import org.eclipse.jgit.internal.storage.dfs.DfsRepositoryDescription;
import org.eclipse.jgit.internal.storage.dfs.InMemoryRepository;
import org.eclipse.jgit.lib.CommitBuilder;
import org.eclipse.jgit.lib.Constants;
import org.eclipse.jgit.lib.FileMode;
import org.eclipse.jgit.lib.ObjectId;
import org.eclipse.jgit.lib.ObjectInserter;
import org.eclipse.jgit.lib.PersonIdent;
import org.eclipse.jgit.lib.RefUpdate;
import org.eclipse.jgit.lib.Repository;
import org.eclipse.jgit.lib.TagBuilder;
import org.eclipse.jgit.revwalk.RevCommit;
import org.eclipse.jgit.revwalk.RevObject;
import org.eclipse.jgit.revwalk.RevWalk;
import org.eclipse.jgit.revwalk.filter.RevFilter;
import org.eclipse.jgit.storage.file.FileRepositoryBuilder;
import org.eclipse.jgit.transport.ReceiveCommand;
import org.eclipse.jgit.treewalk.TreeWalk;
import org.eclipse.jgit.util.FileUtils;

/** CodeCommit: repositories with their settings, each with a Git repository that {@link GitHttp} serves. */
public final class CodeCommit implements LocalAws.Service {
    /** At AWS too a quota that can be raised. */
    public volatile int repositoryLimit = 5_000;
    public volatile int repositoriesPerPage = 1_000;
    /** Fewer than at AWS, so that more than one page is met. */
    public volatile int tagsPerPage = 20;
    public volatile int pullRequestsPerPage = 10;
    public volatile int commentsPerPage = 4;
    public volatile int eventsPerPage = 3;
    public volatile int templatesPerPage = 5;
    public volatile int branchesPerPage = 100;
    public volatile int repositoriesPerTemplatePage = 100;
    /** Whether to associate a template once more is an error; what CodeCommit does is not documented. */
    public volatile boolean refuseAssociated;
    /** Whether Git clients that ask for protocol version 2 get it; what CodeCommit does is not documented. */
    public volatile boolean gitProtocolV2 = true;
    /**
     * Whether a push of several refs is authorised once, with all of them as a list; what CodeCommit does is not
     * documented. Else ref by ref.
     */
    public volatile boolean referencesAsList;
    /**
     * Whether repositories under the AWS managed key tell its ARN as kmsKeyId; what CodeCommit does is not documented.
     */
    public volatile boolean showManagedKey;
    /**
     * Whether BatchGetRepositories asks for the key of each repository, as its errors suggest; when CodeCommit answers
     * with them is not documented.
     */
    public volatile boolean batchNeedsKey = true;

    /**
     * Whether a test of triggers also puts them in the place of all others, as one sentence of the user guide can be
     * read; the API reference has no word of it.
     */
    public volatile boolean testKeepsTriggers;

    private static final int NAMES_PER_BATCH = 100;
    private static final int TAGS = 50;
    /** Quotas of the user guide's page "limits", of approval rule templates. */
    private static final int TEMPLATES = 1_000;
    private static final int TEMPLATES_PER_REPOSITORY = 25;
    /** The most that the model allows as content of a file. */
    private static final int FILE_BYTES = 6 * 1024 * 1024;
    private static final Pattern TAG_TEXT = Pattern.compile("[\\p{L}\\p{N}\\p{Z}+\\-=._:/@]*");

    private final LocalAws aws;
    private final String account;
    private final Map<String, Map<String, Repo>> regions = new ConcurrentHashMap<>();
    private final Map<String, Map<String, PullRequest>> pullRequests = new ConcurrentHashMap<>();
    private final Map<String, Map<String, ObjectNode>> templates = new ConcurrentHashMap<>();
    private Path directory;

    CodeCommit(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    /** For tests: a repository of the Region that they use, made without a call. */
    public Repo createRepository(String name) {
        return createRepository("eu-west-1", name);
    }

    public synchronized Repo createRepository(String region, String name) {
        var repo = new Repo(name, new Caller("", account, region));
        if (in(region).putIfAbsent(name, repo) != null) {
            throw new IllegalArgumentException(name + " exists in " + region);
        }
        return repo;
    }

    public void deleteRepository(String region, String name) {
        in(region).remove(name);
    }

    /** As UpdateRepositoryName does it: the id stays, the ARN does not. */
    public synchronized void renameRepository(String name, String newName) {
        rename(in("eu-west-1").get(name), newName);
    }

    public Repo repository(String name) {
        return repository("eu-west-1", name);
    }

    /** The repository, or null. */
    public Repo repository(String region, String name) {
        return in(region).get(name);
    }

    private Map<String, Repo> in(String region) {
        return LocalAws.regional(regions, region, LocalAws::sortedMap);
    }

    private synchronized Path directory() throws IOException {
        if (directory == null) directory = Files.createTempDirectory("local-aws-git-");
        return directory;
    }

    // Permissions

    /** What CodeCommit does with a key for whoever makes a repository under it or changes its contents. */
    private static final List<String> KEY_USE = List.of("kms:DescribeKey", "kms:Encrypt", "kms:Decrypt",
            "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext");
    private static final List<String> KEY_READ = List.of("kms:Decrypt");

    /** On the repository, which has no policy of its own; approval rule templates and the list have no resource. */
    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "codecommit:" + operation;
        return switch (operation) {
            case "ListRepositories", "CreateApprovalRuleTemplate", "DeleteApprovalRuleTemplate",
                    "GetApprovalRuleTemplate", "ListApprovalRuleTemplates", "ListRepositoriesForApprovalRuleTemplate",
                    "UpdateApprovalRuleTemplateContent", "UpdateApprovalRuleTemplateDescription",
                    "UpdateApprovalRuleTemplateName" ->
                List.of(new Need(action, "*"));
            // whether the single action is needed, too, is not documented
            case "BatchAssociateApprovalRuleTemplateWithRepositories" ->
                onEach(input, caller, action, "codecommit:AssociateApprovalRuleTemplateWithRepository");
            case "BatchDisassociateApprovalRuleTemplateFromRepositories" ->
                onEach(input, caller, action, "codecommit:DisassociateApprovalRuleTemplateFromRepository");
            case "UpdateRepositoryName" -> List.of(on(action, input.path("oldName").asText(), caller));
            case "CreateRepository" -> {
                var tags = new TreeMap<String, String>();
                input.path("tags").properties().forEach(tag -> tags.put(tag.getKey(), tag.getValue().asText()));
                var arn = caller.arn("codecommit", input.path("repositoryName").asText());
                var create = new Need(action, arn).requestTags(tags);
                yield tags.isEmpty() ? List.of(create)
                        : List.of(create, new Need("codecommit:TagResource", arn).requestTags(tags));
            }
            case "BatchGetRepositories" -> onEach(input, caller, action);
            case "CreatePullRequest" ->
                List.of(on(action, target(input).path("repositoryName").asText(), caller));
            case "GetRepository", "DeleteRepository", "UpdateRepositoryDescription", "UpdateRepositoryEncryptionKey",
                    "UpdateDefaultBranch", "GetFile", "ListPullRequests", "GetRepositoryTriggers",
                    "PutRepositoryTriggers", "TestRepositoryTriggers", "AssociateApprovalRuleTemplateWithRepository",
                    "DisassociateApprovalRuleTemplateFromRepository", "GetBranch", "GetCommit", "ListBranches",
                    "ListAssociatedApprovalRuleTemplatesForRepository" ->
                List.of(on(action, input.path("repositoryName").asText(), caller));
            case "CreateBranch", "CreateCommit", "CreateUnreferencedMergeCommit", "DeleteBranch", "DeleteFile",
                    "MergeBranchesByFastForward", "MergeBranchesBySquash", "MergeBranchesByThreeWay", "PutFile" ->
                List.of(on(action, input.path("repositoryName").asText(), caller)
                        .key("codecommit:References", Branches.reference(operation, input)));
            case "MergePullRequestByFastForward", "MergePullRequestBySquash", "MergePullRequestByThreeWay" ->
                List.of(on(action, input.path("repositoryName").asText(), caller)
                        .key("codecommit:References", existing(input, caller).destination()));
            case "GetPullRequest", "DescribePullRequestEvents", "GetCommentsForPullRequest",
                    "CreatePullRequestApprovalRule", "DeletePullRequestApprovalRule",
                    "EvaluatePullRequestApprovalRules", "GetPullRequestApprovalStates", "GetPullRequestOverrideState",
                    "OverridePullRequestApprovalRules", "UpdatePullRequestApprovalRuleContent",
                    "UpdatePullRequestApprovalState", "UpdatePullRequestStatus" ->
                List.of(on(action, existing(input, caller).repo.name, caller));
            case "ListTagsForResource" -> List.of(tagging(action, input, caller));
            case "TagResource" -> {
                var tags = new TreeMap<String, String>();
                input.path("tags").properties().forEach(tag -> tags.put(tag.getKey(), tag.getValue().asText()));
                yield List.of(tagging(action, input, caller).requestTags(tags));
            }
            case "UntagResource" -> List.of(tagging(action, input, caller).keys("aws:TagKeys",
                    input.path("tagKeys").valueStream().map(JsonNode::asText).toList()));
            default -> throw new IllegalStateException("no permission is known for codecommit:" + operation);
        };
    }

    /** An action on a repository, which need not exist. */
    Need on(String action, String name, Caller caller) {
        var repo = in(caller.region()).get(name);
        var need = new Need(action, caller.arn("codecommit", name));
        return repo == null ? need : need.resourceTags(repo.tags());
    }

    private List<Need> onEach(ObjectNode input, Caller caller, String... actions) {
        return input.path("repositoryNames").valueStream()
                .flatMap(name -> Stream.of(actions).map(action -> on(action, name.asText(), caller))).toList();
    }

    private Need tagging(String action, ObjectNode input, Caller caller) {
        return on(action, nameInArn(input, caller), caller);
    }

    @Override
    public JsonNode answer(String operation, ObjectNode input, Caller caller) {
        return switch (operation) {
            case "CreateRepository" -> createRepository(input, caller);
            case "GetRepository" -> answer("repositoryMetadata", readable(input, caller).metadata());
            case "BatchGetRepositories" -> batchGetRepositories(input, caller);
            case "ListRepositories" -> listRepositories(input, caller);
            case "DeleteRepository" -> deleteRepository(input, caller);
            case "UpdateRepositoryDescription" -> updateRepositoryDescription(input, caller);
            case "UpdateRepositoryEncryptionKey" -> updateRepositoryEncryptionKey(input, caller);
            case "UpdateDefaultBranch" -> updateDefaultBranch(input, caller);
            case "ListTagsForResource" -> listTagsForResource(input, caller);
            case "TagResource" -> tagResource(input, caller);
            case "UntagResource" -> untagResource(input, caller);
            case "GetFile" -> getFile(input, caller);
            case "GetPullRequest" -> answer("pullRequest", pullRequest(input, caller).shown());
            case "ListPullRequests" -> listPullRequests(input, caller);
            case "DescribePullRequestEvents" -> describePullRequestEvents(input, caller);
            case "GetCommentsForPullRequest" -> getCommentsForPullRequest(input, caller);
            case "CreatePullRequest" -> createPullRequest(input, caller);
            case "UpdatePullRequestStatus" -> {
                var pullRequest = pullRequest(input, caller);
                pullRequest.status(input.get("pullRequestStatus").asText(), caller.arn());
                yield answer("pullRequest", pullRequest.shown());
            }
            case "UpdatePullRequestApprovalState" -> {
                pullRequest(input, caller).approve(input.get("revisionId").asText(),
                        input.get("approvalState").asText(), caller.arn());
                yield null;
            }
            case "EvaluatePullRequestApprovalRules" ->
                answer("evaluation", pullRequest(input, caller).evaluation(input.get("revisionId").asText()));
            case "GetPullRequestApprovalStates" -> revision(input, caller).approvals();
            case "GetPullRequestOverrideState" -> revision(input, caller).override();
            case "GetRepositoryTriggers" -> readable(input, caller).triggers.answer();
            case "PutRepositoryTriggers" -> readable(input, caller).triggers.put(input, caller);
            case "TestRepositoryTriggers" -> testRepositoryTriggers(input, caller);
            case "CreateApprovalRuleTemplate" -> createApprovalRuleTemplate(input, caller);
            case "GetApprovalRuleTemplate" -> answer("approvalRuleTemplate", template(input, caller).deepCopy());
            case "DeleteApprovalRuleTemplate" -> deleteTemplate(input, caller);
            case "ListApprovalRuleTemplates" -> listTemplates(input, caller);
            case "ListRepositoriesForApprovalRuleTemplate" -> listRepositoriesForTemplate(input, caller);
            case "UpdateApprovalRuleTemplateDescription" -> updateTemplateDescription(input, caller);
            case "UpdateApprovalRuleTemplateName" -> updateTemplateName(input, caller);
            case "BatchAssociateApprovalRuleTemplateWithRepositories" ->
                eachRepository(input, caller, "associatedRepositoryNames", this::associate);
            case "BatchDisassociateApprovalRuleTemplateFromRepositories" -> {
                var answer = eachRepository(input, caller, "disassociatedRepositoryNames",
                        (repo, template) -> repo.templates.remove(template));
                tellTemplate("approvalRuleTemplateBatchDisassociatedFromRepositories", template(input, caller), null,
                        caller);
                yield answer;
            }
            case "AssociateApprovalRuleTemplateWithRepository" -> associateTemplate(input, caller);
            case "ListAssociatedApprovalRuleTemplatesForRepository" -> listAssociatedTemplates(input, caller);
            case "DisassociateApprovalRuleTemplateFromRepository" -> {
                var template = template(input, caller);
                var repo = readable(input, caller);
                repo.templates.remove(template.get("approvalRuleTemplateName").asText());
                tellTemplate("approvalRuleTemplateDisassociatedFromRepository", template, repo, caller);
                yield null;
            }
            case "UpdateApprovalRuleTemplateContent" -> updateTemplateContent(input, caller);
            case "UpdateRepositoryName" -> updateRepositoryName(input, caller);
            case "ListBranches" -> listBranches(input, caller);
            case "GetBranch", "GetCommit" ->
                new Branches(aws, readable(input, caller), input, caller).answer(operation);
            case "CreateBranch", "CreateCommit", "CreateUnreferencedMergeCommit", "DeleteBranch", "DeleteFile",
                    "MergeBranchesByFastForward", "MergeBranchesBySquash", "MergeBranchesByThreeWay", "PutFile" ->
                new Branches(aws, writable(input, caller), input, caller).answer(operation);
            case "MergePullRequestByFastForward", "MergePullRequestBySquash", "MergePullRequestByThreeWay" ->
                mergePullRequest(operation.substring("MergePullRequestBy".length()), input, caller);
            case "OverridePullRequestApprovalRules" -> {
                var pullRequest = pullRequest(input, caller);
                pullRequest.override(input.get("revisionId").asText(), input.get("overrideStatus").asText(),
                        caller.arn());
                tellPullRequest("pullRequestApprovalRuleOverridden", pullRequest, caller,
                        Map.of("overrideStatus", input.get("overrideStatus").asText()));
                yield null;
            }
            case "CreatePullRequestApprovalRule" -> answer("approvalRule", pullRequest(input, caller)
                    .createRule(ruleName(input), input.get("approvalRuleContent").asText(), caller.arn()));
            case "UpdatePullRequestApprovalRuleContent" -> answer("approvalRule", pullRequest(input, caller)
                    .updateRule(ruleName(input), input.get("newRuleContent").asText(),
                            input.path("existingRuleContentSha256").textValue(), caller.arn()));
            case "DeletePullRequestApprovalRule" -> {
                var pullRequest = pullRequest(input, caller);
                var ruleName = ruleName(input);
                var id = pullRequest.deleteRule(ruleName);
                if (id != null) {
                    tellPullRequest("pullRequestApprovalRuleDeleted", pullRequest, caller,
                            Map.of("approvalRuleName", ruleName));
                }
                yield id == null ? Models.JSON.createObjectNode()
                        : Models.JSON.createObjectNode().put("approvalRuleId", id);
            }
            default -> throw new AwsError("UnknownOperationException", operation);
        };
    }

    /**
     * What the errors that an operation declares call a member of its request: "Invalid" + this + "Exception", this +
     * "RequiredException".
     */
    private static final Map<String, String> ERROR_NAMES = Map.ofEntries(
            Map.entry("repositoryName", "RepositoryName"), Map.entry("repositoryNames", "RepositoryNames"),
            Map.entry("repositoryDescription", "RepositoryDescription"),
            Map.entry("kmsKeyId", "EncryptionKey"), Map.entry("tags", "TagsMap"), Map.entry("tagKeys", "TagKeysList"),
            Map.entry("resourceArn", "ResourceArn"),
            Map.entry("defaultBranchName", "BranchName"), Map.entry("sortBy", "SortBy"), Map.entry("order", "Order"),
            Map.entry("nextToken", "ContinuationToken"),
            Map.entry("maxResults", "MaxResults"), Map.entry("pullRequestId", "PullRequestId"),
            Map.entry("pullRequestStatus", "PullRequestStatus"),
            Map.entry("pullRequestEventType", "PullRequestEventType"), Map.entry("revisionId", "RevisionId"),
            Map.entry("filePath", "Path"),
            Map.entry("authorArn", "AuthorArn"), Map.entry("triggers", "RepositoryTriggersList"),
            Map.entry("triggers.name", "RepositoryTriggerName"),
            Map.entry("triggers.destinationArn", "RepositoryTriggerDestinationArn"),
            Map.entry("triggers.customData", "RepositoryTriggerCustomData"),
            Map.entry("triggers.branches", "RepositoryTriggerBranchName"),
            Map.entry("triggers.events", "RepositoryTriggerEvents"),
            Map.entry("approvalRuleTemplateName", "ApprovalRuleTemplateName"),
            Map.entry("approvalRuleTemplateDescription", "ApprovalRuleTemplateDescription"),
            Map.entry("approvalRuleTemplateContent", "ApprovalRuleTemplateContent"),
            Map.entry("newRuleContent", "ApprovalRuleTemplateContent"),
            Map.entry("existingRuleContentSha256", "RuleContentSha256"), Map.entry("branchName", "BranchName"),
            Map.entry("commitId", "CommitId"), Map.entry("oldName", "RepositoryName"),
            Map.entry("newName", "RepositoryName"), Map.entry("parentCommitId", "ParentCommitId"),
            Map.entry("fileContent", "FileContent"), Map.entry("fileMode", "FileMode"),
            Map.entry("putFiles.filePath", "Path"), Map.entry("deleteFiles.filePath", "Path"),
            Map.entry("sourceCommitSpecifier", "Commit"), Map.entry("destinationCommitSpecifier", "Commit"),
            Map.entry("mergeOption", "MergeOption"), Map.entry("targetBranch", "TargetBranch"),
            Map.entry("approvalRuleName", "ApprovalRuleName"), Map.entry("overrideStatus", "OverrideStatus"),
            Map.entry("approvalRuleContent", "ApprovalRuleContent"), Map.entry("approvalState", "ApprovalState"),
            Map.entry("oldApprovalRuleTemplateName", "ApprovalRuleTemplateName"),
            Map.entry("newApprovalRuleTemplateName", "ApprovalRuleTemplateName"),
            Map.entry("title", "Title"), Map.entry("description", "Description"), Map.entry("targets", "Targets"),
            Map.entry("targets.repositoryName", "RepositoryName"),
            Map.entry("targets.sourceReference", "ReferenceName"),
            Map.entry("clientRequestToken", "ClientRequestToken"));

    @Override
    public AwsError invalid(String operation, List<Models.Violation> violations) {
        var violation = violations.get(0);
        if (violation.rule() == Models.Rule.UNKNOWN || violation.rule() == Models.Rule.TYPE) {
            return new AwsError("SerializationException", violation.text());
        }
        var path = violation.path().substring(1).split("\\."); // such as triggers.1.member.name
        var member = path[0] + (path.length > 3 ? "." + path[3] : "");
        var name = operation.equals("UpdatePullRequestApprovalRuleContent") && member.equals("newRuleContent")
                ? "ApprovalRuleContent" : ERROR_NAMES.getOrDefault(member, member);
        var code = violation.rule() == Models.Rule.REQUIRED
                ? name + (member.equals("triggers.events") ? "List" : "") + "RequiredException" : switch (member) {
            case "kmsKeyId" -> "EncryptionKeyInvalidIdException";
            case "repositoryNames" -> "InvalidRepositoryNameException";
            default -> "Invalid" + name + "Exception";
        };
        // those that associate templates declare none for it
        if (member.equals("repositoryNames") && !violation.rule().equals(Models.Rule.REQUIRED)) {
            return new AwsError(code, violation.text());
        }
        for (var declared : Models.operation("codecommit", operation).path("errors")) {
            if (declared.asText().equals(code)) return new AwsError(code, violation.text());
        }
        throw new IllegalStateException(operation + " does not declare " + code);
    }

    private JsonNode createRepository(ObjectNode input, Caller caller) {
        var name = name(input.get("repositoryName").asText());
        var repo = new Repo(name, caller);
        repo.description = input.path("repositoryDescription").asText("");
        addTags(repo.tags, input.path("tags"));
        repo.key(usable(input.hasNonNull("kmsKeyId") ? input.get("kmsKeyId").asText() : managedKey(caller), caller));
        if (in(caller.region()).containsKey(name)) {
            throw new AwsError("RepositoryNameExistsException", "Repository named " + name + " already exists");
        }
        if (in(caller.region()).size() >= repositoryLimit) {
            throw new AwsError("RepositoryLimitExceededException",
                    "Repository limit of " + repositoryLimit + " exceeded for account " + caller.account());
        }
        in(caller.region()).put(name, repo);
        return answer("repositoryMetadata", repo.metadata());
    }

    private JsonNode batchGetRepositories(ObjectNode input, Caller caller) {
        var names = input.get("repositoryNames");
        if (names.isEmpty()) {
            throw new AwsError("RepositoryNamesRequiredException", "A list of repository names is required");
        }
        if (names.size() > NAMES_PER_BATCH) {
            throw new AwsError("MaximumRepositoryNamesExceededException",
                    "The maximum number of repository names is " + NAMES_PER_BATCH);
        }
        var answer = Models.JSON.createObjectNode();
        var repositories = answer.putArray("repositories");
        var notFound = answer.putArray("repositoriesNotFound");
        var errors = answer.putArray("errors");
        for (var name : names) {
            var repo = in(caller.region()).get(name(name.asText()));
            if (repo == null) {
                notFound.add(name);
            } else {
                try {
                    if (batchNeedsKey) repo.checkKey(caller);
                    repositories.add(repo.metadata());
                } catch (AwsError e) {
                    errors.addObject().put("repositoryId", repo.id).put("repositoryName", repo.name)
                            .put("errorCode", e.code).put("errorMessage", e.getMessage());
                }
            }
        }
        return answer;
    }

    private JsonNode listRepositories(ObjectNode input, Caller caller) {
        Function<Repo, String> key = switch (input.path("sortBy").asText()) {
            case "repositoryName" -> repo -> repo.name;
            case "lastModifiedDate" -> repo -> "%015d %s".formatted(repo.lastModified.toEpochMilli(), repo.id);
            default -> repo -> repo.id; // nothing is said about the order that nobody asked for
        };
        Comparator<String> order = input.path("order").asText().equals("descending") ? Comparator.reverseOrder()
                : Comparator.naturalOrder();
        var answer = Models.JSON.createObjectNode();
        var page = answer.putArray("repositories");
        page(new ArrayList<>(in(caller.region()).values()), key, order, input, repositoriesPerPage, answer)
                .forEach(repo -> page.addObject().put("repositoryName", repo.name).put("repositoryId", repo.id));
        return answer;
    }

    /**
     * The items, ordered by their keys, that come after the key in nextToken; a new token goes into the answer. Others
     * may come and go meanwhile.
     */
    private static <T> List<T> page(List<T> items, Function<T, String> key, Comparator<String> order, ObjectNode input,
            int size, ObjectNode answer) {
        var rest = items.stream().sorted(Comparator.comparing(key, order));
        if (input.hasNonNull("nextToken")) {
            String token;
            try {
                token = new String(Base64.getUrlDecoder().decode(input.get("nextToken").asText()),
                        StandardCharsets.UTF_8);
            } catch (IllegalArgumentException e) {
                token = "";
            }
            if (!token.startsWith("after ")) {
                throw new AwsError("InvalidContinuationTokenException", "The continuation token is not valid");
            }
            var after = token.substring("after ".length());
            rest = rest.filter(item -> order.compare(key.apply(item), after) > 0);
        }
        var page = rest.limit(size + 1L).toList();
        if (page.size() <= size) return page;
        answer.put("nextToken", Base64.getUrlEncoder()
                .encodeToString(("after " + key.apply(page.get(size - 1))).getBytes(StandardCharsets.UTF_8)));
        return page.subList(0, size);
    }

    private JsonNode deleteRepository(ObjectNode input, Caller caller) {
        var repo = in(caller.region()).remove(name(input.get("repositoryName").asText()));
        return repo == null ? Models.JSON.createObjectNode()
                : Models.JSON.createObjectNode().put("repositoryId", repo.id);
    }

    private JsonNode updateRepositoryName(ObjectNode input, Caller caller) {
        var repo = existing(name(input.get("oldName").asText()), caller);
        var newName = name(input.get("newName").asText());
        if (in(caller.region()).containsKey(newName)) {
            throw new AwsError("RepositoryNameExistsException", "Repository named " + newName + " already exists");
        }
        rename(repo, newName);
        return null;
    }

    private void rename(Repo repo, String newName) {
        var repos = in(repo.owner.region());
        repos.remove(repo.name);
        repo.name = newName;
        repo.arn = repo.owner.arn("codecommit", newName);
        repos.put(newName, repo);
    }

    private JsonNode listBranches(ObjectNode input, Caller caller) {
        var repo = readable(input, caller);
        var answer = Models.JSON.createObjectNode();
        var list = answer.putArray("branches");
        try {
            var names = repo.readable().getRefDatabase().getRefsByPrefix("refs/heads/").stream()
                    .map(ref -> ref.getName().substring("refs/heads/".length())).toList();
            page(names, name -> name, Comparator.naturalOrder(), input, branchesPerPage, answer).forEach(list::add);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return answer;
    }

    private JsonNode mergePullRequest(String option, ObjectNode input, Caller caller) {
        var pullRequest = pullRequest(input, caller);
        if (writable(input, caller) != pullRequest.repo) {
            throw new AwsError("RepositoryNotAssociatedWithPullRequestException", input.get("repositoryName").asText()
                    + " does not have the pull request " + pullRequest.id);
        }
        if (!pullRequest.shown().get("pullRequestStatus").asText().equals("OPEN")) {
            throw new AwsError("PullRequestAlreadyClosedException", "The pull request is already closed");
        }
        if (!pullRequest.satisfied()) {
            throw new AwsError("PullRequestApprovalRulesNotSatisfiedException",
                    "The approval rules of the pull request are not satisfied");
        }
        try {
            pullRequest.merge(option, new Branches(aws, pullRequest.repo, input, caller), caller);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return answer("pullRequest", pullRequest.shown());
    }

    private JsonNode updateRepositoryDescription(ObjectNode input, Caller caller) {
        var repo = readable(input, caller);
        repo.description = input.path("repositoryDescription").asText("");
        repo.lastModified = aws.now();
        return null;
    }

    private JsonNode updateRepositoryEncryptionKey(ObjectNode input, Caller caller) {
        var repo = readable(input, caller);
        var original = repo.key == null ? managedKey(caller) : repo.key;
        var key = usable(input.get("kmsKeyId").asText(), caller);
        repo.key(key);
        repo.lastModified = aws.now();
        return Models.JSON.createObjectNode().put("repositoryId", repo.id).put("kmsKeyId", key).put("originalKmsKeyId",
                original);
    }

    private JsonNode updateDefaultBranch(ObjectNode input, Caller caller) {
        var repo = readable(input, caller);
        var branch = input.get("defaultBranchName").asText();
        if (!Repository.isValidRefName("refs/heads/" + branch)) {
            throw new AwsError("InvalidBranchNameException", "The branch name " + branch + " is not valid");
        }
        if (repo.resolve("refs/heads/" + branch) == null) {
            throw new AwsError("BranchDoesNotExistException", "The branch " + branch + " does not exist");
        }
        repo.defaultBranch(branch);
        repo.lastModified = aws.now();
        return null;
    }

    private JsonNode listTagsForResource(ObjectNode input, Caller caller) {
        var tags = new ArrayList<>(byArn(input, caller).tags.entrySet());
        var answer = Models.JSON.createObjectNode();
        var page = answer.putObject("tags");
        page(tags, Map.Entry::getKey, Comparator.naturalOrder(), input, tagsPerPage, answer)
                .forEach(tag -> page.put(tag.getKey(), tag.getValue()));
        return answer;
    }

    private JsonNode tagResource(ObjectNode input, Caller caller) {
        addTags(byArn(input, caller).tags, input.get("tags"));
        return null;
    }

    private JsonNode untagResource(ObjectNode input, Caller caller) {
        var tags = byArn(input, caller).tags;
        for (var key : input.get("tagKeys")) {
            if (key.asText().toLowerCase().startsWith("aws:")) {
                throw new AwsError("InvalidSystemTagUsageException", "System tags cannot be removed: " + key.asText());
            }
        }
        input.get("tagKeys").forEach(key -> tags.remove(key.asText()));
        return null;
    }

    private static void addTags(Map<String, String> tags, JsonNode more) {
        var all = new TreeMap<>(tags);
        more.properties().forEach(tag -> {
            if (tag.getKey().toLowerCase().startsWith("aws:")) {
                throw new AwsError("InvalidSystemTagUsageException",
                        "Tag keys must not start with aws: " + tag.getKey());
            }
            if (!TAG_TEXT.matcher(tag.getKey()).matches() || !TAG_TEXT.matcher(tag.getValue().asText()).matches()) {
                throw new AwsError("InvalidTagsMapException",
                        "Allowed in tags are letters, numbers, spaces and + - = . _ : / @, but not " + tag.getKey()
                                + "=" + tag.getValue().asText());
            }
            all.put(tag.getKey(), tag.getValue().asText());
        });
        if (all.size() > TAGS) {
            throw new AwsError("TooManyTagsException", "The maximum number of tags for a resource is " + TAGS);
        }
        tags.putAll(all);
    }

    private JsonNode getFile(ObjectNode input, Caller caller) {
        var repo = readable(input, caller);
        var path = input.get("filePath").asText().replaceFirst("^/", "");
        if (Stream.of(path.split("/", -1)).anyMatch(Set.of("", ".", "..")::contains)) {
            throw new AwsError("InvalidPathException", "The path is not valid: " + path);
        }
        var commit = repo.commit(input.path("commitSpecifier").asText(Constants.HEAD));
        try (var reader = repo.readable().newObjectReader();
                var file = TreeWalk.forPath(reader, path, commit.getTree())) {
            if (file == null || file.getFileMode().getObjectType() != Constants.OBJ_BLOB) {
                throw new AwsError("FileDoesNotExistException", "There is no file " + path + " in " + commit.name());
            }
            var blob = reader.open(file.getObjectId(0));
            if (blob.getSize() > FILE_BYTES) throw new AwsError("FileTooLargeException", path + " is larger than 6 MB");
            var mode = file.getFileMode() == FileMode.SYMLINK ? "SYMLINK"
                    : file.getFileMode() == FileMode.EXECUTABLE_FILE ? "EXECUTABLE" : "NORMAL";
            return Models.JSON.createObjectNode().put("commitId", commit.name())
                    .put("blobId", file.getObjectId(0).name()).put("filePath", path).put("fileMode", mode)
                    .put("fileSize", blob.getSize()).put("fileContent", blob.getBytes(FILE_BYTES));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private PullRequest pullRequest(ObjectNode input, Caller caller) {
        var pullRequest = existing(input, caller);
        pullRequest.repo.checkKey(caller);
        return pullRequest;
    }

    private PullRequest existing(ObjectNode input, Caller caller) {
        var id = input.path("pullRequestId").asText();
        if (!id.matches("\\d+")) {
            throw new AwsError("InvalidPullRequestIdException", "The pull request id " + id + " is not valid");
        }
        var pullRequest = pullRequests(caller.region()).get(id);
        if (pullRequest == null || in(caller.region()).get(pullRequest.repo.name) != pullRequest.repo) {
            throw new AwsError("PullRequestDoesNotExistException", "Pull request " + id + " does not exist");
        }
        return pullRequest;
    }

    private static JsonNode target(ObjectNode input) {
        return input.path("targets").path(0);
    }

    private static final int OPEN_PULL_REQUESTS = 1_000;

    private JsonNode createPullRequest(ObjectNode input, Caller caller) {
        if (input.get("targets").isEmpty()) throw new AwsError("TargetsRequiredException", "A target is required");
        if (input.get("targets").size() > 1) {
            throw new AwsError("InvalidTargetsException", "A pull request has one target");
        }
        var target = target(input);
        var repo = existing(name(target.get("repositoryName").asText()), caller);
        repo.checkKey(caller);
        var source = branch(repo, target.get("sourceReference").asText());
        var destination = branch(repo, target.path("destinationReference").asText("" + repo.defaultBranch()));
        if (source.equals(destination)) {
            throw new AwsError("SourceAndDestinationAreSameException",
                    "The source branch and destination branch are the same: " + source);
        }
        var token = input.path("clientRequestToken").textValue();
        var all = pullRequests(caller.region());
        synchronized (all) {
            for (var earlier : all.values()) {
                if (token == null || !token.equals(earlier.shown.path("clientRequestToken").asText())) continue;
                if (earlier.isRequestedBy(input, source, destination)) return answer("pullRequest", earlier.shown());
                throw new AwsError("IdempotencyParameterMismatchException",
                        "The client request token was used with other parameters");
            }
            if (repo.pullRequests().stream().filter(PullRequest::isOpen).count() >= OPEN_PULL_REQUESTS) {
                throw new AwsError("MaximumOpenPullRequestsExceededException",
                        "The maximum number of open pull requests is " + OPEN_PULL_REQUESTS);
            }
            var made = repo.newPullRequest(input.get("title").asText(), caller.arn(), source, destination);
            if (input.hasNonNull("description")) made.shown.set("description", input.get("description"));
            if (token != null) made.shown.put("clientRequestToken", token);
            return answer("pullRequest", made.shown());
        }
    }

    private static String branch(Repo repo, String name) {
        var reference = name.startsWith("refs/") ? name : "refs/heads/" + name;
        if (!Repository.isValidRefName(reference)) {
            throw new AwsError("InvalidReferenceNameException", "The reference name is not valid: " + name);
        }
        if (!reference.startsWith("refs/heads/")) {
            throw new AwsError("ReferenceTypeNotSupportedException", "The reference is not a branch: " + name);
        }
        if (repo.resolve(reference) == null) {
            throw new AwsError("ReferenceDoesNotExistException", repo.name + " has no branch " + name);
        }
        return reference;
    }

    private static String ruleName(ObjectNode input) {
        var name = input.get("approvalRuleName").asText();
        if (name.isBlank()) throw new AwsError("InvalidApprovalRuleNameException", "The name of the rule is empty");
        return name;
    }

    /** The pull request, if it still is at the revision; whether AWS tells about earlier ones is not documented. */
    private PullRequest revision(ObjectNode input, Caller caller) {
        var pullRequest = pullRequest(input, caller);
        if (!pullRequest.shown().get("revisionId").equals(input.get("revisionId"))) {
            throw new AwsError("InvalidRevisionIdException", "Pull request " + input.get("pullRequestId").asText()
                    + " is not at revision " + input.get("revisionId").asText());
        }
        return pullRequest;
    }

    private JsonNode listPullRequests(ObjectNode input, Caller caller) {
        var repo = readable(input, caller);
        if (input.hasNonNull("authorArn") && !input.get("authorArn").asText().startsWith("arn:")) {
            throw new AwsError("InvalidAuthorArnException",
                    "The author ARN is not valid: " + input.get("authorArn").asText());
        }
        var size = pageSize(input, pullRequestsPerPage);
        var ids = repo.pullRequests().stream().map(PullRequest::shown)
                .filter(p -> !input.hasNonNull("pullRequestStatus")
                        || p.get("pullRequestStatus").equals(input.get("pullRequestStatus")))
                .filter(p -> !input.hasNonNull("authorArn") || p.get("authorArn").equals(input.get("authorArn")))
                .map(p -> p.get("pullRequestId").asText()).toList();
        var answer = Models.JSON.createObjectNode();
        var page = answer.putArray("pullRequestIds");
        page(ids, id -> id, Comparator.comparing((String id) -> Long.valueOf(id)).reversed(), input, size, answer)
                .forEach(page::add);
        return answer;
    }

    private JsonNode describePullRequestEvents(ObjectNode input, Caller caller) {
        if (input.hasNonNull("actorArn") && !input.get("actorArn").asText().startsWith("arn:")) {
            throw new AwsError("InvalidActorArnException",
                    "The actor ARN is not valid: " + input.get("actorArn").asText());
        }
        var size = pageSize(input, eventsPerPage);
        var events = pullRequest(input, caller).events();
        var wanted = IntStream.range(0, events.size()).boxed()
                .filter(i -> !input.hasNonNull("pullRequestEventType")
                        || events.get(i).get("pullRequestEventType").equals(input.get("pullRequestEventType")))
                .filter(i -> !input.hasNonNull("actorArn")
                        || events.get(i).get("actorArn").equals(input.get("actorArn")))
                .toList();
        var answer = Models.JSON.createObjectNode();
        var page = answer.putArray("pullRequestEvents");
        page(wanted, "%09d"::formatted, Comparator.naturalOrder(), input, size, answer)
                .forEach(i -> page.add(events.get(i)));
        return answer;
    }

    /**
     * A page is so many comments, so that it can end within a thread, whose rest then begins the next page as a thread
     * of its own.
     */
    private JsonNode getCommentsForPullRequest(ObjectNode input, Caller caller) {
        var pullRequest = pullRequest(input, caller);
        var between = new TreeMap<String, String>();
        for (var member : List.of("beforeCommitId", "afterCommitId")) {
            if (input.hasNonNull(member)) between.put(member, input.get(member).asText());
        }
        if (input.hasNonNull("repositoryName") && between.size() < 2) {
            throw new AwsError("CommitIdRequiredException", "With a repository name go the ids of both commits");
        }
        if (!input.hasNonNull("repositoryName") && !between.isEmpty()) {
            throw new AwsError("RepositoryNameRequiredException",
                    "With the ids of commits goes the name of the repository");
        }
        if (!between.isEmpty() && readable(input, caller) != pullRequest.repo) {
            throw new AwsError("RepositoryNotAssociatedWithPullRequestException", input.get("repositoryName").asText()
                    + " does not have the pull request " + input.get("pullRequestId").asText());
        }
        for (var commit : between.values()) {
            if (!ObjectId.isId(commit)) {
                throw new AwsError("InvalidCommitIdException", "The commit id " + commit + " is not valid");
            }
            pullRequest.repo.commit(commit);
        }
        var size = pageSize(input, commentsPerPage);
        var comments = pullRequest.comments().stream().filter(comment -> between.entrySet().stream()
                .allMatch(e -> comment.thread().path(e.getKey()).asText().equals(e.getValue()))).toList();
        var answer = Models.JSON.createObjectNode();
        var page = answer.putArray("commentsForPullRequestData");
        ObjectNode thread = null;
        ArrayNode of = null;
        for (var comment : page(comments, PullRequest.Comment::key, Comparator.naturalOrder(), input, size, answer)) {
            if (comment.thread() != thread) {
                thread = comment.thread();
                var part = page.addObject();
                part.setAll(thread);
                of = part.putArray("comments");
            }
            of.add(comment.content());
        }
        return answer;
    }

    private static int pageSize(ObjectNode input, int most) {
        var size = input.path("maxResults").asInt(most);
        if (size < 1) throw new AwsError("InvalidMaxResultsException", "maxResults must be at least 1");
        return Math.min(size, most);
    }

    private Map<String, PullRequest> pullRequests(String region) {
        return LocalAws.regional(pullRequests, region, LocalAws::concurrentMap);
    }

    private JsonNode testRepositoryTriggers(ObjectNode input, Caller caller) {
        var repo = readable(input, caller);
        var answer = repo.triggers.test(input, caller);
        if (testKeepsTriggers) repo.triggers.set(input.get("triggers"));
        return answer;
    }

    /** For tests: a template of the Region that they use; the content is a valid one. */
    public CodeCommit createApprovalRuleTemplate(String name, int approvals) {
        newTemplate(name, ApprovalRule.content(approvals), "", new Caller("", account, "eu-west-1"));
        return this;
    }

    /** The template as GetApprovalRuleTemplate shows it, or null. */
    public JsonNode approvalRuleTemplate(String region, String name) {
        return templates(region).get(name);
    }

    /** As if it had never been: no repository is associated with it any more. */
    public void forgetApprovalRuleTemplate(String region, String name) {
        templates(region).remove(name);
        in(region).values().forEach(repo -> repo.templates.remove(name));
    }

    Map<String, ObjectNode> templates(String region) {
        return LocalAws.regional(templates, region, LocalAws::sortedMap);
    }

    private synchronized JsonNode createApprovalRuleTemplate(ObjectNode input, Caller caller) {
        var name = templateName(input);
        var content = input.get("approvalRuleTemplateContent").asText();
        checkTemplate(content);
        if (templates(caller.region()).containsKey(name)) {
            throw new AwsError("ApprovalRuleTemplateNameAlreadyExistsException",
                    "An approval rule template named " + name + " already exists");
        }
        if (templates(caller.region()).size() >= TEMPLATES) {
            throw new AwsError("NumberOfRuleTemplatesExceededException",
                    "The maximum number of approval rule templates is " + TEMPLATES);
        }
        return answer("approvalRuleTemplate",
                newTemplate(name, content, input.path("approvalRuleTemplateDescription").asText(""), caller)
                        .deepCopy());
    }

    private synchronized JsonNode updateTemplateContent(ObjectNode input, Caller caller) {
        var template = template(input, caller);
        var content = input.get("newRuleContent").asText();
        checkTemplate(content);
        if (input.hasNonNull("existingRuleContentSha256")
                && !input.get("existingRuleContentSha256").equals(template.get("ruleContentSha256"))) {
            throw new AwsError("InvalidRuleContentSha256Exception", "The content was changed in the meantime");
        }
        template.put("approvalRuleTemplateContent", content).put("ruleContentSha256", sha256(content));
        tellTemplate("approvalRuleTemplateUpdated", template, null, caller);
        return modified(template, caller);
    }

    private ObjectNode newTemplate(String name, String content, String description, Caller caller) {
        var now = seconds();
        var template = Models.JSON.createObjectNode().put("approvalRuleTemplateId", UUID.randomUUID().toString())
                .put("approvalRuleTemplateName", name)
                .put("approvalRuleTemplateContent", content).put("ruleContentSha256", sha256(content))
                .put("creationDate", now).put("lastModifiedDate", now)
                .put("lastModifiedUser", caller.arn());
        if (!description.isEmpty()) template.put("approvalRuleTemplateDescription", description);
        templates(caller.region()).put(name, template);
        return template;
    }

    /** The time as it is told: seconds with a fraction. */
    double seconds() {
        return aws.now().toEpochMilli() / 1000.0;
    }

    static String sha256(String text) {
        try {
            return HexFormat.of()
                    .formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void checkTemplate(String content) {
        if (!ApprovalRule.isValid(content, true)) {
            throw new AwsError("InvalidApprovalRuleTemplateContentException",
                    "The content of the approval rule template is not valid");
        }
    }

    /** Deletes nothing if there is none. */
    private synchronized JsonNode deleteTemplate(ObjectNode input, Caller caller) {
        var name = templateName(input);
        if (in(caller.region()).values().stream().anyMatch(repo -> repo.templates.contains(name))) {
            throw new AwsError("ApprovalRuleTemplateInUseException",
                    "The approval rule template " + name + " is associated with one or more repositories");
        }
        var template = templates(caller.region()).remove(name);
        if (template == null) return Models.JSON.createObjectNode();
        tellTemplate("approvalRuleTemplateDeleted", template, null, caller);
        return answer("approvalRuleTemplateId", template.get("approvalRuleTemplateId"));
    }

    private JsonNode listTemplates(ObjectNode input, Caller caller) {
        return listOfNames("approvalRuleTemplateNames", templates(caller.region()).keySet(), templatesPerPage, input);
    }

    private JsonNode listRepositoriesForTemplate(ObjectNode input, Caller caller) {
        var name = template(input, caller).get("approvalRuleTemplateName").asText();
        var names = in(caller.region()).values().stream().filter(repo -> repo.templates.contains(name))
                .map(repo -> repo.name).toList();
        return listOfNames("repositoryNames", names, repositoriesPerTemplatePage, input);
    }

    private static JsonNode listOfNames(String member, Collection<String> names, int perPage, ObjectNode input) {
        var size = pageSize(input, perPage);
        var answer = Models.JSON.createObjectNode();
        var page = answer.putArray(member);
        page(List.copyOf(names), name -> name, Comparator.naturalOrder(), input, size, answer).forEach(page::add);
        return answer;
    }

    private synchronized JsonNode updateTemplateDescription(ObjectNode input, Caller caller) {
        var template = template(input, caller);
        var description = input.get("approvalRuleTemplateDescription").asText();
        if (description.isEmpty()) {
            template.remove("approvalRuleTemplateDescription");
        } else {
            template.put("approvalRuleTemplateDescription", description);
        }
        return modified(template, caller);
    }

    private JsonNode modified(ObjectNode template, Caller caller) {
        template.put("lastModifiedDate", seconds()).put("lastModifiedUser", caller.arn());
        return answer("approvalRuleTemplate", template.deepCopy());
    }

    private synchronized JsonNode updateTemplateName(ObjectNode input, Caller caller) {
        var oldName = checkTemplateName(input.get("oldApprovalRuleTemplateName").asText());
        var newName = checkTemplateName(input.get("newApprovalRuleTemplateName").asText());
        var template = template(oldName, caller);
        if (templates(caller.region()).putIfAbsent(newName, template) != null) {
            throw new AwsError("ApprovalRuleTemplateNameAlreadyExistsException",
                    "An approval rule template named " + newName + " already exists");
        }
        templates(caller.region()).remove(oldName);
        for (var repo : in(caller.region()).values()) {
            if (repo.templates.remove(oldName)) repo.templates.add(newName);
        }
        return modified(template.put("approvalRuleTemplateName", newName), caller);
    }

    /** Does the same to many repositories; those with which it cannot be done are told, and do not stop the others. */
    private synchronized JsonNode eachRepository(ObjectNode input, Caller caller, String done,
            BiConsumer<Repo, String> change) {
        var name = template(input, caller).get("approvalRuleTemplateName").asText();
        var names = input.get("repositoryNames");
        if (names.isEmpty()) {
            throw new AwsError("RepositoryNamesRequiredException", "A list of repository names is required");
        }
        if (names.size() > NAMES_PER_BATCH) {
            throw new AwsError("MaximumRepositoryNamesExceededException",
                    "The maximum number of repository names is " + NAMES_PER_BATCH);
        }
        var answer = Models.JSON.createObjectNode();
        var changed = answer.putArray(done);
        var errors = answer.putArray("errors");
        for (var repositoryName : names) {
            try {
                var repo = existing(name(repositoryName.asText()), caller);
                repo.checkKey(caller);
                change.accept(repo, name);
                changed.add(repositoryName);
            } catch (AwsError e) {
                errors.addObject().put("repositoryName", repositoryName.asText()).put("errorCode", e.code)
                        .put("errorMessage", e.getMessage());
            }
        }
        return answer;
    }

    // Events of EventBridge (User Guide, "Monitoring CodeCommit events in Amazon EventBridge")

    /** @param repo the one that it is about, or null */
    private void tellTemplate(String event, JsonNode template, Repo repo, Caller caller) {
        var detail = Models.JSON.createObjectNode().put("event", event).put("callerUserArn", caller.arn());
        for (var member : List.of("approvalRuleTemplateName", "approvalRuleTemplateId")) {
            detail.set(member, template.get(member));
        }
        detail.put("approvalRuleTemplateContentSha256", template.path("ruleContentSha256").asText());
        var repositories = detail.putObject("repositories");
        if (repo != null) repositories.put(repo.name, repo.id);
        aws.account(account).events.publish(caller.region(), "aws.codecommit",
                "CodeCommit Approval Rule Template Change", repo == null ? List.of() : List.of(repo.arn), detail);
    }

    private void tellPullRequest(String event, PullRequest pullRequest, Caller caller, Map<String, String> more) {
        var shown = pullRequest.shown();
        var detail = Models.JSON.createObjectNode().put("event", event).put("callerUserArn", caller.arn())
                .put("pullRequestId", pullRequest.id).put("pullRequestStatus", "Open").put("isMerged", "False")
                .put("title", shown.get("title").asText()).put("author", shown.get("authorArn").asText())
                .put("revisionId", shown.get("revisionId").asText());
        more.forEach(detail::put);
        for (var member : List.of("sourceReference", "destinationReference", "sourceCommit", "destinationCommit")) {
            detail.set(member, shown.at("/pullRequestTargets/0/" + member));
        }
        detail.putArray("repositoryNames").add(pullRequest.repo.name);
        aws.account(account).events.publish(caller.region(), "aws.codecommit",
                "CodeCommit Pull Request State Change", List.of(pullRequest.repo.arn), detail);
    }

    private JsonNode associateTemplate(ObjectNode input, Caller caller) {
        var name = template(input, caller).get("approvalRuleTemplateName").asText();
        var repo = readable(input, caller);
        associate(repo, name);
        return null;
    }

    /** Whether what is associated already is an error is not documented. */
    private synchronized void associate(Repo repo, String template) {
        if (repo.templates.contains(template)) {
            if (!refuseAssociated) return;
            throw new AwsError("ApprovalRuleTemplateAlreadyAssociatedException",
                    "The template " + template + " is associated with " + repo.name + " already");
        }
        if (repo.templates.size() >= TEMPLATES_PER_REPOSITORY) {
            throw new AwsError("MaximumRuleTemplatesAssociatedWithRepositoryException",
                    "The maximum number of templates for a repository is " + TEMPLATES_PER_REPOSITORY);
        }
        repo.templates.add(template);
    }

    private JsonNode listAssociatedTemplates(ObjectNode input, Caller caller) {
        var repo = readable(input, caller);
        return listOfNames("approvalRuleTemplateNames", repo.approvalRuleTemplates(), templatesPerPage, input);
    }

    private ObjectNode template(ObjectNode input, Caller caller) {
        return template(templateName(input), caller);
    }

    private ObjectNode template(String name, Caller caller) {
        var template = templates(caller.region()).get(name);
        if (template == null) {
            throw new AwsError("ApprovalRuleTemplateDoesNotExistException",
                    "The approval rule template " + name + " does not exist");
        }
        return template;
    }

    private static String templateName(ObjectNode input) {
        return checkTemplateName(input.get("approvalRuleTemplateName").asText());
    }

    private static String checkTemplateName(String name) {
        if (!name.matches("[\\w. -]{1,100}") || name.endsWith(".git")) {
            throw new AwsError("InvalidApprovalRuleTemplateNameException",
                    "The name of the approval rule template is not valid: " + name);
        }
        return name;
    }

    private static ObjectNode answer(String member, JsonNode value) {
        var answer = Models.JSON.createObjectNode();
        answer.set(member, value);
        return answer;
    }

    private static String name(String name) {
        if (name.endsWith(".git")) {
            throw new AwsError("InvalidRepositoryNameException", "Repository names must not end with .git: " + name);
        }
        return name;
    }

    private Repo readable(ObjectNode input, Caller caller) {
        var repo = existing(name(input.get("repositoryName").asText()), caller);
        repo.checkKey(caller);
        return repo;
    }

    private Repo writable(ObjectNode input, Caller caller) {
        var repo = existing(name(input.get("repositoryName").asText()), caller);
        repo.checkKeyForWriting(caller);
        return repo;
    }

    private Repo existing(String name, Caller caller) {
        var repo = in(caller.region()).get(name);
        if (repo == null) throw new AwsError("RepositoryDoesNotExistException", name + " does not exist");
        return repo;
    }

    private Repo byArn(ObjectNode input, Caller caller) {
        return existing(nameInArn(input, caller), caller);
    }

    private static String nameInArn(ObjectNode input, Caller caller) {
        var arn = input.path("resourceArn").asText();
        var prefix = caller.arn("codecommit", "");
        if (!arn.startsWith(prefix) || !arn.substring(prefix.length()).matches("[\\w.-]{1,100}")) {
            throw new AwsError("InvalidResourceArnException", "The resource ARN is not valid: " + arn);
        }
        return arn.substring(prefix.length());
    }

    /** The ARN of the key, if it can be used for this Region's repositories by this caller. */
    private String usable(String keyId, Caller caller) {
        var arn = keyArn(keyId, caller);
        checkKey(arn, KEY_USE, caller);
        return arn;
    }

    private String keyArn(String keyId, Caller caller) {
        if (keyId.startsWith("arn:") && !keyId.startsWith("arn:" + caller.partition() + ":kms:")) {
            throw new AwsError("EncryptionKeyInvalidIdException", keyId + " is not the ARN of a key");
        }
        if (keyId.startsWith("arn:") && keyId.contains(":kms:" + caller.region() + ":")
                && !keyId.contains(":" + caller.account() + ":")) {
            throw new AwsError("EncryptionKeyAccessDeniedException", "Access to the key " + keyId + " is denied");
        }
        var key = kms().find(keyId, caller.region());
        if (key == null) {
            throw new AwsError("EncryptionKeyNotFoundException",
                    "The key " + keyId + " does not exist in " + caller.region());
        }
        return key.arn;
    }

    /**
     * That the caller may use the key through CodeCommit, and that it is usable (User Guide, page "encryption"). Which
     * of the actions CodeCommit asks for when contents are only read is not documented, nor is the name of its
     * encryption context: policies that ask for one find none here.
     */
    private void checkKey(String arn, List<String> actions, Caller caller) {
        var key = kms().find(arn, caller.region());
        if (key == null) throw new AwsError("EncryptionKeyNotFoundException", "The key " + arn + " does not exist");
        try {
            kms().authorize(caller.via("codecommit"), key.arn, actions, Map.of());
        } catch (AwsError e) {
            throw new AwsError("EncryptionKeyAccessDeniedException", e.getMessage());
        }
        if (!key.keySpec.equals("SYMMETRIC_DEFAULT") || !key.usage.equals("ENCRYPT_DECRYPT")) {
            throw new AwsError("EncryptionKeyInvalidUsageException", key.arn + " is " + key.keySpec + " for "
                    + key.usage + "; only SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT can be used");
        }
        if (key.state.equals("Disabled")) {
            throw new AwsError("EncryptionKeyDisabledException", key.arn + " is disabled");
        }
        if (!key.state.equals("Enabled")) {
            throw new AwsError("EncryptionKeyUnavailableException", key.arn + " is " + key.state);
        }
    }

    private Kms kms() {
        return aws.account(account).kms;
    }

    private String managedKey(Caller caller) {
        return kms().find("alias/aws/codecommit", caller.region()).arn;
    }

    void close() {
        regions.values().forEach(repos -> repos.values().forEach(Repo::close));
        try {
            if (directory != null) {
                FileUtils.delete(directory.toFile(),
                        FileUtils.RECURSIVE | FileUtils.RETRY | FileUtils.SKIP_MISSING | FileUtils.IGNORE_ERRORS);
            }
        } catch (IOException e) {
            // a request may still be writing; the directory is temporary
        }
    }

    /**
     * One repository; its Git repository is made when it is first needed, and on disk only when it must be, so that
     * thousands cost little.
     */
    public final class Repo {
        /** Work on the Git repository. */
        public interface Work {
            void on(Repository git) throws IOException;
        }

        public volatile String name;
        public final String id = UUID.randomUUID().toString();
        public volatile String arn;
        final Caller owner;
        private final Instant created = aws.now();
        private final Map<String, String> tags = Collections.synchronizedMap(new TreeMap<>());
        private final Set<String> templates = Collections.synchronizedSet(new TreeSet<>());
        private final Triggers triggers = new Triggers(aws, this);
        private final List<Work> seeds = new ArrayList<>();
        private volatile Instant lastModified = created;
        private volatile String description = "";
        private volatile String defaultBranch;
        private volatile String key;
        private Repository git;
        private Repository memory;
        private boolean borrows;
        private int seconds;

        private Repo(String name, Caller owner) {
            this.name = name;
            this.owner = owner;
            this.arn = owner.arn("codecommit", name);
        }

        public String description() {
            return description;
        }

        public Repo description(String text) {
            description = text;
            return this;
        }

        public Map<String, String> tags() {
            return new TreeMap<>(tags);
        }

        public Repo tag(String tagKey, String value) {
            tags.put(tagKey, value);
            return this;
        }

        /** The names of the templates that are associated with it. */
        public List<String> approvalRuleTemplates() {
            return List.copyOf(templates);
        }

        public Repo approvalRuleTemplate(String templateName) {
            templates.add(templateName);
            return this;
        }

        /** The triggers as GetRepositoryTriggers shows them. */
        public JsonNode triggers() {
            return triggers.shown();
        }

        /** A trigger for all events and branches. */
        public Repo trigger(String triggerName, String destinationArn) {
            var all = triggers.shown().<ArrayNode>deepCopy();
            all.addObject().put("name", triggerName).put("destinationArn", destinationArn).withArray("events")
                    .add("all");
            return triggers(all);
        }

        /** These triggers in the place of all that there are, as somebody else puts them. */
        public Repo triggers(JsonNode wanted) {
            triggers.set(wanted);
            return this;
        }

        /** What its triggers were told of changes, as "trigger ref", whether it arrived or not. */
        public List<String> fired() {
            return triggers.fired();
        }

        /** What became of all messages to its triggers' destinations, of tests too: "trigger", and why it was lost. */
        public List<String> deliveries() {
            return triggers.deliveries().stream().map(one -> one.trigger()
                    + (one.error() == null ? "" : " lost: " + one.error())).toList();
        }

        /** The ARN of the customer managed key; null under the AWS managed one. */
        public String key() {
            return key;
        }

        public Repo key(String arn) {
            key = kms().isOfCodeCommit(arn, owner.region()) ? null : arn;
            return this;
        }

        public String cloneUrlHttp() {
            return aws.endpoint() + "/v1/repos/" + name;
        }

        public String defaultBranch() {
            return defaultBranch;
        }

        /** Also sets HEAD; the branch need not exist. */
        public Repo defaultBranch(String branch) {
            defaultBranch = branch;
            return work(g -> check(g.updateRef(Constants.HEAD).link("refs/heads/" + branch)));
        }

        /** A commit that puts one file onto a ref, e.g. refs/heads/main; equal histories have equal ids. */
        public Repo commit(String ref, String file, String text) {
            return commit(ref, file, text.getBytes(StandardCharsets.UTF_8));
        }

        public Repo commit(String ref, String file, byte[] content) {
            if (defaultBranch == null && ref.startsWith("refs/heads/")) {
                defaultBranch(ref.substring("refs/heads/".length()));
            }
            var at = person();
            return work(g -> {
                try (var inserter = g.newObjectInserter(); var walk = new RevWalk(g)) {
                    var tip = g.resolve(ref + "^{commit}");
                    var index = DirCache.newInCore();
                    var builder = index.builder();
                    var entry = new DirCacheEntry(file);
                    entry.setFileMode(FileMode.REGULAR_FILE);
                    entry.setObjectId(inserter.insert(Constants.OBJ_BLOB, content));
                    if (tip != null) {
                        var old = DirCache.newInCore().builder();
                        old.addTree(new byte[0], 0, walk.getObjectReader(), walk.parseCommit(tip).getTree());
                        old.finish();
                        for (var i = 0; i < old.getDirCache().getEntryCount(); i++) {
                            if (!old.getDirCache().getEntry(i).getPathString().equals(file)) {
                                builder.add(old.getDirCache().getEntry(i));
                            }
                        }
                    }
                    builder.add(entry);
                    builder.finish();
                    var commit = new CommitBuilder();
                    commit.setTreeId(index.writeTree(inserter));
                    if (tip != null) commit.setParentId(tip);
                    commit.setAuthor(at);
                    commit.setCommitter(at);
                    commit.setMessage("Write " + file + "\n");
                    update(g, inserter, ref, inserter.insert(commit));
                }
            }).moved(ref);
        }

        /** Any ref, odd names too, at what another ref or an id names. */
        public Repo ref(String ref, String target) {
            return work(g -> update(g, g.newObjectInserter(), ref, g.resolve(target))).moved(ref);
        }

        /**
         * The contents of another Git repository on disk, which is only read: its objects stay where they are, what is
         * pushed goes here.
         *
         * @param objects its objects directory
         * @param refs    its refs by name, with their ids
         */
        public Repo borrow(Path objects, Map<String, String> refs) {
            borrows = true;
            return work(g -> {
                Files.createDirectories(directory().resolve("objects/info"));
                Files.writeString(directory().resolve("objects/info/alternates"), objects.toAbsolutePath() + "\n");
                var packed = new StringBuilder("# pack-refs with: sorted \n");
                new TreeMap<>(refs)
                        .forEach((ref, object) -> packed.append(object).append(' ').append(ref).append('\n'));
                Files.writeString(directory().resolve("packed-refs"), packed);
            });
        }

        public Repo annotatedTag(String tagName, String target) {
            var at = person();
            return work(g -> {
                try (var inserter = g.newObjectInserter(); var walk = new RevWalk(g)) {
                    var tag = new TagBuilder();
                    tag.setTag(tagName);
                    tag.setObjectId(walk.parseAny(g.resolve(target)));
                    tag.setTagger(at);
                    tag.setMessage(tagName + "\n");
                    update(g, inserter, "refs/tags/" + tagName, inserter.insert(tag));
                }
            });
        }

        /**
         * An open pull request between two branches, with the rules that its templates have for the destination; gives
         * its id.
         */
        public String pullRequest(String title, String source, String destination) {
            return newPullRequest(title, user("developer"), "refs/heads/" + source, "refs/heads/" + destination).id;
        }

        private PullRequest newPullRequest(String title, String author, String source, String destination) {
            var all = CodeCommit.this.pullRequests(owner.region());
            synchronized (all) {
                var made = new PullRequest(CodeCommit.this, this, String.valueOf(all.size() + 1), title, author, source,
                        destination);
                all.put(made.id, made);
                return made;
            }
        }

        public Repo pullRequestDescription(String pullRequestId, String text) {
            return on(pullRequestId, p -> p.shown.put("description", text));
        }

        /** A comment on all of a pull request; gives its id. */
        public String comment(String pullRequestId, String text) {
            return my(pullRequestId).comment(text, null, 0);
        }

        /** A comment on a line of a file of the source branch. */
        public String commentOnFile(String pullRequestId, String text, String path, long line) {
            return my(pullRequestId).comment(text, path, line);
        }

        /** An answer to another comment. */
        public String comment(String pullRequestId, String text, String inReplyTo) {
            return my(pullRequestId).reply(text, inReplyTo);
        }

        /** One more user's reaction, such as THUMBSUP. */
        public Repo react(String pullRequestId, String commentId, String reaction) {
            return on(pullRequestId, p -> {
                var counts = (ObjectNode) p.find(commentId).content().get("reactionCounts");
                counts.put(reaction, counts.path(reaction).asInt() + 1);
            });
        }

        /** Its content is gone, the rest of it stays. */
        public Repo deleteComment(String pullRequestId, String commentId) {
            return on(pullRequestId, p -> p.find(commentId).content().put("deleted", true)
                    .put("lastModifiedDate", seconds()).remove("content"));
        }

        /** A rule of this pull request alone. */
        public Repo approvalRule(String pullRequestId, String ruleName, int approvals) {
            return on(pullRequestId, p -> {
                var content = ApprovalRule.content(approvals);
                var rule = p.rule(ruleName, content, user("developer"));
                p.event("PULL_REQUEST_APPROVAL_RULE_CREATED", user("developer"), "approvalRuleEventMetadata")
                        .put("approvalRuleName", ruleName).put("approvalRuleId", rule.get("approvalRuleId").asText())
                        .put("approvalRuleContent", content);
            });
        }

        public Repo approve(String pullRequestId, String userArn) {
            return on(pullRequestId, p -> p.approval(userArn, "APPROVE"));
        }

        public Repo revokeApproval(String pullRequestId, String userArn) {
            return on(pullRequestId, p -> p.approval(userArn, "REVOKE"));
        }

        public Repo overrideApprovalRules(String pullRequestId, String userArn) {
            return on(pullRequestId, p -> p.override("OVERRIDE", userArn));
        }

        public Repo closePullRequest(String pullRequestId) {
            return on(pullRequestId, p -> p.close(user("developer")));
        }

        /** Merges with a merge commit, and closes. */
        public Repo mergePullRequest(String pullRequestId) {
            return on(pullRequestId, PullRequest::merge)
                    .moved(my(pullRequestId).target.get("destinationReference").asText());
        }

        private Repo on(String pullRequestId, Consumer<PullRequest> change) {
            var pullRequest = my(pullRequestId);
            synchronized (pullRequest) {
                change.accept(pullRequest);
                pullRequest.touch();
            }
            return this;
        }

        private PullRequest my(String pullRequestId) {
            return pullRequests().stream().filter(p -> p.id.equals(pullRequestId)).findFirst()
                    .orElseThrow(() -> new IllegalArgumentException(name + " has no pull request " + pullRequestId));
        }

        private List<PullRequest> pullRequests() {
            return CodeCommit.this.pullRequests(owner.region()).values().stream().filter(p -> p.repo == this).toList();
        }

        String user(String userName) {
            return "arn:" + owner.partition() + ":iam::" + owner.account() + ":user/" + userName;
        }

        /** Tells the open pull requests that a branch is elsewhere now. */
        private Repo moved(String ref) {
            for (var pullRequest : pullRequests()) pullRequest.moved(ref);
            return this;
        }

        /** The commit of a full id or the name of a ref. */
        RevCommit commit(String specifier) {
            var head = specifier.equals(Constants.HEAD);
            var names = head || specifier.startsWith("refs/") ? List.of(specifier)
                    : List.of("refs/heads/" + specifier, "refs/tags/" + specifier);
            if (!head && !Repository.isValidRefName(names.get(0))) {
                throw new AwsError("InvalidCommitException", "The commit is not valid: " + specifier);
            }
            try (var walk = new RevWalk(readable())) {
                RevObject object = null;
                if (ObjectId.isId(specifier)) {
                    object = walk.parseAny(ObjectId.fromString(specifier));
                } else {
                    for (var ref : names) {
                        var found = readable().exactRef(ref);
                        if (object == null && found != null && found.getObjectId() != null) {
                            object = walk.peel(walk.parseAny(found.getObjectId()));
                        }
                    }
                }
                if (object instanceof RevCommit) return walk.parseCommit(object);
            } catch (MissingObjectException e) {
                // said below
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            throw new AwsError("CommitDoesNotExistException", name + " has no commit " + specifier);
        }

        /** The best common ancestor, or null. */
        String mergeBase(String one, String other) {
            try (var walk = new RevWalk(readable())) {
                walk.setRevFilter(RevFilter.MERGE_BASE);
                for (var commit : List.of(one, other)) walk.markStart(walk.parseCommit(ObjectId.fromString(commit)));
                var base = walk.next();
                return base == null ? null : base.name();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        String id(String ref) {
            var object = resolve(ref);
            if (object == null) throw new IllegalArgumentException(name + " has no " + ref);
            return object.name();
        }

        /** What a ref or another revision expression names, or null. */
        public ObjectId resolve(String revision) {
            try {
                return readable().resolve(revision);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /**
         * Does something with the Git repository; as long as it is not on disk, this may happen later, and again when
         * it gets there.
         */
        public synchronized Repo work(Work work) {
            if (git == null) seeds.add(work);
            try {
                if (git != null) {
                    work.on(git);
                } else if (memory != null) {
                    work.on(memory);
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            return this;
        }

        /** The Git repository on disk. */
        public synchronized Repository git() {
            if (git == null) {
                try {
                    var bare = Files.createDirectory(CodeCommit.this.directory().resolve(id + ".git"));
                    Files.createDirectory(bare.resolve("objects"));
                    Files.createDirectory(bare.resolve("refs"));
                    Files.writeString(bare.resolve("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n");
                    Files.writeString(bare.resolve("HEAD"), "ref: refs/heads/main\n");
                    git = new FileRepositoryBuilder().setGitDir(bare.toFile()).setBare().build();
                    for (var seed : seeds) seed.on(git);
                    seeds.clear();
                    memory = null;
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }
            return git;
        }

        /**
         * The Git repository as something to read: in memory as long as nobody has pushed, since files cost a hundred
         * times as much.
         */
        synchronized Repository readable() {
            if (git != null || borrows) return git();
            if (memory == null) {
                try {
                    memory = new InMemoryRepository(new DfsRepositoryDescription(id));
                    for (var seed : seeds) seed.on(memory);
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            }
            return memory;
        }

        /** Where it is on disk: a bare repository, which git itself can work on too. */
        public Path directory() throws IOException {
            return git().getDirectory().toPath();
        }

        /** Refuses when the key does not allow the caller to read. */
        void checkKey(Caller caller) {
            CodeCommit.this.checkKey(key == null ? managedKey(owner) : key, KEY_READ, caller);
        }

        /** Refuses when the key does not allow the caller to write. */
        void checkKeyForWriting(Caller caller) {
            CodeCommit.this.checkKey(key == null ? managedKey(owner) : key, KEY_USE, caller);
        }

        /**
         * What a call changed.
         *
         * @param before what the ref named until then, or null
         */
        void changed(String ref, ObjectId before, Caller caller) {
            changed(List.of(new Triggers.Moved(ref, before, resolve(ref))), caller);
        }

        private void changed(List<Triggers.Moved> changes, Caller caller) {
            for (var change : changes) {
                var ref = change.ref();
                lastModified = aws.now();
                moved(ref);
                if (defaultBranch == null && ref.startsWith("refs/heads/") && change.after() != null) {
                    defaultBranch(ref.substring("refs/heads/".length()));
                }
                if (aws.account(account).events.hasRules(owner.region())) tell(ref, change.before());
            }
            triggers.tell(changes, caller);
        }

        /** The event of EventBridge, which there is for branches and tags (User Guide, "Monitoring CodeCommit"). */
        private void tell(String ref, ObjectId before) {
            var after = resolve(ref);
            if (!ref.matches("refs/(heads|tags)/.+") || Objects.equals(before, after)) return;
            var detail = Models.JSON.createObjectNode()
                    .put("event", before == null ? "referenceCreated"
                            : after == null ? "referenceDeleted" : "referenceUpdated")
                    .put("repositoryName", name).put("repositoryId", id)
                    .put("referenceType", ref.startsWith("refs/heads/") ? "branch" : "tag")
                    .put("referenceName", ref.replaceFirst("refs/(heads|tags)/", "")).put("referenceFullName", ref);
            if (after != null) detail.put("commitId", commitOf(after));
            if (before != null) detail.put("oldCommitId", commitOf(before));
            aws.account(account).events.publish(owner.region(), "aws.codecommit",
                    "CodeCommit Repository State Change", List.of(arn), detail);
        }

        /** What a ref names in the end: of a tag object, the commit. */
        String commitOf(ObjectId id) {
            try (var walk = new RevWalk(readable())) {
                return walk.peel(walk.parseAny(id)).name();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** What a push changed. */
        void pushed(Iterable<ReceiveCommand> commands, Caller caller) {
            var changes = new ArrayList<Triggers.Moved>();
            for (var command : commands) {
                var isNew = command.getType() == ReceiveCommand.Type.CREATE;
                if (command.getResult() == ReceiveCommand.Result.OK) {
                    changes.add(new Triggers.Moved(command.getRefName(), isNew ? null : command.getOldId(),
                            resolve(command.getRefName())));
                }
            }
            changed(changes, caller);
        }

        private ObjectNode metadata() {
            var metadata = Models.JSON.createObjectNode().put("accountId", owner.account()).put("repositoryId", id)
                    .put("repositoryName", name).put("Arn", arn)
                    .put("creationDate", created.toEpochMilli() / 1000.0)
                    .put("lastModifiedDate", lastModified.toEpochMilli() / 1000.0)
                    .put("cloneUrlHttp", cloneUrlHttp()).put("cloneUrlSsh",
                            "ssh://git-codecommit." + owner.region() + "." + owner.dnsSuffix() + "/v1/repos/" + name);
            if (!description.isEmpty()) metadata.put("repositoryDescription", description);
            if (defaultBranch != null) metadata.put("defaultBranch", defaultBranch);
            if (key != null || showManagedKey) metadata.put("kmsKeyId", key != null ? key : managedKey(owner));
            return metadata;
        }

        PersonIdent person() {
            return new PersonIdent("Ada", "ada@example.com", Instant.ofEpochSecond(1_767_225_600L + 60L * seconds++),
                    java.time.ZoneOffset.UTC);
        }

        void update(Repository g, ObjectInserter inserter, String ref, ObjectId target) throws IOException {
            inserter.flush();
            var update = g.updateRef(ref, true);
            update.setNewObjectId(target);
            update.setForceUpdate(true);
            update.disableRefLog();
            check(update.update());
        }

        void check(RefUpdate.Result result) throws IOException {
            if (!Set.of(RefUpdate.Result.NEW, RefUpdate.Result.FORCED, RefUpdate.Result.FAST_FORWARD,
                    RefUpdate.Result.NO_CHANGE).contains(result)) {
                throw new IOException("the ref of " + name + " could not be set: " + result);
            }
        }

        private synchronized void close() {
            if (git != null) git.close();
        }
    }
}
