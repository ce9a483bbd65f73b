"""A fresh engine brought to where its partition was committed: the state, and what was computed since."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from state.errors import InputError
from state.progress import Progress
from streams.engines.outlet import Gone, Outlet
from streams.engines.partition import Engine
from streams.kafka import topics
from streams.kafka.place import Span
from streams.kafka.security import Security
from streams.wire.message import Message

log = logging.getLogger("ebbtide.ingest")

_MOST_MESSAGES, MOST_BYTES = 4096, 512 << 10
"""What goes through an engine at a time, and out in a transaction, about."""


async def restored(engine: Engine, outlet: Outlet, span: Span, state: Mapping[bytes, bytes]) -> int:
    """Bring a fresh engine to the last committed example; returns the offset at which `state` was saved.

    Raises KafkaError, InputError.
    """
    engine.restore(state)
    saved = engine.progress.offset
    await caught_up(engine, outlet, span)
    return saved


async def caught_up(engine: Engine, outlet: Outlet, span: Span) -> None:
    """Bring an engine from its state to the last committed example, by the events themselves.

    Raises KafkaError.
    """
    committed, saved = await outlet.committed(), engine.progress.offset
    remade = engine.progress.topic_id not in (None, span.topic_id) or span.end < committed.next
    missing = committed.offset - saved if remade else await _computed(engine, outlet, committed)
    if missing > 0:
        engine.forgo(committed)
        log.warning(
            "partition %d: %d messages were deleted after they had been dealt with, and before what is "
            "remembered of them was saved: memory goes on without them",
            engine.partition,
            missing,
        )


async def span_of(brokers: str, topic: str, partition: int, security: Security) -> Span:
    """What there is of a partition. Raises TimeoutError where there is none, or nobody says it."""
    try:
        found = await asyncio.to_thread(topics.look, brokers, topic, security)
    except InputError as error:
        raise TimeoutError(str(error)) from error
    if partition not in found:
        raise TimeoutError(f"there is no partition {partition} of the topic {topic!r}")
    return found[partition]


async def _computed(engine: Engine, outlet: Outlet, committed: Progress) -> int:
    """Bring an engine to what was committed; returns how many messages for that are gone."""
    missing = 0
    while engine.progress.offset < committed.offset:
        try:
            async for messages in outlet.source(engine.progress.next, committed.next):
                for part in parts(messages):
                    engine.take(part)
            break
        except Gone as gone:
            first = engine.progress.next
            engine.lose(min(gone.oldest, committed.next))
            missing += engine.progress.next - first
    return missing


def parts(messages: Sequence[Message]) -> list[list[Message]]:
    """Cut so that no part is large."""
    found: list[list[Message]] = [[]]
    size = 0
    for message in messages:
        size += len(message.value or b"")
        if size > MOST_BYTES or len(found[-1]) >= _MOST_MESSAGES:
            found.append([])
            size = len(message.value or b"")
        found[-1].append(message)
    return found
