"""The pipeline's figures, each measured within one run; a limit that is missed ends in exit code 4.

    make bench                       all of them, about three minutes
    make bench ARGS="auc judge"      only these

The record is .slipway/bench-pipeline.json; ratios travel between machines, seconds do not.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from slipway import problem
from slipway.core import config, environment, files
from slipway.core.verdict import Check, Verdict
from slipway.errors import CheckFailed
from slipway.judging import judge
from slipway.pipeline import export, features, ingest, metrics, parity, train
from slipway.serving.onnx_model import Model

ROOT = Path(__file__).resolve().parents[2]
YEAR_END = date(2014, 1, 1)
talk = Console(stderr=True, highlight=False)


def at_most(name: str, value: float, limit: float | None, unit: str = "") -> Check:
    shown = "stated" if limit is None else f"≤ {limit:g}{unit}"
    return Check(name=name, value=round(value, 4), limit=shown, ok=limit is None or value <= limit)


@contextmanager
def scratch() -> Iterator[Path]:
    """A copy of what the pipeline reads: no data, no models, no cache."""
    home = environment.cache_home(ROOT)
    home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="bench-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "requirements", folder / "requirements")
        for file in ("params.yaml", "dvc.yaml", ".dvcignore", "Makefile"):
            shutil.copy(ROOT / file, folder / file)
        for made in (".dvc", "models", "reports"):
            (folder / made).mkdir()
        shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        yield folder


def seconds(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment.for_programs(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return time.perf_counter() - started


def cold() -> list[Check]:
    """Cold `dvc repro` against the straight script, A-B-B-A, the faster of two each."""
    commands = {
        "straight": [sys.executable, str(ROOT / "dev/benchmarks/straight.py")],
        "dvc": [sys.executable, "-m", "dvc", "repro"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for name in ("straight", "dvc", "dvc", "straight"):
        with scratch() as folder:
            taken[name].append(seconds(commands[name], folder))
    best = {name: min(values) for name, values in taken.items()}
    return [
        at_most("cold dvc repro ÷ one straight script", best["dvc"] / best["straight"], 1.3),
        at_most("cold dvc repro, seconds", best["dvc"], None),
        at_most("one straight script, seconds", best["straight"], None),
    ]


def installed(folder: Path) -> None:
    """This environment in `folder`, as if `make setup` had made it there."""
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != "ready":
            (folder / ".venv" / part.name).symlink_to(part)
    shutil.copy(folder / "requirements/dev.lock", folder / ".venv/ready")


def noop() -> list[Check]:
    """`make repro` with nothing to do against bare `dvc repro`, five times in turn, medians."""
    with scratch() as folder:
        installed(folder)
        seconds([sys.executable, "-m", "dvc", "repro"], folder)
        bare, verb = [], []
        for _ in range(5):
            bare.append(seconds([sys.executable, "-m", "dvc", "repro"], folder))
            verb.append(seconds(["make", "repro"], folder))
    middle = float(np.median(bare))
    return [
        at_most("no-op make repro ÷ bare dvc repro", float(np.median(verb)) / middle, 1.2),
        at_most("no-op bare dvc repro, seconds", middle, None),
    ]


def year() -> tuple[config.Params, pl.DataFrame]:
    """Params and table of all days there are."""
    params = config.load(ROOT / "params.yaml")
    params = params.model_copy(update={"data": config.Data(until=YEAR_END, test_days=92)})
    return params, ingest.build_table(problem.load(params.problem), params)[0]


def build() -> list[Check]:
    """The feature build over all rows, in a process of its own so that its peak of memory is its own."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "table.parquet"
        ingest.write_parquet(year()[1], path)
        done = subprocess.run(
            [sys.executable, __file__, "--features", str(path)],
            env=environment.for_programs(ROOT),
            capture_output=True,
            check=True,
        )
    found = json.loads(done.stdout)
    return [
        at_most(f"features of {found['rows']:,} rows, seconds", found["seconds"], 1.5),
        at_most("its peak memory, GB", found["gb"], 1.0),
    ]


def build_here(path: Path) -> None:
    """Three builds, the fastest; the peak is of the whole process: imports, table, frame and check."""
    spec, table = problem.load(config.load(ROOT / "params.yaml").problem), ingest.read_parquet(path)
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        frame = features.build_features(spec, table)
        taken.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"rows": len(frame), "seconds": min(taken), "gb": peak / 1e9}))


def verdict_time(rows: int = 80_000, days: int = 92) -> list[Check]:
    """The judge on synthetic rows with slices as the flights have them; two models of about equal worth."""
    params = config.load(ROOT / "params.yaml")
    rng = np.random.default_rng(params.seed)
    frame = pl.DataFrame({"row_id": np.arange(rows).astype(str), "offset": rng.integers(0, days, rows)}).select(
        "row_id",
        day=pl.lit(YEAR_END) - pl.duration(days="offset"),
        carrier=pl.Series(rng.integers(0, 16, rows)).cast(pl.String),
        origin=pl.Series(rng.integers(0, 3, rows)).cast(pl.String),
        month=pl.Series(rng.integers(0, 3, rows)).cast(pl.String),
        target=pl.Series((rng.random(rows) < 0.2).astype(float)),
        loss=pl.Series(rng.exponential(0.4, rows)),
    )
    other = frame.with_columns(loss=pl.col("loss") + pl.Series(rng.normal(0, 0.05, rows)))
    limits = params.judge.model_copy(update={"resamples": 2000})
    slices = ("carrier", "origin", "month")
    started = time.perf_counter()
    both, _ = judge.join(frame, other)
    judge.compare(both, limits=limits, slices=slices, seed=params.seed, against="champion", metric="log_loss")
    return [at_most(f"judge on {rows:,} rows, 2,000 resamples, seconds", time.perf_counter() - started, 2.0)]


def auc() -> list[Check]:
    """The model's AUC: on the default windows, on the year's last quarter, and on a random split, which flatters."""
    params, table = year()
    spec = problem.load(params.problem)
    frame = features.build_features(spec, table)
    default = config.load(ROOT / "params.yaml")
    quarter = frame.filter(~pl.col("day").is_between(date(2013, 9, 1), date(2013, 9, 30)))  # train ends with August
    found = {
        f"test AUC, default windows (test {default.data.test_from} to {default.data.until})": (
            fit(frame, default, spec),
            None,
        ),
        "test AUC, train to August, test October to December": (fit(quarter, params, spec), 0.715),
        "contrast: AUC of a random split, which flatters": (fit(shuffled(frame, params), params, spec), None),
    }
    return [
        Check(
            name=name,
            value=round(value, 4),
            limit="stated" if floor is None else f"≥ {floor}",
            ok=value >= (floor or 0),
        )
        for name, (value, floor) in found.items()
    ]


def parity_time() -> list[Check]:
    """What `export` pays for comparing the rows that the contract allows: to make them, and to ask both models."""
    params = config.load(ROOT / "params.yaml")
    spec = problem.load(params.problem)
    frame = features.build_features(spec, ingest.build_table(spec, params)[0])
    windows = [train.rows_of_window(frame, params.data, which) for which in ("train", "test")]
    pipeline = train.fit(frame, params, spec)
    scikit_learn = functools.partial(export.scikit_learn_predictions, pipeline, spec=spec)
    with tempfile.TemporaryDirectory(prefix="slipway-parity-") as folder:
        predictions = scikit_learn(windows[1]).astype(np.float32)
        files.write_json(Path(folder, "contract.json"), export.describe_contract(spec, params, windows[0], predictions))
        Path(folder, "model.onnx").write_bytes(export.to_graph(pipeline, spec).SerializeToString())
        model = Model(Path(folder))
        started = time.perf_counter()
        rows = parity.rows_of_contract(spec.inputs, *windows)
        parity.compare(rows, scikit_learn, model.frame, params.export.tolerance)
        taken = time.perf_counter() - started
    return [at_most(f"export's comparison of {len(rows):,} generated rows, seconds", taken, 1.0)]


def fit(frame: pl.DataFrame, params: config.Params, spec: problem.Problem) -> float:
    pipeline = train.fit(frame, params, spec)
    test = train.rows_of_window(frame, params.data, "test")
    return metrics.auc(test[spec.target].to_numpy(), export.scikit_learn_predictions(pipeline, test, spec))


def shuffled(frame: pl.DataFrame, params: config.Params) -> pl.DataFrame:
    """The same rows with their days dealt out anew: the windows become a random split of the same sizes."""
    return frame.with_columns(pl.col("day").shuffle(seed=params.seed))


FIGURES: dict[str, Callable[[], list[Check]]] = {
    "cold": cold, "noop": noop, "features": build, "judge": verdict_time, "auc": auc,
    "parity": parity_time,
}  # fmt: skip


def closing(name: str, checks: list[Check], seconds: float) -> None:
    """The table, the record in .slipway/bench-NAME.json, and Refused when a limit is missed."""
    table = Table("figure", "value", "limit", "")
    for check in checks:
        table.add_row(check.name, f"{check.value:g}", check.limit, "ok" if check.ok else "[red]missed[/red]")
    Console(highlight=False).print(table)
    machine = {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
    verdict = Verdict(chapter="bench", checks=checks, seconds=seconds, notes=machine)
    verdict.write(environment.cache_home(ROOT) / f"bench-{name}.json")
    talk.print(f"{machine['cores']} cores, Python {machine['python']}; record: .slipway/bench-{name}.json")
    verdict.enforce()


def main(wanted: list[str]) -> None:
    if unknown := set(wanted) - set(FIGURES):
        raise SystemExit(f"no figure is called {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    checks: list[Check] = []
    started = time.monotonic()
    for name in wanted or FIGURES:
        with talk.status(f"{name} …"):
            checks += FIGURES[name]()
    closing("pipeline", checks, time.monotonic() - started)


def guarded(work: Callable[[], None]) -> None:
    """Run a benchmark; a missed limit ends in its sentence and exit code 4."""
    try:
        work()
    except CheckFailed as refused:
        talk.print(f"[red]error[/red] {refused}", soft_wrap=True)
        sys.exit(refused.code)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--features"]:
        build_here(Path(sys.argv[2]))
    else:
        guarded(lambda: main(sys.argv[1:]))
