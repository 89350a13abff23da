"""The template's own README is short and true. A project's own README is never looked at."""

from __future__ import annotations

import re

import markdown_pages as pages
from markdown_pages import README, ROOT

from slipway.core import config

pytestmark = pages.of_the_template

PAGE = pages.text_or_nothing(README)
FIRST_SCREEN = 25
"""Lines that GitHub shows before a reader scrolls: the picture is tall, so it comes later."""


def test_readme_is_short() -> None:
    assert 40 <= len(PAGE.splitlines()) <= 150


def test_first_screen_has_both_commands() -> None:
    start = "\n".join(PAGE.splitlines()[:FIRST_SCREEN])
    assert re.search(r"```sh\nmake loop .*\nmake test .*\n```", start)


def test_readme_has_one_picture_in_two_colours() -> None:
    [picture] = re.findall(r"<picture>.*?</picture>", PAGE, re.S)
    assert "prefers-color-scheme: dark" in picture
    assert re.search(r'alt="[^"]{20,}"', picture)
    files = re.findall(r'src(?:set)?="([^"]+)"', picture)
    assert len(files) == 2
    assert [file for file in files if not (ROOT / file).is_file()] == [], "run: make pictures"


def test_readme_has_one_diagram() -> None:
    assert len(re.findall(r"^```mermaid$", PAGE, re.M)) == 1


def test_readme_promises_no_website() -> None:
    assert re.findall(r"https?://[^)\s]*github\.io[^)\s]*|OWNER", PAGE) == []


def test_first_day_table_has_every_workflow_and_is_true() -> None:
    table = PAGE.partition("| workflow | first day |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
    workflows = {word for row in rows for word in re.findall(r"`(\w+)`", row[0])}
    assert workflows == {path.stem for path in (ROOT / ".github/workflows").glob("*.yml")}
    skipped = {row[0].strip("`"): row[1] for row in rows if row[1].startswith("skipped")}
    assert set(skipped) == {"release", "promote", "retrain"}
    assert "vars.PREDICTION_LOG != ''" in pages.text(ROOT / ".github/workflows/retrain.yml")
    assert "PREDICTION_LOG" in skipped["retrain"]
    assert "newName: localhost:" in pages.text(ROOT / "k8s/overlays/staging/kustomization.yaml")
    assert "localhost" in skipped["release"]
    assert config.load(ROOT / "params.yaml").release.status in skipped["promote"]


def test_status_says_what_has_never_run() -> None:
    status = PAGE.partition("## Status\n")[2]
    assert "Never run" in status
    for place in ("GitHub", "cloud", "OpenShift", "`make cluster`", "NetworkPolicies"):
        assert place in status


def test_needed_python_and_version_are_the_project_s() -> None:
    project = pages.text(ROOT / "pyproject.toml")
    assert 'requires-python = ">=3.11"' in project
    assert "Python 3.11 or newer" in PAGE
    [version] = re.findall(r'^version = "(\d+\.\d+)', project, re.M)
    assert f"Pre-release ({version})" in PAGE
