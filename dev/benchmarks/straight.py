"""The pipeline as one straight script in one process: same functions, same files, nothing read back."""

from __future__ import annotations

import importlib

import joblib
import numpy as np
import polars as pl

from slipway import problem
from slipway.core import config, files
from slipway.core.verdict import Verdict
from slipway.pipeline import drift, evaluate, export, features, ingest, metrics, plots, train
from slipway.serving.onnx_model import FOLDER, Model


def main() -> None:
    params = config.load()
    spec = problem.load(params.problem)

    table, faults = ingest.build_table(spec, params)
    ingest.write_parquet(table, ingest.TABLE)
    files.write_json(ingest.QUALITY, ingest.describe_quality(table, faults, spec))

    frame = features.build_features(spec, table)
    assert not features.find_leaks(spec, table, moments=params.features.leak_moments, seed=params.seed)
    ingest.write_parquet(frame, features.FRAME)

    pipeline = train.fit(frame, params, spec)
    with files.atomic_write(train.MODEL) as partial:
        joblib.dump(pipeline, partial)

    seen, test = train.rows_of_window(frame, params.data, "train"), train.rows_of_window(frame, params.data, "test")
    (FOLDER / "model.onnx").write_bytes(export.to_graph(pipeline, spec).SerializeToString(deterministic=True))
    wanted = export.scikit_learn_predictions(pipeline, test, spec)
    files.write_json(FOLDER / "contract.json", export.describe_contract(spec, params, seen, wanted.astype(np.float32)))
    model = Model()
    check = export.check_parity(wanted, model.frame(test), params.export.tolerance)
    Verdict(chapter="export", checks=[check], rows=len(test)).write(export.VERDICT)
    files.write_json(FOLDER / "golden.json", export.golden_requests(test, model, params.export.golden))
    if spec.lookup:
        importlib.import_module(spec.lookup).write(table, FOLDER / "lookup.sqlite")

    rows = evaluate.score_rows(test, spec, model)
    guess = np.full(len(rows), float(seen[spec.target].mean()))
    dummy = metrics.row_losses(spec.task, rows["target"].to_numpy(), guess)
    rows = rows.with_columns(dummy=pl.Series(dummy))
    found = evaluate.measure(rows, spec.task, params.evaluate, params.seed)
    for name, data in evaluate.plot_data(rows, test, spec, model, params).items():
        files.write_json(evaluate.PLOTS / f"{name}.json", evaluate.round_floats(data))
    settings = params.evaluate
    known = drift.describe_inputs(seen, model.categories, model.numbers, bins=settings.bins, rows=settings.sample_rows)
    files.write_json(drift.PATH, known)
    files.write_json(evaluate.GOLDEN, evaluate.answer_golden_requests(model))
    files.write_json(evaluate.METRICS, evaluate.round_floats(found))
    ingest.write_parquet(rows, evaluate.LOSSES)
    plots.draw_all(evaluate.PLOTS, evaluate.PICTURES)


if __name__ == "__main__":
    main()
