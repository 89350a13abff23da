"""`export`: turn the Pipeline into an ONNX graph that agrees with scikit-learn on every row of the test window.

Its libraries take more than a second to load. They are imported where they are used, while the lookup is being made.
"""

from __future__ import annotations

import copy
import functools
import importlib
import json
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slipway import problem
from slipway.contract import polars_rules, reading
from slipway.contract.words import Rule
from slipway.core import config, files
from slipway.core.verdict import Check, Verdict
from slipway.errors import ConfigError, DataError
from slipway.pipeline import features, ingest, parity, train
from slipway.serving.onnx_model import FOLDER, Model

if TYPE_CHECKING:
    import onnx
    from sklearn.pipeline import Pipeline

VERDICT = Path("reports/export.json")
COMPARED = {
    "parity with scikit-learn": "of the test window",
    "parity on generated rows": "that the contract allows",
}
"""The two sets of rows on which both models are compared: the names of the checks, and words for the rows."""
CONTAINERS = {"Pipeline", "ColumnTransformer", "FeatureUnion"}
UNSUPPORTED = (
    "use a step that skl2onnx supports, do its work in the problem's features function, or transform the target there; "
    "see docs/fix/export.md"
)
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
    try:
        graph = to_onnx(pipeline, initial_types=model_inputs, options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    except Exception as error:  # skl2onnx raises errors of many classes, also TypeError and AttributeError
        message = f"{_name_step(pipeline, error)} cannot be exported to ONNX: {_first_line(error)}"
        raise ConfigError(message, hint=UNSUPPORTED) from None
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


def _name_step(pipeline: Pipeline, error: Exception) -> str:
    """The innermost step that skl2onnx was converting or that its error names: `the step columns.log (FunctionTransformer)`."""
    parts = {name: type(part).__name__ for name, part in pipeline.get_params().items() if hasattr(part, "get_params")}
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    operators = [operator for frame in frames if (operator := frame.f_locals.get("operator")) is not None]
    converted = type(getattr(operators[-1], "raw_operator", None)).__name__ if operators else ""
    words = re.findall(r"\w+", str(error))
    fitting = [name for name in parts if parts[name] in {converted, *words}]
    if not fitting:
        return f"a step of the Pipeline ({', '.join(dict.fromkeys(parts.values()))})"
    name = max(fitting, key=lambda each: (parts[each] not in CONTAINERS, parts[each] in words, each.count("__")))
    return f"the step {name.replace('__', '.')} ({parts[name]})"


def _first_line(error: Exception) -> str:
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)[
        :300
    ]


def _round_thresholds(pipeline: Pipeline) -> Pipeline:
    """A copy whose tree thresholds are rounded down to float32, which is what ONNX compares in, wherever trees are.

    Histogram boosting splits halfway between two training values, in float64. Rounded to the nearest float32
    such a threshold may land on a value that lies between the two (25.7 for 25.69999981) and send it left;
    rounded down, `x <= threshold` means the same for every float32 x.
    """
    rounded = copy.deepcopy(pipeline)
    for part in fitted_parts(rounded):
        if type(part).__name__ == "TreePredictor":
            nodes: Any = part.nodes
            exact = nodes["num_threshold"]
            single = exact.astype(np.float32)
            nodes["num_threshold"] = np.where(single > exact, np.nextafter(single, np.float32(-np.inf)), single)
    return rounded


def fitted_parts(part: Any) -> list[Any]:
    """The object and all objects of scikit-learn that its attributes hold, at any depth: steps, estimators, trees."""
    visited: dict[int, Any] = {}
    pending = [part]
    while pending:
        each = pending.pop()
        if id(each) in visited:
            continue
        if isinstance(each, list | tuple | set):
            pending += each
        elif isinstance(each, dict):
            pending += each.values()
        elif isinstance(each, np.ndarray) and each.dtype == object:
            pending += each.flat
        elif hasattr(each, "get_params") or type(each).__module__.partition(".")[0] == "sklearn":
            pending += vars(each).values() if hasattr(each, "__dict__") else []
        else:
            continue
        visited[id(each)] = each
    return [each for each in visited.values() if not isinstance(each, list | tuple | set | dict | np.ndarray)]


def scikit_learn_predictions(pipeline: Pipeline, frame: pl.DataFrame, spec: problem.Problem) -> NDArray[np.float64]:
    """The predictions of scikit-learn itself, [rows]: probabilities of the positive class, or values of a regression."""
    rows = train.model_inputs(frame, spec)
    if spec.task == "binary":
        return np.asarray(pipeline.predict_proba(rows)[:, 1], dtype=np.float64)
    result = np.asarray(pipeline.predict(rows), dtype=np.float64)
    return result[:, 0] if result.shape == (len(rows), 1) else result


def check_parity(reference: NDArray[np.float64], exported: NDArray[np.float32], tolerance: float) -> Check:
    """Check the largest difference over all rows, relative above one, against `tolerance`; NaN anywhere fails."""
    if not len(reference):
        return Check(name="parity with scikit-learn", value=None, limit=f"≤ {tolerance:g}", ok=None)
    worst = float(np.max(parity.scaled(reference, exported)))
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
        "inputs": reading.schema(spec.inputs),
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
    sample = frame[spread].select(model.categories + model.numbers)
    rows = sample.to_dicts()
    rules = {name: Rule.of(model.contract["inputs"]["properties"][name]) for name in sample.columns}
    rounded = [name for name, rule in rules.items() if polars_rules.has_rounded_limit(rule)]
    for number, row in enumerate(rows if rounded else ()):  # the service compares in 64 bits, a Float32 column in 32
        row |= polars_rules.row(sample.select(rounded), number)
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

    if train.MODEL.exists():
        files.require_readable(train.MODEL)
    try:
        pipeline = joblib.load(train.MODEL)
    except Exception as error:  # what unpickling raises depends on the bytes
        raise DataError(
            f"{train.MODEL} cannot be read: {_first_line(error)}", hint=f"remove {train.MODEL} and run `make repro`"
        ) from None
    frame, tolerance = ingest.read_parquet(features.FRAME, "day"), params.export.tolerance
    training, test = train.rows_of_window(frame, params.data, "train"), train.rows_of_window(frame, params.data, "test")
    scikit_learn = functools.partial(scikit_learn_predictions, pipeline, spec=spec)
    (FOLDER / "model.onnx").unlink(missing_ok=True)  # only a graph that agrees may be served
    window = test.select(*problem.names(spec.inputs, "category"), *problem.names(spec.inputs, "number"))
    alone = parity.compare(window, scikit_learn, None, tolerance)
    if alone.difference:
        _enforce([alone], pipeline, tolerance)
    reference = alone.reference
    files.write_json(FOLDER / "contract.json", describe_contract(spec, params, training, reference.astype(np.float32)))
    with files.atomic_write(FOLDER / "model.onnx") as partial:
        partial.write_bytes(to_graph(pipeline, spec).SerializeToString(deterministic=True))
        try:
            model = Model(FOLDER, graph=partial)
        except DataError as error:
            message = f"ONNX Runtime cannot load the exported model: {_first_line(error)}"
            raise ConfigError(message, hint=UNSUPPORTED) from None
        outcomes = [parity.compare(window, scikit_learn, model.frame, tolerance, reference=reference)]
        if not outcomes[0].difference:
            generated = parity.rows_of_contract(spec.inputs, training, test)
            outcomes.append(parity.compare(generated, scikit_learn, model.frame, tolerance))
        _enforce(outcomes, pipeline, tolerance)
    files.write_json(FOLDER / "golden.json", golden_requests(test, model, params.export.golden))
    worst = max(outcome.worst for outcome in outcomes)
    generated_rows = f"as do {outcomes[1].rows:,} generated from the contract"
    return f"{len(test):,} rows agree with scikit-learn, {generated_rows}, largest difference {worst:.1e}"


def _enforce(outcomes: Sequence[parity.Outcome], pipeline: Pipeline, tolerance: float) -> None:
    """Write the verdict; CheckFailed with the setting that mends the first difference."""
    pairs = zip(outcomes, COMPARED.items(), strict=False)
    checks = [outcome.check(name, tolerance, where=where) for outcome, (name, where) in pairs]
    verdict = Verdict(chapter="export", checks=checks, rows=outcomes[0].rows)
    verdict.write(VERDICT)
    wrong = next((outcome for outcome in outcomes if outcome.difference), None)
    verdict.enforce(hint=parity.hint(wrong, fitted_parts(pipeline)) if wrong else "")
