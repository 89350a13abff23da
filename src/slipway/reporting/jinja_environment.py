"""The one Jinja environment of pages and cards; it escapes every value, for HTML or for Markdown."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import ChainableUndefined, Environment, PackageLoader, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from slipway.core import text
from slipway.reporting import summary, wording
from slipway.reporting.markdown import escape


def render(name: str, **values: Any) -> str:
    """Render a template of this package, with a line break at its end; a missing value is shown as nothing."""
    return _environment().get_template(name).render(**values) + "\n"


@cache
def _environment() -> Environment:
    env = Environment(loader=PackageLoader("slipway.reporting"), autoescape=True, undefined=ChainableUndefined,
                      trim_blocks=True, lstrip_blocks=True, finalize=_finalize)  # fmt: skip
    env.filters |= {
        "number": lambda value, **how: text.printable(wording.number(value, **how), 60),
        "uncut_number": wording.number,
        "count": wording.count,
        "difference": wording.difference,
        "interval": lambda part: wording.interval(part.low, part.high),
        "result": lambda check: text.printable(summary.describe_result(check), 500),
        "allowed": lambda check: text.printable(summary.describe_allowed(check), 300),
        "plain": plain,
        "code": code,
        "span": span,
    }
    return env


@pass_context
def _finalize(context: Context, value: object) -> object:
    """Escape the values of Markdown templates; Jinja itself escapes those of HTML templates."""
    return inert(value) if str(context.name).endswith(".md.j2") else value


def inert(value: object) -> Markup:
    """Escape text for Markdown; Markup stays as it is."""
    return value if isinstance(value, Markup) else Markup(escape(value, 900))  # noqa: S704 - what escape is for


def plain(value: object, limit: int = 200) -> str:
    """One line of printable text."""
    return text.printable(value, limit)


def code(value: object) -> Markup:
    """A name or a hash as code; any other text escaped."""
    is_name = re.fullmatch(r"[\w.:/-]{1,80}", str(value), re.ASCII)
    return Markup(f"`{value}`") if is_name else inert(value)  # noqa: S704 - no letter in it means anything


def span(low: object, high: object) -> str:
    """Two bounds as they are written: a year has no thousands separator."""
    ends = [f"{end:g}" if isinstance(end, int | float) else "any" for end in (low, high)]
    return "any" if ends == ["any", "any"] else " to ".join(ends)
