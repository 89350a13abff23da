"""Restore the champion, the model that production runs, and let it predict the challenger's rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from slipway.core import config, environment, files, git, ledger, process
from slipway.core.dvc import cache_folder, share_cache
from slipway.errors import ConfigError
from slipway.judging.other_commit import env_of, python_for_lock, run_or_unsure
from slipway.pipeline import ingest
from slipway.serving.onnx_model import FOLDER

OUTPUTS = ("model.onnx", "contract.json")


@dataclass(frozen=True, kw_only=True)
class Champion:
    """Production's source commit, its model's SHA-256, and its predictions for the rows of the challenger's test window."""

    commit: str
    model_sha256: str
    rows: pl.DataFrame


def production_commit(base: str, root: Path = Path()) -> str | None:
    """The source commit of production's last ledger line at `base`; None before the first release.

    ConfigError when this clone does not have the commit.
    """
    line = ledger.newest_line(ledger.read_at("production", base, root))
    if line is None:
        return None
    try:
        return git.commit_hash(line.commit, root=root)
    except ConfigError:
        raise ConfigError(
            f"production runs the model of commit {line.commit[:12]}, which is not in this clone",
            hint="git fetch --unshallow, or git fetch origin main",
        ) from None


def champion_predictions(revision: str, data: config.Data, *, root: Path) -> Champion:
    """Check out the champion's commit, restore its model, and let its own code predict the challenger's table.

    The model comes from DVC's cache, else from the champion's own pipeline. Inconclusive when neither has it: without
    the champion's predictions nothing can be compared.
    """
    out = environment.cache_home(root) / "champion.parquet"
    with git.worktree(revision, environment.cache_home(root) / "champion", root=root) as tree:
        python = python_for_lock(tree, root)
        env = env_of(python, tree)
        _restore_model(tree, root, python, env)
        # The windows are the challenger's: neither model has seen its test rows.
        command = [str(python), "-m", "slipway", "evaluate", "--table", str((root / ingest.TABLE).resolve()),
                   "--until", str(data.until), "--test-days", str(data.test_days), "--out", str(out.resolve())]  # fmt: skip
        run_or_unsure(
            command, tree, env, f"the champion (commit {revision[:12]}) could not predict the challenger's rows"
        )
        champion = Champion(
            commit=revision, model_sha256=files.sha256(tree / FOLDER / "model.onnx"), rows=ingest.read_parquet(out)
        )
    out.unlink()
    return champion


def _restore_model(tree: Path, root: Path, python: Path, env: dict[str, str]) -> None:
    """Restore the worktree's model from the shared DVC cache, else by its own `dvc repro export`."""
    if not (tree / "dvc.lock").exists():
        raise ConfigError(
            f"the champion's commit {git.commit_hash(root=tree)[:12]} has no dvc.lock, so its model cannot be restored",
            hint="release a commit that has a dvc.lock",
        )
    dvc = [str(python), "-m", "dvc"]
    share_cache(tree, cache_folder(root))
    checkout = [*dvc, "checkout", *(str(FOLDER / name) for name in OUTPUTS)]
    if not process.run(checkout, folder=tree, env=env).ok or not all(
        (tree / FOLDER / name).exists() for name in OUTPUTS
    ):
        run_or_unsure(
            [*dvc, "repro", "export"],
            tree,
            env,
            "the champion's model is not in DVC's cache and cannot be rebuilt",
        )
