package localaws;

import java.io.IOException;

public final class S3 {
    S3(LocalAws aws) {
    }

    void handle(LocalAws.Request request, Credentials.Scope scope) throws IOException {
        request.answer(501, "text/plain", "");
    }
}
