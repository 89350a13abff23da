"""Drill of a model that is fast, returns 200 and is wrong: its canary is aborted, and the cluster requests the rollback."""

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
from slipway.sandbox.drills import bad_artifacts, bad_releases, webhook_receiver
from slipway.sandbox.drills.context import DrillContext, Timeline, wait_until
from slipway.sandbox.drills.webhook_receiver import Message

OVERLAY = Path("k8s/overlays/production/kustomization.yaml")
CANARY = "components: [../../components/canary]"
HOOK = Path("argocd/notifications/rollouts.yaml")
GITHUB = "https://api.github.com/repos/your/repository"
"""The address in the hook of the template; a project sets its own."""
ROLLOUTS_NAMESPACE = "argo-rollouts"
"""The namespace of the Rollouts controller and of its notification objects."""
NOTIFICATION_OBJECTS = ("configmap/argo-rollouts-notification-configmap", "secret/argo-rollouts-notification-secret")
DISPATCH = "/actions/workflows/promote.yml/dispatches"
ANSWER_CHECKS = ("shift", "mean difference", "share that differs", "order")
"""First words of the checks that compare answers; the other checks are of speed, errors and self-consistency."""
ABORT_SECONDS, DISPATCH_SECONDS = 240.0, 60.0


def with_canary(overlay: str, *, on: bool) -> str:
    """Production's overlay with the canary on or off; ConfigError when it lacks the line of the canary."""
    if CANARY not in overlay:
        raise ConfigError(f"drill: {OVERLAY} has no line `# {CANARY}`", hint=f"add the line to {OVERLAY}")
    return overlay.replace(f"# {CANARY}", CANARY) if on else overlay.replace(f"\n{CANARY}", f"\n# {CANARY}")


def turn_canary(context: DrillContext, *, on: bool) -> None:
    """Turn production's canary on or off by a commit, and wait until the cluster has it; do nothing if it is so already."""
    before = (context.work / OVERLAY).read_text(encoding="utf-8")
    if (after := with_canary(before, on=on)) != before:
        context.commit({OVERLAY: after}, f"Turn production's canary {'on' if on else 'off'}")
        context.sandbox.record_step("canary", "on" if on else "off", context.settle())


@contextlib.contextmanager
def notifications_to_receiver(context: DrillContext) -> Iterator[webhook_receiver.Receiver]:
    """Make the hook of argocd/notifications post to a receiver on this machine; restore the cluster's objects afterwards."""
    served = environment.git_server()
    originals = [_read_object(name) for name in NOTIFICATION_OBJECTS]
    with webhook_receiver.listen(urlsplit(served[1]).hostname or "127.0.0.1" if served else "127.0.0.1") as receiver:
        text = (context.work / HOOK).read_text(encoding="utf-8")
        if GITHUB not in text:
            raise ConfigError(
                f"drill: {HOOK} does not post to {GITHUB}", hint="run the drills in the template, not in a project"
            )
        secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"github-token": "none"},
                  "metadata": {"name": NOTIFICATION_OBJECTS[1].partition("/")[2], "namespace": ROLLOUTS_NAMESPACE}}  # fmt: skip
        kubectl.run("apply", "-f", "-", stdin=text.replace(GITHUB, receiver.url))
        kubectl.run("apply", "-f", "-", stdin=json.dumps(secret))
        try:
            yield receiver
        finally:
            for name, original in zip(NOTIFICATION_OBJECTS, originals, strict=True):
                if original is None:
                    kubectl.run("-n", ROLLOUTS_NAMESPACE, "delete", name, "--ignore-not-found")
                else:
                    kubectl.run("replace", "-f", "-", stdin=json.dumps(original))


def _read_object(name: str) -> dict[str, Any] | None:
    """An object of the Rollouts controller's namespace without the API server's fields; None when it does not exist."""
    output = kubectl.run("-n", ROLLOUTS_NAMESPACE, "get", name, "--ignore-not-found", "-o", "json")
    if not output.strip():
        return None
    document: dict[str, Any] = json.loads(output)
    document["metadata"] = {key: document["metadata"][key] for key in ("name", "namespace")}
    return document


def rollback_words(message: Message, branch: str) -> list[str]:
    """The arguments of `slipway rollback` that promote.yml makes from a dispatch; ConfigError for another dispatch."""
    inputs = message.body.get("inputs", {}) if isinstance(message.body, dict) else {}
    if inputs.get("action") != "rollback" or message.body.get("ref") != branch:
        raise ConfigError(f"drill: the dispatch requests {message.body}", expected=f"a rollback on {branch}")
    options = {"--reason": "reason", "--env": "environment", "--aborted": "aborted", "--of": "of"}
    return ["rollback", "--push", *(f"{option}={inputs[name]}" for option, name in options.items() if inputs.get(name))]


def wrong(context: DrillContext, timeline: Timeline) -> None:
    """A wrong model in production that is fast and returns 200: the canary is aborted, and Git is rolled back by itself."""
    turn_canary(context, on=True)
    good = context.last_line("production")
    image = bad_artifacts.build_derived(
        str(good.image),
        "wrong",
        line=bad_artifacts.WRONG,
        models=bad_releases.bento_folder(context, good) / "src/models",
    )
    with notifications_to_receiver(context) as receiver:
        context.force_image("production", image, "Drill: a model that predicts the opposite")
        timeline.inject("a model that predicts the opposite, as fast, with matching golden answers")
        argocd.refresh(context.app("production"))
        wait_until(lambda: is_aborted(context, image), seconds=ABORT_SECONDS, what="abort of the canary")
        aborted_at = time.monotonic()
        timeline.detect(f"canary aborted: {failed_answer_checks(context, timeline)}")
        bad_releases.check_production_answers(context, timeline, good, "serve-stable")
        message = receiver.wait(DISPATCH, seconds=DISPATCH_SECONDS)
        words = rollback_words(message, context.sandbox.branch)
        timeline.expect(f"--of={image}" in words, f"the dispatch has {' '.join(words)}", expected=f"--of={image}")
        context.sandbox.record_step("dispatch", " ".join(words)[:300], max(0.0, message.at - aborted_at))
        context.run_verb(*words)
        revert = time.monotonic() - min(aborted_at, message.at)
        context.pull()
        timeline.figure = (
            f"abort → revert commit {git.commit_hash(root=context.work)[:12]} on main: {revert:.1f} s (allowed: 60 s)"
        )
        timeline.expect(revert <= 60, timeline.figure)
        context.sandbox.record_step("figure", timeline.figure, revert)
        context.settle()
        serving = {pod.image for pod in pods.list_pods(context.app("production"))}
        timeline.expect(
            serving == {good.image}, f"production runs {', '.join(sorted(serving))}", expected=f"{good.image}"
        )
        timeline.recover("a commit restored the release before; the stable version served without a break")
    turn_canary(context, on=False)


def is_aborted(context: DrillContext, image: str) -> bool:
    """Return whether the Rollout that holds `image` was aborted."""
    raw = context.get_object("production", "rollouts.argoproj.io", "serve")
    images = [container["image"] for container in raw["spec"]["template"]["spec"]["containers"]]
    return bool(raw.get("status", {}).get("abort")) and images[0] == image


def failed_answer_checks(context: DrillContext, timeline: Timeline) -> str:
    """The failed checks of the newest analysis; CheckFailed when it has none, or a check of another kind failed."""
    jobs = context.get_object("production", "jobs", "--sort-by=.metadata.creationTimestamp")["items"]
    timeline.expect(bool(jobs), "the canary was aborted without an analysis")
    log = kubectl.hook_log(context.app("production"), jobs[-1]["metadata"]["name"])
    failed = failed_checks(log)
    timeline.expect(bool(failed), f"the analysis has no failed check: {log[-500:]}")
    other = [name for name in failed if not name.startswith(ANSWER_CHECKS)]
    timeline.expect(
        not other, f"the checks that failed include {', '.join(other)}", expected="only checks of predictions"
    )
    return ", ".join(f"{name} {value}" for name, value in failed.items())


def failed_checks(log: str) -> dict[str, Any]:
    """The failed checks of a gate's log, with their values; the lines of a pod's log have no certain order."""
    for row in log.splitlines():
        if row.startswith('{"chapter":'):
            return {check["name"]: check["value"] for check in json.loads(row)["checks"] if check["ok"] is False}
    return {}
