"""Real errors of the system, as the kernel and the libraries raise them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from slipway.commands import system_errors
from slipway.errors import ConfigError


def explained(error: BaseException) -> ConfigError:
    message = system_errors.explain(error)
    assert message is not None
    assert message.hint
    return message


def test_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        tmp_path.read_bytes()
    message = explained(caught.value)
    assert str(message) == f"{tmp_path} cannot be read or written: Is a directory"
    assert str(tmp_path) in message.hint


def test_both_names_of_a_failed_rename_are_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "a").rename(tmp_path / "b")
    assert f"{tmp_path / 'a'} → {tmp_path / 'b'} cannot be" in str(explained(caught.value))


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG]
)
def test_every_number_of_the_system_has_a_reason_and_a_next_step(number: int) -> None:
    message = explained(OSError(number, os.strerror(number), "models/model.onnx"))
    assert str(message) == f"models/model.onnx cannot be read or written: {os.strerror(number)}"
    assert "models" in message.hint


def test_error_without_a_file_has_its_reason() -> None:
    assert str(explained(ConnectionResetError(104, "Connection reset by peer"))).endswith(": Connection reset by peer")


def test_file_of_undecodable_text_is_found_in_the_traceback(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"a: \xe9\n")
    with pytest.raises(UnicodeDecodeError) as caught:
        path.read_text(encoding="utf-8")
    assert str(explained(caught.value)) == f"{path} is not UTF-8 text: byte 4 is 0xe9"


def test_undecodable_output_has_no_file() -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode()
    assert "byte 1 is 0xff" in str(explained(caught.value))


def test_name_of_a_file_that_is_not_utf8_is_shown() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        os.fsdecode(b"x\xff").encode()
    assert r"'x\udcff'" in str(explained(caught.value))


def test_no_memory_is_a_sentence() -> None:
    with pytest.raises(MemoryError) as caught:
        bytearray(1 << 62)
    assert "not enough memory" in str(explained(caught.value))


def test_library_that_passes_on_an_error_of_the_system_is_explained() -> None:
    error = RuntimeError("the store cannot be opened")
    error.__cause__ = PermissionError(errno.EACCES, "Permission denied", "x.db")
    assert "x.db" in str(explained(error))


def test_mistake_in_the_code_stays_one() -> None:
    error = KeyError("x")
    error.__context__ = PermissionError(errno.EACCES, "Permission denied", "x.db")  # handled before, not the cause
    assert system_errors.explain(error) is None
    assert system_errors.explain(UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range")) is None
