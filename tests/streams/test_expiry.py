"""Who has been silent for too long is forgotten: exactly, a few users with every row, in flat memory."""

import numpy as np
import pytest

from state.errors import InputError
from state.memory.memory_config import MemoryConfig
from state.tree import digest
from streams.engines.engine_config import EngineConfig
from streams.engines.partition import Engine
from streams.operator import Operator, OperatorConfig
from streams.records.of_partition import Durable
from streams.schema import EventBatch
from streams.wire.message import Message
from tests.streams.kept import Kept, merge

DAY_MS = 86_400_000
START_MS = -70 * 365 * DAY_MS
"""Before 1970: nothing may be taken for older than all times for being 0."""


def operator(*, window: int = 4, label_delay_ms: int = 0, **memory: int) -> Operator:
    config = OperatorConfig(label_delay_ms=label_delay_ms, memory=MemoryConfig(**memory))  # type: ignore[arg-type]
    return Operator(config, window)


def events(user: list[int], day: list[float], label: float = 1.0) -> EventBatch:
    size = len(user)
    time_ms = START_MS + (np.array(day) * DAY_MS).astype(np.int64)
    return EventBatch.of(
        user=np.array(user), item=np.arange(size) % 7, time_ms=time_ms, label=np.full(size, label)
    )


def held(one: Operator) -> list[int]:
    return list(map(int, one.memory.tree()["users"]["keys"]))


def test_who_comes_back_after_expiry_is_as_never_seen() -> None:
    one = operator(expire_ms=3 * DAY_MS)
    one.process(events([1, 1, 2], [0, 1, 4]), 0)
    again = one.process(events([1], [4.0001]), 0)
    fresh = operator().process(events([1], [4.0001]), 0)
    assert digest(again.tree()) == digest(fresh.tree())
    assert (one.counts.users, one.counts.expired) == (2, 1)


def test_a_user_has_the_whole_time_from_the_last_event_on() -> None:
    one = operator(expire_ms=3 * DAY_MS)
    seen = one.process(events([1, 1, 1, 1], [0, 3, 6, 9]), 0)
    assert seen.user_rates_BR[:, 0].tolist() == [0, 1, 2, 3]
    assert one.counts.expired == 0


def test_the_time_begins_when_the_last_event_is_known() -> None:
    """Whoever waits is kept, however long the delay; none of their events is known to nobody."""
    one = operator(expire_ms=DAY_MS, label_delay_ms=10 * DAY_MS)
    one.process(events([1, 2, 3], [0, 9, 11]), 0)
    assert held(one) == [1, 2, 3]
    one.process(events([3], [11.5]), 0)
    assert held(one) == [2, 3]


def test_of_too_many_users_the_longest_silent_goes() -> None:
    one = operator(most_users=2)
    one.process(events([1, 2, 1, 3, 4, 1], [0, 1, 2, 3, 4, 5]), 0)
    assert held(one) == [4, 1]
    assert one.counts.expired == 3, "2, then 1, then 3"


def test_who_waits_counts_beyond_the_most() -> None:
    one = operator(most_users=1, label_delay_ms=DAY_MS)
    one.process(events([1, 2, 3], [0, 0.1, 0.2]), 0)
    assert held(one) == [1, 2, 3]
    one.process(events([4], [1.15]), 0)
    assert held(one) == [3, 4]


def test_a_long_gap_costs_no_row_much() -> None:
    """All have expired; two go with every row, and each is new who comes back before."""
    one = operator(expire_ms=DAY_MS)
    one.process(events(list(range(1000)), [0] * 1000), 0)
    late = one.process(events([999, 5000], [900, 900]), 0)
    assert (late.user_rates_BR[:, 0] == 0).all()
    assert (one.counts.users, one.counts.expired) == (1002 - 5, 5)


@pytest.mark.parametrize("bound", [{"expire_ms": 2 * DAY_MS}, {"most_users": 2000}])
def test_memory_is_flat_on_an_endless_stream_of_new_users(bound: dict[str, int]) -> None:
    one, sizes = operator(**bound), []
    for start in range(0, 60_000, 1000):
        step = np.arange(start, start + 1000)
        user = step // 3 + np.where(step % 5 == 0, 300, 0)
        one.process(EventBatch.of(user=user, item=step, time_ms=step * 30_000, label=np.ones(1000)), 0)
        memory = one.memory
        sizes.append((len(memory.users.table), len(memory.users.keys), memory.slabs.words.size, len(memory)))
    assert sizes[-1][:3] == sizes[20][:3], "arrays have their room for good"
    assert max(users for *_, users in sizes) <= 2400
    assert one.counts.users + one.counts.expired >= 20_000


def test_what_is_forgotten_leaves_the_changelog() -> None:
    one = operator(expire_ms=DAY_MS)
    durable, kept = Durable(one), Kept()
    one.process(events([1, 2, 3], [0, 0, 1]), 0)
    merge(kept, durable.records())
    one.process(events([4, 2], [1.5, 1.6]), 0)
    changes = durable.records()
    assert changes[b"user/1"] is None
    assert changes[b"user/2"] is not None, "gone, and back"
    merge(kept, changes)
    assert {key for key in kept if key.startswith(b"user/")} == {b"user/2", b"user/3", b"user/4"}
    restored = operator(expire_ms=DAY_MS)
    Durable(restored).restore(kept)
    assert digest(restored.memory.tree()) == digest(one.memory.tree())


def test_who_expires_right_after_a_restart_leaves_the_changelog_too() -> None:
    one, kept = operator(expire_ms=DAY_MS), Kept()
    one.process(events([1, 2], [0, 1]), 0)
    merge(kept, Durable(one).records())
    restored = operator(expire_ms=DAY_MS)
    durable = Durable(restored)
    durable.restore(kept)
    restored.process(events([2], [3]), 0)
    assert durable.records()[b"user/1"] is None


@pytest.mark.parametrize("through", ["tree", "records"])
def test_a_state_made_without_a_bound_goes_on_with_one(through: str) -> None:
    """Users of whom only their rates tell go by the time of their last known event."""
    before, after = operator(label_delay_ms=DAY_MS), operator(label_delay_ms=DAY_MS, expire_ms=3 * DAY_MS)
    before.process(events([1, 2, 3, 1], [0, 1, 5, 5]), 0)
    if through == "tree":
        after.load(before.tree())
    else:
        Durable(after).restore({k: v for k, v in Durable(before).records().items() if v is not None})
    assert held(after) == [2, 1, 3]
    after.process(events([4], [6.5]), 0)
    assert held(after) == [1, 3, 4]
    unbounded = operator(label_delay_ms=DAY_MS)
    unbounded.load(after.tree())
    assert held(unbounded) == [1, 3, 4]


def test_workers_forget_as_one_does() -> None:
    """On a stream in order of time every partition's clock is the stream's when it matters."""
    random = np.random.default_rng(4)
    user, time_ms = random.zipf(1.2, 4000) % 600, np.cumsum(random.integers(0, DAY_MS // 40, 4000))
    stream = EventBatch.of(user=user, item=user % 9, time_ms=time_ms, label=np.ones(4000))
    one = operator(expire_ms=2 * DAY_MS)
    whole = one.process(stream, 0)
    for part in (user % 2 == 0, user % 2 == 1):
        rows = np.flatnonzero(part)
        alone = operator(expire_ms=2 * DAY_MS).process(stream.take(rows), 0)
        assert digest(alone.tree()) == digest(whole.take(rows).tree())
    assert one.counts.expired > 500


def test_a_group_may_be_given_a_bound_later_and_its_state_be_older_than_the_setting() -> None:
    """Nothing else may differ."""

    def engine(**memory: int) -> Engine:
        config = OperatorConfig(memory=MemoryConfig(**memory))  # type: ignore[arg-type]
        return Engine(EngineConfig(operator=config, window=4), "events", 0)

    before = engine()
    before.take([Message(b'{"user": 1, "item": 2, "time": 1600000000000}', b"1")])
    kept = {key: value for key, value in before.records().items() if value is not None}
    kept[b"engine"] = kept[b"engine"].replace(b',"expire_ms":null,"most_users":null', b"")
    after = engine(expire_ms=DAY_MS)
    after.restore(kept)
    assert held(after.operator) == [1]
    with pytest.raises(InputError, match=r"operator\.memory\.capacity was 1024, is 5"):
        engine(capacity=5).restore(kept)


@pytest.mark.parametrize("name", ["expire_ms", "most_users"])
def test_a_bound_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"memory.{name}: expected at least 1, got 0"):
        operator(**{name: 0})
