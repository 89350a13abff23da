"""Errors of missing programs, clusters, kinds and namespaces. cluster_e2e/test_api_server.py asks a real cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.cluster import argocd, kubectl
from slipway.errors import ConfigError, Inconclusive
from support import fake_kubectl
from support.executables import write_script


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is PATH, with `kubectl` in it."""
    return fake_kubectl.install(tmp_path / "bin é", monkeypatch)


def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="kubectl is not installed: it is not on PATH") as caught:
        kubectl.run("get", "pods")
    assert "doctor" in caught.value.hint
    with pytest.raises(ConfigError, match="argocd is not installed: it is not on PATH"):
        argocd.run("app", "list")


def test_program_that_hangs_is_given_up(programs: Path) -> None:
    write_script(programs / "kubectl", "while :; do :; done")
    with pytest.raises(Inconclusive, match=r"`kubectl get pods …` did not end within 0\.2 s"):
        kubectl.run("get", "pods", timeout=0.2)


def test_program_gets_what_it_is_given(programs: Path) -> None:
    write_script(programs / "kubectl", "read line; echo heard $line")
    assert kubectl.run("apply", "-f", "-", stdin="one\n") == "heard one\n"


def test_failed_program_ends_in_its_meaning(programs: Path) -> None:
    write_script(
        programs / "kubectl", "echo 'The connection to the server localhost:8080 was refused - did you' >&2; exit 1"
    )
    with pytest.raises(
        ConfigError, match="no cluster can be reached: The connection to the server localhost:8080"
    ) as caught:
        kubectl.run("get", "pods")
    assert "KUBECONFIG" in caught.value.hint


@pytest.mark.parametrize(
    ("output", "meaning", "hint"),
    [
        ("Unable to connect to the server: dial tcp: lookup x: no such host", "no cluster can be reached", "KUBECONFIG"),
        ("Error in configuration: context was not found for specified context: nope", "no cluster can be reached", "KUBECONFIG"),
        ('error: the server doesn\'t have a resource type "applications"', "has no kind applications: Argo CD is not installed",
         "argo-cd/v3"),
        ('no matches for kind "AppProject" in version "argoproj.io/v1alpha1"\nensure CRDs are installed first',
         "has no kind AppProject: Argo CD is not installed", "argo-cd/v3"),
        ('error: the server doesn\'t have a resource type "rollouts"', "has no kind rollouts: Argo Rollouts is not installed",
         "argo-rollouts/v1"),
        ('no matches for kind "AnalysisTemplate" in version "argoproj.io/v1alpha1"',
         "has no kind AnalysisTemplate: Argo Rollouts is not installed", "argo-rollouts/v1"),
        ('Error from server (NotFound): error when creating "STDIN": namespaces "flights-staging" not found',
         "no namespace flights-staging", "argocd/namespaces"),
        ('Error from server (NotFound): applications.argoproj.io "flights-staging" not found',
         "no application flights-staging", "kubectl apply -k argocd"),
        ("The pods \"x\" is invalid: : ValidatingAdmissionPolicy 'p' with binding 'p' denied request: images must be pinned",
         "policies refuse the object: images must be pinned", "k8s/policy"),
        ('{"level":"fatal","msg":"rpc error: code = Unauthenticated desc = no session information"}',
         "argocd is not logged in", "argocd login"),
        ("one\nsomething else", "`kubectl get it` failed: something else", "events"),
        ("", "`kubectl get it` failed: it failed without a message", "events"),
    ],
)  # fmt: skip
def test_failures_are_explained(output: str, meaning: str, hint: str) -> None:
    error = kubectl.explain_error("kubectl get it", output)
    assert meaning in str(error)
    assert hint in error.hint


def test_hook_log_is_complete(programs: Path) -> None:
    (programs / "said").write_text("line\n", encoding="utf-8")
    assert kubectl.hook_log("flights-staging", "load-gate") == "line\n"
    assert (programs / "asked").read_text() == "-n flights-staging logs job/load-gate --tail=-1\n"


def test_diagnostics_show_what_failed(programs: Path) -> None:
    write_script(
        programs / "kubectl",
        'case "$*" in *"-o name") echo pod/one;; logs*) echo Hello;; *) echo gone >&2; exit 1;; esac',
    )
    text = kubectl.diagnostics("flights-staging")
    assert "$ kubectl logs pod/one --namespace=flights-staging --all-containers --tail=200\nHello" in text
    assert "`kubectl get applications.argoproj.io flights-staging --namespace=argocd` failed: gone" in text
    assert "$ kubectl get events" in text
