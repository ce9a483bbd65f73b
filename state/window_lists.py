"""Windows as lists: each row's own entries, one row's after another's, as messages have them.

Shape suffixes: B rows, W window entries, E entries of all rows, I items with totals, J those of all rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import Int64s
from state.examples import BY_ENTRY, BY_ITEM, Window
from state.ids import NO_KEY


@dataclass(frozen=True, slots=True)
class WindowLists:
    """The windows of B rows."""

    width: int
    """How many entries a window may have."""
    edge_B1: Int64s
    """Where each row's entries begin among those of all, and the last row's end."""
    item_edge_B1: Int64s
    """The same of the items that have totals."""
    columns: Mapping[str, NDArray[Any]]
    """Those of `Window` by name, but for ages: (E,) for what has a value an entry, (J,) an item, or (B,)."""


def lists_of(window: Window) -> WindowLists:
    """The same windows as lists."""
    at_E = entries(window.length_B, window.item_BW.shape[1])[1]
    real_BI = window.total_item_BI != NO_KEY
    columns: dict[str, NDArray[Any]] = {}
    for name in (f.name for f in fields(Window) if f.name != "age_s_BW"):
        column = getattr(window, name)
        if name in BY_ENTRY:
            column = column.reshape(-1)[at_E]
        elif name in BY_ITEM:
            column = column[real_BI]
        columns[name] = column
    return WindowLists(window.item_BW.shape[1], edges(window.length_B), edges(real_BI.sum(1)), columns)


def edges(length_B: Int64s) -> Int64s:
    """Where each row's list begins (B + 1), and the last one ends."""
    return np.concatenate([[0], np.cumsum(length_B)]).astype(np.int64)


def entries(length_B: Int64s, width: int) -> tuple[Int64s, Int64s]:
    """Row of every entry (E,), and its place among those of all windows of a width, one after another."""
    rows_B = np.arange(len(length_B))
    row_E = np.repeat(rows_B, length_B)
    before_B = np.cumsum(length_B) - length_B
    return row_E, np.arange(len(row_E)) + np.repeat(rows_B * width - before_B, length_B)
