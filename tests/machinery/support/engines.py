"""The programs of `.ci/engines` that tests run beside the service: Prometheus, Alertmanager, an S3 server, Grafana's SDK."""

from __future__ import annotations

import os
import shutil

import pytest

from support.paths import ROOT

ENGINES = ROOT / ".slipway/engines"
FOLDERS = ("debian/usr/bin", "s3/bin", "grafana-sdk/bin")
"""Folders of `.slipway/engines` with programs; PATH comes first."""
OTHER_NAMES = {"alertmanager": "prometheus-alertmanager"}
"""Debian's name of a program."""


def find(name: str) -> str | None:
    """The path of the program `name`; None if it is neither on PATH nor installed by `.ci/engines`."""
    places = os.pathsep.join([os.environ.get("PATH", ""), *(str(ENGINES / folder) for folder in FOLDERS)])
    names = (name, OTHER_NAMES.get(name, name))
    return next((path for each in names if (path := shutil.which(each, path=places))), None)


def require(name: str) -> str:
    """The path of `prometheus`, `promtool`, `alertmanager`, `amtool`, `moto_server` or `grafana-sdk-python`.

    Without it the test is skipped, and fails with CI=true.
    """
    if path := find(name):
        return path
    absent = f"no {name} here; run: .ci/engines prometheus alertmanager s3 grafana-sdk"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{absent}; with CI=true this must be tested")
    pytest.skip(absent)
