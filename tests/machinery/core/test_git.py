from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest

from slipway.core import environment, git
from slipway.errors import ConfigError
from support.committed_project import begin
from support.executables import kill_git
from support.paths import ROOT


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
    git.run("branch", "more", root=repository)
    git.run("config", "--unset", "init.defaultBranch", root=repository)
    with pytest.raises(ConfigError, match=r"does not know the default branch here \(branches: more, other\)") as error:
        git.base_commit(None, root=repository)
    assert "git config init.defaultBranch NAME" in error.value.hint


def test_dirty_names_changed_tracked_files(repository):
    (repository / "file").write_text("two\n")
    (repository / "untracked").touch()
    assert git.uncommitted_files(repository) == ["file"]
    with pytest.raises(ConfigError, match="1 file has uncommitted changes: file"):
        git.require_clean(repository)


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
    with pytest.raises(ConfigError, match="git cat-file printed bytes that are not UTF-8"):
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


def test_killed_push_may_have_arrived_and_is_looked_at(cloned: Path, tmp_path_factory, monkeypatch) -> None:
    kill_git(tmp_path_factory.mktemp("bin") / "b", 'echo "$*" | grep -q " push "', monkeypatch)
    assert git.push("HEAD:refs/heads/main", root=cloned) == "`git push` was killed by signal SIGKILL"


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


def test_message_that_is_not_utf8_is_readable(repository):
    tree = git.run("rev-parse", "HEAD^{tree}", root=repository)
    raw = f"tree {tree}\nauthor A <a> 0 +0000\ncommitter A <a> 0 +0000\n\nTwo f".encode() + b"\xfc\xdfe (#5)\n"
    program = ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    sha = subprocess.run(program, cwd=repository, input=raw, capture_output=True, check=True).stdout.decode().strip()
    assert git.commit(sha, root=repository).subject == "Two f\ufffd\ufffde (#5)"
    assert git.pull_request_number(repository, sha) == 5


def test_pull_request_of_an_older_commit(repository):
    for subject in ("Better (#12)", "Merge pull request #13 from a/b", "Words"):
        git.run("commit", "-q", "--allow-empty", "-m", subject, root=repository)
    numbers = [git.pull_request_number(repository, f"HEAD~{back}") for back in (0, 1, 2)]
    assert numbers == [None, 13, 12]


# Settings and variables of the user


@pytest.mark.parametrize(("key", "value"), [
    ("log.showSignature", "true"), ("log.decorate", "full"), ("color.ui", "always"), ("core.quotePath", "true"),
    ("diff.renames", "copies"), ("status.renames", "copies"), ("diff.noprefix", "true"), ("diff.relative", "true"),
    ("status.branch", "true"), ("status.short", "false"), ("diff.external", "false"), ("log.follow", "true"),
    ("i18n.logOutputEncoding", "ISO-8859-1"), ("core.pager", "false"), ("diff.orderFile", "/dev/null"),
])  # fmt: skip
def test_users_settings_change_no_answer(repository, key, value):
    first = git.commit_hash(root=repository)
    (repository / "größe\t1.txt").write_text("one\n")
    git.run("mv", "file", "moved", root=repository)
    git.run("add", "-A", root=repository)
    git.run("commit", "-q", "-m", "Größe (#7)", root=repository)
    (repository / "moved").write_text("two\n")
    git.run("config", key, value, root=repository)
    assert git.changed_files(first, "HEAD", root=repository) == ["file", "größe\t1.txt", "moved"]
    assert git.changed_since("HEAD", root=repository) == ["moved"]
    assert git.uncommitted_files(repository) == ["moved"]
    assert git.files_at("HEAD", root=repository) == ["größe\t1.txt", "moved"]
    assert git.file_at("HEAD", "größe\t1.txt", root=repository) == "one\n"
    newest = git.commit(root=repository)
    assert (newest.subject, newest.parents) == ("Größe (#7)", [first])
    assert git.pull_request_number(repository) == 7
    assert [one.sha for one in git.commits("HEAD", "moved", root=repository)] == [newest.sha]


def test_signed_commits_are_read_as_others(repository):
    git.run("config", "log.showSignature", "true", root=repository)
    git.run("config", "gpg.program", "false", root=repository)
    tree = git.run("rev-parse", "HEAD^{tree}", root=repository)
    who = "A <a@example.org> 1700000000 +0000"
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
    text = f"tree {tree}\nauthor {who}\ncommitter {who}\n{signature}\n\nSigned (#9)\n"
    path = repository / "commit"
    path.write_text(text)
    sha = git.run("hash-object", "-t", "commit", "-w", str(path), root=repository)
    git.run("update-ref", "refs/heads/main", sha, root=repository)
    assert git.commit(root=repository).sha == sha
    assert git.pull_request_number(repository) == 9


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY",
                                  "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_LITERAL_PATHSPECS", "GIT_EXTERNAL_DIFF"])  # fmt: skip
def test_variables_of_a_hook_are_not_seen(repository, tmp_path_factory, monkeypatch, name):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "other"
    before = git.commit_hash(root=repository)
    monkeypatch.setenv(name, str(elsewhere))
    assert git.commit_hash(root=repository) == before
    (repository / "more").write_text("x\n")
    git.run("add", "more", root=repository)
    git.run("commit", "-q", "-m", "More", root=repository)
    assert git.files_at("HEAD", root=repository) == ["file", "more"]
    assert not elsewhere.exists()
    assert name not in environment.for_programs(repository)


def test_languages_do_not_change_gits_words(repository, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    with pytest.raises(ConfigError, match="is not in a Git repository"):
        git.commit_hash(root=repository.parent.parent)


# "No" and "could not tell"


def test_shallow_clone_says_that_it_is(repository, tmp_path_factory):
    first = git.commit_hash(root=repository)
    for subject in ("Two", "Three"):
        git.run("commit", "-q", "--allow-empty", "-m", subject, root=repository)
    clone = tmp_path_factory.mktemp("shallow")
    git.run("clone", "-q", "--depth", "1", repository.as_uri(), str(clone), root=clone)
    for ask in (lambda: git.is_ancestor(first, "HEAD", root=clone), lambda: git.commit_hash(first, root=clone)):
        with pytest.raises(ConfigError, match="shallow") as error:
            ask()
        assert "git fetch --unshallow" in error.value.hint


def test_another_users_clone_is_told_as_such(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for ask in (git.commit_hash, git.is_shallow, git.uncommitted_files, git.default_branch):
        with pytest.raises(ConfigError, match="it belongs to another user") as error:
            ask(root=repository)
        assert error.value.hint.startswith("git config --global --add safe.directory ")


def test_missing_commit_is_no_ancestor(repository):
    assert not git.is_ancestor("0" * 40, "HEAD", root=repository)


def test_missing_git_is_named(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(repository))
    with pytest.raises(ConfigError, match="Git is not installed"):
        git.commit_hash(root=repository)


# The default branch


def test_default_branch_is_what_origin_says(repository, tmp_path_factory):
    git.run("branch", "-m", "trunk", root=repository)
    clone = tmp_path_factory.mktemp("trunk")
    git.run("clone", "-q", str(repository), str(clone), root=clone)
    git.run("checkout", "-q", "-b", "change", root=clone)
    assert git.default_branch(clone) == "trunk"
    assert git.base_commit(None, root=clone) == git.commit_hash(root=repository)


def test_default_branch_of_a_workflow_is_its_events(repository, tmp_path, monkeypatch):
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"repository": {"default_branch": "trunk"}}))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    assert git.default_branch(repository) == "trunk"


def test_default_branch_without_origin_is_the_only_or_the_configured_one(repository):
    assert git.default_branch(repository) == "main"
    git.run("branch", "develop", root=repository)
    git.run("config", "init.defaultBranch", "develop", root=repository)
    assert git.default_branch(repository) == "develop"


def test_detached_head_is_refused_with_the_way_out(repository):
    assert git.require_branch(repository) == "main"
    git.run("checkout", "-q", "--detach", root=repository)
    with pytest.raises(ConfigError, match="HEAD is detached at") as error:
        git.require_branch(repository)
    assert "git switch" in error.value.hint


# Worktrees


def test_worktree_out_of_sight_is_not_touched(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("linked")
    git.run("worktree", "add", "-q", str(folder / "mine"), "-b", "mine", root=repository)
    (folder / "mine/staged").write_text("x\n")
    git.run("add", "staged", root=folder / "mine")
    (folder / "mine").rename(folder / "away")
    with git.worktree("HEAD", folder / "scratch", root=repository):
        pass
    (folder / "away").rename(folder / "mine")
    assert git.run("diff", "--cached", "--name-only", root=folder / "mine") == "staged"


def test_worktree_that_was_killed_is_made_again(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees") / "tree é"
    git.run("worktree", "add", "-q", "--detach", str(folder), root=repository)
    for leftover in (folder / "x", folder / ".git"):  # with files, and then without its link
        with git.worktree("HEAD", folder, root=repository) as tree:
            assert (tree / "file").exists()
        folder.mkdir()
        leftover.write_text("left")
    with git.worktree("HEAD", folder, root=repository) as tree:
        assert (tree / "file").exists()


# The one module


READING = {
    "log",
    "diff",
    "show",
    "status",
    "branch",
    "blame",
    "shortlog",
    "describe",
    "ls-tree",
    "rev-list",
    "worktree",
}
"""Commands whose output depends on settings or needs parsing: functions of core/git.py read it."""


def calls_of_git(text: str) -> list[str]:
    """The commands that a module runs by `git.run` or as a program."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    words = [[arg.value if isinstance(arg, ast.Constant) else None for arg in call.args] for call in calls
             if ast.unparse(call.func) == "git.run"]  # fmt: skip
    lists = [[item.value if isinstance(item, ast.Constant) else None for item in node.elts]
             for node in ast.walk(ast.parse(text)) if isinstance(node, ast.List | ast.Tuple)]  # fmt: skip
    return [str(row[0]) for row in words if row] + [str(row[1]) for row in lists if row[:1] == ["git"] and len(row) > 1]


@pytest.mark.source_text
def test_no_other_module_parses_what_git_prints():
    modules = [path for path in (ROOT / "src/slipway").rglob("*.py") if path != ROOT / "src/slipway/core/git.py"]
    reading = {path.name: set(calls_of_git(path.read_text("utf-8"))) & READING for path in modules}
    assert {name: words for name, words in reading.items() if words} == {}
    assert calls_of_git('git.run("log", "-1")\nrun(["git", "status"])') == ["log", "status"]


@pytest.mark.source_text
def test_no_module_names_the_default_branch():
    named = re.compile(r"(origin/|heads/)?(main|master|trunk)")
    strings = {
        f"{path.name}:{node.lineno} {node.value}"
        for path in (ROOT / "src/slipway").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and named.fullmatch(node.value)
    }
    assert strings == set()
