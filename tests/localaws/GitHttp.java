package localaws;

import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.BufferedOutputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.SequenceInputStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import org.eclipse.jgit.errors.CorruptObjectException;
import org.eclipse.jgit.errors.PackProtocolException;
import org.eclipse.jgit.errors.UnpackException;
import org.eclipse.jgit.lib.Config;
import org.eclipse.jgit.storage.pack.PackConfig;
import org.eclipse.jgit.transport.PacketLineOut;
import org.eclipse.jgit.transport.ReceiveCommand;
import org.eclipse.jgit.transport.ReceivePack;
import org.eclipse.jgit.transport.RefAdvertiser.PacketLineOutRefAdvertiser;
import org.eclipse.jgit.transport.TransferConfig;
import org.eclipse.jgit.transport.UploadPack;
import org.eclipse.jgit.transport.UploadPackInternalServerErrorException;
import software.amazon.awssdk.regions.Region;

/**
 * Git's smart HTTP protocol for {@link CodeCommit}'s repositories, with CodeCommit's sign-in: Basic, the password a
 * signature of a "GIT" request.
 */
final class GitHttp {
    private static final Pattern PATH = Pattern
            .compile("(/v1/repos/([\\w.-]{1,100}))/(info/refs|git-upload-pack|git-receive-pack)");
    private static final Pattern PASSWORD = Pattern.compile("(\\d{8}T\\d{6})Z([0-9a-f]{64})");
    private static final Pattern HOST = Pattern.compile("(?:vpce-.+\\.)?git-codecommit(?:-fips)?\\.([^.]+)\\..+");
    private static final Pattern COMMAND = Pattern.compile("[0-9a-f]{40} ([0-9a-f]{40}) ([^\0\n]+)(?:[\0\n].*)?",
            Pattern.DOTALL);
    private static final Duration AGE = Duration.ofMinutes(15);
    private static final int UPDATES_PER_PUSH = 4_000;

    private final LocalAws aws;

    GitHttp(LocalAws aws) {
        this.aws = aws;
    }

    void handle(LocalAws.Request request) throws IOException {
        try {
            var path = PATH.matcher(request.path());
            if (!path.matches()) throw new AwsError(404, "NotFound", "Not found");
            var advertises = path.group(3).equals("info/refs");
            var service = advertises ? request.query.getOrDefault("service", "") : path.group(3);
            if (!request.method().equals(advertises ? "GET" : "POST")) {
                throw new AwsError(405, "MethodNotAllowed", "Method not allowed");
            }
            if (!service.equals("git-upload-pack") && !service.equals("git-receive-pack")) {
                throw new AwsError(403, "Forbidden", "Only Git's smart HTTP protocol is offered");
            }
            request.name = service.equals("git-upload-pack") ? "codecommit:GitPull" : "codecommit:GitPush";
            request.input = Models.JSON.createObjectNode().put("repositoryName", path.group(2)).put("path",
                    path.group(3));
            request.caller = authenticate(request, path.group(1), path.group(2));
            request.named(request.name, request.input);
            if (request.throttled()) throw new AwsError(429, "ThrottlingException", "Rate Exceeded");
            var codecommit = aws.account(request.caller.account()).codecommit;
            if (service.equals("git-upload-pack") || advertises) {
                authorize(request, codecommit.on(request.name, path.group(2), request.caller));
            }
            var repo = codecommit.repository(request.caller.region(), path.group(2));
            if (repo == null) {
                throw new AwsError(404, "RepositoryDoesNotExistException", path.group(2) + " does not exist");
            }
            checkKey(repo, service, request.caller);
            if (!advertises && !("application/x-" + service + "-request").equals(request.header("Content-Type"))) {
                throw new AwsError(415, "UnsupportedMediaType", "Unsupported media type");
            }
            if (service.equals("git-upload-pack")) {
                pull(request, repo, advertises, codecommit.gitProtocolV2);
            } else if (advertises) {
                advertise(request, repo);
            } else {
                push(request, repo, codecommit.on(request.name, path.group(2), request.caller), codecommit);
            }
        } catch (AwsError e) {
            request.error = e.code;
            if (e.status == 401) {
                request.exchange.getResponseHeaders().set("WWW-Authenticate", "Basic realm=\"git-codecommit\"");
            }
            request.answer(e.status, "text/plain; charset=utf-8", e.getMessage() + "\n");
        }
    }

    private void authorize(LocalAws.Request request, Need... needs) {
        for (var need : needs) {
            var result = aws.authorizer.decide(request.caller, need);
            if (result.decision() != PolicyEvaluator.Decision.allowed) {
                throw new AwsError(403, "AccessDenied", Authorizer.message(request.caller, need, result));
            }
        }
    }

    private static void checkKey(CodeCommit.Repo repo, String service, Caller caller) {
        try {
            if (service.equals("git-upload-pack")) {
                repo.checkKey(caller);
            } else {
                repo.checkKeyForWriting(caller);
            }
        } catch (AwsError e) {
            throw new AwsError(403, e.code, e.getMessage());
        }
    }

    private Caller authenticate(LocalAws.Request request, String path, String name) {
        var authorization = request.header("Authorization");
        if (authorization == null) throw new AwsError(401, "MissingAuthenticationToken", "Authentication is required");
        var denied = new AwsError(403, "AccessDenied", "The security credentials are not valid");
        if (!authorization.startsWith("Basic ")) throw denied;
        String user;
        String password;
        try {
            var decoded = new String(Base64.getDecoder().decode(authorization.substring(6)), StandardCharsets.UTF_8)
                    .split(":", 2);
            if (decoded.length < 2) throw denied;
            user = decoded[0];
            password = decoded[1];
        } catch (IllegalArgumentException e) {
            throw denied;
        }
        var percent = user.indexOf('%');
        var key = aws.credentials.get(percent < 0 ? user : user.substring(0, percent));
        var token = percent < 0 ? null : user.substring(percent + 1);
        if (key == null || !java.util.Objects.equals(key.token(), token) || aws.now().isAfter(key.expiry())) {
            throw denied;
        }
        // clients that take the host from a URL leave the port out; git-remote-codecommit signs CODE_COMMIT_ENDPOINT
        // with it
        var host = request.header("Host").replaceFirst(":\\d+$", "");
        var hosts = List.of(host, request.header("Host"));
        return regions(host, name, key.account()).stream()
                .filter(region -> hosts.stream()
                        .anyMatch(h -> signed(key.secret(), h, path, region, password, Instant.now())))
                .findFirst()
                .map(region -> key.caller(region, request.endpoint)).orElseThrow(() -> denied);
    }

    /**
     * The Region of the endpoint. This one endpoint stands for those of all Regions: there, those that have such a
     * repository, else any.
     */
    private List<String> regions(String host, String name, String account) {
        var matcher = HOST.matcher(host);
        if (matcher.matches()) return List.of(matcher.group(1));
        var all = Region.regions().stream().map(Region::id).toList();
        var codecommit = aws.account(account).codecommit;
        var having = all.stream().filter(region -> codecommit.repository(region, name) != null).toList();
        return having.isEmpty() ? all : having;
    }

    /** Whether this is the password for a repository, not older than 15 minutes. */
    static boolean signed(String secret, String host, String path, String region, String password, Instant now) {
        var matcher = PASSWORD.matcher(password);
        if (!matcher.matches()) return false;
        try {
            if (Duration.between(Instant.from(Credentials.TIME.parse(matcher.group(1) + "Z")), now).abs().compareTo(AGE)
                    > 0) {
                return false;
            }
        } catch (DateTimeException e) {
            return false;
        }
        return MessageDigest.isEqual(signature(secret, host, path, region, matcher.group(1)).getBytes(),
                matcher.group(2).getBytes());
    }

    /** The user name of Git's sign-in. */
    static String user(LocalAws.Login login) {
        return login.accessKeyId() + (login.sessionToken() == null ? "" : "%" + login.sessionToken());
    }

    /** The password, good for 15 minutes. */
    static String password(String secret, String host, String path, String region) {
        var time = Credentials.TIME.format(Instant.now()).replace("Z", "");
        return time + "Z" + signature(secret, host, path, region, time);
    }

    /** @param time as yyyyMMdd'T'HHmmss, without the Z */
    static String signature(String secret, String host, String path, String region, String time) {
        return Credentials.sign(secret, time.substring(0, 8), region, "codecommit", time,
                "GIT\n" + path + "\n\nhost:" + host + "\n\nhost\n");
    }

    private void pull(LocalAws.Request request, CodeCommit.Repo repo, boolean advertises, boolean protocolV2)
            throws IOException {
        var upload = new UploadPack(repo.readable());
        upload.setBiDirectionalPipe(false);
        var config = new Config();
        config.setString("protocol", null, "version", protocolV2 ? "2" : "0");
        upload.setTransferConfig(new TransferConfig(config));
        var packing = new PackConfig(repo.readable());
        // to look for deltas in large files, which are random in tests, would take most of the time
        packing.setBigFileThreshold(8 << 10);
        upload.setPackConfig(packing);
        var protocol = request.header("Git-Protocol");
        if (protocol != null) upload.setExtraParameters(List.of(protocol.split(":")));
        var out = new EndKeptBack(answer(request,
                advertises ? "application/x-git-upload-pack-advertisement" : "application/x-git-upload-pack-result"));
        if (advertises) {
            upload.sendAdvertisedRefs(new PacketLineOutRefAdvertiser(new PacketLineOut(out)), "git-upload-pack");
        } else {
            try {
                upload.upload(body(request), out, null);
            } catch (UploadPackInternalServerErrorException e) {
                if (e.getCause() instanceof Fault.Cut) throw (Fault.Cut) e.getCause();
                request.error = e.getCause().toString(); // which JGit tells the client, as the end of the answer
                request.log();
            }
        }
        out.close();
    }

    /** Keeps the end of an answer until it is closed: what it says of an error has to be in the log first. */
    private static final class EndKeptBack extends BufferedOutputStream {
        EndKeptBack(OutputStream answer) {
            super(answer);
        }

        @Override
        public void flush() {
            // a client has sent all that it has to say, and so waits for the end in any case
        }

        @Override
        public void close() throws IOException {
            super.flush();
            out.close();
        }
    }

    private void advertise(LocalAws.Request request, CodeCommit.Repo repo) throws IOException {
        var receive = new ReceivePack(repo.git());
        receive.setBiDirectionalPipe(false);
        var out = answer(request, "application/x-git-receive-pack-advertisement");
        var lines = new PacketLineOut(out);
        lines.writeString("# service=git-receive-pack\n");
        lines.end();
        receive.sendAdvertisedRefs(new PacketLineOutRefAdvertiser(lines));
        out.close();
    }

    /**
     * A push is authorised a second time with the refs that it names, before anything is received: the first request,
     * for the advertisement, names none.
     */
    private void push(LocalAws.Request request, CodeCommit.Repo repo, Need need, CodeCommit codecommit)
            throws IOException {
        var body = new PushbackBody(body(request));
        var references = body.references();
        request.pushed = body.commands;
        try {
            var key = "codecommit:References";
            if (references.isEmpty()) {
                authorize(request, need);
            } else if (codecommit.referencesAsList) {
                authorize(request, need.list(key, references));
            } else {
                authorize(request, references.stream().map(ref -> need.key(key, ref)).toArray(Need[]::new));
            }
        } catch (AwsError e) {
            body.transferTo(OutputStream.nullOutputStream()); // git reads the answer only when it has sent all
            throw e;
        }
        var receive = new ReceivePack(repo.git());
        receive.setBiDirectionalPipe(false);
        receive.setPreReceiveHook((pack, commands) -> refuse(commands, repo.defaultBranch()));
        receive.setPostReceiveHook((pack, commands) -> repo.pushed(commands, request.caller));
        // whole before it is sent, so that a lost answer is an answer to a finished push
        var report = new ByteArrayOutputStream();
        try {
            receive.receive(body, report, null);
        } catch (UnpackException | PackProtocolException | CorruptObjectException e) {
            if (e.getCause() instanceof Fault.Cut) throw (Fault.Cut) e.getCause();
            request.error = e.toString(); // which is in the report
            body.transferTo(OutputStream.nullOutputStream());
        }
        try (var out = answer(request, "application/x-git-receive-pack-result")) {
            report.writeTo(out);
        }
    }

    private static void refuse(Iterable<ReceiveCommand> commands, String defaultBranch) {
        var count = 0;
        for (var command : commands) {
            count++;
            var name = command.getRefName().replaceFirst("^refs/(heads|tags)/", "");
            if (name.length() > 256 || name.matches("[0-9a-f]{40}")) {
                command.setResult(ReceiveCommand.Result.REJECTED_OTHER_REASON,
                        "names have at most 256 characters and are no commit ids");
            }
            if (command.getType() == ReceiveCommand.Type.DELETE
                    && command.getRefName().equals("refs/heads/" + defaultBranch)) {
                command.setResult(ReceiveCommand.Result.REJECTED_NODELETE, "the default branch cannot be deleted");
            }
        }
        if (count > UPDATES_PER_PUSH) {
            for (var command : commands) {
                command.setResult(ReceiveCommand.Result.REJECTED_OTHER_REASON, "Too many reference update commands");
            }
        }
    }

    /** The body of a push, whose commands are looked at before it is read. */
    private static final class PushbackBody extends SequenceInputStream {
        /** The ref and the commit of each, as CloudTrail tells them. */
        final ArrayNode commands;

        PushbackBody(InputStream in) throws IOException {
            this(new ByteArrayOutputStream(), Models.JSON.createArrayNode(), in);
        }

        private PushbackBody(ByteArrayOutputStream head, ArrayNode commands, InputStream in) throws IOException {
            super(new ByteArrayInputStream(commands(in, head, commands)), in);
            this.commands = commands;
        }

        /** The refs that the push names, in its order. */
        List<String> references() {
            return commands.valueStream().map(command -> command.get("ref").asText()).toList();
        }

        /** Reads the packet lines up to the flush: old id, new id, ref, and after the first a NUL and capabilities. */
        private static byte[] commands(InputStream in, ByteArrayOutputStream head, ArrayNode commands)
                throws IOException {
            while (true) {
                var length = in.readNBytes(4);
                head.write(length);
                var text = new String(length, StandardCharsets.US_ASCII);
                if (!text.matches("[0-9a-fA-F]{4}") || text.equals("0000")) return head.toByteArray();
                var line = in.readNBytes(Math.max(0, Integer.parseInt(text, 16) - 4));
                head.write(line);
                var command = COMMAND.matcher(new String(line, StandardCharsets.UTF_8));
                if (command.matches()) {
                    commands.addObject().put("commit", command.group(1)).put("ref", command.group(2));
                }
            }
        }
    }

    private static InputStream body(LocalAws.Request request) throws IOException {
        return "gzip".equals(request.header("Content-Encoding")) ? new GZIPInputStream(request.body()) : request.body();
    }

    private static OutputStream answer(LocalAws.Request request, String type) throws IOException {
        return request.answer(200, Map.of("Content-Type", type, "Cache-Control", "no-cache"), -1);
    }
}
