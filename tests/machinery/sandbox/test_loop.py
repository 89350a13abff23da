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

from slipway.core import environment, git, ledger, process
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
    command = [sys.executable, "-m", "slipway", "loop", "--keep"]
    done = subprocess.run(
        command, cwd=folder, env=environment.for_programs(folder), capture_output=True, text=True, timeout=600
    )
    yield folder, done
    subprocess.run([*command[:-1], "--stop"], cwd=folder, env=environment.for_programs(folder), check=True)
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


def test_loop_tells_the_whole_story(played):
    _, done = played
    assert done.returncode == 0, done.stderr
    for said in ("The loop in", "Train on two more weeks", "Train much faster", "ask it"):
        assert said in done.stdout
    assert "1 changed files are not committed" in done.stderr
    rows = re.findall(r"(?m)^│ (\w+) +│ .*? │ +[\d.]+ │ (\w*) *│$", done.stdout)
    found = {word: [verdict for name, verdict in rows if name == word] for word in ("judge", "latency", "load")}
    assert (found["judge"], found["load"]) == (["pass", "pass", "fail"], ["pass", "pass"]), done.stdout
    assert found["latency"] == ["pass"] * 3, done.stdout


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
    assert git.run("branch", "--no-merged", "main", "--format=%(refname:short)", root=work(folder)) == "change-2"


def test_both_reports_are_kept(played):
    folder, _ = played
    for name, word in (("good", "pass"), ("bad", "fail")):
        assert word in (folder / f".slipway/loop/report-{name}/report.md").read_text()[:300].lower()


def test_printed_curl_line_answers(played):
    _, done = played
    line = next(line for line in done.stdout.splitlines() if line.startswith("ask it"))
    said = subprocess.run(["sh", "-c", line.removeprefix("ask it").strip()], capture_output=True, text=True, check=True)
    assert "prediction" in json.loads(said.stdout)


def test_users_branch_and_tree_stay_as_they_were(played):
    folder, _ = played
    assert git.run("log", "--format=%s", root=folder).splitlines() == ["Change", "Change", "A project of its own"]
    assert git.uncommitted_files(folder) == ["params.yaml"]
    assert git.run("branch", "--format=%(refname:short)", root=folder) == "main"


def test_champion_alias_follows_production(played):
    folder, done = played
    versions = [line for line in done.stderr.splitlines() if "is challenger" in line]
    assert "champion is version 2" in versions[-1]
    assert (folder / "mlflow.db").exists()


def test_interrupted_loop_leaves_no_process_and_no_lock(tmp_path):
    folder = repository(tmp_path / "stopped")
    command = [sys.executable, "-m", "slipway", "loop"]
    running = subprocess.Popen(
        command, cwd=folder, env=environment.for_programs(folder), stderr=subprocess.PIPE, text=True
    )
    assert running.stderr
    for line in running.stderr:
        if "its model reaches production" in line:
            break
    code = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = subprocess.Popen(code, env=environment.for_programs(work(folder)), start_new_session=True)
    threading.Thread(target=server.wait, daemon=True).start()
    assert process.poll_until(lambda: len(processes(work(folder))) > 1, seconds=60, every=0.05), "no `dvc repro`"
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 130
    running.stderr.close()
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


def test_unknown_target_is_refused(params):
    with pytest.raises(ConfigError, match="target 'moon'"):
        loop.run(params, keep=False, target="moon", port=None)


def test_long_sentences_are_cut_between_words():
    assert loop.shorten("word " * 100).endswith("word …")
    assert len(loop.shorten("word " * 100)) <= 160


def test_sigterm_becomes_an_interrupt():
    with pytest.raises(KeyboardInterrupt), loop.interruptible():
        signal.raise_signal(signal.SIGTERM)
