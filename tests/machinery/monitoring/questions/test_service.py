"""The service's objectives by the log and by Prometheus: kept, broken, and too little to say."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from slipway.errors import ConfigError, Inconclusive
from slipway.loadtest import slo
from slipway.monitoring.questions import service
from slipway.monitoring.questions.service import Counts
from slipway.serving.local_server import find_free_port
from support import engines, http_server
from support.paths import ROOT
from support.prediction_logs import END

OBJECTIVES = slo.require_objectives(slo.read(ROOT / "tests/machinery/support/slo.yaml"))


def ask(requests: int, failed: int = 0, slow: int = 0, lost: int = 0) -> service.Answer:
    counts = Counts(requests=requests, failed=failed, slow=slow)
    return service.ask(counts, OBJECTIVES, confidence=0.95, lost=lost)


def frame(*rows: tuple[str, float, int | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"id": pl.String, "ms": pl.Float32, "status": pl.Int16}, orient="row")


@pytest.mark.parametrize(
    ("counts", "words"),
    [((5000,), [True, True]), ((5000, 5), [True, True]), ((5000, 50), [False, True]), ((5000, 6), [None, True]),
     ((5000, 0, 50), [True, True]), ((5000, 0, 500), [True, False]), ((999,), [None, True]), ((99,), [None, None]),
     ((5000, 5000), [False, None]), ((0,), [None, None])],
)  # fmt: skip
def test_objective_is_judged(counts: tuple[int, ...], words: list[bool | None]) -> None:
    assert [check.ok for check in ask(*counts).checks] == words


def test_budget_says_how_much_is_spent() -> None:
    availability, latency = ask(10_000, 5, 50).notes["budget"]
    assert availability == {"objective": "availability", "allowed": 0.001, "bad_ratio": 0.0005, "spent": 0.5}
    assert latency["spent"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("counts", "start"),
    [((5000,), "The service is within"), ((5000, 50), "The service broke"), ((9,), "Unsure: 9 requests are too few")],
)
def test_sentence_names_the_answer(counts: tuple[int, ...], start: str) -> None:
    text = ask(*counts, lost=7).sentence
    assert text.startswith(start)
    assert text.endswith("The log lost 7 lines.")


def test_rows_of_a_list_are_one_request() -> None:
    rows = frame(("a/0", 60, None), ("a/1", 60, None), ("b", 1, None), ("c", 1, 500), ("d/0", 50, None))
    assert service.count(rows, OBJECTIVES) == Counts(requests=4, failed=1, slow=1)


def prometheus(*values: float | None) -> type[BaseHTTPRequestHandler]:
    """A handler that answers one query after another with these values; None: no such series."""
    left = iter(values)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            value = next(left)
            result: list[Any] = [] if value is None else [{"value": [0, str(value)]}]
            body = json.dumps({"data": {"result": result}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Write nothing."""

    return Handler


def from_prometheus(address: str) -> Counts:
    return service.from_prometheus(address, OBJECTIVES, ["/predict"], END - timedelta(days=7), END)


def test_prometheus_counts_the_requests() -> None:
    with http_server.serve(prometheus(1000.4, 3, 990, 998)) as address:
        assert from_prometheus(address) == Counts(requests=1000, failed=3, slow=8)


def test_absent_series_are_nothing() -> None:
    with http_server.serve(prometheus(100, None, 100, 100)) as address:
        assert from_prometheus(address) == Counts(requests=100, failed=0, slow=0)


def test_value_that_is_no_number() -> None:
    with http_server.serve(prometheus(100, float("nan"), 100, 100)) as address, pytest.raises(Inconclusive):
        from_prometheus(address)


def test_absent_prometheus_is_inconclusive() -> None:
    with http_server.serve(BaseHTTPRequestHandler) as address, pytest.raises(Inconclusive, match="did not answer"):
        from_prometheus(address)
    with pytest.raises(Inconclusive, match="did not answer"):
        from_prometheus(address)


def test_address_of_no_web_server_is_refused() -> None:
    with pytest.raises(ConfigError, match="monitor.prometheus is 'file:///etc'"):
        from_prometheus("file:///etc")


def test_real_prometheus_accepts_the_queries(tmp_path: Path) -> None:
    program, port = engines.require("prometheus"), find_free_port()
    (tmp_path / "prometheus.yml").write_text("{}")
    words = [program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
             f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (tmp_path / "log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as running:
        try:
            wait_ready(f"http://127.0.0.1:{port}/-/ready")
            assert from_prometheus(f"http://127.0.0.1:{port}") == Counts(requests=0, failed=0, slow=0)
        finally:
            running.terminate()


def wait_ready(address: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(address, timeout=1).close()  # noqa: S310 - an address of this machine
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("Prometheus did not start in 20 seconds")
