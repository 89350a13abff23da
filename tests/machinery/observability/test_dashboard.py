"""The dashboard: Grafana's own classes read it, and Prometheus' own program reads its expressions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from slipway.observability import dashboard, generate
from support import engines
from support.paths import ROOT
from support.quick_alerts import expressions

OWN_FIELDS = [".annotations.list[0].titleFormat", ".annotations.list[1].titleFormat"]
"""Read by Grafana's data source for Prometheus; the SDK has only the fields that all data sources share."""
READ = """
import json, sys
from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

plugins.register_default_plugins()
print(encoder.JSONEncoder().encode(Dashboard.from_json(json.load(sys.stdin))))
"""


def committed() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / generate.DASHBOARD).read_text(encoding="utf-8"))
    return document


def through_sdk(document: dict[str, Any]) -> dict[str, Any]:
    """The dashboard as Grafana's SDK writes it after reading it: what it does not know is gone."""
    program = engines.require("grafana-sdk-python")
    ended = subprocess.run(
        [program, "-c", READ], input=json.dumps(document), capture_output=True, text=True, check=True
    )
    read: dict[str, Any] = json.loads(ended.stdout)
    return read


def lost(before: Any, after: Any, place: str = "") -> list[str]:
    """The places in `before` that `after` has not, or has with another value."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [each for key, value in before.items() for each in lost(value, after.get(key), f"{place}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            each for number, value in enumerate(before) for each in lost(value, after[number], f"{place}[{number}]")
        ]
    return [] if before == after else [place]


def test_sdk_knows_every_field() -> None:
    document = committed()
    assert lost(document, through_sdk(document)) == OWN_FIELDS


def test_sdk_drops_a_misspelt_field() -> None:
    document = committed()
    document["panels"][1]["targets"][0]["legend"] = "{{status}}"
    assert lost(document, through_sdk(document)) == [*OWN_FIELDS, ".panels[1].targets[0].legend"]


def test_promtool_accepts_every_expression(tmp_path: Path) -> None:
    promtool = engines.require("promtool")
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    (tmp_path / "rules.yaml").write_text(generate.dump({"groups": [{"name": "a", "rules": rules}]}), encoding="utf-8")
    ended = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False
    )
    assert f"SUCCESS: {len(rules)} rules" in ended.stdout, ended.stdout + ended.stderr


def test_panels_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in committed()["panels"]]
    cells = [(x, y) for each in places for x in range(each["x"], each["x"] + each["w"])
             for y in range(each["y"], each["y"] + each["h"])]  # fmt: skip
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_rows_are_the_parts_of_the_story() -> None:
    titles = [panel["title"] for panel in committed()["panels"] if panel["type"] == "row"]
    assert titles == ["Service", "Budget", "Predictions", "Drift", "Prediction log"]
    assert [each["name"] for each in committed()["annotations"]["list"]] == ["Releases of a model", "Alerts"]
    assert dashboard.SOURCE["uid"] == "${source}"
