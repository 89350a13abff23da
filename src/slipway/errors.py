"""All errors that Slipway raises on purpose, and the exit codes they end in.

    SlipwayError
    ├── ConfigError    2  params.yaml, options, the environment
    ├── DataError      3  a source, a table or a frame breaks its contract
    ├── CheckFailed    4  a check failed: a value is outside its limit
    ├── Inconclusive   5  too little could be measured to judge
    └── ProgramKilled  2  a program that Slipway runs was killed

Errors of the system (OSError, no memory, bytes that are not UTF-8) end in exit code 2: `cli` names the file and the reason.
Any other exception that ends the process is a bug: a traceback and exit code 1.
Every message names the value, its limit and the next step.
"""

from __future__ import annotations


class SlipwayError(Exception):
    """An error with its parts in fields.

    `message` is the sentence without the limit, `allowed` the limit or `expected` the value that should be there,
    `value` the actual value, `hint` the next command or step.
    `str(error)` is the message, followed by `; allowed: ALLOWED` or `; expected: EXPECTED` if one of them is set.
    """

    code = 1

    def __init__(
        self, message: str, *, hint: str = "", allowed: str = "", expected: str = "", value: object = None
    ) -> None:
        limit = f"; allowed: {allowed}" if allowed else f"; expected: {expected}" if expected else ""
        super().__init__(f"{message}{limit}")
        self.message, self.allowed, self.value, self.hint = message, allowed or expected, value, hint


class ConfigError(SlipwayError):
    """A setting is unknown, missing or impossible."""

    code = 2


class DataError(SlipwayError):
    """Data breaks its contract."""

    code = 3


class CheckFailed(SlipwayError):
    """A check failed: its value is outside its limit."""

    code = 4


class Inconclusive(SlipwayError):
    """A check could not measure enough to judge; never counted as a pass."""

    code = 5


class ProgramKilled(SlipwayError):
    """A program that Slipway runs was killed, for example for lack of memory.

    It is no ConfigError: code that takes the failure of a program for the answer no must not take this for one.
    """

    code = 2
