"""Restore another commit's outputs, and the Python environment that its locks describe."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway.core import environment, git, process
from slipway.core.dvc import cache_folder, cached_file, output_hashes, read_lock, share_cache
from slipway.errors import Inconclusive

HINT = "see docs/fix/judge.md"
LOCKS = ("requirements/pipeline.lock", "requirements/serve.lock")


def fetch_outputs(tree: Path, names: Sequence[str], *, root: Path) -> None:
    """Restore outputs of the pipeline in a worktree: from DVC's cache, else by its own `dvc repro export`.

    Inconclusive when that fails.
    """
    cache, outs = cache_folder(root), output_hashes(read_lock(tree))
    if all(_copy(cached_file(cache, outs.get(name, "")), tree / name) for name in names):
        return
    python = python_for_lock(tree, root)
    env = env_of(python, tree)
    share_cache(tree, cache)
    failure = (
        f"{', '.join(names)} of commit {git.commit_hash(root=tree)[:12]}: not in DVC's cache, and cannot be rebuilt"
    )
    run_or_unsure([str(python), "-m", "dvc", "repro", "export"], tree, env, failure)


def _copy(source: Path | None, target: Path) -> bool:
    """Copy a file if there is one; return whether there is one."""
    if source is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return source is not None


def python_for_lock(tree: Path, root: Path, locks: Sequence[str] = LOCKS) -> Path:
    """This Python when `locks` are the same files in the worktree `tree` and in `root`, else one with tree's locks installed.

    The environment is cached by the locks' content. Inconclusive when it cannot be installed.
    """
    if all(_bytes(tree / lock) == _bytes(root / lock) for lock in locks):
        return Path(sys.executable)
    name = hashlib.sha256(b"".join(_bytes(tree / lock) for lock in locks)).hexdigest()[:16]
    home = environment.cache_home(root) / "environments" / name
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        uv = [sys.executable, "-m", "uv"]
        env = environment.for_programs(root)
        failure = "the Python environment of the commit to compare with cannot be installed"
        run_or_unsure([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)], root, env, failure)
        files = [part for lock in locks for part in ("-r", str(tree / lock))]
        run_or_unsure([*uv, "pip", "install", "-q", "--python", str(python), *files], root, env, failure)
        (home / "complete").touch()
    return python


def env_of(python: Path, tree: Path) -> dict[str, str]:
    """The environment for programs in the worktree `tree`, with `python`'s folder first on PATH."""
    return environment.for_programs(tree, PATH=f"{python.parent}:{environment.for_programs(tree)['PATH']}")


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def run_or_unsure(command: list[str], tree: Path, env: dict[str, str], failure: str, hint: str = HINT) -> None:
    """Run a program in a worktree; Inconclusive with `failure` and the program's last lines when it fails."""
    result = process.run(command, folder=tree, env=env)
    process.require_written(result, Path(command[0]).name, tree)
    if not result.ok:
        raise Inconclusive(f"{failure}: {result.last_lines(3)}", hint=hint)
