"""The load test: Locust sends requests on a schedule, and the samples are judged against `loadtests/slo.yaml`.

Imports only what `requirements/load.lock` has: the load gate's image runs it.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from slipway.core import environment, files
from slipway.core.process import require_alive
from slipway.core.verdict import Check, Verdict
from slipway.errors import ConfigError, Inconclusive
from slipway.loadtest.generator_health import Generator, percent, percentile
from slipway.loadtest.generator_health import checks as generator_checks
from slipway.loadtest.slo import PATH, Endpoint, Schedule, Slo, read

LOCUSTFILE = Path("loadtests/locustfile.py")
CONTRACT = Path("models/contract.json")
VERDICT = Path("reports/load.json")
GRACE_SECONDS = 30.0
"""Time to wait for late responses after the end of the schedule."""
CONNECT_SECONDS = 5.0
"""Longest for the first connection, before the schedule starts."""


class Sample(NamedTuple):
    """One request: endpoint, scheduled moment (s), time from that moment to the response (ms), and whether it succeeded.

    `tries` is the number of times it was sent: more than one only when `measure` was called with retries.
    `error` is the reason of its failure.
    """

    endpoint: str
    intended: float
    latency_ms: float
    ok: bool
    tries: int = 1
    error: str = ""


class Measurement(NamedTuple):
    """The result of one run against `host`: one sample per request, and the generator's own use of time."""

    samples: Sequence[Sample]
    generator: Generator
    host: str = ""


def judge(
    measured: Measurement, slo: Slo, schedule: Schedule, *, bento_sha256: str | None = None, seconds: float = 0.0
) -> Verdict:
    """Check every endpoint, the achieved rate and the generator; too few measurements are unsure, never a pass.

    Latencies are those of successful requests; failed requests count as errors. With a busy or starved generator only
    the errors are judged and latencies are unsure. `bento_sha256` is the hash of what was tested, stored as evidence.
    """
    samples, generator = measured.samples, generator_checks(measured.generator, slo.generator)
    reliable = all(check.ok for check in generator)
    checks = [_achieved_rate(samples, slo, schedule), *generator]
    for name, limits in slo.endpoints.items():
        own = [sample for sample in samples if sample.endpoint == name]
        checks += _endpoint(name, own, limits, measured.host, reliable=reliable)
    return Verdict(
        chapter="load", checks=checks, rows=len(samples), seconds=seconds, inputs={"bento_sha256": bento_sha256}
    )


def _achieved_rate(samples: Sequence[Sample], slo: Slo, schedule: Schedule) -> Check:
    """Responses per second, from the schedule's start to the last response, as a ratio of the scheduled rate."""
    seconds = max([schedule.seconds, *(sample.intended + sample.latency_ms / 1000 for sample in samples)])
    ratio = len(samples) / seconds / schedule.rate
    enough = ratio >= slo.achieved_ratio_at_least
    limit = f"≥ {percent(slo.achieved_ratio_at_least)} of them"
    text = f"The service answered {percent(ratio)} of the scheduled {schedule.rate:g} requests per second"
    return Check(name="achieved rate", value=round(ratio, 4), limit=limit, ok=True if enough else None, text=text)


def _endpoint(name: str, samples: Sequence[Sample], limits: Endpoint, host: str, *, reliable: bool) -> list[Check]:
    """Check one endpoint. Below `min_requests` all of it is unsure; unless `reliable`, its latencies are."""
    enough = len(samples) >= limits.min_requests
    requests = Check(
        name=f"{name} requests",
        value=len(samples),
        limit=f"≥ {limits.min_requests:,}",
        ok=True if enough else None,
        text=f"{len(samples):,} requests were sent to {name}",
    )
    if not samples:
        return [requests]
    checks = [requests, _errors(name, samples, limits.errors_at_most, host, sure=enough)]
    latencies = [sample.latency_ms for sample in samples if sample.ok]
    for share, limit_ms in (
        (50, limits.p50_ms_at_most),
        (95, limits.p95_ms_at_most),
        (99, limits.p99_ms_at_most),
    ):
        if limit_ms is not None:
            value = percentile(latencies, share / 100)
            ok = None if value is None or not enough or not reliable else value <= limit_ms
            text = f"p{share} of {name} is {value:.4g} ms" if value is not None else f"No request to {name} succeeded"
            checks.append(Check(name=f"{name} p{share}_ms", value=value, limit=f"≤ {limit_ms:g} ms", ok=ok, text=text))
    return checks


def _errors(name: str, samples: Sequence[Sample], limit: float, host: str, *, sure: bool) -> Check:
    """Check the share of failed requests; the sentence has the most frequent reason."""
    failed = [sample for sample in samples if not sample.ok]
    share, reasons = len(failed) / len(samples), Counter(sample.error for sample in failed if sample.error)
    text = f"{percent(share)} of {len(samples):,} requests failed" if failed else "No request failed"
    if reasons:
        text += f" ({reasons.most_common(1)[0][0]}{f' at {host}' if host else ''})"
    ok = share <= limit if sure else None
    return Check(name=f"{name} errors", value=share, limit=f"≤ {percent(limit)} of the requests", ok=ok, text=text)


def measure(
    slo: Slo,
    schedule: Schedule,
    host: str,
    *,
    root: Path,
    contract: Path | None = None,
    seed: int = 0,
    retries: int = 0,
) -> Measurement:
    """Run Locust against `host` on `schedule`; Inconclusive with the end of Locust's output when there are no samples.

    `root` holds the locustfile and, unless `contract` names another file, models/contract.json. A failed request is sent
    again up to `retries` times, to measure what clients notice while pods are replaced; gates never retry.
    """
    shares = {name: each.share for name, each in slo.endpoints.items()}
    plan = {**schedule.model_dump(), "seed": seed, "retries": retries, "shares": shares}
    users = str(schedule.users)
    with files.scratch_folder("slipway-load-") as scratch:
        results, log = scratch / "samples.json", scratch / "log"
        # Locust splits the option at commas, which a folder's name may have.
        (scratch / LOCUSTFILE.parent).symlink_to((root / LOCUSTFILE).parent.absolute())
        command = [
            sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless", "--only-summary",
            "--host", host, "--users", users, "--spawn-rate", users, "--stop-timeout", "0",
            "--run-time", f"{math.ceil(schedule.seconds + 1 + GRACE_SECONDS)}s",
            "--contract", str((contract or root / CONTRACT).absolute()),
            "--plan", json.dumps(plan), "--samples", str(results),
        ]  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=scratch,
                env=environment.for_programs(root),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                process.wait()
            finally:
                process.kill()
                process.wait()
        if not results.exists():
            require_alive("locust", process.returncode)
            tail = log.read_text(encoding="utf-8", errors="replace").strip()[-1500:]
            if number := files.disk_error_in(tail):
                raise files.cannot_write(scratch, number, by="locust")
            raise Inconclusive(
                f"load: Locust stopped without a result; the end of its output:\n{tail}",
                hint="correct what Locust reports; `make setup` installs it, `make repro` makes the requests' rows",
            )
        record = json.loads(results.read_text(encoding="utf-8"))
        return Measurement([Sample(*row) for row in record["samples"]], Generator(**record["generator"]), host)


def require_connection(host: str) -> None:
    """ConfigError when `host` is not an address, or nothing accepts a connection there: no schedule is worth waiting for."""
    try:
        address = urlsplit(host)
        port = address.port or {"http": 80, "https": 443}[address.scheme]
        socket.create_connection((address.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except (ValueError, KeyError):
        raise ConfigError(f"load: --host is {host!r}", expected="an address such as http://127.0.0.1:3000") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"load: nothing answers at {host} ({reason})",
            hint="start the service with `slipway serve`, or name its address with --host",
        ) from None


def run(host: str, *, of: str | None = None, root: Path = Path()) -> str:
    """Load-test `host` → reports/load.json, and return a summary; CheckFailed when the SLO is missed, Inconclusive when unsure.

    `of` is the hash of the bento or image under test, stored as evidence.
    """
    root, started = root.resolve(), time.monotonic()
    objective = read(root / PATH)
    if not (root / CONTRACT).exists():
        raise ConfigError(f"{CONTRACT} does not exist, and the requests are made from it", hint="run `make repro`")
    require_connection(host)
    schedule = objective.schedules["machine"]
    measured = measure(objective, schedule, host, root=root)
    verdict = judge(measured, objective, schedule, bento_sha256=of, seconds=time.monotonic() - started)
    verdict.write(root / VERDICT)
    verdict.enforce(hint=_next_step(verdict, measured, host))
    values: dict[str, Any] = {check.name: check.value for check in verdict.checks}
    p95_ms = max(value for name, value in values.items() if name.endswith("p95_ms"))
    return f"{verdict.rows:,} requests at {schedule.rate:g}/s, p95 {p95_ms:.1f} ms, all within {PATH}"


def _next_step(verdict: Verdict, measured: Measurement, host: str) -> str:
    """The hint for a verdict that is not a pass."""
    if measured.samples and not any(sample.ok for sample in measured.samples):
        return f"no request succeeded: check that the service at {host} is still running, and read its log"
    if any(check.name.startswith("generator") and not check.ok for check in verdict.checks):
        return (
            "the load generator was short of CPU, so its latencies are not reliable: close other programs, run it again"
        )
    if verdict.word == "unsure":
        return f"the run was too short or too slow to judge: run it again, or correct the schedule in {PATH}"
    return f"make the service faster or more reliable, or change the objective in {PATH}; all values are in {VERDICT}"
