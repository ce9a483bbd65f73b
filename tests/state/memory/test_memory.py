"""The user memory: bounded, the oldest forgotten first, in order, and cheap for users with little."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import InputError
from state.examples import Window
from state.keys import NO_KEY
from state.memory.memory_config import MemoryConfig
from state.memory.pending import Rows
from state.memory.users import UserMemory
from state.memory.windows import Columns
from state.tree import digest

DAY_MS = 86_400_000


def step(memory: UserMemory, user: np.ndarray, item: np.ndarray, time_ms: np.ndarray) -> None:
    size = len(user)
    clock_ms = np.maximum.accumulate(time_ms)
    nothing = np.full(size, NO_KEY)
    rows = Rows(
        user_B=memory.rows(user),
        item_B=item,
        category_B=nothing,
        place_B=nothing,
        time_ms_B=time_ms,
        clock_ms_B=clock_ms,
        known_ms_B=clock_ms,
        label_B=np.ones(size, np.float32),
        minute_B=np.zeros(size, np.int64),
        here_B=nothing,
        tz_min_B=np.zeros(size, np.int64),
    )
    memory.step(user, rows)


def remembered(memory: UserMemory) -> list[list[tuple[int, int]]]:
    """(time, item) of each user's entries."""
    tree = memory.tree()
    pairs = list(zip(tree["entries"]["time_ms"].tolist(), tree["entries"]["item"].tolist(), strict=True))
    edges = np.cumsum(tree["length"]).tolist()
    return [pairs[a:b] for a, b in zip([0, *edges], edges, strict=False)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-2, 5)), max_size=60), st.integers(1, 12))
def test_the_oldest_goes_first_be_it_the_event_itself(steps: list[tuple[int, int]], capacity: int) -> None:
    memory = UserMemory(MemoryConfig(capacity=capacity))
    item = np.array([i for i, _ in steps], np.int64)
    time_ms = np.cumsum([days * DAY_MS for _, days in steps], dtype=np.int64)
    step(memory, np.ones(len(item), np.int64), item, time_ms)
    kept: list[tuple[int, int]] = []
    for one in zip(time_ms.tolist(), item.tolist(), strict=True):
        kept = sorted([*kept, one], key=lambda entry: entry[0])[-capacity:]
    assert remembered(memory) == ([kept] if steps else [])


def test_what_was_repeated_outlives_nothing_that_is_younger() -> None:
    memory = UserMemory(MemoryConfig(capacity=4))
    item = np.array([1, 1, 1, 2, 3, 4])
    time_ms = np.array([0, 10, 20, 21, 22, 40]) * DAY_MS
    step(memory, np.ones(6, np.int64), item, time_ms)
    assert [i for _, i in remembered(memory)[0]] == [1, 2, 3, 4]


def test_kernels_write_every_column_of_a_window() -> None:
    assert Columns._fields == tuple(f.name for f in fields(Window))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 9, 40, 300]))
def test_extents_move_and_shrink_nothing(seed: int, capacity: int) -> None:
    """Users of very different sizes, in any order of arrival: each has its newest, in order of time."""
    random = np.random.default_rng(seed)
    memory = UserMemory(MemoryConfig(capacity=capacity))
    user = np.minimum(random.zipf(1.3, 3000), 500)
    time_ms = np.arange(3000) * 1000 - random.choice([0, 0, 0, 5000], 3000)
    item = np.arange(3000)
    for part in np.array_split(np.arange(3000), 7):
        step(memory, user[part], item[part], time_ms[part])
    entries = dict(zip(memory.users, remembered(memory), strict=True))
    for one in np.unique(user).tolist():
        own = item[user == one]
        assert len(entries[one]) == min(len(own), capacity)
        assert entries[one] == sorted(entries[one])
        assert entries[one][-1][1] in own[-8:]
    again = UserMemory(MemoryConfig(capacity=capacity))
    again.load(memory.tree())
    assert digest(again.tree()) == digest(memory.tree())


def test_a_user_with_little_costs_little_and_one_with_much_is_bounded() -> None:
    few, many = UserMemory(MemoryConfig()), UserMemory(MemoryConfig())
    for start in range(0, 60_000, 1000):
        steps = np.arange(start, start + 1000)
        step(few, steps // 3, steps, steps)
    assert few.nbytes / len(few) < 600
    for start in range(0, 5000, 1000):
        steps = np.arange(start, start + 1000)
        step(many, steps % 2, steps, steps)
    assert many.tree()["length"].tolist() == [1024, 1024]
    assert many.nbytes / len(many) < 150_000


def test_a_state_that_does_not_fit_is_refused() -> None:
    memory = UserMemory(MemoryConfig(capacity=8))
    step(memory, np.ones(8, np.int64), np.arange(8), np.arange(8))
    with pytest.raises(InputError, match=r"expected at most 4 entries a user .*, got 8"):
        UserMemory(MemoryConfig(capacity=4)).load(memory.tree())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"capacity": 0}, "memory.capacity: expected more than 0, got 0"),
        ({"gain": -1.0}, r"memory.gain: expected at least 0, got -1.0"),
        ({"strength_cap_s": 1.0}, r"memory.strength_cap_s: expected at least strength_s \(259200\), got 1"),
    ],
)
def test_absurd_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MemoryConfig(**settings)  # type: ignore[arg-type]
