"""`drill`: break it on purpose, on a cluster: what is injected must be seen, acted upon, and mended; with the seconds.

After each drill all of `invariant` must hold: nothing lost, Git = cluster, no debris.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slipway.core import config, environment, ledger
from slipway.errors import CheckFailed, ConfigError, SlipwayError
from slipway.sandbox import deploy, loop
from slipway.sandbox.clone import talk
from slipway.sandbox.drills import bad_releases, canary_abort, context, drift_and_race, ledger_tampering, outages
from slipway.sandbox.drills.context import World
from slipway.sandbox.drills.timeline import Watch

ALL = "all"
WIDTH = 150
"""Columns of the table where there is no terminal."""
DRILLS: dict[str, Callable[[World, Watch], None]] = {
    "slow": bad_releases.slow,
    "fixed": bad_releases.fixed,
    "missing": bad_releases.missing,
    "crash": bad_releases.crash,
    "registry": outages.registry,
    "git": outages.git_down,
    "argocd": outages.argocd,
    "edit": drift_and_race.edit,
    "race": drift_and_race.race,
    "wrong": canary_abort.wrong,
    "tampered": ledger_tampering.tampered,
}
"""In the order of `all`: `fixed` mends what `slow` leaves on main."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a drill ended; `wrong` says what differs, empty when it ended as it should."""

    name: str
    injected: str = ""
    detected: str = ""
    detected_s: float | None = None
    recovered: str = ""
    recovered_s: float | None = None
    figure: str = ""
    wrong: str = ""
    seconds: float = 0.0


def chosen(names: Sequence[str]) -> list[str]:
    """The drills that are meant, in their order; ConfigError for an unknown one, or none."""
    if unknown := [name for name in names if name not in DRILLS and name != ALL]:
        raise ConfigError(f"there is no drill {unknown[0]!r}", hint=f"{', '.join(DRILLS)}, {ALL}")
    if not names:
        raise ConfigError("no drill is named", hint=f"slipway drill {ALL}, or one of {', '.join(DRILLS)}")
    return [name for name in DRILLS if name in names or ALL in names]


def one(there: World, name: str) -> Outcome:
    """Run a drill from a whole world to a whole world, whatever happens in it."""
    watch, started, wrong = Watch(there.scene, name), time.monotonic(), ""
    first = (DRILLS[name].__doc__ or "").partition("\n")[0]
    there.scene.say(f"drill {name} · {first}")
    try:
        context.settle(there)
        DRILLS[name](there, watch)
        context.settle(there)
    except SlipwayError as error:
        wrong = str(error)
        for env in deploy.ENVIRONMENTS:
            deploy.dump(there.scene, there.app(env))
        there.scene.note(name, wrong, time.monotonic() - started, "fail")
        restore(there, name)
    return outcome(watch, wrong, time.monotonic() - started)


def restore(there: World, name: str) -> None:
    """After a drill that ended otherwise: what it put into an environment is rolled back, so that the next one may begin."""
    try:
        context.pull(there)
        for env, text in there.remembered.items():
            before = ledger.parse(text, where=env)[-1]
            if context.last(there, env).identity != before.identity:
                context.ask(there, "rollback", "--env", env, "--reason", f"drill: {name} ended otherwise", "--push")
        canary_abort.turn(there, on=False)
    except SlipwayError as error:
        there.scene.note("restore", str(error), 0.0, "fail")


def outcome(watch: Watch, wrong: str, seconds: float) -> Outcome:
    """What a watch saw, as a row; a drill that never detected or never recovered ended otherwise."""
    never = [word for word, at in (("detected", watch.detected_s), ("recovered", watch.recovered_s)) if at is None]
    said = wrong or (f"never {' and never '.join(never)}" if never else "")
    return Outcome(
        name=watch.name, injected=watch.injected, detected=watch.detected, detected_s=watch.detected_s,
        recovered=watch.recovered, recovered_s=watch.recovered_s, figure=watch.figure, wrong=said, seconds=seconds,
    )  # fmt: skip


def rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """The closing table's cells: drill, what was injected, seen by, after s, end, after s, verdict."""
    return [
        [found.name, found.injected, found.detected, seconds(found.detected_s), found.wrong or found.recovered,
         seconds(found.recovered_s), "fail" if found.wrong else "pass"]
        for found in outcomes
    ]  # fmt: skip


def seconds(value: float | None) -> str:
    """As a cell."""
    return "–" if value is None else f"{value:.0f}"


def closing(outcomes: Sequence[Outcome], took: float) -> None:
    """The table on stdout, and the figures below it."""
    out = Console(highlight=False)
    out = out if out.is_terminal else Console(highlight=False, width=WIDTH)
    title = f"{len(outcomes)} drills in {took:.0f} s; seconds count from the injection"
    table = Table("drill", "injected", "detected", title=title, title_justify="left")
    for word in ("after s", "end", "after s", "verdict"):
        table.add_column(word, justify="right" if word.endswith(" s") else "left")
    for row in rows(outcomes):
        table.add_row(*(escape(loop.shortened(cell)) for cell in row))
    out.print(table)
    for found in outcomes:
        if found.figure:
            out.print(escape(found.figure), soft_wrap=True)


def run(params: config.Params, names: Sequence[str], *, keep: bool, root: Path = Path()) -> str:
    """Run drills in the loop's world, or one made for them (gone afterwards unless `keep`); CheckFailed when one ends otherwise."""
    wanted, root, started = chosen(names), root.resolve(), time.monotonic()
    with loop.single_instance(environment.cache_home(root)), loop.interruptible():
        deploy.ready(root)
        mine, kept = context.found(root, params.track.model) is None, False
        try:
            there = context.enter(root, params)
            kept = keep
            outcomes = [one(there, name) for name in wanted]
        finally:
            if mine and not kept:
                talk.print(f"  {loop.clear(root)} applications removed")
    closing(outcomes, time.monotonic() - started)
    return enforce(outcomes)


def enforce(outcomes: Sequence[Outcome]) -> str:
    """One sentence when all ended as they should; CheckFailed with what differs."""
    if bad := [found for found in outcomes if found.wrong]:
        said = "; ".join(f"{found.name}: {found.wrong}" for found in bad)
        raise CheckFailed(
            f"drill: {len(bad)} of {len(outcomes)} ended otherwise: {said}", hint="docs/operations.md, Drills"
        )
    return f"{len(outcomes)} drills ended as they should: {', '.join(found.name for found in outcomes)}"
