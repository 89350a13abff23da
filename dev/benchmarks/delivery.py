"""The delivery's figures on a cluster, each with its parts; a limit that is missed ends in exit code 4.

    make bench NAME=delivery                                           all of them, about fifteen minutes
    make loop TARGET=cluster ARGS=--keep; make bench NAME=delivery     the same in the sandbox that the loop kept
    make bench NAME=delivery ARGS="judged promotion"                   only these (a promotion needs a release before it)

Nothing is hastened: the load gate sends for its 30 s. What GitHub adds before it (a runner, the check-out, the cached
environment) is not in these seconds. `delivery_moments` says what counts as waiting. Measure on an idle machine: its
load is printed, for the load gate shares the processors with all that it judges.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import delivery_load as clients
import delivery_moments as moments
from delivery_moments import Moment, Part

from pipeline import ROOT, at_most, closing, guarded, talk
from slipway.cluster import kubectl, pods
from slipway.core import config, git
from slipway.core.verdict import Check
from slipway.delivery import evidence
from slipway.sandbox import clone, deploy, loop
from slipway.sandbox.drills import canary_abort, context
from slipway.sandbox.drills.context import DrillContext, Timeline

VERBS = (("review",), ("track",), ("package",), ("image",), ("release", "gate", "--push"), ("release", "--push"))
"""The verbs of release.yml after a merge, in order."""
KEY = "train.estimators.boosting.max_iter"
UPDATE_SECONDS, KILL_SECONDS = 90.0, 45.0
"""Seconds of load during an update, and while a pod is killed: longer than either takes."""


def enter(root: Path, params: config.Params) -> tuple[DrillContext, bool]:
    """The sandbox that the loop kept, with the real load gate, or a new one; and whether it was kept."""
    there = context.kept_sandbox(root, params.track.model)
    kept = there is not None
    if there is None:
        loop.remove_everything(root)
        there = clone.prepare(root, params.track.model, {}, "cluster")
        loop.deliver_main(there)
    else:
        git.run("checkout", "-q", "main", root=there.work)
        git.run("pull", "-q", "--ff-only", "origin", "main", root=there.work)
        clone.repro(there)
    one = DrillContext(there, config.load(there.work / "params.yaml"))
    one.commit(
        {path: (root / path).read_text("utf-8") for path in context.SHORTENED}, "The load test as it is in earnest"
    )
    one.settle()
    return one, kept


def now() -> datetime:
    """This machine's clock; the cluster's is taken to be the same."""
    return datetime.now(UTC)


def judged(there: DrillContext) -> list[Check]:
    """A model that was trained a little less is merged: until staging's load gate has said what it thinks of it."""
    rounds = int(config.load(there.work / "params.yaml").train.estimators["boosting"]["max_iter"])
    number = int(git.run("rev-list", "--count", "main", root=there.work))
    change = config.Change(title="Train a little less", set={KEY: rounds - 1})
    loop.open_change(there.sandbox, change, number)
    start, found = now(), []
    loop.merge_change(there.sandbox, change, number)
    found.append(Moment("merge", now()))
    for words in VERBS:
        there.run_verb(*words)
        found.append(Moment(" ".join(word for word in words if word != "--push"), now()))
    app = there.wait_for_arrival("staging")
    noticed = now()
    space = there.app("staging")
    pod = newest(space, pods.SERVICE_SELECTOR)
    log = kubectl.run("-n", space, "logs", "--timestamps", pod["metadata"]["name"])
    assert app.started
    assert app.finished
    job = newest(space, f"job-name={evidence.GATE_JOB}")
    found += [*moments.staged(pod, log, job, (app.started, app.finished)), Moment("we notice", noticed, waiting=True)]
    cut = moments.parts(start, found)
    seen = there.cluster_evidence()
    requests = seen.requests or 0
    return [
        at_most("merge → judged in staging, seconds", moments.whole(cut), 150),
        *stated(cut),
        at_most("its share of waiting", moments.waited(cut), 0.3),
        Check(name="  of it the load test's requests", value=requests, limit="≥ 3000", ok=requests >= 3000),
        at_most("  their p95, ms", seen.p95_ms or float("inf"), None),
    ]


def newest(space: str, label: str) -> dict[str, Any]:
    """The pod of a label that was made last, and is not on its way out."""
    listed = json.loads(kubectl.run("-n", space, "get", "pods", "-l", label, "-o", "json"))["items"]
    there = [one for one in listed if "deletionTimestamp" not in one["metadata"]]
    return dict(max(there, key=lambda one: str(one["metadata"]["creationTimestamp"])))


def stated(cut: Sequence[Part]) -> list[Check]:
    """The parts, as rows of the table."""
    return [at_most(f"  of it {'waiting: ' if one.waiting else ''}{one.name}", one.seconds, None) for one in cut]


def promotion(there: DrillContext) -> list[Check]:
    """`promote` → production's operation of that revision has succeeded, and every pod in its service runs the digest.

    The operation alone is not enough: without a hook after it Argo CD does not wait for the pods.
    """
    start = now()
    there.run_verb("promote", "--source", "cluster", "--push")
    said, app = now(), there.wait_for_arrival("production")
    context.wait_until(lambda: moved(there), seconds=120, what="production's move to its digest")
    noticed = now()
    assert app.started
    assert app.finished
    ready = moments.condition(newest(there.app("production"), pods.SERVICE_SELECTOR), "Ready")
    cut = moments.parts(start, [
        Moment("promote: evidence, line, push", said), Moment("Argo CD notices the commit", app.started, waiting=True),
        Moment("renders, applies", app.finished), Moment("rolling update", ready), Moment("we notice", noticed, waiting=True),
    ])  # fmt: skip
    return [at_most("promotion, seconds", moments.whole(cut), 60), *stated(cut)]


def moved(there: DrillContext) -> bool:
    """Return whether every pod that is not terminating runs the ledger's image and is ready."""
    image, running = there_image(there), pods.list_pods(there.app("production"))
    return bool(running) and all(pod.image == image and pod.ready for pod in running)


def there_image(there: DrillContext) -> str:
    """Production's image by its ledger."""
    return str(there.last_line("production").image)


def rolling(there: DrillContext) -> list[Check]:
    """Clients send while production moves to another digest, by `rollback`: a rolling update, old pods gone at its end."""
    with clients.load(there, seconds=UPDATE_SECONDS, retries=0) as one:
        count, started = len(pods.list_pods(there.app("production"))), time.monotonic()
        there.run_verb("rollback", "--env", "production", "--reason", "bench: a rolling update under load", "--push")
        there.wait_for_arrival("production")
        image = there_image(there)
        context.wait_until(lambda: clients.whole(there, image, count), seconds=60, what="the end of the update")
        took = time.monotonic() - started
        assert one.left > 0, "the load ended before the update"
        seen = one.result()
    return [
        *shown("rolling update under load", seen),
        at_most("  of it until the last old pod was gone, seconds", took, None),
    ]


def kill(there: DrillContext) -> list[Check]:
    """Clients that send once more what failed, while a pod is deleted by force, until there are as many as before."""
    there.settle()
    with clients.load(there, seconds=KILL_SECONDS, retries=1) as one:
        image, before = there_image(there), clients.names(there)
        pod, started = min(before).removeprefix("pod/"), time.monotonic()
        clients.deleted(there, pod)
        context.wait_until(lambda: clients.whole(there, image, len(before)), seconds=60, what="the pod's return")
        took = time.monotonic() - started
        assert one.left > 0, "the load ended before the pod was back"
        seen = shown("pod deleted by force under load", one.result(), 0, retried=True)
    return [*seen, at_most("  until there were as many as before, seconds", took, None)]


def shown(name: str, seen: moments.Sent, limit: int | None = 0, *, retried: bool = False) -> list[Check]:
    """The clients' results as rows of the table."""
    assert seen.requests >= 1000, f"only {seen.requests} requests: nothing can be said"
    if seen.failures:
        talk.print(f"{name}: failed after {', '.join(f'{at:.2f}' for at in seen.failures)} s", soft_wrap=True)
    again = [at_most("  sent once more", seen.retried, None), at_most("  and then answered", seen.mended, None)]
    return [
        at_most(f"{name}{', after one retry' if retried else ''}: failed requests", seen.failed, limit),
        at_most("  of requests", seen.requests, None),
        *(again if retried else ()),
        at_most("  p95, ms", seen.p95_ms, None),
        at_most("  p99, ms", seen.p99_ms, None),
        at_most("  slowest, ms", seen.most_ms, None),
    ]


def abort(there: DrillContext) -> list[Check]:
    """A canary is aborted → the commit that takes it back is on main: the drill `wrong`."""
    watch, seconds = Timeline(there.sandbox, "wrong"), []
    canary_abort.wrong(there, watch)
    seconds = [float(word) for word in watch.figure.split(": ")[-1].split(" s ")[:1]]
    return [at_most("abort → revert commit, seconds", seconds[0], 60)]


FIGURES: dict[str, Callable[[DrillContext], list[Check]]] = {
    "judged": judged, "promotion": promotion, "rolling": rolling, "kill": kill, "abort": abort,
}  # fmt: skip


def main(wanted: list[str]) -> None:
    if unknown := set(wanted) - set(FIGURES):
        raise SystemExit(f"no figure is called {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    started, params, checks, kept = time.monotonic(), config.load(ROOT / "params.yaml"), [], False
    with loop.single_instance(clone.environment.cache_home(ROOT)), loop.interruptible():
        deploy.require_cluster_tools(ROOT)
        try:
            there, kept = enter(ROOT, params)
            for name in wanted or FIGURES:
                there.sandbox.start_part(f"{name} · load of the machine {os.getloadavg()[0]:.1f}")
                found = FIGURES[name](there)
                for check in found:
                    there.sandbox.record_step("figure", f"{check.name}: {check.value:g}; allowed: {check.limit}", 0.0)
                checks += found
                there.settle()
        finally:
            if not kept:
                loop.remove_everything(ROOT)
    closing("delivery", checks, time.monotonic() - started)


if __name__ == "__main__":
    guarded(lambda: main(sys.argv[1:]))
