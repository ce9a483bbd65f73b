"""How close places are (`state.cells`), inside kernels.

Shape suffixes: B rows, W window entries.
"""

import numpy as np

from state import cells
from state.arrays import Bools, Doubles, Floats, Int64s
from state.compiled import compiled, inner
from state.keys import NO_KEY, mix

closeness = compiled(cells.closeness)
_AT_FIRST, _AT_MOST, _AT_ONCE = 1 << 11, 1 << 17, 512
"""Points that there is room for, twice, and that are added in one go."""
LAT, LON, CELL = range(3)


class Cells:
    """Coordinates to cells; those met last are kept, since people go where they have been."""

    def __init__(self) -> None:
        self._table_T3 = np.zeros((_AT_FIRST, 3), np.int64)
        """Bits of latitude and longitude, and the cell; 0 where there is none. Open addressing."""
        self._used = 0

    def of(self, lat_B: Doubles, lon_B: Doubles, place_B: Int64s) -> Int64s:
        """What `state.cells.cells_of` says."""
        cell_B, new_B = cells.named(place_B), np.empty(len(place_B), np.int64)
        bits_B2 = np.stack([lat_B, lon_B], axis=1).view(np.int64)
        nowhere_B = np.isnan(lat_B) | np.isnan(lon_B)
        new_N = new_B[: _known(self._table_T3, bits_B2, nowhere_B, cell_B, new_B)]
        for first in range(0, len(new_N), _AT_ONCE):
            some_N = new_N[first : first + _AT_ONCE]
            if 2 * (self._used + _AT_ONCE) > len(self._table_T3):
                size = min(4 * len(self._table_T3), _AT_MOST)
                self._table_T3, self._used = np.zeros((size, 3), np.int64), 0
            cell_B[some_N] = cells.cells_of(lat_B[some_N], lon_B[some_N], place_B[some_N])
            _keep(self._table_T3, bits_B2[some_N], cell_B[some_N])
            self._used += len(some_N)
        return cell_B


@inner
def _place(table_T3: Int64s, lat: int, lon: int) -> int:
    """Where a point is in the table, or would be."""
    mask = len(table_T3) - 1
    t = mix(lat ^ mix(lon)) & mask
    while table_T3[t, CELL] != 0 and (table_T3[t, LAT] != lat or table_T3[t, LON] != lon):
        t = (t + 1) & mask
    return t


@compiled
def _known(table_T3: Int64s, bits_B2: Int64s, nowhere_B: Bools, cell_B: Int64s, new_N: Int64s) -> int:
    """Write the cells of points that are kept, and the rows of the others; returns how many these are."""
    new = 0
    for b in range(len(cell_B)):
        if not nowhere_B[b]:
            cell = table_T3[_place(table_T3, bits_B2[b, LAT], bits_B2[b, LON]), CELL]
            if cell != 0:
                cell_B[b] = cell
            else:
                new_N[new] = b
                new += 1
    return new


@compiled
def _keep(table_T3: Int64s, bits_N2: Int64s, cell_N: Int64s) -> None:
    for n in range(len(cell_N)):
        t = _place(table_T3, bits_N2[n, LAT], bits_N2[n, LON])
        table_T3[t, LAT], table_T3[t, LON], table_T3[t, CELL] = bits_N2[n, LAT], bits_N2[n, LON], cell_N[n]


@compiled
def closeness_to_last(length_B: Int64s, cell_BW: Int64s, close_BW: Floats) -> None:
    """Write how close each row's entries are to the last of them that has a place; nothing where none has."""
    for b in range(cell_BW.shape[0]):
        last = length_B[b] - 1
        while last > 0 and cell_BW[b, last] == NO_KEY:
            last -= 1
        for w in range(length_B[b]):
            close_BW[b, w] = closeness(cell_BW[b, last], cell_BW[b, w])
