from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import CheckFailed, ConfigError
from slipway.sandbox.drills import fault_injection
from support.paths import ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """CLUSTER_FAULTS with programs that note what they are asked."""
    place = tmp_path / "faults"
    place.mkdir()
    for name in ("stop", "start"):
        program(place / name, f'echo {name} "$@" >>"{place}/asked"')
    monkeypatch.setenv("CLUSTER_FAULTS", str(place))
    return place


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


def test_part_is_down_while_the_block_runs(folder, tmp_path):
    with fault_injection.part_down(fault_injection.REGISTRY, remote=tmp_path):
        assert asked(folder) == ["stop registry"]
    assert asked(folder) == ["stop registry", "start registry"]


def test_part_is_killed_when_that_is_meant(folder, tmp_path):
    with fault_injection.part_down(fault_injection.CONTROLLER, remote=tmp_path, hard=True):
        assert asked(folder) == ["stop -9 argocd-application-controller"]


def test_part_comes_up_again_whatever_happens(folder, tmp_path):
    with pytest.raises(CheckFailed), fault_injection.part_down(fault_injection.GIT, remote=tmp_path):
        raise CheckFailed("in the block")
    assert asked(folder)[-1] == "start git-http"


def test_part_that_does_not_start_again_is_told_with_the_command(folder, tmp_path):
    program(folder / "start", "echo it is broken >&2; exit 1")
    again = pytest.raises(ConfigError, match=r"registry could not be started again: .*it is broken")
    with again as caught, fault_injection.part_down(fault_injection.REGISTRY, remote=tmp_path):
        pass
    assert caught.value.hint == f"start it by hand: {folder}/start registry"


def test_part_that_cannot_be_stopped_runs_no_block(folder, tmp_path):
    program(folder / "stop", "exit 1")
    with pytest.raises(ConfigError), fault_injection.part_down(fault_injection.REGISTRY, remote=tmp_path):
        pytest.fail("the block ran")


def test_without_programs_git_is_a_folder_that_is_away(tmp_path, monkeypatch):
    monkeypatch.delenv("CLUSTER_FAULTS", raising=False)
    remote = tmp_path / "remote.git"
    remote.mkdir()
    with fault_injection.part_down(fault_injection.GIT, remote=remote):
        assert not remote.exists()
    assert remote.is_dir()


@pytest.mark.parametrize(
    ("part", "stop", "start"),
    [
        (fault_injection.REGISTRY, "docker stop slipway-registry", "docker start slipway-registry"),
        (fault_injection.CONTROLLER, "kubectl -n argocd scale statefulset/argocd-application-controller --replicas=0",
         "kubectl -n argocd scale statefulset/argocd-application-controller --replicas=1"),
    ],
)  # fmt: skip
def test_without_programs_parts_are_stopped_as_they_were_started(part, stop, start):
    assert [" ".join(words) for words in fault_injection.stop_and_start(part, None, hard=True)] == [stop, start]


def test_part_that_nothing_stops_is_said_so():
    with pytest.raises(ConfigError, match="this machine has no way to stop etcd") as caught:
        fault_injection.stop_and_start("etcd", None, hard=False)
    assert "CLUSTER_FAULTS" in caught.value.hint


def test_container_is_the_one_that_make_cluster_starts():
    text = (ROOT / ".ci/cluster").read_text("utf-8")
    assert f"registry={fault_injection.CONTAINER}" in text
