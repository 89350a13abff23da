from __future__ import annotations

import subprocess
import time

import psutil
import pytest

from slipway.errors import SlipwayError
from slipway.sandbox import clone
from support.committed_project import repository


@pytest.mark.parametrize(("lines", "said"), [
    (["noise", "judge not worse than the champion (1.2 s)"], "not worse than the champion"),
    (["error judge: fail: log_loss is 3", "next: see"], "fail: log_loss is 3"),
    (["judge judge: fail: worse; next: see (0.3 s)", "error review: judge says no"], "fail: worse; next: see"),
    ([], ""),
])  # fmt: skip
def test_sentence_is_what_the_chapter_said(lines, said):
    assert clone.summary_line("judge", lines) == said


def test_program_and_its_children_are_gone_after_the_block(tmp_path):
    stage = clone.Sandbox(root=tmp_path, name="bikes", ports={})
    stage.work.mkdir(parents=True)
    with clone.running_program(stage, ["sh", "-c", "sleep 60 & wait"]) as one:
        while not (children := psutil.Process(one.pid).children()):
            time.sleep(0.01)
    assert one.poll() is not None
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_unexpected_exit_code_ends_the_loop(tmp_path):
    stage = clone.prepare(repository(tmp_path / "p"), "bikes", {})
    with pytest.raises(SlipwayError, match=r"`slipway judge` ended with exit code 3, expected 0\. Its last lines:"):
        clone.run_verb(stage, "judge")


def test_clone_is_apart_from_the_project(tmp_path):
    folder = repository(tmp_path / "p")
    stage = clone.prepare(folder, "bikes", {})
    done = subprocess.run(["git", "remote", "get-url", "origin"], cwd=stage.work, capture_output=True, text=True)
    assert done.stdout.strip() == str(folder / ".slipway/loop/remote.git")


def test_busy_machine_is_named_as_the_likely_cause(tmp_path):
    stage = clone.Sandbox(root=tmp_path, name="bikes", ports={})
    error = clone.step_error(stage, ["load", "--host", "http://127.0.0.1:3001"], 5, 0, [f"line {n}" for n in range(20)])
    assert str(error).startswith(
        "loop: `slipway load` ended with exit code 5, expected 0. Its last lines:\n    line 8\n"
    )
    assert "run `make loop` again" in error.hint
    assert ".slipway/loop/work" in clone.step_error(stage, ["load"], 2, 0, []).hint
