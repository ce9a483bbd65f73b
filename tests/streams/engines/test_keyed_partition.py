"""A partition in a map, on a real broker: the map is taken back, or over; the examples are made once."""

import asyncio
import gc
import uuid
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest

from state.errors import EbbtideError, InputError
from state.progress import HEADER, Progress, progress
from streams.engines.keyed import Keyed
from streams.engines.keyed_partition import Destination, KeyedPartition, settled
from streams.engines.output import Output
from streams.kafka import topics
from streams.kafka.client import Producer, ensure_topic
from streams.kafka.observer import Observer
from streams.kafka.topics import Topics
from streams.wire.message import Message
from tests.streams.doors import Map
from tests.streams.engines.test_engine import together
from tests.streams.engines.test_keyed import EVENTS, fresh, sent


@pytest.fixture
def to(brokers: str) -> Destination:
    """Topics of a test's own, with all events in the first of one partition."""
    name = f"keyed-{uuid.uuid4().hex}"
    names = Topics.of_group(name, f"{name}-events", f"{name}-examples", f"{name}-dead")
    ensure_topic(brokers, names.events, 1)
    topics.make_room(brokers, names, 1)
    with Producer(brokers, names.events) as producer:
        for message in sent():
            producer.send(message, 0)
    return Destination(brokers=brokers, group=name, topics=names)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Fenced producers leave failures that nobody asks for: those are collected here, not in another test."""
    made = asyncio.new_event_loop()
    made.set_exception_handler(lambda loop, context: None)
    yield made
    made.close()
    gc.collect()


def read(to: Destination, topic: str) -> list[Message]:
    with Observer(to.brokers) as observer:
        return list(observer.read(topic))


def assert_once(to: Destination, messages: list[Message]) -> None:
    """What is committed is what one plain engine makes of the messages."""
    expected = fresh()
    output = expected.take(messages)
    made = read(to, to.topics.examples)
    values = [one.value for one in made if one.value is not None]
    dead = [one.value for one in read(to, to.topics.dead_letters)]
    assert together([Output(values, [])])[0] == together([output])[0]
    assert dead == [one.value for one in output.dead]
    assert counted(progress(dict(made[-1].headers)[HEADER])) == counted(expected.progress)


async def take(held: KeyedPartition, messages: list[Message], *, settle: bool = True) -> None:
    for message in messages:
        held.add(message)
    await (held.settle() if settle else held.commit())


def counted(progress: Progress) -> Progress:
    """All but what depends on the topic, and how much room the arena has."""
    return msgspec.structs.replace(progress, user_bytes=0, topic_id=None)


@pytest.mark.parametrize(("back", "settles"), [(0, True), (0, False), (1, False), (3, True)])
def test_a_map_is_taken_back_and_the_examples_are_not(
    to: Destination, loop: asyncio.AbstractEventLoop, back: int, settles: bool
) -> None:
    """Whoever has lost the partition can commit nothing more, however late it finds that out."""
    messages, snapshots, lost = read(to, to.topics.events), [Map()], list[KeyedPartition]()

    async def all_of_it() -> None:
        entries = Map()
        held = await KeyedPartition.taken_over(fresh(), entries, to)
        for first, end in pairwise(range(0, EVENTS + 1, 10)):
            await take(held, messages[first:end][::-1], settle=settles or first % 30 == 0)
            snapshots.append(Map(entries))
            if first in (20, 40):
                lost.append(held)
                entries = Map(snapshots[-1 - back])
                held = await KeyedPartition.taken_over(fresh(), entries, to)
                await take(held, messages[max(0, end - 10 * back) : end])
        for one in lost:
            with pytest.raises(EbbtideError, match=r"^partition 0 was taken over by another worker of its"):
                await take(one, messages[-5:])
        for one in (held, *lost):
            await one.close()

    loop.run_until_complete(all_of_it())
    assert_once(to, messages)


def test_a_snapshot_of_before_all_of_it_makes_nothing_again(
    to: Destination, loop: asyncio.AbstractEventLoop
) -> None:
    """And what its state lacks is computed from the events, whoever has their messages now."""
    messages, entries = read(to, to.topics.events), Map()

    async def all_of_it() -> None:
        for later in (Map(), entries):
            held = await KeyedPartition.taken_over(fresh(), later, to)
            await take(held, messages)
            await held.close()

    loop.run_until_complete(all_of_it())
    assert_once(to, messages)


def test_what_is_exported_is_of_the_newest_example_and_the_partition_goes_on(
    to: Destination, loop: asyncio.AbstractEventLoop
) -> None:
    messages, before = read(to, to.topics.events), Map()

    async def all_of_it() -> None:
        held = await KeyedPartition.taken_over(fresh(), Map(), to)
        await take(held, messages[:40])
        engine = fresh()
        await settled(engine, before, to)
        assert engine.progress.offset == 39
        await take(held, messages)
        await held.close()

    loop.run_until_complete(all_of_it())
    assert Keyed(fresh(), before).engine.progress.offset == 39
    assert_once(to, messages)


def test_no_more_than_half_a_megabyte_waits() -> None:
    held = KeyedPartition(Keyed(fresh(), Map()), None)  # type: ignore[arg-type]
    large = Message(b"x" * 300_000, b"1")
    assert held.fits(large)
    held.add(large)
    assert held.waits
    assert not held.fits(large)


def test_a_state_of_other_settings_is_for_good_and_a_partition_that_is_not_there_is_not(
    to: Destination, loop: asyncio.AbstractEventLoop
) -> None:
    entries = Map()
    held = Keyed(fresh(), entries)
    held.engine.take(sent())
    held.settle()

    async def both() -> None:
        with pytest.raises(InputError, match="made with other settings: ahead_ms was 3600000, is 5"):
            await KeyedPartition.taken_over(fresh(ahead_ms=5), entries, to)
        elsewhere = fresh()
        elsewhere.partition = 1
        with pytest.raises(EbbtideError, match=r"partition 1: there is no partition 1 of the topic") as told:
            await KeyedPartition.taken_over(elsewhere, Map(), to)
        assert not isinstance(told.value, InputError)

    loop.run_until_complete(both())
