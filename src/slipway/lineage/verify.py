"""`verify`: walk link by link from a pod, an overlay or an image back to the data, and name the first broken link."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from slipway.cluster import kubectl, kustomization
from slipway.core import ledger
from slipway.core.console import stdout
from slipway.core.verdict import Check, Verdict
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.lineage import links, sources
from slipway.lineage.links import Link, PodImages
from slipway.lineage.sources import Start

RECORD = Path("reports/verify.json")
CONTAINER = "serve"
COLORS = {"ok": "green", "broken": "red", "absent": "yellow"}
Chains = Mapping[str, list[Link]]
"""The chain of each environment that was walked, by the environment's name."""


def run(
    *, pod: str | None = None, namespace: str | None = None, env: str | None = None, image: str | None = None,
    root: Path = Path(),
) -> Chains:  # fmt: skip
    """Walk back from a pod, an environment's overlay or an image, and write reports/verify.json.

    Without any of them, the walk starts at production. ConfigError when more than one is named or it does not exist.
    Inconclusive when the pod does not run yet.
    """
    root, started = root.resolve(), time.monotonic()
    if sum(start is not None for start in (pod, env, image)) > 1 or (namespace and not pod):
        raise ConfigError(
            "verify: the options name more than one start, or --namespace without --pod",
            expected="one of --pod, --env and --image",
            hint="slipway verify --help",
        )
    if pod:
        images, place = pod_images(pod, namespace)
        env_of_pod = next((each for each in ledger.ENVIRONMENTS if place.endswith(f"-{each}")), None)
        starts = starts_with_image(images.running, env_of_pod, images, root=root)
    elif image:
        starts = starts_with_image(image, None, None, root=root)
    else:
        starts = [start_of_overlay(env or "production", root=root)]
    chains = {start.env: links.build_chain(sources.collect_facts(start, root=root)) for start in starts}
    to_verdict(chains, time.monotonic() - started).write(root / RECORD)
    return chains


def pod_images(pod: str, namespace: str | None) -> tuple[PodImages, str]:
    """The images of a pod's container `serve`, and its namespace; without `namespace`, all namespaces are searched."""
    where = ("-n", namespace) if namespace else ("-A",)
    listed = json.loads(kubectl.run("get", "pods", *where, "--field-selector", f"metadata.name={pod}", "-o", "json"))
    if len(rows := listed["items"]) != 1:
        places = ", ".join(row["metadata"]["namespace"] for row in rows) or "no namespace"
        raise ConfigError(
            f"pod {pod!r} is in {places}", expected="exactly one namespace", value=len(rows),
            hint="kubectl get pods -A; then name the namespace with --namespace",
        )  # fmt: skip
    return container_images(rows[0]), str(rows[0]["metadata"]["namespace"])


def container_images(raw: Mapping[str, Any]) -> PodImages:
    """The images of the container `serve` in a Pod object; Inconclusive while the container does not run."""
    name = str(raw["metadata"]["name"])
    requested = [one["image"] for one in raw["spec"]["containers"] if one["name"] == CONTAINER]
    status = raw.get("status", {})
    running = [one.get("imageID", "") for one in status.get("containerStatuses") or () if one["name"] == CONTAINER]
    if not requested:
        raise ConfigError(f"pod {name} has no container {CONTAINER}", hint="name a pod of the service")
    if not running or not running[0]:
        raise Inconclusive(
            f"pod {name} runs no container yet; its phase is {status.get('phase')}", hint=f"kubectl describe pod {name}"
        )
    image = f"{requested[0].partition('@')[0]}@{links.digest(running[0])}"
    return PodImages(name=name, requested=requested[0], running=image)


def starts_with_image(image: str, env: str | None, pod: PodImages | None, *, root: Path) -> list[Start]:
    """Starts at the newest ledger line that holds `image`: in `env`, else in each environment that has the image."""
    if not links.digest(image):
        raise ConfigError(
            f"image {image!r} has no digest",
            expected="NAME@sha256:…",
            value=image,
            hint="kubectl get pod NAME -o yaml shows it",
        )
    starts, matching = [], []
    for each in [env] if env else ledger.ENVIRONMENTS:
        history, pinned = sources.read_history(each, root), sources.pinned_image(each, "HEAD", root)
        number = sources.newest_line(history, image)
        # As the ledger or the overlay writes it: the same digest may go by another name where the pod is.
        written = history.lines[number].image if number is not None else pinned
        same = written is not None and links.digest(written) == links.digest(image)
        starts.append(Start(env=each, image=written if same else image, pod=pod, history=history, number=number))
        matching += [starts[-1]] if same else []
    return matching or starts[-1:]


def start_of_overlay(env: str, *, root: Path) -> Start:
    """Start at the image that the overlay of `env` pins at HEAD, and the ledger's last line.

    ConfigError before the first release.
    """
    pinned, history = sources.pinned_image(env, "HEAD", root), sources.read_history(env, root)
    last_image = history.lines[-1].image if history.lines else None
    if pinned and pinned.endswith(kustomization.NOTHING):
        pinned = last_image  # a release to this machine does not write the overlay
    if pinned is None and not history.lines and not history.fault:
        raise ConfigError(f"{env} has no release yet", hint="slipway release")
    number = len(history.lines) - 1 if history.lines else None
    return Start(env=env, image=pinned, pod=None, history=history, number=number)


def to_verdict(chains: Chains, seconds: float) -> Verdict:
    """The links that could be compared as checks; absent links are in the notes only."""
    checks = [Check(name=f"{env}: {link.name}", value=link.message, limit="ok", ok=link.word == "ok",
                    text=f"{env}, {link.name}: {link.message}")
              for env, chain in chains.items() for link in chain if link.word != "absent"]  # fmt: skip
    absent = {
        f"{env}: {link.name}": link.message for env, chain in chains.items() for link in chain if link.word == "absent"
    }
    return Verdict(chapter="verify", checks=checks, seconds=seconds, notes={"absent": absent})


def show(chains: Chains, *, as_json: bool = False) -> None:
    """Print the chains on stdout: as JSON, as a table on a terminal, else one line per link."""
    if as_json:
        print(json.dumps({env: [_as_json(link) for link in chain] for env, chain in chains.items()}, indent=2))  # noqa: T201
        return
    for env, chain in chains.items():
        if not stdout.is_terminal:
            print("\n".join(f"{env}  {link.word:<6}  {link.name:<12}  {link.message}" for link in chain))  # noqa: T201
            continue
        table = Table("link", "", "compared", title=env, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for link in chain:
            table.add_row(link.name, Text(link.word, COLORS[link.word]), link.message)
        stdout.print(table)


def _as_json(link: Link) -> dict[str, str]:
    return {"name": link.name, "word": link.word, "said": link.message, "hint": link.hint}


def enforce(chains: Chains) -> str:
    """One sentence about chains that hold; CheckFailed names the first broken link."""
    for env, chain in chains.items():
        if first := links.first_broken(chain):
            raise CheckFailed(f"verify: {env}: the first broken link is {first.name}: {first.message}", hint=first.hint)
    words = [link.word for chain in chains.values() for link in chain]
    return (
        f"{' and '.join(chains)}: {words.count('ok')} links hold, {words.count('absent')} cannot be checked from here"
    )
