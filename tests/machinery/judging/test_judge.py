from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from slipway import problem
from slipway.core import config, files
from slipway.core.verdict import describe_check
from slipway.judging import judge
from slipway.pipeline import plots

LIMITS = config.Judge.model_validate(
    {"resamples": 500, "confidence": 0.95, "margin": 0.01, "slice_margin": 0.05, "min_rows": 100, "min_days": 5,
     "min_slice_rows": 50, "min_slice_days": 2, "floors": {"auc": {"at_least": 0.6}}}
)  # fmt: skip


def losses(*, days: int = 20, rows: int = 50, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    count = days * rows
    return pl.DataFrame({
        "row_id": [f"r{i}" for i in range(count)],
        "day": [date(2024, 1, 1) + timedelta(days=i // rows) for i in range(count)],
        "place": ["north" if i % 2 else "south" for i in range(count)],
        "target": rng.integers(0, 2, count).astype(float),
        "loss": rng.gamma(2.0, 0.2, count),
    })  # fmt: skip


def verdict(challenger: pl.DataFrame, champion: pl.DataFrame, *, against: str = "champion") -> dict[str, bool | None]:
    rows, checks = judge.join(challenger, champion)
    found, _, _ = judge.compare(rows, limits=LIMITS, slices=("place",), seed=1, against=against, metric="log_loss")
    return {check.name: check.ok for check in [*checks, *found]}


def test_equal_model_is_not_worse():
    assert all(verdict(losses(), losses()).values())


def test_equal_model_is_not_better_either():
    rows, _ = judge.join(losses(), losses())
    _, _, better = judge.compare(rows, limits=LIMITS, slices=(), seed=1, against="champion", metric="log_loss")
    assert not better


def test_worse_model_fails_overall_check_only():
    worse = losses().with_columns(pl.col("loss") + 0.03)
    assert [name for name, ok in verdict(worse, losses()).items() if ok is False] == ["log_loss vs champion"]


def test_model_worse_in_one_slice_fails_there():
    worse = losses().with_columns(loss=pl.col("loss") + pl.when(pl.col("place") == "north").then(0.1).otherwise(-0.2))
    assert [name for name, ok in verdict(worse, losses()).items() if ok is False] == [
        "log_loss vs champion, place=north"
    ]


def test_slice_of_a_single_day_is_not_judged():
    """Its interval has no width: whatever is worse on that day would be surely worse."""
    last = pl.col("day") == losses()["day"].max()
    here, champion = (
        losses().with_columns(place=pl.when(last).then(pl.lit("end")).otherwise("place")) for _ in range(2)
    )
    worse = here.with_columns(loss=pl.col("loss") + pl.when(last).then(0.1).otherwise(0.0))
    found = verdict(worse, champion)
    assert "log_loss vs champion, place=end" not in found
    assert "log_loss vs champion, place=north" in found


def test_better_model_is_called_better():
    rows, _ = judge.join(losses().with_columns(pl.col("loss") - 0.03), losses())
    _, _, better = judge.compare(rows, limits=LIMITS, slices=(), seed=1, against="champion", metric="log_loss")
    assert better


def test_dummy_must_be_beaten_not_matched():
    assert verdict(losses(), losses(), against="dummy")["log_loss vs dummy"] is False


@pytest.mark.parametrize(("days", "rows", "name"), [(3, 50, "days"), (20, 4, "paired rows")])
def test_too_little_to_judge_is_unsure(days, rows, name):
    found = verdict(losses(days=days, rows=rows), losses(days=days, rows=rows))
    assert [check for check, ok in found.items() if ok is None] == [name]


def test_row_the_challenger_lacks_fails():
    assert verdict(losses()[:-7], losses())["rows of the champion that the challenger lacks"] is False


def test_rows_with_ids_of_another_type_match_by_text_or_not_at_all():
    numbers = losses().with_columns(row_id=pl.int_range(pl.len()))
    texts = numbers.with_columns(pl.col("row_id").cast(pl.String))
    assert all(verdict(numbers, judge.as_ids_of(numbers, texts)).values())
    rows, checks = judge.join(numbers, judge.as_ids_of(numbers, losses()))
    assert (len(rows), checks[0].ok) == (0, False)


def test_row_whose_label_was_changed_fails():
    changed = losses().with_columns(target=1 - pl.col("target"))
    assert verdict(changed, losses())["rows whose label differs"] is False


def test_days_are_resampled_not_rows():
    rng = np.random.default_rng(3)
    rows = losses().with_columns(difference=pl.Series(np.repeat(rng.normal(0, 0.1, 20), 50)))
    found = judge.paired_bootstrap(rows, resamples=2000, confidence=0.95, seed=1)
    assert found.high - found.low > 0.05  # rows as independent would say about 0.012


@pytest.mark.parametrize(("value", "ok"), [(0.7, True), (0.5, False), (None, None)])
def test_floor_is_kept_broken_or_unknown(value, ok):
    assert [check.ok for check in judge.floors({"auc": value}, LIMITS.floors)] == [ok]


def test_slice_that_the_challenger_drops_or_splits_is_still_judged():
    worse = losses().with_columns(loss=pl.col("loss") + pl.when(pl.col("place") == "north").then(0.1).otherwise(-0.2))
    for mine in (worse.drop("place"), worse.with_columns(place="row_id")):
        rows, _ = judge.join(mine, losses())
        assert judge.slice_columns(losses()) == ["place"]
        found, _, _ = judge.compare(
            rows, limits=LIMITS, slices=("place",), seed=1, against="champion", metric="log_loss"
        )
        assert [check.name for check in found if check.ok is False] == ["log_loss vs champion, place=north"]


def test_floor_measured_on_too_little_is_unsure_too():
    found, _, _ = judge.compare(
        judge.join(losses(days=3), losses(days=3))[0],
        limits=LIMITS,
        slices=(),
        seed=1,
        against="champion",
        metric="log_loss",
    )
    assert not judge.sufficient(found)
    assert [check.ok for check in judge.floors({"auc": 0.5}, LIMITS.floors, enough=False)] == [None]


def test_losses_of_another_model_are_not_judged(project_copy, run, cli):
    run(project_copy, "evaluate")
    assert judge.require_current_losses(project_copy)
    (project_copy / "models/model.onnx").write_bytes(b"another")
    done = cli(project_copy, "judge")
    assert done.returncode == 3
    assert "losses.parquet is about model" in done.stderr


def test_slice_that_has_every_row_is_left_out():
    whole = losses().with_columns(month=pl.lit("1"))
    rows, _ = judge.join(whole.with_columns(pl.col("loss") + 0.2), whole)
    checks, table, _ = judge.compare(
        rows, limits=LIMITS, slices=("month", "place"), seed=1, against="champion", metric="log_loss"
    )
    assert {row["slice"] for row in table} == {"place"}
    assert not [check.name for check in checks if "month" in check.name]


def test_check_says_what_differs_and_what_is_allowed():
    worse = losses().with_columns(pl.col("loss") + 0.08)
    checks = judge.compare(
        judge.join(worse, losses())[0],
        limits=LIMITS,
        slices=("place",),
        seed=1,
        against="champion",
        metric="log_loss",
    )[0]
    overall, slice_check = (describe_check(check) for check in checks[2:4])
    assert (
        overall == "Log loss is 0.080 worse than production (95 % interval 0.080 to 0.080); allowed: at most 0.01 worse"
    )
    assert slice_check.startswith("place north: log loss is 0.080 worse than production")
    assert slice_check.endswith("; allowed: up to 0.05 worse, or not clearly worse")


def test_metrics_of_both_models_are_paired(project_copy, run, params):
    run(project_copy, "evaluate")
    rows = pl.read_parquet(project_copy / "reports/losses.parquet")
    paired = judge.pair_predictions(rows, rows.with_columns(pl.col("prediction") + 1))
    found = judge.metric_changes(paired, [], "regression", params.judge, params)
    assert set(found) == {"squared_error", "mae", "rmse", "r2"}
    assert found["mae"]["low"] < found["mae"]["high"]


def test_against_the_baseline_only_the_headline_is_paired(params):
    rows, _ = judge.join(losses(), losses().with_columns(pl.col("loss") + 0.1))
    checks, _, _ = judge.compare(rows, limits=LIMITS, slices=(), seed=1, against="dummy", metric="log_loss")
    found = judge.metric_changes(None, checks, "binary", LIMITS, params)
    assert found == {
        "log_loss": {"difference": pytest.approx(-0.1), "low": pytest.approx(-0.1), "high": pytest.approx(-0.1)}
    }
    assert "Log loss is 0.10 better than the baseline" in checks[2].text


def test_champions_plot_data_is_kept_in_bins_of_the_same_width(project_copy, run, params):
    run(project_copy, "evaluate")
    rows, spec = pl.read_parquet(project_copy / "reports/losses.parquet"), problem.load(params.problem)
    kept = project_copy / plots.CHAMPION_DATA
    judge.write_champion_plots(rows, rows.with_columns(pl.col("prediction") * 2), spec, params, project_copy)
    own, champion = files.read_json(project_copy / "reports/plots/predictions.json"), files.read_json(kept)
    wide, narrow = ([row["prediction"] for row in kind] for kind in (champion["predictions"], own))
    assert len(wide) > len(narrow)
    assert wide[1] - wide[0] == pytest.approx(narrow[1] - narrow[0], abs=1e-5)
    assert sum(row["rows"] for row in champion["predictions"]) == len(rows)
    assert champion.keys() == {"reliability", "slices", "predictions"}
    judge.write_champion_plots(rows, None, spec, params, project_copy)
    assert not kept.exists()
