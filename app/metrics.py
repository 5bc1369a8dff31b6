"""Figures about the server for Prometheus: requests as they come, and the state of things when asked."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from app.deps import Services
from pipeline.catalog.queries import Totals

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counts requests in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ["method", "route"]
        self._requests = Counter(
            "image_api_requests", "Requests answered.", [*labels, "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "image_api_request_seconds",
            "How long requests took.",
            labels,
            buckets=SECONDS,
            registry=self.registry,
        )
        self.running = Gauge("image_api_requests_running", "Requests being answered.", registry=self.registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request by the template of its route, so that labels stay few whatever is asked for."""
        known = method if method in METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)

    def text(self, services: Services, totals: Totals | None) -> bytes:
        """Give all figures in Prometheus' text format; without totals when the catalog cannot be asked."""
        return generate_latest(self.registry) + generate_latest(_now(services, totals))


def _now(services: Services, totals: Totals | None) -> CollectorRegistry:
    """Make a registry of what is true at this moment."""
    registry = CollectorRegistry()

    def gauge(name: str, what: str, value: float) -> None:
        Gauge(f"image_api_{name}", what, registry=registry).set(value)

    gauge(
        "inspections_waiting",
        "Tasks that inspection workers have, running or queued.",
        services.inspectors.waiting,
    )
    gauge("fetches_running", "Fetches by URL under way.", services.fetching.inside)
    gauge("uploads_running", "Batches being received or inspected.", services.uploading.inside)
    pool = services.database.pool.get_stats()
    gauge("database_connections", "Connections to Postgres.", pool.get("pool_size", 0))
    gauge(
        "database_connections_free",
        "Connections to Postgres that nobody uses.",
        pool.get("pool_available", 0),
    )
    gauge(
        "database_requests_waiting", "Requests that wait for a connection.", pool.get("requests_waiting", 0)
    )
    registry.register(_Inspected(services))
    if totals is None:
        return registry
    gauge("catalog_images", "Distinct images in the catalog.", totals.images)
    archives = Gauge("image_api_catalog_archives", "Archives in the ledger.", ["state"], registry=registry)
    for state, count in totals.archives.items():
        archives.labels(state).set(count)
    members = Gauge("image_api_catalog_members", "Members of archives.", ["verdict"], registry=registry)
    for verdict, count in totals.members.items():
        members.labels(verdict).set(count)
    return registry


class _Inspected(Collector):
    def __init__(self, services: Services) -> None:
        self._outcomes = dict(services.inspectors.outcomes)

    def collect(self) -> list[CounterMetricFamily]:
        family = CounterMetricFamily("image_api_inspected", "Files inspected.", labels=["outcome"])
        for outcome, count in self._outcomes.items():
            family.add_metric([outcome], count)
        return [family]
