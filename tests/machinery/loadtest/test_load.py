"""The load gate: the judge in tables, and the measurement against a small server that may stall or fail."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import pytest

from slipway.core import files
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.loadtest import load, slo
from slipway.loadtest.generator_health import Limits
from slipway.loadtest.load import Measurement, Sample
from slipway.loadtest.slo import Endpoint, Schedule, Slo
from support.http_server import serve
from support.load_samples import LIMITS, PREDICT, QUIET, SCHEDULE, SLO, samples
from support.paths import ROOT

ATTEMPTS = 4
"""Measurements of a test that needs a generator with time to measure, at most."""


@pytest.mark.parametrize(
    ("given", "word", "because"),
    [
        (samples(), "pass", None),
        (samples(slow=9), "pass", None),
        (samples(slow=11), "fail", "p95 of POST /predict is 80 ms; allowed: at most 50 ms"),
        (samples(slow=3, slow_ms=120), "fail", "p99 of POST /predict is 120 ms; allowed: at most 90 ms"),
        (samples(ms=30), "fail", "p50 of POST /predict is 30 ms; allowed: at most 20 ms"),
        (samples(failed=3), "fail", "1.5 % of 200 requests failed; allowed: at most 1 % of the requests"),
        (samples(failed=200), "fail", "100 % of 200 requests failed"),
        (samples(99), "unsure", "99 requests were sent to POST /predict; allowed: at least 100"),
        (
            samples(180),
            "unsure",
            "The service answered 90 % of the scheduled 100 requests per second; allowed: at least 95 % of them",
        ),
        (samples(99, slow=99), "unsure", "99 requests were sent to POST /predict"),
        ([], "unsure", "0 requests were sent to POST /predict; allowed: at least 100"),
        (
            [Sample("GET /else", s.intended, 1, True) for s in samples()],
            "unsure",
            "0 requests were sent to POST /predict",
        ),
    ],
)
def test_judge_says_why(given: list[Sample], word: str, because: str | None) -> None:
    verdict = load.judge(Measurement(given, QUIET), SLO, SCHEDULE, bento_sha256="abc")
    assert (verdict.word, verdict.inputs) == (word, {"bento_sha256": "abc"})
    if because:
        with pytest.raises((CheckFailed, Inconclusive)) as caught:
            verdict.enforce()
        assert because in str(caught.value)
        assert caught.value.code == {"fail": 4, "unsure": 5}[word]


def test_each_endpoint_is_judged_alone() -> None:
    both = Slo(**SLO.model_dump(exclude={"endpoints"}), endpoints={PREDICT: LIMITS, "POST /ask": LIMITS})
    given = samples() + [Sample("POST /ask", s.intended, 500, True) for s in samples()]
    wrong = [check.name for check in load.judge(Measurement(given, QUIET), both, SCHEDULE).checks if check.ok is False]
    assert wrong == ["POST /ask p50_ms", "POST /ask p95_ms", "POST /ask p99_ms"]


class Handler(BaseHTTPRequestHandler):
    """Answers at once, but for the requests named here by their numbers from 1 on."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    cut: tuple[int, ...] = ()
    """Their connection is closed without an answer."""
    failing: tuple[int, ...] = ()
    """They are answered with status 500."""
    stall_at, stall_seconds, stalled_until = 0, 1.5, 0.0
    """From this one on all answers are held back for so many seconds, once."""
    bodies: list[bytes]

    def do_POST(self) -> None:
        """One prediction."""
        own = type(self)
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        number = len(self.bodies)
        if number in self.cut:
            self.close_connection = True
            return
        if number == self.stall_at:
            own.stalled_until = time.monotonic() + self.stall_seconds
        if (wait := own.stalled_until - time.monotonic()) > 0:
            time.sleep(wait)
        self.send_response(500 if number in self.failing else 200)
        self.send_header("content-length", "18")
        self.end_headers()
        self.wfile.write(b'{"prediction":0.5}')

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def handler() -> type[Handler]:
    """A handler class of the test's own, to set."""
    return type("Own", (Handler,), {"bodies": []})


@pytest.fixture
def host(handler: type[Handler]) -> Iterator[str]:
    with serve(handler) as url:
        yield url


@pytest.fixture
def folder(project: Path, tmp_path: Path) -> Path:
    """A project with a short objective that a busy machine keeps too: a test narrows the limit that it is about.

    Locust splits its option `--locustfile` at commas, so the folder's name has one.
    """
    root = tmp_path / "a b é,#1"
    (root / "models").mkdir(parents=True)
    for name in ("contract.json", "golden.json"):
        (root / "models" / name).symlink_to(project / "models" / name)
    (root / "loadtests").mkdir()
    (root / load.LOCUSTFILE).symlink_to(ROOT / load.LOCUSTFILE)
    schedule = {"rate": 400, "seconds": 0.3, "users": 4}
    objective = {"schedules": {"machine": schedule, "cluster": schedule | {"rate": 1}},
                 "achieved_ratio_at_least": 0.01, "golden_difference_at_most": 0,
                 "generator": {"lag_ms_at_most": 10_000, "cpu_at_most": 1},
                 "endpoints": {PREDICT: {"share": 1, "min_requests": 60, "errors_at_most": 0.01,
                                         "p95_ms_at_most": 10_000, "p99_ms_at_most": 10_000}}}  # fmt: skip
    files.write_json(root / slo.PATH, objective)
    return root


def objective(
    folder: Path, schedule: dict[str, float], *, lag_ms: float = 10_000, cpu: float = 1, p95_ms: float = 10_000
) -> Slo:
    """The folder's objective with another schedule and other limits."""
    limits = Endpoint(share=1, min_requests=60, errors_at_most=0.01, p95_ms_at_most=p95_ms, p99_ms_at_most=10_000)
    changes = {
        "schedules": {"machine": Schedule.model_validate(schedule), "cluster": SCHEDULE},
        "generator": Limits(lag_ms_at_most=lag_ms, cpu_at_most=cpu),
        "endpoints": {PREDICT: limits},
    }
    return slo.read(folder / slo.PATH).model_copy(update=changes)


def test_load_measures_and_judges(host: str, handler: type[Handler], folder: Path) -> None:
    calm = {"rate": 60, "seconds": 1, "users": 4}
    files.write_json(folder / slo.PATH, objective(folder, calm).model_dump(exclude_none=True))
    assert "60 requests at 60/s" in load.run(host, of="abc", root=folder)
    record = files.read_json(folder / load.VERDICT)
    assert (record["verdict"], record["rows"], record["inputs"]) == ("pass", 60, {"bento_sha256": "abc"})
    generator = {check["name"]: check["value"] for check in record["checks"] if check["name"].startswith("generator")}
    assert generator.keys() == {"generator lag p99_ms", "generator CPU"}
    assert all(value > 0 for value in generator.values())
    rows = [json.loads(body) for body in handler.bodies]
    properties = files.read_json(folder / load.CONTRACT)["inputs"]["properties"]
    assert all(set(row) == set(properties) for row in rows)
    assert len({json.dumps(row) for row in rows}) > 30


def test_a_stall_counts_from_the_intended_moment(host: str, handler: type[Handler], folder: Path) -> None:
    handler.stall_at = 12
    strict = objective(folder, {"rate": 120, "seconds": 1, "users": 4}, lag_ms=1000, cpu=0.9, p95_ms=1000)
    schedule = strict.schedules["machine"]
    # Where this machine held the generator up as long as the stall is, nothing can be told: measured again.
    for _ in range(ATTEMPTS):
        handler.bodies.clear()
        measured = load.measure(strict, schedule, host, root=folder)
        verdict = load.judge(measured, strict.model_copy(update={"achieved_ratio_at_least": 0.8}), schedule)
        checks = {check.name: check for check in verdict.checks}
        if checks["generator lag p99_ms"].ok and checks["generator CPU"].ok:
            break
    # Four senders wait for one answer each: measured from the sending, 4 of 120 requests would be slow.
    assert sum(sample.latency_ms > 500 for sample in measured.samples) > 60
    p95 = checks["POST /predict p95_ms"]
    assert p95.ok is False
    assert float(p95.value or 0) > 1000
    assert checks["achieved rate"].ok is None
    # They waited for the service: that is no slowness of the generator.
    assert checks["generator lag p99_ms"].ok
    assert checks["generator CPU"].ok


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


def test_a_rate_above_what_the_generator_can_do_is_unsure(quick: str, folder: Path) -> None:
    above = objective(folder, {"rate": 50_000, "seconds": 0.04, "users": 16}, cpu=0.4, p95_ms=10)
    schedule = above.schedules["machine"]
    measured = load.measure(above, schedule, quick, root=folder)
    assert len(measured.samples) == 2000
    verdict = load.judge(measured, above, schedule)
    assert verdict.word == "unsure", verdict.checks
    trusted = load.judge(measured._replace(generator=QUIET), above, schedule)
    assert trusted.word == "fail"  # by its own slowness


def hold(handler: type[Handler], until: threading.Event) -> None:
    """From the first request on, hold Locust for 50 ms and let it run for 50 ms, as a container's quota does."""
    while not handler.bodies and not until.wait(0.002):
        pass
    (process,) = [each for each in psutil.Process().children() if "locust" in each.cmdline()] or [None]
    while process and not until.is_set():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
            time.sleep(0.05)
            process.resume()
        until.wait(0.05)


def test_a_generator_that_is_held_up_is_unsure(host: str, handler: type[Handler], folder: Path) -> None:
    strict, over = objective(folder, {"rate": 80, "seconds": 1, "users": 4}, lag_ms=25, p95_ms=25), threading.Event()
    schedule = strict.schedules["machine"]
    thread = threading.Thread(target=hold, args=(handler, over))
    thread.start()
    measured = load.measure(strict, schedule, host, root=folder)
    over.set()
    thread.join()
    verdict = load.judge(measured, strict, schedule)
    assert [check.name for check in verdict.checks if check.ok is False] == []
    assert {check.name for check in verdict.checks if check.ok is None} >= {
        "generator lag p99_ms",
        f"{PREDICT} p95_ms",
    }
    trusted = load.judge(measured._replace(generator=QUIET), strict, schedule)
    assert trusted.word == "fail"  # by its own slowness


@pytest.mark.parametrize(("retries", "errors", "tries"), [(0, 5, [1]), (1, 0, [1, 2])])
def test_errors_are_counted_and_only_a_client_with_retries_sends_again(
    host: str, handler: type[Handler], folder: Path, retries: int, errors: int, tries: list[int]
) -> None:
    handler.cut, handler.failing = (20, 60, 100), (40, 80)
    goal = slo.read(folder / slo.PATH)
    measured = load.measure(goal, goal.schedules["machine"], host, root=folder, retries=retries)
    assert sum(not sample.ok for sample in measured.samples) == errors
    assert sorted({sample.tries for sample in measured.samples}) == tries
    assert len(handler.bodies) == 120 + sum(sample.tries - 1 for sample in measured.samples)
    check = {check.name: check for check in load.judge(measured, goal, goal.schedules["machine"]).checks}
    assert check[f"{PREDICT} errors"].ok is (errors == 0)


def test_nothing_that_answers_ends_at_once(folder: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"nothing answers at http://127.0.0.1:9 \(connection refused\)") as caught:
        load.run("http://127.0.0.1:9", root=folder)
    assert "slipway serve" in caught.value.hint
    assert time.monotonic() - started < 2
    assert not (folder / load.VERDICT).exists()


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "http://127.0.0.1:99999", "ftp://127.0.0.1"])
def test_address_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"expected: an address such as http://127\.0\.0\.1:3000"):
        load.require_connection(host)


def test_service_that_answers_no_request_is_never_a_pass(host: str, handler: type[Handler], folder: Path) -> None:
    handler.failing = tuple(range(1, 200))
    failure = rf"100 % of 120 requests failed \(status 500 at {host}\); allowed: at most 1 % of the requests"
    with pytest.raises(CheckFailed, match=failure) as caught:
        load.run(host, root=folder)
    assert "no request succeeded: check that the service" in caught.value.hint
    assert files.read_json(folder / load.VERDICT)["verdict"] == "fail"


def test_service_that_is_gone_is_named_as_the_reason(folder: Path) -> None:
    goal = slo.read(folder / slo.PATH)
    measured = load.measure(goal, goal.schedules["machine"], "http://127.0.0.1:9", root=folder)
    with pytest.raises(CheckFailed, match=r"100 % of 120 requests failed \(connection refused at http://127.0.0.1:9\)"):
        load.judge(measured, goal, goal.schedules["machine"]).enforce()


def test_a_generator_that_fails_is_unsure(host: str, folder: Path) -> None:
    (folder / "models/golden.json").unlink()
    (folder / "models/golden.json").write_text("broken")
    with pytest.raises(Inconclusive, match=r"Locust stopped without a result; the end of its output"):
        load.run(host, root=folder)
    assert not (folder / load.VERDICT).exists()


def test_without_a_contract_there_is_nothing_to_send(folder: Path) -> None:
    (folder / load.CONTRACT).unlink()
    with pytest.raises(ConfigError, match=r"contract.json does not exist"):
        load.run("http://127.0.0.1:9", root=folder)
