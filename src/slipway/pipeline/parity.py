"""Compare the exported model with scikit-learn on rows that are generated from the contract.

The test window has only what happened in it. The service accepts everything that the contract allows: a missing value in
every input that may be missing, a category that training never had, both ends of every range.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, TypeAdapter, ValidationError

from slipway import problem
from slipway.contract.words import FLOAT32_MAX, kind_of
from slipway.core.verdict import Check
from slipway.errors import SlipwayError

RANDOM_ROWS = 400
SEED = 1
TRAINING_ROWS = 400
"""Rows of the training window, spread evenly: thresholds of trees lie between their values."""
WINDOW_ROWS = 3
"""Rows of the test window in which one input after the other is changed."""
KNOWN_ROWS = 2000
"""Rows of the training window from which random rows take their numbers."""
KNOWN_VALUES = 300
"""Values of a category that training had, at most, of which each is tried."""
PAIRED_ROWS, PAIRS = 200, 10
"""Wrong rows, and pairs of a wrong and a right row, among which the simplest explanation is looked for."""
ROUNDING = 1e-3
"""Larger differences do not come from rounding alone."""
SHOWN = 3
"""Inputs that a message names."""
UNSEEN = ("never seen", "zzzz", "ZZZZ", "zz", "ZZ", "z", "Z", "0000", "0", "é", "ß漢🚲", " ", "", "a\x00b")
ENCODER = (
    'let the encoder accept values that training did not have: OneHotEncoder(handle_unknown="ignore"), '
    'OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), or TargetEncoder'
)
IMPUTER = (
    'put SimpleImputer(strategy="median") before the estimator, use HistGradientBoosting, which accepts missing '
    "values, or forbid null for this input in the contract"
)

Predict = Callable[[pl.DataFrame], NDArray[Any]]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row on which two models do not agree: the inputs that matter, and both answers or the error of one model."""

    inputs: Row
    reference: float = math.nan
    exported: float = math.nan
    error: str = ""

    @property
    def is_finite(self) -> bool:
        """Both models return a finite number."""
        return not self.error and math.isfinite(self.reference) and math.isfinite(self.exported)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Agreement on `rows` rows: the largest difference, on how many rows it is too large, and one of them."""

    rows: int
    worst: float
    wrong: int = 0
    difference: Difference | None = None
    reference: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def check(self, name: str, tolerance: float, *, where: str) -> Check:
        """The check of this outcome; `where` says which rows these are."""
        limit, shown = f"≤ {tolerance:g}", self.worst if math.isfinite(self.worst) else str(self.worst)
        text = f"The exported model's predictions differ from scikit-learn's by up to {self.worst:.2g}"
        if (difference := self.difference) is None:
            ok = True if self.rows else None
            return Check(name=name, value=shown, limit=limit, ok=ok, text=f"{text} on {self.rows:,} rows {where}")
        inputs = describe_inputs(difference.inputs)
        answers = f"scikit-learn predicts {difference.reference:.7g} and the exported model {difference.exported:.7g}"
        if difference.is_finite:
            text = f"{text} on {self.wrong:,} of {self.rows:,} rows {where}: with {inputs}, {answers}"
        elif difference.error:
            limit, shown, text = (
                "a prediction",
                difference.error,
                f"For a row {where}, with {inputs}, {difference.error}",
            )
        else:
            limit, text = "a finite number from both", f"For a row {where}, with {inputs}, {answers}"
        return Check(name=name, value=shown, limit=limit, ok=False, text=text)


# The rows


def rows_of_contract(model: type[BaseModel], training: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    """The rows to compare on: changes of one input, rows of extremes and of missing values, random rows, training rows."""
    texts = problem.names(model, "category")
    names = [*texts, *problem.names(model, "number")]
    sample = _spread(training, KNOWN_ROWS)
    known = {name: _unique((training if name in texts else sample)[name]) for name in names}
    values = allowed_values(model, {name: known[name] for name in texts})
    bases = _spread(test, WINDOW_ROWS).select(names).to_dicts()
    rows = [*bases, *_example(model, names)]
    for number, base in enumerate(bases):
        for name in names:
            trained = known[name][:KNOWN_VALUES] if number == 0 and name in texts else []
            rows += [base | {name: value} for value in [*values[name], *trained]]
    missing: Row = {name: None for name in names if None in values[name]}
    rows.append(bases[0] | missing)
    rows += [bases[0] | {other: None for other in missing if other != name} for name in missing]
    for position in range(max(len(each) for each in values.values())):  # the first value of every input, the second …
        rows.append({name: each[position % len(each)] if (each := values[name]) else bases[0][name] for name in names})
    rng, adapters = np.random.default_rng(SEED), {name: _adapter(model, name) for name in names}
    for number in range(RANDOM_ROWS):
        base = bases[number % len(bases)]
        row = {name: _random_value(values[name], known[name], base[name], rng) for name in names}
        rows.append({name: row[name] if _accepts(adapters[name], row[name]) else base[name] for name in names})
    rows += _spread(training, TRAINING_ROWS).select(names).to_dicts()
    return _frame(model, rows)


def _example(model: type[BaseModel], names: Sequence[str]) -> list[Row]:
    """The contract's example, which the service predicts when it starts; nothing when an input lacks one."""
    example = problem.example_row(model)
    is_complete = all(_accepts(_adapter(model, name), example[name]) for name in names)
    return [{name: example[name] for name in names}] if is_complete else []


def _adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    type_: Any = Annotated[model.model_fields[name].annotation, model.model_fields[name]]
    return TypeAdapter(type_)


def _unique(column: pl.Series) -> list[Any]:
    return column.drop_nulls().unique().sort().to_list()


def allowed_values(model: type[BaseModel], known: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    """The values at the edges of what each input may be, as its type in the contract accepts them; None where allowed.

    `known` has the texts that training had of each category.
    """
    nodes = model.model_json_schema()
    values = {}
    for name in model.model_fields:
        adapter = _adapter(model, name)
        node = _resolve(nodes["properties"][name], nodes.get("$defs", {}))
        candidates = _texts(known[name], node) if name in known else _numbers(node)
        values[name] = list(dict.fromkeys(value for value in candidates if _accepts(adapter, value)))
    return values


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON-schema node of a value without null; a reference (to an Enum) is replaced by its definition."""
    kind = kind_of(node)[0]
    return definitions[kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind


def _accepts(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _listed(node: Mapping[str, Any]) -> list[Any]:
    """The values of a `Literal`, an Enum or a bool."""
    return list(node.get("enum", [node["const"]] if "const" in node else []))


def _texts(known: Sequence[str], node: Mapping[str, Any]) -> Iterator[Any]:
    """Yield null, the values that a type lists, and texts that training never had: some look like known ones."""
    yield None
    yield from _listed(node)
    longest = min(int(node.get("maxLength", 64)), 1000)
    similar = [
        text for each in known[:1] for text in (each.lower(), each.upper(), f" {each}", each[::-1], f"{each}\x00")
    ]
    longer = "x" * longest, "9" * longest, "x" * max(int(node.get("minLength", 1)), 1)
    trained = set(known)
    yield from (text for text in [*UNSEEN, *longer, *similar] if text not in trained)


def _numbers(node: Mapping[str, Any]) -> Iterator[Any]:
    """Yield null, both ends of the range, the numbers just inside them, the middle, and small numbers."""
    yield None
    yield from map(float, _listed(node))
    if node.get("type") == "boolean":
        yield from (False, True)
        return
    low = float(node.get("minimum", node.get("exclusiveMinimum", -FLOAT32_MAX)))
    high = float(node.get("maximum", node.get("exclusiveMaximum", FLOAT32_MAX)))
    step = float(node.get("multipleOf", 1 if node.get("type") == "integer" else 0))
    if step:
        first, last = math.ceil(low / step), math.floor(high / step)
        numbers = [first, first + 1, last, last - 1, (first + last) // 2, 0, 1]
        yield from (number * step for number in numbers)
        return
    edges = [(low, math.inf), (high, -math.inf)]
    inside = [float(np.nextafter(np.float32(edge), np.float32(side))) for edge, side in edges]
    yield from (low, high, *inside, low / 2 + high / 2, 0.0, 1.0, -1.0, 0.5, 1e3, -1e3, 1e6, -1e6)


def _random_value(edges: Sequence[Any], known: Sequence[Any], base: Any, rng: np.random.Generator) -> Any:
    """An edge, a value of training, a number between two of training, or the base's own value."""
    choice = rng.random()
    if edges and choice < 0.3:
        return edges[int(rng.integers(len(edges)))]
    if not known or choice < 0.5:
        return base
    value = known[int(rng.integers(len(known)))]
    if isinstance(value, str) or choice < 0.75:
        return value
    other = known[int(rng.integers(len(known)))]
    return float(np.float32(value + (other - value) * rng.random()))


def _spread(frame: pl.DataFrame, count: int) -> pl.DataFrame:
    return frame[np.unique(np.linspace(0, len(frame) - 1, min(count, len(frame))).astype(int))]


def _frame(model: type[BaseModel], rows: Sequence[Row]) -> pl.DataFrame:
    types: dict[str, Any] = {c.name: c.type if c.type in (str, bool) else float for c in problem.columns(model)}
    series = [
        pl.Series(name, [None if row[name] is None else types[name](row[name]) for row in rows], types[name])
        for name in rows[0]
    ]
    return pl.DataFrame(series).with_columns(pl.col(pl.Float64).cast(pl.Float32))


# The comparison


def scaled(reference: NDArray[Any], exported: NDArray[Any]) -> NDArray[np.float64]:
    """The absolute differences, [rows], relative where the reference is above one; NaN where one of both is NaN."""
    expected, actual = np.asarray(reference, dtype=np.float64), np.asarray(exported, dtype=np.float64)
    with np.errstate(all="ignore"):
        result: NDArray[np.float64] = np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))
    return result


def compare(
    frame: pl.DataFrame, scikit_learn: Predict, exported: Predict | None, tolerance: float,
    *, reference: NDArray[np.float64] | str | None = None,
) -> Outcome:  # fmt: skip
    """Compare both models on all rows; without `exported` only check that scikit-learn returns finite numbers.

    `reference` are scikit-learn's predictions, where they are there already.
    """
    if reference is None:
        reference = _answers(scikit_learn, frame, "scikit-learn")
    actual = reference if exported is None else _answers(exported, frame, "the exported model")
    if isinstance(reference, str) or isinstance(actual, str):
        position = _first_error(exported if exported and isinstance(actual, str) else scikit_learn, frame)
        is_wrong = np.arange(len(frame)) == position
        difference: Difference | None = _explain(frame, is_wrong, scikit_learn, exported, tolerance)
        return Outcome(rows=len(frame), worst=math.nan, wrong=len(frame), difference=difference)
    differences = scaled(reference, actual)
    is_wrong = ~(differences <= tolerance)
    difference = _explain(frame, is_wrong, scikit_learn, exported, tolerance) if is_wrong.any() else None
    worst, wrong = float(np.max(differences, initial=0.0)), int(is_wrong.sum())  # NaN when any is NaN
    return Outcome(rows=len(frame), worst=worst, wrong=wrong, difference=difference, reference=reference)


def _answers(predict: Predict, frame: pl.DataFrame, name: str) -> NDArray[np.float64] | str:
    """The predictions, or the error as a sentence: libraries raise errors of every class for data that they cannot take."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return np.asarray(predict(frame), dtype=np.float64).reshape(len(frame))
        except Exception as error:
            kind = "" if isinstance(error, SlipwayError) else f"{type(error).__name__}: "
            return f"{name} raises {kind}{' '.join(str(error).split())[:300]}"


def _first_error(predict: Predict, frame: pl.DataFrame) -> int:
    """Return the position of the first row for which `predict` raises an error, by halving."""
    low, high = 0, len(frame)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if isinstance(_answers(predict, frame[low:middle], ""), str) else (middle, high)
    return low


def _explain(
    frame: pl.DataFrame, is_wrong: NDArray[np.bool_], scikit_learn: Predict, exported: Predict | None, tolerance: float
) -> Difference:
    """Describe a wrong row by the inputs that matter: those in which it differs from a similar row that is right."""

    def both(row: Row) -> Difference | None:
        one = pl.DataFrame([row], schema=frame.schema)
        reference = _answers(scikit_learn, one, "scikit-learn")
        actual = reference if exported is None else _answers(exported, one, "the exported model")
        if isinstance(reference, str) or isinstance(actual, str):
            return Difference(inputs=row, error=reference if isinstance(reference, str) else str(actual))
        if scaled(reference, actual)[0] <= tolerance:
            return None
        return Difference(inputs=row, reference=float(reference[0]), exported=float(actual[0]))

    for wrong, right in _similar_pairs(frame, is_wrong):
        row, base = frame.row(wrong, named=True), frame.row(right, named=True)
        difference = both(row)
        if difference is None or both(base) is not None:
            continue
        changes = {name: value for name, value in row.items() if value != base[name]}
        for name in [*changes]:
            fewer = {other: value for other, value in changes.items() if other != name}
            if simpler := both(base | fewer):
                changes, difference = fewer, simpler
        return replace(difference, inputs=changes)
    row = frame.row(int(is_wrong.argmax()), named=True)
    return both(row) or Difference(inputs=row, error="a row gets another answer alone than among others")


def _similar_pairs(frame: pl.DataFrame, is_wrong: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Up to PAIRS pairs of a wrong and another row that differ in the fewest inputs, of the first rows of both kinds.

    A missing value in the right row counts as a difference too, so that a missing value in the wrong one is noticed.
    """
    codes = frame.select(pl.all().rank("dense").fill_null(0)).to_numpy()
    wrong, right = is_wrong.nonzero()[0][:PAIRED_ROWS], (~is_wrong).nonzero()[0][: 2 * PAIRED_ROWS]
    distances = (codes[wrong][:, None, :] != codes[right][None, :, :]).sum(axis=2) + (codes[right] == 0).sum(axis=1)
    order = np.argsort(distances, axis=None, kind="stable")[:PAIRS]
    return [(int(wrong[at // len(right)]), int(right[at % len(right)])) for at in order]


def describe_inputs(inputs: Row) -> str:
    """Some inputs with their values: "`temp` null and `station` 'zzzz'"."""
    words = [f"`{name}` {_show(value)}" for name, value in inputs.items()]
    if len(words) > SHOWN:
        words[SHOWN:] = [f"{len(words) - SHOWN} more"]
    return " and ".join(words)


def _show(value: Any) -> str:
    return "null" if value is None else repr(value) if isinstance(value, str) else f"{value:.9g}"


# What to do


def hint(outcome: Outcome, estimators: Sequence[Any]) -> str:
    """The setting that mends the difference; `estimators` are the fitted parts of the Pipeline, itself first."""
    difference = outcome.difference
    if difference is None:
        return ""
    error, values = difference.error.lower(), difference.inputs.values()
    has_null, has_text = None in values, any(isinstance(value, str) for value in values)
    if "predict_proba" in error:
        return "use an estimator that has predict_proba: a binary problem predicts a probability"
    if "unknown categor" in error or (error and has_text):
        return ENCODER
    if "nan" in error or "missing" in error or (has_null and not difference.is_finite):
        return IMPUTER
    if not difference.is_finite:
        return "give the input a range in the contract (ge and le), or limit its values in the Pipeline"
    return _conversion_hint(estimators, outcome.worst, has_null=has_null, has_text=has_text)


def _conversion_hint(estimators: Sequence[Any], worst: float, *, has_null: bool, has_text: bool) -> str:
    """The setting for a model that exports without an error and predicts something else."""
    classes = [type(each).__name__ for each in estimators]
    masks = [mask for each in estimators if (mask := getattr(each, "is_categorical_", None)) is not None]
    if any(np.any(mask) for mask in masks):
        return "HistGradientBoosting's categorical_features convert wrongly: encode categories in the Pipeline instead"
    if any(getattr(each, "min_frequency", None) or getattr(each, "max_categories", None) for each in estimators):
        return "OneHotEncoder's min_frequency and max_categories convert wrongly: leave them out, or use TargetEncoder"
    if has_null and any(getattr(each, "add_indicator", False) for each in estimators):
        return "the imputer's add_indicator is lost in ONNX: leave it out, or make such an input in features instead"
    if has_null and (imputers := {each for each in classes if "Imputer" in each} - {"SimpleImputer"}):
        return f"{min(imputers)} converts wrongly: use SimpleImputer"
    if has_null:
        return f"ONNX does not treat a missing value as {_last_step(estimators)} does: {IMPUTER}"
    if has_text and "TargetEncoder" not in classes:
        return 'encode this category with OneHotEncoder(handle_unknown="ignore") or TargetEncoder: they convert exactly'
    if "TreePredictor" in classes and (scalers := [each for each in classes if "Scaler" in each]):
        return f"leave {scalers[0]} out: trees need none, and its 32-bit results in ONNX may cross a tree's threshold"
    if "IsotonicRegression" in classes:
        return 'isotonic regression has steps that 32-bit rounding may cross: calibrate with method="sigmoid"'
    if worst < ROUNDING:
        return "ONNX computes in 32 bits (seven digits): if you accept this difference, raise export.tolerance"
    return "remove the last step that was added, and see docs/fix/export.md"


def _last_step(estimators: Sequence[Any]) -> str:
    return type(estimators[0][-1]).__name__ if hasattr(estimators[0], "steps") else "scikit-learn"
