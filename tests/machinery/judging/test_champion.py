from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from slipway.core import config, dvc, files, git, ledger
from slipway.errors import ConfigError, Inconclusive
from slipway.judging import champion
from support.committed_project import save
from support.sample_ledger import line


@pytest.fixture(scope="module")
def released(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose production runs its commit before the last."""
    folder = shutil.copytree(honest, tmp_path_factory.mktemp("champion") / "a b é", symlinks=True)
    ledger.append(line(1, commit=git.commit_hash(root=folder)), folder)
    return save(folder)


def test_source_is_productions_commit(released):
    assert champion.production_commit("HEAD", released) == git.commit_hash("HEAD~1", root=released)
    assert champion.production_commit("HEAD~1", released) is None


def test_champion_predicts_the_challengers_rows(released, params):
    found = champion.champion_predictions(git.commit_hash("HEAD~1", root=released), params.data, root=released)
    assert found.rows.columns[:2] == ["row_id", "day"]
    assert params.data.test_from <= found.rows["day"].min() <= found.rows["day"].max() < params.data.until
    assert git.run("worktree", "list", root=released).count("\n") == 0


def test_lost_model_is_rebuilt_by_its_own_pipeline(released, params, tmp_path):
    """A pipeline of one stage, which copies the model: how long a real one trains shows nothing more."""
    folder = shutil.copytree(released, tmp_path / "a b é", symlinks=True)
    shutil.copytree(folder / "models", folder / "recipe", ignore=shutil.ignore_patterns(".gitignore"))
    outs = "models/model.onnx, models/contract.json"
    (folder / "dvc.yaml").write_text(f"stages: {{export: {{cmd: cp recipe/* models/, outs: [{outs}]}}}}\n", "utf-8")
    save(folder)
    shutil.rmtree(dvc.cache_folder(folder))
    found = champion.champion_predictions("HEAD", params.data, root=folder)
    assert found.model_sha256 == files.sha256(released / "models/model.onnx")
    assert len(found.rows) > 400


def test_commit_without_a_lock_is_no_champion(released, params):
    first = git.commit_hash("HEAD~2", root=released)
    with pytest.raises(ConfigError, match=rf"the champion's commit {first[:12]} has no dvc\.lock"):
        champion.champion_predictions(first, params.data, root=released)


def test_shallow_clone_without_productions_commit_says_what_to_fetch(released, tmp_path):
    git.run("clone", "-q", "--depth", "1", released.as_uri(), str(tmp_path / "shallow"), root=tmp_path)
    with pytest.raises(ConfigError, match="is not in this clone") as error:
        champion.production_commit("HEAD", tmp_path / "shallow")
    assert "--unshallow" in error.value.hint


def test_champion_that_cannot_predict_leaves_it_unsure(released):
    nothing = config.Data(until="1999-01-01", test_days=3)
    with pytest.raises(Inconclusive, match="could not predict the challenger's rows"):
        champion.champion_predictions(git.commit_hash("HEAD~1", root=released), nothing, root=released)
