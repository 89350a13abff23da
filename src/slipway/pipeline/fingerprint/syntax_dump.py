"""Dump a syntax tree as text that is equal on every supported Python.

`ast.dump` and `ast.unparse` differ between versions. Imports the standard library only, so that any Python can run it.
"""

from __future__ import annotations

import ast

NOT_SYNTAX = frozenset({"kind", "ctx", "type_comment", "type_ignores"})


def dump(node: ast.AST, *, keep_docstring: bool = False) -> str:
    """The syntax tree as text, equal on every supported Python; without positions, comments and docstrings.

    `keep_docstring` keeps the docstring of a class: Pydantic writes it into the schema of a contract.
    """
    body = getattr(node, "body", None)
    docstring = f"docstring={ast.get_docstring(node)!a}," if keep_docstring and isinstance(node, ast.ClassDef) else ""
    fields = []
    for name in node._fields:
        value = getattr(node, name, None)
        if name in NOT_SYNTAX or (value is None and not isinstance(node, ast.Constant)):
            continue
        if value is body and isinstance(value, list):
            value = [statement for statement in value if not is_text(statement)]
        elif isinstance(node, ast.JoinedStr) and isinstance(value, list):
            value = _joined(value)
        if value != []:
            fields.append(f"{name}={_dump_value(value)}")
    return f"{type(node).__name__}({docstring}{','.join(sorted(fields))})"


def _dump_value(value: object) -> str:
    if isinstance(value, ast.AST):
        return dump(value)
    if isinstance(value, list):
        return f"[{','.join(map(_dump_value, value))}]"
    return ascii(value)  # what `repr` escapes depends on the Unicode tables of a Python


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring texts as one, and without empty ones."""
    parts: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant) and parts and isinstance(parts[-1], ast.Constant):
            parts[-1] = ast.Constant(str(parts[-1].value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            parts.append(value)
    return parts


def is_text(statement: ast.AST) -> bool:
    """Return whether a statement is only a text: a docstring, also one below a constant. It has no effect when it runs."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
