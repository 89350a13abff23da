"""The ASGI front with a small engine: statuses, bodies in pieces, bodies that never end."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from typing import Any

import pytest

from slipway.serving import asgi
from slipway.serving.concurrency import BodyDeadline
from slipway.serving.validation import Row, refusal
from support.hostile_requests import packed


class Echo:
    """An engine that answers with what it was sent, and remembers what was counted."""

    has_ask = False
    max_body_bytes = 200_000
    openapi = b"{}"
    log = None
    tracer = None

    def __init__(self) -> None:
        self.counted: list[tuple[str, int]] = []

    def read(self, body: bytes) -> tuple[list[Row], bool]:
        if body == b"wrong":
            raise refusal(422, "wrong")
        return [(body.decode(),)], not body.startswith(b"[")

    def predict_rows(self, rows: list[Row]) -> list[float]:
        if ("bug",) in rows:
            raise ZeroDivisionError
        return [float(len(row[0])) for row in rows]

    predict_each = predict_rows

    def predict(self, body: bytes) -> bytes:
        return body

    ask = predict

    def page(self, url: str) -> bytes:
        return f"page at {url}".encode()

    def metrics(self) -> bytes:
        return b"metrics"

    def count(self, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.counted.append((path, status))


async def behind(_scope: Any, _receive: Any, send: Any) -> None:
    """BentoML's place: it answers everything that the front leaves."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"behind"})


def call(
    engine: Echo, *body: bytes, path: str = "/predict", method: str = "POST", headers: dict[str, str] | None = None,
    end: bool | None = True,
) -> tuple[int, bytes, dict[str, str]] | None:  # fmt: skip
    """One request whose body comes in pieces; `end=None` never ends it, False breaks the connection."""

    async def talk() -> list[Any]:
        last = {True: [], False: [{"type": "http.disconnect"}], None: []}[end]
        pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in body or (b"",)]
        if end:
            pieces[-1]["more_body"] = False
        waiting, sent = iter([*pieces, *last]), []

        async def receive() -> Any:
            found = next(waiting, None)
            return found if found else await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        given = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {"type": "http", "method": method, "path": path, "headers": given}
        app = asgi.Front(behind, engine=lambda: engine)
        app._deadline = BodyDeadline(0.1)
        await app(scope, receive, send)
        return sent

    sent = asyncio.run(talk())
    if not sent:
        return None
    headers_sent = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], sent[1]["body"], headers_sent


@pytest.fixture
def engine() -> Echo:
    return Echo()


def test_a_body_in_pieces_is_put_together(engine: Echo) -> None:
    assert call(engine, b"ab", b"cd", b"e")[:2] == (200, b'{"prediction":5.0}')
    assert call(engine, b"[ab", b"cd]")[:2] == (200, b'{"predictions":[6.0]}')
    assert engine.counted == [("/predict", 200)] * 2


def test_a_large_body_is_answered_in_a_thread(engine: Echo) -> None:
    assert call(engine, b"x" * 150_000)[1] == b"x" * 150_000


@pytest.mark.parametrize(
    ("sent", "status", "says"),
    [
        ({"body": (b"",)}, 400, "the body is empty; expected a JSON object, or a list of them"),
        ({"body": (b" \n",)}, 400, "the body is empty; expected a JSON object, or a list of them"),
        ({"body": (b"wrong",)}, 422, "wrong"),
        ({"body": (b"bug",)}, 500, "internal error; the cause is in the service's log"),
        ({"body": (b"x" * 150_000,) * 3}, 413, "the body has at least 300,000 bytes; allowed: at most 200,000 bytes"),
        (
            {"headers": {"content-length": "20000000"}},
            413,
            "the body has at least 20,000,000 bytes; allowed: at most 200,000 bytes",
        ),
        (
            {"headers": {"content-type": "text/plain"}},
            415,
            "content-type is text/plain; expected application/json",
        ),
        ({"method": "GET"}, 405, "/predict accepts POST, not GET"),
        ({"path": "/metrics"}, 405, "/metrics accepts GET, not POST"),
        ({"path": "/"}, 405, "/ accepts GET, not POST"),
        ({"body": (b"begun",), "end": None}, 408, "the request's body did not arrive completely within 0.1 s"),
    ],
)
def test_each_refusal_has_its_status_and_one_shape(engine: Echo, sent: dict[str, Any], status: int, says: str) -> None:
    found, body, headers = call(engine, *sent.pop("body", (b"{}",)), **sent)
    error = json.loads(body)["errors"][0]
    assert (found, error["message"]) == (status, says)
    assert set(error) == {"row", "field", "value", "limit", "message"}
    assert headers["content-type"] == "application/json"
    assert ("allow" in headers) == (status == 405)
    assert headers.get("connection") == ("close" if status == 408 else None)


@pytest.mark.parametrize("name", ["gzip", "GZIP", " x-gzip"])
def test_a_gzip_body_is_answered_as_a_plain_one(engine: Echo, name: str) -> None:
    body = packed(b"abcde")
    for pieces in ([body], [body[:9], body[9:]], [packed(b"ab") + packed(b"cde")]):
        assert call(engine, *pieces, headers={"content-encoding": name})[:2] == (200, b'{"prediction":5.0}')


def test_a_byte_order_mark_is_no_part_of_the_body(engine: Echo) -> None:
    """Echo predicts the number of bytes that reach it."""
    assert call(engine, b"\xef\xbb", b"\xbfabcde")[:2] == (200, b'{"prediction":5.0}')


@pytest.mark.parametrize("name", ["identity", ""])
def test_a_plain_body_may_say_so(engine: Echo, name: str) -> None:
    assert call(engine, b"abcde", headers={"content-encoding": name})[:2] == (200, b'{"prediction":5.0}')


@pytest.mark.parametrize(
    ("body", "name", "status", "says"),
    [
        (b"abc", "br", 415, "content-encoding is br; expected gzip once, or none"),
        (b"abc", "gzip, gzip", 415, "content-encoding is gzip, gzip; expected gzip once, or none"),
        (zlib.compress(b"abc"), "deflate", 415, "content-encoding is deflate; expected gzip once, or none"),
        (b"{}", "gzip", 400, "content-encoding is gzip, but the body is not gzip: incorrect header check"),
        (packed(b"abc") + b"more", "gzip", 400,
         "content-encoding is gzip, but the body is not gzip: incorrect header check"),
        (packed(b"abc")[:-3], "gzip", 400, "the gzip body ends too early; send it whole"),
        (b"", "gzip", 400, "the body is empty; expected a JSON object, or a list of them"),
        (packed(b" "), "gzip", 400, "the body is empty; expected a JSON object, or a list of them"),
        (packed(b"") * 9_000, "gzip", 400, "the gzip body has too many members; allowed: at most 16"),
        (packed(b" " * 100_000_000), "gzip", 413,
         "the body has at least 200,001 bytes; allowed: at most 200,000 bytes"),
        (packed(b" " * 150_000) * 2, "gzip", 413,
         "the body has at least 200,001 bytes; allowed: at most 200,000 bytes"),
    ],
)  # fmt: skip
def test_an_encoding_that_cannot_be_read_is_named(engine: Echo, body: bytes, name: str, status: int, says: str) -> None:
    began = time.monotonic()
    found, answer, headers = call(engine, body, headers={"content-encoding": name})
    assert (found, json.loads(answer)["errors"][0]["message"]) == (status, says)
    assert ("accept-encoding" in headers) == (status == 415)
    assert time.monotonic() - began < 1


def test_a_second_encoding_is_refused(engine: Echo) -> None:
    async def post() -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"content-encoding", b"gzip")] * 2}
        await asgi.Front(behind, engine=lambda: engine)(scope, None, send)  # type: ignore[arg-type]
        return sent[0]["status"]

    assert asyncio.run(post()) == 415


def test_a_caller_who_left_is_not_answered(engine: Echo) -> None:
    assert call(engine, b"begun", end=False) is None
    assert engine.counted == []


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_content_types_are_taken(engine: Echo, kind: str) -> None:
    assert call(engine, b"{}", headers={"content-type": kind})[0] == 200


def test_other_paths_are_left_to_bentoml(engine: Echo) -> None:
    assert call(engine, path="/healthz", method="GET")[1] == b"behind"
    assert call(engine, path="/ask")[1] == b"behind"
    engine.has_ask = True
    assert call(engine, b"{}", path="/ask")[1] == b"{}"


def test_the_page_may_load_and_run_nothing(engine: Echo) -> None:
    status, _, headers = call(engine, path="/", method="GET")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"host": "127.0.0.1:3005"}, "http://127.0.0.1:3005"),
        ({"host": "[::1]:3005"}, "http://[::1]:3005"),
        ({"host": "a.example", "x-forwarded-proto": "https"}, "https://a.example"),
        ({"host": "a.example", "x-forwarded-prefix": "/models/flights/"}, "http://a.example/models/flights"),
        ({"host": "a.example", "x-forwarded-prefix": "/x; rm -r ~"}, "http://a.example"),
        ({"host": "a.example", "x-forwarded-prefix": "//b.example/../"}, "http://a.example"),
        ({"host": "$(reboot)", "x-forwarded-prefix": "/x"}, "http://localhost:3000"),
        ({}, "http://localhost:3000"),
    ],
)
def test_the_page_shows_the_address_of_its_reader(engine: Echo, headers: dict[str, str], url: str) -> None:
    assert call(engine, path="/", method="GET", headers=headers)[1].decode() == f"page at {url}"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_are_answered_without_bentoml(engine: Echo, path: str) -> None:
    assert call(engine, path=path, method="GET")[:2] == (200, b"\n")


def test_metrics_and_document_are_read(engine: Echo) -> None:
    assert call(engine, path="/metrics", method="GET")[1] == b"metrics"
    assert call(engine, path="/docs.json", method="HEAD")[0] == 200
