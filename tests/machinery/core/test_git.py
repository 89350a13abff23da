from __future__ import annotations

from pathlib import Path

import pytest

from slipway.core import git
from slipway.errors import ConfigError
from support.committed_project import begin


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    begin(tmp_path)
    (tmp_path / "file").write_text("one\n")
    git.run("add", "file", root=tmp_path)
    git.run("commit", "-q", "-m", "One", root=tmp_path)
    return tmp_path


def test_missing_revision_is_named(repository):
    with pytest.raises(ConfigError, match="revision 'nowhere' does not exist"):
        git.commit_hash("nowhere", root=repository)


@pytest.mark.parametrize(
    "ask", [lambda root: git.commit_hash(root=root), lambda root: git.base_commit(None, root=root)]
)
def test_folder_without_repository_is_named(tmp_path, ask):
    with pytest.raises(ConfigError, match="is not in a Git repository") as error:
        ask(tmp_path)
    assert error.value.hint.startswith("git init")


def test_repository_without_commit_says_so(tmp_path):
    git.run("init", "-q", root=tmp_path)
    with pytest.raises(ConfigError, match="this repository has no commit yet") as error:
        git.commit_hash(root=tmp_path)
    assert error.value.hint == "git add -A; git commit"


def test_base_without_any_main_asks_for_one(repository):
    git.run("branch", "-m", "other", root=repository)
    with pytest.raises(ConfigError, match="neither origin/main nor main"):
        git.base_commit(None, root=repository)


def test_dirty_names_changed_tracked_files(repository):
    (repository / "file").write_text("two\n")
    (repository / "untracked").touch()
    assert git.uncommitted_files(repository) == ["file"]
    with pytest.raises(ConfigError, match="1 file has uncommitted changes: file"):
        git.require_clean(repository, exclude="releases/")


def test_missing_identity_says_how_to_set_it(repository):
    git.run("config", "user.name", "", root=repository)
    with pytest.raises(ConfigError, match="Git has no user name and email for commits") as error:
        git.require_identity(repository)
    assert "git config user.name" in error.value.hint


def test_worktree_vanishes_after_the_block(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees") / "tree"
    with git.worktree("HEAD", folder, root=repository) as tree:
        assert (tree / "file").read_text() == "one\n"
    assert not folder.exists()
    assert git.run("worktree", "list", root=repository).count("\n") == 0


def test_ancestors_are_contained_and_others_not(repository):
    first = git.commit_hash(root=repository)
    git.run("commit", "-q", "--allow-empty", "-m", "Two", root=repository)
    assert git.is_ancestor(first, "HEAD", root=repository)
    assert not git.is_ancestor("HEAD", first, root=repository)


def test_merge_base_is_where_a_change_left_its_base(repository):
    fork = git.commit_hash(root=repository)
    git.run("checkout", "-q", "-b", "change", root=repository)
    git.run("commit", "-q", "--allow-empty", "-m", "Two", root=repository)
    git.run("checkout", "-q", "main", root=repository)
    git.run("commit", "-q", "--allow-empty", "-m", "Three", root=repository)
    assert git.merge_base("main", "change", root=repository) == fork


def test_histories_without_a_common_commit_have_their_base(repository):
    git.run("checkout", "-q", "--orphan", "other", root=repository)
    git.run("commit", "-q", "--allow-empty", "-m", "Alone", root=repository)
    assert git.merge_base("main", "other", root=repository) == "main"


def test_bytes_that_are_not_utf8_are_never_replaced(repository):
    (repository / "file").write_bytes(b"a\xff\n")
    git.run("commit", "-q", "-a", "-m", "Bytes", root=repository)
    with pytest.raises(UnicodeDecodeError):
        git.file_at("HEAD", "file", root=repository)


def test_failed_command_ends_in_gits_message(repository):
    with pytest.raises(ConfigError, match=r"^`git checkout` failed: error: pathspec 'nowhere' did not match") as error:
        git.run("checkout", "nowhere", root=repository)
    assert error.value.hint == "git status"
    with pytest.raises(ConfigError, match=r"^`git merge-base` failed: exit code 1$"):
        git.run("merge-base", "--is-ancestor", "HEAD", git.run("commit-tree", "-m", "x", "HEAD^{tree}", root=repository),
                root=repository)  # fmt: skip


def test_file_at_a_revision_is_read_or_absent(repository):
    assert git.file_at("HEAD", "file", root=repository) == "one\n"
    assert git.file_at("HEAD", "none", root=repository) is None


# The remote


@pytest.fixture
def cloned(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of a bare copy of it."""
    folder = tmp_path_factory.mktemp("remote")
    git.run("clone", "-q", "--bare", str(repository), str(folder / "bare.git"), root=folder)
    git.run("clone", "-q", str(folder / "bare.git"), str(folder / "clone"), root=folder)
    begin(folder / "clone")
    return folder / "clone"


def test_push_and_fetch_say_nothing_when_they_work(cloned: Path):
    git.run("commit", "-q", "--allow-empty", "-m", "Two", root=cloned)
    assert git.push("HEAD:refs/heads/main", root=cloned) == ""
    git.run("update-ref", "-d", "refs/remotes/origin/main", root=cloned)
    assert git.fetch("main", root=cloned) == ""
    assert git.commit_hash("origin/main", root=cloned) == git.commit_hash(root=cloned)


def test_push_that_is_not_taken_says_why_without_hints(cloned: Path):
    git.run("commit", "-q", "--amend", "--allow-empty", "-m", "Other", root=cloned)
    said = git.push("HEAD:refs/heads/main", root=cloned)
    assert said.startswith("! [rejected]")
    assert "non-fast-forward" in said
    assert "hint:" not in said
    assert "nowhere" in git.fetch("nowhere", root=cloned)


def test_remote_that_is_away_is_told_in_gits_words(cloned: Path):
    git.run("remote", "set-url", "origin", str(cloned / "gone.git"), root=cloned)
    assert git.push("HEAD:refs/heads/main", root=cloned).startswith("fatal: ")
    assert git.fetch("main", root=cloned).startswith("fatal: ")


@pytest.mark.parametrize(("url", "page"), [
    ("https://github.com/octo/flights.git", "https://github.com/octo/flights"),
    ("https://ada:s3cret@example.org/octo/flights", "https://example.org/octo/flights"),
    ("git@github.com:octo/flights.git", "https://github.com/octo/flights"),
    ("ssh://git@example.org/octo/flights.git", "https://example.org/octo/flights"),
    ("/srv/git/flights.git", ""),
    ("http://127.0.0.1:18088/flights.git", ""),
])  # fmt: skip
def test_page_of_a_remote_is_its_forges(repository, url, page):
    git.run("remote", "add", "origin", url, root=repository)
    assert git.web_url(repository) == page


def test_without_a_remote_there_is_no_page(repository):
    assert git.web_url(repository) == ""


def test_pull_request_of_an_older_commit(repository):
    for subject in ("Better (#12)", "Merge pull request #13 from a/b", "Words"):
        git.run("commit", "-q", "--allow-empty", "-m", subject, root=repository)
    numbers = [git.pull_request_number(repository, f"HEAD~{back}") for back in (0, 1, 2)]
    assert numbers == [None, 13, 12]
