"""The log goes to a URL and comes back: nothing is lost when the store refuses, and a repeated run goes on."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from slipway.errors import ConfigError
from slipway.monitoring.log_files import extras, remote
from slipway.serving.local_server import find_free_port
from slipway.serving.prediction_log.log_file import LogFile
from support.engines import require
from support.paths import ROOT

NAMES = [f"2026010{day}T000000000000Z-0123456789ab" for day in range(1, 6)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "a b é/log"
    (folder / "predictions").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "labels/1.parquet").write_bytes(b"labels")
    for name in NAMES:
        (folder / f"predictions/{name}.jsonl").write_bytes(name.encode())
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "predictions").iterdir())


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_closed_files_go_to_a_folder(log: Path, tmp_path: Path, scheme: str) -> None:
    file = LogFile(log / "predictions", file_bytes=1000, file_seconds=60, total_bytes=10_000)
    file.begin(b"{}\n")
    assert "5 of 5 files" in remote.upload(log, f"{scheme}{tmp_path}/store", root=tmp_path)
    file.close()
    assert names(tmp_path / "store") == [f"{name}.jsonl" for name in NAMES]
    assert len(names(log)) == 1
    assert (log / "labels/1.parquet").exists()
    assert "1 of 1 files" in remote.upload(log, f"{scheme}{tmp_path}/store", root=tmp_path)
    assert "no closed file" in remote.upload(log, f"{scheme}{tmp_path}/store", root=tmp_path)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_log_is_no_place_for_its_copy(log: Path, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "link").symlink_to(log)
    with pytest.raises(ConfigError, match="is the folder of the log itself"):
        remote.upload(log, f"{scheme}{tmp_path}/link", root=tmp_path)
    assert len(names(log)) == 5


def test_a_store_without_a_library_is_named(log: Path, tmp_path: Path) -> None:
    for url in ("unheard://bucket", "sftp://user:secret@host/log"):
        with pytest.raises(ConfigError, match="for which no library is installed; allowed: s3://") as error:
            remote.upload(log, url, root=tmp_path)
        assert "secret" not in str(error.value)


def test_a_place_that_cannot_be_written_keeps_all(log: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="0 of 5 files"):
        remote.upload(log, f"{tmp_path}/file", root=tmp_path)
    assert len(names(log)) == 5


def test_a_repeated_upload_ends_after_one_more(log: Path, tmp_path: Path) -> None:
    ended, reported = threading.Event(), []

    def report(text: str) -> None:
        reported.append(text)
        (log / f"predictions/{NAMES[0]}.jsonl").write_bytes(b"late")
        ended.set()

    last = remote.upload_every(log, f"{tmp_path}/store", seconds=60, root=tmp_path, report=report, ended=ended)
    assert ("5 of 5 files" in reported[0], "1 of 1 files" in last) == (True, True)


def test_a_repeated_upload_survives_a_failure(log: Path, tmp_path: Path) -> None:
    ended, reported = threading.Event(), []
    (tmp_path / "store").touch()

    def report(text: str) -> None:
        reported.append(text)
        if len(reported) == 2:
            ended.set()
        else:
            (tmp_path / "store").unlink()

    remote.upload_every(log, f"{tmp_path}/store", seconds=0.01, root=tmp_path, report=report, ended=ended)
    assert ("0 of 5 files" in reported[0], "5 of 5 files" in reported[1]) == (True, True)


def test_the_files_of_a_window_come_back(log: Path, tmp_path: Path) -> None:
    (log / f"predictions/{NAMES[2]}.parquet").write_bytes(b"parquet")
    start, end = datetime(2026, 1, 3, 12, tzinfo=UTC), datetime(2026, 1, 3, 13, tzinfo=UTC)
    copy = remote.local_copy(f"file://{log}", tmp_path / "copy", start, end, root=tmp_path)
    assert names(copy) == [f"{NAMES[2]}.parquet", f"{NAMES[3]}.jsonl"]
    assert (copy / "labels/1.parquet").read_bytes() == b"labels"
    with pytest.raises(ConfigError, match="no file was copied"):
        remote.local_copy(f"file://{log}/absent", tmp_path / "copy", start, end, root=tmp_path)


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    """The address of a running S3 server; the environment of the extra is made."""
    server = require("moto_server")
    try:
        extras.python("s3", ROOT)
    except ConfigError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    port = find_free_port()
    process = subprocess.Popen([server, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait(address)
        yield address
    finally:
        process.terminate()
        process.wait()


def wait(address: str) -> None:
    for _ in range(600):
        try:
            urlopen(address).close()
        except URLError:
            time.sleep(0.1)
        else:
            return


def ask(method: str, address: str, body: bytes | None = None) -> None:
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, Signature=b"}
    signed["content-type"] = "text/plain"
    urlopen(Request(address, body, signed, method=method)).close()


def allow(address: str, requests: int) -> None:
    """Let the server answer so many requests; it refuses those after them, as the login is unknown."""
    ask("POST", f"{address}/moto-api/reset-auth", str(requests).encode())


@pytest.fixture
def bucket(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    variables = {"AWS_ENDPOINT_URL": s3_address, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
                 "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    allow(s3_address, 1_000_000)
    ask("POST", f"{s3_address}/moto-api/reset")
    ask("PUT", f"{s3_address}/logs")
    return s3_address


@pytest.mark.usefixtures("bucket")
def test_a_bucket_takes_the_log_and_gives_it_back(log: Path, tmp_path: Path) -> None:
    assert "5 of 5 files" in remote.upload(log, "s3://logs/flights", root=ROOT)
    assert names(log) == []
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)
    copy = remote.local_copy("s3://logs/flights", tmp_path / "copy", start, end, root=ROOT)
    assert [(copy / f"predictions/{name}.jsonl").read_text() for name in NAMES] == NAMES


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_gone_loses_nothing(log: Path) -> None:
    with pytest.raises(ConfigError, match=r"s3://gone/flights failed with FileNotFoundError.*0 of 5 files"):
        remote.upload(log, "s3://gone/flights", root=ROOT)
    assert len(names(log)) == 5


@pytest.mark.usefixtures("bucket")
def test_a_server_that_is_gone_loses_nothing(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{find_free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ConfigError, match=r"failed with EndpointConnectionError.*0 of 5 files"):
        remote.upload(log, "s3://logs/flights", root=ROOT)
    assert len(names(log)) == 5


def test_a_login_without_permission_loses_nothing(log: Path, bucket: str) -> None:
    allow(bucket, 0)
    with pytest.raises(ConfigError, match=r"failed with PermissionError.*0 of 5 files"):
        remote.upload(log, "s3://logs/flights", root=ROOT)
    assert len(names(log)) == 5


def test_a_store_that_refuses_in_the_middle_loses_nothing(log: Path, tmp_path: Path, bucket: str) -> None:
    allow(bucket, 7)
    with pytest.raises(ConfigError, match=r"[1-4] of 5 files, .* the others are still in"):
        remote.upload(log, "s3://logs/flights", root=ROOT)
    allow(bucket, 1_000_000)
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)
    before = len(names(log))
    assert 0 < before < 5
    assert f"{before} of {before} files" in remote.upload(log, "s3://logs/flights", root=ROOT)
    assert len(names(remote.local_copy("s3://logs/flights", tmp_path / "copy", start, end, root=ROOT))) == 5


@pytest.mark.usefixtures("bucket")
def test_a_large_file_is_compared_whole(log: Path, tmp_path: Path) -> None:
    name = f"{NAMES[0]}.jsonl"
    data = b"0123456789abcdef" * (60 << 16)  # above 50 MB a copy has parts, and no MD5
    (log / "predictions" / name).write_bytes(data)
    assert "5 of 5 files, 62.9 MB" in remote.upload(log, "s3://logs/flights", root=ROOT)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    copy = remote.local_copy("s3://logs/flights", tmp_path / "copy", start, start, root=ROOT)
    assert (copy / "predictions" / name).read_bytes() == data
