"""Objects of the records branch, written without a working tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.core import git
from slipway.errors import DataError
from slipway.records import git_branch
from support import remote_repository


def test_commit_without_the_file_is_damage(tmp_path: Path) -> None:
    _, work = remote_repository.remote(tmp_path)
    with pytest.raises(DataError, match=r"has no records\.jsonl"):
        git_branch.text_at(git.commit_hash(root=work), root=work)


def test_reference_moves_only_from_where_it_was(tmp_path: Path) -> None:
    _, work = remote_repository.remote(tmp_path)
    first, second = (git_branch.write(text, None, title="x", root=work) for text in ("", "a\n"))
    assert git_branch.move(git_branch.LOCAL, first, None, root=work)
    assert not git_branch.move(git_branch.LOCAL, second, None, root=work)
    assert git_branch.tip(git_branch.LOCAL, root=work) == first
