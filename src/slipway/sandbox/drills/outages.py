"""Drills of parts that are down while a release is under way: the registry, Git, Argo CD's controller."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from slipway.cluster.argocd import wait_for_sync
from slipway.core import environment, git, ledger
from slipway.errors import ConfigError, Inconclusive
from slipway.packaging import image_builder
from slipway.sandbox.drills import bad_artifacts, bad_releases, context, fault_injection
from slipway.sandbox.drills.context import World
from slipway.sandbox.drills.timeline import Watch

STILL_SECONDS = 10.0
"""Longer than Argo CD needs to notice a commit, when it can."""


def change(there: World, what: str) -> str:
    """A change of main that is released and touches no bento: one more comment in the Dockerfile; the commit."""
    bad_releases.mend(there)
    recipe = (there.work / image_builder.DOCKERFILE).read_text(encoding="utf-8")
    return context.commit(
        there, {image_builder.DOCKERFILE: bad_artifacts.marked(recipe, what)}, f"Say in the Dockerfile: {what}"
    )


def known(there: World) -> list[str]:
    """The ledgers as the remote's main has them, read from its folder: no server is asked."""
    names = [ledger.path(env).as_posix() for env in ledger.ENVIRONMENTS]
    return [git.file_at("main", name, root=there.scene.remote) or "" for name in names]


def untouched(there: World, watch: Watch, before: list[str]) -> None:
    """Nothing was bumped, here or there, and nothing half-written is left."""
    watch.expect(known(there) == before, "a ledger of the remote was changed, limit: nothing is bumped")
    left = [path.name for path in environment.cache_home(there.work).glob("bump-*")]
    watch.expect(
        not git.uncommitted_files(there.work) and not left,
        f"left over: {[*git.uncommitted_files(there.work), *left]}, limit: nothing",
    )


def arrived(there: World, watch: Watch) -> None:
    """The release that was held up has come to staging, with its verdict."""
    context.arrive(there, "staging")
    watch.expect(context.cluster_evidence(there).verdict == "pass", "staging's gate gave no pass")
    context.settle(there)
    watch.recover("released and judged; Git = cluster")


def registry(there: World, watch: Watch) -> None:
    """The registry is down during a release: `image` says so, nothing is bumped; up again, the release works."""
    change(there, "a drill, with the registry down")
    before = known(there)
    context.build(there, verbs=("prove", "judge", "package"))
    with fault_injection.down(fault_injection.REGISTRY, remote=there.scene.remote):
        watch.inject("the registry is down")
        said = context.ask(there, "image", code=ConfigError.code)
        watch.expect("registry" in said or "localhost" in said, f"`image` does not name the registry: {said[-300:]}")
        watch.detect("`image` says so and ends with 2; nothing is bumped")
        untouched(there, watch, before)
    context.ask(there, "image")
    context.release(there)
    arrived(there, watch)


@contextlib.contextmanager
def served(there: World) -> Iterator[None]:
    """The clone's origin is the address that a server answers at, instead of a folder, while the block runs."""
    url, folder = there.scene.url, str(there.scene.remote)
    if not url.startswith("http") or environment.cluster_faults() is None:
        yield
        return
    git.run("remote", "set-url", "origin", url, root=there.work)
    try:
        yield
    finally:
        git.run("remote", "set-url", "origin", folder, root=there.work)


def git_down(there: World, watch: Watch) -> None:
    """Git is down during a bump: `release` cannot tell and writes nothing; up again, it works."""
    change(there, "a drill, with Git down")
    context.build(there)
    before = known(there)
    with served(there):
        with fault_injection.down(fault_injection.GIT, remote=there.scene.remote):
            watch.inject("the Git server is down")
            context.ask(there, "release", "--push", code=Inconclusive.code)
            watch.detect("`release` ends with 5; nothing is written")
        untouched(there, watch, before)
        context.release(there)
    arrived(there, watch)


def argocd(there: World, watch: Watch) -> None:
    """Argo CD's controller is killed during a bump: Git has it, the cluster waits; started again, it syncs."""
    change(there, "a drill, with Argo CD's controller killed")
    context.build(there)
    with fault_injection.down(fault_injection.CONTROLLER, remote=there.scene.remote, hard=True):
        watch.inject("Argo CD's controller is killed")
        revision = context.release(there)
        try:
            wait_for_sync(there.app("staging"), revision, seconds=STILL_SECONDS, root=there.work)
        except Inconclusive:
            watch.detect(f"no operation of the new commit after {STILL_SECONDS:g} s")
        watch.expect(watch.detected_s is not None, "the sync happened without the controller")
    arrived(there, watch)
