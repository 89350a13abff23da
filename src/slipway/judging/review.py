"""`review`: all that a pull request is asked, in one go, from prove to report. The worst answer is its own."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from slipway.cluster import manifests
from slipway.core import config, environment, files
from slipway.core.dvc import LOCK
from slipway.core.verdict import Check, Verdict
from slipway.errors import CheckFailed, ConfigError, DataError, Inconclusive, SlipwayError
from slipway.judging import judge, latency, prove
from slipway.reporting import report

REPRO = Path("reports/repro.json")
CODES = {kind.code: kind for kind in (ConfigError, DataError, CheckFailed, Inconclusive)}
ORDER = ("prove", "repro", "judge", "manifests", "latency", "report")
"""As the chapters stand in a sentence."""
talk = Console(stderr=True, highlight=False)


def repro(root: Path) -> str:
    """`dvc repro` → reports/repro.json; the error of the stage that stopped it, with that stage's own exit code."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=root, env=environment.for_programs(root),
                          capture_output=True, text=True, encoding="utf-8", check=False)  # fmt: skip
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    ran = sum(line.startswith("Running stage ") for line in lines)
    said = f"{ran} stages ran, the others were unchanged or cached" if not done.returncode else stopped(lines)
    check = Check(name="dvc repro", value=said, limit="every stage ends well", ok=not done.returncode)
    inputs = {"lock": files.sha256(root / LOCK) if (root / LOCK).exists() else None}
    Verdict(chapter="repro", checks=[check], seconds=time.monotonic() - started, inputs=inputs).write(root / REPRO)
    if done.returncode:
        code = re.search(r"exited with (\d+)", done.stderr)
        raise CODES.get(int(code[1]) if code else 1, SlipwayError)(f"repro: {said}", hint="make repro")
    return said


def stopped(lines: list[str]) -> str:
    """What a stage that failed said last, without the colours and the word `error`; else DVC's own last line."""
    own = [line.removeprefix("error ") for line in lines if line.startswith("error ")]
    return (own or lines or ["it said nothing"])[-1]


def run(params: config.Params, *, base: str | None = None, root: Path = Path()) -> str:
    """prove, beside it repro → judge and manifests, then latency, report; no red skips another; raises the worst error.

    A pipeline that stops is not judged: there is no model to judge. The report says so. Latency comes when all else is quiet.
    """
    root, errors = root.resolve(), dict[str, SlipwayError]()
    for path in (prove.VERDICT, REPRO, judge.VERDICT, manifests.VERDICT, latency.VERDICT):
        (root / path).unlink(missing_ok=True)  # or an earlier review would speak for this one

    def beside() -> None:
        step(errors, "repro", lambda: repro(root))
        if "repro" not in errors:
            step(errors, "judge", lambda: judge.run(params, base=base, root=root))
        step(errors, "manifests", lambda: manifests.run(base=base, root=root))

    step(errors, "prove", lambda: prove.run(params, base=base, root=root, beside=beside))
    if not (root / REPRO).exists():  # prove ended before it came to that
        beside()
    if "repro" not in errors:
        step(errors, "latency", lambda: latency.run(params, base=base, root=root))
    step(errors, "report", lambda: report.run(params))
    if summary := environment.step_summary():
        with summary.open("a", encoding="utf-8") as file:
            file.write((root / report.MARKDOWN).read_text(encoding="utf-8"))
    if not errors:
        return f"pass; see {report.MARKDOWN}"
    worst, red = min(errors.values(), key=lambda error: error.code), [word for word in ORDER if word in errors]
    told = " and ".join(filter(None, [", ".join(red[:-1]), red[-1]]))
    raise type(worst)(f"review: {told} {'say' if len(red) > 1 else 'says'} no", hint=worst.hint)


def step(errors: dict[str, SlipwayError], word: str, work: Callable[[], str]) -> None:
    """One chapter's sentence, with its seconds; its error is kept in `errors`, not raised."""
    started = time.monotonic()
    try:
        said, colour = work(), "bold"
    except SlipwayError as error:
        errors[word] = error
        said, colour = f"{error}" + (f"; next: {error.hint}" if error.hint else ""), "bold red"
    talk.print(f"[{colour}]{word}[/] {escape(said)} [dim]({time.monotonic() - started:.1f} s)[/dim]", soft_wrap=True)
