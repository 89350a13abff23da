from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.core import environment
from slipway.pipeline import stages
from slipway.pipeline.fingerprint.code_reach import Reach, imported_modules
from slipway.pipeline.fingerprint.source_files import Sources
from support.committed_project import repository
from support.paths import ROOT

MACHINE = """
from shop.problem import PROBLEM
import machine.tools
from machine import tools as t
def run(params):
    spec = load()
    return spec.ingest(params.data), machine.tools.used(), t.Box().open()
def load():
    return __import__("importlib").import_module(name + ".problem").PROBLEM
def other():
    return t.unused()
"""
TOOLS = """
LIMIT = 3
def used():
    return helper(LIMIT)
def helper(x):
    return x
def unused():
    return 1
class Box:
    def open(self):
        return _inner()
def _inner():
    return 2
"""
PROBLEM = """
from shop.contract import Row
def _lazy():
    from shop.sources import read
    return read
PROBLEM = make(ingest=_lazy(), features="shop.features:build", labels={"title": "A"}, lookup="shop.lookup")
"""


def write(root: Path, **files: str) -> Path:
    defaults = {
        "machine/__init__": "", "machine/stage": MACHINE.replace("from shop.problem import PROBLEM\n", ""),
        "machine/tools": TOOLS, "shop/__init__": "", "shop/problem": PROBLEM, "shop/contract": "class Row: ...",
        "shop/sources": "import polars\ndef read(): ...\ndef spare(): ...", "shop/features": "def build(): ...\ndef b(): ...",
        "shop/lookup": "import sqlite3\ndef answer(): ...",
    }  # fmt: skip
    for name, text in {**defaults, **{key.replace("__", "/", 1): value for key, value in files.items()}}.items():
        path = root / "src" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def reach(root: Path) -> Reach:
    return Reach(Sources(root), [("machine.stage", "run")], problem="shop")


def names(root: Path) -> set[str]:
    return {f"{module}:{name}" for module, name in reach(root).pieces if name}


def lines(root: Path, **files: str) -> list[str]:
    return reach(write(root, **files)).digest_lines()


def test_reach_follows_names_lazy_imports_methods_and_fields(tmp_path):
    assert names(write(tmp_path)) == {
        "machine.stage:run", "machine.stage:load", "machine.tools:used", "machine.tools:helper", "machine.tools:Box",
        "machine.tools:_inner", "shop.problem:PROBLEM.ingest", "shop.problem:_lazy", "shop.sources:read",
    }  # fmt: skip
    assert "polars" in reach(tmp_path).libraries
    assert reach(tmp_path).sections == {"data"}


@pytest.mark.parametrize("field", ["features", "lookup"])
def test_fields_that_are_texts_are_followed_once_they_are_read(tmp_path, field):
    root = write(tmp_path, machine__stage=f"def run(spec):\n    return spec.{field}\n")
    wanted = {"features": {"shop.features:build"}, "lookup": {"shop.lookup:answer"}}[field]
    assert names(root) == {"machine.stage:run", f"shop.problem:PROBLEM.{field}"} | wanted


def test_problem_that_is_named_itself_is_reached_with_all_its_fields(tmp_path):
    root = write(tmp_path, machine__stage=MACHINE.replace("load()\n", "PROBLEM\n", 1))
    assert {"shop.features:build", "shop.lookup:answer", "shop.sources:read"} <= names(root)


def test_problem_that_is_no_plain_call_is_reached_whole(tmp_path):
    text = "import shop.features\ndef made():\n    return shop.features.b()\nPROBLEM = [made()]\n"
    assert "shop.features:b" in names(write(tmp_path, shop__problem=text))


@pytest.mark.parametrize(
    ("tools", "extra"),
    [
        ("@register\ndef unused():\n    return 1\n", "machine.tools:unused"),
        ("def unused(x=make()):\n    return 1\n", "machine.tools:unused"),
        ("class unused(metaclass=M):\n    x = 1\n", "machine.tools:unused"),
        (
            "class Base:\n    def __init_subclass__(cls): ...\nclass Mid(Base): ...\nclass unused(Mid): ...\n",
            "machine.tools:unused",
        ),
        ("def unused():\n    return 1\nTABLE = {'a': unused}\n", "machine.tools:unused"),
        ("if True:\n    from shop.features import b as c\nX = c\n", "shop.features:b"),
        ("from shop.features import *\n", "shop.features:b"),
        ("import shop.features\nX = getattr(shop.features, 'b')\n", "shop.features:b"),
        ("X = 'shop.features'\n", "shop.features:b"),
        ("X = 'shop.features:b'\n", "shop.features:b"),
        ("def unused():\n    return 1\nX = globals()['un' + 'used']\n", "machine.tools:unused"),
        ("import sys\ndef unused():\n    return 1\nX = sys.modules[__name__]\n", "machine.tools:unused"),
        ("class Base: ...\nclass unused(Base): ...\nX = Base.__subclasses__()\n", "machine.tools:unused"),
        ("def __getattr__(name):\n    from shop.features import b\n    return b\n", "shop.features:b"),
        ("from machine.more import used\n", "machine.more:used"),
        ("class used(used): ...\n", "machine.tools:used"),
        ("try:\n    def used():\n        from shop.features import b\n        b()\nfinally: ...\n", "shop.features:b"),
    ],
)
def test_code_that_may_run_without_its_name_counts(tmp_path, tools, extra):
    stage = "import machine.tools\nfrom machine import tools\ndef run(params):\n    return tools.used\n"
    root = write(tmp_path, machine__tools=tools, machine__stage=stage, machine__more="def used(): ...")
    assert extra in names(root)


def test_plain_decorators_and_type_checking_do_not_count(tmp_path):
    tools = """
from typing import TYPE_CHECKING
from dataclasses import dataclass
if TYPE_CHECKING:
    from shop.features import b
def used(x: b) -> b: ...
@dataclass(frozen=True)
class unused: ...
"""
    root = write(tmp_path, machine__tools=tools, machine__stage="from machine.tools import used\ndef run(p): used(p)\n")
    assert names(root) == {"machine.stage:run", "machine.tools:used"}
    assert "shop.features" not in reach(root).modules


def test_problem_that_imports_by_a_computed_name_is_reached_whole(tmp_path):
    text = "import importlib\ndef read(name):\n    return importlib.import_module(name)\n"
    assert {"shop.features:b", "shop.lookup:answer"} <= names(write(tmp_path, shop__sources=text))


def test_long_chain_of_calls_is_followed(tmp_path):
    chain = "".join(f"def f{n}():\n    return [f{n + 1}()]\n" for n in range(2000))
    stage = f"{chain}def f2000(): ...\ndef run(params):\n    return f0()\n"
    assert "machine.stage:f2000" in names(write(tmp_path, machine__stage=stage))


def test_entry_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(LookupError, match=r"machine\.stage has no run"):
        reach(write(tmp_path, machine__stage="run = 1\n"))


def test_variable_with_the_name_of_a_module_is_followed_as_both(tmp_path):
    stage = "from machine import tools\ndef run(params):\n    tools = load()\n    return tools.features\n"
    assert "shop.features:build" in names(write(tmp_path, machine__stage=stage))


def test_package_without_its_init_file_is_followed(tmp_path):
    root = write(tmp_path, shop__problem="import shop.features\nX = shop.features.b()\nPROBLEM = make()\n")
    (root / "src/shop/__init__.py").unlink()
    assert names(root) >= {"shop.features:b"}
    assert not {name for name in reach(root).libraries if name.startswith("shop")}


def test_own_decorator_with_the_name_of_a_plain_one_may_act(tmp_path):
    tools = "def cache(f): ...\n@cache\ndef unused(): ...\n"
    stage = "import machine.tools\ndef run(params): ...\n"
    assert "machine.tools:unused" in names(write(tmp_path, machine__tools=tools, machine__stage=stage))


def test_what_is_unpickled_refers_to_the_estimator(tmp_path):
    problem = "from shop.features import b\nPROBLEM = make(estimator=b, task='binary')\n"
    stage = "import joblib\ndef run(params):\n    return joblib.load('model')\n"
    assert "shop.features:b" in names(write(tmp_path, machine__stage=stage, shop__problem=problem))


def test_digest_ignores_what_is_not_reached_and_where_a_function_stands(tmp_path):
    before = lines(tmp_path)
    assert lines(tmp_path, machine__tools=TOOLS.replace("return 1", "return 9")) == before
    used = "def used():\n    return helper(LIMIT)\n"
    assert lines(tmp_path, machine__tools=TOOLS.replace(used, "") + used) == before
    assert lines(tmp_path, shop__problem=PROBLEM.replace('"A"', '"B"')) == before
    assert lines(tmp_path, machine__tools=f"# a comment\n{TOOLS}") == before


@pytest.mark.parametrize(("old", "new"), [("return 2", "return 3"), ("LIMIT = 3", "LIMIT = 4"), ("return x", "x")])
def test_digest_has_what_is_reached(tmp_path, old, new):
    before = lines(tmp_path)
    assert lines(tmp_path, machine__tools=TOOLS.replace(old, new)) != before


def test_docstring_counts_in_a_contract_alone(tmp_path):
    contract = 'class Row(Base):\n    """One."""\n'
    problem = PROBLEM.replace("PROBLEM = make(", "PROBLEM = make(table=Row, ")
    stage = "def run(spec):\n    '''One.'''\n    return spec.table\n"
    before = lines(tmp_path, shop__contract=contract, shop__problem=problem, machine__stage=stage)
    assert (
        lines(tmp_path, machine__stage=stage.replace("One", "Two"), shop__contract=contract, shop__problem=problem)
        == before
    )
    assert (
        lines(tmp_path, machine__stage=stage, shop__contract=contract.replace("One", "Two"), shop__problem=problem)
        != before
    )


TRACE = """
import importlib, inspect, json, sys, threading
from pathlib import Path
stage, src = sys.argv[1], sys.argv[2]
sys.path.insert(0, src)
ran = set()
def is_function(code):
    return bool(code.co_flags & inspect.CO_OPTIMIZED)
def trace(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_filename.startswith(src):
        caller = frame.f_back.f_code
        of_class = caller.co_filename == "<string>"  # an annotation of a contract, which Pydantic evaluates
        of_class |= caller.co_filename.startswith(src) and not is_function(caller) and caller.co_name != "<module>"
        ran.add((code.co_filename, code.co_name, code.co_firstlineno, is_function(code) and not of_class))
threading.setprofile(trace)
sys.setprofile(trace)
config = importlib.import_module("slipway.core.config")
importlib.import_module(f"slipway.pipeline.{stage}").run(config.load())
sys.setprofile(None)
print(json.dumps(sorted(ran)))
"""


@pytest.fixture(scope="module")
def bikes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("bikes") / "a b é")


def test_everything_that_runs_in_a_stage_is_reached(bikes):
    """The stages of the bikes problem, traced: no function of the machinery or the problem runs that is not reached."""
    reaches = stages.reaches(bikes)
    assert list(reaches) == ["ingest", "features", "train", "export", "evaluate"]
    for stage, code in reaches.items():
        command = [sys.executable, "-c", TRACE, stage, str(bikes / "src")]
        done = subprocess.run(
            command, cwd=bikes, env=environment.for_programs(bikes), capture_output=True, text=True, check=True
        )
        ran = json.loads(done.stdout)
        assert len(ran) > 20
        modules = {str(path) for path in code.modules.values()}
        assert {file for file, *_ in ran} <= modules, stage
        # Sections that the stage does not read can only refuse the file; the body of a class that it does not name
        # may call a function, which has no effect.
        functions = [row for row in ran if row[3] and not row[0].endswith("core/config.py")]
        missed = [(file, name) for file, name, line, _ in functions if not code.runs(Path(file), line)]
        assert missed == [], stage


def test_stages_do_not_reach_each_other():
    reaches = stages.reaches(ROOT)
    assert "slipway.pipeline.plots" in reaches["evaluate"].modules
    assert "slipway.core.console" not in reaches["evaluate"].modules
    assert ("slipway.pipeline.features", "find_leaks") not in reaches["export"].pieces
    problem = next(iter({module.partition(".")[0] for module in reaches["ingest"].modules} - {"slipway"}))
    assert f"{problem}.features" not in reaches["ingest"].modules
    assert f"{problem}.features" in reaches["features"].modules
    assert f"{problem}.model" not in reaches["features"].modules
    assert f"{problem}.model" in reaches["train"].modules


def test_imported_modules_are_followed_wherever_an_import_stands(tmp_path):
    texts = {
        "a/__init__.py": "", "a/b.py": "def late():\n    from a.rooms import c\n    return c\n", "a/rooms/__init__.py": "",
        "a/rooms/c.py": "import json\nimport a.d\nfrom .e import name\n", "a/d.py": "", "a/rooms/e.py": "name = 1\n",
        "a/typed.py": "", "a/other.py": "",
    }  # fmt: skip
    texts["a/d.py"] = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import typed\n"
    for name, text in texts.items():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_text(text, "utf-8")
    modules = {path.relative_to(tmp_path / "src").as_posix() for path in imported_modules(tmp_path, "a.b")}
    assert modules == set(texts) - {"a/typed.py", "a/other.py"}
