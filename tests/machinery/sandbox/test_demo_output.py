"""What the demo prints: one line for each idea, in a pipe and on a terminal of 100 columns."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from slipway.core import config, files
from slipway.core.console import LiteralConsole
from slipway.core.verdict import Check, Verdict
from slipway.delivery import gitops_commit
from slipway.sandbox import demo_output
from slipway.sandbox.clone import Sandbox, Step
from slipway.sandbox.demo_output import DemoOutput
from slipway.sandbox.demo_results import Result
from support.remote_repository import clone, maker, of, remote

LONG = "worse than production: log loss 0.036 higher (95 % interval +0.024 to +0.047; allowed: +0.006)"


def output(tmp_path: Path, params: config.Params, *, verbose: bool = False, **console: Any) -> DemoOutput:
    """An output whose console writes to a text."""
    one = DemoOutput(tmp_path, params, verbose=verbose)
    one.console = LiteralConsole(file=io.StringIO(), **console)
    return one


def text(one: DemoOutput) -> str:
    return one.console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def judged(one: DemoOutput, value: float) -> Step:
    """A step of `judge`, with its record in the clone."""
    check = Check(name="squared_error vs champion", value=value, low=value - 1, high=value + 1, limit="high < 1",
                  ok=value < 0)  # fmt: skip
    verdict = Verdict(chapter="judge", checks=[check], notes={"against": "champion"})
    verdict.write(one.work / "reports/judge.json")
    return Step("part", "judge", "fail: squared_error [x] :tea:", 4.7, verdict.word)


def test_pipe_gets_plain_lines(tmp_path: Path, params: config.Params) -> None:
    one = output(tmp_path, params)
    one.print_result(Result(False, LONG), 12.4)
    one.print_result(Result(True, "promoted [x] :tea:"), 0.2)
    one.print_result(Result(None, "undecided"))
    assert text(one) == f"     ✘ {LONG}  (12 s)\n     ✔ promoted [x] :tea:\n     ? undecided\n"


def test_terminal_gets_columns_that_fit(tmp_path: Path, params: config.Params) -> None:
    one = output(tmp_path, params, width=100, force_terminal=True, color_system=None)
    one.print_result(Result(False, LONG), 12.4)
    first, second = text(one).splitlines()
    assert first.startswith("     ✘ worse than production")
    assert first.rstrip().endswith("12 s")
    assert second.startswith("       ")
    assert max(len(first.rstrip()), len(second.rstrip())) <= 100


def test_bad_change_is_announced_and_shows_only_what_fails(tmp_path: Path, params: config.Params) -> None:
    one = output(tmp_path, params)
    for title in ("Put the current model into production", 'Pull request: "a"', 'Pull request: "b"'):
        one.print_part(title)
    assert text(one).splitlines()[-1] == '3/3  Pull request: "b"   ← this one should be blocked'
    one.print_step(judged(one, -5.0))
    assert "squared error" not in text(one)
    one.print_step(judged(one, 5.0))
    assert "✘ worse than production: squared error 5.00 higher" in text(one)


def test_steps_and_their_numbers_need_verbose(tmp_path: Path, params: config.Params) -> None:
    quiet, loud = output(tmp_path, params), output(tmp_path, params, verbose=True)
    for one in (quiet, loud):
        one.print_part("a")
        one.print_step(judged(one, -5.0))
        one.print_step(Step("part", "serve", "staging serves bikes:1 on port 3001", 1.2))
    assert "squared_error [x] :tea: 4.7 s pass" in text(loud)
    assert "port 3001" in text(loud)
    assert "port 3001" not in text(quiet)
    assert "not worse than production" in text(quiet)


@pytest.mark.parametrize("push", [True, False])
def test_promotion_is_read_where_it_was_committed(
    tmp_path: Path, params: config.Params, push: bool, monkeypatch
) -> None:
    """With `--push` the line is on the remote's main, as in the loop on a cluster; else in the clone."""
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    bare, _ = remote(tmp_path / "remote")
    one = output(tmp_path, params)
    one.number = demo_output.MAIN
    work = clone(bare, one.work)
    make = maker(1, env="production", action="promote", evidence={"load": "pass", "requests": 3600, "p95_ms": 12.0})
    gitops_commit.commit_line("production", make, title="Promote it", push=push, params=of(params), root=work)
    one.print_step(Step("part", "promote", "flights:1 to production", 2.0, ""))
    assert "staging: load test in the cluster: 3,600 requests, p95 12.0 ms" in text(one)
    assert "promoted to production" in text(one)


def test_training_is_shown_once(tmp_path: Path, params: config.Params) -> None:
    one = output(tmp_path, params)
    for title in ("a", "b"):
        one.print_part(title)
        one.print_step(Step(title, "train", "boosting on 1,383 rows before 2021-05-17", 5.5))
        one.print_step(Step(title, "repro", "5 stages ran", 20.4))
    assert text(one).count("✔ trained on 1,383 rows, checked for leaks from the future  (20 s)") == 1


@pytest.mark.parametrize(
    ("target", "keep", "command"),
    [
        ("machine", False, "make loop ARGS=--keep"),
        ("cluster", False, "make loop TARGET=cluster ARGS=--keep"),
        ("machine", True, "curl -s http://127.0.0.1:3000/predict"),
        ("cluster", True, "kubectl port-forward -n bikes-production service/serve 3000:3000"),
    ],
)
def test_conclusion_says_what_to_do_next(
    target: str, keep: bool, command: str, tmp_path: Path, params: config.Params
) -> None:
    sandbox = Sandbox(root=tmp_path, name="bikes", ports={"production": 3000}, target=target)
    files.write_json(sandbox.work / "models/contract.json", {"question": None, "example": {"hour": 7}})
    one = output(tmp_path, params)
    one.print_conclusion(sandbox, 105.4, keep=keep)
    assert "The demo worked: 1 good change shipped, 1 bad change blocked, in 105 s." in text(one)
    assert command in text(one)
    assert ("make loop ARGS=--stop" in text(one)) is keep
    assert text(one).splitlines()[-1].startswith("Next     docs/tutorial.md")
    assert len(text(one).splitlines()) < 12


def test_question_is_asked_where_the_problem_has_one(tmp_path: Path) -> None:
    sandbox = Sandbox(root=tmp_path, name="bikes", ports={"production": 3000})
    question = {"properties": {"hour": {"examples": [7]}, "note": {}}}
    files.write_json(sandbox.work / "models/contract.json", {"question": question, "example": {}})
    title, command = demo_output.request_command(sandbox)
    assert title == "Ask it"
    assert command.endswith("""/ask -H 'content-type: application/json' -d '{"hour": 7}'""")


def test_table_has_every_step_as_it_is(tmp_path: Path) -> None:
    steps = [Step("1", "prove", "21 checks", 11.4, "pass"), Step("2", "judge", "[x] :tea: \x1b[31m", 4.7, "fail")]
    console = LiteralConsole(file=io.StringIO(), width=100)
    demo_output.print_table(Sandbox(root=tmp_path, name="bikes", ports={}, steps=steps), 105.4, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "All steps of the demo, 105 s" in shown
    assert "[x] :tea: �[31m" in shown
    assert "releases/production.jsonl" in shown
