"""Write what `monitor` measured as one report, in Markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from slipway.core import files, git
from slipway.core.verdict import Check, Verdict
from slipway.pipeline import plots
from slipway.reporting import jinja_environment
from slipway.reporting.markdown import escape, table

TITLES = {
    "service": "Service: is it within its objectives?",
    "inputs": "Inputs: did they move?",
    "predictions": "Predictions: did they move?",
    "performance": "Performance: did it move?",
}
MARKS = {"pass": "✅", "fail": "❌", "unsure": "❔"}
MAX_ROWS = 200
"""Rows of a table of numbers."""


def write(verdicts: Mapping[str, Verdict], overall: Verdict, folder: Path, *, root: Path = Path()) -> None:
    """Write report.md and report.html into `folder`."""
    commit = _commit(root)
    questions = [describe(name, each) for name, each in verdicts.items()]
    files.write_text(files.make_folder(folder) / "report.md", as_markdown(overall, questions))
    files.write_text(folder / "report.html", as_html(overall, questions, commit))


def _commit(root: Path) -> str:
    """The commit of the working copy; empty where there is none, as in an image."""
    try:
        return git.find_commit("HEAD", root=root) or ""
    except (git.GitError, git.NoRepository):
        return ""


def describe(name: str, verdict: Verdict) -> dict[str, Any]:
    """A question for the report: title, verdict, checks, the sentence of the estimate, and its table of numbers."""
    rows = list(verdict.notes.get("table") or verdict.notes.get("budget") or ())[:MAX_ROWS]
    columns = list(rows[0]) if rows else []
    estimate = verdict.notes.get("estimate") or {}
    return {
        "title": TITLES[name], "verdict": verdict.word, "checks": [_check(check) for check in verdict.checks],
        "estimate": estimate.get("sentence", ""), "columns": columns,
        "rows": [[_shown(row.get(column)) for column in columns] for row in rows],
    }  # fmt: skip


def _check(check: Check) -> dict[str, str]:
    word = {True: "pass", False: "fail", None: "unsure"}[check.ok]
    return {"name": check.name, "text": check.text or _shown(check.value), "limit": check.limit, "word": word}


def _shown(value: object) -> str:
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def remarks(overall: Verdict) -> list[str]:
    """Sentences about what was left out: other models, lines that could not be used, lines that were lost."""
    notes = overall.notes
    others = [
        f"{rows:,} rows are of another model, {model}: they were not judged"
        for model, rows in notes["other_models"].items()
    ]
    left_out = [f"{count:,} {what}: left out" for what, count in notes["left_out"].items()]
    lost = [f"{notes['lost']:,} lines could not be logged by the service"] if notes["lost"] else []
    return [*others, *left_out, *lost]


def as_markdown(overall: Verdict, questions: list[dict[str, Any]]) -> str:
    """The report in Markdown: a sentence a question first, then the checks."""
    window = overall.notes["window"]
    lines = [
        "# What production answered",
        "",
        f"{window['from']} to {window['to']}, {window['rows']:,} rows of model {overall.notes['model'] or '–'}",
        "",
    ]
    lines += [f"- {MARKS[str(check.value)]} **{check.name}**: {escape(check.text, 700)}" for check in overall.checks]
    lines += ["", *(f"- {escape(remark, 300)}" for remark in remarks(overall))]
    for each in questions:
        cells = [[escape(c["name"]), escape(c["text"], 300), escape(c["limit"]), c["word"]] for c in each["checks"]]
        lines += ["", f"## {each['title']}", "", table(["check", "result", "allowed", "verdict"], cells)]
        if each["estimate"]:
            lines += ["", escape(each["estimate"], 500)]
    return "\n".join(lines) + "\n"


def as_html(overall: Verdict, questions: list[dict[str, Any]], commit: str) -> str:
    """The report as one HTML file."""
    return jinja_environment.render(
        "monitor.html.j2", palette=Markup(plots.palette_css()),  # noqa: S704 - constants
         overall={**overall.record(), "verdict": overall.word}, questions=questions,
        window=overall.notes["window"], model=overall.notes["model"], remarks=remarks(overall),
        facts={"commit": commit, "hashes": {}},
    )  # fmt: skip
