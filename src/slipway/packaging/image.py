"""`image`: build and push the image of the packaged bento, of the gate, or of the log's uploader.

Labels list the hashes of its content.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import config, files, git
from slipway.errors import ConfigError
from slipway.packaging import package, registry
from slipway.packaging.image_builder import DOCKERFILE, REVISION, build_image
from slipway.pipeline.fingerprint.code_reach import imported_modules

RECORD = Path("reports/image.json")


@dataclass(frozen=True, kw_only=True)
class Program:
    """An image that holds a program of Slipway: the modules that its entry imports, and a few files."""

    target: str
    """Target of the Dockerfile, and the image's name in `kustomization`."""
    kustomization: Path
    """The file in which the digest is pinned."""
    entry: str
    files: tuple[Path, ...]
    """Files next to the modules; one of them is the lock."""


GATE = Program(
    target="gate", kustomization=Path("k8s/components/gate/kustomization.yaml"), entry="slipway.loadtest.in_cluster",
    files=(Path("loadtests/locustfile.py"), Path("requirements/load.lock")),
)  # fmt: skip
UPLOADER = Program(
    target="uploader", kustomization=Path("k8s/components/prediction-log/kustomization.yaml"),
    entry="slipway.monitoring.log_files.uploader", files=(Path("requirements/extra-s3.lock"),),
)  # fmt: skip
GATE_KUSTOMIZATION = GATE.kustomization


def run(_: config.Params, *, program: Program | None = None, root: Path = Path()) -> str:
    """Build and push the packaged bento's image → reports/image.json, or a program's → its digest in its kustomization.

    ConfigError when it cannot be built or pushed; DataError when the bento has changed since `slipway package`.
    """
    root = root.resolve()
    return _build_program(program, root) if program else _build_service(root)


def _build_service(root: Path) -> str:
    started = time.monotonic()
    bento, notes = package.packaged_bento(root)
    files.make_readable(bento)
    git.require_clean(root, exclude=["releases/"])
    overlay = kustomization.path("staging", root)
    where = overlay.relative_to(root).as_posix()
    name = kustomization.read(overlay.read_text(encoding="utf-8"), where=where).new_name
    hashes = {"bento_sha256": notes["bento_sha256"], "model_sha256": notes["model_sha256"],
              "lock_sha256": files.sha256(root / "dvc.lock")}  # fmt: skip
    commit = git.commit_hash(root=root)
    labels = {
        REVISION: commit, "org.opencontainers.image.title": notes["bento"],
        **{f"slipway.{key}": value for key, value in hashes.items()},
        "slipway.data_sha256": files.sha256(root / "data/table.parquet"),
    }  # fmt: skip
    image = build_image("serve", bento, f"{name}:{bento.name}", labels, root=root)
    size = registry.inspect_image(image).bytes
    record = {"image": image, "bento": notes["bento"], **hashes, "commit": commit, "bytes": size,
              "seconds": round(time.monotonic() - started, 1)}  # fmt: skip
    files.write_json(root / RECORD, record)
    return f"{image}, {size / 1e6:.0f} MB to pull"


def _build_program(program: Program, root: Path) -> str:
    name, where = program.target, program.kustomization
    pinned = kustomization.read((root / where).read_text(encoding="utf-8"), name, where=where.as_posix())
    inputs = [DOCKERFILE, *program_files(root, program)]
    if (since := _source_commit(pinned, program, root)) and not _has_changed(since, inputs, root):
        return f"the {name}'s image is up to date: its files are those of {since[:12]}, and {pinned.image} is pinned"
    git.require_clean(root, exclude=[where.as_posix()])
    commit = git.commit_hash(root=root)
    with files.scratch_folder(f"slipway-{name}-") as scratch:
        copy_program_files(root, program, scratch)
        labels = {REVISION: commit}
        image = build_image(name, scratch, f"{pinned.new_name}:{commit[:12]}", labels, root=root)
    kustomization.write_digest(root / where, name, image.partition("@")[2])
    return f"{image}, pinned in {where}; commit this file"


def copy_program_files(root: Path, program: Program, folder: Path) -> None:
    """Copy the contents of a program's image into `folder`, laid out like a bento: everything below src."""
    for path in program_files(root, program):
        target = folder / "src" / path.relative_to("src" if path.parts[0] == "src" else ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, target)
    files.make_readable(folder)


def program_files(root: Path, program: Program) -> list[Path]:
    """The files of a program's image: its modules, found by following the imports of its entry, and its few files."""
    modules = (path.relative_to(root) for path in imported_modules(root, program.entry))
    return [*sorted(modules), *program.files]


def _source_commit(pinned: kustomization.PinnedImage, program: Program, root: Path) -> str | None:
    """The commit that the pinned image was built from; None without an image.

    It is in the image's label. When that commit was squashed away, the one that wrote the pin stands for it.
    """
    if pinned.digest == kustomization.NOTHING or not registry.exists(pinned.image):
        return None
    try:
        return git.commit_hash(registry.labels(pinned.image).get(REVISION, "none"), root=root)
    except ConfigError:
        return _commit_of_pin(pinned, program, root)


def _commit_of_pin(pinned: kustomization.PinnedImage, program: Program, root: Path) -> str | None:
    """The commit since which the program's kustomization pins this digest; None when no commit does."""
    name, writer = program.kustomization.as_posix(), None
    for commit in git.commits("HEAD", name, root=root):
        text = git.file_at(commit.sha, name, root=root)
        if text is None or kustomization.read(text, program.target, where=name).digest != pinned.digest:
            break
        writer = commit.sha
    return writer


def _has_changed(since: str, inputs: list[Path], root: Path) -> bool:
    """Return whether an input of an image differs from the commit `since`."""
    return bool(git.changed_since(since, *(path.as_posix() for path in inputs), root=root))
