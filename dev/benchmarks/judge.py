"""The judge's error rates on real flights: how often it refuses an equal model, and passes one that is worse.

    make bench NAME=judge                    all of it, about six minutes on two cores
    python dev/benchmarks/judge.py --page        only dev/docs/judge.md and its picture anew, from dev/figures/judge.json

Models are trained once and predict once; a trial is the real `judge.compare` on a window of their losses.
It measures and judges nothing: a target that is missed stands in the page as missed, with the days it would take.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import lru_cache
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from judge_rates import HELD, KINDS, SWAPPED, Floats, dose_for, summary, swapped, windows, worse
from rich.console import Console

from slipway import problem
from slipway.core import config, environment, files
from slipway.core.verdict import Verdict
from slipway.judging import judge
from slipway.pipeline import export, features, ingest, metrics, train

ROOT = Path(__file__).resolve().parents[2]

STATED = 0.008
"""The effect that matters, in mean log loss; dev/docs/judge.md says why. It was stated before power was known."""
EFFECTS = (0.001, 0.003, 0.0045, 0.006, STATED, 0.012, 0.02)
DAYS = (7, 14, 21, 30, 60, 90)
CUTS = (date(2013, 6, 1), date(2013, 7, 1), date(2013, 9, 1), date(2013, 10, 1))
"""Models are trained on the days before, and judged on windows of the `HELD` days from there on."""
SEEDS, DRAWS = 4, 12
"""Models that differ in their seed alone, and models of which each knows another nine tenths of the days."""
RESAMPLES = 500
"""Instead of the 2,000 of params.yaml; main() counts how often that changes a verdict."""
OPERATIONS = ("departed", "delay", "delay_carrier", "delay_city", "late_share", "waiting")
REAL = {
    "one month more of data": ("seed0", "older"),
    "one month less of data": ("older", "seed0"),
    "40 trees instead of 150": ("short", "seed1"),
    "nothing known of the last two hours": ("blind", "seed1"),
}
"""Changes as people make them: challenger and champion."""
talk = Console(stderr=True, highlight=False)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One challenger against one champion on all windows of a cut-off; `pair` numbers what is independent."""

    cut: int
    pair: str
    challenger: str
    champion: str
    kind: str
    effect: float = 0.0
    dose: float = 0.0
    resamples: int = RESAMPLES


def params_for(cut: date) -> config.Params:
    params = config.load(ROOT / "params.yaml")
    return params.model_copy(update={"data": config.Data(until=cut + timedelta(days=HELD), test_days=HELD)})


def variants() -> list[str]:
    return [*(f"seed{n}" for n in range(SEEDS)), *(f"days{n}" for n in range(DRAWS)), "older", "short", "blind"]


def predict(frame: pl.DataFrame, cut: date, name: str) -> Floats:
    """Train the variant `name` on the days before `cut`; its predictions of the days after, in their order."""
    params, spec = params_for(cut), problem.load("flights")
    number = int("0" + name.lstrip("abcdefghijklmnopqrstuvwxyz"))
    options = {key: dict(value) for key, value in params.train.estimators.items()}
    known = frame["day"].unique().sort()
    known = known.filter(known < cut)
    if name.startswith("days"):
        known = known.sample(fraction=0.9, seed=number)
    elif name == "older":
        known = known.filter(known < cut - timedelta(days=30))
    elif name == "short":
        options["boosting"]["max_iter"] = 40
    elif name == "blind":
        frame = frame.with_columns(pl.lit(0.0, dtype=pl.Float32).alias(column) for column in OPERATIONS)
    chosen = config.Train(estimator="boosting", estimators=options)
    params = params.model_copy(update={"seed": number, "train": chosen})
    pipeline = train.fit(frame.filter((pl.col("day") >= cut) | pl.col("day").is_in(known.implode())), params, spec)
    return export.scikit_learn_predictions(pipeline, train.rows_of_window(frame, params.data, "test"), spec)


@lru_cache(maxsize=len(CUTS))
def held(folder: Path, cut: int) -> pl.DataFrame:
    """The judged rows of a cut-off without predictions; `at` counts days from the cut-off."""
    frame = train.rows_of_window(ingest.read_parquet(folder / "frame.parquet"), params_for(CUTS[cut]).data, "test")
    at = (pl.col("day") - CUTS[cut]).dt.total_days()
    return frame.select("row_id", "day", "carrier", "origin", "month", target=pl.col("late").cast(pl.Float64), at=at)


def predicted(folder: Path, cut: int, name: str) -> Floats:
    return np.asarray(np.load(folder / f"{cut}-{name}.npy"))


def seed_of(cut: int, pair: str) -> list[int]:
    return [cut, int("0" + pair.lstrip("abcdefghijklmnopqrstuvwxyz "))]


def trials(folder: Path, job: Job) -> list[dict[str, Any]]:
    """A record for each window: the verdict's word and what it came from."""
    rows, params = held(folder, job.cut), params_for(CUTS[job.cut])
    limits = params.judge.model_copy(update={"resamples": job.resamples})
    seed, other = seed_of(job.cut, job.pair), predicted(folder, job.cut, job.champion)
    p = worse(job.kind, predicted(folder, job.cut, job.challenger), job.dose, seed)
    if job.kind == SWAPPED:
        p, other = swapped(p, other, rows["at"].to_numpy(), seed)
    target = rows["target"].to_numpy()
    loss, reference = metrics.row_losses("binary", target, p), metrics.row_losses("binary", target, other)
    rows = rows.with_columns(prediction=pl.Series(p), difference=pl.Series(loss - reference))
    found = []
    for days in DAYS:
        for first, end in windows(days):
            part = rows.filter(pl.col("at").is_between(first, end, closed="left"))
            found.append(asdict(job) | {"days": days, "window": first} | judged(part, limits, params.seed))
    return found


def judged(rows: pl.DataFrame, limits: config.Judge, seed: int) -> dict[str, Any]:
    """The real verdict on paired rows, with the floors, and the numbers that other margins would look at."""
    slices = problem.load("flights").slices
    checks, table, _ = judge.compare(
        rows, limits=limits, slices=slices, seed=seed, against="champion", metric="log_loss"
    )
    target, prediction = rows["target"].to_numpy(), rows["prediction"].to_numpy()
    known = metrics.metrics_for("binary")
    measured = {name: known[name](target, prediction, None) for name in limits.floors}
    floors = judge.floors(measured, limits.floors, enough=judge.sufficient(checks))
    overall = next((check for check in checks if check.name == "log_loss vs champion"), None)
    broken = [check.name for check in checks if check.ok is False and ", " in check.name]
    surely = [row["difference"] for row in table if row["low"] > 0]
    return {
        "word": Verdict(chapter="judge", checks=[*checks, *floors]).word,
        "value": overall and overall.value, "low": overall and overall.low, "high": overall and overall.high,
        "whole": overall is None or bool(overall.ok), "floor": not any(check.ok is False for check in floors),
        "slice": max(surely, default=-1.0), "slices": len(table), "broken": broken[0].split(", ")[1] if broken else "",
    }  # fmt: skip


def jobs(folder: Path) -> list[Job]:
    """Every comparison: equal pairs in both orders, each kind at each effect, and the real changes."""
    found = []
    for cut in range(len(CUTS)):
        for kind, count, name in (
            ("other seed", SEEDS, "seed"),
            ("other days", DRAWS, "days"),
            (SWAPPED, DRAWS, "days"),
        ):
            for n in range(count):
                found.append(Job(cut=cut, pair=f"{name}{n // 2}", challenger=f"{name}{n}", champion=f"{name}{n ^ 1}",
                                 kind=kind))  # fmt: skip
        for kind, (challenger, champion) in REAL.items():
            found.append(Job(cut=cut, pair="real", challenger=challenger, champion=champion, kind=kind))
    found += [
        Job(**{**asdict(job), "kind": "full", "resamples": 2000})
        for job in found
        if (job.pair, job.kind) == ("days0", "other days")
    ]
    for k, kind in enumerate(KINDS):
        for e, effect in enumerate(EFFECTS):
            # Every second pair; which of the two is made worse changes from pair to pair, so that luck evens out.
            order = [
                (cut, n, 2 * n + (cut + n // 2) % 2)
                for cut in range(len(CUTS))
                for n in range((e + k) % 2, DRAWS // 2, 2)
            ]
            pairs = [(held(folder, cut)["target"].to_numpy(), predicted(folder, cut, f"days{own}"),
                      predicted(folder, cut, f"days{own ^ 1}"), seed_of(cut, f"days{n}")) for cut, n, own in order]  # fmt: skip
            dose = dose_for(kind, effect, pairs)
            found += [Job(cut=cut, pair=f"days{n}", challenger=f"days{own}", champion=f"days{own ^ 1}", kind=kind,
                          effect=effect, dose=dose) for cut, n, own in order]  # fmt: skip
    return found


def share(word: str, number: int, of: int, folder: Path) -> None:
    """The `number`th of `of` processes: its part of the models, or of the trials."""
    if word == "--train":
        frame = ingest.read_parquet(folder / "frame.parquet")
        for cut, name in [(cut, name) for cut in range(len(CUTS)) for name in variants()][number::of]:
            np.save(folder / f"{cut}-{name}.npy", predict(frame, CUTS[cut], name))
        return
    mine = [Job(**job) for job in files.read_json(folder / "jobs.json")][number::of]
    found = [row for job in sorted(mine, key=lambda job: job.cut) for row in trials(folder, job)]
    files.write_json(folder / f"trials-{number}.json", found)


def together(word: str, folder: Path) -> None:
    """All shares at once, one thread each."""
    of = min(cpu_count() or 1, 8)
    env = environment.for_programs(ROOT, OMP_NUM_THREADS="1", POLARS_MAX_THREADS="1")
    command = [sys.executable, __file__, word]
    running = [subprocess.Popen([*command, str(n), str(of), str(folder)], env=env) for n in range(of)]
    codes = [process.wait() for process in running]
    assert not any(codes), f"{word}: exit codes {codes}"


def simulate() -> pl.DataFrame:
    """All trials, a row each."""
    home = environment.cache_home(ROOT)
    home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="bench-judge-") as name:
        folder = Path(name)
        with talk.status("features of the whole year …"):
            params, spec = params_for(CUTS[-1]), problem.load("flights")
            ingest.write_parquet(
                features.build_features(spec, ingest.build_table(spec, params)[0]), folder / "frame.parquet"
            )
        with talk.status(f"{len(CUTS) * len(variants())} models …"):
            together("--train", folder)
        with talk.status("doses and trials …"):
            files.write_json(folder / "jobs.json", [asdict(job) for job in jobs(folder)])
            together("--trials", folder)
        parts = sorted(folder.glob("trials-*.json"))
        return pl.DataFrame([row for part in parts for row in files.read_json(part)], infer_schema_length=None)


def main() -> None:
    import judge_page as page

    started = time.monotonic()
    if sys.argv[1:2] != ["--page"]:
        found = summary(simulate(), config.load(ROOT / "params.yaml"), effect=STATED)
        files.write_json(ROOT / "dev/figures/judge.json", found)
    record = files.read_json(ROOT / "dev/figures/judge.json")
    page.write(record, ROOT / "dev")
    print(page.tables(record))
    talk.print(f"{time.monotonic() - started:.0f} s; dev/figures/judge.json, dev/docs/judge.md, dev/figures/judge.svg")


if __name__ == "__main__":
    if sys.argv[1:2] in (["--train"], ["--trials"]):
        share(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
