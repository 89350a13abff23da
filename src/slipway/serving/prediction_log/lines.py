"""Lines of the prediction log, made of the bytes of request and answer, which were validated before.

One line a row: nothing is parsed for a single row. A list is cut into its rows. docs/reference/files.md has the format.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import orjson

VERSION = 1
ASK = "/ask"
DIGITS = 16
"""Hexadecimal digits of the hash of a field with `log: hash`."""
LINE_FEED, RETURN, LETTER_N, LETTER_I = b"\n\rNI"
"""As numbers: bytes are searched for one of them in a tenth of the time."""
NOT_FINITE = re.compile(rb"-?(NaN|Infinity)")


class Request(NamedTuple):
    """One answered request, as the request path hands it over."""

    id: str
    at_ns: int
    """Unix time when it arrived."""
    ms: float
    path: str
    body: bytes
    answer: bytes
    status: int


class Answers(msgspec.Struct, gc=False):
    """The answer to a list of rows."""

    predictions: list[msgspec.Raw]


class Answer(msgspec.Struct, gc=False):
    """The answer to a question."""

    prediction: msgspec.Raw
    inputs: msgspec.Raw


@dataclass(frozen=True)
class Privacy:
    """Fields that the log leaves out, and fields that it holds as a keyed hash (HMAC-SHA-256)."""

    dropped: frozenset[str]
    hashed: frozenset[str]
    salt: bytes = b""

    @classmethod
    def of(cls, properties: Mapping[str, Mapping[str, Any]], salt: str) -> Privacy:
        """Read the word `log` of the contract's fields."""
        words = {name: node.get("log") for name, node in properties.items()}
        dropped, hashed = (frozenset(name for name, word in words.items() if word == each) for each in ("drop", "hash"))
        return cls(dropped, hashed, salt.encode())

    def apply(self, row: bytes | msgspec.Raw) -> bytes:
        """Return a row without the dropped fields and with the hashes."""
        fields: dict[str, Any] = msgspec.json.decode(row, type=dict[str, msgspec.Raw])
        for name in self.dropped:
            fields.pop(name, None)
        for name in self.hashed & fields.keys():
            fields[name] = self._hash(msgspec.json.decode(fields[name]))
        return msgspec.json.encode(fields)

    def _hash(self, value: Any) -> str | None:
        """Null stays null; 5 and 5.0 are the same number and have the same hash."""
        if value is None:
            return None
        plain = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        return hmac.new(self.salt, msgspec.json.encode(plain), hashlib.sha256).hexdigest()[:DIGITS]


class Lines:
    """Makes the lines of one model. For one thread: the writer's."""

    def __init__(self, model: str, problem: str, per_mille: int, privacy: Privacy) -> None:
        self._model, self._problem, self._per_mille, self._privacy = model, problem, per_mille, privacy
        self._is_private = bool(privacy.dropped or privacy.hashed)
        self._second, self._head = -1, b""

    def head(self, at_ns: int) -> bytes:
        """Return the first line of a file."""
        record = {
            "v": VERSION, "at": self._at(at_ns), "model": self._model, "problem": self._problem,
            "per_mille": self._per_mille, "dropped": sorted(self._privacy.dropped),
            "hashed": sorted(self._privacy.hashed),
        }  # fmt: skip
        return orjson.dumps(record) + b"\n"

    def lost(self, count: int, at_ns: int) -> bytes:
        """Return the line that says how many lines were lost since the last such line."""
        return b'{"v":1,"at":"%b","model":"%b","lost":%d}\n' % (self._at(at_ns).encode(), self._model.encode(), count)

    def of(self, request: Request) -> list[bytes]:
        """Return the lines of a request; a ValueError of the parser means that none can be made."""
        start = f'{{"v":1,"id":"{request.id}'.encode()
        second, rest = divmod(request.at_ns, 1_000_000_000)
        if second != self._second:
            self._begin_second(second)
        head = self._head % (rest // 1000, request.ms)
        if request.status != 200:
            return [b'%b%b"status":%d}\n' % (start, head, request.status)]
        answer = finite(request.answer)
        if request.path == ASK:
            if self._is_private:
                parts = msgspec.json.decode(answer, type=Answer)
                answer = b'{"prediction":%b,"inputs":%b}' % (parts.prediction, self._privacy.apply(parts.inputs))
            return [b"%b%b%b\n" % (start, head, answer[1:])]
        body = one_line(request.body)
        if not body.startswith(b"["):
            body = self._privacy.apply(body) if self._is_private else body
            return [b'%b%b%b,"inputs":%b}\n' % (start, head, answer[1:-1], body)]
        return self._of_rows(start, head, body, answer)

    def _of_rows(self, start: bytes, head: bytes, body: bytes, answer: bytes) -> list[bytes]:
        rows: list[Any] = msgspec.json.decode(body, type=list[msgspec.Raw])
        values = msgspec.json.decode(answer, type=Answers).predictions
        if self._is_private:
            rows = [self._privacy.apply(row) for row in rows]
        return [
            b'%b/%d%b"prediction":%b,"inputs":%b}\n' % (start, number, head, value, row)
            for number, (value, row) in enumerate(zip(values, rows, strict=True))
        ]

    def _begin_second(self, second: int) -> None:
        """Keep what all lines of a second have in common, to be filled with microseconds and milliseconds."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._second = second
        self._head = f'","at":"{stamp}.%06dZ","model":"{self._model}","ms":%.3f,'.encode()

    @staticmethod
    def _at(at_ns: int) -> str:
        second, rest = divmod(at_ns, 1_000_000_000)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest // 1000:06d}Z"


def finite(answer: bytes) -> bytes:
    """Return an answer with null for NaN and infinity, which JSON does not have; the service refuses such predictions."""
    if LETTER_N not in answer and LETTER_I not in answer:
        return answer
    values, comma, inputs = answer.partition(b',"inputs":')
    return NOT_FINITE.sub(b"null", values) + comma + inputs


def one_line(body: bytes) -> bytes:
    """Return a JSON body without line breaks: in JSON they stand between values alone, a text holds them escaped."""
    if LINE_FEED in body or RETURN in body:
        return msgspec.json.format(body, indent=-1)
    return body.strip()


def count(request: Request) -> int:
    """Return how many lines a request has, without parsing it."""
    return count_rows(request.answer, request.status) or 1


def count_rows(answer: bytes, status: int) -> int:
    """Return how many rows an answer has, 0 for a refusal: in the answer to a list a comma stands between two numbers."""
    if status != 200:
        return 0
    return 1 + answer.count(b",") if answer.startswith(b'{"predictions":') else 1
