from __future__ import annotations

import re

import pytest

from slipway.errors import CheckFailed, ConfigError
from slipway.sandbox.clone import Sandbox
from slipway.sandbox.drills import drill
from slipway.sandbox.drills.timeline import Timeline
from support import fake_cluster
from support.committed_project import ROOT

NAMES = ["slow", "fixed", "missing", "crash", "registry", "git", "argocd", "disk-full-log", "edit", "race", "wrong",
         "tampered", "drift", "label-outage"]  # fmt: skip


def watched(tmp_path, *words: str) -> Timeline:
    ticks = iter([0.0, 12.4, 40.6])
    watch = Timeline(Sandbox(root=tmp_path, name="bikes", ports={}), "slow", clock=lambda: next(ticks))
    for word in words:
        getattr(watch, word)(f"{word}ed")
    return watch


def test_all_is_every_drill_in_its_order():
    assert drill.select_drills(["all"]) == list(drill.DRILLS) == NAMES
    assert drill.select_drills(["tampered", "slow"]) == ["slow", "tampered"]


def test_unknown_drill_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match="no drill 'fire'") as caught:
        drill.select_drills(["slow", "fire"])
    assert "slow" in str(caught.value)
    with pytest.raises(ConfigError, match="no drill was named"):
        drill.select_drills([])


def test_drill_that_was_seen_and_mended_passes(tmp_path):
    found = drill.outcome_of(watched(tmp_path, "inject", "detect", "recover"), "", 50.2)
    assert (found.wrong, found.detected_s, found.recovered_s) == ("", 12.4, 40.6)
    assert drill.table_rows([found]) == [["slow", "injected", "detected", "12", "recovered", "41", "pass"]]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["inject", "detect"], "the fault was never recovered from"),
        (["inject"], "the fault was never detected and never recovered from"),
    ],
)
def test_drill_that_nothing_saw_or_mended_fails(tmp_path, words, wrong):
    found = drill.outcome_of(watched(tmp_path, *words), "", 50.0)
    assert found.wrong == wrong
    assert drill.table_rows([found])[0][4:] == [wrong, "–", "fail"]


def test_table_says_what_differs_and_the_figure(tmp_path, capsys):
    found = drill.outcome_of(watched(tmp_path, "inject"), "pods run [old]", 9.0)
    drill.print_table([found, drill.Outcome(name="wrong", figure="abort → revert commit: 7.0 s")], 61.0)
    said = capsys.readouterr().out
    assert "2 drills in 61 s" in said
    assert "pods run [old]" in said
    assert "abort → revert commit: 7.0 s" in said


def test_drill_that_ends_otherwise_is_refused_with_what_differs():
    bad = [drill.Outcome(name="slow", wrong="the gate is green"), drill.Outcome(name="edit")]
    with pytest.raises(CheckFailed, match="1 of 2 failed: slow: the gate is green") as caught:
        drill.require_all_passed(bad)
    assert caught.value.code == 4
    assert drill.require_all_passed(bad[1:]) == "1 drills passed: edit"


def test_without_a_cluster_nothing_is_started(tmp_path, params, monkeypatch):
    for name in ("KUBECONFIG", "REGISTRY"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"TARGET=cluster lacks .*cluster"):
        drill.run(params, ["edit"], keep=False, root=tmp_path)
    assert not (tmp_path / ".slipway/loop").exists()


def test_every_drill_has_its_runbook():
    text = (ROOT / "docs/how-to/drills.md").read_text("utf-8")
    assert [name for name in NAMES if not re.search(rf"^- \*{name}\*: ", text, re.M)] == []


def test_what_a_failed_drill_put_into_an_environment_is_rolled_back(tmp_path, monkeypatch):
    there = fake_cluster.world(tmp_path, monkeypatch)
    there.settle(seconds=0)
    before = there.last_line("staging")
    there.force_image("staging", f"{there.image_name()}@{fake_cluster.digest(9)}", "A drill")
    drill.roll_back(there, "missing")
    there.pull()
    now = there.last_line("staging")
    assert (now.action, now.image) == ("rollback", before.image)
    assert now.evidence == {"reason": "drill: missing failed"}
    assert there.last_line("production").action == "promote"
