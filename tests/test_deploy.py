from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from slipway import application, deploy, git, image, overlay, scene
from slipway.errors import ConfigError
from story import ROOT, repository

RECORDED = ROOT / "tests/applications"


def test_cluster_that_is_not_there_is_named_before_anything_runs(tmp_path, monkeypatch):
    for name in ("KUBECONFIG", "REGISTRY"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"TARGET=cluster lacks .*cluster"):
        deploy.ready(tmp_path)


def test_nothing_in_a_cluster_is_touched_without_the_mark(tmp_path):
    assert deploy.clear(tmp_path) == 0


def test_remote_is_where_the_cluster_can_read_it(tmp_path, monkeypatch):
    folder = repository(tmp_path / "p")
    monkeypatch.setenv("GIT_ROOT", str(tmp_path / "served"))
    monkeypatch.setenv("GIT_URL", "http://git.example.org/")
    stage = scene.Scene(root=folder, name="bikes", ports={}, target="cluster")
    assert stage.remote.parent == tmp_path / "served"
    assert stage.url == f"http://git.example.org/{stage.remote.name}"
    other = scene.Scene(root=tmp_path / "q", name="bikes", ports={}, target="cluster")
    assert other.remote != stage.remote
    assert scene.Scene(root=folder, name="bikes", ports={}).remote == folder / ".slipway/loop/remote.git"


def test_all_three_images_come_from_the_registry_that_is_meant(tmp_path):
    work = shutil.copytree(ROOT / "k8s", tmp_path / "k8s").parent
    deploy.point(work, "registry.example.org/bikes")
    for env in deploy.ENVIRONMENTS:
        assert overlay.read(overlay.path(env, work).read_text()).new_name == "registry.example.org/bikes"
    assert overlay.read((work / image.COMPONENT).read_text(), "gate").new_name == "registry.example.org/bikes-gate"
    assert (work / "k8s/base/deployment.yaml").read_text() == (ROOT / "k8s/base/deployment.yaml").read_text()


def test_nothing_changed_is_no_commit(tmp_path):
    stage = scene.prepare(repository(tmp_path / "p"), "bikes", {})
    before = git.commit(root=stage.work)
    deploy.keep(stage, "Nothing")
    assert git.commit(root=stage.work) == before
    (stage.work / "params.yaml").write_text("seed: 1\n")
    deploy.keep(stage, "Something")
    assert git.output("log", "-1", "--format=%s", root=stage.work) == "Something"


def test_machine_is_reached_at_its_port(tmp_path):
    stage = scene.Scene(root=tmp_path, name="bikes", ports={"production": 3001})
    with deploy.door(stage, "production") as host:
        assert host == "http://127.0.0.1:3001"


def test_sync_without_a_failed_hook_says_what_argo_cd_says():
    app = application.read(json.loads((RECORDED / "gate-failed.json").read_text()))
    assert deploy.said(replace(app, hooks=())) == app.message
