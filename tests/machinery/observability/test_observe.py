"""Prometheus and Alertmanager next to the service's real metrics: a fault pages, its repair ends the page."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from slipway.core import process
from slipway.errors import ConfigError
from slipway.observability import alertmanager, observe
from slipway.reporting.incident import incident, timeline
from slipway.serving import http_client, local_server
from slipway.serving.prometheus import ServiceMetrics
from support import engines
from support.paths import ROOT
from support.quick_alerts import WAIT, expressions, quick_rules

CONTRACT = {
    "problem": "twins", "data": {"until": "2013-01-01"}, "categories": ["kind"], "reference": {"edges": [0.0, 0.5, 1.0]},
}  # fmt: skip


class Service:
    """The service's metrics under constant traffic; every answer has the same status."""

    def __init__(self) -> None:
        self.metrics, self.status, self.ends = ServiceMetrics(CONTRACT, "a" * 64), 200, threading.Event()

    def receive_requests(self) -> None:
        """Count fifty requests a second until the end."""
        while not self.ends.wait(0.02):
            self.metrics.count("/predict", self.status, 0.001)


@contextmanager
def answering(get: Callable[[], bytes], post: Callable[[str, Any], None]) -> Iterator[int]:
    """A server on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(get())

        def do_POST(self) -> None:
            post(self.path, json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.answer(b"")

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer((local_server.HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def free_ports() -> observe.Setting:
    return observe.Setting(0, local_server.find_free_port(), local_server.find_free_port(), "500ms")


def check_panels(port: int) -> None:
    """Prometheus answers every expression of the dashboard; those about requests have a value."""
    answers = {}
    for each in expressions():
        query = http_client.fetch(f"http://{local_server.HOST}:{port}", f"/api/v1/query?{urlencode({'query': each})}")
        assert query.ok, query.body
        answers[each] = json.loads(query.body)["data"]["result"]
    assert [each for each, result in answers.items() if "slipway_request" in each and not result] == []
    assert [each for each, result in answers.items() if each.startswith("ALERTS") and result]


def test_fault_pages_and_repair_ends_it(tmp_path: Path) -> None:
    for name in observe.NAMES:
        engines.require(name)
    calls: list[tuple[str, str]] = []

    def post(path: str, body: Any) -> None:
        calls.extend((path, f"{each['labels']['alertname']} {each['status']}") for each in body["alerts"])

    service = Service()
    with answering(service.metrics.text, post) as port:
        ports = free_ports()
        setting = observe.Setting(port, ports.prometheus, ports.alertmanager, ports.interval)
        routes = alertmanager.build(f"http://{local_server.HOST}:{port}", group_interval="1s")
        threading.Thread(target=service.receive_requests, daemon=True).start()
        try:
            with observe.running(setting, rules=quick_rules(), routes=routes, folder=tmp_path, root=ROOT):
                time.sleep(4)
                assert calls == []
                service.status, started = 500, time.monotonic()
                fires, ends = (("/page", f"SlipwayErrorsPage {state}") for state in ("firing", "resolved"))
                assert process.poll_until(lambda: fires in calls, seconds=30, every=0.05), calls
                assert time.monotonic() - started < WAIT + 5
                address = f"http://{local_server.HOST}:{ports.alertmanager}"
                events = timeline.from_alerts(incident.fetch_alerts(address), where=address)
                assert ("alert", "docs/alerts/SlipwayErrorsPage.md") in [(event.kind, event.page) for event in events]
                check_panels(setting.prometheus)
                service.status = 200
                assert process.poll_until(lambda: ends in calls, seconds=60, every=0.1), calls
        finally:
            service.ends.set()


def test_absent_program_names_its_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="prometheus is not installed") as refused:
        observe.find_program("prometheus", tmp_path)
    assert "`.ci/engines prometheus`" in refused.value.hint


def test_used_port_is_named(tmp_path: Path) -> None:
    for name in observe.NAMES:
        engines.require(name)
    with answering(bytes, lambda *_: None) as port:
        setting = observe.Setting(3000, port, local_server.find_free_port())
        with (
            pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is in use"),
            observe.running(setting, rules="", routes={}, folder=tmp_path, root=ROOT),
        ):
            pass


def test_absent_service_is_named() -> None:
    with pytest.raises(ConfigError, match="no service answers on port"):
        observe.run(observe.Setting(service=local_server.find_free_port()), root=ROOT)
