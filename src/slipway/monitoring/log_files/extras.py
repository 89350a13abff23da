"""Environments next to Slipway's own, for the libraries of a remote store: made from a lock when first used."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from slipway.core import environment, files, process
from slipway.errors import ConfigError

LOCKS = Path("requirements")


def lock(name: str, root: Path) -> Path | None:
    """Return the lock of the extra `name`; None if the project has no such extra."""
    path = root / LOCKS / f"extra-{name}.lock"
    return path if path.is_file() else None


def python(name: str, root: Path) -> Path:
    """Return the Python of the environment .slipway/extras/`name`, which is made first when the lock has changed.

    ConfigError when it cannot be made. An interrupted run leaves an environment that is not used: the copy of the lock in
    it is written last.
    """
    required = root / LOCKS / f"extra-{name}.lock"
    folder = environment.cache_home(root) / "extras" / name
    ready, program = folder / "ready", folder / "bin/python"
    lock_bytes = required.read_bytes()
    if ready.is_file() and ready.read_bytes() == lock_bytes and program.exists():
        return program
    with files.writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
    uv = [sys.executable, "-m", "uv"]
    variables = environment.for_programs(root)
    for words in (
        [*uv, "venv", "-q", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "-q", "--python", str(program), "--require-hashes", "-r", str(required)],
    ):
        finished = process.run(words, folder=root, env=variables)
        process.require_written(finished, "uv", folder)
        if not finished.ok:
            raise ConfigError(
                f"the environment for {name} cannot be made: {finished.last_lines()}",
                hint=f"check the network, and run the command again; it installs {LOCKS / required.name}",
            )
    with files.writing(ready):
        ready.write_bytes(lock_bytes)
    return program
