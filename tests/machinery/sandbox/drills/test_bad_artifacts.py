from __future__ import annotations

import numpy as np
import onnx
import pytest
from ruamel.yaml import YAML

from slipway.core import files
from slipway.errors import ConfigError
from slipway.sandbox.drills import bad_artifacts
from slipway.serving.onnx_model import Model
from support.paths import OBJECTIVE, ROOT


def test_front_of_the_service_can_be_slowed_and_mended():
    front = (ROOT / bad_artifacts.SERVICE).read_text("utf-8")
    slow = bad_artifacts.with_delay(front, 80.0)
    assert "await asyncio.sleep(0.08)" in slow
    compile(slow, "front.py", "exec")
    fixed = bad_artifacts.without_delay(slow, "fixed")
    assert fixed.replace("        # fixed\n", "") == front != fixed
    assert bad_artifacts.without_delay(front, "fixed") == front


def test_answers_are_later_than_the_objective_allows():
    assert bad_artifacts.delay_ms("endpoints: {a: {p95_ms_at_most: 50}, b: {p95_ms_at_most: 20}}") == 80.0


def test_late_answers_leave_the_load_test_its_rate():
    slo = OBJECTIVE.read_text("utf-8")
    schedule = YAML(typ="safe").load(slo)["schedules"]["cluster"]
    assert schedule["users"] / (bad_artifacts.delay_ms(slo) / 1000) > schedule["rate"] * 1.5


def test_front_without_its_method_is_refused():
    with pytest.raises(ConfigError, match="no method _post"):
        bad_artifacts.with_delay("class Front: pass\n", 80.0)


def test_recipe_has_one_more_comment():
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert bad_artifacts.with_comment(text, "a drill") == f"{text.rstrip()}\n# a drill\n"


def test_wrong_model_says_the_opposite_and_its_golden_answers_agree(project, tmp_path):
    bad_artifacts.write_wrong_models(project / "models", tmp_path / "models")
    good, bad = Model(project / "models"), Model(tmp_path / "models")
    golden = files.read_json(tmp_path / "models/golden.json")
    rows = [each["row"] for each in golden]
    edges = bad.contract["reference"]["edges"]
    assert np.allclose(bad.rows(rows), edges[0] + edges[-1] - good.rows(rows), atol=1e-3)
    assert np.allclose(bad.rows(rows), [each["prediction"] for each in golden])
    assert not np.allclose(bad.rows(rows), good.rows(rows))


def test_model_of_another_form_is_refused():
    node = onnx.helper.make_node("Identity", ["a"], ["b"])
    value = onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [None])
    graph = onnx.helper.make_graph([node], "g", [], [value])
    with pytest.raises(ConfigError, match=r"last node of the ONNX graph has the outputs \['b'\]; expected: prediction"):
        bad_artifacts.mirror(onnx.helper.make_model(graph), [0.0, 1.0])


@pytest.mark.parametrize("line", [bad_artifacts.CRASH, bad_artifacts.WRONG, bad_artifacts.OTHER])
def test_spoiled_image_is_the_good_one_and_a_line(line):
    good = "localhost:5000/bikes@sha256:" + "1" * 64
    assert bad_artifacts.dockerfile(good, line) == f"FROM {good} AS slim\nFROM slim AS spoiled\n{line}\n"


def test_spoiled_image_is_built_by_the_builder_that_is_there(project, tmp_path, monkeypatch):
    builder, good = tmp_path / "build", "localhost:5000/bikes@sha256:" + "1" * 64
    builder.write_text(
        f'#!/bin/sh\necho "$@" >"{tmp_path}/asked"; cp -r "$2" "{tmp_path}/context"\necho "log"; echo {good}\n',
        encoding="utf-8",
    )
    builder.chmod(0o755)
    monkeypatch.setenv("BUILD_IMAGE", str(builder))
    assert bad_artifacts.build_derived(good, "wrong", line=bad_artifacts.WRONG, models=project / "models") == good
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("localhost:5000/bikes:drill-wrong ")
    assert "--target spoiled" in asked
    assert sorted(path.name for path in (tmp_path / "context/models").iterdir()) == [
        "contract.json", "golden.json", "model.onnx",
    ]  # fmt: skip
