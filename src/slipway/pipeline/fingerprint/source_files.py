"""Read the modules below `src` of a checkout, and the names that their imports bind, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from slipway.pipeline.fingerprint.syntax_dump import is_text

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Sources:
    """The modules below `src` of a checkout, each read once. SyntaxError when a file is not Python."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "src"
        self._files: dict[str, Path | None] = {}
        self._modules: dict[str, Module] = {}

    def file(self, name: str) -> Path | None:
        """The file of a module or package by its dotted name; None when it is not below `src`."""
        if name not in self._files:
            path = self.folder.joinpath(*name.split("."))
            candidates = (path.with_name(f"{path.name}.py"), path / "__init__.py")
            self._files[name] = next((file for file in candidates if file.is_file()), None)
        return self._files[name]

    def exists(self, name: str) -> bool:
        """Return whether a module or package, or a folder that Python treats as a package, has this name."""
        return self.file(name) is not None or self.folder.joinpath(*name.split(".")).is_dir()

    def module(self, name: str) -> Module:
        """The module of a dotted name for which `file` is not None."""
        if name not in self._modules:
            file = self.file(name)
            if file is None:
                raise LookupError(name)
            self._modules[name] = Module(name, file, self)
        return self._modules[name]

    def below(self, package: str) -> list[str]:
        """The names of all modules of a package, itself first."""
        folder = self.folder / package
        parts = (file.relative_to(self.folder).with_suffix("").parts for file in sorted(folder.rglob("*.py")))
        return sorted({".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts})


class Module:
    """One source file: its statements, and the targets of the names that its imports bind."""

    def __init__(self, name: str, file: Path, sources: Sources) -> None:
        self.name, self.file, self._sources = name, file, sources
        try:
            self.tree = ast.parse(file.read_bytes(), filename=str(file))
        except SyntaxError as error:
            error.filename = error.filename or str(file)  # Python leaves it out for a file with zero bytes
            raise

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """The statements that may run when the module is imported or used, in order."""
        return [statement for statement in self.tree.body if not is_text(statement)]

    @cached_property
    def definitions(self) -> dict[str, list[Definition]]:
        """The functions and classes of the module by name; a name that is defined twice has both."""
        named: dict[str, list[Definition]] = {}
        for statement in self.statements:
            if isinstance(statement, Definition):
                named.setdefault(statement.name, []).append(statement)
        return named

    @cached_property
    def bindings(self) -> dict[str, tuple[str, str]]:
        """The targets of the module's imports, by local name; see `imports`."""
        top = [statement for statement in self.statements if not isinstance(statement, Definition)]
        return {key: target for statement in top for key, target in self.imports(statement).items()}

    def imports(self, node: ast.AST) -> dict[str, tuple[str, str]]:
        """First-party imports in `node` by local name: (module, "") or (module, name in it)."""
        bindings = {}
        for child in running(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    module = alias.name if alias.asname else alias.name.partition(".")[0]
                    if self._sources.exists(module):
                        bindings[alias.asname or module] = (module, "")
            elif isinstance(child, ast.ImportFrom):
                module = self.imported_from(child)
                for alias in child.names:
                    below = f"{module}.{alias.name}"
                    if self._sources.exists(below) and alias.name not in self._defined(module):
                        bindings[alias.asname or alias.name] = (below, "")
                    elif self._sources.file(module):
                        bindings[alias.asname or alias.name] = (module, alias.name)
        return bindings

    def _defined(self, module: str) -> Collection[str]:
        if module == self.name or not self._sources.file(module):
            return ()
        return self._sources.module(module).definitions

    def imported_from(self, node: ast.ImportFrom) -> str:
        """The absolute name of the module in `from MODULE import …`."""
        if not node.level:
            return node.module or ""
        package = self.name.split(".")
        package = package if self.file.name == "__init__.py" else package[:-1]
        package = package[: len(package) - (node.level - 1)]
        return ".".join([*package, *([node.module] if node.module else [])])


def running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of `node` but those that only a type checker reads."""
    yield node
    for child in children(node):
        yield from running(child)


def children(node: ast.AST) -> Iterable[ast.AST]:
    """The nodes right below `node`; of `if TYPE_CHECKING` only the `else`."""
    if isinstance(node, ast.If) and is_type_checking(node.test):
        return node.orelse
    return ast.iter_child_nodes(node)


def is_type_checking(test: ast.expr) -> bool:
    """Return whether a condition is true for a type checker alone."""
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def dotted(node: ast.expr) -> list[str]:
    """The names of a chain `a.b.c`; empty when it does not begin with a name."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []
