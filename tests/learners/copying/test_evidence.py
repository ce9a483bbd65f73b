"""What a memory says for its items: the kernel sums beside sums written for reading."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.copying.candidates.columns import log_of
from learners.copying.candidates.evidence import LOGGED, OWN, kilometres2, own, remember_own, tables
from state.examples import empty_window
from state.keys import NO_KEY, KeyMap
from state.memory.windows import Columns, columns_of

ITEMS = 5


@dataclass
class Visit:
    item: int
    age_s: float
    cell: int
    category: int
    label: float


@st.composite
def memories(draw: st.DrawFn) -> list[Visit]:
    ages = draw(st.lists(st.integers(0, 100 * 86_400), min_size=0, max_size=12))
    return [
        Visit(
            draw(st.integers(0, ITEMS)),  # item 5 is in no catalogue
            float(age),
            draw(st.sampled_from([NO_KEY, 3, 4])),
            draw(st.sampled_from([NO_KEY, 7, 8])),
            draw(st.sampled_from([1.0, 0.0, math.nan])),
        )
        for age in sorted(ages, reverse=True)
    ]


def window(memory: list[Visit], width: int = 16) -> Columns:
    size = len(memory)

    def column(values: Sequence[float], blank: float, dtype: type) -> np.ndarray:
        return np.array([[*values, *[blank] * (width - len(values))]], dtype)

    room = columns_of(empty_window(1, width))
    return room._replace(
        length_B=np.array([len(memory)]),
        item_BW=column([v.item for v in memory], NO_KEY, np.int64),
        category_BW=column([v.category for v in memory], NO_KEY, np.int64),
        cell_BW=column([v.cell for v in memory], NO_KEY, np.int64),
        age_s_BW=column([v.age_s for v in memory], 0.0, np.float32),
        label_BW=column([v.label for v in memory], 0.0, np.float32),
        before_BW=column([NO_KEY, *(v.item for v in memory[:-1])][:size], NO_KEY, np.int64),
        gap_s_BW=column([0.0, *(a.age_s - b.age_s for a, b in pairwise(memory))][:size], 0.0, np.float32),
    )


def von_mises(apart_min: float, width_h: float, period_h: float) -> float:
    angle = 2 * math.pi * apart_min / (60 * period_h)
    return math.exp((math.cos(angle) - 1) / (2 * math.pi * width_h / period_h) ** 2)


def day_off(minute: float) -> bool:
    return int(minute % 10_080) // 1440 in (2, 3)


def plain(memory: list[Visit], minute: int, cell: int, km_N3: np.ndarray) -> dict[int, list[float]]:
    """Item -> the columns OWN but the last, one visit at a time."""
    sums: dict[int, list[float]] = {}
    last = memory[-1].item if memory and memory[-1].item < ITEMS else -1
    log_gap = math.log((memory[-1].age_s if memory else 0.0) + 60)
    for w, visit in enumerate(memory):
        if visit.item >= ITEMS or visit.label == 0.0:
            continue

        apart = int(visit.age_s / 60)
        hour = [von_mises(apart % 1440, h, 24) for h in (0.25, 0.5, 1.0, 2.0)]
        after = gap = here = here_hour = 0.0
        before = memory[w - 1].item if w and memory[w - 1].item < ITEMS else -1
        if before >= 0 and last >= 0:
            like = math.exp(-2 * (math.log(memory[w - 1].age_s - visit.age_s + 60) - log_gap) ** 2)
            after, gap = float(before == last), float(before == last) * like
            km = math.dist(km_N3[before, :2], km_N3[last, :2])
            if km < 3:
                here = math.exp(-km / 0.4) * like
                here_hour = here * hour[2]
        terms = [
            *hour,
            *(von_mises(apart, 0.5, 168), von_mises(apart, 1.5, 168)),
            float(day_off(minute - apart) == day_off(minute)),
            *(after, gap, here, here_hour, float(cell == visit.cell != NO_KEY)),
            0.0,  # the share is taken where candidates are written
        ]
        own_sums = sums.setdefault(visit.item, [0.0] * len(OWN))
        sums[visit.item] = [a + b for a, b in zip(own_sums, terms, strict=True)]
    return sums


@settings(max_examples=150, deadline=None)
@given(memories(), st.integers(0, 10_079), st.sampled_from([NO_KEY, 3]))
def test_the_kernel_sums_what_the_definition_says(memory: list[Visit], minute: int, cell: int) -> None:
    km_N3 = np.array([[0, 0, 1], [0.3, 0.1, 1], [1, 2, 1], [50, 0, 1], [np.nan, np.nan, np.nan]])
    room = own(16, ITEMS)
    catalogue = KeyMap(np.arange(ITEMS))
    many, _, last = remember_own(
        window(memory), 0, minute, cell, catalogue.table, km_N3, tables(), True, room
    )
    expected = plain(memory, minute, cell, km_N3)
    assert room.item_C[:many].tolist() == list(expected)
    for c in range(many):
        got, want = room.sum_CK[c], expected[int(room.item_C[c])]
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-4)
        visits = [v for v in memory if v.item == room.item_C[c] and v.label != 0.0]
        assert room.count_C[c] == len(visits)
        assert room.age_s_C[c] == visits[-1].age_s
        assert room.oldest_s_C[c] == visits[0].age_s
        assert room.since_C[c] == len(memory) - 1 - max(w for w, v in enumerate(memory) if v is visits[-1])
    assert last == (memory[-1].item if memory and memory[-1].item < ITEMS else -1)


def test_a_memory_that_does_not_speak_has_no_candidates() -> None:
    visits = [Visit(1, 3600.0, NO_KEY, NO_KEY, 1.0)]
    room = own(16, ITEMS)
    km_N3 = np.full((ITEMS, 3), np.nan)
    items = KeyMap(np.arange(ITEMS)).table
    many, kinds, last = remember_own(window(visits), 0, 0, NO_KEY, items, km_N3, tables(), False, room)
    assert (many, kinds, last) == (0, 0, 1)


def test_distance_is_in_squared_kilometres() -> None:
    km_N3 = np.array([[0.0, 0.0, 0.5], [6.0, 4.0, 0.5], [np.nan, np.nan, np.nan]])
    assert kilometres2(km_N3, 0, 1) == 25.0
    assert math.isnan(kilometres2(km_N3, 0, 2))


@given(st.lists(st.floats(2.0**-20, 2.0**20, width=32), min_size=len(LOGGED), max_size=len(LOGGED)))
def test_the_quick_logarithm_is_one(values: list[float]) -> None:
    raw = np.array([values], np.float32)
    np.testing.assert_allclose(log_of(raw), np.log(raw), atol=2e-5)
