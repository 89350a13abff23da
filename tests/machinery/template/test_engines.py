"""`.ci/engines` installs the programs that tests run, and says which it does not know."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import engines
from support.executables import write_script
from support.paths import ROOT


def install(name: str, folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script in `folder` with this PATH."""
    (folder / ".ci").mkdir()
    copy = shutil.copy(ROOT / ".ci/engines", folder / ".ci/engines")
    bash = str(shutil.which("bash"))
    return subprocess.run([bash, copy, name], env={"PATH": path}, capture_output=True, text=True, check=False)


def test_unknown_engine_names_the_known(tmp_path: Path) -> None:
    ended = install("grafana", tmp_path, os.environ["PATH"])
    assert (ended.returncode, ended.stderr) == (
        2, ".ci/engines: grafana is unknown; expected: chromium, prometheus, alertmanager, s3 or grafana-sdk\n",
    )  # fmt: skip


def test_present_program_is_not_installed_again(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("prometheus", "promtool"):
        write_script(tmp_path / "bin" / name, "exit 9")
    (tmp_path / "bin/dirname").symlink_to(str(shutil.which("dirname")))
    ended = install("prometheus", tmp_path, str(tmp_path / "bin"))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_system_without_apt_says_what_is_absent(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dirname").symlink_to(str(shutil.which("dirname")))
    ended = install("prometheus", tmp_path, str(tmp_path / "bin"))
    assert ended.returncode == 2
    assert "prometheus is absent and cannot be installed here; install it so that it is on PATH" in ended.stderr


def test_absent_program_fails_only_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no nowhere here"):
        engines.require("nowhere")
    monkeypatch.setenv("CI", "false")
    with pytest.raises(pytest.skip.Exception, match="no nowhere here"):
        engines.require("nowhere")
