"""Drills of releases that staging must stop: too slow, then mended; an image that is missing, or that crashes."""

from __future__ import annotations

from pathlib import Path

from slipway.cluster import pods
from slipway.core import environment, files, git, ledger
from slipway.errors import CheckFailed, Inconclusive
from slipway.loadtest import slo
from slipway.sandbox import deploy
from slipway.sandbox.drills import bad_artifacts, context
from slipway.sandbox.drills.context import World
from slipway.sandbox.drills.timeline import Watch
from slipway.serving import golden


def late(there: World, watch: Watch) -> None:
    """Release a service whose every answer is late, and see staging's gate refuse it."""
    delay = bad_artifacts.delay_ms((there.work / slo.PATH).read_text(encoding="utf-8"))
    mend(there)
    front = (there.work / bad_artifacts.FRONT).read_text(encoding="utf-8")
    context.commit(there, {bad_artifacts.FRONT: bad_artifacts.slowed(front, delay)}, f"Answer {delay:g} ms later")
    context.build(there)
    revision = context.release(there)
    watch.inject(f"a release whose every answer comes {delay:g} ms later")
    app = context.ended(there, "staging", revision)
    gates = {hook.phase for hook in app.hooks if hook.kind == "PostSync"}
    watch.expect((app.phase, gates) == ("Failed", {"Failed"}), f"the sync {app.phase}, its gate {gates}, limit: Failed")
    found = context.cluster_evidence(there)
    watch.expect(found.verdict == "fail", f"the evidence says {found.verdict}, limit: fail")
    watch.detect(f"load gate: no, p95 {found.p95_ms or 0:.0f} ms over {found.requests:,} requests")
    context.ask(there, "promote", "--source", "cluster", "--push", code=CheckFailed.code)


def slow(there: World, watch: Watch) -> None:
    """Slow: the gate is red, promotion is refused, and a rollback brings Git and cluster together."""
    late(there, watch)
    context.ask(there, "rollback", "--env", "staging", "--reason", "drill: the load gate said no", "--push")
    context.settle(there)
    watch.recover("rolled back; Git = cluster")


def fixed(there: World, watch: Watch) -> None:
    """A failed gate, then a fixed commit: released, judged, promoted."""
    if mend(there):
        watch.inject("main holds a service that the gate refused; its fix is merged")
        watch.detect("before, by the drill slow")
    else:
        late(there, watch)
        mend(there)
    context.build(there)
    context.release(there)
    context.arrive(there, "staging")
    watch.expect(context.cluster_evidence(there).verdict == "pass", "the fixed release has no pass")
    context.ask(there, "promote", "--source", "cluster", "--push")
    context.arrive(there, "production")
    context.settle(there)
    answers(there, watch, context.last(there, "production"))
    watch.recover("fixed commit released, judged, promoted")


def mend(there: World) -> bool:
    """Commit the service's source without what a drill put into it; whether there was anything of it."""
    front = (there.work / bad_artifacts.FRONT).read_text(encoding="utf-8")
    fix = f"a drill: in time again, after {git.commit(root=there.work)[:12]}"
    if (good := bad_artifacts.mended(front, fix)) == front:
        return False
    context.commit(there, {bad_artifacts.FRONT: good}, "Answer in time again")
    return True


def bento(there: World, line: ledger.Line) -> Path:
    """The folder of a line's bento, in the clone's store."""
    return environment.cache_home(there.work) / "bentoml" / "bentos" / line.bento.replace(":", "/")


def answers(there: World, watch: Watch, line: ledger.Line, service: str = "serve") -> None:
    """Production gives the golden answers of a line's bento."""
    kept = files.read_json(bento(there, line) / "src/models/golden.json")
    with deploy.endpoint(there.scene, "production", service) as host:
        check = golden.replay(host, kept, tolerance=there.params.package.tolerance)
    watch.expect(check.ok is True, f"production differs from its model by {check.value}, limit: {check.limit}")


def stuck(there: World, watch: Watch, image: str, what: str) -> None:
    """An image that never gets ready is put into staging: the sync fails, nobody says pass, a rollback mends it."""
    good = context.last(there, "staging").image
    revision = context.force_image(there, "staging", image, f"Drill: an image that {what}")
    watch.inject(f"an image that {what}")
    app = context.ended(there, "staging", revision)
    watch.expect(app.phase == "Failed", f"the sync {app.phase}, limit: Failed")
    serving = [pod.image for pod in pods.list_pods(there.app("staging")) if pod.ready]
    watch.expect(serving == [good], f"ready pods run {serving}, limit: the old image alone")
    watch.expect(not proven(there), "there is evidence about an image that never ran, limit: none")
    watch.detect(f"sync Failed: {app.message}"[:120])
    context.ask(there, "promote", "--source", "cluster", "--push", code=Inconclusive.code)
    context.ask(there, "rollback", "--env", "staging", "--reason", f"drill: an image that {what}", "--push")
    context.settle(there)
    watch.recover("rolled back; the old pods served all the time")


def proven(there: World) -> bool:
    """Whether the cluster says pass of what staging's ledger ends with."""
    try:
        return context.cluster_evidence(there).verdict == "pass"
    except (CheckFailed, Inconclusive):
        return False


def missing(there: World, watch: Watch) -> None:
    """A digest that the registry has not."""
    stuck(there, watch, f"{context.home(there)}@sha256:{'dead' * 16}", "the registry has not")


def crash(there: World, watch: Watch) -> None:
    """An image that exits at start."""
    good = str(context.last(there, "staging").image)
    stuck(there, watch, bad_artifacts.derived(good, "crash", line=bad_artifacts.CRASH), "exits at start")
