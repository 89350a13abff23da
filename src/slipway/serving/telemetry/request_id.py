"""The id of a request: the caller's `x-request-id`, or one of this process."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable

HEADER = b"x-request-id"
_is_valid = re.compile(rb"[A-Za-z0-9._:-]{1,128}").fullmatch
"""An id stands in JSON, in file names and in log lines, so it has none of their special characters."""


class RequestIds:
    """Takes the caller's id, or makes one: a random part for the process and a number."""

    def __init__(self) -> None:
        self._process, self._numbers = secrets.token_hex(6), itertools.count(1)

    def of(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the id of a request with these headers."""
        for name, value in headers:
            if name == HEADER and _is_valid(value):
                return value.decode("ascii")
        return f"{self._process}-{next(self._numbers):x}"
