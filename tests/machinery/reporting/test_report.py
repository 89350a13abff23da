from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from slipway.core import config, files
from slipway.reporting import report
from support.sample_reports import judged


def test_the_chapter_writes_all_three(project: Path, tmp_path: Path, run: Callable[..., str], params: config.Params):
    folder = shutil.copytree(project, tmp_path / "a b é")
    run(folder, "evaluate")
    assert run(folder, "report").startswith("unsure: not judged yet")
    for name in ("report.md", "report.html", "data.html"):
        assert (folder / "reports" / name).stat().st_size > 500
    before = (folder / "reports/report.html").read_bytes()
    with contextlib.chdir(folder):
        files.write_json(Path("reports/judge.json"), judged())
        assert report.run(params).startswith("pass: better than production")
    assert (folder / "reports/report.html").read_bytes() != before
