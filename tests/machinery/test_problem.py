"""problem: the interface between the machinery and a problem package."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import slipway
from slipway import problem
from slipway.errors import ConfigError, DataError
from support.callables import Cli
from support.paths import PROBLEMS, ROOT

SOURCE = ROOT / "src" / "slipway"


@pytest.mark.parametrize("name", ["flights", "bikes", "leaking"])
def test_problems_are_found_by_name(name: str) -> None:
    assert problem.load(name).name == name


@pytest.mark.parametrize("name", ["flights", "bikes"])
def test_a_problem_names_only_columns_it_has(name: str) -> None:
    spec = problem.load(name)
    columns = set(spec.table.model_fields)
    assert {spec.target, spec.time} <= columns
    assert set(spec.known_at) | set(spec.known_at.values()) <= columns
    assert spec.target in spec.known_at
    assert spec.target not in spec.inputs.model_fields


@pytest.mark.parametrize("name", ["flights", "bikes"])
def test_the_contract_s_examples_keep_the_contract(name: str) -> None:
    for model in (problem.load(name).inputs,):
        assert model.model_validate(problem.example_row(model)).model_dump() == problem.example_row(model)


def test_an_unknown_problem_is_a_config_error(bare_copy: Path, cli: Cli) -> None:
    path = bare_copy / "params.yaml"
    path.write_text(path.read_text().replace("problem: bikes", "problem: trains"))
    said = cli(bare_copy, "ingest")
    assert said.returncode == 2
    assert "problem is 'trains' in params.yaml, but there is no package src/trains" in said.stderr


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("PROBLEM = 3", ConfigError, "is of type int; expected: slipway.problem.Problem"),
        (
            "import no_such_package",
            ConfigError,
            r"cannot be imported: ModuleNotFoundError: .*no_such_package.*line 1\)",
        ),
        ("x = 1\nx = y", ConfigError, r"cannot be imported: NameError: name 'y' is not defined \(problem.py, line 2\)"),
        ("def f(:", ConfigError, r"cannot be imported: SyntaxError: .* \(problem.py, line 1\)"),
        ("PROBLEMS = 3", ConfigError, "cannot be imported: AttributeError: .*PROBLEM"),
    ],
)
def test_a_broken_problem_says_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: type[Exception], message: str
) -> None:
    name = f"broken{abs(hash(text))}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "problem.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error, match=message):
        problem.load(name)


@pytest.mark.parametrize(("inputs", "message"), [
    ("x: Annotated[float, Field(examples=[1])] = 2", "field x of the contract .*Inputs has the word `default`"),
    ("x: Annotated[float, Field(ge=0)]", "field x of the contract .*Inputs has no `examples`"),
    ("x: Annotated[str, Field(pattern='(?=a)', examples=['a'])]", "Pydantic refuses a contract of the problem .*look-around"),
])  # fmt: skip
def test_contract_with_an_unknown_word_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: str, message: str
) -> None:
    name = f"worded{abs(hash(inputs))}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "problem.py").write_text(
        "from dataclasses import replace\nfrom typing import Annotated\nfrom pydantic import BaseModel, Field\n"
        f"from slipway import problem\n\nclass Inputs(BaseModel):\n    {inputs}\n\n"
        "PROBLEM = replace(problem.load('bikes'), inputs=Inputs)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        problem.load(name)


# Functions by name


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An importable package `parts`, forgotten after the test."""
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "jobs.py").write_text("NUMBER = 3\n\n\ndef work(*args, **options):\n    return args, options\n")
    (folder / "broken.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "parts"]:
        del sys.modules[name]


def named(name: str) -> problem.Problem:
    return replace(problem.load("bikes"), estimator=name)


@pytest.mark.usefixtures("package")
def test_named_function_is_imported_when_first_called() -> None:
    spec = named("parts.jobs:work")
    assert "parts.jobs" not in sys.modules
    assert spec.estimator(1, seed=2) == ((1,), {"seed": 2})
    assert "parts.jobs" in sys.modules


def test_named_function_shows_its_name() -> None:
    assert problem.load("flights").ingest == problem.ImportedFunction("flights.ingest:ingest", "ingest")


def test_function_itself_is_given_back() -> None:
    spec = replace(problem.load("bikes"), sources=Path.cwd)
    assert spec.sources == Path.cwd
    assert spec.sources() == Path.cwd()


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(("name", "message"), [
    ("nowhere.jobs:work", "`estimator` is 'nowhere.jobs:work', but there is no module nowhere"),
    ("parts.nowhere:work", "`estimator` is 'parts.nowhere:work', but there is no module parts.nowhere"),
    ("parts.jobs:wrok", "`estimator` is 'parts.jobs:wrok', but parts.jobs has no function wrok"),
    ("parts.jobs:NUMBER", "`estimator` is 'parts.jobs:NUMBER', but parts.jobs has no function NUMBER"),
])  # fmt: skip
def test_name_of_nothing_is_a_config_error(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        named(name).estimator()
    assert str(caught.value) == message
    assert caught.value.hint == "correct `estimator` in the problem package's problem.py"


@pytest.mark.parametrize("name", ["", "work", "parts.jobs.work", "parts.jobs:", ":work", "parts..jobs:work", "a:b:c"])
def test_name_of_another_form_is_refused_at_once(name: str) -> None:
    with pytest.raises(ConfigError, match="; expected: module:function"):
        named(name)


@pytest.mark.usefixtures("package")
def test_missing_import_of_a_named_module_keeps_its_traceback() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        named("parts.broken:work").estimator()


def test_error_of_a_problem_s_function_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raising").mkdir()
    (tmp_path / "raising/features.py").write_text("import polars as pl\n\ndef features(t):\n    return t.select('x')\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("raising.features")
    with pytest.raises(DataError) as caught, problem.calling("raising", "features"):
        module.features(pl.DataFrame({"y": [1]}))
    text = r"problem raising: its `features` raised ColumnNotFoundError: .*\(features.py, line 4\)"
    assert re.fullmatch(text, str(caught.value))


@pytest.mark.parametrize("error", [PermissionError(13, "no", "x"), MemoryError(), ConfigError("set it")])
def test_error_of_the_system_in_a_problem_s_function_stays(error: Exception) -> None:
    with pytest.raises(type(error)), problem.calling("raising", "features"):
        raise error


def test_problem_without_its_functions_is_refused() -> None:
    with pytest.raises(TypeError, match="'ingest', 'features', and 'estimator'"):
        problem.Problem(
            name="x", task="binary", table=None, inputs=None, target="", time="", slices=(), known_at={},  # type: ignore[arg-type]
            horizon_hours=1, sources=Path.cwd,
        )  # fmt: skip


# Who imports whom


def imports(path: Path) -> set[str]:
    """The modules that a file imports, also in functions and for types."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "slipway":
            modules |= {f"slipway.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return modules


def problem_files() -> list[Path]:
    """The modules of every package that has a `problem.py`: the project's own, and those of the tests."""
    packages = [path.parent for root in (ROOT / "src", PROBLEMS) for path in root.glob("*/problem.py")]
    return sorted(path for package in packages if package != SOURCE for path in package.rglob("*.py"))


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_the_machinery_imports_no_problem(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imports(path)} & {"flights", "bikes"}


def test_every_problem_package_is_looked_at() -> None:
    assert {path.parent.name for path in problem_files()} >= {"flights", "bikes", "dirty", "leaking"}


@pytest.mark.parametrize("path", problem_files(), ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_problem_imports_only_the_interface(path: Path) -> None:
    allowed = {"slipway.problem", "slipway.errors", "slipway.Problem", "slipway.DataError"}
    assert {name for name in imports(path) if name.partition(".")[0] == "slipway"} <= allowed


def test_public_names_are_those_of_their_modules() -> None:
    assert (slipway.Problem, slipway.DataError) == (problem.Problem, DataError)
    assert set(slipway.__all__) == {"Problem", "DataError"}
    with pytest.raises(AttributeError, match="module 'slipway' has no attribute 'Porblem'"):
        slipway.Porblem  # noqa: B018


def test_importing_slipway_loads_nothing_else() -> None:
    code = "import sys, slipway; print(*(n for n in sys.modules if n.startswith(('slipway.', 'pydantic', 'polars'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["flights", "bikes"])
def test_declaring_a_problem_loads_no_stage(name: str) -> None:
    code = (
        f"import sys, {name}.problem; print(*(n for n in ('polars', 'sklearn', '{name}.ingest') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
