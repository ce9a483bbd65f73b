"""Event batches as Hypothesis draws them, and what is the same on both sides of a wire."""

import numpy as np
from hypothesis import strategies as st

from state.keys import NO_KEY, key_of
from streams.schema import EventBatch
from streams.wire.message import BOUNDS, KEY_ROLES

FROM_ITS_SOURCE = ("partition_B", "offset_B", "index_B")
_WHOLE = st.integers(-(2**62) + 1, 2**62 - 1)
_TEXTS = st.text(min_size=1, max_size=8)
_HASHED = st.integers(2**62, 2**63 - 1)


@st.composite
def batches(draw: st.DrawFn, most: int = 6) -> tuple[EventBatch, dict[int, str]]:
    """Events with any roles, and the names of some of their ids."""
    size = draw(st.integers(1, most))
    names: dict[int, str] = {}

    def key(text_or_number: str | int) -> int:
        found = key_of(text_or_number)
        if found >= 2**62:
            names[found] = str(text_or_number)
        return found

    ids = (_WHOLE | _TEXTS).map(key) | _HASHED
    columns = {}
    for role in KEY_ROLES:
        needed = role in ("user", "item")
        if needed or draw(st.booleans()):
            some = ids if needed else ids | st.just(NO_KEY)
            columns[role] = np.array(draw(st.lists(some, min_size=size, max_size=size)), np.int64)
    for role in ("label", "rating", "propensity", "lat", "lon"):
        if draw(st.booleans()):
            least, most_ = BOUNDS[role]
            least, most_ = (-(2.0**99), 2.0**99) if role == "rating" else (least, most_)
            wide = role in ("lat", "lon")
            some_floats = st.just(float("nan")) | st.floats(least, most_, width=64 if wide else 32)
            columns[role] = np.array(draw(st.lists(some_floats, min_size=size, max_size=size)))
    if {"lat", "lon"} & set(columns):
        lat, lon = (columns.setdefault(role, np.full(size, np.nan)) for role in ("lat", "lon"))
        nowhere = np.isnan(lat) | np.isnan(lon)
        lat[nowhere] = lon[nowhere] = np.nan
    if draw(st.booleans()):
        minutes = draw(st.lists(st.integers(-1440, 1440), min_size=size, max_size=size))
        columns["tz_min"] = np.array(minutes, np.int64)
    earliest, latest = map(int, BOUNDS["time"])
    time_ms = np.array(draw(st.lists(st.integers(earliest, latest), min_size=size, max_size=size)), np.int64)
    return EventBatch.of(time_ms=time_ms, **columns), names


def differing(a: EventBatch, b: EventBatch) -> list[str]:
    """Columns that differ, what says where an event came from left out; NaN equals NaN."""
    return [name for name in EventBatch.__slots__ if name not in FROM_ITS_SOURCE and not _same(a, b, name)]


def _same(a: EventBatch, b: EventBatch, name: str) -> bool:
    one, other = getattr(a, name), getattr(b, name)
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
