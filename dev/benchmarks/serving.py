"""Cost of serving: the same model behind nine servers, in turns on the same core, each answer checked first.

    make bench NAME=serving                 three whole runs, a quarter of an hour on two cores; writes dev/figures/serving.json
    make bench NAME=serving ARGS=--brief    one run of a minute, and nothing is written

The servers are pinned to one core, the client to another, and all servers but the one in turn are stopped (SIGSTOP).
Ratios travel between machines, requests per second do not.
"""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from serving_client import visit
from serving_figures import closure, figures, limits, machine, middle, raw
from serving_servers import Rival, Rows, end, pinned, pss, rivals, signalled, start

from pipeline import ROOT, closing, guarded, talk
from slipway.core import environment, files

RECORD = ROOT / "dev/figures/serving.json"
CONNECTIONS = (1, 8, 32, 64)
ROWS = (1, 100)
RUNS, STARTS, ROUNDS, SECONDS = 3, 3, 2, 0.5
LIMIT = 5e-6
"""Of the difference to the golden answers: scikit-learn computes in 64 bits, the graph in 32."""


def measured(rival: Rival, golden: Rows, seconds: float) -> None:
    """One visit: every number of connections, one row and a hundred."""
    signalled(rival, signal.SIGCONT)
    with pinned(1):
        for count in ROWS:
            requests = rival.requests(golden, count)
            for connections in CONNECTIONS:
                cell = visit(rival.port, requests, connections=connections, seconds=seconds)
                rival.visits.append({"connections": connections, "rows": count, **cell})
    signalled(rival, signal.SIGSTOP)


def checked(rival: Rival, rows: Rows, wanted: Sequence[float]) -> bool:
    """Return whether a server answers the golden rows rightly, singly and in batches; the empty one need not."""
    if rival.name == "empty":
        return True
    found = [rival.answers(rows, count) for count in ROWS]
    rival.difference = max(abs(a - b) for each in found for a, b in zip(each, wanted, strict=True))
    if rival.difference > LIMIT:
        talk.print(f"{rival.name} is out: it differs by {rival.difference:g}, limit {LIMIT:g}")
    return rival.difference <= LIMIT


def pyfunc(folder: Path) -> Path:
    """The fitted pipeline as MLflow's scikit-learn flavour keeps it."""
    code = (
        "import sys, joblib, mlflow; mlflow.sklearn.save_model(joblib.load('models/model.joblib'), sys.argv[1], "
        "serialization_format='cloudpickle', pyfunc_predict_fn='predict_proba', pip_requirements=[])"
    )
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment.for_programs(ROOT), check=True, capture_output=True)
    return folder


def prepared() -> Path:
    """The bento of the model as things are: what the pipeline gives, packaged."""
    for words in (["dvc", "repro"], ["slipway", "package"]):
        with talk.status(f"{' '.join(words)} …"):
            done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, env=environment.for_programs(ROOT),
                                  capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
    return ROOT / str(files.read_json(ROOT / "reports/package.json")["notes"]["path"])


def scaling(bento: Path, scratch: Path, golden: Rows) -> dict[str, float]:
    """Batches a second at 8 connections by one and by two workers, nothing pinned: the client takes its share too."""
    found = {}
    for workers in (1, 2):
        rival = next(each for each in rivals(bento, scratch) if each.name == "slipway")
        rival.command = [*rival.command, "--workers", str(workers)] if workers > 1 else rival.command
        rival.name = f"workers-{workers}"
        start(rival, scratch, golden, core=None)
        cells = [visit(rival.port, rival.requests(golden, 100), connections=8, seconds=1.0) for _ in range(3)]
        end(rival)
        found[str(workers)] = statistics.median(cell["rps"] for cell in cells)
    return found


def run(starts: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure everything; one record."""
    bento, found = prepared(), json.loads((ROOT / "models/golden.json").read_text("utf-8"))
    golden, wanted = [each["row"] for each in found], [each["prediction"] for each in found]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slipway-serving-")))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        everybody = rivals(bento, pyfunc(scratch / "pyfunc"))
        for number in range(starts):
            for rival in everybody if number % 2 == 0 else reversed(everybody):
                with talk.status(f"start {number + 1}: {rival.label}"):
                    rival.ready.append(start(rival, scratch, golden))
                    end(rival)
        taking = []
        for rival in everybody:
            start(rival, scratch, golden)
            stack.callback(end, rival)
            if checked(rival, golden, wanted):
                taking.append(rival)
            signalled(rival, signal.SIGSTOP)
        loops = []
        for number in range(rounds):
            for rival in [*taking, *reversed(taking)]:
                with talk.status(f"round {number + 1}: {rival.label}"):
                    measured(rival, golden, seconds)
            with pinned(0):
                loops.append(raw(ROOT / "models", golden))
        for rival in taking:
            signalled(rival, signal.SIGCONT)
            rival.memory = pss(rival)
            end(rival)
        workers = scaling(bento, scratch, golden)
    return {
        "machine": machine(), "raw": min(loops, key=lambda loop: loop["whole"]), "workers": workers,
        "rivals": [_record(rival) for rival in taking],
    }  # fmt: skip


def _record(rival: Rival) -> dict[str, Any]:
    count, size = closure(rival.packages)
    visits = [{k: round(v, 4) if isinstance(v, float) else v for k, v in each.items()} for each in rival.visits]
    return {
        "name": rival.name, "label": rival.label, "ready": [round(s, 3) for s in rival.ready],
        "memory": round(rival.memory, 1), "packages": count, "bytes": size, "difference": rival.difference,
        "visits": visits,
    }  # fmt: skip


def shown(record: dict[str, Any]) -> None:
    """Requests a second and p99 of every cell, in the middle of the visits."""
    for rows in ROWS:
        table = Table(
            f"{rows} row{'s' * (rows > 1)} a request", *(f"{c} connection{'s' * (c > 1)}" for c in CONNECTIONS)
        )
        for rival in record["rivals"]:
            cells = [(middle(rival, "rps", rows, c), middle(rival, "p99", rows, c)) for c in CONNECTIONS]
            table.add_row(rival["name"], *(f"{rps:,.0f}/s, {p99:.1f} ms" for rps, p99 in cells))
        Console(highlight=False).print(table)


def main(brief: bool) -> None:
    began = time.monotonic()
    records = [run(1, 1, 0.4)] if brief else [run(STARTS, ROUNDS, SECONDS) for _ in range(RUNS)]
    runs = [figures(record) for record in records]
    shown(records[-1])
    if not brief:
        files.write_json(RECORD, records[-1] | {"runs": runs})
    closing("serving", limits(runs), time.monotonic() - began)


if __name__ == "__main__":
    guarded(lambda: main("--brief" in sys.argv))
