"""The report as GitHub-flavoured Markdown; imports no HTML, no Jinja, no matplotlib and no problem."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.reporting import report_data, sections, summary
from slipway.reporting.markdown import MARKS, MAX_ROWS, PAGE, bar, details, escape, figure, table
from slipway.reporting.report_model import CheckRecord, Facts, Shift

MAX_INPUTS, MAX_FIELDS, MAX_LINES = 12, 6, 10
"""Inputs that moved, fields of an object that changed, and lines on delivery that are shown; the page has them all."""
MAX_BYTES = 60_000
"""GitHub takes comments of 65,536 characters; `github.comment` adds warnings and a footer."""


def render(facts: Facts) -> str:
    """The report as GitHub-flavoured Markdown of at most MAX_BYTES bytes.

    Above the fold: verdict with its reason, the metrics, changed limits. Folded: everything else.
    """
    top = [_verdict(facts), _metrics(facts), _limits(facts), _stopped(facts)]
    parts_by_name = {
        "latency": sections.latency_section(facts),
        "delivery": _delivery(facts),
        "parameters changed": _changes(facts),
        "data": _data(facts),
        "objects in the cluster": _objects(facts),
        "gates": _gates(facts),
        "checks of the judge": _checks(facts),
        "slices": _slices(facts),
        "data quality": _quality(facts),
        "how to reproduce": _reproduce(facts),
    }
    return _fit([part for part in top if part], {name: text for name, text in parts_by_name.items() if text})


def _fit(top: Sequence[str], parts_by_name: dict[str, str]) -> str:
    """All parts; when they are too long, the largest are left out, and a line names them."""
    omitted: list[str] = []
    while True:
        note = [f"_Left out to stay below {MAX_BYTES:,} bytes: {', '.join(omitted)}. See `{PAGE}`._"] if omitted else []
        text = "\n\n".join([*top, *parts_by_name.values(), *note]) + "\n"
        if len(text.encode()) <= MAX_BYTES or not parts_by_name:
            return text
        omitted.append(max(parts_by_name, key=lambda name: len(parts_by_name[name].encode())))
        del parts_by_name[omitted[-1]]


def _verdict(facts: Facts) -> str:
    head = summary.headline(facts)
    why = escape(head.why[0]) + (f"; and {len(head.why) - 1} more, below" if len(head.why) > 1 else "")
    lines = [f"## {MARKS[head.word]} {escape(head.title)}", f"**{head.word}**: {why}"]
    if title := facts.contract.labels.title:
        lines.append(f"{escape(title)} " + _context(facts))
    return "\n\n".join(lines)


def _context(facts: Facts) -> str:
    """The rows and the window of the test, and the champion's commit."""
    rows = f"{figure(facts.metrics.rows)} rows of {figure(facts.metrics.days)} days"
    parts = [rows] * bool(facts.metrics) + [facts.window] * bool(facts.window)
    if champion := report_data.revision(facts.judge.champion_commit):
        parts.append(f"champion of `{champion[:10]}`")
    return " · ".join(parts)


def _metrics(facts: Facts) -> str:
    rows = [
        [
            escape(delta.name),
            figure(delta.before),
            f"**{figure(delta.after)}**",
            delta.words.replace("worse", "**worse**"),
            _interval(delta.low, delta.high),
        ]
        for delta in summary.metric_deltas(facts)
    ]
    return table(["metric", f">{facts.against}", ">challenger", ">change", ">interval"], rows) if rows else ""


def _interval(low: object, high: object, *, signed: bool = False) -> str:
    return "–" if low is None or high is None else f"{figure(low, signed=signed)} … {figure(high, signed=signed)}"


def _limits(facts: Facts) -> str:
    if not (changed := facts.limits_changed):
        return ""
    lines = [
        "> [!IMPORTANT]",
        "> This change moves limits; it was judged by those of its base:",
    ]
    return "\n".join(lines + [f"> - {escape(row)}" for row in changed[:10]])


def _stopped(facts: Facts) -> str:
    """The checks that stopped it, above the fold, when there are more than the first line holds."""
    rows = [check for gate in facts.gates.values() for check in gate.checks if check.ok is not True]
    return f"What stopped it:\n\n{table(CHECK_HEAD, map(_check, rows), limit=5)}" if len(rows) > 1 else ""


CHECK_HEAD = ("check", ">value", ">interval", "limit", "")


def _check(check: CheckRecord) -> list[str]:
    paired = check.low is not None
    mark = MARKS["pass" if check.ok else "fail" if check.ok is False else "unsure"]
    value = escape(check.value) if isinstance(check.value, str) else figure(check.value, signed=paired)
    return [escape(check.name), value, _interval(check.low, check.high, signed=True), escape(check.limit), mark]


def _checks(facts: Facts) -> str:
    rows = facts.gates["judge"].checks if "judge" in facts.gates else []
    return details(f"Judge: {len(rows)} checks", table(CHECK_HEAD, map(_check, rows))) if rows else ""


def _gates(facts: Facts) -> str:
    rows = []
    for chapter, gate in facts.gates.items():
        first = escape(summary.main_check(gate) or "–")
        seconds = f"{gate.seconds:.1f} s" if gate.seconds else "–"
        rows.append([f"{MARKS.get(str(gate.verdict), '❔')} {chapter}", first, figure(gate.rows), seconds])
    names = " · ".join(row[0] for row in rows)
    return details(f"Gates: {names}", table(["gate", "what it says first", ">rows", ">time"], rows)) if rows else ""


def _changes(facts: Facts) -> str:
    """Parameters, before and after."""
    changed = [escape(row) for row in facts.judge.params_changed]
    if len(changed) < 2:
        return f"Parameter changed: {changed[0]}" if changed else ""
    more = [f"- and {len(changed) - MAX_ROWS} more"] if len(changed) > MAX_ROWS else []
    lines = [f"- {row}" for row in changed[:MAX_ROWS]]
    return details(f"Parameters changed: {len(changed)}", "\n".join(lines + more))


def _data(facts: Facts) -> str:
    """The training windows of base and change, the inputs' shifts, and the predictions of the same rows."""
    data = facts.judge.data
    if data is None or not data.inputs:
        return ""
    rows = [[f"training window{' of the base' if at == 0 else ''}", figure(window.rows), escape(window.first),
             escape(window.last)]
            for at, window in enumerate(data.train) if window]  # fmt: skip
    parts = [table(["", ">rows", "first day", "last day"], rows)]
    if data.prediction:
        before, after = (figure(mean) for mean in data.prediction.mean)
        shift = figure(data.prediction.shift)
        parts.append(f"Predictions of the same rows: mean {before} → {after}, shift {shift} from the champion's.")
    parts.append(_shifts(data.inputs))
    if gone := [escape(name) for name in data.gone]:
        parts.append(f"No longer an input: {', '.join(gone[:MAX_ROWS])}")
    return details(f"Data: {summary.training_data_summary(data)}", "\n\n".join(parts))


def _shifts(inputs: Sequence[Shift]) -> str:
    """Every input's shift, the farthest in training first."""
    rows = [
        [escape(row.input, 40), _shift(row.train), _shift(row.test), *map(figure, row.missing or (None, None))]
        for row in summary.by_shift(inputs)
    ]
    head = ["input", "training, against the base", "test, against training", ">missing before", ">now"]
    return (
        table(head, rows, limit=MAX_INPUTS)
        + "\n\n_Shift is the population stability index: 0 is equal, above .25 is usually called a shift._"
    )


def _shift(value: float | None) -> str:
    return "–" if value is None else f"`{bar(min(value, 1.0), 6):<6}` {figure(value)}"


def _delivery(facts: Facts) -> str:
    """The sentences on the cluster: in one line, or as a list when there are more than two."""
    sentences = [escape(line, 240) for line in sections.delivery_sentences(facts)]
    sentences[MAX_LINES:] = [f"and {len(sentences) - MAX_LINES} more in `{PAGE}`"] * (len(sentences) > MAX_LINES)
    if len(sentences) > 2:
        return "\n".join(["**Delivery**", "", *(f"- {line}" for line in sentences)])
    return f"**Delivery**: {'; '.join(sentences)}" if sentences else ""


def _objects(facts: Facts) -> str:
    changes = facts.delivery.changes
    rows = [[escape(cell, 200) for cell in row] for row in sections.change_rows(changes, MAX_FIELDS)]
    title = f"Cluster: {len(changes)} rendered objects differ"
    return details(title, table(["object", "field", ""], rows)) if changes else ""


def _slices(facts: Facts) -> str:
    rows = summary.slice_rows(facts)
    if not rows:
        return ""
    largest = max(row.loss for row in rows) or 1.0
    lines = []
    for row in rows:
        loss = f"`{bar(row.loss / largest):<10}` {figure(row.loss)}"
        judged = {True: "better", False: "**worse**", None: ""}[row.better]
        name = escape(f"{row.slice} {row.value}", 40)
        lines.append([name, figure(row.rows), figure(row.target), loss, figure(row.difference, signed=True), judged])
    head = ["slice", ">rows", ">mean target", "mean loss", f">against {facts.against}", ""]
    outcomes = [row.better for row in rows]
    title = f"Slices: {outcomes.count(False)} worse, {outcomes.count(True)} better, of {len(rows)}"
    if rows[0].better is False:
        title += f"; most {escape(rows[0].slice, 40)} {escape(rows[0].value, 40)} by {figure(rows[0].difference)}"
    return details(title, table(head, lines))


def _quality(facts: Facts) -> str:
    quality = facts.quality
    rows = [
        [
            *(escape(text) for text in (fault.source, fault.column, fault.what)),
            figure(fault.rows),
            figure(fault.worst),
            escape(fault.action),
        ]
        for fault in quality.faults
    ]
    head = ["source", "column", "fault", ">rows", ">worst", "what was done"]
    span = f"{figure(quality.rows)} rows, {escape(quality.first)} to {escape(quality.last)}"
    return details(f"Data quality: {len(rows)} kinds of fault in {span}", table(head, rows)) if rows else ""


def _reproduce(facts: Facts) -> str:
    lines = "\n".join(["```sh", *report_data.commands_to_reproduce(facts), "```"])
    hashes = ", ".join(f"{name} `{value[:12]}`" for name, value in facts.hashes.items() if report_data.revision(value))
    return details("How to reproduce", lines + (f"\n\n{hashes}" if hashes else ""))
