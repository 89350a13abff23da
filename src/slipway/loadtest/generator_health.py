"""Check the load generator itself: a busy or starved one measures its own slowness, so its latencies are not reliable.

Imports only what `requirements/load.lock` has: the load gate's image runs it.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import Field

from slipway.core.strict_model import StrictModel
from slipway.core.verdict import Check


class Limits(StrictModel):
    """The section `generator` of slo.yaml: within these limits the generator's own part of a latency is negligible."""

    lag_ms_at_most: Annotated[float, Field(gt=0)]
    cpu_at_most: Annotated[float, Field(gt=0, le=1)]


class Generator(NamedTuple):
    """Locust's own use of time, from the first scheduled request to the last response.

    Of `seconds`, its one thread `ran` on a processor and `waited` for one: behind another process, or stopped by a
    container's CPU quota. `lags` are the delays (ms) of a greenlet that only sleeps, `late` those (ms) of requests whose
    sender was not waiting for a response. Neither contains delays by the service.
    """

    seconds: float
    ran: float
    waited: float
    lags: Sequence[float]
    late: Sequence[float]


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed; None without values."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else None


def checks(generator: Generator, limits: Limits) -> list[Check]:
    """Check that the generator had time to measure. Each check is ok or unsure, for it is not about the service."""
    lags = [
        value for value in (percentile(generator.lags, 0.99), percentile(generator.late, 0.99)) if value is not None
    ]
    busy = (generator.ran + generator.waited) / generator.seconds if generator.seconds > 0 else None
    return [
        lag(max(lags, default=None), limits),
        Check(
            name="generator CPU",
            value=None if busy is None else round(busy, 3),
            limit=f"≤ {limits.cpu_at_most:g} of the time on a processor or waiting for one",
            ok=True if busy is not None and busy <= limits.cpu_at_most else None,
        ),
    ]


def lag(p99_ms: float | None, limits: Limits) -> Check:
    """Check how late the sender wakes up, by the 99th percentile; unsure above the limit, or when nothing was measured."""
    limit_ms = limits.lag_ms_at_most
    ok = True if p99_ms is not None and p99_ms <= limit_ms else None
    value = None if p99_ms is None else round(p99_ms, 2)
    return Check(name="generator lag p99_ms", value=value, limit=f"≤ {limit_ms:g} ms", ok=ok)


def watch(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for Locust, with a progress bar on a terminal."""
    if not sys.stderr.isatty():
        process.wait()
        return
    from rich.progress import Progress  # not installed in the load gate's image, which has no terminal

    from slipway.core.console import stderr

    with Progress(console=stderr, transient=True) as progress:
        bar, started = progress.add_task("load", total=seconds + 2), time.monotonic()
        while process.poll() is None:
            progress.update(bar, completed=time.monotonic() - started)
            time.sleep(0.1)
