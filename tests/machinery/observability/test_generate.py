"""What is generated from slo.yaml, and compared with what is committed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from slipway.core.strict_model import parse_yaml
from slipway.errors import ConfigError
from slipway.observability import generate
from support.paths import OBJECTIVE, ROOT


def project(folder: Path, slo: str | None = None) -> Path:
    """A folder with a slo.yaml."""
    (folder / "loadtests").mkdir()
    text = OBJECTIVE.read_text(encoding="utf-8") if slo is None else slo
    (folder / "loadtests/slo.yaml").write_text(text, encoding="utf-8")
    return folder


def test_written_files_match_afterwards(tmp_path: Path) -> None:
    root = project(tmp_path)
    assert generate.run(write=True, root=root) == "6 files written below k8s"
    assert generate.run(write=False, root=root) == "the generated files below k8s match loadtests/slo.yaml"


def test_changed_objective_must_be_generated(tmp_path: Path) -> None:
    root = project(tmp_path)
    generate.run(write=True, root=root)
    path = root / "loadtests/slo.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("within_ms: 50", "within_ms: 75"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"k8s/observability/rules\.yaml does not match loadtests/slo\.yaml"):
        generate.run(write=False, root=root)


def test_absent_objectives_generate_nothing(tmp_path: Path) -> None:
    lines = OBJECTIVE.read_text(encoding="utf-8").split("objectives:")
    root = project(tmp_path, lines[0] + "canary:" + lines[1].partition("canary:")[2])
    assert generate.run(write=False, root=root) == "loadtests/slo.yaml has no objectives, so there are no alerts"


def test_pages_are_in_the_projects_repository(tmp_path: Path) -> None:
    assert generate.runbook_address(tmp_path) == "docs/alerts"
    (tmp_path / "argocd").mkdir()
    shutil.copy(ROOT / "argocd/project.yaml", tmp_path / "argocd/project.yaml")
    source = parse_yaml((tmp_path / "argocd/project.yaml").read_text(encoding="utf-8"))["spec"]["sourceRepos"][0]
    assert generate.runbook_address(tmp_path) == source.removesuffix(".git") + "/blob/main/docs/alerts"
