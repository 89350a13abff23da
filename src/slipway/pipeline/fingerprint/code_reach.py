"""Find the code that a stage runs, by the names in the source files.

A module that is imported runs its import-time statements. The body of a function or class counts when something
that is reached names it: that a class body runs on import too is taken to have no effect on others.
Code that cannot be followed by name counts as reached:

- functions and classes with decorators that may register them, and subclasses of classes that may
- every method of a class that is reached, and every name of a module that is passed on as an object
- a module or `module:name` that stands in a text, and every module of the problem when it imports by a computed name

Files that are not Python, such as templates, are not followed: what a stage reads of them belongs into its `deps`.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from slipway.pipeline.fingerprint.source_files import (
    Definition,
    Module,
    Sources,
    children,
    dotted,
    is_type_checking,
    running,
)
from slipway.pipeline.fingerprint.syntax_dump import dump

WITHOUT_EFFECT = frozenset({"cache", "cached_property", "classmethod", "contextmanager", "dataclass", "lru_cache",
                            "overload", "property", "staticmethod", "total_ordering", "wraps"})  # fmt: skip
"""Decorators that only change the function or class they stand on."""
IMPORTERS = frozenset({"import_module", "__import__", "run_module", "run_path"})
LOADERS = frozenset({"load", "loads", "Unpickler"})
PICKLES = frozenset({"joblib", "pickle", "cloudpickle", "dill"})
OF_MODULE = frozenset({"globals", "locals", "vars", "eval", "exec", "compile"})
"""Calls that may reach any name of the module they stand in."""
TARGET = re.compile(r"[A-Za-z_]\w*(\.\w+)+(:\w+(\.\w+)*)?|[A-Za-z_]\w*:\w+(\.\w+)*")


class Reach:
    """All code that is reached from `entries`, each a (module, name); LookupError when one is not defined.

    `problem` is the package whose module `<problem>.problem` is loaded by its name.
    `records` are the (module, name) of classes, or of names that a single call makes, whose fields count only when
    reached code reads an attribute of that name. `PROBLEM` of the problem is always one.
    """

    def __init__(
        self, sources: Sources, entries: Iterable[tuple[str, str]], *, problem: str,
        records: Collection[tuple[str, str]] = (),
    ) -> None:  # fmt: skip
        self._sources, self._problem = sources, problem
        self._records = {*records, (f"{problem}.problem", "PROBLEM")}
        self._waiting: list[tuple[str, str, str, ast.AST]] = []
        self._used: set[tuple[str, str]] = set()
        self._entire: set[str] = set()
        self._unread: list[tuple[str, ast.AST]] = []
        self._finds_modules = False
        self.modules: dict[str, Path] = {}
        """The file of every module that is imported."""
        self.attributes: set[str] = set()
        """Every attribute name that is read of something which is not a module."""
        self.sections: set[str] = set()
        """The attributes that are read of a variable `params`."""
        self.libraries: set[str] = set()
        """The first part of every import of something that is not first-party."""
        self.texts: set[str] = set()
        """Texts that may name a library: it can be imported or found by them."""
        self.pieces: dict[tuple[str, str], list[ast.AST]] = {}
        """The reached code by module and name; import-time statements by an empty name."""
        for module, name in entries:
            if not self._definitions(module, name):
                raise LookupError(f"{module} has no {name}")
            self._use(module, name)
        self._import(f"{problem}.problem")
        self._drain()

    def digest_lines(self) -> list[str]:
        """The reached code as lines of text, in an order that does not depend on where a function stands."""
        return [
            f"{module}:{name} {dump(node, keep_docstring=self._is_contract(module, node))}"
            for (module, name), nodes in sorted(self.pieces.items())
            for node in nodes
        ]

    def runs(self, file: Path, line: int) -> bool:
        """Return whether the function or class that begins at `line` of `file` is within the reached code."""
        modules = {module for module, path in self.modules.items() if path == file}
        nodes = [node for (module, _), nodes in self.pieces.items() if module in modules for node in nodes]
        return any(
            getattr(child, "lineno", 0) <= line <= getattr(child, "end_lineno", 0)
            for node in nodes for child in (node, *getattr(node, "decorator_list", ()))
        )  # fmt: skip

    def _is_contract(self, module: str, node: ast.AST) -> bool:
        return self._in_problem(module) and isinstance(node, ast.ClassDef) and bool(node.bases)

    def _in_problem(self, module: str) -> bool:
        return module.partition(".")[0] == self._problem

    def _add(self, module: str, name: str, node: ast.AST) -> None:
        nodes = self.pieces.setdefault((module, name), [])
        if not any(node is other for other in nodes):
            nodes.append(node)
            self._unread.append((module, node))

    def _drain(self) -> None:
        """Follow all code that was added, and add the fields of records that it reads, until nothing is new."""
        while self._unread:
            while self._unread:
                module, node = self._unread.pop()
                self._follow(self._sources.module(module), node)
            ready = [item for item in self._waiting if item[2] in self.attributes]
            self._waiting = [item for item in self._waiting if item not in ready]
            for module, name, field, value in ready:
                self._add(module, f"{name}.{field}", value)
            for module in list(self.modules) if self._finds_modules else ():
                self._use_all(module)

    def _import(self, name: str) -> None:
        """Add the import-time statements of a module and of its packages."""
        if "." in name:
            self._import(name.rpartition(".")[0])
        file = self._sources.file(name)
        if file is None or name in self.modules:
            return
        self.modules[name] = file
        module = self._sources.module(name)
        for statement in module.statements:
            if isinstance(statement, Definition):
                if self._acts_on_import(module, statement):
                    self._use(name, statement.name)
            elif not (isinstance(statement, ast.If) and is_type_checking(statement.test) and not statement.orelse):
                target = _assigned(statement)
                if (name, target) in self._records:
                    self._add_record(name, target, statement)
                else:
                    self._add(name, "", statement)

    def _acts_on_import(self, module: Module, node: Definition) -> bool:
        """Return whether a function or class may do something before any code names it, such as register itself."""
        if not all(self._is_without_effect(module, decorator) for decorator in node.decorator_list):
            return True
        if not isinstance(node, ast.ClassDef):
            defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            return any(isinstance(child, ast.Call) for default in defaults for child in ast.walk(default))
        return bool(node.keywords) or any(self._hooks(module, base) for base in node.bases)

    def _is_without_effect(self, module: Module, decorator: ast.expr) -> bool:
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        target, own = self._resolve(module.name, dotted(name), module.bindings)
        return _last(name) in WITHOUT_EFFECT and not self._definitions(target, own)

    def _hooks(self, module: Module, base: ast.expr, above: tuple[tuple[str, str], ...] = ()) -> bool:
        """Return whether a base class may act when it is subclassed; `above` are the classes that led to it."""
        module_name, name = self._resolve(module.name, dotted(base), module.bindings)
        path = (*above, (module_name, name))
        if path[-1] in above:
            return False
        for node in self._definitions(module_name, name):
            if isinstance(node, ast.ClassDef):
                own = {child.name for child in node.body if isinstance(child, ast.FunctionDef)}
                home = self._sources.module(module_name)
                if (
                    node.keywords
                    or "__init_subclass__" in own
                    or any(self._hooks(home, each, path) for each in node.bases)
                ):
                    return True
        return False

    def _definitions(self, module: str, name: str) -> list[Definition]:
        return self._sources.module(module).definitions.get(name, []) if self._sources.file(module) else []

    def _resolve(self, module: str, chain: list[str], bindings: dict[str, tuple[str, str]]) -> tuple[str, str]:
        """The (module, name) that a dotted chain stands for; a chain that ends at a module has no name."""
        if not chain:
            return "", ""
        target, name = bindings.get(chain[0], (module, chain[0]))
        for part in chain[1:]:
            if name:
                break
            target, name = (f"{target}.{part}", "") if self._sources.exists(f"{target}.{part}") else (target, part)
        return target, name

    def _use(self, module: str, name: str) -> None:
        """Add what `name` of `module` stands for: a function, a class, something imported, or a submodule."""
        if (module, name) in self._used or not self._sources.file(module):
            return
        self._used.add((module, name))
        self._import(module)
        source = self._sources.module(module)
        if definitions := source.definitions.get(name):
            for node in definitions:
                if (module, name) in self._records:
                    self._add_record(module, name, node)
                else:
                    self._add(module, name, node)
        elif name in source.bindings:
            target, other = source.bindings[name]
            self._use(target, other) if other else self._use_all(target)
        elif self._sources.file(f"{module}.{name}"):
            self._use_all(f"{module}.{name}")
        else:
            for node in source.definitions.get("__getattr__", []):
                self._add(module, "__getattr__", node)
        for item in [item for item in self._waiting if item[:2] == (module, name) and name == "PROBLEM"]:
            self._waiting.remove(item)  # code that names the problem itself may read every field
            self._add(module, f"{name}.{item[2]}", item[3])

    def _use_all(self, module: str) -> None:
        """Add every name of `module`."""
        if module in self._entire or not self._sources.file(module):
            return
        self._entire.add(module)
        self._import(module)
        source = self._sources.module(module)
        for name in (*source.definitions, *(_assigned(statement) for statement in source.statements)):
            if name:
                self._use(module, name)

    def _add_record(self, module: str, name: str, node: ast.AST) -> None:
        """Add the code of a record without its fields, which wait until an attribute of their name is read."""
        rest = copy.copy(node)
        if isinstance(rest, ast.ClassDef):
            fields = [(child.target.id, child) for child in rest.body
                      if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name)]  # fmt: skip
            rest.body = [child for child in rest.body if not isinstance(child, ast.AnnAssign)]
        elif isinstance(rest, ast.Assign | ast.AnnAssign) and isinstance(rest.value, ast.Call):
            call = copy.copy(rest.value)
            fields = [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg]  # type: ignore[misc]
            call.keywords = [keyword for keyword in call.keywords if not keyword.arg]
            rest.value = call
        else:
            fields = []
        for field, value in fields:
            self._waiting.append((module, name, field, value))
        self._add(module, "" if isinstance(node, ast.Assign | ast.AnnAssign) else name, rest)

    def _follow(self, module: Module, node: ast.AST) -> None:
        self._visit(module, node, module.bindings | module.imports(node))
        # A variable may have the name of an imported module; what is read of it counts as read of both.
        variables = {child.arg for child in ast.walk(node) if isinstance(child, ast.arg)}
        variables |= {c.id for c in ast.walk(node) if isinstance(c, ast.Name) and isinstance(c.ctx, ast.Store)}
        for child in ast.walk(node):
            if isinstance(child, ast.Attribute) and (chain := dotted(child)) and chain[0] in variables:
                self._read(child)

    def _visit(self, module: Module, node: ast.AST, bindings: dict[str, tuple[str, str]]) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._visit_import(module, node)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self._text(node.value)
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                return
            target, name = self._resolve(module.name, [node.id], bindings)
            self._use(target, name) if name else self._use_all(target)
        elif isinstance(node, ast.Attribute) and (chain := dotted(node)) and bindings.get(chain[0], ("", "-"))[1] == "":
            self._visit_chain(module, chain, bindings)
        else:
            if isinstance(node, ast.Attribute):
                self._read(node)
            elif isinstance(node, ast.Call):
                self._call(module, node)
            for child in children(node):
                self._visit(module, child, bindings)

    def _visit_chain(self, module: Module, chain: list[str], bindings: dict[str, tuple[str, str]]) -> None:
        """Follow `module.name` or `package.module.name.attribute`."""
        target, name = self._resolve(module.name, chain, bindings)
        self._use(target, name) if name else self._use_all(target)
        depth = chain.index(name) if name else len(chain)
        self.attributes.update(chain[depth + 1 :])

    def _read(self, node: ast.Attribute) -> None:
        """Record an attribute that is read of something which is not a module."""
        self.attributes.add(node.attr)
        if isinstance(node.value, ast.Name) and node.value.id == "params":
            self.sections.add(node.attr)
        if node.attr == "__subclasses__" or dotted(node) == ["sys", "modules"]:
            self._finds_modules = True

    def _visit_import(self, module: Module, node: ast.Import | ast.ImportFrom) -> None:
        base = module.imported_from(node) if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            for name in (base, f"{base}.{alias.name}") if base else (alias.name,):
                if self._sources.exists(name.partition(".")[0]):
                    self._import(name)
                else:
                    self.libraries.add(name)
            if alias.name == "*":
                self._use_all(base)

    def _call(self, module: Module, node: ast.Call) -> None:
        """Follow calls that may reach code without naming it."""
        function = _last(node.func)
        argument = node.args[0] if node.args else None
        constant = isinstance(argument, ast.Constant) and not str(argument.value).startswith(".")
        if function in IMPORTERS and not constant and self._in_problem(module.name):
            for name in self._sources.below(self._problem):
                self._use_all(name)
        if function in OF_MODULE and isinstance(node.func, ast.Name):
            self._use_all(module.name)
        if function in LOADERS and dotted(node.func)[:1] and dotted(node.func)[0] in PICKLES:
            self.attributes.add("estimator")  # what it unpickles refers to the code of the estimator by name

    def _text(self, text: str) -> None:
        """Follow a text that is a first-party module or `module:name`; record others, which may name a library."""
        if not TARGET.fullmatch(text):
            if text.isidentifier():
                self.texts.add(text)
            return
        module, _, name = text.partition(":")
        if not self._sources.file(module):
            self.texts.add(module)
        elif name:
            self._use(module, name.partition(".")[0])
        else:
            self._use_all(module)


def _assigned(statement: ast.AST) -> str:
    """The name that a statement assigns, when it is one."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return getattr(statement.targets[0], "id", "")
    return getattr(statement.target, "id", "") if isinstance(statement, ast.AnnAssign) else ""


def _last(node: ast.expr) -> str:
    """The last name of a decorator or of a function that is called: `lru_cache` of `functools.lru_cache(maxsize=1)`."""
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def imported_modules(root: Path, entry: str) -> set[Path]:
    """The first-party files that importing `entry` may load, wherever the imports stand, with their packages.

    Imports that only a type checker reads do not count. Paths are absolute when `root` is.
    """
    sources, files, waiting = Sources(root), dict[str, Path](), [entry]
    while waiting:
        name = waiting.pop()
        if name in files or not (file := sources.file(name)):
            continue
        files[name] = file
        module = sources.module(name)
        waiting += [name.rpartition(".")[0]]
        for node in running(module.tree):
            if isinstance(node, ast.ImportFrom):
                base = module.imported_from(node)
                waiting += [base, *(f"{base}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
    return set(files.values())
