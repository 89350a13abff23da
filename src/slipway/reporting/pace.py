"""What the latency check says, for a report: in words, and a row a percentile. Pure.

It reads the record of `latency`, which a stranger may have written: only numbers are computed with, and text stays text.
"""

from __future__ import annotations

from slipway.reporting.markdown import fold, prose, table
from slipway.reporting.report_data import Facts
from slipway.reporting.summary import first, number

HEAD = ("", ">base, ms", ">this change, ms", ">ratio", ">noise band", ">tolerated")
WORDS = {"pass": "not slower than the base", "fail": "refused", "unsure": "cannot tell"}


def rows(given: Facts) -> list[list[str]]:
    """Of each percentile: name, milliseconds of the base and of this change, ratio, its noise band, what is tolerated."""
    found = []
    for name, base, head, more, low, high, most in given.latency.get("table") or ():
        times = [number(value) for value in (base, head)]
        found.append([str(name), *times, ratio(more), f"{ratio(low)} … {ratio(high)}", ratio(most)])
    return found


def ratio(more: object) -> str:
    """A part above the base's as a ratio to it."""
    return number(float(more) + 1) if isinstance(more, int | float) else "–"


def words(given: Facts) -> str:
    """The verdict with what stands behind it; empty where latency was not asked about."""
    if not (gate := given.gates.get("latency")):
        return ""
    word, found = str(gate.get("verdict")), rows(given)
    if word == "pass" and found:
        name, _, _, is_, band, most = found[0]
        return f"{WORDS[word]}: {name} × {is_} ({band}), tolerated × {most}"
    if word == "pass":
        return next((str(check.get("value")) for check in gate.get("checks") or ()), "")
    return f"{WORDS[word]}: {first(gate)}" if word in WORDS else first(gate)


def section(given: Facts) -> str:
    """The part of the comment: a line to open where it is a pass, else with its table in sight."""
    if not (said := prose(words(given), 300)):
        return ""
    lines = table(HEAD, [[prose(cell, 60) for cell in row] for row in rows(given)]) if rows(given) else ""
    if given.gates["latency"].get("verdict") == "pass" and lines:
        return fold(f"Latency: {said}", lines)
    return "\n\n".join(filter(None, [f"**Latency**: {said}", lines]))
