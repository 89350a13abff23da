"""`loop --operate`: ask production for four weeks, break one input, and let `monitor` name what moved.

The requests are rows of production's test window, which its model was not trained on. The service answers and logs them for
real. Only the times in the log are set to the days of the rows: the loop does not last four weeks.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from slipway import problem
from slipway.contract import polars_rules
from slipway.core import config, files, git
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.pipeline import drift, features, ingest, train
from slipway.sandbox.clone import Sandbox, repro, run_verb, running_program, serve, step_error
from slipway.serving import local_server
from slipway.serving.http_client import HttpClient

WEEKS, DAYS = 4, 7
"""Weeks of requests at most, and the days of each; in the last week an input breaks."""
BROKEN_DAYS = 4
"""Days at the end of that week in which the input repeats one value."""
MAX_ROWS = 7_000
"""Rows of a week at most; of more, an even sample is asked."""
BATCH = 5
"""Rows of a request at most."""
LOG = "production/prediction-log"
"""The folder of production's own log, below the loop's; the clone's log has its lines with other times."""
FLUSH_SECONDS = 20.0
"""Longest wait for the last answers to be in the log."""
IMPORTANCE = Path("reports/plots/importance.json")
SHORTER = {"monitor.label_delay_days": 0, "monitor.performance.min_baseline_windows": 2}
"""Parameters of the clone, by which labels may come at once, and two weeks are enough to compare with."""
HINT = "see .slipway/loop/production/server.log"
QUESTIONS = ("service", "inputs", "predictions", "performance")
WORDS = (0, CheckFailed.code, Inconclusive.code)
"""Exit codes of `monitor`: each is a result."""


class Week(NamedTuple):
    """The rows of seven days: the week's number from 1, its first day, and its rows in order of days."""

    number: int
    start: date
    rows: pl.DataFrame

    @property
    def end(self) -> date:
        """The day after the week."""
        return self.start + timedelta(days=DAYS)

    def request_id(self, row: int) -> str:
        """The id of the request that asks for a row."""
        return f"week-{self.number}-{row // BATCH}"

    def row_id(self, row: int) -> str:
        """The id of a row's line in the log."""
        return f"{self.request_id(row)}/{row % BATCH}"


def ordinary_weeks(sandbox: Sandbox) -> None:
    """Ask production with all weeks but the last, hand in their labels, and run `monitor`."""
    params = open_production(sandbox)
    spec, weeks = problem.load(params.problem), request_weeks(sandbox, params.data)
    for week in weeks[:-1]:
        ask(sandbox, spec, week, Path(params.monitor.log))
    hand_in_labels(sandbox, spec, weeks[:-1])
    monitor(sandbox, weeks[-1].start)


def broken_week(sandbox: Sandbox) -> str:
    """Ask production with the last week, at whose end one input repeats a value; return the name of this input.

    ConfigError if `monitor` does not name it.
    """
    params = config.load(sandbox.work / "params.yaml")
    spec, weeks = problem.load(params.problem), request_weeks(sandbox, params.data)
    name = choose_input(drift_reference(sandbox))
    ask(sandbox, spec, repeat_one_value(weeks[-1], name), Path(params.monitor.log))
    hand_in_labels(sandbox, spec, weeks)
    if not is_named(name, monitor(sandbox, weeks[-1].end)["inputs"]):
        raise ConfigError(
            f"loop: `monitor` did not name {name}, which repeated one value for {BROKEN_DAYS} days",
            hint="read .slipway/loop/work/reports/monitor/report.md; the limits are in section `monitor` of params.yaml",
        )
    return name


def is_named(name: str, record: Mapping[str, Any]) -> bool:
    """Return whether a check of the question about the inputs failed for the input `name`."""
    return any(check["ok"] is False and name in check["name"] for check in record["checks"])


def open_production(sandbox: Sandbox) -> config.Params:
    """Bring the clone back to production's commit, start production with an empty log, and return the parameters."""
    git.run("checkout", "-q", sandbox.branch, root=sandbox.work)
    repro(sandbox)
    shutil.rmtree(sandbox.home / LOG, ignore_errors=True)
    serve(sandbox, "production", prediction_log=sandbox.home / LOG)
    return start_log(sandbox)


def start_log(sandbox: Sandbox) -> config.Params:
    """Empty the clone's log, shorten the waits of `monitor` there, and return the parameters."""
    path = sandbox.work / "params.yaml"
    shutil.rmtree(sandbox.work / config.load(path).monitor.log, ignore_errors=True)
    text = path.read_text("utf-8")
    shorter = {key: value for key, value in SHORTER.items() if f" {key.rpartition('.')[2]}:" in text}
    config.set_values(path, shorter, hint="edit `monitor` in params.yaml")
    return config.load(path)


def request_weeks(sandbox: Sandbox, data: config.Data) -> list[Week]:
    """The last whole weeks of the test window, at most MAX_ROWS rows of each.

    ConfigError if there are less than two weeks, or one has no rows.
    """
    frame = ingest.read_parquet(sandbox.work / features.FRAME, "day").sort("day", maintain_order=True)
    rows, count, weeks = train.rows_of_window(frame, data, "test"), min(WEEKS, data.test_days // DAYS), list[Week]()
    for number in range(count):
        start = data.until - timedelta(days=DAYS * (count - number))
        week = rows.filter(pl.col("day").is_between(start, start + timedelta(days=DAYS), closed="left"))
        weeks.append(Week(number + 1, start, week.gather_every(max(1, -(-len(week) // MAX_ROWS)))))
    if len(weeks) < 2 or not all(len(week.rows) for week in weeks):
        raise ConfigError(
            f"loop: --operate needs rows in each of the last weeks of the test window, and there are {count} whole weeks",
            expected="at least 2 weeks with rows",
            hint="change data.test_days in params.yaml",
        )
    return weeks


def ask(sandbox: Sandbox, spec: problem.Problem, week: Week, log: Path) -> None:
    """Ask production for every row of a week, and put its log lines into the clone's log `log`, with the times of the rows."""
    started = time.monotonic()
    folder = sandbox.home / LOG / "predictions"
    with sandbox.activity(f"asking production, week {week.number}"):
        send(f"http://{local_server.HOST}:{sandbox.ports['production']}", spec, week)
        lines = read_lines(lambda: [path.read_bytes() for path in sorted(folder.glob("*.jsonl"))], week)
    keep_week(sandbox, *lines, week, sandbox.work / log, started)


def keep_week(
    sandbox: Sandbox, head: dict[str, Any], lines: Mapping[str, dict[str, Any]], week: Week, log: Path, started: float
) -> None:  # fmt: skip
    """Write a week's lines into the log that `monitor` reads, and record the step that began at `started`."""
    write_dated(head, lines, week, log)
    summary = f"{len(week.rows):,} predictions of week {week.number} answered and logged"
    sandbox.record_step("ask", summary, time.monotonic() - started)


def send(url: str, spec: problem.Problem, week: Week) -> None:
    """Ask the service at `url` for every row of a week; CheckFailed unless it answers each request."""
    with closing(HttpClient(url, timeout_seconds=30)) as client:
        for first, body in _bodies(spec, week.rows):
            answer = client.request("POST", "/predict", body, {"x-request-id": week.request_id(first)})
            if not answer.ok:
                words = f"with status {answer.status}: {answer.body[:200]!r}"
                raise CheckFailed(f"loop: production answered rows of the test window {words}", hint=HINT)


def _bodies(spec: problem.Problem, rows: pl.DataFrame) -> Iterator[tuple[int, bytes]]:
    """The number of the first row of each request, and its JSON."""
    inputs = rows.select(*problem.names(spec.inputs, "category"), *problem.names(spec.inputs, "number"))
    for first in range(0, len(inputs), BATCH):
        part = inputs[first : first + BATCH]
        yield first, json.dumps([polars_rules.row(part, n) for n in range(len(part))]).encode()


def read_lines(
    read: Callable[[], Sequence[bytes]], week: Week, *, seconds: float = FLUSH_SECONDS
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The first line of production's log, and the week's lines by id, from the files that `read` returns.

    CheckFailed unless all of them come within `seconds`.
    """
    head, lines, deadline = dict[str, Any](), dict[str, dict[str, Any]](), time.monotonic() + seconds
    while len(lines) < len(week.rows):
        if time.monotonic() > deadline:
            raise CheckFailed(f"loop: production answered {len(week.rows):,} rows and logged {len(lines):,}", hint=HINT)
        time.sleep(0.2)
        for content in read():
            rows = [json.loads(line) for line in content.rpartition(b"\n")[0].splitlines()]
            head = head or (rows[0] if rows else {})
            lines |= {row["id"]: row for row in rows if row.get("id", "").startswith(f"week-{week.number}-")}
    return head, lines


def row_times(rows: pl.DataFrame) -> list[datetime]:
    """A time for each row: the rows of a day are spread evenly over it, in their order."""
    counts = dict(rows.group_by("day").len().iter_rows())
    position = rows.select(pl.int_range(pl.len()).over("day")).to_series()
    return [
        datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) * (n / counts[day])
        for day, n in zip(rows["day"].to_list(), position.to_list(), strict=True)
    ]


def write_dated(head: dict[str, Any], lines: Mapping[str, dict[str, Any]], week: Week, log: Path) -> None:
    """Write a week's log lines as a file of the log in the folder `log`, each with the time of its row."""
    path = week_file(log, week)
    times = [f"{at:%Y-%m-%dT%H:%M:%S.%fZ}" for at in row_times(week.rows)]
    rows = [lines[week.row_id(n)] | {"at": at} for n, at in enumerate(times)]
    files.make_folder(path.parent)
    files.write_text(path, "".join(f"{json.dumps(row)}\n" for row in [head | {"at": times[0]}, *rows]))


def week_file(log: Path, week: Week) -> Path:
    """The file of the log in the folder `log` that has a week's lines."""
    return log / f"predictions/week-{week.number}.jsonl"


def hand_in_labels(sandbox: Sandbox, spec: problem.Problem, weeks: Sequence[Week]) -> None:
    """Hand in the targets of all rows as labels, by the ids that production logged; known when the row was asked."""
    labels = [
        pl.DataFrame({"id": [week.row_id(n) for n in range(len(week.rows))], spec.target: week.rows[spec.target],
                      "known_at": row_times(week.rows)})
        for week in weeks
    ]  # fmt: skip
    path = sandbox.home / "labels.parquet"
    with files.atomic_write(path) as partial:
        pl.concat(labels).write_parquet(partial)
    run_verb(sandbox, "labels", "add", str(path))


def drift_reference(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The distribution of every input in the training data, the most important inputs first."""
    inputs = {row["input"]: row for row in files.read_json(sandbox.work / drift.PATH, kind=list)}
    order = files.read_json(sandbox.work / IMPORTANCE, kind=list)
    return [inputs[row["input"]] for row in order if row["input"] in inputs]


def choose_input(reference: Sequence[Mapping[str, Any]]) -> str:
    """The most important number whose values are spread: repeated, it is a fault and not an ordinary value.

    ConfigError if the model has no such input.
    """
    for row in reference:
        if len(row.get("edges", ())) >= 3 and max(row["shares"]) < 0.4 and row["missing"] < 0.1:
            return str(row["input"])
    raise ConfigError(
        "loop: no input is a number with spread values, so none can be broken in a way that shows",
        hint="leave out --operate: it shows a sensor that repeats one value",
    )


def repeat_one_value(week: Week, name: str) -> Week:
    """The week with the input `name` at its last value before the last BROKEN_DAYS days, from then on."""
    broken_from = week.end - timedelta(days=BROKEN_DAYS)
    values = week.rows[name].drop_nulls()
    before = week.rows.filter(pl.col("day") < broken_from)[name].drop_nulls()
    value = before[-1] if len(before) else values[0]
    broken = pl.when(pl.col("day") >= broken_from).then(value).otherwise(name).alias(name)
    return week._replace(rows=week.rows.with_columns(broken))


def monitor(sandbox: Sandbox, until: date) -> dict[str, dict[str, Any]]:
    """Run `monitor` in the clone for the days before `until`, and return the verdict of each question.

    Each question becomes a step with its sentence.
    """
    started = time.monotonic()
    verb = ["monitor", "--until", f"{until}T00:00:00Z", "--days", str(DAYS)]
    with (
        sandbox.activity("comparing the log with the training data"),
        running_program(sandbox, [sys.executable, "-m", "slipway", *verb]) as one,
    ):
        lines = one.communicate()[0].splitlines()
    if one.returncode not in WORDS:
        raise step_error(sandbox, verb, one.returncode, 0, lines)
    seconds = (time.monotonic() - started) / len(QUESTIONS)
    records = {name: files.read_json(sandbox.work / f"reports/monitor/{name}.json") for name in QUESTIONS}
    for name, record in records.items():
        sandbox.record_step(f"monitor {name}", str(record["notes"]["sentence"]), seconds, str(record["verdict"]))
    return records
