"""Made-up pull requests on a made-up binary problem, with records by the code that writes the real ones.

One of each kind: it passes, it is refused, it cannot be judged, its pipeline stops, it changes the data.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field, create_model

from slipway import problem
from slipway.core import config
from slipway.core.verdict import Check, Verdict
from slipway.judging import judge
from slipway.pipeline import drift, evaluate, ingest, metrics, plots
from slipway.reporting import cards, html
from slipway.reporting.report_markdown import render
from slipway.reporting.report_model import CalibrationGroup, Facts
from support.sample_reports import DELIVERY, paced, ruled

KINDS = ("pass", "refused", "unsure", "stopped", "data changed")
START, TEST_FROM, UNTIL = date(2013, 8, 1), date(2013, 10, 2), date(2013, 11, 1)
CARRIERS = ("AA", "B6", "DL", "EV", "FL", "UA", "US", "WN")
CATEGORIES = ("carrier", "origin", "dest", "manufacturer")
NUMBERS = ("scheduled", "weekday", "distance", "duration", "seats", "built", "temp", "dewp", "humid", "wind_speed",
           "wind_gust", "precip", "pressure", "visib", "flights_of_the_hour", "late_share_of_the_last_two_hours",
           "delay_of_carrier", "delay_of_origin", "delay_of_destination", "rate_of_flight", "rate_of_carrier",
           "rate_of_destination", "waiting", "season")  # fmt: skip
LIMITS = config.Judge.model_validate(
    {"resamples": 500, "confidence": 0.95, "margin": 0.006, "slice_margin": 0.03, "min_rows": 5000, "min_days": 14,
     "min_slice_rows": 300, "min_slice_days": 7, "floors": {"auc": {"at_least": 0.6}, "log_loss": {"at_most": 0.6}}}
)  # fmt: skip
SETTINGS = config.Evaluate(min_rows=5000, resamples=50, confidence=0.95, min_slice_rows=200, importance_rows=1000,
                           bins=10, sample_rows=5000)  # fmt: skip
COMMIT, BASE, CHAMPION = "d" * 40, "a" * 40, "b" * 40


def _category(name: str) -> Any:
    return Annotated[str, Field(max_length=16, description=f"{name.replace('_', ' ')} of the flight", examples=["AA"])]


def _number(name: str) -> Any:
    return Annotated[float | None, Field(ge=-100, le=5000, description=f"{name.replace('_', ' ')}, known two hours before",
                                         examples=[1.0], json_schema_extra={"unit": "hour"})]  # fmt: skip


_INPUTS: Any = {
    **{name: (_category(name), ...) for name in CATEGORIES},
    **{name: (_number(name), ...) for name in NUMBERS},
}
Inputs = create_model("Inputs", **_INPUTS)
Flight = create_model("Flight", late=(Annotated[float, Field(ge=0, le=1, description="15 or more minutes late")], ...),
                      sched_dep=(Annotated[datetime, Field(description="scheduled departure, UTC")], ...), **_INPUTS)  # fmt: skip
SPEC = problem.Problem(
    name="trips", task="binary", table=Flight, inputs=Inputs, target="late", time="sched_dep",
    slices=("carrier", "origin", "month"), known_at={}, horizon_hours=2, sources="trips:sources", ingest="trips:ingest",
    features="trips:features", estimator="trips:estimator",
    labels={"title": "Will this flight arrive 15 or more minutes late?", "positive": "late", "unit": "probability",
            "purpose": "Shows what a report looks like.", "limits": "Its flights are made up.", "source": "A random generator.",
            "licence": "CC0"},
)  # fmt: skip


@cache
def flights() -> pl.DataFrame:
    """About 37,000 flights of 92 days, with inputs, label and the true probability of being late."""
    rng = np.random.default_rng(2013)
    days = (UNTIL - START).days
    counts = rng.integers(330, 470, days)
    day, rows = np.repeat(np.arange(days), counts), int(counts.sum())
    carrier = rng.choice(len(CARRIERS), rows, p=[0.14, 0.18, 0.16, 0.17, 0.05, 0.18, 0.08, 0.04])
    numbers = {name: rng.normal(0, 1, rows).astype(np.float32) for name in NUMBERS}
    numbers["temp"] = (numbers["temp"] - day / 20).astype(np.float32)
    numbers["season"] = (day / 30 + rng.normal(0, 0.1, rows)).astype(np.float32)
    weather = rng.normal(0, 0.5, days)[day]
    effects = 0.6 * numbers["waiting"] + 0.4 * numbers["delay_of_carrier"] + 0.3 * numbers["rate_of_flight"]
    logit = -1.7 + weather + rng.normal(0, 0.35, len(CARRIERS))[carrier] + effects
    numbers["built"][rng.random(rows) < 0.17] = np.nan
    chance = 1 / (1 + np.exp(-logit))
    at = [START + timedelta(days=int(n)) for n in day]
    return pl.DataFrame(
        {
            "row_id": [f"f{i}" for i in range(rows)],
            "day": at,
            "sched_dep": [datetime(d.year, d.month, d.day, 12, tzinfo=UTC) for d in at],
            "month": [str(d.month) for d in at],
            "carrier": [CARRIERS[i] for i in carrier],
            "origin": rng.choice(["EWR", "JFK", "LGA"], rows),
            "dest": rng.choice(["ATL", "BOS", "LAX", "ORD"], rows),
            "manufacturer": rng.choice(["AIRBUS INDUSTRIE", "BOEING", "EMBRAER"], rows),
            **{name: pl.Series(values).fill_nan(None) for name, values in numbers.items()},
            "late": (rng.random(rows) < chance).astype(float),
        }
    )


def model(*, strength: float, noise: float = 0.0) -> Any:
    """A model that uses the inputs with more or less `strength`; 1 is the truth without the weather."""

    def frame(rows: pl.DataFrame) -> Any:
        known = rows.select(NUMBERS).fill_null(0.0)
        logit = 0.6 * known["waiting"] + 0.4 * known["delay_of_carrier"] + 0.3 * known["rate_of_flight"]
        jitter = np.random.default_rng(1).normal(0, noise, len(rows)) if noise else 0.0
        small = sum(0.002 * (i + 1) * known[name].to_numpy() for i, name in enumerate(NUMBERS[:12]))
        return 1 / (1 + np.exp(-(-1.6 + strength * logit.to_numpy() + small + jitter)))

    return SimpleNamespace(frame=frame, categories=list(CATEGORIES), numbers=list(NUMBERS))


def scored(frame: pl.DataFrame, guess: float, **how: float) -> pl.DataFrame:
    """The judged rows of a model: predictions, losses, and the loss of guessing."""
    rows = evaluate.score_rows(frame, SPEC, model(**how))
    return rows.with_columns(
        dummy=pl.Series(metrics.row_losses("binary", rows["target"].to_numpy(), np.full(len(rows), guess)))
    )


def _window(first: date, until: date) -> pl.DataFrame:
    return flights().filter(pl.col("day").is_between(first, until, closed="left"))


def judged_kind(kind: str) -> tuple[Verdict, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The judge's verdict, the metrics and the plots of a kind of pull request, and the champion's plots."""
    first, until = (TEST_FROM, UNTIL) if kind != "unsure" else (UNTIL - timedelta(days=9), UNTIL)
    training, test = _window(START, first), _window(first, until)
    guess = float(training["late"].mean())  # type: ignore[arg-type]
    how = {"refused": {"strength": 0.25, "noise": 0.3}, "data changed": {"strength": 0.85, "noise": 0.42}}.get(
        kind, {"strength": 1.0}
    )
    own, champion = scored(test, guess, **how), scored(test, guess, strength=0.8, noise=0.4)
    measured = evaluate.measure(own, "binary", SETTINGS, 1)
    measured |= {"train": drift.describe_window(training), "dummy": {"log_loss": float(own["dummy"].mean()), "prediction": guess}}  # type: ignore[arg-type]  # fmt: skip
    rows, joined = judge.join(own, champion)
    compared, table, better = judge.compare(
        rows, limits=LIMITS, slices=SPEC.slices, seed=1, against="champion", metric="log_loss"
    )
    before = _window(START, TEST_FROM)
    if kind == "data changed":
        before = _window(START + timedelta(days=20), first - timedelta(days=20))
    at_base = drift.describe_inputs(before, CATEGORIES, NUMBERS, bins=10, rows=5000)
    reference = drift.describe_inputs(training, CATEGORIES, NUMBERS, bins=10, rows=5000)
    since = {row["input"]: row for row in drift.input_drift(at_base, training, rows=5000)}
    inputs = [{"input": row["input"], "test": row["shift"], "train": since[row["input"]]["shift"],
               "missing": since[row["input"]]["missing"]}
              for row in drift.input_drift(reference, test, rows=5000)]  # fmt: skip
    params_changed = {
        "pass": ["train.estimators.boosting.max_iter: 150 → 200"],
        "refused": ["train.estimators.boosting.max_iter: 150 → 4"],
        "unsure": ["data.test_days: 30 → 9"],
        "data changed": ["data.until: 2013-10-01 → 2013-11-01", f"ingest.sources.flights.csv: {'0' * 64} → {'1' * 64}"],
    }  # fmt: skip
    params: Any = SimpleNamespace(evaluate=SETTINGS, seed=1)
    paired = judge.pair_predictions(own, champion)
    changes = judge.metric_changes(paired, compared, "binary", LIMITS, params) if judge.sufficient(compared) else {}
    notes = {
        "against": "champion", "base": BASE, "champion_commit": CHAMPION, "better": better, "days": rows["day"].n_unique(),
        "window": [str(first), str(until)],
        "confidence": LIMITS.confidence,
        "metrics": {"challenger": measured, "champion": judge._metrics_of(champion, "binary"), "changes": changes},
        "slices": table, "margin": LIMITS.margin, "slice_margin": LIMITS.slice_margin, "limits_changed": [],
        "params_changed": params_changed[kind],
        "data": {"train": [drift.describe_window(before), drift.describe_window(training)], "inputs": inputs, "gone": [],
                 "prediction": drift.compare_predictions(champion["prediction"].to_numpy(), own["prediction"].to_numpy(), 10)},
    }  # fmt: skip
    floors = judge.floors(measured, LIMITS.floors, enough=judge.sufficient(compared))
    verdict = Verdict(chapter="judge", checks=[*joined, *compared, *floors], rows=len(rows), seconds=0.8,
                      inputs={"challenger": f"sha256:{'c' * 64}"}, notes=notes)  # fmt: skip
    edges = evaluate.prediction_edges(own, champion)
    beside = evaluate.plot_data_of_rows(champion, SPEC, SETTINGS.min_slice_rows, edges)
    return verdict, measured, evaluate.plot_data(own, test, SPEC, model(**how), params), beside


def _prove() -> Verdict:
    checks = [
        Check(name="working tree against the commit", value="equal", limit="equal; make repro, commit", ok=True),
        Check(name="golden requests, answered by the rebuilt model", value=2.1e-8, limit="≤ 1e-05", ok=True),
    ]
    return Verdict(chapter="prove", checks=checks, seconds=11.2)


def _gates(kind: str, judged: Verdict | None) -> dict[str, Any]:
    """The verdicts of all checks, as JSON has them."""
    message, limit = "5 stages ran, the others were unchanged or cached", "every stage ends well"
    repro = Check(name="dvc repro", value=message, limit=limit, ok=True)
    if kind == "stopped":
        message = (
            "features: the input late_share_of_the_last_two_hours changes when flights after 2013-07-04T12:00 change"
        )
        repro = Check(name="dvc repro", value=message, limit=limit, ok=False, text=message)
    gates = {"repro": Verdict(chapter="repro", checks=[repro], seconds=19.8).record(), "prove": _prove().record()}
    if judged:
        gates["judge"] = judged.record()
    gates["manifests"] = ruled() | {"notes": {}}
    if judged:
        gates["latency"] = paced()
    return json.loads(json.dumps(gates))  # type: ignore[no-any-return]


@cache
def sample(kind: str) -> tuple[Facts, dict[str, str], str]:
    """The facts of a kind of pull request, its plots as SVG by name, and both cards."""
    judged, measured, plotted, beside = (None, {}, {}, {}) if kind == "stopped" else judged_kind(kind)
    plotted = json.loads(json.dumps(evaluate.round_floats(plotted)))
    faults = [problem.SourceFault(source="weather.csv", column="wind_speed", what="faster than 150 mph", rows=1, worst=1048.4,
                                  action="set to missing"),
              problem.SourceFault(source="planes.csv", column="built", what="missing", rows=6210, worst=None,
                                  action="kept: the model takes missing values")]  # fmt: skip
    facts = Facts(
        metrics=evaluate.round_floats(measured),  # type: ignore[arg-type]
        gates=_gates(kind, judged),
        quality=json.loads(json.dumps(ingest.describe_quality(flights(), faults, SPEC))),
        contract={"problem": "trips", "labels": dict(SPEC.labels), "inputs": Inputs.model_json_schema()},  # type: ignore[arg-type]
        slices=plotted.get("slices", []),
        hashes={"lock": "e" * 64, "data": "f" * 64, "model": "c" * 64},
        commit=COMMIT,
        delivery=DELIVERY,  # type: ignore[arg-type]
        changes={} if judged else {"params_changed": ["features.leak_moments: 3 → 5"]},  # type: ignore[arg-type]
    )
    return facts, plots.svg_texts(plotted, beside), _cards(facts, plotted.get("reliability", []))


def _cards(facts: Facts, calibration: list[dict[str, Any]]) -> str:
    params: Any = SimpleNamespace(
        data=config.Data(until=UNTIL, test_days=30), evaluate=SETTINGS, judge=LIMITS,
        ingest=config.Ingest(sources={"flights.csv": "0" * 64}),
        train=config.Train(estimator="boosting", estimators={"boosting": {"max_iter": 150}}),
    )  # fmt: skip
    groups = [CalibrationGroup.model_validate(group) for group in calibration]
    subject = cards.Subject(facts=facts, spec=SPEC, params=params, calibration=groups)
    return f"{cards.model_card(subject)}\n{cards.data_card(subject)}"


def write(kind: str, folder: Path) -> Facts:
    """Write report.html, data.html, report.md and facts.json of a kind of pull request into `folder`."""
    facts, pictures, both_cards = sample(kind)
    days = plots.render_svg(plots.draw_target_by_day, facts.quality.days, name="days")
    texts = {
        "report.html": html.report_page(facts, pictures, both_cards),
        "data.html": html.data_page(facts, days),
        "report.md": render(facts),
        "facts.json": json.dumps(facts.record()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return facts
