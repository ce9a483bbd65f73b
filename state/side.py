"""Side tables: what is known of items and users besides their events.

Rows are columnar. A row may carry the time from which it holds; an id may have several rows, and the one
in force at time t is the newest that is not younger than t. Rows without a time hold from the start.
"""

from dataclasses import dataclass, field

import numpy as np

from state.compiled import compiled
from state.examples import Doubles
from state.keys import Int64s, KeyMap

ALWAYS = -(2**63) + 1
"""The time of a row that holds from the start."""


@dataclass(frozen=True, slots=True)
class Categories:
    """Several category keys a row: those of row r are `keys[start_N1[r] : start_N1[r + 1]]`."""

    start_N1: Int64s
    keys: Int64s


@dataclass(frozen=True, slots=True)
class SideTable:
    """N rows, sorted by (id, time); built by `replay.meaning.sides`, read by learners and by the stream."""

    id_N: Int64s
    """Key of the row's item or user."""
    since_ms_N: Int64s
    numbers: dict[str, Doubles] = field(default_factory=dict)
    """Column name -> value a row; NaN where missing."""
    categories: dict[str, Categories] = field(default_factory=dict)
    """Column name -> category keys a row; a single category is a list of one, a missing one of none."""
    texts: dict[str, list[str]] = field(default_factory=dict)
    lat_N: Doubles | None = None
    lon_N: Doubles | None = None
    _map: KeyMap = field(default_factory=KeyMap)
    _first: list[Int64s] = field(default_factory=list)

    def __post_init__(self) -> None:
        unique, first = np.unique(self.id_N, return_index=True)
        self._map.rows(unique, grow=True)
        self._first.append(np.append(first, len(self.id_N)).astype(np.int64))

    def __len__(self) -> int:
        return len(self.id_N)

    def rows(self, keys_B: Int64s, time_ms_B: Int64s) -> Int64s:
        """The row in force of each key at each time, or -1 for an unknown id."""
        rows_B = np.empty(len(keys_B), np.int64)
        _in_force(self._map.rows(keys_B), self._first[0], self.since_ms_N, time_ms_B, rows_B)
        return rows_B


@compiled
def _in_force(ids_B: Int64s, first: Int64s, since_ms_N: Int64s, time_ms_B: Int64s, rows_B: Int64s) -> None:
    for b in range(ids_B.shape[0]):
        rows_B[b] = -1
        if ids_B[b] >= 0:
            for row in range(first[ids_B[b]], first[ids_B[b] + 1]):
                if since_ms_N[row] <= time_ms_B[b]:
                    rows_B[b] = row
