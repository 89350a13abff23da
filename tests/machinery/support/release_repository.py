"""A repository with overlays, ledgers and a bare remote, for the tests of promote, rollback and policy."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from slipway.cluster import kustomization
from slipway.core import git, ledger
from slipway.delivery import policy_rules
from support.committed_project import begin
from support.paths import BIKES

NAME = "registry.example/bikes"
OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: bikes-{env}
images:
  - name: serve
    newName: {name}
    digest: sha256:{zeros}
"""
NOW = datetime.now(UTC).replace(microsecond=0)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def line(number: int, env: str = "staging", **changes: Any) -> ledger.Line:
    """Release `number`: an image, a bento and hashes of its own."""
    values = {
        "at": NOW - timedelta(hours=1), "env": env, "action": "release", "image": f"{NAME}@{digest(number)}",
        "bento": f"bikes:{number}", "bento_sha256": f"{number:064x}", "model_sha256": f"a{number:063x}",
        "lock_sha256": f"b{number:063x}", "data_sha256": f"c{number:063x}", "commit": "c", "pull_request": number,
        "mlflow_run": None, "metrics": {"mae": 1.5 + number}, "verdicts": dict.fromkeys(policy_rules.REQUIRED_VERDICTS, "pass"),
        "evidence": None, "supersedes": None,
    }  # fmt: skip
    return ledger.Line.model_validate(values | changes)


def project(folder: Path) -> Path:
    """Overlays without a digest, one commit, and `origin` with its main."""
    folder.mkdir(parents=True, exist_ok=True)
    begin(folder)
    shutil.copy(BIKES / "params.yaml", folder)
    (folder / ".gitignore").write_text("/reports/\n/.slipway/\n", encoding="utf-8")
    for env in ledger.ENVIRONMENTS:
        path = folder / f"k8s/overlays/{env}/kustomization.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(OVERLAY.format(env=env, name=NAME, zeros="0" * 64), encoding="utf-8")
    commit(folder, "A project")
    remote = folder.with_name(f"{folder.name}.git")
    git.run("init", "-q", "--bare", "-b", "main", str(remote), root=folder)
    git.run("remote", "add", "origin", str(remote), root=folder)
    push(folder)
    return folder


def commit(folder: Path, title: str) -> str:
    git.run("add", "-A", root=folder)
    git.run("commit", "-q", "--allow-empty", "-m", title, root=folder)
    return git.commit_hash(root=folder)


def push(folder: Path) -> None:
    git.run("push", "-q", "origin", "HEAD:refs/heads/main", root=folder)
    git.run("fetch", "-q", "origin", root=folder)


def put(folder: Path, new: ledger.Line) -> str:
    """Commit `new` as its environment's newest line, with its overlay's digest; returns the commit."""
    before = ledger.newest_line(ledger.read(new.env, folder))
    added = new.model_copy(update={"supersedes": before.identity if before else None})
    ledger.append(added, folder)
    if added.image:
        kustomization.write_digest(kustomization.path(new.env, folder), "serve", added.image.rpartition("@")[2])
    return commit(folder, f"{new.action} {new.bento} to {new.env}")


def released(folder: Path, number: int, **changes: Any) -> str:
    """Commit a change and its release to staging; returns the release's commit."""
    source = commit(folder, f"Change {number}")
    return put(folder, line(number, **{"commit": source} | changes))


def two_releases(folder: Path) -> Path:
    """A project with release 1 on staging and in production, and release 2 on staging, pushed."""
    project(folder)
    released(folder, 1)
    first = ledger.read("staging", folder)[-1]
    put(folder, first.model_copy(update={"env": "production", "action": "promote", "evidence": {"load": "pass"}}))
    released(folder, 2)
    push(folder)
    return folder


def copied(original: Path, folder: Path) -> Path:
    """A copy of a project in `folder`, with a copy of its remote as `origin`."""
    root = shutil.copytree(original, folder)
    remote = shutil.copytree(original.with_name(f"{original.name}.git"), folder.with_name(f"{folder.name}.git"))
    git.run("remote", "set-url", "origin", str(remote), root=root)
    return root
