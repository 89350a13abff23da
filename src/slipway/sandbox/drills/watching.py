"""Drills of what is watched after a release: a broken input, labels that do not come, a full disk below the log."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slipway import problem
from slipway.cluster import kubectl, pods
from slipway.core import config, files, git
from slipway.errors import ConfigError
from slipway.pipeline import features
from slipway.sandbox import deploy, operate
from slipway.sandbox.drills.canary_abort import OVERLAY
from slipway.sandbox.drills.context import DrillContext, OtherClone, Timeline
from slipway.sandbox.operate import Week

WIDE, SMALL = "{sizeLimit: 256Mi}", "{medium: Memory, sizeLimit: 1Mi}"
"""A volume with room for the log, and one that is full after 1 MiB, as a file system in memory is."""
PATCH = """
patches:
  - patch: |-
      apiVersion: apps/v1
      kind: Deployment
      metadata:
        name: serve
      spec:
        template:
          spec:
            containers:
              - name: serve
                env:
                  - {name: SLIPWAY_LOG, value: /log}
                volumeMounts:
                  - {name: log, mountPath: /log}
            volumes:
              - name: log
                emptyDir: VOLUME
"""
"""A patch of production: a prediction log on a VOLUME. The component has an uploader, too, and a drill has no store for it."""
REQUESTS = 4000
"""More than a SMALL volume has room for: a line has about 700 bytes."""
ASK = """
import json, re, sys, time, urllib.request as requests
host = "http://127.0.0.1:3000"
row = json.dumps(json.load(open("/app/bento/src/models/contract.json"))["example"]).encode()
answered = 0
for _ in range(int(sys.argv[1])):
    with requests.urlopen(requests.Request(host + "/predict", row, {"content-type": "application/json"})) as answer:
        answered += answer.status == 200 and "prediction" in json.load(answer)
time.sleep(1)
text = requests.urlopen(host + "/metrics").read().decode()
value = lambda name: int(sum(map(float, re.findall(rf"(?m)^slipway_prediction_log_{name}_total(?:{{.*?}})? (.+)$", text))))
print(json.dumps({"answered": answered, "lines": value("lines"), "lost": value("lost")}))
"""
"""A program for the service's container: it asks the service, and prints what was answered, written and lost."""
PRINT_LOG = (
    "import os, pathlib, sys\n"
    "for path in sorted(pathlib.Path(os.environ['SLIPWAY_LOG'], 'predictions').glob('*.jsonl')):\n"
    "    sys.stdout.buffer.write(path.read_bytes())\n"
)
"""A program for the service's container, which prints the pod's log."""
LOGGED_SECONDS = 60.0
"""Longest until the last answers are in the logs of the pods."""


def with_log(overlay: str, volume: str) -> str:
    """Production's overlay with PATCH, above the lines that machines write; ConfigError where it has patches already."""
    if "\npatches:" in overlay or "\nimages:" not in overlay:
        raise ConfigError(
            f"drill: {OVERLAY} has patches, or no images", hint="run the drills in the template, not in a project"
        )
    return overlay.replace("\nimages:", f"{PATCH.replace('VOLUME', volume)}images:", 1)


def without_log(overlay: str, volume: str) -> str:
    """The overlay as it was before `with_log`."""
    return overlay.replace(PATCH.replace("VOLUME", volume), "\n")


@contextlib.contextmanager
def logging(context: DrillContext, volume: str) -> Iterator[None]:
    """Give production a prediction log on a volume while the block runs, by commits that the cluster syncs."""
    before = (context.work / OVERLAY).read_text(encoding="utf-8")
    context.commit({OVERLAY: with_log(before, volume)}, "Drill: a prediction log for production")
    context.sandbox.record_step("log", f"on a volume {volume}", context.settle())
    try:
        yield
    finally:
        after = without_log((context.work / OVERLAY).read_text(encoding="utf-8"), volume)
        context.commit({OVERLAY: after}, "Drill: production without the prediction log")
        context.settle()


@dataclass(frozen=True)
class Watch:
    """A clone of its own in which `monitor` runs, with shorter waits; the weeks of requests, and the problem."""

    sandbox: OtherClone
    params: config.Params
    spec: problem.Problem
    weeks: Sequence[Week]


def open_watch(context: DrillContext) -> Watch:
    """Clone main next to the drill's clone, with an empty log."""
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
    lines = operate.read_lines(lambda: pod_logs(context), week, seconds=LOGGED_SECONDS)
    operate.keep_week(context.sandbox, *lines, week, watch.sandbox.work / watch.params.monitor.log, started)


def pod_logs(context: DrillContext) -> list[bytes]:
    """The log of each ready pod of production."""
    app = context.app("production")
    return [kubectl.run("-n", app, "exec", pod.name, "-c", "serve", "--", "python", "-c", PRINT_LOG).encode()
            for pod in pods.list_pods(app) if pod.ready]  # fmt: skip


def drift(context: DrillContext, timeline: Timeline) -> None:
    """A sensor that repeats one value: `monitor` names the input, and is content again after the repair."""
    with logging(context, WIDE):
        watch = open_watch(context)
        *ordinary, last = watch.weeks
        for week in ordinary:
            ask(context, watch, week)
        operate.hand_in_labels(watch.sandbox, watch.spec, ordinary)
        name = operate.choose_input(operate.drift_reference(watch.sandbox))
        before = operate.monitor(watch.sandbox, last.start)["inputs"]
        timeline.expect(
            before["verdict"] == "pass", f"inputs of an ordinary week are {before['verdict']}", expected="pass"
        )
        ask(context, watch, operate.repeat_one_value(last, name))
        timeline.inject(f"{name} repeats one value for {operate.BROKEN_DAYS} days")
        record = operate.monitor(watch.sandbox, last.end)["inputs"]
        named = [check["name"] for check in record["checks"] if check["ok"] is False]
        timeline.expect(
            operate.is_named(name, record), f"`monitor` names {', '.join(named) or 'no input'}", expected=name
        )
        timeline.detect(f"inputs fail: {record['notes']['sentence']}"[:120])
        operate.week_file(watch.sandbox.work / watch.params.monitor.log, last).unlink()
        ask(context, watch, last._replace(number=last.number + 1))
        after = operate.monitor(watch.sandbox, last.end)["inputs"]
        timeline.expect(
            after["verdict"] == "pass", f"inputs of the repaired week are {after['verdict']}", expected="pass"
        )
    timeline.recover("the same week with a sound sensor passes")


def label_outage(context: DrillContext, timeline: Timeline) -> None:
    """Labels that do not come: performance is undecided, never passed, until they are handed in."""
    with logging(context, WIDE):
        watch = open_watch(context)
        weeks = watch.weeks[:-1]
        for week in weeks:
            ask(context, watch, week)
        operate.hand_in_labels(watch.sandbox, watch.spec, weeks[:-1])
        timeline.inject("the labels of the newest week do not come")
        record = operate.monitor(watch.sandbox, weeks[-1].end)["performance"]
        timeline.expect(
            record["verdict"] == "unsure", f"performance without labels is {record['verdict']}", expected="unsure"
        )
        timeline.detect(f"performance is undecided: {record['notes']['sentence']}"[:120])
        operate.hand_in_labels(watch.sandbox, watch.spec, weeks)
        record = operate.monitor(watch.sandbox, weeks[-1].end)["performance"]
        timeline.expect(
            record["verdict"] != "unsure", f"with labels: {record['notes']['sentence']}", expected="a decision"
        )
    timeline.recover(f"the labels were handed in: performance is decided ({record['verdict']})")


def ask_in_pod(context: DrillContext, requests: int) -> dict[str, int]:
    """Ask a pod of production from inside, and return the numbers of answers, of lines written, and of lines lost."""
    output = kubectl.run("-n", context.app("production"), "exec", "deploy/serve", "-c", "serve", "--", "python", "-c", ASK,
                         str(requests), timeout=180)  # fmt: skip
    counts: dict[str, int] = json.loads(output.splitlines()[-1])
    return counts


def disk_full_log(context: DrillContext, timeline: Timeline) -> None:
    """A full disk below production's prediction log: every request is answered, and the lost lines are counted."""
    with logging(context, SMALL):
        timeline.inject(f"{REQUESTS} requests to a pod whose log has room for 1 MiB")
        counts = ask_in_pod(context, REQUESTS)
        answered, lost, counted = counts["answered"], counts["lost"], counts["lines"] + counts["lost"]
        timeline.expect(answered == REQUESTS, f"{answered} requests were answered", expected=f"{REQUESTS}")
        timeline.expect(lost > 0, "the metric shows no lost line", expected="slipway_prediction_log_lost_total > 0")
        timeline.expect(counted >= REQUESTS, f"{counted} lines were written or lost", expected=f"at least {REQUESTS}")
        timeline.detect(f"slipway_prediction_log_lost_total is {lost}; all {REQUESTS} requests were answered")
    timeline.recover("the volume is gone; production answered all the time")
