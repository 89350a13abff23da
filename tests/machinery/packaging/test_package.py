"""Packaging: the same content is the same bento, what must not be served is refused, golden answers are proved."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.core import config, environment, files
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


READ_ALL = """
import os, pathlib, sys
os.setgroups([])
os.setgid(10001)
os.setuid(10001)
paths = [pathlib.Path(home, name) for home, folders, names in os.walk(sys.argv[1], onerror=sys.exit) for name in names]
print(sum(len(path.read_bytes()) for path in paths if "__pycache__" not in path.parts))
"""


def unreadable(folder: Path) -> list[str]:
    """The paths of a folder that another user cannot enter or read."""
    wrong = [
        path
        for path in (folder, *folder.rglob("*"))
        if (path.stat().st_mode & 0o555) < (0o555 if path.is_dir() else 0o444)
    ]
    return [path.relative_to(folder).as_posix() for path in wrong]


def test_bento_of_a_strict_umask_is_readable(packable: Path, tmp_path: Path) -> None:
    strict = shutil.copytree(packable, tmp_path / "p", ignore=shutil.ignore_patterns(".slipway", "__pycache__"))
    subprocess.run(["chmod", "-R", "go-rwx", str(strict)], check=True)
    program = "from slipway.packaging import package; from pathlib import Path; import os; os.umask(0o77); " \
        "print(package.build(Path.cwd(), name='bikes', readme='a').path)"  # fmt: skip
    env = environment.for_programs(strict)
    built = subprocess.run(
        [sys.executable, "-c", program], cwd=strict, env=env, capture_output=True, text=True, timeout=300, check=True
    )
    folder = strict / built.stdout.strip()
    assert unreadable(folder) == []
    assert (folder / "src/models").stat().st_mode & 0o222 == 0o200


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_user_of_the_image_reads_the_bento(bento: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        Path(scratch).chmod(0o755)
        copy = shutil.copytree(bento, Path(scratch) / "bento", ignore=shutil.ignore_patterns("__pycache__"))
        copy.joinpath("src").chmod(0o700)
        assert subprocess.run(
            [sys.executable, "-S", "-c", READ_ALL, str(copy)], capture_output=True, check=False
        ).returncode
        files.make_readable(copy)
        seen = subprocess.run([sys.executable, "-S", "-c", READ_ALL, str(copy)], capture_output=True, check=False)
    assert seen.returncode == 0, seen.stderr
    assert int(seen.stdout) > 100_000


def test_a_tampered_golden_answer_is_refused(inside: Path, params: config.Params) -> None:
    kept = (inside / package.GOLDEN).read_text("utf-8")
    golden = json.loads(kept)
    golden[5]["prediction"] += 0.5
    files.write_json(inside / package.GOLDEN, golden)
    try:
        with pytest.raises(
            CheckFailed,
            match=r"golden requests differ from the model's own by up to 0.027 .relative to answers above 1.",
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
