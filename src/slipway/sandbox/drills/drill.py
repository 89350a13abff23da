"""`drill`: inject faults into a cluster, and check that each is detected and recovered from, with the seconds.

After each drill every invariant must hold: no ledger line is lost, the cluster runs what Git says, nothing is left over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from slipway.core import config, environment, ledger
from slipway.core.console import stderr, stdout
from slipway.core.text import shorten
from slipway.errors import CheckFailed, ConfigError, SlipwayError
from slipway.sandbox import deploy, loop
from slipway.sandbox.drills import bad_releases, canary_abort, drift_and_race, ledger_tampering, outages, watching
from slipway.sandbox.drills.context import DrillContext, kept_sandbox, open_context
from slipway.sandbox.drills.timeline import Timeline

ALL = "all"
WIDTH = 150
"""Columns of the table when stdout is not a terminal."""
DRILLS: dict[str, Callable[[DrillContext, Timeline], None]] = {
    "slow": bad_releases.slow,
    "fixed": bad_releases.fixed,
    "missing": bad_releases.missing,
    "crash": bad_releases.crash,
    "registry": outages.registry,
    "git": outages.git_down,
    "argocd": outages.argocd,
    "disk-full-log": outages.disk_full_log,
    "edit": drift_and_race.edit,
    "race": drift_and_race.race,
    "wrong": canary_abort.wrong,
    "tampered": ledger_tampering.tampered,
    "drift": watching.drift,
    "label-outage": watching.label_outage,
}
"""In the order of `all`: `fixed` repairs the service that `slow` leaves on main."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a drill; `wrong` is the difference from the expected end, empty when there is none."""

    name: str
    injected: str = ""
    detected: str = ""
    detected_s: float | None = None
    recovered: str = ""
    recovered_s: float | None = None
    figure: str = ""
    wrong: str = ""
    seconds: float = 0.0


def select_drills(names: Sequence[str]) -> list[str]:
    """The named drills in the order of DRILLS; ConfigError for an unknown name, or for none."""
    if unknown := [name for name in names if name not in DRILLS and name != ALL]:
        message = f"there is no drill {unknown[0]!r}"
        raise ConfigError(
            message, expected=f"{', '.join(DRILLS)} or {ALL}", value=unknown[0], hint=f"slipway drill {ALL}"
        )
    if not names:
        raise ConfigError("no drill was named", expected=f"{', '.join(DRILLS)} or {ALL}", hint=f"slipway drill {ALL}")
    return [name for name in DRILLS if name in names or ALL in names]


def run_drill(context: DrillContext, name: str) -> Outcome:
    """Run a drill; before and after it every invariant must hold. After a failure its release is rolled back."""
    timeline, started, wrong = Timeline(context.sandbox, name), time.monotonic(), ""
    summary = (DRILLS[name].__doc__ or "").partition("\n")[0]
    context.sandbox.start_part(f"drill {name} · {summary}")
    try:
        context.settle()
        DRILLS[name](context, timeline)
        context.settle()
    except SlipwayError as error:
        wrong = str(error)
        for env in ledger.ENVIRONMENTS:
            deploy.write_diagnostics(context.sandbox, context.app(env))
        context.sandbox.record_step(name, wrong, time.monotonic() - started, "fail")
        roll_back(context, name)
    return outcome_of(timeline, wrong, time.monotonic() - started)


def roll_back(context: DrillContext, name: str) -> None:
    """Roll back the release of a failed drill, and turn the canary off, so that the next drill can start."""
    try:
        context.pull()
        for env, text in context.remembered.items():
            before = ledger.parse(text, where=env)[-1]
            if context.last_line(env).identity != before.identity:
                context.run_verb("rollback", "--env", env, "--reason", f"drill: {name} failed", "--push")
        canary_abort.turn_canary(context, on=False)
    except SlipwayError as error:
        context.sandbox.record_step("restore", str(error), 0.0, "fail")


def outcome_of(timeline: Timeline, wrong: str, seconds: float) -> Outcome:
    """A drill's result from its times; one that never detected or never recovered failed."""
    times = (("detected", timeline.detected_s), ("recovered from", timeline.recovered_s))
    never = [word for word, at in times if at is None]
    return Outcome(
        name=timeline.name, injected=timeline.injected, detected=timeline.detected, detected_s=timeline.detected_s,
        recovered=timeline.recovered, recovered_s=timeline.recovered_s, figure=timeline.figure, seconds=seconds,
        wrong=wrong or (f"the fault was never {' and never '.join(never)}" if never else ""),
    )  # fmt: skip


def table_rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """The closing table's cells: drill, injected, detected, after s, end, after s, verdict."""
    return [
        [each.name, each.injected, each.detected, seconds_cell(each.detected_s), each.wrong or each.recovered,
         seconds_cell(each.recovered_s), "fail" if each.wrong else "pass"]
        for each in outcomes
    ]  # fmt: skip


def seconds_cell(seconds: float | None) -> str:
    """Seconds as a cell of the table."""
    return "–" if seconds is None else f"{seconds:.0f}"


def print_table(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Print the table and the figures below it to stdout; `seconds` is the time of all drills."""
    title = f"{len(outcomes)} drills in {seconds:.0f} s; seconds count from the injection"
    table = Table("drill", "injected", "detected", title=title, title_justify="left")
    for word in ("after s", "end", "after s", "verdict"):
        table.add_column(word, justify="right" if word.endswith(" s") else "left")
    for row in table_rows(outcomes):
        table.add_row(*(shorten(cell) for cell in row))
    stdout.print(table, width=None if stdout.is_terminal else WIDTH)
    for figure in filter(None, (each.figure for each in outcomes)):
        stdout.write_line(figure)


def run(params: config.Params, names: Sequence[str], *, keep: bool, root: Path = Path()) -> str:
    """Run drills in the sandbox that a loop kept, or in a new one, which is removed afterwards unless `keep`.

    CheckFailed when a drill fails.
    """
    drills, root, started = select_drills(names), root.resolve(), time.monotonic()
    with loop.single_instance(environment.cache_home(root)), loop.interruptible():
        deploy.require_cluster_tools(root)
        created, leave = kept_sandbox(root, params.track.model) is None, False
        try:
            context = open_context(root, params)
            leave = keep
            outcomes = [run_drill(context, name) for name in drills]
        finally:
            if created and not leave:
                stderr.write_line(f"  {loop.remove_everything(root)} applications removed")
    print_table(outcomes, time.monotonic() - started)
    return require_all_passed(outcomes)


def require_all_passed(outcomes: Sequence[Outcome]) -> str:
    """One sentence when all drills passed; CheckFailed with the differences."""
    if failed := [each for each in outcomes if each.wrong]:
        differences = "; ".join(f"{each.name}: {each.wrong}" for each in failed)
        raise CheckFailed(f"drill: {len(failed)} of {len(outcomes)} failed: {differences}", hint="docs/fix/drill.md")
    return f"{len(outcomes)} drills passed: {', '.join(each.name for each in outcomes)}"
