"""The pages of docs/fix, the message templates of src, and the index that leads from one to the other.

`python fix_pages.py` writes the index.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs/fix"
INDEX = FOLDER / "README.md"
MARK = "<!-- The list below is written from the pages by `make lock`. -->\n"
NOTES = "Good to know"
"""The one heading that is no message."""
PAGES = (
    "ingest", "features", "train", "export", "evaluate", "track", "stages", "slo", "prove", "judge", "manifests", "latency",
    "report", "review", "comment", "package", "load", "load-gate", "score", "image", "release", "deploy-commit",
    "ledger", "overlays", "policy", "promote", "rollback", "canary", "verify", "records", "monitor", "cluster", "loop", "drill",
    "settings",
)  # fmt: skip
"""The pages that come with Slipway. A page that a project adds is its own and is not checked."""
MIN_WORDS = 3
VARIES = "…"


@dataclass(frozen=True)
class Page:
    """A page: its name, its title, and its headings without those inside code blocks."""

    name: str
    title: str
    headings: tuple[str, ...]

    @property
    def messages(self) -> list[str]:
        """The headings that quote a message."""
        return [heading for heading in self.headings if heading != NOTES]


def read(name: str, folder: Path = FOLDER) -> Page:
    """Read one page."""
    text = re.sub(r"^```.*?^```", "", (folder / f"{name}.md").read_text(encoding="utf-8"), flags=re.M | re.S)
    title = re.search(r"^# (.+)$", text, re.M)
    return Page(name, title[1] if title else "", tuple(re.findall(r"^## (.+)$", text, re.M)))


def read_all() -> list[Page]:
    """Slipway's own pages, as far as they are in this project."""
    return [read(name) for name in PAGES if (FOLDER / f"{name}.md").exists()]


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def strings(source: str) -> list[str]:
    """The text of every string and f-string in a module that is no docstring; a variable part becomes `…`.

    A part with two fixed texts (`{'is' if one else 'are'}`) gives one string for each.
    """
    tree = ast.parse(source)
    statements = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    pieces = {piece for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in _pieces(node)}
    return [text for node in ast.walk(tree) if node not in statements | pieces for text in _texts(node)]


def _pieces(node: ast.JoinedStr) -> Iterator[ast.expr]:
    """The strings inside an f-string that are not messages of their own."""
    for part in node.values:
        yield part
        if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.IfExp):
            yield from (part.value.body, part.value.orelse)


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value.replace("{}", VARIES)
    if isinstance(node, ast.JoinedStr):
        yield from map("".join, itertools.product(*map(_parts, node.values)))


def _parts(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.IfExp):
        return [text for branch in (node.value.body, node.value.orelse) for text in list(_texts(branch)) or [VARIES]]
    return [VARIES]


def templates() -> list[str]:
    """The strings of src/slipway, and the lines of the Makefile."""
    modules = sorted((ROOT / "src/slipway").rglob("*.py"))
    texts = [text for path in modules for text in strings(path.read_text(encoding="utf-8"))]
    return texts + (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()


def words(text: str) -> list[str]:
    """The words of a message or heading that do not vary."""
    return re.findall(r"[^\W_]+", text.replace(VARIES, " "))


def quotes(heading: str, template: str) -> bool:
    """Return whether the heading repeats words of the template in their order, and has `…` where it varies or is left out.

    A heading of fewer words than MIN_WORDS must repeat all of the template.
    """
    if len(words(heading)) < MIN_WORDS and words(heading) != words(template):
        return False
    return _pattern(heading).search(plain(template)) is not None


@cache
def _pattern(heading: str) -> re.Pattern[str]:
    parts = [r"\s+".join(map(re.escape, part.split())) for part in plain(heading).split(VARIES)]
    return re.compile(".*".join(rf"(?<!\w){part}(?!\w)" if part else "" for part in parts), re.S)


@cache
def plain(text: str) -> str:
    """A text without Markdown's marks and capital letters."""
    return text.replace("`", "").replace("\\", "").lower()


def index(pages: list[Page]) -> str:
    """The list of messages by page, as the index holds it."""
    parts = []
    for page in pages:
        rows = [f"- [{heading}]({page.name}.md#{anchor(heading)})" for heading in page.messages]
        parts.append(f"\n## [{page.title}]({page.name}.md)\n\n" + "".join(f"{row}\n" for row in rows))
    return "".join(parts)


def write_index() -> None:
    """Write the index below its mark; the text above stays."""
    above = INDEX.read_text(encoding="utf-8").partition(MARK)[0]
    INDEX.write_text(above + MARK + index(read_all()), encoding="utf-8")


if __name__ == "__main__":
    write_index()
