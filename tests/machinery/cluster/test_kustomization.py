from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from slipway.cluster import kustomization
from slipway.core import git
from slipway.errors import ConfigError
from support.committed_project import begin

OLD, NEW = f"sha256:{'a1' * 32}", f"sha256:{'b2' * 32}"
OVERLAY = f"""\
# staging
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: flights-staging
resources: [../../base, load-gate.yaml]
# machines write below this line
images:
  - name: serve
    newName: localhost:5000/flights
    digest: {OLD}
"""

# Overlays as hands format them: `@` stands where the digest is

SPACE = st.sampled_from(["", " ", "  ", "    "])
REMARK = st.sampled_from(["", "", " # why", f" # was {OLD}", "  #é ü  digest: x", " #\ttab"])
QUOTE = st.sampled_from(["{}", "{}", "'{}'", '"{}"'])
HEAD = st.sampled_from([
    "", "---\n", "\ufeff", "# by hand\n", "%YAML 1.2\n---\n", f"# digest: {OLD}\n\n\n", "kind: Kustomization\n",
    "a: &a {b: [1, 2]}\nc: *a\n", "text: |\n  images:\n    - name: serve\n      digest: x\n", "resources:\n- ../base\n",
])  # fmt: skip
TAIL = st.sampled_from(
    ["", "# the end", "patches: []", "configMapGenerator:\n  - name: slo # images:\n    files: [a.yaml]"]
)


@st.composite
def entry(draw: st.DrawFn, name: str, digest: str) -> tuple[list[str], bool]:
    """The pairs of an image in some order, each quoted somehow; and whether it is written in flow style."""
    pairs = {"name": name, "newName": "localhost:5000/" + name, "digest": digest}
    order = draw(st.permutations(list(pairs)))
    return [f"{key}: {draw(QUOTE).format(pairs[key])}" for key in order], draw(st.booleans())


@st.composite
def by_hand(draw: st.DrawFn) -> str:
    others = draw(st.lists(st.sampled_from(["gate", "serve2", "Serve", "a.b/serve"]), max_size=3, unique=True))
    names = draw(st.permutations([*others, "serve"]))
    entries = [draw(entry(name, "@" if name == "serve" else draw(st.sampled_from([OLD, NEW])))) for name in names]
    if draw(st.booleans()):
        images = "images: [" + ", ".join("{" + ", ".join(pairs) + "}" for pairs, _ in entries) + "]\n"
    else:
        images = f"images:{draw(REMARK)}\n" + draw(block(entries))
    text = draw(HEAD) + images + draw(TAIL)
    text = text.rstrip("\n") + draw(st.sampled_from(["", "\n", "\n\n"]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))


@st.composite
def block(draw: st.DrawFn, entries: list[tuple[list[str], bool]]) -> str:
    lines, left, inner = [], draw(SPACE), draw(st.sampled_from([" ", "   "]))
    for pairs, flow in entries:
        rows = ["{" + ", ".join(pairs) + "}"] if flow else pairs
        lines += [(f"{left}-{inner}" if not n else left + " " + " " * len(inner)) + row for n, row in enumerate(rows)]
    return "".join(f"{line}{draw(REMARK)}\n" + draw(st.sampled_from(["", "", "\n", "# between\n"])) for line in lines)


@settings(max_examples=60)
@given(by_hand())
@example(OVERLAY.replace(OLD, "@"))
@example(f"images:\n- name: serve\n  newName: x\n  digest: >-\n    @\nother: {OLD}")
@example("images:\n- name: serve\n  newName: x\n  ? digest\n  : &d !!str '@' # once\n")
def test_nothing_but_the_digest_changes(text: str):
    before, after = text.replace("@", OLD), text.replace("@", NEW)
    assert kustomization.with_digest(before, "serve", NEW) == after
    assert (kustomization.read(before).digest, kustomization.read(after).digest) == (OLD, NEW)
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    assert sum(was != now for was, now in pairs) == 1


def test_same_digest_changes_nothing():
    assert kustomization.with_digest(OVERLAY, "serve", OLD) == OVERLAY


def test_other_images_can_be_moved_too():
    text = OVERLAY.replace("name: serve", "name: gate", 1)
    assert kustomization.read(kustomization.with_digest(text, "gate", NEW), "gate").digest == NEW


IMAGE = f"name: serve\n    newName: x\n    digest: {OLD}"


@pytest.mark.parametrize(("text", "said"), [
    ("", "has no list `images`"),
    ("- images", "has no list `images`"),
    ("images:\n", "has no list `images`"),
    ("images: [serve]", "has no list `images`"),
    ("images: []", "0 images have the name serve; expected: 1"),
    ("images:\n  - name: gate\n", "0 images have the name serve; expected: 1"),
    (f"images:\n  - {IMAGE}\n  - {IMAGE}\n", "2 images have the name serve; expected: 1"),
    (f"images:\n  - {IMAGE}\n    newTag: '1'\n", "a newTag next to its digest"),
    ("images:\n  - name: serve\n    newName: x\n", "serve has no digest; expected: sha256: and 64"),
    ("images:\n  - name: serve\n    newName: x\n    digest: sha256:12\n", "serve has the digest 'sha256:12'; expected"),
    ("images:\n  - name: serve\n    newName: x\n    digest: 12\n", "serve has the digest '12'; expected"),
    (f"images:\n  - name: serve\n    digest: {OLD}\n", "serve has no newName"),
    (f"images:\n  - name: serve\n    newName: 5\n    digest: {OLD}\n", "serve has no newName"),
    ("images: [\n", "is not valid YAML: line"),
    ("\tx: 1", "is not valid YAML"),
    ("a: 1\na: 2\n", "is not valid YAML: .*duplicate key"),
    (OVERLAY + "---\n" + OVERLAY, "is not valid YAML: .*expected a single document"),
    (OVERLAY.replace("resources", "<<<<<<< HEAD\nresources"), "is not valid YAML"),
    ("a: \x00", "is not valid YAML"),
    ("[" * 400, "is not valid YAML"),
])  # fmt: skip
def test_an_overlay_that_is_none_is_refused(text: str, said: str):
    with pytest.raises(ConfigError, match=f"^here.* {said}"):
        kustomization.read(text, where="here")


@pytest.mark.parametrize(("text", "said"), [
    (f"images:\n  - &i {{name: serve, newName: x, digest: {OLD}}}\nalso: *i\n", "the digest of serve is shared by an anchor"),
    (f"also: &d {OLD}\nimages:\n  - {{name: serve, newName: x, digest: *d}}\n", "the digest of serve is shared by an anchor"),
    (f"images:\n  - {{name: serve, newName: x, digest: &d {OLD}}}\n  - {{name: gate, newName: x, digest: *d}}\n",
     "the digest of serve is shared by an anchor"),
    (f"all: &a {{newName: x, digest: {OLD}}}\nimages: [{{<<: *a, name: serve}}]\n", "comes from a merge key"),
    (f"<<: {{images: [{{name: serve, newName: x, digest: {OLD}}}]}}\n", "comes from a merge key"),
    (f'images: [{{name: serve, newName: x, digest: "\\x73{OLD[1:]}"}}]\n', "expected: the digest as plain text"),
    (f"images: [{{name: serve, newName: x, digest: &{OLD.replace(':', '')} '{OLD}'}}]\nb: *{OLD.replace(':', '')}\n",
     "the digest of serve is shared"),
])  # fmt: skip
def test_a_digest_that_stands_elsewhere_too_is_not_moved(text: str, said: str):
    assert kustomization.read(text).digest == OLD
    with pytest.raises(ConfigError, match=f"here: .*{said}"):
        kustomization.with_digest(text, "serve", NEW, where="here")


@pytest.mark.parametrize("digest", ["", "latest", OLD[7:], OLD[:-1], OLD + "0", OLD.upper(), OLD + "\n"])
def test_what_is_no_digest_is_never_written(digest: str):
    with pytest.raises(ConfigError, match="; expected: sha256: and 64 hexadecimal digits"):
        kustomization.with_digest(OVERLAY, "serve", digest)


def test_bump_keeps_every_other_byte_of_the_file(tmp_path: Path):
    file = tmp_path / "kustomization.yaml"
    file.write_bytes(OVERLAY.replace("\n", "\r\n").encode()[:-2])
    before = file.read_bytes()
    assert kustomization.write_digest(file, "serve", NEW) == file
    assert file.read_bytes() == before.replace(OLD.encode(), NEW.encode())
    assert YAML(typ="safe").load(file.read_bytes())["images"][0]["digest"] == NEW
    assert list(tmp_path.iterdir()) == [file]


def test_bump_leaves_a_file_that_it_refuses(tmp_path: Path):
    file = tmp_path / "kustomization.yaml"
    with pytest.raises(ConfigError, match="does not exist"):
        kustomization.write_digest(file, "serve", NEW)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        kustomization.write_digest(file, "serve", NEW)
    file.write_text("images: []")
    with pytest.raises(ConfigError, match=r"kustomization\.yaml: 0 images"):
        kustomization.write_digest(file, "serve", NEW)
    assert file.read_text() == "images: []"


def test_overlay_is_read_at_a_revision(tmp_path: Path):
    begin(tmp_path)
    git.run("commit", "-q", "--allow-empty", "-m", "Nothing", root=tmp_path)
    assert kustomization.pinned_at("staging", "HEAD", tmp_path) is None
    file = kustomization.path("staging", tmp_path)
    file.parent.mkdir(parents=True)
    for number, text in enumerate((OVERLAY, OVERLAY.replace(OLD, NEW), "images: []")):
        file.write_text(text)
        git.run("add", "-A", root=tmp_path)
        git.run("commit", "-q", "-m", str(number), root=tmp_path)
    pinned = kustomization.pinned_at("staging", "HEAD~1", tmp_path)
    assert pinned
    assert pinned.image == f"localhost:5000/flights@{NEW}"
    assert kustomization.pinned_at("staging", "HEAD~2", tmp_path) == kustomization.PinnedImage(
        "localhost:5000/flights", OLD
    )
    with pytest.raises(ConfigError, match=r"^HEAD:k8s/overlays/staging/kustomization.yaml: 0 images"):
        kustomization.pinned_at("staging", "HEAD", tmp_path)


def test_only_known_environments_have_overlays():
    assert kustomization.path("production").as_posix() == "k8s/overlays/production/kustomization.yaml"
    with pytest.raises(ConfigError, match=r"the environment is '\.\./base'; expected"):
        kustomization.path("../base")
