package localaws;

import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalTime;
import java.time.YearMonth;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.BitSet;
import java.util.List;
import java.util.Locale;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * When a rule of EventBridge fires by itself: cron with six fields, by UTC, or a rate that counts from a time (User
 * Guide, "Creating a rule that runs on a schedule").
 */
final class Schedule {
    private static final Pattern RATE = Pattern.compile("rate\\(([1-9]\\d{0,5}) (minute|hour|day)(s?)\\)");
    private static final Pattern CRON = Pattern.compile("cron\\((\\S+) (\\S+) (\\S+) (\\S+) (\\S+) (\\S+)\\)");
    private static final Pattern ITEM = Pattern.compile("(?:\\*|(\\w+)(?:-(\\w+))?)(?:/([1-9]\\d{0,3}))?");
    private static final Pattern WEEKDAY_NEAR = Pattern.compile("([1-9]|[12]\\d|3[01])W");
    private static final Pattern LAST = Pattern.compile("(\\w+)L");
    private static final Pattern NTH = Pattern.compile("(\\w+)#([1-5])");
    private static final List<String> MONTHS = List.of("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP",
            "OCT", "NOV", "DEC");
    private static final List<String> DAYS = List.of("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT");
    private static final int FIRST_YEAR = 1970;
    private static final int LAST_YEAR = 2199;

    private final Instant start;
    /** Null for a cron expression. */
    private final Duration rate;
    private final BitSet minutes;
    private final BitSet hours;
    private final Predicate<LocalDate> days;

    /**
     * @param start what a rate counts from
     * @throws IllegalArgumentException when the expression is not valid
     */
    Schedule(String expression, Instant start) {
        this.start = start;
        var every = RATE.matcher(expression);
        if (every.matches()) {
            var count = Integer.parseInt(every.group(1));
            if ((count == 1) != every.group(3).isEmpty()) throw new IllegalArgumentException(expression);
            rate = Duration.of(count, ChronoUnit.valueOf(every.group(2).toUpperCase(Locale.ROOT) + "S"));
            minutes = null;
            hours = null;
            days = null;
            return;
        }
        var cron = CRON.matcher(expression);
        if (!cron.matches()) throw new IllegalArgumentException(expression);
        rate = null;
        minutes = numbers(cron.group(1), 0, 59, List.of());
        hours = numbers(cron.group(2), 0, 23, List.of());
        var months = numbers(cron.group(4), 1, 12, MONTHS);
        var years = numbers(cron.group(6), FIRST_YEAR, LAST_YEAR, List.of());
        // one of the two says which days, and the other says that it does not
        if (cron.group(3).equals("?") == cron.group(5).equals("?")) throw new IllegalArgumentException(expression);
        var fits = cron.group(5).equals("?") ? daysOfMonth(cron.group(3)) : daysOfWeek(cron.group(5));
        days = date -> years.get(date.getYear()) && months.get(date.getMonthValue()) && fits.test(date);
    }

    /** The first time after this one, or null. */
    Instant next(Instant after) {
        if (rate != null) {
            if (after.isBefore(start)) return start.plus(rate);
            return start.plus(rate.multipliedBy(Duration.between(start, after).dividedBy(rate) + 1));
        }
        var from = after.truncatedTo(ChronoUnit.MINUTES).plus(1, ChronoUnit.MINUTES).atOffset(ZoneOffset.UTC);
        var time = from.toLocalTime();
        for (var date = from.toLocalDate(); date.getYear() <= LAST_YEAR; date = date.plusDays(1)) {
            if (days.test(date)) {
                var found = next(time);
                if (found != null) return date.atTime(found).toInstant(ZoneOffset.UTC);
            }
            time = LocalTime.MIDNIGHT;
        }
        return null;
    }

    /** The first time of a day at or after this one, or null. */
    private LocalTime next(LocalTime time) {
        for (var hour = hours.nextSetBit(time.getHour()); hour >= 0; hour = hours.nextSetBit(hour + 1)) {
            var minute = minutes.nextSetBit(hour == time.getHour() ? time.getMinute() : 0);
            if (minute >= 0) return LocalTime.of(hour, minute);
        }
        return null;
    }

    private static BitSet numbers(String field, int low, int high, List<String> names) {
        var numbers = new BitSet();
        for (var text : field.split(",", -1)) {
            var item = ITEM.matcher(text);
            if (!item.matches()) throw new IllegalArgumentException(field);
            var from = item.group(1) == null ? low : number(item.group(1), low, high, names);
            var isOne = item.group(1) != null && item.group(2) == null && item.group(3) == null;
            var to = item.group(2) != null ? number(item.group(2), low, high, names) : isOne ? from : high;
            if (from > to) throw new IllegalArgumentException(field);
            var step = item.group(3) == null ? 1 : Integer.parseInt(item.group(3));
            for (var number = from; number <= to; number += step) numbers.set(number);
        }
        return numbers;
    }

    private static int number(String text, int low, int high, List<String> names) {
        var index = names.indexOf(text.toUpperCase(Locale.ROOT));
        if (index >= 0) return index + 1;
        if (!text.matches("\\d{1,4}")) throw new IllegalArgumentException(text);
        var number = Integer.parseInt(text);
        if (number < low || number > high) throw new IllegalArgumentException(text);
        return number;
    }

    private static Predicate<LocalDate> daysOfMonth(String field) {
        return any(Stream.of(field.split(",", -1)).map(Schedule::dayOfMonth));
    }

    private static Predicate<LocalDate> dayOfMonth(String item) {
        if (item.equals("L")) return date -> date.getDayOfMonth() == date.lengthOfMonth();
        var near = WEEKDAY_NEAR.matcher(item);
        if (near.matches()) {
            var day = Integer.parseInt(near.group(1));
            return date -> date.equals(weekdayNear(YearMonth.from(date), day));
        }
        var numbers = numbers(item, 1, 31, List.of());
        return date -> numbers.get(date.getDayOfMonth());
    }

    /** The weekday that is nearest to a day, within its month; null where the month has no such day. */
    private static LocalDate weekdayNear(YearMonth month, int day) {
        if (!month.isValidDay(day)) return null;
        var date = month.atDay(day);
        return switch (date.getDayOfWeek()) {
            case SATURDAY -> day > 1 ? date.minusDays(1) : date.plusDays(2);
            case SUNDAY -> day < month.lengthOfMonth() ? date.plusDays(1) : date.minusDays(2);
            default -> date;
        };
    }

    private static Predicate<LocalDate> daysOfWeek(String field) {
        return any(Stream.of(field.split(",", -1)).map(Schedule::dayOfWeek));
    }

    private static Predicate<LocalDate> dayOfWeek(String item) {
        if (item.equals("L")) return date -> number(date) == 7;
        var last = LAST.matcher(item);
        if (last.matches()) {
            var day = number(last.group(1), 1, 7, DAYS);
            return date -> number(date) == day && date.getDayOfMonth() > date.lengthOfMonth() - 7;
        }
        var nth = NTH.matcher(item);
        if (nth.matches()) {
            var day = number(nth.group(1), 1, 7, DAYS);
            var week = Integer.parseInt(nth.group(2));
            return date -> number(date) == day && (date.getDayOfMonth() - 1) / 7 + 1 == week;
        }
        var numbers = numbers(item, 1, 7, DAYS);
        return date -> numbers.get(number(date));
    }

    /** From 1, a Sunday, to 7. */
    private static int number(LocalDate date) {
        return date.getDayOfWeek().getValue() % 7 + 1;
    }

    private static Predicate<LocalDate> any(Stream<Predicate<LocalDate>> tests) {
        return tests.reduce(Predicate::or).orElseThrow();
    }
}
