"""Faded counts of ordered pairs of rows, bounded a row: each row's successors lie in a small hash table.

Shape suffixes: N rows, S slots of the pool that all tables lie in.

A table starts with 8 slots and doubles when half full; one that may not grow gives up its lesser half.
A table that has moved leaves its old place unused, which costs the pool less than half of its room.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.compiled import compiled
from state.examples import Doubles
from state.keys import Int64s, mix
from state.tree import Tree

START, SIZE, USED = range(3)
_SMALLEST = 8


class PairArrays(NamedTuple):
    """What kernels take of `Pairs`."""

    home_N: Int64s
    """First slot, number of slots (a power of 2, or 0), slots in use."""
    total_N: Doubles
    """Sum of the row's counts, those given up included."""
    item_S: NDArray[np.int32]
    """Successor, -1 in a free slot."""
    weight_S: Doubles
    reference_ms: Doubles
    """The time as of which weights count one, as in `learners.fading`."""
    end: Int64s
    """Slots of the pool given out."""


class Pairs:
    """Counts of at least the newest and the greatest of each row's successors, `cap` of them at most."""

    def __init__(self, cap: int) -> None:
        self.largest = max(1 << (2 * cap - 1).bit_length(), _SMALLEST)
        """Slots of the largest table."""
        self.arrays = PairArrays(
            np.zeros((0, 3), np.int64),
            np.zeros(0),
            np.zeros(0, np.int32),
            np.zeros(0),
            np.zeros(1),
            np.zeros(1, np.int64),
        )

    def reserve(self, rows: int, additions: int) -> PairArrays:
        """The arrays, with room for rows 0 .. rows - 1, and in the pool for `additions` counts."""
        home_N, total_N, item_S, weight_S, reference_ms, end = self.arrays
        if rows > len(home_N):
            size = max(rows, 2 * len(home_N))
            home_N, total_N = _grown(home_N, size, 0), _grown(total_N, size, 0)
        need = int(end[0]) + additions * self.largest
        if need > len(item_S):
            size = max(need, 2 * len(item_S))
            item_S, weight_S = _grown(item_S, size, -1), _grown(weight_S, size, 0)
        self.arrays = PairArrays(home_N, total_N, item_S, weight_S, reference_ms, end)
        return self.arrays

    def tree(self) -> Tree:
        home_N, total_N, item_S, weight_S, reference_ms, end = self.arrays
        used = np.flatnonzero(home_N[:, SIZE])
        rows = int(used[-1]) + 1 if len(used) else 0
        return {
            "home_N": home_N[:rows].copy(),
            "total_N": total_N[:rows].copy(),
            "item_S": item_S[: end[0]].copy(),
            "weight_S": weight_S[: end[0]].copy(),
            "reference_ms": reference_ms.copy(),
        }

    def load(self, tree: Tree) -> None:
        self.arrays = PairArrays(
            np.array(tree["home_N"]),
            np.array(tree["total_N"]),
            np.array(tree["item_S"]),
            np.array(tree["weight_S"]),
            np.array(tree["reference_ms"]),
            np.array([len(tree["item_S"])]),
        )


def _grown(old: NDArray[Any], size: int, blank: int) -> NDArray[Any]:
    new = np.full((size, *old.shape[1:]), blank, old.dtype)
    new[: len(old)] = old
    return new


@compiled
def gain(pairs: PairArrays, half_life_ms: float, time_ms: int) -> float:
    """What an event at a time adds; the reference moves up before that grows beyond 2^400."""
    ahead = (time_ms - pairs.reference_ms[0]) / half_life_ms
    if ahead > 400.0:
        factor = 2.0 ** (-ahead)
        for i in range(pairs.end[0]):
            pairs.weight_S[i] *= factor
        for n in range(pairs.total_N.shape[0]):
            pairs.total_N[n] *= factor
        pairs.reference_ms[0] = time_ms
        ahead = 0.0
    return float(2.0**ahead)


@compiled
def bump(pairs: PairArrays, largest: int, n: int, j: int, amount: float) -> None:
    """Add to the count of j after n; the caller has reserved the room."""
    home = pairs.home_N[n]
    pairs.total_N[n] += amount
    if home[SIZE] > 0:
        slot = _slot(pairs.item_S, home[START], home[SIZE], j)
        if pairs.item_S[slot] == j:
            pairs.weight_S[slot] += amount
            return
    if 2 * (home[USED] + 1) > home[SIZE]:
        _make_room(pairs, largest, home)
    slot = _slot(pairs.item_S, home[START], home[SIZE], j)
    pairs.item_S[slot] = j
    pairs.weight_S[slot] = amount
    home[USED] += 1


@compiled
def _slot(item_S: NDArray[np.int32], start: int, size: int, j: int) -> int:
    """The slot of successor j, or the free one where it belongs."""
    mask = size - 1
    i = mix(j) & mask
    while item_S[start + i] >= 0 and item_S[start + i] != j:
        i = (i + 1) & mask
    return int(start + i)


@compiled
def _make_room(pairs: PairArrays, largest: int, home: Int64s) -> None:
    """Give a row a table twice as large, or keep only the greater half of what it holds."""
    start, size, used = home[START], home[SIZE], home[USED]
    item, weight = np.empty(used, np.int32), np.empty(used)
    many = 0
    for i in range(start, start + size):
        if pairs.item_S[i] >= 0:
            item[many] = pairs.item_S[i]
            weight[many] = pairs.weight_S[i]
            many += 1
    if size < largest:
        home[START], home[SIZE] = pairs.end[0], max(2 * size, _SMALLEST)
        pairs.end[0] += home[SIZE]
    else:
        order = np.argsort(-weight, kind="mergesort")[: used // 2]
        item, weight = item[order], weight[order]
        pairs.item_S[start : start + size] = -1
    home[USED] = item.shape[0]
    for i in range(item.shape[0]):
        slot = _slot(pairs.item_S, home[START], home[SIZE], item[i])
        pairs.item_S[slot] = item[i]
        pairs.weight_S[slot] = weight[i]
