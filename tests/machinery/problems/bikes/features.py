"""What is known of a slot one hour before it starts."""

from __future__ import annotations

import polars as pl

from bikes.contract import Inputs
from slipway.problem import names


def features(table: pl.DataFrame) -> pl.DataFrame:
    """Table → `row_id`, `day`, `start`, `hires`, `part` and the inputs; only rows with a target."""
    asked = pl.col("start") - pl.duration(hours=1)
    frame = table.with_columns(
        asked=asked,
        day_before=pl.col("start") - pl.duration(days=1),
        weekday=pl.col("start").dt.weekday().cast(pl.Float64),
        hour=pl.col("start").dt.hour().cast(pl.Float64),
        part=pl.when(pl.col("start").dt.hour() < 13).then(pl.lit("morning")).otherwise(pl.lit("afternoon")),
    ).drop("temp")
    measured = table.filter(pl.col("temp").is_not_null()).select("station", "temp", asked="start")
    counted = table.filter(pl.col("hires").is_not_null()).select("station", asked="counted_at", recent="hires")
    same = table.select("station", day_before="start", yesterday="hires")
    frame = _newest(_newest(frame, measured), counted)
    frame = frame.join(same, on=["station", "day_before"], how="left", maintain_order="left")
    numbers, categories = names(Inputs, "number"), names(Inputs, "category")
    return frame.filter(pl.col("hires").is_not_null()).select(
        "row_id", "day", "start", "hires", "part", *categories, *(pl.col(n).cast(pl.Float32) for n in numbers)
    )


def _newest(frame: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """The newest fact of the station whose moment is at or before the asking, at most 12 hours old."""
    return frame.sort("asked", maintain_order=True).join_asof(
        facts.sort("asked"), on="asked", by="station", tolerance="12h", check_sortedness=False
    )
