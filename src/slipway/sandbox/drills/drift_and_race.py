"""Drills of many hands: the cluster edited by one, and two merges released at once."""

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
from slipway.sandbox.drills import bad_artifacts, context, outages
from slipway.sandbox.drills.context import World
from slipway.sandbox.drills.timeline import Watch

JOB = "load-gate"
HAND = "EDITED_BY_HAND"
NOTICED_SECONDS, HEALED_SECONDS = 60.0, 120.0


def edit(there: World, watch: Watch) -> None:
    """Image and number of pods edited by hand, the Service deleted: healed, and no gate has run. A variable takes a command."""
    app, good = there.app("staging"), context.last(there, "staging").image
    gate, said = gate_of(there), words(there)
    other = bad_artifacts.derived(str(good), "other", line=bad_artifacts.OTHER)
    watch.inject("by hand: another image, 3 pods, no Service, a variable")
    for command in (("set", "image", "deployment/serve", f"serve={other}"), ("scale", "deployment/serve", "--replicas=3"),
                    ("delete", "service", "serve"), ("set", "env", "deployment/serve", f"{HAND}=1")):  # fmt: skip
        kubectl.run("-n", app, *command)
    context.until(
        lambda: argocd.get_app(app).sync == "OutOfSync" or healed(there), seconds=NOTICED_SECONDS, what="OutOfSync"
    )
    watch.detect("OutOfSync: Argo CD puts Git's state back")
    context.until(lambda: healed(there), seconds=HEALED_SECONDS, what="Git's state in the cluster")
    context.settle(there)
    if HAND in variables(there):  # Argo CD leaves alone what Git does not mention, and calls it Synced
        there.scene.note("variable", f"{HAND} is there yet and Argo CD is content: replaced by a sync", watch.since())
        argocd.run("app", "sync", app, "--replace", "--resource", "apps:Deployment:serve")
        context.settle(there)
    watch.expect(HAND not in variables(there), f"{HAND} is there yet, limit: what Git says alone")
    watch.expect(gate_of(there) == gate, "the gate ran again, limit: healing runs no hooks")
    watch.expect(words(there) == said, f"the gate's verdict is {words(there)}, limit: unchanged, {said}")
    watch.recover("healed from Git; no gate ran, the verdict is unchanged")


def gate_of(there: World) -> str:
    """Which run of the gate is the last one."""
    return str(context.get(there, "staging", "job", JOB)["metadata"]["uid"])


def words(there: World) -> Mapping[str, Any]:
    """What the gate's last run said, and of which image."""
    row = json.loads(kubectl.hook_log(there.app("staging"), JOB).splitlines()[-1])
    return {"verdict": row["verdict"], "image": row["inputs"]["image"]}


def healed(there: World) -> bool:
    """Whether image, number of pods and Service are as Git says again."""
    try:
        spec = context.get(there, "staging", "deployment", "serve")["spec"]
        context.get(there, "staging", "service", "serve")
    except SlipwayError:
        return False
    image = spec["template"]["spec"]["containers"][0]["image"]
    return (image, spec["replicas"]) == (context.last(there, "staging").image, 1)


def variables(there: World) -> set[str]:
    """The names of the service's environment variables that its deployment sets."""
    spec = context.get(there, "staging", "deployment", "serve")["spec"]
    return {one["name"] for one in spec["template"]["spec"]["containers"][0].get("env") or ()}


def race(there: World, watch: Watch) -> None:
    """Two merges are released at once: both lines in order, or the older one refused; the overlay holds the newer."""
    other = there.scene.home / "race"
    shutil.rmtree(other, ignore_errors=True)
    try:
        first = outages.change(there, "a drill, the first of two merges")
        shutil.copytree(there.work, other, symlinks=True, ignore=shutil.ignore_patterns("bump-*"))
        second = outages.change(there, "a drill, the second of two merges")
        with ThreadPoolExecutor() as pool:  # to prove is what takes long
            list(pool.map(lambda place: context.ask(there, "prove", folder=place), (other, there.work)))
        for place in (other, there.work):
            context.build(there, ("judge", "package", "image"), place)
        before = ledger.read_at("staging", "origin/main", there.work)
        watch.inject("two releases pushed at the same time")
        codes = together(there, other)
        context.pull(there)
        new = ledger.read("staging", there.work)[len(before) :]
        watch.detect(raced(codes, [line.commit for line in new], first, second))
        chained = [line.supersedes for line in new] == [line.identity for line in [*before[-1:], *new[:-1]]]
        watch.expect(chained, "a line does not supersede the one before it")
        pinned = kustomization.pinned_at("staging", "HEAD", there.work)
        watch.expect(pinned is not None and pinned.image == new[-1].image, "the overlay is not the last line")
    finally:
        shutil.rmtree(other, ignore_errors=True)
    outages.arrived(there, watch)


def together(there: World, other: Path) -> list[int]:
    """`release --push` in both clones at the same moment; the exit codes, the older clone's first."""
    command = [sys.executable, "-m", "slipway", "release", "--push"]
    places = (context.Elsewhere(there.scene, other), there.scene)
    with clone.program(places[0], command) as one, clone.program(places[1], command) as two:
        said = [program.communicate()[0] for program in (one, two)]
        for text in said:
            there.scene.note("release", clone.sentence("release", text.splitlines()), 0.0)
        return [int(program.returncode) for program in (one, two)]


def raced(codes: list[int], commits: list[str], first: str, second: str) -> str:
    """How a race ended, when it ended well; else CheckFailed. `commits` are those of the new lines, in order. Pure."""
    if (codes, commits) == ([0, 0], [first, second]):
        return "both released, in order: the later one was made anew on the new tip"
    if (codes, commits) == ([CheckFailed.code, 0], [second]):
        return "the newer one released, the older one refused"
    raise CheckFailed(f"drill race: exit codes {codes}, lines of {[commit[:12] for commit in commits]}, "
                  f"limit: {first[:12]} then {second[:12]}, or the latter alone")  # fmt: skip
