package localaws;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3ClientBuilder;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.ChecksumType;
import software.amazon.awssdk.services.s3.model.CompleteMultipartUploadRequest;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.EncodingType;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.model.ServerSideEncryption;

/** S3 as the AWS SDK sees it, and what S3 refuses. */
@Timeout(60)
class S3Test {
    static final LocalAws aws = LocalAws.start();
    static final S3.Bucket bucket = aws.s3.createBucket("backups", "eu-west-1");
    static final S3Client s3 = client("eu-west-1", b -> { });
    static final byte[] LARGE = random(5 << 20, 1);
    static final byte[] REST = random(100_000, 2);

    static S3Client client(String region, Consumer<S3ClientBuilder> more) {
        var builder = S3Client.builder().endpointOverride(aws.endpoint()).region(Region.of(region))
                .httpClient(UrlConnectionHttpClient.create())
                .credentialsProvider(StaticCredentialsProvider
                        .create(AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY)))
                .overrideConfiguration(o -> o.retryStrategy(AwsRetryStrategy.doNotRetry()));
        more.accept(builder);
        return builder.build();
    }

    static byte[] random(int size, int seed) {
        var bytes = new byte[size];
        new Random(seed).nextBytes(bytes);
        return bytes;
    }

    @AfterAll
    static void stop() {
        s3.close();
        var directory = aws.s3.directory();
        aws.close();
        assertFalse(Files.exists(directory), "the objects' files are gone");
    }

    @BeforeEach
    void clear() {
        aws.clearCalls();
        aws.clearFaults();
        bucket.keys().forEach(bucket::delete);
        aws.s3.pageSize = 100;
    }

    static void assertError(int status, String code, Executable call) {
        var e = assertThrows(S3Exception.class, call);
        assertEquals(status + " " + code, e.statusCode() + " " + e.awsErrorDetails().errorCode(), e.getMessage());
        if (!aws.calls().isEmpty() && !code.isEmpty()) assertTrue(e.requestId() != null && !e.requestId().isEmpty());
    }

    static String put(String key, byte[] bytes) {
        return s3.putObject(r -> r.bucket("backups").key(key), RequestBody.fromBytes(bytes)).eTag();
    }

    // ---- Objects

    @Test
    void keepsAnObjectAsAFile() throws Exception {
        var etag = put("a/b +c%ü=", REST);
        assertArrayEquals(REST, s3.getObjectAsBytes(r -> r.bucket("backups").key("a/b +c%ü=")).asByteArray());
        assertArrayEquals(REST, Files.readAllBytes(aws.s3.directory().resolve("backups/a/b +c%ü=")));
        assertArrayEquals(REST, bucket.get("a/b +c%ü="));
        var head = s3.headObject(r -> r.bucket("backups").key("a/b +c%ü=").checksumMode(ChecksumMode.ENABLED));
        assertEquals(REST.length, head.contentLength());
        assertEquals(etag, head.eTag());
        assertEquals(S3Body.checksum("crc32", REST), head.checksumCRC32());
        assertEquals(ChecksumType.FULL_OBJECT, head.checksumType());
        assertEquals(ServerSideEncryption.AES256, head.serverSideEncryption());
        assertTrue(Duration.between(head.lastModified(), Instant.now()).abs().getSeconds() < 10);
        assertEquals(List.of("s3:PutObject", "s3:GetObject", "s3:HeadObject"),
                aws.calls().stream().map(Call::name).toList());
        assertEquals("a/b +c%ü=", aws.calls().get(0).input().get("Key").asText());
    }

    @ParameterizedTest
    @ValueSource(strings = {"../../escape", "a//b", "/a", "dir/", "a/./b", ".."})
    void keysThatAreNoPathsAreKeysAllTheSame(String key) throws Exception {
        put(key, REST);
        put("a", REST);
        put("a/below", LARGE);
        assertArrayEquals(REST, s3.getObjectAsBytes(r -> r.bucket("backups").key(key)).asByteArray());
        assertArrayEquals(LARGE, s3.getObjectAsBytes(r -> r.bucket("backups").key("a/below")).asByteArray());
        assertTrue(bucket.file(key).normalize().startsWith(aws.s3.directory().getParent()));
    }

    /** Storage class, x-amz-restore and x-amz-archive-status of an object, and whether it can be read. */
    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
            "STANDARD_IA; ; ; true",
            "GLACIER_IR; ; ; true",
            "GLACIER; ; ; false",
            "GLACIER; ongoing-request=\"true\"; ; false",
            "GLACIER; ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\"; ; true",
            "DEEP_ARCHIVE; ; ; false",
            "INTELLIGENT_TIERING; ; ; true",
            "INTELLIGENT_TIERING; ; ARCHIVE_ACCESS; false",
            "INTELLIGENT_TIERING; ongoing-request=\"true\"; DEEP_ARCHIVE_ACCESS; false",
    })
    void archivedObjectsMustBeRestoredBeforeTheyAreRead(String storageClass, String restore, String archiveStatus,
            boolean readable) {
        put("k", REST);
        bucket.header("k", "x-amz-storage-class", storageClass);
        if (restore != null) bucket.header("k", "x-amz-restore", restore);
        if (archiveStatus != null) bucket.header("k", "x-amz-archive-status", archiveStatus);
        var head = s3.headObject(r -> r.bucket("backups").key("k").checksumMode(ChecksumMode.ENABLED));
        assertEquals(storageClass, head.storageClassAsString());
        assertEquals(restore, head.restore());
        assertEquals(archiveStatus, head.archiveStatusAsString());
        assertEquals(S3Body.checksum("crc32", REST), head.checksumCRC32());
        assertEquals(storageClass,
                s3.listObjectsV2(r -> r.bucket("backups")).contents().get(0).storageClassAsString());
        Executable get = () -> s3.getObjectAsBytes(r -> r.bucket("backups").key("k"));
        if (readable) assertDoesNotThrow(get);
        else assertError(403, "InvalidObjectState", get);
        put("k", REST);
        assertNull(s3.headObject(r -> r.bucket("backups").key("k")).storageClass(), "written anew");
    }

    @Test
    void readsRanges() {
        put("k", "0123456789".getBytes());
        for (var range : Map.of("bytes=2-4", "234", "bytes=7-", "789", "bytes=-3", "789", "bytes=8-100", "89")
                .entrySet()) {
            var answer = s3.getObjectAsBytes(r -> r.bucket("backups").key("k").range(range.getKey()));
            assertEquals(range.getValue(), answer.asUtf8String());
            assertTrue(answer.response().contentRange().endsWith("/10"));
        }
        assertError(416, "InvalidRange",
                () -> s3.getObjectAsBytes(r -> r.bucket("backups").key("k").range("bytes=10-")));
    }

    @ParameterizedTest
    @EnumSource(value = ChecksumAlgorithm.class, names = {"CRC32", "CRC32_C", "SHA1", "SHA256"})
    void checksTrailingChecksums(ChecksumAlgorithm algorithm) {
        s3.putObject(r -> r.bucket("backups").key("k").checksumAlgorithm(algorithm), RequestBody.fromBytes(LARGE));
        var name = algorithm.toString().toLowerCase();
        assertEquals(S3Body.checksum(name, LARGE), bucket.headers("k").get("x-amz-checksum-" + name));
        // Behind the first chunk's line; chunks are signed over http, so it is the signature that finds the bit first.
        aws.inject(Fault.on("s3:PutObject").flipRequest(1000));
        assertError(403, "SignatureDoesNotMatch",
                () -> s3.putObject(r -> r.bucket("backups").key("flipped").checksumAlgorithm(algorithm),
                        RequestBody.fromBytes(LARGE)));
        assertEquals(List.of("k"), bucket.keys());
    }

    @Test
    void checksGivenChecksums() {
        s3.putObject(r -> r.bucket("backups").key("right").checksumSHA256(S3Body.checksum("sha256", REST)),
                RequestBody.fromBytes(REST));
        assertError(400, "BadDigest",
                () -> s3.putObject(r -> r.bucket("backups").key("k").checksumCRC32(S3Body.checksum("crc32", LARGE)),
                        RequestBody.fromBytes(REST)));
        assertError(400, "InvalidRequest",
                () -> s3.putObject(r -> r.bucket("backups").key("k").checksumCRC32(S3Body.checksum("sha1", REST)),
                        RequestBody.fromBytes(REST)));
        assertError(400, "BadDigest",
                () -> s3.putObject(r -> r.bucket("backups").key("k").contentMD5("1B2M2Y8AsgTpgAmY7PhCfg=="),
                        RequestBody.fromBytes(REST)));
        assertError(400, "InvalidDigest",
                () -> s3.putObject(r -> r.bucket("backups").key("k").contentMD5("no"), RequestBody.fromBytes(REST)));
        assertEquals(List.of("right"), bucket.keys());
    }

    @Test
    void knowsEachChecksumsCheckValue() { // of "123456789", as the CRC catalogue has them
        assertEquals("y/Q5Jg==", S3Body.checksum("crc32", "123456789".getBytes()));
        assertEquals("4waSgw==", S3Body.checksum("crc32c", "123456789".getBytes()));
        assertEquals(0xAE8B14860A799888L,
                new java.math.BigInteger(1,
                        Base64.getDecoder().decode(S3Body.checksum("crc64nvme", "123456789".getBytes()))).longValue());
    }

    @Test
    void takesAPlainSignedBodyAndFindsItsFlippedBit() {
        try (var plain = client("eu-west-1",
                b -> b.requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
                        .serviceConfiguration(c -> c.chunkedEncodingEnabled(false)))) {
            plain.putObject(r -> r.bucket("backups").key("k"), RequestBody.fromBytes(REST));
            assertTrue(bucket.headers("k").containsKey("x-amz-checksum-crc64nvme"), "S3 adds its own");
            aws.inject(Fault.on("s3:PutObject").flipRequest(99_999));
            assertError(400, "XAmzContentSHA256Mismatch",
                    () -> plain.putObject(r -> r.bucket("backups").key("flipped"), RequestBody.fromBytes(REST)));
            aws.inject(Fault.on("s3:PutObject").cutRequest(50_000));
            assertThrows(SdkClientException.class,
                    () -> plain.putObject(r -> r.bucket("backups").key("cut"), RequestBody.fromBytes(REST)));
        }
        assertEquals(List.of("k"), bucket.keys());
    }

    /** As the SDK sends bodies over https; over http it signs the chunks. */
    @Test
    void readsUnsignedChunksWithATrailer() throws Exception {
        assertEquals("200",
                unsigned("5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:"
                        + S3Body.checksum("crc32", "hello world".getBytes())
                + "\r\n\r\n"));
        assertEquals("hello world", new String(bucket.get("unsigned")));
        assertEquals("400 BadDigest",
                unsigned("b\r\nhello World\r\n0\r\nx-amz-checksum-crc32:"
                        + S3Body.checksum("crc32", "hello world".getBytes()) + "\r\n\r\n"));
        assertEquals("400 MalformedTrailerError", unsigned("b\r\nhello world\r\n0\r\n\r\n"));
        assertEquals("400 IncompleteBody", unsigned("b\r\nhello"));
        assertEquals("400 IncompleteBody", unsigned("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:"
                + S3Body.checksum("crc32", "hello".getBytes()) + "\r\n\r\n"));
    }

    private static String unsigned(String body) throws Exception {
        var time = Credentials.TIME.format(Instant.now());
        var headers = new java.util.TreeMap<>(Map.of("host", aws.endpoint().getAuthority(), "x-amz-content-sha256",
                "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                "x-amz-date", time,
                "x-amz-decoded-content-length", "11", "x-amz-trailer", "x-amz-checksum-crc32"));
        var canonical = new StringBuilder("PUT\n/backups/unsigned\n\n");
        headers.forEach((name, value) -> canonical.append(name).append(':').append(value).append('\n'));
        canonical.append('\n').append(String.join(";", headers.keySet()))
                .append("\nSTREAMING-UNSIGNED-PAYLOAD-TRAILER");
        var signature = Credentials.sign(LocalAws.SECRET_ACCESS_KEY, time.substring(0, 8), "eu-west-1", "s3", time,
                canonical.toString());
        var request = HttpRequest.newBuilder(URI.create(aws.endpoint() + "/backups/unsigned"))
                .PUT(HttpRequest.BodyPublishers.ofString(body))
                .header("Authorization",
                        "AWS4-HMAC-SHA256 Credential=" + LocalAws.ACCESS_KEY_ID + "/" + time.substring(0, 8)
                        + "/eu-west-1/s3/aws4_request, SignedHeaders="
                        + String.join(";", headers.keySet()) + ", Signature=" + signature);
        headers.remove("host");
        headers.forEach(request::header);
        var answer = HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString());
        return answer.statusCode() + answer.body().replaceAll("(?s).*<Code>(.*)</Code>.*", " $1");
    }

    @Test
    void writesOnceIfAskedTo() {
        s3.putObject(r -> r.bucket("backups").key("k").ifNoneMatch("*"), RequestBody.fromBytes(REST));
        assertError(412, "PreconditionFailed",
                () -> s3.putObject(r -> r.bucket("backups").key("k").ifNoneMatch("*"), RequestBody.fromBytes(LARGE)));
        assertArrayEquals(REST, bucket.get("k"));
        assertError(501, "NotImplemented", () -> s3.putObject(r -> r.bucket("backups").key("x").ifNoneMatch("etag"),
                RequestBody.fromBytes(LARGE)));
        put("k", LARGE);
        assertArrayEquals(LARGE, bucket.get("k"));
    }

    @Test
    void refusesASecondConditionalWriteAtTheSameTime() throws Exception {
        var begun = new CountDownLatch(1);
        var go = new CountDownLatch(1);
        var first = CompletableFuture.runAsync(() -> s3.putObject(r -> r.bucket("backups").key("k").ifNoneMatch("*"),
                RequestBody.fromContentProvider(() -> new java.io.SequenceInputStream(
                new java.io.ByteArrayInputStream(new byte[300_000]), new java.io.InputStream() {
                    private int left = 300_000;

                    @Override
                    public int read() {
                        begun.countDown();
                        try {
                            go.await();
                        } catch (InterruptedException e) {
                            throw new IllegalStateException(e);
                        }
                        return left-- > 0 ? 0 : -1;
                    }
                }), 600_000, "application/octet-stream")));
        begun.await();
        Thread.sleep(200); // until the first chunks have arrived
        try {
            assertError(409, "ConditionalRequestConflict", () -> s3
                    .putObject(r -> r.bucket("backups").key("k").ifNoneMatch("*"), RequestBody.fromBytes(REST)));
        } finally {
            go.countDown();
        }
        first.join();
        assertEquals(600_000, bucket.size("k"));
    }

    @Test
    void keepsVersionsIfTold() {
        var versioned = aws.s3.createBucket("versioned", "eu-west-1").versioned();
        var first = s3.putObject(r -> r.bucket("versioned").key("k"), RequestBody.fromString("one")).versionId();
        s3.putObject(r -> r.bucket("versioned").key("k"), RequestBody.fromString("two"));
        assertEquals("two", s3.getObjectAsBytes(r -> r.bucket("versioned").key("k")).asUtf8String());
        assertEquals("one", s3.getObjectAsBytes(r -> r.bucket("versioned").key("k").versionId(first)).asUtf8String());
        assertError(404, "NoSuchVersion",
                () -> s3.getObjectAsBytes(r -> r.bucket("versioned").key("k").versionId("no")));
        assertEquals(2, versioned.versions("k"));
    }

    @Test
    void encryptsUnderAKeyOfTheBucketsRegion() {
        var key = aws.kms.createKey("eu-west-1").arn;
        var answer = s3.putObject(
                r -> r.bucket("backups").key("k").serverSideEncryption("aws:kms").ssekmsKeyId(key)
                        .bucketKeyEnabled(true),
                RequestBody.fromBytes(REST));
        assertEquals(key, answer.ssekmsKeyId());
        assertTrue(s3.headObject(r -> r.bucket("backups").key("k")).bucketKeyEnabled());
        assertError(400, "KMS.NotFoundException",
                () -> s3.putObject(
                        r -> r.bucket("backups").key("x").serverSideEncryption("aws:kms")
                                .ssekmsKeyId(key.replace("eu-west-1", "us-east-1")),
                RequestBody.fromBytes(REST)));
        assertError(400, "InvalidArgument",
                () -> s3.putObject(r -> r.bucket("backups").key("x").ssekmsKeyId(key), RequestBody.fromBytes(REST)));
        assertError(400, "InvalidArgument",
                () -> s3.putObject(r -> r.bucket("backups").key("x").serverSideEncryption("rot13"),
                        RequestBody.fromBytes(REST)));
    }

    @Test
    void changesNothingWhenABitRots() {
        put("k", REST);
        var etag = s3.headObject(r -> r.bucket("backups").key("k")).eTag();
        bucket.corrupt("k", 5);
        assertEquals(REST[5] ^ 1, bucket.get("k")[5]);
        assertEquals(etag, s3.headObject(r -> r.bucket("backups").key("k")).eTag());
        assertThrows(SdkClientException.class,
                () -> s3.getObjectAsBytes(r -> r.bucket("backups").key("k").checksumMode(ChecksumMode.ENABLED)),
                "the client checks the checksum");
    }

    // ---- Who may, and where

    @Test
    void refusesWhatIsNotThereOrNotForYou() {
        assertError(404, "NoSuchBucket",
                () -> s3.putObject(r -> r.bucket("nothing").key("k"), RequestBody.fromBytes(REST)));
        assertThrows(NoSuchKeyException.class, () -> s3.getObjectAsBytes(r -> r.bucket("backups").key("k")));
        assertError(404, "NoSuchKey", () -> s3.headObject(r -> r.bucket("backups").key("k")));
        assertError(403, "AccessDenied",
                () -> s3.putObject(r -> r.bucket("backups").key("k").expectedBucketOwner("999999999999"),
                        RequestBody.fromBytes(REST)));
        assertError(400, "InvalidBucketOwnerAWSAccountID",
                () -> s3.putObject(r -> r.bucket("backups").key("k").expectedBucketOwner("me"),
                        RequestBody.fromBytes(REST)));
        s3.putObject(r -> r.bucket("backups").key("k").expectedBucketOwner(LocalAws.ACCOUNT),
                RequestBody.fromBytes(REST));
        assertError(400, "KeyTooLongError", () -> put("k".repeat(1025), REST));
        assertError(501, "NotImplemented",
                () -> s3.putObject(r -> r.bucket("backups").key("k").tagging("a=b"), RequestBody.fromBytes(REST)));
        assertError(501, "NotImplemented", () -> s3.getObjectAcl(r -> r.bucket("backups").key("k")));
        assertError(501, "NotImplemented", () -> s3.listObjectsV2(r -> r.bucket("backups").fetchOwner(true)));
        assertEquals(List.of("k"), bucket.keys());
    }

    @Test
    void sendsYouToTheBucketsRegion() {
        assertEquals("eu-west-1", s3.headBucket(r -> r.bucket("backups")).bucketRegion());
        assertEquals("eu-west-1", s3.getBucketLocation(r -> r.bucket("backups")).locationConstraintAsString());
        for (var region : List.of("ap-south-1", "us-east-1")) {
            try (var elsewhere = client(region, b -> {});
                    var anywhere = client(region, b -> b.crossRegionAccessEnabled(true))) {
                if (region.equals("us-east-1")) assertError(400, "AuthorizationHeaderMalformed",
                        () -> elsewhere.listObjectsV2(r -> r.bucket("backups")));
                else assertError(301, "PermanentRedirect", () -> elsewhere.listObjectsV2(r -> r.bucket("backups")));
                aws.clearCalls();
                anywhere.listObjectsV2(r -> r.bucket("backups"));
                anywhere.listObjectsV2(r -> r.bucket("backups"));
                assertEquals(List.of("eu-west-1", "eu-west-1"),
                        aws.calls().stream().filter(Call::ok).map(Call::region).toList());
                assertEquals(1, aws.calls().stream().filter(c -> !c.ok()).count(), aws.calls().toString());
            }
        }
    }

    @Test
    void asksTheBucketsPolicy() {
        var theirs = aws.s3.createBucket("theirs", "eu-west-1", "444455556666");
        assertError(403, "AccessDenied",
                () -> s3.putObject(r -> r.bucket("theirs").key("in/k"), RequestBody.fromBytes(REST)));
        theirs.policy("""
                {"Version": "2012-10-17", "Statement": [
                  {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/operator"},
                   "Action": ["s3:PutObject", "s3:GetObject"],
                          "Resource": "arn:aws:s3:::theirs/in/*"},
                  {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/operator"},
                   "Action": "s3:ListBucket",
                          "Resource": "arn:aws:s3:::theirs",
                   "Condition": {"StringLike": {"s3:prefix": "in/*"}}},
                  {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::theirs/*",
                   "Condition": {"Null": {"s3:if-none-match": "true"},
                                 "Bool": {"s3:ObjectCreationOperation": "true"}}}]}""");
        assertError(403, "AccessDenied",
                () -> s3.putObject(r -> r.bucket("theirs").key("in/k"), RequestBody.fromBytes(REST)));
        s3.putObject(r -> r.bucket("theirs").key("in/k").ifNoneMatch("*"), RequestBody.fromBytes(REST));
        assertError(403, "AccessDenied",
                () -> s3.putObject(r -> r.bucket("theirs").key("out/k").ifNoneMatch("*"), RequestBody.fromBytes(REST)));
        var upload = s3.createMultipartUpload(
                r -> r.bucket("theirs").key("in/large").checksumAlgorithm(ChecksumAlgorithm.CRC32)).uploadId();
        var part = s3.uploadPart(
                r -> r.bucket("theirs").key("in/large").uploadId(upload).partNumber(1)
                        .checksumAlgorithm(ChecksumAlgorithm.CRC32),
                RequestBody.fromBytes(REST));
        Consumer<CompleteMultipartUploadRequest.Builder> complete = r -> r.bucket("theirs").key("in/large")
                .uploadId(upload)
                .multipartUpload(m -> m.parts(CompletedPart.builder().partNumber(1).eTag(part.eTag())
                        .checksumCRC32(part.checksumCRC32()).build()));
        assertError(403, "AccessDenied", () -> s3.completeMultipartUpload(complete));
        s3.completeMultipartUpload(complete.andThen(r -> r.ifNoneMatch("*")));
        assertEquals(2, s3.listObjectsV2(r -> r.bucket("theirs").prefix("in/")).keyCount());
        assertError(403, "AccessDenied", () -> s3.listObjectsV2(r -> r.bucket("theirs")));
        // 404 only for who may list
        assertError(403, "AccessDenied", () -> s3.getObjectAsBytes(r -> r.bucket("theirs").key("in/missing")));
        assertEquals("s3:PutObject", S3.action("s3:UploadPart"));
    }

    @Test
    void refusesAWrongSignatureAndIsBusyOnDemand() {
        try (var wrong = client("eu-west-1",
                b -> b.credentialsProvider(StaticCredentialsProvider
                        .create(AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, "wrong"))))) {
            assertError(403, "SignatureDoesNotMatch", () -> wrong.listObjectsV2(r -> r.bucket("backups")));
        }
        aws.inject(Fault.on("s3:PutObject").throttle());
        assertError(503, "SlowDown", () -> put("k", LARGE));
        aws.inject(Fault.on("s3:PutObject").loseAnswer());
        assertThrows(SdkClientException.class, () -> put("k", LARGE));
        assertEquals(List.of("k"), bucket.keys(), "the answer was lost, not the object");
    }

    // ---- Listings

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 1000})
    void listsInPages(int page) {
        var keys = List.of("a", "b/1", "b/2", "b/c/3", "d e", "d&<é", "f/4");
        keys.forEach(k -> bucket.put(k, REST));
        aws.s3.pageSize = page;
        for (var encoding : new EncodingType[] {null, EncodingType.URL}) {
            assertEquals(keys.stream().sorted().toList(),
                    s3.listObjectsV2Paginator(r -> r.bucket("backups").encodingType(encoding)).contents().stream()
                            .map(o -> o.key()).toList());
            assertEquals(List.of("b/1", "b/2", "b/c/3"),
                    s3.listObjectsV2Paginator(r -> r.bucket("backups").prefix("b/").encodingType(encoding)).contents()
                            .stream().map(o -> o.key()).toList());
            var grouped = s3.listObjectsV2Paginator(r -> r.bucket("backups").delimiter("/").encodingType(encoding))
                    .stream().toList();
            assertEquals(List.of("b/", "f/"),
                    grouped.stream().flatMap(p -> p.commonPrefixes().stream()).map(p -> p.prefix()).toList());
            assertEquals(List.of("a", "d e", "d&<é").stream().sorted().toList(),
                    grouped.stream().flatMap(p -> p.contents().stream()).map(o -> o.key()).toList());
            assertEquals(List.of("b/c/"),
                    s3.listObjectsV2Paginator(
                            r -> r.bucket("backups").prefix("b/").delimiter("/").encodingType(encoding))
                            .commonPrefixes().stream().map(p -> p.prefix()).toList());
            assertEquals(List.of("f/4"),
                    s3.listObjectsV2Paginator(r -> r.bucket("backups").startAfter("d&<é").encodingType(encoding))
                            .contents().stream().map(o -> o.key()).toList());
        }
        assertEquals(2,
                s3.listObjectsV2Paginator(r -> r.bucket("backups").maxKeys(2)).stream().findFirst().get().maxKeys());
        assertError(400, "InvalidArgument", () -> s3.listObjectsV2(r -> r.bucket("backups").continuationToken("!")));
    }

    // ---- Multipart uploads

    private static String create(String key, ChecksumAlgorithm algorithm, ChecksumType type) {
        return s3.createMultipartUpload(
                r -> r.bucket("backups").key(key).checksumAlgorithm(algorithm).checksumType(type)).uploadId();
    }

    private static CompletedPart part(String key, String upload, int number, byte[] bytes) {
        var answer = s3.uploadPart(
                r -> r.bucket("backups").key(key).uploadId(upload).partNumber(number)
                        .checksumAlgorithm(ChecksumAlgorithm.CRC32),
                RequestBody.fromBytes(bytes));
        return CompletedPart.builder().partNumber(number).eTag(answer.eTag()).checksumCRC32(answer.checksumCRC32())
                .build();
    }

    private static byte[] whole(byte[]... parts) {
        var whole = new ByteArrayOutputStream();
        for (var part : parts) whole.writeBytes(part);
        return whole.toByteArray();
    }

    @Test
    void joinsPartsAndComparesTheWholeWithItsChecksum() {
        var upload = create("k", ChecksumAlgorithm.CRC32, ChecksumType.FULL_OBJECT);
        var second = part("k", upload, 2, REST);
        var parts = List.of(part("k", upload, 1, LARGE), second);
        assertEquals(List.of("k"), bucket.uploads());
        assertError(400, "BadDigest",
                () -> s3.completeMultipartUpload(r -> r.bucket("backups").key("k").uploadId(upload)
                        .multipartUpload(m -> m.parts(parts))
                .checksumType(ChecksumType.FULL_OBJECT).checksumCRC32(S3Body.checksum("crc32", LARGE))));
        assertError(400, "InvalidRequest",
                () -> s3.completeMultipartUpload(r -> r.bucket("backups").key("k").uploadId(upload)
                        .multipartUpload(m -> m.parts(parts)).mpuObjectSize(1L)));
        assertError(400, "InvalidRequest",
                () -> s3.completeMultipartUpload(r -> r.bucket("backups").key("k").uploadId(upload)
                        .multipartUpload(m -> m.parts(parts)).checksumType(ChecksumType.COMPOSITE)));
        assertTrue(bucket.keys().isEmpty());
        var whole = whole(LARGE, REST);
        var crc = S3Body.checksum("crc32", whole);
        var answer = s3.completeMultipartUpload(
                r -> r.bucket("backups").key("k").uploadId(upload).multipartUpload(m -> m.parts(parts)).ifNoneMatch("*")
                .checksumType(ChecksumType.FULL_OBJECT).checksumCRC32(crc));
        assertTrue(answer.eTag().endsWith("-2\""));
        assertEquals(crc,
                s3.headObject(r -> r.bucket("backups").key("k").checksumMode(ChecksumMode.ENABLED)).checksumCRC32());
        assertArrayEquals(whole, bucket.get("k"));
        assertTrue(bucket.uploads().isEmpty());
        assertError(404, "NoSuchUpload",
                () -> s3.completeMultipartUpload(
                        r -> r.bucket("backups").key("k").uploadId(upload).multipartUpload(m -> m.parts(parts))));
    }

    @Test
    void makesACompositeChecksumOfSha256() {
        assertError(400, "InvalidRequest", () -> create("k", ChecksumAlgorithm.SHA256, ChecksumType.FULL_OBJECT));
        assertError(400, "InvalidRequest", () -> create("k", ChecksumAlgorithm.CRC64_NVME, ChecksumType.COMPOSITE));
        var upload = create("k", ChecksumAlgorithm.SHA256, null);
        var answer = s3.uploadPart(
                r -> r.bucket("backups").key("k").uploadId(upload).partNumber(1)
                        .checksumAlgorithm(ChecksumAlgorithm.SHA256),
                RequestBody.fromBytes(REST));
        assertError(400, "InvalidRequest", () -> part("k", upload, 2, REST)); // another algorithm
        var part = CompletedPart.builder().partNumber(1).eTag(answer.eTag());
        assertError(400, "InvalidRequest",
                () -> s3.completeMultipartUpload(r -> r.bucket("backups").key("k").uploadId(upload)
                        .multipartUpload(m -> m.parts(part.build()))));
        part.checksumSHA256(answer.checksumSHA256());
        var composite = s3
                .completeMultipartUpload(
                        r -> r.bucket("backups").key("k").uploadId(upload).multipartUpload(m -> m.parts(part.build())))
                .checksumSHA256();
        assertEquals(S3Body.checksum("sha256", Credentials.sha256(REST)) + "-1", composite);
    }

    @Test
    void refusesPartsThatDoNotFit() {
        var upload = create("k", ChecksumAlgorithm.CRC32, ChecksumType.FULL_OBJECT);
        var one = part("k", upload, 1, LARGE);
        var two = part("k", upload, 2, REST);
        var three = part("k", upload, 3, REST);
        assertError(500, "InternalError", () -> complete("k", upload, one, three));
        assertError(400, "InvalidPartOrder", () -> complete("k", upload, two, one));
        assertError(400, "EntityTooSmall", () -> complete("k", upload, one, two, three));
        assertError(400, "InvalidPart", () -> complete("k", upload, one, two.toBuilder().eTag("no").build()));
        assertError(400, "InvalidPart",
                () -> complete("k", upload, one, two.toBuilder().checksumCRC32(one.checksumCRC32()).build()));
        assertError(400, "InvalidPart", () -> complete("k", upload, one, two, three.toBuilder().partNumber(4).build()));
        assertError(400, "MalformedXML", () -> complete("k", upload));
        assertError(404, "NoSuchUpload", () -> complete("other", upload, one));
        for (var number : List.of(0, 10_001))
            assertError(400, "InvalidArgument", () -> part("k", upload, number, REST));
        bucket.put("k", REST);
        assertError(412, "PreconditionFailed",
                () -> s3.completeMultipartUpload(r -> r.bucket("backups").key("k").uploadId(upload).ifNoneMatch("*")
                        .multipartUpload(m -> m.parts(one, two))));
        assertEquals(List.of("k"), bucket.uploads(), "the upload is still there");
        s3.abortMultipartUpload(r -> r.bucket("backups").key("k").uploadId(upload));
        assertError(404, "NoSuchUpload",
                () -> s3.abortMultipartUpload(r -> r.bucket("backups").key("k").uploadId(upload)));
        assertTrue(bucket.uploads().isEmpty());
    }

    private static void complete(String key, String upload, CompletedPart... parts) {
        s3.completeMultipartUpload(
                r -> r.bucket("backups").key(key).uploadId(upload).multipartUpload(m -> m.parts(parts)));
    }

    @Test
    void listsUploadsAndPartsInPages() {
        aws.s3.pageSize = 2;
        var uploads = new ArrayList<String>();
        for (var key : List.of("c", "a", "b", "a", "z"))
            uploads.add(create(key, ChecksumAlgorithm.CRC32, ChecksumType.FULL_OBJECT));
        assertEquals(List.of("a", "a", "b", "c", "z"),
                s3.listMultipartUploadsPaginator(r -> r.bucket("backups")).uploads().stream().map(u -> u.key())
                        .toList());
        assertEquals(2,
                s3.listMultipartUploadsPaginator(r -> r.bucket("backups").prefix("a")).uploads().stream().count());
        IntStream.of(5, 1, 3, 2, 4).forEach(n -> part("c", uploads.get(0), n, Arrays.copyOf(REST, n)));
        assertEquals(List.of("1 1", "2 2", "3 3", "4 4", "5 5"),
                s3.listPartsPaginator(r -> r.bucket("backups").key("c").uploadId(uploads.get(0))).parts().stream()
                        .map(p -> p.partNumber() + " "
                        + p.size()).toList());
        part("c", uploads.get(0), 3, Arrays.copyOf(REST, 30));
        assertEquals(30, s3.listParts(r -> r.bucket("backups").key("c").uploadId(uploads.get(0)).partNumberMarker(2))
                .parts().get(0).size());
        s3.listMultipartUploadsPaginator(r -> r.bucket("backups")).uploads().stream().toList()
                .forEach(u -> s3.abortMultipartUpload(r -> r.bucket("backups").key(u.key()).uploadId(u.uploadId())));
    }

    @Test
    void tellsTheLifecycleToWhoMayKnowIt() {
        assertError(404, "NoSuchLifecycleConfiguration",
                () -> s3.getBucketLifecycleConfiguration(r -> r.bucket("backups")));
        bucket.lifecycle(
                "<Rule><ID>old</ID><Filter><Prefix>projects/</Prefix></Filter><Status>Enabled</Status>"
                        + "<Expiration><Days>365</Days></Expiration></Rule>");
        var rule = s3.getBucketLifecycleConfiguration(r -> r.bucket("backups")).rules().get(0);
        assertEquals("old projects/ Enabled 365", rule.id() + " " + rule.filter().prefix() + " " + rule.statusAsString()
                + " " + rule.expiration().days());
        var foreign = aws.s3.createBucket("lifecycle-of-others", "eu-west-1", "444455556666").lifecycle("<Rule/>");
        foreign.policy(
                "{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"s3:ListBucket\",\"Resource\":\""
                        + foreign.arn() + "\"}}");
        assertError(403, "AccessDenied",
                () -> s3.getBucketLifecycleConfiguration(r -> r.bucket("lifecycle-of-others")));
        foreign.policy(
                "{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\","
                        + "\"Action\":\"s3:GetLifecycleConfiguration\",\"Resource\":\""
                        + foreign.arn() + "\"}}")
                .lifecycle("<Rule><ID>theirs</ID><Filter/><Status>Disabled</Status></Rule>");
        assertEquals("theirs",
                s3.getBucketLifecycleConfiguration(r -> r.bucket("lifecycle-of-others")).rules().get(0).id());
        assertEquals("s3:GetLifecycleConfiguration", S3.action("s3:GetBucketLifecycleConfiguration"));
    }

    // ---- A second client

    @Test
    void servesTheAwsCli() throws Exception {
        assumeTrue(run("aws", "--version").startsWith("0 aws-cli/"), "the AWS CLI is not installed");
        var file = Files.createTempFile("s3-test-", ".bin");
        try {
            Files.write(file, random(20 << 20, 3));
            assertEquals("0",
                    run("aws", "s3", "cp", "--only-show-errors", file.toString(), "s3://backups/cli/large ü.bin")
                            .strip());
            assertArrayEquals(Files.readAllBytes(file), bucket.get("cli/large ü.bin"));
            assertTrue(aws.calls().stream().anyMatch(c -> c.name().equals("s3:CompleteMultipartUpload") && c.ok()),
                    "in parts");
            assertTrue(run("aws", "s3", "ls", "--recursive", "s3://backups/").contains("20971520 cli/large ü.bin"));
            assertTrue(run("aws", "s3", "ls", "s3://backups/").contains("PRE cli/"));
            assertEquals("0",
                    run("aws", "s3", "cp", "--only-show-errors", "s3://backups/cli/large ü.bin", file + ".back")
                            .strip());
            assertEquals(-1, Files.mismatch(file, Path.of(file + ".back")));
            assertTrue(run("aws", "s3api", "get-object", "--bucket", "backups", "--key", "none", "/dev/null")
                    .contains("NoSuchKey"));
        } finally {
            Files.deleteIfExists(file);
            Files.deleteIfExists(Path.of(file + ".back"));
        }
    }

    /** The exit code and what was printed. */
    private static String run(String... command) throws Exception {
        var builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment()
                .putAll(Map.of("AWS_ENDPOINT_URL", aws.endpoint().toString(), "AWS_ACCESS_KEY_ID",
                        LocalAws.ACCESS_KEY_ID,
                        "AWS_SECRET_ACCESS_KEY", LocalAws.SECRET_ACCESS_KEY, "AWS_DEFAULT_REGION", "eu-west-1",
                        "AWS_CONFIG_FILE", "/dev/null", "LC_ALL", "C.UTF-8"));
        try {
            var process = builder.start();
            process.getOutputStream().close();
            var text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            return process.waitFor() + " " + text;
        } catch (java.io.IOException e) {
            return e.toString();
        }
    }
}
