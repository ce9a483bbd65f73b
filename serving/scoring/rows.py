"""Rows of items that come and go, each in its place in the order of ids, without all others being made anew.

What is moved is memory, in one pass; nothing is done in Python but for the rows that come and go. So one new
item costs some ms among 70,000, and a tenth of a second among a million.

Shape suffixes: N rows, B of them that come, D width.
"""

from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from state.arrays import Floats, Int64s
from state.ids import key_of

Scalar = TypeVar("Scalar", bound=np.generic)
_ROOM = 16
"""One row more for so many is made room for."""


class IdRows(Mapping[str, int]):
    """Ids in their order, and the row of each; of their keys, too.

    Each has a number that stays while it is there, so that what finds it by its id is left alone when rows
    move.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        """`ids` are sorted."""
        self.names = list(ids)
        self.key_N = np.array([key_of(one) for one in self.names], np.int64)
        self._number_of_id = dict(zip(self.names, range(len(self.names)), strict=True))
        self._number_of_key = dict(zip(self.key_N.tolist(), range(len(self.names)), strict=True))
        self._number_N = np.arange(len(self.names))
        self._row_of_number = np.arange(len(self.names))
        self._free: list[int] = []

    def __getitem__(self, identifier: str) -> int:
        return int(self._row_of_number[self._number_of_id[identifier]])

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._number_of_id

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def rows_of(self, ids: Iterable[str]) -> Int64s:
        """The rows of those that are there."""
        of = self._number_of_id
        return self._row_of_number[[of[one] for one in ids if one in of]]

    def rows_of_keys(self, keys: Sequence[int]) -> Int64s:
        """The row of each key, or -1."""
        number_W = np.array([self._number_of_key.get(key, -1) for key in keys], np.int64)
        return np.where(number_W >= 0, self._row_of_number[number_W], -1) if len(self) else number_W

    def row_of_key(self, key: int) -> int:
        """The row of one key, or -1."""
        number = self._number_of_key.get(key)
        return -1 if number is None else int(self._row_of_number[number])

    def change(self, leave: Int64s, come: Sequence[str]) -> Int64s:
        """Rows leave, and ids come, both ascending; where in what stays each comes, as `changed` takes it."""
        for row in leave.tolist():
            number = self._number_of_id.pop(self.names[row])
            self._number_of_key.pop(int(self.key_N[row]), None)
            self._free.append(number)
        names = _without(self.names, leave)
        places = np.array([bisect(names, one) for one in come], np.int64)
        self.names = _with(names, places, come)
        key_B = np.array([key_of(one) for one in come], np.int64)
        self.key_N = changed(self.key_N, leave, places, key_B)
        size = len(self._row_of_number)
        number_B = [*self._free, *range(size, size + len(come))][: len(come)]
        self._free = self._free[len(come) :]
        self._number_of_id |= zip(come, number_B, strict=True)
        self._number_of_key |= zip(key_B.tolist(), number_B, strict=True)
        self._number_N = changed(self._number_N, leave, places, np.array(number_B, np.int64))
        self._row_of_number = np.full(max(size, 1 + max(number_B, default=-1)), -1, np.int64)
        self._row_of_number[self._number_N] = np.arange(len(self.names))
        return places


class VectorRows:
    """Rows (N, D) with room for more; they are moved within it."""

    rows_ND: Floats
    _room_ND: Floats

    def __init__(self, rows_ND: Floats) -> None:
        self._make_room(rows_ND, len(rows_ND))

    def change(self, leave: Int64s, places: Int64s, new_BD: Floats) -> None:
        """As `changed`; what was taken of `rows_ND` before holds other rows from then on."""
        size = len(self.rows_ND)
        for n, (row, following) in enumerate(pairwise([*leave.tolist(), size])):
            self._move(row + 1, following, row - n)
        size -= len(leave)
        if size + len(places) > len(self._room_ND):
            self._make_room(self._room_ND[:size], size + len(places))
        last = size
        for n in range(len(places) - 1, -1, -1):
            place = int(places[n])
            self._move(place, last, place + n + 1)
            self._room_ND[place + n] = new_BD[n]
            last = place
        self.rows_ND = self._room_ND[: size + len(places)]

    def _make_room(self, held_ND: Floats, size: int) -> None:
        self._room_ND = np.empty((size + size // _ROOM + 1, held_ND.shape[1]), np.float32)
        self._room_ND[: len(held_ND)] = held_ND
        self.rows_ND = self._room_ND[: len(held_ND)]

    def _move(self, first: int, last: int, to: int) -> None:
        if first >= last or first == to:
            return
        flat, width = self._room_ND.reshape(-1), self._room_ND.shape[1]  # numpy moves one axis in place
        flat[to * width : (to + last - first) * width] = flat[first * width : last * width]


def changed(
    column_N: NDArray[Scalar], leave: Int64s, places: Int64s, new_B: NDArray[Scalar]
) -> NDArray[Scalar]:
    """A column without rows `leave`, and then with new ones, each before what is at its place of that."""
    stay_N = np.delete(column_N, leave, axis=0) if len(leave) else column_N
    return np.insert(stay_N, places, new_B, axis=0) if len(places) else stay_N


def _without(names: list[str], leave: Int64s) -> list[str]:
    if not len(leave):
        return names
    made: list[str] = []
    for before, after in pairwise([-1, *leave.tolist(), len(names)]):
        made += names[before + 1 : after]
    return made


def _with(names: list[str], places: Int64s, come: Sequence[str]) -> list[str]:
    made: list[str] = []
    at = 0
    for place, name in zip(places.tolist(), come, strict=True):
        made += names[at:place]
        made.append(name)
        at = place
    return made + names[at:] if at or made else names
