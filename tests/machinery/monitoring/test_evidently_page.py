"""Evidently's page about a window, made in an environment of its own; installing it is only tried in CI."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from bikes.problem import PROBLEM

from slipway.core import config
from slipway.errors import ConfigError, DataError
from slipway.monitoring import evidently_page
from slipway.pipeline import features
from support.paths import ROOT

AT = datetime(2026, 3, 2, tzinfo=UTC)


def write_log(folder: Path, project: Path) -> Path:
    """A log with 200 rows of the project's features."""
    frame = pl.read_parquet(project / features.FRAME).head(200)
    head = {"v": 1, "at": f"{AT:%Y-%m-%dT%H:%M:%S.%fZ}", "model": "0" * 12, "problem": PROBLEM.name, "per_mille": 1000}
    rows = [{**head, "id": f"r-{n}", "ms": 1.0, "prediction": 5.0, "inputs": row}
            for n, row in enumerate(frame.select(list(PROBLEM.inputs.model_fields)).to_dicts())]  # fmt: skip
    for row in rows:
        del row["problem"], row["per_mille"]
    (folder / "predictions").mkdir(parents=True)
    (folder / "predictions/a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in [head, *rows]))
    return folder


def test_an_empty_window_has_no_page(project: Path, params: config.Params, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", project)
    with pytest.raises(DataError, match="the window has no predictions"):
        evidently_page.write(params, log, AT - timedelta(days=7), AT, root=project)


def test_a_lock_that_cannot_be_installed_is_named(project: Path, params: config.Params, tmp_path: Path) -> None:
    log, root = write_log(tmp_path / "log", project), tmp_path / "root"
    shutil.copytree(project / "data", root / "data")
    (root / "requirements").mkdir()
    (root / "requirements/extra-evidently.lock").write_text("evidently==0.7.23 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(ConfigError, match="the environment for evidently cannot be made"):
        evidently_page.write(params, log, AT, AT + timedelta(days=7), root=root)
    assert not (root / evidently_page.PAGE).exists()


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="it installs 700 MB; with CI=true it runs")
def test_page_names_every_input(project: Path, params: config.Params, tmp_path: Path) -> None:
    log, root = write_log(tmp_path / "log", project), tmp_path / "root"
    shutil.copytree(project / "data", root / "data")
    shutil.copytree(ROOT / "requirements", root / "requirements")
    assert evidently_page.write(params, log, AT, AT + timedelta(days=7), root=root) == evidently_page.PAGE
    page = (root / evidently_page.PAGE).read_text("utf-8")
    assert all(name in page for name in PROBLEM.inputs.model_fields)
