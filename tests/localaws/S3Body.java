package localaws;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.zip.CRC32;
import java.util.zip.CRC32C;
import java.util.zip.Checksum;

/**
 * What a client sends as an object or a part: out of its chunks into a file, with all that headers, chunks and trailer
 * say of it checked.
 */
final class S3Body {
    /** The checksums that S3 knows, by the end of their header's name. */
    static final List<String> ALGORITHMS = List.of("crc32", "crc32c", "crc64nvme", "sha1", "sha256");
    private static final long LARGEST = 5L << 30;
    private static final AwsError TRUNCATED = new AwsError("IncompleteBody",
            "The request body terminated unexpectedly");
    private static final AwsError BAD_TRAILER =
            new AwsError("MalformedTrailerError",
                    "The request contained trailing data that was not well-formed or did not conform to our "
                            + "published schema.");

    private final Map<String, String> headers;
    private final Credentials.Scope scope;
    private final UnaryOperator<String> sign;
    /** The header or trailer that has the checksum, or null. */
    private final String named;
    final Path file;
    long size;
    String md5;
    /** The client's own checksum, or null when it sent none; S3 then has one of its own. */
    final String given;
    final String algorithm;
    String checksum;

    /** @param sign signs a text as the client must have signed its chunks; null when there can be none */
    S3Body(Map<String, String> headers, Credentials.Scope scope, UnaryOperator<String> sign, Path file) {
        this.headers = headers;
        this.scope = scope;
        this.sign = sign;
        this.file = file;
        var sums = headers.keySet().stream()
                .filter(name -> name.startsWith("x-amz-checksum-") && ALGORITHMS.contains(name.substring(15))).toList();
        var trailer = headers.get("x-amz-trailer");
        if (sums.size() + (trailer == null ? 0 : 1) > 1) {
            throw new AwsError("InvalidRequest",
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.");
        }
        named = sums.isEmpty() ? trailer : sums.get(0);
        given = named == null ? null : named.replace("x-amz-checksum-", "");
        if (given != null && !ALGORITHMS.contains(given)) {
            throw new AwsError("InvalidRequest", "The value specified in the x-amz-trailer header is not supported");
        }
        algorithm = given == null ? "crc64nvme" : given;
        var announced = headers.get("x-amz-sdk-checksum-algorithm");
        if (announced != null && !announced.equalsIgnoreCase(given)) {
            throw new AwsError("InvalidRequest",
                    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer "
                            + "headers were found.");
        }
    }

    void read(InputStream in) throws IOException {
        var hash = headers.getOrDefault("x-amz-content-sha256", "");
        var chunked = hash.startsWith("STREAMING-");
        var length = headers.get(chunked ? "x-amz-decoded-content-length" : "content-length");
        if (length == null) {
            throw new AwsError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.");
        }
        if (Long.parseLong(length) > LARGEST) {
            throw new AwsError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size");
        }
        var sums = new LinkedHashMap<String, Sum>();
        for (var name : List.of("md5", hash.length() == 64 ? "sha256" : algorithm, algorithm)) {
            sums.computeIfAbsent(name, S3Body::sum);
        }
        var done = false;
        try {
            var expected = named == null ? null : headers.get(named);
            try (var out = new Out(Files.newOutputStream(file), sums)) {
                if (!chunked) {
                    in.transferTo(out);
                } else if (hash.endsWith("-TRAILER")) {
                    expected = new Chunks(in, hash).copy(out).get(named);
                    if (expected == null) throw BAD_TRAILER;
                } else {
                    new Chunks(in, hash).copy(out);
                }
                size = out.size;
            }
            var own = new LinkedHashMap<String, byte[]>();
            sums.forEach((name, sum) -> own.put(name, sum.value()));
            md5 = Credentials.hex(own.get("md5"));
            checksum = base64(own.get(algorithm));
            check(hash, length, expected, own);
            done = true;
        } finally {
            if (!done) Files.deleteIfExists(file);
        }
    }

    private void check(String hash, String length, String expected, Map<String, byte[]> own) {
        if (size != Long.parseLong(length)) {
            throw new AwsError("IncompleteBody",
                    "You did not provide the number of bytes specified by the Content-Length HTTP header");
        }
        if (hash.matches("[0-9a-f]{64}") && !hash.equals(Credentials.hex(own.get("sha256")))) {
            throw new AwsError("XAmzContentSHA256Mismatch",
                    "The provided 'x-amz-content-sha256' header does not match what was computed.");
        }
        var contentMd5 = headers.get("content-md5");
        if (contentMd5 != null && !contentMd5.matches("[A-Za-z0-9+/]{22}==")) {
            throw new AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.");
        }
        if (contentMd5 != null && !contentMd5.equals(base64(own.get("md5")))) {
            throw new AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.");
        }
        if (expected != null && expected.length() != checksum.length()) {
            throw new AwsError("InvalidRequest", "Value for " + named + " header is invalid.");
        }
        if (expected != null && !expected.equals(checksum)) {
            throw new AwsError("BadDigest",
                    "The " + given.toUpperCase(Locale.ROOT) + " you specified did not match the calculated checksum.");
        }
    }

    /** Into the file and every sum. */
    private static final class Out extends OutputStream {
        private final OutputStream file;
        private final Map<String, Sum> sums;
        long size;

        Out(OutputStream file, Map<String, Sum> sums) {
            this.file = file;
            this.sums = sums;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int from, int count) throws IOException {
            file.write(bytes, from, count);
            sums.values().forEach(s -> s.update(bytes, from, count));
            size += count;
        }

        @Override
        public void close() throws IOException {
            file.close();
        }
    }

    /** The aws-chunked encoding: chunks with or without signatures, then a trailer. */
    private final class Chunks {
        private final InputStream in;
        private final boolean signed;
        private String signature;

        Chunks(InputStream in, String kind) {
            this.in = in;
            signed = kind.matches("STREAMING-AWS4-HMAC-SHA256-PAYLOAD(-TRAILER)?");
            signature = scope.signature();
            if (!signed && !kind.equals("STREAMING-UNSIGNED-PAYLOAD-TRAILER")) {
                throw new AwsError("InvalidRequest", "The value of x-amz-content-sha256 header is invalid.");
            }
        }

        /** Gives the trailer. */
        Map<String, String> copy(OutputStream out) throws IOException {
            for (;;) {
                var head = line().split(";chunk-signature=");
                if (!head[0].matches("[0-9a-fA-F]{1,7}") || signed != (head.length == 2)) {
                    throw new AwsError("InvalidChunkSizeError",
                            "Only the last chunk is allowed to have a size less than 8192 bytes");
                }
                var bytes = in.readNBytes(Integer.parseInt(head[0], 16));
                if (bytes.length < Integer.parseInt(head[0], 16)) throw TRUNCATED;
                if (signed) verify("AWS4-HMAC-SHA256-PAYLOAD", hash(new byte[0]) + "\n" + hash(bytes), head[1]);
                if (bytes.length == 0) return trailer();
                out.write(bytes);
                if (!line().isEmpty()) throw TRUNCATED;
            }
        }

        private Map<String, String> trailer() throws IOException {
            var trailer = new LinkedHashMap<String, String>();
            for (var line = line(); !line.isEmpty(); line = line()) {
                var colon = line.indexOf(':');
                if (colon < 0) throw BAD_TRAILER;
                trailer.put(line.substring(0, colon), line.substring(colon + 1).trim());
            }
            var given = trailer.remove("x-amz-trailer-signature");
            if (!signed || trailer.isEmpty()) return trailer;
            var text = new StringBuilder();
            trailer.forEach((name, value) -> text.append(name).append(':').append(value).append('\n'));
            verify("AWS4-HMAC-SHA256-TRAILER", hash(text.toString().getBytes(StandardCharsets.UTF_8)), given);
            return trailer;
        }

        private void verify(String kind, String hashes, String given) {
            var area = scope.date() + "/" + scope.region() + "/s3/aws4_request";
            signature = sign
                    .apply(kind + "\n" + headers.get("x-amz-date") + "\n" + area + "\n" + signature + "\n" + hashes);
            if (!signature.equals(given)) {
                throw new AwsError(403, "SignatureDoesNotMatch",
                        "The request signature we calculated does not match the signature you provided.");
            }
        }

        private static String hash(byte[] bytes) {
            return Credentials.hex(Credentials.sha256(bytes));
        }

        private String line() throws IOException {
            var line = new StringBuilder();
            for (int b; (b = in.read()) >= 0 && line.length() < 1000; line.append((char) b)) {
                if (b == '\n') return line.toString().stripTrailing();
            }
            throw TRUNCATED;
        }
    }

    /** A digest or a CRC. */
    private interface Sum {
        void update(byte[] bytes, int from, int count);

        byte[] value();
    }

    private static Sum sum(String name) {
        return switch (name) {
            case "md5" -> sum(digest("MD5"));
            case "sha1" -> sum(digest("SHA-1"));
            case "sha256" -> sum(digest("SHA-256"));
            case "crc32" -> sum(new CRC32(), 4);
            case "crc32c" -> sum(new CRC32C(), 4);
            default -> sum(new Crc64Nvme(), 8);
        };
    }

    private static Sum sum(MessageDigest digest) {
        return new Sum() {
            @Override
            public void update(byte[] bytes, int from, int count) {
                digest.update(bytes, from, count);
            }

            @Override
            public byte[] value() {
                return digest.digest();
            }
        };
    }

    private static Sum sum(Checksum crc, int length) {
        return new Sum() {
            @Override
            public void update(byte[] bytes, int from, int count) {
                crc.update(bytes, from, count);
            }

            @Override
            public byte[] value() {
                return Arrays.copyOfRange(ByteBuffer.allocate(8).putLong(crc.getValue()).array(), 8 - length, 8);
            }
        };
    }

    private static final class Crc64Nvme implements Checksum {
        private static final long[] TABLE = new long[256];

        static {
            for (var i = 0; i < 256; i++) {
                long c = i;
                for (var bit = 0; bit < 8; bit++) c = (c & 1) == 0 ? c >>> 1 : c >>> 1 ^ 0x9A6C9329AC4BC9B5L;
                TABLE[i] = c;
            }
        }

        private long crc = -1;

        @Override
        public void update(int b) {
            crc = crc >>> 8 ^ TABLE[(int) (crc ^ b) & 0xFF];
        }

        @Override
        public void update(byte[] bytes, int from, int count) {
            for (var i = from; i < from + count; i++) update(bytes[i]);
        }

        @Override
        public long getValue() {
            return ~crc;
        }

        @Override
        public void reset() {
            crc = -1;
        }
    }

    static MessageDigest digest(String name) {
        try {
            return MessageDigest.getInstance(name);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    static String checksum(String algorithm, byte[] bytes) {
        var sum = sum(algorithm);
        sum.update(bytes, 0, bytes.length);
        return base64(sum.value());
    }

    static String checksum(String algorithm, Path file) throws IOException {
        var sum = sum(algorithm);
        try (var in = Files.newInputStream(file)) {
            var buffer = new byte[64 << 10];
            for (int n; (n = in.read(buffer)) > 0; ) sum.update(buffer, 0, n);
        }
        return base64(sum.value());
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }
}
