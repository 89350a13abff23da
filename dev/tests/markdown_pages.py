"""Read the Markdown of the repository: code, links, headings, commands and paths."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from slipway import cli

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
FENCE = re.compile(r"^( *)(```+)(\w*)\n(.*?)^\1\2 *$", re.S | re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
GENERATED = re.compile(r"^(\.slipway|\.venv|\.dvc/cache|data|models|reports|releases|bentos)(/|$)|^mlflow\.db$")
"""Paths that exist only after a command has run."""
RECIPE = re.compile(r"(^|/)demo(/|\.|$)")
"""Paths that a recipe of CONTRIBUTING.md makes."""

of_the_template = pytest.mark.skipif(
    not README.exists() or README.read_text(encoding="utf-8").partition("\n")[0] != "# Slipway",
    reason="this README is a project's own, and so are its documents",
)
"""Skips a test in a project made from the template."""


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def text_or_nothing(path: Path) -> str:
    """The text of a page that a project may have deleted."""
    return text(path) if path.exists() else ""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tracked() -> frozenset[Path]:
    """Files in Git, and those that `git add .` would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return frozenset(path for each in listed.split("\0") if each and (path := ROOT / each).is_file())


def pages() -> list[Path]:
    """Every Markdown file of the repository."""
    return sorted(path for path in tracked() if path.suffix == ".md")


def documents() -> list[Path]:
    """Pages for readers, without the records of development below dev/."""
    return [path for path in pages() if not path.is_relative_to(ROOT / "dev")]


def prose(page: str) -> str:
    """The page without fenced code and comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", page), flags=re.S)


def code(page: str) -> list[str]:
    """The lines of fenced code that is typed or quoted, and every text in backticks; diffs and diagrams are neither."""
    fenced = [m[4].splitlines() for m in FENCE.finditer(page) if m[3] not in ("diff", "mermaid")]
    return [line for lines in fenced for line in lines] + re.findall(r"`([^`\n]+)`", prose(page))


def links(page: str) -> list[str]:
    return [first or second for first, second in LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page)))]


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page; a repeated heading gets -1, -2 …"""
    seen = Counter[str]()
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", prose(page), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        seen[f"{anchor}-{seen[anchor]}" if anchor in seen else anchor] += 1
    return set(seen)


def broken_links(path: Path) -> list[str]:
    """Relative links of a page whose file or heading does not exist."""
    return [link for link in links(text(path)) if not _leads_somewhere(path, link)]


def _leads_somewhere(path: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link) or link.startswith("../../actions/"):  # GitHub's own pages of the repository
        return True
    file, _, anchor = unquote(link).partition("#")
    target = (path.parent / file).resolve() if file else path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(text(target)))


# Commands


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", text(ROOT / "Makefile"), re.M))


@cache
def commands() -> dict[str, frozenset[str]]:
    """Every command of `slipway` as it is typed (`release log`), and the options it takes."""
    return dict(_commands("", typer.main.get_command(cli.app)))


def _commands(prefix: str, command: Any) -> Iterator[tuple[str, frozenset[str]]]:
    options = [word for each in command.params for word in (*each.opts, *each.secondary_opts) if word[0] == "-"]
    yield prefix, frozenset([*options, "--help"])
    for word, each in getattr(command, "commands", {}).items():
        yield from _commands(f"{prefix} {word}".strip(), each)


def unknown_commands(page: str) -> list[str]:
    """What a page tells people to type and `make` or `slipway` does not know: targets, commands, options."""
    unknown = [f"make {word}" for line in code(page) for word in _make_words(line) if word not in targets()]
    return unknown + [problem for line in code(page) for problem in _slipway_problems(line)]


def _make_words(line: str) -> list[str]:
    return [words.split()[0] for words in re.findall(r"(?:^|[\s;&|(])make ((?!-)[a-z][\w-]*)", line)]


def _slipway_problems(line: str) -> Iterator[str]:
    for typed in re.findall(r"(?:^|[\s;&|(/])slipway((?: [^;&|()]*)?)", line.partition("  #")[0]):
        if not re.match(r" (-|[a-z])", typed):
            continue
        words = typed.split()
        command = ""
        while words and f"{command} {words[0]}".strip() in commands():
            command = f"{command} {words.pop(0)}".strip()
        if not command and words and words[0][0] != "-":
            yield f"slipway {words[0]}"
            continue
        options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        yield from (f"slipway {command} {option}" for option in options if option not in commands()[command])


# Paths


def missing_paths(path: Path) -> list[str]:
    """Paths in code of a page that start at a file or folder of the root, and do not exist."""
    return missing_paths_in(text(path))


def missing_paths_in(page: str) -> list[str]:
    """As `missing_paths`, of the text of a page."""
    top = {each.relative_to(ROOT).parts[0] for each in tracked()}
    parts = re.compile(r"(?<![\w/:.<>${}@-])[\w.-]+/[\w./-]*")
    typed = {part.rstrip("/.") for line in code(page) for part in parts.findall(line)}
    return sorted(part for part in typed if part.split("/")[0] in top and not _exists(part))


def _exists(part: str) -> bool:
    return (ROOT / part).exists() or bool(GENERATED.match(part) or RECIPE.search(part))
