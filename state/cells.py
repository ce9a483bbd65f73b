"""Places as cells: H3 cells with their parents, named places, and local time from the longitude.
Needs no numba.

A place is one 64-bit number: an H3 cell (positive) where the log has coordinates, a named place's own
number (negative) where it has only a name, NO_KEY where it has neither.
"""

import h3.api.basic_int as h3  # type: ignore[import-untyped]
import numpy as np

from state.arrays import Doubles, Int64s
from state.ids import NO_KEY

RESOLUTION = 9
"""The finest cell: some 175 m across."""

PARENTS = ((7, 0.5), (5, 0.25))
"""Coarser resolutions (some 1.2 km and 8.5 km across) and what sharing one is worth."""

KM_EAST, KM_NORTH = 111.32, 110.57
"""Kilometres a degree of longitude, on the equator, and a degree of latitude."""

_SHIFT_7 = 3 * (15 - PARENTS[0][0])
_SHIFT_5 = 3 * (15 - PARENTS[1][0])


def cells_of(lat_B: Doubles, lon_B: Doubles, place_B: Int64s) -> Int64s:
    """The cell of each row: by coordinates, else by the place's name, else NO_KEY."""
    cell_B = named(place_B)
    rows = np.flatnonzero(~(np.isnan(lat_B) | np.isnan(lon_B)))
    points = zip(lat_B[rows].tolist(), lon_B[rows].tolist(), strict=True)
    cell_B[rows] = [int(h3.latlng_to_cell(*point, RESOLUTION)) for point in points]
    return cell_B


def named(place_B: Int64s) -> Int64s:
    """Numbers of named places, none of which is an H3 cell's."""
    return np.where(place_B >= 0, ~place_B, np.where(place_B == NO_KEY, NO_KEY, place_B - (1 << 62)))


def point_of(cell: int) -> tuple[float, float] | None:
    """Latitude and longitude of a cell's middle, WGS 84 degrees; None for a name, or nowhere."""
    if cell < 0:
        return None
    lat, lon = h3.cell_to_latlng(cell)
    return float(lat), float(lon)


def closeness(a: int, b: int) -> float:
    """1 in the same cell, PARENTS' worth under the same parent, else 0; 0 where either is NO_KEY.

    Two cells of one resolution share a parent when their numbers agree above the digits below it.
    """
    if a == b:
        return 0.0 if a == NO_KEY else 1.0
    if a < 0 or b < 0:
        return 0.0
    if (a ^ b) >> _SHIFT_7 == 0:
        return PARENTS[0][1]
    if (a ^ b) >> _SHIFT_5 == 0:
        return PARENTS[1][1]
    return 0.0


def solar_tz_min(tz_min_B: Int64s, lon_B: Doubles) -> Int64s:
    """Minutes ahead of UTC by the longitude, in whole hours; rows without one keep `tz_min_B`.

    >>> solar_tz_min(np.zeros(2, np.int64), np.array([-74.0, np.nan])).tolist()
    [-300, 0]
    """
    known = ~np.isnan(lon_B)
    return np.where(known, np.rint(np.where(known, lon_B, 0.0) / 15.0) * 60.0, tz_min_B).astype(np.int64)
