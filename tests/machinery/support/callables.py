"""The types of the fixtures `run` and `cli`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Run = Callable[..., str]
Cli = Callable[..., subprocess.CompletedProcess[str]]
