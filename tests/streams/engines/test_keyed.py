"""An engine in a map: whoever is given the map goes on as if nothing had happened, whenever that is."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import InputError
from state.progress import Progress
from state.tree import digest
from streams.engines.engine_config import EngineConfig
from streams.engines.keyed import Keyed
from streams.engines.partition import Engine
from streams.wire.message import Message
from tests.streams.doors import Map
from tests.streams.engines.test_engine import NOW_MS, YEAR_2099_MS, event, together

EVENTS = 60


def fresh(**settings: object) -> Engine:
    return Engine(EngineConfig(window=8, **settings), "events", 0)  # type: ignore[arg-type]


def counted(engine: Engine) -> Progress:
    """All but how much room the arena has."""
    return msgspec.structs.replace(engine.progress, user_bytes=0)


def sent() -> list[Message]:
    """Users that come back, some events twice, one at no time, one that is no event."""
    some = [event(n, NOW_MS + n * 1000, user=f"u{n % 5}", event_id=n - n % 7 // 6) for n in range(EVENTS)]
    some[20] = event(20, YEAR_2099_MS)
    some[30] = Message(b"{", b"ann", (("h", b"1"),), 0, 30, NOW_MS)
    return some


@settings(max_examples=25)
@given(cuts=st.sets(st.integers(1, EVENTS - 2), max_size=12), settled=st.sets(st.integers(0, EVENTS)))
def test_whoever_is_given_the_map_goes_on_from_where_it_was_settled(
    cuts: set[int], settled: set[int]
) -> None:
    messages, entries = sent(), Map()
    held, expected, reached = Keyed(fresh(), entries), fresh(), 0
    for first, end in pairwise([0, *sorted(cuts), EVENTS - 1]):
        held.engine.take(messages[first:end])
        if first in settled:
            held.settle()
            reached = end
    expected.take(messages[:reached])
    again = Keyed(fresh(), Map(entries))
    assert counted(again.engine) == counted(expected)
    assert digest(again.engine.operator.tree()) == digest(expected.operator.tree())
    assert together([again.engine.take(messages)]) == together([expected.take(messages)])


def test_a_state_of_other_settings_is_refused() -> None:
    entries = Map()
    held = Keyed(fresh(), entries)
    held.engine.take(sent()[:5])
    held.settle()
    with pytest.raises(
        InputError, match=r"events/0 was made with other settings: ahead_ms was 3600000, is 5"
    ):
        Keyed(fresh(ahead_ms=5), entries)
