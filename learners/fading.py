"""Counts that all fade with one half-life, kept so that nothing is touched while time passes.

An event at time t weighs 2^((t - reference) / half-life) and keeps that weight; the reference moves up
before the numbers grow large, so a half-life of minutes over years stays finite. Fading changes no order,
and shares need no time at all. Shape suffix: N rows.
"""

from typing import NamedTuple

import numpy as np

from state.compiled import compiled
from state.examples import Doubles
from state.tree import Tree

DAY_MS = 86_400_000.0
REFERENCE_MS, TOTAL, TOP = range(3)


class FadedArrays(NamedTuple):
    """What kernels take of a `Faded`."""

    weight_N: Doubles
    clock: Doubles
    """The reference time, the sum of the weights, the largest weight."""


class Faded:
    """Faded counts of N rows."""

    def __init__(self) -> None:
        self.arrays = FadedArrays(np.zeros(0), np.zeros(3))

    def reserve(self, size: int) -> FadedArrays:
        """The arrays, with room for rows 0 .. size - 1."""
        old_N = self.arrays.weight_N
        if size > len(old_N):
            weight_N = np.zeros(max(size, 2 * len(old_N)))
            weight_N[: len(old_N)] = old_N
            self.arrays = FadedArrays(weight_N, self.arrays.clock)
        return self.arrays

    def share(self, size: int) -> Doubles:
        """The share of each of the first `size` rows in all counts."""
        share_N = np.zeros(size)
        weight_N, clock = self.arrays
        if clock[TOTAL] > 0.0:
            known = min(size, len(weight_N))
            share_N[:known] = weight_N[:known] / clock[TOTAL]
        return share_N

    def tree(self) -> Tree:
        used = np.flatnonzero(self.arrays.weight_N)
        size = int(used[-1]) + 1 if len(used) else 0
        return {"weight_N": self.arrays.weight_N[:size].copy(), "clock": self.arrays.clock.copy()}

    def load(self, tree: Tree) -> None:
        self.arrays = FadedArrays(np.array(tree["weight_N"]), np.array(tree["clock"]))


@compiled
def fade_add(faded: FadedArrays, half_life_ms: float, n: int, time_ms: int, amount: float) -> None:
    """Count `amount` for row n at a time; an infinite half-life counts without fading."""
    weight_N, clock = faded.weight_N, faded.clock
    ahead = (time_ms - clock[REFERENCE_MS]) / half_life_ms
    if ahead > 400.0:  # so that sums of 2^ahead fit a float64
        factor = 2.0 ** (-ahead)
        for i in range(weight_N.shape[0]):
            weight_N[i] *= factor
        clock[TOTAL] *= factor
        clock[TOP] *= factor
        clock[REFERENCE_MS] = time_ms
        ahead = 0.0
    gain = amount * 2.0**ahead
    weight_N[n] += gain
    clock[TOTAL] += gain
    clock[TOP] = max(clock[TOP], weight_N[n])
