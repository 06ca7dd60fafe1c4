package localaws;

import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** The access keys that the embedded AWS knows, and the check of what they signed (Signature Version 4). */
final class Credentials {
    private static final Pattern AUTHORIZATION =
            Pattern.compile(
                    "AWS4-HMAC-SHA256 Credential=([^/]+)/(\\d{8})/([^/]+)/([^/]+)/aws4_request, "
                            + "?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})");
    static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);

    /** @param resource as in its ARN: {@code user/operator}, {@code assumed-role/Backup/session} */
    record Key(String secret, String token, String resource, String account, Instant expiry,
            List<PolicyEvaluator.Policy> sessionPolicies) {
        Caller caller(String region, Caller.Endpoint endpoint) {
            var partition = new Caller("", account, region).partition();
            var service = resource.startsWith("assumed-role/") ? ":sts::" : ":iam::";
            return new Caller("arn:" + partition + service + account + ":" + resource, account, region,
                    sessionPolicies, endpoint, null);
        }
    }

    record Scope(String accessKeyId, String date, String region, String service, String signedHeaders,
            String signature) {
        /** The service by its name in IAM and in the models: CloudWatch signs as monitoring. */
        String api() {
            return service.equals("monitoring") ? "cloudwatch" : service;
        }
    }

    private final Map<String, Key> keys = new ConcurrentHashMap<>();

    void add(String accessKeyId, String secret, String resource, String account) {
        add(accessKeyId, secret, null, resource, account, Instant.MAX, List.of());
    }

    void add(String accessKeyId, String secret, String token, String resource, String account, Instant expiry,
            List<PolicyEvaluator.Policy> sessionPolicies) {
        keys.put(accessKeyId, new Key(secret, token, resource, account, expiry, sessionPolicies));
    }

    Key get(String accessKeyId) {
        return keys.get(accessKeyId);
    }

    static Scope scope(String authorization) {
        var matcher = AUTHORIZATION.matcher(authorization == null ? "" : authorization);
        if (!matcher.matches()) return new Scope("", "", "us-east-1", "", "", "");
        return new Scope(matcher.group(1), matcher.group(2), matcher.group(3), matcher.group(4), matcher.group(5),
                matcher.group(6));
    }

    /** Who signed the request; the body is null where its hash is in x-amz-content-sha256. */
    Caller verify(LocalAws.Request request, Scope scope, byte[] body, Instant now) {
        var json = Models.isJson(scope.api());
        var query = Models.isQuery(scope.api());
        if (scope.accessKeyId().isEmpty()) {
            throw new AwsError(403, json ? "MissingAuthenticationTokenException" : "MissingAuthenticationToken",
                    "Request is missing Authentication Token");
        }
        var key = keys.get(scope.accessKeyId());
        var token = request.header("X-Amz-Security-Token");
        if (key == null || key.token() != null && !key.token().equals(token)) {
            throw switch (scope.service()) {
                case "s3" -> new AwsError(403, "InvalidAccessKeyId",
                        "The AWS Access Key Id you provided does not exist in our records.");
                case "ec2" ->
                    new AwsError(401, "AuthFailure", "AWS was not able to validate the provided access credentials");
                default -> new AwsError(query ? 403 : 400,
                        query ? "InvalidClientTokenId" : "UnrecognizedClientException",
                        "The security token included in the request is invalid.");
            };
        }
        if (now.isAfter(key.expiry())) {
            throw switch (scope.service()) {
                case "s3" -> new AwsError(400, "ExpiredToken", "The provided token has expired.");
                case "ec2" -> new AwsError(400, "RequestExpired", "Request has expired.");
                default -> new AwsError(query ? 403 : 400, query ? "ExpiredToken" : "ExpiredTokenException",
                        "The security token included in the request is expired");
            };
        }
        var time = request.header("X-Amz-Date");
        var mismatch = new AwsError(403,
                query || scope.service().equals("s3") ? "SignatureDoesNotMatch"
                        : json ? "InvalidSignatureException" : "AuthFailure",
                "The request signature we calculated does not match the signature you provided.");
        if (time == null || !time.startsWith(scope.date())) throw mismatch;
        var age = Duration.between(Instant.from(TIME.parse(time)), Instant.now());
        if (age.abs().compareTo(Duration.ofMinutes(15)) > 0) {
            throw scope.service().equals("s3") ? new AwsError(403, "RequestTimeTooSkewed",
                    "The difference between the request time and the current time is too large.") : mismatch;
        }
        var hash = request.header("x-amz-content-sha256");
        // every service but S3 wants the path encoded once more
        var path = Models.isRest(scope.api()) ? request.path().replace("%", "%25") : request.path();
        var canonical = request.method() + "\n" + path + "\n" + canonicalQuery(request.query) + "\n"
                + scope.signedHeaders().lines().flatMap(h -> java.util.Arrays.stream(h.split(";")))
                        .map(h -> h + ":" + String
                                .join(",", request.exchange.getRequestHeaders().getOrDefault(h, java.util.List.of()))
                                .trim().replaceAll(" +", " ") + "\n")
                        .collect(Collectors.joining())
                + "\n" + scope.signedHeaders() + "\n" + (hash != null ? hash : hex(sha256(body)));
        if (hash != null && body != null && !hash.equals(hex(sha256(body)))) throw mismatch;
        var signature = sign(key.secret(), scope.date(), scope.region(), scope.service(), time, canonical);
        if (!MessageDigest.isEqual(signature.getBytes(), scope.signature().getBytes())) throw mismatch;
        return key.caller(scope.region(), request.endpoint);
    }

    private static String canonicalQuery(Map<String, String> query) {
        var sorted = new TreeMap<String, String>();
        query.forEach((k, v) -> sorted.put(encode(k), encode(v)));
        return sorted.entrySet().stream().map(e -> e.getKey() + "=" + e.getValue()).collect(Collectors.joining("&"));
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20").replace("*", "%2A").replace("%7E",
                "~");
    }

    /** The signature of a canonical request; time as it stands in the string to sign. */
    static String sign(String secret, String date, String region, String service, String time, String canonical) {
        return signText(secret, date, region, service,
                "AWS4-HMAC-SHA256\n" + time + "\n" + date + "/" + region + "/" + service + "/aws4_request\n"
                        + hex(sha256(canonical.getBytes(StandardCharsets.UTF_8))));
    }

    /** The signature of a string to sign, of which S3's chunks have one each. */
    static String signText(String secret, String date, String region, String service, String text) {
        var key = ("AWS4" + secret).getBytes(StandardCharsets.UTF_8);
        for (var part : new String[] {date, region, service, "aws4_request"}) key = hmac(key, part);
        return hex(hmac(key, text));
    }

    private static byte[] hmac(byte[] key, String text) {
        try {
            var mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    static byte[] sha256(byte[] bytes) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(bytes);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }
}
