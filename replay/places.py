"""What an event borrows from its item: where it was, and of what category.

Shape suffix: B rows.
"""

from dataclasses import replace

import numpy as np

from state.keys import NO_KEY
from state.side import SideTable
from streams.schema import EventBatch


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


def fill_places(events: EventBatch, items: SideTable, category: str | None = None) -> EventBatch:
    """Events without coordinates take those of their item; without a category, that of `category`."""
    rows_B = items.rows(events.item_B, events.time_ms_B)
    known_B = rows_B >= 0
    safe_B = np.where(known_B, rows_B, 0)
    if len(items) == 0:
        return events
    if items.lat_N is not None and items.lon_N is not None:
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
