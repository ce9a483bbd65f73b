"""Events as columns: what the readers make and the operator takes.

An event has the roles `user item time` and, as far as the log has them, `label rating action category
lat lon place tz session scene source propensity text event_id`. Ids are 64-bit keys (`state.keys`).
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from state.examples import Doubles, Floats
from state.keys import NO_KEY, Int64s

REQUIRED_ROLES = ("user", "item", "time")
OPTIONAL_ROLES = (
    *("label", "rating", "action", "category", "lat", "lon", "place", "tz", "session"),
    *("scene", "source", "propensity", "text", "event_id"),
)
ROLES = REQUIRED_ROLES + OPTIONAL_ROLES


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """B valid events in order of arrival. Missing: NO_KEY in keys, NaN in numbers.

    Every key column has its value or NO_KEY; `user_B` and `item_B` always have one.
    """

    partition_B: Int64s
    offset_B: Int64s
    """Number of the row (or message) in its source, from 0, in the order in which events are handed on."""
    index_B: Int64s
    user_B: Int64s
    item_B: Int64s
    time_ms_B: Int64s
    label_B: Floats
    rating_B: Floats
    propensity_B: Floats
    lat_B: Doubles
    lon_B: Doubles
    place_B: Int64s
    """A named place (store, venue) where the log has one; else NO_KEY."""
    tz_min_B: Int64s
    """Minutes that local time is ahead of UTC; 0 where the log does not say."""
    action_B: Int64s
    category_B: Int64s
    session_B: Int64s
    scene_B: Int64s
    source_B: Int64s
    event_id_B: Int64s

    def __len__(self) -> int:
        return len(self.user_B)

    def take(self, rows: Int64s | slice) -> Self:
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def of(cls, *, user: Int64s, item: Int64s, time_ms: Int64s, **columns: Int64s | Floats | Doubles) -> Self:
        """A batch from the columns at hand (named by role, without suffix); the rest is missing.

        >>> one = np.ones(1, np.int64)
        >>> len(EventBatch.of(user=one, item=one, time_ms=one * 1000, label=one))
        1
        """
        size = len(user)
        given = {"user": user, "item": item, "time_ms": time_ms, **columns}
        made: dict[str, object] = {}
        for f in fields(cls):
            role = f.name.removesuffix("_B")
            dtype = _DTYPE.get(role, np.int64)
            if role in given:
                made[f.name] = np.require(given.pop(role), dtype, ("C", "W"))
            elif role == "offset":
                made[f.name] = np.arange(size, dtype=np.int64)
            elif role in ("partition", "index", "tz_min"):
                made[f.name] = np.zeros(size, np.int64)
            else:
                made[f.name] = np.full(size, NO_KEY if dtype is np.int64 else np.nan, dtype)
        if given:
            raise TypeError(f"EventBatch.of: no such column: {', '.join(sorted(given))}")
        return cls(**made)  # type: ignore[arg-type]


_DTYPE: dict[str, type] = {
    **dict.fromkeys(("label", "rating", "propensity"), np.float32),
    **dict.fromkeys(("lat", "lon"), np.float64),
}


def concat_events(batches: list[EventBatch]) -> EventBatch:
    """Batches one after another."""
    if len(batches) == 1:
        return batches[0]
    return EventBatch(
        **{f.name: np.concatenate([getattr(b, f.name) for b in batches]) for f in fields(EventBatch)}
    )
