"""`latency`: check that a change does not make the service slower than its base, both measured on this machine.

A change is refused only if the whole interval lies above the tolerance in two starts of both services. While the
result is unsure, both are started and measured again, up to a limit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.core import config, git
from slipway.core.verdict import Check, Verdict
from slipway.errors import Inconclusive, SlipwayError
from slipway.judging import latency_client, latency_services, latency_statistics
from slipway.judging.latency_client import ONE, Connection, Plan, Times
from slipway.judging.latency_services import Side
from slipway.judging.latency_statistics import Limits, RatioInterval
from slipway.packaging import package
from slipway.serving import golden
from slipway.serving.local_server import Server

VERDICT = Path("reports/latency.json")
MESSAGE_LENGTH = 400
"""Characters kept of an error's end, which names the cause."""
EQUAL = "the service is the same as the base's: none of its files differ"
HINT = "docs/fix/latency.md explains each message"


@dataclass
class Measurement:
    """The measurements of all starts so far.

    `times` has milliseconds by kind, one entry per start. `requests`, `errors` and `first_errors` are by side, the
    base's first. `own_rows`: the head was measured with its own rows. `others`: share of the processors that other
    programs used, by start.
    """

    times: list[Times] = field(default_factory=list)
    block: int = 0
    requests: list[int] = field(default_factory=lambda: [0, 0])
    errors: list[int] = field(default_factory=lambda: [0, 0])
    first_errors: list[str] = field(default_factory=lambda: ["", ""])
    own_rows: bool = False
    others: list[float] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    intervals: list[RatioInterval] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """The number of complete rounds."""
        return sum(len(times[ONE]) for times in self.times)

    def add(self, times: Times, connections: Sequence[Connection]) -> None:
        """Add the times of one start, and the counts of its connections."""
        self.times.append(times)
        for side, connection in enumerate(connections):
            self.requests[side] += connection.requests
            self.errors[side] += connection.errors
            self.first_errors[side] = self.first_errors[side] or connection.first_error


def judge(measurement: Measurement, limits: Limits, *, seed: int) -> tuple[list[Check], list[RatioInterval]]:
    """Checks of a measurement, and its intervals, which need enough rounds and no errors.

    Errors of the head fail. Errors of the base leave it unsure: there is nothing to compare with.
    """
    checks = []
    for side, name, failed in ((0, "base", None), (1, "head", False)):
        errors, requests = measurement.errors[side], measurement.requests[side]
        value = f"{errors} of {requests} requests: {measurement.first_errors[side]}" if errors else 0
        text = f"{errors} of {requests:,} requests to the {name} failed"
        text += f" (the first error: {measurement.first_errors[side]})" if errors else "."
        limit = "0 failed requests"
        checks.append(
            Check(name=f"errors of the {name}", value=value, limit=limit, ok=failed if errors else True, text=text)
        )
    enough = measurement.rounds >= limits.min_rounds
    checks.append(Check(name="rounds", value=measurement.rounds, limit=f"≥ {limits.min_rounds}", ok=enough or None,
                        text=f"{measurement.rounds} rounds of requests were measured."))  # fmt: skip
    intervals = (
        latency_statistics.bootstrap_ratios(measurement.times, limits, seed=seed)
        if enough and not any(measurement.errors)
        else []
    )
    return [*checks, *latency_statistics.judge(intervals, limits)], intervals


def measure(
    measurement: Measurement, services: Sequence[Server], rows: Rows, limits: Limits, *, seconds: float
) -> None:
    """Add a measurement of both services with the same rows, after a warm-up that is not recorded.

    The head gets its own rows when its contract is another and it refuses one of the base's rows.
    """
    plans = [Plan.of(rows.base), Plan.of(rows.base)]
    ports = [service.port for service in services]
    with latency_services.pin_cpus(services), latency_client.connect(ports) as connections:
        if rows.head and latency_client.count_refused(connections[1], plans[1]):
            plans[1], measurement.own_rows = Plan.of(rows.head), True
        block = latency_client.warm_up(connections, plans, seconds=limits.warm_seconds, block_ms=limits.block_ms)
        measurement.block = measurement.block or block
        with latency_services.record_other_cpu(services, measurement.others):
            times = latency_client.measure_rounds(connections, plans, seconds=seconds, block=measurement.block)
        measurement.add(times, connections)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows that are sent: the base's golden rows; `head` has the head's own, only when its contract is another."""

    base: Sequence[Any]
    head: Sequence[Any] = ()

    @classmethod
    def of(cls, two: Sequence[Side]) -> Rows:
        """Read them from the folders of both sides."""
        base, head = ([each["row"] for each in golden.read(side.folder / package.GOLDEN)] for side in two)
        same = latency_services.input_schema(two[0].folder) == latency_services.input_schema(two[1].folder)
        return cls(base=base, head=() if same else head)


def build_and_compare(two: Sequence[Side], limits: Limits, *, name: str, seed: int, root: Path) -> Measurement:
    """Build the bento of each side and compare their services."""
    built = latency_services.build_bentos(two, name=name)
    if faults := failed_services(two, built):
        return Measurement(checks=faults)
    return compare_bentos(two, [bento for bento in built if isinstance(bento, Path)], limits, seed=seed, root=root)


def compare_bentos(
    two: Sequence[Side], bentos: Sequence[Path], limits: Limits, *, seed: int, root: Path
) -> Measurement:
    """Compare the services of two bentos with the golden rows; unsure when the base has none."""
    if not (rows := Rows.of(two)).base:
        text = "The base has no golden requests to send"
        return Measurement(checks=[Check(name="golden rows of the base", value=0, limit="≥ 1", ok=None, text=text)])
    return measure_until_conclusive(two, bentos, rows, limits, seed=seed, root=root)


def measure_until_conclusive(
    two: Sequence[Side], bentos: Sequence[Path], rows: Rows, limits: Limits, *, seed: int, root: Path
) -> Measurement:
    """Start and measure both services, again until the result is conclusive; all measurements are judged together.

    Two processes of the same code differ by a percent or two, because of their memory layout. So a change is refused
    only after a second start.
    """
    measurement = Measurement()
    for seconds in (limits.seconds, *[limits.again_seconds] * (limits.starts_at_most - 1)):
        with latency_services.run_services(two, bentos, root=root) as services:
            if faults := failed_services(two, services):
                measurement.checks = faults
                break
            running = [service for service in services if isinstance(service, Server)]
            measure(measurement, running, rows, limits, seconds=seconds)
        measurement.checks, measurement.intervals = judge(measurement, limits, seed=seed)
        if any(measurement.errors) or is_conclusive(measurement):
            break
    return measurement


def is_conclusive(measurement: Measurement) -> bool:
    """True when no further start is needed: every check passes, or one fails over two starts."""
    results = {check.ok for check in measurement.checks}
    return results == {True} or (False in results and len(measurement.times) > 1)


def failed_services(two: Sequence[Side], results: Sequence[object]) -> list[Check]:
    """A check for each side whose result is an error."""
    return [service_check(side.name, result) for side, result in zip(two, results, strict=True)
            if isinstance(result, SlipwayError)]  # fmt: skip


def service_check(side: str, error: SlipwayError) -> Check:
    """The check of a service that cannot run: fails for the head, unsure for the base."""
    ok = False if side == "head" else None
    message = " ".join(str(error).split())[-MESSAGE_LENGTH:]
    text = f"The service of the {side} could not be built or started: {message}"
    return Check(name=f"service of the {side}", value=message, limit="a service that answers", ok=ok, text=text)


def run(params: config.Params, *, base: str | None = None, root: Path = Path()) -> str:
    """Compare the service of this working tree with its base's → reports/latency.json; exit 4 when slower, 5 when unsure.

    The base is the commit at which the change left `base`. Nothing is measured when both services have the same files.
    """
    started, root = time.monotonic(), root.resolve()
    (root / VERDICT).unlink(missing_ok=True)
    head = git.commit_hash(root=root)
    fork = git.merge_base(git.base_commit(base, root=root), head, root=root)
    limits, limits_changed = latency_statistics.limits_at_base(fork, root=root)
    with latency_services.checkout(fork, root=root) as tree:
        differing, measurement = compare_with_base(tree, limits, params, root=root)
    notes = {"base": fork, "limits_changed": limits_changed, "differing": differing, **notes_of(measurement)}
    verdict = Verdict(chapter="latency", checks=measurement.checks, rows=sum(measurement.requests),
                      seconds=time.monotonic() - started, inputs={"commit": head, "base": fork}, notes=notes)  # fmt: skip
    verdict.write(root / VERDICT)
    verdict.enforce(hint=hint_for(measurement))
    return sentence(measurement) or str(measurement.checks[0].value)


def hint_for(measurement: Measurement) -> str:
    """The next step, and how busy the machine was."""
    busy = (
        f"; other programs used {max(measurement.others):.0%} of the processors during the measurement"
        if measurement.others
        else ""
    )
    return HINT + busy


def compare_with_base(
    tree: Path | None, limits: Limits, params: config.Params, *, root: Path
) -> tuple[list[str], Measurement]:
    """The files that differ between both services, and the measurement; unsure when the base cannot be restored."""
    if tree is None:
        no_base = nothing_to_compare("the base has no service to compare with", ())  # no gate: nothing to compare
        return [], Measurement(checks=[no_base])
    try:
        latency_services.fetch_missing_outputs(tree, root=root)
        if not (differing := latency_services.differing_files(tree, root)):
            return [], Measurement(checks=[nothing_to_compare(EQUAL, differing)])  # no gate: nothing to compare
        two = latency_services.make_sides(tree, root=root)
    except Inconclusive as error:
        return [], Measurement(checks=[service_check("base", error)])
    return differing, build_and_compare(two, limits, name=params.track.model, seed=params.seed, root=root)


def nothing_to_compare(reason: str, differing: Sequence[str]) -> Check:
    """The check that records the reason to measure nothing."""
    text = f"Nothing was measured: {reason}."
    return Check(
        name="service", value=reason, limit="nothing to compare", ok=not differing, text=text
    )  # no gate: nothing differs


def notes_of(measurement: Measurement) -> dict[str, Any]:
    """The verdict's notes: the table of percentiles, and how they were measured."""
    table = [[b.name, b.base_ms, b.head_ms, b.more, b.low, b.high, b.most] for b in measurement.intervals]
    return {"table": table, "own_rows": measurement.own_rows, "rounds": measurement.rounds, "starts": len(measurement.times),
            "others": [round(share, 3) for share in measurement.others]}  # fmt: skip


def sentence(measurement: Measurement) -> str:
    """The first percentile as a sentence; empty when nothing was measured."""
    if not measurement.intervals:
        return ""
    b = measurement.intervals[0]
    return (f"not slower than the base: {b.name} {b.base_ms:.3f} → {b.head_ms:.3f} ms, "
            f"{b.more:+.1%} (interval {b.low:+.1%} to {b.high:+.1%})")  # fmt: skip
