"""`stages`: requirements/stages.yaml holds one fingerprint for each stage, over its code and its locked libraries.

DVC runs a stage again when its fingerprint changes. A fingerprint does not change with comments, docstrings, functions
that the stage does not reach, and libraries that it does not import.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from slipway.core import files
from slipway.core.strict_model import describe_syntax_error, parse_yaml
from slipway.errors import CheckFailed, ConfigError
from slipway.pipeline.fingerprint.code_reach import Reach
from slipway.pipeline.fingerprint.locked_libraries import LockedLibraries
from slipway.pipeline.fingerprint.source_files import Sources

FINGERPRINTS = Path("requirements/stages.yaml")
LOCK = Path("requirements/pipeline.lock")
HEADER = (
    "# One fingerprint for each stage of dvc.yaml: its code and its locked libraries. `make lock` writes this file.\n"
)
PARAMS = ("slipway.core.config", "Params")


def reach(root: Path, stage: str, problem: str, sources: Sources | None = None) -> Reach:
    """The code of a stage behind the command line: `config.load` reads params.yaml, then the stage's `run` is called."""
    entries = [("slipway.core.config", "load"), (f"slipway.pipeline.{stage}", "run")]
    return Reach(sources or Sources(root), entries, problem=problem, records=[PARAMS])


def reaches(root: Path) -> dict[str, Reach]:
    """The reach of every stage of dvc.yaml that is a command of slipway; ConfigError when a file cannot be read."""
    problem, sources = str(_read_yaml(root, Path("params.yaml")).get("problem", "")), Sources(root)
    stages = _read_yaml(root, Path("dvc.yaml")).get("stages") or {}
    commands = {name: f"slipway.pipeline.{name}" for name, stage in stages.items()
                if isinstance(stage, Mapping)
                and re.search(rf"-m slipway {re.escape(name)}\b", str(stage.get("cmd")))}  # fmt: skip
    try:
        return {name: reach(root, name, problem, sources) for name, module in commands.items() if sources.file(module)}
    except SyntaxError as error:
        path = Path(str(error.filename)).relative_to(root)
        raise ConfigError(
            f"{path}, line {error.lineno or 1}: not valid Python: {error.msg}", hint=f"edit {path}"
        ) from None


def fingerprints(root: Path, code: Mapping[str, Reach]) -> dict[str, str]:
    """The SHA-256 of every stage of the checkout at `root`, whose stages reach `code`; see `reaches`."""
    try:
        locked = LockedLibraries((root / LOCK).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{LOCK} cannot be read: {error.strerror}", hint="make lock") from None
    return {stage: _sha256([*reach.digest_lines(), *_pins(reach, locked)]) for stage, reach in code.items()}


def _pins(code: Reach, locked: LockedLibraries) -> list[str]:
    """The pins of the imported libraries; a library that is not locked is listed by its name."""
    names, unknown = set[str](), set[str]()
    modules = {module for module in code.libraries if module.partition(".")[0] not in sys.stdlib_module_names}
    for module in modules:
        providers = locked.providers(module)
        names |= providers
        unknown |= set() if providers else {f"{module.partition('.')[0]}, not locked"}
    for text in code.texts:
        names |= locked.providers(text, search=False)
    return [*locked.pins(names), *sorted(unknown)]


def _sha256(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def source_files(root: Path, code: Mapping[str, Reach] | None = None) -> set[str]:
    """The paths, relative to `root`, of the files that the fingerprints are computed from, and of requirements/stages.yaml.

    `code` is what `reaches` returned, when that is at hand.
    """
    paths = {path for reach in (code or reaches(root)).values() for path in reach.modules.values()}
    return {path.relative_to(root).as_posix() for path in paths} | {FINGERPRINTS.as_posix(), LOCK.as_posix()}


def stale(root: Path, code: Mapping[str, Reach] | None = None) -> list[str]:
    """The stages whose fingerprint in requirements/stages.yaml is not that of the code, or has no stage or no fingerprint."""
    return _changed(fingerprints(root, code or reaches(root)), root)


def _changed(current: Mapping[str, str], root: Path) -> list[str]:
    """The stages whose fingerprint in the file is not the `current` one; a file that is not YAML has none."""
    try:
        written = _read_yaml(root, FINGERPRINTS)
    except ConfigError:
        written = {}
    return [name for name in [*current, *(set(written) - set(current))] if current.get(name) != written.get(name)]


def run(*, write: bool, root: Path = Path()) -> str:
    """Check requirements/stages.yaml, or write it; CheckFailed names the stages that are stale."""
    current = fingerprints(root, reaches(root))
    names = _changed(current, root)
    if not names:
        return f"{FINGERPRINTS} is up to date"
    if not write:
        raise CheckFailed(f"{FINGERPRINTS} is out of date for {', '.join(names)}", hint="make lock")
    lines = [f"{name}: {value}\n" for name, value in current.items()]
    files.write_text(root / FINGERPRINTS, HEADER + "".join(lines))
    return f"wrote {FINGERPRINTS}; changed: {', '.join(names)}"


def _read_yaml(root: Path, path: Path) -> dict[str, Any]:
    """The mapping in a file of the checkout; empty when the file holds something else."""
    try:
        value = parse_yaml((root / path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=f"git checkout -- {path}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {describe_syntax_error(error)}", hint=f"edit {path}") from None
    return value if isinstance(value, dict) else {}
