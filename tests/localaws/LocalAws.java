//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:regions
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS org.eclipse.jgit:org.eclipse.jgit:7.8.1.202611041320-r
//DEPS org.slf4j:slf4j-nop:2.0.17
//DEPS org.yaml:snakeyaml:2.5
//SOURCES Account.java
//SOURCES ApprovalRule.java
//SOURCES Authorizer.java
//SOURCES AwsError.java
//SOURCES Branches.java
//SOURCES BucketPolicy.java
//SOURCES BucketSettings.java
//SOURCES Buildspec.java
//SOURCES Call.java
//SOURCES Caller.java
//SOURCES CloudTrail.java
//SOURCES CloudWatch.java
//SOURCES CodeBuild.java
//SOURCES CodeCommit.java
//SOURCES Credentials.java
//SOURCES Ec2.java
//SOURCES EndpointPolicy.java
//SOURCES EventPattern.java
//SOURCES Events.java
//SOURCES Fault.java
//SOURCES GitHttp.java
//SOURCES Iam.java
//SOURCES Kms.java
//SOURCES Lambda.java
//SOURCES Logs.java
//SOURCES Models.java
//SOURCES Need.java
//SOURCES PolicyEvaluator.java
//SOURCES PullRequest.java
//SOURCES Roles.java
//SOURCES S3.java
//SOURCES S3Body.java
//SOURCES Schedule.java
//SOURCES Sns.java
//SOURCES Sts.java
//SOURCES TargetInput.java
//SOURCES Triggers.java
//FILES localaws/models/models.json=models/models.json

package localaws;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * A small, strict AWS in this process, on a random loopback port: STS, IAM, KMS, EC2, CodeCommit with Git over HTTP,
 * CodeBuild, CloudTrail, CloudWatch, CloudWatch Logs, EventBridge, SNS, Lambda and S3, as much of them as the scripts
 * call.
 * Requests are authenticated (Signature Version 4), checked against AWS's service models and authorised
 * ({@link Authorizer}); what the models do not know, each service's class does. It is a stand-in for tests and the
 * sandbox: what it allows, AWS may still refuse.
 *
 * <p>{@link #inject} makes it misbehave, {@link #calls} says what it was asked.
 *
 * <p>There are two accounts: {@link #ACCOUNT}, whose services are the fields here, and {@link #BACKUP_ACCOUNT};
 * {@link #account} gives either, or makes another. The fixed credentials are those of user/operator of the first, an
 * administrator by an attached policy. To run something as somebody else:
 *
 * <pre>{@code
 * aws.iam.createRole("Developer").inline.put("work", policyDocument); // trusts its account, see Principal.trust
 * var developer = aws.as("arn:aws:iam::111122223333:role/Developer");  // access key id, secret, session token
 * var url = aws.throughEndpoint(vpcEndpointId);                        // what is sent there is bound by its policy
 * aws.account("444455556666").iam.createUser("auditor");
 * Roles.create(aws);                                                   // Developer, BackupWriter, Auditor ...
 * }</pre>
 */
public final class LocalAws implements AutoCloseable {
    public static final String ACCOUNT = "111122223333";
    public static final String BACKUP_ACCOUNT = "444455556666";
    public static final String ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE";
    public static final String SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /**
     * What somebody signs with.
     *
     * @param sessionToken null for a user's own key
     */
    public record Login(String accessKeyId, String secretAccessKey, String sessionToken) {
        /** As the environment variables of a process. */
        public Map<String, String> environment() {
            var variables = new TreeMap<>(
                    Map.of("AWS_ACCESS_KEY_ID", accessKeyId, "AWS_SECRET_ACCESS_KEY", secretAccessKey));
            if (sessionToken != null) variables.put("AWS_SESSION_TOKEN", sessionToken);
            return variables;
        }
    }

    /** What a service with a model does with a request that the model finds right. */
    interface Service {
        JsonNode answer(String operation, ObjectNode input, Caller caller);

        /** What the caller must be allowed for it; an operation without an entry here is an error. */
        List<Need> needs(String operation, ObjectNode input, Caller caller);

        /** The error for what is not allowed. */
        default AwsError refused(Need need, String message) {
            return new AwsError("AccessDeniedException", message);
        }

        /** The error for requests that break the model. */
        default AwsError invalid(String operation, List<Models.Violation> violations) {
            var text = new StringBuilder(
                    violations.size() + " validation error" + (violations.size() == 1 ? "" : "s") + " detected: ");
            violations.forEach(v -> text.append(v.text()).append("; "));
            return new AwsError("ValidationException", text.substring(0, text.length() - 2));
        }
    }

    /** What happens by itself at a time: a schedule, an alarm. */
    interface Timer {
        /** The first time after this one at which something is due, or null. */
        Instant next(Instant after);

        /** Does what is due at this time, which the clock shows. */
        void due(Instant now);
    }

    private final HttpServer server;
    private final ExecutorService workers = Executors.newCachedThreadPool(task -> {
        var thread = new Thread(task, "local-aws");
        thread.setDaemon(true);
        return thread;
    });
    private final List<Call> calls = new CopyOnWriteArrayList<>();
    private final List<Fault> faults = new CopyOnWriteArrayList<>();
    private volatile Consumer<Call> listener = call -> { };
    private volatile Consumer<Sns.Mail> mailbox = mail -> { };

    final Credentials credentials = new Credentials();
    final Authorizer authorizer = new Authorizer(this);
    private final Map<String, Account> accounts = new ConcurrentHashMap<>();
    /** By service: one call at a time, of all accounts, since calls reach into other accounts. */
    private final Map<String, Object> locks = new ConcurrentHashMap<>();
    private final Map<String, HttpServer> endpointServers = new ConcurrentHashMap<>();
    /** The time that the services see; tests may set it ahead. */
    public volatile Clock clock = Clock.systemUTC();
    final List<Timer> timers = new CopyOnWriteArrayList<>();
    /** Whether any account has a trail; else no call is looked at for one. */
    volatile boolean hasTrails;
    /** Whether policies see requests as sent over TLS. */
    public volatile boolean secureTransport = true;

    public final Sts sts;
    /** Of {@link #ACCOUNT}. */
    public final Iam iam;
    /** Of {@link #ACCOUNT}. */
    public final Kms kms;
    /** Of {@link #ACCOUNT}. */
    public final Ec2 ec2;
    /** Of {@link #ACCOUNT}. */
    public final CodeCommit codecommit;
    /** Of {@link #ACCOUNT}. */
    public final CloudWatch cloudwatch;
    /** Of {@link #ACCOUNT}. */
    public final CodeBuild codebuild;
    /** Of {@link #ACCOUNT}. */
    public final Logs logs;
    /** Of {@link #ACCOUNT}. */
    public final Events events;
    /** Of {@link #ACCOUNT}. */
    public final Sns sns;
    /** Of {@link #ACCOUNT}. */
    public final Lambda lambda;
    /** Of {@link #ACCOUNT}. */
    public final CloudTrail cloudtrail;
    public final S3 s3;
    private final GitHttp git;

    private LocalAws() throws IOException {
        // else each answer waits 40 ms for the client's acknowledgement
        System.setProperty("sun.net.httpserver.nodelay", "true");
        server = listen(null);
        credentials.add(ACCESS_KEY_ID, SECRET_ACCESS_KEY, "user/operator", ACCOUNT);
        sts = new Sts(this);
        s3 = new S3(this);
        git = new GitHttp(this);
        var home = account(ACCOUNT);
        account(BACKUP_ACCOUNT);
        iam = home.iam;
        kms = home.kms;
        ec2 = home.ec2;
        codecommit = home.codecommit;
        cloudwatch = home.cloudwatch;
        codebuild = home.codebuild;
        logs = home.logs;
        events = home.events;
        sns = home.sns;
        lambda = home.lambda;
        cloudtrail = home.cloudtrail;
        server.start();
    }

    /** @param endpoint the VPC endpoint that its requests come through, or null */
    private HttpServer listen(Supplier<Caller.Endpoint> endpoint) throws IOException {
        var listener = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        listener.setExecutor(workers);
        listener.createContext("/", exchange -> {
            var through = endpoint == null ? null : endpoint.get();
            if (endpoint != null && through == null) throw new IOException("the VPC endpoint is gone");
            handle(exchange, through);
        });
        return listener;
    }

    public static LocalAws start() {
        try {
            return new LocalAws();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** By number, not by name: only then do the SDKs address buckets by path. */
    public URI endpoint() {
        return uri(server);
    }

    private static URI uri(HttpServer server) {
        return URI.create("http://127.0.0.1:" + server.getAddress().getPort());
    }

    /**
     * Another port of this AWS, whose requests come through a VPC endpoint of any account: they have aws:SourceVpce and
     * aws:SourceVpc, the endpoint's policy binds them as it is at the time of the request, and they reach the
     * endpoint's service only. Programs are pointed there by AWS_ENDPOINT_URL_CODECOMMIT or Git's URL.
     */
    public URI throughEndpoint(String vpcEndpointId) {
        var owner = accounts.values().stream().filter(a -> a.ec2.through(vpcEndpointId) != null).findFirst()
                .orElseThrow(() -> new IllegalArgumentException("there is no " + vpcEndpointId));
        return uri(endpointServers.computeIfAbsent(vpcEndpointId, id -> {
            try {
                var listener = listen(() -> owner.ec2.through(id));
                listener.start();
                return listener;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }));
    }

    /** The account; one that is not known yet is made, with an administrator user/operator. */
    public Account account(String id) {
        return accounts.computeIfAbsent(id, i -> new Account(this, i));
    }

    /** The account, or null when nobody has made it. */
    Account known(String id) {
        return accounts.get(id);
    }

    /**
     * Credentials of a user, of a session of a role, or of an account's root user, given without asking whether a trust
     * policy lets anybody have them. They do not expire.
     *
     * @param arn of what exists: arn:aws:iam::ACCOUNT:user/NAME, ...:role/PATH/NAME or ...:root
     */
    public Login as(String arn) {
        var fields = arn.split(":", 6);
        if (!account(fields[4]).iam.exists(arn)) throw new IllegalArgumentException("there is no " + arn);
        if (!fields[5].startsWith("role/")) return login("AKIA", fields[5], fields[4], null, Instant.MAX, List.of());
        return login("ASIA", "assumed-role/" + arn.substring(arn.lastIndexOf('/') + 1) + "/session", fields[4],
                "token+/" + UUID.randomUUID() + "==", Instant.MAX, List.of());
    }

    /** New credentials. */
    Login login(String prefix, String resource, String account, String token, Instant expiry,
            List<PolicyEvaluator.Policy> sessionPolicies) {
        var id = prefix + UUID.randomUUID().toString().replace("-", "").substring(0, 16).toUpperCase(Locale.ROOT);
        var login = new Login(id, UUID.randomUUID().toString(), token);
        credentials.add(id, login.secretAccessKey, token, resource, account, expiry, sessionPolicies);
        return login;
    }

    /**
     * Another access key of the account, for an IAM resource such as {@code assumed-role/Backup/session} or
     * {@code user/x}. A user or role that does not exist is made, as an administrator.
     */
    public void addCredentials(String accessKeyId, String secretAccessKey, String sessionToken, String resource,
            Instant expiry) {
        var name = resource.split("/")[1];
        var kind = resource.startsWith("user/") ? "user" : "role";
        if (iam.find(kind + "/" + name) == null) {
            var made = kind.equals("user") ? iam.createUser(name) : iam.createRole(name);
            made.attached.add("aws:policy/AdministratorAccess");
        }
        credentials.add(accessKeyId, secretAccessKey, sessionToken, resource, ACCOUNT, expiry, List.of());
    }

    /** Is told of every decision of the {@link Authorizer}. */
    public void onDecision(Consumer<Authorizer.Decided> listener) {
        authorizer.onDecision(listener);
    }

    /** The Authorization header with which Git may reach a repository of eu-west-1 here, for 15 minutes. */
    public String gitAuthorization(String repositoryName) {
        return gitAuthorization(new Login(ACCESS_KEY_ID, SECRET_ACCESS_KEY, null), repositoryName);
    }

    /** The same for somebody else. */
    public String gitAuthorization(Login login, String repositoryName) {
        var password = GitHttp.password(login.secretAccessKey, endpoint().getHost(), "/v1/repos/" + repositoryName,
                "eu-west-1");
        return "Basic " + Base64.getEncoder()
                .encodeToString((GitHttp.user(login) + ":" + password).getBytes(StandardCharsets.UTF_8));
    }

    public void inject(Fault fault) {
        faults.add(fault);
    }

    public void clearFaults() {
        faults.clear();
    }

    /** All calls so far, in the order of their answers: a call stands here before its client can read the answer. */
    public List<Call> calls() {
        return List.copyOf(calls);
    }

    public void clearCalls() {
        calls.clear();
    }

    /** Is told of every call that comes in from now on, when it is done. */
    public void onCall(Consumer<Call> listener) {
        this.listener = listener;
    }

    /** Gets every mail that SNS sends from now on. */
    public void onMail(Consumer<Sns.Mail> mailbox) {
        this.mailbox = mailbox;
    }

    void deliver(Sns.Mail mail) {
        mailbox.accept(mail);
    }

    Instant now() {
        return clock.instant();
    }

    /**
     * Moves the clock from now to this time, where it then stands still, and lets all that is due on the way happen, in
     * the order of time, at its time.
     */
    public synchronized void advanceTo(Instant to) {
        var from = now();
        for (var next = dueAfter(from, to); next.isPresent(); next = dueAfter(from, to)) {
            var last = from;
            var at = next.get();
            var due = timers.stream().filter(timer -> at.equals(timer.next(last))).toList();
            clock = Clock.fixed(at, ZoneOffset.UTC);
            due.forEach(timer -> timer.due(at));
            from = at;
        }
        clock = Clock.fixed(to, ZoneOffset.UTC);
    }

    private Optional<Instant> dueAfter(Instant time, Instant to) {
        return timers.stream().map(timer -> timer.next(time)).filter(next -> next != null && !next.isAfter(to))
                .min(Instant::compareTo);
    }

    @Override
    public void close() {
        server.stop(0);
        endpointServers.values().forEach(listener -> listener.stop(0));
        workers.shutdownNow();
        accounts.values().forEach(account -> account.codebuild.close());
        accounts.values().forEach(account -> account.codecommit.close());
        s3.close();
    }

    /** A request as the services see it: everything but the method's protocol. */
    final class Request {
        final HttpExchange exchange;
        final Caller.Endpoint endpoint;
        final Map<String, String> query;
        final InputStream body;
        Fault fault;
        String name = "unknown:Unknown";
        Caller caller;
        JsonNode input;
        int status;
        String error;
        /** What was pushed, by ref and commit, if this is a push. */
        JsonNode pushed;
        /** What the trails tell of it; null if none takes it. */
        private CloudTrail.Told told;
        /** What the log says of it; null before it is answered. */
        private Call logged;

        Request(HttpExchange exchange, Caller.Endpoint endpoint) {
            this.exchange = exchange;
            this.endpoint = endpoint;
            this.query = parameters(exchange.getRequestURI().getRawQuery());
            this.body = new ReadOnlyByReading(exchange.getRequestBody());
        }

        String method() {
            return exchange.getRequestMethod();
        }

        /** The path, still encoded. */
        String path() {
            return exchange.getRequestURI().getRawPath();
        }

        String header(String name) {
            return exchange.getRequestHeaders().getFirst(name);
        }

        /** Names the call, which is when faults that were injected for it take effect. */
        void named(String name, JsonNode input) {
            this.name = name;
            this.input = input;
            if (hasTrails) told = CloudTrail.Told.of(LocalAws.this, this);
            fault = faults.stream().filter(f -> f.hits(name)).findFirst().orElse(null);
            if (fault == null) return;
            Fault.sleep(fault.delay);
            fault.hold.run();
            if (fault.error != null) throw fault.error;
        }

        boolean throttled() {
            return fault != null && fault.throttle;
        }

        /** The request's body, spoilt if a fault says so. */
        InputStream body() {
            return fault == null ? body : fault.spoilRequest(body);
        }

        /** Sends the head of an answer and gives the stream for its body; the length is -1 when it is not known. */
        OutputStream answer(int status, Map<String, String> headers, long length) throws IOException {
            if (told != null) told.tell();
            if (fault != null && fault.loseAnswer) throw new Fault.Cut();
            this.status = status;
            headers.forEach(exchange.getResponseHeaders()::set);
            log();
            var none = length == 0 || method().equals("HEAD") || status == 204 || status == 304;
            exchange.sendResponseHeaders(status, none ? -1 : Math.max(length, 0));
            if (none) return OutputStream.nullOutputStream();
            return fault == null ? exchange.getResponseBody() : fault.spoil(exchange.getResponseBody());
        }

        void answer(int status, String type, String text) throws IOException {
            var isOther = fault != null && fault.otherAnswer != null;
            var bytes = (isOther ? fault.otherAnswer : text).getBytes(StandardCharsets.UTF_8);
            try (var out = answer(status, Map.of("Content-Type", type), bytes.length)) {
                out.write(bytes);
            }
        }

        /** Enters the call into the log, or what has become of it since it was entered. */
        Call log() {
            var before = logged;
            logged = new Call(before == null ? now() : before.time(), name, caller == null ? "" : caller.region(),
                    caller == null ? "" : caller.arn(), input, status, error);
            if (before == null) {
                calls.add(logged);
            } else {
                calls.replaceAll(call -> call == before ? logged : call);
            }
            return logged;
        }
    }

    /**
     * The JDK's body stream ignores Content-Length in skip(), and JGit's protocol parser drains with skip(): it would
     * wait for ever. InputStream's own skip() reads.
     */
    private static final class ReadOnlyByReading extends InputStream {
        private final InputStream in;

        ReadOnlyByReading(InputStream in) {
            this.in = in;
        }

        @Override
        public int read() throws IOException {
            return in.read();
        }

        @Override
        public int read(byte[] bytes, int from, int length) throws IOException {
            return in.read(bytes, from, length);
        }
    }

    private void handle(HttpExchange exchange, Caller.Endpoint endpoint) throws IOException {
        // a call that has been answered may still be here when the next test has set another one
        var listenerOfNow = listener;
        var request = new Request(exchange, endpoint);
        try {
            var isGit = request.path().startsWith("/v1/repos/");
            var scope = Credentials.scope(request.header("Authorization"));
            if (endpoint != null && !endpoint.serves(isGit ? "git-codecommit" : scope.service())) {
                request.answer(404, "text/plain", "This VPC endpoint is not for " + scope.service() + "\n");
            } else if (request.path().equals("/confirmation.html")) {
                confirmSubscription(request);
            } else if (isGit) {
                git.handle(request);
            } else if (scope.service().equals("s3")) {
                s3.handle(request, scope);
            } else {
                modelled(request, scope);
            }
            exchange.close();
        } catch (IOException | RuntimeException e) {
            request.status = 0;
            request.error = e instanceof Fault.Cut ? "Cut" : e.toString();
            if (!(e instanceof IOException)) e.printStackTrace();
            throw new IOException(e); // the JDK's server closes the connection on an exception, and only then
        } finally {
            listenerOfNow.accept(request.log());
        }
    }

    /** The link in a mail of SNS, which a browser opens. */
    private void confirmSubscription(Request request) throws IOException {
        request.named("sns:ConfirmSubscription", null);
        try {
            var confirmed = sns.confirm(request.query.getOrDefault("TopicArn", ""),
                    request.query.getOrDefault("Token", ""));
            request.answer(200, "text/plain", "Subscription confirmed: " + confirmed.endpoint + "\n");
        } catch (AwsError e) {
            request.error = e.code;
            request.answer(e.status, "text/plain", e.getMessage() + "\n");
        }
    }

    /**
     * JSON 1.1 (KMS, CodeCommit, EventBridge), REST with JSON (Lambda), and the Query protocol (STS, IAM, EC2, SNS,
     * CloudWatch).
     */
    private void modelled(Request request, Credentials.Scope scope) throws IOException {
        var id = UUID.randomUUID().toString();
        request.exchange.getResponseHeaders().set("x-amzn-RequestId", id);
        var service = scope.api();
        var model = Models.model(service);
        var json = Models.isJson(service);
        var rest = Models.isRest(service);
        try {
            var body = request.body.readAllBytes();
            if (model == null) {
                throw new AwsError("UnknownService", "The embedded AWS does not offer '" + service + "'");
            }
            request.caller = credentials.verify(request, scope, body, now());
            Map<String, String> form = json ? Map.of() : parameters(new String(body, StandardCharsets.UTF_8));
            var target = request.header("X-Amz-Target");
            var route = rest ? Models.route(service, request.method(), request.path()) : null;
            var operation = rest ? route.map(Map.Entry::getKey).orElse(request.method() + " " + request.path())
                    : json && target != null ? target.substring(target.lastIndexOf('.') + 1)
                            : form.getOrDefault("Action", "");
            if (Models.operation(service, operation).isMissingNode()) {
                throw new AwsError(json ? "UnknownOperationException" : "InvalidAction",
                        "The embedded AWS does not offer " + service + ":" + operation);
            }
            if (json && !rest && !target.startsWith(model.path("targetPrefix").asText() + ".")) {
                throw new AwsError("UnknownOperationException", target);
            }
            ObjectNode input;
            try {
                input = json ? (ObjectNode) Models.JSON.readTree(body.length == 0 ? "{}".getBytes() : body)
                        : Models.decode(service, operation, form);
            } catch (JsonProcessingException | ClassCastException e) {
                throw new AwsError("SerializationException", "the body is not a JSON object");
            }
            if (rest) Models.addLocated(service, operation, route.get().getValue(), request.query, input);
            request.named(service + ":" + operation, input);
            if (request.throttled()) throw throttling(service);
            var offered = account(request.caller.account()).services.get(service);
            var violations = Models.violations(service, operation, input);
            if (!violations.isEmpty()) throw offered.invalid(operation, violations);
            JsonNode answer;
            synchronized (locks.computeIfAbsent(service, s -> new Object())) {
                authorizer.check(request.caller, offered.needs(operation, input, request.caller), offered);
                answer = offered.answer(operation, input, request.caller);
            }
            if (rest) {
                request.answer(Models.operation(service, operation).at("/http/responseCode").asInt(200),
                        "application/json", answer == null ? "" : answer.toString());
            } else if (json) {
                request.answer(200, "application/x-amz-json-1.1", answer == null ? "" : answer.toString());
            } else {
                var members = answer == null ? Models.JSON.createObjectNode() : answer;
                request.answer(200, "text/xml", Models.encode(service, operation, members, id));
            }
        } catch (AwsError e) {
            request.error = e.code;
            if (rest) request.exchange.getResponseHeaders().set("x-amzn-ErrorType", e.code);
            if (json) {
                var error = Models.JSON.createObjectNode().put("__type", e.code).put("message", e.getMessage());
                request.answer(e.status, "application/x-amz-json-1.1", error.toString());
            } else if (service.equals("ec2")) {
                request.answer(e.status, "text/xml",
                        "<Response><Errors><Error><Code>" + e.code + "</Code><Message>" + Models.escape(e.getMessage())
                        + "</Message></Error></Errors><RequestID>" + id + "</RequestID></Response>");
            } else {
                request.answer(e.status, "text/xml",
                        "<ErrorResponse><Error><Type>" + (e.status < 500 ? "Sender" : "Receiver") + "</Type><Code>"
                                + e.code
                                + "</Code><Message>" + Models.escape(e.getMessage()) + "</Message></Error><RequestId>"
                                + id + "</RequestId></ErrorResponse>");
            }
        }
    }

    private static AwsError throttling(String service) {
        return switch (service) {
            case "ec2" -> new AwsError(503, "RequestLimitExceeded", "Request limit exceeded.");
            case "lambda" -> new AwsError(429, "TooManyRequestsException", "Rate exceeded");
            case "cloudwatch", "iam", "sns", "sts" -> new AwsError(400, "Throttling", "Rate exceeded");
            default -> new AwsError(400, "ThrottlingException", "Rate exceeded");
        };
    }

    static Map<String, String> parameters(String encoded) {
        var decoded = new LinkedHashMap<String, String>();
        if (encoded == null || encoded.isEmpty()) return decoded;
        for (var pair : encoded.split("&")) {
            var equals = pair.indexOf('=');
            decoded.put(decode(equals < 0 ? pair : pair.substring(0, equals)),
                    equals < 0 ? "" : decode(pair.substring(equals + 1)));
        }
        return decoded;
    }

    private static String decode(String text) {
        return URLDecoder.decode(text, StandardCharsets.UTF_8);
    }

    /** One Region's part of a service's state, made when first asked for. */
    static <T> T regional(Map<String, T> regions, String region, Supplier<T> empty) {
        return regions.computeIfAbsent(region, r -> empty.get());
    }

    static <T> Map<String, T> sortedMap() {
        return java.util.Collections.synchronizedMap(new TreeMap<>());
    }

    static <T> Map<String, T> concurrentMap() {
        return new ConcurrentHashMap<>();
    }
}
