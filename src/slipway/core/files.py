"""Write files atomically (to a temporary name, then rename), read JSON, and hash files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway.errors import ConfigError, DataError, SlipwayError

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR,
              errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)  # fmt: skip
"""Errors of the system that mean: this file cannot be written here. Others are faults of the program."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CannotWrite(ConfigError):
    """A file cannot be written: the disk is full, or the place is protected."""


@contextmanager
def writing(path: Path, *, hint: str = "") -> Iterator[None]:
    """Raise CannotWrite, which names `path`, in place of any library's error about a full or protected disk."""
    try:
        yield
    except SlipwayError:
        raise
    except Exception as error:
        number = _system_error(error)
        other = getattr(error, "filename", None)  # the block may also read files
        if number not in UNWRITABLE or (other and Path(os.fsdecode(other)).parent not in (path, *path.parents)):
            raise
        advice = (
            f"there is no space left for {path}: free disk space, or raise the quota, and run the command again"
            if number in FULL
            else f"allow writing to {path.parent} (ls -ld {path.parent}), or remove what stands at {path}"
        )
        raise CannotWrite(f"{path} cannot be written: {os.strerror(number)}", hint=hint or advice) from error


def _system_error(error: BaseException) -> int:
    """The number of the system's error behind a library's; 0 if there is none. Polars and SQLite have it in their text."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if text := re.search(r"os error (\d+)", str(error)):
        return int(text[1])
    return errno.ENOSPC if "disk is full" in str(error) else 0


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary name next to `path`; it is renamed to `path` after the block, or removed if the block raises.

    A file that is replaced passes on its mode. CannotWrite if the disk is full or protected.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            if path.is_file():
                partial.chmod(path.stat().st_mode & 0o777 | stat.S_IWUSR)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def make_readable(root: Path) -> None:
    """Let every user read all below `root`, as in a checkout with the usual umask; images are run by another user."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runs else 0o644)


def make_folder(path: Path) -> Path:
    """Make the folder `path` if it does not exist; ConfigError if that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the folder {path} cannot be created: {error.strerror}"
        raise ConfigError(message, hint=f"remove or rename what stands at {path}, or choose another place") from None
    return path


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically, as UTF-8."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically, as indented JSON; ValueError for NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def cannot_read(path: Path, error: OSError) -> ConfigError:
    """The error for a file that exists and that the system does not let us read."""
    hint = f"look at what stands there, its mode and its owner: ls -ld {path}"
    return ConfigError(f"{path} cannot be read: {error.strerror or error}", hint=hint)


def require_readable(path: Path) -> None:
    """ConfigError if the system does not let us read a file; libraries say so in words of their own, without its name."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise cannot_read(path, error) from None


def read_json(path: Path, *keys: str, kind: type = object, hint: str = "") -> Any:
    """Read JSON, or the value under nested `keys` of it; DataError with `hint` if the file is missing, broken, or lacks it.

    The value must be of the type `kind`.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", hint=hint or "run `make repro`") from None
    except OSError as error:
        raise cannot_read(path, error) from None
    except (ValueError, RecursionError) as error:  # the first also for bytes that are not UTF-8
        raise DataError(f"{path} is not valid JSON: {error}", hint=hint or "run `make repro`") from None
    place = f"{path}"
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise DataError(f"{place} has no {key}", hint=hint or "run `make repro`")
        place, value = f"{path}: {key}", value[key]
    if not isinstance(value, kind):
        message = f"{place} is of type {type(value).__name__}"
        raise DataError(message, expected=kind.__name__, value=value, hint=hint or "run `make repro`")
    return value


@contextmanager
def parsing(path: Path, *, hint: str = "") -> Iterator[None]:
    """Raise DataError, which names `path`, when the block cannot take apart what the file holds: it is of another form."""
    try:
        yield
    except SlipwayError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        reason = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path} is not of the form that Slipway writes: {reason}", hint=hint or "run `make repro`"
        ) from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def tree_sha256(root: Path, *, exclude: Iterable[str] = ()) -> str:
    """One SHA-256 over the relative names and bytes of all files under `root`, except the names in `exclude`."""
    ignored = set(exclude)
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        if name not in ignored:
            digest.update(f"{name}\0{sha256(path)}\n".encode())
    return digest.hexdigest()
