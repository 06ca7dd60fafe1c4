package localaws;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.regex.Pattern;
import java.util.zip.ZipInputStream;
import org.eclipse.jgit.api.Git;
import org.eclipse.jgit.api.errors.GitAPIException;
import org.eclipse.jgit.transport.UsernamePasswordCredentialsProvider;

/**
 * CodeBuild: projects, and builds, which run the phases of their buildspec as processes of this machine with temporary
 * credentials of the project's service role. Rules from the CodeBuild API Reference and User Guide unless another
 * source is named.
 *
 * <p>A build's commands find the Java of this process, a home of their own that is empty, and nothing else of this
 * machine's environment, as in a fresh container; {@link #image} adds to that.
 */
public final class CodeBuild implements LocalAws.Service {
    private static final String PRINCIPAL = "codebuild.amazonaws.com";
    /** By type of environment: what is maintained and known to have Java and Git. */
    private static final Map<String, Pattern> IMAGES = Map.of(
            "LINUX_CONTAINER",
            Pattern.compile("aws/codebuild/(amazonlinux-x86_64-standard:[56]\\.0|standard:[78]\\.0)"),
            "ARM_CONTAINER", Pattern.compile("aws/codebuild/amazonlinux-aarch64-standard:[34]\\.0"));
    private static final Set<String> SOURCES = Set.of("CODECOMMIT", "S3", "NO_SOURCE");
    private static final Pattern CODECOMMIT_URL = Pattern
            .compile("https://git-codecommit\\.([a-z0-9-]+)\\.amazonaws\\.com(?:\\.cn)?/v1/repos/([\\w.-]{1,100})");
    /** Members of requests that are not offered here. */
    private static final List<String> NOT_OFFERED = List.of("secondarySources", "secondarySourceVersions",
            "secondaryArtifacts", "fileSystemLocations", "buildBatchConfig", "badgeEnabled");
    private static final Set<String> OFFERED_TO_START = Set.of("projectName", "sourceVersion",
            "environmentVariablesOverride", "buildspecOverride", "timeoutInMinutesOverride", "computeTypeOverride",
            "idempotencyToken");
    private static final Duration TOKEN_AGE = Duration.ofMinutes(5);
    /** As events show times. */
    private static final DateTimeFormatter EVENT_TIME = DateTimeFormatter.ofPattern("MMM d, yyyy h:mm:ss a", Locale.US)
            .withZone(ZoneOffset.UTC);

    /** A project; tests may look at it and change its settings, which are as BatchGetProjects shows them. */
    public static final class Project {
        public final String name;
        public final ObjectNode settings;
        private int builds;

        Project(String name, ObjectNode settings) {
            this.name = name;
            this.settings = settings;
        }
    }

    private record Phase(String type, String status, Instant start, Instant end, String code, String message) { }

    /** Why a phase failed, as its context has it. */
    private static final class PhaseFailure extends Exception {
        final String code;

        PhaseFailure(String code, String message) {
            super(message);
            this.code = code;
        }
    }

    /** One build, which goes on by itself. */
    public final class Build {
        public final String id;
        public final String projectName;
        public final int number;
        public final String initiator;
        /** The project's settings, with what StartBuild overrode. */
        public final ObjectNode settings;
        private final String region;
        private final Instant started;
        private final List<Phase> phases = new CopyOnWriteArrayList<>();
        private final List<Buildspec.Command> commands = new CopyOnWriteArrayList<>();
        private volatile String status = "IN_PROGRESS";
        private volatile String currentPhase = "SUBMITTED";
        private volatile String resolvedSourceVersion;
        /** When it ended. */
        private volatile Instant completed;
        /** Whether that was told too. */
        private volatile boolean told;
        private volatile Buildspec buildspec;
        private volatile boolean mayLog;
        /** STOPPED or TIMED_OUT, when that ended it. */
        private volatile String cut;
        private Thread thread;

        Build(Project project, ObjectNode settings, String region, String initiator) {
            this.projectName = project.name;
            this.settings = settings;
            this.region = region;
            this.initiator = initiator;
            number = ++project.builds;
            id = project.name + ":" + UUID.randomUUID();
            started = aws.now();
        }

        /** IN_PROGRESS, SUCCEEDED, FAILED, TIMED_OUT or STOPPED. */
        public String status() {
            return status;
        }

        /** Whether all is done, events and metrics included. */
        public boolean isComplete() {
            return told;
        }

        /** All commands that have ended so far. */
        public List<Buildspec.Command> commands() {
            return List.copyOf(commands);
        }

        /** What the build has written to its log so far. */
        public String log() {
            return aws.account(account).logs.read(region, group(), stream());
        }

        public String resolvedSourceVersion() {
            return resolvedSourceVersion;
        }

        /** The variables that the project and who started the build set. */
        public Map<String, String> variables() {
            var variables = new TreeMap<String, String>();
            for (var variable : settings.at("/environment/environmentVariables"))
                variables.put(variable.path("name").asText(), variable.path("value").asText());
            return variables;
        }

        /** Of each phase that has ended: its type, status and, if it failed, the reason. */
        public List<String> phases() {
            return phases.stream().map(phase -> phase.type + " " + phase.status
                    + (phase.message == null ? "" : " " + phase.code + ": " + phase.message)).toList();
        }

        /** Waits until it has ended. */
        public synchronized Build await() {
            try {
                while (!isComplete()) wait();
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
            return this;
        }

        private String arn() {
            return caller(region).arn("codebuild", "build/" + id);
        }

        private String projectArn() {
            return caller(region).arn("codebuild", "project/" + projectName);
        }

        private String group() {
            return settings.at("/logsConfig/cloudWatchLogs/groupName").asText("/aws/codebuild/" + projectName);
        }

        private String stream() {
            return id.substring(id.indexOf(':') + 1);
        }

        /** What its role may not write is lost. */
        private void write(String text) {
            if (!mayLog) return;
            aws.account(account).logs.write(region, group(), stream(), text);
        }

        private void ended(Phase phase) {
            phases.add(phase);
        }

        private synchronized void use(Buildspec found) {
            buildspec = found;
            if (cut != null) found.stop();
        }

        private synchronized void cut(String how) {
            if (isComplete() || cut != null) return;
            cut = how;
            if (buildspec != null) buildspec.stop();
        }
    }

    private static final class Regional {
        final Map<String, Project> projects = new TreeMap<>();
        /** By id, oldest first. */
        final Map<String, Build> builds = new LinkedHashMap<>();
        final Map<String, ObjectNode> tokens = new ConcurrentHashMap<>();
    }

    private final LocalAws aws;
    private final String account;
    private final Map<String, Regional> regions = LocalAws.concurrentMap();
    /** The account's limit on builds that run at the same time; five times as many may wait. New accounts have few. */
    public int concurrentBuilds = 5;
    /** How many items a page has; AWS's own pages are longer. */
    public int pageSize = 3;
    /** Variables that builds find besides those that CodeBuild sets, such as PATH and HOME. */
    public final Map<String, String> image = new ConcurrentHashMap<>();
    private int running;

    CodeBuild(LocalAws aws, String account) {
        this.aws = aws;
        this.account = account;
    }

    private Regional regional(String region) {
        return LocalAws.regional(regions, region, Regional::new);
    }

    private Caller caller(String region) {
        return new Caller("", account, region);
    }

    /** The project, or null. */
    public synchronized Project project(String region, String name) {
        return regional(region).projects.get(name);
    }

    /** The builds of a project so far, oldest first. */
    public synchronized List<Build> builds(String region, String projectName) {
        return regional(region).builds.values().stream().filter(build -> build.projectName.equals(projectName))
                .toList();
    }

    /** Ends the builds that still run; then none of their files are left. */
    void close() {
        List<Build> all;
        synchronized (this) {
            all = regions.values().stream().flatMap(regional -> regional.builds.values().stream()).toList();
        }
        all.forEach(build -> build.cut("STOPPED"));
        try {
            for (var build : all) build.thread.join();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    // ---- Permissions

    @Override
    public List<Need> needs(String operation, ObjectNode input, Caller caller) {
        var action = "codebuild:" + operation;
        return switch (operation) {
            case "CreateProject", "UpdateProject" -> {
                var arn = caller.arn("codebuild", "project/" + input.path("name").asText());
                var tags = Need.tags(input.path("tags"), "key", "value");
                var need = new Need(action, arn).requestTags(tags);
                var role = input.path("serviceRole").textValue();
                yield role == null ? List.of(need) : List.of(need, passing(role, arn));
            }
            case "BatchGetProjects" -> input.path("names").valueStream()
                    .map(name -> new Need(action, caller.arn("codebuild", "project/" + projectName(name.asText()))))
                    .toList();
            case "BatchGetBuilds" -> input.path("ids").valueStream()
                    .map(id -> new Need(action, caller.arn("codebuild", "project/" + projectOf(id.asText()))))
                    .distinct().toList();
            case "StopBuild" ->
                List.of(new Need(action, caller.arn("codebuild", "project/" + projectOf(input.path("id").asText()))));
            case "DeleteProject" -> List.of(new Need(action,
                    caller.arn("codebuild", "project/" + projectName(input.path("name").asText()))));
            case "StartBuild", "ListBuildsForProject" -> List.of(new Need(action,
                    caller.arn("codebuild", "project/" + projectName(input.path("projectName").asText()))));
            case "ListProjects" -> List.of(new Need(action, "*"));
            default -> throw new IllegalStateException("no permission is known for codebuild:" + operation);
        };
    }

    private static Need passing(String role, String arn) {
        return new Need("iam:PassRole", role).key("iam:PassedToService", PRINCIPAL)
                .key("iam:AssociatedResourceArn", arn);
    }

    private static String projectName(String nameOrArn) {
        return nameOrArn.replaceFirst("^arn:.*:project/", "");
    }

    private static String buildId(String idOrArn) {
        return idOrArn.replaceFirst("^arn:.*:build/", "");
    }

    private static String projectOf(String build) {
        return buildId(build).replaceFirst(":.*", "");
    }

    // ---- Operations

    @Override
    public synchronized JsonNode answer(String operation, ObjectNode input, Caller caller) {
        var regional = regional(caller.region());
        return switch (operation) {
            case "CreateProject" -> node("project", create(input, caller));
            case "UpdateProject" -> node("project", update(input, caller));
            case "BatchGetProjects" -> {
                var answer = Models.JSON.createObjectNode();
                var found = answer.putArray("projects");
                var missing = answer.putArray("projectsNotFound");
                for (var name : input.get("names")) {
                    var project = regional.projects.get(projectName(name.asText()));
                    if (project == null) missing.add(name);
                    else found.add(project.settings);
                }
                yield answer;
            }
            case "ListProjects" -> page("projects", new ArrayList<>(regional.projects.keySet()), input);
            case "DeleteProject" -> {
                regional.projects.remove(projectName(input.get("name").asText()));
                yield Models.JSON.createObjectNode();
            }
            case "StartBuild" -> node("build", describe(start(input, caller, initiator(caller)), caller));
            case "BatchGetBuilds" -> {
                var answer = Models.JSON.createObjectNode();
                var found = answer.putArray("builds");
                var missing = answer.putArray("buildsNotFound");
                for (var id : input.get("ids")) {
                    var build = regional.builds.get(buildId(id.asText()));
                    if (build == null) missing.add(id);
                    else found.add(describe(build, caller));
                }
                yield answer;
            }
            case "ListBuildsForProject" -> {
                var project = existing(input.get("projectName").asText(), caller);
                var ids = new ArrayList<String>();
                for (var build : regional.builds.values())
                    if (build.projectName.equals(project.name)) ids.add(build.id);
                if (!input.path("sortOrder").asText("").equals("ASCENDING")) Collections.reverse(ids);
                yield page("ids", ids, input);
            }
            case "StopBuild" -> {
                var build = regional.builds.get(buildId(input.get("id").asText()));
                if (build == null)
                    throw new AwsError("ResourceNotFoundException", "Build " + input.get("id") + " does not exist");
                build.cut("STOPPED");
                yield node("build", describe(build, caller));
            }
            default -> throw new AwsError("UnknownOperationException", operation);
        };
    }

    private static ObjectNode node(String name, JsonNode value) {
        return Models.JSON.createObjectNode().set(name, value);
    }

    private ObjectNode page(String name, List<String> items, ObjectNode input) {
        var from = input.hasNonNull("nextToken") ? Integer.parseInt(input.get("nextToken").asText()) : 0;
        var to = Math.min(items.size(), from + pageSize);
        var answer = Models.JSON.createObjectNode();
        var list = answer.putArray(name);
        items.subList(Math.min(from, to), to).forEach(list::add);
        if (to < items.size()) answer.put("nextToken", String.valueOf(to));
        return answer;
    }

    /** A user's name, a role's session, as builds show who started them. */
    private static String initiator(Caller caller) {
        return caller.arn().replaceFirst("^.*:(user/|assumed-role/|)", "");
    }

    private Project existing(String nameOrArn, Caller caller) {
        var name = projectName(nameOrArn);
        var project = regional(caller.region()).projects.get(name);
        if (project == null)
            throw new AwsError("ResourceNotFoundException",
                    "Project cannot be found: " + caller.arn("codebuild", "project/" + name));
        return project;
    }

    private static AwsError invalid(String message) {
        return new AwsError("InvalidInputException", message);
    }

    // ---- Projects

    private ObjectNode create(ObjectNode input, Caller caller) {
        var name = input.get("name").asText();
        var arn = caller.arn("codebuild", "project/" + name);
        if (regional(caller.region()).projects.containsKey(name))
            throw new AwsError("ResourceAlreadyExistsException", "Project already exists: " + arn);
        if (input.path("concurrentBuildLimit").asInt(1) < 1)
            throw invalid("Project-level concurrent build limit must be at least 1");
        var settings = Models.JSON.createObjectNode();
        settings.put("name", name).put("arn", arn);
        settings.setAll(input);
        check(settings, caller);
        var now = aws.now().toEpochMilli() / 1000.0;
        settings.put("created", now).put("lastModified", now);
        settings.put("encryptionKey", input.path("encryptionKey").asText(caller.arn("kms", "alias/aws/s3")));
        if (!settings.has("timeoutInMinutes")) settings.put("timeoutInMinutes", 60);
        if (!settings.has("queuedTimeoutInMinutes")) settings.put("queuedTimeoutInMinutes", 480);
        if (!settings.has("cache")) settings.putObject("cache").put("type", "NO_CACHE");
        if (!settings.has("tags")) settings.putArray("tags");
        settings.putObject("badge").put("badgeEnabled", false);
        complete(settings);
        regional(caller.region()).projects.put(name, new Project(name, settings));
        return settings;
    }

    /** What is not given stays; what is given replaces the whole member. */
    private ObjectNode update(ObjectNode input, Caller caller) {
        var project = existing(input.get("name").asText(), caller);
        var settings = project.settings.deepCopy();
        settings.setAll(input);
        if (input.path("concurrentBuildLimit").asInt() == -1) settings.remove("concurrentBuildLimit");
        if (input.has("vpcConfig") && input.get("vpcConfig").isEmpty()) settings.remove("vpcConfig");
        if (input.has("sourceVersion") && input.get("sourceVersion").asText().isEmpty())
            settings.remove("sourceVersion");
        check(settings, caller);
        settings.put("lastModified", aws.now().toEpochMilli() / 1000.0);
        complete(settings);
        project.settings.removeAll();
        project.settings.setAll(settings);
        return project.settings;
    }

    /** What CodeBuild adds to the structures that it is given. */
    private static void complete(ObjectNode settings) {
        var environment = (ObjectNode) settings.get("environment");
        if (!environment.has("environmentVariables")) environment.putArray("environmentVariables");
        for (var variable : environment.get("environmentVariables"))
            if (!variable.has("type")) ((ObjectNode) variable).put("type", "PLAINTEXT");
        if (!environment.has("privilegedMode")) environment.put("privilegedMode", false);
        if (!environment.has("imagePullCredentialsType")) environment.put("imagePullCredentialsType", "CODEBUILD");
        var source = (ObjectNode) settings.get("source");
        if (!source.has("insecureSsl")) source.put("insecureSsl", false);
        if (source.get("type").asText().equals("CODECOMMIT") && !source.has("gitCloneDepth"))
            source.put("gitCloneDepth", 1);
    }

    private void check(ObjectNode settings, Caller caller) {
        for (var member : NOT_OFFERED)
            if (settings.hasNonNull(member)) throw invalid("The embedded AWS does not offer " + member);
        checkSource(settings.get("source"), caller);
        if (!settings.at("/artifacts/type").asText().equals("NO_ARTIFACTS"))
            throw invalid("The embedded AWS does not offer artifacts");
        if (!settings.at("/cache/type").asText("NO_CACHE").equals("NO_CACHE"))
            throw invalid("The embedded AWS does not offer a cache");
        var environment = settings.get("environment");
        var type = environment.get("type").asText();
        if (!IMAGES.containsKey(type)) throw invalid("The embedded AWS does not offer the environment type " + type);
        var compute = environment.get("computeType").asText();
        if (!compute.startsWith("BUILD_GENERAL1_") || type.equals("ARM_CONTAINER") && compute.endsWith("XLARGE"))
            throw invalid("Compute type " + compute + " is not supported for environment type " + type);
        for (var variable : environment.path("environmentVariables"))
            if (!variable.path("type").asText("PLAINTEXT").equals("PLAINTEXT"))
                throw invalid("The embedded AWS does not offer variables of type " + variable.path("type").asText());
        if (settings.path("concurrentBuildLimit").asInt() > concurrentBuilds)
            throw invalid("Project-level concurrent build limit cannot exceed the account-level concurrent build limit"
                    + " of " + concurrentBuilds + ".");
        checkRole(settings, caller);
        if (settings.hasNonNull("vpcConfig")) checkVpc(settings, caller);
    }

    private static void checkSource(JsonNode source, Caller caller) {
        var type = source.get("type").asText();
        var location = source.path("location").asText("");
        if (!SOURCES.contains(type)) throw invalid("The embedded AWS does not offer sources of type " + type);
        switch (type) {
            case "NO_SOURCE" -> {
                if (!location.isEmpty()) throw invalid("Source location must be empty for NO_SOURCE");
                if (source.path("buildspec").asText("").isBlank())
                    throw invalid("Project source with NO_SOURCE must have a buildspec");
            }
            case "CODECOMMIT" -> {
                var url = CODECOMMIT_URL.matcher(location);
                if (!url.matches()) throw invalid("Invalid project source: location must be a valid CodeCommit URL");
            }
            default -> {
                if (!location.matches("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+"))
                    throw invalid("Invalid project source: location must be a valid S3 source");
            }
        }
        if (source.hasNonNull("auth") || source.hasNonNull("buildStatusConfig"))
            throw invalid("The embedded AWS does not offer auth and buildStatusConfig of a source");
    }

    /** CodeBuild tries the role at once. */
    private void checkRole(ObjectNode settings, Caller caller) {
        var role = settings.get("serviceRole").asText();
        if (!role.startsWith(caller.iamArn("role/"))) throw invalid("Invalid service role: " + role);
        if (aws.sts.assumeAsService(PRINCIPAL, role, "AWSCodeBuild", settings.get("arn").asText()) == null)
            throw invalid("CodeBuild is not authorized to perform: sts:AssumeRole on " + role);
    }

    /** CodeBuild looks the groups up with the role. */
    private void checkVpc(ObjectNode settings, Caller caller) {
        var vpc = settings.get("vpcConfig");
        if (!vpc.hasNonNull("vpcId") || vpc.path("subnets").isEmpty() || vpc.path("securityGroupIds").isEmpty())
            throw invalid("VpcId, subnets and security groups must all be given");
        if (!allowed(session(settings, caller.region()), new Need("ec2:DescribeSecurityGroups", "*")))
            throw invalid("Not authorized to perform DescribeSecurityGroups");
        var ec2 = aws.account(account).ec2;
        for (var subnet : vpc.get("subnets"))
            if (!vpc.get("vpcId").asText().equals(ec2.vpcOf(caller.region(), subnet.asText())))
                throw invalid("The subnet " + subnet.asText() + " is not in " + vpc.get("vpcId").asText());
        for (var group : vpc.get("securityGroupIds"))
            if (!vpc.get("vpcId").asText().equals(ec2.vpcOf(caller.region(), group.asText())))
                throw invalid("The security group " + group.asText() + " is not in " + vpc.get("vpcId").asText());
    }

    /** A session of the project's role; null when CodeBuild may not assume it. */
    private Caller session(ObjectNode settings, String region) {
        var login = aws.sts.assumeAsService(PRINCIPAL, settings.get("serviceRole").asText(), "AWSCodeBuild",
                settings.get("arn").asText());
        return login == null ? null : aws.credentials.get(login.accessKeyId()).caller(region, null);
    }

    private boolean allowed(Caller caller, Need need) {
        return aws.authorizer.decide(caller, need).decision() == PolicyEvaluator.Decision.allowed;
    }

    // ---- Builds

    /**
     * Starts a build for a rule of EventBridge, whose role's permissions decide.
     *
     * @param arn   the project's
     * @param input members of StartBuild; others are ignored
     */
    void invoke(String arn, JsonNode input, Caller session) {
        var request = Models.JSON.createObjectNode();
        input.properties().stream().filter(member -> OFFERED_TO_START.contains(member.getKey()))
                .forEach(member -> request.set(member.getKey(), member.getValue()));
        request.put("projectName", arn);
        var violations = Models.violations("codebuild", "StartBuild", request);
        if (!violations.isEmpty()) throw invalid("StartBuild", violations);
        aws.authorizer.check(session, needs("StartBuild", request, session), this);
        synchronized (this) {
            start(request, session, initiator(session));
        }
    }

    private Build start(ObjectNode input, Caller caller, String initiator) {
        input.fieldNames().forEachRemaining(member -> {
            if (!OFFERED_TO_START.contains(member)) throw invalid("The embedded AWS does not offer " + member);
        });
        var project = existing(input.get("projectName").asText(), caller);
        var regional = regional(caller.region());
        var token = input.path("idempotencyToken").asText("");
        if (regional.tokens.containsKey(token)) {
            var earlier = regional.builds.get(regional.tokens.get(token).path("buildId").asText());
            if (earlier.started.plus(TOKEN_AGE).isAfter(aws.now())) {
                if (!regional.tokens.get(token).path("request").equals(input))
                    throw invalid("The idempotency token was used with other parameters");
                return earlier;
            }
        }
        var active = regional.builds.values().stream().filter(build -> !build.isComplete()).toList();
        var limit = project.settings.path("concurrentBuildLimit").asInt(Integer.MAX_VALUE);
        if (active.stream().filter(build -> build.projectName.equals(project.name)).count() >= limit)
            throw new AwsError("AccountLimitExceededException",
                    "Cannot have more than " + limit + " active builds for the project");
        if (active.size() >= concurrentBuilds * 6)
            throw new AwsError("AccountLimitExceededException",
                    "Cannot have more than " + concurrentBuilds * 5 + " builds in queue for the account");
        var settings = project.settings.deepCopy();
        override(settings, input);
        var build = new Build(project, settings, caller.region(), initiator);
        regional.builds.put(build.id, build);
        if (!token.isEmpty())
            regional.tokens.put(token, Models.JSON.createObjectNode().put("buildId", build.id).set("request", input));
        build.thread = new Thread(() -> run(build), "build " + build.id);
        build.thread.setDaemon(true);
        build.thread.start();
        return build;
    }

    private static void override(ObjectNode settings, ObjectNode input) {
        if (input.hasNonNull("sourceVersion")) settings.set("sourceVersion", input.get("sourceVersion"));
        if (input.hasNonNull("buildspecOverride"))
            ((ObjectNode) settings.get("source")).set("buildspec", input.get("buildspecOverride"));
        if (input.hasNonNull("timeoutInMinutesOverride"))
            settings.set("timeoutInMinutes", input.get("timeoutInMinutesOverride"));
        var environment = (ObjectNode) settings.get("environment");
        if (input.hasNonNull("computeTypeOverride")) environment.set("computeType", input.get("computeTypeOverride"));
        var variables = new LinkedHashMap<String, JsonNode>();
        for (var variable : environment.get("environmentVariables"))
            variables.put(variable.get("name").asText(), variable);
        for (var variable : input.path("environmentVariablesOverride"))
            variables.put(variable.get("name").asText(), variable);
        environment.putArray("environmentVariables").addAll(variables.values());
    }

    /** The whole build, in a thread of its own. */
    private void run(Build build) {
        count(build, "Builds", 1);
        publish(build);
        build.ended(phase("SUBMITTED", build.started));
        waitForHost(build);
        try {
            build.status = isBuilt(build) ? "SUCCEEDED" : build.cut != null ? build.cut : "FAILED";
        } catch (IOException | RuntimeException e) {
            build.write("[Container] " + e + "\n");
            build.status = build.cut != null ? build.cut : "FAULT";
        } finally {
            releaseHost();
        }
        var end = aws.now();
        build.ended(phase("FINALIZING", end));
        build.currentPhase = "COMPLETED";
        build.phases.add(new Phase("COMPLETED", null, end, null, null, null));
        count(build, "Duration", Duration.between(build.started, end).toMillis() / 1000.0);
        if (build.status.equals("SUCCEEDED")) count(build, "SucceededBuilds", 1);
        else if (!build.status.equals("STOPPED")) count(build, "FailedBuilds", 1);
        build.completed = end;
        publish(build);
        synchronized (build) {
            build.told = true;
            build.notifyAll();
        }
    }

    /** The build's turn among those of its account. */
    private void waitForHost(Build build) {
        build.currentPhase = "QUEUED";
        var start = aws.now();
        synchronized (this) {
            try {
                while (running >= concurrentBuilds) wait();
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
            running++;
        }
        build.ended(phase("QUEUED", start));
    }

    private synchronized void releaseHost() {
        running--;
        notifyAll();
    }

    /** A phase that succeeded and ends now. */
    private Phase phase(String type, Instant start) {
        return new Phase(type, "SUCCEEDED", start, aws.now(), null, null);
    }

    private void count(Build build, String metric, double value) {
        var cloudwatch = aws.account(account).cloudwatch;
        for (var dimensions : List.of(Map.of("ProjectName", build.projectName), Map.<String, String>of()))
            cloudwatch.put(build.region, "AWS/CodeBuild", metric, dimensions, value);
    }

    /** What a phase does, between its begin and its end. */
    private interface Step<T> {
        T run() throws PhaseFailure, IOException;
    }

    private <T> T within(Build build, String type, Step<T> step) throws PhaseFailure, IOException {
        var start = aws.now();
        build.currentPhase = type;
        try {
            if (build.cut != null) throw new PhaseFailure("", "Build has been " + build.cut);
            var made = step.run();
            build.ended(phase(type, start));
            return made;
        } catch (PhaseFailure e) {
            build.ended(new Phase(type, build.cut != null ? build.cut : "FAILED", start, aws.now(), e.code,
                    e.getMessage()));
            throw e;
        }
    }

    /** Whether all phases on a host succeeded. */
    private boolean isBuilt(Build build) throws IOException {
        var directory = Files.createTempDirectory("codebuild-");
        watch(build);
        try {
            var login = within(build, "PROVISIONING", () -> provision(build));
            var source = Files.createDirectories(directory.resolve("src"));
            var buildspec = within(build, "DOWNLOAD_SOURCE", () -> {
                download(build, login, source);
                return buildspec(build, source);
            });
            build.use(buildspec);
            var succeeded = buildspec.run(process(build, buildspec, login, directory, source), directory,
                    new Recorder(build));
            if (build.cut != null) return false;
            build.ended(phase("UPLOAD_ARTIFACTS", aws.now()));
            return succeeded;
        } catch (PhaseFailure e) {
            build.write("[Container] Phase context status code: " + e.code + " Message: " + e.getMessage() + "\n");
            return false;
        } finally {
            delete(directory);
        }
    }

    /** Ends the build when its time is over. */
    private void watch(Build build) {
        var end = aws.now().plus(Duration.ofMinutes(build.settings.get("timeoutInMinutes").asInt()));
        var watcher = new Thread(() -> {
            while (!build.isComplete()) {
                if (aws.now().isAfter(end)) build.cut("TIMED_OUT");
                Fault.sleep(Duration.ofMillis(50));
            }
        }, "time of " + build.id);
        watcher.setDaemon(true);
        watcher.start();
    }

    /** Puts what the phases of the buildspec do into the build and its log. */
    private final class Recorder implements Buildspec.Listener {
        private final Build build;
        private Instant start;

        Recorder(Build build) {
            this.build = build;
        }

        @Override
        public void begins(String phase) {
            start = aws.now();
            build.currentPhase = phase.toUpperCase(Locale.ROOT);
            build.write("[Container] Entering phase " + build.currentPhase + "\n");
        }

        @Override
        public void ran(Buildspec.Command command) {
            build.commands.add(command);
            build.write("[Container] Running command " + command.text().strip() + "\n"
                    + (command.out().isEmpty() ? "" : command.out() + "\n") + command.err());
        }

        @Override
        public void ends(String phase, Buildspec.Command failed) {
            var status = failed == null ? "SUCCEEDED" : build.cut != null ? build.cut : "FAILED";
            build.ended(new Phase(build.currentPhase, status, start, aws.now(),
                    failed == null ? null : "COMMAND_EXECUTION_ERROR",
                    failed == null ? null : "Error while executing command: " + failed.text().strip()
                            + ". Reason: exit status " + failed.exitCode()));
            build.write("[Container] Phase complete: " + build.currentPhase + " State: " + status + "\n");
        }
    }

    /** The role's credentials. */
    private LocalAws.Login provision(Build build) throws PhaseFailure {
        var role = build.settings.get("serviceRole").asText();
        var login = aws.sts.assumeAsService(PRINCIPAL, role, "AWSCodeBuild-" + build.stream(), build.projectArn());
        if (login == null)
            throw new PhaseFailure("ACCESS_DENIED",
                    "CodeBuild is not authorized to perform: sts:AssumeRole on " + role);
        var environment = build.settings.get("environment");
        var picture = environment.get("image").asText();
        if (!IMAGES.get(environment.get("type").asText()).matcher(picture).matches())
            throw new PhaseFailure("BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE", "Unable to pull customer's container image: "
                    + picture);
        var session = aws.credentials.get(login.accessKeyId()).caller(build.region, null);
        for (var need : aws.account(account).logs.writing(build.group(), build.stream(), session))
            if (!allowed(session, need))
                throw new PhaseFailure("ACCESS_DENIED", "Service role " + role
                        + " does not allow AWS CodeBuild to create Amazon CloudWatch Logs log streams for build "
                        + build.arn() + ". Error message: User: "
                        + session.arn() + " is not authorized to perform: " + need.action() + " on resource: "
                        + need.resource());
        build.mayLog = true;
        if (build.settings.hasNonNull("vpcConfig")) provisionInVpc(build, session);
        return login;
    }

    /** A network interface in the VPC, which is the only way out (User Guide, Use CodeBuild with a VPC). */
    private void provisionInVpc(Build build, Caller session) throws PhaseFailure {
        var needs = new ArrayList<Need>();
        for (var action : List.of("CreateNetworkInterface", "DescribeDhcpOptions", "DescribeNetworkInterfaces",
                "DeleteNetworkInterface", "DescribeSubnets", "DescribeSecurityGroups", "DescribeVpcs"))
            needs.add(new Need("ec2:" + action, "*"));
        for (var subnet : build.settings.at("/vpcConfig/subnets"))
            needs.add(new Need("ec2:CreateNetworkInterfacePermission", session.arn("ec2", "network-interface/eni-0"))
                    .key("ec2:Subnet", session.arn("ec2", "subnet/" + subnet.asText()))
                    .key("ec2:AuthorizedService", PRINCIPAL));
        for (var need : needs)
            if (!allowed(session, need))
                throw new PhaseFailure("VPC_CLIENT_ERROR", "Unexpected EC2 error: UnauthorizedOperation: "
                        + need.action());
    }

    // ---- Sources

    private void download(Build build, LocalAws.Login login, Path directory) throws PhaseFailure, IOException {
        var source = build.settings.get("source");
        var location = source.path("location").asText();
        switch (source.get("type").asText()) {
            case "CODECOMMIT" -> checkOut(build, login, location, directory);
            case "S3" -> unzip(build, login, location, directory);
            default -> { }
        }
    }

    private void checkOut(Build build, LocalAws.Login login, String location, Path directory)
            throws PhaseFailure, IOException {
        var url = CODECOMMIT_URL.matcher(location);
        if (!url.matches()) throw new PhaseFailure("CLIENT_ERROR", "invalid URL " + location);
        var path = "/v1/repos/" + url.group(2);
        var version = build.settings.path("sourceVersion").asText("");
        var password = GitHttp.password(login.secretAccessKey(), aws.endpoint().getHost(), path, url.group(1));
        try (var git = Git.cloneRepository().setURI(aws.endpoint() + path).setDirectory(directory.toFile())
                .setCredentialsProvider(new UsernamePasswordCredentialsProvider(GitHttp.user(login), password))
                .call()) {
            var names = version.isEmpty() ? List.of("HEAD") : version.startsWith("refs/heads/")
                    ? List.of("refs/remotes/origin/" + version.substring("refs/heads/".length()))
                    : List.of(version, "refs/remotes/origin/" + version, "refs/tags/" + version);
            for (var name : names) {
                var commit = git.getRepository().resolve(name + "^{commit}");
                if (commit == null) continue;
                git.checkout().setName(commit.name()).call();
                build.resolvedSourceVersion = commit.name();
                return;
            }
            throw new PhaseFailure("CLIENT_ERROR", "reference not found for primary source and source version "
                    + version);
        } catch (GitAPIException e) {
            throw new PhaseFailure("CLIENT_ERROR",
                    e.getMessage() + " for primary source and source version " + version);
        }
    }

    private void unzip(Build build, LocalAws.Login login, String location, Path directory)
            throws PhaseFailure, IOException {
        var bucket = location.substring(0, location.indexOf('/'));
        var key = location.substring(location.indexOf('/') + 1);
        var version = build.settings.path("sourceVersion").asText("");
        get(build, login, "/" + bucket, "location=").close();
        try (var zip = new ZipInputStream(get(build, login, "/" + bucket + "/" + encode(key),
                version.isEmpty() ? "" : "versionId=" + encode(version)))) {
            for (var entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                var file = directory.resolve(entry.getName()).normalize();
                if (!file.startsWith(directory)) throw new PhaseFailure("CLIENT_ERROR", "invalid path " + entry);
                if (entry.isDirectory()) continue;
                Files.createDirectories(file.getParent());
                Files.copy(zip, file); // like CodeBuild's, without a run bit
            }
        }
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20").replace("%2F", "/");
    }

    /** What S3 answers the role, by a signed request. */
    private InputStream get(Build build, LocalAws.Login login, String path, String query)
            throws PhaseFailure, IOException {
        var time = Credentials.TIME.format(Instant.now());
        var empty = Credentials.hex(Credentials.sha256(new byte[0]));
        var headers = new TreeMap<>(Map.of("host", aws.endpoint().getAuthority(), "x-amz-content-sha256", empty,
                "x-amz-date", time, "x-amz-security-token", login.sessionToken()));
        var canonical = new StringBuilder("GET\n" + path + "\n" + query + "\n");
        headers.forEach((name, value) -> canonical.append(name).append(':').append(value).append('\n'));
        var signed = String.join(";", headers.keySet());
        canonical.append('\n').append(signed).append('\n').append(empty);
        var scope = time.substring(0, 8) + "/" + build.region + "/s3/aws4_request";
        var signature = Credentials.sign(login.secretAccessKey(), time.substring(0, 8), build.region, "s3", time,
                canonical.toString());
        var uri = URI.create(aws.endpoint() + path + (query.isEmpty() ? "" : "?" + query));
        var connection = (HttpURLConnection) uri.toURL().openConnection();
        connection.setInstanceFollowRedirects(false);
        headers.forEach(connection::setRequestProperty);
        connection.setRequestProperty("Authorization", "AWS4-HMAC-SHA256 Credential=" + login.accessKeyId() + "/"
                + scope + ", SignedHeaders=" + signed + ", Signature=" + signature);
        var status = connection.getResponseCode();
        if (status == 200) return connection.getInputStream();
        try (var answer = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            var text = new String(answer.readAllBytes(), StandardCharsets.UTF_8);
            throw new PhaseFailure("CLIENT_ERROR", text.replaceAll("(?s).*<Code>(.*)</Code><Message>(.*)</Message>.*",
                    "$1: $2") + " for primary source and source version "
                    + build.settings.path("sourceVersion").asText(""));
        }
    }

    private static Buildspec buildspec(Build build, Path source) throws PhaseFailure, IOException {
        var named = build.settings.at("/source/buildspec").asText("");
        var file = source.resolve(named.isBlank() ? "buildspec.yml" : named.lines().findFirst().orElseThrow());
        var isInline = named.contains("\n");
        if (!isInline && !Files.exists(file)) throw new PhaseFailure("YAML_FILE_ERROR", "YAML file does not exist");
        try {
            return Buildspec.of(isInline ? named : Files.readString(file));
        } catch (IllegalArgumentException e) {
            throw new PhaseFailure("YAML_FILE_ERROR", e.getMessage());
        }
    }

    /** The project's variables go before those of the buildspec, and CodeBuild's own before all. */
    private ProcessBuilder process(Build build, Buildspec buildspec, LocalAws.Login login, Path directory, Path source)
            throws IOException {
        var process = new ProcessBuilder().directory(source.toFile());
        var java = System.getProperty("java.home");
        var settings = build.settings;
        var environment = process.environment();
        environment.clear();
        environment.putAll(Map.of("HOME", Files.createDirectories(directory.resolve("root")).toString(), "JAVA_HOME",
                java, "PATH", java + "/bin:/usr/local/bin:/usr/bin:/bin", "LANG", "C.UTF-8"));
        environment.putAll(image);
        environment.putAll(buildspec.variables());
        environment.putAll(build.variables());
        environment.putAll(login.environment());
        environment.putAll(Map.of("AWS_ENDPOINT_URL", aws.endpoint().toString(), "AWS_REGION", build.region,
                "AWS_DEFAULT_REGION", build.region, "AWS_EC2_METADATA_DISABLED", "true", "AWS_CONFIG_FILE", "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE", "/dev/null"));
        environment.putAll(Map.of("CODEBUILD_BUILD_ID", build.id, "CODEBUILD_BUILD_ARN", build.arn(),
                "CODEBUILD_BUILD_NUMBER", String.valueOf(build.number), "CODEBUILD_BUILD_IMAGE",
                settings.at("/environment/image").asText(), "CODEBUILD_INITIATOR", build.initiator,
                "CODEBUILD_LOG_PATH", build.stream(), "CODEBUILD_SRC_DIR", source.toString(), "CODEBUILD_START_TIME",
                String.valueOf(build.started.toEpochMilli()), "CODEBUILD_SOURCE_VERSION",
                settings.path("sourceVersion").asText(""), "CODEBUILD_PROJECT_ARN", build.projectArn()));
        if (build.resolvedSourceVersion != null)
            environment.put("CODEBUILD_RESOLVED_SOURCE_VERSION", build.resolvedSourceVersion);
        return process;
    }

    private static void delete(Path directory) {
        try (var files = Files.walk(directory)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        } catch (IOException | UncheckedIOException e) {
            // a process that was ended may still be writing; the directory is temporary
        }
    }

    // ---- What is told of builds

    private ObjectNode describe(Build build, Caller caller) {
        var settings = build.settings;
        var described = Models.JSON.createObjectNode().put("id", build.id).put("arn", build.arn())
                .put("buildNumber", build.number).put("projectName", build.projectName)
                .put("startTime", seconds(build.started)).put("currentPhase", build.currentPhase)
                .put("buildStatus", build.isComplete() ? build.status : "IN_PROGRESS")
                .put("buildComplete", build.isComplete()).put("initiator", build.initiator);
        if (build.completed != null) described.put("endTime", seconds(build.completed));
        if (build.resolvedSourceVersion != null)
            described.put("resolvedSourceVersion", build.resolvedSourceVersion);
        for (var member : List.of("source", "sourceVersion", "environment", "serviceRole", "timeoutInMinutes",
                "queuedTimeoutInMinutes", "encryptionKey", "cache", "vpcConfig"))
            if (settings.has(member)) described.set(member, settings.get(member));
        described.putObject("artifacts").put("location", "");
        described.set("logs", logs(build, caller));
        var phases = described.putArray("phases");
        for (var phase : build.phases) {
            var node = phases.addObject().put("phaseType", phase.type).put("startTime", seconds(phase.start));
            if (phase.end != null)
                node.put("phaseStatus", phase.status).put("endTime", seconds(phase.end)).put("durationInSeconds",
                        Duration.between(phase.start, phase.end).toSeconds());
            if (phase.message != null)
                node.putArray("contexts").addObject().put("statusCode", phase.code).put("message", phase.message);
        }
        return described;
    }

    private static double seconds(Instant time) {
        return time.toEpochMilli() / 1000.0;
    }

    private static ObjectNode logs(Build build, Caller caller) {
        return Models.JSON.createObjectNode().put("groupName", build.group()).put("streamName", build.stream())
                .put("deepLink", "https://console.aws.amazon.com/cloudwatch/home?region=" + caller.region()
                        + "#logsV2:log-groups/log-group/" + build.group().replace("/", "$252F") + "/log-events/"
                        + build.stream())
                .put("cloudWatchLogsArn", caller.arn("logs", "log-group:" + build.group() + ":log-stream:"
                        + build.stream()));
    }

    /** User Guide, Build notifications input format reference. */
    private void publish(Build build) {
        var settings = build.settings;
        var detail = Models.JSON.createObjectNode()
                .put("build-status", build.completed == null ? "IN_PROGRESS" : build.status)
                .put("project-name", build.projectName).put("build-id", build.arn())
                .put("current-phase", build.currentPhase).put("current-phase-context", "[: ]").put("version", "1");
        var more = detail.putObject("additional-information");
        more.put("build-number", build.number).put("timeout-in-minutes", settings.get("timeoutInMinutes").asInt())
                .put("build-complete", build.completed != null).put("initiator", build.initiator)
                .put("build-start-time", EVENT_TIME.format(build.started));
        var environment = settings.get("environment");
        var shown = more.putObject("environment").put("image", environment.get("image").asText())
                .put("privileged-mode", false).put("compute-type", environment.get("computeType").asText())
                .put("type", environment.get("type").asText());
        shown.set("environment-variables", environment.get("environmentVariables"));
        more.putObject("source").put("location", settings.at("/source/location").asText(""))
                .put("type", settings.at("/source/type").asText());
        var caller = caller(build.region);
        var logs = logs(build, caller);
        more.putObject("logs").put("group-name", build.group()).put("stream-name", build.stream())
                .put("deep-link", logs.get("deepLink").asText());
        var phases = more.putArray("phases");
        for (var phase : build.phases) {
            var node = phases.addObject().put("phase-type", phase.type)
                    .put("start-time", EVENT_TIME.format(phase.start));
            if (phase.end == null) continue;
            node.put("phase-status", phase.status).put("end-time", EVENT_TIME.format(phase.end))
                    .put("duration-in-seconds", Duration.between(phase.start, phase.end).toSeconds());
            node.putArray("phase-context").add(
                    phase.message == null ? ": " : phase.code + ": " + phase.message);
        }
        aws.account(account).events.publish(build.region, "aws.codebuild", "CodeBuild Build State Change",
                List.of(build.arn()), detail);
    }
}
