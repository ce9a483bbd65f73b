"""A growing map from key to row, usable inside kernels; what keys are is said in `state.ids`."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from state.arrays import Int64s as Int64s
from state.compiled import compiled, inner
from state.ids import HASHED as HASHED
from state.ids import NO_KEY as NO_KEY
from state.ids import Names as Names
from state.ids import key_of as key_of
from state.ids import known_key_of as known_key_of
from state.tree import Tree


@compiled
def mix(x: int) -> int:
    """SplitMix64's finaliser: every bit of `x` moves every bit of the result."""
    z = np.uint64(x) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(z ^ (z >> np.uint64(31)))  # type: ignore[return-value]


@compiled
def mixed(keys_N: Int64s) -> Int64s:
    """`mix` of each (N,)."""
    mixed_N = np.empty(len(keys_N), np.int64)
    for n in range(len(keys_N)):
        mixed_N[n] = mix(keys_N[n])
    return mixed_N


@compiled
def pair(a: int, b: int) -> int:
    """The key of an ordered pair of keys (64-bit hash: see the odds above)."""
    return mix(mix(a) ^ (b * 3 + 1))


@compiled
def find(table: Int64s, key: int) -> int:
    """The row of `key` in a KeyMap's `table`, or -1."""
    mask = table.shape[0] - 1
    i = mix(key) & mask
    while table[i, 1] >= 0:
        if table[i, 0] == key:
            return int(table[i, 1])
        i = (i + 1) & mask
    return -1


class KeyArrays(NamedTuple):
    """A KeyMap inside a kernel."""

    table: Int64s
    """(2^k, 2) of key and row, -1 where there is none."""
    keys: Int64s
    """By row."""
    used: Int64s
    """(1,): rows in use."""


@inner
def add(ids: KeyArrays, key: int) -> int:
    """The row of `key`, given the next free one if it is new. The caller has reserved the room."""
    table = ids.table
    mask = table.shape[0] - 1
    i = mix(key) & mask
    while table[i, 1] >= 0:
        if table[i, 0] == key:
            return int(table[i, 1])
        i = (i + 1) & mask
    row = ids.used[0]
    table[i, 0] = key
    table[i, 1] = row
    ids.keys[row] = key
    ids.used[0] = row + 1
    return int(row)


@compiled
def put(table: Int64s, key: int, row: int) -> None:
    """Let `key`, which is not there, have this row. The caller has reserved the room."""
    mask = table.shape[0] - 1
    i = mix(key) & mask
    while table[i, 1] >= 0:
        i = (i + 1) & mask
    table[i, 0] = key
    table[i, 1] = row


@compiled
def drop(table: Int64s, key: int) -> None:
    """Take out `key`, which is there; what follows it moves up, so that `find` still stops at a gap."""
    mask = table.shape[0] - 1
    i = mix(key) & mask
    while table[i, 0] != key:
        i = (i + 1) & mask
    j = (i + 1) & mask
    while table[j, 1] >= 0:
        if (j - mix(table[j, 0])) & mask >= (j - i) & mask:
            table[i, 0] = table[j, 0]
            table[i, 1] = table[j, 1]
            i = j
        j = (j + 1) & mask
    table[i, 0] = -1
    table[i, 1] = -1


@compiled
def _find_all(table: Int64s, keys_B: Int64s, rows_B: Int64s) -> None:
    for b in range(keys_B.shape[0]):
        rows_B[b] = find(table, keys_B[b])


@compiled
def _add_all(ids: KeyArrays, keys_B: Int64s, rows_B: Int64s) -> None:
    for b in range(keys_B.shape[0]):
        rows_B[b] = add(ids, keys_B[b])


class KeyMap:
    """Key -> row, rows numbered 0, 1, 2, ... in order of first sight; open addressing, load at most 1/2.

    Kernels take `table`, for `find`, or after `reserve` all `arrays`, for `add`.
    """

    def __init__(self, keys: Int64s | None = None) -> None:
        self.count: Int64s = np.zeros(1, np.int64)
        self.keys: Int64s = np.zeros(0, np.int64)
        self.table: Int64s = np.full((64, 2), -1, np.int64)
        if keys is not None:
            self.rows(keys, grow=True)

    @property
    def arrays(self) -> KeyArrays:
        return KeyArrays(self.table, self.keys, self.count)

    def __len__(self) -> int:
        return int(self.count[0])

    def __iter__(self) -> Iterator[int]:
        return iter(self.keys[: len(self)].tolist())

    def reserve(self, extra: int) -> None:
        """Make room for `extra` new keys, so that `add` needs none."""
        need = len(self) + extra
        if need > len(self.keys):
            keys = np.zeros(max(need, 2 * len(self.keys), 32), np.int64)
            keys[: len(self)] = self.keys[: len(self)]
            self.keys = keys
        if 2 * need > len(self.table):
            known = self.keys[: len(self)].copy()
            self.table = np.full((1 << (4 * need - 1).bit_length(), 2), -1, np.int64)
            self.count[0] = 0
            _add_all(self.arrays, known, np.empty(len(known), np.int64))

    def rows(self, keys_B: Int64s, *, grow: bool = False) -> Int64s:
        """Rows of `keys_B`; a new key gets the next row if `grow`, else -1."""
        rows_B = np.empty(len(keys_B), np.int64)
        if grow:
            self.reserve(len(keys_B))
            _add_all(self.arrays, keys_B, rows_B)
        else:
            _find_all(self.table, keys_B, rows_B)
        return rows_B

    def row(self, key: int) -> int:
        """The row of one key, or -1."""
        return find(self.table, key)

    def tree(self) -> Tree:
        return {"keys": self.keys[: len(self)].copy()}

    def load(self, tree: Tree) -> None:
        self.__init__(np.asarray(tree["keys"], np.int64))  # type: ignore[misc]
