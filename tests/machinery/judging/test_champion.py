from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from slipway.core import config, dvc, files, git, ledger, process
from slipway.errors import ConfigError, Inconclusive
from slipway.judging import champion
from slipway.pipeline import evaluate, ingest
from support.committed_project import begin, save
from support.sample_ledger import line

A, B = "a" * 40, "b" * 40


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
    found = champion.champion_predictions(git.commit_hash("HEAD~1", root=released), params, root=released)
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
    found = champion.champion_predictions("HEAD", params, root=folder)
    assert found.model_sha256 == files.sha256(released / "models/model.onnx")
    assert len(found.rows) > 400


def test_commit_without_a_lock_is_no_champion(released, params):
    first = git.commit_hash("HEAD~2", root=released)
    with pytest.raises(ConfigError, match=rf"the champion's commit {first[:12]} has no dvc\.lock"):
        champion.champion_predictions(first, params, root=released)


def test_shallow_clone_without_productions_commit_says_what_to_fetch(released, tmp_path):
    git.run("clone", "-q", "--depth", "1", released.as_uri(), str(tmp_path / "shallow"), root=tmp_path)
    with pytest.raises(ConfigError, match="is not in this clone") as error:
        champion.production_commit("HEAD", tmp_path / "shallow")
    assert "--unshallow" in error.value.hint


def test_champion_that_cannot_predict_leaves_it_unsure(released, params):
    nothing = params.model_copy(update={"data": config.Data(until="1999-01-01", test_days=3)})
    with pytest.raises(Inconclusive, match="could not predict the challenger's rows"):
        champion.champion_predictions(git.commit_hash("HEAD~1", root=released), nothing, root=released)


def test_crash_of_the_champion_is_no_refusal():
    """Only its own words about its contract make it read the sources: any other failure stays unsure, with its words."""
    for code, err in (
        (1, f"error {evaluate.UNREADABLE}: x"),
        (3, "error data/table.parquet lacks the column x"),
        (3, ""),
    ):
        assert champion.read_refusal(process.ProcessResult(code=code, out="", err=err)) == ""
    refused = process.ProcessResult(
        code=3, out="", err=f"a warning\nerror {evaluate.UNREADABLE}: it lacks x; it has y, z\nnext: y\n"
    )
    assert champion.read_refusal(refused) == "it lacks x"


def test_sources_other_than_those_of_params_leave_it_unsure(released, params, tmp_path):
    folder = shutil.copytree(released, tmp_path / "a b é", symlinks=True)
    ingest.write_parquet(ingest.read_parquet(folder / ingest.TABLE).drop("temp"), folder / ingest.TABLE)
    other = params.model_copy(update={"ingest": config.Ingest(sources={"bikes.csv": "0" * 64})})
    with pytest.raises(Inconclusive, match=r"lacks the column temp.*the source file bikes\.csv has changed"):
        champion.champion_predictions(git.commit_hash("HEAD~1", root=folder), other, root=folder)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits: params.yaml without `judge.restart_at`, and one that restarts at `a…`."""
    folder = tmp_path_factory.mktemp("history")
    begin(folder)
    for text in ("judge: {margin: 1}\n", f"judge: {{restart_at: {A}}}\n"):
        (folder / "params.yaml").write_text(text)
        save(folder)
    return folder


@pytest.mark.parametrize(("setting", "base", "production", "commit", "note"), [
    (None, "HEAD", A, None, ""),
    (A, "HEAD~1", A, A, ""),  # the change sets it
    (A, "HEAD", A, A, ""),  # main after the merge, before the promotion
    (A, "HEAD", B, None, "which production no longer runs, so it has no effect: remove it"),
    (A, "HEAD", None, None, "which production no longer runs"),
    (B, "HEAD", B, B, ""),  # the next restart replaces the last one
])  # fmt: skip
def test_restart_holds_for_the_change_that_sets_it(history, setting, base, production, commit, note):
    base = git.commit_hash(base, root=history)
    found = champion.check_restart(setting, base=base, champion=production, root=history)
    assert found.commit == commit
    assert note in found.note
    assert bool(found.note) == bool(note)
    assert [check.ok for check in found.checks(production)] == ([True] if commit else [])


def test_restart_of_an_earlier_change_waits_for_its_promotion(history, tmp_path):
    folder = shutil.copytree(history, tmp_path / "later")
    (folder / "another").touch()
    found = champion.check_restart(A, base=git.commit_hash(root=folder), champion=A, root=save(folder))
    assert found.commit is None
    assert "an earlier change set it" in found.note
    assert found.note.endswith("promote that change first, or revert it")


@pytest.mark.parametrize(("setting", "production", "told"), [
    (B, A, f"judge.restart_at is {B}, but production runs {A}; expected: {A}, its full commit hash"),
    (A[:12], A, f"judge.restart_at is {A[:12]}, but production runs {A}; expected: {A}"),
    (A.upper(), A, f"judge.restart_at is {A.upper()}, but production runs {A}"),
    ("main", A, f"judge.restart_at is main, but production runs {A}"),
    (A, None, f"judge.restart_at is {A}, but production runs nothing yet; expected: no judge.restart_at"),
])  # fmt: skip
def test_restart_of_anything_but_productions_commit_is_refused(history, setting, production, told):
    base = git.commit_hash("HEAD~1", root=history)
    with pytest.raises(ConfigError) as error:
        champion.check_restart(setting, base=base, champion=production, root=history)
    assert str(error.value).startswith(told)
