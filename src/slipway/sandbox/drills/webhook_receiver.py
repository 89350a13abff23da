"""A small receiver of what a cluster would tell the forge: commit statuses and dispatches of workflows, kept to be asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from slipway.errors import Inconclusive

MOST = 1 << 20
"""Bytes of a message that are read."""


class Message(NamedTuple):
    """A POST: where to, its JSON (None when it is none), and when it came (monotonic seconds)."""

    path: str
    body: Any
    at: float


class Receiver:
    """What came, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.came: SimpleQueue[Message] = SimpleQueue()

    def wait(self, ending: str, *, seconds: float) -> Message:
        """The next message to a path that ends so; Inconclusive when none comes in time. Others are dropped."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                message = self.came.get(timeout=left)
            except Empty:
                break
            if message.path.endswith(ending):
                return message
        raise Inconclusive(
            f"drill: no message to {ending} came within {seconds:g} s", hint="kubectl -n argo-rollouts get cm -o yaml"
        )


@contextmanager
def listen(host: str = "127.0.0.1") -> Iterator[Receiver]:
    """Receive on a free port of `host` while the block runs; every POST is answered 204, as a dispatch is."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(min(int(self.headers.get("content-length") or 0), MOST))
            try:
                body = json.loads(raw)
            except ValueError:
                body = None
            receiver.came.put(Message(self.path, body, time.monotonic()))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((host, 0), Handler) as server:
        receiver = Receiver(f"http://{host}:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
