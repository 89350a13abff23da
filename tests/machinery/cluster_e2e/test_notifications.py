"""On a real cluster: Argo CD's and the Rollouts controller's notifications reach a GitHub of the tests' own.

An application of its own: a Deployment's place is taken by a ConfigMap, the load gate's by a Job that says yes or no.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from slipway.cluster import argocd, kubectl
from slipway.core import environment, git
from slipway.delivery import evidence
from slipway.errors import ConfigError
from support import committed_project
from support.fake_github import GitHub
from support.paths import ROOT

pytestmark = pytest.mark.cluster
NAME = f"d-notify-{os.getpid()}"
REPOSITORY = "octo/d-notify"
ADDRESS = "https://api.github.com/repos/your/repository"
IMAGE = f"{os.environ.get('REGISTRY', 'localhost:5000')}/python:3.11-slim"
SECRETS = {"argocd": "argocd-notifications-secret", "argo-rollouts": "argo-rollouts-notification-secret"}
Until = Callable[..., Any]


def until(work: Callable[[], Any], *, seconds: float = 90) -> Any:
    """What `work` gives, once it gives anything."""
    deadline = time.monotonic() + seconds
    while not (found := work()):
        assert time.monotonic() < deadline, f"nothing after {seconds:g} s"
        time.sleep(0.5)
    return found


def apply(*objects: Any) -> None:
    kubectl.run("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def notifications(hub: GitHub) -> Iterator[Any]:
    """What argocd/notifications gives a cluster, with this GitHub's address, and the token beside it."""
    for path in sorted((ROOT / "argocd/notifications").glob("*.yaml")):
        if path.name != "kustomization.yaml":
            text = path.read_text(encoding="utf-8")
            assert ADDRESS in text
            yield YAML(typ="safe").load(text.replace(ADDRESS, f"{hub.url}/repos/{hub.repository}"))
    for namespace, name in SECRETS.items():
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
               "stringData": {"github-token": hub.token}}  # fmt: skip


@pytest.fixture(scope="module")
def hub() -> Iterator[GitHub]:
    """GitHub, told by both controllers; who had notifications here before keeps them."""
    with GitHub(REPOSITORY, author="slipway-argocd") as server:
        objects = list(notifications(server))
        for one in objects:
            if one["kind"] == "ConfigMap" and there(one):
                pytest.fail(f"the cluster has a {one['metadata']['name']} already: this test would overwrite it")
        apply(*objects)
        try:
            yield server
        finally:
            for one in objects:
                where = one["metadata"]
                kubectl.run("-n", where["namespace"], "delete", one["kind"], where["name"], "--ignore-not-found")


def there(one: Any) -> bool:
    try:
        kubectl.run("-n", one["metadata"]["namespace"], "get", one["kind"], one["metadata"]["name"])
    except ConfigError:
        return False
    return True


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}})
    yield NAME
    kubectl.run("delete", "namespace", NAME, "--wait=false")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository that Argo CD can read; `write` is what staging is."""
    server = environment.git_server()
    if server is None:
        pytest.fail("GIT_ROOT and GIT_URL name no Git server that the cluster reads")
    remote, root = server[0] / f"{NAME}.git", tmp_path_factory.mktemp("notify")
    git.run("init", "-q", "--bare", "-b", "main", str(remote), root=root)
    committed_project.begin(root)
    git.run("remote", "add", "origin", str(remote), root=root)
    yield root
    subprocess.run(["rm", "-rf", str(remote)], check=True)


def write(root: Path, number: int, *, code: int) -> str:
    """A commit of staging whose gate ends with `code`; pushed."""
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "serve"}, "data": {"number": str(number)}}
    notes = {"argocd.argoproj.io/hook": "PostSync", "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation"}
    gate = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "load-gate", "annotations": notes},
            "spec": job(code)}  # fmt: skip
    (root / "staging").mkdir(exist_ok=True)
    YAML().dump_all([thing, gate], root / "staging/all.yaml")
    git.run("add", "-A", root=root)
    git.run("commit", "-q", "-m", f"Release {number}", root=root)
    git.run("push", "-q", "origin", "HEAD:main", root=root)
    return git.commit_hash(root=root)


def job(code: int) -> Any:
    """A Job that ends at once."""
    gate = {"name": "gate", "image": IMAGE, "command": ["python", "-c", f"raise SystemExit({code})"]}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [gate]}
    return {"backoffLimit": 0, "template": {"spec": pod}}


@pytest.fixture(scope="module")
def application(hub: GitHub, namespace: str, repository: Path) -> Iterator[str]:
    """The first release is synced and judged well; annotated as argocd/staging.yaml is."""
    assert hub
    server = environment.git_server()
    assert server
    real = YAML(typ="safe").load((ROOT / "argocd/staging.yaml").read_text(encoding="utf-8"))
    real["metadata"] |= {"name": NAME}
    real["spec"] |= {
        "project": "default",
        "source": {"repoURL": f"{server[1]}/{NAME}.git", "targetRevision": "main", "path": "staging"},
        "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
    }
    write(repository, 1, code=0)
    apply(real)
    try:
        yield NAME
    finally:
        kubectl.run("-n", "argocd", "delete", "application", NAME, "--ignore-not-found")


def statuses(hub: GitHub, commit: str) -> list[tuple[str, str]]:
    return [(row["context"], row["state"]) for row in hub.statuses if row["sha"] == commit]


def test_an_aborted_canary_asks_for_its_rollback(hub, namespace):
    template = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
                "metadata": {"name": "canary", "namespace": namespace},
                "spec": {"metrics": [{"name": "canary", "count": 1, "failureLimit": 0,
                                      "provider": {"job": {"spec": job(4)}}}]}}  # fmt: skip
    steps = [{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "canary"}]}}]
    patch = {one["path"]: one["value"] for one in YAML(typ="safe").load(
        (ROOT / "k8s/components/canary/rollout.yaml").read_text(encoding="utf-8"))}  # fmt: skip

    def rollout(number: int) -> Any:
        serve = {"name": "serve", "image": IMAGE, "command": ["python", "-m", "http.server", str(3000 + number)]}
        pod = {"metadata": {"labels": {"app": "serve"}},
               "spec": {"containers": [serve], "terminationGracePeriodSeconds": 1}}  # fmt: skip
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
                "metadata": {"name": "serve", "namespace": namespace, "annotations": patch["/metadata/annotations"]},
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "serve"}}, "template": pod,
                         "strategy": {"canary": {"steps": steps}}}}  # fmt: skip

    def phase() -> str:
        return kubectl.run("-n", namespace, "get", "rollout", "serve", "-o", "jsonpath={.status.phase}")

    apply(template, rollout(1))
    until(lambda: phase() == "Healthy")
    apply(rollout(2))
    (told,) = until(lambda: hub.dispatches)
    assert (told["workflow"], told["ref"]) == ("promote.yml", "main")
    assert told["inputs"]["of"] == IMAGE
    assert 'Metric "canary" assessed Failed due to failed (1) > failureLimit (0)' in told["inputs"]["aborted"]
    assert {name: told["inputs"][name] for name in ("action", "environment", "reason")} == {
        "action": "rollback", "environment": "production", "reason": "the canary was aborted",
    }  # fmt: skip
    workflow = YAML(typ="safe").load((ROOT / ".github/workflows/promote.yml").read_text(encoding="utf-8"))
    assert set(told["inputs"]) <= set(workflow["on"]["workflow_dispatch"]["inputs"])


def test_a_gate_that_says_yes_is_a_green_status(hub, application, repository, params):
    commit = git.commit_hash(root=repository)
    until(lambda: statuses(hub, commit))
    assert statuses(hub, commit) == [("slipway/staging", "success")]
    assert hub.statuses[-1]["description"] == f"{application}: successfully synced (no more tasks)"
    row = {**hub.statuses[-1], "creator": {"login": params.release.creator}}
    assert evidence.STATE_VERDICTS[row["state"]] == "pass"


def test_a_gate_that_says_no_is_a_red_status_that_healing_leaves_red(hub, application, repository):
    commit = write(repository, 2, code=4)
    argocd.refresh(application)
    until(lambda: statuses(hub, commit))
    assert statuses(hub, commit) == [("slipway/staging", "failure")]
    argocd.run(
        "app", "sync", application, "--resource", ":ConfigMap:serve"
    )  # what healing does: single objects, no hooks
    healed = until(lambda: (app := argocd.get_app(application)).partial and app.phase == "Succeeded" and app)
    assert healed.hooks == ()


def test_the_next_commit_that_passes_is_green(hub, application, repository):
    red = git.commit_hash(root=repository)
    commit = write(repository, 3, code=0)
    argocd.refresh(application)
    until(lambda: statuses(hub, commit))
    assert statuses(hub, commit) == [("slipway/staging", "success")]
    assert statuses(hub, red) == [("slipway/staging", "failure")], "the healing before it was told of by nobody"


def test_an_abort_was_told_once(hub):
    """By now the controller has looked at the aborted version many times."""
    assert len(hub.dispatches) == 1
