"""Images that tests on a cluster share, in its registry by digest: each built once, others of their layers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from slipway.core import environment
from slipway.packaging import image, image_builder
from support.committed_project import ROOT

CHANGED = """ARG BASE=slim
FROM {} AS slim
FROM slim AS serve
USER 0
COPY models /app/bento/src/models
USER 10001:10001
"""


def named(target: str, context: Path, name: str, *, labels: Mapping[str, str] | None = None, root: Path = ROOT) -> str:
    """Build and push a target of the Dockerfile in `root` under a name of this run; `registry/name@sha256:…`."""
    registry = environment.registry_host()
    assert registry, "REGISTRY is not set; `.venv/bin/slipway doctor` says how to get one"
    return image_builder.build_image(
        target, context, f"{registry}/slipway-test-{name}:{os.getpid()}", labels or {}, root=root
    )


def serve(bento: Path) -> str:
    """The service of a bento."""
    return named("serve", bento, "serve", labels={image_builder.REVISION: "0" * 40})


def gate(folder: Path) -> str:
    """The judge of this project, gathered in an empty folder."""
    image.copy_program_files(ROOT, image.GATE, folder)
    return named("gate", folder, "gate", labels={image_builder.REVISION: "0" * 40})


def remodelled(of: str, models: Path, folder: Path) -> str:
    """The same service with another folder of models; built in a folder that is not there yet."""
    shutil.copytree(models, folder / "models")
    (folder / "Dockerfile").write_text(CHANGED.format(of), "utf-8")
    return named("serve", folder, "remodelled", root=folder)
