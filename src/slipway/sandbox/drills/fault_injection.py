"""Stop a part of the cluster while a block runs, and start it again whatever happens in the block.

CLUSTER_FAULTS names a folder with the programs `stop [-9] NAME…` and `start NAME…`. Without it a part is stopped the way
`make cluster` started it: the registry by docker, Argo CD's controller by its replicas, Git by renaming its folder.
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
"""The registry's container, by its name in .ci/cluster."""
SCALE = ("kubectl", "-n", kubectl.ARGOCD_NAMESPACE, "scale", f"statefulset/{CONTROLLER}")
SECONDS = 90.0
"""Longest for a part to stop or to be healthy again."""
Command = tuple[str, ...]


def stop_and_start(part: str, folder: Path | None, *, hard: bool) -> tuple[Command, Command]:
    """The commands that stop a part and start it again; ConfigError when it cannot be stopped here."""
    if folder is not None:
        return (str(folder / "stop"), *(["-9"] if hard else []), part), (str(folder / "start"), part)
    by_part: dict[str, tuple[Command, Command]] = {
        REGISTRY: (("docker", "stop", CONTAINER), ("docker", "start", CONTAINER)),
        CONTROLLER: ((*SCALE, "--replicas=0"), (*SCALE, "--replicas=1")),
    }
    if part not in by_part:
        hint = "set CLUSTER_FAULTS to a folder with the programs `stop` and `start`"
        raise ConfigError(f"drill: this machine has no way to stop {part}", hint=hint)
    return by_part[part]


@contextlib.contextmanager
def part_down(part: str, *, remote: Path, hard: bool = False) -> Iterator[None]:
    """Stop `part` while the block runs (by SIGKILL when `hard`); `remote` is the bare repository that Git serves.

    ConfigError when it cannot be stopped here, or does not start again: then the message has the command.
    """
    folder = environment.cluster_faults()
    if part == GIT and folder is None:
        with _renamed(remote):
            yield
        return
    stop, start = stop_and_start(part, folder, hard=hard)
    try:
        _call(stop)
        yield
    finally:
        try:
            _call(start)
        except SlipwayError as error:
            message = f"drill: {part} could not be started again: {error}"
            raise ConfigError(message, hint=f"start it by hand: {' '.join(start)}") from error


def _call(command: Sequence[str]) -> None:
    kubectl.call(*command, timeout=SECONDS)


@contextlib.contextmanager
def _renamed(remote: Path) -> Iterator[None]:
    """Give the repository another name while the block runs."""
    away = remote.with_name(f"{remote.name}.away")
    remote.rename(away)
    try:
        yield
    finally:
        away.rename(remote)
