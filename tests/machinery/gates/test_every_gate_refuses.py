"""Every gate goes red on a bad input of its own: with its exit code and its message, and its neighbours stay green.

What has no row here has one in the tests of its module; `make bench NAME=gates` opens each gate and looks.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from slipway import cli
from slipway.cluster import kustomization
from slipway.core import files, git, ledger
from slipway.errors import CheckFailed, Inconclusive
from slipway.loadtest import load
from slipway.loadtest.generator_health import Generator
from slipway.loadtest.load import Measurement, Sample
from slipway.packaging import package
from slipway.sandbox import clone, loop
from support import committed_project, release_repository
from support.callables import Run
from support.load_samples import BUSY, LATE, QUIET, SCHEDULE, SLO, samples
from support.packaged_project import BENTO, packaged, record  # noqa: F401
from support.paths import BIKES, ROOT
from support.sample_ledger import line

Say = Callable[..., tuple[int, str]]
Break = Callable[[Path], object]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """`say(folder, "judge")`: the verb as typed there, in this process; its exit code and what it said."""

    def call(folder: Path, *words: str) -> tuple[int, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["slipway", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return call


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")


def change(path: Path, **values: Any) -> None:
    """Other values at the top of a JSON file; None removes one."""
    found = files.read_json(path) | values
    files.write_json(path, {key: value for key, value in found.items() if value is not None})


def frame(name: str, work: Callable[[pl.DataFrame], pl.DataFrame]) -> Break:
    """Break a parquet file."""

    def broken(folder: Path) -> None:
        work(pl.read_parquet(folder / name)).write_parquet(folder / f"{name}.new")
        (folder / f"{name}.new").replace(folder / name)

    return broken


def red(folder: Path, chapter: str) -> list[str]:
    """The names of the checks that do not hold, by the record."""
    return [check["name"] for check in files.read_json(folder / f"reports/{chapter}.json")["checks"] if not check["ok"]]


# From the source to the model


def source(before: str = "", after: str = "", *, stated: bool = True) -> Break:
    """The problem over a source of its own, with one change; its hash is stated anew."""

    def broken(folder: Path) -> None:
        shutil.copytree(BIKES, folder / "source", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        edit(folder / "source/bikes.csv", before, after)
        edit(folder / "params.yaml", "problem: bikes", "problem: dirty")
        if stated:
            old, new = files.sha256(BIKES / "bikes.csv"), files.sha256(folder / "source/bikes.csv")
            edit(folder / "params.yaml", old, new)

    return broken


def params(before: str, after: str) -> Break:
    return lambda folder: edit(folder / "params.yaml", before, after)


ROWS = r"\(the worst of 1 row\)"
SOURCE_TO_MODEL: dict[str, tuple[str, Break, int, str]] = {
    "no change": ("ingest", source(), 0, r"1,890 rows"),
    "bytes of a source": ("ingest", source(",park,", ",port,", stated=False), 3, r"bikes\.csv has changed: its SHA-256 is"),
    "contract, above": (
        "ingest",
        source("harbour,7.6,16", "harbour,7.6,777"),
        3,
        rf"table\.parquet: column hires is 777 {ROWS}; allowed: 0 to 500 \(bikes\)\n",
    ),
    "contract, below": (
        "ingest",
        source("harbour,7.6,16", "harbour,7.6,-5"),
        3,
        rf"table\.parquet: column hires is -5 {ROWS}; allowed: 0 to 500 \(bikes\)\n",
    ),
    "contract, text": (
        "ingest",
        source("harbour", "h" * 17),
        3,
        r"table\.parquet: column station is 'h{17}' \(the first of 1 row\); allowed: 1 to 16 characters\n",
    ),
    "contract of the inputs": (
        "features",
        frame("data/table.parquet", lambda t: t.with_columns(pl.col("temp").fill_null(99.0))),
        3,
        r"features\.parquet: column temp is 99 \(the worst of \d+ rows\); allowed: -30 to 50 \(°C\)\n",
    ),
    "leak": ("features", params("problem: bikes", "problem: leaking"), 3, r"leak from the future: recent depend on data"),
    "column lost on the way": (
        "train",
        frame("data/features.parquet", lambda t: t.drop("temp")),
        3,
        r"features\.parquet lacks the column temp; it has",
    ),
    "parity": ("export", params("estimator: boosting", "estimator: native"), 4, r"predictions differ from scikit-learn"),
    "too few rows": (
        "evaluate",
        params("  min_rows: 100", "  min_rows: 502"),
        5,
        r"evaluate: unsure: The test window has 501 rows; allowed: at least 502",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCE_TO_MODEL)
def test_what_is_built_from_bad_input_is_refused(project_copy: Path, run: Run, say: Say, name: str) -> None:
    word, broken, code, because = SOURCE_TO_MODEL[name]
    broken(project_copy)
    if name == "parity":
        run(project_copy, "train")
    ended, said = say(project_copy, word)
    assert ended == code, said
    assert re.search(because, said), said


# The judge


@pytest.fixture(scope="module")
def judged(project: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A commit that was evaluated and has no champion: the dummy is compared with. Read only."""
    folder = shutil.copytree(project, tmp_path_factory.mktemp("judged") / "a b é")
    run(folder, "evaluate")
    committed_project.commit(folder)
    return folder


def losses(work: Callable[[pl.DataFrame], pl.DataFrame]) -> Break:
    return frame("reports/losses.parquet", work)


def metric(name: str, value: float | None) -> Break:
    return lambda folder: change(folder / "reports/metrics.json", **{name: value})


def loosened(folder: Path) -> None:
    """A change that would pass by its own limits, which are not the base's."""
    metric("r2", 0.1)(folder)
    edit(folder / "params.yaml", "r2: {at_least: 0.3}", "r2: {at_least: 0.0}")


DAYS = pl.col("day").rank("dense")
FLOORS = ["mae floor", "r2 floor"]
"""With too little to compare they are not said to hold, either."""
DUMMY: dict[str, tuple[Break, int, str, list[str]]] = {
    "no change": (lambda _: None, 0, "better than the baseline", []),
    "rows": (
        losses(lambda t: t.gather_every(6)),
        5,
        "Rows to compare on: 84; allowed: at least 100",
        ["paired rows", *FLOORS],
    ),
    "days": (
        losses(lambda t: t.filter(DAYS <= 13)),
        5,
        "Days to compare on: 13; allowed: at least 14",
        ["days", *FLOORS],
    ),
    "overall": (
        losses(lambda t: t.with_columns(pl.col("loss") + 900)),
        4,
        r"Squared error is [\d,.]+ worse than the baseline \(95 % .*\); expected: better, with the whole interval",
        ["squared_error vs dummy"],
    ),
    "floor from below": (metric("r2", 0.1), 4, r"R² is 0\.1000; allowed: at least 0\.3", ["r2 floor"]),
    "floor from above": (metric("mae", 8.5), 4, r"Mean absolute error is 8\.5; allowed: at most 8", ["mae floor"]),
    "metric that is absent": (
        metric("mae", None),
        5,
        "Mean absolute error was not measured; allowed: at most 8",
        ["mae floor"],
    ),
    "limits of its own": (loosened, 4, r"R² is 0\.1000; allowed: at least 0\.3", ["r2 floor"]),
}


@pytest.mark.parametrize("name", DUMMY)
def test_judge_refuses_by_that_check_alone(judged: Path, tmp_path: Path, say: Say, name: str) -> None:
    broken, code, because, checks = DUMMY[name]
    folder = shutil.copytree(judged, tmp_path / "a b é")
    broken(folder)
    ended, said = say(folder, "judge", "--base", "HEAD")
    assert ended == code, said
    assert re.search(because, said), said
    assert red(folder, "judge") == checks


@pytest.fixture(scope="module")
def followed(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A commit whose very model production runs: it is its own champion. Read only."""
    folder = shutil.copytree(honest, tmp_path_factory.mktemp("followed") / "a b é", symlinks=True)
    ledger.append(line(1, commit=git.commit_hash(root=folder)), folder)
    return committed_project.save(folder)


HERE = (pl.col("station") == "park") & (pl.col("part") == "morning")
CHAMPION: dict[str, tuple[Break, int, str, list[str]]] = {
    "no change": (lambda _: None, 0, "not worse than production on .*: Squared error is the same as that of production", []),
    "overall": (
        losses(lambda t: t.with_columns(pl.col("loss") + 2)),
        4,
        r"Squared error is 2\.0 worse than production \(95 % interval 2\.0 to 2\.0\); allowed: at most 1 worse",
        ["squared_error vs champion"],
    ),
    "slice": (
        losses(lambda t: t.with_columns(loss=pl.col("loss") + pl.when(pl.col("station") == "park").then(6).otherwise(-6))),
        4,
        r"station park: squared error is 6\.0 worse than production .*; allowed: up to 5 worse, or not clearly worse",
        ["squared_error vs champion, station=park"],
    ),
    "rows that are lacking": (
        losses(lambda t: t[3:]),
        4,
        "Rows of production's test window that are missing in this change's: 3; allowed: 0",
        ["rows of the champion that the challenger lacks"],
    ),
    "labels": (
        losses(lambda t: t.with_columns(target=pl.col("target") + pl.when(HERE & (DAYS == 1)).then(1).otherwise(0))),
        4,
        r"Rows whose label differs from the one that production's code computes: \d; allowed: 0",
        ["rows whose label differs"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAMPION)
def test_judge_refuses_what_its_champion_shows(followed: Path, tmp_path: Path, say: Say, name: str) -> None:
    broken, code, because, checks = CHAMPION[name]
    folder = shutil.copytree(followed, tmp_path / "a b é", symlinks=True)
    broken(folder)
    ended, said = say(folder, "judge", "--base", "HEAD")
    assert ended == code, said
    assert re.search(because, said), said
    assert red(folder, "judge") == checks


# Under load


@pytest.mark.parametrize(
    ("given", "word", "checks"),
    [
        (samples(), "pass", []),
        (samples(slow=11), "fail", ["POST /predict p95_ms"]),
        (samples(slow=3, slow_ms=120), "fail", ["POST /predict p99_ms"]),
        (samples(ms=30), "fail", ["POST /predict p50_ms"]),
        (samples(failed=3), "fail", ["POST /predict errors"]),
        (samples(180), "unsure", ["achieved rate"]),
        ([Sample("POST /predict", at / 45, 5.0, True) for at in range(90)], "unsure",
         ["achieved rate", *(f"POST /predict {what}" for what in ("requests", "errors", "p50_ms", "p95_ms", "p99_ms"))]),
    ],
)  # fmt: skip
def test_load_refuses_by_that_check_alone(given: list[Sample], word: str, checks: list[str]) -> None:
    verdict = load.judge(Measurement(given, QUIET), SLO, SCHEDULE)
    assert (verdict.word, [check.name for check in verdict.checks if not check.ok]) == (word, checks)


LATENCIES = [f"POST /predict {what}" for what in ("p50_ms", "p95_ms", "p99_ms")]


@pytest.mark.parametrize(("own", "check"), [(BUSY, "generator CPU"), (LATE, "generator lag p99_ms")])
@pytest.mark.parametrize(
    ("given", "word", "checks"),
    [
        (samples(), "unsure", LATENCIES),
        (samples(slow=200), "unsure", LATENCIES),
        (samples(failed=3), "fail", ["POST /predict errors", *LATENCIES]),
    ],
)
def test_load_believes_only_the_errors_of_a_busy_generator(
    own: Generator, check: str, given: list[Sample], word: str, checks: list[str]
) -> None:
    verdict = load.judge(Measurement(given, own), SLO, SCHEDULE)
    assert (verdict.word, [check.name for check in verdict.checks if not check.ok]) == (word, [check, *checks])


class Wrong(BaseHTTPRequestHandler):
    """A service that answers the hour it is asked about, or nothing at noon."""

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["content-length"])))
        found = [None if row["hour"] == 12 else row["hour"] for row in (given if isinstance(given, list) else [given])]
        answer = {"predictions": found} if isinstance(given, list) else {"prediction": found[0]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def wrong() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Wrong) as served:
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        yield served.server_port
        served.shutdown()


@pytest.mark.parametrize(("hour", "kept", "by"), [(1, 1.25, r"0\.2"), (12, 12.0, "no number")])
def test_service_with_other_answers_is_refused(wrong: int, tmp_path: Path, hour: int, kept: float, by: str) -> None:
    rows = [{"row": {"hour": hour}, "prediction": float(hour)} for hour in range(3)]
    played = clone.Sandbox(root=tmp_path, name="bikes", ports={"production": wrong})
    assert package.replay(f"http://127.0.0.1:{wrong}", rows, tolerance=1e-6).ok
    loop.check_production_answers(played, rows, 1e-6)
    rows.append({"row": {"hour": hour}, "prediction": kept})
    assert package.replay(f"http://127.0.0.1:{wrong}", rows, tolerance=1e-6).ok is False
    with pytest.raises(CheckFailed, match=rf"production differs from its model by {by}; allowed: ≤ 1e-06"):
        loop.check_production_answers(played, rows, 1e-6)


# Releases


def verdict(chapter: str, word: str | None) -> Break:
    return lambda folder: change(folder / f"reports/{chapter}.json", verdict=word)


def gone(chapter: str) -> Break:
    return lambda folder: (folder / f"reports/{chapter}.json").unlink()


def beside(env: str) -> Break:
    """The environment already ran a commit that this one does not have."""

    def broken(folder: Path) -> None:
        git.run("commit", "-q", "--allow-empty", "-m", "Newer", root=folder)
        newer = git.commit_hash(root=folder)
        git.run("reset", "-q", "--hard", "HEAD~1", root=folder)
        ledger.append(line(9, env=env, commit=newer), folder)
        commit_ledger(folder)

    return broken


def commit_ledger(folder: Path) -> None:
    git.run("add", "-A", "releases", root=folder)
    git.run("commit", "-q", "-m", "Change a ledger", root=folder)


def never_staged(folder: Path) -> None:
    ledger.path("staging", folder).unlink()
    commit_ledger(folder)


def other(chapter: str) -> Break:
    def broken(folder: Path) -> None:
        record(folder, chapter, **({"inputs": {"challenger": "other"}} if chapter == "judge" else {}))
        if chapter == "package":
            record(folder, chapter, notes=BENTO | {"model_sha256": "other"})

    return broken


RELEASE: dict[str, tuple[Break, int, str]] = {
    "no change": (lambda _: None, 0, "release bikes:1 to staging: committed"),
    **{f"{chapter} {word}": (verdict(chapter, word), 4, f"release: the verdict of {chapter} is {word}; expected: pass")
       for chapter in ("export", "evaluate", "prove", "judge", "package") for word in ("fail", "unsure")},
    "no export": (gone("export"), 4, "release: the verdict of export is missing; expected: pass"),
    "no evaluate": (gone("evaluate"), 4, "release: the verdict of evaluate is missing; expected: pass"),
    "no proof": (gone("prove"), 3, "prove.json does not exist"),
    "no judge": (gone("judge"), 3, "judge.json does not exist"),
    "no package": (gone("package"), 3, "package.json does not exist"),
    "not a descendant": (beside("staging"), 4, "release: commit [0-9a-f]{12} is not a descendant of [0-9a-f]{12}, which staging"),
    "other bytes judged": (other("judge"), 3, r"release: the judged model is other, but models/model\.onnx is"),
    "other bytes packaged": (other("package"), 3, r"release: the packaged model is other, but models/model\.onnx is"),
    "not committed": (lambda folder: (folder / "dvc.lock").write_text("edited"), 2, "1 file has uncommitted changes"),
}  # fmt: skip


@pytest.fixture
def releasable(packaged: Path) -> Path:
    shutil.copy(BIKES / "params.yaml", packaged)
    return packaged


@pytest.mark.parametrize("name", RELEASE)
def test_release_refuses(releasable: Path, say: Say, name: str) -> None:
    broken, code, because = RELEASE[name]
    broken(releasable)
    before = len(ledger.read("staging", releasable))
    ended, said = say(releasable, "release")
    assert ended == code, said
    assert re.search(because, said), said
    assert len(ledger.read("staging", releasable)) == before + (code == 0)


EVIDENCE = {
    "chapter": "load",
    "verdict": "pass",
    "inputs": {"bento_sha256": "b1"},
    "rows": 9,
    "checks": [{"name": "p95_ms", "value": 3.0}],
}


def evidence(**changes: object) -> Break:
    return lambda folder: files.write_json(folder / "reports/load.json", EVIDENCE | changes)


def aged(folder: Path) -> None:
    then = (datetime.now(UTC) - timedelta(days=8)).timestamp()
    os.utime(folder / "reports/load.json", (then, then))


PROMOTE: dict[str, tuple[Break, int, str]] = {
    "no change": (lambda _: None, 0, r"promote bikes:1 to production \(load test: pass\)"),
    "never staged": (never_staged, 4, "promote: staging has no release yet"),
    "no evidence": (lambda folder: (folder / "reports/load.json").unlink(), 3, "load.json does not exist"),
    "evidence of another": (evidence(inputs={"bento_sha256": "b2"}), 4, "promote: the load test was of b2, but staging runs b1"),
    "evidence of nothing": (evidence(inputs={}), 4, "promote: the load test was of nothing, but staging runs b1"),
    "evidence fails": (evidence(verdict="fail"), 4, "promote: the verdict of staging's load test is fail; expected: pass"),
    "evidence is unsure": (evidence(verdict="unsure"), 5, "staging's load test is unsure; expected: pass"),
    "too old": (aged, 4, r"promote: the evidence is 8 days old; allowed: at most 7 days\n"),
    "not a descendant": (beside("production"), 4, "promote: commit [0-9a-f]{12} is not a descendant of .*, which production"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROMOTE)
def test_promote_refuses(releasable: Path, run: Run, say: Say, name: str) -> None:
    broken, code, because = PROMOTE[name]
    run(releasable, "release")
    evidence()(releasable)
    broken(releasable)
    before = len(ledger.read("production", releasable))
    ended, said = say(releasable, "promote")
    assert ended == code, said
    assert re.search(because, said), said
    assert len(ledger.read("production", releasable)) == before + (code == 0)


# The cluster's desired state


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release 1 on staging and in production, release 2 on staging, pushed. Read only."""
    return release_repository.two_releases(tmp_path_factory.mktemp("staging") / "a b é")


def committed(broken: Break) -> Break:
    def work(folder: Path) -> None:
        broken(folder)
        release_repository.commit(folder, "A change")

    return work


def pins(env: str, number: int) -> Break:
    """Another digest in an overlay, and no line."""
    return committed(
        lambda folder: kustomization.write_digest(
            kustomization.path(env, folder), "serve", release_repository.digest(number)
        )
    )


def lines(env: str, before: str, after: str) -> Break:
    return committed(lambda folder: edit(folder / f"releases/{env}.jsonl", before, after))


def strange(folder: Path) -> None:
    """A line of production that staging never ran."""
    release_repository.put(
        folder,
        release_repository.line(
            7, env="production", action="promote", evidence={"waiver": "trust me"}, at=release_repository.NOW
        ),
    )


POLICY = ("policy", "--base", "origin/main")
BACK = ("rollback", "--reason", "slow", "--env")
DELIVERY: dict[str, tuple[tuple[str, ...], Break, int, str]] = {
    "no change": (POLICY, lambda _: None, 0, "the change touches no ledger and no digest"),
    "a line that is edited": (POLICY, lines("staging", '"pull_request":1', '"pull_request":9'), 4,
                              r"policy: fail: staging: ledger: releases/staging\.jsonl: line 1 was changed"),
    "a line that is gone": (POLICY, committed(lambda folder: ledger.path("production", folder).write_text("")), 4,
                            "policy: fail: production: ledger: .*: it had 1 lines and now has 0"),
    "a digest without a line": (POLICY, pins("production", 2), 4, "policy: fail: production: overlay: .*; expected: "),
    "a line that staging never ran": (POLICY, strange, 4, "production, promote of bikes:7: copy: no line of staging on main has"),
    "nothing to go back to": ((*BACK, "production"), lambda _: None, 4, "rollback: "),
    "back again": ((*BACK, "staging"), lambda _: None, 0, "rollback staging to bikes:1: committed"),
    "a digest that no ledger knows": (("verify", "--env", "staging"), pins("staging", 9), 4,
                                      r"verify: staging: the first broken link is overlay: .* without a ledger line"),
    "nothing packaged": (("image",), lambda _: None, 3, r"package\.json does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("name", DELIVERY)
def test_delivery_refuses(staging: Path, tmp_path: Path, say: Say, name: str) -> None:
    words, broken, code, because = DELIVERY[name]
    folder = shutil.copytree(staging, tmp_path / "a b é")
    broken(folder)
    ended, said = say(folder, *words)
    assert ended == code, said
    assert re.search(because, said), said


# No verdict is a constant


def constants(text: str) -> list[str]:
    """Lines of Python that say yes whatever was measured, or swallow a no."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Name("Check")) if any(k.arg == "ok" and _always(k.value) for k in node.keywords):
                found.append(node)
            case ast.keyword(arg="verdict", value=ast.Constant("pass")):
                found.append(node.value)
            case ast.Dict() if any(
                isinstance(k, ast.Constant)
                and k.value == "verdict"
                and isinstance(v, ast.Constant)
                and v.value == "pass"
                for k, v in zip(node.keys, node.values, strict=True)
            ):
                found.append(node)
            case ast.ExceptHandler(body=[ast.Pass() | ast.Continue()]) if _refusals(node.type):
                found.append(node)
            case ast.Call(func=ast.Name("suppress") | ast.Attribute(attr="suppress")) if any(map(_refusals, node.args)):
                found.append(node)
    return [f"{node.lineno}: {ast.unparse(node).splitlines()[0]}" for node in found]


def _always(value: ast.expr) -> bool:
    """True, or anything that falls back on True."""
    options = value.values if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or) else [value]
    return any(isinstance(option, ast.Constant) and option.value is True for option in options)


def _refusals(kind: ast.expr | None) -> bool:
    words = {"SlipwayError", "CheckFailed", "Inconclusive", "DataError", "Exception", "BaseException"}
    return kind is None or bool(words & set(re.findall(r"\w+", ast.unparse(kind))))


@pytest.mark.parametrize("path", sorted(ROOT.glob("src/**/*.py")), ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_no_verdict_is_a_constant(path: Path) -> None:
    assert constants(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "Check(name='x', value=1, limit='1', ok=True)",
        "Check(name='x', value=1, limit='1', ok=worse or True)",
        "dict(verdict='pass')",
        "{'verdict': 'pass'}",
        "try:\n    judge()\nexcept CheckFailed:\n    pass",
        "try:\n    judge()\nexcept:\n    pass",
        "with contextlib.suppress(Inconclusive): judge()",
    ],
)
def test_a_constant_verdict_is_found(text: str) -> None:
    assert len(constants(text)) == 1


@pytest.mark.parametrize(
    "text", ["Check(name='x', value=1, limit='1', ok=True if here else None)", "judge(verdict=word)"]
)
def test_a_measured_verdict_is_none(text: str) -> None:
    assert constants(text) == []


def test_recipes_of_make_end_at_their_first_failure() -> None:
    text = re.sub(r"\$\$\([^)]*\)", "", (ROOT / "Makefile").read_text("utf-8"))  # what is only asked has no verdict
    rows = [row[1:] for row in text.splitlines() if row.startswith("\t")]
    loose = re.compile(r"^@?-|\bset \+e\b|; *true\b|\|\| *(true|:|echo)\b|\bexit 0\b")
    assert [row for row in rows if loose.search(row)] == []
    assert ".IGNORE" not in text


# The harness that opens them


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    """dev/mutation/mutants.py, which is no package."""
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "dev/mutation/mutants.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


GATES = '''
"""A module that says no in every way."""
from __future__ import annotations
from slipway.core.verdict import Check, Verdict
from slipway.errors import ConfigError, CheckFailed, Inconclusive

def measured(value: float) -> Check:
    return Check(name="x", value=value, limit="≤ 1", ok=value <= 1)

def several(value: float) -> tuple[str, list[Check]]:
    return "both", [measured(value), measured(0)]

def enforced(value: float) -> str:
    Verdict(chapter="x", checks=several(value)[1]).enforce()
    return "let through"

def refused(value: float) -> str:
    if value > 1:
        kind = CheckFailed if value > 2 else Inconclusive
        raise kind("too much")
    return "let through"

def valid(value: float) -> str:
    if value > 1:
        raise ValueError("too much")
    return "let through"

def read(path: str) -> str:
    raise ConfigError("a setting, and no gate")

def excused(value: float) -> None:
    raise CheckFailed("never")  # no gate: nothing gets here
'''


def test_every_place_that_says_no_is_found(mutants: ModuleType) -> None:
    errors = (ROOT / "src/slipway/errors.py").read_text("utf-8")
    _, found = mutants.switched({"src/slipway/errors.py": errors, "src/slipway/gates.py": GATES})
    assert [(each.gate, each.kind) for each in found] == [
        ("errors.DataError", "exit"), ("errors.CheckFailed", "exit"), ("errors.Inconclusive", "exit"),
        ("errors.ProgramKilled", "exit"), ("gates.measured", "check"), ("gates.several", "checks"), ("gates.several", "checks"),
        ("gates.enforced", "checks"), ("gates.enforced", "enforce"), ("gates.refused", "raise"), ("gates.valid", "raise"),
        ("gates.excused", "raise"),
    ]  # fmt: skip
    assert [each.excuse for each in found if each.excuse] == ["nothing gets here"]


@pytest.mark.parametrize(
    ("call", "kinds"),
    [("enforced", {"check", "checks", "enforce"}), ("refused", {"raise"}), ("valid", {"raise"})],
)
def test_an_opened_gate_lets_through(
    mutants: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str, kinds: set[str]
) -> None:
    errors = (ROOT / "src/slipway/errors.py").read_text("utf-8")
    made, found = mutants.switched({"src/slipway/errors.py": errors, "src/slipway/gates.py": GATES})
    names: dict[str, Any] = {}
    exec(made["src/slipway/gates.py"], names)  # noqa: S102 our own text
    monkeypatch.setenv("SLIPWAY_REACHED", str(tmp_path))
    for given in (1.5, 3.0):
        with pytest.raises((CheckFailed, Inconclusive, ValueError)):
            names[call](given)
    reached = {row.split("\t")[0] for file in tmp_path.iterdir() for row in file.read_text("utf-8").splitlines()}
    opened = [each for each in found if each.name in reached]
    assert {each.kind for each in opened} == kinds
    for each in opened:
        monkeypatch.setenv("SLIPWAY_MUTANT", each.name)
        assert names[call](1.5) == "let through"


def test_modules_of_one_name_in_two_rooms_are_told_apart(mutants: ModuleType) -> None:
    checks = (
        "from slipway.core.verdict import Check\n"
        "def measure() -> Check:\n    return Check(name='x', value=1, limit='', ok=None)"
    )
    caller = "from slipway.{room} import size\ndef run() -> object:\n    return size.measure()"
    _, found = mutants.switched({
        "src/slipway/judging/size.py": checks,
        "src/slipway/reporting/size.py": "def measure() -> int:\n    return 1",
        "src/slipway/judging/judge.py": caller.format(room="judging"),
        "src/slipway/reporting/report.py": caller.format(room="reporting"),
    })  # fmt: skip
    assert [each.gate for each in found] == ["judging.size.measure", "judging.judge.run"]


def test_every_word_that_ok_wants_is_opened(mutants: ModuleType) -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    opened = mutants.opened_make(text)
    assert [each.what for each in opened if each.gate == "make ok"].count("exit 1") == 1
    assert len(opened) >= 11
    for each, changed in opened.items():
        rows = [(a, b) for a, b in zip(text.splitlines(), changed.splitlines(), strict=True) if a != b]
        assert len(rows) == 1, each
