from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.core import environment, files, git, ledger
from slipway.pipeline import track
from support.committed_project import begin


@pytest.fixture(autouse=True)
def _own_store() -> Iterator[None]:
    """MLflow exports the address it was given; the next test has a store of its own."""
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="module")
def tracked(project: Path, run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluated project with a commit and a dvc.lock, tracked twice in its own SQLite store."""
    folder = shutil.copytree(project, tmp_path_factory.mktemp("track") / "a b é")
    run(folder, "evaluate")
    (folder / "dvc.lock").write_text("one")
    begin(folder)
    git.run("add", "dvc.lock", root=folder)
    git.run("commit", "-q", "-m", "One", root=folder)
    return folder


def client(folder: Path):
    with track._quiet():
        import mlflow

        return mlflow.MlflowClient(environment.tracking_uri(folder))


def runs(folder: Path) -> list:
    found = client(folder)
    return list(found.search_runs([found.get_experiment_by_name("bikes").experiment_id]))


def test_lock_is_tracked_once_however_often(tracked, params):
    first = track.run(params, root=tracked)
    again = track.run(params, root=tracked)
    assert first.startswith("logged run")
    assert "exists already" in again
    assert len(runs(tracked)) == 1


def test_run_holds_metrics_parameters_and_hashes(tracked, params):
    track.run(params, root=tracked)
    one = runs(tracked)[0]
    assert one.data.metrics["r2"] == pytest.approx(files.read_json(tracked / "reports/metrics.json")["r2"])
    assert one.data.params["train.estimator"] == "boosting"
    assert one.data.tags["commit"] == git.commit_hash(root=tracked)
    assert one.data.tags["model_sha256"] == files.sha256(tracked / "models/model.onnx")


def test_registered_model_answers_with_its_signature(tracked, params):
    track.run(params, root=tracked)
    with track._quiet():
        import mlflow

        mlflow.set_tracking_uri(environment.tracking_uri(tracked))
        info = mlflow.models.get_model_info("models:/bikes@challenger")
    assert [given.name for given in info.signature.inputs] == ["categories", "numbers"]


def test_unfinished_run_is_written_again(tracked, params):
    track.run(params, root=tracked)
    client(tracked).set_terminated(runs(tracked)[0].info.run_id, "KILLED")
    assert "logged run" in track.run(params, root=tracked)
    assert [one.info.status for one in runs(tracked)] == ["FINISHED"]


def test_champion_is_what_the_production_ledger_says(tracked, params):
    track.run(params, root=tracked)
    line = ledger.Line.model_validate({
        "at": datetime(2026, 3, 1, tzinfo=UTC), "env": "production", "action": "promote", "image": None, "bento": "bikes:1",
        "bento_sha256": "b", "model_sha256": "m", "lock_sha256": files.sha256(tracked / "dvc.lock"), "data_sha256": "d",
        "commit": "c", "pull_request": None, "mlflow_run": None, "metrics": {}, "verdicts": {}, "evidence": None,
        "supersedes": None,
    })  # fmt: skip
    ledger.append(line, tracked)
    assert "champion is version" in track.run(params, root=tracked)
    (tracked / "dvc.lock").write_text("two")
    track.run(params, root=tracked)
    registry = client(tracked)
    champion = registry.get_model_version_by_alias("bikes", "champion")
    assert champion.version != registry.get_model_version_by_alias("bikes", "challenger").version


def test_tracking_without_a_lock_is_refused(project_copy, cli):
    done = cli(project_copy, "track")
    assert done.returncode == 2
    assert "dvc.lock does not exist" in done.stderr


def test_unreachable_store_is_named(tracked, cli, tmp_path):
    folder = shutil.copytree(tracked, tmp_path / "p")
    (folder / "mlflow.db").write_bytes(b"this is no database" * 100)
    done = cli(folder, "track")
    assert done.returncode == 2
    assert "MLflow at sqlite:///" in done.stderr


def test_nested_values_get_dotted_names():
    assert track.flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
