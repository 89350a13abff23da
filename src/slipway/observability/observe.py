"""`observe`: Prometheus and Alertmanager on this machine, next to a running service, with the generated rules."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.core import environment, files, process
from slipway.core.console import stdout
from slipway.errors import ConfigError, SlipwayError
from slipway.observability import alertmanager, generate
from slipway.serving import http_client, local_server

UNPACKED = ".slipway/engines/debian/usr/bin"
"""The folder of the programs that `.ci/engines` unpacks; PATH comes first."""
NAMES = {"prometheus": ("prometheus",), "alertmanager": ("alertmanager", "prometheus-alertmanager")}
"""Names of each program; the second is Debian's."""
READY_SECONDS = 20.0


@dataclass(frozen=True)
class Setting:
    """Ports on 127.0.0.1, and how often Prometheus asks and judges."""

    service: int = 3000
    prometheus: int = 9090
    alertmanager: int = 9093
    interval: str = "5s"


def find_program(name: str, root: Path = Path()) -> str:
    """The path of `prometheus` or `alertmanager`; ConfigError with the ways to install it."""
    places = os.pathsep.join([environment.for_programs(root).get("PATH", ""), str((root / UNPACKED).resolve())])
    for each in NAMES[name]:
        if path := shutil.which(each, path=places):
            return path
    hint = f"install it so that it is on PATH, or run `.ci/engines {name}` on Debian or Ubuntu"
    raise ConfigError(f"{name} is not installed", hint=hint)


def local_job(setting: Setting) -> dict[str, Any]:
    """The scrape job of the service on this machine."""
    targets = [f"{local_server.HOST}:{setting.service}"]
    return {"job_name": "serve", "static_configs": [{"targets": targets, "labels": {"namespace": "this-machine"}}]}


def prometheus_config(setting: Setting, job: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of Prometheus as a value; its rules are in rules.yaml in the same folder."""
    host = local_server.HOST
    return {
        "global": {"scrape_interval": setting.interval, "evaluation_interval": setting.interval},
        "rule_files": ["rules.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{host}:{setting.alertmanager}"]}]}]},
        "scrape_configs": [dict(job)],
    }


@contextmanager
def running(
    setting: Setting, *, rules: str, routes: dict[str, Any], folder: Path, job: Mapping[str, Any] | None = None,
    root: Path = Path(),
) -> Iterator[None]:  # fmt: skip
    """Run both programs with the text `rules` and Alertmanager's configuration `routes`; their data are below `folder`.

    Prometheus scrapes the service of `setting`, or what `job` (an entry of its `scrape_configs`) says.

    ConfigError if a program is absent, a port is in use, or a program ends before it is ready.
    """
    programs = {name: find_program(name, root) for name in NAMES}
    ports = {"alertmanager": setting.alertmanager, "prometheus": setting.prometheus}
    for port in ports.values():
        local_server.require_free_port(port)
    home = files.make_folder(folder).resolve()
    files.write_text(home / "rules.yaml", rules)
    files.write_text(home / "alertmanager.yaml", generate.dump(routes))
    files.write_text(home / "prometheus.yaml", generate.dump(prometheus_config(setting, job or local_job(setting))))
    options = {
        "alertmanager": ["--storage.path", str(home / "alertmanager"), "--cluster.listen-address="],
        "prometheus": ["--storage.tsdb.path", str(home / "prometheus"), "--storage.tsdb.retention.time=7d"],
    }
    with ExitStack() as stack:
        for name, port in ports.items():
            command = [
                programs[name], "--config.file", str(home / f"{name}.yaml"),
                "--web.listen-address", f"{local_server.HOST}:{port}", *options[name],
            ]  # fmt: skip
            stack.enter_context(_started(command, name, port, home / f"{name}.log"))
        yield


@contextmanager
def _started(command: Sequence[str], name: str, port: int, log: Path) -> Iterator[None]:
    """Run a program until the block ends; it is ready when the block begins."""
    with files.writing(log), log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://{local_server.HOST}:{port}"
        ready = process.poll_until(
            lambda: child.poll() is not None or _answers(url), seconds=READY_SECONDS, every=0.1
        )  # fmt: skip
        if not ready or child.poll() is not None:
            end = " ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:])
            raise ConfigError(f"{name} did not start: {end}", hint=f"the whole log is in {log}")
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=10)
        child.kill()
        child.wait()


def _answers(url: str) -> bool:
    """Return whether the program at `url` says that it is ready; a connection that fails is a no."""
    try:
        return http_client.fetch(url, "/-/ready", timeout_seconds=2).ok
    except SlipwayError:
        return False


def run(setting: Setting, *, root: Path = Path()) -> None:
    """Run both programs with the generated rules until Ctrl-C or SIGTERM, and print their addresses."""
    host = local_server.HOST
    texts = generate.contents(root)
    if not texts:
        raise ConfigError("slo.yaml has no section objectives", hint="slipway slo")
    if not http_client.is_ready(f"http://{host}:{setting.service}", timeout_seconds=2):
        hint = "start one with `make loop ARGS=--keep` or `slipway serve`, and name its port with --port"
        raise ConfigError(f"no service answers on port {setting.service}", hint=hint)
    folder = environment.cache_home(root) / "observe"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # both programs end too, through every `finally`
    with running(setting, rules=texts[generate.RULES], routes=alertmanager.build(), folder=folder, root=root):
        stdout.write_line(f"Prometheus    http://{host}:{setting.prometheus}/alerts")
        stdout.write_line(f"Alertmanager  http://{host}:{setting.alertmanager}")
        while True:
            time.sleep(3600)
