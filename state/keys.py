"""Ids as 64-bit keys, and a growing map from key to row.

A key is stable across processes, engines and partitionings, and needs no dictionary to be agreed on:

- an id that is a whole number below 2^62 in size is its own key, however it was written (`7`, `"7"`);
- any other id is 2^62 plus 62 bits of the BLAKE2b hash of its UTF-8 text.

So numbers never collide with one another or with text; two texts do with odds of n^2 / 2^63 (one in
a thousand at a hundred million distinct texts), and `Names.add` refuses the second rather than merge them.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from state.compiled import compiled, inner
from state.errors import InputError
from state.tree import Tree

Int64s = NDArray[np.int64]

NO_KEY = -(2**63)
"""The key of a missing value."""

_TEXT = 2**62
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")


def key_of(identifier: str | int) -> int:
    """The key of one id.

    >>> key_of(7) == key_of("7") == 7
    True
    >>> key_of("007") > 2**62
    True
    """
    if isinstance(identifier, str):
        if _WHOLE.fullmatch(identifier):
            return key_of(int(identifier))
        text = identifier
    elif -_TEXT < identifier < _TEXT:
        return identifier
    else:
        text = str(identifier)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return _TEXT + int.from_bytes(digest, "little") % _TEXT


class Names:
    """What hashed keys were called; whole-number ids need no entry."""

    def __init__(self) -> None:
        self._name: dict[int, str] = {}

    def add(self, identifier: str) -> int:
        """Remember `identifier` and return its key. Raises InputError where two texts share a key."""
        key = key_of(identifier)
        if key >= _TEXT and self._name.setdefault(key, identifier) != identifier:
            raise InputError(
                f"ids {self._name[key]!r} and {identifier!r} have the same 64-bit key; rename one of them"
            )
        return key

    def update(self, other: dict[int, str]) -> None:
        """Take over names learned elsewhere."""
        self._name.update(other)

    def forget(self, keys: Iterable[int]) -> None:
        """Of these nothing is to be said any more, until they come again."""
        for key in keys:
            self._name.pop(key, None)

    def __getitem__(self, key: int) -> str:
        return self._name.get(key, str(key))

    def __len__(self) -> int:
        return len(self._name)

    def items(self) -> Iterable[tuple[int, str]]:
        return self._name.items()


@compiled
def mix(x: int) -> int:
    """SplitMix64's finaliser: every bit of `x` moves every bit of the result."""
    z = np.uint64(x) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(z ^ (z >> np.uint64(31)))  # type: ignore[return-value]


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


@inner
def add(table: Int64s, keys: Int64s, count: Int64s, key: int) -> int:
    """The row of `key`, given the next free one if it is new. The caller has reserved the room."""
    mask = table.shape[0] - 1
    i = mix(key) & mask
    while table[i, 1] >= 0:
        if table[i, 0] == key:
            return int(table[i, 1])
        i = (i + 1) & mask
    row = count[0]
    table[i, 0] = key
    table[i, 1] = row
    keys[row] = key
    count[0] = row + 1
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
def _add_all(table: Int64s, keys: Int64s, count: Int64s, keys_B: Int64s, rows_B: Int64s) -> None:
    for b in range(keys_B.shape[0]):
        rows_B[b] = add(table, keys, count, keys_B[b])


class KeyMap:
    """Key -> row, rows numbered 0, 1, 2, ... in order of first sight; open addressing, load at most 1/2.

    Kernels take `table`, `keys` and `count` and call `find` or `add`, after `reserve`.
    """

    def __init__(self, keys: Int64s | None = None) -> None:
        self.count: Int64s = np.zeros(1, np.int64)
        self.keys: Int64s = np.zeros(0, np.int64)
        self.table: Int64s = np.full((64, 2), -1, np.int64)
        if keys is not None:
            self.rows(keys, grow=True)

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
            _add_all(self.table, self.keys, self.count, known, np.empty(len(known), np.int64))

    def rows(self, keys_B: Int64s, *, grow: bool = False) -> Int64s:
        """Rows of `keys_B`; a new key gets the next row if `grow`, else -1."""
        rows_B = np.empty(len(keys_B), np.int64)
        if grow:
            self.reserve(len(keys_B))
            _add_all(self.table, self.keys, self.count, keys_B, rows_B)
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
