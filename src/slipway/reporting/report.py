"""`report`: verdicts and metrics as Markdown (the pull request's comment) and as two self-contained pages."""

from __future__ import annotations

from dataclasses import asdict
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
    """The records in reports/ → facts.json, report.md, report.html, data.html and both cards; what the verdict is."""
    given = report_data.read()
    files.write_json(RECORD, asdict(given))
    folder = Path("reports/pictures")
    pictures = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.svg"))}
    files.write_text(MARKDOWN, render(given))
    written_cards = cards.write(params, given)
    files.write_text(PAGE, html.html(given, pictures, written_cards))
    days = plots.picture(plots.days, given.quality["days"], name="days") if given.quality.get("days") else ""
    files.write_text(DATA, html.data(given, days))
    head = summary.headline(given)
    return f"{head.word}: {head.title.lower()}; see {PAGE}"
