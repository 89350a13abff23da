from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.core import environment, files, git, ledger
from slipway.errors import ConfigError
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


@pytest.fixture
def moved(tracked, params, tmp_path) -> Path:
    """A copy of the tracked project, whose store has one run; the tests of jobs write into it."""
    track.run(params, root=tracked)
    return shutil.copytree(tracked, tmp_path / "c#d e")


def run_of_another_job(folder: Path, **tags: str):
    """A run that another program began in the same experiment and has not ended."""
    registry = client(folder)
    experiment = registry.get_experiment_by_name("bikes").experiment_id
    return registry.create_run(experiment, run_name="nightly", tags=tags).info.run_id


def begin_again(folder: Path) -> None:
    """Let the project have another lock, which no run has."""
    (folder / "dvc.lock").write_text("another")


@pytest.mark.parametrize("variable", ["MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID",
                                      "MLFLOW_ACTIVE_MODEL_ID", "MLFLOW_REGISTRY_URI"])  # fmt: skip
def test_variables_of_another_job_change_nothing(moved, params, monkeypatch, tmp_path, variable):
    other = run_of_another_job(moved)
    begin_again(moved)
    values = {"MLFLOW_RUN_ID": other, "MLFLOW_REGISTRY_URI": f"sqlite:///{tmp_path}/other.db"}
    monkeypatch.setenv(variable, values.get(variable, "77"))
    assert track.run(params, root=moved).startswith("logged run")
    assert os.environ[variable] == values.get(variable, "77")
    untouched = client(moved).get_run(other)
    assert (untouched.info.run_name, untouched.info.status, untouched.data.metrics) == ("nightly", "RUNNING", {})
    own = files.read_json(moved / track.RECORD)["run"]
    assert own != other
    assert client(moved).get_run(own).data.tags["lock_sha256"] == files.sha256(moved / "dvc.lock")
    monkeypatch.delenv(variable)
    assert client(moved).get_model_version_by_alias("bikes", "challenger").run_id == own


def test_running_run_of_the_same_lock_stays(moved, params):
    begin_again(moved)
    alive = run_of_another_job(moved, lock_sha256=files.sha256(moved / "dvc.lock"))
    assert track.run(params, root=moved).startswith("logged run")
    assert client(moved).get_run(alive).info.lifecycle_stage == "active"


def test_run_abandoned_for_a_day_is_deleted(moved, params, monkeypatch):
    begin_again(moved)
    dead = run_of_another_job(moved, lock_sha256=files.sha256(moved / "dvc.lock"))
    monkeypatch.setattr(track, "ABANDONED_HOURS", 0)
    track.run(params, root=moved)
    assert client(moved).get_run(dead).info.lifecycle_stage == "deleted"


def test_deleted_experiment_is_named_and_can_be_restored(moved, params):
    registry = client(moved)
    number = registry.get_experiment_by_name("bikes").experiment_id
    registry.delete_experiment(number)
    with pytest.raises(ConfigError, match=rf"experiment 'bikes' \(id {number}\) was deleted") as caught:
        track.run(params, root=moved)
    assert caught.value.hint.startswith(f"mlflow experiments restore --experiment-id {number}, or name another")
    registry.restore_experiment(number)
    assert "exists already" in track.run(params, root=moved)


def test_two_jobs_at_once_log_one_run(moved):
    begin_again(moved)
    command = [sys.executable, "-m", "slipway", "track"]
    env = environment.for_programs(moved)
    jobs = [subprocess.Popen(command, cwd=moved, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    messages = sorted(job.communicate(timeout=300)[1] for job in jobs)
    assert [job.returncode for job in jobs] == [0, 0], messages
    lock = files.sha256(moved / "dvc.lock")
    one = [each for each in runs(moved) if each.data.tags["lock_sha256"] == lock]
    assert len(one) == 1
    versions = client(moved).search_model_versions(f"run_id = '{one[0].info.run_id}'")
    assert len(versions) == 1


def test_later_of_two_finished_runs_gives_way(moved, params):
    track.run(params, root=moved)
    first = runs(moved)[0]
    experiment, lock = first.info.experiment_id, first.data.tags["lock_sha256"]
    second = run_of_another_job(moved, lock_sha256=lock)
    client(moved).set_terminated(second)
    assert track._elect_run(client(moved), experiment, lock, second) == first.info.run_id
    assert client(moved).get_run(second).info.lifecycle_stage == "deleted"


def test_copied_project_writes_next_to_its_own_store(moved, tracked, params):
    before = sorted((tracked / "mlartifacts").rglob("*"))
    shutil.rmtree(moved / "mlartifacts")
    begin_again(moved)
    track.run(params, root=moved)
    assert sorted((tracked / "mlartifacts").rglob("*")) == before
    assert any((moved / "mlartifacts").rglob("model.onnx"))


def test_moved_project_finds_its_old_artifacts(moved, params):
    again = moved.rename(moved.with_name("elsewhere"))
    assert "exists already" in track.run(params, root=again)
    one = runs(again)[0]
    assert one.info.artifact_uri.startswith((again / "mlartifacts").as_uri())
    paths = {each.path for each in client(again).list_artifacts(one.info.run_id)}
    assert {"dvc.lock", "pictures", "plots"} <= paths
    version = client(again).get_model_version_by_alias("bikes", "challenger").version
    assert client(again).get_model_version_download_uri("bikes", version).startswith(again.as_uri())
    assert not moved.exists()


@pytest.mark.parametrize("name", ["c?d", "%41", "a;b é,#1 %3F"])
def test_store_and_artifacts_are_in_a_folder_of_any_name(moved, params, name):
    folder = moved.rename(moved.with_name(name))
    begin_again(folder)
    assert track.run(params, root=folder).startswith("logged run")
    assert [path.name for path in folder.parent.iterdir()] == [name]
    logged = files.read_json(folder / track.RECORD)["run"]
    assert {each.path for each in client(folder).list_artifacts(logged)} >= {"dvc.lock", "plots"}
    assert (folder / f"mlartifacts/{logged}/artifacts/dvc.lock").read_text() == "another"
    assert track.run_tags(logged, root=folder)["lock_sha256"] == files.sha256(folder / "dvc.lock")


def test_relative_address_of_the_store_is_enough(moved, params, monkeypatch):
    monkeypatch.chdir(moved)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert "exists already" in track.run(params, root=moved)


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


def test_unreachable_store_is_named(tracked, params, tmp_path):
    folder = shutil.copytree(tracked, tmp_path / "p")
    (folder / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(ConfigError, match=r"mlflow\.db cannot be used: file is not a database") as caught:
        track.run(params, root=folder)
    assert "move mlflow.db away" in caught.value.hint


def test_nested_values_get_dotted_names():
    assert track.flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
