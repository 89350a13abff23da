"""A problem whose inputs are of every type that a contract can have goes from its table to answers and scores."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from slipway import problem
from slipway.contract import words
from slipway.core import config, files
from slipway.pipeline import parity, train
from slipway.serving import score
from slipway.serving.onnx_model import Model
from slipway.serving.validation import BadRequest, Reader
from support.callables import Run
from support.paths import PROBLEMS

TYPES = '''
class Shift(str, Enum):
    """When bikes are brought."""

    EARLY = "early"
    LATE = "late"


class Inputs(Known):
    """What is known of a slot one hour before it starts, with inputs of every type."""

    weekend: Annotated[bool, Field(description="Saturday or Sunday", examples=[False])]
    rainy: Annotated[bool | None, Field(description="rain, where it is measured", examples=[None])]
    half: Annotated[Literal["first", "second"], Field(description="half of the day", examples=["first"])]
    shift: Annotated[Shift | None, Field(description="bikes are brought", examples=["early"])]
    slot: Annotated[int, Field(ge=0, le=11, description="number of the slot", examples=[7])]
    day_share: Annotated[float, Field(ge=0, lt=1, multiple_of=1 / 16, description="share of the day", examples=[0.5])]
    code: Annotated[str, Field(pattern="^[a-z]$", description="the station's letter", examples=["p"])]
'''
COLUMNS = """
        weekend=pl.col("start").dt.weekday() > 5,
        rainy=pl.when(pl.col("station") == "park").then(pl.col("start").dt.day() % 3 == 0),
        half=pl.when(pl.col("start").dt.hour() < 13).then(pl.lit("first")).otherwise(pl.lit("second")),
        shift=pl.when(pl.col("start").dt.hour() < 9).then(pl.lit("early")).when(pl.col("start").dt.hour() > 15)
        .then(pl.lit("late")),
        slot=pl.col("start").dt.hour() // 2,
        day_share=(pl.col("start").dt.hour() / 24 * 16).floor() / 16,
        code=pl.col("station").str.slice(0, 1),
"""
TYPES_OF_INPUTS = {"text", "number", "whole number", "true or false"}


@pytest.fixture(scope="module")
def scooters(bare: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bikes problem under another name, with seven inputs more, after its stages. Read only."""
    folder = tmp_path_factory.mktemp("scooters") / "a b é"
    shutil.copytree(bare, folder)
    code = tmp_path_factory.mktemp("code") / "scooters"
    shutil.copytree(PROBLEMS / "bikes", code, ignore=shutil.ignore_patterns("__pycache__"))
    for path in code.glob("*.py"):
        text = re.sub(r"from bikes\b", "from scooters", path.read_text("utf-8"))
        text = re.sub(r'"bikes(\.\w+:|",$)', r'"scooters\1', text, flags=re.M)
        path.write_text(text, "utf-8")
    contract, columns, params = code / "contract.py", code / "features.py", folder / "params.yaml"
    text = contract.read_text("utf-8").replace("class Inputs(BaseModel)", "class Known(BaseModel)")
    text = text.replace("import Annotated, Any", "import Annotated, Any, Literal").replace(
        "\nfrom datetime import", "\nfrom enum import Enum\nfrom datetime import", 1
    )
    contract.write_text(text + TYPES, "utf-8")
    text = columns.read_text("utf-8").replace('    ).drop("temp")', f'{COLUMNS}    ).drop("temp")')
    numbers = "pl.col(n) if n in ('weekend', 'rainy') else pl.col(n).cast(pl.Float32)"
    columns.write_text(text.replace("pl.col(n).cast(pl.Float32)", numbers), "utf-8")
    params.write_text(params.read_text("utf-8").replace("problem: bikes", "problem: scooters"), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(code.parent)
        run(folder, "ingest", "features", "train", "export")
    return folder


def test_every_type_is_exported(scooters: Path) -> None:
    contract = files.read_json(scooters / "models/contract.json")
    rules = {name: words.Rule.of(node) for name, node in contract["inputs"]["properties"].items()}
    assert {rule.type for rule in rules.values()} == TYPES_OF_INPUTS
    assert (rules["half"].choices, rules["shift"].choices) == (("first", "second"), ("early", "late"))
    assert [check["ok"] for check in files.read_json(scooters / "reports/export.json")["checks"]] == [True, True]


def test_rows_for_the_comparison_keep_the_contract(scooters: Path) -> None:
    spec, params = problem.load("scooters"), config.load(scooters / "params.yaml")
    frame = pl.read_parquet(scooters / "data/features.parquet")
    windows = [train.rows_of_window(frame, params.data, which) for which in ("train", "test")]
    for row in parity.rows_of_contract(spec.inputs, *windows).to_dicts():
        spec.inputs.model_validate(row)


@pytest.mark.parametrize(("name", "value"), [
    ("weekend", 1), ("weekend", "true"), ("weekend", None), ("rainy", 0.0), ("half", "third"), ("half", None), ("shift", "noon"),
    ("slot", 1.5), ("slot", 12), ("slot", True), ("day_share", 1), ("day_share", 0.1), ("code", "pq"), ("code", ""),
])  # fmt: skip
def test_value_outside_its_type_is_refused(scooters: Path, name: str, value: object) -> None:
    contract = files.read_json(scooters / "models/contract.json")
    with pytest.raises(BadRequest) as caught:
        Reader(contract).read(json.dumps(contract["example"] | {name: value}).encode())
    assert (caught.value.status, [error["field"] for error in caught.value.errors]) == (422, [name])


def test_service_and_score_predict_the_same(scooters: Path, tmp_path: Path) -> None:
    model, table = Model(scooters / "models"), pl.read_parquet(scooters / "data/features.parquet").tail(50)
    names = [*model.contract["inputs"]["properties"]]
    rows, _ = Reader(model.contract).read(json.dumps(table.select(names).to_dicts()).encode())
    table.select("row_id", *names).write_parquet(tmp_path / "in.parquet")
    score.run(tmp_path / "in.parquet", tmp_path / "out.parquet", folder=scooters / "models")
    scored = pl.read_parquet(tmp_path / "out.parquet")["prediction"].to_list()
    assert scored == pytest.approx(model.values(rows).tolist(), abs=1e-6)
    assert len(set(scored)) > 10
