"""CPU and memory of `slipway monitor` on a log of a million rows: `python dev/benchmarks/monitor.py [ROWS]`.

The rows are of the flights contract and of 17 weeks, with labels. The same log is read as JSON lines and as parquet.
Run it in a finished project: the rows are made from `reports/plots`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from slipway import problem
from slipway.core import config

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/machinery"))
from support import prediction_logs  # noqa: E402 - the path comes first

ROWS, DAYS, FILES = 1_000_000, 119, 16


def write_logs(spec: problem.Problem, count: int, scratch: Path) -> dict[str, Path]:
    """Write the same rows as JSON lines and as parquet, each with its labels; return the folders."""
    frame = prediction_logs.rows(Path(), spec, count=count, days=DAYS)
    labels = prediction_logs.labels(frame, "label").filter(pl.col("known_at") <= prediction_logs.END)
    folders = {"JSON lines": scratch / "lines", "parquet": scratch / "parquet"}
    prediction_logs.write(folders["JSON lines"], spec, frame, files=FILES)
    place = folders["parquet"] / "predictions"
    place.mkdir(parents=True)
    for number, path in enumerate(sorted((folders["JSON lines"] / "predictions").glob("*.jsonl"))):
        size = -(-count // FILES)
        piece = frame[number * size : (number + 1) * size].drop("label")
        piece.write_parquet(place / f"{path.stem}.parquet", compression="zstd")
    for folder in folders.values():
        (folder / "labels").mkdir()
        labels.write_parquet(folder / "labels/0.parquet")
    return folders


def measure(folder: Path) -> tuple[int, float, float]:
    """Return the exit code, the seconds of CPU and the peak of memory in GB of one `slipway monitor`."""
    command = [
        sys.executable,
        "-m",
        "slipway",
        "monitor",
        "--log",
        str(folder),
        "--until",
        prediction_logs.END.isoformat(),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    return running.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    spec = problem.load(config.load().problem)
    scratch = Path(tempfile.mkdtemp(prefix="monitor-", dir=".slipway"))
    try:
        for name, folder in write_logs(spec, count, scratch).items():
            size = sum(path.stat().st_size for path in (folder / "predictions").iterdir()) / 1e6
            code, cpu, memory = measure(folder)
            print(f"{count:,} rows as {name} ({size:,.0f} MB): {cpu:.1f} s CPU, {memory:.2f} GB, exit code {code}")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
