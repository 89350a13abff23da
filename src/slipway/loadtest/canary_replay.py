"""Replay the same rows to two services on one schedule, and record every answer; `canary` judges them.

Imports only the standard library and other modules of Slipway: the load gate's image runs it.
"""

from __future__ import annotations

import json
import math
import random
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from slipway.errors import SlipwayError
from slipway.serving.http_client import HttpClient, Response

GRACE_SECONDS = 15.0
"""Time to wait for late answers after the end of the schedule."""
GAP_SECONDS = 0.5
"""Pause between the realistic rows and the random ones, in which the metrics are read."""
ANSWER_SECONDS = 5.0
"""Timeout of one request."""
BUCKET = re.compile(r'^slipway_prediction_bucket\{.*?le="([^"]+)".*?\} (\S+)$', re.M)
MODEL = re.compile(r'^slipway_model_info\{.*?model_sha256="([^"]*)".*?\} 1(?:\.0)?$', re.M)

Row = Mapping[str, Any]


class Answer(NamedTuple):
    """The answer to one request; its latency counts from the moment when the request should have left.

    `status` is None without an answer, `prediction` None when the answer has no finite number.
    """

    latency_ms: float
    status: int | None
    prediction: float | None


@dataclass
class Side:
    """The results of one of the two services: one answer per row, and its metrics."""

    answers: list[Answer] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    """The text of /metrics before and after the realistic rows; empty when it could not be read."""
    late_ms: list[float] = field(default_factory=list)
    """Delays of requests whose sender was not waiting for an answer: caused by this program, not by the service."""

    def counted(self) -> list[tuple[float, float]] | None:
        """Return (upper edge, predictions counted up to it) over the realistic rows; None when metrics are missing."""
        texts = [{float(edge): float(n) for edge, n in BUCKET.findall(text)} for text in self.metrics]
        if len(texts) < 2 or not texts[1] or set(texts[0]) - set(texts[1]):
            return None
        return [(edge, texts[1][edge] - texts[0].get(edge, 0.0)) for edge in sorted(texts[1])]

    def models(self) -> set[str]:
        """Return the SHA-256 of the models that the metrics name."""
        return {sha for text in self.metrics for sha in MODEL.findall(text)}


def recombined_rows(golden: Sequence[Row], count: int, rng: random.Random) -> list[Row]:
    """Make `count` realistic rows that are not golden ones: a golden row with an eighth of its values from another."""
    rows: list[Row] = []
    for _ in range(count if golden else 0):
        one, other = rng.choice(golden), rng.choice(golden)
        names = rng.sample(sorted(one), max(1, len(one) // 8))
        rows.append({**one, **{name: other[name] for name in names}})
    return rows


def random_rows(contract: Row, count: int, rng: random.Random) -> list[Row]:
    """Make `count` rows that are valid but not realistic: any number within its limits, any known category, nulls."""
    nodes: Row = contract["inputs"]["properties"]
    return [
        {name: _random_value(node, contract["known"].get(name), rng) for name, node in nodes.items()}
        for _ in range(count)
    ]


def _random_value(node: Row, categories: Sequence[str] | None, rng: random.Random) -> Any:
    """Return a random value that the node allows; a tenth are null where null is allowed."""
    kinds = node.get("anyOf", [node])
    kind = next(each for each in kinds if each.get("type") != "null")
    if len(kinds) > 1 and rng.random() < 0.1:
        return None
    if kind["type"] == "string":
        return rng.choice(categories or node.get("examples") or ["x" * max(1, kind.get("minLength", 1))])
    low, high = kind.get("minimum", -1e6), kind.get("maximum", 1e6)
    return rng.randint(int(low), int(high)) if kind["type"] == "integer" else rng.uniform(low, high)


def send_schedule(count: int, realistic: int, rate: float) -> tuple[list[float], list[float]]:
    """Return the seconds at which each row is sent to either service: in the order A-B-B-A, `rate` per second each."""
    step = 0.5 / rate
    base = [2 * row * step + (GAP_SECONDS if row >= realistic else 0.0) for row in range(count)]
    return [b + step * (row % 2) for row, b in enumerate(base)], [
        b + step * (1 - row % 2) for row, b in enumerate(base)
    ]


def replay_to_both(
    stable: str,
    canary: str,
    rows: Sequence[Row],
    *,
    realistic: int,
    rate: float,
    warm: int,
    answer: float = ANSWER_SECONDS,
    grace: float = GRACE_SECONDS,
) -> tuple[Side, Side]:
    """Send all rows to both services, `rate` per second each, in the order A-B-B-A; return what each of them returned.

    The first `realistic` rows are the realistic ones. `warm` requests before the schedule are not recorded. One request
    times out after `answer` seconds; `grace` seconds after the end of the schedule the rest counts as unanswered.
    """
    bodies = [json.dumps(row).encode() for row in rows]
    start_line = threading.Barrier(2)
    sides, threads = (Side(), Side()), []
    for side, url, when in zip(sides, (stable, canary), send_schedule(len(rows), realistic, rate), strict=True):
        args = (side, HttpClient(url, timeout_seconds=answer), bodies, when, realistic, warm, grace, start_line)
        threads.append(threading.Thread(target=_send_all, args=args, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sides


def _send_all(
    side: Side,
    client: HttpClient,
    bodies: list[bytes],
    when: list[float],
    realistic: int,
    warm: int,
    grace: float,
    start_line: threading.Barrier,
) -> None:
    """Send all rows to one service and record its answers in `side`."""
    for body in bodies[:warm]:
        if _predict(client, body)[0] is None:
            break  # no service: waiting again would only use up the time
    start_line.wait()
    start = time.perf_counter() + GAP_SECONDS
    side.metrics.append(_metrics(client))
    last = start + (max(when) if when else 0.0) + grace
    for number, (body, after) in enumerate(zip(bodies, when, strict=True)):
        if number == realistic:
            side.metrics.append(_metrics(client))
        if time.perf_counter() > last:
            side.answers.append(Answer(math.inf, None, None))
            continue
        if (wait := start + after - time.perf_counter()) > 0:
            time.sleep(wait)
            side.late_ms.append((time.perf_counter() - start - after) * 1000)
        status, prediction = _predict(client, body)
        side.answers.append(Answer((time.perf_counter() - start - after) * 1000, status, prediction))
    if realistic >= len(bodies):
        side.metrics.append(_metrics(client))
    client.close()


def _predict(client: HttpClient, body: bytes) -> tuple[int | None, float | None]:
    """POST /predict; return the status and the prediction."""
    response = _request(client, "POST", "/predict", body)
    return (response.status, _number(response.body) if response.ok else None) if response else (None, None)


def _metrics(client: HttpClient) -> str:
    """GET /metrics; return its text, empty without an answer."""
    response = _request(client, "GET", "/metrics")
    return response.body.decode("utf-8", "replace") if response and response.ok else ""


def _request(client: HttpClient, method: str, path: str, body: bytes | None = None) -> Response | None:
    try:
        return client.request(method, path, body)
    except SlipwayError:
        return None


def _number(text: bytes) -> float | None:
    """Return the finite number in a body of /predict; None when it has none."""
    try:
        value = json.loads(text)["prediction"]
    except (ValueError, KeyError, TypeError):
        return None
    finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if finite else None
