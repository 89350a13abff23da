"""files: whole or absent, also when a stage is killed in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.core import environment, files
from slipway.errors import ConfigError, DataError
from support.callables import Run

OUTPUTS = {
    "ingest": ["data/table.parquet", "reports/quality.json"],
    "features": ["data/features.parquet"],
    "train": ["models/model.joblib"],
    "export": ["models/model.onnx", "models/contract.json", "models/golden.json", "reports/export.json"],
}
KILLED = """
import os, pathlib, signal, sys
rename, left = pathlib.Path.replace, int(sys.argv.pop())
def replace(self, target):
    global left
    left -= 1
    rename(self, target) if left >= 0 else os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.replace = replace
from slipway.cli import main
main()
"""


def test_a_folder_where_a_file_lies_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert files.make_folder(tmp_path / "new").is_dir()
    with pytest.raises(ConfigError, match="file cannot be created: File exists") as error:
        files.make_folder(tmp_path / "file")
    assert error.value.hint == f"remove or rename what stands at {tmp_path / 'file'}, or choose another place"


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    with files.atomic_write(tmp_path / "new" / "file") as partial:
        partial.write_text("half")
        assert not (tmp_path / "new" / "file").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    files.write_text(tmp_path / "file", "old")
    with pytest.raises(FileNotFoundError), files.atomic_write(tmp_path / "file") as partial:
        partial.write_text((tmp_path / "absent").read_text())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_number(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "file.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_json_comes_back_as_written(tmp_path: Path) -> None:
    files.write_json(tmp_path / "file.json", {"Größe": [1, 2.5, None]})
    assert files.read_json(tmp_path / "file.json") == {"Größe": [1, 2.5, None]}


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_broken_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(DataError, match=r"file\.json is not valid JSON"):
        files.read_json(tmp_path / "file.json")


def test_missing_json_says_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json does not exist") as caught:
        files.read_json(tmp_path / "absent.json", hint="run `make repro`")
    assert caught.value.hint == "run `make repro`"


def test_tree_hash_sees_names_and_bytes_but_not_what_is_left_out(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "one", "1")
    files.write_text(tmp_path / "stamp", "Monday")
    first = files.tree_sha256(tmp_path, exclude=["stamp"])
    files.write_text(tmp_path / "stamp", "Tuesday")
    assert files.tree_sha256(tmp_path, exclude=["stamp"]) == first
    (tmp_path / "a" / "one").rename(tmp_path / "a" / "two")
    assert files.tree_sha256(tmp_path, exclude=["stamp"]) != first


def made(project: Path) -> dict[str, bytes]:
    """The bytes of everything in the project but what a killed run left under its temporary name."""
    found = (path for path in project.rglob("*") if path.is_file() and path.suffix != ".part")
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize(
    ("stage", "renames"), [("ingest", 0), ("ingest", 1), ("features", 0), ("train", 0), ("export", 0), ("export", 2)]
)
def test_a_killed_stage_leaves_nothing_half_and_the_next_run_completes(
    stage: str, renames: int, project: Path, project_copy: Path, run: Run
) -> None:
    whole = made(project)
    for name in OUTPUTS[stage]:
        (project_copy / name).unlink()
    command = [sys.executable, "-c", KILLED, stage, str(renames)]
    killed = subprocess.run(command, cwd=project_copy, env=environment.for_programs(project_copy), timeout=120)
    assert killed.returncode == -signal.SIGKILL
    left = made(project_copy)
    assert left.items() < whole.items()
    assert len(set(OUTPUTS[stage]) & set(left)) == renames
    run(project_copy, stage)
    assert made(project_copy) == whole
