"""Parquet in chunks, and the contract asked of a chunk: the same answers as the service's, row by row."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.errors import DataError
from slipway.serving import parquet_chunks
from slipway.serving.onnx_model import Model
from slipway.serving.parquet_chunks import CHUNK, ChunkValidator
from slipway.serving.validation import BadRequest, Reader

ROW = {"station": "park", "weekday": 5.0, "hour": 14.0, "temp": 16.0, "recent": 21.0, "yesterday": None}
TYPES = {name: pa.string() if name == "station" else pa.float64() for name in ROW}


@pytest.fixture(scope="module")
def model(project: Path) -> Model:
    return Model(project / "models")


@pytest.fixture(scope="module")
def gate(model: Model) -> ChunkValidator:
    return ChunkValidator(model)


@pytest.fixture(scope="module")
def reader(model: Model) -> Reader:
    return Reader(model.contract)


def table(*rows: dict[str, Any], **types: pa.DataType) -> pa.Table:
    """ROW with changes, once for each."""
    full = [ROW | row for row in rows]
    return pa.table({n: pa.array([row[n] for row in full], types.get(n, TYPES[n])) for n in ROW})


def breach(gate: ChunkValidator, found: pa.Table) -> tuple[int, int, str] | None:
    gate.check_columns(found.schema, where=Path("in.parquet"))
    return gate.first_error(gate.frame(found))


def numbered(folder: Path, *lengths: int, group: int = 10_000) -> Path:
    """Files of so many rows, with numbers that run on."""
    folder.mkdir()
    first = 0
    for number, length in enumerate(lengths):
        values = pa.array(range(first, first + length), pa.int64())
        pq.write_table(pa.table({"n": values}), folder / f"{number}.parquet", row_group_size=group)
        first += length
    return folder


# What is read


@pytest.mark.parametrize("skip", [0, 1, 5_000, 10_000, 25_000, CHUNK, 41_007, 99_999])
def test_chunks_of_equal_length_hold_every_row_once_and_in_order(tmp_path: Path, skip: int) -> None:
    source = parquet_chunks.open_source(numbered(tmp_path / "in", 25_000, 7, 30_000, 44_993))
    found = list(parquet_chunks.read_chunks(source, skip=skip))
    assert source.rows == 100_000
    assert [len(each) for each in found[:-1]] == [CHUNK] * ((100_000 - skip - 1) // CHUNK)
    assert np.array_equal(pa.concat_tables(found)["n"].to_numpy(), np.arange(skip, 100_000))


def test_nothing_is_left_behind_the_last_row(tmp_path: Path) -> None:
    source = parquet_chunks.open_source(numbered(tmp_path / "in", 20, 0, 30))
    assert list(parquet_chunks.read_chunks(source, skip=50)) == []


def test_one_large_row_group_is_cut_too(tmp_path: Path) -> None:
    source = parquet_chunks.open_source(numbered(tmp_path / "in", 70_000, group=10**6))
    assert [len(each) for each in parquet_chunks.read_chunks(source)] == [CHUNK, CHUNK, 70_000 - 2 * CHUNK]


@pytest.mark.parametrize(("row", "told"), [(0, "0.parquet, row 0"), (4, "0.parquet, row 4"), (5, "2.parquet, row 0")])
def test_a_row_is_named_by_its_file(tmp_path: Path, row: int, told: str) -> None:
    source = parquet_chunks.open_source(numbered(tmp_path / "in", 5, 0, 3))
    assert source.where(row) == f"{tmp_path / 'in'}/{told} (from 0)"


def test_folders_and_other_spellings_are_read(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "in", 5, 4)
    (folder / "1.parquet").rename(folder / "1.PARQUET")
    for name in ("2026/b/x.parquet", "2026/a.parq", "0/y.pq"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((folder / "0.parquet").read_bytes())
    source = parquet_chunks.open_source(folder)
    order = [path.relative_to(folder).as_posix() for path, _ in source.files]
    assert order == ["0/y.pq", "0.parquet", "1.PARQUET", "2026/a.parq", "2026/b/x.parquet"]
    assert source.rows == sum(map(len, parquet_chunks.read_chunks(source))) == 5 * 4 + 4


@pytest.mark.parametrize(
    "name",
    [".part.parquet", "_rows.parquet", "notes.txt", "a/rows.csv", "rows.parquet.gz", ".hidden/rows.parquet",
     "_delta_log/0.json", "parquet"],
)  # fmt: skip
def test_files_that_are_not_read_are_named(tmp_path: Path, name: str) -> None:
    folder = numbered(tmp_path / "in", 5)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes((folder / "0.parquet").read_bytes())
    refused(
        folder, f"in holds 1 files that would not be read: {name}; expected: names that end with .parquet, .parq, .pq"
    )


def test_many_files_are_counted_not_listed(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "in", 5)
    for number in range(9):
        (folder / f"{number}.txt").touch()
    refused(folder, "in holds 9 files that would not be read: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt …; expected")


def test_linked_folder_or_pipe_is_named(tmp_path: Path) -> None:
    folder, elsewhere = numbered(tmp_path / "in", 5), numbered(tmp_path / "elsewhere", 5)
    (folder / "link").symlink_to(elsewhere)
    refused(folder, "would not be read: link; ")
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe.parquet")
    refused(folder, "would not be read: pipe.parquet; ")
    (folder / "pipe.parquet").unlink()
    (folder / "file.parquet").symlink_to(elsewhere / "0.parquet")
    assert parquet_chunks.open_source(folder).rows == 10


def test_markers_of_other_programs_are_no_rows(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "in", 5)
    for name in ("_SUCCESS", "_metadata", ".0.parquet.crc", ".DS_Store"):
        (folder / name).touch()
    assert parquet_chunks.open_source(folder).rows == 5


def test_column_in_folder_names_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    folder = numbered(tmp_path / "in/year=2026", 5)
    refused(folder.parent, "in is partitioned: the column year is in names of folders only")
    pq.write_table(pa.table({"n": [1], "year": [2026]}), folder / "0.parquet")
    assert parquet_chunks.open_source(folder.parent).rows == 1


def test_another_time_of_change_is_another_input(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "in", 5)
    before = parquet_chunks.open_source(folder).identity()
    assert parquet_chunks.open_source(folder).identity() == before
    (folder / "0.parquet").touch()
    assert parquet_chunks.open_source(folder).identity() != before


def refused(path: Path, told: str) -> None:
    with pytest.raises(DataError, match=re.escape(told)) as caught:
        list(parquet_chunks.read_chunks(parquet_chunks.open_source(path)))
    assert caught.value.hint


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "none.parquet", "none.parquet does not exist")
    for name, text in (("empty.parquet", ""), ("table.csv", "a,b\n1,2\n")):
        (tmp_path / name).write_text(text)
        refused(tmp_path / name, f"{name} cannot be read as parquet")
    (tmp_path / "in").mkdir()
    refused(tmp_path / "in", "in contains no parquet file")


def test_no_rows_are_refused(tmp_path: Path) -> None:
    refused(numbered(tmp_path / "in", 0, 0), "in has no rows")


def test_files_that_differ_in_type_are_refused(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "in", 5)
    pq.write_table(pa.table({"n": [1.5]}), folder / "1.parquet")
    refused(folder, "1.parquet has other columns or types than")


def test_a_file_that_breaks_in_the_middle_is_named(tmp_path: Path) -> None:
    path = numbered(tmp_path / "in", 50_000) / "0.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 2000] = b"\xff" * 2000
    path.write_bytes(raw)
    refused(path, "0.parquet is damaged")


# What is asked of it


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"temp": 99.0}, "temp is 99.0; expected a number from -30 to 50 (°C), or null"),
        ({"temp": float("nan")}, "temp is NaN; expected a number from -30 to 50 (°C), or null"),
        ({"recent": float("-inf")}, "recent is minus a huge number; expected a number from 0 to 500 (bikes), or null"),
        ({"hour": None}, "hour is null; expected a number from 0 to 23 (hour)"),
        ({"station": None}, "station is null; expected a text of 1 to 16 characters"),
        ({"station": ""}, "station is ''; expected a text of 1 to 16 characters"),
        ({"station": "é" * 17}, f"station is '{'é' * 17}'; expected a text of 1 to 16 characters"),
        (
            {"hour": 24.0, "temp": -31.0},
            "hour is 24.0; expected a number from 0 to 23 (hour); temp is -31.0; expected a number from -30 to 50 (°C)",
        ),
    ],
)
def test_the_first_wrong_row_is_told_in_the_words_of_the_service(
    gate: ChunkValidator, changes: dict[str, Any], told: str
) -> None:
    found = breach(gate, table({}, {}, changes, {}, changes))
    assert found is not None
    assert found[:2] == (2, 2)
    assert found[2].startswith(told)


def test_rows_at_the_limits_pass(gate: ChunkValidator) -> None:
    low = {"temp": -30.0, "hour": 0.0, "station": "x", "recent": None}
    high = {"temp": 50.0, "hour": 23.0, "station": "é" * 16, "recent": 500.0}
    assert breach(gate, table(low, high)) is None


numbers = st.one_of(
    st.none(), st.floats(width=32), st.floats(), st.sampled_from([-30.0, 50.0, 50.00001, 1.0, 7.0, 7.5, 0.0, -0.0])
)
rows = st.fixed_dictionaries(
    {
        "station": st.one_of(st.none(), st.text(max_size=18)),
        **{name: numbers for name in ROW if name != "station"},
    }
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=rows)
def test_a_chunk_is_refused_exactly_when_the_service_refuses_the_row(
    gate: ChunkValidator, reader: Reader, row: Any
) -> None:
    try:
        reader.check(row)
        right = True
    except BadRequest:
        right = False
    assert (breach(gate, table(row)) is None) == right


def test_a_whole_number_is_asked_for_where_the_contract_says_so(project: Path) -> None:
    counted = Model(project / "models")
    counted.contract["inputs"]["properties"]["hour"]["type"] = "integer"
    found = breach(ChunkValidator(counted), table({}, {"hour": 14.5}))
    assert found == (1, 1, "hour is 14.5; expected a whole number from 0 to 23 (hour)")


def test_a_limit_that_float32_cannot_hold_is_kept_by_the_float32_next_to_it(project: Path) -> None:
    tight = Model(project / "models")
    tight.contract["inputs"]["properties"]["hour"]["maximum"] = 0.1
    gate = ChunkValidator(tight)
    assert breach(gate, table({"hour": 0.1}, hour=pa.float32())) is None  # 0.1 as float32 lies above 0.1
    assert breach(gate, table({"hour": 0.10000001}, hour=pa.float64())) is not None


@pytest.mark.parametrize(
    ("name", "dtype", "value"),
    [
        ("station", pa.large_string(), "park"),
        ("station", pa.dictionary(pa.int32(), pa.string()), "park"),
        ("station", pa.string_view(), "park"),
        ("hour", pa.int8(), 14),
        ("hour", pa.uint64(), 14),
        ("hour", pa.float16(), np.float16(14)),
        ("yesterday", pa.null(), None),
    ],
)
def test_a_value_means_the_same_in_every_type_that_can_hold_it(
    gate: ChunkValidator, model: Model, name: str, dtype: pa.DataType, value: Any
) -> None:
    found = table({name: value}, {name: value}, **{name: dtype})
    assert breach(gate, found) is None
    answers = model.predict(*gate.arrays(gate.frame(found)))
    assert np.array_equal(answers, model.rows([ROW, ROW]))


def test_a_column_of_nulls_is_refused_where_a_value_is_asked_for(gate: ChunkValidator) -> None:
    assert breach(gate, table({"hour": None}, hour=pa.null())) == (
        0,
        1,
        "hour is null; expected a number from 0 to 23 (hour)",
    )


@pytest.mark.parametrize(
    ("name", "dtype", "value", "told"),
    [
        ("hour", pa.string(), "14", "column hour has type string; expected: number"),
        ("hour", pa.bool_(), True, "column hour has type bool; expected: number"),
        ("station", pa.int64(), 5, "column station has type int64; expected: text"),
        ("station", pa.dictionary(pa.int32(), pa.int64()), 5, "expected: text"),
    ],
)
def test_a_wrong_type_is_named(gate: ChunkValidator, name: str, dtype: pa.DataType, value: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        breach(gate, table({name: value}, **{name: dtype}))


def test_missing_columns_are_named_with_what_is_there(gate: ChunkValidator) -> None:
    with pytest.raises(DataError, match=r"in.parquet lacks the column hour, temp; it has station, weekday"):
        breach(gate, table({}).drop_columns(["hour", "temp"]))


def test_the_name_of_the_answer_must_be_free(gate: ChunkValidator) -> None:
    with pytest.raises(DataError, match=r"in.parquet already has a column prediction"):
        breach(gate, table({}).append_column("prediction", pa.array([1.0])))


def test_values_never_trained_on_are_counted_and_answered(gate: ChunkValidator, model: Model) -> None:
    frame = gate.frame(table({}, {"station": "moon"}, {"station": "mars"}))
    assert gate.first_error(frame) is None
    assert gate.count_unknown(frame) == {"station": 2}
    assert gate.count_unknown(frame[:1]) == {}
    assert len(model.predict(*gate.arrays(frame))) == 3


def test_a_chunk_is_answered_as_its_rows_are(gate: ChunkValidator, model: Model, project: Path) -> None:
    frame = pl.read_parquet(project / "data/features.parquet")
    given = gate.frame(frame.to_arrow())
    assert np.array_equal(model.predict(*gate.arrays(given)), model.rows(given.to_dicts()))


def test_column_that_stands_twice_is_named(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["hour", "x", "hour"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet has 1 columns more than once: hour; expected: a different name"):
        parquet_chunks.open_source(tmp_path / "a.parquet")
