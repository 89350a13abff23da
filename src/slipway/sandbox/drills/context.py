"""Context of a drill: the loop's scratch clone and its two applications, and the commands that a person types there."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.cluster import argocd, kubectl, kustomization
from slipway.cluster.argocd import App
from slipway.core import config, files, git, ledger, process
from slipway.delivery import evidence, gitops_commit
from slipway.delivery.evidence import Evidence
from slipway.errors import CheckFailed, ConfigError, SlipwayError
from slipway.packaging import package
from slipway.sandbox import clone, deploy, loop
from slipway.sandbox.clone import Sandbox
from slipway.sandbox.drills import invariants

SETTLE_SECONDS = 180.0
"""Longest until Git and cluster agree again."""
POLL_SECONDS = 0.5
STAGING_DEPLOYMENT = Path("k8s/overlays/staging/deployment.yaml")
SHORTENED = (Path("loadtests/slo.yaml"), Path("k8s/base/slo.yaml"), STAGING_DEPLOYMENT)
"""Files with a shorter load test or deadline during the drills."""
LOAD_SECONDS, DEADLINE_SECONDS = 10, 40
SHORTENED_HINT = (
    f"during the drills the load test takes {LOAD_SECONDS} s and staging's deadline is {DEADLINE_SECONDS} s"
)


class OtherClone(Sandbox):
    """The sandbox with another clone in place of its own."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        super().__init__(root=sandbox.root, name=sandbox.name, ports={}, target=sandbox.target)
        self._folder = folder

    @property
    def work(self) -> Path:
        """The other clone."""
        return self._folder


@dataclass
class DrillContext:
    """The sandbox of a drill; `remembered` is each ledger's text when all invariants last held."""

    sandbox: Sandbox
    params: config.Params
    remembered: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """The clone."""
        return self.sandbox.work

    def app(self, env: str) -> str:
        """The name of an environment's application, which is also its namespace."""
        return f"{self.sandbox.name}-{env}"

    # Git and the commands

    def pull(self) -> str:
        """Bring the clone to main's tip and return its commit."""
        git.run("pull", "-q", "--ff-only", "origin", self.sandbox.branch, root=self.work)
        return git.commit_hash(root=self.work)

    def commit(self, texts: dict[Path, str], title: str) -> str:
        """Write files, commit them on main (an empty commit without any), push as a merge does, and return the commit."""
        self.pull()
        for path, text in texts.items():
            files.write_text(self.work / path, text)
        git.run("commit", "-q", "-a", "--allow-empty", "-m", title, root=self.work)
        git.run("push", "-q", "origin", self.sandbox.branch, root=self.work)
        return git.commit_hash(root=self.work)

    def run_verb(self, *words: str, code: int = 0, folder: Path | None = None) -> str:
        """Run a command in the clone (or in `folder`) as a person does, and return its whole output.

        CheckFailed when it ends with another exit code than `code`.
        """
        started = time.monotonic()
        sandbox = self.sandbox if folder is None else OtherClone(self.sandbox, folder)
        with clone.running_program(sandbox, [sys.executable, "-m", "slipway", *words]) as program:
            output = str(program.communicate()[0])
        lines = [line for line in output.splitlines() if line.strip()]
        if program.returncode != code:
            end = "\n    ".join(lines[-12:])
            raise CheckFailed(
                f"drill: the exit code of `slipway {' '.join(words)}` is {program.returncode}, not {code}:\n    {end}",
                hint=f"see {self.sandbox.home}/*.txt",
            )
        verdict = {0: "", 4: "fail", 5: "unsure"}.get(code, "")
        summary = clone.summary_line(words[0], lines)
        self.sandbox.record_step(words[0], summary, time.monotonic() - started, verdict)
        return output

    def build(
        self, verbs: tuple[str, ...] = ("prove", "judge", "package", "image"), folder: Path | None = None
    ) -> None:
        """Prove, judge, package (unless the bento is up to date) and push main's tip as an image, as before a release."""
        for word in verbs:
            if word != "package" or is_stale(folder or self.work):
                self.run_verb(word, folder=folder)

    def release(self) -> str:
        """Run `release --push`, bring the clone to the new tip, and return its commit."""
        self.run_verb("release", "--push")
        return self.pull()

    def force_image(self, env: str, image: str, title: str) -> str:
        """Put an image into an environment without the gates, as a person with the rights can: line and overlay in one commit."""
        source = self.commit({}, f"{title}: the source")

        def make(_: str, lines: list[ledger.Line]) -> ledger.Line:
            at, action = ledger.now(), "promote" if env == "production" else "release"
            changes = {
                "image": image, "commit": source, "at": at, "supersedes": lines[-1].identity, "pull_request": None,
            }  # fmt: skip
            return lines[-1].model_copy(update={**changes, "action": action})

        gitops_commit.commit_line(env, make, title=title, push=True, params=self.params, root=self.work)
        return self.pull()

    def last_line(self, env: str) -> ledger.Line:
        """The newest line of an environment's ledger."""
        return ledger.read(env, self.work)[-1]

    def image_name(self) -> str:
        """The registry's name for the service's images."""
        return kustomization.read(kustomization.path("staging", self.work).read_text(encoding="utf-8")).new_name

    # The cluster

    def wait_for_operation(self, env: str, revision: str) -> App:
        """Wait until Argo CD's operation of `revision` is over, whatever its phase, and return the application."""
        argocd.refresh(self.app(env))
        return argocd.wait_for_sync(self.app(env), revision, seconds=deploy.SYNC_SECONDS, root=self.work)

    def wait_for_arrival(self, env: str) -> App:
        """Wait until an environment has synced main's tip; CheckFailed when its sync did not succeed."""
        app = self.wait_for_operation(env, self.pull())
        if app.phase != "Succeeded":
            message = f"drill: the sync of {app.name} is {app.phase}: {app.message}"
            raise CheckFailed(message, expected="Succeeded", hint=f"argocd app get {app.name}")
        return app

    def cluster_evidence(self) -> Evidence:
        """The cluster's load-test result for staging's release; CheckFailed or Inconclusive when it has none."""
        return evidence.find("cluster", self.params, ledger.read("staging", self.work)[-1], root=self.work)

    def get_object(self, env: str, *words: str) -> dict[str, Any]:
        """An object of an environment's namespace, by the arguments of `kubectl get`."""
        document: dict[str, Any] = json.loads(kubectl.run("-n", self.app(env), "get", *words, "-o", "json"))
        return document

    # Before and after a drill

    def shorten_limits(self) -> None:
        """Commit a shorter load test and deadline, so that a drill takes minutes; do nothing when they are short already."""
        before = {path: (self.work / path).read_text(encoding="utf-8") for path in SHORTENED}
        after = {path: shortened_files(path, text) for path, text in before.items()}
        if after != before:
            self.commit(after, f"Shorten the drills: {SHORTENED_HINT}")
            self.sandbox.record_step("shorten", SHORTENED_HINT, 0.0)

    def settle(self, seconds: float = SETTLE_SECONDS) -> float:
        """Wait until every invariant holds, remember the ledgers, and return the seconds that it took.

        A load test that fails after it passed before (on a busy machine) is run once more, and that is recorded as a step.
        CheckFailed after `seconds`, with the invariants that do not hold.
        """
        started, retried = time.monotonic(), False
        self.pull()
        for env in ledger.ENVIRONMENTS:
            argocd.refresh(self.app(env))
        while violations := invariants.violations(snapshot := invariants.take_snapshot(self.sandbox, self.remembered)):
            if time.monotonic() - started > seconds:
                for env in ledger.ENVIRONMENTS:
                    deploy.write_diagnostics(self.sandbox, self.app(env))
                raise CheckFailed(
                    f"drill: not settled after {seconds:g} s: {'; '.join(violations)}",
                    hint=f"the cluster's state and logs are in {self.sandbox.home}/*.txt",
                )
            if not retried and (names := invariants.failed_gates(snapshot)):
                retried = True
                argocd.run("app", "sync", names[0], "--async")
                summary = f"the load test of {names[0]} failed for a release that passed before; running it again"
                self.sandbox.record_step("sync", summary, 0.0, "unsure")
            time.sleep(POLL_SECONDS)
        self.remembered = {env.name: env.ledgers[-1][1] for env in snapshot.envs if env.ledgers}
        return time.monotonic() - started


@dataclass
class Timeline:
    """Times of a drill: its fault's injection, detection and recovery, with a sentence for each.

    Seconds count from `inject`; None means not yet, or never.
    """

    sandbox: Sandbox
    name: str
    clock: Callable[[], float] = time.monotonic
    at: float | None = None
    injected: str = ""
    detected: str = ""
    recovered: str = ""
    detected_s: float | None = None
    recovered_s: float | None = None
    figure: str = ""

    def inject(self, what: str) -> None:
        """Start counting seconds."""
        self.at, self.injected = self.clock(), what
        self.sandbox.record_step("inject", what, 0.0)

    def detect(self, what: str) -> None:
        """Record that the fault was detected."""
        self.detected, self.detected_s = what, self.since()
        self.sandbox.record_step("detect", what, self.detected_s)

    def recover(self, what: str) -> None:
        """Record the recovery from the fault."""
        self.recovered, self.recovered_s = what, self.since()
        self.sandbox.record_step("recover", what, self.recovered_s, "pass")

    def since(self) -> float:
        """Seconds since the injection; 0 before it."""
        return self.clock() - self.at if self.at is not None else 0.0

    def expect(self, holds: bool, difference: str, *, expected: str = "") -> None:
        """Raise CheckFailed with the difference and the `expected` state, unless `holds`."""
        if not holds:
            hint = f"docs/fix/drill.md; the cluster's state and logs are in {self.sandbox.home}"
            raise CheckFailed(f"drill {self.name}: {difference}", expected=expected, hint=hint)


def kept_sandbox(root: Path, name: str) -> Sandbox | None:
    """The sandbox that `loop --target cluster --keep` left; None when there is none."""
    sandbox = Sandbox(root=root, name=name, ports={}, target="cluster")
    mark = sandbox.home / deploy.MARK
    marked = mark.exists() and mark.read_text(encoding="utf-8") == name
    return sandbox if marked and sandbox.work.is_dir() and sandbox.remote.is_dir() else None


def open_context(root: Path, params: config.Params) -> DrillContext:
    """Open the kept sandbox at main's tip, or a new one whose model has reached production; with shorter limits."""
    if sandbox := kept_sandbox(root, params.track.model):
        sandbox.start_part("Use the sandbox that `make loop` kept")
        git.run("checkout", "-q", sandbox.branch, root=sandbox.work)
        git.run("pull", "-q", "--ff-only", "origin", sandbox.branch, root=sandbox.work)
        clone.repro(sandbox)
    else:
        loop.remove_everything(root)
        sandbox = clone.prepare(root, params.track.model, {}, "cluster")
        loop.deliver_main(sandbox)
    context = DrillContext(sandbox, config.load(sandbox.work / "params.yaml"))
    context.shorten_limits()
    context.settle()
    return context


def is_stale(work: Path) -> bool:
    """Return whether the packaged bento was made from other files than HEAD's."""
    record = files.read_json(work / "reports/image.json")
    try:
        package.packaged_bento(work)
    except SlipwayError:
        return True
    sources = [name for name in package.included_files(work) if not name.startswith("models/")]
    names = ["dvc.lock", str(package.BENTOFILE), *sources]
    return bool(git.changed_files(record["commit"], "HEAD", *names, root=work))


def wait_until(holds: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait until `holds()` is true and return the seconds that it took; CheckFailed with `what` after `seconds`."""
    started = time.monotonic()
    if not process.poll_until(holds, seconds=seconds, every=POLL_SECONDS):
        raise CheckFailed(f"drill: within {seconds:g} s there was no {what}", hint="kubectl get events -A | tail")
    return time.monotonic() - started


def shortened_files(path: Path, text: str) -> str:
    """One of SHORTENED with its shorter limit; unchanged when it has that already."""
    return shorter_deadline(text) if path == STAGING_DEPLOYMENT else shorter_load_test(text)


def shorter_load_test(slo: str) -> str:
    """The text of slo.yaml with a cluster's schedule of LOAD_SECONDS; ConfigError when it has none."""
    new, count = re.subn(r"(?m)^(  cluster: \{.*\bseconds: )\d+", rf"\g<1>{LOAD_SECONDS}", slo)
    if count != 1:
        raise ConfigError(
            "drill: slo.yaml has no line `  cluster: {…, seconds: …}`",
            hint="write that schedule on one line in loadtests/slo.yaml",
        )
    return new


def shorter_deadline(patch: str) -> str:
    """Staging's patch of the deployment with a deadline of DEADLINE_SECONDS; ConfigError when it has no spec."""
    if "progressDeadlineSeconds" in patch:
        return patch
    new, count = re.subn(r"(?m)^spec:$", f"spec:\n  progressDeadlineSeconds: {DEADLINE_SECONDS}", patch)
    if count != 1:
        raise ConfigError(
            f"drill: {STAGING_DEPLOYMENT} has no line `spec:`", hint=f"git checkout -- {STAGING_DEPLOYMENT}"
        )
    return new
