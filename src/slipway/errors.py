"""The one family of errors, and the exit codes they end in.

    SlipwayError
    ├── ConfigError    2  params.yaml, options, the environment
    ├── DataError      3  a source, a table or a frame breaks its contract
    ├── Refused        4  a gate says no
    └── Unsure         5  a gate cannot judge

Anything else that escapes is a bug: a traceback and exit code 1.
Every message says what, which value against which limit, and what to do next.
"""

from __future__ import annotations


class SlipwayError(Exception):
    """What went wrong, and in `hint` the next command or step."""

    code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(SlipwayError):
    """A setting is unknown, missing or impossible."""

    code = 2


class DataError(SlipwayError):
    """Data breaks its contract."""

    code = 3


class Refused(SlipwayError):
    """A gate measured, and says no."""

    code = 4


class Unsure(SlipwayError):
    """A gate could not measure enough to judge; never counted as a pass."""

    code = 5
