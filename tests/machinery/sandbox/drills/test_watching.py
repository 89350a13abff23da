"""The drills of what is watched: the prediction log is a patch of production's overlay, and pods print their logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slipway.errors import ConfigError
from slipway.sandbox.drills import watching
from slipway.sandbox.drills.context import DrillContext
from support import fake_cluster
from support.paths import ROOT


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrillContext:
    return fake_cluster.world(tmp_path, monkeypatch)


@pytest.mark.parametrize(("volume", "content"), [
    (watching.WIDE, {"sizeLimit": "256Mi"}), (watching.SMALL, {"medium": "Memory", "sizeLimit": "1Mi"}),
])  # fmt: skip
def test_log_is_a_patch_that_goes_again(volume: str, content: dict[str, str]) -> None:
    text = (ROOT / watching.OVERLAY).read_text("utf-8")
    on = watching.with_log(text, volume)
    [patch] = YAML(typ="safe").load(on)["patches"]
    pod = YAML(typ="safe").load(patch["patch"])["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "log", "emptyDir": content}]
    assert watching.without_log(on, volume) == text
    with pytest.raises(ConfigError, match="has patches, or no images"):
        watching.with_log(on, volume)


def test_a_pod_prints_its_log_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    for name, text in (("b", '{"id": "é"}\n'), ("a", '{"v": 1}\n')):
        (tmp_path / f"predictions/{name}.jsonl").write_text(text, encoding="utf-8")
    variables = {**os.environ, "SLIPWAY_LOG": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", watching.PRINT_LOG], env=variables, capture_output=True, check=True)
    assert done.stdout.decode() == '{"v": 1}\n{"id": "é"}\n'


def test_a_pod_is_asked_by_a_whole_program(there: DrillContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str, timeout: int) -> str:
        assert (words[-2], words[-1], timeout) == (watching.ASK, "7", 180)
        return f"a word\n{json.dumps({'answered': 7, 'lines': 5, 'lost': 2})}\n"

    compile(watching.ASK, "ask", "exec")
    monkeypatch.setattr(watching.kubectl, "run", run)
    assert watching.ask_in_pod(there, 7) == {"answered": 7, "lines": 5, "lost": 2}
