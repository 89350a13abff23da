"""Records of the verdicts that a delivery acted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.core.verdict import Check, Verdict
from slipway.delivery import gate_records
from slipway.records import git_branch, records_branch
from support import remote_repository
from support.sample_ledger import line


def test_verdicts_of_a_line_are_recorded(tmp_path: Path) -> None:
    _, work = remote_repository.remote(tmp_path)
    check = Check(name="auc", value=0.7, limit="≥ 0.65", ok=True)
    Verdict(chapter="judge", checks=[check]).write(work / "reports/judge.json")
    promoted = line(1, verdicts={"judge": "pass", "prove": "pass"}, evidence={"load": "pass"})
    gate_records.append([promoted], push=True, root=work)
    rows = {each.chapter: each for each in records_branch.read(work)}
    assert set(rows) == {"judge", "prove", "load"}
    assert rows["judge"].checks[0]["name"] == "auc"
    assert rows["load"].env == "production"


def test_rollback_is_a_decision(tmp_path: Path) -> None:
    (only,) = gate_records.from_line(line(1, action="rollback", evidence={"reason": "slow"}), tmp_path)
    assert (only.kind, only.chapter, only.notes["reason"]) == ("decision", "rollback", "slow")


def test_failing_append_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, work = remote_repository.remote(tmp_path)
    made = git_branch.write("no record\n", None, title="x", root=work)
    git_branch.move(git_branch.LOCAL, made, None, root=work)
    gate_records.append([line(1)], push=False, root=work)
    assert "not on slipway-records yet" in capsys.readouterr().err
