"""`ingest --pin` writes the hashes of the sources, and nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from bikes.problem import PROBLEM

from slipway.core import config, files
from slipway.errors import DataError
from slipway.lineage import pin
from support.callables import Cli
from support.paths import BIKES


def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, config.Params]:
    """A copy of the bikes problem's parameters, and its sources in a folder of their own, with one more row."""
    path = shutil.copy(BIKES / "params.yaml", tmp_path / "params.yaml")
    text = (BIKES / "bikes.csv").read_text("utf-8")
    (tmp_path / "bikes.csv").write_text(text + text.splitlines()[-1] + "\n", encoding="utf-8")
    monkeypatch.setattr(pin.problem, "load", lambda _: replace(PROBLEM, sources=lambda: tmp_path))
    return Path(path), config.load(Path(path))


def test_pin_writes_the_hashes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, params = pinned(tmp_path, monkeypatch)
    before = path.read_text("utf-8")
    sentence = pin.run(params, path=path)
    assert sentence.startswith("pinned bikes.csv in params.yaml")
    old = params.ingest.sources["bikes.csv"]
    assert path.read_text("utf-8") == before.replace(old, files.sha256(tmp_path / "bikes.csv"))
    assert pin.run(config.load(path), path=path) == "params.yaml has the hashes of all 1 source files already"


def test_pin_takes_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, params = pinned(tmp_path, monkeypatch)
    (tmp_path / "more.csv.zip").write_bytes(b"next month")
    pin.run(params, ["more.csv.zip"], path=path)
    assert config.load(path).ingest.sources["more.csv.zip"] == files.sha256(tmp_path / "more.csv.zip")


@pytest.mark.parametrize("place", ["named in params.yaml", "named on the command line"])
def test_pin_of_an_absent_file_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    path, params = pinned(tmp_path, monkeypatch)
    before = path.read_bytes()
    if place == "named in params.yaml":
        (tmp_path / "bikes.csv").unlink()
    with pytest.raises(DataError, match=place):
        pin.run(params, ["absent.csv"], path=path)
    assert path.read_bytes() == before


def test_a_file_without_pin_is_refused(cli: Cli, project: Path) -> None:
    refused = cli(project, "ingest", "more.csv")
    assert (refused.returncode, "a FILE is only for --pin" in refused.stderr) == (2, True)
