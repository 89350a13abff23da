"""Run a program to its end and return what it printed; the one place of the package that does so."""

from __future__ import annotations

import errno
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipway.core import files
from slipway.errors import ConfigError, ProgramKilled

Errors = Literal["replace", "strict"]
"""Treatment of output that is not UTF-8."""
KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""Signals that come from outside of a program. Others, such as SIGSEGV, are crashes of its own."""


class UndecodableOutput(ConfigError):
    """A program printed bytes that are not UTF-8, such as those of a file."""


@dataclass(frozen=True, kw_only=True)
class ProcessResult:
    """Result of a program that ended: its exit code, and the text of both output streams."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Return whether the exit code is 0."""
        return self.code == 0

    def last_lines(self, count: int = 1) -> str:
        """The last lines of stderr, else of stdout, joined to one line; `exit code N` if both are empty."""
        lines = (self.err.strip() or self.out.strip()).splitlines()[-count:]
        return " ".join(lines) or describe_exit(self.code)


def describe_exit(code: int) -> str:
    """The end of a program in words: `exit code 3`, or `signal SIGKILL` for the negative code of a signal."""
    names = {number.value: number.name for number in signal.Signals}
    return f"exit code {code}" if code >= 0 else f"signal {names.get(-code, -code)}"


def require_alive(name: str, code: int | None) -> None:
    """Raise ProgramKilled when the exit code of the program `name` is that of one that was killed from outside."""
    if code is not None and -code in KILLS:
        raise ProgramKilled(
            f"`{name}` was killed by {describe_exit(code)}",
            hint="run the command again; if no person stopped it, it needs more memory than the machine or the container has",
        )


def short_name(command: Sequence[str]) -> str:
    """The first words of a command, without folders and options: `dvc repro` for `/…/python -m dvc repro -q`."""
    words = [Path(command[0]).name, *command[1:]]
    words = words[2:] if words[1:2] == ["-m"] else words
    plain = [word for index, word in enumerate(words) if not word.startswith("-") and words[index - 1] != "-c"]
    return " ".join(plain[:2])


def run(
    command: Sequence[str], *, folder: Path | None = None, env: Mapping[str, str] | None = None,
    stdin: str | None = None, timeout: float | None = None, errors: Errors = "replace",
) -> ProcessResult:  # fmt: skip
    """Run `command` in `folder`, with `stdin` on its standard input (empty if None), for at most `timeout` seconds.

    Output is decoded as UTF-8. Other bytes become U+FFFD, or raise UnicodeDecodeError with `errors="strict"`.
    An OSError means that the program could not be started, subprocess.TimeoutExpired that it took too long, ProgramKilled
    that it was killed from outside.
    """
    completed = subprocess.run(
        list(command), cwd=folder, env=None if env is None else dict(env), input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True, encoding="utf-8",
        errors=errors, timeout=timeout, check=False,
    )  # fmt: skip
    require_alive(short_name(command), completed.returncode)
    return ProcessResult(code=completed.returncode, out=completed.stdout, err=completed.stderr)


def require_written(finished: ProcessResult, program: str, folder: Path) -> None:
    """CannotWrite if a program that works in `folder` failed because the disk is full or protected."""
    if finished.ok:
        return
    if finished.code == -signal.SIGXFSZ:
        raise files.cannot_write(folder, errno.EFBIG, by=program)
    lines = [line for line in (finished.out + finished.err).splitlines() if not line.startswith("remote:")]
    if number := files.disk_error_in("\n".join(lines)):
        raise files.cannot_write(folder, number, by=program)


def probe(command: Sequence[str], env: Mapping[str, str], *, timeout: float) -> str | None:
    """The stdout of a program, `yes` if it is empty; None if the program is not on PATH, fails, or takes too long."""
    program = shutil.which(command[0], path=env.get("PATH", ""))
    if program is None:
        return None
    try:
        finished = run([program, *command[1:]], env=env, timeout=timeout)
    except (subprocess.TimeoutExpired, OSError, ProgramKilled):
        return None
    return (finished.out.strip() or "yes") if finished.ok else None


def probe_version(command: Sequence[str], env: Mapping[str, str], *, timeout: float) -> str | None:
    """The first version number in the stdout of a program, else all of it; None as for `probe`."""
    text = probe(command, env, timeout=timeout)
    number = re.search(r"\d+\.\d+(\.\d+)?", text) if text else None
    return number.group() if number else text


def poll_until(condition: Callable[[], bool], *, seconds: float, every: float) -> bool:
    """Call `condition` every `every` seconds until it is true or `seconds` have passed; return whether it became true.

    It is called at least once.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
