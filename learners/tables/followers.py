"""Faded counts of ordered pairs of rows, bounded a row: each row's successors lie side by side, with a hash
table that finds one.

Shape suffixes: V half-lives, N rows, S places of the pool, H = 2 S slots of its hash tables.

A row starts with 8 places and doubles them when they are full; one that may not grow gives up its lesser
half. Places that a row has moved from stay unused, which costs the pool less than half of its room.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.tables.faded import DAY_MS
from state.compiled import compiled, inlined, inner
from state.examples import Doubles
from state.keys import Int64s, mix
from state.tree import Tree

START, SIZE, USED = range(3)
_SMALLEST = 8
LEAST = 1e-300
"""Counts of less in all have faded away: none is more than another."""


class PairArrays(NamedTuple):
    """What kernels take of `Pairs`. A row's hash table starts at slot 2 x its first place."""

    home_N: Int64s
    """First place, number of places (a power of 2, or 0), places in use."""
    total_VN: Doubles
    """Sum of the row's counts, those given up included."""
    item_S: NDArray[np.int32]
    weight_VS: Doubles
    slot_H: Int64s
    """2^16 x successor + its place among the row's; -1 where free."""
    reference_ms_V: Doubles
    """The time as of which weights count one, as in `learners.tables.faded`."""
    half_life_ms_V: Doubles
    end: Int64s
    """Places of the pool given out."""


class Pairs:
    """Counts of at least the newest and the greatest of each row's successors, `cap` or a bit more of them.

    `cap` is rounded up to a power of 2, 2^16 at most.
    """

    def __init__(self, half_lives_days: Sequence[float], cap: int) -> None:
        self.largest = min(max(1 << (cap - 1).bit_length(), _SMALLEST), 1 << 16)
        """Places that one row may have."""
        many = len(half_lives_days)
        self.arrays = PairArrays(
            np.zeros((0, 3), np.int64),
            np.zeros((many, 0)),
            np.zeros(0, np.int32),
            np.zeros((many, 0)),
            np.zeros(0, np.int64),
            np.zeros(many),
            np.array(half_lives_days, np.float64) * DAY_MS,
            np.zeros(1, np.int64),
        )

    def reserve(self, rows: int, additions: int) -> PairArrays:
        """The arrays, with room for rows 0 .. rows - 1, and in the pool for `additions` counts."""
        arrays = self.arrays
        if rows > len(arrays.home_N):
            size = max(rows, 2 * len(arrays.home_N))
            arrays = arrays._replace(
                home_N=_grown(arrays.home_N.T, size, 0).T.copy(), total_VN=_grown(arrays.total_VN, size, 0)
            )
        need = int(arrays.end[0]) + additions * self.largest
        if need > len(arrays.item_S):
            size = max(need, 2 * len(arrays.item_S))
            arrays = arrays._replace(
                item_S=_grown(arrays.item_S, size, 0),
                weight_VS=_grown(arrays.weight_VS, size, 0),
                slot_H=_grown(arrays.slot_H, 2 * size, -1),
            )
        self.arrays = arrays
        return arrays

    def keep(self, kept_K: Int64s, moved_N: Int64s) -> None:
        """Forget all rows but these, the k-th of them becoming row k; successor j becomes `moved_N[j]`, or is
        forgotten where that is -1. The pool holds no unused places of earlier homes any more."""
        old = self.arrays
        kept_K = kept_K[kept_K < len(old.home_N)]
        used_K = np.empty(len(kept_K), np.int64)
        _count_kept(old, kept_K, moved_N, used_K)
        doublings_K = np.ceil(np.log2(np.maximum(used_K, 1) / _SMALLEST)).astype(np.int64)
        size_K = np.where(used_K > 0, _SMALLEST << np.maximum(doublings_K, 0), 0)
        places = int(size_K.sum())
        self.arrays = old._replace(
            home_N=np.column_stack([np.cumsum(size_K) - size_K, size_K, np.zeros_like(size_K)]),
            total_VN=np.take(old.total_VN, kept_K, 1),
            item_S=np.zeros(places, np.int32),
            weight_VS=np.zeros((len(old.weight_VS), places)),
            slot_H=np.full(2 * places, -1, np.int64),
            end=np.array([places]),
        )
        _refill(old, self.arrays, kept_K, moved_N)

    def tree(self) -> Tree:
        arrays = self.arrays
        used = np.flatnonzero(arrays.home_N[:, SIZE])
        rows, end = int(used[-1]) + 1 if len(used) else 0, int(arrays.end[0])
        return {
            "home_N": arrays.home_N[:rows].copy(),
            "total_VN": arrays.total_VN[:, :rows].copy(),
            "item_S": arrays.item_S[:end].copy(),
            "weight_VS": arrays.weight_VS[:, :end].copy(),
            "slot_H": arrays.slot_H[: 2 * end].copy(),
            "reference_ms_V": arrays.reference_ms_V.copy(),
        }

    def load(self, tree: Tree) -> None:
        columns = {name: np.array(column) for name, column in tree.items()}
        self.arrays = self.arrays._replace(**columns, end=np.array([len(columns["item_S"])]))


def _grown(old: NDArray[Any], size: int, blank: int) -> NDArray[Any]:
    new = np.full((*old.shape[:-1], size), blank, old.dtype)
    new[..., : old.shape[-1]] = old
    return new


@inner
def gain(pairs: PairArrays, v: int, time_ms: int) -> float:
    """What an event at a time adds; the reference moves up before that grows beyond 2^400.

    It moves down for a first event that would add next to nothing.
    """
    ahead = (time_ms - pairs.reference_ms_V[v]) / pairs.half_life_ms_V[v]
    if ahead > 400.0 or (pairs.end[0] == 0 and ahead < -400.0):
        factor = 2.0 ** -abs(ahead)
        for i in range(pairs.end[0]):
            pairs.weight_VS[v, i] *= factor
        for n in range(pairs.total_VN.shape[1]):
            pairs.total_VN[v, n] *= factor
        pairs.reference_ms_V[v] = time_ms
        ahead = 0.0
    return float(2.0**ahead)


@inlined
def bump(pairs: PairArrays, largest: int, n: int, j: int, amount_V: Doubles) -> None:
    """Add to the counts of j after n; the caller has reserved the room."""
    home = pairs.home_N[n]
    if home[USED] == home[SIZE]:
        _make_room(pairs, largest, n)
    slot = _slot(pairs.slot_H, home[START], home[SIZE], j)
    if pairs.slot_H[slot] < 0:
        pairs.slot_H[slot] = (j << 16) | home[USED]
        pairs.item_S[home[START] + home[USED]] = j
        for v in range(amount_V.shape[0]):
            pairs.weight_VS[v, home[START] + home[USED]] = 0.0
        home[USED] += 1
    place = home[START] + (pairs.slot_H[slot] & 0xFFFF)
    for v in range(amount_V.shape[0]):
        pairs.total_VN[v, n] += amount_V[v]
        pairs.weight_VS[v, place] += amount_V[v]


@compiled
def _count_kept(pairs: PairArrays, kept_K: Int64s, moved_N: Int64s, used_K: Int64s) -> None:
    for k in range(kept_K.shape[0]):
        home = pairs.home_N[kept_K[k]]
        used_K[k] = 0
        for i in range(home[START], home[START] + home[USED]):
            used_K[k] += moved_N[pairs.item_S[i]] >= 0


@compiled
def _refill(old: PairArrays, new: PairArrays, kept_K: Int64s, moved_N: Int64s) -> None:
    """Lay down what is kept, in its order, where homes have their places and none is in use."""
    for k in range(kept_K.shape[0]):
        source, home = old.home_N[kept_K[k]], new.home_N[k]
        for i in range(source[START], source[START] + source[USED]):
            j = moved_N[old.item_S[i]]
            if j >= 0:
                place = home[START] + home[USED]
                new.item_S[place] = j
                for v in range(new.weight_VS.shape[0]):
                    new.weight_VS[v, place] = old.weight_VS[v, i]
                new.slot_H[_slot(new.slot_H, home[START], home[SIZE], j)] = (j << 16) | home[USED]
                home[USED] += 1


@inlined
def _slot(slot_H: Int64s, start: int, size: int, j: int) -> int:
    """The slot of successor j, or the free one where it belongs."""
    mask = 2 * size - 1
    i = mix(j) & mask
    while slot_H[2 * start + i] >= 0 and slot_H[2 * start + i] >> 16 != j:
        i = (i + 1) & mask
    return int(2 * start + i)


@inner
def _make_room(pairs: PairArrays, largest: int, n: int) -> None:
    """Give a row twice the places, or keep only the greater half of its successors."""
    home = pairs.home_N[n]
    start, size, used = home[START], home[SIZE], home[USED]
    kept = np.arange(used)
    if size < largest:
        home[START], home[SIZE] = pairs.end[0], max(2 * size, _SMALLEST)
        pairs.end[0] += home[SIZE]
    else:
        share = np.zeros(used)
        for v in range(pairs.total_VN.shape[0]):
            scale = 1.0 / pairs.total_VN[v, n] if pairs.total_VN[v, n] > LEAST else 0.0
            for i in range(used):
                share[i] += pairs.weight_VS[v, start + i] * scale
        kept = np.sort(np.argsort(-share, kind="mergesort")[: used // 2])
        pairs.slot_H[2 * start : 2 * (start + size)] = -1
    home[USED] = kept.shape[0]
    for i in range(kept.shape[0]):
        old, new = start + kept[i], home[START] + i
        j = pairs.item_S[old]
        pairs.item_S[new] = j
        for v in range(pairs.total_VN.shape[0]):
            pairs.weight_VS[v, new] = pairs.weight_VS[v, old]
        pairs.slot_H[_slot(pairs.slot_H, home[START], home[SIZE], j)] = (np.int64(j) << 16) | i


@compiled
def count_of(pairs: PairArrays, v: int, n: int, j: int) -> float:
    """The count of j after n, as of the reference time; 0 if there is none."""
    home = pairs.home_N[n]
    if home[SIZE] == 0:
        return 0.0
    slot = pairs.slot_H[_slot(pairs.slot_H, home[START], home[SIZE], j)]
    return float(pairs.weight_VS[v, home[START] + (slot & 0xFFFF)]) if slot >= 0 else 0.0
