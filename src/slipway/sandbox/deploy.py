"""Deliver a release of the loop to its environments: processes of this machine, or pods that Argo CD syncs."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from slipway.cluster import argocd, kubectl, kustomization, pods
from slipway.core import environment, files, git, ledger
from slipway.errors import CheckFailed, ConfigError
from slipway.packaging import image
from slipway.sandbox import doctor
from slipway.sandbox.clone import Sandbox, package_notes, run_verb, serve
from slipway.serving import local_server

NEEDED = ("kubectl", "cluster", "argocd", "registry")
"""Tools by their names in `doctor` that a delivery to a cluster needs."""
MARK = "cluster"
"""File in the loop's folder with the name of the applications that the loop created in a cluster."""
LEAVING_SECONDS = 90.0
"""Longest that `kubectl port-forward` may still lead to a pod that is terminating."""
SYNC_SECONDS = 300.0
"""Longer than a deployment's deadline and the load gate's together."""


def require_cluster_tools(root: Path) -> None:
    """ConfigError that names what a delivery to a cluster lacks; checked three times, for a busy machine may answer too late."""
    if lacking := missing_tools(root) and missing_tools(root) and missing_tools(root):
        raise ConfigError(f"loop: TARGET=cluster lacks {', '.join(lacking)}", hint="make cluster; slipway doctor")


def missing_tools(root: Path) -> list[str]:
    """The needed tools that did not answer."""
    results = doctor.inspect_machine(root, environment.for_programs(root))
    lacking = [name for name in NEEDED if not results.get(name)]
    return lacking if results.get("image builder") or environment.image_builder() else [*lacking, "image builder"]


def configure_registry(sandbox: Sandbox) -> None:
    """Commit and push what a team sets once: the registry in the overlays, and the gate's image."""
    started = time.monotonic()
    address = f"{environment.registry_host()}/{sandbox.name}"
    set_image_names(sandbox.work, address)
    commit_changes(sandbox, f"Keep images at {environment.registry_host()}")
    run_verb(sandbox, "image", "--gate")
    commit_changes(sandbox, "Pin the gate's image")
    git.run("push", "-q", "origin", sandbox.branch, root=sandbox.work)
    sandbox.record_step("settle", f"images at {address}, and the gate's own", time.monotonic() - started)


def set_image_names(work: Path, address: str) -> None:
    """Set the images of the overlays to `address`, and the programs' to the same with `-gate` or `-uploader`."""
    for path, suffix in (
        (kustomization.path("staging"), ""),
        (kustomization.path("production"), ""),
        (image.GATE_KUSTOMIZATION, "-gate"),
        (image.UPLOADER.kustomization, "-uploader"),
    ):
        text = (work / path).read_text(encoding="utf-8")
        files.write_text(work / path, re.sub(r"(?m)^(\s*newName:) .*$", rf"\1 {address}{suffix}", text))


def commit_changes(sandbox: Sandbox, title: str) -> None:
    """Commit the changed files, if there are any."""
    if git.uncommitted_files(sandbox.work):
        git.run("commit", "-q", "-a", "-m", title, root=sandbox.work)


def deliver(sandbox: Sandbox) -> None:
    """Package main, release it to staging, load-test it there, and promote it to production."""
    (_to_cluster if sandbox.target == "cluster" else _to_machine)(sandbox)


def _to_machine(sandbox: Sandbox) -> None:
    run_verb(sandbox, "package")
    run_verb(sandbox, "release")
    serve(sandbox, "staging")
    host, sha = f"http://{local_server.HOST}:{sandbox.ports['staging']}", package_notes(sandbox)["bento_sha256"]
    run_verb(sandbox, "load", "--host", host, "--of", sha)
    run_verb(sandbox, "promote")
    serve(sandbox, "production")
    git.run("push", "-q", "origin", sandbox.branch, root=sandbox.work)


def _to_cluster(sandbox: Sandbox) -> None:
    run_verb(sandbox, "package")
    run_verb(sandbox, "image")
    git.run("push", "-q", "origin", sandbox.branch, root=sandbox.work)
    run_verb(sandbox, "release", "--push")
    if not ledger.read_at(
        "production", sandbox.branch, sandbox.work
    ):  # the first time: before, there was nothing to run
        create_applications(sandbox)
    wait_for_arrival(sandbox, "staging")
    run_verb(sandbox, "promote", "--source", "cluster", "--push")
    wait_for_arrival(sandbox, "production")
    run_verb(sandbox, "verify", "--env", "production")


def require_no_applications(name: str) -> None:
    """ConfigError when the cluster already has applications of this name: they may be real ones."""
    applications = json.loads(
        kubectl.run("get", "applications.argoproj.io", "-n", kubectl.ARGOCD_NAMESPACE, "-o", "json")
    )["items"]
    for app in applications:
        if app["metadata"]["name"] in {f"{name}-{env}" for env in ledger.ENVIRONMENTS}:
            url = app["spec"]["source"]["repoURL"]
            owner = "a loop in another folder" if "/slipway-loop-" in url else "it may be a real one"
            raise ConfigError(
                f"the cluster has an application {app['metadata']['name']} already, of {url}: {owner}",
                hint=f"name another cluster by KUBECONFIG, or delete the application and the namespaces {name}-*",
            )


def create_applications(sandbox: Sandbox) -> None:
    """Create policies, project and applications; `remove_applications` removes them again."""
    started = time.monotonic()
    require_no_applications(sandbox.name)
    files.write_text(sandbox.home / MARK, sandbox.name)
    argocd.bootstrap(sandbox.work, repository=sandbox.url, name=sandbox.name)
    sandbox.record_step("argocd", f"policies, project and applications of {sandbox.name}", time.monotonic() - started)


def remove_applications(root: Path) -> int:
    """Remove an earlier loop's applications and namespaces; the number of applications. Its images stay in the registry."""
    mark = environment.cache_home(root) / "loop" / MARK
    if not mark.exists():
        return 0
    apps = [f"{mark.read_text(encoding='utf-8')}-{env}" for env in ledger.ENVIRONMENTS]
    kubectl.run(
        "delete",
        "applications.argoproj.io",
        "-n",
        kubectl.ARGOCD_NAMESPACE,
        "--ignore-not-found",
        "--timeout=60s",
        *apps,
    )
    for app in apps:
        remove_hook_finalizers(app)
    kubectl.run("delete", "namespace", "--ignore-not-found", "--timeout=120s", *apps, timeout=150)
    mark.unlink()
    return len(apps)


def remove_hook_finalizers(namespace: str) -> None:
    """Remove Argo CD's finalizer from the hooks: one that ran when its application was deleted would keep the namespace."""
    for job in kubectl.run("-n", namespace, "get", "jobs", "-o", "name").split():
        with contextlib.suppress(ConfigError):  # gone meanwhile; another reason shows when the namespace stays
            kubectl.run("-n", namespace, "patch", job, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def wait_for_arrival(sandbox: Sandbox, env: str) -> None:
    """Wait until Argo CD has synced main's newest commit to an environment; CheckFailed when it did not."""
    started = time.monotonic()
    git.run("pull", "-q", "--ff-only", "origin", sandbox.branch, root=sandbox.work)
    revision, app = git.commit_hash(root=sandbox.work), f"{sandbox.name}-{env}"
    try:
        argocd.refresh(app)
        with sandbox.activity(f"waiting for Argo CD to deploy {env}{' and load-test it' if env == 'staging' else ''}"):
            state = argocd.wait_for_sync(app, revision, seconds=SYNC_SECONDS, root=sandbox.work)
        if state.phase != "Succeeded":
            raise CheckFailed(
                f"{app}: the sync of {revision[:12]} {state.phase}: {failure_reason(state)}",
                hint=f"argocd app get {app}",
            )
        wait_for_pods(
            app, kustomization.read((sandbox.work / kustomization.path(env)).read_text(encoding="utf-8")).image
        )
    except Exception:
        write_diagnostics(sandbox, app)
        raise
    hooks = ", ".join(f"{hook.name} {hook.phase}" for hook in state.hooks)
    sandbox.record_step("sync", f"{env} at {revision[:12]}{f', {hooks}' if hooks else ''}", time.monotonic() - started)


def wait_for_pods(app: str, image: str, *, seconds: float = SYNC_SECONDS) -> None:
    """Wait until every pod of the service runs `image` and is ready: a sync without hooks ends before that.

    CheckFailed after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not (current := pods.list_pods(app)) or not all(pod.ready and pod.image == image for pod in current):
        if time.monotonic() > deadline:
            ready = sum(pod.ready and pod.image == image for pod in current)
            raise CheckFailed(
                f"{app}: {ready} of {len(current)} pods run {image} and are ready", hint=f"kubectl -n {app} get pods"
            )
        time.sleep(1)


def failure_reason(app: argocd.App) -> str:
    """Argo CD's message about a failed operation, with the error lines of its failed hook."""
    failed = [hook.name for hook in app.hooks if hook.phase == "Failed"]
    lines = kubectl.hook_log(app.namespace, failed[0]).splitlines() if failed else []
    return " ".join([app.message, *(line for line in lines if line.startswith("error"))])


def write_diagnostics(sandbox: Sandbox, app: str) -> None:
    """Write the cluster's diagnostics of an application into the loop's folder."""
    with contextlib.suppress(OSError):
        files.write_text(sandbox.home / f"{app}.txt", kubectl.diagnostics(app))


@contextlib.contextmanager
def endpoint(sandbox: Sandbox, env: str, service: str = "serve") -> Iterator[str]:
    """An environment's address for this machine, while the block runs; ConfigError when kubectl cannot forward to it."""
    if sandbox.target == "machine":
        yield f"http://{local_server.HOST}:{sandbox.ports[env]}"
        return
    command = ["kubectl", "port-forward", f"service/{service}", ":3000", "--address", local_server.HOST, "-n",
               f"{sandbox.name}-{env}"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as forward:
        try:
            line = forward.stdout.readline() if forward.stdout else ""
            if not (port := re.search(r":(\d+) ->", line)):
                raise ConfigError(f"kubectl cannot reach {env}: {line.strip()}", hint=" ".join(command))
            yield f"http://{local_server.HOST}:{port[1]}"
        finally:
            forward.terminate()
