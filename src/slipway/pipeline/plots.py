"""Draw plot data as SVG that adapts to a light or dark page; the same data gives the same bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.core import files
from slipway.core.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = {
    "ink": ("#1d2733", "#e4e9ef"),
    "muted": ("#5d6b7a", "#9aa7b4"),
    "grid": ("#e3e8ed", "#2c3642"),
    "accent": ("#0f6fc5", "#5aaef5"),
    "soft": ("#cfe2f5", "#1f4468"),
}
"""The colours of each role, on a light and on a dark page."""
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
WIDTH, HEIGHT = 4.7, 3.4
"""In inches of 72 pixels; narrow, so that text stays readable on a phone."""
SHOWN = 16
"""How many rows of a list are drawn; the data file has all of them."""

Rows = Sequence[dict[str, Any]]
Plot = Callable[["Figure", Any], str]


def draw_all(data: Path, out: Path) -> list[Path]:
    """Draw every plot that has a `<name>.json` in `data` as `<name>.svg` in `out`; return the files written.

    A plot without data is left out: a regression has no ROC curve.
    """
    drawn = []
    for name, plot in PLOTS.items():
        source, target = data / f"{name}.json", out / f"{name}.svg"
        target.unlink(missing_ok=True)  # a plot of an earlier run must not be mistaken for one of this run
        if source.exists() and (rows := files.read_json(source)):
            files.write_text(target, render_svg(plot, rows, name=name))
            drawn.append(target)
    return drawn


def render_svg(plot: Plot, rows: Any, *, name: str) -> str:
    """Draw one plot as the text of an SVG file: transparent background, text as text, colours as CSS variables.

    The same rows give the same bytes. Ids contain `name`, so that several plots fit in one page.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with mpl.rc_context(_style() | {"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from font"
        )  # the font of the reader's browser has it
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        FigureCanvasSVG(figure)
        title = plot(figure, rows)
        figure.suptitle(title, x=0.015, ha="left", size=11, weight="bold")
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _with_theme(buffer.getvalue(), title)


def palette_css() -> str:
    """The palette as CSS variables that follow the reader's colour scheme; the report's pages use the same ones."""
    light, dark = ("".join(f"--{role}:{pair[i]};" for role, pair in PALETTE.items()) for i in (0, 1))
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _style() -> dict[str, Any]:
    colour = {role: light for role, (light, _) in PALETTE.items()}
    return {
        "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9, "text.parse_math": False,
        "text.color": colour["ink"], "axes.labelcolor": colour["muted"], "axes.labelsize": 9,
        "xtick.color": colour["muted"], "ytick.color": colour["muted"],
        "xtick.major.size": 0, "ytick.major.size": 0,
        "axes.grid": True, "axes.axisbelow": True, "grid.color": colour["grid"], "grid.linewidth": 0.8,
        **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
        "lines.linewidth": 2.0, "lines.color": colour["accent"], "patch.facecolor": colour["accent"],
        "axes.prop_cycle": f"cycler('color', ['{colour['accent']}'])",
    }  # fmt: skip


def _with_theme(svg: str, title: str) -> str:
    """The SVG of matplotlib without prologue, with CSS variables, the reader's font, and a label for screen readers."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)  # numbered ids would collide within a page
    svg = re.sub(r"font-family: [^;\"]+; ?", "", svg)
    for role, (light, _) in PALETTE.items():
        svg = svg.replace(f": {light}", f": var(--{role})")
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" font-family="{FONT}" ', 1)
    return svg.replace('<style type="text/css">', f'<style type="text/css">{palette_css()}', 1)


def _light_colour(role: str) -> str:
    return PALETTE[role][0]


def _reference_line() -> dict[str, Any]:
    """The style of the line that a curve is compared with."""
    return {"color": _light_colour("muted"), "linewidth": 1, "linestyle": (0, (4, 4))}


def _column(rows: Rows, name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def _axes(figure: Figure, *, x: str, y: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes


def _reliability(figure: Figure, rows: Rows) -> str:
    axes = _axes(figure, x="predicted, mean of a tenth of the rows", y="observed")
    predicted, observed = _column(rows, "predicted"), _column(rows, "observed")
    ends = [min(predicted + observed), max(predicted + observed)]
    axes.plot(ends, ends, **_reference_line())
    axes.plot(predicted, observed, marker="o", markersize=5)
    return "Calibration: an honest model stays on the line"


def _roc(figure: Figure, rows: Rows) -> str:
    axes = _axes(figure, x="false alarms (false positive rate)", y="found (true positive rate)")
    x, y = _column(rows, "false_positive_rate"), _column(rows, "true_positive_rate")
    axes.plot([0, 1], [0, 1], **_reference_line())
    axes.fill_between(x, x, y, color=_light_colour("soft"), linewidth=0)
    axes.plot(x, y)
    area = sum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1))
    return f"Ranking: {abs(area):.0%} of pairs in the right order"


def _precision_recall(figure: Figure, rows: Rows) -> str:
    axes = _axes(figure, x="found (recall)", y="right among the found (precision)")
    points = sorted(zip(_column(rows, "recall"), _column(rows, "precision"), strict=True))
    guess = points[-1][1]  # at full recall the precision is the base rate
    axes.axhline(guess, **_reference_line())
    recall, precision = [p[0] for p in points], [p[1] for p in points]
    axes.fill_between(recall, guess, precision, color=_light_colour("soft"), linewidth=0)
    axes.plot(recall, precision)
    axes.set_ylim(0, 1.02)
    return f"Precision above the {guess:.0%} of guessing"


def _predictions(figure: Figure, rows: Rows) -> str:
    axes = _axes(figure, x="prediction", y="rows")
    at = _column(rows, "prediction")
    axes.bar(at, _column(rows, "rows"), width=0.86 * (at[1] - at[0] if len(at) > 1 else 1.0))
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return "How the predictions are spread"


def _importance(figure: Figure, rows: Rows) -> str:
    top = sorted(rows, key=lambda row: -float(row["importance"]))[:SHOWN]
    axes = _axes(figure, x="loss added when the input is shuffled", y="")
    axes.barh(range(len(top)), _column(top, "importance"), height=0.62)
    _label_rows(axes, [printable(row["input"]) for row in top])
    return "What the model leans on" + (f", first {SHOWN} of {len(rows)}" if len(rows) > SHOWN else "")


def _slices(figure: Figure, rows: Rows) -> str:
    """One dot for each slice value, the worst at the top of its group; the line is the mean over all rows."""
    groups = list(dict.fromkeys(str(row["slice"]) for row in rows))
    top = sorted(rows, key=lambda row: -int(row["rows"]))[: 2 * SHOWN]
    top.sort(key=lambda row: (groups.index(str(row["slice"])), -float(row["loss"])))
    axes = _axes(figure, x="mean loss; the dot grows with the rows", y="")
    loss, count = _column(top, "loss"), _column(top, "rows")
    mean = sum(a * b for a, b in zip(loss, count, strict=True)) / sum(count)
    axes.axvline(mean, **_reference_line())
    axes.scatter(loss, range(len(top)), s=[14 + 90 * n / max(count) for n in count], linewidths=0)
    _label_rows(axes, [f"{printable(row['slice'], 10)} {printable(row['value'])} · {row['rows']:,}" for row in top])
    return "Where it errs: loss by slice" + (f", the {len(top)} biggest" if len(top) < len(rows) else "")


def _label_rows(axes: Axes, names: list[str]) -> None:
    """Label the rows 0, 1, … on the left side, the first at the top, each with the same height."""
    axes.figure.set_figheight(0.9 + 0.2 * len(names))  # type: ignore[union-attr]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=5)


def draw_target_by_day(figure: Figure, days: dict[str, list[Any]]) -> str:
    """Plot the table over time (`days` of quality.json): mean target per day and per week, rows per day."""
    figure.set_size_inches(2 * WIDTH, HEIGHT)
    at = [date.fromisoformat(day) for day in days["day"]]
    target = [float("nan") if value is None else float(value) for value in days["target"]]
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    upper.plot(at, target, color=_light_colour("soft"), linewidth=1.2)
    upper.plot(at, _weekly_means(target))
    upper.set_ylabel("mean target")
    lower.fill_between(at, days["rows"], step="mid", color=_light_colour("soft"), linewidth=0)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("rows")
    lower.yaxis.set_major_formatter("{x:,.0f}")
    figure.align_ylabels()
    return "The target by day and its mean over a week; rows by day"


def _weekly_means(values: list[float]) -> list[float]:
    """The mean over the seven days around each day, of the days that have a value."""
    near = [[v for v in values[max(0, i - 3) : i + 4] if v == v] for i in range(len(values))]
    return [sum(part) / len(part) if part else float("nan") for part in near]


PLOTS: dict[str, Plot] = {
    "reliability": _reliability,
    "roc": _roc,
    "precision_recall": _precision_recall,
    "predictions": _predictions,
    "slices": _slices,
    "importance": _importance,
}
"""Every plot by the name of its data file."""
