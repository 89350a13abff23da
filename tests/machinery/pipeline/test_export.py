"""export: the exported model is the trained one, or nothing is left to serve."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from bikes.problem import PROBLEM

from slipway.core import environment, files
from slipway.errors import DataError
from slipway.pipeline import export, features, ingest, train
from slipway.problem import Problem
from slipway.serving.onnx_model import Model
from support.callables import Cli, Run


def choose(project: Path, estimator: str) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("estimator: boosting", f"estimator: {estimator}"))


def test_every_row_of_the_window_agrees(project: Path) -> None:
    verdict = files.read_json(project / "reports/export.json")
    assert (verdict["verdict"], verdict["rows"]) == ("pass", 501)
    assert verdict["checks"][0]["value"] < 5e-5


def test_the_other_estimator_agrees_too(project_copy: Path, run: Run) -> None:
    choose(project_copy, "ridge")
    assert "501 rows agree with scikit-learn" in run(project_copy, "train", "export")


def test_a_model_that_exports_wrongly_is_refused_and_removed(project_copy: Path, run: Run, cli: Cli) -> None:
    choose(project_copy, "native")
    run(project_copy, "train")
    said = cli(project_copy, "export")
    assert said.returncode == 4
    assert "predictions differ from scikit-learn's by up to" in said.stderr
    assert "allowed: at most 0.0001" in said.stderr
    assert not (project_copy / "models/model.onnx").exists()
    assert files.read_json(project_copy / "reports/export.json")["verdict"] == "fail"


@pytest.mark.parametrize(
    ("reference", "exported", "ok"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.0], [1.0, 2.1], False),
        ([1.0, float("nan")], [1.0, 2.0], False),
        ([1.0, 2.0], [1.0, float("inf")], False),
        ([], [], None),
    ],
)
def test_parity_is_the_largest_difference(reference: list[float], exported: list[float], ok: bool | None) -> None:
    assert export.check_parity(np.array(reference), np.array(exported, dtype=np.float32), 1e-5).ok is ok


def test_a_value_just_above_a_threshold_goes_right_in_both(project: Path) -> None:
    """Thresholds lie halfway between training values; the nearest float32 may be the value in between."""
    pipeline = joblib.load(project / train.MODEL)
    frame = ingest.read_parquet(project / features.FRAME).head(1)
    nodes = np.concatenate([trees[0].nodes for trees in pipeline[-1]._predictors])
    number = 2 + list(PROBLEM.inputs.model_fields).index("temp")  # after three stations in place of one category
    splits = np.unique(nodes["num_threshold"][(nodes["is_leaf"] == 0) & (nodes["feature_idx"] == number)])
    rows = frame.sample(len(splits), with_replacement=True).with_columns(temp=splits.astype(np.float32))
    session = export.to_graph(pipeline, PROBLEM).SerializeToString()
    reference = export.scikit_learn_predictions(pipeline, rows, PROBLEM)
    assert np.abs(reference - _answers(session, rows.to_dicts())).max() < 1e-4


def _answers(graph: bytes, rows: list[dict[str, object]]) -> object:
    import onnxruntime

    names = list(PROBLEM.inputs.model_fields)[1:]
    given = {
        "categories": np.array([[row["station"]] for row in rows], dtype=object),
        "numbers": np.array([[row[name] for name in names] for row in rows], dtype=np.float32),
    }
    return onnxruntime.InferenceSession(graph).run(["prediction"], given)[0]


def test_contract_tells_a_caller_all(project: Path) -> None:
    contract = files.read_json(project / "models/contract.json")
    assert (contract["problem"], contract["task"], contract["target"]) == ("bikes", "regression", "hires")
    assert contract["categories"] == ["station"]
    assert contract["numbers"] == ["weekday", "hour", "temp", "recent", "yesterday"]
    assert contract["known"] == {"station": ["harbour", "museum", "park"]}
    assert contract["inputs"]["properties"]["hour"]["maximum"] == 23
    assert sum(contract["reference"]["counts"]) == 501
    assert contract["limits"] == {"max_rows": 500, "max_body_bytes": 200000}
    assert (contract["lookup"], contract["question"]) == (None, None)
    PROBLEM.inputs.model_validate(contract["example"])


def test_golden_requests_keep_the_contract_and_come_back(project: Path) -> None:
    golden = files.read_json(project / "models/golden.json")
    rows = [PROBLEM.inputs.model_validate(line["row"]).model_dump() for line in golden]
    answers = Model(project / "models").rows(rows)
    assert len(golden) == 16
    assert np.allclose(answers, [line["prediction"] for line in golden], atol=1e-6)


def test_a_problem_without_lookup_gets_an_empty_one(project: Path) -> None:
    assert (project / "models/lookup.sqlite").read_bytes() == b""


def making(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Problem:
    """The problem with a lookup of its own, in a project's folder that has a table."""
    (folder / "madehere.py").write_text(
        f"import os\nfrom slipway.errors import DataError\ndef write(table, path): {body}\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "madehere", raising=False)
    return replace(PROBLEM, lookup="madehere")


def test_a_lookup_is_made_in_a_process_of_its_own(project_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = making(project_copy, monkeypatch, "path.write_text(f'{os.getpid()} {len(table)}')")
    with export.write_lookup(spec):
        pass
    process, rows = (project_copy / "models/lookup.sqlite").read_text().split()
    assert int(process) != os.getpid()
    assert int(rows) == len(ingest.read_parquet(project_copy / ingest.TABLE))


def test_a_lookup_that_cannot_be_made_says_why(project_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = making(project_copy, monkeypatch, "raise DataError('no such plane')")
    before = sorted((project_copy / "models").iterdir())
    with pytest.raises(DataError, match="no such plane"), export.write_lookup(spec):
        pass
    assert sorted((project_copy / "models").iterdir()) == before


def test_without_a_table_there_is_no_lookup(project_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = making(project_copy, monkeypatch, "pass")
    (project_copy / ingest.TABLE).unlink()
    with pytest.raises(DataError, match=r"data/table\.parquet does not exist"), export.write_lookup(spec):
        pass


def test_two_exports_give_the_same_bytes(project: Path, project_copy: Path, run: Run) -> None:
    run(project_copy, "export")
    for name in ("model.onnx", "contract.json", "golden.json"):
        assert (project_copy / "models" / name).read_bytes() == (project / "models" / name).read_bytes()


@pytest.mark.parametrize("content", [b"", b"not a model", pickle.dumps("x" * 999)[:300]])
def test_a_broken_model_file_is_named(project_copy: Path, run: Run, content: bytes) -> None:
    (project_copy / train.MODEL).write_bytes(content)
    with pytest.raises(DataError, match=r"models/model\.joblib cannot be read") as caught:
        run(project_copy, "export")
    assert caught.value.hint == "remove models/model.joblib and run `make repro`"


def test_a_missing_model_file_is_named(project_copy: Path, run: Run) -> None:
    (project_copy / train.MODEL).unlink()
    with pytest.raises(DataError, match="No such file"):
        run(project_copy, "export")


def test_graph_is_the_same_whatever_the_hash_seed(project_copy):
    made = set()
    for seed in range(4):
        env = environment.for_programs(project_copy, PYTHONHASHSEED=str(seed))
        command = [sys.executable, "-m", "slipway", "export"]
        subprocess.run(command, cwd=project_copy, env=env, check=True, capture_output=True)
        made.add(files.sha256(project_copy / "models/model.onnx"))
    assert len(made) == 1
