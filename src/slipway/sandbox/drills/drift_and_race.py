"""Drills of concurrent changes: the cluster edited by hand, and two merges released at the same time."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from slipway.cluster import argocd, kubectl, kustomization
from slipway.core import ledger
from slipway.errors import CheckFailed, SlipwayError
from slipway.sandbox import clone
from slipway.sandbox.drills import bad_artifacts, outages
from slipway.sandbox.drills.context import DrillContext, OtherClone, Timeline, wait_until

JOB = "load-gate"
HAND = "EDITED_BY_HAND"
DETECTION_SECONDS, HEALING_SECONDS = 60.0, 120.0


def edit(context: DrillContext, timeline: Timeline) -> None:
    """Edits by hand of image, pods and Service: Argo CD restores Git's state, and no load test runs."""
    app, good = context.app("staging"), context.last_line("staging").image
    gate, verdict = last_gate_uid(context), last_gate_verdict(context)
    other = bad_artifacts.build_derived(str(good), "other", line=bad_artifacts.OTHER)
    timeline.inject("by hand: another image, 3 pods, no Service, a variable")
    for command in (("set", "image", "deployment/serve", f"serve={other}"), ("scale", "deployment/serve", "--replicas=3"),
                    ("delete", "service", "serve"), ("set", "env", "deployment/serve", f"{HAND}=1")):  # fmt: skip
        kubectl.run("-n", app, *command)
    wait_until(
        lambda: argocd.get_app(app).sync == "OutOfSync" or is_healed(context),
        seconds=DETECTION_SECONDS,
        what="state OutOfSync",
    )
    timeline.detect("OutOfSync: Argo CD restores Git's state")
    wait_until(lambda: is_healed(context), seconds=HEALING_SECONDS, what="restored state of Git in the cluster")
    context.settle()
    if HAND in variable_names(context):  # Argo CD leaves alone what Git does not mention, and calls it Synced
        context.sandbox.record_step(
            "variable",
            f"Argo CD does not remove {HAND}, which Git does not mention; `argocd app sync --replace` does",
            timeline.since(),
        )
        argocd.run("app", "sync", app, "--replace", "--resource", "apps:Deployment:serve")
        context.settle()
    timeline.expect(
        HAND not in variable_names(context), f"the variable {HAND} still exists", expected="only the variables in Git"
    )
    timeline.expect(
        last_gate_uid(context) == gate, "the load test ran again", expected="no hooks while Argo CD restores objects"
    )
    timeline.expect(
        last_gate_verdict(context) == verdict,
        f"the load test's verdict is now {last_gate_verdict(context)}",
        expected=f"unchanged, {verdict}",
    )
    timeline.recover("restored from Git; no load test ran, its verdict is unchanged")


def last_gate_uid(context: DrillContext) -> str:
    """The uid of the load test's last run."""
    return str(context.get_object("staging", "job", JOB)["metadata"]["uid"])


def last_gate_verdict(context: DrillContext) -> Mapping[str, Any]:
    """The verdict of the load test's last run, and its image."""
    row = json.loads(kubectl.hook_log(context.app("staging"), JOB).splitlines()[-1])
    return {"verdict": row["verdict"], "image": row["inputs"]["image"]}


def is_healed(context: DrillContext) -> bool:
    """Return whether image, number of pods and Service match Git again."""
    try:
        spec = context.get_object("staging", "deployment", "serve")["spec"]
        context.get_object("staging", "service", "serve")
    except SlipwayError:
        return False
    image = spec["template"]["spec"]["containers"][0]["image"]
    return (image, spec["replicas"]) == (context.last_line("staging").image, 1)


def variable_names(context: DrillContext) -> set[str]:
    """The names of the service's environment variables that its deployment sets."""
    spec = context.get_object("staging", "deployment", "serve")["spec"]
    return {variable["name"] for variable in spec["template"]["spec"]["containers"][0].get("env") or ()}


def race(context: DrillContext, timeline: Timeline) -> None:
    """Two releases at the same time: both are recorded in order, or the older one is refused; the newer one runs."""
    other = context.sandbox.home / "race"
    shutil.rmtree(other, ignore_errors=True)
    try:
        first = outages.commit_change(context, "a drill, the first of two merges")
        shutil.copytree(context.work, other, symlinks=True, ignore=shutil.ignore_patterns("bump-*"))
        second = outages.commit_change(context, "a drill, the second of two merges")
        with ThreadPoolExecutor() as pool:  # `prove` takes longest
            list(pool.map(lambda place: context.run_verb("prove", folder=place), (other, context.work)))
        for place in (other, context.work):
            context.build(("judge", "package", "image"), place)
        before = ledger.read_at("staging", f"origin/{context.sandbox.branch}", context.work)
        timeline.inject("two releases pushed at the same time")
        codes = release_together(context, other)
        context.pull()
        new = ledger.read("staging", context.work)[len(before) :]
        timeline.detect(race_outcome(codes, [line.commit for line in new], first, second))
        chained = [line.supersedes for line in new] == [line.identity for line in [*before[-1:], *new[:-1]]]
        timeline.expect(chained, "a ledger line does not supersede the one before it")
        pinned = kustomization.pinned_at("staging", "HEAD", context.work)
        timeline.expect(
            pinned is not None and pinned.image == new[-1].image,
            "the overlay does not pin the image of the last ledger line",
        )
    finally:
        shutil.rmtree(other, ignore_errors=True)
    outages.expect_arrived(context, timeline)


def release_together(context: DrillContext, other: Path) -> list[int]:
    """Run `release --push` in both clones at the same moment; the exit codes, the older clone's first."""
    command = [sys.executable, "-m", "slipway", "release", "--push"]
    older, newer = OtherClone(context.sandbox, other), context.sandbox
    with clone.running_program(older, command) as first, clone.running_program(newer, command) as second:
        for text in [program.communicate()[0] for program in (first, second)]:
            context.sandbox.record_step("release", clone.summary_line("release", text.splitlines()), 0.0)
        return [int(program.returncode) for program in (first, second)]


def race_outcome(codes: list[int], commits: list[str], first: str, second: str) -> str:
    """The outcome of a race that ended well, else CheckFailed. `commits` are those of the new ledger lines, in order."""
    if (codes, commits) == ([0, 0], [first, second]):
        return "both were released in order: the later one was repeated on the new tip"
    if (codes, commits) == ([CheckFailed.code, 0], [second]):
        return "the newer one was released, the older one refused"
    raise CheckFailed(
        f"drill race: the exit codes are {codes}, the new ledger lines are of {[commit[:12] for commit in commits]}",
        expected=f"lines of {first[:12]} and {second[:12]}, or of {second[:12]} only",
    )
