"""The drills of what is watched: the prediction log is one line of production's overlay, and pods print theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slipway.errors import ConfigError
from slipway.sandbox.drills import canary_abort, watching
from support.paths import ROOT


def test_log_is_one_line_of_productions_overlay() -> None:
    text = (ROOT / watching.OVERLAY).read_text("utf-8")
    on = watching.with_log(text, on=True)
    assert YAML(typ="safe").load(on)["components"] == ["../../components/prediction-log"]
    assert watching.with_log(on, on=True) == on
    assert watching.with_log(on, on=False) == text
    assert watching.with_log(text, on=False) == text


def test_overlay_with_the_canary_is_refused() -> None:
    text = canary_abort.with_canary((ROOT / watching.OVERLAY).read_text("utf-8"), on=True)
    with pytest.raises(ConfigError, match="has no line `# components"):
        watching.with_log(text, on=True)


def test_a_pod_prints_its_log_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    for name, text in (("b", '{"id": "é"}\n'), ("a", '{"v": 1}\n')):
        (tmp_path / f"predictions/{name}.jsonl").write_text(text, encoding="utf-8")
    variables = {**os.environ, "SLIPWAY_LOG": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", watching.PRINT_LOG], env=variables, capture_output=True, check=True)
    assert done.stdout.decode() == '{"v": 1}\n{"id": "é"}\n'
