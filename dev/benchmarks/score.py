"""`slipway score` against ONNX Runtime alone, in one run; a limit that is missed ends in exit code 4.

    make bench NAME=score      less than a minute

The rows are those of data/features.parquet, repeated. ONNX Runtime alone has its arrays ready in memory and runs over the
same chunks, one after the other, on one thread; `score` reads, checks, encodes, predicts and writes. The faster of two
runs each, in the order A-B-C-C-B-A. The record is dev/figures/score.json.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import polars as pl
from serving_figures import at_least, machine

from pipeline import ROOT, at_most, closing, guarded, talk
from slipway.core import environment, files
from slipway.core.verdict import Check
from slipway.pipeline import features
from slipway.serving import parquet_chunks, score
from slipway.serving.onnx_model import Model
from slipway.serving.parquet_chunks import ChunkValidator

ROWS = 1_000_000
TIMES = 3
"""Factor by which the second file is larger, on which memory is measured again."""
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def made(folder: Path, rows: int) -> Path:
    """At least so many rows in row groups of a usual size."""
    frame = pl.read_parquet(ROOT / features.FRAME)
    path = folder / f"{rows}.parquet"
    pl.concat([frame] * -(-rows // len(frame))).write_parquet(path, row_group_size=122_880)
    return path


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def speed(given: Path, out: Path) -> list[Check]:
    """Rows a second of the graph alone, of `score` with one worker, and of `score` as it is."""
    source, model = parquet_chunks.open_source(given), Model(ROOT / "models")
    gate = ChunkValidator(model)
    ready = [gate.arrays(gate.frame(chunk)) for chunk in parquet_chunks.read_chunks(source)]
    doings: dict[str, Callable[[], object]] = {
        "raw": lambda: [model.predict(*arrays) for arrays in ready],
        "one": lambda: score.run(given, out, overwrite=True, folder=ROOT / "models", workers=1),
        "all": lambda: score.run(given, out, overwrite=True, folder=ROOT / "models"),
    }
    taken: dict[str, list[float]] = {name: [] for name in doings}
    for name in [*doings, *reversed(doings)]:
        taken[name].append(seconds(doings[name]))
    rate = {name: source.rows / min(each) for name, each in taken.items()}
    workers = score.usable_cores()
    return [
        at_least("score with one worker ÷ ONNX Runtime alone", rate["one"] / rate["raw"], 0.8),
        at_least(f"score as it is ({workers} workers) ÷ ONNX Runtime alone", rate["all"] / rate["raw"], 0.8),
        at_most("rows", source.rows, None),
        at_most("ONNX Runtime alone, rows/s", round(rate["raw"]), None),
        at_most("score with one worker, rows/s", round(rate["one"]), None),
        at_most("score as it is, rows/s", round(rate["all"]), None),
    ]


def peak_mb(given: Path, out: Path) -> float:
    """The most memory that a process of its own takes, everything it imports included."""
    code = (
        "import sys; from pathlib import Path; from slipway.serving import score;"
        "score.run(Path(sys.argv[1]), Path(sys.argv[2]), overwrite=True);"
        "print(Path('/proc/self/status').read_text())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(given), str(out)],
        cwd=ROOT, env=environment.for_programs(ROOT), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return int(PEAK.findall(done.stdout)[0]) / 1024


def memory(given: Path, larger: Path, out: Path) -> list[Check]:
    """The peak on `given`, and how much more it is on a larger file."""
    first, second = peak_mb(given, out), peak_mb(larger, out)
    return [
        at_most("peak memory, MB", round(first), None),
        at_most(f"peak memory on {TIMES} × the rows ÷ that", second / first, 1.1),
    ]


def main() -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-score-") as name:
        given, larger, out = made(Path(name), ROWS), made(Path(name), ROWS * TIMES), Path(name) / "out.parquet"
        with talk.status("speed …"):
            checks = speed(given, out)
        with talk.status("memory …"):
            checks += memory(given, larger, out)
        files.write_json(
            ROOT / "dev/figures/score.json", {"machine": machine(), "checks": [asdict(each) for each in checks]}
        )
        closing("score", checks, time.monotonic() - started)


if __name__ == "__main__":
    guarded(main)
