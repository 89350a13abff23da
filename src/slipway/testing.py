"""Checks for a project's own tests: they run every step of the pipeline on a sample of the project's data.

`tests/project/conftest.py` has a fixture `sample` (the table that the problem's `ingest` makes, or some weeks of it),
and a test module has the checks:

    class TestProject(slipway.testing.ProjectChecks):
        '''The checks of Slipway, on this project's problem.'''

Everything is written to a temporary folder, with limits sized to the sample. Of the project's own files the checks
read params.yaml, dvc.yaml and k8s/. They change none of them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NoReturn, cast

import joblib
import polars as pl
import pytest
from ruamel.yaml import YAML

import slipway
from slipway import problem
from slipway.cluster import manifests
from slipway.core import config, environment, files
from slipway.core.verdict import describe_check
from slipway.errors import SlipwayError
from slipway.packaging import package
from slipway.pipeline import evaluate, export, features, ingest, stages, train
from slipway.problem import Problem
from slipway.serving import golden, http_client, local_server, score
from slipway.serving.onnx_model import FOLDER, Model

CHAPTERS = ("ingest", "features", "train", "export", "evaluate")
"""The steps that a problem goes through, in their order."""
LEAK_MOMENTS = 6
"""Parts of seven: moments that fall into different hours of a day, however many rows a day has."""
ROWS = 10
"""Number of rows that `score` predicts."""


@dataclass(frozen=True, kw_only=True)
class SampleRun:
    """The result of all steps in `folder`; `errors` has the step that failed, if any. The steps after it did not run."""

    folder: Path
    spec: Problem
    params: config.Params
    table: pl.DataFrame
    errors: Mapping[str, Exception]

    def require(self, chapter: str) -> None:
        """End the test unless the step `chapter` succeeded: it fails with that step, and is skipped if an earlier one failed."""
        for name in CHAPTERS:
            if name in self.errors and name == chapter:
                fail(name, self.errors[name])
            if name in self.errors:
                pytest.skip(f"not run, because the step {name} failed")
            if name == chapter:
                return

    def model(self) -> Model:
        """The exported model."""
        return Model(self.folder / FOLDER)

    def frame(self) -> pl.DataFrame:
        """The rows of the test window, as `features` made them."""
        return train.rows_of_window(ingest.read_parquet(self.folder / features.FRAME), self.params.data, "test")


def fail(what: str, error: Exception) -> NoReturn:
    """Fail the test with the message and hint of a SlipwayError, or with the traceback of any other error."""
    if not isinstance(error, SlipwayError):
        raise error
    pytest.fail(f"{what}: {error}" + (f"\nnext: {error.hint}" if error.hint else ""), pytrace=False)


def sample_params(params: config.Params, table: pl.DataFrame) -> config.Params:
    """The project's parameters with windows and limits sized to `table`: the last fifth of its days is the test window."""
    first, last = (cast("date", day) for day in (table["day"].min(), table["day"].max()))
    windows = {"until": last + timedelta(days=1), "test_days": max(1, ((last - first).days + 1) // 5)}
    small = {"min_rows": 1, "resamples": 20, "min_slice_rows": 1, "importance_rows": 200, "sample_rows": 2000}
    return params.model_copy(
        update={
            "data": config.Data.model_validate(windows),
            "features": config.Features(leak_moments=max(params.features.leak_moments, LEAK_MOMENTS)),
            "evaluate": params.evaluate.model_copy(update=small),
            "export": params.export.model_copy(update={"golden": min(params.export.golden, 16)}),
        }
    )


def run_chapters(params: config.Params, table: pl.DataFrame, *, root: Path, folder: Path) -> SampleRun:
    """Run the steps in `folder`: `ingest` on the sources of the project at `root`, the others on `table`."""
    small, errors = sample_params(params, table), dict[str, Exception]()
    spec = problem.load(params.problem)

    def run_ingest(small: config.Params) -> None:
        with contextlib.chdir(root):  # the problem may name its sources from there; it only reads
            ingest.build_table(spec, small)
        ingest.write_parquet(table, ingest.TABLE)

    runs = (run_ingest, features.run, train.run, export.run, evaluate.run)
    with contextlib.chdir(folder):
        for name, run in zip(CHAPTERS, runs, strict=True):
            try:
                run(small)
            except Exception as error:
                errors[name] = error
                break
    return SampleRun(folder=folder, spec=spec, params=small, table=table, errors=errors)


def build_bento(run: SampleRun) -> package.Bento:
    """Package the model of `run` with the service and the problem's lookup, by a bentofile.yaml made for it."""
    sources = {"slipway": Path(slipway.__file__).parent}
    if run.spec.lookup:
        name = run.spec.lookup.partition(".")[0]
        sources[name] = Path(str(importlib.import_module(name).__file__)).parent
    include = [path.relative_to(run.folder).as_posix() for path in sorted((run.folder / FOLDER).iterdir())]
    for name, source in sources.items():
        for path in sorted(source.rglob("*.py")):
            place = Path("src", name, path.relative_to(source))
            (run.folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, run.folder / place)
            include.append(place.as_posix())
    described = {
        "service": "slipway.serving.service:Predictor",
        "include": [name for name in include if not name.endswith(package.UNWANTED)],
        "python": {"is_src_layout": True, "lock_packages": False},
    }
    with (run.folder / package.BENTOFILE).open("w", encoding="utf-8") as file:
        YAML().dump(described, file)
    return package.build(run.folder, name=run.spec.name, readme="# A sample\n")


def question_example(spec: Problem) -> dict[str, Any] | None:
    """A question to the problem's lookup, from the examples of its fields; None for a problem without one."""
    if not spec.lookup:
        return None
    fields = importlib.import_module(spec.lookup).Question.model_fields
    return {name: field.examples[0] for name, field in fields.items() if field.examples}


def undeclared(params: list[Any], stage: str, sections: set[str], fingerprints: str) -> list[str]:
    """The sections that a stage reads and does not name in its `params` of dvc.yaml, and its missing fingerprint key."""
    names = {key.split(".")[0] for key in params if isinstance(key, str)}
    files_named = {name: keys or [] for key in params if isinstance(key, Mapping) for name, keys in key.items()}
    fingerprint = [] if stage in files_named.get(fingerprints, []) else [f"{fingerprints}: [{stage}]"]
    return sorted(sections - names) + fingerprint


def render_command() -> list[str]:
    """The command that renders an overlay; without kustomize and kubectl the test is skipped with a reason."""
    command = manifests.find_renderer(environment.for_programs(Path.cwd())["PATH"])
    if command is None:
        pytest.skip("the overlays in k8s/ were NOT checked: install kustomize or kubectl")
    return command


class ProjectChecks:
    """The checks that a project inherits. They need a fixture `sample`: the table of its problem, or some weeks of it.

    `root` is the project's folder, by default the one that holds pytest's configuration.
    """

    root: Path | None = None

    @pytest.fixture(scope="class")
    @classmethod
    def project_root(cls, request: pytest.FixtureRequest) -> Path:
        """The project's folder, which is only read."""
        return cls.root or request.config.rootpath

    @pytest.fixture(scope="class")
    @classmethod
    def sample_run(
        cls, project_root: Path, sample: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
    ) -> SampleRun:
        """The result of all steps, in a temporary folder."""
        folder = tmp_path_factory.mktemp("sample")
        params = config.load(project_root / "params.yaml")
        return run_chapters(params, sample, root=project_root, folder=folder)

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, sample_run: SampleRun) -> Iterator[str]:
        """The address of the packaged service of that model."""
        sample_run.require("export")
        try:
            bento = build_bento(sample_run)
        except SlipwayError as error:
            fail("package", error)
        home = environment.cache_home(sample_run.folder) / "served"
        with local_server.start(
            bento.path, port=local_server.find_free_port(), home=home, root=sample_run.folder, log=home / "log"
        ) as server:
            local_server.wait_ready(server)
            yield server.url

    @pytest.mark.parametrize("chapter", CHAPTERS)
    def test_chapter_runs(self, sample_run: SampleRun, chapter: str) -> None:
        """Each step succeeds; `features` refuses inputs that leak, `export` a graph with different predictions."""
        sample_run.require(chapter)

    def test_known_at_names_columns(self, sample_run: SampleRun) -> None:
        """`known_at` maps columns of the table, the target among them, to columns that hold a time."""
        spec, table = sample_run.spec, sample_run.table
        absent = {*spec.known_at, *spec.known_at.values(), spec.time} - set(table.columns)
        assert not absent, f"known_at or time names columns that the table lacks: {', '.join(sorted(absent))}"
        timeless = [name for name in spec.known_at.values() if not table.schema[name].is_temporal()]
        assert not timeless, f"known_at names columns that hold no time: {', '.join(timeless)}"
        assert spec.target in spec.known_at, (
            f"known_at lacks the target {spec.target}, so a leak of it would not be detected"
        )

    def test_leak_of_the_target_is_found(self, sample_run: SampleRun) -> None:
        """The leak check reports an input that is replaced by the target, so `known_at` and `horizon_hours` are effective."""
        sample_run.require("ingest")
        spec, number = sample_run.spec, next(iter(problem.names(sample_run.spec.inputs, "number")), None)
        if number is None:
            pytest.skip("none of the inputs is a number")

        def leak(table: pl.DataFrame) -> pl.DataFrame:
            target = table.select("row_id", pl.col(spec.target).cast(pl.Float32).alias(number))
            return spec.features(table).drop(number).join(target, on="row_id", how="left", maintain_order="left")

        leaks = features.find_leaks(replace(spec, features=leak), sample_run.table, moments=1, seed=1)
        assert number in leaks, (
            f"the leak check did not report {number} after it was replaced by the target {spec.target}: correct known_at"
        )

    def test_exported_model_agrees_with_scikit_learn(self, sample_run: SampleRun) -> None:
        """The predictions of both agree on rows of the test window, to `export.tolerance`."""
        sample_run.require("export")
        rows, pipeline = sample_run.frame().head(500), joblib.load(sample_run.folder / train.MODEL)
        expected = export.scikit_learn_predictions(pipeline, rows, sample_run.spec)
        answers, tolerance = sample_run.model().frame(rows), sample_run.params.export.tolerance
        parity = export.check_parity(expected, answers, tolerance)  # no gate: a test of a project
        assert parity.ok, describe_check(parity)

    def test_service_answers_the_example(self, sample_run: SampleRun, service: str) -> None:
        """The packaged service predicts the contract's example, and returns the model's predictions of the golden rows."""
        example = problem.example_row(sample_run.spec.inputs)
        status, body = http_client.fetch(service, "/predict", json.dumps(example).encode())
        assert status == 200, f"POST /predict with the examples of the inputs returned {status}: {body.decode()}"
        rows = files.read_json(sample_run.folder / FOLDER / "golden.json")
        tolerance = sample_run.params.package.tolerance
        check = golden.replay(service, rows, tolerance=tolerance)  # no gate: a test of a project
        assert check.ok, describe_check(check)

    def test_service_answers_the_question(self, sample_run: SampleRun, service: str) -> None:
        """The packaged service answers the example of the lookup's `Question`, which must be within the sample."""
        question = question_example(sample_run.spec)
        if question is None:
            pytest.skip("the problem has no lookup")
        status, body = http_client.fetch(service, "/ask", json.dumps(question).encode())
        assert status == 200, f"POST /ask with the examples of the question returned {status}: {body.decode()}"

    def test_score_predicts_rows(self, sample_run: SampleRun, tmp_path: Path) -> None:
        """`score` predicts the rows of a parquet file as the model does, in their order."""
        sample_run.require("export")
        rows, model = sample_run.frame().head(ROWS), sample_run.model()
        rows.select("row_id", *sample_run.spec.inputs.model_fields).write_parquet(tmp_path / "rows.parquet")
        score.run(tmp_path / "rows.parquet", tmp_path / "scored.parquet", folder=sample_run.folder / FOLDER)
        scored = pl.read_parquet(tmp_path / "scored.parquet")
        assert scored["row_id"].to_list() == rows["row_id"].to_list()
        assert scored["prediction"].to_list() == pytest.approx(model.frame(rows).tolist(), abs=1e-6)

    def test_overlays_render(self, project_root: Path) -> None:
        """Each overlay below k8s/ renders; needs kustomize or kubectl."""
        overlays = sorted(path.parent for path in project_root.glob(f"{manifests.OVERLAYS}/*/kustomization.yaml"))
        if not overlays:
            pytest.skip(f"the project has no {manifests.OVERLAYS}/")
        command = render_command()
        rendered = {folder.name: manifests.render_folder(folder, command, root=project_root) for folder in overlays}
        broken = {name: objects for name, objects in rendered.items() if isinstance(objects, str)}
        assert not broken, "\n".join(f"overlay {name} does not render: {message}" for name, message in broken.items())

    def test_stages_declare_what_they_reach(self, project_root: Path) -> None:
        """Each stage of dvc.yaml names the sections of params.yaml that it reads and its fingerprint, which is up to date."""
        if not (project_root / "dvc.yaml").exists():
            pytest.skip("the project has no dvc.yaml")
        declared = YAML(typ="safe").load((project_root / "dvc.yaml").read_text("utf-8"))["stages"]
        try:
            code = stages.reaches(project_root)
            stale = stages.stale(project_root, code)
        except SlipwayError as error:
            fail("dvc.yaml", error)
        lacks = {
            name: undeclared(declared[name].get("params", []), name, reach.sections, str(stages.FINGERPRINTS))
            for name, reach in code.items()
        }
        wrong = [f"stage {name} lacks {', '.join(keys)} under params" for name, keys in lacks.items() if keys]
        assert not wrong, f"dvc.yaml: {'; '.join(wrong)}"
        assert not stale, f"{stages.FINGERPRINTS} is out of date for {', '.join(stale)}\nnext: make repro"
