"""How many different keys there are, in bounded memory.

Adaptive sampling (Wegman; Flajolet 1990): the keys whose hash ends in `level` zero bits are kept; when there
are too many, the level rises by one and half of them go. Exact at level 0; then the relative error is about
1.2 / sqrt(capacity).
"""

import numpy as np

from state.compiled import compiled
from state.keys import Int64s, KeyMap, mix


class Distinct:
    """Counts different keys."""

    def __init__(self, capacity: int = 1 << 18) -> None:
        self._capacity = capacity
        self._kept = KeyMap()
        self._level = 0

    def add(self, keys_B: Int64s) -> None:
        """Take more keys."""
        self._kept.rows(_sampled(keys_B, self._level), grow=True)
        while len(self._kept) > self._capacity:
            self._level += 1
            self._kept = KeyMap(_sampled(self._kept.keys[: len(self._kept)], self._level))

    @property
    def count(self) -> int:
        """How many, exactly or about."""
        return len(self._kept) << self._level

    @property
    def exact(self) -> bool:
        return self._level == 0


@compiled
def pairs(a_B: Int64s, b_B: Int64s) -> Int64s:
    """The key of each ordered pair."""
    made_B = np.empty(len(a_B), np.int64)
    for i in range(a_B.shape[0]):
        made_B[i] = mix(mix(a_B[i]) ^ (b_B[i] * 3 + 1))
    return made_B


@compiled
def _sampled(keys_B: Int64s, level: int) -> Int64s:
    low = (1 << level) - 1
    kept_B = np.empty(len(keys_B), np.int64)
    size = 0
    for i in range(keys_B.shape[0]):
        if mix(keys_B[i]) & low == 0:
            kept_B[size] = keys_B[i]
            size += 1
    return kept_B[:size]
