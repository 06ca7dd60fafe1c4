import java.util.List;
import localaws.LocalAws;
import software.amazon.awssdk.regions.PartitionMetadata;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.codebuild.CodeBuildClient;
import software.amazon.awssdk.services.codebuild.model.ArtifactsType;
import software.amazon.awssdk.services.codebuild.model.ComputeType;
import software.amazon.awssdk.services.codebuild.model.EnvironmentType;
import software.amazon.awssdk.services.codebuild.model.SourceType;

/** CodeBuild projects without a source, and their builds, which the account's root user makes. */
final class Projects {
    private static final String TRUST = """
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
             "Principal": {"Service": "codebuild.amazonaws.com"}}]}""";
    private static final String LOGS = """
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}""";

    private Projects() {
    }

    /** A project whose builds run one command. */
    static void create(LocalAws aws, String region, String name, String command) {
        var role = aws.iam.createRole("build-" + name);
        role.trust = TRUST;
        role.inline.put("logs", LOGS);
        var arn = "arn:" + PartitionMetadata.of(Region.of(region)).id() + ":iam::" + LocalAws.ACCOUNT + ":role/"
                + role.name;
        var buildspec = "version: 0.2\nphases:\n  build:\n    commands:\n      - " + command + "\n";
        try (var codebuild = client(aws, region)) {
            codebuild.createProject(r -> r.name(name).serviceRole(arn)
                    .source(source -> source.type(SourceType.NO_SOURCE).buildspec(buildspec))
                    .artifacts(artifacts -> artifacts.type(ArtifactsType.NO_ARTIFACTS))
                    .environment(environment -> environment.type(EnvironmentType.LINUX_CONTAINER)
                            .image("aws/codebuild/amazonlinux-x86_64-standard:6.0")
                            .computeType(ComputeType.BUILD_GENERAL1_SMALL)));
        }
    }

    /** Runs a build to its end. */
    static void build(LocalAws aws, String region, String name) {
        try (var codebuild = client(aws, region)) {
            codebuild.startBuild(r -> r.projectName(name));
        }
        List.copyOf(aws.codebuild.builds(region, name)).forEach(build -> build.await());
    }

    private static CodeBuildClient client(LocalAws aws, String region) {
        return SignedIn.client(aws, CodeBuildClient.builder(), region, "arn:aws:iam::" + LocalAws.ACCOUNT + ":root");
    }
}
