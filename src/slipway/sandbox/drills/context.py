"""The world of the drills: the loop's scratch clone and its two applications, and the verbs that a person types there."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.cluster import argocd, kubectl, kustomization
from slipway.cluster.argocd import App
from slipway.core import config, files, git, ledger
from slipway.delivery import evidence, gitops_commit
from slipway.delivery.evidence import Evidence
from slipway.errors import CheckFailed, ConfigError, SlipwayError
from slipway.packaging import package
from slipway.sandbox import clone, deploy, loop
from slipway.sandbox.clone import Scene
from slipway.sandbox.drills import context, invariants

WHOLE_SECONDS = 180.0
"""Longest until Git and cluster are one again."""
POLL_SECONDS = 0.5


@dataclass
class World:
    """Where the drills happen; `remembered` is each ledger as it was when it was last looked at."""

    scene: Scene
    params: config.Params
    remembered: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """The clone."""
        return self.scene.work

    def app(self, env: str) -> str:
        """The name of an environment's application, and of its namespace."""
        return f"{self.scene.name}-{env}"


def found(root: Path, name: str) -> Scene | None:
    """The scene that `loop --target cluster --keep` left; None when there is none."""
    there = Scene(root=root, name=name, ports={}, target="cluster")
    mark = there.home / deploy.MARK
    marked = mark.exists() and mark.read_text(encoding="utf-8") == name
    return there if marked and there.work.is_dir() and there.remote.is_dir() else None


def enter(root: Path, params: config.Params) -> World:
    """The world that is there, brought to main's tip, or a new one whose model has reached production; made faster."""
    if there := found(root, params.track.model):
        there.say("The world that the loop kept")
        git.run("checkout", "-q", "main", root=there.work)
        git.run("pull", "-q", "--ff-only", "origin", "main", root=there.work)
        clone.repro(there)
    else:
        loop.clear(root)
        there = clone.prepare(root, params.track.model, {}, "cluster")
        loop.opening(there)
    world = World(there, config.load(there.work / "params.yaml"))
    shorten_limits(world)
    settle(world)
    return world


def shorten_limits(world: World) -> None:
    """Commit a shorter load test and deadline, so that a drill takes minutes; nothing where they are there already."""
    before = {path: (world.work / path).read_text(encoding="utf-8") for path in context.SHORTENED}
    after = {path: context.shortened_files(path, text) for path, text in before.items()}
    if after != before:
        commit(world, after, f"Hasten: {context.SHORTENED_HINT}")
        world.scene.note("hasten", context.SHORTENED_HINT, 0.0)


def commit(world: World, texts: dict[Path, str], title: str) -> str:
    """Write files, commit them on main (an empty commit without any) and push, as a merge does; the commit."""
    pull(world)
    for path, text in texts.items():
        files.write_text(world.work / path, text)
    git.run("commit", "-q", "-a", "--allow-empty", "-m", title, root=world.work)
    git.run("push", "-q", "origin", "main", root=world.work)
    return git.commit(root=world.work)


def ask(world: World, *words: str, code: int = 0, folder: Path | None = None) -> str:
    """Run a verb in the clone (or in `folder`) as a person does; all it says. CheckFailed on another exit code than `code`."""
    started = time.monotonic()
    there = world.scene if folder is None else Elsewhere(world.scene, folder)
    with clone.program(there, [sys.executable, "-m", "slipway", *words]) as one:
        said = str(one.communicate()[0])
    lines = [line for line in said.splitlines() if line.strip()]
    if one.returncode != code:
        end = "\n    ".join(lines[-12:])
        raise CheckFailed(f"drill: `slipway {words[0]}` ended with exit code {one.returncode}, not {code}:\n    {end}")
    verdict = {0: "", 4: "fail", 5: "unsure"}.get(code, "")
    world.scene.note(words[0], clone.sentence(words[0], lines), time.monotonic() - started, verdict)
    return said


class Elsewhere(Scene):
    """The scene with another clone."""

    def __init__(self, one: Scene, folder: Path) -> None:
        super().__init__(root=one.root, name=one.name, ports={}, target=one.target)
        self._folder = folder

    @property
    def work(self) -> Path:
        """The other clone."""
        return self._folder


def build(
    world: World, verbs: tuple[str, ...] = ("prove", "judge", "package", "image"), folder: Path | None = None
) -> None:
    """Main's tip proven, judged, packaged (unless it is) and pushed as an image: all that comes before a release."""
    for word in verbs:
        if word != "package" or stale(folder or world.work):
            ask(world, word, folder=folder)


def stale(work: Path) -> bool:
    """Whether the packaged bento is of other files than HEAD's."""
    record = files.read_json(work / "reports/image.json")
    try:
        package.packaged(work)
    except SlipwayError:
        return True
    wanted = [name for name in package.wanted(work) if not name.startswith("models/")]
    names = ["--", "dvc.lock", package.BENTOFILE, *wanted]
    return bool(git.run("diff", "--name-only", record["commit"], "HEAD", *names, root=work))


def release(world: World) -> str:
    """`release --push`, and the clone at the new tip; the revision."""
    ask(world, "release", "--push")
    return pull(world)


def pull(world: World) -> str:
    """The clone at main's tip; the tip."""
    git.run("pull", "-q", "--ff-only", "origin", "main", root=world.work)
    return git.commit(root=world.work)


def force_image(world: World, env: str, image: str, title: str) -> str:
    """Put an image into an environment past the gates, as a person with the rights to it can: line, overlay, one commit."""
    source = commit(world, {}, f"{title}: the source")

    def make(_: str, lines: list[ledger.Line]) -> ledger.Line:
        at, action = git.now(), "promote" if env == "production" else "release"
        changes = {"image": image, "commit": source, "at": at, "supersedes": lines[-1].identity, "pull_request": None}
        return lines[-1].model_copy(update={**changes, "action": action})

    gitops_commit.write(env, make, title=title, push=True, params=world.params, root=world.work)
    return pull(world)


def ended(world: World, env: str, revision: str) -> App:
    """The application when the operation of `revision` is over, whatever its phase."""
    argocd.refresh(world.app(env))
    return argocd.wait_for_sync(world.app(env), revision, seconds=deploy.SYNC_SECONDS, root=world.work)


def arrive(world: World, env: str) -> App:
    """The application when main's tip has arrived there; CheckFailed when it did not."""
    app = ended(world, env, pull(world))
    if app.phase != "Succeeded":
        raise CheckFailed(f"drill: {app.name}: {app.phase}: {app.message}", hint=f"argocd app get {app.name}")
    return app


def cluster_evidence(world: World) -> Evidence:
    """The cluster's evidence about what staging runs; CheckFailed or Inconclusive when it has none."""
    return evidence.find("cluster", world.params, ledger.read("staging", world.work)[-1], root=world.work)


def last(world: World, env: str) -> ledger.Line:
    """What an environment runs by its ledger."""
    return ledger.read(env, world.work)[-1]


def home(world: World) -> str:
    """Where the service's images go."""
    return kustomization.read(kustomization.path("staging", world.work).read_text(encoding="utf-8")).new_name


def settle(world: World, seconds: float = WHOLE_SECONDS) -> float:
    """Wait until every invariant holds, and remember the ledgers; how many seconds it took. CheckFailed with those that do not.

    A gate that says no to what it passed before (a busy machine) is run once more, and that is said.
    """
    started, again = time.monotonic(), False
    pull(world)
    for env in ledger.ENVIRONMENTS:
        argocd.refresh(world.app(env))
    while wrong := invariants.broken(facts := invariants.gather(world.scene, world.remembered)):
        if time.monotonic() - started > seconds:
            for env in ledger.ENVIRONMENTS:
                deploy.dump(world.scene, world.app(env))
            raise CheckFailed(
                f"drill: after {seconds:g} s still {'; '.join(wrong)}", hint=f"see {world.scene.home}/*.txt"
            )
        if not again and (names := invariants.refused(facts)):
            again = True
            argocd.run("app", "sync", names[0], "--async")
            world.scene.note("sync", f"{names[0]}: its gate said no to what it passed before: once more", 0.0, "unsure")
        time.sleep(POLL_SECONDS)
    world.remembered = {env.name: env.ledgers[-1][1] for env in facts.envs if env.ledgers}
    return time.monotonic() - started


def until(holds: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait until it holds; after how many seconds it did. CheckFailed when it does not in time."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds:
            raise CheckFailed(f"drill: {what} did not happen within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - started


def get(world: World, env: str, *words: str) -> dict[str, Any]:
    """An object of an environment's namespace."""
    read: dict[str, Any] = json.loads(kubectl.run("-n", world.app(env), "get", *words, "-o", "json"))
    return read


STAGING_DEPLOYMENT = Path("k8s/overlays/staging/deployment.yaml")
SHORTENED = (Path("loadtests/slo.yaml"), Path("k8s/base/slo.yaml"), STAGING_DEPLOYMENT)
LOAD_SECONDS, DEADLINE_SECONDS = 10, 40
SHORTENED_HINT = (
    f"the load test takes {LOAD_SECONDS} s, staging's deadline is {DEADLINE_SECONDS} s: for the drills alone"
)


def shortened_files(path: Path, text: str) -> str:
    """One of FILES, shorter; unchanged when it is that already."""
    return shorter_deadline(text) if path == STAGING_DEPLOYMENT else shorter_load_test(text)


def shorter_load_test(slo: str) -> str:
    """The objective with a schedule of the cluster of LOAD_SECONDS; ConfigError when it has none."""
    new, count = re.subn(r"(?m)^(  cluster: \{.*\bseconds: )\d+", rf"\g<1>{LOAD_SECONDS}", slo)
    if count != 1:
        raise ConfigError("drill: slo.yaml has no line `  cluster: {…, seconds: …}`", hint="see loadtests/slo.yaml")
    return new


def shorter_deadline(patch: str) -> str:
    """Staging's patch of the deployment with a deadline of DEADLINE_SECONDS; ConfigError when it has no spec."""
    if "progressDeadlineSeconds" in patch:
        return patch
    new, count = re.subn(r"(?m)^spec:$", f"spec:\n  progressDeadlineSeconds: {DEADLINE_SECONDS}", patch)
    if count != 1:
        raise ConfigError(f"drill: {STAGING_DEPLOYMENT} has no line `spec:`", hint="see k8s/overlays/staging")
    return new
