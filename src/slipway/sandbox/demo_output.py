"""Print one line for each idea while `loop` runs, and a conclusion with where to look next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from slipway.core import config, environment, files, git, ledger
from slipway.core.console import LiteralConsole, Part, stdout, styled
from slipway.core.text import shorten
from slipway.loadtest import slo
from slipway.sandbox import demo_results
from slipway.sandbox.clone import COLOURS, Sandbox, Step, StepOutput
from slipway.sandbox.demo_results import Result

MAIN, GOOD, BAD, ORDINARY, BROKEN = 1, 2, 3, 4, 5
"""Numbers of the parts; the last two are shown with `--operate`."""
MARKS = {True: ("✔", "green"), False: ("✘", "red"), None: ("?", "yellow")}
PATH_WIDTH = 47
"""Columns of a path or command at the end."""
WIDTH = 100
"""Columns of a line at most."""
SHOWN_SECONDS = 0.95
"""A shorter time is not printed."""


class DemoOutput(StepOutput):
    """Prints the demo on stdout, in one order; `verbose` adds each step with its numbers."""

    def __init__(
        self, root: Path, params: config.Params, *, verbose: bool = False, operating: bool = False
    ) -> None:  # fmt: skip
        self.first, self.parts = MAIN, BROKEN if operating else BAD
        self.console: LiteralConsole = stdout
        self.work, self.params, self.verbose = environment.cache_home(root) / "loop/work", params, verbose
        self.number, self.training = 0, ""

    def print_start(self, target: str, *, resumed: bool = False) -> None:
        """Print what the demo is, how long it takes, and where it happens; `resumed` if the changes were shown before."""
        if resumed:
            self.number, self.first = BAD, ORDINARY
            self.console.write_line(
                ("Slipway demo goes on: production is asked for some weeks", "bold"), ", on this machine"
            )
            return self.console.write_line(
                ("Takes about 1 minute, in .slipway/loop. Your branch is not touched.", "dim")
            )
        place = "on this machine" if target == "machine" else "on a Kubernetes cluster"
        minutes = "10 minutes" if target == "cluster" else "3 minutes" if self.parts > BAD else "2 minutes"
        self.console.write_line(("Slipway demo: three changes on their way to production", "bold"), f", {place}")
        self.console.write_line((f"Takes about {minutes}, in .slipway/loop. Your branch is not touched.", "dim"))

    def print_part(self, title: str) -> None:
        """Print the heading of the next part."""
        self.number, self.training = self.number + 1, ""
        self.console.write_line("")
        self.console.write_line((f"{self.number}/{self.parts}  {title}", "bold"), *EXPECTATIONS.get(self.number, ()))

    def print_note(self, text: str) -> None:
        """Print a remark."""
        self.console.write_line(("Note: ", "yellow"), text)

    def print_step(self, step: Step) -> None:
        """Print the ideas that a step shows."""
        if self.verbose:
            self.console.write_line(
                (f"       {step.chapter:<10}{step.summary} {step.seconds:.1f} s ", "dim"),
                (step.verdict, COLOURS[step.verdict]),
            )
        if step.chapter == "train":
            self.training = step.summary
        for number, result in enumerate(self.results(step)):
            self.print_result(result, 0.0 if number else step.seconds)

    def results(self, step: Step) -> Sequence[Result]:
        """The ideas of a step in this part; in a change that is to be blocked, only what speaks against it."""
        match step.chapter:
            case "repro" if self.number == MAIN:
                return [demo_results.trained(self.training)]
            case "prove":
                results = demo_results.proven(self.record("prove"))
                return results if self.number == MAIN else failures(results)
            case "judge":
                results = demo_results.judged(self.record("judge"), confidence=self.params.judge.confidence)
            case "latency":
                results = demo_results.timed(self.record("latency"))
            case "load" if self.number == MAIN:
                return demo_results.loaded(self.record("load"), slo.read(self.work / slo.PATH))
            case "promote" if self.number == MAIN:
                # A promotion that was pushed is on the remote only, one without `--push` in the clone only.
                pushed = f"origin/{git.default_branch(self.work)}"
                lines = ledger.read("production", self.work) or ledger.read_at("production", pushed, self.work)
                line = lines[-1]
                before = [demo_results.load_evidence(line.evidence)] if line.image else []
                return [*before, Result(True, "promoted to production")]
            case "ask":
                return [Result(True, step.summary)]
            case "monitor service" | "monitor inputs" | "monitor predictions" | "monitor performance":
                return [demo_results.monitored(step.chapter.removeprefix("monitor "), step.verdict, step.summary)]
            case _:
                return []
        return failures(results) if self.number == BAD else results

    def record(self, chapter: str) -> dict[str, Any]:
        """The record of a check in the clone."""
        record: dict[str, Any] = files.read_json(self.work / f"reports/{chapter}.json")
        return record

    def print_result(self, result: Result, seconds: float = 0.0) -> None:
        """Print one idea with its mark and its seconds; on a terminal in columns, elsewhere as a plain line."""
        mark, style = MARKS[result.ok]
        time = f"{seconds:.0f} s" if seconds >= SHOWN_SECONDS else ""
        if not self.console.is_terminal:
            return self.console.write_line(f"     {mark} {result.text}{f'  ({time})' if time else ''}")
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=6, justify="right")
        grid.add_column(width=min(self.console.width, WIDTH) - 14)
        grid.add_column(width=6, justify="right", style="dim")
        grid.add_row(Text(mark, style), result.text, time)
        self.console.print(grid)

    def print_conclusion(self, sandbox: Sandbox, seconds: float, *, keep: bool) -> None:
        """Print what was shown, and where to look and what to do next."""
        self.console.write_line(
            "\n", ("The demo worked", "bold green"),
            (f": {', '.join(self.shown())}, in {seconds:.0f} s.", "bold"), "\n",
        )  # fmt: skip
        pages = [(path, why) for part, path, why in PAGES if self.first <= part <= self.parts]
        rows = [("" if n else "Open", path, why) for n, (path, why) in enumerate(pages)]
        if sandbox.target == "machine" and self.parts == BAD:
            rows.append(("Go on", "make loop ARGS=--operate", "asks production for weeks, until an input breaks"))
        for title, text, why in [*rows, *next_steps(sandbox, keep=keep)]:
            self.console.write_line(
                (f"{title:<9}", "bold"), f"{text:<{PATH_WIDTH}}" if why else text, (f" {why}", "dim")
            )

    def shown(self) -> list[str]:
        """The results of the parts that were run."""
        changes = ["1 good change shipped", "1 bad change blocked"] if self.first == MAIN else []
        return [*changes, *(["1 broken input named"] if self.parts == BROKEN else [])]


PAGES = (
    (MAIN, ".slipway/loop/report-bad/report.html", "why the bad change was blocked"),
    (MAIN, ".slipway/loop/report-good/report.html", "why the good change passed"),
    (ORDINARY, ".slipway/loop/work/reports/monitor/report.html", "what moved, and which input broke"),
)
"""Pages to look at: the part that makes them, the path, and why."""
EXPECTATIONS: dict[int, tuple[Part, ...]] = {
    BAD: (("   ← this one should be blocked", "yellow"),),
    BROKEN: (("   ← monitor should name the input", "yellow"),),
}
"""The headings of the parts."""


def failures(results: Sequence[Result]) -> list[Result]:
    """The results that are not well."""
    return [result for result in results if not result.ok]


def next_steps(sandbox: Sandbox, *, keep: bool) -> list[tuple[str, str, str]]:
    """Things to do next: title, path or command, and why."""
    rows = list[tuple[str, str, str]]()
    target = " TARGET=cluster" if sandbox.target == "cluster" else ""
    if not keep:
        rows.append(("Run", f"make loop{target} ARGS=--keep", "leaves production running, to send it requests"))
    else:
        rows += [(*request_command(sandbox), ""), ("Stop it", "make loop ARGS=--stop", "")]
    return [*rows, ("Next", "docs/tutorial.md", "change one number and open your own pull request")]


def request_command(sandbox: Sandbox) -> tuple[str, str]:
    """The command that reaches production while it is left running, with its title."""
    if sandbox.target == "cluster":
        return "Reach it", f"kubectl port-forward -n {sandbox.name}-production service/serve 3000:3000"
    contract = files.read_json(sandbox.work / "models/contract.json")
    question = contract["question"]
    path, body = ("/ask", example_body(question)) if question else ("/predict", contract["example"])
    address = f"http://127.0.0.1:{sandbox.ports['production']}{path}"
    return "Ask it", f"curl -s {address} -H 'content-type: application/json' -d '{json.dumps(body)}'"


def example_body(schema: dict[str, Any]) -> dict[str, Any]:
    """The examples of a JSON schema's fields, of each field that has one."""
    fields = schema["properties"].items()
    return {name: field["examples"][0] for name, field in fields if field.get("examples")}


def print_table(sandbox: Sandbox, seconds: float, console: LiteralConsole = stdout) -> None:
    """Print all steps as a table, and below it where their records are."""
    table = Table("step", "result", title=f"All steps of the demo, {seconds:.0f} s", title_justify="left")
    table.add_column("s", justify="right")
    table.add_column("verdict")
    part = ""
    for step in sandbox.steps:
        if step.part != part:
            part = step.part
            table.add_section()
            table.add_row("", styled((part, "bold")))
        verdict = Text(step.verdict, COLOURS[step.verdict])
        table.add_row(step.chapter, shorten(step.summary), f"{step.seconds:.1f}", verdict)
    console.print("", table)
    for title, text in PLACES.items():
        console.write_line(f"{title:<20}{text}")


PLACES = {
    "data of the report": ".slipway/loop/report-good/data.html",
    "ledger": "git -C .slipway/loop/work show main:releases/production.jsonl",
    "runs and models": ".venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db",
}
"""Records of the demo, by title."""
