"""Run a program to its end and keep what it printed; the one place of the package that does so."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A program that ended: its exit code, and what it printed to both streams."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.code == 0

    def last_lines(self, count: int = 1) -> str:
        """The last lines of standard error, else of standard output, in one line; `exit code N` when it printed nothing."""
        printed = (self.err.strip() or self.out.strip()).splitlines()[-count:]
        return " ".join(printed) or f"exit code {self.code}"


def run(
    command: Sequence[str], *, folder: Path | None = None, env: Mapping[str, str] | None = None,
    given: str | None = None, timeout: float | None = None,
) -> Finished:  # fmt: skip
    """Run `command` in `folder`, with `given` on its standard input (nothing when None), for at most `timeout` seconds.

    Output is read as UTF-8; bytes that are not become U+FFFD. FileNotFoundError or another OSError when the program
    cannot be started, subprocess.TimeoutExpired after the time: callers say what that means for them.
    """
    done = subprocess.run(
        list(command), cwd=folder, env=None if env is None else dict(env), input=given,
        stdin=subprocess.DEVNULL if given is None else None, capture_output=True, text=True, encoding="utf-8",
        errors="replace", timeout=timeout, check=False,
    )  # fmt: skip
    return Finished(code=done.returncode, out=done.stdout, err=done.stderr)


def printed(command: Sequence[str], env: Mapping[str, str], *, timeout: float) -> str | None:
    """What a program prints, `yes` when that is nothing; None when it is not on PATH, fails, or takes too long."""
    program = shutil.which(command[0], path=env.get("PATH", ""))
    if program is None:
        return None
    try:
        done = run([program, *command[1:]], env=env, timeout=timeout)
    except (subprocess.TimeoutExpired, OSError):
        return None
    return (done.out.strip() or "yes") if done.ok else None


def version(command: Sequence[str], env: Mapping[str, str], *, timeout: float) -> str | None:
    """The first version number that a program prints, all it prints when there is none; None as for `printed`."""
    text = printed(command, env, timeout=timeout)
    number = re.search(r"\d+\.\d+(\.\d+)?", text) if text else None
    return number.group() if number else text


def poll_until(done: Callable[[], bool], *, seconds: float, every: float) -> bool:
    """Call `done` until it is true, at most for `seconds`, with a pause of `every` seconds; whether it became true."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
