"""What must hold after every drill: nothing lost, Git = cluster, and no debris. `broken` is pure; `gather` asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from slipway.cluster import argocd, kustomization
from slipway.cluster.argocd import App, describe
from slipway.cluster.pods import Pod, list_pods
from slipway.core import environment, git, ledger
from slipway.sandbox.clone import Scene

TAMPER = "Tamper: "
"""How the subject of a drill's own forgery begins: what it did is to be gone, not kept."""


@dataclass(frozen=True, kw_only=True)
class Env:
    """An environment: its ledger at each commit of main (subject, text; oldest first), and what pins, runs and syncs."""

    name: str
    ledgers: Sequence[tuple[str, str]]
    remembered: str
    pinned: str | None
    app: App
    pods: Sequence[Pod]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Git's main, the scratch clone and both environments at one moment."""

    tip: str
    head: str
    branch: str
    dirty: Sequence[str]
    worktrees: Sequence[str]
    envs: Sequence[Env]


def broken(facts: Facts) -> list[str]:
    """Every invariant that does not hold, as a sentence; empty when all do."""
    found = [said for env in facts.envs for said in (*_lost(env), *_differs(env, facts.tip))]
    if facts.head != facts.tip or facts.branch != "main":
        found.append(f"the clone is on {facts.branch} at {facts.head[:12]}, limit: main at {facts.tip[:12]}")
    if facts.dirty:
        found.append(f"not committed in the clone: {', '.join(facts.dirty[:3])}")
    if facts.worktrees:
        found.append(f"left over: {', '.join(facts.worktrees)}")
    return found


def refused(facts: Facts) -> list[str]:
    """The applications whose load gate said no to what main's tip holds now."""
    failed = [env.app for env in facts.envs if env.app.phase == "Failed" and env.app.revision == facts.tip]
    return [app.name for app in failed if any(hook.kind == "PostSync" and hook.phase == "Failed" for hook in app.hooks)]


def _lost(env: Env) -> list[str]:
    """Every line that was ever on main, or is remembered, is there yet, byte for byte and in order."""
    honest = [text for subject, text in env.ledgers if not subject.startswith(TAMPER)] or [""]
    pairs = [*pairwise(honest), (env.remembered, honest[-1])]
    if wrong := [before for before, after in pairs if not after.startswith(before)]:
        rows = wrong[0].count("\n")
        return [f"{env.name}: of {rows} lines of the ledger some are lost or changed"]
    if env.ledgers and env.ledgers[-1][1] != honest[-1]:
        return [f"{env.name}: the ledger is still the forged one"]
    return []


def _differs(env: Env, tip: str) -> list[str]:
    """The overlay at main's tip is the last line, is what runs; the application says so of the tip."""
    found, app = [], env.app
    lines = ledger.parse(env.ledgers[-1][1], where=env.name) if env.ledgers else []
    if (last := lines[-1].image if lines else None) != env.pinned:
        found.append(f"{env.name}: the overlay pins {env.pinned}, the last line {last}")
    if strange := sorted({pod.image for pod in env.pods} - {env.pinned}):
        found.append(f"{env.name}: pods run {', '.join(map(str, strange))}, the overlay pins {env.pinned}")
    if not env.pods or not all(pod.ready for pod in env.pods):
        found.append(f"{env.name}: {sum(pod.ready for pod in env.pods)} of {len(env.pods)} pods are ready")
    if (app.sync, app.health, app.compared) != ("Synced", "Healthy", tip) or app.phase != "Succeeded":
        found.append(f"{env.name}: {describe(app)}, limit: Synced at {tip[:12]}, Healthy, Succeeded")
    return found


def gather(scene: Scene, remembered: Mapping[str, str]) -> Facts:
    """Ask Git (the remote's main is fetched) and the cluster; errors as theirs."""
    work = scene.work
    git.fetch("main", root=work)
    tip = git.commit("origin/main", root=work)
    trees = git.run("worktree", "list", "--porcelain", root=work).split("\n\n")[1:]
    scratch = environment.cache_home(work).glob("bump-*")
    return Facts(
        tip=tip, head=git.commit(root=work), branch=git.run("branch", "--show-current", root=work),
        dirty=git.uncommitted_files(work), worktrees=[*(tree.split("\n")[0] for tree in trees), *(path.name for path in scratch)],
        envs=[_env(scene, name, tip, remembered.get(name, "")) for name in ledger.ENVIRONMENTS],
    )  # fmt: skip


def _env(scene: Scene, name: str, tip: str, remembered: str) -> Env:
    namespace, pinned = f"{scene.name}-{name}", kustomization.pinned_at(name, tip, scene.work)
    return Env(
        name=name, ledgers=ledgers(scene, name, tip), remembered=remembered, pinned=pinned.image if pinned else None,
        app=argocd.get_app(namespace), pods=list_pods(namespace),
    )  # fmt: skip


def ledgers(scene: Scene, env: str, tip: str) -> list[tuple[str, str]]:
    """Subject and ledger of each commit of main that touched it, oldest first."""
    file, work = ledger.path(env).as_posix(), scene.work
    log = git.run("log", "--first-parent", "--reverse", "--format=%H %s", tip, "--", file, root=work).splitlines()
    rows = [row.partition(" ") for row in log]
    return [(subject, git.file_at(commit, file, root=work) or "") for commit, _, subject in rows]
