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


def commit_params(folder: Path, text: str | None) -> str:
    if text is not None:
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


def test_limits_that_never_fitted_are_an_error(folder):
    base = commit_params(folder, "prove: {golden: 0}")
    with pytest.raises(ConfigError, match=rf"params\.yaml at the base {base[:12]} does not fit this code: golden is 0"):
        base_limits.limits_at_base(base, "prove", OWN, root=folder)


BROKEN = [
    "a: [",
    "data: {until: 2013-02-30}",
    "[" * 5000,
    "prove: {golden: 0, metrics: 2, plots: 3}",
    "- a list",
    "\udcff",
]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_broken_params_of_the_base_leave_the_limits_before_them(folder, text):
    """A change that mends the base's params.yaml must not be blocked by it, nor be judged by its own limits."""
    commit_params(folder, "prove: {golden: 1, metrics: 2, plots: 3}\n")
    (folder / "params.yaml").write_bytes(text.encode(errors="surrogateescape"))
    base = commit_params(folder, None)
    assert base_limits.limits_at_base(base, "prove", OWN, root=folder) == config.Prove(golden=1, metrics=2, plots=3)


def test_own_limits_hold_where_no_params_could_ever_be_read(folder):
    base = commit_params(folder, "data: {until: 2013-02-30}")
    assert base_limits.limits_at_base(base, "prove", OWN, root=folder) == OWN
    assert base_limits.params_at(base, root=folder) == {}


def test_limits_before_a_broken_base_are_not_known_in_a_shallow_clone(folder, tmp_path_factory):
    commit_params(folder, "prove: {golden: 1, metrics: 2, plots: 3}\n")
    base = commit_params(folder, "a: [")
    clone = tmp_path_factory.mktemp("shallow") / "c"
    git.run("clone", "-q", "--depth", "1", folder.as_uri(), str(clone), root=folder)
    with pytest.raises(
        ConfigError, match=rf"params.yaml of the base {base[:12]} cannot be read, and this shallow clone"
    ):
        base_limits.limits_at_base(base, "prove", OWN, root=clone)


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
