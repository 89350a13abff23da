"""Compare two versions by their answers to the same requests: prediction shift, rank correlation, latency.

Imports only the standard library and other modules of Slipway: the load gate's image runs it.
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
"""Neighbouring groups of predictions are joined until each has this share of the reference's rows."""
FLOOR = 1e-4
"""Smallest share of a group: an empty group would make the index infinite."""
BLOCK = 25
"""Requests that are drawn together, because a disturbance affects neighbours as well."""
DRAWS = 400
"""Bootstrap samples."""


def check_prediction_shift(
    reference: Mapping[str, Any], counts: Sequence[tuple[float, float]] | None, sent: int, limit: float
) -> Check:
    """Population stability index between the canary's own prediction counts and its predictions on the test window.

    `counts` are (upper edge, predictions up to it), `sent` the number of requests. Unsure when fewer predictions were
    counted than sent: then another pod answered /metrics, or the canary does not count.
    """
    name, most = "shift of the predictions", f"≤ {limit:g}"
    total = counts[-1][1] if counts else 0.0
    if not counts or total < max(sent, 1):
        text = f"The canary's metrics count {total:.0f} of {sent} predictions, so their shift is not known"
        return Check(name=name, value=f"{total:.0f} of {sent} predictions counted", limit=most, ok=None, text=text)
    edges = [float(edge) for edge in reference["edges"]]
    inner = [(edge, count) for edge, count in counts if edges[0] < edge < edges[-1]]
    if [edge for edge, _ in inner] != edges[1:-1]:
        text = "The canary's metrics count predictions in other groups than its contract, so their shift is not known"
        return Check(name=name, value="counted in other groups", limit=most, ok=None, text=text)
    ends = [0.0, *(count for _, count in inner), total]  # predictions outside the range count in the end groups
    pairs = _join_groups(reference["counts"], [above - below for below, above in pairwise(ends)])
    before, after = ([max(n / sum(side), FLOOR) for n in side] for side in zip(*pairs, strict=True))
    index = sum((a - b) * math.log(a / b) for b, a in zip(before, after, strict=True))
    text = f"The canary's predictions are shifted from those on its test window by {index:.3g} (population stability index)"
    return Check(name=name, value=round(index, 4), limit=most, ok=index <= limit, text=text)


def _join_groups(reference: Sequence[float], counts: Sequence[float]) -> list[tuple[float, float]]:
    """Join neighbouring groups to pairs (reference, counts) that each have at least GROUP_SHARE of the reference."""
    minimum, groups, open_ = GROUP_SHARE * sum(reference), [], (0.0, 0.0)
    for before, after in zip(reference, counts, strict=True):
        open_ = open_[0] + before, open_[1] + after
        if open_[0] >= minimum:
            groups.append(open_)
            open_ = (0.0, 0.0)
    last = groups.pop() if groups else (0.0, 0.0)
    return [*groups, (last[0] + open_[0], last[1] + open_[1])]


def check_rank_correlation(pairs: Sequence[tuple[float, float]], limit: float) -> Check:
    """Rank correlation of the predictions of stable and canary, given as pairs.

    Fails when the canary predicts the same for every row; unsure when the stable version does.
    """
    name, least = "order of the rows as the stable's", f"≥ {limit:g}"
    stable, canary = ([pair[side] for pair in pairs] for side in (0, 1))
    if len(set(stable)) < 2:
        text = "The stable version predicts the same for every row, so the order of the rows cannot be compared"
        return Check(name=name, value=None, limit=least, ok=None, text=text)
    if len(set(canary)) < 2:
        text = "The canary predicts the same for every row"
        return Check(name=name, value="the same answer to every row", limit=least, ok=False, text=text)
    value = statistics.correlation(_ranks(stable), _ranks(canary))
    text = f"The rank correlation of the two versions' predictions is {value:.3g}"
    return Check(name=name, value=round(value, 4), limit=least, ok=value >= limit, text=text)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value; equal values get the mean of their ranks."""
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values)):
        places.setdefault(value, []).append(place)
    return [statistics.fmean(places[value]) for value in values]


def check_latency_ratio(
    stable: Sequence[float | None], canary: Sequence[float | None], *, times: float, limit_ms: float, seed: int = 0
) -> Check:
    """Check the ms by which the canary's p95 exceeds `times` the stable version's, with a block bootstrap interval.

    Both sequences are milliseconds per request, None for a request without a good answer. Fails when the whole interval
    is above `limit_ms`; unsure when `limit_ms` lies inside it.
    """
    blocks = range(-(-len(canary) // BLOCK))

    def excess_ms(drawn: Sequence[int]) -> float:
        p95 = [
            percentile(
                [ms for block in drawn for ms in side[block * BLOCK : (block + 1) * BLOCK] if ms is not None], 0.95
            )
            for side in (stable, canary)
        ]
        return (p95[1] or 0.0) - times * (p95[0] or 0.0)

    rng = random.Random(seed)  # noqa: S311  # no secret
    samples = sorted(excess_ms(rng.choices(blocks, k=len(blocks))) for _ in range(DRAWS))
    low, high = samples[round(0.025 * (DRAWS - 1))], samples[round(0.975 * (DRAWS - 1))]
    ok = True if high <= limit_ms else False if low > limit_ms else None
    name, value = f"p95_ms beyond {times:g} × the stable's", excess_ms(blocks)
    text = (
        f"p95 of the canary is {abs(value):.4g} ms {'above' if value > 0 else 'below'} {times:g} × the stable version's"
    )
    text += f" (95 % interval {low:.4g} to {high:.4g} ms)"
    limit = f"≤ {limit_ms:g} ms above it, for the whole interval"
    return Check(name=name, value=value, limit=limit, ok=ok, low=low, high=high, text=text)
