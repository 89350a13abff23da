"""The program of the uploader's image: one run or many, and once more at SIGTERM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.core.process import poll_until
from slipway.monitoring.log_files import uploader
from slipway.packaging import image
from support.paths import ROOT

NAME = "20260101T000000000000Z-0123456789ab.jsonl"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log/predictions").mkdir(parents=True)
    (tmp_path / "log/predictions" / NAME).write_bytes(b"line\n")
    return tmp_path / "log"


def test_one_run_prints_its_sentence(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert uploader.main([f"{tmp_path}/store", "--log", str(log)]) == 0
    assert capsys.readouterr().out.startswith("1 of 1 files, 0.0 MB, are at ")


def test_a_refusal_is_a_sentence(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store").touch()
    assert uploader.main([f"{tmp_path}/store", "--log", str(log)]) == 2
    assert "0 of 1 files" in capsys.readouterr().out


def test_sigterm_uploads_once_more(log: Path, tmp_path: Path) -> None:
    made = tmp_path / "image"
    image.copy_program_files(ROOT, image.UPLOADER, made)
    words = ["-m", "slipway.monitoring.log_files.uploader", f"{tmp_path}/store", "--log", str(log), "--every", "600"]
    variables = dict(os.environ) | {"PYTHONPATH": str(made / "src")}
    program = subprocess.Popen([sys.executable, *words], cwd=made / "src", env=variables, stdout=subprocess.DEVNULL)
    assert poll_until((tmp_path / "store/predictions" / NAME).exists, seconds=60, every=0.05)
    late = NAME.replace("20260101", "20260102")
    (log / "predictions" / late).write_bytes(b"line\n")
    program.terminate()
    assert program.wait(timeout=60) == 0
    assert (tmp_path / "store/predictions" / late).exists()
