"""Drills of outages: the registry, Git, Argo CD's controller, and the disk of the prediction log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from slipway.cluster.argocd import wait_for_sync
from slipway.core import environment, git, ledger
from slipway.errors import ConfigError, Inconclusive
from slipway.packaging import image_builder
from slipway.sandbox.drills import bad_artifacts, bad_releases, fault_injection
from slipway.sandbox.drills.context import DrillContext, Timeline

QUIET_SECONDS = 10.0
"""Longer than a running Argo CD needs to notice a commit."""


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
