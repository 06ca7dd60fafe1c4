import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import localaws.Call;
import localaws.CodeCommit;
import localaws.Fault;
import localaws.Kms;
import localaws.LocalAws;
import localaws.S3;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Restores of several repositories in one run, from backups that backup-to-s3 made. */
class RestoreFleetTest {
    static final String ROOT = Backups.ROOT + "eu-west-1/";

    @TempDir
    Path home;
    LocalAws aws;
    S3.Bucket bucket;
    Kms.Key key;
    Kms.Key productionKey;

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        bucket = aws.s3.createBucket("backups", "eu-west-1");
        key = aws.kms.createKey("eu-west-1");
        aws.kms.createAlias("eu-west-1", "alias/codecommit", key);
        productionKey = aws.kms.createKey("eu-west-1");
        aws.kms.createAlias("eu-west-1", "alias/codecommit-production", productionKey);
        Script.use(aws);
    }

    @AfterEach
    void stop() {
        aws.close();
    }

    /** Repositories of two environments with settings, one empty, one with a ref that CodeCommit does not take. */
    void company() {
        aws.codecommit.createApprovalRuleTemplate("two of them", 2);
        for (var name : List.of("ideas", "payments", "website")) {
            SampleRepositories.small(aws, name).key(key.arn).tag("Environment", name.equals("ideas") ? "test"
                    : "production").approvalRuleTemplate("two of them")
                    .trigger("tell", "arn:aws:sns:eu-west-1:111122223333:topic").description("about " + name);
        }
        aws.codecommit.createRepository("empty").key(key.arn).tag("Team", "None");
        SampleRepositories.small(aws, "notes").key(key.arn).ref("refs/notes/commits", "refs/heads/main");
        Backups.saved();
        aws.clearCalls();
    }

    static final List<String> COMPANY = List.of("empty", "ideas", "notes", "payments", "website");

    Script.Run restore(String... args) {
        return restore(new RestoreFromS3(), args);
    }

    Script.Run restore(RestoreFromS3 script, String... args) {
        return Script.run(script.commandLine(),
                Stream.concat(Stream.of("--bucket", "backups"), Stream.of(args)).toArray(String[]::new));
    }

    static Script.Run ended(int exitCode, Script.Run run) {
        assertEquals(exitCode, run.exitCode(), run.err() + run.out());
        return run;
    }

    static JsonNode entry(Script.Run run, String name) {
        return Backups.repository(run.json(), name);
    }

    static Map<String, String> byName(Script.Run run, String field) {
        return run.json().path("repositories").valueStream().collect(Collectors.toMap(
                each -> each.path("repositoryName").asText(), each -> each.path(field).asText(), (a, b) -> a,
                TreeMap::new));
    }

    /** Of the newest restore point. */
    Map<String, String> savedRefs(String name) {
        var newest = bucket.keys().stream().filter(each -> each.startsWith(ROOT + name + "/")
                && each.endsWith(".manifest.json.gz")).reduce((older, younger) -> younger).orElseThrow();
        return Backups.document(bucket, newest).path("refs").propertyStream()
                .collect(Collectors.toMap(Map.Entry::getKey, ref -> ref.getValue().asText()));
    }

    void assertRestored(String name, CodeCommit.Repo repository) throws IOException {
        var saved = savedRefs(name);
        saved.keySet().removeIf(ref -> !ref.matches("refs/(heads|tags)/.*"));
        assertEquals(saved, Git.refs(repository.directory()), name);
        assertEquals("", Git.fsck(repository.directory()), name);
    }

    long count(String call) {
        return aws.calls().stream().filter(each -> each.name().equals(call)).count();
    }

    static Set<String> leftovers() {
        return RestoreFromS3.entries(Path.of(System.getProperty("java.io.tmpdir"))).stream()
                .filter(name -> name.startsWith("restore-from-s3-")).collect(Collectors.toSet());
    }

    @Test
    void restoresAllBehindAPrefixWithKeysByTagAndTemplatesMadeOnce() throws Exception {
        company();
        var before = leftovers();
        aws.codecommit.forgetApprovalRuleTemplate("eu-west-1", "two of them");
        aws.clearCalls();
        var args = new String[] {"--all", "--to-prefix", "restored-", "--kms-key-ids-by-tag",
            "Environment=production=alias/codecommit-production", "--kms-key-id", "alias/codecommit"};
        var run = ended(3, restore(args));
        assertEquals("created", run.status());
        assertEquals(Set.of("created"), Set.copyOf(byName(run, "status").values()));
        assertEquals(COMPANY, List.copyOf(byName(run, "status").keySet()));
        for (var name : COMPANY) {
            var made = aws.codecommit.repository("restored-" + name);
            assertRestored(name, made);
            var isProduction = List.of("payments", "website").contains(name);
            assertEquals((isProduction ? productionKey : key).arn, made.key(), name);
            assertEquals(aws.codecommit.repository(name).tags(), made.tags());
            assertEquals(aws.codecommit.repository(name).triggers(), made.triggers());
            assertEquals(List.of(), made.fired());
            assertEquals("restored-" + name, entry(run, name).at("/repository/repositoryName").asText());
            assertTrue(entry(run, name).path("undo").asText().contains("delete-repository --repository-name=restored-"
                    + name + " "), run.out());
        }
        assertEquals("refs/notes/commits", entry(run, "notes").at("/leftOut/0/what").asText());
        assertEquals(1, count("codecommit:CreateApprovalRuleTemplate"));
        assertEquals(1, count("codecommit:GetApprovalRuleTemplate"));
        assertEquals(2, count("kms:DescribeKey"));
        assertEquals(List.of("two of them"), aws.codecommit.repository("restored-ideas").approvalRuleTemplates());
        assertEquals(5, run.json().at("/totals/created").asInt());
        assertEquals(1, run.json().at("/totals/leftOut").asInt());
        var lines = run.err().lines().toList();
        assertEquals(2 + COMPANY.size(), lines.size(), "one line a repository, one before, one after: " + run.err());
        assertTrue(lines.get(0).matches("restore-from-s3: restoring 5 repositories, 0.0 MB, 4 at a time; needs .* MB in"
                + " .*, which has .* MB"), lines.get(0));
        assertTrue(run.err().matches("(?s).*restore-from-s3: payments: created: 3 refs, 0.0 MB in \\d.*"), run.err());
        assertTrue(run.err().contains("notes: created: 4 refs") || run.err().contains("; left out: refs/notes/commits"),
                run.err());
        assertTrue(run.err().matches("(?s).*; 4 left, about \\d.*"), run.err());
        assertTrue(lines.get(6).matches("restore-from-s3: 5 of 5 repositories restored, 0.0 MB in .*: 5 created; not"
                + " all of 1: notes"), lines.get(6));
        assertEquals(before, leftovers());

        aws.clearCalls();
        var second = ended(3, restore(args));
        assertEquals("unchanged", second.status());
        assertEquals(Set.of("unchanged"), Set.copyOf(byName(second, "status").values()));
        Script.assertReadsOnly(aws);
        assertEquals(0, bundlesRead(), "nothing but manifests is downloaded");
    }

    long bundlesRead() {
        return aws.calls().stream().filter(call -> call.name().equals("s3:GetObject")
                && call.input().toString().contains(".bundle")).count();
    }

    @Test
    void restoresIntoAnotherAccountAndRegionUnderTheSameNames() throws Exception {
        company();
        bucket.policy("""
                {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"},
                  "Action": ["s3:ListBucket", "s3:GetObject"],
                  "Resource": ["arn:aws:s3:::backups", "arn:aws:s3:::backups/*"]}]}""");
        var theirs = aws.account("444455556666");
        theirs.kms.createAlias("us-east-1", "alias/codecommit", theirs.kms.createKey("us-east-1"));
        var login = aws.as("arn:aws:iam::444455556666:user/operator");
        System.setProperty("aws.accessKeyId", login.accessKeyId());
        System.setProperty("aws.secretAccessKey", login.secretAccessKey());
        var run = ended(3, restore("--repository-names", "pay*", "website", "--backup-account", "111122223333",
                "--backup-region", "eu-west-1", "--region", "us-east-1", "--to-codecommit", "--kms-key-id",
                "alias/codecommit"));
        assertEquals(List.of("payments", "website"), List.copyOf(byName(run, "status").keySet()));
        assertEquals(List.of("444455556666", "us-east-1"),
                List.of(run.json().path("account").asText(), run.json().path("region").asText()));
        for (var name : List.of("payments", "website")) {
            assertRestored(name, theirs.codecommit.repository("us-east-1", name));
            assertEquals("trigger tell", entry(run, name).at("/leftOut/0/what").asText());
            assertTrue(entry(run, name).at("/repository/arn").asText().startsWith("arn:aws:codecommit:us-east-1:4444"));
        }
        assertNull(theirs.codecommit.repository("us-east-1", "ideas"));
    }

    @Test
    void oneThatFailsStopsNoOther() throws Exception {
        company();
        bucket.keys().stream().filter(each -> each.matches(ROOT + "payments/.*\\.full\\.bundle"))
                .forEach(bucket::delete);
        var tooLong = "a".repeat(95);
        SampleRepositories.small(aws, tooLong).key(key.arn);
        Backups.saved("--repository-names", tooLong);
        bucket.keys().stream().filter(each -> each.matches(ROOT + "ideas/.*\\.manifest\\.json\\.gz"))
                .forEach(each -> bucket.put(each, "no manifest".getBytes(StandardCharsets.UTF_8)));
        var run = ended(3, restore("--repository-names", "payments", "website", "absent-*", "a?*", "ideas",
                "--to-prefix", "restored-"));
        assertEquals(Map.of("payments", "failed", "website", "created", "absent-*", "failed", tooLong, "failed",
                "ideas", "failed"), byName(run, "status"));
        assertTrue(entry(run, "ideas").path("error").asText().contains(".manifest.json.gz is damaged: "), run.out());
        assertTrue(entry(run, "payments").path("error").asText().contains(".full.bundle is missing; no restore point"
                + " before it is whole"), run.out());
        assertTrue(entry(run, tooLong).path("error").asText().contains("is no name that a repository can have"),
                run.out());
        assertTrue(entry(run, "absent-*").path("error").asText().startsWith("no restore point"), run.out());
        assertTrue(run.err().contains("restore-from-s3: 1 of 5 repositories restored, "), run.err());
        assertTrue(run.err().contains("; 4 failed: " + tooLong + ", absent-*, ideas, payments"), run.err());
        assertRestored("website", aws.codecommit.repository("restored-website"));
        // What is there with other refs stays, and if nothing can be restored, that is a failure.
        aws.codecommit.repository("website").commit("refs/heads/main", "mine", "mine");
        var none = ended(1, restore("--repository-names", "website", "payments", "--to-codecommit"));
        assertEquals("", none.out());
        assertTrue(none.err().contains("website: failed: website: has other refs than "), none.err());
        assertTrue(none.err().contains("0 of 2 repositories restored"), none.err());
        failedAtOnce(restore("--repository-names", "absent", "--to-codecommit"), "no restore point of absent below ");
        failedAtOnce(restore("--all", "--to-codecommit", "--kms-key-id", "alias/absent"), "no key alias/absent");
    }

    static void failedAtOnce(Script.Run run, String says) {
        ended(1, run);
        assertEquals(1, run.err().lines().count(), run.err());
        assertTrue(run.err().contains(says), run.err());
    }

    @Test
    void severalTagsThatNameSeveralKeysAreRefusedForThatRepository() {
        company();
        aws.codecommit.createRepository("both").tag("Environment", "production").tag("Team", "A=B").key(key.arn);
        Backups.saved("--repository-names", "both");
        var args = List.of("--repository-names", "both", "ideas", "--to-prefix", "r-", "--kms-key-ids-by-tag",
                "Environment=production=alias/codecommit-production");
        var run = ended(3, restore(Stream.concat(args.stream(), Stream.of("Team=A=B=alias/codecommit"))
                .toArray(String[]::new)));
        assertTrue(entry(run, "both").path("error").asText().contains("had several tags of --kms-key-ids-by-tag, with"
                + " several keys: Environment=production, Team=A=B"), run.out());
        assertEquals(key.arn, aws.codecommit.repository("r-ideas").key(), "the key that it had");
        ended(0, restore(Stream.concat(args.stream(), Stream.of("Team=A=B=alias/codecommit-production"))
                .toArray(String[]::new)));
        assertEquals(productionKey.arn, aws.codecommit.repository("r-both").key());
    }

    @Test
    void aDryRunSaysHowManyHowLargeAndWhatIsLeftOut() {
        company();
        var run = ended(3, restore("--all", "--to-prefix", "r-", "--dry-run"));
        assertEquals("would-create", run.status());
        assertEquals(5, run.json().at("/totals/would-create").asInt());
        assertEquals("refs/notes/commits", entry(run, "notes").at("/leftOut/0/what").asText());
        assertTrue(run.err().startsWith("restore-from-s3: would restore 5 repositories, 0.0 MB, 4 at a time; needs "),
                run.err());
        assertTrue(run.err().contains("5 of 5 repositories can be restored, 0.0 MB in "), run.err());
        assertTrue(run.json().at("/totals/bytes").asLong() > 1_000, run.out());
        Script.assertReadsOnly(aws);
        assertEquals(0, bundlesRead());
        assertFalse(run.json().toString().contains("\"undo\""), run.out());
        ended(0, restore("--all", "--directory", home.resolve("r").toString(), "--dry-run"));
        assertFalse(Files.exists(home.resolve("r")));
    }

    @Test
    void restoresBareRepositoriesBelowADirectoryAsOfATime() throws Exception {
        company();
        var then = Instant.now();
        var refsThen = savedRefs("website");
        aws.codecommit.repository("website").commit("refs/heads/main", "later", "later");
        SampleRepositories.small(aws, "younger");
        Backups.saved();
        var below = home.resolve("restored");
        // Two runs that were killed have left something, one lives.
        Files.createDirectories(below.resolve(".restoring-killed/repository-1/objects"));
        Files.writeString(below.resolve(".restoring-killed/lock"), "");
        Files.createDirectories(below.resolve(".restoring-alive"));
        Files.createDirectory(below.resolve("ideas.git"));
        var args = new String[] {"--all", "--exclude", "empty", "--at", then.toString(), "--directory",
            below.toString(), "--jobs", "2"};
        try (var alive = FileChannel.open(below.resolve(".restoring-alive/lock"), StandardOpenOption.CREATE,
                StandardOpenOption.WRITE); var lock = alive.lock()) {
            var run = ended(0, restore(args));
            assertTrue(lock.isValid());
            assertTrue(run.err().contains("removed " + below.resolve(".restoring-killed")), run.err());
            assertEquals(Set.of(".restoring-alive", "ideas.git", "notes.git", "payments.git", "website.git"),
                    Set.copyOf(RestoreFromS3.entries(below)));
            assertEquals(below.resolve("website.git").toString(), entry(run, "website").path("directory").asText());
            assertEquals("rm -rf " + below.resolve("website.git"), entry(run, "website").path("undo").asText());
        }
        assertEquals(refsThen, Git.refs(below.resolve("website.git")));
        for (var name : List.of("ideas", "notes", "payments")) {
            assertEquals(savedRefs(name), Git.refs(below.resolve(name + ".git")));
            assertEquals("", Git.fsck(below.resolve(name + ".git")));
        }
        aws.clearCalls();
        assertEquals("unchanged", ended(0, restore(args)).status());
        assertEquals(0, bundlesRead());
        Directories.delete(below.resolve("notes.git"));
        Files.createDirectories(below.resolve("notes.git/of-mine"));
        Files.writeString(below.resolve("empty.git"), "a file");
        var mixed = ended(3, restore("--all", "--directory", below.toString()));
        assertEquals(Map.of("empty", "failed", "ideas", "unchanged", "notes", "failed", "payments", "unchanged",
                "website", "failed", "younger", "created"), byName(mixed, "status"));
        assertTrue(entry(mixed, "website").path("error").asText().contains("is a Git repository with other refs"),
                mixed.out());
        assertTrue(Files.exists(below.resolve("notes.git/of-mine")));
    }

    static RestoreFromS3 full() {
        return new RestoreFromS3() {
            @Override
            long freeSpace(Path directory) {
                return 12_000_000;
            }
        };
    }

    @Test
    void theDiskIsCheckedBeforeAnythingIsBegun() {
        company();
        ended(3, restore(full(), "--all", "--to-prefix", "r-", "--jobs", "2", "--dry-run"));
        failedAtOnce(restore(full(), "--all", "--to-prefix", "r-", "--jobs", "3"), "has room for 12 MB and needs 13 MB"
                + " for 3 repositories at a time: make room, use fewer --jobs, or name another place");
        failedAtOnce(restore(full(), "--all", "--jobs", "2", "--directory", home.resolve("r").toString()),
                "has room for 12 MB and needs 21 MB: make room, or choose another --directory");
        assertFalse(Files.exists(home.resolve("r")));
        Script.assertReadsOnly(aws);
    }

    @ParameterizedTest
    @ValueSource(strings = {"where to? Use --to-codecommit | --all",
        "where to? Use --to-codecommit | --repository-names a b --at 2026-11-21",
        "--all: use it without --repository-names | --all --repository-names a --to-codecommit",
        "which are for one repository | --all --to-repository-name x",
        "which are for one repository | --all --repository-name x --to-codecommit",
        "which are for one repository | --repository-names x --to-codecommit --pull-requests HOME/p.json",
        "the key says all that | --all --to-codecommit --manifest KEY --at 2026-11-21",
        "which are for one repository | --all --to-codecommit --manifest KEY",
        "such as 'team-*' | --repository-names a/b --to-codecommit",
        "such as 'team-*' | --all --exclude a:b --to-codecommit",
        "1 to 64, such as 4 | --all --to-codecommit --jobs 0",
        "1 to 64, such as 4 | --all --to-codecommit --jobs 65",
        "such as restored- | --all --to-prefix a/b",
        "such as restored- | --all --to-prefix ÄÄÄ",
        "TAG=VALUE=KEY, such as | --all --to-codecommit --kms-key-ids-by-tag production=alias/x",
        "such as alias/codecommit | --all --to-codecommit --kms-key-ids-by-tag E=production=codecommit",
        "must be a key of the Region | --all --to-codecommit --kms-key-ids-by-tag"
                + " E=p=arn:aws:kms:us-east-1:111122223333:alias/x",
        "is there twice | --all --to-codecommit --kms-key-ids-by-tag E=p=alias/a E=p=alias/b",
        "use it with --to-repository-name or --to-codecommit | --all --directory HOME/x --kms-key-id alias/x",
        "use it with --to-repository-name or --to-codecommit | --all --directory HOME/x --kms-key-ids-by-tag"
                + " E=p=alias/a",
        "must be a directory that is no Git repository | --all --directory HOME/file",
        "must be a directory that is no Git repository | --all --directory HOME/no/such",
        "must be a directory that is no Git repository | --all --directory HOME/bare.git",
        "--to-codecommit: use it with --repository-names or --all | --repository-name x --to-codecommit",
        "--to-prefix: use it with --repository-names or --all | --repository-name x --to-prefix r-",
        "--exclude: use it with --repository-names or --all | --repository-name x --directory HOME/x --exclude y",
        "--list: use it without | --list --all --to-codecommit"})
    void refusesBadInputBeforeAnyCall(String rightAndArguments) throws Exception {
        Files.writeString(home.resolve("file"), "x");
        Files.writeString(Files.createDirectory(home.resolve("bare.git")).resolve("HEAD"), "x");
        var parts = rightAndArguments.split(" \\| ");
        var args = parts[1].replace("HOME", home.toString())
                .replaceAll("(?<=--manifest )KEY", ROOT + "r/20261121T040000123Z-0a1b2c3d.manifest.json.gz").split(" ");
        Script.assertRefused(restore(args), parts[0], aws);
    }

    @Test
    void theReportIsATableForPeople() {
        company();
        bucket.keys().stream().filter(each -> each.matches(ROOT + "ideas/.*\\.full\\.bundle")).forEach(bucket::delete);
        var run = ended(3, restore("--all", "--to-prefix", "r-", "--output", "table"));
        var rows = run.out().lines().map(String::strip).toList();
        assertEquals(6, rows.size(), run.out());
        assertTrue(rows.get(0).matches("(?i)repository ?name +status +restored ?to +time +refs +size +seconds +left"
                + " ?out +error"), rows.get(0));
        assertTrue(rows.get(2).matches("ideas +failed .*is missing.*"), rows.get(2));
        assertTrue(rows.get(3).matches("notes +created +r-notes +2.* refs/notes/commits +-"), rows.get(3));
        var summaries = run.err().lines().filter(line -> line.contains(" repositories restored, ")).toList();
        assertEquals(1, summaries.size(), run.err());
        assertTrue(summaries.get(0).contains("4 of 5 repositories restored, "), summaries.get(0));
        var csv = ended(3, restore("--all", "--to-prefix", "r-", "--output", "csv"));
        assertEquals(6, csv.out().lines().count(), csv.out());
    }

    @Test
    void listsASelection() {
        company();
        assertEquals(COMPANY, List.copyOf(byName(ended(0, restore("--list", "--all")), "repositoryName").keySet()));
        assertEquals(List.of("payments"), List.copyOf(byName(ended(0,
                restore("--list", "--repository-names", "*ay*", "--at", "2099-01-01")), "repositoryName").keySet()));
    }

    @Test
    void throttlingAndLostAnswersAreSurvived() throws Exception {
        company();
        for (var step : List.of("s3:GetObject", "codecommit:CreateRepository", "codecommit:GitPush",
                "codecommit:CreateApprovalRuleTemplate")) {
            aws.inject(Fault.on(step).after(1).times(2).throttle());
        }
        aws.inject(Fault.on("codecommit:CreateRepository").after(4).loseAnswer());
        ended(3, restore("--all", "--to-prefix", "r-"));
        for (var name : COMPANY) {
            assertRestored(name, aws.codecommit.repository("r-" + name));
        }
    }

    // ---- By hand

    static List<String> shell(String text) {
        return Pattern.compile("(?ms)^```sh\n(.*?)^```$").matcher(text).results().map(each -> each.group(1)).toList();
    }

    /** Runs what a text tells to be run, in a directory, with a program in the AWS CLI's place, if one is given. */
    String byHand(String commands, Path folder, Map<String, String> variables) throws Exception {
        var process = Script.within(aws, new ProcessBuilder("sh", "-eu", "-c", commands).directory(folder.toFile())
                .redirectErrorStream(true));
        process.environment().putAll(variables);
        var running = process.start();
        var said = new String(running.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, running.waitFor(), said);
        return said;
    }

    @Test
    void aStrangerRestoresEverythingByTheTextInTheBucket() throws Exception {
        Program.needsAwsCli();
        Program.needs("jq", "jq", "--version");
        company();
        aws.codecommit.repository("website").commit("refs/heads/main", "later", "later");
        Backups.saved();
        var folder = Backups.ROOT.replaceFirst("/$", "");
        var text = new String(bucket.get(folder + "/README.md"), StandardCharsets.UTF_8);
        assertEquals(Toolkit.read("README.md").split("\n### Restoring by hand\n")[1].split("\n### ")[0].strip(),
                text.split("\n## Restoring by hand\n")[1].strip(), "the toolkit says the same");
        var commands = shell(text);
        assertEquals(3, commands.size());
        var listed = byHand(commands.get(0), home, Map.of("bucket", "backups", "folder", folder)).lines().toList();
        assertEquals(bucket.keys().stream().filter(each -> each.endsWith(".manifest.json.gz")).toList(), listed);
        assertEquals(6, listed.size());
        var newest = new TreeMap<String, String>();
        listed.forEach(each -> newest.put(each.split("/")[4], each));
        for (var name : newest.keySet()) {
            var place = Files.createDirectory(home.resolve(name));
            var url = Git.run(Files.createDirectory(home.resolve(name + "-elsewhere")), "init", "--bare", "--quiet")
                    + home.resolve(name + "-elsewhere");
            var said = byHand(commands.get(1), place, Map.of("bucket", "backups", "manifest", newest.get(name)));
            assertTrue(said.endsWith(savedRefs(name).size() + " refs restored\n"), said);
            assertEquals(savedRefs(name), Git.refs(place.resolve("repository.git")));
            if (name.equals("empty")) continue; // which git does not push
            byHand(commands.get(2), place, Map.of("url", url));
            var pushed = savedRefs(name);
            pushed.keySet().removeIf(ref -> !ref.matches("refs/(heads|tags)/.*"));
            assertEquals(pushed, Git.refs(Path.of(url)));
        }
        var verified = Script.run(new VerifyBackups().commandLine(), "--bucket", "backups", "--all");
        assertEquals(0, verified.exitCode(), "the text is no orphan: " + verified.out());
    }

    // ---- Killed runs

    static final boolean LONG = Boolean.getBoolean("tests.long");

    /** Small repositories, every tenth of them larger. */
    void fleet(int count) {
        IntStream.range(0, count).forEach(i -> {
            var repository = SampleRepositories.small(aws, String.format("r%04d", i)).key(key.arn);
            if (i % 10 == 0) {
                repository.commit("refs/heads/main", "large", SampleRepositories.bulk(200_000));
            }
        });
        assertEquals(0, Backups.run(script -> { }, "--jobs", "8").exitCode());
    }

    Process start(Map<String, String> environment, String... args) throws Exception {
        var command = new ArrayList<>(Script.withDefaultSignals());
        command.addAll(Script.java(List.of("-Xmx512m"), "RestoreFromS3", "--bucket", "backups"));
        command.addAll(List.of(args));
        var builder = new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(home.resolve("said").toFile());
        Script.within(aws, builder).environment().putAll(environment);
        return builder.start();
    }

    String said() {
        try {
            return Files.readString(home.resolve("said"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Those that restore; before them a run only reads the backups. */
    long callsOfCodeCommit() {
        return aws.calls().stream().filter(call -> call.name().startsWith("codecommit:")).count();
    }

    /**
     * The same command again and again, each time killed after some more of its calls; what is complete is not pushed
     * again, and at the end every ref is right and nothing is left behind.
     */
    @Test
    void theSameCommandGoesOnAfterAnyKill() throws Exception {
        var count = LONG ? 1_000 : 12;
        var kills = LONG ? 10 : 2;
        var seed = LONG ? new Random().nextLong() : 7;
        var random = new Random(seed);
        fleet(count);
        aws.clearCalls();
        var work = Files.createDirectory(home.resolve("tmp"));
        var environment = Map.of("JAVA_TOOL_OPTIONS", "-Djava.io.tmpdir=" + work);
        String[] args = {"--all", "--to-prefix", "x-", "--jobs", "3"};
        var killed = 0;
        for (var kill = 0; kill < kills; kill++) {
            var done = callsOfCodeCommit() + 20 + random.nextInt(count * 20 / kills);
            var process = start(environment, args);
            Wait.until(() -> callsOfCodeCommit() >= done || !process.isAlive(), this::said);
            // The last is interrupted, the others have no chance to tidy up.
            var signal = kill == kills - 1 ? "-INT" : "-KILL";
            new ProcessBuilder("kill", signal, String.valueOf(process.pid())).start().waitFor();
            var code = Wait.forEnd(process, this::said);
            assertTrue(Set.of(0, 130, 137).contains(code), "seed " + seed + ": " + code + said());
            if (code != 0) killed++;
            if (code == 130) {
                assertTrue(said().contains("done; the same command again does the rest"), said());
                assertEquals(List.of(), RestoreFromS3.entries(work), "an interrupted run tidies up");
            }
        }
        assertTrue(killed > 0, "seed " + seed + ": all ended before they were killed");
        var complete = IntStream.range(0, count).mapToObj(i -> String.format("r%04d", i))
                .filter(name -> isComplete(name)).collect(Collectors.toSet());
        aws.clearCalls();
        var process = start(environment, args);
        assertEquals(0, Wait.forEnd(process, this::said), "seed " + seed + ": " + said());
        for (var i = 0; i < count; i++) {
            var name = String.format("r%04d", i);
            assertRestored(name, aws.codecommit.repository("x-" + name));
        }
        complete.retainAll(aws.calls().stream().filter(call -> call.name().equals("codecommit:GitPush"))
                .map(call -> call.input().toString().replaceAll("(?s).*\\bx-(r\\d{4}).*", "$1"))
                .collect(Collectors.toSet()));
        assertEquals(Set.of(), complete, "what is complete is not pushed again");
        assertEquals(List.of(), RestoreFromS3.entries(work));
    }

    private boolean isComplete(String name) {
        try {
            var made = aws.codecommit.repository("x-" + name);
            return made != null && savedRefs(name).equals(Git.refs(made.directory()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void manyRepositoriesTakeFewCalls() throws Exception {
        fleet(8);
        aws.clearCalls();
        ended(0, restore("--all", "--directory", home.resolve("r").toString()));
        assertEquals(1, count("s3:ListObjectsV2"));
        assertEquals(8 * 3, count("s3:GetObject"), "the manifest before and again, and the bundle");
        assertEquals(List.of(), aws.calls().stream().map(Call::name).filter(name -> name.startsWith("codecommit:"))
                .toList());
    }
}
