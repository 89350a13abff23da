"""Tell broken sensors apart from drift: an input that stopped, is stuck, changed its unit or is spelled in another way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slipway.core import config
from slipway.monitoring.questions import shifts
from slipway.pipeline import drift

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A broken input: the kind of fault, a measured value with its limit, and a sentence without the input's name."""

    column: str
    kind: str
    value: float
    limit: str
    sentence: str


@dataclass(frozen=True)
class Conversion:
    """A change of unit: new value = `slope` × old value + `offset`."""

    words: str
    slope: float
    offset: float = 0.0


CONVERSIONS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "°F": {"°C": (5 / 9, -160 / 9), "K": (5 / 9, 255.372)},
    "°C": {"°F": (9 / 5, 32), "K": (1, 273.15)},
    "K": {"°C": (1, -273.15), "°F": (9 / 5, -459.67)},
    "mph": {"m/s": (0.44704, 0), "km/h": (1.609344, 0), "knots": (0.868976, 0)},
    "km/h": {"m/s": (1 / 3.6, 0), "mph": (0.621371, 0), "knots": (0.539957, 0)},
    "m/s": {"mph": (2.236936, 0), "km/h": (3.6, 0), "knots": (1.943844, 0)},
    "miles": {"km": (1.609344, 0), "m": (1609.344, 0)},
    "km": {"miles": (0.621371, 0)},
    "feet": {"m": (0.3048, 0)},
    "m": {"feet": (3.28084, 0)},
    "inches": {"mm": (25.4, 0), "cm": (2.54, 0)},
    "mm": {"inches": (1 / 25.4, 0)},
    "cm": {"inches": (1 / 2.54, 0)},
    "lb": {"kg": (0.45359237, 0)},
    "kg": {"lb": (2.204623, 0)},
    "millibar": {"inHg": (1 / 33.8639, 0), "mmHg": (0.750062, 0)},
    "hPa": {"inHg": (1 / 33.8639, 0), "mmHg": (0.750062, 0)},
    "seconds": {"minutes": (1 / 60, 0), "hours": (1 / 3600, 0)},
    "minutes": {"seconds": (60, 0), "hours": (1 / 60, 0)},
    "hours": {"minutes": (60, 0), "seconds": (3600, 0)},
}
"""Slope and offset by the unit of the contract and the other one. With any of them allowed, a season looks like a unit."""
POWERS = {"a thousand times": 1000, "a hundred times": 100, "a hundredth of": 1 / 100, "a thousandth of": 1 / 1000}
"""Prefixes of units, and shares written as per cent."""


def find_fault(
    groups: drift.Record,
    unit: str,
    window: pl.DataFrame,
    history: Sequence[pl.DataFrame],
    settings: config.MonitorInputs,
) -> Fault | None:
    """The fault of the input of `groups`, None for a sound one.

    `window` and each frame of `history` (newest first) have `at` and the input. The whole window is looked at, and its
    last `sensor_days` days alone, so that a fault that began in the middle of the window is recognised too.
    """
    name = groups["input"]
    newest = newest_days(window, settings.sensor_days)
    past = [each[name] for each in history if len(each)]
    whole, recent = (_fault_in(groups, unit, part, past, history, settings) for part in (window[name], newest[name]))
    if recent and (not whole or whole.kind != recent.kind):
        return replace(recent, sentence=f"{recent.sentence}, in the last {settings.sensor_days} days")
    return whole or _silent(groups, window[name], past, settings)


def find_lasting_fault(
    groups: drift.Record,
    unit: str,
    window: pl.DataFrame,
    history: Sequence[pl.DataFrame],
    settings: config.MonitorInputs,
) -> Fault | None:
    """The fault that began in one of the last `lasting_windows` windows and is still there; arguments as in `find_fault`.

    The windows before look like this one then. So it is compared with those that are older: than one window, which are of
    the same season, and than all of these.
    """
    for count in sorted({min(1, settings.lasting_windows), settings.lasting_windows} - {0}):
        newer, older = history[:count], history[count:]
        if len(older) < settings.min_windows:
            return None
        fault = find_fault(groups, unit, window, older, settings)
        before = (find_fault(groups, unit, each, older, settings) for each in newer) if fault else ()
        if fault and any(each and each.kind == fault.kind for each in before):
            return replace(fault, sentence=f"still {fault.sentence}")
    return None


def _silent(
    groups: drift.Record, whole: pl.Series, past: Sequence[pl.Series], settings: config.MonitorInputs
) -> Fault | None:
    """No value in a whole window of an input that is mostly missing, though it had some in every window before."""
    usual = max([groups["missing"], *(_missing_share(each) for each in past)])
    if len(whole) < settings.sensor_rows or _missing_share(whole) < 1 or usual >= settings.stopped_share:
        return None
    if len(past) < settings.usual_windows:
        return None
    return Fault(column=groups["input"], kind="stopped", value=1.0, limit=f"< {settings.stopped_share}",
                 sentence=f"stopped: all of its values are missing, at most {usual:.0%} before")  # fmt: skip


def _missing_share(values: pl.Series) -> float:
    return 1 - len(shifts.finite(values)) / len(values)


def _fault_in(
    groups: drift.Record,
    unit: str,
    part: pl.Series,
    past: Sequence[pl.Series],
    history: Sequence[pl.DataFrame],
    settings: config.MonitorInputs,
) -> Fault | None:
    if len(part) < settings.sensor_rows:
        return None
    return (
        _missing(groups, part, past, settings)
        or _stuck(groups, part, history, settings)
        or (_unit(groups, unit, part, past, settings) if "edges" in groups else None)
        or (_spelling(groups, part, past, settings) if "values" in groups else None)
    )


def _missing(
    groups: drift.Record, part: pl.Series, past: Sequence[pl.Series], settings: config.MonitorInputs
) -> Fault | None:
    share = _missing_share(part)
    if share < groups["missing"] + settings.missing_jump:
        return None
    usual = max([groups["missing"], *(_missing_share(each) for each in past)])
    if share < usual + settings.missing_jump:
        return None
    if share >= settings.stopped_share:
        return Fault(column=groups["input"], kind="stopped", value=round(share, 4), limit=f"< {settings.stopped_share}",
                     sentence=f"stopped: {share:.0%} of its values are missing, {usual:.0%} before")  # fmt: skip
    limit = round(usual + settings.missing_jump, 4)
    return Fault(column=groups["input"], kind="missing", value=round(share, 4), limit=f"< {limit}",
                 sentence=f"is missing in {share:.0%} of the rows, {usual:.0%} before")  # fmt: skip


def _stuck(
    groups: drift.Record, part: pl.Series, history: Sequence[pl.DataFrame], settings: config.MonitorInputs
) -> Fault | None:
    """One value in nearly all rows. An input that was as constant before, or often has this value, is not stuck."""
    name = groups["input"]
    value, share = _most_frequent(part)
    if not history or share < settings.stuck_share or len(shifts.finite(part)) < len(part) / 2:
        return None
    usual = max(_most_frequent(newest_days(each, settings.sensor_days)[name])[1] for each in history)
    if usual >= settings.stuck_share or _reference_share(groups, value) >= settings.stuck_exempt_share:
        return None
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return Fault(column=name, kind="stuck", value=round(share, 4), limit=f"< {settings.stuck_share}",
                 sentence=f"is stuck: {share:.0%} of its values are {shown}")  # fmt: skip


def newest_days(frame: pl.DataFrame, days: int) -> pl.DataFrame:
    """The rows of the last `days` days before the newest row."""
    return frame.filter(pl.col("at") > pl.col("at").max() - pl.duration(days=days))


def _most_frequent(values: pl.Series) -> tuple[float | str | None, float]:
    """The most frequent value and its share of the values that are there; None and 0 if there is none."""
    values = shifts.finite(values)
    if not len(values):
        return None, 0.0
    counts = values.value_counts(name="rows").sort("rows", descending=True)
    return counts[values.name][0], counts["rows"][0] / len(values)


def _reference_share(groups: drift.Record, value: float | str | None) -> float:
    """The share of the reference's rows in the group of a value."""
    if "edges" in groups:
        at = int(np.searchsorted(groups["edges"], float(value or 0), side="left"))
    else:
        at = groups["values"].index(value) if value in groups["values"] else -1
    return float(groups["shares"][at])


def _unit(
    groups: drift.Record, unit: str, part: pl.Series, past: Sequence[pl.Series], settings: config.MonitorInputs
) -> Fault | None:
    """A conversion that takes the values back to where they were.

    Either the values are far from there as they are, or they are other numbers than the sensor ever gave before: a
    sensor that gives whole degrees Fahrenheit gives no whole degrees in Celsius.
    """
    new = shifts.finite(part).to_numpy()
    levels, before, spread = _usual_quantiles(groups, past if len(past) >= settings.min_windows else [])
    if len(new) < settings.sensor_rows or len(levels) < 2 or not spread:
        return None
    distance = float(np.abs(np.quantile(new, levels) - before).mean()) / spread
    if distance < settings.unit_floor:
        return None
    known = _digits(shifts.finite(pl.concat(past)).to_numpy()) if past else np.array([])
    for each in _conversions(unit):
        back = (new - each.offset) / each.slope
        fit = float(np.abs(np.quantile(back, levels) - before).mean()) / spread
        far = distance >= settings.unit_distance and fit <= settings.unit_fit * distance
        if far or (fit < distance and _known_share(new, known) < 0.5 and _known_share(back, known) > 0.9):
            return Fault(column=groups["input"], kind="unit", value=round(distance, 2),
                         limit=f"< {settings.unit_floor}", sentence=each.words)  # fmt: skip
    return None


def _conversions(unit: str) -> list[Conversion]:
    """The conversions of a unit of the contract, and by powers of ten."""
    named = CONVERSIONS.get(unit, {}).items()
    return [Conversion(f"is in another unit ({other} instead of {unit})", *line) for other, line in named] + [
        Conversion(f"is in another unit ({words} what it was)", factor) for words, factor in POWERS.items()
    ]


def _digits(values: Floats) -> Floats:
    """The distinct values, rounded to four digits."""
    size = np.where(values == 0, 1.0, np.abs(values))  # 0 has no logarithm
    scale = np.power(10.0, 3 - np.floor(np.log10(size)))
    return np.asarray(np.unique(np.round(np.round(values * scale) / scale, 9)))


def _known_share(values: Floats, known: Floats) -> float:
    """The share of the distinct values that are among the known ones."""
    return float(np.isin(_digits(values), known).mean())


def _usual_quantiles(groups: drift.Record, past: Sequence[pl.Series]) -> tuple[Floats, Floats, float]:
    """Levels, the quantiles there, and the spread of the values: of the windows before, else of the reference."""
    if past and len(pooled := shifts.finite(pl.concat(past[: shifts.POOLED]))) >= shifts.LEAST_VALUES:
        old = pooled.to_numpy()
        return shifts.LEVELS, np.quantile(old, shifts.LEVELS), float(old.std())
    edges = np.array(groups["edges"], dtype=np.float64)
    levels = np.cumsum(groups["shares"])[: len(edges)]
    # nine tenths of a normal distribution lie within 2.56 standard deviations
    return levels, edges, float(edges[-1] - edges[0]) / 2.56 if len(edges) else 0.0


def _spelling(
    groups: drift.Record, part: pl.Series, past: Sequence[pl.Series], settings: config.MonitorInputs
) -> Fault | None:
    """A new value of about the share that a known value had which is gone."""
    now, names = shifts.value_shares(part), groups["values"][:-1]
    before = shifts.value_shares(pl.concat(past[: shifts.POOLED])) if past else dict(
        zip(names, groups["shares"], strict=False)
    )  # fmt: skip
    known = {*names, *(value for each in past for value in each.unique())}
    unlisted = 0.0 if past else float(groups["shares"][-1])
    new = {value: share for value, share in now.items() if value not in known and share > unlisted}
    gone = {value: share for value, share in before.items() if now.get(value, 0) < share * settings.gone_share}
    for value, share in sorted(new.items(), key=lambda item: -item[1]):
        likely = [old for old, usual in gone.items() if share / 2 <= usual <= share * 2]
        if share >= settings.new_value_share and likely:
            old = min(likely, key=lambda name: abs(gone[name] - share))
            sentence = f"has a new value {value} in {share:.1%} of the rows, and {old} is gone ({gone[old]:.1%} before)"
            return Fault(column=groups["input"], kind="spelling", value=round(share, 4),
                         limit=f"< {settings.new_value_share}", sentence=sentence)  # fmt: skip
    return None
