"""Faults of a cluster's parts: one that is down while a block runs, and up again whatever happens in it.

CLUSTER_FAULTS names a folder with the programs `stop [-9] NAME…` and `start NAME…`; without it a part is stopped the way
it was started by `make cluster`: the registry by docker, Argo CD's controller by its replicas, Git by its folder's name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from slipway.cluster import kubectl
from slipway.core import environment
from slipway.errors import ConfigError, SlipwayError

REGISTRY, GIT, CONTROLLER = "registry", "git-http", "argocd-application-controller"
CONTAINER = "slipway-registry"
"""The registry's container, as .ci/cluster calls it."""
SCALE = ("kubectl", "-n", kubectl.ARGOCD_NAMESPACE, "scale", f"statefulset/{CONTROLLER}")
SECONDS = 90.0
"""Longest for a part to stop or to be healthy again."""
Command = tuple[str, ...]


def commands(part: str, folder: Path | None, *, hard: bool) -> tuple[Command, Command]:
    """What stops a part and what starts it again; ConfigError for one that cannot be stopped here."""
    if folder is not None:
        return (str(folder / "stop"), *(["-9"] if hard else []), part), (str(folder / "start"), part)
    known: dict[str, tuple[Command, Command]] = {
        REGISTRY: (("docker", "stop", CONTAINER), ("docker", "start", CONTAINER)),
        CONTROLLER: ((*SCALE, "--replicas=0"), (*SCALE, "--replicas=1")),
    }
    if part not in known:
        raise ConfigError(f"drill: nothing here stops {part}", hint="export CLUSTER_FAULTS=FOLDER, with stop and start")
    return known[part]


@contextlib.contextmanager
def down(part: str, *, remote: Path, hard: bool = False) -> Iterator[None]:
    """`part` is down while the block runs (killed when `hard`); `remote` is the bare repository that Git serves.

    ConfigError when it cannot be stopped here, or does not start again: then the message has the command.
    """
    folder = environment.cluster_faults()
    if part == GIT and folder is None:
        with _aside(remote):
            yield
        return
    stop, start = commands(part, folder, hard=hard)
    try:
        _call(stop)
        yield
    finally:
        try:
            _call(start)
        except SlipwayError as error:
            raise ConfigError(f"drill: {part} does not start again: {error}", hint=" ".join(start)) from error


def _call(command: Sequence[str]) -> None:
    kubectl.call(*command, timeout=SECONDS)


@contextlib.contextmanager
def _aside(remote: Path) -> Iterator[None]:
    """The repository under another name."""
    away = remote.with_name(f"{remote.name}.away")
    remote.rename(away)
    try:
        yield
    finally:
        away.rename(remote)
