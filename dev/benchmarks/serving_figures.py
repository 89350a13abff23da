"""Figures next to the requests: the machine, what a rival's packages weigh, the bare cost of a batch, and the limits."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import orjson
from packaging.requirements import Requirement

from pipeline import at_most
from slipway.core.verdict import Check

Record = dict[str, Any]


def machine() -> dict[str, Any]:
    """The machine of the run."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    names = (
        "bentoml",
        "fastapi",
        "mlflow",
        "onnxruntime",
        "pydantic",
        "scikit-learn",
        "starlette",
        "uvicorn",
        "uvloop",
    )
    return {
        "cpu": model, "cores": len(os.sched_getaffinity(0)), "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in names},
    }  # fmt: skip


def closure(roots: Sequence[str]) -> tuple[int, int]:
    """The number of packages that these need, and the bytes of their files as installed here."""
    waiting, seen = [Requirement(root) for root in roots], dict[str, int]()
    done = set[tuple[str, frozenset[str]]]()
    while waiting:
        wanted = waiting.pop()
        name, extras = wanted.name.lower().replace("_", "-"), frozenset(wanted.extras)
        if (name, extras) in done:
            continue
        done.add((name, extras))
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # asked for only elsewhere, or an extra that nobody installed
        seen[name] = sum(_size(found, file) for file in found.files or ())
        for text in found.requires or ():
            each = Requirement(text)
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
                waiting.append(each)
    return len(seen), sum(seen.values())


def _size(found: importlib.metadata.Distribution, file: Any) -> int:
    path = Path(str(found.locate_file(file)))
    return path.stat().st_size if path.suffix != ".pyc" and path.exists() else 0


def raw(models: Path, golden: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Microseconds of a hundred rows in one process, no HTTP, no checks: JSON, arrays, ONNX Runtime; the best of five."""
    contract = orjson.loads((models / "contract.json").read_bytes())
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(models / "model.onnx", options, providers=["CPUExecutionProvider"])
    body = orjson.dumps([golden[number % len(golden)] for number in range(100)])

    def arrays(rows: list[dict[str, Any]]) -> dict[str, Any]:
        texts = np.array([[row[name] or "" for name in contract["categories"]] for row in rows], dtype=object)
        numbers = np.array([[row[name] for name in contract["numbers"]] for row in rows], dtype=np.float32)
        return {"categories": texts, "numbers": numbers}

    def whole() -> None:
        session.run(["prediction"], arrays(orjson.loads(body)))

    ready = arrays(orjson.loads(body))
    parts = {"parse": lambda: orjson.loads(body), "run": lambda: session.run(["prediction"], ready), "whole": whole}
    return {name: round(1e6 * _best(work), 2) for name, work in parts.items()}


def _best(work: Any, times: int = 400) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter() - began) / times)
    return best


def middle(rival: Record, what: str, rows: int, connections: int) -> float:
    """The median over the visits of one cell."""
    return statistics.median(cell[what] for cell in visits(rival, rows, connections))


def visits(rival: Record, rows: int, connections: int) -> list[Record]:
    return [cell for cell in rival["visits"] if (cell["rows"], cell["connections"]) == (rows, connections)]


def ratios(rival: Record, other: Record, what: str, rows: int, connections: int) -> list[float]:
    """One to the other, visit by visit: they took turns."""
    pairs = zip(visits(rival, rows, connections), visits(other, rows, connections), strict=True)
    return [one[what] / two[what] for one, two in pairs]


def at_least(name: str, value: float, limit: float) -> Check:
    return Check(name=name, value=round(value, 4), limit=f"≥ {limit:g}", ok=value >= limit)


LIMITS: dict[str, Callable[[str, float], Check]] = {
    "requests/s at 8 connections ÷ FastAPI + ONNX Runtime": lambda name, value: at_least(name, value, 2),
    "requests/s at 8 connections ÷ FastAPI + scikit-learn": lambda name, value: at_least(name, value, 40),
    "p99 at 8 connections ÷ empty endpoint": lambda name, value: at_most(name, value, 3),
    "start to ready ÷ FastAPI + ONNX Runtime": lambda name, value: at_most(name, value, 1.6),
    "rows/s in batches of 100 ÷ JSON, arrays and ONNX Runtime in a loop": lambda name, value: at_least(
        name, value, 0.8
    ),
    "memory over FastAPI + ONNX Runtime": lambda name, value: at_most(name, value, 60, " MB"),
    "errors of ours": lambda name, value: at_most(name, value, 0),
}
"""The service's figures, each with its limit."""


def figures(record: Record) -> dict[str, float]:
    """The service's figures in one run, by name."""
    by = {rival["name"]: rival for rival in record["rivals"]}
    ours, fast = by["slipway"], by["fastapi"]

    def against(name: str, what: str = "rps") -> float:
        return statistics.median(ratios(ours, by[name], what, 1, 8))

    start = statistics.median(ours["ready"]) / statistics.median(fast["ready"])
    values = (
        against("fastapi"), against("sklearn"), against("empty", "p99"), start,
        record["raw"]["whole"] * middle(ours, "rps", 100, 8) / 1e6, ours["memory"] - fast["memory"],
        sum(cell["errors"] for cell in ours["visits"]),
    )  # fmt: skip
    return dict(zip(LIMITS, values, strict=True))


def limits(runs: Sequence[Mapping[str, float]]) -> list[Check]:
    """The checks of the figures' medians over whole runs."""
    return [check(name, statistics.median(run[name] for run in runs)) for name, check in LIMITS.items()]
