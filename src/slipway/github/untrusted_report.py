"""Read the report of a pull request's run out of an artifact that anybody may have written.

One entry of the zip is read, in memory, up to a limit. Nothing is extracted to disk or executed. Only the parts that a
comment shows are taken, and only when all of them have the type and size that a report can show.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from io import BytesIO
from typing import Any

from pydantic import ValidationError

from slipway.core.text import printable
from slipway.errors import CheckFailed
from slipway.reporting.report_model import Facts, parse_untrusted

ENTRY = "facts.json"
METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
KINDS = frozenset({"constrained-int", "constrained-float", "constrained-str", "bool"})
MAX_FAULTS = 3
"""Faults that a message names."""
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    ValueError,
    LookupError,
    OverflowError,
    OSError,
    EOFError,
)
"""The errors that zipfile raises on bytes that are not a zip."""


def read_facts(raw: bytes, *, max_bytes: int) -> Facts:
    """The facts in the zip's `facts.json` of at most `max_bytes` bytes; `report_markdown` renders them without an error.

    CheckFailed names the faults, their values and limits, in text that is harmless to print.
    """
    content = read_entry(raw, max_bytes=max_bytes)
    try:
        value = json.loads(content.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise CheckFailed(f"{ENTRY}: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise CheckFailed(f"{ENTRY} is nested too deeply for a report") from None
    except ValueError as error:
        raise CheckFailed(f"{ENTRY} is not JSON: {error}", expected="JSON as in RFC 8259") from None
    try:
        return parse_untrusted(value)
    except ValidationError as error:
        by_place = {_place(each["loc"]): each for each in error.errors(include_url=False)}
        faults = [_sentence(place, each) for place, each in by_place.items()]
        more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        raise CheckFailed(f"{ENTRY} is not a valid report: {'; '.join(faults[:MAX_FAULTS] + more)}") from None


def read_entry(raw: bytes, *, max_bytes: int) -> bytes:
    """The bytes of `facts.json` in the zip `raw`; inflates at most `max_bytes` + 1 of them."""
    if len(raw) > max_bytes:
        raise CheckFailed(
            f"the artifact has {len(raw):,} bytes", allowed=f"at most {max_bytes:,} bytes", value=len(raw)
        )
    try:
        with zipfile.ZipFile(BytesIO(raw)) as archive:
            entries = [info for info in archive.infolist() if info.filename == ENTRY]
            if len(entries) != 1:
                raise CheckFailed(f"the artifact contains {len(entries)} files {ENTRY}", expected="exactly 1")
            return _inflated(archive, entries[0], max_bytes)
    except BROKEN as error:
        raise CheckFailed(f"the artifact is not a readable zip file: {printable(error, 120)}") from None


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int) -> bytes:
    if info.flag_bits & 1:
        raise CheckFailed(f"{ENTRY} is encrypted", expected="no encryption")
    if info.compress_type not in METHODS:  # others may ask for gigabytes before the first byte
        raise CheckFailed(
            f"{ENTRY} is compressed by method {info.compress_type}", expected=" or ".join(METHODS.values())
        )
    with archive.open(info) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise CheckFailed(
            f"{ENTRY} has more than {max_bytes:,} bytes when inflated", allowed=f"at most {max_bytes:,} bytes"
        )
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        earlier: set[str] = set()
        twice = next(key for key, _ in pairs if key in earlier or earlier.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {printable(twice, 40)!r} appears twice in one object")
    return value


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _place(keys: tuple[int | str, ...]) -> str:
    """The dotted place of an error, without the kinds that a value may have: Pydantic counts them as places."""
    return printable(".".join(str(key) for key in keys if key not in KINDS) or "the file", 80)


def _sentence(place: str, error: Any) -> str:
    message, value = printable(error["msg"].removeprefix("Value error, "), 120), error["input"]
    if error["type"] in ("value_error", "missing"):
        return f"{place}: {message}"
    shown = type(value).__name__ if isinstance(value, dict | list) else printable(repr(value), 40)
    return f"{place} is {shown}: {message}"
