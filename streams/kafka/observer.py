"""What is in topics by now, for those who only look: status, dead letters.

The newest message of a partition is not simply before its end: every transaction leaves a marker there, which
takes an offset, and what was aborted takes more.
"""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from state.progress import HEADER, Progress, progress
from streams.kafka.client import asking, consumer, partition_at
from streams.kafka.refusals import unreachable
from streams.wire.message import Message, message_of

_PATIENCE_S = 10.0
_POLL_MS = 200
_NEAR_END, _FURTHER = 2, 16
"""Offsets to look back for the newest message, at first, and how much further every time."""


class Observer:
    """Looks into topics as they are committed, a member of no group.

    Every method raises InputError where the broker does not answer. Close it, or use `with`.
    """

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers
        self._consumer = consumer(brokers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """Of a topic; none where there is no such topic."""
        with asking(self.brokers):
            return sorted(self._consumer.partitions_for_topic(topic) or ())

    def message(self, topic: str, partition: int, offset: int) -> Message | None:
        """The one at this very place, if it is there."""
        with asking(self.brokers):
            there = [at for at in self._there(topic) if at.partition == partition]
            first, end = self._consumer.beginning_offsets(there), self._consumer.end_offsets(there)
        messages = (
            message
            for at in there
            if first[at] <= offset < end[at]
            for message in self._between(at, offset, offset + 1)
        )
        return next(messages, None)

    def newest(self, topic: str) -> dict[int, Message]:
        """Partition -> its newest message; without those that have none."""
        with asking(self.brokers):
            there = self._there(topic)
            first, end = self._consumer.beginning_offsets(there), self._consumer.end_offsets(there)
            newest: dict[int, Message] = {}
            for at in there:
                message = self._last(at, first[at], end[at])
                if message is not None:
                    newest[at.partition] = message
        return newest

    def progress(self, examples: str) -> dict[int, Progress]:
        """Partition -> how far its examples have come; without those that have none."""
        newest = self.newest(examples)
        return {partition: progress(dict(message.headers)[HEADER]) for partition, message in newest.items()}

    def behind(self, topic: str, offsets: Mapping[int, int]) -> dict[int, int]:
        """How many offsets lie between what is read next and the newest message: 0 if there is none after it.

        A transaction's marker takes an offset at its end, and a reader need not have gone past that.
        """
        with asking(self.brokers):
            there = [at for at in self._there(topic) if at.partition in offsets]
            end = self._consumer.end_offsets(there)
            behind = {}
            for at in there:
                following = offsets[at.partition]
                message = self._last(at, following, end[at])
                behind[at.partition] = 0 if message is None else message.offset + 1 - following
        return behind

    def read(self, topic: str, since: Mapping[int, int] | None = None) -> Iterator[Message]:
        """What is in a topic by now, partition after partition; from these offsets on, if any are given."""
        with asking(self.brokers):
            there = self._there(topic)
            first, end = self._consumer.beginning_offsets(there), self._consumer.end_offsets(there)
        for at in there:
            yield from self._between(at, max(first[at], (since or {}).get(at.partition, 0)), end[at])

    def _there(self, topic: str) -> list[Any]:
        return [partition_at(topic, partition) for partition in self.partitions(topic)]

    def _last(self, at: Any, first: int, end: int) -> Message | None:
        """The newest message from `first` to before `end`; transactions' markers may follow it."""
        back = _NEAR_END
        while end > first:
            start = max(first, end - back)
            newest = None
            for message in self._between(at, start, end):
                newest = message
            if newest is not None or start == first:
                return newest
            end, back = start, back * _FURTHER
        return None

    def _between(self, at: Any, first: int, end: int) -> Iterator[Message]:
        with asking(self.brokers):
            self._consumer.assign([at])
            self._consumer.seek(at, first)
        deadline = time.monotonic() + _PATIENCE_S
        while self._consumer.position(at) < end:
            with asking(self.brokers):
                records = self._consumer.poll(timeout_ms=_POLL_MS).get(at, ())
            if records:
                deadline = time.monotonic() + _PATIENCE_S
            elif time.monotonic() > deadline:
                raise unreachable(self.brokers, TimeoutError(f"no answer about {at.topic}/{at.partition}"))
            yield from (message_of(record) for record in records if record.offset < end)
