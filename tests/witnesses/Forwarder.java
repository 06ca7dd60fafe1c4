import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.function.Function;
import java.util.regex.Pattern;

/**
 * Hands each request of an SDK's client on to the one of several AWSs that is to answer it, as it is: with the Host
 * header that was signed.
 */
final class Forwarder implements AutoCloseable {
    private static final Pattern LENGTH = Pattern.compile("(?im)^Content-Length: *(\\d+)");

    private final ServerSocket listener;
    private final Function<String, URI> choice;

    /** @param choice of the endpoint that answers a request with these headers */
    Forwarder(Function<String, URI> choice) throws IOException {
        listener = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
        this.choice = choice;
        var thread = new Thread(this::serve, "forwarder");
        thread.setDaemon(true);
        thread.start();
    }

    URI endpoint() {
        return URI.create("http://127.0.0.1:" + listener.getLocalPort());
    }

    /** One request after another, each on a connection of its own. */
    private void serve() {
        while (!listener.isClosed()) {
            try (var client = listener.accept()) {
                forward(client);
            } catch (IOException e) {
                if (!listener.isClosed()) throw new UncheckedIOException(e);
            }
        }
    }

    private void forward(Socket client) throws IOException {
        var head = head(client.getInputStream());
        if (head.isEmpty()) return; // a connection that was never used
        var length = LENGTH.matcher(head);
        var body = client.getInputStream().readNBytes(length.find() ? Integer.parseInt(length.group(1)) : 0);
        var target = choice.apply(head);
        try (var server = new Socket(target.getHost(), target.getPort())) {
            var last = head.replaceFirst("(?im)^Connection:.*\r\n", "")
                    .replaceFirst("\r\n", "\r\nConnection: close\r\n");
            server.getOutputStream().write(last.getBytes(StandardCharsets.ISO_8859_1));
            server.getOutputStream().write(body);
            server.getInputStream().transferTo(client.getOutputStream());
        }
    }

    /** To the empty line; empty if the client has gone. */
    private static String head(InputStream in) throws IOException {
        var head = new StringBuilder();
        while (head.indexOf("\r\n\r\n") < 0) {
            var next = in.read();
            if (next < 0) return "";
            head.append((char) next);
        }
        return head.toString();
    }

    @Override
    public void close() throws IOException {
        listener.close();
    }
}
