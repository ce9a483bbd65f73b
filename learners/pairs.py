"""Faded counts of ordered pairs of rows, bounded a row: each row's successors lie in a small hash table.

Shape suffixes: N rows, S slots of the pool that all tables lie in.

A table starts with 8 slots and doubles when half full; one that may not grow gives up its lesser half.
A table that has moved leaves its old place unused, which costs the pool less than half of its room.
"""

import numpy as np
from numpy.typing import NDArray

from state.compiled import compiled
from state.examples import Doubles
from state.keys import Int64s, mix
from state.tree import Tree

START, SIZE, USED = range(3)
"""Columns of `home_N`: first slot, number of slots (a power of 2, or 0), slots in use."""
_SMALLEST = 8


class Pairs:
    """At most `cap` successors of every row; `clock` as in `learners.fading`, with the slots used last."""

    def __init__(self, cap: int) -> None:
        self.largest = max(1 << (2 * cap - 1).bit_length(), _SMALLEST)
        """Slots of the largest table."""
        self.home_N: Int64s = np.zeros((0, 3), np.int64)
        self.total_N: Doubles = np.zeros(0)
        """Sum of each row's counts, those given up included."""
        self.item_S: NDArray[np.int32] = np.full(1024, -1, np.int32)
        self.weight_S: Doubles = np.zeros(1024)
        self.clock: Doubles = np.zeros(1)
        """The reference time."""
        self.end: Int64s = np.zeros(1, np.int64)
        """Slots of the pool given out."""

    def reserve(self, rows: int, additions: int) -> None:
        """Make room for rows 0 .. rows - 1, and in the pool for `additions` pairs."""
        if rows > len(self.home_N):
            size = max(rows, 2 * len(self.home_N))
            self.home_N = _grown(self.home_N, size, 0)
            self.total_N = _grown(self.total_N, size, 0)
        need = int(self.end[0]) + additions * self.largest
        if need > len(self.item_S):
            size = max(need, 2 * len(self.item_S))
            self.item_S = _grown(self.item_S, size, -1)
            self.weight_S = _grown(self.weight_S, size, 0)

    def tree(self) -> Tree:
        end, used = int(self.end[0]), np.flatnonzero(self.home_N[:, SIZE])
        rows = int(used[-1]) + 1 if len(used) else 0
        return {
            "home_N": self.home_N[:rows].copy(),
            "total_N": self.total_N[:rows].copy(),
            "item_S": self.item_S[:end].copy(),
            "weight_S": self.weight_S[:end].copy(),
            "clock": self.clock.copy(),
        }

    def load(self, tree: Tree) -> None:
        for name in ("home_N", "total_N", "item_S", "weight_S", "clock"):
            setattr(self, name, np.array(tree[name]))
        self.end[0] = len(self.item_S)


def _grown(old: NDArray[np.generic], size: int, blank: int) -> NDArray[np.generic]:
    new = np.full((size, *old.shape[1:]), blank, old.dtype)
    new[: len(old)] = old
    return new


@compiled
def _slot(item_S: NDArray[np.int32], start: int, size: int, j: int) -> int:
    """The slot of successor j, or the free one where it belongs."""
    mask = size - 1
    i = mix(j) & mask
    while item_S[start + i] >= 0 and item_S[start + i] != j:
        i = (i + 1) & mask
    return int(start + i)


@compiled
def _make_room(
    home_N: Int64s, item_S: NDArray[np.int32], weight_S: Doubles, end: Int64s, largest: int, n: int
) -> None:
    """Give row n a table twice as large, or keep only the greater half of what it holds."""
    start, size, used = home_N[n, 0], home_N[n, 1], home_N[n, 2]
    held_item = np.empty(used, np.int32)
    held_weight = np.empty(used)
    many = 0
    for i in range(start, start + size):
        if item_S[i] >= 0:
            held_item[many] = item_S[i]
            held_weight[many] = weight_S[i]
            many += 1
    if size < largest:
        bigger = max(2 * size, 8)
        start, size = end[0], bigger
        end[0] += bigger
    else:
        order = np.argsort(-held_weight, kind="mergesort")[: used // 2]
        held_item, held_weight = held_item[order], held_weight[order]
        item_S[start : start + size] = -1
    home_N[n, 0], home_N[n, 1], home_N[n, 2] = start, size, held_item.shape[0]
    for i in range(held_item.shape[0]):
        slot = _slot(item_S, start, size, held_item[i])
        item_S[slot] = held_item[i]
        weight_S[slot] = held_weight[i]


@compiled
def bump(
    home_N: Int64s,
    item_S: NDArray[np.int32],
    weight_S: Doubles,
    end: Int64s,
    largest: int,
    n: int,
    j: int,
    amount: float,
) -> None:
    """Add to the count of j after n; the caller has reserved the pool's room."""
    if home_N[n, 1] > 0:
        slot = _slot(item_S, home_N[n, 0], home_N[n, 1], j)
        if item_S[slot] == j:
            weight_S[slot] += amount
            return
    if 2 * (home_N[n, 2] + 1) > home_N[n, 1]:
        _make_room(home_N, item_S, weight_S, end, largest, n)
    slot = _slot(item_S, home_N[n, 0], home_N[n, 1], j)
    item_S[slot] = j
    weight_S[slot] = amount
    home_N[n, 2] += 1


@compiled
def rebased(weight_S: Doubles, total_N: Doubles, clock: Doubles, half_life_ms: float, time_ms: int) -> float:
    """What an event at a time adds; the reference moves up before that grows beyond 2^400."""
    ahead = (time_ms - clock[0]) / half_life_ms
    if ahead > 400.0:
        factor = 2.0 ** (-ahead)
        for i in range(weight_S.shape[0]):
            weight_S[i] *= factor
        for n in range(total_N.shape[0]):
            total_N[n] *= factor
        clock[0] = time_ms
        ahead = 0.0
    return float(2.0**ahead)
