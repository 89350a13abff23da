"""ASGI middleware that answers the model's routes before BentoML sees them.

BentoML documents such middlewares (`Service.add_asgi_middleware`). Its own request handling would halve the requests
per second and add a second set of error messages.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import partial
from typing import Any, Protocol

import orjson
from prometheus_client import CONTENT_TYPE_LATEST

from slipway.serving.api_docs import service_page
from slipway.serving.concurrency import BodyDeadline, Message, MicroBatcher, Receive, too_large
from slipway.serving.prediction_log.lines import Request, count_rows
from slipway.serving.prediction_log.writer import PredictionLog
from slipway.serving.telemetry.request_id import RequestIds
from slipway.serving.telemetry.tracing import Tracer, trace_id
from slipway.serving.validation import BODY, BadRequest, Row, refusal

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 4.0
"""Deadline for a request body; after it the answer is 408."""
LARGE_BODY_BYTES = 64 << 10
"""Larger bodies are answered in a thread, so that small requests do not wait for them."""
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
GZIP, PLAIN = (b"gzip", b"x-gzip"), (b"identity", b"")
"""Values of Content-Encoding: a body is decompressed, or read as it is; every other value is refused with 415."""
UTF8_BOM = b"\xef\xbb\xbf"
"""The byte order mark, which some clients send. RFC 8259, 8.1: a parser may ignore it."""
MEMBERS = 16
"""Allowed members of a gzip body: a million empty ones would take a thread for minutes."""
GET_PATHS = ("/", "/livez", "/readyz", "/metrics", "/docs.json")
"""The two probes need no check of their own: the server accepts connections only after the model has answered once."""
PAGE_HEADERS = {"content-security-policy": service_page.POLICY, "cache-control": "no-store"}
"""The page differs by the client's address, so no proxy may keep it."""

log = logging.getLogger("bentoml.slipway")


class Engine(Protocol):
    """The methods of `service.Engine` that the middleware calls."""

    has_ask: bool
    max_body_bytes: int
    openapi: bytes
    log: PredictionLog | None
    tracer: Tracer | None

    def read(self, body: bytes) -> tuple[list[Row], bool]:
        """Parse a body into rows; the flag is True for a single object."""

    def predict_rows(self, rows: list[Row]) -> list[float]:
        """Return one prediction per row; BadRequest 500 when one of them is no finite number."""

    def predict_each(self, rows: list[Row]) -> Sequence[float | Exception]:
        """Return one prediction per row, or the error that ends the request of the row."""

    def predict(self, body: bytes) -> bytes:
        """Handle POST /predict: request body to response body."""

    def ask(self, body: bytes) -> bytes:
        """Handle POST /ask."""

    def page(self, url: str) -> bytes:
        """Handle GET /; `url` is the address by which the client reaches the service."""

    def metrics(self) -> bytes:
        """Handle GET /metrics."""

    def count(self, path: str, status: int, seconds: float) -> None:
        """Record an answered request."""


class Front:
    """Answers the model's routes and passes every other request on to BentoML."""

    def __init__(self, app: Any, engine: Callable[[], Engine]) -> None:
        self._app = app
        self._engine = engine
        self._deadline = BodyDeadline(BODY_SECONDS)
        self._ids = RequestIds()
        self._batcher = MicroBatcher(lambda rows: self._engine().predict_each(rows))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path = scope.get("path", "")
        if scope["type"] == "lifespan":
            await self._app(scope, partial(self._flush_at_end, receive), send)
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif path == "/predict" or (path == "/ask" and self._engine().has_ask):
            await self._post(path, scope, receive, send)
        elif path in GET_PATHS:
            await self._get(path, scope, send)
        else:
            await self._app(scope, receive, send)

    async def _flush_at_end(self, receive: Receive) -> Message:
        """Return the server's next message; before the last one, when no request runs any more, the log is written."""
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            for each in (self._engine().log, self._engine().tracer):
                if each is not None:
                    await asyncio.to_thread(each.close)
        return message

    async def _post(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        started, at_ns, engine, status, body = time.perf_counter(), time.time_ns(), self._engine(), 200, b""
        headers = {"x-request-id": (request_id := self._ids.of(scope["headers"]))}
        span = engine.tracer.start(path, scope["headers"], at_ns) if engine.tracer else None
        try:
            compressed = _check_headers(scope, engine.max_body_bytes)
            body = await self._deadline.body(receive, engine.max_body_bytes)
            if compressed and body:
                body = await asyncio.to_thread(gunzip, body, engine.max_body_bytes)
            body = body.removeprefix(UTF8_BOM)
            if not body.strip():
                raise refusal(400, f"the body is empty; expected {BODY}", limit=BODY)
            answer = await self._predict(engine, body) if path == "/predict" else engine.ask(body)
        except BadRequest as error:
            status, answer, headers = error.status, orjson.dumps(error.document()), headers | error.headers
            if status >= 500:
                log.error("%s failed: %s", path, error.errors[0]["message"], extra=_ids(request_id, span))
        except ConnectionResetError:
            return
        except Exception:
            log.exception("%s failed", path, extra=_ids(request_id, span))
            status, answer = (
                500,
                orjson.dumps(refusal(500, "internal error; the cause is in the service's log").document()),
            )
        if engine.log is not None and (status == 200 or status >= 500) and engine.log.takes(request_id):
            ms = (time.perf_counter() - started) * 1000
            engine.log.add(Request(request_id, at_ns, ms, path, body, answer, status))
        await _respond(send, status, answer, JSON, headers)
        engine.count(path, status, time.perf_counter() - started)
        if engine.tracer and span:
            engine.tracer.end(span, request_id=request_id, status=status, rows=count_rows(answer, status))

    async def _predict(self, engine: Engine, body: bytes) -> bytes:
        if len(body) > LARGE_BODY_BYTES:
            return await asyncio.to_thread(engine.predict, body)
        rows, single = engine.read(body)
        if single:
            return orjson.dumps({"prediction": await self._batcher(rows[0])})
        return orjson.dumps({"predictions": engine.predict_rows(rows)})

    async def _get(self, path: str, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            error = refusal(405, f"{path} accepts GET, not {scope['method']}", limit="GET", allow="GET, HEAD")
            await _respond(send, 405, orjson.dumps(error.document()), JSON, error.headers)
        elif path == "/metrics":
            await _respond(send, 200, self._engine().metrics(), CONTENT_TYPE_LATEST.encode())
        elif path == "/docs.json":
            await _respond(send, 200, self._engine().openapi, JSON)
        elif path == "/":
            page = await asyncio.to_thread(self._engine().page, base_url(scope))
            await _respond(send, 200, page, HTML, PAGE_HEADERS)
        else:
            await _respond(send, 200, b"\n", TEXT)


def _ids(request_id: str, span: Any) -> dict[str, str]:
    """Return what a log line about a request has besides its message."""
    return {"request_id": request_id, **({"trace_id": trace_id(span)} if span else {})}


def base_url(scope: Scope) -> str:
    """Return the address by which the client reaches the service: also through a proxy that adds a path prefix.

    It is shown in commands to copy, so anything but a plain address in these headers is ignored.
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    scheme = headers.get(b"x-forwarded-proto", scope.get("scheme"))
    host, prefix = headers.get(b"host", ""), headers.get(b"x-forwarded-prefix", "").rstrip("/")
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,255}(:[0-9]{1,5})?|\[[0-9a-f:]{2,39}\](:[0-9]{1,5})?", host):
        return service_page.URL
    prefix = prefix if re.fullmatch(r"(/[A-Za-z0-9._~-]+){0,9}", prefix) else ""
    return f"{'https' if scheme == 'https' else 'http'}://{host}{prefix}"


def _check_headers(scope: Scope, max_bytes: int) -> bool:
    """Return whether the body is compressed; BadRequest for a wrong method, type, encoding or length, before it is read."""
    compressed = False
    if scope["method"] != "POST":
        raise refusal(405, f"{scope['path']} accepts POST, not {scope['method']}", limit="POST", allow="POST")
    for name, value in scope["headers"]:
        if name == b"content-type" and value.split(b";")[0].strip().lower() != JSON:
            text = value.decode("latin-1")[:100]
            raise refusal(
                415, f"content-type is {text}; expected application/json", limit="application/json", value=text
            )
        if name == b"content-length" and int(value) > max_bytes:
            raise too_large(int(value), max_bytes)
        if name == b"content-encoding" and value.strip().lower() not in PLAIN:
            if compressed or value.strip().lower() not in GZIP:
                text = value.decode("latin-1")[:100]
                message = f"content-encoding is {'gzip and ' * compressed}{text}; expected gzip once, or none"
                raise refusal(415, message, limit="gzip, or none", value=text, **{"accept-encoding": "gzip"})
            compressed = True
    return compressed


def gunzip(body: bytes, max_bytes: int) -> bytes:
    """Decompress a body of one or more gzip members; BadRequest 400 if it is none, 413 beyond `max_bytes`."""
    text, rest = b"", body
    for _ in range(MEMBERS):
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            text += member.decompress(rest, max_bytes + 1 - len(text))
        except zlib.error as error:
            reason = str(error).rpartition(": ")[2]
            raise refusal(400, f"content-encoding is gzip, but the body is not gzip: {reason}", limit="gzip") from None
        if len(text) > max_bytes:
            raise too_large(len(text), max_bytes)
        if not member.eof:
            raise refusal(400, "the gzip body ends too early; send it whole", limit="gzip")
        rest = member.unused_data
        if not rest:
            return text
    raise refusal(400, f"the gzip body has too many members; allowed: at most {MEMBERS}", limit=f"{MEMBERS} members")


async def _respond(
    send: Send, status: int, body: bytes, content_type: bytes, extra: dict[str, str] | None = None
) -> None:
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
    ]
    if extra:
        headers += [(name.encode(), value.encode()) for name, value in extra.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
