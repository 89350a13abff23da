"""`features`: the table becomes a frame of model inputs, and nothing known later may enter it."""

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
"""How far back the leak check feeds the feature build; longer memories than this are not looked at."""


def features(spec: problem.Problem, table: pl.DataFrame) -> pl.DataFrame:
    """The checked frame: `row_id`, `day`, time, target, slices and inputs, rows with a target only."""
    frame = spec.features(table)
    absent = {"row_id", "day", spec.time, spec.target, *spec.slices} - set(frame.columns)
    if absent:
        raise DataError(f"problem {spec.name}: features lack {', '.join(sorted(absent))}")
    contract.check(spec.inputs, frame, where="data/features.parquet")
    return frame


def perturb_after(spec: problem.Problem, table: pl.DataFrame, moment: datetime, seed: int) -> pl.DataFrame:
    """The table as it might be, had everything that became known after `moment` come out differently.

    Numbers learned later are replaced by others, texts by another text; moments later than `moment` move on.
    """
    rng = np.random.default_rng(seed)
    changed = []
    for column, known in spec.known_at.items():
        later = (pl.col(known) > moment).fill_null(True)
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
    """The inputs that change for predictions asked before a moment when only the time after it is changed.

    Looks at `moments` moments spread over the table, at the rows of the day before each.
    """
    horizon = timedelta(hours=spec.horizon_hours)
    times = table[spec.time].sort()
    found: set[str] = set()
    for number in range(moments):
        # Where one prediction is asked for, so that what comes between asking and event is after the moment.
        moment = times[int(len(times) * (number + 1) / (moments + 1))] - horizon
        near = table.filter(pl.col(spec.time).is_between(moment - HISTORY, moment + 2 * horizon + timedelta(days=1)))
        honest, other = spec.features(near), spec.features(perturb_after(spec, near, moment, seed + number))
        asked = pl.col(spec.time) - horizon
        rows = honest.filter((asked <= moment) & (asked > moment - timedelta(days=1))).select("row_id")
        rows = rows.join(other, on="row_id", how="semi", maintain_order="left")  # a changed label may be no label
        inputs = list(spec.inputs.model_fields)
        kept = rows.join(honest, on="row_id", how="left", maintain_order="left").select(inputs)
        again = rows.join(other, on="row_id", how="left", maintain_order="left").select(inputs)
        found |= {name for name in inputs if not kept[name].equals(again[name], null_equal=True)}
    return sorted(found)


def run(params: config.Params) -> str:
    """data/table.parquet → data/features.parquet; a leak is a DataError that names the inputs."""
    problem.import_in_background("pandera.polars")
    spec = problem.load(params.problem)
    table = ingest.read(ingest.TABLE)
    contract.typed(spec.table, table, where=str(ingest.TABLE))
    frame = features(spec, table)
    if leaking := find_leaks(spec, table, moments=params.features.leak_moments, seed=params.seed):
        raise DataError(
            f"leak: {', '.join(leaking)} depend on what is known only after the prediction is asked for "
            f"({spec.horizon_hours:g} h before {spec.time})",
            hint="use only facts whose moment in `known_at` is at or before the asking",
        )
    ingest.write(frame, FRAME)
    return f"{len(frame):,} rows, {len(spec.inputs.model_fields)} inputs, no leak at {params.features.leak_moments} moments"
