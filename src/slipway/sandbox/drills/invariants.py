"""Invariants that hold after every drill: no ledger line is lost, the cluster runs what Git says, nothing is left over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from slipway.cluster import argocd, kustomization
from slipway.cluster.argocd import App, describe
from slipway.cluster.pods import Pod, list_pods
from slipway.core import environment, git, ledger
from slipway.sandbox.clone import Sandbox

TAMPER = "Tamper: "
"""First word of the subject of a drill's own forgery, which must be gone from the ledger afterwards."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentState:
    """An environment: its ledger at each commit of main (subject, text; oldest first), its digest, application and pods."""

    name: str
    ledgers: Sequence[tuple[str, str]]
    remembered: str
    pinned: str | None
    app: App
    pods: Sequence[Pod]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Git's main, the scratch clone and both environments at one moment."""

    tip: str
    head: str
    branch: str
    dirty: Sequence[str]
    worktrees: Sequence[str]
    envs: Sequence[EnvironmentState]


def violations(now: Snapshot) -> list[str]:
    """A sentence for each invariant that does not hold; empty when all hold."""
    sentences = [each for env in now.envs for each in (*_lost_lines(env), *_differences(env, now.tip))]
    if now.head != now.tip or now.branch != "main":
        sentences.append(f"the clone is on {now.branch} at {now.head[:12]}; expected: main at {now.tip[:12]}")
    if now.dirty:
        sentences.append(f"the clone has uncommitted files: {', '.join(now.dirty[:3])}")
    if now.worktrees:
        sentences.append(f"temporary files are left over: {', '.join(now.worktrees)}")
    return sentences


def failed_gates(now: Snapshot) -> list[str]:
    """The applications whose load gate failed for main's tip."""
    failed = [env.app for env in now.envs if env.app.phase == "Failed" and env.app.revision == now.tip]
    return [app.name for app in failed if any(hook.kind == "PostSync" and hook.phase == "Failed" for hook in app.hooks)]


def _lost_lines(env: EnvironmentState) -> list[str]:
    """A sentence when main lacks a line that it had, or that is remembered, byte for byte and in order."""
    honest = [text for subject, text in env.ledgers if not subject.startswith(TAMPER)] or [""]
    pairs = [*pairwise(honest), (env.remembered, honest[-1])]
    if changed := [before for before, after in pairs if not after.startswith(before)]:
        rows = changed[0].count("\n")
        return [f"{env.name}: some of the {rows} lines of the ledger are lost or changed"]
    if env.ledgers and env.ledgers[-1][1] != honest[-1]:
        return [f"{env.name}: the ledger still has the forged lines"]
    return []


def _differences(env: EnvironmentState, tip: str) -> list[str]:
    """Sentences for an overlay, pods or an application that differ from the last line at main's tip."""
    sentences, app = [], env.app
    lines = ledger.parse(env.ledgers[-1][1], where=env.name) if env.ledgers else []
    if (last := lines[-1].image if lines else None) != env.pinned:
        sentences.append(f"{env.name}: the overlay pins {env.pinned}, but the last ledger line has {last}")
    if others := sorted({pod.image for pod in env.pods} - {env.pinned}):
        sentences.append(f"{env.name}: pods run {', '.join(map(str, others))}, but the overlay pins {env.pinned}")
    if not env.pods or not all(pod.ready for pod in env.pods):
        sentences.append(f"{env.name}: {sum(pod.ready for pod in env.pods)} of {len(env.pods)} pods are ready")
    if (app.sync, app.health, app.compared) != ("Synced", "Healthy", tip) or app.phase != "Succeeded":
        sentences.append(f"{env.name}: {describe(app)}; expected: Synced at {tip[:12]}, Healthy, Succeeded")
    return sentences


def take_snapshot(sandbox: Sandbox, remembered: Mapping[str, str]) -> Snapshot:
    """Fetch the remote's main and read Git and the cluster; their errors are raised as they are."""
    work = sandbox.work
    git.fetch("main", root=work)
    tip = git.commit_hash("origin/main", root=work)
    trees = git.run("worktree", "list", "--porcelain", root=work).split("\n\n")[1:]
    scratch = environment.cache_home(work).glob("bump-*")
    return Snapshot(
        tip=tip, head=git.commit_hash(root=work), branch=git.run("branch", "--show-current", root=work),
        dirty=git.uncommitted_files(work), worktrees=[*(tree.split("\n")[0] for tree in trees), *(path.name for path in scratch)],
        envs=[_environment_state(sandbox, name, tip, remembered.get(name, "")) for name in ledger.ENVIRONMENTS],
    )  # fmt: skip


def _environment_state(sandbox: Sandbox, name: str, tip: str, remembered: str) -> EnvironmentState:
    namespace, pinned = f"{sandbox.name}-{name}", kustomization.pinned_at(name, tip, sandbox.work)
    return EnvironmentState(
        name=name, ledgers=ledger_history(sandbox, name, tip), remembered=remembered, pinned=pinned.image if pinned else None,
        app=argocd.get_app(namespace), pods=list_pods(namespace),
    )  # fmt: skip


def ledger_history(sandbox: Sandbox, env: str, tip: str) -> list[tuple[str, str]]:
    """Subject and ledger of each commit of main that touched it, oldest first."""
    file, work = ledger.path(env).as_posix(), sandbox.work
    log = git.run("log", "--first-parent", "--reverse", "--format=%H %s", tip, "--", file, root=work).splitlines()
    rows = [row.partition(" ") for row in log]
    return [(subject, git.file_at(commit, file, root=work) or "") for commit, _, subject in rows]
