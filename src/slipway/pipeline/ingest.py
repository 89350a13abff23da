"""`ingest`: turn the raw sources, whose hashes are in params.yaml, into a typed table that meets its contract."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import polars as pl

from slipway import problem
from slipway.contract import data_check
from slipway.core import config, files
from slipway.errors import ConfigError, DataError

TABLE = Path("data/table.parquet")
QUALITY = Path("reports/quality.json")


def read_parquet(path: Path, *needed: str) -> pl.DataFrame:
    """Read a parquet file as a frame; DataError when it is missing or truncated, or lacks a column of `needed`."""
    if not path.exists():
        raise DataError(f"{path} does not exist", hint="run `make repro`")
    files.require_readable(path)
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as parquet: {error}", hint=f"remove {path} and run `make repro`"
        ) from None
    if absent := [name for name in needed if name not in frame.columns]:
        raise DataError(f"{path} lacks the column {', '.join(absent)}", hint=f"remove {path} and run `make repro`")
    return frame


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as parquet, completely or not at all; the same frame gives the same bytes."""
    with files.atomic_write(path) as partial:
        frame.write_parquet(partial, compression="zstd", compression_level=1)


def verify_sources(spec: problem.Problem, stated: dict[str, str]) -> Path:
    """The folder of the sources, after comparing the SHA-256 of each file with the stated one; DataError otherwise."""
    with problem.calling(spec.name, "sources"):
        folder = spec.sources()
    for name, expected_sha256 in stated.items():
        if not (folder / name).exists():
            raise DataError(
                f"the source file {name}, named in params.yaml, is not in {folder}",
                hint="put it there, or correct ingest.sources in params.yaml; `make setup` installs the flights data",
            )
        if (actual_sha256 := files.sha256(folder / name)) != expected_sha256:
            raise DataError(
                f"the source file {name} has changed: its SHA-256 is {actual_sha256}",
                expected=f"{expected_sha256}, as in params.yaml",
                value=actual_sha256,
                hint="if you want the new data, run `slipway ingest --pin` and `make repro`",
            )
    return folder


def rows_before_until(table: pl.DataFrame, data: config.Data) -> pl.DataFrame:
    """The rows before `data.until`; ConfigError when the training or the test window would be empty."""
    rows = table.filter(pl.col("day") < data.until)
    first, last = str(table["day"].min()), str(table["day"].max())
    if (
        not rows.filter(pl.col("day") >= data.test_from).height
        or not rows.filter(pl.col("day") < data.test_from).height
    ):
        raise ConfigError(
            f"data.until {data.until} and data.test_days {data.test_days} leave the training or the test window empty: "
            f"the test window would start on {data.test_from}, and the data is from {first} to {last}",
            hint="change data.until or data.test_days in params.yaml",
        )
    return rows


def require_frame(spec: problem.Problem, frame: object, function: str) -> None:
    """DataError unless the table that a function of the problem returned is a DataFrame of Polars."""
    if not isinstance(frame, pl.DataFrame):
        kind = f"{type(frame).__module__.partition('.')[0]}.{type(frame).__name__}"
        raise DataError(
            f"problem {spec.name}: the table that `{function}` returns is of type {kind}", expected="polars.DataFrame",
            value=kind, hint="return a DataFrame; a LazyFrame has .collect()",
        )  # fmt: skip


def check_keys(spec: problem.Problem, table: pl.DataFrame) -> None:
    """DataError unless the table that `ingest` returned has `row_id` as text and `day` as a date."""
    for name, dtype, form in (("row_id", pl.String, "a different text in every row"), ("day", pl.Date, "a date")):
        if name not in table.columns:
            raise DataError(
                f"problem {spec.name}: the result of `ingest` lacks the column {name}",
                hint="return row_id (a different text in every row) and day (a date) with the table",
            )
        if (actual := table.schema[name]) != dtype:
            raise DataError(
                f"problem {spec.name}: the result of `ingest` has {name} as {actual}", expected=f"{dtype}, {form}",
                value=str(actual), hint=f"cast {name} in `ingest`",
            )  # fmt: skip


def build_table(
    spec: problem.Problem, params: config.Params, folder: Path | None = None
) -> tuple[pl.DataFrame, list[problem.SourceFault]]:
    """The checked table of all rows before `data.until`, and the faults of the sources.

    `folder` holds the sources if they are not the problem's own; their hashes are then not compared.
    """
    folder = verify_sources(spec, params.ingest.sources) if folder is None else folder
    with problem.calling(spec.name, "ingest"):
        try:
            table, faults = spec.ingest(folder)
        except pl.exceptions.PolarsError as error:
            first = str(error).partition("\n")[0]
            raise DataError(
                f"problem {spec.name}: its `ingest` cannot read the source files: {first}",
                hint=f"compare the files in {folder} with {spec.name}/ingest.py",
            ) from error
    require_frame(spec, table, "ingest")
    check_keys(spec, table)
    if missing := table["row_id"].null_count():
        raise DataError(
            f"problem {spec.name}: {missing:,} of {len(table):,} rows have no row_id",
            expected="a different row_id in every row",
            value=missing,
            hint="build row_id in `ingest` from columns that are never missing; a join that finds no match leaves it empty",
        )
    table = rows_before_until(table, params.data)
    if doubled := len(table) - table["row_id"].n_unique():
        raise DataError(
            f"problem {spec.name}: {doubled} rows repeat the row_id of another row",
            expected="a different row_id in every row",
            value=doubled,
            hint="remove the duplicates in `ingest`, or add a column to row_id that tells the rows apart",
        )
    data_check.check_frame(spec.table, table, where="data/table.parquet")
    return table, faults


def describe_quality(
    table: pl.DataFrame, faults: list[problem.SourceFault], spec: problem.Problem
) -> dict[str, object]:
    """The data of the quality page: faults, share of missing values and distribution of every column, target by day."""
    by_day = table.group_by("day").agg(pl.len().alias("rows"), pl.col(spec.target).mean().alias("target")).sort("day")
    return {
        "rows": len(table),
        "first": str(table["day"].min()),
        "last": str(table["day"].max()),
        "faults": [asdict(fault) for fault in faults],
        "columns": [_describe_column(table, column) for column in problem.columns(spec.table)],
        "days": {
            "day": [str(day) for day in by_day["day"]],
            "rows": by_day["rows"].to_list(),
            "target": [None if v is None else round(v, 6) for v in by_day["target"]],
        },
    }


def _describe_column(table: pl.DataFrame, column: problem.Column) -> dict[str, object]:
    values = table[column.name].cast(pl.Float64) if column.type is bool else table[column.name]
    shown: dict[str, object] = {
        "name": column.name, "kind": column.kind, "unit": column.unit, "description": column.description,
        "missing": round(values.null_count() / len(table), 6), "distinct": values.n_unique(),
    }  # fmt: skip
    if column.kind == "number" and values.null_count() < len(values):
        low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
        step = (high - low) / 20 or 1.0
        bins = ((values.drop_nulls() - low) / step).floor().clip(0, 19).cast(pl.Int64).value_counts()
        counts = dict(zip(bins.to_series(0), bins["count"], strict=True))
        middle = [float(values.quantile(q) or 0.0) for q in (0.05, 0.5, 0.95)]
        shown |= {"low": low, "high": high, "quantiles": middle, "counts": [counts.get(i, 0) for i in range(20)]}
    elif column.kind == "time":
        shown |= {"first": str(values.min()), "last": str(values.max())}
    elif column.kind == "category":
        top = values.value_counts().sort(["count", column.name], descending=[True, False]).drop_nulls().head(10)
        shown |= {"top": {str(k): int(n) for k, n in zip(top[column.name], top["count"], strict=True)}}
    return shown


def run(params: config.Params) -> str:
    """Turn the sources into data/table.parquet and reports/quality.json; return a sentence about it."""
    problem.import_in_background("pandera.polars")
    spec = problem.load(params.problem)
    table, faults = build_table(spec, params)
    write_parquet(table, TABLE)
    files.write_json(QUALITY, describe_quality(table, faults, spec))
    return f"{len(table):,} rows before {params.data.until}, {len(faults)} kinds of fault in the source files"
