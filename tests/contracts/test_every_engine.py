"""What becomes of messages, whoever runs the engine: this process, a map, a worker, a job of Flink."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from state import example_wire
from state.examples import concat
from state.progress import OTHERS, Progress
from streams.engines.output import Output
from streams.schema import EventBatch
from streams.wire import arrow_form
from streams.wire.decode import decode
from streams.wire.letters import DETAIL, REASON, SOURCE
from streams.wire.message import HEADER, Message
from tests.streams.doors import EXPIRE_MS, HOUR_MS, Door, InAMap, Open, Workers, plain
from tests.streams.engines.test_engine import NOW_MS, YEAR_2099_MS, event, reasons, together

AHEAD = "bad time: ahead of the broker"
DAY_MS = 24 * HOUR_MS
LATE_MS = DAY_MS
"""How late an event may be, by default."""

POISON: dict[str, Callable[[], Message]] = {
    "malformed json": lambda: Message(b'{"user": 1, "item"', b"1"),
    "no item": lambda: Message(b'{"user": 1, "time": 5}', b"1"),
    "unknown schema": lambda: Message(b"{}", b"1", ((HEADER, b"event+json/9"),)),
    "malformed arrow": lambda: Message(b"\xff\xff\xff\xff\x10\x00\x00\x00abc", b"1"),
    "no key": lambda: Message(b'{"user": 1, "item": 2, "time": 5}'),
    "tombstone": lambda: Message(None, b"1"),
    "oversized": lambda: Message(b'{"text": "' + b"x" * 1_000_000 + b'"}', b"1"),
}


@pytest.fixture(
    scope="module", params=["plain", "in a map", "ingest", pytest.param("flink", marks=pytest.mark.flink)]
)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Every door, one after the other."""
    here: dict[str, Open] = {"plain": plain, "in a map": InAMap}
    if request.param in here:
        yield here[request.param]
        return
    brokers = request.getfixturevalue("brokers")
    workers = Workers(request.param, brokers, tmp_path_factory.mktemp(request.param))
    yield workers.door
    workers.end()


def at(door: Door, message: Message, offset: int) -> Message:
    """A message where the door reads it."""
    return message._replace(partition=door.partition, offset=offset, produced_ms=NOW_MS)


def headers(letter: Message) -> dict[str, str]:
    return {name: content.decode() for name, content in letter.headers}


def counted(progress: Progress) -> Progress:
    """All but what depends on the topic, and how much room the arena has."""
    return msgspec.structs.replace(progress, user_bytes=0, topic_id=None)


def same_as_plain(door: Door, waits_ms: int, cuts: list[list[Message]]) -> list[Output]:
    """What messages come to by a door, cut as they are; it is what one plain engine makes of all of them."""
    expected = plain(waits_ms)
    expected.topic, expected.partition = door.topic, door.partition
    there = [[one._replace(partition=door.partition) for one in some] for some in cuts]
    wanted = together([expected.take([one for some in there for one in some])])
    outputs = [door.take(some) for some in there]
    digests, letters = together(outputs)
    assert (digests, [said(one) for one in letters]) == (wanted[0], [said(one) for one in wanted[1]])
    assert counted(door.progress) == counted(expected.progress)
    return outputs


def said(letter: Message) -> tuple[Any, ...]:
    """Rows of Arrow by what they hold: versions of its library write them in other bytes."""
    value: Any = letter.value
    if value is not None and arrow_form.is_arrow(value):
        rows = decode([letter._replace(partition=0, offset=0)]).events
        value = [getattr(rows, name).tobytes() for name in EventBatch.__slots__]
    return letter.key, value, sorted(letter.headers)


def test_an_event_of_2099_is_a_dead_letter_and_deafens_nobody(opened: Open) -> None:
    door = opened(0)
    some = [event(0, NOW_MS - 5), event(1, YEAR_2099_MS), event(2, NOW_MS - 4)]
    [output] = same_as_plain(door, 0, [some])
    progress = door.progress
    assert (progress.examples, progress.clock_ms, progress.late) == (2, NOW_MS - 4, 0)
    [letter] = output.dead
    assert letter.value == some[1].value
    assert headers(letter)[REASON] == AHEAD
    assert headers(letter)[SOURCE] == f"{door.topic}/{door.partition}/1"
    assert headers(letter)[DETAIL] == (
        "2099-01-01T00:00:00.000Z is ahead of 2025-11-24T16:00:00.000Z, when the broker had it, by more than "
        "3,600,000 ms (--ahead): a clock that is wrong, or another unit"
    )


def test_every_event_is_accounted_for_and_late_ones_can_be_seen(opened: Open) -> None:
    door = opened(0)
    some = [
        event(0, NOW_MS, event_id="a"),
        event(1, NOW_MS, event_id="a"),
        event(2, NOW_MS - LATE_MS - 1),
        event(3, YEAR_2099_MS),
        Message(b"{", b"ann", (), 0, 4, NOW_MS),
        event(5, NOW_MS - LATE_MS),
    ]
    [output] = same_as_plain(door, 0, [some])
    progress = door.progress
    assert (progress.examples, progress.duplicates, progress.late) == (2, 1, 1)
    assert progress.dead_letters == {AHEAD: 1, "malformed json": 1}
    accounted = progress.examples + progress.duplicates + progress.late + sum(progress.dead_letters.values())
    assert progress.events == accounted
    assert reasons(output) == ["late", AHEAD, "malformed json"]
    assert output.dead[0].value == some[2].value
    assert headers(output.dead[0])[DETAIL] == (
        "2025-11-23T15:59:59.999Z is older than the partition's newest event by more than 86,400,000 ms "
        "(operator.lateness_ms)"
    )


def test_poison_is_a_dead_letter_and_the_partition_moves_on(opened: Open) -> None:
    door, some = opened(0), list[Message]()
    for make in POISON.values():
        some += [event(len(some), NOW_MS), at(door, make(), len(some) + 1)]
    some.append(event(len(some), NOW_MS))
    [output] = same_as_plain(door, 0, [some])
    assert reasons(output) == list(POISON)
    assert door.progress.dead_letters == dict.fromkeys(POISON, 1)
    assert door.progress.examples == len(POISON) + 1
    for letter, (reason, make) in zip(output.dead, POISON.items(), strict=True):
        assert letter.key == make().key
        assert letter.value == (None if reason == "oversized" else make().value)


def test_both_forms_in_one_partition_keep_their_order(opened: Open) -> None:
    """JSON and Arrow, in calls of any size; rows of a batch are turned down one by one, or together."""
    size = 200
    wrong = np.arange(size) % 3 == 0
    time_ms = np.where(wrong, YEAR_2099_MS, NOW_MS + np.arange(size))
    time_ms[5] = NOW_MS - 10**9
    ids = np.arange(size)
    batch = arrow_form.encode(EventBatch.of(user=ids % 5, item=ids, time_ms=time_ms), {})
    door = opened(0)
    whole = Message(batch, b"0", (), 0, 1, NOW_MS)
    cuts = [[event(0, NOW_MS, user=3)], [whole], [event(2, NOW_MS, user=3), event(3, NOW_MS, user=4)]]
    outputs = same_as_plain(door, 0, cuts)
    count = int(wrong.sum())
    assert door.progress.dead_letters == {AHEAD: count}
    assert (door.progress.late, door.progress.examples) == (1, size - count - 1 + 3)
    dead = outputs[1].dead
    assert sorted(reasons(outputs[1])) == [AHEAD, "late"]
    [ahead] = [letter for letter in dead if headers(letter)[REASON] == AHEAD]
    assert f"; and {count - 1} more like it, all here" in headers(ahead)[DETAIL]
    assert decode([ahead]).events.item_B.tolist() == ids[wrong].tolist()


def test_unknown_fields_are_counted_by_name_up_to_a_bound(opened: Open) -> None:
    door = opened(0)
    some = [event(i, NOW_MS, **{f"field {i}": 1, "lable": 0, "n" * 1000: 1}) for i in range(20)]
    same_as_plain(door, 0, [some[:7], some[7:]])
    unknown = door.progress.unknown_fields
    assert unknown["lable"] == unknown["n" * 64] == 20
    assert (len(unknown), unknown[OTHERS]) == (17, 20 - 14)


def test_an_impression_waits_for_its_label_and_goes_on_unanswered_without(opened: Open) -> None:
    door = opened(HOUR_MS)
    shown = [event(n, NOW_MS + n, label=None, event_id=f"e{n}") for n in range(4)]
    clicked = event(4, NOW_MS + 9, event_id="e2")
    later_ms = NOW_MS + 2 * HOUR_MS
    last = event(5, later_ms, event_id="e9", broker_ms=later_ms)
    too_late = event(6, later_ms, event_id="e1", broker_ms=later_ms)
    outputs = same_as_plain(door, HOUR_MS, [shown[:2], [*shown[2:], clicked], [last, too_late]])
    batches = [example_wire.decode(value).batch for output in outputs for value in output.examples]
    examples = concat([batch for batch in batches if len(batch)])
    assert examples.offset_B.tolist() == [2, 0, 1, 3, 5]
    assert examples.label_B.tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert reasons(outputs[2]) == ["late label"]


def test_who_has_been_silent_for_too_long_comes_back_as_never_seen(opened: Open) -> None:
    door = opened(0)

    def visit(offset: int, time_ms: int, user: str) -> Message:
        return event(offset, time_ms, user=user, broker_ms=time_ms)

    long_ago = NOW_MS - 2 * EXPIRE_MS
    first = [visit(0, long_ago, "ann"), visit(1, long_ago, "bob"), visit(2, long_ago + EXPIRE_MS - 1, "bob")]
    back = [visit(3, long_ago + EXPIRE_MS + HOUR_MS, "ann"), visit(4, long_ago + EXPIRE_MS + HOUR_MS, "bob")]
    outputs = same_as_plain(door, 0, [first, back])
    batches = [example_wire.decode(value).batch for value in outputs[1].examples]
    assert concat([batch for batch in batches if len(batch)]).user_rates_BR[:, 0].tolist() == [0.0, 2.0]
    assert (door.progress.users, door.progress.expired) == (2, 1)


@pytest.mark.parametrize("waits_ms", [0, HOUR_MS])
def test_any_stream_comes_to_the_same(opened: Open, waits_ms: int) -> None:
    """Users that come back, events twice, at no time, late, without labels, broken; in calls of any size."""
    random = np.random.default_rng(waits_ms)
    some = list[Message]()
    for offset in range(120):
        time_ms = NOW_MS + offset * 60_000 - int(random.choice([0, 0, 0, HOUR_MS, 2 * LATE_MS]))
        label = None if random.random() < 0.3 else float(random.integers(0, 2))
        one = event(
            offset,
            YEAR_2099_MS if random.random() < 0.03 else time_ms,
            broker_ms=NOW_MS + offset * 60_000,
            user=f"u{random.integers(0, 7)}",
            event_id=int(random.integers(0, 80)),
            label=label,
        )
        some.append(one if random.random() > 0.05 else one._replace(value=json.dumps({"user": 1}).encode()))
    edges = [0, 1, 2, 40, 41, 119, 120]
    cuts = [some[first:end] for first, end in pairwise(edges)]
    outputs = same_as_plain(opened(waits_ms), waits_ms, cuts)
    assert any(output.dead for output in outputs)
