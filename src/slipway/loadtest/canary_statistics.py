"""How alike two versions are, from their answers to the same requests: spread, order, and time. Pure.

Imports only the standard library beside our own, for the gate in a cluster judges the canary by it.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from slipway.core.verdict import Check
from slipway.loadtest.generator_health import percentile

GROUP_SHARE = 0.05
"""Neighbouring groups of predictions are joined until each held this share of the reference's rows."""
FLOOR = 1e-4
"""An empty group would be infinitely far."""
BLOCK = 25
"""Requests that are drawn together, for what disturbs one disturbs its neighbours."""
DRAWS = 400


def check_prediction_shift(
    reference: Mapping[str, Any], counted: Sequence[tuple[float, float]] | None, sent: int, most: float
) -> Check:
    """Population stability index of what the canary counted itself, against its predictions on the test window.

    Inconclusive when it counted fewer than were `sent`: then another pod answered /metrics, or nobody counts.
    """
    name, limit = "shift of the predictions", f"≤ {most:g}"
    total = counted[-1][1] if counted else 0.0
    if not counted or total < max(sent, 1):
        return Check(name=name, value=f"{total:.0f} of {sent} predictions counted", limit=limit, ok=None)
    edges = [float(edge) for edge in reference["edges"]]
    inner = [(edge, found) for edge, found in counted if edges[0] < edge < edges[-1]]
    if [edge for edge, _ in inner] != edges[1:-1]:
        return Check(name=name, value="counted in other groups", limit=limit, ok=None)
    ends = [0.0, *(found for _, found in inner), total]  # what lies outside of the range belongs to its end groups
    pairs = _joined(reference["counts"], [above - below for below, above in pairwise(ends)])
    before, after = ([max(n / sum(side), FLOOR) for n in side] for side in zip(*pairs, strict=True))
    index = sum((a - b) * math.log(a / b) for b, a in zip(before, after, strict=True))
    return Check(name=name, value=round(index, 4), limit=limit, ok=index <= most)


def _joined(reference: Sequence[float], found: Sequence[float]) -> list[tuple[float, float]]:
    """(reference, found) in groups of neighbours that each hold a fair share of the reference."""
    least, groups, open_ = GROUP_SHARE * sum(reference), [], (0.0, 0.0)
    for before, after in zip(reference, found, strict=True):
        open_ = open_[0] + before, open_[1] + after
        if open_[0] >= least:
            groups.append(open_)
            open_ = (0.0, 0.0)
    last = groups.pop() if groups else (0.0, 0.0)
    return [*groups, (last[0] + open_[0], last[1] + open_[1])]


def check_rank_correlation(pairs: Sequence[tuple[float, float]], least: float) -> Check:
    """Rank correlation of the two models' answers; a canary that says the same of every row has none."""
    name, limit = "order of the rows as the stable's", f"≥ {least:g}"
    stable, canary = ([pair[side] for pair in pairs] for side in (0, 1))
    if len(set(stable)) < 2:
        return Check(name=name, value=None, limit=limit, ok=None)
    if len(set(canary)) < 2:
        return Check(name=name, value="the same answer to every row", limit=limit, ok=False)
    value = statistics.correlation(_ranks(stable), _ranks(canary))
    return Check(name=name, value=round(value, 4), limit=limit, ok=value >= least)


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks; equal values share the mean of theirs."""
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values)):
        places.setdefault(value, []).append(place)
    return [statistics.fmean(places[value]) for value in values]


def check_latency_ratio(
    stable: Sequence[float | None], canary: Sequence[float | None], *, times: float, most_ms: float, seed: int = 0
) -> Check:
    """By how many ms the canary's p95 is above `times` the stable one's; bootstrap over blocks of neighbours in time.

    Both are milliseconds request by request, None where it was not answered well. No when the whole interval is
    above `most_ms`, unsure when that is inside the interval: it was too noisy to tell.
    """
    blocks = range(-(-len(canary) // BLOCK))

    def excess(of: Sequence[int]) -> float:
        beside, own = (
            [ms for block in of for ms in side[block * BLOCK : (block + 1) * BLOCK] if ms is not None]
            for side in (stable, canary)
        )
        return (percentile(own, 0.95) or 0.0) - times * (percentile(beside, 0.95) or 0.0)

    rng = random.Random(seed)  # noqa: S311  # no secret
    drawn = sorted(excess(rng.choices(blocks, k=len(blocks))) for _ in range(DRAWS))
    low, high = drawn[round(0.025 * (DRAWS - 1))], drawn[round(0.975 * (DRAWS - 1))]
    ok = True if high <= most_ms else False if low > most_ms else None
    name, limit = f"p95_ms beyond {times:g} × the stable's", f"high ≤ {most_ms:g} ms"
    return Check(name=name, value=excess(blocks), limit=limit, ok=ok, low=low, high=high)
