"""Real programs: a line of Python each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipway.core import files, process
from slipway.errors import ProgramKilled


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_both_streams_and_the_exit_code_are_kept():
    finished = process.run(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert (finished.code, finished.out, finished.err, finished.ok) == (3, "out\n", "err\n", False)
    assert process.run(python("")).ok


def test_program_runs_in_its_folder_with_its_environment(tmp_path):
    code = "import os; print(os.getcwd(), os.environ['WORD'], 'HOME' in os.environ)"
    finished = process.run(python(code), folder=tmp_path, env={"WORD": "yes"})
    assert finished.out.split() == [str(tmp_path), "yes", "False"]


@pytest.mark.parametrize("text", [None, "", "größer\n"])
def test_input_ends_with_its_text(text):
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    assert process.run(python(code), stdin=text).out == (text or "")


def test_bytes_that_are_not_utf8_are_replaced_or_refused():
    command = python(r"import sys; sys.stdout.buffer.write(b'a\xffb')")
    assert process.run(command).out == "a\ufffdb"
    with pytest.raises(UnicodeDecodeError):
        process.run(command, errors="strict")


def test_slow_program_is_stopped():
    started = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        process.run(python("import time; time.sleep(60)"), timeout=0.3)
    assert time.monotonic() - started < 30


def test_missing_program_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        process.run(["no-such-program"])
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        process.run(python(""), folder=tmp_path / "file")


@pytest.mark.parametrize(("out", "err", "count", "line"), [
    ("", "", 1, "exit code 3"),
    ("a\nb\n", " \n", 1, "b"),
    ("a\n", "c\nd\n", 1, "d"),
    ("a\n", "c\nd\ne\n", 2, "d e"),
    ("a\n", "", 5, "a"),
])  # fmt: skip
def test_last_lines_are_of_the_errors_first(out, err, count, line):
    assert process.ProcessResult(code=3, out=out, err=err).last_lines(count) == line


@pytest.mark.parametrize(("code", "text"), [
    ("print(' words ')", "words"),
    ("", "yes"),
    ("raise SystemExit(1)", None),
    ("import time; time.sleep(60)", None),
])  # fmt: skip
def test_output_of_a_program_or_none(code, text):
    seconds = 0.5 if "sleep" in code else 60
    assert process.probe(python(code), dict(os.environ), timeout=seconds) == text


def test_program_outside_of_the_path_prints_nothing(tmp_path):
    (tmp_path / "broken").write_text("not a program")
    (tmp_path / "broken").chmod(0o755)
    assert process.probe(["no-such-program"], {"PATH": str(tmp_path)}, timeout=60) is None
    assert process.probe(["broken"], {"PATH": str(tmp_path)}, timeout=60) is None
    assert process.probe_version(["no-such-program"], {"PATH": str(tmp_path)}, timeout=60) is None


@pytest.mark.parametrize(("words", "number"), [("kind v0.27.1 go1.22", "0.27.1"), ("v1.31", "1.31"), ("dev", "dev")])
def test_version_is_the_first_number(words, number):
    assert process.probe_version(python(f"print('{words}')"), dict(os.environ), timeout=60) == number


def test_poll_ends_when_the_condition_is_true():
    answers = iter([False, False, True])
    assert process.poll_until(lambda: next(answers), seconds=60, every=0.001)
    assert list(answers) == []


def test_poll_gives_up_after_its_time():
    started = time.monotonic()
    assert not process.poll_until(lambda: False, seconds=0.05, every=0.01)
    assert time.monotonic() - started > 0.05


def test_poll_tries_once_without_time():
    assert process.poll_until(lambda: True, seconds=0, every=60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_program_is_no_answer(number):
    with pytest.raises(ProgramKilled, match=rf"`python.*` was killed by signal {number.name}$") as caught:
        process.run(python(f"import os; os.kill(os.getpid(), {int(number)})"))
    assert caught.value.code == 2
    assert "memory" in caught.value.hint


def test_crash_of_a_program_is_its_own_failure():
    finished = process.run(python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    assert (finished.code, finished.last_lines()) == (-signal.SIGSEGV, "signal SIGSEGV")


def test_killed_probe_finds_nothing():
    assert process.probe(["sh", "-c", "kill -9 $$"], dict(os.environ), timeout=9) is None


@pytest.mark.parametrize(("command", "name"), [
    (["/x/bin/python", "-m", "dvc", "repro", "-q"], "dvc repro"),
    (["git", "-c", "core.quotePath=false", "-c", "a=b", "status", "-z"], "git status"),
    (["/usr/bin/kubectl", "get", "pods"], "kubectl get"),
    (["sh"], "sh"),
])  # fmt: skip
def test_program_is_called_by_its_name_and_verb(command, name):
    assert process.short_name(command) == name


@pytest.mark.parametrize(
    "text", ["x: No space left on device", "OSError: [Errno 122] Disk quota exceeded", "database or disk is full"]
)
def test_full_disk_of_a_program_is_named(text: str, tmp_path: Path) -> None:
    finished = process.run([sys.executable, "-c", f"import sys; print({text!r}, file=sys.stderr); sys.exit(3)"])
    with pytest.raises(files.CannotWrite, match=f"{tmp_path} cannot be written by `tool`: "):
        process.require_written(finished, "tool", tmp_path)


def test_killed_at_the_limit_of_a_file_is_a_full_disk(tmp_path: Path) -> None:
    finished = process.run(["sh", "-c", "ulimit -f 0; echo x > file"], folder=tmp_path)
    with pytest.raises(files.CannotWrite, match="File too large"):
        process.require_written(finished, "sh", tmp_path)


@pytest.mark.parametrize("text", ["remote: fatal: No space left on device", "fatal: bad object"])
def test_other_failure_of_a_program_is_not_the_disks(text: str, tmp_path: Path) -> None:
    process.require_written(process.ProcessResult(code=128, out="", err=text), "git push", tmp_path)
    process.require_written(process.ProcessResult(code=0, out="No space left on device", err=""), "tool", tmp_path)
