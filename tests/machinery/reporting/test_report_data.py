from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.core import files, git
from slipway.core.verdict import Check, Verdict
from slipway.errors import DataError
from slipway.reporting.report_data import commands_to_reproduce, drop_stale, head_and_parents, proposed_commit, read
from slipway.reporting.report_model import Facts
from slipway.reporting.summary import changed_params, headline
from support.committed_project import begin, save
from support.sample_reports import DELIVERY, facts, gate, judged, ruled


def test_a_base_that_is_no_hash_enters_no_command():
    assert "make review BASE=" + "a" * 40 in commands_to_reproduce(facts())
    assert "make review" in commands_to_reproduce(facts(judge=judged(base="main; rm -rf /")))


def test_only_the_metrics_must_be_there(tmp_path: Path):
    with pytest.raises(DataError, match=r"metrics\.json does not exist"):
        read(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/metrics.json").write_text(json.dumps({"rows": 3}))
    assert read(tmp_path) == Facts(metrics={"rows": 3}, delivery={})


@pytest.mark.parametrize(
    ("model", "of", "kept"),
    [("m", "b", ["judge", "package", "load"]), ("m", "other", ["judge", "package"]), ("other", "b", ["judge"])],
)
def test_package_and_load_of_another_model_are_left_out(model, of, kept):
    gates = {
        "judge": gate({}),
        "package": gate({"inputs": {"model": model}, "notes": {"bento_sha256": "b"}}),
        "load": gate({"inputs": {"bento_sha256": of}}),
    }
    assert list(drop_stale(gates, {"model": "m"}, None)) == kept


def test_what_was_said_of_another_lock_or_commit_is_left_out():
    gates = {"repro": gate({"inputs": {"lock": "l"}}), "prove": gate({"inputs": {"commit": "c"}})}
    assert list(drop_stale(gates, {"lock": "l"}, "c")) == ["repro", "prove"]
    assert list(drop_stale(gates, {"lock": "l"}, "other")) == ["repro"]
    assert list(drop_stale(gates, {"lock": "other"}, "c")) == ["prove"]


@pytest.mark.parametrize("word", ["manifests", "latency", "policy"])
def test_what_was_said_of_the_cluster_at_another_commit_is_left_out(word: str):
    gates = {word: gate({"inputs": {"commit": "c"}})}
    assert list(drop_stale(gates, {}, "c")) == [word]
    assert list(drop_stale(gates, {}, "other")) == list(drop_stale({word: gate({})}, {}, "c")) == []


def test_what_a_change_does_to_the_cluster_is_a_fact_with_and_without_a_verdict(tmp_path: Path):
    files.write_json(tmp_path / "reports/metrics.json", {})
    (tmp_path / ".gitignore").write_text("reports\n", "utf-8")
    begin(tmp_path)
    save(tmp_path)
    of = {"inputs": {"commit": git.commit_hash(root=tmp_path)}, "notes": DELIVERY}
    for record, gates in ((of, []), (ruled() | of, ["manifests"]), (ruled() | {"inputs": {"commit": "other"}}, None)):
        files.write_json(tmp_path / "reports/manifests.json", record)
        found = read(tmp_path)
        record = found.record()
        assert (list(found.gates), record["delivery"]) == (gates or [], {} if gates is None else DELIVERY)
        assert "notes" not in record["gates"].get("manifests", {}), "they would be in facts.json twice"


def test_metrics_of_a_pipeline_that_stopped_are_not_shown(tmp_path: Path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/metrics.json").write_text(json.dumps({"auc": 0.9}))
    stopped = Check(name="dvc repro", value="ingest: 3 rows", limit="every stage ends well", ok=False)
    Verdict(chapter="repro", checks=[stopped], inputs={"lock": None}).write(tmp_path / "reports/repro.json")
    assert not read(tmp_path).metrics
    assert headline(read(tmp_path)).word == "fail"


def test_proposed_commit_is_what_was_merged_to_try_it(tmp_path: Path):
    begin(tmp_path)

    def commit(*args: str) -> str:
        git.run("commit", "-q", "--allow-empty", "-m", "Change", *args, root=tmp_path)
        return git.commit_hash(root=tmp_path)

    base = commit()
    git.run("checkout", "-q", "-b", "change", root=tmp_path)
    head = commit()
    assert proposed_commit({}, head_and_parents(tmp_path)) == head
    git.run("checkout", "-q", "--detach", "main", root=tmp_path)
    git.run("merge", "-q", "--no-ff", "change", root=tmp_path)
    assert proposed_commit({"judge": gate({"notes": {"base": base}})}, head_and_parents(tmp_path)) == head
    assert proposed_commit({"judge": gate({"notes": {"base": head}})}, head_and_parents(tmp_path)) == git.commit_hash(
        root=tmp_path
    )


@pytest.mark.parametrize(
    ("name", "record", "fault"),
    [
        ("judge.json", "[1]", r"judge\.json cannot be read: the file is \[1\]"),
        ("judge.json", '{"checks": [3]}', r"judge\.json cannot be read: checks\.0 is 3; expected: a section"),
        ("judge.json", '{"notes": {"slices": [{"slice": "a", "value": "b", "low": "x"}]}}', "low: 'x' is not a number"),
        (
            "manifests.json",
            '{"notes": {"changes": [{}]}}',
            r"manifests\.json cannot be read: key changes\.0\.env is missing",
        ),
        ("quality.json", '{"faults": [{}]}', r"quality\.json cannot be read: key faults\.0\.source is missing"),
        ("plots/slices.json", '[{"slice": "a"}]', r"slices\.json cannot be read: key 0\.value is missing"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, name: str, record: str, fault: str):
    files.write_json(tmp_path / "reports/metrics.json", {})
    files.write_text(tmp_path / "reports" / name, record)
    with pytest.raises(DataError, match=fault):
        read(tmp_path)


def test_parameters_of_a_pull_request_that_stopped_are_read_from_git(tmp_path: Path):
    begin(tmp_path)
    files.write_text(tmp_path / "params.yaml", "seed: 1\njudge: {margin: 1}\n")
    (tmp_path / ".gitignore").write_text("reports\n", "utf-8")
    save(tmp_path)
    base = git.commit_hash(root=tmp_path)
    files.write_text(tmp_path / "params.yaml", "seed: 2\njudge: {margin: 3}\n")
    proved = {"inputs": {"commit": base}, "notes": {"base": base}}
    files.write_json(tmp_path / "reports/metrics.json", {})
    files.write_json(tmp_path / "reports/prove.json", proved)
    stopped = read(tmp_path)
    assert (changed_params(stopped), stopped.limits_changed) == (["seed: 1 → 2"], ["judge.margin: 1 → 3"])
    files.write_json(tmp_path / "reports/judge.json", {"notes": {"params_changed": ["seed: 5 → 6"]}})
    assert changed_params(read(tmp_path)) == ["seed: 5 → 6"]


def test_parameters_that_cannot_be_read_are_none(tmp_path: Path):
    files.write_json(tmp_path / "reports/metrics.json", {})
    files.write_json(tmp_path / "reports/prove.json", {"notes": {"base": "a" * 40}})
    assert changed_params(read(tmp_path)) == []
