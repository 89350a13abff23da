"""The status page of an empty project, a busy one, and one with hostile text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slipway.core import git
from slipway.records.record import Record
from slipway.reporting.status_page import status, status_data
from support import remote_repository
from support.sample_ledger import line

AT = datetime(2026, 3, 4, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'&"


def busy(count: int, records: int) -> status_data.Status:
    lines = [line(1).model_copy(update={"at": AT + timedelta(hours=n), "bento": HOSTILE}) for n in range(count)]
    check = {"name": HOSTILE, "value": 1, "limit": "x", "ok": False}
    budget = [{"objective": HOSTILE, "allowed": 0.001, "bad_ratio": 0.0, "spent": 0.2}]
    notes = {"budget": budget, "estimate": {"log_loss": 0.5}}
    rows = [Record(at=AT + timedelta(minutes=n), kind="verdict", chapter=name, verdict="fail", checks=[check], notes=notes)
            for n in range(records) for name in ("monitor-service", "monitor-inputs")]  # fmt: skip
    return status_data.gather({"staging": lines, "production": []}, rows)


def test_first_day_is_said_plainly(tmp_path: Path) -> None:
    _, work = remote_repository.remote(tmp_path)
    sentence = status.run("bikes", root=work)
    text = (work / "reports/status/index.html").read_text("utf-8")
    assert "Nothing was released yet, and nothing was recorded" in text
    assert sentence.startswith("reports/status/index.html: 0 ledger lines and 0 records")


def test_long_history_stays_small() -> None:
    text = status.page(busy(1000, 5000), title=HOSTILE, head="a" * 40, records_commit="b" * 40)
    assert len(text.encode()) <= 300_000


def test_hostile_text_is_escaped() -> None:
    text = status.page(busy(3, 3), title=HOSTILE, head="a" * 40, records_commit=None)
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("url", "web"),
    [
        ("git@github.com:own/bikes.git", "https://github.com/own/bikes"),
        ("https://token@github.com/own/bikes", "https://github.com/own/bikes"),
        ("/srv/git/bikes.git", ""),
        ("https://example.org/own/bikes", ""),
    ],
)
def test_links_lead_only_to_github(tmp_path: Path, url: str, web: str) -> None:
    _, work = remote_repository.remote(tmp_path)
    git.run("remote", "set-url", "origin", url, root=work)
    assert status.web_address(work) == web


def test_page_shows_main_as_fetched(tmp_path: Path) -> None:
    _, work = remote_repository.remote(tmp_path)
    before = git.commit_hash(root=work)
    git.run("commit", "-q", "--allow-empty", "-m", "Released by a workflow", root=work)
    released = git.commit_hash(root=work)
    git.run("push", "-q", "origin", "HEAD", root=work)
    git.run("checkout", "-q", "-b", "change", before, root=work)
    assert status.newest_main(work) == released


def test_page_shows_commits_not_pushed(tmp_path: Path) -> None:
    _, work = remote_repository.remote(tmp_path)
    git.run("commit", "-q", "--allow-empty", "-m", "Released on this machine", root=work)
    assert status.newest_main(work) == git.commit_hash(root=work)
