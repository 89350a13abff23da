"""`latency`: does a change make the service slower than its base? Both on this machine, in turns, with a noise band.

No is said only when the whole band lies above the tolerance, twice: the services are started anew in between. What
cannot be told is measured with further starts, up to a limit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.core import config, files, git
from slipway.core.verdict import Check, Verdict
from slipway.errors import Inconclusive, SlipwayError
from slipway.judging import latency_client, latency_services, latency_statistics
from slipway.judging.latency_client import ONE, Connection, Plan, Times
from slipway.judging.latency_services import Side
from slipway.judging.latency_statistics import Limits, RatioInterval
from slipway.packaging import package
from slipway.serving.local_server import Server

VERDICT = Path("reports/latency.json")
TOLD = 400
"""Characters of a message, its end: there stands what went wrong."""
EQUAL = "the same service as the base's: not one file of it differs"
HINT = "docs/operations.md, section latency, says what to do"


@dataclass
class Measured:
    """What was asked so far, over all starts: milliseconds by kind, and of each side its requests and errors.

    `own_rows` says that the head was asked its own rows; `others` are the shares of the processors that others used.
    """

    times: list[Times] = field(default_factory=list)
    block: int = 0
    asked: list[int] = field(default_factory=lambda: [0, 0])
    errors: list[int] = field(default_factory=lambda: [0, 0])
    said: list[str] = field(default_factory=lambda: ["", ""])
    own_rows: bool = False
    others: list[float] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    bands: list[RatioInterval] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """All that were measured whole."""
        return sum(len(times[ONE]) for times in self.times)

    def add(self, times: Times, lines: Sequence[Connection]) -> None:
        """One more measurement, and all that its lines have seen."""
        self.times.append(times)
        for side, line in enumerate(lines):
            self.asked[side] += line.asked
            self.errors[side] += line.errors
            self.said[side] = self.said[side] or line.said


def verdicts(measured: Measured, limits: Limits, *, seed: int) -> tuple[list[Check], list[RatioInterval]]:
    """Answers first: a head that answers badly is a no, a base that does cannot be compared with. Then the bands. Pure."""
    checks = []
    for side, name, no in ((0, "base", None), (1, "head", False)):
        wrong, of = measured.errors[side], measured.asked[side]
        value = f"{wrong} of {of} requests: {measured.said[side]}" if wrong else 0
        checks.append(Check(name=f"errors of the {name}", value=value, limit="0", ok=no if wrong else True))
    enough = measured.rounds >= limits.min_rounds
    checks.append(Check(name="rounds", value=measured.rounds, limit=f"≥ {limits.min_rounds}", ok=enough or None))
    found = (
        latency_statistics.bootstrap_ratios(measured.times, limits, seed=seed)
        if enough and not any(measured.errors)
        else []
    )
    return [*checks, *latency_statistics.judge(found, limits)], found


def measure(measured: Measured, services: Sequence[Server], rows: Rows, limits: Limits, *, seconds: float) -> None:
    """Ask both services the same rows in turns, after a warm-up that does not count.

    The head is asked its own rows when its contract is another and it refuses the base's.
    """
    plans = [Plan.of(rows.base), Plan.of(rows.base)]
    with latency_services.pin_cpus(services), latency_client.lines([service.port for service in services]) as lines:
        if rows.head and latency_client.refused(lines[1], plans[1]):
            plans[1], measured.own_rows = Plan.of(rows.head), True
        block = latency_client.warm(lines, plans, seconds=limits.warm_seconds, block_ms=limits.block_ms)
        measured.block = measured.block or block
        with latency_services.record_other_cpu(services, measured.others):
            found = latency_client.measure_rounds(lines, plans, seconds=seconds, block=measured.block)
        measured.add(found, lines)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What is asked: the golden rows of the base; the head's own, only where its contract is another."""

    base: Sequence[Any]
    head: Sequence[Any] = ()

    @classmethod
    def of(cls, two: Sequence[Side]) -> Rows:
        """Read from the folders of both."""
        base, head = ([each["row"] for each in files.read_json(side.folder / package.GOLDEN)] for side in two)
        other = latency_services.contract(two[0].folder) != latency_services.contract(two[1].folder)
        return cls(base=base, head=head if other else ())


def compared(two: Sequence[Side], limits: Limits, *, name: str, seed: int, root: Path) -> Measured:
    """Build both, and let them compete."""
    bentos = latency_services.built(two, name=name)
    if faults := missing(two, bentos):
        return Measured(checks=faults)
    whole = [bento for bento in bentos if isinstance(bento, Path)]
    if not (rows := Rows.of(two)).base:
        return Measured(checks=[Check(name="golden rows of the base", value=0, limit="≥ 1", ok=None)])
    return compete(two, whole, rows, limits, seed=seed, root=root)


def compete(
    two: Sequence[Side], bentos: Sequence[Path], rows: Rows, limits: Limits, *, seed: int, root: Path
) -> Measured:
    """Start, measure, judge; what is no yes is measured again, with both started anew, and judged by all of it.

    Two processes of the same code differ by a percent or two, by where their memory lies: a no must outlive that.
    """
    measured = Measured()
    for seconds in (limits.seconds, *[limits.again_seconds] * (limits.starts_at_most - 1)):
        with latency_services.serving(two, bentos, root=root) as services:
            if faults := missing(two, services):
                measured.checks = faults
                break
            running = [service for service in services if isinstance(service, Server)]
            measure(measured, running, rows, limits, seconds=seconds)
        measured.checks, measured.bands = verdicts(measured, limits, seed=seed)
        if any(measured.errors) or told(measured):
            break
    return measured


def told(measured: Measured) -> bool:
    """Whether more would tell no more: a yes, or a no over two starts."""
    said = {check.ok for check in measured.checks}
    return said == {True} or (False in said and len(measured.times) > 1)


def missing(two: Sequence[Side], found: Sequence[object]) -> list[Check]:
    """A check for each side that is an error."""
    return [fault(side.name, one) for side, one in zip(two, found, strict=True) if isinstance(one, SlipwayError)]


def fault(side: str, error: SlipwayError) -> Check:
    """Without the head's service it is a no, without the base's unsure."""
    ok = False if side == "head" else None
    said = " ".join(str(error).split())[-TOLD:]
    return Check(name=f"service of the {side}", value=said, limit="is built, starts, answers", ok=ok)


def run(params: config.Params, *, base: str | None = None, root: Path = Path()) -> str:
    """The service of this working tree against its base's → reports/latency.json; exit 4 when slower, 5 when unsure.

    The base is the commit at which the change left `base`. Where their files are the same, nothing is measured.
    """
    started, root = time.monotonic(), root.resolve()
    (root / VERDICT).unlink(missing_ok=True)
    head = git.commit(root=root)
    fork = git.merge_base(git.base_commit(base, root=root), head, root=root)
    limits, moved = latency_statistics.limits_at_base(fork, root=root)
    with latency_services.checkout(fork, root=root) as tree:
        differing, found = against(tree, limits, params, root=root)
    notes = {"base": fork, "limits_changed": moved, "differing": differing, **described(found)}
    verdict = Verdict(chapter="latency", checks=found.checks, rows=sum(found.asked), seconds=time.monotonic() - started,
                      inputs={"commit": head, "base": fork}, notes=notes)  # fmt: skip
    verdict.write(root / VERDICT)
    verdict.enforce(hint=hint(found))
    return sentence(found) or str(found.checks[0].value)


def hint(found: Measured) -> str:
    """Where to look, and how busy the machine was."""
    return HINT + (f"; others used {max(found.others):.0%} of the processors meanwhile" if found.others else "")


def against(tree: Path | None, limits: Limits, params: config.Params, *, root: Path) -> tuple[list[str], Measured]:
    """The files in which the services differ, and what was found; a base that cannot be restored leaves it unsure."""
    if tree is None:
        return [], Measured(checks=[same("the base has no service", ())])  # no gate: nothing to compare
    try:
        latency_services.fetch_missing_outputs(tree, root=root)
        if not (differing := latency_services.differing(tree, root)):
            return [], Measured(checks=[same(EQUAL, differing)])  # no gate: nothing to compare
        two = latency_services.sides(tree, root=root)
    except Inconclusive as error:
        return [], Measured(checks=[fault("base", error)])
    return differing, compared(two, limits, name=params.track.model, seed=params.seed, root=root)


def same(said: str, differing: Sequence[str]) -> Check:
    """The check where there is nothing to compare: said, and no silence."""
    return Check(name="service", value=said, limit="nothing to compare", ok=not differing)  # no gate: nothing differs


def described(found: Measured) -> dict[str, Any]:
    """What a page needs: the table of percentiles, and how it was measured."""
    table = [[b.name, b.base_ms, b.head_ms, b.more, b.low, b.high, b.most] for b in found.bands]
    return {"table": table, "own_rows": found.own_rows, "rounds": found.rounds, "starts": len(found.times),
            "others": [round(share, 3) for share in found.others]}  # fmt: skip


def sentence(found: Measured) -> str:
    """The first percentile in words; empty when nothing was measured."""
    said = (f"not slower than the base: {b.name} {b.base_ms:.3f} → {b.head_ms:.3f} ms, "
            f"{b.more:+.1%} [{b.low:+.1%}, {b.high:+.1%}]" for b in found.bands)  # fmt: skip
    return next(said, "")
