"""Which cluster an item belongs to: by the events' category, a column of the item table, what that says of it
in all (`learners.coevolution.content_codes`), or where it is.

Clusters get numbers as they come, 0 is of all that have none: what is known too little of, and what came when
all numbers were given. Names are what the log calls them.

Shape suffixes: N catalogue rows, Q rows that are learned.
"""

from typing import NamedTuple

import numpy as np

from learners.coevolution.content_codes import content_codes
from learners.contract import Context
from learners.tables.growing import grown
from learners.tables.side_columns import Columns
from state.arrays import Bools, Doubles
from state.errors import InputError
from state.examples import ExampleBatch
from state.keys import NO_KEY, Int64s, KeyMap, Names, pair
from state.side import SideTable
from state.tree import Tree

CONTENT = "content"
CELL_DEGREES = 0.01, 0.013
"""Latitude and longitude of a cell: about a kilometre each way at 40 degrees."""
_EVENTS_OF_A_CELL = 20
"""That it must have had to be a cluster."""
_ITEMS_OF_A_COMBINATION = 5
"""That several categories together must have in the table; else the first of them is the cluster."""
_WATCHED = 1 << 16
"""Cells that are counted, before counting begins anew."""
_LONGITUDES = 1 << 16


class Clusters:
    def __init__(self, context: Context, by: str, most: int) -> None:
        """`by`: "auto", "category", "place", "content", or a category column of the item table. Raises
        InputError."""
        self.catalogue, self.most = context.catalogue, most
        self.by = _chosen(context, by)
        self._table = _Table({}, {})
        if context.items is not None and self.by in context.items.categories:
            self._table = _of_table(context.items, self.by)
        elif context.items is not None and self.by == CONTENT:
            self._table = _Table(content_codes(context.items, most - 1), {})
        self.index = KeyMap()
        self._key_N: Int64s = np.zeros(0, np.int64)
        """What decides the cluster of each catalogue row; NO_KEY where it is not known."""
        self._cells = KeyMap()
        self._count_C: Doubles = np.zeros(0)

    def __len__(self) -> int:
        """How many there are, the one of all others included."""
        return len(self.index) + 1

    def learn(self, rows: ExampleBatch) -> Int64s:
        """The cluster of each row's item, as it is known by then (Q,)."""
        key_Q = self._keys_of(rows)
        wanted_Q = self._wanted(key_Q) if self.by == "place" else key_Q != NO_KEY
        known_Q = self.index.rows(key_Q)
        new_Q = np.flatnonzero(wanted_Q & (known_Q < 0))
        if len(new_Q):
            _, first = np.unique(key_Q[new_Q], return_index=True)
            begins_A = new_Q[np.sort(first)[: max(self.most - len(self), 0)]]
            row_A = self.index.rows(key_Q[begins_A], grow=True)
            begins_I = np.zeros(len(self.index), np.int64)
            begins_I[row_A] = begins_A
            known_Q = self.index.rows(key_Q)
            known_Q[(known_Q >= 0) & (np.arange(len(key_Q)) < begins_I[known_Q])] = -1
        row_Q = self.catalogue.items.rows(rows.item_B)
        self._key_N = grown(self._key_N, len(self.catalogue), NO_KEY)
        self._key_N[row_Q[row_Q >= 0]] = key_Q[row_Q >= 0]
        return known_Q + 1

    def of(self, rows: ExampleBatch) -> Int64s:
        """The cluster of each row's item, by what is known; changes nothing (B,)."""
        return self.index.rows(self._keys_of(rows)) + 1

    def of_catalogue(self) -> Int64s:
        """The cluster of every item (N,)."""
        self._key_N = grown(self._key_N, len(self.catalogue), NO_KEY)
        return self.index.rows(self._key_N[: len(self.catalogue)]) + 1

    def names(self, names: Names) -> list[str | None]:
        """Of each cluster, given what keys stand for; None where nobody has told what it is called."""
        return ["other", *(self._name(key, names) for key in self.index)]

    def tidy(self) -> None:
        """Begin to count cells anew, where there are too many to be counted."""
        if len(self._cells) > _WATCHED:
            self._cells, self._count_C = KeyMap(), np.zeros(0)

    def keep(self, kept_K: Int64s) -> None:
        """Of catalogue rows only these stay."""
        self._key_N = grown(self._key_N, int(kept_K.max(initial=-1)) + 1, NO_KEY)[kept_K]

    def _keys_of(self, rows: ExampleBatch) -> Int64s:
        if self.by == "category":
            return rows.category_B
        if self.by == "place":
            return _cells(rows.lat_B, rows.lon_B)
        return np.array([self._table.key.get(item, NO_KEY) for item in rows.item_B.tolist()], np.int64)

    def _wanted(self, key_Q: Int64s) -> Bools:
        """Which cells have had enough events, row after row."""
        row_Q = self._cells.rows(key_Q, grow=True)
        self._count_C = grown(self._count_C, len(self._cells.keys))
        order = np.argsort(row_Q, kind="stable")
        first = np.searchsorted(row_Q[order], row_Q[order])
        before_Q = np.empty(len(row_Q))
        before_Q[order] = np.arange(len(row_Q)) - first
        enough_Q = self._count_C[row_Q] + before_Q >= _EVENTS_OF_A_CELL
        np.add.at(self._count_C, row_Q, 1.0)
        return np.asarray(enough_Q & (key_Q != NO_KEY))

    def _name(self, key: int, names: Names) -> str | None:
        if self.by == "place":
            lat, lon = (key // _LONGITUDES) * CELL_DEGREES[0], (key % _LONGITUDES) * CELL_DEGREES[1]
            return f"{lat - 90.0:.2f}, {lon - 180.0:.3f}"
        if self.by == CONTENT and key not in self._table.parts:
            return None
        parts = [names.text(part) for part in self._table.parts.get(key, (key,))]
        told = [part for part in parts if part is not None]
        return "|".join(told) if len(told) == len(parts) else None

    def tree(self) -> Tree:
        used = int((self._key_N != NO_KEY).nonzero()[0].max(initial=-1)) + 1
        return {
            "index": self.index.tree(),
            "key_N": self._key_N[:used].copy(),
            "cells": self._cells.tree(),
            "count_C": self._count_C[: len(self._cells)].copy(),
        }

    def load(self, tree: Tree) -> None:
        self.index.load(tree["index"])
        self._cells.load(tree["cells"])
        self._key_N, self._count_C = np.array(tree["key_N"]), np.array(tree["count_C"])


class _Table(NamedTuple):
    key: dict[int, int]
    """Item -> what decides its cluster."""
    parts: dict[int, tuple[int, ...]]
    """That -> the categories that it is made of."""


def _of_table(items: SideTable, column: str) -> _Table:
    """Of every item of the table, by the newest row that it began with."""
    of, of_item = items.categories[column], {}
    for row, item in enumerate(items.id_N[: items.begun].tolist()):
        of_item[item] = tuple(of.keys[of.start_N1[row] : of.start_N1[row + 1]].tolist())
    many: dict[tuple[int, ...], int] = {}
    for cell in of_item.values():
        many[cell] = many.get(cell, 0) + 1
    table = _Table({}, {})
    for item, cell in of_item.items():
        if not cell:
            continue
        parts = cell if many[cell] >= _ITEMS_OF_A_COMBINATION else cell[:1]
        key = parts[0]
        for part in parts[1:]:
            key = pair(key, part)
        table.key[item], table.parts[key] = key, parts
    return table


def _cells(lat_Q: Doubles, lon_Q: Doubles) -> Int64s:
    there_Q = np.isfinite(lat_Q) & np.isfinite(lon_Q)
    south, west = CELL_DEGREES
    north_Q = np.floor((np.where(there_Q, lat_Q, 0.0) + 90.0) / south).astype(np.int64)
    east_Q = np.floor((np.where(there_Q, lon_Q, 0.0) + 180.0) / west).astype(np.int64)
    return np.where(there_Q, north_Q * _LONGITUDES + east_Q, NO_KEY)


def _chosen(context: Context, by: str) -> str:
    """What decides, on this log. Raises InputError where it has nothing of the kind."""
    shared = Columns(context.items).categories if context.items is not None else ()
    there = [
        *(["category"] if "category" in context.roles else []),
        *shared,
        *(["place"] if {"lat", "lon"} <= context.roles else []),
    ]
    known = set(there)
    if context.items is not None:
        known |= {*context.items.categories}
        known |= {CONTENT} if shared or context.items.texts or context.items.vectors else set()
    if by in known:
        return by
    if by == "auto" and there:
        return there[0]
    raise InputError(
        f"[learners.coea] clusters: expected items to have a category, a place or a column of an item table"
        f" ({', '.join(sorted(known)) or 'this log has none of them'}), got {by!r}; name a column with --map"
        " category=COLUMN or give an item table with --items, or choose another learner"
    )
