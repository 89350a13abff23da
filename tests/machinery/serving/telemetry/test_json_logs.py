from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from slipway.errors import ConfigError
from slipway.serving.telemetry import json_logs
from slipway.serving.telemetry.json_logs import JsonFormatter

PROGRAM = """
import logging, sys, warnings
own = logging.getLogger("uvicorn")
own.addHandler(logging.StreamHandler(sys.stderr))
own.propagate = False
from slipway.serving.telemetry import json_logs
json_logs.install({"SLIPWAY_LOG_FORMAT": sys.argv[1]}, "abc")
logging.getLogger("uvicorn.error").error("stopped %s", "ü", extra={"request_id": "r-1"})
warnings.warn("old", stacklevel=1)
"""


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("a.b", logging.ERROR, __file__, 1, "took %d\n", (3,), None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    made.__dict__.update(extra)
    return made


def test_line_has_time_level_and_ids() -> None:
    line = JsonFormatter("abc").format(record(request_id="r-1", trace_id="00ff"))
    assert json.loads(line) == {
        "at": "2023-11-14T22:13:20.250000Z", "level": "error", "logger": "a.b", "message": "took 3\n", "model": "abc",
        "request_id": "r-1", "trace_id": "00ff",
    }  # fmt: skip
    assert "\n" not in line


def test_traceback_stays_on_the_line() -> None:
    made = record()
    try:
        raise ValueError("no\nline break")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = JsonFormatter("abc").format(made)
    assert "ValueError: no\nline break" in json.loads(line)["error"]
    assert "\n" not in line


def test_other_loggers_write_the_same_format() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM, "json"], capture_output=True, text=True, check=True)
    first, second = map(json.loads, ended.stderr.splitlines())
    assert (first["message"], first["request_id"], first["logger"]) == ("stopped ü", "r-1", "uvicorn.error")
    assert (second["level"], second["logger"]) == ("warning", "py.warnings")


def test_text_stays_as_it_was() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM, "text"], capture_output=True, text=True, check=True)
    assert ended.stderr.startswith("stopped ü\n")


def test_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="SLIPWAY_LOG_FORMAT is 'xml'") as error:
        json_logs.install({"SLIPWAY_LOG_FORMAT": "xml"}, "abc")
    assert "text or json" in str(error.value)
