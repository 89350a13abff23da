from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.core import config, dvc, environment, git, ledger
from slipway.errors import ConfigError, Inconclusive
from slipway.judging import champion, other_commit
from support.committed_project import save
from support.sample_ledger import line


@pytest.fixture(scope="module")
def released(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository without any cache whose production runs its first commit."""
    folder = shutil.copytree(honest, tmp_path_factory.mktemp("champion") / "a b é", symlinks=True)
    ledger.append(line(1, commit=git.commit(root=folder)), folder)
    return save(folder)


def test_source_is_productions_commit(released):
    assert champion.production_commit("HEAD", released) == git.commit("HEAD~1", root=released)
    assert champion.production_commit("HEAD~1", released) is None


def test_champion_predicts_the_challengers_rows(released, params):
    found = champion.champion_predictions(git.commit("HEAD~1", root=released), params.data, root=released)
    assert found.rows.columns[:2] == ["row_id", "day"]
    assert params.data.test_from <= found.rows["day"].min() <= found.rows["day"].max() < params.data.until
    assert git.run("worktree", "list", root=released).count("\n") == 0


def test_lost_model_is_rebuilt_by_its_own_pipeline(released, params):
    cache = dvc.cache_folder(released)
    moved = cache.rename(cache.with_name("gone"))
    try:
        found = champion.champion_predictions(git.commit("HEAD~1", root=released), params.data, root=released)
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        moved.rename(cache)
    assert len(found.rows) > 400


def test_commit_without_a_lock_is_no_champion(released, params):
    first = git.commit("HEAD~2", root=released)
    with pytest.raises(ConfigError, match=rf"champion {first[:12]}: its commit has no dvc\.lock"):
        champion.champion_predictions(first, params.data, root=released)


def test_shallow_clone_without_productions_commit_says_what_to_fetch(released, tmp_path):
    git.run("clone", "-q", "--depth", "1", released.as_uri(), str(tmp_path / "shallow"), root=tmp_path)
    with pytest.raises(ConfigError, match="is not in this clone") as error:
        champion.production_commit("HEAD", tmp_path / "shallow")
    assert "--unshallow" in error.value.hint


def test_champion_that_cannot_predict_leaves_it_unsure(released):
    nothing = config.Data(until="1999-01-01", test_days=3)
    with pytest.raises(Inconclusive, match="could not predict the challenger's rows"):
        champion.champion_predictions(git.commit("HEAD~1", root=released), nothing, root=released)


def test_equal_locks_need_no_environment_of_their_own(released):
    assert other_commit.python_for_lock(released, released) == Path(sys.executable)


def test_other_locks_get_an_environment_once(released, tmp_path):
    (tmp_path / "requirements").mkdir()
    for lock in other_commit.LOCKS:
        (tmp_path / lock).touch()
    python = other_commit.python_for_lock(tmp_path, released)
    assert python.is_relative_to(environment.cache_home(released) / "environments")
    said = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert Path(said.stdout.strip()) == python.parent.parent
    before = python.lstat().st_mtime_ns
    assert other_commit.python_for_lock(tmp_path, released).lstat().st_mtime_ns == before


def test_lock_that_cannot_be_installed_leaves_it_unsure(released, tmp_path):
    (tmp_path / "requirements").mkdir()
    for lock in other_commit.LOCKS:
        (tmp_path / lock).write_text("no lock at all ===")
    with pytest.raises(Inconclusive, match="own environment cannot be installed"):
        other_commit.python_for_lock(tmp_path, released)


def test_only_the_wanted_locks_ask_for_an_environment(released, tmp_path):
    shutil.copytree(released / "requirements", tmp_path / "requirements")
    (tmp_path / other_commit.LOCKS[0]).write_text("other")
    assert other_commit.python_for_lock(tmp_path, released, other_commit.LOCKS[1:]) == Path(sys.executable)


def test_outputs_of_a_commit_come_from_the_cache(released, tmp_path):
    names = ["models/model.onnx", "models/golden.json"]
    with git.worktree("HEAD", tmp_path / "tree", root=released) as tree:
        other_commit.fetch_outputs(tree, names, root=released)
        assert [(tree / name).read_bytes() for name in names] == [(released / name).read_bytes() for name in names]
        assert not (tree / ".dvc/config.local").exists(), "DVC was not needed"


def test_outputs_that_the_cache_lacks_are_made_by_their_own_pipeline(released, tmp_path):
    clone = tmp_path / "clone"
    git.run("clone", "-q", str(released), str(clone), root=tmp_path)
    with git.worktree("HEAD", tmp_path / "tree", root=clone) as tree:
        other_commit.fetch_outputs(tree, ["models/model.onnx"], root=clone)
        assert (tree / "models/model.onnx").read_bytes() == (released / "models/model.onnx").read_bytes()


def test_outputs_that_can_neither_be_found_nor_made_leave_it_unsure(released, tmp_path):
    with git.worktree("HEAD", tmp_path / "tree", root=released) as tree:
        (tree / "dvc.lock").write_text("stages: []")
        (tree / "dvc.yaml").write_text("stages: {}")
        with pytest.raises(Inconclusive, match=r"models/x of \w{12}: not in DVC's cache, and cannot be rebuilt"):
            other_commit.fetch_outputs(tree, ["models/x"], root=released)
