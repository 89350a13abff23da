"""Record the verdicts that a delivery acted on; a failure here never undoes or fails the delivery."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.core import files, ledger
from slipway.core.console import stderr
from slipway.delivery import gitops_commit
from slipway.errors import SlipwayError
from slipway.records import records_branch
from slipway.records.record import Record, from_verdict

CHAPTERS = ("export", "evaluate", "prove", "judge", "latency", "package", "load", "policy")
"""Checks whose files in reports/ are recorded with their measurements, if they are those the line quotes."""


def collecting(make: gitops_commit.MakeLine, made: list[ledger.Line]) -> gitops_commit.MakeLine:
    """`make`, which also leaves its newest line in `made`."""

    def collected(tip: str, lines: list[ledger.Line]) -> ledger.Line | None:
        new = make(tip, lines)
        made[:] = [new] if new else []
        return new

    return collected


def from_line(line: ledger.Line, root: Path) -> list[Record]:
    """A record for each verdict of a ledger line, its load test too, and for a rollback the decision."""
    about: dict[str, Any] = {"at": line.at, "env": line.env, "commit": line.commit, "model_sha256": line.model_sha256}
    notes: dict[str, Any] = {"action": line.action, "release": line.identity}
    if line.action == "rollback":
        decision = {**about, "kind": "decision", "chapter": "rollback", "notes": {**notes, **(line.evidence or {})}}
        return [Record.model_validate(decision)]
    words: dict[str, str] = dict(line.verdicts)
    if line.evidence and line.evidence.get("load") in ("pass", "fail", "unsure"):
        words["load"] = line.evidence["load"]
    rows = [_verdict_file(name, word, root) or {"chapter": name, "verdict": word} for name, word in words.items()]
    return [from_verdict(row, **about, notes=notes) for row in rows]


def _verdict_file(chapter: str, word: str, root: Path) -> Mapping[str, Any] | None:
    """The verdict in reports/, if it has the word that the line quotes; None for another or none."""
    path = root / "reports" / f"{chapter}.json"
    if chapter not in CHAPTERS or not path.exists():
        return None
    try:
        record: Mapping[str, Any] = files.read_json(path, kind=dict)
    except SlipwayError:
        return None
    checks = record.get("checks")
    return record if record.get("verdict") == word and isinstance(checks, list) else None


def append(made: list[ledger.Line], *, push: bool, root: Path) -> None:
    """Append the records of a line that was committed; print one line if that fails. The next writer pushes what waits."""
    try:
        records = [record for line in made for record in from_line(line, root)]
        title = f"Record the {made[0].action} to {made[0].env}" if made else ""
        if problem := records_branch.append_or_explain(records, root=root, push=push, title=title):
            stderr.write_line(("records", "bold"), f" {problem}")
    except (SlipwayError, ValueError, OSError) as error:
        stderr.write_line(("records", "bold"), f" the verdicts were not recorded: {error}")
