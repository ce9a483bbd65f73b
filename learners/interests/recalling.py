"""What an interest recalls of a memory: rows of the table, and how much each entry weighs in each view."""

import numpy as np

from learners.interests import views
from learners.interests.settings import TwoTowerSettings
from state.examples import ITEMS, Window
from state.keys import Int64s
from state.memory.windows import columns_of


def recalled(window: Window, id_table: Int64s, shown: int, settings: TwoTowerSettings) -> views.RecalledRows:
    """The newest entries in the first `shown` views, as many as count, however wide the window is; and, where
    it holds fewer, items that only its totals know."""
    size = len(window.length_B)
    kept = min(settings.window, window.item_BW.shape[1] + ITEMS)
    recalled = views.RecalledRows(
        rows_BW=np.full((size, kept), -1, np.int64),
        length_B=np.empty(size, np.int64),
        further_B=np.empty(size, np.int64),
        weight_VBW=np.zeros((shown, size, kept), np.float32),
    )
    views.remember(id_table, columns_of(window), settings.window, settings.short, settings.fade, recalled)
    return recalled
