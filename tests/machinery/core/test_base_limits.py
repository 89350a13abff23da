from __future__ import annotations

from pathlib import Path

import pytest

from slipway.core import base_limits, config, git
from slipway.errors import ConfigError
from support.committed_project import begin

OWN = config.Prove(golden=9, metrics=9, plots=9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    begin(tmp_path)
    return tmp_path


def commit_params(folder: Path, text: str) -> str:
    (folder / "params.yaml").write_text(text)
    git.run("add", "-A", root=folder)
    git.run("commit", "-q", "-m", "Change", root=folder)
    return git.commit_hash(root=folder)


def test_limits_of_the_base_hold_over_own_ones(folder):
    base = commit_params(folder, "prove: {golden: 1, metrics: 2, plots: 3}\n")
    (folder / "params.yaml").write_text("prove: {golden: 9, metrics: 9, plots: 9}\n")
    assert base_limits.limits_at_base(base, "prove", OWN, root=folder) == config.Prove(golden=1, metrics=2, plots=3)


def test_own_limits_hold_where_the_base_has_none(folder):
    base = commit_params(folder, "seed: 1\n")
    assert base_limits.limits_at_base(base, "prove", OWN, root=folder) == OWN


def test_base_without_params_has_no_limits(folder):
    git.run("commit", "-q", "--allow-empty", "-m", "Nothing", root=folder)
    assert base_limits.params_at("HEAD", root=folder) == {}
    assert base_limits.limits_at_base("HEAD", "prove", OWN, root=folder) == OWN


@pytest.mark.parametrize(
    ("text", "message"), [("prove: {golden: 0}", "does not fit this code"), ("a: [", "is not valid YAML")]
)
def test_unreadable_limits_of_the_base_are_an_error(folder, text, message):
    base = commit_params(folder, text)
    with pytest.raises(ConfigError, match=rf"params\.yaml (of|at) the base {base[:12]}.* {message}"):
        base_limits.limits_at_base(base, "prove", OWN, root=folder)


def test_changed_params_are_named_by_dotted_key(folder):
    base = commit_params(folder, "judge: {margin: 0.01}\nprove: {plots: 1}\nseed: 1\n")
    (folder / "params.yaml").write_text("judge: {margin: 0.5}\nprove: {plots: 1}\nseed: 1\nnew: 2\n")
    assert base_limits.changed_params(base, root=folder) == (["judge.margin: 0.01 → 0.5"], ["new: None → 2"])


def test_restart_is_no_limit(folder):
    base = commit_params(folder, "judge: {margin: 0.01}\n")
    (folder / "params.yaml").write_text("judge: {margin: 0.5, restart_at: abc}\n")
    limits, others = base_limits.changed_params(base, root=folder)
    assert (limits, others) == (["judge.margin: 0.01 → 0.5"], ["judge.restart_at: None → abc"])


def test_nothing_changed_against_a_base_without_params(folder):
    git.run("commit", "-q", "--allow-empty", "-m", "Nothing", root=folder)
    (folder / "params.yaml").write_text("seed: 1\n")
    assert base_limits.changed_params("HEAD", root=folder) == ([], [])


@pytest.mark.parametrize(("old", "new", "rows"), [
    ({"a": {"b": 1}}, {"a": {"b": 1}}, []),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, ["a.b: 1 → 3"]),
    ({"a": 1}, {}, ["a: 1 → None"]),
    ({"a": {"b": 1}}, {"a": 2}, ["a: {'b': 1} → 2"]),
])  # fmt: skip
def test_nested_values_are_compared_key_by_key(old, new, rows):
    assert base_limits.changed_values(old, new) == rows
