from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.pipeline.fingerprint import syntax_dump
from support.paths import ROOT

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
PROGRAM = """
import ast, hashlib, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import syntax_dump
hashes = {}
for folder in sys.argv[2:]:
    for path in sorted(Path(folder).rglob("*.py")):
        text = syntax_dump.dump(ast.parse(path.read_bytes()), keep_docstring=True)
        hashes[str(path)] = hashlib.sha256(text.encode()).hexdigest()
print(json.dumps([list(sys.version_info[:2]), hashes]))
"""


def dump(text: str, **options: bool) -> str:
    return syntax_dump.dump(ast.parse(text), **options)


def interpreters() -> dict[str, str]:
    """The Pythons of this machine by version: the current one, those on PATH, and pyenv's."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if "shims" not in folder]
    folders += sorted((Path.home() / ".pyenv/versions").glob("*/bin"))
    named = {v: str(folder / f"python{v}") for v in SUPPORTED for folder in folders if (folder / f"python{v}").exists()}
    return {**named, "{}.{}".format(*sys.version_info): sys.executable}


def hashes(python: str) -> tuple[list[int], dict[str, str]]:
    folders = [str(Path(syntax_dump.__file__).parent), str(ROOT / "src"), str(ROOT / "tests")]
    done = subprocess.run([python, "-I", "-c", PROGRAM, *folders], capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout))


@pytest.mark.parametrize("version", SUPPORTED)
def test_every_python_dumps_the_same(version):
    python = interpreters().get(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    info, other = hashes(python)
    assert info == [int(part) for part in version.split(".")]
    assert len(other) > 200
    assert other == hashes(sys.executable)[1]


def test_dump_imports_the_standard_library_alone():
    nodes = list(ast.walk(ast.parse(Path(syntax_dump.__file__).read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= {*sys.stdlib_module_names, "__future__"}


CODE = 'X = 1\n\n\ndef f(a, *, b=None):\n    return f"{a!r:>{b}}"\n'


@pytest.mark.parametrize(
    "other",
    [
        f'"""A module."""\n{CODE}',
        CODE.replace("    return", '    """A function."""\n    return'),
        CODE.replace("    return", "    # a comment\n\n    return"),
        CODE.replace("X = 1\n", 'X = 1\n"""The number."""\n'),
        CODE.replace("return f", "return (\n        f").replace('}"\n', '}"\n    )\n'),
    ],
)
def test_comments_docstrings_and_layout_are_left_out(other):
    assert dump(other) == dump(CODE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("X = 1", "X = 1.0"),
        ("X = 1", "X = None"),
        ("b=None", "b=0"),
        ("b=None", "b"),
        ("!r", "!s"),
        ("return f", "return rf'' + f"),
        ("def f(a, *, b", "def f(a, b"),
        ("    return", "    return 'A text.'\n    return"),
    ],
)
def test_what_runs_is_in_the_dump(before, after):
    assert dump(CODE.replace(before, after, 1)) != dump(CODE)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("return", "return None"),
        ("return {**a}", "return {None: a}"),
        ("return a[:]", "return a[None:None]"),
        ("try: g()\n    except E: pass", "try: g()\n    except* E: pass"),
        ("return 'ä'", "return 'a'"),
        ("return b'a'", "return 'a'"),
    ],
)
def test_codes_that_differ_have_different_dumps(one, two):
    one, two = (f"def f(a):\n    {text}\n" for text in (one, two))
    assert dump(one) != dump(two)


def test_docstring_of_a_contract_is_kept_when_asked():
    one, two = (ast.parse(f'class A(B):\n    """{text}"""\n    x = 1\n').body[0] for text in ("One.", "Two."))
    assert syntax_dump.dump(one) == syntax_dump.dump(two)
    assert syntax_dump.dump(one, keep_docstring=True) != syntax_dump.dump(two, keep_docstring=True)
