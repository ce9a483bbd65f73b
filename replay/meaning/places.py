"""Whether an event's place is its item's, and what an event borrows from its item: place and category.

Shape suffixes: B rows, N items.
"""

from dataclasses import replace

import numpy as np

from replay.meaning.columns import Columns
from state.compiled import compiled
from state.examples import Doubles
from state.keys import NO_KEY, Int64s, KeyArrays, KeyMap, add, find, pair
from state.side import SideTable
from streams.schema import EventBatch

_DEGREES = 1e4
"""Places less than one part of a degree in so many apart (some 10 m) are one."""
_FEWEST = 20
_OF_ITEM = 0.98


class ItemPlaces:
    """How often an item is where it was when another user had it before.

    A venue is; what one buys in a shop or listens to on the road is not. Users' own habits say nothing: only
    neighbouring events of an item by unlike users count. Of the first `capacity` items, so memory is bounded.
    """

    def __init__(self, capacity: int = 1 << 17) -> None:
        self._items = KeyMap()
        self._items.reserve(capacity)
        self._last_N2 = np.empty((capacity, 2), np.int64)
        self._counts = np.zeros(2, np.int64)

    def add(self, columns: Columns) -> None:
        """Take more rows, in the log's order; those without a place are passed over."""
        place_B = np.array(columns.get("place", np.full(len(columns["item"]), NO_KEY)))
        if "lat" in columns and "lon" in columns:
            _by_degrees(columns["lat"], columns["lon"], place_B)
        _compare(self._items.arrays, columns["item"], columns["user"], place_B, self._last_N2, self._counts)

    @property
    def share(self) -> float:
        """Of those events, the share whose place is the item's; NaN where there are too few to tell."""
        same, compared = self._counts.tolist()
        return same / compared if compared >= _FEWEST else np.nan

    @property
    def of_item(self) -> bool:
        """Whether places are the items', as far as can be told: in doubt they are."""
        return not self.share < _OF_ITEM


@compiled
def _by_degrees(lat_B: Doubles, lon_B: Doubles, place_B: Int64s) -> None:
    """Write a key of the place wherever there are coordinates."""
    for b in range(lat_B.shape[0]):
        if not np.isnan(lat_B[b] + lon_B[b]):
            place_B[b] = pair(int(np.rint(lat_B[b] * _DEGREES)), int(np.rint(lon_B[b] * _DEGREES)))


@compiled
def _compare(
    items: KeyArrays,
    item_B: Int64s,
    user_B: Int64s,
    place_B: Int64s,
    last_N2: Int64s,
    counts: Int64s,
) -> None:
    """Compare each row with its item's row before; `last_N2` holds the user and the place of that."""
    for b in range(item_B.shape[0]):
        if place_B[b] != NO_KEY:
            n = find(items.table, item_B[b])
            if n >= 0 and last_N2[n, 0] != user_B[b]:
                counts[0] += place_B[b] == last_N2[n, 1]
                counts[1] += 1
            if n < 0 and items.used[0] < last_N2.shape[0]:
                n = add(items, item_B[b])
            if n >= 0:
                last_N2[n, 0], last_N2[n, 1] = user_B[b], place_B[b]


def single_category(items: SideTable) -> str | None:
    """The item column that can stand for the category: one key a row, and several items a key.

    A column called category comes first, then the first that fits.
    """
    fits = [
        name
        for name, column in items.categories.items()
        if len(items)
        and np.diff(column.start_N1).max() <= 1
        and 1 < len(np.unique(column.keys)) <= len(items) // 2
    ]
    named = [name for name in fits if "category" in name.lower() and "source" not in name.lower()]
    return next(iter(named or fits), None)


def fill_places(
    events: EventBatch, items: SideTable, category: str | None = None, *, places: bool = True
) -> EventBatch:
    """Events without a category take their item's in `category`, and without coordinates its, if `places`."""
    rows_B = items.rows(events.item_B, events.time_ms_B)
    known_B = rows_B >= 0
    safe_B = np.where(known_B, rows_B, 0)
    if len(items) == 0:
        return events
    if places and items.lat_N is not None and items.lon_N is not None:
        open_B = known_B & np.isnan(events.lat_B)
        events = replace(
            events,
            lat_B=np.where(open_B, items.lat_N[safe_B], events.lat_B),
            lon_B=np.where(open_B, items.lon_N[safe_B], events.lon_B),
        )
    if category is not None:
        column = items.categories[category]
        start_B, end_B = column.start_N1[safe_B], column.start_N1[safe_B + 1]
        open_B = known_B & (events.category_B == NO_KEY) & (end_B > start_B)
        padded = np.append(column.keys, NO_KEY)
        events = replace(events, category_B=np.where(open_B, padded[start_B], events.category_B))
    return events
