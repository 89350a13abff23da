"""One loop on a cluster for all tests of it, in a copy of this project as it is now."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slipway.cluster import kubectl
from slipway.core import config, dvc, environment, git, ledger
from slipway.sandbox import deploy, loop
from slipway.sandbox.clone import Sandbox
from support.committed_project import ROOT, begin

LOAD_SECONDS = 15
"""Of each load test in the cluster: what it shows here does not depend on how long it takes."""
SCHEDULE = re.compile(r"(?m)^(  cluster: \{.*\bseconds: )\d+")


def copied(folder: Path) -> Path:
    """The working tree, as Git would take it, in one commit of a repository that shares the project's DVC cache.

    Only the load test in the cluster is shorter.
    """
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=True).stdout.decode()  # fmt: skip
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in ("loadtests/slo.yaml", "k8s/base/slo.yaml"):
        text, count = SCHEDULE.subn(rf"\g<1>{LOAD_SECONDS}", (folder / name).read_text("utf-8"))
        assert count == 1, f"{name} has no schedule of the cluster"
        (folder / name).write_text(text, "utf-8")
    begin(folder)
    git.run("add", "-A", root=folder)
    git.run("commit", "-q", "-m", "The project as it is", root=folder)
    dvc.share_cache(folder, dvc.cache_folder(ROOT))
    return folder


@dataclass(frozen=True)
class ClusterLoop:
    """A loop that was run on a cluster with `--keep`: its exit code, its output, and the sandbox that it left."""

    sandbox: Sandbox
    code: int
    said: str

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb in the loop's clone, as a person types it."""
        command = [sys.executable, "-m", "slipway", *words]
        return subprocess.run(command, cwd=self.sandbox.work, env=self.sandbox.env, capture_output=True, text=True,
                              timeout=120, check=False)  # fmt: skip

    def why(self) -> str:
        """The end of the loop's output, and the cluster's diagnostics, to see why it went wrong."""
        dumped = [f"{path.name}\n{path.read_text('utf-8')}" for path in sorted(self.sandbox.home.glob("*.txt"))]
        return "\n".join([self.said[-6000:], *dumped])


@contextmanager
def loop_on_cluster(folder: Path) -> Iterator[ClusterLoop]:
    """Run the loop of such a copy; afterwards nothing of it is left in the cluster or its Git server's folder."""
    root = copied(folder)
    sandbox = Sandbox(root=root, name=config.load(root / "params.yaml").track.model, ports={}, target="cluster")
    try:
        command = [sys.executable, "-m", "slipway", "loop", "--target", "cluster", "--keep", "--table"]
        done = subprocess.run(
            command, cwd=root, text=True, check=False, env=environment.for_programs(root, COLUMNS="200"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        yield ClusterLoop(sandbox, done.returncode, done.stdout)
    finally:
        if (sandbox.home / deploy.MARK).exists():
            delete_now(sandbox)
        loop.remove_everything(root)
        shutil.rmtree(sandbox.remote, ignore_errors=True)


def delete_now(sandbox: Sandbox) -> None:
    """Delete applications, namespaces and pods without the pods' grace period."""
    apps = [f"{sandbox.name}-{env}" for env in ledger.ENVIRONMENTS]
    kubectl.run("-n", kubectl.ARGOCD_NAMESPACE, "delete", "applications.argoproj.io", "--ignore-not-found", *apps)
    kubectl.run("delete", "namespace", "--ignore-not-found", "--wait=false", *apps)
    for app in apps:
        deploy.remove_hook_finalizers(app)
        kubectl.run("-n", app, "delete", "pods", "--all", "--grace-period=1", "--wait=false")


SCOPE = {"validatingadmissionpolicies", "validatingadmissionpolicybindings", "appprojects.argoproj.io"}
"""Kinds of which the project has some that lie outside its namespaces."""


@contextmanager
def unchanged(name: str) -> Iterator[None]:
    """Afterwards the cluster has no policy of `k8s/` and no project `name` that it had not before."""
    before = {kind: own_names(kind, name) for kind in SCOPE}
    try:
        yield
    finally:
        for kind in SCOPE:
            for one in own_names(kind, name) - before[kind]:
                kubectl.run("-n", kubectl.ARGOCD_NAMESPACE, "delete", kind, one, "--ignore-not-found")


def own_names(kind: str, name: str) -> set[str]:
    """The names of what is there of a kind, and could be the project's."""
    found = kubectl.run("-n", kubectl.ARGOCD_NAMESPACE, "get", kind, "-o", "name").split()
    names = {one.rpartition("/")[2] for one in found}
    return {one for one in names if one == name or one.startswith("slipway-")}
