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


def built(table: pl.DataFrame, change: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """The checked frame of a bikes problem whose features end with `change`."""
    return features.build_features(replace(PROBLEM, features=lambda given: change(PROBLEM.features(given))), table)


def test_join_with_a_key_twice_is_refused(table: pl.DataFrame) -> None:
    stations = pl.DataFrame({"station": [*table["station"].unique().sort(), table["station"][0]]})
    more = int((PROBLEM.features(table)["station"] == table["station"][0]).sum())
    with pytest.raises(DataError, match=r"has \d,\d+ rows for 1,884 different row_id; ") as caught:
        built(table, lambda frame: frame.join(stations, on="station"))
    assert caught.value.value == more
    assert f"; {more:,} of them stand more than once: {table['row_id'][0]} 2 times, " in str(caught.value)
    assert str(caught.value).endswith(" …; expected: each row_id once")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda frame: frame.with_columns(row_id=pl.col("row_id") + "x"),
            r"has 1,884 row_id that the table does not have: .*x, ",
        ),
        (
            lambda frame: frame.with_columns(row_id=pl.lit(None, pl.String)),
            "for 1 different row_id; 1 of them stand more than once: None 1884 times",
        ),
        (lambda frame: frame.with_columns(row_id=pl.int_range(pl.len())), "has row_id as Int64; expected: String"),
        (
            lambda frame: frame.with_columns(row_id=pl.col("row_id").reverse()),
            "another day than the table in 1,8.. rows: row_id",
        ),
        (
            lambda frame: frame.with_columns(start=pl.col("start") + pl.duration(minutes=1)),
            "another start than the table in 1,884 rows",
        ),
        (lambda frame: frame.head(0), "has no rows; expected: rows of the table's 1,890"),
        (
            lambda frame: frame.with_columns(hires=pl.when(pl.int_range(pl.len()) > 1).then("hires")),
            "has no hires in 2 of 1,884 rows: row_id .*, ",
        ),
    ],
    ids=["other ids", "null ids", "numbers", "mixed up", "another time", "no rows", "no target"],
)
def test_rows_that_are_not_the_tables_are_refused(
    table: pl.DataFrame, change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        built(table, change)


def test_one_row_without_an_id_is_refused(table: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="has 1 row_id that the table does not have: None; expected"):
        built(table, lambda frame: frame.with_columns(row_id=pl.when(pl.int_range(pl.len()) > 0).then("row_id")))


def test_lost_rows_are_counted_and_named(table: pl.DataFrame) -> None:
    whole = PROBLEM.features(table)
    assert features.describe_absent_rows(PROBLEM, table, whole).endswith(
        "; 6 of the table's 1,890 rows are not in it, for lack of a target"
    )
    shorter = built(table, lambda frame: frame.slice(2))
    lost = ", ".join(whole["row_id"][:2])
    assert features.describe_absent_rows(PROBLEM, table, shorter) == (
        f"; 8 of the table's 1,890 rows are not in it, and 2 of these have a target: row_id {lost}"
    )
    assert features.describe_absent_rows(PROBLEM, whole, whole) == ""


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
