"""`report`: verdicts and metrics as Markdown (the pull request's comment) and as two self-contained pages."""

from __future__ import annotations

from pathlib import Path

from slipway.core import config, files
from slipway.pipeline import plots
from slipway.reporting import cards, html, report_data, summary
from slipway.reporting.markdown import PAGE
from slipway.reporting.report_markdown import render
from slipway.reporting.report_model import Facts

MARKDOWN = Path("reports/report.md")
RECORD = Path("reports/facts.json")
DATA = Path("reports/data.html")
PICTURES, DATA_OF_PLOTS = Path("reports/pictures"), Path("reports/plots")


def run(params: config.Params) -> str:
    """Write facts.json, report.md, report.html, data.html and both cards from the records in reports/; the verdict."""
    facts = report_data.read()
    files.write_json(RECORD, facts.record())
    pictures = _pictures(facts)
    files.write_text(MARKDOWN, render(facts))
    written_cards = cards.write(params, facts)
    files.write_text(PAGE, html.report_page(facts, pictures, written_cards))
    days = plots.render_svg(plots.draw_target_by_day, facts.quality.days, name="days") if facts.quality.days else ""
    files.write_text(DATA, html.data_page(facts, days))
    head = summary.headline(facts)
    return f"{head.word}: {head.title.lower()}; see {PAGE}"


def _pictures(facts: Facts) -> dict[str, str]:
    """The plots as SVG by name: those that `evaluate` drew, or drawn again with the champion where the judge kept its data."""
    if facts.reference and not facts.foreign_model and plots.CHAMPION_DATA.exists():
        return plots.svg_texts(plots.read_data(DATA_OF_PLOTS), files.read_json(plots.CHAMPION_DATA))
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(PICTURES.glob("*.svg"))}
