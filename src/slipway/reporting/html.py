"""The report and the data page as HTML: one file each, no script, nothing loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from slipway.pipeline import plots
from slipway.reporting import jinja_environment, report_data, sections, summary
from slipway.reporting.report_model import CheckRecord, Facts, Shift
from slipway.reporting.summary import Delta, SliceRow

ORDER = ("reliability", "predictions", "roc", "precision_recall", "slices", "importance")
"""The pictures of the report, two in a row."""
MAX_FIELDS = 100
"""Fields that are shown of an object that changed."""
NEAR = 12
"""Inputs that are shown above the folded list."""


def report_page(facts: Facts, pictures: Mapping[str, str], cards: str = "") -> str:
    """The report as one page; `pictures` are SVG texts by name, `cards` both cards as Markdown.

    Where the pipeline stopped nothing was measured, and pictures of an earlier run are not shown.
    """
    rows = summary.slice_rows(facts)
    overall = summary.paired_checks(facts)[:1]
    ends = [(row.low, row.high) for row in rows] + [(check.low, check.high) for check in overall]
    axis = _axis([end for pair in ends for end in pair], facts)
    return _render(
        "report.html.j2",
        facts=facts,
        head=summary.headline(facts),
        cards=[(delta, _change_line(delta)) for delta in summary.metric_deltas(facts)],
        interval=summary.percent_interval(facts),
        slices=[(row, _interval(row, row.difference, axis)) for row in rows],
        overall=[(check, _interval(check, check.value, axis)) for check in overall],
        axis={"ticks": axis.ticks, **axis.limits},
        restart=summary.describe_restart(facts),
        comparison=summary.describe_comparison(facts),
        params_changed=summary.changed_params(facts),
        gates=[(chapter, gate, sections.gate_sentence(facts, chapter), summary.describe_size(chapter, gate))
               for chapter, gate in facts.gates.items()],
        pictures=[Markup(pictures[name]) for name in ORDER if facts.metrics and name in pictures],  # noqa: S704 - drawn by plots
        changed=_changed(facts),
        latency_rows=sections.latency_rows(facts),
        latency=sections.latency_outcome(facts),
        delivery=sections.delivery_sentences(facts),
        objects=sections.change_rows(facts.delivery.changes, MAX_FIELDS),
        folds=_folded(cards) if facts.metrics else [],
        commands=report_data.commands_to_reproduce(facts),
    )  # fmt: skip


def data_page(facts: Facts, days: str) -> str:
    """The table's page: faults, every column with its distribution, and `days`, an SVG text."""
    return _render("data.html.j2", facts=facts, quality=facts.quality, days=Markup(days))  # noqa: S704 - as above


def _render(name: str, **values: Any) -> str:
    return jinja_environment.render(name, palette=Markup(plots.palette_css()), **values)  # noqa: S704 - constants


def _changed(facts: Facts) -> dict[str, Any]:
    """Differences of the data, the inputs that moved farthest first; empty where nothing was compared."""
    data = facts.judge.data
    if data is None or not (data.inputs or any(data.train)):
        return {}
    rows = [_input_row(row) for row in summary.by_shift(data.inputs)]
    compared = any(row["train"] for row in rows)  # else the base left nothing to compare with
    return {"windows": data.train, "near": rows[:NEAR], "far": rows[NEAR:], "compared": compared, "gone": data.gone,
            "prediction": data.prediction, "training": summary.describe_windows(data),
            "inputs": summary.describe_shifts(data), "limit": summary.SHIFTED}  # fmt: skip


def _input_row(row: Shift) -> dict[str, Any]:
    return {"input": row.input, "train": _reach(row.train), "test": _reach(row.test), "missing": row.missing}


def _reach(shift: float | None) -> dict[str, float] | None:
    """A stability index, and its length in percent on a line that ends at 1."""
    return None if shift is None else {"value": shift, "width": round(100 * min(max(shift, 0.0), 1.0), 2)}


def _folded(cards: str) -> list[tuple[str, Markup]]:
    """Each card's title and body as HTML; the cards hold escaped text only, and the parser takes no HTML."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("table_open", _open_table)
    reader.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")
    tokens = reader.parse(cards)
    for token in tokens:
        if token.tag == "h2":
            token.tag = "h3"  # the page's own headings are one level up
        elif token.type == "th_open":
            token.attrSet("scope", "col")
    starts = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h1"]
    parts = [(tokens[at + 1 : at + 2], tokens[at + 3 : end]) for at, end in pairwise([*starts, len(tokens)])]
    html = [[Markup(reader.renderer.render(part, reader.options, {})) for part in pair] for pair in parts]  # noqa: S704
    return [(title, body) for title, body in html]


def _open_table(*_: Any) -> str:
    """A table within a box that scrolls sideways, as the template's macro `scroll` makes it."""
    return '<div class="scroll" role="group" aria-label="Table" tabindex="0">\n<table>\n'


def _change_line(delta: Delta) -> dict[str, float] | None:
    """Positions of a metric's change and its interval on a line with zero in the middle, in percent."""
    reach = max((abs(end) for end in (delta.low, delta.high) if end is not None), default=0.0) or 1.0
    span = _interval(delta, delta.change, Axis(-reach, reach, None, None))
    return span and span | {"tick": 50}


@dataclass(frozen=True)
class Axis:
    """An axis of differences, with zero and the limits on it; positions on it are in percent of its width."""

    low: float
    high: float
    margin: float | None
    slice_margin: float | None

    def at(self, value: float) -> float:
        """The position of a difference; a little is left free at both ends."""
        return round(4 + 92 * (value - self.low) / (self.high - self.low), 2)

    @property
    def limits(self) -> dict[str, float | None]:
        """The positions of both limits."""
        return {
            "margin": None if self.margin is None else self.at(self.margin),
            "slice_margin": None if self.slice_margin is None else self.at(self.slice_margin),
        }

    @property
    def ticks(self) -> list[dict[str, Any]]:
        """Round ticks, whose labels stay within the axis; a phone shows only zero and the outermost ones."""
        step = 10.0 ** math.floor(math.log10(self.high - self.low))
        step = next(size for size in (step / 5, step / 2, step, 2 * step) if (self.high - self.low) / size < 7)
        counts = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
        return [self._tick(n * step, minor=n not in (0, counts[0], counts[-1])) for n in counts]

    def _tick(self, value: float, *, minor: bool) -> dict[str, Any]:
        """A tick with its label; `shift` moves a label at the end of the axis inwards, in percent of its width."""
        at = self.at(value)
        label = f"{value:+.6g}".replace("-", "−") if value else "0"
        return {"at": at, "label": label, "zero": not value, "minor": minor,
                "shift": 0 if at < 10 else -100 if at > 90 else -50}  # fmt: skip


def _axis(ends: Iterable[float | None], facts: Facts) -> Axis:
    """An axis that holds all ends of intervals, both limits, and some room on either side of zero."""
    margin, slice_margin = facts.judge.margin, facts.judge.slice_margin
    values = [0.0, *(value for value in (*ends, margin, slice_margin) if value is not None)]
    room = 0.2 * (max(values) - min(values)) or 1.0
    return Axis(min(*values, -room), max(*values, room), margin, slice_margin)


def _interval(row: SliceRow | CheckRecord | Delta, difference: object, axis: Axis) -> dict[str, float] | None:
    """Positions of a difference and its interval on the axis."""
    if row.low is None or row.high is None or not isinstance(difference, int | float):
        return None
    low, dot, high = (axis.at(value) for value in (row.low, difference, row.high))
    return {"left": low, "width": round(high - low, 2), "dot": dot}
