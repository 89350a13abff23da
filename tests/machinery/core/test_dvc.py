from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slipway.core import dvc, environment, process
from slipway.errors import ConfigError

EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
LOCK = f"""
schema: '2.0'
stages:
  train:
    cmd: python -m slipway train
    deps:
    - path: data/features.parquet
      md5: aa
    outs:
    - path: models/model.joblib
      md5: {EMPTY}
    - path: reports/pictures
      md5: {EMPTY}.dir
    - path: reports/metrics.json
"""


def test_stages_of_a_lock_are_read_by_name():
    assert dvc.lock_stages(LOCK)["train"]["cmd"] == "python -m slipway train"


@pytest.mark.parametrize("text", [
    None, "", "[", "3", "stages: []", "stages: {a: 1}", "stages: {a: {outs: [x]}}", "stages: {a: {outs: [{path: 1}]}}",
])  # fmt: skip
def test_text_that_is_not_a_lock_has_no_stages(text):
    assert dvc.lock_stages(text) == {}


def test_lock_of_a_checkout_is_read(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK)
    assert dvc.read_lock(tmp_path) == dvc.lock_stages(LOCK)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_checkout_without_a_readable_lock_has_no_stages(tmp_path, content):
    if content is not None:
        (tmp_path / "dvc.lock").write_bytes(content)
    assert dvc.read_lock(tmp_path) == {}


def test_hashes_are_those_of_outputs_that_have_one():
    hashes = dvc.output_hashes(dvc.lock_stages(LOCK))
    assert hashes == {"models/model.joblib": EMPTY, "reports/pictures": f"{EMPTY}.dir"}


def test_cached_file_is_given_only_with_its_own_bytes(tmp_path):
    path = tmp_path / "files/md5" / EMPTY[:2] / EMPTY[2:]
    assert dvc.cached_file(tmp_path, EMPTY) is None
    path.parent.mkdir(parents=True)
    path.touch()
    assert dvc.cached_file(tmp_path, EMPTY) == path
    path.write_text("other")
    assert dvc.cached_file(tmp_path, EMPTY) is None


@pytest.mark.parametrize("md5", ["../../etc", "", EMPTY.upper(), f"{EMPTY}/x"])
def test_hash_of_another_form_is_not_looked_for(tmp_path, md5):
    assert dvc.cached_file(tmp_path, md5) is None


def test_shared_cache_is_the_cache_of_the_checkout(tmp_path):
    assert dvc.cache_folder(tmp_path) == tmp_path / ".dvc/cache"
    dvc.share_cache(tmp_path, tmp_path / "a b é")
    assert dvc.cache_folder(tmp_path) == tmp_path / "a b é"


def test_relative_cache_is_relative_to_the_configuration(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config.local").write_text("[core]\n    remote = x\n[cache]\n    dir = ../cache\n")
    assert dvc.cache_folder(tmp_path) == tmp_path / "cache"


LEVELS = {
    "repo": ".dvc/config",
    "local": ".dvc/config.local",
    "global": ".slipway/dvc/config",
    "system": "system/config",
}


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A folder with DVC's own; the configuration of system and user is in it too."""
    root = tmp_path / "a, b=c#proj é"
    (root / ".dvc").mkdir(parents=True)
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(root / "system"))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(root / ".slipway/dvc"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(root)  # DVC takes a relative cache as one of the working directory
    return root


def dvcs_own(root: Path) -> Path:
    """The cache that DVC uses in this checkout."""
    from dvc.repo import Repo

    with Repo(str(root), uninitialized=False, config={"core": {"no_scm": True}}) as repo:
        return Path(repo.cache.local_cache_dir).resolve()


def configure(root: Path, level: str, **cache: str) -> None:
    """Let DVC write its own configuration."""
    from dvc.config import Config

    with Config(str(root / ".dvc")).edit(level) as settings:
        settings["cache"] |= cache


PLACES = [
    "/srv/shared",
    "/srv/a#b",
    "/srv/a b, c",
    "/srv/it's",
    '/srv/"q"',
    "/srv/a=b;c",
    "../cache",
    "~/shared",
    "/srv/%d",
]


@pytest.mark.parametrize("place", PLACES)
def test_cache_that_dvc_wrote_is_read(checkout, place):
    configure(checkout, "repo", dir=place, type="symlink")
    assert dvc.cache_folder(checkout) == dvcs_own(checkout) != checkout / ".dvc/cache"


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_of_configuration_counts(checkout, level):
    configure(checkout, level, dir="/srv/shared")
    assert (checkout / LEVELS[level]).exists()
    assert dvc.cache_folder(checkout) == dvcs_own(checkout) == Path("/srv/shared")


def test_configuration_of_the_user_is_read_here_and_by_programs(checkout, monkeypatch, tmp_path):
    monkeypatch.delenv("DVC_GLOBAL_CONFIG_DIR")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    (tmp_path / "own/dvc").mkdir(parents=True)
    (tmp_path / "own/dvc/config").write_text("[cache]\n    dir = /srv/own\n[core]\n    remote = lab\n")
    assert dvc.cache_folder(checkout) == Path("/srv/own")
    command = [sys.executable, "-m", "dvc", "config", "--global", "core.remote"]
    assert process.run(command, folder=checkout, env=environment.for_programs(checkout)).out == "lab\n"


def test_nearer_configuration_overrules(checkout):
    for number, level in enumerate(["system", "global", "repo", "local"]):
        configure(checkout, level, dir=f"/srv/{number}", shared="group")
        assert dvc.cache_folder(checkout) == dvcs_own(checkout) == Path(f"/srv/{number}")


@pytest.mark.parametrize("text", [
    "[cache]\ndir = /srv/x # why\n", "[CACHE]\nDIR = '/srv/x'\n", "['remote \"r\"']\nurl = /srv/x\n[cache]\nlocal = r\n",
    "[core]\nsite_cache_dir = /srv/site\n", "[other]\ndir = /srv/no\n",
])  # fmt: skip
def test_configuration_by_hand_is_read_as_dvc_does(checkout, text):
    (checkout / ".dvc/config.local").write_text(text.replace("[other]\ndir", "['remote \"cache\"']\nurl"))
    assert dvc.cache_folder(checkout) == dvcs_own(checkout)


@pytest.mark.parametrize("place", ["/srv/é", *(each for each in PLACES if each[0] == "/")])
def test_shared_cache_is_what_dvc_reads(checkout, place):
    (checkout / ".dvc/config.local").write_text("[cache]\n    type = symlink\n    dir = old\n")
    dvc.share_cache(checkout, Path(place))
    assert dvcs_own(checkout) == dvc.cache_folder(checkout) == Path(place)
    assert "type = symlink" in (checkout / ".dvc/config.local").read_text()


def test_default_cache_is_inside_a_project_with_a_sign(checkout):
    assert dvc.cache_folder(checkout) == dvcs_own(checkout) == checkout / ".dvc/cache"


@pytest.mark.parametrize("text", ["[cache\n", "[cache]\ndir = %(no)s\n", "[cache]\ndir = s3://bucket/x\n",
                                  "[cache]\nlocal = absent\n"])  # fmt: skip
def test_configuration_without_a_folder_is_refused(checkout, text):
    (checkout / ".dvc/config").write_text(text)
    with pytest.raises(ConfigError) as caught:
        dvc.cache_folder(checkout)
    assert caught.value.hint


def test_path_that_no_configuration_holds_is_refused(checkout):
    with pytest.raises(ConfigError, match="DVC's configuration cannot hold the path"):
        dvc.share_cache(checkout, Path("/srv/'''\"\"\""))
    assert not (checkout / ".dvc/config.local").exists()
