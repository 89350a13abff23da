"""`track`: log one MLflow run for each content of dvc.lock, and set the aliases of the model by the ledger."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipway.core import config, environment, files, git, ledger
from slipway.core.dvc import LOCK
from slipway.errors import ConfigError
from slipway.pipeline import evaluate
from slipway.serving.onnx_model import FOLDER, Model

RECORD = Path("reports/track.json")
ARTIFACTS = "mlartifacts"
"""The folder of the artifacts, next to the SQLite file of the embedded store."""
PLACES = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location",
          "model_versions": "storage_location"}  # fmt: skip
"""The columns in which MLflow's database holds absolute addresses of artifacts, by table."""
AGAIN = "`slipway track` makes another"
ABANDONED_HOURS = 24
"""A run of MLflow that has not ended after this time is of a killed process; a younger one may be of another machine."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence MLflow's messages about its own parts, and the tracebacks that it logs of errors which it also raises."""
    import mlflow  # noqa: F401 - sets the levels of its loggers

    logging.getLogger("alembic").setLevel(logging.ERROR)
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys."""
    dotted: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        dotted |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return dotted


def run(params: config.Params, *, root: Path = Path()) -> str:
    """Log the run of this dvc.lock unless it exists, and set the aliases `challenger` and `champion`."""
    root = root.resolve()
    if not (root / LOCK).exists():
        raise ConfigError("dvc.lock does not exist: the pipeline has not run yet", hint="run `make repro`")
    lock = files.sha256(root / LOCK)
    uri = environment.tracking_uri(root)
    database = _database_file(uri)
    with _quiet(), _lock_folder(database.parent if database else root), _own_environment(embedded=bool(database)):
        import mlflow

        if database:
            _require_writable(database)
        mlflow.set_tracking_uri(uri)
        try:
            client = mlflow.MlflowClient()
            experiment = _experiment_id(client, params.track.experiment, database)
            run_id, fresh = _find_run(client, experiment, lock), False
            if run_id is None:
                own = _log_run(experiment, params, lock, root)
                run_id = _elect_run(client, experiment, lock, own)
                fresh = run_id == own
            version = _register_version(client, params.track.model, run_id)
            client.set_registered_model_alias(params.track.model, "challenger", version)
            champion = _set_champion(client, params.track.model, experiment, root)
        except ModuleNotFoundError as error:  # of a database's driver
            hint = f"install {error.name} in this environment, or correct MLFLOW_TRACKING_URI"
            raise ConfigError(f"MLflow at {_without_login(uri)} needs the package {error.name}", hint=hint) from None
        except _store_errors() as error:
            if database and (failure := files.write_failure(error, database)):
                raise failure from None
            hint = "start the tracking server, or unset MLFLOW_TRACKING_URI to use the SQLite file mlflow.db"
            if database:
                hint = f"if {database.name} is damaged or of a newer MLflow, move it away; {AGAIN}"
            raise ConfigError(f"MLflow at {_without_login(uri)} failed: {_first_line(error)}", hint=hint) from None
    files.write_json(
        root / RECORD, {"run": run_id, "lock_sha256": lock, "model": params.track.model, "version": version}
    )
    shown = f", champion is version {champion}" if champion else ""
    logged = f"logged run {run_id[:8]}" if fresh else f"run {run_id[:8]} exists already"
    return f"{logged}, {params.track.model} version {version} is challenger{shown}"


def _store_errors() -> tuple[type[Exception], ...]:
    """Errors of MLflow and of the libraries below it when its store cannot be reached or read."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, CommandError, RequestException, sqlite3.Error


def _without_login(uri: str) -> str:
    """The address of a store without user and password, which a log must not have."""
    return re.sub(r"//[^/@]*@", "//", uri)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _database_file(uri: str) -> Path | None:
    """The file of an address of SQLite; None for another store."""
    from sqlalchemy.engine import make_url

    database = make_url(uri).database if re.match(r"sqlite(\+\w+)?:///", uri) else None
    return Path(database).resolve() if database else None


def _require_writable(database: Path) -> None:
    """CannotWrite if the SQLite file cannot be written: MLflow would try again for two minutes before it says so."""
    try:
        with files.writing(database), contextlib.closing(sqlite3.connect(database, timeout=60)) as store:
            store.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        hint = f"end the program that uses it; if it is damaged, move {database.name} away: {AGAIN}"
        raise ConfigError(f"MLflow's database {database} cannot be used: {error}", hint=hint) from None


@contextlib.contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder, so that two `track` on this machine run one after the other; the kernel releases it."""
    handle = os.open(files.make_folder(folder), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _own_environment(*, embedded: bool) -> Iterator[None]:
    """Hide the variables with which another job tells MLflow where to write; with the embedded store its registry too."""
    import mlflow
    from mlflow import environment_variables as known

    names = [
        known.MLFLOW_RUN_ID,
        known.MLFLOW_EXPERIMENT_ID,
        known.MLFLOW_EXPERIMENT_NAME,
        known.MLFLOW_ACTIVE_MODEL_ID,
    ]
    names += [known.MLFLOW_REGISTRY_URI] if embedded else []
    before = [(name, name.get_raw()) for name in (*names, known.MLFLOW_TRACKING_URI)]  # MLflow sets the last one itself
    for name in names:
        name.unset()
    mlflow.clear_active_model()
    try:
        yield
    finally:
        for name, value in before:
            name.unset() if value is None else name.set(value)


def _experiment_id(client: Any, name: str, database: Path | None) -> str:
    """The id of the experiment, created if needed; ConfigError if it was deleted.

    The artifacts of the embedded store are next to its `database`, also after that was moved or copied.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        place = (database.parent / ARTIFACTS).as_uri() if database else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another job was faster
                raise
            experiment = client.get_experiment_by_name(name)
    if experiment.lifecycle_stage == "deleted":
        raise ConfigError(
            f"the MLflow experiment {name!r} (id {experiment.experiment_id}) was deleted, so no run can be logged in it",
            hint=f"mlflow experiments restore --experiment-id {experiment.experiment_id}, "
            "or name another one in params.yaml under track.experiment",
        )
    if database:
        _move_artifacts(database)
    return str(experiment.experiment_id)


def _move_artifacts(database: Path) -> None:
    """Correct the addresses of artifacts after the project was moved or copied; otherwise the old place is written to.

    MLflow stores absolute addresses and has no call to change them. Only those of a folder ARTIFACTS are corrected.
    """
    place = (database.parent / ARTIFACTS).as_uri()
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as store, store:
        query = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE ?"
        old_places = [row[0] for row in store.execute(query, (f"file:///%/{ARTIFACTS}",)) if row[0] != place]
        moved_along = (database.parent / ARTIFACTS).is_dir()
        for old in old_places:
            for table, column in PLACES.items():
                if table == "experiments" or moved_along:
                    store.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (place, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )


def _find_run(client: Any, experiment: str, lock: str) -> str | None:
    """The id of the finished run of this lock. Runs that failed, were killed or abandoned are deleted, no other."""
    runs = client.search_runs([experiment], f"tags.lock_sha256 = '{lock}'")
    for run in runs:
        hours = time.time() / 3600 - run.info.start_time / 3_600_000
        if run.info.status in ("FAILED", "KILLED") or (run.info.status != "FINISHED" and hours > ABANDONED_HOURS):
            client.delete_run(run.info.run_id)
    return _first_finished(client, runs)


def _first_finished(client: Any, runs: list[Any]) -> str | None:
    """Of several finished runs, the one that has a registered model, else the one that started first."""
    finished = sorted((run.info.start_time, run.info.run_id) for run in runs if run.info.status == "FINISHED")
    run_ids = [str(run_id) for _, run_id in finished]
    if len(run_ids) > 1:
        run_ids.sort(key=lambda run_id: not client.search_model_versions(f"run_id = '{run_id}'"))
    return run_ids[0] if run_ids else None


def _elect_run(client: Any, experiment: str, lock: str, own: str) -> str:
    """The one run of this lock, after jobs on several machines logged it at once; `own` is deleted if it is not that."""
    elected = _find_run(client, experiment, lock) or own
    if elected != own:
        client.delete_run(own)
    return elected


def _log_run(experiment: str, params: config.Params, lock: str, root: Path) -> str:
    """Log parameters, metrics, plots and the model. FINISHED is set last, so a half-written run can be recognised."""
    import mlflow
    import onnx

    measured = files.read_json(root / evaluate.METRICS)
    tags = {"lock_sha256": lock, "commit": git.commit_hash(root=root), "data_sha256": files.sha256(root / "data/table.parquet"),
            "model_sha256": files.sha256(root / FOLDER / "model.onnx"), "problem": params.problem}  # fmt: skip
    name = f"lock {lock[:8]}"
    with mlflow.start_run(experiment_id=experiment, run_name=name, tags=tags, log_system_metrics=False) as run:
        mlflow.log_params({k: str(v)[:500] for k, v in flatten(params.model_dump(mode="json")).items()})
        mlflow.log_metrics({k: float(v) for k, v in flatten(measured).items() if isinstance(v, int | float)})
        mlflow.log_artifacts(str(root / evaluate.PICTURES), "pictures")
        mlflow.log_artifacts(str(root / evaluate.PLOTS), "plots")
        mlflow.log_artifact(str(root / LOCK))
        model = Model(root / FOLDER)
        mlflow.onnx.log_model(onnx.load(root / FOLDER / "model.onnx"), name="model", signature=_signature(model),
                              pip_requirements=["onnxruntime"])  # fmt: skip
        return str(run.info.run_id)


def _signature(model: Model) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    inputs = [TensorSpec(np.dtype(str), (-1, len(model.categories)), "categories")] if model.categories else []
    inputs += [TensorSpec(np.dtype(np.float32), (-1, len(model.numbers)), "numbers")] if model.numbers else []
    return ModelSignature(Schema(inputs), Schema([TensorSpec(np.dtype(np.float32), (-1,), "prediction")]))


def _register_version(client: Any, model: str, run_id: str) -> str:
    """The registered version of the model of a run; registers it when it is not."""
    import mlflow

    if versions := _versions(client, model, run_id):
        return str(min(versions))
    own = int(mlflow.register_model(f"runs:/{run_id}/model", model).version)
    first = min(_versions(client, model, run_id), default=own)
    if own != first:  # another job registered it meanwhile
        client.delete_model_version(model, str(own))
    return str(first)


def _versions(client: Any, model: str, run_id: str) -> list[int]:
    """The registered versions of the model of a run."""
    return [int(each.version) for each in client.search_model_versions(f"name = '{model}'") if each.run_id == run_id]


def _set_champion(client: Any, model: str, experiment: str, root: Path) -> str | None:
    """Set `champion` to the newest release in production; None when there is none, or its run is not in this store."""
    line = ledger.newest_line(ledger.read("production", root))
    run_id = _find_run(client, experiment, line.lock_sha256) if line else None
    if run_id is None:
        return None
    version = _register_version(client, model, run_id)
    client.set_registered_model_alias(model, "champion", version)
    return version


def run_tags(run: str, *, root: Path = Path()) -> dict[str, str] | None:
    """The tags of a run; None when the store has no such run or it was deleted. ConfigError without a reachable store."""
    uri = environment.tracking_uri(root)
    if (database := _database_file(uri)) and not database.exists():
        raise ConfigError("this machine has no MLflow store", hint="run `slipway track`, or set MLFLOW_TRACKING_URI")
    with _quiet():
        import mlflow
        from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(1)  # otherwise MLflow retries for minutes when the server is down
        MLFLOW_HTTP_REQUEST_TIMEOUT.set(10)
        try:
            logged = mlflow.MlflowClient(uri).get_run(run)
        except _store_errors() as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise ConfigError(
                f"MLflow at {_without_login(uri)} failed: {_first_line(error)}",
                hint="start the tracking server, or correct MLFLOW_TRACKING_URI",
            ) from None
    return None if logged.info.lifecycle_stage == "deleted" else dict(logged.data.tags)
