"""The walk over a reproduced repository with a registry, MLflow, bento and caches; then each link is tampered with."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slipway.cluster import kustomization
from slipway.core import config, environment, files, git, ledger
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.lineage import links, verify
from slipway.packaging import package
from slipway.pipeline import track
from slipway.serving.local_server import find_free_port
from support import fake_registry
from support.callables import Cli
from support.committed_project import edit, save

ALL = ["overlay", "ledger", "image", "bento", "run", "lock", "model", "data", "sources", "commit", "pull request"]
OVERLAY = """\
namespace: bikes-{env}
images:
  - name: serve
    newName: {address}/bikes
    digest: sha256:{zeros}
"""
LABELS = {"slipway.bento_sha256": "bento_sha256", "slipway.model_sha256": "model_sha256", "slipway.lock_sha256": "lock_sha256",
          "slipway.data_sha256": "data_sha256", "org.opencontainers.image.revision": "commit",
          "org.opencontainers.image.title": "bento"}  # fmt: skip


@dataclass(frozen=True)
class Project:
    """A repository, and the registry that its overlays name."""

    folder: Path
    hub: fake_registry.Registry

    def release(self, *, env: str = "staging", labels: dict[str, str] | None = None, **changes: object) -> str:
        """Push an image and write its ledger line and its overlay in one commit, with whatever lie; the image."""
        head = git.commit_hash(root=self.folder)
        bento = package.sha256(next(self.folder.glob(".slipway/bentoml/bentos/bikes/*/")))
        before = ledger.newest_line(ledger.read(env, self.folder))
        values = {
            "at": datetime(2026, 3, 1, tzinfo=UTC), "env": env, "action": "release", "bento": f"bikes:{bento[:12]}",
            "bento_sha256": bento, "model_sha256": files.sha256(self.folder / "models/model.onnx"),
            "lock_sha256": files.sha256(self.folder / "dvc.lock"),
            "data_sha256": files.sha256(self.folder / "data/table.parquet"),
            "commit": head, "pull_request": 12, "mlflow_run": files.read_json(self.folder / "reports/track.json")["run"],
            "metrics": {}, "verdicts": {"prove": "pass"}, "evidence": None, "supersedes": before.identity if before else None,
        } | changes  # fmt: skip
        said = {label: str(values[field]) for label, field in LABELS.items()} | (labels or {})
        image = str(values.get("image") or fake_registry.push(self.hub.address, "bikes", labels=said))
        values["image"] = image
        ledger.append(ledger.Line.model_validate(values), self.folder)
        kustomization.write_digest(kustomization.path(env, self.folder), "serve", image.partition("@")[2])
        save(self.folder)
        return image

    def walk(self, **start: str) -> dict[str, str]:
        """Each link's word, of the one chain that starts there (staging's overlay)."""
        ((_, found),) = verify.run(root=self.folder, **(start or {"env": "staging"})).items()
        return {link.name: link.word for link in found}

    def broken(self, **start: str) -> tuple[str, str]:
        """The first broken link and what verify says of it."""
        chains = verify.run(root=self.folder, **(start or {"env": "staging"}))
        with pytest.raises(CheckFailed, match="the first broken link is ") as told:
            verify.enforce(chains)
        assert told.value.hint
        assert files.read_json(self.folder / verify.RECORD)["verdict"] == "fail"
        (first,) = filter(None, map(links.first_broken, chains.values()))
        assert first.name in str(told.value)
        return first.name, first.message


@pytest.fixture(autouse=True)
def _own_stores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No login and no tracking server of this machine."""
    for name in ("MLFLOW_TRACKING_URI", "REGISTRY_USER", "REGISTRY_TOKEN", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


@pytest.fixture(scope="module")
def built(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bikes problem reproduced, tracked and packaged; merged as pull request 12. Read only."""
    folder = shutil.copytree(honest, tmp_path_factory.mktemp("verify") / "a b é", symlinks=True)
    git.run("commit", "-q", "--amend", "-m", "Better features (#12)", root=folder)
    params = config.load(folder / "params.yaml")
    track.run(params, root=folder)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow exports the address it was given
    package.build(folder, name=params.track.model, readme="# A card\n")
    return folder


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Iterator[Project]:
    """Its copy with overlays and a registry, nothing released yet. The source commit comes after the overlays."""
    folder = shutil.copytree(built, tmp_path / "a b é", symlinks=True)
    with fake_registry.Registry() as hub:
        for env in ledger.ENVIRONMENTS:
            path = kustomization.path(env, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(OVERLAY.format(env=env, address=hub.address, zeros="0" * 64), "utf-8")
        git.run("add", "-A", root=folder)
        git.run("commit", "-q", "--amend", "--no-edit", root=folder)
        yield Project(folder, hub)


def test_honest_release_is_walked_back_whole(project):
    project.release()
    assert project.walk() == dict.fromkeys(ALL, "ok")


def test_image_is_walked_back_by_its_digest_alone(project):
    image = project.release()
    assert project.walk(image=image.partition("@")[2]) == dict.fromkeys(ALL, "ok")


def test_image_that_both_environments_ran_is_walked_back_twice(project):
    image = project.release()
    project.release(
        env="production", action="promote", image=image, commit=git.commit_hash("HEAD~1", root=project.folder)
    )
    chains = verify.run(image=image, root=project.folder)
    assert {env: {link.word for link in found} for env, found in chains.items()} == {
        "staging": {"ok"},
        "production": {"ok"},
    }
    assert "staging and production: 22 links hold, 0 cannot be checked" in verify.enforce(chains)


def test_older_image_is_walked_back_by_its_own_line(project):
    older, source = project.release(), git.commit_hash("HEAD~1", root=project.folder)
    newer = project.release(labels={"a": "b"}, commit=source)
    assert older != newer
    assert project.walk(image=older) == project.walk(image=newer) == dict.fromkeys(ALL, "ok")


def test_record_holds_what_was_looked_at(project):
    project.release(mlflow_run=None)
    verify.run(env="staging", root=project.folder)
    record = files.read_json(project.folder / verify.RECORD)
    assert (record["verdict"], len(record["checks"])) == ("pass", len(ALL) - 1)
    assert record["notes"]["absent"] == {"staging: run": "the release recorded no MLflow run"}


def test_line_of_this_machine_is_walked_back_from_the_bento(project):
    file = ledger.path("staging", project.folder)
    project.release()
    row = json.loads(file.read_text("utf-8"))
    git.run("reset", "-q", "--hard", "HEAD~1", root=project.folder)
    file.parent.mkdir(exist_ok=True)
    file.write_text(ledger.Line.model_validate(row | {"image": None}).model_dump_json() + "\n", "utf-8")
    save(project.folder)
    assert project.walk() == dict.fromkeys(ALL, "ok") | {"overlay": "absent", "image": "absent"}


# Tampering, a link each


def commit(project: Project, name: str, before: str, after: str) -> None:
    edit(project.folder / name, before, after)
    save(project.folder)


def test_overlay_moved_by_hand_is_the_broken_link(project):
    other, _ = fake_registry.push(project.hub.address, "bikes", labels={"evil": "yes"}), project.release()
    kustomization.write_digest(kustomization.path("staging", project.folder), "serve", other.partition("@")[2])
    save(project.folder)
    name, said = project.broken()
    assert name == "overlay"
    assert f"and pins {other.partition('@')[2][:19]} now, without a ledger line" in said


def test_overlay_that_never_held_the_image_is_the_broken_link(project):
    project.release()
    name, said = project.broken(image="sha256:" + "e" * 64)
    assert name == "overlay"
    assert "no ledger line is about sha256:eeee" in said


def test_line_without_its_overlay_is_the_broken_link(project):
    image = project.release(image=fake_registry.push(project.hub.address, "bikes"))
    project.release(labels={"a": "b"})
    kustomization.write_digest(kustomization.path("staging", project.folder), "serve", image.partition("@")[2])
    git.run("commit", "-q", "-a", "--amend", "--no-edit", root=project.folder)
    assert project.broken(image=ledger.read("staging", project.folder)[-1].image)[0] == "overlay"


@pytest.mark.parametrize(
    ("before", "after"), [('"pull_request":12', '"pull_request":13'), ('"env":"staging"', '"env":"production"')]
)
@pytest.mark.parametrize("kept", [True, False], ids=["committed", "in the working tree"])
def test_ledger_line_rewritten_is_the_broken_link(project, before, after, kept):
    project.release()
    edit(ledger.path("staging", project.folder), before, after)
    if kept:
        save(project.folder)
    name, said = project.broken()
    assert name == "ledger"
    assert "changed existing lines" in said


def test_ledger_line_with_another_image_is_the_broken_link(project):
    project.release()
    other = fake_registry.push(project.hub.address, "bikes", labels={"a": "b"}).partition("@")[2]
    commit(project, "releases/staging.jsonl", kustomization.pinned_at("staging", "HEAD", project.folder).digest, other)
    assert project.broken()[0] == "ledger"


def test_ledger_line_removed_is_the_broken_link(project):
    image = project.release()
    ledger.path("staging", project.folder).write_text("")
    save(project.folder)
    name, said = project.broken(image=image)
    assert name == "ledger"
    assert "it had 1 lines and now has 0" in said


def test_ledger_cut_off_is_the_broken_link(project):
    project.release()
    file = ledger.path("staging", project.folder)
    file.write_text(file.read_text("utf-8")[:-9], "utf-8")
    assert project.broken()[0] == "ledger"


def test_ledger_line_that_nobody_committed_is_the_broken_link(project):
    project.release()
    project.release(labels={"a": "b"})
    git.run("reset", "-q", "--soft", "HEAD~1", root=project.folder)
    git.run("commit", "-q", "-m", "Only the overlay", "--", "k8s", root=project.folder)
    name, said = project.broken()
    assert (name, "is not committed" in said) == ("ledger", True)


def test_image_deployed_without_a_line_is_the_broken_link(project):
    image = fake_registry.push(project.hub.address, "bikes")
    kustomization.write_digest(kustomization.path("staging", project.folder), "serve", image.partition("@")[2])
    save(project.folder)
    assert project.broken() == (
        "ledger",
        f"no line of releases/staging.jsonl has the image {image.partition('@')[2][:19]}",
    )


@pytest.mark.parametrize("label", ["slipway.model_sha256", "org.opencontainers.image.revision"])
def test_image_that_says_something_else_is_the_broken_link(project, label):
    project.release(labels={label: "f" * 64})
    name, said = project.broken()
    assert name == "image"
    assert f"{label} is ffffffffffff; expected: " in said


def test_image_that_is_gone_is_the_broken_link(project):
    project.release()
    project.hub.manifests.clear()
    assert project.broken()[0] == "image"


def test_image_of_other_bytes_is_the_broken_link(project):
    project.release()
    project.hub.manifests = {key: (kind, raw + b" ") for key, (kind, raw) in project.hub.manifests.items()}
    name, said = project.broken()
    assert (name, "the registry returned bytes with another digest" in said) == ("image", True)


@pytest.mark.parametrize("name", ["src/slipway/serving/service.py", "src/models/model.onnx"])
def test_bento_with_an_edited_file_is_the_broken_link(project, name):
    project.release()
    (bento,) = project.folder.glob(".slipway/bentoml/bentos/bikes/*/")
    with (bento / name).open("ab") as file:
        file.write(b"\n")
    assert project.broken()[0] == "bento"


def test_bento_without_its_model_is_the_broken_link(project):
    project.release()
    next(project.folder.glob(".slipway/bentoml/bentos/bikes/*/src/models/model.onnx")).unlink()
    assert project.broken()[0] == "bento"


def test_bento_of_another_name_is_the_broken_link(project):
    project.release(bento="bikes:000000000000")
    assert project.broken()[0] == "bento"


@pytest.mark.parametrize("tag", ["lock_sha256"])
def test_run_with_another_tag_is_the_broken_link(project, tag):
    project.release()
    client(project).set_tag(files.read_json(project.folder / "reports/track.json")["run"], tag, "f" * 64)
    name, said = project.broken()
    assert (name, f"{tag} is ffffffffffff" in said) == ("run", True)


def client(project: Project):
    with track._quiet():
        import mlflow

        return mlflow.MlflowClient(environment.tracking_uri(project.folder))


def test_lock_edited_at_the_source_commit_is_the_broken_link(project):
    known = files.sha256(project.folder / "dvc.lock")
    commit(project, "dvc.lock", "size: ", "size: 1")
    project.release(lock_sha256=known, pull_request=None)
    assert project.broken()[0] == "lock"


@pytest.mark.parametrize("text", [None, "schema: '2.0'\n", "stages: [", "stages: {ingest: {outs: [{path: a}]}}\n"])
def test_lock_that_is_none_is_the_broken_link(project, text):
    known = files.sha256(project.folder / "dvc.lock")
    (project.folder / "dvc.lock").unlink()
    if text:
        (project.folder / "dvc.lock").write_text(text)
    save(project.folder)
    values = {"lock_sha256": known, "pull_request": None}
    if text is None:
        (project.folder / "dvc.lock").write_text("put back")
    project.release(**values, commit=git.commit_hash(root=project.folder))
    assert project.broken()[0] == "lock"


def cached(project: Project, name: str) -> Path:
    """An output's place in DVC's cache."""
    from slipway.lineage import sources

    md5 = sources.lock_at("HEAD", project.folder).outs[name]
    return project.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(("link", "name"), [("model", "models/model.onnx"), ("data", "data/table.parquet")])
def test_cache_of_other_bytes_is_the_broken_link(project, link, name):
    project.release()
    spoil(cached(project, name))
    found, said = project.broken()
    assert (found, f"{name} in DVC's cache has md5" in said) == (link, True)


def test_model_that_nobody_proved_is_the_broken_link(project):
    file = project.folder / "models/model.onnx"
    bento = next(project.folder.glob(".slipway/bentoml/bentos/bikes/*/"))
    shutil.rmtree(bento)
    lie = {"model_sha256": "f" * 64, "bento": "bikes:" + "b" * 12, "bento_sha256": "b" * 64, "mlflow_run": None}
    bento.mkdir()
    project.release(**lie)
    assert project.walk()["model"] == "ok"  # by the recorded proof: another processor's bytes
    project.release(**lie, verdicts={}, commit=git.commit_hash("HEAD~1", root=project.folder))
    found, said = project.broken()
    assert (found, files.sha256(file)[:12] in said) == ("model", True)


def test_data_of_another_hash_is_the_broken_link(project):
    project.release(data_sha256="f" * 64, mlflow_run=None)
    assert project.broken()[0] == "data"


@pytest.mark.parametrize("after", ["bikes.csv: f", "bikes.csv: ", "other.csv: "])
def test_sources_edited_after_the_lock_are_the_broken_link(project, after):
    row = next(
        r for r in (project.folder / "params.yaml").read_text("utf-8").splitlines() if "bikes.csv: " in r
    ).strip()
    sha = row.partition(": ")[2]
    commit(project, "params.yaml", row, after + ("f" * 63 if after.endswith("f") else sha[::-1]))
    project.release(pull_request=None)
    assert project.broken()[0] == "sources"


def test_params_without_sources_are_the_broken_link(project):
    (project.folder / "params.yaml").write_text("seed: 1\n")
    save(project.folder)
    project.release(pull_request=None)
    assert project.broken()[0] == "sources"


def test_commit_beside_main_is_the_broken_link(project):
    git.run("checkout", "-q", "-b", "aside", root=project.folder)
    (project.folder / "aside").write_text("x")
    aside = git.commit_hash(root=save(project.folder))
    git.run("checkout", "-q", "main", root=project.folder)
    git.run("merge", "-q", "--no-ff", "-m", "Merge it", "aside", root=project.folder)
    project.release(commit=aside, pull_request=None)
    name, said = project.broken()
    assert (name, "not on main itself" in said) == ("commit", True)


@pytest.mark.parametrize("commit", ["f" * 40, "--all"])
def test_commit_that_is_none_is_the_broken_link(project, commit):
    project.release(commit=commit)
    assert project.broken()[0] == "commit"


def test_commit_later_than_its_line_is_the_broken_link(project):
    project.release()
    (project.folder / "later").write_text("x")
    later = git.commit_hash(root=save(project.folder))
    image = project.release(commit=later)
    git.run("reset", "-q", "--hard", "HEAD~2", root=project.folder)  # the same line, in a commit before its source
    line = ledger.Line.model_validate_json(
        git.run("show", "HEAD@{1}:releases/staging.jsonl", root=project.folder).splitlines()[-1]
    )
    ledger.append(line, project.folder)
    kustomization.write_digest(kustomization.path("staging", project.folder), "serve", image.partition("@")[2])
    save(project.folder)
    git.run("merge", "-q", "-s", "ours", "-m", "Merge", "--no-ff", later, root=project.folder)
    git.run("branch", "-q", "-f", "origin/main", later, root=project.folder)
    git.run("update-ref", "refs/remotes/origin/main", later, root=project.folder)
    name, said = project.broken()
    assert (name, "is not older than" in said) == ("commit", True)


def test_other_pull_request_is_the_broken_link(project):
    project.release(pull_request=99)
    assert project.broken() == ("pull request", "the commit's subject names #12, but the ledger line names #99")


def test_run_that_the_server_lost_is_the_broken_link(project, monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    project.release()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        name, said = project.broken()
        server.shutdown()
    assert (name, "the MLflow server has no run" in said) == ("run", True)


# Out of reach


def test_what_is_out_of_reach_is_absent_and_shown(project, capsys):
    project.release()
    for name in (".slipway", ".dvc/cache", "mlartifacts"):
        shutil.rmtree(project.folder / name)
    (project.folder / "mlflow.db").unlink()
    project.hub.login = ("ada", "s3cret")
    found = project.walk()
    assert {name for name, word in found.items() if word == "absent"} == {"image", "bento", "run", "data"}
    assert found["model"] == "ok"  # by the recorded proof
    chains = verify.run(env="staging", root=project.folder)
    assert "7 links hold, 4 cannot be checked from here" in verify.enforce(chains)
    verify.show(chains)
    assert "absent  image         127.0.0.1:" in capsys.readouterr().out


def test_registry_that_is_down_is_absent(project):
    project.release()
    overlay_text = kustomization.path("staging", project.folder).read_text("utf-8")
    assert project.hub.address in overlay_text
    project.hub.when = lambda _: fake_registry.problem(503, "UNAVAILABLE")
    assert project.walk()["image"] == "absent"


def test_run_of_another_machine_is_absent(project):
    project.release(mlflow_run="0" * 32)
    assert project.walk()["run"] == "absent"


def test_run_that_was_deleted_is_absent_here(project):
    project.release()
    client(project).delete_run(files.read_json(project.folder / "reports/track.json")["run"])
    assert project.walk()["run"] == "absent"


def test_tracking_server_that_is_down_is_absent(project, monkeypatch):
    project.release()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{find_free_port()}")
    assert project.walk()["run"] == "absent"


def test_shallow_clone_leaves_the_source_out_of_reach(project, tmp_path):
    project.release()
    clone = tmp_path / "clone"
    git.run("clone", "-q", "--depth", "1", project.folder.as_uri(), str(clone), root=tmp_path)
    found = Project(clone, project.hub).walk()
    assert {name for name, word in found.items() if word == "absent"} >= {
        "lock",
        "sources",
        "commit",
        "pull request",
    }
    assert "broken" not in found.values()


def test_commit_without_a_pull_request_is_absent(project):
    git.run("commit", "-q", "--amend", "-m", "Straight to main", root=project.folder)
    project.release(pull_request=None)
    assert project.walk()["pull request"] == "absent"


# Where it starts


def test_nothing_released_says_what_to_do(project):
    with pytest.raises(ConfigError, match="production has no release yet"):
        verify.run(root=project.folder)


@pytest.mark.parametrize(
    "start",
    [
        {"env": "staging", "image": "x"},
        {"pod": "a", "env": "staging"},
        {"namespace": "a"},
        {"env": "test"},
        {"image": "bikes:1"},
    ],
)
def test_start_is_one_thing_that_there_is(project, start):
    with pytest.raises(ConfigError):
        verify.run(root=project.folder, **start)


def pod(asked: str, runs: str, container: str = "serve") -> dict[str, object]:
    """As the API server gives it."""
    return {
        "metadata": {"name": "serve-1", "namespace": "bikes-staging"},
        "spec": {"containers": [{"name": container, "image": asked}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": container, "imageID": runs}]},
    }


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`cluster(pod, …)`: from now on `kubectl` is a program that lists these pods."""

    def holds(*pods: dict[str, object]) -> None:
        program = tmp_path / "bin/kubectl"
        program.parent.mkdir(exist_ok=True)
        (tmp_path / "pods.json").write_text(json.dumps({"items": pods}))
        program.write_text(f"#!/bin/sh\nexec cat '{tmp_path}/pods.json'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return holds


def test_pod_is_walked_back_from_what_it_runs(project, cluster):
    image = project.release()
    cluster(pod(image, "docker-pullable://" + image))
    assert project.walk(pod="serve-1") == {"pod": "ok"} | dict.fromkeys(ALL, "ok")


def test_pod_that_runs_other_than_asked_is_the_broken_link(project, cluster):
    image = project.release()
    cluster(pod(image, "sha256:" + "e" * 64))
    assert project.broken(pod="serve-1", namespace="bikes-staging")[0] == "pod"


def test_pod_asked_for_by_a_tag_is_the_broken_link(project, cluster):
    image = project.release()
    cluster(pod(image.partition("@")[0] + ":latest", image))
    assert project.broken(pod="serve-1")[0] == "pod"


def test_pod_of_an_unknown_image_breaks_at_the_overlay(project, cluster):
    project.release()
    other = f"{project.hub.address}/bikes@sha256:{'e' * 64}"
    cluster(pod(other, other))
    assert project.broken(pod="serve-1")[0] == "overlay"


def test_pod_that_runs_nothing_yet_is_unsure(project, cluster):
    cluster(pod("a@sha256:" + "e" * 64, ""))
    with pytest.raises(Inconclusive, match="pod serve-1 runs no container yet; its phase is Running"):
        project.walk(pod="serve-1")


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([], "is in no namespace"),
        ([pod("a", "b")] * 2, "is in bikes-staging, bikes-staging"),
        ([pod("a", "b", container="other")], "has no container serve"),
    ],
)
def test_pod_that_is_none_of_ours_is_named(project, cluster, pods, said):
    cluster(*pods)
    with pytest.raises(ConfigError, match=said):
        project.walk(pod="serve-1")


# What is shown


def test_verb_prints_the_chain_and_ends_in_four(project, cli: Cli):
    project.release(labels={"slipway.model_sha256": "f" * 64}, mlflow_run=None)  # without MLflow it starts in a moment
    done = cli(project.folder, "verify", "--env", "staging")
    assert done.returncode == 4
    assert [row.split()[:3] for row in done.stdout.splitlines()][:3] == [
        ["staging", "ok", "overlay"], ["staging", "ok", "ledger"], ["staging", "broken", "image"]]  # fmt: skip
    assert (
        "verify: staging: the first broken link is image: labels of the image: slipway.model_sha256 is ffff"
        in done.stderr
    )
    assert "next: " in done.stderr


def test_verb_prints_json_alone_when_asked(project, cli: Cli):
    project.release()
    done = cli(project.folder, "verify", "--env", "staging", "--json")
    assert done.returncode == 0, done.stderr
    assert [link["name"] for link in json.loads(done.stdout)["staging"]] == ALL
    assert "11 links hold" in done.stderr


def test_terminal_gets_a_table(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    verify.show({"staging": [links.ok("overlay", "pins [it]"), links.broken("image", "gone", "push it")]})
    shown = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "staging" in shown
    assert re.search(r"overlay +ok +pins \[it\]\s+image +broken +gone", shown)
