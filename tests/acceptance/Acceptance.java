///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tries the toolkit on a real AWS account, settles what only AWS can tell, and removes all that it made.
//JAVA 17+
//DEPS software.amazon.awssdk:bom:2.40.2@pom
//DEPS software.amazon.awssdk:cloudwatch
//DEPS software.amazon.awssdk:cloudwatchlogs
//DEPS software.amazon.awssdk:codebuild
//DEPS software.amazon.awssdk:codecommit
//DEPS software.amazon.awssdk:iam
//DEPS software.amazon.awssdk:kms
//DEPS software.amazon.awssdk:s3
//DEPS software.amazon.awssdk:sso
//DEPS software.amazon.awssdk:ssooidc
//DEPS software.amazon.awssdk:sts
//DEPS software.amazon.awssdk:url-connection-client
//DEPS com.fasterxml.jackson.core:jackson-databind:2.22.4
//DEPS info.picocli:picocli:4.7.7
//DEPS org.slf4j:slf4j-nop:2.0.17
//SOURCES Account.java
//SOURCES Made.java
//SOURCES Report.java
//SOURCES SignedGit.java

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.awscore.retry.AwsRetryStrategy;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.services.cloudwatch.model.StateValue;
import software.amazon.awssdk.services.codebuild.model.EnvironmentVariable;
import software.amazon.awssdk.services.codecommit.CodeCommitClient;
import software.amazon.awssdk.services.codecommit.model.RepositoryTrigger;
import software.amazon.awssdk.services.codecommit.model.RepositoryTriggerEventEnum;

/**
 * Runs the tour's main steps against AWS, one after the other, under names with a random part, and asks AWS what its
 * documents leave open. One step that fails stops none: those that need it fail, too, and say so. Whatever happens,
 * Ctrl-C included, all that was made is removed at the end, newest first, and what could not be removed is named.
 */
@Command(name = "acceptance", version = "codecommit-toolkit 0.1.0", mixinStandardHelpOptions = true,
        sortOptions = false,
        description = {
                "Tries the toolkit on a real AWS account, settles what only AWS can tell, and removes all that it "
                        + "made.",
                "It says first what it will make and what that costs, and asks. It writes a report as JSON and as "
                        + "Markdown, without account ids, to be filed as an issue."},
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {"0:all steps did what they should, and nothing is left",
                "1:a step failed, or something is left",
                "2:wrong usage", "130, 143:interrupted; all that was made is removed"},
        footerHeading = "%nExamples:%n",
        footer = {"  ./jbang acceptance --profile sandbox --region eu-west-1",
                "  ./jbang acceptance --profile source --backup-profile backup --yes"})
public final class Acceptance implements Callable<Integer> {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** What "at once" takes: IAM and KMS are asked once a second. */
    private static final Duration POLL = Duration.ofSeconds(1);

    @Option(names = "--profile", required = true, paramLabel = "NAME",
            description = "Profile of an administrator of the account for the repositories.")
    String profile;

    @Option(names = "--backup-profile", paramLabel = "NAME",
            description = "Profile of an administrator of the account for the backups. Default: the same account.")
    String backupProfile;

    @Option(names = "--region", paramLabel = "REGION",
            description = "AWS Region. Default: AWS_REGION, else the profile's.")
    String region;

    @Option(names = "--most-push-mib", paramLabel = "N",
            description = "The largest push that is tried, in MiB. Default: ${DEFAULT-VALUE}.")
    int mostPushMib = 64;

    @Option(names = "--most-requests", paramLabel = "N",
            description = "The most requests in a second that CodeCommit is asked. Default: ${DEFAULT-VALUE}.")
    int mostRequests = 40;

    @Option(names = "--timeout", paramLabel = "TIME",
            description = "How long to wait for what AWS does later, such as 90s or 15m. Default: ${DEFAULT-VALUE}.")
    String timeout = "15m";

    @Option(names = "--report-directory", paramLabel = "DIR",
            description = "Where the two reports go. Default: the working directory.")
    Path reportDirectory = Path.of("");

    @Option(names = "--yes", description = "Does not ask.")
    boolean yes;

    @Spec
    CommandSpec spec;

    /** In the name of all that is made. */
    private final String name = "acceptance-" + HexFormat.of().toHexDigits(new Random().nextInt());
    private final Made made = new Made();
    private final Report report = new Report();
    private final CountDownLatch ended = new CountDownLatch(1);
    private volatile boolean stopping;
    private volatile Process process;
    private Path work;
    private Account source;
    private Account backup;
    private SignedGit git;

    public static void main(String[] args) {
        System.exit(new Acceptance().commandLine().execute(args));
    }

    public CommandLine commandLine() {
        var commandLine = new CommandLine(this);
        spec.usageMessage().synopsisHeading("Usage: ./jbang ");
        return commandLine.setParameterExceptionHandler((e, arguments) -> {
            say(e.getMessage() + " (help: ./jbang acceptance --help)");
            return CommandLine.ExitCode.USAGE;
        }).setExecutionExceptionHandler((e, line, parsed) -> {
            say(e.getMessage() == null ? e.toString() : e.getMessage());
            return 1;
        });
    }

    @Override
    public Integer call() throws Exception {
        check();
        source = new Account(profile, region);
        backup = backupProfile == null ? source : new Account(backupProfile, source.region);
        describeReport();
        say(plan());
        if (!confirmed()) {
            say("nothing was made");
            return 1;
        }
        var main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(main)));
        var start = System.nanoTime();
        work = Files.createTempDirectory("acceptance-");
        try {
            git = new SignedGit(work, source.region);
            tryAll();
        } catch (Stopped e) {
            report.interrupted = true;
        } finally {
            Thread.interrupted(); // what follows must not be interrupted, too
            say("removing all that was made");
            report.left = made.removeAll(this::say);
            report.seconds = (System.nanoTime() - start) / 1e9;
            delete(work);
            write();
            ended.countDown();
        }
        return report.succeeded() ? 0 : 1;
    }

    private void check() {
        if (mostPushMib < 1 || mostPushMib > 2048) {
            throw new ParameterException(spec.commandLine(), "--most-push-mib " + mostPushMib + ": 1 to 2048");
        }
        if (mostRequests < 1 || mostRequests > 200) {
            throw new ParameterException(spec.commandLine(), "--most-requests " + mostRequests + ": 1 to 200");
        }
        if (!timeout.matches("[1-9]\\d{0,3}[sm]")) {
            throw new ParameterException(spec.commandLine(),
                    "--timeout '" + timeout + "': seconds or minutes, such as 90s or 15m");
        }
        if (!Files.isDirectory(reportDirectory.toAbsolutePath())) {
            throw new ParameterException(spec.commandLine(),
                    "--report-directory '" + reportDirectory + "': give a directory that is there");
        }
    }

    private void describeReport() throws IOException, InterruptedException {
        var version = SignedGit.run(toolkit(), "git", "rev-parse", "--short", "HEAD");
        report.toolkit = spec.version()[0] + (version.exitCode() == 0 ? " at " + version.out().strip() : "");
        report.region = source.region;
        report.partition = source.partition();
        report.twoAccounts = !source.id.equals(backup.id);
        report.startedAt = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
        report.hide(source.id);
        report.hide(backup.id);
    }

    private String plan() {
        return """
                this makes, in the Region %s, under names that begin with %s:
                  account %s: a KMS key, three repositories, a role, a bucket, a CodeBuild project with its roles and
                  rules, an SNS topic, alarms
                  account %s: a KMS key, a bucket
                Some 15 minutes later all of it is removed; the keys are deleted by KMS after seven days, in which they
                cost nothing. Together that costs less than 0.50 USD: %d MiB in the largest push, two or three builds,
                three alarms, two keys for an hour.
                """.formatted(source.region, name, source.id, backup.id, mostPushMib).strip();
    }

    private boolean confirmed() {
        if (yes) {
            return true;
        }
        if (System.console() == null) {
            throw new ParameterException(spec.commandLine(), "there is no terminal to ask on: repeat this with --yes");
        }
        return "yes".equals(System.console().readLine("Go on? Type yes: "));
    }

    /** The order of the tour. */
    private void tryAll() throws Exception {
        createKeyAndRepositories();
        askAboutRepositories();
        createDeveloper();
        denyBranches();
        askAboutSeveralRefs();
        askAboutTriggers();
        backUpAndRestore();
        scheduleAndNotify();
        askAboutLimits();
    }

    private void createKeyAndRepositories() throws Exception {
        noteKey(source, "alias/" + name);
        command("A key of your own", source, "create-kms-key", "--alias", "alias/" + name, "--tags",
                "acceptance=" + name);
        noteRepository(name);
        var repository = command("A repository under it", source, "create-encrypted-repo", "--repository-name", name,
                "--kms-key-id", "alias/" + name);
        git.use(repository.at("/repository/cloneUrlHttp").asText(), source.credentials());
        expect("Git pushes to it", "git push", git.push(git.commit("first"), "refs/heads/main"), true);
    }

    private void askAboutRepositories() {
        ask("Does a repository that was made without a key show a kmsKeyId?", () -> {
            noteRepository(name + "-plain");
            source.codecommit.createRepository(r -> r.repositoryName(name + "-plain"));
            var key = source.codecommit.getRepository(r -> r.repositoryName(name + "-plain")).repositoryMetadata()
                    .kmsKeyId();
            return key == null ? "no" : "yes: " + key;
        });
        ask("Does the Git server speak protocol version 2?", () -> {
            var request = HttpRequest.newBuilder(URI.create(git.url() + "/info/refs?service=git-upload-pack"))
                    .header("Git-Protocol", "version=2").header("Authorization", git.authorization()).build();
            var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            return answer.statusCode() + (answer.body().contains("version 2") ? ": yes" : ": no");
        });
    }

    private AwsCredentials developer;

    private void createDeveloper() throws Exception {
        made.note("role " + name, "aws iam delete-role --role-name " + name, () -> source.deleteRole(name));
        ask("How long until a new role can be assumed?", () -> {
            source.createRole(name, "codecommit:GitPull", "codecommit:GitPush");
            return until(() -> {
                var role = source.sts.assumeRole(r -> r.roleArn(source.roleArn(name)).roleSessionName(name));
                developer = AwsSessionCredentials.create(role.credentials().accessKeyId(),
                        role.credentials().secretAccessKey(), role.credentials().sessionToken());
                return true;
            });
        });
        ask("How long until the policy of a new role holds?", () -> {
            git.use(git.url() + "-plain", developer); // whose key asks for no policy
            return until(() -> push("refs/heads/main"));
        });
        git.use(git.url().replaceFirst("-plain$", ""), developer);
        command("The key lets the role use it", source, "create-kms-key", "--alias", "alias/" + name, "--users",
                source.roleArn(name));
        ask("How long until a key policy holds?", () -> until(() -> push("refs/heads/main")));
    }

    private void denyBranches() throws Exception {
        command("Developers cannot change main", source, "apply-branch-deny", "--branches", "main",
                "--repository-names", name, "--role-names", name);
        ask("How long until a deny holds?", () -> until(() -> !push("refs/heads/main")));
        expect("A push to main is refused", "git push", git.push(git.commit("another"), "refs/heads/main"), false);
        expect("A push to another branch is not", "git push", git.push(git.commit("an idea"), "refs/heads/idea"), true);
    }

    private boolean push(String ref) throws Exception {
        return git.push(git.commit("push " + System.nanoTime()), ref).exitCode() == 0;
    }

    /** Git sends new refs in the order of their names, so one name sorts before main, the other one after it. */
    private void askAboutSeveralRefs() {
        for (var other : List.of("refs/heads/a-idea", "refs/heads/z-idea")) {
            ask("What becomes of a push of main, which is denied, together with " + other + "?", () -> {
                var commit = git.commit("to two refs");
                git.as(developer).push(commit, "refs/heads/main", other);
                var refs = git.as(source.credentials()).refs();
                var taken = refs.lines().filter(line -> line.startsWith(commit)).map(line -> line.split("\t")[1])
                        .toList();
                if (taken.contains("refs/heads/main")) {
                    fail("The deny holds for several refs, too", "git push", "main was changed");
                }
                return taken.isEmpty() ? "the whole push is refused" : "taken: " + taken;
            });
        }
    }

    private void askAboutTriggers() {
        ask("What does PutRepositoryTriggers do with a function that is not there?", () -> {
            var trigger = RepositoryTrigger.builder().name("missing").destinationArn("arn:" + source.partition()
                    + ":lambda:" + source.region + ":" + source.id + ":function:" + name)
                    .branches(List.of()).events(RepositoryTriggerEventEnum.ALL).build();
            source.codecommit.putRepositoryTriggers(r -> r.repositoryName(name).triggers(trigger));
            var tested = source.codecommit.testRepositoryTriggers(r -> r.repositoryName(name).triggers(trigger));
            source.codecommit.putRepositoryTriggers(r -> r.repositoryName(name).triggers(List.of()));
            return "takes it; TestRepositoryTriggers says: " + tested.failedExecutions().stream()
                    .map(failure -> failure.failureMessage()).toList();
        });
    }

    private void backUpAndRestore() throws Exception {
        noteKey(backup, "alias/" + name + "-backups");
        command("A key for the backups", backup, "create-kms-key", "--alias", "alias/" + name + "-backups", "--tags",
                "acceptance=" + name);
        noteBucket(backup, name + "-backups");
        var bucket = new ArrayList<>(List.of("create-backup-bucket", "--bucket", name + "-backups", "--kms-key-id",
                "alias/" + name + "-backups", "--writer-accounts", source.id));
        if (!report.twoAccounts) {
            bucket.add("--same-account");
        }
        // without --retention-days: what is locked could not be removed today
        command("A bucket for the backups", backup, bucket.toArray(new String[0]));
        command("A backup", source, "backup-to-s3", "--bucket", name + "-backups", "--repository-names", name,
                name + "-plain");
        command("It is proven to restore", source, "verify-backups", "--bucket", name + "-backups",
                "--repository-names", name, name + "-plain", "--deep");
        noteRepository(name + "-restored");
        var restored = command("It is restored", source, "restore-from-s3", "--bucket", name + "-backups",
                "--repository-name", name, "--to-repository-name", name + "-restored", "--kms-key-id",
                "alias/" + name);
        var refs = git.as(source.credentials()).refs();
        git.use(restored.at("/repository/cloneUrlHttp").asText(git.url() + "-restored"), source.credentials());
        if (!git.refs().equals(refs)) {
            fail("The restored repository has the same refs", "git ls-remote", "its refs differ");
        }
    }

    private void scheduleAndNotify() throws Exception {
        noteBucket(source, name + "-toolkit");
        source.createVersionedBucket(name + "-toolkit");
        var job = new String[] {"schedule-backup", "--project-name", name, "--bucket", name + "-backups",
            "--bucket-owner", backup.id, "--source-bucket", name + "-toolkit", "--run-now"};
        made.note("logs of the builds", "aws logs delete-log-group --log-group-name /aws/codebuild/" + name,
                () -> source.deleteLogGroups("/aws/codebuild/" + name));
        made.note("backup job " + name, "./jbang schedule-backup --project-name " + name + " --remove",
                () -> remove(source, "schedule-backup", "--project-name", name, "--remove"));
        command("The backup as a job, and its first build", source, job);
        made.note("notifications of " + name, "./jbang notify-build-failures --project-names " + name + " --remove",
                () -> remove(source, "notify-build-failures", "--project-names", name, "--remove"));
        command("Failed builds are told", source, List.of(0, 4), "notify-build-failures", "--project-names", name,
                "--topic-name", name);
        ask("Does the alarm on failed builds fire, and when?", () -> {
            var build = source.codebuild.startBuild(r -> r.projectName(name).environmentVariablesOverride(
                    EnvironmentVariable.builder().name("TASK").value("none").build())).build();
            return until(() -> source.codebuild.batchGetBuilds(r -> r.ids(build.id())).builds().get(0)
                    .buildComplete()) + " until the build has failed, and then "
                    + until(() -> source.cloudwatch.describeAlarms(r -> r.alarmNames("build-failed-" + name))
                            .metricAlarms().stream().anyMatch(alarm -> alarm.stateValue() == StateValue.ALARM));
        });
    }

    private void askAboutLimits() {
        git.use(git.url().replaceFirst("-restored$", ""), source.credentials());
        ask("At which size is a push cut?", () -> {
            for (var mib = 1; mib <= mostPushMib; mib *= 2) {
                var pushed = git.push(git.blob(mib), "refs/heads/large-" + mib);
                if (pushed.exitCode() != 0) {
                    return mib + " MiB: " + pushed.err().lines().reduce("", (all, line) -> all + " " + line).strip();
                }
            }
            return "not up to " + Integer.highestOneBit(mostPushMib) + " MiB";
        });
        ask("At how many requests a second does CodeCommit throttle?", this::throttling);
    }

    /** Two seconds at each rate, which is doubled, and none after the first refusal. */
    private String throttling() throws Exception {
        var once = CodeCommitClient.builder()
                .overrideConfiguration(o -> o.retryStrategy(AwsRetryStrategy.doNotRetry()));
        try (var client = source.build(once, source.provider())) {
            for (var rate = 5; rate <= mostRequests; rate *= 2) {
                var refused = new AtomicInteger();
                var timer = Executors.newScheduledThreadPool(rate);
                for (var i = 0; i < 2 * rate; i++) {
                    timer.schedule(() -> {
                        try {
                            client.getRepository(r -> r.repositoryName(name));
                        } catch (AwsServiceException e) {
                            if (e.isThrottlingException()) {
                                refused.incrementAndGet();
                            }
                        }
                    }, 1000L * i / rate, TimeUnit.MILLISECONDS);
                }
                timer.shutdown();
                timer.awaitTermination(1, TimeUnit.MINUTES);
                if (refused.get() > 0) {
                    return rate + " (GetRepository): " + refused + " of " + 2 * rate + " are refused";
                }
            }
        }
        return "not at up to " + 5 * Integer.highestOneBit(Math.max(1, mostRequests / 5)) + " (GetRepository)";
    }

    // ---- what is made, and how it is removed

    private void noteKey(Account account, String alias) {
        made.note("key " + alias, "aws kms schedule-key-deletion --pending-window-in-days 7 --key-id " + alias,
                () -> account.deleteKeys(alias, "acceptance", name));
    }

    private void noteRepository(String repository) {
        made.note("repository " + repository, "aws codecommit delete-repository --repository-name " + repository,
                () -> source.codecommit.deleteRepository(r -> r.repositoryName(repository)));
    }

    private void noteBucket(Account account, String bucket) {
        made.note("bucket " + bucket, "aws s3 rb --force s3://" + bucket, () -> account.deleteBucket(bucket));
    }

    /** A script that takes back what it made; it must succeed, and find nothing when it is asked again. */
    private void remove(Account account, String... arguments) throws Exception {
        var run = toolkit(account, arguments);
        if (run.exitCode() != 0) {
            throw new IOException(run.lastLine());
        }
    }

    // ---- steps and questions

    private JsonNode command(String title, Account account, String... arguments) throws Exception {
        return command(title, account, List.of(0), arguments);
    }

    /** Runs a command of the toolkit, and notes how it went; its document, an empty one if it failed. */
    private JsonNode command(String title, Account account, List<Integer> expected, String... arguments)
            throws Exception {
        checkpoint();
        say(title + ": ./jbang " + String.join(" ", arguments));
        var start = System.nanoTime();
        var run = toolkit(account, arguments);
        checkpoint();
        var error = expected.contains(run.exitCode()) ? null : run.lastLine();
        note(title, "./jbang " + String.join(" ", arguments), run.exitCode(), start, error);
        return run.out().isBlank() ? JSON.createObjectNode() : JSON.readTree(run.out());
    }

    private void expect(String title, String command, SignedGit.Run run, boolean success) {
        checkpoint();
        var wrong = (run.exitCode() == 0) != success;
        note(title, command, run.exitCode(), System.nanoTime(), wrong ? "unexpected: " + run.lastLine() : null);
    }

    private void fail(String title, String command, String error) {
        note(title, command, 0, System.nanoTime(), error);
    }

    private void note(String title, String command, int exitCode, long start, String error) {
        report.steps.add(new Report.Step(title, command, exitCode, (System.nanoTime() - start) / 1e9, error));
        if (error != null) {
            say("FAILED: " + title + ": " + error);
        }
    }

    /** A question whose answer is what AWS does; an error is an answer, too. */
    private void ask(String question, Callable<String> asked) {
        checkpoint();
        String answer;
        try {
            answer = asked.call();
        } catch (Stopped e) {
            throw e;
        } catch (Exception e) {
            checkpoint();
            answer = "error: " + (e instanceof AwsServiceException service && service.awsErrorDetails() != null
                    ? service.awsErrorDetails().errorCode() + ": " : "") + e.getMessage();
        }
        report.answers.add(new Report.Answer(question, answer));
        say(question + " " + answer);
    }

    /** How long it takes until something holds that AWS refuses until then. */
    private String until(Callable<Boolean> condition) throws Exception {
        var start = System.nanoTime();
        while (true) {
            checkpoint();
            var seconds = (System.nanoTime() - start) / 1e9;
            if (holds(condition)) {
                return Math.round(seconds) + " s";
            }
            if (seconds > Duration.parse("PT" + timeout).toSeconds()) {
                return "not within " + timeout;
            }
            Thread.sleep(POLL.toMillis());
        }
    }

    private static boolean holds(Callable<Boolean> condition) throws Exception {
        try {
            return condition.call();
        } catch (SdkException e) {
            if (e instanceof AwsServiceException service && service.statusCode() < 500) {
                return false;
            }
            throw e;
        }
    }

    private SignedGit.Run toolkit(Account account, String... arguments) throws Exception {
        var command = new ArrayList<>(List.of(toolkit().resolve("jbang").toString()));
        command.addAll(List.of(arguments));
        command.addAll(List.of("--profile", account.profile, "--region", account.region));
        var builder = SignedGit.builder(work, command);
        process = builder.start();
        return SignedGit.finish(process);
    }

    /** Where ./jbang lies, which says so. */
    private static Path toolkit() {
        var home = System.getenv("TOOLKIT_HOME");
        return Path.of(home == null ? "" : home).toAbsolutePath();
    }

    // ---- the end

    private static final class Stopped extends RuntimeException { }

    private void checkpoint() {
        if (stopping) {
            throw new Stopped();
        }
    }

    /** At Ctrl-C: the step that runs ends, nothing more is made, and the main thread removes all. */
    private void stop(Thread main) {
        if (ended.getCount() == 0) {
            return;
        }
        stopping = true;
        report.interrupted = true;
        if (process != null) {
            process.destroy();
        }
        main.interrupt();
        try {
            ended.await();
        } catch (InterruptedException e) {
            say("not all is removed: look for " + name);
        }
    }

    private void write() throws IOException {
        var file = reportDirectory.toAbsolutePath().resolve(name);
        Files.writeString(Path.of(file + ".json"), report.json());
        Files.writeString(Path.of(file + ".md"), report.markdown());
        say("report: " + file + ".json and .md");
        for (var thing : report.left) {
            say("left behind: " + thing.name() + "; remove it by: " + thing.command());
        }
    }

    private static void delete(Path directory) throws IOException {
        try (var files = Files.walk(directory)) {
            for (var file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }

    private void say(String message) {
        spec.commandLine().getErr().println("acceptance: " + message);
    }
}
