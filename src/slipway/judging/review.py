"""`review`: run every check of a pull request, from prove to report, and exit with the worst result."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from slipway.cluster import manifests
from slipway.core import config, environment, files, process
from slipway.core.console import stderr
from slipway.core.dvc import LOCK
from slipway.core.verdict import Check, Verdict
from slipway.errors import CheckFailed, ConfigError, DataError, Inconclusive, SlipwayError
from slipway.github import step_summary
from slipway.judging import judge, latency, prove
from slipway.reporting import report

REPRO = Path("reports/repro.json")
CODES = {kind.code: kind for kind in (ConfigError, DataError, CheckFailed, Inconclusive)}
ORDER = ("prove", "repro", "judge", "manifests", "latency", "report")
"""The order in which a message names them."""


def repro(root: Path) -> str:
    """Run `dvc repro` → reports/repro.json; raises the error of the stage that failed, with that stage's exit code."""
    started = time.monotonic()
    result = process.run([sys.executable, "-m", "dvc", "repro"], folder=root, env=environment.for_programs(root))
    lines = [line for line in (result.out + result.err).splitlines() if line.strip()]
    ran = sum(line.startswith("Running stage ") for line in lines)
    count = f"{ran} stage{'' if ran == 1 else 's'}"
    message = f"{count} ran, the others were unchanged or cached" if result.ok else failure_message(lines)
    text = f"The pipeline {'ran' if result.ok else 'failed'}: {message}"
    check = Check(name="dvc repro", value=message, limit="every stage succeeds", ok=result.ok, text=text)
    inputs = {"lock": files.sha256(root / LOCK) if (root / LOCK).exists() else None}
    Verdict(chapter="repro", checks=[check], seconds=time.monotonic() - started, inputs=inputs).write(root / REPRO)
    process.require_written(result, "dvc repro", root)
    if not result.ok:
        code = re.search(r"exited with (-?\d+)", result.err)
        if code:
            process.require_alive("dvc repro", int(code[1]))
        raise CODES.get(int(code[1]) if code else ConfigError.code, SlipwayError)(
            f"repro: {message}", hint="make repro"
        )
    return message


def failure_message(lines: list[str]) -> str:
    """The last error line of the stage that failed, without the word `error`; else DVC's own last line."""
    errors = [line.removeprefix("error ") for line in lines if line.startswith("error ")]
    return (errors or lines or ["no output"])[-1]


def run(params: config.Params, *, base: str | None = None, root: Path = Path()) -> str:
    """Run prove, with repro, judge and manifests at the same time, then latency and report; raise the worst error.

    No failure skips another check, with one exception: without a model, because the pipeline failed, judge and latency
    do not run, and the report says so. Latency is measured when nothing else runs.
    """
    root, errors = root.resolve(), dict[str, SlipwayError]()
    for path in (prove.VERDICT, REPRO, judge.VERDICT, manifests.VERDICT, latency.VERDICT):
        (root / path).unlink(missing_ok=True)  # the record of an earlier review must not count for this one

    def rebuild_and_judge() -> None:
        step(errors, "repro", lambda: repro(root))
        if "repro" not in errors:
            step(errors, "judge", lambda: judge.run(params, base=base, root=root))
        step(errors, "manifests", lambda: manifests.run(base=base, root=root))

    step(errors, "prove", lambda: prove.run(params, base=base, root=root, in_parallel=rebuild_and_judge))
    if not (root / REPRO).exists():  # prove ended before it started the parallel work
        rebuild_and_judge()
    if "repro" not in errors:
        step(errors, "latency", lambda: latency.run(params, base=base, root=root))
    step(errors, "report", lambda: report.run(params))
    step_summary.append((root / report.MARKDOWN).read_text(encoding="utf-8"))
    if not errors:
        return f"every check passed; the report is in {report.MARKDOWN}"
    worst, failed = min(errors.values(), key=lambda error: error.code), [name for name in ORDER if name in errors]
    names = " and ".join(filter(None, [", ".join(failed[:-1]), failed[-1]]))
    raise type(worst)(f"review: {names} did not pass", hint=worst.hint)


def step(errors: dict[str, SlipwayError], word: str, work: Callable[[], str]) -> None:
    """Run one check and print its sentence and its seconds; store its error in `errors` instead of raising it."""
    started = time.monotonic()
    try:
        message, style = work(), "bold"
    except SlipwayError as error:
        errors[word] = error
        message, style = f"{error}" + (f"; next: {error.hint}" if error.hint else ""), "bold red"
    stderr.write_line((word, style), f" {message} ", (f"({time.monotonic() - started:.1f} s)", "dim"))
