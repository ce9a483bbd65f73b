"""What Prometheus reads: workers, trainer and lag, as they are when it asks.

Totals are those of the partition or of the model, from its first event on, so they survive restarts; after a
rebalance two workers may both tell of a partition: take the maximum.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from state.drift_alarm import DriftAction, EmbeddingHealth
from state.errors import InputError
from state.progress import Progress, TrainerStatus

if TYPE_CHECKING:
    from ebbtide.live.status import Lag, PathState

HOST = "EBBTIDE_METRICS_HOST"
_QUANTILE = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}

Collect = Callable[[], Iterable[Metric]]


def host() -> str:
    """Where to listen: loopback unless the environment says otherwise."""
    return os.environ.get(HOST) or "127.0.0.1"


def serve(address: tuple[str, int], collect: Collect) -> Callable[[], None]:
    """Answer at http://HOST:PORT/metrics from a thread; call what is returned to end. Raises InputError."""
    registry = CollectorRegistry()
    registry.register(_Collector(collect))
    try:
        server, thread = start_http_server(address[1], address[0], registry)
    except OSError as error:
        raise InputError(
            f"metrics at {address[0]}:{address[1]}: cannot listen there ({error.strerror}); name another port"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def of_workers(progress: Mapping[int, Progress]) -> Iterator[Metric]:
    """What a worker has done for the partitions that it computes."""
    events = CounterMetricFamily("ebbtide_events", "Events dealt with, good or bad.", labels=["partition"])
    examples = CounterMetricFamily("ebbtide_examples", "Examples sent.", labels=["partition"])
    duplicates = CounterMetricFamily(
        "ebbtide_duplicates", "Events dropped as duplicates.", labels=["partition"]
    )
    late = CounterMetricFamily("ebbtide_late", "Events dropped as too late.", labels=["partition"])
    dead = CounterMetricFamily(
        "ebbtide_dead_letters", "Messages and events set aside.", labels=["partition", "reason"]
    )
    fields = CounterMetricFamily(
        "ebbtide_unknown_fields", "Events with a field that is no role.", labels=["partition", "field"]
    )
    lost = CounterMetricFamily(
        "ebbtide_lost", "Messages that were deleted before they were read.", labels=["partition"]
    )
    remade = CounterMetricFamily(
        "ebbtide_remade", "How often the topic of events was made anew.", labels=["partition"]
    )
    users = GaugeMetricFamily("ebbtide_users", "Users who are remembered.", labels=["partition"])
    size = GaugeMetricFamily("ebbtide_user_memory_bytes", "Of memory in use for users.", labels=["partition"])
    expired = CounterMetricFamily(
        "ebbtide_expired_users", "How often a user was forgotten.", labels=["partition"]
    )
    for partition, counts in progress.items():
        place = [str(partition)]
        events.add_metric(place, counts.events)
        examples.add_metric(place, counts.examples)
        duplicates.add_metric(place, counts.duplicates)
        late.add_metric(place, counts.late)
        users.add_metric(place, counts.users)
        size.add_metric(place, counts.user_bytes)
        expired.add_metric(place, counts.expired)
        for reason, count in counts.dead_letters.items():
            dead.add_metric([*place, reason], count)
        for field, count in counts.unknown_fields.items():
            fields.add_metric([*place, field], count)
        lost.add_metric(place, counts.lost)
        remade.add_metric(place, counts.remade)
    yield from (events, examples, duplicates, late, dead, fields, lost, remade, users, size, expired)


def of_trainer(status: TrainerStatus | None) -> Iterator[Metric]:
    """What a trainer says of itself; nothing before it has said anything."""
    if status is None:
        return
    yield CounterMetricFamily("ebbtide_trained", "Examples learned, each once.", status.trained)
    dead = CounterMetricFamily(
        "ebbtide_trainer_dead_letters", "Messages of examples set aside.", labels=["reason"]
    )
    for reason, count in status.dead_letters.items():
        dead.add_metric([reason], count)
    yield dead
    yield CounterMetricFamily("ebbtide_repeated", "Examples dropped: they came again.", status.duplicates)
    lost = "Times that what was published had gone, and was published again."
    yield GaugeMetricFamily("ebbtide_items", "In the trainer's catalogue.", status.items)
    yield CounterMetricFamily(
        "ebbtide_forgotten_users", "How often the trainer forgot a user.", status.forgotten
    )
    yield CounterMetricFamily("ebbtide_store_losses", lost, status.store_losses)
    yield GaugeMetricFamily("ebbtide_published_version", "Newest version readers see.", status.version)
    fresh = Metric(
        "ebbtide_freshness_seconds", "From an event to its being readable, last minute.", "summary"
    )
    for quantile, value in status.freshness_ms.items():
        fresh.add_sample("ebbtide_freshness_seconds", {"quantile": _QUANTILE[quantile]}, value / 1000)
    yield fresh
    if status.checkpoint_ms is not None:
        age_s = max(0, status.updated_ms - status.checkpoint_ms) / 1000
        yield GaugeMetricFamily("ebbtide_checkpoint_age_seconds", "Since the newest checkpoint.", age_s)
    drift = GaugeMetricFamily(
        "ebbtide_drift_open",
        "Alarms that are open: how far the mean of a signal moved.",
        labels=["signal", "segment", "name"],
    )
    for alarm in status.alarms:
        if alarm.open:
            size = (alarm.after or 0.0) - (alarm.before or 0.0)
            drift.add_metric([alarm.signal, alarm.segment or "", alarm.name or ""], size)
    yield drift
    yield from _of_actions(status.actions)
    if status.embeddings is not None:
        yield from _of_embeddings(status.embeddings)
    metric = GaugeMetricFamily("ebbtide_metric", "Prequential, recent.", labels=["name"])
    for name, number in status.metrics.items():
        metric.add_metric([name], number)
    yield metric


def _of_actions(actions: Iterable[DriftAction]) -> Iterator[Metric]:
    """The newest of each kind about each signal."""
    newest = {(action.do, action.on): action for action in actions}
    done = GaugeMetricFamily(
        "ebbtide_drift_action_event",
        "What was done about drift: number of the event after which it was last.",
        labels=["do", "signal"],
    )
    worth = GaugeMetricFamily(
        "ebbtide_drift_action_worth",
        "A metric of the copy that went without the newest action, minus the model's.",
        labels=["do", "signal", "metric"],
    )
    for labels, action in newest.items():
        done.add_metric(labels, action.event)
        for difference in action.worth.differences if action.worth else ():
            worth.add_metric([*labels, difference.metric], difference.difference)
    yield from (done, worth)


def _of_embeddings(health: EmbeddingHealth) -> Iterator[Metric]:
    """The newest look at the vectors published."""
    for name, value, what in (
        ("norm", health.norm, "Median norm of a sample of item vectors."),
        ("effective_rank", health.effective_rank, "How many directions they are spread over."),
        ("covered", health.covered, "Share of them that is there and finite."),
        ("centroid_shift", health.centroid_shift, "How far their mean went since the look before, by norm."),
        ("neighbour_churn", health.neighbour_churn, "Share of nearest neighbours that are others since."),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"ebbtide_embedding_{name}", what, value)


def of_lag(lag: "Lag") -> Iterator[Metric]:
    """How many messages are waiting for workers and trainer."""
    family = GaugeMetricFamily(
        "ebbtide_lag", "Messages that are there and not dealt with.", labels=["stage", "partition"]
    )
    for stage, counts in (("ingest", lag.ingest), ("train", lag.train)):
        for partition, count in counts.items():
            family.add_metric([stage, str(partition)], count)
    yield family


def of_all(seen: "PathState") -> Iterator[Metric]:
    """Workers, trainer and lag, as somebody who looks at them sees them."""
    yield from of_workers(seen.progress)
    yield from of_trainer(seen.trainer)
    yield from of_lag(seen.lag)
    if seen.store_writable is not None:
        what = "Whether the store takes what is published."
        yield GaugeMetricFamily("ebbtide_store_writable", what, float(seen.store_writable))


class _Collector(Collector):
    def __init__(self, collect: Collect) -> None:
        self._collect = collect

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._collect()
