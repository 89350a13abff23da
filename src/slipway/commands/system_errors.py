"""Turn errors of the system that no command expected into a message with the file, the reason and the next step.

They may come from any line that reads or writes: a permission, a folder in the place of a file, bytes that are not UTF-8,
no memory. Errors that mean a mistake in the code are none of these and stay as they are.
"""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

from slipway.errors import ConfigError

HINTS = {
    errno.ENOENT: "git status lists files that were removed, and `git checkout -- FILE` restores one; `make repro` makes outputs",
    errno.EISDIR: "remove or rename the folder {path}, and run the command again",
    errno.ENOTDIR: "remove or rename the file that stands in the place of a folder: ls -ld {parent}",
    errno.EMFILE: "raise the limit of open files (ulimit -n), and run the command again",
    errno.ENOMEM: "free memory, and run the command again",
    errno.EPIPE: "run the command again without the program that ended",
}
"""The next step by the number of an error; for all others the mode and the owner of the file are looked at."""


def explain(error: BaseException) -> ConfigError | None:
    """The message for an error of the system, or for the one that it was raised from; None for any other error."""
    if isinstance(error, UnicodeDecodeError):
        return _undecodable(error)
    if isinstance(error, UnicodeEncodeError) and "\ud800" <= error.object[error.start] <= "\udfff":
        return ConfigError(f"the name {error.object!a} has bytes that are not UTF-8", hint="rename the file")
    if isinstance(error, OSError):
        return _refused(error)
    if isinstance(error, MemoryError):
        return ConfigError(
            "there is not enough memory", hint="free memory, or lower the number of rows or resamples in params.yaml"
        )
    return explain(error.__cause__) if error.__cause__ is not None else None


def _refused(error: OSError) -> ConfigError:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    reason = error.strerror or str(error) or type(error).__name__
    if not names:
        return ConfigError(f"the system refused an operation: {reason}", hint="slipway doctor checks this machine")
    path = Path(names[0])
    hint = HINTS.get(error.errno or 0, "look at its mode and owner: ls -ld {path} {parent}")
    return ConfigError(
        f"{' → '.join(names)} cannot be read or written: {reason}", hint=hint.format(path=path, parent=path.parent)
    )


def _undecodable(error: UnicodeDecodeError) -> ConfigError:
    """The file is the one whose `read_text` is in the traceback; the error itself does not have its name."""
    owners = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    paths = [owner for owner in owners if isinstance(owner, Path)]
    name = str(paths[-1]) if paths else "a text that a program printed or a file holds"
    return ConfigError(
        f"{name} is not UTF-8 text: byte {error.start + 1} is {error.object[error.start]:#04x}",
        hint=f"save it as UTF-8: file {name}" if paths else "re-encode it in UTF-8",
    )
