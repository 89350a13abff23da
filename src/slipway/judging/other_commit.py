"""Another commit's outputs and interpreter: from DVC's cache and an environment of its own locks."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway.core import environment, git
from slipway.core.dvc import cache_folder, cached_file, output_hashes, read_lock, share_cache
from slipway.errors import Inconclusive

LOCKS = ("requirements/pipeline.lock", "requirements/serve.lock")


def fetch_outputs(tree: Path, names: Sequence[str], *, root: Path) -> None:
    """Outputs of the pipeline into a worktree: the bytes of DVC's cache, else by its own `dvc repro export`; Inconclusive."""
    cache, outs = cache_folder(root), output_hashes(read_lock(tree))
    if all(_copied(cached_file(cache, outs.get(name, "")), tree / name) for name in names):
        return
    python = python_for_lock(tree, root)
    env = environment.for_programs(tree, PATH=f"{python.parent}:{environment.for_programs(tree)['PATH']}")
    share_cache(tree, cache)
    what = f"{', '.join(names)} of {git.commit(root=tree)[:12]}: not in DVC's cache, and cannot be rebuilt"
    run_or_unsure([str(python), "-m", "dvc", "repro", "-q", "export"], tree, env, what)


def _copied(place: Path | None, to: Path) -> bool:
    if place is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place, to)
    return place is not None


def python_for_lock(tree: Path, root: Path, wanted: Sequence[str] = LOCKS) -> Path:
    """This Python when the wanted locks of a worktree are this checkout's, else a cached environment of its own locks."""
    if all(_bytes(tree / lock) == _bytes(root / lock) for lock in wanted):
        return Path(sys.executable)
    name = hashlib.sha256(b"".join(_bytes(tree / lock) for lock in wanted)).hexdigest()[:16]
    home = environment.cache_home(root) / "environments" / name
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        uv = [sys.executable, "-m", "uv"]
        env = environment.for_programs(root)
        what = "the champion's own environment cannot be installed"
        run_or_unsure([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)], root, env, what)
        locks = [part for lock in wanted for part in ("-r", str(tree / lock))]
        run_or_unsure([*uv, "pip", "install", "-q", "--python", str(python), *locks], root, env, what)
        (home / "complete").touch()
    return python


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def run_or_unsure(command: list[str], tree: Path, env: dict[str, str], what: str) -> None:
    """Run a program in a worktree; Inconclusive, beginning with `what`, when it fails."""
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise Inconclusive(f"{what}: {' '.join(said)}", hint="see docs/operations.md, section judge")
