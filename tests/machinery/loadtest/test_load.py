"""The load gate: the judge in tables, and the measurement against a small server that may stall or fail."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from slipway.core import files
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.loadtest import load, slo
from slipway.loadtest.generator_health import Limits
from slipway.loadtest.load import Measured, Sample
from slipway.loadtest.slo import Endpoint, Schedule, Slo
from support.load_samples import LIMITS, PREDICT, QUIET, SCHEDULE, SLO, samples
from support.paths import OBJECTIVE, ROOT


@pytest.mark.parametrize(
    ("given", "word", "because"),
    [
        (samples(), "pass", None),
        (samples(slow=9), "pass", None),
        (samples(slow=11), "fail", "POST /predict p95_ms is 80"),
        (samples(slow=3, slow_ms=120), "fail", "POST /predict p99_ms is 120"),
        (samples(ms=30), "fail", "POST /predict p50_ms is 30"),
        (samples(failed=3), "fail", "POST /predict errors is 0.015, limit: ≤ 0.01 of the requests"),
        (samples(failed=200), "fail", "POST /predict errors is 1"),
        (samples(99), "unsure", "POST /predict requests is 99, limit: ≥ 100"),
        (samples(180), "unsure", "achieved rate is 0.9, limit: ≥ 0.95 of 100 requests/s"),
        (samples(99, slow=99), "unsure", "POST /predict requests is 99"),
        ([], "unsure", "POST /predict requests is 0, limit: ≥ 100"),
        ([Sample("GET /else", s.intended, 1, True) for s in samples()], "unsure", "POST /predict requests is 0"),
    ],
)
def test_judge_says_why(given: list[Sample], word: str, because: str | None) -> None:
    verdict = load.judge(Measured(given, QUIET), SLO, SCHEDULE, of="abc")
    assert (verdict.word, verdict.inputs) == (word, {"bento_sha256": "abc"})
    if because:
        with pytest.raises((CheckFailed, Inconclusive)) as caught:
            verdict.enforce()
        assert because in str(caught.value)
        assert caught.value.code == {"fail": 4, "unsure": 5}[word]


def test_each_endpoint_is_judged_alone() -> None:
    both = Slo(**SLO.model_dump(exclude={"endpoints"}), endpoints={PREDICT: LIMITS, "POST /ask": LIMITS})
    given = samples() + [Sample("POST /ask", s.intended, 500, True) for s in samples()]
    wrong = [check.name for check in load.judge(Measured(given, QUIET), both, SCHEDULE).checks if check.ok is False]
    assert wrong == ["POST /ask p50_ms", "POST /ask p95_ms", "POST /ask p99_ms"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("rate: 300", "rate: -1"), "schedules.machine.rate is -1: Input should be greater than 0"),
        (("users: 16", "users: 16, more: 1"), "schedules.machine.more is 1: Extra inputs are not permitted"),
        (
            ("cpu_at_most: 0.8", "cpu_at_most: 2"),
            "generator.cpu_at_most is 2: Input should be less than or equal to 1",
        ),
        (("endpoints:", "more: 1\nendpoints:"), "more is 1: Extra inputs are not permitted"),
        (("  cluster: {", "  moon: {"), "schedules.moon"),
        (("cluster: {rate: 120, seconds: 30, users: 16}", ""), "schedules has no cluster, limit: machine and cluster"),
        (("POST /predict", "predict"), "String should match pattern"),
        (("rate: 300", "rate: ["), "is not YAML"),
    ],
)
def test_a_wrong_objective_is_a_wrong_setting(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    (tmp_path / "slo.yaml").write_text(OBJECTIVE.read_text("utf-8").replace(*change), "utf-8")
    with pytest.raises(ConfigError) as caught:
        slo.read(tmp_path / "slo.yaml")
    assert says in str(caught.value)


class Handler(BaseHTTPRequestHandler):
    """Answers at once; from the moment `stall` on it holds every answer back for `stalls` seconds, once."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    status = 200
    stall = float("inf")
    stalls = 5.0
    broken: tuple[int, ...] = ()
    """Which requests find their connection cut, as counted here."""
    bodies: list[bytes]

    def do_POST(self) -> None:
        """One prediction."""
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        if len(self.bodies) in self.broken:
            self.close_connection = True
            return
        if type(self).stall < time.monotonic() < type(self).stall + self.stalls:
            time.sleep(type(self).stall + self.stalls - time.monotonic())
        self.send_response(self.status)
        self.send_header("content-length", "18")
        self.end_headers()
        self.wfile.write(b'{"prediction":0.5}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def handler() -> type[Handler]:
    """A handler class of the test's own, to set."""
    return type("Own", (Handler,), {"bodies": []})


@pytest.fixture
def host(handler: type[Handler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as local:
        local.daemon_threads = True
        thread = threading.Thread(target=local.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{local.server_port}"
        local.shutdown()
        thread.join()


@pytest.fixture
def folder(project: Path, tmp_path: Path) -> Path:
    """A project with a short and easy objective."""
    (tmp_path / "models").mkdir()
    for name in ("contract.json", "golden.json"):
        (tmp_path / "models" / name).symlink_to(project / "models" / name)
    (tmp_path / "loadtests").mkdir()
    (tmp_path / load.LOCUSTFILE).symlink_to(ROOT / load.LOCUSTFILE)
    schedule = {"rate": 60, "seconds": 2, "users": 4}
    objective = {"schedules": {"machine": schedule, "cluster": schedule | {"rate": 1}},
                 "achieved_ratio_at_least": 0.5, "golden_difference_at_most": 0,
                 "generator": {"lag_ms_at_most": 400, "cpu_at_most": 0.95},
                 "endpoints": {PREDICT: {"share": 1, "min_requests": 100, "errors_at_most": 0.01,
                                         "p95_ms_at_most": 400, "p99_ms_at_most": 5000}}}  # fmt: skip
    files.write_json(tmp_path / slo.PATH, objective)
    return tmp_path


def test_load_measures_and_judges(host: str, handler: type[Handler], folder: Path) -> None:
    assert "120 requests at 60/s" in load.run(host, of="abc", root=folder)
    record = files.read_json(folder / load.VERDICT)
    assert (record["verdict"], record["rows"], record["inputs"]) == ("pass", 120, {"bento_sha256": "abc"})
    own = {check["name"]: check["value"] for check in record["checks"] if check["name"].startswith("generator")}
    assert own.keys() == {"generator lag p99_ms", "generator CPU"}
    assert all(value > 0 for value in own.values())
    rows = [json.loads(body) for body in handler.bodies]
    properties = files.read_json(folder / load.CONTRACT)["inputs"]["properties"]
    assert all(set(row) == set(properties) for row in rows)
    assert len({json.dumps(row) for row in rows}) > 50


def test_a_stall_counts_from_the_intended_moment(host: str, handler: type[Handler], folder: Path) -> None:
    def stall_when_asked() -> None:
        while not handler.bodies:
            time.sleep(0.01)
        handler.stall = time.monotonic() + 0.5

    watch = threading.Thread(target=stall_when_asked)
    watch.start()
    with pytest.raises(CheckFailed, match=r"POST /predict p95_ms is \d+"):
        load.run(host, root=folder)
    watch.join()
    found = {check["name"]: check for check in files.read_json(folder / load.VERDICT)["checks"]}
    # Four senders wait for one answer each: measured from the sending, 4 of 120 requests would be slow.
    assert found["POST /predict p95_ms"]["value"] > 4000
    assert found["achieved rate"]["ok"] is None
    # They waited for the service: that is no slowness of the generator.
    assert found["generator lag p99_ms"]["ok"]
    assert found["generator CPU"]["ok"]


@pytest.fixture
def quick() -> Iterator[str]:
    """A service that answers sooner than Locust can ask."""
    code = (
        "import asyncio\n"
        "class One(asyncio.Protocol):\n"
        "    def connection_made(self, to): self.to = to\n"
        "    def data_received(self, data):\n"
        "        if not data.endswith(b'\\r\\n\\r\\n'): self.to.write(b'HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{}')\n"
        "async def main():\n"
        "    server = await asyncio.get_running_loop().create_server(One, '127.0.0.1', 0)\n"
        "    print(server.sockets[0].getsockname()[1], flush=True)\n"
        "    await server.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def objective(folder: Path, **machine: Any) -> Slo:
    """The folder's objective with other limits for whoever asks, and another schedule."""
    found = slo.read(folder / slo.PATH)
    schedules = found.schedules | {"machine": Schedule(**found.schedules["machine"].model_dump() | machine)}
    return found.model_copy(update={"schedules": schedules})


def test_a_rate_above_what_the_generator_can_do_is_unsure(quick: str, folder: Path) -> None:
    of = objective(folder, rate=20_000, seconds=0.5, users=16)
    found = load.measure(of, of.schedules["machine"], quick, root=folder)
    limits = Limits(lag_ms_at_most=400, cpu_at_most=0.6)
    verdict = load.judge(found, of.model_copy(update={"generator": limits}), of.schedules["machine"])
    assert len(found.samples) == 10_000
    assert verdict.word == "unsure", verdict.checks
    believed = load.judge(found._replace(generator=QUIET), of, of.schedules["machine"])
    assert believed.word == "fail"  # by its own slowness


def hold(until: threading.Event) -> None:
    """Let Locust run for 50 ms, and hold it for 50 ms, as a container's quota does, again and again."""
    while not until.wait(0.05):
        for process in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "locust" in process.cmdline():
                    process.suspend()
                    time.sleep(0.05)
                    process.resume()


def test_a_generator_that_is_held_up_is_unsure(host: str, folder: Path) -> None:
    of, over = objective(folder, rate=60, seconds=2), threading.Event()
    slow = Endpoint(share=1, min_requests=100, errors_at_most=0.01, p95_ms_at_most=25, p99_ms_at_most=1000)
    of = of.model_copy(update={"generator": SLO.generator, "endpoints": {PREDICT: slow}})
    thread = threading.Thread(target=hold, args=(over,))
    thread.start()
    found = load.measure(of, of.schedules["machine"], host, root=folder)
    over.set()
    thread.join()
    verdict = load.judge(found, of, of.schedules["machine"])
    assert [check.name for check in verdict.checks if check.ok is False] == []
    assert {check.name for check in verdict.checks if check.ok is None} >= {
        "generator lag p99_ms",
        f"{PREDICT} p95_ms",
    }
    believed = load.judge(found._replace(generator=QUIET), of, of.schedules["machine"])
    assert believed.word == "fail"  # by its own slowness


def test_errors_of_the_service_are_red(host: str, handler: type[Handler], folder: Path) -> None:
    handler.status = 500
    with pytest.raises(CheckFailed, match=r"POST /predict errors is 1, limit: ≤ 0.01 of the requests"):
        load.run(host, root=folder)


@pytest.mark.parametrize(("retries", "failed", "tries"), [(0, 3, [1]), (1, 0, [1, 2])])
def test_only_who_asks_sees_retries(
    host: str, handler: type[Handler], folder: Path, retries: int, failed: int, tries: list[int]
) -> None:
    handler.broken = (20, 60, 100)
    of = slo.read(folder / slo.PATH)
    found = load.measure(of, of.schedules["machine"], host, root=folder, retries=retries).samples
    assert sum(not sample.ok for sample in found) == failed
    assert sorted({sample.tries for sample in found}) == tries
    assert len(handler.bodies) == 120 + sum(sample.tries - 1 for sample in found)


def test_nobody_there_is_never_a_pass(folder: Path) -> None:
    with pytest.raises(CheckFailed, match=r"POST /predict errors is 1"):
        load.run("http://127.0.0.1:9", root=folder)


def test_a_generator_that_fails_is_unsure(folder: Path) -> None:
    (folder / "models/golden.json").unlink()
    (folder / "models/golden.json").write_text("broken")
    with pytest.raises(Inconclusive, match=r"locust kept no samples; it said"):
        load.run("http://127.0.0.1:9", root=folder)
    assert not (folder / load.VERDICT).exists()


def test_without_a_contract_there_is_nothing_to_send(folder: Path) -> None:
    (folder / load.CONTRACT).unlink()
    with pytest.raises(ConfigError, match=r"contract.json does not exist"):
        load.run("http://127.0.0.1:9", root=folder)
