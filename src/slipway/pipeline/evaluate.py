"""`evaluate`: measure the exported model on the test window, and write the loss of every row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slipway import problem
from slipway.contract import data_check
from slipway.core import config, files
from slipway.core.verdict import Check, Verdict
from slipway.errors import DataError
from slipway.pipeline import drift, features, ingest, metrics, train
from slipway.serving import golden
from slipway.serving.onnx_model import FOLDER, Model

METRICS = Path("reports/metrics.json")
LOSSES = Path("reports/losses.parquet")
PLOTS = Path("reports/plots")
PICTURES = Path("reports/pictures")
GOLDEN = PLOTS / "golden.json"
"""Answers to the golden requests, in Git: `prove` compares models with different bytes by them."""
VERDICT = Path("reports/evaluate.json")
UNREADABLE = "the table does not fit the contract of this commit"
"""First words of a champion's refusal of the challenger's table. `judging.champion` looks for them, so they stay."""
MORE_BINS = 200
"""Bins that are added on either side for the predictions of another model."""
HEADLINE = {"binary": "log_loss", "regression": "squared_error"}
"""The loss that is compared, by task; the metric of that name is its mean."""


def score_rows(frame: pl.DataFrame, spec: problem.Problem, model: Model) -> pl.DataFrame:
    """One row for each of `frame`, in its order: `row_id`, `day`, slices, `target`, `prediction`, `loss`."""
    target = frame[spec.target].cast(pl.Float64).to_numpy()
    prediction = model.frame(frame).astype(np.float64)
    return frame.select("row_id", "day", *spec.slices).with_columns(
        target=pl.Series(target),
        prediction=pl.Series(prediction),
        loss=pl.Series(metrics.row_losses(spec.task, target, prediction)),
    )


def measure(rows: pl.DataFrame, task: str, settings: config.Evaluate, seed: int) -> dict[str, Any]:
    """All metrics of the scored rows, with intervals from resampling whole days."""
    rows = rows.sort("prediction", descending=True, maintain_order=True)  # once instead of in every resample
    target, prediction = rows["target"].to_numpy(), rows["prediction"].to_numpy()
    results: dict[str, Any] = {
        "rows": len(rows),
        "days": rows["day"].n_unique(),
        "base_rate": float(target.mean()),
    }
    metric_functions = metrics.metrics_for(task)
    if task == "binary" and len(np.unique(target)) < 2:
        metric_functions = {
            name: metric for name, metric in metric_functions.items() if name not in ("auc", "average_precision")
        }
    results |= {name: metric(target, prediction, None) for name, metric in metric_functions.items()}
    results["calibration_error"] = calibration_error(reliability_curve(rows))
    weights = day_weights(rows, settings.resamples, seed)
    tail = (1 - settings.confidence) / 2
    results["intervals"] = {}
    for name, metric in metric_functions.items():
        drawn = [metric(target, prediction, w) for w in weights]
        low, high = np.quantile(drawn, [tail, 1 - tail])
        results["intervals"][name] = {"low": float(low), "high": float(high)}
    return results


def day_weights(rows: pl.DataFrame, resamples: int, seed: int) -> NDArray[np.float64]:
    """[resamples, rows]: the number of times the day of each row is drawn, when all days are drawn with replacement."""
    day = rows["day"].rank("dense").to_numpy().astype(int) - 1
    return metrics.draw_days(int(day.max()) + 1, resamples, seed)[:, day].astype(np.float64)


def reliability_curve(rows: pl.DataFrame, bins: int = 10) -> list[dict[str, float]]:
    """Mean prediction against mean target in `bins` groups of equally many rows."""
    ordered = rows.sort("prediction", "row_id").with_row_index("at")
    return (
        ordered.group_by(bin=pl.col("at") * bins // len(rows), maintain_order=True)
        .agg(predicted=pl.col("prediction").mean(), observed=pl.col("target").mean(), rows=pl.len())
        .drop("bin")
        .to_dicts()
    )


def calibration_error(points: list[dict[str, float]]) -> float:
    """Mean distance between predicted and observed over the groups, weighted by rows."""
    total = sum(point["rows"] for point in points)
    return sum(point["rows"] * abs(point["predicted"] - point["observed"]) for point in points) / total


def measure_slices(rows: pl.DataFrame, spec: problem.Problem, min_rows: int) -> list[dict[str, Any]]:
    """Rows, mean target, mean loss and (binary) AUC of every slice value with at least `min_rows` rows, but not all rows.

    The champion's rows may lack a slice that this change adds.
    """
    slices = []
    for name in (name for name in spec.slices if name in rows.columns):
        for (value,), part in sorted(rows.group_by(name), key=lambda item: str(item[0])):
            target, prediction = part["target"].to_numpy(), part["prediction"].to_numpy()
            if len(part) < min_rows or len(part) == len(rows):
                continue
            both = spec.task == "binary" and len(np.unique(target)) == 2
            auc = round(metrics.auc(target, prediction), 6) if both else None
            slices.append({"slice": name, "value": str(value), "rows": len(part), "target": float(target.mean()),
                          "loss": float(part["loss"].mean()), "auc": auc})  # type: ignore[arg-type]  # fmt: skip
    return slices


def input_importance(
    frame: pl.DataFrame, spec: problem.Problem, model: Model, rows: int, seed: int
) -> list[dict[str, Any]]:
    """The increase of the mean loss when one input is shuffled, on a seeded sample of `rows` rows; largest first."""
    rng = np.random.default_rng(seed)
    sample = frame[np.sort(rng.choice(len(frame), min(rows, len(frame)), replace=False))]
    loss_before = float(score_rows(sample, spec, model)["loss"].mean())  # type: ignore[arg-type]
    order = pl.Series(rng.permutation(len(sample)))
    increases = []
    for name in model.categories + model.numbers:
        shuffled = sample.with_columns(sample[name].gather(order).alias(name))
        loss_after = float(score_rows(shuffled, spec, model)["loss"].mean())  # type: ignore[arg-type]
        increases.append({"input": name, "importance": loss_after - loss_before})
    return sorted(increases, key=lambda item: -float(item["importance"]))


def plot_data(
    rows: pl.DataFrame, frame: pl.DataFrame, spec: problem.Problem, model: Model, params: config.Params
) -> dict[str, Any]:
    """The data of the plots by file name; it is in Git, so that `dvc plots` can compare revisions."""
    edges = prediction_edges(rows)
    importance = input_importance(frame, spec, model, params.evaluate.importance_rows, params.seed)
    return plot_data_of_rows(rows, spec, params.evaluate.min_slice_rows, edges) | {"importance": importance}


def prediction_edges(rows: pl.DataFrame, others: pl.DataFrame | None = None) -> NDArray[np.float64]:
    """The edges of 25 bins of the predictions, and of as many more of the same width as those of `others` need.

    At most MORE_BINS are added on a side: the bins of a model that predicts almost one value are very narrow.
    """
    edges = np.histogram_bin_edges(rows["prediction"].to_numpy(), bins=25)
    if others is None or not len(others):
        return edges
    values, width = others["prediction"].to_numpy(), edges[1] - edges[0]
    sides = np.array([edges[0] - values.min(), values.max() - edges[-1]]) / width
    below, above = np.clip(np.ceil(sides), 0, MORE_BINS).astype(int)
    return np.asarray(edges[0] + width * np.arange(-below, len(edges) + above), dtype=np.float64)


def plot_data_of_rows(
    rows: pl.DataFrame, spec: problem.Problem, min_slice_rows: int, edges: NDArray[np.float64]
) -> dict[str, Any]:
    """The data of the plots that need no model, only scored rows; `edges` are those of the predictions' bins."""
    counts, _ = np.histogram(rows["prediction"].to_numpy().clip(edges[0], edges[-1]), bins=edges)
    middles = (edges[:-1] + edges[1:]) / 2
    plots: dict[str, Any] = {
        "reliability": reliability_curve(rows),
        "slices": measure_slices(rows, spec, min_slice_rows),
        "predictions": [{"prediction": float(p), "rows": int(n)} for p, n in zip(middles, counts, strict=True)],
    }
    return plots | (_curves(rows) if spec.task == "binary" else {})


def answer_golden_requests(model: Model) -> list[dict[str, Any]]:
    """The predictions of the model for the golden requests, in their order."""
    path = FOLDER / "golden.json"
    with files.parsing(path):
        predictions = model.rows([each["row"] for each in golden.read(path)])
    return [{"request": at, "prediction": round(float(p), 9)} for at, p in enumerate(predictions)]


def _curves(rows: pl.DataFrame, points: int = 101) -> dict[str, Any]:
    """The ROC and precision–recall curves, reduced to `points` points each."""
    target, prediction = rows["target"].to_numpy(), rows["prediction"].to_numpy()
    fpr, tpr = metrics.roc_curve(target, prediction)
    recall, precision = metrics.precision_recall_curve(target, prediction)
    grid = np.linspace(0, 1, points)
    roc = zip(grid, np.interp(grid, fpr, tpr), strict=True)
    pr = zip(grid, np.interp(grid, recall, precision), strict=True)
    return {
        "roc": [{"false_positive_rate": float(x), "true_positive_rate": float(y)} for x, y in roc],
        "precision_recall": [{"recall": float(x), "precision": float(y)} for x, y in pr],
    }


def round_floats(value: Any, digits: int = 6) -> Any:
    """The same structure with rounded floats, so that committed files do not differ in the last bits."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {key: round_floats(item, digits) for key, item in value.items()}
    return [round_floats(item, digits) for item in value] if isinstance(value, list) else value


def check_row_count(rows: pl.DataFrame, settings: config.Evaluate) -> Check:
    """A check that is inconclusive (not failed) when the test window has too few rows."""
    return Check(name="rows in the test window", value=len(rows), limit=f"≥ {settings.min_rows:,}",
                 ok=True if len(rows) >= settings.min_rows else None,
                 text=f"The test window has {len(rows):,} rows")  # fmt: skip


def run(params: config.Params) -> str:
    """Measure the exported model on the test window → metrics, plots, losses; exit 5 with too few rows."""
    from slipway.pipeline import plots

    problem.import_in_background("matplotlib.figure")
    spec, model = problem.load(params.problem), Model()
    frame = ingest.read_parquet(features.FRAME, "row_id", "day", spec.target, *spec.slices)
    data_check.check_types(spec.inputs, frame, where=str(features.FRAME))
    test, training = train.rows_of_window(frame, params.data, "test"), train.rows_of_window(frame, params.data, "train")
    rows = score_rows(test, spec, model)
    check = check_row_count(rows, params.evaluate)
    guess = np.full(len(rows), float(training[spec.target].mean()))  # type: ignore[arg-type]
    dummy = metrics.row_losses(spec.task, rows["target"].to_numpy(), guess)
    rows = rows.with_columns(dummy=pl.Series(dummy))
    results = measure(rows, spec.task, params.evaluate, params.seed)
    results["train"] = drift.describe_window(training)
    results["dummy"] = {HEADLINE[spec.task]: float(dummy.mean()), "prediction": float(guess[0])}
    for name, data in plot_data(rows, test, spec, model, params).items():
        files.write_json(PLOTS / f"{name}.json", round_floats(data))
    settings = params.evaluate
    reference = drift.describe_inputs(
        training, model.categories, model.numbers, bins=settings.bins, rows=settings.sample_rows
    )
    files.write_json(drift.PATH, reference)
    files.write_json(GOLDEN, answer_golden_requests(model))
    files.write_json(METRICS, round_floats(results))
    ingest.write_parquet(rows, LOSSES)
    plots.draw_all(PLOTS, PICTURES)
    inputs = {"model": files.sha256(FOLDER / "model.onnx")}
    verdict = Verdict(chapter="evaluate", checks=[check], rows=len(rows), inputs=inputs)
    verdict.write(VERDICT)
    verdict.enforce(hint="raise data.test_days or lower evaluate.min_rows in params.yaml")
    shown, main = "auc" if spec.task == "binary" else "r2", HEADLINE[spec.task]
    return f"{len(rows):,} rows, {shown} {results[shown]:.4f}, {main} {results[main]:.4f}, baseline {dummy.mean():.4f}"


def score_for_comparison(params: config.Params, *, table: Path | None, sources: Path | None, out: Path) -> str:
    """Score another checkout's rows with this checkout's features and exported model, in the same windows → `out`.

    The rows are those of `table`, else of the table that this checkout's `ingest` builds from the files in `sources`.
    """
    spec = problem.load(params.problem)
    frame = build_other_features(spec, table) if table else features.build_features(
        spec, ingest.build_table(spec, params, sources)[0]
    )  # fmt: skip
    rows = score_rows(train.rows_of_window(frame, params.data, "test"), spec, Model())
    ingest.write_parquet(rows, out)
    return f"{len(rows):,} rows of {params.data.test_from} to {params.data.until}"


def build_other_features(spec: problem.Problem, path: Path) -> pl.DataFrame:
    """This checkout's features of another checkout's table, without columns that this checkout's contract does not declare.

    A column that the other checkout added may have the name of a feature, which a join would then take for it.
    DataError whose message begins with UNREADABLE when the table does not fit the contract.
    """
    table = ingest.read_parquet(path)
    try:
        data_check.check_types(spec.table, table, where=ingest.TABLE.as_posix())
        check_units(spec, path)
    except DataError as error:
        raise DataError(f"{UNREADABLE}: {error}", hint="slipway evaluate --sources FOLDER") from None
    declared = {"row_id", "day", *(column.name for column in problem.columns(spec.table))}
    try:
        frame = spec.features(table.select(name for name in table.columns if name in declared))
    except Exception:  # these features may read a column that their contract does not declare
        with problem.calling(spec.name, "features"):
            frame = spec.features(table)
    features.check_rows(spec, table, frame)
    return frame


def check_units(spec: problem.Problem, table: Path) -> None:
    """DataError when the quality record that another checkout's `ingest` wrote with `table` has a column in another unit.

    Its values would be read as if they were in this checkout's unit.
    """
    path = table.parent.parent / ingest.QUALITY
    recorded = files.read_json(path)["columns"] if path.exists() else []
    units = {column["name"]: column["unit"] for column in recorded}
    wrong = [
        f"column {column.name} is in {units[column.name] or 'no unit'}; expected: {column.unit or 'no unit'}"
        for column in problem.columns(spec.table)
        if units.get(column.name, column.unit) != column.unit
    ]
    if wrong:
        raise DataError(f"{ingest.TABLE}: {'; '.join(wrong)}")
