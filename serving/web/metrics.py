"""What Prometheus reads of a server: how long each route takes, what was found and what was not."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """Of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "ebbtide_serve_seconds",
            "From the first line of a request to the end of its answer.",
            ["route", "status"],
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self._looked_up = Counter(
            "ebbtide_serve_looked_up",
            "Users and items asked for, found or not.",
            ["kind", "found"],
            registry=self._registry,
        )
        self._routes: dict[tuple[str, int], Histogram] = {}
        self._kinds: dict[tuple[str, bool], Counter] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        histogram = self._routes.get((route, status))
        if histogram is None:
            histogram = self._routes[route, status] = self._seconds.labels(route, str(status))
        histogram.observe(seconds)

    def looked_up(self, kind: str, found: bool) -> None:
        counter = self._kinds.get((kind, found))
        if counter is None:
            counter = self._kinds[kind, found] = self._looked_up.labels(kind, "yes" if found else "no")
        counter.inc()

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A number that is asked for when it is read."""
        Gauge(f"ebbtide_serve_{name}", what, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        return generate_latest(self._registry)
