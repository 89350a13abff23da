"""The bikes project with what it lacks to be packaged: the code, a bentofile, and a lookup for /ask."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from support.committed_project import begin, save
from support.paths import ROOT
from support.sample_reports import REGRESSION

LOOKUP = """
from typing import Annotated, Any
from pathlib import Path
from pydantic import BaseModel, ConfigDict, Field
from slipway.errors import DataError

class Question(BaseModel):
    model_config = ConfigDict(extra="forbid")
    station: Annotated[str, Field(max_length=16, examples=["park"])]
    hour: Annotated[int, Field(ge=0, le=23, examples=[14])]

def answer(path: Path, question: Question) -> dict[str, Any]:
    assert path.exists()
    if question.hour == 3:
        raise DataError("nothing is known of 3 o'clock", hint="ask about another hour")
    return {"station": question.station, "weekday": 5, "hour": question.hour, "temp": None,
            "recent": 21 if question.hour else 999, "yesterday": None}
"""


def packable(project: Path, folder: Path) -> Path:
    """A copy of the finished project that can be packaged: with the code, a bentofile, and a lookup `seen`."""
    shutil.copytree(project, folder)
    for name in ("src/slipway", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    lines = (ROOT / "bentofile.yaml").read_text("utf-8").splitlines(keepends=True)
    kept = [line.replace("src/flights/lookup.py", "src/seen.py") for line in lines]
    (folder / "bentofile.yaml").write_text("".join(line for line in kept if "src/flights" not in line), "utf-8")
    (folder / "src/seen.py").write_text(LOOKUP, "utf-8")
    (folder / "reports/metrics.json").write_text(json.dumps(REGRESSION), "utf-8")
    contract = folder / "models/contract.json"
    found = json.loads(contract.read_text("utf-8"))
    question = {"properties": {"station": {"type": "string", "maxLength": 16, "examples": ["park"]},
                               "hour": {"type": "integer", "minimum": 0, "maximum": 23, "examples": [14]}},
                "required": ["station", "hour"], "type": "object", "additionalProperties": False}  # fmt: skip
    contract.write_text(json.dumps(found | {"lookup": "seen", "question": question}), "utf-8")
    return folder


def committed(packable: Path, folder: Path) -> Path:
    """A copy of it as a repository with one commit, its models in Git: a base needs no cache to have them."""
    shutil.copytree(packable, folder, ignore=shutil.ignore_patterns(".slipway", "__pycache__"))
    (folder / ".gitignore").write_text("/.slipway/\n__pycache__/\n/reports/\n", "utf-8")
    (folder / "dvc.lock").write_text("stages: {}\n", "utf-8")
    begin(folder)
    return save(folder)
