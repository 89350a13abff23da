"""The one family of errors, and the exit codes they end in.

    SlipwayError
    ├── ConfigError    2  params.yaml, options, the environment
    ├── DataError      3  a source, a table or a frame breaks its contract
    ├── CheckFailed    4  a check failed: a value is outside its limit
    └── Inconclusive   5  too little could be measured to judge

Anything else that escapes is a bug: a traceback and exit code 1.
Every message says what, which value against which limit, and what to do next.
"""

from __future__ import annotations


class SlipwayError(Exception):
    """What went wrong, in fields.

    `message` is the sentence without its limit, `allowed` what would have been right, `value` what was there instead,
    `hint` the next command or step. As text it is the message, with `, limit: ALLOWED` when there is one.
    """

    code = 1

    def __init__(self, message: str, *, hint: str = "", allowed: str = "", value: object = None) -> None:
        super().__init__(f"{message}, limit: {allowed}" if allowed else message)
        self.message, self.allowed, self.value, self.hint = message, allowed, value, hint


class ConfigError(SlipwayError):
    """A setting is unknown, missing or impossible."""

    code = 2


class DataError(SlipwayError):
    """Data breaks its contract."""

    code = 3


class CheckFailed(SlipwayError):
    """A gate measured, and says no."""

    code = 4


class Inconclusive(SlipwayError):
    """A gate could not measure enough to judge; never counted as a pass."""

    code = 5
