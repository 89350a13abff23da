"""Golden requests: stored rows with the predictions of their model, sent again to a running service.

Imports only the standard library and other modules of Slipway: the load gate's image runs it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway.core import files
from slipway.core.verdict import Check
from slipway.errors import CheckFailed, SlipwayError
from slipway.serving.http_client import fetch


def read(path: Path, *, hint: str = "") -> list[dict[str, Any]]:
    """The golden requests in a file, a list of {"row", "prediction"}; DataError for a file of another form."""
    requests = files.read_json(path, kind=list, hint=hint)
    with files.parsing(path, hint=hint):
        return [{"row": dict(each["row"]), "prediction": float(each["prediction"])} for each in requests]


def replay(host: str, golden: Sequence[dict[str, Any]], *, tolerance: float) -> Check:
    """POST the golden rows to `host`, all in one request and one by one, and compare the answers with the stored ones.

    `golden` is a list of {"row", "prediction"}. The check's value is the largest difference. Without rows the check is
    unsure; a missing or malformed answer fails it.
    """
    name, limit = "golden requests through the bento", f"≤ {tolerance:g}"
    if not golden:
        return Check(name=name, value=None, limit=limit, ok=None)
    expected = [float(each["prediction"]) for each in golden]
    try:
        batch = predictions(host, [each["row"] for each in golden])
        singles = [predictions(host, each["row"])[0] for each in golden]
    except SlipwayError as error:
        text = f"A golden request got no prediction: {error}"
        return Check(name=name, value=str(error), limit=limit, ok=False, text=text)
    pairs = zip((*batch, *singles), expected * 2, strict=True)
    worst = max(_difference(answer, stored) for answer, stored in pairs)
    scale = " (relative to answers above 1)" if max(map(abs, expected)) > 1 else ""
    difference = f"by up to {worst:.2g}{scale}" if worst < math.inf else "in at least one answer that is not a number"
    text = f"The answers to {len(golden)} golden requests differ from the model's own {difference}"
    value = worst if worst < math.inf else "no number"
    return Check(name=name, value=value, limit=limit, ok=worst <= tolerance, text=text)


def predictions(host: str, rows: Any) -> list[float | None]:
    """POST a list of rows, or one row, to /predict of `host` and return its predictions.

    ConfigError when there is no answer, CheckFailed for an error status or a body of another shape.
    """
    status, body = fetch(host, "/predict", json.dumps(rows).encode())
    try:
        answer = json.loads(body)
        if status != 200:
            raise CheckFailed(f"POST /predict returned {status}: {answer['errors'][0]['message']}")
        values = answer["predictions"] if isinstance(rows, list) else [answer["prediction"]]
        if len(values) != (len(rows) if isinstance(rows, list) else 1):
            raise CheckFailed(f"POST /predict returned {len(values)} predictions for {len(rows)} rows")
    except (ValueError, KeyError, TypeError, IndexError):
        raise CheckFailed(f"POST /predict returned {status} with a body that is not of this service") from None
    return list(values)


def _difference(answer: float | None, stored: float) -> float:
    """The difference, relative above one; infinite when `answer` is not a finite number (the service sends null for NaN)."""
    return (
        abs(answer - stored) / max(1.0, abs(stored))
        if isinstance(answer, int | float) and math.isfinite(answer)
        else math.inf
    )
