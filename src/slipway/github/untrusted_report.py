"""The report of a pull request's run as `Facts`, out of an artifact that anybody may have written.

One entry of the zip is read, in memory, up to a limit; what it holds is taken only as far as a report shows it,
and only when every part is of the kind and the size that a report can show. Nothing is ever extracted or executed.
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
SAID = 3
"""How many faults a message names."""
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
"""What zipfile raises on bytes that are no zip."""


def facts(raw: bytes, *, most: int) -> Facts:
    """The zip's `facts.json`, of at most `most` bytes, as Facts that `report.markdown` takes without an error.

    CheckFailed names what is wrong with it, the value and the limit, in text that is harmless to print.
    """
    text = entry(raw, most=most)
    try:
        given = json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise CheckFailed(f"{ENTRY}: byte {error.start} is not UTF-8, limit: UTF-8") from None
    except RecursionError:
        raise CheckFailed(f"{ENTRY} is nested too deeply, limit: a report's depth") from None
    except ValueError as error:
        raise CheckFailed(f"{ENTRY} is not JSON: {error}, limit: RFC 8259") from None
    try:
        return parse_untrusted(given)
    except ValidationError as error:
        said = {_where(each["loc"]): each for each in error.errors(include_url=False)}
        found = [_sentence(where, each) for where, each in said.items()]
        more = [f"and {len(found) - SAID} more"] if len(found) > SAID else []
        raise CheckFailed(f"{ENTRY} is no report: {'; '.join(found[:SAID] + more)}") from None


def entry(raw: bytes, *, most: int) -> bytes:
    """The bytes of `facts.json` in the zip `raw`; never inflates more than `most` + 1 of them."""
    if len(raw) > most:
        raise CheckFailed(f"the artifact has {len(raw):,} bytes, limit: {most:,}")
    try:
        with zipfile.ZipFile(BytesIO(raw)) as archive:
            found = [one for one in archive.infolist() if one.filename == ENTRY]
            if len(found) != 1:
                raise CheckFailed(f"the artifact holds {len(found)} entries {ENTRY}, limit: exactly 1")
            return _inflated(archive, found[0], most)
    except BROKEN as error:
        raise CheckFailed(f"the artifact is no zip that can be read: {printable(error, 120)}") from None


def _inflated(archive: zipfile.ZipFile, one: zipfile.ZipInfo, most: int) -> bytes:
    if one.flag_bits & 1:
        raise CheckFailed(f"{ENTRY} is encrypted, limit: no encryption")
    if one.compress_type not in METHODS:  # others may ask for gigabytes before the first byte
        raise CheckFailed(f"{ENTRY} is packed by method {one.compress_type}, limit: {' or '.join(METHODS.values())}")
    with archive.open(one) as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise CheckFailed(f"{ENTRY} has more than {most:,} bytes when inflated, limit: {most:,}")
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {printable(twice, 40)!r} stands twice in one object")
    return found


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _where(keys: tuple[int | str, ...]) -> str:
    """The place of an error, without the kinds that a value may have: Pydantic counts them as places."""
    return printable(".".join(str(key) for key in keys if key not in KINDS) or "the file", 80)


def _sentence(where: str, error: Any) -> str:
    said, value = printable(error["msg"].removeprefix("Value error, "), 120), error["input"]
    if error["type"] in ("value_error", "missing"):
        return f"{where}: {said}"
    shown = type(value).__name__ if isinstance(value, dict | list) else printable(repr(value), 40)
    return f"{where} is {shown}: {said}"
