"""`features`: build the model inputs from the table, and refuse inputs that use later knowledge."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from slipway import problem
from slipway.core import config
from slipway.errors import DataError
from slipway.pipeline import contract, ingest

FRAME = Path("data/features.parquet")
HISTORY = timedelta(days=40)
"""The history that the leak check gives to the features; an input with a longer memory is not checked beyond it."""


def build_features(spec: problem.Problem, table: pl.DataFrame) -> pl.DataFrame:
    """Build and check the frame: `row_id`, `day`, time, target, slices and inputs; only rows with a target."""
    frame = spec.features(table)
    absent = {"row_id", "day", spec.time, spec.target, *spec.slices} - set(frame.columns)
    if absent:
        raise DataError(
            f"problem {spec.name}: the result of `features` lacks the column {', '.join(sorted(absent))}",
            hint="return row_id, day, the time, the target and the slices together with the inputs",
        )
    contract.check_frame(spec.inputs, frame, where="data/features.parquet")
    return frame


def perturb_after(spec: problem.Problem, table: pl.DataFrame, moment: datetime, seed: int) -> pl.DataFrame:
    """A copy of the table in which everything that became known after `moment` is different.

    Numbers are permuted, texts replaced, and moments moved to a later time; seeded.
    """
    rng = np.random.default_rng(seed)
    changed = []
    for column, known_at in spec.known_at.items():
        later = (pl.col(known_at) > moment).fill_null(True)
        values, other = table[column], pl.lit(None)
        if values.dtype.is_temporal():
            other = pl.col(column) + pl.duration(hours=pl.lit(pl.Series(rng.integers(1, 9, len(table)))))
        elif values.dtype == pl.String:
            other = pl.lit("leak")
        else:
            other = pl.lit(pl.Series(rng.permutation(values.to_numpy())).fill_nan(None).cast(values.dtype))
        changed.append(pl.when(later).then(other).otherwise(pl.col(column)).alias(column))
    return table.with_columns(changed)


def find_leaks(spec: problem.Problem, table: pl.DataFrame, *, moments: int, seed: int) -> list[str]:
    """The names of the inputs that change for predictions before a moment, when only data after it is changed.

    Checks `moments` moments spread over the table, each on the rows of the day before it.
    """
    horizon = timedelta(hours=spec.horizon_hours)
    times = table[spec.time].sort()
    leaking: set[str] = set()
    for number in range(moments):
        # The time of one prediction, so that everything between the prediction and its event is after the moment.
        moment = times[int(len(times) * (number + 1) / (moments + 1))] - horizon
        near = table.filter(pl.col(spec.time).is_between(moment - HISTORY, moment + 2 * horizon + timedelta(days=1)))
        honest, other = spec.features(near), spec.features(perturb_after(spec, near, moment, seed + number))
        asked_at = pl.col(spec.time) - horizon
        rows = honest.filter((asked_at <= moment) & (asked_at > moment - timedelta(days=1))).select("row_id")
        rows = rows.join(other, on="row_id", how="semi", maintain_order="left")  # a label that was changed may be gone
        inputs = list(spec.inputs.model_fields)
        before = rows.join(honest, on="row_id", how="left", maintain_order="left").select(inputs)
        after = rows.join(other, on="row_id", how="left", maintain_order="left").select(inputs)
        leaking |= {name for name in inputs if not before[name].equals(after[name], null_equal=True)}
    return sorted(leaking)


def run(params: config.Params) -> str:
    """Turn data/table.parquet into data/features.parquet; DataError names the inputs that leak."""
    problem.import_in_background("pandera.polars")
    spec = problem.load(params.problem)
    table = ingest.read_parquet(ingest.TABLE)
    contract.check_types(spec.table, table, where=str(ingest.TABLE))
    frame = build_features(spec, table)
    if leaking := find_leaks(spec, table, moments=params.features.leak_moments, seed=params.seed):
        raise DataError(
            f"leak from the future: {', '.join(leaking)} depend on data that is not known at prediction time "
            f"({spec.horizon_hours:g} h before {spec.time})",
            hint="compute these inputs only from values whose time in `known_at` is not after the prediction time",
        )
    ingest.write_parquet(frame, FRAME)
    return f"{len(frame):,} rows, {len(spec.inputs.model_fields)} inputs, no leak at {params.features.leak_moments} moments"
