"""The context of a drill without a cluster: a repository with overlays and ledgers, and a `kubectl` that prints files."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster import kustomization
from slipway.core import config, git, ledger
from slipway.sandbox import clone
from slipway.sandbox.drills.context import DrillContext
from support.executables import write_script
from support.paths import RECORDED
from support.release_repository import BIKES, digest, line, project, push, put, released


def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrillContext:
    """Staging and production run the same release, everything is whole, and the cluster says so."""
    stage = clone.Sandbox(root=tmp_path / "root", name="bikes", ports={}, target="cluster")
    monkeypatch.setenv("GIT_ROOT", str(stage.home))
    monkeypatch.setenv("GIT_URL", "file:///nowhere")
    folder = project(stage.work)
    folder.with_name("work.git").rename(stage.remote)
    git.run("remote", "set-url", "origin", str(stage.remote), root=folder)
    released(folder, 1)
    put(folder, ledger.read("staging", folder)[0].model_copy(update={"env": "production", "action": "promote"}))
    push(folder)
    programs = tmp_path / "bin"
    programs.mkdir()
    tip = f'"$(git -C {shlex.quote(str(stage.remote))} rev-parse main)"'
    script = f"""echo "$*" >>"$here/asked"
case "$*" in
*applications*) exec sed s/THE_TIP/{tip}/g "$here/app" ;;
*pods*) exec cat "$here/pods" ;;
*) echo nothing ;;
esac"""
    write_script(programs / "kubectl", script)
    monkeypatch.setenv("PATH", f"{programs}:{Path('/usr/bin')}:/bin")
    there = DrillContext(stage, config.load(BIKES / "params.yaml"))
    says(there, phase="Succeeded")
    return there


def says(there: DrillContext, *, phase: str, image: str | None = None) -> None:
    """From now on both applications are Synced at main's tip, their operation ended so, their one pod runs `image`."""
    programs = there.sandbox.root.parent / "bin"
    app: dict[str, Any] = json.loads((RECORDED / "succeeded.json").read_text())
    app["status"]["sync"]["revision"] = app["status"]["operationState"]["syncResult"]["revision"] = "THE_TIP"
    app["status"]["operationState"]["phase"] = phase
    pinned = kustomization.pinned_at("staging", "origin/main", there.work)
    pod = {"metadata": {"name": "serve-1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]},
           "spec": {"containers": [{"name": "serve", "image": image or (pinned and pinned.image)}]}}  # fmt: skip
    (programs / "app").write_text(json.dumps(app), encoding="utf-8")
    (programs / "pods").write_text(json.dumps({"items": [pod]}), encoding="utf-8")


__all__ = ["digest", "line", "says", "world"]
