///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Adds a trigger to CodeCommit repositories, which invokes a Lambda function or tells an SNS topic.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:lambda
//DEPS software.amazon.awssdk:sns
//DEPS software.amazon.awssdk:kms
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:signin
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//FILES policies/trigger-function.json=../policies/trigger-function.json
//FILES policies/trigger-topic.json=../policies/trigger-topic.json
//FILES policies/trigger-key.json=../policies/trigger-key.json
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
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.GetRepositoryTriggersResponse;
import software.amazon.awssdk.services.codecommit.model.RepositoryTrigger;
import software.amazon.awssdk.services.codecommit.model.TestRepositoryTriggersResponse;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.KeyManagerType;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.kms.model.KeySpec;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUsageType;
import software.amazon.awssdk.services.lambda.LambdaClient;
import software.amazon.awssdk.services.lambda.model.GetFunctionConfigurationResponse;
import software.amazon.awssdk.services.lambda.model.PolicyLengthExceededException;
import software.amazon.awssdk.services.lambda.model.PreconditionFailedException;
import software.amazon.awssdk.services.lambda.model.ResourceConflictException;
import software.amazon.awssdk.services.lambda.model.ResourceNotFoundException;
import software.amazon.awssdk.services.lambda.model.State;
import software.amazon.awssdk.services.sns.SnsClient;
import software.amazon.awssdk.services.sns.model.AuthorizationErrorException;
import software.amazon.awssdk.services.sns.model.NotFoundException;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Adds a trigger to repositories: what is pushed, created or deleted in them invokes a Lambda function, or goes to an
 * SNS topic.
 *
 * <p>Changes in AWS: of each repository, the trigger of the given name. CodeCommit knows only whole lists of triggers:
 * all others are written back as they were read right before, and read again afterwards. If the trigger is missing
 * then, since someone else wrote at the same time, it is put in again; other triggers that vanished are named.
 *
 * <p>Of a function's policy, one statement for each repository: without it CodeCommit takes the trigger, and what it
 * sends is lost without a word. A version or an alias has a policy of its own, so the statement goes where the ARN
 * points. It is made before the trigger, and not if another statement lets CodeCommit invoke the function already. With
 * {@code --any-repository} one statement is for all repositories of the account and Region. Statements of this script
 * (their Sid begins with codecommit-) for repositories that are gone are removed.
 *
 * <p>A topic stays as it is. What would be lost is refused: FIFO topics, other Regions, functions of other accounts,
 * topics encrypted under the AWS managed key or under one that CodeCommit may not use, and topics whose policy does not
 * let CodeCommit publish.
 *
 * <p>A second run with the same arguments changes nothing; an option that is not given leaves the setting as it is. A
 * repository that fails does not stop the others. {@code --remove} takes the trigger away, and the function's
 * permission for the repository if no other trigger of it needs it.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codecommit:GetRepositoryTriggers, codecommit:PutRepositoryTriggers
 * <li>codecommit:ListRepositories for names with wildcards and for {@code --all-repositories}
 * <li>codecommit:TestRepositoryTriggers for {@code --test}
 * <li>for a function lambda:GetFunctionConfiguration, lambda:GetPolicy, lambda:AddPermission, lambda:RemovePermission;
 * codecommit:BatchGetRepositories to find statements for repositories that are gone, without which they stay
 * <li>for a topic sns:GetTopicAttributes; if it has a key, kms:DescribeKey, kms:GetKeyPolicy
 * </ul>
 */
@Command(name = "add-repo-trigger", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Adds a trigger to CodeCommit repositories, which invokes a Lambda function or tells an SNS"
                + " topic.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage",
                "3:partly done: some repositories failed, the others are complete",
                "4:findings: all is in place, but a test did not arrive", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang add-repo-trigger --trigger-name build --repository-names payments \\",
                "      --destination-arn arn:aws:lambda:eu-west-1:111122223333:function:ci:live",
                "  ./jbang add-repo-trigger --trigger-name build --repository-names 'team-*' \\",
                "      --remove"})
class AddRepoTrigger implements Callable<Integer> {
    @Option(names = "--trigger-name", paramLabel = "NAME", required = true,
            description = "Name of the trigger; it is the same in all repositories.")
    String triggerName;

    @ArgGroup(multiplicity = "1")
    Selection selection;

    static class Selection {
        @Option(names = "--repository-names", paramLabel = "GLOB", arity = "1..*",
                description = "Repositories to add it to, by name or with * and ?.")
        List<String> names = List.of();

        @Option(names = "--all-repositories",
                description = "All repositories that the account has in the Region now.")
        boolean all;
    }

    @Option(names = "--destination-arn", paramLabel = "ARN",
            description = "A Lambda function, best with an alias (...:function:NAME:ALIAS), or an SNS topic, in the"
                    + " Region of the repositories. With --remove: only a trigger that has this destination.")
    String destinationArn;

    @Option(names = "--events", paramLabel = "EVENT", arity = "1..*",
            description = "What to tell of: updateReference (a push to a branch or tag), createReference,"
                    + " deleteReference, or all. Default for a new trigger: all.")
    List<String> events = List.of();

    @ArgGroup
    BranchChoice branchChoice = new BranchChoice();

    static class BranchChoice {
        @Option(names = "--branches", paramLabel = "NAME", arity = "1..*",
                description = "Only these branches, 10 at most, and no tags. Default for a new trigger: all branches"
                        + " and tags.")
        List<String> names = List.of();

        @Option(names = "--all-branches", description = "All branches, whatever it had.")
        boolean all;
    }

    @Option(names = "--custom-data", paramLabel = "TEXT",
            description = "Text that every message carries, up to 1,000 characters; '' for none.")
    String customData;

    @Option(names = "--any-repository",
            description = "Lets CodeCommit invoke the function for any repository of the account and Region by one"
                    + " statement. A function's policy has room for some 50 single repositories.")
    boolean anyRepository;

    @Option(names = "--test",
            description = "Has CodeCommit send a message to the destination, and says whether that arrived.")
    boolean test;

    @Option(names = "--remove", description = "Takes the trigger away, with the permission that only it needs.")
    boolean remove;

    /** The printed document. */
    record Result(String status, String account, String region, List<Repository> repositories, List<Change> changes,
            String undo) {}

    /**
     * @param trigger as it is, or in a dry run would be; null if there is none
     * @param statementId the Sid of the statement by which CodeCommit may invoke the function; null for a topic
     */
    record Repository(String repositoryName, String arn, String status, JsonNode trigger, List<String> otherTriggers,
            String statementId, Test test, String error) {}

    /** @param error why the message did not arrive */
    record Test(boolean delivered, String error) {}

    /** A function, with the version or alias that its ARN ends in, or a topic. */
    record Destination(String arn) {
        boolean isFunction() {
            return arn.split(":")[2].equals("lambda");
        }

        String account() {
            return arn.split(":")[4];
        }

        String functionName() {
            return arn.split(":")[6];
        }

        /** The version or alias; null for the function itself. */
        String qualifier() {
            var parts = arn.split(":");
            return parts.length > 7 ? parts[7] : null;
        }
    }

    /**
     * @param length in bytes
     * @param revisionId null if there is no policy
     */
    record FunctionPolicy(List<JsonNode> statements, int length, String revisionId) {
        Optional<JsonNode> statement(String sid) {
            return statements.stream().filter(one -> sid(one).equals(sid)).findFirst();
        }
    }

    /** A change that was made, and the command that takes it back. */
    record Step(Change change, String undo) {}

    /**
     * @param statementId the Sid of the statement by which CodeCommit may invoke the function
     * @param made what this run did for it; null if it was there
     */
    record Permission(String statementId, Step made) {}

    /**
     * What became of a repository.
     *
     * @param function that a trigger was taken from, in a removal
     * @param usedDestinations those of the triggers that are left, in a removal
     */
    record Outcome(Repository repository, Optional<Destination> function, Set<String> usedDestinations) {}

    static final String SERVICE = "codecommit.amazonaws.com";
    static final Set<String> EVENTS = new TreeSet<>(
            Set.of("all", "createReference", "deleteReference", "updateReference"));
    /** Of a repository, and of a trigger. */
    static final int MOST_TRIGGERS = 10;
    static final int MOST_BRANCHES = 10;
    /** Git's rules for a branch's name. */
    static final String BRANCH = "(?!refs/|[./-])(?!.*(\\.\\.|@\\{|//|/\\.|\\.lock(/|$)))"
            + "[^\\x00-\\x20\\x7f~^:?*\\[\\\\]{1,256}(?<![./])";
    /** The longest policy that Lambda takes, in bytes. */
    static final int LONGEST_FUNCTION_POLICY = 20_480;
    /** Some more than what Lambda writes around the statements. */
    static final int EMPTY_FUNCTION_POLICY = 100;
    static final String SID_PREFIX = "codecommit-";
    static final String ANY_REPOSITORY_SID = SID_PREFIX + "any-repository";
    /** What CodeCommit does with the key of an encrypted topic. */
    static final Set<String> KEY_ACTIONS = Set.of("kms:Decrypt", "kms:GenerateDataKey");
    /** How often a change is made again before others who change the same at once are given way to. */
    static final int MOST_ATTEMPTS = 5;

    /** How long AWS may show the old state after a change; usually seconds. */
    Duration newsPatience = Duration.ofSeconds(30);
    /** How long a new function may take until it can be invoked. */
    Duration functionPatience = Duration.ofMinutes(2);

    CodeCommitClient codecommit;
    LambdaClient lambda;
    /** Null if none is given, which only a removal does without. */
    Destination destination;
    /** By repository, the Sid of the statement by which CodeCommit may invoke the function from the start. */
    Map<String, String> presentStatementIds = Map.of();

    public static void main(String[] args) {
        System.exit(new AddRepoTrigger().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        connect();
        checkDestinationAccount();
        codecommit = client(CodeCommitClient.builder());
        lambda = client(LambdaClient.builder());
        var names = repositoryNames();
        if (!remove) {
            prepareDestination(names);
        }
        var outcomes = names.stream().map(name -> bringInLine(name)).toList();
        var repositories = outcomes.stream().map(one -> one.repository()).toList();
        var failures = repositories.stream().filter(one -> one.error() != null).count();
        if (failures > 0 && failures == repositories.size()) {
            return 1;
        }
        tidyPolicies(names, outcomes);
        var isUndelivered = repositories.stream().anyMatch(one -> one.test() != null && !one.test().delivered());
        return print(new Result(printed(strongest(changes)), caller.account(), region(), repositories, changes, undo()),
                failures > 0 ? 3 : isUndelivered ? 4 : 0);
    }

    void checkOptions() {
        check("--trigger-name", triggerName, "[\\w.-]{1,100}",
                "up to 100 letters, digits and . _ -, such as build");
        checkGlobs("--repository-names", selection.names);
        checkGlobs("--exclude", exclude);
        if (destinationArn != null) {
            checkDestinationArn();
            destination = new Destination(destinationArn);
        } else if (!remove) {
            throw wrong("no destination: use --destination-arn, such as --destination-arn"
                    + " arn:aws:lambda:eu-west-1:111122223333:function:build:live");
        }
        events.forEach(event -> check("--events", event, String.join("|", EVENTS),
                "one of " + String.join(", ", EVENTS)));
        if (events.contains("all") && Set.copyOf(events).size() > 1) {
            throw wrong("--events: all has the others in it, and stands alone: --events all");
        }
        checkBranches();
        if (customData != null && customData.length() > 1000) {
            throw wrong("--custom-data: must be up to 1,000 characters, not " + customData.length()
                    + "; such as --custom-data team=payments");
        }
        var isChange = !(events.isEmpty() && branchChoice.names.isEmpty() && !branchChoice.all && customData == null);
        if (remove && (isChange || anyRepository || test)) {
            throw wrong("--remove goes with --trigger-name, --destination-arn and the choice of repositories only, such"
                    + " as --trigger-name build --all-repositories --remove");
        }
        if (test && dryRun) {
            throw wrong("--test sends a message, which a dry run does not: leave one of them out");
        }
        if (anyRepository && !destination.isFunction()) {
            throw wrong("--any-repository is for the policy of a function, and " + destinationArn + " is a topic:"
                    + " leave it out");
        }
        region();
    }

    void checkDestinationArn() {
        if (destinationArn.endsWith(":$LATEST")) {
            throw wrong("--destination-arn '" + destinationArn + "': $LATEST cannot have a policy; use an alias or a"
                    + " version, such as " + destinationArn.replace("$LATEST", "live") + ", or leave it out");
        }
        if (destinationArn.endsWith(".fifo")) {
            throw wrong("--destination-arn '" + destinationArn + "': CodeCommit sends to no FIFO topics; use a standard"
                    + " topic, such as " + destinationArn.replaceFirst("\\.fifo$", ""));
        }
        check("--destination-arn", destinationArn,
                "arn:aws[a-z-]*:(lambda:[a-z0-9-]+:\\d{12}:function:[\\w-]{1,64}(:[\\w-]{1,128})?"
                        + "|sns:[a-z0-9-]+:\\d{12}:[\\w-]{1,256})",
                "the ARN of a Lambda function or an SNS topic, such as"
                        + " arn:aws:lambda:eu-west-1:111122223333:function:build:live");
        var place = destinationArn.split(":")[3];
        if (!place.equals(region())) {
            throw wrong("--destination-arn '" + destinationArn + "': must be in the Region of the repositories, "
                    + region() + ", or use --region " + place);
        }
    }

    void checkBranches() {
        for (var branch : branchChoice.names) {
            check("--branches", branch, BRANCH,
                    "a branch's name without refs/heads/ and without wildcards, such as main");
        }
        if (Set.copyOf(branchChoice.names).size() > MOST_BRANCHES) {
            throw wrong("--branches: CodeCommit takes " + MOST_BRANCHES + " at most; leave them out for all branches,"
                    + " or use another --trigger-name for the rest");
        }
    }

    /** What only the caller's own account tells. */
    void checkDestinationAccount() {
        if (destination == null) {
            return;
        }
        if (!destination.arn().split(":")[1].equals(caller.partition())) {
            throw new Failure(destination.arn() + " is of another partition than these credentials, "
                    + caller.partition());
        }
        if (destination.isFunction() && !destination.account().equals(caller.account())) {
            throw new Failure(destination.arn() + " is of another account than the repositories, " + caller.account()
                    + ", and CodeCommit documents no such triggers; use a topic that the function subscribes to");
        }
    }

    /** Those that are chosen. Names without wildcards are not looked up: whoever adds the trigger hears of it. */
    List<String> repositoryNames() {
        var isListed = selection.all || selection.names.stream().anyMatch(glob -> glob.matches(".*[*?].*"));
        var known = !isListed ? List.<String>of() : codecommit.listRepositoriesPaginator(r -> {}).repositories()
                .stream().map(repository -> repository.repositoryName()).sorted().toList();
        var chosen = new LinkedHashSet<String>(selection.all ? known : List.of());
        for (var glob : selection.names) {
            var found = !glob.matches(".*[*?].*") ? List.of(glob)
                    : known.stream().filter(name -> matchesAny(List.of(glob), name)).toList();
            if (found.isEmpty()) {
                throw new Failure("no repository of account " + caller.account() + " in " + region()
                        + " has a name like '" + glob + "'");
            }
            chosen.addAll(found);
        }
        chosen.removeIf(name -> matchesAny(exclude, name));
        if (selection.all && known.isEmpty()) {
            note("there are no repositories in " + region());
            return List.of();
        }
        if (chosen.isEmpty()) {
            throw new Failure("no repository is left to change in " + region());
        }
        return List.copyOf(chosen);
    }

    /** Refuses a destination that nothing would arrive at. */
    void prepareDestination(List<String> names) {
        try {
            if (destination.isFunction()) {
                checkFunction();
                presentStatementIds = presentStatementIds(names);
            } else {
                checkTopic(names);
            }
        } catch (RuntimeException e) {
            throw new Failure(destination.arn() + ": " + reason(e), e);
        }
    }

    void checkFunction() {
        GetFunctionConfigurationResponse function;
        try {
            function = poll(functionPatience, () -> Optional.of(lambda.getFunctionConfiguration(
                    r -> r.functionName(destination.functionName()).qualifier(destination.qualifier())))
                    .filter(one -> one.state() != State.PENDING))
                    .orElseThrow(() -> new Failure("the function is still being created; run the same command again"));
        } catch (ResourceNotFoundException e) {
            throw new Failure(destination.qualifier() == null ? "there is no such function"
                    : "there is no such function, or it has no such version or alias; create an alias with: "
                            + aws("lambda create-alias --function-version VERSION --name " + destination.qualifier()
                                    + " --function-name " + destination.functionName()), e);
        }
        if (function.state() == State.FAILED) {
            throw new Failure("the function cannot be invoked: " + function.stateReason());
        }
        if (function.state() == State.INACTIVE) {
            note(destination.arn() + ": it has not been used for long; its first invocation wakes it, and may fail");
        }
    }

    /** For which repositories the function may be invoked already; refuses if its policy has no room for the others. */
    Map<String, String> presentStatementIds(List<String> names) {
        var policy = policyOf(destination);
        var present = new HashMap<String, String>();
        names.forEach(name -> permittingStatement(policy, name).ifPresent(sid -> present.put(name, sid)));
        var missing = names.stream().filter(name -> !present.containsKey(name))
                .map(name -> permission(destination, name)).distinct().toList();
        var length = policy.length() + missing.stream().mapToInt(one -> one.toString().length() + 1).sum();
        if (length > LONGEST_FUNCTION_POLICY && !missing.isEmpty()) {
            throw new Failure("its policy would have some " + length + " bytes, of at most " + LONGEST_FUNCTION_POLICY
                    + ", with " + missing.size() + " more statements: use --any-repository, by which one statement is"
                    + " for all; statements that it has can be removed with: " + removeCommand(destination, "SID"));
        }
        return present;
    }

    void checkTopic(List<String> names) {
        Map<String, String> attributes;
        try (var sns = client(SnsClient.builder())) {
            attributes = sns.getTopicAttributes(r -> r.topicArn(destination.arn())).attributes();
        } catch (AuthorizationErrorException e) {
            if (destination.account().equals(caller.account())) {
                throw e;
            }
            note(destination.arn() + ": its account does not let you look at it; its policy has to have: "
                    + statements(filled("trigger-topic.json")).get(0) + "; --test says whether it has");
            return;
        } catch (NotFoundException e) {
            throw new Failure("there is no such topic; create it with: " + aws("sns create-topic --name "
                    + destination.arn().substring(destination.arn().lastIndexOf(':') + 1)), e);
        }
        checkTopicPolicy(parsedPolicy(attributes.get("Policy")), names);
        if (!attributes.getOrDefault("KmsMasterKeyId", "").isEmpty()) {
            checkTopicKey(attributes.get("KmsMasterKeyId"), names);
        }
        if (attributes.getOrDefault("SubscriptionsConfirmed", "0").equals("0")) {
            note(destination.arn() + ": has no confirmed subscription, so nobody is told; subscribe with: "
                    + aws("sns subscribe --protocol email --notification-endpoint operations@example.com --topic-arn "
                            + destination.arn()));
        }
    }

    void checkTopicPolicy(ObjectNode policy, List<String> names) {
        var letting = statements(policy).stream().filter(one -> isFor(SERVICE, one) || namesEveryone(one)).toList();
        if (!names.stream().allMatch(name -> lets(letting, Set.of("sns:Publish"), request(name)))) {
            throw new Failure("its policy does not let CodeCommit publish, whose messages would be lost without a word;"
                    + " add to it: " + statements(filled("trigger-topic.json")).get(0));
        }
    }

    /** As the statement of a new topic is, which goes by the account alone. */
    static boolean namesEveryone(JsonNode statement) {
        var principal = statement.path("Principal");
        return texts(principal.isObject() ? principal.path("AWS") : principal).anyMatch(name -> name.equals("*"));
    }

    void checkTopicKey(String id, List<String> names) {
        try (var kms = client(KmsClient.builder())) {
            var key = kms.describeKey(r -> r.keyId(id)).keyMetadata();
            if (key.keyManager() == KeyManagerType.AWS) {
                throw new Failure("it is encrypted under " + id + ", whose policy is AWS's own and does not let"
                        + " CodeCommit use it: encrypt the topic under a customer managed key, or not at all");
            }
            checkUsable(key, "encrypt the topic under another key");
            var policy = parsedPolicy(kms.getKeyPolicy(r -> r.keyId(key.arn()).policyName("default")).policy());
            var letting = statements(policy).stream().filter(one -> isFor(SERVICE, one)).toList();
            if (!names.stream().allMatch(name -> lets(letting, KEY_ACTIONS, request(name)))) {
                throw new Failure("the policy of its key " + key.arn() + " does not let CodeCommit use it, whose"
                        + " messages would be lost without a word; add to it: "
                        + statements(filled("trigger-key.json")).get(0));
            }
        }
    }

    /** A policy template, for this account, Region and destination. */
    ObjectNode filled(String template) {
        return template(template, Map.of("partition", caller.partition(), "region", region(), "account",
                caller.account(), "destination", destination.arn()));
    }

    /** What CodeCommit says of itself when it acts for a repository. */
    Map<String, String> request(String repositoryName) {
        return Map.of("aws:SourceArn", arn("codecommit", repositoryName), "aws:SourceAccount", caller.account(),
                "aws:SourceOwner", caller.account());
    }

    FunctionPolicy policyOf(Destination function) {
        try {
            var answer = lambda.getPolicy(
                    r -> r.functionName(function.functionName()).qualifier(function.qualifier()));
            return new FunctionPolicy(statements(parsedPolicy(answer.policy())),
                    answer.policy().getBytes(StandardCharsets.UTF_8).length, answer.revisionId());
        } catch (ResourceNotFoundException e) {
            return new FunctionPolicy(List.of(), EMPTY_FUNCTION_POLICY, null); // no policy yet, or no function any more
        }
    }

    static String sidOf(String repositoryArn) {
        try {
            var hash = MessageDigest.getInstance("SHA-256").digest(repositoryArn.getBytes(StandardCharsets.UTF_8));
            return SID_PREFIX + HexFormat.of().formatHex(hash, 0, 6);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The statement that is to let CodeCommit invoke the function for a repository. */
    JsonNode permission(Destination function, String name) {
        var source = arn("codecommit", anyRepository ? "*" : name);
        var template = template("trigger-function.json",
                Map.of("function", function.arn(), "source", source, "account", caller.account()));
        return ((ObjectNode) statements(template).get(0)).put("Sid",
                anyRepository ? ANY_REPOSITORY_SID : sidOf(source));
    }

    /**
     * The Sid of a statement by which the function may be invoked for a repository; none if this script's own one is
     * not as it should be.
     */
    Optional<String> permittingStatement(FunctionPolicy policy, String name) {
        var wanted = permission(destination, name);
        var own = policy.statement(sid(wanted));
        if (own.isPresent()) {
            return own.filter(one -> isSame(one, wanted)).map(one -> sid(one));
        }
        return policy.statements().stream().filter(one -> isFor(SERVICE, one)
                && lets(List.of(one), Set.of("lambda:InvokeFunction"), request(name))).map(one -> sid(one)).findFirst();
    }

    /** Lambda writes condition keys in its own way. */
    static boolean isSame(JsonNode one, JsonNode other) {
        return meaning(lowered(one)).equals(meaning(lowered(other)));
    }

    private static JsonNode lowered(JsonNode statement) {
        return parsedPolicy(statement.toString().replace("\"AWS:Source", "\"aws:Source"));
    }

    Outcome bringInLine(String name) {
        try {
            return naming(name, () -> remove ? withoutTrigger(name) : withTrigger(name));
        } catch (RuntimeException e) {
            fail(e);
            return new Outcome(new Repository(name, arn("codecommit", name), "failed", null, null, null, null,
                    reason(e)), Optional.empty(), Set.of());
        }
    }

    /** @param changesBefore how many changes there were before those of this repository */
    Repository repository(String name, int changesBefore, List<RepositoryTrigger> triggers, Permission permission,
            Test tested) {
        var others = triggers.stream().map(one -> one.name()).filter(one -> !one.equals(triggerName)).toList();
        return new Repository(name, arn("codecommit", name),
                printed(strongest(changes.stream().skip(changesBefore).toList())),
                ours(triggers).map(one -> asJson(one)).orElse(null), others,
                permission == null ? null : permission.statementId(), tested, null);
    }

    GetRepositoryTriggersResponse triggers(String name) {
        return codecommit.getRepositoryTriggers(r -> r.repositoryName(name));
    }

    Optional<RepositoryTrigger> ours(List<RepositoryTrigger> triggers) {
        return triggers.stream().filter(one -> one.name().equals(triggerName)).findFirst();
    }

    /** The trigger as it should be; what is not given stays. */
    RepositoryTrigger wanted(Optional<RepositoryTrigger> present) {
        var before = present.orElse(RepositoryTrigger.builder().name(triggerName).eventsWithStrings("all").build());
        var data = customData == null ? before.customData() : customData;
        var branches = branchChoice.names.isEmpty() ? before.branches() : branchChoice.names;
        return before.toBuilder().destinationArn(destination.arn())
                .eventsWithStrings(events.isEmpty() ? before.eventsAsStrings() : List.copyOf(new TreeSet<>(events)))
                .branches(branchChoice.all ? List.of() : List.copyOf(new TreeSet<>(branches)))
                .customData(data == null || data.isEmpty() ? null : data).build();
    }

    /** As CodeCommit takes it back: missing custom data is shown as empty, and a list of branches is wanted. */
    static RepositoryTrigger written(RepositoryTrigger shown) {
        var data = shown.customData();
        return shown.toBuilder().branches(new ArrayList<>(shown.branches()))
                .customData(data == null || data.isEmpty() ? null : data).build();
    }

    /** In which order CodeCommit shows events and branches says nothing. */
    static Object meaning(RepositoryTrigger trigger) {
        return List.of(trigger.name(), trigger.destinationArn(), Set.copyOf(trigger.eventsAsStrings()),
                Set.copyOf(trigger.branches()), Objects.requireNonNullElse(trigger.customData(), ""));
    }

    static Set<Object> meanings(List<RepositoryTrigger> triggers) {
        return triggers.stream().map(trigger -> meaning(trigger)).collect(Collectors.toSet());
    }

    /** Adds or changes the trigger, after the permission without which it would be silent. */
    Outcome withTrigger(String name) {
        var changesBefore = changes.size();
        var current = triggers(name);
        checkRoom(current.triggers());
        var permission = destination.isFunction() ? permit(name) : null;
        var triggers = withTrigger(name, current, permission == null ? null : permission.made());
        var tested = test ? test(name, ours(triggers).orElseThrow(), permission) : null;
        return new Outcome(repository(name, changesBefore, triggers, permission, tested), Optional.empty(), Set.of());
    }

    /** Gives all triggers that the repository has then. */
    List<RepositoryTrigger> withTrigger(String name, GetRepositoryTriggersResponse read, Step permission) {
        var before = ours(read.triggers());
        if (before.isPresent() && meaning(before.get()).equals(meaning(wanted(before)))) {
            record(permission);
            return read.triggers();
        }
        var changesBefore = changes.size();
        List<RepositoryTrigger> triggers;
        try {
            // the permission has taken its time
            triggers = putUntilShown(name, permission == null || dryRun ? read : triggers(name),
                    one -> Optional.of(wanted(one)));
        } catch (RuntimeException e) {
            takeBack(permission, e);
            throw e;
        }
        recordFirst(permission, changesBefore);
        if (before.isPresent() && !before.get().destinationArn().equals(destination.arn())) {
            withdraw(name, new Destination(before.get().destinationArn()), triggers);
        }
        return triggers;
    }

    void checkRoom(List<RepositoryTrigger> triggers) {
        if (ours(triggers).isEmpty() && triggers.size() >= MOST_TRIGGERS) {
            throw new Failure("it has " + triggers.size() + " triggers, of at most " + MOST_TRIGGERS
                    + "; remove one of them first: ./jbang add-repo-trigger --remove --repository-names"
                    + " REPOSITORY --trigger-name " + triggers.get(0).name() + ", or another of "
                    + triggers.stream().map(one -> one.name()).collect(Collectors.joining(", ")));
        }
    }

    /**
     * Writes the triggers until CodeCommit shows them with the one that is wanted, or without it: someone else may
     * write them at the same time.
     */
    List<RepositoryTrigger> putUntilShown(String name, GetRepositoryTriggersResponse read,
            UnaryOperator<Optional<RepositoryTrigger>> change) {
        var current = read;
        for (var attempt = 1;; attempt++) {
            var present = ours(current.triggers());
            var wanted = change.apply(present);
            if (present.map(one -> meaning(one)).equals(wanted.map(one -> meaning(one)))) {
                return current.triggers();
            }
            if (attempt > MOST_ATTEMPTS) {
                throw new Failure("others keep changing the triggers at the same time; run the same command again");
            }
            if (attempt > 1) {
                note(name + ": someone else changed the triggers at the same time; changing them again ...");
                changes.removeIf(one -> one.resource().equals(name) && one.field().equals("trigger"));
                undoCommands.pop();
            }
            checkRoom(current.triggers());
            var all = new ArrayList<>(current.triggers().stream()
                    .filter(one -> !one.name().equals(triggerName)).map(one -> written(one)).toList());
            wanted.ifPresent(one -> all.add(one));
            var before = current;
            change(changeOf(name, present, wanted), putCommand(name, current.triggers()), () -> put(name, all));
            if (dryRun) {
                return all;
            }
            current = triggersAfter(name, before, wanted);
            nameVanished(name, all, current.triggers());
        }
    }

    static Change changeOf(String name, Optional<RepositoryTrigger> present, Optional<RepositoryTrigger> wanted) {
        var from = present.map(one -> asJson(one)).orElse(null);
        var to = wanted.map(one -> asJson(one)).orElse(null);
        if (from == null) {
            return Change.creation(name, "trigger", to);
        }
        return to == null ? Change.deletion(name, "trigger", from, null) : Change.update(name, "trigger", from, to);
    }

    String putCommand(String name, List<RepositoryTrigger> triggers) {
        return aws("codecommit put-repository-triggers", Map.of("repositoryName", name, "triggers",
                asJson(triggers.stream().map(one -> written(one)).toList())));
    }

    void put(String name, List<RepositoryTrigger> triggers) {
        try {
            codecommit.putRepositoryTriggers(r -> r.repositoryName(name).triggers(triggers));
        } catch (SdkException e) {
            if (!isDoubtful(e)) {
                throw e;
            }
            if (!meanings(triggers(name).triggers()).equals(meanings(triggers))) {
                throw new Failure(reason(e) + "; the triggers are as they were, as far as CodeCommit shows", e);
            }
        }
    }

    /** The triggers once CodeCommit shows what was written, or what someone else wrote after that. */
    GetRepositoryTriggersResponse triggersAfter(String name, GetRepositoryTriggersResponse old,
            Optional<RepositoryTrigger> wanted) {
        return poll(newsPatience, () -> Optional.of(triggers(name)).filter(shown -> ours(shown.triggers())
                .map(one -> meaning(one)).equals(wanted.map(one -> meaning(one)))
                || !Objects.equals(shown.configurationId(), old.configurationId())))
                .orElseThrow(() -> new Failure("CodeCommit still shows the old triggers; the same command again shows"
                        + " whether the change holds"));
    }

    /** Whoever wrote the triggers after this run had read fewer of them, or deleted some on purpose. */
    void nameVanished(String name, List<RepositoryTrigger> put, List<RepositoryTrigger> shown) {
        var left = meanings(shown);
        var vanished = put.stream().filter(one -> !one.name().equals(triggerName) && !left.contains(meaning(one)))
                .map(one -> asJson(one)).toList();
        if (!vanished.isEmpty()) {
            note(name + ": someone else changed the triggers at the same time; these are gone or changed: " + vanished);
        }
    }

    /** Lets CodeCommit invoke the function for a repository, if it may not yet. */
    Permission permit(String name) {
        if (presentStatementIds.containsKey(name)) {
            return new Permission(presentStatementIds.get(name), null);
        }
        Step ofLostAnswer = null;
        var wanted = permission(destination, name);
        for (var attempt = 1;; attempt++) {
            var policy = policyOf(destination);
            var own = policy.statement(sid(wanted));
            var step = new Step(Change.update(name, "permission", own.orElse(null), wanted),
                    removeCommand(destination, sid(wanted))
                            + own.map(one -> " && " + addCommand(destination, one)).orElse(""));
            var present = permittingStatement(policy, name);
            if (present.isPresent()) {
                return new Permission(present.get(), ofLostAnswer);
            }
            try {
                if (!dryRun) {
                    own.ifPresent(one -> removePermission(destination, sid(wanted), policy.revisionId()));
                    addPermission(destination, wanted);
                }
                return new Permission(sid(wanted), step);
            } catch (ResourceConflictException | PreconditionFailedException e) {
                ofLostAnswer = isDoubtful(e) ? step : null; // its statement may be what is in the way
                if (attempt >= MOST_ATTEMPTS) {
                    throw new Failure("others keep changing the policy of " + destination.arn()
                            + " at the same time: " + reason(e), e);
                }
            } catch (PolicyLengthExceededException e) {
                throw new Failure(destination.arn() + ": " + reason(e) + "; use --any-repository, by which one"
                        + " statement is for all repositories", e);
            } catch (SdkException e) {
                if (!isTemporary(e) || attempt > 1) {
                    throw new Failure(destination.arn() + ": " + reason(e), e);
                }
                ofLostAnswer = step;
            }
        }
    }

    void addPermission(Destination function, JsonNode statement) {
        var conditions = statement.path("Condition");
        lambda.addPermission(r -> r.functionName(function.functionName()).qualifier(function.qualifier())
                .statementId(sid(statement)).action(statement.path("Action").asText())
                .principal(statement.at("/Principal/Service").asText())
                .sourceArn(conditions.path("ArnLike").path("AWS:SourceArn").asText())
                .sourceAccount(conditions.path("StringEquals").path("AWS:SourceAccount").asText()));
    }

    void removePermission(Destination function, String sid, String revisionId) {
        try {
            lambda.removePermission(r -> r.functionName(function.functionName()).qualifier(function.qualifier())
                    .statementId(sid).revisionId(revisionId));
        } catch (ResourceNotFoundException e) {
            return; // it is gone already, as if by this call
        }
    }

    static String qualified(Destination function) {
        return " --function-name " + function.functionName()
                + (function.qualifier() == null ? "" : " --qualifier " + function.qualifier());
    }

    String removeCommand(Destination function, String sid) {
        return aws("lambda remove-permission" + qualified(function) + " --statement-id " + sid);
    }

    /** Of a statement that has a service and this script's conditions, if any. */
    String addCommand(Destination function, JsonNode statement) {
        var command = new StringBuilder("lambda add-permission" + qualified(function) + " --statement-id "
                + sid(statement) + " --action " + quote(statement.path("Action").asText()) + " --principal "
                + quote(statement.at("/Principal/Service").asText("*")));
        for (var operator : statement.path("Condition")) {
            for (var condition : operator.properties()) {
                command.append(condition.getKey().equalsIgnoreCase("aws:SourceArn") ? " --source-arn "
                        : " --source-account ").append(quote(condition.getValue().asText()));
            }
        }
        return aws(command.toString());
    }

    void record(Step step) {
        if (step != null) {
            record(step.change(), step.undo());
        }
    }

    /** Records a permission before the change of the trigger that was made after it; its undo comes last. */
    void recordFirst(Step permission, int changesBefore) {
        if (permission == null) {
            return;
        }
        var isAlone = changes.size() == changesBefore;
        changes.add(changesBefore, permission.change());
        if (dryRun) {
            return;
        }
        var ofTrigger = isAlone ? null : undoCommands.pop();
        undoCommands.push(permission.undo());
        if (ofTrigger != null) {
            undoCommands.push(ofTrigger);
        }
    }

    /**
     * A trigger that could not be put in leaves no permission. If it may be there, the permission stays, since without
     * it the trigger would be silent.
     */
    void takeBack(Step permission, RuntimeException failure) {
        if (permission == null || dryRun) {
            return;
        }
        var statement = (JsonNode) permission.change().to();
        var isNew = permission.change().from() == null;
        if (!isNew || isTemporary(failure)) {
            record(permission);
            return;
        }
        try {
            removePermission(destination, sid(statement), null);
        } catch (SdkException e) {
            throw new Failure(reason(failure) + "; a permission is left over, which could not be removed (" + reason(e)
                    + "): " + permission.undo(), failure);
        }
    }

    /** Takes the trigger away, and the permission that only it needed. */
    Outcome withoutTrigger(String name) {
        var changesBefore = changes.size();
        var current = triggers(name);
        var present = ours(current.triggers()).map(one -> new Destination(one.destinationArn()));
        if (present.isPresent() && destination != null && !present.get().equals(destination)) {
            throw new Failure("the trigger " + triggerName + " sends to " + present.get().arn() + ", not to "
                    + destination.arn() + ": leave --destination-arn out to remove it all the same");
        }
        var left = putUntilShown(name, current, one -> Optional.empty());
        var function = present.or(() -> Optional.ofNullable(destination))
                .filter(one -> one.isFunction() && one.account().equals(caller.account()));
        function.ifPresent(one -> withdraw(name, one, left));
        return new Outcome(repository(name, changesBefore, left, null, null), function,
                left.stream().map(one -> one.destinationArn()).collect(Collectors.toSet()));
    }

    /** Takes back this script's permission of a function, if none of the triggers that are left needs it. */
    void withdraw(String name, Destination function, List<RepositoryTrigger> left) {
        var isUsed = left.stream().anyMatch(one -> one.destinationArn().equals(function.arn()));
        if (!function.isFunction() || isUsed) {
            return;
        }
        withdraw(name, function, sidOf(arn("codecommit", name)));
    }

    void withdraw(String resource, Destination function, String sid) {
        try {
            for (var attempt = 1;; attempt++) {
                var policy = policyOf(function);
                var own = policy.statement(sid);
                if (own.isEmpty()) {
                    return;
                }
                try {
                    change(remove ? Change.deletion(resource, "permission", own.get(), null)
                            : Change.update(resource, "permission", own.get(), null), addCommand(function, own.get()),
                            () -> removePermission(function, sid, policy.revisionId()));
                    return;
                } catch (PreconditionFailedException e) {
                    if (attempt >= MOST_ATTEMPTS) {
                        throw e;
                    }
                }
            }
        } catch (SdkException e) {
            throw new Failure(reason(e) + "; the permission " + sid + " of " + function.arn()
                    + " is left over, remove it with: " + removeCommand(function, sid), e);
        }
    }

    /** Has CodeCommit send a message to our destination alone: a test of all triggers would reach the others, too. */
    Test test(String name, RepositoryTrigger trigger, Permission permission) {
        var before = triggers(name).triggers();
        // Lambda may not know yet of a new permission
        var isNew = permission != null && permission.made() != null;
        var answer = poll(isNew ? newsPatience : Duration.ZERO, () -> Optional.of(send(name, trigger))
                .filter(one -> one.failedExecutions().isEmpty())).orElseGet(() -> send(name, trigger));
        putBackAfterTest(name, before);
        if (!answer.successfulExecutions().contains(triggerName)) {
            var error = answer.failedExecutions().stream().map(one -> one.failureMessage())
                    .collect(Collectors.joining("; "));
            note(name + ": the test of " + triggerName + " did not arrive at " + destination.arn() + ": " + error);
            return new Test(false, error);
        }
        note(name + ": the test of " + triggerName + " arrived at " + destination.arn() + (destination.isFunction()
                ? "; what the function made of it is in its log group /aws/lambda/" + destination.functionName() : ""));
        return new Test(true, null);
    }

    TestRepositoryTriggersResponse send(String name, RepositoryTrigger trigger) {
        return codecommit.testRepositoryTriggers(r -> r.repositoryName(name).triggers(written(trigger)));
    }

    /** A test must not change the triggers. One sentence of CodeCommit's guide can be read as if it did. */
    void putBackAfterTest(String name, List<RepositoryTrigger> before) {
        var after = triggers(name).triggers();
        if (meanings(after).equals(meanings(before))) {
            return;
        }
        if (!meanings(after).equals(meanings(ours(before).stream().toList()))) {
            note(name + ": someone else changed the triggers during the test: " + asJson(after));
            return;
        }
        note(name + ": the test left the tested trigger alone in the repository; putting the others back ...");
        var all = before.stream().map(one -> written(one)).toList();
        try {
            put(name, all);
        } catch (RuntimeException e) {
            throw new Failure(reason(e) + "; put the other triggers back with: " + putCommand(name, before), e);
        }
    }

    /** Removes statements of this script that no repository needs any more. */
    void tidyPolicies(List<String> names, List<Outcome> outcomes) {
        var functions = outcomes.stream().flatMap(one -> one.function().stream())
                .collect(Collectors.toCollection(LinkedHashSet::new));
        if (destination != null && destination.isFunction()) {
            functions.add(destination);
        }
        for (var function : functions) {
            try {
                removeStale(function, names);
                if (remove && policyOf(function).statement(ANY_REPOSITORY_SID).isPresent()) {
                    leaveOrRemoveAny(function, outcomes);
                }
            } catch (RuntimeException e) {
                note(function.arn() + ": its statements that no repository needs are left: " + reason(e));
            }
        }
    }

    /** Of repositories that were deleted or renamed. */
    void removeStale(Destination function, List<String> names) {
        var prefix = arn("codecommit", "");
        var bySid = new TreeMap<String, String>();
        for (var statement : policyOf(function).statements()) {
            for (var condition : statement.path("Condition").path("ArnLike").properties()) {
                var source = condition.getValue().asText();
                if (source.startsWith(prefix) && sid(statement).equals(sidOf(source))) {
                    bySid.put(sid(statement), source.substring(prefix.length()));
                }
            }
        }
        bySid.values().removeAll(names);
        var others = List.copyOf(new TreeSet<>(bySid.values()));
        for (var batch : batches(others, REPOSITORIES_PER_CALL)) {
            var gone = codecommit.batchGetRepositories(r -> r.repositoryNames(batch)).repositoriesNotFound();
            bySid.forEach((sid, name) -> {
                if (gone.contains(name)) {
                    note(function.arn() + ": the repository " + name + " is gone, and so is its permission");
                    withdraw(name, function, sid);
                }
            });
        }
    }

    /** The statement for any repository goes with the last trigger that needs it, if all triggers were seen. */
    void leaveOrRemoveAny(Destination function, List<Outcome> outcomes) {
        var sawAll = selection.all && exclude.isEmpty()
                && outcomes.stream().allMatch(one -> one.repository().error() == null);
        if (sawAll && outcomes.stream().noneMatch(one -> one.usedDestinations().contains(function.arn()))) {
            withdraw(function.arn(), function, ANY_REPOSITORY_SID);
        } else {
            note(function.arn() + ": left its statement " + ANY_REPOSITORY_SID + ", which other repositories may need;"
                    + " --all-repositories --remove takes it away with the last trigger, or this: "
                    + removeCommand(function, ANY_REPOSITORY_SID));
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

    //region The same in every script: usable keys

    /**
     * Refuses a key that services cannot encrypt under.
     *
     * @param remedy what to do about a key of the wrong kind
     */
    void checkUsable(KeyMetadata key, String remedy) {
        if (key.keySpec() != KeySpec.SYMMETRIC_DEFAULT || key.keyUsage() != KeyUsageType.ENCRYPT_DECRYPT) {
            throw new Failure(key.arn() + " is " + key.keySpecAsString() + " for " + key.keyUsageAsString()
                    + "; encryption at rest needs SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT: " + remedy);
        }
        var enable = aws("kms enable-key --key-id " + key.keyId());
        if (key.keyState() == KeyState.PENDING_DELETION) {
            throw new Failure(key.arn() + " will be deleted on " + key.deletionDate() + "; keep it with: "
                    + aws("kms cancel-key-deletion --key-id " + key.keyId()) + " && " + enable);
        }
        if (key.keyState() != KeyState.ENABLED) {
            throw new Failure(key.arn() + " is " + key.keyStateAsString() + "; enable it with: " + enable);
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

    //region The same in every script: policies for services

    /** Whether a statement names a service as its principal. */
    static boolean isFor(String service, JsonNode statement) {
        return texts(statement.at("/Principal/Service")).anyMatch(name -> name.equals(service));
    }

    /** Whether statements allow all of these actions in a request that has these condition keys. */
    static boolean lets(List<JsonNode> statements, Collection<String> actions, Map<String, String> request) {
        var keys = new TreeMap<String, String>(String.CASE_INSENSITIVE_ORDER);
        keys.putAll(request);
        return actions.stream().allMatch(action -> statements.stream()
                .anyMatch(one -> one.path("Effect").asText().equals("Allow")
                        && texts(one.path("Action")).anyMatch(pattern -> isLike(action.toLowerCase(Locale.ROOT),
                                pattern.toLowerCase(Locale.ROOT)))
                        && one.path("Condition").properties().stream().allMatch(operator -> operator.getValue()
                                .properties().stream().allMatch(key -> holds(operator.getKey(), key.getValue(),
                                        keys.get(key.getKey()))))));
    }

    /** Whether a condition of these kinds holds; any other may not. */
    private static boolean holds(String operator, JsonNode wanted, String value) {
        return value != null && operator.matches("(String|Arn)(Equals|Like)")
                && texts(wanted).anyMatch(pattern -> isLike(value, pattern));
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
