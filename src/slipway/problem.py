"""The interface between Slipway and a problem package: one `Problem` object. `contract.reading` reads its contracts."""

from __future__ import annotations

import importlib
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar

from slipway.contract.reading import Column, Kind, check_inputs, columns, example_row, names
from slipway.errors import ConfigError, DataError, SlipwayError

if TYPE_CHECKING:  # for signatures only: a stage pays for no library that it does not use
    import polars as pl
    from pydantic import BaseModel
    from sklearn.pipeline import Pipeline

__all__ = [
    "Column", "Function", "ImportedFunction", "Kind", "Problem", "SourceFault", "calling", "columns", "example_row",
    "import_in_background", "load", "names",
]  # fmt: skip

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class SourceFault:
    """A fault in the raw data: its place, the number of rows that have it, the worst value, ingest's action."""

    source: str
    column: str
    what: str
    rows: int
    worst: float | str | None
    action: str


@dataclass(frozen=True)
class ImportedFunction:
    """A function by its name, imported when it is first called; `field` is the field of `Problem` that names it."""

    name: str
    """`module:function`, e.g. `flights.ingest:ingest`."""
    field: str

    def __post_init__(self) -> None:
        module, _, function = self.name.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), function]):
            raise ConfigError(
                f"`{self.field}` is {self.name!r}", expected="module:function", value=self.name, hint=self._hint
            )

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function. ConfigError if there is no module or function of that name."""
        module, _, function = self.name.partition(":")
        try:
            resolved = getattr(importlib.import_module(module), function, None)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module exists, and one that it imports does not
            message = f"`{self.field}` is {self.name!r}, but there is no module {error.name}"
            raise ConfigError(message, hint=self._hint) from None
        if not callable(resolved):
            message = f"`{self.field}` is {self.name!r}, but {module} has no function {function}"
            raise ConfigError(message, hint=self._hint)
        return resolved(*args, **options)

    @property
    def _hint(self) -> str:
        return f"correct `{self.field}` in the problem package's problem.py"


class Function(Generic[P, R_co]):
    """A field of `Problem` that is set to a function or to its name `module:function`, and read as a function."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, problem: object, value: Callable[P, R_co] | str) -> None:
        problem.__dict__[self._name] = ImportedFunction(value, self._name) if isinstance(value, str) else value

    def __get__(self, problem: object | None, owner: type) -> Callable[P, R_co]:
        if problem is None:
            raise AttributeError(self._name)  # tells `dataclass` that the field has no default
        function: Callable[P, R_co] = problem.__dict__[self._name]
        return function


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A prediction problem.

    `table` is the contract of the table that `ingest` returns, `inputs` that of the model's inputs, which a caller sends.
    Both tables carry `row_id` (stable, unique text) and `time` (the event's moment, UTC).
    `known_at` maps every column of the table that is not known beforehand to the column with the moment at which
    it became known; `horizon_hours` is how long before `time` a prediction is requested.
    The leak check derives its rule from these two.

    `sources`, `ingest`, `features` and `estimator` take a function, or its name as `"module:function"`: the module is
    then imported at the first call, so that a stage loads only what it uses.
    """

    name: str
    task: Literal["binary", "regression"]
    table: type[BaseModel]
    inputs: type[BaseModel]
    target: str
    time: str
    slices: tuple[str, ...]
    known_at: Mapping[str, str]
    horizon_hours: float
    sources: Function[[], Path] = Function()
    """() → the folder that holds the source files."""
    ingest: Function[[Path], tuple[pl.DataFrame, list[SourceFault]]] = Function()
    """Folder of sources → typed table with `row_id`, and the faults of the sources."""
    features: Function[[pl.DataFrame], pl.DataFrame] = Function()
    """Table → frame: `row_id`, time, target, slice columns, and the columns of `inputs`; rows with a target only."""
    estimator: Function[..., Pipeline] = Function()
    """`(name, options, *, categories, numbers, seed)` → unfitted Pipeline over those columns, categories first."""
    lookup: str | None = None
    """Module with `Question`, `write(table, path)` and `answer(path, question)`; imports the standard library only."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Names for pages: `title`, `positive`, `unit`; for the cards `purpose`, `limits`, `source`, `licence`."""


def import_in_background(module: str) -> None:
    """Start loading a slow library in a thread; a later `import` uses the loaded module, or waits for it."""
    threading.Thread(target=importlib.import_module, args=(module,), daemon=True).start()


@contextmanager
def calling(name: str, function: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise DataError in place of any error that a function of the problem `name` raises; it names error, file and line.

    Errors of the system, and those of the classes `passing`, stay as they are.
    """
    try:
        yield
    except (SlipwayError, OSError, MemoryError):
        raise
    except passing:
        raise
    except Exception as error:
        raise DataError(
            f"problem {name}: its `{function}` raised {describe_raised(error, name)}",
            hint=f"correct `{function}` in src/{name}, or the data that it reads",
        ) from error


def describe_raised(error: BaseException, package: str) -> str:
    """An error's type and first line, and the innermost line of `package` that it came from, if there is one."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    lines = [(error.filename, error.lineno)] if isinstance(error, SyntaxError) else []
    lines += [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [
        f"{Path(file).name}, line {line}"
        for file, line in lines
        if file and Path(file).parent.name == package.partition(".")[0]
    ]
    return f"{type(error).__name__}{f': {first[:300]}' if first else ''}{f' ({own[-1]})' if own else ''}"


def load(name: str) -> Problem:
    """The `PROBLEM` of the module `<name>.problem`; ConfigError if there is none, or its contract has unknown words."""
    try:
        problem: Any = importlib.import_module(f"{name}.problem").PROBLEM
    except SlipwayError:
        raise
    except Exception as error:  # the code of a problem may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name in (name, f"{name}.problem"):
            raise ConfigError(
                f"problem is {name!r} in params.yaml, but there is no package src/{name} with a module problem.py",
                hint="set `problem` to the name of a package below src, e.g. flights",
            ) from None
        if type(error).__module__.partition(".")[0] not in ("pydantic", "pydantic_core"):
            raise ConfigError(
                f"the problem package {name} cannot be imported: {describe_raised(error, name)}",
                hint=f"correct the code in src/{name}; python -c 'import {name}.problem' shows the whole traceback",
            ) from error
        raise ConfigError(
            f"Pydantic refuses a contract of the problem {name}: {error}", expected="a contract that Pydantic reads",
            hint="correct the contract; docs/reference/contract.md lists the words of a contract",
        ) from error  # fmt: skip
    if not isinstance(problem, Problem):
        raise ConfigError(
            f"PROBLEM in {name}/problem.py is of type {type(problem).__name__}", expected="slipway.problem.Problem",
            hint=f"write PROBLEM = Problem(…) in src/{name}/problem.py",
        )  # fmt: skip
    check_contracts(problem)
    return problem


def check_contracts(problem: Problem) -> None:
    """Check that every word of both contracts is one that all checks enforce; ConfigError names field and word."""
    columns(problem.table)
    check_inputs(problem.inputs)
    target = next((column for column in columns(problem.table) if column.name == problem.target), None)
    if target and target.type is bool:
        raise ConfigError(
            f"the target {problem.target} is of type bool", expected="float, with 0 and 1 as values",
            hint="write `Field(ge=0, le=1)` with the type float in the contract of the table",
        )  # fmt: skip
