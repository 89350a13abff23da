from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from bikes.problem import PROBLEM

from slipway.core import config, files
from slipway.errors import DataError
from slipway.pipeline import evaluate, ingest, metrics
from support.paths import BIKES

SETTINGS = config.Evaluate(
    min_rows=10, resamples=20, confidence=0.9, min_slice_rows=5, importance_rows=50, bins=5, sample_rows=100
)


def rows(count: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    prediction = rng.uniform(0.05, 0.95, count)
    target = (rng.uniform(size=count) < prediction).astype(float)
    return pl.DataFrame({
        "row_id": [str(i) for i in range(count)], "day": [date(2024, 1, 1 + i % 20) for i in range(count)],
        "target": target, "prediction": prediction, "loss": metrics.row_losses("binary", target, prediction),
    })  # fmt: skip


def test_intervals_hold_the_metric():
    found = evaluate.measure(rows(), "binary", SETTINGS, seed=1)
    for name, interval in found["intervals"].items():
        assert interval["low"] <= found[name] <= interval["high"], name


def test_honest_predictions_are_well_calibrated():
    assert evaluate.measure(rows(4000), "binary", SETTINGS, seed=1)["calibration_error"] < 0.05
    boast = rows(4000).with_columns(prediction=pl.col("prediction") ** 3)
    assert evaluate.measure(boast, "binary", SETTINGS, seed=1)["calibration_error"] > 0.1


def test_one_class_leaves_auc_unmeasured():
    found = evaluate.measure(rows().with_columns(target=pl.lit(0.0)), "binary", SETTINGS, seed=1)
    assert "auc" not in found
    assert "log_loss" in found


def test_days_are_drawn_whole():
    weights = evaluate.day_weights(rows(), 5, seed=1)
    by_day = rows().select("day").with_columns(w=pl.Series(weights[0])).group_by("day").agg(pl.col("w").n_unique())
    assert by_day["w"].to_list() == [1] * 20
    assert weights.sum(axis=1).tolist() == [400.0] * 5


def test_too_few_rows_are_unsure_not_failed():
    assert evaluate.check_row_count(rows(5), SETTINGS).ok is None
    assert evaluate.check_row_count(rows(), SETTINGS).ok is True


def test_rounding_reaches_every_depth():
    assert evaluate.round_floats({"a": [{"b": 1 / 3}], "c": "text"}, 3) == {"a": [{"b": 0.333}], "c": "text"}


def test_regression_runs_from_model_to_metrics(project_copy, run):
    said = run(project_copy, "evaluate")
    written = files.read_json(project_copy / "reports/metrics.json")
    assert "r2" in said
    assert written["squared_error"] < written["dummy"]["squared_error"]
    assert pl.read_parquet(project_copy / "reports/losses.parquet")["loss"].mean() == pytest.approx(
        written["squared_error"], rel=1e-5
    )


def test_two_runs_write_the_same_bytes(project_copy, run):
    def written() -> dict[str, str]:
        run(project_copy, "evaluate")
        return {str(p.name): files.sha256(p) for p in sorted((project_copy / "reports").rglob("*")) if p.is_file()}

    assert written() == written()


def test_evaluate_is_unsure_with_too_few_rows(project_copy, cli):
    text = (project_copy / "params.yaml").read_text()
    limit = config.load(project_copy / "params.yaml").evaluate.min_rows
    (project_copy / "params.yaml").write_text(text.replace(f"min_rows: {limit}", "min_rows: 1000000", 1))
    done = cli(project_copy, "evaluate")
    assert done.returncode == 5
    assert "allowed: at least 1,000,000" in done.stderr


def test_replay_answers_on_another_table(project_copy, run, cli):
    run(project_copy, "evaluate")
    done = cli(project_copy, "evaluate", "--table", "data/table.parquet", "--until", "2021-06-10", "--test-days", "20",
               "--out", "there.parquet")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(project_copy / "there.parquet").columns[:2] == ["row_id", "day"]


def test_replay_needs_its_options_together(project_copy, cli):
    done = cli(project_copy, "evaluate", "--table", "data/table.parquet")
    assert done.returncode == 2
    assert "needs --until" in done.stderr


@pytest.mark.parametrize(("columns", "refusal"), [
    ({"temp": None}, "data/table.parquet lacks the column temp; it has "),
    ({"counted_at": pl.lit("noon")}, "data/table.parquet: column counted_at has type String; expected: time"),
])  # fmt: skip
def test_table_that_does_not_fit_the_contract_is_refused(project_copy, columns, refusal):
    path = project_copy / "data/table.parquet"
    table = ingest.read_parquet(path).with_columns(**{name: new for name, new in columns.items() if new is not None})
    ingest.write_parquet(table.drop(name for name, new in columns.items() if new is None), path)
    with pytest.raises(DataError, match=re.escape(f"{evaluate.UNREADABLE}: {refusal}")):
        evaluate.build_other_features(PROBLEM, path)


@pytest.mark.parametrize(("unit", "refused"), [("°F", "is in °F; expected: °C"), ("", "is in no unit; expected: °C")])
def test_column_in_another_unit_is_refused(project_copy, unit, refused):
    """Its type and its name are the same: the model would read degrees Fahrenheit as Celsius."""
    quality = project_copy / "reports/quality.json"
    files.write_text(quality, quality.read_text("utf-8").replace("°C", unit))
    with pytest.raises(DataError, match=f"{evaluate.UNREADABLE}: data/table.parquet: column temp {refused}"):
        evaluate.build_other_features(PROBLEM, project_copy / "data/table.parquet")


def test_table_without_a_quality_record_is_read(project_copy):
    (project_copy / "reports/quality.json").unlink()
    assert len(evaluate.build_other_features(PROBLEM, project_copy / "data/table.parquet"))


def test_added_column_is_not_taken_for_a_feature_of_its_name(project_copy):
    path = project_copy / "data/table.parquet"
    before = evaluate.build_other_features(PROBLEM, path)
    ingest.write_parquet(ingest.read_parquet(path).with_columns(recent=pl.lit(400.0)), path)
    assert evaluate.build_other_features(PROBLEM, path).equals(before)


def test_features_may_read_a_column_that_no_contract_declares(project_copy):
    path = project_copy / "data/table.parquet"
    ingest.write_parquet(ingest.read_parquet(path).with_columns(extra=pl.lit(1.0)), path)
    reads_it = replace(PROBLEM, features=lambda table: PROBLEM.features(table.filter(pl.col("extra") == 1)))
    assert len(evaluate.build_other_features(reads_it, path))


def test_features_that_repeat_a_row_of_the_other_table_are_refused(project_copy):
    doubled = replace(PROBLEM, features=lambda table: pl.concat([PROBLEM.features(table)] * 2))
    with pytest.raises(DataError, match="stand more than once"):
        evaluate.build_other_features(doubled, project_copy / "data/table.parquet")


def test_own_ingest_gives_what_the_own_table_gives(project_copy, cli):
    windows = ("--until", "2021-06-10", "--test-days", "20", "--out")
    for option, value, out in (("--table", "data/table.parquet", "a.parquet"), ("--sources", str(BIKES), "b.parquet")):
        done = cli(project_copy, "evaluate", option, value, *windows, out)
        assert done.returncode == 0, done.stderr
    one, other = (pl.read_parquet(project_copy / name) for name in ("a.parquet", "b.parquet"))
    assert one.equals(other)


def test_table_and_sources_exclude_each_other(bare, cli):
    done = cli(bare, "evaluate", "--table", "data/table.parquet", "--sources", ".")
    assert done.returncode == 2
    assert "--table and --sources exclude each other" in done.stderr


def test_a_frame_that_lost_a_column_ends_in_exit_code_3(project_copy, cli):
    path = project_copy / "data/features.parquet"
    ingest.write_parquet(ingest.read_parquet(path).drop("temp"), path)
    said = cli(project_copy, "evaluate")
    assert said.returncode == 3
    assert "data/features.parquet lacks the column temp" in said.stderr


def test_slice_that_has_every_row_is_left_out():
    rows = pl.DataFrame({"month": ["1"] * 8, "place": ["n"] * 4 + ["s"] * 4, "target": [0.0, 1.0] * 4,
                         "prediction": [0.2, 0.7] * 4, "loss": [0.2, 0.3] * 4})  # fmt: skip
    spec = SimpleNamespace(slices=("month", "place"), task="binary")
    found = evaluate.measure_slices(rows, spec, 2)
    assert [(row["slice"], row["value"]) for row in found] == [("place", "n"), ("place", "s")]


def test_bins_hold_the_predictions_of_both_models():
    own, other = pl.DataFrame({"prediction": [0.2, 0.3]}), pl.DataFrame({"prediction": [0.1, 0.9]})
    edges = evaluate.prediction_edges(own, other)
    assert edges[0] <= 0.1 < 0.9 <= edges[-1]
    assert np.diff(edges) == pytest.approx(0.004)
    assert evaluate.prediction_edges(own, own) == pytest.approx(evaluate.prediction_edges(own))
    assert len(evaluate.prediction_edges(own, pl.DataFrame({"prediction": [-9e9]}))) == 26 + evaluate.MORE_BINS
