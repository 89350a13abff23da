"""`features`: build the model inputs from the table, and refuse inputs that use later knowledge."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from slipway import problem
from slipway.contract import data_check
from slipway.core import config
from slipway.errors import DataError
from slipway.pipeline import ingest

FRAME = Path("data/features.parquet")
HISTORY = timedelta(days=40)
"""The history that the leak check gives to the features; an input with a longer memory is not checked beyond it."""
EXAMPLES = 3
"""The number of rows that a message names."""


def build_features(spec: problem.Problem, table: pl.DataFrame) -> pl.DataFrame:
    """Build and check the frame: `row_id`, `day`, time, target, slices and inputs; only rows with a target."""
    with problem.calling(spec.name, "features"):
        frame = spec.features(table)
    ingest.require_frame(spec, frame, "features")
    absent = {"row_id", "day", spec.time, spec.target, *spec.slices} - set(frame.columns)
    if absent:
        raise DataError(
            f"problem {spec.name}: the result of `features` lacks the column {', '.join(sorted(absent))}",
            hint="return row_id, day, the time, the target and the slices together with the inputs",
        )
    check_rows(spec, table, frame)
    data_check.check_frame(spec.inputs, frame, where="data/features.parquet")
    return frame


def check_rows(spec: problem.Problem, table: pl.DataFrame, frame: pl.DataFrame) -> None:
    """Raise DataError unless every row of the frame is one row of the table, stands there once and has a target."""
    where = f"problem {spec.name}: the result of `features`"
    if frame.is_empty():
        hint = "return the rows of the table that have a target; a join that matches nothing leaves none"
        raise DataError(f"{where} has no rows", expected=f"rows of the table's {len(table):,}", hint=hint)
    for name in dict.fromkeys(("row_id", "day", spec.time)):
        if (actual := frame[name].dtype) != (stated := table[name].dtype):
            hint = f"take {name} from the table as it is"
            raise DataError(f"{where} has {name} as {actual}", expected=f"{stated}, as in the table", hint=hint)
    ids = pl.col("row_id")
    counts = frame.group_by("row_id").len()
    if len(counts) < len(frame):
        repeated = counts.filter(pl.col("len") > 1).sort("len", "row_id", descending=[True, False], nulls_last=True)
        examples = [f"{row_id} {count} times" for row_id, count in repeated.head(EXAMPLES).iter_rows()]
        raise DataError(
            f"{where} has {len(frame):,} rows for {len(counts):,} different row_id; {len(repeated):,} of them stand more "
            f"than once: {_list_examples(examples, len(repeated))}",
            expected="each row_id once", value=len(frame) - len(counts),
            hint="a join does this when its key stands twice in the other table: make the key unique before the join",
        )  # fmt: skip
    if foreign := frame.filter(~ids.is_in(table["row_id"].implode()).fill_null(False))["row_id"].to_list():
        examples = [str(row_id) for row_id in foreign[:EXAMPLES]]
        raise DataError(
            f"{where} has {len(foreign):,} row_id that the table does not have: {_list_examples(examples, len(foreign))}",
            expected="row_id of the table only", value=len(foreign),
            hint="take row_id from the table as it is, and add no rows",
        )  # fmt: skip
    shared = list(dict.fromkeys(("day", spec.time)))
    own = frame.select("row_id", *shared)
    own = own.join(table.select("row_id", *shared), on="row_id", how="left", maintain_order="left", suffix="_table")
    for column in shared:
        moved = own.filter(pl.col(column).ne_missing(pl.col(f"{column}_table")))
        if len(moved):
            row_id, other, value = moved.select("row_id", column, f"{column}_table").row(0)
            raise DataError(
                f"{where} has another {column} than the table in {len(moved):,} rows: row_id {row_id} has {other}",
                expected=f"{value}, as in the table", value=str(other),
                hint=f"keep row_id and {column} of the table together: sort whole rows, and join by key",
            )  # fmt: skip
    target = frame[spec.target]
    empty = target.is_null() | (target.is_nan() if target.dtype.is_float() else False)
    if count := int(empty.sum()):
        hint = f"return only rows with a target: filter `features` by {spec.target}"
        raise DataError(
            f"{where} has no {spec.target} in {count:,} of {len(frame):,} rows: row_id "
            f"{_list_examples([str(row_id) for row_id in frame.filter(empty)['row_id'].head(EXAMPLES)], count)}",
            expected="a target in every row", hint=hint,
        )  # fmt: skip


def _list_examples(examples: list[str], count: int) -> str:
    return ", ".join(examples) + (" …" if count > len(examples) else "")


def describe_absent_rows(spec: problem.Problem, table: pl.DataFrame, frame: pl.DataFrame) -> str:
    """State how many rows of the table are not in the frame, and which of them have a target; empty if all are in it."""
    absent = table.join(frame.select("row_id"), on="row_id", how="anti", maintain_order="left")
    if absent.is_empty():
        return ""
    text = f"; {len(absent):,} of the table's {len(table):,} rows are not in it"
    if spec.target in table.columns:
        labelled = absent.filter(pl.col(spec.target).is_not_null())["row_id"]
        examples = _list_examples([str(row_id) for row_id in labelled.head(EXAMPLES)], len(labelled))
        text += (
            f", and {len(labelled):,} of these have a target: row_id {examples}"
            if len(labelled)
            else ", for lack of a target"
        )
    return text


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
            other = pl.lit(values.gather(rng.permutation(len(values))))
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
        perturbed = perturb_after(spec, near, moment, seed + number)
        with problem.calling(spec.name, "features"):
            honest, other = spec.features(near), spec.features(perturbed)
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
    table = ingest.read_parquet(ingest.TABLE, "row_id", "day")
    data_check.check_types(spec.table, table, where=str(ingest.TABLE))
    frame = build_features(spec, table)
    if leaking := find_leaks(spec, table, moments=params.features.leak_moments, seed=params.seed):
        raise DataError(
            f"leak from the future: {', '.join(leaking)} depend on data that is not known at prediction time "
            f"({spec.horizon_hours:g} h before {spec.time})",
            hint="compute these inputs only from values whose time in `known_at` is not after the prediction time",
        )
    absent = describe_absent_rows(spec, table, frame)
    ingest.write_parquet(frame, FRAME)
    inputs, moments = len(spec.inputs.model_fields), params.features.leak_moments
    return f"{len(frame):,} rows, {inputs} inputs, no leak at {moments} moments{absent}"
