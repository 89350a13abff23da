"""`manifests`: what a change changes in the cluster: its overlays rendered as the base has them, and as it has them.

Everything comes from commits: what is not committed is neither synced nor shown. Nothing here asks a cluster.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slipway.cluster import admission_rules, kustomization, object_diff
from slipway.cluster.object_diff import Change, Object, Rendering
from slipway.core import dvc, environment, files, git
from slipway.core.git import merge_base
from slipway.core.verdict import Check, Verdict
from slipway.errors import ConfigError

VERDICT = Path("reports/manifests.json")
OVERLAYS = "k8s/overlays"
BY_HAND = {"policy": "k8s/policy", "argocd": "argocd", "notifications": "argocd/notifications"}
"""What no application syncs: a person applies it."""
FOLDERS = ("k8s", "argocd")
SHIPPED = ("Dockerfile",)
"""What is in an image beside the files of the bento."""
PATIENCE = 60.0
"""Seconds for one overlay."""
MAX_CHANGES = 100
"""Kept in the record; with the limits of `objects` a report stays far below what `comment` takes."""
SCRATCH = "manifests"
HINT = "kustomize build the folder it names; docs/operations.md, section manifests, says what to do"


def tool(path: str) -> list[str] | None:
    """The command that renders a folder, of what is on `path`: kustomize, or the one in kubectl; None without both."""
    for name, verb in (("kustomize", "build"), ("kubectl", "kustomize")):
        if where := shutil.which(name, path=path):
            return [where, verb]
    return None


def rendered(revision: str, command: Sequence[str], *, root: Path) -> Rendering:
    """The objects of each target at a commit, by environment; kustomize's own words where it fails.

    The targets are the folders of k8s/overlays and those of BY_HAND that hold a kustomization.
    """
    with git.worktree(revision, environment.cache_home(root) / SCRATCH, root=root) as tree:
        folders = {
            path.parent.name: path.parent
            for path in sorted(tree.glob(f"{OVERLAYS}/*/kustomization.yaml"), reverse=True)
        }
        folders |= {
            name: tree / where for name, where in BY_HAND.items() if (tree / where / "kustomization.yaml").exists()
        }
        return {env: build(folder, command, root=root) for env, folder in folders.items()}


def build(folder: Path, command: Sequence[str], *, root: Path, patience: float = PATIENCE) -> list[Object] | str:
    """The objects of one kustomization; kustomize's last words where it fails, or gives no objects."""
    try:
        done = subprocess.run([*command, str(folder)], cwd=folder, env=environment.for_programs(root), timeout=patience,
                              capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)  # fmt: skip
        if done.returncode:
            return said(done.stderr, root) or f"exit code {done.returncode}"
        found = [one for one in YAML(typ="safe").load_all(done.stdout) if one is not None]
    except subprocess.TimeoutExpired:
        return f"took longer than {patience:g} s"
    except YAMLError as error:
        return f"gives no YAML: {error}"
    broken = [one for one in found if not isinstance(one, dict) or not isinstance(one.get("metadata"), dict)]
    return "gives something that is no object" if broken else found


def said(stderr: str, root: Path) -> str:
    """What kustomize says of a fault, in one line: without the way through the tree that led it there."""
    last = (stderr.strip().splitlines() or [""])[-1].removeprefix("Error: ")
    return last.rpartition("accumulating resources from ")[2].replace(f"{environment.cache_home(root) / SCRATCH}/", "")


def diff(base: str, head: str, *, root: Path) -> list[Change]:
    """What differs between two commits, of all targets that both can render; ConfigError without kustomize."""
    if (program := tool(environment.for_programs(root)["PATH"])) is None:
        raise ConfigError("there is no kustomize here, nor kubectl", hint="slipway doctor")
    return object_diff.changes(rendered(base, program, root=root), rendered(head, program, root=root))


def touched(base: str, head: str, *, root: Path) -> list[str]:
    """The files below k8s/ and argocd/ that differ between two commits."""
    return git.run("diff", "--name-only", "--no-renames", base, head, "--", *FOLDERS, root=root).splitlines()


def ships(base: str, head: str, *, root: Path) -> list[str]:
    """What differs between two commits of that which is in an image: a merge releases when there is any of it."""
    texts = (git.file_at(revision, dvc.LOCK.name, root=root) for revision in (base, head))
    before, now = (dvc.output_hashes(dvc.lock_stages(text)) for text in texts)
    names = set(SHIPPED).union(
        *(_yaml("bentofile.yaml", revision, root).get("include") or () for revision in (base, head))
    )
    code = git.run("diff", "--name-only", "--no-renames", base, head, "--", *sorted(names), root=root).splitlines()
    return sorted({*code, *(name for name in names if before.get(name) != now.get(name))})


def local(revision: str, root: Path) -> bool:
    """Whether images go to this machine's registry, where GitHub cannot push: the template's state on its first day."""
    try:
        pinned = kustomization.pinned_at("staging", revision, root)
    except ConfigError:
        return False
    return pinned is not None and pinned.new_name.startswith(("localhost", "127.0.0.1"))


def _yaml(name: str, revision: str, root: Path) -> dict[str, Any]:
    """A YAML file at a commit; empty where there is none, or none that can be read: other gates say so."""
    try:
        found = YAML(typ="safe").load(git.file_at(revision, name, root=root) or "")
    except YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def run(*, base: str | None = None, root: Path = Path()) -> str:
    """The change from where it left `base` to HEAD → reports/manifests.json; exit 4 when it does not render, or breaks a rule.

    Without kustomize the record says so and holds no verdict; without k8s/ there is no record.
    """
    started, root = time.monotonic(), root.resolve()
    (root / VERDICT).unlink(missing_ok=True)
    head = git.commit(root=root)
    if not git.run("ls-tree", "--name-only", head, "--", *FOLDERS, root=root):
        return "there is no k8s/ here"
    fork = merge_base(git.base_commit(base, root=root), head, root=root)
    files_changed, program = touched(fork, head, root=root), tool(environment.for_programs(root)["PATH"])
    inputs = {"commit": head, "base": fork}
    notes: dict[str, Any] = {"files": len(files_changed), "ships": ships(fork, head, root=root),
                             "local": local(head, root), "by": None}  # fmt: skip
    if program is None:
        files.write_json(root / VERDICT, {"chapter": "manifests", "inputs": inputs, "notes": notes})
        return "not rendered: no kustomize here"
    now = rendered(head, program, root=root)
    before = rendered(fork, program, root=root) if files_changed else now
    found = object_diff.changes(before, now)
    notes |= described(before, now, found) | {"by": Path(program[0]).name}
    checks = [
        *renders(now),
        *admission_rules.checks({env: one for env, one in now.items() if not isinstance(one, str)}),
    ]
    many = sum(len(one) for one in now.values() if not isinstance(one, str))
    seconds = time.monotonic() - started
    verdict = Verdict(chapter="manifests", checks=checks, rows=many, seconds=seconds, inputs=inputs, notes=notes)
    verdict.write(root / VERDICT)
    verdict.enforce(hint=HINT)
    return f"{len(found)} of {many} objects differ; {len(checks)} checks hold"


def renders(now: Rendering) -> list[Check]:
    """Whether each target could be rendered: the number of its objects, or kustomize's own words."""
    return [
        Check(name=f"kustomize build {env}", value=one if isinstance(one, str) else f"{len(one)} objects",
              limit="ends well, with objects", ok=not isinstance(one, str) and len(one) > 0)
        for env, one in now.items()
    ]  # fmt: skip


def described(before: Rendering, now: Rendering, found: Sequence[Change]) -> dict[str, Any]:
    """What a page needs to tell it: the changes, the hooks of each environment, and what could not be compared."""
    hooks = {env: [f"{o['kind']} {o['metadata'].get('name')}" for o in one if object_diff.hooked(o)]
             for env, one in now.items() if env not in BY_HAND and not isinstance(one, str)}  # fmt: skip
    return {
        "envs": [env for env in now if env not in BY_HAND],
        "hooks": hooks,
        "unknown": [env for env in now if isinstance(now[env], str) or isinstance(before.get(env), str)],
        "objects": len(found),
        "changes": [asdict(one) for one in found[:MAX_CHANGES]],
    }
