from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway import git, ledger, promote, release
from slipway.errors import ConfigError, DataError, Refused
from story import begin
from test_ledger import line as ledger_line
from test_ledger import repository  # noqa: F401

BENTO = {"bento": "bikes:1", "bento_sha256": "b1", "model_sha256": "m1", "path": "x"}
PASSED = dict.fromkeys(release.VERDICTS, "pass")


def line(**changes: object) -> ledger.Line:
    values = {"env": "staging", "at": datetime(2026, 3, 9, tzinfo=UTC), "bento": BENTO, "commit": "c", "before": None,
              "metrics": {"auc": 0.7, "rows": 5}, "verdicts": PASSED, "run": None,
              "hashes": {"lock_sha256": "l", "data_sha256": "d"}} | changes  # fmt: skip
    return release.line(**values)  # type: ignore[arg-type]


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    """A repository in which everything was judged and packaged."""
    (tmp_path / "reports").mkdir()
    for name in ("models/model.onnx", "dvc.lock", "data/table.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    sha = release.files.sha256(tmp_path / "models/model.onnx")
    records = {chapter: {"verdict": "pass", "inputs": {"challenger": sha}} for chapter in release.VERDICTS}
    records["package"]["notes"] = BENTO | {"model_sha256": sha}
    for name, told in (records | {"metrics": {"auc": 0.7}}).items():
        (tmp_path / f"reports/{name}.json").write_text(json.dumps(told))
    begin(tmp_path)
    git.output("add", "dvc.lock", root=tmp_path)
    git.output("commit", "-q", "-m", "Better features (#12)", root=tmp_path)
    record(tmp_path, "prove", inputs={"commit": git.commit(root=tmp_path)})
    return tmp_path


def record(folder: Path, chapter: str, **changes: object) -> None:
    path = folder / f"reports/{chapter}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_release_writes_one_line_in_one_commit(packaged, params):
    source = git.commit(root=packaged)
    assert release.run(params, root=packaged) == "staging ← bikes:1"
    assert git.output("show", "--name-only", "--format=%s", "HEAD", root=packaged).split("\n\n") == [
        "Release bikes:1 to staging",
        "releases/staging.jsonl",
    ]
    found = ledger.read("staging", packaged)[-1]
    assert (found.commit, found.pull_request, found.image, found.metrics) == (source, 12, None, {"auc": 0.7})


def test_proof_of_another_commit_releases_nothing(packaged, params):
    (packaged / "README.md").write_text("words")
    git.output("add", "README.md", root=packaged)
    git.output("commit", "-q", "-m", "Words", root=packaged)
    with pytest.raises(DataError, match=r"the proof is of commit \w{12}, since when 1 files changed: README\.md"):
        release.run(params, root=packaged)
    record(packaged, "prove", inputs={"commit": git.commit(root=packaged)})
    ledger.append(ledger_line(1), packaged)  # what the ledgers say is no part of it
    git.output("add", "releases", root=packaged)
    git.output("commit", "-q", "-m", "Release", root=packaged)
    release.proven(packaged)


def test_second_release_of_the_same_bento_does_nothing(packaged, params):
    release.run(params, root=packaged)
    before = git.commit(root=packaged)
    assert "nothing to release" in release.run(params, root=packaged)
    assert git.commit(root=packaged) == before


@pytest.mark.parametrize("chapter", release.VERDICTS)
@pytest.mark.parametrize("word", ["fail", "unsure", None])
def test_anything_but_a_pass_is_not_released(chapter, word):
    verdicts = PASSED | {chapter: word} if word else {k: v for k, v in PASSED.items() if k != chapter}
    with pytest.raises(Refused, match=f"verdict of {chapter} is {word or 'missing'}, limit: pass"):
        release.refuse(line(verdicts=verdicts), [], root=Path())


def test_older_commit_is_not_released(repository):  # noqa: F811
    new, old = git.commit("HEAD", root=repository), git.commit("HEAD~1", root=repository)
    with pytest.raises(Refused, match="is no descendant of"):
        release.refuse(line(commit=old), [ledger_line(1, env="staging", commit=new)], root=repository)


def test_bytes_changed_after_judging_are_refused(packaged, params):
    record(packaged, "judge", inputs={"challenger": "other"})
    with pytest.raises(DataError, match="the judged model is other"):
        release.run(params, root=packaged)
    assert ledger.read("staging", packaged) == []


def test_uncommitted_change_stops_a_release(packaged, params):
    (packaged / "dvc.lock").write_text("changed")
    with pytest.raises(ConfigError, match=r"1 tracked files are not committed: dvc\.lock"):
        release.run(params, root=packaged)


def test_unknown_author_stops_a_release(packaged, params):
    git.output("config", "user.name", "", root=packaged)
    with pytest.raises(ConfigError, match="does not know who you are"):
        release.run(params, root=packaged)


def test_run_is_quoted_only_for_its_own_lock(packaged):
    (packaged / "reports/track.json").write_text(json.dumps({"run": "r1", "lock_sha256": "l1"}))
    assert release.tracked("l1", packaged) == "r1"
    assert release.tracked("l2", packaged) is None


def test_promotion_copies_stagings_line_with_evidence(packaged, params):
    release.run(params, root=packaged)
    load = {
        "verdict": "pass",
        "inputs": {"bento_sha256": "b1"},
        "rows": 100,
        "checks": [{"name": "p95_ms", "value": 3.0}],
    }
    (packaged / "reports/load.json").write_text(json.dumps(load))
    assert promote.run(params, root=packaged) == "production ← bikes:1, load verdict pass"
    found = ledger.read("production", packaged)[-1]
    assert found.evidence == {"load": "pass", "p95_ms": 3.0, "requests": 100, "of": "b1"}
    assert "nothing to promote" in promote.run(params, root=packaged)


def test_promotion_without_a_staged_release_is_refused(packaged, params):
    with pytest.raises(Refused, match="staging never ran anything"):
        promote.run(params, root=packaged)
