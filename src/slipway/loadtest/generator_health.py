"""The load generator about itself: a busy or starved one measures its own slowness, so what it says of the service is unsure.

Imports only what `requirements/load.lock` has, for the gate in a cluster runs it too.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from slipway.core.verdict import Check


class Limits(BaseModel):
    """The section `generator` of slo.yaml: up to here the generator's own share of a latency may be forgotten."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    lag_ms_at_most: Annotated[float, Field(gt=0)]
    cpu_at_most: Annotated[float, Field(gt=0, le=1)]


class Generator(NamedTuple):
    """What Locust's one thread did itself between the first intended moment and the last answer, in seconds and milliseconds.

    `ran` is on a processor, `waited` for one: for another process, or until a container's quota let it go on. `lags` are
    of a greenlet that only sleeps, `late` of sends whose sender had nothing to wait for: what a slow service delays is in
    neither of them.
    """

    seconds: float
    ran: float
    waited: float
    lags: Sequence[float]
    late: Sequence[float]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed; None of nothing."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else None


def checks(of: Generator, limits: Limits) -> list[Check]:
    """Whether the generator had time to measure; each is ok or unsure, for it says nothing about the service."""
    worst = [value for value in (percentile(of.lags, 0.99), percentile(of.late, 0.99)) if value is not None]
    busy = (of.ran + of.waited) / of.seconds if of.seconds > 0 else None
    return [
        lag(max(worst, default=None), limits),
        Check(
            name="generator CPU",
            value=None if busy is None else round(busy, 3),
            limit=f"≤ {limits.cpu_at_most:g} of the time on a processor or waiting for one",
            ok=True if busy is not None and busy <= limits.cpu_at_most else None,
        ),
    ]


def lag(p99: float | None, limits: Limits) -> Check:
    """How late whoever sends wakes, the 99th percentile in ms; unsure above the limit, and where nothing was measured."""
    most = limits.lag_ms_at_most
    ok = True if p99 is not None and p99 <= most else None
    return Check(
        name="generator lag p99_ms", value=None if p99 is None else round(p99, 2), limit=f"≤ {most:g} ms", ok=ok
    )


def watch(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for Locust, with a progress bar on a terminal."""
    if not sys.stderr.isatty():
        process.wait()
        return
    from rich.console import Console  # not in the gate's image, where there is no terminal either
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar, started = progress.add_task("load", total=seconds + 2), time.monotonic()
        while process.poll() is None:
            progress.update(bar, completed=time.monotonic() - started)
            time.sleep(0.1)
