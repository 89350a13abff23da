"""The environment of an extra is made once, and again when its lock has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import ConfigError
from slipway.monitoring.log_files import extras


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "a b é"
    (root / "requirements").mkdir(parents=True)
    (root / "requirements/extra-none.lock").write_text("# nothing\n")
    return root


def test_an_unknown_extra_has_no_lock(project: Path) -> None:
    assert extras.lock("none", project) == project / "requirements/extra-none.lock"
    assert extras.lock("other", project) is None


def test_an_environment_is_made_once(project: Path) -> None:
    program = extras.python("none", project)
    mark = program.with_name("mark")
    mark.touch()
    assert extras.python("none", project) == program
    assert mark.exists()
    (project / "requirements/extra-none.lock").write_text("# changed\n")
    assert extras.python("none", project) == program
    assert not mark.exists()


def test_a_lock_that_cannot_be_installed_is_named(project: Path) -> None:
    (project / "requirements/extra-none.lock").write_text("./absent.whl\n")
    with pytest.raises(ConfigError, match="the environment for none cannot be made: "):
        extras.python("none", project)
    assert not (project / ".slipway/extras/none/ready").exists()
