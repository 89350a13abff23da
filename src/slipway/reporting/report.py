"""`report`: verdicts and metrics as Markdown (the pull request's comment) and as two self-contained pages."""

from __future__ import annotations

from pathlib import Path

from slipway.core import config, files
from slipway.pipeline import plots
from slipway.reporting import cards, html, report_data, summary
from slipway.reporting.markdown import PAGE
from slipway.reporting.report_markdown import render

MARKDOWN = Path("reports/report.md")
RECORD = Path("reports/facts.json")
DATA = Path("reports/data.html")


def run(params: config.Params) -> str:
    """Write facts.json, report.md, report.html, data.html and both cards from the records in reports/; the verdict."""
    facts = report_data.read()
    files.write_json(RECORD, facts.record())
    folder = Path("reports/pictures")
    pictures = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.svg"))}
    files.write_text(MARKDOWN, render(facts))
    written_cards = cards.write(params, facts)
    files.write_text(PAGE, html.report_page(facts, pictures, written_cards))
    days = plots.render_svg(plots.draw_target_by_day, facts.quality.days, name="days") if facts.quality.days else ""
    files.write_text(DATA, html.data_page(facts, days))
    head = summary.headline(facts)
    return f"{head.word}: {head.title.lower()}; see {PAGE}"
