"""features: nothing that is known only after the asking may enter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from bikes.problem import PROBLEM

from slipway.errors import DataError
from slipway.pipeline import features, ingest
from slipway.problem import Problem
from support.callables import Cli


@pytest.fixture(scope="module")
def table(project: Path) -> pl.DataFrame:
    return ingest.read_parquet(project / ingest.TABLE)


def using(value: pl.Expr, where: str) -> Problem:
    """The bikes problem with input `where` replaced by `value`, computed from the table."""

    def build(table: pl.DataFrame) -> pl.DataFrame:
        other = table.select("row_id", value.cast(pl.Float32).alias(where))
        return PROBLEM.features(table).drop(where).join(other, on="row_id", how="left", maintain_order="left")

    return replace(PROBLEM, features=build)


def test_frame_holds_rows_with_a_target_only(project: Path, table: pl.DataFrame) -> None:
    frame = ingest.read_parquet(project / features.FRAME)
    assert len(frame) == table["hires"].is_not_null().sum() == 1884
    assert set(PROBLEM.inputs.model_fields) | {"row_id", "day", "start", "hires", "part"} == set(frame.columns)


def test_an_honest_problem_does_not_leak(table: pl.DataFrame) -> None:
    assert features.find_leaks(PROBLEM, table, moments=4, seed=1) == []


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (pl.col("hires"), "recent"),
        (pl.col("hires").shift(1).over("station"), "recent"),
        (pl.col("hires").mean().over("day"), "yesterday"),
        (pl.col("temp"), "temp"),
        ((pl.col("counted_at") - pl.col("start")).dt.total_minutes(), "yesterday"),
    ],
    ids=[
        "the target",
        "a slot not counted yet",
        "the mean of the day",
        "weather to come",
        "when it was counted",
    ],
)
def test_a_leak_is_found_and_named(table: pl.DataFrame, value: pl.Expr, where: str) -> None:
    assert features.find_leaks(using(value, where), table, moments=3, seed=1) == [where]


def test_a_leak_ends_in_exit_code_3_and_writes_nothing(project_copy: Path, cli: Cli) -> None:
    path = project_copy / "params.yaml"
    path.write_text(path.read_text().replace("problem: bikes", "problem: leaking"))
    (project_copy / features.FRAME).unlink()
    said = cli(project_copy, "features")
    assert said.returncode == 3
    assert (
        "leak from the future: recent depend on data that is not known at prediction time (1 h before start)"
        in said.stderr
    )
    assert not (project_copy / features.FRAME).exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop("part"), "`features` lacks the column part"),
        (lambda frame: frame.drop("row_id", "hires"), "`features` lacks the column hires, row_id"),
        (lambda frame: frame.drop("hour"), "lacks the column hour"),
        (
            lambda frame: frame.with_columns(hour=pl.lit(24.0)),
            r"column hour is 24 \(the worst of 1,884 rows\)",
        ),
        (lambda frame: frame.with_columns(hour=pl.lit("ten")), "column hour has type String"),
    ],
)
def test_a_frame_that_breaks_the_contract_is_refused(
    table: pl.DataFrame, spoil: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    spec = replace(PROBLEM, features=lambda given: spoil(PROBLEM.features(given)))
    with pytest.raises(DataError, match=message):
        features.build_features(spec, table)


def test_blind_changes_only_what_came_later(table: pl.DataFrame) -> None:
    moment = table["start"][900]
    other = features.perturb_after(PROBLEM, table, moment, seed=1)
    known = pl.col("counted_at") <= moment
    assert other.filter(known)["hires"].equals(table.filter(known)["hires"])
    assert not other.filter(~known)["hires"].equals(table.filter(~known)["hires"])
    assert other.filter(~known)["counted_at"].gt(table.filter(~known)["counted_at"]).all()
    assert other.select("row_id", "start", "station").equals(table.select("row_id", "start", "station"))


def test_a_table_that_lost_a_column_ends_in_exit_code_3(project_copy: Path, cli: Cli) -> None:
    table = ingest.read_parquet(project_copy / ingest.TABLE)
    ingest.write_parquet(table.drop("temp"), project_copy / ingest.TABLE)
    said = cli(project_copy, "features")
    assert said.returncode == 3
    assert "data/table.parquet lacks the column temp" in said.stderr
