"""A side table's columns as a learner takes them: category keys, and numbers both as they are and in groups.

The groups of a number come from the rows that are in force first (all of them in a table without times,
which is known from the start), so that no row shapes the groups of times before it.

Shape suffixes: N rows, R rows that are new, C columns that give keys, M numbers, V numbers of vectors,
G group edges.
"""

import numpy as np

from state.examples import Doubles, Floats
from state.keys import Int64s
from state.side import Categories, SideTable

GROUPS = 9
"""A number falls into at most this many groups of equal size."""

MOST_KEYS = 8
"""Of a cell with more categories the first ones count."""

_FIRST_ROWS = 256
_NONE = np.zeros(0, np.int64)


class Columns:
    """Categories first, then the groups of the numbers: C = len(categories) + len(numbers). They follow a
    table that grows: what there is of them is as of the last call of `rows`.

    A category that hardly two rows share (a name, a zip code) is left out: it says no more than the id.
    """

    def __init__(self, table: SideTable | None) -> None:
        self.table = SideTable(_NONE, _NONE) if table is None else table
        known = self.table.categories, self.table.numbers
        first_N = _first(self.table.since_ms_N[: self.table.begun])
        self.categories = tuple(name for name in sorted(known[0]) if _shared(known[0][name], first_N))
        self.numbers = tuple(sorted(known[1]))
        self._edges = [_edges(known[1][name], first_N) for name in self.numbers]
        self.vectors = tuple(sorted(self.table.vectors))
        self._empty()
        self._follow()

    @property
    def most(self) -> int:
        """No row has more keys than this."""
        return MOST_KEYS * len(self.categories) + len(self.numbers)

    @property
    def content(self) -> int:
        """V: numbers of all vectors of a row together."""
        return sum(self.table.vectors[name].shape[1] for name in self.vectors)

    def rows(self, keys_B: Int64s, time_ms_B: Int64s) -> Int64s:
        """The row in force of each key at each time, or -1."""
        self._follow()
        if not len(self.table):
            return np.full(len(keys_B), -1, np.int64)
        return self.table.rows(keys_B, time_ms_B)

    def vectors_of(self, row_B: Int64s) -> Floats:
        """Each row's vectors side by side (B, V), of unit length each; zeros where there is none."""
        found_BV = np.zeros((len(row_B), self.content), np.float32)
        there, at = np.flatnonzero(row_B >= 0), 0
        for name in self.vectors:
            vector_RV = self.table.vectors[name][row_B[there]]
            length_R = np.linalg.norm(vector_RV, axis=1, keepdims=True)
            found_BV[there, at : at + vector_RV.shape[1]] = vector_RV / np.where(length_R > 0, length_R, 1)
            at += vector_RV.shape[1]
        return found_BV

    def _empty(self) -> None:
        columns = len(self.categories) + len(self.numbers)
        self.start_NC1: Int64s = np.zeros((0, columns + 1), np.int64)
        self.keys = _NONE
        self.number_NM: Doubles = np.zeros((0, len(self.numbers)))
        self._rebuilt = self.table.rebuilt

    def _follow(self) -> None:
        """Take in the rows that the table has got."""
        if self._rebuilt != self.table.rebuilt:
            self._empty()
        new = slice(len(self.start_NC1), len(self.table))
        if new.start == new.stop:
            return
        rows = np.arange(new.start, new.stop)
        number_RM = np.empty((len(rows), len(self.numbers)))
        for m, name in enumerate(self.numbers):
            number_RM[:, m] = self.table.numbers[name][new]
        lists = [_cut(self.table.categories[name].take(rows)) for name in self.categories]
        lists += [_grouped(number_RM[:, m], edges_G) for m, edges_G in enumerate(self._edges)]
        start_RC1, keys = _side_by_side(lists, len(rows))
        self.start_NC1 = np.concatenate([self.start_NC1, len(self.keys) + start_RC1])
        self.keys = np.concatenate([self.keys, keys])
        self.number_NM = np.concatenate([self.number_NM, number_RM])


def _side_by_side(lists: list[Categories], size: int) -> tuple[Int64s, Int64s]:
    """Where the keys of each row and column begin (`size`, C + 1), and the keys, row after row."""
    count_NC = np.array([np.diff(column.start_N1) for column in lists]).reshape(len(lists), size).T
    start_NC1 = np.zeros((size, len(lists) + 1), np.int64)
    start_NC1[:, 1:] = np.cumsum(count_NC, axis=1)
    start_NC1 += np.concatenate([[0], np.cumsum(start_NC1[:, -1])[:-1]]).astype(np.int64)[:size, None]
    keys = np.empty(int(count_NC.sum()), np.int64)
    for c, column in enumerate(lists):
        within = np.arange(len(column.keys)) - np.repeat(column.start_N1[:-1], count_NC[:, c])
        keys[np.repeat(start_NC1[:, c], count_NC[:, c]) + within] = column.keys
    return start_NC1, keys


def _edges(value_N: Doubles, first_N: Int64s) -> Doubles:
    """Between groups (G,) that are of equal size in the first rows."""
    known = value_N[first_N]
    known = known[np.isfinite(known)]
    return np.unique(np.quantile(known, np.arange(1, GROUPS) / GROUPS)) if len(known) else np.zeros(0)


def _grouped(value_N: Doubles, edges_G: Doubles) -> Categories:
    """The number of the group that each value falls into; NaN falls into none."""
    present_N = ~np.isnan(value_N)
    start_N1 = np.concatenate([[0], np.cumsum(present_N)]).astype(np.int64)
    return Categories(start_N1, np.searchsorted(edges_G, value_N[present_N], "right").astype(np.int64))


def _shared(column: Categories, first_N: Int64s) -> bool:
    """Whether rows have categories in common: at most half as many categories as rows that have one."""
    count_N = np.diff(column.start_N1)
    first = np.zeros(len(count_N), np.bool_)
    first[first_N] = True
    known = np.unique(column.keys[np.repeat(first, count_N)])
    return bool(2 * len(known) <= np.count_nonzero(count_N[first]))


def _first(since_ms_N: Int64s) -> Int64s:
    """Rows that hold no later than the `_FIRST_ROWS`-th to hold."""
    if not len(since_ms_N):
        return np.zeros(0, np.int64)
    nth = min(_FIRST_ROWS, len(since_ms_N)) - 1
    return np.flatnonzero(since_ms_N <= np.partition(since_ms_N, nth)[nth])


def _cut(column: Categories) -> Categories:
    count_N = np.diff(column.start_N1)
    if not len(count_N) or count_N.max() <= MOST_KEYS:
        return column
    within = np.arange(len(column.keys)) - np.repeat(column.start_N1[:-1], count_N)
    start_N1 = np.concatenate([[0], np.cumsum(np.minimum(count_N, MOST_KEYS))]).astype(np.int64)
    return Categories(start_N1, column.keys[within < MOST_KEYS])
