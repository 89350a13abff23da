"""bikes.csv → one table, a row a slot of a station."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from slipway.problem import SourceFault


def ingest(folder: Path) -> tuple[pl.DataFrame, list[SourceFault]]:
    """The table of `contract.Slot` with `row_id` and `day`, and the faults found."""
    raw = pl.read_csv(folder / "bikes.csv", schema_overrides={"temp": pl.Float64, "hires": pl.Float64})
    unique = raw.unique(["start", "station"], keep="first", maintain_order=True)
    start = pl.col("start").str.to_datetime("%Y-%m-%dT%H:%M", time_unit="us", time_zone="UTC")
    table = unique.with_columns(start).select(
        "station",
        "start",
        pl.when(pl.col("temp") > -50).then("temp").alias("temp"),
        pl.when(pl.col("hires") < 9999).then("hires").alias("hires"),
        counted_at=pl.col("start") + pl.duration(minutes="counted_after"),
        row_id=pl.format("{}-{}", pl.col("start").dt.strftime("%Y-%m-%dT%H"), "station"),
        day=pl.col("start").dt.date(),
    )
    stuck = unique.filter(pl.col("hires") >= 9999)
    return table.sort("start", "station"), [
        _fault("temp", "below -50 °C", unique.filter(pl.col("temp") <= -50), "set to missing"),
        _fault("hires", "the counter is stuck", stuck, "set to missing, not trained on"),
        SourceFault(source="bikes.csv", column="start", what="the same slot twice", rows=len(raw) - len(unique),
              worst=None, action="kept the first"),
    ]  # fmt: skip


def _fault(column: str, what: str, wrong: pl.DataFrame, action: str) -> SourceFault:
    worst = float(wrong[column][0]) if len(wrong) else None
    return SourceFault(source="bikes.csv", column=column, what=what, rows=len(wrong), worst=worst, action=action)
