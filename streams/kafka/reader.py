"""A topic read from given offsets on, as it is committed: for whoever keeps its own place."""

import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from state.errors import InputError
from streams.kafka.client import FAILED, NOT_THERE, asking, consumer, hear_anew, known, partition_at
from streams.kafka.refusals import turned_away
from streams.wire.message import Message, message_of

_AHEAD_BYTES = 64 << 20
"""Read ahead, in all partitions together, about."""
_LEAST_BYTES = 1 << 20
_FETCH_BYTES = 8 << 20
_RECORDS = 1000
_LOOK_MS = 2000
"""How old what is known of the topic may be, and how long it is to the next try where nobody answers."""
_SILENCE_S = 0.1
"""In so long a topic may be made anew: what comes after it is of the topic that is asked for then."""
_AWAY_S = 6.0
"""A broker that has turned us away within so long, and sent nothing, is away."""


class LostError(InputError):
    """Messages that were to be read are gone."""


class Reader:
    """Messages of every partition, each partition's in order; a member of no group.

    `offsets` says where to begin in a partition; the others are read from their first message on, also those
    that are added later. `fill` waits for messages, `take` hands them out. A topic that is not there yet is
    waited for; a broker that goes away, too. Raises InputError where a partition does not reach back to its
    offset, and where the topic is not the one with `topic_id`, or not any more.
    """

    def __init__(
        self, brokers: str, topic: str, offsets: Mapping[int, int], topic_id: str | None = None
    ) -> None:
        self.brokers, self.topic = brokers, topic
        self.topic_id = topic_id
        """That offsets are of; None where the broker does not tell."""
        self.trouble: str | None = None
        """Why nothing comes."""
        self._offsets = dict(offsets)
        self._held: dict[int, deque[Message]] = {}
        self._bytes: dict[int, int] = {}
        self._paused: set[int] = set()
        self._rewound = False
        self._heard_s = 0.0
        """When messages came last."""
        self._consumer = consumer(
            brokers,
            auto_offset_reset="none",
            max_poll_records=_RECORDS,
            max_partition_fetch_bytes=_LEAST_BYTES,
            fetch_max_bytes=_FETCH_BYTES,
            metadata_max_age_ms=_LOOK_MS,
            reconnect_backoff_max_ms=_LOOK_MS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def fill(self, timeout_ms: int) -> bool:
        """Wait until messages come, that long at most; whether any came."""
        if not self._held and not self._begun():
            time.sleep(timeout_ms / 1000)
            return False
        try:
            polled = self._poll(timeout_ms)
            self._look(quiet=not polled)
        except NOT_THERE as error:
            raise self._lost(f"{error}") from error
        except FAILED as error:
            self.trouble = f"{self.brokers}: {error!r}"
            time.sleep(timeout_ms / 1000)
            return False
        for at, records in polled.items():
            messages = [message_of(record) for record in records]
            self._held[at.partition].extend(messages)
            self._bytes[at.partition] += sum(map(_size, messages))
        self._restrain()
        return bool(polled)

    def rewind(self, offsets: Mapping[int, int]) -> None:
        """Begin again at other offsets; what is at hand is forgotten."""
        self._offsets = dict(offsets)
        self._consumer.resume(*(partition_at(self.topic, p) for p in self._paused))
        self._held, self._bytes, self._paused = {}, {}, set()
        self._rewound = True

    def take(self, partition: int | None = None) -> Message | None:
        """The next message of a partition, or else the oldest at hand by the broker's time; None if none."""
        if partition is None:
            heads = [(held[0].produced_ms, p) for p, held in self._held.items() if held]
            if not heads:
                return None
            partition = min(heads)[1]
        held = self._held.get(partition)
        if not held:
            return None
        message = held.popleft()
        self._bytes[partition] -= _size(message)
        return message

    @property
    def lag(self) -> int:
        """Messages that are there and were not taken, as far as is known."""
        behind = 0
        for partition, held in self._held.items():
            at = partition_at(self.topic, partition)
            end = self._consumer.highwater(at)
            if end is not None:
                behind += max(0, end - self._consumer.position(at)) + len(held)
        return behind

    def _poll(self, timeout_ms: int) -> dict[Any, list[Any]]:
        """What comes; a broker names topics with messages by their name alone, so their id is asked for."""
        polled: dict[Any, list[Any]] = self._consumer.poll(timeout_ms=timeout_ms)
        if polled and time.monotonic() - self._heard_s > _SILENCE_S:
            try:
                hear_anew(self._consumer)
            except FAILED:
                for at, records in polled.items():
                    self._consumer.seek(at, records[0].offset)
                raise
        return polled

    def _look(self, *, quiet: bool) -> None:
        """Whether the topic is still the same, as far as the client has heard; what is added is read, too."""
        partitions, topic_id = known(self._consumer, self.topic)
        self._check(topic_id)
        self._heard_s = self._heard_s if quiet else time.monotonic()
        away = turned_away(min(_AWAY_S, time.monotonic() - self._heard_s))
        self.trouble = None
        if away is not None:
            self.trouble = f"{self.brokers}: cannot be reached ({away}); reading goes on once it answers"
        elif not partitions:
            self.trouble = f"there is no topic {self.topic!r} any more: start `ebbtide ingest`"
        elif not partitions <= set(self._held):
            self._grow()

    def _grow(self) -> None:
        """Take new partitions in, once their leaders answer."""
        try:
            self._begin()
        except LostError:
            raise
        except InputError as error:
            self.trouble = str(error)

    def _check(self, topic_id: str | None) -> None:
        self.topic_id = self.topic_id or topic_id
        if topic_id not in (None, self.topic_id):
            raise self._lost("it is not the topic that was read")

    def _begun(self) -> bool:
        """Whether reading has begun; else the trouble says why not."""
        try:
            if self._begin():
                return True
            self.trouble = f"there is no topic {self.topic!r} yet: start `ebbtide ingest`"
        except LostError:
            raise
        except InputError as error:
            if not self._rewound:
                raise
            self.trouble = str(error)
        return False

    def _begin(self) -> bool:
        """Go to where reading begins in partitions that are new; False if there is no such topic."""
        with asking(self.brokers):
            there = [
                partition_at(self.topic, p) for p in self._consumer.partitions_for_topic(self.topic) or ()
            ]
            if not there:
                return False
            self._check(known(self._consumer, self.topic)[1])
            first, end = self._consumer.beginning_offsets(there), self._consumer.end_offsets(there)
            self._consumer.assign(there)
        for at in there:
            if at.partition in self._held:
                continue
            offset = self._offsets.get(at.partition, first[at])
            if not first[at] <= offset <= end[at]:
                raise self._lost(f"{at.partition}: expected offset {offset} in {first[at]} to {end[at]}")
            self._consumer.seek(at, offset)
            self._held[at.partition], self._bytes[at.partition] = deque(), 0
        return True

    def _restrain(self) -> None:
        """Read no further ahead where much waits."""
        most = max(_LEAST_BYTES, _AHEAD_BYTES // len(self._held))
        full = {p for p, size in self._bytes.items() if size > most}
        for partitions, do in (
            (full - self._paused, self._consumer.pause),
            (self._paused - full, self._consumer.resume),
        ):
            if partitions:
                do(*(partition_at(self.topic, p) for p in partitions))
        self._paused = full

    def _lost(self, what: str) -> LostError:
        return LostError(
            f"{self.topic}/{what}; messages that were not read are gone, or the topic was made anew: "
            "let the broker keep them for longer (retention.ms), and begin again with another --checkpoint"
        )


def _size(message: Message) -> int:
    return len(message.value or b"")
