"""Counts that fade with one half-life or several, kept so that nothing is touched while time passes.

An event at time t weighs 2^((t - reference) / half-life) and keeps that weight; the reference moves up
before the numbers grow large, so a half-life of minutes over years stays finite. Fading changes no order,
and shares need no time at all. After a gap in which all has faded to nothing the next event has the whole
share. Shape suffixes: V half-lives, N rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from state.compiled import inner
from state.examples import Doubles
from state.keys import Int64s
from state.tree import Tree

DAY_MS = 86_400_000.0
REFERENCE_MS, TOTAL, TOP = range(3)


class FadedArrays(NamedTuple):
    """What kernels take of a `Faded`."""

    weight_VN: Doubles
    clock_V3: Doubles
    """The reference time, the sum of the weights, the largest weight."""
    half_life_ms_V: Doubles


class Faded:
    """Faded counts of N rows, at each of several half-lives."""

    def __init__(self, half_lives_days: Sequence[float]) -> None:
        many = len(half_lives_days)
        half_life_ms_V = np.array(half_lives_days, np.float64) * DAY_MS
        self.arrays = FadedArrays(np.zeros((many, 0)), np.zeros((many, 3)), half_life_ms_V)

    def reserve(self, size: int) -> FadedArrays:
        """The arrays, with room for rows 0 .. size - 1."""
        old_VN = self.arrays.weight_VN
        known = old_VN.shape[1]
        if size > known:
            weight_VN = np.zeros((len(old_VN), max(size, 2 * known)))
            weight_VN[:, :known] = old_VN
            self.arrays = self.arrays._replace(weight_VN=weight_VN)
        return self.arrays

    def share(self, v: int, size: int) -> Doubles:
        """The share of each of the first `size` rows in all counts, by half-life v."""
        share_N = np.zeros(size)
        weight_N, clock = self.arrays.weight_VN[v], self.arrays.clock_V3[v]
        if clock[TOTAL] > 0.0:
            known = min(size, len(weight_N))
            share_N[:known] = weight_N[:known] / clock[TOTAL]
        return share_N

    def keep(self, kept_K: Int64s) -> None:
        """Forget all rows but these; the k-th of them becomes row k."""
        known = self.arrays.weight_VN.shape[1]
        weight_VN = np.take(self.arrays.weight_VN, kept_K[kept_K < known], 1)
        self.arrays = self.arrays._replace(weight_VN=weight_VN)
        self.arrays.clock_V3[:, TOTAL] = weight_VN.sum(1)
        self.arrays.clock_V3[:, TOP] = weight_VN.max(1, initial=0.0)

    def tree(self) -> Tree:
        used = np.flatnonzero(self.arrays.weight_VN.any(0))
        size = int(used[-1]) + 1 if len(used) else 0
        return {
            "weight_VN": self.arrays.weight_VN[:, :size].copy(),
            "clock_V3": self.arrays.clock_V3.copy(),
        }

    def load(self, tree: Tree) -> None:
        weight_VN, clock_V3 = np.array(tree["weight_VN"]), np.array(tree["clock_V3"])
        self.arrays = self.arrays._replace(weight_VN=weight_VN, clock_V3=clock_V3)


@inner
def fade_add(faded: FadedArrays, n: int, time_ms: int) -> None:
    """Count one event of row n at a time; an infinite half-life counts without fading."""
    for v in range(faded.half_life_ms_V.shape[0]):
        weight_N, clock = faded.weight_VN[v], faded.clock_V3[v]
        ahead = (time_ms - clock[REFERENCE_MS]) / faded.half_life_ms_V[v]
        first_is_old = clock[TOTAL] == 0.0 and ahead < -400.0
        if ahead > 400.0 or first_is_old:  # so that 2^ahead is a float64, and sums of it are
            factor = 2.0 ** -abs(ahead)
            for i in range(weight_N.shape[0]):
                weight_N[i] *= factor
            clock[TOTAL] *= factor
            clock[TOP] *= factor
            clock[REFERENCE_MS] = time_ms
            ahead = 0.0
        gain = 2.0**ahead
        weight_N[n] += gain
        clock[TOTAL] += gain
        clock[TOP] = max(clock[TOP], weight_N[n])


@inner
def worth(faded: FadedArrays, v: int, events: float) -> float:
    """What a weight is multiplied by so that all of them together are worth `events`."""
    total = faded.clock_V3[v, TOTAL]
    return float(events / total) if total > 0.0 else 0.0
