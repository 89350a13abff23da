"""`package`: build a bento from model, contract and service, and replay the golden requests through it."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from slipway.core import config, environment, files, process
from slipway.core.strict_model import describe_syntax_error, parse_yaml
from slipway.core.verdict import Verdict
from slipway.errors import ConfigError, DataError
from slipway.reporting import cards, report_data
from slipway.serving import golden, local_server

VERDICT = Path("reports/package.json")
GOLDEN = Path("models/golden.json")
BENTOFILE, README = "bentofile.yaml", "README.md"
DATED = ("bento.yaml", README)
"""The two files of a bento that are not part of its content: they hold the time and the commit of the build.

The first holds its time and version, the second the cards, with commit, merger and verdicts. The same model from another
commit is the same bento, with the cards of the commit that packaged it last.
"""
UNWANTED = (".joblib", ".pkl", ".parquet", ".csv")
replay = golden.replay
HINT = "run `make repro`, then `slipway package`"


@dataclass(frozen=True, kw_only=True)
class Bento:
    """A built bento: `sha256` is the hash of its content, `tag` is name:version, with its first 12 digits as version."""

    tag: str
    path: Path
    sha256: str
    model_sha256: str


def sha256(bento: Path) -> str:
    """The identity of a bento folder: the hash of its files without DATED and Python's caches."""
    caches = [path.relative_to(bento).as_posix() for path in bento.rglob("*.pyc")]
    return files.tree_sha256(bento, exclude=(*DATED, *caches))


def build(root: Path, *, name: str, readme: str) -> Bento:
    """`bentoml build` of the project at `root`, into its own store; the same content is the same bento.

    `readme` becomes its README.md, which BentoML shows as its description.
    ConfigError when bentofile.yaml is wrong, DataError when a file that it names is missing.
    """
    store = environment.cache_home(root) / "bentoml" / "bentos" / name
    with files.writing(store):
        return _build_in(store, root, name=name, readme=readme)


def _build_in(store: Path, root: Path, *, name: str, readme: str) -> Bento:
    store.mkdir(parents=True, exist_ok=True)
    with files.scratch_folder("build-", where=environment.cache_home(root)) as scratch:
        built = _bentoml_build(root, name=name, home=scratch)
        check_contents(built, [name.removeprefix("src/") for name in included_files(root)])
        content = sha256(built)
        version = content[:12]
        if not (store / version).exists():
            _write_version(built, version)
            built.replace(store / version)
    path = store / version
    files.write_text(path / README, readme)
    files.make_readable(path)
    files.write_text(store / "latest", version)
    return Bento(
        tag=f"{name}:{version}",
        path=path,
        sha256=content,
        model_sha256=files.sha256(path / "src/models/model.onnx"),
    )


def _bentoml_build(root: Path, *, name: str, home: Path) -> Path:
    """Run `bentoml build` in a temporary folder with only the files of bentofile.yaml; returns the bento's folder.

    BentoML refuses a path with a hidden folder anywhere in it, and would walk the whole project.
    """
    command = [sys.executable, "-m", "bentoml", "build", "--name", name, "--version", "new", "--output", "tag"]
    with files.scratch_folder("slipway-") as context:
        for file in (BENTOFILE, *included_files(root)):
            if not (root / file).is_file():
                hint = f"run `make repro` if it is a file of the model, else correct `include` in {BENTOFILE}"
                raise DataError(f"{file}, named in {BENTOFILE}, does not exist", hint=hint)
            (context / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / file, context / file)
        env = environment.for_programs(context, BENTOML_HOME=str(home))
        finished = process.run(command, folder=context, env=env)
    process.require_written(finished, "bentoml build", home)
    bento = home / "bentos" / name / "new"
    if not finished.ok or not bento.is_dir():
        output = (finished.out + finished.err).strip()[-2000:]
        raise ConfigError(f"`bentoml build` failed; the end of its output:\n{output}", hint=f"correct {BENTOFILE}")
    return bento


def _write_version(bento: Path, version: str) -> None:
    """Replace the version "new" of a bento in bento.yaml, the only file that holds it."""
    record = bento / "bento.yaml"
    record.write_text(re.sub(r"(?m)^version: new$", f"version: {version}", record.read_text("utf-8")), "utf-8")


def included_files(root: Path) -> list[str]:
    """The files that bentofile.yaml names; ConfigError when it cannot be read."""
    try:
        document = parse_yaml((root / BENTOFILE).read_text(encoding="utf-8"))
        return [str(name) for name in document["include"]]
    except (OSError, UnicodeDecodeError, YAMLError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{BENTOFILE} has no readable list `include`: {_reason(error)}", hint=f"git checkout -- {BENTOFILE}"
        ) from None


def _reason(error: Exception) -> str:
    """The reason why bentofile.yaml has no list of files, in a few words."""
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    if isinstance(error, OSError):
        return str(error.strerror)
    return describe_syntax_error(error) if isinstance(error, YAMLError | UnicodeDecodeError) else "it is not a list"


def check_contents(bento: Path, names: Sequence[str]) -> None:
    """Refuse a bento that lacks a file of `names`, which BentoML does not report, or has one that must not be served."""
    source = bento / "src"
    if missing := [name for name in names if not any(source.glob(name))]:
        raise DataError(f"the bento lacks {', '.join(missing)}, named in bentofile.yaml", hint=HINT)
    lookup = files.read_json(source / "models/contract.json").get("lookup")
    if lookup and not (source / f"{lookup.replace('.', '/')}.py").exists():
        raise ConfigError(
            f"the bento lacks the module {lookup}, which models/contract.json names",
            hint=f"add src/{lookup.replace('.', '/')}.py to `include` in {BENTOFILE}",
        )
    packed = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    if unwanted := [name for name in packed if name.endswith(UNWANTED) or name == "params.yaml"]:
        hint = f"remove it from `include` in {BENTOFILE}"
        raise ConfigError(f"the bento contains {', '.join(unwanted)}, which must not be served", hint=hint)


def run(params: config.Params, *, root: Path = Path()) -> str:
    """Build a bento from models/, write the cards → reports/package.json; exit 4 unless it returns the golden answers."""
    root, started = root.resolve(), time.monotonic()
    requests = golden.read(root / GOLDEN)
    bento = build(root, name=params.track.model, readme=cards.write(params, report_data.read(root), root=root))
    with (
        files.scratch_folder("serve-", where=environment.cache_home(root)) as home,
        local_server.start(
            bento.path, port=local_server.find_free_port(), home=home, root=root, log=home / "log"
        ) as running,
    ):
        ready = local_server.wait_ready(running)
        check = golden.replay(running.url, requests, tolerance=params.package.tolerance)
    notes = {"bento": bento.tag, "path": bento.path.relative_to(root).as_posix(), "bento_sha256": bento.sha256,
             "model_sha256": bento.model_sha256, "ready_seconds": round(ready, 2)}  # fmt: skip
    verdict = Verdict(chapter="package", checks=[check], rows=len(requests), seconds=time.monotonic() - started,
                      inputs={"model": bento.model_sha256}, notes=notes)  # fmt: skip
    verdict.write(root / VERDICT)
    verdict.enforce(hint="run `make repro`, so that models/golden.json and models/model.onnx are of the same model")
    return f"{bento.tag} returns all {len(requests)} golden answers; it was ready in {ready:.1f} s"


def packaged_bento(root: Path) -> tuple[Path, dict[str, Any]]:
    """Folder and notes of the bento in reports/package.json; DataError when the folder's content is another."""
    hint = "run `slipway package`"
    notes: dict[str, Any] = files.read_json(root / VERDICT, "notes", kind=dict, hint=hint)
    with files.parsing(root / VERDICT, hint=hint):
        path, content = root / notes["path"], notes["bento_sha256"]
    if not path.is_dir() or sha256(path) != content:
        raise DataError(
            f"the bento {path} is missing, or has changed since it was packaged", hint="run `slipway package`"
        )
    return path, notes


def serve(*, port: int, prediction_log: Path | None = None, root: Path = Path()) -> str:
    """Serve the packaged bento in the foreground until interrupted; it logs its predictions to `prediction_log`, if set."""
    root = root.resolve()
    path, notes = packaged_bento(root)
    home = environment.cache_home(root) / f"serve-{port}"
    with local_server.start(
        path, port=port, home=home, root=root, log=home / "log", prediction_log=prediction_log
    ) as running:
        local_server.wait_ready(running)
        print(f"{notes['bento']} answers on {running.url} (press Ctrl-C to stop)", file=sys.stderr)  # noqa: T201
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            running.process.wait()
        except KeyboardInterrupt:
            return f"{notes['bento']} stopped"
    message = f"the service stopped with {process.describe_exit(running.process.returncode)}"
    raise ConfigError(message, hint=f"the cause is in its log, {running.log}")
