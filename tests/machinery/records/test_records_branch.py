"""The records branch on a real remote: first record, writers that race, an origin that is away, damage."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.core import git
from slipway.errors import ConfigError, DataError, Inconclusive
from slipway.records import git_branch, records_branch
from slipway.records.record import Record
from support import remote_repository
from support.committed_project import begin

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from slipway.records import records_branch
from slipway.records.record import Record
for number in range(4):
    made = Record(at=datetime(2026, 3, 4, tzinfo=UTC), kind="verdict", chapter=f"{sys.argv[2]}-{number}")
    records_branch.append([made], root=Path(sys.argv[1]), push=True)
"""


def one(number: int) -> Record:
    return Record(at=datetime(2026, 3, number, tzinfo=UTC), kind="verdict", chapter=f"judge-{number}", verdict="pass")


def chapters(root: Path) -> list[str]:
    return [each.chapter for each in records_branch.read(root)]


def put(root: Path, text: str) -> str:
    """Another person's commit on origin's branch, made by hand."""
    before = git_branch.tip(git_branch.REMOTE, root=root)
    made = git_branch.write(text, before, title="By hand", root=root)
    assert not git.push(f"{made}:{git_branch.LOCAL}", root=root)
    return made


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, Path]:
    return remote_repository.remote(tmp_path)


def test_first_record_makes_the_branch(project: tuple[Path, Path]) -> None:
    bare, work = project
    (work / "new.txt").write_text("not committed")
    git.run("add", "new.txt", root=work)
    before = git.run("status", "--porcelain", root=work)
    assert records_branch.read(work) == []
    records_branch.append([one(1)], root=work, push=True)
    records_branch.append([one(2)], root=work, push=True)
    assert chapters(work) == ["judge-1", "judge-2"]
    assert git.run("status", "--porcelain", root=work) == before
    assert git.run("ls-tree", "--name-only", git_branch.NAME, root=bare) == "records.jsonl"


def test_other_clone_reads_what_was_pushed(project: tuple[Path, Path], tmp_path: Path) -> None:
    bare, work = project
    records_branch.append([one(1)], root=work, push=True)
    assert chapters(remote_repository.clone(bare, tmp_path / "other")) == ["judge-1"]


def test_shallow_clone_appends_too(project: tuple[Path, Path], tmp_path: Path) -> None:
    bare, work = project
    records_branch.append([one(1)], root=work, push=True)
    git.run("clone", "-q", "--depth", "1", f"file://{bare}", str(tmp_path / "other"), root=tmp_path)
    begin(tmp_path / "other")
    records_branch.append([one(2)], root=tmp_path / "other", push=True)
    assert chapters(tmp_path / "other") == ["judge-1", "judge-2"]


def test_without_a_remote_records_stay_here(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "x").write_text("x")
    remote_repository.save(tmp_path, "A project")
    records_branch.append([one(1)], root=tmp_path, push=True)
    assert chapters(tmp_path) == ["judge-1"]


def test_record_that_waited_is_pushed_next(project: tuple[Path, Path], tmp_path: Path) -> None:
    bare, work = project
    other = remote_repository.clone(bare, tmp_path / "other")
    records_branch.append([one(1)], root=work)
    records_branch.append([one(2)], root=other, push=True)
    records_branch.append([one(3)], root=work, push=True)
    assert chapters(work) == ["judge-2", "judge-1", "judge-3"]
    assert records_branch.append([one(3)], root=work, push=True)
    assert chapters(work) == ["judge-2", "judge-1", "judge-3"]


def test_absent_origin_keeps_the_records(project: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    bare, work = project
    monkeypatch.setattr(records_branch, "ATTEMPTS", 2)
    bare.rename(bare.with_name("away.git"))
    with pytest.raises(Inconclusive, match="did not accept 1 record"):
        records_branch.append([one(1)], root=work, push=True)
    assert "not on slipway-records yet" in records_branch.append_or_explain([one(2)], root=work, push=True)
    bare.with_name("away.git").rename(bare)
    assert not records_branch.append_or_explain([], root=work, push=True)
    assert git.run("log", "--format=%s", git_branch.NAME, root=bare)
    assert sorted(chapters(work)) == ["judge-1", "judge-2"]


def test_writers_that_race_lose_nothing(project: tuple[Path, Path], tmp_path: Path) -> None:
    bare, work = project
    other = remote_repository.clone(bare, tmp_path / "other")
    places = [(work, "a"), (work, "b"), (other, "c")]
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(root), name]) for root, name in places]
    assert [process.wait() for process in running] == [0, 0, 0]
    git.fetch(git_branch.NAME, root=other)
    assert sorted(chapters(other)) == sorted(f"{name}-{number}" for _, name in places for number in range(4))


def test_rewritten_history_is_refused(project: tuple[Path, Path]) -> None:
    bare, work = project
    records_branch.append([one(1)], root=work, push=True)
    records_branch.append([one(2)], root=work, push=True)
    git.run("update-ref", git_branch.LOCAL, f"{git_branch.NAME}^", root=bare)
    for _ in range(2):
        with pytest.raises(DataError, match="was rewritten"):
            records_branch.append([one(3)], root=work, push=True)


def test_removed_branch_is_refused(project: tuple[Path, Path]) -> None:
    bare, work = project
    records_branch.append([one(1)], root=work, push=True)
    git.run("update-ref", "-d", git_branch.LOCAL, root=bare)
    with pytest.raises(DataError, match="no longer has the branch"):
        records_branch.append([one(2)], root=work, push=True)


@pytest.mark.parametrize("damage", ["{}\n", '{"v":1', "one\r\n"])
def test_damage_is_named_and_mended(project: tuple[Path, Path], damage: str) -> None:
    _, work = project
    records_branch.append([one(1)], root=work, push=True)
    put(work, one(1).line() + damage)
    with pytest.raises(DataError) as caught:
        records_branch.append([one(2)], root=work, push=True)
    with pytest.raises(DataError):
        records_branch.read(work)
    command = caught.value.hint.partition(": ")[2]
    subprocess.run(["sh", "-c", command], cwd=work, check=True, capture_output=True)
    records_branch.append([one(2)], root=work, push=True)
    assert chapters(work) == ["judge-1", "judge-2"]


def test_checked_out_branch_is_not_moved(project: tuple[Path, Path]) -> None:
    _, work = project
    records_branch.append([one(1)], root=work, push=True)
    git.run("switch", "-q", git_branch.NAME, root=work)
    with pytest.raises(ConfigError, match="is checked out"):
        records_branch.append([one(2)], root=work, push=True)


def test_only_branch_of_code_stays_the_default(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "x").write_text("x")
    remote_repository.save(tmp_path, "A project")
    git.run("config", "init.defaultBranch", "", root=tmp_path)
    records_branch.append([one(1)], root=tmp_path)
    assert git.default_branch(tmp_path) == "main"
