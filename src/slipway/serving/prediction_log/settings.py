"""Settings of the prediction log, from the environment of the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.errors import ConfigError

FOLDER, PER_MILLE, SALT = "SLIPWAY_LOG", "SLIPWAY_LOG_PER_MILLE", "SLIPWAY_LOG_SALT"
FILE_BYTES, FILE_SECONDS, TOTAL_BYTES = "SLIPWAY_LOG_FILE_BYTES", "SLIPWAY_LOG_FILE_SECONDS", "SLIPWAY_LOG_TOTAL_BYTES"
HINT = "docs/how-to/keep-a-prediction-log.md lists the settings"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Folder, sample and sizes of the log."""

    folder: Path
    per_mille: int = 1000
    """Of a thousand requests, how many are logged; the id of a request decides, so all its rows stay together."""
    file_bytes: int = 64 << 20
    """A file that has grown to this size is closed."""
    file_seconds: int = 300
    """A file of this age is closed, so that compaction and upload may take it."""
    total_bytes: int = 1 << 30
    """The oldest files are removed before the folder holds more than this."""
    salt: str = ""
    """Key of the hash of fields with `log: hash`."""


def read(variables: Mapping[str, str]) -> Settings | None:
    """Return the settings; None when SLIPWAY_LOG is unset or empty; ConfigError for a value that cannot be."""
    folder = variables.get(FOLDER, "")
    if not folder:
        return None
    file_bytes = _whole(variables, FILE_BYTES, Settings.file_bytes, 1 << 10, 1 << 40)
    return Settings(
        folder=Path(folder),
        per_mille=_whole(variables, PER_MILLE, Settings.per_mille, 0, 1000),
        file_bytes=file_bytes,
        file_seconds=_whole(variables, FILE_SECONDS, Settings.file_seconds, 1, 86_400),
        total_bytes=_whole(variables, TOTAL_BYTES, max(Settings.total_bytes, 2 * file_bytes), 2 * file_bytes, 1 << 50),
        salt=variables.get(SALT, ""),
    )


def _whole(variables: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = variables.get(name, "")
    if not text:
        return default
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not low <= value <= high:
        raise ConfigError(f"{name} is {text[:50]!r}", allowed=f"a whole number from {low:,} to {high:,}", hint=HINT)
    return value
