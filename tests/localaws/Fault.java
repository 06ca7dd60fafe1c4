package localaws;

import java.io.FilterInputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.time.Duration;

/**
 * A misbehaviour on demand: {@code aws.inject(Fault.on("kms:CreateKey").times(2).throttle())}. Without {@link #times}
 * it happens once; the call is a {@link Call#name} or a prefix of one with a {@code *} at its end.
 */
public final class Fault {
    private final String call;
    private int skip;
    private int left = 1;
    AwsError error;
    boolean throttle;
    boolean loseAnswer;
    String otherAnswer;
    Duration delay = Duration.ZERO;
    Runnable hold = () -> { };
    private long cutAnswer = -1;
    private long flipAnswer = -1;
    private long stallAnswer = -1;
    private Duration stall;
    private long cutRequest = -1;
    private long flipRequest = -1;

    private Fault(String call) {
        this.call = call;
    }

    public static Fault on(String call) {
        return new Fault(call);
    }

    /** Lets the first n such calls pass. */
    public Fault after(int n) {
        skip = n;
        return this;
    }

    public Fault times(int n) {
        left = n;
        return this;
    }

    public Fault always() {
        return times(Integer.MAX_VALUE);
    }

    /** Answers as the service does when it is asked too often; nothing is done. */
    public Fault throttle() {
        throttle = true;
        return this;
    }

    /** Answers with this error; nothing is done. */
    public Fault error(int status, String code, String message) {
        error = new AwsError(status, code, message);
        return this;
    }

    public Fault serverError() {
        return error(500, "InternalFailure", "The request processing has failed because of an unknown error.");
    }

    /** Does what was asked and answers with this text instead, of whatever shape; not from S3 and Git. */
    public Fault answer(String text) {
        otherAnswer = text;
        return this;
    }

    /** Does what was asked and then cuts the connection instead of answering. */
    public Fault loseAnswer() {
        loseAnswer = true;
        return this;
    }

    public Fault delay(Duration time) {
        delay = time;
        return this;
    }

    /** Waits for what this waits for before it does what was asked. */
    public Fault hold(Runnable wait) {
        hold = wait;
        return this;
    }

    /** Cuts the connection after this many bytes of the answer's body. */
    public Fault cut(long after) {
        cutAnswer = after;
        return this;
    }

    /** Flips the lowest bit of this byte of the answer's body. */
    public Fault flip(long at) {
        flipAnswer = at;
        return this;
    }

    /** Stops for this long before this byte of the answer's body. */
    public Fault stall(long at, Duration time) {
        stallAnswer = at;
        stall = time;
        return this;
    }

    /** Cuts the connection after this many bytes of the request's body. */
    public Fault cutRequest(long after) {
        cutRequest = after;
        return this;
    }

    /** Flips the lowest bit of this byte of the request's body, as a bad network card would. */
    public Fault flipRequest(long at) {
        flipRequest = at;
        return this;
    }

    /** Whether this call is hit; counts it. */
    synchronized boolean hits(String name) {
        var matches = call.endsWith("*") ? name.startsWith(call.substring(0, call.length() - 1)) : name.equals(call);
        if (!matches || left == 0) return false;
        if (skip > 0) {
            skip--;
            return false;
        }
        left--;
        return true;
    }

    /** What a cut connection looks like from within: nothing more is sent. */
    static final class Cut extends IOException {
        Cut() {
            super("the connection is cut on purpose");
        }
    }

    OutputStream spoil(OutputStream answer) {
        if (cutAnswer < 0 && flipAnswer < 0 && stallAnswer < 0) return answer;
        return new FilterOutputStream(answer) {
            private long at;
            private boolean cut;

            @Override
            public void write(int b) throws IOException {
                if (at == cutAnswer) {
                    out.flush();
                    cut = true;
                    throw new Cut();
                }
                if (at == stallAnswer) {
                    out.flush();
                    sleep(stall);
                }
                out.write(at == flipAnswer ? b ^ 1 : b);
                at++;
            }

            @Override
            public void write(byte[] bytes, int from, int length) throws IOException {
                for (var next : new long[] {cutAnswer, flipAnswer, stallAnswer}) {
                    if (next < at || next >= at + length) continue;
                    for (var i = 0; i < length; i++) write(bytes[from + i]);
                    return;
                }
                out.write(bytes, from, length);
                at += length;
            }

            @Override
            public void close() throws IOException {
                if (!cut) out.close();
            }
        };
    }

    InputStream spoilRequest(InputStream request) {
        if (cutRequest < 0 && flipRequest < 0) return request;
        return new FilterInputStream(request) {
            private long at;

            @Override
            public int read() throws IOException {
                if (at == cutRequest) throw new Cut();
                var b = in.read();
                return b >= 0 && at++ == flipRequest ? b ^ 1 : b;
            }

            @Override
            public int read(byte[] bytes, int from, int length) throws IOException {
                if (cutRequest >= at && cutRequest < at + length) length = (int) (cutRequest - at);
                if (length == 0 && at == cutRequest) throw new Cut();
                var n = in.read(bytes, from, length);
                if (n > 0 && flipRequest >= at && flipRequest < at + n) bytes[from + (int) (flipRequest - at)] ^= 1;
                if (n > 0) at += n;
                return n;
            }
        };
    }

    static void sleep(Duration time) {
        try {
            Thread.sleep(time.toMillis());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
