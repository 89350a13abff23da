"""The model card and the data card, written from the records, for readers who do not know the project.

Their headings are those of Mitchell et al., "Model Cards for Model Reporting", and Gebru et al., "Datasheets for Datasets".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway import problem
from slipway.core import config, files, git
from slipway.errors import ConfigError
from slipway.reporting import jinja_environment, report_data, summary
from slipway.reporting.markdown import MARKS
from slipway.reporting.report_model import CalibrationGroup, Column, Contract, Facts

MODEL, DATA = Path("reports/model_card.md"), Path("reports/data_card.md")
RELIABILITY = Path("reports/plots/reliability.json")
BEFORE = ("repro", "export", "evaluate", "prove", "judge")
"""The gates that run before a model's card is written; the later ones judge the bento or image that holds the card."""
WORST = 5
"""Slices, and columns with missing values, that are named."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """All that the cards are written from; `calibration` is reports/plots/reliability.json, `merged` a sentence."""

    facts: Facts
    spec: problem.Problem
    params: config.Params
    calibration: Sequence[CalibrationGroup] = ()
    merged: str = "not merged yet"


def model_card(subject: Subject) -> str:
    """The model card as Markdown."""
    facts = without_foreign_judgement(subject.facts)
    return _render(
        "model_card.md.j2",
        subject,
        facts=facts,
        inputs=list(inputs(facts.contract)),
        metrics=list(metrics(facts)),
        weakest=sorted((row for row in facts.slices if row.rows != facts.metrics.rows), key=lambda row: -row.loss)[
            :WORST
        ],
        worse=[row for row in summary.slice_rows(facts) if row.better is False],
        far=max(subject.calibration, key=lambda group: abs(group.predicted - group.observed), default=None),
        verdicts=list(verdicts(facts)),
        missing=missing(facts),
    )


def data_card(subject: Subject) -> str:
    """The data card as Markdown."""
    return _render("data_card.md.j2", subject, facts=subject.facts, quality=subject.facts.quality)


def _render(name: str, subject: Subject, **values: Any) -> str:
    return jinja_environment.render(name, subject=subject, spec=subject.spec, params=subject.params, **values)


def without_foreign_judgement(facts: Facts) -> Facts:
    """The facts without a judgement of another model."""
    if not facts.foreign_model:
        return facts
    return facts.model_copy(update={"gates": {word: gate for word, gate in facts.gates.items() if word != "judge"}})


def inputs(contract: Contract) -> Iterator[dict[str, Any]]:
    """Every input with its type, bounds, unit and description, from its JSON schema."""
    for name, schema in contract.inputs.properties.items():
        kinds = schema.get("anyOf") or [schema]
        kind = next((each for each in kinds if each.get("type") != "null"), schema)
        type_name = {"string": "text", "integer": "number"}.get(str(kind.get("type")), kind.get("type", "any"))
        yield {"name": name, "type": type_name, "low": kind.get("minimum"), "high": kind.get("maximum"),
               "optional": len(kinds) > 1, "unit": schema.get("unit", ""), "known": len(contract.known.get(name, ())),
               "description": schema.get("description", "")}  # fmt: skip


def metrics(facts: Facts) -> Iterator[tuple[summary.Delta, Mapping[str, Any], object, object]]:
    """Every metric with the ends of its own interval, and with the baseline's and the champion's value of it."""
    for delta in summary.metric_deltas(facts):
        ends = facts.metrics.intervals.get(delta.key) or {}
        yield delta, ends, facts.metrics.dummy.get(delta.key), facts.reference.get(delta.key)  # type: ignore[misc]


def verdicts(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Mark, chapter and sentence of every gate that has a verdict."""
    for chapter in (chapter for chapter in BEFORE if chapter in facts.gates):
        word = str(facts.gates[chapter].verdict)
        yield MARKS.get(word, MARKS["unsure"]), chapter, summary.describe_gate(facts, chapter)


def missing(facts: Facts) -> list[Column]:
    """The inputs that the table most often lacks, where it is at least every hundredth value."""
    names = {row["name"] for row in inputs(facts.contract)}
    columns = [column for column in facts.quality.columns if column.name in names and column.missing >= 0.01]
    return sorted(columns, key=lambda column: -column.missing)[:WORST]


def merge_note(root: Path = Path()) -> str:
    """A sentence on who merged HEAD and by which pull request, from Git; names in it are text of strangers."""
    try:
        if not git.is_ancestor("HEAD", git.base_commit(None, root=root), root=root):
            return "not merged yet"
        author, committer = git.run("log", "-1", "--format=%an%n%cn", root=root).split("\n")
        number = git.pull_request_number(root)
    except ConfigError:
        return "not merged yet"
    who = author if author == committer else f"{author}, committed by {committer}"
    if number:
        return f"pull request {number}, merged by {who}"
    return f"merged by {who}" if len(report_data.head_and_parents(root)) > 2 else f"put on the main branch by {who}"


def write(params: config.Params, facts: Facts, *, root: Path = Path()) -> str:
    """Write reports/model_card.md and reports/data_card.md; both texts as one."""
    path = root / RELIABILITY
    subject = Subject(
        facts=facts,
        spec=problem.load(params.problem),
        params=params,
        calibration=report_data.load(list[CalibrationGroup], path, otherwise=[]) if facts.metrics else (),
        merged=merge_note(root),
    )
    texts = {MODEL: model_card(subject), DATA: data_card(subject)}
    for name, text in texts.items():
        files.write_text(root / name, text)
    return "\n".join(texts.values())
