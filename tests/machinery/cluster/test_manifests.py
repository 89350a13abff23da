"""From two commits to the record. `kustomize` is a script that prints a file; the real one runs in test_manifests_rendered.py."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster import admission_rules, manifests
from slipway.core import environment, files, git
from slipway.errors import CheckFailed, ConfigError
from slipway.reporting import report_data
from support.committed_project import begin, save
from support.executables import write_script
from support.sample_pods import BAD, made, pod

STAGING = "k8s/overlays/staging"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, on whose PATH there is Git, a shell, and no kustomize."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "sh", "cat", "sleep"):
        where = shutil.which(name)
        assert where
        (folder / name).symlink_to(where)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def kustomize(bare: Path) -> Path:
    """A program of that name, which prints the `objects` of a folder."""
    return program(bare, 'cat "$2/objects"')


def program(folder: Path, does: str) -> Path:
    return write_script(folder / "kustomize", does)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with one overlay that holds a Deployment and a hook."""
    root = tmp_path / "a b é"
    hook = made("Job", "load-gate", pod())
    hook["metadata"]["annotations"] = {"argocd.argoproj.io/hook": "PostSync"}
    write(root, made("Deployment", "serve", pod()), hook)
    (root / "bentofile.yaml").write_text("include: [src/a.py, models/model.onnx]\n", "utf-8")
    (root / ".gitignore").write_text("/.slipway/\n/reports/\n", "utf-8")
    lock(root, "1")
    begin(root)
    return save(root)


def write(root: Path, *objects: dict[str, Any], where: str = STAGING) -> None:
    folder = root / where
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text("resources: []\n", "utf-8")
    (folder / "objects").write_text("\n---\n".join(json.dumps(one) for one in objects), "utf-8")


def lock(root: Path, md5: str) -> None:
    outs = [{"path": "models/model.onnx", "md5": md5}, {"path": "reports/evaluate.json", "md5": md5}]
    (root / "dvc.lock").write_text(json.dumps({"stages": {"export": {"outs": outs}}}), "utf-8")


def told(root: Path, base: str = "HEAD~1") -> dict[str, Any]:
    manifests.run(base=base, root=root)
    record: dict[str, Any] = files.read_json(root / manifests.VERDICT)
    return record


def notes(root: Path, base: str = "HEAD~1") -> dict[str, Any]:
    return dict(told(root, base)["notes"])


@pytest.mark.usefixtures("bare")
def test_without_kustomize_it_says_so_and_gives_no_verdict(project: Path):
    write(project, made("Deployment", "serve", BAD["a tag"][1]))
    save(project)
    assert manifests.run(base="HEAD~1", root=project) == "not checked: kustomize is not installed"
    record = files.read_json(project / manifests.VERDICT)
    assert "verdict" not in record
    assert record["notes"] == {"files": 1, "ships": [], "local": False, "by": None}
    (project / "reports/metrics.json").write_text("{}")
    given = report_data.read(project)
    assert given.gates == {}
    assert given.record()["delivery"] == record["notes"]
    with pytest.raises(ConfigError, match="neither kustomize nor kubectl is installed"):
        manifests.diff("HEAD~1", "HEAD", root=project)


def test_kustomize_is_preferred_to_the_one_in_kubectl(bare: Path):
    assert manifests.find_renderer(str(bare)) is None
    (bare / "kubectl").symlink_to(sys.executable)
    assert manifests.find_renderer(str(bare)) == [f"{bare}/kubectl", "kustomize"]
    own = program(bare, "exit 0")
    assert manifests.find_renderer(str(bare)) == [str(own), "build"]


@pytest.mark.usefixtures("kustomize")
def test_a_change_is_rendered_against_its_base(project: Path):
    write(project, made("Deployment", "serve", pod(hostname="other")))
    save(project)
    record = told(project)
    assert (record["verdict"], record["rows"]) == ("pass", 1)
    assert [check["name"] for check in record["checks"]] == [
        "kustomize build staging", *(f"rule {rule}" for rule in admission_rules.RULES),
    ]  # fmt: skip
    changed, removed = record["notes"]["changes"]
    assert changed["fields"] == [["spec.template.spec.hostname", None, "other"]]
    assert (changed["pods"], changed["hook"], removed["what"], removed["hook"]) == (True, False, "removed", True)
    assert (record["notes"]["by"], record["notes"]["files"], record["notes"]["envs"]) == ("kustomize", 1, ["staging"])
    assert git.uncommitted_files(project) == []
    assert not (project / ".slipway/manifests").exists()


@pytest.mark.usefixtures("kustomize")
def test_the_hooks_of_an_environment_are_told(project: Path):
    assert notes(project, "HEAD")["hooks"] == {"staging": ["Job load-gate"]}


@pytest.mark.usefixtures("kustomize")
def test_what_the_base_got_since_is_no_part_of_the_change(project: Path):
    git.run("checkout", "-q", "-b", "change", root=project)
    (project / "other").touch()
    save(project)
    git.run("checkout", "-q", "main", root=project)
    write(project, made("Deployment", "serve", pod(hostname="mains")))
    save(project)
    git.run("checkout", "-q", "change", root=project)
    assert notes(project, "main")["changes"] == []


@pytest.mark.usefixtures("kustomize")
def test_a_base_without_a_common_commit_is_compared_itself(project: Path):
    git.run("checkout", "-q", "--orphan", "alone", root=project)
    write(project, made("Deployment", "serve", pod(hostname="alones")))
    save(project)
    assert len(notes(project, "main")["changes"]) == 2


@pytest.mark.usefixtures("kustomize")
def test_a_broken_rule_is_refused(project: Path):
    write(project, made("Deployment", "serve", BAD["a tag"][1]))
    with pytest.raises(
        CheckFailed,
        match="manifests: fail: The rule `images` is broken by staging Deployment serve: container serve has",
    ) as caught:
        told(save(project))
    assert caught.value.code == 4
    assert caught.value.hint == manifests.HINT


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("echo 'Error: accumulating resources: accumulation err=x: accumulating resources from a.yaml: bad' >&2; exit 1",
         "a.yaml: bad"),
        ('echo "Error: $2/x.yaml: no such file" >&2; exit 1', f"{STAGING}/x.yaml: no such file"),
        ("exit 3", "exit code 3"),
        ("echo 'a: ['", "kustomize printed invalid YAML: "),
        ("echo hello", "kustomize printed something that is not a Kubernetes object"),
        ("echo 'kind: Service'", "kustomize printed something that is not a Kubernetes object"),
        ("exit 0", "0 objects"),
    ],
)  # fmt: skip
def test_what_does_not_build_is_refused_in_its_own_words(bare: Path, project: Path, does: str, said: str):
    program(bare, does)
    with pytest.raises(CheckFailed, match=r"`kustomize build staging` (failed|printed)") as caught:
        told(project, "HEAD")
    record = files.read_json(project / manifests.VERDICT)
    assert record["checks"][0]["ok"] is False
    assert str(record["checks"][0]["value"]).startswith(said)
    assert str(project) not in str(caught.value)


def test_a_build_that_hangs_is_given_up(bare: Path, project: Path):
    program(bare, "exec sleep 60")
    command = manifests.find_renderer(str(bare))
    assert command
    assert (
        manifests.render_folder(project / STAGING, command, root=project, seconds=0.2)
        == "kustomize took longer than 0.2 s"
    )


@pytest.mark.usefixtures("kustomize")
def test_an_environment_whose_base_did_not_build_is_unknown(project: Path):
    good = (project / STAGING / "objects").read_text("utf-8")
    (project / STAGING / "objects").write_text("a: [", "utf-8")
    save(project)
    (project / STAGING / "objects").write_text(good, "utf-8")
    found = notes(save(project))
    assert (found["unknown"], found["changes"]) == (["staging"], [])


@pytest.mark.usefixtures("kustomize")
def test_what_no_application_follows_is_rendered_too(project: Path):
    for where in ("argocd", "k8s/overlays/production"):
        write(project, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}, where=where)
    found = notes(save(project))
    assert found["envs"] == ["staging", "production"], "the first that a release reaches comes first"
    assert [row["env"] for row in found["changes"]] == ["production", "argocd"]


@pytest.mark.usefixtures("kustomize")
def test_many_changes_are_cut_and_counted(project: Path):
    write(project, *({"kind": "Service", "metadata": {"name": f"s{i}"}} for i in range(400)))
    found = notes(save(project))
    assert (found["objects"], len(found["changes"])) == (402, manifests.MAX_CHANGES)


@pytest.mark.usefixtures("bare")
def test_what_ships_is_told_by_name(project: Path):
    (project / "src").mkdir()
    for name in ("Dockerfile", "src/a.py", "src/b.py"):
        (project / name).touch()
    lock(project, "2")
    assert notes(save(project))["ships"] == ["Dockerfile", "models/model.onnx", "src/a.py"]
    (project / "src/b.py").write_text("1")
    assert notes(save(project))["ships"] == []


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("name", "local"), [("localhost:5000/a", True), ("127.0.0.1:5000/a", True), ("ghcr.io/a/b", False), ("", False)]
)
def test_a_registry_of_this_machine_is_known(project: Path, name: str, local: bool):
    pinned = f"images:\n  - name: serve\n    newName: {name}\n    digest: sha256:{64 * '0'}\n"
    (project / STAGING / "kustomization.yaml").write_text(pinned, "utf-8")
    assert notes(save(project))["local"] is local


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    "text", ["a: [", "text", "stages: 1", "stages: {a: 1}", "stages: {a: {outs: [1]}}", "stages: {a: {outs: [{}]}}"]
)
def test_a_lock_of_another_form_is_left_to_other_gates(project: Path, text: str):
    (project / "dvc.lock").write_text(text, "utf-8")
    assert notes(save(project))["ships"] == ["models/model.onnx"]
    assert notes(project, "HEAD")["ships"] == []


@pytest.mark.usefixtures("bare")
def test_a_bentofile_that_is_no_yaml_is_left_to_other_gates(project: Path):
    (project / "bentofile.yaml").write_text("a: [", "utf-8")
    lock(project, "2")
    assert notes(save(project))["ships"] == ["models/model.onnx"], "the base's names still hold"


def test_a_project_without_manifests_has_no_record(tmp_path: Path):
    (tmp_path / "reports").mkdir()
    (tmp_path / manifests.VERDICT).write_text("of an earlier commit")
    (tmp_path / "a").touch()
    begin(tmp_path)
    save(tmp_path)
    assert manifests.run(root=tmp_path) == "nothing to check: the project has no k8s/"
    assert not (tmp_path / manifests.VERDICT).exists()


@pytest.mark.usefixtures("kustomize")
def test_two_commits_are_compared_for_whoever_asks(project: Path):
    write(project, made("Deployment", "serve", pod()))
    save(project)
    assert [(row.name, row.what) for row in manifests.diff("HEAD~1", "HEAD", root=project)] == [
        ("load-gate", "removed")
    ]
    assert environment.cache_home(project).is_dir()
