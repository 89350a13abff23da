"""The report as GitHub-flavoured Markdown; imports no HTML, no Jinja, no matplotlib and no problem."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.reporting import report_data, sections, summary, wording
from slipway.reporting.markdown import MARKS, MAX_ROWS, PAGE, bar, details, escape, figure, table
from slipway.reporting.report_model import CheckRecord, Facts, Shift

MAX_METRICS, MAX_INPUTS, MAX_FIELDS, MAX_LINES = 20, 12, 6, 10
"""Metrics, inputs that moved, fields of an object that changed, and lines of a list that are shown; the page has them all."""
MAX_BYTES = 60_000
"""GitHub takes comments of 65,536 characters; `github.comment` adds warnings and a footer."""


def render(facts: Facts) -> str:
    """The report as GitHub-flavoured Markdown of at most MAX_BYTES bytes.

    Above the fold: verdict with its reason, a restarted comparison, what the change is, changed limits, the checks that
    stopped it, the metrics.
    Folded: everything else.
    """
    top = [_verdict(facts), _restart(facts), _changes(facts), _limits(facts), *_stopped(facts), _metrics(facts)]
    parts_by_name = {
        "latency": sections.latency_section(facts),
        "delivery": _delivery(facts),
        "loss by slice": _slices(facts),
        "inputs": _inputs(facts),
        "objects in the cluster": _objects(facts),
        "checks": _gates(facts),
        "checks of the judge": _checks(facts),
        "data quality": _quality(facts),
        "how to reproduce it": _reproduce(facts),
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
    why = escape(head.why[0], 300) + (f" (and {len(head.why) - 1} more, below)" if len(head.why) > 1 else "")
    lines = [f"## {MARKS[head.word]} {escape(head.title, 240)}", why]
    if title := facts.contract.labels.title:
        lines.append(f"{escape(title)} " + _context(facts))
    return "\n\n".join(lines)


def _context(facts: Facts) -> str:
    """The rows and the window of the test, and the champion's commit."""
    if not facts.metrics:
        return "No model was measured."
    parts = [f"Tested on {figure(facts.metrics.rows)} rows of {figure(facts.metrics.days)} days"]
    parts += [f"({facts.window})"] if facts.window else []
    if champion := report_data.revision(facts.judge.champion_commit):
        parts.append(f"against the model in production (commit `{champion[:10]}`)")
    return " ".join(parts) + "."


def _restart(facts: Facts) -> str:
    sentence = summary.describe_restart(facts)
    return f"> [!CAUTION]\n> {escape(sentence, 400)}" if sentence else ""


def _changes(facts: Facts) -> str:
    """The changed parameters, training window and inputs, and how far the predictions moved; empty where nothing recorded it."""
    lines, data = _params(facts), facts.judge.data
    if data is not None and any(data.train):
        lines.append(f"Training data: {escape(summary.describe_windows(data), 200)}")
    if data is not None and (shifts := summary.describe_shifts(data)):
        lines.append(f"Inputs: {escape(shifts, 200)}")
    if data is not None and data.prediction:
        before, after = (figure(mean) for mean in data.prediction.mean)
        lines.append(f"Predictions of the same rows: mean {before} → {after}, shift {figure(data.prediction.shift)}")
    lines += [escape(sentence, 500) for sentence in summary.describe_comparison(facts)]
    return "\n".join(["**What this pull request changes**", "", *(f"- {line}" for line in lines)]) if lines else ""


def _params(facts: Facts) -> list[str]:
    """The changed parameters, before and after, in escaped lines."""
    rows = [escape(row, 120) for row in summary.changed_params(facts)]
    if not rows:
        return ["Parameters: none"] if "judge" in facts.gates else []
    more = [f"and {len(rows) - MAX_LINES} more parameters in `{PAGE}`"] if len(rows) > MAX_LINES else []
    return [*(f"Parameter {row}" for row in rows[:MAX_LINES]), *more]


def _metrics(facts: Facts) -> str:
    rows = [
        [
            escape(delta.name) + (f" ({delta.direction})" if delta.direction else ""),
            figure(delta.before),
            f"**{figure(delta.after)}**",
            escape(delta.difference),
            escape(delta.interval),
            f"**{delta.words}**" if delta.better is False else delta.words,
        ]
        for delta in summary.metric_deltas(facts)
    ]
    interval = f">its {summary.percent_interval(facts)}"
    return (
        table(["metric", f">{facts.against}", ">this change", ">difference", interval, ""], rows, limit=MAX_METRICS)
        if rows
        else ""
    )


def _limits(facts: Facts) -> str:
    if not (changed := facts.limits_changed):
        return ""
    lines = [
        "> [!IMPORTANT]",
        "> This pull request changes limits. It was judged by the limits of its base:",
    ]
    return "\n".join(lines + [f"> - {escape(row)}" for row in changed[:10]])


CHECK_HEAD = ("", "result", "allowed or expected")


def _stopped(facts: Facts) -> list[str]:
    """The checks that fail and those that are inconclusive, above the fold, when the first line does not hold all of them."""
    parts = []
    for title, ok in (("Fails", False), ("Inconclusive", None)):
        rows = [[chapter, *_check(check)[1:]]
                for chapter, gate in facts.gates.items() for check in gate.checks if check.ok is ok]  # fmt: skip
        if rows:
            head = ("check", *CHECK_HEAD[1:])
            parts.append((len(rows), f"**{title} ({len(rows)})**\n\n{table(head, rows, limit=5)}"))
    return [part for _, part in parts] if sum(count for count, _ in parts) > 1 else []


def _check(check: CheckRecord) -> list[str]:
    mark = MARKS["pass" if check.ok else "fail" if check.ok is False else "unsure"]
    return [mark, escape(summary.describe_result(check), 300), escape(summary.describe_allowed(check), 120)]


def _checks(facts: Facts) -> str:
    rows = facts.gates["judge"].checks if "judge" in facts.gates else []
    title = f"Comparison with {facts.against}: {wording.count(len(rows), 'check')}"
    return details(title, table(CHECK_HEAD, map(_check, rows))) if rows else ""


def _gates(facts: Facts) -> str:
    rows = []
    for chapter, gate in facts.gates.items():
        seconds = f"{gate.seconds:.1f} s" if gate.seconds else "–"
        sentence = escape(sections.gate_sentence(facts, chapter), 400)
        size = escape(summary.describe_size(chapter, gate)) or "–"
        rows.append([f"{MARKS.get(str(gate.verdict), '❔')} {chapter}", sentence, size, seconds])
    names = " · ".join(row[0] for row in rows)
    return details(f"All checks: {names}", table(["check", "result", ">looked at", ">time"], rows)) if rows else ""


def _inputs(facts: Facts) -> str:
    """The inputs' shifts, the largest first."""
    data = facts.judge.data
    if data is None or not data.inputs:
        return ""
    parts = [_shifts(data.inputs)]
    if gone := [escape(name) for name in data.gone]:
        parts.append(f"No longer an input: {', '.join(gone[:MAX_ROWS])}")
    return details(f"Inputs: {escape(summary.describe_shifts(data), 200)}", "\n\n".join(parts))


def _shifts(inputs: Sequence[Shift]) -> str:
    """Every input's shifts, the largest first."""
    rows = [
        [escape(row.input, 60), _shift(row.train), _shift(row.test), *map(_share, row.missing or (None, None))]
        for row in summary.by_shift(inputs)
    ]
    head = ["input", "shift since the base", "shift from training to test", ">missing before", ">missing now"]
    note = f"Shift is the population stability index: 0 is equal, above {summary.SHIFTED:g} is usually called a shift."
    return f"{table(head, rows, limit=MAX_INPUTS)}\n\n_{note} No check judges it, since seasons shift too._"


def _shift(value: float | None) -> str:
    return "–" if value is None else f"`{bar(min(value, 1.0), 6):<6}` {value:,.2f}"


def _share(value: object) -> str:
    return f"{100 * value:.1f} %" if wording.is_number(value) else "–"


def _delivery(facts: Facts) -> str:
    """The sentences on the cluster, as a list."""
    sentences = [escape(line, 400) for line in sections.delivery_sentences(facts)]
    sentences[MAX_LINES:] = [f"and {len(sentences) - MAX_LINES} more in `{PAGE}`"] * (len(sentences) > MAX_LINES)
    return "\n".join(["**Delivery**", "", *(f"- {line}" for line in sentences)]) if sentences else ""


def _objects(facts: Facts) -> str:
    changes = facts.delivery.changes
    rows = [[escape(cell, 200) for cell in row] for row in sections.change_rows(changes, MAX_FIELDS)]
    title = f"Cluster: {wording.count(len(changes), 'rendered object')} changed"
    return details(title, table(["object", "field", "before → after"], rows)) if changes else ""


def _slices(facts: Facts) -> str:
    rows = summary.slice_rows(facts)
    if not rows:
        return ""
    largest = max(row.loss for row in rows) or 1.0
    lines = []
    for row in rows:
        loss = f"`{bar(row.loss / largest):<10}` {figure(row.loss)}"
        words = f"**{row.words}**" if row.better is False else row.words
        difference = escape(wording.difference(row.difference, row.low, row.high))
        name = escape(f"{row.slice} {row.value}", 60)
        lines.append(
            [name, figure(row.rows), figure(row.target), loss, difference, wording.interval(row.low, row.high), words]
        )
    interval = f">its {summary.percent_interval(facts)}"
    head = ["slice", ">rows", ">mean target", "mean loss", f">difference to {facts.against}", interval, ""]
    outcomes = [row.words for row in rows if row.words]
    counts = [f"{outcomes.count(word)} {word}" for word in ("worse", "better", "no clear change") if word in outcomes]
    title = f"Loss by slice: {', '.join(counts) or wording.count(len(rows), 'slice')}"
    if rows[0].better is False:
        worst = rows[0]
        size = wording.difference(worst.difference, worst.low, worst.high)
        title += f"; most: {escape(worst.slice, 60)} {escape(worst.value, 60)}, {escape(size)}"
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
    return (
        details(f"Data quality: {wording.count(len(rows), 'kind')} of fault in {span}", table(head, rows))
        if rows
        else ""
    )


def _reproduce(facts: Facts) -> str:
    lines = "\n".join(["```sh", *report_data.commands_to_reproduce(facts), "```"])
    hashes = ", ".join(f"{name} `{value[:12]}`" for name, value in facts.hashes.items() if report_data.revision(value))
    return details("Reproduce this report", lines + (f"\n\n{hashes}" if hashes else ""))
