from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from slipway.core import files, git
from slipway.errors import CheckFailed, ConfigError
from slipway.packaging import image_builder
from slipway.sandbox.drills import bad_artifacts, fault_injection, outages
from slipway.sandbox.drills.timeline import Timeline
from support import fake_cluster
from support.paths import ROOT


@pytest.fixture
def there(tmp_path, monkeypatch):
    found = fake_cluster.world(tmp_path, monkeypatch)
    for name in (image_builder.DOCKERFILE, bad_artifacts.SERVICE):
        files.write_text(found.work / name, "FROM x AS slim\n")
    git.run("add", "-A", root=found.work)
    git.run("commit", "-q", "-m", "Recipe", root=found.work)
    git.run("push", "-q", "origin", "main", root=found.work)
    return found


def test_change_is_of_the_recipe_alone_and_on_main(there):
    made = outages.commit_change(there, "a drill")
    assert git.run("show", "--format=", "--name-only", made, root=there.work) == "Dockerfile"
    assert git.commit_hash("main", root=there.sandbox.remote) == made


def test_change_mends_a_service_that_was_left_slow(there):
    front = there.work / bad_artifacts.SERVICE
    front.write_text(f"FROM x AS slim\n        await asyncio.sleep(0.08)  {bad_artifacts.MARK}\n", encoding="utf-8")
    git.run("commit", "-q", "-a", "-m", "Slow", root=there.work)
    outages.commit_change(there, "a drill")
    assert front.read_text().startswith("FROM x AS slim\n        # a drill: in time again, after ")


def test_nothing_bumped_is_what_the_remote_says(there):
    watch, before = Timeline(there.sandbox, "git"), outages.remote_ledgers(there)
    outages.expect_untouched(there, watch, before)
    with pytest.raises(CheckFailed, match="drill git: a ledger on the remote changed"):
        outages.expect_untouched(there, watch, [before[0], ""])


def test_debris_of_a_bump_is_refused(there):
    watch, before = Timeline(there.sandbox, "git"), outages.remote_ledgers(there)
    files.make_folder(there.work / ".slipway/bump-staging")
    with pytest.raises(CheckFailed, match=r"files are left over: bump-staging"):
        outages.expect_untouched(there, watch, before)


def test_clone_asks_the_server_only_where_there_is_one(there, monkeypatch):
    def origin():
        return git.run("remote", "get-url", "origin", root=there.work)

    folder = origin()
    with outages.origin_over_http(there):
        assert origin() == folder
    monkeypatch.setenv("GIT_URL", "http://git.example.org")
    monkeypatch.setenv("CLUSTER_FAULTS", "/somewhere")
    with outages.origin_over_http(there):
        assert origin() == f"http://git.example.org/{there.sandbox.remote.name}"
    assert origin() == folder


def test_ledgers_are_read_while_git_is_away_from_nobody(there, monkeypatch):
    monkeypatch.delenv("CLUSTER_FAULTS", raising=False)
    with fault_injection.part_down(fault_injection.GIT, remote=there.sandbox.remote):
        assert not there.sandbox.remote.exists()
    assert all(outages.remote_ledgers(there))


def test_the_small_log_is_a_patch_that_goes_again():
    text = (ROOT / outages.PRODUCTION).read_text("utf-8")
    small = outages.with_small_log(text)
    [patch] = YAML(typ="safe").load(small)["patches"]
    pod = YAML(typ="safe").load(patch["patch"])["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "log", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]
    assert small.replace(outages.SMALL_LOG, "\n") == text
    with pytest.raises(ConfigError, match="has patches, or no images"):
        outages.with_small_log(small)


def test_a_pod_is_asked_by_a_whole_program(there, monkeypatch):
    def run(*words, timeout):
        assert (words[-2], words[-1], timeout) == (outages.ASK, "7", 180)
        return 'a word\n{"answered": 7, "lines": 5, "lost": 2}\n'

    compile(outages.ASK, "ask", "exec")
    monkeypatch.setattr(outages.kubectl, "run", run)
    assert outages.ask_in_pod(there, 7) == {"answered": 7, "lines": 5, "lost": 2}
