"""Draw plot data as SVG that adapts to a light or dark page; the same data gives the same bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
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
    "muted": ("#55626f", "#a3afbb"),
    "grid": ("#e3e8ed", "#2c3642"),
    "accent": ("#0f6fc5", "#5aaef5"),
    "rival": ("#b35309", "#f2a65e"),
    "soft": ("#cfe2f5", "#1f4468"),
}
"""The colours of each role, on a light and on a dark page; `accent` and `rival` differ for colour-blind people too."""
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
WIDTH, HEIGHT = 4.4, 3.4
"""In inches of 72 pixels; narrow, so that text stays readable on a phone."""
SHOWN = 16
"""Rows of a list that are drawn; the data file has all of them."""
CHAMPION_DATA = Path("reports/champion_plots.json")
"""The champion's plot data by name, written by `judge`; absent where there is no champion."""
CHALLENGER, CHAMPION = "this change", "production"
"""The names of both models in a legend."""

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Caption:
    """The title of a plot, and the text that a screen reader reads in its place."""

    title: str
    text: str


Plot = Callable[["Figure", Any], Caption]


def draw_all(data: Path, out: Path) -> list[Path]:
    """Draw every plot that has a `<name>.json` in `data` as `<name>.svg` in `out`; return the files written.

    A plot without data is left out: a regression has no ROC curve.
    """
    texts = svg_texts(read_data(data))
    for name in PLOTS.keys() - texts.keys():
        (out / f"{name}.svg").unlink(
            missing_ok=True
        )  # a plot of an earlier run must not be mistaken for one of this run
    for name, svg in texts.items():
        files.write_text(out / f"{name}.svg", svg)
    return [out / f"{name}.svg" for name in texts]


def read_data(folder: Path) -> dict[str, Any]:
    """The rows of every plot that has a `<name>.json` in `folder`, by name."""
    return {name: files.read_json(path) for name in PLOTS if (path := folder / f"{name}.json").exists()}


def svg_texts(rows_by_name: Mapping[str, Any], champion: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The SVG text of every plot that has rows, by name; `champion` holds the rows of the champion by name."""
    beside = {name: {"champion": rows} for name, rows in (champion or {}).items()}
    return {
        name: render_svg(partial(plot, **beside.get(name, {})), rows, name=name)
        for name, plot in PLOTS.items()
        if (rows := rows_by_name.get(name))
    }


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
        caption = plot(figure, rows)
        figure.suptitle(caption.title, x=0.015, ha="left", size=12, weight="bold")
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _with_theme(buffer.getvalue(), caption)


def palette_css() -> str:
    """The palette as CSS variables that follow the reader's colour scheme and are light in print; pages use the same ones."""
    light, dark = ("".join(f"--{role}:{pair[i]};" for role, pair in PALETTE.items()) for i in (0, 1))
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _style() -> dict[str, Any]:
    colour = {role: light for role, (light, _) in PALETTE.items()}
    return {
        "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 10, "text.parse_math": False,
        "text.color": colour["ink"], "axes.labelcolor": colour["muted"], "axes.labelsize": 10,
        "xtick.color": colour["muted"], "ytick.color": colour["muted"],
        "xtick.major.size": 0, "ytick.major.size": 0,
        "axes.grid": True, "axes.axisbelow": True, "grid.color": colour["grid"], "grid.linewidth": 0.8,
        **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
        "lines.linewidth": 2.0, "lines.color": colour["accent"], "patch.facecolor": colour["accent"],
        "legend.frameon": False, "legend.fontsize": 10, "legend.borderpad": 0.3, "legend.handlelength": 2.2,
        "axes.prop_cycle": f"cycler('color', ['{colour['accent']}'])",
    }  # fmt: skip


def _with_theme(svg: str, caption: Caption) -> str:
    """The SVG of matplotlib without prologue, with CSS variables, the reader's font, and a label for screen readers."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)  # numbered ids would collide within a page
    svg = re.sub(r"font-family: [^;\"]+; ?", "", svg)
    for role, (light, _) in PALETTE.items():
        svg = svg.replace(f": {light}", f": var(--{role})")
    svg = svg.replace(
        "<svg ", f'<svg role="img" aria-label="{escape(f"{caption.title}. {caption.text}")}" font-family="{FONT}" ', 1
    )
    return svg.replace('<style type="text/css">', f'<style type="text/css">{palette_css()}', 1)


def _light_colour(role: str) -> str:
    return PALETTE[role][0]


def _reference_line() -> dict[str, Any]:
    """The style of the line that a curve is compared with."""
    return {"color": _light_colour("muted"), "linewidth": 1, "linestyle": (0, (4, 4))}


def _champion_line() -> dict[str, Any]:
    """The style of the champion: another colour, dashed, square where it has markers, and on top, where it hides little."""
    return {"color": _light_colour("rival"), "linewidth": 1.5, "linestyle": (0, (4, 4)), "zorder": 3}


def _column(rows: Rows, name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def _axes(figure: Figure, *, x: str, y: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes


def _legend(figure: Figure, axes: Axes) -> None:
    """A legend below the plot, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside lower left", ncols=len(handles))


def _reliability(figure: Figure, rows: Rows, champion: Rows = ()) -> Caption:
    axes = _axes(figure, x="mean prediction of a tenth of the rows", y="mean observed")
    predicted, observed = _column(rows, "predicted"), _column(rows, "observed")
    both = [*predicted, *observed, *_column(champion, "predicted"), *_column(champion, "observed")]
    axes.plot([min(both), max(both)], [min(both), max(both)], label="perfect", **_reference_line())
    if champion:
        axes.plot(_column(champion, "predicted"), _column(champion, "observed"), marker="s", markersize=4.5,
                  label=CHAMPION, **_champion_line())  # fmt: skip
    axes.plot(predicted, observed, marker="o", markersize=5, label=CHALLENGER)
    _legend(figure, axes)
    at, rate = max(zip(predicted, observed, strict=True), key=lambda pair: abs(pair[0] - pair[1]))
    return Caption(title="Calibration", text=f"Farthest from perfect: {at:.3g} predicted, {rate:.3g} observed.")


def _roc(figure: Figure, rows: Rows, champion: Rows = ()) -> Caption:
    axes = _axes(figure, x="false positive rate", y="true positive rate")
    x, y = _column(rows, "false_positive_rate"), _column(rows, "true_positive_rate")
    axes.plot([0, 1], [0, 1], label="chance", **_reference_line())
    axes.fill_between(x, x, y, color=_light_colour("soft"), linewidth=0)
    if champion:
        other = _column(champion, "false_positive_rate"), _column(champion, "true_positive_rate")
        axes.plot(*other, label=CHAMPION, **_champion_line())
    axes.plot(x, y, label=CHALLENGER)
    _legend(figure, axes)
    text = f"Area under the curve: {_area(x, y):.3f}" + (f", {CHAMPION} {_area(*other):.3f}." if champion else ".")
    return Caption(title=f"ROC curve (area {_area(x, y):.3f})", text=text)


def _area(x: list[float], y: list[float]) -> float:
    """The area under a curve, by trapezoids."""
    return abs(sum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1)))


def _precision_recall(figure: Figure, rows: Rows, champion: Rows = ()) -> Caption:
    axes = _axes(figure, x="recall", y="precision")
    recall, precision = _by_recall(rows)
    guess = precision[-1]  # at full recall the precision is the base rate
    axes.axhline(guess, label="chance", **_reference_line())
    axes.fill_between(recall, guess, precision, color=_light_colour("soft"), linewidth=0)
    if champion:
        axes.plot(*_by_recall(champion), label=CHAMPION, **_champion_line())
    axes.plot(recall, precision, label=CHALLENGER)
    axes.set_ylim(0, 1.02)
    _legend(figure, axes)
    middle = precision[len(precision) // 2]
    text = f"Precision {middle:.0%} at recall {recall[len(recall) // 2]:.0%}; by chance {guess:.0%}."
    return Caption(title="Precision and recall", text=text)


def _by_recall(rows: Rows) -> tuple[list[float], list[float]]:
    points = sorted(zip(_column(rows, "recall"), _column(rows, "precision"), strict=True))
    return [recall for recall, _ in points], [precision for _, precision in points]


def _predictions(figure: Figure, rows: Rows, champion: Rows = ()) -> Caption:
    axes = _axes(figure, x="prediction", y="rows")
    at, counts = _column(rows, "prediction"), _column(rows, "rows")
    width = at[1] - at[0] if len(at) > 1 else 1.0
    axes.bar(at, counts, width=0.86 * width, label=CHALLENGER)
    if champion:
        middles = _column(champion, "prediction")
        edges = [middles[0] - width / 2, *(each + width / 2 for each in middles)]
        axes.stairs(_column(champion, "rows"), edges, label=CHAMPION, **_champion_line())
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _legend(figure, axes)
    most = max(range(len(at)), key=counts.__getitem__)
    text = f"From {at[0]:.3g} to {at[-1]:.3g}; most rows, {counts[most]:,.0f}, near {at[most]:.3g}."
    return Caption(title="Distribution of predictions", text=text)


def _importance(figure: Figure, rows: Rows) -> Caption:
    top = sorted(rows, key=lambda row: -float(row["importance"]))[:SHOWN]
    axes = _axes(figure, x="increase of the loss when shuffled", y="")
    axes.barh(range(len(top)), _column(top, "importance"), height=0.62)
    _label_rows(axes, [printable(row["input"]) for row in top])
    first = ", ".join(f"{printable(row['input'])} {float(row['importance']):.2g}" for row in top[:3])
    title = "Feature importance" + (f" (top {SHOWN} of {len(rows)})" if len(rows) > SHOWN else "")
    return Caption(title=title, text=f"Largest: {first}.")


def _slices(figure: Figure, rows: Rows, champion: Rows = ()) -> Caption:
    """One dot for each slice value, the worst at the top of its group; the line is the mean over all rows."""
    groups = list(dict.fromkeys(str(row["slice"]) for row in rows))
    top = sorted(rows, key=lambda row: -int(row["rows"]))[: 2 * SHOWN]
    top.sort(key=lambda row: (groups.index(str(row["slice"])), -float(row["loss"])))
    axes = _axes(figure, x="mean loss (a larger dot is more rows)", y="")
    loss, count = _column(top, "loss"), _column(top, "rows")
    mean = sum(a * b for a, b in zip(loss, count, strict=True)) / sum(count)
    axes.axvline(mean, label="mean", **_reference_line())
    losses = {(row["slice"], row["value"]): float(row["loss"]) for row in champion}
    others = [(losses[key], at) for at, row in enumerate(top) if (key := (row["slice"], row["value"])) in losses]
    if others:
        other, places = zip(*others, strict=True)
        axes.scatter(other, places, s=34, marker="s", facecolors="none", linewidths=1.4, zorder=3,
                     edgecolors=_light_colour("rival"), label=CHAMPION)  # fmt: skip
    axes.scatter(loss, range(len(top)), s=[14 + 70 * n / max(count) for n in count], linewidths=0, label=CHALLENGER)
    _label_rows(axes, [f"{printable(row['slice'], 10)} {printable(row['value'])} · {row['rows']:,}" for row in top])
    if others:
        _legend(figure, axes)
    worst = max(top, key=lambda row: float(row["loss"]))
    text = f"Mean {mean:.3g}; highest: {printable(worst['slice'])} {printable(worst['value'])} {worst['loss']:.3g}."
    title = "Loss by slice" + (f" (the {len(top)} largest of {len(rows)})" if len(top) < len(rows) else "")
    return Caption(title=title, text=text)


def _label_rows(axes: Axes, names: list[str]) -> None:
    """Label the rows 0, 1, … on the left side, the first at the top, each with the same height."""
    axes.figure.set_figheight(1.1 + 0.21 * len(names))  # type: ignore[union-attr]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=5)


def draw_target_by_day(figure: Figure, days: dict[str, list[Any]]) -> Caption:
    """Plot the table over time (`days` of quality.json): mean target per day and per week, rows per day."""
    figure.set_size_inches(2.6 * WIDTH, HEIGHT)
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
    values = [value for value in target if value == value]
    text = f"{len(at):,} days, {at[0]} to {at[-1]}" + (
        f"; daily mean {min(values):.3g} to {max(values):.3g}, the thick line is the mean over a week."
        if values
        else "."
    )
    return Caption(title="Target and rows by day", text=text)


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
"""Every plot by the name of its data file; those that compare take the champion's rows as `champion`."""
