"""Cut a release's seconds at the moments that its programs and the cluster's objects record.

A part is *waiting* when neither a program of ours nor one of the cluster's works for this release: somebody sleeps, or
polls, until it notices what is done already. All of Argo CD's noticing counts as waiting, whatever it does meanwhile; a
pod that serves already and whose probe has not asked yet waits; the load test is work, as the objective asks for it.
Kubernetes tells whole seconds: a moment may be up to a second early, and none is taken to lie before the one before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

INITIALIZED = "initialized"
"""In the last line that the service says before it answers."""


class Part(NamedTuple):
    """A part of a whole, in seconds."""

    name: str
    seconds: float
    waiting: bool = False


class Moment(NamedTuple):
    """When a part ended, and what kind it was."""

    name: str
    at: datetime
    waiting: bool = False


def parts(start: datetime, moments: Sequence[Moment]) -> list[Part]:
    """The time between a start and the last moment, cut at each; moments that were told too early move to the one before."""
    found, before = [], start
    for name, at, waiting in moments:
        end = max(at, before)
        found.append(Part(name, (end - before).total_seconds(), waiting))
        before = end
    return found


def whole(found: Sequence[Part]) -> float:
    """Seconds of all parts."""
    return sum(part.seconds for part in found)


def waited(found: Sequence[Part]) -> float:
    """The share of waiting."""
    return sum(part.seconds for part in found if part.waiting) / whole(found)


def told(text: str) -> datetime:
    """A moment as Kubernetes or a log writes it; more than microseconds are cut off."""
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(fraction or '0')[:6].ljust(6, '0')}").replace(tzinfo=UTC)


def condition(pod: Mapping[str, Any], kind: str) -> datetime:
    """When a condition of a pod last changed."""
    return next(told(one["lastTransitionTime"]) for one in pod["status"]["conditions"] if one["type"] == kind)


def container(pod: Mapping[str, Any], moment: str = "startedAt") -> datetime:
    """When a pod's only container started, or finished."""
    (state,) = pod["status"]["containerStatuses"][0]["state"].values()
    return told(state[moment])


def answers(log: str) -> datetime:
    """When a service was up, by the log of its pod with time stamps."""
    return next(told(line.split(" ", 1)[0]) for line in log.splitlines() if line.endswith(INITIALIZED))


def staged(pod: Mapping[str, Any], log: str, job: Mapping[str, Any], app: tuple[datetime, datetime]) -> list[Moment]:
    """A sync of staging: the service's pod, the pod of its load gate, and when the operation began and ended."""
    return [
        Moment("Argo CD notices the commit", app[0], waiting=True),
        Moment("renders, applies; pod scheduled", condition(pod, "PodScheduled")),
        Moment("pull and container", container(pod)),
        Moment("service starts", answers(log)),
        Moment("probe notices", condition(pod, "Ready"), waiting=True),
        Moment("Argo CD notices, starts the gate", told(job["metadata"]["creationTimestamp"]), waiting=True),
        Moment("gate's pull and container", container(job)),
        Moment("gate: replay, load, verdict", container(job, "finishedAt")),
        Moment("Argo CD notices the verdict", app[1], waiting=True),
    ]


class Sent(NamedTuple):
    """The results of a client: requests, how many failed, were sent twice, and were well after that; and how slow they were."""

    requests: int
    failed: int
    retried: int
    mended: int
    p95_ms: float
    p99_ms: float
    most_ms: float
    failures: Sequence[float]
    """Seconds after the schedule's start at which those that failed should have been sent."""


def sent(samples: Sequence[Sequence[Any]]) -> Sent:
    """Of the samples of `slipway.loadtest.load`: endpoint, intended moment, latency, ok, tries."""
    again = [row for row in samples if row[4] > 1]
    slow = sorted(row[2] for row in samples)
    return Sent(
        requests=len(samples), failed=sum(not row[3] for row in samples), retried=len(again),
        mended=sum(row[3] for row in again), p95_ms=at(slow, 0.95), p99_ms=at(slow, 0.99), most_ms=at(slow, 1.0),
        failures=[row[1] for row in samples if not row[3]],
    )  # fmt: skip


def at(values: Sequence[float], share: float) -> float:
    """A percentile of sorted values; infinite of none, so that no limit is held by nothing."""
    return values[math.ceil(share * len(values)) - 1] if values else math.inf
