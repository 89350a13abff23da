"""`image`: the packaged bento, or the gate, as an image in the registry, named by its digest.

Built by BUILD_IMAGE, else by docker, podman or buildah, whichever is there. Labels say what is in it.
"""

from __future__ import annotations

import ast
import shutil
import tempfile
import time
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import config, files, git
from slipway.errors import ConfigError
from slipway.packaging import package, registry
from slipway.packaging.image_builder import DOCKERFILE, REVISION, build_image

RECORD = Path("reports/image.json")
COMPONENT = Path("k8s/components/gate/kustomization.yaml")
CODE = Path("src/slipway")
ENTRY = "slipway.loadtest.in_cluster"
GATE = (Path("loadtests/locustfile.py"), Path("requirements/load.lock"))
"""What the gate's image holds beside its modules."""


def run(_: config.Params, *, gate: bool = False, root: Path = Path()) -> str:
    """Build and push the image of the packaged bento → reports/image.json, or the gate's → its digest in k8s/components/gate.

    ConfigError for what cannot be built or pushed; DataError when the bento is not the one that was packaged.
    """
    root = root.resolve()
    return _gate(root) if gate else _serve(root)


def _serve(root: Path) -> str:
    started = time.monotonic()
    bento, notes = package.packaged(root)
    git.require_clean(root, leave="releases/")
    name = kustomization.read(kustomization.path("staging", root).read_text(encoding="utf-8")).new_name
    hashes = {"bento_sha256": notes["bento_sha256"], "model_sha256": notes["model_sha256"],
              "lock_sha256": files.sha256(root / "dvc.lock")}  # fmt: skip
    commit = git.commit(root=root)
    labels = {
        REVISION: commit, "org.opencontainers.image.title": notes["bento"],
        **{f"slipway.{key}": value for key, value in hashes.items()},
        "slipway.data_sha256": files.sha256(root / "data/table.parquet"),
    }  # fmt: skip
    image = build_image("serve", bento, f"{name}:{bento.name}", labels, root=root)
    size = registry.look(image).bytes
    record = {"image": image, "bento": notes["bento"], **hashes, "commit": commit, "bytes": size,
              "seconds": round(time.monotonic() - started, 1)}  # fmt: skip
    files.write_json(root / RECORD, record)
    return f"{image}, {size / 1e6:.0f} MB to pull"


def _gate(root: Path) -> str:
    text = (root / COMPONENT).read_text(encoding="utf-8")
    pinned = kustomization.read(text, "gate", where=COMPONENT.as_posix())
    inputs = [DOCKERFILE, *contents(root)]
    if (since := _since(pinned, root)) and not _changed(since, inputs, root):
        return f"the gate is current: nothing in it has changed since {since[:12]}, and {pinned.image} is pinned"
    git.require_clean(root, leave=COMPONENT.as_posix())
    commit = git.commit(root=root)
    with tempfile.TemporaryDirectory(prefix="slipway-gate-") as scratch:
        gather(root, Path(scratch))
        labels = {REVISION: commit}
        image = build_image("gate", Path(scratch), f"{pinned.new_name}:{commit[:12]}", labels, root=root)
    kustomization.write_digest(root / COMPONENT, "gate", image.partition("@")[2])
    return f"{image}, pinned in {COMPONENT}: commit that"


def gather(root: Path, folder: Path) -> None:
    """Copy the contents of the gate's image into `folder`, laid out like a bento: one lock, and all below src."""
    for path in contents(root):
        place = folder / "src" / path.relative_to("src" if path.parts[0] == "src" else ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / path, place)


def contents(root: Path) -> list[Path]:
    """The files of the gate's image: its modules, found by following the imports of ENTRY, and GATE."""
    found, waiting = set[Path](), [ENTRY]
    while waiting:
        file = _file(waiting.pop(), root)
        if file is None or file in found:
            continue
        found.add(file)
        waiting += _imported(ast.parse((root / file).read_text(encoding="utf-8")))
    rooms = {folder / "__init__.py" for file in found for folder in file.parents if CODE in (folder, *folder.parents)}
    return [*sorted(found | rooms), *GATE]


def _file(module: str, root: Path) -> Path | None:
    """The file of a module of slipway; None for a room, or for a name inside a module."""
    file = Path("src", *module.split(".")).with_suffix(".py")
    return file if (root / file).is_file() else None


def _imported(tree: ast.Module) -> list[str]:
    """What a module imports of slipway, wherever in it, with each imported name as if it were a module."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    own = [(str(node.module), node) for node in nodes if str(node.module).partition(".")[0] == "slipway"]
    return [name for module, node in own for name in (module, *(f"{module}.{alias.name}" for alias in node.names))]


def _since(pinned: kustomization.Pinned, root: Path) -> str | None:
    """The commit that the pinned image is of: its label's, else (squashed away) the one that pinned it; None without an image."""
    if pinned.digest == kustomization.NOTHING or not registry.exists(pinned.image):
        return None
    try:
        return git.commit(registry.labels(pinned.image).get(REVISION, "none"), root=root)
    except ConfigError:
        return (
            git.run("log", "-1", "--format=%H", "-G", "^ *(- )?digest:", "--", COMPONENT.as_posix(), root=root) or None
        )


def _changed(since: str, inputs: list[Path], root: Path) -> bool:
    """Whether what the gate is made of differs from what it was at `since`."""
    return bool(git.run("diff", "--name-only", since, "--", *(path.as_posix() for path in inputs), root=root))
