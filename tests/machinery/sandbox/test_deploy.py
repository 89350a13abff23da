from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import replace

import pytest

from slipway.cluster import argocd, kustomization
from slipway.core import git, ledger
from slipway.errors import CheckFailed, ConfigError
from slipway.packaging import image
from slipway.sandbox import clone, deploy
from support import fake_cluster
from support.committed_project import ROOT, repository
from support.paths import RECORDED


def test_cluster_that_is_not_there_is_named_before_anything_runs(tmp_path, monkeypatch):
    for name in ("KUBECONFIG", "REGISTRY"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"TARGET=cluster lacks .*cluster"):
        deploy.require_cluster_tools(tmp_path)


def test_nothing_in_a_cluster_is_touched_without_the_mark(tmp_path):
    assert deploy.remove_applications(tmp_path) == 0


def test_remote_is_where_the_cluster_can_read_it(tmp_path, monkeypatch):
    folder = repository(tmp_path / "p")
    monkeypatch.setenv("GIT_ROOT", str(tmp_path / "served"))
    monkeypatch.setenv("GIT_URL", "http://git.example.org/")
    stage = clone.Sandbox(root=folder, name="bikes", ports={}, target="cluster")
    assert stage.remote.parent == tmp_path / "served"
    assert stage.url == f"http://git.example.org/{stage.remote.name}"
    other = clone.Sandbox(root=tmp_path / "q", name="bikes", ports={}, target="cluster")
    assert other.remote != stage.remote
    assert clone.Sandbox(root=folder, name="bikes", ports={}).remote == folder / ".slipway/loop/remote.git"


def test_all_three_images_come_from_the_registry_that_is_meant(tmp_path):
    work = shutil.copytree(ROOT / "k8s", tmp_path / "k8s").parent
    deploy.set_image_names(work, "registry.example.org/bikes")
    for env in ledger.ENVIRONMENTS:
        assert kustomization.read(kustomization.path(env, work).read_text()).new_name == "registry.example.org/bikes"
    assert (
        kustomization.read((work / image.GATE_KUSTOMIZATION).read_text(), "gate").new_name
        == "registry.example.org/bikes-gate"
    )
    assert (work / "k8s/base/deployment.yaml").read_text() == (ROOT / "k8s/base/deployment.yaml").read_text()


def test_nothing_changed_is_no_commit(tmp_path):
    stage = clone.prepare(repository(tmp_path / "p"), "bikes", {})
    before = git.commit_hash(root=stage.work)
    deploy.commit_changes(stage, "Nothing")
    assert git.commit_hash(root=stage.work) == before
    (stage.work / "params.yaml").write_text("seed: 1\n")
    deploy.commit_changes(stage, "Something")
    assert git.run("log", "-1", "--format=%s", root=stage.work) == "Something"


def test_machine_is_reached_at_its_port(tmp_path):
    stage = clone.Sandbox(root=tmp_path, name="bikes", ports={"production": 3001})
    with deploy.endpoint(stage, "production") as host:
        assert host == "http://127.0.0.1:3001"


def test_sync_that_failed_is_refused_and_what_the_cluster_says_is_kept(tmp_path, monkeypatch):
    stage = clone.prepare(repository(tmp_path / "p"), "bikes", {})
    told = json.loads((RECORDED / "gate-failed.json").read_text())
    told["status"]["operationState"]["syncResult"]["revision"] = git.commit_hash(root=stage.work)
    (tmp_path / "app.json").write_text(json.dumps(told))
    script = f'#!/bin/sh\ncase "$*" in *"get applications"*) exec cat "{tmp_path}/app.json";; esac\n'
    (tmp_path / "kubectl").write_text(script)
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(CheckFailed, match=r"bikes-staging: the sync of [0-9a-f]{12} Failed: "):
        deploy.wait_for_arrival(stage, "staging")
    assert "get applications" in (stage.home / "bikes-staging.txt").read_text()


def test_sync_without_a_failed_hook_says_what_argo_cd_says():
    app = argocd.parse(json.loads((RECORDED / "gate-failed.json").read_text()))
    assert deploy.failure_reason(replace(app, hooks=())) == app.message


def test_pods_of_another_image_are_not_there_yet(tmp_path, monkeypatch):
    there = fake_cluster.world(tmp_path, monkeypatch)
    pinned = kustomization.pinned_at("production", "main", there.work)
    deploy.wait_for_pods(there.app("production"), pinned.image, seconds=0)
    late = threading.Timer(3, fake_cluster.says, [there], {"phase": "Succeeded", "image": "elsewhere@sha256:1"})
    late.start()
    with pytest.raises(CheckFailed, match="0 of 1 pods run elsewhere@sha256:1 and are ready"):
        deploy.wait_for_pods(there.app("production"), "elsewhere@sha256:1", seconds=0)
    late.cancel()
    late.join()
