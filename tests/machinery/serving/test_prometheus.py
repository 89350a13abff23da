"""The predictions' histogram against prometheus_client's own; the service's metrics are read in test_service."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from slipway.serving.prometheus import ServiceMetrics

EDGES = [-1.5, 0.0, 0.25, 100.0]


def meters(edges: list[float]) -> ServiceMetrics:
    contract: dict[str, Any] = {
        "reference": {"edges": edges}, "problem": "bikes", "data": {"until": "2013-01-01"}, "categories": ["station"],
    }  # fmt: skip
    return ServiceMetrics(contract, "ab")


def told(text: str) -> dict[tuple[str, str], float]:
    families = (family for family in text_string_to_metric_families(text) if family.name == "slipway_prediction")
    samples = [sample for family in families for sample in family.samples]
    return {(each.name, str(float(each.labels.get("le", "nan")))): each.value for each in samples}


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(EDGES) | st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40), max_size=4))
def test_predictions_are_counted_as_prometheus_client_counts_them(batches: list[list[float]]) -> None:
    own, plain = meters(EDGES), CollectorRegistry()
    histogram = Histogram("slipway_prediction", "Predictions", buckets=EDGES, registry=plain)
    for batch in batches:
        own.predictions.observe(np.array(batch, dtype=np.float32))
        for value in batch:
            histogram.observe(value)
    found, wanted = told(own.text().decode()), told(generate_latest(plain).decode())
    assert found.keys() == wanted.keys()
    assert list(found.values()) == pytest.approx([wanted[key] for key in found], abs=1e-6)


def test_bins_are_told_as_a_histogram_and_not_beside_it() -> None:
    own = meters([0.5, 0.25, 0.5])
    own.predictions.observe(np.array([0.3, 0.9], dtype=np.float32))
    text = own.text().decode()
    assert "# TYPE slipway_prediction histogram" in text
    assert "slipway_prediction_bins" not in text
    assert text.count('slipway_prediction_bucket{le="0.5"} 1.0') == 1
    assert "slipway_model_info{" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_has_a_counter_of_its_own(value: float) -> None:
    own = meters(EDGES)
    assert own.predictions.observe(np.array([1.0, value, 2.0, -value], dtype=np.float32)) is False
    assert own.predictions.observe(np.array([4.0], dtype=np.float32)) is True
    assert own.predictions.observe(np.array([value], dtype=np.float32)) is False
    text = own.text().decode()
    assert "\nslipway_predictions_not_finite_total 3.0\n" in text
    assert told(text)["slipway_prediction_count", "nan"] == 3
    assert "\nslipway_prediction_sum" not in text or told(text)["slipway_prediction_sum", "nan"] == 7


def test_sum_stays_a_number_whatever_was_predicted() -> None:
    own = meters([0.0, 1.0])
    for value in (float("nan"), 3e38, float("inf"), 3e38, -3e38, -3e38, 0.5):
        own.predictions.observe(np.array([value], dtype=np.float32))
    assert told(own.text().decode())["slipway_prediction_sum", "nan"] == 0.5
