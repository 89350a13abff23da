from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.core import config, files
from slipway.pipeline import plots
from slipway.reporting import report, summary
from slipway.reporting.report_model import Facts
from support.sample_pull_requests import KINDS
from support.sample_reports import judged, write_sample


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


def test_plots_show_the_champion_that_was_judged(project: Path, tmp_path: Path, run: Callable[..., str]):
    folder = shutil.copytree(project, tmp_path / "project")
    run(folder, "evaluate")
    drawn, rows = "stroke: var(--rival)", files.read_json(folder / "reports/plots/reliability.json")
    files.write_json(folder / plots.CHAMPION_DATA, {"reliability": rows})
    run(folder, "report")
    assert drawn not in (folder / "reports/report.html").read_text(encoding="utf-8")  # nothing was judged
    files.write_json(folder / "reports/judge.json", judged())
    run(folder, "report")
    assert drawn in (folder / "reports/report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Facts, str, str]]:
    """Facts, Markdown and page of a pull request of each kind. Read only."""
    folder = tmp_path_factory.mktemp("pages")
    samples = {kind: write_sample(kind, folder / kind) for kind in KINDS}
    return {kind: (sample, *((folder / kind / name).read_text("utf-8") for name in ("report.md", "report.html")))
            for kind, sample in samples.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("pass", "✅ Better than production"),
        ("refused", "❌ Refused: worse than production"),
        ("unsure", "❔ Inconclusive: too little was measured"),
        ("stopped", "❌ Refused: the pipeline stops"),
        ("data changed", "✅ Slightly worse than production, within what is allowed"),
    ],
)
def test_each_kind_of_pull_request_has_its_verdict(pages, kind: str, title: str):
    _, text, page = pages[kind]
    assert text.startswith(f"## {title}\n")
    assert f"<h1>{title[2:]}</h1>" in page


@pytest.mark.parametrize("kind", KINDS)
def test_the_change_stands_second(pages, kind: str):
    _, text, page = pages[kind]
    assert re.findall(r"^\*\*(.*)\*\*$", text, re.M)[0] == "What this pull request changes"
    assert re.findall("<h2[^>]*>(.*?)(?: <small>.*)?</h2>", page)[0] == "What this pull request changes"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_called_better_or_worse_excludes_zero(pages, kind: str):
    start, text, _ = pages[kind]
    deltas = [delta for delta in summary.metric_deltas(start) if delta.better is not None]
    assert all((delta.low or 0) * (delta.high or 0) > 0 for delta in deltas)
    words = re.findall(r"\| \**(better|worse)\** \|$", text.split("<details>")[0], re.M)
    assert words == ["better" if delta.better else "worse" for delta in deltas]
    assert bool(words) == (kind not in ("unsure", "stopped"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_month_that_is_the_whole_window_is_no_slice(pages, kind: str):
    start, text, page = pages[kind]
    assert "month 10" not in text
    assert '<span class="muted">month</span>' not in page
    assert not [check.name for gate in start.gates.values() for check in gate.checks if "month" in str(check.name)]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_within_a_word(pages, kind: str):
    _, text, page = pages[kind]
    shown = re.sub(r"sha256:\d…", "", text + re.sub("<svg.*?</svg>|<style.*?</style>", "", page, flags=re.S))
    assert "…" not in shown
