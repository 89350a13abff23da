"""`export`: turn the Pipeline into an ONNX graph that agrees with scikit-learn on every row of the test window.

Its libraries take more than a second to load. They are imported where they are used, while the lookup is being made.
"""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slipway import problem
from slipway.core import config, files
from slipway.core.verdict import Check, Verdict
from slipway.errors import DataError
from slipway.pipeline import features, ingest, train
from slipway.serving.onnx_model import FOLDER, Model

if TYPE_CHECKING:
    import onnx
    from sklearn.pipeline import Pipeline

VERDICT = Path("reports/export.json")
LOOKUP_PROGRAM = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
import polars
importlib.import_module(sys.argv[2]).write(polars.read_parquet(sys.argv[3]), Path(sys.argv[4]))
"""
"""The program that makes the lookup, run as a separate process."""


def to_graph(pipeline: Pipeline, spec: problem.Problem) -> onnx.ModelProto:
    """The Pipeline as a graph of two inputs, `categories` (text) and `numbers` (float32), and one output.

    The output `prediction` [rows] is the probability of the positive class, or the value of a regression.
    """
    import onnx
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    categories, numbers = problem.names(spec.inputs, "category"), problem.names(spec.inputs, "number")
    model_inputs = [("categories", StringTensorType([None, len(categories)]))] if categories else []
    model_inputs += [("numbers", FloatTensorType([None, len(numbers)]))] if numbers else []
    pipeline = _round_thresholds(pipeline)
    options = {id(pipeline): {"zipmap": False}} if spec.task == "binary" else None
    graph = to_onnx(pipeline, initial_types=model_inputs, options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    last = graph.graph.output[-1].name
    if spec.task == "binary":
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1), "positive"))
        graph.graph.node.append(onnx.helper.make_node("Gather", [last, "positive"], ["prediction"], axis=1))
    else:
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "flat"))
        graph.graph.node.append(onnx.helper.make_node("Reshape", [last, "flat"], ["prediction"]))
    del graph.graph.output[:]
    graph.graph.output.append(onnx.helper.make_tensor_value_info("prediction", onnx.TensorProto.FLOAT, [None]))
    opsets = sorted(graph.opset_import, key=lambda opset: opset.domain)  # skl2onnx takes them from a set, in any order
    del graph.opset_import[:]
    graph.opset_import.extend(opsets)
    onnx.checker.check_model(graph)
    return graph


def _round_thresholds(pipeline: Pipeline) -> Pipeline:
    """A copy whose tree thresholds are rounded down to float32, which is what ONNX compares in.

    Histogram boosting splits halfway between two training values, in float64. Rounded to the nearest float32
    such a threshold may land on a value that lies between the two (25.7 for 25.69999981) and send it left;
    rounded down, `x <= threshold` means the same for every float32 x.
    """
    rounded = copy.deepcopy(pipeline)
    for tree in (tree for trees in getattr(rounded[-1], "_predictors", ()) for tree in trees):
        exact = tree.nodes["num_threshold"]
        single = exact.astype(np.float32)
        tree.nodes["num_threshold"] = np.where(single > exact, np.nextafter(single, np.float32(-np.inf)), single)
    return rounded


def scikit_learn_predictions(pipeline: Pipeline, frame: pl.DataFrame, spec: problem.Problem) -> NDArray[np.float64]:
    """The predictions of scikit-learn itself, [rows]: probabilities of the positive class, or values of a regression."""
    rows = train.model_inputs(frame, spec)
    result: NDArray[np.float64] = (
        pipeline.predict_proba(rows)[:, 1] if spec.task == "binary" else pipeline.predict(rows)
    )
    return result


def check_parity(reference: NDArray[np.float64], exported: NDArray[np.float32], tolerance: float) -> Check:
    """Check the largest absolute difference over all rows against `tolerance`; NaN anywhere fails."""
    if not len(reference):
        return Check(name="parity with scikit-learn", value=None, limit=f"≤ {tolerance:g}", ok=None)
    worst = float(np.max(np.abs(reference - exported)))
    shown = worst if np.isfinite(worst) else str(worst)
    text = f"The exported model's predictions differ from scikit-learn's by up to {worst:.2g}"
    ok = bool(worst <= tolerance)
    return Check(name="parity with scikit-learn", value=shown, limit=f"≤ {tolerance:g}", ok=ok, text=text)


def describe_contract(
    spec: problem.Problem, params: config.Params, training: pl.DataFrame, tested: NDArray[np.float32]
) -> dict[str, Any]:
    """The content of `models/contract.json`: inputs, known category values, limits, distribution of the predictions."""
    categories = problem.names(spec.inputs, "category")
    counts, edges = np.histogram(tested, bins=20, range=(0.0, 1.0) if spec.task == "binary" else None)
    question = importlib.import_module(spec.lookup).Question if spec.lookup else None
    return {
        "problem": spec.name,
        "task": spec.task,
        "target": spec.target,
        "labels": dict(spec.labels),
        "categories": categories,
        "numbers": problem.names(spec.inputs, "number"),
        "inputs": spec.inputs.model_json_schema(),
        "example": problem.example_row(spec.inputs),
        "known": {name: sorted(training[name].drop_nulls().unique().to_list()) for name in categories},
        "lookup": spec.lookup,
        "question": question.model_json_schema() if question else None,
        "limits": {"max_rows": params.export.max_rows, "max_body_bytes": params.export.max_body_bytes},
        "reference": {"edges": [float(e) for e in edges], "counts": [int(c) for c in counts]},
        "data": {"until": str(params.data.until), "test_from": str(params.data.test_from)},
    }


def golden_requests(frame: pl.DataFrame, model: Model, count: int) -> list[dict[str, Any]]:
    """`count` evenly spaced rows of the frame as requests, with the predictions of the exported model."""
    spread = np.linspace(0, len(frame) - 1, min(count, len(frame))).astype(int)
    rows = frame[spread].select(model.categories + model.numbers).to_dicts()
    answers = model.rows(rows)
    return [{"row": row, "prediction": float(answer)} for row, answer in zip(rows, answers, strict=True)]


@contextmanager
def write_lookup(spec: problem.Problem) -> Iterator[None]:
    """Make models/lookup.sqlite in a separate process while the block runs; an empty file for a problem without one.

    When that process fails, the lookup is made again in this one, so that the original error is raised.
    """
    with files.atomic_write(FOLDER / "lookup.sqlite") as partial:
        if not spec.lookup:
            partial.touch()
            yield
            return
        arguments = [json.dumps(sys.path), spec.lookup, str(ingest.TABLE), str(partial)]
        with subprocess.Popen([sys.executable, "-c", LOOKUP_PROGRAM, *arguments], stderr=subprocess.DEVNULL) as process:
            yield
        if process.returncode:
            importlib.import_module(spec.lookup).write(ingest.read_parquet(ingest.TABLE), partial)


def run(params: config.Params) -> str:
    """Turn models/model.joblib into model.onnx, contract.json, golden.json and lookup.sqlite; exit 4 without parity."""
    spec = problem.load(params.problem)
    with write_lookup(spec):
        return write_graph(params, spec)


def write_graph(params: config.Params, spec: problem.Problem) -> str:
    """Write the graph, its contract and golden requests; return a sentence with the number of rows and the difference."""
    import joblib

    try:
        pipeline = joblib.load(train.MODEL)
    except (OSError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{train.MODEL} cannot be read: {error}", hint=f"remove {train.MODEL} and run `make repro`"
        ) from None
    frame = ingest.read_parquet(features.FRAME)
    training, test = train.rows_of_window(frame, params.data, "train"), train.rows_of_window(frame, params.data, "test")
    reference = scikit_learn_predictions(pipeline, test, spec)
    (FOLDER / "model.onnx").unlink(missing_ok=True)  # only a graph that agrees may be served
    files.write_json(FOLDER / "contract.json", describe_contract(spec, params, training, reference.astype(np.float32)))
    with files.atomic_write(FOLDER / "model.onnx") as partial:
        partial.write_bytes(to_graph(pipeline, spec).SerializeToString(deterministic=True))
        model = Model(FOLDER, graph=partial)
        check = check_parity(reference, model.frame(test), params.export.tolerance)
        verdict = Verdict(chapter="export", checks=[check], rows=len(test))
        verdict.write(VERDICT)
        verdict.enforce(
            hint="a frequent cause is HistGradientBoosting's categorical_features: encode categories in the Pipeline instead"
        )
    files.write_json(FOLDER / "golden.json", golden_requests(test, model, params.export.golden))
    return f"{len(test):,} rows agree with scikit-learn, largest difference {check.value:.1e}"
