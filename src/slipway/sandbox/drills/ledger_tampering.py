"""Drill of a forged ledger: `policy` refuses each forgery in its pull request, `verify` reports one that is on main."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import git, ledger
from slipway.errors import CheckFailed
from slipway.sandbox.drills import bad_artifacts, invariants
from slipway.sandbox.drills.context import DrillContext, Timeline

LEDGER = ledger.path("production")
SWAPPED = "another digest in the overlay"


def with_better_metrics(text: str) -> str:
    """The ledger's text with slightly better metrics in its last line."""
    *rows, last = text.splitlines(keepends=True)
    line = json.loads(last)
    line["metrics"] = {name: round(value * 1.02, 4) for name, value in line["metrics"].items()}
    return "".join([*rows, json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n"])


def without_last_line(text: str) -> str:
    """The ledger's text without its last line."""
    return "".join(text.splitlines(keepends=True)[:-1])


def with_unproven_promotion(text: str, staged: ledger.Line) -> str:
    """The ledger's text with one more line: a promotion of what staging runs, without evidence."""
    before = ledger.parse(text, where=LEDGER.as_posix())[-1].identity
    changes = {"env": "production", "action": "promote", "evidence": None, "supersedes": before}
    return text + staged.model_copy(update=changes).model_dump_json() + "\n"


def forgeries(context: DrillContext, other: str) -> dict[str, tuple[dict[Path, str], tuple[str, ...]]]:
    """Each forgery by name: the files it writes, and the links that `verify` may report (none: only policy refuses it).

    `other` is the image that SWAPPED pins.
    """
    text = (context.work / LEDGER).read_text(encoding="utf-8")
    path = kustomization.path("production")
    pinned = (context.work / path).read_text(encoding="utf-8")
    staged = context.last_line("staging")
    swapped = kustomization.with_digest(pinned, "serve", other.partition("@")[2])
    return {
        "better metrics": ({LEDGER: with_better_metrics(text)}, ("ledger",)),
        "a missing line": ({LEDGER: without_last_line(text)}, ("overlay", "ledger")),
        "a promotion without evidence": ({LEDGER: with_unproven_promotion(text, staged)}, ()),
        SWAPPED: ({path: swapped}, ("overlay",)),
    }


def tampered(context: DrillContext, timeline: Timeline) -> None:
    """A forged release in production: `policy` refuses the pull request, and `verify` reports it when it is on main."""
    base = context.pull()
    cases = forgeries(
        context,
        bad_artifacts.build_derived(str(context.last_line("production").image), "other", line=bad_artifacts.OTHER),
    )
    timeline.inject("four forgeries of production's release, each as a pull request")
    for what, (texts, links) in cases.items():
        try:
            commit_forgery(context, texts, what)
            output = context.run_verb("policy", "--base", base, "--source", "cluster", code=CheckFailed.code)
            timeline.expect("policy" in output, f"the output of policy has no reason for refusing {what}")
            if links:
                expect_broken_link(context, timeline, links)
        finally:
            git.run("reset", "-q", "--hard", base, root=context.work)
    timeline.detect("policy refuses all four; verify reports the three that break the chain")
    texts, links = cases[SWAPPED]
    commit_forgery(context, texts, f"{SWAPPED}, pushed to main")
    git.run("push", "-q", "origin", context.sandbox.branch, root=context.work)
    expect_broken_link(context, timeline, links)
    git.run("revert", "--no-edit", "HEAD", root=context.work)
    git.run("push", "-q", "origin", context.sandbox.branch, root=context.work)
    context.settle()
    context.run_verb("verify", "--env", "production")
    timeline.recover("reverted; verify passes, and the cluster runs what Git says")


def commit_forgery(context: DrillContext, texts: Mapping[Path, str], what: str) -> None:
    """Write the files of a forgery and commit them in the clone."""
    for path, text in texts.items():
        (context.work / path).write_text(text, encoding="utf-8")
    git.run("commit", "-q", "-a", "-m", f"{invariants.TAMPER}{what}", root=context.work)


def expect_broken_link(context: DrillContext, timeline: Timeline, links: tuple[str, ...]) -> None:
    """Expect that `verify` exits with 4 and reports one of these links as the first broken one."""
    output = context.run_verb("verify", "--env", "production", code=CheckFailed.code)
    named = [link for link in links if f"the first broken link is {link}:" in output]
    timeline.expect(
        bool(named), f"verify printed {output[-300:]}", expected=f"the first broken link is {' or '.join(links)}"
    )
