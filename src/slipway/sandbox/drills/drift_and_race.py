"""Drills of concurrent changes: the cluster edited by hand, and two merges released at once."""

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
from slipway.sandbox.drills.context import DrillContext, OtherClone, wait_until
from slipway.sandbox.drills.timeline import Timeline

JOB = "load-gate"
HAND = "EDITED_BY_HAND"
DETECTION_SECONDS, HEALING_SECONDS = 60.0, 120.0


def edit(context: DrillContext, timeline: Timeline) -> None:
    """Image and number of pods edited by hand, the Service deleted: healed, and no gate has run. A variable takes a command."""
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
        what="OutOfSync",
    )
    timeline.detect("OutOfSync: Argo CD puts Git's state back")
    wait_until(lambda: is_healed(context), seconds=HEALING_SECONDS, what="Git's state in the cluster")
    context.settle()
    if HAND in variable_names(context):  # Argo CD leaves alone what Git does not mention, and calls it Synced
        context.sandbox.record_step(
            "variable", f"{HAND} is there yet and Argo CD is content: replaced by a sync", timeline.since()
        )
        argocd.run("app", "sync", app, "--replace", "--resource", "apps:Deployment:serve")
        context.settle()
    timeline.expect(HAND not in variable_names(context), f"{HAND} is there yet", allowed="what Git says alone")
    timeline.expect(last_gate_uid(context) == gate, "the gate ran again", allowed="healing runs no hooks")
    timeline.expect(
        last_gate_verdict(context) == verdict,
        f"the gate's verdict is {last_gate_verdict(context)}",
        allowed=f"unchanged, {verdict}",
    )
    timeline.recover("healed from Git; no gate ran, the verdict is unchanged")


def last_gate_uid(context: DrillContext) -> str:
    """The uid of the gate's last run."""
    return str(context.get_object("staging", "job", JOB)["metadata"]["uid"])


def last_gate_verdict(context: DrillContext) -> Mapping[str, Any]:
    """The verdict of the gate's last run, and its image."""
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
    """Two merges are released at once: both lines in order, or the older one refused; the overlay holds the newer."""
    other = context.sandbox.home / "race"
    shutil.rmtree(other, ignore_errors=True)
    try:
        first = outages.commit_change(context, "a drill, the first of two merges")
        shutil.copytree(context.work, other, symlinks=True, ignore=shutil.ignore_patterns("bump-*"))
        second = outages.commit_change(context, "a drill, the second of two merges")
        with ThreadPoolExecutor() as pool:  # to prove is what takes long
            list(pool.map(lambda place: context.run_verb("prove", folder=place), (other, context.work)))
        for place in (other, context.work):
            context.build(("judge", "package", "image"), place)
        before = ledger.read_at("staging", "origin/main", context.work)
        timeline.inject("two releases pushed at the same time")
        codes = release_together(context, other)
        context.pull()
        new = ledger.read("staging", context.work)[len(before) :]
        timeline.detect(race_outcome(codes, [line.commit for line in new], first, second))
        chained = [line.supersedes for line in new] == [line.identity for line in [*before[-1:], *new[:-1]]]
        timeline.expect(chained, "a line does not supersede the one before it")
        pinned = kustomization.pinned_at("staging", "HEAD", context.work)
        timeline.expect(pinned is not None and pinned.image == new[-1].image, "the overlay is not the last line")
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
        return "both released, in order: the later one was made anew on the new tip"
    if (codes, commits) == ([CheckFailed.code, 0], [second]):
        return "the newer one released, the older one refused"
    raise CheckFailed(
        f"drill race: exit codes {codes}, lines of {[commit[:12] for commit in commits]}",
        allowed=f"{first[:12]} then {second[:12]}, or the latter alone",
    )
