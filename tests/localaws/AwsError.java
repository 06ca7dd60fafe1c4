package localaws;

/** A refusal as AWS words it: error code, HTTP status, message. */
public final class AwsError extends RuntimeException {
    public final String code;
    public final int status;

    public AwsError(int status, String code, String message) {
        super(message, null, false, false);
        this.status = status;
        this.code = code;
    }

    /** The caller's mistake, HTTP 400: what most services answer with. */
    public AwsError(String code, String message) {
        this(400, code, message);
    }
}
