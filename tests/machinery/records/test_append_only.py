"""The check that every commit of the records branch only appended."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.errors import DataError
from slipway.records import append_only, git_branch
from slipway.records.record import Record
from support import remote_repository


def row(number: int, verdict: str = "pass") -> str:
    at = datetime(2026, 3, number, tzinfo=UTC)
    return Record.model_validate({"at": at, "kind": "verdict", "chapter": "judge", "verdict": verdict}).line()


def history(folder: Path, *texts: str) -> Path:
    """A repository whose records branch had these texts, one after another."""
    _, work = remote_repository.remote(folder)
    tip = None
    for text in texts:
        tip = git_branch.write(text, tip, title="x", root=work)
    assert git_branch.move(git_branch.LOCAL, str(tip), None, root=work)
    return work


def test_branch_that_grew_passes(tmp_path: Path) -> None:
    work = history(tmp_path, row(1), row(1) + row(2))
    assert append_only.check(work) == "2 records in 2 commits, each of which only appended"


def test_absent_branch_is_a_sentence(tmp_path: Path) -> None:
    _, work = remote_repository.remote(tmp_path)
    assert append_only.check(work) == "the branch slipway-records does not exist yet"


@pytest.mark.parametrize(
    "last", [row(2), row(1), row(1, "fail") + row(2) + row(3), row(2) + row(1), row(3) + row(1) + row(2)]
)
def test_changed_lines_are_refused(tmp_path: Path, last: str) -> None:
    work = history(tmp_path, row(1), row(1) + row(2), last)
    with pytest.raises(DataError, match="changed or removed lines"):
        append_only.check(work)


def test_damage_that_was_undone_passes(tmp_path: Path) -> None:
    whole = row(1) + row(2)
    work = history(tmp_path, whole, whole + '{"v":', whole, whole + row(3))
    assert append_only.check(work).startswith("3 records")
