"""`prove`: a committed dvc.lock is a claim. Is it what this commit's pipeline gives?"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from slipway.core import base_limits, config, dvc, environment, files, git
from slipway.core.dvc import LOCK
from slipway.core.verdict import Check, Verdict
from slipway.errors import ConfigError, Inconclusive
from slipway.judging import lock_diff
from slipway.judging.lock_diff import PipelineState
from slipway.pipeline import evaluate, stages
from slipway.serving.onnx_model import FOLDER, Model

VERDICT = Path("reports/prove.json")
IN_GIT = "outputs in Git"
AWAY = ("deleted", "not in cache")
"""What `dvc status` says of outputs that are not here: nothing about the lock."""
RED = "run `make repro` (ARGS=--force when it changes nothing), git add dvc.lock requirements reports, commit with code and params"
BLIND = "`dvc pull` brings what dvc.lock names; or run `make repro` here, and commit dvc.lock and reports"


def stale(said: Iterable[Any], made: Iterable[str]) -> tuple[list[str], list[str]]:
    """What `dvc status` says of one stage → its inputs and its outputs that differ from the lock.

    What is `made` and merely absent is neither; `changed command` is an input.
    """
    inputs: list[str] = []
    outputs: list[str] = []
    for entry in said:
        if not isinstance(entry, Mapping):
            inputs.append(str(entry))
            continue
        for kind, changes in entry.items():
            rows = [
                f"{key} {what}"
                for key, what in lock_diff.flatten(changes).items()
                if what not in AWAY or key not in made
            ]
            (outputs if kind == "changed outs" else inputs).extend(rows)
    return inputs, outputs


def current(
    claimed: PipelineState, status: Mapping[str, Any], *, frozen: Iterable[str], made: Iterable[str]
) -> list[Check]:
    """A check a stage: its command, parameters and files, and the outputs in Git, are those of its lock."""
    checks = []
    for name in sorted({*claimed.stages, *status}):
        inputs, outputs = stale(status.get(name, ()), made)
        inputs += ["frozen, so DVC does not look"] if name in frozen else []
        checks.append(
            lock_diff.check_no_differences(
                f"stage {name} since dvc.lock", inputs, "nothing changed; else `make repro`, commit"
            )
        )
        if outputs:
            limit = "as `make repro` wrote it, by its md5 in dvc.lock; `make repro`, commit"
            checks.append(lock_diff.check_no_differences(f"stage {name}, {IN_GIT}", outputs, limit))
    return checks


def golden(name: str, answers: tuple[NDArray[Any], NDArray[Any]] | None, tolerance: float) -> Check:
    """The largest difference between golden answers and the model's; None when there are none, NaN fails."""
    limit = f"off by ≤ {tolerance:g}; `make repro`, commit"
    if answers is None or not len(answers[0]):
        return Check(name=name, value=None, limit=limit, ok=None)
    wanted, found = answers
    worst = float(np.max(np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))))
    return Check(name=name, value=worst if np.isfinite(worst) else str(worst), limit=limit, ok=bool(worst <= tolerance))


def _dvc(tree: Path, *args: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *args], cwd=tree, env=environment.for_programs(tree),
                          capture_output=True, text=True, encoding="utf-8", check=False)  # fmt: skip
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise Inconclusive(f"`dvc {' '.join(args)}` fails: {said}")
    return done.stdout


def _replay(folder: Path, rows: Any, graph: Path | None = None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    try:
        wanted = np.array([row["prediction"] for row in rows], dtype=np.float64)
        return wanted, Model(folder, graph=graph).rows([row["row"] for row in rows])
    except Exception:  # ONNX Runtime's errors share no class; whatever it is, there are no answers to judge
        return None


def models(tree: Path, cache: Path, claimed: PipelineState, given: PipelineState, limits: config.Prove) -> list[Check]:
    """The rebuilt model against the claimed golden answers; and what else has other bytes, by its values.

    What is not in DVC's cache (another processor made it) rests on the golden answers in Git; without them, unsure.
    """
    checks, places, wanted = [], {}, (FOLDER / "golden.json").as_posix()
    answers = claimed.kept.get(evaluate.GOLDEN.as_posix())
    for path, md5 in lock_diff.moved(claimed, given).items():
        places[path] = place = dvc.cached_file(cache, md5)
        shown = "in DVC's cache" if place else f"md5 {md5}, not in DVC's cache"
        checks.append(Check(name=f"{path} of dvc.lock", value=shown, limit=f"there, or its answers in {evaluate.GOLDEN}",
                            ok=True if place or answers else None))  # fmt: skip
        suffix = Path(path).suffix
        if place and path != wanted and suffix in (".json", ".parquet"):
            wrong = lock_diff.differences(
                lock_diff.content(place, suffix), lock_diff.content(tree / path, suffix), limits.plots
            )
            checks.append(
                lock_diff.check_no_differences(
                    f"{path} against the pipeline", wrong, f"off by ≤ {limits.plots:g}; `make repro`, commit"
                )
            )
    rows = lock_diff.content(places.get(wanted) or tree / wanted)
    checks.append(golden("golden answers of the model", _replay(tree / FOLDER, rows), limits.golden))
    if graph := places.get((FOLDER / "model.onnx").as_posix()):
        checks.append(
            golden("golden answers of the model in dvc.lock", _replay(tree / FOLDER, rows, graph), limits.golden)
        )
    return checks


def _committed(root: Path, tree: Path, claimed: PipelineState, limits: config.Prove) -> Check:
    """What the pipeline reads and gives is, in the working tree, as in the commit."""
    deps = {dep["path"] for stage in claimed.stages.values() for dep in stage.get("deps", ())}
    read = {"dvc.yaml", "params.yaml", *deps, *_code(tree)}
    changed = [
        f"{name} not committed" for name in git.uncommitted_files(root) if read & {name, *map(str, Path(name).parents)}
    ]
    found = lock_diff.compare(claimed, lock_diff.read(root), limits, who="the working tree")
    return lock_diff.check_no_differences("working tree against the commit", changed + [f"{c.name}: {c.value}" for c in found if not c.ok],
                       "equal; `make repro`, commit")  # fmt: skip


def _code(tree: Path) -> set[str]:
    """The files that the stages' code and libraries are read from; all code when that cannot be found out."""
    try:
        return stages.source_files(tree)
    except ConfigError:
        return {"src", "requirements"}


def _stages(tree: Path, claimed: PipelineState) -> list[Check]:
    """Each stage of the untouched commit against its own lock, and none of them frozen."""
    status = json.loads(_dvc(tree, "status", "--json"))  # refuses a broken dvc.yaml, so what follows need not
    pipeline = tree / "dvc.yaml"
    written = YAML(typ="safe").load(pipeline.read_text(encoding="utf-8"))["stages"] if pipeline.exists() else {}
    frozen = [name for name in claimed.stages if written.get(name.split("@")[0], {}).get("frozen")]
    made = {path for name in claimed.stages for path in lock_diff.outs(claimed, name)}
    return current(claimed, status, frozen=frozen, made=made)


def _fingerprints(tree: Path) -> list[Check]:
    """requirements/stages.yaml of the commit is made of its code and its locked libraries; nothing without dvc.yaml."""
    if not (tree / "dvc.yaml").exists():
        return []
    try:
        wrong = [f"stage {name} is stale" for name in stages.stale(tree)]
    except ConfigError as error:
        wrong = [str(error)]
    limit = "current; `make lock`, `make repro`, commit"
    return [lock_diff.check_no_differences(stages.FINGERPRINTS.as_posix(), wrong, limit)]


def _rebuild(tree: Path, wait: Callable[[], None]) -> PipelineState:
    """What the pipeline gives: data stages run anew, model stages from DVC's run cache or run.

    Without the lock and what Git keeps, so that nothing of the claim can stand in for its own proof.
    Before the model stages it waits for who may be making the same model beside it.
    """
    (tree / LOCK).unlink()
    (tree / evaluate.METRICS).unlink(missing_ok=True)
    shutil.rmtree(tree / evaluate.PLOTS, ignore_errors=True)
    _dvc(tree, "repro", "--no-run-cache", *lock_diff.DATA)
    wait()
    _dvc(tree, "repro")
    return lock_diff.read(tree)


def checks(root: Path, tree: Path, limits: config.Prove, beside: Callable[[], None]) -> list[Check]:
    """All checks of the commit checked out at `tree`; what is not current or not committed is not rebuilt.

    `beside` runs in a thread as soon as the working tree of `root`, which it may change, has been looked at.
    """
    claimed = lock_diff.read(tree)
    if not claimed.stages:
        return [
            lock_diff.check_no_differences(
                "dvc.lock of the commit", ["absent or no lock"], "there; `make repro`, commit"
            )
        ]
    cache = dvc.cache_folder(root)
    dvc.share_cache(tree, cache)
    found = [_committed(root, tree, claimed, limits)]
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(beside)
        found += [*_stages(tree, claimed), *_fingerprints(tree)]
        edited = [name for name in lock_diff.KEPT for check in found if name in str(check.value)]
        if not all(check.ok or check.name.endswith(IN_GIT) for check in found):
            return found
        given = _rebuild(tree, other.result)
    found += lock_diff.compare(claimed, given, limits, who="the pipeline", edited=edited)
    return [*found, *models(tree, cache, claimed, given, limits)]


def run(
    params: config.Params, *, base: str | None = None, root: Path = Path(), beside: Callable[[], None] = lambda: None
) -> str:
    """Prove HEAD's dvc.lock, metrics and plots → reports/prove.json; exit 4 when they are not so, 5 when unsure.

    `beside` is work on `root` for the second core: see `checks`.
    """
    started, root = time.monotonic(), root.resolve()
    head, against = git.commit(root=root), git.base_commit(base, root=root)
    limits = base_limits.limits_at_base(against, "prove", params.prove, root=root)
    with git.worktree(head, environment.cache_home(root) / "prove", root=root) as tree:
        lock, model = tree / LOCK, tree / FOLDER / "model.onnx"
        inputs = {"commit": head, "lock": files.sha256(lock) if lock.is_file() else None}
        try:
            found = checks(root, tree, limits, beside)
        except Inconclusive as error:  # recorded too, or an older verdict would stand
            found = [Check(name="the pipeline in a checkout of the commit", value=str(error), limit="runs", ok=None)]
        inputs["model"] = files.sha256(model) if model.is_file() else None
    verdict = Verdict(chapter="prove", checks=found, seconds=time.monotonic() - started, inputs=inputs,
                      notes={"base": against, "next": RED})  # fmt: skip
    verdict.write(root / VERDICT)
    verdict.enforce(hint=RED if verdict.word == "fail" else BLIND)
    return f"dvc.lock of {head[:12]} is what its pipeline gives: {len(found)} checks"
