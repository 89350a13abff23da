"""Run a bento as a local process: start it, wait until it is ready, stop it with all its workers."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil  # type: ignore[import-untyped]

from slipway.core import environment, files
from slipway.core.process import describe_exit
from slipway.errors import ConfigError
from slipway.serving.http_client import is_ready

HOST = "127.0.0.1"
OPTIONS = (
    "--loop", "uvloop", "--http", "slipway.serving.http_protocol:Protocol", "--log-level", "warning", "--no-access-log",
    "--no-server-header", "--no-proxy-headers", "--lifespan", "on", "--timeout-keep-alive", "75",
    "--timeout-graceful-shutdown", "10",
)  # fmt: skip
"""Options of uvicorn. Keep-alive is longer than that of usual proxies (60 s): a proxy must not reuse a closed connection."""


@dataclass(frozen=True)
class Server:
    """A running service. As a context manager it is stopped at the end of the block."""

    process: subprocess.Popen[bytes]
    port: int
    home: Path
    """BENTOML_HOME of this server alone: servers that share one delete each other's metrics."""
    log: Path

    @property
    def url(self) -> str:
        """Base URL of the service."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop(self)


def find_free_port() -> int:
    """Return a port that is unused now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def command(bento: Path, *, port: object, host: str = HOST) -> list[str]:
    """Return the command that serves the folder `bento` in one process; the image's ENTRYPOINT is the same."""
    code = str(bento.resolve() / "src")
    return [sys.executable, "-m", "uvicorn", "--factory", "slipway.serving.service:app", "--app-dir", code, *OPTIONS,
            "--host", host, "--port", str(port)]  # fmt: skip


def server_environment(home: Path, root: Path, prediction_log: Path | None = None) -> dict[str, str]:
    """Return the environment of a server: no PYTHONPATH, so that only the bento's code runs, and its own BENTOML_HOME.

    It logs predictions only to the folder `prediction_log`: a gate's server does not fill the log of a served model.
    """
    variables = environment.for_programs(root, BENTOML_HOME=str(home.resolve()))
    del variables["PYTHONPATH"]
    variables.pop("SLIPWAY_LOG", None)
    return variables if prediction_log is None else {**variables, "SLIPWAY_LOG": str(prediction_log.resolve())}


def start(bento: Path, *, port: int, home: Path, root: Path, log: Path, prediction_log: Path | None = None) -> Server:
    """Serve the folder `bento` in the background; ConfigError when it is not a bento or the port is in use.

    `home` is the server's scratch folder, `root` the project's folder, `log` the file for its output, and
    `prediction_log` the folder of the prediction log; None for no such log.
    """
    require_free_port(port)
    if not (bento / "src").is_dir():
        raise ConfigError(f"{bento} is not a bento: it has no folder src", hint="run `slipway package`")
    files.make_folder(home)
    files.make_folder(log.parent)
    with files.writing(log), log.open("ab") as output:
        process = subprocess.Popen(
            command(bento, port=port), cwd=bento / "src", env=server_environment(home, root, prediction_log),
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    return Server(process, port, home, log)


def wait_ready(server: Server, seconds: float = 60.0) -> float:
    """Wait until the server is ready and return the seconds it took; ConfigError with the end of its log if it is not."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if server.process.poll() is not None:
            raise _failed(server, f"stopped with {describe_exit(server.process.returncode)} before it was ready")
        if is_ready(server.url, timeout_seconds=2):
            return time.monotonic() - started
        time.sleep(0.05)
    raise _failed(server, f"was not ready after {seconds:g} s")


def stop(server: Server, seconds: float = 15.0) -> None:
    """Stop the server with all its processes: SIGTERM, then SIGKILL after `seconds`. Safe to call twice."""
    kill_all(server.home, seconds)
    with suppress(subprocess.TimeoutExpired):
        server.process.wait(timeout=seconds)


def kill_all(home: Path, seconds: float = 15.0) -> int:
    """End every process whose BENTOML_HOME is `home` or a folder in it, and return their number."""
    members = _members(home)
    count = len(members)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)
        _, members = psutil.wait_procs(members, timeout=seconds)
        members = list({*members, *_members(home)})  # workers started in the meantime
        if not members:
            break
    return count


def _members(home: Path) -> list[psutil.Process]:
    """Find supervisor and workers by their BENTOML_HOME: workers have their own sessions and may outlive the supervisor."""
    members, folder = [], home.resolve()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            value = process.environ().get("BENTOML_HOME")
            if value and Path(value).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def is_port_free(port: int) -> bool:
    """Return whether the port can be used."""
    try:
        require_free_port(port)
    except ConfigError:
        return False
    return True


def require_free_port(port: int) -> None:
    """Raise ConfigError when the port is in use or may not be used."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OverflowError:
            message, hint = f"the port is {port}", "choose another port with --port"
            raise ConfigError(message, allowed="0 to 65535", value=port, hint=hint) from None
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            hint = "choose another port with --port, or stop the program that uses it"
            raise ConfigError(f"port {port} on {HOST} {reason}", hint=hint) from None


def _failed(server: Server, reason: str) -> ConfigError:
    """Stop the server and return the error, with the end of its log."""
    tail = server.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    stop(server)
    return ConfigError(
        f"the service on port {server.port} {reason}; the last lines of its log:\n" + "\n".join(tail),
        hint=f"the whole log is in {server.log}",
    )
