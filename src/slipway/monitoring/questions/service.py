"""Answer whether the service is within its objectives: enough requests answered, enough of them fast."""

from __future__ import annotations

import http.client
import json
import math
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from typing import Any

import polars as pl

from slipway.core.verdict import Check
from slipway.errors import ConfigError, Inconclusive
from slipway.loadtest.slo import Objectives
from slipway.monitoring.window import Answer
from slipway.observability import rules

TIMEOUT_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The requests of a window: all, those with a status from 500 on, and the answered ones that were too slow."""

    requests: int
    failed: int
    slow: int


def count(lines: pl.DataFrame, objectives: Objectives) -> Counts:
    """The counts of a frame of log lines: id, ms, status (null for an answer). The rows of one list are one request."""
    requests = lines.select("ms", "status", request=pl.col("id").str.splitn("/", 2).struct.field("field_0"))
    requests = requests.unique("request", keep="first")
    failed = requests["status"].is_not_null()
    slow = ~failed & (requests["ms"] > objectives.latency.within_ms)
    return Counts(requests=len(requests), failed=int(failed.sum()), slow=int(slow.sum()))


def ask(counts: Counts, objectives: Objectives, *, confidence: float, lost: int = 0) -> Answer:
    """The answer whether both objectives hold; `lost` is the number of lines that the service could not log."""
    answered = counts.requests - counts.failed
    parts = (
        ("availability", counts.failed, counts.requests, objectives.availability.at_least, "failed"),
        ("latency", counts.slow, answered, objectives.latency.at_least, f"took longer than {objectives.latency.within_ms:g} ms"),
    )  # fmt: skip
    checks = [_check(*part, confidence=confidence) for part in parts]
    budget = [_budget(*part[:4]) for part in parts]
    notes: dict[str, Any] = {"budget": budget, "requests": counts.requests, "lost": lost}
    return Answer(sentence=_sentence(checks, lost), checks=checks, rows=counts.requests, notes=notes)


def _check(name: str, bad: int, total: int, at_least: float, words: str, *, confidence: float) -> Check:
    """Fails when the share of bad requests is beyond the budget, and its interval too; undecided with too few requests."""
    allowed = 1 - at_least
    needed = math.ceil(1 / allowed - 1e-9)
    limit = f"≤ {allowed:.6g}"
    if total < needed:
        text = f"{total:,} requests are too few for {name}: with fewer than {needed:,} a single bad one would break it"
        return Check(name=name, value=None, limit=limit, ok=None, text=text)
    ratio, low = bad / total, _lower_bound(bad, total, confidence)
    ok = True if ratio <= allowed else False if low > allowed else None
    text = f"{bad:,} of {total:,} requests ({ratio:.3%}) {words}"
    return Check(name=name, value=round(ratio, 6), low=round(low, 6), high=None, limit=limit, ok=ok, text=text)


def _lower_bound(bad: int, total: int, confidence: float) -> float:
    """The lower end of Wilson's interval for a share (Wilson 1927, JASA 22, 209-212)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = bad / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, (middle - half) / (1 + z * z / total))


def _budget(name: str, bad: int, total: int, at_least: float) -> dict[str, Any]:
    """The objective, the share of bad requests that it allows, the measured one, and the share of the budget that is spent."""
    ratio = bad / total if total else 0.0
    allowed = 1 - at_least
    return {
        "objective": name,
        "allowed": round(allowed, 6),
        "bad_ratio": round(ratio, 6),
        "spent": round(ratio / allowed, 3),
    }


def _sentence(checks: list[Check], lost: int) -> str:
    more = f" The log lost {lost:,} lines." if lost else ""
    failed, unsure = ([check.text for check in checks if check.ok is word] for word in (False, None))
    if failed:
        return f"The service broke its objectives: {'; '.join(failed)}.{more}"
    if unsure:
        return f"Unsure: {'; '.join(unsure)}.{more}"
    return f"The service is within its objectives: {'; '.join(check.text for check in checks)}.{more}"


def from_prometheus(
    address: str, objectives: Objectives, routes: Sequence[str], start: datetime, end: datetime
) -> Counts:  # fmt: skip
    """The counts of a window by a running Prometheus; ConfigError for no web address, Inconclusive without an answer.

    The queries use the HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
    """
    route, seconds = f'route=~"{"|".join(routes)}"', int((end - start).total_seconds())
    queries = (
        f"slipway_requests_total{{{route}}}",
        f'slipway_requests_total{{{route}, status=~"5.."}}',
        f'slipway_request_seconds_bucket{{{route}, le="{rules.require_bucket(objectives)}"}}',
        f"slipway_request_seconds_count{{{route}}}",
    )
    requests, failed, fast, timed = (_ask(address, f"sum(increase({each}[{seconds}s]))", end) for each in queries)
    return Counts(requests=round(requests), failed=round(failed), slow=max(0, round(timed - fast)))


def _ask(address: str, query: str, at: datetime) -> float:
    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"monitor.prometheus is {address!r}", expected="an address, such as http://127.0.0.1:9090",
                          hint="edit monitor.prometheus in params.yaml")  # fmt: skip
    words = urllib.parse.urlencode({"query": query, "time": at.timestamp()})
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/api/v1/query?{words}", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            result = json.load(answer)["data"]["result"]
            value = float(result[0]["value"][1]) if result else 0.0
            if not math.isfinite(value):
                raise ValueError(f"it has {value} requests")
            return value
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException) as error:
        hint = "start it, or remove monitor.prometheus from params.yaml: the log has the requests, too"
        raise Inconclusive(f"Prometheus at {address} did not answer: {error}", hint=hint) from None
