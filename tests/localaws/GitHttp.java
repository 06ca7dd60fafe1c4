package localaws;

import java.io.IOException;

final class GitHttp {
    GitHttp(LocalAws aws) {
    }

    void handle(LocalAws.Request request) throws IOException {
        request.answer(501, "text/plain", "");
    }
}
