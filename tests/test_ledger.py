from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway import git, ledger
from slipway.errors import ConfigError, DataError
from story import begin


def line(number: int, env: str = "production", **changes: object) -> ledger.Line:
    values = {
        "at": datetime(2026, 3, number, tzinfo=UTC), "env": env, "action": "release", "image": None, "bento": f"bikes:{number}",
        "bento_sha256": f"{number:064x}", "model_sha256": "m", "lock_sha256": "l", "data_sha256": "d", "commit": "c",
        "pull_request": number, "mlflow_run": None, "metrics": {"auc": 0.7}, "verdicts": {"judge": "pass"},
        "evidence": None, "supersedes": None,
    }  # fmt: skip
    return ledger.Line.model_validate(values | changes)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two releases, committed on the 1st and the 5th of March."""
    begin(tmp_path)
    for day in (1, 5):
        ledger.append(line(day), tmp_path)
        git.output("add", "releases", root=tmp_path)
        env = os.environ | {"GIT_COMMITTER_DATE": f"2026-03-0{day}T12:00:00Z"}
        subprocess.run(
            ["git", "commit", "-q", "-m", str(day)],
            cwd=tmp_path,
            check=True,
            env=env,
        )
    return tmp_path


def test_appended_lines_are_read_back(tmp_path):
    for number in (1, 2):
        ledger.append(line(number), tmp_path)
    assert ledger.read("production", tmp_path) == [line(1), line(2)]


def test_no_file_is_an_empty_ledger(tmp_path):
    assert ledger.read("staging", tmp_path) == []
    assert ledger.newest([]) is None


def test_lines_before_stay_byte_for_byte(tmp_path):
    before = ledger.append(line(1), tmp_path).read_bytes()
    assert ledger.append(line(2), tmp_path).read_bytes().startswith(before)


def test_identity_is_the_image_where_there_is_one():
    assert line(1).identity == f"{1:064x}"
    assert line(1, image="r/n@sha256:abc").identity == "r/n@sha256:abc"


@pytest.mark.parametrize("damage", [
    lambda text: text[:-40],
    lambda text: text.replace('"action":"release"', '"action":"deploy"'),
    lambda text: "<<<<<<< HEAD\n" + text,
    lambda text: text[:-1],
])  # fmt: skip
def test_damaged_ledger_is_refused_by_line(tmp_path, damage):
    file = ledger.append(line(1), tmp_path)
    file.write_text(damage(file.read_text()))
    with pytest.raises(DataError, match=r"releases/production.jsonl"):
        ledger.append(line(2), tmp_path)


@pytest.mark.parametrize(("moment", "bento"), [
    ("2026-02-28T00:00:00+00:00", None),
    ("2026-03-01T12:00:00+00:00", "bikes:1"),
    ("2026-03-05T11:59:59+00:00", "bikes:1"),
    ("2026-03-05T13:00:00+01:00", "bikes:5"),
    ("2027-01-01T00:00:00+00:00", "bikes:5"),
])  # fmt: skip
def test_at_answers_by_the_commit_date(repository, moment, bento):
    found = ledger.at("production", datetime.fromisoformat(moment), repository)
    assert (found.bento if found else None) == bento


def test_at_without_time_zone_is_refused(repository):
    with pytest.raises(ConfigError, match="no time zone"):
        ledger.at("production", datetime(2026, 3, 4), repository)


def test_ledger_is_read_at_a_revision(repository):
    assert [found.bento for found in ledger.read_at("production", "HEAD~1", repository)] == ["bikes:1"]
    assert ledger.read_at("staging", "HEAD", repository) == []


def test_unknown_environment_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="environment 'moon' is not one of staging, production"):
        ledger.read("moon", tmp_path)
