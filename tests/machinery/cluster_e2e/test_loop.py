"""On a real cluster: the loop's whole story, from a reproduced main to a good change in production and a bad one refused."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slipway.cluster import argocd, kubectl, kustomization
from slipway.core import config, git, ledger
from slipway.delivery import evidence
from slipway.errors import ConfigError
from slipway.packaging import image
from slipway.sandbox import deploy
from support import cluster_sandbox
from support.cluster_sandbox import ClusterLoop

pytestmark = pytest.mark.cluster
REQUESTS, SECONDS = 1500, cluster_sandbox.LOAD_SECONDS
LINKS = {"overlay", "ledger", "image", "bento", "run", "lock", "model", "data", "sources", "commit"}
"""Of verify's chain, what can be walked without GitHub."""


@pytest.fixture
def kept(cluster_loop: ClusterLoop) -> ClusterLoop:
    """The story, when it ended well."""
    assert cluster_loop.code == 0, "see test_story_ends_well"
    return cluster_loop


def test_story_ends_well(cluster_loop: ClusterLoop) -> None:
    """Else: what it and the cluster said."""
    assert cluster_loop.code == 0, cluster_loop.why()


def lines(cluster_loop: ClusterLoop, env: str) -> list[ledger.Line]:
    return ledger.read_at(env, "main", cluster_loop.sandbox.remote)


def pinned(cluster_loop: ClusterLoop, env: str, revision: str = "main", name: str = "serve") -> str:
    at = image.GATE_KUSTOMIZATION if name == "gate" else kustomization.path(env)
    text = git.file_at(revision, at.as_posix(), root=cluster_loop.sandbox.remote)
    assert text is not None
    return kustomization.read(text, name).image


def pods(cluster_loop: ClusterLoop, env: str) -> dict[str, str]:
    """The service's pods that stay, and what each runs."""
    found = json.loads(
        kubectl.run(
            "-n",
            f"{cluster_loop.sandbox.name}-{env}",
            "get",
            "pods",
            "-l",
            "app.kubernetes.io/name=serve",
            "-o",
            "json",
        )
    )["items"]
    return {
        one["metadata"]["name"]: one["spec"]["containers"][0]["image"]
        for one in found
        if "deletionTimestamp" not in one["metadata"]
    }


def test_two_releases_were_promoted_on_the_clusters_evidence(kept: ClusterLoop) -> None:
    staging, production = lines(kept, "staging"), lines(kept, "production")
    assert [line.action for line in staging] == ["release", "release"]
    assert [line.action for line in production] == ["promote", "promote"]
    assert [line.image for line in production] == [line.image for line in staging]
    assert len({line.image for line in staging}) == 2
    for line in production:
        found = line.evidence or {}
        assert (found["by"], found["load"], found["of"]) == ("cluster", "pass", str(line.image).partition("@")[2])
        assert found["requests"] >= REQUESTS
        assert pinned(kept, "staging", found["commit"]) == line.image


def test_load_test_took_its_time(kept: ClusterLoop) -> None:
    """Counted by the cluster, pulling and waiting included; the schedule is what sets it."""
    done = json.loads(kubectl.run("-n", f"{kept.sandbox.name}-staging", "get", "job", evidence.GATE_JOB, "-o", "json"))
    began, ended = (datetime.fromisoformat(done["status"][name]) for name in ("startTime", "completionTime"))
    assert (ended - began).total_seconds() >= SECONDS
    slo = YAML(typ="safe").load(git.file_at("main", "k8s/base/slo.yaml", root=kept.sandbox.remote))
    schedule = slo["schedules"]["cluster"]
    assert schedule["seconds"] >= SECONDS
    assert schedule["rate"] * schedule["seconds"] >= REQUESTS


@pytest.mark.parametrize("env", ledger.ENVIRONMENTS)
def test_overlay_ledger_and_pods_hold_one_image(kept: ClusterLoop, env: str) -> None:
    last = lines(kept, env)[-1].image
    assert pinned(kept, env) == last
    until = time.monotonic() + deploy.LEAVING_SECONDS
    while set((running := pods(kept, env)).values()) != {last} and time.monotonic() < until:
        time.sleep(1)
    assert running
    assert set(running.values()) == {last}


@pytest.mark.parametrize("env", ledger.ENVIRONMENTS)
def test_application_is_at_mains_tip(kept: ClusterLoop, env: str) -> None:
    app = argocd.get_app(f"{kept.sandbox.name}-{env}")
    assert (app.phase, app.sync, app.compared) == (
        "Succeeded",
        "Synced",
        git.commit_hash("main", root=kept.sandbox.remote),
    )
    assert pinned(kept, env, app.last_full_sync.revision) == pinned(kept, env)
    assert [(hook.name, hook.phase) for hook in app.hooks] == [(evidence.GATE_JOB, "Succeeded")] * (env == "staging")


def walked(cluster_loop: ClusterLoop, *words: str, code: int = 0) -> dict[str, str]:
    """Each link's word, as `verify` prints it."""
    done = cluster_loop.ask("verify", *words)
    assert done.returncode == code, done.stdout + done.stderr
    rows = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    return {row[2]: row[1] for row in rows if len(row) == 4 and row[1] in ("ok", "broken", "absent")}


def test_what_runs_is_walked_back_to_the_data(kept: ClusterLoop) -> None:
    pod, last = next(iter(pods(kept, "production"))), str(lines(kept, "staging")[-1].image)
    place = f"{kept.sandbox.name}-production"
    for start in (
        ("--env", "staging"),
        ("--env", "production"),
        ("--image", last),
        ("--pod", pod, "--namespace", place),
    ):
        chain = walked(kept, *start)
        assert {name for name, word in chain.items() if word == "ok"} >= LINKS, (start, chain)
        assert chain.get("pod") == ("ok" if "--pod" in start else None)


@pytest.fixture
def stranger(kept: ClusterLoop) -> Iterator[str]:
    """A pod like the service's, put there by hand, of an image that was never released."""
    name, place = "by-hand", f"{kept.sandbox.name}-staging"
    serve = json.loads(kubectl.run("-n", place, "get", "deployment", "serve", "-o", "json"))
    spec = serve["spec"]["template"]["spec"] | {"terminationGracePeriodSeconds": 1}
    (container,) = spec["containers"]
    for probe in ("readinessProbe", "livenessProbe", "startupProbe", "lifecycle"):
        container.pop(probe, None)
    idle = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"
    container |= {"image": pinned(kept, "staging", name="gate"), "command": ["python", "-c", idle]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kubectl.run("-n", place, "apply", "-f", "-", stdin=json.dumps(pod))
    kubectl.run("-n", place, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s", timeout=70)
    yield name
    kubectl.run("-n", place, "delete", "pod", name)


def test_pod_put_there_by_hand_is_not(kept: ClusterLoop, stranger: str) -> None:
    place = f"{kept.sandbox.name}-staging"
    chain = walked(kept, "--pod", stranger, "--namespace", place, code=4)
    assert [name for name, word in chain.items() if word == "broken"][:2] == ["overlay", "ledger"]


def test_bad_change_was_refused_and_moved_nothing(kept: ClusterLoop) -> None:
    params = config.load(kept.sandbox.root / "params.yaml")
    titles = git.run("log", "main", "--format=%B", root=kept.sandbox.remote)
    assert params.loop.good.title in titles
    assert params.loop.bad.title not in titles
    assert git.run("ls-remote", "origin", "refs/heads/change-2", root=kept.sandbox.work), "it was proposed"
    assert "Refused" in (kept.sandbox.home / "report-bad/report.md").read_text("utf-8")
    assert "blocked: production still serves the model of part 2" in kept.said
    assert f"{lines(kept, 'production')[-1].bento} to production" in kept.said


def test_loop_in_another_folder_is_refused_as_such(kept: ClusterLoop) -> None:
    with pytest.raises(ConfigError, match="a loop in another folder"):
        deploy.require_no_applications(kept.sandbox.name)


def test_closing_table_names_what_happened(kept: ClusterLoop) -> None:
    table = kept.said.partition("All steps of the demo, ")[2]
    rows = re.findall(r"(?m)^│ (\w+) +│ (.*?) *│ +([\d.]+) │ (\w*) *│$", table)
    words = [row[0] for row in rows]
    assert rows, kept.said[-8000:]
    for word, times in {"image": 3, "release": 2, "promote": 2, "sync": 4, "verify": 2, "merge": 1}.items():
        assert words.count(word) == times, f"{word}: {words}"
    assert [row[3] for row in rows if row[0] == "judge"] == ["pass", "pass", "fail"]
    assert [row[3] for row in rows if row[0] == "latency"][:2] == ["pass", "pass"]
    assert sum("load-gate Succeeded" in row[1] for row in rows) == 2
    assert "make loop ARGS=--stop" in table
    for path in re.findall(r"\.slipway/loop/report-\w+/report\.html", table):
        assert Path(kept.sandbox.root / path).is_file()
