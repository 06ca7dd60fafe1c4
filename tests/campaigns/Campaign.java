import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Predicate;
import java.util.stream.LongStream;
import java.util.stream.Stream;

/** Trials made from seeds: which ones, and the least of one that still fails. */
final class Campaign {
    /** More tries than any history here needs; each takes a second or more. */
    private static final int MOST_TRIES = 500;

    private Campaign() {
    }

    /**
     * The seeds from 1 on, as many as a run without {@code --long} takes; with it fresh ones, which are printed; or the
     * one that {@code --seed} names.
     */
    static Stream<Long> seeds(Class<?> test, int inShort, int inLong) {
        var named = Long.getLong("tests.seed");
        if (named != null) return Stream.of(named);
        if (!Boolean.getBoolean("tests.long")) return LongStream.rangeClosed(1, inShort).boxed();
        var first = ThreadLocalRandom.current().nextLong(1_000_000, 1_000_000_000);
        System.out.println(test.getSimpleName() + ": the seeds " + first + " to " + (first + inLong - 1)
                + "; again with one of them: ./jbang test --seed N " + test.getSimpleName());
        return LongStream.range(first, first + inLong).boxed();
    }

    /** What once failed, as a failure prints it, and then the seeds; or the one seed that is named. */
    static Stream<String> trials(Class<?> test, List<String> onceFailed, int inShort, int inLong) {
        var seeds = seeds(test, inShort, inLong).map(String::valueOf);
        return Long.getLong("tests.seed") == null ? Stream.concat(onceFailed.stream(), seeds) : seeds;
    }

    /**
     * Leaves out halves, quarters, and at last single ones, as long as what is left still fails. Tries are counted, not
     * timed, so that a slow machine finds the same.
     */
    static <T> List<T> shrunk(List<T> failing, Predicate<List<T>> fails) {
        var tries = 0;
        var least = failing;
        for (var size = Math.max(1, least.size() / 2); ; size = Math.max(1, size / 2)) {
            var before = least.size();
            for (var from = 0; from < least.size() && tries < MOST_TRIES; tries++) {
                var fewer = new ArrayList<>(least);
                fewer.subList(from, Math.min(from + size, least.size())).clear();
                if (fails.test(fewer)) least = fewer;
                else from += size;
            }
            if (size == 1 && least.size() == before) return least;
        }
    }
}
