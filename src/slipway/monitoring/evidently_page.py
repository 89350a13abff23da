"""Write Evidently's own page about a window, next to the report of `monitor`; it decides nothing.

Evidently and what it needs are in an environment of their own, made from requirements/extra-evidently.lock when first used.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

import polars as pl

from slipway import problem
from slipway.core import config, environment, files, process
from slipway.errors import ConfigError, DataError
from slipway.monitoring import prediction_log
from slipway.monitoring.log_files import extras
from slipway.pipeline import features, ingest, train

EXTRA = "evidently"
PAGE = Path("reports/monitor/evidently.html")
ROWS = 20_000
"""Rows of each side that the page is made of; Evidently takes 44 s and 1.6 GB for a million."""
PROGRAM = """
import sys
import pandas
from evidently import Report
from evidently.presets import DataDriftPreset
reference, current = (pandas.read_parquet(path) for path in sys.argv[1:3])
Report([DataDriftPreset()]).run(current, reference).save_html(sys.argv[3])
"""
QUIET = {"DO_NOT_TRACK": "1", "EVIDENTLY_DISABLE_TELEMETRY": "1"}
"""Evidently sends nothing about its use."""


def write(params: config.Params, log: Path, start: datetime, end: datetime, *, root: Path = Path()) -> Path:
    """Compare the rows of a window with the training rows by Evidently's preset, and return the page's path.

    DataError if the window has no rows, or the training data is not here; ConfigError if Evidently cannot be installed.
    """
    spec = problem.load(params.problem)
    names = [*problem.names(spec.inputs, "category"), *problem.names(spec.inputs, "number")]
    rows = prediction_log.read(log, spec, start=start, end=end, inputs_from=start).rows.filter(
        pl.col("status").is_null()
    )
    if not len(rows):
        raise DataError(
            "the window has no predictions, so Evidently has nothing to compare", hint="slipway monitor --until TIME"
        )
    frame = ingest.read_parquet(root / features.FRAME, "day")
    training = train.rows_of_window(frame, params.data, "train")
    target = root / PAGE
    files.make_folder(target.parent)
    python = extras.python(EXTRA, root)
    with tempfile.TemporaryDirectory() as folder, files.atomic_write(target) as partial:
        paths = [str(Path(folder) / f"{side}.parquet") for side in ("reference", "current")]
        for part, path in zip((training, rows), paths, strict=True):
            part.select(names).gather_every(max(1, len(part) // ROWS)).write_parquet(path)
        page = Path(folder) / "page.html"
        finished = process.run(
            [str(python), "-c", PROGRAM, *paths, str(page)], folder=root, env=environment.for_programs(root, **QUIET)
        )
        if not finished.ok or not page.exists():
            raise ConfigError(f"Evidently ended without its page: {finished.last_lines()}",
                              hint=f"rm -rf .slipway/extras/{EXTRA}, and run the command again")  # fmt: skip
        partial.write_bytes(page.read_bytes())
    return PAGE
