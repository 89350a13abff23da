from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from slipway.core import environment, files, git, ledger, process
from slipway.errors import ConfigError
from slipway.sandbox import clone, loop
from slipway.serving import local_server
from support.committed_project import edit, repository, save

EASY = {
    "lag_ms_at_most: 25 ": "lag_ms_at_most: 2000 ", "cpu_at_most: 0.8 ": "cpu_at_most: 1.0 ",
    "_at_least: 0.95 ": "_at_least: 0.5 ",
}  # fmt: skip
"""Limits of slo.yaml by which a machine may be busy: whether the loop is right does not depend on its speed."""
SHORT = {"warm_seconds: 0.5 ": "warm_seconds: 0.1 ", "  seconds: 2 #": "  seconds: 0.5 #",
         "again_seconds: 6 ": "again_seconds: 0.5 ",
         "min_rounds: 20 ": "min_rounds: 3 ", "resamples: 500": "resamples: 50"}  # fmt: skip
"""Less of the latency check's measuring, which has tests of its own."""


@pytest.fixture(scope="module")
def played(
    honest: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.CompletedProcess[str]]]:
    """The whole loop of the bikes problem, in a folder with a space and an accent, its servers left running.

    The project is reproduced already, so that the loop trains only the models of its two changes.
    """
    folder = shutil.copytree(honest, tmp_path_factory.mktemp("loop") / "a b é", symlinks=True)
    for before, after in {**EASY, **SHORT}.items():
        edit(folder / "loadtests/slo.yaml", before, after)
    save(folder)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text + "# not committed\n")
    command = [sys.executable, "-m", "slipway", "loop"]
    done = subprocess.run(
        [*command, "--keep", "--table"], cwd=folder, env=environment.for_programs(folder, COLUMNS="250"),
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    yield folder, done
    subprocess.run([*command, "--stop"], cwd=folder, env=environment.for_programs(folder), check=True)
    assert processes(folder) == []


def processes(folder: Path) -> list[int]:
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if one.environ().get("BENTOML_HOME", "").startswith(str(folder.resolve())):
                found.append(one.pid)
    return found


def work(folder: Path) -> Path:
    return folder / ".slipway/loop/work"


LINES = [
    r"Slipway demo: three changes on their way to production, on this machine",
    r"Note: 1 changed file is not committed, and not part of this run: params\.yaml",
    r"1/3  Put the current model into production",
    r"✔ better than guessing: squared error [\d.]+ vs [\d.]+",
    r"✔ staging: [\d,]+ requests at \d+/s, p95 [\d.]+ ms \(allowed: \d+ ms\)",
    r"✔ promoted to production",
    r'2/3  Pull request: "Train on two more weeks"',
    r"✔ not worse than production: squared error [\d.]+ (lower|higher) \(95 % interval \S+ to \S+; allowed: \+1\)",
    r"✔ merged, load-tested, promoted: production answers with the new model",
    r'3/3  Pull request: "Train much faster"   ← this one should be blocked',
    r"✘ worse than production: squared error [\d.]+ higher \(95 % interval \S+ to \S+; allowed: \+1\)",
    r"✘ also worse for \d+ groups of rows, most for \S+ \S+: \+[\d.]+",
    r"✔ blocked: production still serves the model of part 2",
    r"The demo worked: 1 good change shipped, 1 bad change blocked, in \d+ s\.",
    r"Open +\.slipway/loop/report-bad/report\.html +why the bad change was blocked",
    r"Ask it +curl -s http://",
    r"Stop it +make loop ARGS=--stop",
    r"Next +docs/tutorial\.md",
]
"""What the demo prints, in this order."""


def test_loop_explains_itself_line_by_line(played):
    _, done = played
    assert done.returncode == 0, done.stdout + done.stderr
    at = 0
    for line in LINES:
        match = re.compile(rf"(?m)^ *{line}").search(done.stdout, at)
        assert match, f"{line}\nnot in\n{done.stdout[at:]}"
        at = match.end()
    assert done.stderr == ""


def test_demo_and_its_conclusion_fit_one_screen(played):
    _, done = played
    before, _, table = done.stdout.partition("All steps of the demo")
    conclusion = table[table.index("The demo worked") :]
    assert "│" not in before + conclusion
    assert len(before.splitlines()) + len(conclusion.splitlines()) <= 32, done.stdout


def test_closing_table_has_every_verdict(played):
    _, done = played
    rows = re.findall(r"(?m)^│ (\w+) +│ .*? │ +[\d.]+ │ (\w*) *│$", done.stdout)
    verdicts = {word: [verdict for name, verdict in rows if name == word] for word in ("judge", "latency", "load")}
    assert (verdicts["judge"], verdicts["load"]) == (["pass", "pass", "fail"], ["pass", "pass"]), done.stdout
    assert verdicts["latency"] == ["pass"] * 3, done.stdout


def test_good_change_reaches_production(played):
    folder, _ = played
    lines = ledger.read_at("production", "main", work(folder))
    assert [line.action for line in lines] == ["promote", "promote"]
    assert lines[1].supersedes == lines[0].identity
    assert lines[1].pull_request == 1
    assert lines[1].mlflow_run
    assert lines[1].evidence
    assert lines[1].evidence["load"] == "pass"
    assert git.is_ancestor(lines[0].commit, lines[1].commit, root=work(folder))


def test_bad_change_is_refused_and_not_merged(played):
    folder, _ = played
    verdict = json.loads((work(folder) / "reports/judge.json").read_text())
    assert verdict["verdict"] == "fail"
    assert next(check["name"] for check in verdict["checks"] if check["ok"] is False) == "squared_error vs champion"
    assert (
        git.run("branch", "--no-merged", "main", "--list", "change-*", "--format=%(refname:short)", root=work(folder))
        == "change-2"
    )


def test_both_reports_are_kept(played):
    folder, _ = played
    for name, word in (("good", "not worse than production"), ("bad", "refused")):
        assert word in (folder / f".slipway/loop/report-{name}/report.md").read_text()[:300].lower()


def test_printed_curl_line_answers(played):
    _, done = played
    line = next(line for line in done.stdout.splitlines() if line.startswith("Ask it"))
    said = subprocess.run(["sh", "-c", line.removeprefix("Ask it").strip()], capture_output=True, text=True, check=True)
    assert "prediction" in json.loads(said.stdout)


def test_users_branch_and_tree_stay_as_they_were(played):
    folder, _ = played
    assert git.run("log", "--format=%s", root=folder).splitlines() == ["Change", "Change", "A project of its own"]
    assert git.uncommitted_files(folder) == ["params.yaml"]
    assert git.run("branch", "--format=%(refname:short)", root=folder) == "main"


def test_champion_alias_follows_production(played):
    folder, done = played
    versions = [line for line in done.stdout.splitlines() if "is challenger" in line]
    assert "champion is version 2" in versions[-1]
    assert (folder / "mlflow.db").exists()


OPERATED = [
    r"Slipway demo goes on: production is asked for some weeks, on this machine",
    r"4/5  Operate: ordinary weeks of requests",
    r"✔ \d+ predictions of week 3 answered and logged",
    r"[✔?] .*\n *✔ Inputs are sound.*\n *✔ Predictions are as before.*\n *[✔✘?] .*",
    r"5/5  Operate: an input breaks   ← monitor should name the input",
    r"✘ Inputs moved: .*`\w+` is stuck: 100% of its values are .*",
    r"✔ the broken input was named: \w+",
    r"The demo worked: 1 broken input named, in \d+ s\.",
    r"Open +\.slipway/loop/work/reports/monitor/report\.html +what moved, and which input broke",
]
"""What the demo prints when it goes on, in this order."""


def test_loop_goes_on_where_it_ended(played):
    folder, _ = played
    command = [sys.executable, "-m", "slipway", "loop", "--operate"]
    env = environment.for_programs(folder, COLUMNS="250")
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    at = 0
    for line in OPERATED:
        match = re.compile(rf"(?m)^ *{line}").search(done.stdout, at)
        assert match, f"{line}\nnot in\n{done.stdout[at:]}"
        at = match.end()
    assert processes(folder) == []


def test_operate_works_on_this_machine_only(params):
    with pytest.raises(ConfigError, match="--operate works on this machine only"):
        loop.run(params, keep=False, target="cluster", port=None, operating=True)


def test_interrupted_loop_leaves_no_process_and_no_lock(tmp_path):
    folder = repository(tmp_path / "stopped")
    command = [sys.executable, "-m", "slipway", "loop"]
    running = subprocess.Popen(
        command, cwd=folder, env=environment.for_programs(folder), stdout=subprocess.PIPE, text=True
    )
    assert running.stdout
    for line in running.stdout:
        if "Put the current model into production" in line:
            break
    code = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = subprocess.Popen(code, env=environment.for_programs(work(folder)), start_new_session=True)
    threading.Thread(target=server.wait, daemon=True).start()
    assert process.poll_until(lambda: len(processes(work(folder))) > 1, seconds=60, every=0.05), "no `dvc repro`"
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 130
    assert "interrupted" in running.stdout.read()
    running.stdout.close()
    assert processes(folder) == []
    with loop.single_instance(environment.cache_home(folder)):
        pass


def test_what_a_killed_loop_left_is_stopped(tmp_path):
    stage = clone.prepare(repository(tmp_path / "killed"), "bikes", {})
    code = [sys.executable, "-c", "import time; time.sleep(60)"]
    orphan = subprocess.Popen(code, cwd=stage.work, env=stage.env, start_new_session=True)
    bystander = subprocess.Popen(code, env=environment.for_programs(stage.root), start_new_session=True)
    assert clone.stop_processes(stage.root) == 1
    assert bystander.poll() is None
    bystander.kill()
    for one in (orphan, bystander):
        assert one.wait(5) is not None


def test_second_loop_in_one_project_is_refused(tmp_path):
    with (
        loop.single_instance(tmp_path),
        pytest.raises(ConfigError, match="another loop is running"),
        loop.single_instance(tmp_path),
    ):
        pass


def test_wanted_port_in_use_is_named():
    port = local_server.find_free_port()
    with socket.create_server((local_server.HOST, port)):
        with pytest.raises(ConfigError, match=f"port {port} "):
            loop.choose_ports(port)
        assert port not in loop.choose_ports(None).values()


def test_sigterm_becomes_an_interrupt():
    with pytest.raises(KeyboardInterrupt), loop.interruptible():
        signal.raise_signal(signal.SIGTERM)


def test_failure_names_the_step_and_the_clone(tmp_path):
    folder = repository(tmp_path / "broken")
    with (folder / "src/bikes/problem.py").open("a") as file:
        file.write("raise RuntimeError('broken on purpose')\n")
    save(folder)
    command = [sys.executable, "-m", "slipway", "loop"]
    env = environment.for_programs(folder)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "1/3  Put the current model into production" in done.stdout
    assert "✘ stopped at: running the pipeline: dvc repro. The demo did not finish" in done.stdout
    assert "the clone stays in .slipway/loop/work" in done.stdout
    assert "loop: `dvc repro` ended with exit code" in done.stderr
    assert "broken on purpose" in done.stderr
    assert "next: cd .slipway/loop/work" in done.stderr


def test_bad_change_that_is_not_worse_ends_the_loop(tmp_path, params):
    stage = clone.prepare(repository(tmp_path / "mild"), "bikes", {})
    (stage.work / "src/slipway/__main__.py").write_text("print('review pass; see reports/report.md (0.1 s)')\n")
    files.write_json(stage.work / "reports/judge.json", {"verdict": "pass"})
    with pytest.raises(ConfigError, match="should be blocked, but its model is not worse") as caught:
        loop.require_blocked(stage, params.loop.bad)
    assert "loop.bad" in caught.value.hint
