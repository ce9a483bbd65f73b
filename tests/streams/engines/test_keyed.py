"""An engine in a map: whoever is given the map goes on as if nothing had happened, whenever that is."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import InputError
from state.progress import Progress
from state.tree import digest
from streams.engines import keyed
from streams.engines.engine_config import EngineConfig
from streams.engines.keyed import Keyed
from streams.engines.output import NOTHING
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
@given(
    cuts=st.sets(st.integers(1, EVENTS - 1), max_size=12),
    kills=st.sets(st.integers(1, EVENTS)),
    data=st.data(),
)
def test_whoever_is_given_the_map_goes_on(cuts: set[int], kills: set[int], data: st.DataObject) -> None:
    most = data.draw(st.integers(0, 4))
    expected = fresh()
    wanted = together([expected.take(sent())])
    entries, outputs, messages = Map(), [], sent()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keyed, "_MOST_CALLS", most)
        held = Keyed(fresh(), entries)
        for first, end in pairwise([0, *sorted(cuts), EVENTS]):
            outputs.append(held.take(messages[first:end]))
            if first in kills:
                held = Keyed(fresh(), Map(entries))
                entries = held._entries  # type: ignore[assignment]
        again = Keyed(fresh(), Map(entries))
    assert together(outputs) == wanted
    assert counted(again.engine) == counted(held.engine) == counted(expected)
    assert digest(again.engine.operator.tree()) == digest(expected.operator.tree())


def test_what_was_had_is_passed_over_and_order_is_that_of_offsets() -> None:
    held, messages = Keyed(fresh(), Map()), sent()
    expected = together([fresh().take(messages)])
    first = held.take(messages[:10][::-1])
    assert held.take(messages[:10]) == NOTHING
    assert together([first, held.take(messages[5:])]) == expected


def test_a_state_of_other_settings_or_a_damaged_one_is_refused() -> None:
    entries = Map()
    Keyed(fresh(), entries).take(sent()[:5])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keyed, "_MOST_CALLS", 0)
        Keyed(fresh(), entries).take(sent()[5:9])
    with pytest.raises(
        InputError, match=r"events/0 was made with other settings: ahead_ms was 3600000, is 5"
    ):
        Keyed(fresh(ahead_ms=5), entries)
    entries["log/9"] = msgspec.msgpack.encode("no messages")
    with pytest.raises(InputError, match=r"state of events/0: Expected `array`, got `str`"):
        Keyed(fresh(), entries)
