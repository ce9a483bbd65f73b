"""A window's arrays as kernels take and write them.

Shape suffixes: B rows, W window entries, I items with totals.
"""

from typing import NamedTuple

from state.examples import Floats, Shorts, Window
from state.keys import Int64s


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
    return Columns(*(getattr(window, name) for name in Columns._fields))
