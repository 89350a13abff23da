"""`ingest --pin`: write the SHA-256 of the source files as they are now into params.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slipway import problem
from slipway.core import config, files
from slipway.errors import DataError


def run(params: config.Params, names: Sequence[str] = (), *, path: Path = Path("params.yaml")) -> str:
    """Write the SHA-256 of the source files as they are now into params.yaml; return a sentence.

    These are all files that it names, and `names`. DataError if one is not in the problem's folder of sources; then
    nothing is written.
    """
    spec = problem.load(params.problem)
    with problem.calling(spec.name, "sources"):
        folder = spec.sources()
    stated, hashes = params.ingest.sources, dict[str, str]()
    for name in dict.fromkeys([*stated, *names]):
        if not (folder / name).is_file():
            hint = f"put it there: ls {folder}"
            if name in stated:
                raise DataError(f"the source file {name}, named in params.yaml, is not in {folder}", hint=hint)
            raise DataError(f"the source file {name}, named on the command line, is not in {folder}", hint=hint)
        files.require_readable(folder / name)
        hashes[name] = files.sha256(folder / name)
    changed = {name: sha256 for name, sha256 in hashes.items() if stated.get(name) != sha256}
    if not changed:
        return f"params.yaml has the hashes of all {len(hashes)} source files already"
    config.set_values(
        path, {("ingest", "sources", name): sha256 for name, sha256 in changed.items()}, hint=f"edit {path}"
    )
    return f"pinned {', '.join(changed)} in params.yaml; next: set data.until, then `make repro`"
