"""The checks of a pull request, one command each, and `review`, which runs them all."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway.commands.command import command, run_command
from slipway.commands.options import Base, EvidenceSource

app = typer.Typer()


@command(app, example="slipway review --base main")
def review(base: Base = None) -> None:
    """Run all checks of a pull request, and report the result.

    It runs prove, `dvc repro`, judge, the comparison of manifests, latency and report. The exit code is the most severe
    one.
    """
    from slipway.judging import review

    run_command("review", lambda params: review.run(params, base=base))


@command(app, example="slipway prove --base main")
def prove(base: Base = None) -> None:
    """Check that the pipeline produces the committed results.

    These are dvc.lock, metrics and plots. Exit code 4 when they differ, 5 when that cannot be decided.
    """
    from slipway.judging import prove

    run_command("prove", lambda params: prove.run(params, base=base))


@command(app, example="slipway judge --base main")
def judge(base: Base = None) -> None:
    """Compare the new model with the one in production.

    Both predict the same rows. Exit code 4 when the new model is worse, 5 when that cannot be decided.
    """
    from slipway.judging import judge

    run_command("judge", lambda params: judge.run(params, base=base))


@command(app, example="slipway latency --base main")
def latency(base: Base = None) -> None:
    """Compare the response time with and without the change.

    Both services run in turns on this machine. Exit code 4 when the change makes it slower, 5 when that cannot be decided.
    """
    from slipway.judging import latency

    run_command("latency", lambda params: latency.run(params, base=base))


@command(app, example="slipway report")
def report() -> None:
    """Write the report from the results of the checks.

    Writes reports/report.md, report.html and data.html.
    """
    from slipway.reporting import report

    run_command("report", report.run)


@command(app, example="slipway policy --source machine")
def policy(
    base: Base = None,
    source: Annotated[
        EvidenceSource,
        typer.Option(
            help="Where to read the load-test result: reports/load.json of this machine, the load test in the "
            "cluster, or the commit status on GitHub."
        ),
    ] = "status",
) -> None:
    """Check the release records that a change adds.

    Each must be appended in order, have evidence, and match the overlay. Exit code 4 when one does not.
    """
    from slipway.delivery import policy

    run_command("policy", lambda params: policy.run(params, base=base, source=source))


@command(app, example="slipway comment")
def comment() -> None:
    """Write the comment of a pull request (in a workflow).

    Exit code 4 when the report of the check's run cannot be trusted.
    """
    from slipway.github import comment

    run_command("comment", comment.run)
