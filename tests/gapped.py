"""Streams whose times jump: gaps of nothing to ten thousand years, both ways, in the years 1 to 9999."""

from datetime import UTC, datetime

import numpy as np
from hypothesis import strategies as st

from state.keys import Int64s
from streams.schema import EventBatch

YEAR_1_MS, YEAR_9999_MS = (
    int(moment.timestamp() * 1000)
    for moment in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
)
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
ANY_LATENESS_MS = YEAR_9999_MS - YEAR_1_MS
"""Nothing is late."""

GAPS_MS = (
    0,
    1,
    1000,
    60_000,
    3_600_000,
    DAY_MS,
    30 * DAY_MS,
    YEAR_MS,
    15 * YEAR_MS,
    81 * YEAR_MS,
    900 * YEAR_MS,
)


@st.composite
def times(draw: st.DrawFn, size: int, *, backwards: bool = True) -> Int64s:
    """Times in ms (size,): runs of small steps, then a jump; or one far-off time amid ordinary ones."""
    start_ms = draw(st.sampled_from([YEAR_1_MS, -100 * YEAR_MS, -1, 0, 1_500_000_000_000, YEAR_9999_MS]))
    gap = st.one_of(st.sampled_from(GAPS_MS), st.integers(0, 10_000 * YEAR_MS))
    usual = draw(st.sampled_from(GAPS_MS[:6]))
    jumps = draw(st.lists(st.tuples(st.integers(1, size - 1), gap, st.booleans(), st.booleans()), max_size=6))
    step_ms = np.full(size, usual)
    step_ms[0] = 0
    time_ms = start_ms + np.cumsum(step_ms)
    for at, gap_ms, back, alone in jumps:
        move_ms = -gap_ms if back and backwards else gap_ms
        time_ms[at : at + 1 if alone and backwards else size] += move_ms
    return np.asarray(np.clip(time_ms, YEAR_1_MS, YEAR_9999_MS))


def events(time_ms: Int64s, seed: int, *, users: int = 4, labelled: bool = True) -> EventBatch:
    """Events at these times, with every role; few users repeat few items."""
    rng = np.random.default_rng(seed)
    size = len(time_ms)
    place = rng.integers(0, 3, size)
    item = rng.integers(0, 8, size)
    label = {"label": rng.integers(0, 2, size).astype(np.float32)} if labelled else {}
    return EventBatch.of(
        user=rng.integers(0, users, size),
        item=item,
        time_ms=time_ms,
        category=item % 3,
        session=rng.integers(0, 5, size),
        lat=40.7 + place * 0.01,
        lon=-74.0 + place * 0.01,
        **label,
    )
