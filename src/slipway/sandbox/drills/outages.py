"""Drills of outages: the registry, Git, Argo CD's controller, and the disk of the prediction log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipway.cluster import kubectl
from slipway.cluster.argocd import wait_for_sync
from slipway.core import environment, git, ledger
from slipway.errors import ConfigError, Inconclusive
from slipway.packaging import image_builder
from slipway.sandbox.drills import bad_artifacts, bad_releases, fault_injection
from slipway.sandbox.drills.context import DrillContext
from slipway.sandbox.drills.timeline import Timeline

QUIET_SECONDS = 10.0
"""Longer than a running Argo CD needs to notice a commit."""
PRODUCTION = Path("k8s/overlays/production/kustomization.yaml")
REQUESTS = 4000
"""More than a log of SMALL_LOG has room for: a line of it has about 700 bytes."""
SMALL_LOG = """
patches:
  - patch: |-
      apiVersion: apps/v1
      kind: Deployment
      metadata:
        name: serve
      spec:
        template:
          spec:
            containers:
              - name: serve
                env:
                  - {name: SLIPWAY_LOG, value: /log}
                volumeMounts:
                  - {name: log, mountPath: /log}
            volumes:
              - name: log
                emptyDir: {medium: Memory, sizeLimit: 1Mi}
"""
"""A patch of production: a log on a volume that is full after 1 MiB, as a file system in memory is."""
ASK = """
import json, re, sys, time, urllib.request as requests
host = "http://127.0.0.1:3000"
row = json.dumps(json.load(open("/app/bento/src/models/contract.json"))["example"]).encode()
answered = 0
for _ in range(int(sys.argv[1])):
    with requests.urlopen(requests.Request(host + "/predict", row, {"content-type": "application/json"})) as answer:
        answered += answer.status == 200 and "prediction" in json.load(answer)
time.sleep(1)
text = requests.urlopen(host + "/metrics").read().decode()
value = lambda name: int(sum(map(float, re.findall(rf"(?m)^slipway_prediction_log_{name}_total(?:{{.*?}})? (.+)$", text))))
print(json.dumps({"answered": answered, "lines": value("lines"), "lost": value("lost")}))
"""
"""A program for the service's container: it asks the service, and prints what was answered, written and lost."""


def commit_change(context: DrillContext, what: str) -> str:
    """Commit one more comment in the Dockerfile, which is released and leaves the bento as it is; return the commit."""
    bad_releases.mend_service(context)
    recipe = (context.work / image_builder.DOCKERFILE).read_text(encoding="utf-8")
    return context.commit(
        {image_builder.DOCKERFILE: bad_artifacts.with_comment(recipe, what)}, f"Note in the Dockerfile: {what}"
    )


def remote_ledgers(context: DrillContext) -> list[str]:
    """The ledgers on the remote's main, read from its folder without a server."""
    names = [ledger.path(env).as_posix() for env in ledger.ENVIRONMENTS]
    return [git.file_at(context.sandbox.branch, name, root=context.sandbox.remote) or "" for name in names]


def expect_untouched(context: DrillContext, timeline: Timeline, before: list[str]) -> None:
    """Expect that no ledger changed, in the clone or the remote, and that no unfinished file is left."""
    timeline.expect(
        remote_ledgers(context) == before, "a ledger on the remote changed", expected="no release during the outage"
    )
    leftovers = [path.name for path in environment.cache_home(context.work).glob("bump-*")]
    timeline.expect(
        not git.uncommitted_files(context.work) and not leftovers,
        f"files are left over: {', '.join([*git.uncommitted_files(context.work), *leftovers])}",
        expected="none",
    )


def expect_arrived(context: DrillContext, timeline: Timeline) -> None:
    """Expect that staging runs the delayed release and that it passed the load test."""
    context.wait_for_arrival("staging")
    timeline.expect(context.cluster_evidence().verdict == "pass", "the load test in staging did not pass")
    context.settle()
    timeline.recover("released and load-tested; the cluster runs what Git says")


def registry(context: DrillContext, timeline: Timeline) -> None:
    """An outage of the registry during a release: `image` reports it, nothing is released; afterwards the release works."""
    commit_change(context, "a drill, with the registry down")
    before = remote_ledgers(context)
    context.build(verbs=("prove", "judge", "package"))
    with fault_injection.part_down(fault_injection.REGISTRY, remote=context.sandbox.remote):
        timeline.inject("the registry is down")
        output = context.run_verb("image", code=ConfigError.code)
        timeline.expect(
            "registry" in output or "localhost" in output,
            f"the output of `image` does not mention the registry: {output[-300:]}",
        )
        timeline.detect("`image` reports it and exits with 2; nothing is released")
        expect_untouched(context, timeline, before)
    context.run_verb("image")
    context.release()
    expect_arrived(context, timeline)


@contextlib.contextmanager
def origin_over_http(context: DrillContext) -> Iterator[None]:
    """Point the clone's origin at the Git server instead of the folder while the block runs."""
    url, folder = context.sandbox.url, str(context.sandbox.remote)
    if not url.startswith("http") or environment.cluster_faults() is None:
        yield
        return
    git.run("remote", "set-url", "origin", url, root=context.work)
    try:
        yield
    finally:
        git.run("remote", "set-url", "origin", folder, root=context.work)


def git_down(context: DrillContext, timeline: Timeline) -> None:
    """An outage of Git during a release: `release` exits with 5 and writes nothing; afterwards it works."""
    commit_change(context, "a drill, with Git down")
    context.build()
    before = remote_ledgers(context)
    with origin_over_http(context):
        with fault_injection.part_down(fault_injection.GIT, remote=context.sandbox.remote):
            timeline.inject("the Git server is down")
            context.run_verb("release", "--push", code=Inconclusive.code)
            timeline.detect("`release` exits with 5; nothing is written")
        expect_untouched(context, timeline, before)
        context.release()
    expect_arrived(context, timeline)


def argocd(context: DrillContext, timeline: Timeline) -> None:
    """A killed Argo CD controller during a release: Git has the release, and the cluster syncs when it runs again."""
    commit_change(context, "a drill, with Argo CD's controller killed")
    context.build()
    with fault_injection.part_down(fault_injection.CONTROLLER, remote=context.sandbox.remote, hard=True):
        timeline.inject("Argo CD's controller is killed")
        revision = context.release()
        try:
            wait_for_sync(context.app("staging"), revision, seconds=QUIET_SECONDS, root=context.work)
        except Inconclusive:
            timeline.detect(f"no sync of the new commit within {QUIET_SECONDS:g} s")
        timeline.expect(timeline.detected_s is not None, "the new commit was synced without the controller")
    expect_arrived(context, timeline)


def with_small_log(overlay: str) -> str:
    """Production's overlay with SMALL_LOG, above the lines that machines write; ConfigError where it has patches already."""
    if "\npatches:" in overlay or "\nimages:" not in overlay:
        raise ConfigError(
            f"drill: {PRODUCTION} has patches, or no images", hint="run the drills in the template, not in a project"
        )
    return overlay.replace("\nimages:", f"{SMALL_LOG}images:", 1)


def ask_in_pod(context: DrillContext, requests: int) -> dict[str, Any]:
    """Ask a pod of production from inside, and return the numbers of answers, of lines written, and of lines lost."""
    output = kubectl.run("-n", context.app("production"), "exec", "deploy/serve", "-c", "serve", "--", "python", "-c", ASK,
                         str(requests), timeout=180)  # fmt: skip
    counts: dict[str, Any] = json.loads(output.splitlines()[-1])
    return counts


def disk_full_log(context: DrillContext, timeline: Timeline) -> None:
    """A full disk below production's prediction log: every request is answered, and the lost lines are counted."""
    before = (context.work / PRODUCTION).read_text(encoding="utf-8")
    context.commit({PRODUCTION: with_small_log(before)}, "Drill: a prediction log on a small volume")
    context.settle()
    try:
        timeline.inject(f"{REQUESTS} requests to a pod whose log has room for 1 MiB")
        counts = ask_in_pod(context, REQUESTS)
        timeline.expect(
            counts["answered"] == REQUESTS, f"{counts['answered']} requests were answered", expected=f"{REQUESTS}"
        )
        timeline.expect(
            counts["lost"] > 0, "the metric shows no lost line", expected="slipway_prediction_log_lost_total > 0"
        )
        counted = counts["lines"] + counts["lost"]
        timeline.expect(counted >= REQUESTS, f"{counted} lines were written or lost", expected=f"at least {REQUESTS}")
        timeline.detect(f"slipway_prediction_log_lost_total is {counts['lost']}; all {REQUESTS} requests were answered")
    finally:
        overlay = (context.work / PRODUCTION).read_text(encoding="utf-8")
        context.commit({PRODUCTION: overlay.replace(SMALL_LOG, "\n")}, "Drill: production without the small volume")
    context.settle()
    timeline.recover("the volume is gone; production answered all the time")
