from __future__ import annotations

import pytest

from slipway.core import dvc

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
