"""Two services of real files: what is compared, who starts them, where they run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from slipway.core import environment, files, git
from slipway.errors import ConfigError, DataError, SlipwayError
from slipway.judging import latency_services
from slipway.judging.latency_services import Side
from slipway.packaging import package
from slipway.serving import local_server
from slipway.serving.local_server import Server
from support.committed_project import save
from support.latency_samples import stand_in
from support.packable_project import committed


@pytest.fixture
def mine(packable: Path, tmp_path: Path) -> Path:
    """The files of a service in Git, its models among them."""
    return committed(packable, tmp_path / "a b é")


def test_equal_files_do_not_differ_and_changed_ones_are_named(mine: Path):
    with latency_services.checkout("HEAD", root=mine) as tree:
        assert tree is not None
        assert latency_services.differing_files(tree, mine) == []
        (mine / "src/slipway/serving/asgi.py").write_text("other", "utf-8")
        (mine / latency_services.STARTERS[0]).unlink()
        (mine / "src/slipway/judging/judge.py").unlink()  # no part of the service
        assert latency_services.differing_files(tree, mine) == [
            latency_services.STARTERS[0],
            "src/slipway/serving/asgi.py",
        ]
    assert not (mine / ".slipway/latency").exists()
    assert git.run("worktree", "list", root=mine).count("\n") == 0


def test_a_file_that_only_one_side_has_differs(mine: Path):
    with latency_services.checkout("HEAD", root=mine) as tree:
        assert tree is not None
        listed = (mine / "bentofile.yaml").read_text("utf-8")
        (mine / "bentofile.yaml").write_text(
            listed.replace("src/slipway/serving/asgi.py", "src/slipway/gone.py"), "utf-8"
        )
        assert latency_services.differing_files(tree, mine) == ["bentofile.yaml"], "and gone.py is on neither side"
        (mine / "src/slipway/gone.py").touch()
        assert latency_services.differing_files(tree, mine) == ["bentofile.yaml", "src/slipway/gone.py"]


@pytest.mark.parametrize("name", ["bentofile.yaml", "dvc.lock"])
def test_a_base_without_a_service_is_none(mine: Path, name: str):
    (mine / name).unlink()
    save(mine)
    with latency_services.checkout("HEAD", root=mine) as tree:
        assert tree is None


def test_building_leaves_what_was_packaged_as_it_is(mine: Path, bento: Path):
    made = shutil.copytree(bento, mine / ".slipway/bentoml/bentos/bikes" / bento.name)
    (made / "README.md").write_text("# Mine\n", "utf-8")
    with latency_services.checkout("HEAD", root=mine) as tree:
        assert tree is not None
        two = latency_services.make_sides(tree, root=mine)
        found = latency_services.build_bentos(two, name="bikes")
        assert all(isinstance(one, Path) and package.sha256(one) == package.sha256(made) for one in found)
        assert len({made, *found}) == 3
    assert (made / "README.md").read_text("utf-8") == "# Mine\n"


def test_a_side_that_cannot_be_built_stands_in_its_place(mine: Path):
    with latency_services.checkout("HEAD", root=mine) as tree:
        assert tree is not None
        two = latency_services.make_sides(tree, root=mine)
        (two[1].folder / "models/model.onnx").unlink()
        base, head = latency_services.build_bentos(two, name="bikes")
    assert isinstance(base, Path)
    assert isinstance(head, DataError)
    assert "models/model.onnx" in str(head)


def test_another_serving_lock_gets_an_environment_of_its_own(mine: Path):
    lock = mine / "requirements/serve.lock"
    lock.write_text("", "utf-8")
    (mine / "requirements/pipeline.lock").write_text("not looked at", "utf-8")
    save(mine)
    with latency_services.checkout("HEAD", root=mine) as tree:
        assert tree is not None
        assert latency_services.make_sides(tree, root=mine)[0].python == Path(sys.executable)
        lock.write_text("# other\n", "utf-8")
        base, head = latency_services.make_sides(tree, root=mine)
    assert base.python.is_relative_to(environment.cache_home(mine) / "environments")
    assert head.python == Path(sys.executable)
    assert base.python.exists()


def sides(mine: Path) -> list[Side]:
    return [Side(name=name, tree=mine, folder=mine, python=Path(sys.executable)) for name in ("base", "head")]


def test_both_answer_on_cores_of_their_own_and_are_gone_at_the_end(mine: Path, bento: Path):
    cores = os.sched_getaffinity(0)
    with latency_services.run_services(sides(mine), [bento, bento], root=mine) as services:
        running = [one for one in services if isinstance(one, Server)]
        assert len({one.port for one in running}) == 2
        with latency_services.pin_cpus(running):
            own = os.sched_getaffinity(0)
            theirs = [os.sched_getaffinity(thread) for one in running for thread in latency_services.threads(one)]
        assert len(theirs) > 2
        shares: list[float] = []
        with latency_services.record_other_cpu(running, shares):
            sum(range(1_000_000))
    if len(cores) > 1:
        assert len(own) == 1
        assert all(len(found) == 1 and not found & own for found in theirs)
    assert os.sched_getaffinity(0) == cores
    assert 0 <= shares[0] <= 1
    assert all(local_server.is_port_free(one.port) for one in running)


def run_stand_ins(root: Path, *two: Side) -> AbstractContextManager[list[Server | SlipwayError]]:
    return latency_services.run_services(two, [side.folder for side in two], root=root)


def test_each_side_is_started_by_its_own_code(tmp_path: Path):
    """Starting the bento is a part of its speed; here the base's way of starting fails."""
    base = stand_in(tmp_path, "base", starter="raise SystemExit('started by the base')")
    with run_stand_ins(tmp_path, base, stand_in(tmp_path, "head")) as (failed, running):
        assert isinstance(failed, SlipwayError)
        assert "started by the base" in str(failed)
        assert isinstance(running, Server)
    assert local_server.is_port_free(running.port)


def test_a_base_from_before_the_rooms_is_started_by_its_own_module(tmp_path: Path):
    base = stand_in(tmp_path, "base", module="server.py")
    assert not (base.tree / "src/slipway/serving").exists()
    with run_stand_ins(tmp_path, base, stand_in(tmp_path, "head")) as services:
        running = [one for one in services if isinstance(one, Server)]
        assert len(running) == 2, services
        commands = ["".join(process.cmdline()) for process in latency_services.processes(running[0])]
        assert str(base.tree / "src/slipway/stand_in.py") in commands[-1]
    assert all(local_server.is_port_free(one.port) for one in running)


def test_a_base_from_before_the_rooms_differs_by_how_it_is_started(tmp_path: Path):
    new, old = (tmp_path / name for name in ("new", "old"))
    for folder, module in ((new, latency_services.STARTERS[0]), (old, latency_services.STARTERS[1])):
        (folder / module).parent.mkdir(parents=True)
        (folder / module).write_text("the same text", "utf-8")
        (folder / "bentofile.yaml").write_text("include: []\n", "utf-8")
    assert latency_services.differing_files(old, new) == list(latency_services.STARTERS)
    assert latency_services.differing_files(new, new) == latency_services.differing_files(old, old) == []


def test_another_interpreter_is_used(tmp_path: Path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ntouch "{tmp_path}/used"\nexec "{sys.executable}" "$@"\n', "utf-8")
    python.chmod(0o755)
    base = replace(stand_in(tmp_path, "base"), python=python)
    with run_stand_ins(tmp_path, base, stand_in(tmp_path, "head")) as services:
        assert all(isinstance(one, Server) for one in services)
    assert (tmp_path / "used").exists()


def test_the_share_of_others_is_theirs_alone():
    burn = "import time\nuntil = time.monotonic() + 5\nwhile time.monotonic() < until: pass"
    shares: list[float] = []
    with subprocess.Popen([sys.executable, "-c", burn]) as other, latency_services.record_other_cpu([], shares):
        time.sleep(0.5)
        other.kill()
    assert shares[0] > 0.2 / (os.cpu_count() or 1)


def test_a_contract_is_what_may_be_asked(mine: Path):
    assert latency_services.input_schema(mine) == files.read_json(mine / "models/contract.json")["inputs"]


def test_an_error_of_one_does_not_hide_the_other():
    def half(number: int) -> int:
        if number % 2:
            raise ConfigError(f"{number} is odd")
        return number // 2

    found = latency_services.run_in_parallel(half, [2, 3])
    assert found[0] == 1
    assert str(found[1]) == "3 is odd"
    assert latency_services.run_in_parallel(half, []) == []
