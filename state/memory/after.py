"""What a user's memory is once a row is remembered: for a reader, who may be asked at any time.

A window is what was remembered before its row. With what the operator says besides of the row's own event
(`own_strength_s_B`, `goes_B`), it becomes the window that the user's next row would have, and every entry's
retention follows at any later time: exp(-(time - last) / strength).

Shape suffixes: B rows, W window, E entries of all windows.
"""

from dataclasses import replace

import numpy as np

from state.examples import BY_ENTRY, RECENT, ExampleBatch, Window, empty_window
from state.keys import Int64s

_GONE_MS = np.iinfo(np.int64).min
_ALIKE = 1e-6
"""How far apart retentions are that differ by rounding alone."""


def after(rows: ExampleBatch, *, known: bool, periodic: bool) -> ExampleBatch:
    """Each row's window as of its time, with its own event remembered, the newest entries of as many as fit.

    `known` is whether outcomes are known at once, and `periodic`, whether times have an hour and a weekday.
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
        "views_BW": np.full(size, RECENT),
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
    order_BW = np.argsort(np.where(stays_BW, joined.time_ms_BW, _GONE_MS), axis=1, kind="stable")
    length_B = np.minimum(stays_BW.sum(1), width)
    real_BW = at_W[:width] < length_B[:, np.newaxis]
    from_BW = np.minimum(width + 1 - length_B[:, np.newaxis] + at_W[:width], width)
    from_BW = np.take_along_axis(order_BW, from_BW, axis=1)
    made = empty_window(size, width)
    for name in BY_ENTRY:
        moved_BW = np.take_along_axis(getattr(joined, name), from_BW, axis=1)
        np.copyto(getattr(made, name), moved_BW, where=real_BW)
    columns = {name: getattr(made, name) for name in BY_ENTRY}
    return replace(rows, window=replace(window, length_B=length_B, **columns))


def last_ms(window: Window, time_ms_B: Int64s) -> Int64s:
    """When the item of each entry (B, W) was last met: at the newest of its entries.

    In a window of views that entry may be missing: then at the time that the entry's retention tells.
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
