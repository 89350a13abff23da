from __future__ import annotations

from pathlib import Path

import pytest

from slipway import git
from slipway.errors import ConfigError
from story import begin


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    begin(tmp_path)
    (tmp_path / "file").write_text("one\n")
    git.output("add", "file", root=tmp_path)
    git.output("commit", "-q", "-m", "One", root=tmp_path)
    return tmp_path


def test_missing_revision_is_named(repository):
    with pytest.raises(ConfigError, match="revision 'nowhere' does not exist"):
        git.commit("nowhere", root=repository)


@pytest.mark.parametrize("ask", [lambda root: git.commit(root=root), lambda root: git.base(None, root=root)])
def test_folder_without_repository_is_named(tmp_path, ask):
    with pytest.raises(ConfigError, match="is in no Git repository") as error:
        ask(tmp_path)
    assert error.value.hint.startswith("git init")


def test_repository_without_commit_says_so(tmp_path):
    git.output("init", "-q", root=tmp_path)
    with pytest.raises(ConfigError, match="revision 'HEAD' does not exist") as error:
        git.commit(root=tmp_path)
    assert error.value.hint == "commit something first"


def test_base_without_any_main_asks_for_one(repository):
    git.output("branch", "-m", "other", root=repository)
    with pytest.raises(ConfigError, match="neither origin/main nor main"):
        git.base(None, root=repository)


def test_dirty_names_changed_tracked_files(repository):
    (repository / "file").write_text("two\n")
    (repository / "untracked").touch()
    assert git.dirty(repository) == ["file"]
    with pytest.raises(ConfigError, match="1 tracked files are not committed: file"):
        git.clean(repository, leave="releases/")


def test_missing_identity_says_how_to_set_it(repository):
    git.output("config", "user.name", "", root=repository)
    with pytest.raises(ConfigError, match="does not know who you are") as error:
        git.identity(repository)
    assert "git config user.name" in error.value.hint


def test_worktree_vanishes_after_the_block(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees") / "tree"
    with git.worktree("HEAD", folder, root=repository) as tree:
        assert (tree / "file").read_text() == "one\n"
    assert not folder.exists()
    assert git.output("worktree", "list", root=repository).count("\n") == 0


def test_ancestors_are_contained_and_others_not(repository):
    first = git.commit(root=repository)
    git.output("commit", "-q", "--allow-empty", "-m", "Two", root=repository)
    assert git.contains("HEAD", first, root=repository)
    assert not git.contains(first, "HEAD", root=repository)


def test_file_at_a_revision_is_read_or_absent(repository):
    assert git.file_at("HEAD", "file", root=repository) == "one\n"
    assert git.file_at("HEAD", "none", root=repository) is None
