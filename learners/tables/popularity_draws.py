"""Draws from decayed popularity^0.75 in constant time a draw (Vose's alias method).

Shape suffixes: M slots of the alias table, one for every item that can be drawn.

The table is rebuilt as the catalogue grows and fades, after a number of learned rows that is
proportional to its size, so that drawing stays a constant cost for any size of catalogue.
"""

from typing import NamedTuple

import numpy as np

from learners.tables.identity import identity
from state.compiled import compiled
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s, mix
from state.tree import Tree

POWER = 0.75


class AliasSlots(NamedTuple):
    """An alias table: slot m stands for `row_M[m]` with chance `keep_M[m]`, else for its sharer."""

    row_M: Int64s
    other_M: Int64s
    """The slot that shares slot m's place."""
    keep_M: Floats
    log_q_M: Floats
    """Log of the probability that slot m is drawn."""


class Sampler:
    """An alias table over rows; empty until the first `rebuild`."""

    def __init__(self) -> None:
        ints, floats = np.zeros(0, np.int64), np.zeros(0, np.float32)
        self.arrays = AliasSlots(ints, ints, floats, floats)
        self.age = 0
        """Rows learned since the last rebuild."""
        self._most: Int64s | None = None
        """Rows, those that are drawn most often first; sorted when first asked for after a rebuild."""

    def due(self, learned: int) -> bool:
        """Count `learned` rows; whether it is time to rebuild."""
        self.age += learned
        return self.age * 2 >= len(self.arrays.row_M)

    def rebuild(self, count_N: Doubles, rows_N: Int64s) -> None:
        """Draw row `rows_N[n]` in proportion to `count_N[n]`^0.75 from now on; -1 and 0 are never drawn."""
        items = np.flatnonzero((rows_N >= 0) & (count_N > 0))
        other_M, keep_M, share_M = alias(count_N[items] ** POWER)
        log_q_M = np.log(share_M).astype(np.float32)
        self.arrays = AliasSlots(rows_N[items], other_M, keep_M.astype(np.float32), log_q_M)
        self._most = None
        self.age = 0

    def most_drawn(self, count: int) -> Int64s:
        """The rows (at most `count`,) that are drawn most often, ties by the lower row."""
        if self._most is None:
            row_M = self.arrays.row_M
            self._most = row_M[np.lexsort((row_M, -self.arrays.log_q_M))]
        return self._most[:count]

    def tree(self) -> Tree:
        return {"age": self.age, **{name: column.copy() for name, column in self.arrays._asdict().items()}}

    def load(self, tree: Tree) -> None:
        self.arrays = AliasSlots(*(np.array(tree[name]) for name in AliasSlots._fields))
        self._most = None
        self.age = int(tree["age"])


def alias(weight_M: Doubles) -> tuple[Int64s, Doubles, Doubles]:
    """Vose's tables for positive weights: the other slot, the chance to keep the own one, the shares."""
    share_M = weight_M / max(weight_M.sum(), np.finfo(np.float64).tiny)
    keep_M = share_M * len(share_M)
    other_M = np.arange(len(share_M))
    _pair(keep_M, other_M)
    return other_M, keep_M, share_M


@compiled
def draw(slots: AliasSlots, state: int) -> int:
    """The slot that 64 random bits stand for: the upper half picks a place, the lower one its sharer."""
    bits = np.uint64(state)
    m = np.int64(((bits >> np.uint64(32)) * np.uint64(slots.keep_M.shape[0])) >> np.uint64(32))
    chance = np.float32(bits & np.uint64(0xFFFFFF)) * np.float32(1.0 / 16777216.0)
    return int(m) if chance < slots.keep_M[m] else int(slots.other_M[m])


def identities(batch: ExampleBatch, seed: int) -> Int64s:
    """64 bits for each row, by the example's identity and the seed alone."""
    identity_B = np.empty(len(batch), np.int64)
    _identities(batch.partition_B, batch.offset_B, batch.index_B, seed, identity_B)
    return identity_B


@compiled
def _identities(
    partition_B: Int64s, offset_B: Int64s, index_B: Int64s, seed: int, identity_B: Int64s
) -> None:
    for b in range(identity_B.shape[0]):
        identity_B[b] = mix(identity(partition_B[b], offset_B[b], index_B[b])) ^ mix(seed)


@compiled
def _pair(keep_M: Doubles, other_M: Int64s) -> None:
    size = keep_M.shape[0]
    small, large = np.empty(size, np.int64), np.empty(size, np.int64)
    smalls = larges = 0
    for m in range(size):
        if keep_M[m] < 1.0:
            small[smalls] = m
            smalls += 1
        else:
            large[larges] = m
            larges += 1
    while smalls and larges:
        smalls -= 1
        low, high = small[smalls], large[larges - 1]
        other_M[low] = high
        keep_M[high] -= 1.0 - keep_M[low]
        if keep_M[high] < 1.0:
            larges -= 1
            small[smalls] = high
            smalls += 1
    for i in range(smalls):
        keep_M[small[i]] = 1.0
    for i in range(larges):
        keep_M[large[i]] = 1.0
