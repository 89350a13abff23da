"""`judge`: is the challenger at least as good as what production runs, on the same rows, and good enough at all?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from slipway import problem
from slipway.core import base_limits, config, files, git
from slipway.core.verdict import Check, Verdict
from slipway.errors import DataError
from slipway.judging import champion, data_change
from slipway.pipeline import drift, evaluate, features, ingest, metrics, train
from slipway.serving.onnx_model import FOLDER

VERDICT = Path("reports/judge.json")
OWN = ("row_id", "day", "target", "prediction", "loss", "dummy")
"""Columns of judged rows; all others are slices."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mean of challenger's minus reference's loss with its interval; negative is better."""

    rows: int
    days: int
    difference: float
    low: float
    high: float


def paired_bootstrap(rows: pl.DataFrame, *, resamples: int, confidence: float, seed: int) -> Comparison:
    """Bootstrap over days of the mean `difference` of paired rows (columns `day`, `difference`).

    Flights of one day share weather and delays: rows are not independent, days nearly are.
    """
    days = rows.group_by("day").agg(pl.col("difference").sum(), rows=pl.len()).sort("day")
    sums, counts = days["difference"].to_numpy(), days["rows"].to_numpy()
    drawn = metrics.draw_days(len(days), resamples, seed)
    means = (drawn @ sums) / (drawn @ counts)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Comparison(
        rows=len(rows),
        days=len(days),
        difference=float(sums.sum() / counts.sum()),
        low=float(low),
        high=float(high),
    )


def slice_columns(rows: pl.DataFrame) -> list[str]:
    """The slice columns of judged rows."""
    return [name for name in rows.columns if name not in OWN]


def join(challenger: pl.DataFrame, reference: pl.DataFrame) -> tuple[pl.DataFrame, list[Check]]:
    """Rows of both by `row_id`, with `difference`; a row or a label that the two disagree about fails.

    Slices are the reference's where it has them: a change that drops or splits one is still judged by it.
    """
    theirs = slice_columns(reference)
    both = challenger.drop(theirs, strict=False).join(
        reference.select("row_id", *theirs, reference="loss", target_there="target"),
        on="row_id",
        maintain_order="left",
    )
    lacking = len(reference) - len(both)
    disagree = both.filter(pl.col("target") != pl.col("target_there")).height
    checks = [
        Check(name="rows of the champion that the challenger lacks", value=lacking, limit="0", ok=lacking == 0),
        Check(name="rows whose label differs", value=disagree, limit="0", ok=disagree == 0),
    ]
    return both.with_columns(difference=pl.col("loss") - pl.col("reference")), checks


def compare(
    rows: pl.DataFrame, *, limits: config.Judge, slices: Sequence[str], seed: int, against: str, metric: str
) -> tuple[list[Check], list[dict[str, Any]], bool]:
    """Joined rows → checks overall and by slice, the slices' table, and whether the challenger is better.

    Against the dummy the challenger must be better; against a champion not worse than the margin.
    """
    days = rows["day"].n_unique()
    counts = [
        Check(
            name="paired rows",
            value=len(rows),
            limit=f"≥ {limits.min_rows}",
            ok=len(rows) >= limits.min_rows or None,
        ),
        Check(
            name="days",
            value=days,
            limit=f"≥ {limits.min_days}",
            ok=days >= limits.min_days or None,
        ),
    ]
    if not all(check.ok for check in counts):
        return counts, [], False
    whole = paired_bootstrap(rows, resamples=limits.resamples, confidence=limits.confidence, seed=seed)
    margin = limits.margin if against == "champion" else 0.0
    overall = Check(
        name=f"{metric} vs {against}", value=whole.difference, low=whole.low, high=whole.high,
        limit=f"high < {margin:g}", ok=whole.high < margin,
    )  # fmt: skip
    table, checks = [], [*counts, overall]
    for name in slices:
        for (value,), part in sorted(rows.group_by(name), key=lambda item: str(item[0])):
            if len(part) < limits.min_slice_rows or part["day"].n_unique() < limits.min_slice_days:
                continue  # an interval over one day has no width, so that it would be sure of anything
            found = paired_bootstrap(part, resamples=limits.resamples, confidence=limits.confidence, seed=seed)
            table.append({"slice": name, "value": str(value), "rows": found.rows, "difference": found.difference,
                          "low": found.low, "high": found.high})  # fmt: skip
            if against == "champion":
                checks.append(_slice_check(found, f"{metric} vs champion, {name}={value}", limits.slice_margin))
    return checks, table, whole.high < 0


def sufficient(found: Sequence[Check]) -> bool:
    """Whether `compare` had rows and days enough to measure anything."""
    return all(check.ok is not None for check in found)


def _slice_check(found: Comparison, name: str, margin: float) -> Check:
    """A slice fails when it is worse by more than its margin and surely worse at all.

    With twenty slices and 95 % intervals one would cross zero by chance alone, hence both.
    """
    return Check(name=name, value=found.difference, low=found.low, high=found.high,
                 limit=f"≤ {margin:g} or low ≤ 0", ok=not (found.difference > margin and found.low > 0))  # fmt: skip


def floors(measured: Mapping[str, Any], limits: Mapping[str, config.Floor], *, enough: bool = True) -> list[Check]:
    """Absolute limits of the challenger's own metrics; unsure when it was not measured, or on rows not `enough`."""
    checks = []
    for name, floor in limits.items():
        value = measured.get(name)
        for bound, word in ((floor.at_least, "≥"), (floor.at_most, "≤")):
            if bound is not None:
                kept = None if value is None or not enough else bool(value >= bound if word == "≥" else value <= bound)
                checks.append(Check(name=f"{name} floor", value=value, limit=f"{word} {bound:g}", ok=kept))
    return checks


def evaluated(root: Path) -> str:
    """The hash of the model; DataError unless reports/losses.parquet was made by this very model."""
    model = files.sha256(root / FOLDER / "model.onnx") if (root / FOLDER / "model.onnx").exists() else "missing"
    told = str(files.read_json(root / evaluate.VERDICT)["inputs"].get("model"))
    if told != model:
        raise DataError(
            f"judge: reports/losses.parquet is about model {told[:12]}, models/model.onnx is {model[:12]}",
            hint="run `make repro`",
        )
    return model


def data(
    base: str, mine: pl.DataFrame, theirs: pl.DataFrame | None, params: config.Params, *, root: Path
) -> dict[str, Any]:
    """What the data is against the base's, and the predictions of the same rows against the champion's."""
    frame, settings = ingest.read(root / features.FRAME), params.evaluate
    seen, test = train.window(frame, params.data, "train"), train.window(frame, params.data, "test")
    found = data_change.data(base, seen, test, rows=settings.sample_rows, root=root)
    if theirs is not None:
        both = mine.join(theirs.select("row_id", there="prediction"), on="row_id")
        before, after = both["there"].to_numpy(), both["prediction"].to_numpy()
        found["prediction"] = drift.predictions(before, after, settings.bins)
    return found


def run(params: config.Params, *, base: str | None = None, root: Path = Path()) -> str:
    """Judge reports/losses.parquet → reports/judge.json; exit 4 when worse, 5 when it cannot tell."""
    started = time.monotonic()
    root = root.resolve()
    spec = problem.load(params.problem)
    challenger = evaluated(root)
    mine = ingest.read(root / evaluate.LOSSES)
    measured = files.read_json(root / evaluate.METRICS)
    commit = git.base_commit(base, root=root)
    limits = base_limits.limits_at_base(commit, "judge", params.judge, root=root)
    limits_changed, params_changed = base_limits.changed_params(commit, root=root)
    source = champion.production_commit(commit, root)
    metric = evaluate.HEADLINE[spec.task]
    if source:
        rival = champion.champion_predictions(source, params.data, root=root)
        theirs, against, rival_sha = rival.rows, "champion", rival.model_sha256
    else:
        theirs, against, rival_sha = mine.with_columns(loss=pl.col("dummy")), "dummy", None
    rows, checks = join(mine, theirs)
    slices = list(dict.fromkeys([*slice_columns(theirs), *spec.slices]))
    found, table, better = compare(rows, limits=limits, slices=slices, seed=params.seed, against=against, metric=metric)
    verdict = Verdict(
        chapter="judge",
        checks=[*checks, *found, *floors(measured, limits.floors, enough=sufficient(found))],
        rows=len(rows),
        seconds=time.monotonic() - started,
        inputs={"challenger": challenger, "champion": rival_sha},
        notes={
            "against": against, "base": commit, "champion_commit": source, "better": better,
            "days": rows["day"].n_unique(), "window": [str(params.data.test_from), str(params.data.until)],
            "metrics": {"challenger": measured, "champion": _rival_metrics(theirs, spec.task) if source else None},
            "slices": table, "limits_changed": limits_changed, "params_changed": params_changed,
            "data": data(commit, mine, theirs if source else None, params, root=root),
        },
    )  # fmt: skip
    verdict.write(root / VERDICT)
    verdict.enforce(hint="open reports/report.html; docs/operations.md, section judge, says what to do")
    overall = next(check for check in found if check.low is not None)
    return (
        f"{'better than' if better else 'not worse than'} the {against}: {metric} {overall.value:+.4f} "
        f"[{overall.low:+.4f}, {overall.high:+.4f}] on {len(rows):,} rows, {rows['day'].n_unique()} days"
    )


def _rival_metrics(rows: pl.DataFrame, task: str) -> dict[str, float]:
    target, prediction = rows["target"].to_numpy(), rows["prediction"].to_numpy()
    found = {name: metric(target, prediction, None) for name, metric in metrics.metrics_for(task).items()}
    found["calibration_error"] = evaluate.calibration_error(evaluate.reliability(rows))
    return {name: round(value, 6) for name, value in found.items()}
