"""What Argo CD says of an application, as one record, and whether it will still come to a revision. Pure."""

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
"""Errors that pass by themselves: Git, or a part of Argo CD, does not answer now."""

Holds = Callable[[str], bool]
"""Whether a revision is the wanted one, or a later commit."""


class Hook(NamedTuple):
    """A hook of an operation: its object's name, what kind of hook (PostSync, …), and the phase it ended in."""

    name: str
    kind: str
    phase: str


@dataclass(frozen=True, kw_only=True)
class App:
    """An Argo CD application, as its controller last wrote it.

    `revision`, `phase`, `message`, `started`, `finished` and `hooks` are those of the last operation. One that is `partial`
    (self-heal) brought back single objects, ran no hooks, and took the place of the record that told of them.
    `compared` is the revision that `sync` speaks of, `errors` why it cannot be compared or synced.
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
    """Revision and moment of each whole operation that succeeded, its hooks included, oldest first."""

    @property
    def whole(self) -> App:
        """As it was after the last whole operation that is known of: an operation that healed hides the one before it."""
        if not self.partial or self.phase != "Succeeded" or not self.deployed:
            return self
        revision, at = self.deployed[-1]
        return replace(self, revision=revision, finished=at, started=None, partial=False, message="")


def parse(raw: Mapping[str, Any]) -> App:
    """An Application object as the API server gives it."""
    status = raw.get("status", {})
    state, compared = status.get("operationState", {}), status.get("sync", {})
    asked, result = state.get("operation", {}).get("sync", {}), state.get("syncResult", {})
    objects = result.get("resources") or []
    images = {*status.get("summary", {}).get("images", ()), *(i for one in objects for i in one.get("images", ()))}
    return App(
        name=raw["metadata"]["name"],
        namespace=raw["spec"]["destination"].get("namespace", ""),
        compared=compared.get("revision", ""),
        sync=compared.get("status", "Unknown"),
        health=status.get("health", {}).get("status", "Unknown"),
        revision=result.get("revision") or asked.get("revision", ""),
        phase=state.get("phase", ""),
        message=state.get("message", ""),
        started=_moment(state.get("startedAt")),
        finished=_moment(state.get("finishedAt")),
        partial=bool(asked.get("resources")),
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


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def has_ended(app: App, holds: Holds) -> bool:
    """Whether an operation of the wanted revision is over, whatever its phase.

    A partial one says nothing about it, unless it failed with objects still missing: then the whole one had failed, too.
    """
    stuck = app.phase != "Succeeded" and app.sync == "OutOfSync"
    return app.phase in ENDED and holds(app.revision) and (stuck or not app.partial)


def stuck_reason(app: App, holds: Holds) -> SlipwayError | None:
    """Why no operation of the wanted revision will end, if things stay as they are; None while there is hope.

    Argo CD needs seconds to look at a new commit: what is said here counts only when it is said for a while.
    """
    wrong = [error for error in app.errors if not error.startswith("SyncError") and not UNREACHED.search(error)]
    if wrong:
        return ConfigError(f"{app.name} cannot be synced: {'; '.join(wrong)}", hint="kubectl kustomize k8s/overlays/…")
    if app.phase not in ENDED or app.sync != "Synced" or not holds(app.compared):
        return None
    again = f"argocd app sync {app.name}"
    if holds(app.revision):
        return Inconclusive(
            f"{app.name} healed itself after a sync of {app.revision[:12]} that is not known to have succeeded",
            hint=again,
        )
    return Inconclusive(
        f"{app.name} is Synced at {app.compared[:12]} without an operation: nothing but hooks changed since "
        f"{app.revision[:12] or 'the beginning'}, so no gate runs", hint=again,
    )  # fmt: skip


def describe(app: App) -> str:
    """The application's state in one line."""
    operation = f"operation {app.phase or 'none'} of {app.revision[:12] or 'nothing'}"
    said = [f"{app.sync} at {app.compared[:12] or 'nothing'}", app.health, operation, app.message, *app.errors]
    return ", ".join(filter(None, said))


POLL_SECONDS = 1.0


SURE_SECONDS = 15.0
"""How long a hopeless state must stand before it is believed: Argo CD needs seconds to look at a new commit."""


def run(*args: str, timeout: float = 60) -> str:
    """What `argocd ARGS` prints. Errors as `kubectl.call` says."""
    return kubectl.call("argocd", *args, timeout=timeout)


def bootstrap(root: Path, *, repository: str, name: str) -> None:
    """Tell the cluster once what it must know: policies, namespaces, project, and applications that read `repository`.

    `name` is the project's; ConfigError when `argocd/` is about another one.
    """
    kubectl.run("apply", "-k", str(root / "k8s/policy"))
    objects = list(YAML(typ="safe").load_all(kubectl.run("kustomize", str(root / "argocd"))))
    addressed = [_addressed(one, repository, name) for one in objects]
    kubectl.run("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": addressed}))


def _addressed(one: dict[str, Any], repository: str, name: str) -> dict[str, Any]:
    """The object, reading from `repository`."""
    if one["kind"] == "AppProject":
        if (found := one["metadata"]["name"]) != name:
            hint = f"put {name} in the place of {found} in argocd/ and k8s/"
            raise ConfigError(f"argocd/project.yaml is about {found!r}, limit: {name!r}", hint=hint)
        one["spec"]["sourceRepos"] = [repository]
    elif one["kind"] == "Application":
        one["spec"]["source"]["repoURL"] = repository
    return one


def get_app(app: str) -> App:
    """What Argo CD says of an application now; ConfigError when it has none of this name."""
    return parse(
        json.loads(kubectl.run("-n", kubectl.ARGOCD_NAMESPACE, "get", "applications.argoproj.io", app, "-o", "json"))
    )


def refresh(app: str, *, hard: bool = False) -> None:
    """Have Argo CD look at Git now; `hard` also forgets what it rendered before."""
    kind = "hard" if hard else "normal"
    mark = f"argocd.argoproj.io/refresh={kind}"
    kubectl.run("-n", kubectl.ARGOCD_NAMESPACE, "annotate", "applications.argoproj.io", app, mark, "--overwrite")


def wait_for_sync(app: str, revision: str, *, seconds: float, root: Path = Path(), sure: float = SURE_SECONDS) -> App:
    """Wait until a whole operation of `revision`, or of a later commit, has ended; its phase is the caller's to judge.

    Inconclusive when none has after `seconds`, or when none will; ConfigError when the revision cannot be rendered.
    """
    started, since, before = time.monotonic(), time.monotonic(), None
    while True:
        seen = get_app(app).whole
        if has_ended(seen, lambda found: includes_commit(found, revision, root=root)):
            return seen
        verdict = stuck_reason(seen, lambda found: includes_commit(found, revision, root=root))
        now = time.monotonic()
        since = since if str(verdict) == before else now
        before = str(verdict)
        if verdict and now - since >= sure:
            raise verdict
        if now - started > seconds:
            raise Inconclusive(f"{app} did not come to {revision[:12]} within {seconds:g} s: {describe(seen)}",
                         hint=f"kubectl -n {kubectl.ARGOCD_NAMESPACE} describe application {app}")  # fmt: skip
        time.sleep(POLL_SECONDS)


def includes_commit(found: str, wanted: str, *, root: Path) -> bool:
    """Whether the revision `found` is `wanted` or a later commit; one that is not here yet is fetched."""
    if found == wanted or not re.fullmatch(r"[0-9a-f]{40}", found):
        return found == wanted
    try:
        git.commit(found, root=root)
    except ConfigError:
        git.fetch("main", root=root)
    return git.is_ancestor(wanted, found, root=root)
