"""Files are copied to a store and back, and a local one is removed only after a check."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from slipway.monitoring.log_files import transfer

URL = "memory://bucket/log"


@pytest.fixture(autouse=True)
def empty_store() -> None:
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def upload(*paths: Path) -> dict[str, object]:
    return transfer.run(
        {"operation": "upload", "into": "predictions", "url": URL, "paths": [str(path) for path in paths]}
    )


def test_a_copied_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"line\n")
    assert upload(tmp_path / "a.jsonl") == {"files": ["a.jsonl"], "bytes": 5}
    assert fsspec.filesystem("memory").cat("/bucket/log/predictions/a.jsonl") == b"line\n"
    assert not (tmp_path / "a.jsonl").exists()


def test_half_a_copy_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"line\n")
    fsspec.filesystem("memory").pipe("/bucket/log/predictions/a.jsonl", b"lin")
    assert upload(tmp_path / "a.jsonl")["files"] == ["a.jsonl"]
    assert fsspec.filesystem("memory").cat("/bucket/log/predictions/a.jsonl") == b"line\n"


def test_a_wrong_copy_keeps_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put_other(store: fsspec.AbstractFileSystem, path: Path, target: str) -> None:
        store.pipe(target, path.read_bytes()[1:] + b"!")

    monkeypatch.setattr(transfer, "_put", put_other)
    (tmp_path / "a.jsonl").write_bytes(b"line\n")
    result = upload(tmp_path / "a.jsonl")
    assert (result["files"], result["kind"]) == ([], "OSError")
    assert "is not the same as a.jsonl after it was copied" in str(result["error"])
    assert (tmp_path / "a.jsonl").exists()


def test_an_error_keeps_what_was_done(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"line\n")
    result = upload(tmp_path / "a.jsonl", tmp_path / "absent.jsonl")
    assert (result["files"], result["kind"]) == (["a.jsonl"], "FileNotFoundError")


def test_a_file_comes_back(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/bucket/log/predictions/a.jsonl", b"line\n")
    listed = transfer.run({"operation": "list", "url": URL, "folders": ["predictions", "labels"]})
    assert listed == {"files": ["predictions/a.jsonl"], "bytes": 5}
    request = {"operation": "download", "url": URL, "names": listed["files"], "folder": str(tmp_path / "copy")}
    assert transfer.run(request)["files"] == listed["files"]
    assert (tmp_path / "copy/predictions/a.jsonl").read_bytes() == b"line\n"


def test_a_folder_has_no_half_a_copy(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"line\n")
    url = f"file://{tmp_path}/store"
    request = {"operation": "upload", "into": "predictions", "url": url, "paths": [str(tmp_path / "a.jsonl")]}
    assert transfer.run(request)["files"] == ["a.jsonl"]
    assert [each.name for each in (tmp_path / "store/predictions").iterdir()] == ["a.jsonl"]


def test_the_program_reads_a_request(tmp_path: Path) -> None:
    request = {"operation": "list", "url": f"file://{tmp_path}/absent", "folders": ["predictions"]}
    ended = subprocess.run(
        [sys.executable, "-P", transfer.__file__], input=json.dumps(request), capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stdout)["kind"] == "FileNotFoundError"
