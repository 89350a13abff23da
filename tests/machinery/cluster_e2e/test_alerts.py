"""On a cluster, with real Prometheus and Alertmanager: a release that turns slow pages, and its rollback ends the page.

The road by which a slow release reaches production: for its first minute it is as fast as the one before. Staging's load test
passes, `promote` quotes that pass, and a canary would have ended by then too. Only the alert can see it.
Both programs run on this machine, and reach the pods through `kubectl proxy`. They find them as in a cluster: by the annotations
of the component `prometheus-annotations`, with the scrape job of docs/how-to/alerts-and-dashboards.md.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import orjson
import pytest

from slipway.core import files, git, process
from slipway.core.strict_model import parse_yaml
from slipway.loadtest import slo
from slipway.observability import alertmanager, observe
from slipway.packaging import image_builder
from slipway.sandbox.drills import bad_artifacts, bad_releases, webhook_receiver
from slipway.sandbox.drills.canary_abort import CANARY, OVERLAY
from slipway.sandbox.drills.context import DrillContext
from slipway.serving import http_client, local_server
from support import engines, http_server
from support.paths import ROOT
from support.quick_alerts import quick_rules

pytestmark = pytest.mark.cluster
FAST_SECONDS = 60
"""A process answers in time for so long: more than staging's load test needs."""
COMPONENT = "components: [../../components/prometheus-annotations]"
HOW_TO = ROOT / "docs/how-to/alerts-and-dashboards.md"
CLOCK = "\n\nSTARTED = time.monotonic()\n"
RECIPE = f"""
USER 0
COPY asgi.py /app/bento/{bad_artifacts.SERVICE}
RUN ["python", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", "/app/bento/{bad_artifacts.SERVICE}"]
USER 10001:10001
"""


def late_source(source: str, delay_ms: float) -> str:
    """The service's source, which answers `delay_ms` later once it has run for FAST_SECONDS."""
    head = re.search(r"(?m)^    async def _predict\(.*\) -> bytes:\n", source)
    assert head
    delay = f"        await asyncio.sleep({delay_ms / 1000:g} * (time.monotonic() - STARTED > {FAST_SECONDS}))\n"
    return source[: head.end()] + delay + source[head.end() :] + CLOCK


def build_late_image(context: DrillContext, folder: Path) -> str:
    """Build and push the image in production with that source."""
    line = context.last_line("production")
    source = (bad_releases.bento_folder(context, line) / bad_artifacts.SERVICE).read_text(encoding="utf-8")
    delay_ms = bad_artifacts.delay_ms((context.work / slo.PATH).read_text(encoding="utf-8"))
    (folder / "context").mkdir()
    files.write_text(folder / "context/asgi.py", late_source(source, delay_ms))
    files.write_text(folder / image_builder.DOCKERFILE, bad_artifacts.dockerfile(str(line.image), RECIPE))
    tag = f"{str(line.image).partition('@')[0]}:late"
    return image_builder.build_image("spoiled", folder / "context", tag, {}, root=folder)


@contextmanager
def component_on(context: DrillContext) -> Iterator[None]:
    """Production has the component `prometheus-annotations` while the block runs."""
    before = (context.work / OVERLAY).read_text(encoding="utf-8")
    assert before.count(f"# {CANARY}") == 1
    context.commit({OVERLAY: before.replace(f"# {CANARY}", COMPONENT)}, "Let Prometheus find production")
    context.wait_for_arrival("production")
    try:
        yield
    finally:
        context.pull()
        now = (context.work / OVERLAY).read_text(encoding="utf-8")
        context.commit({OVERLAY: now.replace(COMPONENT, f"# {CANARY}")}, "Hide production from Prometheus")


@contextmanager
def answering(get: Callable[[str], bytes | None], content_type: str) -> Iterator[str]:
    """A server of what `get` returns for a path; None is 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with http_server.serve(Handler) as url:
        yield url


def page_of(remote: Path, path: str) -> bytes | None:
    """The file of a repository's main branch at `/blob/main/FILE`, where a Git host shows it."""
    text = git.file_at("main", path.removeprefix("/blob/main/"), root=remote)
    return text.encode() if text is not None and path.startswith("/blob/main/") else None


class Callers:
    """Twenty requests a second to production's Service, each on a connection of its own."""

    def __init__(self, url: str, path: str, body: bytes) -> None:
        self.url, self.path, self.body, self.ends, self.slowest = url, path, body, threading.Event(), 0.0

    def ask(self) -> None:
        """Send requests until the end; note the time of the slowest answer since the last look."""
        while not self.ends.wait(0.05):
            started = time.monotonic()
            if http_client.fetch(self.url, self.path, body=self.body, timeout_seconds=10).ok:
                self.slowest = max(self.slowest, time.monotonic() - started)


@contextmanager
def api_server() -> Iterator[str]:
    """The API server on a free port of this machine, without credentials; host and port."""
    port = local_server.find_free_port()
    with subprocess.Popen(["kubectl", "proxy", f"--port={port}"], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout
            assert proxy.stdout.readline().startswith("Starting to serve")
            yield f"{local_server.HOST}:{port}"
        finally:
            proxy.terminate()


def targets(api: str, namespace: str) -> list[dict[str, Any]]:
    """The pods behind each Service of a namespace, with the labels that Prometheus' own discovery gives them."""

    def objects(path: str) -> list[Any]:
        return list(orjson.loads(http_client.fetch(f"http://{api}", path).body)["items"])

    rows, services = [], {}
    for each in objects(f"/api/v1/namespaces/{namespace}/services"):
        notes = each["metadata"].get("annotations", {})
        services[each["metadata"]["name"]] = {
            f"__meta_kubernetes_service_annotation_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value
            for name, value in notes.items()
        }
    for part in objects(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"):
        labels = services[part["metadata"]["labels"]["kubernetes.io/service-name"]]
        for pod in part["endpoints"] or ():
            own = {"__meta_kubernetes_namespace": namespace, "__meta_kubernetes_pod_name": pod["targetRef"]["name"]}
            rows.append({"targets": [f"{pod['addresses'][0]}:{part['ports'][0]['port']}"], "labels": labels | own})
    return rows


def scrape_job(api: str, discovery: str) -> dict[str, Any]:
    """The how-to's scrape job for a Prometheus that reaches the pods through the API server.

    Debian's Prometheus has no discovery in Kubernetes: it gets the same labels over HTTP.
    """
    blocks = re.findall(r"(?ms)^```yaml\n(.+?)^```$", HOW_TO.read_text(encoding="utf-8"))
    job: dict[str, Any] = next(parse_yaml(each) for each in blocks if "kubernetes_sd_configs" in each)[0]
    assert job.pop("kubernetes_sd_configs") == [{"role": "endpointslice"}]
    through = [
        {"source_labels": ["namespace", "pod", "__address__", "__metrics_path__"], "regex": r"(.+);(.+);.+:(\d+);(.+)",
         "replacement": "/api/v1/namespaces/$1/pods/$2:$3/proxy$4", "target_label": "__metrics_path__"},
        {"target_label": "__address__", "replacement": api},
    ]  # fmt: skip
    places = [{"url": discovery, "refresh_interval": "2s"}]
    return job | {"http_sd_configs": places, "relabel_configs": job["relabel_configs"] + through}


def next_alert(receiver: webhook_receiver.Receiver, name: str, status: str, seconds: float) -> dict[str, Any]:
    """The next alert of that name and status that reaches the receiver `page`."""
    deadline = time.monotonic() + seconds
    while True:
        message = receiver.wait("/page", seconds=deadline - time.monotonic())
        for alert in message.body["alerts"]:
            if (alert["labels"]["alertname"], alert["status"]) == (name, status):
                return dict(alert)


def test_slow_release_pages_until_rollback(drill_context: DrillContext, tmp_path: Path) -> None:
    for name in observe.NAMES:
        engines.require(name)
    context, namespace = drill_context, drill_context.app("production")
    golden = files.read_json(
        bad_releases.bento_folder(context, context.last_line("production")) / "src/models/golden.json"
    )
    setting = observe.Setting(0, local_server.find_free_port(), local_server.find_free_port(), "1s")
    with (
        component_on(context),
        api_server() as api,
        answering(partial(page_of, context.sandbox.remote), "text/plain") as pages,
        answering(lambda _: orjson.dumps(targets(api, namespace)), "application/json") as discovery,
        webhook_receiver.listen() as receiver,
        observe.running(
            setting, rules=quick_rules("10s", runbooks=f"{pages}/blob/main/docs/alerts"), job=scrape_job(api, discovery),
            routes=alertmanager.build(receiver.url, group_interval="1s"), folder=tmp_path / "observe", root=ROOT,
        ),
    ):  # fmt: skip
        callers = Callers(
            f"http://{api}",
            f"/api/v1/namespaces/{namespace}/services/serve:http/proxy/predict",
            orjson.dumps(golden[0]["row"]),
        )
        threading.Thread(target=callers.ask, daemon=True).start()
        try:
            context.force_image("staging", build_late_image(context, tmp_path), "A release that turns slow")
            context.wait_for_arrival("staging")
            assert context.cluster_evidence().verdict == "pass"
            context.run_verb("promote", "--source", "cluster", "--push")
            context.wait_for_arrival("production")

            alert = next_alert(receiver, "SlipwaySlowPage", "firing", 180)
            assert (alert["labels"]["namespace"], alert["labels"]["severity"]) == (namespace, "page")
            with urllib.request.urlopen(alert["annotations"]["runbook_url"], timeout=10) as response:
                page = response.read().decode()
            assert "# SlipwaySlowPage" in page.splitlines()

            [command] = re.findall(r"(?m)^slipway (rollback .+)$", page)
            context.run_verb(*shlex.split(command))
            ended = next_alert(receiver, "SlipwaySlowPage", "resolved", 120)
            assert ended["startsAt"] == alert["startsAt"]
            callers.slowest = 0.0
            assert not process.poll_until(lambda: callers.slowest > 0.05, seconds=3, every=0.1), callers.slowest
        finally:
            callers.ends.set()
    context.run_verb("rollback", "--env", "staging", "--reason", "it turns slow", "--push")
    context.settle()
