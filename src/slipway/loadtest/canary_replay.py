"""Replays the same rows to two services at once, on a schedule, and keeps every answer; `canary` judges them.

The standard library's HTTP only: the gate's image has neither httpx nor Locust's patched sockets in this process.
"""

from __future__ import annotations

import http.client
import json
import math
import random
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

GRACE_SECONDS = 15.0
"""How long after the schedule's end late answers are waited for."""
GAP_SECONDS = 0.5
"""Between the realistic rows and the random ones: the metrics are read there."""
ANSWER_SECONDS = 5.0
BUCKET = re.compile(r'^slipway_prediction_bucket\{.*?le="([^"]+)".*?\} (\S+)$', re.M)
MODEL = re.compile(r'^slipway_model_info\{.*?model_sha256="([^"]*)".*?\} 1(?:\.0)?$', re.M)

Row = Mapping[str, Any]


class Answer(NamedTuple):
    """One request: how long after the moment it should have left it was answered (ms), with which status, saying what.

    `status` is None when nothing answered, `prediction` None when the answer holds no finite number.
    """

    latency_ms: float
    status: int | None
    prediction: float | None


@dataclass
class Side:
    """What one of the two services gave: an answer a row, and its own counts of predictions at three moments."""

    answers: list[Answer] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    """The text of /metrics before the realistic rows and after them; empty where it could not be read."""
    late_ms: list[float] = field(default_factory=list)
    """How late requests left that had no answer to wait for: this program's own doing."""

    def counted(self) -> list[tuple[float, float]] | None:
        """(upper edge, predictions counted up to it) over the realistic rows; None when it was not to be read."""
        texts = [{float(edge): float(n) for edge, n in BUCKET.findall(text)} for text in self.metrics]
        if len(texts) < 2 or not texts[1] or set(texts[0]) - set(texts[1]):
            return None
        return [(edge, texts[1][edge] - texts[0].get(edge, 0.0)) for edge in sorted(texts[1])]

    def models(self) -> set[str]:
        """SHA-256 of the models that it said to serve."""
        return {found for text in self.metrics for found in MODEL.findall(text)}


def recombined_rows(golden: Sequence[Row], count: int, rng: random.Random) -> list[Row]:
    """Rows that look like real ones and are not known beforehand: a golden row with an eighth of its values from another."""
    found: list[Row] = []
    for _ in range(count if golden else 0):
        one, other = rng.choice(golden), rng.choice(golden)
        names = rng.sample(sorted(one), max(1, len(one) // 8))
        found.append({**one, **{name: other[name] for name in names}})
    return found


def random_rows(contract: Row, count: int, rng: random.Random) -> list[Row]:
    """Rows that keep the contract and nothing else: any number within its limits, any known category, nulls."""
    nodes: Row = contract["inputs"]["properties"]
    return [
        {name: _value(node, contract["known"].get(name), rng) for name, node in nodes.items()} for _ in range(count)
    ]


def _value(node: Row, known: Sequence[str] | None, rng: random.Random) -> Any:
    """A random value that a node of the contract allows; a tenth are null where null is allowed."""
    kinds = node.get("anyOf", [node])
    kind = next(each for each in kinds if each.get("type") != "null")
    if len(kinds) > 1 and rng.random() < 0.1:
        return None
    if kind["type"] == "string":
        return rng.choice(known or node.get("examples") or ["x" * max(1, kind.get("minLength", 1))])
    low, high = kind.get("minimum", -1e6), kind.get("maximum", 1e6)
    return rng.randint(int(low), int(high)) if kind["type"] == "integer" else rng.uniform(low, high)


def send_schedule(count: int, realistic: int, rate: float) -> tuple[list[float], list[float]]:
    """When each row leaves for the one and for the other, in seconds: A-B-B-A, each `rate` a second."""
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
    """Send all rows to both, `rate` a second each, interleaved A-B-B-A; the first `realistic` ones look like real ones.

    A latency counts from the moment when the request should have left. `warm` requests before that count for nothing.
    One answer is waited for `answer` seconds, all of them for `grace` after the schedule's end.
    """
    bodies = [json.dumps(row).encode() for row in rows]
    together = threading.Barrier(2)
    sides, threads = (Side(), Side()), []
    for side, url, when in zip(sides, (stable, canary), send_schedule(len(rows), realistic, rate), strict=True):
        given = (side, _Caller(url, answer), bodies, when, realistic, warm, grace, together)
        threads.append(threading.Thread(target=_drive, args=given, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sides


def _drive(
    side: Side,
    caller: _Caller,
    bodies: list[bytes],
    when: list[float],
    realistic: int,
    warm: int,
    grace: float,
    together: threading.Barrier,
) -> None:
    """One service's half; after the schedule's end and its grace what is left counts as unanswered."""
    for body in bodies[:warm]:
        if caller.predict(body)[0] is None:
            break  # nobody there: waiting again would only use up the time
    together.wait()
    start = time.perf_counter() + GAP_SECONDS
    side.metrics.append(caller.metrics())
    last = start + (max(when) if when else 0.0) + grace
    for number, (body, after) in enumerate(zip(bodies, when, strict=True)):
        if number == realistic:
            side.metrics.append(caller.metrics())
        if time.perf_counter() > last:
            side.answers.append(Answer(math.inf, None, None))
            continue
        if (wait := start + after - time.perf_counter()) > 0:
            time.sleep(wait)
            side.late_ms.append((time.perf_counter() - start - after) * 1000)
        status, prediction = caller.predict(body)
        side.answers.append(Answer((time.perf_counter() - start - after) * 1000, status, prediction))
    if realistic >= len(bodies):
        side.metrics.append(caller.metrics())
    caller.close()


class _Caller:
    """One kept connection to one service, opened again where it broke."""

    def __init__(self, url: str, seconds: float) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=seconds)
        self._used = False

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def predict(self, body: bytes) -> tuple[int | None, float | None]:
        """POST /predict: the status, and the prediction."""
        status, text = self._ask("POST", "/predict", body)
        return status, _number(text) if status == http.client.OK else None

    def metrics(self) -> str:
        """GET /metrics; empty when there is no answer."""
        status, text = self._ask("GET", "/metrics")
        return text.decode("utf-8", "replace") if status == http.client.OK else ""

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int | None, bytes]:
        """Status and body, or None; a kept connection that the other end has closed meanwhile is opened once more."""
        again = self._used
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._used = False
            return self._ask(method, path, body) if again and isinstance(error, ConnectionError) else (None, b"")
        self._used = True
        return response.status, text


def _number(text: bytes) -> float | None:
    """The finite number that an answer of /predict holds."""
    try:
        value = json.loads(text)["prediction"]
    except (ValueError, KeyError, TypeError):
        return None
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None
