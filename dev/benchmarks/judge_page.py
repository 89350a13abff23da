"""Make tables and a picture from dev/figures/judge.json; the text around them in dev/docs/judge.md is written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from judge_rates import EQUAL, PASS, REFUSE, Record

from slipway.core import files
from slipway.pipeline import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEGIN, END = "<!-- made by `make bench NAME=judge` from judge.json -->", "<!-- end of what was made -->"


def percent(rate: float) -> str:
    return f"{100 * rate:.0f} %" if rate >= 0.0995 or rate == 0 else f"{100 * rate:.1f} %"


def ranged(share: Record) -> str:
    """A rate with its 95 % interval."""
    return f"{percent(share['rate'])} ({100 * share['low']:.0f}–{100 * share['high']:.0f})"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def marked(value: float, chosen: float) -> str:
    """A setting's value; the one in params.yaml in bold."""
    return f"**{value:g}**" if value == chosen else f"{value:g}"


def one(rows: Sequence[Record], **wanted: object) -> Record:
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


def tables(record: Record) -> str:
    """The measurements as Markdown tables."""
    limits = record["settings"]
    said = (
        f"Settings: margin {limits['margin']:g}, slice margin {limits['slice_margin']:g}, confidence "
        f"{limits['confidence']:g}, at least {limits['min_days']} days; {limits['trials']:,} trials. In brackets: 95 % intervals."
    )
    parts = [_targets(record), _equal(record), _worse(record), _margins(record), _slices(record), _power(record),
             _real(record)]  # fmt: skip
    return "\n\n".join([said, *parts])


def _targets(record: Record) -> str:
    """Both targets at the usual number of days; `unsure` counts as a miss of either."""
    days, effect = record["settings"]["days"], record["settings"]["effect"]
    rows = []
    for kind in EQUAL:
        part, power = one(record["equal"], kind=kind, days=days), one(record["power"], kind=kind)
        needed = one(power["needed"], margin=record["settings"]["margin"])["days"] or "no number of"
        rows.append((f"equal model ({kind}) refused", *_reached(part, "refused", REFUSE), f"{needed} days"))
    worse = one(record["worse"], kind="all", effect=effect, days=days)
    rows.append((f"model worse by {effect:g} passed", *_reached(worse, "passed", PASS), ""))
    return f"**Targets**, {days} days.\n\n{table(['', 'measured', 'limit', '', 'would take'], rows)}"


def _reached(part: Record, word: str, limit: float) -> tuple[str, str, str]:
    missed = part[word]["rate"] + part["unsure"]["rate"]
    return ranged(part[word]), f"≤ {percent(limit)}", "reached" if missed <= limit else "**missed**"


def _equal(record: Record) -> str:
    rows = []
    for days in sorted({row["days"] for row in record["equal"]}):
        parts = [one(record["equal"], kind=kind, days=days) for kind in EQUAL]
        last = parts[-1]
        causes = " / ".join(percent(last["causes"][name]) for name in ("whole", "slices", "floors"))
        rows.append((days, percent(last["unsure"]["rate"]), *(ranged(part["refused"]) for part in parts), causes,
                     f"{last['refused']['trials']} ({last['refused']['effective']})"))  # fmt: skip
    head = ["days", "unsure", *EQUAL, f"{EQUAL[-1]}: overall / slice / floor", "trials (worth)"]
    return f"**Equal models refused.** Several checks may refuse one trial.\n\n{table(head, rows)}"


def _worse(record: Record) -> str:
    pooled = [row for row in record["worse"] if row["kind"] == "all"]
    days = sorted({row["days"] for row in pooled})
    rows = []
    for effect in sorted({row["effect"] for row in pooled}):
        cells = [one(pooled, effect=effect, days=n)["passed"] for n in days]
        rows.append((f"{effect:g}", *(ranged(cell) for cell in cells)))
    stated = record["settings"]["effect"]
    kinds = ", ".join(f"{row['kind']} {ranged(row['passed'])}" for row in record["worse"] if row["kind"] != "all")
    return (
        f"**Worse models passed**, by true effect (nats) and days; the rest is refused, except that below "
        f"{record['settings']['min_days']} days all is unsure.\n\n{table(['effect', *(f'{n} days' for n in days)], rows)}\n\n"
        f"At {stated:g} and {record['settings']['days']} days by kind: {kinds}."
    )


def _margins(record: Record) -> str:
    names = (*EQUAL, "passed")
    rows = [
        (marked(row["margin"], record["settings"]["margin"]), *(ranged(row[name]) for name in names))
        for row in record["margins"]
    ]
    head = ["margin", *(f"{kind}: refused" for kind in EQUAL), "worse as stated: passed"]
    return f"**Other margins**, {record['settings']['days']} days, the rest as set.\n\n{table(head, rows)}"


def _slices(record: Record) -> str:
    names = (*EQUAL, "worse")
    rows = [
        (
            marked(row["margin"], record["settings"]["slice_margin"]),
            *(ranged(row[name]) for name in names),
            percent(row["only"]["rate"]),
        )
        for row in record["slices"]
    ]
    head = ["slice margin", *EQUAL, "worse as stated", "of which overall passed"]
    return f"**Some slice fails**, whatever the overall check says, {record['settings']['days']} days.\n\n{table(head, rows)}"


def _power(record: Record) -> str:
    sizes = [row["margin"] for row in record["power"][0]["needed"]]
    rows = []
    for row in record["power"]:
        needed = [item["days"] or "never" for item in row["needed"]]
        rows.append((row["kind"], f"{row['spread']:.4f}", f"{row['luck']:.4f}", percent(row["covers_window"]["rate"]),
                     percent(row["covers_zero"]["rate"]), *needed))  # fmt: skip
    head = ["equal pair", "s (a day)", "luck", "window agrees", "covers 0", *(f"days at {m:g}" for m in sizes)]
    again = record["resamples"]
    return (
        f"**How many days it would take.**\n\n{table(head, rows)}\n\n"
        f"500 instead of 2,000 resamples gave the same verdict in {percent(again['same'])} of {again['trials']} trials."
    )


def _real(record: Record) -> str:
    rows = [(row["kind"], f"{row['effect']:+.4f}", ranged(row["passed"])) for row in record["real"]]
    return f"**Changes as people make them**, {record['settings']['days']} days.\n\n{table(['change', 'effect', 'passed'], rows)}"


def write(record: Record, dev: Path) -> None:
    """Write the picture in dev/figures and the made part of the page in dev/docs."""
    page = dev / "docs/judge.md"
    files.write_text(dev / "figures/judge.svg", plots.render_svg(_plot, record, name="judge"))
    files.write_text(page, filled(page.read_text(encoding="utf-8"), tables(record)))


def filled(page: str, made: str) -> str:
    """The page with `made` between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, "dev/docs/judge.md has lost its marks"
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def _plot(figure: Figure, record: Record) -> plots.Caption:
    figure.set_size_inches(2 * plots.WIDTH, plots.HEIGHT)
    left, right = figure.subplots(1, 2)
    limits, ink = record["settings"], {role: pair[0] for role, pair in plots.PALETTE.items()}
    looks = {14: (":", ink["muted"]), 30: ("-", ink["accent"]), 60: ("--", ink["ink"]), 90: ("-", ink["ink"])}
    for days, (line, colour) in looks.items():
        passed = [row for row in record["worse"] if row["kind"] == "all" and row["days"] == days]
        equal = 1 - one(record["equal"], kind="other days", days=days)["refused"]["rate"]
        x, y = [0.0, *(row["effect"] for row in passed)], [equal, *(row["passed"]["rate"] for row in passed)]
        left.plot(x, y, linestyle=line, color=colour, label=f"{days} days", marker="o", markersize=3.5)
        if days == limits["days"]:
            low, high = zip(*((r["passed"]["low"], r["passed"]["high"]) for r in passed), strict=True)
            left.fill_between(x[1:], low, high, color=ink["soft"], linewidth=0)
    left.set(xlabel="true effect: mean log loss worse by", ylabel="passed")
    left.locator_params(axis="x", nbins=5)
    left.set_ylim(-0.02, 1.02)
    right.set_ylim(-0.02, 0.82)
    x = [row["margin"] for row in record["margins"]]
    for name, label, line, colour in (
        ("other days", "equal model (other days) refused", "-", ink["accent"]),
        ("other seed", "equal model (other seed) refused", "--", ink["accent"]),
        ("passed", f"model worse by {limits['effect']:g} passed", "-", ink["ink"]),
    ):
        part = [row[name] for row in record["margins"]]
        right.plot(x, [p["rate"] for p in part], line, color=colour, label=label, marker="o", markersize=3.5)
    right.set(xlabel=f"margin, at {limits['days']} days", ylabel="wrong verdicts")
    for axes, at in ((left, limits["effect"]), (right, limits["margin"])):
        axes.axvline(at, color=ink["muted"], linewidth=1, linestyle=(0, (4, 4)))
        axes.axhline(PASS, color=ink["muted"], linewidth=1, linestyle=(0, (1, 3)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.legend(frameon=False)
    left.annotate("stated", (limits["effect"], 0.36), color=ink["muted"], xytext=(3, 0), textcoords="offset points")
    right.annotate("set", (limits["margin"], 0.56), color=ink["muted"], xytext=(3, 0), textcoords="offset points")
    return plots.Caption(
        title=f"What the judge lets through, and its errors (dotted: {PASS:.0%})",
        text="The tables below hold the same numbers.",
    )
