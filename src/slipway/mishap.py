"""Drills of releases that staging must stop: too slow, then mended; an image that is missing, or that crashes."""

from __future__ import annotations

from pathlib import Path

from slipway import deploy, environment, files, git, golden, invariant, ledger, load, spoil, world
from slipway.errors import Refused, Unsure
from slipway.watch import Watch
from slipway.world import World


def late(there: World, watch: Watch) -> None:
    """Release a service whose every answer is late, and see staging's gate refuse it."""
    delay = spoil.delay_ms((there.work / load.SLO).read_text(encoding="utf-8"))
    mend(there)
    front = (there.work / spoil.FRONT).read_text(encoding="utf-8")
    world.commit(there, {spoil.FRONT: spoil.slowed(front, delay)}, f"Answer {delay:g} ms later")
    world.build(there)
    revision = world.release(there)
    watch.inject(f"a release whose every answer comes {delay:g} ms later")
    app = world.ended(there, "staging", revision)
    gates = {hook.phase for hook in app.hooks if hook.kind == "PostSync"}
    watch.expect((app.phase, gates) == ("Failed", {"Failed"}), f"the sync {app.phase}, its gate {gates}, limit: Failed")
    found = world.spoken(there)
    watch.expect(found.verdict == "fail", f"the evidence says {found.verdict}, limit: fail")
    watch.detect(f"load gate: no, p95 {found.p95_ms or 0:.0f} ms over {found.requests:,} requests")
    world.ask(there, "promote", "--source", "cluster", "--push", code=Refused.code)


def slow(there: World, watch: Watch) -> None:
    """Slow: the gate is red, promotion is refused, and a rollback brings Git and cluster together."""
    late(there, watch)
    world.ask(there, "rollback", "--env", "staging", "--reason", "drill: the load gate said no", "--push")
    world.settle(there)
    watch.recover("rolled back; Git = cluster")


def fixed(there: World, watch: Watch) -> None:
    """A failed gate, then a fixed commit: released, judged, promoted."""
    if mend(there):
        watch.inject("main holds a service that the gate refused; its fix is merged")
        watch.detect("before, by the drill slow")
    else:
        late(there, watch)
        mend(there)
    world.build(there)
    world.release(there)
    world.arrive(there, "staging")
    watch.expect(world.spoken(there).verdict == "pass", "the fixed release has no pass")
    world.ask(there, "promote", "--source", "cluster", "--push")
    world.arrive(there, "production")
    world.settle(there)
    answers(there, watch, world.last(there, "production"))
    watch.recover("fixed commit released, judged, promoted")


def mend(there: World) -> bool:
    """Commit the service's source without what a drill put into it; whether there was anything of it."""
    front = (there.work / spoil.FRONT).read_text(encoding="utf-8")
    fix = f"a drill: in time again, after {git.commit(root=there.work)[:12]}"
    if (good := spoil.mended(front, fix)) == front:
        return False
    world.commit(there, {spoil.FRONT: good}, "Answer in time again")
    return True


def bento(there: World, line: ledger.Line) -> Path:
    """The folder of a line's bento, in the clone's store."""
    return environment.cache_home(there.work) / "bentoml" / "bentos" / line.bento.replace(":", "/")


def answers(there: World, watch: Watch, line: ledger.Line, service: str = "serve") -> None:
    """Production gives the golden answers of a line's bento."""
    kept = files.read_json(bento(there, line) / "src/models/golden.json")
    with deploy.door(there.scene, "production", service) as host:
        check = golden.replay(host, kept, tolerance=there.params.package.tolerance)
    watch.expect(check.ok is True, f"production differs from its model by {check.value}, limit: {check.limit}")


def stuck(there: World, watch: Watch, image: str, what: str) -> None:
    """An image that never gets ready is put into staging: the sync fails, nobody says pass, a rollback mends it."""
    good = world.last(there, "staging").image
    revision = world.by_hand(there, "staging", image, f"Drill: an image that {what}")
    watch.inject(f"an image that {what}")
    app = world.ended(there, "staging", revision)
    watch.expect(app.phase == "Failed", f"the sync {app.phase}, limit: Failed")
    serving = [pod.image for pod in invariant.pods(there.app("staging")) if pod.ready]
    watch.expect(serving == [good], f"ready pods run {serving}, limit: the old image alone")
    watch.expect(not proven(there), "there is evidence about an image that never ran, limit: none")
    watch.detect(f"sync Failed: {app.message}"[:120])
    world.ask(there, "promote", "--source", "cluster", "--push", code=Unsure.code)
    world.ask(there, "rollback", "--env", "staging", "--reason", f"drill: an image that {what}", "--push")
    world.settle(there)
    watch.recover("rolled back; the old pods served all the time")


def proven(there: World) -> bool:
    """Whether the cluster says pass of what staging's ledger ends with."""
    try:
        return world.spoken(there).verdict == "pass"
    except (Refused, Unsure):
        return False


def missing(there: World, watch: Watch) -> None:
    """A digest that the registry has not."""
    stuck(there, watch, f"{world.home(there)}@sha256:{'dead' * 16}", "the registry has not")


def crash(there: World, watch: Watch) -> None:
    """An image that exits at start."""
    good = str(world.last(there, "staging").image)
    stuck(there, watch, spoil.derived(good, "crash", line=spoil.CRASH), "exits at start")
