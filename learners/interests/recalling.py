"""What an interest recalls of a window: rows of the table, and how much each entry weighs in each view."""

import numpy as np

from learners.interests import views
from learners.interests.settings import TwoTowerSettings
from state.examples import Window
from state.keys import Int64s


def recalled(window: Window, id_table: Int64s, shown: int, settings: TwoTowerSettings) -> views.Recalled:
    """The newest entries in the first `shown` views: as many as count, however wide the window is."""
    kept = min(settings.window, int(window.item_BW.shape[1]))
    recalled = views.Recalled(
        np.full((len(window.length_B), kept), -1, np.int64),
        np.minimum(window.length_B, kept),
        np.zeros((shown, len(window.length_B), kept), np.float32),
    )
    views.window_rows(id_table, window.item_BW, window.length_B, recalled.rows_BW)
    views.view_weights(
        window.length_B,
        window.retention_BW,
        window.hour_BW,
        window.week_BW,
        window.place_BW,
        settings.short,
        settings.fade,
        recalled.weight_VBW,
    )
    return recalled
