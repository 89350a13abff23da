"""Numbers, metrics and differences in words for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeGuard

METRICS = {
    "log_loss": "log loss", "auc": "AUC", "average_precision": "average precision", "brier": "Brier score",
    "mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R²",
    "squared_error": "squared error", "calibration_error": "calibration error",
}  # fmt: skip
"""Names of metrics for readers, in the order of a report."""
HIGHER = {"auc", "average_precision", "r2"}
"""Metrics of which more is better; of the others in METRICS less is better."""
REFERENCES = {"champion": "production", "dummy": "the baseline"}
"""The opponents of a change, by their names in the records; the baseline always predicts the mean of the training data."""
MAX_DECIMALS = 4


def metric_name(key: str) -> str:
    """The name of a metric for readers."""
    return METRICS.get(key, key.replace("_", " "))


def capitalised(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def is_number(value: object) -> TypeGuard[float]:
    """True if `value` is a number, and not True or False."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: object, *, signed: bool = False) -> str:
    """A number for a reader: about four figures, a true minus; other things as text, nothing as a dash."""
    if not is_number(value):
        return "–" if value is None else str(value)
    size = abs(value)
    if isinstance(value, int):
        text = f"{size:,}"
    elif 0 < size < 5e-4:
        text = f"{size:.1e}".replace("e-0", "e-")
    else:
        text = f"{size:,.{sum(size < edge for edge in (1000, 100, 10, 1))}f}"
        if size >= 1 or not size:
            text = text.rstrip("0").rstrip(".") if "." in text else text
    return ("−" if value < 0 else "+" if signed and value else "") + text


def count(value: object, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def decimals(value: float, low: float | None = None, high: float | None = None) -> int:
    """The decimals that a difference is shown with: two figures of half its interval, else of the value itself."""
    width = abs(high - low) / 2 if low is not None and high is not None else 0.0
    scale = width if width > 1e-6 * abs(value) else abs(value)
    if not scale or not math.isfinite(scale):
        return 0
    return min(max(1 - math.floor(math.log10(scale)), 0), MAX_DECIMALS)


def rounded(value: float, places: int, *, signed: bool = False) -> str:
    """A number with that many decimals and a true minus; the sign of what is rounded to zero is left out."""
    text = f"{abs(value):,.{places}f}"
    sign = "" if not text.strip("0.") else "−" if value < 0 else "+" if signed else ""
    return sign + text


def interval(low: object, high: object, *, signed: bool = True) -> str:
    """The ends of an interval of a difference; a dash without one."""
    if not is_number(low) or not is_number(high):
        return "–"
    places = decimals((low + high) / 2, low, high)
    return f"{rounded(low, places, signed=signed)} to {rounded(high, places, signed=signed)}"


def difference(value: object, low: float | None = None, high: float | None = None) -> str:
    """A difference with its sign, in as many decimals as its interval has; other things as text."""
    return rounded(value, decimals(value, low, high), signed=True) if is_number(value) else number(value)


def is_better(key: str, low: float | None, high: float | None) -> bool | None:
    """Return whether a change is clearly better (True) or clearly worse (False); None where its interval holds zero."""
    if key not in METRICS or low is None or high is None or low <= 0 <= high:
        return None
    return (low > 0) == (key in HIGHER)


def outcome(low: float | None, high: float | None, *, against: str) -> str:
    """A comparison that passes, in a few words; `low` and `high` are the interval of a loss's difference."""
    reference = REFERENCES[against]
    if (high or 0.0) < 0:
        return f"better than {reference}"
    return (
        f"slightly worse than {reference}, within what is allowed"
        if (low or 0.0) > 0
        else f"not worse than {reference}"
    )


def describe_change(
    key: str, change: Sequence[float], *, against: str, confidence: float, margin: float = math.inf, where: str = ""
) -> str:
    """A metric's change (difference, low and high end) as a sentence without a full stop.

    `against` is a key of REFERENCES, `where` the part of the rows that it is about.
    Where the interval ends above `margin`, the sentence names that end, since it is what the margin is compared with.
    """
    worse, low, high = change
    if key in HIGHER:
        worse, low, high = -worse, -high, -low
    places = decimals(worse, low, high)

    def size(value: float) -> str:
        text = rounded(abs(value), places)
        return text if text.strip("0.") or not value else f"less than {10**-places:g}"

    name = f"{where}: {metric_name(key)}" if where else capitalised(metric_name(key))
    reference = REFERENCES[against]
    percent = f"{100 * confidence:g} % interval"
    if low == high == 0:
        return f"{name} is the same as that of {reference}"
    if low <= 0 <= high or worse < margin <= high:
        ends = f"{percent} {_side(low, size)} to {_side(high, size)}"
        if high >= margin:
            return f"{name} may be up to {size(high)} worse than {reference} ({ends})"
        return f"{name} shows no clear change from {reference} ({ends})"
    if low > 0:
        return f"{name} is {size(worse)} worse than {reference} ({percent} {size(low)} to {size(high)})"
    return f"{name} is {size(worse)} better than {reference} ({percent} {size(high)} to {size(low)})"


def _side(value: float, size: Callable[[float], str]) -> str:
    shown = size(value)
    return f"{shown} {'worse' if value > 0 else 'better'}" if value else "0"
