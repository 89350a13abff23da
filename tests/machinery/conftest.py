"""A small finished project (the bikes problem of tests/machinery/problems) for every test that needs one."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipway.core import config, environment
from support.callables import Cli, Run
from support.fake_github import GitHub
from support.paths import BIKES, OBJECTIVE, PROBLEMS, ROOT

if TYPE_CHECKING:
    from slipway.sandbox.drills.context import DrillContext
    from support.act_runner import Project
    from support.cluster_sandbox import ClusterLoop

LONG = ("test_loop", "test_review")
"""Minutes, and few tests: pytest-xdist would take them last."""
STAGES = ("ingest", "features", "train", "export")


def pytest_configure() -> None:
    """Programs that tests start must find the second problem too, wherever they run, and no hook's repository."""
    environment.forget_hook()
    folders = [str(ROOT / "src"), str(PROBLEMS), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    os.environ["DVC_GLOBAL_CONFIG_DIR"] = str(ROOT / ".slipway/dvc")  # who runs the tests may have remotes of their own
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes on two cores: more threads only wait


def verb_module(word: str) -> str:
    """The module of a verb, whichever room it is in."""
    (path,) = (ROOT / "src/slipway").rglob(f"{word}.py")
    return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)


def _run(folder: Path, *words: str) -> str:
    said = ""
    with contextlib.chdir(folder):
        params = config.load()
        for word in words:  # imported when run: collecting the tests stays fast
            said = importlib.import_module(verb_module(word)).run(params)
    return said


@pytest.fixture(scope="session")
def run() -> Run:
    """`run(folder, "train", "export")`: the chapters in this process; the last one's sentence."""
    return _run


@pytest.fixture(scope="session")
def cli() -> Cli:
    """`cli(folder, "train")`: `python -m slipway train` in `folder`, as a person types it."""

    def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "slipway", *words]
        return subprocess.run(
            command, cwd=folder, env=environment.for_programs(folder), capture_output=True, text=True, timeout=120
        )

    return call


@pytest.fixture(scope="session")
def params() -> config.Params:
    """The numbers of the bikes problem."""
    return config.load(BIKES / "params.yaml")


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with nothing but params.yaml. Read only; take `bare_copy` to write."""
    folder = tmp_path_factory.mktemp("bare") / "a b é"
    folder.mkdir()
    shutil.copy(BIKES / "params.yaml", folder)
    return folder


@pytest.fixture(scope="session")
def project(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bikes project after ingest, features, train and export. Read only; take `project_copy` to write."""
    folder = tmp_path_factory.mktemp("project") / "a b é"
    shutil.copytree(bare, folder)
    _run(folder, *STAGES)
    return folder


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bikes problem as a repository with lock, metrics and plots as its pipeline made them, committed. Read only."""
    from support.committed_project import reproduced

    return reproduced(tmp_path_factory.mktemp("honest") / "a b é")


@pytest.fixture
def bare_copy(bare: Path, tmp_path: Path) -> Path:
    """A bare project of the test's own."""
    return shutil.copytree(bare, tmp_path / "a b é")


@pytest.fixture
def project_copy(project: Path, tmp_path: Path) -> Path:
    """A finished project of the test's own, to break."""
    return shutil.copytree(project, tmp_path / "a b é")


@pytest.fixture(scope="session")
def evaluated(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bikes project after evaluate, with objectives for its service: all that `monitor` reads but a log. Read only."""
    folder = shutil.copytree(project, tmp_path_factory.mktemp("evaluated") / "a b é")
    _run(folder, "evaluate")
    (folder / "loadtests").mkdir()
    shutil.copy(OBJECTIVE, folder / "loadtests/slo.yaml")
    return folder


@pytest.fixture
def monitored(evaluated: Path, tmp_path: Path) -> Path:
    """An evaluated project of the test's own, to write a log into."""
    return shutil.copytree(evaluated, tmp_path / "a b é")


@pytest.fixture
def github() -> Iterator[GitHub]:
    """GitHub's API on this machine, with pull request 7 open."""
    with GitHub() as server:
        server.pull(7)
        yield server


@pytest.fixture(scope="session")
def packable(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bikes project with code, bentofile and a lookup beside it. Read only, but for its reports and bentos."""
    from support.packable_project import packable

    return packable(project, tmp_path_factory.mktemp("packable") / "a b é")


@pytest.fixture(scope="session")
def bento(packable: Path) -> Path:
    """The folder of its bento."""
    from slipway.packaging import package

    return package.build(packable, name="bikes", readme="# A card\n").path


@pytest.fixture(scope="session")
def served(bento: Path, packable: Path) -> Iterator[int]:
    """A real server of that bento; its port."""
    from slipway.serving import local_server

    home = packable / ".slipway" / "served"
    with local_server.start(
        bento, port=local_server.find_free_port(), home=home, root=packable, log=home / "log"
    ) as running:
        local_server.wait_ready(running)
        yield running.port


@pytest.fixture(scope="session")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A reproduced repository with the workflows. Never run or written: each file of tests takes a copy."""
    from support.act_runner import project

    return project(tmp_path_factory.mktemp("acted"))


@pytest.fixture(scope="session")
def serve_image(bento: Path) -> str:
    """The image of that bento, in the cluster's registry."""
    from support import shared_images

    return shared_images.serve(bento)


@pytest.fixture(scope="session")
def gate_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of the judge, there too."""
    from support import shared_images

    return shared_images.gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="session")
def tidy() -> Iterator[None]:
    """For tests that give the cluster what lies in no namespace: at the end it is as it was found."""
    from support.cluster_sandbox import unchanged

    with unchanged(config.load(ROOT / "params.yaml").track.model):
        yield


@pytest.fixture(scope="session")
def cluster_loop(tidy: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterLoop]:
    """The whole loop on a cluster: a merge in production, a bad change refused. It runs once for all tests that need it."""
    from support.cluster_sandbox import loop_on_cluster

    assert tidy is None
    with loop_on_cluster(tmp_path_factory.mktemp("cluster") / "p") as finished:
        yield finished


@pytest.fixture(scope="session")
def drill_context(cluster_loop: ClusterLoop) -> DrillContext:
    """The drills' context: the sandbox that the loop left, with shorter limits."""
    from slipway.sandbox.drills import context

    assert cluster_loop.code == 0, "the loop did not end well; see tests/machinery/cluster_e2e/test_loop.py"
    return context.open_context(cluster_loop.sandbox.root, config.load(cluster_loop.sandbox.root / "params.yaml"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, so that no process waits for another at the end.

    Tests of the cluster's one loop come last, and of those the drills, which continue in its sandbox.
    """

    def order(item: pytest.Item) -> int:
        names = getattr(item, "fixturenames", ())
        return (
            ("cluster_loop" in names)
            + ("cluster_loop" in names and "drill_context" in names)
            - (item.path.stem in LONG)
        )

    items.sort(key=order)
