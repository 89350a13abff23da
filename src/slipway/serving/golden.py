"""Golden requests: rows kept with the answers of their model, asked again of whoever serves it.

Imports only the standard library beside our own, for the gate in a cluster asks them too.
"""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from slipway.core.verdict import Check
from slipway.errors import SlipwayError

TIMEOUT_SECONDS = 30.0


def replay(host: str, golden: Sequence[dict[str, Any]], *, tolerance: float) -> Check:
    """POST the golden rows to `host`, together and one by one: the largest difference to their kept answers.

    Nothing to ask is unsure; no answer, or one that is no prediction, is a no.
    """
    name, limit = "golden requests through the bento", f"≤ {tolerance:g}"
    if not golden:
        return Check(name=name, value=None, limit=limit, ok=None)
    kept = [float(each["prediction"]) for each in golden]
    try:
        together = predictions(host, [each["row"] for each in golden])
        alone = [predictions(host, each["row"])[0] for each in golden]
    except SlipwayError as error:
        return Check(name=name, value=str(error), limit=limit, ok=False)
    worst = max(_apart(found, is_) for found, is_ in zip((*together, *alone), kept * 2, strict=True))
    return Check(name=name, value=worst if worst < math.inf else "no number", limit=limit, ok=worst <= tolerance)


def predictions(host: str, rows: Any) -> list[float | None]:
    """What `host` predicts for a list of rows, or for one row; SlipwayError tells why there is no answer."""
    status, body = call(host, "/predict", json.dumps(rows).encode())
    try:
        answer = json.loads(body)
        if status != http.client.OK:
            raise SlipwayError(f"status {status}: {answer['errors'][0]['message']}")
        found = answer["predictions"] if isinstance(rows, list) else [answer["prediction"]]
        if len(found) != (len(rows) if isinstance(rows, list) else 1):
            raise SlipwayError(f"{len(found)} answers")
    except (ValueError, KeyError, TypeError, IndexError):
        raise SlipwayError(f"status {status}, and no answer of ours") from None
    return list(found)


def call(host: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own (POST with a body); SlipwayError when `host` is silent."""
    parts = urlsplit(host)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        with closing(kind(parts.netloc, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request("POST" if body else "GET", path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise SlipwayError(f"{host} does not answer: {error or type(error).__name__}") from None


def _apart(found: float | None, kept: float) -> float:
    """The distance; infinite from what is no number (the service says null for NaN)."""
    return abs(found - kept) if isinstance(found, int | float) and math.isfinite(found) else math.inf
