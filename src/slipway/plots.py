"""Plot data becomes pictures: SVG with one accent colour, that follows a light or a dark page, same bytes every time."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway import files

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
"""Colours by role, on a light and on a dark page."""
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
WIDTH = 4.6
"""Inches, 72 pixels each; narrow, so that letters stay readable when a page shrinks it to a telephone's width."""

Rows = Sequence[dict[str, Any]]


def draw(data: Path, out: Path) -> list[Path]:
    """Draw every plot that has its `<name>.json` in `data` as `<name>.svg` in `out`; the files written.

    A problem without a plot's data (a regression has no ROC curve) goes without its picture.
    """
    drawn = []
    for name, plot in PLOTS.items():
        source, target = data / f"{name}.json", out / f"{name}.svg"
        target.unlink(missing_ok=True)  # a picture of an earlier run must not speak for this one
        if source.exists() and (rows := files.read_json(source)):
            files.write_text(target, picture(plot, rows, name=name))
            drawn.append(target)
    return drawn


def picture(plot: Callable[[Axes, Any], str], rows: Any, *, name: str) -> str:
    """One plot as the text of a standalone SVG file: transparent, text as text, colours as CSS variables.

    The same rows give the same bytes; ids carry `name`, so that several pictures fit in one page.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with mpl.rc_context({**_style(), "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's font draws it
        figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
        FigureCanvasSVG(figure)
        title = plot(figure.add_subplot(), rows)
        figure.suptitle(title, x=0.02, ha="left", size=11.5, weight="bold", color=PALETTE["ink"][0])
        figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _themed(buffer.getvalue(), title)


def _style() -> dict[str, Any]:
    ink, muted, grid, accent, _ = (light for light, _ in PALETTE.values())
    return {
        "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9.5, "text.parse_math": False,
        "text.color": ink, "axes.labelcolor": muted, "xtick.labelcolor": muted, "ytick.labelcolor": muted,
        "axes.edgecolor": grid, "axes.grid": True, "axes.axisbelow": True, "grid.color": grid, "grid.linewidth": 0.8,
        "axes.spines.left": False, "axes.spines.right": False, "axes.spines.top": False, "axes.spines.bottom": False,
        "xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0, "ytick.minor.size": 0,
        "axes.prop_cycle": f"cycler('color', ['{accent}'])", "lines.linewidth": 2.0, "lines.solid_capstyle": "round",
    }  # fmt: skip


def css() -> str:
    """The palette as CSS variables that follow the reader's scheme; the page uses the same."""
    light, dark = ("".join(f"--{role}:{pair[i]};" for role, pair in PALETTE.items()) for i in (0, 1))
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def _themed(svg: str, title: str) -> str:
    """matplotlib's SVG without prologue and fixed colours, with a name for screen readers."""
    for role, (light, _) in PALETTE.items():
        svg = svg.replace(light, f"var(--{role})")
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|PathCollection|LineCollection|legend|FillBetweenPolyCollection)_\d+"', "", svg)
    svg = svg.replace("'DejaVu Sans'", FONT)
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).replace("<defs>", f"<style>{css()}</style>\n <defs>", 1)


def _name(value: Any, limit: int = 18) -> str:
    """A value of the data as a label: one line, printable, not longer than `limit`."""
    text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"
