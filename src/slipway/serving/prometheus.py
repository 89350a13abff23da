"""What Prometheus may ask of the service: requests, latencies, predictions, unknown categories, the model served."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""Of the latency histogram in seconds; the limits of loadtests/slo.yaml are among them."""
BINS, SUM, PREDICTION = "slipway_prediction_bins", "slipway_prediction_sum", "slipway_prediction"


class Predictions:
    """A histogram that takes many values at once; prometheus_client's takes one, and was a tenth of a batch's time.

    What it keeps are a counter for each bin and a sum, which workers can add up; `Told` makes a histogram of them.
    """

    def __init__(self, edges: Sequence[float], registry: CollectorRegistry) -> None:
        self._edges = np.array(sorted(set(edges)))
        bins = Counter(BINS, "Predictions by bin", ["le"], registry=registry)
        self._bins = [bins.labels(str(edge)) for edge in [*self._edges.tolist(), "+Inf"]]
        self._sum = Gauge(SUM, "Of all predictions", registry=registry, multiprocess_mode="sum")

    def observe(self, values: NDArray[np.float32]) -> None:
        """Count these."""
        counts = np.bincount(np.searchsorted(self._edges, values), minlength=len(self._bins))
        for at in counts.nonzero()[0].tolist():
            self._bins[at].inc(int(counts[at]))
        self._sum.inc(float(values.sum(dtype=np.float64)))


class HistogramCollector(Collector):
    """All that a registry has, the bins of the predictions as a histogram."""

    def __init__(self, of: CollectorRegistry) -> None:
        self._of = of

    def collect(self) -> Iterator[Metric]:
        """Family by family."""
        found = {family.name: family for family in self._of.collect()}
        bins, total = found.pop(BINS).samples, sum(each.value for each in found.pop(SUM).samples)
        bins.sort(key=lambda each: float(each.labels["le"]))
        heaps = itertools.accumulate(each.value for each in bins)
        buckets = [(each.labels["le"], heap) for each, heap in zip(bins, heaps, strict=True)]
        yield from found.values()
        histogram = HistogramMetricFamily(PREDICTION, "Predictions", buckets=buckets, sum_value=total)
        if float(buckets[0][0]) < 0:  # then Prometheus knows no sum, and the family leaves out the count as well
            histogram.add_sample(f"{PREDICTION}_count", {}, buckets[-1][1])
        yield histogram


class ServiceMetrics:
    """What Prometheus may ask; every label takes few values. A registry of its own, so that two can exist."""

    def __init__(self, contract: dict[str, Any], model_sha256: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a moment for each series, which several workers would not have
        self._own = own = CollectorRegistry()
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.seconds = Histogram("slipway_request_seconds", "Time to answer", ["route"], buckets=BOUNDS, registry=own)
        self.requests = Counter("slipway_requests", "Requests answered", ["route", "status"], registry=own)
        self.unknown = Counter("slipway_unknown_categories", "Values never trained on", ["column"], registry=own)
        edges = contract["reference"]["edges"]  # of the predictions on the test window, to compare with
        self.predictions = Predictions(edges, own)
        labels = ["problem", "until", "model_sha256"]
        info = Gauge("slipway_model_info", "The model served", labels, registry=own, multiprocess_mode="max")
        info.labels(contract["problem"], contract["data"]["until"], model_sha256).set(1)
        for column in contract["categories"]:
            self.unknown.labels(column)

    def count(self, route: str, status: int, seconds: float) -> None:
        """One request; the children are kept, for to find one by its labels costs more than to count."""
        found = self._children.get((route, status))
        if found is None:
            found = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._children[route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def together(self) -> CollectorRegistry:
        """Of all workers' numbers; ValueError when PROMETHEUS_MULTIPROC_DIR is not set (BentoML tells its workers)."""
        found = CollectorRegistry()
        MultiProcessCollector(found)  # type: ignore[no-untyped-call]
        return found

    def text(self) -> bytes:
        """All workers' numbers; this process's where it is the only one."""
        try:
            registry = self.together()
        except ValueError:
            registry = self._own
        told = CollectorRegistry()
        told.register(HistogramCollector(registry))
        found: bytes = generate_latest(told)
        return found
