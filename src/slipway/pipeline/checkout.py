"""Checks that a checkout is a plain one: all files of the commit, with its bytes, in a repository of the project's own."""

from __future__ import annotations

from pathlib import Path

from slipway.core import git
from slipway.errors import ConfigError

EXAMPLES = 3
"""The number of files that a message names."""


def require_plain(root: Path = Path()) -> None:
    """ConfigError when Slipway does not support the checkout at `root`: hashes would differ, or files are missing.

    Supported are clones, linked worktrees and submodules. Not supported are a project in a folder of a larger
    repository, a sparse checkout, and files whose line ends Git converted.
    """
    if folder := git.run("rev-parse", "--show-prefix", root=root).rstrip("/"):
        raise ConfigError(
            f"the project lies in the folder {folder} of a larger repository, which Slipway does not support: workflows, "
            "the ledger and the overlays belong to the root of a repository",
            hint=f"give it a repository of its own, with its history: git subtree split --prefix={folder} -b NAME",
        )
    entries = git.run("ls-files", "-t", "-z", root=root, strip=False).split("\0")
    if absent := sorted(entry[2:] for entry in entries if entry.startswith("S ") and not (root / entry[2:]).exists()):
        raise ConfigError(
            f"the checkout is sparse: it lacks {len(absent):,} files of the commit, such as {_list(absent)}",
            hint="git sparse-checkout disable",
        )
    if converted := converted_files(root):
        raise ConfigError(
            f"{len(converted):,} files have other line ends (CRLF) than the commit, so hashes differ and scripts do not "
            f"run: {_list(converted)}",
            expected="LF, as .gitattributes says",
            hint="commit or stash your changes, then: git rm -r -q --cached . && git reset --hard",
        )


def converted_files(root: Path) -> list[str]:
    """The tracked files with CRLF in the checkout and LF in Git, sorted."""
    converted = []
    for entry in git.run("ls-files", "--eol", "-z", root=root, strip=False).split("\0"):
        state, _, name = entry.partition("\t")
        index, tree = [*state.split(), "", ""][:2]
        if index == "i/lf" and tree in ("w/crlf", "w/mixed"):
            converted.append(name)
    return sorted(converted)


def _list(names: list[str]) -> str:
    return ", ".join(names[:EXAMPLES]) + (" …" if len(names) > EXAMPLES else "")
