"""Find every gate in the source, and put a switch at each of them.

A switch is off until SLIPWAY_MUTANT names it; then the place lets everything through. While SLIPWAY_REACHED names
a folder, a test in which a switch would have changed something is noted there: only such a test can notice a mutant.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NOT_GATES = {"ConfigError"}
"""A wrong setting is no verdict: nothing was looked at yet. What is derived from it has a name, and is one."""
MADE = {"Check", "Link"}
"""Classes of results that hold or do not."""
EXCUSE = re.compile(r"# no gate: (.*)")
OPENED = "lambda given: 0 if given else given"
"""An exit code."""
SWITCH = '''
def _switch(name, given, opened):
    """`given`; what lets everything through when this mutant is asked for."""
    import os
    folder, asked = os.environ.get("SLIPWAY_REACHED"), os.environ.get("SLIPWAY_MUTANT")
    if folder is None and asked != name:
        return given
    other = opened(given)
    if folder and other is not given:
        with open(os.path.join(folder, str(os.getpid())), "a", encoding="utf-8") as notes:
            notes.write(name + "\\t" + os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0] + "\\n")
    return other if asked == name else given

def _yes(made):
    """Checks and links that all hold; whatever else stands beside them stays. What is wrong is out of reach instead."""
    import dataclasses, sys
    if type(made) in (list, tuple):
        held = [_yes(item) for item in made]
        return made if all(a is b for a, b in zip(held, made)) else type(made)(held)
    kind = type(made).__name__
    if kind == "Check" and made.ok is not True:
        return dataclasses.replace(made, ok=True)
    if kind == "Link" and made.word == "broken":
        return dataclasses.replace(made, word="ok")
    if kind == "Invalid":
        return sys.modules[type(made).__module__].Absent(*vars(made).values())
    return made

class _Deaf:
    """In place of a verdict that is not to be enforced."""
    def enforce(self, **_):
        return None

def _deaf(verdict):
    return verdict if getattr(verdict, "word", None) == "pass" else _Deaf()

class _Late:
    """A class attribute behind a switch."""
    def __init__(self, name, value):
        self.name, self.value = name, value
    def __get__(self, *_):
        return _switch(self.name, self.value, lambda given: 0)
'''


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One gate that can be opened: `name` is file:line:column, `gate` the function, `what` the line's own words."""

    name: str
    file: str
    line: int
    kind: str
    gate: str
    what: str
    excuse: str


@dataclass(frozen=True)
class Names:
    """Helpers that make checks, by dotted module; and the names of everything that is raised as a refusal."""

    checks: Mapping[str, set[str]]
    refusals: set[str]


def dotted(file: str) -> str:
    """The module of a source file: src/slipway/judging/judge.py is slipway.judging.judge."""
    return ".".join(Path(file).with_suffix("").parts).removeprefix("src.")


def names(trees: Sequence[tuple[str, ast.Module]]) -> Names:
    """Read from annotations and base classes: `-> Check`, `-> list[Link]`, `class CheckFailed(SlipwayError)`.

    What only chooses among links (`-> Link | None`) makes none, nor does what makes those that are not broken.
    """
    checks: dict[str, set[str]] = {}
    refusals = {"SlipwayError", *NOT_GATES}
    classes = [node for _, tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in classes:  # until no class is added any more
        refusals |= {c.name for c in classes if {ast.unparse(b) for b in c.bases} & refusals}
    refusals = refusals - {"SlipwayError", *NOT_GATES} | {"BadRequest"}
    for module, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.returns is not None:
                told = set(re.findall(r"\w+", ast.unparse(node.returns)))
                if told & MADE and "None" not in told and not _harmless(node):
                    checks.setdefault(module, set()).add(node.name)
                if told & refusals:
                    refusals |= {node.name}
    return Names(checks, refusals)


def _harmless(node: ast.FunctionDef) -> bool:
    """A helper for links that hold, or are out of reach."""
    words = {k.value.value for k in ast.walk(node) if isinstance(k, ast.keyword) and k.arg == "word"
             and isinstance(k.value, ast.Constant)}  # fmt: skip
    return bool(words) and words <= {"ok", "absent"}


class Instrument(ast.NodeTransformer):
    """Put the switches into one module, and lists them in `found`.

    `imported` maps each imported name to its dotted module or object, so that two modules of one name in two rooms are
    told apart.
    """

    def __init__(self, file: str, source: str, known: Names) -> None:
        self.file, self.lines, self.known = file, source.splitlines(), known
        self.module = dotted(file)
        self.found: list[Mutant] = []
        self.imported: dict[str, str] = {}
        self.path: list[ast.AST] = []

    def visit(self, node: ast.AST) -> ast.AST:
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if inside:
            self.path.append(node)
        made: ast.AST = super().visit(node)
        if inside:
            self.path.pop()
        return made

    def _mutant(self, node: ast.stmt | ast.expr, kind: str, what: str) -> ast.Constant:
        name = f"{self.file}:{node.lineno}:{node.col_offset}"
        rows = "\n".join(self.lines[node.lineno - 1 : node.end_lineno])
        excuse = EXCUSE.search(rows)
        inner = [each.name for each in self.path]  # type: ignore[attr-defined]
        gate = ".".join([self.module.removeprefix("slipway."), *inner])
        self.found.append(
            Mutant(
                name=name,
                file=self.file,
                line=node.lineno,
                kind=kind,
                gate=gate,
                what=what,
                excuse=excuse[1] if excuse else "",
            )
        )
        return ast.Constant(name)

    def _switched(self, name: ast.Constant, given: ast.expr, opened: str) -> ast.expr:
        return ast.Call(ast.Name("_switch"), [name, given, ast.parse(opened, mode="eval").body], [])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        self.imported |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        self.imported |= {each.asname or each.name: each.name for each in node.names}
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        told = ast.unparse(node.func)
        self.generic_visit(node)
        if told == "Check":
            name = next(ast.unparse(k.value) for k in node.keywords if k.arg == "name")
            return self._switched(self._mutant(node, "check", name), node, "_yes")
        if told == "Invalid":
            return self._switched(self._mutant(node, "wrong", ast.unparse(node.args[0])), node, "_yes")
        if self._makes_checks(node.func):
            return self._switched(self._mutant(node, "checks", ast.unparse(node.func)), node, "_yes")
        if told.startswith("pa.Check"):
            return self._switched(self._mutant(node, "rule", told), node, "lambda _: pa.Check(lambda data: True)")
        if told == "pa.Column":
            return self._column(node)
        if told == "sys.exit" and node.args:
            return self._exit(node)
        if told.endswith(".enforce") and isinstance(node.func, ast.Attribute):
            held = self._switched(self._mutant(node, "enforce", told), node.func.value, "_deaf")
            return ast.Call(ast.Attribute(held, "enforce"), node.args, node.keywords)
        return node

    def _makes_checks(self, func: ast.expr) -> bool:
        if isinstance(func, ast.Name):
            module, _, name = self.imported.get(func.id, f"{self.module}.{func.id}").rpartition(".")
        elif isinstance(func, ast.Attribute):
            module, name = self.imported.get(ast.unparse(func.value), ""), func.attr
        else:
            return False
        return name in self.known.checks.get(module, ())

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        self.generic_visit(node)
        if node.arg == "word" and isinstance(node.value, ast.Constant) and node.value.value in ("fail", "unsure"):
            node.value = self._word(node.value)
        return node

    def _column(self, node: ast.Call) -> ast.AST:
        """A column of the vectorised check may always be missing."""
        for keyword in node.keywords:
            if keyword.arg == "nullable":
                name = self._mutant(keyword.value, "rule", "pa.Column nullable")
                keyword.value = self._switched(name, keyword.value, "lambda _: True")
        return node

    def _exit(self, node: ast.Call) -> ast.AST:
        code = node.args[0]
        if not (isinstance(code, ast.Constant) and code.value in (0, 130)):
            name = self._mutant(node, "exit", ast.unparse(node))
            node.args = [self._switched(name, code, OPENED)]
        return node

    def _word(self, value: ast.Constant) -> ast.expr:
        return self._switched(self._mutant(value, "word", str(value.value)), value, "lambda _: 'pass'")

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Constant) and node.value.value in ("fail", "unsure"):
            node.value = self._word(node.value)
        if self._ends(node.value):
            name = self._mutant(node, "exit", ast.unparse(node))
            node.value = self._switched(name, node.value, OPENED)  # type: ignore[arg-type]
        return node

    def _ends(self, value: ast.expr | None) -> bool:
        """In a `main`: the code of an error, or of a verdict's word."""
        inside = self.path[-1] if self.path else None
        told = re.match(r"\w+\.code$|CODES\[", ast.unparse(value)) if value else None
        return isinstance(inside, ast.FunctionDef) and inside.name == "main" and told is not None

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        inside = self.path[-1] if self.path else None
        code = self.module == "slipway.errors" and ast.unparse(node.targets[0]) == "code"
        if code and isinstance(inside, ast.ClassDef) and inside.name in self.known.refusals:
            node.value = ast.Call(
                ast.Name("_Late"), [self._mutant(node.value, "exit", ast.unparse(node)), node.value], []
            )
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        self.generic_visit(node)
        told = ast.unparse(node.exc.func) if isinstance(node.exc, ast.Call) else ""
        if isinstance(node.exc, ast.Call) and told == "SystemExit":
            node.exc = self._exit(node.exc)  # type: ignore[assignment]
            return node
        if not self._refuses(node.exc):
            return node
        given = node.exc.args if isinstance(node.exc, ast.Call) else []
        what = " ".join(ast.unparse(given[0] if given else node.exc).split())  # type: ignore[arg-type]
        switch = self._switched(self._mutant(node, "raise", what), ast.Constant(True), "lambda _: False")
        return ast.If(switch, [node], [])

    def _refuses(self, raised: ast.expr | None) -> bool:
        """One of the refusals, by name or by a variable; a validator's ValueError; whatever is computed."""
        if not isinstance(raised, ast.Call):
            return isinstance(raised, ast.Name | ast.Attribute) and not hasattr(builtins, ast.unparse(raised))
        told = ast.unparse(raised.func).rpartition(".")[2]
        if told == "ValueError":
            return self.module != "slipway.core.config"
        assigned = [
            n for n in ast.walk(self.path[-1]) if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == told
        ]
        words = {word for n in assigned for word in re.findall(r"\w+", ast.unparse(n.value))}
        return told in self.known.refusals or isinstance(raised.func, ast.Call) or bool(words & self.known.refusals)


def switched(files: Mapping[str, str]) -> tuple[dict[str, str], list[Mutant]]:
    """Sources by file name → the same sources with a switch at every place that can say no, and those places."""
    trees = {file: ast.parse(text) for file, text in files.items()}
    known = names([(dotted(file), tree) for file, tree in trees.items()])
    made, found = {}, []
    for file, tree in trees.items():
        instrument = Instrument(file, files[file], known)
        changed = ast.fix_missing_locations(instrument.visit(tree))
        if instrument.found:
            made[file] = _with_switch(ast.unparse(changed))
            compile(made[file], file, "exec")
            found += instrument.found
    return made, found


def _with_switch(source: str) -> str:
    """The helpers below the docstring and the `__future__` imports."""
    tree = ast.parse(source)
    first: Iterable[ast.stmt] = (
        node
        for node in tree.body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    )
    start = next(iter(first)).lineno - 1
    lines = source.splitlines()
    return "\n".join([*lines[:start], SWITCH, *lines[start:]]) + "\n"


def opened_make(text: str) -> dict[Mutant, str]:
    """The Makefile, each time with one `exit 1`, or one word that `make ok` wants, letting everything through.

    By the house's codes an `exit 2` is a wrong setting, and no gate.
    """
    found, rows, target = {}, text.splitlines(), ""
    for line, row in enumerate(rows, start=1):
        if head := re.match(r"([a-z-]+):", row):
            target = head[1]
        wanted = r"\bexit 1\b" + (r"|\b\w+=(?:success|skipped|true|false)\b" if target == "ok" else "")
        for match in re.finditer(wanted, row) if row.startswith("\t") else ():
            exits = match[0] == "exit 1"
            changed = row[: match.start()] + ("exit 0" if exits else '"*"') + row[match.end() :]
            mutant = Mutant(name=f"Makefile:{line}:{match.start()}", file="Makefile", line=line,
                            kind="exit" if exits else "word", gate=f"make {target}", what=match[0], excuse="")  # fmt: skip
            found[mutant] = "\n".join([*rows[: line - 1], changed, *rows[line:]]) + "\n"
    return found
