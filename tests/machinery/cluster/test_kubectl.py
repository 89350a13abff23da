"""The edge to a cluster: what a missing program, cluster, kind or namespace is called, and when waiting ends.

No API server is played here: the programs on PATH are small scripts that print what the real ones printed once.
tests/machinery/cluster_e2e/test_api_server.py asks a real cluster.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from slipway.cluster import argocd, kubectl
from slipway.core import git
from slipway.errors import ConfigError, Inconclusive, SlipwayError
from support.paths import RECORDED, ROOT

FIRST = "7b9eb3fde1dd3b5cb26bdf6580d1fadde6a73da3"
"""The commit that the recorded `succeeded` is of."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is PATH, with `kubectl` in it: it notes its words and says what is in `said`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    cat = shutil.which("cat")
    script = (
        f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{folder}/asked"\n[ "$1" = kustomize ] && exec {cat} "{folder}/rendered"\n'
    )
    script += f'[ "$3" = - ] && {cat} >"{folder}/given"\nexec {cat} "{folder}/said"\n'
    (folder / "kubectl").write_text(script, encoding="utf-8")
    (folder / "kubectl").chmod(0o755)
    (folder / "said").touch()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def says(folder: Path, name: str) -> None:
    """From now on the application is as it was recorded."""
    shutil.copy(RECORDED / f"{name}.json", folder / "said.new")
    (folder / "said.new").replace(folder / "said")


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


# Programs


def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="kubectl is not on PATH") as caught:
        kubectl.run("get", "pods")
    assert "doctor" in caught.value.hint
    with pytest.raises(ConfigError, match="argocd is not on PATH"):
        argocd.run("app", "list")


def test_program_that_hangs_is_given_up(programs: Path) -> None:
    program(programs, "kubectl", "while :; do :; done")
    with pytest.raises(Inconclusive, match=r"`kubectl get pods …` did not end within 0\.2 s"):
        kubectl.run("get", "pods", timeout=0.2)


def test_program_gets_what_it_is_given(programs: Path) -> None:
    program(programs, "kubectl", "read line; echo heard $line")
    assert kubectl.run("apply", "-f", "-", given="one\n") == "heard one\n"


def test_failed_program_ends_in_its_meaning(programs: Path) -> None:
    program(programs, "kubectl", "echo 'The connection to the server localhost:8080 was refused - did you' >&2; exit 1")
    with pytest.raises(ConfigError, match="no cluster in reach: The connection to the server localhost:8080") as caught:
        kubectl.run("get", "pods")
    assert "KUBECONFIG" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "means", "hint"),
    [
        ("Unable to connect to the server: dial tcp: lookup x: no such host", "no cluster in reach", "KUBECONFIG"),
        ("Error in configuration: context was not found for specified context: nope", "no cluster in reach", "KUBECONFIG"),
        ('error: the server doesn\'t have a resource type "applications"', "does not know applications: it has no Argo CD",
         "argo-cd/v3"),
        ('no matches for kind "AppProject" in version "argoproj.io/v1alpha1"\nensure CRDs are installed first',
         "does not know AppProject: it has no Argo CD", "argo-cd/v3"),
        ('error: the server doesn\'t have a resource type "rollouts"', "does not know rollouts: it has no Argo Rollouts",
         "argo-rollouts/v1"),
        ('no matches for kind "AnalysisTemplate" in version "argoproj.io/v1alpha1"',
         "does not know AnalysisTemplate: it has no Argo Rollouts", "argo-rollouts/v1"),
        ('Error from server (NotFound): error when creating "STDIN": namespaces "flights-staging" not found',
         "no namespace flights-staging", "argocd/namespaces"),
        ('Error from server (NotFound): applications.argoproj.io "flights-staging" not found',
         "no application flights-staging", "kubectl apply -k argocd"),
        ("The pods \"x\" is invalid: : ValidatingAdmissionPolicy 'p' with binding 'p' denied request: images must be pinned",
         "policies refuse it: images must be pinned", "k8s/policy"),
        ('{"level":"fatal","msg":"rpc error: code = Unauthenticated desc = no session information"}',
         "argocd is not logged in", "argocd login"),
        ("one\nsomething else", "kubectl get it: something else", "events"),
        ("", "kubectl get it: it failed and said nothing", "events"),
    ],
)  # fmt: skip
def test_failures_are_explained(said: str, means: str, hint: str) -> None:
    error = kubectl.explain_error("kubectl get it", said)
    assert means in str(error)
    assert hint in error.hint


# Applications


def test_state_asks_argo_cd_namespace(programs: Path) -> None:
    says(programs, "succeeded")
    assert argocd.get_app("flights-staging").phase == "Succeeded"
    assert (programs / "asked").read_text() == "-n argocd get applications.argoproj.io flights-staging -o json\n"


@pytest.mark.parametrize(("hard", "kind"), [(False, "normal"), (True, "hard")])
def test_refresh_annotates(programs: Path, hard: bool, kind: str) -> None:
    argocd.refresh("x", hard=hard)
    assert f"annotate applications.argoproj.io x argocd.argoproj.io/refresh={kind}" in (programs / "asked").read_text()


@pytest.mark.parametrize(
    ("name", "phase"),
    [("succeeded", "Succeeded"), ("healed", "Succeeded"), ("gate-failed", "Failed"), ("forbidden", "Failed")],
)
def test_wait_ends_with_the_operation_whatever_its_phase(programs: Path, tmp_path: Path, name: str, phase: str) -> None:
    says(programs, name)
    revision = json.loads((programs / "said").read_text())["status"]["operationState"]["syncResult"]["revision"]
    assert argocd.wait_for_sync("flights-staging", revision, seconds=0, root=tmp_path).phase == phase


def test_wait_is_unsure_in_the_end(programs: Path, tmp_path: Path) -> None:
    says(programs, "running")
    with pytest.raises(
        Inconclusive, match=r"did not come to 0{12} within 0 s: Synced at .* operation Running of"
    ) as caught:
        argocd.wait_for_sync("flights-staging", "0" * 40, seconds=0, root=tmp_path)
    assert caught.value.hint.endswith("describe application flights-staging")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [("healed", Inconclusive, "healed itself"), ("broken", ConfigError, "ComparisonError")],
)
def test_wait_gives_up_on_what_cannot_come(
    programs: Path, tmp_path: Path, name: str, error: type[SlipwayError], said: str
) -> None:
    told = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    told["status"]["history"] = []  # no whole operation succeeded
    (programs / "said").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(error, match=said):
        argocd.wait_for_sync("flights-staging", FIRST, seconds=60, root=tmp_path, sure=0)


def turns(folder: Path, *names: str) -> None:
    """The application is as each recording says in turn."""
    for turn, name in enumerate(names):
        shutil.copy(RECORDED / f"{name}.json", folder / f"said.{turn * 'x'}")
    cat = shutil.which("cat", path="/bin:/usr/bin")
    program(folder, "kubectl", f'cd "{folder}"; read turn <turn; echo "x$turn" >turn; exec {cat} "said.$turn"')
    (folder / "turn").write_text("\n", encoding="utf-8")


def test_wait_takes_no_success_that_comes_too_late(programs: Path, tmp_path: Path) -> None:
    turns(programs, "running", "succeeded")
    with pytest.raises(Inconclusive, match="did not come to"):
        argocd.wait_for_sync("flights-staging", FIRST, seconds=0, root=tmp_path)
    turns(programs, "broken", "succeeded")
    told = json.loads((programs / "said.").read_text(encoding="utf-8"))
    told["status"]["history"] = []  # no whole operation succeeded
    (programs / "said.").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ConfigError, match="ComparisonError"):
        argocd.wait_for_sync("flights-staging", FIRST, seconds=60, root=tmp_path, sure=0)


def test_wait_believes_bad_news_only_when_it_stays(programs: Path, tmp_path: Path) -> None:
    turns(programs, "running", "running", "broken", "succeeded")
    assert argocd.wait_for_sync("flights-staging", FIRST, seconds=60, root=tmp_path, sure=1.5).phase == "Succeeded"


# Revisions


def repository(folder: Path) -> list[str]:
    """A repository with two commits; their hashes."""
    git.run("init", "-q", "-b", "main", str(folder))
    git.run("config", "user.name", "t", root=folder)
    git.run("config", "user.email", "t@example.org", root=folder)
    for name in ("one", "two"):
        git.run("commit", "-q", "--allow-empty", "-m", name, root=folder)
    return [git.commit("HEAD~1", root=folder), git.commit(root=folder)]


def test_later_commit_holds_an_earlier_one(tmp_path: Path) -> None:
    one, two = repository(tmp_path)
    assert argocd.includes_commit(two, one, root=tmp_path)
    assert argocd.includes_commit(one, one, root=tmp_path)
    assert not argocd.includes_commit(one, two, root=tmp_path)


@pytest.mark.parametrize("found", ["", "main", "0" * 40])
def test_unknown_revision_holds_nothing(tmp_path: Path, found: str) -> None:
    one, _ = repository(tmp_path)
    assert not argocd.includes_commit(found, one, root=tmp_path)


def test_commit_of_another_is_fetched(tmp_path: Path) -> None:
    one, two = repository(tmp_path / "theirs")
    git.run("clone", "-q", str(tmp_path / "theirs"), str(tmp_path / "mine"))
    git.run("commit", "-q", "--allow-empty", "-m", "three", root=tmp_path / "theirs")
    three = git.commit(root=tmp_path / "theirs")
    assert argocd.includes_commit(three, two, root=tmp_path / "mine")
    assert argocd.includes_commit(three, one, root=tmp_path / "mine")


# Bootstrap


RENDERED = """
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: flights}
spec: {sourceRepos: [https://elsewhere.example.org]}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: flights-staging}
spec: {source: {repoURL: https://elsewhere.example.org}}
---
apiVersion: v1
kind: Namespace
metadata: {name: flights-staging}
"""


def test_bootstrap_applies_policies_then_the_addressed_applications(programs: Path) -> None:
    (programs / "rendered").write_text(RENDERED, encoding="utf-8")
    argocd.bootstrap(ROOT, repository="file:///here.git", name="flights")
    asked = (programs / "asked").read_text().splitlines()
    assert asked == [f"apply -k {ROOT}/k8s/policy", f"kustomize {ROOT}/argocd", "apply -f -"]
    project, app, namespace = json.loads((programs / "given").read_text())["items"]
    assert project["spec"]["sourceRepos"] == [app["spec"]["source"]["repoURL"]] == ["file:///here.git"]
    assert namespace["kind"] == "Namespace"


def test_bootstrap_refuses_another_projects_applications(programs: Path) -> None:
    (programs / "rendered").write_text(RENDERED, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"argocd/project.yaml is about 'flights', limit: 'bikes'"):
        argocd.bootstrap(ROOT, repository="file:///here.git", name="bikes")
    assert "apply -f -" not in (programs / "asked").read_text().splitlines()


# Looking closer


def test_hook_log_is_whole(programs: Path) -> None:
    (programs / "said").write_text("line\n", encoding="utf-8")
    assert kubectl.hook_log("flights-staging", "load-gate") == "line\n"
    assert (programs / "asked").read_text() == "-n flights-staging logs job/load-gate --tail=-1\n"


def test_dump_says_what_it_could_not_have(programs: Path) -> None:
    program(
        programs,
        "kubectl",
        'case "$*" in *"-o name") echo pod/one;; logs*) echo Hello;; *) echo gone >&2; exit 1;; esac',
    )
    said = kubectl.diagnostics("flights-staging")
    assert "$ kubectl logs pod/one --namespace=flights-staging --all-containers --tail=200\nHello" in said
    assert "kubectl get applications.argoproj.io flights-staging --namespace=argocd: gone" in said
    assert "$ kubectl get events" in said
