"""The real overlays through the real kustomize; and the rules: an API server with k8s/policy says what `admission` says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster import manifests
from slipway.cluster.admission_rules import RULES
from slipway.core import environment, files, git
from slipway.errors import CheckFailed
from slipway.reporting import sections
from slipway.reporting.report_model import Facts
from support.committed_project import begin, edit, save
from support.paths import OBJECTIVE, ROOT
from support.sample_pods import BAD, GOOD, KINDS, made

pytestmark = pytest.mark.cluster
NAMESPACE = f"f-rules-{os.getpid()}"
SERVE, STAGING = "k8s/base/deployment.yaml", "k8s/overlays/staging/kustomization.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with this project's manifests, one commit."""
    folder = tmp_path / "a b é"
    for name in manifests.FOLDERS:
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / ".gitignore", folder)
    shutil.copy(OBJECTIVE, folder / "k8s/base/slo.yaml")
    begin(folder)
    return save(folder)


def told(folder: Path) -> dict[str, Any]:
    """The record of the last commit against the one before."""
    manifests.run(base="HEAD~1", root=folder)
    record: dict[str, Any] = files.read_json(folder / manifests.VERDICT)
    return record


def said(record: dict[str, Any]) -> str:
    return "\n".join(sections.delivery_sentences(Facts(gates={"manifests": record}, delivery=record["notes"])))


def digit(folder: Path, env: str, digest: str) -> None:
    """Another digest of the service in an overlay, the last line of its kustomization."""
    path = folder / f"k8s/overlays/{env}/kustomization.yaml"
    *above, last = path.read_text("utf-8").splitlines()
    assert "digest: sha256:" in last
    path.write_text("\n".join([*above, f"{last.split('digest')[0]}digest: sha256:{digest * 64}\n"]), "utf-8")


def test_the_overlays_build_and_keep_the_rules(project: Path):
    save(project) if git.uncommitted_files(project) else git.run(
        "commit", "-q", "--allow-empty", "-m", "x", root=project
    )
    record = told(project)
    assert record["verdict"] == "pass", record["checks"]
    assert [check["name"] for check in record["checks"]][:2] == [
        "kustomize build staging",
        "kustomize build production",
    ]
    assert sum(check["name"].startswith("rule ") for check in record["checks"]) == len(RULES)
    assert "No file below k8s/ changes" in said(record)
    assert record["seconds"] < 5


def test_a_new_digest_restarts_the_pods_and_runs_the_gate(project: Path):
    digit(project, "staging", "7")
    record = told(save(project))
    [line] = [line for line in said(record).splitlines() if line.startswith("staging")]
    assert (
        line == "staging: Argo CD applies 2 changed objects; pods restart: Deployment serve; runs again: Job load-gate"
    )
    assert "production" not in said(record).replace("production's follow", "")
    fields = {row["name"]: [field[0] for field in row["fields"]] for row in record["notes"]["changes"]}
    assert fields["serve"] == ["spec.template.spec.containers[serve].image"]
    assert "spec.template.spec.containers[gate].env[IMAGE].value" in fields["load-gate"]


def test_a_changed_hook_alone_is_never_run(project: Path):
    path = project / "k8s/overlays/staging/load-gate.yaml"
    text = path.read_text("utf-8")
    path.write_text(re.sub(r"activeDeadlineSeconds: \d+", "activeDeadlineSeconds: 77", text), "utf-8")
    assert "staging: 1 object changed, all of them hooks; Argo CD ignores these" in said(told(save(project)))


def test_a_changed_objective_is_one_config_map_and_runs_the_gate(project: Path):
    edit(project / "k8s/base/slo.yaml", "min_requests: 1000", "min_requests: 2000")
    record = told(save(project))
    slo = next(row for row in record["notes"]["changes"] if row["kind"] == "ConfigMap" and row["env"] == "staging")
    assert (slo["name"], slo["what"]) == ("slo", "changed")
    assert ["data[slo.yaml]", "min_requests: 1000", "min_requests: 2000"] in slo["fields"]
    assert "staging: Argo CD applies 2 changed objects; no pod restarts; runs again: Job load-gate" in said(record)


def test_a_comment_changes_no_object(project: Path):
    with (project / SERVE).open("a", encoding="utf-8") as file:
        file.write("# nothing\n")
    assert "1 file below k8s/ changed, but no rendered object, so Argo CD syncs nothing" in said(told(save(project)))


def test_a_policy_is_for_a_person_to_apply(project: Path):
    edit(project / "k8s/policy/images.yaml", "images must", "all images must")
    assert "policy: 1 object changed; no Application syncs that, so a person must apply it" in said(told(save(project)))


def test_what_breaks_a_rule_is_refused(project: Path):
    edit(project / SERVE, "automountServiceAccountToken: false", "automountServiceAccountToken: true")
    with pytest.raises(
        CheckFailed,
        match="The rule `token` is broken by staging Deployment serve: automountServiceAccountToken is true",
    ):
        told(save(project))


def test_a_tag_in_place_of_a_digest_is_refused(project: Path):
    text = (project / STAGING).read_text("utf-8")
    (project / STAGING).write_text(re.sub(r"digest: sha256:\w+\n$", "newTag: latest\n", text), "utf-8")
    with pytest.raises(CheckFailed, match="staging"):
        told(save(project))


def test_what_does_not_build_is_refused_in_kustomizes_words(project: Path):
    (project / "k8s/base/service.yaml").write_text("a: [\n", "utf-8")
    with pytest.raises(
        CheckFailed, match=r"`kustomize build staging` failed: 'service\.yaml': .*yaml: line 1"
    ) as caught:
        told(save(project))
    assert str(project) not in str(caught.value)
    record = files.read_json(project / manifests.VERDICT)
    assert "staging: the effect is unknown, since it does not build here" in said(record)


def test_the_one_in_kubectl_says_the_same(project: Path, tmp_path: Path):
    own = shutil.which("kubectl")
    assert own, "these tests need kubectl"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/kubectl").symlink_to(own)
    found = [manifests.find_renderer(path) for path in (str(tmp_path / "bin"), environment.for_programs(ROOT)["PATH"])]
    assert [Path(program[0]).name for program in found if program] == ["kubectl", "kustomize"]
    one, other = (manifests.render("HEAD", program, root=project) for program in found if program)
    assert one == other
    assert "staging" in one


# The rules, asked of an API server


def call(*words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", *words], input=given, capture_output=True, text=True, timeout=120, check=False)


def refused(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The API server's message about each object that it refuses, by name; nothing is created."""
    done = call("apply", "--dry-run=server", "-n", NAMESPACE, "-f", "-",
                given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))  # fmt: skip
    found = re.findall(r'"([a-z0-9-]+)" is (?:forbidden|invalid): (.*)', done.stderr)
    assert len(found) + done.stdout.count("(server dry run)") == len(objects), done.stdout + done.stderr
    return dict(found)


@pytest.fixture(scope="module")
def ruled(tidy: None) -> Iterator[None]:
    """A namespace in which k8s/policy holds."""
    assert tidy is None
    done = call("apply", "-k", str(ROOT / "k8s/policy"))
    assert done.returncode == 0, f"no cluster in reach? `.venv/bin/slipway doctor`; {done.stderr}"
    label = {"name": NAMESPACE, "labels": {"slipway/policy": "enforced"}}
    call("create", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": label}))
    try:
        until = time.monotonic() + 30
        while not refused([made("Deployment", "bad", BAD["a tag"][1])]):
            assert time.monotonic() < until, "the policies are not in force after 30 s"
            time.sleep(0.5)
        yield
    finally:
        call("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.usefixtures("ruled")
@pytest.mark.parametrize("kind", KINDS)
def test_the_api_server_refuses_what_the_rules_refuse(kind: str):
    asked = {name.replace(" ", "-"): one for name, one in BAD.items()}
    answers = refused([made(kind, name, spec) for name, (_, spec) in asked.items()])
    rules = {name: re.findall(r"ValidatingAdmissionPolicy 'slipway-(\w+)'", told) for name, told in answers.items()}
    assert rules == {name: [rule] for name, (rule, _) in asked.items()}


@pytest.mark.usefixtures("ruled")
def test_the_api_server_takes_what_the_rules_take():
    assert (
        refused([made(kind, f"{kind.lower()}-{i}", spec) for kind in KINDS for i, spec in enumerate(GOOD.values())])
        == {}
    )
