"""`monitor`: answer four questions about what production answered: service, inputs, predictions, performance."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from slipway import problem
from slipway.core import config, environment, files, ledger
from slipway.core.verdict import Check, Verdict
from slipway.errors import ConfigError, DataError, Inconclusive
from slipway.loadtest import slo
from slipway.monitoring import evidently_page, labels, prediction_log, window_report
from slipway.monitoring.log_files import remote
from slipway.monitoring.questions import inputs, performance, predictions, service
from slipway.monitoring.window import Answer, Reference, Window
from slipway.pipeline import drift
from slipway.records import append_only, records_branch
from slipway.records.record import from_verdict_file

FOLDER = Path("reports/monitor")
QUESTIONS = ("service", "inputs", "predictions", "performance")
DIGITS = 12
"""Digits of a model's SHA-256 that the log has."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The log's folder, and the window: the `days` before `until`."""

    log: Path
    until: datetime
    days: int

    @property
    def length(self) -> timedelta:
        """The length of a window."""
        return timedelta(days=self.days)

    @property
    def start(self) -> datetime:
        """The first moment of the window."""
        return self.until - self.length

    def earliest(self, history_windows: int) -> datetime:
        """The first moment of the windows before the window; OverflowError if it is before the year 1."""
        return self.start - history_windows * self.length


def run(
    params: config.Params, *, log: str | None = None, until: datetime | None = None, days: int | None = None,
    record: bool = False, push: bool = False, evidently: bool = False, root: Path = Path(),
) -> str:  # fmt: skip
    """Judge a window of the log, write the verdicts and the report, and return a sentence.

    `log` is a folder or an fsspec URL, whose files are copied first. ConfigError if the store refuses.
    With `evidently` Evidently's own page is written, too. With `record` the verdicts are appended to the records branch
    first, which is checked before; with `push` they go to origin. CheckFailed if one of the questions fails, Inconclusive
    if one cannot be decided.
    """
    if push and not record:
        raise ConfigError("--push pushes the records, and none are made", hint="slipway monitor --record --push")
    place = log or params.monitor.log
    request = Request(
        log=environment.cache_home(root) / "log-copy" if remote.is_url(place) else root / place,
        until=until or datetime.now(UTC),
        days=days or params.monitor.window_days,
    )
    require_calendar(request, params.monitor.history_windows)
    if remote.is_url(place):
        earliest = request.earliest(params.monitor.history_windows)
        remote.local_copy(place, request.log, earliest, request.until, root=root)
    if record:
        append_only.check(root)
    verdicts = judge(params, request, root=root)
    overall = combine(verdicts)
    write(verdicts, overall, root=root)
    if record:
        paths = [root / FOLDER / f"{name}.json" for name in QUESTIONS]
        records_branch.append([from_verdict_file(path, env="production") for path in paths], root=root, push=push)
    if evidently:
        evidently_page.write(params, request.log, request.start, request.until, root=root)
    overall.enforce(hint=f"read {FOLDER}/report.md")
    return f"{overall.rows:,} rows of the {request.days} days before {request.until:%Y-%m-%d %H:%M %Z}: nothing moved"


def require_calendar(request: Request, history_windows: int) -> None:
    """ConfigError if the windows before `until`, or a day after it, are beyond the years 1 to 9999."""
    try:
        request.earliest(history_windows), request.until + timedelta(days=1)
    except OverflowError:
        raise ConfigError(
            f"--until is {request.until:%Y-%m-%d}: the windows of {request.days} days around it leave the calendar",
            expected="a later --until or fewer --days", hint="slipway monitor --until 2026-03-04T00:00Z",
        ) from None  # fmt: skip


def judge(params: config.Params, request: Request, *, root: Path = Path()) -> dict[str, Verdict]:
    """The verdict of each question about a window of the log."""
    started, settings = time.monotonic(), params.monitor
    spec, limits = problem.load(params.problem), slo.read(root / slo.PATH)
    objectives = slo.require_objectives(limits)
    reference = read_reference(spec, root)
    earliest = request.earliest(settings.history_windows)
    log = prediction_log.read(request.log, spec, start=earliest, end=request.until, inputs_from=earliest)
    known = labels.read(request.log, until=request.until)
    model, others = released_model(log.rows.filter(pl.col("at") >= request.start), root)
    own = log.rows.filter(pl.col("model").eq_missing(pl.lit(model, dtype=pl.String)))
    current = own.filter(pl.col("at") >= request.start)
    about = {"from": request.start.isoformat(), "to": request.until.isoformat(), "rows": len(current)}
    notes = {"window": about, "model": model, "other_models": others, "left_out": dict(log.counts), "lost": log.lost}
    window = Window(
        spec=spec, settings=settings, start=request.start, end=request.until, rows=answered(current),
        earlier=earlier_windows(own, request, settings.history_windows),
        labels=known, reference=reference,
    )  # fmt: skip
    all_models = replace(window, earlier=earlier_windows(log.rows, request, settings.history_windows))
    answers = {
        "service": ask_service(current, objectives, limits, settings, request, log.lost),
        "inputs": inputs.ask(all_models), "predictions": predictions.ask(window), "performance": performance.ask(window),
    } if len(current) else dict.fromkeys(QUESTIONS, _empty(request))  # fmt: skip
    seconds = time.monotonic() - started
    return {name: make_verdict(name, answer, notes, seconds) for name, answer in answers.items()}


def ask_service(
    rows: pl.DataFrame, objectives: slo.Objectives, limits: slo.Slo, settings: config.Monitor, request: Request, lost: int
) -> Answer:  # fmt: skip
    """The answer about the service, by the log or by Prometheus if params.yaml names one."""
    if settings.prometheus is None:
        return service.ask(service.count(rows, objectives), objectives, confidence=settings.confidence, lost=lost)
    routes = sorted({name.partition(" ")[2] for name in limits.endpoints})
    try:
        counts = service.from_prometheus(settings.prometheus, objectives, routes, request.start, request.until)
    except Inconclusive as error:
        check = Check(name="requests", value=None, limit="an answer", ok=None, text=error.message)
        return _unsure(check, notes={"budget": []})
    return service.ask(counts, objectives, confidence=settings.confidence, lost=lost)


def _empty(request: Request) -> Answer:
    text = f"the log in {request.log} has no predictions of the {request.days} days before {request.until:%Y-%m-%d %H:%M %Z}"
    return _unsure(Check(name="rows", value=0, limit="≥ 1", ok=None, text=text), notes={})


def _unsure(check: Check, notes: Mapping[str, Any]) -> Answer:
    """The answer where nothing could be judged: the check has the reason as its text."""
    return Answer(sentence=f"Unsure: {check.text}.", checks=[check], rows=0, notes=notes)


def answered(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that were answered: those of a failed request have a status, and no prediction."""
    return rows.filter(pl.col("status").is_null())


def earlier_windows(rows: pl.DataFrame, request: Request, count: int) -> list[pl.DataFrame]:
    """The answered rows of the `count` windows before the window, newest first; without those older than the oldest row."""
    windows = []
    for number in range(1, count + 1):
        start = request.start - number * request.length
        windows.append(answered(rows.filter(pl.col("at").is_between(start, start + request.length, closed="left"))))
    while windows and not len(windows[-1]):
        windows.pop()
    return windows


def released_model(rows: pl.DataFrame, root: Path) -> tuple[str | None, dict[str, int]]:
    """The model that is judged, and the rows of every other one: production's by the ledger, else that of most rows."""
    counts = {name: int(n) for name, n in rows["model"].drop_nulls().value_counts(sort=True).iter_rows()}
    newest = ledger.newest_line(ledger.read("production", root))
    released = newest.model_sha256[:DIGITS] if newest else None
    model = released if released in counts else next(iter(counts), None)
    return model, {name: n for name, n in counts.items() if name != model}


def read_reference(spec: problem.Problem, root: Path = Path()) -> Reference:
    """The training data and the test window as reports/ describes them; DataError if they are of another contract."""
    hint = "run `make repro`, which writes it"
    described = files.read_json(root / drift.PATH, kind=list, hint=hint)
    with files.parsing(root / drift.PATH, hint=hint):
        stated = {str(row["input"]) for row in described}
    expected = {*problem.names(spec.inputs, "category"), *problem.names(spec.inputs, "number")}
    if stated != expected:
        differing = ", ".join(sorted(stated ^ expected)[:3])
        raise DataError(
            f"{drift.PATH} describes other inputs than the contract of {spec.name}: {differing}",
            expected="the inputs of the contract", hint=hint,
        )  # fmt: skip
    return Reference(
        inputs=described,
        predictions=files.read_json(root / "reports/plots/predictions.json", kind=list, hint=hint),
        metrics=files.read_json(root / "reports/metrics.json", hint=hint),
    )


def make_verdict(name: str, answer: Answer, about: Mapping[str, Any], seconds: float) -> Verdict:
    """The verdict of a question; its notes have the sentence, the window, the model and the question's tables."""
    return Verdict(chapter=f"monitor-{name}", checks=answer.checks, rows=answer.rows, seconds=seconds,
                   notes={"sentence": answer.sentence, **about, **answer.notes})  # fmt: skip


def combine(verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict of `monitor`: one check for each question."""
    words = {"pass": True, "fail": False, "unsure": None}
    checks = [Check(name=name, value=each.word, limit="pass", ok=words[each.word], text=str(each.notes["sentence"]))
              for name, each in verdicts.items()]  # fmt: skip
    first = next(iter(verdicts.values()))
    about = {name: first.notes[name] for name in ("window", "model", "other_models", "left_out", "lost")}
    return Verdict(
        chapter="monitor", checks=checks, rows=first.notes["window"]["rows"], seconds=first.seconds, notes=about
    )


def write(verdicts: Mapping[str, Verdict], overall: Verdict, *, root: Path = Path()) -> None:
    """Write the verdict of each question, the overall one, and the report in Markdown and HTML."""
    for name, each in verdicts.items():
        each.write(root / FOLDER / f"{name}.json")
    overall.write(root / "reports/monitor.json")
    window_report.write(verdicts, overall, root / FOLDER, root=root)
