"""`slo`: write what follows from the objectives in slo.yaml, or compare it with what is committed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from slipway.core import files
from slipway.core.strict_model import parse_yaml
from slipway.errors import ConfigError
from slipway.loadtest import slo
from slipway.observability import alertmanager, dashboard, rule_tests, rules

K8S = Path("k8s")
FOLDER, COMPONENTS = K8S / "observability", K8S / "components"
RULES, TESTS, ALERTMANAGER = FOLDER / "rules.yaml", FOLDER / "rules-test.yaml", FOLDER / "alertmanager.yaml"
DASHBOARD = FOLDER / "dashboard.json"
COPY, OBJECT = COMPONENTS / "prometheus-annotations/rules.yaml", COMPONENTS / "prometheus-operator/prometheusrule.yaml"
"""The rules once more, for a ConfigMap and as an object of the Prometheus operator."""
PROJECT = Path("argocd/project.yaml")
"""The one place of the repository's address."""
PAGES = "docs/alerts"
PURPOSE = "Prometheus rules: the shares of bad requests, and the alerts."
HEAD = "# {purpose} Generated from loadtests/slo.yaml by `make lock`: do not edit.\n"


def contents(root: Path = Path()) -> dict[Path, str]:
    """The text of each generated file by its path below `root`; empty when slo.yaml has no objectives."""
    whole = slo.read(root / slo.PATH)
    if whole.objectives is None:
        return {}
    routes = sorted({name.partition(" ")[2] for name in whole.endpoints})
    alerts = rules.build(whole.objectives, routes=routes, runbooks=runbook_address(root))
    built = {
        RULES: (PURPOSE, alerts),
        COPY: (PURPOSE, alerts),
        OBJECT: ("The same rules for the Prometheus operator.", rules.operator_object(alerts)),
        TESTS: ("Unit tests of the rules, for `promtool test rules`.",
                rule_tests.build(whole.objectives, routes=routes, rules=RULES.name)),
        ALERTMANAGER: ("Alertmanager: where pages and tickets go.", alertmanager.build()),
    }  # fmt: skip
    texts = {path: HEAD.format(purpose=purpose) + dump(value) for path, (purpose, value) in built.items()}
    board = dashboard.build(whole.objectives, routes=routes)
    return texts | {DASHBOARD: json.dumps(board, indent=1, ensure_ascii=False) + "\n"}


def runbook_address(root: Path) -> str:
    """The address of docs/alerts in the repository that argocd/project.yaml names; the bare path without one."""
    path = root / PROJECT
    if not path.is_file():
        return PAGES
    with files.parsing(path):
        repository = str(parse_yaml(path.read_text(encoding="utf-8"))["spec"]["sourceRepos"][0])
    return f"{repository.removesuffix('.git')}/blob/main/{PAGES}"


def dump(value: Any) -> str:
    """Return `value` as YAML, one key a line."""
    yaml, out = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style, yaml.width, yaml.sort_base_mapping_type_on_output = False, 4096, False  # type: ignore[assignment]
    yaml.dump(value, out)
    return out.getvalue()


def run(*, write: bool, root: Path = Path()) -> str:
    """Write the generated files, or raise ConfigError when a committed one differs; return what was done."""
    texts = contents(root)
    if not texts:
        return f"{slo.PATH} has no objectives, so there are no alerts"
    if write:
        for path, text in texts.items():
            files.write_text(root / path, text)
        return f"{len(texts)} files written below {K8S}"
    for path, text in texts.items():
        committed = root / path
        if not committed.is_file() or committed.read_text(encoding="utf-8") != text:
            raise ConfigError(f"{path} does not match {slo.PATH}", hint="make lock")
    return f"the generated files below {K8S} match {slo.PATH}"
