from __future__ import annotations

import pytest

from slipway.pipeline.fingerprint.locked_libraries import LockedLibraries
from support.paths import ROOT

LOCK = """\
joblib==1.6.0 \\
    --hash=sha256:00
    # via
    #   -c dev.lock
    #   scikit-learn
numpy==2.3.5 ; python_full_version < '3.12' \\
    --hash=sha256:01
    # via
    #   -c dev.lock
    #   scikit-learn
numpy==2.4.0 ; python_full_version >= '3.12' \\
    --hash=sha256:02
    # via scikit-learn
ruamel-yaml==0.18.16 \\
    --hash=sha256:03
    # via slipway (../pyproject.toml:pipeline)
scikit-learn==1.9.0 \\
    --hash=sha256:04 \\
    --hash=sha256:05
    # via slipway (../pyproject.toml:pipeline)
"""


@pytest.fixture
def locked() -> LockedLibraries:
    return LockedLibraries(LOCK)


def test_pins_have_what_a_library_requires_and_all_markers(locked):
    assert locked.pins(["scikit-learn"]) == [
        "joblib==1.6.0",
        "numpy==2.3.5 ; python_full_version < '3.12'",
        "numpy==2.4.0 ; python_full_version >= '3.12'",
        "scikit-learn==1.9.0",
    ]
    assert locked.pins(["joblib"]) == ["joblib==1.6.0"]


def test_hashes_are_no_part_of_a_pin():
    other = LockedLibraries(LOCK.replace("sha256:04", "sha256:44"))
    assert other.pins(["scikit-learn"]) == LockedLibraries(LOCK).pins(["scikit-learn"])


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("joblib", {"joblib"}),
        ("ruamel.yaml.error", {"ruamel-yaml"}),
        ("sklearn.pipeline", {"scikit-learn"}),
        ("mlflow", set()),
        ("json", set()),
    ],
)
def test_libraries_are_found_by_what_is_imported(locked, module, library):
    assert locked.providers(module) == library


def test_other_names_are_searched_among_what_is_installed():
    lock = "markdown-it-py==4.0.0 \\\n    --hash=sha256:00\n"
    assert LockedLibraries(lock).providers("markdown_it.token") == {"markdown-it-py"}
    assert LockedLibraries(lock).providers("markdown_it.token", search=False) == set()


def test_whole_lock_of_the_project_is_read():
    locked = LockedLibraries((ROOT / "requirements/pipeline.lock").read_text("utf-8"))
    pins = locked.pins(["pandera", "scikit-learn", "skl2onnx"])
    names = {pin.partition("==")[0] for pin in pins}
    assert {"numpy", "polars", "pydantic", "pydantic-core", "scipy", "threadpoolctl", "onnx", "protobuf"} <= names
    assert "mlflow" not in names
    assert locked.pins(["slipway"]) == sorted(set(locked.pins(["slipway"])))
