import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;

/**
 * git with a small repository of its own, signed in at CodeCommit as whom one likes. The sign-in is in the environment
 * of git, never among its arguments.
 */
final class SignedGit {
    /** What a process returned and printed. */
    record Run(int exitCode, String out, String err) {
        String lastLine() {
            return err.lines().filter(line -> !line.isBlank()).reduce((first, second) -> second)
                    .orElse("exit code " + exitCode);
        }
    }

    private final Path repository;
    private final String region;
    private final Random random = new Random();
    private String url;
    private AwsCredentials credentials;

    SignedGit(Path work, String region) throws IOException, InterruptedException {
        this.region = region;
        repository = Files.createDirectory(work.resolve("repository"));
        git("init", "--quiet", "--bare");
    }

    /** The repository at CodeCommit, and who asks it. */
    SignedGit use(String cloneUrl, AwsCredentials who) {
        url = cloneUrl;
        return as(who);
    }

    SignedGit as(AwsCredentials who) {
        credentials = who;
        return this;
    }

    String url() {
        return url;
    }

    /** The id of a new commit without a parent. */
    String commit(String message) throws IOException, InterruptedException {
        var tree = git("write-tree").out().strip();
        return git("commit-tree", "-m", message, tree).out().strip();
    }

    /** The id of a commit with a file that cannot be compressed. */
    String blob(int mib) throws IOException, InterruptedException {
        var bytes = new byte[mib << 20];
        random.nextBytes(bytes);
        var file = Files.write(repository.resolve("blob"), bytes);
        var blob = git("hash-object", "-w", file.toString()).out().strip();
        var tree = builder(repository, List.of("git", "mktree")).start();
        try (var stdin = tree.getOutputStream()) {
            stdin.write(("100644 blob " + blob + "\tblob\n").getBytes(StandardCharsets.UTF_8));
        }
        Files.delete(file);
        return git("commit-tree", "-m", mib + " MiB", finish(tree).out().strip()).out().strip();
    }

    Run push(String commit, String... refs) throws IOException, InterruptedException {
        var arguments = new ArrayList<>(List.of("push", "--force", url));
        for (var ref : refs) {
            arguments.add(commit + ":" + ref);
        }
        return git(arguments.toArray(new String[0]));
    }

    /** All refs with their ids, as git ls-remote prints them. */
    String refs() throws IOException, InterruptedException {
        return git("ls-remote", url).out();
    }

    private Run git(String... arguments) throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of("git"));
        command.addAll(List.of(arguments));
        var builder = builder(repository, command);
        builder.environment().putAll(Map.of("GIT_AUTHOR_NAME", "acceptance", "GIT_AUTHOR_EMAIL", "a@example.com",
                "GIT_COMMITTER_NAME", "acceptance", "GIT_COMMITTER_EMAIL", "a@example.com",
                "GIT_TERMINAL_PROMPT", "0"));
        if (url != null) {
            builder.environment().putAll(Map.of("GIT_CONFIG_COUNT", "2", "GIT_CONFIG_KEY_0", "credential.helper",
                    "GIT_CONFIG_VALUE_0", "", "GIT_CONFIG_KEY_1", "http." + url + ".extraHeader",
                    "GIT_CONFIG_VALUE_1", "Authorization: " + authorization()));
        }
        return finish(builder.start());
    }

    static ProcessBuilder builder(Path directory, List<String> command) {
        return new ProcessBuilder(command).directory(directory.toFile());
    }

    static Run run(Path directory, String... command) throws IOException, InterruptedException {
        return finish(builder(directory, List.of(command)).start());
    }

    static Run finish(Process process) throws IOException, InterruptedException {
        process.getOutputStream().close();
        var err = CompletableFuture.supplyAsync(() -> read(process));
        var out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Run(process.waitFor(), out, err.join());
    }

    private static String read(Process process) {
        try {
            return new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            return e.toString();
        }
    }

    /** A request named GIT, signed as AWS signs requests (Signature Version 4); good for about 15 minutes. */
    String authorization() {
        var target = URI.create(url);
        var stamp = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss").withZone(ZoneOffset.UTC).format(Instant.now());
        var scope = stamp.substring(0, 8) + "/" + region + "/codecommit/aws4_request";
        try {
            var request = MessageDigest.getInstance("SHA-256").digest(("GIT\n" + target.getRawPath() + "\n\nhost:"
                    + target.getHost() + "\n\nhost\n").getBytes(StandardCharsets.UTF_8));
            var key = ("AWS4" + credentials.secretAccessKey()).getBytes(StandardCharsets.UTF_8);
            for (var part : scope.split("/")) {
                key = hmac(key, part);
            }
            var signature = hmac(key, "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n"
                    + HexFormat.of().formatHex(request));
            var token = credentials instanceof AwsSessionCredentials session ? "%" + session.sessionToken() : "";
            var signIn = credentials.accessKeyId() + token + ":" + stamp + "Z" + HexFormat.of().formatHex(signature);
            return "Basic " + Base64.getEncoder().encodeToString(signIn.getBytes(StandardCharsets.UTF_8));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private static byte[] hmac(byte[] key, String text) throws GeneralSecurityException {
        var mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }
}
