///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Creates a CodeCommit repository under a KMS key, or brings an existing one under it.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:kms
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
import software.amazon.awssdk.http.*;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.profiles.*;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.DefaultAwsRegionProviderChain;
import software.amazon.awssdk.retries.api.RetryStrategy;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.CodeCommitException;
import software.amazon.awssdk.services.codecommit.model.EncryptionKeyAccessDeniedException;
import software.amazon.awssdk.services.codecommit.model.EncryptionKeyDisabledException;
import software.amazon.awssdk.services.codecommit.model.EncryptionKeyNotFoundException;
import software.amazon.awssdk.services.codecommit.model.EncryptionKeyUnavailableException;
import software.amazon.awssdk.services.codecommit.model.RepositoryDoesNotExistException;
import software.amazon.awssdk.services.codecommit.model.RepositoryMetadata;
import software.amazon.awssdk.services.codecommit.model.RepositoryNameExistsException;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.KeyManagerType;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.kms.model.KeySpec;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUsageType;
import software.amazon.awssdk.services.kms.model.KmsException;
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * Creates a CodeCommit repository that is encrypted under a given KMS key, or brings an existing repository under that
 * key and its description and tags in line.
 *
 * <p>Changes in AWS: the repository, its key, description and tags; never its contents, and never the key. An option
 * that is not given leaves the setting as it is. The key is looked up first: CodeCommit takes symmetric keys for
 * ENCRYPT_DECRYPT of its own Region, and cannot read a repository whose key is not enabled.
 *
 * <p>A second run with the same arguments changes nothing.
 *
 * <p>IAM actions:
 * <ul>
 * <li>codecommit:GetRepository, codecommit:ListTagsForResource
 * <li>codecommit:CreateRepository, codecommit:TagResource to create a repository
 * <li>codecommit:UpdateRepositoryEncryptionKey, codecommit:UpdateRepositoryDescription, codecommit:UntagResource to
 * change an existing one
 * <li>kms:DescribeKey, kms:Encrypt, kms:Decrypt, kms:ReEncryptFrom, kms:ReEncryptTo, kms:GenerateDataKey,
 * kms:GenerateDataKeyWithoutPlaintext on the key; all but the first are for CodeCommit, which uses the key with the
 * caller's permissions
 * </ul>
 */
@Command(name = "create-encrypted-repo", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = "Creates a CodeCommit repository under a KMS key, or brings an existing one under it.",
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:done, or already so", "1:failed", "2:wrong usage", "130, 143:interrupted"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang create-encrypted-repo --repository-name payments \\",
                "      --kms-key-id alias/codecommit --tags Team=Payments",
                "  ./jbang create-encrypted-repo --repository-name payments \\",
                "      --kms-key-id alias/codecommit --print /repository/cloneUrlHttp"})
class CreateEncryptedRepo implements Callable<Integer> {
    @Option(names = "--repository-name", paramLabel = "NAME", required = true,
            description = "Name of the repository. One that exists is updated.")
    String repositoryName;

    @Option(names = "--kms-key-id", paramLabel = "KEY", required = true,
            description = "The key: its id, ARN, alias (alias/NAME) or alias ARN.")
    String kmsKeyId;

    @Option(names = "--repository-description", paramLabel = "TEXT", description = "Description of the repository.")
    String repositoryDescription;

    @Option(names = "--tags", paramLabel = "Key=Value", arity = "1..*", description = "Tags to add or change.")
    List<String> tags = List.of();

    @Option(names = "--remove-other-tags", description = "Removes the tags that are not given.")
    boolean removeOtherTags;

    /** The printed document. */
    record Result(String status, String account, String region, Repository repository, List<Change> changes,
            String undo) {}

    /** @param cloneUrlCodeCommit for git-remote-codecommit */
    record Repository(String repositoryName, String repositoryId, String arn, String kmsKeyId, String cloneUrlHttp,
            String cloneUrlSsh, String cloneUrlCodeCommit) {}

    /** What a repository without a key of its own is encrypted under. */
    static final String AWS_MANAGED_KEY = "alias/aws/codecommit";

    /** How long CodeCommit may show the old key after a change. */
    Duration keyPatience = Duration.ofSeconds(10);

    KmsClient kms;
    CodeCommitClient codecommit;

    public static void main(String[] args) {
        System.exit(new CreateEncryptedRepo().commandLine().execute(args));
    }

    @Override
    public Integer call() {
        checkOptions();
        var wantedTags = tagsByKey(tags);
        connect();
        kms = client(KmsClient.builder());
        codecommit = client(CodeCommitClient.builder());
        var repository = naming(repositoryName, () -> bringInLine(wantedTags));
        var status = printed(strongest(changes));
        return print(new Result(status, caller.account(), region(), repository, changes, undo()), 0);
    }

    void checkOptions() {
        checkRepositoryName("--repository-name", repositoryName);
        checkKeyId("--kms-key-id", kmsKeyId);
        if (repositoryDescription != null) {
            check("--repository-description", repositoryDescription, "(?s).{0,1000}", "up to 1000 characters");
        }
    }

    Repository bringInLine(Map<String, String> wantedTags) {
        var key = usableKey(kms, kmsKeyId);
        var found = find();
        var repository = found == null ? create(key, wantedTags) : found;
        if (repository != null) {
            updateKey(repository, key);
            updateDescription(repository);
            updateTags(repository, wantedTags);
        }
        return entry(repository, key);
    }

    /** The repository, or null. */
    RepositoryMetadata find() {
        try {
            return codecommit.getRepository(r -> r.repositoryName(repositoryName)).repositoryMetadata();
        } catch (RepositoryDoesNotExistException e) {
            return null;
        } catch (EncryptionKeyDisabledException | EncryptionKeyUnavailableException
                | EncryptionKeyNotFoundException e) {
            throw new Failure(reason(e) + "; this is the key that the repository has now: enable it first,"
                    + " without it nothing can be done with the repository", e);
        }
    }

    /** The new repository; null in a dry run. */
    RepositoryMetadata create(KeyMetadata key, Map<String, String> wantedTags) {
        var creation = Change.creation(repositoryName, "repository", repositoryName);
        var undo = aws("codecommit delete-repository --repository-name=" + repositoryName)
                + " # irreversible: deletes what was pushed since, too";
        if (dryRun) {
            record(creation, undo);
            return null;
        }
        try {
            var created = codecommit.createRepository(r -> r.repositoryName(repositoryName).kmsKeyId(key.arn())
                    .repositoryDescription(repositoryDescription).tags(wantedTags.isEmpty() ? null : wantedTags));
            record(creation, undo);
            return created.repositoryMetadata();
        } catch (RepositoryNameExistsException e) {
            return existing(e, creation, undo);
        } catch (SdkException e) {
            if (!isDoubtful(e)) {
                throw new Failure(reason(e) + keyHint(e), e);
            }
            return existing(e, creation, undo);
        }
    }

    /**
     * The repository that exists although the answer was an error: this run created it if an earlier attempt may have
     * had an effect, else someone else did.
     */
    RepositoryMetadata existing(SdkException error, Change creation, String undo) {
        RepositoryMetadata repository;
        try {
            repository = find();
        } catch (SdkException e) {
            throw new Failure(reason(error) + "; whether the repository was created is unknown (" + reason(e)
                    + "): run the same command again", error);
        }
        if (repository == null) {
            throw new Failure(reason(error) + keyHint(error) + "; no repository was created", error);
        }
        if (isDoubtful(error)) {
            record(creation, undo);
        } else {
            note(repositoryName + ": someone else created it in the meantime");
        }
        return repository;
    }

    void updateKey(RepositoryMetadata repository, KeyMetadata key) {
        var current = repository.kmsKeyId() != null ? repository.kmsKeyId() : managedKey();
        if (current.equals(key.arn()) || current.equals(key.keyId())) {
            return;
        }
        change(Change.update(repositoryName, "kmsKeyId", current, key.arn()),
                aws("codecommit update-repository-encryption-key --repository-name=" + repositoryName
                        + " --kms-key-id " + current),
                () -> rekey(key));
    }

    /** Changes the key, and reads the repository until it shows it. */
    void rekey(KeyMetadata key) {
        try {
            codecommit.updateRepositoryEncryptionKey(r -> r.repositoryName(repositoryName).kmsKeyId(key.arn()));
        } catch (CodeCommitException e) {
            throw new Failure(reason(e) + keyHint(e), e);
        }
        poll(keyPatience, () -> findUnder(key)).orElseThrow(() -> new Failure(
                "its key was changed, but CodeCommit still shows the old one; run the same command again"));
    }

    /** The repository, if it shows the key. */
    Optional<RepositoryMetadata> findUnder(KeyMetadata key) {
        var repository = find();
        if (repository == null) {
            throw new Failure("someone else deleted the repository in the meantime");
        }
        var shown = Objects.requireNonNullElse(repository.kmsKeyId(), AWS_MANAGED_KEY);
        var wanted = key.keyManager() == KeyManagerType.AWS ? Set.of(key.arn(), AWS_MANAGED_KEY) : Set.of(key.arn());
        return wanted.contains(shown) ? Optional.of(repository) : Optional.empty();
    }

    /** What a repository that shows no key is encrypted under: an ARN if KMS tells it. */
    String managedKey() {
        try {
            return kms.describeKey(r -> r.keyId(AWS_MANAGED_KEY)).keyMetadata().arn();
        } catch (KmsException e) {
            if (isTemporary(e)) {
                throw e;
            }
            return AWS_MANAGED_KEY;
        }
    }

    static String keyHint(SdkException e) {
        return e instanceof EncryptionKeyAccessDeniedException
                ? "; allow your role to use the key: ./jbang create-kms-key --alias ALIAS --users YOUR-ROLE, or by IAM"
                : "";
    }

    void updateDescription(RepositoryMetadata repository) {
        var current = Objects.requireNonNullElse(repository.repositoryDescription(), "");
        if (repositoryDescription == null || repositoryDescription.equals(current)) {
            return;
        }
        change(Change.update(repositoryName, "repositoryDescription", current, repositoryDescription),
                aws("codecommit update-repository-description",
                        Map.of("repositoryName", repositoryName, "repositoryDescription", current)),
                () -> codecommit.updateRepositoryDescription(
                        r -> r.repositoryName(repositoryName).repositoryDescription(repositoryDescription)));
    }

    void updateTags(RepositoryMetadata repository, Map<String, String> wantedTags) {
        if (!wantedTags.isEmpty() || removeOtherTags) {
            changeTags(repositoryName, repositoryTags(codecommit, repository.arn()), wantedTags, removeOtherTags,
                    repositoryTagging(codecommit, repository.arn()));
        }
    }

    /** What is printed of the repository; null is one that a dry run would create. */
    Repository entry(RepositoryMetadata repository, KeyMetadata key) {
        var known = repository == null ? RepositoryMetadata.builder().build() : repository;
        return new Repository(repositoryName, known.repositoryId(), arn("codecommit", repositoryName), key.arn(),
                known.cloneUrlHttp(), known.cloneUrlSsh(), "codecommit::" + region() + "://" + repositoryName);
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

    //region The same in every script: tags of repositories

    static Map<String, String> repositoryTags(CodeCommitClient codecommit, String arn) {
        var tags = new TreeMap<String, String>();
        var page = codecommit.listTagsForResource(r -> r.resourceArn(arn));
        tags.putAll(page.tags());
        while (page.nextToken() != null) {
            var token = page.nextToken();
            page = codecommit.listTagsForResource(r -> r.resourceArn(arn).nextToken(token));
            tags.putAll(page.tags());
        }
        return tags;
    }

    //endregion

    //region The same in every script: tagging of repositories

    Tagging repositoryTagging(CodeCommitClient codecommit, String arn) {
        return new Tagging(tags -> codecommit.tagResource(r -> r.resourceArn(arn).tags(tags)),
                keys -> codecommit.untagResource(r -> r.resourceArn(arn).tagKeys(keys)),
                tags -> aws("codecommit tag-resource", Map.of("resourceArn", arn, "tags", tags)),
                keys -> aws("codecommit untag-resource", Map.of("resourceArn", arn, "tagKeys", keys)));
    }

    //endregion

    //region The same in every script: ids of keys

    void checkKeyId(String option, String id) {
        var arn = "arn:aws[a-z-]*:kms:[a-z0-9-]+:\\d{12}:";
        var keyId = "mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
        check(option, id, "(" + arn + "key/)?(" + keyId + ")|(" + arn + ")?alias/[a-zA-Z0-9/_-]{1,250}",
                "the id, ARN or alias of a key, such as alias/codecommit");
        if (id.startsWith("arn:") && !id.split(":")[3].equals(region())) {
            throw wrong(option + " '" + id + "': must be a key of the Region " + region() + ", or use --region "
                    + id.split(":")[3]);
        }
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

    //region The same in every script: keys of repositories

    /** The key, if CodeCommit can encrypt under it. */
    KeyMetadata usableKey(KmsClient kms, String id) {
        if (id.startsWith("arn:") && !id.split(":")[4].equals(caller.account())) {
            throw new Failure(id + " is of another account than the repository's, " + caller.account()
                    + ", which CodeCommit is not known to support; use a key of this account");
        }
        KeyMetadata key;
        try {
            key = kms.describeKey(r -> r.keyId(id)).keyMetadata();
        } catch (NotFoundException e) {
            var alias = id.startsWith("alias/") ? id : "alias/codecommit";
            throw new Failure("no key " + id + " in " + region() + "; create one with: ./jbang create-kms-key --alias "
                    + alias + " --region " + region(), e);
        }
        checkUsable(key, "use another key, or create one with ./jbang create-kms-key");
        return key;
    }

    //endregion
}
