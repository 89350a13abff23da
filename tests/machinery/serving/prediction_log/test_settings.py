"""Settings of the prediction log: defaults, limits, messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import ConfigError
from slipway.serving.prediction_log import settings


def test_without_a_folder_there_is_no_log() -> None:
    assert settings.read({}) is None
    assert settings.read({"SLIPWAY_LOG": "", "SLIPWAY_LOG_PER_MILLE": "1001"}) is None


def test_a_folder_alone_logs_everything() -> None:
    assert settings.read({"SLIPWAY_LOG": "/log"}) == settings.Settings(folder=Path("/log"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PER_MILLE", "1001"), ("PER_MILLE", "-1"), ("PER_MILLE", "ten"), ("PER_MILLE", "9" * 30),
        ("FILE_BYTES", "10"), ("FILE_SECONDS", "0"), ("TOTAL_BYTES", "1000000"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"SLIPWAY_LOG_{name} is '{value}'.*allowed: a whole number from"):
        settings.read({"SLIPWAY_LOG": "/log", f"SLIPWAY_LOG_{name}": value})
