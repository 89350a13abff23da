from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.core import files, git
from slipway.core.verdict import Check, Verdict
from slipway.errors import DataError
from slipway.reporting.report_data import Facts, commands, drop_stale, history, proposed, read
from slipway.reporting.summary import headline
from support.committed_project import begin, save
from support.sample_reports import DELIVERY, facts, judged, ruled


def test_a_base_that_is_no_hash_enters_no_command():
    assert "make review BASE=" + "a" * 40 in commands(facts())
    assert "make review" in commands(facts(judge=judged(base="main; rm -rf /")))


def test_only_the_metrics_must_be_there(tmp_path: Path):
    with pytest.raises(DataError, match=r"metrics\.json does not exist"):
        read(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/metrics.json").write_text(json.dumps({"rows": 3}))
    assert read(tmp_path) == Facts(metrics={"rows": 3}, slices=[])


@pytest.mark.parametrize(
    ("model", "of", "kept"),
    [("m", "b", ["judge", "package", "load"]), ("m", "other", ["judge", "package"]), ("other", "b", ["judge"])],
)
def test_package_and_load_of_another_model_are_left_out(model, of, kept):
    gates = {
        "judge": {},
        "package": {"inputs": {"model": model}, "notes": {"bento_sha256": "b"}},
        "load": {"inputs": {"bento_sha256": of}},
    }
    assert list(drop_stale(gates, {"model": "m"}, None)) == kept


def test_what_was_said_of_another_lock_or_commit_is_left_out():
    gates = {"repro": {"inputs": {"lock": "l"}}, "prove": {"inputs": {"commit": "c"}}}
    assert list(drop_stale(gates, {"lock": "l"}, "c")) == ["repro", "prove"]
    assert list(drop_stale(gates, {"lock": "l"}, "other")) == ["repro"]
    assert list(drop_stale(gates, {"lock": "other"}, "c")) == ["prove"]


@pytest.mark.parametrize("word", ["manifests", "latency", "policy"])
def test_what_was_said_of_the_cluster_at_another_commit_is_left_out(word: str):
    gates = {word: {"inputs": {"commit": "c"}}}
    assert list(drop_stale(gates, {}, "c")) == [word]
    assert list(drop_stale(gates, {}, "other")) == list(drop_stale({word: {}}, {}, "c")) == []


def test_what_a_change_does_to_the_cluster_is_a_fact_with_and_without_a_verdict(tmp_path: Path):
    files.write_json(tmp_path / "reports/metrics.json", {})
    (tmp_path / ".gitignore").write_text("reports\n", "utf-8")
    begin(tmp_path)
    save(tmp_path)
    of = {"inputs": {"commit": git.commit(root=tmp_path)}, "notes": DELIVERY}
    for record, gates in ((of, []), (ruled() | of, ["manifests"]), (ruled() | {"inputs": {"commit": "other"}}, None)):
        files.write_json(tmp_path / "reports/manifests.json", record)
        found = read(tmp_path)
        assert (list(found.gates), found.delivery) == (gates or [], {} if gates is None else DELIVERY)
        assert "notes" not in found.gates.get("manifests", {}), "they would be in facts.json twice"


def test_limits_that_a_change_moves_are_those_of_judge_and_latency():
    both = {"judge": judged(limits_changed=["a: 1 → 2"]), "latency": {"notes": {"limits_changed": ["b: 1 → 2"]}}}
    assert facts(gates=both).limits_changed == ["a: 1 → 2", "b: 1 → 2"]
    assert facts(gates={}).limits_changed == []


def test_metrics_of_a_pipeline_that_stopped_are_not_shown(tmp_path: Path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/metrics.json").write_text(json.dumps({"auc": 0.9}))
    stopped = Check(name="dvc repro", value="ingest: 3 rows", limit="every stage ends well", ok=False)
    Verdict(chapter="repro", checks=[stopped], inputs={"lock": None}).write(tmp_path / "reports/repro.json")
    assert read(tmp_path).metrics == {}
    assert headline(read(tmp_path)).word == "fail"


def test_proposed_commit_is_what_was_merged_to_try_it(tmp_path: Path):
    begin(tmp_path)

    def commit(*args: str) -> str:
        git.run("commit", "-q", "--allow-empty", "-m", "Change", *args, root=tmp_path)
        return git.commit(root=tmp_path)

    base = commit()
    git.run("checkout", "-q", "-b", "change", root=tmp_path)
    head = commit()
    assert proposed({}, history(tmp_path)) == head
    git.run("checkout", "-q", "--detach", "main", root=tmp_path)
    git.run("merge", "-q", "--no-ff", "change", root=tmp_path)
    assert proposed({"judge": {"notes": {"base": base}}}, history(tmp_path)) == head
    assert proposed({"judge": {"notes": {"base": head}}}, history(tmp_path)) == git.commit(root=tmp_path)
