"""`judge`: compare the challenger with the champion on the same rows, and with absolute floors."""

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
from slipway.core.text import printable
from slipway.core.verdict import Check, Verdict, describe_limit
from slipway.errors import DataError, Inconclusive
from slipway.judging import champion, data_change, paired_metrics
from slipway.pipeline import drift, evaluate, features, ingest, metrics, plots, train
from slipway.reporting import wording
from slipway.serving.onnx_model import FOLDER

VERDICT = Path("reports/judge.json")
COLUMNS = ("row_id", "day", "target", "prediction", "loss", "dummy")
"""Columns of judged rows that are not slices."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mean of the challenger's loss minus the reference's, with its interval; negative means better."""

    rows: int
    days: int
    difference: float
    low: float
    high: float

    @property
    def change(self) -> tuple[float, float, float]:
        """The difference and the ends of its interval."""
        return self.difference, self.low, self.high


def paired_bootstrap(rows: pl.DataFrame, *, resamples: int, confidence: float, seed: int) -> Comparison:
    """Bootstrap over days of the mean `difference` of paired rows (columns `day`, `difference`).

    Flights of one day share weather and delays: rows are not independent, days nearly are.
    """
    days = rows.group_by("day").agg(pl.col("difference").sum(), rows=pl.len()).sort("day")
    sums, counts = days["difference"].to_numpy(), days["rows"].to_numpy()
    draws = metrics.draw_days(len(days), resamples, seed)
    means = (draws @ sums) / (draws @ counts)
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
    return [name for name in rows.columns if name not in COLUMNS]


def join(challenger: pl.DataFrame, reference: pl.DataFrame) -> tuple[pl.DataFrame, list[Check]]:
    """Join both by `row_id` and add `difference`; a check fails for rows or labels that are not the same in both.

    The reference's slices replace the challenger's: a change that drops or splits a slice is still judged by it.
    """
    slices = slice_columns(reference)
    both = challenger.drop(slices, strict=False).join(
        reference.select("row_id", *slices, reference="loss", reference_target="target"),
        on="row_id",
        maintain_order="left",
    )
    lacking = len(reference) - len(both)
    disagree = both.filter(pl.col("target") != pl.col("reference_target")).height
    checks = [
        Check(
            name="rows of the champion that the challenger lacks", value=lacking, limit="0", ok=lacking == 0,
            text=f"Rows of production's test window that are missing in this change's: {lacking:,}",
        ),
        Check(
            name="rows whose label differs", value=disagree, limit="0", ok=disagree == 0,
            text=f"Rows whose label differs from the one that production's code computes: {disagree:,}",
        ),
    ]  # fmt: skip
    return both.with_columns(difference=pl.col("loss") - pl.col("reference")), checks


def compare(
    rows: pl.DataFrame, *, limits: config.Judge, slices: Sequence[str], seed: int, against: str, metric: str
) -> tuple[list[Check], list[dict[str, Any]], bool]:
    """Joined rows → checks overall and by slice, the table of slices, and whether the challenger is better.

    Against the dummy the challenger must be better. Against a champion it may be worse by at most the margin.
    A slice value that every row has is left out: it would repeat the comparison of all rows.
    """
    days = rows["day"].n_unique()
    counts = [
        Check(
            name="paired rows", value=len(rows), limit=f"≥ {limits.min_rows:,}", ok=len(rows) >= limits.min_rows or None,
            text=f"Rows to compare on: {len(rows):,}",
        ),
        Check(
            name="days", value=days, limit=f"≥ {limits.min_days}", ok=days >= limits.min_days or None,
            text=f"Days to compare on: {days:,}",
        ),
    ]  # fmt: skip
    if not all(check.ok for check in counts):
        return counts, [], False
    overall = paired_bootstrap(rows, resamples=limits.resamples, confidence=limits.confidence, seed=seed)
    table, checks = [], [*counts, _overall_check(overall, limits, metric=metric, against=against)]
    for name in slices:
        for (value,), part in sorted(rows.group_by(name), key=lambda item: str(item[0])):
            if len(part) < limits.min_slice_rows or part["day"].n_unique() < limits.min_slice_days:
                continue  # the interval of a single day has no width: any difference would look certain
            if len(part) == len(rows):
                continue
            result = paired_bootstrap(part, resamples=limits.resamples, confidence=limits.confidence, seed=seed)
            table.append({"slice": name, "value": str(value), "rows": result.rows, "difference": result.difference,
                          "low": result.low, "high": result.high})  # fmt: skip
            if against == "champion":
                checks.append(_slice_check(result, limits, metric=metric, name=name, value=str(value)))
    return checks, table, overall.high < 0


def sufficient(checks: Sequence[Check]) -> bool:
    """True when `compare`, which made the checks, had enough rows and days."""
    return all(check.ok is not None for check in checks)


def _overall_check(result: Comparison, limits: config.Judge, *, metric: str, against: str) -> Check:
    """All rows: the whole interval must be below zero against the dummy, at most at the margin against a champion."""
    is_champion = against == "champion"
    margin = limits.margin if is_champion else 0.0
    text = wording.describe_change(metric, result.change, against=against, confidence=limits.confidence, margin=margin)
    return Check(
        name=f"{metric} vs {against}", value=result.difference, low=result.low, high=result.high, text=text,
        limit=f"≤ {limits.margin:g} worse" if is_champion else "better, with the whole interval",
        ok=result.high <= limits.margin if is_champion else result.high < 0,
    )  # fmt: skip


def _slice_check(result: Comparison, limits: config.Judge, *, metric: str, name: str, value: str) -> Check:
    """A slice fails when it is worse by more than its margin and its whole interval is above zero.

    Both are required: of twenty 95 % intervals, one lies above or below zero by chance alone.
    """
    where = f"{name} {printable(value, 60)}"
    text = wording.describe_change(metric, result.change, against="champion", confidence=limits.confidence, where=where)
    return Check(
        name=f"{metric} vs champion, {name}={value}", value=result.difference, low=result.low, high=result.high,
        limit=f"up to {limits.slice_margin:g} worse, or not clearly worse", text=text,
        ok=not (result.difference > limits.slice_margin and result.low > 0),
    )  # fmt: skip


def floors(measured: Mapping[str, Any], limits: Mapping[str, config.Floor], *, enough: bool = True) -> list[Check]:
    """Check the challenger's metrics against absolute limits; unsure when a metric is missing or the rows are not `enough`."""
    checks = []
    for name, floor in limits.items():
        value = measured.get(name)
        text = f"{wording.capitalised(wording.metric_name(name))} is {wording.number(value)}"
        if value is None:
            text = f"{wording.capitalised(wording.metric_name(name))} was not measured"
        elif not enough:
            text += ", measured on too few rows or days"
        for bound, word in ((floor.at_least, "≥"), (floor.at_most, "≤")):
            if bound is not None:
                holds = None if value is None or not enough else bool(value >= bound if word == "≥" else value <= bound)
                limit = f"{word} {bound:g}"
                checks.append(Check(name=f"{name} floor", value=value, limit=limit, ok=holds, text=text))
    return checks


def require_current_losses(root: Path) -> str:
    """The model's SHA-256; DataError unless reports/losses.parquet was computed from this model."""
    model = files.sha256(root / FOLDER / "model.onnx") if (root / FOLDER / "model.onnx").exists() else "missing"
    evaluated = str(files.read_json(root / evaluate.VERDICT, "inputs", kind=dict).get("model"))
    if evaluated != model:
        raise DataError(
            f"judge: reports/losses.parquet is about model {evaluated[:12]}, models/model.onnx is {model[:12]}",
            hint="run `make repro`",
        )
    return model


def as_ids_of(challenger: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """The reference with `row_id` in the challenger's type; empty where it does not fit, so that no row of it matches.

    A champion that ingests with its own code may make ids of another type.
    """
    return reference.with_columns(pl.col("row_id").cast(challenger["row_id"].dtype, strict=False))


def pair_predictions(challenger: pl.DataFrame, champion_rows: pl.DataFrame) -> pl.DataFrame:
    """The challenger's rows that the champion has too, with the champion's `reference_prediction`."""
    reference = champion_rows.select("row_id", reference_prediction="prediction")
    return challenger.join(reference, on="row_id", maintain_order="left")


def describe_data(base: str, paired: pl.DataFrame | None, params: config.Params, *, root: Path) -> dict[str, Any]:
    """The data compared with the base's and, with a champion, the shift between both models' predictions."""
    frame, settings = ingest.read_parquet(root / features.FRAME, "day"), params.evaluate
    train_rows, test_rows = (train.rows_of_window(frame, params.data, name) for name in ("train", "test"))
    notes = data_change.compare_data(base, train_rows, test_rows, rows=settings.sample_rows, root=root)
    if paired is not None and len(paired):
        before, after = paired["reference_prediction"].to_numpy(), paired["prediction"].to_numpy()
        notes["prediction"] = drift.compare_predictions(before, after, settings.bins)
    return notes


def run(params: config.Params, *, base: str | None = None, root: Path = Path()) -> str:
    """Judge reports/losses.parquet → reports/judge.json; exit 4 when worse, 5 when too little was measured."""
    started = time.monotonic()
    root = root.resolve()
    for path in (VERDICT, plots.CHAMPION_DATA):  # of an earlier run: this one may end without a comparison
        (root / path).unlink(missing_ok=True)
    spec = problem.load(params.problem)
    challenger = require_current_losses(root)
    own_rows = ingest.read_parquet(root / evaluate.LOSSES, *COLUMNS)
    measured = files.read_json(root / evaluate.METRICS, kind=dict)
    commit = git.base_commit(base, root=root)
    limits = base_limits.limits_at_base(commit, "judge", params.judge, root=root)
    limits_changed, params_changed = base_limits.changed_params(commit, root=root)
    source = champion.production_commit(commit, root)
    restart = champion.check_restart(params.judge.restart_at, base=commit, champion=source, root=root)
    notes = {
        "base": commit, "restart_at": restart.commit, "restart_note": restart.note,
        "window": [str(params.data.test_from), str(params.data.until)], "confidence": limits.confidence,
        "limits_changed": limits_changed, "params_changed": params_changed,
    }  # fmt: skip
    opponent = find_opponent(source, restart, params, challenger=challenger, notes=notes, root=root)
    metric = evaluate.HEADLINE[spec.task]
    reference = as_ids_of(own_rows, opponent.rows) if opponent else own_rows.with_columns(loss=pl.col("dummy"))
    against = "champion" if opponent else "dummy"
    write_champion_plots(own_rows, reference if opponent else None, spec, params, root)
    rows, joined = join(own_rows, reference)
    slices = list(dict.fromkeys([*slice_columns(reference), *spec.slices]))
    compared, table, better = compare(
        rows, limits=limits, slices=slices, seed=params.seed, against=against, metric=metric
    )
    enough, paired = sufficient(compared), pair_predictions(own_rows, reference) if opponent else None
    verdict = Verdict(
        chapter="judge",
        checks=[*restart.checks(source), *joined, *compared, *floors(measured, limits.floors, enough=enough)],
        rows=len(rows),
        seconds=time.monotonic() - started,
        inputs={"challenger": challenger, "champion": opponent.model_sha256 if opponent else None},
        notes={
            **notes, "against": against, "champion_commit": opponent.commit if opponent else None,
            "champion_refusal": opponent.refusal if opponent else "", "uncompared_rows": len(own_rows) - len(rows),
            "better": better, "days": rows["day"].n_unique(),
            "metrics": {
                "challenger": measured,
                "champion": _metrics_of(reference, spec.task) if opponent else None,
                "changes": metric_changes(paired, compared, spec.task, limits, params) if enough else {},
            },
            "slices": table, "margin": limits.margin if opponent else 0.0,
            "slice_margin": limits.slice_margin if opponent else None,
            "data": describe_data(commit, paired, params, root=root),
        },
    )  # fmt: skip
    verdict.write(root / VERDICT)
    verdict.enforce(hint="open reports/report.html; docs/fix/judge.md explains each message")
    overall = next(check for check in compared if check.low is not None)
    allowed = "" if better else f"; {describe_limit(overall.limit)}"
    where = f"{len(rows):,} rows of {wording.count(rows['day'].n_unique(), 'day')}"
    result = f"{wording.outcome(overall.low, overall.high, against=against)} on {where}: {overall.text}{allowed}"
    refusal = opponent.refusal if opponent else ""
    own_ingest = f"production's code ingested the sources itself, because {refusal}" if refusal else ""
    return "; ".join(filter(None, [result, own_ingest, restart.describe(), restart.note]))


def find_opponent(
    source: str | None, restart: champion.Restart, params: config.Params, *, challenger: str, notes: dict[str, Any], root: Path
) -> champion.Champion | None:  # fmt: skip
    """Production's champion with its predictions; None before the first release and where the comparison is restarted.

    Inconclusive when it predicts nothing. The verdict is then written first, as unsure.
    """
    if source is None or restart.commit:
        return None
    try:
        return champion.champion_predictions(source, params, root=root)
    except Inconclusive as error:
        check = Check(
            name="predictions of the champion", value=str(error), limit="predictions of the same rows", ok=None,
            text=f"Nothing was compared: {error}",
        )  # fmt: skip
        Verdict(chapter="judge", checks=[check], inputs={"challenger": challenger}, notes=notes).write(root / VERDICT)
        hint = restart.note if params.judge.restart_at == source else error.hint
        raise Inconclusive(str(error), hint=hint) from None


def write_champion_plots(
    own_rows: pl.DataFrame, champion_rows: pl.DataFrame | None, spec: problem.Problem, params: config.Params, root: Path
) -> None:
    """Keep the champion's plot data for the report, in bins as wide as the challenger's; without one remove an old file."""
    path = root / plots.CHAMPION_DATA
    if champion_rows is None:
        path.unlink(missing_ok=True)
        return
    edges = evaluate.prediction_edges(own_rows, champion_rows)
    data = evaluate.plot_data_of_rows(champion_rows, spec, params.evaluate.min_slice_rows, edges)
    files.write_json(path, evaluate.round_floats(data))


def metric_changes(
    paired: pl.DataFrame | None, compared: Sequence[Check], task: str, limits: config.Judge, params: config.Params
) -> dict[str, dict[str, Any]]:
    """The change of every metric against the champion with its interval; against the dummy that of the headline alone."""
    if paired is not None:
        return paired_metrics.changes(paired, task=task, resamples=limits.resamples, few=params.evaluate.resamples,
                                      confidence=limits.confidence, seed=params.seed)  # fmt: skip
    overall = next(check for check in compared if check.low is not None)
    return {evaluate.HEADLINE[task]: {"difference": overall.value, "low": overall.low, "high": overall.high}}


def _metrics_of(rows: pl.DataFrame, task: str) -> dict[str, float]:
    target, prediction = rows["target"].to_numpy(), rows["prediction"].to_numpy()
    values = {name: metric(target, prediction, None) for name, metric in metrics.metrics_for(task).items()}
    values["calibration_error"] = evaluate.calibration_error(evaluate.reliability_curve(rows))
    return {name: round(value, 6) for name, value in values.items()}
