"""Packaging: the same content is the same bento, what must not be served is refused, golden answers are proved."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.core import config, files
from slipway.errors import CheckFailed, ConfigError, DataError
from slipway.packaging import package
from slipway.serving import local_server
from support.paths import ROOT


@pytest.fixture
def inside(packable: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(packable)
    return packable


@pytest.fixture
def copy(bento: Path, tmp_path: Path) -> Path:
    """The bento as a folder to break."""
    return shutil.copytree(bento, tmp_path / "bento")


@pytest.fixture(scope="module")
def packaging(packable: Path, params: config.Params) -> tuple[str, dict[str, Any], str]:
    """The message, the record and the bento's README of one run; it takes seconds."""
    message = package.run(params, root=packable)
    record = files.read_json(packable / "reports/package.json")
    return message, record, (packable / record["notes"]["path"] / "README.md").read_text("utf-8")


def test_package_proves_the_golden_answers(
    packaging: tuple[str, dict[str, Any], str], packable: Path, bento: Path
) -> None:
    message, record, _ = packaging
    assert "returns all 16 golden answers" in message
    assert (record["verdict"], record["rows"]) == ("pass", 16)
    notes = record["notes"]
    assert packable / notes["path"] == bento  # built a second time, it is the same bento
    assert notes["bento"] == f"bikes:{package.sha256(bento)[:12]}"
    assert notes["model_sha256"] == files.sha256(packable / "models/model.onnx")


def test_the_bento_carries_the_cards_of_its_model(packaging: tuple[str, dict[str, Any], str]) -> None:
    _, record, text = packaging
    assert "# Model card: How many bikes will be hired?" in text
    assert "# Data card: How many bikes will be hired?" in text
    assert f"SHA-256 of the model: `{record['notes']['model_sha256']}`" in text


def test_same_model_from_another_commit_is_the_same_bento(packable: Path, bento: Path) -> None:
    again = package.build(packable, name="bikes", readme="merged by somebody else\n")
    assert (again.path, again.sha256) == (bento, package.sha256(bento))
    assert (again.path / "README.md").read_text("utf-8") == "merged by somebody else\n"


def test_a_tampered_golden_answer_is_refused(inside: Path, params: config.Params) -> None:
    kept = (inside / package.GOLDEN).read_text("utf-8")
    golden = json.loads(kept)
    golden[5]["prediction"] += 0.5
    files.write_json(inside / package.GOLDEN, golden)
    try:
        with pytest.raises(
            CheckFailed, match=r"golden requests differ from the model's own by up to 0.5; allowed: at most 0.0001"
        ):
            package.run(params)
    finally:
        files.write_text(inside / package.GOLDEN, kept)
    assert files.read_json(inside / "reports/package.json")["verdict"] == "fail"


def test_serving_does_not_change_what_the_bento_is(served: int, bento: Path) -> None:
    assert served
    assert bento.name == package.sha256(bento)[:12]


@pytest.mark.parametrize(("golden", "ok"), [([], None), ([{"row": {"station": 3}, "prediction": 1.0}], False)])
def test_nothing_replayed_is_no_pass(served: int, golden: list[dict[str, object]], ok: bool | None) -> None:
    assert package.replay(f"http://127.0.0.1:{served}", golden, tolerance=1.0).ok is ok


@pytest.mark.parametrize(
    ("break_", "says"),
    [
        (
            lambda src: (src / "models/model.onnx").unlink(),
            "the bento lacks models/model.onnx, named in bentofile.yaml",
        ),
        (lambda src: (src / "seen.py").unlink(), "the bento lacks the module seen, which models/contract.json names"),
        (
            lambda src: (src / "models/model.joblib").touch(),
            "the bento contains models/model.joblib, which must not be served",
        ),
        (lambda src: (src / "params.yaml").touch(), "the bento contains params.yaml, which must not be served"),
    ],
)
def test_a_bento_with_the_wrong_files_is_refused(copy: Path, break_: Callable[[Path], None], says: str) -> None:
    break_(copy / "src")
    with pytest.raises((ConfigError, DataError), match=says):
        package.check_contents(copy, ["models/model.onnx", "slipway/serving/service.py"])


def test_the_identity_leaves_out_dates_and_caches(copy: Path) -> None:
    before = package.sha256(copy)
    (copy / "bento.yaml").write_text("other")
    (copy / "src/slipway/__pycache__").mkdir(exist_ok=True)
    (copy / "src/slipway/__pycache__/x.pyc").write_text("cache")
    assert package.sha256(copy) == before
    (copy / "src/slipway/serving/service.py").write_text("other")
    assert package.sha256(copy) != before


def test_a_wrong_bentofile_is_a_wrong_setting(packable: Path, tmp_path: Path) -> None:
    shutil.copy(packable / "bentofile.yaml", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "bentofile.yaml").write_text("service: nothing:Here\ninclude: []\n")
    with pytest.raises(ConfigError, match=r"`bentoml build` failed"):
        package.build(tmp_path, name="bikes", readme="")
    assert not list((tmp_path / ".slipway/bentoml/bentos/bikes").iterdir())


def test_a_missing_file_is_named(packable: Path, tmp_path: Path) -> None:
    shutil.copy(packable / "bentofile.yaml", tmp_path)
    with pytest.raises(DataError, match=r"src/slipway/__init__.py, named in bentofile.yaml, does not exist"):
        package.build(tmp_path, name="bikes", readme="")


@pytest.mark.parametrize("text", [None, "include: [", "service: a:B\n", "3\n"])
def test_a_bentofile_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "bentofile.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"bentofile.yaml has no readable list `include`"):
        package.included_files(tmp_path)


def test_the_projects_bentofile_names_files_that_exist() -> None:
    root = ROOT
    code = [name for name in package.included_files(root) if not name.startswith("models/")]
    assert all((root / name).is_file() for name in code)
    assert {"src/slipway/serving/service.py", "src/flights/lookup.py", "requirements/serve.lock"} <= set(code)


@pytest.fixture
def packaged(inside: Path, bento: Path) -> Iterator[Path]:
    notes = {"bento": f"bikes:{bento.name}", "path": bento.relative_to(inside).as_posix(),
             "bento_sha256": package.sha256(bento)}  # fmt: skip
    files.write_json(inside / package.VERDICT, {"notes": notes})
    yield bento
    (inside / package.VERDICT).unlink()


def test_serve_refuses_what_was_not_packaged(packaged: Path) -> None:
    (packaged / "src/late.txt").touch()
    try:
        with pytest.raises(DataError, match=r"is missing, or has changed since it was packaged"):
            package.serve(port=local_server.find_free_port())
    finally:
        (packaged / "src/late.txt").unlink()


@pytest.mark.usefixtures("packaged")
def test_serve_refuses_a_package_that_is_gone(inside: Path) -> None:
    record = files.read_json(inside / package.VERDICT)
    record["notes"]["path"] = "bentos/gone"
    files.write_json(inside / package.VERDICT, record)
    with pytest.raises(DataError, match=r"gone is missing, or has changed since it was packaged"):
        package.serve(port=local_server.find_free_port())


def test_serve_without_a_package_says_what_to_do(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path), pytest.raises(DataError, match=r"package.json does not exist") as caught:
        package.serve(port=3000)
    assert caught.value.hint == "run `slipway package`"
