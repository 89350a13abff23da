"""dvc.yaml is complete: a stage depends on all own code it reaches, and declares all params it reads."""

from __future__ import annotations

import ast
from functools import cache

import pytest
from ruamel.yaml import YAML

from support.paths import ROOT

STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))


class Reach:
    """What a stage's code reaches from `run`: first-party modules, and the sections of params it reads.

    A module that is imported runs its top level; a function body counts only when it is called by name.
    What `problem.load` gives is followed through the attributes that are read of it.
    """

    def __init__(self, stage: str, problem: str) -> None:
        self.problem = f"{problem}.problem"
        self.files: set[str] = set()
        self.sections: set[str] = set()
        self.read: set[str] = set()
        self.seen: set[tuple[str, str]] = set()
        self.module(f"slipway.pipeline.{stage}")
        self.name(f"slipway.pipeline.{stage}", "run")
        if "slipway.problem" in map(_module, self.files):
            self.module(self.problem)
            for field, value in _fields(self.problem).items():
                if field in self.read:
                    self.value(value)

    def module(self, name: str) -> None:
        path = _path(name)
        if path is None or path in self.files:
            return
        self.files.add(path)
        for statement in _tree(name).body:
            if not isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.If):
                self.code(name, statement)

    def name(self, module: str, name: str) -> None:
        if (module, name) in self.seen:
            return
        self.seen.add((module, name))
        for statement in _tree(module).body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
                self.code(module, statement)

    def value(self, value: ast.expr) -> None:
        if isinstance(value, ast.Name):
            self.name(self.problem, value.id)
        elif isinstance(value, ast.Constant) and isinstance(value.value, str):
            module, _, function = value.value.partition(":")  # `"module:function"`, or a module
            self.module(module)
            self.name(module, function)

    def code(self, module: str, code: ast.stmt) -> None:
        known = _imports(_tree(module)) | _imports(code)
        for target, _ in _imports(code).values():
            self.module(target)
        for node in ast.walk(code):
            if isinstance(node, ast.Name) and not _is_problem(code):
                self.name(*known.get(node.id, (module, node.id)))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                target, name = known.get(node.value.id, ("", ""))
                if node.value.id == "params":
                    self.sections.add(node.attr)
                elif target and not name:
                    self.name(target, node.attr)
                elif node.value.id != "self":
                    self.read.add(node.attr)


@cache
def _path(module: str) -> str | None:
    path = ROOT / "src" / f"{module.replace('.', '/')}.py"
    return path.relative_to(ROOT).as_posix() if path.exists() else None


def _module(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").replace("/", ".")


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    return ast.parse((ROOT / path).read_text(encoding="utf-8") if path else "")


def _imports(code: ast.AST) -> dict[str, tuple[str, str]]:
    """First-party imports by local name: (module, "") or (module, name in it); not those for types only."""
    found = {}
    nodes = code.body if isinstance(code, ast.Module) else list(ast.walk(code))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {(a.asname or a.name): (a.name, "") for a in node.names if _path(a.name)}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for a in node.names:
                whole = _path(f"{node.module}.{a.name}")
                if whole or _path(node.module):
                    found[a.asname or a.name] = (f"{node.module}.{a.name}", "") if whole else (node.module, a.name)
    return found


def _is_problem(code: ast.AST) -> bool:
    """`PROBLEM = Problem(…)` names every function of the problem; only those that are read count."""
    return isinstance(code, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "PROBLEM" for t in code.targets)


def _fields(module: str) -> dict[str, ast.expr]:
    call = next(s.value for s in _tree(module).body if _is_problem(s))  # type: ignore[attr-defined]
    return {keyword.arg: keyword.value for keyword in call.keywords}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_all_code_it_reaches(stage: str) -> None:
    assert Reach(stage, PARAMS["problem"]).files - set(STAGES[stage]["deps"]) == set()


@pytest.mark.parametrize("stage", STAGES)
def test_stage_declares_all_params_it_reads(stage: str) -> None:
    declared = {str(key).split(".")[0] for key in STAGES[stage]["params"]}
    assert Reach(stage, PARAMS["problem"]).sections - declared == set()


@pytest.mark.parametrize("stage", STAGES)
def test_declared_params_and_deps_exist(stage: str) -> None:
    for key in STAGES[stage]["params"]:
        place = PARAMS
        for part in key.split("."):
            assert part in place, f"{key} is not in params.yaml"
            place = place[part]
    assert [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/") and not (ROOT / dep).exists()] == []


def test_reach_sees_lazy_imports_and_params() -> None:
    reach, problem = Reach("ingest", PARAMS["problem"]), PARAMS["problem"]
    assert {f"src/{problem}/ingest.py", "src/slipway/pipeline/contract.py", "src/slipway/core/files.py"} <= reach.files
    assert f"src/{problem}/features.py" not in reach.files
    assert {"problem", "data", "ingest"} <= reach.sections
    assert "src/slipway/pipeline/plots.py" in Reach("evaluate", problem).files


def test_stages_write_nothing_twice() -> None:
    outs = [
        name
        for stage in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for name in _names(stage.get(kind, []))
    ]
    assert sorted(outs) == sorted(set(outs))


def _names(outs: list[str | dict[str, object]]) -> list[str]:
    return [out if isinstance(out, str) else next(iter(out)) for out in outs]
