"""Totals of a memory once a row's own event is remembered: for a reader, who may be asked at any time.

A row's totals are of what was remembered before it. Its own event adds to those of its item, or makes its
item one that was had more than once, as far as the window tells; every other was had an event longer ago. An
event that a full memory forgets for it is still counted, until the user's next row.

Shape suffixes: B rows, W window, I items with totals.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import Bools
from state.evidence import LONGEST_S
from state.examples import ExampleBatch, Window
from state.keys import NO_KEY

_NAMES = ("item", "count", "first_s", "last_s", "since", "faded")


def totals_after(
    rows: ExampleBatch, window: Window, remembered_B: Bools, *, known: bool
) -> dict[str, NDArray[Any]]:
    """The columns `total_..._BI` of `state.examples.Window`, as of the row's own time."""
    columns: dict[str, NDArray[Any]] = {name: getattr(window, f"total_{name}_BI") for name in _NAMES}
    real_BI = columns["item"] != NO_KEY
    since_BI = columns["since"] + (real_BI & remembered_B[:, np.newaxis])
    counts_B = remembered_B & ~(known & (rows.label_B <= 0.5))
    had_BI = (columns["item"] == rows.item_B[:, np.newaxis]) & real_BI
    entry_BW = (window.item_BW == rows.item_B[:, np.newaxis]) & ~(window.label_BW <= 0.5)
    entry_BW &= np.arange(window.item_BW.shape[1]) < window.length_B[:, np.newaxis]
    before_B = had_BI.any(1)
    again_B = counts_B & (before_B | entry_BW.any(1))

    def of_item(total_BI: NDArray[Any], told_B: NDArray[Any]) -> NDArray[Any]:
        """Of the row's item before its own event: its total, or what the window tells."""
        return np.where(before_B, (total_BI * had_BI).sum(1), told_B)

    age_s_BW = np.where(entry_BW, window.age_s_BW, 0.0)
    faded_BW = np.exp2(-age_s_BW / LONGEST_S) * entry_BW
    own: dict[str, NDArray[Any]] = {
        "item": rows.item_B,
        "count": of_item(columns["count"], entry_BW.sum(1)) + 1,
        "first_s": of_item(columns["first_s"], age_s_BW.max(1, initial=0.0)),
        "last_s": np.zeros(len(rows)),
        "since": np.zeros(len(rows)),
        "faded": of_item(columns["faded"], faded_BW.sum(1)) + 1,
    }
    columns["since"] = since_BI
    joined = {
        name: np.concatenate([own[name][:, np.newaxis].astype(column.dtype), column], axis=1)
        for name, column in columns.items()
    }
    stays_BI = np.concatenate([again_B[:, np.newaxis], real_BI & ~(had_BI & again_B[:, np.newaxis])], axis=1)
    most_BI = np.argsort(np.where(stays_BI, -joined["faded"], np.inf), axis=1, kind="stable")
    kept_BI = np.zeros_like(stays_BI)
    np.put_along_axis(kept_BI, most_BI[:, : real_BI.shape[1]], True, axis=1)
    kept_BI &= stays_BI
    order_BI = np.argsort(~kept_BI, axis=1, kind="stable")[:, : real_BI.shape[1]]
    kept_BI = np.take_along_axis(kept_BI, order_BI, axis=1)
    return {
        f"total_{name}_BI": np.where(
            kept_BI, np.take_along_axis(column, order_BI, axis=1), NO_KEY if name == "item" else 0
        ).astype(column.dtype)
        for name, column in joined.items()
    }
