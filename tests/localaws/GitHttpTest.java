package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;

/** Git over HTTP as git itself sees it: sign-in, protocols, pushes, faults. */
class GitHttpTest {
    static final LocalAws aws = LocalAws.start();
    static final String REGION = "eu-west-1";

    @TempDir
    Path temp;

    @AfterAll
    static void stop() {
        aws.close();
    }

    @BeforeEach
    void clear() {
        aws.clearCalls();
        aws.clearFaults();
    }

    /** A finished git: its exit code and all it said. */
    record Git(int exitCode, String out) { }

    /** Runs git without anything of this machine's or user's configuration. */
    Git git(Path directory, String... arguments) throws Exception {
        var command = new ArrayList<>(List.of("git"));
        command.addAll(Arrays.asList(arguments));
        var log = Files.createTempFile(temp, "git", ".log");
        var builder = new ProcessBuilder(command).directory(directory.toFile()).redirectErrorStream(true)
                .redirectOutput(log.toFile());
        builder.environment().keySet()
                .removeIf(name -> name.startsWith("GIT_") || name.toLowerCase().endsWith("_proxy"));
        builder.environment()
                .putAll(java.util.Map.of("GIT_CONFIG_GLOBAL", "/dev/null", "GIT_CONFIG_NOSYSTEM", "1",
                        "GIT_TERMINAL_PROMPT", "0", "GIT_AUTHOR_NAME", "Ada",
                        "GIT_AUTHOR_EMAIL", "ada@example.com", "GIT_COMMITTER_NAME", "Ada", "GIT_COMMITTER_EMAIL",
                        "ada@example.com"));
        return new Git(builder.start().waitFor(), Files.readString(log));
    }

    String done(Path directory, String... arguments) throws Exception {
        var git = git(directory, arguments);
        assertEquals(0, git.exitCode(), () -> String.join(" ", arguments) + ": " + git.out());
        return git.out();
    }

    static String password(String secret, String host, String name, String region, Instant time) {
        var text = Credentials.TIME.format(time).replace("Z", "");
        return text + "Z" + GitHttp.signature(secret, host, "/v1/repos/" + name, region, text);
    }

    static String password(String name) {
        return password(LocalAws.SECRET_ACCESS_KEY, "127.0.0.1", name, REGION, Instant.now());
    }

    /** A URL with the sign-in in it. */
    static String url(String name) {
        return aws.endpoint().toString().replace("http://",
                "http://" + LocalAws.ACCESS_KEY_ID + ":" + password(name) + "@") + "/v1/repos/" + name;
    }

    static HttpResponse<String> get(String name, String user, String password) throws Exception {
        var request = HttpRequest
                .newBuilder(URI.create(aws.endpoint() + "/v1/repos/" + name + "/info/refs?service=git-upload-pack"));
        if (user != null) {
            request.header("Authorization", "Basic "
                    + Base64.getEncoder().encodeToString((user + ":" + password).getBytes(StandardCharsets.UTF_8)));
        }
        return HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    @Test
    void authorisesAPushRefByRefOrWithTheListOfThem() throws Exception {
        var denying = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\","
                + "\"Resource\":\"*\"},{\"Effect\":\"Deny\",\"Action\":\"codecommit:GitPush\",\"Resource\":\"*\","
                + "\"Condition\":{\"%s\":{\"codecommit:References\":\"refs/heads/main\"}}}]}";
        var pusher = aws.iam.createUser("pusher");
        var login = aws.as("arn:aws:iam::111122223333:user/pusher");
        // operator | whether AWS asks for the list | whether main alone is refused | main beside another
        for (var expected : List.of("StringEquals false true true", "StringEquals true false false",
                "ForAnyValue:StringEquals false true true", "ForAnyValue:StringEquals true true true")) {
            var words = expected.split(" ");
            var name = "refs" + expected.hashCode();
            pusher.inline.put("p", denying.formatted(words[0]));
            aws.codecommit.referencesAsList = Boolean.parseBoolean(words[1]);
            aws.codecommit.createRepository(name).commit("refs/heads/main", "a", "a\n");
            done(temp, "clone", "-q", "--bare", url(name), name);
            assertEquals(words[2], refused(login, name, "main"), expected);
            assertEquals(words[3], refused(login, name, "main", "main:refs/heads/other"), expected);
            assertEquals("false", refused(login, name, "main:refs/heads/free"), expected);
        }
        aws.codecommit.referencesAsList = false;
    }

    /** Pushes one more commit. */
    private String refused(LocalAws.Login login, String name, String... refs) throws Exception {
        var clone = temp.resolve(name);
        done(clone, "update-ref", "refs/heads/main",
                done(clone, "commit-tree", "-p", "main", "-m", "more", "main^{tree}").strip());
        var arguments = new ArrayList<>(List.of("-c",
                "http.extraHeader=Authorization: " + aws.gitAuthorization(login, name), "push", "-q",
                aws.endpoint() + "/v1/repos/" + name));
        arguments.addAll(List.of(refs));
        var git = git(clone, arguments.toArray(String[]::new));
        assertEquals(git.exitCode() != 0, git.out().contains("403"), git.out());
        return String.valueOf(git.exitCode() != 0);
    }

    @Test
    void takesAHostThatWasSignedWithItsPort() throws Exception {
        aws.codecommit.createRepository("port").commit("refs/heads/main", "a", "a\n");
        var host = "127.0.0.1:" + aws.endpoint().getPort();
        var signed = password(LocalAws.SECRET_ACCESS_KEY, host, "port", REGION, Instant.now());
        assertEquals(200, get("port", LocalAws.ACCESS_KEY_ID, signed).statusCode());
        var another = password(LocalAws.SECRET_ACCESS_KEY, "127.0.0.1:1", "port", REGION, Instant.now());
        assertEquals(403, get("port", LocalAws.ACCESS_KEY_ID, another).statusCode());
    }

    // AWS_FACTS.md, section 7
    @ParameterizedTest
    @CsvSource({
            "us-east-1, git-codecommit.us-east-1.amazonaws.com, MyDemoRepo, "
                    + "20150830T123600Z088fec8c788f892e6cb940f22a736b224a5a5de18925fa5f02413a1bb215c389",
            "us-east-2, git-codecommit.us-east-2.amazonaws.com, my.demo_repo-1, "
                    + "20261121T040000Z6f2384a0b9a4835df53f0b812d0e5250eda65a0ca836c4cbb2cc25eadb24f543",
            "cn-north-1, git-codecommit.cn-north-1.amazonaws.com.cn, MyDemoRepo, "
                    + "20260102T030405Z6b2e40780c23f6b63859b24ae9f67dea71118bd323eae50409aefa17a46b3932",
            "us-gov-west-1, git-codecommit-fips.us-gov-west-1.amazonaws.com, MyDemoRepo, "
                    + "20260102T030405Z9f87926f8082f3659366e55e6328321f0b72cacd1f36dbf8444d02ad68e8851a",
            "eu-west-1, git-codecommit.eu-west-1.amazonaws.com, dummy-repo, "
                    + "20210901T102523Z670ef0c32f13fc847ed0c001a2b90bc772451c1eb89eadf84a73f3e82da9f56a",
            "us-east-1, vpce-0123456789abcdef0-a1b2c3d4.git-codecommit.us-east-1.vpce.amazonaws.com, MyDemoRepo, "
                    + "20260102T030405Zf81c7c2de24c28486b9871303f67a45b08b7f312f4ffdf84dd7ae262b3294a28",
    })
    void acceptsTheSigningVectorsAndNothingNearThem(String region, String host, String name, String password) {
        var secret = name.equals("dummy-repo") ? "SECRET_ACCESS_KEY" : LocalAws.SECRET_ACCESS_KEY;
        var path = "/v1/repos/" + name;
        var time = Instant.from(Credentials.TIME.parse(password.substring(0, 16)));
        assertTrue(GitHttp.signed(secret, host, path, region, password, time));
        assertTrue(GitHttp.signed(secret, host, path, region, password, time.plusSeconds(900)));
        assertFalse(GitHttp.signed(secret, host, path, region, password, time.plusSeconds(901)), "too old");
        assertFalse(GitHttp.signed(secret, host, path, region, password, time.minusSeconds(901)), "of the future");
        assertFalse(GitHttp.signed(secret + "x", host, path, region, password, time), "secret");
        assertFalse(GitHttp.signed(secret, "x" + host, path, region, password, time), "host");
        assertFalse(GitHttp.signed(secret, host, path + "/", region, password, time), "path");
        assertFalse(GitHttp.signed(secret, host, path, "ap-east-1", password, time), "Region");
        assertFalse(
                GitHttp.signed(secret, host, path, region, password.substring(0, 15) + password.substring(16), time),
                "no Z");
        assertFalse(GitHttp.signed(secret, host, path, region, password.replace('0', '1'), time), "signature");
    }

    @Test
    void asksForASignInAndRefusesAWrongOne() throws Exception {
        aws.codecommit.createRepository("locked").commit("refs/heads/main", "a", "1");
        var anonymous = get("locked", null, null);
        assertEquals(401, anonymous.statusCode());
        assertTrue(anonymous.headers().firstValue("WWW-Authenticate").orElse("").startsWith("Basic"));
        assertEquals(200, get("locked", LocalAws.ACCESS_KEY_ID, password("locked")).statusCode());
        assertEquals(403, get("locked", LocalAws.ACCESS_KEY_ID, password("other")).statusCode(),
                "signed for another repository");
        assertEquals(403,
                get("locked", LocalAws.ACCESS_KEY_ID, password("wrong", "127.0.0.1", "locked", REGION, Instant.now()))
                        .statusCode(),
                "secret");
        assertEquals(403,
                get("locked", LocalAws.ACCESS_KEY_ID,
                        password(LocalAws.SECRET_ACCESS_KEY, "localhost", "locked", REGION, Instant.now()))
                        .statusCode(),
                "host");
        assertEquals(403,
                get("locked", LocalAws.ACCESS_KEY_ID,
                        password(LocalAws.SECRET_ACCESS_KEY, "127.0.0.1", "locked", "us-east-1", Instant.now()))
                        .statusCode(),
                "Region");
        assertEquals(403, get("locked", LocalAws.ACCESS_KEY_ID,
                password(LocalAws.SECRET_ACCESS_KEY, "127.0.0.1", "locked", REGION, Instant.now().minusSeconds(1000)))
                .statusCode(), "age");
        assertEquals(403, get("locked", "AKIANOBODY", password("locked")).statusCode(), "access key");
        assertEquals(403, get("locked", LocalAws.ACCESS_KEY_ID + "%", password("locked")).statusCode(),
                "a token's sign without a token");
        assertEquals(404, get("absent", LocalAws.ACCESS_KEY_ID, password("absent")).statusCode());
        assertEquals(List.of("MissingAuthenticationToken", "AccessDenied", "RepositoryDoesNotExistException"),
                aws.calls().stream().map(Call::error).filter(java.util.Objects::nonNull).distinct().toList());
        assertTrue(aws.calls().stream().allMatch(call -> call.name().equals("codecommit:GitPull")));
    }

    @Test
    void aDisabledKeyLocksARepository() throws Exception {
        var key = aws.kms.createKey(REGION);
        aws.codecommit.createRepository("secret").commit("refs/heads/main", "a", "1").key(key.arn);
        key.state = "Disabled";
        assertEquals(403, get("secret", LocalAws.ACCESS_KEY_ID, password("secret")).statusCode());
        assertEquals("EncryptionKeyDisabledException", aws.calls().get(0).error());
        key.state = "Enabled";
        assertEquals(200, get("secret", LocalAws.ACCESS_KEY_ID, password("secret")).statusCode());
    }

    @Test
    void checksSessionTokens() throws Exception {
        aws.codecommit.createRepository("session").commit("refs/heads/main", "a", "1");
        aws.addCredentials("ASIASESSION", "secret", "to/ken+==", "assumed-role/Backup/night",
                Instant.now().plusSeconds(60));
        aws.addCredentials("ASIAEXPIRED", "secret", "to/ken+==", "assumed-role/Backup/night",
                Instant.now().minusSeconds(60));
        var password = password("secret", "127.0.0.1", "session", REGION, Instant.now());
        assertEquals(200, get("session", "ASIASESSION%to/ken+==", password).statusCode());
        assertEquals("arn:aws:sts::111122223333:assumed-role/Backup/night", aws.calls().get(0).caller());
        assertEquals(403, get("session", "ASIASESSION", password).statusCode(), "no token");
        assertEquals(403, get("session", "ASIASESSION%other", password).statusCode(), "another token");
        assertEquals(403, get("session", "ASIAEXPIRED%to/ken+==", password).statusCode(), "expired");
    }

    @Test
    void aRegionsRepositoriesAreItsOwn() throws Exception {
        aws.codecommit.createRepository("cn-north-1", "china").commit("refs/heads/main", "a", "1");
        assertEquals(200,
                get("china", LocalAws.ACCESS_KEY_ID,
                        password(LocalAws.SECRET_ACCESS_KEY, "127.0.0.1", "china", "cn-north-1", Instant.now()))
                        .statusCode());
        assertEquals("arn:aws-cn:iam::111122223333:user/operator", aws.calls().get(0).caller());
        assertEquals(403, get("china", LocalAws.ACCESS_KEY_ID, password("china")).statusCode());
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void pushesAndClonesEveryRefInEachProtocolVersion(int version) throws Exception {
        var name = "round-trip-" + version;
        var repo = aws.codecommit.createRepository(name);
        var protocol = "protocol.version=" + version;
        var work = Files.createDirectory(temp.resolve("work"));
        done(work, "init", "-q", "-b", "trunk");
        for (var i = 0; i < 40; i++) {
            Files.writeString(work.resolve("file" + i), ("line " + i + "\n").repeat(1000 * (i % 7)));
            done(work, "add", ".");
            done(work, "commit", "-q", "-m", "commit " + i);
            if (i % 10 == 0) done(work, "tag", "-a", "-m", "t", "v" + i);
        }
        done(work, "branch", "odd/ünïcode-\"quoted\"");
        done(work, "-c", protocol, "push", "-q", url(name), "trunk");
        assertEquals("trunk", repo.defaultBranch());
        done(work, "-c", protocol, "push", "-q", "--mirror", url(name));
        done(temp, "-c", protocol, "clone", "-q", url(name), "clone");
        assertEquals(done(work, "rev-parse", "HEAD"), done(temp.resolve("clone"), "rev-parse", "HEAD"));
        assertTrue(Files.exists(temp.resolve("clone/file39")), "HEAD is the first pushed branch");
        done(temp, "-c", protocol, "clone", "-q", "--mirror", url(name), "mirror.git");
        assertEquals(done(work, "for-each-ref"), done(temp.resolve("mirror.git"), "for-each-ref"));
        done(temp.resolve("mirror.git"), "fsck", "--strict");
        // an increment, from a clone that has much in common: several rounds of negotiation
        Files.writeString(work.resolve("more"), "more");
        done(work, "add", ".");
        done(work, "commit", "-q", "-m", "more");
        done(work, "-c", protocol, "push", "-q", url(name), "trunk", ":refs/tags/v0");
        done(temp.resolve("clone"), "-c", protocol, "fetch", "-q", url(name), "trunk");
        assertEquals(done(work, "rev-parse", "HEAD"), done(temp.resolve("clone"), "rev-parse", "FETCH_HEAD"));
        assertEquals(null, repo.resolve("refs/tags/v0"));
        var calls = aws.calls().stream().filter(call -> call.status() == 200)
                .map(call -> call.name() + " " + call.input().get("path").asText()).distinct().toList();
        assertEquals(List.of("codecommit:GitPush info/refs", "codecommit:GitPush git-receive-pack",
                "codecommit:GitPull info/refs", "codecommit:GitPull git-upload-pack"), calls);
    }

    @Test
    void aPushToTheSourceBranchUpdatesItsPullRequest() throws Exception {
        var repo = aws.codecommit.createRepository("reviewed").commit("refs/heads/main", "a", "1")
                .commit("refs/heads/feature", "a", "2");
        repo.approve(repo.pullRequest("change", "feature", "main"), "arn:aws:iam::111122223333:user/alice");
        try (var codecommit = CodeCommitClient.builder().endpointOverride(aws.endpoint()).region(Region.EU_WEST_1)
                .credentialsProvider(StaticCredentialsProvider.create(LocalAwsTest.RIGHT))
                .httpClient(UrlConnectionHttpClient.create()).build()) {
            var id = codecommit.listPullRequests(r -> r.repositoryName("reviewed")).pullRequestIds().get(0);
            var before = codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest();
            done(temp, "clone", "-q", "-b", "feature", url("reviewed"), "reviewed");
            done(temp.resolve("reviewed"), "commit", "-q", "--allow-empty", "-m", "more");
            done(temp.resolve("reviewed"), "push", "-q", url("reviewed"), "feature", "feature:other");
            var after = codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest();
            assertEquals(done(temp.resolve("reviewed"), "rev-parse", "HEAD").strip(),
                    after.pullRequestTargets().get(0).sourceCommit());
            assertEquals(before.pullRequestTargets().get(0).destinationCommit(),
                    after.pullRequestTargets().get(0).destinationCommit());
            assertNotEquals(before.revisionId(), after.revisionId());
            assertTrue(codecommit.getPullRequestApprovalStates(r -> r.pullRequestId(id).revisionId(after.revisionId()))
                    .approvals().isEmpty());
            done(temp.resolve("reviewed"), "push", "-q", url("reviewed"), ":feature");
            assertEquals(after, codecommit.getPullRequest(r -> r.pullRequestId(id)).pullRequest(),
                    "the branch is gone, the pull request is not");
        }
    }

    /** The embedded AWS as a proxy: git asks for the host by its name, as it does at AWS. */
    @ParameterizedTest
    @CsvSource({"eu-west-1, git-codecommit.eu-west-1.amazonaws.com",
            "cn-north-1, git-codecommit.cn-north-1.amazonaws.com.cn",
            "us-gov-west-1, git-codecommit-fips.us-gov-west-1.amazonaws.com",
        "eu-west-1, vpce-0123456789abcdef0-a1b2c3d4.git-codecommit.eu-west-1.vpce.amazonaws.com"})
    void checksTheNameOfTheHost(String region, String host) throws Exception {
        if (aws.codecommit.repository(region, "named") == null) {
            aws.codecommit.createRepository(region, "named").commit("refs/heads/main", "a", "1");
        }
        var password = password(LocalAws.SECRET_ACCESS_KEY, host, "named", region, Instant.now());
        var url = "http://" + LocalAws.ACCESS_KEY_ID + ":%s@" + host + "/v1/repos/named";
        assertTrue(done(temp, "-c", "http.proxy=" + aws.endpoint(), "ls-remote", url.formatted(password))
                .contains("refs/heads/main"));
        assertEquals(region, aws.calls().get(1).region());
        var other = git(temp, "-c", "http.proxy=" + aws.endpoint(), "ls-remote", url.formatted(password("named")));
        assertTrue(other.out().contains("403"), other.out());
    }

    @Test
    void readsCompressedRequests() throws Exception {
        aws.codecommit.createRepository("gzip").commit("refs/heads/main", "a", "1");
        var body = new java.io.ByteArrayOutputStream();
        try (var out = new java.util.zip.GZIPOutputStream(body)) {
            out.write("0014command=ls-refs\n0000".getBytes());
        }
        var request = HttpRequest.newBuilder(URI.create(aws.endpoint() + "/v1/repos/gzip/git-upload-pack"))
                .header("Authorization",
                        "Basic " + Base64.getEncoder()
                                .encodeToString((LocalAws.ACCESS_KEY_ID + ":" + password("gzip")).getBytes()))
                .header("Content-Type", "application/x-git-upload-pack-request").header("Content-Encoding", "gzip")
                .header("Git-Protocol", "version=2")
                .POST(HttpRequest.BodyPublishers.ofByteArray(body.toByteArray())).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        assertEquals(200, answer.statusCode());
        assertTrue(answer.body().contains("refs/heads/main"), answer.body());
    }

    @Test
    void speaksTheOldProtocolOnlyWhenToldSo() throws Exception {
        aws.codecommit.createRepository("old").commit("refs/heads/main", "a", "1");
        aws.codecommit.gitProtocolV2 = false;
        try {
            done(temp, "-c", "protocol.version=2", "clone", "-q", url("old"), "old");
            assertEquals(List.of("GET", "POST"), aws.calls().stream().filter(call -> call.status() == 200)
                    .map(call -> call.input().get("path").asText().equals("info/refs") ? "GET" : "POST").toList(),
                    "no ls-refs");
        } finally {
            aws.codecommit.gitProtocolV2 = true;
        }
    }

    @Test
    void keepsTheDefaultBranch() throws Exception {
        var repo = aws.codecommit.createRepository("default").commit("refs/heads/main", "a", "1")
                .ref("refs/heads/other", "refs/heads/main");
        var work = Files.createDirectory(temp.resolve("work"));
        done(work, "init", "-q");
        var git = git(work, "push", url("default"), ":refs/heads/main", ":refs/heads/other");
        assertEquals(1, git.exitCode(), git.out());
        assertTrue(git.out().contains("[remote rejected] main"), git.out());
        assertTrue(repo.resolve("refs/heads/main") != null);
        assertEquals(null, repo.resolve("refs/heads/other"));
    }

    @Test
    void refusesNamesThatCodeCommitRefuses() throws Exception {
        var repo = aws.codecommit.createRepository("names");
        var work = Files.createDirectory(temp.resolve("work"));
        done(work, "init", "-q", "-b", "main");
        done(work, "commit", "-q", "--allow-empty", "-m", "first");
        var longName = "d".repeat(100) + "/" + "e".repeat(100) + "/" + "f".repeat(55);
        var git = git(work, "push", url("names"), "main", "main:refs/heads/" + "0123456789".repeat(4),
                "main:refs/tags/" + "0123456789".repeat(4),
                "main:refs/heads/" + longName, "main:refs/heads/" + longName.substring(1));
        assertEquals(1, git.exitCode(), git.out());
        assertEquals(3, git.out().lines().filter(line -> line.contains("[remote rejected]")).count(), git.out());
        assertEquals(2, repo.git().getRefDatabase().getRefsByPrefix("refs/heads/").size());
    }

    @Test
    void refusesMoreThan4000UpdatesInOnePush() throws Exception {
        var repo = aws.codecommit.createRepository("many");
        var work = Files.createDirectory(temp.resolve("work"));
        done(work, "init", "-q", "-b", "main");
        done(work, "commit", "-q", "--allow-empty", "-m", "first");
        var id = done(work, "rev-parse", "HEAD").trim();
        var packed = new StringBuilder();
        for (var i = 0; i < 4_001; i++) packed.append(id).append(" refs/tags/t").append(i).append('\n');
        Files.writeString(work.resolve(".git/packed-refs"), packed);
        var git = git(work, "push", url("many"), "--tags");
        assertTrue(git.out().contains("Too many reference update commands"), git.out());
        assertEquals(1, git.exitCode());
        assertEquals(0, repo.git().getRefDatabase().getRefs().size());
        done(work, "tag", "-d", "t4000");
        done(work, "push", "-q", url("many"), "--tags");
        assertEquals(4_000, repo.git().getRefDatabase().getRefsByPrefix("refs/tags/").size());
    }

    @Test
    void misbehavesOnDemand() throws Exception {
        var repo = aws.codecommit.createRepository("faults");
        var random = new java.util.Random(1);
        for (var i = 0; i < 20; i++) {
            repo.commit("refs/heads/main", "f" + i, random.ints(2000).boxed().toList().toString());
        }
        aws.inject(Fault.on("codecommit:GitPull").throttle());
        assertTrue(git(temp, "clone", url("faults"), "throttled").out().contains("429"));
        assertEquals(429, aws.calls().get(aws.calls().size() - 1).status());

        aws.inject(Fault.on("codecommit:GitPull").error(503, "ServiceUnavailable", "later"));
        assertTrue(git(temp, "clone", url("faults"), "unavailable").out().contains("503"));

        aws.inject(Fault.on("codecommit:GitPull").after(1).cut(20_000));
        var cut = git(temp, "-c", "protocol.version=0", "clone", url("faults"), "cut");
        assertEquals(128, cut.exitCode(), cut.out());
        assertEquals("Cut", aws.calls().get(aws.calls().size() - 1).error());

        aws.inject(Fault.on("codecommit:GitPull").after(1).flip(20_000));
        var flipped = git(temp, "-c", "protocol.version=0", "clone", url("faults"), "flipped");
        assertEquals(128, flipped.exitCode(), flipped.out());

        aws.inject(Fault.on("codecommit:GitPull").after(1).stall(20_000, Duration.ofMillis(700)));
        var start = System.nanoTime();
        done(temp, "-c", "protocol.version=0", "clone", "-q", url("faults"), "stalled");
        assertTrue(System.nanoTime() - start > 700_000_000L);

        var pushed = repo.resolve("refs/heads/main");
        // curl itself tries again on a fresh connection
        for (var fault : List.of(Fault.on("codecommit:GitPush").after(1).flipRequest(3000),
                Fault.on("codecommit:GitPush").after(1).times(3).cutRequest(3000))) {
            aws.inject(fault);
            Files.writeString(temp.resolve("stalled/new"), random.ints(2000).boxed().toList().toString());
            done(temp.resolve("stalled"), "add", "new");
            done(temp.resolve("stalled"), "commit", "-q", "-m", "new");
            var push = git(temp.resolve("stalled"), "push", url("faults"), "main");
            assertTrue(push.exitCode() != 0, push.out());
            aws.clearFaults();
            assertEquals(pushed, repo.resolve("refs/heads/main"), "nothing half-received shows");
        }

        aws.inject(Fault.on("codecommit:GitPush").after(1).loseAnswer());
        var work = temp.resolve("stalled");
        done(work, "commit", "-q", "--allow-empty", "-m", "more");
        assertFalse(git(work, "push", url("faults"), "main").exitCode() == 0);
        assertEquals(done(work, "rev-parse", "HEAD").trim(), repo.resolve("refs/heads/main").name(),
                "done, but nobody was told");
    }

    @Test
    void tellsAClientWhatIsWrongWithItsRequest() throws Exception {
        aws.codecommit.createRepository("wants").commit("refs/heads/main", "a", "1");
        var work = Files.createDirectory(temp.resolve("work"));
        done(work, "init", "-q");
        var git = git(work, "-c", "protocol.version=2", "fetch", url("wants"),
                "1234567890123456789012345678901234567890");
        assertTrue(aws.calls().get(aws.calls().size() - 1).error() != null);
        assertTrue(git.out().contains("not our ref") || git.out().contains("not valid"), git.out());
        assertEquals(128, git.exitCode());
    }
}
