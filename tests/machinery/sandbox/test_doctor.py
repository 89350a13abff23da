"""What is missing is named with its command; only what `make loop` needs makes it red."""

from __future__ import annotations

import io
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from slipway.core import environment
from slipway.core.console import LiteralConsole
from slipway.errors import ConfigError
from slipway.sandbox import doctor
from support.committed_project import begin, save

LINUX = {"system": "Linux", "machine": "x86_64"}


def program(folder: Path, name: str, script: str) -> dict[str, str]:
    """An environment whose PATH holds one program."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


def state(name: str, env: dict[str, str], root: Path) -> str | None:
    return doctor.inspect_machine(root, env)[name]


def test_everything_missing_still_has_a_command() -> None:
    for finding in doctor.examine({}, **LINUX):
        assert finding.state is None
        assert finding.purpose
        assert finding.get


def test_findings_keep_what_was_seen() -> None:
    findings = {one.name: one for one in doctor.examine({"git": "2.39.5"}, **LINUX)}
    assert findings["git"].state == "2.39.5"
    assert findings["uv"].state is None


@pytest.mark.parametrize(
    ("system", "machine", "binary"),
    [
        ("Linux", "x86_64", "linux-amd64"),
        ("Linux", "aarch64", "linux-arm64"),
        ("Darwin", "arm64", "darwin-arm64"),
    ],
)
def test_commands_fit_the_machine(system: str, machine: str, binary: str) -> None:
    findings = {one.name: one for one in doctor.examine({}, system=system, machine=machine)}
    assert findings["argocd"].get.endswith(binary)
    assert ("brew" in findings["git"].get) == (system == "Darwin")


def test_every_question_has_its_row(tmp_path: Path) -> None:
    asked = doctor.inspect_machine(tmp_path, {"PATH": ""})
    assert set(asked) == {one.name for one in doctor.examine({}, **LINUX)}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs may take as long as a busy machine needs."""
    monkeypatch.setattr(doctor, "TIMEOUT_SECONDS", 10.0)


@pytest.mark.usefixtures("patient")
def test_loop_needs_nothing_beyond_setup() -> None:
    needed = {one.name for one in doctor.examine({}, **LINUX) if one.needed}
    assert needed == {"python", "git", "uv", "dvc", "disk", "loopback ports", "checkout"}
    seen = doctor.inspect_machine(Path(), environment.for_programs(Path().resolve()))
    assert not [name for name in needed if not seen[name]]


@pytest.mark.usefixtures("patient")
def test_doctor_shows_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run() == 0
    said = capsys.readouterr()
    assert "used for" in said.out
    assert "This machine has everything that `make loop` needs." in said.err


def test_program_says_its_version(tmp_path: Path) -> None:
    assert state("dvc", program(tmp_path / "bin", "dvc", "echo DVC version: 3.67.1"), tmp_path) == "3.67.1"


def test_failing_program_counts_as_missing(tmp_path: Path) -> None:
    assert state("dvc", program(tmp_path / "bin", "dvc", "echo 3.67.1; exit 1"), tmp_path) is None


def test_docker_without_a_server_builds_nothing(tmp_path: Path) -> None:
    env = program(tmp_path / "bin", "docker", "echo client; exit 1")
    assert state("image builder", env, tmp_path) is None
    program(tmp_path / "bin", "buildah", "echo buildah version 1.28.2")
    assert state("image builder", env, tmp_path) == "buildah 1.28.2"


def test_hanging_program_does_not_hang_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TIMEOUT_SECONDS", 0.2)
    started = time.monotonic()
    assert state("argocd", program(tmp_path / "bin", "argocd", "exec /bin/sleep 30"), tmp_path) is None
    assert time.monotonic() - started < 3


def test_reachable_cluster_is_named(tmp_path: Path) -> None:
    env = program(tmp_path / "bin", "kubectl", 'if [ "$1" = config ]; then echo kind-here; else echo ok; fi')
    assert state("cluster", env, tmp_path) == "kind-here"


def test_unreachable_cluster_is_missing(tmp_path: Path) -> None:
    assert state("cluster", program(tmp_path / "bin", "kubectl", "exit 1"), tmp_path) is None


@pytest.mark.parametrize(("status", "there"), [(200, True), (401, True), (404, False)])
def test_registry_answers_or_wants_a_login(status: int, there: bool, tmp_path: Path) -> None:
    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name http.server calls
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        seen = state("registry", {"PATH": "", "REGISTRY": address}, tmp_path)
        server.shutdown()
    assert seen == (address if there else None)


def test_taken_port_is_seen() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        assert doctor._free(port) is None
        assert doctor._user(port).startswith("in use by python")


def test_port_in_use_is_called_so_with_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "slipway serve"})
        states = doctor.inspect_machine(tmp_path, {"PATH": ""})
    text = printed(doctor.examine(states, **LINUX))
    assert re.search(rf"port {port} +in use by python\S* \(process \d+\)", text)
    assert f"lsof -i :{port}" in text
    assert "not here" not in text


def printed(findings: list[doctor.Finding]) -> str:
    out = LiteralConsole(file=io.StringIO(), width=100)
    doctor.print_findings(findings, out)
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_name_with_markup_is_shown_as_it_is() -> None:
    assert "[bold]A[/bold] :tea:" in printed(doctor.examine({"git identity": "[bold]A[/bold] :tea:"}, **LINUX))


def test_missing_command_stays_on_one_line() -> None:
    out = LiteralConsole(file=io.StringIO(), width=60)
    findings = doctor.examine({"git": "2.39.5"}, **LINUX)
    doctor.print_findings(findings, out)
    said = out.file.getvalue()  # type: ignore[attr-defined]
    assert "2.39.5" in said
    assert all(one.get in said for one in findings if not one.state)


def test_missing_need_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`make loop` needs git, uv, dvc") as caught:
        doctor.run(tmp_path, {"PATH": str(tmp_path)})
    assert caught.value.hint.endswith("install -y git") or caught.value.hint == "brew install git"


def test_objects_of_a_cluster_are_asked_by_name(tmp_path: Path) -> None:
    env = program(
        tmp_path / "bin",
        "kubectl",
        'echo "$@" >>"${0%/*}/asked"; case "$*" in *rollouts*) exit 1;; esac; echo one; echo two',
    )
    (tmp_path / "argocd/namespaces").mkdir(parents=True)
    (tmp_path / "argocd/namespaces/a.yaml").write_text("kind: Namespace\nmetadata:\n  name: bikes-staging\n")
    (tmp_path / "k8s/policy").mkdir(parents=True)
    for name in ("every", "slipway-user"):
        (tmp_path / f"k8s/policy/{name}.yaml").write_text(f"metadata:\n  name: {name}\n")
    seen = doctor.inspect_machine(tmp_path, env)
    assert seen["namespaces"] == seen["Argo CD"] == seen["policies"] == "2 installed"
    assert seen["Argo Rollouts"] is None
    asked = (tmp_path / "bin/asked").read_text()
    assert "get namespace bikes-staging -o name" in asked
    assert f"get {doctor.POLICIES} slipway-user -o name" in asked


def test_project_without_manifests_has_no_namespaces(tmp_path: Path) -> None:
    assert state("namespaces", program(tmp_path / "bin", "kubectl", "echo one"), tmp_path) is None


def test_checkout_that_is_not_plain_is_named(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/file").touch()
    save(tmp_path)
    assert doctor.inspect_machine(tmp_path, {"PATH": ""})["checkout"] == "plain"
    findings = {
        one.name: one for one in doctor.examine(doctor.inspect_machine(tmp_path / "inner", {"PATH": ""}), **LINUX)
    }
    assert (findings["checkout"].ready, findings["checkout"].needed) == (False, True)
