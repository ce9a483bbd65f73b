"""A sum and a count for pairs of rows, in bounded memory: a hash table of buckets as wide as a cache line.

A bucket holds four pairs. A new pair that finds its bucket full takes the place of the one with the least
count; a few in a hundred are lost so. The table doubles when it is half full, until it has `most` places.

Shape suffixes: P places, two words each: the pair, then sum and count as two float32.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.compiled import compiled, inlined
from state.keys import Int64s, mix
from state.tree import Tree

WAYS = 4
_EMPTY = -1
_FIRST = 1 << 12


class PairSumArrays(NamedTuple):
    """Kernels' view; both arrays are the same memory."""

    words_P2: Int64s
    floats_P4: NDArray[np.float32]
    """Columns 2 and 3: sum and count."""
    used: Int64s


class PairTable:
    """Unordered pairs of rows below 2^31 with a sum and a count."""

    def __init__(self, most: int) -> None:
        self.most = max(1 << max(most - 1, 1).bit_length(), WAYS)
        self.pairs = _empty(min(_FIRST, self.most))

    def __len__(self) -> int:
        return int(self.pairs.used[0])

    @property
    def room(self) -> int:
        """Pairs that it may hold before `grow` is called; it never needs to be beyond `most`."""
        places = len(self.pairs.words_P2)
        return places // 2 if places < self.most else 1 << 62

    def grow(self) -> None:
        """Twice the places."""
        self._fill(2 * len(self.pairs.words_P2), self._entries())

    def renumber(self, moved_N: Int64s) -> None:
        """Row n is now `moved_N[n]`; pairs with one that is -1 are forgotten."""
        words_E2 = self._entries()
        low_E, high_E = moved_N[words_E2[:, 0] >> 32], moved_N[words_E2[:, 0] & 0xFFFFFFFF]
        words_E2[:, 0] = (np.minimum(low_E, high_E) << 32) | np.maximum(low_E, high_E)
        self._fill(len(self.pairs.words_P2), words_E2[(low_E >= 0) & (high_E >= 0)])

    def _entries(self) -> Int64s:
        return np.asarray(self.pairs.words_P2[self.pairs.words_P2[:, 0] != _EMPTY])

    def _fill(self, places: int, words_E2: Int64s) -> None:
        self.pairs = _empty(places)
        _insert(self.pairs, words_E2)

    def tree(self) -> Tree:
        used = np.flatnonzero(self.pairs.words_P2[:, 0] != _EMPTY)
        return {
            "places": len(self.pairs.words_P2),
            "place": used,
            "words": self.pairs.words_P2[used],
        }

    def load(self, tree: Tree) -> None:
        self.pairs = _empty(int(tree["places"]))
        self.pairs.words_P2[tree["place"]] = tree["words"]
        self.pairs.used[0] = len(tree["place"])


def _empty(places: int) -> PairSumArrays:
    words_P2 = np.zeros((places, 2), np.int64)
    words_P2[:, 0] = _EMPTY
    return PairSumArrays(words_P2, words_P2.view(np.float32), np.zeros(1, np.int64))


@inlined
def pair_key(a: np.int64 | int, b: np.int64 | int) -> int:
    """The same for (a, b) and (b, a)."""
    return int((min(a, b) << 32) | max(a, b))


@inlined
def bucket(pairs: PairSumArrays, key: int) -> int:
    """The first of a pair's WAYS places."""
    return int((mix(key) & (pairs.words_P2.shape[0] // 4 - 1)) * 4)


@compiled
def place_of(pairs: PairSumArrays, key: int) -> int:
    """Where a pair is, or -1."""
    first = bucket(pairs, key)
    for place in range(first, first + 4):
        if pairs.words_P2[place, 0] == key:
            return place
    return -1


@compiled
def place_for(pairs: PairSumArrays, key: int) -> int:
    """Where a pair is, with zeros if it is new."""
    first = bucket(pairs, key)
    least = first
    for place in range(first, first + 4):
        held = pairs.words_P2[place, 0]
        if held == key:
            return place
        if held == -1:
            pairs.used[0] += 1
            pairs.words_P2[place, 0] = key
            return place
        if pairs.floats_P4[place, 3] < pairs.floats_P4[least, 3]:
            least = place
    pairs.words_P2[least, 0] = key
    pairs.words_P2[least, 1] = 0
    return least


@compiled
def _insert(pairs: PairSumArrays, words_E2: Int64s) -> None:
    for e in range(words_E2.shape[0]):
        place = place_for(pairs, words_E2[e, 0])
        pairs.words_P2[place, 1] = words_E2[e, 1]
