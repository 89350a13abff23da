"""The model card and the data card: what a stranger must know before trusting a prediction, written from the records.

Their headings are those of Mitchell et al., "Model Cards for Model Reporting", and Gebru et al., "Datasheets for Datasets".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, PackageLoader
from markupsafe import Markup

from slipway import problem
from slipway.core import config, files, git
from slipway.errors import ConfigError
from slipway.reporting import report_data, summary
from slipway.reporting.markdown import MARKS, escape
from slipway.reporting.report_data import Facts, Record

MODEL, DATA = Path("reports/model_card.md"), Path("reports/data_card.md")
RELIABILITY = Path("reports/plots/reliability.json")
BEFORE = ("repro", "export", "evaluate", "prove", "judge")
"""The gates that can have spoken of a model when its card is written; the later ones judge what carries the card."""
WORST = 5
"""Slices, and columns with missing values, that are named."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """All that the cards are written from; `calibration` is reports/plots/reliability.json, `merged` a sentence."""

    facts: Facts
    spec: problem.Problem
    params: config.Params
    calibration: Sequence[Record] = ()
    merged: str = "not merged yet"


def model(of: Subject) -> str:
    """The model card as Markdown; pure."""
    given = without_foreign_judgement(of.facts)
    return _render(
        "model_card.md.j2",
        of,
        facts=given,
        inputs=list(inputs(given.contract)),
        metrics=list(metrics(given)),
        weakest=sorted(given.slices, key=lambda row: -row["loss"])[:WORST],
        worse=[row for row in summary.slices(given) if row["better"] is False],
        far=max(of.calibration, key=lambda row: abs(row["predicted"] - row["observed"]), default=None),
        verdicts=list(verdicts(given)),
        missing=missing(given),
    )


def data(of: Subject) -> str:
    """The data card as Markdown; pure."""
    return _render("data_card.md.j2", of, facts=of.facts, quality=of.facts.quality)


def _render(name: str, of: Subject, **values: Any) -> str:
    """A template whose every value is text that stays text."""
    env = Environment(loader=PackageLoader("slipway.reporting"), autoescape=True, undefined=ChainableUndefined,
                      trim_blocks=True, lstrip_blocks=True, finalize=_inert)  # fmt: skip
    env.filters |= {"number": summary.number, "code": code, "span": span}
    return env.get_template(name).render(of=of, spec=of.spec, params=of.params, **values) + "\n"


def _inert(value: object) -> Markup:
    return value if isinstance(value, Markup) else Markup(escape(value, 900))  # noqa: S704 - what prose is for


def code(value: object) -> Markup:
    """A name or a hash as code where it is one, else text that stays text."""
    known = re.fullmatch(r"[\w.:/-]{1,80}", str(value), re.ASCII)
    return Markup(f"`{value}`") if known else _inert(value)  # noqa: S704 - no letter in it means anything


def span(low: object, high: object) -> str:
    """Two bounds as they are written: a year has no thousands separator."""
    ends = [f"{end:g}" if isinstance(end, int | float) else "any" for end in (low, high)]
    return "any" if ends == ["any", "any"] else " to ".join(ends)


def without_foreign_judgement(given: Facts) -> Facts:
    """The facts without a judgement of another model."""
    if not given.other:
        return given
    return replace(given, gates={word: gate for word, gate in given.gates.items() if word != "judge"})


def inputs(contract: Record) -> Iterator[dict[str, Any]]:
    """Every input with its type, bounds, unit and description, from its JSON schema."""
    known = contract.get("known") or {}
    for name, schema in ((contract.get("inputs") or {}).get("properties") or {}).items():
        kinds = schema.get("anyOf") or [schema]
        kind = next((each for each in kinds if each.get("type") != "null"), schema)
        is_ = {"string": "text", "integer": "number"}.get(str(kind.get("type")), kind.get("type", "any"))
        yield {"name": name, "type": is_, "low": kind.get("minimum"), "high": kind.get("maximum"),
               "optional": len(kinds) > 1, "unit": schema.get("unit", ""), "known": len(known.get(name) or ()),
               "description": schema.get("description", "")}  # fmt: skip


def metrics(given: Facts) -> Iterator[tuple[summary.Delta, object, object]]:
    """Every metric with the dummy's and the champion's value of it."""
    dummy = given.metrics.get("dummy") or {}
    for delta in summary.deltas(given):
        yield delta, dummy.get(delta.key), given.reference.get(delta.key)


def verdicts(given: Facts) -> Iterator[tuple[str, str, str, str]]:
    """Mark, chapter, verdict, and the check that says most, of every gate that has spoken."""
    for word in (word for word in BEFORE if word in given.gates):
        verdict = str(given.gates[word].get("verdict"))
        yield MARKS.get(verdict, MARKS["unsure"]), word, verdict, summary.main_check(given.gates[word])


def missing(given: Facts) -> list[Record]:
    """The inputs that the table most often lacks, where it is at least every hundredth value."""
    asked = {row["name"] for row in inputs(given.contract)}
    found = [c for c in given.quality.get("columns") or () if c["name"] in asked and c["missing"] >= 0.01]
    return sorted(found, key=lambda column: -float(column["missing"]))[:WORST]


def merged(root: Path = Path()) -> str:
    """Who brought HEAD to the main branch, and by which pull request, as far as Git knows; the text is theirs."""
    try:
        if not git.is_ancestor("HEAD", git.base_commit(None, root=root), root=root):
            return "not merged yet"
        author, committer = git.run("log", "-1", "--format=%an%n%cn", root=root).split("\n")
        number = git.pull_request(root)
    except ConfigError:
        return "not merged yet"
    who = author if author == committer else f"{author}, committed by {committer}"
    if number:
        return f"pull request {number}, merged by {who}"
    return f"merged by {who}" if len(report_data.history(root)) > 2 else f"put on the main branch by {who}"


def write(params: config.Params, given: Facts, *, root: Path = Path()) -> str:
    """reports/model_card.md and reports/data_card.md; both texts as one."""
    path = root / RELIABILITY
    of = Subject(
        facts=given,
        spec=problem.load(params.problem),
        params=params,
        calibration=files.read_json(path) if given.metrics and path.exists() else (),
        merged=merged(root),
    )
    texts = {MODEL: model(of), DATA: data(of)}
    for name, text in texts.items():
        files.write_text(root / name, text)
    return "\n".join(texts.values())
