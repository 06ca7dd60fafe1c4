import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.Consumer;

/**
 * What a run has made. It is noted before it is made, so that nothing is forgotten when the making fails or is
 * interrupted, and removed newest first. A removal that finds nothing has succeeded; one that fails stops no other one.
 */
final class Made {
    /** Removes a thing, if it is there. */
    interface Removal {
        void run() throws Exception;
    }

    /** @param command that removes it by hand */
    record Thing(String name, String command, Removal removal) { }

    /** What could not be removed, why, and the command for it. */
    record Left(String name, String reason, String command) { }

    private final Deque<Thing> things = new ArrayDeque<>();

    void note(String name, String command, Removal removal) {
        things.push(new Thing(name, command, removal));
    }

    List<Left> removeAll(Consumer<String> progress) {
        var left = new ArrayList<Left>();
        while (!things.isEmpty()) {
            var thing = things.pop();
            try {
                thing.removal().run();
                progress.accept("removed: " + thing.name());
            } catch (Exception e) {
                progress.accept("NOT removed: " + thing.name() + ": " + e.getMessage());
                left.add(new Left(thing.name(), e.getMessage(), thing.command()));
            }
        }
        return left;
    }
}
