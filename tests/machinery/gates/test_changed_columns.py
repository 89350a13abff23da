"""A change that adds, removes or alters a column of the table is compared with a champion that does not have it so."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from slipway.core import files, git, ledger
from slipway.pipeline import evaluate, ingest, plots
from support.callables import Cli
from support.committed_project import edit, save
from support.sample_ledger import line

CONTRACT, INGEST = "src/bikes/contract.py", "src/bikes/ingest.py"
TEXT = 'Annotated[str, Field(min_length=1, description="when the hires of the slot were known", examples=["08:07"])]'
MOMENT = 'Annotated[datetime, Field(description="when the hires of the slot were known, UTC")]'
Edits = list[tuple[str, str, str]]
"""Changes of a project's files: name, text, new text."""

REMOVED: Edits = [
    (CONTRACT, "    temp: Temp\n", ""),
    (INGEST, '.sort("start", "station")', '.drop("temp").sort("start", "station")'),
]
RENAMED: Edits = [(CONTRACT, "    temp: Temp\n", "    warmth: Temp\n"), (INGEST, '.alias("temp")', '.alias("warmth")')]
"""The first contract of the file is the table's; the inputs keep their `temp`."""
OTHER_TYPE: Edits = [
    (CONTRACT, f"counted_at: {MOMENT}", f"counted_at: {TEXT}"),
    (INGEST, 'counted_at=pl.col("start") + pl.duration(minutes="counted_after")', 'counted_at=pl.col("start").cast(pl.String)'),
]  # fmt: skip


@pytest.fixture(scope="module")
def released(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose production runs its commit before the last. Read only; take `head` to change it."""
    folder = shutil.copytree(honest, tmp_path_factory.mktemp("columns") / "a b é", symlinks=True)
    ledger.append(line(1, commit=git.commit_hash(root=folder)), folder)
    return save(folder)


@pytest.fixture
def head(released: Path, tmp_path: Path) -> Path:
    return shutil.copytree(released, tmp_path / "a b é", symlinks=True)


def change(folder: Path, edits: Edits, cli: Cli) -> Path:
    """Edit and commit the project, and run its `ingest`: model and losses, and so the judged rows, stay as they are."""
    for name, before, after in edits:
        edit(folder / name, before, after)
    done = cli(save(folder), "ingest")
    assert done.returncode == 0, done.stderr
    return folder


def notes(folder: Path) -> dict:
    return files.read_json(folder / "reports/judge.json")["notes"]


@pytest.mark.parametrize(("edits", "refusal"), [
    (REMOVED, "data/table.parquet lacks the column temp"),
    (RENAMED, "data/table.parquet lacks the column temp"),
    (OTHER_TYPE, "data/table.parquet: column counted_at has type String; expected: time"),
], ids=["removed", "renamed", "type"])  # fmt: skip
def test_champion_that_cannot_read_the_table_reads_the_sources(head, cli, edits, refusal):
    done = cli(change(head, edits, cli), "judge", "--base", "HEAD~1")
    assert done.returncode == 0, done.stderr
    assert "Squared error is the same as that of production" in done.stderr
    assert f"production's code ingested the sources itself, because {refusal}" in done.stderr
    assert notes(head)["champion_refusal"] == refusal
    assert notes(head)["uncompared_rows"] == 0


def test_column_and_row_that_only_the_challenger_has_are_left_out(head, cli):
    added = [(CONTRACT, "    hires: Hires\n", "    hires: Hires\n    recent: Hires\n"),
             (INGEST, "day=pl.col", "recent=pl.lit(400.0),\n        day=pl.col")]  # fmt: skip
    losses = ingest.read_parquet(head / evaluate.LOSSES)
    ingest.write_parquet(pl.concat([losses, losses[:1].with_columns(row_id=pl.lit("new"))]), head / evaluate.LOSSES)
    done = cli(change(head, added, cli), "judge", "--base", "HEAD~1")
    assert done.returncode == 0, done.stderr
    assert "Squared error is the same as that of production" in done.stderr
    assert (notes(head)["champion_refusal"], notes(head)["uncompared_rows"]) == ("", 1)


def restart_at(folder: Path, commit: str) -> Path:
    """Set `judge.restart_at` and commit it."""
    edit(folder / "params.yaml", "  floors:\n", f"  restart_at: {commit}\n  floors:\n")
    return save(folder)


def test_source_of_another_form_is_unsure_until_the_comparison_is_restarted(head, cli):
    """Its column `temp` has another name: no code of production reads it."""
    source = head / "src/bikes/bikes.csv"
    before = files.sha256(source)
    edit(source, ",temp,", ",warmth,")
    edit(head / "params.yaml", before, files.sha256(source))
    change(head, [*REMOVED, (INGEST, '"temp": pl.Float64', '"warmth": pl.Float64'),
                  (INGEST, 'pl.col("temp") > -50).then("temp")', 'pl.col("warmth") > -50).then("warmth")'),
                  (INGEST, 'filter(pl.col("temp") <= -50)', 'filter(pl.col("warmth") <= -50).rename({"warmth": "temp"})')],
           cli)  # fmt: skip
    production = git.commit_hash("HEAD~2", root=head)
    files.write_text(head / plots.CHAMPION_DATA, "of an older comparison")

    done = cli(head, "judge", "--base", "HEAD~1")
    assert done.returncode == 5
    assert (
        f"the champion (commit {production[:12]}) cannot read this change's table (data/table.parquet lacks"
        in done.stderr
    )
    assert "its own code cannot read the sources: " in done.stderr
    assert 'unable to find column "temp"' in done.stderr
    assert f"if it can never be compared again: judge.restart_at: {production} in params.yaml" in done.stderr
    assert files.read_json(head / "reports/judge.json")["verdict"] == "unsure"
    assert not (head / plots.CHAMPION_DATA).exists()
    assert cli(head, "report").returncode == 0
    text = (head / "reports/report.md").read_text("utf-8")
    assert text.startswith("## ❔ Inconclusive: nothing was compared\n")
    assert "against the model in production" not in text

    done = cli(restart_at(head, production), "judge", "--base", "HEAD~2")
    assert done.returncode == 0, done.stderr
    assert f"not compared with production (commit {production[:12]}): judge.restart_at restarts" in done.stderr
    assert (notes(head)["against"], notes(head)["restart_at"]) == ("dummy", production)
    assert notes(head)["limits_changed"] == []
    assert cli(head, "report").returncode == 0
    text = (head / "reports/report.md").read_text("utf-8")
    assert text.startswith("## ✅ Better than the baseline, not compared with production\n")
    assert text.index("> [!CAUTION]\n> This pull request restarts the comparison") < text.index(
        "**What this pull request"
    )


def test_restart_at_another_commit_is_refused(head, cli):
    production, other = (git.commit_hash(revision, root=head) for revision in ("HEAD~1", "HEAD"))
    files.write_text(head / "reports/judge.json", "an older verdict")
    done = cli(restart_at(head, other), "judge", "--base", "HEAD~1")
    assert done.returncode == 2
    assert f"judge.restart_at is {other}, but production runs {production}; expected: {production}" in done.stderr
    assert not (head / "reports/judge.json").exists()


def test_restart_that_was_left_in_place_is_reported_and_has_no_effect(head, cli):
    done = cli(restart_at(head, "b" * 40), "judge", "--base", "HEAD")
    assert done.returncode == 0, done.stderr
    assert "Squared error is the same as that of production" in done.stderr
    assert f"judge.restart_at names commit {'b' * 12}, which production no longer runs" in done.stderr
    assert "remove it" in notes(head)["restart_note"]
