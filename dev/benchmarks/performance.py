"""Make dev/docs/performance.md and its picture from the records in dev/figures: serving, score, latency, alerting, cost.

make bench NAME=performance      only the page; the text around the tables is written by hand
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from judge_page import table
from serving_figures import limits, middle, ratios, visits

from slipway.core import files
from slipway.pipeline import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]
PAGE = Path(__file__).resolve().parents[1] / "docs/performance.md"
FIGURES = Path(__file__).resolve().parents[1] / "figures"
NAMES = ("serving", "score", "latency", "alerting", "cost")
CONNECTIONS = (1, 8, 32, 64)
COSTS = {
    "cold": "A cold `dvc repro`, seconds", "warm": "A warm one", "steps": "`make loop`, its steps",
    "verbs": "`make loop`, its processes by what they run", "review": "A pull request's verdict",
}  # fmt: skip
ENOUGH = 2000
"""Requests of a visit below which its 99.9th percentile is one or two of them, and not shown."""


def filled(page: str, made: dict[str, str]) -> str:
    """The page with each part between its own two marks."""
    for name, text in made.items():
        begin, end = f"<!-- made from {name}.json -->", f"<!-- end of {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        assert found, f"dev/docs/performance.md has lost {begin}"
        assert closed, f"dev/docs/performance.md has lost {end}"
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return page


def parts(figures: Path = FIGURES) -> dict[str, str]:
    """The generated parts, by the record that each is made from."""
    made: dict[str, Callable[[Record], str]] = {"serving": serving, "score": checks, "latency": latency,
                                                "alerting": alerting, "cost": cost}  # fmt: skip
    return {name: work(files.read_json(figures / f"{name}.json")) for name, work in made.items()}


def said(machine: Record) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    cpu = f"{machine['cpu']}, " if "cpu" in machine else ""
    python = f"Python {machine['python']}{'; ' * bool(versions)}{versions}"
    return f"Machine: {cpu}{machine['cores']} cores, {machine['system']}, {python}."


def held(checked: Sequence[Record], runs: Sequence[Record] = ()) -> str:
    """The table of figures with their limits; of several whole runs, the median with the least and the greatest."""
    rows = [
        (each["name"], spread([run[each["name"]] for run in runs]) if runs else f"{each['value']:.3g}", each["limit"],
         "yes" if each["ok"] else "**no**") for each in checked
    ]  # fmt: skip
    return table(["figure", "measured", "limit", "held"], rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """A median with its least and greatest."""
    return f"{_short(statistics.median(values))} ({_short(min(values))}–{_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def serving(record: Record) -> str:
    """The tables of the servers."""
    by = {rival["name"]: rival for rival in record["rivals"]}
    text = [said(record["machine"]), held([asdict(each) for each in limits(record["runs"])], record["runs"])]
    for rows, told in ((1, "One row a request"), (100, "Batches of 100 rows")):
        for name, against in (("fastapi", "FastAPI + ONNX Runtime, tuned"), ("empty", "the empty endpoint")):
            text += [f"**{told}: requests/s ÷ {against}**", _ratios(record["rivals"], by[name], rows)]
    text += ["**One row a request: p50 / p99 / p99.9, ms**", _latencies(record["rivals"], 1)]
    text += ["**Batches of 100 rows: p50 / p99 / p99.9, ms**", _latencies(record["rivals"], 100)]
    text += ["**Beside the requests**", _beside(record["rivals"]), _loop(record)]
    return "\n\n".join(text)


def _head(first: str) -> list[str]:
    return [first, *(f"{count} connection{'s' * (count > 1)}" for count in CONNECTIONS)]


def _label(rival: Record) -> str:
    return f"**{rival['label']}**" if rival["name"] == "slipway" else str(rival["label"])


def _ratios(rivals: Sequence[Record], other: Record, rows: int) -> str:
    lines = [[_label(each), *(spread(ratios(each, other, "rps", rows, c)) for c in CONNECTIONS)] for each in rivals]
    return table(_head("server"), lines)


def _latencies(rivals: Sequence[Record], rows: int) -> str:
    def cell(rival: Record, connections: int) -> str:
        rare = min(each["requests"] for each in visits(rival, rows, connections)) < ENOUGH
        found = [f"{middle(rival, what, rows, connections):.3g}" for what in ("p50", "p99", "p999")]
        return " / ".join([*found[:2], "–" if rare else found[2]])

    return table(_head("server"), [[_label(each), *(cell(each, c) for c in CONNECTIONS)] for each in rivals])


def _beside(rivals: Sequence[Record]) -> str:
    lines = [
        [_label(each), spread(each["ready"]), f"{each['memory']:.0f}", each["packages"], f"{each['bytes'] / 1e6:.0f}",
         sum(cell["errors"] for cell in each["visits"]), f"{each['difference']:.0e}" if each["difference"] else "–",
         f"{max(cell['client'] for cell in each['visits']):.0%}"]
        for each in rivals
    ]  # fmt: skip
    head = ["server", "start → first answer, s", "memory, MB", "packages", "installed, MB", "errors",
            "largest difference to the golden answers", "the client's core, at most"]  # fmt: skip
    return table(head, lines)


def _loop(record: Record) -> str:
    raw, workers = record["raw"], record["workers"]
    return (
        f"A hundred rows in a bare loop take {raw['whole']:.0f} µs: JSON {raw['parse']:.0f}, ONNX Runtime {raw['run']:.0f}, "
        f"the rest arrays. Two workers answer {workers['2'] / workers['1']:.2f} times the batches of one "
        "on two cores which they share with the client."
    )


def checks(record: Record) -> str:
    """A record that is a verdict."""
    return f"{said(record['machine'])}\n\n{held(record['checks'])}"


def latency(record: Record) -> str:
    """The latency check's error rates."""
    head = [
        "service",
        "trials",
        "pass",
        "refused",
        "unsure",
        "seconds, at most",
        "p50 of one row found, at least and most",
    ]
    rows = []
    for kind in record["kinds"]:
        one = kind["percentiles"][0]
        found = f"{one['more']:+.1%} ({one['least']:+.1%} to {one['most']:+.1%})"
        took = f"{kind['seconds']:.0f}, {kind['seconds_most']:.0f}"
        rows.append([kind["kind"], kind["trials"], kind["pass"], kind["fail"], kind["unsure"], took, found])
    band = record["kinds"][0]["percentiles"][0]["half_band"]
    most = record["limits"]["one_row_p50_at_most"]
    told = (
        f"One row takes {record['p50_ms']:.2f} ms at the median; half a band is {band:.1%}, the tolerance {most:.0%}."
    )
    return "\n\n".join([said(record["machine"]), table(head, rows), told])


def alerting(record: Record) -> str:
    """The table of the delays of a page."""
    rows = [[every, len(seconds), f"{statistics.median(seconds):.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}"]
            for every, seconds in record["seconds"].items()]  # fmt: skip
    head = ["Prometheus asks and judges every", "runs", "median, s", "least", "greatest"]
    return f"{said(record['machine'])}\n\n{table(head, rows)}"


def cost(record: Record) -> str:
    """Where the seconds go."""
    text = [said(record["machine"])]
    for name, told in COSTS.items():
        rows = record[name]
        text += [f"**{told}**", table(list(rows[0]), ([_cell(value) for value in row.values()] for row in rows))]
    return "\n\n".join(text)


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _plot(figure: Figure, record: Record) -> plots.Caption:
    figure.set_size_inches(2 * plots.WIDTH, plots.HEIGHT)
    left, right = figure.subplots(1, 2)
    by = {rival["name"]: rival for rival in record["rivals"]}
    ink = {role: pair[0] for role, pair in plots.PALETTE.items()}
    shown = list(reversed(record["rivals"]))
    values = [statistics.median(ratios(each, by["fastapi"], "rps", 1, 8)) for each in shown]
    colours = [ink["accent"] if each["name"] == "slipway" else ink["soft"] for each in shown]
    left.barh([each["name"] for each in shown], values, color=colours)
    left.set(xscale="log", xlabel="requests/s ÷ FastAPI + ONNX Runtime, 8 connections")
    for at, value in enumerate(values):
        left.annotate(f"{value:.2g}", (value, at), color=ink["ink"], xytext=(3, -3), textcoords="offset points")
    left.set_xlim(right=max(values) * 3)
    looks = {"empty": (":", ink["muted"]), "fastapi": ("--", ink["ink"]), "slipway": ("-", ink["accent"])}
    for name, (line, colour) in looks.items():
        y = [middle(by[name], "p99", 1, count) for count in CONNECTIONS]
        right.plot(CONNECTIONS, y, line, color=colour, label=name, marker="o", markersize=3.5)
    right.set(xlabel="connections", ylabel="p99, ms", xscale="log", yscale="log")
    right.set_xticks(CONNECTIONS, [str(count) for count in CONNECTIONS])
    for axis in (left.xaxis, right.yaxis):  # plain numbers: powers of ten would be written as mathematics
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda _value, _at: "")
    right.xaxis.set_minor_formatter(lambda _value, _at: "")
    right.legend(frameon=False)
    return plots.Caption(
        title="Throughput and 99th percentile, one row per request", text="The tables below hold the same numbers."
    )


def mark(figures: Path = FIGURES) -> str:
    """The mark of the record that the picture was drawn from; the picture's bytes depend on the machine's fonts."""
    return f"<!-- made from serving.json {files.sha256(figures / 'serving.json')[:16]} -->\n"


def main() -> None:
    drawn = plots.render_svg(_plot, files.read_json(FIGURES / "serving.json"), name="performance")
    files.write_text(FIGURES / "performance.svg", drawn + mark())
    files.write_text(PAGE, filled(PAGE.read_text(encoding="utf-8"), parts()))


if __name__ == "__main__":
    main()
