import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import localaws.LocalAws;
import localaws.PolicyEvaluator;
import localaws.PolicyEvaluator.Decision;
import localaws.PolicyEvaluator.Policy;
import localaws.PolicyEvaluator.Request;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatchlogs.CloudWatchLogsClient;
import software.amazon.awssdk.services.codebuild.CodeBuildClient;
import software.amazon.awssdk.services.codebuild.model.EnvironmentVariable;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.eventbridge.model.Target;
import software.amazon.awssdk.services.iam.IamClient;

/** The backup job's policies: they allow what its scripts call, and nothing elsewhere; its twin has the same ones. */
class BackupJobTest {
    static final String JOB = "arn:aws:sts::111122223333:assumed-role/codecommit-backup-eu-west-1/AWSCodeBuild-1";
    static final String KEY = "arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    static final String PROJECT = "arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup";
    static final String OBJECT = "arn:aws:s3:::my-backups/projects/codecommit-backup/111122223333/eu-west-1/payments/"
            + "x.full.bundle";

    /** A template as schedule-backup fills it in. */
    static JsonNode policy(String file) {
        var values = new TreeMap<String, Object>(Map.of("partition", "aws", "region", "eu-west-1", "account",
                "111122223333", "bucket", "my-backups", "bucketOwner", "444455556666", "prefix",
                "projects/codecommit-backup", "bucketKey", KEY, "projects", List.of(PROJECT, PROJECT + "-push"),
                "rules", List.of("arn:aws:events:eu-west-1:111122223333:rule/codecommit-backup",
                        "arn:aws:events:eu-west-1:111122223333:rule/codecommit-backup-*"),
                "logGroups", List.of("arn:aws:logs:eu-west-1:111122223333:log-group:/aws/codebuild/codecommit-backup:*",
                        "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/codebuild/codecommit-backup-push:*")));
        return ScheduleBackup.template(file, values);
    }

    static Decision decide(JsonNode policy, String principal, String action, String resource, String... context) {
        var keys = new TreeMap<String, List<String>>(Map.of("aws:RequestedRegion", List.of("eu-west-1"),
                "aws:ResourceAccount", List.of("444455556666"), "kms:EncryptionContext:aws:s3:arn", List.of(OBJECT)));
        for (var i = 0; i < context.length; i += 2) keys.put(context[i], List.of(context[i + 1]));
        return PolicyEvaluator
                .evaluate(new Request(principal, action, resource, keys), List.of(new Policy("policy", policy)))
                .decision();
    }

    /** Asks for every action in the place where the job needs it. */
    @Test
    void theRoleMayDoWhatTheJobsScriptsCallAndNothingElse() {
        var policy = policy("backup-job.json");
        var allowed = new TreeSet<String>();
        for (var action : Actions.CODECOMMIT) {
            for (var resource : List.of("*", "arn:aws:codecommit:eu-west-1:111122223333:payments")) {
                if (decide(policy, JOB, "codecommit:" + action, resource) == Decision.allowed) {
                    allowed.add("codecommit:" + action);
                }
            }
        }
        for (var action : Actions.S3) {
            for (var resource : List.of("arn:aws:s3:::my-backups", OBJECT)) {
                if (decide(policy, JOB, "s3:" + action, resource) == Decision.allowed) allowed.add("s3:" + action);
            }
        }
        for (var action : Actions.KMS) {
            if (decide(policy, JOB, "kms:" + action, KEY, "kms:ViaService", "s3.eu-west-1.amazonaws.com")
                    == Decision.allowed) {
                allowed.add("kms:" + action);
            }
        }
        var called = Stream.of("BackupToS3", "VerifyBackups").flatMap(script -> Script.iamActions(script).stream())
                .collect(Collectors.toCollection(TreeSet::new));
        assertEquals(String.join("\n", called), String.join("\n", allowed));
    }

    @ParameterizedTest
    @CsvSource({"codecommit:GitPull, arn:aws:codecommit:eu-west-2:111122223333:payments, s3.eu-west-1.amazonaws.com",
            "codecommit:GitPull, arn:aws:codecommit:eu-west-1:777788889999:payments, s3.eu-west-1.amazonaws.com",
            "codecommit:GitPush, arn:aws:codecommit:eu-west-1:111122223333:payments, s3.eu-west-1.amazonaws.com",
            "s3:PutObject, arn:aws:s3:::my-backups/projects/other/x, s3.eu-west-1.amazonaws.com",
            "s3:GetObject, arn:aws:s3:::my-backups2/projects/codecommit-backup/x, s3.eu-west-1.amazonaws.com",
            "s3:ListBucket, arn:aws:s3:::my-backups2, s3.eu-west-1.amazonaws.com",
            "kms:Decrypt, arn:aws:kms:eu-west-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab, "
                    + "codecommit.eu-west-1.amazonaws.com",
            "kms:Decrypt, arn:aws:kms:eu-west-1:444455556666:key/00000000-12ab-34cd-56ef-1234567890ab, "
                    + "s3.eu-west-1.amazonaws.com",
            "logs:PutLogEvents, arn:aws:logs:eu-west-1:111122223333:log-group:/aws/codebuild/other:*, "
                    + "s3.eu-west-1.amazonaws.com",
            "iam:PassRole, arn:aws:iam::111122223333:role/codecommit-backup-eu-west-1, s3.eu-west-1.amazonaws.com",
            "codebuild:StartBuild, arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup, "
                    + "s3.eu-west-1.amazonaws.com"})
    void theRoleMayDoNothingElsewhere(String action, String resource, String service) {
        assertEquals(Decision.implicitDeny,
                decide(policy("backup-job.json"), JOB, action, resource, "kms:ViaService", service));
    }

    /** A bucket of the same name that somebody else has made by now gets nothing. */
    @Test
    void theRoleMayDoNothingInAnotherAccountsBucket() {
        for (var action : List.of("s3:PutObject", "s3:GetObject")) {
            assertEquals(Decision.implicitDeny, decide(policy("backup-job.json"), JOB, action, OBJECT,
                    "aws:ResourceAccount", "777788889999"));
        }
    }

    /** A service uses a role for this account's project and rules, and for nobody else's. */
    @ParameterizedTest
    @CsvSource({
            "backup-job-trust.json, codebuild.amazonaws.com, 111122223333, "
                    + "arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup, allowed",
            "backup-job-trust.json, codebuild.amazonaws.com, 111122223333, "
                    + "arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup-push, allowed",
            "backup-job-trust.json, codebuild.amazonaws.com, 111122223333, "
                    + "arn:aws:codebuild:eu-west-1:111122223333:project/other, implicitDeny",
            "backup-job-trust.json, codebuild.amazonaws.com, 777788889999, "
                    + "arn:aws:codebuild:eu-west-1:777788889999:project/codecommit-backup, implicitDeny",
            "backup-job-trust.json, events.amazonaws.com, 111122223333, "
                    + "arn:aws:codebuild:eu-west-1:111122223333:project/codecommit-backup, implicitDeny",
            "backup-job-trust.json, codebuild.amazonaws.com, , , implicitDeny",
            "backup-start-trust.json, events.amazonaws.com, 111122223333, "
                    + "arn:aws:events:eu-west-1:111122223333:rule/codecommit-backup, allowed",
            "backup-start-trust.json, events.amazonaws.com, 111122223333, "
                    + "arn:aws:events:eu-west-1:111122223333:rule/codecommit-backup-shards-2, allowed",
            "backup-start-trust.json, events.amazonaws.com, 111122223333, "
                    + "arn:aws:events:eu-west-1:111122223333:rule/other, implicitDeny",
            "backup-start-trust.json, events.amazonaws.com, 777788889999, "
                    + "arn:aws:events:eu-west-1:777788889999:rule/codecommit-backup, implicitDeny",
            "backup-start-trust.json, events.amazonaws.com, , , implicitDeny"})
    void theRolesAreForThisJobOnly(String file, String service, String account, String arn, Decision decision) {
        var context = account == null ? new String[0]
                : new String[] {"aws:SourceAccount", account, "aws:SourceArn", arn};
        assertEquals(decision, decide(policy(file), service, "sts:AssumeRole", "*", context));
    }

    @Test
    void theRulesMayStartTheProjectsAndNothingElse() {
        var policy = policy("backup-start.json");
        assertEquals(Decision.allowed, decide(policy, JOB, "codebuild:StartBuild", PROJECT));
        assertEquals(Decision.allowed, decide(policy, JOB, "codebuild:StartBuild", PROJECT + "-push"));
        assertEquals(Decision.implicitDeny, decide(policy, JOB, "codebuild:StartBuild", PROJECT + "-other"));
        assertEquals(Decision.implicitDeny, decide(policy, JOB, "codebuild:UpdateProject", PROJECT));
    }

    // ---- The CloudFormation twin

    static final Path TEMPLATE = Path.of("templates/codecommit-backup-job.yaml");

    /** What a stack makes is what the script makes: it finds nothing to change, nothing missing and nothing surplus. */
    @ParameterizedTest
    @ValueSource(strings = {"true", "false"})
    void theScriptFindsNothingToChangeInAStack(String onPush) throws IOException {
        try (var aws = LocalAws.start()) {
            Script.use(aws);
            aws.iam.earlyRoleUses = 0;
            var toolkit = aws.codecommit.createRepository("codecommit-toolkit").commit("refs/heads/main",
                    "buildspec.yml", "version: 0.2\n");
            var stack = new TemplatesTest.Stack(TEMPLATE, "eu-west-1", Map.of("Bucket", "my-backups", "BucketOwner",
                    "444455556666", "OnPush", onPush, "SourceRepository", "codecommit-toolkit", "SourceVersion",
                    toolkit.resolve("refs/heads/main").name(), "ScheduleExpression", "cron(30 3 * * ? *)"));
            stack.values.put("AWS::URLSuffix", TemplatesTest.Stack.text("amazonaws.com"));
            deploy(stack);
            aws.clearCalls();
            Script.assertUnchanged(Script.run(new ScheduleBackup().commandLine(), "--bucket", "my-backups",
                    "--bucket-owner", "444455556666", "--source-repository", "codecommit-toolkit", "--daily-at",
                    "03:30", onPush.equals("true") ? "--on-push" : "--no-on-push"), aws);
            assertTrue(aws.iam.find("role/codecommit-backup-eu-west-1") != null);
        }
    }

    /** As CloudFormation would make it. */
    static void deploy(TemplatesTest.Stack stack) {
        try (var iam = IamClient.builder().region(Region.EU_WEST_1).build();
                var logs = CloudWatchLogsClient.builder().region(Region.EU_WEST_1).build();
                var codebuild = CodeBuildClient.builder().region(Region.EU_WEST_1).build();
                var events = EventBridgeClient.builder().region(Region.EU_WEST_1).build()) {
            stack.resources("AWS::IAM::Role").forEach((name, p) -> {
                var role = iam.createRole(r -> r.roleName(p.path("RoleName").asText())
                        .description(p.path("Description").asText())
                        .assumeRolePolicyDocument(p.path("AssumeRolePolicyDocument").toString())).role();
                for (var policy : p.path("Policies")) {
                    iam.putRolePolicy(r -> r.roleName(role.roleName()).policyName(policy.path("PolicyName").asText())
                            .policyDocument(policy.path("PolicyDocument").toString()));
                }
                stack.values.put(name + ".Arn", TemplatesTest.Stack.text(role.arn()));
            });
            stack.resources("AWS::Logs::LogGroup").values().forEach(p -> {
                logs.createLogGroup(r -> r.logGroupName(p.path("LogGroupName").asText()));
                logs.putRetentionPolicy(r -> r.logGroupName(p.path("LogGroupName").asText())
                        .retentionInDays(p.path("RetentionInDays").asInt()));
            });
            stack.resources("AWS::CodeBuild::Project").forEach((name, p) -> stack.values.put(name + ".Arn",
                    TemplatesTest.Stack.text(createProject(codebuild, p))));
            stack.resources("AWS::Events::Rule").values().forEach(p -> {
                events.putRule(r -> r.name(p.path("Name").asText()).description(p.path("Description").asText())
                        .scheduleExpression(p.path("ScheduleExpression").textValue()).state(p.path("State").asText())
                        .eventPattern(p.has("EventPattern") ? p.get("EventPattern").toString() : null));
                events.putTargets(r -> r.rule(p.path("Name").asText()).targets(p.path("Targets").valueStream()
                        .map(target -> target(target)).toList()));
            });
        }
    }

    static String createProject(CodeBuildClient codebuild, JsonNode p) {
        var environment = p.path("Environment");
        return codebuild.createProject(r -> r.name(p.path("Name").asText()).description(p.path("Description").asText())
                .serviceRole(p.path("ServiceRole").asText()).sourceVersion(p.path("SourceVersion").asText())
                .source(s -> s.type(p.at("/Source/Type").asText()).location(p.at("/Source/Location").asText()))
                .artifacts(a -> a.type(p.at("/Artifacts/Type").asText()))
                .timeoutInMinutes(p.path("TimeoutInMinutes").asInt())
                .environment(e -> e.type(environment.path("Type").asText()).image(environment.path("Image").asText())
                        .computeType(environment.path("ComputeType").asText())
                        .environmentVariables(environment.path("EnvironmentVariables").valueStream()
                                .map(variable -> EnvironmentVariable.builder().name(variable.path("Name").asText())
                                        .value(variable.path("Value").asText()).build())
                                .toList()))).project().arn();
    }

    static Target target(JsonNode p) {
        var target = Target.builder().id(p.path("Id").asText()).arn(p.path("Arn").asText())
                .roleArn(p.path("RoleArn").asText());
        if (p.has("InputTransformer")) {
            target.inputTransformer(t -> t
                    .inputPathsMap(p.at("/InputTransformer/InputPathsMap").propertyStream().collect(Collectors.toMap(
                            Map.Entry::getKey, path -> path.getValue().asText())))
                    .inputTemplate(p.at("/InputTransformer/InputTemplate").asText()));
        }
        return target.build();
    }

    @Test
    void theTwinHasThePoliciesOfTheScript() throws IOException {
        var stack = new TemplatesTest.Stack(TEMPLATE, "eu-west-1", Map.of("Bucket", "my-backups", "BucketOwner",
                "444455556666", "SourceRepository", "x", "SourceVersion", "0".repeat(40), "BucketKmsKeyArn", KEY));
        var roles = stack.resources("AWS::IAM::Role");
        for (var pair : Map.of("ServiceRole", "backup-job", "EventsRole", "backup-start").entrySet()) {
            var role = roles.get(pair.getKey());
            assertEquals(policy(pair.getValue() + "-trust.json"), role.path("AssumeRolePolicyDocument"));
            assertEquals(policy(pair.getValue() + ".json"), role.at("/Policies/0/PolicyDocument"));
        }
    }

    @ParameterizedTest
    @CsvSource({"Bucket, A", "BucketOwner, 4444", "Prefix, /x", "Prefix, a*b", "BucketKmsKeyArn, alias/x",
            "ProjectName, a", "ScheduleExpression, rate(1 day)", "OnPush, yes", "SourceRepository, a/b",
            "SourceVersion, main", "ComputeType, small"})
    void theTwinRefusesWhatTheScriptRefuses(String parameter, String value) {
        var parameters = new TreeMap<>(Map.of("Bucket", "my-backups", "BucketOwner", "444455556666",
                "SourceRepository", "x", "SourceVersion", "0".repeat(40)));
        parameters.put(parameter, value);
        org.junit.jupiter.api.Assertions.assertThrows(IllegalArgumentException.class,
                () -> new TemplatesTest.Stack(TEMPLATE, "eu-west-1", parameters));
    }
}
