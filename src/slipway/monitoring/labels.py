"""`labels add`: keep the labels that arrive later, by the id of the logged row; what does not fit is kept apart."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from slipway import problem
from slipway.contract import polars_rules, reading
from slipway.contract.words import describe_range
from slipway.core import environment, files
from slipway.core.text import printable
from slipway.errors import ConfigError, DataError
from slipway.monitoring import prediction_log
from slipway.monitoring.log_files import remote

TIME = prediction_log.TIME
SCHEMA: prediction_log.Types = {"id": pl.String, "label": pl.Float64, "known_at": TIME}
EXAMPLES = 3
"""The number of ids that a sentence names."""
REASONS = {
    "unknown": "have an id that the log does not have",
    "future": "are from after now, or from before their row",
    "contradicting": "contradict a label that is there",
    "repeated": "have an id that stands twice in the file, with two values",
}
"""Reasons to keep a label apart, with the words of the sentence."""


def add(spec: problem.Problem, path: Path, folder: Path, *, now: datetime | None = None) -> str:
    """Add the labels of a parquet or CSV file to the log in `folder`; return a sentence about what was added and what not.

    The file has `id`, the problem's target, and optionally `known_at` (a time with zone; now by default). A label that is
    there already is not added again. DataError if the file breaks the contract, or none of its labels fits.
    """
    moment = now or datetime.now(UTC)
    new = read_file(spec, path, moment)
    log_rows = _log_rows(spec, folder)
    with _locked(folder):
        present = read(folder, until=None)
        reasons = sort_out(new, present, log_rows, moment)
        fitting = (
            reasons.filter(pl.col("reason").is_null()).select(*SCHEMA).unique("id", keep="first", maintain_order=True)
        )
        added = fitting.join(present, on="id", how="anti")
        apart = reasons.filter(pl.col("reason").is_not_null()).select(*SCHEMA, "reason")
        _store(added, folder / "labels")
        _store(apart, folder / "labels/apart")
    return _sentence(added, len(new) - len(apart) - len(added), apart, path)


def add_to(spec: problem.Problem, path: Path, place: str, *, root: Path = Path()) -> str:
    """Add the labels of a file to the log at `place`, a folder or an fsspec URL; return a sentence, as `add` does."""
    if not remote.is_url(place):
        return add(spec, path, root / place)
    folder = environment.cache_home(root) / "log-copy"
    remote.local_copy(place, folder, datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC), root=root)
    sentence = add(spec, path, folder)
    remote.upload_labels(folder, place, root=root)
    return sentence


def read(folder: Path, *, until: datetime | None) -> pl.DataFrame:
    """The labels that were known by `until` (None: all): id, label, known_at. DataError if a file of them is damaged."""
    frames = [pl.DataFrame(schema=SCHEMA)]
    for path in sorted((folder / "labels").glob("*.parquet")):
        try:
            frames.append(pl.read_parquet(path).select(*SCHEMA).cast(SCHEMA))  # type: ignore[arg-type]
        except (pl.exceptions.PolarsError, OSError) as error:
            hint = f"remove {path}, and add its labels again: slipway labels add FILE"
            raise DataError(f"{path} cannot be read as labels: {error}", hint=hint) from None
    labels = pl.concat(frames)
    return labels if until is None else labels.filter(pl.col("known_at") <= until)


def read_file(spec: problem.Problem, path: Path, now: datetime) -> pl.DataFrame:
    """The labels of a file: id, label, known_at. DataError names what is missing, or a value outside the contract."""
    if not path.exists():
        raise ConfigError(
            f"{path} does not exist",
            expected="a parquet or CSV file of labels",
            value=str(path),
            hint="slipway labels add FILE",
        )
    files.require_readable(path)
    frame = _read_table(path)
    target, hint = spec.target, f"give it the columns id and {spec.target}"
    if absent := [name for name in ("id", target) if name not in frame.columns]:
        have = ", ".join(frame.columns)
        raise DataError(f"{path} lacks the column {', '.join(absent)}; it has {have}", hint=hint)
    has_times = "known_at" in frame.columns
    known = frame["known_at"] if has_times else pl.repeat(now, len(frame), dtype=TIME, eager=True)
    try:
        labels = frame.select(
            pl.col("id").cast(pl.String),
            label=pl.col(target).cast(pl.Float64),
            known_at=_times(known.alias("known_at"), path).fill_null(now),
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path}: {str(error).partition(chr(10))[0]}", expected=f"{target} as a number", hint=hint
        ) from None
    labels = labels.filter(pl.col("label").is_not_null())
    if missing := labels["id"].null_count():
        raise DataError(f"{path}: {missing:,} rows have a label and no id", expected="an id in every row", hint=hint)
    _require_contract(spec, labels["label"], path)
    return labels


def _read_table(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, schema_overrides={"id": pl.String, "known_at": pl.String}, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).partition("\n")[0]
        raise DataError(
            f"{path} cannot be read: {first}", expected="a parquet or CSV file", hint=f"look at {path}"
        ) from None


def _times(values: pl.Series, path: Path) -> pl.Series:
    """Times in UTC; DataError for a text that is none, or a time without zone."""
    if values.dtype == pl.String:
        times = values.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
        zoned = values.str.contains(r"(Z|[+-]\d\d:?\d\d)\s*$")  # polars reads a time without zone as one in UTC
        wrong = values.filter((times.is_null() & values.is_not_null()) | ~zoned)
        if len(wrong):
            raise DataError(f"{path}: known_at is {printable(wrong[0], 40)!r}", expected="a time such as 2026-03-04T12:00Z",
                            hint="write times with their zone")  # fmt: skip
        return times
    if not isinstance(values.dtype, pl.Datetime) or values.dtype.time_zone is None:
        raise DataError(f"{path}: known_at has type {values.dtype}", expected="a time with a zone",
                        hint="give known_at a time zone")  # fmt: skip
    return values.dt.convert_time_zone("UTC").cast(TIME)


def _require_contract(spec: problem.Problem, values: pl.Series, path: Path) -> None:
    rule = reading.rules(spec.table)[spec.target]
    named = values.alias(spec.target).to_frame()
    wrong = named.filter(~named.select(polars_rules.valid(spec.target, rule)).to_series())[spec.target]
    if len(wrong):
        raise DataError(f"{path}: {spec.target} is {wrong[0]:g} in {len(wrong):,} of {len(values):,} rows",
                        expected=describe_range(rule), value=float(wrong[0]), hint="correct the file")  # fmt: skip


def _log_rows(spec: problem.Problem, folder: Path) -> pl.DataFrame:
    """The id and time of every logged row."""
    first, last = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
    return prediction_log.read(folder, spec, start=first, end=last, inputs_from=last).rows.select("id", "at")


def sort_out(new: pl.DataFrame, present: pl.DataFrame, log_rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The labels `new` with a column `reason`, a key of REASONS; null for a label that fits."""
    joined = new.join(log_rows, on="id", how="left").join(present.select("id", before="label"), on="id", how="left")
    varied = pl.col("label").n_unique().over("id") > 1
    return joined.with_columns(
        reason=pl.when(pl.col("at").is_null()).then(pl.lit("unknown"))
        .when((pl.col("known_at") > now) | (pl.col("known_at") < pl.col("at"))).then(pl.lit("future"))
        .when(varied).then(pl.lit("repeated"))
        .when(pl.col("before").is_not_null() & (pl.col("before") != pl.col("label"))).then(pl.lit("contradicting"))
    )  # fmt: skip


def _store(labels: pl.DataFrame, folder: Path) -> None:
    """Write labels under a name made of their content, so that the same ones are written once."""
    if not len(labels):
        return
    content = labels.drop("known_at").sort("id", "label").write_csv()
    path = files.make_folder(folder) / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.parquet"
    with files.atomic_write(path) as partial:
        labels.write_parquet(partial, compression="zstd")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time add labels to a log."""
    path = files.make_folder(folder / "labels") / "lock"
    with files.writing(path), path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sentence(added: pl.DataFrame, again: int, apart: pl.DataFrame, path: Path) -> str:
    parts = [f"{len(added):,} labels added"]
    if again:
        parts.append(f"{again:,} were there already")
    for reason, words in REASONS.items():
        ids = apart.filter(pl.col("reason") == reason)["id"]
        if len(ids):
            named = ", ".join(printable(each, 40) for each in ids.head(EXAMPLES))
            parts.append(f"kept apart: {len(ids):,} {words} ({named}{', …' if len(ids) > EXAMPLES else ''})")
    if len(apart) and not len(added) and not again:
        hint = "compare its ids with those in the log; the labels are in labels/apart"
        raise DataError(f"none of the labels in {path} fits: {'; '.join(parts[1:])}", hint=hint)
    return "; ".join(parts)
