"""Answer whether the inputs moved: a broken sensor or a jump fails, a slow drift with the seasons is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from slipway import problem
from slipway.core.verdict import Check
from slipway.monitoring.questions import broken_sensors, shifts
from slipway.monitoring.questions.broken_sensors import Fault
from slipway.monitoring.questions.shifts import Shift
from slipway.monitoring.window import Answer, Window


def ask(window: Window) -> Answer:
    """The broken inputs, those that jumped, and the distance of each from the training reference."""
    settings, limits = window.settings, window.settings.inputs
    if len(window.rows) < settings.min_rows:
        return few_rows(window, "inputs")
    rows = shifts.thin(window.rows, limits.sample_rows)
    history = [shifts.thin(each, limits.sample_rows) for each in window.earlier if len(each) >= settings.min_rows]
    units = {column.name: column.unit for column in problem.columns(window.spec.inputs)}
    reference = {groups["input"]: groups for groups in window.reference.inputs if groups["input"] in rows.columns}
    faults, moves, psi = {}, {}, {}
    for number, (name, groups) in enumerate(reference.items()):
        psi[name] = shifts.from_reference(groups, rows)
        past = [each.select("at", name) for each in history]
        sensor = groups, units.get(name, ""), rows.select("at", name), past, limits
        fault = broken_sensors.find_fault(*sensor) or broken_sensors.find_lasting_fault(*sensor)
        if fault:
            faults[name] = fault
        elif len(history) >= limits.min_windows:
            jump = limits.number if "edges" in groups else limits.category
            shift = shifts.measure(name, rows, past, jump, limits, seed=number)
            if shift:
                moves[name] = shift
    return _answer(window, faults, moves, psi)


def few_rows(window: Window, question: str) -> Answer:
    """The answer for a window with too few rows: nothing is decided."""
    text = f"{len(window.rows):,} rows are too few to judge the {question}"
    check = Check(name="rows", value=len(window.rows), limit=f"≥ {window.settings.min_rows:,}", ok=None, text=text)
    return Answer(sentence=f"Unsure: {text}.", checks=[check], rows=len(window.rows), notes={"table": []})


def _answer(
    window: Window, faults: Mapping[str, Fault], moves: Mapping[str, Shift], psi: Mapping[str, float | None]
) -> Answer:
    limits = window.settings.inputs
    adjusted = shifts.holm({name: shift.chance for name, shift in moves.items()})
    checks, table = [], []
    for name, shift in moves.items():
        number = _is_number(window.rows[name])
        away = (psi[name] or 0) >= limits.reference_floor
        jumped = shift.distance > shift.allowed and away and adjusted[name] <= limits.chance
        unit = "standard deviations" if number else "of the rows"
        amount = f"{shift.distance:.2f} {unit}" if number else f"{shift.distance:.0%} {unit}"
        checks.append(
            Check(name=f"jump of {name}", value=round(shift.distance, 4), limit=f"≤ {shift.allowed:.3g}", ok=not jumped,
                  text=f"`{name}` {'jumped by' if jumped else 'moved by'} {amount} against the windows before")
        )  # fmt: skip
    checks += [
        Check(name=f"sensor {name}", value=fault.value, limit=fault.limit, ok=False, text=f"`{name}` {fault.sentence}")
        for name, fault in faults.items()
    ]
    for name in psi:
        shift_or_none = moves.get(name)
        table.append({
            "input": name,
            "fault": faults[name].kind if name in faults else None,
            "moved": None if shift_or_none is None else round(shift_or_none.distance, 4),
            "allowed": None if shift_or_none is None else round(shift_or_none.allowed, 4),
            "psi": psi[name],
        })  # fmt: skip
    if not moves:
        sound = len(psi) - len(faults)
        checks.append(Check(name="broken sensors", value=len(faults), limit="≤ 0", ok=not faults,
                            text=f"{sound} of {len(psi)} inputs are sound"))  # fmt: skip
    return Answer(sentence=_sentence(checks, psi, window), checks=checks, rows=len(window.rows), notes={"table": table})


def _is_number(values: pl.Series) -> bool:
    return values.dtype.is_numeric() or values.dtype == pl.Boolean


def _sentence(checks: Sequence[Check], psi: Mapping[str, Any], window: Window) -> str:
    failed = [check.text for check in checks if check.ok is False]
    if failed:
        return f"Inputs moved: {'; '.join(failed)}."
    drifted = sum((value or 0) >= window.settings.inputs.reference_floor for value in psi.values())
    return (
        f"Inputs are sound: none is broken, none jumped; {drifted} of {len(psi)} drifted from the training data, as seasons do."
        if drifted
        else "Inputs are sound: none is broken, none jumped."
    )
