"""Structured logs: one JSON object a line on stderr, with the id of the request and the model."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import orjson

from slipway.errors import ConfigError

FORMAT = "SLIPWAY_LOG_FORMAT"
LOGGERS = ("bentoml", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "py.warnings")
"""Loggers that may have handlers of their own, which would write a second line in another format."""
FIELDS = ("request_id", "trace_id")
"""Fields that a log call may add with `extra=`."""


class JsonFormatter(logging.Formatter):
    """Formats a record as one line: at (UTC), level, logger, message, model, and request_id, trace_id, error if there are."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its line end."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "at": f"{stamp}.{record.msecs * 1000:06.0f}Z", "level": record.levelname.lower(), "logger": record.name,
            "message": record.getMessage(), "model": self._model,
        }  # fmt: skip
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None))}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def install(variables: Mapping[str, str], model: str) -> None:
    """Write the logs of this process as JSON if SLIPWAY_LOG_FORMAT is `json`; ConfigError for an unknown format."""
    value = variables.get(FORMAT, "")
    if value not in ("", "text", "json"):
        raise ConfigError(f"{FORMAT} is {value[:50]!r}", expected="text or json", value=value[:50])
    if value != "json":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(model))
    logging.captureWarnings(capture=True)
    logging.getLogger().handlers[:] = [handler]
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
