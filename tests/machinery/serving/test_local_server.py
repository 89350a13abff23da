"""Servers as processes: they come up, they say why not, and they leave nothing behind."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from slipway.errors import ConfigError, SlipwayError
from slipway.serving import local_server
from support.paths import ROOT


def start(bento: Path, tmp_path: Path, port: int) -> local_server.Server:
    return local_server.start(bento, port=port, home=tmp_path / "home", root=tmp_path, log=tmp_path / "log")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((local_server.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is in use"):
            start(tmp_path, tmp_path, port)
    assert not (tmp_path / "log").exists()


def test_a_port_that_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the port is 65536; allowed: 0 to 65535"):
        start(tmp_path, tmp_path, 65536)


def test_a_folder_that_is_no_bento_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bento is not a bento: it has no folder src"):
        start(tmp_path / "bento", tmp_path, local_server.find_free_port())


def test_a_server_that_dies_shows_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "bento/src").mkdir(parents=True)
    running = start(tmp_path / "bento", tmp_path, local_server.find_free_port())
    with pytest.raises(
        SlipwayError,
        match=r"stopped with exit code \d before it was ready; the last lines of its log:\n(.*\n)*.*contract\.json",
    ):
        local_server.wait_ready(running)
    assert not local_server._members(running.home)


def test_a_server_that_never_answers_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "bento/src").mkdir(parents=True)
    running = start(tmp_path / "bento", tmp_path, local_server.find_free_port())
    with pytest.raises(SlipwayError, match="was not ready after 0 s"):
        local_server.wait_ready(running, seconds=0)
    assert running.process.returncode is not None


def test_the_image_starts_the_service_alike() -> None:
    said = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "")
    entry = re.search(r'(?m)^ENTRYPOINT (\["python", "-m", "uvicorn".*\])$', said)
    assert entry
    ours = local_server.command(Path("/app/bento"), host="0.0.0.0", port=3000)  # noqa: S104
    assert json.loads(entry[1])[1:] == ours[1:]


def test_stopping_is_done_whole_and_may_be_repeated(own: local_server.Server) -> None:
    members = local_server._members(own.home)
    assert members == [psutil.Process(own.process.pid)]
    local_server.stop(own)
    assert own.process.returncode is not None
    assert not local_server._members(own.home)
    local_server.stop(own)


def test_stopping_ends_workers_whose_supervisor_was_killed(bento: Path, tmp_path: Path) -> None:
    home, port = tmp_path / "home", local_server.find_free_port()
    home.mkdir()
    env = local_server.server_environment(home, tmp_path) | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [*local_server.command(bento, port=port), "--workers", "2"]
    supervisor = subprocess.Popen(command, cwd=bento / "src", env=env)
    running = local_server.Server(supervisor, port, home, tmp_path / "log")
    local_server.wait_ready(running)
    members = local_server._members(home)
    assert len(members) >= 3
    supervisor.kill()
    supervisor.wait()
    local_server.stop(running)
    assert not [member for member in members if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def own(bento: Path, tmp_path: Path) -> Iterator[local_server.Server]:
    """A ready server of this test's own."""
    with start(bento, tmp_path, local_server.find_free_port()) as running:
        local_server.wait_ready(running)
        yield running
