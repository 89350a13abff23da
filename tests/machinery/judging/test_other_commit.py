"""Outputs and interpreters of other commits; the pipeline of these is one stage that copies a file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.core import environment, git, process
from slipway.errors import Inconclusive
from slipway.judging import other_commit
from support.committed_project import begin, save
from support.paths import ROOT

MODEL = "models/model.onnx"
PIPELINE = f"stages: {{export: {{cmd: mkdir -p models && cp source {MODEL}, deps: [source], outs: [{MODEL}]}}}}\n"


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository after `dvc repro`: the lock is in Git, the model in DVC's cache. Read only."""
    folder = tmp_path_factory.mktemp("other") / "a b é"
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    (folder / ".gitignore").write_text("/.slipway/\n/.dvc/cache\n/.dvc/tmp\n/.dvc/config.local\n", "utf-8")
    (folder / "dvc.yaml").write_text(PIPELINE, "utf-8")
    (folder / "source").write_text("a model", "utf-8")
    begin(folder)
    done = process.run(
        [sys.executable, "-m", "dvc", "repro", "-q"], folder=folder, env=environment.for_programs(folder)
    )
    assert done.ok, done.err
    return save(folder)


def test_equal_locks_need_no_environment_of_their_own(reproduced):
    assert other_commit.python_for_lock(reproduced, reproduced) == Path(sys.executable)


def test_other_locks_get_an_environment_once(reproduced, tmp_path):
    (tmp_path / "requirements").mkdir()
    for lock in other_commit.LOCKS:
        (tmp_path / lock).touch()
    python = other_commit.python_for_lock(tmp_path, reproduced)
    assert python.is_relative_to(environment.cache_home(reproduced) / "environments")
    said = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert Path(said.stdout.strip()) == python.parent.parent
    before = python.lstat().st_mtime_ns
    assert other_commit.python_for_lock(tmp_path, reproduced).lstat().st_mtime_ns == before


def test_lock_that_cannot_be_installed_leaves_it_unsure(reproduced, tmp_path):
    (tmp_path / "requirements").mkdir()
    for lock in other_commit.LOCKS:
        (tmp_path / lock).write_text("no lock at all ===")
    with pytest.raises(Inconclusive, match="environment of the commit to compare with cannot be installed"):
        other_commit.python_for_lock(tmp_path, reproduced)


def test_only_the_wanted_locks_ask_for_an_environment(reproduced, tmp_path):
    shutil.copytree(reproduced / "requirements", tmp_path / "requirements")
    (tmp_path / other_commit.LOCKS[0]).write_text("other")
    assert other_commit.python_for_lock(tmp_path, reproduced, other_commit.LOCKS[1:]) == Path(sys.executable)


def test_outputs_of_a_commit_come_from_the_cache(reproduced, tmp_path):
    with git.worktree("HEAD", tmp_path / "tree", root=reproduced) as tree:
        other_commit.fetch_outputs(tree, [MODEL], root=reproduced)
        assert (tree / MODEL).read_text("utf-8") == "a model"
        assert not (tree / ".dvc/config.local").exists(), "DVC was not needed"


def test_outputs_that_the_cache_lacks_are_made_by_their_own_pipeline(reproduced, tmp_path):
    clone = tmp_path / "clone"
    git.run("clone", "-q", str(reproduced), str(clone), root=tmp_path)
    with git.worktree("HEAD", tmp_path / "tree", root=clone) as tree:
        other_commit.fetch_outputs(tree, [MODEL], root=clone)
        assert (tree / MODEL).read_text("utf-8") == "a model"


def test_outputs_that_can_neither_be_found_nor_made_leave_it_unsure(reproduced, tmp_path):
    with git.worktree("HEAD", tmp_path / "tree", root=reproduced) as tree:
        (tree / "dvc.lock").write_text("stages: []")
        (tree / "dvc.yaml").write_text("stages: {}")
        with pytest.raises(Inconclusive, match=r"models/x of commit \w{12}: not in DVC's cache, and cannot be rebuilt"):
            other_commit.fetch_outputs(tree, ["models/x"], root=reproduced)


def test_a_program_that_fails_leaves_it_unsure_with_its_last_lines(tmp_path):
    code = "import sys; print('1', '2', '3', '4', sep=chr(10), file=sys.stderr); sys.exit(1)"
    with pytest.raises(Inconclusive, match=r"it failed: 2 3 4$") as caught:
        other_commit.run_or_unsure(
            [sys.executable, "-c", code], tmp_path, environment.for_programs(tmp_path), "it failed"
        )
    assert caught.value.hint
