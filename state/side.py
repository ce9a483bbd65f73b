"""Side tables: what is known of items and users besides their events.

Rows are columnar. A row may carry the time from which it holds; an id may have several rows, and the one
in force at time t is the newest that is not younger than t; of equal times the one that came last. Rows
without a time hold from the start.

A table may grow while it is read (a live catalogue). Its columns are those that it began with, and so is
whatever a learner decides by them: the first `begun` rows stay, whatever comes.

Shape suffixes: N rows, U ids, B questions, R rows that come, V numbers of a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from state import texts
from state.arrays import Bools, Floats
from state.compiled import compiled
from state.examples import Doubles
from state.keys import Int64s, KeyMap
from state.tree import Tree

ALWAYS = -(2**63) + 1
"""The time of a row that holds from the start."""


@dataclass(frozen=True, slots=True)
class Categories:
    """Several category keys a row: those of row r are `keys[start_N1[r] : start_N1[r + 1]]`."""

    start_N1: Int64s
    keys: Int64s

    @classmethod
    def of(cls, cells: Sequence[Sequence[int]]) -> "Categories":
        """The keys of each row."""
        start_N1 = np.cumsum([0, *map(len, cells)]).astype(np.int64)
        return cls(start_N1, np.array([key for cell in cells for key in cell], np.int64))

    def take(self, rows: Int64s) -> "Categories":
        """Those of the rows."""
        count_R = self.start_N1[rows + 1] - self.start_N1[rows]
        start_R1 = np.concatenate([[0], np.cumsum(count_R)]).astype(np.int64)
        place_K = np.arange(start_R1[-1]) - np.repeat(start_R1[:-1] - self.start_N1[rows], count_R)
        return Categories(start_R1, self.keys[place_K])

    def then(self, other: "Categories") -> "Categories":
        """These, and then the others."""
        start_N1 = np.concatenate([self.start_N1, self.start_N1[-1] + other.start_N1[1:]])
        return Categories(start_N1, np.concatenate([self.keys, other.keys]))


@dataclass(slots=True)
class SideTable:
    """N rows; built by `replay.meaning.sides` sorted by (id, time), read by learners and by the stream."""

    id_N: Int64s
    """Key of the row's item or user."""
    since_ms_N: Int64s
    numbers: dict[str, Doubles] = field(default_factory=dict)
    """Column name -> value a row; NaN where missing."""
    categories: dict[str, Categories] = field(default_factory=dict)
    """Column name -> category keys a row; a single category is a list of one, a missing one of none."""
    texts: dict[str, list[str]] = field(default_factory=dict)
    vectors: dict[str, Floats] = field(default_factory=dict)
    """Column name -> a vector a row (N, V); zeros where missing."""
    lat_N: Doubles | None = None
    lon_N: Doubles | None = None
    begun: int = -1
    """How many rows it began with; all of them unless said."""
    rebuilt: int = 0
    """How often rows after those have been given other numbers."""
    _map: KeyMap = field(default_factory=KeyMap)
    _newest_U: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    _older_N: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    """The row that each row follows, -1 for none."""

    def __post_init__(self) -> None:
        self.begun = len(self.id_N) if self.begun < 0 else self.begun
        self._link(0)

    def __len__(self) -> int:
        return len(self.id_N)

    @property
    def ids(self) -> Int64s:
        """Every id that has a row, once (U,)."""
        return self._map.keys[: len(self._map)]

    def knows(self, keys_B: Int64s) -> Bools:
        """Which ids have a row (B,)."""
        known_B: Bools = self._map.rows(keys_B) >= 0
        return known_B

    def rows(self, keys_B: Int64s, time_ms_B: Int64s) -> Int64s:
        """The row in force of each key at each time, or -1 where there is none."""
        rows_B = np.empty(len(keys_B), np.int64)
        ids_B = self._map.rows(keys_B)
        _in_force(ids_B, self._newest_U, self._older_N, self.since_ms_N, time_ms_B, rows_B)
        return rows_B

    def add(self, more: "SideTable") -> None:
        """Take in rows in their order, with the columns that this table has."""
        first, count = len(self), len(more)
        self.id_N = np.concatenate([self.id_N, more.id_N])
        self.since_ms_N = np.concatenate([self.since_ms_N, more.since_ms_N])
        missing_R = np.full(count, np.nan)
        for name, value_N in self.numbers.items():
            self.numbers[name] = np.concatenate([value_N, more.numbers.get(name, missing_R)])
        none = Categories(np.zeros(count + 1, np.int64), np.zeros(0, np.int64))
        for name, column in self.categories.items():
            self.categories[name] = column.then(more.categories.get(name, none))
        for name, text_N in self.texts.items():
            text_N += more.texts.get(name, [""] * count)
        for name, vector_NV in self.vectors.items():
            nothing_RV = np.zeros((count, vector_NV.shape[1]), np.float32)
            self.vectors[name] = np.concatenate([vector_NV, more.vectors.get(name, nothing_RV)])
        if self.lat_N is not None and self.lon_N is not None:
            lat_R, lon_R = more.lat_N, more.lon_N
            self.lat_N = np.concatenate([self.lat_N, missing_R if lat_R is None else lat_R])
            self.lon_N = np.concatenate([self.lon_N, missing_R if lon_R is None else lon_R])
        self._link(first)

    def settle(self, before_ms: int) -> None:
        """Drop rows that came since the beginning and are in force at no time from `before_ms` on."""
        gone_N = np.zeros(len(self), np.bool_)
        _superseded(self._newest_U, self._older_N, self.since_ms_N, before_ms, gone_N)
        gone_N[: self.begun] = False
        if not gone_N.any():
            return
        kept = np.flatnonzero(~gone_N)
        self.id_N, self.since_ms_N = self.id_N[kept], self.since_ms_N[kept]
        self.numbers = {name: value_N[kept] for name, value_N in self.numbers.items()}
        self.categories = {name: column.take(kept) for name, column in self.categories.items()}
        self.texts = {name: [text_N[n] for n in kept.tolist()] for name, text_N in self.texts.items()}
        self.vectors = {name: vector_NV[kept] for name, vector_NV in self.vectors.items()}
        self.lat_N = None if self.lat_N is None else self.lat_N[kept]
        self.lon_N = None if self.lon_N is None else self.lon_N[kept]
        self.rebuilt += 1
        self._map, self._newest_U, self._older_N = KeyMap(), self._newest_U[:0], self._older_N[:0]
        self._link(0)

    def _link(self, first: int) -> None:
        """Take the rows from `first` on into what `rows` goes by."""
        if first == 0:
            self._map.rows(np.unique(self.id_N), grow=True)
        ids_R = self._map.rows(self.id_N[first:], grow=True)
        self._newest_U = _padded(self._newest_U, len(self._map))
        self._older_N = _padded(self._older_N, len(self))
        _linked(ids_R, first, self._newest_U, self._older_N, self.since_ms_N)

    def tree(self) -> Tree:
        return {
            "id": self.id_N,
            "since_ms": self.since_ms_N,
            "begun": self.begun,
            "numbers": dict(self.numbers),
            "categories": {
                name: {"start": column.start_N1, "keys": column.keys}
                for name, column in self.categories.items()
            },
            "texts": {name: texts.to_tree(text_N) for name, text_N in self.texts.items()},
            "vectors": dict(self.vectors),
            "places": {} if self.lat_N is None else {"lat": self.lat_N, "lon": self.lon_N},
        }

    @classmethod
    def of_tree(cls, tree: Tree) -> "SideTable":
        """The inverse of `tree`."""
        columns: dict[str, Any] = tree.get("categories", {})  # a checkpoint keeps no empty branch
        places = tree.get("places")
        return cls(
            id_N=np.array(tree["id"]),
            since_ms_N=np.array(tree["since_ms"]),
            numbers={name: np.array(value_N) for name, value_N in tree.get("numbers", {}).items()},
            categories={
                name: Categories(np.array(column["start"]), np.array(column["keys"]))
                for name, column in columns.items()
            },
            texts={name: texts.from_tree(text_N) for name, text_N in tree.get("texts", {}).items()},
            vectors={name: np.array(vector_NV) for name, vector_NV in tree.get("vectors", {}).items()},
            lat_N=np.array(places["lat"]) if places else None,
            lon_N=np.array(places["lon"]) if places else None,
            begun=int(tree["begun"]),
        )


def _padded(array: Int64s, size: int) -> Int64s:
    return np.concatenate([array, np.full(size - len(array), -1, np.int64)])


@compiled
def _linked(ids_R: Int64s, first: int, newest_U: Int64s, older_N: Int64s, since_ms_N: Int64s) -> None:
    """Put each row before the ones that hold no later, in its id's chain from the newest on."""
    for r in range(ids_R.shape[0]):
        row, younger, older = first + r, -1, newest_U[ids_R[r]]
        while older >= 0 and since_ms_N[older] > since_ms_N[row]:
            younger, older = older, older_N[older]
        older_N[row] = older
        if younger < 0:
            newest_U[ids_R[r]] = row
        else:
            older_N[younger] = row


@compiled
def _in_force(
    ids_B: Int64s,
    newest_U: Int64s,
    older_N: Int64s,
    since_ms_N: Int64s,
    time_ms_B: Int64s,
    rows_B: Int64s,
) -> None:
    for b in range(ids_B.shape[0]):
        row = newest_U[ids_B[b]] if ids_B[b] >= 0 else -1
        while row >= 0 and since_ms_N[row] > time_ms_B[b]:
            row = older_N[row]
        rows_B[b] = row


@compiled
def _superseded(newest_U: Int64s, older_N: Int64s, since_ms_N: Int64s, before_ms: int, gone_N: Bools) -> None:
    """Mark the rows behind the one that is in force at `before_ms`."""
    for u in range(newest_U.shape[0]):
        row = newest_U[u]
        while row >= 0 and since_ms_N[row] > before_ms:
            row = older_N[row]
        row = older_N[row] if row >= 0 else -1
        while row >= 0:
            gone_N[row] = True
            row = older_N[row]
