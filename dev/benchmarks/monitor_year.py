"""Ask the questions of `monitor` about a real year of flights, healthy and with faults put in: false alarms and detection.

    make bench NAME=monitor_year                     both starts, about ten minutes
    make bench NAME=monitor_year ARGS=2013-04-01     one start
    make bench NAME=monitor_year ARGS=--page         write the page from the record

A model is trained by the project's own stages on what is known at the start. From then on every week is a window: a
request is logged two hours before the scheduled departure, its label comes four weeks later. Each fault is put into one
week at a time, with the weeks before it sound. The record is dev/figures/monitor_year.json, the
page dev/docs/monitoring.md.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline import ROOT
from slipway import problem
from slipway.core import config, files
from slipway.monitoring.questions import inputs, performance, predictions
from slipway.monitoring.window import Answer, Reference, Window
from slipway.pipeline import drift, evaluate, export, features, ingest, train
from slipway.serving.onnx_model import Model

RECORD, PAGE = ROOT / "dev/figures/monitor_year.json", ROOT / "dev/docs/monitoring.md"
BEGIN, END_MARK = (
    "<!-- made by `make bench NAME=monitor_year` from monitor_year.json -->",
    "<!-- end of what was made -->",
)
STARTS = (date(2013, 4, 1), date(2013, 7, 1))
END = datetime(2014, 1, 1, tzinfo=UTC)
SEED = 2013
QUESTIONS = {"inputs": inputs.ask, "predictions": predictions.ask, "performance": performance.ask}
Change = Callable[[pl.DataFrame], pl.DataFrame]
Damage = Callable[["Year", int], "Year"]


@dataclass(frozen=True, kw_only=True)
class Year:
    """The released model's answers of every week, oldest first, their labels, and its reference."""

    params: config.Params
    spec: problem.Problem
    reference: Reference
    weeks: Sequence[pl.DataFrame]
    first: datetime
    labels: pl.DataFrame


def build_year(params: config.Params, start: date, folder: Path) -> Year:
    """Train on what is known at `start`, and answer every later flight; works in `folder`."""
    whole = params.model_copy(update={"data": params.data.model_copy(update={"until": END.date()})})
    released = params.model_copy(update={"data": params.data.model_copy(update={"until": start})})
    with contextlib.chdir(folder):
        if not features.FRAME.exists():
            ingest.run(whole)
            features.run(whole)
        for stage in (train, export, evaluate):
            stage.run(released)
        spec, frame = problem.load(params.problem), pl.read_parquet(features.FRAME).filter(pl.col("day") >= start)
        answers = pl.Series(Model().frame(frame)).cast(pl.Float64)
        reference = Reference(
            inputs=files.read_json(drift.PATH),
            predictions=files.read_json(evaluate.PLOTS / "predictions.json"),
            metrics=files.read_json(evaluate.METRICS),
        )
    hours = pl.duration(hours=spec.horizon_hours)
    rows = frame.with_columns(prediction=answers, at=pl.col(spec.time) - hours, id=pl.col("row_id"), ms=pl.lit(1.5))
    labels = rows.select("id", label=spec.target, known_at=pl.col(spec.time) + pl.duration(days=28) - hours)
    length, first, weeks = (
        timedelta(days=params.monitor.window_days),
        datetime.combine(start, datetime.min.time(), UTC),
        [],
    )
    while first + (len(weeks) + 1) * length <= END:
        begin = first + len(weeks) * length
        weeks.append(rows.filter(pl.col("at").is_between(begin, begin + length, closed="left")))
    return Year(params=params, spec=spec, reference=reference, weeks=weeks, first=first, labels=labels)


def window_of(year: Year, week: int) -> Window:
    """The window of a week, with those before it and the labels that are known at its end."""
    settings = year.params.monitor
    length = timedelta(days=settings.window_days)
    start = year.first + week * length
    earlier = list(reversed(year.weeks[max(0, week - settings.history_windows) : week]))
    labels = year.labels.filter(pl.col("known_at") <= start + length)
    return Window(spec=year.spec, settings=settings, start=start, end=start + length, rows=year.weeks[week],
                  earlier=earlier, labels=labels, reference=year.reference)  # fmt: skip


def word(answer: Answer) -> str:
    """The verdict that the checks of an answer make."""
    words = [check.ok for check in answer.checks]
    return "fail" if False in words else "unsure" if None in words else "pass"


def healthy(year: Year) -> Iterator[dict[str, Any]]:
    """The word of every question in every week as it was, with the texts of the failed checks."""
    for week in range(len(year.weeks)):
        answers = {name: ask(window_of(year, week)) for name, ask in QUESTIONS.items()}
        failed = [check.text for answer in answers.values() for check in answer.checks if check.ok is False]
        yield {"week": week, **{name: word(answer) for name, answer in answers.items()}, "failed": failed}


def convert(column: str, slope: float, offset: float = 0.0) -> Change:
    """The column in another unit."""
    return lambda rows: rows.with_columns(pl.col(column) * slope + offset)


def stick(column: str, days: int) -> Change:
    """The column at the value that it has at the beginning, in the last `days` days."""

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        begin = rows["at"].max() - timedelta(days=days)  # type: ignore[operator]
        value = rows.filter(pl.col("at") > begin)[column].drop_nulls()[0]
        return rows.with_columns(pl.when(pl.col("at") > begin).then(pl.lit(value)).otherwise(column).alias(column))

    return change


def stop(column: str, days: int) -> Change:
    """The column missing in the last `days` days."""

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        begin = rows["at"].max() - timedelta(days=days)  # type: ignore[operator]
        return rows.with_columns(pl.when(pl.col("at") <= begin).then(column).alias(column))

    return change


def rename(column: str, old: str, new: str) -> Change:
    """One value of a category spelled in another way."""
    return lambda rows: rows.with_columns(pl.col(column).replace(old, new))


FAULTS: Mapping[str, tuple[str, Change]] = {
    "`temp` in °C": ("inputs", convert("temp", 5 / 9, -160 / 9)),
    "`dewp` in °C": ("inputs", convert("dewp", 5 / 9, -160 / 9)),
    "`wind_speed` in m/s": ("inputs", convert("wind_speed", 0.44704)),
    "`distance` in km": ("inputs", convert("distance", 1.609344)),
    "`precip` in mm": ("inputs", convert("precip", 25.4)),
    "`temp` stuck, whole week": ("inputs", stick("temp", 7)),
    "`temp` stuck, last 3 days": ("inputs", stick("temp", 3)),
    "`wind_speed` stuck, whole week": ("inputs", stick("wind_speed", 7)),
    "`visib` stuck, whole week": ("inputs", stick("visib", 7)),
    "`delay` stuck, last 3 days": ("inputs", stick("delay", 3)),
    "carrier UA renamed (17 %)": ("inputs", rename("carrier", "UA", "UAL")),
    "carrier WN renamed (4 %)": ("inputs", rename("carrier", "WN", "SW")),
    "destination ATL renamed (5 %)": ("inputs", rename("dest", "ATL", "KATL")),
    "`temp` stopped, whole week": ("inputs", stop("temp", 7)),
    "`pressure` stopped, last 3 days": ("inputs", stop("pressure", 3)),
    "`seats` stopped, whole week": ("inputs", stop("seats", 7)),
    "`wind_gust` stopped, whole week": ("inputs", stop("wind_gust", 7)),
    "`humid` 40 points too high": ("inputs", convert("humid", 1, 40)),
    "`temp` 30 °F too high": ("inputs", convert("temp", 1, 30)),
    "`wind_speed` 20 mph too high": ("inputs", convert("wind_speed", 1, 20)),
    "`block_minutes` an hour too long": ("inputs", convert("block_minutes", 1, 60)),
    "`delay` five times": ("inputs", convert("delay", 5)),
    "predictions constant": ("predictions", lambda rows: rows.with_columns(prediction=pl.lit(0.23))),
    "predictions NaN in 1 %": ("predictions", lambda rows: rows.with_columns(
        prediction=pl.when(pl.int_range(pl.len()) % 100 == 0).then(float("nan")).otherwise("prediction"))),
    "predictions upside down": ("predictions", convert("prediction", -1, 1)),
}  # fmt: skip
"""Faults of one week: the question that has to see it, and the change of the week's rows."""


def detect(year: Year, question: str, change: Change) -> dict[str, Any]:
    """In how many weeks the question fails when that week has the fault; the first week has no windows before it."""
    words, texts = [], []
    for week in range(len(year.weeks)):
        window = window_of(year, week)
        answer = QUESTIONS[question](replace(window, rows=change(window.rows)))
        words.append(word(answer) == "fail")
        texts += [check.text for check in answer.checks if check.ok is False][:1]
    return {"seen": sum(words), "of": len(words), "missed": [n for n, each in enumerate(words) if not each],
            "example": texts[-1] if texts else None}  # fmt: skip


LASTING = {
    "`temp` in °C": "temp",
    "`temp` stuck, whole week": "temp",
    "carrier UA renamed (17 %)": "carrier",
    "`temp` stopped, whole week": "temp",
}
WEEKS_LATER, FIRST_LASTING = (1, 4, 5), 8
"""The weeks since a fault began, and the first week that is looked at: it has enough windows before it."""


def detect_again(year: Year, column: str, change: Change) -> dict[str, int]:
    """In how many weeks a fault of `column` is reported that began so many weeks before; other inputs are left out."""
    alone = [groups for groups in year.reference.inputs if groups["input"] == column]
    seen = dict.fromkeys(map(str, WEEKS_LATER), 0)
    for later in WEEKS_LATER:
        for week in range(FIRST_LASTING, len(year.weeks)):
            window = window_of(year, week)
            earlier = [*map(change, window.earlier[:later]), *window.earlier[later:]]
            reference = replace(window.reference, inputs=alone)
            answer = inputs.ask(replace(window, rows=change(window.rows), earlier=earlier, reference=reference))
            seen[str(later)] += word(answer) == "fail"
    return seen | {"of": len(year.weeks) - FIRST_LASTING}


def forget(share: float) -> Damage:
    """That share of the labels of four weeks is shuffled within their day: the relation is lost, the rate stays."""

    def change(year: Year, week: int) -> Year:
        rng, parts = np.random.default_rng([SEED, week, int(share * 100)]), []
        rows = pl.concat([each.select("id", day=pl.col("at").dt.date()) for each in year.weeks[week : week + 4]])
        for part in year.labels.join(rows, on="id").partition_by("day"):
            label = part["label"].to_numpy().copy()
            chosen = np.flatnonzero(rng.random(len(label)) < share)
            label[chosen] = rng.permutation(label[chosen])
            parts.append(part.select("id", "known_at").with_columns(label=pl.Series(label)))
        changed = pl.concat(parts).select(year.labels.columns)
        return replace(year, labels=pl.concat([year.labels.join(changed, on="id", how="anti"), changed]))

    return change


def multiply(factor: float) -> Damage:
    """The predictions of four weeks times a factor: the order stays, the probabilities are wrong."""

    def change(year: Year, week: int) -> Year:
        wrong = [each.with_columns(pl.col("prediction") * factor) for each in year.weeks[week : week + 4]]
        return replace(year, weeks=[*year.weeks[:week], *wrong, *year.weeks[week + 4 :]])

    return change


DAMAGES: Mapping[str, Damage] = {
    "30 % of the labels shuffled": forget(0.3),
    "50 % of the labels shuffled": forget(0.5),
    "70 % of the labels shuffled": forget(0.7),
    "all labels shuffled": forget(1.0),
    "probabilities halved": multiply(0.5),
    "probabilities times 0.7": multiply(0.7),
}
"""Sudden damages to what the model is worth: they begin in one week and last."""


def wait_for_labels(year: Year, damage: Damage) -> dict[str, Any]:
    """In how many weeks a damage is seen by the question about performance, by the labelled weeks since it began."""
    settings = year.params.monitor
    late = -(-settings.label_delay_days // settings.window_days)
    first, seen, drops = settings.performance.min_baseline_windows, dict.fromkeys((1, 2, 4), 0), []
    for week in range(first, len(year.weeks) - late - 3):
        changed, fails = damage(year, week), False
        for count in range(1, 5):
            answer = performance.ask(window_of(changed, week + count - 1 + late))
            fails = fails or word(answer) == "fail"
            if count in seen:
                seen[count] += fails
            if count == 1:
                before = performance.ask(window_of(year, week + late)).notes["table"][0]["realised"]
                drops.append(before - answer.notes["table"][0]["realised"])
    return {"of": len(drops), "auc_drop": round(float(np.mean(drops)), 4),
            **{f"seen_after_{count}": number for count, number in seen.items()}}  # fmt: skip


def measure(start: date) -> dict[str, Any]:
    """All figures of one start."""
    with tempfile.TemporaryDirectory() as folder:
        year = build_year(config.load(ROOT / "params.yaml"), start, Path(folder))
    began = time.process_time()
    weeks = list(healthy(year))
    cpu = round((time.process_time() - began) / len(weeks), 2)
    faults = {name: detect(year, question, change) for name, (question, change) in FAULTS.items()}
    again = {name: detect_again(year, column, FAULTS[name][1]) for name, column in LASTING.items()}
    damages = {name: wait_for_labels(year, damage) for name, damage in DAMAGES.items()}
    return {
        "start": str(start),
        "cpu_seconds": cpu,
        "weeks": weeks,
        "faults": faults,
        "lasting": again,
        "damages": damages,
    }


def tables(record: Mapping[str, Any]) -> str:
    """The record as Markdown: healthy weeks, faults and damages, the starts next to each other."""
    starts = record["starts"]
    lines = ["| healthy weekly checks | " + " | ".join(f"model of {each['start']}" for each in starts) + " |",
             "|---" * (len(starts) + 1) + "|"]  # fmt: skip
    for question in QUESTIONS:
        cells = []
        for each in starts:
            words = [week[question] for week in each["weeks"]]
            cells.append(f"{words.count('fail')} fail, {words.count('unsure')} unsure, {words.count('pass')} pass")
        lines.append(f"| {question} | " + " | ".join(cells) + " |")
    failing = [f"{sum(bool(week['failed']) for week in each['weeks'])} of {len(each['weeks'])}" for each in starts]
    lines += ["| **any fails** | " + " | ".join(f"**{each}**" for each in failing) + " |", ""]
    lines += [f"- {each['start']}, week {week['week']}: {'; '.join(week['failed'])}"
              for each in starts for week in each["weeks"] if week["failed"]]  # fmt: skip
    lines += ["", "| fault in one week | " + " | ".join(f"seen, {each['start']} | weeks missed" for each in starts) + " |",
              "|---" * (2 * len(starts) + 1) + "|"]  # fmt: skip
    for name in starts[0]["faults"]:
        faults = [each["faults"][name] for each in starts]
        cells = [f"{fault['seen']} of {fault['of']} | {ranges(fault['missed'])}" for fault in faults]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for each in starts:
        lines += [
            "",
            f"| fault that stays, model of {each['start']} | reported 1 week later | 4 | 5 |",
            "|---|---|---|---|",
        ]
        for name, seen in each["lasting"].items():
            cells = " | ".join(f"{seen[str(later)]} of {seen['of']}" for later in WEEKS_LATER)
            lines.append(f"| {name} | {cells} |")
    for each in starts:
        lines += ["", f"| damage to the model of {each['start']} | drop of AUC in a day | seen after 1 labelled week | 2 | 4 |",
                  "|---|---|---|---|---|"]  # fmt: skip
        for name, damage in each["damages"].items():
            seen = " | ".join(f"{damage[f'seen_after_{count}']} of {damage['of']}" for count in (1, 2, 4))
            lines.append(f"| {name} | {damage['auc_drop']:.3f} | {seen} |")
    return "\n".join(lines)


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as text, runs of them from first to last: 0–2, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "none"


def filled(page: str, made: str) -> str:
    """The page with `made` between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END_MARK)
    assert end, "dev/docs/monitoring.md has lost its marks"
    return f"{before}{BEGIN}\n\n{made}\n\n{END_MARK}{after}"


def main() -> None:
    """Measure each start in a process of its own, write the record and the page; `--page` writes the page alone."""
    if sys.argv[1:] != ["--page"]:
        starts = [date.fromisoformat(text) for text in sys.argv[1:]] or list(STARTS)
        with ProcessPoolExecutor(len(starts), mp_context=get_context("spawn")) as pool:
            results = list(pool.map(measure, starts))
        settings = config.load(ROOT / "params.yaml").monitor.model_dump(mode="json")
        files.write_json(RECORD, {"settings": settings, "starts": results})
    page = PAGE.read_text(encoding="utf-8")
    files.write_text(PAGE, filled(page, tables(files.read_json(RECORD))))
    print(f"{RECORD.relative_to(ROOT)} and {PAGE.relative_to(ROOT)} are written")


if __name__ == "__main__":
    main()
