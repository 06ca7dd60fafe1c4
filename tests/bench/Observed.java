import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A run of a script as Linux's /proc saw its JVM. Its output goes through pipes, so that none of it is written to disk;
 * what JBang itself wrote before it became the script does not count.
 *
 * @param memory  the most that was resident, in KiB
 * @param written in bytes, to disk
 */
record Observed(double seconds, long memory, long written, int exitCode, String out, String err) {
    /** Whether this machine shows it. */
    static boolean possible() {
        return Files.isReadable(Path.of("/proc/self/io"));
    }

    static Observed run(Map<String, String> environment, List<String> command)
            throws IOException, InterruptedException {
        return run(environment, command, new AtomicInteger());
    }

    /** @param looks counts how often the JVM was looked at */
    static Observed run(Map<String, String> environment, List<String> command, AtomicInteger looks)
            throws IOException, InterruptedException {
        var builder = new ProcessBuilder(command);
        builder.environment().keySet().removeIf(name -> name.matches("(?i)AWS_.*|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS"));
        builder.environment().putAll(environment);
        var start = System.nanoTime();
        var process = builder.start();
        process.getOutputStream().close();
        var out = CompletableFuture.supplyAsync(() -> text(process.getInputStream()));
        var err = CompletableFuture.supplyAsync(() -> text(process.getErrorStream()));
        // until then it is the shell that asks JBang what to run
        while (process.isAlive() && !isJava(process)) Thread.sleep(1);
        var before = value(process, "io", "write_bytes", 0);
        var memory = 0L;
        var written = before;
        while (process.isAlive()) {
            memory = value(process, "status", "VmHWM", memory);
            written = value(process, "io", "write_bytes", written);
            looks.incrementAndGet();
            Thread.sleep(10);
        }
        var exitCode = process.waitFor();
        return new Observed((System.nanoTime() - start) / 1e9, memory, written - before, exitCode, out.join(),
                err.join());
    }

    private static boolean isJava(Process process) {
        try {
            return Files.readString(Path.of("/proc/" + process.pid() + "/comm")).strip().equals("java");
        } catch (IOException e) {
            return false; // it has ended
        }
    }

    /** The number in a line such as "VmHWM:  123 kB", or what it was before the process ended. */
    private static long value(Process process, String file, String name, long before) {
        try (var lines = Files.lines(Path.of("/proc/" + process.pid() + "/" + file))) {
            return lines.filter(line -> line.startsWith(name + ":"))
                    .map(line -> Long.parseLong(line.replaceAll("\\D", ""))).findFirst().orElse(before);
        } catch (IOException | UncheckedIOException e) {
            return before;
        }
    }

    private static String text(InputStream in) {
        try {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
