"""Read dvc.lock and DVC's configuration, and find files in DVC's cache by their hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from slipway.core import environment, files
from slipway.core.strict_model import parse_yaml
from slipway.errors import ConfigError

LOCK = Path("dvc.lock")


def lock_stages(text: str | None) -> dict[str, Any]:
    """The stages in the text of a dvc.lock, by name; empty if the text is None or not a lock."""
    try:
        stages = parse_yaml(text or "")["stages"]
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
    """Make the checkout `tree` use `cache`; its other settings in `.dvc/config.local` stay."""
    # `dvc config`, which writes the same with the same parser, takes a second.
    from configobj import ConfigObjError

    path = tree / ".dvc" / "config.local"
    config = _parse(path)
    section = config.setdefault("cache", {})
    section["dir"] = str(cache)
    try:
        text = "\n".join(config.write()) + "\n"
    except ConfigObjError as error:
        hint = "move the project or the cache to a folder without quotes in its name"
        raise ConfigError(f"DVC's configuration cannot hold the path {cache}: {error}", hint=hint) from None
    files.write_text(path, text)


def cache_folder(root: Path) -> Path:
    """DVC's cache, by the configuration that DVC itself would read in `root`; `.dvc/cache` if none is set.

    ConfigError for a configuration that DVC cannot read either, and for a cache that is not a folder.
    """
    settings: dict[str, str] = {}
    remotes: dict[str, str] = {}
    for path in _config_files(root):
        for name, section in _sections(path).items():
            if name == "cache":
                settings |= {key: _resolve(path, value) if key == "dir" else value for key, value in section.items()}
            elif (remote := re.fullmatch(r"\s*remote\s*\"(.*)\"\s*", name)) and "url" in section:
                remotes[remote[1]] = _resolve(path, section["url"])
    place = remotes.get(settings["local"], "") if settings.get("local") else settings.get("dir", ".dvc/cache")
    if not place or re.match(r"\w+://", place):
        hint = "dvc cache dir FOLDER"
        raise ConfigError(f"DVC's cache is {place or settings['local']!r}", expected="a folder", hint=hint)
    return (root / place).resolve()


def _config_files(root: Path) -> list[Path]:
    """DVC's four configuration files for `root`; a later one overrules an earlier one."""
    import platformdirs

    env = environment.for_programs(root)
    system = env.get("DVC_SYSTEM_CONFIG_DIR") or platformdirs.site_config_dir("dvc", "iterative")
    user = env.get("DVC_GLOBAL_CONFIG_DIR") or platformdirs.user_config_dir("dvc", "iterative")
    return [Path(system) / "config", Path(user) / "config", root / ".dvc/config", root / ".dvc/config.local"]


def _parse(path: Path) -> Any:
    """Read a configuration file with the parser that DVC uses; an absent file is empty."""
    from configobj import ConfigObj, ConfigObjError

    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return ConfigObj(text.splitlines())
    except (OSError, UnicodeDecodeError, ConfigObjError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", hint=f"correct {path}; `dvc config --list` reads it"
        ) from None


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """The sections of a configuration file; names are in lower case, and values are text."""
    from configobj import ConfigObjError

    try:
        sections = _parse(path).dict()
    except ConfigObjError as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", hint=f"correct {path}; `dvc config --list` reads it"
        ) from None
    return {
        name.lower(): {key.lower(): value for key, value in section.items() if isinstance(value, str)}
        for name, section in sections.items()
        if isinstance(section, dict)
    }


def _resolve(path: Path, value: str) -> str:
    """A path in the configuration file `path`: `~` is the home folder, other relative paths begin at the file's folder."""
    return value if re.match(r"\w+://", value) else str(path.parent.absolute() / Path(value).expanduser())
