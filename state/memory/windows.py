"""A window's arrays as kernels take and write them.

Shape suffixes: B rows, W window entries, I items with totals.
"""

from operator import attrgetter
from typing import NamedTuple

import numpy as np

from state.examples import BY_ENTRY, BY_ITEM, ITEMS, Floats, Shorts, Window, empty_window
from state.keys import Int64s
from state.window_lists import WindowLists


class Columns(NamedTuple):
    """The arrays of `state.examples.Window`, in its order."""

    length_B: Int64s
    item_BW: Int64s
    category_BW: Int64s
    cell_BW: Int64s
    age_s_BW: Floats
    retention_BW: Floats
    hour_BW: Floats
    week_BW: Floats
    place_BW: Floats
    label_BW: Floats
    time_ms_BW: Int64s
    minute_BW: Shorts
    strength_s_BW: Floats
    before_BW: Int64s
    gap_s_BW: Floats
    total_item_BI: Int64s
    total_count_BI: Floats
    total_first_s_BI: Floats
    total_last_s_BI: Floats
    total_since_BI: Floats
    total_faded_BI: Floats
    own_strength_s_B: Floats
    own_minute_B: Shorts
    goes_B: Int64s


def columns_of(window: Window) -> Columns:
    """A window's arrays as kernels take them."""
    return Columns._make(_columns(window))


_columns = attrgetter(*Columns._fields)


class Written(NamedTuple):
    """Where a step writes windows: flat, one row's entries after another's, and its items likewise."""

    columns: Columns
    edge_B1: Int64s
    """Where a row's entries are to go; behind them it has none up to the next row's."""
    item_edge_B1: Int64s
    as_lists: bool
    """The edges are yet to be written, a row after another: none has more room than it needs."""


def within(window: Window) -> Written:
    """The places of a window's rows in its own arrays."""
    size, width = window.item_BW.shape
    flat = Columns(*(getattr(window, name).reshape(-1) for name in Columns._fields))
    rows_B1 = np.arange(size + 1)
    return Written(flat, rows_B1 * width, rows_B1 * window.total_item_BI.shape[1], as_lists=False)


def room_for_lists(size: int, width: int) -> Written:
    """Room for `size` rows of up to `width` entries."""
    like = ((name, getattr(_NO_WINDOW, name).dtype) for name in Columns._fields)
    each = dict.fromkeys(BY_ENTRY, width) | dict.fromkeys(BY_ITEM, ITEMS)
    columns = Columns(*(np.empty(size * each.get(name, 1), dtype) for name, dtype in like))
    return Written(columns, np.zeros(size + 1, np.int64), np.zeros(size + 1, np.int64), as_lists=True)


def written_lists(written: Written, width: int) -> WindowLists:
    """What a step has written, as lists of up to `width` entries."""
    ends = dict.fromkeys(BY_ENTRY, int(written.edge_B1[-1]))
    ends |= dict.fromkeys(BY_ITEM, int(written.item_edge_B1[-1]))
    columns = written.columns._asdict()
    del columns["age_s_BW"]
    lists = {name: column[: ends.get(name, len(column))] for name, column in columns.items()}
    return WindowLists(width, written.edge_B1, written.item_edge_B1, lists)


_NO_WINDOW = empty_window(0, 0)
