"""Drills of releases that staging must stop: too slow, then mended; an image that is missing, or that crashes."""

from __future__ import annotations

from pathlib import Path

from slipway.cluster import pods
from slipway.core import environment, files, git, ledger
from slipway.errors import CheckFailed, Inconclusive
from slipway.loadtest import slo
from slipway.sandbox import deploy
from slipway.sandbox.drills import bad_artifacts
from slipway.sandbox.drills.context import DrillContext
from slipway.sandbox.drills.timeline import Timeline
from slipway.serving import golden


def refuse_late_release(context: DrillContext, timeline: Timeline) -> None:
    """Release a service whose every answer is late; expect staging's gate to refuse it."""
    delay = bad_artifacts.delay_ms((context.work / slo.PATH).read_text(encoding="utf-8"))
    mend_service(context)
    source = (context.work / bad_artifacts.SERVICE).read_text(encoding="utf-8")
    context.commit({bad_artifacts.SERVICE: bad_artifacts.with_delay(source, delay)}, f"Answer {delay:g} ms later")
    context.build()
    revision = context.release()
    timeline.inject(f"a release whose every answer comes {delay:g} ms later")
    app = context.wait_for_operation("staging", revision)
    gates = {hook.phase for hook in app.hooks if hook.kind == "PostSync"}
    timeline.expect(
        (app.phase, gates) == ("Failed", {"Failed"}), f"the sync {app.phase}, its gate {gates}", allowed="Failed"
    )
    proof = context.cluster_evidence()
    timeline.expect(proof.verdict == "fail", f"the evidence says {proof.verdict}", allowed="fail")
    timeline.detect(f"load gate: no, p95 {proof.p95_ms or 0:.0f} ms over {proof.requests:,} requests")
    context.run_verb("promote", "--source", "cluster", "--push", code=CheckFailed.code)


def slow(context: DrillContext, timeline: Timeline) -> None:
    """Slow: the gate is red, promotion is refused, and a rollback brings Git and cluster together."""
    refuse_late_release(context, timeline)
    context.run_verb("rollback", "--env", "staging", "--reason", "drill: the load gate said no", "--push")
    context.settle()
    timeline.recover("rolled back; Git = cluster")


def fixed(context: DrillContext, timeline: Timeline) -> None:
    """A failed gate, then a fixed commit: released, judged, promoted."""
    if mend_service(context):
        timeline.inject("main holds a service that the gate refused; its fix is merged")
        timeline.detect("before, by the drill slow")
    else:
        refuse_late_release(context, timeline)
        mend_service(context)
    context.build()
    context.release()
    context.wait_for_arrival("staging")
    timeline.expect(context.cluster_evidence().verdict == "pass", "the fixed release has no pass")
    context.run_verb("promote", "--source", "cluster", "--push")
    context.wait_for_arrival("production")
    context.settle()
    check_production_answers(context, timeline, context.last_line("production"))
    timeline.recover("fixed commit released, judged, promoted")


def mend_service(context: DrillContext) -> bool:
    """Commit the service's source without a drill's delay; whether it had one."""
    source = (context.work / bad_artifacts.SERVICE).read_text(encoding="utf-8")
    comment = f"a drill: in time again, after {git.commit_hash(root=context.work)[:12]}"
    if (good := bad_artifacts.without_delay(source, comment)) == source:
        return False
    context.commit({bad_artifacts.SERVICE: good}, "Answer in time again")
    return True


def bento_folder(context: DrillContext, line: ledger.Line) -> Path:
    """The folder of a line's bento in the clone's store."""
    return environment.cache_home(context.work) / "bentoml" / "bentos" / line.bento.replace(":", "/")


def check_production_answers(
    context: DrillContext, timeline: Timeline, line: ledger.Line, service: str = "serve"
) -> None:
    """Expect that production gives the golden answers of a line's bento."""
    requests = files.read_json(bento_folder(context, line) / "src/models/golden.json")
    with deploy.endpoint(context.sandbox, "production", service) as host:
        check = golden.replay(host, requests, tolerance=context.params.package.tolerance)
    timeline.expect(check.ok is True, f"production differs from its model by {check.value}", allowed=check.limit)


def refuse_stuck_image(context: DrillContext, timeline: Timeline, image: str, what: str) -> None:
    """Put an image that never gets ready into staging: the sync fails, no evidence passes, a rollback mends it."""
    good = context.last_line("staging").image
    revision = context.force_image("staging", image, f"Drill: an image that {what}")
    timeline.inject(f"an image that {what}")
    app = context.wait_for_operation("staging", revision)
    timeline.expect(app.phase == "Failed", f"the sync {app.phase}", allowed="Failed")
    serving = [pod.image for pod in pods.list_pods(context.app("staging")) if pod.ready]
    timeline.expect(serving == [good], f"ready pods run {serving}", allowed="the old image alone")
    timeline.expect(not has_pass(context), "there is evidence about an image that never ran", allowed="none")
    timeline.detect(f"sync Failed: {app.message}"[:120])
    context.run_verb("promote", "--source", "cluster", "--push", code=Inconclusive.code)
    context.run_verb("rollback", "--env", "staging", "--reason", f"drill: an image that {what}", "--push")
    context.settle()
    timeline.recover("rolled back; the old pods served all the time")


def has_pass(context: DrillContext) -> bool:
    """Return whether the cluster has a pass for the last line of staging's ledger."""
    try:
        return context.cluster_evidence().verdict == "pass"
    except (CheckFailed, Inconclusive):
        return False


def missing(context: DrillContext, timeline: Timeline) -> None:
    """A digest that the registry has not."""
    refuse_stuck_image(context, timeline, f"{context.image_name()}@sha256:{'dead' * 16}", "the registry has not")


def crash(context: DrillContext, timeline: Timeline) -> None:
    """An image that exits at start."""
    good = str(context.last_line("staging").image)
    refuse_stuck_image(
        context, timeline, bad_artifacts.build_derived(good, "crash", line=bad_artifacts.CRASH), "exits at start"
    )
