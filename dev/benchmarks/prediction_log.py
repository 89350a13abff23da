"""CPU of a request with the prediction log off, at 100 and at 1000 per mille: `python dev/benchmarks/prediction_log.py`.

One server for each, all at the same time; the same rows go to them in turns, so that a busy machine is busy for all. Two
servers have no log: what they differ by is noise. The difference to "off" is taken within each round, and its median shown.
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

import psutil

from slipway.packaging import package
from slipway.serving import local_server
from slipway.serving.prediction_log.lines import Request
from slipway.serving.prediction_log.settings import Settings
from slipway.serving.prediction_log.writer import PredictionLog

ROUNDS, REQUESTS, ALONE = 15, 2000, 20_000
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


def measure(connection: http.client.HTTPConnection, process: psutil.Process, body: bytes) -> tuple[float, float]:
    """Return CPU microseconds of a request and the p99 in milliseconds."""
    before, waits = cpu_ns(process.pid), []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        connection.getresponse().read()
        waits.append(time.perf_counter() - started)
    time.sleep(0.4)  # the writer's last flush belongs to these requests
    cpu = (cpu_ns(process.pid) - before) / REQUESTS / 1000
    return cpu, statistics.quantiles(waits, n=100)[98] * 1000


def main() -> None:
    bento, _ = package.packaged_bento(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    body = json.dumps(json.loads((bento / "src/models/contract.json").read_text())["example"]).encode()
    with tempfile.TemporaryDirectory() as scratch:
        servers = {name: start(bento, Path(scratch), name, value) for name, value in MODES.items()}
        try:
            results: dict[str, list[tuple[float, float]]] = {name: [] for name in MODES}
            connections = {name: http.client.HTTPConnection("127.0.0.1", each.port) for name, each in servers.items()}
            for _ in range(ROUNDS + 1):
                for name, server in servers.items():
                    results[name].append(measure(connections[name], psutil.Process(server.process.pid), body))
        finally:
            for server in servers.values():
                local_server.stop(server)
    for name, rows in results.items():
        cpu, p99 = ([each[number] for each in rows[1:]] for number in (0, 1))
        extra = [100 * (mine / base - 1) for mine, (base, _) in zip(cpu, results["off"][1:], strict=True)]
        print(
            f"{name:15} {statistics.median(cpu):6.1f} µs CPU a request ({min(cpu):.1f} to {max(cpu):.1f}), "
            f"{statistics.median(extra):+5.1f} %, p99 {statistics.median(p99):.2f} ms"
        )
    for per_mille in (100, 1000):
        costs = [alone(body, per_mille) for _ in range(7)]
        print(
            f"the log alone, {per_mille} per mille: {statistics.median(costs):.1f} µs ({min(costs):.1f} to {max(costs):.1f})"
        )


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


if __name__ == "__main__":
    main()
