///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Starts an embedded AWS and runs a tour of the scripts, or any command, in it. No AWS account is needed.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS info.picocli:picocli:4.7.7
//SOURCES LocalAws.java
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn32m
//RUNTIME_OPTIONS -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=10000
//RUNTIME_OPTIONS -XX:Tier4CompileThreshold=100000 -XX:Tier4BackEdgeThreshold=400000

package localaws;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.eclipse.jgit.lib.Config;
import org.eclipse.jgit.storage.file.FileBasedConfig;
import org.eclipse.jgit.util.FS;
import org.eclipse.jgit.util.SystemReader;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/**
 * Starts the embedded AWS, puts something into it, and runs the tour, or another command, in an environment in which
 * the AWS CLI, SDKs, git and the scripts see that AWS and no other: AWS_ENDPOINT_URL, credentials that are good for
 * nothing else, a configuration file with profiles of both accounts, and a credential helper for git. When the command
 * ends, or at Ctrl-C, all of it is gone.
 */
@Command(name = "sandbox", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = {
                "Starts an embedded AWS and runs a tour of the scripts, or any command, in it. No AWS account is "
                        + "needed.",
                "What is allowed here AWS may still refuse."},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang sandbox", "  ./jbang sandbox -- bash",
                "  ./jbang sandbox --git-dir ~/projects/shop -- bash", "",
                "The command finds in its environment, besides what the AWS CLI and git need:",
                "  BACKUP_BUCKET   a bucket of the other account",
                "  SOURCE_BUCKET   a bucket with versions, for schedule-backup --source-bucket",
                "  VPC_ID          a VPC with subnets in three zones",
                "  FUNCTION_ARN    a Lambda function, by its alias live; nothing runs in it",
                "  SANDBOX_S3      a directory that shows the objects of all buckets, as",
                "                  BUCKET/KEY",
                "  SANDBOX_MAIL    a directory with the mails that SNS has sent, one file for",
                "                  each address; to confirm a subscription, open its link", "",
                "Its credentials are an administrator's of the account with the repositories.",
                "AWS_CONFIG_FILE has profiles for --profile, and for git by AWS_PROFILE:",
                "  source, backup                   the administrators of the two accounts",
                "  administrator, developer,",
                "  backup-writer, auditor           roles of the first",
                "  backup-reader, backup-auditor    roles of the second"})
public final class Sandbox implements Callable<Integer> {
    static final String REGION = "eu-west-1";
    static final String BUCKET = "codecommit-backups";
    static final String SOURCE_BUCKET = "codecommit-toolkit";

    private static final LocalAws.Login OPERATOR = new LocalAws.Login(LocalAws.ACCESS_KEY_ID,
            LocalAws.SECRET_ACCESS_KEY, null);
    /** Users and roles by the profile that is theirs. */
    private static final Map<String, String> PROFILES = profileArns();

    private static Map<String, String> profileArns() {
        var source = "arn:aws:iam::" + LocalAws.ACCOUNT + ":";
        var backup = "arn:aws:iam::" + LocalAws.BACKUP_ACCOUNT + ":";
        return new TreeMap<>(Map.of("source", source + "user/operator", "backup", backup + "user/operator",
                "administrator", source + "role/Administrator", "developer", source + "role/Developer",
                "backup-writer", source + "role/BackupWriter", "auditor", source + "role/Auditor",
                "backup-reader", backup + "role/BackupReader", "backup-auditor", backup + "role/Auditor"));
    }

    @Option(names = "--git-dir", paramLabel = "DIR",
            description = "Puts this Git repository in, under the name of its directory. It is only read.")
    Path gitDir;

    @Option(names = {"-v", "--verbose"}, description = "Prints every call that the embedded AWS answers, to stderr.")
    boolean verbose;

    @Parameters(paramLabel = "COMMAND", description = "Runs this instead of the tour, and exits with its exit code.")
    List<String> command = new ArrayList<>();

    @Spec
    CommandSpec spec;

    private LocalAws aws;
    private Path directory;
    private Path mail;
    private ServerSocket passwords;
    private volatile Process process;
    private boolean stopped;

    public static void main(String[] args) {
        System.exit(new Sandbox().commandLine().execute(args));
    }

    public CommandLine commandLine() {
        var commandLine = new CommandLine(this);
        spec.usageMessage().synopsisHeading("Usage: ./jbang ");
        return commandLine.setStopAtPositional(true)
                .setParameterExceptionHandler((e, arguments) -> {
                    note(e.getMessage() + " (help: ./jbang sandbox --help)");
                    return CommandLine.ExitCode.USAGE;
                })
                .setExecutionExceptionHandler((e, line, parsed) -> {
                    note(e.getMessage() == null ? e.toString() : e.getMessage());
                    return 1;
                });
    }

    @Override
    public Integer call() throws Exception {
        var own = gitDir == null ? null : repository(gitDir);
        SystemReader.setInstance(new NoConfiguration());
        Runtime.getRuntime().addShutdownHook(new Thread(this::stop));
        directory = Files.createTempDirectory("sandbox-");
        aws = LocalAws.start();
        if (verbose) {
            aws.onCall(call -> note(
                    call.name() + " " + (call.error() == null ? call.status() : call.status() + " " + call.error())));
        }
        var environment = new HashMap<>(seed());
        if (own != null) {
            borrow(own);
            environment.put("SANDBOX_GIT_DIR", gitDir.toAbsolutePath().toString());
        }
        var tour = command.isEmpty();
        if (tour) command = List.of("bash", tour().toString());
        var builder = new ProcessBuilder(command).inheritIO();
        isolate(builder.environment());
        builder.environment().putAll(environment);
        note("an embedded AWS answers at " + aws.endpoint() + " until this ends; what it allows AWS may refuse");
        try {
            synchronized (this) {
                if (stopped) return 1;
                process = builder.start();
            }
        } catch (IOException e) {
            note(e.getMessage());
            return 127;
        }
        return process.waitFor();
    }

    private void note(String message) {
        spec.commandLine().getErr().println("sandbox: " + message);
    }

    /** What is there before the command begins, and the variables that name it. */
    private Map<String, String> seed() throws IOException {
        var payments = aws.codecommit.createRepository("payments").description("Takes and refunds payments")
                .tag("Team", "Payments")
                .commit("refs/heads/main", "README.md", "# Payments\n")
                .commit("refs/heads/main", "src/Pay.java", "class Pay {\n}\n").annotatedTag("v1.0", "refs/heads/main")
                .commit("refs/heads/main", "src/Pay.java", "class Pay {\n    int cents;\n}\n")
                .annotatedTag("v1.1", "refs/heads/main").ref("refs/heads/release/1", "refs/tags/v1.0^{commit}")
                .ref("refs/heads/refunds", "refs/heads/main")
                .commit("refs/heads/refunds", "src/Refund.java", "class Refund {\n}\n");
        var refunds = payments.pullRequest("Pay money back", "refunds", "main");
        payments.commentOnFile(refunds, "What about refunds in part?", "src/Refund.java", 1);
        payments.approve(refunds, "arn:aws:iam::" + LocalAws.ACCOUNT + ":user/alice");
        aws.codecommit.createRepository("website").description("What customers see")
                .commit("refs/heads/main", "index.html", "<h1>Shop</h1>\n").ref("refs/tags/live", "refs/heads/main");
        aws.codecommit.createRepository("ideas").description("Nothing yet");
        Roles.create(aws);
        aws.iam.createUser("alice");
        aws.iam.createGroup("Developers", "alice");
        var vpc = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        var block = 0;
        for (var zone : List.of("a", "b", "c", "a")) {
            aws.ec2.createSubnet(vpc, REGION + zone, "10.0." + block++ + ".0/24");
        }
        Roles.createBackupBucket(aws, BUCKET, REGION);
        aws.s3.createBucket(SOURCE_BUCKET, REGION).versioned();
        var function = aws.lambda.createFunction(REGION, "build");
        function.alias("live", function.publish());
        aws.cloudtrail.createTrail(REGION, "management-events"); // as most accounts have one
        mail = Files.createDirectory(directory.resolve("mail"));
        aws.onMail(this::deliver);
        return Map.of("BACKUP_BUCKET", BUCKET, "SOURCE_BUCKET", SOURCE_BUCKET, "VPC_ID", vpc, "FUNCTION_ARN",
                function.arn + ":live", "SANDBOX_S3", aws.s3.directory().toString(), "SANDBOX_MAIL", mail.toString());
    }

    private void deliver(Sns.Mail letter) {
        synchronized (mail) { // which stop() does not hold while it waits for builds that still tell of their end
            try {
                Files.writeString(mail.resolve(letter.address().replace('/', '-')),
                        "Subject: " + letter.subject() + "\n\n" + letter.text() + "\n\n",
                        StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /** The user's, which is only read. */
    private record OwnRepository(Path directory, Path objects, Map<String, String> refs, String head) { }

    /** Refuses one that is not whole. */
    private OwnRepository repository(Path path) throws IOException, InterruptedException {
        if (!Files.isDirectory(path)) {
            throw new CommandLine.ParameterException(spec.commandLine(),
                    "--git-dir '" + path + "': give the directory of a Git repository");
        }
        var facts = git(path, "rev-parse", "--absolute-git-dir", "--is-shallow-repository", "--show-object-format",
                "--git-path", "objects").lines().toList();
        if (facts.size() < 4) throw new IOException("--git-dir '" + path + "': no Git repository");
        if (facts.get(1).equals("true")) {
            throw new IOException("--git-dir '" + path
                    + "' is a shallow clone, which lacks part of its history; complete it with: git fetch --unshallow");
        }
        if (!facts.get(2).equals("sha1")) {
            throw new IOException(
                    "--git-dir '" + path + "' uses " + facts.get(2) + " ids; CodeCommit knows SHA-1 only");
        }
        var missing = missing(path);
        if (!missing.isEmpty()) {
            throw new IOException("--git-dir '" + path + "' lacks object " + missing
                    + ", as partial clones do; complete it with: git fetch --refetch --no-filter");
        }
        var refs = new TreeMap<String, String>();
        git(path, "for-each-ref", "--format=%(objectname) %(refname)").lines().map(line -> line.split(" ", 2))
                .filter(ref -> !ref[1].matches("refs/(remotes|stash|bisect|original)(/.*)?"))
                .forEach(ref -> refs.put(ref[1], ref[0]));
        return new OwnRepository(Path.of(facts.get(0)), path.resolve(facts.get(3)), refs,
                git(path, "symbolic-ref", "-q", "HEAD").strip());
    }

    private void borrow(OwnRepository own) {
        var folder = own.directory.endsWith(".git") ? own.directory.getParent() : own.directory;
        var name = folder.getFileName().toString().replaceAll("(\\.git)+$", "").replaceAll("[^\\w.-]", "-");
        if (name.isEmpty() || name.length() > 100 || aws.codecommit.repository(name) != null) name = "yours";
        var repo = aws.codecommit.createRepository(name).borrow(own.objects, own.refs);
        if (own.refs.containsKey(own.head)) repo.defaultBranch(own.head.substring("refs/heads/".length()));
    }

    /** The first object that a partial clone's refs lead to and that is not there, or "". */
    private static String missing(Path path) throws IOException, InterruptedException {
        if (git(path, "config", "--get-regexp", "^(extensions\\.partialclone|remote\\..*\\.promisor)$").isEmpty()) {
            return "";
        }
        return git(path, "rev-list", "--objects", "--missing=print", "--all").lines()
                .filter(line -> line.startsWith("?")).map(line -> line.substring(1)).findFirst().orElse("");
    }

    private static String git(Path directory, String... arguments) throws IOException, InterruptedException {
        var command = new ArrayList<>(List.of("git", "-C", directory.toString()));
        command.addAll(List.of(arguments));
        var git = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        var out = new String(git.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        git.waitFor();
        return out;
    }

    /**
     * The tour lies in the toolkit's clone, which ./jbang names; JBang itself does not tell a script where it comes
     * from.
     */
    private static Path tour() throws IOException {
        var places = new ArrayList<Path>();
        if (System.getenv("TOOLKIT_HOME") != null) places.add(Path.of(System.getenv("TOOLKIT_HOME")));
        for (var up = Path.of("").toAbsolutePath(); up != null; up = up.getParent()) places.add(up);
        return places.stream().map(place -> place.resolve("tests/localaws/tour.sh")).filter(Files::exists).findFirst()
                .orElseThrow(() -> new IOException("the tour needs a clone of the toolkit: run ./jbang sandbox in it"));
    }

    /** Takes everything from an environment that could lead to a real account, and puts the way to this AWS in. */
    private void isolate(Map<String, String> environment) throws IOException {
        environment.keySet().removeIf(name -> name.startsWith("AWS_") || name.matches(
                "GIT_(DIR|WORK_TREE|INDEX_FILE|PREFIX|COMMON_DIR|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES"
                        + "|NAMESPACE)"));
        environment.putAll(Map.of("AWS_ENDPOINT_URL", aws.endpoint().toString(), "AWS_ACCESS_KEY_ID",
                LocalAws.ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY", LocalAws.SECRET_ACCESS_KEY,
                "AWS_REGION", REGION, "AWS_DEFAULT_REGION", REGION, "AWS_EC2_METADATA_DISABLED", "true",
                "AWS_CONFIG_FILE", profiles().toString(), "AWS_SHARED_CREDENTIALS_FILE", "/dev/null",
                "AWS_PAGER", ""));
        for (var name : List.of("NO_PROXY", "no_proxy")) {
            environment.merge(name, "127.0.0.1", (old, mine) -> old.isEmpty() ? mine : old + "," + mine);
        }
        passwords = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
        var server = new Thread(this::servePasswords, "passwords");
        server.setDaemon(true);
        server.start();
        // bash itself opens the connection: the password is in nobody's arguments
        var helper = Files.writeString(directory.resolve("credential-helper"), """
                [ "$1" = get ] || exit 0
                exec 3<>/dev/tcp/127.0.0.1/%d
                { cat; echo "profile=$AWS_PROFILE"; echo "key=$AWS_ACCESS_KEY_ID"; echo; } >&3
                cat <&3
                """.formatted(passwords.getLocalPort()));
        var count = environment.getOrDefault("GIT_CONFIG_COUNT", "").matches("\\d+")
                ? Integer.parseInt(environment.get("GIT_CONFIG_COUNT")) : 0;
        for (var setting : List.of(List.of("credential", "helper", ""),
                List.of("credential", "helper", "!bash '" + helper + "'"), List.of("credential", "useHttpPath", "true"),
                List.of("http", "proxy", ""))) {
            environment.put("GIT_CONFIG_KEY_" + count, setting.get(0) + "." + aws.endpoint() + "." + setting.get(1));
            environment.put("GIT_CONFIG_VALUE_" + count++, setting.get(2));
        }
        environment.put("GIT_CONFIG_COUNT", String.valueOf(count));
    }

    /** Git's credential protocol: a description line by line, then user name and password. */
    private void servePasswords() {
        while (!passwords.isClosed()) {
            try (var socket = passwords.accept()) {
                socket.setSoTimeout(10_000);
                var asked = new HashMap<String, String>();
                var lines = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
                for (var line = lines.readLine(); line != null && !line.isEmpty(); line = lines.readLine()) {
                    if (line.contains("=")) {
                        asked.put(line.substring(0, line.indexOf('=')), line.substring(line.indexOf('=') + 1));
                    }
                }
                answer(socket, asked);
            } catch (IOException e) {
                if (!passwords.isClosed()) note("git's sign-in: " + e.getMessage());
            }
        }
    }

    private void answer(Socket socket, Map<String, String> asked) throws IOException {
        var host = asked.getOrDefault("host", "").replaceFirst(":\\d+$", "");
        var path = "/" + asked.getOrDefault("path", "");
        var login = login(asked.getOrDefault("profile", ""), asked.getOrDefault("key", ""));
        var name = path.replaceFirst("^/v1/repos/", "");
        var region = software.amazon.awssdk.regions.Region.regions().stream().map(Object::toString)
                .filter(r -> !r.equals(REGION) && aws.codecommit.repository(r, name) != null).findFirst()
                .filter(r -> aws.codecommit.repository(REGION, name) == null).orElse(REGION);
        var password = GitHttp.password(login.secretAccessKey(), host, path, region);
        socket.getOutputStream().write(("username=" + GitHttp.user(login) + "\npassword=" + password + "\n")
                .getBytes(StandardCharsets.UTF_8));
    }

    /** Whom git signs in as: the profile that AWS_PROFILE names, else whose key is in the environment. */
    private LocalAws.Login login(String profile, String accessKeyId) {
        if (PROFILES.containsKey(profile)) return aws.as(PROFILES.get(profile));
        var key = aws.credentials.get(accessKeyId);
        return key == null ? OPERATOR : new LocalAws.Login(accessKeyId, key.secret(), key.token());
    }

    /** A configuration file of the AWS CLI and SDKs with a profile for each of those who are here. */
    private Path profiles() throws IOException {
        var backup = aws.as(PROFILES.get("backup"));
        var text = new StringBuilder();
        for (var profile : PROFILES.entrySet()) {
            text.append("[profile ").append(profile.getKey()).append("]\nregion = ").append(REGION).append('\n');
            var arn = profile.getValue();
            if (arn.contains(":role/")) {
                // the AWS CLI keeps a role's credentials by its session's name: those of another sandbox are no good
                text.append("role_arn = ").append(arn).append("\nrole_session_name = ")
                        .append(directory.getFileName()).append("\nsource_profile = ")
                        .append(arn.contains(LocalAws.ACCOUNT) ? "source" : "backup").append("\n\n");
            } else {
                var login = profile.getKey().equals("source") ? OPERATOR : backup;
                text.append("aws_access_key_id = ").append(login.accessKeyId()).append("\naws_secret_access_key = ")
                        .append(login.secretAccessKey()).append("\n\n");
            }
        }
        return Files.writeString(directory.resolve("config"), text);
    }

    /**
     * Ends what the command started and is still there, and deletes what was made. Runs once, at the end or when
     * interrupted.
     */
    private synchronized void stop() {
        if (stopped) return;
        stopped = true;
        if (process != null) {
            var children = new ArrayList<>(process.descendants().toList());
            children.add(process.toHandle());
            children.forEach(ProcessHandle::destroy);
            for (var child : children) {
                try {
                    child.onExit().get(5, TimeUnit.SECONDS);
                } catch (TimeoutException | ExecutionException | InterruptedException e) {
                    child.destroyForcibly();
                }
            }
        }
        try {
            if (passwords != null) passwords.close();
            if (aws != null) aws.close();
            if (directory == null) return;
            try (var files = Files.walk(directory)) {
                for (var file : files.sorted(Comparator.reverseOrder()).toList()) Files.delete(file);
            }
        } catch (IOException | RuntimeException e) {
            note("not all could be deleted: " + e);
        }
    }

    /** Keeps JGit from reading, measuring and writing configuration files of this machine and user. */
    private static final class NoConfiguration extends SystemReader.Delegate {
        NoConfiguration() {
            super(SystemReader.getInstance());
        }

        private static FileBasedConfig none(Config parent, FS fs) {
            return new FileBasedConfig(parent, null, fs) {
                @Override
                public void load() {
                    // there is no file
                }

                @Override
                public void save() {
                    // there is no file
                }

                @Override
                public boolean isOutdated() {
                    return false;
                }

                @Override
                public long getTimeUnit(String section, String subsection, String name, long otherwise, TimeUnit unit) {
                    // it would be measured, in seconds
                    return section.equals("filesystem") ? unit.convert(2, TimeUnit.SECONDS) : otherwise;
                }
            };
        }

        @Override
        public FileBasedConfig openUserConfig(Config parent, FS fs) {
            return none(parent, fs);
        }

        @Override
        public FileBasedConfig openSystemConfig(Config parent, FS fs) {
            return none(parent, fs);
        }

        @Override
        public FileBasedConfig openJGitConfig(Config parent, FS fs) {
            return none(parent, fs);
        }
    }
}
