"""The HTTP client against small servers: kept connections, closed ones, and servers that do not answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler

import pytest

from slipway.errors import SlipwayError
from slipway.serving.http_client import HttpClient, Response, fetch, is_ready
from support.http_server import serve


class Counting(BaseHTTPRequestHandler):
    """Echoes method, path and body; closes a connection without a word after `closing` answers on it."""

    protocol_version = "HTTP/1.1"
    closing = 0
    ready = 200
    connections: list[int]

    def setup(self) -> None:
        super().setup()
        self.connections.append(0)
        self.number = 0

    def do_GET(self) -> None:
        self.number += 1
        self.connections[-1] += 1
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        text = f"{self.command} {self.path} ".encode() + body
        self.send_response(self.ready if self.path == "/readyz" else 200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = self.number == self.closing

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def handler() -> type[Counting]:
    return type("Own", (Counting,), {"connections": []})


@pytest.fixture
def url(handler: type[Counting]) -> Iterator[str]:
    with serve(handler) as url:
        yield url


def test_a_body_makes_it_a_post(url: str) -> None:
    assert fetch(url, "/metrics") == Response(200, b"GET /metrics ")
    assert fetch(url, "/predict", b"{}") == Response(200, b"POST /predict {}")


def test_a_client_keeps_its_connection_and_fetch_does_not(url: str, handler: type[Counting]) -> None:
    with closing(HttpClient(url, timeout_seconds=30)) as client:
        assert [client.request("GET", "/").ok for _ in range(3)] == [True] * 3
    assert handler.connections == [3]
    assert fetch(url, "/").ok
    assert handler.connections == [3, 1]


def test_a_kept_connection_that_was_closed_is_opened_again(url: str, handler: type[Counting]) -> None:
    handler.closing = 2
    with closing(HttpClient(url, timeout_seconds=30)) as client:
        assert [client.request("POST", "/", b"x").ok for _ in range(5)] == [True] * 5
    assert handler.connections == [2, 2, 1]


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_ready_is_the_status_of_readyz(url: str, handler: type[Counting], status: int, ready: bool) -> None:
    handler.ready = status
    assert is_ready(url, timeout_seconds=30) is ready


def test_a_silent_host_is_an_error_and_not_ready() -> None:
    with pytest.raises(SlipwayError, match=r"^no response from http://127\.0\.0\.1:9: .*refused"):
        fetch("http://127.0.0.1:9", "/readyz")
    assert is_ready("http://127.0.0.1:9", timeout_seconds=1) is False


@pytest.mark.parametrize("answer", [b"", b"no HTTP\r\n\r\n"])
def test_a_new_connection_without_an_http_answer_is_not_tried_again(answer: bytes) -> None:
    requests: list[bytes] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            requests.append(connection.recv(1000))
            connection.sendall(answer)

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(SlipwayError, match="no response from"):
            fetch(f"http://127.0.0.1:{server.getsockname()[1]}", "/predict", b"{}")
        thread.join()
    assert len(requests) == 1


def test_an_answer_that_takes_too_long_is_an_error() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:  # takes connections, and never answers
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(SlipwayError, match=r"no response from .*: timed out"):
            fetch(url, "/readyz", timeout_seconds=0.05)
        assert is_ready(url, timeout_seconds=0.05) is False


def test_a_wrong_port_is_an_error_and_no_crash() -> None:
    with pytest.raises(SlipwayError, match=r"no response from .*: nonnumeric port"):
        fetch("http://127.0.0.1:abc", "/")
