"""CPU of a request with the prediction log off, at 100 and at 1000 per mille: `python dev/benchmarks/prediction_log.py`.

One server for each, all at the same time. They are asked in turns of a few requests, so that a busy machine is busy for all.
A second server without a log shows how far two equal servers differ: a smaller difference is noise.
The last lines are the CPU of the log alone, in a process without a server, which is steadier than a difference.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from slipway.packaging import package
from slipway.serving import local_server
from slipway.serving.prediction_log.lines import Request
from slipway.serving.prediction_log.settings import Settings
from slipway.serving.prediction_log.writer import PredictionLog

ROUNDS, TURNS, REQUESTS = 20, 20, 25
"""Rounds that are compared one by one, turns of a server in a round, and requests of a turn."""
ALONE = 20_000
"""Requests of one look at the log alone."""
FLUSH_SECONDS = 0.4
"""After a round: the writer's last flush belongs to its requests."""
MODES = {"off": None, "off again": None, "100 per mille": "100", "1000 per mille": "1000"}


def start(bento: Path, scratch: Path, name: str, per_mille: str | None) -> local_server.Server:
    home = scratch / name.replace(" ", "-")
    home.mkdir()
    variables = local_server.server_environment(home, Path.cwd(), home / "log" if per_mille else None)
    variables["SLIPWAY_LOG_PER_MILLE"] = per_mille or "1000"
    port = local_server.find_free_port()
    with (home / "out").open("wb") as output:
        process = subprocess.Popen(
            local_server.command(bento, port=port), cwd=bento / "src", env=variables, stdout=output, stderr=output
        )
    server = local_server.Server(process, port, home, home / "out")
    local_server.wait_ready(server)
    return server


def cpu_ns(pid: int) -> int:
    """Return the nanoseconds of CPU of all threads; `cpu_times` counts in hundredths of a second."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def ask(connection: http.client.HTTPConnection, body: bytes) -> list[float]:
    """Return the milliseconds of each request of a turn."""
    waits = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        connection.getresponse().read()
        waits.append((time.perf_counter() - started) * 1000)
    return waits


def measure(servers: dict[str, local_server.Server], body: bytes) -> dict[str, tuple[float, list[float]]]:
    """Return the CPU microseconds of a request and the milliseconds of all requests, of each server in one round."""
    connections = {name: http.client.HTTPConnection("127.0.0.1", each.port) for name, each in servers.items()}
    before = {name: cpu_ns(each.process.pid) for name, each in servers.items()}
    waits: dict[str, list[float]] = {name: [] for name in servers}
    names = list(servers)
    for turn in range(TURNS):
        for number in range(len(names)):
            name = names[(turn + number) % len(names)]
            waits[name] += ask(connections[name], body)
    time.sleep(FLUSH_SECONDS)
    cpu = {
        name: (cpu_ns(each.process.pid) - before[name]) / (TURNS * REQUESTS) / 1000 for name, each in servers.items()
    }
    for connection in connections.values():
        connection.close()
    return {name: (cpu[name], waits[name]) for name in names}


def describe(name: str, rounds: list[dict[str, tuple[float, list[float]]]]) -> str:
    """Compare a server with the one without a log, round by round."""
    more = [100 * (each[name][0] / each["off"][0] - 1) for each in rounds]
    low, middle, high = statistics.quantiles(more, n=4)
    p99 = statistics.quantiles([wait for each in rounds for wait in each[name][1]], n=100)[98]
    cpu = statistics.median(each[name][0] for each in rounds)
    return f"{name:15} {cpu:6.1f} µs CPU a request, {middle:+5.1f} % ({low:+.1f} to {high:+.1f}), p99 {p99:.2f} ms"


class Ignored:
    """Counts nothing."""

    def written(self, lines: int) -> None:
        """Ignore lines."""

    def lost(self, lines: int) -> None:
        """Ignore lines."""

    def begun(self) -> None:
        """Ignore a file."""


def alone(body: bytes, per_mille: int) -> float:
    """Return the CPU microseconds that the log needs for a request, its thread's included."""
    contract = {"problem": "flights", "inputs": {"properties": {}}}
    with tempfile.TemporaryDirectory() as folder:
        log = PredictionLog(Settings(folder=Path(folder), per_mille=per_mille), contract, "0" * 12, Ignored())
        ids = [f"{number:032x}" for number in range(ALONE)]
        before = time.process_time_ns()
        for each in ids:
            if log.takes(each):
                log.add(Request(each, time.time_ns(), 1.0, "/predict", body, b'{"prediction":0.1234567}', 200))
        log.close()
        return (time.process_time_ns() - before) / ALONE / 1000


def main() -> None:
    bento, _ = package.packaged_bento(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    body = json.dumps(json.loads((bento / "src/models/contract.json").read_text())["example"]).encode()
    with tempfile.TemporaryDirectory() as scratch:
        servers = {name: start(bento, Path(scratch), name, value) for name, value in MODES.items()}
        try:
            measure(servers, body)  # the first round warms up
            rounds = [measure(servers, body) for _ in range(ROUNDS)]
        finally:
            for server in servers.values():
                local_server.stop(server)
    for name in MODES:
        print(describe(name, rounds))
    for per_mille in (100, 1000):
        costs = [alone(body, per_mille) for _ in range(7)]
        print(
            f"the log alone, {per_mille} per mille: {statistics.median(costs):.1f} µs ({min(costs):.1f} to {max(costs):.1f})"
        )


if __name__ == "__main__":
    main()
