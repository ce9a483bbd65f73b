"""What a user's memory is once a row is remembered: for a reader, who may be asked at any time.

A window is what was remembered before its row. With what the operator says besides of the row's own event
(`own_strength_s_B`, `goes_B`), it becomes the window that a next row at the same time would have, and every
entry's retention follows at any later time: exp(-(time - last) / strength).

Shape suffixes: B rows, W window, E entries of all windows.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from state.examples import BY_ENTRY, ExampleBatch, Window, empty_window
from state.keys import Int64s
from state.memory.after_totals import totals_after
from state.memory.mask import Selection, narrowed

_LAST_MS = np.iinfo(np.int64).max
_ALIKE = 1e-6
"""How far apart retentions are that differ by rounding alone."""


def after(rows: ExampleBatch, selection: Selection, *, known: bool, periodic: bool) -> ExampleBatch:
    """Each row's window once its own event is remembered: what is selected of that at its time and hour.

    Windows are by no smaller a selection. `known` is whether outcomes are known at once, and `periodic`,
    whether times have an hour and a weekday.
    """
    window = rows.window
    if window is None:
        return rows
    size, width = window.item_BW.shape
    remembered_B = window.own_strength_s_B > 0.0
    own = {
        "item_BW": rows.item_B,
        "category_BW": rows.category_B,
        "cell_BW": rows.cell_B,
        "hour_BW": np.full(size, float(periodic)),
        "week_BW": np.full(size, float(periodic)),
        "label_BW": rows.label_B if known else np.full(size, np.nan),
        "time_ms_BW": rows.time_ms_B,
        "minute_BW": window.own_minute_B,
    }
    joined = empty_window(size, width + 1)
    for name in BY_ENTRY:
        getattr(joined, name)[:, :width] = getattr(window, name)
        if name in own:
            getattr(joined, name)[:, width] = own[name]
    met_BW = remembered_B[:, np.newaxis] & (joined.item_BW == rows.item_B[:, np.newaxis])
    joined.strength_s_BW[met_BW] = np.broadcast_to(window.own_strength_s_B[:, np.newaxis], met_BW.shape)[
        met_BW
    ]
    joined.retention_BW[met_BW] = 1.0

    at_W, length_B1 = np.arange(width + 1), window.length_B[:, np.newaxis]
    stays_BW = (at_W < length_B1) & (
        (at_W != length_B1 - window.goes_B[:, np.newaxis]) | ~remembered_B[:, np.newaxis]
    )
    stays_BW[:, width] = remembered_B
    order_BW = np.argsort(np.where(stays_BW, joined.time_ms_BW, _LAST_MS), axis=1, kind="stable")
    length_B = stays_BW.sum(1)
    real_BW = at_W < length_B[:, np.newaxis]
    made = empty_window(size, width + 1)
    for name in BY_ENTRY:
        moved_BW = np.take_along_axis(getattr(joined, name), order_BW, axis=1)
        np.copyto(getattr(made, name), moved_BW, where=real_BW)
    _link(made, np.where(remembered_B, (order_BW == width).argmax(1), -1), length_B)
    columns = {name: getattr(made, name) for name in BY_ENTRY}
    totals: dict[str, Any] = totals_after(rows, window, remembered_B, known=known)
    joined_rows = replace(rows, window=replace(window, length_B=length_B, **columns, **totals))
    own_tz_min_B = window.own_minute_B - rows.time_ms_B // 60_000
    there = replace(joined_rows, tz_min_B=np.where(remembered_B, own_tz_min_B, rows.tz_min_B))
    return replace(rows, window=narrowed(there, selection).window)


def _link(made: Window, own_B: Int64s, length_B: Int64s) -> None:
    """Write what came before each row's own event, entry `own_B` or -1, and that it came before the next.

    Of a late one it is what is beside it in the window.
    """
    for here_B, there_B in ((own_B, own_B > 0), (own_B + 1, (own_B >= 0) & (own_B + 1 < length_B))):
        row_R = np.flatnonzero(there_B)
        at_R = here_B[row_R]
        made.before_BW[row_R, at_R] = made.item_BW[row_R, at_R - 1]
        gap_ms_R = made.time_ms_BW[row_R, at_R] - made.time_ms_BW[row_R, at_R - 1]
        made.gap_s_BW[row_R, at_R] = gap_ms_R / 1000.0


def last_ms(window: Window, time_ms_B: Int64s) -> Int64s:
    """When the item of each entry (B, W) was last met: at the newest of its entries.

    Where that was not selected: at the time that the entry's retention tells.
    """
    real_BW = np.arange(window.item_BW.shape[1]) < window.length_B[:, np.newaxis]
    row_E, _ = np.nonzero(real_BW)
    item_E, time_ms_E = window.item_BW[real_BW], window.time_ms_BW[real_BW]
    last_ms_BW = np.zeros(real_BW.shape, np.int64)
    if not len(row_E):
        return last_ms_BW
    order_E = np.lexsort((item_E, row_E))
    first_E = np.ones(len(row_E), np.bool_)
    first_E[1:] = np.diff(item_E[order_E]).astype(np.bool_) | np.diff(row_E[order_E]).astype(np.bool_)
    newest_E = np.empty(len(row_E), np.int64)
    newest_E[order_E] = np.maximum.reduceat(time_ms_E[order_E], np.flatnonzero(first_E))[
        np.cumsum(first_E) - 1
    ]
    strength_ms_E = window.strength_s_BW[real_BW].astype(np.float64) * 1000.0
    retention_E = window.retention_BW[real_BW].astype(np.float64)
    retained_E = np.exp(-np.maximum(time_ms_B[row_E] - newest_E, 0) / strength_ms_E)
    since_ms_E = -np.log(np.maximum(retention_E, np.finfo(np.float64).tiny)) * strength_ms_E
    told_E = time_ms_B[row_E] - np.rint(since_ms_E).astype(np.int64)
    last_ms_BW[real_BW] = np.where(np.abs(retained_E - retention_E) <= _ALIKE, newest_E, told_E)
    return last_ms_BW
