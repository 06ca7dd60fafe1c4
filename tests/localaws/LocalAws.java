//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:regions
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS org.eclipse.jgit:org.eclipse.jgit:7.8.1.202611041320-r
//DEPS org.slf4j:slf4j-nop:2.0.17
//SOURCES AwsError.java
//SOURCES Call.java
//SOURCES Caller.java
//SOURCES CodeCommit.java
//SOURCES Credentials.java
//SOURCES Ec2.java
//SOURCES Fault.java
//SOURCES GitHttp.java
//SOURCES Iam.java
//SOURCES Kms.java
//SOURCES Models.java
//SOURCES PolicyEvaluator.java
//SOURCES S3.java
//SOURCES S3Body.java
//SOURCES Sts.java
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
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/**
 * A small, strict AWS in this process, on a random loopback port: STS, KMS, CodeCommit with Git over HTTP, EC2, IAM and
 * S3, as much of them as the scripts call. Requests are authenticated (Signature Version 4) and checked against AWS's
 * service models; what the models do not know, each service's class does. It is a stand-in for tests and the sandbox:
 * what it allows, AWS may still refuse.
 *
 * <p>{@link #inject} makes it misbehave, {@link #calls} says what it was asked.
 */
public final class LocalAws implements AutoCloseable {
    public static final String ACCOUNT = "111122223333";
    public static final String ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE";
    public static final String SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /** What a service with a model does with a request that the model finds right. */
    interface Service {
        JsonNode answer(String operation, ObjectNode input, Caller caller);

        /** The error for requests that break the model. */
        default AwsError invalid(String operation, List<Models.Violation> violations) {
            var text = new StringBuilder(
                    violations.size() + " validation error" + (violations.size() == 1 ? "" : "s") + " detected: ");
            violations.forEach(v -> text.append(v.text()).append("; "));
            return new AwsError("ValidationException", text.substring(0, text.length() - 2));
        }
    }

    private final HttpServer server;
    private final ExecutorService workers = Executors.newCachedThreadPool(task -> {
        var thread = new Thread(task, "local-aws");
        thread.setDaemon(true);
        return thread;
    });
    private final List<Call> calls = new CopyOnWriteArrayList<>();
    private final List<Fault> faults = new CopyOnWriteArrayList<>();
    private final AtomicInteger underWay = new AtomicInteger();
    private volatile Consumer<Call> listener = call -> { };

    final Credentials credentials = new Credentials();
    /** The time that the services see; tests may set it ahead. */
    public volatile Clock clock = Clock.systemUTC();

    public final Sts sts;
    public final Iam iam;
    public final Kms kms;
    public final Ec2 ec2;
    public final CodeCommit codecommit;
    public final S3 s3;
    private final GitHttp git;
    private final Map<String, Service> services;

    private LocalAws() throws IOException {
        // else each answer waits 40 ms for the client's acknowledgement
        System.setProperty("sun.net.httpserver.nodelay", "true");
        server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.setExecutor(workers);
        server.createContext("/", this::handle);
        credentials.add(ACCESS_KEY_ID, SECRET_ACCESS_KEY, "user/operator", ACCOUNT);
        sts = new Sts(this);
        iam = new Iam(this);
        kms = new Kms(this);
        ec2 = new Ec2(this);
        codecommit = new CodeCommit(this);
        s3 = new S3(this);
        git = new GitHttp(this);
        services = Map.of("sts", sts, "iam", iam, "kms", kms, "ec2", ec2, "codecommit", codecommit);
        server.start();
    }

    public static LocalAws start() {
        try {
            return new LocalAws();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    /** By number, not by name: only then do the SDKs address buckets by path. */
    public URI endpoint() {
        return URI.create("http://127.0.0.1:" + server.getAddress().getPort());
    }

    /** Another access key of the account, for an IAM resource such as {@code role/Backup/session} or {@code user/x}. */
    public void addCredentials(String accessKeyId, String secretAccessKey, String sessionToken, String resource,
            Instant expiry) {
        credentials.add(accessKeyId, secretAccessKey, sessionToken, resource, ACCOUNT, expiry);
    }

    /** The Authorization header with which Git may reach a repository of eu-west-1 here, for 15 minutes. */
    public String gitAuthorization(String repositoryName) {
        var time = Credentials.TIME.format(Instant.now()).replace("Z", "");
        var password = time + "Z" + GitHttp.signature(SECRET_ACCESS_KEY, endpoint().getHost(),
                "/v1/repos/" + repositoryName, "eu-west-1", time);
        return "Basic "
                + Base64.getEncoder().encodeToString((ACCESS_KEY_ID + ":" + password).getBytes(StandardCharsets.UTF_8));
    }

    public void inject(Fault fault) {
        faults.add(fault);
    }

    public void clearFaults() {
        faults.clear();
    }

    /**
     * All calls so far, oldest first. Waits for those under way: a client may have its answer before the call is
     * logged.
     */
    public List<Call> calls() {
        settle();
        return List.copyOf(calls);
    }

    public void clearCalls() {
        settle();
        calls.clear();
    }

    private void settle() {
        for (var i = 0; i < 5000 && underWay.get() > 0; i++) Fault.sleep(Duration.ofMillis(1));
    }

    /** Is told of every call when it is done. */
    public void onCall(Consumer<Call> listener) {
        this.listener = listener;
    }

    Instant now() {
        return clock.instant();
    }

    @Override
    public void close() {
        server.stop(0);
        workers.shutdownNow();
        codecommit.close();
        s3.close();
    }

    /** A request as the services see it: everything but the method's protocol. */
    final class Request {
        final HttpExchange exchange;
        final Map<String, String> query;
        final InputStream body;
        Fault fault;
        String name = "unknown:Unknown";
        Caller caller;
        JsonNode input;
        int status;
        String error;

        Request(HttpExchange exchange) {
            this.exchange = exchange;
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
            fault = faults.stream().filter(f -> f.hits(name)).findFirst().orElse(null);
            if (fault == null) return;
            Fault.sleep(fault.delay);
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
            if (fault != null && fault.loseAnswer) throw new Fault.Cut();
            this.status = status;
            headers.forEach(exchange.getResponseHeaders()::set);
            var none = length == 0 || method().equals("HEAD") || status == 204 || status == 304;
            exchange.sendResponseHeaders(status, none ? -1 : Math.max(length, 0));
            if (none) return OutputStream.nullOutputStream();
            return fault == null ? exchange.getResponseBody() : fault.spoil(exchange.getResponseBody());
        }

        void answer(int status, String type, String text) throws IOException {
            var bytes = text.getBytes(StandardCharsets.UTF_8);
            try (var out = answer(status, Map.of("Content-Type", type), bytes.length)) {
                out.write(bytes);
            }
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

    private void handle(HttpExchange exchange) throws IOException {
        underWay.incrementAndGet();
        var request = new Request(exchange);
        try {
            if (request.path().startsWith("/v1/repos/")) git.handle(request);
            else {
                var scope = Credentials.scope(request.header("Authorization"));
                if (scope.service().equals("s3")) s3.handle(request, scope);
                else modelled(request, scope);
            }
            exchange.close();
        } catch (IOException | RuntimeException e) {
            request.status = 0;
            request.error = e instanceof Fault.Cut ? "Cut" : e.toString();
            if (!(e instanceof IOException)) e.printStackTrace();
            throw new IOException(e); // the JDK's server closes the connection on an exception, and only then
        } finally {
            var call = new Call(now(), request.name, request.caller == null ? "" : request.caller.region(),
                    request.caller == null ? "" : request.caller.arn(),
                    request.input, request.status, request.error);
            calls.add(call);
            listener.accept(call);
            underWay.decrementAndGet();
        }
    }

    /** JSON 1.1 (KMS, CodeCommit) and the Query protocol (STS, IAM, EC2). */
    private void modelled(Request request, Credentials.Scope scope) throws IOException {
        var id = UUID.randomUUID().toString();
        request.exchange.getResponseHeaders().set("x-amzn-RequestId", id);
        var service = scope.service();
        var model = Models.model(service);
        var json = model != null && model.path("protocol").asText().equals("json");
        try {
            var body = request.body.readAllBytes();
            if (model == null)
                throw new AwsError("UnknownService", "The embedded AWS does not offer '" + service + "'");
            request.caller = credentials.verify(request, scope, body, now());
            Map<String, String> form = json ? Map.of() : parameters(new String(body, StandardCharsets.UTF_8));
            var target = request.header("X-Amz-Target");
            var operation = json && target != null ? target.substring(target.indexOf('.') + 1)
                    : form.getOrDefault("Action", "");
            if (Models.operation(service, operation).isMissingNode())
                throw new AwsError(json ? "UnknownOperationException" : "InvalidAction",
                        "The embedded AWS does not offer " + service + ":" + operation);
            if (json && !target.startsWith(model.path("targetPrefix").asText() + "."))
                throw new AwsError("UnknownOperationException", target);
            ObjectNode input;
            try {
                input = json ? (ObjectNode) Models.JSON.readTree(body.length == 0 ? "{}".getBytes() : body)
                        : Models.decode(service, operation, form);
            } catch (JsonProcessingException | ClassCastException e) {
                throw new AwsError("SerializationException", "the body is not a JSON object");
            }
            request.named(service + ":" + operation, input);
            if (request.throttled()) throw throttling(service);
            var violations = Models.violations(service, operation, input);
            if (!violations.isEmpty()) throw services.get(service).invalid(operation, violations);
            JsonNode answer;
            synchronized (services.get(service)) {
                answer = services.get(service).answer(operation, input, request.caller);
            }
            if (json) request.answer(200, "application/x-amz-json-1.1", answer == null ? "" : answer.toString());
            else request.answer(200, "text/xml",
                    Models.encode(service, operation, answer == null ? Models.JSON.createObjectNode() : answer, id));
        } catch (AwsError e) {
            request.error = e.code;
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
            case "iam", "sts" -> new AwsError(400, "Throttling", "Rate exceeded");
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
    static <T> T regional(Map<String, T> regions, String region, java.util.function.Supplier<T> empty) {
        return regions.computeIfAbsent(region, r -> empty.get());
    }

    static <T> Map<String, T> sortedMap() {
        return java.util.Collections.synchronizedMap(new TreeMap<>());
    }

    static <T> Map<String, T> concurrentMap() {
        return new ConcurrentHashMap<>();
    }
}
