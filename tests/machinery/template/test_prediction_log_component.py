"""The component `prediction-log`: as it is written, and rendered into production, with the canary and without."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster import admission_rules, manifests
from slipway.core import environment
from slipway.core.config import parse_yaml
from slipway.serving.prediction_log import settings
from support.paths import ROOT

COMPONENT = ROOT / "k8s/components/prediction-log"
CANARY = "# components: [../../components/canary]"
LINE = "components: [../../components/prediction-log"


def load(name: str) -> Any:
    return parse_yaml((ROOT / "k8s" / name).read_text(encoding="utf-8"))


POD = load("components/prediction-log/deployment.yaml")["spec"]["template"]["spec"]
BASE = load("base/deployment.yaml")["spec"]["template"]["spec"]


def test_the_sidecar_is_locked_down_like_the_service() -> None:
    [uploader] = POD["initContainers"]
    assert uploader["securityContext"] == BASE["containers"][0]["securityContext"]
    assert uploader["restartPolicy"] == "Always"
    assert POD["terminationGracePeriodSeconds"] >= BASE["terminationGracePeriodSeconds"] + 30


def test_the_log_stays_below_its_volume() -> None:
    [service] = POD["containers"]
    variables = {each["name"]: each["value"] for each in service["env"]}
    [volume] = POD["volumes"]
    size = int(volume["emptyDir"]["sizeLimit"].removesuffix("Mi")) << 20
    read = settings.read(variables)
    assert read
    assert read.total_bytes + 2 * read.file_bytes <= size
    mounts = {mount["mountPath"] for each in (*POD["initContainers"], service) for mount in each["volumeMounts"]}
    assert mounts == {str(read.folder)} == {"/log"}


def test_no_overlay_has_the_component_by_default() -> None:
    for path in (ROOT / "k8s/overlays").glob("*/kustomization.yaml"):
        assert "prediction-log" not in path.read_text(encoding="utf-8")


@pytest.mark.cluster
@pytest.mark.parametrize(("line", "kind"), [("]", "Deployment"), (", ../../components/canary]", "Rollout")])
def test_production_renders_and_keeps_the_rules(tmp_path: Path, line: str, kind: str) -> None:
    folder = tmp_path / "a b é"
    shutil.copytree(ROOT / "k8s", folder / "k8s")
    overlay = folder / "k8s/overlays/production/kustomization.yaml"
    text = overlay.read_text(encoding="utf-8")
    assert CANARY in text
    overlay.write_text(text.replace(CANARY, LINE + line), encoding="utf-8")
    command = manifests.find_renderer(environment.for_programs(ROOT)["PATH"])
    assert command, "these tests need kubectl or kustomize"
    objects = manifests.render_folder(overlay.parent, command, root=folder)
    assert not isinstance(objects, str), objects
    [serve] = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == "serve"]
    pod = serve["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["containers"]] == ["serve"]
    assert {each["name"] for each in pod["volumes"]} == {"tmp", "log"}
    assert {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]} == {
        "/log",
        BASE["containers"][0]["volumeMounts"][0]["mountPath"],
    }
    assert pod["initContainers"][0]["image"].startswith("localhost:5000/flights-uploader@sha256:")
    assert [check for check in admission_rules.check_rules({"production": objects}) if not check.ok] == []
