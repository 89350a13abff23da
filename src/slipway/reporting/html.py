"""The report and the data page as HTML: one file each, no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from slipway.pipeline import plots
from slipway.reporting import jinja_environment, report_data, sections, summary
from slipway.reporting.report_model import Facts, Shift
from slipway.reporting.summary import Delta

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
    ends = [end for row in rows for end in (row.low, row.high)] + [
        end for check in overall for end in (check.low, check.high)
    ]
    margin = max((abs(end) for end in ends if end), default=1.0)
    return _render(
        "report.html.j2",
        facts=facts,
        head=summary.headline(facts),
        cards=[(delta, _change_line(delta)) for delta in summary.metric_deltas(facts)],
        interval=summary.percent_interval(facts),
        slices=[(row, _around_zero(row.difference, row.low, row.high, margin)) for row in rows],
        overall=[(check, _around_zero(check.value, check.low, check.high, margin)) for check in overall],
        params_changed=[summary.short_hashes(row) for row in facts.params_changed],
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
    tokens = reader.parse(cards)
    starts = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h1"]
    parts = [(tokens[at + 1 : at + 2], tokens[at + 3 : end]) for at, end in pairwise([*starts, len(tokens)])]
    html = [[Markup(reader.renderer.render(part, reader.options, {})) for part in pair] for pair in parts]  # noqa: S704
    return [(title, body) for title, body in html]


def _change_line(delta: Delta) -> dict[str, float] | None:
    """Positions of a metric's change and its interval on a line with zero in the middle, in percent."""
    ends = [abs(end) for end in (delta.low, delta.high) if end is not None]
    return _around_zero(delta.change, delta.low, delta.high, max(ends, default=0.0) or 1.0)


def _around_zero(difference: object, low: float | None, high: float | None, margin: float) -> dict[str, float] | None:
    """Positions of a difference and its interval on a line with zero in the middle, in percent."""
    if low is None or high is None or not isinstance(difference, int | float):
        return None
    left, dot, right = (round(50 + 48 * value / margin, 2) for value in (low, difference, high))
    return {"left": left, "width": round(right - left, 2), "dot": dot, "tick": 50}
