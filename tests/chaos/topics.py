"""What happens to the topic of events behind the workers' back."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kafka import KafkaAdminClient, TopicPartition  # type: ignore[import-untyped]
from kafka.errors import KafkaError  # type: ignore[import-untyped]

from replay.faults import What
from state.errors import EbbtideError
from state.progress import Progress
from streams.kafka.client import ensure_topic
from streams.kafka.observer import Observer
from tests.chaos.group import PARTITIONS, Group
from tests.patience import PATIENCE_S, until

_MORE = 2
_AGAIN_S, _TAKE_OVER_S = 0.5, 8.0


def change(group: Group, what: What, seconds: float) -> None:
    """One of expire, grow and renew, once every partition has been read from."""
    until(group.progress, _all_begun)
    {"expire": _expire, "grow": _grow, "renew": _renew}[what](group, seconds)


def _all_begun(progress: Mapping[int, Progress]) -> bool:
    return len(progress) == PARTITIONS and all(one.offset >= 0 for one in progress.values())


def _expire(group: Group, seconds: float) -> None:
    """All workers leave for a while, and half of what comes meanwhile is deleted before they are back.

    They are asked to, so that their states are saved: what they have read is deleted as well. Who was killed
    a moment before has not saved, and nobody may have taken its partitions over: then they are asked again.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        with group.without(group.named("worker"), asked=True):
            if until(lambda: _all_saved(group), lambda said: said is not None):
                group.over.wait(seconds)
                with group.sender.silent():
                    _delete_half(group)
                return
        group.over.wait(_TAKE_OVER_S)
    raise AssertionError("workers that were asked to leave did not save their states")


def _delete_half(group: Group) -> None:
    live = group.live
    _remember(group)
    read = until(group.progress, _all_begun)
    ends = {one.partition: one.offset + 1 for one in group.gone}
    halves = {
        TopicPartition(live.events, partition): (read[partition].next + end + 1) // 2
        for partition, end in ends.items()
        if read[partition].next < end
    }
    _asked(live.brokers, lambda admin: admin.delete_records(halves))


def _all_saved(group: Group) -> bool | None:
    """Whether every partition's state is saved as of its last committed example; None while nobody knows."""
    try:
        with Observer(group.live.brokers) as observer:
            records = [one for one in observer.read(f"{group.live.name}-changelog") if one.key == b"engine"]
    except EbbtideError:
        return None
    saved = {one.partition: json.loads(one.value or b"{}")["progress"]["offset"] for one in records}
    read = group.progress()
    if not _all_begun(read):
        return None
    return all(saved.get(partition) == one.offset for partition, one in read.items())


def _grow(group: Group, _: float) -> None:
    """More partitions; senders use them at once."""
    live, wanted = group.live, PARTITIONS + _MORE
    with group.sender.silent():

        def grown(admin: Any) -> None:
            with contextlib.suppress(KafkaError):  # it may be done, and the answer was lost
                admin.create_partitions({live.events: wanted})
            if len(admin.describe_topics([live.events])[0]["partitions"]) != wanted:
                raise KafkaError("not yet")

        _asked(live.brokers, grown)
        group.sender.partitions = wanted


def _renew(group: Group, seconds: float) -> None:
    """The topic is deleted, and made anew a moment later; what nobody has read is gone."""
    live = group.live
    with group.sender.silent():
        _remember(group)

        def deleted(admin: Any) -> None:
            if live.events in admin.list_topics():
                admin.delete_topics([live.events])
                raise KafkaError("not yet")

        _asked(live.brokers, deleted)
        group.over.wait(seconds)
        _asked(live.brokers, lambda admin: ensure_topic(live.brokers, live.events, PARTITIONS))


def _remember(group: Group) -> None:
    def read(_: Any) -> None:
        with Observer(group.live.brokers) as observer:
            group.gone = list(observer.read(group.live.events))

    _asked(group.live.brokers, read)


def _asked(brokers: str, do: Callable[[Any], object]) -> None:
    """Something, done by the broker; again until it works, for it may be away."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            with _admin(brokers) as admin:
                do(admin)
            return
        except (KafkaError, EbbtideError, OSError, ValueError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_AGAIN_S)


@contextlib.contextmanager
def _admin(brokers: str) -> Iterator[Any]:
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=brokers)) as admin:
        yield admin


def forget(group: Group) -> None:
    """Remove a seed's topics: a broker takes longer to come back the more it has."""
    live = group.live
    names = [live.events, *(f"{live.name}-{what}" for what in ("examples", "dead", "changelog"))]
    with _admin(live.brokers) as admin:
        admin.delete_topics(names)
