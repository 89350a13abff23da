"""`load`: Locust drives the service on a schedule, and the samples are judged against `loadtests/slo.yaml`.

Imports only what `requirements/load.lock` has, for the gate in a cluster runs it too.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from slipway.core import environment
from slipway.core.verdict import Check, Verdict
from slipway.errors import ConfigError, Inconclusive
from slipway.loadtest.generator_health import Generator, checks, percentile, watch
from slipway.loadtest.slo import PATH, Endpoint, Schedule, Slo, read

LOCUSTFILE = Path("loadtests/locustfile.py")
CONTRACT = Path("models/contract.json")
VERDICT = Path("reports/load.json")
GRACE_SECONDS = 30.0
"""How long after the schedule's end late answers are waited for."""


class Sample(NamedTuple):
    """One request: where, when it should have been sent (s), how long after that it was answered (ms), and whether well.

    `tries` is how often it was sent: more than once only where `measure` was told so.
    """

    endpoint: str
    intended: float
    latency_ms: float
    ok: bool
    tries: int = 1


class Measured(NamedTuple):
    """What one run gave: a sample a request, and the generator about itself."""

    samples: Sequence[Sample]
    generator: Generator


def judge(measured: Measured, slo: Slo, schedule: Schedule, *, of: str | None = None, seconds: float = 0.0) -> Verdict:
    """Every endpoint against its limits, the achieved rate, and the generator; too little measured is unsure, never a pass.

    Latencies are judged over the requests that were answered well; the others count as errors. Of a generator that was
    busy or starved only the errors are believed. `of` is the hash of what was under test, kept as evidence.
    """
    samples, own = measured.samples, checks(measured.generator, slo.generator)
    sure = all(check.ok for check in own)
    found = [_achieved(samples, slo, schedule), *own]
    for name, limits in slo.endpoints.items():
        found += _endpoint(name, [sample for sample in samples if sample.endpoint == name], limits, sure)
    return Verdict(chapter="load", checks=found, rows=len(samples), seconds=seconds, inputs={"bento_sha256": of})


def _achieved(samples: Sequence[Sample], slo: Slo, schedule: Schedule) -> Check:
    """Requests answered per second, from the schedule's start to the last answer, as a ratio of the rate."""
    lasted = max([schedule.seconds, *(sample.intended + sample.latency_ms / 1000 for sample in samples)])
    ratio = len(samples) / lasted / schedule.rate
    enough = ratio >= slo.achieved_ratio_at_least
    limit = f"≥ {slo.achieved_ratio_at_least:g} of {schedule.rate:g} requests/s"
    return Check(name="achieved rate", value=round(ratio, 4), limit=limit, ok=True if enough else None)


def _endpoint(name: str, samples: Sequence[Sample], limits: Endpoint, sure: bool) -> list[Check]:
    """Checks of one endpoint; with fewer than `min_requests` none of them says anything, and unless `sure` no latency."""
    enough = len(samples) >= limits.min_requests
    requests = Check(
        name=f"{name} requests",
        value=len(samples),
        limit=f"≥ {limits.min_requests}",
        ok=True if enough else None,
    )
    if not samples:
        return [requests]
    errors = sum(not sample.ok for sample in samples) / len(samples)
    found = [requests, _most(f"{name} errors", errors, limits.errors_at_most, "of the requests", enough)]
    well = [sample.latency_ms for sample in samples if sample.ok]
    for share, most in (
        (50, limits.p50_ms_at_most),
        (95, limits.p95_ms_at_most),
        (99, limits.p99_ms_at_most),
    ):
        if most is not None:
            found.append(_most(f"{name} p{share}_ms", percentile(well, share / 100), most, "ms", enough and sure))
    return found


def _most(name: str, value: float | None, most: float, unit: str, enough: bool) -> Check:
    ok = None if value is None or not enough else value <= most
    return Check(name=name, value=value, limit=f"≤ {most:g} {unit}", ok=ok)


def measure(
    slo: Slo,
    schedule: Schedule,
    host: str,
    *,
    root: Path,
    contract: Path | None = None,
    seed: int = 0,
    retries: int = 0,
) -> Measured:
    """Run Locust against `host` as the schedule says; what it measured, or Inconclusive with the end of what Locust said.

    `root` holds the locustfile and, where `contract` names no other, models/contract.json. A request that failed is sent
    again up to `retries` times: for who asks what a client sees while pods go. No gate does so.
    """
    shares = {name: each.share for name, each in slo.endpoints.items()}
    plan = {**schedule.model_dump(), "seed": seed, "retries": retries, "shares": shares}
    users = str(schedule.users)
    with tempfile.TemporaryDirectory(prefix="slipway-load-") as scratch:
        kept, said = Path(scratch) / "samples.json", Path(scratch) / "log"
        command = [
            sys.executable, "-m", "locust", "--locustfile", str(root / LOCUSTFILE), "--headless", "--only-summary",
            "--host", host, "--users", users, "--spawn-rate", users, "--stop-timeout", "0",
            "--run-time", f"{math.ceil(schedule.seconds + 1 + GRACE_SECONDS)}s",
            "--contract", str((contract or root / CONTRACT).absolute()),
            "--plan", json.dumps(plan), "--samples", str(kept),
        ]  # fmt: skip
        with said.open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=scratch,
                env=environment.for_programs(root),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
            try:
                watch(process, schedule.seconds)
            finally:
                process.kill()
                process.wait()
        if not kept.exists():
            tail = said.read_text(encoding="utf-8", errors="replace").strip()[-1500:]
            raise Inconclusive(
                f"load: locust kept no samples; it said:\n{tail}",
                hint="is the service up? is locust installed?",
            )
        found = json.loads(kept.read_text(encoding="utf-8"))
        return Measured([Sample(*row) for row in found["samples"]], Generator(**found["generator"]))


def run(host: str, *, of: str | None = None, root: Path = Path()) -> str:
    """Drive and judge `host` → reports/load.json; exit 4 when the SLO is missed, 5 when too little was measured.

    `of` is the hash of the bento or image under test, kept as evidence.
    """
    root, started = root.resolve(), time.monotonic()
    objective = read(root / PATH)
    if not (root / CONTRACT).exists():
        raise ConfigError(f"{CONTRACT} does not exist: the requests are made from it", hint="run `make repro`")
    schedule = objective.schedules["machine"]
    measured = measure(objective, schedule, host, root=root)
    verdict = judge(measured, objective, schedule, of=of, seconds=time.monotonic() - started)
    verdict.write(root / VERDICT)
    verdict.enforce(hint=f"see {VERDICT} and {PATH}")
    found: dict[str, Any] = {check.name: check.value for check in verdict.checks}
    worst = max(value for name, value in found.items() if name.endswith("p95_ms"))
    return f"{verdict.rows:,} requests at {schedule.rate:g}/s, p95 {worst:.1f} ms, all within the SLO"
