"""problem: the seam between the machinery and what a user replaces."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from slipway import problem
from slipway.errors import ConfigError
from support.callables import Cli
from support.paths import ROOT

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
    assert "problem 'trains' has no module trains.problem" in said.stderr


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("PROBLEM = 3", ConfigError, "is a int, not a Problem"),
        ("import no_such_package", ModuleNotFoundError, "no_such_package"),
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


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_the_machinery_imports_no_problem(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert not imported & {"flights", "bikes"}
