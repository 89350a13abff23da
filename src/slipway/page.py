"""The report and the data page as HTML: one file each, no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import ChainableUndefined, Environment, PackageLoader
from markupsafe import Markup

from slipway import facts, plots, views
from slipway.facts import Facts
from slipway.views import Delta, number

ORDER = ("reliability", "predictions", "roc", "precision_recall", "slices", "importance")
"""The pictures of the report, two a row."""


def html(given: Facts, pictures: Mapping[str, str]) -> str:
    """The report as one page; `pictures` are SVG texts by name. Pure."""
    deltas = views.deltas(given)
    rows = views.slices(given)
    overall = views.compared(given)[:1]
    margin = max((abs(v) for row in [*rows, *overall] for v in (row.get("low"), row.get("high")) if v), default=1.0)
    return _render(
        "report.html.j2",
        facts=given,
        head=views.headline(given),
        cards=[(delta, _span(delta)) for delta in deltas],
        slices=[(row, _around_zero(row, margin)) for row in rows],
        overall=[(check, _around_zero({**check, "difference": check.get("value")}, margin)) for check in overall],
        pictures=[Markup(pictures[name]) for name in ORDER if name in pictures],  # noqa: S704 - drawn by plots
        commands=facts.commands(given),
    )


def data(given: Facts, days: str) -> str:
    """The table's page: faults, every column with its distribution, and `days`, an SVG text. Pure."""
    return _render("data.html.j2", facts=given, quality=given.quality, days=Markup(days))  # noqa: S704 - as above


def _render(name: str, **values: Any) -> str:
    """A template with everything that is not a drawing escaped; what a record lacks is shown as nothing."""
    env = Environment(loader=PackageLoader("slipway"), autoescape=True, undefined=ChainableUndefined,
                      trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    env.filters |= {
        "number": number,
        "plain": lambda value: plots.plain(value, 200),
        "sentence": views.sentence,
    }
    palette = Markup(plots.css())  # noqa: S704 - constants
    return env.get_template(name).render(palette=palette, **values) + "\n"


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
