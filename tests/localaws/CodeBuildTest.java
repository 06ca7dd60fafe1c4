package localaws;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.time.Clock;
import java.time.Duration;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchClient;
import software.amazon.awssdk.services.cloudwatch.model.ComparisonOperator;
import software.amazon.awssdk.services.cloudwatch.model.Dimension;
import software.amazon.awssdk.services.cloudwatch.model.Statistic;
import software.amazon.awssdk.services.cloudwatchlogs.CloudWatchLogsClient;
import software.amazon.awssdk.services.codebuild.CodeBuildClient;
import software.amazon.awssdk.services.codebuild.model.ArtifactsType;
import software.amazon.awssdk.services.codebuild.model.CodeBuildException;
import software.amazon.awssdk.services.codebuild.model.ComputeType;
import software.amazon.awssdk.services.codebuild.model.CreateProjectRequest;
import software.amazon.awssdk.services.codebuild.model.EnvironmentType;
import software.amazon.awssdk.services.codebuild.model.EnvironmentVariable;
import software.amazon.awssdk.services.codebuild.model.SortOrderType;
import software.amazon.awssdk.services.codebuild.model.SourceType;
import software.amazon.awssdk.services.codebuild.model.StatusType;
import software.amazon.awssdk.services.eventbridge.EventBridgeClient;
import software.amazon.awssdk.services.sns.SnsClient;

/** The embedded CodeBuild and the log groups, driven by the AWS SDK for Java: what AWS does, and what it refuses. */
class CodeBuildTest {
    static final String REGION = "eu-west-1";
    static final String ROLE = "arn:aws:iam::111122223333:role/Builder";
    static final String PROJECT = "arn:aws:codebuild:eu-west-1:111122223333:project/backup";
    static final String IMAGE = "aws/codebuild/amazonlinux-x86_64-standard:6.0";

    LocalAws aws;
    CodeBuildClient codebuild;
    CloudWatchLogsClient logs;
    Iam.Principal role;

    @BeforeEach
    void start() {
        aws = LocalAws.start();
        var operator = StaticCredentialsProvider
                .create(AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY));
        codebuild = CodeBuildClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(operator).httpClient(UrlConnectionHttpClient.create()).build();
        logs = CloudWatchLogsClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(operator).httpClient(UrlConnectionHttpClient.create()).build();
        role = aws.iam.createRole("Builder");
        role.trust = trust("{'StringEquals': {'aws:SourceAccount': '111122223333', 'aws:SourceArn': '" + PROJECT
                + "'}}");
        role.inline.put("build", allow("logs:*", "codecommit:GitPull", "s3:*", "sts:*", "ec2:*"));
    }

    @AfterEach
    void stop() {
        codebuild.close();
        logs.close();
        aws.close();
    }

    static String trust(String condition) {
        return ("{'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': 'sts:AssumeRole', "
                + "'Principal': {'Service': 'codebuild.amazonaws.com'}, 'Condition': " + condition + "}]}")
                .replace('\'', '"');
    }

    static String allow(String... actions) {
        return "{\"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Resource\": \"*\", "
                + "\"Action\": [\"" + String.join("\", \"", actions) + "\"]}]}";
    }

    static String assertError(String code, Runnable call) {
        var refused = assertThrows(AwsServiceException.class, call::run);
        assertEquals(code, refused.awsErrorDetails().errorCode(), refused.getMessage());
        return refused.awsErrorDetails().errorMessage();
    }

    /** A project whose buildspec is these commands of the phase build. */
    CreateProjectRequest.Builder project(String... commands) {
        var list = new StringBuilder();
        for (var command : commands) list.append("      - '").append(command.replace("'", "''")).append("'\n");
        return of("version: 0.2\nphases:\n  build:\n    commands:\n" + list);
    }

    CreateProjectRequest.Builder of(String buildspec) {
        return CreateProjectRequest.builder().name("backup").serviceRole(ROLE)
                .source(s -> s.type(SourceType.NO_SOURCE).buildspec(buildspec))
                .artifacts(a -> a.type(ArtifactsType.NO_ARTIFACTS))
                .environment(e -> e.type(EnvironmentType.LINUX_CONTAINER).image(IMAGE)
                        .computeType(ComputeType.BUILD_GENERAL1_SMALL));
    }

    void create(CreateProjectRequest.Builder project) {
        codebuild.createProject(project.build());
    }

    CodeBuild.Build build() {
        codebuild.startBuild(r -> r.projectName("backup"));
        return last().await();
    }

    CodeBuild.Build last() {
        var builds = aws.codebuild.builds(REGION, "backup");
        return builds.get(builds.size() - 1);
    }

    @Test
    void aBuildRunsItsCommandsWithTheRolesCredentials() throws Exception {
        create(project("echo role $AWS_ACCESS_KEY_ID in $AWS_REGION by $CODEBUILD_INITIATOR",
                "test -n \"$AWS_SESSION_TOKEN\" && test -z \"$(ls -A $HOME)\"", "java -version"));
        var build = build();
        assertEquals("SUCCEEDED", build.status(), build.log());
        assertTrue(build.commands().get(0).out().matches("role ASIA\\w+ in eu-west-1 by operator"), build.log());
        assertFalse(build.log().contains(LocalAws.ACCESS_KEY_ID), "never the operator's");
        var seen = codebuild.batchGetBuilds(r -> r.ids(build.id, "backup:none"));
        assertEquals(List.of("backup:none"), seen.buildsNotFound());
        var shown = seen.builds().get(0);
        assertEquals(StatusType.SUCCEEDED, shown.buildStatus());
        assertTrue(shown.buildComplete());
        assertEquals(1, shown.buildNumber());
        assertEquals("operator", shown.initiator());
        assertEquals(List.of("SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD",
                "POST_BUILD", "UPLOAD_ARTIFACTS", "FINALIZING", "COMPLETED"),
                shown.phases().stream().map(phase -> phase.phaseTypeAsString()).toList());
        assertEquals("/aws/codebuild/backup", shown.logs().groupName());
        var lines = logs.getLogEvents(r -> r.logGroupName(shown.logs().groupName())
                .logStreamName(shown.logs().streamName())).events();
        assertTrue(lines.stream().anyMatch(line -> line.message().contains("in eu-west-1 by operator")));
    }

    /** User Guide, build phase transitions: as BuildspecTest has it of the runner, here of what is shown. */
    @Test
    void aCommandThatFailsMakesTheBuildFailAndPostBuildRunsAllTheSame() {
        create(of("version: 0.2\nphases: {build: {commands: ['(exit 3)', 'echo never']}, "
                + "post_build: {commands: ['echo succeeding $CODEBUILD_BUILD_SUCCEEDING']}}"));
        var build = build();
        assertEquals("FAILED", build.status());
        assertEquals(List.of("(exit 3)", "echo succeeding $CODEBUILD_BUILD_SUCCEEDING"),
                build.commands().stream().map(Buildspec.Command::text).toList());
        assertEquals("succeeding 0", build.commands().get(1).out());
        assertTrue(build.phases().contains("BUILD FAILED COMMAND_EXECUTION_ERROR: Error while executing command: "
                + "(exit 3). Reason: exit status 3"), build.phases().toString());
        create(of("version: 0.2\nphases: {install: {commands: ['exit 4']}, post_build: {commands: ['echo never']}}")
                .name("other").serviceRole(anybody()));
        codebuild.startBuild(r -> r.projectName("other"));
        var other = aws.codebuild.builds(REGION, "other").get(0).await();
        assertEquals("FAILED", other.status());
        assertEquals(1, other.commands().size());
    }

    /** A role that CodeBuild may use for any project. */
    String anybody() {
        var role = aws.iam.createRole("Anybody");
        role.trust = trust("{}");
        role.inline.put("build", allow("logs:*"));
        return "arn:aws:iam::111122223333:role/Anybody";
    }

    @Test
    void whatStartsABuildGoesBeforeTheProjectAndTheProjectBeforeTheBuildspec() {
        create(of("version: 0.2\nenv: {variables: {A: spec, B: spec, C: spec}}\n"
                + "phases: {build: {commands: ['echo $A $B $C']}}")
                .environment(e -> e.type(EnvironmentType.LINUX_CONTAINER).image(IMAGE)
                        .computeType(ComputeType.BUILD_GENERAL1_SMALL).environmentVariables(variable("B", "project"),
                                variable("C", "project"))));
        var started = codebuild.startBuild(r -> r.projectName("backup")
                .environmentVariablesOverride(variable("C", "start"), variable("D", "start"))).build();
        assertEquals(StatusType.IN_PROGRESS, started.buildStatus());
        var build = last().await();
        assertEquals("spec project start", build.commands().get(0).out());
        assertEquals(Map.of("B", "project", "C", "start", "D", "start"), build.variables());
        assertEquals("spec project project", build().commands().get(0).out());
        codebuild.startBuild(r -> r.projectName("backup")
                .buildspecOverride("version: 0.2\nphases: {build: {commands: ['echo other']}}\n"));
        assertEquals("other", last().await().commands().get(0).out());
        assertError("InvalidInputException",
                () -> codebuild.startBuild(r -> r.projectName("backup").imageOverride(IMAGE)));
        assertError("ResourceNotFoundException", () -> codebuild.startBuild(r -> r.projectName("none")));
    }

    static EnvironmentVariable variable(String name, String value) {
        return EnvironmentVariable.builder().name(name).value(value).build();
    }

    @Test
    void theSameTokenStartsTheSameBuild() {
        create(project("true"));
        var one = codebuild.startBuild(r -> r.projectName("backup").idempotencyToken("t")).build().id();
        assertEquals(one, codebuild.startBuild(r -> r.projectName("backup").idempotencyToken("t")).build().id());
        assertError("InvalidInputException", () -> codebuild.startBuild(
                r -> r.projectName("backup").idempotencyToken("t").sourceVersion("x")));
        aws.clock = Clock.offset(Clock.systemUTC(), Duration.ofMinutes(6));
        assertNotEquals(one, codebuild.startBuild(r -> r.projectName("backup").idempotencyToken("t")).build().id());
    }

    // ---- Limits, stop, time-out

    /** Commands that end as soon as there is a file. */
    String waiting(java.nio.file.Path file) {
        return "until [ -e '" + file + "' ]; do sleep 0.1; done";
    }

    @Test
    void aLimitIsAnErrorAndNoQueue(@org.junit.jupiter.api.io.TempDir java.nio.file.Path directory) throws IOException {
        create(project(waiting(directory.resolve("go"))).concurrentBuildLimit(1));
        codebuild.startBuild(r -> r.projectName("backup"));
        assertEquals("Cannot have more than 1 active builds for the project", assertError(
                "AccountLimitExceededException", () -> codebuild.startBuild(r -> r.projectName("backup"))));
        java.nio.file.Files.createFile(directory.resolve("go"));
        assertEquals("SUCCEEDED", last().await().status());
        assertEquals("SUCCEEDED", build().status());
        assertTrue(assertError("InvalidInputException", () -> codebuild.updateProject(
                r -> r.name("backup").concurrentBuildLimit(6))).contains("account-level concurrent build limit of 5"));
        codebuild.updateProject(r -> r.name("backup").concurrentBuildLimit(-1));
        assertFalse(aws.codebuild.project(REGION, "backup").settings.has("concurrentBuildLimit"));
    }

    @Test
    void whatIsMoreThanTheAccountMayRunWaits(@org.junit.jupiter.api.io.TempDir java.nio.file.Path directory)
            throws IOException {
        aws.codebuild.concurrentBuilds = 1;
        create(project(waiting(directory.resolve("go"))));
        for (var i = 0; i < 6; i++) codebuild.startBuild(r -> r.projectName("backup"));
        assertEquals("Cannot have more than 5 builds in queue for the account", assertError(
                "AccountLimitExceededException", () -> codebuild.startBuild(r -> r.projectName("backup"))));
        java.nio.file.Files.createFile(directory.resolve("go"));
        for (var build : aws.codebuild.builds(REGION, "backup")) assertEquals("SUCCEEDED", build.await().status());
    }

    @Test
    void aBuildIsStoppedWithAllThatItStarted(@org.junit.jupiter.api.io.TempDir java.nio.file.Path directory) {
        create(project("sleep 1000 & echo $! > '" + directory.resolve("pid") + "'", "sleep 1000"));
        codebuild.startBuild(r -> r.projectName("backup"));
        var build = last();
        while (build.commands().isEmpty()) Fault.sleep(Duration.ofMillis(10));
        codebuild.stopBuild(r -> r.id(build.id));
        assertEquals("STOPPED", build.await().status());
        assertEquals(StatusType.STOPPED, codebuild.batchGetBuilds(r -> r.ids(build.id)).builds().get(0).buildStatus());
        assertError("ResourceNotFoundException", () -> codebuild.stopBuild(r -> r.id("backup:none")));
    }

    @Test
    void aBuildEndsWhenItsTimeIsOver() {
        create(project("sleep 1000").timeoutInMinutes(5));
        codebuild.startBuild(r -> r.projectName("backup"));
        while (!last().log().contains("Entering phase BUILD")) Fault.sleep(Duration.ofMillis(10));
        aws.clock = Clock.fixed(aws.clock.instant().plus(Duration.ofMinutes(6)), ZoneOffset.UTC);
        assertEquals("TIMED_OUT", last().await().status());
    }

    // ---- What is told of builds

    /** By events, of which a rule hears, and by metrics, which an alarm sees. */
    @Test
    void whatABuildDoesIsToldAndCounted() throws Exception {
        var operator = StaticCredentialsProvider
                .create(AwsBasicCredentials.create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY));
        try (var events = EventBridgeClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(operator).httpClient(UrlConnectionHttpClient.create()).build();
                var sns = SnsClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                        .credentialsProvider(operator).httpClient(UrlConnectionHttpClient.create()).build();
                var cloudwatch = CloudWatchClient.builder().endpointOverride(aws.endpoint())
                        .region(Region.of(REGION)).credentialsProvider(operator)
                        .httpClient(UrlConnectionHttpClient.create()).build()) {
            var topic = sns.createTopic(r -> r.name("builds")).topicArn();
            sns.setTopicAttributes(r -> r.topicArn(topic).attributeName("Policy")
                    .attributeValue(("{'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': "
                            + "'sns:Publish', 'Principal': {'Service': 'events.amazonaws.com'}, 'Resource': '" + topic
                            + "'}]}").replace('\'', '"')));
            events.putRule(r -> r.name("builds").eventPattern(
                    ("{'source': ['aws.codebuild'], 'detail-type': ['CodeBuild Build State Change'], "
                            + "'detail': {'project-name': ['backup']}}").replace('\'', '"')));
            events.putTargets(r -> r.rule("builds").targets(t -> t.id("topic").arn(topic)));
            for (var metric : List.of("Builds", "FailedBuilds", "SucceededBuilds"))
                for (var dimensions : List.of(List.of(Dimension.builder().name("ProjectName").value("backup").build()),
                        List.<Dimension>of()))
                    cloudwatch.putMetricAlarm(r -> r.alarmName(metric + dimensions.size()).namespace("AWS/CodeBuild")
                            .metricName(metric).dimensions(dimensions).statistic(Statistic.SUM).period(60)
                            .evaluationPeriods(1).threshold(1.0)
                            .comparisonOperator(ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD)
                            .treatMissingData("ignore"));
            create(project("false"));
            var build = build();
            var told = new ArrayList<String>();
            for (var message : aws.sns.topic(REGION, "builds").published()) {
                var event = Models.JSON.readTree(message.text());
                told.add(event.at("/detail/build-status").asText() + " " + event.at("/detail/current-phase").asText());
                assertEquals("arn:aws:codebuild:eu-west-1:111122223333:build/" + build.id,
                        event.at("/resources/0").asText());
            }
            assertEquals(List.of("IN_PROGRESS SUBMITTED", "FAILED COMPLETED"), told);
            aws.advanceTo(aws.now().plus(Duration.ofMinutes(10)));
            for (var end : List.of("0", "1")) {
                assertEquals("ALARM", aws.cloudwatch.state(REGION, "Builds" + end));
                assertEquals("ALARM", aws.cloudwatch.state(REGION, "FailedBuilds" + end));
                assertNotEquals("ALARM", aws.cloudwatch.state(REGION, "SucceededBuilds" + end));
            }
        }
    }

    // ---- The role

    @Test
    void aRoleMustLetCodeBuildInForThisProject() {
        for (var trusted : List.of("arn:aws:codebuild:eu-west-1:111122223333:project/other",
                "arn:aws:codebuild:eu-west-2:111122223333:project/backup")) {
            role.trust = trust("{'ArnEquals': {'aws:SourceArn': '" + trusted + "'}}");
            assertEquals("CodeBuild is not authorized to perform: sts:AssumeRole on " + ROLE,
                    assertError("InvalidInputException", () -> create(project("true"))));
        }
        role.trust = trust("{'StringEquals': {'aws:SourceAccount': '444455556666'}}");
        assertError("InvalidInputException", () -> create(project("true")));
        assertError("InvalidInputException",
                () -> create(project("true").serviceRole("arn:aws:iam::111122223333:role/None")));
        assertError("AccessDeniedException",
                () -> create(project("true").serviceRole("arn:aws:iam::444455556666:role/Theirs")));
        role.trust = trust("{}");
        create(project("true"));
        role.trust = trust("{'StringEquals': {'aws:SourceAccount': '444455556666'}}");
        var build = build();
        assertEquals("FAILED", build.status());
        assertTrue(build.phases().get(2).startsWith("PROVISIONING FAILED ACCESS_DENIED: "), build.phases().toString());
    }

    /** Without rights on its log, a build does not begin. */
    @Test
    void aRoleMustBeAllowedToWriteTheLog() {
        create(project("true"));
        for (var actions : List.of("logs:CreateLogGroup logs:CreateLogStream", "logs:CreateLogStream logs:PutLogEvents",
                "logs:CreateLogGroup logs:PutLogEvents")) {
            role.inline.put("build", allow(actions.split(" ")));
            var build = build();
            assertEquals("FAILED", build.status());
            assertTrue(build.phases().get(2).contains("does not allow AWS CodeBuild to create Amazon CloudWatch Logs"),
                    build.phases().toString());
            assertEquals(List.of(), build.commands());
        }
        logs.createLogGroup(r -> r.logGroupName("/aws/codebuild/backup"));
        role.inline.put("build", allow("logs:CreateLogStream", "logs:PutLogEvents"));
        assertEquals("SUCCEEDED", build().status(), "the group is there");
    }

    @Test
    void whoCreatesAProjectMustBeAllowedToPassTheRole() {
        var user = aws.iam.createUser("maker");
        var login = aws.as("arn:aws:iam::111122223333:user/maker");
        user.inline.put("make", allow("codebuild:*"));
        try (var maker = CodeBuildClient.builder().endpointOverride(aws.endpoint()).region(Region.of(REGION))
                .credentialsProvider(StaticCredentialsProvider.create(
                        AwsBasicCredentials.create(login.accessKeyId(), login.secretAccessKey())))
                .httpClient(UrlConnectionHttpClient.create()).build()) {
            assertTrue(assertError("AccessDeniedException", () -> maker.createProject(project("true").build()))
                    .contains("is not authorized to perform: iam:PassRole on resource: " + ROLE));
            user.inline.put("pass", ("{'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': "
                    + "'iam:PassRole', 'Resource': '" + ROLE + "', 'Condition': {'StringEquals': "
                    + "{'iam:PassedToService': 'codebuild.amazonaws.com'}}}]}").replace('\'', '"'));
            maker.createProject(project("true").build());
            user.inline.remove("pass");
            maker.updateProject(r -> r.name("backup").timeoutInMinutes(10));
            assertError("AccessDeniedException", () -> maker.updateProject(r -> r.name("backup").serviceRole(ROLE)));
        }
    }

    // ---- Projects

    @Test
    void anUpdateKeepsWhatIsNotGivenAndReplacesTheRestAsAWhole() {
        create(project("true").description("nightly").timeoutInMinutes(90).sourceVersion("v")
                .environment(e -> e.type(EnvironmentType.LINUX_CONTAINER).image(IMAGE)
                        .computeType(ComputeType.BUILD_GENERAL1_SMALL).environmentVariables(variable("A", "1"))));
        assertEquals("Project already exists: " + PROJECT,
                assertError("ResourceAlreadyExistsException", () -> create(project("true"))));
        codebuild.updateProject(r -> r.name("backup").description("hourly"));
        var seen = codebuild.batchGetProjects(r -> r.names("backup", "none"));
        assertEquals(List.of("none"), seen.projectsNotFound());
        var project = seen.projects().get(0);
        assertEquals("hourly", project.description());
        assertEquals(90, project.timeoutInMinutes());
        assertEquals(480, project.queuedTimeoutInMinutes());
        assertEquals("v", project.sourceVersion());
        assertEquals(1, project.environment().environmentVariables().size());
        codebuild.updateProject(r -> r.name("backup").environment(e -> e.type(EnvironmentType.LINUX_CONTAINER)
                .image(IMAGE).computeType(ComputeType.BUILD_GENERAL1_MEDIUM)));
        project = codebuild.batchGetProjects(r -> r.names(PROJECT)).projects().get(0);
        assertEquals(List.of(), project.environment().environmentVariables());
        assertEquals(ComputeType.BUILD_GENERAL1_MEDIUM, project.environment().computeType());
        assertError("ResourceNotFoundException", () -> codebuild.updateProject(r -> r.name("none").description("x")));
        codebuild.deleteProject(r -> r.name("backup"));
        codebuild.deleteProject(r -> r.name("backup"));
        assertEquals(List.of(), codebuild.listProjects().projects());
    }

    @Test
    void listsHavePages() {
        create(project("true"));
        var role = anybody();
        for (var i = 0; i < 4; i++) create(project("true").name("p" + i).serviceRole(role));
        var first = codebuild.listProjects();
        assertEquals(3, first.projects().size());
        assertEquals(2, codebuild.listProjects(r -> r.nextToken(first.nextToken())).projects().size());
        var ids = new ArrayList<String>();
        for (var i = 0; i < 4; i++) ids.add(codebuild.startBuild(r -> r.projectName("backup")).build().id());
        var newest = codebuild.listBuildsForProject(r -> r.projectName("backup"));
        assertEquals(List.of(ids.get(3), ids.get(2), ids.get(1)), newest.ids());
        assertEquals(ids.subList(0, 3), codebuild.listBuildsForProject(
                r -> r.projectName("backup").sortOrder(SortOrderType.ASCENDING)).ids());
        assertError("ResourceNotFoundException", () -> codebuild.listBuildsForProject(r -> r.projectName("none")));
    }

    /** What CreateProject refuses, and with which code. */
    @Test
    void refusesWhatAwsRefuses() {
        Map<String, Consumer<CreateProjectRequest.Builder>> wrong = Map.of(
                "a source without location", p -> p.source(s -> s.type(SourceType.CODECOMMIT)),
                "a URL of another host", p -> p.source(s -> s.type(SourceType.CODECOMMIT)
                        .location("https://example.com/v1/repos/x")),
                "no source and no buildspec", p -> p.source(s -> s.type(SourceType.NO_SOURCE)),
                "a bucket without key", p -> p.source(s -> s.type(SourceType.S3).location("bucket")),
                "no Lambda compute in a container", p -> p.environment(e -> e.type(EnvironmentType.LINUX_CONTAINER)
                        .image(IMAGE).computeType(ComputeType.BUILD_LAMBDA_1_GB)),
                "no such type here", p -> p.environment(e -> e.type(EnvironmentType.WINDOWS_CONTAINER).image(IMAGE)
                        .computeType(ComputeType.BUILD_GENERAL1_SMALL)),
                "half a VPC", p -> p.vpcConfig(v -> v.vpcId("vpc-1")),
                "no limit of 0", p -> p.concurrentBuildLimit(0));
        wrong.forEach((what, change) -> {
            var request = project("true");
            change.accept(request);
            assertThrows(CodeBuildException.class, () -> create(request), what);
        });
        for (var name : List.of("a", "with space", "-dash", "x".repeat(151)))
            assertError("ValidationException", () -> create(project("true").name(name)));
        assertError("ValidationException", () -> create(project("true").timeoutInMinutes(4)));
        assertEquals(List.of(), codebuild.listProjects().projects());
    }

    @ParameterizedTest
    @ValueSource(strings = {"version: 0.1", "version: 0.2\nphases: {build: {commands: [{a: b}]}}", "version: [",
            "version: 0.2\nphases: {install: {runtime-versions: {java: corretto99}, commands: ['true']}}",
            "version: 0.2\nphases: {build: {on-failure: CONTINUE, commands: ['true']}}"})
    void aBuildspecThatIsWrongIsSaidBeforeAnythingIsRun(String buildspec) {
        create(of(buildspec + "\n"));
        var build = build();
        assertEquals("FAILED", build.status());
        assertTrue(build.phases().get(3).startsWith("DOWNLOAD_SOURCE FAILED YAML_FILE_ERROR: "),
                build.phases().toString());
    }

    @Test
    void anImageThatIsNotThereCannotBePulled() {
        create(project("true").environment(e -> e.type(EnvironmentType.LINUX_CONTAINER)
                .image("aws/codebuild/amazonlinux2-x86_64-standard:4.0")
                .computeType(ComputeType.BUILD_GENERAL1_SMALL)));
        assertTrue(build().phases().get(2).startsWith("PROVISIONING FAILED BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE"));
    }

    // ---- Sources

    static final String SHOW = "version: 0.2\nphases: {build: {commands: ['cat name.txt']}}\n";

    CodeCommit.Repo toolkit() {
        return aws.codecommit.createRepository("toolkit").commit("refs/heads/main", "buildspec.yml", SHOW)
                .commit("refs/heads/main", "name.txt", "one\n");
    }

    void fromCodeCommit(String version) {
        create(project("true").sourceVersion(version).source(s -> s.type(SourceType.CODECOMMIT)
                .location("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/toolkit")));
    }

    @Test
    void aCommitIsBuiltAndNotWhatCameAfterIt() {
        var repository = toolkit();
        var commit = repository.resolve("refs/heads/main").name();
        repository.annotatedTag("v1", "refs/heads/main").commit("refs/heads/main", "name.txt", "two\n");
        fromCodeCommit(commit);
        var build = build();
        assertEquals("one", build.commands().get(0).out(), build.log());
        assertEquals(commit, build.resolvedSourceVersion());
        for (var version : List.of("v1", "refs/tags/v1", "main", "refs/heads/main", "")) {
            codebuild.updateProject(r -> r.name("backup").sourceVersion(version));
            assertEquals(version.contains("v1") ? "one" : "two", build().commands().get(0).out(), version);
        }
        codebuild.updateProject(r -> r.name("backup").sourceVersion("none"));
        assertTrue(build().phases().get(3).contains("CLIENT_ERROR: reference not found"), last().phases().toString());
        assertTrue(aws.calls().stream().anyMatch(call -> call.name().equals("codecommit:GitPull")
                && call.caller().contains("assumed-role/Builder/")));
    }

    @Test
    void aRoleThatMayNotPullGetsNoSource() {
        toolkit();
        fromCodeCommit("main");
        role.inline.put("build", allow("logs:*"));
        var build = build();
        assertEquals("FAILED", build.status());
        assertTrue(build.phases().get(3).startsWith("DOWNLOAD_SOURCE FAILED CLIENT_ERROR: "),
                build.phases().toString());
        role.inline.put("build", allow("logs:*", "codecommit:GitPull"));
        aws.codecommit.deleteRepository(REGION, "toolkit");
        assertEquals("FAILED", build().status());
    }

    static byte[] zip(String... namesAndTexts) {
        var bytes = new ByteArrayOutputStream();
        try (var zip = new ZipOutputStream(bytes)) {
            for (var i = 0; i < namesAndTexts.length; i += 2) {
                zip.putNextEntry(new ZipEntry(namesAndTexts[i]));
                zip.write(namesAndTexts[i + 1].getBytes());
            }
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
        return bytes.toByteArray();
    }

    @Test
    void aZipIsBuiltByTheVersionThatTheProjectNames() {
        var bucket = aws.s3.createBucket("sources", REGION).versioned();
        bucket.put("a/toolkit.zip", zip("buildspec.yml", SHOW, "name.txt", "one\n", "lib/run", "x"));
        var version = bucket.version("a/toolkit.zip");
        bucket.put("a/toolkit.zip", zip("buildspec.yml", SHOW, "name.txt", "two\n"));
        create(project("true").sourceVersion(version)
                .source(s -> s.type(SourceType.S3).location("sources/a/toolkit.zip")));
        assertEquals("one", build().commands().get(0).out(), last().log());
        codebuild.updateProject(r -> r.name("backup").sourceVersion(""));
        assertEquals("two", build().commands().get(0).out());
        role.inline.put("build", allow("logs:*", "s3:GetBucketLocation", "s3:GetObjectVersion"));
        assertTrue(build().phases().get(3).contains("AccessDenied"), last().phases().toString());
        codebuild.updateProject(r -> r.name("backup").sourceVersion(version));
        assertEquals("one", build().commands().get(0).out());
        var elsewhere = aws.s3.createBucket("elsewhere", "us-west-2");
        elsewhere.put("toolkit.zip", zip("buildspec.yml", SHOW));
        role.inline.put("build", allow("logs:*", "s3:*"));
        codebuild.updateProject(r -> r.name("backup").sourceVersion("")
                .source(s -> s.type(SourceType.S3).location("elsewhere/toolkit.zip")));
        assertTrue(build().phases().get(3).contains("must be addressed using the specified endpoint"),
                last().phases().toString());
    }

    // ---- In a VPC

    @Test
    void aProjectInAVpcNeedsARoleThatMayMakeNetworkInterfaces() {
        var vpc = aws.ec2.createVpc(REGION, "10.0.0.0/16");
        var subnet = aws.ec2.createSubnet(vpc, REGION + "a", "10.0.0.0/24");
        var group = aws.ec2.createSecurityGroup(vpc, "builds");
        var other = aws.ec2.createSecurityGroup(aws.ec2.createVpc(REGION, "10.1.0.0/16"), "others");
        role.inline.put("build", allow("logs:*"));
        assertEquals("Not authorized to perform DescribeSecurityGroups", assertError("InvalidInputException",
                () -> create(project("true").vpcConfig(v -> v.vpcId(vpc).subnets(subnet).securityGroupIds(group)))));
        role.inline.put("build", allow("logs:*", "ec2:Describe*"));
        assertError("InvalidInputException",
                () -> create(project("true").vpcConfig(v -> v.vpcId(vpc).subnets(subnet).securityGroupIds(other))));
        create(project("true").vpcConfig(v -> v.vpcId(vpc).subnets(subnet).securityGroupIds(group)));
        assertTrue(build().phases().get(2).contains("VPC_CLIENT_ERROR"), last().phases().toString());
        role.inline.put("build", allow("logs:*", "ec2:*"));
        assertEquals("SUCCEEDED", build().status());
        codebuild.updateProject(r -> r.name("backup").vpcConfig(v -> { }));
        assertFalse(aws.codebuild.project(REGION, "backup").settings.has("vpcConfig"));
    }

    // ---- Roles and log groups, which a job needs besides

    @Test
    void aNewRoleIsNotThereAtOnce() {
        try (var iam = software.amazon.awssdk.services.iam.IamClient.builder().endpointOverride(aws.endpoint())
                .region(Region.of(REGION)).credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials
                        .create(LocalAws.ACCESS_KEY_ID, LocalAws.SECRET_ACCESS_KEY)))
                .httpClient(UrlConnectionHttpClient.create()).build()) {
            aws.iam.earlyRoleUses = 2;
            iam.createRole(r -> r.roleName("New").assumeRolePolicyDocument(trust("{}")).description("builds"));
            assertEquals("builds", iam.getRole(r -> r.roleName("New")).role().description());
            assertError("EntityAlreadyExists",
                    () -> iam.createRole(r -> r.roleName("New").assumeRolePolicyDocument(trust("{}"))));
            var arn = "arn:aws:iam::111122223333:role/New";
            for (var i = 0; i < 2; i++)
                assertError("InvalidInputException", () -> create(project("true").serviceRole(arn)));
            create(project("true").serviceRole(arn));
            iam.updateAssumeRolePolicy(r -> r.roleName("New").policyDocument(trust("{'Bool': {'aws:ViaAWSService': "
                    + "'true'}}")));
            assertTrue(aws.iam.find("role/New").trust.contains("ViaAWSService"));
            iam.putRolePolicy(r -> r.roleName("New").policyName("p").policyDocument(allow("logs:*")));
            assertError("DeleteConflict", () -> iam.deleteRole(r -> r.roleName("New")));
            iam.deleteRolePolicy(r -> r.roleName("New").policyName("p"));
            iam.deleteRole(r -> r.roleName("New"));
            assertError("NoSuchEntity", () -> iam.getRole(r -> r.roleName("New")));
            for (var wrong : List.of("{", "{\"Statement\": []}", trust("{}").replace("sts:AssumeRole", "s3:GetObject"),
                    trust("{}").replace("codebuild.amazonaws.com", "codebuild"), allow("sts:AssumeRole"),
                    trust("{}").replace("\"Service\": \"codebuild.amazonaws.com\"",
                            "\"AWS\": \"arn:aws:iam::111122223333:role/None\"")))
                assertError("MalformedPolicyDocument",
                        () -> iam.createRole(r -> r.roleName("Wrong").assumeRolePolicyDocument(wrong)));
        }
    }

    @Test
    void logGroupsKeepForTheDaysThatAwsKnows() {
        for (var name : List.of("/aws/codebuild/a", "/aws/codebuild/b", "/aws/codebuild/c", "/aws/codebuild/d",
                "/other"))
            logs.createLogGroup(r -> r.logGroupName(name));
        assertError("ResourceAlreadyExistsException", () -> logs.createLogGroup(r -> r.logGroupName("/other")));
        var first = logs.describeLogGroups(r -> r.logGroupNamePrefix("/aws/codebuild/"));
        assertEquals(3, first.logGroups().size());
        assertEquals(1, logs.describeLogGroups(r -> r.logGroupNamePrefix("/aws/codebuild/")
                .nextToken(first.nextToken())).logGroups().size());
        logs.putRetentionPolicy(r -> r.logGroupName("/other").retentionInDays(90));
        assertEquals(90, logs.describeLogGroups(r -> r.logGroupNamePrefix("/other")).logGroups().get(0)
                .retentionInDays());
        assertError("InvalidParameterException",
                () -> logs.putRetentionPolicy(r -> r.logGroupName("/other").retentionInDays(31)));
        assertError("ResourceNotFoundException",
                () -> logs.putRetentionPolicy(r -> r.logGroupName("/none").retentionInDays(30)));
        logs.deleteLogGroup(r -> r.logGroupName("/other"));
        assertError("ResourceNotFoundException", () -> logs.deleteLogGroup(r -> r.logGroupName("/other")));
    }
}
