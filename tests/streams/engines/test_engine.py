"""One partition: whose time is trusted, what becomes of every event, and where reading goes on."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state import example_wire
from state.errors import InputError
from state.examples import concat
from state.progress import Progress
from state.tree import digest
from streams.engines.engine_config import EngineConfig
from streams.engines.output import NOTHING, Output
from streams.engines.partition import Engine
from streams.kafka.place import Span
from streams.wire.letters import REASON, SOURCE
from streams.wire.message import Message, iso

NOW_MS, HOUR_MS = 1_764_000_000_000, 3_600_000
"""2025-11-24T16:00Z."""
YEAR_2099_MS = 4_070_908_800_000


def event(offset: int, time_ms: int, *, broker_ms: int = NOW_MS, **more: Any) -> Message:
    said = {"user": "ann", "item": offset % 7, "time": iso(time_ms), "label": 1, **more}
    return Message(json.dumps(said).encode(), b"ann", (), 0, offset, broker_ms)


def engine(**settings: Any) -> Engine:
    return Engine(EngineConfig(window=8, **settings), "events", 0)


def reasons(output: Output) -> list[str]:
    return [dict(one.headers)[REASON].decode() for one in output.dead]


def together(outputs: Iterable[Output]) -> tuple[str, list[Message]]:
    """What came out, however it was cut."""
    made = list(outputs)
    batches = [example_wire.decode(value) for one in made for value in one.examples]
    examples = concat([one.batch for one in batches if len(one.batch)])
    return digest(replace(examples, window=None).tree()), [letter for one in made for letter in one.dead]


@pytest.mark.parametrize(("ahead_ms", "dead"), [(HOUR_MS, 0), (HOUR_MS - 1, 1), (0, 1)])
def test_how_far_ahead_is_a_setting(ahead_ms: int, dead: int) -> None:
    one = engine(ahead_ms=ahead_ms)
    assert reasons(one.take([event(0, NOW_MS + HOUR_MS)])) == ["bad time: ahead of the broker"] * dead
    with pytest.raises(InputError, match="ahead_ms: expected at least 0, got -1"):
        engine(ahead_ms=-1)


def test_a_message_without_a_time_is_bounded_by_those_before_it() -> None:
    one = engine()
    assert reasons(one.take([event(0, NOW_MS), event(1, YEAR_2099_MS, broker_ms=-1)])) == [
        "bad time: ahead of the broker"
    ]
    other = engine()
    other.restore({key: value for key, value in one.records().items() if value is not None})
    assert reasons(other.take([event(2, YEAR_2099_MS, broker_ms=-1)])) == ["bad time: ahead of the broker"]


def test_a_log_of_old_events_is_not_ahead_of_anything() -> None:
    one = engine()
    assert one.take([event(0, 875_000_000_000), event(1, NOW_MS)]).dead == []
    assert (one.progress.examples, one.progress.clock_ms) == (2, NOW_MS)


TIMES = st.sampled_from([NOW_MS, NOW_MS - HOUR_MS, NOW_MS - 10**9, NOW_MS + 2 * HOUR_MS, YEAR_2099_MS, 0])
FIELDS = st.sampled_from(["lable", "prise", "x"])


@given(st.lists(st.tuples(TIMES, FIELDS), min_size=2, max_size=12), st.data())
def test_cutting_messages_otherwise_changes_nothing(
    drawn: list[tuple[int, str]], data: st.DataObject
) -> None:
    sent = [event(i, time_ms, **{field: 1}) for i, (time_ms, field) in enumerate([(NOW_MS, "y"), *drawn])]
    cut = data.draw(st.integers(1, len(drawn)))
    whole, parts = engine(), engine()
    expected = together([whole.take(sent)])
    assert together([parts.take(sent[:cut]), parts.take(sent)]) == expected
    assert parts.progress == whole.progress


def test_what_the_broker_had_deleted_is_counted_and_reading_goes_on() -> None:
    one = engine()
    one.take([event(0, NOW_MS), event(1, NOW_MS)])
    [value] = one.lose(100).examples
    assert len(example_wire.decode(value).batch) == 0
    assert (one.progress.lost, one.progress.lost_last, one.progress.next) == (98, (2, 99), 100)
    assert one.take([event(99, NOW_MS)]) == NOTHING
    one.take([event(100, NOW_MS)])
    one.lose(111)
    assert (one.progress.examples, one.progress.lost, one.progress.lost_last) == (3, 108, (101, 110))


def test_what_cannot_be_computed_again_is_missing_in_memory_and_not_in_the_counts() -> None:
    messages = [event(n, NOW_MS + n, event_id=n % 9) for n in range(20)]
    whole, other = engine(), engine()
    whole.take(messages)
    other.take(messages[:4])
    other.forgo(whole.progress)
    assert other.progress == whole.progress
    rest = [event(n, NOW_MS + n, event_id=n // 2) for n in (100, 101, 102)]
    for one in (whole, other):
        one.take(rest)
    for name in ("offset", "events", "examples", "duplicates", "late", "dead_letters"):
        assert getattr(other.progress, name) == getattr(whole.progress, name), name


def test_after_a_topic_was_made_anew_offsets_go_on_upwards() -> None:
    one, other = engine(), engine()
    assert one.follow(Span("first", 0, 5), 0) == NOTHING
    one.take([event(i, NOW_MS) for i in range(5)])
    assert one.follow(Span("first", 0, 5), 5) == NOTHING
    assert one.follow(Span("second", 0, 9), 5) != NOTHING
    assert (one.progress.next, one.progress.remade) == (0, 1)
    other.restore({key: value for key, value in one.records().items() if value is not None})
    output = other.take([event(0, NOW_MS), event(1, YEAR_2099_MS), event(2, NOW_MS)])
    batches = [example_wire.decode(value).batch for value in output.examples]
    assert concat(batches).offset_B.tolist() == [5, 7]
    assert concat(batches).user_rates_BR[:, 0].tolist() == [5.0, 6.0]
    assert dict(output.dead[0].headers)[SOURCE] == b"events/0/1"
    assert (other.progress.offset, other.progress.next) == (7, 3)


@pytest.mark.parametrize(
    ("span", "read_next", "lost"),
    [
        (Span("first", 0, 3), 3, 0),
        (Span(None, 0, 3), 0, 0),
        (Span("second", 2, 30), 2, 0),
        (Span("first", 9, 30), 9, 4),
        (Span("first", 0, 5), 5, 0),
        (Span(None, 0, 7), 5, 0),
    ],
)
def test_reading_goes_on_where_the_source_is(span: Span, read_next: int, lost: int) -> None:
    """It has lost its end, was made anew (without and with an id), was cut at its beginning, is as it was."""
    one = engine()
    one.follow(Span("first", 0, 5), 0)
    one.take([event(i, NOW_MS) for i in range(5)])
    one.follow(span, 5)
    assert (one.progress.next, one.progress.lost) == (read_next, lost)
    assert one.progress.offset + 1 == 5 + lost


def test_who_looked_before_more_was_read_sees_no_end_lost() -> None:
    one = engine()
    one.take([event(i, NOW_MS) for i in range(5)])
    assert one.follow(Span("first", 0, 3), 2) == NOTHING


def test_a_partition_that_was_never_read_begins_where_it_is_and_has_lost_nothing() -> None:
    one = engine()
    one.follow(Span("first", 700, 900), 0)
    assert (one.progress.next, one.progress.lost) == (700, 0)


def made_by(records: dict[bytes, bytes | None], change: Any) -> dict[bytes, bytes]:
    said = msgspec.json.decode(records[b"engine"] or b"")
    change(said["made_by"])
    return {key: value for key, value in records.items() if value is not None} | {
        b"engine": msgspec.json.encode(said)
    }


def test_a_state_of_a_build_that_knew_fewer_settings_is_taken_over() -> None:
    one, other, third = engine(), engine(ahead_ms=5), engine()
    one.take([event(0, NOW_MS)])
    records = one.records()
    other.restore(made_by(records, lambda said: said.pop("ahead_ms")))
    assert other.progress == one.progress
    with pytest.raises(
        InputError, match=r"events/0 was made with other settings: ahead_ms was 7, is 3600000"
    ):
        third.restore(made_by(records, lambda said: said.update(ahead_ms=7)))


def test_progress_of_an_earlier_build_is_read() -> None:
    earlier = b'{"offset":9,"events":10,"examples":8,"duplicates":1,"late":1,"dead_letters":{},"clock_ms":5}'
    said = msgspec.json.decode(earlier, type=Progress)
    assert (said.offset, said.next, said.lost, said.unknown_fields) == (9, 10, 0, {})
    assert isinstance(msgspec.json.encode(said), bytes)
