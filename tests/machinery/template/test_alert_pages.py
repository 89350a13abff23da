"""Every alert has a page, and every page an alert."""

from __future__ import annotations

import re

from slipway.core.strict_model import parse_yaml
from support.paths import ROOT

PAGES = ROOT / "docs/alerts"
RULES = ROOT / "k8s/observability/rules.yaml"
HEADINGS = ["## Meaning", "## Look at first", "## End"]


def severities() -> dict[str, str]:
    """The severity of each generated alert."""
    groups = parse_yaml(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_alerts_and_pages_are_one_to_one() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == set(severities())


def test_links_of_alerts_end_at_pages() -> None:
    links = re.findall(r"runbook_url: \S*?(docs/alerts/\S+)", RULES.read_text(encoding="utf-8"))
    assert len(links) == len(severities())
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_pages_have_the_same_parts() -> None:
    for name, severity in severities().items():
        text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
        assert [part for part in HEADINGS if part not in text] == [], name
        assert ("## Roll back" in text) != ("## Repair" in text), name
        assert f"It is a **{severity}**" in text, name


def test_index_lists_every_alert() -> None:
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    for name, severity in severities().items():
        assert f"| [{name}]({name}.md) | {severity} |" in text
