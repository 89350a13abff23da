"""A small service with a model of the test's own, real metrics and faults: the stable version or the canary."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from slipway.loadtest import canary, canary_replay, slo
from slipway.loadtest.generator_health import Limits

SHA = "a" * 64
LIMITS = canary.Limits(
    rate=400, mixed=120, unusual=20, warm=2, min_requests=150, slower_at_most=1.5, slower_ms_at_most=10,
    shift_at_most=0.25, differ_by_at_most=0.08, far=0.2, far_share_at_most=0.1, order_at_least=0.5,
)  # fmt: skip
ENDPOINT = slo.Endpoint(share=1, min_requests=100, errors_at_most=0.01, p95_ms_at_most=50, p99_ms_at_most=150)
Model = Callable[[Mapping[str, Any]], float | None]


def right(row: Mapping[str, Any]) -> float:
    """The right model: it rises with x and falls with y."""
    return 0.1 + 0.5 * float(row["x"]) + 0.3 * (1 - float(row["y"] or 0.0)) ** 3


def context(model: Model = right, *, reference: Model | None = None, **limits: Any) -> canary.Context:
    """The context of an image with `model`: golden answers, and the reference on its test window."""
    rng = random.Random(1)
    numbers = [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}]
    properties = {"x": numbers[0], "y": {"anyOf": numbers}, "kind": {"type": "string", "examples": ["a"]}}
    tested = [{"x": rng.random(), "y": rng.random(), "kind": "a"} for _ in range(4000)]
    counts = [0] * 20
    for row in tested:
        counts[min(19, int(20 * float((reference or model)(row) or 0.0)))] += 1
    contract = {
        "problem": "twins", "categories": ["kind"], "numbers": ["x", "y"], "known": {"kind": ["a", "b"]},
        "inputs": {"properties": properties}, "data": {"until": "2013-01-01"},
        "reference": {"edges": [edge / 20 for edge in range(21)], "counts": counts},
    }  # fmt: skip
    golden = [{"row": row, "prediction": model(row)} for row in tested[:64]]
    return canary.Context(
        limits=LIMITS.model_copy(update=limits), endpoint=ENDPOINT, golden_difference_at_most=1e-6,
        generator=Limits(lag_ms_at_most=25, cpu_at_most=0.8), contract=contract, golden=golden, model_sha256=SHA,
    )  # fmt: skip


@dataclass
class Twin:
    """`model` behind HTTP; every `failing`-th request is a 500, every `slow`-th takes `slow_ms`."""

    of: canary.Context
    model: Model = right
    sha: str = SHA
    ms: float = 2.0
    slow: int = 0
    slow_ms: float = 0.0
    failing: int = 0
    silent: bool = False
    counts: bool = True
    closing: int = 0
    """After so many answers each, the connection is closed without notice."""
    body: bytes | None = None
    """Sent instead of a prediction."""
    asked: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._own = own = CollectorRegistry()
        edges = self.of.contract["reference"]["edges"]
        self._predictions = Histogram("slipway_prediction", "As the service's", buckets=edges, registry=own)
        info = Gauge("slipway_model_info", "As the service's", ["problem", "until", "model_sha256"], registry=own)
        info.labels("twins", "2013-01-01", self.sha).set(1)

    def metrics(self) -> str:
        """GET /metrics, named as those of `slipway.serving.service`."""
        return generate_latest(self._own).decode()

    def answer(self, row: Mapping[str, Any]) -> tuple[int, float | None, float]:
        """Status, prediction, and how many milliseconds it takes."""
        number = len(self.asked)
        self.asked.append(row)
        status = 500 if self.failing and not number % self.failing else 200
        prediction = self.model(row)
        if self.counts and prediction is not None:
            self._predictions.observe(prediction)
        return status, prediction, self.slow_ms if self.slow and not number % self.slow else self.ms

    def side(self) -> canary_replay.Side:
        """The record of a replay of all rows, without HTTP."""
        side, realistic = canary_replay.Side(metrics=[self.metrics()]), self.of.realistic
        for number, row in enumerate(self.of.rows()):
            if number == realistic:
                side.metrics.append(self.metrics())
            status, prediction, ms = (None, None, 0.0) if self.silent else self.answer(row)
            side.answers.append(canary_replay.Answer(ms, status, prediction if status == 200 else None))
            side.late_ms.append(1.0)
        if self.silent:
            side.metrics = ["", ""]
        return side

    @property
    def url(self) -> str:
        """Its address, inside of its `with`."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Twin:
        handler = type("Own", (_Handler,), {"twin": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    twin: Twin

    def do_POST(self) -> None:
        """One prediction."""
        status, prediction, ms = self.twin.answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        time.sleep(ms / 1000)
        self._send(
            status, json.dumps({"prediction": prediction}).encode() if self.twin.body is None else self.twin.body
        )
        self.close_connection = bool(self.twin.closing) and not len(self.twin.asked) % self.twin.closing

    def do_GET(self) -> None:
        """The metrics."""
        self._send(200, self.twin.metrics().encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
