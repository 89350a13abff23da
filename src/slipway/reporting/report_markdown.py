"""The report as GitHub-flavoured Markdown; imports no HTML, no Jinja, no matplotlib and no problem."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.reporting import report_data, sections, summary
from slipway.reporting.markdown import MARKS, MAX_ROWS, PAGE, bar, details, escape, figure, table
from slipway.reporting.report_data import Facts

MAX_INPUTS, MAX_FIELDS, MAX_LINES = 12, 6, 10
"""Shown of the inputs that moved, of an object that changed, and of what happens to it; the page has them all."""
MAX_BYTES = 60_000
"""GitHub takes comments of 65,536 characters; the rest is for what the comment's writer adds."""


def render(given: Facts) -> str:
    """The report as GitHub-flavoured Markdown of at most MAX_BYTES bytes; pure.

    Above the fold: verdict with its reason, the metrics, changed limits. Folded: everything else.
    """
    top = [_verdict(given), _metrics(given), _limits(given), _stopped(given)]
    parts_by_name = {
        "latency": sections.latency_section(given),
        "delivery": _delivery(given),
        "parameters changed": _changes(given),
        "data": _data(given),
        "objects in the cluster": _objects(given),
        "gates": _gates(given),
        "checks of the judge": _checks(given),
        "slices": _slices(given),
        "data quality": _quality(given),
        "how to reproduce": _reproduce(given),
    }
    return _fit([part for part in top if part], {name: text for name, text in parts_by_name.items() if text})


def _fit(top: Sequence[str], parts_by_name: dict[str, str]) -> str:
    """Everything, or as much as fits and a line that names what does not: the largest parts go first."""
    left: list[str] = []
    while True:
        note = [f"_Left out to stay below {MAX_BYTES:,} bytes: {', '.join(left)}. See `{PAGE}`._"] if left else []
        text = "\n\n".join([*top, *parts_by_name.values(), *note]) + "\n"
        if len(text.encode()) <= MAX_BYTES or not parts_by_name:
            return text
        left.append(max(parts_by_name, key=lambda name: len(parts_by_name[name].encode())))
        del parts_by_name[left[-1]]


def _verdict(given: Facts) -> str:
    head = summary.headline(given)
    why = escape(head.why[0]) + (f"; and {len(head.why) - 1} more, below" if len(head.why) > 1 else "")
    lines = [f"## {MARKS[head.word]} {escape(head.title)}", f"**{head.word}**: {why}"]
    if title := given.contract.get("labels", {}).get("title"):
        lines.append(f"{escape(title)} " + _context(given))
    return "\n\n".join(lines)


def _context(given: Facts) -> str:
    """Which rows, of when, against whom."""
    rows = f"{figure(given.metrics.get('rows'))} rows of {figure(given.metrics.get('days'))} days"
    parts = [rows] * bool(given.metrics) + [given.window] * bool(given.window)
    if rival := report_data.revision(given.judge.get("champion_commit")):
        parts.append(f"champion of `{rival[:10]}`")
    return " · ".join(parts)


def _metrics(given: Facts) -> str:
    found = summary.deltas(given)
    rows = [
        [
            escape(d.name),
            figure(d.before),
            f"**{figure(d.after)}**",
            d.words.replace("worse", "**worse**"),
            _interval(d.low, d.high),
        ]
        for d in found
    ]
    return table(["metric", f">{given.against}", ">challenger", ">change", ">interval"], rows) if rows else ""


def _interval(low: object, high: object, *, signed: bool = False) -> str:
    return "–" if low is None or high is None else f"{figure(low, signed=signed)} … {figure(high, signed=signed)}"


def _limits(given: Facts) -> str:
    if not (changed := given.limits_changed):
        return ""
    lines = [
        "> [!IMPORTANT]",
        "> This change moves limits; it was judged by those of its base:",
    ]
    return "\n".join(lines + [f"> - {escape(row)}" for row in changed[:10]])


def _stopped(given: Facts) -> str:
    """The checks that stopped it, open to see, when there are more than the first line holds."""
    rows = [c for record in given.gates.values() for c in record.get("checks", ()) if c.get("ok") is not True]
    return f"What stopped it:\n\n{table(CHECK_HEAD, map(_check, rows), limit=5)}" if len(rows) > 1 else ""


CHECK_HEAD = ("check", ">value", ">interval", "limit", "")


def _check(check: report_data.Record) -> list[str]:
    paired = check.get("low") is not None
    mark = MARKS["pass" if check.get("ok") else "fail" if check.get("ok") is False else "unsure"]
    told = check.get("value")
    value = escape(told) if isinstance(told, str) else figure(told, signed=paired)
    return [
        escape(check.get("name")), value, _interval(check.get("low"), check.get("high"), signed=True),
        escape(check.get("limit")), mark,
    ]  # fmt: skip


def _checks(given: Facts) -> str:
    rows = given.gates.get("judge", {}).get("checks", ())
    return details(f"Judge: {len(rows)} checks", table(CHECK_HEAD, map(_check, rows))) if rows else ""


def _gates(given: Facts) -> str:
    rows = []
    for chapter, record in given.gates.items():
        first = escape(summary.main_check(record) or "–")
        seconds = f"{record['seconds']:.1f} s" if record.get("seconds") else "–"
        mark = MARKS.get(str(record.get("verdict")), "❔")
        rows.append([f"{mark} {chapter}", first, figure(record.get("rows")), seconds])
    names = " · ".join(row[0] for row in rows)
    return details(f"Gates: {names}", table(["gate", "what it says first", ">rows", ">time"], rows)) if rows else ""


def _changes(given: Facts) -> str:
    """Parameters, before and after."""
    changed = [escape(row) for row in given.judge.get("params_changed") or ()]
    if len(changed) < 2:
        return f"Parameter changed: {changed[0]}" if changed else ""
    more = [f"- and {len(changed) - MAX_ROWS} more"] if len(changed) > MAX_ROWS else []
    lines = [f"- {row}" for row in changed[:MAX_ROWS]]
    return details(f"Parameters changed: {len(changed)}", "\n".join(lines + more))


def _data(given: Facts) -> str:
    """What was learned from, before and now; which inputs moved; what the predictions of the same rows did."""
    found = given.judge.get("data") or {}
    if not found.get("inputs"):
        return ""
    rows = [[f"training window{' of the base' if at == 0 else ''}", figure(w["rows"]), escape(w["first"]), escape(w["last"])]
            for at, w in enumerate(found["train"]) if w]  # fmt: skip
    parts = [table(["", ">rows", "first day", "last day"], rows)]
    if told := found.get("prediction"):
        before, after = (figure(value) for value in told["mean"])
        parts.append(
            f"Predictions of the same rows: mean {before} → {after}, shift {figure(told['shift'])} from the champion's."
        )
    parts.append(_shifts(found["inputs"]))
    if gone := [escape(name) for name in found.get("gone") or ()]:
        parts.append(f"No longer an input: {', '.join(gone[:MAX_ROWS])}")
    return details(f"Data: {summary.training_data_summary(given)}", "\n\n".join(parts))


def _shifts(inputs: Sequence[report_data.Record]) -> str:
    """Every input's shift, the farthest in training first."""
    ordered = sorted(inputs, key=lambda row: (-(row.get("train") or 0.0), -(row.get("test") or 0.0)))
    lines = []
    for row in ordered:
        bars = [_shift(row.get(which)) for which in ("train", "test")]
        lines.append(
            [escape(row["input"], 40), *bars, *(figure(share) for share in row.get("missing") or (None, None))]
        )
    head = ["input", "training, against the base", "test, against training", ">missing before", ">now"]
    return (
        table(head, lines, limit=MAX_INPUTS)
        + "\n\n_Shift is the population stability index: 0 is equal, above .25 is usually called a shift._"
    )


def _delivery(given: Facts) -> str:
    """What happens in the cluster: a line, or a list where there is more to say."""
    said = [escape(line, 240) for line in sections.lines(given)]
    said[MAX_LINES:] = [f"and {len(said) - MAX_LINES} more in `{PAGE}`"] * (len(said) > MAX_LINES)
    if len(said) > 2:
        return "\n".join(["**Delivery**", "", *(f"- {line}" for line in said)])
    return f"**Delivery**: {'; '.join(said)}" if said else ""


def _objects(given: Facts) -> str:
    rows = given.delivery.get("changes") or ()
    lines = [[escape(cell, 200) for cell in row] for row in sections.change_rows(rows, MAX_FIELDS)]
    return (
        details(f"Cluster: {len(rows)} rendered objects differ", table(["object", "field", ""], lines)) if rows else ""
    )


def _shift(value: object) -> str:
    return f"`{bar(min(value, 1.0), 6):<6}` {figure(value)}" if isinstance(value, int | float) else "–"


def _slices(given: Facts) -> str:
    rows = summary.slices(given)
    worst = max((row["loss"] for row in rows), default=0.0) or 1.0
    lines = []
    for row in rows:
        loss = f"`{bar(row['loss'] / worst):<10}` {figure(row['loss'])}"
        judged = {True: "better", False: "**worse**", None: ""}[row["better"]]
        name = escape(f"{row['slice']} {row['value']}", 40)
        difference = figure(row.get("difference"), signed=True)
        lines.append([name, figure(row["rows"]), figure(row["target"]), loss, difference, judged])
    head = ["slice", ">rows", ">mean target", "mean loss", f">against {given.against}", ""]
    words = [row["better"] for row in rows]
    moved = f"{words.count(False)} worse, {words.count(True)} better, of {len(rows)}"
    if rows and rows[0]["better"] is False:
        moved += (
            f"; most {escape(rows[0]['slice'], 40)} {escape(rows[0]['value'], 40)} by {figure(rows[0]['difference'])}"
        )
    return details(f"Slices: {moved}", table(head, lines)) if rows else ""


def _quality(given: Facts) -> str:
    faults, seen = given.quality.get("faults") or [], given.quality
    rows = []
    for fault in faults:
        where = [escape(fault[name]) for name in ("source", "column", "what")]
        rows.append([*where, figure(fault["rows"]), figure(fault["worst"]), escape(fault["action"])])
    head = ["source", "column", "fault", ">rows", ">worst", "what was done"]
    span = f"{figure(seen.get('rows'))} rows, {escape(seen.get('first'))} to {escape(seen.get('last'))}"
    return details(f"Data quality: {len(rows)} kinds of fault in {span}", table(head, rows)) if faults else ""


def _reproduce(given: Facts) -> str:
    lines = "\n".join(["```sh", *report_data.commands(given), "```"])
    hashes = ", ".join(f"{name} `{value[:12]}`" for name, value in given.hashes.items() if report_data.revision(value))
    return details("How to reproduce", lines + (f"\n\n{hashes}" if hashes else ""))
