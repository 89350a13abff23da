"""A repository in which everything was judged and packaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.core import git
from slipway.delivery import policy_rules, release
from support.committed_project import begin
from support.sample_ledger import repository  # noqa: F401

BENTO = {"bento": "bikes:1", "bento_sha256": "b1", "model_sha256": "m1", "path": "x"}


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    """A repository in which everything was judged and packaged."""
    folder = tmp_path / "a b é"
    folder.mkdir()
    (folder / "reports").mkdir()
    for name in ("models/model.onnx", "dvc.lock", "data/table.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    sha = release.files.sha256(folder / "models/model.onnx")
    records = {
        chapter: {"verdict": "pass", "inputs": {"challenger": sha}} for chapter in policy_rules.REQUIRED_VERDICTS
    }
    records["package"]["notes"] = BENTO | {"model_sha256": sha}
    for name, values in (records | {"metrics": {"auc": 0.7}}).items():
        (folder / f"reports/{name}.json").write_text(json.dumps(values))
    begin(folder)
    git.run("add", "dvc.lock", root=folder)
    git.run("commit", "-q", "-m", "Better features (#12)", root=folder)
    record(folder, "prove", inputs={"commit": git.commit_hash(root=folder)})
    return folder


def record(folder: Path, chapter: str, **changes: object) -> None:
    path = folder / f"reports/{chapter}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
