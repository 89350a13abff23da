"""Where the seconds go: each stage of the pipeline, a cold and a warm `dvc repro`, the loop, a pull request's verdict.

    make bench NAME=cost                      all of it, under three minutes
    make bench NAME=cost ARGS=repro           without the loop

Every Python of DVC and of the project that is started here counts its own time (dev/benchmarks/cost_trace.py). The record is
dev/figures/cost.json. From a merge to staging, on a cluster: `make bench NAME=delivery` and docs/reference/delivery-figures.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from serving_figures import machine

from pipeline import ROOT, scratch, talk
from slipway.core import environment, files

RECORD = ROOT / "dev/figures/cost.json"
KINDS = ("start", "import", "read", "compute", "write")
STAGES = ("ingest", "features", "train", "export", "evaluate")
REVIEW = ("prove", "repro", "judge", "manifests", "latency", "report")
STEP = re.compile(r"^  (\w+) +(.*?) ([\d.]+) s(?: (pass|fail|unsure))?\s*$")
Line = dict[str, Any]


def traced(command: Sequence[str], folder: Path, *, root: Path | None = None) -> tuple[float, list[Line], str]:
    """Run a program: its seconds, a line for every Python of DVC and of the project in it, and what it said."""
    with tempfile.TemporaryDirectory(prefix="slipway-cost-") as name:
        kept = Path(name)
        shutil.copy(Path(__file__).with_name("cost_trace.py"), kept / "sitecustomize.py")
        env = environment.for_programs(root or folder, SLIPWAY_COST=name)
        env["PYTHONPATH"] += os.pathsep + name
        started = time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        seconds = time.perf_counter() - started
        assert done.returncode == 0, done.stdout[-3000:]
        return seconds, [json.loads(path.read_text("utf-8")) for path in kept.glob("*.json")], done.stdout


def row(name: str, lines: Iterable[Line]) -> dict[str, Any]:
    """One row of a table: the sums of some processes."""
    found = list(lines)
    sums = {kind: round(sum(line.get(kind, 0.0) for line in found), 3) for kind in KINDS}
    return {"name": name, "processes": len(found), **sums, "seconds": round(sum(sums.values()), 3)}


def repro(name: str, seconds: float, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The stages, DVC itself, and the whole: what no process counted is between them, and theirs to end."""
    rows = [row(stage, (one for one in lines if one["words"] == ["slipway", stage])) for stage in STAGES]
    rows = [each for each in rows if each["processes"]]
    stages = sum(each["seconds"] for each in rows)
    dvc = row("DVC", (one for one in lines if one["words"][0] == "dvc"))
    dvc["compute"] = round(max(0.0, dvc["seconds"] - dvc["start"] - dvc["import"] - stages), 3)  # it waits for them
    dvc |= {"read": 0.0, "write": 0.0}
    dvc["seconds"] = round(sum(dvc[kind] for kind in KINDS), 3)
    rest = round(seconds - stages - dvc["seconds"], 3)
    whole = {kind: round(sum(each[kind] for each in (*rows, dvc)), 3) for kind in KINDS}
    return [
        *rows,
        dvc,
        {"name": "ends of processes", "processes": 0, **dict.fromkeys(KINDS, 0.0), "seconds": rest},
        {"name": name, "processes": len(lines), **whole, "seconds": round(seconds, 3)},
    ]


def pipeline() -> dict[str, Any]:
    """A cold `dvc repro`, the faster of two, and one with nothing to do, the fastest of three."""
    command, found = [sys.executable, "-m", "dvc", "repro"], []
    for _ in range(2):
        with scratch() as folder:
            found.append(traced(command, folder))
            warm = [traced(command, folder) for _ in range(3)]
    cold, idle = (min(runs, key=lambda one: one[0]) for runs in (found, warm))
    return {"cold": repro("cold dvc repro", *cold[:2]), "warm": repro("warm dvc repro", *idle[:2])}


def loop() -> dict[str, Any]:
    """The loop on this machine: its steps as it tells them, its processes by verb, and the parts of its last review."""
    seconds, lines, said = traced([sys.executable, "-m", "slipway", "loop"], ROOT)
    words = sorted({" ".join(line["words"][:2]) for line in lines if line["words"] != ["slipway", "loop"]})
    verbs = [row(word, (line for line in lines if " ".join(line["words"][:2]) == word)) for word in words]
    return {"steps": steps(said), "seconds": round(seconds, 1), "verbs": verbs, "review": review()}


def steps(said: str) -> list[dict[str, Any]]:
    """Act, chapter and seconds of every step that the loop told."""
    found, act = [], ""
    for line in said.splitlines():
        if step := STEP.match(line):
            found.append({"act": act, "chapter": step[1], "seconds": float(step[3])})
        elif re.match(r"(Prepare|\d · )", line):
            act = line.strip()
    return found


def review() -> list[dict[str, Any]]:
    """The parts of the loop's last pull request's verdict, of their records; `prove` waits for those beside it."""
    reports = environment.cache_home(ROOT) / "loop" / "work" / "reports"
    paths = [(name, reports / f"{name}.json") for name in REVIEW]
    return [{"name": name, "seconds": files.read_json(path)["seconds"]} for name, path in paths if path.exists()]


def shown(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table on stdout."""
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if number == 0 or isinstance(rows[0][name], str) else "right")
    for each in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in each.values()))
    Console(highlight=False).print(table)


def main(wanted: list[str]) -> None:
    parts = {"repro": pipeline, "loop": loop}
    if unknown := set(wanted) - set(parts):
        raise SystemExit(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    found: dict[str, Any] = {}
    for name in wanted or parts:
        with talk.status(f"{name} …"):
            found |= parts[name]()
    for name, title in (("cold", "A cold dvc repro, seconds"), ("warm", "A warm one"), ("steps", "The loop's steps"),
                        ("verbs", "The loop's processes, by what they run"), ("review", "A pull request's verdict")):  # fmt: skip
        if found.get(name):
            shown(title, found[name])
    if not wanted:
        files.write_json(RECORD, {"machine": machine()} | found)
    talk.print("record: dev/figures/cost.json, of all parts; from merge to staging: docs/reference/delivery-figures.md")


if __name__ == "__main__":
    main(sys.argv[1:])
