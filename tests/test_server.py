"""Servers as processes: they come up, they say why not, and they leave nothing behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from slipway import server
from slipway.errors import ConfigError, SlipwayError


def start(bento: Path, tmp_path: Path, port: int) -> server.Server:
    return server.start(bento, port=port, home=tmp_path / "home", root=tmp_path, log=tmp_path / "log")


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((server.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 cannot be used: Address already in use"):
            start(tmp_path, tmp_path, port)
    assert not (tmp_path / "log").exists()


def test_a_port_that_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"port 65536 of 127\.0\.0\.1 cannot be used: limit: 0 to 65535"):
        start(tmp_path, tmp_path, 65536)


def test_a_server_that_dies_shows_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "bento").mkdir()
    running = start(tmp_path / "bento", tmp_path, server.free_port())
    with pytest.raises(SlipwayError, match=r"ended with exit code 1; its log ends:\n(.*\n)*.*bento"):
        server.wait_ready(running)
    assert not server._members(running.home)


def test_a_server_that_never_answers_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "bento").mkdir()
    running = start(tmp_path / "bento", tmp_path, server.free_port())
    with pytest.raises(SlipwayError, match="was not ready after 0 s"):
        server.wait_ready(running, seconds=0)
    assert running.process.returncode is not None


def test_stopping_ends_workers_whose_supervisor_was_killed(own: server.Server) -> None:
    members = server._members(own.home)
    assert len(members) >= 2
    own.process.kill()
    own.process.wait()
    server.stop(own)
    assert not [member for member in members if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]
    server.stop(own)


@pytest.fixture
def own(bento: Path, tmp_path: Path) -> Iterator[server.Server]:
    """A ready server of this test's own."""
    with start(bento, tmp_path, server.free_port()) as running:
        server.wait_ready(running)
        yield running
