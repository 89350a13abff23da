"""A bento as processes of this machine: start, wait until it answers, stop without leaving anything behind."""

from __future__ import annotations

import http.client
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

from slipway.core import environment
from slipway.errors import ConfigError, SlipwayError

HOST = "127.0.0.1"
OPTIONS = (
    "--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log", "--no-server-header",
    "--no-proxy-headers", "--lifespan", "on", "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "10",
)  # fmt: skip
"""Of uvicorn. A connection is kept longer than a proxy keeps it (60 s), or the proxy would ask on one just closed."""


@dataclass(frozen=True)
class Server:
    """A running service; as a context manager it is stopped at the end of the block."""

    process: subprocess.Popen[bytes]
    port: int
    home: Path
    """Its own BENTOML_HOME: servers that share one wipe each other's metrics."""
    log: Path

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop(self)


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def command(bento: Path, *, port: object, host: str = HOST) -> list[str]:
    """What runs the service of the folder `bento` in one process; the image's ENTRYPOINT says the same."""
    code = str(bento.resolve() / "src")
    return [sys.executable, "-m", "uvicorn", "--factory", "slipway.serving.service:app", "--app-dir", code, *OPTIONS,
            "--host", host, "--port", str(port)]  # fmt: skip


def settings(home: Path, root: Path) -> dict[str, str]:
    """The environment that it runs in: nothing of the project's code, and a scratch folder of its own."""
    found = environment.for_programs(root, BENTOML_HOME=str(home.resolve()))
    del found["PYTHONPATH"]
    return found


def start(bento: Path, *, port: int, home: Path, root: Path, log: Path) -> Server:
    """Serve the folder `bento` in the background; ConfigError when it is none, or the port is in use.

    `home` is its own scratch folder, `root` the project's, `log` gets what it says.
    """
    require_free_port(port)
    if not (bento / "src").is_dir():
        raise ConfigError(f"{bento} is no bento: it has no folder src", hint="slipway package")
    home.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            command(bento, port=port), cwd=bento / "src", env=settings(home, root), stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    return Server(process, port, home, log)


def wait_ready(server: Server, seconds: float = 60.0) -> float:
    """Return how long it took until it was ready; SlipwayError with the end of its log when it does not come up."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if server.process.poll() is not None:
            raise _failed(server, f"ended with exit code {server.process.returncode}")
        if _ready(server.port):
            return time.monotonic() - started
        time.sleep(0.05)
    raise _failed(server, f"was not ready after {seconds:g} s")


def stop(server: Server, seconds: float = 15.0) -> None:
    """End the server and all its processes: asked first, and after `seconds` made to. Safe to call twice."""
    kill_all(server.home, seconds)
    with suppress(subprocess.TimeoutExpired):
        server.process.wait(timeout=seconds)


def kill_all(home: Path, seconds: float = 15.0) -> int:
    """End every process whose BENTOML_HOME is `home` or a folder in it, whoever started it; how many there were."""
    members = _members(home)
    count = len(members)
    for signalled in (signal.SIGTERM, signal.SIGKILL):
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(signalled)
        _, members = psutil.wait_procs(members, timeout=seconds)
        members = list({*members, *_members(home)})  # a worker that was started meanwhile
        if not members:
            break
    return count


def _members(home: Path) -> list[psutil.Process]:
    """Supervisor and workers, found by their BENTOML_HOME: workers have sessions of their own, and outlive it."""
    found, wanted = [], home.resolve()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            own = process.environ().get("BENTOML_HOME")
            if own and Path(own).is_relative_to(wanted) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def free(port: int) -> bool:
    """Whether nobody holds the port."""
    try:
        require_free_port(port)
    except ConfigError:
        return False
    return True


def require_free_port(port: int) -> None:
    """ConfigError when the port is in use, or not ours to use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "limit: 0 to 65535"
            raise ConfigError(
                f"port {port} of {HOST} cannot be used: {why}", hint="choose another with --port"
            ) from None


def _failed(server: Server, what: str) -> SlipwayError:
    tail = server.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    stop(server)
    return SlipwayError(
        f"the server on port {server.port} {what}; its log ends:\n" + "\n".join(tail),
        hint=f"see {server.log}",
    )
