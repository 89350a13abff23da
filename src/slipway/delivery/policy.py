"""`policy`: check a change's ledger lines and overlays against the rules of release and promotion; part of `ok`.

A change that touches neither passes at once and needs no token. The limits are those of the base commit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import base_limits, config, git, ledger
from slipway.core.environment import Actions
from slipway.core.verdict import Check, Verdict
from slipway.delivery import evidence, policy_rules
from slipway.delivery.evidence import Evidence
from slipway.delivery.policy_rules import LineContext, as_check
from slipway.errors import CheckFailed, ConfigError
from slipway.github import step_summary
from slipway.github.client import GitHubClient
from slipway.records import append_only, records_branch
from slipway.reporting.markdown import escape

VERDICT = Path("reports/policy.json")


def ledger_and_overlay(env: str, revision: str, root: Path) -> tuple[str, str | None]:
    """The texts of an environment's ledger and overlay at a revision."""
    lines, overlay = (
        git.file_at(revision, path(env).as_posix(), root=root) for path in (ledger.path, kustomization.path)
    )
    return lines or "", overlay


def pinned_image(overlay: str | None) -> kustomization.PinnedImage | None:
    """The image that an overlay pins; None without an overlay."""
    return None if overlay is None else kustomization.read(overlay)


def is_touched(env: str, base: str, root: Path) -> bool:
    """Return True if the change writes to the ledger of `env`, or pins another image."""
    (old_lines, old_overlay), (lines, overlay) = (ledger_and_overlay(env, each, root) for each in (base, "HEAD"))
    if old_lines != lines or old_overlay == overlay:
        return old_lines != lines
    try:
        return pinned_image(old_overlay) != pinned_image(overlay)
    except ConfigError:
        return True


def check_overlay(env: str, base: str, root: Path) -> str:
    """The overlay pins the image of the ledger's last line; when the line has none, the digest must be the base's."""
    lines, overlay = ledger_and_overlay(env, "HEAD", root)
    last, after = ledger.newest_line(ledger.parse(lines, where=env)), pinned_image(overlay)
    before = pinned_image(ledger_and_overlay(env, base, root)[1])
    pinned, allowed = (after.image if after else "no image"), (last.image if last else None)
    if allowed is None:  # no image was ever released here, so the overlay has nothing to follow
        pinned, allowed = (each.digest if each else kustomization.NOTHING for each in (after, before or after))
    if pinned != allowed:
        raise CheckFailed(f"the overlay pins {pinned}", expected=allowed, value=pinned)
    return f"the overlay pins {pinned}"


def check_environment(env: str, base: str, case: LineContext) -> tuple[int, list[Check]]:
    """The number of lines that a change adds to an environment's ledger, and all checks of the environment."""
    added: list[ledger.Line] = []
    name = ledger.path(env).as_posix()
    before, after = ledger_and_overlay(env, base, case.root)[0], ledger_and_overlay(env, "HEAD", case.root)[0]

    def check_growth() -> str:
        added.extend(ledger.added_lines(before, after, name))
        return f"{name} has {count_lines(len(added))}"

    checks = [as_check(f"{env}: ledger", "lines are only appended", check_growth)]
    old = ledger.parse(before, where=name) if added else []
    for number, line in enumerate(added):
        checks += policy_rules.check_line(line, env, replace(case, lines=[*old, *added[:number]]))
    checks.append(
        as_check(f"{env}: overlay", "the image of the last line", partial(check_overlay, env, base, case.root))
    )
    return len(added), checks


def count_lines(count: int) -> str:
    """A number of new ledger lines in words."""
    return f"{count or 'no'} new line{'' if count == 1 else 's'}"


def fork_point(base: str | None, root: Path) -> str:
    """The commit at which HEAD left its base; HEAD itself for a first push, whose base GitHub writes as zeros."""
    if base and not base.strip("0"):
        return git.commit_hash(root=root)
    return git.merge_base(git.base_commit(base, root=root), "HEAD", root=root)


def run(
    params: config.Params, *, base: str | None = None, source: str = "status", actions: Actions | None = None,
    root: Path = Path(),
) -> str:  # fmt: skip
    """Check HEAD against `base` → reports/policy.json; exit 4 when a line or digest is refused, 5 when unsure."""
    root, started = root.resolve(), time.monotonic()
    commit = fork_point(base, root)
    envs = [env for env in ledger.ENVIRONMENTS if is_touched(env, commit, root)]
    limits = base_limits.limits_at_base(commit, "release", params.release, root=root)
    base_params, rows = params.model_copy(update={"release": limits}), 0
    checks = [as_check(f"{env}: untouched", "no change", lambda: "as in the base")  # no gate: nothing was touched
              for env in ledger.ENVIRONMENTS if env not in envs]  # fmt: skip
    if records_branch.newest_commit(root):
        checks.append(as_check("records", "only new lines at the end", partial(append_only.check, root)))
    with ExitStack() as stack:
        clients: list[GitHubClient | None] = []

        def find_evidence(new: ledger.Line, only: str | None) -> Evidence:
            if not clients:
                clients.append(stack.enter_context(evidence.github_client(source, base_params, actions)))
            return evidence.find(source, base_params, new, root=root, client=clients[0], only=only)

        staging = ledger.read_at("staging", commit, root) if envs else []
        case = LineContext(lines=(), staging=staging, limits=limits, now=ledger.now(), source=source,
                    find_evidence=find_evidence, root=root)  # fmt: skip
        for env in envs:
            count, results = check_environment(env, commit, case)
            checks, rows = [*checks, *results], rows + count
    verdict = Verdict(chapter="policy", checks=checks, rows=rows, seconds=time.monotonic() - started,
                      inputs={"base": commit, "commit": git.commit_hash(root=root)})  # fmt: skip
    verdict.write(root / VERDICT)
    exceptions = [each for each in checks if each.name.startswith(("WAIVED", "RESTARTED"))]
    _write_exceptions(exceptions)
    verdict.enforce(hint="docs/fix/policy.md explains each message")
    if not envs:
        return "the change touches no ledger and no digest"
    warnings = "".join(f"; {each.name}: {each.value}" for each in exceptions)
    return step_summary.write(f"{count_lines(rows)} in the ledger of {' and '.join(envs)}, all rules hold{warnings}")


def _write_exceptions(exceptions: Sequence[Check]) -> None:
    """Write waivers and restarted comparisons to the workflow run's page, where a reviewer cannot miss them."""
    for each in exceptions:
        step_summary.append(f"> [!CAUTION]\n> **{escape(each.name)}**: {escape(each.value, 2000)}\n")
        if each.name.startswith("WAIVED"):
            step_summary.append(">\n> A code owner of the ledger must approve this pull request.\n")
        step_summary.append("\n")
