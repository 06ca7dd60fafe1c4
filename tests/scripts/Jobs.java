import java.io.File;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The script that schedules the backup, for tests that have it make a zip. */
final class Jobs {
    private Jobs() {
    }

    /** With libraries enough for the two scripts in the zip, and not for all tests: the less there is to move. */
    static ScheduleBackup withZip() {
        var others = ".*/(ec2|iam|kms|codebuild|cloudwatchlogs|eventbridge|junit|sns|cloudwatch|netty|httpc|apache"
                + "-client|snakeyaml).*";
        var script = new ScheduleBackup();
        script.classPath = Stream.of(script.classPath.split(File.pathSeparator)).filter(jar -> !jar.matches(others))
                .collect(Collectors.joining(File.pathSeparator));
        return script;
    }
}
