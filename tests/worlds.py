"""The world that tests on a cluster share: a copy of this project as it is now, its model in production there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway import champion, config, git, loop, world
from story import ROOT, begin


def copied(folder: Path) -> Path:
    """The working tree, as Git would take it, in one commit of a repository that shares the project's DVC cache."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=True).stdout.decode()  # fmt: skip
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    begin(folder)
    git.output("add", "-A", root=folder)
    git.output("commit", "-q", "-m", "The project as it is", root=folder)
    champion.share_cache(folder, champion.cache_folder(ROOT))
    return folder


@contextmanager
def made(folder: Path) -> Iterator[world.World]:
    """The drills' world of such a copy; afterwards nothing of it is left in the cluster."""
    root = copied(folder)
    try:
        yield world.enter(root, config.load(root / "params.yaml"))
    finally:
        loop.clear(root)
