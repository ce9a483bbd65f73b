"""A side table's columns as a learner takes them: category keys, and numbers both as they are and in groups.

The groups of a number come from the rows that are in force first (all of them in a table without times,
which is known from the start), so that no row shapes the groups of times before it.

Shape suffixes: N rows, C columns that give keys, M numbers, G group edges.
"""

from dataclasses import dataclass

import numpy as np

from state.examples import Doubles
from state.keys import Int64s
from state.side import Categories, SideTable

GROUPS = 9
"""A number falls into at most this many groups of equal size."""

MOST_KEYS = 8
"""Of a cell with more categories the first ones count."""

_FIRST_ROWS = 256


@dataclass(frozen=True, slots=True)
class Columns:
    """Categories first, then the groups of the numbers: C = len(categories) + len(numbers)."""

    table: SideTable | None
    categories: tuple[str, ...]
    numbers: tuple[str, ...]
    start_NC1: Int64s
    keys: Int64s
    number_NM: Doubles

    @property
    def most(self) -> int:
        """No row has more keys than this."""
        return MOST_KEYS * len(self.categories) + len(self.numbers)

    def rows(self, keys_B: Int64s, time_ms_B: Int64s) -> Int64s:
        """The row in force of each key at each time, or -1."""
        if self.table is None:
            return np.full(len(keys_B), -1, np.int64)
        return self.table.rows(keys_B, time_ms_B)


def columns_of(table: SideTable | None) -> Columns:
    """The columns of `table`, in the order of their names; none of no table.

    A category that hardly two rows share (a name, a zip code) is left out: it says no more than the id.
    """
    size = 0 if table is None else len(table)
    category_of = {} if table is None else table.categories
    number_of = {} if table is None else table.numbers
    first_N = np.zeros(0, np.int64) if table is None else _first(table.since_ms_N)
    categories = tuple(name for name in sorted(category_of) if _shared(category_of[name], first_N))
    numbers = tuple(sorted(number_of))
    lists = [_cut(category_of[name]) for name in categories]
    lists += [grouped(number_of[name], first_N) for name in numbers]
    count_NC = np.array([np.diff(column.start_N1) for column in lists]).reshape(len(lists), size).T
    start_NC1 = np.zeros((size, len(lists) + 1), np.int64)
    start_NC1[:, 1:] = np.cumsum(count_NC, axis=1)
    start_NC1 += np.concatenate([[0], np.cumsum(start_NC1[:, -1])[:-1]]).astype(np.int64)[:size, None]
    keys = np.empty(int(count_NC.sum()), np.int64)
    for c, column in enumerate(lists):
        within = np.arange(len(column.keys)) - np.repeat(column.start_N1[:-1], count_NC[:, c])
        keys[np.repeat(start_NC1[:, c], count_NC[:, c]) + within] = column.keys
    number_NM = np.empty((size, len(numbers)))
    for m, name in enumerate(numbers):
        number_NM[:, m] = number_of[name]
    return Columns(table, categories, numbers, start_NC1, keys, number_NM)


def grouped(value_N: Doubles, first_N: Int64s) -> Categories:
    """The number of the group that each value falls into; NaN falls into none."""
    known = value_N[first_N]
    known = known[np.isfinite(known)]
    edges_G = np.unique(np.quantile(known, np.arange(1, GROUPS) / GROUPS)) if len(known) else np.zeros(0)
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
