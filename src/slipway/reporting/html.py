"""The report and the data page as HTML: one file each, no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from jinja2 import ChainableUndefined, Environment, PackageLoader
from markdown_it import MarkdownIt
from markupsafe import Markup

from slipway.core import text
from slipway.pipeline import plots
from slipway.reporting import report_data, sections, summary
from slipway.reporting.report_data import Facts
from slipway.reporting.summary import Delta, number

ORDER = ("reliability", "predictions", "roc", "precision_recall", "slices", "importance")
"""The pictures of the report, two a row."""
MAX_FIELDS = 100
"""Shown of an object that changed."""
NEAR = 12
"""Inputs that are shown before one has to open the list."""


def html(given: Facts, pictures: Mapping[str, str], cards: str = "") -> str:
    """The report as one page; `pictures` are SVG texts by name, `cards` the Markdown of `card`. Pure.

    Where the pipeline stopped nothing was measured, and pictures of before are not shown.
    """
    deltas = summary.deltas(given)
    rows = summary.slices(given)
    overall = summary.compared(given)[:1]
    margin = max((abs(v) for row in [*rows, *overall] for v in (row.get("low"), row.get("high")) if v), default=1.0)
    return _render(
        "report.html.j2",
        facts=given,
        head=summary.headline(given),
        cards=[(delta, _span(delta)) for delta in deltas],
        slices=[(row, _around_zero(row, margin)) for row in rows],
        overall=[(check, _around_zero({**check, "difference": check.get("value")}, margin)) for check in overall],
        pictures=[Markup(pictures[name]) for name in ORDER if given.metrics and name in pictures],  # noqa: S704 - drawn by plots
        changed=_changed(given),
        pace=sections.latency_rows(given),
        paced=sections.latency_outcome(given),
        delivery=sections.lines(given),
        objects=sections.change_rows(given.delivery.get("changes") or (), MAX_FIELDS),
        folds=_folded(cards) if given.metrics else [],
        commands=report_data.commands(given),
    )


def data(given: Facts, days: str) -> str:
    """The table's page: faults, every column with its distribution, and `days`, an SVG text. Pure."""
    return _render("data.html.j2", facts=given, quality=given.quality, days=Markup(days))  # noqa: S704 - as above


def _render(name: str, **values: Any) -> str:
    """A template with everything that is not a drawing escaped; what a record lacks is shown as nothing."""
    env = Environment(loader=PackageLoader("slipway.reporting"), autoescape=True, undefined=ChainableUndefined,
                      trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    env.filters |= {
        "number": lambda value, **how: text.printable(number(value, **how), 60),
        "plain": _plain,
        "sentence": summary.sentence,
    }
    palette = Markup(plots.css())  # noqa: S704 - constants
    return env.get_template(name).render(palette=palette, **values) + "\n"


def _plain(value: object, limit: int = 200) -> str:
    return text.printable(value, limit)


def _changed(given: Facts) -> dict[str, Any]:
    """What differs in the data, the inputs that moved farthest first; empty where nothing was compared."""
    found = given.judge.get("data") or {}
    if not found.get("inputs"):
        return {}
    rows = sorted(found["inputs"], key=lambda row: (-(row.get("train") or 0.0), -(row.get("test") or 0.0)))
    moved = [{**row, **{of: _reach(row.get(of)) for of in ("train", "test")}} for row in rows]
    known = any(row["train"] for row in moved)  # else the base left nothing to compare with
    return {"windows": found["train"], "near": moved[:NEAR], "far": moved[NEAR:], "known": known,
            "gone": found.get("gone"), "prediction": found.get("prediction"), "words": summary.training_data_summary(given),
            "limit": summary.SHIFTED}  # fmt: skip


def _reach(shift: float | None) -> dict[str, float] | None:
    """A stability index, and how much of a line that ends at 1 it takes, in percent."""
    return None if shift is None else {"value": shift, "width": round(100 * min(max(shift, 0.0), 1.0), 2)}


def _folded(cards: str) -> list[tuple[str, Markup]]:
    """Each card's title, and the card as HTML: markup of strangers is text in Markdown already, and HTML is off."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(cards)
    starts = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h1"]
    parts = [(tokens[at + 1 : at + 2], tokens[at + 3 : end]) for at, end in pairwise([*starts, len(tokens)])]
    html = [[Markup(reader.renderer.render(part, reader.options, {})) for part in pair] for pair in parts]  # noqa: S704
    return [(title, body) for title, body in html]


def _span(delta: Delta) -> dict[str, float] | None:
    """Where interval, value and reference stand on a card's line, in percent of its width."""
    if delta.low is None or delta.high is None:
        return None
    low, width = delta.low, (delta.high - delta.low) or 1.0

    def at(value: float) -> float:  # what lies far outside is shown at the end
        return round(min(max(15 + 70 * (value - low) / width, 1), 99), 2)

    span = {"left": at(delta.low), "width": round(at(delta.high) - at(delta.low), 2), "dot": at(delta.after)}
    return span | ({"tick": at(delta.before)} if delta.before is not None else {})


def _around_zero(row: Mapping[str, Any], margin: float) -> dict[str, float] | None:
    """Where a difference and its interval stand on a line with zero in the middle, in percent."""
    if row.get("low") is None or row.get("high") is None or row.get("difference") is None:
        return None
    left, dot, right = (round(50 + 48 * row[name] / margin, 2) for name in ("low", "difference", "high"))
    return {"left": left, "width": round(right - left, 2), "dot": dot, "tick": 50}
