"""All that a pull request is asked, on a real repository: one red gate hides no other, and the report says why."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from slipway.core import dvc, files, git
from support.committed_project import edit, save
from support.sample_pods import made, pod


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Path:
    return shutil.copytree(honest, tmp_path / "a b é", symlinks=True)


def words(folder: Path) -> dict[str, str]:
    """The verdicts of the last review, by gate."""
    return {name: gate["verdict"] for name, gate in files.read_json(folder / "reports/facts.json")["gates"].items()}


def test_honest_change_passes_every_gate(copy, cli, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    done = cli(copy, "review", "--base", "HEAD")
    assert done.returncode == 0, done.stderr
    assert words(copy) == dict.fromkeys(("repro", "export", "evaluate", "prove", "judge", "latency"), "pass")
    text = (copy / "reports/report.md").read_text("utf-8")
    assert text.startswith("## ✅ Better than the baseline")
    assert "**Latency**: the service is the same as the base&#39;s: none of its files differ" in text
    assert (tmp_path / "summary.md").read_text("utf-8") == text
    assert git.uncommitted_files(copy) == []


def freeze(folder: Path) -> None:
    """Make a change that `prove` refuses before it rebuilds anything, and `dvc repro` accepts."""
    edit(folder / "dvc.yaml", "  train:\n", "  train:\n    frozen: true\n")


def test_model_below_its_floor_and_frozen_stage_are_both_said(copy, cli):
    freeze(copy)
    edit(copy / "params.yaml", "mae: {at_most: 8.0}", "mae: {at_most: 0.1}")
    done = cli(save(copy), "review", "--base", "HEAD")
    assert done.returncode == 4
    assert "review: prove and judge did not pass" in done.stderr
    assert {name for name, word in words(copy).items() if word == "fail"} == {"prove", "judge"}


def test_shallow_clone_says_what_is_missing(copy, cli, tmp_path):
    shallow = tmp_path / "shallow"
    git.run("clone", "-q", "--depth", "1", copy.as_uri(), str(shallow), root=tmp_path)
    dvc.share_cache(shallow, copy / ".dvc/cache")
    done = cli(shallow, "review", "--base", "HEAD^1")
    assert done.returncode == 2
    assert "revision 'HEAD^1' is not in this shallow clone; next: git fetch --unshallow" in done.stderr
    assert "review: prove, judge and latency did not pass" in done.stderr


def test_pipeline_that_stops_is_not_judged_and_keeps_its_code(copy, cli):
    edit(copy / "params.yaml", "bikes.csv: d", "bikes.csv: e")
    for name in ("judge", "latency"):  # of an earlier review
        (copy / f"reports/{name}.json").write_text(json.dumps({"verdict": "pass"}))
    done = cli(save(copy), "review", "--base", "HEAD")
    assert done.returncode == 3
    assert "prove and repro did not pass" in done.stderr
    assert {"judge", "latency"} & set(words(copy)) == set()
    text = (copy / "reports/report.md").read_text("utf-8")
    assert "the pipeline stops" in text.splitlines()[0]
    assert "bikes.csv" in text.split("<details>")[0]
    assert "mean absolute error" not in text


def test_three_that_are_red_hide_neither_each_other_nor_a_good_model(copy, cli, tmp_path, monkeypatch):
    """A frozen stage, manifests that break a rule, and a service that does not start."""
    overlay, tool = copy / "k8s/overlays/staging", tmp_path / "bin/kustomize"
    overlay.mkdir(parents=True)
    (overlay / "kustomization.yaml").write_text("resources: [pod.yaml]\n")
    (overlay / "pod.yaml").write_text(json.dumps(made("Pod", "serve", pod())))
    save(copy)
    edit(overlay / "pod.yaml", "@sha256:", ":latest@sha512:")
    freeze(copy)
    with (copy / "src/slipway/serving/asgi.py").open("a", encoding="utf-8") as front:
        front.write("\nraise RuntimeError('no such service')\n")
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\ncat "$2/pod.yaml"\n'
    )  # what the real one does with these is in tests/machinery/template/test_manifests_rendered.py
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    done = cli(save(copy), "review", "--base", "HEAD^1")
    assert done.returncode == 4
    assert "review: prove, manifests and latency did not pass" in done.stderr
    red = {name for name, word in words(copy).items() if word != "pass"}
    assert (red, words(copy)["judge"]) == ({"prove", "manifests", "latency"}, "pass")
    text = (copy / "reports/report.md").read_text("utf-8")
    assert text.startswith(
        "## ❌ Refused: the committed results are not what the pipeline produces; "
        "the Kubernetes manifests do not build, or break a rule; the service is slower than before, or fails"
    )
    above = text.split("<details>")[0]
    assert "frozen in dvc.yaml, so DVC does not check it" in above
    assert "localhost:5000/a:latest" in (copy / "reports/manifests.json").read_text("utf-8")
    assert "- staging: Argo CD applies 1 changed object; no pod restarts" in above
    assert "**Latency**: " in text
