"""Drills of what is watched after a release: an input that breaks, and labels that do not come."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from slipway import problem
from slipway.cluster import kubectl, pods
from slipway.core import config, files, git
from slipway.errors import ConfigError
from slipway.pipeline import features
from slipway.sandbox import deploy, operate
from slipway.sandbox.drills import canary_abort
from slipway.sandbox.drills.canary_abort import OVERLAY
from slipway.sandbox.drills.context import DrillContext, OtherClone
from slipway.sandbox.drills.timeline import Timeline
from slipway.sandbox.operate import Week

COMPONENT = "components: [../../components/prediction-log]"
PRINT_LOG = (
    "import os, pathlib, sys\n"
    "for path in sorted(pathlib.Path(os.environ['SLIPWAY_LOG'], 'predictions').glob('*.jsonl')):\n"
    "    sys.stdout.buffer.write(path.read_bytes())\n"
)
"""A program for the service's container, which prints the pod's log."""
LOGGED_SECONDS = 60.0
"""Longest until the last answers are in the logs of the pods."""


def with_log(overlay: str, *, on: bool) -> str:
    """Production's overlay with the prediction log on or off; ConfigError when it lacks the line of the canary."""
    marked = f"# {canary_abort.CANARY}"
    if marked not in overlay:
        raise ConfigError(f"drill: {OVERLAY} has no line `{marked}`", hint=f"add the line to {OVERLAY}")
    without = overlay.replace(f"\n{COMPONENT}", "")
    if not on:
        return without
    line = next(row for row in without.splitlines() if row.startswith(marked))
    return without.replace(line, f"{line}\n{COMPONENT}")


def turn_log(context: DrillContext, *, on: bool) -> None:
    """Turn production's prediction log on or off by a commit, and wait until the cluster has it."""
    before = (context.work / OVERLAY).read_text(encoding="utf-8")
    if (after := with_log(before, on=on)) != before:
        context.commit({OVERLAY: after}, f"Turn production's prediction log {'on' if on else 'off'}")
        context.sandbox.record_step("log", "on" if on else "off", context.settle())


@dataclass(frozen=True)
class Watch:
    """A clone of its own in which `monitor` runs, with shorter waits; the weeks of requests, and the problem."""

    sandbox: OtherClone
    params: config.Params
    spec: problem.Problem
    weeks: Sequence[Week]


def open_watch(context: DrillContext) -> Watch:
    """Turn production's log on, and clone main next to the drill's clone, with an empty log."""
    turn_log(context, on=True)
    folder = context.sandbox.home / "watch"
    shutil.rmtree(folder, ignore_errors=True)
    git.run("clone", "-q", str(context.work), str(folder), root=context.sandbox.home)
    shutil.copy(context.work / features.FRAME, files.make_folder((folder / features.FRAME).parent))
    sandbox = OtherClone(context.sandbox, folder)
    params = operate.start_log(sandbox)
    return Watch(sandbox, params, problem.load(params.problem), operate.request_weeks(sandbox, params.data))


def ask(context: DrillContext, watch: Watch, week: Week) -> None:
    """Ask production for a week, and put the lines of its pods into the clone's log, with the times of the rows."""
    started = time.monotonic()
    with deploy.endpoint(context.sandbox, "production") as url:
        operate.send(url, watch.spec, week)
    head, lines = operate.read_lines(lambda: pod_logs(context), week, seconds=LOGGED_SECONDS)
    operate.write_dated(head, lines, week, watch.sandbox.work / watch.params.monitor.log)
    summary = f"{len(week.rows):,} predictions of week {week.number} answered and logged"
    context.sandbox.record_step("ask", summary, time.monotonic() - started)


def pod_logs(context: DrillContext) -> list[bytes]:
    """The log of each ready pod of production."""
    app = context.app("production")
    return [kubectl.run("-n", app, "exec", pod.name, "-c", "serve", "--", "python", "-c", PRINT_LOG).encode()
            for pod in pods.list_pods(app) if pod.ready]  # fmt: skip


def judge(watch: Watch, until: date) -> dict[str, dict[str, Any]]:
    """The verdicts of `monitor` on the week before `until`, by question."""
    operate.monitor(watch.sandbox, until)
    return {name: files.read_json(watch.sandbox.work / f"reports/monitor/{name}.json") for name in operate.QUESTIONS}


def drift(context: DrillContext, timeline: Timeline) -> None:
    """A sensor that repeats one value: `monitor` names the input, and is content again after the repair."""
    watch = open_watch(context)
    *ordinary, last = watch.weeks
    for week in ordinary:
        ask(context, watch, week)
    operate.hand_in_labels(watch.sandbox, watch.spec, ordinary)
    name = operate.choose_input(operate.drift_reference(watch.sandbox))
    before = judge(watch, last.start)["inputs"]
    timeline.expect(before["verdict"] == "pass", f"inputs of an ordinary week are {before['verdict']}", expected="pass")
    ask(context, watch, operate.repeat_one_value(last, name))
    timeline.inject(f"{name} repeats one value for {operate.BROKEN_DAYS} days")
    record = judge(watch, last.end)["inputs"]
    named = [check["name"] for check in record["checks"] if check["ok"] is False]
    timeline.expect(
        any(name in each for each in named), f"`monitor` names {', '.join(named) or 'no input'}", expected=name
    )
    timeline.detect(f"inputs fail: {record['notes']['sentence']}"[:120])
    operate.week_file(watch.sandbox.work / watch.params.monitor.log, last).unlink()
    ask(context, watch, last._replace(number=last.number + 1))
    after = judge(watch, last.end)["inputs"]
    timeline.expect(after["verdict"] == "pass", f"inputs of the repaired week are {after['verdict']}", expected="pass")
    turn_log(context, on=False)
    timeline.recover("the same week with a sound sensor passes")


def label_outage(context: DrillContext, timeline: Timeline) -> None:
    """Labels that do not come: performance is undecided, never passed, until they are handed in."""
    watch = open_watch(context)
    weeks = watch.weeks[:-1]
    for week in weeks:
        ask(context, watch, week)
    operate.hand_in_labels(watch.sandbox, watch.spec, weeks[:-1])
    timeline.inject("the labels of the newest week do not come")
    record = judge(watch, weeks[-1].end)["performance"]
    timeline.expect(
        record["verdict"] == "unsure", f"performance without labels is {record['verdict']}", expected="unsure"
    )
    timeline.detect(f"performance is undecided: {record['notes']['sentence']}"[:120])
    operate.hand_in_labels(watch.sandbox, watch.spec, weeks)
    record = judge(watch, weeks[-1].end)["performance"]
    timeline.expect(record["verdict"] != "unsure", f"with labels: {record['notes']['sentence']}", expected="a decision")
    turn_log(context, on=False)
    timeline.recover(f"the labels were handed in: performance is decided ({record['verdict']})")
