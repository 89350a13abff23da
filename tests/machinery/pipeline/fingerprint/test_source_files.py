from __future__ import annotations

import ast
from pathlib import Path

import pytest

from slipway.pipeline.fingerprint.source_files import Sources, dotted

FILES = {
    "shop/__init__.py": "from shop.price import total\n",
    "shop/price.py": "def total(): ...\n",
    "shop/deep/__init__.py": "",
    "shop/deep/rules.py": """
from typing import TYPE_CHECKING
import numpy
import shop.price
import shop.price as p
from shop import price, total as sum_of
from . import other
from .. import price as again
from ..price import total
if TYPE_CHECKING:
    from shop.deep import other as for_types
try:
    from shop.deep import other as late
except ImportError:
    late = None
def f():
    from shop.price import total as inside
    return inside
""",
    "shop/deep/other.py": "",
}


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    for name, text in FILES.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return Sources(tmp_path)


def test_module_and_package_have_their_files(sources):
    assert sources.file("shop.price") == sources.folder / "shop/price.py"
    assert sources.file("shop.deep") == sources.folder / "shop/deep/__init__.py"
    assert sources.file("numpy") is None
    with pytest.raises(LookupError):
        sources.module("numpy")
    assert sources.below("shop") == ["shop", "shop.deep", "shop.deep.other", "shop.deep.rules", "shop.price"]


def test_bindings_of_all_kinds_of_imports(sources):
    assert sources.module("shop.deep.rules").bindings == {
        "shop": ("shop", ""),
        "p": ("shop.price", ""),
        "price": ("shop.price", ""),
        "sum_of": ("shop", "total"),
        "other": ("shop.deep.other", ""),
        "again": ("shop.price", ""),
        "total": ("shop.price", "total"),
        "late": ("shop.deep.other", ""),
    }


def test_imports_inside_a_function_are_its_own(sources):
    module = sources.module("shop.deep.rules")
    assert module.imports(module.definitions["f"][0]) == {"inside": ("shop.price", "total")}


@pytest.mark.parametrize(("text", "names"), [("a.b.c", ["a", "b", "c"]), ("a", ["a"]), ("f().b", [])])
def test_dotted_chain_begins_with_a_name(text, names):
    assert dotted(ast.parse(text, mode="eval").body) == names
