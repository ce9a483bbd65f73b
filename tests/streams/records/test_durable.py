"""State as records: whatever was taken when, a restored operator goes on as the other would have."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import InputError
from state.examples import concat
from state.memory.memory_config import MemoryConfig
from state.tree import digest
from streams.operator import Operator, OperatorConfig
from streams.records.of_partition import MOST_ENTRIES, Durable
from streams.schema import EventBatch
from tests.streams.kept import Kept, merge
from tests.streams.test_operator import configs, streams, windows

PAGE_WORDS = 16
"""Small enough for a few rows to fill pages."""


def counted(operator: Operator) -> tuple[int, ...]:
    counts = operator.counts
    return counts.used, counts.duplicates, counts.late, counts.users, counts.expired


@settings(max_examples=200, deadline=None)
@given(
    streams(), configs, windows, st.lists(st.tuples(st.integers(0, 60), st.sampled_from("-kkr")), max_size=12)
)
def test_a_restored_operator_goes_on_as_the_other_would(
    events: EventBatch, config: OperatorConfig, window: tuple[int, int], cuts: list[tuple[int, str]]
) -> None:
    """At each cut the records are kept (k), and read by a fresh operator that goes on (r), or not taken."""
    through, now = Operator(config, *window), Operator(config, *window)
    durable, kept = Durable(now, page_words=PAGE_WORDS), Kept()
    stops = sorted((min(at, len(events)), what) for at, what in cuts)
    edges = [0, *(at for at, _ in stops), len(events)]
    parts = []
    for (a, b), what in zip(pairwise(edges), [*(what for _, what in stops), "r"], strict=True):
        parts.append(now.process(events.take(slice(a, b)), now_ms=0))
        if what != "-":
            merge(kept, durable.records())
        if what == "r":
            now = Operator(config, *window)
            durable = Durable(now, page_words=PAGE_WORDS)
            durable.restore(kept)
    expected = through.process(events, now_ms=0)
    assert digest(concat(parts).tree()) == digest(expected.tree())
    whole = Durable(through, page_words=PAGE_WORDS)
    afresh = Operator(config, *window)
    Durable(afresh, page_words=PAGE_WORDS).restore(
        {k: v for k, v in whole.records().items() if v is not None}
    )
    assert state(now) == state(afresh) == state(through)


def test_a_long_stream_goes_on_from_every_restart() -> None:
    """Enough for queues to move, pages to fill and several generations of ids to go."""
    random = np.random.default_rng(1)
    events = EventBatch.of(
        user=random.integers(0, 300, 6000),
        item=random.integers(0, 40, 6000),
        time_ms=np.cumsum(random.integers(0, 3, 6000)) - random.choice([0, 0, 50], 6000),
        event_id=random.integers(0, 20_000, 6000),
        label=random.choice([np.nan, 1.0, 0.0], 6000),
    )
    config = OperatorConfig(
        label_delay_ms=700, lateness_ms=500, event_ids=1200, memory=MemoryConfig(capacity=3)
    )
    through, now = Operator(config, 2), Operator(config, 2)
    durable, kept = Durable(now), Kept()
    for a, b in pairwise(range(0, 6001, 120)):
        part = events.take(slice(a, b))
        assert digest(now.process(part, 0).tree()) == digest(through.process(part, 0).tree())
        merge(kept, durable.records())
        fresh = Operator(config, 2)
        read = Durable(fresh)
        read.restore(kept)
        assert state(fresh) == state(through)
        assert set(read.records()) == {b"operator"}, "nothing has changed since"
        if b % 1560 == 0:
            now, durable = fresh, read
    assert now.admission.generation > 3


def state(operator: Operator) -> dict[str, Any]:
    """All that decides what comes, whatever rows users have."""
    memory = operator.memory
    users = {}
    for row in memory.users.order()[:, None]:
        words_W = np.zeros(memory.sizes(row)[0], np.int64)
        memory.packed(row, np.array([0, len(words_W)]), words_W)
        users[int(memory.users.keys[row[0]])] = words_W.tobytes()
    waiting = memory.waiting(*memory.span).tolist()
    admission = digest(operator.tree()["admission"])
    order = digest(memory.tree()) if memory.users.bounded else None
    return {"counted": counted(operator), "users": users, "waiting": waiting, "admission": admission} | {
        "order": order
    }


def steady(size: int, **config: Any) -> tuple[Operator, Durable, Kept]:
    """An operator with `size` users of one event each, and its records."""
    operator = Operator(OperatorConfig(**config))
    durable, kept = Durable(operator), Kept()
    operator.process(events_of(np.arange(size)), 0)
    merge(kept, durable.records())
    return operator, durable, kept


def events_of(user: np.ndarray, start: int = 0) -> EventBatch:
    place = np.arange(start, start + len(user))
    return EventBatch.of(user=user, item=place, time_ms=place, event_id=place, label=np.ones(len(user)))


def test_only_what_has_changed_is_written_again() -> None:
    operator, durable, kept = steady(5000)
    assert sum(key.startswith(b"user/") for key in kept) == 5000
    operator.process(events_of(np.array([7, 7, 4998]), 5000), 0)
    users = {key for key in durable.records() if key.startswith(b"user/")}
    assert users == {b"user/7", b"user/4998", b"user/4999"}, "4999's event has become known"
    assert set(durable.records()) == {b"operator"}


def test_a_user_changes_when_an_event_becomes_known() -> None:
    operator, durable, _ = steady(1, label_delay_ms=10)
    operator.process(events_of(np.array([1]), 9), 0)
    assert b"user/0" not in durable.records()
    operator.process(events_of(np.array([1]), 10), 0)
    assert b"user/0" in durable.records()


def test_pages_come_and_go_with_the_queue() -> None:
    operator, durable, kept = steady(3000, label_delay_ms=2500)
    assert {key for key in kept if key.startswith(b"waits/")} == {b"waits/0", b"waits/1", b"waits/2"}
    operator.process(events_of(np.zeros(1, np.int64), 4000), 0)
    changes = durable.records()
    assert {k: v is None for k, v in changes.items() if k.startswith(b"waits/")} == {
        b"waits/0": True,
        b"waits/2": False,
    }
    merge(kept, changes)
    restored = Operator(operator.config)
    Durable(restored).restore(kept)
    assert restored.memory.span == operator.memory.span == (1501, 3001)


def test_pages_of_event_ids_go_with_their_generation() -> None:
    operator, durable, kept = steady(10_000, event_ids=9000)
    assert {key for key in kept if key.startswith(b"ids/")} == {b"ids/0/0", b"ids/0/1", b"ids/1/0"}
    operator.process(events_of(np.arange(9000), 10_000), 0)
    merge(kept, durable.records())
    assert {key for key in kept if key.startswith(b"ids/")} == {b"ids/1/0", b"ids/1/1", b"ids/2/0"}


def test_no_record_outgrows_a_message() -> None:
    operator = Operator(OperatorConfig(label_delay_ms=10**9, memory=MemoryConfig(capacity=MOST_ENTRIES)))
    for start in range(0, 2 * MOST_ENTRIES, 1000):
        operator.process(events_of(np.zeros(1000, np.int64), start), 0)
    sizes = {key: len(value) for key, value in Durable(operator).records().items() if value is not None}
    assert sizes[b"user/0"] > 64 * MOST_ENTRIES
    assert max(sizes.values()) < 800_000


def test_a_memory_that_would_outgrow_a_message_is_refused() -> None:
    operator = Operator(OperatorConfig(memory=MemoryConfig(capacity=MOST_ENTRIES + 1)))
    with pytest.raises(InputError, match=r"memory.capacity: expected at most 12,000 entries .*, got 12,001"):
        Durable(operator)


@pytest.mark.parametrize("key", [b"operator", b"user/3", b"waits/0", b"ids/0/0"])
@pytest.mark.parametrize("how", ["cut", "cut to words", "bit", "version", "empty", "another's", "missing"])
def test_a_damaged_record_is_refused_by_name(key: bytes, how: str) -> None:
    *_, kept = steady(5)
    value = bytearray(kept[key])
    value[-3] ^= 4 if how == "bit" else 0
    value[0] += 1 if how == "version" else 0
    kept[key] = {
        "cut": bytes(value[:-5]),
        "cut to words": bytes(value[:-8]),
        "empty": b"",
        "another's": kept[b"user/4"],
    }.get(how, bytes(value))
    if how == "missing":
        del kept[key]
    said = "expected those of 5 users, got 4" if (key, how) == (b"user/3", "missing") else key.decode()
    with pytest.raises(InputError, match=said):
        Durable(Operator(OperatorConfig())).restore(kept)


def test_records_of_other_settings_are_refused() -> None:
    *_, kept = steady(5)
    with pytest.raises(InputError, match="state record nonsense: expected no such record"):
        Durable(Operator(OperatorConfig())).restore(kept | {b"nonsense": kept[b"operator"]})
    operator = Operator(OperatorConfig())
    operator.process(events_of(np.zeros(3, np.int64)), 0)
    kept = Kept()
    merge(kept, Durable(operator).records())
    small = Operator(OperatorConfig(memory=MemoryConfig(capacity=2)))
    with pytest.raises(InputError, match=r"user/0: expected at most 2 entries \(memory.capacity\), got 3"):
        Durable(small).restore(kept)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_is_damaged_is_noticed(seed: int) -> None:
    """Any bit of any record."""
    random = np.random.default_rng(seed)
    *_, kept = steady(5)
    key = sorted(kept)[random.integers(len(kept))]
    value = bytearray(kept[key])
    value[random.integers(len(value))] ^= 1 << random.integers(8)
    with pytest.raises(InputError, match=key.decode()):
        Durable(Operator(OperatorConfig())).restore(kept | {key: bytes(value)})
