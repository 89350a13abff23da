"""The bikes problem, its source in the folder `source` of the project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bikes import problem

PROBLEM = replace(problem.PROBLEM, name="dirty", sources=lambda: Path("source"))
