// Java's HttpClient as it comes: it offers HTTP/2 (h2c) in every first request of a connection.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;

class Client {
    public static void main(String[] args) throws Exception {
        for (boolean waits : new boolean[] {false, true}) {
            HttpClient client = HttpClient.newHttpClient();
            for (String line : Files.readAllLines(Path.of(args[1]))) {
                HttpRequest request = HttpRequest.newBuilder(URI.create(args[0])).header("Content-Type", "application/json")
                    .expectContinue(waits).POST(HttpRequest.BodyPublishers.ofString(line)).build();
                HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
                System.out.println(response.statusCode() + " " + response.body());
            }
        }
    }
}
