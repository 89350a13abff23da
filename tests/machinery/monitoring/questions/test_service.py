"""The service is judged by its log lines, or by a Prometheus that answers."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import polars as pl
import pytest

from slipway.core import process
from slipway.errors import ConfigError, Inconclusive
from slipway.loadtest import slo
from slipway.monitoring.questions import service
from slipway.monitoring.questions.service import Counts
from slipway.monitoring.window import Answer
from slipway.serving.local_server import find_free_port
from support import engines, http_server
from support.paths import OBJECTIVE

OBJECTIVES = slo.require_objectives(slo.read(OBJECTIVE))
START = datetime(2022, 2, 1, tzinfo=UTC)


def ask(requests: int, failed: int = 0, slow: int = 0, lost: int = 0) -> Answer:
    counts = Counts(requests=requests, failed=failed, slow=slow)
    return service.ask(counts, OBJECTIVES, confidence=0.95, lost=lost)


def words(answer: Answer) -> dict[str, bool | None]:
    return {check.name: check.ok for check in answer.checks}


def test_rows_of_a_list_are_one_request() -> None:
    lines = pl.DataFrame({
        "id": ["a/0", "a/1", "b", "c", "d/0"], "ms": [70.0, 70.0, 1.0, 90.0, 1.0],
        "status": pl.Series([None, None, None, 503, None], dtype=pl.Int64),
    })  # fmt: skip
    assert service.count(lines, OBJECTIVES) == Counts(requests=4, failed=1, slow=1)


@pytest.mark.parametrize(
    ("counts", "availability", "latency"),
    [
        ({"requests": 10_000}, True, True),
        ({"requests": 10_000, "failed": 10}, True, True),
        ({"requests": 10_000, "failed": 12}, None, True),
        ({"requests": 10_000, "failed": 40}, False, True),
        ({"requests": 10_000, "slow": 300}, True, False),
        ({"requests": 500}, None, True),
        ({"requests": 0}, None, None),
        ({"requests": 5_000, "failed": 5_000}, False, None),
    ],
)
def test_objectives_are_judged(counts: dict[str, int], availability: bool | None, latency: bool | None) -> None:
    assert words(ask(**counts)) == {"availability": availability, "latency": latency}


def test_sentence_names_the_broken_objective() -> None:
    assert ask(10_000, failed=40).sentence == (
        "The service broke its objectives: 40 of 10,000 requests (0.400%) failed."
    )


def test_few_requests_are_a_sentence() -> None:
    assert ask(20).sentence.startswith("Unsure: 20 requests are too few for availability: with fewer than 1,000")


def test_lost_lines_are_named() -> None:
    assert ask(10_000, lost=1_200).sentence.endswith("The log lost 1,200 lines.")


def test_budget_says_what_is_spent() -> None:
    budget = ask(10_000, failed=5).notes["budget"][0]
    assert budget == {"objective": "availability", "allowed": 0.001, "bad_ratio": 0.0005, "spent": 0.5}


def from_prometheus(address: str) -> Counts:
    return service.from_prometheus(address, OBJECTIVES, ["/predict"], START, START + timedelta(days=7))


@contextmanager
def prometheus_answering(*bodies: bytes, status: int = 200) -> Iterator[str]:
    """A server that gives the bodies one after another, in the place of Prometheus."""
    waiting = list(bodies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with http_server.serve(Handler) as address:
        yield address


def vector(value: object) -> bytes:
    return json.dumps({"status": "success", "data": {"result": [{"value": [0, str(value)]}]}}).encode()


def test_prometheus_gives_the_counts() -> None:
    with prometheus_answering(vector(5000.2), vector(7), vector(4900), vector(4993)) as address:
        assert from_prometheus(address + "/") == Counts(requests=5000, failed=7, slow=93)


def test_prometheus_without_series_has_none() -> None:
    with prometheus_answering(b'{"data": {"result": []}}') as address:
        assert from_prometheus(address) == Counts(requests=0, failed=0, slow=0)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"data": 3}', vector("NaN"), vector("+Inf"), vector("x")])
def test_strange_answer_is_unsure(body: bytes) -> None:
    with prometheus_answering(body) as address, pytest.raises(Inconclusive, match="did not answer"):
        from_prometheus(address)


def test_refused_query_is_unsure() -> None:
    with prometheus_answering(b"no", status=503) as address, pytest.raises(Inconclusive, match="503"):
        from_prometheus(address)


def test_silent_prometheus_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Inconclusive, match="timed out"):
        from_prometheus(f"http://127.0.0.1:{server.getsockname()[1]}")


def test_absent_prometheus_is_unsure() -> None:
    with pytest.raises(Inconclusive, match=r"Prometheus at http://127\.0\.0\.1:\d+ did not answer"):
        from_prometheus(f"http://127.0.0.1:{find_free_port()}")


@pytest.mark.parametrize("address", ["127.0.0.1:9090", "file:///etc/passwd", "http://", "http://a b", "http://x:y"])
def test_wrong_address_is_refused(address: str) -> None:
    with pytest.raises((ConfigError, Inconclusive)):
        from_prometheus(address)


def test_real_prometheus_knows_the_queries(tmp_path: Path) -> None:
    program, port = engines.require("prometheus"), find_free_port()
    (tmp_path / "empty.yml").write_text("global: {}\n")
    command = [program, f"--config.file={tmp_path}/empty.yml", f"--storage.tsdb.path={tmp_path}/data",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        try:
            assert process.poll_until(lambda: _is_ready(address), seconds=30, every=0.1)
            assert from_prometheus(address) == Counts(requests=0, failed=0, slow=0)
        finally:
            running.terminate()


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/-/ready") as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False
