"""Histories of ledgers; tests/machinery/lineage/test_verify.py has the rest over a real repository."""

from __future__ import annotations

import pytest

from slipway.core import git
from slipway.errors import DataError
from slipway.lineage import sources
from slipway.lineage.links import Absent, Invalid, Lock
from support.sample_ledger import line, repository  # noqa: F401

A, B, C = ("a" * 40, "b" * 40, "c" * 40)
IMAGE = "r/bikes@sha256:" + "d" * 64


def text(*numbers: int, **changes: object) -> str:
    return "".join(line(number, **changes).model_dump_json() + "\n" for number in numbers)


def grown(*texts: tuple[str | None, str]) -> sources.LedgerHistory:
    return sources.history_of(list(texts), file="releases/production.jsonl")


def test_each_line_knows_the_commit_that_added_it():
    found = grown((A, text(1)), (B, text(1, 2, 3)), (None, text(1, 2, 3)))
    assert (found.added_in, found.fault, len(found.lines)) == ([A, B, B], "", 3)


def test_line_of_the_working_tree_alone_has_no_commit():
    found = grown((A, text(1)), (None, text(1, 2)))
    assert (found.added_in, found.fault) == ([A, None], "")


def test_change_of_an_old_line_names_its_commit():
    changed = text(1, 2, pull_request=9)
    found = grown((A, text(1, 2)), (B, changed), (C, changed), (None, changed))
    assert found.fault.startswith(
        "commit bbbbbbbbbbbb changed existing lines: releases/production.jsonl: line 1 was changed"
    )


def test_change_that_was_put_back_is_still_told():
    found = grown((A, text(1, 2)), (B, text(1)), (C, text(1, 2)), (None, text(1, 2)))
    assert "commit bbbbbbbbbbbb changed existing lines: " in found.fault
    assert found.added_in == [A, C]


def test_change_in_the_working_tree_is_told():
    assert grown((A, text(1, 2)), (None, text(2))).fault.startswith("the working tree changed existing lines")


def test_blanks_between_lines_are_a_change():
    assert "changed existing lines" in grown((A, text(1, 2)), (None, text(1, 2).replace(',"env"', ', "env"'))).fault


def test_text_that_is_no_ledger_says_since_when():
    with pytest.raises(DataError, match=r"commit bbbbbbbbbbbb changed existing lines: .* merge conflict"):
        grown((A, text(1, 2)), (B, "<<<<<<< ours\n" + text(1)), (None, "<<<<<<< ours\n" + text(1)))
    with pytest.raises(DataError, match="the last line is cut off"):
        grown((None, text(1)[:-1]))


def test_ledger_of_a_repository_has_its_history(repository):
    found = sources.read_history("production", repository)
    assert (len(found.lines), len(set(found.added_in)), found.fault) == (2, 2, "")
    assert sources.read_history("staging", repository) == sources.LedgerHistory(lines=[], added_in=[], fault="")


def test_ledger_that_cannot_be_read_is_told_and_has_no_lines(repository):
    (repository / "releases/production.jsonl").write_bytes(b"\xff\n")
    found = sources.read_history("production", repository)
    assert (found.lines, "is not UTF-8 text" in found.fault) == ([], True)


def test_newest_line_that_holds_an_image_is_found_by_digest():
    rows = [line(1), line(2, image=IMAGE), line(3, image="r/bikes@sha256:" + "e" * 64), line(4, image=IMAGE)]
    history = sources.LedgerHistory(lines=rows, added_in=[A] * 4, fault="")
    assert sources.newest_line(history, "docker.io/r/bikes@sha256:" + "d" * 64) == 3
    assert sources.newest_line(history, "sha256:" + "f" * 64) is None


def test_output_that_the_lock_lacks_is_wrong(tmp_path):
    assert sources.cached_sha256(Lock(sha256="", outs={}, sources={}), "a", tmp_path) == Invalid(
        "dvc.lock has no output a"
    )
    assert isinstance(sources.cached_sha256(Absent("no lock"), "a", tmp_path), Absent)
    assert isinstance(sources.cached_sha256(Lock(sha256="", outs={"a": "0" * 32}, sources={}), "a", tmp_path), Absent)


@pytest.fixture
def history(tmp_path):
    """A repository with two commits on main, and one beside them; their hashes."""
    git.run("init", "-q", "-b", "main", str(tmp_path))
    for name, value in (("user.name", "t"), ("user.email", "t@example.org")):
        git.run("config", name, value, root=tmp_path)
    found = []
    for branch, name in (("main", "one"), ("main", "two"), ("beside", "three")):
        git.run("checkout", "-q", "-B", branch, root=tmp_path)
        git.run("commit", "-q", "--allow-empty", "-m", name, root=tmp_path)
        found.append(git.commit_hash(root=tmp_path))
    git.run("checkout", "-q", "main", root=tmp_path)
    return found


def test_source_commit_is_on_main_and_before_its_line(history, tmp_path):
    one, two, beside = history
    assert sources.source_commit(one, two, tmp_path) == one
    for commit, entered, why in (
        (one[:12], two, "is not the full hash of a commit"),
        (beside, None, "is not on main itself"),
        (two, one, f"is not older than {one[:12]}, which added the ledger line"),
        ("0" * 40, two, "is not in this repository"),
    ):
        found = sources.source_commit(commit, entered, tmp_path)
        assert isinstance(found, Invalid), why
        assert why in found.reason


def test_commit_without_a_lock_is_wrong(history, tmp_path):
    assert sources.lock_at(history[0], tmp_path) == Invalid(f"commit {history[0][:12]} has no dvc.lock")
    (tmp_path / "dvc.lock").write_text("stages: {train: {}}\n", encoding="utf-8")
    git.run("add", "dvc.lock", root=tmp_path)
    git.run("commit", "-q", "-m", "A lock", root=tmp_path)
    found = sources.lock_at(git.commit_hash(root=tmp_path), tmp_path)
    assert isinstance(found, Invalid)
    assert "has no stage ingest that can be read" in found.reason
