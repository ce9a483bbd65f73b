"""One partition's output in Kafka transactions, and what was committed so far.

Everything a partition gives goes out under one transactional id: examples with their progress, dead letters,
and now and then the state. Whoever takes a partition over initialises that id first. From then on the broker
refuses what the former owner still sends (a process that was thought dead and wakes up), and what it had not
committed is gone. So what is read afterwards is the whole truth.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced  # type: ignore[import-untyped]

from state import example_wire, progress
from state.progress import Progress
from streams.engines import produced
from streams.engines.output import Output
from streams.kafka.security import Security
from streams.kafka.topics import Topics
from streams.wire.message import Message, message_of

produced.install()

_READ_MS = 200
_CLOSE_S, _ANSWER_S, _TRANSACTION_MS = 5, 15, 20_000
COMMIT_S = _TRANSACTION_MS / 1000
"""After which the broker has ended a transaction, so that nobody need wait for its commit."""
_NEAR_END = 32
"""Records to look back for the newest one; markers of transactions are among them."""
_MOST_BYTES = 1 << 20


FAILURES = (KafkaError, TimeoutError, IllegalOperation)
"""What a broker that is away, or in trouble, ends in; the last where a transaction was left in the middle."""


class Fenced(Exception):
    """Another worker has taken the partition over."""


class Gone(Exception):
    """What was to be read is not there (any more)."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"the oldest offset is {oldest}")
        self.oldest = oldest


class Outlet:
    """Where one partition's output goes."""

    def __init__(self, brokers: str, topics: Topics, group: str, partition: int, security: Security) -> None:
        self.topics, self.partition = topics, partition
        self._to: dict[str, Any] = {"bootstrap_servers": brokers, **security.aiokafka()}
        self._producer: Any = AIOKafkaProducer(
            transactional_id=f"{group}-{topics.events}-{partition}",
            transaction_timeout_ms=_TRANSACTION_MS,
            max_batch_size=_MOST_BYTES,
            max_request_size=_MOST_BYTES,
            **self._to,
        )

    async def open(self) -> None:
        """Fence off whoever had the partition. Raises KafkaError, TimeoutError."""
        topics = self.topics
        async with asyncio.timeout(_ANSWER_S):
            await self._producer.start()
            for topic in (topics.examples, topics.dead_letters, topics.changelog):
                if self.partition not in await self._producer.partitions_for(topic):
                    raise TimeoutError(f"there is no partition {self.partition} of the topic {topic!r} yet")
            await self._producer.begin_transaction()

    async def committed(self) -> Progress:
        """How far the partition's examples have come. Raises KafkaError, msgspec.DecodeError."""
        at = TopicPartition(self.topics.examples, self.partition)
        async with self._reading(at) as (consumer, first, end):
            back = _NEAR_END
            while end > first:
                start = max(first, end - back)
                newest = None
                async for record in _records(consumer, at, start, end):
                    newest = record
                if newest is not None:
                    said = dict(newest.headers)[progress.HEADER]
                    return progress.progress(said)
                end, back = start, back * 8
        return Progress()

    async def state(self) -> dict[bytes, bytes]:
        """The newest value of every key of the changelog. Raises KafkaError."""
        at = TopicPartition(self.topics.changelog, self.partition)
        found: dict[bytes, bytes] = {}
        async with self._reading(at) as (consumer, first, end):
            async for record in _records(consumer, at, first, end):
                if record.value is None:
                    found.pop(record.key, None)
                else:
                    found[record.key] = record.value
        return found

    async def source(self, first: int, end: int) -> AsyncIterator[list[Message]]:
        """Events from offset `first` to before `end`, as far as they are there, some at a time.

        Raises KafkaError, and Gone where the broker has deleted the first of them.
        """
        at = TopicPartition(self.topics.events, self.partition)
        async with self._reading(at) as (consumer, oldest, newest):
            if oldest > first:
                raise Gone(oldest)
            async for records in _batches(consumer, at, first, min(end, newest)):
                yield [message_of(record) for record in records]

    async def commit(
        self,
        output: Output,
        said: Progress,
        state: Mapping[bytes, bytes | None],
    ) -> None:
        """All of it, or nothing. Raises Fenced, KafkaError; after either this object is of no use."""
        try:
            for topic, key, value, headers in self._sent(output, said, state):
                sent = await self._producer.send(
                    topic, value, key=key, headers=headers, partition=self.partition
                )
                sent.add_done_callback(_seen)
            await self._producer.commit_transaction()
            await self._producer.begin_transaction()
        except ProducerFenced as error:
            raise Fenced(str(error)) from error

    async def close(self) -> None:
        """Without what was not committed."""
        with suppress(TimeoutError, KafkaError):  # the next owner's initialisation ends what is left
            await asyncio.wait_for(self._producer.stop(), timeout=_CLOSE_S)

    def _sent(
        self,
        output: Output,
        said: Progress,
        state: Mapping[bytes, bytes | None],
    ) -> list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]]]]:
        topics = self.topics
        headers = [
            (example_wire.HEADER, example_wire.SCHEMA.encode()),
            (progress.HEADER, progress.encode(said)),
        ]
        return [
            *((topics.examples, None, value, headers) for value in output.examples),
            *(
                (topics.dead_letters, letter.key, letter.value, list(letter.headers))
                for letter in output.dead
            ),
            *((topics.changelog, key, value, []) for key, value in state.items()),
        ]

    @asynccontextmanager
    async def _reading(self, at: TopicPartition) -> AsyncIterator[tuple[Any, int, int]]:
        """A consumer, the first offset there is, and where what is committed ends."""
        consumer = AIOKafkaConsumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 * _MOST_BYTES,
            **self._to,
        )
        try:
            async with asyncio.timeout(_ANSWER_S):
                await consumer.start()
                consumer.assign([at])
                first = (await consumer.beginning_offsets([at]))[at]
                end = (await consumer.end_offsets([at]))[at]
            yield consumer, first, end
        finally:
            with suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(consumer.stop(), timeout=_CLOSE_S)


def _seen(sent: "asyncio.Future[Any]") -> None:
    """Take note of a failure: the transaction says it, too, and asyncio need not."""
    if not sent.cancelled():
        sent.exception()


async def _batches(consumer: Any, at: TopicPartition, first: int, end: int) -> AsyncIterator[list[Any]]:
    if first >= end:
        return
    consumer.seek(at, first)
    while await consumer.position(at) < end:
        for records in (await consumer.getmany(at, timeout_ms=_READ_MS)).values():
            wanted = [record for record in records if record.offset < end]
            if wanted:
                yield wanted


async def _records(consumer: Any, at: TopicPartition, first: int, end: int) -> AsyncIterator[Any]:
    async for records in _batches(consumer, at, first, end):
        for record in records:
            yield record
