"""What happens to the topic of events behind the workers' back."""

import contextlib

from kafka import KafkaAdminClient, TopicPartition  # type: ignore[import-untyped]

from state.progress import Progress
from streams.observer import Observer
from tests.chaos.group import Group


def expire(group: Group, seconds: float) -> None:
    """All workers are away for a while, and half of what comes meanwhile is deleted before they are back."""
    live = group.live
    with group.without(group.named("worker")):
        group.over.wait(seconds)
        with Observer(live.brokers) as observer:
            group.deleted = list(observer.read(live.events))
        read = live.progress()
        ends = {one.partition: one.offset + 1 for one in group.deleted}
        halves = {
            TopicPartition(live.events, partition): _half(read.get(partition, Progress()).next, end)
            for partition, end in ends.items()
        }
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=live.brokers)) as admin:
            admin.delete_records(halves)


def _half(first: int, end: int) -> int:
    return first + (max(end - first, 0) + 1) // 2


def forget(group: Group) -> None:
    """Remove a seed's topics: a broker takes longer to come back the more it has."""
    live = group.live
    names = [live.events, *(f"{live.name}-{what}" for what in ("examples", "dead", "changelog"))]
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=live.brokers)) as admin:
        admin.delete_topics(names)
