"""Read dvc.lock, and find files in DVC's cache by their hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slipway.core import files

LOCK = Path("dvc.lock")


def lock_stages(text: str | None) -> dict[str, Any]:
    """The stages in the text of a dvc.lock, by name; empty if the text is None or not a lock."""
    try:
        stages = YAML(typ="safe").load(text or "")["stages"]
        items = [item for stage in stages.values() for key in ("deps", "outs") for item in stage.get(key, ())]
        return dict(stages) if all(isinstance(item["path"], str) for item in items) else {}
    except (YAMLError, LookupError, TypeError, AttributeError, ValueError):
        return {}


def read_lock(root: Path) -> dict[str, Any]:
    """The stages of the dvc.lock in the checkout `root`, by name; empty if there is none, or it is not a lock."""
    try:
        return lock_stages((root / LOCK).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


def output_hashes(stages: Mapping[str, Any]) -> dict[str, str]:
    """The MD5 of every output of a lock's stages, by path; DVC appends `.dir` to the hash of a folder."""
    outputs = [output for stage in stages.values() for output in stage.get("outs") or ()]
    return {output["path"]: str(output["md5"]) for output in outputs if "md5" in output}


def cache_path(cache: Path, md5: str) -> Path:
    """The place of a file with this MD5 in DVC's cache, whether or not it is there."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def cached_file(cache: Path, md5: str) -> Path | None:
    """The file with this MD5 in DVC's cache; None if it is missing, or its bytes have another hash."""
    path = cache_path(cache, md5)
    if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5) or not path.is_file():
        return None
    return path if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5[:32] else None


def share_cache(tree: Path, cache: Path) -> None:
    """Make the checkout `tree` use `cache`."""
    # Written by hand: `dvc config`, which writes the same, takes a second.
    files.write_text(tree / ".dvc" / "config.local", f"[cache]\n    dir = {cache}\n")


def cache_folder(root: Path) -> Path:
    """DVC's cache: the folder set in `.dvc/config.local`, else `.dvc/cache`."""
    local = root / ".dvc" / "config.local"
    if local.exists():
        for row in local.read_text(encoding="utf-8").splitlines():
            key, _, value = row.partition("=")
            if key.strip() == "dir":
                return (local.parent / value.strip()).resolve()
    return root / ".dvc" / "cache"
