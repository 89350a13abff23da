"""ingest: other bytes than the stated ones, or a broken contract, stop here."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from bikes import source
from bikes.problem import PROBLEM

from slipway.core import config, files
from slipway.errors import ConfigError, DataError
from slipway.pipeline import ingest
from support.callables import Cli, Run
from support.paths import BIKES


def changed(old: str, new: str, tmp_path: Path, params: config.Params) -> tuple[object, config.Params]:
    """The bikes problem over a changed source whose new hash is stated."""
    text = (BIKES / "bikes.csv").read_text()
    assert old in text
    (tmp_path / "bikes.csv").write_text(text.replace(old, new, 1))
    stated = {"bikes.csv": files.sha256(tmp_path / "bikes.csv")}
    section = params.ingest.model_copy(update={"sources": stated})
    return replace(PROBLEM, sources=lambda: tmp_path), params.model_copy(update={"ingest": section})


def windows(params: config.Params, until: date, test_days: int = 28) -> config.Params:
    return params.model_copy(update={"data": config.Data(until=until, test_days=test_days)})


def test_source_is_what_its_program_makes() -> None:
    assert (BIKES / "bikes.csv").read_text() == source.make()


def test_table_ends_before_until(project: Path, params: config.Params) -> None:
    table = ingest.read_parquet(project / ingest.TABLE)
    assert len(table) == 1890
    assert table["day"].max() < params.data.until
    assert table["row_id"].is_unique().all()


def test_faults_are_counted_in_the_report(project: Path) -> None:
    faults = files.read_json(project / ingest.QUALITY)["faults"]
    found = {fault["column"]: (fault["rows"], fault["worst"], fault["action"]) for fault in faults}
    assert found == {
        "temp": (3, -99.0, "set to missing"),
        "hires": (7, 9999.0, "set to missing, not trained on"),
        "start": (1, None, "kept the first"),
    }


def test_quality_describes_every_column(project: Path) -> None:
    quality = files.read_json(project / ingest.QUALITY)
    columns = {column["name"]: column for column in quality["columns"]}
    assert list(columns) == list(PROBLEM.table.model_fields)
    assert columns["station"]["top"] == {"harbour": 630, "museum": 630, "park": 630}
    assert sum(columns["hires"]["counts"]) == 1884
    assert 0.04 < columns["temp"]["missing"] < 0.06
    assert len(quality["days"]["day"]) == 105


def test_two_runs_give_the_same_bytes(project: Path, bare_copy: Path, run: Run) -> None:
    run(bare_copy, "ingest", "features")
    for path in ("data/table.parquet", "data/features.parquet", "reports/quality.json"):
        assert files.sha256(bare_copy / path) == files.sha256(project / path)


def test_a_changed_source_is_refused_by_its_hash(tmp_path: Path, params: config.Params) -> None:
    spec, _ = changed(",park,", ",port,", tmp_path, params)
    with pytest.raises(DataError) as caught:
        ingest.build_table(spec, params)
    assert "the source file bikes.csv has changed: its SHA-256 is" in str(caught.value)
    assert params.ingest.sources["bikes.csv"] in str(caught.value)


def test_a_changed_source_ends_in_exit_code_3(bare_copy: Path, cli: Cli) -> None:
    path = bare_copy / "params.yaml"
    stated = files.sha256(BIKES / "bikes.csv")
    path.write_text(path.read_text().replace(stated, "f" * 64))
    said = cli(bare_copy, "ingest")
    assert said.returncode == 3
    assert "expected: ffff" in said.stderr
    assert not (bare_copy / "data").exists()


@pytest.mark.parametrize(("old", "new"), [("temp", "warmth"), (",7.6,", ",mild,")])
def test_a_source_of_another_shape_is_refused(tmp_path: Path, params: config.Params, old: str, new: str) -> None:
    spec, params = changed(old, new, tmp_path, params)
    with pytest.raises(DataError, match="problem bikes: its `ingest` cannot read the source files: ") as caught:
        ingest.build_table(spec, params)  # type: ignore[arg-type]
    assert "compare the files in" in caught.value.hint


def test_an_absent_source_is_named(tmp_path: Path, params: config.Params) -> None:
    with pytest.raises(DataError, match=r"the source file bikes\.csv, named in params.yaml, is not in"):
        ingest.build_table(replace(PROBLEM, sources=lambda: tmp_path), params)


def test_a_value_out_of_range_stops_ingest(tmp_path: Path, params: config.Params) -> None:
    spec, stated = changed("harbour,7.6,16", "harbour,7.6,777", tmp_path, params)
    with pytest.raises(DataError, match=r"hires is 777 \(the worst of 1 row\); allowed: 0 to 500 \(bikes\)"):
        ingest.build_table(spec, stated)


@pytest.mark.parametrize(
    ("until", "test_days"),
    [(date(2021, 3, 1), 28), (date(2021, 3, 20), 28), (date(2022, 6, 1), 28), (date(2021, 6, 14), 400)],
)
def test_an_empty_window_is_refused(params: config.Params, until: date, test_days: int) -> None:
    with pytest.raises(ConfigError, match=r"window empty: .*, and the data is from 2021-03-01 to 2021-06-28"):
        ingest.build_table(PROBLEM, windows(params, until, test_days))


def test_a_doubled_row_id_is_refused(params: config.Params) -> None:
    spec = replace(PROBLEM, ingest=lambda _: (_table().with_columns(row_id=pl.lit("same")), []))
    with pytest.raises(DataError, match="1889 rows repeat the row_id of another row"):
        ingest.build_table(spec, params)


def test_row_without_a_row_id_is_refused(params: config.Params) -> None:
    first_lost = pl.when(pl.int_range(pl.len()) > 0).then("row_id")
    spec = replace(PROBLEM, ingest=lambda _: (_table().with_columns(row_id=first_lost), []))
    with pytest.raises(DataError, match="1 of 2,160 rows have no row_id; expected: a different row_id in every row"):
        ingest.build_table(spec, params)


@pytest.mark.parametrize("column", ["row_id", "day"])
def test_a_table_without_what_the_seam_demands_is_refused(params: config.Params, column: str) -> None:
    spec = replace(PROBLEM, ingest=lambda _: (_table().drop(column), []))
    with pytest.raises(DataError, match=f"lacks the column {column}"):
        ingest.build_table(spec, params)


@pytest.mark.parametrize(("change", "message"), [
    ({"day": pl.col("day").cast(pl.String)}, "has day as String; expected: Date, a date"),
    ({"day": pl.col("day").cast(pl.Datetime)}, r"has day as Datetime\(.*\); expected: Date"),
    ({"row_id": pl.int_range(pl.len())}, "has row_id as Int64; expected: String, a different text in every row"),
])  # fmt: skip
def test_key_of_another_type_is_refused(params: config.Params, change: dict[str, pl.Expr], message: str) -> None:
    spec = replace(PROBLEM, ingest=lambda _: (_table().with_columns(**change), []))
    with pytest.raises(DataError, match=message):
        ingest.build_table(spec, params)


@pytest.mark.parametrize(("result", "message"), [
    ((3, []), "the table that `ingest` returns is of type builtins.int; expected: polars.DataFrame"),
    ((pl.LazyFrame({"row_id": ["a"]}), []), "is of type polars.LazyFrame; expected: polars.DataFrame"),
    (None, "its `ingest` raised TypeError: cannot unpack"),
])  # fmt: skip
def test_what_is_no_table_is_refused(params: config.Params, result: object, message: str) -> None:
    spec = replace(PROBLEM, ingest=lambda _: result)  # type: ignore[arg-type, return-value]
    with pytest.raises(DataError, match=message):
        ingest.build_table(spec, params)


def _table() -> pl.DataFrame:
    return PROBLEM.ingest(BIKES)[0]


def test_a_truncated_parquet_is_named(project_copy: Path, cli: Cli) -> None:
    path = project_copy / ingest.TABLE
    path.write_bytes(path.read_bytes()[:-100])
    said = cli(project_copy, "features")
    assert said.returncode == 3
    assert "data/table.parquet cannot be read as parquet" in said.stderr
    assert "make repro" in said.stderr


@pytest.mark.parametrize("content", [b"", b"PAR1"])
def test_what_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table.parquet").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as parquet"):
        ingest.read_parquet(tmp_path / "table.parquet")


def test_a_missing_table_says_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist") as caught:
        ingest.read_parquet(tmp_path / "table.parquet")
    assert caught.value.hint == "run `make repro`"


def test_a_read_only_source_folder_is_enough(tmp_path: Path, params: config.Params) -> None:
    shutil.copy(BIKES / "bikes.csv", tmp_path)
    tmp_path.chmod(0o555)
    table, _ = ingest.build_table(replace(PROBLEM, sources=lambda: tmp_path), params)
    tmp_path.chmod(0o755)
    assert len(table) == 1890
