"""Restore the champion, the model that production runs, and let it predict the challenger's rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from slipway import problem
from slipway.core import base_limits, config, environment, files, git, ledger, process
from slipway.core.dvc import cache_folder, share_cache
from slipway.core.text import printable
from slipway.core.verdict import Check
from slipway.errors import ConfigError, DataError, Inconclusive
from slipway.judging.other_commit import HINT, env_of, python_for_lock, run_or_unsure
from slipway.pipeline import evaluate, ingest
from slipway.reporting import wording
from slipway.serving.onnx_model import FOLDER

OUTPUTS = ("model.onnx", "contract.json")
MAX_REFUSAL = 300
"""Characters kept of a refusal, which names columns."""


@dataclass(frozen=True, kw_only=True)
class Champion:
    """Production's source commit, its model's SHA-256, and its predictions for the rows of the challenger's test window.

    `refusal` is why it could not read the challenger's table: its own `ingest` then read the sources. It is empty if it
    could.
    """

    commit: str
    model_sha256: str
    rows: pl.DataFrame
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class Restart:
    """`judge.restart_at` of a change: the champion's commit where it is in force, else a sentence on why not if it is set."""

    commit: str | None = None
    note: str = ""

    def describe(self) -> str:
        """State that it is in force; empty if it is not."""
        if not self.commit:
            return ""
        return f"not compared with production (commit {self.commit[:12]}): judge.restart_at restarts the comparison"

    def checks(self, champion: str | None) -> list[Check]:
        """A check that states it, so that the verdict shows it; none if it is not in force."""
        name, text, limit = "judge.restart_at", wording.capitalised(self.describe()), f"production's commit, {champion}"
        return [Check(name=name, value=self.commit, limit=limit, ok=self.commit == champion, text=text)] if text else []


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


def check_restart(setting: str | None, *, base: str, champion: str | None, root: Path) -> Restart:
    """Check `judge.restart_at` against the setting at `base` and the `champion`'s commit there.

    It is in force for the change that sets it, and on the base branch itself, while production runs that commit.
    ConfigError if the change sets it to anything else.
    """
    if setting is None:
        return Restart()
    judge = base_limits.params_at(base, root=root).get("judge")
    is_new = setting != (judge.get("restart_at") if isinstance(judge, dict) else None)
    if setting == champion and (is_new or base == git.commit_hash(root=root)):
        return Restart(commit=champion)
    if is_new:
        raise ConfigError(
            f"judge.restart_at is {setting}, but production runs {champion or 'nothing yet'}",
            expected=f"{champion}, its full commit hash" if champion else "no judge.restart_at",
            value=setting,
            hint="correct or remove judge.restart_at in params.yaml; slipway release log shows production's commits",
        )
    if setting == champion:
        return Restart(note=f"judge.restart_at names commit {setting[:12]}, but an earlier change set it, so it does not hold "
                            "for this one: promote that change first, or revert it")  # fmt: skip
    return Restart(note=f"judge.restart_at names commit {setting[:12]}, which production no longer runs, so it has no effect: "
                        "remove it")  # fmt: skip


def champion_predictions(revision: str, params: config.Params, *, root: Path = Path()) -> Champion:
    """Check out the champion's commit, restore its model, and let its own code predict the challenger's rows.

    The model comes from DVC's cache, else from the champion's own pipeline. The rows are those of the challenger's table,
    or, if the champion refuses that, of the table that its own `ingest` builds from the challenger's sources.
    Inconclusive when neither works: without the champion's predictions nothing can be compared.
    """
    out = environment.cache_home(root) / "champion.parquet"
    with git.worktree(revision, environment.cache_home(root) / "champion", root=root) as tree:
        python = python_for_lock(tree, root)
        env = env_of(python, tree)
        _restore_model(tree, root, python, env)
        # The windows are the challenger's: neither model has seen its test rows.
        windows = ["--until", str(params.data.until), "--test-days", str(params.data.test_days)]
        command = [str(python), "-m", "slipway", "evaluate", *windows, "--out", str(out.resolve())]
        result = process.run([*command, "--table", str((root / ingest.TABLE).resolve())], folder=tree, env=env)
        if refusal := read_refusal(result):
            failure = f"the champion (commit {revision[:12]}) cannot read this change's table ({refusal}), and its own code " \
                      "cannot read the sources"  # fmt: skip
            hint = f"{HINT}; if it can never be compared again: judge.restart_at: {revision} in params.yaml"
            run_or_unsure([*command, "--sources", str(_sources(params, failure, hint))], tree, env, failure, hint)
        elif not result.ok:
            failure = f"the champion (commit {revision[:12]}) could not predict the challenger's rows"
            raise Inconclusive(f"{failure}: {result.last_lines(3)}", hint=HINT)
        champion = Champion(
            commit=revision, model_sha256=files.sha256(tree / FOLDER / "model.onnx"), rows=ingest.read_parquet(out),
            refusal=refusal,
        )  # fmt: skip
    out.unlink()
    return champion


def read_refusal(result: process.ProcessResult) -> str:
    """The reason for which `evaluate` refused a table that does not fit its contract; empty if it ended in any other way.

    The list of the columns that the table has is left out.
    """
    words = re.search(rf"^error {re.escape(evaluate.UNREADABLE)}: (.+?)(; it has .+)?$", result.err, re.MULTILINE)
    return printable(words[1], MAX_REFUSAL) if words and result.code == DataError.code else ""


def _sources(params: config.Params, failure: str, hint: str) -> Path:
    """The folder of the challenger's sources; Inconclusive if they are not those of params.yaml."""
    try:
        return ingest.verify_sources(problem.load(params.problem), params.ingest.sources).resolve()
    except DataError as error:
        raise Inconclusive(f"{failure}: {error}", hint=hint) from None


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
