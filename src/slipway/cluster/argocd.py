"""Argo CD's Applications: read one, refresh it, wait until it has synced a revision."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from slipway.cluster import kubectl
from slipway.core import git
from slipway.errors import ConfigError, Inconclusive, SlipwayError

ENDED = ("Succeeded", "Failed", "Error")
"""Phases of an operation that is over."""
UNREACHED = re.compile(
    r"connection refused|no such host|i/o timeout|deadline exceeded|code = Unavailable|failed to list refs"
)
"""Errors that pass by themselves: Git, or a part of Argo CD, does not answer for the moment."""
POLL_SECONDS = 1.0
SURE_SECONDS = 15.0
"""Time that a stuck state must last before it is reported: Argo CD needs seconds to look at a new commit."""
IncludesCommit = Callable[[str], bool]
"""A function that returns whether a revision is the wanted commit, or a later one."""


class Hook(NamedTuple):
    """A hook of an operation: its object's name, its kind (PostSync, …), and the phase in which it ended."""

    name: str
    kind: str
    phase: str


@dataclass(frozen=True, kw_only=True)
class App:
    """An Argo CD Application, as its controller last wrote it.

    `revision`, `phase`, `message`, `started`, `finished` and `hooks` are those of the last operation. A `partial` one
    (self-heal) restored single objects, ran no hooks, and replaced the record of the full sync before it.
    `compared` is the revision of `sync`; `errors` are the reasons why it cannot be compared or synced.
    """

    name: str
    namespace: str
    compared: str
    sync: str
    health: str
    revision: str
    phase: str
    message: str
    started: datetime | None
    finished: datetime | None
    partial: bool
    hooks: tuple[Hook, ...]
    images: tuple[str, ...]
    errors: tuple[str, ...]
    deployed: tuple[tuple[str, datetime], ...] = ()
    """Revision and time of each full sync that succeeded with its hooks, oldest first."""

    @property
    def last_full_sync(self) -> App:
        """The application after its last full sync on record, because a self-heal hides the operation before it."""
        if not self.partial or self.phase != "Succeeded" or not self.deployed:
            return self
        revision, at = self.deployed[-1]
        return replace(self, revision=revision, finished=at, started=None, partial=False, message="")


def parse(raw: Mapping[str, Any]) -> App:
    """Read an Application object of the API server."""
    status = raw.get("status", {})
    state, compared = status.get("operationState", {}), status.get("sync", {})
    requested, result = state.get("operation", {}).get("sync", {}), state.get("syncResult", {})
    objects = result.get("resources") or []
    images = {*status.get("summary", {}).get("images", ()), *(i for one in objects for i in one.get("images", ()))}
    return App(
        name=raw["metadata"]["name"],
        namespace=raw["spec"]["destination"].get("namespace", ""),
        compared=compared.get("revision", ""),
        sync=compared.get("status", "Unknown"),
        health=status.get("health", {}).get("status", "Unknown"),
        revision=result.get("revision") or requested.get("revision", ""),
        phase=state.get("phase", ""),
        message=state.get("message", ""),
        started=_time(state.get("startedAt")),
        finished=_time(state.get("finishedAt")),
        partial=bool(requested.get("resources")),
        hooks=tuple(Hook(o["name"], o["hookType"], o.get("hookPhase", "")) for o in objects if o.get("hookType")),
        images=tuple(sorted(images)),
        errors=tuple(
            f"{one['type']}: {one['message']}"
            for one in status.get("conditions") or ()
            if one["type"].endswith("Error")
        ),
        deployed=tuple(
            (one["revision"], datetime.fromisoformat(one["deployedAt"])) for one in status.get("history", ())
        ),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def get_app(app: str) -> App:
    """Read the application from the cluster; ConfigError when there is none of this name."""
    return parse(
        json.loads(kubectl.run("-n", kubectl.ARGOCD_NAMESPACE, "get", "applications.argoproj.io", app, "-o", "json"))
    )


def describe(app: App) -> str:
    """The application's state in one line."""
    operation = f"operation {app.phase or 'none'} of {app.revision[:12] or 'nothing'}"
    parts = [f"{app.sync} at {app.compared[:12] or 'nothing'}", app.health, operation, app.message, *app.errors]
    return ", ".join(filter(None, parts))


def run(*args: str, timeout: float = 60) -> str:
    """Run `argocd ARGS` and return its output. Errors as in `kubectl.call`."""
    return kubectl.call("argocd", *args, timeout=timeout)


def bootstrap(root: Path, *, repository: str, name: str) -> None:
    """Apply what a cluster needs once: policies, namespaces, project, and applications that read `repository`.

    `name` is the project's; ConfigError when `argocd/` is about another one.
    """
    kubectl.run("apply", "-k", str(root / "k8s/policy"))
    objects = list(YAML(typ="safe").load_all(kubectl.run("kustomize", str(root / "argocd"))))
    items = [_with_repository(one, repository, name) for one in objects]
    kubectl.run("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def _with_repository(item: dict[str, Any], repository: str, name: str) -> dict[str, Any]:
    """The object, reading from `repository`."""
    if item["kind"] == "AppProject":
        if (project := item["metadata"]["name"]) != name:
            hint = f"replace {project} by {name} in argocd/ and k8s/"
            message = f"argocd/project.yaml has the name {project!r}"
            raise ConfigError(message, expected=f"{name!r}, as track.model in params.yaml", value=project, hint=hint)
        item["spec"]["sourceRepos"] = [repository]
    elif item["kind"] == "Application":
        item["spec"]["source"]["repoURL"] = repository
    return item


def refresh(app: str, *, hard: bool = False) -> None:
    """Make Argo CD look at Git now; `hard` also drops its cache of rendered manifests."""
    kind = "hard" if hard else "normal"
    mark = f"argocd.argoproj.io/refresh={kind}"
    kubectl.run("-n", kubectl.ARGOCD_NAMESPACE, "annotate", "applications.argoproj.io", app, mark, "--overwrite")


def wait_for_sync(app: str, revision: str, *, seconds: float, root: Path = Path(), sure: float = SURE_SECONDS) -> App:
    """Wait until a full operation of `revision`, or of a later commit, has ended; the caller judges its phase.

    Inconclusive when none has ended after `seconds`, or when none will; ConfigError when the revision cannot be
    rendered. A stuck state counts after `sure` seconds.
    """

    def includes(other: str) -> bool:
        return includes_commit(other, revision, root=root)

    started, since, before = time.monotonic(), time.monotonic(), ""
    while True:
        state = get_app(app).last_full_sync
        if has_ended(state, includes):
            return state
        reason = stuck_reason(state, includes)
        now = time.monotonic()
        since = since if str(reason) == before else now
        before = str(reason)
        if reason and now - since >= sure:
            raise reason
        if now - started > seconds:
            raise Inconclusive(f"{app} was not synced to {revision[:12]} within {seconds:g} s: {describe(state)}",
                         hint=f"kubectl -n {kubectl.ARGOCD_NAMESPACE} describe application {app}")  # fmt: skip
        time.sleep(POLL_SECONDS)


def has_ended(app: App, includes: IncludesCommit) -> bool:
    """Return whether an operation of the wanted revision is over, whatever its phase.

    A partial one does not count, unless it failed with objects still missing: then the full one had failed, too.
    """
    stuck = app.phase != "Succeeded" and app.sync == "OutOfSync"
    return app.phase in ENDED and includes(app.revision) and (stuck or not app.partial)


def stuck_reason(app: App, includes: IncludesCommit) -> SlipwayError | None:
    """The error to raise when Argo CD will not sync the wanted revision without help; None if it still may.

    Argo CD needs seconds to look at a new commit, so the error counts only when it stays for a while.
    """
    lasting = [error for error in app.errors if not error.startswith("SyncError") and not UNREACHED.search(error)]
    if lasting:
        return ConfigError(
            f"Argo CD cannot sync {app.name}: {'; '.join(lasting)}",
            hint="render the overlay to see the cause: kubectl kustomize k8s/overlays/…",
        )
    if app.phase not in ENDED or app.sync != "Synced" or not includes(app.compared):
        return None
    command = f"argocd app sync {app.name}"
    if includes(app.revision):
        return Inconclusive(
            f"Argo CD restored single objects of {app.name}, and the result of the sync of {app.revision[:12]} "
            "before that is not known",
            hint=f"sync it again: {command}",
        )
    return Inconclusive(
        f"{app.name} is Synced at {app.compared[:12]} without a sync operation: only hooks changed since "
        f"{app.revision[:12] or 'the beginning'}, so the load test did not run", hint=f"sync it: {command}",
    )  # fmt: skip


def includes_commit(revision: str, commit: str, *, root: Path) -> bool:
    """Return whether `revision` is `commit` or a later one; a revision that this repository lacks is fetched first."""
    if revision == commit or not re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision == commit
    try:
        git.commit_hash(revision, root=root)
    except ConfigError:
        git.fetch("main", root=root)
    return git.is_ancestor(commit, revision, root=root)
