"""BentoML servers as processes of this machine: started in a group of their own, and never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from slipway import config
from slipway.errors import ConfigError

READY_SECONDS = 60.0


def ports(wanted: int | None, count: int = 2) -> list[int]:
    """`count` free ports of 127.0.0.1 from `wanted` (ConfigError when one is taken), else from 3000 upwards."""
    if wanted is not None:
        chosen = list(range(wanted, wanted + count))
        if taken := [port for port in chosen if not _free(port)]:
            raise ConfigError(f"port {taken[0]} is in use", hint="free it, or name another: --port N")
        return chosen
    return [port for port in range(3000, 3200) if _free(port)][:count]


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def start(bento: Path, *, port: int, home: Path, root: Path) -> subprocess.Popen[bytes]:
    """Serve the bento folder with one worker on 127.0.0.1; its log is `home`/server.log.

    `home` is this server's own BENTOML_HOME: servers that share one wipe each other's metrics.
    """
    ports(port, 1)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    env = config.environment(root, BENTOML_HOME=str(home), PYTHONPATH="")
    command = [sys.executable, "-m", "bentoml", "serve", str(bento.resolve()), "--host", "127.0.0.1", "--port", str(port),
               "--api-workers", "1"]  # fmt: skip
    with (home / "server.log").open("wb") as log:
        return subprocess.Popen(command, cwd=home, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                start_new_session=True)  # fmt: skip


def wait_ready(server: subprocess.Popen[bytes], *, port: int, home: Path, seconds: float = READY_SECONDS) -> None:
    """Return when /readyz says 200; ConfigError with the log's end when the server dies or stays silent."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ConfigError(f"the server on port {port} ended with exit code {server.returncode}:\n{_tail(home)}", hint=f"see {home}/server.log")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    stop(server)
    raise ConfigError(f"the server on port {port} was not ready within {seconds:g} s:\n{_tail(home)}", hint=f"see {home}/server.log")


def _tail(home: Path) -> str:
    log = home / "server.log"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]) if log.exists() else ""


def stop(program: subprocess.Popen[Any], seconds: float = 10.0) -> None:
    """End a program and all of its group: SIGTERM, then SIGKILL."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, seconds)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)


def stop_group(pid: int, command: str) -> bool:
    """End a group that an earlier run started, when `pid` still is a program of that name."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        line = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    if command not in line:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)
            time.sleep(1.0 if number == signal.SIGTERM else 0)
    return True


def post(port: int, path: str, body: Any, *, seconds: float = 30.0) -> Any:
    """POST JSON to a server of this machine, its JSON answer; ConfigError with the answer's text on an error."""
    request = urllib.request.Request(  # noqa: S310
        f"http://127.0.0.1:{port}{path}", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise ConfigError(f"POST {path} on port {port} answers {error.code}: {error.read()[:500].decode(errors='replace')}") from None
    except OSError as error:
        raise ConfigError(f"POST {path}: no server answers on port {port}: {error}", hint="slipway serve") from None
