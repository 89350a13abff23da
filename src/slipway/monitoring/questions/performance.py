"""Answer whether the model got worse, from the rows whose labels have come, against the labelled windows before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from slipway.core import config
from slipway.core.verdict import Check
from slipway.monitoring.questions import estimate, skill
from slipway.monitoring.questions.skill import Floats, Skill
from slipway.monitoring.window import Answer, Window
from slipway.pipeline import metrics

RESAMPLES = 1000
"""Draws of whole days for an interval."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A window whose labels are due: its first moment, the sums of its days, [days, columns], its rows and its labels."""

    start: datetime
    sums: Floats
    rows: int
    labels: int


def ask(window: Window) -> Answer:
    """Compare the skill of the newest labelled windows with those before, and put the label-free estimate next to it."""
    settings, task = window.settings, skill.TASKS[window.spec.task]
    limits = settings.performance
    windows = labelled_windows(window, task)
    usable = [each for each in windows if each.labels >= max(settings.min_rows, limits.min_label_share * each.rows)]
    notes: dict[str, Any] = {
        "estimate": estimate.describe(window, task, [each.sums for each in usable]),
        "table": [_table_row(task, each) for each in windows],
    }
    check = _check_labels(windows, settings)
    if not check.ok:
        return Answer(sentence=f"Unsure: {check.text}.", checks=[check], rows=0, notes=notes)
    checks = [check, _check_guess(task, usable[0], settings.confidence)]
    comparisons = _compare(task, usable, limits, settings.confidence)
    checks += comparisons or [_too_few_windows(usable, limits)]
    return Answer(sentence=_sentence(checks, task, usable), checks=checks, rows=usable[0].labels, notes=notes)


def labelled_windows(window: Window, task: Skill) -> list[Labelled]:
    """The windows that ended at least the label delay before the end of this one, newest first, with their labels."""
    length, due = window.end - window.start, window.end - timedelta(days=window.settings.label_delay_days)
    labels = window.labels.select("id", "label").drop_nulls().unique("id")
    windows = []
    for number, rows in enumerate([window.rows, *window.earlier]):
        start = window.start - number * length
        if start + length <= due and len(rows):
            joined = rows.select("id", "prediction", day=pl.col("at").dt.date().to_physical()).join(labels, on="id")
            joined = joined.filter(pl.col("prediction").is_finite())
            target, prediction = (joined[name].cast(pl.Float64).to_numpy() for name in ("label", "prediction"))
            sums = skill.day_sums(task, target, prediction, joined["day"].cast(pl.Int64).to_numpy())
            windows.append(Labelled(start=start, sums=sums, rows=len(rows), labels=len(joined)))
    return windows


def _check_labels(windows: Sequence[Labelled], settings: config.Monitor) -> Check:
    """Undecided when no window is old enough, or too few rows of the newest one that is have a label."""
    needed = f"≥ {settings.performance.min_label_share:.0%}"
    if not windows:
        text = f"no window is older than the {settings.label_delay_days} days after which labels are due"
        return Check(name="labels", value=None, limit=needed, ok=None, text=text)
    newest = windows[0]
    share, when = newest.labels / newest.rows, f"{newest.start:%Y-%m-%d}"
    if newest.labels < settings.min_rows:
        needed = f"≥ {settings.min_rows:,} labels"
    enough = share >= settings.performance.min_label_share and newest.labels >= settings.min_rows
    text = f"{newest.labels:,} of {newest.rows:,} rows of the window from {when} have a label"
    return Check(name="labels", value=round(share, 4), limit=needed, ok=True if enough else None, text=text)


def _check_guess(task: Skill, newest: Labelled, confidence: float) -> Check:
    """Fails when the whole interval of the realised skill is below that of a guess."""
    low, high = _interval(task.realised(_draw(newest.sums, seed=0)), confidence)
    value = float(task.realised(newest.sums.sum(axis=0)))
    ok = None if not np.isfinite([value, low, high]).all() else high >= task.guess
    text = f"The {task.words} is {value:.3f}" + (", worse than a guess" if ok is False else "")
    return Check(name="skill", value=_rounded(value), low=_rounded(low), high=_rounded(high), limit=f"≥ {task.guess}", ok=ok,
                 text=text if ok is not None else "No day has rows that can be compared")  # fmt: skip


def _compare(
    task: Skill, usable: Sequence[Labelled], limits: config.MonitorPerformance, confidence: float
) -> list[Check]:
    """The checks of the newest windows against those before, for each number of them that has enough before it."""

    def compare(count: int, values: Callable[[Floats], Floats]) -> Change | None:
        newest, before = usable[:count], usable[count : count + limits.baseline_windows]
        return _change(values, newest, before, confidence) if len(before) >= limits.min_baseline_windows else None

    checks = []
    for count, allowed in sorted(limits.skill_drops.items()):
        if change := compare(count, lambda sums: skill.gap(task, sums)):
            checks.append(_check_drop(task, change, allowed))
    if surprise := task.surprise:
        for count, allowed in sorted(limits.loss_rises.items()):
            if change := compare(count, lambda sums: -surprise(sums)):
                checks.append(_check_rise(change, allowed))
    return checks


@dataclass(frozen=True, kw_only=True)
class Change:
    """Change of a value between the windows before and the newest ones, with the ends of its interval; a fall is worse."""

    value: float
    low: float
    high: float
    newest: int
    before: int

    @property
    def name(self) -> str:
        """The newest windows in words."""
        return "newest window" if self.newest == 1 else f"newest {self.newest} windows"

    def within(self, allowed: float) -> bool | None:
        """False for a fall by more than is allowed whose whole interval is below 0; None if nothing was measured."""
        if not np.isfinite([self.value, self.low, self.high]).all():
            return None
        return not (self.value < -allowed and self.high < 0)


def _change(
    values: Callable[[Floats], Floats], newest: Sequence[Labelled], before: Sequence[Labelled], confidence: float
) -> Change:
    now, then = np.concatenate([each.sums for each in newest]), np.concatenate([each.sums for each in before])
    low, high = _interval(values(_draw(now, seed=1)) - values(_draw(then, seed=2)), confidence)
    value = float(values(now.sum(axis=0)) - values(then.sum(axis=0)))
    return Change(value=value, low=low, high=high, newest=len(newest), before=len(before))


def _check_drop(task: Skill, change: Change, allowed: float) -> Check:
    beyond = ", beyond what the predictions themselves expect" if task.expected else ""
    text = (
        f"In the {change.name} the {task.words} {'fell' if change.value < 0 else 'rose'} by {abs(change.value):.3f} "
        f"against the {change.before} labelled windows before{beyond}"
    )
    return Check(name=f"skill in the {change.name}", value=_rounded(change.value), low=_rounded(change.low),
                 high=_rounded(change.high), limit=f"≥ {-allowed}", ok=change.within(allowed), text=text)  # fmt: skip


def _check_rise(change: Change, allowed: float) -> Check:
    text = (
        f"In the {change.name} the mean loss {'rose' if change.value < 0 else 'fell'} by {abs(change.value):.3f} against what "
        f"the predictions expect, compared with the {change.before} labelled windows before"
    )
    return Check(name=f"loss in the {change.name}", value=_rounded(-change.value), low=_rounded(-change.high),
                 high=_rounded(-change.low), limit=f"≤ {allowed}", ok=change.within(allowed), text=text)  # fmt: skip


def _too_few_windows(usable: Sequence[Labelled], limits: config.MonitorPerformance) -> Check:
    needed = limits.min_baseline_windows + min(limits.skill_drops)
    text = f"{len(usable)} labelled windows are too few to tell a drop from an ordinary week"
    return Check(name="labelled windows", value=len(usable), limit=f"≥ {needed}", ok=None, text=text)


def _draw(sums: Floats, *, seed: int) -> Floats:
    """[resamples, columns]: the sums of as many days, drawn with replacement."""
    return np.asarray(metrics.draw_days(len(sums), RESAMPLES, seed) @ sums)


def _interval(drawn: Floats, confidence: float) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None


def _table_row(task: Skill, each: Labelled) -> dict[str, Any]:
    """One labelled window for the report: realised and expected skill, rows and labels."""
    total = each.sums.sum(axis=0) if len(each.sums) else None
    realised, expected = (
        _rounded(float(function(total))) if function and total is not None else None
        for function in (task.realised, task.expected)
    )
    return {"from": f"{each.start:%Y-%m-%d}", "rows": each.rows, "labels": each.labels, "realised": realised,
            "expected": expected}  # fmt: skip


def _sentence(checks: Sequence[Check], task: Skill, usable: Sequence[Labelled]) -> str:
    failed = [check.text for check in checks if check.ok is False]
    if failed:
        return f"Performance got worse: {'; '.join(failed)}."
    if unsure := [check.text for check in checks if check.ok is None]:
        return f"Unsure: {unsure[0]}."
    value = float(task.realised(usable[0].sums.sum(axis=0)))
    return f"Performance is as before: the {task.words} is {value:.3f} in the newest window with labels."
