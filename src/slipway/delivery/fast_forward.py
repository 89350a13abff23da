"""Move a branch forward, with index and working tree, wholly or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from slipway.core import files, git
from slipway.errors import ConfigError, SlipwayError


def fast_forward(branch: str, old: str, new: str, *, tree: Path, root: Path) -> None:
    """Move the branch that HEAD is on from `old` to `new`, with index and working tree; `tree` is a checkout of `new`.

    On a full disk everything stays as it is: what takes space is written under other names before the first file is
    replaced, and undoing it takes none. `git merge --ff-only` leaves a part of it.
    """
    git.refresh_index(root)
    git.run("read-tree", "-m", "-u", "--dry-run", old, new, root=root)  # refuses files in the way
    index = root / git.run("rev-parse", "--git-path", "index", root=root)
    names = git.changed_files(old, new, root=root)
    old_index, *partials = (_beside(path) for path in (index, *(root / name for name in names)))
    try:
        _copy(index, old_index)
        for name, partial in zip(names, partials, strict=True):
            if (tree / name).exists():
                _copy(tree / name, partial)
        try:
            git.run("read-tree", "-m", old, new, root=root)
            git.run("update-ref", f"refs/heads/{branch}", new, old, root=root)
        except SlipwayError:
            old_index.replace(index)
            if (
                git.find_commit(f"refs/heads/{branch}", root=root) == new
            ):  # Git was killed after it had moved the branch
                git.run("update-ref", f"refs/heads/{branch}", old, new, root=root)
            raise
        for name, partial in zip(names, partials, strict=True):
            if partial.exists():
                partial.replace(root / name)
            else:
                (root / name).unlink(missing_ok=True)
    finally:
        for path in (old_index, *partials):
            path.unlink(missing_ok=True)
    with contextlib.suppress(ConfigError):
        git.refresh_index(root)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _copy(source: Path, target: Path) -> None:
    with files.writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
