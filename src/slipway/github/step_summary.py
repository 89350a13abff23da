"""Write sentences to the page of a workflow's run (GITHUB_STEP_SUMMARY); outside of a workflow nothing is written."""

from __future__ import annotations

from slipway.core import environment, files
from slipway.errors import SlipwayError
from slipway.reporting.markdown import escape

MAX_CHARACTERS = 1000
"""Characters of a sentence that are kept."""


def append(markdown: str) -> None:
    """Append Markdown to the run's page."""
    if summary := environment.step_summary():
        with files.writing(summary), summary.open("a", encoding="utf-8") as file:
            file.write(markdown)


def write(sentence: str) -> str:
    """Append a sentence to the run's page as a paragraph, without markup; return it."""
    append(f"{escape(sentence[:1].upper() + sentence[1:], MAX_CHARACTERS)}\n\n")
    return sentence


def write_error(error: SlipwayError) -> None:
    """Append an error and its hint to the run's page."""
    append(f"❌ {escape(error, MAX_CHARACTERS)}\n\n")
    if error.hint:
        append(f"Next: {escape(error.hint, MAX_CHARACTERS)}\n\n")
