"""The parts of plain English that a machine can check in `src/slipway`: first lines, names, and worn-out words.

`src/flights` is the user's, and is not checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

SOURCES = sorted((ROOT / "src/slipway").rglob("*.py"))
CLAUSE = re.compile(r"(What|Which|Who|Whom|Whose|Whoever|Whatever|How|Why|Whether|Where)\b")
"""A first line that begins so is a relative clause; it begins with a verb, or with the name of the thing."""
BARE = {
    "anew", "asked", "alike", "believed", "done", "found", "given", "heard", "held", "kept", "meant", "said", "seen",
    "taken", "there", "thought", "told", "took", "wanted",
}  # fmt: skip
"""Participles and adverbs that say nothing of a value. A value is named for what it is: checks, request, output."""
WORDS = {
    r"\blimit:": "say `allowed:` for a bound, `expected:` for anything else",
    r"\banew\b": "say again",
    r"\bbeside\b": "say next to",
    r"\bby a no\b": "say on failure",
    r"\bwhoever\b": "name the actor",
    r"\bnobody\b": "name the actor",
}
"""Words that a message or a docstring does not use, and what to say instead."""


def name(path: Path) -> str:
    return path.relative_to(ROOT / "src").as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def texts(code: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string literal and every docstring; an f-string piece by piece."""
    for node in ast.walk(code):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def docstrings(code: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string that stands alone: of a module, a class, a function, or below a value."""
    for node in ast.walk(code):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def names(code: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every name that the code itself gives: to values, parameters, functions, classes and fields."""
    for node in ast.walk(code):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.alias | ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            own = node.asname if isinstance(node, ast.alias) else node.name
            if own:
                yield node.lineno, own


def clauses(code: ast.AST) -> list[str]:
    return [f"line {line}: {text.splitlines()[0]}" for line, text in docstrings(code) if CLAUSE.match(text.lstrip())]


def bare_names(code: ast.AST) -> list[str]:
    return [f"line {line}: {text}" for line, text in names(code) if text.lower().strip("_") in BARE]


def worn_words(code: ast.AST) -> list[str]:
    """Line, word and advice for every text that uses one of WORDS."""
    return [
        f"line {line}: {match[0]!r}, {advice}"
        for line, text in texts(code)
        for pattern, advice in WORDS.items()
        if (match := re.search(pattern, text, re.IGNORECASE))
    ]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_first_line_is_a_clause(path: Path) -> None:
    assert clauses(tree(path)) == [], f"{name(path)}: begin with a verb, or with the name of the thing"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_name_is_a_bare_participle(path: Path) -> None:
    assert bare_names(tree(path)) == [], f"{name(path)}: name a value for what it is (checks, request, output)"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_text_uses_a_worn_word(path: Path) -> None:
    assert worn_words(tree(path)) == [], f"{name(path)}: say it in plain English"


@pytest.mark.parametrize(
    "text",
    [
        '"""What ships."""', 'def f():\n  """Whether it is."""', 'class A:\n  """\n  How many."""',
        'A = 1\n"""Where it is."""', 'async def f():\n  """Who asks."""', 'class A:\n  x: int\n  """Whom to ask."""',
    ],
)  # fmt: skip
def test_a_clause_is_seen_wherever_it_stands(text: str) -> None:
    assert clauses(ast.parse(text))


def test_a_plain_first_line_passes() -> None:
    assert clauses(ast.parse('"""Return what is left."""\ndef f():\n  """However long it takes, wait."""')) == []


@pytest.mark.parametrize(
    "text",
    [
        "found = 1", "def told(): ...", "class Seen: ...", "def f(asked): ...", "def f(*, kept=1): ...",
        "self.meant = 1", "[said for said in x]", "with f() as held: ...", "import x as told", "_taken: int = 1",
        "try: ...\nexcept E as seen: ...", "match x:\n  case [given, *known]: ...", "(done := 1)", "KEPT, b = 1, 2",
    ],
)  # fmt: skip
def test_a_bare_participle_is_seen(text: str) -> None:
    assert bare_names(ast.parse(text))


def test_names_of_others_are_not_judged() -> None:
    assert bare_names(ast.parse("task.done(f(told=1), found)\nlines_kept = future.seen")) == []


@pytest.mark.parametrize(
    "text",
    [
        'raise E(f"{a} is {b}, limit: {c}")', 'log.info("starting anew")', 'f(hint="Beside the bento")',
        '"""Ends by a no."""', 'x = {"a": f"{b} that nobody knows"}', 'def f():\n  """Whoever asks, waits."""',
    ],
)  # fmt: skip
def test_a_worn_word_is_seen(text: str) -> None:
    assert worn_words(ast.parse(text))


def test_a_word_within_another_passes() -> None:
    assert worn_words(ast.parse('x = "besides, a renewal; the limit is 3; time_limit, allowed: 3"')) == []
