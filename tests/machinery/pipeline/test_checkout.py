"""Checkouts as users have them: Git's own conversions and partial forms are made harmless, or named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from slipway.core import git
from slipway.errors import ConfigError
from slipway.pipeline import checkout, stages
from support.committed_project import commit
from support.paths import ROOT


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files that this one tracks, as they are here."""
    folder = tmp_path_factory.mktemp("origin") / "a b é"
    for name in git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard", root=ROOT, strip=False).split(
        "\0"
    )[:-1]:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    commit(folder)
    return folder


def clone(origin: Path, folder: Path, *options: str) -> Path:
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", *options, str(origin), str(folder)], check=True)
    return folder


def names(folder: Path) -> list[str]:
    return git.run("ls-files", "-z", root=folder, strip=False).split("\0")[:-1]


@pytest.mark.parametrize(
    "options", [("core.autocrlf=true",), ("core.eol=crlf",), ("core.autocrlf=input", "core.eol=crlf")]
)
def test_clone_that_converts_has_the_bytes_of_the_commit(
    origin: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    copy = clone(origin, tmp_path / "copy", *(word for option in options for word in ("-c", option)))
    assert {name for name in names(origin) if (copy / name).read_bytes() != (origin / name).read_bytes()} == set()
    assert {
        name for name in names(copy) if b"\r\n" in (copy / name).read_bytes() and not name.endswith(".png")
    } == set()
    assert git.uncommitted_files(copy) == []
    checkout.require_plain(copy)
    subprocess.run(["bash", "-n", ".ci/run"], cwd=copy, check=True)
    assert stages.fingerprints(copy, stages.reaches(copy)) == stages.fingerprints(origin, stages.reaches(origin))


def test_every_binary_file_of_the_project_is_marked(origin: Path) -> None:
    binary = [name for name in names(origin) if b"\0" in (origin / name).read_bytes()]
    assert binary
    marked = git.run("check-attr", "-z", "text", "--", *binary, root=origin, strip=False).split("\0")[2::3]
    assert set(marked) == {"unset"}


def test_line_ends_converted_at_checkout_are_named(origin: Path, tmp_path: Path) -> None:
    copy = clone(origin, tmp_path / "copy")
    (copy / "Makefile").write_bytes((origin / "Makefile").read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(
        ConfigError, match=r"1 files have other line ends \(CRLF\) than the commit.*: Makefile; expected: LF"
    ):
        checkout.require_plain(copy)


def test_old_clone_is_mended_by_the_hint(origin: Path, tmp_path: Path) -> None:
    old = shutil.copytree(origin, tmp_path / "old")
    git.run("rm", "-q", ".gitattributes", root=old)
    git.run("commit", "-q", "-m", "Before", root=old)
    copy = clone(old, tmp_path / "copy", "-c", "core.autocrlf=true")
    assert "dvc.lock" in checkout.converted_files(copy)
    with pytest.raises(ConfigError) as caught:
        checkout.require_plain(copy)
    shutil.copy(origin / ".gitattributes", copy)
    git.run("add", ".gitattributes", root=copy)
    git.run("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "After", root=copy)
    subprocess.run(["sh", "-c", caught.value.hint.partition("then: ")[2]], cwd=copy, check=True)
    checkout.require_plain(copy)
    assert git.uncommitted_files(copy) == []


def test_sparse_checkout_is_refused_with_the_way_out(origin: Path, tmp_path: Path) -> None:
    copy = clone(origin, tmp_path / "copy", "--sparse")
    with pytest.raises(
        ConfigError, match=r"the checkout is sparse: it lacks \d.* files of the commit, such as "
    ) as caught:
        checkout.require_plain(copy)
    subprocess.run(caught.value.hint.split(), cwd=copy, check=True)
    checkout.require_plain(copy)


def test_folder_of_a_larger_repository_is_refused(origin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models/late"
    shutil.copytree(origin, folder, ignore=shutil.ignore_patterns(".git"))
    commit(tmp_path)
    with pytest.raises(ConfigError, match="lies in the folder models/late of a larger repository") as caught:
        checkout.require_plain(folder)
    split = caught.value.hint.rpartition("history: ")[2].replace("NAME", "own")
    subprocess.run(split.split(), cwd=tmp_path, check=True, capture_output=True)
    assert git.file_at("own", "dvc.yaml", root=tmp_path)


@pytest.mark.parametrize("kind", ["worktree", "submodule", "blobless"])
def test_other_forms_of_a_whole_checkout_are_plain(origin: Path, tmp_path: Path, kind: str) -> None:
    if kind == "worktree":
        copy = tmp_path / "linked"
        git.run("worktree", "add", "-q", "--detach", str(copy), root=clone(origin, tmp_path / "copy"))
    elif kind == "submodule":
        copy = tmp_path / "outer/inner"
        subprocess.run(["git", "init", "-q", str(copy.parent)], check=True)
        git.run("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(origin), "inner", root=copy.parent)
    else:
        git.run("config", "uploadpack.allowFilter", "true", root=origin)
        copy = clone(origin, tmp_path / "copy", "--filter=blob:none", "--no-local")
    checkout.require_plain(copy)
    with git.worktree("HEAD", tmp_path / "other", root=copy) as tree:
        assert sorted(names(tree)) == sorted(names(origin))
