"""`export`: the Pipeline becomes an ONNX graph, and every row of the test window must agree with scikit-learn.

Its libraries load for more than a second, so they are imported where they are used: the lookup is made meanwhile.
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
BESIDE = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
import polars
importlib.import_module(sys.argv[2]).write(polars.read_parquet(sys.argv[3]), Path(sys.argv[4]))
"""
"""A program of its own that makes the lookup."""


def export(pipeline: Pipeline, spec: problem.Problem) -> onnx.ModelProto:
    """The Pipeline as a graph of two inputs, `categories` (text) and `numbers` (float32), and one output.

    The output `prediction` [rows] is the probability of the positive class, or the value of a regression.
    """
    import onnx
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    categories, numbers = problem.names(spec.inputs, "category"), problem.names(spec.inputs, "number")
    given = [("categories", StringTensorType([None, len(categories)]))] if categories else []
    given += [("numbers", FloatTensorType([None, len(numbers)]))] if numbers else []
    pipeline = _rounded(pipeline)
    options = {id(pipeline): {"zipmap": False}} if spec.task == "binary" else None
    graph = to_onnx(pipeline, initial_types=given, options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    last = graph.graph.output[-1].name
    if spec.task == "binary":
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1), "positive"))
        graph.graph.node.append(onnx.helper.make_node("Gather", [last, "positive"], ["prediction"], axis=1))
    else:
        graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "flat"))
        graph.graph.node.append(onnx.helper.make_node("Reshape", [last, "flat"], ["prediction"]))
    del graph.graph.output[:]
    graph.graph.output.append(onnx.helper.make_tensor_value_info("prediction", onnx.TensorProto.FLOAT, [None]))
    opsets = sorted(graph.opset_import, key=lambda opset: opset.domain)  # comes out of a set, in any order
    del graph.opset_import[:]
    graph.opset_import.extend(opsets)
    onnx.checker.check_model(graph)
    return graph


def _rounded(pipeline: Pipeline) -> Pipeline:
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


def expected(pipeline: Pipeline, frame: pl.DataFrame, spec: problem.Problem) -> NDArray[np.float64]:
    """What scikit-learn itself answers, in the meaning of the exported output."""
    given = train.inputs(frame, spec)
    result: NDArray[np.float64] = (
        pipeline.predict_proba(given)[:, 1] if spec.task == "binary" else pipeline.predict(given)
    )
    return result


def parity(reference: NDArray[np.float64], exported: NDArray[np.float32], tolerance: float) -> Check:
    """The largest absolute difference over all rows against `tolerance`; NaN anywhere fails."""
    if not len(reference):
        return Check(name="parity with scikit-learn", value=None, limit=f"≤ {tolerance:g}", ok=None)
    worst = float(np.max(np.abs(reference - exported)))
    shown = worst if np.isfinite(worst) else str(worst)
    return Check(name="parity with scikit-learn", value=shown, limit=f"≤ {tolerance:g}", ok=bool(worst <= tolerance))


def document(
    spec: problem.Problem, params: config.Params, seen: pl.DataFrame, tested: NDArray[np.float32]
) -> dict[str, Any]:
    """`models/contract.json`: what a caller may send, what is known, and how predictions are spread."""
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
        "known": {name: sorted(seen[name].drop_nulls().unique().to_list()) for name in categories},
        "lookup": spec.lookup,
        "question": question.model_json_schema() if question else None,
        "limits": {"max_rows": params.export.max_rows, "max_body_bytes": params.export.max_body_bytes},
        "reference": {"edges": [float(e) for e in edges], "counts": [int(c) for c in counts]},
        "data": {"until": str(params.data.until), "test_from": str(params.data.test_from)},
    }


def golden(frame: pl.DataFrame, model: Model, count: int) -> list[dict[str, Any]]:
    """`count` rows spread evenly over the frame, as requests, with the exported model's answers."""
    spread = np.linspace(0, len(frame) - 1, min(count, len(frame))).astype(int)
    rows = frame[spread].select(model.categories + model.numbers).to_dicts()
    answers = model.rows(rows)
    return [{"row": row, "prediction": float(answer)} for row, answer in zip(rows, answers, strict=True)]


@contextmanager
def lookup(spec: problem.Problem) -> Iterator[None]:
    """models/lookup.sqlite, made in a process of its own beside the block; empty for a problem that has none.

    When that process fails the lookup is made here once more, so that its error is raised as what it is.
    """
    with files.atomic_write(FOLDER / "lookup.sqlite") as partial:
        if not spec.lookup:
            partial.touch()
            yield
            return
        words = [json.dumps(sys.path), spec.lookup, str(ingest.TABLE), str(partial)]
        with subprocess.Popen([sys.executable, "-c", BESIDE, *words], stderr=subprocess.DEVNULL) as beside:
            yield
        if beside.returncode:
            importlib.import_module(spec.lookup).write(ingest.read(ingest.TABLE), partial)


def run(params: config.Params) -> str:
    """models/model.joblib → model.onnx, contract.json, golden.json, lookup.sqlite; exit 4 when parity fails."""
    spec = problem.load(params.problem)
    with lookup(spec):
        return graph(params, spec)


def graph(params: config.Params, spec: problem.Problem) -> str:
    """The graph, its contract and golden requests; a sentence of how many rows agree with scikit-learn, and how well."""
    import joblib

    try:
        pipeline = joblib.load(train.MODEL)
    except (OSError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{train.MODEL} cannot be read: {error}", hint=f"remove {train.MODEL} and run `make repro`"
        ) from None
    frame = ingest.read(features.FRAME)
    seen, test = train.window(frame, params.data, "train"), train.window(frame, params.data, "test")
    reference = expected(pipeline, test, spec)
    (FOLDER / "model.onnx").unlink(missing_ok=True)  # only a graph that agrees may lie there to be served
    files.write_json(FOLDER / "contract.json", document(spec, params, seen, reference.astype(np.float32)))
    with files.atomic_write(FOLDER / "model.onnx") as partial:
        partial.write_bytes(export(pipeline, spec).SerializeToString(deterministic=True))
        model = Model(FOLDER, graph=partial)
        check = parity(reference, model.frame(test), params.export.tolerance)
        verdict = Verdict(chapter="export", checks=[check], rows=len(test))
        verdict.write(VERDICT)
        verdict.enforce(
            hint="a known trap: native categorical_features of HistGradientBoosting; encode them in the Pipeline"
        )
    files.write_json(FOLDER / "golden.json", golden(test, model, params.export.golden))
    return f"{len(test):,} rows agree with scikit-learn, largest difference {check.value:.1e}"
