"""Build the inputs of the model from the data that is known two hours before a scheduled departure."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from flights.contract import Inputs
from slipway.problem import names

HORIZON = pl.duration(hours=2)
RECENT = pl.duration(hours=2)
RATES = {
    "rate_carrier": ["carrier", "origin"],
    "rate_dest": ["dest"],
    "rate_hour": ["origin", "hour"],
    "rate_flight": ["flight"],
}
"""The columns by which each 28-day late rate is grouped."""


def features(table: pl.DataFrame) -> pl.DataFrame:
    """Table → `row_id`, `day`, `sched_dep`, `late`, the slices and the inputs; only rows with a label.

    Rows keep the order of the table. Every value used is known at `sched_dep` − 2 h.
    """
    local = pl.col("sched_dep").dt.convert_time_zone("America/New_York")
    frame = table.with_columns(
        cutoff=pl.col("sched_dep") - HORIZON,
        weekday=local.dt.weekday().cast(pl.Float64),
        minute=(local.dt.hour().cast(pl.Int64) * 60 + local.dt.minute()).cast(pl.Float64),
        hour=local.dt.hour(),
        month=pl.col("day").dt.strftime("%Y-%m"),
        city=pl.lit("NYC"),
    )
    frame = _rates(_recent(frame)).filter(pl.col("late").is_not_null())
    numbers, categories = names(Inputs, "number"), names(Inputs, "category")
    return frame.select(
        "row_id", "day", "sched_dep", "late", "month", *categories, *(pl.col(n).cast(pl.Float32) for n in numbers)
    )


def _recent(frame: pl.DataFrame) -> pl.DataFrame:
    """Add operations of the two hours before the cutoff, and how busy the schedule is."""
    departures = frame.filter(pl.col("departed_at").is_not_null()).select(
        "origin",
        "carrier",
        "city",
        at="departed_at",
        delay="dep_delay",
        late15=(pl.col("dep_delay") >= 15).cast(pl.Float64),
    )
    cutoff, start = pl.col("cutoff"), pl.col("cutoff") - RECENT
    values = ("delay", "late15")
    origin = _between(frame, departures, ["origin"], start, cutoff, values)
    carrier = _between(frame, departures, ["origin", "carrier"], start, cutoff, values)
    city = _between(frame, departures, ["city"], start, cutoff, values)
    schedule = frame.select("origin", at="sched_dep")
    hour = _between(frame, schedule, ["origin"], pl.col("sched_dep") - pl.duration(hours=1), pl.col("sched_dep"))
    due = _between(frame, schedule, ["origin"], start, cutoff)
    # A flight has gone at a moment m when m is past both its schedule and its departure. Those that went are counted
    # up to the cutoff, without those whose schedule is older than the window.
    gone = frame.select(
        "origin",
        at=pl.max_horizontal("departed_at", "sched_dep"),
        leaves=pl.col("sched_dep") + RECENT,
        has_departed=pl.col("departed_at").is_not_null(),
    ).filter(pl.col("has_departed") & (pl.col("at") < pl.col("leaves")))
    epoch = pl.lit(0).cast(pl.Datetime("us", "UTC"))
    gone_ever = _between(frame, gone, ["origin"], epoch, cutoff)["n"]
    gone_earlier = _between(frame, gone.select("origin", at="leaves"), ["origin"], epoch, cutoff)["n"]
    return frame.with_columns(
        scheduled=hour["n"],
        departed=origin["n"],
        delay=_mean(origin, "delay"),
        late_share=_mean(origin, "late15"),
        delay_carrier=_mean(carrier, "delay"),
        delay_city=_mean(city, "delay"),
        waiting=due["n"] - (gone_ever - gone_earlier),
    )


def _mean(sums: pl.DataFrame, value: str) -> pl.Series:
    return sums.select(pl.when(pl.col("n") > 0).then(pl.col(value) / pl.col("n"))).to_series()


def _between(
    frame: pl.DataFrame,
    events: pl.DataFrame,
    by: Sequence[str],
    after: pl.Expr,
    until: pl.Expr,
    values: Sequence[str] = (),
) -> pl.DataFrame:
    """For each row of `frame`, count (`n`) and sum `values` of the events of its group with after < at ≤ until."""
    running = (
        events.sort("at")
        .with_columns(n=pl.lit(1.0))
        .select(*by, "at", *(pl.col(name).cum_sum().over(*by) for name in ("n", *values)))
    )
    ends = frame.select(*by, until=until, after=after).with_row_index("row")
    sums = [_asof(ends, running, by, edge) for edge in ("until", "after")]
    return sums[0].select(pl.col(name) - sums[1][name] for name in ("n", *values))


def _asof(ends: pl.DataFrame, running: pl.DataFrame, by: Sequence[str], edge: str) -> pl.DataFrame:
    sums = ends.sort(edge).join_asof(running, left_on=edge, right_on="at", by=list(by), check_sortedness=False)
    return sums.sort("row").select(pl.col(name).fill_null(0.0) for name in running.columns if name not in (*by, "at"))


def _rates(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the share of late arrivals over 28 complete days for each key of RATES.

    The newest complete day is the day before yesterday: yesterday's last arrivals may still be in the air.
    """
    for name, keys in RATES.items():
        daily = (
            frame.filter(pl.col("late").is_not_null())
            .group_by(*keys, "day")
            .agg(late=pl.col("late").sum(), n=pl.len().cast(pl.Float64))
            .sort("day", *keys)
            .select(*keys, at="day", late=pl.col("late").cum_sum().over(keys), n=pl.col("n").cum_sum().over(keys))
        )
        ends = frame.select(
            *keys, until=pl.col("day") - pl.duration(days=2), after=pl.col("day") - pl.duration(days=30)
        ).with_row_index("row")
        newest, oldest = (_asof(ends, daily, keys, edge) for edge in ("until", "after"))
        late, n = newest["late"] - oldest["late"], newest["n"] - oldest["n"]
        frame = frame.with_columns(pl.DataFrame({"late": late, "n": n}).select(
            pl.when(pl.col("n") > 0).then(pl.col("late") / pl.col("n")).alias(name)))  # fmt: skip
    return frame
