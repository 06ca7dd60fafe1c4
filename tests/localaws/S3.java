package localaws;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import localaws.BucketSettings.Retention;
import localaws.BucketSettings.Setting;
import org.w3c.dom.Element;

/**
 * S3, addressed by path: buckets with their settings and policies, objects, multipart uploads, listings, Object Lock.
 * Each object's newest version is a file, {@link Bucket#file}, as long as this embedded AWS runs. Rules are those of
 * S3's API reference and of the user guide's pages on checksums, conditional writes, multipart uploads and Object Lock.
 */
public final class S3 {
    private static final DateTimeFormatter HTTP_DATE = DateTimeFormatter
            .ofPattern("EEE, dd MMM yyyy HH:mm:ss 'GMT'", Locale.US).withZone(ZoneOffset.UTC);
    private static final DateTimeFormatter MILLIS = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
            .withZone(ZoneOffset.UTC);
    private static final String XML = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    private static final String XMLNS = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

    private final LocalAws aws;
    private final Path home;
    private final Map<String, Bucket> buckets = LocalAws.concurrentMap();
    /** Keys with a conditional write under way, as bucket/key. */
    final Set<String> conditional = ConcurrentHashMap.newKeySet();
    /** How many keys, uploads or parts a page has at the most; S3 may always return fewer than were asked for. */
    public volatile int pageSize = 100;
    /** Of all parts but the last, in bytes. */
    public volatile long smallestPart = 5 << 20;

    S3(LocalAws aws) throws IOException {
        this.aws = aws;
        home = Files.createTempDirectory("local-s3-");
    }

    void close() {
        try (var files = Files.walk(home)) {
            files.sorted(Comparator.reverseOrder()).forEach(f -> f.toFile().delete());
        } catch (IOException | UncheckedIOException e) {
            // a request may still be writing; the directory is temporary
        }
    }

    public Bucket createBucket(String name, String region) {
        return createBucket(name, region, LocalAws.ACCOUNT);
    }

    /** Another account's bucket: its policy must allow what this account does there. */
    public Bucket createBucket(String name, String region, String account) {
        var bucket = new Bucket(name, region, account);
        if (buckets.putIfAbsent(name, bucket) != null) throw new IllegalStateException(name + " exists");
        return bucket;
    }

    public Bucket bucket(String name) {
        return buckets.get(name);
    }

    /** The directory that holds each object's newest version as bucket/key. */
    public Path directory() {
        return home.resolve("objects");
    }

    /**
     * One version of an object, or a delete marker; headers are those that GetObject answers with besides the ETag.
     */
    private record Version(String id, Path file, long size, String etag, Instant modified, Map<String, String> headers,
            Map<String, String> checksum) {
        String storageClass() {
            return headers.getOrDefault("x-amz-storage-class", "STANDARD");
        }

        boolean isDeleteMarker() {
            return headers.containsKey(DELETE_MARKER);
        }

        /** Whether it must be restored before it can be read. */
        boolean archived() {
            return switch (storageClass()) {
                case "GLACIER", "DEEP_ARCHIVE" ->
                    !headers.getOrDefault("x-amz-restore", "").startsWith("ongoing-request=\"false\"");
                case "INTELLIGENT_TIERING" -> headers.containsKey("x-amz-archive-status");
                default -> false;
            };
        }
    }

    private record Part(Path file, long size, String etag, String checksum, Instant modified) { }

    /** @param named whether the client named the checksum's algorithm, or S3 took its own */
    private record Upload(String id, String key, Instant started, Map<String, String> headers, boolean named,
            String algorithm, String type,
            TreeMap<Integer, Part> parts) {
        boolean fullObject() {
            return "FULL_OBJECT".equals(type);
        }
    }

    /** A bucket, as tests see it; everything is done as its owner, without asking the policy. */
    public final class Bucket {
        public final String name;
        public final String region;
        public final String account;
        final BucketSettings settings = new BucketSettings();
        private volatile String policy;
        private final TreeMap<String, List<Version>> objects = new TreeMap<>();
        private final Map<String, Upload> uploads = new LinkedHashMap<>();

        Bucket(String name, String region, String account) {
            this.name = name;
            this.region = region;
            this.account = account;
        }

        public Bucket versioned() {
            settings.set(Setting.VERSIONING, "<Status>Enabled</Status>");
            return this;
        }

        /** @param json null for none */
        public Bucket policy(String json) {
            if (json != null) PolicyEvaluator.Policy.of(name, json); // else the first request would find it wrong
            policy = json;
            return this;
        }

        /** As it was put; null if there is none. */
        public String policy() {
            return policy;
        }

        /** The rules of the lifecycle configuration, as XML; they are told, not acted on. */
        public Bucket lifecycle(String rules) {
            return setting("lifecycle", rules);
        }

        /**
         * Sets what S3 would not take, or takes a setting away.
         *
         * @param parameter of the request that gets it, such as {@code versioning}
         * @param content   XML below the root element; null for none
         */
        public Bucket setting(String parameter, String content) {
            settings.set(Stream.of(Setting.values()).filter(setting -> setting.parameter.equals(parameter)).findFirst()
                    .orElseThrow(), content);
            return this;
        }

        public String arn() {
            return "arn:" + new Caller("", account, region).partition() + ":s3:::" + name;
        }

        /** All keys, in S3's order. */
        public List<String> keys() {
            synchronized (S3.this) {
                return objects.keySet().stream().filter(key -> current(this, key) != null).toList();
            }
        }

        /** The keys of the multipart uploads that were neither completed nor aborted. */
        public List<String> uploads() {
            synchronized (S3.this) {
                return uploads.values().stream().map(Upload::key).sorted().toList();
            }
        }

        public byte[] get(String key) {
            try {
                return Files.readAllBytes(file(key));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        public Path file(String key) {
            return newest(key).file;
        }

        public long size(String key) {
            return newest(key).size;
        }

        /** How often the key was written or hidden by a delete marker; 1 in a bucket without versions. */
        public int versions(String key) {
            synchronized (S3.this) {
                return objects.getOrDefault(key, List.of()).size();
            }
        }

        /** The newest version's id; null in a bucket without versions. */
        public String version(String key) {
            return newest(key).id;
        }

        /**
         * What GetObject's answer has in its headers: encryption, content type, metadata and, in lower case, the
         * checksum.
         */
        public Map<String, String> headers(String key) {
            var all = new TreeMap<>(newest(key).headers);
            all.putAll(newest(key).checksum);
            return all;
        }

        public void put(String key, byte[] bytes) {
            try {
                var body = new S3Body(Map.of("content-length", String.valueOf(bytes.length)), null, null, temporary());
                body.read(new ByteArrayInputStream(bytes));
                synchronized (S3.this) {
                    store(this, key, body, Map.of());
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        public void delete(String key) {
            synchronized (S3.this) {
                newest(key).file.toFile().delete();
                objects.remove(key);
            }
        }

        /**
         * Flips the lowest bit of a byte of the object, as a broken disk would: size and checksum stay what they were.
         */
        public void corrupt(String key, long at) {
            try (var file = new java.io.RandomAccessFile(file(key).toFile(), "rw")) {
                file.seek(at);
                var b = file.read();
                file.seek(at);
                file.write(b ^ 1);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /**
         * Sets what GetObject and HeadObject have in a header, as a lifecycle rule and a restore do:
         * x-amz-storage-class (GLACIER), x-amz-restore (ongoing-request="true") and, for INTELLIGENT_TIERING,
         * x-amz-archive-status (ARCHIVE_ACCESS).
         */
        public void header(String key, String name, String value) {
            newest(key).headers.put(name, value);
        }

        private Version newest(String key) {
            synchronized (S3.this) {
                var version = current(this, key);
                if (version == null) {
                    throw new IllegalArgumentException(
                            "s3://" + name + "/" + key + " does not exist, but " + objects.keySet());
                }
                return version;
            }
        }
    }

    // ---- Requests

    /** The parameters and headers that an operation knows, and the IAM action that it needs. */
    private record Operation(String name, String action, Set<String> parameters, Set<String> headers) {
        Operation(String name, String action, String parameters, String headers) {
            this(name, action, Set.of(parameters.split(" ")), Set.of(headers.split(" ")));
        }
    }

    private static final String KEY_ID = "x-amz-server-side-encryption-aws-kms-key-id";
    private static final String BUCKET_KEY = "x-amz-server-side-encryption-bucket-key-enabled";
    private static final String CONDITIONS = "if-match if-none-match";
    private static final String SUMS = "content-md5 x-amz-sdk-checksum-algorithm x-amz-checksum-"
            + String.join(" x-amz-checksum-", S3Body.ALGORITHMS);
    private static final String CUSTOMER_KEY = "x-amz-server-side-encryption-customer-algorithm";
    private static final String BYPASS = "x-amz-bypass-governance-retention";
    private static final String DELETE_MARKER = "x-amz-delete-marker";
    private static final String NEW = "x-amz-server-side-encryption " + KEY_ID + " " + BUCKET_KEY + " " + CUSTOMER_KEY
            + " " + CUSTOMER_KEY.replace("algorithm", "key") + " " + CUSTOMER_KEY.replace("algorithm", "key-md5")
            + " " + Retention.MODE + " " + Retention.UNTIL;
    /** What every request may have. */
    private static final Set<String> ANYWHERE = Set.of("x-amz-content-sha256", "x-amz-date", "x-amz-security-token",
            "x-amz-expected-bucket-owner",
            "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-user-agent");

    private static final Map<String, Operation> OPERATIONS = new TreeMap<>();

    static {
        for (var operation : List.of(
                new Operation("PutObject", "s3:PutObject", "", NEW + " " + SUMS + " if-none-match"),
                // With GetObject the Java SDK sends the checksum of no body, and x-amz-te, which need not be heeded.
                new Operation("GetObject", "s3:GetObject", "versionId",
                        CONDITIONS + " " + SUMS + " range x-amz-te x-amz-checksum-mode"),
                new Operation("HeadObject", "s3:GetObject", "versionId", CONDITIONS + " x-amz-checksum-mode"),
                new Operation("ListObjectsV2", "s3:ListBucket",
                        "list-type prefix delimiter continuation-token max-keys encoding-type start-after", ""),
                new Operation("ListObjectVersions", "s3:ListBucketVersions",
                        "versions prefix key-marker version-id-marker max-keys encoding-type", ""),
                new Operation("DeleteObject", "s3:DeleteObject", "versionId", BYPASS),
                new Operation("GetObjectRetention", "s3:GetObjectRetention", "retention versionId", ""),
                new Operation("PutObjectRetention", "s3:PutObjectRetention", "retention versionId",
                        BYPASS + " " + SUMS),
                new Operation("CreateBucket", "s3:CreateBucket", "",
                        "x-amz-bucket-object-lock-enabled x-amz-object-ownership " + SUMS),
                new Operation("DeleteBucket", "s3:DeleteBucket", "", ""),
                new Operation("HeadBucket", "s3:ListBucket", "", ""),
                new Operation("GetBucketLocation", "s3:GetBucketLocation", "location", ""),
                new Operation("GetBucketPolicy", "s3:GetBucketPolicy", "policy", ""),
                new Operation("PutBucketPolicy", "s3:PutBucketPolicy", "policy", SUMS),
                new Operation("DeleteBucketPolicy", "s3:DeleteBucketPolicy", "policy", ""),
                new Operation("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus", "policyStatus", ""),
                new Operation("CreateMultipartUpload", "s3:PutObject", "uploads",
                        NEW + " x-amz-checksum-algorithm x-amz-checksum-type"),
                new Operation("UploadPart", "s3:PutObject", "partNumber uploadId", SUMS),
                new Operation("CompleteMultipartUpload", "s3:PutObject", "uploadId",
                        SUMS + " if-none-match x-amz-checksum-type x-amz-mp-object-size"),
                new Operation("AbortMultipartUpload", "s3:AbortMultipartUpload", "uploadId", ""),
                new Operation("ListMultipartUploads", "s3:ListBucketMultipartUploads",
                        "uploads prefix key-marker upload-id-marker max-uploads encoding-type delimiter", ""),
                new Operation("ListParts", "s3:ListMultipartUploadParts",
                        "uploadId part-number-marker max-parts", ""))) {
            OPERATIONS.put(operation.name, operation);
        }
        for (var setting : Setting.values()) {
            var get = new Operation("Get" + setting.operation, "s3:Get" + setting.action, setting.parameter, "");
            var put = new Operation("Put" + setting.operation, "s3:Put" + setting.action, setting.parameter, SUMS);
            OPERATIONS.put(get.name, get);
            OPERATIONS.put(put.name, put);
            if (setting.isRemovable()) {
                OPERATIONS.put(setting.removal(),
                        new Operation(setting.removal(), put.action, setting.parameter, ""));
            }
        }
    }

    /** The IAM action that a call, such as s3:UploadPart, needs. */
    public static String action(String call) {
        return OPERATIONS.get(call.substring("s3:".length())).action;
    }

    /** One request for a bucket or an object, while it is answered. */
    private record Ask(LocalAws.Request request, Credentials.Scope scope, Caller caller, Operation operation,
            Bucket bucket, String key) {
        String header(String name) {
            return request.header(name);
        }

        String parameter(String name) {
            return request.query.get(name);
        }

        int number(String name, int otherwise) {
            var text = parameter(name);
            if (text == null) return otherwise;
            if (!text.matches("\\d{1,9}")) {
                throw new AwsError("InvalidArgument", "Provided " + name + " not an integer or within integer range");
            }
            return Integer.parseInt(text);
        }

        boolean url() {
            if (parameter("encoding-type") != null && !parameter("encoding-type").equals("url")) {
                throw new AwsError("InvalidArgument", "Invalid Encoding Method specified in Request");
            }
            return parameter("encoding-type") != null;
        }
    }

    void handle(LocalAws.Request request, Credentials.Scope scope) throws IOException {
        var id = UUID.randomUUID().toString().replace("-", "").substring(0, 16).toUpperCase(Locale.ROOT);
        request.exchange.getResponseHeaders().set("x-amz-request-id", id);
        request.exchange.getResponseHeaders().set("x-amz-id-2", id + "=");
        try {
            var path = decode(request.path());
            var slash = path.indexOf('/', 1);
            var name = path.substring(1, slash < 0 ? path.length() : slash);
            var key = slash < 0 ? "" : path.substring(slash + 1);
            var operation = operation(request, key.isEmpty());
            request.caller = aws.credentials.verify(request, scope, null, aws.now());
            request.named("s3:" + operation.name, input(request, name, key));
            if (request.throttled()) throw new AwsError(503, "SlowDown", "Please reduce your request rate.");
            known(request, operation);
            if (operation.name.equals("CreateBucket")) {
                create(request, scope, name);
                return;
            }
            var bucket = buckets.get(name);
            if (bucket == null) throw new AwsError(404, "NoSuchBucket", "The specified bucket does not exist");
            request.exchange.getResponseHeaders().set("x-amz-bucket-region", bucket.region);
            if (!bucket.region.equals(request.caller.region())) {
                throw scope.region().equals("us-east-1")
                        ? new AwsError(400, "AuthorizationHeaderMalformed",
                                "The authorization header is malformed; the region 'us-east-1' is wrong; expecting '"
                                        + bucket.region + "'")
                        : new AwsError(301, "PermanentRedirect",
                                "The bucket you are attempting to access must be addressed using the specified "
                                        + "endpoint.");
            }
            var owner = request.header("x-amz-expected-bucket-owner");
            if (owner != null && !owner.matches("\\d{12}")) {
                throw new AwsError("InvalidBucketOwnerAWSAccountID",
                        "The value of the expected bucket owner parameter must be an AWS account ID.");
            }
            if (owner != null && !owner.equals(bucket.account)) {
                throw new AwsError(403, "AccessDenied", "Access Denied");
            }
            if (key.getBytes(StandardCharsets.UTF_8).length > 1024) {
                throw new AwsError("KeyTooLongError", "Your key is too long");
            }
            answer(new Ask(request, scope, request.caller, operation, bucket, key));
        } catch (AwsError e) {
            request.error = e.code;
            // a client that is still sending would not read the answer
            request.body.transferTo(OutputStream.nullOutputStream());
            request.answer(e.status, "application/xml",
                    XML + "<Error>" + element("Code", e.code) + element("Message", e.getMessage())
                            + element("Resource", request.path()) + element("RequestId", id)
                            + element("HostId", id + "=") + "</Error>");
        }
    }

    private static String decode(String path) {
        try {
            return URLDecoder.decode(path.replace("+", "%2B"), StandardCharsets.UTF_8);
        } catch (IllegalArgumentException e) {
            throw new AwsError("InvalidURI", "Couldn't parse the specified URI.");
        }
    }

    private static Operation operation(LocalAws.Request request, boolean bucket) {
        var query = request.query.keySet();
        var name = bucket ? ofBucket(request.method(), query) : switch (request.method()) {
            case "GET" -> query.contains("uploadId") ? "ListParts"
                    : query.contains("retention") ? "GetObjectRetention" : "GetObject";
            case "HEAD" -> "HeadObject";
            case "PUT" -> query.contains("uploadId") ? "UploadPart"
                    : query.contains("retention") ? "PutObjectRetention" : "PutObject";
            case "POST" -> query.contains("uploads") ? "CreateMultipartUpload"
                    : query.contains("uploadId") ? "CompleteMultipartUpload" : "";
            case "DELETE" -> query.contains("uploadId") ? "AbortMultipartUpload" : "DeleteObject";
            default -> "";
        };
        if (!OPERATIONS.containsKey(name)) {
            throw new AwsError(501, "NotImplemented",
                    "The embedded AWS does not offer " + request.method() + " " + request.exchange.getRequestURI());
        }
        return OPERATIONS.get(name);
    }

    private static String ofBucket(String method, Set<String> query) {
        for (var setting : Setting.values()) {
            if (!query.contains(setting.parameter)) continue;
            return switch (method) {
                case "GET" -> "Get" + setting.operation;
                case "PUT" -> "Put" + setting.operation;
                case "DELETE" -> setting.removal();
                default -> "";
            };
        }
        if (query.contains("policy")) {
            return Map.of("GET", "GetBucketPolicy", "PUT", "PutBucketPolicy", "DELETE", "DeleteBucketPolicy")
                    .getOrDefault(method, "");
        }
        return switch (method) {
            case "GET" -> query.contains("list-type") ? "ListObjectsV2"
                    : query.contains("versions") ? "ListObjectVersions"
                    : query.contains("uploads") ? "ListMultipartUploads"
                    : query.contains("location") ? "GetBucketLocation"
                    : query.contains("policyStatus") ? "GetBucketPolicyStatus" : "";
            case "HEAD" -> "HeadBucket";
            case "PUT" -> "CreateBucket";
            case "DELETE" -> "DeleteBucket";
            default -> "";
        };
    }

    /** Parameters and headers that the operation does not know are an error. */
    private static void known(LocalAws.Request request, Operation operation) {
        for (var parameter : request.query.keySet()) {
            if (!operation.parameters.contains(parameter) && !parameter.equals("x-id")) {
                throw new AwsError(501, "NotImplemented", operation.name + " does not know the parameter " + parameter);
            }
        }
        for (var header : request.exchange.getRequestHeaders().keySet()) {
            var name = header.toLowerCase(Locale.ROOT);
            if ((name.startsWith("x-amz-") && !name.startsWith("x-amz-meta-") || name.startsWith("if-")
                    || name.equals("range")) && !ANYWHERE.contains(name)
                    && !operation.headers.contains(name)) {
                throw new AwsError(501, "NotImplemented",
                        "A header you provided implies functionality that is not implemented: " + header);
            }
        }
    }

    /** For the log: names as in S3's API reference. */
    private static ObjectNode input(LocalAws.Request request, String bucket, String key) {
        var input = Models.JSON.createObjectNode().put("Bucket", bucket);
        if (!key.isEmpty()) input.put("Key", key);
        request.query.forEach((name, value) -> input.put(pascal(name), value));
        request.exchange.getRequestHeaders().forEach((name, values) -> {
            var lower = name.toLowerCase(Locale.ROOT);
            if (lower.matches(
                    "(?!x-amz-(date|security-token|content-sha256|user-agent|trailer|decoded-content-length))x-amz-.*"
                            + "|if-.*|range|content-type|content-length")) {
                input.put(pascal(lower.replaceFirst("^x-amz-", "")), values.get(0));
            }
        });
        return input;
    }

    private static String pascal(String name) {
        var pascal = new StringBuilder();
        for (var word : name.split("-")) {
            pascal.append(word.substring(0, 1).toUpperCase(Locale.ROOT)).append(word.substring(1));
        }
        return pascal.toString();
    }

    // ---- Permissions

    private static final Set<String> CONDITION_HEADERS = Set.of("if-match", "if-none-match",
            "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id", CUSTOMER_KEY);

    /** On the bucket or the object; the bucket's policy is asked for both. */
    private static Need need(Ask ask, String action) {
        var bucket = ask.bucket;
        var isOnBucket = ask.key.isEmpty() || action.equals("s3:ListBucket");
        var resource = bucket.arn() + (isOnBucket ? "" : "/" + ask.key);
        var need = new Need(action, resource).owner(bucket.account).policy(bucket.name, bucket.policy)
                .shown("\"" + resource + "\"")
                .key("s3:ResourceAccount", bucket.account).key("s3:TlsVersion", "1.3").key("s3:authType", "REST-HEADER")
                .key("s3:signatureversion", "AWS4-HMAC-SHA256")
                .key("s3:x-amz-content-sha256", ask.header("x-amz-content-sha256"));
        if (action.equals("s3:ListBucket")) {
            need = need.key("s3:prefix", ask.parameter("prefix")).key("s3:delimiter", ask.parameter("delimiter"))
                    .key("s3:max-keys", ask.parameter("max-keys"));
        }
        if (action.endsWith("ObjectVersion")) need = need.key("s3:VersionId", ask.parameter("versionId"));
        if (!action.equals("s3:PutObject")) return need;
        for (var header : CONDITION_HEADERS) need = need.key("s3:" + header, ask.header(header));
        return need.key("s3:ObjectCreationOperation",
                String.valueOf(ask.operation.name.matches("PutObject|CompleteMultipartUpload")));
    }

    /** Another account's caller is not told why. */
    private void authorize(Ask ask, String action) {
        var need = need(ask, action);
        var result = aws.authorizer.decide(ask.caller, need);
        if (result.decision() == PolicyEvaluator.Decision.allowed) return;
        throw new AwsError(403, "AccessDenied", ask.caller.account().equals(ask.bucket.account)
                ? Authorizer.message(ask.caller, need, result) : "Access Denied");
    }

    /**
     * What S3 does with an object's key for the caller. Its encryption context is the object's ARN, with a bucket key
     * the bucket's.
     */
    private void useKey(Ask ask, Map<String, String> headers, String... actions) {
        var arn = headers.get(KEY_ID);
        if (arn == null) return;
        var context = Map.of("aws:s3:arn", headers.containsKey(BUCKET_KEY) ? ask.bucket.arn()
                : ask.bucket.arn() + "/" + ask.key);
        try {
            aws.account(ask.caller.account()).kms.use(ask.caller.via("s3"), arn, List.of(actions), context);
        } catch (AwsError e) {
            throw e.code.equals("AccessDeniedException") ? new AwsError(403, "AccessDenied", e.getMessage())
                    : new AwsError(400, "KMS." + e.code, e.getMessage());
        }
    }

    /** All that a request needs: some of its headers have permissions of their own. */
    private static List<String> actions(Ask ask) {
        var actions = new ArrayList<String>();
        var isOfVersion = ask.parameter("versionId") != null && ask.operation.name.matches("(Get|Head|Delete)Object");
        actions.add(!isOfVersion ? ask.operation.action
                : ask.operation.name.equals("DeleteObject") ? "s3:DeleteObjectVersion" : "s3:GetObjectVersion");
        if ("true".equals(ask.header(BYPASS))) actions.add("s3:BypassGovernanceRetention");
        if (ask.header(Retention.MODE) != null) actions.add("s3:PutObjectRetention");
        return actions;
    }

    /** An account's root user reaches its buckets' policies whatever they say (API Reference, PutBucketPolicy). */
    private static boolean isWayBack(Ask ask) {
        return ask.operation.name.matches("(Get|Put|Delete)BucketPolicy") && ask.caller.arn().endsWith(":root")
                && ask.caller.account().equals(ask.bucket.account);
    }

    private void answer(Ask ask) throws IOException {
        if (!isWayBack(ask)) {
            for (var action : actions(ask)) authorize(ask, action);
        }
        for (var setting : Setting.values()) {
            if (ask.operation.name.equals("Get" + setting.operation)) {
                xml(ask, Map.of(), ask.bucket.settings.get(setting));
                return;
            }
            if (ask.operation.name.equals("Put" + setting.operation)) {
                ask.bucket.settings.put(setting, bytes(ask.request, ask.scope));
                ask.request.answer(200, Map.of(), 0).close();
                return;
            }
            if (ask.operation.name.equals(setting.removal())) {
                ask.bucket.settings.remove(setting);
                ask.request.answer(204, Map.of(), 0).close();
                return;
            }
        }
        switch (ask.operation.name) {
            case "PutObject" -> putObject(ask);
            case "GetObject", "HeadObject" -> getObject(ask);
            case "ListObjectsV2" -> list(ask);
            case "ListObjectVersions" -> listVersions(ask);
            case "HeadBucket" -> ask.request.answer(200, Map.of(), 0).close();
            case "GetBucketLocation" -> xml(ask, Map.of(), "<LocationConstraint" + XMLNS + ">"
                    + (ask.bucket.region.equals("us-east-1") ? "" : ask.bucket.region) + "</LocationConstraint>");
            case "GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy", "GetBucketPolicyStatus" -> policy(ask);
            case "DeleteBucket" -> deleteBucket(ask);
            case "DeleteObject" -> deleteObject(ask);
            case "GetObjectRetention" -> getRetention(ask);
            case "PutObjectRetention" -> putRetention(ask);
            case "CreateMultipartUpload" -> createUpload(ask);
            case "UploadPart" -> uploadPart(ask);
            case "CompleteMultipartUpload" -> completeUpload(ask);
            case "AbortMultipartUpload" -> abortUpload(ask);
            case "ListMultipartUploads" -> listUploads(ask);
            case "ListParts" -> listParts(ask);
            default -> throw new IllegalStateException(ask.operation.name);
        }
    }

    private void xml(Ask ask, Map<String, String> headers, String text) throws IOException {
        headers.forEach(ask.request.exchange.getResponseHeaders()::set);
        ask.request.answer(200, "application/xml", XML + text);
    }

    private static String element(String name, Object value) {
        return value == null ? "" : "<" + name + ">" + Models.escape(value.toString()) + "</" + name + ">";
    }

    private static String encode(String text, boolean url) {
        return url ? URLEncoder.encode(text, StandardCharsets.UTF_8).replace("%2F", "/") : text;
    }

    // ---- Buckets

    private void create(LocalAws.Request request, Credentials.Scope scope, String name) throws IOException {
        if (!name.matches("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]") || name.matches("\\d+(\\.\\d+){3}|xn--.*|sthree-.*")
                || name.contains("..") || name.matches(".*(-s3alias|--ol-s3|--x-s3)")) {
            throw new AwsError("InvalidBucketName", "The specified bucket is not valid.");
        }
        var bytes = request.header("content-length") == null ? new byte[0] : bytes(request, scope);
        var configuration = bytes.length == 0 ? null : BucketSettings.parse(bytes);
        var tags = configuration == null ? List.<Element>of() : BucketSettings.children(configuration, "Tags");
        var region = region(request.caller.region(), configuration);
        var isLocked = "true".equals(request.header("x-amz-bucket-object-lock-enabled"));
        var ownership = request.header("x-amz-object-ownership");
        var bucket = new Bucket(name, region, request.caller.account());
        var actions = new ArrayList<>(List.of("s3:CreateBucket"));
        if (isLocked) actions.addAll(List.of("s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"));
        if (ownership != null) actions.add("s3:PutBucketOwnershipControls");
        if (!tags.isEmpty()) actions.add("s3:TagResource");
        for (var action : actions) {
            var need = new Need(action, bucket.arn()).owner(bucket.account).shown("\"" + bucket.arn() + "\"");
            var result = aws.authorizer.decide(request.caller, need);
            if (result.decision() != PolicyEvaluator.Decision.allowed) {
                throw new AwsError(403, "AccessDenied", Authorizer.message(request.caller, need, result));
            }
        }
        if (isLocked) bucket.versioned().setting("object-lock", "<ObjectLockEnabled>Enabled</ObjectLockEnabled>");
        if (ownership != null) {
            bucket.setting("ownershipControls",
                    "<Rule><ObjectOwnership>" + Models.escape(ownership) + "</ObjectOwnership></Rule>");
        }
        if (!tags.isEmpty()) {
            var set = new StringBuilder("<Tagging><TagSet>");
            for (var tag : tags) {
                for (var one : BucketSettings.children(tag, "Tag")) {
                    set.append("<Tag>").append(element("Key", text(one, "Key")))
                            .append(element("Value", text(one, "Value"))).append("</Tag>");
                }
            }
            bucket.settings.put(Setting.TAGGING, set.append("</TagSet></Tagging>").toString()
                    .getBytes(StandardCharsets.UTF_8));
        }
        var other = buckets.putIfAbsent(name, bucket);
        if (other != null && !other.account.equals(bucket.account)) {
            throw new AwsError(409, "BucketAlreadyExists", "The requested bucket name is not available.");
        }
        // in us-east-1 it is no error, for the sake of old programs
        if (other != null && !region.equals("us-east-1")) {
            throw new AwsError(409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket"
                    + " succeeded and you already own it.");
        }
        request.answer(200, Map.of("Location", "/" + name), 0).close();
    }

    private static String region(String signed, Element configuration) {
        var constraints = configuration == null ? List.<Element>of()
                : BucketSettings.children(configuration, "LocationConstraint");
        if (constraints.isEmpty() && !signed.equals("us-east-1")) {
            throw new AwsError("IllegalLocationConstraintException", "The unspecified location constraint is"
                    + " incompatible for the region specific endpoint this request was sent to.");
        }
        if (constraints.isEmpty()) return signed;
        var region = constraints.get(0).getTextContent().replaceFirst("^EU$", "eu-west-1");
        if (region.equals("us-east-1")) {
            throw new AwsError("InvalidLocationConstraint", "The specified location-constraint is not valid");
        }
        if (!region.equals(signed) && !signed.equals("us-east-1")) {
            throw new AwsError("IllegalLocationConstraintException", "The " + region + " location constraint is"
                    + " incompatible for the region specific endpoint this request was sent to.");
        }
        return region;
    }

    private void deleteBucket(Ask ask) throws IOException {
        synchronized (this) {
            if (!ask.bucket.objects.isEmpty()) {
                throw new AwsError(409, "BucketNotEmpty", "The bucket you tried to delete is not empty");
            }
            buckets.remove(ask.bucket.name);
        }
        ask.request.answer(204, Map.of(), 0).close();
    }

    private void policy(Ask ask) throws IOException {
        var bucket = ask.bucket;
        if (!ask.caller.account().equals(bucket.account)) {
            throw new AwsError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.");
        }
        if (ask.operation.name.equals("PutBucketPolicy")) {
            putPolicy(ask);
            return;
        }
        if (bucket.policy == null && !ask.operation.name.equals("DeleteBucketPolicy")) {
            throw new AwsError(404, "NoSuchBucketPolicy", "The bucket policy does not exist");
        }
        switch (ask.operation.name) {
            case "GetBucketPolicy" -> ask.request.answer(200, "application/json",
                    Kms.rewritten(bucket.policy, ask.caller));
            case "GetBucketPolicyStatus" -> xml(ask, Map.of(), "<PolicyStatus" + XMLNS + ">" + element("IsPublic",
                    BucketPolicy.isPublic(PolicyEvaluator.Policy.of("", bucket.policy).document()))
                    + "</PolicyStatus>");
            default -> {
                bucket.policy = null;
                ask.request.answer(204, Map.of(), 0).close();
            }
        }
    }

    private void putPolicy(Ask ask) throws IOException {
        var text = bytes(ask.request, ask.scope);
        var kms = aws.account(ask.caller.account()).kms;
        var policy = BucketPolicy.checked(text, ask.bucket.arn(), name -> kms.isPrincipal(name, ask.caller));
        if (BucketPolicy.isPublic(policy) && ask.bucket.settings.blocksPublicPolicies()) {
            throw new AwsError(403, "AccessDenied", "User: " + ask.caller.arn() + " is not authorized to perform:"
                    + " s3:PutBucketPolicy on resource: \"" + ask.bucket.arn() + "\" because public policies are"
                    + " prevented by the BlockPublicPolicy setting in S3 Block Public Access.");
        }
        ask.bucket.policy(policy.toString());
        ask.request.answer(204, Map.of(), 0).close();
    }

    // ---- Object Lock

    private Version version(Ask ask) {
        var id = ask.parameter("versionId");
        var versions = ask.bucket.objects.getOrDefault(ask.key, List.of());
        var version = versions.stream().filter(v -> id == null || id.equals(v.id)).reduce((a, b) -> b).orElse(null);
        if (version == null && id != null) {
            throw new AwsError("InvalidArgument", "Invalid version id specified");
        }
        if (version == null || id == null && version.isDeleteMarker()) {
            throw new AwsError(404, "NoSuchKey", "The specified key does not exist.");
        }
        return version;
    }

    private void deleteObject(Ask ask) throws IOException {
        var headers = new TreeMap<String, String>();
        synchronized (this) {
            var bucket = ask.bucket;
            var isHiding = ask.parameter("versionId") == null && bucket.settings.isVersioned();
            if (isHiding) {
                var marker = store(bucket, ask.key, Files.createFile(temporary()), 0, "\"\"",
                        Map.of(DELETE_MARKER, "true"), Map.of());
                headers.putAll(Map.of(DELETE_MARKER, "true", "x-amz-version-id", marker.id));
            } else if (bucket.objects.containsKey(ask.key) || ask.parameter("versionId") != null) {
                var version = version(ask);
                var retention = Retention.of(version.headers);
                if (retention != null && retention.forbids(null, "true".equals(ask.header(BYPASS)), aws.now())) {
                    throw locked();
                }
                remove(bucket, ask.key, version);
            }
        }
        ask.request.answer(204, headers, 0).close();
    }

    /** An object without versions left is gone; else the newest that is left is the current one. */
    private void remove(Bucket bucket, String key, Version version) throws IOException {
        var versions = bucket.objects.get(key);
        versions.remove(version);
        Files.deleteIfExists(version.file);
        if (versions.isEmpty()) bucket.objects.remove(key);
    }

    private static AwsError locked() {
        return new AwsError(403, "AccessDenied", "Access Denied because object protected by object lock.");
    }

    private void getRetention(Ask ask) throws IOException {
        Retention retention;
        synchronized (this) {
            checkLockable(ask);
            retention = Retention.of(version(ask).headers);
        }
        if (retention == null) {
            throw new AwsError(404, "NoSuchObjectLockConfiguration",
                    "The specified object does not have a ObjectLock configuration");
        }
        xml(ask, Map.of(), "<Retention" + XMLNS + ">" + element("Mode", retention.mode())
                + element("RetainUntilDate", retention.until()) + "</Retention>");
    }

    private void putRetention(Ask ask) throws IOException {
        var document = BucketSettings.parse(bytes(ask.request, ask.scope));
        synchronized (this) {
            checkLockable(ask);
            var version = version(ask);
            var retention = Retention.of(text(document, "Mode"), text(document, "RetainUntilDate"), aws.now());
            var present = Retention.of(version.headers);
            if (present != null && present.forbids(retention, "true".equals(ask.header(BYPASS)), aws.now())) {
                throw locked();
            }
            version.headers.put(Retention.MODE, retention.mode());
            version.headers.put(Retention.UNTIL, retention.until().toString());
        }
        ask.request.answer(200, Map.of(), 0).close();
    }

    private static void checkLockable(Ask ask) {
        if (!ask.bucket.settings.isLockEnabled()) {
            throw new AwsError("InvalidRequest", "Bucket is missing Object Lock Configuration");
        }
    }

    /** The lock of a new object: the request's, or else the bucket's. */
    private void lock(Ask ask, Map<String, String> headers) {
        var settings = ask.bucket.settings;
        var mode = ask.header(Retention.MODE);
        var until = ask.header(Retention.UNTIL);
        Retention retention = null;
        if (mode != null || until != null) {
            checkLockable(ask);
            retention = Retention.of(mode, until, aws.now());
        } else if (!settings.retentionMode().isEmpty()) {
            retention = new Retention(settings.retentionMode(), aws.now().plus(settings.retention()));
        }
        if (retention != null) {
            headers.put(Retention.MODE, retention.mode());
            headers.put(Retention.UNTIL, retention.until().toString());
        }
    }

    // ---- Objects

    /** The newest version; null if there is none, or a delete marker is in its place. */
    private static Version current(Bucket bucket, String key) {
        var versions = bucket.objects.get(key);
        var newest = versions == null ? null : versions.get(versions.size() - 1);
        return newest == null || newest.isDeleteMarker() ? null : newest;
    }

    private void putObject(Ask ask) throws IOException {
        var headers = newHeaders(ask);
        useKey(ask, headers, "kms:GenerateDataKey");
        var once = begin(ask);
        Version version;
        try {
            var body = body(ask.request, ask.scope);
            if (headers.containsKey(Retention.MODE) && body.given == null && ask.header("content-md5") == null) {
                throw new AwsError("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put"
                        + " Object requests with Object Lock parameters");
            }
            body.read(ask.request.body());
            synchronized (this) {
                if (once && current(ask.bucket, ask.key) != null) throw failed();
                version = store(ask.bucket, ask.key, body, headers);
            }
        } finally {
            if (once) end(ask); // before the answer: the client's next write conflicts with nothing
        }
        ask.request.answer(200, answerHeaders(ask.bucket, version, true), 0).close();
    }

    /** Whether the key must not exist; a second such write at the same time is refused. */
    private boolean begin(Ask ask) {
        var condition = ask.header("if-none-match");
        if (condition == null) return false;
        if (!condition.equals("*")) {
            throw new AwsError(501, "NotImplemented",
                    "A header you provided implies functionality that is not implemented: If-None-Match: " + condition);
        }
        if (!conditional.add(ask.bucket.name + "/" + ask.key)) {
            throw new AwsError(409, "ConditionalRequestConflict",
                    "The conditional request cannot succeed due to a conflicting operation against this resource.");
        }
        return true;
    }

    private void end(Ask ask) {
        conditional.remove(ask.bucket.name + "/" + ask.key);
    }

    private static AwsError failed() {
        return new AwsError(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
    }

    private Map<String, String> newHeaders(Ask ask) {
        var headers = new TreeMap<String, String>();
        var encryption = ask.header("x-amz-server-side-encryption");
        var key = ask.header(KEY_ID);
        if (encryption != null && !encryption.matches("AES256|aws:kms")) {
            throw new AwsError("InvalidArgument", "The encryption method specified is not supported");
        }
        if (key != null && !"aws:kms".equals(encryption)) {
            throw new AwsError("InvalidArgument",
                    "Server Side Encryption with AWS KMS managed key requires HTTP header "
                            + "x-amz-server-side-encryption : aws:kms");
        }
        if (key != null && !key.matches("arn:[a-z-]+:kms:" + ask.bucket.region + ":\\d{12}:key/[A-Za-z0-9-]+")) {
            throw new AwsError("KMS.NotFoundException", "Invalid keyId '" + key
                    + "': another account's key is named by its ARN, and it is in the bucket's Region");
        }
        if (ask.header(CUSTOMER_KEY) != null) {
            throw ask.bucket.settings.blocksCustomerKeys()
                    ? new AwsError(403, "AccessDenied", "Access Denied because SSE-C is blocked for this bucket")
                    : new AwsError(501, "NotImplemented", "The embedded AWS does not offer SSE-C");
        }
        if (encryption == null && ask.bucket.settings.algorithm().equals("aws:kms")) {
            encryption = "aws:kms";
            key = defaultKey(ask);
        }
        if (encryption != null && encryption.equals("aws:kms") && key == null
                && !ask.caller.account().equals(ask.bucket.account)) {
            throw new AwsError(403, "AccessDenied", "The key aws/s3 cannot be used by other accounts");
        }
        headers.put("x-amz-server-side-encryption", encryption == null ? "AES256" : encryption);
        if (key != null) headers.put(KEY_ID, key);
        var hasBucketKey = ask.header(BUCKET_KEY) == null ? ask.bucket.settings.hasBucketKey()
                : ask.header(BUCKET_KEY).equals("true");
        if ("aws:kms".equals(encryption) && hasBucketKey) headers.put(BUCKET_KEY, "true");
        lock(ask, headers);
        headers.put("Content-Type",
                ask.header("content-type") == null ? "binary/octet-stream" : ask.header("content-type"));
        ask.request.exchange.getRequestHeaders().forEach((name, values) -> {
            if (name.toLowerCase(Locale.ROOT).startsWith("x-amz-meta-")) {
                headers.put(name.toLowerCase(Locale.ROOT), values.get(0));
            }
        });
        return headers;
    }

    /** An id or alias in the settings is one of the requester's account (API Reference, PutBucketEncryption). */
    private String defaultKey(Ask ask) {
        var given = ask.bucket.settings.kmsKey();
        if (given.isEmpty() || given.startsWith("arn:") && given.contains(":key/")) {
            return given.isEmpty() ? null : given;
        }
        var found = aws.account(ask.caller.account()).kms.find(given, ask.bucket.region);
        if (found == null) throw new AwsError("KMS.NotFoundException", "Invalid keyId '" + given + "'");
        return found.arn;
    }

    private Version store(Bucket bucket, String key, S3Body body, Map<String, String> headers) throws IOException {
        return store(bucket, key, body.file, body.size, "\"" + body.md5 + "\"", headers,
                Map.of("x-amz-checksum-" + body.algorithm, body.checksum, "x-amz-checksum-type", "FULL_OBJECT"));
    }

    private Version store(Bucket bucket, String key, Path file, long size, String etag, Map<String, String> headers,
            Map<String, String> checksum)
            throws IOException {
        var versions = bucket.objects.computeIfAbsent(key, k -> new ArrayList<>());
        if (!versions.isEmpty()) {
            var old = versions.remove(versions.size() - 1);
            if (bucket.settings.isVersioned()) {
                versions.add(new Version(old.id, Files.move(old.file, temporary()), old.size, old.etag, old.modified,
                        old.headers, old.checksum));
            } else {
                Files.delete(old.file);
            }
        }
        var id = bucket.settings.isVersioned() ? UUID.randomUUID().toString().replace("-", "") : null;
        var version = new Version(id, place(bucket.name, key, file), size, etag, aws.now(),
                new ConcurrentHashMap<>(headers), checksum);
        versions.add(version);
        return version;
    }

    /**
     * Moves a file to bucket/key; where a key is no path (a//b, ../a, or a file a beside a/b), it stays where it is.
     */
    private Path place(String bucket, String key, Path file) throws IOException {
        try {
            var path = directory().resolve(bucket).resolve(key);
            if (!path.normalize().equals(path) || !path.toString().endsWith(bucket + "/" + key)) return file;
            Files.createDirectories(path.getParent());
            return Files.move(file, path, StandardCopyOption.ATOMIC_MOVE);
        } catch (InvalidPathException | java.nio.file.FileSystemException e) {
            return file;
        }
    }

    private Path temporary() throws IOException {
        return Files.createDirectories(home.resolve("temporary")).resolve(UUID.randomUUID().toString());
    }

    private Map<String, String> answerHeaders(Bucket bucket, Version version, boolean withChecksum) {
        var headers = new TreeMap<String, String>();
        headers.put("ETag", version.etag);
        if (bucket.settings.isVersioned()) headers.put("x-amz-version-id", version.id);
        version.headers.forEach((name, value) -> {
            if (name.startsWith("x-amz-server-side-")) headers.put(name, value);
        });
        if (withChecksum) headers.putAll(version.checksum);
        return headers;
    }

    private void getObject(Ask ask) throws IOException {
        Version version;
        synchronized (this) {
            var versions = ask.bucket.objects.getOrDefault(ask.key, List.of());
            var id = ask.parameter("versionId");
            version = versions.stream().filter(v -> id == null || id.equals(v.id)).reduce((a, b) -> b).orElse(null);
            if (version != null && version.isDeleteMarker() && id == null) version = null;
            // who may not list must not learn that there is no such key
            if (version == null) authorize(ask, "s3:ListBucket");
            if (version == null) {
                throw id == null ? new AwsError(404, "NoSuchKey", "The specified key does not exist.")
                        : new AwsError(404, "NoSuchVersion", "The specified version does not exist.");
            }
        }
        if (version.isDeleteMarker()) {
            throw new AwsError(405, "MethodNotAllowed",
                    "The specified method is not allowed against this resource.");
        }
        // the head alone needs the key only if the checksum, which is encrypted too, is asked for
        if (ask.operation.name.equals("GetObject") || ask.header("x-amz-checksum-mode") != null) {
            useKey(ask, version.headers, "kms:Decrypt");
        }
        if (ask.header("if-match") != null && !ask.header("if-match").equals(version.etag)) throw failed();
        if (ask.header("if-none-match") != null && ask.header("if-none-match").equals(version.etag)) {
            throw new AwsError(304, "NotModified", "Not Modified");
        }
        if (version.archived() && ask.operation.name.equals("GetObject")) {
            throw new AwsError(403, "InvalidObjectState",
                    "The operation is not valid for the object's storage class");
        }
        var headers = answerHeaders(ask.bucket, version,
                "ENABLED".equals(ask.header("x-amz-checksum-mode")) && ask.header("range") == null);
        headers.putAll(version.headers);
        if (Retention.of(version.headers) != null && aws.authorizer.decide(ask.caller,
                need(ask, "s3:GetObjectRetention")).decision() != PolicyEvaluator.Decision.allowed) {
            headers.keySet().removeAll(List.of(Retention.MODE, Retention.UNTIL));
        }
        headers.put("Last-Modified", HTTP_DATE.format(version.modified));
        headers.put("Accept-Ranges", "bytes");
        long from = 0;
        var end = version.size;
        if (ask.header("range") != null) {
            var range = Pattern.compile("bytes=(\\d*)-(\\d*)").matcher(ask.header("range"));
            if (!range.matches() || range.group().equals("bytes=-")) {
                throw new AwsError("InvalidArgument", "The range is not valid");
            }
            from = range.group(1).isEmpty() ? Math.max(0, end - Long.parseLong(range.group(2)))
                    : Long.parseLong(range.group(1));
            if (!range.group(1).isEmpty() && !range.group(2).isEmpty()) {
                end = Math.min(end, Long.parseLong(range.group(2)) + 1);
            }
            if (from >= version.size || from >= end) {
                throw new AwsError(416, "InvalidRange", "The requested range is not satisfiable");
            }
            headers.put("Content-Range", "bytes " + from + "-" + (end - 1) + "/" + version.size);
        }
        headers.put("Content-Length", String.valueOf(end - from));
        try (var in = Files.newInputStream(version.file);
                var out = ask.request.answer(ask.header("range") == null ? 200 : 206, headers, end - from)) {
            if (ask.operation.name.equals("HeadObject")) return;
            in.skipNBytes(from);
            var buffer = new byte[64 << 10];
            for (var left = end - from; left > 0; ) {
                var n = in.read(buffer, 0, (int) Math.min(buffer.length, left));
                if (n < 0) throw new IOException(version.file + " is too short");
                out.write(buffer, 0, n);
                left -= n;
            }
        }
    }

    private void list(Ask ask) throws IOException {
        var prefix = ask.request.query.getOrDefault("prefix", "");
        var delimiter = ask.request.query.getOrDefault("delimiter", "");
        var url = ask.url();
        var most = Math.min(ask.number("max-keys", 1000), 1000);
        var page = Math.min(most, pageSize);
        var token = ask.parameter("continuation-token");
        if (!"2".equals(ask.parameter("list-type"))) {
            throw new AwsError("InvalidArgument", "Invalid List Type specified in Request");
        }
        String after;
        try {
            after = token == null ? ask.request.query.getOrDefault("start-after", "")
                    : new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8);
        } catch (IllegalArgumentException e) {
            throw new AwsError("InvalidArgument", "The continuation token provided is incorrect");
        }
        var contents = new StringBuilder();
        var groups = new TreeSet<String>();
        var last = "";
        var count = 0;
        var truncated = false;
        synchronized (this) {
            for (var entry : ask.bucket.objects.tailMap(after, false).entrySet()) {
                var key = entry.getKey();
                if (!key.startsWith(prefix) || current(ask.bucket, key) == null) continue;
                var cut = delimiter.isEmpty() ? -1 : key.indexOf(delimiter, prefix.length());
                var group = cut < 0 ? null : key.substring(0, cut + delimiter.length());
                if (group != null && (groups.contains(group) || after.startsWith(group))) {
                    last = key;
                    continue;
                }
                if (count == page) {
                    truncated = most > 0;
                    break;
                }
                count++;
                last = key;
                if (group != null) {
                    groups.add(group);
                } else {
                    var version = entry.getValue().get(entry.getValue().size() - 1);
                    contents.append("<Contents>").append(element("Key", encode(key, url)))
                            .append(element("LastModified", MILLIS.format(version.modified)))
                            .append(element("ETag", version.etag))
                            .append(element("ChecksumAlgorithm", algorithm(version)))
                            .append(element("ChecksumType", version.checksum.get("x-amz-checksum-type")))
                            .append(element("Size", version.size))
                            .append(element("StorageClass", version.storageClass()))
                            .append("</Contents>");
                }
            }
        }
        groups.forEach(g -> contents.append("<CommonPrefixes>").append(element("Prefix", encode(g, url)))
                .append("</CommonPrefixes>"));
        xml(ask, Map.of(), "<ListBucketResult" + XMLNS + ">" + element("Name", ask.bucket.name)
                + element("Prefix", encode(prefix, url))
                + (delimiter.isEmpty() ? "" : element("Delimiter", encode(delimiter, url))) + element("MaxKeys", most)
                + (url ? element("EncodingType", "url") : "") + element("KeyCount", count)
                + element("ContinuationToken", token) + element("StartAfter", ask.parameter("start-after"))
                + element("IsTruncated", truncated)
                + (truncated ? element("NextContinuationToken",
                        Base64.getUrlEncoder().encodeToString(last.getBytes(StandardCharsets.UTF_8))) : "")
                + contents + "</ListBucketResult>");
    }

    /** By key, and the versions of a key from the newest to the oldest. */
    private void listVersions(Ask ask) throws IOException {
        var prefix = ask.request.query.getOrDefault("prefix", "");
        var keyMarker = ask.request.query.getOrDefault("key-marker", "");
        var versionMarker = ask.parameter("version-id-marker");
        var url = ask.url();
        var page = Math.min(Math.min(ask.number("max-keys", 1000), 1000), pageSize);
        var found = new ArrayList<Listed>();
        synchronized (this) {
            for (var entry : ask.bucket.objects.tailMap(keyMarker, versionMarker != null).entrySet()) {
                var versions = new ArrayList<>(entry.getValue());
                Collections.reverse(versions);
                var told = entry.getKey().equals(keyMarker)
                        ? versions.stream().map(version -> version.id).toList().indexOf(versionMarker) + 1 : 0;
                for (var i = told; i < versions.size() && entry.getKey().startsWith(prefix); i++) {
                    found.add(new Listed(entry.getKey(), versions.get(i), i == 0));
                }
            }
        }
        var isTruncated = found.size() > page;
        var told = found.subList(0, Math.min(page, found.size()));
        var entries = new StringBuilder();
        for (var one : told) {
            var name = one.version.isDeleteMarker() ? "DeleteMarker" : "Version";
            entries.append("<").append(name).append(">").append(element("Key", encode(one.key, url)))
                    .append(element("VersionId", one.version.id == null ? "null" : one.version.id))
                    .append(element("IsLatest", one.isLatest))
                    .append(element("LastModified", MILLIS.format(one.version.modified)));
            if (!one.version.isDeleteMarker()) {
                entries.append(element("ETag", one.version.etag)).append(element("Size", one.version.size))
                        .append(element("StorageClass", one.version.storageClass()));
            }
            entries.append("</").append(name).append(">");
        }
        var last = told.isEmpty() ? null : told.get(told.size() - 1);
        xml(ask, Map.of(), "<ListVersionsResult" + XMLNS + ">" + element("Name", ask.bucket.name)
                + element("Prefix", encode(prefix, url)) + element("MaxKeys", page)
                + (url ? element("EncodingType", "url") : "") + element("IsTruncated", isTruncated)
                + (isTruncated ? element("NextKeyMarker", encode(last.key, url))
                        + element("NextVersionIdMarker", last.version.id == null ? "null" : last.version.id) : "")
                + entries + "</ListVersionsResult>");
    }

    private record Listed(String key, Version version, boolean isLatest) { }

    private static String algorithm(Version version) {
        return version.checksum.keySet().stream().filter(k -> !k.endsWith("-type"))
                .map(k -> k.substring(15).toUpperCase(Locale.ROOT)).findFirst().orElse(null);
    }

    // ---- Multipart uploads

    private void createUpload(Ask ask) throws IOException {
        var headers = newHeaders(ask);
        useKey(ask, headers, "kms:GenerateDataKey", "kms:Decrypt");
        var named = ask.header("x-amz-checksum-algorithm");
        var algorithm = named == null ? "crc64nvme" : named.toLowerCase(Locale.ROOT);
        if (!S3Body.ALGORITHMS.contains(algorithm)) {
            throw new AwsError("InvalidRequest",
                    "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
                            + "[CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
        }
        var type = ask.header("x-amz-checksum-type");
        if (type == null) type = algorithm.equals("crc64nvme") ? "FULL_OBJECT" : "COMPOSITE";
        if (named == null && ask.header("x-amz-checksum-type") != null) {
            throw new AwsError("InvalidRequest",
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.");
        }
        if (!type.equals(
                algorithm.startsWith("sha") ? "COMPOSITE" : algorithm.equals("crc64nvme") ? "FULL_OBJECT" : type)
                || !type.matches("COMPOSITE|FULL_OBJECT")) {
            throw new AwsError("InvalidRequest",
                    "The " + type + " checksum type cannot be used with the " + algorithm + " checksum algorithm.");
        }
        var id = UUID.randomUUID().toString().replace("-", "") + ".";
        var upload = new Upload(id, ask.key, aws.now(), headers, named != null, algorithm, type, new TreeMap<>());
        synchronized (this) {
            ask.bucket.uploads.put(upload.id, upload);
        }
        var answer = new TreeMap<>(headers);
        answer.keySet().removeIf(name -> !name.startsWith("x-amz-server-side-"));
        if (named != null) answer.putAll(Map.of("x-amz-checksum-algorithm", named, "x-amz-checksum-type", type));
        xml(ask, answer,
                "<InitiateMultipartUploadResult" + XMLNS + ">" + element("Bucket", ask.bucket.name)
                        + element("Key", ask.key)
                + element("UploadId", upload.id) + "</InitiateMultipartUploadResult>");
    }

    private synchronized Upload upload(Ask ask) {
        var upload = ask.bucket.uploads.get(ask.parameter("uploadId"));
        if (upload == null || !upload.key.equals(ask.key)) {
            throw new AwsError(404, "NoSuchUpload",
                    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
                            + "aborted or completed.");
        }
        return upload;
    }

    private void uploadPart(Ask ask) throws IOException {
        var number = ask.number("partNumber", 0);
        if (number < 1 || number > 10_000) {
            throw new AwsError("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive");
        }
        var upload = upload(ask);
        useKey(ask, upload.headers, "kms:GenerateDataKey", "kms:Decrypt");
        var body = body(ask.request, ask.scope);
        body.read(ask.request.body());
        if (body.given != null && !body.given.equals(upload.algorithm) || body.given == null && !upload.fullObject()) {
            throw new AwsError("InvalidRequest",
                    "Checksum Type mismatch occurred, expected checksum Type: "
                            + (upload.named ? upload.algorithm : null)
                    + ", actual checksum Type: " + body.given);
        }
        Part part;
        synchronized (this) {
            upload(ask); // it may have been aborted meanwhile
            var checksum = body.algorithm.equals(upload.algorithm) ? body.checksum
                    : S3Body.checksum(upload.algorithm, body.file);
            part = new Part(body.file, body.size, "\"" + body.md5 + "\"", checksum, aws.now());
            var before = upload.parts.put(number, part);
            if (before != null) Files.deleteIfExists(before.file);
        }
        var headers = new TreeMap<String, String>(
                Map.of("ETag", part.etag, "x-amz-checksum-" + upload.algorithm, part.checksum));
        upload.headers.forEach((name, value) -> {
            if (name.startsWith("x-amz-server-side-")) headers.put(name, value);
        });
        ask.request.answer(200, headers, 0).close();
    }

    private void completeUpload(Ask ask) throws IOException {
        var document = BucketSettings.parse(ask.request.body().readAllBytes());
        var once = begin(ask);
        Version version;
        try {
            synchronized (this) {
                var upload = upload(ask);
                useKey(ask, upload.headers, "kms:Decrypt");
                var listed = parts(document, upload);
                if (once && current(ask.bucket, ask.key) != null) throw failed();
                version = join(ask, upload, listed);
                ask.bucket.uploads.remove(upload.id);
                for (var part : upload.parts.values()) Files.deleteIfExists(part.file);
            }
        } finally {
            if (once) end(ask); // before the answer, as above
        }
        var checksum = new StringBuilder();
        version.checksum.forEach((name, value) -> checksum.append(element(
                "Checksum" + (name.endsWith("-type") ? "Type" : name.substring(15).toUpperCase(Locale.ROOT)), value)));
        xml(ask, answerHeaders(ask.bucket, version, false), "<CompleteMultipartUploadResult" + XMLNS + ">"
                + element("Location", aws.endpoint() + ask.request.path()) + element("Bucket", ask.bucket.name)
                + element("Key", ask.key) + element("ETag", version.etag) + checksum
                + "</CompleteMultipartUploadResult>");
    }

    /** The parts that the request lists, each checked against the part that was uploaded. */
    private List<Part> parts(Element document, Upload upload) {
        var elements = document.getElementsByTagName("Part");
        if (!document.getTagName().equals("CompleteMultipartUpload") || elements.getLength() == 0) {
            throw BucketSettings.malformed();
        }
        var parts = new ArrayList<Part>();
        var last = 0;
        var consecutive = true;
        for (var i = 0; i < elements.getLength(); i++) {
            var element = (Element) elements.item(i);
            var number = text(element, "PartNumber");
            var etag = text(element, "ETag");
            if (number == null || etag == null || !number.matches("\\d{1,5}")) {
                throw BucketSettings.malformed();
            }
            if (Integer.parseInt(number) <= last) {
                throw new AwsError("InvalidPartOrder",
                        "The list of parts was not in ascending order. Parts must be ordered by part number.");
            }
            consecutive &= Integer.parseInt(number) == last + 1;
            last = Integer.parseInt(number);
            var part = upload.parts.get(last);
            var checksum = text(element, "Checksum" + upload.algorithm.toUpperCase(Locale.ROOT));
            if (part == null || !part.etag.replace("\"", "").equals(etag.replace("\"", ""))
                    || checksum != null && !checksum.equals(part.checksum)) {
                throw new AwsError("InvalidPart",
                        "One or more of the specified parts could not be found. The part may not have been uploaded, "
                                + "or its entity tag or checksum does not match.");
            }
            if (checksum == null && !upload.fullObject()) {
                throw new AwsError("InvalidRequest",
                        "The upload was created using a " + upload.algorithm
                                + " checksum. The complete request must include the checksum for each part. "
                                + "It was missing for part " + last + " in the request.");
            }
            if (!parts.isEmpty() && parts.get(parts.size() - 1).size < smallestPart) {
                throw new AwsError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size");
            }
            parts.add(part);
        }
        if (!consecutive) {
            throw new AwsError(500, "InternalError",
                    "Part numbers of an upload with checksums must be consecutive and begin with 1.");
        }
        return parts;
    }

    private static String text(Element parent, String name) {
        var elements = parent.getElementsByTagName(name);
        return elements.getLength() == 0 ? null : elements.item(0).getTextContent();
    }

    private Version join(Ask ask, Upload upload, List<Part> parts) throws IOException {
        var type = ask.header("x-amz-checksum-type");
        if (type != null && !type.equals(upload.type)) {
            throw new AwsError("InvalidRequest",
                    "The upload was created with the checksum type " + upload.type + ", not " + type + ".");
        }
        var file = temporary();
        var size = 0L;
        var etags = S3Body.digest("MD5");
        var composite = new java.io.ByteArrayOutputStream();
        try (var out = Files.newOutputStream(file)) {
            for (var part : parts) {
                Files.copy(part.file, out);
                size += part.size;
                etags.update(java.util.HexFormat.of().parseHex(part.etag.replace("\"", "")));
                composite.write(Base64.getDecoder().decode(part.checksum));
            }
        }
        var checksum = upload.fullObject() ? S3Body.checksum(upload.algorithm, file)
                : S3Body.checksum(upload.algorithm, composite.toByteArray()) + "-" + parts.size();
        var given = ask.header("x-amz-checksum-" + upload.algorithm);
        AwsError wrong = null;
        if (given != null && !given.equals(checksum) && !(given + "-" + parts.size()).equals(checksum)) {
            wrong = new AwsError("BadDigest",
                    "The " + upload.algorithm + " you specified did not match the calculated checksum.");
        }
        if (ask.header("x-amz-mp-object-size") != null && Long.parseLong(ask.header("x-amz-mp-object-size")) != size) {
            wrong = new AwsError("InvalidRequest",
                    "The provided 'x-amz-mp-object-size' header value does not match what was computed.");
        }
        if (wrong != null) {
            Files.delete(file);
            throw wrong;
        }
        return store(ask.bucket, upload.key, file, size,
                "\"" + Credentials.hex(etags.digest()) + "-" + parts.size() + "\"", upload.headers,
                Map.of("x-amz-checksum-" + upload.algorithm, checksum, "x-amz-checksum-type", upload.type));
    }

    private void abortUpload(Ask ask) throws IOException {
        synchronized (this) {
            var upload = upload(ask);
            ask.bucket.uploads.remove(upload.id);
            for (var part : upload.parts.values()) Files.deleteIfExists(part.file);
        }
        ask.request.answer(204, Map.of(), 0).close();
    }

    private void listUploads(Ask ask) throws IOException {
        var prefix = ask.request.query.getOrDefault("prefix", "");
        var most = Math.min(ask.number("max-uploads", 1000), pageSize);
        var url = ask.url();
        if (ask.parameter("delimiter") != null) throw new AwsError(501, "NotImplemented", "delimiter");
        var after = ask.request.query.getOrDefault("key-marker", "") + "\0"
                + ask.request.query.getOrDefault("upload-id-marker", "");
        List<Upload> found;
        synchronized (this) {
            found = ask.bucket.uploads.values().stream().filter(u -> u.key.startsWith(prefix))
                    .filter(u -> (u.key + "\0" + u.id).compareTo(after) > 0)
                    .sorted(Comparator.comparing(u -> u.key + "\0" + u.id)).toList();
        }
        var xml = new StringBuilder();
        for (var upload : found.subList(0, Math.min(most, found.size()))) {
            xml.append("<Upload>").append(element("Key", encode(upload.key, url)))
                    .append(element("UploadId", upload.id)).append(element("StorageClass", "STANDARD"))
                    .append(element("Initiated", MILLIS.format(upload.started)))
                    .append(element("ChecksumAlgorithm", upload.algorithm.toUpperCase(Locale.ROOT)))
                    .append(element("ChecksumType", upload.type)).append("</Upload>");
        }
        var truncated = found.size() > most;
        xml(ask, Map.of(),
                "<ListMultipartUploadsResult" + XMLNS + ">" + element("Bucket", ask.bucket.name)
                        + element("Prefix", encode(prefix, url))
                + (url ? element("EncodingType", "url") : "")
                + element("MaxUploads", most) + element("IsTruncated", truncated)
                        + (truncated ? element("NextKeyMarker", encode(found.get(most - 1).key, url))
                                + element("NextUploadIdMarker", found.get(most - 1).id) : "")
                + xml + "</ListMultipartUploadsResult>");
    }

    private void listParts(Ask ask) throws IOException {
        var after = ask.number("part-number-marker", 0);
        var most = Math.min(ask.number("max-parts", 1000), pageSize);
        var xml = new StringBuilder();
        int last = after;
        boolean truncated;
        Upload upload;
        synchronized (this) {
            upload = upload(ask);
            var rest = upload.parts.tailMap(after, false);
            truncated = rest.size() > most;
            for (var entry : rest.entrySet().stream().limit(most).toList()) {
                var part = entry.getValue();
                last = entry.getKey();
                xml.append("<Part>").append(element("PartNumber", last))
                        .append(element("LastModified", MILLIS.format(part.modified)))
                        .append(element("ETag", part.etag)).append(element("Size", part.size))
                        .append(element("Checksum" + upload.algorithm.toUpperCase(Locale.ROOT), part.checksum))
                        .append("</Part>");
            }
        }
        xml(ask, Map.of(),
                "<ListPartsResult" + XMLNS + ">" + element("Bucket", ask.bucket.name) + element("Key", ask.key)
                        + element("UploadId", upload.id)
                        + element("PartNumberMarker", after) + (truncated ? element("NextPartNumberMarker", last) : "")
                        + element("MaxParts", most)
                + element("IsTruncated", truncated)
                        + element("ChecksumAlgorithm", upload.algorithm.toUpperCase(Locale.ROOT))
                        + element("ChecksumType", upload.type) + xml + "</ListPartsResult>");
    }

    /** The request's body on its way into a file. */
    private S3Body body(LocalAws.Request request, Credentials.Scope scope) throws IOException {
        var headers = new TreeMap<String, String>();
        request.exchange.getRequestHeaders()
                .forEach((name, values) -> headers.put(name.toLowerCase(Locale.ROOT), values.get(0)));
        var secret = aws.credentials.get(scope.accessKeyId()).secret();
        return new S3Body(headers, scope,
                text -> Credentials.signText(secret, scope.date(), scope.region(), "s3", text), temporary());
    }

    /** The body of a request that is no object, with all checks. */
    private byte[] bytes(LocalAws.Request request, Credentials.Scope scope) throws IOException {
        var body = body(request, scope);
        body.read(request.body());
        var bytes = Files.readAllBytes(body.file);
        Files.delete(body.file);
        return bytes;
    }
}
