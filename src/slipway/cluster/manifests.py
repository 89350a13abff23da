"""`manifests`: render the manifests of a change and of its base, compare them, and check the rules.

Only commits are rendered, as only commits are synced. No cluster is needed.
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
from slipway.core import dvc, environment, files, git, process
from slipway.core.process import UndecodableOutput
from slipway.core.strict_model import describe_syntax_error, parse_yaml
from slipway.core.verdict import Check, Verdict
from slipway.errors import ConfigError

VERDICT = Path("reports/manifests.json")
OVERLAYS = "k8s/overlays"
BY_HAND = {"policy": "k8s/policy", "argocd": "argocd", "notifications": "argocd/notifications"}
"""Targets that no application syncs: a person applies them."""
FOLDERS = ("k8s", "argocd")
SHIPPED = ("Dockerfile",)
"""Files that change an image, next to those of the bento."""
BUILD_SECONDS = 60.0
"""Time limit for one overlay."""
MAX_CHANGES = 100
"""Changes kept in the record; with the limits of `object_diff` a report stays far below the size that `comment` accepts."""
SCRATCH = "manifests"
HINT = "run `kustomize build` on the folder to see the error; docs/fix/manifests.md has the causes"


def find_renderer(path: str) -> list[str] | None:
    """The command on `path` that renders a folder: kustomize, else the one in kubectl; None without both."""
    for name, verb in (("kustomize", "build"), ("kubectl", "kustomize")):
        if program := shutil.which(name, path=path):
            return [program, verb]
    return None


def render(revision: str, command: Sequence[str], *, root: Path) -> Rendering:
    """The objects of each target at a commit, by environment; kustomize's error as text where it fails.

    The targets are the folders of k8s/overlays and those of BY_HAND that hold a kustomization.
    """
    with git.worktree(revision, environment.cache_home(root) / SCRATCH, root=root) as tree:
        folders = {
            path.parent.name: path.parent
            for path in sorted(tree.glob(f"{OVERLAYS}/*/kustomization.yaml"), reverse=True)
        }
        folders |= {
            name: tree / folder for name, folder in BY_HAND.items() if (tree / folder / "kustomization.yaml").exists()
        }
        return {env: render_folder(folder, command, root=root) for env, folder in folders.items()}


def render_folder(
    folder: Path, command: Sequence[str], *, root: Path, seconds: float = BUILD_SECONDS
) -> list[Object] | str:
    """The objects of one kustomization; kustomize's error as text when it fails, or prints no objects."""
    try:
        finished = process.run(
            [*command, str(folder)], folder=folder, env=environment.for_programs(root), timeout=seconds
        )
        if not finished.ok:
            return last_error(finished.err, root) or f"exit code {finished.code}"
        objects = [each for each in YAML(typ="safe").load_all(finished.out) if each is not None]
    except subprocess.TimeoutExpired:
        return f"kustomize took longer than {seconds:g} s"
    except (YAMLError, ValueError, RecursionError) as error:
        return f"kustomize printed invalid YAML: {describe_syntax_error(error)}"
    if all(isinstance(each, dict) and isinstance(each.get("metadata"), dict) for each in objects):
        return objects
    return "kustomize printed something that is not a Kubernetes object"


def last_error(stderr: str, root: Path) -> str:
    """The last line of kustomize's error, without the chain of folders that led to it."""
    last = (stderr.strip().splitlines() or [""])[-1].removeprefix("Error: ")
    return last.rpartition("accumulating resources from ")[2].replace(f"{environment.cache_home(root) / SCRATCH}/", "")


def diff(base: str, head: str, *, root: Path) -> list[Change]:
    """The objects that differ between two commits, in targets that render at both; ConfigError without kustomize."""
    if (program := find_renderer(environment.for_programs(root)["PATH"])) is None:
        raise ConfigError("neither kustomize nor kubectl is installed", hint="install one; see `slipway doctor`")
    return object_diff.changes(render(base, program, root=root), render(head, program, root=root))


def changed_files(base: str, head: str, *, root: Path) -> list[str]:
    """The files below k8s/ and argocd/ that differ between two commits."""
    return git.changed_files(base, head, *FOLDERS, root=root)


def changed_image_files(base: str, head: str, *, root: Path) -> list[str]:
    """The files in an image that differ between two commits; a merge releases when there is one."""
    texts = (git.file_at(revision, dvc.LOCK.name, root=root) for revision in (base, head))
    before, after = (dvc.output_hashes(dvc.lock_stages(text)) for text in texts)
    names = set(SHIPPED).union(
        *(_yaml_at("bentofile.yaml", revision, root).get("include") or () for revision in (base, head))
    )
    code = git.changed_files(base, head, *sorted(names), root=root)
    return sorted({*code, *(name for name in names if before.get(name) != after.get(name))})


def uses_local_registry(revision: str, root: Path) -> bool:
    """Return whether images go to this machine's registry, where GitHub cannot push, as in a project just made."""
    try:
        pinned = kustomization.pinned_at("staging", revision, root)
    except ConfigError:
        return False
    return pinned is not None and pinned.new_name.startswith(("localhost", "127.0.0.1"))


def _yaml_at(name: str, revision: str, root: Path) -> dict[str, Any]:
    """A YAML mapping at a commit; empty when there is none, or a broken one, which other gates report."""
    try:
        document = parse_yaml(git.file_at(revision, name, root=root) or "")
    except (YAMLError, UndecodableOutput):
        return {}
    return document if isinstance(document, dict) else {}


def run(*, base: str | None = None, root: Path = Path()) -> str:
    """Compare HEAD with its fork point from `base` → reports/manifests.json; exit 4 when it does not render or breaks a rule.

    Without kustomize the record holds no verdict; without k8s/ there is no record.
    """
    started, root = time.monotonic(), root.resolve()
    (root / VERDICT).unlink(missing_ok=True)
    head = git.commit_hash(root=root)
    if not git.files_at(head, *FOLDERS, root=root):
        return "nothing to check: the project has no k8s/"
    fork = git.merge_base(git.base_commit(base, root=root), head, root=root)
    changed, program = changed_files(fork, head, root=root), find_renderer(environment.for_programs(root)["PATH"])
    inputs = {"commit": head, "base": fork}
    notes: dict[str, Any] = {"files": len(changed), "ships": changed_image_files(fork, head, root=root),
                             "local": uses_local_registry(head, root), "by": None}  # fmt: skip
    if program is None:
        files.write_json(root / VERDICT, {"chapter": "manifests", "inputs": inputs, "notes": notes})
        return "not checked: kustomize is not installed"
    after = render(head, program, root=root)
    before = render(fork, program, root=root) if changed else after
    changes = object_diff.changes(before, after)
    notes |= notes_of(before, after, changes) | {"by": Path(program[0]).name}
    targets = {env: objects for env, objects in after.items() if not isinstance(objects, str)}
    checks = [*render_checks(after), *admission_rules.check_rules(targets)]
    count = sum(len(objects) for objects in targets.values())
    seconds = time.monotonic() - started
    verdict = Verdict(chapter="manifests", checks=checks, rows=count, seconds=seconds, inputs=inputs, notes=notes)
    verdict.write(root / VERDICT)
    verdict.enforce(hint=HINT)
    return f"{len(changes)} of {count} objects differ; {len(checks)} checks passed"


def render_checks(after: Rendering) -> list[Check]:
    """A check for each target that it renders: the number of its objects, or kustomize's error."""
    return [_render_check(env, objects) for env, objects in after.items()]


def _render_check(env: str, objects: list[Object] | str) -> Check:
    name, limit = f"kustomize build {env}", "at least 1 object"
    if isinstance(objects, str):
        return Check(name=name, value=objects, limit=limit, ok=False, text=f"`{name}` failed: {objects}")
    value = f"{len(objects)} objects"
    return Check(name=name, value=value, limit=limit, ok=len(objects) > 0, text=f"`{name}` printed {value}")


def notes_of(before: Rendering, after: Rendering, changes: Sequence[Change]) -> dict[str, Any]:
    """The record's notes: the changes, the hooks of each environment, and the targets that could not be compared."""
    hooks = {env: [f"{o['kind']} {o['metadata'].get('name')}" for o in objects if object_diff.is_hook(o)]
             for env, objects in after.items() if env not in BY_HAND and not isinstance(objects, str)}  # fmt: skip
    return {
        "envs": [env for env in after if env not in BY_HAND],
        "hooks": hooks,
        "unknown": [env for env in after if isinstance(after[env], str) or isinstance(before.get(env), str)],
        "objects": len(changes),
        "changes": [asdict(one) for one in changes[:MAX_CHANGES]],
    }
