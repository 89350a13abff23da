"""How a release of the loop reaches its environments: processes of this machine, or pods that Argo CD syncs."""

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
from slipway.sandbox.clone import Scene, chapter, packaged, serve
from slipway.serving import local_server

ENVIRONMENTS = ("staging", "production")
NEEDED = ("kubectl", "cluster", "argocd", "registry")
"""Of what `doctor` looks for: without these nothing can be delivered to a cluster."""
MARK = "cluster"
"""In the loop's folder: the name of what the loop put into a cluster."""
COMMAND = "kubectl port-forward -n {}-production service/serve 3000:3000"
"""How a person gets to production; takes the name."""
LEAVING_SECONDS = 90.0
"""Longest that a pod on its way out is there yet: `kubectl port-forward` may lead to it."""
SYNC_SECONDS = 300.0
"""Longer than a deployment's own deadline and the load gate's together."""


def ready(root: Path) -> None:
    """ConfigError that names what a delivery to a cluster lacks. A busy machine may answer too late: it is asked again."""
    if lacking := missing(root) and missing(root) and missing(root):
        raise ConfigError(f"loop: TARGET=cluster lacks {', '.join(lacking)}", hint="make cluster; slipway doctor")


def missing(root: Path) -> list[str]:
    """What is needed and did not answer."""
    seen = doctor.look(root, environment.for_programs(root))
    lacking = [name for name in NEEDED if not seen.get(name)]
    return lacking if seen.get("image builder") or environment.image_builder() else [*lacking, "image builder"]


def configure_registry(scene: Scene) -> None:
    """Commit what a team sets once: overlays that name this registry, and the gate's image; push."""
    started = time.monotonic()
    address = f"{environment.registry()}/{scene.name}"
    point(scene.work, address)
    keep(scene, f"Keep images at {environment.registry()}")
    chapter(scene, "image", "--gate")
    keep(scene, "Pin the gate's image")
    git.run("push", "-q", "origin", "main", root=scene.work)
    scene.note("settle", f"images at {address}, and the gate's own", time.monotonic() - started)


def point(work: Path, address: str) -> None:
    """Have the overlays take the service from `address`, and the gate from the same with `-gate`."""
    for path, suffix in (
        (kustomization.path("staging"), ""),
        (kustomization.path("production"), ""),
        (image.COMPONENT, "-gate"),
    ):
        text = (work / path).read_text(encoding="utf-8")
        files.write_text(work / path, re.sub(r"(?m)^(\s*newName:) .*$", rf"\1 {address}{suffix}", text))


def keep(scene: Scene, title: str) -> None:
    """Commit what changed, if anything did."""
    if git.uncommitted_files(scene.work):
        git.run("commit", "-q", "-a", "-m", title, root=scene.work)


def deliver(scene: Scene) -> None:
    """main → bento → staging, judged under load → production."""
    (_to_cluster if scene.target == "cluster" else _to_machine)(scene)


def _to_machine(scene: Scene) -> None:
    chapter(scene, "package")
    chapter(scene, "release")
    serve(scene, "staging")
    host, sha = f"http://{local_server.HOST}:{scene.ports['staging']}", packaged(scene)["bento_sha256"]
    chapter(scene, "load", "--host", host, "--of", sha)
    chapter(scene, "promote")
    serve(scene, "production")
    git.run("push", "-q", "origin", "main", root=scene.work)


def _to_cluster(scene: Scene) -> None:
    chapter(scene, "package")
    chapter(scene, "image")
    git.run("push", "-q", "origin", "main", root=scene.work)
    chapter(scene, "release", "--push")
    if not ledger.read_at("production", "main", scene.work):  # the first time: before, there was nothing to run
        begin(scene)
    arrive(scene, "staging")
    chapter(scene, "promote", "--source", "cluster", "--push")
    arrive(scene, "production")
    chapter(scene, "verify", "--env", "production")


def require_no_applications(name: str) -> None:
    """ConfigError when the cluster has applications of this name already: they may be real ones."""
    listed = json.loads(kubectl.run("get", "applications.argoproj.io", "-n", kubectl.ARGOCD_NAMESPACE, "-o", "json"))[
        "items"
    ]
    for app in listed:
        if app["metadata"]["name"] in {f"{name}-{env}" for env in ENVIRONMENTS}:
            where = app["spec"]["source"]["repoURL"]
            raise ConfigError(
                f"the cluster has an application {app['metadata']['name']} already, of {where}: it may be a real one",
                hint="name another cluster by KUBECONFIG, or delete it",
            )


def begin(scene: Scene) -> None:
    """Policies, project and applications; from now on `clear` removes them."""
    started = time.monotonic()
    require_no_applications(scene.name)
    files.write_text(scene.home / MARK, scene.name)
    argocd.bootstrap(scene.work, repository=scene.url, name=scene.name)
    scene.note("argocd", f"policies, project and applications of {scene.name}", time.monotonic() - started)


def clear(root: Path) -> int:
    """Remove what an earlier loop put into the cluster; how many applications. Its images stay in the registry."""
    mark = environment.cache_home(root) / "loop" / MARK
    if not mark.exists():
        return 0
    apps = [f"{mark.read_text(encoding='utf-8')}-{env}" for env in ENVIRONMENTS]
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
    """Take Argo CD's finalizer off the hooks: one that ran when its application was deleted would hold the namespace for ever."""
    for job in kubectl.run("-n", namespace, "get", "jobs", "-o", "name").split():
        with contextlib.suppress(ConfigError):  # gone meanwhile; another reason is told when the namespace stays
            kubectl.run("-n", namespace, "patch", job, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def arrive(scene: Scene, env: str) -> None:
    """Wait until Argo CD has brought the newest commit of main to an environment; CheckFailed when it did not."""
    started = time.monotonic()
    git.run("pull", "-q", "--ff-only", "origin", "main", root=scene.work)
    revision, app = git.commit(root=scene.work), f"{scene.name}-{env}"
    try:
        argocd.refresh(app)
        found = argocd.wait_for_sync(app, revision, seconds=SYNC_SECONDS, root=scene.work)
        if found.phase != "Succeeded":
            raise CheckFailed(
                f"{app}: the sync of {revision[:12]} {found.phase}: {said(found)}", hint=f"argocd app get {app}"
            )
        running(app, kustomization.read((scene.work / kustomization.path(env)).read_text(encoding="utf-8")).image)
    except Exception:
        dump(scene, app)
        raise
    hooks = ", ".join(f"{hook.name} {hook.phase}" for hook in found.hooks)
    scene.note("sync", f"{env} at {revision[:12]}{f', {hooks}' if hooks else ''}", time.monotonic() - started)


def running(app: str, image: str, *, seconds: float = SYNC_SECONDS) -> None:
    """Wait until every pod of the service runs `image` and is ready, for a sync without hooks ends before that; else CheckFailed."""
    deadline = time.monotonic() + seconds
    while not (there := pods.list_pods(app)) or not all(pod.ready and pod.image == image for pod in there):
        if time.monotonic() > deadline:
            ready = sum(pod.ready and pod.image == image for pod in there)
            raise CheckFailed(
                f"{app}: {ready} of {len(there)} pods run {image} and are ready", hint=f"kubectl -n {app} get pods"
            )
        time.sleep(1)


def said(app: argocd.App) -> str:
    """Why an operation failed: what its failed hook says, else Argo CD's message."""
    failed = [hook.name for hook in app.hooks if hook.phase == "Failed"]
    lines = kubectl.hook_log(app.namespace, failed[0]).splitlines() if failed else []
    return " ".join([app.message, *(line for line in lines if line.startswith("error"))])


def dump(scene: Scene, app: str) -> None:
    """What the cluster says of an application, kept to be read."""
    with contextlib.suppress(OSError):
        files.write_text(scene.home / f"{app}.txt", kubectl.diagnostics(app))


@contextlib.contextmanager
def endpoint(scene: Scene, env: str, service: str = "serve") -> Iterator[str]:
    """An environment's address, as seen from here, while the block runs."""
    if scene.target == "machine":
        yield f"http://{local_server.HOST}:{scene.ports[env]}"
        return
    command = ["kubectl", "port-forward", f"service/{service}", ":3000", "--address", local_server.HOST, "-n",
               f"{scene.name}-{env}"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as forward:
        try:
            said = forward.stdout.readline() if forward.stdout else ""
            if not (port := re.search(r":(\d+) ->", said)):
                raise ConfigError(f"kubectl cannot reach {env}: {said.strip()}", hint=" ".join(command))
            yield f"http://{local_server.HOST}:{port[1]}"
        finally:
            forward.terminate()
