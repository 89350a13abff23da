"""The drill of a forged production: `policy` refuses each forgery on its pull request, `verify` names it when it got past."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import git, ledger
from slipway.errors import CheckFailed
from slipway.sandbox.drills import bad_artifacts, context, invariants
from slipway.sandbox.drills.context import World
from slipway.sandbox.drills.timeline import Watch

LEDGER = ledger.path("production")
SWAPPED = "the digest swapped"


def prettier(text: str) -> str:
    """The last line's metrics, a little better than they were."""
    *rows, last = text.splitlines(keepends=True)
    line = json.loads(last)
    line["metrics"] = {name: round(value * 1.02, 4) for name, value in line["metrics"].items()}
    return "".join([*rows, json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n"])


def shortened(text: str) -> str:
    """Without the last line."""
    return "".join(text.splitlines(keepends=True)[:-1])


def bare(text: str, staged: ledger.Line) -> str:
    """One more line: a promotion of what staging runs, by nobody's evidence."""
    before = ledger.parse(text, where=LEDGER.as_posix())[-1].identity
    changes = {"env": "production", "action": "promote", "evidence": None, "supersedes": before}
    return text + staged.model_copy(update=changes).model_dump_json() + "\n"


def forgeries(there: World, other: str) -> dict[str, tuple[dict[Path, str], tuple[str, ...]]]:
    """Each forgery: the files it writes, and which link `verify` may name (none: it is policy's alone). `other` is an image."""
    text = (there.work / LEDGER).read_text(encoding="utf-8")
    path = kustomization.path("production")
    pinned = (there.work / path).read_text(encoding="utf-8")
    staged = context.last(there, "staging")
    swapped = kustomization.with_digest(pinned, "serve", other.partition("@")[2])
    return {
        "metrics made prettier": ({LEDGER: prettier(text)}, ("ledger",)),
        "a line removed": ({LEDGER: shortened(text)}, ("overlay", "ledger")),
        "a promotion without evidence": ({LEDGER: bare(text, staged)}, ()),
        SWAPPED: ({path: swapped}, ("overlay",)),
    }


def tampered(there: World, watch: Watch) -> None:
    """Production's line forged: `policy` refuses each on its pull request; pushed past it, `verify` names the link."""
    base = context.pull(there)
    found = forgeries(
        there, bad_artifacts.derived(str(context.last(there, "production").image), "other", line=bad_artifacts.OTHER)
    )
    watch.inject("four forgeries of production's line, each a pull request")
    for what, (texts, links) in found.items():
        try:
            forge(there, texts, what)
            said = context.ask(there, "policy", "--base", base, "--source", "cluster", code=CheckFailed.code)
            watch.expect("policy" in said, f"policy does not say why it refuses {what}")
            if links:
                broken(there, watch, links)
        finally:
            git.run("reset", "-q", "--hard", base, root=there.work)
    watch.detect("policy refuses all four; verify names the link of those that break the chain")
    texts, links = found[SWAPPED]
    forge(there, texts, f"{SWAPPED}, pushed to main")
    git.run("push", "-q", "origin", "main", root=there.work)
    broken(there, watch, links)
    git.run("revert", "--no-edit", "HEAD", root=there.work)
    git.run("push", "-q", "origin", "main", root=there.work)
    context.settle(there)
    context.ask(there, "verify", "--env", "production")
    watch.recover("reverted; every link holds, Git = cluster")


def forge(there: World, texts: Mapping[Path, str], what: str) -> None:
    """Commit a forgery here."""
    for path, text in texts.items():
        (there.work / path).write_text(text, encoding="utf-8")
    git.run("commit", "-q", "-a", "-m", f"{invariants.TAMPER}{what}", root=there.work)


def broken(there: World, watch: Watch, links: tuple[str, ...]) -> None:
    """`verify` ends with 4, and the first link that it names as broken is one of these."""
    said = context.ask(there, "verify", "--env", "production", code=CheckFailed.code)
    named = [link for link in links if f"the first broken link is {link}:" in said]
    watch.expect(bool(named), f"verify says {said[-300:]}, limit: the first broken link is {' or '.join(links)}")
