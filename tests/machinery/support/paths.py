"""Paths: the repository, the small problems, the recorded objects."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = Path(__file__).resolve().parent
PROBLEMS = SUPPORT.parent / "problems"
BIKES = PROBLEMS / "bikes"
OBJECTIVE = SUPPORT / "slo.yaml"
"""A slo.yaml with every section: the project's own numbers are the user's to change."""
RECORDED = SUPPORT / "applications"
"""Argo CD Applications as a cluster gave them."""
ACTIONS = SUPPORT / "actions"
"""Stand-ins for third-party GitHub actions."""
