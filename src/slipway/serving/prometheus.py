"""Prometheus metrics of the service: requests, latencies, predictions, unknown categories, the model served."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""Bucket bounds of the latency histogram in seconds; the limits of loadtests/slo.yaml are among them."""
BINS, SUM, PREDICTION = "slipway_prediction_bins", "slipway_prediction_sum", "slipway_prediction"
NOT_FINITE = "slipway_predictions_not_finite"


class Predictions:
    """A histogram that records many values in one call; prometheus_client's takes one at a time (10 % of a batch's time).

    It stores one counter per bin and a sum, which can be added up over workers. `HistogramCollector` makes a histogram
    of them.
    """

    def __init__(self, edges: Sequence[float], registry: CollectorRegistry) -> None:
        self._edges = np.array(sorted(set(edges)))
        bins = Counter(BINS, "Predictions by bin", ["le"], registry=registry)
        self._bins = [bins.labels(str(edge)) for edge in [*self._edges.tolist(), "+Inf"]]
        self._sum = Gauge(SUM, "Of all predictions", registry=registry, multiprocess_mode="sum")
        self._not_finite = Counter(NOT_FINITE, "Predictions that were NaN or infinite", registry=registry)

    def observe(self, values: NDArray[np.float32]) -> bool:
        """Record the finite ones of these predictions and count the others; return whether all are finite.

        The sum of NaN or infinity and anything is not finite either, so looking at the sum is enough.
        """
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            total = float(values.sum(dtype=np.float64))
        if not math.isfinite(total):
            is_finite = np.isfinite(values)
            self._not_finite.inc(int((~is_finite).sum()))
            self.observe(values[is_finite])
            return False
        counts = np.bincount(np.searchsorted(self._edges, values), minlength=len(self._bins))
        for number in counts.nonzero()[0].tolist():
            self._bins[number].inc(int(counts[number]))
        self._sum.inc(total)
        return True


class HistogramCollector(Collector):
    """Collects a registry's metrics, with the bins of the predictions as one histogram."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        families = {family.name: family for family in self._registry.collect()}
        bins, total = families.pop(BINS).samples, sum(each.value for each in families.pop(SUM).samples)
        bins.sort(key=lambda each: float(each.labels["le"]))
        cumulative = itertools.accumulate(each.value for each in bins)
        buckets = [(each.labels["le"], count) for each, count in zip(bins, cumulative, strict=True)]
        yield from families.values()
        histogram = HistogramMetricFamily(PREDICTION, "Predictions", buckets=buckets, sum_value=total)
        if float(buckets[0][0]) < 0:  # negative bounds: the family then writes neither sum nor count
            histogram.add_sample(f"{PREDICTION}_count", {}, buckets[-1][1])
        yield histogram


class PredictionLogMetrics:
    """Counters of the prediction log; they exist when the log does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lines = Counter("slipway_prediction_log_lines", "Lines written", registry=registry)
        self._lost = Counter("slipway_prediction_log_lost", "Lines that could not be written", registry=registry)
        self._files = Counter("slipway_prediction_log_files", "Files begun", registry=registry)

    def written(self, lines: int) -> None:
        """Add lines that stand in a file."""
        self._lines.inc(lines)

    def lost(self, lines: int) -> None:
        """Add lines that stand in none."""
        self._lost.inc(lines)

    def begun(self) -> None:
        """Add a file."""
        self._files.inc()


class ServiceMetrics:
    """The metrics of one service, in a registry of their own. Every label has a small set of values."""

    def __init__(self, contract: dict[str, Any], model_sha256: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # timestamps per series do not exist with several workers
        self._registry = registry = CollectorRegistry()
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.seconds = Histogram(
            "slipway_request_seconds", "Time to answer", ["route"], buckets=BOUNDS, registry=registry
        )
        self.requests = Counter("slipway_requests", "Requests answered", ["route", "status"], registry=registry)
        self.unknown = Counter("slipway_unknown_categories", "Values never trained on", ["column"], registry=registry)
        edges = contract["reference"]["edges"]  # the bins of the predictions on the test window
        self.predictions = Predictions(edges, registry)
        labels = ["problem", "until", "model_sha256"]
        info = Gauge("slipway_model_info", "The model served", labels, registry=registry, multiprocess_mode="max")
        info.labels(contract["problem"], contract["data"]["until"], model_sha256).set(1)
        for column in contract["categories"]:
            self.unknown.labels(column)

    def prediction_log(self) -> PredictionLogMetrics:
        """Add the metrics of the prediction log, which is on."""
        return PredictionLogMetrics(self._registry)

    def count(self, route: str, status: int, seconds: float) -> None:
        """Record one request. The children are cached, because looking one up by its labels costs more than counting."""
        children = self._children.get((route, status))
        if children is None:
            children = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._children[route, status] = children
        children[0].inc()
        children[1].observe(seconds)

    def over_workers(self) -> CollectorRegistry:
        """Return a registry that adds up all workers; ValueError unless PROMETHEUS_MULTIPROC_DIR is set (BentoML sets it)."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def text(self) -> bytes:
        """Return the metrics as text: of all workers, or of this process when it is the only one."""
        try:
            source = self.over_workers()
        except ValueError:
            source = self._registry
        registry = CollectorRegistry()
        registry.register(HistogramCollector(source))
        text: bytes = generate_latest(registry)
        return text
