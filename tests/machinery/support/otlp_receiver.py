"""A receiver of traces: protobuf to /v1/traces, as the specification of OTLP over HTTP says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support import http_server


class Received:
    """The spans that a collector has, and the condition to wait for them."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.arrived = threading.Event()

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def serve() -> Iterator[tuple[str, Received]]:
    """Receive traces until the block ends: the endpoint, and what has arrived."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            received.requests.append(ExportTraceServiceRequest.FromString(body))
            received.arrived.set()
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    with http_server.serve(Handler) as url:
        yield url, received


def attributes(span: Any) -> dict[str, Any]:
    """The attributes of a span that are texts or whole numbers."""
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}
