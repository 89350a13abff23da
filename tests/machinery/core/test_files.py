"""files: whole or absent, also when a stage is killed in the middle."""

from __future__ import annotations

import errno
import operator
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.core import environment, files
from slipway.errors import ConfigError, DataError
from support import full_disk
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


@pytest.mark.parametrize(("stage", "renames"), [("ingest", 1), ("features", 0), ("train", 0), ("export", 2)])
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


# A full or protected disk


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_really_full_disk_is_named(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        files.write_text(tmp_path / "file", "old")
        with pytest.raises(files.CannotWrite, match=r"file cannot be written: No space left on device") as caught:
            files.write_text(tmp_path / "file", "x" * 100_000)
        assert caught.value.hint.startswith(f"there is no space left for {tmp_path}/file: free disk space")
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("error", [
    OSError(errno.EDQUOT, "Disk quota exceeded"), OSError(errno.EROFS, "Read-only file system"), RuntimeError("x (os error 28)"),
    RuntimeError("database or disk is full"),
])  # fmt: skip
def test_library_errors_of_the_disk_name_the_file(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(files.CannotWrite, match="out cannot be written: ") as caught, files.writing(tmp_path / "out"):
        raise error
    assert caught.value.hint


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "Denied", "/etc/shadow"), ValueError("os error"), KeyError(28)]
)
def test_other_errors_stay_as_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), files.writing(tmp_path / "out"):
        raise error


@pytest.mark.parametrize(("number", "hint"), [
    (errno.ENOSPC, "free disk space"), (errno.EROFS, "mount it for writing"), (errno.EIO, "check the disk"),
    (errno.EACCES, "allow writing to"),
])  # fmt: skip
def test_next_step_is_that_of_the_reason(number: int, hint: str) -> None:
    assert hint in files.cannot_write(Path("a/b"), number).hint


def test_other_file_of_the_block_is_named(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/read/source", None, str(tmp_path / "a/copy"))
    with pytest.raises(files.CannotWrite, match="a/copy cannot be written: No space"), files.writing(tmp_path / "out"):
        raise error


def test_scratch_folder_without_a_place_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    with full_disk.mounted(full_disk.Disk(full_at=0)), pytest.raises(files.CannotWrite) as caught:
        files.scratch_folder("slipway-").__enter__()
    assert caught.value.hint == "free disk space there, or set TMPDIR to a folder that can be written"
    with files.scratch_folder("slipway-", where=tmp_path) as folder:
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(files.CannotWrite, match="file cannot be written: Is a directory"):
        files.write_text(tmp_path / "file", "x")
    (tmp_path / "plain").touch()
    with pytest.raises(files.CannotWrite, match=r"plain/file cannot be written: (File exists|Not a directory)"):
        files.write_text(tmp_path / "plain" / "file", "x")


# Modes


def test_replaced_file_passes_on_its_mode(tmp_path: Path) -> None:
    (tmp_path / "script").touch()
    for mode in (0o755, 0o600, 0o664):
        (tmp_path / "script").chmod(mode)
        files.write_text(tmp_path / "script", "x")
        assert (tmp_path / "script").stat().st_mode & 0o777 == mode


def test_folder_is_made_readable_for_all(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a/b/file", "x")
    files.write_text(tmp_path / "a/run", "x")
    (tmp_path / "a/b").chmod(0o700)
    (tmp_path / "a/b/file").chmod(0o600)
    (tmp_path / "a/run").chmod(0o700)
    (tmp_path / "a/link").symlink_to("/etc/passwd")
    files.make_readable(tmp_path / "a")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/b/file", "a/run")]
    assert modes == [0o755, 0o755, 0o644, 0o755]


@pytest.mark.parametrize(("text", "keys", "kind", "message"), [
    ("[" * 1200, (), object, "is not valid JSON"),
    (f"[{'9' * 5000}]", (), object, "is not valid JSON: Exceeds the limit"),
    ("[]", (), dict, "x.json is of type list; expected: dict"),
    ('{"a": 1}', ("notes",), dict, "x.json has no notes"),
    ('{"notes": 3}', ("notes", "path"), str, "x.json: notes has no path"),
    ('{"notes": {"path": 3}}', ("notes", "path"), str, "x.json: path is of type int; expected: str"),
])  # fmt: skip
def test_record_of_another_form_is_named(
    tmp_path: Path, text: str, keys: tuple[str, ...], kind: type, message: str
) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        files.read_json(tmp_path / "x.json", *keys, kind=kind)
    assert caught.value.hint == "run `make repro`"


def test_value_under_nested_keys_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"notes": {"path": "a"}}')
    assert files.read_json(tmp_path / "x.json", "notes", "path", kind=str) == "a"


@pytest.mark.parametrize(("work", "reason"), [
    (lambda: {}["row"], "the key 'row' is missing"),
    (lambda: [][0], "list index out of range"),
    (lambda: float("x"), "could not convert"),
    (lambda: operator.getitem(3, "row"), "not subscriptable"),
])  # fmt: skip
def test_content_of_another_form_is_named(work: Any, reason: str) -> None:
    with (
        pytest.raises(DataError, match=f"a.json is not of the form that Slipway writes: .*{reason}"),
        files.parsing(Path("a.json")),
    ):
        work()
