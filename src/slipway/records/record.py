"""One line of the records branch: a verdict, a decision or an alert that is no release of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError

from slipway.core import files
from slipway.core.strict_model import StrictModel, describe_errors
from slipway.core.verdict import Word
from slipway.errors import DataError

MAX_CHECKS = 200
"""Checks of one record; the number of those left out is in its notes."""


class Record(StrictModel):
    """One thing that happened at a moment: `kind` is verdict, decision or alert, `chapter` the gate, question or alert.

    `commit` is the source commit that it is about. Fields of a newer version are kept as they are.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)  # a line once written must stay readable

    v: Annotated[int, Field(ge=1)] = 1
    at: AwareDatetime
    kind: Annotated[str, Field(min_length=1)]
    chapter: Annotated[str, Field(min_length=1)]
    env: str | None = None
    commit: str | None = None
    model_sha256: str | None = None
    verdict: Word | None = None
    checks: Sequence[Mapping[str, Any]] = ()
    notes: Mapping[str, Any] = Field(default_factory=dict)

    def line(self) -> str:
        """The record as one line of JSON, with its line end."""
        values = self.model_dump(mode="json") | {"at": format_time(self.at)}
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace").decode("utf-8") + "\n"


def now() -> datetime:
    """The current time in UTC, to the microsecond, as a record has it."""
    return datetime.now(UTC)


def format_time(at: datetime) -> str:
    """A moment as records have it: UTC, microseconds and Z."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def parse(text: str, *, where: str, hint: str = "") -> list[Record]:
    """The records of a text, oldest line first; DataError names the first line that is not a record.

    `where` names the text in errors. A last line without an end is damage too: it was cut off.
    """
    rows = text.split("\n")
    if rows.pop():
        raise DataError(f"{where}: the last line is cut off: it has no line end", hint=hint)
    return [_parse_line(row, f"{where}, line {number}", hint) for number, row in enumerate(rows, start=1)]


def _parse_line(row: str, where: str, hint: str) -> Record:
    try:
        return Record.model_validate_json(row)
    except ValidationError as error:
        raise DataError(f"{where}: {describe_errors(error, top_level='the line', most=1)}", hint=hint) from None


def from_verdict(
    verdict: Mapping[str, Any], *, at: datetime | None = None, env: str | None = None, commit: str | None = None,
    model_sha256: str | None = None, notes: Mapping[str, Any] | None = None,
) -> Record:  # fmt: skip
    """The record of a verdict as gates write it; `notes` are added to its own. `at` is now by default."""
    checks = list(verdict.get("checks") or ())
    left_out = {"checks_left_out": len(checks) - MAX_CHECKS} if len(checks) > MAX_CHECKS else {}
    inputs = verdict.get("inputs") or {}
    model = model_sha256 or next((inputs[key] for key in ("model", "challenger") if _is_sha256(inputs.get(key))), None)
    return Record.model_validate({
        "at": at or now(), "kind": "verdict", "chapter": verdict["chapter"], "verdict": verdict["verdict"], "env": env,
        "commit": commit or inputs.get("commit"), "model_sha256": model, "checks": checks[:MAX_CHECKS],
        "notes": {**(verdict.get("notes") or {}), **(notes or {}), **left_out},
    })  # fmt: skip


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64


def from_verdict_file(
    path: Path, *, at: datetime | None = None, env: str | None = None, commit: str | None = None,
    model_sha256: str | None = None, notes: Mapping[str, Any] | None = None,
) -> Record:  # fmt: skip
    """The record of the verdict in a file of reports/; DataError if the file is missing or not a verdict."""
    verdict = files.read_json(path, kind=dict, hint="run the check that writes it again")
    try:
        with files.parsing(path, hint="run the check that writes it again"):
            return from_verdict(verdict, at=at, env=env, commit=commit, model_sha256=model_sha256, notes=notes)
    except ValidationError as error:
        message = f"{path} is not a verdict: {describe_errors(error, most=1)}"
        raise DataError(message, hint="run the check that writes it again") from None
