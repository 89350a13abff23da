"""Drills of releases that staging must stop: too slow, then corrected; an image that is missing, or that crashes."""

from __future__ import annotations

from pathlib import Path

from slipway.cluster import pods
from slipway.core import environment, files, git, ledger
from slipway.core.verdict import describe_check
from slipway.errors import CheckFailed, Inconclusive
from slipway.loadtest import slo
from slipway.sandbox import deploy
from slipway.sandbox.drills import bad_artifacts
from slipway.sandbox.drills.context import DrillContext, Timeline
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
        (app.phase, gates) == ("Failed", {"Failed"}),
        f"the sync is {app.phase} and its load test {', '.join(gates) or 'did not run'}",
        expected="both Failed",
    )
    proof = context.cluster_evidence()
    timeline.expect(proof.verdict == "fail", f"the load test's verdict is {proof.verdict}", expected="fail")
    timeline.detect(f"the load test failed: p95 {proof.p95_ms or 0:.0f} ms over {proof.requests:,} requests")
    context.run_verb("promote", "--source", "cluster", "--push", code=CheckFailed.code)


def slow(context: DrillContext, timeline: Timeline) -> None:
    """A slow release: the load test fails, promotion is refused, and a rollback brings Git and cluster together."""
    refuse_late_release(context, timeline)
    context.run_verb("rollback", "--env", "staging", "--reason", "drill: the load test failed", "--push")
    context.settle()
    timeline.recover("rolled back; the cluster runs what Git says")


def fixed(context: DrillContext, timeline: Timeline) -> None:
    """A correction after a failed load test: the new commit is released, load-tested and promoted."""
    if mend_service(context):
        timeline.inject("main has the service that failed the load test; its correction is merged")
        timeline.detect("earlier, by the drill slow")
    else:
        refuse_late_release(context, timeline)
        mend_service(context)
    context.build()
    context.release()
    context.wait_for_arrival("staging")
    timeline.expect(context.cluster_evidence().verdict == "pass", "the corrected release did not pass the load test")
    context.run_verb("promote", "--source", "cluster", "--push")
    context.wait_for_arrival("production")
    context.settle()
    check_production_answers(context, timeline, context.last_line("production"))
    timeline.recover("the corrected commit was released, load-tested and promoted")


def mend_service(context: DrillContext) -> bool:
    """Commit the service's source without a drill's delay; return whether it had one."""
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
    """Expect that production returns the golden answers of a line's bento."""
    requests = files.read_json(bento_folder(context, line) / "src/models/golden.json")
    with deploy.endpoint(context.sandbox, "production", service) as host:
        check = golden.replay(host, requests, tolerance=context.params.package.tolerance)
    timeline.expect(check.ok is True, describe_check(check))


def refuse_stuck_image(context: DrillContext, timeline: Timeline, image: str, what: str) -> None:
    """Put an image that never becomes ready into staging: the sync fails, no load test passes, a rollback repairs it."""
    good = context.last_line("staging").image
    revision = context.force_image("staging", image, f"Drill: an image that {what}")
    timeline.inject(f"an image that {what}")
    app = context.wait_for_operation("staging", revision)
    timeline.expect(app.phase == "Failed", f"the sync is {app.phase}", expected="Failed")
    serving = [pod.image for pod in pods.list_pods(context.app("staging")) if pod.ready]
    timeline.expect(serving == [good], f"the ready pods run {', '.join(serving) or 'nothing'}", expected=f"only {good}")
    timeline.expect(not has_pass(context), "an image that never ran passed the load test")
    timeline.detect(f"the sync failed: {app.message}"[:120])
    context.run_verb("promote", "--source", "cluster", "--push", code=Inconclusive.code)
    context.run_verb("rollback", "--env", "staging", "--reason", f"drill: an image that {what}", "--push")
    context.settle()
    timeline.recover("rolled back; the old pods served without a break")


def has_pass(context: DrillContext) -> bool:
    """Return whether the last line of staging's ledger passed the load test in the cluster."""
    try:
        return context.cluster_evidence().verdict == "pass"
    except (CheckFailed, Inconclusive):
        return False


def missing(context: DrillContext, timeline: Timeline) -> None:
    """A missing image: staging is to run a digest that the registry does not have."""
    refuse_stuck_image(context, timeline, f"{context.image_name()}@sha256:{'dead' * 16}", "the registry does not have")


def crash(context: DrillContext, timeline: Timeline) -> None:
    """A crashing image: the service exits when it starts."""
    good = str(context.last_line("staging").image)
    refuse_stuck_image(
        context, timeline, bad_artifacts.build_derived(good, "crash", line=bad_artifacts.CRASH), "exits when it starts"
    )
