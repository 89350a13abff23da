"""Golden requests and a small server that answers them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from support.http_server import serve

ROWS = [{"row": {"hour": hour}, "prediction": float(hour)} for hour in range(4)]


class Echo(BaseHTTPRequestHandler):
    """Predicts the hour; `together` is sent instead for a list, `alone` for one row."""

    status = 200
    together = alone = b""

    def do_POST(self) -> None:
        """One prediction or many."""
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))
        many = isinstance(rows, list)
        right = {"predictions": [row["hour"] for row in rows]} if many else {"prediction": rows["hour"]}
        body = (self.together if many else self.alone) or json.dumps(right).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def handler() -> type[Echo]:
    return type("Own", (Echo,), {})


@pytest.fixture
def host(handler: type[Echo]) -> Iterator[str]:
    with serve(handler) as url:
        yield url
