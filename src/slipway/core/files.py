"""Write files atomically (to a temporary name, then rename), read JSON, and hash files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slipway.errors import ConfigError, DataError, SlipwayError

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR,
              errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)  # fmt: skip
"""Errors of the system that mean: this file cannot be written here. Others are faults of the program."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK = (*FULL, errno.EROFS)
"""Errors that only a write can have; the others of UNWRITABLE may be those of a file that is read."""
TEXTS = {"disk is full": errno.ENOSPC, "disk I/O error": errno.EIO, "readonly database": errno.EROFS,
         "unable to open database": errno.EACCES}  # fmt: skip
"""SQLite's words, which reach us without a number."""
NO_SCRATCH = "No usable temporary directory"
"""The beginning of what `tempfile` raises, without a number either."""


class CannotWrite(ConfigError):
    """A file cannot be written: the disk is full, or the place is protected."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise CannotWrite, which names the file, in place of any library's error about a full or protected disk.

    The file is the one in the error, else `path`. The block may also read files.
    """
    try:
        yield
    except SlipwayError:
        raise
    except Exception as error:
        if (failure := write_failure(error, path)) is None:
            raise
        raise failure from error


def write_failure(error: Exception, path: Path, *, nearby_too: bool = True) -> CannotWrite | None:
    """The error of a full or read-only disk behind a library's; None if it is another error.

    It names `path` if the error names no file, or one in a folder on the way to `path`. With `nearby_too`, that file may
    also be impossible to write for another reason, such as its mode.
    """
    if NO_SCRATCH in str(error):
        hint = "free disk space there, or set TMPDIR to a folder that can be written"
        return CannotWrite(f"the folder for temporary files cannot be written: {_text(error)}", hint=hint)
    number, name = _system_error(error), getattr(error, "filename2", None) or getattr(error, "filename", None)
    other = Path(os.fsdecode(name)) if name and not isinstance(name, int) else None
    nearby = other is None or other.parent in (path, *path.parents)
    if number not in DISK and not (nearby_too and nearby and number in UNWRITABLE):
        return None
    return cannot_write(path if nearby or other is None else other, number)


def cannot_write(path: Path, number: int, *, by: str = "") -> CannotWrite:
    """The error for a file, or a folder and the program that writes `by` name, and the number of the system's error."""
    if number in FULL:
        hint = f"there is no space left for {path}: free disk space, or raise the quota, and run the command again"
    elif number == errno.EROFS:
        hint = f"the file system of {path} is read-only: mount it for writing, or work in a copy on another disk"
    elif number == errno.EIO:
        hint = f"check the disk of {path}, its space and its log (df, dmesg), and run the command again"
    else:
        hint = f"allow writing to {path.parent} (ls -ld {path.parent}), or remove what stands at {path}"
    return CannotWrite(f"{path} cannot be written{by and f' by `{by}`'}: {os.strerror(number)}", hint=hint)


def disk_error_in(output: str) -> int:
    """The number of the first error of a full or protected disk in a program's output; 0 if there is none."""
    texts = {os.strerror(number): number for number in DISK} | TEXTS
    return next((number for text, number in texts.items() if text in output), 0)


def _system_error(error: BaseException) -> int:
    """The number of the system's error behind a library's; 0 if there is none. Polars and SQLite have it in their text."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if text := re.search(r"os error (\d+)", str(error)):
        return int(text[1])
    return next((number for text, number in TEXTS.items() if text in str(error)), 0)


def _text(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


@contextmanager
def scratch_folder(prefix: str, *, where: Path | None = None) -> Iterator[Path]:
    """Give a new folder in `where`, else where temporary files go; it is removed after the block.

    CannotWrite if it, or a file in it, cannot be written.
    """
    with writing(where or Path(prefix)):
        scratch = tempfile.TemporaryDirectory(dir=where, prefix=prefix)
    with scratch as folder, writing(Path(folder)):
        yield Path(folder).resolve()


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
        if error.errno in DISK:
            raise cannot_write(path, error.errno) from None
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
