"""What DVC keeps: dvc.lock, and the files of its cache by their hash."""

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
    """The stages of the text of a dvc.lock by name; empty when there is none, or it is not a lock."""
    try:
        stages = YAML(typ="safe").load(text or "")["stages"]
        items = [item for stage in stages.values() for key in ("deps", "outs") for item in stage.get(key, ())]
        return dict(stages) if all(isinstance(item["path"], str) for item in items) else {}
    except (YAMLError, LookupError, TypeError, AttributeError, ValueError):
        return {}


def read_lock(root: Path) -> dict[str, Any]:
    """The stages of the dvc.lock in a checkout; empty as for `lock_stages`."""
    try:
        return lock_stages((root / LOCK).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


def output_hashes(stages: Mapping[str, Any]) -> dict[str, str]:
    """The MD5 of every output of a lock's stages, by path; DVC appends `.dir` to that of a folder."""
    outs = [out for stage in stages.values() for out in stage.get("outs") or ()]
    return {out["path"]: str(out["md5"]) for out in outs if "md5" in out}


def cached_file(cache: Path, md5: str) -> Path | None:
    """The bytes of a hash in DVC's cache; None when they are not there, or are others."""
    path = cache / "files" / "md5" / md5[:2] / md5[2:]
    if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5) or not path.is_file():
        return None
    return path if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5[:32] else None


def share_cache(tree: Path, cache: Path) -> None:
    """Let another checkout use `cache`; written as a file, for `dvc config` takes a second to say the same."""
    files.write_text(tree / ".dvc" / "config.local", f"[cache]\n    dir = {cache}\n")


def cache_folder(root: Path) -> Path:
    """DVC's cache: what `.dvc/config.local` says, else the one beside it."""
    local = root / ".dvc" / "config.local"
    if local.exists():
        for row in local.read_text(encoding="utf-8").splitlines():
            key, _, value = row.partition("=")
            if key.strip() == "dir":
                return (local.parent / value.strip()).resolve()
    return root / ".dvc" / "cache"
