import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Buildspec;
import localaws.Call;
import localaws.Fault;
import localaws.LocalAws;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The scheduled job: its phases, run as CodeBuild would, and what a build's colour tells. */
class BuildspecTest extends EmptyBucket {
    static final ObjectMapper JSON = new ObjectMapper();
    static final List<String> PHASES = Buildspec.PHASES;
    /** The runtimes of the Amazon Linux 2023 standard images. */
    static final Set<String> JAVA = Set.of("corretto8", "corretto11", "corretto17", "corretto21", "corretto25");

    @TempDir
    Path directory;

    /** A build that has ended. */
    record Build(boolean succeeded, List<Buildspec.Command> commands) {
        List<String> phases() {
            return commands.stream().map(Buildspec.Command::phase).distinct().toList();
        }

        int exitCode(String phase) {
            return last(phase).exitCode();
        }

        String err() {
            return commands.stream().map(Buildspec.Command::err).collect(Collectors.joining());
        }

        /** The document that the last command of a phase has left in the log. */
        JsonNode result(String phase) throws IOException {
            return JSON.readTree(last(phase).out());
        }

        private Buildspec.Command last(String phase) {
            return commands.stream().filter(command -> command.phase().equals(phase)).reduce((a, b) -> b)
                    .orElseThrow();
        }
    }

    /** In this clone of the toolkit; a project's variables go before those of the file. */
    Build build(String yaml, Map<String, String> variables) throws Exception {
        var buildspec = Buildspec.of(yaml);
        var process = Script.within(aws, new ProcessBuilder());
        var environment = process.environment();
        environment.keySet().removeIf(
                name -> name.matches("(GIT|CODEBUILD|BACKUP)_.*|TASK|SHARD|DEADLINE|REPOSITORY_NAMES"));
        environment.putAll(buildspec.variables());
        environment.putAll(variables);
        var commands = new ArrayList<Buildspec.Command>();
        var succeeded = buildspec.run(process, directory, new Buildspec.Listener() {
            @Override
            public void begins(String phase) {
                // the commands tell
            }

            @Override
            public void ran(Buildspec.Command command) {
                commands.add(command);
            }

            @Override
            public void ends(String phase, Buildspec.Command failed) {
                // the commands tell
            }
        });
        return new Build(succeeded, commands);
    }

    /** The job, in a project with these variables besides the bucket. */
    Build job(String... variables) throws Exception {
        var all = new TreeMap<>(Map.of("BACKUP_BUCKET", "backups", "BACKUP_BUCKET_OWNER", LocalAws.ACCOUNT));
        for (var i = 0; i < variables.length; i += 2) all.put(variables[i], variables[i + 1]);
        return build(Toolkit.read("buildspec.yml"), all);
    }

    private void repositories(String... names) {
        for (var name : names) aws.codecommit.createRepository(name).commit("refs/heads/main", "a.txt", name);
    }

    /** A night before. */
    private void saved() {
        Script.use(aws);
        var run = Script.run(new BackupToS3().commandLine(), "--bucket", "backups");
        assertEquals(0, run.exitCode(), run.err());
    }

    private static Map<String, String> statuses(JsonNode result) {
        return result.path("repositories").valueStream()
                .collect(Collectors.toMap(r -> r.path("repositoryName").asText(), r -> r.path("status").asText(),
                        (a, b) -> a, TreeMap::new));
    }

    private static List<String> findings(JsonNode result) {
        return result.path("findings").valueStream()
                .map(f -> f.path("code").asText() + " " + f.path("repositoryName").asText()).toList();
    }

    @Test
    void everyRepositoryIsSavedAndVerified() throws Exception {
        repositories("payments", "website");
        var build = job();
        assertTrue(build.succeeded(), build.toString());
        assertEquals(PHASES, build.phases());
        assertEquals(Map.of("payments", "created", "website", "created"), statuses(build.result("build")));
        assertEquals(Set.of("payments", "website"), statuses(build.result("post_build")).keySet());
        assertEquals(List.of(), findings(build.result("post_build")));
        assertEquals(2, bucket.keys().stream().filter(key -> key.endsWith(".full.bundle")).count());
    }

    /** The other repositories are saved, what is there is verified, and nobody takes the night for a good one. */
    @Test
    void aRepositoryThatFailsMakesTheBuildRedThoughAllThatIsThereIsGood() throws Exception {
        repositories("payments", "website");
        saved();
        aws.codecommit.repository("payments").commit("refs/heads/main", "a.txt", "new");
        aws.codecommit.repository("website").commit("refs/heads/main", "a.txt", "new");
        aws.inject(Fault.on("codecommit:GitPull").error(404, "RepositoryDoesNotExistException", "gone"));
        var build = job();
        assertFalse(build.succeeded());
        assertEquals(3, build.exitCode("build"));
        assertEquals(1, build.result("build").at("/totals/failed").asInt(), build.last("build").out());
        assertEquals(2, build.result("build").path("repositories").size());
        assertEquals(0, build.exitCode("post_build"));
        assertEquals(List.of(), findings(build.result("post_build")));
    }

    @Test
    void whatVerificationFindsMakesTheBuildRedThoughAllIsSaved() throws Exception {
        repositories("payments");
        saved();
        bucket.delete(bucket.keys().stream().filter(key -> key.endsWith(".full.bundle")).findFirst().orElseThrow());
        var build = job();
        assertFalse(build.succeeded());
        assertEquals(0, build.exitCode("build"));
        assertEquals(Map.of("payments", "unchanged"), statuses(build.result("build")));
        assertEquals(4, build.exitCode("post_build"));
        assertEquals(List.of("missing-object payments"), findings(build.result("post_build")));
    }

    /** The backup ends with 1 and without a document; that the repository has no restore point is said nevertheless. */
    @Test
    void aBackupThatFailsAsAWholeIsVerifiedToo() throws Exception {
        repositories("payments");
        aws.inject(Fault.on("s3:PutObject").always().error(403, "AccessDenied", "Access Denied"));
        var build = job();
        assertFalse(build.succeeded());
        assertEquals(1, build.exitCode("build"));
        assertEquals("", build.last("build").out());
        assertEquals(4, build.exitCode("post_build"));
        assertEquals(List.of("missing payments"), findings(build.result("post_build")));
    }

    /**
     * Two builds back up half of the repositories each and verify none, as the other half may be under way; a third one
     * verifies all.
     */
    @Test
    void severalBuildsShareTheWorkAndOneMoreVerifiesIt() throws Exception {
        var names = Stream.iterate(1, i -> i + 1).limit(8).map(i -> "r" + i).toArray(String[]::new);
        repositories(names);
        var saved = new ArrayList<String>();
        for (var shard : List.of("1/2", "2/2")) {
            var build = job("TASK", "backup", "SHARD", shard);
            assertTrue(build.succeeded(), build.toString());
            assertEquals("", build.last("post_build").out());
            assertEquals(Set.of("created"), Set.copyOf(statuses(build.result("build")).values()));
            saved.addAll(statuses(build.result("build")).keySet());
        }
        assertEquals(List.of(names), saved.stream().sorted().toList(), "each by one of them");
        aws.clearCalls();
        var build = job("TASK", "verify");
        assertTrue(build.succeeded(), build.toString());
        assertEquals("", build.last("build").out());
        assertEquals(new TreeSet<>(List.of(names)), statuses(build.result("post_build")).keySet());
        assertEquals(List.of(), findings(build.result("post_build")));
        assertTrue(aws.calls().stream().allMatch(Call::readOnly), aws.calls().toString());
    }

    /** A build for a push: the repository alone, which is not verified, as others may be under way. */
    @Test
    void namesOfRepositoriesAreSavedAlone() throws Exception {
        repositories("payments", "website");
        var build = job("TASK", "backup", "REPOSITORY_NAMES", "payments");
        assertTrue(build.succeeded(), build.toString());
        assertEquals(Map.of("payments", "created"), statuses(build.result("build")));
        assertEquals("", build.last("post_build").out());
        var all = job("REPOSITORY_NAMES", "payments");
        assertFalse(all.succeeded());
        assertTrue(all.err().contains("REPOSITORY_NAMES, or a SHARD other than 1/1, needs TASK=backup"), all.err());
    }

    /** Wrong settings are said in one line, before anything is started. */
    @ParameterizedTest
    @CsvSource(nullValues = "-", value = {
            "-, 111122223333, all, 1/1, 'set BACKUP_BUCKET, and'",
            "'', 111122223333, all, 1/1, 'set BACKUP_BUCKET, and'",
            "backups, -, all, 1/1, 'set BACKUP_BUCKET, and BACKUP_BUCKET_OWNER'",
            "backups, '', backup, 1/2, 'set BACKUP_BUCKET, and BACKUP_BUCKET_OWNER'",
            "backups, 111122223333, all, 2/4, 'a SHARD other than 1/1, needs TASK=backup'",
            "backups, 111122223333, verify, 2/4, 'a SHARD other than 1/1, needs TASK=backup'",
            "backups, 111122223333, backups, 1/1, 'TASK is all, backup or verify'",
            "backups, 111122223333, '', 1/1, 'TASK is all, backup or verify'"})
    void wrongSettingsEndTheBuildBeforeAnythingIsStarted(String name, String owner, String task, String shard,
            String right) throws Exception {
        var variables = new TreeMap<>(Map.of("TASK", task, "SHARD", shard));
        if (name != null) variables.put("BACKUP_BUCKET", name);
        if (owner != null) variables.put("BACKUP_BUCKET_OWNER", owner);
        var build = build(Toolkit.read("buildspec.yml"), variables);
        assertFalse(build.succeeded());
        assertEquals(List.of("install", "pre_build"), build.phases());
        var lines = build.err().lines().filter(line -> line.startsWith("buildspec.yml: ")).toList();
        assertEquals(1, lines.size(), build.err());
        assertTrue(lines.get(0).contains(right), lines.get(0));
        assertEquals(List.of(), aws.calls());
    }

    /**
     * Values stay values: they are no commands of the shell, no further words, no options and no files of arguments.
     */
    @Test
    void valuesAreNeverRead() throws Exception {
        var evil = "'; touch pwned; \"$(touch pwned)`touch pwned`\" --dry-run *";
        try {
            var build = job("BACKUP_BUCKET", evil, "BACKUP_BUCKET_OWNER", "@README.md");
            assertFalse(build.succeeded());
            assertEquals(2, build.exitCode("build"));
            assertEquals(2, build.exitCode("post_build"));
            assertTrue(build.err().contains("backup-to-s3: --bucket '" + evil + "'"), build.err());
            assertFalse(Files.exists(Path.of("pwned")));
            assertEquals(List.of(), aws.calls());
        } finally {
            Files.deleteIfExists(Path.of("pwned"));
        }
    }

    // The file

    static final Set<String> TOP = Set.of("version", "run-as", "env", "proxy", "batch", "phases", "reports",
            "artifacts", "cache");
    static final Set<String> ENV = Set.of("shell", "variables", "parameter-store", "exported-variables",
            "secrets-manager", "git-credential-helper");
    static final Set<String> CACHE = Set.of("key", "fallback-keys", "action", "paths");

    /** CodeBuild ignores what it does not know, so that a misspelt key would be found on the first bad night. */
    @Test
    void hasNoKeyThatCodeBuildDoesNotKnow() {
        var buildspec = Toolkit.buildspec();
        assertEquals("0.2", buildspec.path("version").asText());
        assertEquals("bash", buildspec.at("/env/shell").asText());
        var unknown = new TreeSet<String>();
        unknown(buildspec, TOP, "", unknown);
        unknown(buildspec.path("env"), ENV, "env/", unknown);
        unknown(buildspec.path("cache"), CACHE, "cache/", unknown);
        unknown(buildspec.path("phases"), Set.copyOf(PHASES), "phases/", unknown);
        for (var name : PHASES) {
            var phase = buildspec.path("phases").path(name);
            var known = new TreeSet<>(Set.of("run-as", "on-failure", "commands", "finally"));
            if (name.equals("install")) known.add("runtime-versions");
            unknown(phase, known, "phases/" + name + "/", unknown);
            for (var block : List.of("commands", "finally")) {
                for (var command : phase.path(block)) {
                    assertTrue(command.isTextual(), name + ": YAML makes this no text: " + command);
                }
            }
        }
        assertEquals(Set.of(), unknown);
        assertEquals(Set.of("java"), names(buildspec.at("/phases/install/runtime-versions")));
        assertTrue(JAVA.contains(buildspec.at("/phases/install/runtime-versions/java").asText()));
        for (var variable : buildspec.at("/env/variables")) {
            assertTrue(variable.isTextual(), "YAML makes this no text: " + variable);
        }
    }

    private static Set<String> names(JsonNode node) {
        return node.properties().stream().map(Map.Entry::getKey).collect(Collectors.toCollection(TreeSet::new));
    }

    private static void unknown(JsonNode node, Set<String> known, String path, Set<String> unknown) {
        names(node).stream().filter(name -> !known.contains(name)).map(name -> path + name).forEach(unknown::add);
    }

    /** A failure is a failure, wherever it stands. */
    @Test
    void hidesNoFailure() {
        for (var name : PHASES) {
            var phase = Toolkit.buildspec().path("phases").path(name);
            assertFalse(phase.has("on-failure"),
                    name + ": ABORT would keep the verification from running, CONTINUE says too little");
            for (var command : phase.path("commands")) {
                assertFalse(
                        command.asText().matches("(?s).*(\\|\\| *(true|:)|[^|]\\|[^|]* tee |exit 0|set \\+e|&\\s*$).*"),
                        command.asText());
                if (command.asText().contains("./jbang")) { // and its exit code is the command's
                    assertTrue(command.asText().strip().matches("(?s)if [^\n]*; then\n *\\./jbang [^\n]*\nfi"),
                            command.asText());
                }
            }
        }
    }

    /** What ./jbang and JBang keep between runs lies in CodeBuild's home, and is taken with all that is in it. */
    @Test
    void cachesWhatTheReadmeNames() {
        var paths = Toolkit.buildspec().at("/cache/paths").valueStream().map(JsonNode::asText).toList();
        assertEquals(List.of("/root/.m2/**/*", "/root/.jbang/cache/**/*", "/root/.cache/jbang-cli/**/*"), paths);
        for (var path : paths) assertTrue(Toolkit.read("README.md").contains("`" + path + "`"), path);
        assertTrue(Toolkit.read("jbang").contains("lib=${XDG_CACHE_HOME:-$HOME/.cache}/jbang-cli/"));
    }

    // The runner itself, so that a green build above means something

    @Test
    void theRunnerKeepsOneShellAndEndsAPhaseAtTheFirstFailure() throws Exception {
        var build = build("""
                version: 0.2
                env: {variables: {A: file, B: file}}
                phases:
                  install: {commands: ['x=1; cd /']}
                  pre_build: {commands: ['echo "$x $PWD $A $B"'], finally: ['echo finally']}
                  build: {commands: ['(exit 7)', 'echo skipped'], finally: ['echo cleaned']}
                  post_build: {commands: ['echo $CODEBUILD_BUILD_SUCCEEDING', 'cat']}
                """, Map.of("B", "project"));
        assertFalse(build.succeeded());
        assertEquals(List.of("install 0 ", "pre_build 0 1 / file project", "pre_build 0 finally", "build 7 ",
                "build 0 cleaned", "post_build 0 0",
                "post_build 0 "),
                build.commands().stream().map(c -> c.phase() + " " + c.exitCode() + " " + c.out()).toList());
    }

    @ParameterizedTest
    @CsvSource({"install, install", "pre_build, install pre_build", "build, install pre_build build post_build",
            "post_build, install pre_build build post_build", "none, install pre_build build post_build"})
    void theRunnerGoesOnAfterBuildOnly(String failing, String run) throws Exception {
        var yaml = PHASES.stream()
                .map(name -> "  " + name + ": {commands: ['" + (name.equals(failing) ? "false" : "true") + "']}")
                .collect(Collectors.joining("\n"));
        var build = build("version: 0.2\nphases:\n" + yaml, Map.of());
        assertEquals(run, String.join(" ", build.phases()));
        assertEquals(failing.equals("none"), build.succeeded());
        var other = "version: 0.2\nphases: {install: {on-failure: CONTINUE, commands: ['true']}}";
        assertThrows(IllegalArgumentException.class, () -> build(other, Map.of()));
    }
}
