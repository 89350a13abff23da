"""Names that were replaced do not come back: modules, public functions and classes, and participles for values."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

SOURCES = sorted((ROOT / "src").rglob("*.py"))
REPLACED = """
aborted admission asker band batch bump card chain claim clause distribution facts faults forge forgery front haste
invariant likeness markup meddling meters mishap objects outage overlay pace propose rest rivals scene shape ship spoil
terminal trail views waiting world
"""
MODULES = set(REPLACED.split())
"""No module of any room has one of these names, and no import gives one to a module."""
ELSEWHERE = """
application artifact canary champion change cluster comment config contract delivery deploy doctor drill environment
evaluate evidence export features files gate generator git golden image ingest judge latency ledger links load login
loop manifests metrics model openapi package page plots policy promote prove receiver reference registry release
replay report request review rollback score serve server track train verdict verify watch
"""
FLAT = MODULES | set(ELSEWHERE.split())
"""The modules of the one folder that `slipway` was; they lie in rooms now."""
PUBLIC = {
    "errors": "Refused Unsure",
    "problem": "warm Fault",
    "core.base_limits": "held before",
    "core.console": "chapter",
    "core.files": "whole",
    "core.git": "output contains clean identity",
    "core.text": "plain",
    "serving.concurrency": "Patience Together",
    "serving.local_server": "claim end",
    "serving.parquet_chunks": "Gate",
    "serving.prometheus": "Told",
    "serving.service": "Behind",
    "pipeline.drift": "distance shifts",
    "pipeline.evaluate": "judged enough",
    "pipeline.features": "blind leaks",
    "pipeline.metrics": "named",
    "loadtest.canary_replay": "both mixed unusual moments",
    "loadtest.canary_statistics": "shift order slower",
    "cluster.argocd": "hopeless told App.whole holds explained dump",
    "cluster.kubectl": "holds explained dump",
    "cluster.kustomization": "moved bump at",
    "reporting.cards": "own",
    "reporting.markdown": "prose fold",
    "reporting.report_data": "other current",
    "reporting.summary": "moved first",
    "packaging.registry": "Missing Unreachable",
    "github.api": "point revise",
    "github.client": "again leave Denied Unreachable",
    "judging.champion": "source restore bring",
    "judging.judge": "paired sliced",
    "judging.latency_client": "Line ask quiet",
    "judging.latency_services": "apart others end complete",
    "judging.latency_statistics": "usual bands",
    "judging.lock_diff": "Claim leaves named",
    "judging.other_commit": "bring",
    "delivery.evidence": "of_cluster machine status fresh require",
    "delivery.gitops_commit": "land direct proposed Done Done.said",
    "delivery.gitops_pull_request": "waiting opened said",
    "delivery.policy_rules": "forward",
    "delivery.promote": "usual maker",
    "delivery.release": "had due alike ours merged proven forward",
    "delivery.rollback": "known words tell",
    "lineage.links": "Wrong",
    "lineage.sources": "made",
    "sandbox.clone": "together took note",
    "sandbox.deploy": "door vacant free settle",
    "sandbox.loop": "alone answer places",
    "sandbox.drills.context": "spoken by_hand hasten",
}
"""By module: public names that it had, or that came into it, and that have better ones."""
PARTICIPLES = {"found", "given", "there", "said", "told"}
"""A value is named for what it is: checks, request, context, output, message."""


def name(path: Path) -> str:
    return path.relative_to(ROOT / "src").as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(code: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Line, dotted target and local name of every import."""
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}", alias.asname or alias.name


def old_imports(code: ast.AST) -> list[str]:
    """Imports of a module by the place or the name that it had."""
    wrong = []
    for line, target, local in imports(code):
        parts = target.split(".")
        flat = parts[0] == "slipway" and len(parts) == 2 and parts[1] in FLAT
        if flat or (parts[0] == "slipway" and local in MODULES):
            wrong.append(f"line {line}: {target} as {local}")
    return wrong


def defined(code: ast.Module) -> set[str]:
    """The names that a module defines: its functions, classes and values, and `Class.member`."""
    names = set()
    for statement in code.body:
        names |= set(targets(statement))
        if isinstance(statement, ast.ClassDef):
            names |= {f"{statement.name}.{member}" for part in statement.body for member in targets(part)}
    return names


def targets(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    assigned = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [node.id for node in assigned if isinstance(node, ast.Name)]


def identifiers(code: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every identifier: values, parameters, functions, classes, attributes and keywords."""
    for node in ast.walk(code):
        fields = {ast.Name: "id", ast.arg: "arg", ast.Attribute: "attr", ast.keyword: "arg", ast.alias: "asname"}
        field = fields.get(type(node), "name")
        text = getattr(node, field, None)
        if isinstance(text, str):
            yield getattr(node, "lineno", 0), text


def test_no_module_has_an_old_name() -> None:
    wrong = [name(path) for path in SOURCES if path.stem in MODULES or path.parent.name in MODULES]
    wrong += [f"slipway/{stem}.py" for stem in FLAT if (ROOT / f"src/slipway/{stem}.py").exists()]
    assert wrong == [], "a module has a name that was replaced"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_import_uses_an_old_name(path: Path) -> None:
    rooms = {folder.name for folder in (ROOT / "src/slipway").iterdir() if folder.is_dir()}
    wrong = [text for text in old_imports(tree(path)) if text.split()[2].removeprefix("slipway.") not in rooms]
    assert wrong == [], f"{name(path)} imports by a name that was replaced"


@pytest.mark.parametrize("module", PUBLIC)
def test_no_public_name_is_an_old_one(module: str) -> None:
    path = ROOT / f"src/slipway/{module.replace('.', '/')}.py"
    assert sorted(defined(tree(path)) & set(PUBLIC[module].split())) == [], (
        f"slipway.{module} has a name that was replaced"
    )


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_identifier_is_a_bare_participle(path: Path) -> None:
    wrong = [f"line {line}: {text}" for line, text in identifiers(tree(path)) if text in PARTICIPLES]
    assert wrong == [], f"{name(path)}: name a value for what it is (checks, request, context, output, message)"


@pytest.mark.parametrize(
    "text",
    [
        "found = 1", "def said(): ...", "def f(given): ...", "f(told=1)", "x.there", "[there for there in x]",
        "with f() as found: ...", "import x as found", "class told: ...", "async def f(*given): ...",
        "try: ...\nexcept E as found: ...", "match x:\n  case [found]: ...", "(found := 1)",
    ],
)  # fmt: skip
def test_a_participle_is_seen_wherever_it_stands(text: str) -> None:
    assert [word for _, word in identifiers(ast.parse(text)) if word in PARTICIPLES]


def test_old_names_are_seen() -> None:
    code = ast.parse("from slipway import forge\nimport slipway.judging.judge as band\nfrom slipway.core import git")
    assert old_imports(code) == ["line 1: slipway.forge as forge", "line 2: slipway.judging.judge as band"]
    assert defined(ast.parse("A: int = 1\nclass B:\n  c = 1\n  def d(self): ...")) == {"A", "B", "B.c", "B.d"}
