"""Receive the requests that a cluster sends to GitHub: commit statuses and workflow dispatches, kept for the drills."""

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

MAX_BYTES = 1 << 20
"""Bytes of a message that are read."""


class Message(NamedTuple):
    """A POST: its path, its JSON (None when it is none), and the time of its arrival (monotonic seconds)."""

    path: str
    body: Any
    at: float


class Receiver:
    """The received messages, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.messages: SimpleQueue[Message] = SimpleQueue()

    def wait(self, ending: str, *, seconds: float) -> Message:
        """The next message to a path with this ending; others are dropped. Inconclusive when none comes in time."""
        deadline = time.monotonic() + seconds
        while (seconds_left := deadline - time.monotonic()) > 0:
            try:
                message = self.messages.get(timeout=seconds_left)
            except Empty:
                break
            if message.path.endswith(ending):
                return message
        raise Inconclusive(
            f"drill: the cluster sent no message to {ending} within {seconds:g} s",
            hint="look at the hook: kubectl -n argo-rollouts get cm argo-rollouts-notification-configmap -o yaml",
        )


@contextmanager
def listen(host: str = "127.0.0.1") -> Iterator[Receiver]:
    """Receive on a free port of `host` while the block runs; every POST is answered 204, as a dispatch is."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(min(int(self.headers.get("content-length") or 0), MAX_BYTES))
            try:
                body = json.loads(raw)
            except ValueError:
                body = None
            receiver.messages.put(Message(self.path, body, time.monotonic()))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer((host, 0), Handler) as server:
        receiver = Receiver(f"http://{host}:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
