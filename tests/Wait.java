import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/** Waits that end as soon as they can, and that no machine is too slow for: their end is a guard against what hangs. */
final class Wait {
    private static final Duration GUARD = Duration.ofMinutes(20);

    private Wait() {
    }

    static void until(BooleanSupplier condition, Supplier<String> otherwise) {
        var end = System.nanoTime() + GUARD.toNanos();
        try {
            while (!condition.getAsBoolean()) {
                if (System.nanoTime() > end) throw new AssertionError(otherwise.get());
                Thread.sleep(10);
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Ends a process that does not end by itself, and all that it started. */
    static int forEnd(Process process, Supplier<String> otherwise) throws InterruptedException {
        if (process.waitFor(GUARD.toMinutes(), TimeUnit.MINUTES)) return process.exitValue();
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
        throw new AssertionError("does not end: " + otherwise.get());
    }
}
