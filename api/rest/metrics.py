"""What Prometheus reads at `/metrics`: requests, models, waiting time, cache and memory of this process."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(namespace="perfsage", registry=self._registry)
        options: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter(
            "perfsage_requests", "Requests answered.", ("route", "method", "status"), **options
        )
        self.seconds = Histogram(
            "perfsage_request_seconds",
            "Time from a request's headers to the end of its answer.",
            ("route",),
            buckets=_BUCKETS,
            **options,
        )
        self.models = Counter("perfsage_models", "Models asked for, by outcome.", ("outcome",), **options)
        self.shed = Counter("perfsage_shed", "Requests refused because too many were waiting.", **options)
        self.waiting = Gauge("perfsage_waiting", "Prediction requests being served or waiting.", **options)
        self.cache_bytes = Gauge("perfsage_cache_bytes", "Bytes of answers kept.", **options)

    def count(self, models: int, cached: int, failed: int) -> None:
        """Count the models of one answer."""
        for outcome, number in (
            ("predicted", models - cached - failed),
            ("cached", cached),
            ("failed", failed),
        ):
            self.models.labels(outcome).inc(number)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
