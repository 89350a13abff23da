from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from slipway.core import git
from slipway.delivery.fast_forward import fast_forward
from slipway.errors import ConfigError, ProgramKilled
from support.committed_project import begin, save
from support.executables import kill_git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: the second changes one file, removes one and adds one; the branch is on the first."""
    root = tmp_path / "a b é"
    root.mkdir()
    begin(root)
    (root / "changed").write_text("1")
    (root / "removed").write_text("1")
    save(root)
    git.run("branch", "old", root=root)
    (root / "changed").write_text("2")
    (root / "removed").unlink()
    (root / "new").mkdir()
    (root / "new/file").write_text("2")
    save(root)
    shutil.copytree(root, tmp_path / "tree", ignore=shutil.ignore_patterns(".git"))
    git.run("branch", "new", root=root)
    git.run("reset", "-q", "--hard", "old", root=root)
    return root


def forward(root: Path) -> None:
    old, new = git.commit_hash("old", root=root), git.commit_hash("new", root=root)
    fast_forward("main", old, new, tree=root.parent / "tree", root=root)


def test_branch_index_and_files_move_together(repository: Path) -> None:
    forward(repository)
    assert git.commit_hash("main", root=repository) == git.commit_hash("new", root=repository)
    assert git.uncommitted_files(repository) == []
    assert sorted(path.name for path in repository.iterdir()) == [".git", "changed", "new"]


@pytest.mark.parametrize("way", ["changed", "new/file"])
def test_file_in_the_way_changes_nothing(repository: Path, way: str) -> None:
    (repository / way).parent.mkdir(exist_ok=True)
    (repository / way).write_text("mine")
    with pytest.raises(ConfigError):
        forward(repository)
    assert git.commit_hash("main", root=repository) == git.commit_hash("old", root=repository)
    assert (repository / way).read_text() == "mine"
    assert (repository / "removed").exists()


@pytest.mark.parametrize("words", ["read-tree -m [0-9a-f]", "update-ref refs/heads/main"])
def test_branch_is_put_back_when_git_is_killed(repository: Path, tmp_path: Path, monkeypatch, words: str) -> None:
    kill_git(tmp_path / "bin", f'echo "$*" | grep -q "{words}"', monkeypatch)
    with pytest.raises(ProgramKilled, match=r"`git .*` was killed"):
        forward(repository)
    assert git.commit_hash("main", root=repository) == git.commit_hash("old", root=repository)
    assert git.uncommitted_files(repository) == []


def test_branch_that_moved_meanwhile_puts_the_index_back(repository: Path) -> None:
    (repository / ".git/refs/heads/main.lock").touch()  # another Git is writing it
    with pytest.raises(ConfigError, match="update-ref"):
        forward(repository)
    (repository / ".git/refs/heads/main.lock").unlink()
    assert git.uncommitted_files(repository) == []
    assert sorted(path.name for path in repository.iterdir() if path.is_file()) == ["changed", "removed"]
    forward(repository)
