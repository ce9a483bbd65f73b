"""The few places of most worth around a point: exactly, by looking at few of many.

Shape suffixes: P places, M blocks of them, B places that are looked at.
"""

import numpy as np

from serving.scoring.recalled import PlacedItems
from state.arrays import Doubles, Int64s, largest
from state.store.copy_score import KM

MANY = 200_000
"""Places from which on blocks are worth being made."""
_BLOCK = 256
_FIRST = 8
"""Blocks that are looked at first; then three times as many, and so on."""
_CELLS = 1 << 10
_A_LITTLE = 1.0 - 1e-9
"""Bounds are rounded, too."""


class Around:
    """Places with a worth each; what one is worth to somebody is that over its distance."""

    def __init__(
        self, place_P2: Doubles, worth_P: Doubles, worth_km2: float, many: int | None = None
    ) -> None:
        """`place_P2`: longitude and latitude, WGS 84 degrees; `worth_km2` is added to squared distances."""
        self._places, self._worth_P, self._worth_km2 = PlacedItems(place_P2), worth_P, worth_km2
        few = max(MANY if many is None else many, _BLOCK)
        self._blocks = _Blocks(place_P2, worth_P) if len(worth_P) > few else None

    def best(self, here: Doubles, count: int) -> Int64s:
        """The `count` of most worth over squared kilometres, the first first; of equals the first."""
        if self._blocks is None:
            return largest(self._worth(here, None), count)
        bound_M = self._blocks.bounds(here, self._worth_km2)
        looked_at = _FIRST
        while True:
            block_M = largest(bound_M, looked_at + 1)  # and the best of those that are not looked at
            rows_B = np.sort(self._blocks.rows(block_M[:looked_at]))
            worth_B = self._worth(here, rows_B)
            best = largest(worth_B, count)
            if len(block_M) <= looked_at or (
                len(best) == count and worth_B[best[-1]] > bound_M[block_M[looked_at]]
            ):
                return rows_B[best]
            looked_at *= 3

    def _worth(self, here: Doubles, rows_B: Int64s | None) -> Doubles:
        worth_B = self._worth_P if rows_B is None else self._worth_P[rows_B]
        return np.asarray(worth_B / (self._places.kilometres2(here, rows_B) + self._worth_km2))


class _Blocks:
    """Places that lie together: in the order of a curve through all cells of a map."""

    def __init__(self, place_P2: Doubles, worth_P: Doubles) -> None:
        low_2, high_2 = place_P2.min(axis=0), place_P2.max(axis=0)
        cell_P2 = ((place_P2 - low_2) / np.maximum(high_2 - low_2, 1e-9) * (_CELLS - 1)).astype(np.int64)
        curve_P = np.zeros(len(place_P2), np.int64)
        for bit in range(_CELLS.bit_length() - 1):
            for axis in (0, 1):
                curve_P |= (cell_P2[:, axis] >> bit & 1) << (2 * bit + axis)
        self._order_P = np.argsort(curve_P, kind="stable")
        self._first_M = np.arange(0, len(place_P2), _BLOCK)
        along_P2 = place_P2[self._order_P]
        self._low_M2 = np.minimum.reduceat(along_P2, self._first_M)
        self._high_M2 = np.maximum.reduceat(along_P2, self._first_M)
        self._most_M = np.maximum.reduceat(worth_P[self._order_P], self._first_M)
        half_2M = np.radians(np.stack([self._low_M2[:, 1], self._high_M2[:, 1]]) / 2.0)
        self._cos_2M, self._sin_2M = np.cos(half_2M), np.sin(half_2M)

    def bounds(self, here: Doubles, worth_km2: float) -> Doubles:
        """What a place of each block is worth at most."""
        half = np.radians(here[1] / 2.0)
        narrow_M = (self._cos_2M * np.cos(half) - self._sin_2M * np.sin(half)).min(axis=0)
        apart_M2 = np.maximum(np.maximum(self._low_M2 - here, here - self._high_M2), 0.0) * KM
        km2_M = (apart_M2[:, 0] * narrow_M) ** 2 + apart_M2[:, 1] ** 2
        return np.asarray(self._most_M / (km2_M * _A_LITTLE + worth_km2))

    def rows(self, block_B: Int64s) -> Int64s:
        """The places of blocks."""
        at = (self._first_M[block_B][:, np.newaxis] + np.arange(_BLOCK)).ravel()
        return np.asarray(self._order_P[at[at < len(self._order_P)]])
