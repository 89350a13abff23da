"""`incident`: write what happened in a window of time as one page, in Markdown and HTML."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway.core import files, git, ledger
from slipway.core.text import printable
from slipway.errors import ConfigError, Inconclusive
from slipway.records import records_branch
from slipway.reporting import jinja_environment
from slipway.reporting.incident import timeline
from slipway.reporting.incident.timeline import Event
from slipway.reporting.markdown import escape, table
from slipway.reporting.status_page.status import web_address

FOLDER = Path("reports/incident")
TIMEOUT_SECONDS = 10


def fetch_alerts(address: str) -> Any:
    """The alerts of a running Alertmanager; ConfigError for no web address, Inconclusive when it does not answer."""
    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"--alertmanager is {address!r}", expected="an address, such as http://127.0.0.1:9093")
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/api/v2/alerts", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return json.load(answer)
    except (OSError, ValueError, urllib.error.URLError) as error:
        hint = "start it, or leave --alertmanager out: alerts that were recorded are on the page anyway"
        raise Inconclusive(f"Alertmanager at {address} did not answer: {error}", hint=hint) from None


def as_markdown(events: Sequence[Event], start: datetime, end: datetime, left_out: int) -> str:
    """The page in Markdown."""
    head = f"# Incident, {start.astimezone(UTC):%Y-%m-%d %H:%M} to {end.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if not events:
        return f"{head}\n\nNothing was released, recorded, alerted or logged in this window.\n"
    rows = [[f"{e.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", e.kind, escape(e.text, 400), f"[page]({e.page})" if e.page else ""]
            for e in events]  # fmt: skip
    more = f"\n{left_out} more log lines are in the files themselves.\n" if left_out else ""
    return f"{head}\n\n{table(['time (UTC)', 'what', 'text', 'see'], rows)}\n{more}"


def as_html(events: Sequence[Event], start: datetime, end: datetime, left_out: int, *, root: Path) -> str:
    """The page as one HTML file; a page in docs/alerts is a link where origin is on GitHub."""
    return jinja_environment.render("incident.html.j2", events=events, start=start, end=end, left_out=left_out,
                                    web=web_address(root), head=git.commit_hash(root=root))  # fmt: skip


def run(
    start: str, end: str, *, logs: Sequence[Path] = (), alertmanager: str | None = None, root: Path = Path()
) -> str:  # fmt: skip
    """Write reports/incident/index.html and incident.md; return a sentence."""
    first, last = timeline.parse_moment(start, "--from"), timeline.parse_moment(end, "--to")
    timeline.require_order(first, last)
    events = [event for env in ledger.ENVIRONMENTS for event in timeline.from_ledger(ledger.read(env, root))]
    events += timeline.from_records(records_branch.read(root))
    if alertmanager:
        events += timeline.from_alerts(fetch_alerts(alertmanager), where=alertmanager)
    log_events, left_out = timeline.from_logs(timeline.read_logs(logs), first, last)
    events = timeline.in_window([*events, *log_events], first, last)
    folder = files.make_folder(root / FOLDER)
    files.write_text(folder / "incident.md", as_markdown(events, first, last, left_out))
    files.write_text(folder / "index.html", as_html(events, first, last, left_out, root=root))
    return f"{len(events) or 'no'} events from {printable(start, 40)} to {printable(end, 40)}: {FOLDER}/index.html, incident.md"
