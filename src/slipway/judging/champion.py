"""The champion: the model that production runs by the ledger, restored and asked about the challenger's rows."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slipway.core import config, environment, files, git, ledger
from slipway.errors import ConfigError, Unsure
from slipway.pipeline import ingest
from slipway.serving.onnx_model import FOLDER

LOCKS = ("requirements/pipeline.lock", "requirements/serve.lock")
WANTED = ("model.onnx", "contract.json")


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The source commit that production runs, its model's hash, its rows of the challenger's test window."""

    commit: str
    model_sha256: str
    rows: pl.DataFrame


def source(base: str, root: Path = Path()) -> str | None:
    """The source commit of the last production line at `base`; None when nothing was released yet."""
    line = ledger.newest(ledger.read_at("production", base, root))
    if line is None:
        return None
    try:
        return git.commit(line.commit, root=root)
    except ConfigError:
        raise ConfigError(
            f"production runs the model of commit {line.commit[:12]}, which is not in this clone",
            hint="git fetch --unshallow, or git fetch origin main",
        ) from None


def restore(revision: str, data: config.Data, *, root: Path) -> Champion:
    """Check the champion out, bring its model back, and let its own code predict the challenger's table.

    The model comes from DVC's cache, or is rebuilt by the champion's own pipeline when the cache lacks it.
    Unsure when it can neither be found nor rebuilt: a champion is never assumed.
    """
    out = environment.cache_home(root) / "champion.parquet"
    with git.worktree(revision, environment.cache_home(root) / "champion", root=root) as tree:
        python = interpreter(tree, root)
        env = environment.programs(tree, PATH=f"{python.parent}:{environment.programs(tree)['PATH']}")
        _model(tree, root, python, env)
        # The windows are the challenger's: neither model has seen its test rows.
        command = [str(python), "-m", "slipway", "evaluate", "--table", str((root / ingest.TABLE).resolve()),
                   "--until", str(data.until), "--test-days", str(data.test_days), "--out", str(out.resolve())]  # fmt: skip
        _call(command, tree, env, f"champion {revision[:12]} could not predict the challenger's rows")
        champion = Champion(
            commit=revision, model_sha256=files.sha256(tree / FOLDER / "model.onnx"), rows=ingest.read(out)
        )
    out.unlink()
    return champion


def bring(tree: Path, names: Sequence[str], *, root: Path) -> None:
    """Outputs of the pipeline into a worktree: the bytes of DVC's cache, else by its own `dvc repro export`; Unsure."""
    cache, outs = cache_folder(root), _outs(tree)
    if all(_copied(cached(cache, outs.get(name, "")), tree / name) for name in names):
        return
    python = interpreter(tree, root)
    env = environment.programs(tree, PATH=f"{python.parent}:{environment.programs(tree)['PATH']}")
    share_cache(tree, cache)
    what = f"{', '.join(names)} of {git.commit(root=tree)[:12]}: not in DVC's cache, and cannot be rebuilt"
    _call([str(python), "-m", "dvc", "repro", "-q", "export"], tree, env, what)


def _outs(tree: Path) -> dict[str, str]:
    """The hashes of dvc.lock by path; empty when it is of another form."""
    try:
        stages = YAML(typ="safe").load((tree / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
        return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs") or ()}
    except (AttributeError, KeyError, TypeError, YAMLError):
        return {}


def cached(cache: Path, md5: str) -> Path | None:
    """The bytes of a hash in DVC's cache; None when they are not there, or are others."""
    path = cache / "files" / "md5" / md5[:2] / md5[2:]
    if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", md5) or not path.is_file():
        return None
    return path if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5[:32] else None


def _copied(place: Path | None, to: Path) -> bool:
    if place is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place, to)
    return place is not None


def _model(tree: Path, root: Path, python: Path, env: dict[str, str]) -> None:
    """Models of the worktree from the shared DVC cache, else by its own `dvc repro export`."""
    if not (tree / "dvc.lock").exists():
        raise ConfigError(
            f"champion {git.commit(root=tree)[:12]}: its commit has no dvc.lock, so no model",
            hint="release a commit that has one",
        )
    dvc = [str(python), "-m", "dvc"]
    share_cache(tree, cache_folder(root))
    found = subprocess.run([*dvc, "checkout", "-q", *(str(FOLDER / name) for name in WANTED)], cwd=tree, env=env,
                           capture_output=True, check=False)  # fmt: skip
    if found.returncode or not all((tree / FOLDER / name).exists() for name in WANTED):
        _call(
            [*dvc, "repro", "-q", "export"],
            tree,
            env,
            "the champion's model is not in DVC's cache and cannot be rebuilt",
        )


def share_cache(tree: Path, cache: Path) -> None:
    """Let another checkout use `cache`; written as a file, for `dvc config` takes a second to say the same."""
    files.write_text(tree / ".dvc" / "config.local", f"[cache]\n    dir = {cache}\n")


def cache_folder(root: Path) -> Path:
    """DVC's cache: what `.dvc/config.local` says, else the one beside it."""
    local = root / ".dvc" / "config.local"
    if local.exists():
        for row in local.read_text(encoding="utf-8").splitlines():
            key, _, value = row.partition("=")
            if key.strip() == "dir":
                return (local.parent / value.strip()).resolve()
    return root / ".dvc" / "cache"


def interpreter(tree: Path, root: Path, wanted: Sequence[str] = LOCKS) -> Path:
    """This Python when the wanted locks of a worktree are this checkout's, else a cached environment of its own locks."""
    if all(_bytes(tree / lock) == _bytes(root / lock) for lock in wanted):
        return Path(sys.executable)
    name = hashlib.sha256(b"".join(_bytes(tree / lock) for lock in wanted)).hexdigest()[:16]
    home = environment.cache_home(root) / "environments" / name
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        uv = [sys.executable, "-m", "uv"]
        env = environment.programs(root)
        what = "the champion's own environment cannot be installed"
        _call([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)], root, env, what)
        locks = [part for lock in wanted for part in ("-r", str(tree / lock))]
        _call([*uv, "pip", "install", "-q", "--python", str(python), *locks], root, env, what)
        (home / "complete").touch()
    return python


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _call(command: list[str], tree: Path, env: dict[str, str], what: str) -> None:
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise Unsure(f"{what}: {' '.join(said)}", hint="see docs/operations.md, section judge")
