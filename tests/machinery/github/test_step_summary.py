"""step_summary: sentences on the page of a workflow's run, without markup of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import CheckFailed
from slipway.github import step_summary


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that GitHub's runner shows on the run's page."""
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_sentence_becomes_a_paragraph(page: Path) -> None:
    assert step_summary.write("release of bikes:1 to staging: pushed") == "release of bikes:1 to staging: pushed"
    assert page.read_text("utf-8") == "Release of bikes:1 to staging: pushed\n\n"


def test_markup_of_a_sentence_is_shown_as_text(page: Path) -> None:
    step_summary.write("reason: <b>@everyone</b>")
    assert "<b>" not in page.read_text("utf-8")
    assert "@everyone" not in page.read_text("utf-8")


def test_error_is_written_with_its_hint(page: Path) -> None:
    step_summary.write_error(CheckFailed("the evidence is 8 days old", allowed="at most 7 days", hint="release again"))
    assert (
        page.read_text("utf-8") == "❌ the evidence is 8 days old; allowed: at most 7 days\n\nNext: release again\n\n"
    )


def test_nothing_is_written_outside_of_a_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert step_summary.write("nothing to promote") == "nothing to promote"
    step_summary.write_error(CheckFailed("no"))
    assert list(tmp_path.iterdir()) == []
