"""`image`: the packaged bento, or the gate, as an image in the registry, named by its digest.

Built by BUILD_IMAGE, else by docker, podman or buildah, whichever is there. Labels say what is in it.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import config, environment, files, git
from slipway.errors import ConfigError
from slipway.packaging import package, registry
from slipway.sandbox import doctor

RECORD = Path("reports/image.json")
DOCKERFILE = Path("Dockerfile")
COMPONENT = Path("k8s/components/gate/kustomization.yaml")
CODE = Path("src/slipway")
ENTRY = "slipway.loadtest.in_cluster"
GATE = (Path("loadtests/locustfile.py"), Path("requirements/load.lock"))
"""What the gate's image holds beside its modules."""
REVISION = "org.opencontainers.image.revision"
LOCAL = ("localhost", "127.0.0.1")
SAID = 2000
"""Characters of a failed program's output that are worth reading."""
REFUSED = re.compile(r"unauthorized|authentication required|denied|forbidden|\b40[13]\b", re.IGNORECASE)
PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64})")


def run(_: config.Params, *, gate: bool = False, root: Path = Path()) -> str:
    """Build and push the image of the packaged bento → reports/image.json, or the gate's → its digest in k8s/components/gate.

    ConfigError for what cannot be built or pushed; DataError when the bento is not the one that was packaged.
    """
    root = root.resolve()
    return _gate(root) if gate else _serve(root)


def _serve(root: Path) -> str:
    started = time.monotonic()
    bento, notes = package.packaged(root)
    git.clean(root, leave="releases/")
    name = kustomization.read(kustomization.path("staging", root).read_text(encoding="utf-8")).new_name
    hashes = {"bento_sha256": notes["bento_sha256"], "model_sha256": notes["model_sha256"],
              "lock_sha256": files.sha256(root / "dvc.lock")}  # fmt: skip
    commit = git.commit(root=root)
    labels = {
        REVISION: commit, "org.opencontainers.image.title": notes["bento"],
        **{f"slipway.{key}": value for key, value in hashes.items()},
        "slipway.data_sha256": files.sha256(root / "data/table.parquet"),
    }  # fmt: skip
    image = build("serve", bento, f"{name}:{bento.name}", labels, root=root)
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
    git.clean(root, leave=COMPONENT.as_posix())
    commit = git.commit(root=root)
    with tempfile.TemporaryDirectory(prefix="slipway-gate-") as scratch:
        gather(root, Path(scratch))
        labels = {REVISION: commit}
        image = build("gate", Path(scratch), f"{pinned.new_name}:{commit[:12]}", labels, root=root)
    kustomization.bump(root / COMPONENT, "gate", image.partition("@")[2])
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
            git.output("log", "-1", "--format=%H", "-G", "^ *(- )?digest:", "--", COMPONENT.as_posix(), root=root)
            or None
        )


def _changed(since: str, inputs: list[Path], root: Path) -> bool:
    """Whether what the gate is made of differs from what it was at `since`."""
    return bool(git.output("diff", "--name-only", since, "--", *(path.as_posix() for path in inputs), root=root))


def base(root: Path) -> str:
    """The base image that the Dockerfile names in its first FROM."""
    found = re.search(r"(?m)^FROM (\S+) AS slim$", (root / DOCKERFILE).read_text(encoding="utf-8"))
    if not found:
        raise ConfigError(f"{DOCKERFILE} has no line `FROM … AS slim`", hint="the base image is read from it")
    return found[1]


def build(
    target: str, context: Path, tag: str, labels: Mapping[str, str], *, root: Path, recipe: Path | None = None
) -> str:
    """Build and push a target of the Dockerfile, or of another `recipe`; `registry/name@sha256:…`. Its base becomes a label.

    ConfigError: no builder here, the build failed (its last lines), the registry refused the push.
    """
    env, host = environment.programs(root), tag.partition("/")[0]
    own, tool = environment.image_builder(), (doctor.builder(environment.programs(root)) or "").partition(" ")[0]
    if not own and not tool:
        hint = "install docker, podman or buildah, or name a program with BUILD_IMAGE; see `slipway doctor`"
        raise ConfigError("nothing here builds images", hint=hint)
    source = base(root) if own else _resolved(tool, base(root), env)
    options = ["--file", str(recipe or root / DOCKERFILE), "--target", target, "--build-arg", f"BASE={source}"]
    for name, value in {**labels, "slipway.base": source}.items():
        options += ["--label", f"{name}={value}"]
    if REVISION in labels:
        options += ["--build-arg", f"REVISION={labels[REVISION]}"]
    if own:
        return _named(own, _call([own, tag, str(context), *options], env, host), tag)
    _call([tool, "build", "--tag", tag, *options, str(context)], env, host)
    return f"{tag.rpartition(':')[0]}@{_push(tool, tag, host, env)}"


def _named(own: str, said: str, tag: str) -> str:
    """The image that a program of one's own printed in its last line."""
    found, name = (said.splitlines() or [""])[-1], tag.rpartition(":")[0]
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", found):
        told = f"{Path(own).name} printed {found[:120]!r}, limit: {name}@sha256:…"
        raise ConfigError(
            told, hint="BUILD_IMAGE: IMAGE CONTEXT [options of docker build], and the image in the last line"
        )
    return found


def _resolved(tool: str, name: str, env: Mapping[str, str]) -> str:
    """The base with the digest that its tag has now, so that the label says which one it was."""
    _call([tool, "pull", name], env, "docker.io")
    what = ["inspect", "--type", "image", "--format"]
    if tool == "buildah":
        digest = _call([tool, *what, "{{.FromImageDigest}}", name], env, "")
    else:
        digest = _call([tool, *what, "{{index .RepoDigests 0}}", name], env, "").rpartition("@")[2]
    return f"{name}@{digest}" if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) else name


def _push(tool: str, tag: str, host: str, env: Mapping[str, str]) -> str:
    """Push, logged in when the environment says as whom; the digest."""
    if login := environment.registry_login():
        _call([tool, "login", "--username", login.user, "--password-stdin", host], env, host, given=login.password)
    if tool == "docker":
        found = PUSHED.search(_call([tool, "push", tag], env, host))
        if not found:
            raise ConfigError(f"docker push {tag} named no digest", hint="docker version")
        return found[1]
    near = ["--tls-verify=false"] if host.partition(":")[0] in LOCAL else []
    with tempfile.TemporaryDirectory(prefix="slipway-push-") as scratch:
        _call([tool, "push", *near, "--digestfile", f"{scratch}/digest", tag], env, host)
        return Path(scratch, "digest").read_text(encoding="utf-8").strip()


def _call(command: list[str], env: Mapping[str, str], host: str, *, given: str | None = None) -> str:
    """What a program prints; ConfigError with the end of what it said when it fails."""
    try:
        done = subprocess.run(command, input=given, env=dict(env), capture_output=True, text=True, encoding="utf-8",
                              errors="replace", check=False)  # fmt: skip
    except OSError as error:
        raise ConfigError(f"{command[0]} cannot be run: {error.strerror}", hint="see BUILD_IMAGE") from None
    if done.returncode == 0:
        return done.stdout.strip()
    said = (done.stdout + done.stderr).strip()[-SAID:]
    if REFUSED.search(said[-500:]):
        hint = f"log in again ({Path(command[0]).name} login {host}), or set REGISTRY_USER and REGISTRY_TOKEN anew"
        raise ConfigError(f"{host} refuses the login, or it has expired:\n{said[-500:]}", hint=hint)
    raise ConfigError(
        f"{Path(command[0]).name} failed with exit code {done.returncode}:\n{said}", hint="slipway doctor"
    )
