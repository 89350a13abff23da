"""`verify`: walk from what runs back to the data, link by link; the first broken one is named."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from slipway.cluster import kubectl, kustomization
from slipway.core import ledger
from slipway.core.verdict import Check, Verdict
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.lineage import links, sources
from slipway.lineage.links import Link, Pod
from slipway.lineage.sources import Start

RECORD = Path("reports/verify.json")
CONTAINER = "serve"
COLORS = {"ok": "green", "broken": "red", "absent": "yellow"}
Chains = Mapping[str, list[Link]]
"""The links of each environment that was asked about."""


def run(
    *, pod: str | None = None, namespace: str | None = None, env: str | None = None, image: str | None = None,
    root: Path = Path(),
) -> Chains:  # fmt: skip
    """Walk back from a pod, an environment's overlay or an image; reports/verify.json has what was found.

    ConfigError unless at most one of them is named (none: production) and known; Inconclusive for a pod that does not run yet.
    """
    root, started = root.resolve(), time.monotonic()
    if sum(start is not None for start in (pod, env, image)) > 1 or (namespace and not pod):
        raise ConfigError("limit: one of --pod (with --namespace), --env and --image", hint="slipway verify --help")
    if pod:
        ran, place = running(pod, namespace)
        known = next((each for each in ledger.ENVIRONMENTS if place.endswith(f"-{each}")), None)
        starts = holding(ran.runs, known, ran, root=root)
    elif image:
        starts = holding(image, None, None, root=root)
    else:
        starts = [newest(env or "production", root=root)]
    chains = {start.env: links.links(sources.facts(start, root=root)) for start in starts}
    verdict(chains, time.monotonic() - started).write(root / RECORD)
    return chains


def running(pod: str, namespace: str | None) -> tuple[Pod, str]:
    """A pod's container `serve`, and its namespace; without one given, the pod of this name wherever it is."""
    where = ("-n", namespace) if namespace else ("-A",)
    found = json.loads(kubectl.run("get", "pods", *where, "--field-selector", f"metadata.name={pod}", "-o", "json"))
    if len(rows := found["items"]) != 1:
        places = ", ".join(row["metadata"]["namespace"] for row in rows) or "no namespace"
        raise ConfigError(
            f"a pod {pod!r} is in {places}, limit: exactly one", hint="kubectl get pods -A; --namespace NS"
        )
    return container(rows[0]), str(rows[0]["metadata"]["namespace"])


def container(raw: Mapping[str, Any]) -> Pod:
    """What a pod's object says of its container `serve`; Inconclusive while nothing of it runs."""
    name = str(raw["metadata"]["name"])
    asked = [one["image"] for one in raw["spec"]["containers"] if one["name"] == CONTAINER]
    status = raw.get("status", {})
    runs = [one.get("imageID", "") for one in status.get("containerStatuses") or () if one["name"] == CONTAINER]
    if not asked:
        raise ConfigError(f"pod {name} has no container {CONTAINER}", hint="name a pod of the service")
    if not runs or not runs[0]:
        raise Inconclusive(f"pod {name} runs nothing yet: {status.get('phase')}", hint=f"kubectl describe pod {name}")
    return Pod(name=name, asked=asked[0], runs=f"{asked[0].partition('@')[0]}@{links.digest(runs[0])}")


def holding(image: str, env: str | None, pod: Pod | None, *, root: Path) -> list[Start]:
    """From the newest ledger line that holds an image: of `env`, else of each environment that knows the image."""
    if not links.digest(image):
        raise ConfigError(f"{image!r} has no digest, limit: …@sha256:…", hint="kubectl get pod NAME -o yaml has it")
    found, held = [], []
    for each in [env] if env else ledger.ENVIRONMENTS:
        known, pinned = sources.read(each, root), sources.pinned(each, "HEAD", root)
        number = sources.number(known, image)
        # As the ledger or the overlay writes it: the same digest may go by another name where the pod is.
        here = known.lines[number].image if number is not None else pinned
        same = here is not None and links.digest(here) == links.digest(image)
        found.append(Start(env=each, image=here if same else image, pod=pod, known=known, number=number))
        held += [found[-1]] if same else []
    return held or found[-1:]


def newest(env: str, *, root: Path) -> Start:
    """From what the overlay of `env` pins at HEAD, and the ledger's last line; ConfigError before the first release."""
    pinned, known = sources.pinned(env, "HEAD", root), sources.read(env, root)
    held = known.lines[-1].image if known.lines else None
    if pinned and pinned.endswith(kustomization.NOTHING):
        pinned = held  # where this machine is the target, nobody moves the overlay
    if pinned is None and not known.lines and not known.wrong:
        raise ConfigError(f"nothing was ever released to {env}", hint="slipway release")
    return Start(env=env, image=pinned, pod=None, known=known, number=len(known.lines) - 1 if known.lines else None)


def verdict(chains: Chains, seconds: float) -> Verdict:
    """The links that could be looked at, as checks; what is absent is in the notes alone."""
    checks = [Check(name=f"{env}: {link.name}", value=link.said, limit="ok", ok=link.word == "ok")
              for env, found in chains.items() for link in found if link.word != "absent"]  # fmt: skip
    absent = {
        f"{env}: {link.name}": link.said for env, found in chains.items() for link in found if link.word == "absent"
    }
    return Verdict(chapter="verify", checks=checks, seconds=seconds, notes={"absent": absent})


def show(chains: Chains, *, as_json: bool = False) -> None:
    """The chains on stdout: a table on a terminal, one line a link elsewhere, or JSON."""
    if as_json:
        print(json.dumps({env: [vars(link) for link in found] for env, found in chains.items()}, indent=2))  # noqa: T201
        return
    out = Console(highlight=False)
    for env, found in chains.items():
        if not out.is_terminal:
            print("\n".join(f"{env}  {link.word:<6}  {link.name:<12}  {link.said}" for link in found))  # noqa: T201
            continue
        table = Table("link", "", "compared", title=env, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for link in found:
            table.add_row(link.name, f"[{COLORS[link.word]}]{link.word}[/]", link.said.replace("[", r"\["))
        out.print(table)


def enforce(chains: Chains) -> str:
    """One sentence about chains that hold; CheckFailed names the first broken link."""
    for env, found in chains.items():
        if first := links.first_broken(found):
            raise CheckFailed(f"verify: {env}: the first broken link is {first.name}: {first.said}", hint=first.hint)
    words = [link.word for found in chains.values() for link in found]
    return f"{' and '.join(chains)}: {words.count('ok')} links hold, {words.count('absent')} are out of reach from here"
