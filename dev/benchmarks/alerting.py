"""Seconds from a fault to the page at a webhook, less the rule's `for`: `make bench NAME=alerting`, ten minutes.

The real Prometheus and Alertmanager ask the service's real metrics, with the committed rules and seconds in place of their
minutes. Each run starts both programs again. `.ci/engines prometheus alertmanager` installs them.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from serving_figures import machine

from slipway.core import files
from slipway.observability import alertmanager, generate, observe
from slipway.sandbox.drills import webhook_receiver
from slipway.serving import local_server
from slipway.serving.prometheus import ServiceMetrics

RUNS = {"500ms": 10, "1s": 10, "5s": 3}
"""Runs by how often Prometheus asks and judges."""
FOR = {"500ms": 2, "1s": 2, "5s": 5}
"""Seconds that the expression must hold; no less than an interval, as the rule's minutes are."""
WINDOW = {"500ms": "5s", "1s": "5s", "5s": "15s"}
"""The short windows, which need two scrapes."""
HEALTHY_SECONDS = {"500ms": 5, "1s": 6, "5s": 20}
LIMIT = 5.0
RECORD = Path(__file__).resolve().parents[1] / "figures/alerting.json"
CONTRACT = {
    "problem": "twins", "data": {"until": "2013-01-01"}, "categories": ["kind"], "reference": {"edges": [0.0, 0.5, 1.0]},
}  # fmt: skip


class Requests(threading.Thread):
    """Fifty requests a second, all answered with `status`."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        super().__init__(daemon=True)
        self.metrics, self.status, self.ended = metrics, 200, threading.Event()

    def run(self) -> None:
        """Count requests until `ended`."""
        while not self.ended.wait(0.02):
            self.metrics.count("/predict", self.status, 0.001)


@contextmanager
def metrics_server(metrics: ServiceMetrics) -> Iterator[int]:
    """Serve the metrics on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = metrics.text()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer((local_server.HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def rules(interval: str) -> str:
    """The committed rules with seconds in place of the short windows and of the wait."""
    text = generate.RULES.read_text(encoding="utf-8")
    for old, new in (
        ("[5m]", f"[{WINDOW[interval]}]"),
        ("[30m]", f"[{WINDOW[interval]}]"),
        ("for: 2m", f"for: {FOR[interval]}s"),
    ):
        text = text.replace(old, new)
    return text


def seconds_to_page(interval: str, folder: Path) -> float:
    """Start both programs, let every request fail after a while, and wait for the page; seconds less FOR."""
    metrics = ServiceMetrics(CONTRACT, "a" * 64)
    with metrics_server(metrics) as port, webhook_receiver.listen() as receiver:
        setting = observe.Setting(port, local_server.find_free_port(), local_server.find_free_port(), interval)
        routes = alertmanager.build(receiver.url, group_interval="1s")
        requests = Requests(metrics)
        requests.start()
        with observe.running(setting, rules=rules(interval), routes=routes, folder=folder):
            time.sleep(HEALTHY_SECONDS[interval])
            requests.status, failed = 500, time.monotonic()
            while True:
                message = receiver.wait("/page", seconds=60)
                if any(each["labels"]["alertname"] == "SlipwayErrorsPage" for each in message.body["alerts"]):
                    requests.ended.set()
                    return message.at - failed - FOR[interval]


def main() -> int:
    """Write the record; 1 when a run with the shortest interval is above the limit."""
    measured: dict[str, list[float]] = {interval: [] for interval in RUNS}
    for interval, runs in RUNS.items():
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                measured[interval].append(round(seconds_to_page(interval, Path(folder)), 2))
        print(interval, *measured[interval], flush=True)
    files.write_json(RECORD, {"machine": machine(), "for": FOR, "seconds": measured, "limit": LIMIT})
    return int(max(measured["500ms"]) > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
