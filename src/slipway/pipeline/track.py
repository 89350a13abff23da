"""`track`: log one MLflow run for each content of dvc.lock, and set the aliases of the model by the ledger."""

from __future__ import annotations

import contextlib
import logging
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence MLflow's warnings about its own parts."""
    logging.getLogger("alembic").setLevel(logging.ERROR)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
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
    with _quiet():
        import mlflow
        from sqlalchemy.exc import SQLAlchemyError

        uri = environment.tracking_uri(root)
        mlflow.set_tracking_uri(uri)
        try:
            client = mlflow.MlflowClient()
            experiment = _experiment_id(client, params.track.experiment, uri)
            run_id, fresh = _find_run(client, experiment, lock), False
            if run_id is None:
                run_id, fresh = _log_run(experiment, params, lock, root), True
            version = _register_version(client, params.track.model, run_id)
            client.set_registered_model_alias(params.track.model, "challenger", version)
            champion = _set_champion(client, params.track.model, experiment, root)
        except (mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
            raise ConfigError(
                f"MLflow at {uri} failed: {str(error).splitlines()[0]}",
                hint="start the tracking server, or unset MLFLOW_TRACKING_URI to use the SQLite file mlflow.db",
            ) from None
    files.write_json(
        root / RECORD, {"run": run_id, "lock_sha256": lock, "model": params.track.model, "version": version}
    )
    shown = f", champion is version {champion}" if champion else ""
    logged = f"logged run {run_id[:8]}" if fresh else f"run {run_id[:8]} exists already"
    return f"{logged}, {params.track.model} version {version} is challenger{shown}"


def _experiment_id(client: Any, name: str, uri: str) -> str:
    """The id of the experiment, created if needed; the artifacts of the embedded store are next to its database."""
    experiment = client.get_experiment_by_name(name)
    if experiment:
        return str(experiment.experiment_id)
    database = Path(uri.removeprefix("sqlite:///"))
    place = (database.parent / "mlartifacts").as_uri() if uri.startswith("sqlite:///") else None
    return str(client.create_experiment(name, artifact_location=place))


def _find_run(client: Any, experiment: str, lock: str) -> str | None:
    """The id of the finished run of this lock; unfinished runs (of a killed `track`) are deleted."""
    finished = None
    for run in client.search_runs([experiment], f"tags.lock_sha256 = '{lock}'"):
        if run.info.status == "FINISHED":
            finished = finished or str(run.info.run_id)
        else:
            client.delete_run(run.info.run_id)
    return finished


def _log_run(experiment: str, params: config.Params, lock: str, root: Path) -> str:
    """Log parameters, metrics, plots and the model. FINISHED is set last, so a half-written run can be recognised."""
    import mlflow
    import onnx

    measured = files.read_json(root / evaluate.METRICS)
    tags = {"lock_sha256": lock, "commit": git.commit_hash(root=root), "data_sha256": files.sha256(root / "data/table.parquet"),
            "model_sha256": files.sha256(root / FOLDER / "model.onnx"), "problem": params.problem}  # fmt: skip
    with mlflow.start_run(experiment_id=experiment, run_name=f"lock {lock[:8]}", tags=tags) as run:
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

    for version in client.search_model_versions(f"name = '{model}'"):
        if version.run_id == run_id:
            return str(version.version)
    return str(mlflow.register_model(f"runs:/{run_id}/model", model).version)


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
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise ConfigError("this machine has no MLflow store", hint="run `slipway track`, or set MLFLOW_TRACKING_URI")
    with _quiet():
        import mlflow
        from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT
        from sqlalchemy.exc import SQLAlchemyError

        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(1)  # otherwise MLflow retries for minutes when the server is down
        MLFLOW_HTTP_REQUEST_TIMEOUT.set(10)
        try:
            logged = mlflow.MlflowClient(uri).get_run(run)
        except (mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise ConfigError(
                f"MLflow at {uri} failed: {str(error).splitlines()[0]}",
                hint="start the tracking server, or correct MLFLOW_TRACKING_URI",
            ) from None
    return None if logged.info.lifecycle_stage == "deleted" else dict(logged.data.tags)
