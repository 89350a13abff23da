"""score: parquet in, parquet out; killed it goes on, and whatever is wrong leaves nothing behind."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from slipway.core import environment, files
from slipway.errors import ConfigError, DataError
from slipway.serving import score
from slipway.serving.onnx_model import Model
from slipway.serving.parquet_chunks import CHUNK

Cli = Callable[..., subprocess.CompletedProcess[str]]


CHUNKS = 12
ROWS = CHUNK * CHUNKS + CHUNK // 2


def repeated(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """So many rows, numbered."""
    return pl.concat([frame] * (rows // len(frame) + 1)).head(rows).with_columns(row_id=pl.int_range(rows))


@pytest.fixture(scope="module")
def frame(project: Path) -> pl.DataFrame:
    return pl.read_parquet(project / "data/features.parquet")


@pytest.fixture(scope="module")
def large(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve chunks and a half."""
    path = tmp_path_factory.mktemp("large") / "in.parquet"
    repeated(frame, ROWS).write_parquet(path, row_group_size=100_000)
    return path


@pytest.fixture
def small(frame: pl.DataFrame, tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    frame.head(100).write_parquet(tmp_path / "in/rows.parquet")
    return tmp_path / "in/rows.parquet"


def parts(out: Path) -> Path:
    return out.with_name(f".{out.name}.parts")


def start(project: Path, given: Path, out: Path, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "slipway", "score", str(given), str(out)],
        cwd=project,
        env=environment.for_programs(project),
        **options,
    )


def killed(project: Path, given: Path, out: Path, number: signal.Signals = signal.SIGKILL) -> int:
    """A real process that is ended after some parts → how many it left."""
    with start(project, given, out, stderr=subprocess.DEVNULL) as process:
        while len(list(parts(out).glob("*.arrow"))) < 3:
            assert process.poll() is None, "it was done before it could be killed"
            time.sleep(0.002)
        process.send_signal(number)
    assert process.returncode != 0
    assert not out.exists()
    return len(list(parts(out).glob("*.arrow")))


# What comes out


def test_every_row_is_answered_in_its_order_beside_what_is_no_input(
    project: Path, frame: pl.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    said = score.run(project / "data/features.parquet", out, folder=project / "models")
    model, found = Model(project / "models"), pl.read_parquet(out)
    inputs = [*model.categories, *model.numbers]
    assert found.drop("prediction").equals(frame.drop(inputs))
    assert found.schema["prediction"] == pl.Float32
    assert np.array_equal(found["prediction"].to_numpy(), model.frame(frame))
    assert said.startswith(f"{len(frame):,} rows → {out} in ")
    assert "never seen" not in said
    assert not parts(out).exists()


def test_the_file_says_which_model_answered(project: Path, small: Path, tmp_path: Path) -> None:
    score.run(small, tmp_path / "out.parquet", folder=project / "models")
    told = json.loads(pq.read_metadata(tmp_path / "out.parquet").metadata[b"slipway"])
    assert told == {"model_sha256": files.sha256(project / "models/model.onnx")}


def test_the_number_of_workers_changes_nothing(project: Path, large: Path, tmp_path: Path) -> None:
    for workers in (1, 3):
        score.run(large, tmp_path / f"{workers}.parquet", folder=project / "models", workers=workers)
    assert files.sha256(tmp_path / "1.parquet") == files.sha256(tmp_path / "3.parquet")


def test_a_folder_is_answered_as_one_table(
    project: Path, small: Path, frame: pl.DataFrame, tmp_path: Path, cli: Cli
) -> None:
    frame[100:150].write_parquet(small.with_name("more.parquet"))  # comes before rows.parquet
    done = cli(project, "score", str(small.parent), str(tmp_path / "out.parquet"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("score 150 rows → ")
    assert (
        pl.read_parquet(tmp_path / "out.parquet")["row_id"].to_list()
        == pl.concat([frame[100:150], frame[:100]])["row_id"].to_list()
    )


def test_values_never_seen_in_training_are_answered_and_told(project: Path, large: Path, tmp_path: Path) -> None:
    given = tmp_path / "in.parquet"
    moons = pl.read_parquet(large).with_columns(
        station=pl.when(pl.col("row_id") % CHUNK < 3).then(pl.lit("moon")).otherwise("station")
    )
    moons.write_parquet(given)
    said = score.run(given, tmp_path / "out.parquet", folder=project / "models")
    assert said.endswith(f"values that training did not have: {3 * (CHUNKS + 1)} of station")
    assert pl.read_parquet(tmp_path / "out.parquet")["prediction"].is_finite().all()


# Killed


@pytest.fixture(scope="module")
def whole(project: Path, large: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed run writes."""
    out = tmp_path_factory.mktemp("whole") / "out.parquet"
    score.run(large, out, folder=project / "models")
    return out


def ends_alike(project: Path, given: Path, out: Path, whole: Path) -> int:
    """Start the same command again: the same bytes, no part left → how many rows it found done."""
    with start(project, given, out, stderr=subprocess.PIPE) as process:
        said = process.communicate()[1].decode()
    assert process.returncode == 0, said
    assert out.read_bytes() == whole.read_bytes()
    assert not parts(out).exists()
    return int(re.findall(rf"score: ([\d,]+) of {ROWS:,} rows were scored by an earlier run", said)[0].replace(",", ""))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    project: Path, large: Path, whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    left = killed(project, large, tmp_path / "out.parquet", number)
    done = ends_alike(project, large, tmp_path / "out.parquet", whole)
    assert (left - os.cpu_count()) * CHUNK <= done <= left * CHUNK  # of those in work together an earlier one may lack


@pytest.mark.parametrize("other", ["input", "model.onnx", "contract.json"])
def test_parts_of_anything_else_are_thrown_away_and_it_is_said(
    project_copy: Path, large: Path, tmp_path: Path, cli: Cli, other: str
) -> None:
    given, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    shutil.copy(large, given)
    killed(project_copy, given, out)
    if other == "input":
        pl.read_parquet(given).with_columns(temp=pl.lit(None, pl.Float32)).write_parquet(given)
    elif other == "model.onnx":
        with (project_copy / "models/model.onnx").open("ab") as file:
            file.write(b"\x32\x01x")  # the graph's field doc_string
    else:
        files.write_json(
            project_copy / "models/contract.json", files.read_json(project_copy / "models/contract.json") | {"x": 1}
        )
    done = cli(project_copy, "score", str(given), str(out))
    assert done.returncode == 0, done.stderr
    assert f"score: {other} changed since the last run; starting from the first row" in done.stderr
    assert "were scored by an earlier run" not in done.stderr
    found = pl.read_parquet(out)["prediction"].to_numpy()
    assert np.array_equal(found, Model(project_copy / "models").frame(pl.read_parquet(given)))


def test_a_part_that_is_not_whole_is_made_again(project: Path, large: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    killed(project, large, out)
    part = parts(out) / "1.arrow"
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    score.run(large, out, folder=project / "models")
    assert out.read_bytes() == whole.read_bytes()


def test_a_part_of_another_length_is_made_again(project: Path, large: Path, whole: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    out = tmp_path / "out.parquet"
    killed(project, large, out)
    part = parts(out) / "1.arrow"
    with pa.OSFile(str(part)) as file:
        short = pa.ipc.open_file(file).read_all().slice(5)
    with pa.ipc.new_file(str(part), short.schema) as writer:
        writer.write_table(short)
    score.run(large, out, folder=project / "models")
    assert out.read_bytes() == whole.read_bytes()


def test_a_broken_manifest_says_what_to_remove(project: Path, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    parts(out).mkdir()
    (parts(out) / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest.json is not valid JSON") as caught:
        score.run(small, out, folder=project / "models")
    assert caught.value.hint == f"remove {parts(out)}"


def test_two_do_not_write_the_same_file_at_once(project: Path, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    parts(out).mkdir()
    with (parts(out) / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"another process is writing .*out\.parquet"):
            score.run(small, out, folder=project / "models")
    score.run(small, out, folder=project / "models")


# Refused


def test_a_wrong_row_is_named_by_file_and_number_and_nothing_is_left(
    project: Path, large: Path, tmp_path: Path, cli: Cli
) -> None:
    given, out = tmp_path / "in", tmp_path / "out.parquet"
    given.mkdir()
    shutil.copy(large, given / "a.parquet")
    wrong = pl.when(pl.col("row_id").is_in([CHUNK + 7, CHUNK + 9])).then(99.0).otherwise("temp")
    pl.read_parquet(large).with_columns(temp=wrong.cast(pl.Float32)).write_parquet(given / "b.parquet")
    done = cli(project, "score", str(given), str(out))
    assert done.returncode == 3
    told = " ".join(done.stderr.split())
    assert f"b.parquet, row {CHUNK + 7} (from 0): temp is 99.0; expected a number from -30 to 50 (°C), or null" in told
    assert f"first of 2 invalid rows among {CHUNK:,}" in told
    assert list(tmp_path.iterdir()) == [given]


def test_a_missing_column_is_named(project: Path, small: Path, tmp_path: Path) -> None:
    pl.read_parquet(small).drop("temp").write_parquet(small)
    with pytest.raises(DataError, match=r"rows.parquet lacks the column temp"):
        score.run(small, tmp_path / "out.parquet", folder=project / "models")


def refused(project: Path, given: Path, out: Path, told: str) -> None:
    before = sorted(out.parent.iterdir()) if out.parent.exists() else []
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        score.run(given, out, folder=project / "models")
    assert caught.value.hint
    assert before == (sorted(out.parent.iterdir()) if out.parent.exists() else [])


def test_an_output_that_cannot_be_is_refused_before_anything_is_done(
    project: Path, small: Path, tmp_path: Path
) -> None:
    refused(project, small, tmp_path / "none/out.parquet", "none does not exist")
    refused(project, small, tmp_path, "is a folder")
    refused(project, small, small, f"the output {small} is part of the input {small}")
    refused(project, small.parent, small.with_name("out.parquet"), "is part of the input")
    (tmp_path / "link.parquet").symlink_to(small)
    refused(project, small, tmp_path / "link.parquet", "is part of the input")


def test_an_output_that_is_there_is_replaced_only_when_told_so(
    project: Path, small: Path, tmp_path: Path, cli: Cli
) -> None:
    out = tmp_path / "out.parquet"
    out.write_text("precious")
    refused(project, small, out, "out.parquet already exists")
    assert out.read_text() == "precious"
    assert cli(project, "score", str(small), str(out), "--overwrite").returncode == 0
    assert len(pl.read_parquet(out)) == 100


@pytest.mark.parametrize("share", [0.6, 0.9999], ids=["in the middle", "at the end"])
def test_a_full_disk_is_said_and_the_parts_are_kept(
    project: Path, large: Path, whole: Path, tmp_path: Path, share: float
) -> None:
    out, most = tmp_path / "out.parquet", int(whole.stat().st_size * share)

    def limit() -> None:  # every part is smaller
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    with start(project, large, out, stderr=subprocess.PIPE, preexec_fn=limit) as process:
        said = process.communicate()[1].decode()
    assert process.returncode == 2, said
    assert "out.parquet cannot be written" in said
    assert "free disk space" in said
    assert not out.exists()
    done = ends_alike(project, large, out, whole)
    assert CHUNK < done <= ROWS
    assert (done == ROWS) == (share > 0.99)


# Memory, and what is said meanwhile


def peaks_mb(project: Path, *inputs: Path) -> list[float]:
    """The highest memory of one process so far, after it has scored each input."""
    code = (
        "import re, sys; from pathlib import Path; from slipway.serving import score\n"
        "for name in sys.argv[1:]:\n"
        "    score.run(Path(name), Path(name + '.out'), workers=2)\n"
        "    print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )  # not ru_maxrss, which a process inherits
    command, env = [sys.executable, "-c", code, *map(str, inputs)], environment.for_programs(project)
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=True, timeout=300)
    return [int(line) / 1024 for line in done.stdout.split()]


@pytest.mark.parametrize("group", [100_000, 10**9], ids=["row groups", "one row group"])
def test_memory_does_not_grow_with_the_file(project: Path, frame: pl.DataFrame, tmp_path: Path, group: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (CHUNK, 200), dtype=np.uint8)  # nothing to compress
    notes = pl.Series("note", [row.tobytes() for row in noise], pl.Binary)
    for name, chunks in (("small", 5), ("large", 21)):
        many = repeated(frame, chunks * CHUNK).with_columns(note=pl.concat([notes] * chunks))
        pq.write_table(many.to_arrow(), tmp_path / name, row_group_size=group, compression="none", use_dictionary=False)
    small, large = peaks_mb(project, tmp_path / "small", tmp_path / "large")
    assert (tmp_path / "large").stat().st_size - (tmp_path / "small").stat().st_size > 130 * 2**20
    assert large < small + 80


def test_lines_tell_how_far_it_is_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with score.progress(4000, every=0.0) as told:
        told(1000)
        told(1000)
    with score.progress(4000) as told:
        told(4000)  # all within the first seconds: nothing to say
    assert capsys.readouterr().err == "score: 1,000 of 4,000 rows (25%)\nscore: 2,000 of 4,000 rows (50%)\n"


def test_a_terminal_shows_a_bar(project: Path, large: Path, tmp_path: Path) -> None:
    ours, its = pty.openpty()
    said = b""
    with start(project, large, tmp_path / "out.parquet", stderr=its) as process:
        os.close(its)
        try:
            while block := os.read(ours, 1000):
                said += block
        except OSError:  # how a terminal says that nobody is left
            pass
    os.close(ours)
    assert process.returncode == 0
    assert re.search(r"score .*━.* \d+%", said.decode())
