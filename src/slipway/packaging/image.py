"""`image`: build and push the image of the packaged bento or of the gate; labels list the hashes of its content."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import config, files, git
from slipway.errors import ConfigError
from slipway.packaging import package, registry
from slipway.packaging.image_builder import DOCKERFILE, REVISION, build_image
from slipway.pipeline.fingerprint.code_reach import imported_modules

RECORD = Path("reports/image.json")
GATE_KUSTOMIZATION = Path("k8s/components/gate/kustomization.yaml")
ENTRY = "slipway.loadtest.in_cluster"
GATE = (Path("loadtests/locustfile.py"), Path("requirements/load.lock"))
"""Files in the gate's image next to its modules."""


def run(_: config.Params, *, gate: bool = False, root: Path = Path()) -> str:
    """Build and push the packaged bento's image → reports/image.json, or the gate's → its digest in k8s/components/gate.

    ConfigError when it cannot be built or pushed; DataError when the bento has changed since `slipway package`.
    """
    root = root.resolve()
    return _build_gate(root) if gate else _build_service(root)


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


def _build_gate(root: Path) -> str:
    text = (root / GATE_KUSTOMIZATION).read_text(encoding="utf-8")
    pinned = kustomization.read(text, "gate", where=GATE_KUSTOMIZATION.as_posix())
    inputs = [DOCKERFILE, *gate_files(root)]
    if (since := _source_commit(pinned, root)) and not _has_changed(since, inputs, root):
        return f"the gate's image is up to date: its files are those of {since[:12]}, and {pinned.image} is pinned"
    git.require_clean(root, exclude=[GATE_KUSTOMIZATION.as_posix()])
    commit = git.commit_hash(root=root)
    with files.scratch_folder("slipway-gate-") as scratch:
        copy_gate_files(root, scratch)
        labels = {REVISION: commit}
        image = build_image("gate", scratch, f"{pinned.new_name}:{commit[:12]}", labels, root=root)
    kustomization.write_digest(root / GATE_KUSTOMIZATION, "gate", image.partition("@")[2])
    return f"{image}, pinned in {GATE_KUSTOMIZATION}; commit this file"


def copy_gate_files(root: Path, folder: Path) -> None:
    """Copy the contents of the gate's image into `folder`, laid out like a bento: everything below src."""
    for path in gate_files(root):
        target = folder / "src" / path.relative_to("src" if path.parts[0] == "src" else ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, target)
    files.make_readable(folder)


def gate_files(root: Path) -> list[Path]:
    """The files of the gate's image: its modules, found by following the imports of ENTRY, and GATE."""
    modules = (path.relative_to(root) for path in imported_modules(root, ENTRY))
    return [*sorted(modules), *GATE]


def _source_commit(pinned: kustomization.PinnedImage, root: Path) -> str | None:
    """The commit that the pinned image was built from; None without an image.

    It is in the image's label. When that commit was squashed away, the one that wrote the pin stands for it.
    """
    if pinned.digest == kustomization.NOTHING or not registry.exists(pinned.image):
        return None
    try:
        return git.commit_hash(registry.labels(pinned.image).get(REVISION, "none"), root=root)
    except ConfigError:
        return _commit_of_pin(pinned, root)


def _commit_of_pin(pinned: kustomization.PinnedImage, root: Path) -> str | None:
    """The commit since which the gate's kustomization pins this digest; None when no commit does."""
    name, writer = GATE_KUSTOMIZATION.as_posix(), None
    for commit in git.commits("HEAD", name, root=root):
        text = git.file_at(commit.sha, name, root=root)
        if text is None or kustomization.read(text, "gate", where=name).digest != pinned.digest:
            break
        writer = commit.sha
    return writer


def _has_changed(since: str, inputs: list[Path], root: Path) -> bool:
    """Return whether an input of the gate's image differs from the commit `since`."""
    return bool(git.changed_since(since, *(path.as_posix() for path in inputs), root=root))
