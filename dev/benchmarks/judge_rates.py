"""The arithmetic of the judge's error rates: models made worse, windows, and trials as rates with intervals."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slipway.core import config
from slipway.pipeline import metrics

Record = dict[str, Any]
Floats = NDArray[np.float64]
HELD = 92
"""Days that follow a cut-off and are judged."""
KINDS = {"noise": 3.0, "shrunk": 1.0, "shifted": 3.0}
"""Kinds of damage to a challenger, and the strongest dose of each."""
MARGINS = (0.003, 0.004, 0.005, 0.006, 0.007, 0.008)
SLICE_MARGINS = (0.03, 0.04, 0.05, 0.06)
SWAPPED = "days swapped"
EQUAL = (SWAPPED, "other seed", "other days")
REFUSE, PASS = 0.05, 0.10
"""Targets: refusals of an equal model, passes of one that is worse by the stated effect."""


def worse(kind: str, p: Floats, dose: float, seed: list[int]) -> Floats:
    """Predictions made worse: noise on each flight's logit, shrunk towards their mean, or all logits shifted."""
    if not dose:
        return p
    if kind == "shrunk":
        return (1 - dose) * p + dose * p.mean()
    move = np.random.default_rng(seed).normal(size=len(p)) if kind == "noise" else 1.0
    return np.asarray(1 / (1 + np.exp(-np.log(p / (1 - p)) - dose * move)))


def swapped(own: Floats, other: Floats, day: NDArray[np.int64], seed: list[int]) -> tuple[Floats, Floats]:
    """Two models that trade places on about every second day, by lot: by design neither is worse."""
    mine = np.random.default_rng(seed).random(HELD)[day] < 0.5
    return np.where(mine, own, other), np.where(mine, other, own)


def dose_for(kind: str, effect: float, pairs: list[tuple[Floats, Floats, Floats, list[int]]]) -> float:
    """The dose at which challengers lose `effect` to their champions, in the mean over all their rows.

    `pairs`: target, challenger's and champion's predictions, seed. Log loss is convex in every dose, so
    there is one such dose above the best one.
    """
    from scipy.optimize import brentq

    rows = sum(len(target) for target, *_ in pairs)
    reference = sum(float(metrics.row_losses("binary", target, champion).sum()) for target, _, champion, _ in pairs)

    def excess(dose: float) -> float:
        own = (metrics.row_losses("binary", t, worse(kind, p, dose, seed)).sum() for t, p, _, seed in pairs)
        return (float(sum(own)) - reference) / rows - effect

    return float(brentq(excess, 0.0, KINDS[kind], xtol=1e-4))


def windows(days: int) -> list[tuple[int, int]]:
    """First day and end of every window of `days` that fits, one after another without overlap."""
    return [(first, first + days) for first in range(0, HELD - days + 1, days)]


def wilson(rate: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a rate that was seen in `n` independent trials; `n` need not be whole."""
    middle, spread = rate + z * z / (2 * n), z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))


def effective(part: pl.DataFrame, hit: pl.Expr) -> float:
    """The number of independent trials that these are worth.

    At most one for each pair of models and window: its two orders and its doses see the same losses. Less when
    the rate differs between windows more than chance would have it, for trials in one window share its weather.
    """
    most = part.select("cut", "pair", "window").n_unique()
    by_window = part.group_by("cut", "window").agg(rate=hit.mean())["rate"]
    rate, spread = float(part.select(hit.mean()).item()), (by_window.var() or 0.0) / len(by_window)
    return float(min(most, max(len(by_window), rate * (1 - rate) / spread if spread else most)))


def share(part: pl.DataFrame, hit: pl.Expr) -> Record:
    rate, n = float(part.select(hit.mean()).item()), effective(part, hit)
    low, high = wilson(rate, n)
    return {"rate": round(rate, 4), "low": round(low, 4), "high": round(high, 4), "trials": len(part),
            "effective": round(n)}  # fmt: skip


def refused(*, margin: float, slice_margin: float) -> pl.Expr:
    """The judge's verdicts with these margins, from its measurements."""
    return (pl.col("high") >= margin) | (pl.col("slice") > slice_margin) | ~pl.col("floor")


def luck(part: pl.DataFrame) -> float:
    """Standard deviation of what a pair of equal models really differs by, however many days are looked at.

    Windows of one pair share it and nothing else: it is the mean product of the differences in two of them.
    """
    both = part.join(part, on=["cut", "pair", "challenger"]).filter(pl.col("window") < pl.col("window_right"))
    return math.sqrt(max(0.0, float(both.select((pl.col("value") * pl.col("value_right")).mean()).item())))


def days_needed(margin: float, *, spread: float, luck: float, confidence: float) -> int | None:
    """Days until an equal model is refused in at most 5 %, by the overall check; None when luck alone forbids it.

    `spread` is the standard deviation of a day's difference. Wanted: z₁·s/√n + z₂·√(luck² + s²/n) ≤ margin.
    """
    sure, rare = NormalDist().inv_cdf((1 + confidence) / 2), NormalDist().inv_cdf(1 - REFUSE)
    for days in range(1, 1001):
        if sure * spread / math.sqrt(days) + rare * math.hypot(luck, spread / math.sqrt(days)) <= margin:
            return days
    return None


def summary(found: pl.DataFrame, params: config.Params, *, effect: float) -> Record:
    """The page's figures, from the trials."""
    limits, usual = params.judge, params.data.test_days
    return {
        "settings": {"margin": limits.margin, "slice_margin": limits.slice_margin, "confidence": limits.confidence,
                     "min_days": limits.min_days, "min_slice_rows": limits.min_slice_rows, "days": usual,
                     "effect": effect, "trials": len(found)},
        "equal": [_equal(found.filter(pl.col("kind") == kind, pl.col("days") == days), kind, days)
                  for kind in EQUAL for days in sorted(found["days"].unique())],
        "worse": [_worse(found.filter(pl.col("kind").is_in(kinds), pl.col("days") == days, pl.col("effect") == size))
                  | {"kind": name, "effect": size, "days": days}
                  for name, kinds in (("all", tuple(KINDS)), *((kind, (kind,)) for kind in KINDS))
                  for size in sorted(found.filter(pl.col("effect") > 0)["effect"].unique())
                  for days in sorted(found["days"].unique())
                  if days >= limits.min_days and (name == "all" or (size, days) == (effect, usual))],
        "margins": _margins(found.filter(pl.col("days") == usual), limits, effect),
        "slices": _slices(found.filter(pl.col("days") == usual), limits, effect),
        "power": [_power(found.filter(pl.col("kind") == kind), kind, limits, usual) for kind in EQUAL],
        "real": [_real(found.filter(pl.col("kind") == kind, pl.col("days") == usual), kind)
                 for kind in found.filter(pl.col("pair") == "real")["kind"].unique(maintain_order=True).sort()],
        "resamples": _resamples(found),
    }  # fmt: skip


def _equal(part: pl.DataFrame, kind: str, days: int) -> Record:
    fail = pl.col("word") == "fail"
    causes = part.select(whole=(~pl.col("whole")).mean(), slices=(pl.col("broken") != "").mean(),
                         floors=(~pl.col("floor") & (pl.col("word") != "unsure")).mean())  # fmt: skip
    return {"kind": kind, "days": days, "refused": share(part, fail), "unsure": share(part, pl.col("word") == "unsure"),
            "causes": {name: round(float(value), 4) for name, value in causes.row(0, named=True).items()}}  # fmt: skip


def _worse(part: pl.DataFrame) -> Record:
    measured = part["value"].mean()
    return {"passed": share(part, pl.col("word") == "pass"), "unsure": share(part, pl.col("word") == "unsure"),
            "measured": None if measured is None else round(float(measured), 5)}  # type: ignore[arg-type]  # fmt: skip


def _margins(found: pl.DataFrame, limits: config.Judge, effect: float) -> list[Record]:
    rows = []
    for margin in sorted({*MARGINS, limits.margin}):
        fail = refused(margin=margin, slice_margin=limits.slice_margin)
        rows.append({"margin": margin,
                     **{kind: share(found.filter(pl.col("kind") == kind), fail) for kind in EQUAL},
                     "passed": share(found.filter(pl.col("effect") == effect), ~fail)})  # fmt: skip
    return rows


def _slices(found: pl.DataFrame, limits: config.Judge, effect: float) -> list[Record]:
    rows = []
    for margin in sorted({*SLICE_MARGINS, limits.slice_margin}):
        hit, alone = pl.col("slice") > margin, pl.col("high") < limits.margin
        rows.append({"margin": margin,
                     **{kind: share(found.filter(pl.col("kind") == kind), hit) for kind in EQUAL},
                     "worse": share(found.filter(pl.col("effect") == effect), hit),
                     "only": share(found.filter(pl.col("effect") == effect), hit & alone)})  # fmt: skip
    return rows


def _power(part: pl.DataFrame, kind: str, limits: config.Judge, usual: int) -> Record:
    here = part.filter(pl.col("days") == usual)
    z = NormalDist().inv_cdf((1 + limits.confidence) / 2)
    half = (pl.col("high") - pl.col("low")) / 2
    spread = math.sqrt(float(here.select((half / z).pow(2).mean()).item()) * usual)
    own = luck(here)
    pairs = here.with_columns(half=half)
    both = pairs.join(pairs, on=["cut", "pair", "challenger"]).filter(pl.col("window") < pl.col("window_right"))
    near = (pl.col("value") - pl.col("value_right")).abs() < (
        pl.col("half").pow(2) + pl.col("half_right").pow(2)
    ).sqrt()
    sizes = sorted({0.003, 0.004, 0.006, 0.008, limits.margin})
    return {"kind": kind, "spread": round(spread, 5), "luck": round(own, 5),
            "covers_zero": share(here, (pl.col("low") <= 0) & (pl.col("high") >= 0)),
            "covers_window": share(both, near),
            "needed": [{"margin": m, "days": days_needed(m, spread=spread, luck=own, confidence=limits.confidence)}
                       for m in sizes]}  # fmt: skip


def _real(part: pl.DataFrame, kind: str) -> Record:
    return {"kind": kind, "effect": round(float(part["value"].mean()), 4),  # type: ignore[arg-type]
            "passed": share(part, pl.col("word") == "pass")}  # fmt: skip


def _resamples(found: pl.DataFrame) -> Record:
    keys = ["cut", "challenger", "champion", "days", "window"]
    less, full = (found.filter(pl.col("kind") == kind).select(*keys, "word", "high") for kind in ("other days", "full"))
    both = full.join(less, on=keys).drop_nulls()
    moved = (pl.col("high") - pl.col("high_right")).abs().mean()
    return {"trials": len(both), "same": round(float((both["word"] == both["word_right"]).mean()), 4),  # type: ignore[arg-type]
            "moved": round(float(both.select(moved).item()), 6)}  # fmt: skip
