"""The drill of a model that is fast, answers 200 and is wrong: its canary is aborted, and Git is told by the cluster itself."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slipway.cluster import argocd, kubectl, pods
from slipway.core import environment, git
from slipway.errors import ConfigError
from slipway.sandbox.drills import bad_artifacts, bad_releases, context, webhook_receiver
from slipway.sandbox.drills.context import World
from slipway.sandbox.drills.timeline import Watch
from slipway.sandbox.drills.webhook_receiver import Message

OVERLAY = Path("k8s/overlays/production/kustomization.yaml")
CANARY = "components: [../../components/canary]"
HOOK = Path("argocd/notifications/rollouts.yaml")
FORGE = "https://api.github.com/repos/your/repository"
"""Where the hook posts to, until a project puts its own address there."""
PLACE = "argo-rollouts"
"""The namespace of the Rollouts controller, and of what it is told about notifications."""
OWN = ("configmap/argo-rollouts-notification-configmap", "secret/argo-rollouts-notification-secret")
DISPATCH = "/actions/workflows/promote.yml/dispatches"
ANSWERS = ("shift", "mean difference", "share that differs", "order")
"""How the checks begin that look at what is answered, beside those of speed, errors and self-consistency."""
ABORT_SECONDS, TOLD_SECONDS = 240.0, 60.0


def switched(overlay: str, *, on: bool) -> str:
    """Production's overlay with the canary on or off; ConfigError when its line is not there."""
    if CANARY not in overlay:
        raise ConfigError(f"drill: {OVERLAY} has no line `# {CANARY}`", hint=f"see {OVERLAY}")
    return overlay.replace(f"# {CANARY}", CANARY) if on else overlay.replace(f"\n{CANARY}", f"\n# {CANARY}")


def turn(there: World, *, on: bool) -> None:
    """The canary of production on or off, as a commit, and arrived; nothing when it is so already."""
    before = (there.work / OVERLAY).read_text(encoding="utf-8")
    if (after := switched(before, on=on)) != before:
        context.commit(there, {OVERLAY: after}, f"Turn production's canary {'on' if on else 'off'}")
        there.scene.note("canary", "on" if on else "off", context.settle(there))


@contextlib.contextmanager
def wired(there: World) -> Iterator[webhook_receiver.Receiver]:
    """The hook of argocd/notifications, posting to a receiver here; what the cluster had of it before is put back."""
    served = environment.git_server()
    kept = [_kept(name) for name in OWN]
    with webhook_receiver.listen(urlsplit(served[1]).hostname or "127.0.0.1" if served else "127.0.0.1") as here:
        text = (there.work / HOOK).read_text(encoding="utf-8")
        if FORGE not in text:
            raise ConfigError(f"drill: {HOOK} posts elsewhere than to {FORGE}", hint="run the drills in the template")
        secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"github-token": "none"},
                  "metadata": {"name": OWN[1].partition("/")[2], "namespace": PLACE}}  # fmt: skip
        kubectl.run("apply", "-f", "-", given=text.replace(FORGE, here.url))
        kubectl.run("apply", "-f", "-", given=json.dumps(secret))
        try:
            yield here
        finally:
            for name, before in zip(OWN, kept, strict=True):
                if before is None:
                    kubectl.run("-n", PLACE, "delete", name, "--ignore-not-found")
                else:
                    kubectl.run("replace", "-f", "-", given=json.dumps(before))


def _kept(name: str) -> dict[str, Any] | None:
    """An object of the Rollouts controller's namespace without what the API server writes; None when it is not there."""
    said = kubectl.run("-n", PLACE, "get", name, "--ignore-not-found", "-o", "json")
    if not said.strip():
        return None
    found: dict[str, Any] = json.loads(said)
    found["metadata"] = {key: found["metadata"][key] for key in ("name", "namespace")}
    return found


def told(message: Message) -> list[str]:
    """The words of `slipway rollback` that promote.yml makes of a dispatch; ConfigError when it asks for something else."""
    inputs = message.body.get("inputs", {}) if isinstance(message.body, dict) else {}
    if inputs.get("action") != "rollback" or message.body.get("ref") != "main":
        raise ConfigError(f"drill: the dispatch asks for {message.body}, limit: a rollback on main")
    words = {"--reason": "reason", "--env": "environment", "--aborted": "aborted", "--of": "of"}
    return ["rollback", "--push", *(f"{option}={inputs[name]}" for option, name in words.items() if inputs.get(name))]


def wrong(there: World, watch: Watch) -> None:
    """Fast, 200 OK and wrong, in production past the gates: the canary is aborted and Git goes back by itself."""
    turn(there, on=True)
    good = context.last(there, "production")
    image = bad_artifacts.derived(
        str(good.image), "wrong", line=bad_artifacts.WRONG, models=bad_releases.bento(there, good) / "src/models"
    )
    with wired(there) as here:
        context.force_image(there, "production", image, "Drill: a model that says the opposite")
        watch.inject("a model that says the opposite, as fast and with golden answers of its own")
        argocd.refresh(there.app("production"))
        context.until(lambda: aborted(there, image), seconds=ABORT_SECONDS, what="an abort of the canary")
        seen = time.monotonic()
        watch.detect(f"canary aborted: {why(there, watch)}")
        bad_releases.answers(there, watch, good, "serve-stable")
        message = here.wait(DISPATCH, seconds=TOLD_SECONDS)
        said = told(message)
        watch.expect(f"--of={image}" in said, f"the dispatch is {said}, limit: about {image}")
        there.scene.note("dispatch", " ".join(said)[:300], max(0.0, message.at - seen))
        context.ask(there, *said)
        revert = time.monotonic() - min(seen, message.at)
        context.pull(there)
        watch.figure = f"abort → revert commit {git.commit(root=there.work)[:12]} on main: {revert:.1f} s (limit 60)"
        watch.expect(revert <= 60, watch.figure)
        there.scene.note("figure", watch.figure, revert)
        context.settle(there)
        serving = {pod.image for pod in pods.list_pods(there.app("production"))}
        watch.expect(serving == {good.image}, f"production runs {serving}, limit: {good.image}")
        watch.recover("the commit took it back; stable served all the time")
    turn(there, on=False)


def aborted(there: World, image: str) -> bool:
    """Whether the Rollout that holds `image` was aborted."""
    raw = context.get(there, "production", "rollouts.argoproj.io", "serve")
    asked = [one["image"] for one in raw["spec"]["template"]["spec"]["containers"]]
    return bool(raw.get("status", {}).get("abort")) and asked[0] == image


def why(there: World, watch: Watch) -> str:
    """What the newest analysis said no to; CheckFailed unless it judged, and its no is about answers alone."""
    jobs = context.get(there, "production", "jobs", "--sort-by=.metadata.creationTimestamp")["items"]
    watch.expect(bool(jobs), "the canary was aborted without an analysis")
    log = kubectl.hook_log(there.app("production"), jobs[-1]["metadata"]["name"])
    said = noes(log)
    watch.expect(bool(said), f"the analysis has no verdict, or no no: {log[-500:]}")
    other = [name for name in said if not name.startswith(ANSWERS)]
    watch.expect(not other, f"the analysis says no to {', '.join(other)}, limit: what it answers alone")
    return ", ".join(f"{name} {value}" for name, value in said.items())


def noes(log: str) -> dict[str, Any]:
    """The checks that a gate's log says no to, with their values; a pod's log has its lines in no sure order. Pure."""
    for row in log.splitlines():
        if row.startswith('{"chapter":'):
            return {check["name"]: check["value"] for check in json.loads(row)["checks"] if check["ok"] is False}
    return {}
