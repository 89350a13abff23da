"""The servers of dev/benchmarks/serving.py as processes: how each is started, asked, stopped for a while, weighed and ended."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
from serving_client import request

from slipway.core import environment
from slipway.serving import http_protocol, local_server

ROOT = Path(__file__).resolve().parents[2]
Rows = Sequence[dict[str, Any]]


@dataclass
class Rival:
    """One server: how it is started (`{port}` is filled in), where it is asked, and what its packages are."""

    name: str
    label: str
    command: Sequence[str]
    packages: Sequence[str]
    paths: tuple[str, str] = ("/predict", "/predict")
    shape: str = "rows"
    folder: Path | None = None
    """Where it runs; for ours, which finds its model there."""
    port: int = 0
    process: Any = None
    ready: list[float] = field(default_factory=list)
    visits: list[dict[str, float]] = field(default_factory=list)
    memory: float = 0.0
    difference: float = 0.0

    def body(self, rows: Rows, count: int) -> bytes:
        """The body that asks for `rows`, of which there is one or more."""
        given: Any = rows if count > 1 else rows[0]
        return orjson.dumps({"frame": {"rows": rows}, "records": {"dataframe_records": rows}}.get(self.shape, given))

    def requests(self, golden: Rows, count: int) -> list[bytes]:
        """One request for each golden row, or sixteen of `count` rows that begin at different ones."""
        starts = range(len(golden)) if count == 1 else range(0, 64, 4)
        lists = [[golden[(start + n) % len(golden)] for n in range(count)] for start in starts]
        return [request(self.port, self.paths[count > 1], self.body(rows, count)) for rows in lists]

    def answers(self, golden: Rows, count: int) -> list[float]:
        """Its answers to `golden`, in requests of `count` rows."""
        found: list[float] = []
        for start in range(0, len(golden), count):
            said = httpx.post(
                f"http://127.0.0.1:{self.port}{self.paths[count > 1]}",
                content=self.body(golden[start : start + count], count),
                headers={"content-type": "application/json"},
                timeout=30,
            )
            assert said.status_code == 200, f"{self.name}: {said.status_code} {said.text[:300]}"
            found += _numbers(said.json())
        return found


def _numbers(said: Any) -> list[float]:
    given = said.get("predictions", [said.get("prediction")]) if isinstance(said, dict) else said
    return [each[-1] if isinstance(each, list) else each for each in given]


def rivals(bento: Path, pyfunc: Path) -> list[Rival]:
    """All nine; ours is what the image starts."""
    python = (sys.executable, "-m")
    onnx = ["onnxruntime", "numpy", "orjson", "uvicorn", "uvloop", "httptools"]

    def app(name: str, *more: str) -> tuple[str, ...]:
        folder = str(ROOT / "dev/benchmarks")
        return *python, "uvicorn", "--factory", f"serving_rivals:{name}", "--app-dir", folder, "--port", "{port}", *more

    tutorial = (*python, "bentoml", "serve", "serving_tutorial:Tutorial", "--host", "127.0.0.1", "--port", "{port}",
                "--working-dir", str(ROOT / "dev/benchmarks"))  # fmt: skip
    mlflow = (*python, "mlflow", "models", "serve", "-m", str(pyfunc), "--env-manager", "local", "--port", "{port}")
    two = ("/predict", "/batch")
    plain = ["httptools" if each == http_protocol.NAME else each for each in local_server.OPTIONS]
    return [
        Rival("empty", "empty Starlette endpoint", app("empty", *plain), ["starlette", *onnx[3:]]),
        Rival("starlette", "Starlette + ONNX Runtime, no checks", app("starlette", *plain), ["starlette", *onnx]),
        Rival("fastapi", "FastAPI + ONNX Runtime, tuned", app("fastapi", *plain), ["fastapi", *onnx], two),
        Rival("slipway", "Slipway", local_server.command(bento, port="{port}"), ["bentoml", "msgspec", *onnx],
              folder=bento / "src"),
        Rival("supervised", "Slipway by `bentoml serve`", (*python, "bentoml", "serve", str(bento), "--host", "127.0.0.1",
              "--port", "{port}"), ["bentoml", "msgspec", *onnx], folder=bento / "src"),
        Rival("untuned", "FastAPI + ONNX Runtime, as in its tutorial", app("fastapi_untuned"), ["fastapi", *onnx], two),
        Rival("sklearn", "FastAPI + scikit-learn", app("fastapi_sklearn"),
              ["fastapi", "scikit-learn", "pandas", *onnx[3:]], two),
        Rival("tutorial", "BentoML as in its tutorial", tutorial, ["bentoml", "scikit-learn", "pandas"], shape="frame"),
        Rival("mlflow", "mlflow models serve", mlflow, ["mlflow", "scikit-learn", "pandas"],
              ("/invocations", "/invocations"), "records"),
    ]  # fmt: skip


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """This process, and what it starts meanwhile, on one core; without a second core nothing is pinned."""
    before = os.sched_getaffinity(0)
    if len(before) > 1 and core is not None:
        os.sched_setaffinity(0, {sorted(before)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def start(rival: Rival, scratch: Path, golden: Rows, core: int | None = 0) -> float:
    """Start it on the servers' core, or on any; seconds until it gave its first answer."""
    rival.port = local_server.find_free_port()
    home = scratch / f"{rival.name}-{len(rival.ready)}"
    home.mkdir()
    env = (
        local_server.server_environment(home, ROOT)
        if rival.folder
        else environment.for_programs(ROOT, BENTOML_HOME=str(home))
    )
    if "--workers" in rival.command:
        env["PROMETHEUS_MULTIPROC_DIR"] = str(home)
    command = [part.replace("{port}", str(rival.port)) for part in rival.command]
    body = rival.body(golden[:1], 1)
    with pinned(core), (home / "log").open("wb") as log:
        began = time.perf_counter()
        rival.process = psutil.Popen(
            command,
            cwd=rival.folder or home,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    with pinned(1):
        while True:
            if asked(rival, body):
                return time.perf_counter() - began
            assert rival.process.poll() is None, (home / "log").read_text("utf-8")[-2000:]
            assert time.perf_counter() - began < 90, f"{rival.name} did not come up"
            time.sleep(0.005)


def asked(rival: Rival, body: bytes) -> bool:
    """Return whether the server answers this request."""
    connection = http.client.HTTPConnection("127.0.0.1", rival.port, timeout=30)
    with closing(connection), suppress(OSError):
        connection.request("POST", rival.paths[0], body, {"content-type": "application/json"})
        return connection.getresponse().status == http.client.OK
    return False


def family(rival: Rival) -> list[psutil.Process]:
    """The server and all processes it started; nobody once it ended."""
    if not rival.process.is_running():
        return []
    return [rival.process, *rival.process.children(recursive=True)]


def signalled(rival: Rival, number: int) -> None:
    for process in family(rival):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def end(rival: Rival) -> None:
    """Stop it with everything it started."""
    members = family(rival)
    for process in members:
        for number in (signal.SIGCONT, signal.SIGKILL):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
    psutil.wait_procs(members, timeout=10)


def pss(rival: Rival) -> float:
    """Memory of all its processes in MB, what they share counted in parts."""
    return sum(process.memory_full_info().pss for process in family(rival)) / 1e6
