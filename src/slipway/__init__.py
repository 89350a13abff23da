"""Slipway carries a model from pull request to production; a problem package needs `Problem` and `DataError` from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["DataError", "Problem"]

if TYPE_CHECKING:
    from slipway.errors import DataError
    from slipway.problem import Problem
else:

    def __getattr__(name: str) -> object:
        """Import a public name at its first use: the service imports this package, and its bento has no `problem.py`."""
        import importlib

        modules = {"DataError": "errors", "Problem": "problem"}
        if name not in modules:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{modules[name]}"), name)
