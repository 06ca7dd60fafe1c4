import java.time.Clock;
import java.time.Instant;
import java.util.HashSet;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Supplier;
import localaws.Call;
import localaws.LocalAws;

/**
 * Decides when a call may come into an embedded AWS, so that a test has the moment that it needs: an embedded AWS tells
 * its listener of a call when that is answered and the client may be at its next one already. The gate is the clock,
 * which an embedded AWS reads first thing of every call, to check its signature.
 */
final class Gate implements AutoCloseable {
    private final LocalAws aws;
    private final Set<Thread> inside = new HashSet<>();
    private final int most;
    private final boolean inStep;
    private int entered;
    private boolean open;

    private Gate(LocalAws aws, int most, boolean inStep, Consumer<Call> listener) {
        this.aws = aws;
        this.most = most;
        this.inStep = inStep;
        aws.clock = new SuppliedClock(this::time);
        aws.onCall(call -> {
            try {
                listener.accept(call);
            } finally {
                leave();
            }
        });
    }

    /**
     * Runs a client whose calls come in one after the other: the listener is told of each before the next one, so that
     * what it does happens between the two. For clients that need no call's answer to finish another one.
     */
    static <T> T inStep(LocalAws aws, Consumer<Call> listener, Supplier<T> client) {
        try (var gate = new Gate(aws, Integer.MAX_VALUE, true, listener)) {
            return client.get();
        }
    }

    /** Lets so many calls in, and no more until it is taken away; those that are in go on. */
    static Gate after(int calls, LocalAws aws) {
        return new Gate(aws, calls, false, call -> { });
    }

    private Instant time() {
        // tests ask for the time, too
        if (Thread.currentThread().getName().equals("local-aws")) enter();
        return Instant.now();
    }

    private synchronized void enter() {
        if (inside.contains(Thread.currentThread())) return;
        entered++;
        notifyAll();
        try {
            while (!open && (entered > most || inStep && !inside.isEmpty())) wait();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt(); // the embedded AWS is closed
        }
        inside.add(Thread.currentThread());
    }

    private synchronized void leave() {
        inside.remove(Thread.currentThread());
        notifyAll();
    }

    /** Waits until a call waits at the gate, or the process that would make it has ended. */
    synchronized void awaitCaller(Process process) throws InterruptedException {
        while (entered <= most && process.isAlive()) wait(100);
    }

    /** Takes the gate away, with its listener. */
    @Override
    public synchronized void close() {
        aws.clock = Clock.systemUTC();
        aws.onCall(call -> { });
        open = true;
        notifyAll();
    }
}
