import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Sandbox;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** The sandbox as a process of its own, as a user starts it. */
class SandboxTest {
    @TempDir
    Path temp;
    /** The temporary directory of the processes: nothing may be left in it. */
    Path theirTemp;
    final Map<String, String> environment = new TreeMap<>();

    @BeforeEach
    void directories() throws IOException {
        theirTemp = Files.createDirectory(temp.resolve("their temp"));
    }

    ProcessBuilder sandbox(String... arguments) {
        var command = new ArrayList<>(List.of(Path.of("jbang").toAbsolutePath().toString(), "sandbox"));
        command.addAll(List.of(arguments));
        var builder = new ProcessBuilder(command);
        builder.environment().putAll(Map.of("TMPDIR", theirTemp.toString(),
                "JAVA_TOOL_OPTIONS", "-Djava.io.tmpdir=\"" + theirTemp + "\"",
                "GIT_CONFIG_NOSYSTEM", "1", "GIT_CONFIG_GLOBAL", "/dev/null"));
        builder.environment().putAll(environment);
        return builder;
    }

    Script.Run run(String... arguments) throws Exception {
        var out = Files.createTempFile(temp, "out", "");
        var err = Files.createTempFile(temp, "err", "");
        var process = sandbox(arguments).redirectOutput(out.toFile()).redirectError(err.toFile()).start();
        var run = new Script.Run(process.waitFor(), Files.readString(out), Files.readString(err));
        assertNothingLeft();
        return run;
    }

    void assertNothingLeft() throws IOException {
        try (var files = Files.list(theirTemp)) {
            assertEquals(List.of(),
                    files.filter(file -> !file.getFileName().toString().startsWith("hsperfdata")).toList());
        }
    }

    /** A command in the sandbox that has to succeed; what it printed. */
    String bash(String commands) throws Exception {
        var run = run("--", "bash", "-euo", "pipefail", "-c", commands);
        assertEquals(0, run.exitCode(), run.out() + run.err());
        return run.out();
    }

    Path repository() throws Exception {
        var repository = Files.createDirectory(temp.resolve("shop"));
        Git.run(repository, "init", "-q", "-b", "trunk");
        Git.run(repository, "commit", "-q", "--allow-empty", "-m", "first");
        Git.run(repository, "tag", "-a", "-m", "one", "v1");
        Git.run(repository, "branch", "odd/\"ünï\"");
        Git.run(repository, "update-ref", "refs/remotes/origin/trunk", "HEAD");
        return repository;
    }

    @Test
    void theTourEndsWellAndShowsEachScriptCreatedThenUnchanged() throws Exception {
        var tour = run();
        assertEquals(0, tour.exitCode(), tour.out() + tour.err());
        assertTrue(tour.out().endsWith("\n  exit code 0\n"), tour.out());
        for (var script : Toolkit.scripts()) {
            assertTrue(tour.out().contains("\n$ ./jbang " + Toolkit.kebab(script) + " "), script + "\n" + tour.out());
        }
        var writing = Toolkit.scripts().size() - Toolkit.READING.size();
        for (var line : List.of("with --dry-run: +would-(create|update)",
                "for real: +(created|updated)(, exit code 4)?", "once more: +unchanged")) {
            assertEquals(writing, tour.out().lines().filter(said -> said.matches("  " + line)).count(), tour.out());
        }
        for (var said : List.of("unchanged, exit code 3", "schedule-backup: log: backup-to-s3: .* AccessDenied: .*",
                "mail: \"Build of codecommit-backup in account 111122223333, eu-west-1: FAILED[.] .*",
                "mail: \"Security event: referenceDeleted in account 111122223333, eu-west-1, at .*",
                "delivered: true")) {
            assertEquals(1, tour.out().lines().filter(line -> line.matches("  " + said)).count(), tour.out());
        }
        for (var said : List.of("for real: +created, exit code 4", "exit code 4", "exit code 0")) {
            assertEquals(2, tour.out().lines().filter(line -> line.matches("  " + said)).count(), tour.out());
        }
        assertEquals(3, tour.out().lines().filter("  Subscription confirmed: operations@example.com"::equals).count(),
                tour.out());
        for (var refusal : List.of("HTTP 403", "not authorized to perform: s3:PutObject")) {
            assertEquals(1, tour.out().lines().filter(said -> said.matches("  refused: .*" + refusal + " .*")).count(),
                    tour.out());
        }
        assertTrue(tour.out().contains("not AWS's"), tour.out());
    }

    @Test
    void exitsWithTheCommandsCode() throws Exception {
        var seven = run("--", "sh", "-c", "echo \"$0 $1 $2\"; exit 7", "a b", "$x", "*");
        assertEquals(7, seven.exitCode(), seven.err());
        assertEquals("a b $x *\n", seven.out(), "stdout is the command's");
        assertEquals(143, run("--", "sh", "-c", "kill -TERM $$").exitCode());
        assertEquals(127, run("--", "no-such-command").exitCode());
    }

    @Test
    void refusesWhatItDoesNotKnowInOneLine() {
        var run = Script.run(new Sandbox().commandLine(), "--git-dri", "x");
        assertEquals(2, run.exitCode());
        assertEquals("", run.out());
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().startsWith("sandbox: Unknown option") && run.err().contains("./jbang sandbox --help"),
                run.err());
    }

    @Test
    void itsHelpFitsATerminal() {
        var command = new Sandbox().commandLine();
        var help = command.getUsageMessage(CommandLine.Help.Ansi.OFF).lines().toList();
        assertTrue(help.get(0).startsWith("Usage: ./jbang sandbox "), help.get(0));
        for (var line : command.getCommandSpec().usageMessage().footer()) {
            assertTrue(help.contains(line), "it is wrapped: " + line);
        }
    }

    @Test
    void nothingOfTheUsersAccountIsSeenInIt() throws Exception {
        environment.putAll(Map.of("AWS_PROFILE", "production", "AWS_SESSION_TOKEN", "real", "AWS_ENDPOINT_URL_KMS",
                "https://kms.eu-west-1.amazonaws.com", "AWS_REGION", "us-east-1",
                "HTTP_PROXY", "http://127.0.0.1:9", "http_proxy", "http://127.0.0.1:9", "GIT_DIR", "/nowhere",
                "GIT_CONFIG_COUNT", "1", "GIT_CONFIG_KEY_0", "user.name", "GIT_CONFIG_VALUE_0", "Grace"));
        Files.writeString(temp.resolve("gitconfig"), "[credential]\n\thelper = \"!touch '" + temp
                + "/helper-was-called'; false\"\n[http]\n\tproxy = http://127.0.0.1:9\n");
        environment.put("GIT_CONFIG_GLOBAL", temp.resolve("gitconfig").toString());
        var seen = bash(
                "git config user.name; git clone -q $AWS_ENDPOINT_URL/v1/repos/payments p; git -C p log --format=%s "
                        + "-1; rm -rf p; env | grep ^AWS_ | sort; ./jbang create-kms-key --alias alias/x --print "
                        + "/status");
        assertEquals(
                List.of("Grace", "Write src/Pay.java", "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
                        "AWS_CONFIG_FILE=its own", "AWS_DEFAULT_REGION=eu-west-1", "AWS_EC2_METADATA_DISABLED=true"),
                seen.lines().limit(6).map(line -> line.replaceFirst("=.*/sandbox-\\d+/config$", "=its own")).toList());
        assertFalse(seen.contains("production") || seen.contains("real") || seen.contains("KMS"), seen);
        assertTrue(seen.contains("AWS_REGION=eu-west-1\n") && seen.endsWith("created\n"), seen);
        assertFalse(Files.exists(temp.resolve("helper-was-called")));
    }

    @Test
    void gitSignsInByItselfAndShowsNoPassword() throws Exception {
        var run = run("--", "bash", "-euc",
                "cd \"$TMPDIR\"; GIT_TRACE=1 git clone -q $AWS_ENDPOINT_URL/v1/repos/payments p; cd p; git log --all "
                        + "--format=%s; git tag; git branch -r"
                        + "; git checkout -q -b new; GIT_TRACE=1 git push -q origin new; git ls-remote origin; cd "
                        + "..; rm -rf p");
        assertEquals(0, run.exitCode(), run.err());
        assertTrue(run.out().contains("v1.1\n") && run.out().contains("origin/refunds\n")
                && run.out().contains("refs/heads/new\n"), run.out());
        assertTrue(run.err().contains("credential-helper"), run.err());
        assertFalse(run.err().matches("(?s).*\\d{8}T\\d{6}Z[0-9a-f]{64}.*") || run.err().contains("EXAMPLEKEY"),
                run.err());
    }

    @Test
    void theAwsClisCredentialHelperSignsInToo() throws Exception {
        Program.needsAwsCli();
        environment.put("SHOP", repository().toString());
        var out = bash(
                "url=$(aws codecommit create-repository --repository-name cli --query "
                        + "repositoryMetadata.cloneUrlHttp --output text)"
                        + "; git -C \"$SHOP\" -c credential.$AWS_ENDPOINT_URL.helper= -c "
                        + "credential.$AWS_ENDPOINT_URL.helper='!aws codecommit credential-helper "
                        + "--ignore-host-check $@' push -q --mirror $url"
                        + "; git ls-remote $url; aws codecommit get-repository --repository-name cli --query "
                        + "repositoryMetadata.defaultBranch --output text"
                        + "; echo hello | aws s3 cp - s3://$BACKUP_BUCKET/a/b; cat "
                        + "\"$SANDBOX_S3/$BACKUP_BUCKET/a/b\"; aws ec2 describe-vpcs --query Vpcs[].VpcId --output "
                        + "text; echo $VPC_ID");
        assertTrue(out.contains("refs/heads/odd/\"ünï\"\n") && out.contains("refs/tags/v1^{}\n"), out);
        assertTrue(out.matches("(?s).*\nhello\n(vpc-\\w+)\n\\1\n"), out);
    }

    /** What the README's table of profiles has as examples, one after the other. */
    @Test
    void theProfilesAreWhoTheReadmeSays() throws Exception {
        Program.needsAwsCli();
        var rows = Toolkit.read("README.md").lines()
                .filter(line -> line.matches("\\| `(source|backup|administrator|developer|auditor|backup-\\w+)` \\|.*"))
                .map(line -> line.split(" *\\| *")).toList();
        assertEquals(8, rows.size());
        var commands = rows.stream().map(row -> row[3].replaceAll("^`|`$", "") + " > \"$TMPDIR/said\"\n"
                + "aws sts get-caller-identity --query Arn --output text --profile " + row[1].replace("`", "") + "\n");
        var who = bash(commands.collect(Collectors.joining()) + "rm \"$TMPDIR/said\"\n").lines()
                .map(arn -> arn.replaceAll("^arn:aws:\\w+::|/[\\w.-]+$", "")).toList();
        assertEquals(List.of("111122223333:user", "444455556666:user", "111122223333:assumed-role/Administrator",
                "111122223333:assumed-role/Developer", "111122223333:assumed-role/BackupWriter",
                "111122223333:assumed-role/Auditor", "444455556666:assumed-role/BackupReader",
                "444455556666:assumed-role/Auditor"), who);
    }

    /** Its seven commands, as they stand there: the mail is not confirmed then. */
    @Test
    void theReadmesNightlyBackupStandsFromNothing() throws Exception {
        assumeTrue(Boolean.getBoolean("tests.long"), "takes long: ./jbang test --long");
        Program.needsAwsCli();
        var readme = Toolkit.read("README.md");
        var section = readme.substring(readme.indexOf("## From nothing to a nightly backup\n"));
        var recipe = section.substring(section.indexOf("```sh\n") + 6, section.indexOf("\n```\n"));
        var commands = recipe.replaceAll("\\\\\n *", "").lines().toList();
        assertEquals(7, commands.size());
        var run = run("--", "bash", "-c", commands.stream().map(command -> command + " > \"$TMPDIR/said\"\necho $?\n")
                .collect(Collectors.joining()) + "rm \"$TMPDIR/said\"\n");
        assertEquals(List.of("0", "0", "0", "0", "0", "4", "0"), run.out().lines().toList(), run.err());
    }

    @Test
    void theReadmesGovernedAccountStandsFromNothing() throws Exception {
        var readme = Toolkit.read("README.md");
        var section = readme.substring(readme.indexOf("## From nothing to a governed account\n"));
        var recipe = section.substring(section.indexOf("```sh\n") + 6, section.indexOf("\n```\n"));
        var lines = bash("cd \"$TOOLKIT_HOME\"\n" + recipe.replace("encryption.csv", "\"$TMPDIR/encryption.csv\"")
                + "\ncat \"$TMPDIR/encryption.csv\"; rm \"$TMPDIR/encryption.csv\"\n").lines().toList();
        assertEquals(5, Collections.frequency(lines, "created"), lines::toString);
        assertEquals(3, Collections.frequency(lines, "updated"), lines::toString);
        assertEquals(3, lines.stream().filter(line -> line.matches("(ideas|payments|website),.*aws-managed.*")).count(),
                lines::toString);
        assertEquals(3, lines.stream().filter(line -> line.matches("(ideas|payments|website) +alias/codecommit .*"))
                .count(), lines::toString);
    }

    /** Signed in by another implementation than this project's, read back without it. */
    @Test
    void whatTheAwsCliSignedInForComesBackFromTheBackupByGitAlone() throws Exception {
        assumeTrue(Boolean.getBoolean("tests.long"), "takes long: ./jbang test --long");
        Program.needsAwsCli();
        environment.putAll(Map.of("OWN", ownHistory().toString(), "LARGE", large().toString()));
        var out = bash("""
                for repo in "$OWN" "$LARGE"; do
                  url=$(aws codecommit create-repository --repository-name "${repo##*/}" \
                    --query repositoryMetadata.cloneUrlHttp --output text)
                  helper='!aws codecommit credential-helper --ignore-host-check $@'
                  git -C "$repo" -c credential.$AWS_ENDPOINT_URL.helper= \
                    -c credential.$AWS_ENDPOINT_URL.helper="$helper" push -q "$url" HEAD 2>&1
                  git -C "$repo" push -q --mirror "$url" 2>"$TMPDIR/log"
                done
                ./jbang backup-to-s3 --bucket $BACKUP_BUCKET --repository-names own large --print /status
                for repo in "$OWN" "$LARGE"; do
                  bundle=$(echo "$SANDBOX_S3/$BACKUP_BUCKET"/*/*/*/*/"${repo##*/}"/*.full.bundle)
                  git clone -q --mirror "$bundle" "$TMPDIR/restored.git"
                  git -C "$TMPDIR/restored.git" fsck --strict --no-progress
                  diff <(git ls-remote "$repo") <(git ls-remote "$TMPDIR/restored.git")
                  git ls-remote "$TMPDIR/restored.git" | grep -c refs/
                  rm -rf "$TMPDIR/restored.git" "$TMPDIR/log"
                done
                """);
        var lines = out.lines().filter(line -> line.matches("created|\\d+")).toList();
        assertEquals("created", lines.get(0), out);
        assertTrue(Integer.parseInt(lines.get(1)) > 0 && Integer.parseInt(lines.get(2)) >= 1_000, out);
    }

    /** This project's own history, or what there is of it. */
    Path ownHistory() throws Exception {
        var own = temp.resolve("own");
        assumeTrue(new ProcessBuilder("git", "rev-parse", "--verify", "-q", "HEAD").start().waitFor() == 0,
                "these sources are in no Git repository");
        assumeTrue(Git.run(Path.of("."), "rev-parse", "--is-shallow-repository").strip().equals("false"),
                "these sources are in a shallow clone");
        Git.run(temp, "clone", "-q", "--no-hardlinks", Path.of("").toAbsolutePath().toString(), "own");
        Git.run(own, "checkout", "-q", "-B", "main");
        Git.run(own, "update-ref", "--no-deref", "-d", "refs/remotes/origin/HEAD");
        Git.run(own, "tag", "-a", "-m", "as it is", "now");
        return own;
    }

    /** More than 50 MB that cannot be compressed, and more than 1,000 refs. */
    Path large() throws Exception {
        var large = Files.createDirectory(temp.resolve("large"));
        Git.run(large, "init", "-q", "-b", "main");
        Repositories.addBlobs(large, 7, 1_000, 52_000, 1_000);
        return large;
    }

    @Test
    void aRepositoryOfTheUsersIsThereAndOnlyRead() throws Exception {
        var shop = repository();
        var refs = Git.run(shop, "for-each-ref");
        var run = run("--git-dir", shop.toString(), "--", "bash", "-euc",
                "cd \"$TMPDIR\"; git clone -q $AWS_ENDPOINT_URL/v1/repos/shop s; cd s; git branch --show-current; "
                        + "git ls-remote origin"
                        + "; git -c user.name=Ada -c user.email=a@example.com commit -q --allow-empty -m more; git "
                        + "push -q origin trunk :refs/tags/v1; git ls-remote origin; cd ..; rm -rf s");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("trunk", run.out().lines().findFirst().orElse(""));
        var head = Git.run(shop, "rev-parse", "HEAD").strip();
        assertTrue(run.out().contains(head + "\trefs/heads/odd/\"ünï\"\n")
                && run.out().contains(head + "\trefs/tags/v1^{}\n"), run.out());
        assertFalse(run.out().contains("refs/remotes"), run.out());
        assertEquals(refs, Git.run(shop, "for-each-ref"));
        assertEquals("", Git.run(shop, "status", "--porcelain"));
        assertEquals("1", Git.run(shop, "rev-list", "--count", "--all").strip());
    }

    /** Before anything is started. */
    Script.Run refused(String directory) {
        return Script.run(new Sandbox().commandLine(), "--git-dir", temp.resolve(directory).toString(), "--", "true");
    }

    @Test
    void refusesARepositoryThatIsNotWhole() throws Exception {
        Git.run(temp, "clone", "-q", "--depth", "1", "file://" + repository(), "shallow");
        var shallow = refused("shallow");
        assertEquals(1, shallow.exitCode());
        assertTrue(shallow.err().contains("git fetch --unshallow"), shallow.err());
        assertEquals(2, refused("nothing").exitCode());
        Files.createDirectory(temp.resolve("empty"));
        var empty = refused("empty");
        assertEquals(1, empty.exitCode());
        assertTrue(empty.err().contains("no Git repository"), empty.err());
        var origin = temp.resolve("shop");
        Files.writeString(origin.resolve("a"), "a\n");
        Git.run(origin, "add", "a");
        Git.run(origin, "commit", "-q", "-m", "second");
        Git.run(origin, "config", "uploadpack.allowFilter", "true");
        Git.run(temp, "clone", "-q", "--filter=blob:none", "--no-checkout", "file://" + origin, "partial");
        var partial = refused("partial");
        assertEquals(1, partial.exitCode());
        assertTrue(partial.err().contains("as partial clones do"), partial.err());
        Git.run(temp.resolve("partial"), "fetch", "-q", "--refetch", "--no-filter");
        assertEquals(0, run("--git-dir", temp.resolve("partial").toString(), "--", "true").exitCode());
    }

    static List<ProcessHandle> started(Process process, String program) {
        return process.descendants().filter(child -> child.info().command().orElse("").endsWith(program)).toList();
    }

    @Test
    void whenItIsInterruptedItEndsItsChildrenAndLeavesNothing() throws Exception {
        var builder = sandbox("--", "bash", "-c", "sleep 1000 & sleep 1000").redirectErrorStream(true)
                .redirectOutput(temp.resolve("log").toFile());
        builder.command(Stream.concat(Script.withDefaultSignals().stream(), builder.command().stream()).toList());
        var process = builder.start();
        Wait.until(() -> started(process, "sleep").size() == 2 || !process.isAlive(), () -> started(process, "") + "");
        var children = Stream.concat(started(process, "sleep").stream(), started(process, "bash").stream()).toList();
        assertTrue(children.size() > 2, children + Files.readString(temp.resolve("log")));
        assertEquals(0, new ProcessBuilder("kill", "-INT", String.valueOf(process.pid())).start().waitFor());
        assertEquals(130, Wait.forEnd(process, () -> "it takes no signal"));
        for (var child : children) assertFalse(child.isAlive(), child.info().toString());
        assertNothingLeft();
    }
}
