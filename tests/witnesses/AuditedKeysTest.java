import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.TreeMap;
import java.util.UUID;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.Kms;
import localaws.LocalAws;
import org.junit.jupiter.api.Test;

/**
 * An account of 60 repositories under keys of all kinds, as audit-encryption and the AWS CLI see it, row by row; and
 * the commands that the audit prints, which an operator pastes.
 */
class AuditedKeysTest {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String REGION = "eu-west-1";

    private Kms.Key key(LocalAws aws, String name, int rotationPeriod) {
        var key = aws.kms.createKey(REGION);
        if (!name.isEmpty()) aws.kms.createAlias(REGION, "alias/" + name, key);
        key.rotationPeriod = rotationPeriod;
        return key;
    }

    /**
     * The ids of the keys by what is odd about them, null for the key that AWS manages. There are few of them, as each
     * costs starts of the CLI.
     */
    private Map<String, String> keys(LocalAws aws) {
        var keys = new LinkedHashMap<String, String>();
        keys.put("managed", null);
        keys.put("good", key(aws, "good", 365).arn);
        aws.kms.createAlias(REGION, "alias/good-too", aws.kms.find("alias/good", REGION));
        keys.put("slow", key(aws, "", 2_000).arn);
        keys.put("off", key(aws, "off", 0).arn);
        var disabled = key(aws, "disabled", 365);
        disabled.state = "Disabled";
        keys.put("disabled", disabled.arn);
        var ending = key(aws, "ending", 365);
        ending.state = "PendingDeletion";
        ending.deletion = Instant.now().plus(Duration.ofDays(9));
        keys.put("ending", ending.arn);
        var imported = key(aws, "imported", 0);
        imported.origin = "EXTERNAL";
        imported.validTo = Instant.now().plus(Duration.ofDays(30));
        keys.put("imported", imported.arn);
        var primary = aws.kms.createMultiRegionKey("eu-west-2", REGION);
        primary.rotationPeriod = 365;
        keys.put("replica", aws.kms.find(primary.keyId, REGION).arn);
        keys.put("missing", "arn:aws:kms:eu-west-1:111122223333:key/" + UUID.randomUUID());
        var foreign = aws.account(LocalAws.BACKUP_ACCOUNT).kms;
        keys.put("foreign, denied", foreign.createKey(REGION).arn);
        var shared = foreign.createKey(REGION);
        shared.policy = shared.policy.replace("\"Statement\":[", "\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":"
                + "{\"AWS\":\"111122223333\"},\"Action\":\"kms:*\",\"Resource\":\"*\"},");
        keys.put("foreign, shared", shared.arn);
        return keys;
    }

    /** The CLI's answer; its error code, as a text, if there is none. */
    private static JsonNode cli(LocalAws aws, String... arguments) throws Exception {
        var command = Stream.concat(Stream.of("aws", "--output", "json"), Arrays.stream(arguments));
        var run = Program.run(Path.of("."), Script.environment(aws), command.toArray(String[]::new));
        return run.exitCode() == 0 ? JSON.readTree(run.out())
                : JSON.getNodeFactory().textNode(run.err().replaceAll("(?s).*\\((\\w+)\\).*", "$1"));
    }

    /** What the CLI says of a key: manager, state, rotation, kind and origin, as the audit's list has them. */
    private static List<String> facts(LocalAws aws, String id) throws Exception {
        var metadata = cli(aws, "kms", "describe-key", "--key-id", id).path("KeyMetadata");
        if (metadata.isMissingNode()) return List.of("", "", "", "", "");
        var state = metadata.path("KeyState").asText();
        var rotation = state.equals("PendingDeletion") ? "" : "365";
        if (!rotation.isEmpty() && metadata.path("KeyManager").asText().equals("CUSTOMER")) {
            var status = cli(aws, "kms", "get-key-rotation-status", "--key-id", id);
            var isOn = status.path("KeyRotationEnabled").asBoolean();
            rotation = isOn ? status.path("RotationPeriodInDays").asText() : "off";
        }
        return List.of(metadata.path("KeyManager").asText(), state, rotation, metadata.path("KeySpec").asText(),
                metadata.path("Origin").asText());
    }

    /** Name, key, manager, state, rotation, kind and origin by the CLI alone, for each repository. */
    private static List<List<String>> rows(LocalAws aws) throws Exception {
        var aliases = new TreeMap<String, List<String>>();
        for (var alias : cli(aws, "kms", "list-aliases").path("Aliases")) {
            aliases.computeIfAbsent(alias.path("TargetKeyId").asText(), id -> new ArrayList<>())
                    .add(alias.path("AliasName").asText());
        }
        var names = cli(aws, "codecommit", "list-repositories").path("repositories").valueStream()
                .map(each -> each.path("repositoryName").asText()).sorted().toList();
        var command = Stream.concat(Stream.of("codecommit", "batch-get-repositories", "--repository-names"),
                names.stream());
        var facts = new TreeMap<String, List<String>>();
        var rows = new ArrayList<List<String>>();
        for (var repository : cli(aws, command.toArray(String[]::new)).path("repositories")) {
            var managed = aliases.entrySet().stream().filter(e -> e.getValue().contains("alias/aws/codecommit"))
                    .map(Map.Entry::getKey).findFirst().orElse("");
            var id = repository.path("kmsKeyId").asText("arn:aws:kms:eu-west-1:111122223333:key/" + managed);
            if (!facts.containsKey(id)) facts.put(id, facts(aws, id));
            var plainId = id.substring(id.lastIndexOf('/') + 1);
            var row = new ArrayList<>(List.of(repository.path("repositoryName").asText(),
                    String.join(", ", aliases.getOrDefault(plainId, List.of(plainId)))));
            row.addAll(facts.get(id));
            row.add(id);
            rows.add(row);
        }
        rows.sort((one, other) -> one.get(0).compareTo(other.get(0)));
        return rows;
    }

    /** The same of the audit's CSV. */
    private static List<List<String>> rows(Script.Run csv) {
        var lines = ListsForPeopleTest.readCsv(csv.out());
        var at = Stream.of("repositoryName", "key", "keyManager", "keyState", "rotation", "keySpec", "origin",
                "kmsKeyId").map(name -> lines.get(0).indexOf(name)).toList();
        return lines.subList(1, lines.size()).stream().map(line -> at.stream().map(line::get).toList()).toList();
    }

    static Script.Run audit(String... more) {
        return Script.run(new AuditEncryption().commandLine(), Stream.concat(Stream.of("--require-customer-managed",
                "--max-rotation-days", "400"), Stream.of(more)).toArray(String[]::new));
    }

    @Test
    void theAwsCliSeesEachRowTheSameAndTheCommandsMendWhatWasFound() throws Exception {
        Program.needsAwsCli();
        try (var aws = LocalAws.start()) {
            Script.use(aws);
            aws.kms.pageSize = 100;
            aws.codecommit.batchNeedsKey = false;
            aws.codecommit.repositoriesPerPage = 7;
            aws.kms.find("alias/aws/codecommit", REGION);
            var keys = keys(aws);
            var kinds = List.copyOf(keys.keySet());
            var random = new Random(5);
            for (var i = 0; i < 60; i++) {
                var kind = kinds.get(i < kinds.size() ? i : random.nextInt(kinds.size()));
                var repository = aws.codecommit.createRepository("r%02d".formatted((i * 37) % 60));
                if (keys.get(kind) != null) repository.key(keys.get(kind));
            }
            var csv = audit("--output", "csv");
            assertEquals(3, csv.exitCode(), csv.err());
            var seen = rows(aws);
            assertEquals(60, seen.size());
            assertEquals(lines(seen), lines(rows(csv)));
            mend(aws, keys);
        }
    }

    private static String lines(List<List<String>> rows) {
        return rows.stream().map(Objects::toString).collect(Collectors.joining("\n"));
    }

    /** Runs each command of a finding; then those that are left have none, or need another command first. */
    private static void mend(LocalAws aws, Map<String, String> keys) {
        var before = audit().json();
        assertEquals(List.of("aws-managed", "foreign-key", "key-error", "key-unusable", "material-expires",
                "rotation-off", "rotation-too-slow"), codes(before));
        var commands = before.path("findings").valueStream().map(finding -> finding.path("command").asText())
                .filter(command -> command.startsWith("aws kms ") && !command.contains("get-parameters-for-import"))
                .toList();
        assertEquals(4, commands.size(), "disabled, ending, off, slow: " + commands);
        var shell = Program.run(Path.of("."), Script.environment(aws), "bash", "-ec", String.join("\n", commands));
        assertEquals(0, shell.exitCode(), shell.err());
        for (var finding : before.path("findings")) {
            var command = finding.path("command").asText();
            if (!command.startsWith("./jbang create-encrypted-repo ")) continue;
            var run = Script.run(new CreateEncryptedRepo().commandLine(),
                    Arrays.stream(command.split(" ")).skip(2).toArray(String[]::new));
            if (finding.path("code").asText().equals("aws-managed")) assertEquals("updated", run.status(), run.err());
        }
        var after = audit();
        assertEquals(List.of("foreign-key", "key-error", "key-unusable", "material-expires", "rotation-off"),
                codes(after.json()));
        var unmended = after.json().path("keys").valueStream().filter(key -> !key.path("findings").isEmpty())
                .map(key -> key.path("kmsKeyId").asText()).toList();
        assertTrue(unmended.contains(keys.get("missing")), unmended.toString());
        for (var mended : List.of("disabled", "ending", "off", "slow", "good", "replica")) {
            assertTrue(!unmended.contains(keys.get(mended)), mended + ": " + after.err());
        }
    }

    private static List<String> codes(JsonNode document) {
        return document.path("findings").valueStream().map(finding -> finding.path("code").asText()).distinct().sorted()
                .toList();
    }
}
