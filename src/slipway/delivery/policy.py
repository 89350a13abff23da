"""`policy`: whether what a change does to ledgers and overlays is what the gates allow; a part of `ok`.

A change that touches neither passes at once and needs no token. Limits are those of the base commit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import base_limits, config, environment, git, ledger
from slipway.core.environment import Actions
from slipway.core.verdict import Check, Verdict
from slipway.delivery import evidence, policy_rules
from slipway.delivery.evidence import Evidence
from slipway.delivery.policy_rules import Case, check
from slipway.errors import CheckFailed, ConfigError
from slipway.github.client import Rest
from slipway.reporting.markdown import escape

VERDICT = Path("reports/policy.json")


def texts(env: str, revision: str, root: Path) -> tuple[str, str | None]:
    """Ledger and overlay of an environment at a revision."""
    found = [git.file_at(revision, path(env).as_posix(), root=root) for path in (ledger.path, kustomization.path)]
    return found[0] or "", found[1]


def pinned(text: str | None) -> kustomization.Pinned | None:
    """What an overlay pins; None without an overlay."""
    return None if text is None else kustomization.read(text)


def touched(env: str, base: str, root: Path) -> bool:
    """Whether the change writes to the ledger of `env`, or pins another image."""
    (lines, before), (now, after) = texts(env, base, root), texts(env, "HEAD", root)
    if lines != now or before == after:
        return lines != now
    try:
        return pinned(before) != pinned(after)
    except ConfigError:
        return True


def agrees(env: str, base: str, root: Path) -> str:
    """The overlay pins what the ledger's last line says, and where a line has no image, what it pinned before."""
    lines, text = texts(env, "HEAD", root)
    last, now = ledger.newest(ledger.parse(lines, where=env)), pinned(text)
    before = pinned(texts(env, base, root)[1])
    said, limit = (now.image if now else "no image"), (last.image if last else None)
    if limit is None:  # nothing that an overlay could hold was ever released here
        said, limit = (one.digest if one else kustomization.NOTHING for one in (now, before or now))
    if said != limit:
        raise CheckFailed(f"{said}, limit: {limit}")
    return said


def judge(env: str, base: str, case: Case) -> tuple[int, list[Check]]:
    """How many lines a change adds to an environment, and all checks of what it does there."""
    new: list[ledger.Line] = []
    where = ledger.path(env).as_posix()
    before, after = texts(env, base, case.root)[0], texts(env, "HEAD", case.root)[0]

    def extend() -> str:
        new.extend(ledger.added_lines(before, after, where))
        return f"{len(new)} new lines"

    checks = [check(f"{env}: ledger", "only grows", extend)]
    old = ledger.parse(before, where=where) if new else []
    for number, one in enumerate(new):
        checks += policy_rules.checks(one, env, replace(case, lines=[*old, *new[:number]]))
    checks.append(check(f"{env}: overlay", "what the last line says", partial(agrees, env, base, case.root)))
    return len(new), checks


def compared(base: str | None, root: Path) -> str:
    """The commit that HEAD and its base have in common; HEAD itself for a first push, whose base GitHub writes as zeros."""
    if base and not base.strip("0"):
        return git.commit(root=root)
    return git.run("merge-base", git.base_commit(base, root=root), "HEAD", root=root)


def run(
    params: config.Params, *, base: str | None = None, source: str = "status", given: Actions | None = None,
    root: Path = Path(),
) -> str:  # fmt: skip
    """HEAD against `base` → reports/policy.json; exit 4 when a line or a digest may not be, 5 when it cannot be told."""
    root, started = root.resolve(), time.monotonic()
    commit = compared(base, root)
    envs = [env for env in ledger.ENVIRONMENTS if touched(env, commit, root)]
    limits = base_limits.limits_at_base(commit, "release", params.release, root=root)
    held, rows = params.model_copy(update={"release": limits}), 0
    checks = [check(f"{env}: untouched", "no line, no digest", lambda: "as in the base")  # no gate: nothing was touched
              for env in ledger.ENVIRONMENTS if env not in envs]  # fmt: skip
    with ExitStack() as stack:
        clients: list[Rest | None] = []

        def ask(new: ledger.Line, only: str | None) -> Evidence:
            if not clients:
                clients.append(stack.enter_context(evidence.github_client(source, held, given)))
            return evidence.find(source, held, new, root=root, client=clients[0], only=only)

        staging = ledger.read_at("staging", commit, root) if envs else []
        case = Case(lines=(), staging=staging, limits=limits, now=git.now(), source=source, ask=ask, root=root)
        for env in envs:
            added, found = judge(env, commit, case)
            checks, rows = [*checks, *found], rows + added
    verdict = Verdict(chapter="policy", checks=checks, rows=rows, seconds=time.monotonic() - started,
                      inputs={"base": commit, "commit": git.commit(root=root)})  # fmt: skip
    verdict.write(root / VERDICT)
    waived = [found for found in checks if found.name.startswith("WAIVED")]
    _shout(waived)
    verdict.enforce(hint="docs/operations.md, section policy")
    loud = "".join(f"; {found.name}: {found.value}" for found in waived)
    return f"{rows} new lines, touched: {', '.join(envs) or 'no ledger, no digest'}{loud}"


def _shout(waived: Sequence[Check]) -> None:
    """Waivers on the run's page, where a reviewer cannot miss them."""
    if waived and (summary := environment.step_summary()):
        with summary.open("a", encoding="utf-8") as file:
            for found in waived:
                file.write(f"> [!CAUTION]\n> **{escape(found.name)}**: {escape(found.value, 2000)}\n\n")
