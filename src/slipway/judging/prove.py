"""`prove`: check that the committed dvc.lock and reports are what the commit's pipeline produces."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway.core import base_limits, config, dvc, environment, files, git, process
from slipway.core.dvc import LOCK
from slipway.core.strict_model import parse_yaml
from slipway.core.verdict import Check, Verdict
from slipway.errors import ConfigError, Inconclusive
from slipway.judging import lock_diff
from slipway.judging.lock_diff import PipelineState
from slipway.pipeline import checkout, evaluate, stages
from slipway.pipeline.fingerprint.code_reach import Reach
from slipway.serving.onnx_model import FOLDER, Model

VERDICT = Path("reports/prove.json")
Code = Mapping[str, Reach] | ConfigError
"""The code that each stage reaches, or the error that prevents finding it; all code counts then."""
OUTPUTS_IN_GIT = "outputs in Git"
MISSING = ("deleted", "not in cache")
"""States in `dvc status` of an output that is only missing here: they do not contradict the lock."""
RED = (
    "run `make repro` (if it changes nothing: `make repro ARGS=--force`), then commit dvc.lock, requirements and reports "
    "together with your change; docs/fix/prove.md explains each message"
)
BLIND = (
    "run `dvc pull`; or run `make repro` here and commit dvc.lock and reports; docs/fix/prove.md explains each message"
)


def split_changes(status: Iterable[Any], outputs_of_lock: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split one stage's entries in `dvc status` into its inputs and its outputs that differ from the lock.

    Outputs of the lock that are only missing here are left out. `changed command` counts as an input.
    """
    inputs: list[str] = []
    outputs: list[str] = []
    for entry in status:
        if not isinstance(entry, Mapping):
            inputs.append(str(entry))
            continue
        for kind, changes in entry.items():
            rows = [
                f"{key} {change}"
                for key, change in lock_diff.flatten(changes).items()
                if change not in MISSING or key not in outputs_of_lock
            ]
            (outputs if kind == "changed outs" else inputs).extend(rows)
    return inputs, outputs


def check_stages(
    committed: PipelineState, status: Mapping[str, Any], *, frozen: Iterable[str], outputs_of_lock: Iterable[str]
) -> list[Check]:
    """One check per stage: its command, parameters, files and outputs in Git are those of the lock."""
    checks = []
    for name in sorted({*committed.stages, *status}):
        inputs, outputs = split_changes(status.get(name, ()), outputs_of_lock)
        inputs += ["frozen in dvc.yaml, so DVC does not check it"] if name in frozen else []
        checks.append(
            lock_diff.check_no_differences(
                f"stage {name} since dvc.lock", inputs, "no change",
                passing=f"Stage {name} has not changed since dvc.lock was written.",
                failing=f"Stage {name} changed since dvc.lock was written",
            )
        )  # fmt: skip
        if outputs:
            checks.append(
                lock_diff.check_no_differences(
                    f"stage {name}, {OUTPUTS_IN_GIT}", outputs, "the output that `make repro` wrote",
                    passing=f"The outputs of stage {name} in Git have the hashes of dvc.lock.",
                    failing=f"Outputs of stage {name} in Git do not have the hashes of dvc.lock",
                )
            )  # fmt: skip
    return checks


def check_golden(model: str, answers: tuple[NDArray[Any], NDArray[Any]] | None, tolerance: float) -> Check:
    """Check the largest difference between golden answers and those of `model`; unsure without answers, NaN fails."""
    name, limit = f"golden answers of {model}", lock_diff.limit_for(tolerance)
    if answers is None or not len(answers[0]):
        text = f"The golden requests cannot be sent to {model}: it does not run, or there are no golden requests"
        return Check(name=name, value=None, limit=limit, ok=None, text=text)
    expected, actual = answers
    worst = float(np.max(np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))))
    text = f"The answers of {model} to the golden requests differ from the recorded ones by {worst:.3g} at most."
    value = worst if np.isfinite(worst) else str(worst)
    return Check(name=name, value=value, limit=limit, ok=bool(worst <= tolerance), text=text)


def _dvc(tree: Path, *args: str) -> str:
    result = process.run([sys.executable, "-m", "dvc", *args], folder=tree, env=environment.for_programs(tree))
    process.require_written(result, f"dvc {args[0]}", tree)
    if not result.ok:
        raise Inconclusive(f"`dvc {' '.join(args)}` failed: {result.last_lines(3)}")
    return result.out


def _replay(folder: Path, rows: Any, graph: Path | None = None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """The golden rows' predictions, and the model's for the same rows; None when there is no such model or no such row."""
    try:
        expected = np.array([row["prediction"] for row in rows], dtype=np.float64)
        return expected, Model(folder, graph=graph).rows([row["row"] for row in rows])
    except Exception:  # ONNX Runtime's errors share no class; any of them means that there are no answers to compare
        return None


def check_models(
    tree: Path, cache: Path, committed: PipelineState, rebuilt: PipelineState, limits: config.Prove
) -> list[Check]:
    """Check the rebuilt model against the committed golden answers, and other changed outputs by their values.

    An output that is not in DVC's cache (another processor made it) is checked by the golden answers in Git; without
    them it is unsure.
    """
    checks, places, golden = [], {}, (FOLDER / "golden.json").as_posix()
    answers = committed.in_git.get(evaluate.GOLDEN.as_posix())
    for path, md5 in lock_diff.changed_model_outputs(committed, rebuilt).items():
        places[path] = place = dvc.cached_file(cache, md5)
        shown = "in DVC's cache" if place else f"md5 {md5}, not in DVC's cache"
        instead = (
            f"its answers in {evaluate.GOLDEN} are compared" if answers else f"there is no {evaluate.GOLDEN} to compare"
        )
        text = (
            f"{path} of dvc.lock is in DVC's cache."
            if place
            else f"{path} of dvc.lock is not in DVC's cache; {instead}."
        )
        checks.append(Check(name=f"{path} of dvc.lock", value=shown, limit=f"in DVC's cache, or answers in {evaluate.GOLDEN}",
                            ok=True if place or answers else None, text=text))  # fmt: skip
        suffix = Path(path).suffix
        if place and path != golden and suffix in (".json", ".parquet"):
            wrong = lock_diff.differences(
                lock_diff.read_values(place, suffix), lock_diff.read_values(tree / path, suffix), limits.plots
            )
            checks.append(
                lock_diff.check_no_differences(
                    f"{path} against the pipeline", wrong, lock_diff.limit_for(limits.plots),
                    passing=f"{path} matches the pipeline.", failing=f"{path} differs from the pipeline",
                )
            )  # fmt: skip
    rows = lock_diff.read_values(places.get(golden) or tree / golden)
    checks.append(check_golden("the model", _replay(tree / FOLDER, rows), limits.golden))
    if graph := places.get((FOLDER / "model.onnx").as_posix()):
        checks.append(check_golden("the model in dvc.lock", _replay(tree / FOLDER, rows, graph), limits.golden))
    return checks


def _check_working_tree(root: Path, sources: set[str], committed: PipelineState, limits: config.Prove) -> Check:
    """Check that the pipeline's inputs and outputs are the same in the working tree and in the commit."""
    deps = {dep["path"] for stage in committed.stages.values() for dep in stage.get("deps", ())}
    read = {"dvc.yaml", "params.yaml", *deps, *sources}
    changed = [
        f"{name} is not committed"
        for name in git.uncommitted_files(root)
        if read & {name, *map(str, Path(name).parents)}
    ]
    outputs = lock_diff.compare(committed, lock_diff.read(root), limits, name="the working tree")
    wrong = changed + [f"{check.name}: {check.value}" for check in outputs if not check.ok]
    return lock_diff.check_no_differences(
        "working tree against the commit", wrong, "no difference",
        passing="Committed files match the working tree.", failing="The working tree differs from the commit",
    )  # fmt: skip


def _stages(tree: Path, committed: PipelineState) -> list[Check]:
    """Check each stage of the commit's checkout against its lock, and that none is frozen."""
    status = json.loads(_dvc(tree, "status", "--json"))  # raises for a broken dvc.yaml, so the next lines need not
    pipeline = tree / "dvc.yaml"
    written = parse_yaml(pipeline.read_text(encoding="utf-8"))["stages"] if pipeline.exists() else {}
    frozen = [name for name in committed.stages if written.get(name.split("@")[0], {}).get("frozen")]
    outputs = {path for name in committed.stages for path in lock_diff.output_hashes(committed, name)}
    return check_stages(committed, status, frozen=frozen, outputs_of_lock=outputs)


def _read_code(tree: Path) -> Code:
    """The code that each stage reaches; the error when that cannot be determined."""
    try:
        return stages.reaches(tree)
    except ConfigError as error:
        return error


def _check_fingerprints(tree: Path, code: Code) -> list[Check]:
    """Check that the commit's requirements/stages.yaml matches its code and locked libraries; no check without dvc.yaml."""
    if not (tree / "dvc.yaml").exists():
        return []
    try:
        if isinstance(code, ConfigError):
            raise code
        wrong = [f"stage {name} is out of date" for name in stages.stale(tree, code)]
    except ConfigError as error:
        wrong = [str(error)]
    name = stages.FINGERPRINTS.as_posix()
    return [
        lock_diff.check_no_differences(
            name, wrong, "up to date",
            passing=f"{name} matches the code and the locked libraries.",
            failing=f"{name} does not match the code and the locked libraries",
        )
    ]  # fmt: skip


def _rebuild(tree: Path, wait: Callable[[], None]) -> PipelineState:
    """Rebuild the pipeline's outputs: data stages run again, model stages come from DVC's run cache or run.

    The lock and the outputs in Git are deleted first, so that no committed output counts as its own proof.
    `wait` is called before the model stages: parallel work may be making the same model.
    """
    (tree / LOCK).unlink()
    (tree / evaluate.METRICS).unlink(missing_ok=True)
    shutil.rmtree(tree / evaluate.PLOTS, ignore_errors=True)
    _dvc(tree, "repro", "--no-run-cache", *lock_diff.DATA_STAGES)
    wait()
    _dvc(tree, "repro")
    return lock_diff.read(tree)


def checks(root: Path, tree: Path, limits: config.Prove, in_parallel: Callable[[], None]) -> list[Check]:
    """All checks of the commit checked out at `tree`; the pipeline is rebuilt only if the checks before that pass.

    `in_parallel` may change the working tree of `root`: it starts in a thread after that tree was checked.
    """
    committed = lock_diff.read(tree)
    if not committed.stages:
        return [
            lock_diff.check_no_differences(
                "dvc.lock of the commit", ["absent, or not a lock of DVC"], "a dvc.lock with stages",
                passing="The commit has a dvc.lock.", failing="The commit has no dvc.lock that can be read",
            )
        ]  # fmt: skip
    cache = dvc.cache_folder(root)
    dvc.share_cache(tree, cache)
    code = _read_code(tree)
    sources = {"src", "requirements"} if isinstance(code, ConfigError) else stages.source_files(tree, code)
    results = [_check_working_tree(root, sources, committed, limits)]
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(in_parallel)
        results += [*_stages(tree, committed), *_check_fingerprints(tree, code)]
        edited = [name for name in lock_diff.IN_GIT for check in results if name in str(check.value)]
        if not all(check.ok or check.name.endswith(OUTPUTS_IN_GIT) for check in results):
            return results
        rebuilt = _rebuild(tree, other.result)
    results += lock_diff.compare(committed, rebuilt, limits, name="the pipeline", edited=edited)
    return [*results, *check_models(tree, cache, committed, rebuilt, limits)]


def run(
    params: config.Params, *, base: str | None = None, root: Path = Path(),
    in_parallel: Callable[[], None] = lambda: None,
) -> str:  # fmt: skip
    """Prove HEAD's dvc.lock, metrics and plots → reports/prove.json; exit 4 when they differ, 5 when unsure.

    `in_parallel` is work on `root` for a second core: see `checks`.
    """
    started, root = time.monotonic(), root.resolve()
    checkout.require_plain(root)
    head, against = git.commit_hash(root=root), git.base_commit(base, root=root)
    limits = base_limits.limits_at_base(against, "prove", params.prove, root=root)
    with git.worktree(head, environment.cache_home(root) / "prove", root=root) as tree:
        lock, model = tree / LOCK, tree / FOLDER / "model.onnx"
        inputs = {"commit": head, "lock": files.sha256(lock) if lock.is_file() else None}
        try:
            results = checks(root, tree, limits, in_parallel)
        except Inconclusive as error:  # recorded too, or an older verdict would stand
            text = f"The pipeline does not run in a checkout of the commit: {error}"
            results = [
                Check(
                    name="the pipeline in a checkout of the commit",
                    value=str(error),
                    limit="a pipeline that runs",
                    ok=None,
                    text=text,
                )
            ]
        inputs["model"] = files.sha256(model) if model.is_file() else None
    verdict = Verdict(chapter="prove", checks=results, seconds=time.monotonic() - started, inputs=inputs,
                      notes={"base": against, "next": RED})  # fmt: skip
    verdict.write(root / VERDICT)
    verdict.enforce(hint=RED if verdict.word == "fail" else BLIND)
    return f"the committed results of {head[:12]} match its pipeline ({len(results)} checks)"
