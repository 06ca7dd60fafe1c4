///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Creates a CodeCommit repository under a KMS key, or brings an existing one under it.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:kms
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:TieredStopAtLevel=1

import com.fasterxml.jackson.core.JsonPointer;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
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
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.*;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.*;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * Makes a CodeCommit repository that is encrypted under a given KMS key, or brings an existing repository under that key and its description
 * and tags in line.
 *
 * <p>Changes in AWS: the repository's existence, key, description and tags; never its contents, and never the key. An option that is not
 * given leaves what it stands for as it is. The key is looked up first: CodeCommit takes symmetric keys for ENCRYPT_DECRYPT of its own
 * Region, and repositories under a key that is not enabled cannot be read.
 *
 * <p>A second run with the same arguments changes nothing.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codecommit:GetRepository, codecommit:ListTagsForResource
 * <li>codecommit:CreateRepository, codecommit:TagResource to create a repository
 * <li>codecommit:UpdateRepositoryEncryptionKey, codecommit:UpdateRepositoryDescription, codecommit:UntagResource to change an existing one
 * <li>kms:DescribeKey, kms:Encrypt, kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKey, kms:GenerateDataKeyWithoutPlaintext on the key;
 * all but the first are for CodeCommit, which uses the key in the caller's name
 * </ul>
 */
@Command(name = "create-encrypted-repo", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Creates a CodeCommit repository under a KMS key, or brings an existing one under it.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  create-encrypted-repo --repository-name payments \\", "      --kms-key-id alias/codecommit --tags Team=Payments",
                "  create-encrypted-repo --repository-name payments \\", "      --kms-key-id alias/codecommit --print /repository/cloneUrlHttp"})
class CreateEncryptedRepo implements Callable<Integer> {
    @Option(names = "--repository-name", paramLabel = "NAME", required = true, description = "Name of the repository. One that exists is updated.")
    String repositoryName;

    @Option(names = "--kms-key-id", paramLabel = "KEY", required = true, description = "The key: its id, ARN, alias (alias/NAME) or alias ARN.")
    String kmsKeyId;

    @Option(names = "--repository-description", paramLabel = "TEXT", description = "Description of the repository.")
    String repositoryDescription;

    @Option(names = "--tags", paramLabel = "Key=Value", arity = "1..*", description = "Tags to add or change.")
    List<String> tags = List.of();

    @Option(names = "--remove-other-tags", description = "Removes the tags that are not given.")
    boolean removeOtherTags;

    static final String MANAGED_KEY = "alias/aws/codecommit";

    /** How long a repository may show its old key after a change. */
    Duration keyDeadline = Duration.ofSeconds(10);

    KmsClient kms;
    CodeCommitClient codecommit;

    @Override
    public Integer call() {
        checkOptions();
        var wantedTags = tags(tags);
        kms = client(KmsClient.builder());
        codecommit = client(CodeCommitClient.builder());
        subject = kmsKeyId;
        var key = usableKey();
        subject = repositoryName;
        var repository = find();
        if (repository == null) repository = create(key, wantedTags);
        if (repository != null) {
            updateKey(repository, key);
            updateDescription(repository);
            updateTags(repository, wantedTags);
        }
        var status = changes.isEmpty() ? "unchanged" : changes.get(0).path("field").asText().equals("repository") ? "created" : "updated";
        var result = result(status(status));
        result.set("repository", describe(repository, key));
        return finish(withChanges(result), 0);
    }

    void checkOptions() {
        check("--repository-name", repositoryName, "(?!.*\\.git$)[\\w.-]{1,100}",
                "up to 100 letters, digits and . _ -, not ending with .git, such as payments");
        var arn = "arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:";
        check("--kms-key-id", kmsKeyId,
                "(" + arn + "key/)?(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})|(" + arn + ")?alias/[a-zA-Z0-9/_-]{1,250}",
                "the id, ARN or alias of a key, such as alias/codecommit");
        if (repositoryDescription != null) check("--repository-description", repositoryDescription, "(?s).{0,1000}", "up to 1000 characters");
        if (kmsKeyId.startsWith("arn:") && !kmsKeyId.split(":")[3].equals(region()))
            throw wrong("--kms-key-id '" + kmsKeyId + "': give a key of the repository's Region, " + region() + ", or --region " + kmsKeyId.split(":")[3]);
    }

    /** The key, if CodeCommit can encrypt under it. */
    KeyMetadata usableKey() {
        var account = identity().account();
        if (kmsKeyId.startsWith("arn:") && !kmsKeyId.split(":")[4].equals(account))
            throw new Failure("the key is of another account than the repository's, " + account
                    + ", which CodeCommit is not known to support; use a key of this account");
        KeyMetadata key;
        try {
            key = kms.describeKey(r -> r.keyId(kmsKeyId)).keyMetadata();
        } catch (NotFoundException e) {
            var alias = kmsKeyId.startsWith("alias/") ? kmsKeyId : "alias/codecommit";
            throw new Failure("no such key in " + region() + "; make one with: create-kms-key --alias " + alias + " --region " + region(), e);
        }
        if (key.keySpec() != KeySpec.SYMMETRIC_DEFAULT || key.keyUsage() != KeyUsageType.ENCRYPT_DECRYPT)
            throw new Failure(key.arn() + " is " + key.keySpecAsString() + " for " + key.keyUsageAsString()
                    + "; CodeCommit needs SYMMETRIC_DEFAULT for ENCRYPT_DECRYPT: make such a key with create-kms-key");
        var enable = aws("kms enable-key --key-id " + key.keyId());
        if (key.keyState() == KeyState.PENDING_DELETION)
            throw new Failure(key.arn() + " will be deleted on " + key.deletionDate() + "; keep it with: "
                    + aws("kms cancel-key-deletion --key-id " + key.keyId()) + " && " + enable);
        if (key.keyState() != KeyState.ENABLED) throw new Failure(key.arn() + " is " + key.keyStateAsString() + "; enable it with: " + enable);
        return key;
    }

    /** The repository, or null. */
    RepositoryMetadata find() {
        try {
            return codecommit.getRepository(r -> r.repositoryName(repositoryName)).repositoryMetadata();
        } catch (RepositoryDoesNotExistException e) {
            return null;
        } catch (EncryptionKeyDisabledException | EncryptionKeyUnavailableException | EncryptionKeyNotFoundException e) {
            throw new Failure(reason(e) + "; this is the key that the repository has now:"
                    + " nothing can be done with the repository before it is enabled again", e);
        }
    }

    /** A new repository, whoever made it; null in a dry run. */
    RepositoryMetadata create(KeyMetadata key, Map<String, String> wantedTags) {
        var undoCommand = aws("codecommit delete-repository --repository-name " + repositoryName) + " # irreversible: deletes what was pushed since, too";
        var made = new ArrayList<RepositoryMetadata>();
        try {
            change("repository", null, repositoryName, undoCommand, () -> made.add(codecommit.createRepository(r -> r
                    .repositoryName(repositoryName).kmsKeyId(key.arn()).repositoryDescription(repositoryDescription)
                    .tags(wantedTags.isEmpty() ? null : wantedTags)).repositoryMetadata()));
        } catch (SdkException e) {
            return existing(undoCommand, e);
        }
        return dryRun ? null : made.get(0);
    }

    /** The repository that is there although the answer was an error: somebody else's, or ours if an answer to this run was lost. */
    RepositoryMetadata existing(String undoCommand, SdkException error) {
        var refused = error.numAttempts() == 1 && error instanceof AwsServiceException e && e.statusCode() < 500 && e.awsErrorDetails().errorCode() != null;
        if (refused && !(error instanceof RepositoryNameExistsException)) throw new Failure(reason(error) + hint(error), error);
        RepositoryMetadata repository;
        try {
            repository = find();
        } catch (SdkException e) {
            throw new Failure(reason(error) + "; whether the repository was made could not be seen (" + reason(e) + "): run the same command again", error);
        }
        if (repository == null) throw new Failure(reason(error) + hint(error) + "; no repository was made", error);
        if (refused) note(subject + ": somebody else made it meanwhile");
        else change("repository", null, repositoryName, undoCommand, () -> { });
        return repository;
    }

    void updateKey(RepositoryMetadata repository, KeyMetadata key) {
        var current = repository.kmsKeyId() != null ? repository.kmsKeyId() : managedKey();
        if (current.equals(key.arn()) || current.equals(key.keyId())) return;
        var undoCommand = aws("codecommit update-repository-encryption-key --repository-name " + repositoryName + " --kms-key-id " + current);
        change("kmsKeyId", current, key.arn(), undoCommand, () -> {
            try {
                codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName(repositoryName).kmsKeyId(key.arn()));
            } catch (CodeCommitException e) {
                throw new Failure(reason(e) + hint(e), e);
            }
            awaitKey(key);
        });
    }

    /** Reads the repository until it shows the key. */
    void awaitKey(KeyMetadata key) {
        var end = Instant.now().plus(keyDeadline);
        while (true) {
            var now = find();
            if (now == null) throw new Failure("somebody deleted the repository meanwhile");
            if (key.arn().equals(now.kmsKeyId()) || now.kmsKeyId() == null && key.keyManager() == KeyManagerType.AWS) return;
            if (Instant.now().isAfter(end)) throw new Failure("its key was changed, but CodeCommit shows " + now.kmsKeyId() + "; run the same command again");
            pause(1000);
        }
    }

    /** What a repository without kmsKeyId is under: by ARN where KMS tells it. */
    String managedKey() {
        try {
            return kms.describeKey(r -> r.keyId(MANAGED_KEY)).keyMetadata().arn();
        } catch (KmsException e) {
            if (e.statusCode() >= 500) throw e;
            return MANAGED_KEY;
        }
    }

    static String hint(SdkException e) {
        return e instanceof EncryptionKeyAccessDeniedException ? "; let yourself use the key: create-kms-key --alias ALIAS --users YOUR-ROLE, or by IAM" : "";
    }

    void updateDescription(RepositoryMetadata repository) {
        var current = repository.repositoryDescription() == null ? "" : repository.repositoryDescription();
        if (repositoryDescription == null || repositoryDescription.equals(current)) return;
        change("repositoryDescription", current, repositoryDescription,
                aws("codecommit update-repository-description --repository-name " + repositoryName + " --repository-description " + quote(current)),
                () -> codecommit.updateRepositoryDescription(r -> r.repositoryName(repositoryName).repositoryDescription(repositoryDescription)));
    }

    void updateTags(RepositoryMetadata repository, Map<String, String> wanted) {
        if (wanted.isEmpty() && !removeOtherTags) return;
        var arn = repository.arn();
        var current = new TreeMap<String, String>();
        for (var token = new String[1]; ; ) {
            var page = codecommit.listTagsForResource(r -> r.resourceArn(arn).nextToken(token[0]));
            current.putAll(page.tags());
            if ((token[0] = page.nextToken()) == null) break;
        }
        changeTags(current, wanted, removeOtherTags, new Tagging(
                put -> codecommit.tagResource(r -> r.resourceArn(arn).tags(put)),
                remove -> codecommit.untagResource(r -> r.resourceArn(arn).tagKeys(remove)),
                put -> aws("codecommit tag-resource --resource-arn " + arn + " --tags " + quote(JSON.valueToTree(put).toString())),
                remove -> aws("codecommit untag-resource --resource-arn " + arn + " --tag-keys " + quote(JSON.valueToTree(remove).toString()))));
    }

    ObjectNode describe(RepositoryMetadata repository, KeyMetadata key) {
        var node = JSON.createObjectNode().put("repositoryName", repositoryName);
        if (repository != null) node.put("repositoryId", repository.repositoryId());
        node.put("arn", "arn:" + identity().partition() + ":codecommit:" + region() + ":" + identity().account() + ":" + repositoryName);
        node.put("kmsKeyId", key.arn());
        if (repository != null)
            node.put("cloneUrlHttp", repository.cloneUrlHttp()).put("cloneUrlSsh", repository.cloneUrlSsh());
        return node.put("cloneUrlCodeCommit", "codecommit::" + region() + "://" + repositoryName); // for git-remote-codecommit
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

    public static void main(String[] args) {
        System.exit(new CreateEncryptedRepo().commandLine().execute(args));
    }
}
