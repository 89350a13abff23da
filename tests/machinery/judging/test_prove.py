from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from slipway.core import config, dvc, files, git
from slipway.core.verdict import Check, describe_check, describe_limit
from slipway.errors import CheckFailed, Inconclusive
from slipway.judging import lock_diff, prove
from slipway.judging.lock_diff import PipelineState
from slipway.pipeline import evaluate
from support.committed_project import edit, save, write_fingerprints

NOBODYS = "f" * 32
STATUS = {
    "train": ["changed command", {"changed deps": {"data/x.parquet": "deleted", "params.yaml": {"seed": "modified"}}}]
}


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Path:
    return shutil.copytree(honest, tmp_path / "a b é", symlinks=True)


def prove_it(folder: Path) -> str:
    return prove.run(config.load(folder / "params.yaml"), base="HEAD", root=folder)


def refusal(folder: Path, error: type[CheckFailed] | type[Inconclusive] = CheckFailed) -> str:
    with pytest.raises(error) as caught:
        prove_it(folder)
    assert files.read_json(folder / prove.VERDICT)["verdict"] == {CheckFailed: "fail", Inconclusive: "unsure"}[error]
    assert "make repro" in caught.value.hint
    assert "commit" in caught.value.hint
    return str(caught.value)


def locked(folder: Path, path: str) -> str:
    return re.search(
        rf"path: {re.escape(path)}\n\s+hash: md5\n\s+md5: (\w+)", (folder / "dvc.lock").read_text("utf-8")
    )[1]


def relock(folder: Path, path: str, place: Path | None = None) -> str:
    """Write another hash into dvc.lock; with `place`, that of those bytes, which come into DVC's cache."""
    md5 = hashlib.md5(place.read_bytes(), usedforsecurity=False).hexdigest() if place else NOBODYS
    if place:
        target = dvc.cache_folder(folder) / "files/md5" / md5[:2] / md5[2:]
        target.parent.mkdir(exist_ok=True)
        shutil.copy(place, target)
    lock = folder / "dvc.lock"
    lock.write_text(lock.read_text("utf-8").replace(locked(folder, path), md5), "utf-8")
    return md5


def test_honest_lock_is_proven(honest):
    assert "match its pipeline" in prove_it(honest)
    record = files.read_json(honest / prove.VERDICT)
    assert record["verdict"] == "pass"
    assert record["seconds"] > 0
    assert record["inputs"] == {
        "commit": git.commit_hash(root=honest),
        "lock": files.sha256(honest / "dvc.lock"),
        "model": files.sha256(honest / "models/model.onnx"),
    }
    assert git.uncommitted_files(honest) == []
    assert git.run("worktree", "list", root=honest).count("\n") == 0


def test_param_edited_without_repro_is_red(copy):
    edit(copy / "params.yaml", "max_iter: 60", "max_iter: 61")
    assert "The working tree differs from the commit: params.yaml is not committed; expected: no difference" in refusal(
        copy
    )
    said = refusal(save(copy))
    assert "Stage train changed since dvc.lock was written: params.yaml train modified; expected: no change" in said


@pytest.mark.source_text
def test_code_edited_without_repro_is_red(copy):
    edit(copy / "src/bikes/features.py", "def ", "ANOTHER = 1\n\n\ndef ")
    assert "The working tree differs from the commit: src/bikes/features.py is not committed" in refusal(copy)
    said = refusal(save(copy))
    assert (
        "requirements/stages.yaml does not match the code and the locked libraries: stage features is out of date"
        in said
    )
    write_fingerprints(copy)
    assert "The working tree differs from the commit: requirements/stages.yaml is not committed" in refusal(copy)
    said = refusal(save(copy))
    assert "Stage features changed since dvc.lock was written: requirements/stages.yaml features modified" in said


def test_comment_in_the_code_of_a_stage_is_proven_without_repro(copy):
    edit(copy / "src/bikes/features.py", "def ", "# another thought\ndef ")
    assert "match its pipeline" in prove_it(save(copy))


def test_code_that_is_not_python_is_red(copy):
    edit(copy / "src/bikes/features.py", "def ", "def def ")
    assert "not committed" in refusal(copy)
    assert re.search(
        r"requirements/stages\.yaml does not match .*features\.py, line \d+: not valid Python: ", refusal(save(copy))
    )


def test_code_that_was_not_committed_is_red(copy):
    git.run("rm", "-q", "--cached", "src/bikes/features.py", root=copy)
    git.run("commit", "-q", "-m", "Forget a file", root=copy)
    assert "stage features is out of date" in refusal(copy)


def test_frozen_stage_is_red(copy):
    edit(copy / "dvc.yaml", "  train:\n", "  train:\n    frozen: true\n")
    assert "Stage train changed since dvc.lock was written: frozen in dvc.yaml, so DVC does not check it" in refusal(
        save(copy)
    )


def test_metric_edited_by_hand_is_red(copy):
    """As in CI: the commit has the edit, and `make repro` has put the pipeline's number back into the working tree."""
    true = (copy / "reports/metrics.json").read_text("utf-8")
    edit(copy / "reports/metrics.json", '"r2": 0.', '"r2": 0.9')
    save(copy)
    (copy / "reports/metrics.json").write_text(true, "utf-8")
    said = refusal(copy)
    assert re.search(
        r"The working tree differs from the commit: reports/metrics\.json .*: r2 is 0\.99\d+, not 0\.9\d+", said
    )
    assert (
        "Outputs of stage evaluate in Git do not have the hashes of dvc.lock: reports/metrics.json modified; expected: the output"
        in said
    )


def test_all_that_was_edited_by_hand_is_red_at_once(copy):
    """A plot, a metric with its hash, the hash of a data stage, and a golden answer with its hash: one rebuild shows each."""
    true = locked(copy, "data/features.parquet")
    edit(copy / "reports/plots/slices.json", '"rows": ', '"rows": 1')
    edit(copy / "reports/metrics.json", '"r2": 0.', '"r2": 0.9')
    relock(copy, "reports/metrics.json", copy / "reports/metrics.json")
    relock(copy, "data/features.parquet")
    edit(copy / "models/golden.json", '"prediction": ', '"prediction": 1')
    relock(copy, "models/golden.json", copy / "models/golden.json")
    refusal(save(copy))
    checks = files.read_json(copy / prove.VERDICT)["checks"]
    red = {
        check["name"]: f"{check['value']}; {describe_limit(check['limit'])}" for check in checks if check["ok"] is False
    }
    plots = red.pop("stage evaluate, outputs in Git")
    assert plots.startswith("reports/plots modified; expected: the output that `make repro` wrote")
    features = red.pop("dvc.lock, stage features, against the pipeline")
    assert features.startswith(f"outs data/features.parquet md5 is {NOBODYS}, not {true}")
    metrics = red.pop("reports/metrics.json against the pipeline")
    assert re.search(r"r2 is 0\.99\d+, not 0\.9\d+; allowed: at most 0\.0001 difference", metrics)
    slices = red.pop("reports/plots/slices.json against the pipeline")
    assert re.search(r" rows is 1\d+, not \d+; expected: no difference", slices)
    red.pop("golden answers of the model")
    assert all(name.startswith("dvc.lock, stage ") for name in red), red


def models(folder: Path, honest: Path) -> dict[str, Check]:
    """The checks of `folder`'s edited lock against the files of the honest pipeline, by name."""
    claims = lock_diff.read(folder), lock_diff.read(honest)
    limits = config.load(honest / "params.yaml").prove
    return {check.name: check for check in prove.check_models(honest, dvc.cache_folder(folder), *claims, limits)}


def test_golden_answer_off_beyond_tolerance_is_red(copy, honest):
    rows = files.read_json(copy / "models/golden.json")
    rows[0]["prediction"] += 5.0
    files.write_json(copy / "models/golden.json", rows)
    relock(copy, "models/golden.json", copy / "models/golden.json")
    check = models(copy, honest)["golden answers of the model"]
    assert check.ok is False
    assert re.search(
        r"differ from the recorded ones by 0\.\d+ at most; allowed: at most 1e-05 difference", describe_check(check)
    )


def test_other_model_in_the_lock_is_red(copy, honest, run):
    edit(copy / "params.yaml", "max_iter: 60", "max_iter: 6")
    run(copy, "train", "export")
    relock(copy, "models/model.onnx", copy / "models/model.onnx")
    relock(copy, "models/contract.json", copy / "models/contract.json")
    found = models(copy, honest)
    assert found["golden answers of the model"].ok
    assert found["golden answers of the model in dvc.lock"].ok is False
    assert found["models/model.onnx of dvc.lock"].value == "in DVC's cache"
    assert found["models/contract.json against the pipeline"].ok is False


def test_rounding_of_another_processor_is_no_difference(copy, honest):
    rows = files.read_json(copy / "models/golden.json")
    files.write_json(
        copy / "models/golden.json", [{**row, "prediction": row["prediction"] * (1 + 1e-7)} for row in rows]
    )
    relock(copy, "models/golden.json", copy / "models/golden.json")
    assert [name for name, check in models(copy, honest).items() if not check.ok] == []


def test_model_of_another_processor_rests_on_the_golden_answers_in_git(copy, honest):
    for path in ("models/model.onnx", "models/golden.json"):
        relock(copy, path)
    found = models(copy, honest)
    assert [name for name, check in found.items() if not check.ok] == []
    assert found["models/model.onnx of dvc.lock"].value == f"md5 {NOBODYS}, not in DVC's cache"
    (copy / evaluate.GOLDEN).unlink()
    check = models(copy, honest)["models/model.onnx of dvc.lock"]
    assert check.ok is None
    assert "expected: in DVC's cache, or answers in reports/plots/golden.json" in describe_check(check)


def test_golden_answers_in_git_have_their_own_tolerance(copy, honest):
    answers = files.read_json(copy / evaluate.GOLDEN)
    answers[0]["prediction"] *= 1 + 1e-4  # a plot may be off by so much
    files.write_json(copy / evaluate.GOLDEN, answers)
    limits = config.load(copy / "params.yaml").prove
    found = lock_diff.compare(lock_diff.read(copy), lock_diff.read(honest), limits, name="the pipeline")
    assert [check.name for check in found if not check.ok] == ["reports/plots/golden.json against the pipeline"]


def test_bytes_in_the_cache_that_are_others_leave_it_unsure(copy, honest):
    relock(copy, "models/model.onnx")
    (copy / evaluate.GOLDEN).unlink()
    place = dvc.cache_folder(copy) / "files/md5" / NOBODYS[:2] / NOBODYS[2:]
    place.parent.mkdir()
    place.write_text("no model")
    assert models(copy, honest)["models/model.onnx of dvc.lock"].ok is None


def test_graph_that_cannot_be_asked_leaves_it_unsure(copy, honest):
    (copy / "broken").write_text("no model")
    relock(copy, "models/model.onnx", copy / "broken")
    assert models(copy, honest)["golden answers of the model in dvc.lock"].ok is None


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\n", ""])
def test_lock_that_is_none_is_red(copy, text):
    (copy / "dvc.lock").write_text(text)
    assert "The commit has no dvc.lock that can be read: absent, or not a lock of DVC" in refusal(save(copy))


def test_pipeline_that_does_not_run_leaves_it_unsure(copy):
    (copy / "dvc.yaml").write_text("stages: {ingest: {cmd: 3}}\n")
    assert "does not run in a checkout of the commit: `dvc status --json` failed" in refusal(save(copy), Inconclusive)


def test_lock_without_its_pipeline_is_unsure(copy):
    (copy / "dvc.yaml").unlink()
    assert "does not run in a checkout of the commit: `dvc" in refusal(save(copy), Inconclusive)


def test_what_is_absent_says_nothing_of_the_lock():
    assert prove.split_changes(STATUS["train"], {"data/x.parquet"}) == (
        ["changed command", "params.yaml seed modified"],
        [],
    )
    assert "data/x.parquet deleted" in prove.split_changes(STATUS["train"], ())[0]
    assert prove.split_changes([{"changed outs": {"reports/plots": "modified"}}], ()) == (
        [],
        ["reports/plots modified"],
    )


def test_stage_without_a_lock_is_asked_too():
    found = prove.check_stages(
        PipelineState(stages={"ingest": {}}, in_git={}), STATUS, frozen=["ingest"], outputs_of_lock=()
    )
    assert [(check.name, check.ok) for check in found] == [
        ("stage ingest since dvc.lock", False),
        ("stage train since dvc.lock", False),
    ]


@pytest.mark.parametrize(
    ("answers", "ok"),
    [
        ((np.array([0.5, 30.0]), np.array([0.5, 30.0001])), True),
        ((np.array([0.5, 30.0]), np.array([0.5001, 30.0])), False),
        ((np.array([0.5]), np.array([np.nan])), False),
        ((np.array([]), np.array([])), None),
        (None, None),
    ],
)
def test_golden_answers_are_kept_to_the_tolerance(answers, ok):
    assert prove.check_golden("the model", answers, 1e-5).ok is ok


def test_record_is_json_with_what_to_run(honest):
    if not (honest / prove.VERDICT).exists():
        prove_it(honest)
    record = json.loads((honest / prove.VERDICT).read_text("utf-8"))
    assert "make repro" in record["notes"]["next"]
    assert not any("make " in f"{check['text']} {check['limit']}" for check in record["checks"]), (
        "advice is for a failure"
    )
    assert record["checks"][0]["text"] == "Committed files match the working tree."
