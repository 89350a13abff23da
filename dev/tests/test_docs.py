"""All Markdown of the template is true: links, commands, paths, words, the map, and the measured figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import markdown_pages as pages
import pytest
from markdown_pages import ROOT

from slipway.core import files

pytestmark = pages.of_the_template

PACKAGE = ROOT / "src/slipway"
DOCS = ROOT / "docs"
ALL = set(pages.pages())
WRITTEN = [path for path in pages.documents() if path != DOCS / "commands.md"]
"""Pages for readers that people write; docs/commands.md is made from the commands' own help."""
REPLACED = {
    "dummy": "baseline", "bump": "deploy commit", "noise band": "noise interval", "golden answer row": "golden request",
    "segment": "slice", "cohort": "slice", "incumbent": "champion", "candidate": "challenger", "chapter": "command or step",
    "anew": "again", "beside": "next to", "whoever": "the person who", "journal": "ledger", "non-inferiority": "margin",
}  # fmt: skip
"""Synonyms of house words, and house dialect: each with the word to use."""


def names(path: Path) -> str:
    return pages.name(path)


@pytest.mark.parametrize("path", pages.pages(), ids=names)
def test_links_and_anchors_lead_somewhere(path: Path) -> None:
    assert pages.broken_links(path) == []


@pytest.mark.parametrize("path", pages.documents(), ids=names)
def test_commands_and_options_exist(path: Path) -> None:
    assert pages.unknown_commands(pages.text(path)) == []


@pytest.mark.parametrize("path", pages.pages(), ids=names)
def test_paths_exist(path: Path) -> None:
    assert pages.missing_paths(path) == []


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=names)
def test_every_page_is_reached_from_the_index(path: Path) -> None:
    reached = {DOCS / "README.md"}
    while more := {target for page in reached for target in _linked(page)} - reached:
        reached |= more
    assert path in reached


def _linked(page: Path) -> set[Path]:
    """Pages that a page links to; a link to a folder leads to all in it, as GitHub lists them."""
    targets = {(page.parent / link.partition("#")[0]).resolve() for link in pages.links(pages.text(page))}
    return {path for target in targets for path in (target, *target.glob("*.md")) if path.suffix == ".md"} & ALL


# The readers of the pages see what is wrong


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """`page(text)`: a page in a folder that counts as the repository."""
    monkeypatch.setattr(pages, "ROOT", tmp_path)

    def write(text: str) -> Path:
        path = tmp_path / "page.md"
        path.write_text(f"# A `b` c, d\n\n# Twice\n\n# Twice\n\n{text}\n", encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("link", ["page.md", "page.md#a-b-c-d", "#twice-1", "https://example.org/x", "../../actions/x"])
def test_good_links_are_seen(page: Callable[[str], Path], link: str) -> None:
    assert pages.broken_links(page(f"[x]({link})")) == []


@pytest.mark.parametrize("link", ["gone.md", "page.md#gone", "#twice-2", "../../../etc/passwd"])
def test_broken_links_are_seen(page: Callable[[str], Path], link: str) -> None:
    assert pages.broken_links(page(f"[x]({link}) and `[y](not-a-link)`")) == [link]
    assert pages.broken_links(page(f'<img alt="x" src="{link}">')) == [link]


@pytest.mark.parametrize(
    ("typed", "unknown"),
    [
        ("make loop ARGS=--keep", []),
        ("make lop", ["make lop"]),
        ("cd x && make lop", ["make lop"]),
        ("slipway release log --env production --at 2026-03-04T12:00Z", []),
        ("slipway verify --pod NAME", []),
        ("slipway verify --pods NAME", ["slipway verify --pods"]),
        (".venv/bin/slipway doctor", []),
        ("slipway docter", ["slipway docter"]),
        ("slipway rollback --reason='x'", []),
        ("slipway/policy=enforced", []),
    ],
)
def test_unknown_commands_are_seen(typed: str, unknown: list[str]) -> None:
    assert pages.unknown_commands(f"Type `{typed}` now.") == unknown
    assert pages.unknown_commands(f"1. so:\n\n   ```sh\n   {typed}\n   ```\n") == unknown


def test_missing_paths_are_seen() -> None:
    assert pages.missing_paths_in("`src/flights/gone.py`, `docs/README.md`, `data/x`, `a/b`") == ["src/flights/gone.py"]


# One meaning each


GLOSSARY = re.findall(r"^\*\*([\w -]+)\*\*: (.+)$", pages.text_or_nothing(DOCS / "glossary.md"), re.M)
TERMS = [term for term, _ in GLOSSARY]


def test_glossary_is_in_order_and_complete_sentences() -> None:
    assert len(TERMS) >= 20
    assert sorted(TERMS) == TERMS
    assert len(set(TERMS)) == len(TERMS)
    assert [term for term, meaning in GLOSSARY if not meaning.endswith(".")] == []


@pytest.mark.parametrize("term", TERMS)
def test_every_term_of_the_glossary_is_used(term: str) -> None:
    others = [path for path in WRITTEN if path != DOCS / "glossary.md"]
    assert any(re.search(rf"\b{term}", pages.text(path), re.I) for path in others), f"{term} is used on no page"


@pytest.mark.parametrize("path", WRITTEN, ids=names)
def test_no_page_uses_a_replaced_word(path: Path) -> None:
    page = re.sub(r"`[^`\n]*`", "", pages.prose(pages.text(path)))
    page = page.partition("## Module names before the rooms")[0]
    found = {word: better for word, better in REPLACED.items() if re.search(rf"\b{word}s?\b", page, re.I)}
    assert found == {}


# The map and the manifests


def test_page_of_the_manifests_walks_the_tree() -> None:
    page = pages.text(ROOT / "k8s/README.md")
    folders = [path.name for path in (ROOT / "k8s").rglob("*") if path.is_dir() and path.name != "bindings"]
    assert [folder for folder in folders if f"{folder}/" not in page] == []


def test_map_names_every_room_and_only_paths_that_exist() -> None:
    before = pages.text(DOCS / "map.md").partition("## Module names before the rooms")[0]
    named = set(re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:yaml|toml|py))`", before))
    assert [name for name in sorted(named) if not any((base / name).exists() for base in (ROOT, PACKAGE))] == []
    rooms = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")} - {"."}
    assert {f"{room}/" for room in rooms} <= named


def test_map_leads_from_every_old_module_to_a_new_one() -> None:
    after = pages.text(DOCS / "map.md").partition("## Module names before the rooms")[2]
    rows = re.findall(r"^\| `(\w+)` \| `([\w/.]+)` \|$", after, re.M)
    assert len(rows) == len(dict(rows)) > 90
    assert [new for _, new in rows if not (PACKAGE / new).is_file()] == []


# Figures


FIGURES = pages.text_or_nothing(DOCS / "reference/figures.md")


def row(start: str) -> str:
    [line] = [line for line in FIGURES.splitlines() if line.startswith(f"| {start}")]
    return line


def test_figures_of_checks_are_those_of_their_record() -> None:
    told = re.findall(r"\*\*(\d+) of (\d+)\*\* opened", pages.text(ROOT / "dev/docs/gates.md"))[0]
    assert f"| {told[0]} of {told[1]} |" in row("checks disabled on purpose")


def test_figures_of_serving_are_those_of_their_page() -> None:
    page = pages.text(ROOT / "dev/docs/performance.md")
    for start, figure in {
        "requests/s of one row at 8 connections": "requests/s at 8 connections ÷ FastAPI + ONNX Runtime",
        "the same ÷ FastAPI + scikit-learn": "requests/s at 8 connections ÷ FastAPI + scikit-learn",
        "its p99": "p99 at 8 connections ÷ empty endpoint",
        "start → ready": "start to ready ÷ FastAPI + ONNX Runtime",
    }.items():
        measured = float(re.findall(rf"^\| {re.escape(figure)} \| ([\d.]+) \(", page, re.M)[0])
        shown = float(row(start).split("|")[2].split()[0])
        assert shown == pytest.approx(measured, rel=0.05), start


def test_figures_of_the_judge_are_those_of_their_page() -> None:
    page = pages.text(ROOT / "dev/docs/judge.md")
    for start, label in {
        "judge: a model worse": "model worse by 0.008 passed",
        "judge: a model that differs": r"equal model \(other seed\) refused",
        "judge: one trained on other days": r"equal model \(other days\) refused",
    }.items():
        measured = float(re.findall(rf"^\| {label} \| ([\d.]+) %", page, re.M)[0])
        assert f"| {measured:.0f} %" in row(start)


def test_figures_of_the_model_are_those_of_its_metrics() -> None:
    metrics = files.read_json(ROOT / "reports/metrics.json")
    assert f"| {metrics['auc']:.3f} |" in row("test AUC, default windows")
